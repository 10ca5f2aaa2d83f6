/* group.c - see group.h: the machines' work, the network, the onlooker. */
#include "tests/cases/group.h"

#include <stdio.h>

#define STEPS_MAX 10000u /* of one command: else it never ends */

/* ---- packets ----------------------------------------------------------- */

static size_t node_of(struct replica r)
{
    return (size_t)r.node.bytes[0] - 1;
}

struct group_packet group_copy(const struct group_packet *p)
{
    struct group_packet copy = *p;
    copy.msg.items = NULL;
    if (p->msg.item_count > 0) {
        copy.msg.items = mem_alloc(p->msg.item_count * sizeof *copy.msg.items);
        for (uint32_t i = 0; i < p->msg.item_count; i++)
            copy.msg.items[i] = item_ref(p->msg.items[i]);
    }
    return copy;
}

void group_drop(struct group *g, struct group_packet *p)
{
    for (uint32_t i = 0; i < p->msg.item_count; i++)
        item_unref(&g->rig.pool, p->msg.items[i]);
    mem_free(p->msg.items);
    *p = (struct group_packet){0};
}

static void send(struct group *g, const struct raft_msg *msg)
{
    struct group_packet p = {*msg, node_of(msg->from), node_of(msg->to)};
    if (g->packet_count == g->packet_capacity) {
        g->packet_capacity = 2 * g->packet_capacity + 16;
        g->packets =
            mem_resize(g->packets, g->packet_capacity * sizeof *g->packets);
    }
    g->packets[g->packet_count++] = group_copy(&p);
}

struct group_packet group_take(struct group *g, size_t i)
{
    ASSERT(i < g->packet_count);
    struct group_packet p = g->packets[i];
    g->packet_count--;
    memmove(g->packets + i, g->packets + i + 1,
            (g->packet_count - i) * sizeof *g->packets);
    return p;
}

static bool is_beat(enum raft_msg_kind kind)
{
    return kind == RAFT_HEARTBEAT || kind == RAFT_HEARTBEAT_REPLY;
}

void group_hand(struct group *g, const struct group_packet *p, bool is_quiet,
                struct buf *out)
{
    bool is_lost = g->is_cut[p->from][p->to] || p->to >= RIG_NODES ||
                   g->rig.nodes[p->to].r == NULL;
    if (!is_quiet && (g->has_heartbeats || !is_beat(p->msg.kind))) {
        group_print_packet(p, out);
        buf_printf(out, is_lost ? " lost\n" : "\n");
    }
    if (!is_lost)
        rig_recv(&g->rig, p->to, p->msg);
}

/* ---- the machines' work ------------------------------------------------- */

/* True if there was something to send. */
static bool send_all(struct group *g, size_t node)
{
    struct rig_node *n = &g->rig.nodes[node];
    size_t count = n->sent_count;
    for (size_t i = 0; i < count; i++)
        send(g, &n->sent[i]);
    n->sent_count = 0;
    return count > 0;
}

static void order(struct group *g, size_t node, struct replica to,
                  uint64_t first, uint64_t last)
{
    const struct rig_node *n = &g->rig.nodes[node];
    ASSERT(g->load_count < GROUP_READS_MAX);
    struct group_load *load = &g->loads[g->load_count++];
    *load = (struct group_load){.node = node, .to = to};
    load->items = mem_alloc((size_t)(last - first + 1) * sizeof *load->items);
    for (uint64_t i = first; i <= last && i <= n->last; i++)
        load->items[load->count++] = item_ref(n->log[i]);
}

/* Reads that were ordered come back, all or those of one node. */
void group_load(struct group *g, size_t node)
{
    size_t kept = 0;
    for (size_t i = 0; i < g->load_count; i++) {
        struct group_load load = g->loads[i];
        if (node < RIG_NODES && load.node != node) {
            g->loads[kept++] = load;
            continue;
        }
        struct raft *r = g->rig.nodes[load.node].r;
        if (r != NULL)
            raft_loaded(r, load.to, load.items, load.count, g->rig.now);
        for (size_t k = 0; k < load.count; k++)
            item_unref(&g->rig.pool, load.items[k]);
        mem_free(load.items);
    }
    g->load_count = kept;
}

/* One append, or one order of what is not in memory. */
static bool pull(struct group *g, size_t node, struct replica to)
{
    struct raft_msg msg;
    uint64_t first, last;
    enum raft_pull pull =
        raft_next_append(g->rig.nodes[node].r, to, g->rig.batch_bytes,
                         g->rig.now, &msg, &first, &last);
    if (pull == RAFT_PULL_READ) {
        order(g, node, to, first, last);
        if (!g->is_reading_late)
            group_load(g, RIG_NODES);
    }
    if (pull != RAFT_PULL_MSG)
        return pull == RAFT_PULL_READ;
    send(g, &msg);
    for (uint32_t i = 0; i < msg.item_count; i++)
        item_unref(&g->rig.pool, msg.items[i]);
    return true;
}

static bool pull_all(struct group *g, size_t node)
{
    const struct raft_progress *followers;
    struct replica to[REPLICAS_MAX];
    struct raft *r = g->rig.nodes[node].r;
    size_t count = raft_followers(r, &followers);
    for (size_t i = 0; i < count; i++)
        to[i] = followers[i].replica;
    bool has_moved = false;
    for (size_t i = 0; i < count; i++)
        has_moved = pull(g, node, to[i]) || has_moved;
    return has_moved;
}

