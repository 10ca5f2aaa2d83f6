/* fold.c - see fold.h. */
#include "ring/fold.h"

#define NONE PLACEMENT_NONE

/* Shares for comparison: fixed point with so many binary digits. A numerator
 * is at most rows * copies * weight, so it fits 64 bits. */
#define SHARE_SHIFT 16
static_assert((uint64_t)PARTITIONS_MAX * REPLICATION_MAX <=
                  ((uint64_t)1 << (64 - 32 - SHARE_SHIFT)),
              "a share's numerator fits 64 bits");

/* ---- rows and seats ---------------------------------------------------- */

uint32_t fold_zone_load(const struct fold *f, uint32_t row, uint32_t zone)
{
    const struct row *r = &f->rows[row];
    uint32_t load = 0;
    for (uint32_t i = 0; i < r->size; i++)
        load += f->seats[r->held[i]].zone == zone;
    return load;
}

void fold_add(struct fold *f, uint32_t row, uint16_t seat)
{
    struct row *r = &f->rows[row];
    ASSERT(r->size < REPLICATION_MAX && !f->holds[fold_at(f, row, seat)]);
    r->held[r->size++] = seat;
    f->holds[fold_at(f, row, seat)] = true;
    f->seats[seat].load++;
}

void fold_drop(struct fold *f, uint32_t row, uint16_t seat)
{
    struct row *r = &f->rows[row];
    uint32_t i = 0;
    while (i < r->size && r->held[i] != seat)
        i++;
    ASSERT(i < r->size && f->holds[fold_at(f, row, seat)]);
    r->size--;
    memmove(&r->held[i], &r->held[i + 1], (r->size - i) * sizeof r->held[0]);
    f->holds[fold_at(f, row, seat)] = false;
    f->seats[seat].load--;
}

static bool is_usable(const struct fold *f, uint32_t row, uint32_t seat)
{
    return f->seats[seat].member->takes_new || f->was[fold_at(f, row, seat)];
}

bool fold_may_add(const struct fold *f, uint32_t row, uint16_t from,
                  uint32_t to)
{
    if (f->holds[fold_at(f, row, to)] || !is_usable(f, row, to))
        return false;
    uint32_t zone = f->seats[to].zone;
    if (from != NONE && f->seats[from].zone == zone)
        return true;
    return fold_zone_load(f, row, zone) < f->rows[row].spread;
}

/* ---- opening a fold ---------------------------------------------------- */

/* Seats in the order of slots, so that the members' order does not matter;
 * zones numbered in the order of seats. */
static void open_seats(struct fold *f, const struct placement_member *members,
                       size_t count)
{
    const struct placement_member *by_slot[MEMBERS_MAX] = {NULL};
    for (size_t i = 0; i < count; i++) {
        const struct placement_member *m = &members[i];
        ASSERT(m->slot < MEMBERS_MAX && by_slot[m->slot] == NULL);
        ASSERT(m->weight > 0);
        by_slot[m->slot] = m;
    }
    for (uint32_t slot = 0; slot < MEMBERS_MAX; slot++) {
        f->seat_of[slot] = NONE;
        f->is_listed[slot] = by_slot[slot] != NULL;
        if (by_slot[slot] == NULL || !by_slot[slot]->is_eligible)
            continue;
        uint32_t seat = f->seat_count++;
        uint32_t twin = 0;
        while (twin < seat &&
               f->seats[twin].member->zone != by_slot[slot]->zone)
            twin++;
        uint32_t zone = twin < seat ? f->seats[twin].zone : f->zone_count++;
        f->seats[seat].member = by_slot[slot];
        f->seats[seat].zone = (uint16_t)zone;
        f->zone_takers[zone] += by_slot[slot]->takes_new;
        f->seat_of[slot] = (uint16_t)seat;
    }
}

/* What a row can hold, given who may stand in it: how many, how spread. */
static void open_row(struct fold *f, uint32_t row)
{
    struct row *r = &f->rows[row];
    uint8_t keepers[MEMBERS_MAX] = {0}; /* of a zone: only where they stood */
    uint32_t usable = 0;
    for (uint32_t i = 0; i < REPLICATION_MAX; i++) {
        uint16_t seat = fold_seat(f, fold_slots(f->now, row)[i]);
        /* A slot that stands twice came from a table that was not checked;
         * the second one is a hole. */
        if (seat == NONE || f->was[fold_at(f, row, seat)])
            continue;
        f->was[fold_at(f, row, seat)] = 1;
        fold_add(f, row, seat);
        if (!f->seats[seat].member->takes_new)
            keepers[f->seats[seat].zone]++;
    }
    for (uint32_t z = 0; z < f->zone_count; z++)
        usable += f->zone_takers[z] + keepers[z];
    r->wanted = (uint8_t)min_u64(f->copies, usable);
    r->leader = NONE;
    for (uint32_t room = 0; room < r->wanted;) {
        r->spread++;
        room = 0;
        for (uint32_t z = 0; z < f->zone_count; z++)
            room +=
                (uint32_t)min_u64(f->zone_takers[z] + keepers[z], r->spread);
    }
    for (uint32_t z = 0; z < f->zone_count; z++)
        f->zone_cap[z] +=
            (uint32_t)min_u64(f->zone_takers[z] + keepers[z], r->spread);
}

