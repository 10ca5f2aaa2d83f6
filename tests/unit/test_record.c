/* test_record.c - questions to the ring record, and the next one:
 * ring/record.h. */
#include "tests/unit/cmocka_wrap.h"

#include <stdio.h>

#include "tests/unit/rings.h"

/* ---- questions --------------------------------------------------------- */

static void members_are_found_by_id_name_and_key(void **state)
{
    (void)state;
    struct record *r = rings_advanced(3, 16);
    struct member two = rings_member(2);
    assert_int_equal(record_slot(r, rings_id(2)), 1);
    assert_int_equal(record_slot(r, rings_id(9)), SLOT_NONE);
    assert_int_equal(record_slot_by_name(r, span_str("n3")), 2);
    assert_int_equal(record_slot_by_name(r, span_str("n")), SLOT_NONE);
    assert_int_equal(record_slot_by_key(r, two.public_key), 1);
    r->members[1].wanted = WANTED_LEFT;
    assert_int_equal(record_slot_by_name(r, span_str("n2")), SLOT_NONE);
    assert_int_equal(record_slot(r, rings_id(2)), 1);
    assert_int_equal(record_slot_by_key(r, two.public_key), 1);
    record_free(r);
}

static void ranks_are_places_in_the_row(void **state)
{
    (void)state;
    struct record *r = rings_advanced(4, 16);
    record_set_row(r, 5, (const uint16_t[]){2, 0, 3}, 3);
    uint32_t count;
    const uint16_t *slots = record_row(r, 5, &count);
    assert_int_equal(count, 3);
    assert_int_equal(slots[0], 2);
    assert_int_equal(record_rank(r, 5, 2), 0);
    assert_int_equal(record_rank(r, 5, 0), 1);
    assert_int_equal(record_rank(r, 5, 3), 2);
    assert_int_equal(record_rank(r, 5, 1), REPLICAS_MAX);
    assert_int_equal(record_rank(r, 5, SLOT_NONE), REPLICAS_MAX);
    record_free(r);
}

static void eligible_are_those_wanted_in_and_not_out(void **state)
{
    (void)state;
    static const bool eligible[WANTED_LEFT + 1][SEEN_UNFIT + 1] = {
        [WANTED_IN] =
            {[SEEN_JOINING] = true, [SEEN_UP] = true, [SEEN_UNFIT] = true},
    };
    for (unsigned wanted = WANTED_IN; wanted <= WANTED_LEFT; wanted++)
        for (unsigned seen = SEEN_JOINING; seen <= SEEN_UNFIT; seen++) {
            struct member m = rings_member(1);
            m.wanted = (enum member_wanted)wanted;
            m.seen = (enum member_seen)seen;
            assert_int_equal(record_is_eligible(&m), eligible[wanted][seen]);
        }
}

/* The slow twin: bit by bit. */
static uint32_t partition_by_bits(uint32_t partitions, const uint8_t *hash)
{
    uint32_t p = 0;
    uint32_t bit = 0;
    for (uint32_t q = partitions; q > 1; q /= 2, bit++)
        p = p * 2 + ((uint32_t)hash[bit / 8] >> (7 - bit % 8) & 1);
    return p;
}

static void a_partition_is_the_first_bits_of_the_hash(void **state)
{
    (void)state;
    uint8_t hash[16] = {0xab, 0xcd};
    assert_int_equal(record_partition(16, hash), 0xa);
    assert_int_equal(record_partition(256, hash), 0xab);
    assert_int_equal(record_partition(1024, hash), 0xabcd >> 6);
    struct rng rng;
    rng_seed(&rng, 2);
    for (unsigned i = 0; i < 1000; i++) {
        for (size_t k = 0; k < sizeof hash; k++)
            hash[k] = (uint8_t)rng_next(&rng);
        for (uint32_t q = PARTITIONS_MIN; q <= PARTITIONS_MAX; q *= 2)
            assert_int_equal(record_partition(q, hash),
                             partition_by_bits(q, hash));
    }
}

static void a_majority_is_more_than_half(void **state)
{
    (void)state;
    for (uint32_t n = 1; n < 20; n++) {
        assert_true(record_majority(n) * 2 > n);
        assert_true((record_majority(n) - 1) * 2 <= n);
    }
}

