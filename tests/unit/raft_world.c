/* raft_world.c - see raft_world.h. Longer than most: one world, whose parts
 * (network, disks, judges, fate) make sense only together. */
#include "tests/unit/raft_world.h"

#include <stdio.h>

#include "ring/raft.h"
#include "ring/rule.h"

enum {
    NODES = 6,
    T_MS = 50,
    BEAT_MS = 10,
    CHAOS_MS = 3000,
    QUIET_MS = 40 * T_MS,
    TRUTH_MAX = 1 << 12,
    TERMS_MAX = 1 << 12,
    LIVES_MAX = 256,
    PACKETS_MAX = 4096,
};

struct op {
    enum raft_effect_kind kind;
    struct raft_hard_state hard;
    struct item *item;
    uint64_t index;
    uint64_t write;
};

struct disk {
    struct raft_hard_state hard;
    uint64_t base_index, base_term;
    struct config base_config;
    struct item *items[TRUTH_MAX]; /* by index; base < index <= last */
    uint64_t last;
    uint64_t applied; /* stored */
};

struct life { /* of a replica: what it is and was */
    struct replica self;
    bool is_lost; /* its disk is gone, or it was dropped */
    uint64_t had; /* what that disk had */
};

struct load { /* a read of the log for a follower */
    bool is_waiting;
    struct replica to;
    uint64_t first, last, due;
};

struct sim_node {
    struct raft *raft; /* NULL: down, or no replica here */
    bool has_disk;
    struct replica self;
    struct disk disk;
    struct op *ops; /* waiting for the writer, in order */
    size_t op_count, op_capacity, op_begun;
    uint64_t sync_due, up_at, stalled_until, paused_until;
    uint64_t seen_commit, applied;
    struct load load;
};

struct packet {
    uint64_t due;
    struct raft_msg msg;
};

struct sim {
    uint64_t now;
    struct rng rng;
    struct raft_world_faults f;
    bool is_healed;
    const char *violation;
    struct item_pool pool;
    struct sim_node nodes[NODES];
    bool is_cut[NODES][NODES];
    uint64_t cut_until;
    struct packet packets[PACKETS_MAX];
    size_t packet_count;
    struct life lives[LIVES_MAX];
    size_t life_count;
    struct {
        uint64_t term;
        uint64_t hash;
        uint64_t commit_term; /* in which it was first seen committed */
    } truth[TRUTH_MAX];
    uint64_t committed; /* by any leader so far */
    struct replica leader_of[TERMS_MAX];
    uint64_t read_floor[TRUTH_MAX]; /* by token */
    uint64_t reads, reads_ok, commands, elections, changes;
    uint64_t trace; /* a hash over all that was sent */
};

static void violate(struct sim *s, const char *text)
{
    if (s->violation == NULL)
        s->violation = text;
}

static bool happens(struct sim *s, uint32_t per_second)
{
    return !s->is_healed && rng_chance(&s->rng, per_second);
}

static uint64_t below(struct sim *s, uint64_t bound)
{
    return rng_below(&s->rng, bound > 0 ? bound : 1);
}

static struct id128 node_id(size_t node)
{
    return (struct id128){{(uint8_t)(node + 1)}};
}

static size_t node_of(struct replica replica)
{
    return (size_t)replica.node.bytes[0] - 1;
}

static struct life *life_of(struct sim *s, struct replica replica)
{
    for (size_t i = 0; i < s->life_count; i++) {
        if (replica_equal(s->lives[i].self, replica))
            return &s->lives[i];
    }
    return NULL;
}

/* ---- network ----------------------------------------------------------- */

static void packet_free(struct sim *s, struct raft_msg *msg)
{
    for (uint32_t i = 0; i < msg->item_count; i++)
        item_unref(&s->pool, msg->items[i]);
    mem_free(msg->items);
}

static void put_packet(struct sim *s, const struct raft_msg *msg,
                       uint32_t late_pm)
{
    if (s->packet_count == PACKETS_MAX)
        return;
    uint64_t delay = 1 + below(s, s->f.delay_ms);
    if (!s->is_healed && rng_chance(&s->rng, late_pm))
        delay += below(s, s->f.late_ms);
    struct packet *p = &s->packets[s->packet_count++];
    *p = (struct packet){s->now + delay, *msg};
    p->msg.items = NULL;
    if (msg->item_count > 0)
        p->msg.items =
            mem_copy(msg->items, msg->item_count * sizeof *msg->items);
    for (uint32_t i = 0; i < msg->item_count; i++)
        item_ref(msg->items[i]);
}

