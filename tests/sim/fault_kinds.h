/* fault_kinds.h - every kind of fault that a history may have in it, by name.
 *
 *   X(NAME, per mille of the histories that have it at all, "words")
 *
 * Swarm testing (Groce et al., ISSTA 2012): a kind is there or is missing for
 * a whole history, so that none can hide what the others would bring about.
 * How often it then happens, and how badly, is in the plan. Each that happens
 * is counted (struct totals): a kind that is never injected proves nothing.
 *
 * HAZARDS.md 6.2 is where they come from. */
#ifndef TESTS_SIM_FAULT_KINDS_H
#define TESTS_SIM_FAULT_KINDS_H

#include <stdbool.h>
#include <stdint.h>

#define FAULT_KINDS_NETWORK(X)                                                 \
    X(LOSS, 900, "packets lost")                                               \
    X(DUPLICATE, 800, "packets doubled")                                       \
    X(STALE, 700, "... of which up to seconds later")                          \
    X(REORDER, 800, "packets overtaken by later ones")                         \
    X(LATE, 700, "packets far later than the others")                          \
    X(EXPONENTIAL, 500, "histories with delays without a bound")               \
    X(CLOG, 600, "lines that hold everything up")                              \
    X(SWIZZLE, 600, "hosts clogged one by one, freed in another order")        \
    X(SLOW_LINE, 600, "one way slower than the other")                         \
    X(CAP, 500, "packets beyond a line's bandwidth")                           \
    X(BUFFER, 500, "packets in bursts beyond a buffer")                        \
    X(LOSSY_LINE, 500, "packets of a line that loses most of them")            \
    X(BLACK_HOLE, 500, "packets too large for a line")                         \
    X(DEAD_LANE, 500, "packets of the one lane of a line that is dead")        \
    X(FLAP_LINE, 500, "lines that go up and down quickly")                     \
    X(RESET, 600, "connections reset, with all that is under way")             \
    X(SWAP, 500, "two hosts that change addresses for a while")                \
    X(OLD_PACKET, 700, "packets that come again, up to a minute later")        \
    X(OLD_TO_LIFE, 700, "... to the addressee's next life")                    \
    X(OLD_OF_LIFE, 700, "... of the sender's former life")                     \
    X(OLD_TERM, 700, "... to one that has begun to lead")                      \
    X(MISROUTED, 700, "packets that another host gets too")                    \
    X(OTHER_CLUSTER, 700, "packets of a second cluster")                       \
    X(UNKNOWN_NODE, 700, "packets of a node that never was")                   \
    X(OTHER_VERSION, 700, "packets of another version of the protocol")        \
    X(GARBAGE, 700, "any bytes, and packets that break off")                   \
    X(BIT_FLIP, 700, "packets with a bit changed")                             \
    X(CUT_ONE, 1000, "cuts: one host alone")                                   \
    X(CUT_SPLIT, 700, "cuts: two parts, of any size")                          \
    X(CUT_COINS, 700, "cuts: two parts, by coins")                             \
    X(CUT_BRIDGE, 600, "cuts: two parts and one between them")                 \
    X(CUT_LEAVES, 600, "cuts: two that see one other each")                    \
    X(CUT_PAIR, 600, "cuts: two that do not see each other")                   \
    X(CUT_USERS, 600, "cuts: users from hosts that see each other")            \
    X(CUT_ONE_WAY, 600, "... of which only one way")

#define FAULT_KINDS_USERS(X)                                                   \
    X(HELD, 600, "requests that arrive up to 43 s later")                      \
    X(REPEAT, 800, "users repeat an acknowledged number")                      \
    X(OTHER_BYTES, 800, "... with other bytes")                                \
    X(GAP, 800, "users leave out numbers")                                     \
    X(NO_PRODUCER, 800, "users name a producer that never was")                \
    X(OLD_EPOCH, 800, "users go on with an epoch that is no more")             \
    X(OLD_SEQ, 800, "users expect a seq that has passed")                      \
    X(EXPECT, 800, "appends that race for the next seq")                       \
    X(SHARED_PRODUCER, 700, "users open another's producer")                   \
    X(TWIN_PRODUCER, 600, "two at once under one producer's number")           \
    X(FLOOD, 500, "users who ask on beyond their credit")                      \
    X(RECONNECT, 600, "connections that come back as others")                  \
    X(USER_DIES, 600, "users die and come back")                               \
    X(DIES_SENT, 600, "... right after they have sent appends")                \
    X(OPERATOR, 500, "members whose weight is changed")                        \
    X(LOST_ANSWER, 800, "changes of the ring proposed again when answered")    \
    X(DIES_UNREAD, 600, "... as the answer arrives")

