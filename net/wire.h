/* wire.h - every message between nodes, and between clients and nodes.
 *
 * One ZeroMQ frame a message, at most MESSAGE_BYTES_MAX:
 *
 *   header 100 | inline part (inline_bytes) | payload, to the end
 *
 * The inline part is small and is what the core reads; the payload is
 * segments' bytes, which the core only passes on as slices. Little-endian
 * throughout. net/PROTOCOL.md is the same for readers without C, with golden
 * vectors.
 *
 *   header   magic u32 "EDDY", version u16 = 1, kind u16, cluster 16 (zero
 *            only in a HELLO request: of a client that does not know it yet),
 *            from node 16 (zero: a client), to node 16 (zero: a client, or in
 *            a HELLO, RECORD or JOIN request whichever node hears it), boot
 *            u64 (of the sending node; 0: a client), epoch 16 (newest the
 *            sender knows), number u64, inline bytes u32, nonce u32 (between
 *            nodes: of the sending process; else 0), to nonce u32 (between
 *            nodes: of the process that is meant, 0 if none was heard yet)
 *            = 4+2+2+16+16+16+8+16+8+4+4+4 = 100
 *
 * Between nodes (kind PEER_CONTROL, PEER_ENTRIES, PEER_TRANSFER: one a lane)
 * the inline part is frames, each: length of the body u32, length of its part
 * of the payload u32, kind u16, flags u16 = 0, body. A bad frame is skipped by
 * its lengths and counted. Group frames (kinds below 64) begin their body
 * with: group u32, generation 12, from-replica u64, to-replica u64, term u64.
 * `number` counts the messages per (sender's boot, addressee, lane) from 1
 * (T32).
 *
 * Between client and node (kind REQUEST, RESPONSE) `number` is the request's
 * number, chosen by the client and echoed; the inline part begins with op u16.
 *
 * Encoders write into a struct wire_out: owned inline bytes and borrowed
 * slices in payload order. Decoders borrow from the message and check every
 * length, count and enum before they return OK; what they return needs no
 * second check for memory safety, but means nothing about truth. */
#ifndef NET_WIRE_H
#define NET_WIRE_H

#include "ring/entry.h"
#include "ring/raft.h"
#include "ring/record.h"
#include "ring/scrub.h"
#include "ring/streams.h"

#define WIRE_MAGIC        0x59444445u /* "EDDY" */
#define WIRE_VERSION      1u
#define WIRE_HEADER_BYTES 100u

enum wire_kind {
    WIRE_PEER_CONTROL = 1,
    WIRE_PEER_ENTRIES = 2,
    WIRE_PEER_TRANSFER = 3,
    WIRE_REQUEST = 16,
    WIRE_RESPONSE = 17,
};

enum wire_lane { LANE_CONTROL = 0, LANE_ENTRIES = 1, LANE_TRANSFER = 2 };
#define LANE_COUNT 3

struct wire_header {
    enum wire_kind kind;
    struct id128 cluster;
    struct id128 from;
    struct id128 to;
    uint64_t boot;
    struct epoch epoch;
    uint64_t number;
    uint32_t inline_bytes; /* set by wire_end and wire_read */
    uint32_t nonce;        /* with boot it names one process (S6) */
    uint32_t to_nonce;     /* the process meant; 0: none was heard yet */
};

/* A message on its way out; a zeroed one is empty. The slices are references;
 * whoever takes the message over takes those. */
struct wire_out {
    struct buf bytes; /* header and inline part */
    struct slice *slices;
    uint32_t slice_count;
    uint32_t slice_capacity;
    size_t payload_bytes;
};
void wire_out_free(struct wire_out *o); /* not the slices' handles */
void wire_out_slice(struct wire_out *o, struct slice s);
size_t wire_out_size(const struct wire_out *o);
/* Clears `o`, writes the header; wire_end sets inline_bytes. */
void wire_begin(struct wire_out *o, const struct wire_header *h);
void wire_end(struct wire_out *o);

