/* test_raft_random.c - ring/raft.h in random histories (raft_world.h), with
 * all rules on, and with each one off: then the same world must see a
 * violation within so many seeds. That proves the world, not the rule. */
#include "tests/unit/cmocka_wrap.h"

#include <stdio.h>

#include "ring/rule.h"
#include "tests/unit/raft_world.h"

/* ---- worlds ------------------------------------------------------------ */

/* A bit of everything; each history draws how much. */
static const struct raft_world_faults everything = {
    .voters = 3,
    .crash = 4,
    .down_ms = 200,
    .wipe = 2,
    .cut = 6,
    .cut_ms = 200,
    .pause = 3,
    .pause_ms = 150,
    .loss_pm = 100,
    .append_loss_pm = 100,
    .dup_pm = 100,
    .delay_ms = 8,
    .late_pm = 30,
    .late_ms = 500,
    .sync_ms = 12,
    .propose = 200,
    .read = 50,
    .change = 40,
    .transfer = 3,
    .reset = 5,
    .stall = 3,
    .step_down = 2,
    .cut_log = 5,
    .batch_bytes = 300,
    .same_rank = 300,
    .is_drawn = true,
};

/* Nodes come back before their votes would have been synced. */
static const struct raft_world_faults slow_disks = {
    .voters = 3,
    .crash = 15,
    .down_ms = 6,
    .delay_ms = 3,
    .sync_ms = 60,
    .propose = 200,
    .read = 50,
    .step_down = 10,
    .batch_bytes = 300,
    .same_rank = 1000,
};

/* Leaders that stand still while others take over. */
static const struct raft_world_faults pauses = {
    .voters = 3,
    .pause = 6,
    .pause_ms = 150,
    .delay_ms = 3,
    .sync_ms = 3,
    .propose = 200,
    .read = 300,
    .batch_bytes = 300,
    .same_rank = 300,
};

/* Short reigns, an entry at a time, and most of them get lost (paper, figure
 * 8). */
static const struct raft_world_faults short_reigns = {
    .voters = 5,
    .crash = 5,
    .down_ms = 30,
    .append_loss_pm = 500,
    .delay_ms = 3,
    .sync_ms = 2,
    .propose = 200,
    .read = 50,
    .transfer = 10,
    .step_down = 10,
    .batch_bytes = 1,
    .same_rank = 1000,
};

/* Long tails that are acknowledged, cut off, overwritten, and then heard of
 * again. */
static const struct raft_world_faults late_repeats = {
    .voters = 5,
    .cut = 4,
    .cut_ms = 150,
    .append_loss_pm = 600,
    .dup_pm = 900,
    .delay_ms = 3,
    .late_ms = 600,
    .sync_ms = 3,
    .propose = 900,
    .read = 50,
    .transfer = 10,
    .step_down = 5,
    .batch_bytes = 4000,
    .same_rank = 1000,
};

/* Members come and go faster than leaders. */
static const struct raft_world_faults many_changes = {
    .voters = 5,
    .cut = 3,
    .cut_ms = 100,
    .append_loss_pm = 600,
    .delay_ms = 3,
    .sync_ms = 3,
    .propose = 200,
    .read = 50,
    .change = 900,
    .step_down = 25,
    .batch_bytes = 300,
    .same_rank = 300,
};

/* Disks are lost, and their nodes come back as somebody else. */
static const struct raft_world_faults lost_disks = {
    .voters = 3,
    .crash = 4,
    .down_ms = 200,
    .wipe = 10,
    .cut = 3,
    .cut_ms = 200,
    .loss_pm = 50,
    .dup_pm = 100,
    .delay_ms = 8,
    .late_pm = 30,
    .late_ms = 500,
    .sync_ms = 12,
    .propose = 200,
    .read = 50,
    .change = 200,
    .batch_bytes = 300,
    .same_rank = 300,
};

struct world {
    const char *name;
    const struct raft_world_faults *faults;
    uint64_t seeds;
};

