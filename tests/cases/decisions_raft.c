/* decisions_raft.c - see decisions.h: quorums, votes, appends, commits,
 * changes of membership, steps of a walk.
 *
 * Nodes are 1 to 7 (RIG_NODES); the machine that decides is node 1. */
#include "tests/cases/decisions.h"

#include "ring/raft_impl.h"
#include "ring/walk.h"
#include "tests/unit/raft_rig.h"

#define ENTRIES_MAX 60u
#define INDEX_MAX   900u

/* ---- reading ----------------------------------------------------------- */

struct log {
    uint64_t base, base_term; /* what is cut away ends there */
    uint64_t terms[ENTRIES_MAX];
    size_t count;
};

static uint64_t end_of(const struct log *log)
{
    return log->base + log->count;
}

static uint64_t last_term(const struct log *log)
{
    return log->count > 0 ? log->terms[log->count - 1] : log->base_term;
}

/* Either terms from `next` on, or index:term, without gaps. A list of pairs
 * may begin later: what is before is cut away, in the term of `base=`. */
static void read_entries(struct line *l, const char *key, uint64_t next,
                         struct log *log)
{
    struct line_pair pairs[ENTRIES_MAX];
    log->base = next - 1;
    log->count = line_pairs(l, key, pairs, ENTRIES_MAX);
    for (size_t i = 0; i < log->count; i++) {
        const struct line_pair *p = &pairs[i];
        log->terms[i] = p->has_second ? p->second : p->first;
        if (p->has_second && p->first != next + i)
            line_fail(l, "%s: index %llu does not follow", key,
                      (unsigned long long)p->first);
        if (log->terms[i] == 0 || log->terms[i] > UINT32_MAX)
            line_fail(l, "%s: no such term", key);
    }
}

static void read_log(struct line *l, struct log *log)
{
    struct line_pair base = {0};
    *log = (struct log){0};
    if (line_pairs(l, "base", &base, 1) == 1 &&
        (!base.has_second || base.first > INDEX_MAX))
        line_fail(l, "base: index:term is wanted");
    log->base_term = base.second;
    read_entries(l, "log", base.first + 1, log);
    uint64_t term = log->base_term;
    for (size_t i = 0; i < log->count; i++) {
        if (log->terms[i] < term)
            line_fail(l, "log: terms never fall along a log");
        term = log->terms[i];
    }
}

/* "index:term"; 0:0 where the key is missing. */
static struct line_pair read_position(struct line *l, const char *key)
{
    struct line_pair p = {0};
    if (line_pairs(l, key, &p, 1) == 1 && !p.has_second && p.first != 0)
        line_fail(l, "%s: index:term is wanted", key);
    if (p.first > INDEX_MAX)
        line_fail(l, "%s: indexes go up to %u", key, INDEX_MAX);
    return p;
}

static size_t check_node(struct line *l, const char *key, uint64_t number)
{
    if (number < 1 || number > RIG_NODES) {
        line_fail(l, "%s: nodes are 1 to %u", key, RIG_NODES);
        return 0;
    }
    return (size_t)number - 1;
}

static void print_log(const struct raft *r, struct buf *out)
{
    buf_printf(out, "log=");
    for (uint64_t i = raft_base(r) + 1; i <= raft_last(r); i++)
        buf_printf(out, "%s%llu:%llu", i > raft_base(r) + 1 ? "," : "",
                   (unsigned long long)i,
                   (unsigned long long)raft_term_at(r, i));
    if (raft_last(r) == raft_base(r))
        buf_printf(out, "_");
}

/* ---- machines ---------------------------------------------------------- */

static struct rig *rig_new(uint32_t voters)
{
    struct rig *g = mem_alloc(sizeof *g);
    rig_init(g, voters, 0);
    return g;
}

static void rig_drop(struct rig *g)
{
    rig_free(g);
    mem_free(g);
}

/* Node 1 has this log and is in this term. */
static void rig_put_log(struct rig *g, const struct log *log, uint64_t term)
{
    struct rig_node *n = &g->nodes[0];
    n->base = n->last = n->applied = log->base;
    n->base_term = log->base_term;
    rig_log(g, 0, log->terms, log->count);
    n->hard.term = max_u64(term, max_u64(n->hard.term, log->base_term));
}

