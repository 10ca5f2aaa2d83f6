/* folder_faults.c - see folder_faults.h. */
#include "tests/sim/folder_faults.h"

#include "tests/sim/faults.h"
#include "tests/sim/watch.h"

/* Between looks whether all have heard of a later boot. */
#define TRY_US 1500000u
#define TRIES  20u /* of what must wait for its moment */

uint32_t folder_faults_most(enum fault kind)
{
    switch ((int)kind) {
    case FAULT_DISK_LOST:
    case FAULT_CLONE:
    case FAULT_HALT:
        return 1;
    case FAULT_ROT_ROW:
    case FAULT_LOST_ROW:
    case FAULT_ROLL_BACK_BOOT:
        return 2;
    case FAULT_ROT_PAYLOAD:
    case FAULT_LOST_PAYLOAD:
    case FAULT_OTHERS_PAYLOAD:
    case FAULT_ROLL_BACK_LOG:
        return 6;
    }
    return 0;
}

/* ---- folders that are lost --------------------------------------------- */

/* A new machine, with a new id and a new name, joins as any other does. */
static void replace(struct world *w)
{
    if (w->host_count == HOSTS_MAX || w->ghost != NULL || w->is_halted ||
        !fault_strikes(w, FAULT_NEW_NODE, 700))
        return;
    struct host *h = host_new(w, w->host_count);
    w->hosts[w->host_count++] = h;
    w->core |= 1u << h->index;
    world_fault(w, "%s comes in its place", h->name);
    world_at(w, world_draw(w, 3000000), EVENT_JOIN, h->index, 0, 0, NULL);
}

void folder_faults_bad(struct host *h)
{
    host_lose(h);
    replace(h->w);
}

static void lose_disk(struct host *h)
{
    if (!watch_may_lose(h->w->watch, h))
        return;
    fault_count(h->w, FAULT_DISK_LOST);
    h->w->totals.crashes++;
    host_crash(h);
    folder_faults_bad(h);
}

/* ---- rows that are damaged --------------------------------------------- */

static const enum store_rot payload_rots[] = {
    [FAULT_ROT_PAYLOAD] = STORE_ROT_PAYLOAD,
    [FAULT_LOST_PAYLOAD] = STORE_LOST_PAYLOAD,
    [FAULT_OTHERS_PAYLOAD] = STORE_OTHERS_PAYLOAD,
};

/* Of some group of the host's, beginning anywhere, that has such a row. */
static bool rot(struct host *h, enum store_rot kind)
{
    uint32_t groups = h->w->plan.groups;
    uint32_t from = (uint32_t)world_draw(h->w, groups - 1);
    uint64_t draw = rng_next(&h->w->rng);
    for (uint32_t i = 0; i < groups; i++)
        if (store_model_rot(h->store, kind, (from + i) % groups, draw))
            return true;
    return false;
}

static void rot_payload(struct host *h, enum fault kind)
{
    if (!watch_may_lose(h->w->watch, h) || !rot(h, payload_rots[kind]))
        return;
    fault_count(h->w, kind);
    h->is_damaged = true;
    world_fault(h->w, "%s: PAYLOAD is damaged", h->name);
}

/* The folder is bad (S24), though nobody may notice for long. */
static void rot_row(struct host *h, enum fault kind)
{
    static const enum store_rot kinds[] = {STORE_ROT_LOG, STORE_ROT_STATE,
                                           STORE_ROT_INDEX, STORE_ROT_META};
    enum store_rot which = STORE_LOST_LOG;
    if (kind == FAULT_ROT_ROW)
        which = kinds[world_draw(h->w, 3)];
    if (!watch_may_lose(h->w->watch, h) || !rot(h, which))
        return;
    fault_count(h->w, kind);
    h->is_rotten = true;
    world_fault(h->w, "%s: a ROW is damaged", h->name);
}

/* ---- folders that go back ---------------------------------------------- */

static void later(struct host *h, enum fault kind, uint64_t delay_us,
                  uint64_t life)
{
    world_at(h->w, delay_us, EVENT_LATER, h->index, life, kind, NULL);
}

static void drop_past(struct host *h)
{
    host_image_free(h->past);
    h->past = NULL;
}

/* S6D: within one boot, so that nobody can tell by its number, but only who
 * remembers what was acknowledged. */
static void begin_to_forget(struct host *h)
{
    h->past = host_image(h);
    later(h, FAULT_ROLL_BACK_LOG, 20000 + world_draw(h->w, 300000), TRIES);
}

static void forget(struct host *h, uint64_t lost)
{
    struct host_image *past = h->past;
    h->past = NULL;
    faults_kill(h, world_draw(h->w, 30000));
    fault_count(h->w, FAULT_ROLL_BACK_LOG);
    world_fault(h->w, "%s's folder goes back: %llu entries are GONE", h->name,
                (unsigned long long)lost);
    host_restore(h, past);
}

/* While a commit is under way nobody knows what the disk will have. */
static void try_to_forget(struct host *h, uint64_t tries)
{
    struct world *w = h->w;
    uint64_t lost = 0;
    bool is_void = !host_is_up(h) || h->life != h->past->life ||
                   w->ghost != NULL || h->is_rotten || h->is_damaged;
    bool is_borne = !is_void && h->batch == NULL &&
                    watch_may_forget(w->watch, h, h->past->seen, &lost);
    if (is_borne && lost > 0)
        forget(h, lost);
    else if (!is_void && tries > 0)
        later(h, FAULT_ROLL_BACK_LOG, 5000 + world_draw(w, 30000), tries - 1);
    else
        drop_past(h);
}

