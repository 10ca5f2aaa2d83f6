/* plan.h - what one history is made of, drawn from its seed before it begins:
 * which faults (fault_kinds.h), how many, how long, how slow. */
#ifndef TESTS_SIM_PLAN_H
#define TESTS_SIM_PLAN_H

#include "node/node.h"
#include "tests/sim/fault_kinds.h"

#define PLAN_GROUPS_MAX 65u

struct plan {
    bool has[FAULT_COUNT]; /* the swarm's draw */
    uint32_t hosts;
    uint32_t late_hosts; /* of them: join while faults go on */
    uint32_t copies;     /* N */
    uint32_t groups;     /* Q + 1 */
    uint32_t streams;
    uint32_t raw_users;
    uint32_t core_users;
    struct node_timing timing;
    uint64_t chaos_ms;
    /* network */
    uint32_t loss_per_mille, dup_per_mille, user_loss_per_mille;
    uint32_t delay_us; /* of all, at least */
    uint32_t jitter_us;
    uint32_t long_per_mille; /* take up to ... */
    uint32_t long_ms;
    uint32_t stray_per_mille; /* come with another that nobody sent */
    uint32_t stale_ms;        /* a duplicate comes up to so much later */
    /* processes and disks */
    uint32_t wake_us; /* from an input to the turn that sees it, at most */
    uint32_t commit_min_us, commit_max_us;
    uint32_t told_us; /* from the disk's word to the core's ear, at most */
    uint32_t slow_per_mille; /* commits that take up to slow_ms */
    uint32_t slow_ms;
    uint32_t read_us;
    uint32_t skew_ms;          /* of wall clocks, either way */
    uint32_t log_keep_entries; /* the rest is cut; 0: as in production */
    /* faults */
    uint32_t crashes, partitions, troubles, pauses, mishaps, changes;
    uint32_t isolations_percent;
    uint32_t down_ms, cut_ms, pause_ms;
    uint32_t away, out_after_ms;
    uint32_t aimed_percent;    /* crashes at a telling moment */
    uint32_t leader_percent;   /* ... of the leader of a busy group */
    uint32_t blackout_percent; /* crashes of several at once */
    uint32_t hunts, hunt_ms;
    /* users */
    uint32_t pace_ms;        /* between two things a user does, on average */
    uint32_t batch_max;      /* appends in one request */
    uint32_t bytes_max;      /* of a segment */
    uint32_t tricks_percent; /* repeats, gaps, other bytes, old epochs ... */
    bool has_bulk;           /* one producer goes past its window of answers */
};

void plan_draw(struct plan *p, uint64_t seed);
/* Nothing drawn and no faults: many groups, a quick network and disk, users
 * who do little. What an hour of a healthy cluster is made of. */
void plan_calm(struct plan *p);
/* Another length of the time of faults, with as many of them in each minute. */
void plan_stretch(struct plan *p, uint32_t seconds);
/* For people, one line. */
void plan_print(const struct plan *p, struct buf *text);

#endif