/* ---- 1. fair shares ---------------------------------------------------- */

/* What is still to be poured. Numerators of its fractions are at most 2^13,
 * denominators 2^40: comparing crosswise does not overflow. */
struct pour {
    uint64_t rest;
    uint64_t weight; /* of seats not settled */
    uint64_t zone_rest[MEMBERS_MAX];
    uint64_t zone_weight[MEMBERS_MAX];
};

/* Settle a seat at a level num / den of replicas per weight. */
static void settle(struct pour *p, struct seat *s, uint64_t num, uint64_t den)
{
    uint32_t weight = s->member->weight;
    s->share_num = num * weight;
    s->share_den = den;
    s->share = max_u64((s->share_num << SHARE_SHIFT) / den, 1);
    s->floor = (uint32_t)(s->share_num / den);
    s->ceiling = (uint32_t)((s->share_num + den - 1) / den);
    p->weight -= weight;
    p->zone_weight[s->zone] -= weight;
}

/* Raise the level until all is poured, or the first member or zone is full,
 * and settle whom that stops. */
static void pour_once(struct fold *f, struct pour *p)
{
    uint64_t num = p->rest;
    uint64_t den = p->weight;
    struct seat *seat = NULL;
    uint32_t zone = MEMBERS_MAX;
    for (uint32_t i = 0; i < f->seat_count; i++) {
        struct seat *s = &f->seats[i];
        if (s->share_den != 0 || s->cap * den >= num * s->member->weight)
            continue;
        seat = s;
        num = s->cap;
        den = s->member->weight;
    }
    for (uint32_t z = 0; z < f->zone_count; z++) {
        if (p->zone_weight[z] == 0 ||
            p->zone_rest[z] * den >= num * p->zone_weight[z])
            continue;
        zone = z;
        num = p->zone_rest[z];
        den = p->zone_weight[z];
    }
    if (zone == MEMBERS_MAX && seat != NULL) {
        p->rest -= seat->cap;
        p->zone_rest[seat->zone] -= seat->cap;
        settle(p, seat, num, den);
        return;
    }
    if (zone < MEMBERS_MAX)
        p->rest -= p->zone_rest[zone];
    for (uint32_t i = 0; i < f->seat_count; i++) {
        struct seat *s = &f->seats[i];
        if (s->share_den == 0 && (zone == MEMBERS_MAX || s->zone == zone))
            settle(p, s, num, den);
    }
}

/* Water-filling: the level rises for all alike, and stops for a member at its
 * cap and for all of a zone at the zone's. */
static void share_out(struct fold *f, uint64_t rest)
{
    struct pour p = {.rest = rest};
    for (uint32_t i = 0; i < f->seat_count; i++) {
        p.weight += f->seats[i].member->weight;
        p.zone_weight[f->seats[i].zone] += f->seats[i].member->weight;
    }
    for (uint32_t z = 0; z < f->zone_count; z++)
        p.zone_rest[z] = f->zone_cap[z];
    while (p.weight > 0)
        pour_once(f, &p);
}

/* ---- life -------------------------------------------------------------- */

struct fold *fold_new(const struct placement_table *now,
                      const struct placement_member *members, size_t count,
                      uint32_t copies)
{
    ASSERT(now->row_count <= PARTITIONS_MAX && count <= MEMBERS_MAX);
    ASSERT(copies >= 1 && copies <= REPLICATION_MAX);
    struct fold *f = mem_alloc(sizeof *f);
    f->now = now;
    f->row_count = now->row_count;
    f->copies = copies;
    open_seats(f, members, count);
    size_t cells = (size_t)f->row_count * f->seat_count;
    f->was = mem_alloc(cells * sizeof *f->was);
    f->holds = mem_alloc(cells * sizeof *f->holds);
    uint64_t wanted = 0;
    for (uint32_t row = 0; row < f->row_count; row++) {
        open_row(f, row);
        wanted += f->rows[row].wanted;
    }
    for (uint32_t i = 0; i < f->seat_count; i++) {
        struct seat *s = &f->seats[i];
        s->cap = s->member->takes_new ? f->row_count : s->load;
    }
    share_out(f, wanted);
    return f;
}

void fold_free(struct fold *f)
{
    mem_free(f->was);
    mem_free(f->holds);
    mem_free(f);
}
