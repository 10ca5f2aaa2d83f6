/* test_raft_lead.c - ring/raft.h: leading. Appends, commit, rounds and reads,
 * members, hand-over, reasons. */
#include "tests/unit/cmocka_wrap.h"

#include <string.h>

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

static struct raft *leader(void)
{
    return g.nodes[0].r;
}

/* Node 0 leads term 1 with its no-op at 1, the only machine that runs. */
static void lead(uint32_t voters, uint32_t learners, bool ready)
{
    rig_init(&g, voters, learners);
    rig_start(&g, 0);
    rig_lead(&g, 0, ready);
}

static const struct raft_progress *follower(size_t node)
{
    const struct raft_progress *p;
    size_t count = raft_followers(leader(), &p);
    for (size_t i = 0; i < count; i++) {
        if (id_equal(p[i].replica.node, rig_replica(node).node))
            return &p[i];
    }
    return NULL;
}

static void refuse(size_t from, uint64_t prev, uint64_t hint,
                   uint64_t hint_term)
{
    struct raft_msg msg = rig_msg(RAFT_APPEND_REPLY, from, 0, 1);
    msg.prev_index = prev;
    msg.hint_index = hint;
    msg.hint_term = hint_term;
    rig_recv(&g, 0, msg);
}

static void answer_round(size_t from, uint64_t round)
{
    struct raft_msg msg =
        rig_msg(RAFT_HEARTBEAT_REPLY, from, 0, raft_term(leader()));
    msg.round = round;
    msg.match = 1; /* the no-op, which lead() has acknowledged */
    rig_recv(&g, 0, msg);
}

/* ---- commit ------------------------------------------------------------ */

static uint64_t slow_quorum_index(const uint64_t *matches, size_t count)
{
    uint64_t best = 0;
    for (size_t i = 0; i < count; i++) {
        size_t reached = 0;
        for (size_t k = 0; k < count; k++)
            reached += matches[k] >= matches[i];
        if (reached > count / 2 && matches[i] > best)
            best = matches[i];
    }
    return best;
}

static void quorum_index_is_what_a_majority_has_reached(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 1);
    assert_int_equal(raft_quorum_index(NULL, 0), 0);
    assert_int_equal(raft_quorum_index((const uint64_t[]){5, 9}, 2), 5);
    assert_int_equal(raft_quorum_index((const uint64_t[]){9, 1, 5}, 3), 5);
    for (size_t i = 0; i < 10000; i++) {
        uint64_t matches[REPLICAS_MAX];
        size_t count = 1 + (size_t)rng_below(&rng, REPLICAS_MAX);
        for (size_t k = 0; k < count; k++)
            matches[k] = rng_below(&rng, 10);
        assert_int_equal(raft_quorum_index(matches, count),
                         slow_quorum_index(matches, count));
    }
}

static void own_entries_count_only_once_durable(void **state)
{
    (void)state;
    lead(3, 0, true);
    assert_int_equal(rig_propose(&g, 0), 2);
    rig_ack(&g, 1, 0, 2);
    assert_int_equal(raft_commit(leader()), 1);
    rig_sync(&g, 0);
    assert_int_equal(raft_commit(leader()), 2);
    /* Without it, if enough others have it (thesis 10.2.1). */
    rig_propose(&g, 0);
    rig_ack(&g, 1, 0, 3);
    rig_ack(&g, 2, 0, 3);
    assert_int_equal(raft_commit(leader()), 3);
    assert_int_equal(raft_applicable(leader()), 2);
}

static void nothing_is_proposed_before_the_own_term_commits(void **state)
{
    (void)state;
    lead(3, 0, false);
    assert_int_equal(rig_propose(&g, 0), 0);
    assert_int_equal(raft_read(leader(), 1, g.now), ERR_UNAVAILABLE);
    uint64_t index;
    assert_int_equal(raft_change(leader(), &g.config, &index), ERR_UNAVAILABLE);
    rig_ack(&g, 1, 0, 1);
    assert_true(raft_is_ready(leader()));
    assert_int_equal(rig_propose(&g, 0), 2);
    assert_true(raft_uncommitted_bytes(leader()) > 0);
    rig_sync(&g, 0);
    rig_ack(&g, 1, 0, 2);
    assert_int_equal(raft_uncommitted_bytes(leader()), 0);
}

static void acknowledgements_of_learners_are_not_counted(void **state)
{
    (void)state;
    lead(3, 2, true);
    rig_propose(&g, 0);
    rig_sync(&g, 0);
    rig_ack(&g, 3, 0, 2);
    rig_ack(&g, 4, 0, 2);
    assert_int_equal(raft_commit(leader()), 1);
    rig_ack(&g, 1, 0, 2);
    assert_int_equal(raft_commit(leader()), 2);
}

