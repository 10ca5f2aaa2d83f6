/* host.c - see host.h: the process, its inputs and effects. */
#include "tests/sim/host.h"

#include <stdio.h>

#include "ring/rule.h"
#include "tests/sim/disk_faults.h"
#include "tests/sim/folder_faults.h"
#include "tests/sim/mesh.h"
#include "tests/sim/drains.h"
#include "tests/sim/strangers.h"
#include "tests/sim/watch.h"

/* To look at all that a node thinks takes longer than to play what it does;
 * at swapped addresses thousands of packets come that are for another. */
#define VOIDS_FIRST 20u
#define VOIDS_EVERY 64u

/* ---- the machine ------------------------------------------------------- */

struct host *host_new(struct world *w, uint32_t index)
{
    struct host *h = mem_alloc(sizeof *h);
    h->w = w;
    h->index = index;
    uint64_t a = rng_next(&w->rng), b = rng_next(&w->rng);
    memcpy(h->id.bytes, &a, 8);
    memcpy(h->id.bytes + 8, &b, 8);
    (void)snprintf(h->name, sizeof h->name, "n%u", index + 1);
    (void)snprintf(h->peer_address, sizeof h->peer_address, "n%u:7000",
                   index + 1);
    (void)snprintf(h->client_address, sizeof h->client_address, "n%u:7001",
                   index + 1);
    int64_t skew =
        (int64_t)world_draw(w, 2 * (uint64_t)w->plan.skew_ms) - w->plan.skew_ms;
    h->clock.rate_percent = 100;
    if (w->plan.has[FAULT_SKEW]) {
        h->clock.ahead_ms = skew;
        fault_count(w, FAULT_SKEW);
    }
    h->exit_code = -1;
    h->wake_us = h->next_us = UINT64_MAX;
    return h;
}

void host_free(struct host *h)
{
    if (h->node != NULL)
        host_crash(h);
    host_image_free(h->doubt);
    host_image_free(h->past);
    store_reader_close(h->reader);
    store_close(h->store);
    buffers_free(&h->buffers);
    mem_free(h->inputs);
    mem_free(h);
}

/* ---- its clock --------------------------------------------------------- */

int64_t host_ahead_ms(const struct host *h)
{
    const struct host_clock *c = &h->clock;
    int64_t since = (int64_t)(world_ms(h->w) - c->since_ms);
    return c->ahead_ms + since * ((int64_t)c->rate_percent - 100) / 100;
}

void host_set_clock(struct host *h, int64_t ahead_ms, uint32_t rate_percent)
{
    h->clock = (struct host_clock){ahead_ms, world_ms(h->w), rate_percent};
}

uint64_t host_wall_ms(const struct host *h)
{
    int64_t ms = (int64_t)world_wall_ms(h->w) + host_ahead_ms(h);
    return ms < 0 ? 0 : (uint64_t)ms; /* no clock knows what was before 1970 */
}

/* ---- who is who -------------------------------------------------------- */

struct host *host_of(const struct world *w, struct id128 id)
{
    for (uint32_t i = 0; i < w->host_count; i++)
        if (id_equal(w->hosts[i]->id, id))
            return w->hosts[i];
    return NULL;
}

struct host *host_at(const struct world *w, const char *address)
{
    for (uint32_t i = 0; i < w->host_count; i++)
        if (strcmp(w->hosts[i]->client_address, address) == 0 ||
            strcmp(w->hosts[i]->peer_address, address) == 0)
            return w->hosts[i];
    return NULL;
}

/* ---- a process --------------------------------------------------------- */

static void schedule(struct host *h)
{
    h->next_us = UINT64_MAX;
    if (h->node == NULL || h->is_paused)
        return;
    uint64_t deadline = node_deadline(h->node);
    if (deadline != UINT64_MAX)
        h->next_us = max_u64(deadline * 1000, h->w->now_us);
    h->next_us = min_u64(h->next_us, h->wake_us);
    if (h->next_us != UINT64_MAX)
        h->next_us = max_u64(h->next_us, h->busy_until_us);
}