static void send_msg(struct sim *s, const struct raft_msg *msg)
{
    uint64_t word = s->now * 31 + msg->term * 7 + msg->kind;
    s->trace = (s->trace ^ word ^ msg->match << 20) * 0x100000001b3;
    if (s->is_cut[node_of(msg->from)][node_of(msg->to)])
        return;
    if (!s->is_healed && rng_chance(&s->rng, s->f.loss_pm))
        return;
    if (!s->is_healed && msg->kind == RAFT_APPEND &&
        rng_chance(&s->rng, s->f.append_loss_pm))
        return; /* entries have a lane of their own */
    put_packet(s, msg, s->f.late_pm);
    if (!s->is_healed && rng_chance(&s->rng, s->f.dup_pm))
        put_packet(s, msg, 500); /* a queue that outlived a connection */
}

/* ---- judging ----------------------------------------------------------- */

static uint64_t hash_of(const struct item *item)
{
    return hash64(item_manifest(item));
}

/* Whether enough voters of a configuration have an entry on disk, or had it
 * when that was lost. */
static bool is_on_majority(struct sim *s, const struct config *c,
                           uint64_t index, uint64_t term)
{
    uint32_t have = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        struct replica m = c->members[i].replica;
        if (!c->members[i].is_voter)
            continue;
        const struct life *life = life_of(s, m);
        const struct disk *d = &s->nodes[node_of(m)].disk;
        if (life == NULL)
            continue;
        if (life->is_lost)
            have += index <= life->had;
        else
            have += d->base_index >= index ||
                    (index <= d->last && d->items[index]->term == term);
    }
    return have > config_voters(c) / 2;
}

static void judge_commit(struct sim *s, struct sim_node *n, uint64_t index)
{
    struct raft *r = n->raft;
    uint64_t term = raft_term_at(r, index);
    const struct item *item = raft_cached(r, index);
    if (item == NULL) {
        violate(s, "a committed entry is not there");
        return;
    }
    if (s->truth[index].term == 0) {
        s->truth[index].term = term;
        s->truth[index].hash = hash_of(item);
        s->truth[index].commit_term = raft_term(r);
        if (raft_role(r) == RAFT_LEADER &&
            !is_on_majority(s, raft_config(r), index, term))
            violate(s, "committed, but not on the disks of a majority");
    } else if (s->truth[index].term != term ||
               s->truth[index].hash != hash_of(item)) {
        violate(s, "two entries committed at one index");
    }
}

static void judge_leader(struct sim *s, const struct sim_node *n)
{
    const struct raft *r = n->raft;
    if (raft_role(r) != RAFT_LEADER)
        return;
    struct replica *known = &s->leader_of[raft_term(r) % TERMS_MAX];
    if (known->added == 0)
        s->elections++;
    else if (!replica_equal(*known, n->self))
        violate(s, "two leaders in one term");
    *known = n->self;
    for (uint64_t i = raft_base(r) + 1; i <= s->committed; i++) {
        if (s->truth[i].commit_term < raft_term(r) &&
            raft_term_at(r, i) != s->truth[i].term)
            violate(s, "a leader lacks what is committed");
    }
}

/* The configuration in force is one that is in the log (R2, S9D). */
static void judge_config(struct sim *s, const struct sim_node *n)
{
    uint64_t index = raft_config(n->raft)->index;
    const struct item *item = raft_cached(n->raft, index);
    if (index > raft_last(n->raft) ||
        (item != NULL && item->kind != ENTRY_CONFIG))
        violate(s, "a configuration in force that is not in the log");
}

/* Equal (index, term) means equal logs below. */
static void judge_matching(struct sim *s, const struct raft *a,
                           const struct raft *b)
{
    uint64_t base = max_u64(raft_base(a), raft_base(b));
    bool is_equal = false;
    for (uint64_t i = min_u64(raft_last(a), raft_last(b)); i > base; i--) {
        bool is_same = raft_term_at(a, i) == raft_term_at(b, i);
        if (is_equal && !is_same)
            violate(s, "logs equal at an index differ below");
        is_equal = is_equal || is_same;
    }
}

