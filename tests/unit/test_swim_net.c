/* test_swim_net.c - clusters of SWIM machines on a small simulated network, in
 * virtual time. The figures are those of HAZARDS 5. */
#include "tests/unit/cmocka_wrap.h"

#include "tests/unit/swim_net.h"
#include "tests/unit/swim_record.h"

/* ---- clusters ---------------------------------------------------------- */

static void a_killed_node_is_dead_for_all_within(size_t n, uint64_t seeds)
{
    struct swim_cfg cfg = swim_cfg_default();
    uint64_t bound_ms = swim_detection_ms_max(&cfg, n);
    uint64_t worst_ms = 0;
    uint64_t sum_ms = 0;
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        struct net *net = net_of(n, seed);
        net_run(net, 10000 + rng_below(&net->rng, 5000));
        assert_true(net_is_whole(net));
        size_t victim = (size_t)rng_below(&net->rng, n);
        net->is_up[victim] = false;
        uint64_t took_ms = net_await(net, victim, SWIM_DEAD, 60000);
        worst_ms = max_u64(worst_ms, took_ms);
        sum_ms += took_ms;
        assert_int_equal(net_false_deaths(net), 0);
        net_free(net);
    }
    print_message("n=%zu: dead for all after %llu ms, at most %llu of %llu\n",
                  n, (unsigned long long)(sum_ms / seeds),
                  (unsigned long long)worst_ms, (unsigned long long)bound_ms);
    assert_true(worst_ms <= bound_ms);
}

static void a_killed_node_is_dead_within_the_bound(void **state)
{
    (void)state;
    struct swim_cfg cfg = swim_cfg_default();
    assert_true(swim_detection_ms_max(&cfg, 3) <= 10000);
    a_killed_node_is_dead_for_all_within(2, 100);
    a_killed_node_is_dead_for_all_within(3, 500);
    a_killed_node_is_dead_for_all_within(5, 500);
}

static void a_restarted_node_is_alive_at_once_with_its_boot(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct net *net = net_of(3, seed);
        net_run(net, 10000);
        net->is_up[2] = false;
        net_run(net, seed % 2 == 0 ? 500 : 12000);
        net_start(net, 2, 2);
        uint64_t took_ms = 0;
        while (swim_boot(&net->nodes[0], id_of(2)) != 2 ||
               swim_boot(&net->nodes[1], id_of(2)) != 2 || !net_is_whole(net)) {
            net_run(net, 10);
            took_ms += 10;
            assert_true(took_ms <= 3000);
        }
        net_free(net);
    }
}

static void fifty_nodes_find_each_other(void **state)
{
    (void)state;
    struct net *net = net_of(50, 1);
    uint64_t took_ms = net_await_all(net, 200000);
    print_message("n=50: all see all after %llu ms\n",
                  (unsigned long long)took_ms);
    assert_true(took_ms <= 3 * 50 * PROBE_INTERVAL_MS);
    net_free(net);
}

static void news_cross_a_chain_of_five(void **state)
{
    (void)state;
    uint64_t worst_ms = 0;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct net *net = net_of(5, seed);
        for (size_t i = 0; i < 5; i++)
            for (size_t j = 0; j < 5; j++)
                net->is_cut[i][j] = i > j + 1 || j > i + 1;
        swim_set_meta(&net->nodes[0], span_str("news"));
        uint64_t took_ms = 0;
        while (swim_meta(&net->nodes[4], id_of(0)).size == 0) {
            net_run(net, 10);
            took_ms += 10;
            assert_true(took_ms <= 10 * (PROBE_INTERVAL_MS + PROBE_JITTER_MS));
        }
        worst_ms = max_u64(worst_ms, took_ms);
        net_free(net);
    }
    print_message("chain of 5: at most %llu ms\n",
                  (unsigned long long)worst_ms);
}

static void a_death_is_known_everywhere_despite_loss(void **state)
{
    (void)state;
    static const uint32_t losses[] = {5, 10, 20, 50, 90};
    for (size_t i = 0; i < sizeof losses / sizeof losses[0]; i++) {
        struct net *net = net_of(20, i + 1);
        net_run(net, 10000);
        net->loss_per_mille = losses[i] * 10;
        net_run(net, 10000);
        net->is_up[7] = false;
        uint64_t took_ms = net_await(net, 7, SWIM_DEAD, 1000000);
        print_message("loss %u %%: dead for all after %llu ms\n",
                      (unsigned)losses[i], (unsigned long long)took_ms);
        assert_true(took_ms <=
                    20 * 100 * PROBE_INTERVAL_MS / (100 - losses[i]));
        net_free(net);
    }
}

static void nobody_dies_of_a_little_loss_in_an_hour(void **state)
{
    (void)state;
    struct net *net = net_of(5, 3);
    net->loss_per_mille = 50;
    net_run(net, 3600 * 1000);
    assert_int_equal(net_false_deaths(net), 0);
    net_free(net);
}

static void nobody_dies_of_a_one_way_cut(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct net *net = net_of(3, seed);
        net_run(net, 5000);
        net->is_cut[0][1] = true;
        net_run(net, 60000);
        assert_int_equal(net_false_deaths(net), 0);
        assert_true(net_is_whole(net));
        net_free(net);
    }
}