static enum err see_folder(void *ctx, const struct store_folder *f)
{
    *(struct store_folder *)ctx = *f;
    return ERR_OK;
}
static enum err skip_record(void *ctx, struct span record)
{
    (void)ctx, (void)record;
    return ERR_OK;
}
static enum err skip_replica(void *ctx, const struct store_replica *r)
{
    (void)ctx, (void)r;
    return ERR_OK;
}
static enum err skip_row(void *ctx, uint32_t group, struct span key,
                         struct span value)
{
    (void)ctx, (void)group, (void)key, (void)value;
    return ERR_OK;
}
static enum err skip_entry(void *ctx, uint32_t group, struct span manifest)
{
    (void)ctx, (void)group, (void)manifest;
    return ERR_OK;
}
static enum err skip_tombstone(void *ctx, uint32_t group, uint32_t incarnation,
                               uint64_t least)
{
    (void)ctx, (void)group, (void)incarnation, (void)least;
    return ERR_OK;
}

/* False: it is damaged. */
static bool read_folder(struct host *h, struct store_folder *folder)
{
    struct store_visitor v = {folder,         see_folder, skip_record,
                              skip_replica,   skip_row,   skip_entry,
                              skip_tombstone, NULL};
    bool is_whole = store_load(h->store, &v) == ERR_OK;
    if (!is_whole && !h->is_rotten)
        world_fail(h->w, SIM_SAFETY,
                   "n%u: what is stored does not fit together", h->index + 1);
    return is_whole;
}

/* S22: before the first message of this life. What was in doubt is on the disk
 * from then on. */
static void commit_boot(struct host *h, uint64_t boot)
{
    if (h->doubt != NULL && h->w->ghost == NULL &&
        rng_chance(&h->w->rng, 500)) {
        fault_count(h->w, FAULT_POWER_LOST);
        world_fault(h->w,
                    "n%u: the power has gone, and with it the last commit",
                    h->index + 1);
        host_restore(h, h->doubt);
    }
    if (!RULE(S22))
        return;
    host_commit_alone(
        h, (struct store_command){.kind = STORE_BOOT, .number = boot});
    host_image_free(h->doubt);
    h->doubt = NULL;
}

bool host_is_up(const struct host *h)
{
    return h->node != NULL && !h->is_ghost;
}

void host_start(struct host *h)
{
    ASSERT(h->node == NULL && h->is_member && !h->is_lost);
    struct world *w = h->w;
    struct store_folder folder = {0};
    if (!read_folder(h, &folder)) {
        folder_faults_bad(h);
        return;
    }
    folder.boot++;
    commit_boot(h, folder.boot);
    struct node_cfg cfg = {
        .folder = folder,
        .nonce = rng_next(&w->rng),
        .seed = rng_next(&w->rng),
        .timing = w->plan.timing,
        .log_keep_entries = w->plan.log_keep_entries,
        .version = "sim",
        .peer_address = h->peer_address,
        .is_recording_trace = w->cfg.is_traced,
    };
    h->boot = folder.boot;
    h->life++;
    h->is_ready = false;
    h->busy_until_us = h->space_us = 0;
    h->voids = 0;
    h->node = node_new(&cfg, world_ms(w), host_wall_ms(h));
    struct store_visitor v = node_visitor(h->node);
    enum err err = store_load(h->store, &v);
    if (err == ERR_OK)
        err = node_start(h->node);
    if (err != ERR_OK)
        world_fail(w, SIM_SAFETY, "n%u does not start: %s", h->index + 1,
                   err_text(err));
    world_trace(w, "n%u starts, boot %llu%s", h->index + 1,
                (unsigned long long)h->boot, h->is_ghost ? ", a GHOST" : "");
    if (!h->is_ghost) {
        watch_started(w->watch, h);
        strangers_greet(w->strangers, h);
    }
    h->wake_us = w->now_us;
    schedule(h);
}

void host_drop_read(struct host_read *r)
{
    buf_free(&r->segments.rows);
    store_segments_free(&r->segments_result);
    store_log_free(&r->log_result);
    store_blob_free(&r->blob_result);
    store_rows_free(&r->rows_result);
    store_scrub_free(&r->scrub_result);
    mem_free(r);
}

