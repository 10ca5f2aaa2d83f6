/* node.c - the life of a node, its inputs, and the turn; see node.h. */
#include "node/node_impl.h"

#include <stdarg.h>
#include <stdio.h>

/* ---- queues ------------------------------------------------------------ */

void node_queue_init(struct queue *q, size_t width)
{
    *q = (struct queue){.width = width};
}

void node_queue_free(struct queue *q)
{
    mem_free(q->data);
    *q = (struct queue){.width = q->width};
}

void *node_queue_at(const struct queue *q, size_t i)
{
    ASSERT(i < q->count);
    return q->data + ((q->first + i) & (q->capacity - 1)) * q->width;
}

void *node_queue_push(struct queue *q)
{
    if (q->count == q->capacity) {
        size_t capacity = q->capacity == 0 ? 8 : q->capacity * 2;
        uint8_t *data = mem_alloc(capacity * q->width);
        for (size_t i = 0; i < q->count; i++)
            memcpy(data + i * q->width, node_queue_at(q, i), q->width);
        mem_free(q->data);
        q->data = data;
        q->first = 0;
        q->capacity = capacity;
    }
    q->count++;
    void *at = node_queue_at(q, q->count - 1);
    memset(at, 0, q->width);
    return at;
}

void node_queue_pop(struct queue *q)
{
    ASSERT(q->count > 0);
    q->first = (q->first + 1) & (q->capacity - 1);
    q->count--;
}

void node_queue_pop_back(struct queue *q)
{
    ASSERT(q->count > 0);
    q->count--;
}

/* ---- effects ----------------------------------------------------------- */

struct node_effect *node_push(struct node *n, enum node_effect_kind kind)
{
    struct node_effect *e = node_queue_push(&n->effects);
    e->kind = kind;
    return e;
}

void node_log(struct node *n, enum node_log_level level, const char *format,
              ...)
{
    if (level == NODE_DEBUG && !n->cfg.is_recording_trace)
        return;
    char text[512];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    ASSERT(size >= 0);
    struct node_effect *e = node_push(n, NODE_DO_LOG);
    e->level = level;
    e->text = mem_copy(text, strlen(text) + 1);
}

void node_send_client(struct node *n, uint64_t connection, struct wire_out *m)
{
    struct node_effect *e = node_push(n, NODE_DO_SEND_CLIENT);
    struct wire_out *kept = mem_alloc(sizeof *kept);
    *kept = *m;
    *m = (struct wire_out){0};
    e->connection = connection;
    e->message = kept;
}

void node_fail(struct node *n, int exit_code, const char *text)
{
    if (n->is_stopped)
        return;
    n->is_stopped = true;
    struct node_effect *e = node_push(n, NODE_DO_STOP);
    e->exit_code = exit_code;
    e->text = mem_copy(text, strlen(text) + 1);
}

bool node_has_timed_out(uint64_t now_ms, uint64_t since_ms, uint32_t limit_ms)
{
    return now_ms >= since_ms + limit_ms;
}

void node_dirty(struct node *n, struct group *g)
{
    n->has_work = true;
    if (g->is_dirty)
        return;
    g->is_dirty = true;
    uint32_t *id = node_queue_push(&n->dirty);
    *id = g->id;
}

/* What the last popped effect lent. */
static void free_lent(struct node *n)
{
    struct node_effect *e = &n->lent;
    if (e->kind == NODE_DO_SEND_PEER || e->kind == NODE_DO_SEND_CLIENT) {
        struct wire_out *m = (struct wire_out *)(uintptr_t)e->message;
        if (m != NULL) {
            wire_out_free(m);
            mem_free(m);
        }
    }
    if (e->kind == NODE_DO_LOG || e->kind == NODE_DO_STOP)
        mem_free((void *)(uintptr_t)e->text);
    if (e->kind == NODE_DO_PEER) {
        mem_free((void *)(uintptr_t)e->address);
        mem_free((void *)(uintptr_t)e->key);
    }
    *e = (struct node_effect){.kind = NODE_DO_RELEASE};
}

/* ---- life -------------------------------------------------------------- */

