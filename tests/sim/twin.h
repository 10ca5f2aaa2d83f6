/* twin.h - the independent model of what users see: streams and producers, as
 * the committed log has them, judged by the rules in the order that
 * ring/streams.h states, with lists and loops and none of its code.
 *
 * Fed with each entry once, when the first node commits it. No switch touches
 * it: a node without a rule comes to other ends than the twin. */
#ifndef TESTS_SIM_TWIN_H
#define TESTS_SIM_TWIN_H

#include "tests/sim/host.h"

struct twin_segment {
    uint64_t index;   /* of the entry that brought it */
    uint64_t time_ms; /* its leader's, or the one before's if that is later */
    struct hash128 checksum;
    uint32_t size;
    uint32_t producer; /* in the group's list */
    uint64_t number;
};

struct twin_stream {
    struct position id;
    char name[64];
    struct twin_segment *segments; /* by seq */
    size_t count, capacity;
};

struct twin_answer {
    uint64_t seq;
    struct hash128 checksum;
};
struct twin_producer {
    struct position id;
    uint32_t stream; /* in the group's list */
    char name[64];
    uint32_t epoch;
    bool is_closed;
    struct twin_answer *answers; /* by number */
    size_t count, capacity;
};

struct twin *twin_new(struct world *w);
void twin_free(struct twin *t);
void twin_commit(struct twin *t, uint32_t group, uint64_t index, uint64_t term,
                 struct span manifest);
/* The node's streams, with everything up to `applied` applied, end where the
 * twin's do. */
void twin_compare(struct twin *t, struct host *h, uint32_t group,
                  uint64_t applied, const struct streams *s);

/* NULL: there is none. */
const struct twin_stream *twin_stream(const struct twin *t, uint32_t group,
                                      struct position id);
const struct twin_stream *twin_stream_named(const struct twin *t,
                                            uint32_t group, const char *name);
const struct twin_producer *twin_producer(const struct twin *t, uint32_t group,
                                          struct position id);
/* The next stream of a group; start with NULL. */
const struct twin_stream *twin_next(const struct twin *t, uint32_t group,
                                    const struct twin_stream *s);

#endif
