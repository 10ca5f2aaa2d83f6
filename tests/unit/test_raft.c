/* test_raft.c - ring/raft.h: elections, following, the log. Leading is in
 * test_raft_lead.c, random histories in test_raft_random.c. */
#include "tests/unit/cmocka_wrap.h"

#include "ring/raft.h"
#include "ring/rule.h"
#include "tests/unit/raft_rig.h"

static struct rig g;

static int teardown(void **state)
{
    (void)state;
    rig_free(&g);
    rule_turn_all_on();
    return 0;
}

static struct raft *machine(size_t node)
{
    return g.nodes[node].r;
}

/* ---- elections --------------------------------------------------------- */

static void assert_one_leader(void)
{
    size_t leader = rig_leader(&g);
    assert_true(leader < RIG_NODES);
    for (size_t i = 0; i < g.config.count; i++) {
        assert_int_equal(raft_role(machine(i)),
                         i == leader ? RAFT_LEADER : RAFT_FOLLOWER);
        assert_true(
            replica_equal(raft_leader(machine(i)), rig_replica(leader)));
        assert_int_equal(raft_term(machine(i)), raft_term(machine(leader)));
    }
}

static void three_and_five_nodes_elect_one_leader(void **state)
{
    (void)state;
    for (uint32_t voters = 3; voters <= 5; voters += 2) {
        rig_init(&g, voters, 0);
        rig_start_all(&g);
        rig_run(&g, RIG_T + RIG_BEAT);
        assert_one_leader();
        assert_true(raft_is_ready(machine(rig_leader(&g))));
        rig_free(&g);
    }
    rig_init(&g, 1, 0);
}

static void two_of_five_elect_nobody(void **state)
{
    (void)state;
    rig_init(&g, 5, 0);
    rig_start(&g, 0);
    rig_start(&g, 1);
    rig_run(&g, 20 * RIG_T);
    assert_int_equal(rig_leader(&g), RIG_NODES);
    assert_int_equal(raft_term(machine(0)), 0);
}

static void ranks_order_the_timeouts(void **state)
{
    (void)state;
    static const uint64_t expected[] = {100, 150, 200, 250, 300, 300, 300};
    rig_init(&g, 7, 0);
    for (size_t i = 0; i < 7; i++) {
        rig_start(&g, i);
        raft_set_rank(machine(i), i == 6 ? REPLICAS_MAX : (uint32_t)i);
        raft_step_down(machine(i), g.now); /* draw with that rank */
        assert_int_equal(raft_deadline(machine(i)), g.now + expected[i]);
    }
    uint64_t begin = g.now;
    for (size_t i = 0; i < 7; i++) {
        rig_tick(&g, i, begin + expected[i] - 1);
        assert_int_equal(raft_role(machine(i)), RAFT_FOLLOWER);
        rig_tick(&g, i, begin + expected[i]);
        assert_int_equal(raft_role(machine(i)), RAFT_PRE_CANDIDATE);
        g.now = begin;
    }
}

static void leadership_lands_at_the_next_rank(void **state)
{
    (void)state;
    rig_init(&g, 3, 0);
    rig_start_all(&g);
    rig_run(&g, 2 * RIG_T);
    assert_int_equal(rig_leader(&g), 0);
    rig_crash(&g, 0);
    rig_run(&g, 2 * RIG_T);
    assert_int_equal(rig_leader(&g), 1);
}

static void sole_voter_waits_for_nothing_but_its_own_vote(void **state)
{
    (void)state;
    rig_init(&g, 1, 0);
    rig_start(&g, 0);
    assert_int_equal(raft_deadline(machine(0)), g.now);
    rig_tick(&g, 0, g.now);
    assert_int_equal(raft_role(machine(0)), RAFT_CANDIDATE);
    rig_sync(&g, 0);
    assert_int_equal(raft_role(machine(0)), RAFT_LEADER);
    assert_false(raft_is_ready(machine(0)));
    rig_sync(&g, 0);
    assert_true(raft_is_ready(machine(0)));
}

static void own_vote_counts_only_once_durable(void **state)
{
    (void)state;
    rig_init(&g, 3, 0);
    rig_start(&g, 0);
    raft_campaign(machine(0), g.now);
    rig_drain(&g, 0);
    struct raft_msg vote = rig_msg(RAFT_VOTE_REPLY, 1, 0, 1);
    vote.granted = true;
    rig_recv(&g, 0, vote);
    assert_int_equal(raft_role(machine(0)), RAFT_CANDIDATE);
    rig_sync(&g, 0);
    assert_int_equal(raft_role(machine(0)), RAFT_LEADER);
}

