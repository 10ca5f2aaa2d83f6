/* test_placement_churn.c - the fold's targets (DESIGN 4) over random joins and
 * leaves, and the fold against a slow twin.
 *
 * The twin shares out in floating point by bisection and finds the least
 * moves as a min-cost flow from rows over (row, zone) to members, from
 * nothing: obvious, and too slow for a ring. */
#include "tests/unit/placement_world.h"

#include <math.h>

#define SLOTS 40u /* that newcomers are drawn from */

/* ---- churn ------------------------------------------------------------- */

struct churn {
    uint32_t rows;
    uint32_t copies;
    uint32_t nodes_min;
    uint32_t nodes_max;
    uint32_t zones; /* 0: none */
    bool is_weighted;
};

static void churn_join(struct world *w, const struct churn *c)
{
    bool is_used[MEMBERS_MAX] = {false};
    for (size_t i = 0; i < w->count; i++)
        is_used[w->members[i].slot] = true;
    uint16_t slot = (uint16_t)rng_below(&w->rng, SLOTS);
    while (is_used[slot])
        slot = (uint16_t)((slot + 1) % MEMBERS_MAX);
    struct placement_member *m = join(w, slot);
    m->hash = rng_next(&w->rng);
    if (c->zones > 0)
        m->zone = (uint16_t)rng_below(&w->rng, c->zones);
    if (c->is_weighted)
        m->weight = 50u << rng_below(&w->rng, 4);
}

static void churn_step(struct world *w, const struct churn *c)
{
    for (size_t i = 0; i < w->count; i++)
        if (!w->members[i].is_eligible)
            w->members[i] = w->members[--w->count];
    bool joins = rng_chance(&w->rng, 500);
    if (w->count <= c->nodes_min)
        joins = true;
    if (w->count >= c->nodes_max)
        joins = false;
    if (joins)
        churn_join(w, c);
    else
        w->members[rng_below(&w->rng, w->count)].is_eligible = false;
}

static void churn_open(struct world *w, const struct churn *c)
{
    while (w->count < c->nodes_min)
        churn_join(w, c);
    fold(w);
}

static void hundred_joins_and_leaves_meet_the_targets(void **state)
{
    (void)state;
    static const struct churn churns[] = {
        {64, 3, 4, 10, 0, false},   {256, 3, 4, 10, 0, false},
        {256, 3, 8, 30, 0, false},  {64, 3, 8, 20, 0, true},
        {256, 3, 8, 20, 0, true},   {64, 3, 9, 18, 3, false},
        {256, 3, 9, 30, 5, false},  {256, 3, 9, 30, 4, true},
        {256, 5, 8, 20, 0, false},  {64, 2, 4, 12, 3, true},
        {64, 3, 3, 5, 0, false},    {1024, 3, 3, 8, 0, true},
        {256, 3, 90, 110, 0, true}, {1024, 3, 90, 110, 5, true},
        {64, 3, 90, 110, 3, false},
    };
    for (size_t i = 0; i < sizeof churns / sizeof *churns; i++) {
        const struct churn *c = &churns[i];
        struct world *w = world_new(c->rows, c->copies, 100 + i);
        uint64_t moves = 0;
        uint64_t least = 0;
        churn_open(w, c);
        for (uint32_t step = 0; step < 100; step++) {
            churn_step(w, c);
            fold(w);
            struct placement_figures f = measure(w);
            /* One above the ceiling is rare, and never above it by two. */
            assert_true(f.load_excess <= (c->is_weighted || c->zones > 0));
            assert_true(f.leaders_excess <= 1);
            assert_int_equal(f.zone_violations, 0);
            moves += w->moves;
            least += w->least;
        }
        assert_true(moves * 100 <= least * (c->zones > 0 ? 115 : 105));
    }
}

/* ---- the twin ---------------------------------------------------------- */