static void judge_logs(struct sim *s)
{
    for (size_t a = 0; a < NODES; a++) {
        for (size_t b = 0; b < a; b++) {
            if (s->nodes[a].raft != NULL && s->nodes[b].raft != NULL)
                judge_matching(s, s->nodes[a].raft, s->nodes[b].raft);
        }
    }
}

/* ---- one node: the owner of a machine ---------------------------------- */

static void push_op(struct sim_node *n, const struct raft_effect *e)
{
    if (n->op_count == n->op_capacity) {
        n->op_capacity = n->op_capacity ? 2 * n->op_capacity : 16;
        n->ops = mem_resize(n->ops, n->op_capacity * sizeof *n->ops);
    }
    n->ops[n->op_count++] =
        (struct op){e->kind, e->hard, e->item, e->index, e->write};
}

static void on_read(struct sim *s, const struct raft_effect *e)
{
    if (e->is_ok && e->index < s->read_floor[e->token])
        violate(s, "a read missed what was committed before it came");
    s->reads_ok += e->is_ok;
}

static void pull_appends(struct sim *s, struct sim_node *n)
{
    const struct raft_progress *p;
    for (size_t i = 0; i < raft_followers(n->raft, &p); i++) {
        struct raft_msg msg;
        uint64_t first, last;
        struct replica to = p[i].replica;
        enum raft_pull got;
        while ((got = raft_next_append(n->raft, to, s->f.batch_bytes, s->now,
                                       &msg, &first, &last)) == RAFT_PULL_MSG) {
            send_msg(s, &msg);
            for (uint32_t k = 0; k < msg.item_count; k++)
                item_unref(&s->pool, msg.items[k]);
        }
        if (got == RAFT_PULL_READ && n->load.is_waiting)
            raft_loaded(n->raft, to, NULL, 0, s->now);
        else if (got == RAFT_PULL_READ)
            n->load =
                (struct load){true, to, first, last, s->now + 1 + below(s, 3)};
    }
}

static void apply(struct sim *s, struct sim_node *n)
{
    uint64_t to = raft_applicable(n->raft);
    for (uint64_t i = n->applied + 1; i <= to; i++) {
        const struct item *item = raft_cached(n->raft, i);
        if (item == NULL || s->truth[i].hash != hash_of(item))
            violate(s, "applied what was not committed");
        else if (i > n->disk.last || n->disk.items[i]->term != item->term)
            violate(s, "applied what is not on the own disk");
    }
    if (to > n->applied && s->violation == NULL) {
        n->applied = to;
        raft_applied(n->raft, to);
    }
}

/* Everything that follows from an input. */
static void drain(struct sim *s, struct sim_node *n)
{
    struct raft *r = n->raft;
    for (uint64_t i = n->seen_commit + 1; i <= raft_commit(r); i++)
        judge_commit(s, n, i);
    n->seen_commit = raft_commit(r);
    if (raft_role(r) == RAFT_LEADER)
        s->committed = max_u64(s->committed, raft_commit(r));
    struct raft_effect e;
    while (raft_pop(r, &e)) {
        switch (e.kind) {
        case RAFT_DO_SEND:
            send_msg(s, &e.msg);
            break;
        case RAFT_DO_HARD:
        case RAFT_DO_LOG:
        case RAFT_DO_TRUNCATE:
            push_op(n, &e);
            break;
        case RAFT_DO_ROLE:
            judge_leader(s, n);
            break;
        case RAFT_DO_READ:
            on_read(s, &e);
            break;
        }
    }
    judge_config(s, n);
    apply(s, n);
    pull_appends(s, n);
    if (s->violation == NULL)
        raft_check(r);
}

/* ---- disk -------------------------------------------------------------- */

static void disk_truncate(struct sim *s, struct disk *d, uint64_t index)
{
    for (; d->last >= index && d->last > d->base_index; d->last--) {
        item_unref(&s->pool, d->items[d->last]);
        d->items[d->last] = NULL;
    }
}

