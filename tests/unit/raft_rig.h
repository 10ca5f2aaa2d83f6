/* raft_rig.h - machines of ring/raft.h on a bench: a few nodes of one group,
 * with disks that are synced and messages that are delivered when the test
 * says so.
 *
 * Node i has the id {i + 1} and was added at 1. The log begins at 1 (base 0),
 * so that indexes are those of the paper's figures; the first configuration
 * is the base's. T is 100 ms, a heartbeat 10 ms, and there is no jitter. */
#ifndef TESTS_UNIT_RAFT_RIG_H
#define TESTS_UNIT_RAFT_RIG_H

#include "ring/raft.h"

enum {
    RIG_NODES = 7,
    RIG_LOG_MAX = 1024,
    RIG_SENT_MAX = 256,
    RIG_T = 100,
    RIG_BEAT = 10,
};

struct rig_node {
    struct raft *r; /* NULL: not running */
    bool is_cut;    /* nothing is delivered to or from it */
    struct replica self;
    /* on disk */
    struct raft_hard_state hard;
    uint64_t base; /* of the log; of term base_term */
    uint64_t base_term;
    uint64_t applied;
    uint64_t last;
    struct item *log[RIG_LOG_MAX]; /* by index */
    /* popped, not yet synced */
    struct raft_hard_state new_hard;
    uint64_t hard_write, log_write;
    uint64_t new_last;
    struct item *new_log[RIG_LOG_MAX];
    uint64_t truncated_at; /* by the newest truncation; 0: none */
    /* popped since rig_clear */
    struct raft_msg sent[RIG_SENT_MAX];
    size_t sent_count;
    size_t role_news;
    struct raft_effect reads[16];
    size_t read_count;
};

struct rig {
    struct item_pool pool;
    uint64_t now;
    uint32_t append_inflight_bytes;
    size_t batch_bytes; /* of an append that rig_deliver pulls */
    size_t appends;     /* delivered so far */
    struct config config;
    struct rig_node nodes[RIG_NODES];
};

/* The first `voters` nodes vote, the next `learners` learn; none runs yet. */
void rig_init(struct rig *g, uint32_t voters, uint32_t learners);
/* ASSERTs that no item is left over. */
void rig_free(struct rig *g);
/* Puts entries of these terms on the node's disk, from index 1 on; its own
 * term becomes at least the last of them. */
void rig_log(struct rig *g, size_t node, const uint64_t *terms, size_t count);
void rig_start(struct rig *g, size_t node); /* from its disk */
void rig_start_all(struct rig *g);          /* the members */
void rig_crash(struct rig *g, size_t node); /* what is not synced is lost */

struct replica rig_replica(size_t node);

/* ---- one machine, by hand ---------------------------------------------- */

void rig_drain(struct rig *g, size_t node); /* pops all effects */
void rig_sync(struct rig *g, size_t node);  /* all popped writes are durable */
void rig_recv(struct rig *g, size_t node, struct raft_msg msg);
/* A message from one node to another, the rest zero. */
struct raft_msg rig_msg(enum raft_msg_kind kind, size_t from, size_t to,
                        uint64_t term);
/* An APPEND with entries of these terms after prev. */
void rig_append(struct rig *g, size_t from, size_t to, struct raft_msg msg,
                const uint64_t *terms, size_t count);
/* Follower `from` says that it matches the leader `to` up to here. */
void rig_ack(struct rig *g, size_t from, size_t to, uint64_t match);
void rig_tick(struct rig *g, size_t node, uint64_t now);
/* The newest message sent of this kind to this node; NULL: none. */
const struct raft_msg *rig_sent(const struct rig *g, size_t node,
                                enum raft_msg_kind kind, size_t to);
void rig_clear(struct rig *g, size_t node); /* forgets what it sent */
/* Makes the node the leader of the next term by the votes of all others; its
 * no-op is on its disk, and `ready`: committed. */
void rig_lead(struct rig *g, size_t node, bool ready);
struct item *rig_item(struct rig *g, uint64_t index, uint64_t term);
/* Proposes a command; 0: refused. */
uint64_t rig_propose(struct rig *g, size_t node);
/* Pulls one append for `to`; NULL: none. Valid until the next call. */
const struct raft_msg *rig_pull(struct rig *g, size_t node, size_t to,
                                size_t max_bytes);

/* ---- all of them ------------------------------------------------------- */

/* Syncs, delivers and pulls until nothing moves; no time passes. */
void rig_settle(struct rig *g);
/* The same for so many ms, ticking each. */
void rig_run(struct rig *g, uint64_t ms);
/* The leader of the highest term, RIG_NODES: none. */
size_t rig_leader(const struct rig *g);

#endif
