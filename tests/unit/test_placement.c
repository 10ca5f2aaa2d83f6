/* test_placement.c - what a fold does with given rings, in tables and pictures.
 * Its targets over long churns: test_placement_churn.c. */
#include "tests/unit/placement_world.h"

static uint32_t leaders_of(struct world *w, uint16_t slot)
{
    uint32_t leaders = 0;
    for (uint32_t r = 0; r < w->table.row_count; r++)
        leaders += row(w, r)[0] == slot;
    return leaders;
}

static void assert_print(const struct world *w, const char *golden)
{
    struct buf text = {0};
    placement_print(&w->table, &text);
    buf_append(&text, "", 1);
    assert_string_equal((const char *)text.data, golden);
    buf_free(&text);
}

/* Members are written one letter each, by slot: + eligible, f full, - not
 * eligible, . not listed. */
static void set_members(struct world *w, const char *letters)
{
    w->count = 0;
    for (uint16_t slot = 0; letters[slot] != 0; slot++) {
        if (letters[slot] == '.')
            continue;
        struct placement_member *m = join(w, slot);
        m->is_eligible = letters[slot] != '-';
        m->takes_new = letters[slot] != 'f';
    }
}

static void set_row(uint16_t *slots, const char *digits)
{
    for (uint32_t i = 0; i < REPLICATION_MAX; i++)
        slots[i] = PLACEMENT_NONE;
    for (uint32_t i = 0; digits[i] != 0; i++)
        slots[i] = (uint16_t)(digits[i] - '0');
}

/* ---- equal nodes ------------------------------------------------------- */

static void assert_even(struct world *w, uint32_t nodes)
{
    uint32_t rows = w->table.row_count;
    uint32_t copies = nodes < w->table.copies ? nodes : w->table.copies;
    struct placement_figures f = measure(w);
    assert_int_equal(f.replicas, rows * copies);
    assert_true(f.load_min >= rows * copies / nodes);
    /* One more than the ceiling may stay where it is. */
    assert_true(f.load_max <= (rows * copies + nodes - 1) / nodes + 1);
    assert_true(f.leaders_min + 1 >= rows / nodes);
    assert_true(f.leaders_max <= (rows + nodes - 1) / nodes + 1);
    assert_int_equal(f.zone_violations, 0);
}

static void one_to_nine_equal_nodes_share_evenly(void **state)
{
    (void)state;
    static const uint32_t rows[] = {16, 64, 256, 1024};
    for (size_t q = 0; q < 4; q++) {
        for (uint32_t copies = 1; copies <= 5; copies += 2) {
            for (uint32_t nodes = 1; nodes <= 9; nodes++) {
                struct world *w = world_new(rows[q], copies, 1);
                join_many(w, nodes);
                fold(w);
                assert_even(w, nodes);
                assert_int_equal(w->moves, w->least);
            }
        }
    }
}

static void growth_is_even_and_moves_the_least(void **state)
{
    (void)state;
    static const uint32_t rows[] = {64, 256};
    for (size_t q = 0; q < 2; q++) {
        struct world *w = world_new(rows[q], 3, 1);
        for (uint32_t nodes = 1; nodes <= 9; nodes++) {
            join_many(w, 1);
            fold(w);
            assert_even(w, nodes);
            assert_int_equal(w->moves, w->least);
        }
    }
}

static void shrinking_moves_little_more_than_the_least(void **state)
{
    (void)state;
    struct world *w = world_new(256, 3, 1);
    join_many(w, 9);
    fold(w);
    for (uint32_t nodes = 8; nodes >= 3; nodes--) {
        w->members[nodes].is_eligible = false;
        fold(w);
        assert_int_equal(load_of(w, (uint16_t)nodes), 0);
        assert_even(w, nodes);
        assert_true(w->moves * 100 <= w->least * 115);
        w->count = nodes;
    }
}

static void three_nodes_lead_85_or_86_of_256_rows(void **state)
{
    (void)state;
    for (int grown = 0; grown <= 1; grown++) {
        struct world *w = world_new(256, 3, 1);
        for (uint32_t nodes = 1; nodes <= 4; nodes++) {
            join_many(w, 1);
            if (!grown && nodes < 3)
                continue;
            fold(w);
            for (uint16_t slot = 0; slot < nodes; slot++) {
                uint32_t leaders = leaders_of(w, slot);
                assert_true(leaders == 256 / nodes ||
                            leaders == (256 + nodes - 1) / nodes);
            }
        }
    }
}

