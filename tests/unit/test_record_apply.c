/* test_record_apply.c - compare and append, and who goes out by itself:
 * ring/record.h. */
#include "tests/unit/cmocka_wrap.h"

#include <stdio.h>

#include "ring/rule.h"
#include "tests/unit/rings.h"

/* ---- compare and append ------------------------------------------------ */

static enum err try_apply(struct record **now, struct epoch expected,
                          const struct record *next, unsigned proposal,
                          struct proposal_answer *answer)
{
    struct buf bytes = {0};
    record_encode(next, &bytes);
    struct entry_record e = {rings_id(proposal), expected, span_buf(&bytes)};
    enum err err = record_apply(now, &e, answer);
    buf_free(&bytes);
    return err;
}

/* The verdict on `next`, made from *now as it stands. */
static enum err propose(struct record **now, const struct record *next,
                        unsigned proposal)
{
    struct proposal_answer answer;
    assert_int_equal(try_apply(now, (*now)->epoch, next, proposal, &answer),
                     ERR_OK);
    assert_true(id_equal(answer.proposal, rings_id(proposal)));
    assert_int_equal(epoch_compare(answer.epoch, (*now)->epoch), 0);
    assert_null(record_fault(*now));
    return answer.err;
}

static struct record *next_of(const struct record *now)
{
    struct record *next = record_copy(now);
    record_advance(next, now->changed_ms + 1);
    return next;
}

static void the_first_of_two_proposals_wins(void **state)
{
    (void)state;
    struct record *now = rings_advanced(3, 16);
    struct epoch seen_by_both = now->epoch;
    struct record *a = next_of(now);
    struct record *b = next_of(now);
    a->out_after_ms = 111;
    b->out_after_ms = 222;
    struct proposal_answer answer;
    assert_int_equal(try_apply(&now, seen_by_both, a, 1, &answer), ERR_OK);
    assert_int_equal(answer.err, ERR_OK);
    assert_int_equal(answer.epoch.number, 3);
    assert_int_equal(try_apply(&now, seen_by_both, b, 2, &answer), ERR_OK);
    assert_int_equal(answer.err, ERR_CONFLICT);
    assert_int_equal(answer.epoch.number, 3);
    assert_int_equal(now->epoch.number, 3);
    assert_int_equal(now->out_after_ms, 111);
    assert_int_equal(now->answer_count, 2);
    record_free(a);
    record_free(b);
    record_free(now);
}

static void a_repeated_proposal_gets_its_first_answer(void **state)
{
    (void)state;
    struct record *now = rings_advanced(3, 16);
    struct record *a = next_of(now);
    struct epoch expected = now->epoch;
    struct proposal_answer answer;
    assert_int_equal(try_apply(&now, expected, a, 1, &answer), ERR_OK);
    struct record *b = next_of(now);
    assert_int_equal(propose(&now, b, 2), ERR_OK);
    struct record *before = record_copy(now);
    assert_int_equal(try_apply(&now, expected, a, 1, &answer), ERR_OK);
    assert_int_equal(answer.err, ERR_OK);
    assert_int_equal(answer.epoch.number, 3);
    assert_true(rings_same(now, before));
    /* A refusal is remembered as well: made again from the right epoch it is
     * another proposal, with another id. */
    assert_int_equal(try_apply(&now, expected, a, 3, &answer), ERR_OK);
    assert_int_equal(answer.err, ERR_CONFLICT);
    struct record *c = next_of(now);
    assert_int_equal(try_apply(&now, now->epoch, c, 3, &answer), ERR_OK);
    assert_int_equal(answer.err, ERR_CONFLICT);
    record_free(a);
    record_free(b);
    record_free(c);
    record_free(before);
    record_free(now);
}

