/* raft_elect.c - roles, timeouts, pre-votes and votes (paper 5.2, 5.4.1;
 * thesis 9.6 pre-vote, 6.2 check-quorum, 3.10 transfer).
 *
 *              timeout, as voter      a majority would
 *   FOLLOWER ---------------> PRE_CANDIDATE -------> CANDIDATE
 *      ^                        (same term)          (term + 1, own vote)
 *      |  higher term, a leader heard, no quorum          | a majority did
 *      +----------------------- LEADER <------------------+
 *
 * Requests are repeated with each heartbeat interval until they are answered:
 * the network may lose them, and a lease that refused a pre-vote ends. */
#include "ring/raft_impl.h"

/* Ranks above it (those not in the row) wait as long as this one. */
#define RANK_LAST 4u

/* ---- timers ------------------------------------------------------------ */

/* L7: by rank, so that leadership lands at the preferred node, and elections
 * of many groups do not meet. */
static void set_timer(struct raft *r)
{
    uint64_t t = r->cfg.election_ms;
    uint64_t rank = r->rank < RANK_LAST ? r->rank : RANK_LAST;
    r->election_at_ms = r->timer_from_ms + t + rank * t / 2 + r->jitter_ms;
}

void raft_elect_reset_timer(struct raft *r)
{
    uint64_t most = r->cfg.election_ms * r->cfg.jitter_percent / 100;
    r->timer_from_ms = r->now_ms;
    r->jitter_ms = rng_below(&r->rng, most + 1);
    set_timer(r);
}

bool raft_elect_is_voter(const struct raft *r)
{
    const struct config_member *m =
        config_find(raft_log_config(&r->log), r->cfg.self);
    return m != NULL && m->is_voter;
}

static bool is_sole_voter(const struct raft *r)
{
    return raft_elect_is_voter(r) &&
           config_voters(raft_log_config(&r->log)) == 1;
}

void raft_elect_init(struct raft *r)
{
    raft_elect_reset_timer(r);
    if (is_sole_voter(r)) /* it has nobody to wait for but its own disk */
        r->election_at_ms = r->now_ms;
}

void raft_elect_set_rank(struct raft *r, uint32_t rank)
{
    r->rank = rank;
    if (!is_sole_voter(r))
        set_timer(r);
}

bool raft_elect_is_led(const struct raft *r)
{
    if (r->role == RAFT_LEADER) /* with a quorum, or it had stepped down */
        return true;
    return !id_is_zero(r->leader.node) &&
           r->now_ms < r->leader_heard_ms + r->cfg.election_ms;
}

/* ---- roles ------------------------------------------------------------- */

static void set_role(struct raft *r, enum raft_role role, struct replica leader)
{
    if (r->role == RAFT_LEADER && role != RAFT_LEADER)
        raft_lead_end(r);
    if (r->role != role || !replica_equal(r->leader, leader))
        r->is_role_news = true;
    r->role = role;
    r->leader = leader;
}

static void set_term(struct raft *r, uint64_t term, struct replica vote)
{
    ASSERT(term > r->hard.term);
    r->hard = (struct raft_hard_state){term, vote};
    r->is_role_news = true;
    raft_hard_changed(r);
}

void raft_elect_follow(struct raft *r, uint64_t term, struct replica leader)
{
    ASSERT(term >= r->hard.term);
    bool is_new = term > r->hard.term || !replica_equal(r->leader, leader);
    bool has_stood = r->role != RAFT_FOLLOWER;
    if (term > r->hard.term)
        set_term(r, term, (struct replica){0});
    set_role(r, RAFT_FOLLOWER, leader);
    if (is_new) {
        r->matched = 0;
        r->acked = 0;
        r->has_acked = false;
        r->round_seen = 0;
    }
    if (!id_is_zero(leader.node))
        r->leader_heard_ms = r->now_ms;
    if (has_stood || !id_is_zero(leader.node))
        raft_elect_reset_timer(r);
}

/* ---- standing ---------------------------------------------------------- */

/* Whether a member's word counts. */
static bool is_counted(const struct config_member *m)
{
    return m->is_voter || !RULE(S9C);
}

static bool has_majority(const struct raft *r, uint32_t members)
{
    const struct config *c = raft_log_config(&r->log);
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->count; i++)
        count += is_counted(&c->members[i]) && (members >> i & 1u) != 0;
    return count > config_voters(c) / 2;
}

static uint32_t own_bit(const struct raft *r)
{
    const struct config *c = raft_log_config(&r->log);
    for (uint32_t i = 0; i < c->count; i++) {
        if (replica_equal(c->members[i].replica, r->cfg.self))
            return 1u << i;
    }
    return 0;
}

/* Asks all who have not granted it; a vote refused is refused for the term, a
 * pre-vote may be granted later. */