static void do_op(struct sim *s, struct disk *d, struct op *op)
{
    if (op->kind == RAFT_DO_HARD) {
        d->hard = op->hard;
    } else if (op->kind == RAFT_DO_TRUNCATE) {
        disk_truncate(s, d, op->index);
    } else {
        d->items[op->index] = op->item;
        d->last = op->index;
    }
}

static void drop_ops(struct sim *s, struct sim_node *n)
{
    for (size_t i = 0; i < n->op_count; i++) {
        if (n->ops[i].kind == RAFT_DO_LOG)
            item_unref(&s->pool, n->ops[i].item);
    }
    n->op_count = n->op_begun = 0;
}

/* One transaction: all hard state that waits, then some of the log. The ops
 * are put in that order when it begins. */
static void begin_sync(struct sim *s, struct sim_node *n)
{
    size_t hard = 0;
    for (size_t i = 0; i < n->op_count; i++) {
        if (n->ops[i].kind != RAFT_DO_HARD)
            continue;
        struct op op = n->ops[i];
        memmove(&n->ops[hard + 1], &n->ops[hard], (i - hard) * sizeof op);
        n->ops[hard++] = op;
    }
    n->op_begun = hard + below(s, n->op_count - hard + 1);
    if (n->op_begun == 0)
        n->op_begun = n->op_count;
    n->sync_due = s->now + below(s, s->f.sync_ms + 1);
}

static void store_ops(struct sim *s, struct sim_node *n, uint64_t *hard,
                      uint64_t *log)
{
    *hard = *log = 0;
    for (size_t i = 0; i < n->op_begun; i++) {
        do_op(s, &n->disk, &n->ops[i]);
        *(n->ops[i].kind == RAFT_DO_HARD ? hard : log) = n->ops[i].write;
    }
    n->op_count -= n->op_begun;
    memmove(n->ops, n->ops + n->op_begun, n->op_count * sizeof *n->ops);
    n->op_begun = 0;
    if (rng_chance(&s->rng, 200)) /* the lazy rows of what is applied */
        n->disk.applied =
            max_u64(n->disk.applied, min_u64(n->applied, n->disk.last));
}

static void tick_disk(struct sim *s, struct sim_node *n)
{
    if (s->now < n->stalled_until)
        return;
    if (n->op_begun == 0 && n->op_count > 0)
        begin_sync(s, n);
    if (n->op_begun == 0 || s->now < n->sync_due)
        return;
    uint64_t hard, log;
    store_ops(s, n, &hard, &log);
    raft_durable(n->raft, hard, log);
    drain(s, n);
}

static void tick_load(struct sim *s, struct sim_node *n)
{
    if (!n->load.is_waiting || s->now < n->load.due)
        return;
    struct disk *d = &n->disk;
    n->load.is_waiting = false;
    size_t count = 0;
    if (n->load.first > d->base_index && n->load.first <= d->last)
        count = (size_t)(min_u64(n->load.last, d->last) - n->load.first + 1);
    raft_loaded(n->raft, n->load.to, &d->items[n->load.first], count, s->now);
    drain(s, n);
}

/* ---- life and death ---------------------------------------------------- */

static size_t read_configs(const struct disk *d, struct config *out)
{
    size_t count = 0;
    out[count++] = d->base_config;
    for (uint64_t i = d->base_index + 1; i <= d->last; i++) {
        if (d->items[i]->kind != ENTRY_CONFIG)
            continue;
        enum err err =
            entry_read_config(item_manifest(d->items[i]), &out[count]);
        ASSERT(err == ERR_OK);
        out[count++].index = i;
    }
    return count;
}

static size_t read_runs(const struct disk *d, struct raft_term_run *out)
{
    size_t count = 0;
    for (uint64_t i = d->base_index + 1; i <= d->last; i++) {
        if (count == 0 || out[count - 1].term != d->items[i]->term)
            out[count++] = (struct raft_term_run){i, d->items[i]->term};
    }
    return count;
}

