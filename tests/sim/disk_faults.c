/* disk_faults.c - see disk_faults.h. */
#include "tests/sim/disk_faults.h"

#include "tests/sim/faults.h"
#include "tests/sim/folder_faults.h"

#define YEAR_MS (365ll * 24 * 3600 * 1000)

/* What EVENT_LATER's number says (or a fault, of folder_faults.h); its life is
 * what is left to do. */
enum later { LATER_FLAP = FAULT_COUNT, LATER_ROOM };

/* ---- which, how often -------------------------------------------------- */

/* At most so many in a minute. */
static uint32_t most_of(enum fault kind)
{
    switch ((int)kind) {
    case FAULT_MASS_RESTART:
        return 1;
    case FAULT_FLAP:
        return 2;
    case FAULT_STARVE:
    case FAULT_SLOW_DISK:
    case FAULT_FULL_DISK:
    case FAULT_COMMIT_NEVER:
    case FAULT_COMMIT_FAILED:
    case FAULT_COMMIT_DOUBT:
    case FAULT_READ_ERROR:
    case FAULT_CLOCK_FORWARD:
    case FAULT_CLOCK_BACK:
    case FAULT_CLOCK_DRIFT:
    case FAULT_CLOCK_STOP:
        return 3;
    }
    return folder_faults_most(kind);
}

uint32_t disk_faults_count(struct world *w, enum fault kind, uint64_t during_ms)
{
    uint32_t most = most_of(kind);
    if (most == 0)
        return 0;
    uint64_t count = 1 + world_draw(w, most - 1);
    return (uint32_t)((count * during_ms + 59999) / 60000);
}

static struct host *any_up(struct world *w)
{
    uint32_t at = (uint32_t)world_draw(w, w->host_count - 1);
    for (uint32_t i = 0; i < w->host_count; i++) {
        struct host *h = w->hosts[(at + i) % w->host_count];
        if (host_is_up(h))
            return h;
    }
    return NULL;
}

/* ---- processes --------------------------------------------------------- */

uint64_t disk_faults_down_us(struct world *w)
{
    if (fault_strikes(w, FAULT_RESTART_FAST, 250))
        return world_draw(w, 20000);
    if (fault_strikes(w, FAULT_RESTART_SLOW, 150))
        return 5000000 + world_draw(w, 15000000);
    return world_draw(w, (uint64_t)w->plan.down_ms * 1000);
}

static void mass_restart(struct world *w)
{
    fault_count(w, FAULT_MASS_RESTART);
    for (uint32_t i = 0; i < w->host_count; i++)
        if (host_is_up(w->hosts[i]))
            faults_kill(w->hosts[i], world_draw(w, 1000000));
}

/* Each time it is up it has a few seconds. */
static void flap(struct world *w, struct host *h, uint64_t times)
{
    if (host_is_up(h))
        faults_kill(h, world_draw(w, 500000));
    if (times > 0)
        world_at(w, 1000000 + world_draw(w, 3000000), EVENT_LATER, h->index,
                 times - 1, LATER_FLAP, NULL);
}

static void starve(struct world *w, struct host *h)
{
    h->starved_until_us = w->now_us + 1000000 + world_draw(w, 7000000);
    h->starved_us = 20000 + (uint32_t)world_draw(w, 280000);
    world_fault(w, "n%u STARVES: turns of up to %u ms", h->index + 1,
                h->starved_us / 1000);
}

/* ---- clocks ------------------------------------------------------------ */

static void jump(struct world *w, struct host *h, bool is_back)
{
    int64_t by_ms = (int64_t)world_draw(w, 30 * YEAR_MS);
    by_ms = is_back ? -by_ms : 2 * by_ms;
    world_fault(w, "n%u's clock JUMPS by %lld days", h->index + 1,
                (long long)(by_ms / 86400000));
    host_set_clock(h, host_ahead_ms(h) + by_ms, h->clock.rate_percent);
}

static void set_rate(struct world *w, struct host *h, uint32_t percent)
{
    world_fault(w, "n%u's clock goes at %u %%", h->index + 1, percent);
    host_set_clock(h, host_ahead_ms(h), percent);
}