struct node_timing node_timing_default(void)
{
    return (struct node_timing){
        .heartbeat_ms = HEARTBEAT_MS,
        .election_ms = ELECTION_MS,
        .jitter_percent = 10,
        .probe_interval_ms = PROBE_INTERVAL_MS,
        .probe_timeout_ms = PROBE_TIMEOUT_MS,
        .suspicion_ms = SUSPICION_MS,
        .push_pull_ms = PUSH_PULL_MS,
        .join_wait_ms = JOIN_WAIT_MS,
        .join_settle_ms = JOIN_SETTLE_MS,
        .record_interval_ms = RECORD_INTERVAL_MS,
        .record_ask_ms = 200,
        .lane_timeout_ms = ELECTION_MS,
        .walk_ms = HEARTBEAT_MS,
        .calm_ms = 10000,
        .orphan_ms = 5000,
        .unstored_age_ms = UNSTORED_AGE_MS,
        .stop_ms = 2000,
        .mend_again_ms = MEND_AGAIN_MS,
        .install_stall_ms = INSTALL_STALL_MS,
        .back_after_ms = BACK_AFTER_MS,
    };
}

struct node *node_new(const struct node_cfg *cfg, uint64_t now_ms,
                      uint64_t wall_ms)
{
    struct node *n = mem_alloc(sizeof *n);
    n->cfg = *cfg;
    n->now_ms = now_ms;
    n->wall_ms = wall_ms;
    n->started_ms = now_ms;
    n->slot = SLOT_NONE;
    n->lent.kind = NODE_DO_RELEASE;
    n->next_ticket = n->next_token = 1;
    rng_seed(&n->rng, cfg->seed);
    node_queue_init(&n->effects, sizeof(struct node_effect));
    node_queue_init(&n->dirty, sizeof(uint32_t));
    node_queue_init(&n->joinings, sizeof(struct joining));
    node_queue_init(&n->changings, sizeof(struct changing));
    node_queue_init(&n->extras, sizeof(struct extra));
    node_queue_init(&n->sweeps, sizeof(struct sweep));
    node_queue_init(&n->hard_groups, sizeof(uint32_t));
    node_queue_init(&n->log_groups, sizeof(uint32_t));
    node_queue_init(&n->readings, sizeof(struct reading));
    node_queue_init(&n->givings, sizeof(struct giving));
    node_queue_init(&n->scans, sizeof(struct scan));
    node_queue_init(&n->mends, sizeof(struct mend));
    node_queue_init(&n->cycle.items, sizeof(struct item *));
    node_queue_init(&n->cycle.marks, sizeof(struct cycle_mark));
    node_queue_init(&n->cycle.spans, sizeof(struct span *));
    node_queue_init(&n->cycle.orphans, sizeof(struct buf));
    node_queue_init(&n->cycle.extras, sizeof(struct extra));
    return n;
}

static void release(struct node *n, uint64_t handle)
{
    if (n->cfg.release != NULL)
        n->cfg.release(handle);
}

static void free_effects(struct node *n)
{
    free_lent(n);
    while (n->effects.count > 0) {
        n->lent = *(struct node_effect *)node_queue_at(&n->effects, 0);
        if (n->lent.kind == NODE_DO_READ)
            buf_free(&n->lent.segments.rows);
        if (n->lent.kind == NODE_DO_RELEASE)
            release(n, n->lent.handle);
        node_queue_pop(&n->effects);
        free_lent(n);
    }
}

