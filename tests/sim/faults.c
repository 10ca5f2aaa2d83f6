/* faults.c - see faults.h. */
#include "tests/sim/faults.h"

#include "net/keys.h"
#include "tests/sim/cuts.h"
#include "tests/sim/drains.h"
#include "tests/sim/disk_faults.h"
#include "tests/sim/orders.h"
#include "tests/sim/processes.h"
#include "tests/sim/raw.h"
#include "tests/sim/troubles.h"
#include "tests/sim/watch.h"

#define CRASHES_TO_SPARE 10u

/* What an EVENT_FAULT is to do. */
enum act {
    DO_CRASH,
    DO_AWAY,
    DO_CUT,
    DO_TROUBLE,
    DO_PAUSE,
    DO_MISHAP,
    DO_CHANGE,
    DO_HUNT,
    DO_DRAIN,
    DO_STRANDED, /* the hunted one is cut off */
    DO_OVERDUE,  /* the aimed-at one has not done it */
    DO_STAY,     /* the drained one is to stay after all */
    DO_MACHINE   /* and up: disk_faults.h's, by their kinds */
};

/* Of those that are scheduled. */
static const char *const act_names[] = {
    [DO_CRASH] = "crash",     [DO_AWAY] = "away",   [DO_CUT] = "cut",
    [DO_TROUBLE] = "trouble", [DO_PAUSE] = "pause", [DO_MISHAP] = "process",
    [DO_CHANGE] = "change",   [DO_HUNT] = "hunt",   [DO_STRANDED] = NULL,
    [DO_OVERDUE] = NULL,      [DO_DRAIN] = "drain", [DO_STAY] = NULL,
};

static const char *const aim_words[] = {
    [AIM_NONE] = "",
    [AIM_VOTED] = "it votes",
    [AIM_ACKED] = "it acknowledges entries",
    [AIM_ANSWERED] = "it answers a user",
    [AIM_LEADS] = "it leads another group",
    [AIM_COMMIT] = "it begins a commit",
    [AIM_DURABLE] = "the disk has a commit",
};

struct scheduled {
    uint64_t after_us;
    uint32_t act;
};

struct hunt {
    uint64_t until_us;
    uint32_t group;      /* whose leaders are hunted */
    bool is_of_handover; /* no: of whoever hands over, in any group */
    uint32_t cut;        /* the last it made; CUTS_MAX: none */
};

struct faults {
    struct world *w;
    struct hunt hunt;
    struct cuts *cuts;
    struct troubles *troubles;
    struct scheduled schedule[FAULTS_MAX];
    uint32_t scheduled_count;
};

struct faults *faults_new(struct world *w)
{
    struct faults *f = mem_alloc(sizeof *f);
    f->w = w;
    f->cuts = cuts_new(w);
    f->troubles = troubles_new(w);
    return f;
}

void faults_free(struct faults *f)
{
    cuts_free(f->cuts);
    troubles_free(f->troubles);
    mem_free(f);
}

static void scatter(struct faults *f, uint32_t count, uint32_t act,
                    uint64_t during_ms)
{
    for (uint32_t i = 0; i < count && f->scheduled_count < FAULTS_MAX; i++) {
        uint64_t after_us = world_draw(f->w, during_ms * 1000);
        uint32_t at = f->scheduled_count++;
        for (; at > 0 && f->schedule[at - 1].after_us > after_us; at--)
            f->schedule[at] = f->schedule[at - 1];
        f->schedule[at] = (struct scheduled){after_us, act};
    }
}

void faults_schedule(struct faults *f, uint64_t during_ms)
{
    struct world *w = f->w;
    scatter(f, w->plan.crashes, DO_CRASH, during_ms);
    scatter(f, w->plan.partitions, DO_CUT, during_ms);
    scatter(f, w->plan.troubles, DO_TROUBLE, during_ms);
    scatter(f, w->plan.mishaps, DO_MISHAP, during_ms);
    scatter(f, w->plan.changes, DO_CHANGE, during_ms);
    if (w->plan.has[FAULT_AWAY])
        scatter(f, w->plan.away, DO_AWAY, during_ms);
    if (w->plan.has[FAULT_PAUSE])
        scatter(f, w->plan.pauses, DO_PAUSE, during_ms);
    if (w->plan.has[FAULT_HUNT])
        scatter(f, w->plan.hunts, DO_HUNT, during_ms);
    if (w->plan.has[FAULT_DRAIN])
        scatter(f, (w->plan.changes + 1) / 2, DO_DRAIN, during_ms);
    for (uint32_t kind = 0; kind < FAULT_COUNT; kind++)
        if (w->plan.has[kind])
            scatter(f, disk_faults_count(w, (enum fault)kind, during_ms),
                    DO_MACHINE + kind, during_ms);
    for (uint32_t i = 0; i < f->scheduled_count; i++)
        if (!skips_has(&w->cfg.skips, i + 1))
            world_at(w, f->schedule[i].after_us, EVENT_FAULT, 0, i + 1,
                     f->schedule[i].act, NULL);
    w->totals.scheduled = f->scheduled_count;
}

