/* raft.h - one replica of one group, as a pure machine.
 *
 * Raft as in Ongaro and Ousterhout 2014 (the paper) and Ongaro's thesis 2014,
 * with pre-vote and check-quorum (thesis 9.6, 6.2), read-index (6.4),
 * leadership transfer (3.10), single-server changes (4.1) with learners, and
 * these departures:
 *   - Identity is the pair (node, index of the entry that added it), not the
 *     node (S4, T13). A message between other than the current pairs drops.
 *   - Storage is asynchronous. The machine emits writes, each with a number;
 *     raft_durable says how far they are on disk. A message that asserts a
 *     write (a vote, a term, a match) is held in here until that is durable:
 *     the outbox is gated (S10). The leader's own match is its durable index,
 *     and it sends to followers before its own sync (thesis 10.2.1).
 *   - Append messages are pulled: the owner asks raft_next_append when the
 *     peer's byte window has room. All others are pushed as effects.
 *   - Election timeouts are by rank in the table's row: 1.0, 1.5, 2.0 T, plus
 *     10 % jitter (L7), so that leadership lands at the preferred node.
 *   - No leases: nothing is decided by a clock but when to campaign.
 *
 *            tick, recv, propose, durable, ...          pop
 *   owner ------------------------------------> raft ---------> effects
 *            next_append (pull, by window)
 *
 * One write numbering for hard state and one for the log: a vote must not
 * wait behind megabytes of entries (T20). All hard state that waits goes into
 * the next transaction, so the log never gets there before its term.
 *
 * Borrowing: inputs are borrowed for the call, an effect until the next call
 * of any function here; items in effects and messages are references that the
 * receiver of the effect owns (item_unref). */
#ifndef RING_RAFT_H
#define RING_RAFT_H

#include "ring/entry.h"

enum raft_role {
    RAFT_FOLLOWER,
    RAFT_PRE_CANDIDATE,
    RAFT_CANDIDATE,
    RAFT_LEADER,
};

struct raft_hard_state {
    uint64_t term;
    struct replica vote; /* node zero: none in this term */
};

/* What the log holds below the items that are loaded: for every index above
 * base, to last, the term, as runs (first index -> term), terms ascending. */
struct raft_term_run {
    uint64_t first_index;
    uint64_t term;
};

struct raft_cfg {
    uint32_t group;
    struct generation generation;
    struct replica self;
    struct item_pool *pool;
    uint64_t seed;        /* for jitter */
    uint32_t election_ms; /* T */
    uint32_t heartbeat_ms;
    uint32_t jitter_percent;        /* 10; a test may zero it */
    uint32_t append_inflight_bytes; /* per follower, of this group */
};

/* A replica as storage has it. base_index is the last index before the log
 * (0: the log begins at 1); configs are the configuration entries of the log
 * plus the one in force at the base, ascending by index. */
struct raft_stored {
    struct raft_hard_state hard;
    uint64_t base_index;
    uint64_t base_term;
    uint64_t last_index;
    uint64_t applied_index; /* stored; = commit known at start */
    const struct raft_term_run *runs;
    size_t run_count;
    const struct config *configs;
    size_t config_count;
};

enum raft_msg_kind {
    RAFT_PREVOTE = 1,
    RAFT_PREVOTE_REPLY = 2,
    RAFT_VOTE = 3,
    RAFT_VOTE_REPLY = 4,
    RAFT_APPEND = 5,
    RAFT_APPEND_REPLY = 6,
    RAFT_HEARTBEAT = 7,
    RAFT_HEARTBEAT_REPLY = 8,
    RAFT_TIMEOUT_NOW = 9,
};

