/* ring.h - all nodes of a real cluster lose power at once.
 *
 * The tape has the writes of each node's eddyd, and as marks the
 * acknowledgements that tests/cluster/recorder has had, in the order in which
 * all this happened. At any moment of it the folders are rebuilt, each node's
 * disk as chance has it. Then whoever a majority could elect by these logs
 * must have every segment that was acknowledged before, under its number and
 * byte for byte, and no node may have one that was never appended. */
#ifndef TESTS_POWER_RING_H
#define TESTS_POWER_RING_H

#include <stddef.h>

/* Prints its claims (loss.h); the exit code. */
int ring_run(const char *tape_path, unsigned nodes, size_t count,
             const char *scratch);

#endif
