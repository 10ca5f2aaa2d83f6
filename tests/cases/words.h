/* words.h - what more than one world prints. */
#ifndef TESTS_CASES_WORDS_H
#define TESTS_CASES_WORDS_H

#include "ring/record.h"
#include "ring/streams.h"
#include "tests/cases/world.h"

/* "9.0": made by command 0 of entry 9. */
void print_position(struct position id, struct buf *out);
/* A line: the error's name and what the verdict says besides. */
void print_verdict(enum command_kind kind, const struct verdict *v,
                   struct buf *out);
/* How a member stands: what the operator wants of it, unless that is "in", and
 * what is seen of it. */
void print_standing(const struct member *m, struct buf *out);

#endif