static const struct raft_msg *newest(const struct rig *g,
                                     enum raft_msg_kind kind)
{
    const struct rig_node *n = &g->nodes[0];
    for (size_t i = n->sent_count; i > 0; i--) {
        if (n->sent[i - 1].kind == kind)
            return &n->sent[i - 1];
    }
    return NULL;
}

/* Node 1 wins an election of all members of the configuration. */
static void rig_win(struct rig *g)
{
    raft_campaign(g->nodes[0].r, g->now);
    rig_drain(g, 0);
    rig_sync(g, 0);
    for (uint32_t i = 0; i < g->config.count; i++) {
        struct raft_msg msg =
            rig_msg(RAFT_VOTE_REPLY, 0, 0, raft_term(g->nodes[0].r));
        msg.from = g->config.members[i].replica;
        msg.granted = true;
        if (!id_equal(msg.from.node, g->nodes[0].self.node))
            rig_recv(g, 0, msg);
    }
}

/* ---- quorums ----------------------------------------------------------- */

/* By node where pairs are given; else one a voter, in the order of `voters`. */
static void decide_commit_index(struct line *l, struct buf *out)
{
    uint64_t voters[REPLICAS_MAX], values[REPLICAS_MAX] = {0};
    struct line_pair match[REPLICAS_MAX];
    size_t count = line_pairs(l, "match", match, REPLICAS_MAX);
    bool has_voters = line_value(l, "voters") != NULL;
    size_t voter_count = line_list(l, "voters", voters, REPLICAS_MAX);
    if (count > 0 && !match[0].has_second && has_voters && voter_count != count)
        line_fail(l, "match: one a voter is wanted, or node:match");
    if (!has_voters)
        voter_count = count;
    for (size_t i = 0; i < voter_count; i++) {
        for (size_t k = 0; k < count; k++) {
            if (match[k].has_second != match[0].has_second)
                line_fail(l, "match: all with a node, or none");
            if (!match[k].has_second && i == k)
                values[i] = match[k].first;
            if (match[k].has_second &&
                (!has_voters || match[k].first == voters[i]) &&
                (has_voters || i == k))
                values[i] = match[k].second;
        }
    }
    if (line_end(l))
        buf_printf(out, "%llu\n",
                   (unsigned long long)raft_quorum_index(values, voter_count));
}

static void decide_election(struct line *l, struct buf *out)
{
    const char *votes = line_value(l, "votes");
    char letters[RIG_NODES];
    size_t count = 0;
    for (; votes != NULL && *votes != '\0'; votes++) {
        if (*votes == ',' || *votes == ' ')
            continue;
        if (strchr("yn_", *votes) == NULL || count == RIG_NODES)
            line_fail(l, "votes: up to %u of y, n, _", RIG_NODES);
        else
            letters[count++] = *votes;
    }
    if (count == 0)
        line_fail(l, "election: votes= is missing");
    if (!line_end(l))
        return;
    struct rig *g = rig_new((uint32_t)count);
    rig_start(g, 0);
    raft_campaign(g->nodes[0].r, g->now);
    rig_drain(g, 0);
    if (letters[0] == 'y')
        rig_sync(g, 0); /* its own vote counts once it is on its disk */
    for (size_t i = 1; i < count; i++) {
        struct raft_msg msg = rig_msg(RAFT_VOTE_REPLY, i, 0, 1);
        msg.granted = letters[i] == 'y';
        if (letters[i] != '_')
            rig_recv(g, 0, msg);
    }
    bool is_won = raft_role(g->nodes[0].r) == RAFT_LEADER;
    buf_printf(out, is_won ? "leader\n" : "candidate\n");
    rig_drop(g);
}

/* ---- votes (paper figure 2, RequestVote; thesis 9.6, 4.2.3) ------------- */

struct vote {
    struct log log;
    uint64_t term;
    uint64_t voted_for; /* 0: nobody */
    uint64_t leader;    /* 0: none */
    uint64_t silent_ms; /* since it was heard */
    uint64_t candidate;
    uint64_t candidate_term;
    struct line_pair last;
    bool is_transfer;
};

