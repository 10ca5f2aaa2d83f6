/* watch.h - the oracle of Raft: sees every batch that becomes durable, every
 * control message that leaves, and every replica after each turn, and knows
 * what must hold between them (HAZARDS 6.1):
 *
 *   I1   at most one leader of a group and term, by its turn and by what it
 *        sends
 *   I2   an entry (index, term) has one content and one predecessor
 *   I3   whoever begins to lead has every committed entry
 *   I4   the digest of applied state at an index is everybody's
 *   I5   what a leader commits is on the disks of a majority of its voters
 *   I6   what was committed once is committed for ever, and for all
 *   I10  term, commit and applied never go back within a life
 *   I12  a replica votes once a term, and the vote is on its disk before it
 *        leaves; I17 so is what it acknowledges
 *   I13  committed configurations differ by one member
 *   I15  no two lives of a node have one boot number
 *   S9D  the configuration in force is the newest in the log
 *   T3   commands are committed only with enough voters
 *   T23  what a learner lacks that has answered is cut nowhere
 *   L2   a ring record asks for hardly more copies than it must
 *   R7   a leader has heard of a majority within two election timeouts
 *
 * It derives all of it by itself from the batches' manifests; from the nodes
 * it takes only what they claim. */
#ifndef TESTS_SIM_WATCH_H
#define TESTS_SIM_WATCH_H

#include "tests/sim/host.h"

struct watch *watch_new(struct world *w);
void watch_free(struct watch *a);

/* The founder's disk has been seen: what is on it is committed. */
void watch_founded(struct watch *a);
void watch_started(struct watch *a, struct host *h);
void watch_crashed(struct watch *a, struct host *h);
/* Now durable on the host's disk. */
void watch_durable(struct watch *a, struct host *h,
                   const struct store_batch *b);
/* A control message leaves. True if it does what the aim waits for, while a
 * commit is under way. */
bool watch_sent(struct watch *a, struct host *h, const struct host *to,
                struct span message, enum aim aim);
/* A message is about to be fed to a node; it has been. */
void watch_feeds(struct watch *a, struct host *h, struct span message);
void watch_fed(struct watch *a, struct host *h);
/* After a turn. True if the host leads a group that it did not lead before. */
bool watch_wake(struct watch *a, struct host *h);

/* Of every configuration that may be in force in the group, a majority of the
 * voters is among these hosts (by bits), and it has as many voters as writes
 * ask for. */
bool watch_has_quorum(const struct watch *a, uint32_t group, uint32_t hosts);

/* The host is in the group's committed configuration. */
bool watch_counts_on(const struct watch *a, uint32_t group,
                     const struct host *h);

/* What is on the host's disk now; and it has gone back to that. */
struct watch_image *watch_image(const struct watch *a, const struct host *h);
void watch_image_free(struct watch_image *i);
void watch_restore(struct watch *a, struct host *h,
                   const struct watch_image *i);
/* Without this host's disk each group still has a majority of whole ones. */
bool watch_may_lose(const struct watch *a, struct host *victim);
/* Its disk may go back to that within one boot, and no promise is void: votes
 * and replicas are the same, and each entry that goes is on the disks of a
 * majority even so. *lost: how many entries go. */
bool watch_may_forget(const struct watch *a, const struct host *h,
                      const struct watch_image *i, uint64_t *lost);
/* The boot of another that this host's disk remembers; 0: none. */
uint64_t watch_boot_seen(const struct watch *a, const struct host *h,
                         uint32_t other);
/* All others have it on their disks that the host has had this boot. */
bool watch_all_know(const struct watch *a, const struct host *h, uint64_t boot);

/* The newest leader known of a group, NULL if none is up in the core. */
struct host *watch_leader(const struct watch *a, uint32_t group);
/* Of the host that has just been woken: it leads this group since then. */
bool watch_has_begun(const struct watch *a, uint32_t group);
/* The partition's group of which, since the last question, somebody was told
 * to take over; 0: of none. */
uint32_t watch_handed_over(struct watch *a);
/* Terms of a group in which nobody came to lead, and those in which one did. */
uint64_t watch_idle_terms(const struct watch *a, uint32_t group);
uint64_t watch_elections(const struct watch *a, uint32_t group);

#endif
