/* placement.h - which nodes keep which partition: the fold.
 *
 *     next table = fold(table, members)
 *
 * The table stands in the ring record; its fold over a changed list of
 * members is the next table. It is consistent hashing with fixed slices and
 * with memory: no node's place follows from its hash alone, so loads are even
 * to a replica, and what need not move stays where it is.
 *
 *     row (partition)      0      1      2      3      4   ...  Q-1
 *     preferred leader     A      B      C      A      B         C
 *                          B      C      A      C      A         B
 *                          C      A      B      B      C         A
 *
 * The fold is a pure function of the values it is given: integers only, no
 * clock, no chance; the order of `members` does not matter. Its loops end by
 * count, never by time (T34): each step of a loop mends one misplaced replica
 * or leader, and there are at most rows x REPLICATION_MAX of them. Up to 256
 * rows it takes a millisecond; for 1024 rows and 100 nodes 3 to 15, and a tenth
 * of a second at worst (tools/bench_ring.c). A caller that cannot wait runs
 * it elsewhere on a copy: it gives the same table everywhere.
 *
 * How (DESIGN 4):
 * 1. Fair share. A member's share is rows x copies x weight / sum of weights,
 *    but at most one replica a row, and a zone gets at most what the spread
 *    lets it hold; what a cap cuts off is poured over the others
 *    (water-filling: all levels rise together, each stops at its cap).
 * 2. Strike replicas on ineligible members where somebody can replace them,
 *    and the fewest that break the spread over zones. The *spread* of a row is
 *    the smallest number c such that its replicas can be placed with at most c
 *    in one zone; more than c in one zone is a violation.
 * 3. Fill each hole with the member that is then the least full in relation to
 *    its share; ties go to the highest rendezvous hash of (row, member)
 *    (Thaler and Ravishankar 1998).
 * 4. Move along the cheapest chains (this row's replica from a to b, that
 *    row's from b to c) from members over their share to members under it,
 *    until all have at least the floor of it and none more than its ceiling
 *    plus one. The last replica above the ceiling is moved only if that copies
 *    no data. This is min-cost flow by successive cheapest paths (Ahuja,
 *    Magnanti, Orlin 1993, 9.7), started from what steps 2 and 3 left.
 * 5. Balance the preferred leaders by swaps inside rows, along shortest
 *    chains, until each has the floor or the ceiling of its replicas' fair
 *    part. Ring position alone gave peaks of 1.3 to 2.4 times the share
 *    (HAZARDS 3.12). It moves no data, so a leader changes only for this.
 *
 * What a row looks like after the fold: first the eligible replicas, as many
 * as there are members that may stand in it, at most `copies`; the preferred
 * leader first, then those that stay in their old order, then new ones. Where
 * these are fewer than `copies`, ineligible members that stood in the row stay
 * at its end: a dead voter is not removed without a successor (S2). So a row
 * that held somebody never becomes empty.
 *
 * Two zones and copies = 3: one zone holds two of three in every row, and
 * losing it stops the writes of those groups. The fold cannot help it (L21);
 * placement_measure counts such rows, for `ring plan` to say so.
 *
 * The fold starts from the table it is given. When a member's state changes,
 * the caller puts a group's committed configuration in the place of its row
 * where the walk to that row is not done (T28); such a row may be longer than
 * `copies`. */
#ifndef RING_PLACEMENT_H
#define RING_PLACEMENT_H

#include "ring/base.h"
#include "ring/limits.h"

#define PLACEMENT_NONE UINT16_MAX /* no member: the rest of a row is empty */

/* What the fold must know of a member. Members that have left are not listed;
 * a replica of a slot that is not listed is struck in any case. Values come
 * from a record that was checked: they are asserted. */
struct placement_member {
    uint16_t slot;    /* its index in the record, < MEMBERS_MAX, unique */
    bool is_eligible; /* may hold replicas: wanted in, seen up or joining */
    bool takes_new;   /* false (unfit, full): may keep rows, gets no new ones */
    bool is_leaving;  /* by the operator's wish: keeps no seat in group 0's
                         row for its being a voter there */
    uint16_t zone;    /* a node without a zone has a number of its own */
    uint32_t weight;  /* > 0; in relation to the others, 100 by default */
    uint64_t hash;    /* of the node id: ties */
};

