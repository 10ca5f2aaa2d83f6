/* store_ledger.h - what the writer knows of each replica, in memory: enough to
 * check a command before a row is touched, and to load without a scan of the
 * log. Both stores have one. In LMDB every fact of it is also a row of `meta`;
 * in the model it is the only copy.
 *
 *   begin --apply--> ... --apply--> keep   the transaction is durable
 *                              \--> undo   it was given up: as before begin
 *
 * The first apply that touches a group keeps a copy of what it was. */
#ifndef STORAGE_STORE_LEDGER_H
#define STORAGE_STORE_LEDGER_H

#include "storage/store.h"

/* A replica; the pointers in `view` are to the arrays behind it. */
struct store_held {
    struct store_replica view;
    struct raft_term_run *runs;
    size_t run_capacity;
    struct config *configs;
    size_t config_capacity;
};

struct store_tombstone {
    uint64_t least;
    uint32_t incarnation; /* of the last replica; 0: there is no tombstone */
};

struct store_slot {
    struct store_held *held; /* NULL: no replica of this group */
    struct store_tombstone tombstone;
    bool is_touched;
};
struct store_was {
    uint32_t group;
    struct store_held *held;
    struct store_tombstone tombstone;
};

struct store_ledger {
    struct store_folder folder;
    uint64_t boot_kept;
    struct store_slot slots[GROUPS_MAX];
    struct store_was *was;
    size_t was_count, was_capacity;
};

/* A zeroed ledger is an empty one; what is filled in besides by its owner ends
 * with a keep. */
void store_ledger_free(struct store_ledger *l);
/* A deep copy of one that is kept. */
void store_ledger_copy(const struct store_ledger *l, struct store_ledger *out);

/* ---- as it is read from disk ------------------------------------------- */

/* A replica without runs and configurations. False: the group is none, or
 * there is one already. */
NODISCARD bool store_ledger_add(struct store_ledger *l,
                                const struct store_replica *r);
void store_ledger_add_run(struct store_held *h, struct raft_term_run run);
void store_ledger_add_config(struct store_held *h, const struct config *c);

/* ---- commands ---------------------------------------------------------- */

/* Checks one command and notes what it changes here (rows are the caller's
 * affair). DAMAGED: it does not fit; the caller gives the batch up. */
NODISCARD enum err store_ledger_apply(struct store_ledger *l,
                                      const struct store_command *c);
void store_ledger_keep(struct store_ledger *l);
void store_ledger_undo(struct store_ledger *l);

/* ---- questions --------------------------------------------------------- */

/* NULL if the group has no replica. */
struct store_held *store_ledger_find(const struct store_ledger *l,
                                     uint32_t group);
/* 0 outside of (base, last]. */
uint64_t store_ledger_term_at(const struct store_held *h, uint64_t index);
void store_ledger_count(const struct store_ledger *l, uint32_t *replicas,
                        uint32_t *tombstones);
/* The end of a store_load. */
NODISCARD enum err store_ledger_visit_tombstones(const struct store_ledger *l,
                                                 const struct store_visitor *v);

#endif
