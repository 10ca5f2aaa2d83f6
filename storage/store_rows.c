/* store_rows.c - see store_rows.h. */
#include "storage/store_rows.h"

/* Where the parts of a key in `log` begin. */
#define LOG_INDEX_AT   STORE_GROUP_KEY_BYTES
#define LOG_ORDINAL_AT (LOG_INDEX_AT + 8u)
#define LOG_CHUNK_AT   (LOG_ORDINAL_AT + 2u)

static_assert(STORE_LOG_KEY_BYTES == LOG_CHUNK_AT + 2u, "chunk");
static_assert(ENTRY_COMMANDS_MAX <= UINT16_MAX,
              "no command has the manifest's ordinal");
static_assert(STORE_META_KEY_BYTES == STORE_GROUP_KEY_BYTES + 9,
              "kind and number");
static_assert(ENTRY_PAYLOAD_BYTES_MAX / STORE_CHUNK_BYTES < UINT16_MAX,
              "a chunk's number is a u16");
static_assert(1 + REPLICAS_MAX * 25 + STORE_CHECKSUM_BYTES <=
                  STORE_META_BYTES_MAX,
              "the largest configuration fits a row");
static_assert(48 + STORE_QUARANTINE_MAX + STORE_CHECKSUM_BYTES <=
                  STORE_META_BYTES_MAX,
              "a quarantined replica fits a row");

/* ---- keys -------------------------------------------------------------- */

struct store_key store_key_first(uint32_t group, uint32_t incarnation)
{
    struct store_key key = {.size = STORE_GROUP_KEY_BYTES};
    put_be32(key.bytes, group);
    put_be32(key.bytes + 4, incarnation);
    return key;
}

static struct store_key log_key(uint32_t group, uint32_t incarnation,
                                uint64_t index, uint16_t ordinal,
                                uint16_t chunk)
{
    struct store_key key = store_key_first(group, incarnation);
    put_be64(key.bytes + LOG_INDEX_AT, index);
    put_be16(key.bytes + LOG_ORDINAL_AT, ordinal);
    put_be16(key.bytes + LOG_CHUNK_AT, chunk);
    key.size = STORE_LOG_KEY_BYTES;
    return key;
}

struct store_key store_key_log(uint32_t group, uint32_t incarnation,
                               uint64_t index)
{
    return log_key(group, incarnation, index, UINT16_MAX, UINT16_MAX);
}

struct store_key store_key_payload(uint32_t group, uint32_t incarnation,
                                   struct position at, uint16_t chunk)
{
    return log_key(group, incarnation, at.index, at.ordinal, chunk);
}

struct store_key store_key_meta(uint32_t group, uint32_t incarnation,
                                enum store_meta kind, uint64_t number)
{
    struct store_key key = store_key_first(group, incarnation);
    key.bytes[STORE_GROUP_KEY_BYTES] = (uint8_t)kind;
    put_be64(key.bytes + STORE_GROUP_KEY_BYTES + 1, number);
    key.size = STORE_META_KEY_BYTES;
    return key;
}

bool store_key_image(uint32_t group, uint32_t incarnation,
                     const struct image *image, struct store_key *out)
{
    struct span row = image->key;
    *out = store_key_first(group, incarnation);
    switch (image->space) {
    case ROW_INDEX:
        if (row.size != RUN_KEY_BYTES)
            return false;
        out->size = STORE_INDEX_KEY_BYTES;
        break;
    case ROW_STATE:
        if (row.size == 0 || row.size > ROW_KEY_BYTES_MAX)
            return false;
        out->size = STORE_STATE_KEY_BYTES;
        out->bytes[STORE_STATE_KEY_BYTES - 1] = (uint8_t)row.size;
        break;
    }
    memcpy(out->bytes + STORE_GROUP_KEY_BYTES, row.data, row.size);
    return true;
}

bool store_key_state_row(struct span key, struct span *row_key)
{
    if (key.size != STORE_STATE_KEY_BYTES)
        return false;
    uint8_t size = key.data[STORE_STATE_KEY_BYTES - 1];
    if (size == 0 || size > ROW_KEY_BYTES_MAX)
        return false;
    *row_key = span_of(key.data + STORE_GROUP_KEY_BYTES, size);
    return true;
}

struct span store_key_index_row(struct span key)
{
    ASSERT(key.size == STORE_INDEX_KEY_BYTES);
    return span_of(key.data + STORE_GROUP_KEY_BYTES, RUN_KEY_BYTES);
}

