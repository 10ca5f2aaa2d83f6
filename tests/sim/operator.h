/* operator.h - who changes the ring while it runs: the weights of its members,
 * by proposals that are repeated when no answer has come, and sometimes when
 * one has (T26). A proposal has one answer, however often it is asked for, and
 * one that has won is never said to have failed. */
#ifndef TESTS_SIM_OPERATOR_H
#define TESTS_SIM_OPERATOR_H

#include "tests/sim/host.h"

struct operator;

struct operator* operator_new(struct world *w);
void operator_free(struct operator* o);
/* From now on it does something now and then, as long as faults go on. */
void operator_begin(struct operator* o);
/* EVENT_RAW: something to do; EVENT_RESPONSE. */
void operator_event(struct operator* o, const struct event *e);

#endif
