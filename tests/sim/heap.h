/* heap.h - what is yet to happen: events by time, and by order of their making
 * where times are equal, so that one seed is one history. */
#ifndef TESTS_SIM_HEAP_H
#define TESTS_SIM_HEAP_H

#include "ring/base.h"

struct event {
    uint64_t at_us;
    uint64_t order; /* set by heap_push */
    uint32_t kind;  /* the owner's */
    uint32_t who;
    uint64_t life; /* of who: an event of a former life is void */
    uint64_t number;
    void *data;
};

struct heap {
    struct event *events;
    size_t count, capacity;
    uint64_t pushed;
};

void heap_push(struct heap *h, struct event e);
/* The earliest; NULL if there is none. Valid until the next push or pop. */
const struct event *heap_top(const struct heap *h);
struct event heap_pop(struct heap *h);
void heap_free(struct heap *h); /* not the events' data */

#endif