/* Of a batch that was refused as a whole, the first command that is wrong. */
static _Noreturn void batch_refused(struct host *h, enum err err)
{
    const struct store_command *c = h->batch->commands;
    struct store_done done;
    for (size_t i = 0; i < h->batch->count; i++, c++) {
        struct store_batch one = {h->batch->cycle, c, 1};
        if (store_commit(h->store, &one, &done) != ERR_OK)
            break;
    }
    world_fail(h->w, SIM_SAFETY,
               "n%u: the store refuses command %zu of %zu: kind %d, group %u, "
               "incarnation %u, added %llu, index %llu to %llu: %s",
               h->index + 1, (size_t)(c - h->batch->commands), h->batch->count,
               (int)c->kind, c->group, c->incarnation,
               (unsigned long long)c->added, (unsigned long long)c->index,
               (unsigned long long)c->index_to, err_text(err));
}

static void make_durable(struct host *h)
{
    enum err err = store_commit(h->store, h->batch, &h->done);
    if (err != ERR_OK)
        batch_refused(h, err);
    h->is_durable = true;
    host_image_free(h->doubt); /* the whole root has been written anew */
    h->doubt = NULL;
    if (!h->is_ghost)
        watch_durable(h->w->watch, h, h->batch);
}

void host_crash(struct host *h)
{
    struct world *w = h->w;
    world_fault(w, "n%u CRASHES%s", h->index + 1,
                h->batch == NULL ? ""
                : h->is_durable  ? ", its commit is on the disk"
                                 : ", its commit under way");
    if (h->batch != NULL && h->is_durable) {
        fault_count(w, FAULT_CRASH_UNTOLD);
    } else if (h->batch != NULL && rng_chance(&w->rng, 300)) {
        make_durable(h);
        fault_count(w, FAULT_CRASH_UNKNOWN);
    } else if (h->batch != NULL) {
        w->totals.unsynced++;
        fault_count(w, FAULT_CRASH_UNSYNCED);
    }
    h->batch = NULL;
    node_free(h->node);
    h->node = NULL;
    for (size_t i = 0; i < h->input_count; i++)
        if (h->inputs[i].read != NULL)
            host_drop_read(h->inputs[i].read);
    h->input_count = 0;
    buffers_free(&h->buffers);
    h->is_paused = h->is_stopping = false;
    h->aim = AIM_NONE;
    h->has_hit = false;
    h->exit_code = -1;
    h->fate = COMMIT_WELL;
    h->has_bad_sector = h->has_failed_read = false;
    h->life++;
    h->wake_us = h->next_us = UINT64_MAX;
    if (!h->is_ghost)
        watch_crashed(w->watch, h);
}

void host_pause(struct host *h)
{
    world_fault(h->w, "n%u is PAUSED", h->index + 1);
    h->is_paused = true;
    schedule(h);
}

void host_resume(struct host *h)
{
    world_fault(h->w, "n%u goes on", h->index + 1);
    h->is_paused = false;
    schedule(h);
}

void host_stop(struct host *h)
{
    world_fault(h->w, "n%u is told to STOP", h->index + 1);
    h->is_stopping = true;
    node_stop(h->node);
    schedule(h);
}

/* ---- inputs ------------------------------------------------------------ */

static struct input *add_input(struct host *h, enum input_kind kind)
{
    if (h->input_count == h->input_capacity) {
        h->input_capacity = h->input_capacity == 0 ? 16 : h->input_capacity * 2;
        h->inputs =
            mem_resize(h->inputs, h->input_capacity * sizeof *h->inputs);
    }
    struct input *i = &h->inputs[h->input_count++];
    *i = (struct input){.kind = kind};
    if (h->wake_us == UINT64_MAX) {
        h->wake_us = h->w->now_us + world_draw(h->w, h->w->plan.wake_us);
        schedule(h);
    }
    return i;
}

/* Two at one address: the one gets this packet, the other that. */
static struct host *addressee(struct host *h)
{
    return h->copy != NULL && rng_chance(&h->w->rng, 500) ? h->copy : h;
}

