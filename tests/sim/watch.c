/* watch.c - see watch.h: its life, each replica after a turn, questions. */
#include "tests/sim/watch_impl.h"

#define LOOK_AT_ALL_US 100000u
#define DECEIVED_MS    3000u

/* ---- life -------------------------------------------------------------- */

struct watch *watch_new(struct world *w)
{
    struct watch *a = mem_alloc(sizeof *a);
    a->w = w;
    for (uint32_t g = 1; g < a->w->plan.groups; g++)
        a->groups[g].reference = streams_new();
    return a;
}

static void variants_free(struct variant *v)
{
    while (v != NULL) {
        struct variant *next = v->next;
        buf_free(&v->manifest);
        mem_free(v->durable);
        mem_free(v);
        v = next;
    }
}

void watch_free(struct watch *a)
{
    for (uint32_t g = 0; g < a->w->plan.groups; g++) {
        struct group_watch *gw = &a->groups[g];
        for (size_t i = 0; i < gw->capacity; i++)
            variants_free(gw->slots[i].variants);
        mem_free(gw->slots);
        mem_free(gw->leads);
        mem_free(gw->votes);
        mem_free(gw->configs);
        mem_free(gw->digests);
        if (gw->reference != NULL)
            streams_free(gw->reference);
        for (uint32_t i = 0; i < HOSTS_MAX; i++)
            mem_free(a->hosts[i].disks[g].entries);
    }
    mem_free(a->epochs);
    record_free(a->record);
    buf_free(&a->images);
    mem_free(a);
}

/* ---- after a turn ------------------------------------------------------ */

static void check_monotone(struct watch *a, struct host *h, uint32_t group,
                           const struct claim *was, const struct claim *is)
{
    MUST_HOLD(a->w, I8, is->term >= was->term,
              "n%u goes back from term %llu of group %u to %llu", h->index + 1,
              ull(was->term), group, ull(is->term));
    MUST_HOLD(a->w, I10, is->commit >= was->commit,
              "n%u goes back from commit %llu of group %u to %llu",
              h->index + 1, ull(was->commit), group, ull(is->commit));
    MUST_HOLD(a->w, I11, is->applied >= was->applied,
              "n%u goes back from applied %llu of group %u to %llu",
              h->index + 1, ull(was->applied), group, ull(is->applied));
}

/* T19 among them: what is applied is on the own disk. And nobody believes more
 * of it to be there than is (S10). */
static void check_order(struct watch *a, struct host *h, uint32_t group,
                        const struct raft *r, uint64_t applied)
{
    const struct disk *d = &a->hosts[h->index].disks[group];
    uint64_t durable = raft_durable_index(r);
    MUST_HOLD(a->w, I17, durable <= d->count,
              "n%u takes entry %llu of group %u for durable, its disk ends at "
              "%zu",
              h->index + 1, ull(durable), group, d->count);
    MUST_HOLD(a->w, I7,
              raft_base(r) <= d->stored && d->stored <= applied &&
                  applied <= raft_commit(r) && applied <= durable &&
                  raft_commit(r) <= raft_last(r),
              "n%u, group %u: base %llu, stored %llu, applied %llu, durable "
              "%llu, commit %llu, last %llu",
              h->index + 1, group, ull(raft_base(r)), ull(d->stored),
              ull(applied), ull(durable), ull(raft_commit(r)),
              ull(raft_last(r)));
}

/* S9D: the configuration in force is the newest in this log. An entry that is
 * on no disk yet is known to its leader alone, in whose cache it is. */
static void check_config(struct watch *a, struct host *h, uint32_t group,
                         const struct raft *r)
{
    const struct group_watch *gw = &a->groups[group];
    uint64_t index = raft_config(r)->index;
    const struct item *own = raft_cached(r, index);
    bool is_own = own != NULL && own->kind == ENTRY_CONFIG;
    uint64_t newest = 0;
    for (size_t i = gw->config_count; i > 0; i--) {
        const struct config_seen *c = &gw->configs[i - 1];
        /* Below the base no terms are known: there it is the committed one. */
        const struct variant *v =
            watch_slot((struct group_watch *)gw, c->index)->committed;
        bool is_in_log = c->index > raft_base(r)
                             ? raft_term_at(r, c->index) == c->term
                             : v != NULL && v->term == c->term;
        if (is_in_log && c->index <= raft_last(r))
            newest = max_u64(newest, c->index);
    }
    MUST_HOLD(a->w, S9D,
              index <= raft_last(r) &&
                  (index == newest || (index > newest && is_own)),
              "n%u, group %u: configuration %llu is in force, the newest in "
              "its log is %llu",
              h->index + 1, group, ull(index), ull(newest));
}