static void without_T26_a_repeat_reads_as_a_conflict(void **state)
{
    (void)state;
#ifdef EDDY_RULES
    struct record *now = rings_advanced(3, 16);
    struct record *a = next_of(now);
    struct epoch expected = now->epoch;
    struct proposal_answer answer;
    assert_int_equal(try_apply(&now, expected, a, 1, &answer), ERR_OK);
    assert_true(rule_turn_off("T26"));
    assert_int_equal(try_apply(&now, expected, a, 1, &answer), ERR_OK);
    rule_turn_all_on();
    assert_int_equal(answer.err, ERR_CONFLICT);
    record_free(a);
    record_free(now);
#else
    skip();
#endif
}

static void the_oldest_of_65_answers_is_forgotten(void **state)
{
    (void)state;
    struct record *now = rings_advanced(1, 16);
    struct record *stale = next_of(now);
    stale->epoch.number += 100;
    for (unsigned i = 1; i <= RECORD_PROPOSALS + 1; i++)
        assert_int_equal(propose(&now, stale, i), ERR_CONFLICT);
    assert_int_equal(now->answer_count, RECORD_PROPOSALS);
    assert_true(id_equal(now->answers[0].proposal, rings_id(2)));
    assert_true(id_equal(now->answers[RECORD_PROPOSALS - 1].proposal,
                         rings_id(RECORD_PROPOSALS + 1)));
    record_free(stale);
    record_free(now);
}

static void answers_of_a_proposed_record_do_not_count(void **state)
{
    (void)state;
    struct record *now = rings_advanced(1, 16);
    struct record *next = next_of(now);
    struct record *stale = record_copy(next);
    stale->epoch.number += 100;
    assert_int_equal(propose(&now, stale, 1), ERR_CONFLICT);
    next->answers[0] =
        (struct proposal_answer){rings_id(7), ERR_OK, now->epoch};
    next->answer_count = 1;
    assert_int_equal(propose(&now, next, 2), ERR_OK);
    assert_int_equal(now->answer_count, 2);
    assert_true(id_equal(now->answers[0].proposal, rings_id(1)));
    assert_true(id_equal(now->answers[1].proposal, rings_id(2)));
    record_free(stale);
    record_free(next);
    record_free(now);
}

static void change_cluster(struct record *r)
{
    r->cluster = rings_id(0xc1);
}
static void change_generation(struct record *r)
{
    r->generation.random++;
}
static void change_history(struct record *r)
{
    r->generation.random ^= (uint64_t)1 << 63;
    r->epoch = record_epoch(r->generation, r->epoch.number);
}
static void change_epoch(struct record *r)
{
    r->epoch.number++;
}
static void change_partitions(struct record *r)
{
    struct record *wide = rings_advanced(3, 32);
    mem_free(r->row_slots);
    r->row_slots = wide->row_slots;
    r->row_count = wide->row_count;
    r->partitions = 32;
    wide->row_slots = NULL;
    record_free(wide);
}
static void change_order_of_members(struct record *r)
{
    struct member m = r->members[0];
    r->members[0] = r->members[1];
    r->members[1] = m;
}
static void change_key(struct record *r)
{
    r->members[0].public_key[0] ^= 1;
}
static void change_member_count(struct record *r)
{
    r->member_count = 4; /* of 5; the last stands in no row */
}
static void change_who_has_left(struct record *r)
{
    r->members[3].wanted = WANTED_IN;
}

static void change_birth(struct record *r)
{
    r->born.random++;
}
static void set_life(struct record *r, uint32_t counter)
{
    struct record_life life = {3, {counter, 9}, 0};
    mem_free(r->lives);
    r->lives = mem_copy(&life, sizeof life);
    r->life_count = 1;
}
static void skip_a_life(struct record *r)
{
    set_life(r, r->born.counter + GENERATION_SKIP_MAX + 1);
}

