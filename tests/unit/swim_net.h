/* swim_net.h - a cluster of SWIM machines on a small simulated network, in
 * virtual time: messages are lost, cut off and late, nodes die, start again
 * and are slow. One thread, one seed; asserts what must hold of any message. */
#ifndef TESTS_UNIT_SWIM_NET_H
#define TESTS_UNIT_SWIM_NET_H

#include "ring/swim.h"

#define NODES_MAX 100

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
    struct net_message **heap; /* by (at_ms, number) */
    size_t heap_count;
    uint64_t number;
    struct hash128 trace;
};

/* All up, with boot 1, at time 0; they have the record and met nobody yet. */
struct net *net_of(size_t count, uint64_t seed);
void net_free(struct net *net);
/* A new life of node `n`; of the configuration, id, boot, address, seed and
 * time are set here. */
void net_start(struct net *net, size_t n, uint64_t boot);
void net_start_with(struct net *net, size_t n, struct swim_cfg cfg,
                    uint64_t boot);
void net_run(struct net *net, uint64_t ms);

/* Do all that are up, but itself, hold `n` for `state`? */
bool net_all_see(const struct net *net, size_t n, enum swim_state state);
/* Do all that are up know who is up, and who is not? */
bool net_is_whole(const struct net *net);
/* Run until all see `n` in `state`: how long it took, at most `max_ms`. */
uint64_t net_await(struct net *net, size_t n, enum swim_state state,
                   uint64_t max_ms);
/* The same until it is whole. */
uint64_t net_await_all(struct net *net, uint64_t max_ms);

/* Count first suspicions and deaths from here on. */
void net_forget(struct net *net);
/* How often somebody has called one dead that is up. */
size_t net_false_deaths(const struct net *net);

#endif
