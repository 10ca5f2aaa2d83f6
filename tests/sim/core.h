/* core.h - the second phase of a history: what is left of the cluster.
 *
 * A liveness phase in which all is healed shows that a whole cluster comes to
 * rest. This one shows that a part does, if it can: the *core* is a set of
 * hosts, drawn, that has a majority of the voters of every group; it is healed,
 * and everything else fails for good: processes die, or are cut off from all
 * other hosts and talk to users still. V1 to V6 must hold for the core, as
 * final.c states them. */
#ifndef TESTS_SIM_CORE_H
#define TESTS_SIM_CORE_H

#include "tests/sim/world.h"

/* Draws the core (all hosts, where the plan has no FAULT_GONE), heals it, and
 * lets the others go. Ends whatever faults still go on. */
void core_begin(struct world *w);
/* Has a group lost so many voters that even all hosts that are left are too
 * few? So it is where a folder rotted while its host voted nowhere, became a
 * voter's, and was found bad: nobody could know, and more is lost than is
 * borne. */
bool core_is_beyond(const struct world *w);
/* Is there a group without a quorum in the core after all? An entry that was
 * under way may have made a configuration that nobody knew of. */
bool core_is_short(struct world *w);
/* The others come back, and the core is the whole. */
void core_widen(struct world *w);

#endif