static void rights_are_those_of_the_key(void **state)
{
    (void)state;
    struct record *r = rings_advanced(1, 16);
    struct client_key join = rings_key(9, RIGHT_JOIN);
    struct client_key none = rings_key(8, 0);
    struct client_key zero = rings_key(0, RIGHT_READ);
    assert_int_equal(record_allow(r, &join), ERR_OK);
    assert_int_equal(record_allow(r, &none), ERR_BAD_REQUEST);
    assert_int_equal(record_allow(r, &zero), ERR_BAD_REQUEST);
    assert_int_equal(record_rights(r, join.public_key), RIGHT_JOIN);
    assert_int_equal(record_rights(r, none.public_key), 0);
    join.rights = RIGHT_READ | RIGHT_WRITE;
    assert_int_equal(record_allow(r, &join), ERR_OK);
    assert_int_equal(r->key_count, 1);
    assert_int_equal(record_rights(r, join.public_key),
                     RIGHT_READ | RIGHT_WRITE);
    record_free(r);
}

static void an_insecure_cluster_gives_everyone_all_rights(void **state)
{
    (void)state;
    struct record *r = rings_advanced(1, 16);
    uint8_t stranger[KEY_BYTES] = {0};
    assert_int_equal(record_rights(r, stranger), 0);
    r->is_insecure = true;
    assert_int_equal(record_rights(r, stranger), RIGHTS_ALL);
    record_free(r);
}

static void members_of_an_insecure_cluster_need_no_keys(void **state)
{
    (void)state;
    struct record *r = rings_advanced(1, 16);
    r->is_insecure = true;
    for (unsigned n = 2; n <= 3; n++) {
        struct member m = rings_member(n);
        memset(m.public_key, 0, sizeof m.public_key);
        assert_int_equal(record_join(r, &m, T0), ERR_OK);
    }
    assert_null(record_fault(r));
    uint8_t none[KEY_BYTES] = {0};
    assert_int_equal(record_slot_by_key(r, none), SLOT_NONE);
    record_free(r);
}

/* ---- the next record --------------------------------------------------- */

static void the_first_record_has_one_node_in_every_row(void **state)
{
    (void)state;
    struct record *r = rings_begin(1, 256);
    assert_null(record_fault(r));
    assert_int_equal(r->epoch.number, 1);
    assert_int_equal(r->epoch.counter, 2);
    assert_int_equal(r->epoch.tag, 0x01020304);
    assert_int_equal(r->row_count, 257);
    assert_int_equal(r->members[0].seen, SEEN_UP);
    for (uint32_t group = 0; group <= 256; group++) {
        uint32_t count;
        assert_int_equal(record_row(r, group, &count)[0], 0);
        assert_int_equal(count, 1);
    }
    record_free(r);
}

static void a_joiner_is_in_and_joining(void **state)
{
    (void)state;
    struct record *r = rings_advanced(1, 16);
    struct member m = rings_member(2);
    m.wanted = WANTED_LEFT;
    m.seen = SEEN_OUT;
    m.out_streak = 3;
    assert_int_equal(record_join(r, &m, T0 + 5), ERR_OK);
    assert_int_equal(r->member_count, 2);
    assert_int_equal(r->members[1].wanted, WANTED_IN);
    assert_int_equal(r->members[1].seen, SEEN_JOINING);
    assert_int_equal(r->members[1].out_streak, 0);
    assert_int_equal(r->members[1].seen_since_ms, T0 + 5);
    record_free(r);
}

static void a_join_is_refused_when_name_or_key_is_taken(void **state)
{
    (void)state;
    struct record *r = rings_advanced(2, 16);
    struct record *before = record_copy(r);
    struct member name = rings_member(3);
    memcpy(name.name, "n1", 3);
    assert_int_equal(record_join(r, &name, T0), ERR_CONFLICT);
    struct member key = rings_member(3);
    memcpy(key.public_key, r->members[0].public_key, KEY_BYTES);
    assert_int_equal(record_join(r, &key, T0), ERR_CONFLICT);
    struct member other_key = rings_member(2);
    other_key.public_key[0] ^= 1;
    assert_int_equal(record_join(r, &other_key, T0), ERR_CONFLICT);
    assert_true(rings_same(r, before));
    record_free(before);
    record_free(r);
}

static void who_moves_changes_its_addresses_and_nothing_else(void **state)
{
    (void)state;
    struct record *r = rings_advanced(2, 16);
    struct record *before = record_copy(r);
    struct span client = span_str("there:1"), peer = span_str("there:2");
    assert_int_equal(record_move(r, 1, client, span_str("nowhere")),
                     ERR_BAD_REQUEST);
    assert_int_equal(record_move(r, 1, span_str(""), peer), ERR_BAD_REQUEST);
    assert_true(rings_same(r, before));
    assert_int_equal(record_move(r, 1, client, peer), ERR_OK);
    assert_string_equal(r->members[1].client_address, "there:1");
    assert_string_equal(r->members[1].peer_address, "there:2");
    r->members[1] = before->members[1];
    assert_true(rings_same(r, before));
    record_free(before);
    record_free(r);
}

