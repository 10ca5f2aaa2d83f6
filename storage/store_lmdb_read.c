/* store_lmdb_read.c - readers: short read transactions over pooled slots.
 *
 * A reader holds one transaction, reset while it is idle: it pins no page then
 * (L14), and renewing it costs some ten nanoseconds. The bytes are copied out
 * before the transaction ends. */
#include "storage/store_lmdb.h"
#include "storage/store_read.h"

struct lmdb_reader {
    struct store_reader base; /* first: the ops */
    const struct store_lmdb *s;
    MDB_txn *txn; /* reset while idle */
    MDB_cursor *index;
};

/* ---- shared with loading ----------------------------------------------- */

enum err store_lmdb_get(const struct store_lmdb *s, MDB_txn *txn,
                        enum store_db db, struct span key, struct span *value)
{
    MDB_val k = store_lmdb_val(key);
    MDB_val v;
    enum err err = store_lmdb_err(mdb_get(txn, s->dbi[db], &k, &v));
    if (err != ERR_OK)
        return err;
    return store_row_open(key, store_lmdb_span(v), value) ? ERR_OK
                                                          : ERR_DAMAGED;
}

enum err store_lmdb_move(MDB_cursor *cursor, MDB_cursor_op op, struct span *key,
                         struct span *stored)
{
    MDB_val k = store_lmdb_val(*key);
    MDB_val v = {0, NULL};
    enum err err = store_lmdb_err(mdb_cursor_get(cursor, &k, &v, op));
    if (err != ERR_OK)
        return err;
    *key = store_lmdb_span(k);
    *stored = store_lmdb_span(v);
    return ERR_OK;
}

/* ---- life -------------------------------------------------------------- */

struct store_reader *store_lmdb_reader_open(struct store *base)
{
    struct store_lmdb *s = (struct store_lmdb *)base;
    struct lmdb_reader *r = mem_alloc(sizeof *r);
    r->base.ops = base->ops;
    r->s = s;
    if (mdb_txn_begin(s->env, NULL, MDB_RDONLY, &r->txn) != 0) {
        mem_free(r);
        return NULL;
    }
    if (mdb_cursor_open(r->txn, s->dbi[STORE_DB_INDEX], &r->index) != 0) {
        mdb_txn_abort(r->txn);
        mem_free(r);
        return NULL;
    }
    mdb_txn_reset(r->txn);
    return &r->base;
}

void store_lmdb_reader_close(struct store_reader *base)
{
    struct lmdb_reader *r = (struct lmdb_reader *)base;
    mdb_cursor_close(r->index);
    mdb_txn_abort(r->txn);
    mem_free(r);
}

static enum err begin(struct lmdb_reader *r, uint64_t least_txn)
{
    int rc = mdb_txn_renew(r->txn);
    if (rc != 0)
        return store_lmdb_err(rc);
    /* A ticket is made after the commit it names was reported. */
    ASSERT(mdb_txn_id(r->txn) >= least_txn);
    return ERR_OK;
}

static void end(struct lmdb_reader *r)
{
    mdb_txn_reset(r->txn);
}

/* ---- look-ups ---------------------------------------------------------- */

static enum err index_row(void *ctx, struct store_place place,
                          struct position stream, uint64_t seq,
                          struct span *key, struct span *value)
{
    struct lmdb_reader *r = ctx;
    uint8_t row_key[RUN_KEY_BYTES];
    run_key(stream, seq, row_key);
    struct image wanted = {.space = ROW_INDEX,
                           .key = span_of(row_key, sizeof row_key)};
    struct store_key from;
    bool is_key =
        store_key_image(place.group, place.incarnation, &wanted, &from);
    ASSERT(is_key);
    struct span stored;
    *key = store_key_span(&from);
    enum err err = store_lmdb_move(r->index, MDB_SET_RANGE, key, &stored);
    if (err == ERR_NOT_FOUND)
        err = store_lmdb_move(r->index, MDB_LAST, key, &stored);
    else if (err == ERR_OK && span_compare(*key, store_key_span(&from)) != 0)
        err = store_lmdb_move(r->index, MDB_PREV, key, &stored);
    if (err != ERR_OK)
        return err;
    /* The same group, incarnation and stream: all but the first seq. */
    if (key->size != from.size ||
        memcmp(key->data, from.bytes, from.size - sizeof(uint64_t)) != 0)
        return ERR_NOT_FOUND;
    if (!store_row_open(*key, stored, value))
        return ERR_DAMAGED;
    *key = store_key_index_row(*key);
    return ERR_OK;
}

static enum err log_row(void *ctx, struct store_place place, uint64_t index,
                        struct span *manifest)
{
    struct lmdb_reader *r = ctx;
    struct store_key key = store_key_log(place.group, place.incarnation, index);
    return store_lmdb_get(r->s, r->txn, STORE_DB_LOG, store_key_span(&key),
                          manifest);
}

