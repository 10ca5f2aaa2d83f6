/* store_model_read.c - readers of the store in memory; see store_model_impl.h.
 */
#include "storage/store_model_impl.h"

/* ---- reads ------------------------------------------------------------- */

static enum err index_row(void *ctx, struct store_place place,
                          struct position stream, uint64_t seq,
                          struct span *key, struct span *value)
{
    const struct model *m = ctx;
    const struct model_home *h =
        store_model_home(m, place.group, place.incarnation);
    if (h == NULL)
        return ERR_NOT_FOUND;
    uint8_t wanted[RUN_KEY_BYTES];
    run_key(stream, seq, wanted);
    bool is_there;
    size_t at =
        store_model_find(&h->index, span_of(wanted, sizeof wanted), &is_there);
    if (!is_there && at-- == 0)
        return ERR_NOT_FOUND;
    if (h->index.rows[at].is_rotten)
        return ERR_DAMAGED;
    *key = span_buf(&h->index.rows[at].key);
    *value = span_buf(&h->index.rows[at].value);
    return memcmp(key->data, wanted, sizeof wanted - sizeof seq) == 0
               ? ERR_OK
               : ERR_NOT_FOUND;
}

static enum err next_index_row(void *ctx, struct store_place place,
                               struct row_cursor from, struct span *key,
                               struct span *value)
{
    const struct model *m = ctx;
    const struct model_home *h =
        store_model_home(m, place.group, place.incarnation);
    if (h == NULL)
        return ERR_NOT_FOUND;
    uint8_t wanted[RUN_KEY_BYTES];
    run_key(from.stream, from.seq, wanted);
    bool is_there;
    size_t at =
        store_model_find(&h->index, span_of(wanted, sizeof wanted), &is_there);
    if (at == h->index.count)
        return ERR_NOT_FOUND;
    if (h->index.rows[at].is_rotten)
        return ERR_DAMAGED;
    *key = span_buf(&h->index.rows[at].key);
    *value = span_buf(&h->index.rows[at].value);
    return ERR_OK;
}

static const struct model_entry *
find_entry(const struct model *m, struct store_place place, uint64_t index)
{
    const struct model_home *h =
        store_model_home(m, place.group, place.incarnation);
    return h != NULL && index > h->base && index <= h->base + h->count
               ? &h->entries[index - h->base - 1]
               : NULL;
}

/* NULL: there is none, or it never got to the disk. */
static const struct model_row *
find_run(const struct model *m, struct store_place place, struct position at)
{
    const struct model_home *h =
        store_model_home(m, place.group, place.incarnation);
    uint8_t key[MODEL_PAYLOAD_KEY_BYTES];
    store_model_payload_key(at, key);
    if (h == NULL)
        return NULL;
    bool is_there;
    size_t i =
        store_model_find(&h->payload, span_of(key, sizeof key), &is_there);
    const struct model_row *row = &h->payload.rows[i];
    return is_there && row->payload_is != PAYLOAD_LOST ? row : NULL;
}

static enum err run_bytes(void *ctx, struct store_place place,
                          struct position at, uint32_t *bytes)
{
    const struct model_row *run = find_run(ctx, place, at);
    if (run == NULL)
        return ERR_NOT_FOUND;
    *bytes = (uint32_t)run->value.size;
    return run->payload_is == PAYLOAD_THERE ? ERR_OK : ERR_CORRUPT;
}

static enum err applied(void *ctx, struct store_place place,
                        struct store_applied_row *out)
{
    const struct model *m = ctx;
    const struct store_held *h = store_ledger_find(&m->ledger, place.group);
    if (h == NULL || h->view.incarnation != place.incarnation)
        return ERR_NOT_FOUND;
    *out = (struct store_applied_row){h->view.raft.applied_index,
                                      h->view.applied_term, h->view.digest,
                                      h->view.epoch};
    return ERR_OK;
}

static enum err log_row(void *ctx, struct store_place place, uint64_t index,
                        struct span *manifest)
{
    const struct model_entry *e = find_entry(ctx, place, index);
    if (e == NULL || e->is_lost)
        return ERR_NOT_FOUND;
    if (e->is_rotten)
        return ERR_DAMAGED;
    *manifest = span_buf(&e->manifest);
    return ERR_OK;
}

