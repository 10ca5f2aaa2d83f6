/* content.h - what the recorder appends: each byte of a segment follows from
 * (stream, life, number), and its first line names them. */
#ifndef TESTS_CLUSTER_CONTENT_H
#define TESTS_CLUSTER_CONTENT_H

#include <stdio.h>

#include "ring/base.h"

/* Small ones mostly, some of several payload rows, a few large ones. */
static inline size_t content_size(struct rng *chance)
{
    uint64_t die = rng_below(chance, 1000);
    if (die < 5)
        return 100000 + rng_below(chance, 200000);
    return 100 + rng_below(chance, die < 50 ? 20000 : 1500);
}

static inline void content_of(unsigned stream, uint64_t life, uint64_t number,
                              struct buf *out)
{
    struct rng chance;
    rng_seed(&chance, (uint64_t)stream << 48 ^ life << 32 ^ number);
    size_t size = content_size(&chance);
    buf_clear(out);
    buf_printf(out, "%u %llu %llu\n", stream, (unsigned long long)life,
               (unsigned long long)number);
    while (out->size < size) {
        uint64_t word = rng_next(&chance);
        buf_append(out, &word, sizeof word);
    }
}

/* Whose bytes these are. False: nobody's; they are not all as they should
 * be. `scratch` is for comparing. */
static inline bool content_read(struct span s, unsigned *stream, uint64_t *life,
                                uint64_t *number, struct buf *scratch)
{
    unsigned long long life_read, number_read;
    char head[64] = {0};
    if (s.size == 0)
        return false;
    memcpy(head, s.data, min_u64(s.size, sizeof head - 1));
    if (sscanf(head, "%u %llu %llu", stream, &life_read, &number_read) != 3)
        return false;
    *life = life_read;
    *number = number_read;
    content_of(*stream, *life, *number, scratch);
    return span_equal(s, span_buf(scratch));
}

#endif