/* A leader's idea of what its followers have: each has had that very entry on
 * its disk (S4, S10C, R12). */
static void check_matches(struct watch *a, struct host *h, uint32_t group,
                          const struct raft *r)
{
    const struct raft_progress *p;
    size_t count = raft_followers(r, &p);
    for (size_t i = 0; i < count; i++) {
        uint64_t match = p[i].match;
        if (match == 0)
            continue;
        /* Below the base its log has no terms: there it is the committed one.
         */
        const struct variant *v =
            match < raft_base(r)
                ? watch_slot(&a->groups[group], match)->committed
                : watch_variant(&a->groups[group], match,
                                raft_term_at(r, match));
        MUST_HOLD(a->w, S4, v != NULL && watch_was_durable(v, p[i].replica),
                  "n%u, leader of group %u in term %llu, believes that "
                  "%s+%llu has entry %llu of term %llu",
                  h->index + 1, group, ull(raft_term(r)),
                  host_of(a->w, p[i].replica.node)->name,
                  ull(p[i].replica.added), ull(match),
                  ull(raft_term_at(r, match)));
    }
}

static bool has_lost_one(const struct raft *r)
{
    const struct raft_progress *p;
    size_t count = raft_followers(r, &p);
    bool has = false;
    for (size_t i = 0; i < count; i++)
        has = has || p[i].is_lost || p[i].is_behind;
    return has;
}

static uint64_t sum_of_matches(const struct raft *r)
{
    const struct raft_progress *p;
    size_t count = raft_followers(r, &p);
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += p[i].match;
    return sum;
}

/* R7: whoever has not heard of a majority for long does not lead. */
static void check_heard(struct watch *a, struct host *h, uint32_t group,
                        const struct raft *r)
{
    const struct raft_progress *p;
    size_t count = raft_followers(r, &p);
    uint32_t heard = 1;
    uint64_t patience = 2 * (uint64_t)a->w->plan.timing.election_ms;
    for (size_t i = 0; i < count; i++)
        heard += p[i].is_voter && world_ms(a->w) <= p[i].heard_ms + patience;
    MUST_HOLD(a->w, R7, heard > config_voters(raft_config(r)) / 2,
              "n%u leads group %u and has heard of no majority for two "
              "election timeouts",
              h->index + 1, group);
}

/* S6D: whoever hears of a follower finds out that it has lost its log. */
static void check_deceived(struct watch *a, struct host *h, uint32_t group,
                           const struct raft *r)
{
    const struct raft_progress *p;
    size_t count = raft_followers(r, &p);
    uint64_t *since = &a->hosts[h->index].deceived_ms[group];
    uint64_t now = world_ms(a->w);
    bool is_deceived = false;
    for (size_t i = 0; i < count; i++) {
        const struct host *f = host_of(a->w, p[i].replica.node);
        const struct disk *d = &a->hosts[f->index].disks[group];
        is_deceived = is_deceived ||
                      (d->is_there && d->added == p[i].replica.added &&
                       d->count < p[i].match &&
                       now < p[i].heard_ms + a->w->plan.timing.heartbeat_ms);
    }
    if (!is_deceived)
        *since = 0;
    else if (*since == 0)
        *since = now;
    MUST_HOLD(a->w, S6D, *since == 0 || now < *since + DECEIVED_MS,
              "n%u, leader of group %u in term %llu, hears a follower that "
              "has lost what it acknowledged, and goes on counting it",
              h->index + 1, group, ull(raft_term(r)));
}

static bool has_accepted(const struct watch *a, const struct host *h,
                         uint32_t group, struct replica learner)
{
    const struct accepted *all = a->hosts[h->index].accepted[group];
    for (uint32_t i = 0; i < REPLICAS_MAX; i++)
        if (all[i].at_ms != 0 && replica_equal(all[i].learner, learner))
            return world_ms(a->w) <= all[i].at_ms + a->w->plan.timing.orphan_ms;
    return false;
}

/* T23: what a learner lacks that has answered is cut nowhere, unless there is
 * no room. */
