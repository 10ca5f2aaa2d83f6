/* placement_world.h - a ring for the tests of placement: members, a table, and
 * a fold that checks its result. The one world is made anew by world_new. */
#ifndef TESTS_UNIT_PLACEMENT_WORLD_H
#define TESTS_UNIT_PLACEMENT_WORLD_H

#include "tests/unit/cmocka_wrap.h"

#include "ring/placement.h"

struct world {
    struct placement_member members[MEMBERS_MAX];
    size_t count;
    struct placement_table table;
    uint16_t slots[PARTITIONS_MAX * REPLICATION_MAX];
    struct rng rng;
    uint32_t moves; /* of the last fold */
    uint32_t least; /* its lower bound */
};

static inline struct world *world_new(uint32_t rows, uint32_t copies,
                                      uint64_t seed)
{
    static struct world world;
    struct world *w = &world;
    *w = (struct world){0};
    placement_init(&w->table, rows, copies, w->slots);
    rng_seed(&w->rng, seed);
    return w;
}

static inline uint64_t hash_of(uint16_t slot)
{
    uint8_t id = (uint8_t)slot;
    return hash64(span_of(&id, 1));
}

static inline struct placement_member *join(struct world *w, uint16_t slot)
{
    w->members[w->count] = (struct placement_member){
        .slot = slot,
        .is_eligible = true,
        .takes_new = true,
        .zone = (uint16_t)(1000 + slot),
        .weight = 100,
        .hash = hash_of(slot),
    };
    return &w->members[w->count++];
}

static inline void join_many(struct world *w, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        join(w, (uint16_t)w->count);
}

static inline void assert_sound(const struct world *w)
{
    struct buf why = {0};
    if (!placement_check(&w->table, w->members, w->count, &why))
        fail_msg("%.*s", (int)why.size, (const char *)why.data);
    buf_free(&why);
}

static inline void fold_for(struct world *w, uint32_t copies)
{
    static uint16_t slots[PARTITIONS_MAX * REPLICATION_MAX];
    struct placement_table next = {.slots = slots};
    w->least = placement_moves_least(&w->table, w->members, w->count, copies);
    placement_fold(&w->table, w->members, w->count, copies, &next);
    w->moves = placement_moves(&w->table, &next);
    memcpy(w->slots, slots, sizeof slots);
    w->table.copies = copies;
    assert_sound(w);
}

static inline void fold(struct world *w)
{
    fold_for(w, w->table.copies);
}

static inline struct placement_figures measure(const struct world *w)
{
    return placement_measure(&w->table, w->members, w->count);
}

static inline uint16_t *row(struct world *w, uint32_t r)
{
    return w->slots + (size_t)r * REPLICATION_MAX;
}

static inline uint32_t load_of(struct world *w, uint16_t slot)
{
    uint32_t load = 0;
    for (size_t i = 0; i < w->table.row_count * (size_t)REPLICATION_MAX; i++)
        load += w->slots[i] == slot;
    return load;
}

#endif