static enum err payload(void *ctx, struct store_place place, struct position at,
                        uint32_t offset, uint32_t size, uint8_t *to)
{
    struct lmdb_reader *r = ctx;
    uint32_t chunk = offset / STORE_CHUNK_BYTES;
    uint32_t skip = offset % STORE_CHUNK_BYTES;
    if (chunk > UINT16_MAX)
        return ERR_CORRUPT;
    while (size > 0) {
        struct store_key key = store_key_payload(place.group, place.incarnation,
                                                 at, (uint16_t)chunk);
        MDB_val k = store_lmdb_val(store_key_span(&key));
        MDB_val v;
        enum err err =
            store_lmdb_err(mdb_get(r->txn, r->s->dbi[STORE_DB_LOG], &k, &v));
        if (err != ERR_OK)
            return err;
        uint32_t run_bytes;
        struct span bytes;
        if (!store_get_payload(store_key_span(&key), store_lmdb_span(v),
                               &run_bytes, &bytes) ||
            skip >= bytes.size)
            return ERR_CORRUPT;
        uint32_t part = (uint32_t)min_u64(size, bytes.size - skip);
        memcpy(to, bytes.data + skip, part);
        to += part;
        size -= part;
        skip = 0;
        chunk++;
    }
    return ERR_OK;
}

static enum err next_index_row(void *ctx, struct store_place place,
                               struct row_cursor from, struct span *key,
                               struct span *value)
{
    struct lmdb_reader *r = ctx;
    uint8_t row_key[RUN_KEY_BYTES];
    run_key(from.stream, from.seq, row_key);
    struct image wanted = {.space = ROW_INDEX,
                           .key = span_of(row_key, sizeof row_key)};
    struct store_key at;
    bool is_key = store_key_image(place.group, place.incarnation, &wanted, &at);
    ASSERT(is_key);
    struct span stored;
    *key = store_key_span(&at);
    enum err err = store_lmdb_move(r->index, MDB_SET_RANGE, key, &stored);
    if (err != ERR_OK)
        return err;
    if (key->size != at.size ||
        memcmp(key->data, at.bytes, STORE_GROUP_KEY_BYTES) != 0)
        return ERR_NOT_FOUND;
    if (!store_row_open(*key, stored, value))
        return ERR_DAMAGED;
    *key = store_key_index_row(*key);
    return ERR_OK;
}

static enum err run_bytes(void *ctx, struct store_place place,
                          struct position at, uint32_t *bytes)
{
    struct lmdb_reader *r = ctx;
    struct store_key key =
        store_key_payload(place.group, place.incarnation, at, 0);
    MDB_val k = store_lmdb_val(store_key_span(&key));
    MDB_val v;
    enum err err =
        store_lmdb_err(mdb_get(r->txn, r->s->dbi[STORE_DB_LOG], &k, &v));
    if (err != ERR_OK)
        return err;
    struct span chunk;
    return store_get_payload(store_key_span(&key), store_lmdb_span(v), bytes,
                             &chunk)
               ? ERR_OK
               : ERR_CORRUPT;
}

static enum err applied(void *ctx, struct store_place place,
                        struct store_applied_row *out)
{
    struct lmdb_reader *r = ctx;
    struct store_key key =
        store_key_meta(place.group, place.incarnation, STORE_META_APPLIED, 0);
    struct span value;
    enum err err = store_lmdb_get(r->s, r->txn, STORE_DB_META,
                                  store_key_span(&key), &value);
    if (err != ERR_OK)
        return err;
    return store_get_applied(value, out) ? ERR_OK : ERR_DAMAGED;
}