#define FAULT_KINDS_HOSTS(X)                                                   \
    X(CRASH, 1000, "processes killed")                                         \
    X(CRASH_AIMED, 850, "... right after a telling step")                      \
    X(BLACKOUT, 500, "several killed at once")                                 \
    X(AWAY, 400, "hosts away until they are out of the ring")                  \
    X(ROLLING, 400, "all told to stop, one after another")                     \
    X(STOP, 500, "processes told to stop, which hand over")                    \
    X(PAUSE_MANY, 400, "several that stand still at once")                     \
    X(PAUSE_AIMED, 600, "... one, right after a telling step")                 \
    X(PAUSE, 600, "processes that stand still for a while")                    \
    X(HUNT, 600, "leaders cut off as soon as they lead")                       \
    X(SLOW_COMMIT, 600, "commits that take long")                              \
    X(JOIN_LATE, 500, "hosts that join while faults go on")                    \
    X(REZONE, 400, "hosts that are put into another zone")                     \
    X(COPIES, 300, "N raised and lowered again")                               \
    X(NO_JITTER, 300, "histories without jitter in election timeouts")         \
    X(DRAIN, 500, "members drained")                                           \
    X(DRAIN_UNDONE, 700, "... which stay after all")                           \
    X(REMOVE, 400, "members removed by force")                                 \
    X(LEFT, 1000, "members that have left, and are told")                      \
    X(SKEW, 500, "wall clocks apart")                                          \
    X(GONE, 500, "dead or cut off for good, in the end")

/* Of machines: their processes, clocks, disks (disk_faults.h). The first three
 * are not drawn: they are what a crash meets. */
#define FAULT_KINDS_MACHINES(X)                                                \
    X(CRASH_UNSYNCED, 1000, "crashes before the disk has the commit")          \
    X(CRASH_UNKNOWN, 1000, "... after, before the system says so")             \
    X(CRASH_UNTOLD, 1000, "... after, before the core is told")                \
    X(RESTART_FAST, 500, "processes back within 20 ms")                        \
    X(RESTART_SLOW, 300, "processes back after 5 to 20 s")                     \
    X(MASS_RESTART, 200, "restarts of all hosts at once")                      \
    X(FLAP, 300, "hosts that die each time that they are up")                  \
    X(STARVE, 400, "processes without the CPU")                                \
    X(CLOCK_FORWARD, 300, "clocks that jump forward, by years")                \
    X(CLOCK_BACK, 300, "clocks that jump back, by years")                      \
    X(CLOCK_DRIFT, 300, "clocks that go too slow or too fast")                 \
    X(CLOCK_STOP, 300, "clocks that stand still")                              \
    X(SLOW_DISK, 400, "disks that are slow for seconds")                       \
    X(FULL_DISK, 400, "disks that are full for a while")                       \
    X(COMMIT_NEVER, 400, "commits that fail, and are not on the disk")         \
    X(COMMIT_FAILED, 400, "commits that fail, and yet are on the disk")        \
    X(COMMIT_DOUBT, 400, "commits that fail, and are in the cache alone")      \
    X(POWER_LOST, 1000, "... and the power goes before the next")              \
    X(READ_ERROR, 400, "reads that fail")

/* Of folders (folder_faults.h). */
#define FAULT_KINDS_FOLDERS(X)                                                 \
    X(DISK_LOST, 250, "folders that are lost")                                 \
    X(NEW_NODE, 700, "new nodes in place of lost ones")                        \
    X(ROT_ROW, 200, "rows of log, state, index or meta with a flipped bit")    \
    X(LOST_ROW, 200, "log rows that never got to the disk")                    \
    X(ROT_PAYLOAD, 300, "payload rows with a flipped bit")                     \
    X(LOST_PAYLOAD, 300, "payload rows that never got to the disk")            \
    X(OTHERS_PAYLOAD, 300, "payload rows that another's are written over")     \
    X(ROLL_BACK_LOG, 400, "folders that go back within one boot")              \
    X(ROLL_BACK_BOOT, 250, "folders that go back to a former boot")            \
    X(CLONE, 250, "copies of folders that run beside them")                    \
    X(RECOVER, 60, "histories whose groups are founded anew in the end")       \
    X(HALT, 40, "more lost than is borne: only wrong bytes are a failure")

#define FAULT_KINDS(X)                                                         \
    FAULT_KINDS_NETWORK(X)                                                     \
    FAULT_KINDS_USERS(X)                                                       \
    FAULT_KINDS_HOSTS(X)                                                       \
    FAULT_KINDS_MACHINES(X)                                                    \
    FAULT_KINDS_FOLDERS(X)

enum fault {
#define X(name, per_mille, words) FAULT_##name,
    FAULT_KINDS(X)
#undef X
        FAULT_COUNT
};

const char *fault_name(enum fault kind);
const char *fault_words(enum fault kind);
/* Which of them a history has: each drawn by the seed and its own name, so
 * that a new kind changes none of the others' draws. */
void fault_draw(bool has[FAULT_COUNT], uint64_t seed);

struct world;
/* True if it may happen now: the history has it, and they go on. (A minimiser
 * may have taken it away: world_cfg.no.) */
bool fault_may(const struct world *w, enum fault kind);
/* True with so many in 1000, if it may; then it is counted. */
bool fault_strikes(struct world *w, enum fault kind, uint32_t per_mille);
void fault_count(struct world *w, enum fault kind);

#endif
