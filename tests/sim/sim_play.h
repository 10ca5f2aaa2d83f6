/* sim_play.h - one history in this process, from its seed to its verdict. */
#ifndef TESTS_SIM_SIM_PLAY_H
#define TESTS_SIM_SIM_PLAY_H

#include "tests/sim/world.h"

#define RULES_OFF_MAX 16u

struct history {
    uint64_t seed;
    struct world_cfg cfg;
    const char *off[RULES_OFF_MAX]; /* names of rules, see ring/rule.h */
    uint32_t off_count;
    uint32_t limit_s; /* of real time: beyond it, it hangs */
    bool is_twice;    /* and must leave the same trace */
    bool is_partial;  /* some faults are left out: it may prove little */
};

/* SIM_OK, or SIM_OTHER with the reason on stderr: there is no such rule, the
 * history proves too little, or it is not the same twice. A promise that is
 * broken ends the process (world_fail, or an ASSERT); `t` has the totals even
 * then, so it may be memory that outlives it. */
int play_history(const struct history *h, struct totals *t);

#endif