/* S6C: an image of this boot; the host dies and comes back, so that the others
 * hear of another; then the image is used. */
static void begin_old_folder(struct host *h, enum fault kind)
{
    if (h->w->ghost != NULL || (kind == FAULT_CLONE && h->w->copy != NULL))
        return;
    h->past = host_image(h);
    faults_kill(h, world_draw(h->w, 500000));
    later(h, kind, TRY_US, TRIES);
}

static void old_folder(struct host *h)
{
    struct world *w = h->w;
    fault_count(w, FAULT_ROLL_BACK_BOOT);
    if (h->node != NULL)
        host_crash(h);
    world_fault(w, "%s's folder is an OLD one, of boot %llu", h->name,
                (unsigned long long)h->past->boot);
    struct host_image *past = h->past;
    h->past = NULL;
    h->is_ghost = true;
    w->ghost = h;
    host_restore(h, past);
    h->life++; /* whoever was to start it again does not */
    host_start(h);
}

static void clone(struct host *h)
{
    struct world *w = h->w;
    fault_count(w, FAULT_CLONE);
    world_fault(w, "a COPY of %s's folder, of boot %llu, runs beside it",
                h->name, (unsigned long long)h->past->boot);
    w->ghost = w->copy = h->copy = host_copy(h, h->past);
    drop_past(h);
    host_start(h->copy);
}

/* Only when each other has heard of what came after the image. */
static void try_old_folder(struct host *h, enum fault kind, uint64_t tries)
{
    struct world *w = h->w;
    bool is_known = w->ghost == NULL && !h->is_lost && !h->is_rotten &&
                    watch_all_know(w->watch, h, h->past->boot + 1);
    if (!is_known && tries > 0)
        later(h, kind, TRY_US, tries - 1);
    else if (is_known && kind == FAULT_CLONE)
        clone(h);
    else if (is_known && watch_may_lose(w->watch, h))
        old_folder(h);
    else
        drop_past(h);
}

void folder_faults_ended(struct host *ghost)
{
    struct world *w = ghost->w;
    ASSERT(w->ghost == ghost);
    w->ghost = NULL;
    if (ghost->node != NULL)
        host_crash(ghost);
    if (ghost == w->copy)
        host_of(w, ghost->id)->copy = NULL;
    host_lose(ghost);
    if (w->is_chaos && ghost != w->copy)
        replace(w);
}

/* ---- more than is borne ------------------------------------------------ */

#define ROTS 100u /* rows of each host, if it is rot */

static void rot_much(struct host *h)
{
    static const enum store_rot kinds[] = {
        STORE_ROT_PAYLOAD, STORE_LOST_PAYLOAD, STORE_OTHERS_PAYLOAD};
    h->is_damaged = true;
    for (uint32_t i = 0; i < ROTS; i++)
        (void)rot(h, kinds[world_draw(h->w, 2)]);
}

/* Folders of most hosts, or payload of all: what was acknowledged may be gone.
 * From now on halting is right, and serving wrong bytes the only failure. */
static void halt(struct world *w)
{
    bool is_rot = rng_chance(&w->rng, 500);
    fault_count(w, FAULT_HALT);
    w->is_halted = true;
    world_fault(w, "MORE is lost than is borne: %s",
                is_rot ? "payload, of all" : "folders");
    for (uint32_t i = 0; i < w->host_count; i++) {
        struct host *h = w->hosts[i];
        if (!host_is_up(h))
            continue;
        if (is_rot) {
            rot_much(h);
        } else if (rng_chance(&w->rng, 700)) {
            host_crash(h);
            host_lose(h);
        }
    }
}

/* ---- events ------------------------------------------------------------ */

void folder_faults_strike(struct host *h, enum fault kind)
{
    switch ((int)kind) {
    case FAULT_DISK_LOST:
        lose_disk(h);
        return;
    case FAULT_HALT:
        halt(h->w);
        return;
    case FAULT_ROT_ROW:
    case FAULT_LOST_ROW:
        rot_row(h, kind);
        return;
    case FAULT_ROT_PAYLOAD:
    case FAULT_LOST_PAYLOAD:
    case FAULT_OTHERS_PAYLOAD:
        rot_payload(h, kind);
        return;
    case FAULT_ROLL_BACK_LOG:
        if (h->past == NULL)
            begin_to_forget(h);
        return;
    case FAULT_ROLL_BACK_BOOT:
    case FAULT_CLONE:
        if (h->past == NULL)
            begin_old_folder(h, kind);
        return;
    }
    ASSERT(!"a fault of no folder");
}

void folder_faults_event(struct host *h, const struct event *e)
{
    ASSERT(h->past != NULL);
    if (!h->w->is_chaos)
        drop_past(h);
    else if (e->number == FAULT_ROLL_BACK_LOG)
        try_to_forget(h, e->life);
    else
        try_old_folder(h, (enum fault)e->number, e->life);
}
