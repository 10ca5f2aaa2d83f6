/* raft_log.h - the log of one replica as the machine sees it: terms of all
 * entries, items of the newest, what is on disk, and who is in force.
 *
 *        base      applied            durable   written     last
 *   ------|-----------|------------------|---------|----------|
 *   cut   | terms, as runs ...............................    |
 *                  | items: the cache ....................    |
 *                                        | in the writer's    | not yet
 *                                        | hands              | popped
 *
 * Writes are numbered when they are popped: an entry remembers the number of
 * the write that last wrote it, and is durable once the owner says "durable
 * up to" that number or a later one. Terms play no part in that (DESIGN 2),
 * and a truncation needs no bookkeeping: entries that come after it have
 * higher numbers.
 *
 * Configurations are in force from the entry that holds them, committed or
 * not (R2: choose append), so they are kept back to the committed one and a
 * truncation goes back to the one before (S9D). Below the committed one there
 * is no roll-back, so older ones are forgotten.
 *
 * Knows nothing of roles, quorums or messages. */
#ifndef RING_RAFT_LOG_H
#define RING_RAFT_LOG_H

#include "ring/raft.h"

struct raft_log_slot {
    struct item *item;
    uint64_t write; /* 0: not popped, or it was on disk at start */
};

struct raft_log {
    struct item_pool *pool;
    uint64_t base_index;
    uint64_t base_term;
    uint64_t last_index;
    uint64_t durable_index;
    uint64_t written_index;  /* popped as writes up to here */
    uint64_t truncate_index; /* a truncation that waits to be popped; 0: none */
    uint64_t write;          /* the newest number given out */
    /* Items of [first_cached, next_cached), slot = index & (capacity - 1). */
    struct raft_log_slot *slots;
    size_t capacity;
    uint64_t first_cached;
    uint64_t next_cached;
    size_t cache_bytes;
    struct raft_term_run *runs;
    size_t run_count;
    size_t run_capacity;
    struct config *configs; /* ascending; the last is in force */
    size_t config_count;
    size_t config_capacity;
};

void raft_log_init(struct raft_log *log, const struct raft_stored *stored,
                   struct item_pool *pool);
void raft_log_free(struct raft_log *log);
/* An entry that was on disk at start, in order from applied + 1; takes over
 * the reference. */
void raft_log_load(struct raft_log *log, struct item *item);

/* ---- changes ----------------------------------------------------------- */

/* The next entry (item->index == last + 1); takes over the reference. A
 * configuration in it is in force at once. */
void raft_log_append(struct raft_log *log, struct item *item);
/* Removes the entries at `index` and above it; index > base. */
void raft_log_truncate(struct raft_log *log, uint64_t index);
/* The log below and at `index` has been removed from storage. */
void raft_log_cut(struct raft_log *log, uint64_t index);
/* `commit` is committed: configurations below the newest one at or below it
 * are not needed any more. */
void raft_log_forget_configs(struct raft_log *log, uint64_t commit);
/* Drops cached items from the oldest on, up to and with `index`, while more
 * than `bytes` are cached. Those not durable stay. */
void raft_log_trim(struct raft_log *log, uint64_t index, size_t bytes);

/* ---- writes ------------------------------------------------------------ */

/* The next write (RAFT_DO_TRUNCATE or RAFT_DO_LOG), numbered; false: none. */
bool raft_log_pop(struct raft_log *log, struct raft_effect *out);
/* Writes up to this number are on disk. True if durable_index has risen. */
bool raft_log_durable(struct raft_log *log, uint64_t write);

/* ---- queries ----------------------------------------------------------- */

/* 0 outside of [base, last]. */
uint64_t raft_log_term_at(const struct raft_log *log, uint64_t index);
uint64_t raft_log_last_term(const struct raft_log *log);
/* The highest index <= `index` whose term is <= `term`; base at least. */
uint64_t raft_log_find(const struct raft_log *log, uint64_t index,
                       uint64_t term);
struct item *raft_log_item(const struct raft_log *log, uint64_t index);
const struct config *raft_log_config(const struct raft_log *log);
const struct config *raft_log_committed(const struct raft_log *log,
                                        uint64_t commit);
void raft_log_check(const struct raft_log *log);

#endif
