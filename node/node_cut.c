/* node_cut.c - how far logs are cut.
 *
 * The leader says up to where nobody needs the log any more, its *floor*; its
 * heartbeats bring that to all (T23), and each replica cuts up to the least of
 * the floor and its own stored state (T24), in steps.
 *
 *   base            floor     stored   applied      last
 *    |-- to be cut --|----------|---------|-----------|
 *                    '-- LOG_KEEP_ENTRIES or LOG_KEEP_BYTES --'
 *
 * Kept besides is what a follower lacks, a dead one's, too: only the log brings
 * it up. But at most LOG_PINNED_TIMES as long, counted from where that follower
 * is (the *bound*): then space goes first, and the laggard is replaced when it
 * is back (T24, ring/walk.h). What others have held up is not counted against
 * it. A leader that has not heard of one yet takes it to be at the floor.
 *
 * A learner needs the log from the entry on whose state it is given; before, it
 * needs none, as it will be given what is stored then. Of one that has a part,
 * only the floor is known to be no higher, and so that stands still. While it
 * answers that it comes along (node_walk.c), it does so beyond the bound, too:
 * the pin (T23), over changes of leader. One begun anew would take no less, and
 * where more than the bound is written meanwhile, it would never end. The copy
 * ends, as what is copied is fixed when it begins; that a learner catches up
 * with writes that come faster than it takes them is not seen to (L6c).
 *
 * It costs manifests, no payload and no memory. A node that has no room for new
 * replicas (FULL_REPLICAS_PERCENT) keeps no more than the bound, for nobody and
 * whatever its leader says, and tells the reason. */
#include "node/node_impl.h"

/* Bytes of manifests between two marks. */
#define MARK_BYTES (LOG_KEEP_BYTES / 16)
#define MARKS_KEPT 16u
#define MARKS_MAX  (MARKS_KEPT * LOG_PINNED_TIMES)

void node_cut_applied(struct group *g, const struct item *item)
{
    g->manifest_bytes += item->manifest_size;
    if (g->manifest_bytes < MARK_BYTES)
        return;
    g->manifest_bytes = 0;
    *(uint64_t *)node_queue_push(&g->cut_marks) = item->index;
    if (g->cut_marks.count > MARKS_MAX)
        node_queue_pop(&g->cut_marks);
}

static uint64_t keep_entries(const struct node *n)
{
    return n->cfg.log_keep_entries != 0 ? n->cfg.log_keep_entries
                                        : LOG_KEEP_ENTRIES;
}

/* How many bytes the entries had that were there before the start, nobody knows
 * any more: taken is that those that are kept had LOG_KEEP_BYTES. A log that is
 * larger is then cut by more than is written, a smaller one by less, and so it
 * comes to that over any number of starts. */
void node_cut_loaded(const struct node *n, struct group *g)
{
    uint64_t base = raft_base(g->raft);
    uint64_t length = g->applied - base;
    uint64_t kept = max_u64(min_u64(length, keep_entries(n)), 1);
    uint64_t count = min_u64(length * MARKS_KEPT / kept, MARKS_MAX);
    for (uint64_t i = 0; i < count; i++)
        *(uint64_t *)node_queue_push(&g->cut_marks) = base + length * i / count;
}

/* ---- learners ---------------------------------------------------------- */

const struct guest *node_cut_guest(const struct group *g,
                                   struct replica learner)
{
    for (uint32_t i = 0; i < REPLICAS_MAX; i++)
        if (replica_equal(g->guests[i].replica, learner))
            return &g->guests[i];
    return NULL;
}

/* The learner's, or a new one in the place of who is no member any more. */
static struct guest *guest_of(struct group *g, struct replica learner)
{
    const struct config *config = raft_config(g->raft);
    struct guest *free = NULL;
    for (uint32_t i = 0; i < REPLICAS_MAX; i++) {
        if (replica_equal(g->guests[i].replica, learner))
            return &g->guests[i];
        if (free == NULL && config_find(config, g->guests[i].replica) == NULL)
            free = &g->guests[i];
    }
    if (free == NULL || config_find(config, learner) == NULL)
        return NULL;
    *free = (struct guest){.replica = learner};
    return free;
}

/* The floor is no higher here than it was where it was invited, and each has
 * all the time to be heard of again. */
void node_cut_led(struct node *n, struct group *g)
{
    const struct config *config = raft_config(g->raft);
    memset(g->guests, 0, sizeof g->guests);
    for (uint32_t i = 0; i < config->count; i++)
        if (!config->members[i].is_voter)
            g->guests[i] = (struct guest){.replica = config->members[i].replica,
                                          .held_ms = n->now_ms};
}

/* What it says that it holds nothing may have been said before the first piece
 * came. */
static bool is_given(const struct node *n, const struct guest *guest)
{
    return !node_has_timed_out(n->now_ms, guest->held_ms,
                               2 * n->cfg.timing.election_ms);
}

void node_cut_answered(struct node *n, struct group *g, struct replica learner,
                       enum err answer)
{
    struct guest *guest = guest_of(g, learner);
    if (guest == NULL)
        return;
    guest->answer = answer;
    guest->answered_ms = n->now_ms;
    if (answer == ERR_OK)
        guest->held_ms = n->now_ms;
    else if (answer != ERR_UNAVAILABLE && !is_given(n, guest))
        guest->held_ms = 0;
}