static void acknowledgement_of_another_term_or_pair_is_ignored(void **state)
{
    (void)state;
    lead(3, 0, true);
    raft_step_down(leader(), g.now);
    rig_lead(&g, 0, true);
    assert_int_equal(raft_term(leader()), 2);
    assert_int_equal(rig_propose(&g, 0), 3);
    rig_sync(&g, 0);
    struct raft_msg msg = rig_msg(RAFT_APPEND_REPLY, 1, 0, 1);
    msg.granted = true;
    msg.match = 3;
    rig_recv(&g, 0, msg); /* of term 1 */
    msg.term = 2;
    msg.from.added = 0;
    rig_recv(&g, 0, msg); /* of a former life */
    msg.from = rig_replica(6);
    rig_recv(&g, 0, msg); /* of no member */
    msg.from = rig_replica(1);
    msg.match = 4;
    rig_recv(&g, 0, msg); /* beyond the log */
    msg = rig_msg(RAFT_HEARTBEAT_REPLY, 1, 0, 2);
    msg.match = 3;
    rig_recv(&g, 0, msg); /* the end of a log that may differ */
    assert_int_equal(raft_commit(leader()), 2);
    rig_ack(&g, 1, 0, 3);
    assert_int_equal(raft_commit(leader()), 3);
}

/* ---- heartbeats, check-quorum ------------------------------------------ */

static void leader_without_a_quorum_steps_down_at_the_bound(void **state)
{
    (void)state;
    lead(3, 1, true);
    uint64_t heard = g.now;
    for (uint64_t now = heard + 1; now < heard + RIG_T; now++) {
        rig_tick(&g, 0, now);
        answer_round(3, 1); /* a learner's word is no help */
    }
    assert_int_equal(raft_role(leader()), RAFT_LEADER);
    assert_int_equal(raft_deadline(leader()), heard + RIG_T);
    rig_clear(&g, 0);
    rig_tick(&g, 0, heard + RIG_T);
    assert_int_equal(raft_role(leader()), RAFT_FOLLOWER);
    assert_true(id_is_zero(raft_leader(leader()).node));
    assert_int_equal(raft_term(leader()), 1);
    assert_int_equal(g.nodes[0].role_news, 1);
}

static void one_follower_of_two_is_quorum_enough(void **state)
{
    (void)state;
    lead(3, 0, true);
    for (size_t i = 0; i < 10; i++) {
        rig_tick(&g, 0, g.now + RIG_T - 1);
        answer_round(1, 1);
    }
    assert_int_equal(raft_role(leader()), RAFT_LEADER);
}

static void heartbeats_stand_at_multiples(void **state)
{
    (void)state;
    rig_init(&g, 3, 0);
    g.now = 1003;
    rig_start(&g, 0);
    rig_lead(&g, 0, true);
    assert_int_equal(raft_deadline(leader()), 1010);
    rig_tick(&g, 0, 1009);
    assert_null(rig_sent(&g, 0, RAFT_HEARTBEAT, 1));
    rig_tick(&g, 0, 1014);
    assert_non_null(rig_sent(&g, 0, RAFT_HEARTBEAT, 1));
    assert_non_null(rig_sent(&g, 0, RAFT_HEARTBEAT, 2));
    assert_int_equal(raft_deadline(leader()), 1020);
}

static void heartbeats_commit_is_at_most_the_followers_match(void **state)
{
    (void)state;
    lead(3, 0, true);
    rig_propose(&g, 0);
    rig_sync(&g, 0);
    rig_ack(&g, 1, 0, 2);
    rig_tick(&g, 0, g.now + RIG_BEAT);
    assert_int_equal(rig_sent(&g, 0, RAFT_HEARTBEAT, 1)->commit, 2);
    assert_int_equal(rig_sent(&g, 0, RAFT_HEARTBEAT, 2)->commit, 1);
}

/* The follower's heartbeat reply to the newest round but `ago`. */
static void beat_back(size_t from, uint64_t match, uint64_t ago)
{
    struct raft_msg msg = rig_msg(RAFT_HEARTBEAT_REPLY, from, 0, 1);
    msg.match = match;
    msg.round = rig_sent(&g, 0, RAFT_HEARTBEAT, from)->round - ago;
    rig_recv(&g, 0, msg);
}