/* A change of leaders costs a handover each: only what balance demands. */
static void
a_fourth_node_takes_leaders_only_from_those_above_their_part(void **state)
{
    (void)state;
    struct world *w = world_new(256, 3, 1);
    join_many(w, 3);
    fold(w);
    static uint16_t before[PARTITIONS_MAX * REPLICATION_MAX];
    memcpy(before, w->slots, sizeof before);
    join_many(w, 1);
    fold(w);
    uint32_t changed = 0;
    for (uint32_t r = 0; r < 256; r++)
        changed += row(w, r)[0] != before[r * REPLICATION_MAX];
    assert_true(changed <= 64 + 64 / 2);
}

static void folding_again_changes_nothing(void **state)
{
    (void)state;
    struct world *w = world_new(256, 3, 1);
    for (uint16_t i = 0; i < 7; i++) {
        join(w, i)->weight = 100u + 50u * i;
        fold(w);
        static uint16_t before[PARTITIONS_MAX * REPLICATION_MAX];
        memcpy(before, w->slots, sizeof before);
        fold(w);
        assert_int_equal(w->moves, 0);
        assert_memory_equal(before, w->slots, sizeof before);
    }
}

static void order_of_members_does_not_matter(void **state)
{
    (void)state;
    struct world *w = world_new(64, 3, 7);
    join_many(w, 9);
    for (size_t i = 0; i < 9; i++) {
        w->members[i].zone = (uint16_t)(i % 4);
        w->members[i].weight = 50u << (i % 3);
    }
    fold(w);
    w->members[4].is_eligible = false;
    static uint16_t first[64 * REPLICATION_MAX];
    static uint16_t again[64 * REPLICATION_MAX];
    struct placement_table a = {.slots = first};
    struct placement_table b = {.slots = again};
    placement_fold(&w->table, w->members, w->count, 3, &a);
    for (int round = 0; round < 20; round++) {
        for (size_t i = 8; i > 0; i--) {
            size_t k = rng_below(&w->rng, i + 1);
            struct placement_member m = w->members[i];
            w->members[i] = w->members[k];
            w->members[k] = m;
        }
        placement_fold(&w->table, w->members, w->count, 3, &b);
        assert_memory_equal(first, again, sizeof first);
    }
}

static void next_may_be_now(void **state)
{
    (void)state;
    struct world *w = world_new(64, 3, 7);
    join_many(w, 5);
    static uint16_t apart[64 * REPLICATION_MAX];
    struct placement_table next = {.slots = apart};
    placement_fold(&w->table, w->members, w->count, 3, &next);
    placement_fold(&w->table, w->members, w->count, 3, &w->table);
    assert_memory_equal(apart, w->slots, sizeof apart);
}

/* ---- the dead, the full, the long -------------------------------------- */

static void dead_voter_stays_at_the_end_until_somebody_replaces_it(void **state)
{
    (void)state;
    struct world *w = world_new(64, 3, 1);
    join_many(w, 3);
    fold(w);
    w->members[1].is_eligible = false;
    fold(w);
    assert_int_equal(w->moves, 0);
    for (uint32_t r = 0; r < 64; r++)
        assert_int_equal(row(w, r)[2], 1);
    assert_int_equal(measure(w).rows_short, 64);
    assert_int_equal(leaders_of(w, 0), 32);
    join_many(w, 1);
    fold(w);
    assert_int_equal(w->moves, 64);
    assert_int_equal(load_of(w, 1), 0);
    assert_int_equal(measure(w).rows_short, 0);
}

static void rows_stay_when_nobody_is_eligible(void **state)
{
    (void)state;
    struct world *w = world_new(16, 3, 1);
    join_many(w, 2);
    fold(w);
    for (size_t i = 0; i < 2; i++)
        w->members[i].is_eligible = false;
    fold(w);
    assert_int_equal(w->moves, 0);
    assert_int_equal(load_of(w, 0), 16);
    w->count = 0;
    fold(w);
    assert_print(w, "16x3 - - - - - - - - - - - - - - - -");
}

