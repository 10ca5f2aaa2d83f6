/* world.c - see world.h: time, events, and the order of a history. */
#include "tests/sim/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/sim/checker.h"
#include "tests/sim/disk_faults.h"
#include "tests/sim/faults.h"
#include "tests/sim/drains.h"
#include "tests/sim/final.h"
#include "tests/sim/mesh.h"
#include "tests/sim/operator.h"
#include "tests/sim/orders.h"
#include "tests/sim/processes.h"
#include "tests/sim/raw.h"
#include "tests/sim/strangers.h"
#include "tests/sim/story.h"
#include "tests/sim/user.h"
#include "tests/sim/watch.h"

#define WALL_MS        1700000000000u /* the 14th of November 2023 */
#define JOIN_EVERY_US  200000u
#define STORY_EVERY_US 5000000u
#define FORMING_MS_MAX 60000u

/* ---- life -------------------------------------------------------------- */

struct world *world_new(uint64_t seed, const struct world_cfg *cfg)
{
    struct world *w = mem_alloc(sizeof *w);
    w->seed = seed;
    w->cfg = *cfg;
    w->doing = "founding";
    if (cfg->plan != NULL)
        w->plan = *cfg->plan;
    else
        plan_draw(&w->plan, seed);
    if (cfg->seconds != 0)
        plan_stretch(&w->plan, cfg->seconds);
    rng_seed(&w->rng, seed ^ 0x5eed5eed5eed5eedu);
    uint64_t a = rng_next(&w->rng), b = rng_next(&w->rng);
    memcpy(w->cluster.bytes, &a, 8);
    memcpy(w->cluster.bytes + 8, &b, 8);
    w->now_us = 1000000;
    if (w->plan.has[FAULT_NO_JITTER])
        fault_count(w, FAULT_NO_JITTER);
    w->watch = watch_new(w);
    w->twin = twin_new(w);
    w->ops = ops_new(w);
    w->mesh = mesh_new(w);
    w->strangers = strangers_new(w);
    w->faults = faults_new(w);
    w->operator= operator_new(w);
    w->orders = orders_new(w);
    w->checker = checker_new(w);
    for (uint32_t i = 0; i < w->plan.hosts; i++)
        w->hosts[w->host_count++] = host_new(w, i);
    w->core = world_all(w);
    for (uint32_t i = 0; i < w->plan.raw_users; i++)
        w->raws[w->raw_count++] = raw_new(w, i);
    for (uint32_t i = 0; i < w->plan.core_users; i++)
        w->users[w->user_count++] = user_new(w, w->raw_count + i);
    return w;
}

void world_free(struct world *w)
{
    w->cfg.is_traced = false; /* what the end tears down is no event */
    for (uint32_t i = 0; i < w->user_count; i++)
        user_free(w->users[i]);
    for (uint32_t i = 0; i < w->raw_count; i++)
        raw_free(w->raws[i]);
    for (uint32_t i = 0; i < w->host_count; i++)
        host_free(w->hosts[i]);
    if (w->copy != NULL)
        host_free(w->copy);
    while (w->events.count > 0) {
        struct event e = heap_pop(&w->events);
        if (e.kind == EVENT_PACKET || e.kind == EVENT_REQUEST ||
            e.kind == EVENT_RESPONSE)
            mesh_drop(e.data);
        else if (e.kind == EVENT_READ)
            host_drop_read(e.data);
    }
    heap_free(&w->events);
    faults_free(w->faults);
    operator_free(w->operator);
    orders_free(w->orders);
    checker_free(w->checker);
    strangers_free(w->strangers);
    mesh_free(w->mesh);
    ops_free(w->ops);
    twin_free(w->twin);
    watch_free(w->watch);
    mem_free(w);
}

/* ---- small things ------------------------------------------------------ */

uint64_t world_wall_ms(const struct world *w)
{
    return WALL_MS + world_ms(w);
}

uint64_t world_draw(struct world *w, uint64_t max)
{
    return max == 0 ? 0 : rng_below(&w->rng, max + 1);
}

void world_at(struct world *w, uint64_t delay_us, enum event_kind kind,
              uint32_t who, uint64_t life, uint64_t number, void *data)
{
    heap_push(&w->events, (struct event){.at_us = w->now_us + delay_us,
                                         .kind = kind,
                                         .who = who,
                                         .life = life,
                                         .number = number,
                                         .data = data});
}

