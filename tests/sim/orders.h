/* orders.h - zones and N are changed while faults go on: one change at a time,
 * through the client core of the first user (operator.h speaks the wire). What
 * was acknowledged is so in the end, what was refused is not, and of what
 * nobody knows either may be (T26). */
#ifndef TESTS_SIM_ORDERS_H
#define TESTS_SIM_ORDERS_H

#include "tests/sim/world.h"

struct orders;

struct orders *orders_new(struct world *w);
void orders_free(struct orders *o);
/* Asks for one of the kinds of change that the history has. */
void orders_strike(struct orders *o);
/* What it was told of that. */
void orders_answered(struct orders *o, enum err err);
/* In the end, by the record that all have. */
void orders_check(struct orders *o, const struct record *r);

#endif