static void what_is_no_successor_is_a_conflict(void **state)
{
    (void)state;
    static void (*const changes[])(struct record * r) = {
        change_cluster,
        change_generation,
        change_history,
        change_epoch,
        change_partitions,
        change_key,
        change_order_of_members,
        change_member_count,
        change_who_has_left,
        change_birth,
        skip_a_life,
    };
    struct record *now = rings_begin(5, 16);
    now->members[3].wanted = WANTED_LEFT;
    now->members[4].wanted = WANTED_LEFT;
    record_advance(now, T0);
    for (unsigned i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        struct record *next = next_of(now);
        changes[i](next);
        assert_null(record_fault(next));
        assert_int_equal(propose(&now, next, i + 1), ERR_CONFLICT);
        record_free(next);
    }
    assert_int_equal(now->epoch.number, 2);
    struct record *next = next_of(now);
    assert_int_equal(propose(&now, next, 99), ERR_OK);
    record_free(next);
    record_free(now);
}

static void a_clash_of_histories_is_a_conflict(void **state)
{
    (void)state;
    struct record *now = rings_advanced(3, 16);
    struct record *next = next_of(now);
    struct epoch expected = now->epoch;
    expected.tag ^= 1;
    struct proposal_answer answer;
    assert_int_equal(try_apply(&now, expected, next, 1, &answer), ERR_OK);
    assert_int_equal(answer.err, ERR_CONFLICT);
    record_free(next);
    record_free(now);
}

static void undecodable_records_change_nothing(void **state)
{
    (void)state;
    struct record *now = rings_advanced(3, 16);
    struct record *before = record_copy(now);
    struct record *next = next_of(now);
    struct buf bytes = {0};
    record_encode(next, &bytes);
    struct proposal_answer answer;
    struct entry_record e = {rings_id(1), now->epoch,
                             span_of(bytes.data, bytes.size - 1)};
    assert_int_equal(record_apply(&now, &e, &answer), ERR_DAMAGED);
    bytes.data[2] = LEVEL_NOW + 1;
    e.record = span_buf(&bytes);
    assert_int_equal(record_apply(&now, &e, &answer), ERR_INCOMPATIBLE);
    assert_true(rings_same(now, before));
    buf_free(&bytes);
    record_free(next);
    record_free(before);
    record_free(now);
}

/* ---- who goes out, who comes back -------------------------------------- */

/* All in touch with the proposer but the slots given, which all of group 0's
 * five voters report dead. */
#define VOTERS 5u
static void contacts_without(struct member_contact *contacts, unsigned count,
                             const uint16_t *dead, unsigned dead_count)
{
    for (unsigned i = 0; i < count; i++)
        contacts[i] = (struct member_contact){0, UINT64_MAX};
    for (unsigned i = 0; i < dead_count; i++)
        contacts[dead[i]] = (struct member_contact){VOTERS, 0};
}

static void out_needs_a_majority_of_voters(void **state)
{
    (void)state;
    struct record *r = rings_advanced(5, 16);
    struct member_contact contacts[5];
    uint16_t slots[5];
    contacts_without(contacts, 5, (const uint16_t[]){3}, 1);
    contacts[3].dead_reports = 2;
    assert_int_equal(record_may_go_out(r, T0, VOTERS, contacts, slots), 0);
    contacts[3].dead_reports = 3;
    assert_int_equal(record_may_go_out(r, T0, VOTERS, contacts, slots), 1);
    assert_int_equal(slots[0], 3);
    record_free(r);
}

/* Group 0's quorum sits with 3 of 20 nodes: the other 17 stay. */
static void nobody_goes_out_when_the_proposer_sees_half(void **state)
{
    (void)state;
    struct record *r = rings_advanced(20, 16);
    struct member_contact contacts[20];
    uint16_t slots[20];
    uint16_t dead[20];
    for (uint16_t i = 0; i < 20; i++)
        dead[i] = (uint16_t)(19 - i);
    contacts_without(contacts, 20, dead, 17);
    assert_int_equal(record_may_go_out(r, T0, VOTERS, contacts, slots), 0);
    contacts_without(contacts, 20, dead, 10);
    assert_int_equal(record_may_go_out(r, T0, VOTERS, contacts, slots), 0);
    contacts_without(contacts, 20, dead, 9);
    assert_int_equal(record_may_go_out(r, T0, VOTERS, contacts, slots), 2);
    assert_int_equal(slots[0], 11);
    assert_int_equal(slots[1], 12);
    record_free(r);
}

