/* raft_rig.c - see raft_rig.h. */
#include "tests/unit/raft_rig.h"

/* ---- life -------------------------------------------------------------- */

struct replica rig_replica(size_t node)
{
    return (struct replica){{{(uint8_t)(node + 1)}}, 1};
}

static size_t node_of(struct replica replica)
{
    return (size_t)replica.node.bytes[0] - 1;
}

void rig_init(struct rig *g, uint32_t voters, uint32_t learners)
{
    *g = (struct rig){
        .now = 1000, .append_inflight_bytes = 1 * MIB, .batch_bytes = 1 * MIB};
    g->config.count = voters + learners;
    for (uint32_t i = 0; i < RIG_NODES; i++) {
        g->nodes[i].self = rig_replica(i);
        if (i < voters + learners)
            g->config.members[i] =
                (struct config_member){rig_replica(i), i < voters};
    }
}

static void cut_disk(struct rig *g, struct item **log, uint64_t *last,
                     uint64_t index)
{
    for (; *last >= index; --*last) {
        item_unref(&g->pool, log[*last]);
        log[*last] = NULL;
    }
}

void rig_crash(struct rig *g, size_t node)
{
    struct rig_node *n = &g->nodes[node];
    raft_free(n->r);
    n->r = NULL;
    cut_disk(g, n->new_log, &n->new_last, n->base + 1);
    n->sent_count = 0;
}

void rig_free(struct rig *g)
{
    for (size_t i = 0; i < RIG_NODES; i++) {
        struct rig_node *n = &g->nodes[i];
        if (n->r != NULL)
            rig_crash(g, i);
        cut_disk(g, n->log, &n->last, n->base + 1);
    }
    ASSERT(g->pool.live == 0);
    item_pool_free(&g->pool);
}

struct item *rig_item(struct rig *g, uint64_t index, uint64_t term)
{
    struct buf manifest = {0};
    entry_build_noop(&manifest, (struct entry_stamp){.level = LEVEL_NOW});
    entry_number(manifest.data, index, term);
    struct item *item = item_new(&g->pool, span_buf(&manifest), NULL, 0);
    buf_free(&manifest);
    return item;
}

void rig_log(struct rig *g, size_t node, const uint64_t *terms, size_t count)
{
    struct rig_node *n = &g->nodes[node];
    for (size_t i = 0; i < count; i++) {
        n->last++;
        n->log[n->last] = rig_item(g, n->last, terms[i]);
        n->hard.term = max_u64(n->hard.term, terms[i]);
    }
}

static size_t stored_configs(const struct rig *g, const struct rig_node *n,
                             struct config *out)
{
    size_t count = 0;
    out[count++] = g->config;
    for (uint64_t i = n->base + 1; i <= n->last && count < 16; i++) {
        if (n->log[i]->kind != ENTRY_CONFIG)
            continue;
        enum err err = entry_read_config(item_manifest(n->log[i]), &out[count]);
        ASSERT(err == ERR_OK);
        count++;
    }
    return count;
}

void rig_start(struct rig *g, size_t node)
{
    struct rig_node *n = &g->nodes[node];
    struct config configs[16];
    struct raft_term_run runs[RIG_LOG_MAX];
    size_t run_count = 0;
    for (uint64_t i = n->base + 1; i <= n->last; i++) {
        if (run_count == 0 || runs[run_count - 1].term < n->log[i]->term)
            runs[run_count++] = (struct raft_term_run){i, n->log[i]->term};
    }
    struct raft_cfg cfg = {.self = n->self,
                           .pool = &g->pool,
                           .election_ms = RIG_T,
                           .heartbeat_ms = RIG_BEAT,
                           .append_inflight_bytes = g->append_inflight_bytes};
    struct raft_stored stored = {.hard = n->hard,
                                 .base_index = n->base,
                                 .base_term = n->base_term,
                                 .last_index = n->last,
                                 .applied_index = n->applied,
                                 .runs = runs,
                                 .run_count = run_count,
                                 .configs = configs,
                                 .config_count = stored_configs(g, n, configs)};
    n->r = raft_new(&cfg, &stored, g->now);
    for (uint64_t i = n->applied + 1; i <= n->last; i++)
        raft_load_item(n->r, item_ref(n->log[i]));
    raft_set_rank(n->r, (uint32_t)node);
    n->new_hard = n->hard;
    n->new_last = n->base;
    for (uint64_t i = n->base + 1; i <= n->last; i++)
        n->new_log[++n->new_last] = item_ref(n->log[i]);
    n->hard_write = n->log_write = 0;
}

void rig_start_all(struct rig *g)
{
    for (size_t i = 0; i < g->config.count; i++)
        rig_start(g, i);
}

