/* sim_pool.h - histories in processes of their own, some at a time: what one
 * breaks, and the switches that it turns, end with it. */
#ifndef TESTS_SIM_SIM_POOL_H
#define TESTS_SIM_SIM_POOL_H

#include "tests/sim/sim_play.h"

#define JOBS_MAX 64u

struct outcome {
    uint64_t tag; /* the caller's, of pool_begin */
    uint64_t seed;
    int code;          /* SIM_OK ...; of a process that died, SIM_OTHER */
    int signal_number; /* 0: it ended by itself */
    bool is_violation; /* of safety, of liveness, or of an ASSERT */
    struct totals totals;
    char *words; /* what it printed; valid until the next pool call */
};

struct pool;
struct pool *pool_new(uint32_t jobs); /* 1 to JOBS_MAX */
/* Kills those that still run. */
void pool_free(struct pool *p);
bool pool_is_full(const struct pool *p);
bool pool_is_empty(const struct pool *p);
/* There must be room. */
void pool_begin(struct pool *p, const struct history *h, uint64_t tag);
/* Waits so long for one to end; false: none did. */
bool pool_next(struct pool *p, struct outcome *o, int wait_ms);
/* CPU time of all processes that have ended. */
double pool_cpu_seconds(void);

/* What was seen, in a line: a promise and how it was broken, or the ASSERT. */
void outcome_reason(const struct outcome *o, char *line, size_t size);

#endif