/* A message that came in. */
struct wire_in {
    struct wire_header header;
    struct span inline_part;
    struct span payload;
    uint32_t payload_at; /* offset of the payload in the message */
};
/* BAD_REQUEST: no message of ours, lengths do not fit, or ids are zero that
 * may not be; TOO_LARGE; INCOMPATIBLE: another version (header.kind and
 * number are still set, so that a client can be told). Whether cluster and
 * addressee are this node's is for the caller to judge (S13). */
NODISCARD enum err wire_read(struct span message, struct wire_in *out);

/* The lane of a message between nodes and back. */
enum wire_kind wire_lane_kind(enum wire_lane lane);
/* False: not a message between nodes. */
bool wire_kind_lane(enum wire_kind kind, enum wire_lane *out);

/* XXH3-128 of a segment's bytes. */
struct hash128 wire_checksum(struct span bytes);

/* ---- frames between nodes ---------------------------------------------- */

enum frame_kind {
    FRAME_RAFT_FIRST = 1, /* 1..9: enum raft_msg_kind */
    FRAME_RAFT_LAST = 9,
    FRAME_INVITE = 10,       /* a committed configuration has you: (T13) */
    FRAME_INVITE_REPLY = 11, /* ACCEPT (OK), NO_SPACE, INCOMPATIBLE, BUSY */
    FRAME_ASK = 12,          /* a replica without a leader: am I still in? */
    FRAME_REMOVED = 13,      /* as of commit index c you are not (T13) */
    FRAME_BLOB_ASK = 14,     /* a piece of your state, please */
    FRAME_BLOB = 15,
    FRAME_ROWS_ASK = 16, /* rows of your index, with their payload, please */
    FRAME_ROWS = 17,
    FRAME_SWIM = 64,       /* a SWIM packet (ring/swim.h) */
    FRAME_ECHO = 65,       /* what has come in on a lane (T32) */
    FRAME_RECORD_ASK = 66, /* send me the record if newer than this */
    FRAME_RECORD = 67,     /* an encoded ring record */
    FRAME_FORGOTTEN = 68,  /* to exactly this boot and nonce (T15) */
    FRAME_HELLO = 69,      /* my nonce, at first contact of a boot (S6) */
    FRAME_DEAD = 70,       /* who has been dead to me for out-after (T27) */
    FRAME_STANDING = 71,   /* on whom the groups that I lead count (T6) */
    FRAME_ADDRESS = 72,    /* I am reached elsewhere than the record says */
};

struct frame_group {
    uint32_t group;
    struct generation generation;
    uint64_t from_replica;
    uint64_t to_replica;
    uint64_t term;
};

struct frame_invite {
    uint64_t added; /* the replica id offered */
    uint64_t round;
    uint64_t pin; /* the log is kept from here; 1: all of it */
    struct epoch epoch;
};
struct frame_removed {
    uint64_t commit;      /* as of this committed index ... */
    struct config config; /* ... this is the configuration */
};
/* What a leader states of its group: as of its committed log, which bears an
 * entry of this epoch, the configuration is these slots of the record (those
 * that the record does not know are left out: who has left, mostly). */
struct frame_standing {
    uint32_t group;
    struct epoch epoch;
    uint32_t count;
    uint16_t slots[REPLICAS_MAX];
    bool is_voter[REPLICAS_MAX];
};
/* Transfer (ring/transfer.h). */
struct frame_transfer {
    uint64_t index;           /* all: of the blob; BLOB_ASK: 0 whichever */
    uint64_t term;            /* BLOB */
    struct hash128 digest;    /* BLOB */
    struct epoch epoch;       /* BLOB: newest that the group's log bears */
    struct config config;     /* BLOB */
    uint32_t total;           /* BLOB: bytes of all its images */
    uint32_t offset;          /* BLOB, BLOB_ASK */
    struct row_cursor cursor; /* ROWS_ASK; ROWS: as asked */
    uint32_t bytes_max;       /* ROWS_ASK: of rows and runs */
    enum err err;             /* ROWS: not OK: ask another */
};
struct frame_echo {
    enum wire_lane lane;
    uint64_t boot;     /* of the sender of the echoed messages */
    uint64_t received; /* highest number seen */
    uint64_t missing_first, missing_last; /* lost in between; 0, 0: none */
};

