/* sim_mutants.h - the proof that the oracles see: with any one rule of
 * ring/rule.h turned off, some history must break a promise. */
#ifndef TESTS_SIM_SIM_MUTANTS_H
#define TESTS_SIM_SIM_MUTANTS_H

#include "tests/sim/sim_pool.h"

/* The file has a line for each rule: "RULE SEED", a history that found it, or
 * "RULE - WHY", why none can; and comments (#). */
struct mutants_cfg {
    const char *file;
    uint64_t from;  /* the first of the seeds that are not in the file */
    uint32_t tries; /* histories for a rule, at most */
    struct history history; /* .off: these rules alone, if there are any */
    uint32_t jobs;
    bool is_fresh;  /* leaves the file's seeds aside */
    bool is_update; /* writes the file anew, with seeds that fail early */
};

/* Prints the table. SIM_OK if all but those listed as beyond proof are found,
 * else SIM_OTHER. */
int mutants_run(const struct mutants_cfg *cfg);

#endif
