/* store_model.c - the store in memory, for the simulator: the slow and obvious
 * twin of the LMDB store.
 *
 * It keeps what the rows mean and not the rows: a log is an array of manifests;
 * payload, by the position of its run, and state and index are sorted arrays,
 * a run in one piece. What the two stores share is the ledger, the walk over
 * runs, and the checks of a read; tests/unit/test_store_twins.c holds the rest
 * together. Its readers are in store_model_read.c.
 *
 * A commit is atomic: everything is judged first, then everything is done. */
#include "storage/store_model_impl.h"

/* ---- rows -------------------------------------------------------------- */

size_t store_model_find(const struct model_rows *r, struct span key,
                        bool *is_there)
{
    size_t low = 0, high = r->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (span_compare(span_buf(&r->rows[middle].key), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *is_there = low < r->count && span_equal(span_buf(&r->rows[low].key), key);
    return low;
}

static void rows_put(struct model_rows *r, struct span key, struct span value)
{
    bool is_there;
    size_t at = store_model_find(r, key, &is_there);
    if (!is_there) {
        if (r->count == r->capacity) {
            r->capacity = r->capacity == 0 ? 16 : r->capacity * 2;
            r->rows = mem_resize(r->rows, r->capacity * sizeof *r->rows);
        }
        memmove(&r->rows[at + 1], &r->rows[at],
                (r->count - at) * sizeof *r->rows);
        r->rows[at] = (struct model_row){0};
        buf_append(&r->rows[at].key, key.data, key.size);
        r->count++;
    }
    r->rows[at].is_rotten = false;
    r->rows[at].payload_is = PAYLOAD_THERE;
    buf_clear(&r->rows[at].value);
    buf_append(&r->rows[at].value, value.data, value.size);
}

static void row_free(struct model_row *row)
{
    buf_free(&row->key);
    buf_free(&row->value);
}

static void rows_remove(struct model_rows *r, struct span key)
{
    bool is_there;
    size_t at = store_model_find(r, key, &is_there);
    if (!is_there)
        return;
    row_free(&r->rows[at]);
    r->count--;
    memmove(&r->rows[at], &r->rows[at + 1], (r->count - at) * sizeof *r->rows);
}

/* From the end, at most *limit, which is counted down. */
static void rows_cut(struct model_rows *r, uint64_t *limit)
{
    for (; r->count > 0 && *limit > 0; --*limit)
        row_free(&r->rows[--r->count]);
}

/* ---- homes ------------------------------------------------------------- */

struct model_home *store_model_home(const struct model *m, uint32_t group,
                                    uint32_t incarnation)
{
    struct model_home *h = group < GROUPS_MAX ? m->homes[group] : NULL;
    while (h != NULL && h->incarnation != incarnation)
        h = h->older;
    return h;
}

/* Entries from the end down to `keep`, at most *limit. */
static void drop_entries(struct model_home *h, size_t keep, uint64_t *limit)
{
    for (; h->count > keep && *limit > 0; --*limit)
        buf_free(&h->entries[--h->count].manifest);
}

static void home_clear(struct model_home *h, uint64_t *limit)
{
    drop_entries(h, 0, limit);
    rows_cut(&h->payload, limit);
    rows_cut(&h->index, limit);
    rows_cut(&h->state, limit);
}

static void home_free(struct model_home *h)
{
    uint64_t no_limit = UINT64_MAX;
    home_clear(h, &no_limit);
    mem_free(h->entries);
    mem_free(h->payload.rows);
    mem_free(h->index.rows);
    mem_free(h->state.rows);
    mem_free(h);
}

/* ---- commit: judge ----------------------------------------------------- */

static bool is_sound_portion(const struct store_command *c)
{
    for (uint32_t i = 0; i < c->image_count; i++) {
        struct dec d = dec_of(c->images[i]);
        struct image image;
        struct store_key key;
        while (image_next(&d, &image))
            if (!store_key_image(c->group, c->incarnation, &image, &key))
                return false;
        if (!dec_done(&d))
            return false;
    }
    return true;
}

static bool is_sound_item(const struct item *item)
{
    uint64_t size = 0;
    for (uint32_t i = 0; i < item->slice_count; i++)
        size += item->slices[i].size;
    struct store_runs runs;
    return size == item->payload_size &&
           store_runs_begin(&runs, item_manifest(item)) == ERR_OK;
}

static bool are_sound_rows(const struct store_command *c)
{
    struct moved_iter it;
    struct moved_row m;
    moved_begin(&it, c->bytes);
    while (moved_next(&it, &m))
        continue;
    return dec_done(&it.d) && it.payload_bytes == c->payload.size;
}

static enum err judge(struct model *m, const struct store_batch *b)
{
    for (size_t i = 0; i < b->count; i++) {
        const struct store_command *c = &b->commands[i];
        enum err err = store_ledger_apply(&m->ledger, c);
        if (err != ERR_OK)
            return err;
        bool has_images = c->kind == STORE_PORTION || c->kind == STORE_BLOB ||
                          c->kind == STORE_RECOVER;
        if ((has_images && !is_sound_portion(c)) ||
            (c->kind == STORE_APPEND && !is_sound_item(c->item)) ||
            ((c->kind == STORE_ROWS || c->kind == STORE_MEND) &&
             !are_sound_rows(c)))
            return ERR_DAMAGED;
    }
    return ERR_OK;
}

/* ---- commit: do -------------------------------------------------------- */

static void do_create(struct model *m, const struct store_command *c)
{
    struct model_home *h = mem_alloc(sizeof *h);
    h->incarnation = c->incarnation;
    h->older = m->homes[c->group];
    m->homes[c->group] = h;
}

void store_model_payload_key(struct position at,
                             uint8_t key[MODEL_PAYLOAD_KEY_BYTES])
{
    put_be64(key, at.index);
    put_be16(key + 8, at.ordinal);
}

static void put_run(struct model_home *h, struct position at, struct span bytes)
{
    uint8_t key[MODEL_PAYLOAD_KEY_BYTES];
    store_model_payload_key(at, key);
    if (bytes.size > 0)
        rows_put(&h->payload, span_of(key, sizeof key), bytes);
}

static void do_append(struct model *m, struct model_home *h,
                      const struct item *item)
{
    ASSERT(item->index == h->base + h->count + 1);
    if (h->count == h->capacity) {
        h->capacity = h->capacity == 0 ? 16 : h->capacity * 2;
        h->entries = mem_resize(h->entries, h->capacity * sizeof *h->entries);
    }
    struct model_entry *e = &h->entries[h->count++];
    *e = (struct model_entry){0};
    buf_append(&e->manifest, item->manifest, item->manifest_size);
    struct store_gather gather = store_gather_of(item, m->bytes, m->bytes_ctx);
    struct store_runs runs;
    struct store_run run;
    enum err err = store_runs_begin(&runs, span_buf(&e->manifest));
    ASSERT(err == ERR_OK);
    while (store_runs_next(&runs, &run)) {
        struct buf bytes = {0};
        bool is_whole =
            store_gather_next(&gather, buf_grow(&bytes, run.bytes), run.bytes);
        ASSERT(is_whole);
        put_run(h, (struct position){item->index, run.ordinal},
                span_buf(&bytes));
        buf_free(&bytes);
    }
}

static void do_truncate(struct model_home *h, uint64_t index)
{
    uint64_t no_limit = UINT64_MAX;
    drop_entries(h, (size_t)(index - h->base - 1), &no_limit);
    uint8_t key[MODEL_PAYLOAD_KEY_BYTES];
    bool is_there;
    store_model_payload_key((struct position){index, 0}, key);
    size_t keep =
        store_model_find(&h->payload, span_of(key, sizeof key), &is_there);
    uint64_t above = h->payload.count - keep;
    rows_cut(&h->payload, &above);
}

static void do_cut(struct model_home *h, uint64_t index)
{
    size_t gone = (size_t)(index - h->base);
    for (size_t i = 0; i < gone; i++)
        buf_free(&h->entries[i].manifest);
    h->count -= gone;
    h->base = index;
    memmove(h->entries, h->entries + gone, h->count * sizeof *h->entries);
}

static void do_portion(struct model_home *h, const struct store_command *c)
{
    for (uint32_t i = 0; i < c->image_count; i++) {
        struct dec d = dec_of(c->images[i]);
        struct image image;
        while (image_next(&d, &image)) {
            struct model_rows *rows =
                image.space == ROW_INDEX ? &h->index : &h->state;
            if (image.is_delete)
                rows_remove(rows, image.key);
            else
                rows_put(rows, image.key, image.value);
        }
    }
}

static void do_rows(const struct model *m, struct model_home *h,
                    const struct store_command *c)
{
    const uint8_t *payload = NULL;
    if (c->payload.size > 0)
        payload = m->bytes(m->bytes_ctx, c->payload.handle) + c->payload.offset;
    struct moved_iter it;
    struct moved_row row;
    moved_begin(&it, c->bytes);
    while (moved_next(&it, &row)) {
        struct position at = {row.row.entry_index, row.row.ordinal};
        rows_put(&h->index, row.key, row.value);
        if (row.is_new_run)
            put_run(h, at, span_of(payload + row.run_at, row.run_bytes));
    }
}

/* The bytes of the row's segments, into the run as it is: what lies beside them
 * is other rows', and was not verified with these. */
static void mend_row(struct model_home *h, const struct moved_row *m,
                     const uint8_t *payload)
{
    struct span run = span_of(payload + m->run_at, m->run_bytes);
    struct position at = {m->row.entry_index, m->row.ordinal};
    uint8_t key[MODEL_PAYLOAD_KEY_BYTES];
    bool is_there;
    store_model_payload_key(at, key);
    size_t i =
        store_model_find(&h->payload, span_of(key, sizeof key), &is_there);
    struct model_row *row = is_there ? &h->payload.rows[i] : NULL;
    if (row == NULL || row->payload_is != PAYLOAD_THERE ||
        row->value.size != run.size) {
        put_run(h, at, run);
        return;
    }
    struct run_segment s;
    for (uint32_t k = 0; run_row_segment(&m->row, k, &s); k++)
        memcpy(row->value.data + s.offset, run.data + s.offset, s.size);
}

static void do_mend(const struct model *m, struct model_home *h,
                    const struct store_command *c)
{
    const uint8_t *payload = NULL;
    if (c->payload.size > 0)
        payload = m->bytes(m->bytes_ctx, c->payload.handle) + c->payload.offset;
    struct moved_iter it;
    struct moved_row row;
    moved_begin(&it, c->bytes);
    while (moved_next(&it, &row)) {
        bool is_there;
        size_t i = store_model_find(&h->index, row.key, &is_there);
        if (is_there && row.run_bytes > 0 &&
            span_equal(span_buf(&h->index.rows[i].value), row.value))
            mend_row(h, &row, payload);
    }
}

static bool do_sweep(struct model *m, const struct store_command *c)
{
    uint64_t left = c->count;
    struct model_home **at = &m->homes[c->group];
    while (*at != NULL && left > 0) {
        struct model_home *h = *at;
        if (h->incarnation > c->incarnation) {
            at = &h->older;
            continue;
        }
        home_clear(h, &left);
        if (left > 0) {
            *at = h->older;
            home_free(h);
        }
    }
    return left > 0;
}

/* True for a sweep that has found fewer rows than it was to remove. */
static bool perform(struct model *m, const struct store_command *c)
{
    struct model_home *h = store_model_home(m, c->group, c->incarnation);
    switch (c->kind) {
    case STORE_RECORD:
        buf_clear(&m->record);
        buf_append(&m->record, c->bytes.data, c->bytes.size);
        break;
    case STORE_BOOTS:
        buf_clear(&m->boots);
        buf_append(&m->boots, c->bytes.data, c->bytes.size);
        break;
    case STORE_CREATE:
        do_create(m, c);
        break;
    case STORE_APPEND:
        do_append(m, h, c->item);
        break;
    case STORE_TRUNCATE:
        do_truncate(h, c->index);
        break;
    case STORE_PORTION:
        do_portion(h, c);
        break;
    case STORE_CUT:
        do_cut(h, c->index);
        break;
    case STORE_BLOB:
        do_portion(h, c);
        h->base = c->config != NULL ? c->index : 0;
        break;
    case STORE_RECOVER:
        do_cut(h, h->base + h->count);
        do_portion(h, c);
        h->base = c->index;
        break;
    case STORE_ROWS:
        do_rows(m, h, c);
        break;
    case STORE_MEND:
        do_mend(m, h, c);
        break;
    case STORE_SWEEP:
        return do_sweep(m, c);
    case STORE_BOOT:
    case STORE_HARD:
    case STORE_TOMBSTONE:
    case STORE_QUARANTINE:
    case STORE_INSTALLED:
        break; /* the ledger's alone */
    }
    return false;
}

static enum err model_commit(struct store *base, const struct store_batch *b,
                             struct store_done *done)
{
    struct model *m = (struct model *)base;
    *done = (struct store_done){.cycle = b->cycle};
    enum err err = judge(m, b);
    if (err != ERR_OK) {
        store_ledger_undo(&m->ledger);
        return err;
    }
    bool is_counting = true;
    for (size_t i = 0; i < b->count; i++) {
        bool is_swept = perform(m, &b->commands[i]);
        if (b->commands[i].kind != STORE_SWEEP)
            continue;
        is_counting = is_counting && is_swept;
        done->sweeps_finished += is_counting;
    }
    store_ledger_keep(&m->ledger);
    done->txn = ++m->txn;
    return ERR_OK;
}

/* ---- load -------------------------------------------------------------- */

static enum err visit_rows(const struct store_visitor *v,
                           const struct store_held *held,
                           const struct model_rows *rows)
{
    struct hash128 sum = {0, 0};
    for (size_t i = 0; i < rows->count; i++) {
        struct span key = span_buf(&rows->rows[i].key);
        struct span value = span_buf(&rows->rows[i].value);
        if (rows->rows[i].is_rotten)
            return ERR_DAMAGED;
        struct hash128 digest = row_digest(key, value);
        sum.lo += digest.lo;
        sum.hi += digest.hi;
        enum err err = v->row(v->ctx, held->view.group, key, value);
        if (err != ERR_OK)
            return err;
    }
    return sum.lo == held->view.digest.lo && sum.hi == held->view.digest.hi
               ? ERR_OK
               : ERR_DAMAGED;
}

static enum err visit_replica(const struct model *m,
                              const struct store_visitor *v,
                              const struct store_held *held)
{
    const struct model_home *h =
        store_model_home(m, held->view.group, held->view.incarnation);
    const struct raft_stored *raft = &held->view.raft;
    ASSERT(h != NULL && h->base == raft->base_index &&
           h->base + h->count == raft->last_index);
    enum err err = v->replica(v->ctx, &held->view);
    bool is_blob_whole = !held->view.is_installing || raft->base_index > 0;
    if (err == ERR_OK && is_blob_whole)
        err = visit_rows(v, held, &h->state);
    for (size_t i = (size_t)(raft->applied_index - h->base);
         err == ERR_OK && i < h->count; i++)
        err = h->entries[i].is_rotten || h->entries[i].is_lost
                  ? ERR_DAMAGED
                  : v->entry(v->ctx, held->view.group,
                             span_buf(&h->entries[i].manifest));
    return err;
}

static enum err model_load(struct store *base, const struct store_visitor *v)
{
    const struct model *m = (const struct model *)base;
    if (m->is_rotten)
        return ERR_DAMAGED;
    enum err err = v->folder(v->ctx, &m->ledger.folder);
    if (err == ERR_OK && v->boots != NULL && m->boots.size > 0)
        err = v->boots(v->ctx, span_buf(&m->boots));
    if (err == ERR_OK && m->record.size > 0)
        err = v->record(v->ctx, span_buf(&m->record));
    for (uint32_t group = 0; err == ERR_OK && group < GROUPS_MAX; group++) {
        const struct store_held *held = store_ledger_find(&m->ledger, group);
        if (held != NULL)
            err = visit_replica(m, v, held);
    }
    return err == ERR_OK ? store_ledger_visit_tombstones(&m->ledger, v) : err;
}

/* ---- life -------------------------------------------------------------- */

static enum err model_space(struct store *base, struct store_space *out)
{
    *out = ((const struct model *)base)->space;
    return ERR_OK;
}

void store_model_set_space(struct store *base, struct store_space space)
{
    ((struct model *)base)->space = space;
}

static void model_close(struct store *base)
{
    struct model *m = (struct model *)base;
    for (size_t group = 0; group < GROUPS_MAX; group++) {
        struct model_home *next;
        for (struct model_home *h = m->homes[group]; h != NULL; h = next) {
            next = h->older;
            home_free(h);
        }
    }
    buf_free(&m->record);
    buf_free(&m->boots);
    store_ledger_free(&m->ledger);
    mem_free(m);
}

static const struct store_ops model_ops = {
    .close = model_close,
    .load = model_load,
    .commit = model_commit,
    .space = model_space,
    .reader_open = store_model_reader_open,
    .reader_close = store_model_reader_close,
    .read_segments = store_model_read_segments,
    .read_log = store_model_read_log,
    .read_blob = store_model_read_blob,
    .read_rows = store_model_read_rows,
    .scrub = store_model_scrub,
};

struct store *store_model_new(const struct store_founding *f,
                              store_bytes_fn bytes, void *bytes_ctx)
{
    struct model *m = mem_alloc(sizeof *m);
    m->base.ops = &model_ops;
    m->bytes = bytes;
    m->bytes_ctx = bytes_ctx;
    m->ledger.folder = f->folder;
    m->space = (struct store_space){.map_bytes = MAP_BYTES_DEFAULT,
                                    .disk_bytes = MAP_BYTES_DEFAULT,
                                    .disk_free = MAP_BYTES_DEFAULT};
    store_ledger_keep(&m->ledger);
    struct store_founding_batch b;
    struct store_done done;
    store_founding_begin(&b, f);
    enum err err = model_commit(&m->base, &b.batch, &done);
    ASSERT(err == ERR_OK);
    store_founding_end(&b);
    return &m->base;
}

/* ---- what befalls a disk ----------------------------------------------- */

static void copy_buf(struct buf *to, const struct buf *from)
{
    *to = (struct buf){0};
    buf_append(to, from->data, from->size);
}

static void copy_rows(struct model_rows *to, const struct model_rows *from)
{
    *to = (struct model_rows){
        .rows = mem_alloc((from->count + 1) * sizeof *to->rows),
        .count = from->count,
        .capacity = from->count + 1,
    };
    for (size_t i = 0; i < from->count; i++) {
        to->rows[i] = from->rows[i];
        copy_buf(&to->rows[i].key, &from->rows[i].key);
        copy_buf(&to->rows[i].value, &from->rows[i].value);
    }
}

static struct model_home *copy_home(const struct model_home *h)
{
    struct model_home *copy = mem_copy(h, sizeof *h);
    copy->capacity = h->count + 1;
    copy->entries = mem_alloc(copy->capacity * sizeof *copy->entries);
    for (size_t i = 0; i < h->count; i++) {
        copy->entries[i] = h->entries[i];
        copy_buf(&copy->entries[i].manifest, &h->entries[i].manifest);
    }
    copy_rows(&copy->payload, &h->payload);
    copy_rows(&copy->state, &h->state);
    copy_rows(&copy->index, &h->index);
    return copy;
}

struct store *store_model_copy(const struct store *base, void *bytes_ctx)
{
    const struct model *m = (const struct model *)base;
    struct model *copy = mem_copy(m, sizeof *m);
    copy->bytes_ctx = bytes_ctx;
    store_ledger_copy(&m->ledger, &copy->ledger);
    copy_buf(&copy->record, &m->record);
    copy_buf(&copy->boots, &m->boots);
    for (size_t group = 0; group < GROUPS_MAX; group++) {
        struct model_home **at = &copy->homes[group];
        const struct model_home *h = m->homes[group];
        for (; h != NULL; h = h->older, at = &(*at)->older)
            *at = copy_home(h);
        *at = NULL;
    }
    return &copy->base;
}

static bool rot_payload(struct model_rows *rows, enum store_rot kind,
                        uint64_t draw)
{
    if (rows->count == 0)
        return false;
    struct model_row *row = &rows->rows[draw % rows->count];
    if (kind == STORE_ROT_PAYLOAD)
        row->value.data[(draw >> 16) % row->value.size] ^=
            (uint8_t)(1u << (draw >> 8) % 8);
    else
        row->payload_is =
            kind == STORE_LOST_PAYLOAD ? PAYLOAD_LOST : PAYLOAD_OTHERS;
    return true;
}

static bool rot_log(struct model_home *h, enum store_rot kind, uint64_t draw)
{
    if (h->count == 0)
        return false;
    struct model_entry *e = &h->entries[draw % h->count];
    e->is_rotten = e->is_rotten || kind == STORE_ROT_LOG;
    e->is_lost = e->is_lost || kind == STORE_LOST_LOG;
    return true;
}

bool store_model_rot(struct store *base, enum store_rot kind, uint32_t group,
                     uint64_t draw)
{
    struct model *m = (struct model *)base;
    const struct store_held *held = store_ledger_find(&m->ledger, group);
    if (kind == STORE_ROT_META) {
        m->is_rotten = true;
        return true;
    }
    if (held == NULL)
        return false;
    struct model_home *h = store_model_home(m, group, held->view.incarnation);
    if (kind == STORE_ROT_LOG || kind == STORE_LOST_LOG)
        return rot_log(h, kind, draw);
    if (kind != STORE_ROT_STATE && kind != STORE_ROT_INDEX)
        return rot_payload(&h->payload, kind, draw);
    struct model_rows *rows = kind == STORE_ROT_STATE ? &h->state : &h->index;
    if (rows->count > 0)
        rows->rows[draw % rows->count].is_rotten = true;
    return rows->count > 0;
}
