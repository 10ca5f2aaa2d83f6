/* loss.h - power losses, one after the other: at a moment of a tape the disk
 * of every node is rebuilt as it may have been, and a judge looks at the
 * folders. Each loss is judged in a process of its own, which may as well die
 * of what it finds (a damaged LMDB file is SIGSEGV or abort). */
#ifndef TESTS_POWER_LOSS_H
#define TESTS_POWER_LOSS_H

#include "tests/power/disk.h"

#define LOSS_NODES_MAX 8u

/* Looks at a rebuilt folder of each node, 0 and up, which holds data.mdb and
 * is the judge's to use; `cut` events of the tape have happened. False:
 * something was lost, and `why` says what. */
typedef bool (*loss_judge_fn)(void *ctx, const char *const *folders, size_t cut,
                              struct rng *chance, struct buf *why);

struct loss_plan {
    const struct tape *tape;
    unsigned nodes;
    enum disk_lie lie;
    uint64_t seed;
    size_t from;  /* the first moment: so many events have happened */
    size_t count; /* losses; spread evenly over the events from there on */
    /* And so many more at each moment after a sync has failed until some
     * more are done: there is much to choose from then. */
    size_t after_failure;
    unsigned jobs;
    const char *scratch; /* a folder for the folders */
    bool is_quiet;       /* losses are expected: say nothing of them */
    loss_judge_fn judge;
    void *ctx;
};
struct loss_totals {
    size_t rebuilt;
    size_t torn; /* of those: there were unsynced writes to choose from */
    size_t lost;
};
struct loss_totals loss_run(const struct loss_plan *p);

/* A line "ok power: ..." or "not ok power: ..." each, and an exit code. The
 * claim is that nothing was lost (else 3), although something was torn (else
 * 1: it proves nothing); or that a loss was noticed (else 1). */
int loss_claim(const char *what, struct loss_totals totals);
int loss_claim_noticed(const char *what, struct loss_totals totals);

#endif