static void a_name_is_free_again_once_its_node_has_left(void **state)
{
    (void)state;
    struct record *r = rings_advanced(3, 16);
    r->members[1].wanted = WANTED_LEFT;
    struct member old = rings_member(2);
    assert_int_equal(record_join(r, &old, T0), ERR_FORGOTTEN);
    struct member heir = rings_member(4);
    memcpy(heir.name, "n2", 3);
    assert_int_equal(record_join(r, &heir, T0), ERR_OK);
    assert_int_equal(record_slot_by_name(r, span_str("n2")), 3);
    struct member thief = rings_member(5);
    memcpy(thief.public_key, old.public_key, KEY_BYTES);
    assert_int_equal(record_join(r, &thief, T0), ERR_CONFLICT);
    record_advance(r, T0);
    assert_null(record_fault(r));
    record_free(r);
}

static void a_member_that_joins_again_refreshes_its_addresses(void **state)
{
    (void)state;
    struct record *r = rings_advanced(2, 16);
    struct member again = rings_member(2);
    memcpy(again.client_address, "elsewhere:3", 12);
    memcpy(again.peer_address, "elsewhere:4", 12);
    memcpy(again.name, "renamed", 8);
    again.weight = 1;
    again.level = LEVEL_NOW + 1;
    assert_int_equal(record_join(r, &again, T0 + 9), ERR_OK);
    const struct member *m = &r->members[1];
    assert_int_equal(r->member_count, 2);
    assert_string_equal(m->client_address, "elsewhere:3");
    assert_string_equal(m->peer_address, "elsewhere:4");
    assert_int_equal(m->level, LEVEL_NOW + 1);
    assert_string_equal(m->name, "n2");
    assert_int_equal(m->weight, WEIGHT_DEFAULT);
    assert_int_equal(m->seen, SEEN_UP);
    assert_int_equal(m->seen_since_ms, T0);
    record_free(r);
}

static void a_binary_below_the_level_may_not_join(void **state)
{
    (void)state;
    struct record *r = rings_advanced(2, 16);
    struct member fresh = rings_member(3);
    fresh.level = LEVEL_NOW - 1;
    assert_int_equal(record_join(r, &fresh, T0), ERR_INCOMPATIBLE);
    struct member downgraded = rings_member(2);
    downgraded.level = LEVEL_NOW - 1;
    assert_int_equal(record_join(r, &downgraded, T0), ERR_INCOMPATIBLE);
    record_free(r);
}

static void a_senseless_joiner_is_refused(void **state)
{
    (void)state;
    struct record *r = rings_advanced(1, 16);
    struct member m = rings_member(2);
    memcpy(m.peer_address, "nowhere", 8);
    assert_int_equal(record_join(r, &m, T0), ERR_BAD_REQUEST);
    m = rings_member(2);
    m.weight = 0;
    assert_int_equal(record_join(r, &m, T0), ERR_BAD_REQUEST);
    m = rings_member(0);
    assert_int_equal(record_join(r, &m, T0), ERR_BAD_REQUEST);
    record_free(r);
}

static void seeing_leaves_wanted_alone(void **state)
{
    (void)state;
    struct record *r = rings_advanced(3, 16);
    r->members[1].wanted = WANTED_DRAINING;
    record_see(r, 1, SEEN_OUT, T0 + 1);
    record_see(r, 1, SEEN_UP, T0 + 2);
    assert_int_equal(r->members[1].wanted, WANTED_DRAINING);
    assert_int_equal(r->members[1].seen_since_ms, T0 + 2);
    record_see(r, 1, SEEN_UP, T0 + 3);
    assert_int_equal(r->members[1].seen_since_ms, T0 + 2);
    record_free(r);
}

static void advancing_folds_all_rows(void **state)
{
    (void)state;
    struct record *r = rings_advanced(3, 16);
    assert_int_equal(r->epoch.number, 2);
    for (uint32_t group = 0; group < r->row_count; group++) {
        uint32_t count;
        (void)record_row(r, group, &count);
        assert_int_equal(count, 3);
    }
    struct member m = rings_member(4);
    assert_int_equal(record_join(r, &m, T0), ERR_OK);
    record_see(r, 0, SEEN_OUT, T0 + HOUR);
    record_advance(r, T0 + HOUR);
    assert_null(record_fault(r));
    assert_int_equal(r->epoch.number, 3);
    assert_int_equal(r->changed_ms, T0 + HOUR);
    for (uint32_t group = 0; group < r->row_count; group++) {
        assert_int_equal(record_rank(r, group, 0), REPLICAS_MAX);
        assert_true(record_rank(r, group, 3) < 3);
    }
    record_free(r);
}

