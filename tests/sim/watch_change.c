/* watch_change.c - who may be a member of a group, and when that may change;
 * see watch.h. A leader proposes in the turn in which the configuration in
 * force becomes another one of its own term: what it knew then is still there
 * when the turn is over, but for what came in meanwhile, so that each check
 * takes the lesser of before and after. */
#include "ring/limits.h"
#include "ring/placement.h"
#include "tests/sim/watch_impl.h"

/* As in ring/raft_change.c: so far behind a learner is in the stream of new
 * entries. */
#define PROMOTE_LAG 64u

/* DESIGN 4: 1.5 times the least in any one step. What is known here is a lower
 * bound of that: in a small ring the least itself may be some copies more. */
#define MOVES_SLACK 4u

/* ---- stored ------------------------------------------------------------ */

static bool has_committed(const struct group_watch *gw, uint64_t index,
                          uint64_t term)
{
    uint64_t i = min_u64(gw->committed, index - 1);
    while (i > 0 && gw->slots[i].committed->term > term)
        i--;
    return i > 0 && gw->slots[i].committed->term == term;
}

/* The newest configuration that this disk has. */
static const struct variant *newest_config(const struct group_watch *gw,
                                           const struct disk *d,
                                           uint64_t *index)
{
    const struct variant *newest = NULL;
    *index = 0;
    for (size_t i = 0; i < gw->config_count; i++) {
        const struct config_seen *c = &gw->configs[i];
        if (c->index > d->count || c->index < *index ||
            d->entries[c->index - 1]->term != c->term)
            continue;
        *index = c->index;
        newest = d->entries[c->index - 1];
    }
    return newest;
}

void watch_change_stored(struct watch *a, struct host *h, uint32_t group,
                         const struct item *item)
{
    const struct group_watch *gw = &a->groups[group];
    uint64_t index;
    if (item->kind != ENTRY_CONFIG || item->index == 1)
        return;
    /* Ongaro 2015: else it may be a sibling of another change. */
    MUST_HOLD(a->w, S9A, has_committed(gw, item->index, item->term),
              "configuration %llu of group %u was proposed in term %llu before "
              "an entry of that term was committed",
              ull(item->index), group, ull(item->term));
    const struct variant *before =
        newest_config(gw, &a->hosts[h->index].disks[group], &index);
    if (before == NULL)
        return;
    MUST_HOLD(a->w, S9B, gw->slots[index].committed == before,
              "configuration %llu of group %u was proposed before "
              "configuration %llu was committed",
              ull(item->index), group, ull(index));
    struct entry_header was, is;
    if (entry_read_header(span_buf(&before->manifest), &was) != ERR_OK ||
        entry_read_header(item_manifest(item), &is) != ERR_OK)
        world_fail(a->w, SIM_SAFETY, "entry %llu of group %u makes no sense",
                   ull(item->index), group);
    MUST_HOLD(a->w, T29, epoch_compare(is.stamp.epoch, was.stamp.epoch) >= 0,
              "configuration %llu of group %u was made by epoch %llu; the one "
              "before it by epoch %llu",
              ull(item->index), group, ull(is.stamp.epoch.number),
              ull(was.stamp.epoch.number));
}

/* ---- led --------------------------------------------------------------- */

static const struct raft_progress *progress_of(const struct raft *r,
                                               struct replica replica)
{
    const struct raft_progress *p;
    size_t count = raft_followers(r, &p);
    for (size_t i = 0; i < count; i++)
        if (replica_equal(p[i].replica, replica))
            return &p[i];
    return NULL;
}

/* T14: else its own entry could not commit. The machine's time is that of its
 * last input, so that its idea of who is live is up to a heartbeat old. */
