/* watch_fed.c - what comes in and must not be heeded; see watch.h.
 *
 *   R6C  a candidate's call, by whoever follows a live leader or is one: not
 *        even its term is heard
 *   R12  an answer to a leader of another term: it counts for nothing
 *
 * What the replica thinks before the message is fed to it is held against what
 * it thinks right after. A group is left out if another frame of the message
 * is about it, too. */
#include "tests/sim/watch_impl.h"

/* A learner of its group answers that it holds a part of the state: from now on
 * the leader keeps the log for it (T23). */
static void note_accepted(struct watch *a, struct host *h,
                          const struct frame *f, struct id128 from)
{
    const struct raft *r = node_raft(h->node, f->group.group);
    struct replica learner = {from, f->group.from_replica};
    if (r == NULL || raft_role(r) != RAFT_LEADER || f->invite_reply != ERR_OK ||
        config_find(raft_config(r), learner) == NULL)
        return;
    struct accepted *all = a->hosts[h->index].accepted[f->group.group];
    struct accepted *at = &all[0]; /* its own place, or the oldest */
    for (uint32_t i = 0; i < REPLICAS_MAX; i++) {
        if (replica_equal(all[i].learner, learner)) {
            at = &all[i];
            break;
        }
        if (all[i].at_ms < at->at_ms)
            at = &all[i];
    }
    *at = (struct accepted){learner, world_ms(a->w)};
}

/* ---- before ------------------------------------------------------------ */

/* As raft_elect_is_led has it. */
static bool is_led(const struct watch *a, const struct raft *r)
{
    uint64_t patience = a->w->plan.timing.election_ms;
    return raft_role(r) == RAFT_LEADER ||
           (!id_is_zero(raft_leader(r).node) &&
            world_ms(a->w) < raft_leader_heard_ms(r) + patience);
}

static struct counted count_of(const struct raft *r, struct replica follower)
{
    const struct raft_progress *p;
    size_t count = raft_followers(r, &p);
    for (size_t i = 0; i < count; i++)
        if (replica_equal(p[i].replica, follower))
            return (struct counted){p[i].heard_ms, p[i].match, p[i].round_acked,
                                    p[i].is_lost};
    return (struct counted){0};
}

static struct unheeded expect(const struct watch *a, const struct raft *r,
                              const struct frame *f, struct id128 from)
{
    struct unheeded u = {.group = f->group.group,
                         .term = raft_term(r),
                         .from = {from, f->group.from_replica}};
    enum raft_msg_kind kind = f->msg.kind;
    if (kind == RAFT_VOTE && !f->msg.is_transfer && is_led(a, r))
        u.why = UNHEEDED_CALL;
    if ((kind == RAFT_APPEND_REPLY || kind == RAFT_HEARTBEAT_REPLY) &&
        f->group.term < u.term && raft_role(r) == RAFT_LEADER)
        u.why = UNHEEDED_ANSWER;
    if (u.why == UNHEEDED_ANSWER)
        u.counted = count_of(r, u.from);
    return u;
}

static struct unheeded *find(struct watch *a, uint32_t group)
{
    for (uint32_t i = 0; i < a->unheeded_count; i++)
        if (a->unheeded[i].group == group)
            return &a->unheeded[i];
    return NULL;
}

static void note(struct watch *a, const struct unheeded *u)
{
    struct unheeded *old = find(a, u->group);
    if (old == NULL)
        a->unheeded[a->unheeded_count++] = *u;
    else if (old->why != u->why || old->from.added != u->from.added)
        old->why = UNHEEDED_NOT;
}

void watch_feeds(struct watch *a, struct host *h, struct span message)
{
    struct wire_in in;
    struct frame_iter it;
    struct frame f;
    a->unheeded_count = 0;
    if (wire_read(message, &in) != ERR_OK ||
        in.header.kind != WIRE_PEER_CONTROL)
        return;
    wire_frame_begin(&it, &in);
    while (wire_frame_next(&it, &f)) {
        if (f.group.group >= a->w->plan.groups ||
            a->groups[f.group.group].is_anew)
            continue;
        if (f.kind == FRAME_INVITE_REPLY)
            note_accepted(a, h, &f, in.header.from);
        if (f.kind < FRAME_RAFT_FIRST || f.kind > FRAME_RAFT_LAST)
            continue;
        const struct raft *r = node_raft(h->node, f.group.group);
        if (r == NULL)
            continue;
        struct unheeded u = expect(a, r, &f, in.header.from);
        note(a, &u);
    }
}

/* ---- after ------------------------------------------------------------- */

static bool is_same(struct counted a, struct counted b)
{
    return a.heard_ms == b.heard_ms && a.match == b.match &&
           a.round == b.round && a.is_lost == b.is_lost;
}

void watch_fed(struct watch *a, struct host *h)
{
    for (uint32_t i = 0; i < a->unheeded_count; i++) {
        const struct unheeded *u = &a->unheeded[i];
        const struct raft *r = node_raft(h->node, u->group);
        if (r == NULL || u->why == UNHEEDED_NOT)
            continue;
        MUST_HOLD(a->w, R6C, raft_term(r) == u->term,
                  "n%u, which has a live leader in term %llu of group %u, "
                  "heeds a candidate's term %llu",
                  h->index + 1, ull(u->term), u->group, ull(raft_term(r)));
        if (u->why == UNHEEDED_ANSWER)
            MUST_HOLD(a->w, R12, is_same(count_of(r, u->from), u->counted),
                      "n%u, leader of group %u in term %llu, counts an answer "
                      "of another term",
                      h->index + 1, u->group, ull(u->term));
    }
}