static void solicit(struct raft *r)
{
    const struct config *c = raft_log_config(&r->log);
    bool is_pre = r->role == RAFT_PRE_CANDIDATE;
    uint32_t settled = r->granted | (is_pre ? 0 : r->refused) | own_bit(r);
    for (uint32_t i = 0; i < c->count; i++) {
        if (!is_counted(&c->members[i]) || (settled >> i & 1u) != 0)
            continue;
        raft_post(r, &(struct raft_msg){
                         .kind = is_pre ? RAFT_PREVOTE : RAFT_VOTE,
                         .to = c->members[i].replica,
                         .term = is_pre ? r->hard.term + 1 : r->hard.term,
                         .is_transfer = r->is_transfer,
                         .last_index = r->log.last_index,
                         .last_term = raft_log_last_term(&r->log),
                     });
    }
    r->resend_at_ms = r->now_ms + r->cfg.heartbeat_ms;
}

static void become_leader(struct raft *r)
{
    set_role(r, RAFT_LEADER, r->cfg.self);
    r->leader_heard_ms = r->now_ms;
    raft_lead_begin(r);
}

void raft_elect_durable(struct raft *r)
{
    if (r->role != RAFT_CANDIDATE)
        return;
    /* S10A: the own vote is a vote like any other. */
    if (r->hard_durable >= r->hard_write || !RULE(S10A))
        r->granted |= own_bit(r);
    if (has_majority(r, r->granted))
        become_leader(r);
}

void raft_elect_campaign(struct raft *r, bool is_transfer)
{
    ASSERT(r->role != RAFT_LEADER);
    set_term(r, r->hard.term + 1, r->cfg.self);
    set_role(r, RAFT_CANDIDATE, (struct replica){0});
    r->granted = 0;
    r->refused = 0;
    r->is_transfer = is_transfer;
    raft_elect_reset_timer(r);
    solicit(r);
    raft_elect_durable(r);
}

static void begin_prevote(struct raft *r)
{
    /* R6: it forgets its leader, or a cycle of them would refuse each other
     * for ever. */
    set_role(r, RAFT_PRE_CANDIDATE, (struct replica){0});
    r->granted = own_bit(r);
    r->refused = 0;
    r->is_transfer = false;
    raft_elect_reset_timer(r);
    if (has_majority(r, r->granted) || !RULE(R6B))
        raft_elect_campaign(r, false);
    else
        solicit(r);
}

void raft_elect_tick(struct raft *r)
{
    if (r->now_ms >= r->election_at_ms) {
        /* L10: a stalled disk could not store its own vote. */
        if (raft_elect_is_voter(r) && !r->is_stalled) {
            begin_prevote(r);
            return;
        }
        set_role(r, RAFT_FOLLOWER, (struct replica){0});
        raft_elect_reset_timer(r);
    }
    if (r->role != RAFT_FOLLOWER && r->now_ms >= r->resend_at_ms)
        solicit(r);
}

/* ---- voting ------------------------------------------------------------ */

/* R2 (paper 5.4.1): at least as up-to-date as the own log. */
static bool is_log_current(const struct raft *r, const struct raft_msg *msg)
{
    uint64_t term = raft_log_last_term(&r->log);
    if (!RULE(R2))
        return true;
    if (msg->last_term != term)
        return msg->last_term > term;
    return msg->last_index >= r->log.last_index;
}

/* Learners answer too (R3): one may be a voter by an entry that it lacks. */
void raft_elect_prevote(struct raft *r, const struct raft_msg *msg)
{
    bool is_free = !RULE(R6C) || !raft_elect_is_led(r);
    bool granted =
        msg->term > r->hard.term && is_free && is_log_current(r, msg);
    raft_post(r, &(struct raft_msg){
                     .kind = RAFT_PREVOTE_REPLY,
                     .to = msg->from,
                     .term = granted ? msg->term : r->hard.term,
                     .granted = granted,
                 });
}

void raft_elect_vote(struct raft *r, const struct raft_msg *msg)
{
    bool is_repeat = replica_equal(r->hard.vote, msg->from);
    bool is_free = id_is_zero(r->hard.vote.node) || is_repeat || !RULE(R1);
    bool granted = is_free && is_log_current(r, msg);
    if (granted && !is_repeat) {
        r->hard.vote = msg->from;
        raft_hard_changed(r);
    }
    if (granted && r->role != RAFT_LEADER)
        raft_elect_reset_timer(r);
    raft_post(r, &(struct raft_msg){
                     .kind = RAFT_VOTE_REPLY,
                     .to = msg->from,
                     .term = r->hard.term,
                     .granted = granted,
                 });
}

void raft_elect_reply(struct raft *r, const struct raft_msg *msg)
{
    bool is_pre = msg->kind == RAFT_PREVOTE_REPLY;
    uint64_t term = is_pre && msg->granted ? r->hard.term + 1 : r->hard.term;
    if (r->role != (is_pre ? RAFT_PRE_CANDIDATE : RAFT_CANDIDATE) ||
        msg->term != term)
        return; /* late: nobody is counting any more */
    const struct config *c = raft_log_config(&r->log);
    for (uint32_t i = 0; i < c->count; i++) {
        if (!raft_is_same(c->members[i].replica, msg->from))
            continue;
        if (msg->granted)
            r->granted |= 1u << i;
        else
            r->refused |= 1u << i;
        break;
    }
    if (!has_majority(r, r->granted))
        return;
    if (is_pre)
        raft_elect_campaign(r, false);
    else
        become_leader(r);
}
