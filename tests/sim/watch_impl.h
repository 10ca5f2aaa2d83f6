/* watch_impl.h - inside struct watch: for tests/sim/watch*.c only.
 *
 *   watch.c         life, each replica after a turn, questions
 *   watch_disk.c    batches that become durable: what is on which disk
 *   watch_sent.c    messages that leave: votes, leaders, acknowledgements
 *   watch_change.c  who may be a member of a group, and when that may change
 *   watch_fed.c     what comes in and must not be heeded
 *   watch_commit.c  what is committed and applied, by whom, on what grounds
 *   watch_image.c   folders that go back, and what may be lost
 *   watch_anew.c    groups that were founded anew, of which less is promised
 *   watch_view.c    gossip: who thinks whom alive */
#ifndef TESTS_SIM_WATCH_IMPL_H
#define TESTS_SIM_WATCH_IMPL_H

#include "tests/sim/watch.h"

/* One content that an index has had on some disk. */
struct variant {
    uint64_t term;
    uint64_t previous_term; /* of the entry before it: I2 by induction */
    uint64_t hash;
    struct buf manifest;
    struct replica *durable; /* who has had it on disk */
    uint32_t durable_count;
    struct variant *next;
};

struct slot {
    struct variant *variants;
    struct variant *committed;
    uint64_t committed_in; /* in which term, by its leader */
    bool has_digest;
    struct hash128 digest; /* of the state with this entry applied */
};

struct lead {
    uint64_t term;
    struct replica leader;
};
struct vote {
    struct replica voter;
    uint64_t term;
    struct replica candidate;
};

/* A CONFIG entry that has been on some disk. */
struct config_seen {
    uint64_t index, term;
};

/* What some replica has made of a group in its present life, by index. */
struct anew_digest {
    uint64_t index;
    struct hash128 digest;
};

struct group_watch {
    bool is_anew; /* founded anew: watch_anew.c alone looks at it */
    struct generation life;
    struct anew_digest *digests;
    size_t digest_count;
    struct config_seen *configs;
    size_t config_count;
    struct slot *slots; /* by index */
    size_t capacity;
    uint64_t committed;   /* by anybody */
    struct config config; /* the newest committed */
    struct lead *leads;
    size_t lead_count;
    struct vote *votes; /* newest last */
    size_t vote_count;
    /* A replica that is nobody's, never restarts and applies each entry as it
     * is committed: I4 at every index. Group 0's state is the ring's record,
     * which it has not. */
    struct streams *reference;
};

/* A replica's log and hard state as they are on its disk. */
struct disk {
    bool is_there;
    bool is_installing;           /* and no replica yet */
    uint64_t base;                /* the last entry that is cut */
    struct generation generation; /* counter 0: the first */
    uint32_t incarnation;
    uint64_t added;
    uint64_t added_most; /* of all that there ever was here */
    struct raft_hard_state hard;
    struct variant **entries; /* [index - 1] */
    size_t count, capacity;
    uint64_t stored; /* index of its stored state */
};

/* What the replica claimed at its last turn. */
struct claim {
    uint64_t added; /* which replica */
    enum raft_role role;
    uint64_t term, commit, applied;
    struct id128 leader;
    uint64_t matches; /* of a leader's followers, added up */
    uint64_t config;  /* index of the one in force */
    bool has_lost;    /* a leader believes that a follower has lost its log */
    uint64_t floor;   /* logs may be cut up to here */
};

/* What a host last said of another. */
struct view {
    uint64_t boot;
    uint32_t version;
    enum swim_state state;
};

/* The last that it acknowledged, whatever became of its disk since. */
struct acked {
    uint64_t added, term, match;
};

/* How far the log of a replica went before its folder went back. */
struct former {
    uint64_t added, count;
};

struct host_watch {
    struct epoch epoch; /* of its record */
    uint64_t all_at_us; /* when to look at all groups, turn or not */
    struct disk disks[PLAN_GROUPS_MAX];
    struct former formers[PLAN_GROUPS_MAX];
    struct claim claims[PLAN_GROUPS_MAX];
    struct acked acked[PLAN_GROUPS_MAX];
    uint64_t newest_boot;
    uint64_t boots_seen[HOSTS_MAX]; /* of its peers, as its disk has it */
    /* Of each group that it leads: since when (0: it does not) it has heard
     * well of a follower whose disk has less than it believes. */
    uint64_t deceived_ms[PLAN_GROUPS_MAX];
    /* Of each group that it leads: learners, and when they last accepted. */
    struct accepted {
        struct replica learner;
        uint64_t at_ms;
    } accepted[PLAN_GROUPS_MAX][REPLICAS_MAX];
    struct view views[HOSTS_MAX];
    uint64_t news_count; /* of its gossip, when the views were taken */
};