/* ---- one machine ------------------------------------------------------- */

static void do_effect(struct rig *g, struct rig_node *n,
                      const struct raft_effect *e)
{
    switch (e->kind) {
    case RAFT_DO_SEND:
        ASSERT(n->sent_count < RIG_SENT_MAX);
        n->sent[n->sent_count++] = e->msg;
        break;
    case RAFT_DO_HARD:
        n->new_hard = e->hard;
        n->hard_write = e->write;
        break;
    case RAFT_DO_LOG:
        ASSERT(e->index == n->new_last + 1 && e->index < RIG_LOG_MAX);
        n->new_log[++n->new_last] = e->item;
        n->log_write = e->write;
        break;
    case RAFT_DO_TRUNCATE:
        cut_disk(g, n->new_log, &n->new_last, e->index);
        n->truncated_at = e->index;
        n->log_write = e->write;
        break;
    case RAFT_DO_ROLE:
        n->role_news++;
        break;
    case RAFT_DO_READ:
        ASSERT(n->read_count < 16);
        n->reads[n->read_count++] = *e;
        break;
    }
}

void rig_drain(struct rig *g, size_t node)
{
    struct rig_node *n = &g->nodes[node];
    struct raft_effect e;
    while (raft_pop(n->r, &e))
        do_effect(g, n, &e);
    raft_check(n->r);
}

void rig_sync(struct rig *g, size_t node)
{
    struct rig_node *n = &g->nodes[node];
    n->hard = n->new_hard;
    cut_disk(g, n->log, &n->last, n->base + 1);
    for (n->last = n->base; n->last < n->new_last; n->last++)
        n->log[n->last + 1] = item_ref(n->new_log[n->last + 1]);
    raft_durable(n->r, n->hard_write, n->log_write);
    rig_drain(g, node);
}

void rig_recv(struct rig *g, size_t node, struct raft_msg msg)
{
    raft_recv(g->nodes[node].r, &msg, g->now);
    rig_drain(g, node);
}

struct raft_msg rig_msg(enum raft_msg_kind kind, size_t from, size_t to,
                        uint64_t term)
{
    return (struct raft_msg){.kind = kind,
                             .from = rig_replica(from),
                             .to = rig_replica(to),
                             .term = term};
}

void rig_append(struct rig *g, size_t from, size_t to, struct raft_msg msg,
                const uint64_t *terms, size_t count)
{
    struct item *items[64];
    ASSERT(count <= 64);
    for (size_t i = 0; i < count; i++)
        items[i] = rig_item(g, msg.prev_index + 1 + i, terms[i]);
    msg.kind = RAFT_APPEND;
    msg.from = rig_replica(from);
    msg.to = rig_replica(to);
    msg.items = items;
    msg.item_count = (uint32_t)count;
    rig_recv(g, to, msg);
    for (size_t i = 0; i < count; i++)
        item_unref(&g->pool, items[i]);
}

void rig_ack(struct rig *g, size_t from, size_t to, uint64_t match)
{
    struct raft_msg msg =
        rig_msg(RAFT_APPEND_REPLY, from, to, raft_term(g->nodes[to].r));
    msg.granted = true;
    msg.match = match;
    rig_recv(g, to, msg);
}

void rig_tick(struct rig *g, size_t node, uint64_t now)
{
    g->now = max_u64(g->now, now);
    raft_tick(g->nodes[node].r, g->now);
    rig_drain(g, node);
}

const struct raft_msg *rig_sent(const struct rig *g, size_t node,
                                enum raft_msg_kind kind, size_t to)
{
    const struct rig_node *n = &g->nodes[node];
    for (size_t i = n->sent_count; i > 0; i--) {
        if (n->sent[i - 1].kind == kind && node_of(n->sent[i - 1].to) == to)
            return &n->sent[i - 1];
    }
    return NULL;
}

void rig_clear(struct rig *g, size_t node)
{
    struct rig_node *n = &g->nodes[node];
    n->sent_count = n->read_count = n->role_news = 0;
    n->truncated_at = 0;
}

void rig_lead(struct rig *g, size_t node, bool ready)
{
    struct raft *r = g->nodes[node].r;
    raft_campaign(r, g->now);
    rig_drain(g, node);
    rig_sync(g, node);
    for (size_t i = 0; i < g->config.count; i++) {
        struct raft_msg msg = rig_msg(RAFT_VOTE_REPLY, i, node, raft_term(r));
        msg.granted = true;
        if (i != node)
            rig_recv(g, node, msg);
    }
    ASSERT(raft_role(r) == RAFT_LEADER);
    rig_sync(g, node);
    for (size_t i = 0; ready && i < g->config.count; i++) {
        if (i != node)
            rig_ack(g, i, node, raft_last(r));
    }
    ASSERT(!ready || raft_is_ready(r));
    rig_clear(g, node);
}