static void packet_arrives(struct host *h, const struct event *e)
{
    size_t size;
    uint32_t from;
    uint64_t connection;
    uint8_t *data =
        mesh_receive(h->w, e, mesh_host(h->index), &size, &from, &connection);
    if (data == NULL)
        return;
    h = addressee(h);
    if (h->node == NULL) {
        mem_free(data);
        return;
    }
    struct input *i =
        add_input(h, e->kind == EVENT_PACKET ? INPUT_PEER : INPUT_USER);
    i->connection = connection;
    struct wire_in in;
    struct request r;
    struct span message = span_of(data, size);
    if (i->kind == INPUT_USER && wire_read(message, &in) == ERR_OK &&
        wire_request_read(&in, &r) == ERR_OK && r.op == OP_COMMANDS)
        i->is_corrupt = wire_commands_verify(&in, &r) != ERR_OK;
    i->is_lost = i->kind == INPUT_PEER && wire_read(message, &in) == ERR_OK &&
                 in.header.kind == WIRE_PEER_TRANSFER && !wire_rows_verify(&in);
    i->handle = buffers_add(&h->buffers, data, size);
}

/* At some commit boundary after it was ordered: at this one (T35). */
static void read_runs(struct host *h, struct host_read *r)
{
    struct buf *payload = &r->segments_result.payload;
    if (h->has_bad_sector) {
        h->has_bad_sector = false;
        h->has_failed_read = true;
        r->segments_result.err = r->log_result.err = ERR_IO;
        r->blob_result.err = r->rows_result.err = ERR_IO;
        r->scrub_result.err = ERR_IO;
    } else if (r->kind == NODE_DO_READ_LOG) {
        store_read_log(h->reader, &r->log, &r->log_result);
        payload = &r->log_result.payload;
    } else if (r->kind == NODE_DO_READ_BLOB) {
        store_read_blob(h->reader, &r->blob, &r->blob_result);
    } else if (r->kind == NODE_DO_READ_ROWS) {
        store_read_rows(h->reader, &r->rows, &r->rows_result);
        payload = &r->rows_result.payload;
    } else if (r->kind == NODE_DO_SCRUB) {
        store_scrub(h->reader, &r->scrub, &r->scrub_result);
    } else {
        store_read_segments(h->reader, &r->segments, &r->segments_result);
    }
    if (payload->size > 0) {
        r->payload = buffers_add(&h->buffers, payload->data, payload->size);
        payload->data = mem_copy(payload->data, payload->size);
    }
    add_input(h, INPUT_READ)->read = r;
}

/* As node/loop.c has it: the process ends at once (S22). */
static void commit_fails(struct host *h)
{
    enum host_commit fate = h->fate;
    world_fault(h->w, "n%u: a commit FAILS%s", h->index + 1,
                fate == COMMIT_NEVER    ? ", it is not on the disk"
                : fate == COMMIT_FAILED ? ", yet it is on the disk"
                                        : ", it is in the cache alone");
    struct host_image *before = fate == COMMIT_DOUBT ? host_image(h) : NULL;
    if (fate != COMMIT_NEVER)
        make_durable(h);
    h->doubt = before;
    h->batch = NULL; /* what became of it is decided */
    h->exit_code = EXIT_DISK;
}

void host_event(struct host *h, const struct event *e)
{
    bool is_former = e->life != h->life;
    switch ((enum event_kind)e->kind) {
    case EVENT_PACKET:
    case EVENT_REQUEST:
        packet_arrives(h, e);
        return;
    case EVENT_DISK:
        if (is_former)
            return;
        if (h->fate != COMMIT_WELL) {
            commit_fails(h);
            return;
        }
        make_durable(h);
        if (h->aim == AIM_DURABLE)
            h->has_hit = true;
        world_at(h->w, world_draw(h->w, h->w->plan.told_us), EVENT_TOLD,
                 h->index, h->life, 0, NULL);
        return;
    case EVENT_TOLD:
        if (!is_former)
            add_input(h, INPUT_COMMITTED);
        return;
    case EVENT_READ:
        if (is_former)
            host_drop_read(e->data);
        else
            read_runs(h, e->data);
        return;
    case EVENT_RESPONSE:
    case EVENT_FAULT:
    case EVENT_LATER:
    case EVENT_HEAL:
    case EVENT_EASE:
    case EVENT_PROCESS:
    case EVENT_RESTART:
    case EVENT_RESUME:
    case EVENT_RAW:
    case EVENT_USER:
    case EVENT_JOIN:
        break;
    }
    ASSERT(!"a host hears of nothing else");
}

