/* decisions.h - the pure decisions of ring/, a command line each: what a table
 * of somebody else's can be run against. README.md is their manual.
 *
 * Each calls the shipped function; where the decision is one of a machine's
 * (a vote, an append), it makes that machine, puts it into the state that the
 * line tells, gives it the one input, and prints what it says. */
#ifndef TESTS_CASES_DECISIONS_H
#define TESTS_CASES_DECISIONS_H

#include "tests/cases/line.h"

/* Run the line if its verb is one of theirs: one line is appended to `out`,
 * nothing if the line makes no sense. False: another verb. Of Raft and of a
 * group's walk; of gossip and of placement. */
bool decide_raft(struct line *l, struct buf *out);
bool decide_ring(struct line *l, struct buf *out);

#endif