static void prevote_raises_no_term(void **state)
{
    (void)state;
    rig_init(&g, 3, 0);
    rig_start_all(&g);
    rig_run(&g, 2 * RIG_T);
    g.nodes[2].is_cut = true;
    rig_run(&g, 10 * RIG_T);
    assert_int_equal(raft_role(machine(2)), RAFT_PRE_CANDIDATE);
    assert_true(id_is_zero(raft_leader(machine(2)).node));
    assert_int_equal(raft_term(machine(2)), 1);
    g.nodes[2].is_cut = false;
    rig_run(&g, RIG_T);
    assert_one_leader();
    assert_int_equal(raft_term(machine(0)), 1);
}

/* ---- votes ------------------------------------------------------------- */

static struct raft_msg vote_request(enum raft_msg_kind kind, size_t from,
                                    size_t to, uint64_t term,
                                    uint64_t last_index, uint64_t last_term)
{
    struct raft_msg msg = rig_msg(kind, from, to, term);
    msg.last_index = last_index;
    msg.last_term = last_term;
    return msg;
}

/* The answer of node 0 to a (pre-)vote of node `from`. */
static bool is_granted(struct raft_msg msg, size_t from)
{
    enum raft_msg_kind reply =
        msg.kind == RAFT_VOTE ? RAFT_VOTE_REPLY : RAFT_PREVOTE_REPLY;
    rig_clear(&g, 0);
    rig_recv(&g, 0, msg);
    rig_sync(&g, 0);
    const struct raft_msg *sent = rig_sent(&g, 0, reply, from);
    return sent != NULL && sent->granted;
}

static void vote_is_refused_when_log_is_behind(void **state)
{
    (void)state;
    static const struct {
        uint64_t index, term;
        bool is_current;
    } logs[] = {{3, 2, true}, {4, 2, true},  {2, 2, false},
                {1, 3, true}, {9, 1, false}, {0, 0, false}};
    static const enum raft_msg_kind kinds[] = {RAFT_PREVOTE, RAFT_VOTE};
    for (size_t k = 0; k < 2; k++) {
        rig_init(&g, 3, 0);
        rig_log(&g, 0, (const uint64_t[]){1, 1, 2}, 3);
        rig_start(&g, 0);
        uint64_t term = 5;
        for (size_t i = 0; i < sizeof logs / sizeof logs[0]; i++) {
            struct raft_msg msg = vote_request(kinds[k], 1, 0, term++,
                                               logs[i].index, logs[i].term);
            assert_int_equal(is_granted(msg, 1), logs[i].is_current);
        }
        rig_free(&g);
    }
    rig_init(&g, 1, 0);
}

static void one_vote_a_term_and_again_for_the_same(void **state)
{
    (void)state;
    rig_init(&g, 3, 0);
    rig_start(&g, 0);
    assert_true(is_granted(vote_request(RAFT_VOTE, 1, 0, 3, 0, 0), 1));
    assert_false(is_granted(vote_request(RAFT_VOTE, 2, 0, 3, 9, 2), 2));
    assert_true(is_granted(vote_request(RAFT_VOTE, 1, 0, 3, 0, 0), 1));
    assert_true(is_granted(vote_request(RAFT_VOTE, 2, 0, 4, 0, 0), 2));
}

static void vote_leaves_only_once_durable(void **state)
{
    (void)state;
    rig_init(&g, 3, 0);
    rig_start(&g, 0);
    rig_recv(&g, 0, vote_request(RAFT_VOTE, 1, 0, 3, 0, 0));
    assert_null(rig_sent(&g, 0, RAFT_VOTE_REPLY, 1));
    /* Lost with the vote, it may be given to another. */
    rig_crash(&g, 0);
    rig_start(&g, 0);
    rig_recv(&g, 0, vote_request(RAFT_VOTE, 2, 0, 3, 0, 0));
    rig_sync(&g, 0);
    assert_true(rig_sent(&g, 0, RAFT_VOTE_REPLY, 2)->granted);
    /* Sent, it holds after a restart. */
    rig_crash(&g, 0);
    rig_start(&g, 0);
    assert_false(is_granted(vote_request(RAFT_VOTE, 1, 0, 3, 0, 0), 1));
    assert_true(is_granted(vote_request(RAFT_VOTE, 2, 0, 3, 0, 0), 2));
}

