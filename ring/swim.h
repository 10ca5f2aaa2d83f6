/* swim.h - who seems alive: SWIM with Lifeguard's local health.
 *
 * The idea. Each probe interval a node pings one other, in a shuffled order
 * that every pass shuffles anew. No answer within the probe timeout: three
 * others are asked to ping it. Still none at the end of the interval: it is
 * SUSPECT, and everyone is told. It has the suspicion timeout to hear of that
 * and to refute; then it is DEAD. News ride on pings and answers; a full
 * exchange of states (push-pull) mends what news have missed.
 *
 *     UNSEEN --heard of--> ALIVE --probe failed--> SUSPECT --timeout--> DEAD
 *     UNSEEN --probe failed--> SUSPECT
 *     SUSPECT, DEAD --a higher (boot, version)--> ALIVE
 *
 * Sources: Das, Gupta, Motivala, "SWIM" (DSN 2002); Dadgar, Phillips, Currey,
 * "Lifeguard" (arXiv 1707.00788); figures from hashicorp/memberlist. All of
 * it is a hint: gossip proposes, quorum decides (DESIGN 0).
 *
 * Departures from the papers, and why:
 * - Who may be a member comes from outside (the ring record): gossip about
 *   others is ignored. So there is no join, and no leave.
 * - An incarnation is (boot, version). The boot is durable and compared
 *   first, so a restart overrules all that was said of the former life; the
 *   version is raised by its owner alone, to refute or to change its meta.
 * - Claims are ordered by (boot, version, state), ALIVE < SUSPECT < DEAD, and
 *   the greater one wins, whatever way it came: all views converge. An ALIVE
 *   of the same incarnation never resurrects; DEAD is not for ever.
 * - DEAD that comes by push-pull counts as SUSPECT, so that it can be refuted.
 * - Every packet begins with its sender's own state; and a packet to a member
 *   that its sender thinks SUSPECT or DEAD says so (Lifeguard's buddy
 *   system). So one exchange of packets refutes.
 * - Push-pull is one-way messages, and several packets where one is too
 *   small. Besides one with a random live member every push_pull_ms, there is
 *   one with a random dead member every heal_ms: so partitions heal.
 * - A tick that comes more than a probe timeout late means that *we* slept:
 *   nobody is judged for that time (SIGSTOP, starvation).
 * - Lifeguard's suspicion begins at six times its least and comes down to it as
 *   others confirm. Here it is always the least, but for what this node has
 *   found itself: then it grows with its health, as probes do. That spares
 *   confirmations that would compete with news for room; three nodes, of which
 *   none could confirm anything, have the same protection; and of a hundred
 *   with four slow ones nobody who is well is called dead, where without
 *   Lifeguard that happens hundreds of times (tests/unit/test_swim_hundred.c).
 * - A failed probe costs health only for each helper that was asked and did
 *   not even say no (refuting and sleeping cost it too): a node alone in the
 *   world has learned nothing about itself.
 *
 * Bound. In a cluster of n with no loss, each observer by itself sees a killed
 * node dead within
 *
 *     (2n - 2) * (probe_interval_ms + jitter_ms) + suspicion_ms(n)
 *
 * since two probes of one target are at most 2n - 3 intervals apart (first in
 * one pass, last in the next) and the one that fails takes one more, where
 * suspicion_ms(n) = suspicion_ms * max(1, log10 n), rounded up: 8.4 s for
 * n = 3 by default, 12.8 s for n = 5 (and 10 s as a rule, since news travel
 * faster). It holds for an observer in perfect health, and counts from when
 * the last version of the killed node has spread.
 *
 * Use: after each swim_tick and swim_recv call swim_pop until it says false.
 * Call swim_tick(now) first on each wake-up: swim_recv takes its time from it.
 * Machines hold no lock and know no clock; chance comes from cfg.seed. */
#ifndef RING_SWIM_H
#define RING_SWIM_H

#include "ring/base.h"
#include "ring/limits.h"

#define SWIM_HELPERS     3u /* asked to ping whom we cannot reach */
#define SWIM_LAMBDA      3u /* a news is sent LAMBDA * log2 n times at most */
#define SWIM_HEALTH_MAX  8u /* 1 s, 0.5 s become 9 s, 4.5 s at worst */
#define SWIM_RELAYS_MAX  64u
#define SWIM_EFFECTS_MAX 1024u

