/* test_swim_net.c - clusters of SWIM machines on a small simulated network, in
 * virtual time. The figures are those of HAZARDS 5. */
#include "tests/unit/cmocka_wrap.h"

#include "ring/swim.h"
#include "tests/unit/swim_record.h"

#define NODES_MAX 100

/* ---- a network --------------------------------------------------------- */

struct message {
    uint64_t at_ms;
    uint64_t number;
    size_t from;
    size_t to;
    size_t size;
    uint8_t bytes[SWIM_BYTES_MAX];
};

struct net {
    size_t count;
    struct swim nodes[NODES_MAX];
    bool is_up[NODES_MAX];
    bool is_cut[NODES_MAX][NODES_MAX]; /* from, to */
    uint64_t slowness_ms[NODES_MAX];   /* of what comes in and goes out */
    uint64_t first_ms[NODES_MAX];      /* SUSPECT or DEAD first seen by any */
    size_t deaths[NODES_MAX];          /* how often one called it dead */
    uint32_t loss_per_mille;
    uint64_t latency_ms; /* 1 to this */
    struct rng rng;
    uint64_t now_ms;
    struct message **heap; /* by (at_ms, number) */
    size_t heap_count;
    uint64_t number;
    struct hash128 trace;
};

static bool goes_before(const struct message *a, const struct message *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->number < b->number;
}

static void heap_push(struct net *net, struct message *m)
{
    net->heap = mem_resize(net->heap, (net->heap_count + 1) * sizeof m);
    size_t at = net->heap_count++;
    while (at > 0 && goes_before(m, net->heap[(at - 1) / 2])) {
        net->heap[at] = net->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    net->heap[at] = m;
}

static struct message *heap_pop(struct net *net)
{
    struct message *first = net->heap[0];
    struct message *last = net->heap[--net->heap_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= net->heap_count)
            break;
        if (child + 1 < net->heap_count &&
            goes_before(net->heap[child + 1], net->heap[child]))
            child++;
        if (!goes_before(net->heap[child], last))
            break;
        net->heap[at] = net->heap[child];
        at = child;
    }
    net->heap[at] = last;
    return first;
}

static void net_start_with(struct net *net, size_t n, struct swim_cfg cfg,
                           uint64_t boot)
{
    char address[48];
    format_address(n, address);
    cfg.id = id_of(n);
    cfg.boot = boot;
    cfg.address = span_str(address);
    cfg.seed = rng_next(&net->rng);
    cfg.now_ms = net->now_ms;
    swim_free(&net->nodes[n]);
    swim_init(&net->nodes[n], &cfg);
    set_record(&net->nodes[n], net->count);
    net->is_up[n] = true;
}

static void net_start(struct net *net, size_t n, uint64_t boot)
{
    net_start_with(net, n, swim_cfg_default(), boot);
}

static struct net *net_of(size_t count, uint64_t seed)
{
    struct net *net = mem_alloc(sizeof *net);
    net->count = count;
    net->latency_ms = 10;
    rng_seed(&net->rng, seed);
    for (size_t i = 0; i < count; i++)
        net_start(net, i, 1);
    return net;
}

static void net_free(struct net *net)
{
    for (size_t i = 0; i < net->count; i++)
        swim_free(&net->nodes[i]);
    while (net->heap_count > 0)
        mem_free(heap_pop(net));
    mem_free(net->heap);
    mem_free(net);
}

static void net_send(struct net *net, size_t from, size_t to, struct span bytes)
{
    assert_true(bytes.size <= SWIM_BYTES_MAX);
    net->trace.lo = net->trace.lo * 31 + hash64(bytes) + to;
    if (net->is_cut[from][to] || rng_chance(&net->rng, net->loss_per_mille))
        return;
    struct message *m = mem_alloc(sizeof *m);
    m->at_ms = net->now_ms + 1 + rng_below(&net->rng, net->latency_ms) +
               net->slowness_ms[from] + net->slowness_ms[to];
    m->number = net->number++;
    m->from = from;
    m->to = to;
    m->size = bytes.size;
    memcpy(m->bytes, bytes.data, bytes.size);
    heap_push(net, m);
}

static void net_drain(struct net *net, size_t n)
{
    struct swim_effect effect;
    while (swim_pop(&net->nodes[n], &effect)) {
        size_t about = node_of(effect.id);
        switch (effect.kind) {
        case SWIM_SEND:
            net_send(net, n, about, effect.bytes);
            break;
        case SWIM_CHANGED:
            if (effect.state >= SWIM_SUSPECT && net->first_ms[about] == 0)
                net->first_ms[about] = net->now_ms;
            net->deaths[about] += effect.state == SWIM_DEAD;
            break;
        }
    }
    swim_check(&net->nodes[n]);
}

static void net_deliver(struct net *net)
{
    struct message *m = heap_pop(net);
    if (net->is_up[m->to]) {
        struct swim *s = &net->nodes[m->to];
        swim_tick(s, net->now_ms);
        net_drain(net, m->to);
        assert_int_equal(
            swim_recv(s, id_of(m->from), span_of(m->bytes, m->size)), ERR_OK);
        net_drain(net, m->to);
    }
    mem_free(m);
}

