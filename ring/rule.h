/* rule.h - a switch for each rule of HAZARDS.md that the code obeys.
 *
 * RULE(S4) stands where the rule is obeyed: `if (RULE(S4) && ...) drop`. In
 * production it is the constant true and costs nothing; in the test build
 * (-DEDDY_RULES) it can be turned off by name, and the simulator must then
 * find a violation: a rule whose absence is not found is not tested.
 *
 * X(NAME, "what it forbids or demands, in a line") */
#ifndef RING_RULE_H
#define RING_RULE_H

#include <stdbool.h>
#include <stddef.h>

#define RULE_LIST(X)                                                           \
    X(S2, "a voter goes only if its successor has caught up, or one is spare") \
    X(S4, "messages between other than the current pair of replicas drop")     \
    X(S5, "a replica is dropped only as of a commit that knew of it")          \
    X(S6C, "peers remember the highest boot, over restarts; no other speaks")  \
    X(S6D, "a replica that has lost what it acknowledged is replaced")         \
    X(S7, "a replica of another generation than the record's is at its end")   \
    X(S9A, "no configuration change before an entry of the own term commits")  \
    X(S9B, "one uncommitted configuration change at a time")                   \
    X(S9C, "learners are not counted")                                         \
    X(S9D, "the configuration is recomputed after truncation")                 \
    X(S9E, "a leader does not remove itself")                                  \
    X(S10A, "a vote leaves only once it is durable")                           \
    X(S10B, "a leader counts its own entries only once they are durable")      \
    X(S10C, "an acknowledgement leaves only once its entries are durable")     \
    X(S11A, "a heartbeat's commit is at most the follower's match")            \
    X(S11C, "truncate only at a real conflict of terms")                       \
    X(S11D, "a follower's commit is at most what this message matched")        \
    X(S12,                                                                     \
      "the ring changes only by compare and append: from the epoch named")     \
    X(S13, "another cluster's or another node's messages are dropped")         \
    X(S16, "a transfer begins with the state as of one stored entry")          \
    X(S17, "an install ends once all that its blob names is there")            \
    X(S18, "exactly once is judged at apply")                                  \
    X(S19A, "an unknown producer is EXPIRED, never new")                       \
    X(S19B, "a lower producer epoch is FENCED")                                \
    X(S19C, "a repeat with other bytes is a CONFLICT")                         \
    X(S20, "a duplicate is judged before the expected seq")                    \
    X(S21, "UNAVAILABLE only before the command is in the log")                \
    X(S22, "a commit of the boot number succeeds before the first message")    \
    X(S26, "times never go back within a stream")                              \
    X(S30, "only a leader after read-index says no")                           \
    X(S31, "a read waits for a round started after it came")                   \
    X(R1, "one vote a term")                                                   \
    X(R2, "a vote is refused to a shorter log")                                \
    X(R3, "a learner is promoted once it has caught up and answers")           \
    X(R5, "commit only by counting entries of the own term")                   \
    X(R6A, "a lower term is refused")                                          \
    X(R6B, "pre-vote goes before a vote")                                      \
    X(R6C, "followers of a live leader ignore candidates")                     \
    X(R7, "a leader without a quorum steps down")                              \
    X(R9, "no linearizable read before an entry of the own term commits")      \
    X(R12, "an acknowledgement of another term does not count")                \
    X(R14, "prev index and term must match")                                   \
    X(T1, "a stored state is one entry's, from after-images")                  \
    X(T3, "writes need acks voters")                                           \
    X(T4, "what was read for a follower is sent only if it is still the log")  \
    X(T5, "an answer waits for the entry of its very term")                    \
    X(T8, "ids hold the ordinal too")                                          \
    X(T6, "who is sent away has left once no group counts on it")              \
    X(T9, "below the window is EXPIRED, never OK")                             \
    X(T12, "a generation is the next one after the record's")                  \
    X(T13, "an invitation leaves only once the adding entry has committed")    \
    X(T14, "a change needs a live, matched majority of what it makes")         \
    X(T15, "a message of a lower boot is dropped silently")                    \
    X(T15B, "FORGOTTEN is obeyed only by the boot and nonce that it names")    \
    X(T15C,                                                                    \
      "a loss is judged only by a round begun after the acknowledgement")      \
    X(T16, "one or two voters grow in pairs")                                  \
    X(T18, "unknown stays unknown until a verdict")                            \
    X(T19, "applied is at most the own durable index")                         \
    X(T23, "the log is kept from the pin on while a learner comes")            \
    X(T24, "no log is cut above what is stored as applied")                    \
    X(T26, "a repeated proposal gets its first answer")                        \
    X(T27, "few go out by themselves within an hour, by the record's times")   \
    X(T29, "no leader acts by a record older than its group's")                \
    X(T32, "a gap in a lane resets the groups concerned")                      \
    X(L10, "a leader whose disk hangs stops its heartbeats")                   \
    X(L18, "a replica without a leader asks whether it is still in")

#ifdef EDDY_RULES

enum rule {
#define X(name, text) RULE_##name,
    RULE_LIST(X)
#undef X
        RULE_COUNT
};
/* The only global of the core, and only in the test build. */
extern bool rule_is_off[RULE_COUNT];
#define RULE(name) (!rule_is_off[RULE_##name])

/* Turn one off by its name ("S4"); false if there is none of that name. */
bool rule_turn_off(const char *name);
void rule_turn_all_on(void);
const char *rule_name(size_t rule);
const char *rule_text(size_t rule);

#else

#define RULE(name) true

#endif

#endif
