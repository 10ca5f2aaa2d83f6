/* verdicts.h - a partition's verdicts in words. */
#ifndef TESTS_CASES_VERDICTS_H
#define TESTS_CASES_VERDICTS_H

#include "ring/streams.h"
#include "tests/cases/world.h"

/* "9.0": made by command 0 of entry 9. */
void print_position(struct position id, struct buf *out);
/* A line: the error's name and what the verdict says besides. */
void print_verdict(enum command_kind kind, const struct verdict *v,
                   struct buf *out);

#endif