static void one_of_seven_may_go_out_in_an_hour(void **state)
{
    (void)state;
    struct record *r = rings_advanced(7, 16);
    struct member_contact contacts[7];
    uint16_t slots[7];
    contacts_without(contacts, 7, (const uint16_t[]){1, 2}, 2);
    assert_int_equal(record_may_go_out(r, T0, VOTERS, contacts, slots), 1);
    assert_int_equal(slots[0], 1);
    record_see(r, 1, SEEN_OUT, T0);
    uint64_t last = T0 + HOUR - 1;
    assert_int_equal(record_may_go_out(r, last, VOTERS, contacts, slots), 0);
    assert_int_equal(record_may_go_out(r, last + 1, VOTERS, contacts, slots),
                     1);
    assert_int_equal(slots[0], 2);
    record_free(r);
}

static void two_of_one_zone_do_not_go_out_together(void **state)
{
    (void)state;
    struct record *r = rings_advanced(20, 16);
    for (unsigned slot = 4; slot < 8; slot++)
        memcpy(r->members[slot].zone, "rack", 5);
    struct member_contact contacts[20];
    uint16_t slots[20];
    contacts_without(contacts, 20, (const uint16_t[]){5, 6, 9}, 3);
    assert_int_equal(record_may_go_out(r, T0, VOTERS, contacts, slots), 2);
    assert_int_equal(slots[0], 5);
    assert_int_equal(slots[1], 9); /* without a zone: one of its own */
    contacts_without(contacts, 20, (const uint16_t[]){5, 6}, 2);
    record_see(r, 5, SEEN_OUT, T0);
    assert_int_equal(
        record_may_go_out(r, T0 + HOUR - 1, VOTERS, contacts, slots), 0);
    assert_int_equal(record_may_go_out(r, T0 + HOUR, VOTERS, contacts, slots),
                     1);
    assert_int_equal(slots[0], 6);
    record_free(r);
}

/* S12: a clock in 2099 must not stop healing for ever. */
static void a_time_far_ahead_does_not_count(void **state)
{
    (void)state;
    struct record *r = rings_advanced(7, 16);
    struct member_contact contacts[7];
    uint16_t slots[7];
    contacts_without(contacts, 7, (const uint16_t[]){1, 2}, 2);
    record_see(r, 1, SEEN_OUT, T0 + HOUR - 1);
    assert_int_equal(record_may_go_out(r, T0, VOTERS, contacts, slots), 0);
    r->members[1].seen_since_ms = T0 + 1000 * (uint64_t)DAY;
    assert_int_equal(record_may_go_out(r, T0, VOTERS, contacts, slots), 1);
    record_free(r);
}

static void apply_refuses_whom_the_limits_keep_in(void **state)
{
    (void)state;
    struct record *now = rings_advanced(7, 16);
    struct record *both = record_copy(now);
    record_see(both, 1, SEEN_OUT, T0 + 1);
    record_see(both, 2, SEEN_OUT, T0 + 1);
    record_advance(both, T0 + 1);
    assert_int_equal(propose(&now, both, 1), ERR_CONFLICT);
    struct record *one = record_copy(now);
    record_see(one, 1, SEEN_OUT, T0 + 1);
    record_advance(one, T0 + 1);
    assert_int_equal(propose(&now, one, 2), ERR_OK);
    struct record *soon = record_copy(now);
    record_see(soon, 2, SEEN_OUT, T0 + HOUR);
    record_advance(soon, T0 + HOUR);
    assert_int_equal(propose(&now, soon, 3), ERR_CONFLICT);
    soon->members[2].seen_since_ms = T0 + HOUR + 1;
    soon->changed_ms = T0 + HOUR + 1;
    assert_int_equal(propose(&now, soon, 4), ERR_OK);
    record_free(both);
    record_free(one);
    record_free(soon);
    record_free(now);
}

