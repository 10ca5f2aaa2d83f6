/* final.h - the end of a history: all is healed, and now the cluster has to
 * come to rest within a bound (V1 to V4), with everything in place. */
#ifndef TESTS_SIM_FINAL_H
#define TESTS_SIM_FINAL_H

#include "tests/sim/world.h"

void final_run(struct world *w);
/* Waits until every group is as its row says; false: too many disks have rotted
 * for that. */
bool final_settle(struct world *w);

#endif
