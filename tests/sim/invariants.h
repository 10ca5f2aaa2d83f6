/* invariants.h - what must hold, by the numbers of HAZARDS.md 6.1.
 *
 *   X(NAME, exit code of its breach, "what it says")
 *
 * Each is checked by MUST_HOLD where it can be broken, which counts the check
 * (struct totals) and, if it is broken, ends the history with its name.
 * README.md says for each where that is, and for those that are missing why.
 * The last few are no invariants of their own but steps on the way to a breach
 * that one can see at once. */
#ifndef TESTS_SIM_INVARIANTS_H
#define TESTS_SIM_INVARIANTS_H

#define INVARIANT_LIST(X)                                                      \
    X(I1, SIM_SAFETY, "at most one leader of a group and term")                \
    X(I2, SIM_SAFETY, "an entry (index, term) has one content, one past")      \
    X(I3, SIM_SAFETY, "whoever begins to lead has all that is committed")      \
    X(I4, SIM_SAFETY, "the state at an applied index is everybody's")          \
    X(I5, SIM_SAFETY, "what is committed is on a majority's disks")            \
    X(I6, SIM_SAFETY, "what is committed stays, and is the same for all")      \
    X(I7, SIM_SAFETY, "base <= stored <= applied <= commit <= last")           \
    X(I8, SIM_SAFETY, "a replica's term never falls")                          \
    X(I9, SIM_SAFETY, "a replica's vote never changes within a term")          \
    X(I10, SIM_SAFETY, "commit never falls within a life")                     \
    X(I11, SIM_SAFETY, "applied never falls; stored not even over lives")      \
    X(I12, SIM_SAFETY, "one vote a term, on the disk before it leaves")        \
    X(I13, SIM_SAFETY, "neighbouring configurations differ by one")            \
    X(I14, SIM_SAFETY, "no two configurations commit with disjoint quorums")   \
    X(I15, SIM_SAFETY, "no replica id twice, no boot number twice")            \
    X(I16, SIM_SAFETY, "nothing is erased without a committed removal")        \
    X(I17, SIM_SAFETY, "what is acknowledged is on the disk")                  \
    X(I18, SIM_SAFETY, "a stream's positions have no gaps")                    \
    X(I19, SIM_SAFETY, "an acknowledged segment is there, byte for byte")      \
    X(I20, SIM_SAFETY, "appends, ends and reads are linearizable")             \
    X(I21, SIM_SAFETY, "one position for each append")                         \
    X(I22, SIM_SAFETY, "a reader sees each position once, in order")           \
    X(I23, SIM_SAFETY, "what failed definitely never appears")                 \
    X(I25, SIM_SAFETY, "no resurrection without a higher incarnation")         \
    X(I26, SIM_LIVENESS, "a healthy member is not dead to the others")         \
    X(I27, SIM_SAFETY, "what is foreign or of a former life changes nothing")  \
    X(V1, SIM_LIVENESS, "every group has a leader")                            \
    X(V2, SIM_LIVENESS, "an append is acknowledged")                           \
    X(V3, SIM_LIVENESS, "views are equal")                                     \
    X(V4, SIM_LIVENESS, "configurations are as placed, or say why not")        \
    X(V5, SIM_LIVENESS, "no queue grows without bound")                        \
    X(V6, SIM_LIVENESS, "terms hardly grow in a healthy cluster")              \
    X(V7, SIM_LIVENESS, "payload that is damaged is mended")                   \
    X(R5, SIM_SAFETY, "a leader counts entries of its own term")               \
    X(R7, SIM_LIVENESS, "who leads has heard of a majority")                   \
    X(R3, SIM_SAFETY, "a learner that is promoted has caught up")              \
    X(R6C, SIM_LIVENESS, "who has a live leader heeds no candidate")           \
    X(R12, SIM_SAFETY, "answers of other terms count for nothing")             \
    X(S2, SIM_SAFETY, "a voter goes only for a successor, or to spare")        \
    X(S4, SIM_SAFETY, "a leader's followers have what it believes")            \
    X(S6C, SIM_LIVENESS, "an old copy of a folder is told, and ends")          \
    X(S6D, SIM_SAFETY, "a leader finds out that a follower has lost its log")  \
    X(S7, SIM_SAFETY, "nobody leads another life than the record's")           \
    X(S9A, SIM_SAFETY, "no change before an entry of the term commits")        \
    X(S9B, SIM_SAFETY, "one change of members at a time")                      \
    X(S9D, SIM_SAFETY, "the configuration in force is the log's newest")       \
    X(S9E, SIM_SAFETY, "a leader is a voter of its configuration")             \
    X(S17, SIM_SAFETY, "a replica that was installed has all of its segments") \
    X(S23, SIM_SAFETY, "a full disk refuses commands and nothing else")        \
    X(S24, SIM_SAFETY, "nobody speaks of damage where there is none")          \
    X(S25, SIM_SAFETY, "only applied rows of a copy that is there are mended") \
    X(S12, SIM_SAFETY, "a change of the ring is made from its newest")         \
    X(S26, SIM_SAFETY, "times never go back within a stream")                  \
    X(T3, SIM_SAFETY, "commands are committed with enough voters")             \
    X(T6, SIM_SAFETY, "no group counts on who is told to have left")           \
    X(T12, SIM_SAFETY, "a generation has one founder, named before")           \
    X(T13, SIM_SAFETY, "who is invited is in a committed configuration")       \
    X(T14, SIM_SAFETY, "a change has a live, matched majority")                \
    X(T15C, SIM_SAFETY, "who is judged lost has lost what it acknowledged")    \
    X(T16, SIM_SAFETY, "one voter grows to three, not to two")                 \
    X(T23, SIM_LIVENESS, "what a learner lacks that has answered is not cut")  \
    X(T26, SIM_SAFETY, "a proposal has one answer, the first")                 \
    X(T27, SIM_SAFETY, "few go out by themselves within an hour")              \
    X(T29, SIM_SAFETY, "changes are made by ever newer records")               \
    X(L2, SIM_LIVENESS, "a ring record moves hardly more than it must")        \
    X(L10, SIM_LIVENESS, "a leader whose disk hangs sends no heartbeats")

enum invariant {
#define X(name, code, words) HELD_##name,
    INVARIANT_LIST(X)
#undef X
        HELD_COUNT
};

const char *invariant_name(enum invariant i);
const char *invariant_words(enum invariant i);
int invariant_code(enum invariant i);

/* Counts the check; if it is not so, the history ends with the name and the
 * words that follow, as for printf. */
#define MUST_HOLD(w, name, is_so, ...)                                         \
    ((w)->totals.held[HELD_##name]++,                                          \
     (is_so) ? (void)0 : world_broken((w), HELD_##name, __VA_ARGS__))

#endif