/* T28: X returns before the walk has removed it; nothing need be copied. */
static void the_fold_starts_from_the_rows_that_are_set(void **state)
{
    (void)state;
    struct record *r = rings_advanced(4, 16);
    struct record *before = record_copy(r);
    record_see(r, 0, SEEN_OUT, T0 + HOUR);
    record_advance(r, T0 + HOUR);
    record_see(r, 0, SEEN_UP, T0 + 2 * HOUR);
    for (uint32_t group = 0; group < r->row_count; group++) {
        uint32_t count;
        const uint16_t *slots = record_row(before, group, &count);
        record_set_row(r, group, slots, count);
    }
    record_advance(r, T0 + 2 * HOUR);
    assert_null(record_fault(r));
    assert_memory_equal(r->row_slots, before->row_slots,
                        r->row_count * REPLICATION_MAX * sizeof *r->row_slots);
    record_free(before);
    record_free(r);
}

/* What another node states may be of a newer record, or senseless. */
static void a_row_is_kept_without_slots_that_make_no_sense(void **state)
{
    (void)state;
    struct record *r = rings_advanced(6, 16);
    uint32_t count;
    record_keep_row(r, 5, 4, (const uint16_t[]){6, 1, 1, 4, 9000, 0, 2}, 7);
    const uint16_t *slots = record_row(r, 5, &count);
    assert_int_equal(count, 3);
    assert_int_equal(slots[0], 4);
    assert_int_equal(slots[1], 1);
    assert_int_equal(slots[2], 0);
    assert_null(record_fault(r));
    record_keep_row(r, 0, 4, (const uint16_t[]){0, 1, 2, 3, 4}, 5);
    (void)record_row(r, 0, &count);
    assert_int_equal(count, 5);
    record_free(r);
}

static void members_of_one_zone_are_kept_apart(void **state)
{
    (void)state;
    struct record *r = rings_begin(6, 16);
    for (unsigned slot = 0; slot < 6; slot++)
        (void)snprintf(r->members[slot].zone, ZONE_NAME_MAX, "z%u", slot % 3);
    record_advance(r, T0);
    for (uint32_t group = 1; group < r->row_count; group++) {
        uint32_t count;
        const uint16_t *slots = record_row(r, group, &count);
        assert_int_equal(count, 3);
        assert_int_not_equal(slots[0] % 3, slots[1] % 3);
        assert_int_not_equal(slots[0] % 3, slots[2] % 3);
        assert_int_not_equal(slots[1] % 3, slots[2] % 3);
    }
    record_free(r);
}

static void an_unfit_member_keeps_its_rows_and_gets_no_new(void **state)
{
    (void)state;
    struct record *r = rings_advanced(4, 16);
    struct record *before = record_copy(r);
    record_see(r, 1, SEEN_UNFIT, T0);
    record_see(r, 0, SEEN_OUT, T0);
    record_advance(r, T0);
    for (uint32_t group = 1; group < r->row_count; group++)
        assert_int_equal(record_rank(r, group, 1) < 3,
                         record_rank(before, group, 1) < 3);
    record_free(before);
    record_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_found_by_id_name_and_key),
        cmocka_unit_test(ranks_are_places_in_the_row),
        cmocka_unit_test(eligible_are_those_wanted_in_and_not_out),
        cmocka_unit_test(a_partition_is_the_first_bits_of_the_hash),
        cmocka_unit_test(a_majority_is_more_than_half),
        cmocka_unit_test(rights_are_those_of_the_key),
        cmocka_unit_test(an_insecure_cluster_gives_everyone_all_rights),
        cmocka_unit_test(members_of_an_insecure_cluster_need_no_keys),
        cmocka_unit_test(the_first_record_has_one_node_in_every_row),
        cmocka_unit_test(a_joiner_is_in_and_joining),
        cmocka_unit_test(a_join_is_refused_when_name_or_key_is_taken),
        cmocka_unit_test(who_moves_changes_its_addresses_and_nothing_else),
        cmocka_unit_test(a_name_is_free_again_once_its_node_has_left),
        cmocka_unit_test(a_member_that_joins_again_refreshes_its_addresses),
        cmocka_unit_test(a_binary_below_the_level_may_not_join),
        cmocka_unit_test(a_senseless_joiner_is_refused),
        cmocka_unit_test(seeing_leaves_wanted_alone),
        cmocka_unit_test(advancing_folds_all_rows),
        cmocka_unit_test(the_fold_starts_from_the_rows_that_are_set),
        cmocka_unit_test(a_row_is_kept_without_slots_that_make_no_sense),
        cmocka_unit_test(members_of_one_zone_are_kept_apart),
        cmocka_unit_test(an_unfit_member_keeps_its_rows_and_gets_no_new),
    };
    return cmocka_run_group_tests_name("record", tests, NULL, NULL) != 0;
}
