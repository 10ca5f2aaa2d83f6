/* test_rule.c - the switches of the rules, which the simulator's proof by
 * mutants stands on: ring/rule.h. */
#include "tests/unit/cmocka_wrap.h"

#include <string.h>

#include "ring/rule.h"

#ifdef EDDY_RULES

static size_t count_off(void)
{
    size_t off = 0;
    for (size_t i = 0; i < RULE_COUNT; i++)
        off += rule_is_off[i];
    return off;
}

static int all_on(void **state)
{
    (void)state;
    rule_turn_all_on();
    return 0;
}

/* The first test: nothing has touched the switches yet. */
static void all_rules_are_on_at_start(void **state)
{
    (void)state;
    assert_int_equal(count_off(), 0);
    assert_true(RULE(S4));
}

static void rule_turned_off_by_name_is_the_only_one_off(void **state)
{
    (void)state;
    for (size_t i = 0; i < RULE_COUNT; i++) {
        rule_turn_all_on();
        assert_true(rule_turn_off(rule_name(i)));
        assert_true(rule_is_off[i]);
        assert_int_equal(count_off(), 1);
    }
}

static void switch_is_read_where_the_rule_stands(void **state)
{
    (void)state;
    assert_true(rule_turn_off("S10A"));
    assert_false(RULE(S10A));
    assert_true(RULE(S10B));
    rule_turn_all_on();
    assert_true(RULE(S10A));
}

static void several_rules_may_be_off_at_once(void **state)
{
    (void)state;
    assert_true(rule_turn_off("R1"));
    assert_true(rule_turn_off("T9"));
    assert_true(rule_turn_off("R1"));
    assert_int_equal(count_off(), 2);
}

static void name_of_no_rule_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "S", "s4", "S4 ", "S9", "RULE_S4"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(rule_turn_off(bad[i]));
    assert_int_equal(count_off(), 0);
}

static void every_rule_has_a_name_of_its_own_and_a_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < RULE_COUNT; i++) {
        assert_true(strlen(rule_name(i)) >= 2);
        assert_true(strlen(rule_text(i)) >= 10);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(rule_name(i), rule_name(k));
    }
}

static void number_of_no_rule_is_a_question_mark(void **state)
{
    (void)state;
    assert_string_equal(rule_name(RULE_COUNT), "?");
    assert_string_equal(rule_text(SIZE_MAX), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_rules_are_on_at_start),
        cmocka_unit_test_setup(rule_turned_off_by_name_is_the_only_one_off,
                               all_on),
        cmocka_unit_test_setup(switch_is_read_where_the_rule_stands, all_on),
        cmocka_unit_test_setup(several_rules_may_be_off_at_once, all_on),
        cmocka_unit_test_setup(name_of_no_rule_is_refused_and_changes_nothing,
                               all_on),
        cmocka_unit_test(every_rule_has_a_name_of_its_own_and_a_text),
        cmocka_unit_test(number_of_no_rule_is_a_question_mark),
    };
    return cmocka_run_group_tests_name("rule", tests, NULL, NULL) != 0;
}

#else

_Static_assert(RULE(S4) && RULE(T32), "in production a rule cannot be off");

static void rule_is_constant_true_in_production(void **state)
{
    (void)state;
    assert_true(RULE(S4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rule_is_constant_true_in_production),
    };
    return cmocka_run_group_tests_name("rule", tests, NULL, NULL) != 0;
}

#endif
