/* sim_totals.h - what histories did, added up and printed for people. */
#ifndef TESTS_SIM_SIM_TOTALS_H
#define TESTS_SIM_SIM_TOTALS_H

#include "tests/sim/world.h"

void totals_add(struct totals *sum, const struct totals *t);
/* A line for each kind of fault and for each invariant, and a few more. */
void totals_print(const struct totals *t);
/* All of it in a line. */
void totals_print_line(const char *name, const struct totals *t);

#endif