static bool read_vote(struct line *l, struct vote *v)
{
    read_log(l, &v->log);
    v->term = line_u64(l, "term", last_term(&v->log));
    v->voted_for = line_u64(l, "voted_for", 0);
    v->leader = line_u64(l, "leader", 0);
    v->silent_ms = line_u64(l, "silent_ms", 0);
    v->candidate = line_u64(l, "candidate", 2);
    v->candidate_term = line_need_u64(l, "candidate_term");
    v->last = read_position(l, "last");
    v->is_transfer = line_flag(l, "transfer");
    if (v->term < last_term(&v->log))
        line_fail(l, "term: the log's last term is higher");
    if (v->leader == 1 || v->candidate == 1)
        line_fail(l, "node 1 is the one that is asked");
    check_node(l, "candidate", v->candidate);
    check_node(l, "leader", max_u64(v->leader, 1));
    check_node(l, "voted_for", max_u64(v->voted_for, 1));
    if (v->candidate_term == 0 || v->candidate_term < v->last.second)
        line_fail(l, "candidate_term: its log's last term is higher");
    return line_end(l);
}

static void decide_vote(struct line *l, struct buf *out)
{
    struct vote v;
    bool is_pre = strcmp(l->verb, "prevote") == 0;
    if (!read_vote(l, &v))
        return;
    struct rig *g = rig_new(RIG_NODES);
    rig_put_log(g, &v.log, v.term);
    if (v.voted_for > 0)
        g->nodes[0].hard.vote = rig_replica((size_t)v.voted_for - 1);
    rig_start(g, 0);
    if (v.leader > 0)
        rig_recv(g, 0,
                 rig_msg(RAFT_HEARTBEAT, (size_t)v.leader - 1, 0,
                         max_u64(v.term, 1)));
    g->now += v.silent_ms;
    struct raft_msg ask = rig_msg(is_pre ? RAFT_PREVOTE : RAFT_VOTE,
                                  (size_t)v.candidate - 1, 0, v.candidate_term);
    ask.last_index = v.last.first;
    ask.last_term = v.last.second;
    ask.is_transfer = v.is_transfer;
    rig_recv(g, 0, ask);
    rig_sync(g, 0);
    const struct raft_msg *reply =
        newest(g, is_pre ? RAFT_PREVOTE_REPLY : RAFT_VOTE_REPLY);
    if (reply == NULL)
        buf_printf(out, "ignore\n");
    else
        buf_printf(out, "%s term=%llu\n", reply->granted ? "grant" : "refuse",
                   (unsigned long long)reply->term);
    rig_drop(g);
}

/* ---- appends (paper figure 2, AppendEntries) ---------------------------- */

struct append {
    struct log log;
    struct log entries;
    struct line_pair prev;
    uint64_t term, commit;
    uint64_t leader_term, leader_commit;
};

static bool read_append(struct line *l, struct append *a)
{
    read_log(l, &a->log);
    a->prev = read_position(l, "prev");
    a->entries = (struct log){0};
    read_entries(l, "entries", a->prev.first + 1, &a->entries);
    a->entries.base_term = a->prev.second;
    a->term = line_u64(l, "term", max_u64(last_term(&a->log), 1));
    a->commit = line_u64(l, "commit", a->log.base);
    a->leader_commit = line_u64(l, "leader_commit", 0);
    a->leader_term =
        line_u64(l, "leader_term", max_u64(a->term, last_term(&a->entries)));
    if (a->term < last_term(&a->log))
        line_fail(l, "term: the log's last term is higher");
    if (a->commit < a->log.base || a->commit > end_of(&a->log))
        line_fail(l, "commit: not in the log");
    if (a->leader_term == 0)
        line_fail(l, "leader_term: terms begin at 1");
    return line_end(l);
}

static void print_append(const struct rig *g, const struct append *a,
                         struct buf *out)
{
    const struct raft *r = g->nodes[0].r;
    const struct raft_msg *reply = newest(g, RAFT_APPEND_REPLY);
    if (reply == NULL)
        buf_printf(out, "drop");
    else if (reply->granted)
        buf_printf(out, "accept match=%llu", (unsigned long long)reply->match);
    else if (a->leader_term < a->term)
        buf_printf(out, "refuse term=%llu", (unsigned long long)reply->term);
    else
        buf_printf(out, "refuse hint=%llu:%llu",
                   (unsigned long long)reply->hint_index,
                   (unsigned long long)reply->hint_term);
    buf_printf(out, " ");
    print_log(r, out);
    buf_printf(out, " commit=%llu\n", (unsigned long long)raft_commit(r));
}

