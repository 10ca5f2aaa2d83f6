/* fuzz_rows.c - any bytes as a row of a store: the first byte says of which
 * kind. What is accepted must be written again as the same bytes: one meaning,
 * one encoding. */
#include "storage/store_rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(const struct enc *again, struct span value)
{
    ASSERT(enc_fits(again));
    ASSERT(span_equal(enc_span(again), value));
}

static void try_folder(struct span value)
{
    struct store_folder_row row;
    uint8_t bytes[STORE_META_BYTES_MAX];
    struct enc e = enc_of(bytes, sizeof bytes);
    if (!store_get_folder(value, &row) || row.format != STORE_FORMAT)
        return;
    store_put_folder(&e, &row);
    check_same(&e, value);
}

static void try_number(struct span value)
{
    uint64_t number;
    uint8_t bytes[STORE_META_BYTES_MAX];
    struct enc e = enc_of(bytes, sizeof bytes);
    if (!store_get_number(value, &number))
        return;
    store_put_number(&e, number);
    check_same(&e, value);
}

static void try_tombstone(struct span value)
{
    struct store_tombstone_row row;
    uint8_t bytes[STORE_META_BYTES_MAX];
    struct enc e = enc_of(bytes, sizeof bytes);
    if (!store_get_tombstone(value, &row))
        return;
    store_put_tombstone(&e, &row);
    check_same(&e, value);
}

static void try_replica(struct span value)
{
    struct store_replica_row row;
    uint8_t bytes[STORE_META_BYTES_MAX];
    struct enc e = enc_of(bytes, sizeof bytes);
    if (!store_get_replica(value, &row))
        return;
    store_put_replica(&e, &row);
    check_same(&e, value);
}

static void try_hard(struct span value)
{
    struct raft_hard_state hard;
    uint8_t bytes[STORE_META_BYTES_MAX];
    struct enc e = enc_of(bytes, sizeof bytes);
    if (!store_get_hard(value, &hard))
        return;
    store_put_hard(&e, &hard);
    check_same(&e, value);
}

static void try_applied(struct span value)
{
    struct store_applied_row row;
    uint8_t bytes[STORE_META_BYTES_MAX];
    struct enc e = enc_of(bytes, sizeof bytes);
    if (!store_get_applied(value, &row))
        return;
    store_put_applied(&e, &row);
    check_same(&e, value);
}

static void try_config(struct span value)
{
    struct config config;
    uint8_t bytes[STORE_META_BYTES_MAX];
    struct enc e = enc_of(bytes, sizeof bytes);
    if (!store_get_config(value, 7, &config))
        return;
    ASSERT(config.index == 7);
    store_put_config(&e, &config);
    check_same(&e, value);
}

/* The key is what the row itself claims, so that the rest is reached. */
static void try_payload(struct span stored)
{
    uint8_t header[STORE_PAYLOAD_HEADER_BYTES];
    uint32_t run_bytes;
    struct span bytes;
    if (stored.size < sizeof header)
        return;
    struct span key = span_of(stored.data, STORE_LOG_KEY_BYTES);
    if (!store_get_payload(key, stored, &run_bytes, &bytes))
        return;
    ASSERT(bytes.size > 0 && bytes.size <= STORE_CHUNK_BYTES);
    ASSERT(bytes.data + bytes.size == stored.data + stored.size);
    store_put_payload_header(header, key, run_bytes, (uint32_t)bytes.size);
    ASSERT(memcmp(header, stored.data, sizeof header) == 0);
}

static void try_keys(struct span key)
{
    enum store_meta kind;
    uint64_t number;
    struct span row_key;
    if (store_key_read_meta(key, &kind, &number)) {
        struct store_key again = store_key_meta(
            store_key_group(key), store_key_incarnation(key), kind, number);
        ASSERT(span_equal(store_key_span(&again), key));
    }
    if (store_key_state_row(key, &row_key))
        ASSERT(row_key.size > 0 && row_key.size <= ROW_KEY_BYTES_MAX);
}

static void try_checksum(struct span stored)
{
    struct span value;
    if (store_row_open(span_str("key"), stored, &value))
        ASSERT(value.size + STORE_CHECKSUM_BYTES == stored.size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const tries[])(struct span) = {
        try_folder,  try_number, try_tombstone, try_replica, try_hard,
        try_applied, try_config, try_payload,   try_keys,    try_checksum,
    };
    if (size == 0)
        return 0;
    struct span rest = span_of(data + 1, size - 1);
    tries[data[0] % (sizeof tries / sizeof tries[0])](rest);
    return 0;
}
