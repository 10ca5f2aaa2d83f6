/* work.h - a life's work for a store: batches as node/ makes them, drawn by a
 * seed, each done by the model store as well.
 *
 * Batch n follows from the seed, n and the batches kept before it. So a
 * process that starts where another one died makes the same history again in
 * memory, leaves out what that one began and the store has not kept, and goes
 * on.
 *
 *   BEGIN n   its fingerprint is what the store holds if it is kept
 *   ACK n     store_commit has returned OK: whoever waited has been told
 *   KEPT n    it was begun and not acknowledged, and a new process has found
 *             it in the store,
 *   DROPPED n or not; it acts upon what it has found, for good
 *
 * So after a power loss the store holds exactly what the newest ACK, KEPT or
 * DROPPED tells, or a batch begun after that. Batch 0 is the founding. */
#ifndef TESTS_POWER_WORK_H
#define TESTS_POWER_WORK_H

#include "tests/power/audit.h"
#include "tests/power/tape.h"
#include "tests/unit/store_rig.h"

/* ---- marks ------------------------------------------------------------- */

enum work_mark_kind { WORK_BEGIN = 1, WORK_ACK, WORK_KEPT, WORK_DROPPED };
struct work_mark { /* a MARK's bytes; its offset is the batch's number */
    uint32_t kind;
    uint32_t is_boot; /* the first batch of a process */
    struct audit_print print;
};
/* False: the event is no mark of ours. */
bool work_mark_of(const struct tape_event *e, struct work_mark *out);

/* ---- batches ----------------------------------------------------------- */

#define WORK_PARTITIONS 8u
#define WORK_GROUPS     (WORK_PARTITIONS + 1u)
#define WORK_BATCH_MAX  64u

enum work_state {
    WORK_GONE,       /* tombstoned, its rows perhaps not swept yet */
    WORK_LIVE,       /* `core` plays it */
    WORK_INSTALLING, /* from the rows of another group's replica */
    WORK_INSTALLED,  /* so it stays: there is no core for it */
};
struct work_group {
    enum work_state state;
    struct rig_core core;
    uint32_t incarnation;
    uint64_t added;
    uint64_t term;
    uint64_t base; /* of its log */
};
/* One at a time. */
struct work_install {
    uint32_t group;  /* 0: none is under way */
    uint32_t source; /* as it was when it began: */
    uint32_t source_incarnation;
    bool has_blob;
    struct blob_result blob;
    struct span images;
    struct row_cursor cursor;
    struct rows_result rows; /* of the batch at hand */
};

struct work {
    uint64_t seed;
    struct rng chance; /* of the batch at hand */
    struct rig_bytes bytes;
    struct item_pool pool;
    struct store *model;
    struct work_group groups[WORK_GROUPS];
    struct work_install install;
    uint64_t boot;
    struct store_command commands[WORK_BATCH_MAX];
    struct store_batch batch;
    struct buf record, boots;
    struct audit_print print; /* of the model, the batch at hand included */
};

/* As founded. Not to be moved: the model points into it. */
struct work *work_new(uint64_t seed);
void work_free(struct work *w);
/* Makes batch `number`, and the model does it. `batch` is good until the
 * end. */
void work_begin(struct work *w, uint64_t number, bool is_boot);
void work_end(struct work *w);
struct store_lmdb_cfg work_cfg(const char *folder, struct work *w);

/* ---- a process --------------------------------------------------------- */

/* Founds the store in `folder` if the tape is new; takes the work up where
 * the tape says it was left; goes on to batch `until`. The exit code: 0; 74: a
 * commit has failed; 3: the store is not what it was, without any loss of
 * power; 1: anything else. */
int work_run(const char *tape_path, const char *folder, uint64_t seed,
             uint64_t until);

#endif