/* Fixed struct for hot frames. Fields by kind:
 *   PREVOTE, VOTE         last_index, last_term, is_transfer; PREVOTE's term
 *                         is the one it would campaign in
 *   PREVOTE_REPLY, VOTE_REPLY   granted; the term of a granted PREVOTE_REPLY
 *                         is the one asked for, all others' is the sender's
 *   APPEND                prev_index, prev_term, commit, round, items
 *   APPEND_REPLY          granted: match, the highest index that is durable
 *                         here and known to equal this leader's log | refused:
 *                         prev_index echoed; hint_index, hint_term: the
 *                         follower's last entry at or below prev whose term is
 *                         at most prev_term. Both: the newest round seen
 *   HEARTBEAT             commit = min(commit, match of the follower) (S11),
 *                         round, floor: logs may be cut up to here (T23)
 *   HEARTBEAT_REPLY       round echoed; match = own durable index: of a log
 *                         that may differ, so it never counts; but it is not
 *                         below what was acknowledged to this leader (S6D)
 * What comes with a lower term is answered with the own, so that a stuck
 * replica is freed (R6), but for replies: those do not count (R12). */
struct raft_msg {
    enum raft_msg_kind kind;
    struct replica from;
    struct replica to;
    uint64_t term;
    bool granted;
    bool is_transfer;
    uint64_t last_index, last_term;
    uint64_t prev_index, prev_term;
    uint64_t commit;
    uint64_t match;
    uint64_t hint_index, hint_term;
    uint64_t round; /* numbered per group and term (S31) */
    uint64_t floor;
    struct item **items;
    uint32_t item_count;
};

enum raft_effect_kind {
    RAFT_DO_SEND,     /* msg (never APPEND) */
    RAFT_DO_HARD,     /* hard, write: replaces any earlier one not yet begun */
    RAFT_DO_LOG,      /* item (a reference), write: append to the log */
    RAFT_DO_TRUNCATE, /* index, write: remove entries >= index */
    RAFT_DO_ROLE,     /* role, leader or term changed: ask the queries; a
                         deposed leader's pending answers are unknown (T5) */
    RAFT_DO_READ,     /* token; is_ok: the read may be served once applied >=
                         index; else: not leader any more */
};
struct raft_effect {
    enum raft_effect_kind kind;
    struct raft_msg msg;
    struct raft_hard_state hard;
    struct item *item;
    uint64_t index;
    uint64_t write;
    uint64_t token;
    bool is_ok;
};

#define RAFT_INFLIGHT_MAX 32u /* appends on their way to one follower */
#define RAFT_READS_MAX    4096u

struct raft_progress {
    struct replica replica;
    bool is_voter;
    uint64_t match; /* acknowledged in this term */
    bool is_lost;   /* its disk has less than it acknowledged (S6D): it counts
                       for nothing and is to be removed */
    bool is_behind; /* what it lacks is cut: no log can bring it up */
    uint64_t next;
    bool is_probing;         /* one append at a time until it matches */
    uint64_t heard_ms;       /* last valid reply */
    uint64_t inflight_bytes; /* sent and not acknowledged */
    /* private */
    uint64_t match_round; /* the newest begun when match rose */
    uint64_t round_acked;
    uint64_t commit_sent;
    bool is_heartbeat_due;
    bool is_waiting;     /* a probe is out */
    uint64_t probe_prev; /* prev_index of that probe */
    uint64_t sent_ms;    /* since when the oldest append in flight waits */
    struct {
        uint64_t last_index;
        uint64_t bytes;
    } inflight[RAFT_INFLIGHT_MAX]; /* in order; a ring */
    uint32_t inflight_first;
    uint32_t inflight_count;
    /* entries next.. read from storage; or being read (loading) */
    bool is_loading;
    uint64_t load_again_ms; /* not before, after a read that failed */
    struct item **loaded;
    size_t loaded_count;
};

struct raft; /* opaque: about a kilobyte, and the cached part of the log */

struct raft *raft_new(const struct raft_cfg *cfg,
                      const struct raft_stored *stored, uint64_t now_ms);
void raft_free(struct raft *r); /* drains effects, lets go of all items */

/* Before the first input: each entry of (applied_index, last_index], in
 * order; takes over the reference. */
void raft_load_item(struct raft *r, struct item *item);

/* ---- inputs ------------------------------------------------------------ */

