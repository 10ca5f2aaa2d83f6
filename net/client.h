/* client.h - the client core: a pure machine between what a program wants
 * and messages to nodes. The library (net/eddy.h) drives it with sockets, the
 * simulator with its own network; neither can do otherwise than the other.
 *
 * It knows the routing table (the ring record), learns leaders from MOVED,
 * retries with jittered back-off until an operation's time is up, keeps at
 * most the granted credit in flight (bytes and commands), and never says
 * more than it knows: once any attempt of a number is unknown, only a verdict
 * on that number makes it definite; otherwise the answer is TIMEOUT (T18).
 *
 *   submit, recv, tick --> client --> SEND to a node | DONE token, result
 *
 * Nodes are named by a small link number: contacts first (by address), then
 * members (by node id), so that the shell can map links to sockets. A member
 * at a contact's address, with its key, is that contact's link.
 *
 * An input only notes what has come; the work of a turn (expire, ask, send,
 * batch appends) is done by client_pop when it finds no effect waiting, so
 * that several submits and appends before it are one turn's. Times run out in
 * the turn after a client_tick only: give it all messages that are there, then
 * tick, and an answer that waits is heard, however late you are. Pop until
 * false after each client_recv and client_tick: their results borrow from the
 * message.
 *
 * A producer's appends are answered in order. Batches of them are in flight,
 * several at once; when one comes back unjudged (MOVED, BUSY, UNAVAILABLE,
 * NO_SPACE, OUT_OF_ORDER, or not at all) nothing more is sent until the others
 * are back too, and then all begins again at the first unanswered number, one
 * batch at a time until it goes well (L15, T18). The first append that fails
 * ends the producer: those behind it fail too, with TIMEOUT if any attempt of
 * them is unknown, else with OUT_OF_ORDER, nothing done.
 *
 * Segment bytes are slices of the shell's buffers; the core acquires a handle
 * once per submitted append (it takes over the caller's reference) and gives
 * it back by CLIENT_DO_RELEASE once the append is answered. */
#ifndef NET_CLIENT_H
#define NET_CLIENT_H

#include "net/wire.h"

#define CLIENT_OPERATIONS_MAX   1024u
#define CLIENT_PRODUCERS_MAX    1024u
#define CLIENT_APPEND_BYTES_MAX (16 * MIB) /* unanswered, of all producers */
#define CLIENT_TEXT_SIZE        320u

struct client_contact {
    char address[ADDRESS_MAX + 1];
    uint8_t server_key[KEY_BYTES];
};

struct client_cfg {
    struct id128 cluster; /* zero: the first record's */
    const struct client_contact *contacts;
    size_t contact_count;
    uint64_t seed;
    uint32_t timeout_ms;     /* of an operation; CLIENT_TIMEOUT_MS */
    uint32_t attempt_ms;     /* of one attempt at one node, 1000 */
    uint32_t backoff_min_ms; /* 20 */
    uint32_t backoff_max_ms; /* 1000 */
    void (*stream_hash)(struct id128 cluster, struct span name,
                        uint8_t out[16]); /* keys_stream_hash */
};

/* What a program may ask; `token` comes back with the result. */
enum client_op {
    CLIENT_CONNECT,  /* the record is known */
    CLIENT_CREATE,   /* name -> stream id (is_duplicate: it was there) */
    CLIENT_OPEN,     /* name -> stream info */
    CLIENT_INFO,     /* stream -> stream info */
    CLIENT_PRODUCER, /* stream, name -> producer handle, next number, epoch */
    CLIENT_READ,     /* stream, range -> segments; bytes are in the message */
    CLIENT_LIST,     /* prefix -> all streams of all groups, sorted by name */
    CLIENT_STATUS,   /* a member -> its status bytes */
    CLIENT_RECORD,   /* a node has confirmed or renewed the record just now */
    CLIENT_JOIN,     /* member -> OK once group 0's leader has appended it */
    CLIENT_CHANGE,   /* changes of the ring -> the epoch in force after them */
    CLIENT_CHECK,    /* a member, a group -> what it says of its copy */
    CLIENT_RECOVER,  /* a member founds group 0 anew -> the epoch after that */
};

struct client_request {
    enum client_op op;
    uint64_t token;
    uint32_t timeout_ms;    /* 0: the client's */
    struct span name;       /* CREATE, OPEN, PRODUCER, LIST prefix */
    uint32_t partition;     /* with stream */
    struct position stream; /* INFO, PRODUCER, READ */
    bool is_unnamed;        /* PRODUCER */
    uint64_t from_seq, end_seq;
    uint32_t bytes_max, count_max;
    bool any_replica;  /* READ: spread over replicas; else the leader */
    struct id128 node; /* STATUS, CHECK, RECOVER: member asked */
    struct generation generation; /* RECOVER: that begins */
    struct member member;         /* JOIN */
    struct change_request change; /* CHANGE: its span is copied */
    struct epoch epoch;           /* CHANGE: made from this one */
    uint32_t group;               /* CHECK */
    struct check_request check;   /* CHECK */
};