void node_free(struct node *n)
{
    if (n == NULL)
        return;
    node_cycle_free(n);
    for (uint32_t i = 0; i < n->group_count; i++)
        node_group_free(n, n->groups[i]);
    mem_free(n->groups);
    mem_free(n->standings);
    free_effects(n); /* those too that the groups' clients would get */
    while (n->readings.count > 0) {
        struct reading *r = node_queue_at(&n->readings, 0);
        mem_free(r->runs);
        node_queue_pop(&n->readings);
    }
    node_peers_free(n);
    node_install_free(n);
    node_give_free(n);
    if (n->is_swim_open)
        swim_free(&n->swim);
    record_free(n->record);
    record_free(n->ring);
    record_free(n->founding.record);
    buf_free(&n->record_bytes);
    buf_free(&n->boots);
    buf_free(&n->left);
    node_queue_free(&n->effects);
    node_queue_free(&n->dirty);
    node_queue_free(&n->hard_groups);
    node_queue_free(&n->log_groups);
    node_queue_free(&n->joinings);
    node_queue_free(&n->changings);
    node_queue_free(&n->sweeps);
    node_queue_free(&n->readings);
    node_queue_free(&n->scans);
    node_queue_free(&n->mends);
    ASSERT(n->pool.live == 0);
    for (size_t i = 0; i < n->pool.released_count; i++)
        release(n, n->pool.released[i]);
    item_pool_free(&n->pool);
    mem_free(n);
}

/* ---- loading ----------------------------------------------------------- */

static enum err load_folder(void *ctx, const struct store_folder *f)
{
    struct node *n = ctx;
    if (!id_equal(f->node, n->cfg.folder.node) ||
        !id_equal(f->cluster, n->cfg.folder.cluster))
        return ERR_DAMAGED;
    return ERR_OK;
}

static enum err load_record(void *ctx, struct span bytes)
{
    struct node *n = ctx;
    struct record *r;
    enum err e = record_decode(bytes, &r);
    if (e != ERR_OK)
        return e == ERR_INCOMPATIBLE ? e : ERR_DAMAGED;
    node_ring_adopt(n, r, true);
    return ERR_OK;
}

static enum err load_replica(void *ctx, const struct store_replica *r)
{
    struct node *n = ctx;
    if (r->group >= n->group_count || n->groups[r->group] != NULL)
        return ERR_DAMAGED;
    if (r->incarnation > 1) { /* rows of former ones may not all be swept */
        struct sweep *sweep = node_queue_push(&n->sweeps);
        *sweep = (struct sweep){r->group, r->incarnation - 1};
    }
    if (r->is_installing)
        return node_install_load(n, r);
    struct group *g = node_group_new(n, r->group, r->incarnation, r->generation,
                                     r->added, &r->raft);
    g->digest = g->stored_digest = r->digest;
    g->epoch = r->epoch;
    node_cut_loaded(n, g);
    if (r->is_quarantined) {
        g->is_quarantined = true;
        g->quarantine_text = "quarantined before the last start";
    }
    return ERR_OK;
}

static enum err load_row(void *ctx, uint32_t id, struct span key,
                         struct span value)
{
    struct node *n = ctx;
    struct group *g = node_group(n, id);
    if (id < n->group_count && n->installs[id] != NULL)
        return transfer_load_row(n->installs[id]->transfer, key, value) ==
                       ERR_OK
                   ? ERR_OK
                   : ERR_DAMAGED;
    if (g == NULL)
        return ERR_DAMAGED;
    if (g->streams != NULL)
        return streams_load(g->streams, key, value) == ERR_OK ? ERR_OK
                                                              : ERR_DAMAGED;
    struct record *r;
    if (!span_equal(key, span_str(RECORD_ROW_KEY)) ||
        record_decode(value, &r) != ERR_OK)
        return ERR_DAMAGED;
    record_free(n->ring);
    n->ring = r;
    return ERR_OK;
}

static enum err load_entry(void *ctx, uint32_t id, struct span manifest)
{
    struct node *n = ctx;
    struct group *g = node_group(n, id);
    enum err e = entry_check(manifest);
    if (e == ERR_INCOMPATIBLE)
        return e;
    if (g == NULL || e != ERR_OK)
        return ERR_DAMAGED;
    raft_load_item(g->raft, item_new(&n->pool, manifest, NULL, 0));
    return ERR_OK;
}

static enum err load_tombstone(void *ctx, uint32_t id, uint32_t incarnation,
                               uint64_t least)
{
    struct node *n = ctx;
    if (id >= GROUPS_MAX)
        return ERR_DAMAGED;
    n->tombstones[id] = least;
    n->incarnations[id] = incarnation;
    /* Its rows may not all have been swept before the last stop. */
    struct sweep *sweep = node_queue_push(&n->sweeps);
    *sweep = (struct sweep){id, incarnation};
    return ERR_OK;
}