void world_note(struct world *w, uint64_t what, uint64_t value)
{
    uint64_t words[3] = {w->totals.trace, what, value};
    w->totals.trace = hash64(span_of(words, sizeof words));
}

static void print_time(const struct world *w, FILE *to, char mark)
{
    (void)fprintf(to, "%4llu.%06llu %c ",
                  (unsigned long long)w->now_us / 1000000,
                  (unsigned long long)w->now_us % 1000000, mark);
}

static void tell(const struct world *w, char mark, const char *format,
                 va_list args)
{
    print_time(w, stdout, mark);
    (void)vprintf(format, args);
    (void)putchar('\n');
}

void world_trace(const struct world *w, const char *format, ...)
{
    if (!w->cfg.is_traced)
        return;
    va_list args;
    va_start(args, format);
    tell(w, ' ', format, args);
    va_end(args);
}

void world_fault(const struct world *w, const char *format, ...)
{
    if (!w->cfg.is_traced)
        return;
    va_list args;
    va_start(args, format);
    tell(w, '!', format, args);
    va_end(args);
}

static _Noreturn void end(struct world *w, int code, const char *name,
                          const char *format, va_list args)
{
    (void)fflush(stdout);
    (void)fprintf(stderr, "%s violated, while %s:\n",
                  code == SIM_SAFETY     ? "SAFETY"
                  : code == SIM_LIVENESS ? "LIVENESS"
                                         : "the simulator's own rules",
                  w->doing);
    print_time(w, stderr, ' ');
    if (name != NULL)
        (void)fprintf(stderr, "%s: ", name);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    struct buf plan = {0};
    plan_print(&w->plan, &plan);
    (void)fprintf(stderr, "plan: %.*s\n", (int)plan.size, (char *)plan.data);
    (void)fflush(stderr);
    w->totals.simulated_ms = world_ms(w) - 1000;
    if (w->cfg.last_words != NULL)
        w->cfg.last_words(w);
    _exit(code);
}

void world_fail(struct world *w, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    end(w, code, NULL, format, args);
}

void world_broken(struct world *w, enum invariant i, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    end(w, invariant_code(i), invariant_name(i), format, args);
}

/* ---- events ------------------------------------------------------------ */

static void user_or_raw(struct world *w, const struct event *e)
{
    if (e->kind == EVENT_RESPONSE && e->who == MESH_NOBODY)
        mesh_drop(e->data);
    else if (e->who == MESH_OPERATOR)
        operator_event(w->operator, e);
    else if (e->who == MESH_CHECKER)
        checker_event(w->checker, e);
    else if (e->who < w->raw_count)
        raw_event(w->raws[e->who], e);
    else
        user_event(w->users[e->who - w->raw_count], e);
}

static void go_on_joining(struct world *w, uint32_t host)
{
    struct host *h = w->hosts[host];
    if (h->is_member)
        return;
    user_join(w->users[0], h);
    world_at(w, JOIN_EVERY_US, EVENT_JOIN, host, 0, 0, NULL);
}

/* It has asked for it. */
static void end_process(struct host *h)
{
    if (h->exit_code == 0)
        processes_ended(h);
    else if (h->exit_code == EXIT_FORGOTTEN && !h->is_ghost)
        drains_ended(h);
    else
        disk_faults_ended(h);
}

static void machine_event(struct host *h, const struct event *e)
{
    host_event(h, e);
    if (h->exit_code >= 0)
        end_process(h);
}

static void process_event(struct host *h, const struct event *e)
{
    if (h->life != e->life)
        return;
    if (e->kind == EVENT_RESTART && h->node == NULL)
        host_start(h);
    else if (e->kind == EVENT_RESUME && h->is_paused)
        host_resume(h);
}

static void handle(struct world *w, const struct event *e)
{
    switch ((enum event_kind)e->kind) {
    case EVENT_PACKET:
    case EVENT_REQUEST:
    case EVENT_DISK:
    case EVENT_TOLD:
    case EVENT_READ:
        machine_event(world_host(w, e->who), e);
        return;
    case EVENT_RESPONSE:
    case EVENT_RAW:
    case EVENT_USER:
        user_or_raw(w, e);
        return;
    case EVENT_FAULT:
    case EVENT_HEAL:
    case EVENT_EASE:
        faults_event(w->faults, e);
        return;
    case EVENT_LATER:
        disk_faults_event(w, e);
        return;
    case EVENT_PROCESS:
        processes_event(w, e);
        return;
    case EVENT_RESTART:
    case EVENT_RESUME:
        process_event(w->hosts[e->who], e);
        return;
    case EVENT_JOIN:
        go_on_joining(w, e->who);
        return;
    }
}

