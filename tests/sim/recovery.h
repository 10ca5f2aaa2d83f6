/* recovery.h - most hosts are taken for lost in the end, and an operator has
 * the survivors found their groups anew (S7, T12); then the others come back,
 * with all that they had.
 *
 * The promises to users end with the loss that the operator accepts, so users
 * are cut off, and what is left of the oracle of such a group is: a generation
 * has one founder, whom the ring's record names before it begins; it has all
 * that its log had when it was given up; nobody who knows a later generation
 * leads an earlier one; replicas of one applied index have one state; and each
 * group that has a survivor has a leader again. */
#ifndef TESTS_SIM_RECOVERY_H
#define TESTS_SIM_RECOVERY_H

#include "tests/sim/world.h"

/* The end of a history that has FAULT_RECOVER. */
void recovery_run(struct world *w);

#endif
