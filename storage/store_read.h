/* store_read.h - reading, the part that is the same for both stores: which
 * rows, how many, and whether what was found is what the ticket names. A store
 * brings look-ups in one consistent view of what is committed. */
#ifndef STORAGE_STORE_READ_H
#define STORAGE_STORE_READ_H

#include "storage/store_rows.h"

/* Where to look: one incarnation of one group. */
struct store_place {
    uint32_t group;
    uint32_t incarnation;
};

/* Spans are borrowed until the next call. NOT_FOUND: there is no such row;
 * DAMAGED, IO. */
struct store_source {
    void *ctx;
    /* The index row of the stream with the highest first seq <= seq; the key
     * without group and incarnation. */
    enum err (*index_row)(void *ctx, struct store_place place,
                          struct position stream, uint64_t seq,
                          struct span *key, struct span *value);
    enum err (*log_row)(void *ctx, struct store_place place, uint64_t index,
                        struct span *manifest);
    /* Bytes [offset, offset + size) of the run at a position, size > 0.
     * CORRUPT: a row is not what its place demands. */
    enum err (*payload)(void *ctx, struct store_place place, struct position at,
                        uint32_t offset, uint32_t size, uint8_t *to);
    /* What is stored as applied. */
    enum err (*applied)(void *ctx, struct store_place place,
                        struct store_applied_row *out);
    /* The first index row at or behind the cursor, of any stream. */
    enum err (*next_index_row)(void *ctx, struct store_place place,
                               struct row_cursor from, struct span *key,
                               struct span *value);
    /* The size of the run at a position; NOT_FOUND: it has no bytes. */
    enum err (*run_bytes)(void *ctx, struct store_place place,
                          struct position at, uint32_t *bytes);
    /* The sum of row_digest over all rows of the state, each intact. */
    enum err (*state_digest)(void *ctx, struct store_place place,
                             struct hash128 *sum);
    /* The last index before the log. */
    enum err (*log_base)(void *ctx, struct store_place place, uint64_t *base);
};

void store_read_segments_from(const struct store_source *source,
                              const struct segments_ticket *t,
                              struct segments_result *out);
void store_read_log_from(const struct store_source *source,
                         const struct log_ticket *t, struct log_result *out);
void store_read_rows_from(const struct store_source *source,
                          const struct rows_ticket *t, struct rows_result *out);
void store_scrub_from(const struct store_source *source,
                      const struct scrub_ticket *t, struct scrub_result *out);
/* What cannot be verified is not intact. */
bool store_is_intact(struct span bytes, uint8_t algorithm,
                     struct hash128 checksum);
/* A row of the state into a blob; garbage rows stay out. */
void store_blob_add(struct buf *images, struct span key, struct span value);

#endif