static void a_log_below_its_acknowledgement_is_lost(void **state)
{
    (void)state;
    lead(3, 0, true);
    rig_tick(&g, 0, g.now + RIG_BEAT);
    rig_propose(&g, 0);
    rig_sync(&g, 0);
    rig_ack(&g, 1, 0, 2);
    /* T15: this round began before the acknowledgement came. */
    beat_back(1, 1, 0);
    assert_false(follower(1)->is_lost);
    rig_tick(&g, 0, g.now + RIG_BEAT);
    beat_back(1, 2, 0);
    assert_false(follower(1)->is_lost);
    beat_back(1, 1, 1); /* an old reply, overtaken */
    assert_false(follower(1)->is_lost);
    rig_tick(&g, 0, g.now + RIG_BEAT);
    beat_back(1, 1, 0);
    assert_true(follower(1)->is_lost);
    assert_int_equal(follower(1)->match, 0);
    assert_false(follower(2)->is_lost);
}

static void what_a_lost_one_acknowledges_does_not_count(void **state)
{
    (void)state;
    lead(3, 0, true);
    rig_tick(&g, 0, g.now + RIG_BEAT);
    beat_back(1, 0, 0); /* before, it had acknowledged the no-op */
    assert_true(follower(1)->is_lost);
    rig_propose(&g, 0);
    rig_sync(&g, 0);
    rig_ack(&g, 1, 0, 2);
    assert_int_equal(raft_commit(leader()), 1);
    assert_null(rig_pull(&g, 0, 1, 1000)); /* nor is it sent anything */
    rig_ack(&g, 2, 0, 2);
    assert_int_equal(raft_commit(leader()), 2);
}

/* It may have forgotten a vote for another leader. */
static void a_lost_one_confirms_no_read(void **state)
{
    (void)state;
    lead(3, 0, true);
    assert_int_equal(raft_read(leader(), 42, g.now), ERR_OK);
    rig_tick(&g, 0, g.now + RIG_BEAT);
    beat_back(1, 0, 0);
    assert_true(follower(1)->is_lost);
    assert_int_equal(g.nodes[0].read_count, 0);
    beat_back(2, 1, 0);
    assert_int_equal(g.nodes[0].read_count, 1);
}

static void stalled_leader_is_silent_and_deposed(void **state)
{
    (void)state;
    lead(3, 0, true);
    uint64_t heard = g.now;
    raft_set_stalled(leader(), true);
    rig_propose(&g, 0);
    assert_null(rig_pull(&g, 0, 1, 1000));
    rig_tick(&g, 0, heard + RIG_T - 1);
    assert_int_equal(g.nodes[0].sent_count, 0);
    rig_tick(&g, 0, heard + RIG_T);
    assert_int_equal(raft_role(leader()), RAFT_FOLLOWER);
}

static void commit_news_leave_at_once(void **state)
{
    (void)state;
    lead(3, 0, true);
    rig_propose(&g, 0);
    rig_sync(&g, 0);
    assert_non_null(rig_pull(&g, 0, 1, 1000));
    rig_ack(&g, 1, 0, 2);
    /* To the one that matches; the other has an append coming. */
    assert_int_equal(rig_sent(&g, 0, RAFT_HEARTBEAT, 1)->commit, 2);
    assert_null(rig_sent(&g, 0, RAFT_HEARTBEAT, 2));
    assert_int_equal(rig_pull(&g, 0, 2, 1000)->commit, 2);
    rig_clear(&g, 0);
    rig_ack(&g, 2, 0, 2); /* that append has told it */
    assert_int_equal(g.nodes[0].sent_count, 0);
}

/* ---- appends ----------------------------------------------------------- */

static void follower_is_probed_until_it_matches(void **state)
{
    (void)state;
    rig_init(&g, 3, 0);
    rig_log(&g, 0, (const uint64_t[]){1, 1, 1, 1}, 4);
    rig_start(&g, 0);
    rig_lead(&g, 0, false);
    const struct raft_msg *msg = rig_pull(&g, 0, 1, 1000);
    assert_int_equal(msg->prev_index, 4);
    assert_int_equal(msg->item_count, 1);
    assert_null(rig_pull(&g, 0, 1, 1000)); /* one at a time */
    struct raft_msg reply = rig_msg(RAFT_APPEND_REPLY, 1, 0, 2);
    reply.prev_index = 4;
    reply.hint_index = 2;
    reply.hint_term = 1;
    rig_recv(&g, 0, reply);
    rig_recv(&g, 0, reply); /* a repeat goes back no further */
    assert_int_equal(follower(1)->next, 3);
    assert_int_equal(rig_pull(&g, 0, 1, 1)->prev_index, 2);
    rig_recv(&g, 0, reply); /* late: another probe is out */
    assert_int_equal(follower(1)->next, 4);
    rig_ack(&g, 1, 0, 2); /* granted, though nothing new is durable */
    assert_false(follower(1)->is_probing);
    assert_int_equal(rig_pull(&g, 0, 1, 1000)->prev_index, 3);
}