static void check_pin(struct watch *a, struct host *h, uint32_t group,
                      const struct raft *r, struct claim *was)
{
    const struct raft_progress *p;
    size_t count = raft_followers(r, &p);
    uint64_t floor = raft_floor(r);
    bool has_risen = floor > was->floor && was->role == RAFT_LEADER &&
                     was->term == raft_term(r);
    was->floor = floor;
    if (!has_risen || a->w->totals.faults[FAULT_FULL_DISK] > 0)
        return;
    for (size_t i = 0; i < count; i++)
        MUST_HOLD(a->w, T23,
                  p[i].is_voter || p[i].is_behind || p[i].is_lost ||
                      !has_accepted(a, h, group, p[i].replica) ||
                      floor <= p[i].match,
                  "n%u, leader of group %u, lets the log be cut up to %llu; a "
                  "learner that has answered lacks what is behind %llu",
                  h->index + 1, group, ull(floor), ull(p[i].match));
}

/* True if it has begun to lead. */
static bool look_at(struct watch *a, struct host *h, uint32_t group,
                    const struct raft *r)
{
    if (a->groups[group].is_anew || raft_has_ended(r)) {
        watch_anew_look(a, h, group, r);
        return false;
    }
    struct claim *was = &a->hosts[h->index].claims[group];
    struct claim is = {.added = a->hosts[h->index].disks[group].added,
                       .role = raft_role(r),
                       .term = raft_term(r),
                       .commit = raft_commit(r),
                       .applied = node_applied(h->node, group),
                       .leader = raft_leader(r).node,
                       .matches = sum_of_matches(r),
                       .config = raft_config(r)->index,
                       .has_lost = has_lost_one(r),
                       .floor = raft_floor(r)};
    if (was->added != is.added)
        *was = (struct claim){.added = is.added};
    if (is.role == RAFT_LEADER) {
        check_heard(a, h, group, r);
        check_pin(a, h, group, r, was);
        if (a->w->totals.faults[FAULT_ROLL_BACK_LOG] > 0)
            check_deceived(a, h, group, r);
    } else {
        a->hosts[h->index].deceived_ms[group] = 0;
        memset(a->hosts[h->index].accepted[group], 0,
               sizeof a->hosts[h->index].accepted[group]);
    }
    if (was->role == is.role && was->term == is.term &&
        was->commit == is.commit && was->applied == is.applied &&
        was->matches == is.matches && was->config == is.config &&
        was->has_lost == is.has_lost && id_equal(was->leader, is.leader))
        return false;
    if (is.role == RAFT_FOLLOWER && !id_is_zero(is.leader))
        watch_note_leader(a, group, is.term, raft_leader(r));
    if (was->matches != is.matches)
        check_matches(a, h, group, r);
    check_config(a, h, group, r);
    check_monotone(a, h, group, was, &is);
    check_order(a, h, group, r, is.applied);
    if (is.role == RAFT_LEADER)
        watch_change_led(a, h, group, r, was);
    bool has_begun = is.role == RAFT_LEADER &&
                     (was->role != RAFT_LEADER || was->term != is.term);
    if (has_begun) {
        watch_note_leader(a, group, is.term, (struct replica){h->id, is.added});
        watch_complete(a, h, group, r);
    }
    if (is.commit > was->commit)
        watch_commit_risen(a, h, group, r, was->commit);
    if (is.applied > was->applied)
        watch_applied_risen(a, h, group, is.applied);
    *was = is;
    raft_check(r);
    return has_begun;
}

static bool is_epoch(struct epoch a, struct epoch b)
{
    return a.counter == b.counter && a.tag == b.tag && a.number == b.number;
}

static void look_at_record(struct watch *a, struct host *h)
{
    const struct record *r = node_record(h->node);
    struct epoch *last = &a->hosts[h->index].epoch;
    if (is_epoch(r->epoch, *last))
        return;
    MUST_HOLD(a->w, I11, epoch_compare(r->epoch, *last) > 0,
              "n%u's ring record goes back from epoch %llu to %llu",
              h->index + 1, ull(last->number), ull(r->epoch.number));
    *last = r->epoch;
    h->last_epoch = r->epoch.number;
    struct record *bare = record_copy(r);
    struct buf bytes = {0};
    bare->answer_count = 0; /* group 0's memory, not the ring's (record.h) */
    record_encode(bare, &bytes);
    uint64_t hash = hash64(span_buf(&bytes));
    record_free(bare);
    buf_free(&bytes);
    for (size_t i = 0; i < a->epoch_count; i++) {
        if (!is_epoch(a->epochs[i].epoch, r->epoch))
            continue;
        MUST_HOLD(a->w, I4, a->epochs[i].hash == hash,
                  "n%u has another ring record %llu", h->index + 1,
                  ull(r->epoch.number));
        return;
    }
    watch_change_record(a, a->record, r);
    record_free(a->record);
    a->record = record_copy(r);
    a->epochs = mem_resize(a->epochs, (a->epoch_count + 1) * sizeof *a->epochs);
    a->epochs[a->epoch_count++] = (struct epoch_seen){r->epoch, hash};
    for (uint32_t i = 0; i < r->member_count; i++)
        if (r->members[i].seen_since_ms == r->changed_ms)
            a->w->totals.outs += r->members[i].seen == SEEN_OUT;
}