void raft_tick(struct raft *r, uint64_t now_ms);
/* When to tick next, at the latest. */
uint64_t raft_deadline(const struct raft *r);
/* Bytes of peers are never asserted on: senseless ones are dropped and
 * counted. APPEND's items are borrowed (the machine takes own references);
 * they ascend by one from prev_index + 1 and have passed entry_check. */
void raft_recv(struct raft *r, const struct raft_msg *msg, uint64_t now_ms);
/* Writes up to these numbers are on disk (0 leaves one as it was). */
void raft_durable(struct raft *r, uint64_t hard_write, uint64_t log_write);
/* The rank of the own node in the table's row (0 first), REPLICAS_MAX (as at
 * start) if it is not in it; moves the timeout that runs. */
void raft_set_rank(struct raft *r, uint32_t rank);
/* What noop and configuration entries are stamped with. */
void raft_set_stamp(struct raft *r, struct entry_stamp stamp);
/* The owner's word that storage is slow (the oldest waiting command is older
 * than one election timeout): no heartbeats while true (L10). */
void raft_set_stalled(struct raft *r, bool is_stalled);
/* Step down at once, as check-quorum would (a clock jump, L17). */
void raft_step_down(struct raft *r, uint64_t now_ms);
/* The ring has granted a later generation of the group (S7): this replica is at
 * its end. It never leads, votes or acknowledges again, whatever it is told;
 * what its log has got on the way to the disk may still come there. If it
 * founds the next generation, all of its log counts as committed: nobody is
 * left to say otherwise (T12). */
void raft_end(struct raft *r, bool is_founder, uint64_t now_ms);
bool raft_has_ended(const struct raft *r);
/* Campaign at once (tests, and a lone founder). */
void raft_campaign(struct raft *r, uint64_t now_ms);

/* Appends a COMMANDS or RECORD entry, or a NOOP that shall bear its stamp;
 * numbers the manifest; on OK takes over
 * the item (which the caller has just made, refs == 1, unnumbered) and sets
 * index and term. MOVED: not the leader. UNAVAILABLE: no entry of the own
 * term committed yet, or leadership is being handed over. On error the item
 * is still the caller's, and nothing was done. */
NODISCARD enum err raft_propose(struct raft *r, struct item *item,
                                uint64_t *index, uint64_t *term);
/* Proposes a configuration that differs by one member: a learner added (its
 * `added` is set to the entry's index by the machine: pass 0), a learner
 * promoted, a voter or learner removed. `index` and `r` of the result in
 * *index. MOVED; UNAVAILABLE: an entry of the own term has not committed
 * (S9A), leadership is being handed over, the voters of the new configuration
 * that are live and matched are no majority of it (T14), or the learner to be
 * promoted is silent or lags by more than a window (R3); BUSY: another change
 * is uncommitted (S9B); BAD_REQUEST: not one step, would remove the leader
 * itself (hand over first), or would leave no voter. */
NODISCARD enum err raft_change(struct raft *r, const struct config *to,
                               uint64_t *index);

/* Hand leadership to a voter (thesis 3.10): proposals are refused until it is
 * done or an election timeout has passed. MOVED: not the leader. BAD_REQUEST:
 * not a voter, or self. */
NODISCARD enum err raft_transfer(struct raft *r, struct replica to,
                                 uint64_t now_ms);
/* A linearizable read: answered by RAFT_DO_READ with this token, after a
 * round that starts after now (S31). MOVED: not the leader. UNAVAILABLE: no
 * entry of the own term committed yet. BUSY: RAFT_READS_MAX are waiting. */
NODISCARD enum err raft_read(struct raft *r, uint64_t token, uint64_t now_ms);

/* ---- pulled appends ---------------------------------------------------- */

enum raft_pull {
    RAFT_PULL_NOTHING, /* up to date, waiting, or not the leader */
    RAFT_PULL_MSG,     /* *out is an APPEND; its items are references that the
                          caller owns, in an array valid until the next call */
    RAFT_PULL_READ,    /* entries first..last must be read from storage: they
                          are not cached; answer with raft_loaded */
};
/* The next APPEND for the follower, of at most about max_bytes (at least one
 * entry). Without entries to send it gives NOTHING: a commit index that no
 * APPEND will carry leaves as a HEARTBEAT, at the next raft_pop. A follower
 * whose `next` is at or below raft_base gets NOTHING either: what it lacks is
 * cut, it must be installed (raft_cut and raft_reset_peer try again). A
 * follower that has been silent for an election timeout gets heartbeats only.
 */
