/* blob.c - see blob.h. */
#include "net/blob.h"

#include <stdatomic.h>

#include <zmq.h>

enum blob_source { SOURCE_OWN, SOURCE_BUF, SOURCE_MESSAGE };

struct blob {
    atomic_uint refs;
    enum blob_source source;
    size_t size;
    uint8_t *data;
    union {
        struct buf buf;
        zmq_msg_t message;
        max_align_t own[1]; /* blob_new: `size` bytes begin here */
    } u;
};

static atomic_ullong live;

static struct blob *blob_alloc(enum blob_source source, size_t extra)
{
    /* Not mem_alloc: a megabyte that is about to be filled is not zeroed. */
    struct blob *b = mem_resize(NULL, sizeof *b + extra);
    atomic_init(&b->refs, 1);
    b->source = source;
    atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
    return b;
}

struct blob *blob_new(size_t size)
{
    struct blob *b = blob_alloc(SOURCE_OWN, size);
    b->size = size;
    b->data = (uint8_t *)b->u.own;
    return b;
}

struct blob *blob_from_buf(struct buf *from)
{
    struct blob *b = blob_alloc(SOURCE_BUF, 0);
    b->u.buf = *from;
    b->size = from->size;
    b->data = from->data;
    *from = (struct buf){0};
    return b;
}

static struct blob *copy_message(zmq_msg_t *message, size_t size)
{
    struct blob *b = blob_new(size);
    if (size > 0)
        memcpy(b->data, zmq_msg_data(message), size);
    int closed = zmq_msg_close(message);
    int opened = zmq_msg_init(message);
    ASSERT(closed == 0 && opened == 0);
    return b;
}

struct blob *blob_take(void *zmq_msg)
{
    zmq_msg_t *message = zmq_msg;
    size_t size = zmq_msg_size(message);
    if (size < BLOB_COPY_BYTES)
        return copy_message(message, size);
    struct blob *b = blob_alloc(SOURCE_MESSAGE, 0);
    int opened = zmq_msg_init(&b->u.message);
    int moved = zmq_msg_move(&b->u.message, message);
    ASSERT(opened == 0 && moved == 0);
    b->size = size;
    b->data = zmq_msg_data(&b->u.message);
    return b;
}

struct blob *blob_ref(struct blob *b)
{
    unsigned before =
        atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    ASSERT(before > 0 && before < UINT32_MAX);
    return b;
}

void blob_unref(struct blob *b)
{
    unsigned before =
        atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel);
    ASSERT(before > 0);
    if (before > 1)
        return;
    switch (b->source) {
    case SOURCE_OWN:
        break;
    case SOURCE_BUF:
        buf_free(&b->u.buf);
        break;
    case SOURCE_MESSAGE: {
        int closed = zmq_msg_close(&b->u.message);
        ASSERT(closed == 0);
        break;
    }
    }
    atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
    mem_free(b);
}

const uint8_t *blob_data(const struct blob *b)
{
    return b->data;
}

size_t blob_size(const struct blob *b)
{
    return b->size;
}

struct span blob_span(const struct blob *b)
{
    return span_of(b->data, b->size);
}

uint8_t *blob_bytes(struct blob *b)
{
    ASSERT(atomic_load_explicit(&b->refs, memory_order_relaxed) == 1);
    return b->data;
}

uint64_t blob_handle(const struct blob *b)
{
    ASSERT(b != NULL);
    return (uint64_t)(uintptr_t)b;
}

struct blob *blob_of(uint64_t handle)
{
    ASSERT(handle != 0);
    return (struct blob *)(uintptr_t)handle;
}

uint64_t blob_count(void)
{
    return atomic_load_explicit(&live, memory_order_relaxed);
}