static void start(struct sim *s, struct sim_node *n)
{
    static struct config configs[TRUTH_MAX];
    static struct raft_term_run runs[TRUTH_MAX];
    const struct disk *d = &n->disk;
    struct raft_cfg cfg = {
        .self = n->self,
        .pool = &s->pool,
        .seed = rng_next(&s->rng),
        .election_ms = T_MS,
        .heartbeat_ms = BEAT_MS,
        .jitter_percent = 20,
        .append_inflight_bytes = 4 * KIB,
    };
    struct raft_stored stored = {
        .hard = d->hard,
        .base_index = d->base_index,
        .base_term = d->base_term,
        .last_index = d->last,
        .applied_index = d->applied,
        .runs = runs,
        .run_count = read_runs(d, runs),
        .configs = configs,
        .config_count = read_configs(d, configs),
    };
    n->raft = raft_new(&cfg, &stored, s->now);
    for (uint64_t i = d->applied + 1; i <= d->last; i++)
        raft_load_item(n->raft, item_ref(d->items[i]));
    raft_set_rank(n->raft, rng_chance(&s->rng, s->f.same_rank)
                               ? 0
                               : (uint32_t)below(s, 3));
    n->applied = n->seen_commit = d->applied;
    n->load.is_waiting = false;
    n->stalled_until = n->paused_until = 0;
}

static void crash(struct sim *s, struct sim_node *n)
{
    uint64_t hard, log;
    if (n->op_begun > 0 && rng_chance(&s->rng, 300))
        store_ops(s, n, &hard, &log); /* it got there, nobody was told */
    drop_ops(s, n);
    raft_free(n->raft);
    n->raft = NULL;
    n->up_at = s->now + 1 + below(s, s->f.down_ms);
}

/* The disk is lost, or the replica is dropped. */
static void lose(struct sim *s, struct sim_node *n)
{
    if (n->raft != NULL)
        crash(s, n);
    life_of(s, n->self)->is_lost = true;
    life_of(s, n->self)->had = n->disk.last;
    disk_truncate(s, &n->disk, 0);
    n->has_disk = false;
}

static void found(struct sim *s, size_t node, struct replica self,
                  const struct disk *from, uint64_t index,
                  const struct config *config)
{
    if (s->life_count == LIVES_MAX)
        return;
    s->lives[s->life_count++] = (struct life){self, false, 0};
    struct sim_node *n = &s->nodes[node];
    n->self = self;
    n->has_disk = true;
    memset(&n->disk, 0, sizeof n->disk);
    n->disk.base_index = n->disk.last = n->disk.applied = index;
    n->disk.base_term = 1;
    if (from != NULL && index > from->base_index)
        n->disk.base_term = from->items[index]->term;
    else if (from != NULL)
        n->disk.base_term = from->base_term;
    n->disk.hard.term = n->disk.base_term;
    n->disk.base_config = *config;
    start(s, n);
}

/* T7, T13: what the members of a committed configuration lead to. A new
 * member is installed from the leader as of what it has on disk; a former one
 * is dropped. */
static void follow_config(struct sim *s, struct sim_node *leader)
{
    struct config c = *raft_committed_config(leader->raft);
    for (uint32_t i = 0; i < c.count; i++) {
        struct replica m = c.members[i].replica;
        size_t node = node_of(m);
        uint64_t index = min_u64(leader->applied, leader->disk.last);
        if (life_of(s, m) == NULL && !s->nodes[node].has_disk &&
            c.index <= index && index >= leader->disk.base_index)
            found(s, node, m, &leader->disk, index, &c);
    }
    for (size_t i = 0; i < NODES; i++) {
        struct sim_node *n = &s->nodes[i];
        if (n->has_disk && c.index > n->self.added &&
            config_find(&c, n->self) == NULL)
            lose(s, n);
    }
}

/* ---- what users, operators and fate do --------------------------------- */

static struct sim_node *some_leader(struct sim *s)
{
    size_t from = (size_t)below(s, NODES);
    for (size_t i = 0; i < NODES; i++) {
        struct sim_node *n = &s->nodes[(from + i) % NODES];
        if (n->raft != NULL && raft_role(n->raft) == RAFT_LEADER &&
            s->now >= n->paused_until)
            return n;
    }
    return NULL;
}

