/* test_cmd_view.c - what `eddy ring status` finds and `eddy ring wait` waits
 * for, in views of a ring of four nodes that are bent in one place each. */
#include "tests/unit/cmocka_wrap.h"

#include "tests/unit/rings.h"
#include "tools/cmd_view.h"

#define COUNT      4u
#define PARTITIONS 16u
#define COMMIT     90u

/* ---- a view ------------------------------------------------------------ */

/* The group as its row says, led by its first. */
static void lead(struct cmd_view *v, uint32_t group)
{
    struct cmd_view_group *at = &v->groups[group];
    uint32_t count;
    const uint16_t *row = record_row(v->record, group, &count);
    *at = (struct cmd_view_group){.has_leader = true, .leader = row[0]};
    at->g = (struct status_group){.group = group,
                                  .commit = COMMIT,
                                  .last = COMMIT,
                                  .config_index = 5,
                                  .replica_count = count};
    for (uint32_t i = 0; i < count; i++)
        at->g.replicas[i] =
            (struct status_replica){.node = v->record->members[row[i]].node,
                                    .is_voter = true,
                                    .is_live = true,
                                    .match = COMMIT};
}

static void count_leaders(struct cmd_view *v)
{
    for (uint32_t i = 0; i < COUNT; i++)
        v->nodes[i].leaders = 0;
    for (uint32_t g = 1; g < v->record->row_count; g++)
        if (v->groups[g].has_leader)
            v->nodes[v->groups[g].leader].leaders++;
}

/* All answer, and all is well. */
static struct cmd_view *view_of_four(void)
{
    struct cmd_view *v = mem_alloc(sizeof *v);
    v->record = rings_advanced(COUNT, PARTITIONS);
    for (uint32_t i = 0; i < COUNT; i++) {
        struct cmd_view_node *n = &v->nodes[i];
        n->is_asked = n->has_answered = true;
        n->seen_alive = COUNT - 1;
        n->self.version = span_str("0.1.0");
        n->self.map_bytes = 1 << 30;
    }
    for (uint32_t g = 0; g < v->record->row_count; g++) {
        uint32_t count;
        const uint16_t *row = record_row(v->record, g, &count);
        lead(v, g);
        for (uint32_t i = 0; i < count && g > 0; i++)
            v->nodes[row[i]].rows++;
    }
    count_leaders(v);
    return v;
}

/* It does not answer, and has been dead for so long to the others. */
static void kill_node(struct cmd_view *v, uint32_t slot, uint64_t dead_ms)
{
    struct cmd_view_node *n = &v->nodes[slot];
    n->has_answered = false;
    n->seen_alive = dead_ms > 0 ? 0 : COUNT - 1;
    n->seen_dead = dead_ms > 0 ? COUNT - 1 : 0;
    n->dead_ms = dead_ms;
    for (uint32_t g = 0; g < v->record->row_count; g++)
        for (uint32_t i = 0; i < v->groups[g].g.replica_count; i++) {
            struct status_replica *r = &v->groups[g].g.replicas[i];
            if (id_equal(r->node, v->record->members[slot].node))
                r->is_live = false;
        }
}

static const struct cmd_view_finding *find(const struct cmd_view_finding *found,
                                           size_t count, const char *code)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(found[i].code, code) == 0)
            return &found[i];
    return NULL;
}

/* ---- findings ---------------------------------------------------------- */

static void a_healthy_ring_has_no_findings(void **state)
{
    (void)state;
    struct cmd_view *v = view_of_four();
    struct cmd_view_finding found[CMD_VIEW_FINDINGS_MAX];
    assert_int_equal(cmd_view_findings(v, found), 0);
    cmd_view_free(v);
}

static void bend_down(struct cmd_view *v)
{
    kill_node(v, 1, 7000);
}

static void bend_address(struct cmd_view *v)
{
    kill_node(v, 1, 0);
}

static void bend_suspected(struct cmd_view *v)
{
    kill_node(v, 1, 0);
    v->nodes[1].seen_alive = 0;
}

static void bend_leaderless(struct cmd_view *v)
{
    v->groups[3].has_leader = false;
}

static void bend_copies(struct cmd_view *v)
{
    v->groups[3].g.replicas[2].is_voter = false;
}

static void bend_too_few(struct cmd_view *v)
{
    kill_node(v, 1, 7000);
    kill_node(v, 2, 7000);
}