uint64_t rig_propose(struct rig *g, size_t node)
{
    struct buf manifest = {0};
    struct entry_builder b;
    struct command c = {.kind = COMMAND_CREATE, .name = span_str("stream")};
    entry_build(&b, &manifest, (struct entry_stamp){.level = LEVEL_NOW});
    enum err err = entry_add(&b, &c);
    ASSERT(err == ERR_OK);
    entry_end(&b);
    struct item *item = item_new(&g->pool, span_buf(&manifest), NULL, 0);
    buf_free(&manifest);
    uint64_t index, term;
    if (raft_propose(g->nodes[node].r, item, &index, &term) != ERR_OK) {
        item_unref(&g->pool, item);
        return 0;
    }
    rig_drain(g, node);
    return index;
}

const struct raft_msg *rig_pull(struct rig *g, size_t node, size_t to,
                                size_t max_bytes)
{
    static struct raft_msg msg;
    uint64_t first, last;
    if (raft_next_append(g->nodes[node].r, rig_replica(to), max_bytes, g->now,
                         &msg, &first, &last) != RAFT_PULL_MSG)
        return NULL;
    for (uint32_t i = 0; i < msg.item_count; i++)
        item_unref(&g->pool, msg.items[i]); /* the log still has it */
    return &msg;
}

/* ---- all of them ------------------------------------------------------- */

static bool reaches(const struct rig *g, size_t from, size_t to)
{
    return !g->nodes[from].is_cut && !g->nodes[to].is_cut &&
           g->nodes[to].r != NULL;
}

static bool deliver_sent(struct rig *g, size_t node)
{
    struct rig_node *n = &g->nodes[node];
    struct raft_msg sent[RIG_SENT_MAX];
    size_t count = n->sent_count;
    memcpy(sent, n->sent, count * sizeof *sent);
    n->sent_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (reaches(g, node, node_of(sent[i].to)))
            rig_recv(g, node_of(sent[i].to), sent[i]);
    }
    return count > 0;
}

static bool deliver_append(struct rig *g, size_t node, size_t to)
{
    struct raft_msg msg;
    uint64_t first, last;
    enum raft_pull pull =
        raft_next_append(g->nodes[node].r, rig_replica(to), g->batch_bytes,
                         g->now, &msg, &first, &last);
    if (pull == RAFT_PULL_NOTHING)
        return false;
    if (pull == RAFT_PULL_READ) {
        raft_loaded(g->nodes[node].r, rig_replica(to),
                    &g->nodes[node].log[first], (size_t)(last - first + 1),
                    g->now);
        return true;
    }
    g->appends++;
    if (reaches(g, node, to))
        rig_recv(g, to, msg);
    for (uint32_t i = 0; i < msg.item_count; i++)
        item_unref(&g->pool, msg.items[i]);
    return true;
}

static bool settle_node(struct rig *g, size_t node)
{
    struct rig_node *n = &g->nodes[node];
    rig_drain(g, node);
    uint64_t hard = n->hard_write;
    uint64_t log = n->log_write;
    rig_sync(g, node);
    bool has_moved = deliver_sent(g, node);
    for (size_t to = 0; to < RIG_NODES; to++)
        has_moved = deliver_append(g, node, to) || has_moved;
    return has_moved || n->hard_write > hard || n->log_write > log;
}

void rig_settle(struct rig *g)
{
    for (bool has_moved = true; has_moved;) {
        has_moved = false;
        for (size_t i = 0; i < RIG_NODES; i++) {
            if (g->nodes[i].r != NULL)
                has_moved = settle_node(g, i) || has_moved;
        }
    }
}

void rig_run(struct rig *g, uint64_t ms)
{
    for (uint64_t end = g->now + ms; g->now < end;) {
        g->now++;
        for (size_t i = 0; i < RIG_NODES; i++) {
            if (g->nodes[i].r != NULL)
                raft_tick(g->nodes[i].r, g->now);
        }
        rig_settle(g);
    }
}

size_t rig_leader(const struct rig *g)
{
    size_t best = RIG_NODES;
    for (size_t i = 0; i < RIG_NODES; i++) {
        const struct raft *r = g->nodes[i].r;
        if (r != NULL && raft_role(r) == RAFT_LEADER &&
            (best == RIG_NODES || raft_term(r) > raft_term(g->nodes[best].r)))
            best = i;
    }
    return best;
}