struct frame {
    enum frame_kind kind;
    struct frame_group group; /* kinds below 64 */
    /* RAFT: to write one, set msg, and of `group` the group and generation
     * (the rest comes from msg.from.added, msg.to.added and msg.term). When
     * read, both have them, and msg.from.node and msg.to.node are left zero
     * for the caller; of an APPEND msg.items is NULL and msg.item_count is
     * set: walk the entries with wire_frame_entry_next. */
    struct raft_msg msg;
    struct span entries; /* APPEND, read: encoded */
    uint32_t payload_at; /* APPEND, read: offset of its payload in the message,
                            entry after entry */
    uint32_t payload_bytes; /* APPEND, read: of all its entries */
    struct frame_invite invite;
    enum err invite_reply;
    uint64_t ask_added; /* ASK: highest configuration index it knows */
    struct frame_echo echo;
    struct slice payload; /* ROWS, to write: what payload_at and payload_bytes
                             say when read */
    struct span bytes;    /* SWIM packet, RECORD; DEAD: node ids, 16 each;
                             STANDING: walked with wire_standing_next;
                             BLOB: images; ROWS: moved rows */
    struct epoch epoch;   /* RECORD_ASK: newest known */
    uint64_t boot;        /* FORGOTTEN, HELLO */
    uint64_t nonce;       /* FORGOTTEN, HELLO */
    uint64_t seen_boot;   /* FORGOTTEN: the higher one seen, or 0: removed */
    struct span client_address, peer_address; /* ADDRESS: record_is_address */
    struct frame_removed removed;   /* when read: set for REMOVED alone, while
                                       all else that a kind lacks is zero; */
    struct frame_transfer transfer; /* and this for the kinds of transfer */
};

/* Appends a frame to the message. For an APPEND the items' manifests go
 * inline, their slices into the payload (copies of the handles: the caller
 * acquires); all items must have their payload in memory. */
void wire_frame_write(struct wire_out *o, const struct frame *f);
/* The same of a RAFT kind without a struct frame: thousands a second. */
void wire_frame_write_raft(struct wire_out *o, uint32_t group,
                           struct generation generation,
                           const struct raft_msg *msg);
/* At most so many bytes will the frame take, inline and payload; any of a RAFT
 * kind but APPEND no more than WIRE_RAFT_BYTES_MAX. */
size_t wire_frame_size_max(const struct frame *f);
#define WIRE_RAFT_BYTES_MAX 96u

struct frame_iter {
    struct dec d;
    uint32_t payload_at;
    uint32_t payload_end;
    uint64_t skipped; /* bad frames */
};
void wire_frame_begin(struct frame_iter *it, const struct wire_in *in);
/* False at the end. Bad frames are skipped and counted; an APPEND's entries
 * have passed entry_check, ascend by one from prev_index + 1, and add up to
 * its payload. */
bool wire_frame_next(struct frame_iter *it, struct frame *out);

/* Appends one to a list of standings; the walk begins with dec_of(list). */
void wire_standing_write(struct buf *out, const struct frame_standing *s);
bool wire_standing_next(struct dec *d, struct frame_standing *out);

/* Are the rows of a message between nodes, and each segment in its payload, as
 * their checksums say? The shell's duty before the core hears of a message of
 * the transfer lane. */
NODISCARD bool wire_rows_verify(const struct wire_in *in);

/* Walks an APPEND's entries; begin with dec_of(frame.entries). */
struct frame_entry {
    struct span manifest;
    uint32_t payload_bytes;
};
bool wire_frame_entry_next(struct dec *entries, struct frame_entry *out);