/* Rows 0 .. row_count-1 are the partitions (group = row + 1); group 0's row
 * is folded apart, see placement_fold_ring. The first of a row is the
 * preferred leader; behind the last member a row is filled with
 * PLACEMENT_NONE. The table borrows its slots: row r begins at
 * slots[r * REPLICATION_MAX], so in a record it can lie where the rows are. */
struct placement_table {
    uint32_t row_count; /* Q <= PARTITIONS_MAX */
    uint32_t copies;    /* N, 1 .. REPLICATION_MAX: what rows should hold */
    uint16_t *slots;    /* row_count * REPLICATION_MAX of them */
};

/* A table of empty rows in the given memory. */
void placement_init(struct placement_table *t, uint32_t row_count,
                    uint32_t copies, uint16_t *slots);

/* The next table, for `copies` replicas a row, into next->slots (room for as
 * many rows as `now` has; may be now->slots). `count` is at most MEMBERS_MAX;
 * with no eligible member the rows stay as they are, less slots that are not
 * listed. */
void placement_fold(const struct placement_table *now,
                    const struct placement_member *members, size_t count,
                    uint32_t copies, struct placement_table *next);

/* Group 0's next row, both rows REPLICATION_MAX slots long (`next` may be
 * `now`): 1, 3 or 5 voters, the most that the eligible members allow (T16).
 * Eligible voters stay, new ones are drawn by rendezvous hash and spread over
 * zones, weights do not count. An ineligible voter keeps its seat where the
 * row would otherwise fall below three, and one does where it would fall from
 * five to three; but one that is leaving keeps none, or it would never have
 * left. */
void placement_fold_ring(const uint16_t *now,
                         const struct placement_member *members, size_t count,
                         uint16_t *next);

/* True if the table is one that a fold could have made: sizes in bounds, no
 * slot twice in a row, no gap, only listed slots, eligible ones first, as many
 * of them as can stand there. Otherwise false, with a sentence appended to
 * `why` (may be NULL). The balance is not judged: see placement_measure. The
 * table may come from outside; the members may not. */
bool placement_check(const struct placement_table *t,
                     const struct placement_member *members, size_t count,
                     struct buf *why);

/* How many replicas `b` has that `a` has not: what must be copied. */
uint32_t placement_moves(const struct placement_table *a,
                         const struct placement_table *b);

/* A lower bound of the moves that any fold must make from `now`: the larger of
 * the holes (replicas on ineligible members that can be replaced, or that
 * break the spread, or missing) and of what eligible members lack to the floor
 * of their share. */
uint32_t placement_moves_least(const struct placement_table *now,
                               const struct placement_member *members,
                               size_t count, uint32_t copies);

struct placement_figures {
    uint32_t replicas;        /* on eligible members */
    uint32_t rows_short;      /* rows with fewer than `copies` of them */
    uint32_t load_min;        /* replicas on the emptiest eligible member ... */
    uint32_t load_max;        /* ... and on the fullest */
    int32_t load_excess;      /* greatest load - ceil(share) */
    uint32_t leaders_min;     /* rows preferring the least asked member ... */
    uint32_t leaders_max;     /* ... and the most asked */
    int32_t leaders_excess;   /* greatest leaders - ceil(share of leaders) */
    uint32_t zone_violations; /* rows with more in a zone than need be */
    uint32_t zone_majorities; /* rows that lose their quorum with a zone */
};

/* Figures of a table that placement_check accepts; all zero but rows_short
 * if no member is eligible. A member's share of leaders is its share of the
 * replicas, scaled to the rows. */
struct placement_figures
placement_measure(const struct placement_table *t,
                  const struct placement_member *members, size_t count);

/* Append the table in one line: "4x3 0,1,2 1,2,0 2,0,1 0,2,1" are four rows
 * of up to three; an empty row is "-". */
void placement_print(const struct placement_table *t, struct buf *text);

#endif
