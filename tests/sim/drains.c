/* drains.c - see drains.h. */
#include "tests/sim/drains.h"

#include "tests/sim/user.h"
#include "tests/sim/watch.h"

/* A member that is in, drawn among them; SLOT_NONE: there is none. Not one that
 * still asks to be let in: it would hear FORGOTTEN to that, and rightly. */
static uint16_t draw_member(struct world *w, const struct record *r)
{
    uint32_t from = (uint32_t)world_draw(w, r->member_count - 1);
    for (uint32_t i = 0; i < r->member_count; i++) {
        uint32_t at = (from + i) % r->member_count;
        if (r->members[at].wanted == WANTED_IN &&
            host_of(w, r->members[at].node)->is_member)
            return (uint16_t)at;
    }
    return SLOT_NONE;
}

/* Without one more there are enough for N copies, wherever they are now. (Force
 * overrides the ring's own judgement of that.) */
static bool has_one_to_spare(const struct record *r)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < r->member_count; i++)
        count += r->members[i].wanted == WANTED_IN;
    return count > r->copies;
}

/* Up or down, with its folder or without: it has left at once, and the groups
 * that count on it walk away from it. */
static void remove_by_force(struct world *w, uint16_t slot,
                            const struct host *h)
{
    struct change c = {.kind = CHANGE_REMOVE, .slot = slot};
    fault_count(w, FAULT_REMOVE);
    world_fault(w, "%s is to be removed by force", h->name);
    user_drain(w->users[0], &c);
}

const struct host *drains_strike(struct world *w)
{
    const struct record *r = user_record(w->users[0]);
    uint16_t slot = r == NULL ? SLOT_NONE : draw_member(w, r);
    if (slot == SLOT_NONE)
        return NULL;
    const struct host *h = host_of(w, r->members[slot].node);
    if (fault_may(w, FAULT_REMOVE) && has_one_to_spare(r) &&
        rng_chance(&w->rng, 500)) {
        remove_by_force(w, slot, h);
        return NULL;
    }
    struct change c = {.kind = CHANGE_DRAIN, .slot = slot};
    fault_count(w, FAULT_DRAIN);
    world_fault(w, "%s is to be drained", h->name);
    user_drain(w->users[0], &c);
    return h;
}

void drains_undo(struct world *w, const struct host *h)
{
    const struct record *r = user_record(w->users[0]);
    uint16_t slot = r == NULL ? SLOT_NONE : record_slot(r, h->id);
    if (slot == SLOT_NONE || r->members[slot].wanted != WANTED_DRAINING)
        return;
    struct change c = {.kind = CHANGE_ADD, .slot = slot};
    fault_count(w, FAULT_DRAIN_UNDONE);
    world_fault(w, "n%u shall stay after all", h->index + 1);
    user_drain(w->users[0], &c);
}

bool drains_may_end(const struct host *h, int exit_code)
{
    struct world *w = h->w;
    if (exit_code != EXIT_FORGOTTEN || h->is_ghost ||
        w->totals.faults[FAULT_DRAIN] + w->totals.faults[FAULT_REMOVE] == 0)
        return false;
    for (uint32_t g = 0; g < w->plan.groups; g++)
        MUST_HOLD(w, T6, !watch_counts_on(w->watch, g, h),
                  "n%u is told that it has left, and group %u counts on it",
                  h->index + 1, g);
    return true;
}

void drains_ended(struct host *h)
{
    struct world *w = h->w;
    host_crash(h);
    host_lose(h);
    w->totals.crashes++; /* those that it was to have, it has not */
    fault_count(w, FAULT_LEFT);
}