static void decide_append(struct line *l, struct buf *out)
{
    struct append a;
    if (!read_append(l, &a))
        return;
    struct rig *g = rig_new(RIG_NODES);
    rig_put_log(g, &a.log, a.term);
    g->nodes[0].applied = a.commit;
    rig_start(g, 0);
    struct raft_msg msg = {
        .term = a.leader_term,
        .prev_index = a.prev.first,
        .prev_term = a.prev.second,
        .commit = a.leader_commit,
    };
    rig_append(g, 1, 0, msg, a.entries.terms, a.entries.count);
    rig_sync(g, 0);
    print_append(g, &a, out);
    rig_drop(g);
}

/* ---- commit (paper 5.3 and 5.4.2) --------------------------------------- */

struct commit {
    struct log log;
    uint64_t term;
    uint64_t match[RIG_NODES];
    size_t voters;
    uint64_t learner_match[RIG_NODES];
    size_t learners;
    size_t older; /* entries of older terms */
};

static bool read_commit(struct line *l, struct commit *c)
{
    read_log(l, &c->log);
    c->term = line_need_u64(l, "term");
    c->voters = line_list(l, "match", c->match, RIG_NODES);
    c->learners = line_list(l, "learners", c->learner_match, RIG_NODES);
    if (c->voters == 0 || c->voters + c->learners > RIG_NODES)
        line_fail(l, "match: the leader's first, up to %u nodes", RIG_NODES);
    if (c->term == 0 || c->term < last_term(&c->log))
        line_fail(l, "term: the log's last term is higher");
    if (c->log.base > 0)
        line_fail(l, "base: commit wants the whole log");
    for (c->older = 0; c->older < c->log.count; c->older++) {
        if (c->log.terms[c->older] == c->term)
            break;
    }
    if (!l->is_bad && c->match[0] < c->older)
        line_fail(l, "match: the leader's older entries are on its disk");
    for (size_t i = 0; !l->is_bad && i < c->voters; i++) {
        if (c->match[i] > c->log.count)
            line_fail(l, "match: beyond the log");
    }
    for (size_t i = 0; !l->is_bad && i < c->learners; i++) {
        if (c->learner_match[i] > c->log.count)
            line_fail(l, "learners: beyond the log");
    }
    return line_end(l);
}

static void decide_commit(struct line *l, struct buf *out)
{
    struct commit c;
    if (!read_commit(l, &c))
        return;
    struct rig *g = rig_new((uint32_t)c.voters);
    g->config.count = (uint32_t)(c.voters + c.learners);
    for (size_t i = c.voters; i < g->config.count; i++)
        g->config.members[i] = (struct config_member){rig_replica(i), false};
    struct log older = c.log;
    older.count = c.older;
    rig_put_log(g, &older, c.term - 1);
    rig_start(g, 0);
    struct raft *r = g->nodes[0].r;
    rig_win(g); /* it appends the first entry of its term by itself */
    for (uint64_t i = raft_last(r) + 1; i <= c.log.count; i++)
        raft_lead_append(r, rig_item(g, i, c.term));
    rig_drain(g, 0);
    raft_durable(r, g->nodes[0].hard_write, c.match[0] - c.older);
    for (size_t i = 1; i < g->config.count; i++) {
        uint64_t match =
            i < c.voters ? c.match[i] : c.learner_match[i - c.voters];
        rig_ack(g, i, 0, match);
    }
    buf_printf(out, "%llu\n", (unsigned long long)raft_commit(r));
    rig_drop(g);
}

/* ---- configurations ---------------------------------------------------- */

static size_t read_nodes(struct line *l, const char *key, uint64_t *out)
{
    size_t count = line_list(l, key, out, RIG_NODES);
    for (size_t i = 0; i < count; i++)
        check_node(l, key, out[i]);
    return count;
}

static struct replica replica_of(uint64_t number)
{
    return rig_replica((size_t)number - 1);
}

static bool is_among(const uint64_t *list, size_t count, struct replica r)
{
    for (size_t i = 0; i < count; i++) {
        if (id_equal(replica_of(list[i]).node, r.node))
            return true;
    }
    return false;
}