/* ---- crashes ----------------------------------------------------------- */

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

/* A group that users are busy with. */
static uint32_t busy_group(struct world *w)
{
    char name[2] = {'s', (char)('0' + world_draw(w, w->plan.streams - 1))};
    uint8_t hash[16];
    keys_stream_hash(w->cluster, span_of(name, sizeof name), hash);
    return record_partition(w->plan.groups - 1, hash) + 1;
}

static struct host *draw_victim(struct world *w)
{
    struct host *h = NULL;
    if (world_draw(w, 99) < w->plan.leader_percent)
        h = watch_leader(w->watch, busy_group(w));
    return h == NULL ? any_up(w) : h;
}

void faults_kill(struct host *h, uint64_t down_us)
{
    struct world *w = h->w;
    w->totals.crashes++;
    fault_count(w, FAULT_CRASH);
    host_crash(h);
    world_at(w, 1000 + down_us, EVENT_RESTART, h->index, h->life, 0, NULL);
}

static void strike(struct world *w, struct host *h)
{
    faults_kill(h, disk_faults_down_us(w));
}

/* Long enough, mostly, to be seen dead, to be recorded out, and for the groups
 * to walk away from it. */
static void away(struct world *w)
{
    struct host *h = draw_victim(w);
    if (h == NULL)
        return;
    fault_count(w, FAULT_AWAY);
    uint64_t down_ms = 10000 + 5 * (uint64_t)w->plan.out_after_ms;
    faults_kill(h, world_draw(w, down_ms * 1000));
}

static void crash(struct world *w)
{
    struct host *h = draw_victim(w);
    if (h == NULL)
        return;
    if (fault_strikes(w, FAULT_BLACKOUT, w->plan.blackout_percent * 10)) {
        for (uint32_t i = 0; i < w->host_count; i++)
            if (host_is_up(w->hosts[i]) &&
                (w->hosts[i] == h || rng_chance(&w->rng, 700)))
                strike(w, w->hosts[i]);
        return;
    }
    if (h->is_paused || h->aim != AIM_NONE ||
        !fault_strikes(w, FAULT_CRASH_AIMED, w->plan.aimed_percent * 10)) {
        strike(w, h);
        return;
    }
    h->aim = (enum aim)(1 + world_draw(w, AIM_DURABLE - 1));
    h->has_hit = false;
    /* Of few crashes none can be spared: a history needs some. */
    h->is_to_pause = w->plan.crashes >= CRASHES_TO_SPARE &&
                     fault_strikes(w, FAULT_PAUSE_AIMED, 300);
    world_fault(w, "n%u is to %s as soon as %s", h->index + 1,
                h->is_to_pause ? "stand still" : "crash", aim_words[h->aim]);
    world_at(w, 1500000, EVENT_FAULT, h->index, h->life, DO_OVERDUE, NULL);
}

void faults_hit(struct faults *f, struct host *h)
{
    h->has_hit = false;
    h->aim = AIM_NONE;
    if (h->is_to_pause)
        processes_pause(h);
    else
        strike(f->w, h);
}

/* ---- hunts ------------------------------------------------------------- */

static void hunt(struct faults *f)
{
    struct world *w = f->w;
    f->hunt = (struct hunt){
        .until_us = w->now_us + (uint64_t)w->plan.hunt_ms * 1000,
        .group = busy_group(w),
        .is_of_handover = rng_chance(&w->rng, 400),
        .cut = CUTS_MAX,
    };
    fault_count(w, FAULT_HUNT);
    world_fault(w, "a HUNT begins, %s",
                f->hunt.is_of_handover ? "for who hands over" : "for leaders");
}

/* By users who may rush. */
static bool is_used(const struct world *w, uint32_t group)
{
    bool is = false;
    for (uint32_t i = 0; i < w->raw_count; i++)
        is = is || raw_uses(w->raws[i], group);
    return is;
}

static void rush_to(struct world *w, uint32_t group, const struct host *h)
{
    for (uint32_t i = 0; i < w->raw_count; i++)
        raw_rush(w->raws[i], group, h->index);
}

/* Its peers don't reach it any more, nor it them; sometimes one stays with it,
 * and has what it says. Whoever hands over still reaches all, so that they do
 * take over. */
static void cut_off(struct faults *f, const struct host *h)
{
    struct world *w = f->w;
    struct cut c = {0};
    bool is_of_handover = f->hunt.is_of_handover;
    uint32_t companion = h->index;
    if (!is_of_handover && rng_chance(&w->rng, 500))
        companion = (uint32_t)world_draw(w, w->host_count - 1);
    for (uint32_t i = 0; i < HOSTS_MAX; i++) {
        bool is_with = i == h->index || i == companion;
        c.blocks[i][h->index] = c.blocks[i][companion] = !is_with;
        c.blocks[h->index][i] = c.blocks[companion][i] =
            !is_with && !is_of_handover;
    }
    world_fault(w, "the hunt has reached n%u", h->index + 1);
    if (is_of_handover)
        rush_to(w, f->hunt.group, h);
    f->hunt.cut = cuts_begin(f->cuts, &c, 3 * w->plan.timing.election_ms);
}