static void no_message_leaks_a_term_before_it_is_durable(void **state)
{
    (void)state;
    rig_init(&g, 3, 0);
    rig_start(&g, 0);
    rig_recv(&g, 0, rig_msg(RAFT_HEARTBEAT, 1, 0, 7));
    assert_int_equal(raft_term(machine(0)), 7);
    assert_int_equal(g.nodes[0].sent_count, 0);
    rig_sync(&g, 0);
    assert_int_equal(rig_sent(&g, 0, RAFT_HEARTBEAT_REPLY, 1)->term, 7);
}

static void newest_reply_of_a_kind_waits_for_the_gate(void **state)
{
    (void)state;
    rig_init(&g, 3, 0);
    rig_start(&g, 0);
    for (uint64_t round = 1; round <= 1000; round++) {
        struct raft_msg msg = rig_msg(RAFT_HEARTBEAT, 1, 0, 7);
        msg.round = round;
        rig_recv(&g, 0, msg);
    }
    rig_sync(&g, 0);
    assert_int_equal(g.nodes[0].sent_count, 1);
    assert_int_equal(rig_sent(&g, 0, RAFT_HEARTBEAT_REPLY, 1)->round, 1000);
}

static void follower_of_a_live_leader_ignores_candidates(void **state)
{
    (void)state;
    rig_init(&g, 3, 0);
    rig_start(&g, 0);
    rig_recv(&g, 0, rig_msg(RAFT_HEARTBEAT, 1, 0, 3));
    g.now += RIG_T - 1;
    assert_false(is_granted(vote_request(RAFT_PREVOTE, 2, 0, 4, 9, 9), 2));
    assert_false(is_granted(vote_request(RAFT_VOTE, 2, 0, 4, 9, 9), 2));
    assert_int_equal(raft_term(machine(0)), 3);
    g.now += 1;
    assert_true(is_granted(vote_request(RAFT_PREVOTE, 2, 0, 4, 9, 9), 2));
    assert_int_equal(raft_term(machine(0)), 3);
    assert_true(is_granted(vote_request(RAFT_VOTE, 2, 0, 4, 9, 9), 2));
    assert_int_equal(raft_term(machine(0)), 4);
}

static void hand_over_passes_a_live_leader(void **state)
{
    (void)state;
    rig_init(&g, 3, 0);
    rig_start(&g, 0);
    rig_recv(&g, 0, rig_msg(RAFT_HEARTBEAT, 1, 0, 3));
    struct raft_msg msg = vote_request(RAFT_VOTE, 2, 0, 4, 9, 9);
    msg.is_transfer = true;
    assert_true(is_granted(msg, 2));
}

static void lower_term_is_answered_with_the_own(void **state)
{
    (void)state;
    static const enum raft_msg_kind pairs[][2] = {
        {RAFT_APPEND, RAFT_APPEND_REPLY},
        {RAFT_HEARTBEAT, RAFT_HEARTBEAT_REPLY},
        {RAFT_VOTE, RAFT_VOTE_REPLY},
        {RAFT_PREVOTE, RAFT_PREVOTE_REPLY}};
    rig_init(&g, 3, 0);
    g.nodes[0].hard.term = 9;
    rig_start(&g, 0);
    for (size_t i = 0; i < 4; i++) {
        rig_recv(&g, 0, vote_request(pairs[i][0], 1, 0, 8, 99, 8));
        const struct raft_msg *sent = rig_sent(&g, 0, pairs[i][1], 1);
        assert_non_null(sent);
        assert_false(sent->granted);
        assert_int_equal(sent->term, 9);
    }
    assert_true(id_is_zero(raft_leader(machine(0)).node));
}

static void replica_stuck_at_a_higher_term_is_freed(void **state)
{
    (void)state;
    rig_init(&g, 3, 0);
    rig_start_all(&g);
    rig_run(&g, 2 * RIG_T);
    rig_crash(&g, 2);
    g.nodes[2].hard.term = 50;
    rig_start(&g, 2);
    rig_run(&g, 5 * RIG_T);
    assert_one_leader();
    assert_true(raft_term(machine(0)) >= 50);
}

