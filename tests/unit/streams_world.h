/* streams_world.h - one group's state machine with what surrounds it: a log
 * that gives indexes, the verdicts of the last entry, and the rows as storage
 * would hold them (built from images and from nothing else). */
#ifndef TESTS_UNIT_STREAMS_WORLD_H
#define TESTS_UNIT_STREAMS_WORLD_H

#include <stdio.h>
#include <stdlib.h>

#include "ring/rule.h"
#include "ring/streams.h"
#include "tests/unit/cmocka_wrap.h"

#define WORLD_HOUR_MS (60u * 60u * 1000u)

struct world_row {
    enum row_space space;
    struct buf key;
    struct buf value;
};

struct world {
    struct streams *streams;
    uint64_t index; /* of the last entry */
    uint64_t time_ms;
    struct buf manifest; /* the entry that is being built, or the last one */
    struct entry_builder builder;
    struct verdict verdicts[ENTRY_COMMANDS_MAX];
    struct buf images; /* of the last entry */
    bool is_storing;
    bool is_state_only; /* index and garbage rows are not stored */
    struct world_row *rows;
    size_t row_count;
    size_t row_capacity;
};

static inline struct world *world_new(void)
{
    struct world *w = mem_alloc(sizeof *w);
    w->streams = streams_new();
    w->time_ms = 1000;
    w->is_storing = true;
    return w;
}

static inline void world_drop_row(struct world *w, size_t i)
{
    buf_free(&w->rows[i].key);
    buf_free(&w->rows[i].value);
    w->rows[i] = w->rows[--w->row_count];
}

static inline void world_free(struct world *w)
{
    while (w->row_count > 0)
        world_drop_row(w, w->row_count - 1);
    mem_free(w->rows);
    streams_free(w->streams);
    buf_free(&w->manifest);
    buf_free(&w->images);
    mem_free(w);
}

/* NULL: there is none. */
static inline struct world_row *world_row(struct world *w, enum row_space space,
                                          struct span key)
{
    for (size_t i = 0; i < w->row_count; i++)
        if (w->rows[i].space == space &&
            span_equal(span_buf(&w->rows[i].key), key))
            return &w->rows[i];
    return NULL;
}

static inline void world_store(struct world *w, const struct image *image)
{
    struct world_row *row = world_row(w, image->space, image->key);
    if (image->is_delete) {
        assert_non_null(row);
        world_drop_row(w, (size_t)(row - w->rows));
        return;
    }
    if (row == NULL) {
        if (w->row_count == w->row_capacity) {
            w->row_capacity = w->row_capacity * 2 + 16;
            w->rows = mem_resize(w->rows, w->row_capacity * sizeof *w->rows);
        }
        row = &w->rows[w->row_count++];
        *row = (struct world_row){.space = image->space};
        buf_append(&row->key, image->key.data, image->key.size);
    }
    buf_clear(&row->value);
    buf_append(&row->value, image->value.data, image->value.size);
}

static inline void world_store_images(struct world *w)
{
    struct dec d = dec_of(span_buf(&w->images));
    struct image image;
    while (image_next(&d, &image)) {
        bool is_state =
            image.space == ROW_STATE && image.key.data[0] != ROW_GARBAGE;
        if (is_state || !w->is_state_only)
            world_store(w, &image);
    }
    assert_true(dec_done(&d));
}

static inline void world_begin(struct world *w)
{
    entry_build(&w->builder, &w->manifest,
                (struct entry_stamp){
                    .epoch = {1, 1, 1}, .level = 1, .time_ms = w->time_ms});
}

/* Returns the command's ordinal. */
static inline uint16_t world_add(struct world *w, struct command c)
{
    assert_int_equal(entry_add(&w->builder, &c), ERR_OK);
    return (uint16_t)(w->builder.header.command_count - 1);
}

static inline void world_number(struct world *w)
{
    entry_end(&w->builder);
    entry_number(w->manifest.data, ++w->index, 1);
    assert_int_equal(entry_check(span_buf(&w->manifest)), ERR_OK);
}

static inline void world_apply(struct world *w)
{
    world_number(w);
    buf_clear(&w->images);
    assert_int_equal(streams_apply(w->streams, span_buf(&w->manifest),
                                   w->verdicts, &w->images),
                     ERR_OK);
    if (w->is_storing)
        world_store_images(w);
}

/* An entry of one command. */
static inline struct verdict world_do(struct world *w, struct command c)
{
    world_begin(w);
    world_add(w, c);
    world_apply(w);
    return w->verdicts[0];
}

/* A state built from the stored rows, in the order of `r` or as stored. */
static inline struct streams *world_load(const struct world *w, struct rng *r)
{
    struct streams *s = streams_new();
    size_t *order = mem_alloc((w->row_count + 1) * sizeof *order);
    for (size_t i = 0; i < w->row_count; i++) {
        size_t at = r == NULL ? i : (size_t)rng_below(r, i + 1);
        order[i] = order[at];
        order[at] = i;
    }
    for (size_t i = 0; i < w->row_count; i++) {
        const struct world_row *row = &w->rows[order[i]];
        if (row->space == ROW_STATE)
            assert_int_equal(
                streams_load(s, span_buf(&row->key), span_buf(&row->value)),
                ERR_OK);
    }
    mem_free(order);
    streams_check(s);
    return s;
}

static inline void world_assert_digest(const struct streams *s,
                                       const struct streams *t)
{
    struct hash128 a = streams_digest(s);
    struct hash128 b = streams_digest(t);
    assert_true(a.lo == b.lo && a.hi == b.hi);
}

/* ---- commands ---------------------------------------------------------- */

static inline struct command create_named(struct span name)
{
    return (struct command){.kind = COMMAND_CREATE, .name = name};
}

static inline struct command create_stream(const char *name)
{
    return create_named(span_str(name));
}

static inline struct command open_producer(struct position stream,
                                           const char *name)
{
    return (struct command){.kind = COMMAND_OPEN_PRODUCER,
                            .stream = stream,
                            .name = span_str(name)};
}

/* Ten bytes of a content that follows from the number. */
static inline struct command append_to(struct position stream,
                                       struct position producer, uint32_t epoch,
                                       uint64_t number)
{
    return (struct command){.kind = COMMAND_APPEND,
                            .stream = stream,
                            .producer = producer,
                            .producer_epoch = epoch,
                            .number = number,
                            .expected_seq = SEQ_ANY,
                            .size = 10,
                            .algorithm = CHECKSUM_XXH3_128,
                            .checksum = {number * 7 + 1, 0}};
}

#endif