struct store_visitor node_visitor(struct node *n)
{
    return (struct store_visitor){
        .ctx = n,
        .folder = load_folder,
        .record = load_record,
        .replica = load_replica,
        .row = load_row,
        .entry = load_entry,
        .tombstone = load_tombstone,
        .boots = node_boots_load,
    };
}

enum err node_start(struct node *n)
{
    if (n->record == NULL || n->slot == SLOT_NONE)
        return ERR_DAMAGED;
    n->is_started = true;
    n->has_work = true;
    /* Group 0's state may be newer than the cached record, never older than
     * what it was when it was stored. */
    if (n->ring != NULL && epoch_compare(n->ring->epoch, n->record->epoch) > 0)
        node_ring_adopt(n, record_copy(n->ring), false);
    node_ring_swim(n);
    node_peers_update(n);
    if (node_install_start(n) != ERR_OK)
        return ERR_DAMAGED;
    for (uint32_t i = 0; i < n->group_count; i++) {
        if (n->groups[i] == NULL)
            continue;
        node_walk_rank(n, n->groups[i]);
        node_dirty(n, n->groups[i]);
    }
    node_recover_look(n);
    n->is_ready = true;
    (void)node_push(n, NODE_DO_ALLOW);
    (void)node_push(n, NODE_DO_READY);
    return ERR_OK;
}

/* ---- inputs ------------------------------------------------------------ */

static void tick_groups(struct node *n)
{
    if (n->now_ms < n->next_group_tick_ms)
        return;
    bool is_stalled = RULE(L10) && node_cycle_is_stalled(n);
    n->next_group_tick_ms = UINT64_MAX;
    for (uint32_t i = 0; i < n->group_count; i++) {
        struct group *g = n->groups[i];
        if (g == NULL)
            continue;
        if (n->now_ms >= g->next_tick_ms) {
            raft_set_stalled(g->raft, is_stalled);
            raft_tick(g->raft, n->now_ms);
            g->next_tick_ms = raft_deadline(g->raft);
            node_dirty(n, g);
        }
        n->next_group_tick_ms = min_u64(n->next_group_tick_ms, g->next_tick_ms);
    }
}

/* A pause longer than an election timeout: whoever led may have been
 * replaced; do not act on old messages as a leader (L17). */
static void step_down_after_pause(struct node *n)
{
    node_log(n, NODE_WARN,
             "the process was paused for more than an election timeout; all "
             "leaderships are given up");
    for (uint32_t i = 0; i < n->group_count; i++) {
        if (n->groups[i] == NULL)
            continue;
        raft_step_down(n->groups[i]->raft, n->now_ms);
        node_dirty(n, n->groups[i]);
    }
}

static bool all_handed_over(const struct node *n)
{
    for (uint32_t i = 0; i < n->group_count; i++) {
        const struct group *g = n->groups[i];
        if (g == NULL || raft_role(g->raft) != RAFT_LEADER)
            continue;
        if (config_voters(raft_config(g->raft)) > 1)
            return false;
    }
    return true;
}

static void hand_over_one(struct node *n, struct group *g)
{
    const struct raft_progress *p;
    size_t count = raft_followers(g->raft, &p);
    for (size_t k = 0; k < count; k++) {
        if (!p[k].is_voter || p[k].match < raft_commit(g->raft) ||
            node_has_timed_out(n->now_ms, p[k].heard_ms,
                               n->cfg.timing.election_ms))
            continue;
        if (raft_transfer(g->raft, p[k].replica, n->now_ms) == ERR_OK) {
            g->handed_over_ms = n->now_ms;
            node_dirty(n, g);
        }
        return;
    }
}

/* SIGTERM: each leadership goes to the first voter that is live and matched;
 * looked at with each tick until none is left or stop_ms has passed. */