static void check_live(struct watch *a, struct host *h, uint32_t group,
                       const struct raft *r, const struct claim *was)
{
    const struct config *c = raft_config(r);
    const struct node_timing *t = &a->w->plan.timing;
    uint32_t live = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        const struct config_member *m = &c->members[i];
        const struct raft_progress *p = progress_of(r, m->replica);
        bool is_self = id_equal(m->replica.node, h->id);
        bool is_live =
            p != NULL && p->match >= was->commit &&
            world_ms(a->w) < p->heard_ms + t->election_ms + t->heartbeat_ms;
        live += m->is_voter && (is_self || is_live);
    }
    MUST_HOLD(a->w, T14, live > config_voters(c) / 2,
              "n%u, leader of group %u, proposes configuration %llu, of whose "
              "%u voters %u are live and matched",
              h->index + 1, group, ull(c->index), config_voters(c), live);
}

/* Its disk has what it is to vote about. */
static bool is_ready(const struct watch *a, uint32_t group,
                     const struct claim *was, struct replica r)
{
    const struct host *h = host_of(a->w, r.node);
    const struct disk *d = &a->hosts[h->index].disks[group];
    return d->is_there && d->added == r.added && d->count > 0 &&
           d->count + PROMOTE_LAG >= was->commit;
}

static uint32_t ready_learners(const struct watch *a, uint32_t group,
                               const struct claim *was, const struct config *c)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->count; i++)
        count += !c->members[i].is_voter &&
                 is_ready(a, group, was, c->members[i].replica);
    return count;
}

/* One step from what was committed when it was proposed. */
static void check_step(struct watch *a, struct host *h, uint32_t group,
                       const struct config *next, const struct claim *was)
{
    const struct config *now = &a->groups[group].config;
    uint32_t voters = config_voters(now), row_count;
    uint32_t learners = ready_learners(a, group, was, next);
    bool has_grown = false;
    if (now->index != was->config)
        return;
    for (uint32_t i = 0; i < next->count; i++) {
        struct replica r = next->members[i].replica;
        const struct config_member *m = config_find(now, r);
        if (m == NULL || m->is_voter || !next->members[i].is_voter)
            continue;
        has_grown = true;
        MUST_HOLD(a->w, R3, is_ready(a, group, was, r),
                  "%s is to be promoted in group %u; committed are %llu, and "
                  "its disk has less",
                  host_of(a->w, r.node)->name, group, ull(was->commit));
    }
    const struct record *record = node_record(h->node);
    (void)record_row(record, group, &row_count);
    if (record->epoch.number != h->last_epoch) /* it may have been another */
        return;
    MUST_HOLD(a->w, T16, !has_grown || voters > 1 || row_count < 3 || learners,
              "group %u, whose row has %u, is to grow from one voter to two, "
              "and nobody is ready to be the third",
              group, row_count);
    bool has_shrunk = config_voters(next) < voters;
    MUST_HOLD(a->w, S2,
              !has_shrunk || voters > row_count || learners || was->has_lost,
              "group %u, whose row has %u, is to lose one of %u voters, and no "
              "learner is ready to take its place",
              group, row_count, voters);
}

/* T15: what is judged lost was acknowledged in this very term, and is not on
 * the disk. */
static void check_lost(struct watch *a, struct host *h, uint32_t group,
                       const struct raft *r)
{
    const struct raft_progress *p;
    size_t count = raft_followers(r, &p);
    for (size_t i = 0; i < count; i++) {
        const struct host *other = host_of(a->w, p[i].replica.node);
        const struct host_watch *hw = &a->hosts[other->index];
        const struct disk *d = &hw->disks[group];
        const struct acked *acked = &hw->acked[group];
        bool is_whole = d->is_there && d->added == p[i].replica.added &&
                        (acked->term != raft_term(r) ||
                         acked->added != d->added || acked->match <= d->count);
        /* What is cut from the leader's log is not on its disk. */
        uint64_t base = raft_base(r);
        bool is_short = base == 0 || !d->is_there ||
                        d->added != p[i].replica.added || d->count < base ||
                        d->entries[base - 1]->term != raft_term_at(r, base);
        MUST_HOLD(a->w, S2, !p[i].is_behind || (base > 0 && is_short),
                  "n%u, leader of group %u, believes that n%u is behind its "
                  "log, which begins behind %llu; its disk ends at %zu",
                  h->index + 1, group, other->index + 1, ull(base), d->count);
        MUST_HOLD(a->w, T15C, !p[i].is_lost || !is_whole,
                  "n%u, leader of group %u, believes that n%u has lost what it "
                  "acknowledged; its disk ends at %zu, it acknowledged %llu",
                  h->index + 1, group, other->index + 1, d->count,
                  ull(acked->match));
    }
}