static void return_before_the_walk_began_moves_nothing(void **state)
{
    (void)state;
    struct world *w = world_new(64, 3, 1);
    join_many(w, 5);
    fold(w);
    static uint16_t committed[PARTITIONS_MAX * REPLICATION_MAX];
    memcpy(committed, w->slots, sizeof committed);
    w->members[2].is_eligible = false;
    fold(w);
    assert_true(w->moves > 0);
    /* T28: the fold begins at the committed configurations. */
    memcpy(w->slots, committed, sizeof committed);
    w->members[2].is_eligible = true;
    fold(w);
    assert_int_equal(w->moves, 0);
    assert_memory_equal(committed, w->slots, sizeof committed);
}

static void configuration_longer_than_a_row_is_cut_without_moves(void **state)
{
    (void)state;
    struct world *w = world_new(64, 3, 1);
    join_many(w, 5);
    w->members[4].is_eligible = false;
    for (uint32_t r = 0; r < 64; r++) {
        static const uint16_t config[] = {4, 0, 1, 2, 3, 0};
        memcpy(row(w, r), config, sizeof config);
    }
    fold(w);
    assert_int_equal(w->moves, 0);
    assert_int_equal(load_of(w, 4), 0);
    for (uint16_t slot = 0; slot < 4; slot++)
        assert_int_equal(load_of(w, slot), 48);
}

static void full_node_keeps_its_rows_and_gets_no_others(void **state)
{
    (void)state;
    struct world *w = world_new(64, 3, 1);
    join_many(w, 5);
    fold(w);
    static uint16_t before[PARTITIONS_MAX * REPLICATION_MAX];
    memcpy(before, w->slots, sizeof before);
    w->members[0].takes_new = false;
    uint32_t load = load_of(w, 0);
    fold(w);
    assert_int_equal(w->moves, 0);
    w->members[3].is_eligible = false;
    w->members[4].is_eligible = false;
    fold(w);
    assert_int_equal(load_of(w, 0), load);
    for (uint32_t r = 0; r < 64; r++)
        for (uint32_t i = 0; i < 3; i++)
            if (row(w, r)[i] == 0)
                assert_true(before[r * REPLICATION_MAX] == 0 ||
                            before[r * REPLICATION_MAX + 1] == 0 ||
                            before[r * REPLICATION_MAX + 2] == 0);
    /* A newcomer that is full from the start gets nothing, nor does its
     * weight count. */
    join(w, 9)->takes_new = false;
    fold(w);
    assert_int_equal(load_of(w, 9), 0);
    assert_true(measure(w).load_excess <= 1);
}

static void number_of_copies_can_be_raised_and_lowered(void **state)
{
    (void)state;
    struct world *w = world_new(256, 3, 1);
    join_many(w, 7);
    fold(w);
    fold_for(w, 5);
    assert_int_equal(w->moves, 512);
    assert_even(w, 7);
    fold_for(w, 3);
    assert_true(w->moves <= 3);
    assert_even(w, 7);
}

static void
replica_above_the_ceiling_stays_if_moving_it_copies_data(void **state)
{
    (void)state;
    struct world *w = world_new(64, 3, 1);
    join_many(w, 5); /* 38.4 replicas each */
    fold(w);
    assert_int_equal(measure(w).load_max, 39);
    uint16_t fuller = 0;
    while (load_of(w, fuller) != 39)
        fuller++;
    for (uint32_t r = 0; r < 64 && load_of(w, fuller) == 39; r++) {
        uint16_t *slots = row(w, r);
        if (slots[0] != fuller && slots[1] != fuller && slots[2] != fuller &&
            load_of(w, slots[2]) == 39)
            slots[2] = fuller;
    }
    assert_int_equal(load_of(w, fuller), 40);
    fold(w);
    assert_int_equal(w->moves, 0);
    assert_int_equal(load_of(w, fuller), 40);
}

/* ---- zones and weights ------------------------------------------------- */

static void replicas_are_spread_over_zones(void **state)
{
    (void)state;
    for (uint32_t zones = 1; zones <= 5; zones++) {
        for (uint32_t copies = 2; copies <= 5; copies++) {
            struct world *w = world_new(64, copies, 1);
            join_many(w, 10);
            uint32_t most = (copies + zones - 1) / zones;
            for (uint32_t i = 0; i < 10; i++)
                w->members[i].zone = (uint16_t)(i % zones);
            fold(w);
            for (uint32_t r = 0; r < 64; r++) {
                uint32_t in_zone[5] = {0};
                for (uint32_t i = 0; i < copies; i++)
                    assert_true(++in_zone[row(w, r)[i] % zones] <= most);
            }
        }
    }
}

