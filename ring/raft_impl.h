/* raft_impl.h - the machine's state, and what its files call of each other.
 * Only ring/raft*.c and the tests of their insides include it.
 *
 *   raft.c         life, time, the dispatcher, the outbox, effects
 *   raft_elect.c   roles, timeouts, pre-votes, votes
 *   raft_follow.c  what a leader says, and what is said back
 *   raft_lead.c    followers' progress, appends, commit, rounds and reads
 *   raft_change.c  what a leader is asked: entries, members, hand-over
 *   raft_show.c    queries, reasons, dump, check
 *   raft_log.c     the log
 */
#ifndef RING_RAFT_IMPL_H
#define RING_RAFT_IMPL_H

#include "ring/raft_log.h"
#include "ring/rule.h"

/* A message and the number of the hard state write that it asserts. All that
 * a message can assert beside is the durability of entries, and those are
 * only ever named once they are durable (S10C). */
struct raft_gated {
    struct raft_msg msg;
    uint64_t hard_write;
};

/* A slot for each (peer, kind) that may be answered or asked at a time. */
#define RAFT_OUTBOX_MAX (4u * REPLICAS_MAX)

struct raft_pending_read {
    uint64_t token;
    uint64_t index; /* commit when it came */
    uint64_t round; /* that a majority must acknowledge */
    bool is_ok;
};

struct raft {
    struct raft_cfg cfg;
    struct entry_stamp stamp;
    struct rng rng;
    uint64_t now_ms; /* newest time heard of */
    struct buf scratch;
    uint64_t dropped;
    struct buf reason;

    /* who */
    enum raft_role role;
    bool is_role_news; /* RAFT_DO_ROLE is due */
    bool is_stalled;
    bool has_ended; /* a later generation was granted: silent for ever */
    uint32_t rank;
    struct raft_hard_state hard;
    uint64_t hard_write;   /* the newest number given out */
    uint64_t hard_emitted; /* popped up to here */
    uint64_t hard_durable;
    struct replica leader;
    uint64_t leader_heard_ms;

    /* what */
    struct raft_log log;
    uint64_t commit; /* in memory only; starts at the stored applied */
    uint64_t applied;
    uint64_t floor; /* logs may be cut up to here */

    /* standing for election */
    uint64_t timer_from_ms; /* when it began to wait */
    uint64_t jitter_ms;
    uint64_t election_at_ms; /* from those and the rank */
    uint64_t resend_at_ms;
    uint32_t granted; /* bit i: member i of the configuration in force */
    uint32_t refused;
    bool is_transfer;

    /* following */
    uint64_t matched;    /* the log equals the leader's up to here */
    uint64_t acked;      /* newest match sent to this leader */
    bool has_acked;      /* any at all */
    uint64_t round_seen; /* newest of this leader */

    /* leading */
    uint64_t term_start; /* index of the no-op of the own term */
    struct raft_progress *followers;
    size_t follower_count;
    uint64_t round; /* newest begun */
    bool is_round_wanted;
    uint64_t heartbeat_at_ms;
    size_t uncommitted_bytes;
    struct raft_pending_read *reads; /* in order of arrival */
    size_t read_count;
    size_t read_capacity;
    size_t reads_done; /* those before it have their answer */
    size_t read_first; /* those before it are popped */
    struct replica transfer_to;
    uint64_t transfer_until_ms; /* 0: none */
    struct item **batch;        /* of the newest append */
    size_t batch_capacity;

    struct raft_gated *outbox; /* in order */
    size_t outbox_count;
    size_t outbox_capacity;
};

/* ---- raft.c ------------------------------------------------------------ */

/* The pair must fit, not the node alone (S4, T13). */
bool raft_is_same(struct replica a, struct replica b);
/* The hard state has changed: it is to be written. */
void raft_hard_changed(struct raft *r);
/* Queue a message; from, and the write it asserts, are filled in here. An
 * older one of this kind to this peer that still waits is replaced. */
void raft_post(struct raft *r, const struct raft_msg *msg);
void raft_drop(struct raft *r); /* counts a message that is not obeyed */
/* Raises the commit index. */
void raft_commit_to(struct raft *r, uint64_t index);

/* ---- raft_elect.c ------------------------------------------------------ */

void raft_elect_init(struct raft *r);
void raft_elect_set_rank(struct raft *r, uint32_t rank);
bool raft_elect_is_voter(const struct raft *r);
/* Begin anew to wait for a leader. */
void raft_elect_reset_timer(struct raft *r);
/* Follow `leader` (node zero: nobody yet) in `term` (not below the own). */
void raft_elect_follow(struct raft *r, uint64_t term, struct replica leader);
void raft_elect_tick(struct raft *r);
/* The own vote may count now. */
void raft_elect_durable(struct raft *r);
void raft_elect_campaign(struct raft *r, bool is_transfer);
/* In force of this replica, it has a leader that lives. */
bool raft_elect_is_led(const struct raft *r);
void raft_elect_prevote(struct raft *r, const struct raft_msg *msg);
void raft_elect_vote(struct raft *r, const struct raft_msg *msg);
void raft_elect_reply(struct raft *r, const struct raft_msg *msg);

/* ---- raft_follow.c ----------------------------------------------------- */

void raft_follow_append(struct raft *r, const struct raft_msg *msg);
void raft_follow_heartbeat(struct raft *r, const struct raft_msg *msg);
/* More of the log is durable: it may be acknowledged. */
void raft_follow_durable(struct raft *r);

/* ---- raft_lead.c ------------------------------------------------------- */

enum raft_lead_value {
    RAFT_LEAD_MATCH,
    RAFT_LEAD_HEARD,
    RAFT_LEAD_ROUND,
};

void raft_lead_begin(struct raft *r);
void raft_lead_end(struct raft *r);
void raft_lead_tick(struct raft *r);
uint64_t raft_lead_deadline(const struct raft *r);
void raft_lead_append_reply(struct raft *r, const struct raft_msg *msg);
void raft_lead_heartbeat_reply(struct raft *r, const struct raft_msg *msg);
/* Appends an entry of the own term; takes over the item. */
void raft_lead_append(struct raft *r, struct item *item);
/* The configuration in force has changed: followers are its members. */
void raft_lead_sync_followers(struct raft *r);
/* The highest value that a majority of the voters has reached; the own are
 * the durable index, now, and the newest round. */
uint64_t raft_lead_quorum(const struct raft *r, enum raft_lead_value what);
void raft_lead_advance_commit(struct raft *r);
void raft_lead_start_round(struct raft *r);
bool raft_lead_pop_heartbeat(struct raft *r, struct raft_effect *out);
bool raft_lead_pop_read(struct raft *r, struct raft_effect *out);
struct raft_progress *raft_lead_find(const struct raft *r,
                                     struct replica replica);
/* The log below the base is gone: followers are asked again above it. */
void raft_lead_cut(struct raft *r);
/* Has answered within an election timeout. */
bool raft_lead_is_live(const struct raft *r, const struct raft_progress *p);

/* ---- raft_change.c ----------------------------------------------------- */

/* Hand-over: resend, or give up. */
void raft_change_tick(struct raft *r);
/* The follower has acknowledged: it may be the one waited for. */
void raft_change_matched(struct raft *r, const struct raft_progress *p);

#endif
