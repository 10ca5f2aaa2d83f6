/* bench_ring.c - the placement report: how even, how cheap and how fast the
 * fold is (ring/placement.h) over random joins and leaves.
 *
 *     bench_ring [steps [seed]]
 *
 * A line is one churn: a ring of about so many nodes, each step of which one
 * node joins (as a new member) or leaves (is marked ineligible, then unlisted
 * at its next step). The table is folded after each step; it is also started
 * once from nothing with all nodes. A target that is missed is marked with an
 * exclamation mark, and the exit code is 1.
 *
 * Moves are related to placement_moves_least, which in small or zoned rings is
 * below what is possible: the worst single step is shown, but judged only by
 * the twin in tests/unit/test_placement.c, which knows the true least. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "ring/placement.h"

#define NODES_MAX 120u
static_assert(NODES_MAX <= MEMBERS_MAX, "members have slots");

struct churn {
    uint32_t partitions;
    uint32_t copies;
    uint32_t nodes;   /* about */
    uint32_t zones;   /* 0: each node is one */
    bool is_weighted; /* weights 50, 100, 200, 400 */
};

struct report {
    struct placement_figures worst;
    uint64_t moves;
    uint64_t least;
    double step_ratio; /* the worst */
    double ms_max;
    double ms_sum;
    double ms_first;
    uint32_t folds;
};

struct ring {
    const struct churn *churn;
    struct rng rng;
    struct placement_member members[MEMBERS_MAX];
    size_t count; /* listed; the eligible ones are first */
    bool is_used[MEMBERS_MAX];
    struct placement_table table;
    uint16_t slots[PARTITIONS_MAX * REPLICATION_MAX];
};

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void join(struct ring *r)
{
    uint16_t slot = 0;
    do
        slot = (uint16_t)rng_below(&r->rng, MEMBERS_MAX);
    while (r->is_used[slot]);
    r->is_used[slot] = true;
    uint32_t zone = slot;
    if (r->churn->zones > 0)
        zone = (uint32_t)rng_below(&r->rng, r->churn->zones);
    uint32_t weight = 100;
    if (r->churn->is_weighted)
        weight = 50u << rng_below(&r->rng, 4);
    r->members[r->count++] = (struct placement_member){
        .slot = slot,
        .is_eligible = true,
        .takes_new = true,
        .zone = (uint16_t)zone,
        .weight = weight,
        .hash = rng_next(&r->rng),
    };
}

/* The one that left before is forgotten, another becomes ineligible. */
static void forget(struct ring *r)
{
    for (size_t i = 0; i < r->count; i++) {
        if (r->members[i].is_eligible)
            continue;
        r->is_used[r->members[i].slot] = false;
        r->members[i] = r->members[--r->count];
    }
}

static void step(struct ring *r)
{
    uint32_t nodes = r->churn->nodes;
    uint32_t least = nodes - nodes / 5;
    uint32_t most = nodes + nodes / 5 + 1;
    forget(r);
    bool joins = rng_below(&r->rng, 2) == 0;
    if (r->count <= least)
        joins = true;
    if (r->count >= most)
        joins = false;
    if (joins)
        join(r);
    else
        r->members[rng_below(&r->rng, r->count)].is_eligible = false;
}

static void fold(struct ring *r, struct report *x, bool is_first)
{
    uint16_t slots[PARTITIONS_MAX * REPLICATION_MAX];
    struct placement_table next = {.slots = slots};
    uint32_t least = placement_moves_least(&r->table, r->members, r->count,
                                           r->churn->copies);
    double start = now_ms();
    placement_fold(&r->table, r->members, r->count, r->churn->copies, &next);
    double ms = now_ms() - start;
    uint32_t moves = placement_moves(&r->table, &next);
    struct buf why = {0};
    if (!placement_check(&next, r->members, r->count, &why)) {
        fprintf(stderr, "bench_ring: %.*s\n", (int)why.size,
                (const char *)why.data);
        exit(70);
    }
    memcpy(r->slots, slots, sizeof slots);
    struct placement_figures f =
        placement_measure(&r->table, r->members, r->count);
    if (is_first) {
        x->worst = f;
        x->ms_first = ms;
        return;
    }
    if (f.load_excess > x->worst.load_excess)
        x->worst.load_excess = f.load_excess;
    if (f.leaders_excess > x->worst.leaders_excess)
        x->worst.leaders_excess = f.leaders_excess;
    x->worst.zone_violations += f.zone_violations;
    x->moves += moves;
    x->least += least;
    double ratio = (double)moves / (least > 0 ? (double)least : 1.0);
    if (ratio > x->step_ratio)
        x->step_ratio = ratio;
    x->ms_sum += ms;
    if (ms > x->ms_max)
        x->ms_max = ms;
    x->folds++;
}

