/* swim_net.c - see swim_net.h. */
#include "tests/unit/cmocka_wrap.h"

#include "tests/unit/swim_net.h"
#include "tests/unit/swim_record.h"

struct net_message {
    uint64_t at_ms;
    uint64_t number;
    size_t from;
    size_t to;
    size_t size;
    uint8_t bytes[SWIM_BYTES_MAX];
};

static bool goes_before(const struct net_message *a,
                        const struct net_message *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->number < b->number;
}

static void heap_push(struct net *net, struct net_message *m)
{
    net->heap = mem_resize(net->heap, (net->heap_count + 1) * sizeof m);
    size_t at = net->heap_count++;
    while (at > 0 && goes_before(m, net->heap[(at - 1) / 2])) {
        net->heap[at] = net->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    net->heap[at] = m;
}

static struct net_message *heap_pop(struct net *net)
{
    struct net_message *first = net->heap[0];
    struct net_message *last = net->heap[--net->heap_count];
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

void net_start_with(struct net *net, size_t n, struct swim_cfg cfg,
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

void net_start(struct net *net, size_t n, uint64_t boot)
{
    net_start_with(net, n, swim_cfg_default(), boot);
}

struct net *net_of(size_t count, uint64_t seed)
{
    struct net *net = mem_alloc(sizeof *net);
    net->count = count;
    net->latency_ms = 10;
    rng_seed(&net->rng, seed);
    for (size_t i = 0; i < count; i++)
        net_start(net, i, 1);
    return net;
}

void net_free(struct net *net)
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
    struct net_message *m = mem_alloc(sizeof *m);
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
    struct net_message *m = heap_pop(net);
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

void net_run(struct net *net, uint64_t ms)
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

bool net_all_see(const struct net *net, size_t n, enum swim_state state)
{
    for (size_t i = 0; i < net->count; i++)
        if (net->is_up[i] && i != n &&
            swim_state(&net->nodes[i], id_of(n)) != state)
            return false;
    return true;
}

bool net_is_whole(const struct net *net)
{
    for (size_t i = 0; i < net->count; i++)
        if (!net_all_see(net, i, net->is_up[i] ? SWIM_ALIVE : SWIM_DEAD))
            return false;
    return true;
}

uint64_t net_await(struct net *net, size_t n, enum swim_state state,
                   uint64_t max_ms)
{
    uint64_t start_ms = net->now_ms;
    while (!net_all_see(net, n, state) && net->now_ms - start_ms < max_ms)
        net_run(net, 10);
    return net->now_ms - start_ms;
}

uint64_t net_await_all(struct net *net, uint64_t max_ms)
{
    uint64_t start_ms = net->now_ms;
    while (!net_is_whole(net) && net->now_ms - start_ms < max_ms)
        net_run(net, 100); /* a look at all is slow */
    return net->now_ms - start_ms;
}

void net_forget(struct net *net)
{
    memset(net->first_ms, 0, sizeof net->first_ms);
    memset(net->deaths, 0, sizeof net->deaths);
}

size_t net_false_deaths(const struct net *net)
{
    size_t sum = 0;
    for (size_t i = 0; i < net->count; i++)
        sum += net->is_up[i] ? net->deaths[i] : 0;
    return sum;
}