static void hand_over_all(struct node *n)
{
    for (uint32_t i = 0; i < n->group_count; i++) {
        struct group *g = n->groups[i];
        if (g == NULL || raft_role(g->raft) != RAFT_LEADER)
            continue;
        bool is_under_way = g->handed_over_ms >= n->stop_ms &&
                            !node_has_timed_out(n->now_ms, g->handed_over_ms,
                                                n->cfg.timing.election_ms);
        if (!is_under_way)
            hand_over_one(n, g);
    }
    if (all_handed_over(n) && !n->cycle.is_out)
        node_fail(n, 0, "stopped");
}

void node_tick(struct node *n, uint64_t now_ms, uint64_t wall_ms)
{
    if (now_ms < n->now_ms)
        now_ms = n->now_ms;
    bool was_paused =
        n->is_started && now_ms - n->now_ms > n->cfg.timing.election_ms;
    n->now_ms = now_ms;
    n->wall_ms = wall_ms;
    memset(n->turned, 0, (n->group_count + 63) / 64 * sizeof *n->turned);
    if (!n->is_started)
        return;
    if (was_paused)
        step_down_after_pause(n);
    tick_groups(n);
    swim_tick(&n->swim, n->now_ms);
    node_ring_swim(n);
    if (n->now_ms >= n->walk_tick_ms) {
        n->walk_tick_ms = n->now_ms + n->cfg.timing.walk_ms;
        node_walk_tick(n);
        node_install_tick(n);
        node_give_tick(n);
        node_peers_tick(n);
        node_ring_tick(n);
        if (n->is_stopping)
            hand_over_all(n);
        n->has_work = true;
    }
    if (n->now_ms >= n->repair_due_ms)
        n->has_work = true;
    if (n->is_stopping &&
        node_has_timed_out(n->now_ms, n->stop_ms, n->cfg.timing.stop_ms))
        node_fail(n, 0,
                  all_handed_over(n)
                      ? "stopped"
                      : "stopped; some leaderships were not handed over");
}

uint64_t node_deadline(const struct node *n)
{
    if (!n->is_started || n->is_stopped)
        return UINT64_MAX;
    if (n->has_work || n->effects.count > 0)
        return n->now_ms;
    uint64_t at = min_u64(n->next_group_tick_ms, n->walk_tick_ms);
    at = min_u64(at, n->repair_due_ms);
    return min_u64(at, swim_deadline(&n->swim));
}

/* What is not measured yet is not known to be used. What the file has free
 * counts here, or a disk that was full once would never take a replica again;
 * not for node_space: rows that find no hole to lie in need more. */
bool node_uses_less(const struct node *n, uint32_t percent)
{
    const struct store_space *s = &n->space;
    uint64_t free = min_u64(s->disk_free + s->file_free, s->disk_bytes);
    return s->disk_bytes == 0 ||
           (s->disk_bytes - free <= s->disk_bytes / 100 * percent &&
            s->map_used <= s->map_bytes / 100 * percent);
}

bool node_has_room(const struct node *n)
{
    return node_uses_less(n, FULL_REPLICAS_PERCENT);
}

void node_space(struct node *n, const struct store_space *space)
{
    n->space = *space;
    bool was_full = n->is_full;
    uint64_t disk_used =
        space->disk_bytes - min_u64(space->disk_free, space->disk_bytes);
    /* A test's map is smaller than the reserve: the percentage decides. */
    n->is_full = space->map_used >= space->map_bytes / 100 * FULL_PERCENT ||
                 disk_used >= space->disk_bytes / 100 * FULL_PERCENT ||
                 space->disk_free < FREE_BYTES_MIN;
    if (n->is_full != was_full)
        node_log(n, NODE_WARN,
                 n->is_full ? "nearly full: appends are refused (NO_SPACE); "
                              "free space on this file system"
                            : "there is room again: appends are accepted");
}

void node_record_trace(struct node *n, bool is_recording)
{
    n->cfg.is_recording_trace = is_recording;
}

void node_stop(struct node *n)
{
    if (n->is_stopping)
        return;
    n->is_stopping = true;
    n->stop_ms = n->now_ms;
    n->walk_tick_ms = n->now_ms;
    n->has_work = true;
    node_log(n, NODE_INFO, "stopping: handing over leaderships");
}