static void learner_votes_but_does_not_stand(void **state)
{
    (void)state;
    rig_init(&g, 1, 1);
    rig_start(&g, 1);
    rig_run(&g, 10 * RIG_T);
    assert_int_equal(raft_role(machine(1)), RAFT_FOLLOWER);
    rig_recv(&g, 1, vote_request(RAFT_VOTE, 0, 1, 5, 9, 9));
    rig_sync(&g, 1);
    assert_true(rig_sent(&g, 1, RAFT_VOTE_REPLY, 0)->granted);
}

static void votes_of_learners_are_not_counted(void **state)
{
    (void)state;
    rig_init(&g, 3, 2);
    rig_start(&g, 0);
    raft_campaign(machine(0), g.now);
    rig_drain(&g, 0);
    rig_sync(&g, 0);
    assert_null(rig_sent(&g, 0, RAFT_VOTE, 3));
    for (size_t from = 3; from <= 4; from++) {
        struct raft_msg vote = rig_msg(RAFT_VOTE_REPLY, from, 0, 1);
        vote.granted = true;
        rig_recv(&g, 0, vote);
    }
    assert_int_equal(raft_role(machine(0)), RAFT_CANDIDATE);
}

static void replica_that_has_ended_is_silent_for_ever(void **state)
{
    (void)state;
    rig_init(&g, 3, 0);
    rig_start_all(&g);
    rig_run(&g, 2 * RIG_T);
    size_t leader = rig_leader(&g);
    uint64_t index = rig_propose(&g, leader);
    rig_settle(&g);
    for (size_t i = 0; i < 3; i++) {
        raft_end(machine(i), false, g.now);
        raft_check(machine(i));
    }
    uint64_t term = raft_term(machine(leader));
    rig_run(&g, 20 * RIG_T);
    for (size_t i = 0; i < 3; i++) {
        rig_clear(&g, i);
        rig_recv(&g, i,
                 vote_request(RAFT_VOTE, (i + 1) % 3, i, term + 9, 9, 9));
        rig_sync(&g, i);
        assert_int_equal(raft_role(machine(i)), RAFT_FOLLOWER);
        assert_int_equal(raft_term(machine(i)), term);
        assert_null(rig_sent(&g, i, RAFT_VOTE_REPLY, (i + 1) % 3));
        assert_int_equal(raft_commit(machine(i)), index);
    }
    assert_int_equal(rig_propose(&g, leader), 0);
}

static void founder_takes_all_of_its_log_for_committed(void **state)
{
    (void)state;
    static const uint64_t terms[] = {1, 1, 2, 2};
    rig_init(&g, 3, 0);
    rig_log(&g, 0, terms, 4);
    rig_start(&g, 0);
    assert_true(raft_commit(machine(0)) < 4);
    raft_end(machine(0), true, g.now);
    raft_check(machine(0));
    assert_int_equal(raft_commit(machine(0)), 4);
    assert_int_equal(raft_applicable(machine(0)), 4);
}

static void stalled_disk_does_not_stand(void **state)
{
    (void)state;
    rig_init(&g, 3, 0);
    rig_start(&g, 0);
    raft_set_stalled(machine(0), true);
    rig_run(&g, 5 * RIG_T);
    assert_int_equal(raft_role(machine(0)), RAFT_FOLLOWER);
    raft_set_stalled(machine(0), false);
    rig_run(&g, RIG_T);
    assert_int_equal(raft_role(machine(0)), RAFT_PRE_CANDIDATE);
}

/* ---- pairs ------------------------------------------------------------- */

static void message_of_another_pair_is_dropped(void **state)
{
    (void)state;
    rig_init(&g, 3, 0);
    rig_start(&g, 0);
    struct raft_msg msg = rig_msg(RAFT_HEARTBEAT, 1, 0, 3);
    msg.to.added = 2; /* to another life of this node */
    rig_recv(&g, 0, msg);
    msg.to = rig_replica(0);
    msg.from.added = 0; /* from a former life */
    rig_recv(&g, 0, msg);
    msg.from = rig_replica(0); /* from itself */
    rig_recv(&g, 0, msg);
    assert_int_equal(raft_term(machine(0)), 0);
    assert_int_equal(raft_dropped(machine(0)), 3);
    msg.from = rig_replica(1);
    msg.from.added = 77; /* a later life than this log knows of */
    rig_recv(&g, 0, msg);
    assert_int_equal(raft_term(machine(0)), 3);
}