/* ---- disks ------------------------------------------------------------- */

static void slow_disk(struct world *w, struct host *h)
{
    h->slow_until_us = w->now_us + 1000000 + world_draw(w, 9000000);
    world_fault(w, "n%u's disk is SLOW", h->index + 1);
}

static void full_disk(struct world *w, struct host *h)
{
    host_set_full(h, true);
    world_fault(w, "n%u's disk is FULL", h->index + 1);
    world_at(w, 1000000 + world_draw(w, 9000000), EVENT_LATER, h->index, 0,
             LATER_ROOM, NULL);
}

static void next_commit(struct world *w, struct host *h, enum host_commit fate)
{
    h->fate = fate;
    world_fault(w, "n%u: the next commit is to fail", h->index + 1);
}

/* ---- events ------------------------------------------------------------ */

static void strike_host(struct world *w, struct host *h, enum fault kind)
{
    switch ((int)kind) {
    case FAULT_FLAP:
        flap(w, h, 2 + world_draw(w, 4));
        return;
    case FAULT_STARVE:
        starve(w, h);
        return;
    case FAULT_CLOCK_FORWARD:
    case FAULT_CLOCK_BACK:
        jump(w, h, kind == FAULT_CLOCK_BACK);
        return;
    case FAULT_CLOCK_DRIFT:
        set_rate(w, h, 50 + (uint32_t)world_draw(w, 150));
        return;
    case FAULT_CLOCK_STOP:
        set_rate(w, h, 0);
        return;
    case FAULT_SLOW_DISK:
        slow_disk(w, h);
        return;
    case FAULT_FULL_DISK:
        full_disk(w, h);
        return;
    case FAULT_COMMIT_NEVER:
        next_commit(w, h, COMMIT_NEVER);
        return;
    case FAULT_COMMIT_FAILED:
        next_commit(w, h, COMMIT_FAILED);
        return;
    case FAULT_COMMIT_DOUBT:
        next_commit(w, h, COMMIT_DOUBT);
        return;
    case FAULT_READ_ERROR:
        h->has_bad_sector = true;
        return;
    }
    ASSERT(!"a fault of no machine");
}

void disk_faults_strike(struct world *w, enum fault kind)
{
    struct host *h = any_up(w);
    if (folder_faults_most(kind) > 0) {
        if (h != NULL)
            folder_faults_strike(h, kind);
        return;
    }
    if (kind == FAULT_MASS_RESTART) {
        mass_restart(w);
    } else if (h != NULL) {
        fault_count(w, kind);
        strike_host(w, h, kind);
    }
}

void disk_faults_event(struct world *w, const struct event *e)
{
    struct host *h = w->hosts[e->who];
    if (e->number < FAULT_COUNT) {
        folder_faults_event(h, e);
        return;
    }
    switch ((enum later)e->number) {
    case LATER_FLAP:
        if (w->is_chaos)
            flap(w, h, e->life);
        return;
    case LATER_ROOM:
        host_set_full(h, false);
        world_fault(w, "n%u's disk has room again", h->index + 1);
        return;
    }
}

bool disk_faults_may_end(const struct host *h, int exit_code)
{
    return (exit_code == EXIT_DISK && h->has_failed_read) ||
           (exit_code == EXIT_FOLDER && h->is_rotten) ||
           (exit_code == EXIT_FORGOTTEN && h->is_ghost);
}

void disk_faults_ended(struct host *h)
{
    if (h->exit_code == EXIT_FORGOTTEN) {
        folder_faults_ended(h);
    } else if (h->exit_code == EXIT_FOLDER) {
        host_crash(h);
        folder_faults_bad(h);
    } else {
        faults_kill(h, disk_faults_down_us(h->w));
    }
}

void disk_faults_heal(struct world *w)
{
    for (uint32_t i = 0; i < w->host_count; i++) {
        struct host *h = w->hosts[i];
        h->slow_until_us = h->starved_until_us = 0;
        h->fate = COMMIT_WELL;
        h->has_bad_sector = false;
        host_set_full(h, false);
    }
}