static void two_zones_cannot_keep_three_copies_apart(void **state)
{
    (void)state;
    struct world *w = world_new(64, 3, 1);
    join_many(w, 6);
    for (uint32_t i = 0; i < 6; i++)
        w->members[i].zone = (uint16_t)(i % 2);
    fold(w);
    assert_int_equal(measure(w).zone_violations, 0);
    assert_int_equal(measure(w).zone_majorities, 64); /* L21 */
    /* A third zone of one node must take a copy of every row, no more. */
    join(w, 6)->zone = 2;
    fold(w);
    assert_int_equal(w->moves, 64);
    assert_int_equal(load_of(w, 6), 64);
    assert_int_equal(measure(w).zone_violations, 0);
    assert_int_equal(measure(w).zone_majorities, 0);
}

static void load_follows_weight_up_to_one_copy_a_row(void **state)
{
    (void)state;
    static const struct {
        uint32_t weights[5];
        uint32_t loads[5];
    } cases[] = {
        {{100, 100, 100, 100, 100}, {192, 192, 192, 192, 192}},
        {{100, 100, 200, 200, 400}, {107, 107, 213, 213, 320}},
        {{1, 1, 1, 1, UINT32_MAX}, {160, 160, 160, 160, 320}},
        {{UINT32_MAX, UINT32_MAX, 1, 1, 1}, {320, 320, 107, 107, 107}},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct world *w = world_new(320, 3, 1);
        join_many(w, 5);
        for (size_t i = 0; i < 5; i++)
            w->members[i].weight = cases[c].weights[i];
        fold(w);
        for (uint16_t i = 0; i < 5; i++) {
            int64_t off = (int64_t)load_of(w, i) - cases[c].loads[i];
            assert_in_range(off + 1, 0, 2);
            int64_t leaders = leaders_of(w, i);
            assert_true(leaders * 3 >= (int64_t)load_of(w, i) - 3);
            assert_true(leaders * 3 <= (int64_t)load_of(w, i) + 3);
        }
    }
}

static void zone_gives_the_share_of_a_full_node_to_its_others(void **state)
{
    (void)state;
    struct world *w = world_new(64, 2, 1);
    set_members(w, "f+++");
    for (size_t i = 0; i < 4; i++)
        w->members[i].zone = (uint16_t)(i / 2);
    fold(w);
    assert_int_equal(load_of(w, 0), 0);
    assert_int_equal(load_of(w, 1), 64);
    assert_int_equal(measure(w).load_excess, 0);
}

/* ---- pictures ---------------------------------------------------------- */

static void a_ring_grows_as_it_did_before(void **state)
{
    (void)state;
    static const char *const golden[] = {
        "8x3 0 0 0 0 0 0 0 0",
        "8x3 1,0 1,0 1,0 1,0 0,1 0,1 0,1 0,1",
        "8x3 2,1,0 1,0,2 1,0,2 1,0,2 2,0,1 0,1,2 0,1,2 0,1,2",
        "8x3 2,1,3 3,1,0 1,0,3 1,2,3 2,0,3 3,0,2 0,1,2 0,1,2",
        "8x3 2,1,4 3,1,4 4,0,3 1,3,4 2,0,3 3,0,2 0,1,2 0,1,2",
    };
    struct world *w = world_new(8, 3, 1);
    for (size_t i = 0; i < 5; i++) {
        join_many(w, 1);
        fold(w);
        assert_print(w, golden[i]);
    }
}

static void a_ring_shrinks_as_it_did_before(void **state)
{
    (void)state;
    static const char *const golden[] = {
        "8x3 1,0,3 2,1,3 1,2,0 3,0,1 2,3,1 3,2,0 0,1,2 0,2,3",
        "8x3 1,0,2 2,1,0 1,2,0 0,1,2 2,1,0 2,0,1 0,1,2 0,2,1",
        "8x3 1,0,2 1,0,2 1,0,2 0,1,2 1,0,2 0,1,2 0,1,2 0,1,2",
        "8x3 0,1,2 0,1,2 0,1,2 0,1,2 0,1,2 0,1,2 0,1,2 0,1,2"};
    struct world *w = world_new(8, 3, 1);
    join_many(w, 5);
    fold(w);
    for (size_t i = 0; i < 4; i++) {
        w->members[4 - i].is_eligible = false;
        fold(w);
        assert_print(w, golden[i]);
    }
}