static void propose(struct sim *s, struct sim_node *n)
{
    struct buf manifest = {0};
    struct entry_builder b;
    struct entry_stamp stamp = {.level = LEVEL_NOW};
    char name[24];
    int size =
        snprintf(name, sizeof name, "%llu", (unsigned long long)++s->commands);
    struct command c = {.kind = COMMAND_CREATE,
                        .name = span_of(name, (size_t)size)};
    entry_build(&b, &manifest, stamp);
    enum err err = entry_add(&b, &c);
    ASSERT(err == ERR_OK);
    entry_end(&b);
    struct item *item = item_new(&s->pool, span_buf(&manifest), NULL, 0);
    uint64_t index, term;
    if (raft_propose(n->raft, item, &index, &term) != ERR_OK)
        item_unref(&s->pool, item);
    buf_free(&manifest);
    drain(s, n);
}

static void read_something(struct sim *s, struct sim_node *n)
{
    if (s->reads + 1 == TRUTH_MAX)
        return;
    s->read_floor[++s->reads] = s->committed;
    if (raft_read(n->raft, s->reads, s->now) == ERR_OK)
        drain(s, n);
}

static bool has_live_pair(struct sim *s, const struct config *c, size_t node)
{
    if (s->nodes[node].has_disk)
        return true;
    const struct config_member *m = config_find_node(c, node_id(node));
    return m != NULL && life_of(s, m->replica) == NULL; /* not invited yet */
}

/* Adds, promotes or removes one at random; the machine says what may be. */
static void change(struct sim *s, struct sim_node *n)
{
    struct config c = *raft_config(n->raft);
    size_t node = (size_t)below(s, NODES);
    uint32_t i = (uint32_t)below(s, c.count);
    uint64_t index;
    if (rng_chance(&s->rng, 400)) {
        if (c.count == REPLICAS_MAX || has_live_pair(s, &c, node))
            return;
        c.members[c.count++] =
            (struct config_member){{node_id(node), 0}, false};
    } else if (!c.members[i].is_voter && rng_chance(&s->rng, 800)) {
        c.members[i].is_voter = true;
    } else if (!c.members[i].is_voter || config_voters(&c) > 2) {
        c.members[i] = c.members[--c.count];
    } else {
        return;
    }
    if (raft_change(n->raft, &c, &index) == ERR_OK)
        s->changes++;
    drain(s, n);
}

static void transfer(struct sim *s, struct sim_node *n)
{
    const struct config *c = raft_config(n->raft);
    struct replica to = c->members[below(s, c->count)].replica;
    if (raft_transfer(n->raft, to, s->now) == ERR_OK)
        drain(s, n);
}

/* Never so many that the group could not go on without them. */
static void maybe_wipe(struct sim *s, struct sim_node *n)
{
    struct sim_node *leader = some_leader(s);
    if (leader == NULL || leader == n || !n->has_disk)
        return;
    const struct config *c = raft_config(leader->raft);
    const struct config_member *m = config_find(c, n->self);
    if (m == NULL || c->index > raft_commit(leader->raft) ||
        config_voters(c) < 3)
        return;
    for (uint32_t i = 0; i < c->count; i++) {
        const struct life *life = life_of(s, c->members[i].replica);
        if (life != NULL && life->is_lost)
            return;
    }
    lose(s, n);
}

static void cut_network(struct sim *s)
{
    for (size_t a = 0; a < NODES; a++) {
        for (size_t b = 0; b < NODES; b++)
            s->is_cut[a][b] = false;
    }
    if (s->is_healed)
        return;
    bool is_one_way = rng_chance(&s->rng, 300);
    uint64_t side = rng_next(&s->rng);
    for (size_t a = 0; a < NODES; a++) {
        for (size_t b = 0; b < NODES; b++) {
            bool is_across = ((side >> a ^ side >> b) & 1) != 0;
            bool is_out = (side >> a & 1) != 0;
            s->is_cut[a][b] = is_across && (is_out || !is_one_way);
        }
    }
    s->cut_until = s->now + 1 + below(s, s->f.cut_ms);
}