/* ---- the turn ---------------------------------------------------------- */

static void turn(struct node *n)
{
    n->has_work = false;
    /* Group turns may make others dirty (a promoted record); each group at
     * most a few times, the rest waits for the next turn. */
    size_t budget = n->dirty.count + n->group_count;
    while (n->dirty.count > 0 && budget-- > 0) {
        uint32_t id = *(uint32_t *)node_queue_at(&n->dirty, 0);
        node_queue_pop(&n->dirty);
        struct group *g = node_group(n, id);
        if (g == NULL)
            continue;
        g->is_dirty = false;
        n->turned[id / 64] |= UINT64_C(1) << (id % 64);
        node_group_turn(n, g);
        n->next_group_tick_ms = min_u64(n->next_group_tick_ms, g->next_tick_ms);
    }
    node_install_turn(n);
    node_check_turn(n);
    node_mend_turn(n);
    node_peers_turn(n);
    node_cycle_cut(n);
    for (size_t i = 0; i < n->pool.released_count; i++)
        node_push(n, NODE_DO_RELEASE)->handle = n->pool.released[i];
    n->pool.released_count = 0;
    if (n->dirty.count > 0)
        n->has_work = true;
}

bool node_pop(struct node *n, struct node_effect *out)
{
    free_lent(n);
    if (n->effects.count == 0 && n->has_work && n->is_started && !n->is_stopped)
        turn(n);
    if (n->effects.count == 0)
        return false;
    *out = *(struct node_effect *)node_queue_at(&n->effects, 0);
    n->lent = *out;
    node_queue_pop(&n->effects);
    return true;
}

/* ---- questions --------------------------------------------------------- */

const struct record *node_record(const struct node *n)
{
    return n->record;
}

const struct raft *node_raft(const struct node *n, uint32_t group)
{
    const struct group *g = node_group(n, group);
    return g == NULL ? NULL : g->raft;
}

const struct streams *node_streams(const struct node *n, uint32_t group)
{
    const struct group *g = node_group(n, group);
    return g == NULL ? NULL : g->streams;
}

uint64_t node_applied(const struct node *n, uint32_t group)
{
    const struct group *g = node_group(n, group);
    return g == NULL ? 0 : g->applied;
}

const uint64_t *node_turned(const struct node *n)
{
    return n->turned;
}

const struct swim *node_swim(const struct node *n)
{
    return n->is_swim_open ? &n->swim : NULL;
}

void node_check(const struct node *n)
{
    size_t hard = 0, log = 0;
    for (uint32_t i = 0; i < n->group_count; i++) {
        const struct group *g = n->groups[i];
        if (n->installs[i] != NULL)
            transfer_check(n->installs[i]->transfer);
        if (g == NULL)
            continue;
        raft_check(g->raft);
        if (g->streams != NULL)
            streams_check(g->streams);
        hard += g->is_hard_waiting;
        log += g->log_commands.count;
        ASSERT(g->stored <= g->stored_pending);
        ASSERT(g->stored_pending <= g->applied);
        ASSERT(g->is_quarantined || !RULE(T19) ||
               g->applied <= raft_applicable(g->raft));
    }
    ASSERT(hard == n->hard_waiting && log == n->log_waiting);
    if (n->is_swim_open)
        swim_check(&n->swim);
}

void node_dump(const struct node *n, struct buf *text)
{
    char id[33];
    id_format(n->cfg.folder.node, id);
    buf_printf(text, "node %.8s boot %llu epoch %llu\n", id,
               (unsigned long long)n->cfg.folder.boot,
               (unsigned long long)(n->record ? n->record->epoch.number : 0));
    for (uint32_t i = 0; i < n->group_count; i++) {
        const struct group *g = n->groups[i];
        if (g == NULL)
            continue;
        buf_printf(text, "group %u applied %llu stored %llu: ", g->id,
                   (unsigned long long)g->applied,
                   (unsigned long long)g->stored);
        raft_dump(g->raft, text);
    }
    if (n->is_swim_open)
        swim_dump(&n->swim, text);
    node_peers_dump(n, text);
}
