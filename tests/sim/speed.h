/* speed.h - how many simulated seconds one second of a core buys, all oracles
 * at work: of a calm cluster with many groups, and of the seeds' own
 * histories. */
#ifndef TESTS_SIM_SPEED_H
#define TESTS_SIM_SPEED_H

#include <stdint.h>

/* Plays them in this process, one after the other, and prints a line each; a
 * violation ends it as anywhere. */
void speed_run(uint64_t from, uint64_t seeds);

#endif