/* An operator's removal of dead nodes is no automatic out. */
static void who_has_left_does_not_count_as_gone_out(void **state)
{
    (void)state;
    struct record *now = rings_advanced(7, 16);
    struct record *next = record_copy(now);
    for (uint16_t slot = 1; slot <= 3; slot++)
        record_see(next, slot, SEEN_OUT, T0 + 1);
    next->members[1].wanted = WANTED_LEFT;
    next->members[2].wanted = WANTED_LEFT;
    record_advance(next, T0 + 1);
    assert_int_equal(propose(&now, next, 1), ERR_OK);
    now->members[3].wanted = WANTED_LEFT;
    struct member_contact contacts[7];
    uint16_t slots[7];
    contacts_without(contacts, 7, (const uint16_t[]){4}, 1);
    assert_int_equal(record_may_go_out(now, T0 + 2, VOTERS, contacts, slots),
                     1);
    record_free(next);
    record_free(now);
}

/* Of members out, how many went within the hour, and does a zone repeat? The
 * slow twin of the limits, pair by pair. */
static bool are_limits_kept(const struct record *r, uint64_t now_ms)
{
    uint32_t out = 0;
    for (uint32_t i = 0; i < r->member_count; i++) {
        const struct member *a = &r->members[i];
        if (a->seen != SEEN_OUT || now_ms - a->seen_since_ms >= HOUR)
            continue;
        out++;
        for (uint32_t k = 0; k < i; k++) {
            const struct member *b = &r->members[k];
            if (b->seen == SEEN_OUT && now_ms - b->seen_since_ms < HOUR &&
                a->zone[0] != 0 && strcmp(a->zone, b->zone) == 0)
                return false;
        }
    }
    return out <= max_u64(1, r->member_count / 10);
}

/* Days of random deaths and returns: whom the judgement lets go, apply lets
 * go, and the limits hold at every record. */
static void judgement_and_apply_agree_over_days(void **state)
{
    (void)state;
    struct record *now = rings_begin(30, 16);
    for (unsigned slot = 0; slot < 24; slot++)
        (void)snprintf(now->members[slot].zone, ZONE_NAME_MAX, "z%u", slot / 4);
    struct rng rng;
    rng_seed(&rng, 3);
    struct member_contact contacts[30];
    uint16_t slots[30];
    unsigned went_out = 0, came_back = 0;
    uint64_t time_ms = T0;
    for (unsigned step = 1; step <= 250; step++) {
        time_ms += rng_below(&rng, 20 * MINUTE);
        contacts_without(contacts, 30, NULL, 0);
        for (unsigned i = 0; i < 12; i++)
            if (rng_chance(&rng, 400))
                contacts[i * 2] = (struct member_contact){VOTERS, 0};
        struct record *next = record_copy(now);
        uint32_t count =
            record_may_go_out(now, time_ms, VOTERS, contacts, slots);
        went_out += count;
        for (uint32_t i = 0; i < count; i++)
            record_see(next, slots[i], SEEN_OUT, time_ms);
        count = record_may_come_back(now, BACK_AFTER_MS, contacts, slots);
        came_back += count;
        for (uint32_t i = 0; i < count; i++)
            record_see(next, slots[i], SEEN_UP, time_ms);
        record_advance(next, time_ms);
        assert_int_equal(propose(&now, next, step & 255), ERR_OK);
        assert_true(are_limits_kept(now, time_ms));
        record_free(next);
    }
    assert_in_range(went_out, 50, 500);
    assert_in_range(came_back, 50, 500);
    record_free(now);
}