static void bend_full(struct cmd_view *v)
{
    v->nodes[2].self.is_full = true;
}

static void bend_clock(struct cmd_view *v)
{
    v->nodes[2].ahead_ms = 60000;
}

static void bend_version(struct cmd_view *v)
{
    v->nodes[2].self.version = span_str("0.2.0");
}

static void bend_stalled(struct cmd_view *v)
{
    v->transfers = mem_alloc(sizeof *v->transfers);
    v->transfer_count = v->transfer_capacity = 1;
    v->transfers[0].to = 1;
    v->transfers[0].t = (struct status_transfer){
        .group = 3, .state = TRANSFER_STATE_SEGMENTS, .idle_ms = 31000};
}

static void bend_quarantined(struct cmd_view *v)
{
    v->nodes[0].quarantined = 1;
}

static void bend_insecure(struct cmd_view *v)
{
    v->record->is_insecure = true;
}

/* CLI.md: each code, and each says what to do. */
static void each_fault_has_its_code_and_a_remedy(void **state)
{
    (void)state;
    static const struct {
        void (*bend)(struct cmd_view *v);
        const char *code;
        enum cmd_view_level level;
        uint32_t count;
        const char *remedy;
    } rows[] = {
        {bend_down, "NODE_DOWN", VIEW_WARN, 1, "n2: no answer: start eddyd"},
        {bend_suspected, "NODE_DOWN", VIEW_WARN, 1, "start eddyd"},
        {bend_address, "NODE_DOWN", VIEW_WARN, 1, "its client address"},
        {bend_leaderless, "PARTITION_NO_QUORUM", VIEW_ERROR, 1, "ring why"},
        {bend_down, "UNDER_REPLICATED", VIEW_WARN, 0, "start the nodes"},
        {bend_copies, "UNDER_REPLICATED", VIEW_WARN, 1, "are being made"},
        {bend_too_few, "UNDER_REPLICATED", VIEW_WARN, 0, "add others"},
        {bend_too_few, "DOES_NOT_HEAL", VIEW_WARN, 1, "eddyd join"},
        {bend_full, "DISK_LOW", VIEW_WARN, 1, "space"},
        {bend_clock, "CLOCK_SKEW", VIEW_WARN, 1, "n3: clocks up to 1m00s"},
        {bend_version, "VERSION_MIXED", VIEW_WARN, 2, "finish the upgrade"},
        {bend_stalled, "TRANSFER_STALLED", VIEW_WARN, 1, "repair.rate"},
        {bend_quarantined, "QUARANTINED", VIEW_WARN, 1, "report it"},
        {bend_insecure, "INSECURE", VIEW_NOTE, 1, "open cluster"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cmd_view *v = view_of_four();
        struct cmd_view_finding found[CMD_VIEW_FINDINGS_MAX];
        rows[i].bend(v);
        size_t count = cmd_view_findings(v, found);
        const struct cmd_view_finding *f = find(found, count, rows[i].code);
        if (f == NULL)
            fail_msg("%s is not found", rows[i].code);
        assert_int_equal(f->level, rows[i].level);
        assert_true(rows[i].count == 0 || f->count == rows[i].count);
        if (strstr(f->text, rows[i].remedy) == NULL)
            fail_msg("%s does not say '%s': %s", f->code, rows[i].remedy,
                     f->text);
        cmd_view_free(v);
    }
}

static void copies_are_missing_since_the_first_death(void **state)
{
    (void)state;
    struct cmd_view *v = view_of_four();
    struct cmd_view_finding found[CMD_VIEW_FINDINGS_MAX];
    kill_node(v, 1, 7000);
    kill_node(v, 2, 9000);
    size_t count = cmd_view_findings(v, found);
    assert_int_equal(find(found, count, "UNDER_REPLICATED")->since_ms, 9000);
    cmd_view_free(v);
}

/* The odd one out is named, not the three that are right; and a client whose
 * own clock is wrong does not see it. */
static void a_clock_is_off_by_five_seconds_from_most(void **state)
{
    (void)state;
    static const struct {
        int64_t ahead_ms[COUNT];
        uint32_t count;
    } rows[] = {
        {{0, 0, 0, 0}, 0},
        {{90000, 90010, 89990, 90000}, 0},
        {{0, 4999, 0, 0}, 0},
        {{0, 5000, 0, 0}, 1},
        {{90000, 90000, 84999, 90000}, 1},
        {{0, -4999, 4999, 0}, 0},
        {{0, -5000, 5000, 0}, 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cmd_view *v = view_of_four();
        struct cmd_view_finding found[CMD_VIEW_FINDINGS_MAX];
        for (uint32_t k = 0; k < COUNT; k++)
            v->nodes[k].ahead_ms = rows[i].ahead_ms[k];
        size_t count = cmd_view_findings(v, found);
        const struct cmd_view_finding *f = find(found, count, "CLOCK_SKEW");
        assert_int_equal(f == NULL ? 0 : f->count, rows[i].count);
        cmd_view_free(v);
    }
}

/* It comes after half a minute without a byte, names who has waited longest,
 * and goes with the next byte; who waits for its turn is not stalled. */
static void a_transfer_is_stalled_after_half_a_minute(void **state)
{
    (void)state;
    static const struct {
        enum status_transfer_state states[2];
        uint64_t idle_ms[2];
        uint32_t count;
        const char *names;
    } rows[] = {
        {{TRANSFER_STATE_SEGMENTS, TRANSFER_STATE_BLOB}, {29999, 0}, 0, ""},
        {{TRANSFER_STATE_SEGMENTS, TRANSFER_STATE_BLOB},
         {30000, 0},
         1,
         "n2, partition 2"},
        {{TRANSFER_STATE_STORING, TRANSFER_STATE_SWITCHING},
         {30000, 40000},
         2,
         "n3, partition 3"},
        {{TRANSFER_STATE_WAITING, TRANSFER_STATE_BLOB},
         {900000, 30000},
         1,
         "n3, partition 3"},
        {{TRANSFER_STATE_WAITING, TRANSFER_STATE_BLOB}, {900000, 10}, 0, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cmd_view *v = view_of_four();
        struct cmd_view_finding found[CMD_VIEW_FINDINGS_MAX];
        v->transfers = mem_alloc(2 * sizeof *v->transfers);
        v->transfer_count = v->transfer_capacity = 2;
        for (uint16_t k = 0; k < 2; k++) {
            v->transfers[k].to = (uint16_t)(k + 1);
            v->transfers[k].t =
                (struct status_transfer){.group = 3u + k,
                                         .state = rows[i].states[k],
                                         .idle_ms = rows[i].idle_ms[k],
                                         .reason = span_str("it waits")};
        }
        size_t count = cmd_view_findings(v, found);
        const struct cmd_view_finding *f =
            find(found, count, "TRANSFER_STALLED");
        assert_int_equal(f == NULL ? 0 : f->count, rows[i].count);
        assert_true(f == NULL || strstr(f->text, rows[i].names) != NULL);
        cmd_view_free(v);
    }
}

/* ---- settled ----------------------------------------------------------- */

static void bend_silent(struct cmd_view *v)
{
    v->nodes[1].has_answered = false;
}

static void bend_learner(struct cmd_view *v)
{
    struct status_group *g = &v->groups[3].g;
    g->replicas[g->replica_count++] = (struct status_replica){
        .node = rings_id(4), .is_live = true, .match = COMMIT};
}

static void bend_stranger(struct cmd_view *v)
{
    uint32_t count;
    const uint16_t *row = record_row(v->record, 3, &count);
    for (uint16_t slot = 0; slot < COUNT; slot++)
        if (record_rank(v->record, 3, slot) == REPLICAS_MAX)
            v->groups[3].g.replicas[2].node = v->record->members[slot].node;
    assert_int_equal(row[0], v->groups[3].leader);
}

static void bend_lag(struct cmd_view *v)
{
    v->groups[3].g.replicas[1].match = COMMIT - 1;
}

static void bend_fewer(struct cmd_view *v)
{
    v->groups[3].g.replica_count--;
}

static void bend_drain(struct cmd_view *v)
{
    v->record->members[3].wanted = WANTED_DRAINING;
}

static void bend_new(struct cmd_view *v)
{
    v->record->members[3].seen = SEEN_JOINING;
    v->nodes[3].rows = 0;
}

/* `count` groups that others lead by their rows, led by node 1 (slot 0). */
static void usurp(struct cmd_view *v, uint32_t count)
{
    for (uint32_t g = 1; g < v->record->row_count && count > 0; g++) {
        if (v->groups[g].leader == 0)
            continue;
        v->groups[g].leader = 0;
        v->groups[g].g.reason = span_str("n2 was dead");
        count--;
    }
    count_leaders(v);
}

static void bend_leaders(struct cmd_view *v)
{
    usurp(v, 2);
}

/* CLI.md, `ring wait`: what it waits for, one by one. */
static void wait_waits_for_each_of_its_conditions(void **state)
{
    (void)state;
    static const struct {
        void (*bend)(struct cmd_view *v);
        const char *says;
    } rows[] = {
        {bend_silent, "n2 has not answered"},
        {bend_leaderless, "partition 2 has no leader"},
        {bend_learner, "partition 2: n4 is being installed"},
        {bend_stranger, "partition 2 is still on n"},
        {bend_lag, " lags behind by 1"},
        {bend_fewer, "is on 2 nodes, not yet on 3"},
        {bend_drain, "n4 is draining"},
        {bend_new, "n4 has just joined"},
        {bend_leaders, "its share is 4: of one, n2 was dead"},
    };
    struct cmd_view *v = view_of_four();
    char text[256];
    assert_true(cmd_view_is_settled(v, true, text));
    cmd_view_free(v);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        v = view_of_four();
        rows[i].bend(v);
        assert_false(cmd_view_is_settled(v, true, text));
        if (strstr(text, rows[i].says) == NULL)
            fail_msg("'%s' is not said: %s", rows[i].says, text);
        cmd_view_free(v);
    }
}

static void members_that_are_out_are_not_waited_for(void **state)
{
    (void)state;
    struct cmd_view *v = view_of_four();
    char text[256];
    /* The fold has given its rows to others. */
    record_see(v->record, 3, SEEN_OUT, T0);
    record_advance(v->record, T0);
    for (uint32_t g = 0; g < v->record->row_count; g++)
        lead(v, g);
    count_leaders(v);
    v->nodes[3].has_answered = false;
    assert_true(cmd_view_is_settled(v, true, text));
    cmd_view_free(v);
}

static void one_partition_more_than_its_share_may_be_led(void **state)
{
    (void)state;
    struct cmd_view *v = view_of_four();
    char text[256];
    usurp(v, 1);
    assert_true(cmd_view_is_settled(v, true, text));
    usurp(v, 1);
    assert_false(cmd_view_is_settled(v, true, text));
    assert_true(cmd_view_is_settled(v, false, text));
    cmd_view_free(v);
}

/* ---- who tells a configuration ----------------------------------------- */

/* Node `slot` says that group 3 is on the first `count` nodes, as of entry
 * `index`. */
static void tell(struct cmd_view *v, uint32_t slot, uint32_t count,
                 uint64_t index)
{
    struct cmd_view_node *n = &v->nodes[slot];
    struct status self = {.name = span_str("n"), .version = span_str("0")};
    struct status_group g = {
        .group = 3, .config_index = index, .replica_count = count};
    for (uint32_t i = 0; i < count; i++)
        g.replicas[i] = (struct status_replica){.node = rings_id(i + 1)};
    status_write(&n->bytes, &self);
    status_write_group(&n->bytes, &g);
    assert_int_equal(status_read(span_buf(&n->bytes), &n->self), ERR_OK);
}

static void without_a_leader_the_newest_configuration_counts(void **state)
{
    (void)state;
    struct cmd_view *v = view_of_four();
    struct status_group g;
    tell(v, 0, 2, 7);
    tell(v, 1, 3, 9);
    tell(v, 2, 4, 11);
    v->nodes[2].has_answered = false;
    assert_true(cmd_view_config(v, 3, &g)); /* the leader's word */
    assert_int_equal(g.config_index, 5);
    v->groups[3] = (struct cmd_view_group){0};
    assert_true(cmd_view_config(v, 3, &g));
    assert_int_equal(g.replica_count, 3);
    v->groups[4] = (struct cmd_view_group){0};
    assert_false(cmd_view_config(v, 4, &g));
    cmd_view_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test(name)
        T(a_healthy_ring_has_no_findings),
        T(each_fault_has_its_code_and_a_remedy),
        T(copies_are_missing_since_the_first_death),
        T(a_clock_is_off_by_five_seconds_from_most),
        T(a_transfer_is_stalled_after_half_a_minute),
        T(wait_waits_for_each_of_its_conditions),
        T(members_that_are_out_are_not_waited_for),
        T(one_partition_more_than_its_share_may_be_led),
        T(without_a_leader_the_newest_configuration_counts),
#undef T
    };
    return cmocka_run_group_tests_name("cmd_view", tests, NULL, NULL) != 0;
}