static void senseless_append_is_dropped(void **state)
{
    (void)state;
    rig_init(&g, 3, 0);
    rig_start(&g, 0);
    struct raft_msg msg = {.term = 3, .prev_index = 0, .prev_term = 0};
    rig_append(&g, 1, 0, msg, (const uint64_t[]){2, 1}, 2); /* terms fall */
    rig_append(&g, 1, 0, msg, (const uint64_t[]){4}, 1);    /* from later */
    rig_append(&g, 1, 0, msg, (const uint64_t[]){0, 1}, 2); /* from never */
    msg.term = 0;
    rig_append(&g, 1, 0, msg, NULL, 0);
    msg.term = 3;
    msg.prev_index = UINT64_MAX;
    rig_append(&g, 1, 0, msg, (const uint64_t[]){3}, 1);
    struct item *gap = rig_item(&g, 5, 3);
    msg = rig_msg(RAFT_APPEND, 1, 0, 3);
    msg.items = &gap;
    msg.item_count = 1;
    rig_recv(&g, 0, msg);
    item_unref(&g.pool, gap);
    assert_int_equal(raft_dropped(machine(0)), 6);
    assert_int_equal(raft_last(machine(0)), 0);
}

static void term_that_has_no_successor_is_dropped(void **state)
{
    (void)state;
    rig_init(&g, 3, 0);
    rig_start(&g, 0);
    rig_recv(&g, 0, rig_msg(RAFT_HEARTBEAT, 1, 0, UINT64_MAX));
    rig_recv(&g, 0, rig_msg(RAFT_VOTE_REPLY, 1, 0, UINT64_MAX - 1));
    assert_int_equal(raft_dropped(machine(0)), 2);
    assert_int_equal(raft_term(machine(0)), 0);
    raft_campaign(machine(0), g.now); /* it still can */
    assert_int_equal(raft_term(machine(0)), 1);
}

/* ---- following --------------------------------------------------------- */

static const struct raft_msg *append_reply(size_t to)
{
    return rig_sent(&g, 0, RAFT_APPEND_REPLY, to);
}

static void acknowledgement_names_only_what_is_durable(void **state)
{
    (void)state;
    rig_init(&g, 3, 0);
    g.nodes[0].hard.term = 1;
    rig_start(&g, 0);
    struct raft_msg msg = {.term = 1, .round = 4};
    rig_append(&g, 1, 0, msg, (const uint64_t[]){1, 1, 1}, 3);
    /* At once, so that the leader stops probing; nothing is claimed. */
    assert_true(append_reply(1)->granted);
    assert_int_equal(append_reply(1)->match, 0);
    rig_clear(&g, 0);
    msg.prev_index = 3;
    msg.prev_term = 1;
    uint64_t before = g.nodes[0].log_write;
    rig_append(&g, 1, 0, msg, (const uint64_t[]){1, 1}, 2);
    assert_null(append_reply(1));
    raft_durable(machine(0), 0, before);
    rig_drain(&g, 0);
    assert_int_equal(append_reply(1)->match, 3);
    assert_int_equal(append_reply(1)->round, 4);
    rig_sync(&g, 0);
    assert_int_equal(append_reply(1)->match, 5);
    assert_int_equal(raft_durable_index(machine(0)), 5);
}

static void old_or_short_append_does_not_truncate(void **state)
{
    (void)state;
    rig_init(&g, 3, 0);
    rig_log(&g, 0, (const uint64_t[]){1, 1, 2, 2, 2}, 5);
    rig_start(&g, 0);
    struct raft_msg msg = {.term = 2, .prev_index = 1, .prev_term = 1};
    rig_append(&g, 1, 0, msg, (const uint64_t[]){1, 2}, 2);
    rig_append(&g, 1, 0, msg, NULL, 0);
    assert_int_equal(raft_last(machine(0)), 5);
    assert_int_equal(g.nodes[0].truncated_at, 0);
    assert_int_equal(append_reply(1)->match, 3);
}

static void conflict_truncates_from_where_it_begins(void **state)
{
    (void)state;
    rig_init(&g, 3, 0);
    rig_log(&g, 0, (const uint64_t[]){1, 1, 2, 2, 2}, 5);
    rig_start(&g, 0);
    struct raft_msg msg = {.term = 3, .prev_index = 1, .prev_term = 1};
    rig_append(&g, 1, 0, msg, (const uint64_t[]){1, 2, 3}, 3);
    assert_int_equal(raft_last(machine(0)), 4);
    assert_int_equal(raft_term_at(machine(0), 4), 3);
    assert_int_equal(g.nodes[0].truncated_at, 4);
    assert_int_equal(raft_durable_index(machine(0)), 3);
    rig_sync(&g, 0);
    assert_int_equal(append_reply(1)->match, 4);
    assert_int_equal(g.nodes[0].last, 4);
}

