/* store_founding.c - see store_founding.h. */
#include "storage/store_founding.h"

#define FOUNDER_ADDED       1u /* the index of the entry that adds it */
#define FOUNDER_TERM        1u
#define FOUNDER_INCARNATION 1u
#define COMMANDS_PER_GROUP  4u

static struct item *founding_item(struct item_pool *pool,
                                  const struct store_founding *f)
{
    struct config config = {.index = FOUNDER_ADDED, .count = 1};
    config.members[0] = (struct config_member){
        .replica = {f->folder.node, FOUNDER_ADDED}, .is_voter = true};
    struct buf manifest = {0};
    entry_build_config(&manifest, f->stamp, &config);
    entry_number(manifest.data, FOUNDER_ADDED, FOUNDER_TERM);
    struct item *item = item_new(pool, span_buf(&manifest), NULL, 0);
    buf_free(&manifest);
    return item;
}

static void add(struct store_founding_batch *b, struct store_command c)
{
    b->commands[b->batch.count++] = c;
}

static void add_group(struct store_founding_batch *b,
                      const struct store_founding *f, uint32_t group)
{
    struct store_command c = {.group = group,
                              .incarnation = FOUNDER_INCARNATION};
    c.kind = STORE_CREATE;
    c.generation = f->generation;
    c.added = FOUNDER_ADDED;
    add(b, c);
    c.kind = STORE_HARD;
    c.hard.term = FOUNDER_TERM;
    add(b, c);
    c.kind = STORE_APPEND;
    c.item = b->item;
    add(b, c);
    c.kind = STORE_PORTION;
    c.index_to = FOUNDER_ADDED;
    c.term = FOUNDER_TERM;
    c.epoch = f->stamp.epoch;
    if (group == 0) {
        c.images = &b->images;
        c.image_count = 1;
        c.digest = f->ring_digest;
    }
    add(b, c);
}

void store_founding_begin(struct store_founding_batch *b,
                          const struct store_founding *f)
{
    *b = (struct store_founding_batch){0};
    size_t groups = f->folder.partitions == 0 ? 0 : f->folder.partitions + 1u;
    b->commands =
        mem_alloc((groups * COMMANDS_PER_GROUP + 1) * sizeof *b->commands);
    b->batch.commands = b->commands;
    /* A joiner has no group yet, nor a stamp to give one. */
    b->item = groups == 0 ? NULL : founding_item(&b->pool, f);
    if (f->ring_row_key.size > 0)
        image_put(&b->image, &(struct image){.space = ROW_STATE,
                                             .key = f->ring_row_key,
                                             .value = f->ring_row_value});
    b->images = span_buf(&b->image);
    if (f->record.size > 0)
        add(b,
            (struct store_command){.kind = STORE_RECORD, .bytes = f->record});
    for (uint32_t group = 0; group < groups; group++)
        add_group(b, f, group);
}

void store_founding_end(struct store_founding_batch *b)
{
    if (b->item != NULL)
        item_unref(&b->pool, b->item);
    item_pool_free(&b->pool);
    buf_free(&b->image);
    mem_free(b->commands);
    *b = (struct store_founding_batch){0};
}