static void appends_are_pipelined_as_the_window_allows(void **state)
{
    (void)state;
    rig_init(&g, 3, 0);
    g.append_inflight_bytes = 200;
    rig_start(&g, 0);
    rig_lead(&g, 0, true);
    for (size_t i = 0; i < 20; i++)
        rig_propose(&g, 0);
    size_t pulled = 0;
    while (rig_pull(&g, 0, 1, 1) != NULL)
        pulled++; /* each at least one entry */
    uint64_t one = follower(1)->inflight_bytes / pulled;
    assert_int_equal(pulled, 200 / one + 1);
    rig_ack(&g, 1, 0, 1 + pulled);
    assert_int_equal(follower(1)->inflight_bytes, 0);
    const struct raft_msg *msg = rig_pull(&g, 0, 1, 2 * one);
    assert_int_equal(msg->prev_index, 1 + pulled);
    assert_int_equal(msg->item_count, 2);
}

static void lost_append_is_sent_again_after_an_election_timeout(void **state)
{
    (void)state;
    lead(3, 0, true);
    rig_propose(&g, 0);
    assert_non_null(rig_pull(&g, 0, 1, 1000));
    uint64_t sent = g.now;
    for (uint64_t now = sent + 1; now < sent + RIG_T; now++) {
        rig_tick(&g, 0, now);
        answer_round(1, 1);
        assert_null(rig_pull(&g, 0, 1, 1000));
    }
    rig_tick(&g, 0, sent + RIG_T);
    assert_int_equal(rig_pull(&g, 0, 1, 1000)->prev_index, 1);
}

static void silent_follower_gets_heartbeats_only(void **state)
{
    (void)state;
    lead(3, 0, true);
    for (size_t i = 0; i < 2 * RIG_T / RIG_BEAT; i++) {
        rig_tick(&g, 0, g.now + RIG_BEAT);
        answer_round(1, 1);
    }
    rig_propose(&g, 0);
    assert_non_null(rig_pull(&g, 0, 1, 1000));
    assert_null(rig_pull(&g, 0, 2, 1000));
    assert_non_null(rig_sent(&g, 0, RAFT_HEARTBEAT, 2));
    answer_round(2, 1);
    assert_non_null(rig_pull(&g, 0, 2, 1000));
}

static void reset_peer_sends_again_at_once(void **state)
{
    (void)state;
    lead(3, 0, true);
    rig_propose(&g, 0);
    assert_non_null(rig_pull(&g, 0, 1, 1000));
    assert_non_null(rig_pull(&g, 0, 2, 1000));
    raft_reset_peer(leader(), rig_replica(1).node, g.now);
    assert_true(follower(1)->is_probing);
    assert_int_equal(follower(1)->inflight_bytes, 0);
    assert_int_equal(rig_pull(&g, 0, 1, 1000)->prev_index, 1);
    assert_null(rig_pull(&g, 0, 2, 1000)); /* another node */
}

static void uncached_entries_are_read_and_checked(void **state)
{
    (void)state;
    lead(3, 0, true);
    for (size_t i = 0; i < 3; i++)
        rig_propose(&g, 0);
    rig_sync(&g, 0);
    rig_ack(&g, 1, 0, 4);
    raft_applied(leader(), 4);
    assert_non_null(raft_cached(leader(), 2)); /* follower 2 wants it */
    assert_int_equal(raft_trim_cache(leader(), 0), 0);
    struct raft_msg msg;
    uint64_t first, last;
    struct replica to = rig_replica(2);
    assert_int_equal(
        raft_next_append(leader(), to, 1000, g.now, &msg, &first, &last),
        RAFT_PULL_READ);
    assert_int_equal(first, 2);
    assert_int_equal(last, 4);
    assert_null(rig_pull(&g, 0, 2, 1000)); /* while it is read */
    /* T4: entries that are not this log's are not sent; nor is it asked for
     * them again at once. */
    struct item *other = rig_item(&g, 2, 7);
    raft_loaded(leader(), to, &other, 1, g.now);
    item_unref(&g.pool, other);
    assert_null(rig_pull(&g, 0, 2, 1000));
    g.now += RIG_BEAT;
    assert_int_equal(
        raft_next_append(leader(), to, 1000, g.now, &msg, &first, &last),
        RAFT_PULL_READ);
    raft_loaded(leader(), to, &g.nodes[0].log[2], 2, g.now);
    const struct raft_msg *sent = rig_pull(&g, 0, 2, 1000);
    assert_int_equal(sent->prev_index, 1);
    assert_int_equal(sent->item_count, 2);
}