/* Calls back for each row of the state, in key order. */
static enum err each_state_row(struct lmdb_reader *r, struct store_place place,
                               void (*take)(void *ctx, struct span key,
                                            struct span value),
                               void *ctx)
{
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(r->txn, r->s->dbi[STORE_DB_STATE], &cursor);
    if (rc != 0)
        return store_lmdb_err(rc);
    struct store_key first = store_key_first(place.group, place.incarnation);
    struct span key = store_key_span(&first);
    struct span stored;
    enum err err = store_lmdb_move(cursor, MDB_SET_RANGE, &key, &stored);
    while (err == ERR_OK && memcmp(key.data, first.bytes, first.size) == 0) {
        struct span row_key, value;
        if (store_key_state_row(key, &row_key) &&
            store_row_open(key, stored, &value)) {
            take(ctx, row_key, value);
            err = store_lmdb_move(cursor, MDB_NEXT, &key, &stored);
        } else {
            err = ERR_DAMAGED;
        }
    }
    mdb_cursor_close(cursor);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static void add_digest(void *ctx, struct span key, struct span value)
{
    struct hash128 *sum = ctx;
    struct hash128 row = row_digest(key, value);
    sum->lo += row.lo;
    sum->hi += row.hi;
}

static enum err state_digest(void *ctx, struct store_place place,
                             struct hash128 *sum)
{
    *sum = (struct hash128){0, 0};
    return each_state_row(ctx, place, add_digest, sum);
}

static enum err log_base(void *ctx, struct store_place place, uint64_t *base)
{
    struct lmdb_reader *r = ctx;
    struct store_key key =
        store_key_meta(place.group, place.incarnation, STORE_META_REPLICA, 0);
    struct span value;
    struct store_replica_row row;
    enum err err = store_lmdb_get(r->s, r->txn, STORE_DB_META,
                                  store_key_span(&key), &value);
    if (err != ERR_OK)
        return err;
    if (!store_get_replica(value, &row))
        return ERR_DAMAGED;
    *base = row.base_index;
    return ERR_OK;
}

static struct store_source source_of(struct lmdb_reader *r)
{
    return (struct store_source){r,         index_row,    log_row,
                                 payload,   applied,      next_index_row,
                                 run_bytes, state_digest, log_base};
}

/* ---- reads ------------------------------------------------------------- */

/* A view, its cursor over the index in place; OK: end it. */
static enum err begin_at_index(struct lmdb_reader *r, uint64_t least_txn)
{
    enum err err = begin(r, least_txn);
    if (err != ERR_OK)
        return err;
    err = store_lmdb_err(mdb_cursor_renew(r->txn, r->index));
    if (err != ERR_OK)
        end(r);
    return err;
}

void store_lmdb_read_segments(struct store_reader *base,
                              const struct segments_ticket *t,
                              struct segments_result *out)
{
    struct lmdb_reader *r = (struct lmdb_reader *)base;
    *out = (struct segments_result){.err = begin_at_index(r, t->least_txn)};
    if (out->err != ERR_OK)
        return;
    struct store_source source = source_of(r);
    store_read_segments_from(&source, t, out);
    end(r);
}

void store_lmdb_read_log(struct store_reader *base, const struct log_ticket *t,
                         struct log_result *out)
{
    struct lmdb_reader *r = (struct lmdb_reader *)base;
    *out = (struct log_result){.err = begin(r, t->least_txn)};
    if (out->err != ERR_OK)
        return;
    struct store_source source = source_of(r);
    store_read_log_from(&source, t, out);
    end(r);
}

/* The newest configuration at or below the index. */
static enum err read_config(struct lmdb_reader *r, const struct blob_ticket *t,
                            uint64_t index, struct config *out)
{
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(r->txn, r->s->dbi[STORE_DB_META], &cursor);
    if (rc != 0)
        return store_lmdb_err(rc);
    struct store_key from =
        store_key_meta(t->group, t->incarnation, STORE_META_CONFIG, index + 1);
    struct span key = store_key_span(&from);
    struct span stored, value;
    enum store_meta kind;
    uint64_t number;
    enum err err = store_lmdb_move(cursor, MDB_SET_RANGE, &key, &stored);
    if (err == ERR_OK) /* the node's own rows are behind all of them */
        err = store_lmdb_move(cursor, MDB_PREV, &key, &stored);
    if (err == ERR_OK && !store_key_read_meta(key, &kind, &number))
        err = ERR_DAMAGED;
    if (err == ERR_OK &&
        (kind != STORE_META_CONFIG || store_key_group(key) != t->group ||
         store_key_incarnation(key) != t->incarnation))
        err = ERR_NOT_FOUND;
    if (err == ERR_OK && (!store_row_open(key, stored, &value) ||
                          !store_get_config(value, number, out)))
        err = ERR_DAMAGED;
    mdb_cursor_close(cursor);
    return err;
}

static void add_image(void *ctx, struct span key, struct span value)
{
    store_blob_add(ctx, key, value);
}

void store_lmdb_read_blob(struct store_reader *base,
                          const struct blob_ticket *t, struct blob_result *out)
{
    struct lmdb_reader *r = (struct lmdb_reader *)base;
    struct store_place place = {t->group, t->incarnation};
    struct store_applied_row row;
    *out = (struct blob_result){.err = begin(r, t->least_txn)};
    if (out->err != ERR_OK)
        return;
    out->err = applied(r, place, &row);
    if (out->err == ERR_OK) {
        out->index = row.index;
        out->term = row.term;
        out->digest = row.digest;
        out->epoch = row.epoch;
        out->err = read_config(r, t, row.index, &out->config);
    }
    if (out->err == ERR_OK)
        out->err = each_state_row(r, place, add_image, &out->images);
    end(r);
}

void store_lmdb_read_rows(struct store_reader *base,
                          const struct rows_ticket *t, struct rows_result *out)
{
    struct lmdb_reader *r = (struct lmdb_reader *)base;
    *out = (struct rows_result){.err = begin_at_index(r, t->least_txn)};
    if (out->err != ERR_OK)
        return;
    struct store_source source = source_of(r);
    store_read_rows_from(&source, t, out);
    end(r);
}

void store_lmdb_scrub(struct store_reader *base, const struct scrub_ticket *t,
                      struct scrub_result *out)
{
    struct lmdb_reader *r = (struct lmdb_reader *)base;
    *out = (struct scrub_result){.err = begin_at_index(r, t->least_txn)};
    if (out->err != ERR_OK)
        return;
    struct store_source source = source_of(r);
    store_scrub_from(&source, t, out);
    end(r);
}
