/* nodes.c - see nodes.h: the machines, their disks, the network, time. */
#include "tests/cases/nodes.h"

#include <stdio.h>

#include "ring/rule.h"

#define WALL_MS 1800000000000u /* 2027; when the clock of the case is 0 */

/* ---- packets ----------------------------------------------------------- */

size_t nodes_place(const struct nodes *w, struct id128 id)
{
    for (size_t i = 0; i < NODES_MAX; i++) {
        if (id_equal(w->machines[i].id, id))
            return i;
    }
    return NODES_MAX;
}

struct nodes_packet nodes_packet_copy(const struct nodes_packet *p)
{
    struct nodes_packet copy = *p;
    copy.bytes = (struct buf){0};
    buf_append(&copy.bytes, p->bytes.data, p->bytes.size);
    return copy;
}

static void tap(struct nodes *w, const struct nodes_packet *p)
{
    for (size_t i = 0; i < w->tap_count; i++) {
        struct nodes_tap *t = &w->taps[i];
        if (!t->is_open || t->from != p->from || t->to != p->to)
            continue;
        if (t->count == t->capacity) {
            t->capacity = 2 * t->capacity + 16;
            t->packets = mem_resize(t->packets, t->capacity * sizeof *p);
        }
        t->packets[t->count++] = nodes_packet_copy(p);
    }
}

static bool is_record(struct span message)
{
    struct wire_in in;
    struct frame_iter it;
    struct frame f;
    if (wire_read(message, &in) != ERR_OK ||
        in.header.kind != WIRE_PEER_CONTROL)
        return false;
    wire_frame_begin(&it, &in);
    while (wire_frame_next(&it, &f)) {
        if (f.kind == FRAME_RECORD)
            return true;
    }
    return false;
}

void nodes_send(struct nodes *w, size_t from, size_t to, uint64_t connection,
                struct buf *bytes)
{
    struct nodes_packet p = {from, to, w->now_ms + 1, connection, *bytes};
    *bytes = (struct buf){0};
    tap(w, &p);
    bool is_cut = from < NODES_MAX && to < NODES_MAX && w->is_cut[from][to];
    bool is_unheard = to >= NODES_MAX || (w->machines[to].is_deaf &&
                                          is_record(span_buf(&p.bytes)));
    if (is_cut || is_unheard) {
        buf_free(&p.bytes);
        return;
    }
    if (w->packet_count == w->packet_capacity) {
        w->packet_capacity = 2 * w->packet_capacity + 64;
        w->packets =
            mem_resize(w->packets, w->packet_capacity * sizeof *w->packets);
    }
    w->packets[w->packet_count++] = p;
}

/* ---- a machine's life --------------------------------------------------- */

static uint64_t wall_ms(const struct nodes *w)
{
    return WALL_MS + w->now_ms;
}

static const uint8_t *store_bytes(void *ctx, uint64_t handle)
{
    const struct nodes_machine *m = ctx;
    return buffers_span(&m->buffers, handle).data;
}

struct member nodes_member(const struct nodes *w, size_t node)
{
    struct member m = {
        .node = w->machines[node].id,
        .weight = WEIGHT_DEFAULT,
        .level = LEVEL_NOW,
        .wanted = WANTED_IN,
        .seen = SEEN_JOINING,
    };
    (void)snprintf(m.name, sizeof m.name, "n%zu", node + 1);
    (void)snprintf(m.client_address, sizeof m.client_address, "n%zu:7001",
                   node + 1);
    (void)snprintf(m.peer_address, sizeof m.peer_address, "n%zu:7000",
                   node + 1);
    return m;
}

void nodes_found(struct nodes *w)
{
    struct nodes_machine *m = &w->machines[0];
    struct member founder = nodes_member(w, 0);
    struct record *r = record_new();
    struct buf bytes = {0};
    r->cluster = w->cluster;
    r->generation = (struct generation){1, 1};
    r->partitions = NODES_GROUPS - 1;
    r->copies = w->copies;
    r->acks = record_majority(r->copies);
    r->out_after_ms = w->out_after_ms;
    r->is_insecure = true;
    record_begin(r, &founder, wall_ms(w));
    ASSERT(record_fault(r) == NULL);
    record_encode(r, &bytes);
    struct store_founding f = {
        .folder = {w->cluster, m->id, r->partitions, 0},
        .generation = r->generation,
        .stamp = {r->epoch, r->level, wall_ms(w)},
        .record = span_buf(&bytes),
        .ring_row_key = span_str(RECORD_ROW_KEY),
        .ring_row_value = span_buf(&bytes),
        .ring_digest =
            streams_row_digest(span_str(RECORD_ROW_KEY), span_buf(&bytes)),
    };
    m->store = store_model_new(&f, store_bytes, m);
    m->reader = store_reader_open(m->store);
    m->is_member = true;
    buf_free(&bytes);
    record_free(r);
}

