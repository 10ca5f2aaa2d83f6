/* sim_jobs.h - many histories, some at a time. */
#ifndef TESTS_SIM_SIM_JOBS_H
#define TESTS_SIM_SIM_JOBS_H

#include "tests/sim/sim_pool.h"

struct jobs_cfg {
    uint64_t from, seeds;
    struct history history; /* what all have in common */
    uint32_t jobs;
    uint32_t shrink_seconds; /* for all failures together */
    bool is_verbose;         /* a line for each history */
    bool is_until_found;     /* stops at the first that fails */
};

/* Plays them, says how far it has come, reports failures, prints totals. One
 * in a hundred, 20 at least (one in ten where there are so few that it would
 * be all), is played twice. The worst that a history ended with: safety before
 * liveness before all else. */
int jobs_run(const struct jobs_cfg *cfg);

#endif