static void append_that_would_change_the_committed_is_dropped(void **state)
{
    (void)state;
    rig_init(&g, 3, 0);
    rig_log(&g, 0, (const uint64_t[]){1, 1, 2, 2}, 4);
    g.nodes[0].applied = 3;
    rig_start(&g, 0);
    struct raft_msg msg = {.term = 3, .prev_index = 1, .prev_term = 1};
    rig_append(&g, 1, 0, msg, (const uint64_t[]){1, 3}, 2);
    assert_int_equal(raft_dropped(machine(0)), 1);
    assert_int_equal(raft_last(machine(0)), 4);
    /* What ends below the commit index is matched up to it. */
    rig_append(&g, 1, 0, msg, (const uint64_t[]){1}, 1);
    rig_sync(&g, 0);
    assert_int_equal(append_reply(1)->match, 3);
}

static void gap_and_mismatch_are_refused_with_a_hint(void **state)
{
    (void)state;
    rig_init(&g, 3, 0);
    rig_log(&g, 0, (const uint64_t[]){1, 1, 2, 2, 4}, 5);
    rig_start(&g, 0);
    static const struct {
        uint64_t prev, term, hint, hint_term;
    } probes[] = {
        {9, 6, 5, 4}, {9, 3, 4, 2}, {5, 3, 4, 2}, {3, 1, 2, 1}, {4, 3, 4, 2}};
    for (size_t i = 0; i < sizeof probes / sizeof probes[0]; i++) {
        rig_append(&g, 1, 0,
                   (struct raft_msg){.term = 6,
                                     .prev_index = probes[i].prev,
                                     .prev_term = probes[i].term},
                   NULL, 0);
        rig_sync(&g, 0);
        const struct raft_msg *reply = append_reply(1);
        assert_false(reply->granted);
        assert_int_equal(reply->prev_index, probes[i].prev);
        assert_int_equal(reply->hint_index, probes[i].hint);
        assert_int_equal(reply->hint_term, probes[i].hint_term);
    }
    assert_int_equal(raft_last(machine(0)), 5);
}

static void commit_of_an_append_ends_with_what_it_matched(void **state)
{
    (void)state;
    rig_init(&g, 3, 0);
    rig_log(&g, 0, (const uint64_t[]){1, 1, 1, 1}, 4);
    rig_start(&g, 0);
    struct raft_msg msg = {
        .term = 2, .prev_index = 1, .prev_term = 1, .commit = 4};
    rig_append(&g, 1, 0, msg, (const uint64_t[]){1}, 1);
    assert_int_equal(raft_commit(machine(0)), 2);
}

static void applicable_ends_with_what_is_durable(void **state)
{
    (void)state;
    rig_init(&g, 3, 0);
    rig_start(&g, 0);
    struct raft_msg msg = {.term = 1, .commit = 2};
    rig_append(&g, 1, 0, msg, (const uint64_t[]){1, 1}, 2);
    assert_int_equal(raft_commit(machine(0)), 2);
    assert_int_equal(raft_applicable(machine(0)), 0);
    rig_sync(&g, 0);
    assert_int_equal(raft_applicable(machine(0)), 2);
}

/* ---- the log of a group ------------------------------------------------ */

static const uint64_t figure_7_leader[] = {1, 1, 1, 4, 4, 5, 5, 6, 6, 6};
static const struct {
    uint64_t terms[16];
    size_t count;
} figure_7[] = {
    {{1, 1, 1, 4, 4, 5, 5, 6, 6}, 9},           /* a: misses one */
    {{1, 1, 1, 4}, 4},                          /* b: misses many */
    {{1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6}, 11},    /* c: one too many */
    {{1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7}, 12}, /* d: two of a later term */
    {{1, 1, 1, 4, 4, 4, 4}, 7},                 /* e: both */
    {{1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3}, 11},    /* f: both, two terms */
};