static void who_is_out_comes_back_after_a_minute_of_contact(void **state)
{
    (void)state;
    struct record *r = rings_advanced(5, 16);
    struct member_contact contacts[5];
    uint16_t slots[5];
    contacts_without(contacts, 5, NULL, 0);
    assert_int_equal(record_may_come_back(r, BACK_AFTER_MS, contacts, slots),
                     0);
    record_see(r, 3, SEEN_OUT, T0 + 2 * DAY);
    contacts[3].contact_ms = MINUTE - 1;
    assert_int_equal(record_may_come_back(r, BACK_AFTER_MS, contacts, slots),
                     0);
    contacts[3].contact_ms = MINUTE;
    assert_int_equal(record_may_come_back(r, BACK_AFTER_MS, contacts, slots),
                     1);
    assert_int_equal(slots[0], 3);
    record_free(r);
}

/* T28: doubling back-off, ended by a day without going out. */
static void each_further_time_out_doubles_the_wait(void **state)
{
    (void)state;
    struct record *r = rings_advanced(5, 16);
    struct member_contact contacts[5];
    uint16_t slots[5];
    contacts_without(contacts, 5, NULL, 0);
    uint64_t time_ms = T0 + 2 * (uint64_t)DAY;
    for (unsigned times = 0; times < 10; times++) {
        uint64_t wait_ms = (uint64_t)MINUTE << (times < 6 ? times : 6);
        record_see(r, 3, SEEN_OUT, time_ms);
        contacts[3].contact_ms = wait_ms - 1;
        assert_int_equal(
            record_may_come_back(r, BACK_AFTER_MS, contacts, slots), 0);
        contacts[3].contact_ms = wait_ms;
        assert_int_equal(
            record_may_come_back(r, BACK_AFTER_MS, contacts, slots), 1);
        record_see(r, 3, SEEN_UP, time_ms + wait_ms);
        time_ms += wait_ms + HOUR;
    }
    record_see(r, 3, SEEN_OUT, r->members[3].seen_since_ms + DAY);
    contacts[3].contact_ms = MINUTE;
    assert_int_equal(record_may_come_back(r, BACK_AFTER_MS, contacts, slots),
                     1);
    record_free(r);
}

static void who_has_left_neither_goes_nor_comes(void **state)
{
    (void)state;
    struct record *r = rings_advanced(5, 16);
    struct member_contact contacts[5];
    uint16_t slots[5];
    contacts_without(contacts, 5, (const uint16_t[]){4}, 1);
    r->members[4].wanted = WANTED_LEFT;
    assert_int_equal(record_may_go_out(r, T0, VOTERS, contacts, slots), 0);
    r->members[4].seen = SEEN_OUT;
    contacts[4].contact_ms = DAY;
    assert_int_equal(record_may_come_back(r, BACK_AFTER_MS, contacts, slots),
                     0);
    record_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_of_two_proposals_wins),
        cmocka_unit_test(a_repeated_proposal_gets_its_first_answer),
        cmocka_unit_test(without_T26_a_repeat_reads_as_a_conflict),
        cmocka_unit_test(the_oldest_of_65_answers_is_forgotten),
        cmocka_unit_test(answers_of_a_proposed_record_do_not_count),
        cmocka_unit_test(what_is_no_successor_is_a_conflict),
        cmocka_unit_test(a_clash_of_histories_is_a_conflict),
        cmocka_unit_test(undecodable_records_change_nothing),
        cmocka_unit_test(out_needs_a_majority_of_voters),
        cmocka_unit_test(nobody_goes_out_when_the_proposer_sees_half),
        cmocka_unit_test(one_of_seven_may_go_out_in_an_hour),
        cmocka_unit_test(two_of_one_zone_do_not_go_out_together),
        cmocka_unit_test(a_time_far_ahead_does_not_count),
        cmocka_unit_test(apply_refuses_whom_the_limits_keep_in),
        cmocka_unit_test(who_has_left_does_not_count_as_gone_out),
        cmocka_unit_test(judgement_and_apply_agree_over_days),
        cmocka_unit_test(who_is_out_comes_back_after_a_minute_of_contact),
        cmocka_unit_test(each_further_time_out_doubles_the_wait),
        cmocka_unit_test(who_has_left_neither_goes_nor_comes),
    };
    return cmocka_run_group_tests_name("record_apply", tests, NULL, NULL) != 0;
}
