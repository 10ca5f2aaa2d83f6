/* entry.h - one entry of a group's log: its bytes (the same on wire and disk)
 * and the object that carries it through memory.
 *
 *   manifest = header | body            small; the core reads it
 *   payload  = the segments' bytes      large; the core only counts it
 *
 *   header   version u8 = 1, kind u8, level u16, index u64, term u64,
 *            epoch 16, time u64, payload bytes u32, command count u16
 *   body     NOOP      nothing
 *            CONFIG    count u8, each: node 16, added u64, is_voter u8
 *            RECORD    proposal 16, expected epoch 16, size u32, record
 *                      (group 0 only)
 *            COMMANDS  `command count` commands, each kind u8, then
 *                      CREATE         name string
 *                      OPEN_PRODUCER  stream index u64, ordinal u16,
 *                                     is_unnamed u8, name string
 *                      APPEND         flags u8 | see below
 *   APPEND   flags: 1 CONTINUES, 2 EXPECT, 4 CLOSE, 8 ATTRIBUTES, 16 KEY
 *            unless CONTINUES: stream index u64, ordinal u16, producer index
 *            u64, ordinal u16, producer epoch u32, number u64;
 *            EXPECT: expected seq u64; size u32; algorithm u8; checksum 16;
 *            KEY: key hash u64; ATTRIBUTES: string
 *   CONTINUES means: the command just before is an APPEND; same stream,
 *   producer and producer epoch, number one higher. It is what keeps small
 *   appends small.
 *
 * An entry holds *commands*, not results: verdicts are judged when it is
 * applied (S18). Raft's words as in Ongaro and Ousterhout 2014.
 *
 * A *run* is a maximal sequence of neighbouring APPENDs of one stream in one
 * entry; its bytes lie back to back under (index, ordinal of its first). */
#ifndef RING_ENTRY_H
#define RING_ENTRY_H

#include "ring/base.h"
#include "ring/codec.h"
#include "ring/limits.h"

#define ENTRY_VERSION      1u
#define ENTRY_HEADER_BYTES 50u
#define LEVEL_NOW          1u /* the feature level this binary judges at */

enum entry_kind {
    ENTRY_NOOP = 1,
    ENTRY_CONFIG = 2,
    ENTRY_COMMANDS = 3,
    ENTRY_RECORD = 4,
    /* 5: CHECK, later */
};

enum command_kind {
    COMMAND_CREATE = 1,
    COMMAND_APPEND = 2,
    COMMAND_OPEN_PRODUCER = 3,
    /* 4 TRIM, 5 SEAL, 6 SET, 7 CURSOR, 8 DELETE: later */
};

#define CHECKSUM_XXH3_128 1u

#define SEQ_ANY UINT64_MAX /* an append that expects no particular seq */

/* The position of a command; a stream's and a producer's id is the position
 * of the command that made it (within its group). index 0: none (T8). */
struct position {
    uint64_t index;
    uint16_t ordinal;
};
static inline void enc_position(struct enc *e, struct position p)
{
    enc_u64(e, p.index);
    enc_u16(e, p.ordinal);
}
static inline struct position dec_position(struct dec *d)
{
    struct position p;
    p.index = dec_u64(d);
    p.ordinal = dec_u16(d);
    return p;
}
static inline bool position_equal(struct position a, struct position b)
{
    return a.index == b.index && a.ordinal == b.ordinal;
}
static inline int position_compare(struct position a, struct position b)
{
    if (a.index != b.index)
        return a.index < b.index ? -1 : 1;
    return (a.ordinal > b.ordinal) - (a.ordinal < b.ordinal);
}
/* For a struct map: indexes are dense, so their bits are spread. */
static inline uint64_t position_hash(struct position p)
{
    uint64_t z = ((p.index << 16) ^ p.ordinal) * 0x9e3779b97f4a7c15u;
    return z ^ (z >> 32);
}

/* ---- who keeps a group ------------------------------------------------- */

/* A replica is the pair (node, index of the configuration entry that added
 * it); everything that counts counts by the pair (S4, T13). */
struct replica {
    struct id128 node;
    uint64_t added;
};
static inline bool replica_equal(struct replica a, struct replica b)
{
    return a.added == b.added && id_equal(a.node, b.node);
}

struct config_member {
    struct replica replica;
    bool is_voter; /* else a learner, on its way in */
};
struct config {
    uint64_t index; /* of the entry that holds it */
    uint32_t count;
    struct config_member members[REPLICAS_MAX];
};
uint32_t config_voters(const struct config *c);
/* NULL if the pair is not in it. */
const struct config_member *config_find(const struct config *c,
                                        struct replica r);
/* The member that stands for a node with the highest `added`, or NULL. */
const struct config_member *config_find_node(const struct config *c,
                                             struct id128 node);
bool config_equal(const struct config *a, const struct config *b);

/* ---- manifests --------------------------------------------------------- */

/* What the leader stamps on every entry. */
struct entry_stamp {
    struct epoch epoch; /* of the ring record it acts on (T29) */
    uint16_t level;     /* feature level to judge at (T11) */
    uint64_t time_ms;   /* wall clock, since 1970; for users, never for rules */
};

struct entry_header {
    enum entry_kind kind;
    uint64_t index;
    uint64_t term;
    struct entry_stamp stamp;
    uint32_t payload_bytes;
    uint16_t command_count;
};

struct command {
    enum command_kind kind;
    uint16_t ordinal; /* set by entry_next */
    struct span name; /* CREATE, OPEN_PRODUCER; borrowed */
    bool is_unnamed;  /* OPEN_PRODUCER: a random name, expires by itself */
    struct position stream; /* APPEND, OPEN_PRODUCER */
    /* APPEND */
    struct position producer;
    uint32_t producer_epoch;
    uint64_t number;
    uint64_t expected_seq; /* SEQ_ANY: none */
    bool closes_producer;  /* the producer is forgotten after this one */
    uint32_t size;         /* bytes of payload */
    uint8_t algorithm;
    struct hash128 checksum;
    uint64_t key_hash;      /* 0: none */
    struct span attributes; /* borrowed */
};