#define TWIN_ROWS  64u
#define TWIN_NODES 12u
#define TWIN_NONE  UINT32_MAX
/* source, rows, (row, zone) pairs, members, sink */
#define TWIN_VERTICES (2 + TWIN_ROWS * (1 + TWIN_NODES) + TWIN_NODES)
#define TWIN_ARCS     (4 * TWIN_VERTICES * 2)
#define TWIN_FLOOR    1000 /* worth more than any chain of moves */

struct twin {
    const struct world *world;
    struct placement_member eligible[TWIN_NODES];
    uint32_t zone[TWIN_NODES];
    double share[TWIN_NODES];
    uint32_t nodes;
    uint32_t zones;
    uint32_t spread;
    uint32_t copies;
    uint32_t arc_count;
    uint32_t first[TWIN_VERTICES];
    struct {
        uint32_t to, next;
        int room, cost;
    } arcs[TWIN_ARCS];
    int distance[TWIN_VERTICES];
    uint32_t via[TWIN_VERTICES];
};

static void twin_open(struct twin *t, const struct world *w)
{
    *t = (struct twin){.world = w};
    for (size_t i = 0; i < w->count; i++) {
        if (!w->members[i].is_eligible)
            continue;
        assert_true(t->nodes < TWIN_NODES);
        t->eligible[t->nodes] = w->members[i];
        t->zone[t->nodes] = t->zones;
        for (uint32_t k = 0; k < t->nodes; k++)
            if (t->eligible[k].zone == w->members[i].zone)
                t->zone[t->nodes] = t->zone[k];
        t->zones += t->zone[t->nodes] == t->zones;
        t->nodes++;
    }
    t->copies = t->nodes < w->table.copies ? t->nodes : w->table.copies;
    for (uint32_t room = 0; room < t->copies;) {
        uint32_t in_zone[TWIN_NODES] = {0};
        t->spread++;
        room = 0;
        for (uint32_t i = 0; i < t->nodes; i++)
            room += ++in_zone[t->zone[i]] <= t->spread;
    }
}

/* What a zone's members hold at a level of replicas per weight. */
static double twin_zone_at(const struct twin *t, uint32_t zone, double level)
{
    double sum = 0;
    for (uint32_t i = 0; i < t->nodes; i++)
        if (t->zone[i] == zone)
            sum +=
                fmin(t->world->table.row_count, level * t->eligible[i].weight);
    return sum;
}

static double twin_zone_cap(const struct twin *t, uint32_t zone)
{
    return fmin(twin_zone_at(t, zone, 1e9),
                t->spread * (double)t->world->table.row_count);
}

/* The level at which a zone (TWIN_NONE: all of them, capped) holds `sum`. */
static double twin_level(const struct twin *t, uint32_t zone, double sum)
{
    double low = 0;
    double high = 1e6;
    for (int i = 0; i < 200; i++) {
        double level = (low + high) / 2;
        double held = 0;
        for (uint32_t z = 0; z < t->zones; z++) {
            if (zone == TWIN_NONE)
                held += fmin(twin_zone_at(t, z, level), twin_zone_cap(t, z));
            else if (zone == z)
                held += twin_zone_at(t, z, level);
        }
        if (held < sum)
            low = level;
        else
            high = level;
    }
    return high;
}

static void twin_share_out(struct twin *t)
{
    double rows = t->world->table.row_count;
    double level = twin_level(t, TWIN_NONE, rows * t->copies);
    for (uint32_t z = 0; z < t->zones; z++) {
        double cap = twin_zone_cap(t, z);
        double own =
            twin_zone_at(t, z, level) <= cap ? level : twin_level(t, z, cap);
        for (uint32_t i = 0; i < t->nodes; i++)
            if (t->zone[i] == z)
                t->share[i] = fmin(rows, own * t->eligible[i].weight);
    }
}

static void twin_arc(struct twin *t, uint32_t from, uint32_t to, uint32_t room,
                     int cost)
{
    for (int back = 0; back <= 1; back++) {
        uint32_t arc = t->arc_count++;
        assert_true(arc < TWIN_ARCS);
        t->arcs[arc].to = back ? from : to;
        t->arcs[arc].room = back ? 0 : (int)room;
        t->arcs[arc].cost = back ? -cost : cost;
        t->arcs[arc].next = t->first[back ? to : from];
        t->first[back ? to : from] = arc;
    }
}

