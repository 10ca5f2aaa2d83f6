/* test_swim_hundred.c - a hundred nodes: gossip, and the placement that follows
 * from it, alone. The figures are those of HAZARDS 5 and DESIGN 4; a round is
 * a probe interval with its jitter. */
#include "tests/unit/placement_world.h"
#include "tests/unit/swim_net.h"
#include "tests/unit/swim_record.h"

#define COUNT    100u
#define KILLED   20u
#define ROUND_MS (PROBE_INTERVAL_MS + PROBE_JITTER_MS)

typedef unsigned long long ull; /* what printf calls uint64_t */

/* ---- gossip ------------------------------------------------------------ */

static void a_hundred_nodes_find_each_other(void **state)
{
    (void)state;
    struct net *net = net_of(COUNT, 1);
    uint64_t took_ms = net_await_all(net, 4 * COUNT * ROUND_MS);
    print_message("all see all after %llu ms\n", (ull)took_ms);
    assert_true(took_ms <= 3 * COUNT * ROUND_MS);
    net_free(net);
}

static uint64_t death_spreads(uint64_t seed, bool is_storm)
{
    struct net *net = net_of(COUNT, seed);
    net_run(net, is_storm ? 20000 : 3000);
    net->is_up[42] = false;
    for (size_t i = 0; is_storm && i < COUNT; i++)
        swim_set_meta(&net->nodes[i], span_str("storm"));
    uint64_t took_ms = net_await(net, 42, SWIM_DEAD, 200000);
    assert_int_equal(net_false_deaths(net), 0);
    net_free(net);
    return took_ms;
}

static void a_death_spreads_soon_after_a_start_and_in_a_storm(void **state)
{
    (void)state;
    for (size_t is_storm = 0; is_storm < 2; is_storm++) {
        uint64_t worst_ms = 0;
        for (uint64_t seed = 1; seed <= 3; seed++)
            worst_ms = max_u64(worst_ms, death_spreads(seed, is_storm));
        print_message("%s: dead for all after at most %llu ms\n",
                      is_storm ? "in a storm of news" : "from a cold start",
                      (ull)worst_ms);
        assert_true(worst_ms <= 40 * ROUND_MS);
    }
}

static void the_first_suspicion_comes_soon(void **state)
{
    (void)state;
    uint64_t sum_ms = 0, worst_ms = 0, known_ms = 0;
    struct net *net = net_of(COUNT, 1);
    net_run(net, 20000);
    for (size_t n = 0; n < KILLED; n++) {
        net_forget(net);
        net->is_up[n] = false;
        uint64_t killed_ms = net->now_ms;
        known_ms = max_u64(known_ms, net_await(net, n, SWIM_DEAD, 60000));
        uint64_t took_ms = net->first_ms[n] - killed_ms;
        sum_ms += took_ms;
        worst_ms = max_u64(worst_ms, took_ms);
        net_start(net, n, 2);
        assert_true(net_await_all(net, 30000) < 30000);
    }
    struct swim_cfg cfg = swim_cfg_default();
    uint64_t bound_ms = swim_detection_ms_max(&cfg, COUNT);
    print_message("first suspicion after %llu ms, at most %llu; dead for all "
                  "after at most %llu of %llu\n",
                  (ull)sum_ms / KILLED, (ull)worst_ms, (ull)known_ms,
                  (ull)bound_ms);
    /* Two rounds, and that of the probe that fails. */
    assert_true(sum_ms / KILLED <= 3 * ROUND_MS);
    assert_true(worst_ms <= (2 * COUNT - 1) * ROUND_MS);
    assert_true(known_ms <= bound_ms);
    net_free(net);
}

/* How often somebody called one dead that was well, in three minutes beside
 * `slow` ones that hear and say all too late. */
static size_t deaths_beside_slow_ones(size_t slow, uint64_t slowness_ms,
                                      uint32_t health_max)
{
    struct net *net = net_of(COUNT, 1);
    struct swim_cfg cfg = swim_cfg_default();
    cfg.health_max = health_max;
    for (size_t i = 0; i < COUNT; i++)
        net_start_with(net, i, cfg, 2);
    net_run(net, 20000);
    net_forget(net);
    for (size_t i = 0; i < slow; i++)
        net->slowness_ms[i] = slowness_ms;
    net_run(net, 180000);
    for (size_t i = 0; i < slow; i++)
        net->is_up[i] = false; /* their own deaths do not count */
    size_t deaths = net_false_deaths(net);
    net_free(net);
    return deaths;
}

static void lifeguard_spares_those_beside_slow_ones(void **state)
{
    (void)state;
    static const struct {
        size_t slow;
        uint64_t slowness_ms;
    } rows[] = {{1, 3200}, {1, 6400}, {4, 3200}, {4, 6400}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t without =
            deaths_beside_slow_ones(rows[i].slow, rows[i].slowness_ms, 0);
        size_t with = deaths_beside_slow_ones(rows[i].slow, rows[i].slowness_ms,
                                              SWIM_HEALTH_MAX);
        print_message("beside %zu that are %llu ms slow: %zu false deaths, "
                      "%zu without Lifeguard\n",
                      rows[i].slow, (ull)rows[i].slowness_ms, with, without);
        assert_true(without >= 50); /* else it tells nothing */
        assert_true(with * 50 <= without);
    }
}

