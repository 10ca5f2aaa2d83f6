/* store_rows.h - the bytes of rows: keys, values, checksums. Nothing here
 * knows LMDB; what is written here is what a folder holds.
 *
 * Keys are big-endian and of one length per database: LMDB's order is
 * memcmp's, and trees with keys of very uneven length are where LMDB's family
 * had its worst bugs (PITFALLS A18). The row key of `state` is therefore
 * padded with zeros, its length behind it, which keeps the order.
 *
 *   log      group incarnation index ordinal chunk            20 bytes
 *   index    group incarnation | run key (18)                 26
 *   state    group incarnation | row key padded (24) size u8  33
 *   meta     group incarnation kind u8 number be64            17
 *
 * An entry's rows in `log` are neighbours: its payload's, then its manifest's,
 * under the highest ordinal and chunk. A commit holds entries of many groups,
 * and each leaf that it changes is a page to write (and to sync): two
 * databases would have twice as many.
 *
 * Values are little-endian. Each ends with 8 bytes of checksum over key and
 * value (S24), payload rows excepted: they begin with a header instead
 *   key 20 | bytes of the whole run u32 | bytes in this row u32
 * and their bytes are covered by the segments' own checksums. */
#ifndef STORAGE_STORE_ROWS_H
#define STORAGE_STORE_ROWS_H

#include "storage/store.h"

enum store_db {
    STORE_DB_LOG,
    STORE_DB_INDEX,
    STORE_DB_STATE,
    STORE_DB_META,
};
#define STORE_DB_COUNT 4u

/* ---- keys -------------------------------------------------------------- */

#define STORE_GROUP_KEY_BYTES 8u /* what every key begins with */
#define STORE_LOG_KEY_BYTES   20u
#define STORE_INDEX_KEY_BYTES (STORE_GROUP_KEY_BYTES + RUN_KEY_BYTES)
#define STORE_STATE_KEY_BYTES (STORE_GROUP_KEY_BYTES + ROW_KEY_BYTES_MAX + 1u)
#define STORE_META_KEY_BYTES  17u
#define STORE_KEY_BYTES_MAX   STORE_STATE_KEY_BYTES

struct store_key {
    uint8_t bytes[STORE_KEY_BYTES_MAX];
    uint8_t size;
};
static inline struct span store_key_span(const struct store_key *key)
{
    return span_of(key->bytes, key->size);
}
static inline uint32_t store_key_group(struct span key)
{
    return get_be32(key.data);
}
static inline uint32_t store_key_incarnation(struct span key)
{
    return get_be32(key.data + 4);
}

/* What a meta row is. Rows of the node stand under the group STORE_NODE_GROUP
 * and behind those of all groups. Of a group: its tombstone under incarnation
 * 0, then its replica's rows, REPLICA first. */
enum store_meta {
    STORE_META_FOLDER = 1, /* node: format, ids, partitions, row counts */
    STORE_META_BOOT,       /* node: number */
    STORE_META_RECORD,     /* node: the ring record */
    STORE_META_TOMBSTONE,  /* group: least, incarnation */
    STORE_META_REPLICA,    /* replica: what changes rarely, row counts */
    STORE_META_HARD,       /* replica: term and vote */
    STORE_META_APPLIED,    /* replica: index, term, digest, epoch stored */
    STORE_META_RUN,        /* replica, number = first index: term */
    STORE_META_CONFIG,     /* replica, number = index: configuration */
    STORE_META_BOOTS,      /* node: peers' boots, as node/ has encoded them */
    STORE_META_INSTALL,    /* replica, while it is installing: how far it is */
};
#define STORE_NODE_GROUP UINT32_MAX

/* The first key of an incarnation, in any database (a prefix of its keys). */
struct store_key store_key_first(uint32_t group, uint32_t incarnation);
/* The manifest's row of an entry: behind those of its payload. */
struct store_key store_key_log(uint32_t group, uint32_t incarnation,
                               uint64_t index);
struct store_key store_key_payload(uint32_t group, uint32_t incarnation,
                                   struct position at, uint16_t chunk);
struct store_key store_key_meta(uint32_t group, uint32_t incarnation,
                                enum store_meta kind, uint64_t number);