/* Not above what some replica still needs: there is no installing anew. */
static void cut_log(struct sim *s, struct sim_node *n)
{
    struct disk *d = &n->disk;
    uint64_t most = d->applied;
    for (size_t i = 0; i < NODES; i++) {
        if (s->nodes[i].has_disk)
            most = min_u64(most, s->nodes[i].disk.applied);
    }
    if (most <= d->base_index || n->load.is_waiting)
        return;
    uint64_t base = d->base_index + 1 + below(s, most - d->base_index);
    static struct config configs[TRUTH_MAX];
    size_t count = read_configs(d, configs);
    for (size_t i = 0; i < count && configs[i].index <= base; i++)
        d->base_config = configs[i];
    d->base_term = d->items[base]->term;
    for (uint64_t i = d->base_index + 1; i <= base; i++) {
        item_unref(&s->pool, d->items[i]);
        d->items[i] = NULL;
    }
    d->base_index = base;
    raft_cut(n->raft, base);
}

static void bother_node(struct sim *s, struct sim_node *n)
{
    if (happens(s, s->f.crash))
        crash(s, n);
    else if (happens(s, s->f.wipe))
        maybe_wipe(s, n);
    if (n->raft == NULL)
        return;
    if (happens(s, s->f.reset)) {
        raft_reset_peer(n->raft, node_id((size_t)below(s, NODES)), s->now);
        drain(s, n);
    }
    if (happens(s, s->f.step_down)) {
        raft_step_down(n->raft, s->now);
        drain(s, n);
    }
    if (happens(s, s->f.stall))
        n->stalled_until = s->now + below(s, 3 * T_MS);
    if (happens(s, s->f.pause))
        n->paused_until = s->now + below(s, s->f.pause_ms);
    if (happens(s, s->f.cut_log))
        cut_log(s, n);
}

static void bother(struct sim *s)
{
    if (s->now >= s->cut_until && s->cut_until > 0) {
        s->cut_until = 0;
        memset(s->is_cut, 0, sizeof s->is_cut);
    }
    if (happens(s, s->f.cut))
        cut_network(s);
    for (size_t i = 0; i < NODES; i++) {
        if (s->nodes[i].raft != NULL && s->now >= s->nodes[i].paused_until)
            bother_node(s, &s->nodes[i]);
    }
    struct sim_node *n = some_leader(s);
    if (n == NULL)
        return;
    follow_config(s, n);
    if (n->raft != NULL && rng_chance(&s->rng, s->f.propose))
        propose(s, n);
    if (n->raft != NULL && happens(s, s->f.read))
        read_something(s, n);
    if (n->raft != NULL && happens(s, s->f.change))
        change(s, n);
    if (n->raft != NULL && happens(s, s->f.transfer))
        transfer(s, n);
}

/* ---- a history --------------------------------------------------------- */

static void deliver(struct sim *s)
{
    for (size_t i = 0; i < s->packet_count && s->violation == NULL;) {
        struct raft_msg msg = s->packets[i].msg;
        struct sim_node *n = &s->nodes[node_of(msg.to)];
        if (s->packets[i].due > s->now || s->now < n->paused_until) {
            i++;
            continue;
        }
        s->packets[i] = s->packets[--s->packet_count];
        if (n->raft != NULL) {
            raft_recv(n->raft, &msg, s->now);
            drain(s, n);
        }
        packet_free(s, &msg);
    }
}

static void step_node(struct sim *s, struct sim_node *n)
{
    if (s->now < n->paused_until)
        return;
    if (n->raft == NULL && n->has_disk && s->now >= n->up_at)
        start(s, n);
    if (n->raft == NULL)
        return;
    raft_set_stalled(n->raft, s->now < n->stalled_until);
    if (s->now >= raft_deadline(n->raft)) {
        raft_tick(n->raft, s->now);
        drain(s, n);
    }
    tick_disk(s, n);
    tick_load(s, n);
}

static void step(struct sim *s)
{
    s->now++;
    if (s->committed + 64 > TRUTH_MAX || s->life_count + 1 > LIVES_MAX)
        return;
    bother(s);
    deliver(s);
    for (size_t i = 0; i < NODES && s->violation == NULL; i++)
        step_node(s, &s->nodes[i]);
    if (s->now % T_MS == 0)
        judge_logs(s);
}

static bool is_newer(const struct raft *a, const struct raft *b)
{
    uint64_t a_term = raft_term_at(a, raft_last(a));
    uint64_t b_term = raft_term_at(b, raft_last(b));
    return a_term != b_term ? a_term > b_term : raft_last(a) > raft_last(b);
}

