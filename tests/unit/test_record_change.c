/* test_record_change.c - what operators change in the ring record, the staged
 * plan, and what is refused: ring/record.h, ring/change.h. */
#include "tests/unit/cmocka_wrap.h"

#include <stdio.h>

#include "tests/unit/rings.h"

static struct change of(enum change_kind kind, uint16_t slot, uint32_t value)
{
    return (struct change){.kind = kind, .slot = slot, .value = value};
}

static void must_change(struct record *r, struct change c)
{
    const char *why = "";
    assert_int_equal(record_change(r, &c, &why), ERR_OK);
}

/* A ring of so many members, each of which stands in some row. */
static struct record *ring_of(unsigned members)
{
    return rings_advanced(members, 16);
}

static uint32_t rows_of(const struct record *r, uint16_t slot)
{
    uint32_t count = 0;
    for (uint32_t g = 1; g < r->row_count; g++)
        count += record_rank(r, g, slot) != REPLICAS_MAX;
    return count;
}

/* ---- one change -------------------------------------------------------- */

static void who_drains_stands_in_no_row_any_more(void **state)
{
    (void)state;
    struct record *r = ring_of(4);
    uint64_t next = r->epoch.number + 1;
    assert_true(rows_of(r, 3) > 0);
    must_change(r, of(CHANGE_DRAIN, 3, 0));
    record_advance(r, T0);
    assert_null(record_fault(r));
    assert_int_equal(r->members[3].wanted, WANTED_DRAINING);
    assert_int_equal(r->members[3].wanted_since, next);
    assert_int_equal(r->members[3].seen, SEEN_UP);
    assert_int_equal(rows_of(r, 3), 0);
    /* A second time changes nothing, not even since when. */
    must_change(r, of(CHANGE_DRAIN, 3, 0));
    assert_int_equal(r->members[3].wanted_since, next);
    record_free(r);
}

static void a_drain_that_is_given_up_brings_it_back(void **state)
{
    (void)state;
    struct record *r = ring_of(4);
    must_change(r, of(CHANGE_DRAIN, 3, 0));
    record_advance(r, T0);
    must_change(r, of(CHANGE_ADD, 3, 0));
    record_advance(r, T0);
    assert_null(record_fault(r));
    assert_int_equal(r->members[3].wanted, WANTED_IN);
    assert_true(rows_of(r, 3) > 0);
    record_free(r);
}

static void who_has_left_is_not_found(void **state)
{
    (void)state;
    static const enum change_kind kinds[] = {
        CHANGE_DRAIN, CHANGE_ADD, CHANGE_REMOVE, CHANGE_WEIGHT, CHANGE_ZONE};
    struct record *r = ring_of(4);
    must_change(r, of(CHANGE_REMOVE, 3, 0));
    assert_int_equal(r->members[3].wanted, WANTED_LEFT);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const char *why = NULL;
        struct change c = of(kinds[i], 3, kinds[i] == CHANGE_WEIGHT ? 100 : 0);
        assert_int_equal(record_change(r, &c, &why), ERR_NOT_FOUND);
        assert_non_null(why);
        c.slot = 4;
        assert_int_equal(record_change(r, &c, &why), ERR_NOT_FOUND);
    }
    record_free(r);
}

static void the_last_member_can_not_be_sent_away(void **state)
{
    (void)state;
    struct record *r = ring_of(2);
    const char *why = NULL;
    must_change(r, of(CHANGE_DRAIN, 0, 0));
    struct change c = of(CHANGE_DRAIN, 1, 0);
    assert_int_equal(record_change(r, &c, &why), ERR_CONFLICT);
    assert_non_null(why);
    record_free(r);
}

static void a_weight_draws_replicas_and_a_zone_spreads_them(void **state)
{
    (void)state;
    struct record *r = ring_of(6);
    uint32_t before = rows_of(r, 5);
    must_change(r, of(CHANGE_WEIGHT, 5, 2 * WEIGHT_DEFAULT));
    for (uint16_t i = 0; i < 6; i++) {
        struct change zone = of(CHANGE_ZONE, i, 0);
        (void)snprintf(zone.zone, sizeof zone.zone, "z%u", i / 2u);
        must_change(r, zone);
    }
    record_advance(r, T0);
    assert_null(record_fault(r));
    assert_true(rows_of(r, 5) > before);
    for (uint32_t g = 1; g < r->row_count; g++) {
        uint32_t count;
        const uint16_t *row = record_row(r, g, &count);
        assert_int_equal(count, 3);
        assert_true(row[0] / 2 != row[1] / 2 && row[0] / 2 != row[2] / 2 &&
                    row[1] / 2 != row[2] / 2);
    }
    record_free(r);
}