/* What a turn has done, for the faults that lie in wait. */
struct doings {
    uint32_t began[PLAN_GROUPS_MAX]; /* groups that it leads since this turn */
    uint32_t began_count;
    uint32_t handed_over; /* a group; 0: none */
};

struct epoch_seen {
    struct epoch epoch;
    uint64_t hash;
};

/* What a message that is being fed must not change. */
enum unheeded_why {
    UNHEEDED_NOT, /* it may */
    UNHEEDED_CALL,
    UNHEEDED_ANSWER
};
/* What a leader counts of a follower. */
struct counted {
    uint64_t heard_ms, match, round;
    bool is_lost;
};
struct unheeded {
    uint32_t group;
    enum unheeded_why why;
    uint64_t term; /* before it */
    struct replica from;
    struct counted counted; /* before it; of an ANSWER */
};

struct watch {
    struct world *w;
    struct group_watch groups[PLAN_GROUPS_MAX];
    struct host_watch hosts[HOSTS_MAX];
    struct doings doings;
    struct epoch_seen *epochs;
    size_t epoch_count;
    struct record *record; /* the newest seen; NULL: none yet */
    struct unheeded unheeded[PLAN_GROUPS_MAX];
    uint32_t unheeded_count;
    struct verdict verdicts[ENTRY_COMMANDS_MAX]; /* the references' */
    struct buf images;
};

static inline unsigned long long ull(uint64_t n)
{
    return n;
}

/* ---- watch_disk.c ------------------------------------------------------ */

struct slot *watch_slot(struct group_watch *gw, uint64_t index);
struct variant *watch_variant(struct group_watch *gw, uint64_t index,
                              uint64_t term);
/* The replica has had it on its disk. */
bool watch_was_durable(const struct variant *v, struct replica r);

/* ---- watch_sent.c ------------------------------------------------------ */

void watch_note_leader(struct watch *a, uint32_t group, uint64_t term,
                       struct replica leader);

/* ---- watch_commit.c ---------------------------------------------------- */

/* Of a whole group, for the first time: it is committed. */
void watch_commit(struct watch *a, uint32_t group, struct variant *v,
                  uint64_t index);
/* A replica's commit index has risen from `from`. */
void watch_commit_risen(struct watch *a, struct host *h, uint32_t group,
                        const struct raft *r, uint64_t from);
void watch_applied_risen(struct watch *a, struct host *h, uint32_t group,
                         uint64_t applied);
/* Of each configuration that may be in force: until one of those that are not
 * committed commits, any may. False as soon as one call is. */
typedef bool (*config_fn)(const struct watch *a, uint32_t group,
                          const struct config *c, const void *ctx);
bool watch_each_config(const struct watch *a, uint32_t group, config_fn fn,
                       const void *ctx);
/* It begins to lead. */
void watch_complete(struct watch *a, struct host *h, uint32_t group,
                    const struct raft *r);
/* I4: this is what some replica has made of everything up to the index. */
void watch_digest(struct watch *a, struct host *h, uint32_t group,
                  uint64_t index, struct hash128 digest);

/* ---- watch_change.c ---------------------------------------------------- */

/* An entry comes to a disk for the first time. */
void watch_change_stored(struct watch *a, struct host *h, uint32_t group,
                         const struct item *item);
/* After a turn of a leader. */
void watch_change_led(struct watch *a, struct host *h, uint32_t group,
                      const struct raft *r, const struct claim *was);
/* A ring record is seen for the first time; `before` is the last one. */
void watch_change_record(struct watch *a, const struct record *before,
                         const struct record *next);

/* ---- watch_image.c ----------------------------------------------------- */

/* The row that a host keeps of its peers' boots is this now. */
void watch_boots(struct watch *a, const struct host *h, struct span row);

/* ---- watch_anew.c ------------------------------------------------------ */

/* A command of a group that was founded anew, or founds it. True: there is no
 * more to it. */
bool watch_anew_stored(struct watch *a, struct host *h,
                       const struct store_command *c);
/* A replica of such a group, after a turn. */
void watch_anew_look(struct watch *a, struct host *h, uint32_t group,
                     const struct raft *r);

/* ---- watch_view.c ------------------------------------------------------ */

void watch_view(struct watch *a, struct host *h);

#endif