/* voters= and learners=; the leader, node 1, must be a voter. */
static void read_config(struct line *l, struct config *c)
{
    uint64_t voters[RIG_NODES], learners[RIG_NODES];
    size_t voter_count = read_nodes(l, "voters", voters);
    size_t learner_count = read_nodes(l, "learners", learners);
    *c = (struct config){0};
    if (!is_among(voters, voter_count, replica_of(1)))
        line_fail(l, "voters: node 1 leads, it is one of them");
    for (size_t i = 0; !l->is_bad && i < voter_count; i++)
        c->members[c->count++] =
            (struct config_member){replica_of(voters[i]), true};
    for (size_t i = 0; !l->is_bad && i < learner_count; i++)
        c->members[c->count++] =
            (struct config_member){replica_of(learners[i]), false};
    for (uint32_t i = 0; i < c->count; i++) {
        if (config_find(c, c->members[i].replica) != &c->members[i])
            line_fail(l, "a node is there twice");
    }
}

static void print_config(const struct config *c, struct buf *out)
{
    for (int is_voter = 1; is_voter >= 0; is_voter--) {
        bool is_first = true;
        for (uint32_t i = 0; i < c->count; i++) {
            if (c->members[i].is_voter != (is_voter == 1))
                continue;
            const char *word = is_voter == 1 ? "voters=" : " learners=";
            buf_printf(out, "%s%u", is_first ? word : ",",
                       c->members[i].replica.node.bytes[0]);
            is_first = false;
        }
    }
}

/* ---- changes of membership (thesis 4.1) --------------------------------- */

struct change {
    struct config config;
    uint64_t add[RIG_NODES], promote[RIG_NODES], remove[RIG_NODES];
    size_t add_count, promote_count, remove_count;
    uint64_t silent[RIG_NODES], lagging[RIG_NODES];
    size_t silent_count, lagging_count;
    bool is_new;     /* no entry of the leader's term has committed */
    bool is_pending; /* another change has not committed */
    bool is_handing_over;
};

static bool read_change(struct line *l, struct change *c)
{
    *c = (struct change){0};
    read_config(l, &c->config);
    c->add_count = read_nodes(l, "add", c->add);
    c->promote_count = read_nodes(l, "promote", c->promote);
    c->remove_count = read_nodes(l, "remove", c->remove);
    c->silent_count = read_nodes(l, "silent", c->silent);
    c->lagging_count = read_nodes(l, "lagging", c->lagging);
    c->is_new = line_flag(l, "new_leader");
    c->is_pending = line_flag(l, "pending");
    c->is_handing_over = line_flag(l, "handing_over");
    return line_end(l);
}

static void plan_change(const struct change *c, const struct config *now,
                        struct config *to)
{
    *to = (struct config){0};
    for (uint32_t i = 0; i < now->count; i++) {
        struct config_member m = now->members[i];
        if (is_among(c->remove, c->remove_count, m.replica))
            continue;
        m.is_voter |= is_among(c->promote, c->promote_count, m.replica);
        to->members[to->count++] = m;
    }
    for (size_t i = 0; i < c->add_count; i++)
        to->members[to->count++] =
            (struct config_member){{replica_of(c->add[i]).node, 0}, false};
}

/* Followers answer, but for the silent ones. Those that lag match 1. */
static void hear_followers(struct rig *g, const struct change *c)
{
    for (uint32_t i = 0; i < g->config.count; i++) {
        struct replica m = g->config.members[i].replica;
        size_t node = (size_t)m.node.bytes[0] - 1;
        if (node == 0 || is_among(c->silent, c->silent_count, m))
            continue;
        bool is_lagging = is_among(c->lagging, c->lagging_count, m);
        uint64_t all = raft_last(g->nodes[0].r);
        rig_ack(g, node, 0, is_lagging || c->is_new ? 0 : all);
    }
}