/* T3 */
static void a_raised_N_leaves_acks_and_a_lowered_one_lowers_them(void **state)
{
    (void)state;
    struct record *r = ring_of(5);
    assert_int_equal(r->acks, 2);
    must_change(r, of(CHANGE_COPIES, 0, 5));
    assert_int_equal(r->copies, 5);
    assert_int_equal(r->acks, 2);
    r->acks = 3;
    must_change(r, of(CHANGE_COPIES, 0, 4));
    assert_int_equal(r->acks, 3);
    must_change(r, of(CHANGE_COPIES, 0, 3));
    assert_int_equal(r->acks, 2);
    must_change(r, of(CHANGE_COPIES, 0, 1));
    assert_int_equal(r->acks, 1);
    record_advance(r, T0);
    assert_null(record_fault(r));
    record_free(r);
}

static void changes_that_make_no_sense_are_named(void **state)
{
    (void)state;
    struct change zone = of(CHANGE_ZONE, 0, 0);
    memcpy(zone.zone, "a b", 4);
    struct change drain = of(CHANGE_DRAIN, 0, 0);
    drain.zone[0] = 'z';
    const struct change bad[] = {
        zone,
        drain,
        of(CHANGE_DRAIN, MEMBERS_MAX, 0),
        of(CHANGE_DRAIN, 0, 1),
        of(CHANGE_WEIGHT, 0, 0),
        of(CHANGE_WEIGHT, 0, WEIGHT_MAX + 1),
        of(CHANGE_COPIES, 1, 3),
        of(CHANGE_COPIES, 0, 0),
        of(CHANGE_COPIES, 0, REPLICATION_MAX + 1),
        of(CHANGE_OUT_AFTER, 0, 0),
        of(CHANGE_OUT_AFTER, 0, OUT_AFTER_MIN_MS - 1),
        of(CHANGE_OUT_AFTER, 0, OUT_AFTER_MAX_MS + 1),
        of(CHANGE_REPAIR_RATE, 0, 0),
        of(CHANGE_REPAIR_RATE, 0, REPAIR_RATE_MIN - 1),
        of(CHANGE_REPAIR_RATE, 0, REPAIR_RATE_MAX + 1),
        of(CHANGE_REPAIR_RATE, 1, REPAIR_RATE),
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_non_null(change_fault(&bad[i]));
    const struct change good[] = {
        of(CHANGE_DRAIN, 0, 0),
        of(CHANGE_OUT_AFTER, 0, OUT_AFTER_MIN_MS),
        of(CHANGE_OUT_AFTER, 0, OUT_AFTER_MAX_MS),
        of(CHANGE_REPAIR_RATE, 0, REPAIR_RATE_MIN),
        of(CHANGE_REPAIR_RATE, 0, REPAIR_RATE_MAX),
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_null(change_fault(&good[i]));
}

/* ---- leaving ----------------------------------------------------------- */

static void who_is_gone_has_left_for_ever(void **state)
{
    (void)state;
    struct record *r = ring_of(4);
    must_change(r, of(CHANGE_DRAIN, 3, 0));
    record_advance(r, T0);
    uint64_t next = r->epoch.number + 1;
    record_see_gone(r, 3, T0 + 1);
    assert_int_equal(r->members[3].wanted, WANTED_LEFT);
    assert_int_equal(r->members[3].wanted_since, next);
    assert_int_equal(r->members[3].seen, SEEN_GONE);
    assert_null(record_fault(r));
    /* The name is free for another node. */
    struct member m = rings_member(9);
    memcpy(m.name, r->members[3].name, sizeof m.name);
    assert_int_equal(record_join(r, &m, T0 + 2), ERR_OK);
    r->members[3].wanted = WANTED_DRAINING;
    assert_string_equal(record_fault(r),
                        "a member that is gone and has not left");
    record_free(r);
}

static void who_leaves_keeps_no_seat_in_group_0(void **state)
{
    (void)state;
    static const struct {
        unsigned members, voters;
    } after[] = {{3, 1}, {4, 3}, {5, 3}, {6, 5}};
    for (size_t i = 0; i < sizeof after / sizeof *after; i++) {
        struct record *r = ring_of(after[i].members);
        uint32_t count;
        const uint16_t *row = record_row(r, 0, &count);
        uint16_t first = row[0];
        must_change(r, of(CHANGE_DRAIN, first, 0));
        record_advance(r, T0);
        (void)record_row(r, 0, &count);
        assert_int_equal(count, after[i].voters);
        assert_int_equal(record_rank(r, 0, first), REPLICAS_MAX);
        record_free(r);
    }
}

/* ---- the staged plan --------------------------------------------------- */

static void what_is_staged_moves_nothing_until_it_is_committed(void **state)
{
    (void)state;
    struct record *r = ring_of(4);
    struct record *before = record_copy(r);
    struct change drain = of(CHANGE_DRAIN, 3, 0);
    struct change weight = of(CHANGE_WEIGHT, 0, 300);
    const char *why = "";
    assert_int_equal(record_stage(r, &drain, &why), ERR_OK);
    assert_int_equal(record_stage(r, &weight, &why), ERR_OK);
    assert_int_equal(r->change_count, 2);
    assert_int_equal(r->members[3].wanted, WANTED_IN);
    assert_int_equal(r->members[0].weight, WEIGHT_DEFAULT);
    record_advance(r, T0);
    assert_null(record_fault(r));
    struct hash128 a = record_table_digest(r);
    struct hash128 b = record_table_digest(before);
    assert_true(a.lo == b.lo && a.hi == b.hi);
    assert_int_equal(record_commit(r, &why), ERR_OK);
    record_advance(r, T0);
    assert_null(record_fault(r));
    assert_int_equal(r->change_count, 0);
    assert_int_equal(r->members[3].wanted, WANTED_DRAINING);
    assert_int_equal(r->members[0].weight, 300);
    a = record_table_digest(r);
    assert_false(a.lo == b.lo && a.hi == b.hi);
    record_free(before);
    record_free(r);
}

static void a_later_change_of_the_same_thing_counts(void **state)
{
    (void)state;
    struct record *r = ring_of(4);
    const char *why = "";
    const struct change changes[] = {
        of(CHANGE_DRAIN, 3, 0), of(CHANGE_WEIGHT, 3, 50),
        of(CHANGE_DRAIN, 2, 0), of(CHANGE_ADD, 3, 0), of(CHANGE_WEIGHT, 3, 70)};
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        assert_int_equal(record_stage(r, &changes[i], &why), ERR_OK);
    assert_int_equal(r->change_count, 3);
    assert_true(change_equal(&r->changes[0], &changes[2]));
    assert_true(change_equal(&r->changes[1], &changes[3]));
    assert_true(change_equal(&r->changes[2], &changes[4]));
    record_free(r);
}

static void a_change_that_could_not_be_made_is_not_staged(void **state)
{
    (void)state;
    struct record *r = ring_of(2);
    const char *why = "";
    struct change first = of(CHANGE_DRAIN, 0, 0);
    struct change last = of(CHANGE_DRAIN, 1, 0);
    assert_int_equal(record_stage(r, &first, &why), ERR_OK);
    assert_int_equal(record_stage(r, &last, &why), ERR_CONFLICT);
    assert_int_equal(r->change_count, 1);
    record_free(r);
}

static void a_full_plan_takes_no_more(void **state)
{
    (void)state;
    struct record *r = rings_advanced(CHANGES_MAX + 1, 16);
    const char *why = "";
    for (uint16_t i = 0; i <= CHANGES_MAX; i++) {
        struct change c = of(CHANGE_WEIGHT, i, 50);
        assert_int_equal(record_stage(r, &c, &why),
                         i < CHANGES_MAX ? ERR_OK : ERR_TOO_LARGE);
    }
    assert_int_equal(r->change_count, CHANGES_MAX);
    assert_null(record_fault(r));
    record_free(r);
}

/* ---- safety ------------------------------------------------------------ */

/* The verdict on one change; members in `dead` (bits) do not answer. */
static enum err verdict(unsigned members, struct change c, unsigned dead,
                        char text[512])
{
    struct record *now = ring_of(members);
    struct record *next = record_copy(now);
    bool is_live[MEMBERS_MAX] = {false};
    struct buf why = {0};
    for (unsigned i = 0; i < members; i++)
        is_live[i] = (dead >> i & 1) == 0;
    must_change(next, c);
    record_advance(next, T0);
    enum err err = record_may_go_on(now, next, is_live, &why);
    (void)snprintf(text, 512, "%.*s", (int)why.size, (const char *)why.data);
    buf_free(&why);
    record_free(next);
    record_free(now);
    return err;
}

static void a_drain_needs_as_many_nodes_as_copies(void **state)
{
    (void)state;
    char why[512];
    assert_int_equal(verdict(4, of(CHANGE_DRAIN, 3, 0), 0, why), ERR_OK);
    assert_string_equal(why, "");
    assert_int_equal(verdict(3, of(CHANGE_DRAIN, 2, 0), 0, why), ERR_REFUSED);
    assert_non_null(strstr(why, "1 more must join"));
    assert_int_equal(verdict(3, of(CHANGE_REMOVE, 2, 0), 0, why), ERR_REFUSED);
}

static void a_drain_must_not_leave_rows_to_the_dead(void **state)
{
    (void)state;
    char why[512];
    /* n4 and n5 are dead: some rows would hold both. */
    assert_int_equal(verdict(5, of(CHANGE_DRAIN, 0, 0), 1u << 3 | 1u << 4, why),
                     ERR_REFUSED);
    assert_non_null(strstr(why, "n4, n5 must come back"));
    /* Who is dead itself may go: that mends. */
    assert_int_equal(verdict(4, of(CHANGE_DRAIN, 3, 0), 1u << 3, why), ERR_OK);
    assert_int_equal(verdict(5, of(CHANGE_DRAIN, 4, 0), 1u << 4, why), ERR_OK);
}

static void N_goes_down_by_one_and_not_below_two(void **state)
{
    (void)state;
    char why[512];
    struct record *now = ring_of(5);
    must_change(now, of(CHANGE_COPIES, 0, 5));
    record_advance(now, T0);
    static const struct {
        uint32_t from, to;
        enum err err;
    } steps[] = {{3, 2, ERR_OK},      {3, 1, ERR_REFUSED}, {2, 1, ERR_REFUSED},
                 {5, 3, ERR_REFUSED}, {5, 4, ERR_OK},      {3, 5, ERR_OK}};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        bool is_live[MEMBERS_MAX] = {true, true, true, true, true};
        struct record *a = record_copy(now);
        struct buf text = {0};
        a->copies = steps[i].from;
        struct record *b = record_copy(a);
        must_change(b, of(CHANGE_COPIES, 0, steps[i].to));
        assert_int_equal(record_may_go_on(a, b, is_live, &text), steps[i].err);
        buf_free(&text);
        record_free(a);
        record_free(b);
    }
    assert_int_equal(verdict(5, of(CHANGE_COPIES, 0, 1), 0, why), ERR_REFUSED);
    assert_non_null(strstr(why, "one at a time"));
    record_free(now);
}

static void several_refusals_are_several_sentences(void **state)
{
    (void)state;
    char why[512];
    /* Of three, one goes and another is dead: too few, and no quorums. */
    assert_int_equal(verdict(3, of(CHANGE_REMOVE, 2, 0), 2, why), ERR_REFUSED);
    assert_non_null(strstr(why, "or N be lowered. "));
    assert_non_null(strstr(why, "would have no majority"));
}

/* ---- partitions that are founded anew ---------------------------------- */

static struct change recover(uint32_t group, uint16_t slot, uint32_t counter)
{
    return (struct change){.kind = CHANGE_RECOVER,
                           .slot = slot,
                           .value = group,
                           .generation = {counter, 70 + slot}};
}

static void who_founds_a_partition_anew_is_in_the_record(void **state)
{
    (void)state;
    struct record *r = ring_of(3);
    uint32_t born = r->born.counter;
    must_change(r, recover(5, 1, born + 1));
    must_change(r, recover(2, 2, born + 1));
    assert_null(record_fault(r));
    assert_int_equal(record_generation(r, 5).counter, born + 1);
    assert_int_equal(record_generation(r, 5).random, 71);
    assert_int_equal(record_founder(r, 5), 1);
    assert_int_equal(record_founder(r, 2), 2);
    assert_true(generation_equal(record_generation(r, 3), r->born));
    assert_int_equal(record_founder(r, 3), SLOT_NONE);
    assert_true(generation_equal(record_generation(r, 0), r->generation));
    record_free(r);
}

static void a_partition_is_founded_anew_once_a_generation(void **state)
{
    (void)state;
    struct record *r = ring_of(3);
    const char *why = "";
    uint32_t born = r->born.counter;
    must_change(r, recover(5, 1, born + 1));
    struct change again = recover(5, 2, born + 1);
    assert_int_equal(record_change(r, &again, &why), ERR_CONFLICT);
    assert_int_equal(record_founder(r, 5), 1);
    struct change beyond = recover(5, 2, born + 2 + GENERATION_SKIP_MAX);
    assert_int_equal(record_change(r, &beyond, &why), ERR_CONFLICT);
    struct change nobody = recover(17, 2, born + 1);
    assert_int_equal(record_change(r, &nobody, &why), ERR_NOT_FOUND);
    must_change(r, recover(5, 2, born + 2));
    assert_int_equal(record_founder(r, 5), 2);
    assert_int_equal(r->life_count, 1);
    struct change before = recover(5, 1, born + 1);
    assert_int_equal(record_change(r, &before, &why), ERR_CONFLICT);
    /* A copy was told of whose generation the record has forgotten. */
    must_change(r, recover(5, 0, born + 2 + GENERATION_SKIP_MAX));
    assert_int_equal(record_founder(r, 5), 0);
    record_free(r);
}

static void recoveries_of_two_partitions_stand_in_one_plan(void **state)
{
    (void)state;
    struct record *r = ring_of(3);
    const char *why = "";
    struct change a = recover(5, 1, r->born.counter + 1);
    struct change b = recover(6, 1, r->born.counter + 1);
    struct change later = recover(5, 2, r->born.counter + 1);
    assert_int_equal(record_stage(r, &a, &why), ERR_OK);
    assert_int_equal(record_stage(r, &b, &why), ERR_OK);
    assert_int_equal(record_stage(r, &later, &why), ERR_OK);
    assert_int_equal(r->change_count, 2);
    assert_int_equal(record_commit(r, &why), ERR_OK);
    assert_int_equal(record_founder(r, 5), 2);
    assert_int_equal(record_founder(r, 6), 1);
    record_free(r);
}

static void a_ring_that_is_founded_anew_is_above_all_that_was(void **state)
{
    (void)state;
    struct record *r = ring_of(3);
    struct epoch before = r->epoch;
    struct generation born = r->born;
    struct generation next = {r->generation.counter + 1, 5};
    record_found_anew(r, next, T0 + 7);
    assert_null(record_fault(r));
    assert_true(epoch_compare(r->epoch, before) > 0);
    before.number += 1000;
    assert_true(epoch_compare(r->epoch, before) > 0);
    /* The partitions go on as they were. */
    assert_true(generation_equal(record_generation(r, 4), born));
    record_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(several_refusals_are_several_sentences),
        cmocka_unit_test(who_drains_stands_in_no_row_any_more),
        cmocka_unit_test(a_drain_that_is_given_up_brings_it_back),
        cmocka_unit_test(who_has_left_is_not_found),
        cmocka_unit_test(the_last_member_can_not_be_sent_away),
        cmocka_unit_test(a_weight_draws_replicas_and_a_zone_spreads_them),
        cmocka_unit_test(a_raised_N_leaves_acks_and_a_lowered_one_lowers_them),
        cmocka_unit_test(changes_that_make_no_sense_are_named),
        cmocka_unit_test(who_is_gone_has_left_for_ever),
        cmocka_unit_test(who_leaves_keeps_no_seat_in_group_0),
        cmocka_unit_test(what_is_staged_moves_nothing_until_it_is_committed),
        cmocka_unit_test(a_later_change_of_the_same_thing_counts),
        cmocka_unit_test(a_change_that_could_not_be_made_is_not_staged),
        cmocka_unit_test(a_full_plan_takes_no_more),
        cmocka_unit_test(a_drain_needs_as_many_nodes_as_copies),
        cmocka_unit_test(a_drain_must_not_leave_rows_to_the_dead),
        cmocka_unit_test(N_goes_down_by_one_and_not_below_two),
        cmocka_unit_test(who_founds_a_partition_anew_is_in_the_record),
        cmocka_unit_test(a_partition_is_founded_anew_once_a_generation),
        cmocka_unit_test(recoveries_of_two_partitions_stand_in_one_plan),
        cmocka_unit_test(a_ring_that_is_founded_anew_is_above_all_that_was),
    };
    return cmocka_run_group_tests_name("record_change", tests, NULL, NULL) != 0;
}