static void follower_below_the_base_gets_nothing(void **state)
{
    (void)state;
    lead(3, 0, true);
    for (size_t i = 0; i < 5; i++)
        rig_propose(&g, 0);
    rig_sync(&g, 0);
    rig_ack(&g, 1, 0, 6);
    raft_applied(leader(), 6);
    raft_trim_cache(leader(), 0);
    raft_cut(leader(), 4);
    rig_propose(&g, 0);
    rig_settle(&g); /* reads 5.. and sends; nobody hears */
    assert_false(follower(2)->is_behind);
    refuse(2, 4, 0, 0);
    assert_true(follower(2)->is_behind);
    rig_ack(&g, 2, 0, 0);
    raft_reset_peer(leader(), rig_replica(2).node, g.now);
    rig_settle(&g);
    refuse(2, 4, 2, 1);
    assert_true(follower(2)->next <= raft_base(leader()));
    assert_null(rig_pull(&g, 0, 2, 1000));
}

static void follower_is_asked_again_above_a_new_base(void **state)
{
    (void)state;
    lead(3, 0, true);
    for (size_t i = 0; i < 5; i++)
        rig_propose(&g, 0);
    rig_sync(&g, 0);
    rig_ack(&g, 1, 0, 6);
    raft_applied(leader(), 6);
    raft_reset_peer(leader(), rig_replica(2).node, g.now);
    assert_int_equal(follower(2)->next, 2); /* all that was acknowledged */
    raft_cut(leader(), 4);
    assert_int_equal(rig_pull(&g, 0, 2, 1)->prev_index, 4);
}

/* ---- reads ------------------------------------------------------------- */

static void read_waits_for_a_round_begun_after_it_came(void **state)
{
    (void)state;
    lead(3, 0, true);
    rig_tick(&g, 0, g.now + RIG_BEAT);
    uint64_t round = rig_sent(&g, 0, RAFT_HEARTBEAT, 1)->round;
    assert_int_equal(raft_read(leader(), 42, g.now), ERR_OK);
    rig_drain(&g, 0);
    /* The fresh round leaves at once. */
    assert_int_equal(rig_sent(&g, 0, RAFT_HEARTBEAT, 1)->round, round + 1);
    answer_round(1, round);
    answer_round(2, round);
    assert_int_equal(g.nodes[0].read_count, 0);
    answer_round(1, round + 1);
    assert_int_equal(g.nodes[0].read_count, 1);
    assert_int_equal(g.nodes[0].reads[0].token, 42);
    assert_int_equal(g.nodes[0].reads[0].index, 1);
    assert_true(g.nodes[0].reads[0].is_ok);
}

static void rounds_never_begun_do_not_count(void **state)
{
    (void)state;
    lead(3, 0, true);
    answer_round(1, 999);
    assert_int_equal(raft_read(leader(), 1, g.now), ERR_OK);
    rig_drain(&g, 0);
    assert_int_equal(g.nodes[0].read_count, 0);
}

static void deposed_leader_fails_its_reads(void **state)
{
    (void)state;
    lead(3, 0, true);
    assert_int_equal(raft_read(leader(), 1, g.now), ERR_OK);
    rig_recv(&g, 0, rig_msg(RAFT_HEARTBEAT, 1, 0, 5));
    assert_int_equal(g.nodes[0].read_count, 1);
    assert_false(g.nodes[0].reads[0].is_ok);
    assert_int_equal(raft_read(leader(), 2, g.now), ERR_MOVED);
}

static void sole_voter_reads_without_waiting(void **state)
{
    (void)state;
    lead(1, 0, true);
    assert_int_equal(raft_read(leader(), 1, g.now), ERR_OK);
    rig_drain(&g, 0);
    assert_true(g.nodes[0].reads[0].is_ok);
}