static const struct world worlds[] = {
    {"everything", &everything, 150},
    {"slow_disks", &slow_disks, 40},
    {"pauses", &pauses, 40},
    {"short_reigns", &short_reigns, 40},
    {"late_repeats", &late_repeats, 40},
    {"many_changes", &many_changes, 40},
    {"lost_disks", &lost_disks, 40},
};
enum { WORLDS = sizeof worlds / sizeof worlds[0] };

/* ---- all rules on ------------------------------------------------------ */

static void all_promises_hold(void **state)
{
    const struct world *w = *state;
    struct raft_world_outcome sum = {0};
    for (uint64_t seed = 1; seed <= w->seeds; seed++) {
        struct raft_world_outcome o = raft_world_play(seed, w->faults);
        if (o.violation != NULL)
            fail_msg("%s, seed %llu: %s", w->name, (unsigned long long)seed,
                     o.violation);
        sum.committed += o.committed;
        sum.reads_ok += o.reads_ok;
        sum.elections += o.elections;
        sum.changes += o.changes;
    }
    /* And something has happened. */
    assert_true(sum.committed > 100 * w->seeds);
    assert_true(sum.elections > 3 * w->seeds);
    assert_true(sum.reads_ok > 0);
    if (w->faults->change > 0)
        assert_true(sum.changes > w->seeds);
}

static void same_seed_gives_the_same_history(void **state)
{
    (void)state;
    struct raft_world_outcome a = raft_world_play(7, &everything);
    struct raft_world_outcome b = raft_world_play(7, &everything);
    struct raft_world_outcome c = raft_world_play(8, &everything);
    assert_int_equal(a.trace, b.trace);
    assert_int_equal(a.committed, b.committed);
    assert_int_not_equal(a.trace, c.trace);
}

/* ---- one rule off ------------------------------------------------------ */

#ifdef EDDY_RULES

struct mutant {
    const char *rule;
    const struct raft_world_faults *faults;
};

static const struct mutant mutants[] = {
    {"S10A", &slow_disks}, {"S10B", &everything},  {"S10C", &everything},
    {"S11A", &everything}, {"S11C", &everything},  {"S11D", &everything},
    {"S4", &lost_disks},   {"R1", &everything},    {"R2", &everything},
    {"R5", &short_reigns}, {"R14", &everything},   {"S9B", &many_changes},
    {"S9C", &everything},  {"S9D", &many_changes}, {"R12", &late_repeats},
    {"S31", &pauses},      {"T19", &everything},
};
enum { MUTANTS = sizeof mutants / sizeof mutants[0], SEEDS_MAX = 400 };

static void violation_is_found(void **state)
{
    const struct mutant *m = *state;
    assert_true(rule_turn_off(m->rule));
    const char *found = NULL;
    uint64_t seed = 0;
    while (found == NULL && seed < SEEDS_MAX)
        found = raft_world_play(++seed, m->faults).violation;
    rule_turn_all_on();
    if (found == NULL)
        fail_msg("no violation without %s in %d seeds", m->rule, SEEDS_MAX);
    print_message("without %s, seed %llu: %s\n", m->rule,
                  (unsigned long long)seed, found);
}

#endif

int main(void)
{
    static char names[64][64];
    struct CMUnitTest tests[64];
    size_t count = 0;
    for (size_t i = 0; i < WORLDS; i++) {
        (void)snprintf(names[count], sizeof names[0],
                       "all_promises_hold_in_world_%s", worlds[i].name);
        tests[count] =
            (struct CMUnitTest){names[count], all_promises_hold, NULL, NULL,
                                (void *)(uintptr_t)&worlds[i]};
        count++;
    }
    tests[count++] =
        (struct CMUnitTest)cmocka_unit_test(same_seed_gives_the_same_history);
#ifdef EDDY_RULES
    for (size_t i = 0; i < MUTANTS; i++) {
        (void)snprintf(names[count], sizeof names[0],
                       "violation_is_found_without_%s", mutants[i].rule);
        tests[count] =
            (struct CMUnitTest){names[count], violation_is_found, NULL, NULL,
                                (void *)(uintptr_t)&mutants[i]};
        count++;
    }
#endif
    return _cmocka_run_group_tests("raft_random", tests, count, NULL, NULL) !=
           0;
}