struct client_result {
    uint64_t token;
    enum client_op op;
    enum err err;
    bool is_duplicate;
    uint32_t partition;
    struct stream_info stream; /* CREATE (id, name and next_seq only), OPEN,
                                  INFO; borrowed */
    uint32_t producer;         /* PRODUCER: handle for client_append */
    uint64_t next_number;
    const struct response *read; /* READ: walk segments, with their bytes in */
    struct span payload;         /* this; borrowed from the message */
    uint64_t payload_handle;     /* ... of this handle, if the shell gave one */
    const struct stream_info *streams; /* LIST */
    size_t stream_count;
    struct span bytes;           /* STATUS, CHECK */
    struct epoch epoch;          /* CHANGE, RECOVER */
    char text[CLIENT_TEXT_SIZE]; /* the reason in words, for people */
};

struct client_append {
    uint32_t producer;
    uint64_t token;
    struct slice bytes; /* takes over one reference */
    uint8_t algorithm;
    struct hash128 checksum;
    uint64_t expected_seq; /* SEQ_ANY */
    uint64_t key_hash;
    struct span attributes; /* copied */
    bool closes_producer;
};

enum client_effect_kind {
    CLIENT_DO_SEND,     /* message to a link */
    CLIENT_DO_LINK,     /* a link's address and server key (new or changed) */
    CLIENT_DO_DONE,     /* result of an operation */
    CLIENT_DO_APPENDED, /* result of one append: in order of submission */
    CLIENT_DO_RELEASE,  /* handle */
};
struct client_effect {
    enum client_effect_kind kind;
    uint32_t link;
    const struct wire_out *message; /* borrowed */
    const char *address;
    const uint8_t *server_key;
    struct client_result result; /* DONE */
    /* APPENDED */
    uint64_t token;
    enum err err;
    bool is_duplicate;
    uint64_t number;
    uint64_t seq;
    const char *text; /* the reason in words; may be empty */
    uint64_t handle;  /* RELEASE */
};

struct client;

struct client *client_new(const struct client_cfg *cfg, uint64_t now_ms);
/* Forgets all that is under way; pop once more, for the RELEASEs. Then free:
 * NULL is accepted. */
void client_close(struct client *c);
void client_free(struct client *c);

/* BUSY: CLIENT_OPERATIONS_MAX are under way. BAD_REQUEST: senseless. Its
 * result is a DONE, at the latest when its time is up. At that time, if no
 * node has ever answered, it is UNAVAILABLE; what changes nothing and got no
 * answer is TIMEOUT. */
NODISCARD enum err client_submit(struct client *c,
                                 const struct client_request *r,
                                 uint64_t now_ms);
/* BUSY: PRODUCER_INFLIGHT_MAX or CLIENT_APPEND_BYTES_MAX is reached: submit
 * again after an APPENDED. BAD_REQUEST, TOO_LARGE: command_check's. FENCED,
 * EXPIRED, TIMEOUT...: the producer has failed for good with this error (it
 * never reopens by itself, T18; UNAVAILABLE if that was BUSY); BAD_REQUEST too
 * once it is closed by an append. On error the caller still owns the slice's
 * reference. */
NODISCARD enum err
client_append(struct client *c, const struct client_append *a, uint64_t now_ms);
/* The number that the next client_append of this producer will bear. */
uint64_t client_next_number(const struct client *c, uint32_t producer);
/* The next append repeats `number`, which is not above the next one; only
 * before the first append. */
void client_rewind(struct client *c, uint32_t producer, uint64_t number);
/* Forgets the handle. What is unanswered gets no answer any more. */
void client_close_producer(struct client *c, uint32_t producer);

/* A message from a link; `handle` names its buffer in the shell (0: none),
 * borrowed for the call and for the effects until the next input. */
void client_recv(struct client *c, uint32_t link, struct span message,
                 uint64_t handle, uint64_t now_ms);
/* The shell knows that nobody is at the other end of a link, or no more: what
 * waits for an answer from there runs out in the turn after the next tick,
 * and others are asked instead; a STATUS of who is there ends UNAVAILABLE. Or
 * that somebody is there (again). A shell that cannot know need not tell: time
 * does. */
void client_link_lost(struct client *c, uint32_t link, uint64_t now_ms);
void client_link_up(struct client *c, uint32_t link, uint64_t now_ms);
void client_tick(struct client *c, uint64_t now_ms);
uint64_t client_deadline(const struct client *c);
bool client_pop(struct client *c, struct client_effect *out);

/* The record in use; NULL before the first. Borrowed until the next input. */
const struct record *client_record(const struct client *c);
/* Who gave it first; zero before. */
struct id128 client_first_node(const struct client *c);
void client_check(const struct client *c);

#endif