/* ---- effects ----------------------------------------------------------- */

static uint8_t *gather(const struct host *h, const struct wire_out *m,
                       size_t *size)
{
    *size = wire_out_size(m);
    uint8_t *data = mem_resize(NULL, *size);
    memcpy(data, m->bytes.data, m->bytes.size);
    size_t at = m->bytes.size;
    for (uint32_t i = 0; i < m->slice_count; i++) {
        struct slice s = m->slices[i];
        struct span bytes = buffers_span(&h->buffers, s.handle);
        ASSERT((size_t)s.offset + s.size <= bytes.size);
        memcpy(data + at, bytes.data + s.offset, s.size);
        at += s.size;
    }
    ASSERT(at == *size);
    return data;
}

static uint32_t address_of(const struct host *h)
{
    return h->index == HOST_COPY ? host_of(h->w, h->id)->index : h->index;
}

static void send_peer(struct host *h, const struct node_effect *e)
{
    struct host *to = host_of(h->w, e->node);
    ASSERT(to != NULL);
    size_t size;
    uint8_t *data = gather(h, e->message, &size);
    if (e->lane == LANE_CONTROL && !h->is_ghost &&
        watch_sent(h->w->watch, h, to, span_of(data, size), h->aim))
        h->has_hit = true;
    mesh_send(h->w, EVENT_PACKET, mesh_host(address_of(h)),
              mesh_host(to->index), 0, 0, data, size);
}

static void send_user(struct host *h, const struct node_effect *e)
{
    size_t size;
    uint8_t *data = gather(h, e->message, &size);
    uint64_t c = e->connection;
    if (h->aim == AIM_ANSWERED && h->batch != NULL)
        h->has_hit = true;
    mesh_send(h->w, EVENT_RESPONSE, mesh_host(address_of(h)),
              mesh_user(mesh_connection_user(c)), c >> 32,
              mesh_connection_link(c), data, size);
}

static uint64_t draw_commit(struct host *h)
{
    struct world *w = h->w;
    const struct plan *p = &w->plan;
    uint64_t us =
        p->commit_min_us + world_draw(w, p->commit_max_us - p->commit_min_us);
    if (fault_strikes(w, FAULT_SLOW_COMMIT, p->slow_per_mille))
        us += world_draw(w, (uint64_t)p->slow_ms * 1000);
    if (w->now_us < h->slow_until_us)
        us += 100000 + world_draw(w, 1900000);
    return us;
}

static void begin_commit(struct host *h, const struct node_effect *e)
{
    ASSERT(h->batch == NULL);
    h->batch = e->batch;
    h->commit_began_us = h->w->now_us;
    h->is_durable = false;
    h->w->totals.commits++;
    if (h->aim == AIM_COMMIT)
        h->has_hit = true;
    world_at(h->w, draw_commit(h), EVENT_DISK, h->index, h->life, 0, NULL);
}

static void begin_read(struct host *h, const struct node_effect *e)
{
    struct host_read *r = mem_alloc(sizeof *r);
    r->ticket = e->ticket;
    r->kind = e->kind;
    r->log = e->log;
    r->segments = e->segments;
    r->blob = e->blob;
    r->rows = e->rows;
    r->scrub = e->scrub;
    world_at(h->w, world_draw(h->w, h->w->plan.read_us), EVENT_READ, h->index,
             h->life, 0, r);
}