/* The key of an image; false if its size is not one that the space has. */
NODISCARD bool store_key_image(uint32_t group, uint32_t incarnation,
                               const struct image *image,
                               struct store_key *out);
/* The row key in a key of `state`; false if it is none. Borrowed. */
NODISCARD bool store_key_state_row(struct span key, struct span *row_key);
/* The row key in a key of `index`, of the right size. Borrowed. */
struct span store_key_index_row(struct span key);
NODISCARD bool store_key_read_meta(struct span key, enum store_meta *kind,
                                   uint64_t *number);

/* ---- values ------------------------------------------------------------ */

#define STORE_CHECKSUM_BYTES 8u
/* The largest value of a meta row, the record excepted. */
#define STORE_META_BYTES_MAX 512u

/* Over key and value: XXH3-64 of both hashes, so that neither needs copying. */
uint64_t store_row_checksum(struct span key, struct span value);
/* Takes the checksum off a stored value. False: it does not match. */
NODISCARD bool store_row_open(struct span key, struct span stored,
                              struct span *value);

struct store_folder_row {
    uint32_t format;
    struct store_folder folder; /* boot: a row of its own */
    /* Rows have redundancy by meaning (S24): what a rotten page of the tree
     * makes vanish is missed. */
    uint32_t replicas;
    uint32_t tombstones;
};
struct store_replica_row {
    struct generation generation;
    uint64_t added;
    uint64_t base_index;
    uint64_t base_term;
    uint32_t run_count;
    uint32_t config_count;
    bool is_quarantined;
    bool is_installing;     /* then, and only then, there is an INSTALL row */
    struct span quarantine; /* borrowed */
};
struct store_install_row {
    struct row_cursor cursor;
    uint64_t moved_bytes;
};
struct store_applied_row {
    uint64_t index;
    uint64_t term;
    struct hash128 digest;
    struct epoch epoch;
};
struct store_tombstone_row {
    uint64_t least;
    uint32_t incarnation;
};

void store_put_folder(struct enc *e, const struct store_folder_row *row);
void store_put_number(struct enc *e, uint64_t number); /* BOOT, RUN */
void store_put_replica(struct enc *e, const struct store_replica_row *row);
void store_put_hard(struct enc *e, const struct raft_hard_state *hard);
void store_put_applied(struct enc *e, const struct store_applied_row *row);
void store_put_tombstone(struct enc *e, const struct store_tombstone_row *row);
void store_put_config(struct enc *e, const struct config *c);
void store_put_install(struct enc *e, const struct store_install_row *row);

/* False: not such a row. A folder of another format is read as far as the
 * format goes. */
NODISCARD bool store_get_folder(struct span value,
                                struct store_folder_row *out);
NODISCARD bool store_get_number(struct span value, uint64_t *out);
NODISCARD bool store_get_replica(struct span value,
                                 struct store_replica_row *out);
NODISCARD bool store_get_hard(struct span value, struct raft_hard_state *out);
NODISCARD bool store_get_applied(struct span value,
                                 struct store_applied_row *out);
NODISCARD bool store_get_tombstone(struct span value,
                                   struct store_tombstone_row *out);
NODISCARD bool store_get_install(struct span value,
                                 struct store_install_row *out);
/* The index is the key's number. */
NODISCARD bool store_get_config(struct span value, uint64_t index,
                                struct config *out);

/* ---- payload rows ------------------------------------------------------ */

#define STORE_PAYLOAD_HEADER_BYTES (STORE_LOG_KEY_BYTES + 8u)
/* Bytes of a run in each of its rows but the last, which is not padded: the
 * least file for the least churn (PITFALLS A17). */
#define STORE_CHUNK_BYTES (PAYLOAD_ROW_BYTES_MAX - STORE_PAYLOAD_HEADER_BYTES)

void store_put_payload_header(uint8_t out[STORE_PAYLOAD_HEADER_BYTES],
                              struct span key, uint32_t run_bytes,
                              uint32_t row_bytes);
/* Checks a payload row against its key: false if the header is another's, or
 * the row is not of the size that a chunk with this number has. */
NODISCARD bool store_get_payload(struct span key, struct span stored,
                                 uint32_t *run_bytes, struct span *bytes);

#endif
