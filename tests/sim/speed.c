/* speed.c - see speed.h. */

#include "tests/sim/speed.h"

#include <stdio.h>
#include <sys/resource.h>

#include "tests/sim/final.h"

/* Of the process, in user and system mode: others on the machine take none of
 * it, but for their share of its caches. */
static uint64_t cpu_us(void)
{
    struct rusage u;
    int failed = getrusage(RUSAGE_SELF, &u);
    ASSERT(failed == 0);
    return ((uint64_t)u.ru_utime.tv_sec + (uint64_t)u.ru_stime.tv_sec) *
               1000000u +
           (uint64_t)u.ru_utime.tv_usec + (uint64_t)u.ru_stime.tv_usec;
}

static void print_speed(const char *name, uint64_t simulated_ms,
                        uint64_t spent_us, const struct totals *t)
{
    (void)printf("%s: %llu simulated s in %llu ms of a core: %llu s/s "
                 "(%llu events, %llu wakes, %llu messages, %llu appends)\n",
                 name, (unsigned long long)simulated_ms / 1000,
                 (unsigned long long)spent_us / 1000,
                 (unsigned long long)(simulated_ms * 1000 / (spent_us + 1)),
                 (unsigned long long)t->events, (unsigned long long)t->wakes,
                 (unsigned long long)t->messages,
                 (unsigned long long)t->appends);
    (void)fflush(stdout);
}

/* What has happened since `before`, of what print_speed tells. */
static struct totals since(const struct totals *before, const struct totals *t)
{
    return (struct totals){.events = t->events - before->events,
                           .wakes = t->wakes - before->wakes,
                           .messages = t->messages - before->messages,
                           .appends = t->appends - before->appends};
}

/* The time between forming and the end, so that it is an hour like any other;
 * what is proved at the end is proved of it too. */
static void measure_calm(uint64_t seed)
{
    struct plan plan;
    plan_calm(&plan);
    struct world *w = world_new(seed, &(struct world_cfg){.plan = &plan});
    world_form(w);
    (void)final_settle(w); /* no disk rots here */
    w->doing = "all is calm";
    struct totals before = w->totals;
    uint64_t began_us = cpu_us();
    world_until(w, w->now_us + plan.chaos_ms * 1000);
    uint64_t spent_us = cpu_us() - began_us;
    struct totals during = since(&before, &w->totals);
    char name[64];
    (void)snprintf(name, sizeof name, "calm, %u nodes, %u groups", plan.hosts,
                   w->plan.groups);
    print_speed(name, plan.chaos_ms, spent_us, &during);
    final_run(w);
    world_free(w);
}

static uint64_t measure_seed(uint64_t seed, struct totals *sum)
{
    uint64_t began_us = cpu_us();
    struct world *w = world_new(seed, &(struct world_cfg){0});
    world_run(w);
    uint64_t spent_us = cpu_us() - began_us;
    char name[64];
    (void)snprintf(name, sizeof name, "seed %llu, %u groups",
                   (unsigned long long)seed, w->plan.groups);
    print_speed(name, w->totals.simulated_ms, spent_us, &w->totals);
    sum->simulated_ms += w->totals.simulated_ms;
    sum->events += w->totals.events;
    sum->wakes += w->totals.wakes;
    sum->messages += w->totals.messages;
    sum->appends += w->totals.appends;
    world_free(w);
    return spent_us;
}

void speed_run(uint64_t from, uint64_t seeds)
{
    measure_calm(from);
    struct totals sum = {0};
    uint64_t spent_us = 0;
    for (uint64_t i = 0; i < seeds; i++)
        spent_us += measure_seed(from + i, &sum);
    print_speed("all seeds", sum.simulated_ms, spent_us, &sum);
}
