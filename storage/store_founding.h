/* store_founding.h - a founding as a batch of commands, so that a new folder
 * is written by the same code as everything after it. */
#ifndef STORAGE_STORE_FOUNDING_H
#define STORAGE_STORE_FOUNDING_H

#include "storage/store.h"

struct store_founding_batch {
    struct store_batch batch;
    struct store_command *commands;
    struct item_pool pool;
    struct item *item; /* the configuration, the same in every group */
    struct buf image;
    struct span images;
};
/* Not to be copied: the batch points into it. */
void store_founding_begin(struct store_founding_batch *b,
                          const struct store_founding *f);
void store_founding_end(struct store_founding_batch *b);

#endif