static void a_healed_partition_agrees_again(void **state)
{
    (void)state;
    struct net *net = net_of(COUNT, 1);
    net_run(net, 20000);
    for (size_t i = 0; i < COUNT; i++)
        for (size_t k = 0; k < COUNT; k++)
            net->is_cut[i][k] = (i < 30) != (k < 30);
    net_run(net, 120000);
    assert_false(net_is_whole(net));
    memset(net->is_cut, 0, sizeof net->is_cut);
    uint64_t took_ms = net_await_all(net, 600000);
    print_message("30 of %u cut off: healed after %llu ms\n", COUNT,
                  (ull)took_ms);
    assert_true(took_ms <= 2 * PUSH_PULL_MS);
    net_free(net);
}

/* ---- gossip and placement ---------------------------------------------- */

#define VOTERS     5u     /* of the ring; their majority decides */
#define DECIDED_MS 60000u /* so long must they agree */
#define DOWN_MAX   10u

struct life {
    struct net *net;
    struct world *ring;
    uint64_t boots[COUNT];
    uint64_t back_ms[COUNT];  /* a dead one's: when it starts again */
    uint64_t since_ms[COUNT]; /* since when the voters see otherwise; or 0 */
    uint64_t moves, least;
    uint32_t deaths, outs, folds;
};

static struct life life_of(uint64_t seed, uint32_t partitions)
{
    struct life l = {.net = net_of(COUNT, seed),
                     .ring = world_new(partitions, 3, seed)};
    l.net->loss_per_mille = 20;
    join_many(l.ring, COUNT);
    fold(l.ring);
    for (size_t i = 0; i < COUNT; i++)
        l.boots[i] = 1;
    return l;
}

static size_t down_count(const struct life *l)
{
    size_t down = 0;
    for (size_t i = 0; i < COUNT; i++)
        down += !l->net->is_up[i];
    return down;
}

static void befall(struct life *l, bool may_die)
{
    struct net *net = l->net;
    for (size_t i = 0; i < COUNT; i++)
        if (!net->is_up[i] && net->now_ms >= l->back_ms[i])
            net_start(net, i, ++l->boots[i]);
    if (!may_die || down_count(l) == DOWN_MAX || !rng_chance(&net->rng, 100))
        return;
    size_t victim = (size_t)rng_below(&net->rng, COUNT);
    if (!net->is_up[victim])
        return;
    net->is_up[victim] = false;
    l->back_ms[victim] = net->now_ms + 1000 + rng_below(&net->rng, 200000);
    l->deaths++;
}

/* Does a majority of the voters hold `n` for `state`? */
static bool is_agreed(const struct life *l, size_t n, enum swim_state state)
{
    size_t count = 0;
    for (size_t v = 0; v < VOTERS; v++)
        count += v == n ? state == SWIM_ALIVE && l->net->is_up[v]
                        : l->net->is_up[v] &&
                              swim_state(&l->net->nodes[v], id_of(n)) == state;
    return count > VOTERS / 2;
}

/* Out, or up again; true: the ring has changed. Nobody who is well goes out,
 * and nobody comes back who is not there. */
static bool decide(struct life *l, size_t n)
{
    struct placement_member *m = &l->ring->members[n];
    bool is_other = is_agreed(l, n, m->is_eligible ? SWIM_DEAD : SWIM_ALIVE);
    if (!is_other || l->since_ms[n] == 0)
        l->since_ms[n] = is_other ? l->net->now_ms : 0;
    if (!is_other || l->net->now_ms - l->since_ms[n] < DECIDED_MS)
        return false;
    m->is_eligible = !m->is_eligible;
    assert_true(m->is_eligible == l->net->is_up[n]);
    l->since_ms[n] = 0;
    l->outs += !m->is_eligible;
    return true;
}

static void place(struct life *l)
{
    bool has_changed = false;
    for (size_t n = 0; n < COUNT; n++)
        has_changed |= decide(l, n);
    if (!has_changed)
        return;
    fold(l->ring);
    struct placement_figures f = measure(l->ring);
    assert_int_equal(f.rows_short, 0);
    assert_true(f.load_excess <= 0 && f.leaders_excess <= 1);
    l->folds++;
    l->moves += l->ring->moves;
    l->least += l->ring->least;
}

static void twenty_minutes_of_deaths_leave_all_well_placed(void **state)
{
    (void)state;
    struct life l = life_of(1, 1024);
    struct net *net = l.net;
    for (uint32_t second = 0; second < 1200; second++) {
        net_run(net, 1000);
        befall(&l, second < 780);
        place(&l);
    }
    print_message("%u deaths, %u went out; %u folds, %llu moves of at least "
                  "%llu\n",
                  l.deaths, l.outs, l.folds, (ull)l.moves, (ull)l.least);
    assert_true(l.outs >= 10 && l.folds >= 20);
    assert_true(l.moves * 100 <= l.least * 105);
    assert_true(net_is_whole(net));
    struct placement_figures f = measure(l.ring);
    assert_true(f.load_max - f.load_min <= 2);
    for (size_t n = 0; n < COUNT; n++)
        assert_true(l.ring->members[n].is_eligible);
    net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test(name)
        T(a_hundred_nodes_find_each_other),
        T(a_death_spreads_soon_after_a_start_and_in_a_storm),
        T(the_first_suspicion_comes_soon),
        T(lifeguard_spares_those_beside_slow_ones),
        T(a_healed_partition_agrees_again),
        T(twenty_minutes_of_deaths_leave_all_well_placed),
#undef T
    };
    return cmocka_run_group_tests_name("swim_hundred", tests, NULL, NULL) != 0;
}
