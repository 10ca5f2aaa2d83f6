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
 * Kept besides:
 *
 *   what a voter lacks, a dead one's, too: should it be needed for a quorum,
 *   only the log brings it up. But at most LOG_PINNED_TIMES as long: then space
 *   goes first, and the laggard is replaced when it is back (T24, ring/walk.h)
 *
 *   all since the invitation, while a learner answers that is being installed
 *   or catches up: the pin (T23). Its blob is at or above the floor, and the
 *   floor stands still, over changes of leader, too (node_group.c:
 *   role_changed). For as long as it takes: one begun anew would take no less,
 *   and where more than the bound is written meanwhile, it would never end. It
 *   costs manifests, no payload and no memory, and ends by itself: what is
 *   copied is fixed at the blob. Only where this node has no room for new
 *   replicas either (FULL_REPLICAS_PERCENT) does the bound of voters hold for
 *   learners, too, and the reason is told. */
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

/* So long that it waits for no voter any more. */
static bool is_full(const struct node *n, const struct group *g)
{
    uint64_t base = raft_base(g->raft);
    return g->applied - base > keep_entries(n) * LOG_PINNED_TIMES ||
           (g->cut_marks.count == MARKS_MAX &&
            *(uint64_t *)node_queue_at(&g->cut_marks, 0) > base);
}

static bool has_pin(const struct node *n, const struct group *g,
                    const struct raft_progress *p)
{
    return RULE(T23) && !p->is_voter &&
           !node_has_timed_out(n->now_ms, g->invited_ms,
                               4 * n->cfg.timing.orphan_ms);
}

/* What this follower has not got is kept. */
static bool is_waited_for(const struct node *n, const struct group *g,
                          const struct raft_progress *p)
{
    if (p->is_behind || p->is_lost)
        return false;
    if (!is_full(n, g))
        return p->is_voter || has_pin(n, g, p);
    return has_pin(n, g, p) && node_has_room(n);
}

void node_cut_tick(struct node *n, struct group *g)
{
    uint64_t floor = surplus(n, g);
    const struct raft_progress *p;
    size_t count = raft_followers(g->raft, &p);
    for (size_t i = 0; i < count; i++) {
        bool is_live = !node_has_timed_out(n->now_ms, p[i].heard_ms,
                                           n->cfg.timing.election_ms);
        if (is_live && !p[i].is_voter)
            g->invited_ms = n->now_ms;
        if (is_waited_for(n, g, &p[i]))
            floor = min_u64(floor, p[i].match);
    }
    raft_set_floor(g->raft, floor);
}

const char *node_cut_reason(const struct node *n, const struct group *g)
{
    const struct raft_progress *p;
    size_t count = raft_followers(g->raft, &p);
    bool is_pinned = false;
    for (size_t i = 0; i < count; i++)
        is_pinned = is_pinned || has_pin(n, g, &p[i]);
    return is_pinned && !node_has_room(n)
               ? "this node is nearly full, and does not keep the log for as "
                 "long as a copy takes: it may begin anew; free space on it"
               : NULL;
}

/* The next generation begins with an empty log (node_recover.c). */
static uint64_t cut_to(const struct group *g)
{
    uint64_t stored = RULE(T24) ? g->stored : g->applied;
    return g->is_founding ? stored : min_u64(raft_floor(g->raft), stored);
}

uint64_t node_cut_next(const struct node *n, const struct group *g)
{
    uint64_t base = raft_base(g->raft);
    uint64_t to = cut_to(g);
    uint64_t step = g->is_founding ? 1 : keep_entries(n) / 8;
    if (g->cut_pending > base || to <= base || to - base < step)
        return 0;
    return min_u64(to, base + LOG_CUT_ENTRIES);
}