static void commit_alone(struct nodes_machine *m, struct store_command c)
{
    struct store_batch b = {0, &c, 1};
    struct store_done done;
    enum err err = store_commit(m->store, &b, &done);
    ASSERT(err == ERR_OK);
}

void nodes_put_record(struct nodes *w, size_t node)
{
    struct nodes_machine *m = &w->machines[node];
    const struct record *newest = NULL;
    for (size_t i = 0; i < NODES_MAX; i++) {
        const struct node *n = w->machines[i].node;
        if (n != NULL && (newest == NULL || epoch_compare(node_record(n)->epoch,
                                                          newest->epoch) > 0))
            newest = node_record(n);
    }
    ASSERT(newest != NULL);
    if (m->store == NULL) {
        struct store_founding f = {.folder = {w->cluster, m->id, 0, 0}};
        m->store = store_model_new(&f, store_bytes, m);
        m->reader = store_reader_open(m->store);
    }
    struct buf bytes = {0};
    record_encode(newest, &bytes);
    commit_alone(m, (struct store_command){.kind = STORE_RECORD,
                                           .bytes = span_buf(&bytes)});
    m->is_member = true;
    buf_free(&bytes);
}

static enum err see_folder(void *ctx, const struct store_folder *f)
{
    *(struct store_folder *)ctx = *f;
    return ERR_BUSY; /* the rest is for the node */
}

static void wake(struct nodes_machine *m);

void nodes_start(struct nodes *w, size_t node)
{
    struct nodes_machine *m = &w->machines[node];
    struct store_visitor look = {.folder = see_folder};
    struct node_cfg cfg = {.version = "case"};
    ASSERT(m->node == NULL && m->is_member);
    look.ctx = &cfg.folder;
    enum err err = store_load(m->store, &look);
    ASSERT(err == ERR_BUSY);
    cfg.folder.boot++;
    if (RULE(S22))
        commit_alone(m, (struct store_command){.kind = STORE_BOOT,
                                               .number = cfg.folder.boot});
    cfg.nonce = ++w->nonces;
    cfg.seed = node + 1;
    cfg.timing = node_timing_default();
    cfg.log_keep_entries = w->log_keep_entries;
    m->node = node_new(&cfg, w->now_ms, wall_ms(w));
    struct store_visitor load = node_visitor(m->node);
    err = store_load(m->store, &load);
    if (err == ERR_OK)
        err = node_start(m->node);
    if (err != ERR_OK) {
        buf_printf(w->out, "node %zu does not start: %s\n", node + 1,
                   err_text(err));
        node_free(m->node);
        m->node = NULL;
        return;
    }
    m->is_paused = false;
    wake(m);
}

static void free_read(struct nodes_read *r)
{
    buf_free(&r->effect.segments.rows);
}

/* kill -9, or a power cut: what was not on the disk is lost. */
void nodes_crash(struct nodes *w, size_t node)
{
    struct nodes_machine *m = &w->machines[node];
    node_free(m->node);
    m->node = NULL;
    m->batch = NULL;
    for (size_t i = 0; i < m->read_count; i++)
        free_read(&m->reads[i]);
    m->read_count = 0;
    buffers_free(&m->buffers);
    m->buffers = (struct buffers){0};
}

/* ---- effects ----------------------------------------------------------- */

static void gather(const struct nodes_machine *m, const struct wire_out *o,
                   struct buf *out)
{
    buf_append(out, o->bytes.data, o->bytes.size);
    for (uint32_t i = 0; i < o->slice_count; i++) {
        struct slice s = o->slices[i];
        struct span bytes = buffers_span(&m->buffers, s.handle);
        ASSERT((size_t)s.offset + s.size <= bytes.size);
        buf_append(out, bytes.data + s.offset, s.size);
    }
}

static void send(struct nodes_machine *m, const struct node_effect *e)
{
    struct nodes *w = m->world;
    struct buf bytes = {0};
    gather(m, e->message, &bytes);
    if (e->kind == NODE_DO_SEND_PEER)
        nodes_send(w, m->index, nodes_place(w, e->node), 0, &bytes);
    else
        nodes_answered(w, m->index, span_buf(&bytes));
    buf_free(&bytes);
}