bool store_key_read_meta(struct span key, enum store_meta *kind,
                         uint64_t *number)
{
    if (key.size != STORE_META_KEY_BYTES)
        return false;
    uint8_t byte = key.data[STORE_GROUP_KEY_BYTES];
    if (byte < STORE_META_FOLDER || byte > STORE_META_INSTALL)
        return false;
    *kind = (enum store_meta)byte;
    *number = get_be64(key.data + STORE_GROUP_KEY_BYTES + 1);
    return true;
}

/* ---- checksums --------------------------------------------------------- */

uint64_t store_row_checksum(struct span key, struct span value)
{
    uint8_t both[16];
    struct enc e = enc_of(both, sizeof both);
    enc_u64(&e, hash64(key));
    enc_u64(&e, hash64(value));
    return hash64(enc_span(&e));
}

bool store_row_open(struct span key, struct span stored, struct span *value)
{
    if (stored.size < STORE_CHECKSUM_BYTES)
        return false;
    size_t size = stored.size - STORE_CHECKSUM_BYTES;
    struct dec d = dec_of(span_of(stored.data + size, STORE_CHECKSUM_BYTES));
    *value = span_of(stored.data, size);
    return dec_u64(&d) == store_row_checksum(key, *value);
}

enum replica_flag { REPLICA_QUARANTINED = 1, REPLICA_INSTALLING = 2 };

/* ---- values, out ------------------------------------------------------- */

void store_put_folder(struct enc *e, const struct store_folder_row *row)
{
    enc_u32(e, row->format);
    enc_id(e, row->folder.cluster);
    enc_id(e, row->folder.node);
    enc_u32(e, row->folder.partitions);
    enc_u32(e, row->replicas);
    enc_u32(e, row->tombstones);
}

void store_put_number(struct enc *e, uint64_t number)
{
    enc_u64(e, number);
}

void store_put_replica(struct enc *e, const struct store_replica_row *row)
{
    ASSERT(row->quarantine.size <= STORE_QUARANTINE_MAX);
    enc_generation(e, row->generation);
    enc_u64(e, row->added);
    enc_u64(e, row->base_index);
    enc_u64(e, row->base_term);
    enc_u32(e, row->run_count);
    enc_u32(e, row->config_count);
    enc_u8(e, (uint8_t)((row->is_quarantined ? REPLICA_QUARANTINED : 0) |
                        (row->is_installing ? REPLICA_INSTALLING : 0)));
    enc_string(e, row->quarantine);
}

void store_put_hard(struct enc *e, const struct raft_hard_state *hard)
{
    enc_u64(e, hard->term);
    enc_id(e, hard->vote.node);
    enc_u64(e, hard->vote.added);
}

void store_put_applied(struct enc *e, const struct store_applied_row *row)
{
    enc_u64(e, row->index);
    enc_u64(e, row->term);
    enc_hash128(e, row->digest);
    enc_epoch(e, row->epoch);
}

void store_put_tombstone(struct enc *e, const struct store_tombstone_row *row)
{
    enc_u64(e, row->least);
    enc_u32(e, row->incarnation);
}

void store_put_config(struct enc *e, const struct config *c)
{
    ASSERT(c->count <= REPLICAS_MAX);
    enc_u8(e, (uint8_t)c->count);
    for (uint32_t i = 0; i < c->count; i++) {
        enc_id(e, c->members[i].replica.node);
        enc_u64(e, c->members[i].replica.added);
        enc_u8(e, c->members[i].is_voter);
    }
}

void store_put_install(struct enc *e, const struct store_install_row *row)
{
    enc_position(e, row->cursor.stream);
    enc_u64(e, row->cursor.seq);
    enc_u64(e, row->moved_bytes);
}

/* ---- values, in -------------------------------------------------------- */

/* A byte that is a truth value, and nothing else. */
static bool get_bool(struct dec *d)
{
    uint8_t byte = dec_u8(d);
    if (byte > 1)
        dec_fail(d);
    return byte == 1;
}

bool store_get_folder(struct span value, struct store_folder_row *out)
{
    struct dec d = dec_of(value);
    *out = (struct store_folder_row){.format = dec_u32(&d)};
    if (out->format != STORE_FORMAT)
        return !d.is_bad;
    out->folder.cluster = dec_id(&d);
    out->folder.node = dec_id(&d);
    out->folder.partitions = dec_u32(&d);
    out->replicas = dec_u32(&d);
    out->tombstones = dec_u32(&d);
    return dec_done(&d) && out->folder.partitions <= PARTITIONS_MAX;
}

