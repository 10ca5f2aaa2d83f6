/* node_fit.c - members that have no room for one more replica are unfit (L5).
 *
 * A leader would ask a full node for ever to take a copy, and the group stay at
 * one too few. So each node says by gossip that it is full (a byte of its meta;
 * none: it has room), and group 0's leader puts that in the next record: who is
 * unfit keeps what it has and is given nothing new. What it was to take, and
 * has not yet, goes to others, or waits until one of all has room. */
#include "node/node_impl.h"

#define META_FULL 1u
/* Room again is less than this: not at the same share to and fro. */
#define FIT_PERCENT (FULL_REPLICAS_PERCENT - 5u)

void node_fit_tick(struct node *n)
{
    uint32_t limit = n->is_unfit ? FIT_PERCENT : FULL_REPLICAS_PERCENT;
    const uint8_t meta = META_FULL;
    n->is_unfit = n->is_full || !node_uses_less(n, limit);
    swim_set_meta(&n->swim, span_of(&meta, n->is_unfit ? sizeof meta : 0));
}

/* What is known of it now; false: nothing, or it has just started, and may not
 * have looked at its disk yet. */
static bool knows(const struct node *n, uint16_t slot, bool *is_unfit)
{
    struct id128 node = n->ring->members[slot].node;
    struct span meta = swim_meta(&n->swim, node);
    *is_unfit = slot == n->slot
                    ? n->is_unfit
                    : meta.size > 0 && (meta.data[0] & META_FULL) != 0;
    return slot == n->slot ||
           (swim_state(&n->swim, node) == SWIM_ALIVE &&
            (*is_unfit ||
             node_has_timed_out(n->now_ms, swim_since_ms(&n->swim, node),
                                n->cfg.timing.back_after_ms)));
}

/* The fold shall start from who holds the groups that it was to come to. */
static void give_up_rows(const struct node *n, struct record *next,
                         uint16_t slot)
{
    for (uint32_t g = 0; g < n->group_count; g++) {
        const struct frame_standing *s = node_standing(n, g);
        uint16_t voters[REPLICAS_MAX];
        uint32_t count = 0;
        bool is_held = record_rank(next, g, slot) == REPLICAS_MAX;
        for (uint32_t i = 0; s != NULL && i < s->count; i++) {
            if (!s->is_voter[i] || s->slots[i] >= next->member_count)
                continue;
            voters[count++] = s->slots[i];
            is_held = is_held || s->slots[i] == slot;
        }
        if (!is_held && count > 0)
            record_keep_row(next, g, voters[0], voters, count);
    }
}

void node_fit_judge(struct node *n, struct record **next)
{
    for (uint16_t i = 0; i < n->ring->member_count; i++) {
        const struct member *m = &n->ring->members[i];
        bool is_unfit;
        if (m->wanted != WANTED_IN ||
            (m->seen != SEEN_UP && m->seen != SEEN_UNFIT) ||
            !knows(n, i, &is_unfit) || is_unfit == (m->seen == SEEN_UNFIT))
            continue;
        if (*next == NULL)
            *next = record_copy(n->ring);
        record_see(*next, i, is_unfit ? SEEN_UNFIT : SEEN_UP, n->wall_ms);
        if (is_unfit)
            give_up_rows(n, *next, i);
        node_log(n, is_unfit ? NODE_WARN : NODE_INFO,
                 is_unfit ? "node %s is nearly full: it gets no new copies"
                          : "node %s has room again for copies",
                 m->name);
    }
}