static void order_read(struct nodes_machine *m, const struct node_effect *e)
{
    if (m->read_count == m->read_capacity) {
        m->read_capacity = 2 * m->read_capacity + 16;
        m->reads = mem_resize(m->reads, m->read_capacity * sizeof *m->reads);
    }
    m->reads[m->read_count++] = (struct nodes_read){*e, m->world->now_ms + 1};
}

/* True: the process has ended. */
static bool do_effect(struct nodes_machine *m, const struct node_effect *e)
{
    switch (e->kind) {
    case NODE_DO_ACQUIRE:
        buffers_ref(&m->buffers, e->handle);
        break;
    case NODE_DO_RELEASE:
        buffers_unref(&m->buffers, e->handle);
        break;
    case NODE_DO_SEND_PEER:
    case NODE_DO_SEND_CLIENT:
        send(m, e);
        break;
    case NODE_DO_COMMIT:
        ASSERT(m->batch == NULL);
        m->batch = e->batch;
        m->batch_ms = m->world->now_ms + 1;
        break;
    case NODE_DO_READ:
    case NODE_DO_READ_LOG:
    case NODE_DO_READ_BLOB:
    case NODE_DO_READ_ROWS:
    case NODE_DO_SCRUB:
        order_read(m, e);
        break;
    case NODE_DO_STOP:
        buf_printf(m->world->out, "node %zu stops: %s\n", m->index + 1,
                   e->text);
        return true;
    case NODE_DO_PEER:
    case NODE_DO_PEER_GONE:
    case NODE_DO_PEER_AGAIN:
    case NODE_DO_ALLOW:
    case NODE_DO_READY:
    case NODE_DO_LOG:
        break;
    }
    return false;
}

/* A turn of its loop: all effects are done. */
static void wake(struct nodes_machine *m)
{
    struct node_effect e;
    bool has_stopped = false;
    while (m->node != NULL && node_pop(m->node, &e))
        has_stopped = do_effect(m, &e) || has_stopped;
    if (has_stopped)
        nodes_crash(m->world, m->index);
    else if (m->node != NULL)
        node_check(m->node);
}

/* ---- completions ------------------------------------------------------- */

static void commit(struct nodes_machine *m)
{
    struct store_done done = {0};
    enum err err = store_commit(m->store, m->batch, &done);
    if (err != ERR_OK)
        buf_printf(m->world->out,
                   "VIOLATION: node %zu: its store refuses a "
                   "commit: %s\n",
                   m->index + 1, err_text(err));
    for (size_t i = 0; i < m->batch->count; i++)
        m->portions += m->batch->commands[i].kind == STORE_PORTION;
    m->batch = NULL;
    node_committed(m->node, &done);
    wake(m);
}

/* A copy with a handle; 0: of nothing. */
static uint64_t keep(struct nodes_machine *m, const struct buf *payload)
{
    if (payload->size == 0)
        return 0;
    return buffers_add(&m->buffers, mem_copy(payload->data, payload->size),
                       payload->size);
}

static void read(struct nodes_machine *m, struct nodes_read *r)
{
    struct segments_result segments = {0};
    struct log_result log = {0};
    struct blob_result blob = {0};
    struct rows_result rows = {0};
    struct scrub_result scrub = {0};
    const struct node_effect *e = &r->effect;
    uint64_t handle = 0;
    if (e->kind == NODE_DO_READ_LOG) {
        store_read_log(m->reader, &e->log, &log);
        handle = keep(m, &log.payload);
        node_log_done(m->node, e->ticket, &log, handle);
    } else if (e->kind == NODE_DO_READ_BLOB) {
        store_read_blob(m->reader, &e->blob, &blob);
        node_blob_done(m->node, e->ticket, &blob);
    } else if (e->kind == NODE_DO_READ_ROWS) {
        store_read_rows(m->reader, &e->rows, &rows);
        handle = keep(m, &rows.payload);
        node_rows_done(m->node, e->ticket, &rows, handle);
    } else if (e->kind == NODE_DO_SCRUB) {
        store_scrub(m->reader, &e->scrub, &scrub);
        node_scrub_done(m->node, e->ticket, &scrub);
    } else {
        store_read_segments(m->reader, &e->segments, &segments);
        handle = keep(m, &segments.payload);
        node_read_done(m->node, e->ticket, &segments, handle);
    }
    store_blob_free(&blob);
    store_rows_free(&rows);
    store_scrub_free(&scrub);
    store_segments_free(&segments);
    store_log_free(&log);
    wake(m);
}