/* ---- requests of clients ----------------------------------------------- */

enum wire_op {
    OP_NONE = 0,     /* responses only: the request made no sense */
    OP_HELLO = 1,    /* who are you? */
    OP_RECORD = 2,   /* the record, if newer than the one I have */
    OP_JOIN = 3,     /* let this node in (group 0's leader) */
    OP_COMMANDS = 4, /* create, open producer, append: to one group's leader */
    OP_OPEN = 5,     /* a stream by name, linearizable (leader) */
    OP_INFO = 6,     /* a stream by id, linearizable (leader) */
    OP_READ = 7,     /* segments; any replica may say yes */
    OP_LIST = 8,     /* streams of one group by name, linearizable (leader) */
    OP_STATUS = 9,   /* a node's own view */
    OP_CHANGE = 10,  /* what an operator changes in the ring (group 0's
                        leader; admin only) */
    OP_CHECK = 11,   /* a piece of a node's scrub of one replica (admin only) */
    OP_RECOVER = 12, /* group 0 has lost its majority: found it anew from what
                        this node has of it (admin only; DESIGN 4, S7) */
};

enum change_act {
    ACT_STAGE = 1,  /* add the changes to the staged plan */
    ACT_CLEAR = 2,  /* drop the staged plan */
    ACT_COMMIT = 3, /* carry the staged plan out */
    ACT_NOW = 4,    /* stage and carry out; nothing else may be staged */
};

struct change_request {
    enum change_act act;
    struct id128 proposal; /* random: a repeat gets the first answer (T26) */
    /* The table that the operator was shown; COMMIT and NOW fail if the
     * leader's would be another. Zero: none was shown. */
    struct hash128 digest;
    bool is_forced; /* what record_may_go_on refuses, and REMOVE of a member
                       that groups count on, is done nevertheless */
    uint32_t count; /* STAGE, NOW: 1 .. CHANGES_MAX */
    struct span changes; /* encoded; walked with wire_change_next */
};

/* net/check.h says what it is for. */
struct check_request {
    uint64_t index;       /* rows of entries up to this; 0: no piece is wanted,
                             but where the replica is */
    uint64_t state_index; /* the state's digest as of this entry; 0: as of what
                             is stored */
    struct scrub_cursor from;
};

struct request {
    enum wire_op op;
    uint32_t group;     /* all but HELLO, RECORD, JOIN, STATUS, CHANGE,
                           RECOVER */
    struct epoch epoch; /* RECORD: newest known; CHANGE: made from this one */
    struct check_request check;   /* CHECK */
    struct change_request change; /* CHANGE */
    struct generation generation; /* RECOVER: that begins; its random is the
                                     asker's */
    struct member member; /* JOIN (wanted and seen are not on the wire) */
    /* COMMANDS: made with struct commands_builder; its count and payload */
    struct span commands;
    uint16_t command_count;
    struct span name;       /* OPEN; LIST: prefix */
    struct span after;      /* LIST: names above this only */
    uint32_t count_max;     /* LIST, READ */
    struct position stream; /* INFO, READ */
    uint64_t from_seq;      /* READ */
    uint64_t end_seq;       /* READ: stop before; SEQ_ANY: no bound */
    uint32_t bytes_max;     /* READ */
    uint32_t wait_ms;       /* READ: to hold the answer while there is nothing
                               at from_seq; not obeyed yet */
};

/* Every response: op, err, the leader's hint, credit, a text for people. The
 * rest follows only if err is OK, or TRIMMED for READ; else it reads as zero
 * and empty. */
