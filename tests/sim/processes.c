/* processes.c - see processes.h. */
#include "tests/sim/processes.h"

/* From one to the next of a rolling restart. */
#define ROLL_US 2000000u

/* Without state: a step that takes a while puts the next one on the heap. */
enum mishap { STOP, ROLL, PAUSE_MANY, MISHAP_COUNT };

static const enum fault KINDS[MISHAP_COUNT] = {
    [STOP] = FAULT_STOP,
    [ROLL] = FAULT_ROLLING,
    [PAUSE_MANY] = FAULT_PAUSE_MANY,
};

void processes_pause(struct host *h)
{
    struct world *w = h->w;
    host_pause(h);
    world_at(w, 1000 + world_draw(w, (uint64_t)w->plan.pause_ms * 1000),
             EVENT_RESUME, h->index, h->life, 0, NULL);
}

static void stop(struct host *h)
{
    if (host_is_up(h) && !h->is_paused)
        host_stop(h);
}

void processes_ended(struct host *h)
{
    struct world *w = h->w;
    host_crash(h); /* its memory is gone, as after any other end */
    world_at(w, 1000 + world_draw(w, (uint64_t)w->plan.down_ms * 1000),
             EVENT_RESTART, h->index, h->life, 0, NULL);
}

/* An upgrade: each is told to stop, and the next one when it may be back. */
static void roll(struct world *w, uint32_t index)
{
    stop(w->hosts[index]);
    if (index + 1 < w->host_count)
        world_at(w, world_draw(w, ROLL_US), EVENT_PROCESS, index + 1, 0, 0,
                 NULL);
}

static void pause_many(struct world *w)
{
    for (uint32_t i = 0; i < w->host_count; i++) {
        struct host *h = w->hosts[i];
        if (host_is_up(h) && !h->is_paused && rng_chance(&w->rng, 600))
            processes_pause(h);
    }
}

/* ---- events ------------------------------------------------------------ */

void processes_event(struct world *w, const struct event *e)
{
    if (w->is_chaos)
        roll(w, e->who);
}

static void befall(struct world *w, enum mishap what)
{
    switch (what) {
    case STOP:
        stop(w->hosts[world_draw(w, w->host_count - 1)]);
        return;
    case ROLL:
        roll(w, 0);
        return;
    case PAUSE_MANY:
        pause_many(w);
        return;
    case MISHAP_COUNT:
        break;
    }
    ASSERT(!"no such mishap");
}

void processes_strike(struct world *w)
{
    uint64_t at = world_draw(w, MISHAP_COUNT - 1);
    for (uint32_t i = 0; i < MISHAP_COUNT; i++) {
        enum mishap what = (enum mishap)((at + i) % MISHAP_COUNT);
        if (!fault_may(w, KINDS[what]))
            continue;
        world_fault(w, "%s", fault_words(KINDS[what]));
        fault_count(w, KINDS[what]);
        befall(w, what);
        return;
    }
}

void processes_heal(struct world *w)
{
    for (uint32_t i = 0; i < w->host_count; i++)
        if (w->hosts[i]->node != NULL && w->hosts[i]->is_stopping)
            host_crash(w->hosts[i]);
}