void faults_after(struct faults *f, struct host *h)
{
    struct world *w = f->w;
    struct hunt *hunted = &f->hunt;
    uint32_t handed_over = watch_handed_over(w->watch);
    if (!w->is_chaos || w->now_us >= hunted->until_us)
        return;
    bool has_begun = watch_has_begun(w->watch, hunted->group);
    bool is_it = hunted->is_of_handover ? is_used(w, handed_over) : has_begun;
    /* Asked before it knows what is committed. */
    if (has_begun && !hunted->is_of_handover && rng_chance(&w->rng, 500))
        rush_to(w, hunted->group, h);
    /* Some escape, or nobody would ever be there to go on. */
    if (!is_it || rng_chance(&w->rng, 250))
        return;
    if (rng_chance(&w->rng, 500))
        cuts_mend(f->cuts, hunted->cut);
    /* A moment later: what answers the last heartbeats may still come. */
    if (hunted->is_of_handover)
        hunted->group = handed_over;
    uint64_t later_us = world_draw(w, hunted->is_of_handover ? 12000 : 2000);
    world_at(w, later_us, EVENT_FAULT, h->index, h->life, DO_STRANDED, NULL);
}

/* ---- pauses ------------------------------------------------------------ */

static void pause(struct world *w)
{
    struct host *h = draw_victim(w);
    if (h == NULL || h->is_paused)
        return;
    fault_count(w, FAULT_PAUSE);
    processes_pause(h);
}

/* ---- drains ------------------------------------------------------------ */

static void drain(struct world *w)
{
    const struct host *h = drains_strike(w);
    if (h != NULL && fault_may(w, FAULT_DRAIN_UNDONE) &&
        rng_chance(&w->rng, 500))
        world_at(w, world_draw(w, 12000000), EVENT_FAULT, h->index, h->life,
                 DO_STAY, NULL);
}

/* ---- events ------------------------------------------------------------ */

static void befall(struct faults *f, const struct event *e)
{
    struct world *w = f->w;
    struct host *h = w->hosts[e->who];
    if (e->number >= DO_MACHINE) {
        disk_faults_strike(w, (enum fault)(e->number - DO_MACHINE));
        return;
    }
    switch ((enum act)e->number) {
    case DO_CRASH:
        crash(w);
        return;
    case DO_AWAY:
        away(w);
        return;
    case DO_CUT:
        cuts_strike(f->cuts);
        return;
    case DO_TROUBLE:
        troubles_strike(f->troubles);
        return;
    case DO_PAUSE:
        pause(w);
        return;
    case DO_MISHAP:
        processes_strike(w);
        return;
    case DO_CHANGE:
        orders_strike(w->orders);
        return;
    case DO_HUNT:
        hunt(f);
        return;
    case DO_DRAIN:
        drain(w);
        return;
    case DO_STAY:
        drains_undo(w, h);
        return;
    case DO_STRANDED:
        cut_off(f, h);
        return;
    case DO_OVERDUE:
        if (h->life == e->life && h->node != NULL && h->aim != AIM_NONE)
            strike(w, h);
        return;
    case DO_MACHINE:
        break;
    }
    ASSERT(!"an act that nobody knows");
}

static const char *name_of(uint64_t act)
{
    return act < DO_MACHINE ? act_names[act]
                            : fault_name((enum fault)(act - DO_MACHINE));
}

void faults_event(struct faults *f, const struct event *e)
{
    struct world *w = f->w;
    if (e->kind == EVENT_HEAL) {
        cuts_mend(f->cuts, (uint32_t)e->number);
        return;
    }
    if (e->kind == EVENT_EASE) {
        troubles_event(f->troubles, e);
        return;
    }
    if (!w->is_chaos)
        return;
    const char *name = name_of(e->number);
    if (name == NULL) { /* another one has begun it */
        befall(f, e);
        return;
    }
    uint64_t ordinal = e->life;
    uint64_t words[2] = {w->seed, ordinal};
    struct rng shared = w->rng;
    rng_seed(&w->rng, hash64(span_of(words, sizeof words)));
    world_fault(w, "#%llu %s", (unsigned long long)ordinal, name);
    befall(f, e);
    w->rng = shared;
}

void faults_heal(struct faults *f)
{
    struct world *w = f->w;
    cuts_mend_all(f->cuts);
    troubles_end_all(f->troubles);
    disk_faults_heal(w);
    processes_heal(w);
    for (uint32_t i = 0; i < w->host_count; i++) {
        struct host *h = w->hosts[i];
        h->aim = AIM_NONE;
        if (h->is_paused)
            host_resume(h);
        if (h->node == NULL && h->is_member && world_in_core(w, i))
            host_start(h);
    }
}
