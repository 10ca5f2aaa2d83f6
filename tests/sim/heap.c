/* heap.c - see heap.h. */
#include "tests/sim/heap.h"

static bool is_before(const struct event *a, const struct event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

void heap_push(struct heap *h, struct event e)
{
    if (h->count == h->capacity) {
        h->capacity = h->capacity == 0 ? 256 : h->capacity * 2;
        h->events = mem_resize(h->events, h->capacity * sizeof *h->events);
    }
    e.order = h->pushed++;
    size_t at = h->count++;
    while (at > 0 && is_before(&e, &h->events[(at - 1) / 2])) {
        h->events[at] = h->events[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    h->events[at] = e;
}

const struct event *heap_top(const struct heap *h)
{
    return h->count == 0 ? NULL : &h->events[0];
}

struct event heap_pop(struct heap *h)
{
    ASSERT(h->count > 0);
    struct event top = h->events[0];
    struct event last = h->events[--h->count];
    size_t at = 0;
    while (2 * at + 1 < h->count) {
        size_t child = 2 * at + 1;
        if (child + 1 < h->count &&
            is_before(&h->events[child + 1], &h->events[child]))
            child++;
        if (!is_before(&h->events[child], &last))
            break;
        h->events[at] = h->events[child];
        at = child;
    }
    if (h->count > 0)
        h->events[at] = last;
    return top;
}

void heap_free(struct heap *h)
{
    mem_free(h->events);
    *h = (struct heap){0};
}
