/* buffers.h - one process's buffers, as a shell keeps them for a core: counted
 * references behind 64-bit handles. A handle names its buffer's generation
 * too, so that one used after its last reference went is found at once. */
#ifndef TESTS_SIM_BUFFERS_H
#define TESTS_SIM_BUFFERS_H

#include "ring/base.h"

struct buffer {
    uint8_t *data;
    size_t size;
    uint32_t refs;
    uint32_t generation;
};

struct buffers {
    struct buffer *slots;
    uint32_t *unused;
    uint32_t count, capacity, unused_count;
    uint32_t live;
};

/* Takes over the bytes; one reference. Never 0. */
uint64_t buffers_add(struct buffers *b, uint8_t *data, size_t size);
void buffers_ref(struct buffers *b, uint64_t handle);
void buffers_unref(struct buffers *b, uint64_t handle);
struct span buffers_span(const struct buffers *b, uint64_t handle);
uint32_t buffers_refs(const struct buffers *b, uint64_t handle);
/* Of a buffer in use by its slot, for a leak check; 0: the slot is free. */
uint64_t buffers_handle(const struct buffers *b, uint32_t slot);
/* The process is dead: all of it goes. */
void buffers_free(struct buffers *b);

#endif