static void reads_are_bounded_and_keep_their_order(void **state)
{
    (void)state;
    lead(3, 0, true);
    for (uint64_t i = 0; i < RAFT_READS_MAX; i++)
        assert_int_equal(raft_read(leader(), i, g.now), ERR_OK);
    assert_int_equal(raft_read(leader(), 0, g.now), ERR_BUSY);
    rig_drain(&g, 0);
    struct raft_msg msg = rig_msg(RAFT_HEARTBEAT_REPLY, 1, 0, 1);
    msg.round = rig_sent(&g, 0, RAFT_HEARTBEAT, 1)->round;
    msg.match = 1;
    raft_recv(leader(), &msg, g.now);
    struct raft_effect e;
    for (uint64_t i = 0; i < RAFT_READS_MAX; i++) {
        assert_true(raft_pop(leader(), &e));
        assert_int_equal(e.token, i);
    }
    assert_int_equal(raft_read(leader(), 0, g.now), ERR_OK);
}

/* ---- members ----------------------------------------------------------- */

static struct config with_learner(const struct config *c, size_t node)
{
    struct config to = *c;
    to.members[to.count++] =
        (struct config_member){{{{(uint8_t)(node + 1)}}, 0}, false};
    return to;
}

static struct config without(const struct config *c, uint32_t member)
{
    struct config to = *c;
    to.members[member] = to.members[--to.count];
    return to;
}

static void learner_is_added_caught_up_and_promoted(void **state)
{
    (void)state;
    lead(3, 0, true);
    struct config to = with_learner(raft_config(leader()), 3);
    uint64_t index;
    assert_int_equal(raft_change(leader(), &to, &index), ERR_OK);
    assert_int_equal(index, 2);
    const struct config *c = raft_config(leader());
    assert_int_equal(c->index, 2); /* in force at once */
    assert_int_equal(c->members[3].replica.added, 2);
    assert_int_equal(raft_committed_config(leader())->count, 3);
    rig_drain(&g, 0);
    rig_sync(&g, 0);
    rig_ack(&g, 1, 0, 2);
    assert_int_equal(raft_committed_config(leader())->count, 4);
    /* R3: a learner that has not caught up, or that is silent. */
    to = *c;
    to.members[3].is_voter = true;
    assert_int_equal(raft_change(leader(), &to, &index), ERR_UNAVAILABLE);
    struct raft_msg msg = rig_msg(RAFT_APPEND_REPLY, 3, 0, 1);
    msg.from = c->members[3].replica;
    msg.granted = true;
    msg.match = 2;
    rig_recv(&g, 0, msg);
    g.now += RIG_T;
    rig_ack(&g, 1, 0, 2);
    rig_ack(&g, 2, 0, 2);
    assert_int_equal(raft_change(leader(), &to, &index), ERR_UNAVAILABLE);
    rig_recv(&g, 0, msg);
    assert_int_equal(raft_change(leader(), &to, &index), ERR_OK);
    assert_int_equal(config_voters(raft_config(leader())), 4);
    /* Now it takes three of four. */
    rig_drain(&g, 0);
    rig_sync(&g, 0);
    rig_ack(&g, 1, 0, 3);
    assert_int_equal(raft_commit(leader()), 2);
    msg.match = 3;
    rig_recv(&g, 0, msg);
    assert_int_equal(raft_commit(leader()), 3);
}

/* Reset when it had all: in a group at rest no append ever ends the probing. */
static void learner_that_is_probed_at_rest_is_promoted(void **state)
{
    (void)state;
    lead(3, 1, true);
    rig_ack(&g, 3, 0, 1);
    raft_reset_peer(leader(), rig_replica(3).node, g.now);
    rig_ack(&g, 1, 0, 1);
    struct config to = *raft_config(leader());
    to.members[3].is_voter = true;
    uint64_t index;
    assert_int_equal(raft_change(leader(), &to, &index), ERR_OK);
}

static void one_change_at_a_time(void **state)
{
    (void)state;
    lead(3, 0, true);
    struct config to = with_learner(raft_config(leader()), 3);
    uint64_t index;
    assert_int_equal(raft_change(leader(), &to, &index), ERR_OK);
    to = with_learner(raft_config(leader()), 4);
    assert_int_equal(raft_change(leader(), &to, &index), ERR_BUSY);
    rig_drain(&g, 0);
    rig_sync(&g, 0);
    rig_ack(&g, 1, 0, 2);
    assert_int_equal(raft_change(leader(), &to, &index), ERR_OK);
}

