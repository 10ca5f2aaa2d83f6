/* buffers.c - see buffers.h. */
#include "tests/sim/buffers.h"

static struct buffer *find(const struct buffers *b, uint64_t handle)
{
    uint32_t slot = (uint32_t)handle;
    ASSERT(slot > 0 && slot <= b->count);
    struct buffer *buffer = &b->slots[slot - 1];
    ASSERT(buffer->refs > 0 && buffer->generation == handle >> 32);
    return buffer;
}

uint64_t buffers_add(struct buffers *b, uint8_t *data, size_t size)
{
    uint32_t slot;
    if (b->unused_count > 0) {
        slot = b->unused[--b->unused_count];
    } else {
        if (b->count == b->capacity) {
            b->capacity = b->capacity == 0 ? 64 : b->capacity * 2;
            b->slots = mem_resize(b->slots, b->capacity * sizeof *b->slots);
            b->unused = mem_resize(b->unused, b->capacity * sizeof *b->unused);
        }
        slot = b->count++;
        b->slots[slot].generation = 0;
    }
    struct buffer *buffer = &b->slots[slot];
    buffer->data = data;
    buffer->size = size;
    buffer->refs = 1;
    buffer->generation++;
    b->live++;
    return (uint64_t)buffer->generation << 32 | (slot + 1);
}

void buffers_ref(struct buffers *b, uint64_t handle)
{
    find(b, handle)->refs++;
}

void buffers_unref(struct buffers *b, uint64_t handle)
{
    struct buffer *buffer = find(b, handle);
    if (--buffer->refs > 0)
        return;
    mem_free(buffer->data);
    buffer->data = NULL;
    b->live--;
    b->unused[b->unused_count++] = (uint32_t)(buffer - b->slots);
}

struct span buffers_span(const struct buffers *b, uint64_t handle)
{
    const struct buffer *buffer = find(b, handle);
    return span_of(buffer->data, buffer->size);
}

uint32_t buffers_refs(const struct buffers *b, uint64_t handle)
{
    return find(b, handle)->refs;
}

uint64_t buffers_handle(const struct buffers *b, uint32_t slot)
{
    const struct buffer *buffer = &b->slots[slot];
    return buffer->refs == 0 ? 0
                             : (uint64_t)buffer->generation << 32 | (slot + 1);
}

void buffers_free(struct buffers *b)
{
    for (uint32_t i = 0; i < b->count; i++)
        if (b->slots[i].refs > 0)
            mem_free(b->slots[i].data);
    mem_free(b->slots);
    mem_free(b->unused);
    *b = (struct buffers){0};
}