static void twin_build(struct twin *t)
{
    uint32_t rows = t->world->table.row_count;
    uint32_t sink = 1 + rows * (1 + t->zones) + t->nodes;
    for (uint32_t v = 0; v <= sink; v++)
        t->first[v] = TWIN_NONE;
    for (uint32_t r = 0; r < rows; r++) {
        const uint16_t *slots = t->world->slots + r * REPLICATION_MAX;
        twin_arc(t, 0, 1 + r, t->copies, 0);
        for (uint32_t z = 0; z < t->zones; z++)
            twin_arc(t, 1 + r, 1 + rows + r * t->zones + z, t->spread, 0);
        for (uint32_t i = 0; i < t->nodes; i++) {
            bool was = false;
            for (uint32_t k = 0; k < REPLICATION_MAX; k++)
                was = was || slots[k] == t->eligible[i].slot;
            twin_arc(t, 1 + rows + r * t->zones + t->zone[i],
                     1 + rows * (1 + t->zones) + i, 1, was ? 0 : 1);
        }
    }
    for (uint32_t i = 0; i < t->nodes; i++) {
        uint32_t floor_ = (uint32_t)floor(t->share[i] + 1e-6);
        uint32_t most = (uint32_t)ceil(t->share[i] - 1e-6) + 1;
        uint32_t v = 1 + rows * (1 + t->zones) + i;
        twin_arc(t, v, sink, floor_, -TWIN_FLOOR);
        twin_arc(t, v, sink, most - floor_, 0);
    }
}

/* Bellman-Ford with a queue. */
static bool twin_path(struct twin *t, uint32_t sink)
{
    static uint32_t queue[TWIN_VERTICES + 1];
    bool is_queued[TWIN_VERTICES] = {false};
    uint32_t head = 0;
    uint32_t tail = 1;
    for (uint32_t v = 0; v <= sink; v++)
        t->distance[v] = INT32_MAX;
    t->distance[0] = 0;
    queue[0] = 0;
    while (head != tail) {
        uint32_t v = queue[head];
        head = (head + 1) % (TWIN_VERTICES + 1);
        is_queued[v] = false;
        for (uint32_t a = t->first[v]; a != TWIN_NONE; a = t->arcs[a].next) {
            uint32_t to = t->arcs[a].to;
            int distance = t->distance[v] + t->arcs[a].cost;
            if (t->arcs[a].room == 0 || distance >= t->distance[to])
                continue;
            t->distance[to] = distance;
            t->via[to] = a;
            if (is_queued[to])
                continue;
            is_queued[to] = true;
            queue[tail] = to;
            tail = (tail + 1) % (TWIN_VERTICES + 1);
        }
    }
    return t->distance[sink] != INT32_MAX;
}

/* The least number of moves to any table with loads between the floor of the
 * share and its ceiling plus one, spread over zones. */
static uint32_t twin_least(struct twin *t)
{
    uint32_t rows = t->world->table.row_count;
    uint32_t sink = 1 + rows * (1 + t->zones) + t->nodes;
    uint32_t flow = 0;
    int cost = 0;
    twin_build(t);
    for (; twin_path(t, sink); flow++) {
        cost += t->distance[sink];
        for (uint32_t v = sink; v != 0; v = t->arcs[t->via[v] ^ 1].to) {
            t->arcs[t->via[v]].room--;
            t->arcs[t->via[v] ^ 1].room++;
        }
    }
    assert_int_equal(flow, rows * t->copies);
    for (uint32_t i = 0; i < t->nodes; i++)
        cost += TWIN_FLOOR * (int)floor(t->share[i] + 1e-6);
    assert_in_range(cost, 0, rows * t->copies); /* every floor is reached */
    return (uint32_t)cost;
}

