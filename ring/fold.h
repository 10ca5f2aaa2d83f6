/* fold.h - the working state of a placement fold (placement.h): who may stand
 * in which row, how many each row should hold, how much each member should.
 *
 * It is opened on a table and members, as the step 1 of the fold; placement.c
 * changes it, or judges a table by it. Nobody else includes this.
 *
 * The eligible members are *seats*, in the order of their slots, so that the
 * order in which they were given does not matter. Two matrices row x seat say
 * who stood in a row (`was`) and who does now (`holds`). */
#ifndef RING_FOLD_H
#define RING_FOLD_H

#include "ring/placement.h"

struct seat {
    const struct placement_member *member;
    uint16_t zone; /* numbered from 0 */
    uint32_t cap;  /* rows that it can hold at most */
    /* The fair share, num / den, and the same in fixed point, at least 1. */
    uint64_t share_num;
    uint64_t share_den; /* 0: not settled, only while shares are computed */
    uint64_t share;
    uint32_t floor;
    uint32_t ceiling;
    uint32_t load;
    uint32_t leaders;
    uint32_t leaders_floor; /* of its fair part; set by placement.c */
    uint32_t leaders_ceiling;
};

struct row {
    uint16_t held[REPLICATION_MAX]; /* seats: the old ones, then new ones */
    uint8_t size;
    uint8_t wanted;  /* replicas that eligible members can hold, <= copies */
    uint8_t spread;  /* at most so many of them in one zone */
    uint16_t leader; /* a seat, or PLACEMENT_NONE at first */
};

struct fold {
    const struct placement_table *now;
    uint32_t row_count;
    uint32_t copies;
    uint32_t seat_count;
    uint32_t zone_count;
    uint32_t zone_takers[MEMBERS_MAX]; /* seats of a zone that take new rows */
    uint32_t zone_cap[MEMBERS_MAX];    /* replicas that its seats can hold */
    struct seat seats[MEMBERS_MAX];
    uint16_t seat_of[MEMBERS_MAX]; /* by slot; NONE: not eligible */
    bool is_listed[MEMBERS_MAX];   /* by slot */
    bool *was;
    bool *holds;
    struct row rows[PARTITIONS_MAX];
};

/* A fold of `now`, whose eligible replicas are in their rows, with shares.
 * Table and members are borrowed as long as it lives. */
struct fold *fold_new(const struct placement_table *now,
                      const struct placement_member *members, size_t count,
                      uint32_t copies);
void fold_free(struct fold *f);

/* Put a replica into a row that does not hold it; take one out that does. */
void fold_add(struct fold *f, uint32_t row, uint16_t seat);
void fold_drop(struct fold *f, uint32_t row, uint16_t seat);
/* May `to` join a row within its spread, in the place of `from` unless that is
 * NONE? A member that takes nothing new may only where it stood. */
bool fold_may_add(const struct fold *f, uint32_t row, uint16_t from,
                  uint32_t to);
/* Replicas of a row in a zone. */
uint32_t fold_zone_load(const struct fold *f, uint32_t row, uint32_t zone);

/* The slots of a table's row, REPLICATION_MAX of them. */
static inline uint16_t *fold_slots(const struct placement_table *t,
                                   uint32_t row)
{
    return t->slots + (size_t)row * REPLICATION_MAX;
}

/* The place of (row, seat) in the matrices. */
static inline size_t fold_at(const struct fold *f, uint32_t row, uint32_t seat)
{
    return (size_t)row * f->seat_count + seat;
}

/* The seat of a slot, any number; NONE if it has none. */
static inline uint16_t fold_seat(const struct fold *f, uint16_t slot)
{
    return slot < MEMBERS_MAX ? f->seat_of[slot] : PLACEMENT_NONE;
}

static inline bool fold_is_listed(const struct fold *f, uint16_t slot)
{
    return slot < MEMBERS_MAX && f->is_listed[slot];
}

#endif
