/* placement.c - see placement.h; step 1 of the fold is in fold.c.
 *
 * Moving a replica costs one if it stood in its row before, and nothing if
 * this fold placed it: chains of moves are searched by that cost. */
#include "ring/placement.h"

#include "ring/fold.h"

#define NONE PLACEMENT_NONE

/* Leaders are shared in parts of this: a multiple of 1 .. REPLICATION_MAX. */
#define PARTS 420u
static_assert(REPLICATION_MAX == 7, "PARTS is their least common multiple");

/* Cheapest paths over seats: 0-1 breadth first search. */
struct search {
    uint32_t cost[MEMBERS_MAX];
    uint16_t parent[MEMBERS_MAX];
    uint16_t parent_row[MEMBERS_MAX];
    bool is_settled[MEMBERS_MAX];
    bool is_target[MEMBERS_MAX];
    uint32_t unreached; /* seats */
    /* Seats reached at the present cost, and at one more. Each seat enters at
     * most once at its first cost and once at a lower one. */
    uint16_t frontier[2][2 * MEMBERS_MAX];
    uint32_t frontier_size[2];
};

/* ---- order among members ----------------------------------------------- */

/* splitmix64's finalizer over the row and the member's hash. */
static uint64_t rendezvous(uint32_t row, uint64_t hash)
{
    uint64_t z = hash ^ ((row + 1) * 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* <0, 0, >0: is `a` emptier, as full, fuller than `b` in relation to their
 * shares, if each had `extra` more replicas? */
static int compare_fill(const struct fold *f, uint32_t a, uint32_t b,
                        uint32_t extra)
{
    const struct seat *x = &f->seats[a];
    const struct seat *y = &f->seats[b];
    uint64_t left = (x->load + extra) * y->share;
    uint64_t right = (y->load + extra) * x->share;
    return left < right ? -1 : left > right;
}

/* Should a row rather take `a` than `b`? */
static bool is_emptier(const struct fold *f, uint32_t row, uint32_t a,
                       uint32_t b)
{
    int order = compare_fill(f, a, b, 1);
    if (order != 0)
        return order < 0;
    return rendezvous(row, f->seats[a].member->hash) >
           rendezvous(row, f->seats[b].member->hash);
}

/* ---- 2. strikes, 3. holes ---------------------------------------------- */

/* The replica that a row can best do without: of those that break the spread,
 * or else of all if the row is too long, the one on the fullest member, and
 * the last of equals: the preferred leader stays. NONE if all may stay. */
static uint16_t surplus(const struct fold *f, uint32_t row)
{
    const struct row *r = &f->rows[row];
    uint16_t breaker = NONE;
    uint16_t fullest = NONE;
    for (uint32_t i = 0; i < r->size; i++) {
        uint16_t seat = r->held[i];
        bool breaks = fold_zone_load(f, row, f->seats[seat].zone) > r->spread;
        if (breaks &&
            (breaker == NONE || compare_fill(f, seat, breaker, 0) >= 0))
            breaker = seat;
        if (fullest == NONE || compare_fill(f, seat, fullest, 0) >= 0)
            fullest = seat;
    }
    if (breaker != NONE)
        return breaker;
    return r->size > r->wanted ? fullest : NONE;
}

/* Ineligible members have no seat, so they are struck already; write_row puts
 * back those that nobody replaces. */
static void strike(struct fold *f)
{
    for (uint32_t row = 0; row < f->row_count; row++) {
        uint16_t seat = surplus(f, row);
        while (seat != NONE) {
            fold_drop(f, row, seat);
            seat = surplus(f, row);
        }
    }
}

static void fill(struct fold *f)
{
    for (uint32_t row = 0; row < f->row_count; row++) {
        while (f->rows[row].size < f->rows[row].wanted) {
            uint16_t best = NONE;
            for (uint16_t i = 0; i < f->seat_count; i++) {
                if (!fold_may_add(f, row, NONE, i))
                    continue;
                if (best == NONE || is_emptier(f, row, i, best))
                    best = i;
            }
            /* `wanted` and `spread` were chosen so that there is one. */
            ASSERT(best != NONE);
            fold_add(f, row, best);
        }
    }
}

/* ---- searching for chains ---------------------------------------------- */

static void search_open(struct search *s, uint32_t seat_count)
{
    s->frontier_size[0] = 0;
    s->frontier_size[1] = 0;
    s->unreached = seat_count;
    for (uint32_t i = 0; i < seat_count; i++) {
        s->cost[i] = UINT32_MAX;
        s->is_settled[i] = false;
        s->is_target[i] = false;
    }
}

/* Would a change that costs 0 or 1 `more` than `cost` be the cheapest way to
 * a seat so far? */
static bool search_wants(const struct search *s, uint16_t to, uint32_t cost,
                         uint32_t more)
{
    return !s->is_settled[to] && s->cost[to] > cost + more;
}

/* Reach `to` from `from` by a change in `row`, if that is wanted. */
static void search_reach(struct search *s, uint16_t from, uint32_t row,
                         uint16_t to, uint32_t cost, uint32_t more)
{
    if (!search_wants(s, to, cost, more))
        return;
    s->unreached -= s->cost[to] == UINT32_MAX;
    s->cost[to] = cost + more;
    s->parent[to] = from;
    s->parent_row[to] = (uint16_t)row;
    ASSERT(s->frontier_size[more] < 2 * MEMBERS_MAX);
    s->frontier[more][s->frontier_size[more]++] = to;
}

/* A chain may begin here. */
static void search_begin(struct search *s, uint16_t seat)
{
    search_reach(s, NONE, 0, seat, 0, 0);
}

/* ---- 4. moves ---------------------------------------------------------- */

static void move(struct fold *f, uint32_t row, uint16_t from, uint16_t to)
{
    ASSERT(fold_may_add(f, row, from, to));
    fold_drop(f, row, from);
    fold_add(f, row, to);
}

/* What one replica's move out of a settled seat reaches. Each move is judged by
 * the row as it is. A chain may change a row twice, from a to b and further on
 * from c to d, and both cannot need the same room in a zone: then d was
 * reached from a already, at no higher cost. */
static void expand_moves(const struct fold *f, struct search *s, uint16_t from,
                         bool is_free_only)
{
    uint32_t cost = s->cost[from];
    for (uint32_t row = 0; row < f->row_count; row++) {
        if (!f->holds[fold_at(f, row, from)])
            continue;
        uint32_t more = f->was[fold_at(f, row, from)];
        /* Whatever is reached is reached at this cost or at one more. */
        if (more > 0 && (is_free_only || s->unreached == 0))
            continue;
        for (uint16_t to = 0; to < f->seat_count; to++)
            if (search_wants(s, to, cost, more) &&
                fold_may_add(f, row, from, to))
                search_reach(s, from, row, to, cost, more);
    }
}

/* The target of the cheapest chain, or NONE. */
static uint16_t search_moves(const struct fold *f, struct search *s,
                             bool is_free_only)
{
    while (s->frontier_size[0] > 0) {
        for (uint32_t i = 0; i < s->frontier_size[0]; i++) {
            uint16_t seat = s->frontier[0][i];
            if (s->is_settled[seat])
                continue;
            s->is_settled[seat] = true;
            if (s->is_target[seat])
                return seat;
            expand_moves(f, s, seat, is_free_only);
        }
        memcpy(s->frontier[0], s->frontier[1], sizeof s->frontier[0]);
        s->frontier_size[0] = s->frontier_size[1];
        s->frontier_size[1] = 0;
    }
    return NONE;
}

/* How full a seat must be for a chain to begin or to end there. */
enum level {
    UNDER_FLOOR,
    UNDER_CEILING,
    OVER_FLOOR,
    OVER_CEILING,
    FAR_OVER_CEILING, /* by more than the one replica that may stay */
};

static bool is_at(const struct seat *s, enum level level)
{
    switch (level) {
    case UNDER_FLOOR:
        return s->load < s->floor;
    case UNDER_CEILING:
        return s->load < s->ceiling;
    case OVER_FLOOR:
        return s->load > s->floor;
    case OVER_CEILING:
        return s->load > s->ceiling;
    case FAR_OVER_CEILING:
        return s->load > s->ceiling + 1;
    }
    return false;
}

/* Move one replica's worth of load along a chain; false if there is none. */
static bool move_chain(struct fold *f, enum level from, enum level to,
                       bool is_free_only)
{
    struct search s;
    search_open(&s, f->seat_count);
    bool has_target = false;
    for (uint16_t i = 0; i < f->seat_count; i++) {
        if (is_at(&f->seats[i], from))
            search_begin(&s, i);
        s.is_target[i] = is_at(&f->seats[i], to);
        has_target = has_target || s.is_target[i];
    }
    uint16_t seat = has_target ? search_moves(f, &s, is_free_only) : NONE;
    if (seat == NONE)
        return false;
    for (; s.parent[seat] != NONE; seat = s.parent[seat])
        move(f, s.parent_row[seat], s.parent[seat], seat);
    return true;
}

/* Most moves of a join are chains of one link: make those without a search,
 * followers before leaders. */
static void move_directly(struct fold *f)
{
    for (uint32_t row = 0; row < f->row_count; row++) {
        for (uint32_t i = f->rows[row].size; i-- > 0;) {
            uint16_t from = f->rows[row].held[i];
            if (!is_at(&f->seats[from], OVER_CEILING))
                continue;
            uint16_t best = NONE;
            for (uint16_t to = 0; to < f->seat_count; to++) {
                if (!is_at(&f->seats[to], UNDER_FLOOR) ||
                    !fold_may_add(f, row, from, to))
                    continue;
                if (best == NONE || is_emptier(f, row, to, best))
                    best = to;
            }
            if (best != NONE)
                move(f, row, from, best);
        }
    }
}

/* Each chain takes one replica of lack or of excess away and adds none, so
 * the loops end. */
static void level_loads(struct fold *f)
{
    move_directly(f);
    while (move_chain(f, OVER_FLOOR, UNDER_FLOOR, false))
        ;
    while (move_chain(f, FAR_OVER_CEILING, UNDER_CEILING, false))
        ;
    while (move_chain(f, OVER_CEILING, UNDER_CEILING, true))
        ;
}

/* ---- 5. leaders -------------------------------------------------------- */

static void set_leader(struct fold *f, uint32_t row, uint16_t seat)
{
    if (f->rows[row].leader != NONE)
        f->seats[f->rows[row].leader].leaders--;
    f->rows[row].leader = seat;
    f->seats[seat].leaders++;
}

/* A member's fair part of leaders: one k-th of each row of k replicas. */
static void share_leaders(struct fold *f)
{
    uint32_t parts[MEMBERS_MAX] = {0};
    for (uint32_t row = 0; row < f->row_count; row++) {
        const struct row *r = &f->rows[row];
        for (uint32_t i = 0; i < r->size; i++)
            parts[r->held[i]] += PARTS / r->size;
    }
    for (uint32_t i = 0; i < f->seat_count; i++) {
        f->seats[i].leaders_floor = parts[i] / PARTS;
        f->seats[i].leaders_ceiling = (parts[i] + PARTS - 1) / PARTS;
    }
}

/* Would `a` be the better leader of a row that has lost its own? The one that
 * has the data; of such, the one that leads less in relation to its part. */
static bool leads_better(const struct fold *f, uint32_t row, uint16_t a,
                         uint16_t b)
{
    const struct seat *x = &f->seats[a];
    const struct seat *y = &f->seats[b];
    bool a_was = f->was[fold_at(f, row, a)];
    bool b_was = f->was[fold_at(f, row, b)];
    if (a_was != b_was)
        return a_was;
    uint64_t left = (uint64_t)(x->leaders + 1) * y->leaders_ceiling;
    uint64_t right = (uint64_t)(y->leaders + 1) * x->leaders_ceiling;
    if (left != right)
        return left < right;
    return rendezvous(row, x->member->hash) > rendezvous(row, y->member->hash);
}

static uint16_t heir(const struct fold *f, uint32_t row)
{
    const struct row *r = &f->rows[row];
    uint16_t best = r->held[0];
    for (uint32_t i = 1; i < r->size; i++)
        if (leads_better(f, row, r->held[i], best))
            best = r->held[i];
    return best;
}

static void appoint_leaders(struct fold *f)
{
    for (uint32_t row = 0; row < f->row_count; row++) {
        uint16_t seat = fold_seat(f, fold_slots(f->now, row)[0]);
        if (seat != NONE && f->holds[fold_at(f, row, seat)])
            set_leader(f, row, seat);
    }
    for (uint32_t row = 0; row < f->row_count; row++)
        if (f->rows[row].leader == NONE && f->rows[row].size > 0)
            set_leader(f, row, heir(f, row));
}

/* The target of the shortest chain of swaps, or NONE. */
static uint16_t search_swaps(const struct fold *f, struct search *s)
{
    for (uint32_t i = 0; i < s->frontier_size[0]; i++) {
        uint16_t seat = s->frontier[0][i];
        if (s->is_target[seat])
            return seat;
        for (uint32_t row = 0; row < f->row_count; row++) {
            const struct row *r = &f->rows[row];
            if (r->leader != seat)
                continue;
            for (uint32_t k = 0; k < r->size; k++)
                search_reach(s, seat, row, r->held[k], 0, 0);
        }
    }
    return NONE;
}

/* Hand one leadership on from a seat over its ceiling (or its floor) to one
 * under its ceiling (or its floor), along a chain; false if there is none. */
static bool swap_chain(struct fold *f, bool from_over_ceiling)
{
    struct search s;
    search_open(&s, f->seat_count);
    for (uint16_t i = 0; i < f->seat_count; i++) {
        const struct seat *x = &f->seats[i];
        uint32_t bound =
            from_over_ceiling ? x->leaders_ceiling : x->leaders_floor;
        if (x->leaders > bound)
            search_begin(&s, i);
        s.is_target[i] = x->leaders < bound;
    }
    uint16_t seat = search_swaps(f, &s);
    if (seat == NONE)
        return false;
    for (; s.parent[seat] != NONE; seat = s.parent[seat])
        set_leader(f, s.parent_row[seat], seat);
    return true;
}

static void level_leaders(struct fold *f)
{
    share_leaders(f);
    appoint_leaders(f);
    while (swap_chain(f, true))
        ;
    while (swap_chain(f, false))
        ;
}

/* ---- the result -------------------------------------------------------- */

/* A configuration may name a node twice, a dead former life and a new learner
 * (DESIGN 1); a row does not. */
static uint32_t append(uint16_t *row, uint32_t size, uint16_t slot)
{
    for (uint32_t i = 0; i < size; i++)
        if (row[i] == slot)
            return size;
    ASSERT(size < REPLICATION_MAX);
    row[size] = slot;
    return size + 1;
}

static void write_row(const struct fold *f, uint32_t row, uint16_t *out)
{
    const struct row *r = &f->rows[row];
    const uint16_t *now = fold_slots(f->now, row);
    uint16_t next[REPLICATION_MAX];
    uint32_t size = 0;
    if (r->leader != NONE)
        size = append(next, size, f->seats[r->leader].member->slot);
    for (uint32_t i = 0; i < REPLICATION_MAX; i++) {
        uint16_t seat = fold_seat(f, now[i]);
        if (seat != NONE && f->holds[fold_at(f, row, seat)])
            size = append(next, size, now[i]);
    }
    for (uint32_t seat = 0; seat < f->seat_count; seat++)
        if (f->holds[fold_at(f, row, seat)])
            size = append(next, size, f->seats[seat].member->slot);
    ASSERT(size == r->size);
    /* Too few eligible members: the dead among the old ones stay (S2). */
    for (uint32_t i = 0; i < REPLICATION_MAX && size < f->copies; i++)
        if (fold_is_listed(f, now[i]))
            size = append(next, size, now[i]);
    while (size < REPLICATION_MAX)
        next[size++] = NONE;
    memcpy(out, next, sizeof next);
}

void placement_init(struct placement_table *t, uint32_t row_count,
                    uint32_t copies, uint16_t *slots)
{
    ASSERT(row_count <= PARTITIONS_MAX);
    ASSERT(copies >= 1 && copies <= REPLICATION_MAX);
    *t = (struct placement_table){row_count, copies, slots};
    for (size_t i = 0; i < (size_t)row_count * REPLICATION_MAX; i++)
        slots[i] = NONE;
}

void placement_fold(const struct placement_table *now,
                    const struct placement_member *members, size_t count,
                    uint32_t copies, struct placement_table *next)
{
    struct fold *f = fold_new(now, members, count, copies);
    strike(f);
    fill(f);
    level_loads(f);
    level_leaders(f);
    next->row_count = now->row_count;
    next->copies = copies;
    for (uint32_t row = 0; row < f->row_count; row++)
        write_row(f, row, next->slots + (size_t)row * REPLICATION_MAX);
    fold_free(f);
}

/* Seats of group 0: the eligible members that could vote, and the ineligible
 * voters that keep theirs. */
static uint32_t ring_voters(const uint16_t *now,
                            const struct placement_member *members,
                            size_t count)
{
    uint32_t eligible = 0;
    uint32_t dead = 0;
    for (size_t i = 0; i < count; i++) {
        const struct placement_member *m = &members[i];
        bool votes = false;
        for (uint32_t k = 0; k < REPLICATION_MAX; k++)
            votes = votes || now[k] == m->slot;
        eligible += m->is_eligible && (m->takes_new || votes);
        dead += !m->is_eligible && votes;
    }
    uint64_t kept = eligible < 3 ? 3 - eligible : 1;
    uint64_t seats = eligible + min_u64(dead, kept);
    return seats >= 5 ? 5 : seats >= 3 ? 3 : 1;
}

void placement_fold_ring(const uint16_t *now,
                         const struct placement_member *members, size_t count,
                         uint16_t *next)
{
    ASSERT(count <= MEMBERS_MAX);
    struct placement_member equals[MEMBERS_MAX];
    bool has_eligible = false;
    for (size_t i = 0; i < count; i++)
        has_eligible = has_eligible || members[i].is_eligible;
    /* Who is not listed keeps no seat. */
    size_t listed = 0;
    for (size_t i = 0; i < count; i++) {
        if (has_eligible && members[i].is_leaving)
            continue;
        equals[listed] = members[i];
        equals[listed++].weight = 1;
    }
    uint16_t row[REPLICATION_MAX];
    memcpy(row, now, sizeof row);
    struct placement_table t = {1, REPLICATION_MAX, row};
    placement_fold(&t, equals, listed, ring_voters(now, equals, listed), &t);
    memcpy(next, row, sizeof row);
}

/* ---- judging a table --------------------------------------------------- */

static bool refuse(struct buf *why, uint32_t row, const char *text)
{
    if (why != NULL)
        buf_printf(why, "row %u: %s", (unsigned)row, text);
    return false;
}

/* NULL, or what is wrong with the form of a row. */
static const char *row_fault(const struct fold *f, uint32_t row)
{
    const uint16_t *slots = fold_slots(f->now, row);
    bool has_ended = false;
    bool has_dead = false;
    for (uint32_t i = 0; i < REPLICATION_MAX; i++) {
        if (slots[i] == NONE) {
            has_ended = true;
            continue;
        }
        if (has_ended)
            return "a gap";
        if (i >= f->copies)
            return "too long";
        if (!fold_is_listed(f, slots[i]))
            return "a slot that no member has";
        if (has_dead && fold_seat(f, slots[i]) != NONE)
            return "an ineligible member before an eligible one";
        has_dead = has_dead || fold_seat(f, slots[i]) == NONE;
        for (uint32_t k = 0; k < i; k++)
            if (slots[k] == slots[i])
                return "a member twice";
    }
    if (f->rows[row].size < f->rows[row].wanted)
        return "a hole that a member could fill";
    return NULL;
}

bool placement_check(const struct placement_table *t,
                     const struct placement_member *members, size_t count,
                     struct buf *why)
{
    if (t->row_count > PARTITIONS_MAX || t->copies < 1 ||
        t->copies > REPLICATION_MAX)
        return refuse(why, 0, "row or copy count out of bounds");
    struct fold *f = fold_new(t, members, count, t->copies);
    bool is_good = true;
    for (uint32_t row = 0; row < f->row_count && is_good; row++) {
        const char *fault = row_fault(f, row);
        if (fault != NULL)
            is_good = refuse(why, row, fault);
    }
    fold_free(f);
    return is_good;
}

uint32_t placement_moves(const struct placement_table *a,
                         const struct placement_table *b)
{
    ASSERT(a->row_count == b->row_count);
    uint32_t moves = 0;
    for (uint32_t row = 0; row < b->row_count; row++) {
        const uint16_t *old = fold_slots(a, row);
        const uint16_t *new = fold_slots(b, row);
        for (uint32_t i = 0; i < REPLICATION_MAX; i++) {
            bool is_new = new[i] != NONE;
            for (uint32_t k = 0; k < REPLICATION_MAX; k++)
                is_new = is_new && old[k] != new[i];
            moves += is_new;
        }
    }
    return moves;
}

uint32_t placement_moves_least(const struct placement_table *now,
                               const struct placement_member *members,
                               size_t count, uint32_t copies)
{
    struct fold *f = fold_new(now, members, count, copies);
    uint32_t lack = 0;
    for (uint32_t i = 0; i < f->seat_count; i++)
        if (is_at(&f->seats[i], UNDER_FLOOR))
            lack += f->seats[i].floor - f->seats[i].load;
    strike(f);
    uint32_t holes = 0;
    for (uint32_t row = 0; row < f->row_count; row++)
        holes += (uint32_t)(f->rows[row].wanted - f->rows[row].size);
    fold_free(f);
    return (uint32_t)max_u64(lack, holes);
}

/* Rows in which one zone has too many of the eligible replicas, or has a
 * majority of them all. */
static void measure_row(const struct fold *f, uint32_t row,
                        struct placement_figures *x)
{
    const struct row *r = &f->rows[row];
    uint32_t worst = 0;
    for (uint32_t i = 0; i < r->size; i++) {
        uint32_t load = fold_zone_load(f, row, f->seats[r->held[i]].zone);
        worst = (uint32_t)max_u64(worst, load);
    }
    x->replicas += r->size;
    x->rows_short += r->size < f->copies;
    x->zone_violations += worst > r->spread;
    x->zone_majorities += r->size > 0 && (r->size - worst) * 2 <= r->size;
}

static void measure_seat(const struct fold *f, const struct seat *s,
                         struct placement_figures *x)
{
    /* A share of leaders is a share of replicas, scaled to the rows. */
    uint64_t num = s->share_num * f->row_count;
    uint64_t den = max_u64(s->share_den * x->replicas, 1);
    int32_t excess = (int32_t)s->load - (int32_t)s->ceiling;
    int32_t leaders_excess =
        (int32_t)s->leaders - (int32_t)((num + den - 1) / den);
    if (s->load < x->load_min)
        x->load_min = s->load;
    if (s->load > x->load_max)
        x->load_max = s->load;
    if (excess > x->load_excess)
        x->load_excess = excess;
    if (s->leaders < x->leaders_min)
        x->leaders_min = s->leaders;
    if (s->leaders > x->leaders_max)
        x->leaders_max = s->leaders;
    if (leaders_excess > x->leaders_excess)
        x->leaders_excess = leaders_excess;
}

struct placement_figures
placement_measure(const struct placement_table *t,
                  const struct placement_member *members, size_t count)
{
    struct placement_figures x = {.load_min = UINT32_MAX,
                                  .leaders_min = UINT32_MAX,
                                  .load_excess = INT32_MIN,
                                  .leaders_excess = INT32_MIN};
    struct fold *f = fold_new(t, members, count, t->copies);
    for (uint32_t row = 0; row < f->row_count; row++) {
        uint16_t leader = fold_seat(f, fold_slots(t, row)[0]);
        if (leader != NONE)
            set_leader(f, row, leader);
        measure_row(f, row, &x);
    }
    for (uint32_t i = 0; i < f->seat_count; i++)
        measure_seat(f, &f->seats[i], &x);
    if (f->seat_count == 0)
        x = (struct placement_figures){.rows_short = f->row_count};
    fold_free(f);
    return x;
}

void placement_print(const struct placement_table *t, struct buf *text)
{
    buf_printf(text, "%ux%u", (unsigned)t->row_count, (unsigned)t->copies);
    for (uint32_t row = 0; row < t->row_count; row++) {
        const uint16_t *slots = fold_slots(t, row);
        if (slots[0] == NONE)
            buf_printf(text, " -");
        for (uint32_t i = 0; i < REPLICATION_MAX && slots[i] != NONE; i++)
            buf_printf(text, "%c%u", i == 0 ? ' ' : ',', (unsigned)slots[i]);
    }
}