static void do_effect(struct host *h, const struct node_effect *e)
{
    switch (e->kind) {
    case NODE_DO_ACQUIRE:
        buffers_ref(&h->buffers, e->handle);
        return;
    case NODE_DO_RELEASE:
        buffers_unref(&h->buffers, e->handle);
        return;
    case NODE_DO_SEND_PEER:
        send_peer(h, e);
        return;
    case NODE_DO_SEND_CLIENT:
        send_user(h, e);
        return;
    case NODE_DO_COMMIT:
        begin_commit(h, e);
        return;
    case NODE_DO_READ:
    case NODE_DO_READ_LOG:
    case NODE_DO_READ_BLOB:
    case NODE_DO_READ_ROWS:
    case NODE_DO_SCRUB:
        begin_read(h, e);
        return;
    case NODE_DO_PEER:
    case NODE_DO_PEER_GONE:
    case NODE_DO_PEER_AGAIN:
    case NODE_DO_ALLOW:
        return; /* the mesh reaches everyone */
    case NODE_DO_READY:
        h->is_ready = true;
        return;
    case NODE_DO_STOP:
        world_trace(h->w, "n%u stops with %d: %s", h->index + 1, e->exit_code,
                    e->text);
        if (!(h->is_stopping && e->exit_code == 0) &&
            !disk_faults_may_end(h, e->exit_code) &&
            !drains_may_end(h, e->exit_code))
            world_fail(h->w, SIM_SAFETY, "n%u stops with %d: %s", h->index + 1,
                       e->exit_code, e->text);
        h->exit_code = e->exit_code;
        return;
    case NODE_DO_LOG:
        world_trace(h->w, "n%u: %s", h->index + 1, e->text);
        return;
    }
    ASSERT(!"an effect that the driver does not know");
}

/* ---- a turn ------------------------------------------------------------ */

static void read_done(struct host *h, const struct host_read *r)
{
    if (r->kind == NODE_DO_READ_LOG)
        node_log_done(h->node, r->ticket, &r->log_result, r->payload);
    else if (r->kind == NODE_DO_READ_BLOB)
        node_blob_done(h->node, r->ticket, &r->blob_result);
    else if (r->kind == NODE_DO_READ_ROWS)
        node_rows_done(h->node, r->ticket, &r->rows_result, r->payload);
    else if (r->kind == NODE_DO_SCRUB)
        node_scrub_done(h->node, r->ticket, &r->scrub_result);
    else
        node_read_done(h->node, r->ticket, &r->segments_result, r->payload);
}

static void feed(struct host *h, struct input *i)
{
    struct span message = {0};
    if (i->handle != 0)
        message = buffers_span(&h->buffers, i->handle);
    switch (i->kind) {
    case INPUT_PEER:
        if (i->is_lost) /* as node/loop.c has it */
            return;
        watch_feeds(h->w->watch, h, message);
        node_recv_peer(h->node, message, i->handle, NULL);
        watch_fed(h->w->watch, h);
        return;
    case INPUT_USER:
        node_recv_client(h->node, i->connection, message, i->handle, NULL,
                         i->is_corrupt);
        return;
    case INPUT_COMMITTED:
        h->batch = NULL;
        h->is_durable = false;
        node_committed(h->node, &h->done);
        return;
    case INPUT_READ:
        read_done(h, i->read);
        return;
    }
}

/* Behind a STOP nothing is done any more; but references are counted. */
static void drain(struct host *h)
{
    struct node_effect e;
    while (node_pop(h->node, &e)) {
        bool is_count = e.kind == NODE_DO_ACQUIRE || e.kind == NODE_DO_RELEASE;
        if (h->exit_code < 0 || is_count)
            do_effect(h, &e);
        else if (e.kind == NODE_DO_READ)
            buf_free(&e.segments.rows);
    }
}

/* Each second, as the loop has it. */
static void tell_space(struct host *h)
{
    struct store_space space;
    if (h->w->now_us < h->space_us)
        return;
    h->space_us = h->w->now_us + 1000000;
    if (store_space(h->store, &space) == ERR_OK)
        node_space(h->node, &space);
}

/* Whether it is to change nothing. */
static bool is_void(struct host *h, const struct input *i)
{
    bool is_peer = i->kind == INPUT_PEER;
    return (is_peer || i->kind == INPUT_USER) &&
           strangers_is_void(h->w->strangers, h,
                             buffers_span(&h->buffers, i->handle), is_peer);
}

