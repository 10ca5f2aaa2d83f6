/* raft_follow.c - what a leader says, and what is said back (paper 5.3).
 *
 * An acknowledgement is not a message that waits: `matched` says how far the
 * log is known to equal this leader's, and min(matched, durable) is what may
 * be claimed. It is claimed when asked, and whenever it has grown (S10C). */
#include "ring/raft_impl.h"

/* The sender leads this term. */
static bool accept_leader(struct raft *r, const struct raft_msg *msg)
{
    if (r->role == RAFT_LEADER) {
        raft_drop(r); /* two in a term: not by our doing */
        return false;
    }
    raft_elect_follow(r, r->hard.term, msg->from);
    r->round_seen = max_u64(r->round_seen, msg->round);
    return true;
}

/* ---- acknowledging ----------------------------------------------------- */

static uint64_t claimable(const struct raft *r)
{
    if (!RULE(S10C))
        return r->matched;
    return min_u64(r->matched, r->log.durable_index);
}

static void acknowledge(struct raft *r)
{
    r->acked = claimable(r);
    r->has_acked = true;
    raft_post(r, &(struct raft_msg){
                     .kind = RAFT_APPEND_REPLY,
                     .to = r->leader,
                     .term = r->hard.term,
                     .granted = true,
                     .match = r->acked,
                     .round = r->round_seen,
                 });
}

void raft_follow_durable(struct raft *r)
{
    if (r->role == RAFT_FOLLOWER && !id_is_zero(r->leader.node) &&
        claimable(r) > r->acked)
        acknowledge(r);
}

/* With a hint, so that the leader skips a term at a time, not an entry (paper
 * 5.3, end). */
static void refuse(struct raft *r, const struct raft_msg *msg)
{
    uint64_t hint = raft_log_find(&r->log, msg->prev_index, msg->prev_term);
    raft_post(r, &(struct raft_msg){
                     .kind = RAFT_APPEND_REPLY,
                     .to = msg->from,
                     .term = r->hard.term,
                     .prev_index = msg->prev_index,
                     .hint_index = hint,
                     .hint_term = raft_log_term_at(&r->log, hint),
                     .round = r->round_seen,
                 });
}

/* ---- entries ----------------------------------------------------------- */

/* Puts the items after `prev`, which matches. What is there already stays: an
 * old, short append must not shorten a log that was acknowledged (S11C). */
static void take_items(struct raft *r, struct item **items, size_t count)
{
    size_t at = 0;
    if (RULE(S11C)) {
        while (at < count &&
               raft_log_term_at(&r->log, items[at]->index) == items[at]->term)
            at++;
    }
    if (at == count)
        return;
    if (items[at]->index <= r->log.last_index) {
        ASSERT(items[at]->index > r->commit);
        raft_log_truncate(&r->log, items[at]->index);
    }
    for (; at < count; at++)
        raft_log_append(&r->log, item_ref(items[at]));
}

/* The part of an append above `prev`, with what is committed here skipped:
 * that is the leader's too (leader completeness, paper 5.4.3). */
struct append {
    uint64_t prev;
    struct item **items;
    size_t count;
};

/* False if it would change what is committed. */
static bool skip_committed(const struct raft *r, struct append *a)
{
    if (a->prev >= r->commit)
        return true;
    size_t skip = (size_t)min_u64(r->commit - a->prev, a->count);
    for (size_t i = 0; i < skip; i++) {
        uint64_t index = a->items[i]->index;
        if (index >= r->log.base_index &&
            raft_log_term_at(&r->log, index) != a->items[i]->term)
            return false;
    }
    a->prev = r->commit;
    a->items += skip;
    a->count -= skip;
    return true;
}

void raft_follow_append(struct raft *r, const struct raft_msg *msg)
{
    if (!accept_leader(r, msg))
        return;
    struct append a = {msg->prev_index, msg->items, msg->item_count};
    if (!skip_committed(r, &a)) {
        raft_drop(r);
        return;
    }
    uint64_t prev_term = raft_log_term_at(&r->log, a.prev);
    if (msg->prev_index == a.prev &&
        (a.prev > r->log.last_index ||
         (RULE(R14) && prev_term != msg->prev_term))) {
        refuse(r, msg);
        return;
    }
    if (a.count > 0 && a.items[0]->term < prev_term) {
        raft_drop(r); /* terms never fall along a log */
        return;
    }
    take_items(r, a.items, a.count);
    uint64_t end = a.prev + a.count;
    r->matched = max_u64(r->matched, end);
    uint64_t commit =
        min_u64(msg->commit, RULE(S11D) ? end : r->log.last_index);
    if (commit > r->commit)
        raft_commit_to(r, commit);
    /* What is still being written is acknowledged when it is durable; the
     * first answer is given at once, so that the leader stops probing. */
    if (!r->has_acked || claimable(r) == r->matched)
        acknowledge(r);
}

void raft_follow_heartbeat(struct raft *r, const struct raft_msg *msg)
{
    if (!accept_leader(r, msg))
        return;
    /* S11: at most what this log has acknowledged, so it is the leader's. */
    uint64_t commit = min_u64(msg->commit, r->log.last_index);
    if (commit > r->commit)
        raft_commit_to(r, commit);
    raft_set_floor(r, min_u64(msg->floor, r->commit));
    raft_post(r, &(struct raft_msg){
                     .kind = RAFT_HEARTBEAT_REPLY,
                     .to = msg->from,
                     .term = r->hard.term,
                     .match = r->log.durable_index,
                     .round = msg->round,
                 });
}
