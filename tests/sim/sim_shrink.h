/* sim_shrink.h - what a failing history was about: its last events as text, and
 * the fewest of its faults that still make it fail. */
#ifndef TESTS_SIM_SIM_SHRINK_H
#define TESTS_SIM_SIM_SHRINK_H

#include "tests/sim/sim_pool.h"

/* Plays it again, in words and without ever more of its faults, and prints;
 * takes `seconds` at most, and some for the last history. */
void shrink_report(const struct history *h, const struct outcome *failure,
                   uint32_t jobs, uint32_t seconds);
/* The words after `make sim` that play it again. */
void shrink_print_options(const struct history *h);

/* "3,7-9" into what is skipped; false: it is none. */
bool shrink_parse_skips(struct skips *s, const char *text);
/* "LOSS,STALE" likewise. */
bool shrink_parse_kinds(bool kinds[FAULT_COUNT], const char *text);

#endif
