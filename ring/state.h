/* state.h - the state of one partition as it lies in memory: streams and
 * producers, how they are found, their rows and their digest.
 *
 * No judgement is made here (that is streams.c): this file keeps memory, rows
 * and digest one and the same. Whatever changes a stream or a producer says
 * so with state_touch_*; state_flush then writes each changed row once, as it
 * is after the entry, and moves the digest by exactly these rows (T1, T33). */
#ifndef RING_STATE_H
#define RING_STATE_H

#include "ring/entry.h"
#include "ring/producer.h"
#include "ring/rows.h"

struct stream {
    struct position id;
    uint64_t first_seq;
    uint64_t next_seq;
    uint64_t bytes;
    uint64_t created_ms;
    uint64_t changed_ms; /* time of the newest segment; 0: none */
    struct hash128 row_digest;
    uint32_t producers; /* not the closed ones */
    bool is_touched;
    uint8_t name_size;
    uint8_t name[];
};
static inline struct span stream_name(const struct stream *s)
{
    return (struct span){s->name, s->name_size};
}

struct state {
    struct map streams_by_id;
    struct map streams_by_name;
    struct map producers_by_id;
    struct map producers_by_name; /* not the closed ones */
    struct stream **streams;      /* sorted by name up to `sorted` */
    size_t stream_count;
    size_t stream_capacity;
    size_t sorted;
    uint64_t bytes; /* of all streams */
    struct producer_list named;
    struct producer_list unnamed;
    struct producer_list closed;
    bool is_loaded; /* rows came in the order of their keys: lists unsorted */
    struct hash128 digest;
    struct stream **touched_streams; /* by the entry that is being applied */
    struct producer **touched_producers;
    size_t touched_stream_count, touched_stream_capacity;
    size_t touched_producer_count, touched_producer_capacity;
    struct buf scratch; /* one row's value */
};

void state_free(struct state *st);

/* ---- streams ----------------------------------------------------------- */

/* NULL: there is none. */
struct stream *state_stream(const struct state *st, struct position id);
struct stream *state_stream_named(const struct state *st, struct span name);
/* Neither id nor name may be there already. Touched. */
struct stream *state_add_stream(struct state *st, struct position id,
                                struct span name);
void state_touch_stream(struct state *st, struct stream *s);
/* The streams sorted by name, borrowed until the next one is added. */
struct stream *const *state_sorted(struct state *st);

/* ---- producers --------------------------------------------------------- */

/* Closed ones too: a closing append may be repeated. */
struct producer *state_producer(const struct state *st, struct position id);
struct producer *state_producer_named(const struct state *st,
                                      struct position stream, struct span name);
/* Hash of a name of a producer in its stream. */
uint64_t state_name_hash(struct position stream, struct span name);
static inline size_t state_open_producers(const struct state *st)
{
    return st->named.count + st->unnamed.count;
}
struct producer *state_add_producer(struct state *st, struct position id,
                                    struct stream *stream, struct span name,
                                    bool is_unnamed);
/* Used by the command at this position, in an entry of this time: touched,
 * and the newest of its list. */
void state_use_producer(struct state *st, struct producer *p,
                        struct position used, uint64_t time_ms);
/* Its name is free again; it is kept, by its id, among the closed ones. */
void state_close_producer(struct state *st, struct producer *p);
/* Forgotten: freed, and its row deleted by an image. Must not be touched. */
void state_evict_producer(struct state *st, struct producer *p,
                          struct buf *images);

/* ---- rows -------------------------------------------------------------- */

/* CORRUPT: no row of the state, or one that does not fit the others. */
NODISCARD enum err state_load(struct state *st, struct span key,
                              struct span value);
/* Behind the last row and before the first change. */
void state_settle(struct state *st);
/* Writes the rows touched since the last flush. */
void state_flush(struct state *st, struct buf *images);

/* ASSERTs that maps, lists, counts and digest agree. */
void state_check(const struct state *st);

#endif