/* The numbers stand on the wire, and their order decides between claims of
 * one incarnation. */
enum swim_state {
    SWIM_UNSEEN = 0, /* in the record, not heard of since we started */
    SWIM_ALIVE = 1,
    SWIM_SUSPECT = 2,
    SWIM_DEAD = 3,
};
const char *swim_state_name(enum swim_state state);

struct swim_cfg {
    struct id128 id;     /* this node */
    uint64_t boot;       /* > 0, durable, greater than in any former life */
    struct span address; /* what others shall connect to; may be empty */
    uint64_t seed;
    uint64_t now_ms; /* time of start, on the clock of swim_tick */
    /* The rest is set by swim_cfg_default. */
    uint64_t probe_interval_ms;
    uint64_t probe_timeout_ms; /* < probe_interval_ms */
    uint64_t jitter_ms;        /* at most; added to each interval */
    uint64_t suspicion_ms;     /* at n <= 10 */
    uint64_t push_pull_ms;     /* this and heal_ms are scaled for n > 32 */
    uint64_t heal_ms;
    uint64_t meta_interval_ms;
    uint64_t tombstone_ms; /* at least two scaled push-pulls */
    uint32_t health_max;   /* 0 turns Lifeguard's multiplier off */
};

/* A possible member, with the address that the record has for it. */
struct swim_seed {
    struct id128 id;
    struct span address; /* at most ADDRESS_MAX */
};

enum swim_effect_kind {
    SWIM_SEND,    /* send `bytes` to member `id`; may be lost */
    SWIM_CHANGED, /* `state`, boot or address of member `id` is new */
};

struct swim_effect {
    enum swim_effect_kind kind;
    struct id128 id;
    struct span bytes; /* at most SWIM_BYTES_MAX */
    enum swim_state state;
};

/* What was thrown away, and why. */
struct swim_stats {
    uint64_t refused;     /* packets that are no packets */
    uint64_t strangers;   /* packets of nodes that are not in the record */
    uint64_t unknown;     /* claims about such nodes */
    uint64_t stale;       /* packets of a member's former life (T15) */
    uint64_t conflicts;   /* two addresses for one incarnation */
    uint64_t impostors;   /* claims that we are of a boot yet to come */
    uint64_t relays_full; /* asked to help when busy helping */
    uint64_t refutations; /* we had to say that we live */
    uint64_t sleeps;      /* ticks that came too late to judge others */
};

struct swim_member {
    struct id128 id;
    uint64_t boot; /* (0, 0): not heard of */
    uint32_t version;
    enum swim_state state;
    struct id128 by;      /* who said first that it is suspect or dead */
    uint64_t since_ms;    /* this state, in this boot */
    uint64_t deadline_ms; /* SUSPECT: dead by then */
    uint64_t news_number; /* the greater, the newer */
    uint32_t sends_left;  /* as a piggybacked news */
    uint8_t meta[SWIM_META_BYTES_MAX];
    size_t meta_size;
    char address[ADDRESS_MAX + 1];
};

/* The one probe under way. */
struct swim_probe {
    struct id128 target;
    uint32_t seq;
    bool is_open; /* no answer yet */
    bool is_indirect;
    uint64_t indirect_ms; /* then helpers are asked */
    uint64_t end_ms;      /* then it has failed, and the next begins */
    struct id128 helpers[SWIM_HELPERS];
    size_t helper_count;
    size_t nack_count;
};

/* A ping that we made for another. */
struct swim_relay {
    struct id128 target;
    struct id128 asker;
    uint32_t seq;       /* of our ping */
    uint32_t asker_seq; /* of the asker's probe */
    bool is_used;
    bool is_nacked;
    uint64_t nack_ms;
    uint64_t end_ms;
};

/* What is remembered of one who left the record, lest old news about it be
 * taken for new ones if it comes back. */
struct swim_tombstone {
    struct id128 id;
    uint64_t boot;
    uint32_t version;
    enum swim_state state;
    uint64_t reap_ms;
};

struct swim_queued {
    enum swim_effect_kind kind;
    enum swim_state state;
    struct id128 id;
    size_t offset; /* into `out` */
    size_t size;
};