static bool run(const struct churn *c, uint32_t steps, uint64_t seed)
{
    static struct ring ring;
    ring = (struct ring){.churn = c};
    rng_seed(&ring.rng, seed);
    placement_init(&ring.table, c->partitions, c->copies, ring.slots);
    while (ring.count < c->nodes)
        join(&ring);
    struct report x = {0};
    fold(&ring, &x, true);
    for (uint32_t i = 0; i < steps; i++) {
        step(&ring);
        fold(&ring, &x, false);
    }
    double ratio = (double)x.moves / (x.least > 0 ? (double)x.least : 1.0);
    double ratio_max = c->zones > 0 ? 1.15 : 1.05;
    double ms_max = x.ms_max > x.ms_first ? x.ms_max : x.ms_first;
    bool is_good = x.worst.load_excess <= 1 && x.worst.leaders_excess <= 1 &&
                   x.worst.zone_violations == 0 && ratio <= ratio_max &&
                   ms_max < 1000.0;
    printf("%5u %2u %5u %5u %-5s  %+4d %+7d  %4u  %7llu %6.3f %6.2f  "
           "%7.2f %7.2f %7.2f %s\n",
           (unsigned)c->partitions, (unsigned)c->copies, (unsigned)c->nodes,
           (unsigned)c->zones, c->is_weighted ? "mixed" : "equal",
           x.worst.load_excess, x.worst.leaders_excess,
           (unsigned)x.worst.zone_violations, (unsigned long long)x.moves,
           ratio, x.step_ratio, x.ms_first,
           x.ms_sum / (x.folds > 0 ? x.folds : 1), x.ms_max,
           is_good ? "" : "!");
    return is_good;
}

/* ---- joins, one after the other ---------------------------------------- */

#define JOINS 10u

static uint32_t fold_now(struct ring *r)
{
    uint16_t slots[PARTITIONS_MAX * REPLICATION_MAX];
    struct placement_table next = {.slots = slots};
    placement_fold(&r->table, r->members, r->count, r->churn->copies, &next);
    uint32_t moves = placement_moves(&r->table, &next);
    memcpy(r->slots, slots, sizeof slots);
    return moves;
}

/* What it costs to fold ten joins one by one: why newcomers wait for each other
 * (ring/record.h). */
static void run_joins(const struct churn *c, uint64_t seed)
{
    static struct ring apart, together;
    apart = (struct ring){.churn = c};
    rng_seed(&apart.rng, seed);
    placement_init(&apart.table, c->partitions, c->copies, apart.slots);
    while (apart.count < c->nodes)
        join(&apart);
    (void)fold_now(&apart);
    together = apart;
    together.table.slots = together.slots;
    uint32_t moves = 0;
    for (uint32_t i = 0; i < JOINS; i++) {
        join(&apart);
        join(&together);
        moves += fold_now(&apart);
    }
    uint32_t one = fold_now(&together);
    printf("%5u %2u %5u  %9u %8u  %5.2f\n", (unsigned)c->partitions,
           (unsigned)c->copies, (unsigned)c->nodes, (unsigned)moves,
           (unsigned)one, (double)moves / (double)one);
}

int main(int argc, char **argv)
{
    uint32_t steps = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 100;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    static const uint32_t partitions[] = {64, 256, 1024};
    static const uint32_t nodes[] = {3, 5, 10, 30, 100};
    printf("%u joins and leaves, seed %llu. load, leaders: worst - "
           "ceil(share); viol: rows that\nbreak the spread; least: lower bound "
           "of moves; step: worst single step\n\n",
           (unsigned)steps, (unsigned long long)seed);
    printf("    Q  N nodes zones weight load leaders  viol    moves /least "
           "  step  ms first    mean     max\n");
    bool is_good = true;
    for (size_t q = 0; q < sizeof partitions / sizeof *partitions; q++) {
        for (size_t n = 0; n < sizeof nodes / sizeof *nodes; n++) {
            for (uint32_t k = 0; k < 6; k++) {
                static const uint32_t zones[] = {0, 3, 5};
                struct churn c = {partitions[q], 3, nodes[n], zones[k / 2],
                                  k % 2 == 1};
                if (c.zones > 0 && c.nodes < 10)
                    continue;
                if (!run(&c, steps, seed))
                    is_good = false;
            }
        }
    }
    printf("\nten joins: copies that they move, folded one by one and at "
           "once\n\n    Q  N nodes  one by one  at once  ratio\n");
    for (size_t n = 0; n < sizeof nodes / sizeof *nodes; n++)
        run_joins(
            &(struct churn){.partitions = 256, .copies = 3, .nodes = nodes[n]},
            seed);
    return is_good ? 0 : 1;
}
