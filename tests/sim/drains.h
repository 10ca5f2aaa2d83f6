/* drains.h - members are drained while faults go on, some of them kept after
 * all, and others removed by force (weights: operator.h; zones and N:
 * orders.h).
 *
 * The first user asks for it. Whoever is sent away must have left for good
 * reason: when its process is told so, no group may count on it (T6). */
#ifndef TESTS_SIM_DRAINS_H
#define TESTS_SIM_DRAINS_H

#include "tests/sim/host.h"

/* Asks for a member to be drained, or removed by force. Which host is to be
 * drained, which may be given up; NULL: none. */
const struct host *drains_strike(struct world *w);
/* The drain of this host is given up, in whichever state it is. */
void drains_undo(struct world *w, const struct host *h);
/* A host's process ends because the ring has removed it. */
bool drains_may_end(const struct host *h, int exit_code);
void drains_ended(struct host *h);

#endif