/* Of those that had a turn; now and then of all, so that none changes unseen
 * without one, and none stands still (R7). */
static uint64_t to_look_at(struct watch *a, struct host *h, uint32_t word)
{
    struct host_watch *hw = &a->hosts[h->index];
    uint32_t left = a->w->plan.groups - word * 64;
    uint64_t all = left >= 64 ? UINT64_MAX : (UINT64_C(1) << left) - 1;
    return a->w->now_us >= hw->all_at_us ? all : node_turned(h->node)[word];
}

bool watch_wake(struct watch *a, struct host *h)
{
    struct host_watch *hw = &a->hosts[h->index];
    a->doings.began_count = 0;
    for (uint32_t word = 0; word * 64 < a->w->plan.groups; word++) {
        for (uint64_t left = to_look_at(a, h, word); left != 0;
             left &= left - 1) {
            uint32_t g = word * 64 + (uint32_t)__builtin_ctzll(left);
            const struct raft *r = node_raft(h->node, g);
            if (r != NULL && look_at(a, h, g, r))
                a->doings.began[a->doings.began_count++] = g;
        }
    }
    if (a->w->now_us >= hw->all_at_us)
        hw->all_at_us = a->w->now_us + LOOK_AT_ALL_US;
    look_at_record(a, h);
    watch_view(a, h);
    return a->doings.began_count > 0;
}

bool watch_has_begun(const struct watch *a, uint32_t group)
{
    for (uint32_t i = 0; i < a->doings.began_count; i++)
        if (a->doings.began[i] == group)
            return true;
    return false;
}

uint32_t watch_handed_over(struct watch *a)
{
    uint32_t group = a->doings.handed_over;
    a->doings.handed_over = 0;
    return group;
}

void watch_started(struct watch *a, struct host *h)
{
    struct host_watch *hw = &a->hosts[h->index];
    memset(hw->claims, 0, sizeof hw->claims);
    memset(hw->views, 0, sizeof hw->views);
    hw->news_count = 0;
    hw->all_at_us = 0;
    h->last_epoch = 0;
    hw->epoch = (struct epoch){0};
    MUST_HOLD(a->w, I15, h->boot > hw->newest_boot,
              "n%u starts with boot %llu again", h->index + 1, ull(h->boot));
    hw->newest_boot = h->boot;
}

void watch_crashed(struct watch *a, struct host *h)
{
    memset(a->hosts[h->index].claims, 0, sizeof a->hosts[h->index].claims);
}

/* What a founding stores is committed by definition. */
void watch_founded(struct watch *a)
{
    for (uint32_t g = 0; g < a->w->plan.groups; g++)
        watch_commit(a, g, watch_slot(&a->groups[g], 1)->variants, 1);
}

/* ---- questions --------------------------------------------------------- */

struct host *watch_leader(const struct watch *a, uint32_t group)
{
    struct host *leader = NULL;
    uint64_t term = 0;
    for (uint32_t i = 0; i < a->w->host_count; i++) {
        struct host *h = a->w->hosts[i];
        const struct raft *r = h->node == NULL || !world_in_core(a->w, i)
                                   ? NULL
                                   : node_raft(h->node, group);
        if (r == NULL || h->is_ghost || raft_role(r) != RAFT_LEADER ||
            raft_term(r) < term)
            continue;
        leader = h;
        term = raft_term(r);
    }
    return leader;
}

uint64_t watch_idle_terms(const struct watch *a, uint32_t group)
{
    uint64_t newest = 0;
    for (uint32_t i = 0; i < a->w->host_count; i++)
        newest = max_u64(newest, a->hosts[i].disks[group].hard.term);
    uint64_t led = a->groups[group].lead_count;
    return newest > led ? newest - led : 0;
}

uint64_t watch_elections(const struct watch *a, uint32_t group)
{
    return a->groups[group].lead_count;
}
