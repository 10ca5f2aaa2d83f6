/* raft_world.h - one group of ring/raft.h in a random history: crashes that
 * lose what was not synced, lost disks, pauses, delays, duplicates,
 * reordering, cuts, changes of membership, hand-overs; then all faults end.
 *
 * The world is omniscient: it holds what was ever committed, who led which
 * term and what is on whose disk, and judges each step:
 *   - one leader a term (election safety)
 *   - what is committed stays, the same for all (state machine safety), and is
 *     in the log of every later leader (leader completeness)
 *   - what a leader commits is on the disks of a majority; what is applied, on
 *     the own one
 *   - equal (index, term) means equal logs below (log matching)
 *   - the configuration in force is in the log
 *   - a read is served at an index not below what was committed when it came
 *   - once all faults have ended, the group commits again
 * One seed is one history, the same for ever. */
#ifndef TESTS_UNIT_RAFT_WORLD_H
#define TESTS_UNIT_RAFT_WORLD_H

#include "ring/base.h"

/* Events per 1000 ms of each kind, unless said otherwise; 0: never. */
struct raft_world_faults {
    uint32_t voters; /* at first */
    uint32_t crash, down_ms, wipe;
    uint32_t cut, cut_ms;
    uint32_t pause, pause_ms;
    uint32_t loss_pm, append_loss_pm, dup_pm; /* of 1000 messages */
    uint32_t delay_ms, late_pm, late_ms;
    uint32_t sync_ms; /* longest commit */
    uint32_t propose, read, change, transfer, reset, stall, step_down, cut_log;
    uint32_t batch_bytes;
    uint32_t same_rank; /* per mille of starts */
    bool is_drawn;      /* each history draws how much of each it gets */
};

struct raft_world_outcome {
    const char *violation; /* the first; NULL: none */
    uint64_t committed, reads_ok, elections, changes;
    uint64_t trace; /* a hash over all that was sent */
};

struct raft_world_outcome raft_world_play(uint64_t seed,
                                          const struct raft_world_faults *most);

#endif
