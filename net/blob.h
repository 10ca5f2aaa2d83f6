/* blob.h - bytes that the shell holds for the core: received messages, rows
 * that a reader thread has read, a program's segments.
 *
 * Counted by reference and immutable once a second reference exists. Reader
 * threads make blobs and the loop frees them, so counts are atomic; everything
 * else of a blob is set before it is handed on. The core knows a blob by its
 * 64-bit handle only (struct slice), and never looks inside (DESIGN 2). */
#ifndef NET_BLOB_H
#define NET_BLOB_H

#include "ring/base.h"

struct blob;

/* All return a blob with one reference. */

/* `size` bytes, not set: fill them through blob_bytes before sharing it. */
struct blob *blob_new(size_t size);
/* Takes the bytes over and empties `b`. */
struct blob *blob_from_buf(struct buf *b);
/* Takes over what is in a zmq_msg_t, which is left empty (initialised). A
 * message below BLOB_COPY_BYTES is copied out and let go at once, since it
 * lies in a receive buffer that is much larger than it (PITFALLS B30). */
#define BLOB_COPY_BYTES (32u * 1024u)
struct blob *blob_take(void *zmq_msg);

struct blob *blob_ref(struct blob *b);
void blob_unref(struct blob *b); /* the last one frees it */

const uint8_t *blob_data(const struct blob *b);
size_t blob_size(const struct blob *b);
struct span blob_span(const struct blob *b);
/* To fill a blob of blob_new; its only reference is the caller's. */
uint8_t *blob_bytes(struct blob *b);

/* The handle of a blob, never 0, and back. A handle stands for a reference
 * only where its owner says so. */
uint64_t blob_handle(const struct blob *b);
struct blob *blob_of(uint64_t handle);

/* Blobs that are alive, of the whole process: a leak check for tests. */
uint64_t blob_count(void);

#endif