bool store_get_number(struct span value, uint64_t *out)
{
    struct dec d = dec_of(value);
    *out = dec_u64(&d);
    return dec_done(&d);
}

bool store_get_replica(struct span value, struct store_replica_row *out)
{
    struct dec d = dec_of(value);
    out->generation = dec_generation(&d);
    out->added = dec_u64(&d);
    out->base_index = dec_u64(&d);
    out->base_term = dec_u64(&d);
    out->run_count = dec_u32(&d);
    out->config_count = dec_u32(&d);
    uint8_t flags = dec_u8(&d);
    if (flags & ~(REPLICA_QUARANTINED | REPLICA_INSTALLING))
        dec_fail(&d);
    out->is_quarantined = flags & REPLICA_QUARANTINED;
    out->is_installing = flags & REPLICA_INSTALLING;
    out->quarantine = dec_string(&d);
    return dec_done(&d) && out->quarantine.size <= STORE_QUARANTINE_MAX;
}

bool store_get_hard(struct span value, struct raft_hard_state *out)
{
    struct dec d = dec_of(value);
    out->term = dec_u64(&d);
    out->vote.node = dec_id(&d);
    out->vote.added = dec_u64(&d);
    return dec_done(&d);
}

bool store_get_applied(struct span value, struct store_applied_row *out)
{
    struct dec d = dec_of(value);
    out->index = dec_u64(&d);
    out->term = dec_u64(&d);
    out->digest = dec_hash128(&d);
    out->epoch = dec_epoch(&d);
    return dec_done(&d);
}

bool store_get_tombstone(struct span value, struct store_tombstone_row *out)
{
    struct dec d = dec_of(value);
    out->least = dec_u64(&d);
    out->incarnation = dec_u32(&d);
    return dec_done(&d);
}

bool store_get_config(struct span value, uint64_t index, struct config *out)
{
    struct dec d = dec_of(value);
    *out = (struct config){.index = index, .count = dec_u8(&d)};
    if (out->count > REPLICAS_MAX)
        return false;
    for (uint32_t i = 0; i < out->count; i++) {
        out->members[i].replica.node = dec_id(&d);
        out->members[i].replica.added = dec_u64(&d);
        out->members[i].is_voter = get_bool(&d);
    }
    return dec_done(&d);
}

bool store_get_install(struct span value, struct store_install_row *out)
{
    struct dec d = dec_of(value);
    out->cursor.stream.index = dec_u64(&d);
    out->cursor.stream.ordinal = dec_u16(&d);
    out->cursor.seq = dec_u64(&d);
    out->moved_bytes = dec_u64(&d);
    return dec_done(&d);
}

/* ---- payload rows ------------------------------------------------------ */

void store_put_payload_header(uint8_t out[STORE_PAYLOAD_HEADER_BYTES],
                              struct span key, uint32_t run_bytes,
                              uint32_t row_bytes)
{
    ASSERT(key.size == STORE_LOG_KEY_BYTES);
    struct enc e = enc_of(out, STORE_PAYLOAD_HEADER_BYTES);
    enc_bytes(&e, key.data, key.size);
    enc_u32(&e, run_bytes);
    enc_u32(&e, row_bytes);
    ASSERT(e.size == STORE_PAYLOAD_HEADER_BYTES);
}

bool store_get_payload(struct span key, struct span stored, uint32_t *run_bytes,
                       struct span *bytes)
{
    if (key.size != STORE_LOG_KEY_BYTES)
        return false;
    struct dec d = dec_of(stored);
    struct span repeated = dec_bytes(&d, STORE_LOG_KEY_BYTES);
    *run_bytes = dec_u32(&d);
    uint32_t row_bytes = dec_u32(&d);
    *bytes = dec_bytes(&d, row_bytes);
    if (!dec_done(&d) || !span_equal(repeated, key))
        return false;
    uint64_t begin =
        (uint64_t)get_be16(key.data + LOG_CHUNK_AT) * STORE_CHUNK_BYTES;
    return *run_bytes <= ENTRY_PAYLOAD_BYTES_MAX && begin < *run_bytes &&
           row_bytes == min_u64(*run_bytes - begin, STORE_CHUNK_BYTES);
}