static void read_all(struct nodes_machine *m)
{
    for (size_t i = 0; m->node != NULL && i < m->read_count;) {
        struct nodes_read r = m->reads[i];
        if (r.at_ms > m->world->now_ms) {
            i++;
            continue;
        }
        m->read_count--;
        memmove(m->reads + i, m->reads + i + 1,
                (m->read_count - i) * sizeof *m->reads);
        read(m, &r);
        free_read(&r);
    }
}

/* ---- time -------------------------------------------------------------- */

static bool is_awake(const struct nodes_machine *m)
{
    return m->node != NULL && !m->is_paused;
}

static void arrive(struct nodes *w, struct nodes_packet *p)
{
    struct nodes_machine *m = &w->machines[p->to];
    if (m->node == NULL)
        return;
    uint64_t handle = buffers_add(
        &m->buffers, mem_copy(p->bytes.data, p->bytes.size), p->bytes.size);
    struct span message = buffers_span(&m->buffers, handle);
    node_tick(m->node, w->now_ms, wall_ms(w));
    if (p->from < NODES_MAX)
        node_recv_peer(m->node, message, handle, NULL);
    else
        node_recv_client(m->node, p->connection, message, handle, NULL, false);
    wake(m);
    if (m->node != NULL)
        buffers_unref(&m->buffers, handle);
}

/* Packets to a paused node wait. */
static void arrive_all(struct nodes *w)
{
    for (size_t i = 0; i < w->packet_count;) {
        struct nodes_packet p = w->packets[i];
        if (p.at_ms > w->now_ms || w->machines[p.to].is_paused) {
            i++;
            continue;
        }
        w->packet_count--;
        memmove(w->packets + i, w->packets + i + 1,
                (w->packet_count - i) * sizeof *w->packets);
        arrive(w, &p);
        buf_free(&p.bytes);
    }
}

static void live(struct nodes_machine *m)
{
    struct nodes *w = m->world;
    if (is_awake(m) && m->batch != NULL && !m->is_held &&
        m->batch_ms <= w->now_ms) {
        node_tick(m->node, w->now_ms, wall_ms(w));
        commit(m);
    }
    if (is_awake(m))
        read_all(m);
    if (is_awake(m) && node_deadline(m->node) <= w->now_ms) {
        node_tick(m->node, w->now_ms, wall_ms(w));
        wake(m);
    }
}

/* The next moment at which something may happen. */
static uint64_t next_ms(const struct nodes *w, uint64_t end)
{
    uint64_t next = end;
    for (size_t i = 0; i < w->packet_count; i++) {
        if (!w->machines[w->packets[i].to].is_paused)
            next = min_u64(next, w->packets[i].at_ms);
    }
    for (size_t i = 0; i < NODES_MAX; i++) {
        const struct nodes_machine *m = &w->machines[i];
        if (!is_awake(m))
            continue;
        next = min_u64(next, node_deadline(m->node));
        if (m->batch != NULL && !m->is_held)
            next = min_u64(next, m->batch_ms);
        for (size_t k = 0; k < m->read_count; k++)
            next = min_u64(next, m->reads[k].at_ms);
    }
    return max_u64(next, w->now_ms + 1);
}

bool nodes_run(struct nodes *w, uint64_t until_ms, nodes_until_fn is_done,
               uint64_t what)
{
    while (w->now_ms < until_ms) {
        if (is_done != NULL && is_done(w, what))
            return true;
        w->now_ms = min_u64(next_ms(w, until_ms), until_ms);
        arrive_all(w);
        for (size_t i = 0; i < NODES_MAX; i++)
            live(&w->machines[i]);
    }
    return is_done == NULL || is_done(w, what);
}

/* ---- the end ----------------------------------------------------------- */

void nodes_end(struct nodes *w)
{
    for (size_t i = 0; i < NODES_MAX; i++) {
        struct nodes_machine *m = &w->machines[i];
        if (m->node != NULL)
            nodes_crash(w, i);
        store_reader_close(m->reader);
        store_close(m->store);
        store_close(m->backup);
        mem_free(m->reads);
    }
    for (size_t i = 0; i < w->packet_count; i++)
        buf_free(&w->packets[i].bytes);
    for (size_t i = 0; i < w->tap_count; i++) {
        for (size_t k = 0; k < w->taps[i].count; k++)
            buf_free(&w->taps[i].packets[k].bytes);
        mem_free(w->taps[i].packets);
    }
    mem_free(w->packets);
    mem_free(w);
}