static void senseless_change_is_refused(void **state)
{
    (void)state;
    lead(3, 2, true);
    const struct config now = *raft_config(leader());
    uint64_t index;
    struct config bad[8];
    size_t count = 0;
    bad[count++] = now; /* no step at all */
    bad[count] = with_learner(&now, 5);
    bad[count] = with_learner(&bad[count], 6); /* two */
    count++;
    bad[count++] = without(&now, 0); /* the leader itself */
    bad[count] = now;
    bad[count++].members[1].is_voter = false; /* no such step */
    bad[count] = with_learner(&now, 5);
    bad[count].members[5].is_voter = true; /* a voter from nothing */
    count++;
    bad[count] = now;
    bad[count++].members[4].replica.added = 77; /* a pair from nowhere */
    bad[count] = now;
    bad[count].members[bad[count].count++] = now.members[4]; /* twice */
    count++;
    bad[count] = now;
    bad[count++].count = 0;
    for (size_t i = 0; i < count; i++)
        assert_int_equal(raft_change(leader(), &bad[i], &index),
                         ERR_BAD_REQUEST);
    assert_int_equal(raft_last(leader()), 1);
    raft_step_down(leader(), g.now);
    struct config to = without(&now, 1);
    assert_int_equal(raft_change(leader(), &to, &index), ERR_MOVED);
}

/* T14: {A,B,C} with B silent: C may not go, for {A,B} could not commit it;
 * B may. */
static void change_needs_a_live_majority_of_what_it_makes(void **state)
{
    (void)state;
    lead(3, 0, true);
    g.now += RIG_T;
    rig_ack(&g, 2, 0, 1);
    struct config to = without(raft_config(leader()), 2);
    uint64_t index;
    assert_int_equal(raft_change(leader(), &to, &index), ERR_UNAVAILABLE);
    to = without(raft_config(leader()), 1);
    assert_int_equal(raft_change(leader(), &to, &index), ERR_OK);
    assert_null(follower(1));
}

/* ---- hand-over --------------------------------------------------------- */

static void hand_over_makes_the_other_lead_at_once(void **state)
{
    (void)state;
    rig_init(&g, 3, 0);
    rig_start_all(&g);
    rig_run(&g, 2 * RIG_T);
    assert_int_equal(rig_leader(&g), 0);
    uint64_t now = g.now;
    assert_int_equal(raft_transfer(leader(), rig_replica(2), g.now), ERR_OK);
    rig_settle(&g);
    assert_int_equal(rig_leader(&g), 2);
    assert_int_equal(raft_role(leader()), RAFT_FOLLOWER);
    assert_int_equal(g.now, now);
}

static void hand_over_waits_until_the_other_has_all(void **state)
{
    (void)state;
    lead(3, 1, true);
    rig_propose(&g, 0);
    assert_int_equal(raft_transfer(leader(), rig_replica(3), g.now),
                     ERR_BAD_REQUEST); /* a learner */
    assert_int_equal(raft_transfer(leader(), rig_replica(0), g.now),
                     ERR_BAD_REQUEST); /* itself */
    assert_int_equal(raft_transfer(leader(), rig_replica(1), g.now), ERR_OK);
    rig_drain(&g, 0);
    assert_null(rig_sent(&g, 0, RAFT_TIMEOUT_NOW, 1));
    assert_int_equal(rig_propose(&g, 0), 0);
    rig_ack(&g, 1, 0, 2);
    assert_non_null(rig_sent(&g, 0, RAFT_TIMEOUT_NOW, 1));
}

static void hand_over_is_given_up_after_an_election_timeout(void **state)
{
    (void)state;
    lead(3, 0, true);
    assert_int_equal(raft_transfer(leader(), rig_replica(1), g.now), ERR_OK);
    uint64_t begin = g.now;
    for (uint64_t now = begin + 1; now < begin + RIG_T; now++) {
        rig_tick(&g, 0, now);
        answer_round(2, 1);
        assert_int_equal(rig_propose(&g, 0), 0);
        /* Asked again, it gets no more time. */
        assert_int_equal(raft_transfer(leader(), rig_replica(1), g.now),
                         ERR_OK);
    }
    rig_tick(&g, 0, begin + RIG_T);
    assert_int_equal(rig_propose(&g, 0), 2);
}

static void timeout_now_of_another_than_the_leader_is_ignored(void **state)
{
    (void)state;
    rig_init(&g, 3, 0);
    rig_start(&g, 0);
    rig_recv(&g, 0, rig_msg(RAFT_HEARTBEAT, 1, 0, 3));
    rig_recv(&g, 0, rig_msg(RAFT_TIMEOUT_NOW, 2, 0, 3));
    assert_int_equal(raft_role(leader()), RAFT_FOLLOWER);
    rig_recv(&g, 0, rig_msg(RAFT_TIMEOUT_NOW, 1, 0, 3));
    assert_int_equal(raft_role(leader()), RAFT_CANDIDATE);
    assert_int_equal(raft_term(leader()), 4);
    rig_sync(&g, 0);
    assert_true(rig_sent(&g, 0, RAFT_VOTE, 1)->is_transfer);
}