void watch_change_led(struct watch *a, struct host *h, uint32_t group,
                      const struct raft *r, const struct claim *was)
{
    const struct config *c = raft_config(r);
    struct replica self = {h->id, a->hosts[h->index].disks[group].added};
    const struct config_member *m = config_find(c, self);
    MUST_HOLD(a->w, S9E, m != NULL && m->is_voter,
              "n%u leads group %u and is no voter in configuration %llu",
              h->index + 1, group, ull(c->index));
    check_lost(a, h, group, r);
    if (c->index == was->config || was->role != RAFT_LEADER ||
        was->term != raft_term(r) || c->index <= was->commit ||
        raft_term_at(r, c->index) != was->term)
        return;
    check_live(a, h, group, r, was);
    check_step(a, h, group, c, was);
}

/* ---- the ring ---------------------------------------------------------- */

static bool is_near(uint64_t a_ms, uint64_t b_ms)
{
    return (a_ms > b_ms ? a_ms - b_ms : b_ms - a_ms) < OUT_WINDOW_MS;
}

/* The fold of one that calls somebody back, or finds somebody full, starts from
 * who still holds the groups, not from the rows (T28, L5). */
static bool starts_from_holders(const struct record *before,
                                const struct record *next)
{
    for (uint32_t i = 0; i < before->member_count; i++) {
        const struct member *old = &before->members[i];
        const struct member *new = &next->members[i];
        if ((old->seen == SEEN_OUT && new->seen == SEEN_UP) ||
            (old->seen != SEEN_UNFIT && new->seen == SEEN_UNFIT) ||
            (old->wanted == WANTED_DRAINING && new->wanted == WANTED_IN))
            return true;
    }
    return false;
}

/* L2: a record moves hardly more copies than it must. */
static void check_moves(struct watch *a, const struct record *before,
                        const struct record *next)
{
    struct placement_member list[MEMBERS_MAX];
    struct placement_table from, to;
    if (starts_from_holders(before, next))
        return;
    (void)record_placement(before, list, &from);
    size_t count = record_placement(next, list, &to);
    uint32_t moves = placement_moves(&from, &to);
    uint32_t least = placement_moves_least(&from, list, count, next->copies);
    a->w->totals.moves += moves;
    a->w->totals.moves_least += least;
    MUST_HOLD(a->w, L2, moves * 2 <= least * 3 + 2 * MOVES_SLACK,
              "record %llu moves %u copies; at least %u must be",
              ull(next->epoch.number), moves, least);
}

/* T27: by the times in the records, whoever's clock wrote them. */
void watch_change_record(struct watch *a, const struct record *before,
                         const struct record *next)
{
    uint32_t fresh = 0, recent = 0;
    if (before == NULL || before->epoch.number + 1 != next->epoch.number)
        return;
    for (uint32_t i = 0; i < before->member_count; i++) {
        const struct member *old = &before->members[i];
        if (old->seen != SEEN_OUT)
            fresh += next->members[i].seen == SEEN_OUT;
        else
            recent += is_near(next->changed_ms, old->seen_since_ms);
    }
    check_moves(a, before, next);
    uint64_t most = max_u64(1, before->member_count * OUT_PERCENT / 100u);
    MUST_HOLD(a->w, T27, fresh == 0 || fresh + recent <= most,
              "by record %llu %u of %u members go out by themselves, %u have "
              "within an hour",
              ull(next->epoch.number), fresh, before->member_count, recent);
}
