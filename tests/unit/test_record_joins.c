/* test_record_joins.c - who joins gets copies when it is up, with all who came
 * with it: ring/record.h. */
#include "tests/unit/cmocka_wrap.h"

#include <stdio.h>

#include "ring/placement.h"
#include "tests/unit/rings.h"

#define JOINS 10u

/* A ring of nodes 1 .. `nodes`, all up and folded. */
struct setting {
    uint32_t partitions, copies, nodes;
    uint32_t zones; /* 0: each node is one */
    bool is_weighted;
};

static struct member member_of(const struct setting *s, unsigned n)
{
    struct member m = rings_member(n);
    if (s->zones > 0)
        (void)snprintf(m.zone, sizeof m.zone, "z%u", n % s->zones);
    if (s->is_weighted)
        m.weight = 50u << n % 3;
    return m;
}

static void join(struct record *r, const struct setting *s, unsigned n)
{
    struct member m = member_of(s, n);
    assert_int_equal(record_join(r, &m, T0), ERR_OK);
}

static void see_all_up(struct record *r)
{
    for (uint16_t slot = 0; slot < r->member_count; slot++)
        record_see(r, slot, SEEN_UP, T0);
}

/* The next record; copies that the partitions must make for it. */
static uint32_t advance(struct record *r)
{
    struct placement_member list[MEMBERS_MAX];
    struct placement_table before, after;
    struct record *old = record_copy(r);
    record_advance(r, T0);
    assert_null(record_fault(r));
    (void)record_placement(old, list, &before);
    size_t count = record_placement(r, list, &after);
    assert_true(placement_check(&after, list, count, NULL));
    uint32_t moves = placement_moves(&before, &after);
    record_free(old);
    return moves;
}

static struct record *ring_of(const struct setting *s)
{
    struct record *r = rings_begin(1, s->partitions);
    r->copies = s->copies;
    r->acks = record_majority(s->copies);
    for (unsigned n = 2; n <= s->nodes; n++)
        join(r, s, n);
    see_all_up(r);
    (void)advance(r);
    return r;
}

/* Of partitions' rows. */
static uint32_t copies_on(const struct record *r, uint16_t slot)
{
    uint32_t copies = 0;
    for (uint32_t group = 1; group < r->row_count; group++)
        copies += record_rank(r, group, slot) != REPLICAS_MAX;
    return copies;
}

/* ---- joins that come together ------------------------------------------ */

static const struct setting settings[] = {
    {64, 3, 3, 0, false},  {256, 3, 3, 0, false},  {256, 3, 4, 0, false},
    {256, 3, 5, 0, false}, {256, 3, 10, 0, false}, {1024, 3, 3, 0, false},
    {256, 5, 5, 0, false}, {256, 3, 6, 3, false},  {256, 3, 5, 0, true},
};

/* Ten joins, each a record; then, when no more come, all are up. Against the
 * copies of one record that lets all ten in: at most 1.1 times. */
static void ten_joins_move_what_one_record_would(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        const struct setting *s = &settings[i];
        struct record *apart = ring_of(s);
        struct record *together = record_copy(apart);
        uint32_t moves = 0;
        for (unsigned k = 1; k <= JOINS; k++) {
            join(apart, s, s->nodes + k);
            join(together, s, s->nodes + k);
            moves += advance(apart);
        }
        see_all_up(apart);
        see_all_up(together);
        moves += advance(apart);
        uint32_t one = advance(together);
        assert_true(one > 0 && moves * 10 <= one * 11);
        record_free(apart);
        record_free(together);
    }
}

/* Even if the last of them was not heard of in time, and comes a record later.
 */
static void a_late_one_of_ten_costs_little(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        const struct setting *s = &settings[i];
        struct record *apart = ring_of(s);
        struct record *together = record_copy(apart);
        for (unsigned k = 1; k <= JOINS; k++) {
            join(apart, s, s->nodes + k);
            join(together, s, s->nodes + k);
        }
        for (uint16_t slot = 0; slot + 1u < apart->member_count; slot++)
            record_see(apart, slot, SEEN_UP, T0);
        uint32_t moves = advance(apart);
        see_all_up(apart);
        see_all_up(together);
        moves += advance(apart);
        assert_true(moves * 10 <= advance(together) * 11);
        record_free(apart);
        record_free(together);
    }
}

