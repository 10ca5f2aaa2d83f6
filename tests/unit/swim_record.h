/* swim_record.h - nodes by number, for the tests of swim.h. */
#ifndef TESTS_UNIT_SWIM_RECORD_H
#define TESTS_UNIT_SWIM_RECORD_H

#include <stdio.h>

#include "ring/swim.h"

static inline struct id128 id_of(size_t n)
{
    struct id128 id = {{0}};
    id.bytes[0] = 0x10;
    id.bytes[14] = (uint8_t)(n >> 8);
    id.bytes[15] = (uint8_t)n;
    return id;
}

static inline size_t node_of(struct id128 id)
{
    return (size_t)id.bytes[14] << 8 | id.bytes[15];
}

static inline void format_address(size_t n, char text[48])
{
    (void)snprintf(text, 48, "tcp://10.0.0.%zu:7400", n);
}

/* Tell a machine that nodes 0 to count-1 are in the record. */
static inline void set_record(struct swim *s, size_t count)
{
    struct swim_seed seeds[MEMBERS_MAX];
    static char addresses[MEMBERS_MAX][48];
    for (size_t i = 0; i < count; i++) {
        format_address(i, addresses[i]);
        seeds[i] = (struct swim_seed){id_of(i), span_str(addresses[i])};
    }
    swim_set_members(s, seeds, count);
}

#endif
