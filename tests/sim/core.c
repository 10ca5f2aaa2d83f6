/* core.c - see core.h. */
#include "tests/sim/core.h"

#include "tests/sim/faults.h"
#include "tests/sim/folder_faults.h"
#include "tests/sim/mesh.h"
#include "tests/sim/watch.h"

/* ---- who is in it ------------------------------------------------------ */

/* Those that will never run again; and, if asked for, those that may end any
 * time, as their folders are bad and nobody has noticed, and those that may
 * lack the payload of what they alone would have in a smaller core (seed 708 of
 * a04c58a). */
static uint32_t lost(const struct world *w, bool is_bad_too)
{
    uint32_t lost = 0;
    for (uint32_t i = 0; i < w->host_count; i++) {
        const struct host *h = w->hosts[i];
        if (h->is_lost || h->is_ghost ||
            (is_bad_too && (h->is_rotten || h->is_damaged)))
            lost |= 1u << i;
    }
    return lost;
}

static bool have_quorums(const struct world *w, uint32_t core)
{
    for (uint32_t g = 0; g < w->plan.groups; g++)
        if (!watch_has_quorum(w->watch, g, core))
            return false;
    return true;
}

static bool is_enough(const struct world *w, uint32_t core)
{
    return have_quorums(w, core & ~lost(w, true));
}

/* As few as can be, or a few more. A host that has not joined yet stays: it
 * will, and then it must be one of them. */
static uint32_t draw(struct world *w)
{
    uint32_t core = world_all(w) & ~lost(w, false);
    uint32_t spared = (uint32_t)world_draw(w, 400);
    uint32_t from = (uint32_t)world_draw(w, w->host_count - 1);
    if (!is_enough(w, core))
        return core;
    for (uint32_t i = 0; i < w->host_count; i++) {
        uint32_t at = (from + i) % w->host_count;
        uint32_t without = core & ~(1u << at);
        if (core >> at & 1 && w->hosts[at]->is_member &&
            !rng_chance(&w->rng, spared) && is_enough(w, without))
            core = without;
    }
    return core;
}

bool core_is_beyond(const struct world *w)
{
    bool has_rotted = false;
    for (uint32_t i = 0; i < w->host_count; i++)
        has_rotted |= w->hosts[i]->is_lost && w->hosts[i]->is_rotten;
    return has_rotted && !have_quorums(w, world_all(w) & ~lost(w, false));
}

bool core_is_short(struct world *w)
{
    return !is_enough(w, w->core);
}

/* ---- what becomes of the others ---------------------------------------- */

static void cut_off(struct world *w, const struct host *h, int by)
{
    for (uint32_t i = 0; i < HOSTS_MAX; i++) {
        if (i == h->index)
            continue;
        struct line *to = mesh_line(w, mesh_host(i), mesh_host(h->index));
        struct line *from = mesh_line(w, mesh_host(h->index), mesh_host(i));
        to->cuts = (uint16_t)(to->cuts + by);
        from->cuts = (uint16_t)(from->cuts + by);
    }
}

static void let_go(struct world *w, struct host *h)
{
    fault_count(w, FAULT_GONE);
    bool is_cut_off = h->node != NULL && rng_chance(&w->rng, 400);
    world_fault(w, "n%u is %s for good", h->index + 1,
                is_cut_off ? "CUT OFF" : "DEAD");
    if (is_cut_off) {
        h->is_cut_off = true;
        cut_off(w, h, 1);
    } else if (h->node != NULL) {
        host_crash(h);
    } else {
        h->life++; /* nor will it start again */
    }
}

void core_begin(struct world *w)
{
    uint32_t all = world_all(w) & ~lost(w, false);
    w->core = w->plan.has[FAULT_GONE] ? draw(w) : all;
    for (uint32_t i = 0; i < w->host_count; i++)
        if (all >> i & 1 && !world_in_core(w, i))
            let_go(w, w->hosts[i]);
    if (w->copy != NULL && w->copy == w->ghost &&
        !world_in_core(w, host_of(w, w->copy->id)->index))
        folder_faults_ended(w->copy); /* the two are one machine */
    faults_heal(w->faults);
}

void core_widen(struct world *w)
{
    for (uint32_t i = 0; i < w->host_count; i++) {
        struct host *h = w->hosts[i];
        if (h->is_cut_off)
            cut_off(w, h, -1);
        h->is_cut_off = false;
    }
    w->core = world_all(w) & ~lost(w, false);
    faults_heal(w->faults);
}
