/* sim_totals.c - see sim_totals.h. */
#include "tests/sim/sim_totals.h"

#include <stdio.h>

typedef unsigned long long ull; /* what printf calls uint64_t */

void totals_add(struct totals *sum, const struct totals *t)
{
    /* struct totals is uint64_t throughout. */
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)t;
    struct totals before = *sum;
    for (size_t i = 0; i < sizeof *t / sizeof *to; i++)
        to[i] += from[i];
    sum->idle_terms_most = max_u64(before.idle_terms_most, t->idle_terms_most);
    sum->elections_most = max_u64(before.elections_most, t->elections_most);
    sum->backlog_most = max_u64(before.backlog_most, t->backlog_most);
}

void totals_print_line(const char *name, const struct totals *t)
{
    (void)printf("%s: %llu s, %llu events, %llu appends acknowledged, %llu "
                 "unknown, %llu refused; %llu crashes, %llu cuts, %llu "
                 "elections, %llu configurations; at rest after %llu ms; trace "
                 "%016llx\n",
                 name, (ull)t->simulated_ms / 1000, (ull)t->events,
                 (ull)t->appends, (ull)t->unknown, (ull)t->refused,
                 (ull)t->crashes, (ull)t->partitions, (ull)t->elections,
                 (ull)t->config_changes, (ull)t->healed_ms, (ull)t->trace);
}

static void print_users(const struct totals *t)
{
    (void)printf("users:  %llu appends acknowledged (%llu on a repeat), %llu "
                 "refused, %llu unknown, %llu fenced; %llu segments read, %llu "
                 "ends asked\n",
                 (ull)t->appends, (ull)t->duplicates, (ull)t->refused,
                 (ull)t->unknown, (ull)t->fenced, (ull)t->reads, (ull)t->ends);
}

static void print_cluster(const struct totals *t)
{
    (void)printf(
        "nodes:  %llu events, %llu messages (%llu cut "
        "off), %llu commits, %llu entries; %llu joins, %llu recorded "
        "out, %llu elections "
        "(%llu of one group, and %llu terms without), %llu "
        "configurations, %llu copies asked for of %llu at least; %llu cuts, "
        "%llu installed, %llu rows mended; at rest %llu things in a queue at "
        "most\n",
        (ull)t->events, (ull)t->messages, (ull)t->cut, (ull)t->commits,
        (ull)t->entries, (ull)t->joins, (ull)t->outs, (ull)t->elections,
        (ull)t->elections_most, (ull)t->idle_terms_most, (ull)t->config_changes,
        (ull)t->moves, (ull)t->moves_least, (ull)t->cuts, (ull)t->installs,
        (ull)t->mends, (ull)t->backlog_most);
}

static void print_checks(const struct totals *t)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < HELD_COUNT; i++)
        sum += t->held[i];
    (void)printf("checks: %llu of invariants:\n", (ull)sum);
    for (size_t i = 0; i < HELD_COUNT; i++)
        (void)printf("  %-18s %12llu  %s\n", invariant_name((enum invariant)i),
                     (ull)t->held[i], invariant_words((enum invariant)i));
}

static void print_faults(const struct totals *t)
{
    (void)printf("faults: %llu scheduled, %llu crashes (%llu with a commit "
                 "that never was), %llu cuts; by kind:\n",
                 (ull)t->scheduled, (ull)t->crashes, (ull)t->unsynced,
                 (ull)t->partitions);
    for (size_t i = 0; i < FAULT_COUNT; i++)
        (void)printf("  %-18s %12llu  %s\n", fault_name((enum fault)i),
                     (ull)t->faults[i], fault_words((enum fault)i));
}

void totals_print(const struct totals *t)
{
    print_faults(t);
    print_checks(t);
    print_users(t);
    print_cluster(t);
}