static void heal(size_t n, size_t minority, uint64_t seed, uint64_t *worst_ms)
{
    struct net *net = net_of(n, seed);
    net_run(net, 10000);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            net->is_cut[i][j] = (i < minority) != (j < minority);
    net_run(net, 60000);
    assert_int_equal(swim_state(&net->nodes[0], id_of(n - 1)), SWIM_DEAD);
    assert_int_equal(swim_state(&net->nodes[n - 1], id_of(0)), SWIM_DEAD);
    memset(net->is_cut, 0, sizeof net->is_cut);
    uint64_t took_ms = net_await_all(net, 600000);
    *worst_ms = max_u64(*worst_ms, took_ms);
    /* And it stays healed. */
    net_forget(net);
    net_run(net, 30000);
    assert_true(net_is_whole(net));
    assert_int_equal(net_false_deaths(net), 0);
    net_free(net);
}

static void a_healed_partition_agrees_again(void **state)
{
    (void)state;
    static const size_t sizes[][2] = {{2, 1}, {3, 1}, {5, 2}, {20, 10}};
    for (size_t i = 0; i < 4; i++) {
        uint64_t worst_ms = 0;
        for (uint64_t seed = 1; seed <= 20; seed++)
            heal(sizes[i][0], sizes[i][1], seed, &worst_ms);
        print_message("%zu of %zu cut off: healed after at most %llu ms\n",
                      sizes[i][1], sizes[i][0], (unsigned long long)worst_ms);
        assert_true(worst_ms <= 2 * PUSH_PULL_MS);
    }
}

static void the_first_suspicion_comes_soon(void **state)
{
    (void)state;
    uint64_t sum_ms = 0;
    uint64_t worst_ms = 0;
    struct net *net = net_of(50, 1);
    net_run(net, 10000);
    for (uint64_t round = 0; round < 40; round++) {
        net_forget(net);
        net->is_up[round] = false;
        uint64_t killed_ms = net->now_ms;
        while (net->first_ms[round] == 0)
            net_run(net, 10);
        uint64_t took_ms = net->first_ms[round] - killed_ms;
        sum_ms += took_ms;
        worst_ms = max_u64(worst_ms, took_ms);
        net_start(net, round, 2);
        net_run(net, 12000);
        assert_true(net_is_whole(net));
    }
    print_message("n=50: first suspicion after %llu ms, at most %llu\n",
                  (unsigned long long)(sum_ms / 40),
                  (unsigned long long)worst_ms);
    /* The probe that fails takes an interval of its own. */
    assert_true(sum_ms / 40 <= 3 * PROBE_INTERVAL_MS);
    assert_true(worst_ms <= 30 * PROBE_INTERVAL_MS);
    net_free(net);
}

/* False deaths of healthy nodes in two minutes with one node starved. */
static size_t deaths_beside_a_slow_one(uint32_t health_max)
{
    struct net *net = net_of(20, 5);
    struct swim_cfg cfg = swim_cfg_default();
    cfg.health_max = health_max;
    for (size_t i = 0; i < 20; i++)
        net_start_with(net, i, cfg, 2);
    net_run(net, 10000);
    net_forget(net);
    net->slowness_ms[0] = 1200;
    net_run(net, 300000);
    net->is_up[0] = false; /* its own deaths do not count */
    size_t count = 0;
    for (size_t i = 1; i < 20; i++)
        count += net->first_ms[i] > 0;
    print_message("health up to %u: %zu suspected, %zu deaths, health %u\n",
                  (unsigned)health_max, count, net_false_deaths(net),
                  (unsigned)net->nodes[0].health);
    net_free(net);
    return count;
}

static void a_slow_node_accuses_fewer_with_lifeguard(void **state)
{
    (void)state;
    size_t without = deaths_beside_a_slow_one(0);
    size_t with = deaths_beside_a_slow_one(SWIM_HEALTH_MAX);
    assert_true(without > 0);
    assert_true(with <= without);
}

static uint64_t trace_of(uint64_t seed)
{
    struct net *net = net_of(10, seed);
    net->loss_per_mille = 100;
    net_run(net, 60000);
    uint64_t trace = net->trace.lo;
    net_free(net);
    return trace;
}

static void the_same_seed_gives_the_same_trace(void **state)
{
    (void)state;
    assert_true(trace_of(1) == trace_of(1));
    assert_true(trace_of(1) != trace_of(2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test(name)
        T(a_killed_node_is_dead_within_the_bound),
        T(a_restarted_node_is_alive_at_once_with_its_boot),
        T(fifty_nodes_find_each_other),
        T(news_cross_a_chain_of_five),
        T(a_death_is_known_everywhere_despite_loss),
        T(nobody_dies_of_a_little_loss_in_an_hour),
        T(nobody_dies_of_a_one_way_cut),
        T(a_healed_partition_agrees_again),
        T(the_first_suspicion_comes_soon),
        T(a_slow_node_accuses_fewer_with_lifeguard),
        T(the_same_seed_gives_the_same_trace),
#undef T
    };
    return cmocka_run_group_tests_name("swim_net", tests, NULL, NULL) != 0;
}