static void net_run(struct net *net, uint64_t ms)
{
    uint64_t end_ms = net->now_ms + ms;
    for (;;) {
        uint64_t at = end_ms;
        size_t next = NODES_MAX;
        for (size_t i = 0; i < net->count; i++) {
            if (net->is_up[i] && swim_deadline(&net->nodes[i]) < at) {
                at = swim_deadline(&net->nodes[i]);
                next = i;
            }
        }
        if (net->heap_count > 0 && net->heap[0]->at_ms <= at &&
            net->heap[0]->at_ms < end_ms) {
            net->now_ms = net->heap[0]->at_ms;
            net_deliver(net);
        } else if (next < NODES_MAX) {
            net->now_ms = at;
            swim_tick(&net->nodes[next], at);
            net_drain(net, next);
        } else {
            break;
        }
    }
    net->now_ms = end_ms;
}

/* Do all that are up hold `n` for `state`? */
static bool is_seen_by_all(const struct net *net, size_t n,
                           enum swim_state state)
{
    for (size_t i = 0; i < net->count; i++)
        if (net->is_up[i] && i != n &&
            swim_state(&net->nodes[i], id_of(n)) != state)
            return false;
    return true;
}

static bool is_all_alive(const struct net *net)
{
    for (size_t i = 0; i < net->count; i++)
        if (!is_seen_by_all(net, i, net->is_up[i] ? SWIM_ALIVE : SWIM_DEAD))
            return false;
    return true;
}

/* Run until all see `n` in `state`: how long it took, at most `max_ms`. */
static uint64_t net_await(struct net *net, size_t n, enum swim_state state,
                          uint64_t max_ms)
{
    uint64_t start_ms = net->now_ms;
    while (!is_seen_by_all(net, n, state) && net->now_ms - start_ms < max_ms)
        net_run(net, 10);
    return net->now_ms - start_ms;
}

static uint64_t net_await_all(struct net *net, uint64_t max_ms)
{
    uint64_t start_ms = net->now_ms;
    while (!is_all_alive(net) && net->now_ms - start_ms < max_ms)
        net_run(net, 10);
    return net->now_ms - start_ms;
}

static void net_forget(struct net *net)
{
    memset(net->first_ms, 0, sizeof net->first_ms);
    memset(net->deaths, 0, sizeof net->deaths);
}

static size_t false_deaths(const struct net *net)
{
    size_t sum = 0;
    for (size_t i = 0; i < net->count; i++)
        sum += net->is_up[i] ? net->deaths[i] : 0;
    return sum;
}

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
        assert_true(is_all_alive(net));
        size_t victim = (size_t)rng_below(&net->rng, n);
        net->is_up[victim] = false;
        uint64_t took_ms = net_await(net, victim, SWIM_DEAD, 60000);
        worst_ms = max_u64(worst_ms, took_ms);
        sum_ms += took_ms;
        assert_int_equal(false_deaths(net), 0);
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
               swim_boot(&net->nodes[1], id_of(2)) != 2 || !is_all_alive(net)) {
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
    assert_int_equal(false_deaths(net), 0);
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
        assert_int_equal(false_deaths(net), 0);
        assert_true(is_all_alive(net));
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
    assert_true(is_all_alive(net));
    assert_int_equal(false_deaths(net), 0);
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
        assert_true(is_all_alive(net));
    }
    print_message("n=50: first suspicion after %llu ms, at most %llu\n",
                  (unsigned long long)(sum_ms / 40),
                  (unsigned long long)worst_ms);
    /* The probe that fails takes an interval of its own. */
    assert_true(sum_ms / 40 <= 3 * PROBE_INTERVAL_MS);
    assert_true(worst_ms <= 30 * PROBE_INTERVAL_MS);
    net_free(net);
}

static void a_death_spreads_through_a_storm_of_events(void **state)
{
    (void)state;
    for (size_t is_storm = 0; is_storm < 2; is_storm++) {
        struct net *net = net_of(100, 1);
        net_run(net, is_storm ? 20000 : 3000);
        net->is_up[42] = false;
        for (size_t i = 0; is_storm && i < 100; i++)
            swim_set_meta(&net->nodes[i], span_str("storm"));
        uint64_t took_ms = net_await(net, 42, SWIM_DEAD, 200000);
        print_message("n=100%s: dead for all after %llu ms\n",
                      is_storm ? " in a storm" : "",
                      (unsigned long long)took_ms);
        assert_true(took_ms <= 40 * PROBE_INTERVAL_MS);
        assert_int_equal(false_deaths(net), 0);
        net_free(net);
    }
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
                  (unsigned)health_max, count, false_deaths(net),
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
        T(a_death_spreads_through_a_storm_of_events),
        T(a_slow_node_accuses_fewer_with_lifeguard),
        T(the_same_seed_gives_the_same_trace),
#undef T
    };
    return cmocka_run_group_tests_name("swim_net", tests, NULL, NULL) != 0;
}