enum raft_pull raft_next_append(struct raft *r, struct replica to,
                                size_t max_bytes, uint64_t now_ms,
                                struct raft_msg *out, uint64_t *first,
                                uint64_t *last);
/* Entries read for a follower: first.. in order, as many of them as the owner
 * liked to read. Items are borrowed. Those whose (index, term) is not the
 * log's any more are ignored: (index, term) names one content (log matching),
 * so this is T4's check, and frames are built only after it. count 0: the
 * read failed; the follower is tried again later. */
void raft_loaded(struct raft *r, struct replica to, struct item **items,
                 size_t count, uint64_t now_ms);
/* Messages to that node may be lost: go back to match + 1 and probe (T32). */
void raft_reset_peer(struct raft *r, struct id128 node, uint64_t now_ms);

/* ---- effects and queries ----------------------------------------------- */

bool raft_pop(struct raft *r, struct raft_effect *out);

enum raft_role raft_role(const struct raft *r);
uint64_t raft_term(const struct raft *r);
uint64_t raft_commit(const struct raft *r);
uint64_t raft_last(const struct raft *r);
uint64_t raft_base(const struct raft *r); /* last index before the log */
/* Highest index that is durable here, in this log. */
uint64_t raft_durable_index(const struct raft *r);
/* min(commit, own durable index): what may be applied (T19). */
uint64_t raft_applicable(const struct raft *r);
/* Leader known to this replica; node zero: none. */
struct replica raft_leader(const struct raft *r);
/* Time of the last word from a live leader (own time while leading). */
uint64_t raft_leader_heard_ms(const struct raft *r);
/* True for a leader that has committed an entry of its own term. */
bool raft_is_ready(const struct raft *r);
const struct config *raft_config(const struct raft *r); /* in force */
const struct config *raft_committed_config(const struct raft *r);
/* Leader only: the followers (self not among them). */
size_t raft_followers(const struct raft *r, const struct raft_progress **out);
/* An entry of the cache, borrowed; NULL if it is not cached. */
struct item *raft_cached(const struct raft *r, uint64_t index);
/* 0 if the index is outside of [base, last]. */
uint64_t raft_term_at(const struct raft *r, uint64_t index);
/* The index up to which logs of this group may be cut, as far as is needed by
 * others: the leader's word, which its heartbeats bring to all (T23). It never
 * falls. */
void raft_set_floor(struct raft *r, uint64_t index);
uint64_t raft_floor(const struct raft *r);
/* The owner has applied up to here. Items at or below, durable, and matched
 * by all live followers, may leave the cache. */
void raft_applied(struct raft *r, uint64_t index);
/* Storage has cut the log: base is now this applied, durable index. */
void raft_cut(struct raft *r, uint64_t base);
/* Let go of cached, applied, durable entries, oldest first, until at most
 * this many bytes are cached. Returns the bytes still cached. */
size_t raft_trim_cache(struct raft *r, size_t bytes);
size_t raft_cache_bytes(const struct raft *r);
/* Bytes proposed here and not committed. */
size_t raft_uncommitted_bytes(const struct raft *r);
/* Why this replica or its group cannot go on, in a few words that hold until
 * the next call; "" if it can. */
const char *raft_reason(struct raft *r, uint64_t now_ms);
uint64_t raft_dropped(const struct raft *r); /* messages dropped, for stats */

/* ASSERTs the invariants that hold between any two inputs. */
void raft_check(const struct raft *r);
void raft_dump(const struct raft *r, struct buf *text);

/* Pure decisions, exposed for tables (tests/cases): the highest index that a
 * majority of these matches has reached. */
uint64_t raft_quorum_index(const uint64_t *matches, size_t count);

#endif
