/* rings.h - small ring records for the tests of ring/record.h. */
#ifndef TESTS_UNIT_RINGS_H
#define TESTS_UNIT_RINGS_H

#include "tests/unit/cmocka_wrap.h"

#include "ring/record.h"

#define T0     1000000u /* wall clock of the first record, ms */
#define MINUTE 60000u
#define HOUR   (60u * MINUTE)
#define DAY    (24u * HOUR)

/* 16 bytes of n. */
struct id128 rings_id(unsigned n);
/* Node n: id of bytes n, key of bytes 255 - n, name "n<n>", no zone. */
struct member rings_member(unsigned n);
/* A client's key of bytes n, named "admin". */
struct client_key rings_key(unsigned n, uint32_t rights);
/* Nodes 1 .. count, all up; slot = n - 1. The rows are still the first
 * record's: node 1 alone. Generation 2, epoch 1. */
struct record *rings_begin(unsigned count, uint32_t partitions);
/* The same, folded: epoch 2, without fault. */
struct record *rings_advanced(unsigned count, uint32_t partitions);
/* Do both encode to the same bytes? */
bool rings_same(const struct record *a, const struct record *b);

#endif