struct response {
    enum wire_op op;
    enum err err;
    struct id128 hint;     /* MOVED, NOT_HERE: who leads; zero: unknown */
    uint32_t credit_bytes; /* what this client may have in flight */
    uint32_t credit_commands;
    struct span text; /* the reason, in words; may be empty */
    /* HELLO */
    struct id128 node;
    uint16_t level;
    struct span version;
    /* RECORD (empty: you have the newest), STATUS (net/status.h), CHECK
     * (net/check.h) */
    struct span bytes;
    /* COMMANDS: encoded verdicts, walked with wire_verdict_next */
    struct span verdicts;
    uint16_t verdict_count;
    /* OPEN, INFO, LIST: encoded, walked with wire_stream_next */
    struct span streams;
    uint32_t stream_count;
    bool has_more; /* LIST */
    /* CHANGE, RECOVER: in force after it */
    struct epoch epoch;
    /* READ: segments of ascending seq without a gap; the payload holds their
     * bytes. Encoded, walked with wire_segment_next. */
    struct span segments;
    uint32_t segment_count;
    uint64_t next_seq;  /* READ: end known to this replica */
    uint64_t first_seq; /* READ: TRIMMED below this */
    bool is_leader;     /* READ: the end is the leader's word */
};

/* Both append to a message begun with wire_begin; the payload (the bytes of
 * appends, or of segments read) is the caller's to add with wire_out_slice. */
void wire_request_write(struct wire_out *o, const struct request *r);
void wire_response_write(struct wire_out *o, const struct response *r);
/* BAD_REQUEST. The message must be of that kind. Commands have passed
 * command_check, verdicts, streams and segments can be walked to their
 * counts, and sizes add up to the payload. */
NODISCARD enum err wire_request_read(const struct wire_in *in,
                                     struct request *out);
NODISCARD enum err wire_response_read(const struct wire_in *in,
                                      struct response *out);

/* COMMANDS: builds the list; a zeroed struct is an empty one. */
struct commands_builder {
    struct buf bytes;
    uint16_t count;
    uint32_t payload_bytes;
    struct command previous; /* its spans are not kept */
};
void wire_commands_clear(struct commands_builder *b); /* memory kept */
void wire_commands_free(struct commands_builder *b);
/* Adds nothing when it fails: command_check's errors (this command never
 * fits), or TOO_LARGE past the limits of one entry: send, and begin another. */
NODISCARD enum err wire_commands_add(struct commands_builder *b,
                                     const struct command *c);

/* Encodes a list of changes, and walks one: begin with dec_of(list). */
void wire_change_write(struct buf *out, const struct change *c);
bool wire_change_next(struct dec *d, struct change *out);

/* Walks the commands of a request that was read; the n-th has ordinal n. */
struct commands_iter {
    struct dec d;
    struct command previous;
    uint16_t next_ordinal;
    uint16_t count;
};
void wire_commands_begin(struct commands_iter *it, const struct request *r);
bool wire_commands_next(struct commands_iter *it, struct command *out);
/* Verifies each APPEND's checksum against its bytes in the message: the
 * shell's duty, before the core hears of the request (DESIGN 2). CORRUPT
 * names nothing more: the client sends again. */
NODISCARD enum err wire_commands_verify(const struct wire_in *in,
                                        const struct request *r);

/* Each appends one to an encoded list; the walks begin with dec_of(list). */
void wire_verdict_write(struct buf *out, const struct verdict *v);
bool wire_verdict_next(struct dec *d, struct verdict *out);
void wire_stream_write(struct buf *out, const struct stream_info *s);
bool wire_stream_next(struct dec *d, struct stream_info *out);

struct segment_head {
    uint64_t seq;
    uint64_t time_ms;
    uint32_t size;
    uint8_t algorithm; /* not 0; may be one that we do not know */
    struct hash128 checksum;
    uint64_t key_hash;
    struct span attributes;
};
/* Writes and walks say a segment by how it differs from the one before it,
 * which both keep in `previous`: zeroed before the first, then left alone
 * (its attributes are not used). */
void wire_segment_write(struct buf *out, struct segment_head *previous,
                        const struct segment_head *s);
bool wire_segment_next(struct dec *d, struct segment_head *previous,
                       struct segment_head *out);

#endif