/* Read `stats`, `health` and `version` freely; leave the rest alone. */
struct swim {
    struct swim_cfg cfg; /* its address borrows from own_address */
    struct swim_stats stats;
    struct rng rng;
    uint64_t now_ms;
    uint64_t deadline_ms;

    uint32_t version;
    uint32_t health; /* 0 is perfect; times are multiplied by 1 + health */
    uint32_t seq;
    char own_address[ADDRESS_MAX];
    uint8_t meta[SWIM_META_BYTES_MAX]; /* as others know it */
    size_t meta_size;
    uint8_t meta_next[SWIM_META_BYTES_MAX]; /* as they will */
    size_t meta_next_size;
    bool is_meta_new;
    uint64_t meta_ms; /* not before this */

    struct swim_member *members; /* by id, without this node */
    size_t member_count;
    uint64_t news_count;
    uint16_t order[MEMBERS_MAX]; /* of probes, shuffled */
    size_t order_at;
    struct swim_probe probe;
    struct swim_relay relays[SWIM_RELAYS_MAX];
    struct swim_tombstone tombstones[MEMBERS_MAX]; /* oldest first */
    size_t tombstone_count;

    bool is_synced; /* someone's full state has come since we started */
    uint64_t sync_ms;
    uint64_t heal_ms;

    struct swim_queued *effects; /* SWIM_EFFECTS_MAX */
    size_t effect_count;
    size_t effect_at;
    struct buf out;
};

/* The defaults of limits.h; id, boot, address, seed and now_ms are zero. */
struct swim_cfg swim_cfg_default(void);

/* The bound above, for a cluster of `count` nodes, this one included; at
 * least 2. */
uint64_t swim_detection_ms_max(const struct swim_cfg *cfg, size_t count);

/* `cfg` is copied, its address too. Then swim_set_members, then swim_tick. */
void swim_init(struct swim *s, const struct swim_cfg *cfg);
void swim_free(struct swim *s); /* a zeroed struct is accepted */

/* Who may be a member: call it whenever the record has changed. This node may
 * be among them or not. At most MEMBERS_MAX, in any order, borrowed for the
 * call, their ids distinct. New ones are UNSEEN, and dead after the usual
 * failed probes; the state of those who stay is kept, and gossip's address
 * goes before the record's. Makes no effects. */
void swim_set_members(struct swim *s, const struct swim_seed *seeds,
                      size_t count);

/* What gossip shall carry about this node: at most SWIM_META_BYTES_MAX,
 * copied, opaque. It leaves at the next tick or, so that the whole cluster
 * makes at most two such news a second, meta_interval_ms (or n / 2 s if that
 * is more) after the change before; of several changes the last one leaves.
 * Makes no effects. */
void swim_set_meta(struct swim *s, struct span meta);

/* Time has come to now_ms; it never goes back. */
void swim_tick(struct swim *s, uint64_t now_ms);

/* A packet from node `from`, which the caller has authenticated. `bytes` is
 * not kept. On an error nothing has changed but a counter:
 * BAD_REQUEST  it is no packet of ours: cut, too long, senseless
 * NOT_FOUND    `from` is not in the record */
NODISCARD enum err swim_recv(struct swim *s, struct id128 from,
                             struct span bytes);

/* When to tick at the latest. */
uint64_t swim_deadline(const struct swim *s);

/* The next effect, valid until the next tick or recv; false: no more. */
bool swim_pop(struct swim *s, struct swim_effect *effect);

/* Of this node itself: ALIVE, its own. Of one not in the record: UNSEEN, "",
 * 0. The address is NUL-terminated and, like the meta, valid until the next
 * tick, recv or set_members. */
enum swim_state swim_state(const struct swim *s, struct id128 id);
const char *swim_address(const struct swim *s, struct id128 id);
uint64_t swim_since_ms(const struct swim *s, struct id128 id);
struct span swim_meta(const struct swim *s, struct id128 id);
uint64_t swim_boot(const struct swim *s, struct id128 id);

/* All of it, for whoever shows it; NULL for this node itself and for one not
 * in the record. Same lifetime. */
const struct swim_member *swim_member(const struct swim *s, struct id128 id);

/* Abort if an invariant is broken; append the state as text, a line each. */
void swim_check(const struct swim *s);
void swim_dump(const struct swim *s, struct buf *text);

#endif