/* Paper, figure 7: whatever the follower's log, it becomes the leader's. */
static void figure_7_follower_is_repaired(void **state)
{
    size_t which = (size_t)(uintptr_t)*state;
    rig_init(&g, 2, 1);
    rig_log(&g, 0, figure_7_leader, 10);
    g.nodes[0].hard.term = 7;
    rig_log(&g, 2, figure_7[which].terms, figure_7[which].count);
    rig_start(&g, 0);
    rig_start(&g, 2); /* the learner does not vote, so it is not asked */
    rig_lead(&g, 0, false);
    assert_int_equal(raft_term(machine(0)), 8);
    g.appends = 0;
    rig_settle(&g);
    assert_int_equal(raft_last(machine(2)), 11);
    for (uint64_t i = 1; i <= 11; i++)
        assert_int_equal(raft_term_at(machine(2), i),
                         raft_term_at(machine(0), i));
    /* The hint skips a term at a time. */
    assert_true(g.appends <= 5);
}

/* Paper, figure 8: S1's entry of term 2 is on a majority in term 4, and is
 * not committed by that; S5 may still overwrite it (d), unless an entry of
 * term 4 is on a majority too (e). */
static void figure_8_old_entry_on_a_majority_is_not_committed(void **state)
{
    (void)state;
    rig_init(&g, 5, 0);
    rig_log(&g, 0, (const uint64_t[]){1, 2}, 2);
    g.nodes[0].hard.term = 3;
    rig_start(&g, 0);
    rig_lead(&g, 0, false);
    assert_int_equal(raft_term(machine(0)), 4);
    rig_ack(&g, 1, 0, 2);
    rig_ack(&g, 2, 0, 2);
    assert_int_equal(raft_commit(machine(0)), 0);
    rig_ack(&g, 1, 0, 3);
    assert_int_equal(raft_commit(machine(0)), 0);
    rig_ack(&g, 2, 0, 3);
    assert_int_equal(raft_commit(machine(0)), 3);
}

static void deposed_leaders_tail_is_overwritten(void **state)
{
    (void)state;
    rig_init(&g, 3, 0);
    rig_start_all(&g);
    rig_run(&g, 2 * RIG_T);
    g.nodes[0].is_cut = true;
    assert_int_equal(rig_propose(&g, 0), 2);
    assert_int_equal(rig_propose(&g, 0), 3);
    rig_run(&g, 5 * RIG_T);
    assert_int_equal(raft_role(machine(0)), RAFT_PRE_CANDIDATE);
    size_t leader = rig_leader(&g);
    assert_true(leader == 1 || leader == 2);
    rig_propose(&g, leader);
    g.nodes[0].is_cut = false;
    rig_run(&g, 2 * RIG_T);
    assert_one_leader();
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(raft_commit(machine(i)), 3);
        assert_int_equal(raft_term_at(machine(i), 2), 2);
    }
}

static void restart_loses_only_what_was_not_synced(void **state)
{
    (void)state;
    rig_init(&g, 1, 0);
    rig_start(&g, 0);
    rig_lead(&g, 0, true);
    rig_propose(&g, 0);
    rig_sync(&g, 0);
    rig_propose(&g, 0);
    assert_int_equal(raft_last(machine(0)), 3);
    rig_crash(&g, 0);
    rig_start(&g, 0);
    assert_int_equal(raft_last(machine(0)), 2);
    assert_int_equal(raft_durable_index(machine(0)), 2);
    assert_int_equal(raft_term(machine(0)), 1);
    assert_int_equal(raft_commit(machine(0)), 0);
    rig_run(&g, RIG_T);
    assert_int_equal(raft_commit(machine(0)), 3); /* with its new no-op */
}

static void truncated_configuration_is_rolled_back(void **state)
{
    (void)state;
    rig_init(&g, 3, 0);
    rig_start(&g, 1);
    struct config c = g.config;
    c.members[c.count++] = (struct config_member){{{{9}}, 2}, false};
    struct buf manifest = {0};
    entry_build_config(&manifest, (struct entry_stamp){.level = LEVEL_NOW}, &c);
    entry_number(manifest.data, 2, 1);
    struct item *items[] = {rig_item(&g, 1, 1),
                            item_new(&g.pool, span_buf(&manifest), NULL, 0)};
    struct raft_msg msg = rig_msg(RAFT_APPEND, 0, 1, 1);
    msg.items = items;
    msg.item_count = 2;
    msg.commit = 1;
    rig_recv(&g, 1, msg);
    assert_int_equal(raft_config(machine(1))->index, 2); /* when appended */
    assert_int_equal(raft_config(machine(1))->count, 4);
    assert_int_equal(raft_committed_config(machine(1))->index, 0);
    rig_append(&g, 2, 1,
               (struct raft_msg){.term = 2, .prev_index = 1, .prev_term = 1},
               (const uint64_t[]){2}, 1);
    assert_int_equal(raft_config(machine(1))->index, 0);
    assert_int_equal(raft_config(machine(1))->count, 3);
    item_unref(&g.pool, items[0]);
    item_unref(&g.pool, items[1]);
    buf_free(&manifest);
}

