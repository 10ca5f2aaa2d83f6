/* producer.h - what a partition remembers of one producer: its epoch, the
 * window of its last answers, and its row.
 *
 * Numbers are consecutive from 0, and an accepted append takes exactly the
 * next one. So the window of the last PRODUCER_WINDOW answers is kept as
 * *runs*, (first number, first seq): number and seq ascend together until
 * the next run begins (another producer has appended in between). Of the
 * newest PRODUCER_CHECKSUMS numbers the low half of the checksum is kept too,
 * to tell a retry from another segment under the same number (S19):
 *
 *     number  0 ... expired | known by seq ... | and by checksum | next
 *                           ^ next - 1024      ^ next - 64
 *
 * A producer is in one of three lists, by age of last use where that matters:
 * named, unnamed (the oldest may be evicted), closed (the oldest is evicted).
 * "Used" is the position of the command that opened it or was accepted from
 * it last: an order of the log, the same on all replicas (T10), and part of
 * the row, so that it outlives a restart. */
#ifndef RING_PRODUCER_H
#define RING_PRODUCER_H

#include "ring/entry.h"

/* From number `first_number` on, up to where the next run begins. */
struct producer_run {
    uint64_t first_number;
    uint64_t first_seq;
};

struct producer {
    struct position id;
    struct position stream; /* its producers' names are its own */
    struct position used;
    uint64_t used_ms; /* time of that entry */
    uint64_t next_number;
    struct hash128 row_digest;      /* of the row as it counts in the digest */
    struct producer *older, *newer; /* in its list */
    struct producer_run *runs;      /* circular; capacity a power of two */
    uint64_t *checksums; /* of number n at n % capacity; a power of two */
    uint32_t epoch;
    uint16_t run_first;
    uint16_t run_count;
    uint16_t run_capacity;
    uint8_t checksum_capacity;
    bool is_unnamed;
    bool is_closed;
    bool is_touched; /* changed by the entry that is being applied */
    uint8_t name_size;
    uint8_t name[];
};

struct producer *producer_new(struct position id, struct position stream,
                              struct span name);
void producer_free(struct producer *p);
static inline struct span producer_name(const struct producer *p)
{
    return (struct span){p->name, p->name_size};
}

/* What a number is to a producer. */
enum number_case {
    NUMBER_NEXT,    /* the one that it must send now */
    NUMBER_KNOWN,   /* accepted before; *seq is its answer */
    NUMBER_DIFFERS, /* accepted before with other bytes */
    NUMBER_OLD,     /* below the window: nothing can be said of it */
    NUMBER_GAP,     /* one before it is missing */
};
enum number_case producer_judge(const struct producer *p, uint64_t number,
                                struct hash128 checksum, uint64_t *seq);
/* The next number was accepted at this seq, which is above all before. */
void producer_accept(struct producer *p, uint64_t seq, struct hash128 checksum);

/* The value of its row; appended. */
void producer_row_write(const struct producer *p, struct buf *value);
/* NULL: not the row of a producer. The bytes of a row have one meaning and
 * back: written again, it is the same. */
struct producer *producer_row_read(struct position id, struct span value);
/* ASSERTs what holds between two commands. */
void producer_check(const struct producer *p);

/* A list by age of use; a zeroed one is empty. */
struct producer_list {
    struct producer *oldest, *newest;
    size_t count;
};
void producer_list_add(struct producer_list *l, struct producer *p);
void producer_list_remove(struct producer_list *l, struct producer *p);
/* Puts the list in order of use, after rows were loaded in another order. */
void producer_list_sort(struct producer_list *l);

#endif