/* All that the node thinks, before and after it. */
static void feed_void(struct host *h, struct input *i)
{
    struct buf before = {0}, after = {0};
    bool is_looked_at =
        ++h->voids <= VOIDS_FIRST || h->voids % VOIDS_EVERY == 0;
    drain(h);
    if (is_looked_at)
        node_dump(h->node, &before);
    feed(h, i);
    drain(h);
    if (!is_looked_at)
        return;
    node_dump(h->node, &after);
    MUST_HOLD(h->w, I27, span_equal(span_buf(&before), span_buf(&after)),
              "n%u has heeded a packet that is foreign, garbage or of a former "
              "life; before and after:\n%.*s\n%.*s",
              h->index + 1, (int)before.size, (const char *)before.data,
              (int)after.size, (const char *)after.data);
    buf_free(&before);
    buf_free(&after);
}

static void look(struct host *h)
{
    struct world *w = h->w;
    if (!watch_wake(w->watch, h))
        return;
    strangers_rise(w->strangers, h);
    if (h->aim == AIM_LEADS)
        h->has_hit = true;
}

/* Some turns end between two inputs, as a loop's budget would have it. */
void host_wake(struct host *h)
{
    struct world *w = h->w;
    w->totals.wakes++;
    h->wake_us = UINT64_MAX;
    node_tick(h->node, world_ms(w), host_wall_ms(h));
    tell_space(h);
    for (size_t i = 0; i < h->input_count; i++) {
        if (!h->is_ghost && is_void(h, &h->inputs[i]))
            feed_void(h, &h->inputs[i]);
        else
            feed(h, &h->inputs[i]);
        if (rng_chance(&w->rng, 100))
            drain(h);
    }
    drain(h);
    for (size_t i = 0; i < h->input_count; i++) {
        if (h->inputs[i].handle != 0)
            buffers_unref(&h->buffers, h->inputs[i].handle);
        if (h->inputs[i].read != NULL)
            host_drop_read(h->inputs[i].read);
    }
    h->input_count = 0;
    if (w->now_us < h->starved_until_us)
        h->busy_until_us = w->now_us + world_draw(w, h->starved_us);
    if (h->exit_code < 0 && !h->is_ghost)
        look(h);
    schedule(h);
}

/* ---- leaks ------------------------------------------------------------- */

static uint32_t refs_of_item(const struct item *item, uint64_t handle)
{
    uint32_t refs = 0;
    for (uint32_t i = 0; item != NULL && i < item->slice_count; i++)
        refs += item->slices[i].handle == handle;
    return refs;
}

static uint32_t refs_of_group(const struct raft *r, uint64_t handle)
{
    uint32_t refs = 0;
    for (uint64_t i = raft_base(r) + 1; i <= raft_last(r); i++)
        refs += refs_of_item(raft_cached(r, i), handle);
    const struct raft_progress *p;
    size_t count = raft_followers(r, &p);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < p[i].loaded_count; k++)
            if (p[i].loaded[k] != raft_cached(r, p[i].loaded[k]->index))
                refs += refs_of_item(p[i].loaded[k], handle);
    return refs;
}

void host_check_leaks(struct host *h)
{
    ASSERT(h->node != NULL && h->input_count == 0);
    for (uint32_t slot = 0; slot < h->buffers.count; slot++) {
        uint64_t handle = buffers_handle(&h->buffers, slot);
        if (handle == 0)
            continue;
        uint32_t refs = 0;
        for (uint32_t g = 0; g < h->w->plan.groups; g++) {
            const struct raft *r = node_raft(h->node, g);
            if (r != NULL)
                refs += refs_of_group(r, handle);
        }
        if (refs != buffers_refs(&h->buffers, handle))
            world_fail(h->w, SIM_OTHER,
                       "n%u: a buffer has %u references, entries in memory "
                       "hold %u of them",
                       h->index + 1, buffers_refs(&h->buffers, handle), refs);
    }
}