struct entry_record {
    struct id128 proposal;
    struct epoch expected;
    struct span record;
};

/* A command by itself: what a node asks before it takes one from a client.
 * BAD_REQUEST: an empty name, an unknown kind or algorithm, the number 2^64-1
 * (it has no successor). TOO_LARGE: over a limit of name, attributes or
 * segment. */
NODISCARD enum err command_check(const struct command *c);

/* One command's bytes, as they stand in an entry and in a client's request.
 * `previous` is the one just before in the same list (for CONTINUES; its kind
 * is 0 if there is none). Write: `c` has passed command_check. Read: false if
 * the bytes make no sense; what it returns has passed command_check, the
 * ordinal is not set. */
void command_write(struct enc *e, const struct command *previous,
                   const struct command *c);
NODISCARD bool command_read(struct dec *d, const struct command *previous,
                            struct command *out);

/* Builds a manifest into `out` (cleared first). Header, then commands; end
 * patches counts, and wants at least one command. entry_add adds nothing when
 * it fails: with command_check's error (this command never fits), or TOO_LARGE
 * when it would pass ENTRY_MANIFEST_BYTES_MAX, ENTRY_COMMANDS_MAX or
 * ENTRY_PAYLOAD_BYTES_MAX (of an entry with commands: end it, and begin
 * another; an empty entry has room for any command that command_check
 * accepts). index and term are set by entry_number. */
struct entry_builder {
    struct buf *out;
    struct entry_header header;
    struct command previous; /* for CONTINUES; spans not kept */
    bool has_previous;
};
void entry_build(struct entry_builder *b, struct buf *out,
                 struct entry_stamp stamp);
NODISCARD enum err entry_add(struct entry_builder *b, const struct command *c);
void entry_end(struct entry_builder *b);
void entry_build_noop(struct buf *out, struct entry_stamp stamp);
void entry_build_config(struct buf *out, struct entry_stamp stamp,
                        const struct config *c);
void entry_build_record(struct buf *out, struct entry_stamp stamp,
                        const struct entry_record *r);
/* Sets index and term in a built manifest (Raft numbers it at the append). */
void entry_number(uint8_t *manifest, uint64_t index, uint64_t term);

/* Reads and checks a whole manifest once: version, kind, each command, limits
 * (names' lengths not 0 and in bounds, sizes within SEGMENT_BYTES_MAX with
 * the attributes, counts; payload_bytes = sum of the sizes; configurations
 * with a voter and each pair once; nothing left over; one encoding for one
 * meaning). BAD_REQUEST: senseless; INCOMPATIBLE: a version or a level above
 * ours (level 0 is BAD_REQUEST). After it the readers below cannot fail on
 * the same bytes. Index and term are not judged: an entry may not have its
 * number yet. */
NODISCARD enum err entry_check(struct span manifest);
NODISCARD enum err entry_read_header(struct span manifest,
                                     struct entry_header *out);
NODISCARD enum err entry_read_config(struct span manifest, struct config *out);
NODISCARD enum err entry_read_record(struct span manifest,
                                     struct entry_record *out);
/* Walks the commands of a COMMANDS manifest; spans borrow from it. */
struct entry_iter {
    struct dec d;
    struct entry_header header;
    struct command previous;
    uint16_t next_ordinal;
};
NODISCARD enum err entry_begin(struct entry_iter *it, struct span manifest);
/* False at the end (or when bad: entry_check tells the two apart). */
bool entry_next(struct entry_iter *it, struct command *out);

/* ---- items: an entry in memory ----------------------------------------- */

/* Handles whose last reference has gone; the node pops them as RELEASE
 * effects (buffers belong to the shell, DESIGN 2). */
struct item_pool {
    uint64_t *released;
    size_t released_count;
    size_t released_capacity;
    size_t live; /* items not yet freed; a leak check */
};
void item_pool_free(struct item_pool *p);
void item_pool_release(struct item_pool *p, uint64_t handle);

/* One entry, counted by reference (loop thread only; the writer thread may
 * read one that a commit under way holds). Immutable once in a log. */
struct item {
    uint32_t refs;
    uint64_t index;
    uint64_t term;
    enum entry_kind kind;
    uint32_t manifest_size;
    uint32_t payload_size;
    /* payload_size > 0 and slice_count == 0: the bytes are on disk only */
    uint32_t slice_count;
    struct slice *slices; /* in order, together payload_size bytes */
    uint8_t *manifest;
};
/* The manifest and the slices are copied; each slice's handle is one
 * reference, which the caller has acquired and the item now owns. The
 * manifest must have passed entry_check. */
struct item *item_new(struct item_pool *p, struct span manifest,
                      const struct slice *slices, uint32_t slice_count);
struct item *item_ref(struct item *i);
/* The last one frees the item and moves its handles to the pool. */
void item_unref(struct item_pool *p, struct item *i);
/* Let go of the payload's handles, keep the manifest. Only when nobody else
 * (refs == 1) could be reading them. */
void item_drop_payload(struct item_pool *p, struct item *i);
static inline bool item_has_payload(const struct item *i)
{
    return i->payload_size == 0 || i->slice_count > 0;
}
static inline struct span item_manifest(const struct item *i)
{
    return (struct span){i->manifest, i->manifest_size};
}
static inline size_t item_bytes(const struct item *i)
{
    return (size_t)i->manifest_size + i->payload_size;
}

#endif