/* ---- reasons ----------------------------------------------------------- */

static void assert_reason(const char *expected)
{
    assert_non_null(strstr(raft_reason(leader(), g.now), expected));
}

static void reason_says_what_is_missing(void **state)
{
    (void)state;
    rig_init(&g, 3, 0);
    rig_start(&g, 0);
    assert_reason("no leader is known");
    rig_tick(&g, 0, g.now + RIG_T);
    assert_reason("would get 1 of 3 votes, needs 2");
    raft_campaign(leader(), g.now);
    rig_drain(&g, 0);
    assert_reason("candidate with 0 of 3 votes, needs 2");
    rig_lead(&g, 0, false);
    assert_reason("waiting for an entry of term 2");
    rig_ack(&g, 1, 0, 1);
    assert_string_equal(raft_reason(leader(), g.now), "");
    assert_int_equal(raft_transfer(leader(), rig_replica(1), g.now), ERR_OK);
    assert_reason("handed over");
    g.now += RIG_T / 2;
    assert_reason("no quorum: heard from 1 of 3 voters");
    rig_recv(&g, 0, rig_msg(RAFT_HEARTBEAT, 1, 0, 9));
    assert_string_equal(raft_reason(leader(), g.now), "");
    g.now += RIG_T;
    assert_reason("no word from the leader for 100 ms");
}

static void dump_names_role_log_and_followers(void **state)
{
    (void)state;
    lead(3, 1, true);
    struct buf text = {0};
    raft_dump(leader(), &text);
    buf_append(&text, "", 1);
    const char *s = (const char *)text.data;
    assert_non_null(strstr(s, "01000000+1 leader term 1"));
    assert_non_null(strstr(s, "last 1/1 durable 1 commit 1"));
    assert_non_null(strstr(s, "learner 04000000+1"));
    assert_non_null(strstr(s, "follower 03000000+1 match 1 next 2"));
    buf_free(&text);
}

#define CASE(test) cmocka_unit_test_teardown(test, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quorum_index_is_what_a_majority_has_reached),
        CASE(own_entries_count_only_once_durable),
        CASE(nothing_is_proposed_before_the_own_term_commits),
        CASE(acknowledgements_of_learners_are_not_counted),
        CASE(acknowledgement_of_another_term_or_pair_is_ignored),
        CASE(leader_without_a_quorum_steps_down_at_the_bound),
        CASE(one_follower_of_two_is_quorum_enough),
        CASE(heartbeats_stand_at_multiples),
        CASE(heartbeats_commit_is_at_most_the_followers_match),
        CASE(a_log_below_its_acknowledgement_is_lost),
        CASE(a_lost_one_confirms_no_read),
        CASE(what_a_lost_one_acknowledges_does_not_count),
        CASE(stalled_leader_is_silent_and_deposed),
        CASE(commit_news_leave_at_once),
        CASE(follower_is_probed_until_it_matches),
        CASE(appends_are_pipelined_as_the_window_allows),
        CASE(lost_append_is_sent_again_after_an_election_timeout),
        CASE(silent_follower_gets_heartbeats_only),
        CASE(reset_peer_sends_again_at_once),
        CASE(uncached_entries_are_read_and_checked),
        CASE(follower_below_the_base_gets_nothing),
        CASE(follower_is_asked_again_above_a_new_base),
        CASE(read_waits_for_a_round_begun_after_it_came),
        CASE(rounds_never_begun_do_not_count),
        CASE(deposed_leader_fails_its_reads),
        CASE(sole_voter_reads_without_waiting),
        CASE(reads_are_bounded_and_keep_their_order),
        CASE(learner_is_added_caught_up_and_promoted),
        CASE(learner_that_is_probed_at_rest_is_promoted),
        CASE(one_change_at_a_time),
        CASE(senseless_change_is_refused),
        CASE(change_needs_a_live_majority_of_what_it_makes),
        CASE(hand_over_makes_the_other_lead_at_once),
        CASE(hand_over_waits_until_the_other_has_all),
        CASE(hand_over_is_given_up_after_an_election_timeout),
        CASE(timeout_now_of_another_than_the_leader_is_ignored),
        CASE(reason_says_what_is_missing),
        CASE(dump_names_role_log_and_followers),
    };
    return cmocka_run_group_tests_name("raft_lead", tests, NULL, NULL) != 0;
}