/* True if those who are left could go on: by the configuration of the newest
 * log, enough disks are left. */
static bool can_go_on(struct sim *s)
{
    const struct raft *newest = NULL;
    for (size_t i = 0; i < NODES; i++) {
        const struct raft *r = s->nodes[i].raft;
        if (r != NULL && (newest == NULL || is_newer(r, newest)))
            newest = r;
    }
    if (newest == NULL)
        return false;
    const struct config *c = raft_config(newest);
    uint32_t live = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        const struct life *life = life_of(s, c->members[i].replica);
        live += c->members[i].is_voter && life != NULL && !life->is_lost;
    }
    return live > config_voters(c) / 2;
}

static void heal(struct sim *s)
{
    s->is_healed = true;
    s->f.sync_ms = s->f.delay_ms = 2;
    cut_network(s);
    for (size_t i = 0; i < NODES; i++)
        s->nodes[i].up_at = s->nodes[i].stalled_until =
            s->nodes[i].paused_until = 0;
    uint64_t before = s->committed;
    s->f.propose = 100;
    for (uint64_t end = s->now + QUIET_MS;
         s->now < end && s->violation == NULL;)
        step(s);
    if (s->committed <= before && can_go_on(s))
        violate(s, "a healed group does not commit");
}

static uint32_t swarm(struct sim *s, uint32_t most)
{
    return rng_chance(&s->rng, 250) ? 0 : (uint32_t)below(s, most + 1);
}

static void draw_faults(struct sim *s, const struct raft_world_faults *most)
{
    struct raft_world_faults *f = &s->f;
    *f = *most;
    if (!f->is_drawn)
        return;
    f->pause = swarm(s, most->pause);
    f->append_loss_pm = swarm(s, most->append_loss_pm);
    f->crash = swarm(s, most->crash);
    f->wipe = swarm(s, most->wipe);
    f->cut = swarm(s, most->cut);
    f->loss_pm = swarm(s, most->loss_pm);
    f->dup_pm = swarm(s, most->dup_pm);
    f->late_pm = swarm(s, most->late_pm);
    f->delay_ms = swarm(s, most->delay_ms);
    f->sync_ms = swarm(s, most->sync_ms);
    f->change = swarm(s, most->change);
    f->transfer = swarm(s, most->transfer);
    f->reset = swarm(s, most->reset);
    f->stall = swarm(s, most->stall);
    f->step_down = swarm(s, most->step_down);
    f->cut_log = swarm(s, most->cut_log);
}

static struct sim *sim_new(uint64_t seed, const struct raft_world_faults *most)
{
    struct sim *s = mem_alloc(sizeof *s);
    rng_seed(&s->rng, seed);
    draw_faults(s, most);
    struct config c = {.index = 1, .count = most->voters};
    for (uint32_t i = 0; i < c.count; i++)
        c.members[i] = (struct config_member){{node_id(i), 1}, true};
    s->truth[1].term = 1;
    s->committed = 1;
    for (uint32_t i = 0; i < c.count; i++)
        found(s, i, c.members[i].replica, NULL, 1, &c);
    return s;
}

static void sim_free(struct sim *s)
{
    for (size_t i = 0; i < NODES; i++) {
        struct sim_node *n = &s->nodes[i];
        raft_free(n->raft);
        drop_ops(s, n);
        disk_truncate(s, &n->disk, 0);
        mem_free(n->ops);
    }
    while (s->packet_count > 0)
        packet_free(s, &s->packets[--s->packet_count].msg);
    ASSERT(s->pool.live == 0);
    item_pool_free(&s->pool);
    mem_free(s);
}

struct raft_world_outcome raft_world_play(uint64_t seed,
                                          const struct raft_world_faults *most)
{
    struct sim *s = sim_new(seed, most);
    while (s->now < CHAOS_MS && s->violation == NULL)
        step(s);
    if (s->violation == NULL)
        heal(s);
    struct raft_world_outcome o = {s->violation, s->committed, s->reads_ok,
                                   s->elections, s->changes,   s->trace};
    sim_free(s);
    return o;
}