void node_cut_given(struct node *n, struct group *g, struct replica learner)
{
    struct guest *guest = guest_of(g, learner);
    if (guest != NULL)
        guest->held_ms = n->now_ms;
}

/* ---- the floor --------------------------------------------------------- */

/* As far as retention goes. */
static uint64_t surplus(const struct node *n, const struct group *g)
{
    uint64_t keep = keep_entries(n);
    uint64_t index = g->applied > keep ? g->applied - keep : 0;
    size_t marks = g->cut_marks.count;
    if (marks >= MARKS_KEPT)
        index = max_u64(index, *(uint64_t *)node_queue_at(&g->cut_marks,
                                                          marks - MARKS_KEPT));
    return min_u64(index, g->stored);
}

/* Who lacks more than what is behind this entry is too far behind. */
static uint64_t bound(const struct node *n, const struct group *g)
{
    uint64_t kept = keep_entries(n) * LOG_PINNED_TIMES;
    uint64_t index = g->applied > kept ? g->applied - kept : 0;
    if (g->cut_marks.count == MARKS_MAX)
        index = max_u64(index, *(uint64_t *)node_queue_at(&g->cut_marks, 0));
    return index;
}

static bool is_too_far(const struct node *n, const struct group *g,
                       const struct raft_progress *p)
{
    uint64_t floor = raft_floor(g->raft); /* 0: not heard since the start */
    uint64_t least = floor != 0 ? floor : raft_base(g->raft);
    return max_u64(p->match, least) < bound(n, g);
}

/* A learner that comes along. */
static bool has_pin(const struct node *n, const struct group *g,
                    const struct raft_progress *p)
{
    const struct guest *guest = node_cut_guest(g, p->replica);
    return RULE(T23) && !p->is_voter && guest != NULL && guest->held_ms != 0 &&
           !node_has_timed_out(n->now_ms, guest->held_ms,
                               4 * n->cfg.timing.orphan_ms);
}

static bool needs_log(const struct group *g, const struct raft_progress *p)
{
    const struct guest *guest = node_cut_guest(g, p->replica);
    return p->is_voter || (RULE(T23) && guest != NULL && guest->held_ms != 0);
}

/* What this follower has not got is kept. */
static bool is_waited_for(const struct node *n, const struct group *g,
                          const struct raft_progress *p)
{
    if (p->is_behind || p->is_lost || !needs_log(g, p))
        return false;
    return !is_too_far(n, g, p) || (has_pin(n, g, p) && node_has_room(n));
}

void node_cut_tick(struct node *n, struct group *g)
{
    uint64_t floor = surplus(n, g);
    const struct raft_progress *p;
    size_t count = raft_followers(g->raft, &p);
    for (size_t i = 0; i < count; i++) {
        bool is_live = p[i].heard_ms != 0 &&
                       !node_has_timed_out(n->now_ms, p[i].heard_ms,
                                           n->cfg.timing.election_ms);
        if (is_live && !p[i].is_voter)
            node_cut_given(n, g, p[i].replica);
        if (is_waited_for(n, g, &p[i]))
            floor = min_u64(floor, p[i].match);
    }
    raft_set_floor(g->raft, floor);
}

const char *node_cut_reason(const struct node *n, const struct group *g)
{
    static const char *const no_room =
        "this node is nearly full, and does not keep the log for as long as a "
        "copy takes: it may begin anew; free space on it";
    uint64_t floor = raft_floor(g->raft);
    if (raft_role(g->raft) != RAFT_LEADER)
        return !node_has_room(n) && floor > 0 && raft_base(g->raft) > floor
                   ? no_room
                   : NULL;
    const struct raft_progress *p;
    size_t count = raft_followers(g->raft, &p);
    bool is_pinned = false, is_long = false;
    for (size_t i = 0; i < count; i++) {
        bool has = has_pin(n, g, &p[i]) && !p[i].is_behind;
        is_pinned = is_pinned || has;
        is_long = is_long || (has && is_too_far(n, g, &p[i]));
    }
    if (is_pinned && !node_has_room(n))
        return no_room;
    return is_long ? "a learner is being installed, and the log is kept for it "
                     "beyond the bound of log-keep"
                   : NULL;
}

/* The next generation begins with an empty log (node_recover.c). */
static uint64_t cut_to(const struct node *n, const struct group *g)
{
    uint64_t stored = RULE(T24) ? g->stored : g->applied;
    uint64_t to = raft_floor(g->raft);
    if (!node_has_room(n))
        to = max_u64(to, bound(n, g));
    return g->is_founding ? stored : min_u64(to, stored);
}

uint64_t node_cut_next(const struct node *n, const struct group *g)
{
    uint64_t base = raft_base(g->raft);
    uint64_t to = cut_to(n, g);
    uint64_t step = g->is_founding ? 1 : keep_entries(n) / 8;
    if (g->is_being_founded || g->cut_pending > base || to <= base ||
        to - base < step)
        return 0;
    return min_u64(to, base + LOG_CUT_ENTRIES);
}