static enum err payload(void *ctx, struct store_place place, struct position at,
                        uint32_t offset, uint32_t size, uint8_t *to)
{
    const struct model_row *run = find_run(ctx, place, at);
    if (run == NULL)
        return ERR_NOT_FOUND;
    if (run->payload_is == PAYLOAD_OTHERS || offset > run->value.size ||
        size > run->value.size - offset)
        return ERR_CORRUPT;
    memcpy(to, run->value.data + offset, size);
    return ERR_OK;
}

static enum err state_digest(void *ctx, struct store_place place,
                             struct hash128 *sum)
{
    const struct model *m = ctx;
    const struct model_home *h =
        store_model_home(m, place.group, place.incarnation);
    *sum = (struct hash128){0, 0};
    for (size_t i = 0; h != NULL && i < h->state.count; i++) {
        if (h->state.rows[i].is_rotten)
            return ERR_DAMAGED;
        struct hash128 row = row_digest(span_buf(&h->state.rows[i].key),
                                        span_buf(&h->state.rows[i].value));
        sum->lo += row.lo;
        sum->hi += row.hi;
    }
    return ERR_OK;
}

static enum err log_base(void *ctx, struct store_place place, uint64_t *base)
{
    const struct model *m = ctx;
    const struct model_home *h =
        store_model_home(m, place.group, place.incarnation);
    if (h == NULL)
        return ERR_NOT_FOUND;
    *base = h->base;
    return ERR_OK;
}

static struct store_source source_of(const struct model_reader *r)
{
    return (struct store_source){(void *)r->m, index_row,    log_row,
                                 payload,      applied,      next_index_row,
                                 run_bytes,    state_digest, log_base};
}

void store_model_read_segments(struct store_reader *base,
                               const struct segments_ticket *t,
                               struct segments_result *out)
{
    const struct model_reader *r = (const struct model_reader *)base;
    ASSERT(r->m->txn >= t->least_txn);
    struct store_source source = source_of(r);
    store_read_segments_from(&source, t, out);
}

void store_model_read_log(struct store_reader *base, const struct log_ticket *t,
                          struct log_result *out)
{
    const struct model_reader *r = (const struct model_reader *)base;
    ASSERT(r->m->txn >= t->least_txn);
    struct store_source source = source_of(r);
    store_read_log_from(&source, t, out);
}

/* The newest configuration at or below the index. */
static const struct config *config_at(const struct store_held *h,
                                      uint64_t index)
{
    size_t i = h->view.raft.config_count;
    while (i > 0 && h->configs[i - 1].index > index)
        i--;
    return i == 0 ? NULL : &h->configs[i - 1];
}

void store_model_read_blob(struct store_reader *base,
                           const struct blob_ticket *t, struct blob_result *out)
{
    const struct model_reader *r = (const struct model_reader *)base;
    ASSERT(r->m->txn >= t->least_txn);
    const struct store_held *held = store_ledger_find(&r->m->ledger, t->group);
    const struct model_home *h =
        store_model_home(r->m, t->group, t->incarnation);
    *out = (struct blob_result){.err = ERR_NOT_FOUND};
    if (held == NULL || held->view.incarnation != t->incarnation)
        return;
    const struct config *config =
        config_at(held, held->view.raft.applied_index);
    if (config == NULL)
        return;
    *out = (struct blob_result){.index = held->view.raft.applied_index,
                                .term = held->view.applied_term,
                                .digest = held->view.digest,
                                .epoch = held->view.epoch,
                                .config = *config};
    for (size_t i = 0; i < h->state.count; i++) {
        if (h->state.rows[i].is_rotten)
            out->err = ERR_DAMAGED;
        store_blob_add(&out->images, span_buf(&h->state.rows[i].key),
                       span_buf(&h->state.rows[i].value));
    }
}

void store_model_read_rows(struct store_reader *base,
                           const struct rows_ticket *t, struct rows_result *out)
{
    const struct model_reader *r = (const struct model_reader *)base;
    ASSERT(r->m->txn >= t->least_txn);
    struct store_source source = source_of(r);
    store_read_rows_from(&source, t, out);
}

void store_model_scrub(struct store_reader *base, const struct scrub_ticket *t,
                       struct scrub_result *out)
{
    const struct model_reader *r = (const struct model_reader *)base;
    ASSERT(r->m->txn >= t->least_txn);
    struct store_source source = source_of(r);
    store_scrub_from(&source, t, out);
}

struct store_reader *store_model_reader_open(struct store *s)
{
    struct model_reader *r = mem_alloc(sizeof *r);
    *r = (struct model_reader){{s->ops}, (const struct model *)s};
    return &r->base;
}

void store_model_reader_close(struct store_reader *r)
{
    mem_free(r);
}