static void zones_and_weights_look_as_they_did_before(void **state)
{
    (void)state;
    struct world *w = world_new(8, 3, 1);
    join_many(w, 6);
    for (size_t i = 0; i < 6; i++) {
        w->members[i].zone = (uint16_t)(i / 2);
        w->members[i].weight = i % 2 == 0 ? 100 : 300;
    }
    fold(w);
    assert_print(w, "8x3 1,3,5 3,1,5 4,0,2 5,1,3 1,3,5 5,1,3 0,2,4 3,1,5");
}

/* ---- group 0 ----------------------------------------------------------- */

static void ring_has_one_three_or_five_voters(void **state)
{
    (void)state;
    static const struct {
        const char *members;
        const char *now;
        const char *next; /* ? is any eligible one */
    } cases[] = {
        {"+", "", "0"},
        {"+", "0", "0"},
        {"++", "0", "0"},
        {"+++", "0", "0??"},
        {"++++", "0", "0??"},
        {"+++++", "102", "102??"},
        {"+++++++++", "3", "3????"},
        /* the dead: replaced, or kept where the row would fall below three */
        {"++-", "012", "012"},
        {"-++", "012", "??0"},
        {"--+", "012", "201"},
        {"---", "012", "012"},
        {"++-+", "012", "013"},
        {"++-.", "012", "012"},
        /* one seat is kept for the sake of five, not two */
        {"++++-", "01234", "01234"},
        {"+++--", "01234", "012"},
        {"++---", "01234", "012"},
        {"++++-+", "01234", "01235"},
        /* left: nobody keeps a seat */
        {"++.", "012", "0"},
        {".++", "012", "?"},
        /* full nodes stay, and are not asked */
        {"++f", "0", "0"},
        {"++f", "012", "012"},
        {"++ff", "012", "012"},
        {"+ff+++", "012", "012??"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world *w = world_new(1, 1, 1);
        uint16_t now[REPLICATION_MAX];
        uint16_t next[REPLICATION_MAX];
        set_members(w, cases[i].members);
        set_row(now, cases[i].now);
        placement_fold_ring(now, w->members, w->count, next);
        size_t size = strlen(cases[i].next);
        for (size_t k = 0; k < REPLICATION_MAX; k++) {
            if (k >= size)
                assert_int_equal(next[k], PLACEMENT_NONE);
            else if (cases[i].next[k] == '?')
                assert_int_equal(cases[i].members[next[k]], '+');
            else
                assert_int_equal(next[k], cases[i].next[k] - '0');
            for (size_t j = 0; j < k && k < size; j++)
                assert_int_not_equal(next[j], next[k]);
        }
        placement_fold_ring(next, w->members, w->count, now);
        assert_memory_equal(now, next, sizeof now);
    }
}

static void ring_voters_are_spread_over_zones(void **state)
{
    (void)state;
    struct world *w = world_new(1, 1, 1);
    set_members(w, "+++++++++");
    for (size_t i = 0; i < 9; i++) {
        w->members[i].zone = (uint16_t)(i / 3);
        w->members[i].weight = i < 3 ? 1000 : 1;
    }
    uint16_t voters[REPLICATION_MAX];
    set_row(voters, "012");
    placement_fold_ring(voters, w->members, w->count, voters);
    uint32_t in_zone[3] = {0};
    for (uint32_t i = 0; i < 5; i++)
        assert_true(++in_zone[voters[i] / 3] <= 2);
}

static void ring_voters_are_drawn_without_regard_to_weight(void **state)
{
    (void)state;
    struct world *w = world_new(1, 1, 1);
    set_members(w, "+++++++++");
    uint16_t equal[REPLICATION_MAX];
    uint16_t mixed[REPLICATION_MAX];
    set_row(equal, "0");
    set_row(mixed, "0");
    placement_fold_ring(equal, w->members, w->count, equal);
    for (size_t i = 0; i < 9; i++)
        w->members[i].weight = i % 2 == 0 ? 1 : 1000;
    placement_fold_ring(mixed, w->members, w->count, mixed);
    assert_memory_equal(equal, mixed, sizeof equal);
    for (size_t i = 0; i < 9; i++)
        w->members[i].weight = i % 2 == 0 ? 1000 : 1;
    set_row(mixed, "0");
    placement_fold_ring(mixed, w->members, w->count, mixed);
    assert_memory_equal(equal, mixed, sizeof equal);
}

/* ---- the check --------------------------------------------------------- */

static void check_says_what_is_wrong_with_a_row(void **state)
{
    (void)state;
    static const struct {
        const char *members;
        const char *row;
        const char *why; /* NULL: nothing */
    } cases[] = {
        {"+++", "012", NULL},
        {"+++", "210", NULL},
        {"++-", "012", NULL},
        {"++-", "10", NULL},
        {"++f", "01", NULL},
        {"+++", "01", "row 1: a hole that a member could fill"},
        {"+++", "", "row 1: a hole that a member could fill"},
        {"++++", "0123", "row 1: too long"},
        {"+++", "010", "row 1: a member twice"},
        {"+++", "013", "row 1: a slot that no member has"},
        {"++.", "012", "row 1: a slot that no member has"},
        {"++-", "021", "row 1: an ineligible member before an eligible one"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world *w = world_new(2, 3, 1);
        struct buf why = {0};
        set_members(w, cases[i].members);
        fold(w);
        set_row(row(w, 1), cases[i].row);
        bool is_good = placement_check(&w->table, w->members, w->count, &why);
        assert_int_equal(is_good, cases[i].why == NULL);
        if (cases[i].why != NULL) {
            buf_append(&why, "", 1);
            assert_string_equal((const char *)why.data, cases[i].why);
        }
        buf_free(&why);
    }
}

static void check_refuses_gaps_and_senseless_sizes(void **state)
{
    (void)state;
    struct world *w = world_new(2, 3, 1);
    set_members(w, "++++");
    fold(w);
    struct placement_table t = w->table;
    t.row_count = PARTITIONS_MAX + 1;
    assert_false(placement_check(&t, w->members, w->count, NULL));
    t = w->table;
    t.copies = 0;
    assert_false(placement_check(&t, w->members, w->count, NULL));
    t.copies = REPLICATION_MAX + 1;
    assert_false(placement_check(&t, w->members, w->count, NULL));
    row(w, 0)[3] = row(w, 0)[1];
    row(w, 0)[1] = PLACEMENT_NONE;
    assert_false(placement_check(&w->table, w->members, w->count, NULL));
    row(w, 0)[0] = MEMBERS_MAX + 7;
    assert_false(placement_check(&w->table, w->members, w->count, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_to_nine_equal_nodes_share_evenly),
        cmocka_unit_test(growth_is_even_and_moves_the_least),
        cmocka_unit_test(shrinking_moves_little_more_than_the_least),
        cmocka_unit_test(three_nodes_lead_85_or_86_of_256_rows),
        cmocka_unit_test(
            a_fourth_node_takes_leaders_only_from_those_above_their_part),
        cmocka_unit_test(folding_again_changes_nothing),
        cmocka_unit_test(order_of_members_does_not_matter),
        cmocka_unit_test(next_may_be_now),
        cmocka_unit_test(
            dead_voter_stays_at_the_end_until_somebody_replaces_it),
        cmocka_unit_test(rows_stay_when_nobody_is_eligible),
        cmocka_unit_test(return_before_the_walk_began_moves_nothing),
        cmocka_unit_test(configuration_longer_than_a_row_is_cut_without_moves),
        cmocka_unit_test(full_node_keeps_its_rows_and_gets_no_others),
        cmocka_unit_test(
            replica_above_the_ceiling_stays_if_moving_it_copies_data),
        cmocka_unit_test(number_of_copies_can_be_raised_and_lowered),
        cmocka_unit_test(replicas_are_spread_over_zones),
        cmocka_unit_test(two_zones_cannot_keep_three_copies_apart),
        cmocka_unit_test(load_follows_weight_up_to_one_copy_a_row),
        cmocka_unit_test(zone_gives_the_share_of_a_full_node_to_its_others),
        cmocka_unit_test(a_ring_grows_as_it_did_before),
        cmocka_unit_test(a_ring_shrinks_as_it_did_before),
        cmocka_unit_test(zones_and_weights_look_as_they_did_before),
        cmocka_unit_test(ring_has_one_three_or_five_voters),
        cmocka_unit_test(ring_voters_are_spread_over_zones),
        cmocka_unit_test(ring_voters_are_drawn_without_regard_to_weight),
        cmocka_unit_test(check_says_what_is_wrong_with_a_row),
        cmocka_unit_test(check_refuses_gaps_and_senseless_sizes),
    };
    return cmocka_run_group_tests_name("placement", tests, NULL, NULL) != 0;
}
