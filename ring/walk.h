/* walk.h - how a group walks to its row of the table, one step at a time.
 *
 * A pure decision: the leader shows its committed configuration, its row and
 * what it knows of each replica, and is told the next step. Nothing is kept
 * between two calls, so a new leader goes on where the old one stopped (T14).
 *
 *   lost its log ......... REMOVE at once: it counts for nothing, and its node
 *                          comes back as a new replica, from nothing (S6D)
 *   behind the cut ....... if a voter leads that was there before all others:
 *                          REMOVE, one at a time: no log can bring it up, it
 *                          acknowledges nothing, and its node comes back as a
 *                          new replica, by transfer. (Never in place: there is
 *                          no old state to install over, S17, T2)
 *   missing node ......... ADD a learner; it comes by log or transfer
 *   caught-up learner .... PROMOTE (in pairs where one or two voters would
 *                          be left in a row of three or more, T16)
 *   dead voter ........... only once its successor has caught up: REMOVE, the
 *                          successor is promoted next (S2); but if it has only
 *                          been silent for a moment, the successor is promoted
 *                          first, so that it counts if it comes back
 *   caught-up learner, not in the row any more ... while voters are too few,
 *                          and nobody else is ready: PROMOTE, it stands in for
 *                          who has not caught up yet; else REMOVE
 *   live voter, not in the row ... the newcomer is promoted first; then it
 *                          goes, if N of the rest are live and matched
 *   the leader, not in the row ... TRANSFER first (S9)
 *   all there ............ TRANSFER to the row's first, if it is calm
 *
 * Every state that waits names its reason. */
#ifndef RING_WALK_H
#define RING_WALK_H

#include "ring/entry.h"

enum walk_kind {
    WALK_DONE,
    WALK_WAIT,
    WALK_ADD,
    WALK_PROMOTE,
    WALK_REMOVE,
    WALK_TRANSFER
};

/* What the leader knows of one member of the configuration. */
struct walk_replica {
    bool is_live;    /* answered within one election timeout (itself: true) */
    bool is_matched; /* its match has reached the commit index */
    bool is_calm;    /* may be given leadership (L3) */
    bool is_lost;    /* has less on disk than it acknowledged (S6D) */
    bool is_out;     /* the ring has given it up: its node is out, or left */
    bool is_behind;  /* what it lacks is cut from the leader's log */
    bool is_installing; /* a learner that answers, and has no log yet */
    enum err refusal; /* a learner that does not come: NO_SPACE its node has no
                         room for it, UNAVAILABLE it has a part and gets
                         nothing more; else OK */
};

struct walk_view {
    const struct config *config;         /* committed, and in force */
    const struct walk_replica *replicas; /* as config->members */
    struct replica self;                 /* the leader */
    const struct id128 *row;             /* nodes, preferred leader first */
    uint32_t row_count;
};

struct walk_step {
    enum walk_kind kind;
    struct id128 node;      /* ADD */
    struct replica replica; /* PROMOTE, REMOVE, TRANSFER; WAIT: for whom */
    const char *reason;     /* static text; of DONE only if another than the
                               row's first leads: why */
};

struct walk_step walk_next(const struct walk_view *v);

/* The configuration after ADD, PROMOTE or REMOVE (an added learner has
 * `added` 0: raft_change sets it). */
void walk_apply(const struct config *now, const struct walk_step *step,
                struct config *next);

#endif