static void decide_change(struct line *l, struct buf *out)
{
    struct change c;
    if (!read_change(l, &c))
        return;
    struct rig *g = rig_new(1);
    g->config = c.config;
    struct log log = {.count = ENTRIES_MAX};
    for (size_t i = 0; i < ENTRIES_MAX; i++)
        log.terms[i] = 1;
    rig_put_log(g, &log, 1);
    rig_log(g, 0, log.terms, log.count); /* to lag is to lack 64 or more */
    rig_start(g, 0);
    struct raft *r = g->nodes[0].r;
    rig_win(g);
    rig_sync(g, 0);
    struct change all_well = c;
    all_well.silent_count = 0;
    hear_followers(g, &all_well);
    struct config to;
    uint64_t index;
    if (c.is_pending) {
        struct change other = {.add = {RIG_NODES}, .add_count = 1};
        plan_change(&other, raft_config(r), &to);
        enum err err = raft_change(r, &to, &index);
        ASSERT(err == ERR_OK || c.is_new || c.lagging_count > 0);
    }
    if (!c.is_pending) { /* to hear them would commit that change */
        g->now += RIG_T;
        hear_followers(g, &c);
    }
    if (c.is_handing_over) {
        enum err err = raft_transfer(
            r, g->config.members[g->config.count > 1].replica, g->now);
        ASSERT(err == ERR_OK || g->config.count == 1);
    }
    rig_tick(g, 0, g->now);
    plan_change(&c, raft_config(r), &to);
    enum err err = raft_change(r, &to, &index);
    buf_printf(out, "%s", err_name(err));
    if (err == ERR_OK) {
        buf_printf(out, " ");
        print_config(raft_config(r), out);
    }
    buf_printf(out, "\n");
    rig_drop(g);
}

/* ---- steps of a walk --------------------------------------------------- */

static void print_step(const struct walk_step *s, struct buf *out)
{
    static const char *const names[] = {"DONE",    "WAIT",   "ADD",
                                        "PROMOTE", "REMOVE", "TRANSFER"};
    uint8_t node =
        s->kind == WALK_ADD ? s->node.bytes[0] : s->replica.node.bytes[0];
    buf_printf(out, "%s", names[s->kind]);
    if (s->reason != NULL)
        buf_printf(out, " %u: %s", node, s->reason);
    buf_printf(out, "\n");
}

static void decide_walk(struct line *l, struct buf *out)
{
    struct config config;
    struct walk_replica replicas[REPLICAS_MAX];
    struct id128 row[RIG_NODES];
    uint64_t list[RIG_NODES], dead[RIG_NODES], lagging[RIG_NODES];
    uint64_t restless[RIG_NODES], out_of_ring[RIG_NODES];
    read_config(l, &config);
    size_t row_count = read_nodes(l, "row", list);
    size_t dead_count = read_nodes(l, "dead", dead);
    size_t out_count = read_nodes(l, "out", out_of_ring);
    size_t lagging_count = read_nodes(l, "lagging", lagging);
    size_t restless_count = read_nodes(l, "restless", restless);
    uint64_t leader = line_u64(l, "leader", 1);
    check_node(l, "leader", leader);
    if (!line_end(l))
        return;
    for (size_t i = 0; i < row_count; i++)
        row[i] = replica_of(list[i]).node;
    for (uint32_t i = 0; i < config.count; i++) {
        struct replica r = config.members[i].replica;
        bool is_out = is_among(out_of_ring, out_count, r);
        bool is_dead = is_out || is_among(dead, dead_count, r);
        replicas[i] = (struct walk_replica){
            .is_live = !is_dead,
            .is_matched = !is_dead && !is_among(lagging, lagging_count, r),
            .is_calm = !is_dead && !is_among(restless, restless_count, r),
            .is_out = is_out,
        };
    }
    struct walk_view view = {
        .config = &config,
        .replicas = replicas,
        .self = replica_of(leader),
        .row = row,
        .row_count = (uint32_t)row_count,
    };
    struct walk_step step = walk_next(&view);
    print_step(&step, out);
}

bool decide_raft(struct line *l, struct buf *out)
{
    static const struct {
        const char *verb;
        void (*run)(struct line *l, struct buf *out);
    } verbs[] = {
        {"commit_index", decide_commit_index},
        {"election", decide_election},
        {"vote", decide_vote},
        {"prevote", decide_vote},
        {"append", decide_append},
        {"commit", decide_commit},
        {"change", decide_change},
        {"walk", decide_walk},
    };
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(l->verb, verbs[i].verb) == 0) {
            verbs[i].run(l, out);
            return true;
        }
    }
    return false;
}