static uint32_t twin_zone_load(const struct twin *t, const uint16_t *slots,
                               uint32_t zone)
{
    uint32_t load = 0;
    for (uint32_t k = 0; k < REPLICATION_MAX; k++)
        for (uint32_t i = 0; i < t->nodes; i++)
            load += t->eligible[i].slot == slots[k] && t->zone[i] == zone;
    return load;
}

static bool stands_in(const uint16_t *slots, uint16_t slot)
{
    for (uint32_t k = 0; k < REPLICATION_MAX; k++)
        if (slots[k] == slot)
            return true;
    return false;
}

/* Nobody is over the ceiling who could hand a replica that is copied anyway to
 * one under the ceiling. */
static void assert_no_free_move(const struct twin *t, struct world *w,
                                const uint16_t *before, uint32_t r)
{
    const uint16_t *slots = row(w, r);
    for (uint32_t a = 0; a < t->nodes; a++) {
        uint16_t slot = t->eligible[a].slot;
        if (!stands_in(slots, slot) ||
            stands_in(before + (size_t)r * REPLICATION_MAX, slot) ||
            load_of(w, slot) <= ceil(t->share[a] - 1e-6))
            continue;
        for (uint32_t b = 0; b < t->nodes; b++) {
            bool fits = t->zone[a] == t->zone[b] ||
                        twin_zone_load(t, slots, t->zone[b]) < t->spread;
            if (fits && !stands_in(slots, t->eligible[b].slot))
                assert_true(load_of(w, t->eligible[b].slot) >=
                            ceil(t->share[b] - 1e-6));
        }
    }
}

static void assert_loads_follow_shares(const struct twin *t, struct world *w)
{
    for (uint32_t i = 0; i < t->nodes; i++) {
        uint32_t load = load_of(w, t->eligible[i].slot);
        assert_true(load >= floor(t->share[i] + 1e-6));
        assert_true(load <= ceil(t->share[i] - 1e-6) + 1);
    }
}

static void fold_is_as_good_as_its_twin(void **state)
{
    (void)state;
    static const struct churn churns[] = {
        {16, 3, 3, 9, 0, false}, {32, 3, 4, 9, 0, true},
        {64, 3, 4, 9, 0, false}, {64, 3, 4, 7, 0, true},
        {32, 3, 5, 10, 3, true}, {48, 2, 4, 10, 3, false},
        {32, 3, 6, 11, 5, true}, {16, 5, 5, 9, 3, true},
    };
    static struct twin twin;
    static uint16_t before[PARTITIONS_MAX * REPLICATION_MAX];
    uint32_t all_moves = 0;
    uint32_t all_least = 0;
    for (size_t i = 0; i < sizeof churns / sizeof *churns; i++) {
        const struct churn *c = &churns[i];
        struct world *w = world_new(c->rows, c->copies, i + 1);
        uint32_t moves = 0;
        uint32_t least = 0;
        churn_open(w, c);
        for (uint32_t step = 0; step < 60; step++) {
            churn_step(w, c);
            twin_open(&twin, w);
            twin_share_out(&twin);
            uint32_t twins = twin_least(&twin);
            memcpy(before, w->slots, sizeof before);
            fold(w);
            assert_loads_follow_shares(&twin, w);
            for (uint32_t r = 0; r < c->rows; r++)
                assert_no_free_move(&twin, w, before, r);
            assert_true(w->least <= twins);
            assert_true(w->moves >= twins);
            assert_true(w->moves * 2 <= twins * 3);
            moves += w->moves;
            least += twins;
        }
        assert_true(moves * 100 <= least * (c->zones > 0 ? 115 : 105));
        all_moves += moves;
        all_least += least;
    }
    /* Better than demanded: 1.0126 when this was written. */
    assert_true(all_moves * 1000 <= all_least * 1015);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hundred_joins_and_leaves_meet_the_targets),
        cmocka_unit_test(fold_is_as_good_as_its_twin),
    };
    return cmocka_run_group_tests_name("placement_churn", tests, NULL, NULL) !=
           0;
}