static void log_is_cut_and_trimmed_where_it_is_applied(void **state)
{
    (void)state;
    rig_init(&g, 1, 0);
    rig_log(&g, 0, (const uint64_t[]){1, 1, 2, 2, 3}, 5);
    rig_start(&g, 0);
    rig_lead(&g, 0, true);
    assert_int_equal(raft_commit(machine(0)), 6);
    size_t all = raft_cache_bytes(machine(0));
    assert_int_equal(raft_trim_cache(machine(0), 0), all);
    raft_applied(machine(0), 4);
    assert_null(raft_cached(machine(0), 4));
    assert_non_null(raft_cached(machine(0), 5));
    assert_true(raft_cache_bytes(machine(0)) < all);
    assert_int_equal(raft_term_at(machine(0), 4), 2);
    raft_cut(machine(0), 3);
    assert_int_equal(raft_base(machine(0)), 3);
    assert_int_equal(raft_term_at(machine(0), 3), 2);
    assert_int_equal(raft_term_at(machine(0), 2), 0);
    assert_int_equal(raft_term_at(machine(0), 4), 2);
    assert_int_equal(raft_term_at(machine(0), 5), 3);
    raft_check(machine(0));
}

#define CASE(test) cmocka_unit_test_teardown(test, teardown)
#define FIGURE_7(letter, number)                                               \
    {                                                                          \
        "figure_7_follower_" letter "_is_repaired",                            \
            figure_7_follower_is_repaired, NULL, teardown,                     \
            (void *)(uintptr_t)(number)                                        \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(three_and_five_nodes_elect_one_leader),
        CASE(two_of_five_elect_nobody),
        CASE(ranks_order_the_timeouts),
        CASE(leadership_lands_at_the_next_rank),
        CASE(sole_voter_waits_for_nothing_but_its_own_vote),
        CASE(own_vote_counts_only_once_durable),
        CASE(prevote_raises_no_term),
        CASE(vote_is_refused_when_log_is_behind),
        CASE(one_vote_a_term_and_again_for_the_same),
        CASE(vote_leaves_only_once_durable),
        CASE(no_message_leaks_a_term_before_it_is_durable),
        CASE(newest_reply_of_a_kind_waits_for_the_gate),
        CASE(follower_of_a_live_leader_ignores_candidates),
        CASE(hand_over_passes_a_live_leader),
        CASE(lower_term_is_answered_with_the_own),
        CASE(replica_stuck_at_a_higher_term_is_freed),
        CASE(learner_votes_but_does_not_stand),
        CASE(votes_of_learners_are_not_counted),
        CASE(replica_that_has_ended_is_silent_for_ever),
        CASE(founder_takes_all_of_its_log_for_committed),
        CASE(stalled_disk_does_not_stand),
        CASE(message_of_another_pair_is_dropped),
        CASE(senseless_append_is_dropped),
        CASE(term_that_has_no_successor_is_dropped),
        CASE(acknowledgement_names_only_what_is_durable),
        CASE(old_or_short_append_does_not_truncate),
        CASE(conflict_truncates_from_where_it_begins),
        CASE(append_that_would_change_the_committed_is_dropped),
        CASE(gap_and_mismatch_are_refused_with_a_hint),
        CASE(commit_of_an_append_ends_with_what_it_matched),
        CASE(applicable_ends_with_what_is_durable),
        FIGURE_7("a", 0),
        FIGURE_7("b", 1),
        FIGURE_7("c", 2),
        FIGURE_7("d", 3),
        FIGURE_7("e", 4),
        FIGURE_7("f", 5),
        CASE(figure_8_old_entry_on_a_majority_is_not_committed),
        CASE(deposed_leaders_tail_is_overwritten),
        CASE(restart_loses_only_what_was_not_synced),
        CASE(truncated_configuration_is_rolled_back),
        CASE(log_is_cut_and_trimmed_where_it_is_applied),
    };
    return cmocka_run_group_tests_name("raft", tests, NULL, NULL) != 0;
}