static void wake_host(struct world *w, struct host *h)
{
    host_wake(h);
    if (h->exit_code >= 0) {
        end_process(h);
        return;
    }
    if (!h->is_ghost)
        faults_after(w->faults, h);
    if (h->has_hit)
        faults_hit(w->faults, h);
}

/* The earliest of: an event, a host's or a user's deadline; false if that is
 * later than the limit. */
static bool step(struct world *w, uint64_t limit_us)
{
    const struct event *top = heap_top(&w->events);
    uint64_t at = top == NULL ? UINT64_MAX : top->at_us;
    struct host *host = NULL;
    struct user *user = NULL;
    for (uint32_t i = 0; i < w->host_count; i++) {
        if (w->hosts[i]->next_us < at) {
            at = w->hosts[i]->next_us;
            host = w->hosts[i];
        }
    }
    if (w->copy != NULL && w->copy->next_us < at) {
        at = w->copy->next_us;
        host = w->copy;
    }
    for (uint32_t i = 0; i < w->user_count; i++) {
        uint64_t next = user_next_us(w->users[i]);
        if (next < at) {
            at = next;
            user = w->users[i];
        }
    }
    if (at > limit_us)
        return false;
    w->now_us = max_u64(w->now_us, at);
    w->totals.events++;
    if (user != NULL) {
        user_wake(user);
    } else if (host != NULL) {
        world_note(w, w->now_us, host->index);
        wake_host(w, host);
    } else {
        struct event e = heap_pop(&w->events);
        world_note(w, w->now_us, (uint64_t)e.kind << 32 | e.who);
        handle(w, &e);
    }
    return true;
}

void world_until(struct world *w, uint64_t at_us)
{
    while (step(w, at_us))
        continue;
    w->now_us = max_u64(w->now_us, at_us);
}

bool world_wait(struct world *w, world_fn is_done, uint64_t limit_ms)
{
    uint64_t end = w->now_us + limit_ms * 1000;
    while (!is_done(w)) {
        if (w->now_us >= end)
            return false;
        world_until(w, w->now_us + 20000);
    }
    return true;
}

/* ---- a history --------------------------------------------------------- */

static bool has_formed(struct world *w)
{
    uint32_t members = 0;
    for (uint32_t i = 0; i < w->host_count; i++)
        members += w->hosts[i]->is_member;
    return members + w->plan.late_hosts >= w->host_count;
}

void world_form(struct world *w)
{
    w->doing = "forming";
    host_found(w->hosts[0]);
    host_start(w->hosts[0]);
    for (uint32_t i = 1; i + w->plan.late_hosts < w->host_count; i++)
        world_at(w, world_draw(w, 2000000), EVENT_JOIN, i, 0, 0, NULL);
    for (uint32_t i = 0; i < w->raw_count; i++)
        world_at(w, world_draw(w, 1000000), EVENT_RAW, i, 0, 0, NULL);
    for (uint32_t i = 0; i < w->user_count; i++)
        world_at(w, world_draw(w, 1000000), EVENT_USER, w->raw_count + i, 0, 0,
                 NULL);
    if (!world_wait(w, has_formed, FORMING_MS_MAX))
        world_fail(w, SIM_LIVENESS, "the nodes did not join within %u s",
                   FORMING_MS_MAX / 1000);
    world_trace(w, "all have joined");
}

static void run_chaos(struct world *w)
{
    w->doing = "faults go on";
    w->is_chaos = true;
    uint64_t end = w->now_us + w->plan.chaos_ms * 1000;
    faults_schedule(w->faults, w->plan.chaos_ms);
    operator_begin(w->operator);
    checker_begin(w->checker);
    for (uint32_t i = w->host_count - w->plan.late_hosts; i < w->host_count;
         i++) {
        fault_count(w, FAULT_JOIN_LATE);
        world_at(w, world_draw(w, w->plan.chaos_ms * 700), EVENT_JOIN, i, 0, 0,
                 NULL);
    }
    while (w->now_us < end) {
        world_until(w, min_u64(end, w->now_us + STORY_EVERY_US));
        story_so_far(w);
    }
    w->is_chaos = false;
}

void world_run(struct world *w)
{
    world_form(w);
    run_chaos(w);
    final_run(w);
    w->totals.simulated_ms = world_ms(w) - 1000;
}