/* As a node does: what may be applied is applied. */
static void apply(struct group *g, size_t node)
{
    struct rig_node *n = &g->rig.nodes[node];
    uint64_t index = raft_applicable(n->r);
    if (index <= n->applied)
        return;
    raft_applied(n->r, index);
    n->applied = index;
}

static bool work(struct group *g, size_t node)
{
    struct rig_node *n = &g->rig.nodes[node];
    rig_drain(&g->rig, node);
    bool has_moved = send_all(g, node);
    has_moved = pull_all(g, node) || has_moved;
    uint64_t writes = n->hard_write + n->log_write;
    if (!g->is_held[node])
        rig_sync(&g->rig, node);
    has_moved = send_all(g, node) || has_moved;
    apply(g, node);
    return has_moved || n->hard_write + n->log_write > writes;
}

/* ---- the onlooker ------------------------------------------------------ */

static void look_at_leader(struct group *g, size_t node, struct buf *out)
{
    uint64_t term = raft_term(g->rig.nodes[node].r);
    if (raft_role(g->rig.nodes[node].r) != RAFT_LEADER ||
        term >= GROUP_TERM_MAX)
        return;
    if (g->leader_of[term] == 0)
        g->leader_of[term] = node + 1;
    if (g->leader_of[term] != node + 1)
        buf_printf(out, "VIOLATION: nodes %llu and %zu both lead term %llu\n",
                   (unsigned long long)g->leader_of[term], node + 1,
                   (unsigned long long)term);
}

static void look_at_commits(struct group *g, size_t node, struct buf *out)
{
    const struct rig_node *n = &g->rig.nodes[node];
    const struct raft *r = n->r;
    for (uint64_t i = g->shown[node].commit + 1; i <= raft_commit(r); i++) {
        const struct item *item = raft_cached(r, i);
        if (item == NULL && i <= n->last)
            item = n->log[i];
        if (item == NULL || i >= GROUP_INDEX_MAX)
            continue;
        char label[24] = "";
        group_label(item, label, sizeof label);
        if (g->committed[i].term == 0) {
            g->committed[i].term = item->term;
            memcpy(g->committed[i].label, label, sizeof label);
        }
        if (g->committed[i].term != item->term)
            buf_printf(out,
                       "VIOLATION: entry %llu was committed as %s of term "
                       "%llu, node %zu commits %s of term %llu\n",
                       (unsigned long long)i, g->committed[i].label,
                       (unsigned long long)g->committed[i].term, node + 1,
                       label, (unsigned long long)item->term);
    }
}

static void show_reads(struct group *g, size_t node, struct buf *out)
{
    struct rig_node *n = &g->rig.nodes[node];
    for (size_t i = 0; i < n->read_count; i++) {
        const struct raft_effect *e = &n->reads[i];
        buf_printf(out, "node %zu: read %llu ", node + 1,
                   (unsigned long long)e->token);
        if (e->is_ok)
            buf_printf(out, "may be served at %llu\n",
                       (unsigned long long)e->index);
        else
            buf_printf(out, "fails: not the leader any more\n");
    }
    n->read_count = 0;
}

static void look(struct group *g, size_t node, struct buf *out)
{
    if (g->rig.nodes[node].r != NULL) {
        look_at_leader(g, node, out);
        look_at_commits(g, node, out);
    }
    group_print_news(g, node, out);
    show_reads(g, node, out);
}

void group_flow(struct group *g, struct buf *out)
{
    bool has_moved = true;
    for (size_t steps = 0; has_moved && steps < STEPS_MAX; steps++) {
        has_moved = false;
        for (size_t i = 0; i < RIG_NODES; i++) {
            if (g->rig.nodes[i].r != NULL)
                has_moved = work(g, i) || has_moved;
        }
    }
    for (size_t i = 0; i < RIG_NODES; i++)
        look(g, i, out);
}

/* ---- life -------------------------------------------------------------- */

/* group voters=1,2,3 [learners=4] [stopped] */
static void *begin(struct line *l, struct buf *out)
{
    uint64_t voters[RIG_NODES], learners[RIG_NODES];
    size_t voter_count = line_list(l, "voters", voters, RIG_NODES);
    size_t learner_count = line_list(l, "learners", learners, RIG_NODES);
    bool is_stopped = line_flag(l, "stopped");
    size_t count = voter_count + learner_count;
    if (voter_count == 0 || count > RIG_NODES)
        line_fail(l, "group: 1 to %u nodes", RIG_NODES);
    for (size_t i = 0; !l->is_bad && i < count; i++) {
        uint64_t node = i < voter_count ? voters[i] : learners[i - voter_count];
        if (node != i + 1)
            line_fail(l, "group: nodes are 1, 2, 3 ..., voters first");
    }
    if (!line_end(l))
        return NULL;
    struct group *g = mem_alloc(sizeof *g);
    rig_init(&g->rig, (uint32_t)voter_count, (uint32_t)learner_count);
    g->rig.now = 1001; /* heartbeats are due at multiples of ten */
    if (!is_stopped)
        rig_start_all(&g->rig);
    struct buf unsaid = {0};
    group_flow(g, &unsaid); /* all follow nobody, in term 0 */
    buf_free(&unsaid);
    (void)out;
    return g;
}

static void end(void *world)
{
    struct group *g = world;
    while (g->packet_count > 0) {
        struct group_packet p = group_take(g, 0);
        group_drop(g, &p);
    }
    for (size_t i = 0; i < g->kept_count; i++)
        group_drop(g, &g->kept[i].packet);
    group_load(g, RIG_NODES);
    mem_free(g->packets);
    rig_free(&g->rig);
    mem_free(g);
}

const struct world_kind world_group = {"group", begin, group_run, end};
