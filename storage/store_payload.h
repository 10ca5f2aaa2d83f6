/* store_payload.h - the payload of an entry: its runs, found by walking the
 * manifest, and its bytes, gathered from slices that need not align with
 * commands.
 *
 *   manifest   CREATE  APPEND a  APPEND a  APPEND b  OPEN  APPEND b
 *   ordinal    0       1         2         3         4     5
 *   runs               [------ 1 -------]  [- 3 --]        [- 5 --]
 *   payload            [ run 1 | run 3 | run 5 ]   back to back */
#ifndef STORAGE_STORE_PAYLOAD_H
#define STORAGE_STORE_PAYLOAD_H

#include "storage/store.h"

struct store_run {
    uint16_t ordinal; /* of its first APPEND */
    uint32_t offset;  /* in the entry's payload */
    uint32_t bytes;
};
/* Walks the runs of a manifest. */
struct store_runs {
    struct entry_iter commands;
    struct command next; /* read, and not yet part of a run */
    bool has_next;
    uint32_t offset;
};
/* An entry of another kind than COMMANDS has none. DAMAGED: not a manifest. */
NODISCARD enum err store_runs_begin(struct store_runs *r, struct span manifest);
/* False at the end; a run of no bytes is one too. */
bool store_runs_next(struct store_runs *r, struct store_run *out);

/* Reads an item's payload from front to back. */
struct store_gather {
    const struct item *item;
    store_bytes_fn bytes;
    void *ctx;
    uint32_t slice;
    uint32_t offset; /* in that slice */
};
static inline struct store_gather
store_gather_of(const struct item *item, store_bytes_fn bytes, void *ctx)
{
    return (struct store_gather){item, bytes, ctx, 0, 0};
}
/* The next `size` bytes into `to`; false if the slices end before. */
NODISCARD bool store_gather_next(struct store_gather *g, uint8_t *to,
                                 size_t size);

#endif