/* ---- too few for N ----------------------------------------------------- */

static void who_is_needed_for_n_gets_copies_at_once(void **state)
{
    (void)state;
    static const struct setting one = {16, 3, 1, 0, false};
    struct record *r = ring_of(&one);
    for (unsigned n = 2; n <= 5; n++) {
        join(r, &one, n);
        (void)advance(r);
    }
    for (uint16_t slot = 0; slot < 3; slot++)
        assert_int_equal(copies_on(r, slot), 16);
    assert_int_equal(copies_on(r, 3), 0);
    assert_int_equal(copies_on(r, 4), 0);
    uint32_t voters;
    (void)record_row(r, 0, &voters);
    assert_int_equal(voters, 3);
    see_all_up(r);
    (void)advance(r);
    for (uint16_t slot = 0; slot < 5; slot++)
        assert_in_range(copies_on(r, slot), 9, 10);
    (void)record_row(r, 0, &voters);
    assert_int_equal(voters, 5);
    record_free(r);
}

/* A newcomer that nobody hears keeps no place from those that are heard. */
static void who_never_came_up_does_not_keep_others_out(void **state)
{
    (void)state;
    static const struct setting two = {16, 3, 2, 0, false};
    struct record *r = ring_of(&two);
    join(r, &two, 3);
    join(r, &two, 4);
    (void)advance(r);
    assert_int_equal(copies_on(r, 2), 16);
    assert_int_equal(copies_on(r, 3), 0);
    record_see(r, 3, SEEN_UP, T0);
    (void)advance(r);
    assert_true(copies_on(r, 3) > 0);
    record_free(r);
}

/* Dead ones are replaced by whoever there is. */
static void a_newcomer_takes_over_where_nobody_else_can(void **state)
{
    (void)state;
    static const struct setting three = {16, 3, 3, 0, false};
    struct record *r = ring_of(&three);
    join(r, &three, 4);
    (void)advance(r);
    assert_int_equal(copies_on(r, 3), 0);
    record_see(r, 1, SEEN_OUT, T0);
    (void)advance(r);
    assert_int_equal(copies_on(r, 1), 0);
    assert_int_equal(copies_on(r, 3), 16);
    record_free(r);
}

/* n4 is replaced by n5, which has only just joined: nothing goes to others. */
static void a_plan_takes_newcomers_in(void **state)
{
    (void)state;
    static const struct setting four = {16, 3, 4, 0, false};
    struct record *r = ring_of(&four);
    const char *why = "";
    uint32_t had = copies_on(r, 3);
    join(r, &four, 5);
    (void)advance(r);
    assert_int_equal(copies_on(r, 4), 0);
    struct change drain = {.kind = CHANGE_DRAIN, .slot = 3};
    assert_int_equal(record_stage(r, &drain, &why), ERR_OK);
    assert_int_equal(r->members[4].seen, SEEN_JOINING);
    assert_int_equal(record_commit(r, &why), ERR_OK);
    assert_int_equal(r->members[4].seen, SEEN_UP);
    assert_int_equal(advance(r), had);
    assert_int_equal(copies_on(r, 4), had);
    record_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_joins_move_what_one_record_would),
        cmocka_unit_test(a_late_one_of_ten_costs_little),
        cmocka_unit_test(who_is_needed_for_n_gets_copies_at_once),
        cmocka_unit_test(who_never_came_up_does_not_keep_others_out),
        cmocka_unit_test(a_newcomer_takes_over_where_nobody_else_can),
        cmocka_unit_test(a_plan_takes_newcomers_in),
    };
    return cmocka_run_group_tests_name("record_joins", tests, NULL, NULL) != 0;
}
