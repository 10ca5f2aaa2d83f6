/* loss.c - see loss.h. */
#include "tests/power/loss.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXIT_LOST  3
#define JOBS_MAX   16u
#define PATH_BYTES 4096
#define FILE_BYTES (PATH_BYTES + 16)
/* That of the next opening, and both of the first commit after it. */
#define AFTER_FAILURE_SYNCS 3u
/* A judge that takes longer goes round in a damaged tree. */
#define JUDGE_SECONDS 60u

struct job {
    pid_t process; /* 0: none */
    size_t cut;
};
struct run {
    const struct loss_plan *plan;
    struct disk disks[LOSS_NODES_MAX];
    struct job jobs[JOBS_MAX];
    size_t begun;
    unsigned after_failure; /* so many syncs more are */
    struct loss_totals totals;
};

/* ---- one loss, in a process of its own ---------------------------------- */

static bool write_file(const char *folder, const struct buf *bytes)
{
    char path[FILE_BYTES];
    (void)snprintf(path, sizeof path, "%s/data.mdb", folder);
    FILE *f = fopen(path, "wb");
    if (f == NULL)
        return false;
    bool is_written = fwrite(bytes->data, 1, bytes->size, f) == bytes->size;
    return fclose(f) == 0 && is_written;
}

static void clear_folder(const char *folder)
{
    static const char *const names[] = {"data.mdb", "lock.mdb"};
    char path[FILE_BYTES];
    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        (void)unlink(path);
    }
    (void)mkdir(folder, 0700);
}

static void folder_name(const struct run *r, size_t slot, unsigned node,
                        char out[PATH_BYTES])
{
    (void)snprintf(out, PATH_BYTES, "%s/%zu.%u", r->plan->scratch, slot, node);
}

static _Noreturn void judge(struct run *r, size_t slot, size_t cut,
                            uint64_t number)
{
    static char folders[LOSS_NODES_MAX][PATH_BYTES];
    const char *pointers[LOSS_NODES_MAX];
    enum disk_mode modes[LOSS_NODES_MAX];
    struct rng chance;
    struct buf file = {0}, why = {0};
    (void)alarm(JUDGE_SECONDS);
    rng_seed(&chance, r->plan->seed << 32 ^ number);
    for (unsigned n = 0; n < r->plan->nodes; n++) {
        folder_name(r, slot, n, folders[n]);
        pointers[n] = folders[n];
        clear_folder(folders[n]);
        modes[n] = (enum disk_mode)rng_below(&chance, DISK_MODES);
        if (disk_rebuild(&r->disks[n], modes[n], &chance, &file) &&
            !write_file(folders[n], &file)) {
            (void)fprintf(stderr, "power: cannot write to %s\n", folders[n]);
            _exit(1);
        }
    }
    if (r->plan->judge(r->plan->ctx, pointers, cut, &chance, &why))
        _exit(0);
    if (!r->plan->is_quiet)
        (void)fprintf(stderr, "power: after event %zu, %s there: %.*s\n", cut,
                      disk_mode_name(modes[0]), (int)why.size,
                      (const char *)why.data);
    _exit(EXIT_LOST);
}

/* ---- all of them ------------------------------------------------------- */

static void note(struct run *r, const struct job *job, int status)
{
    r->totals.rebuilt++;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return;
    r->totals.lost++;
    if (WIFSIGNALED(status) && !r->plan->is_quiet)
        (void)fprintf(stderr, "power: after event %zu: died of signal %d\n",
                      job->cut, WTERMSIG(status));
}

static void wait_for_one(struct run *r)
{
    int status;
    pid_t ended = wait(&status);
    for (size_t i = 0; i < JOBS_MAX; i++) {
        if (ended > 0 && r->jobs[i].process == ended) {
            note(r, &r->jobs[i], status);
            r->jobs[i].process = 0;
        }
    }
}

static size_t free_slot(const struct run *r)
{
    size_t i = 0;
    while (i < r->plan->jobs && r->jobs[i].process != 0)
        i++;
    return i;
}

static void lose(struct run *r, size_t cut)
{
    size_t slot = free_slot(r);
    if (slot == r->plan->jobs) {
        wait_for_one(r);
        slot = free_slot(r);
    }
    size_t unsafe = 0;
    for (unsigned n = 0; n < r->plan->nodes; n++)
        unsafe += disk_unsafe(&r->disks[n]);
    r->totals.torn += unsafe > 0;
    (void)fflush(NULL);
    pid_t process = fork();
    if (process == 0)
        judge(r, slot, cut, r->begun);
    if (process < 0) {
        perror("power: fork");
        exit(1);
    }
    r->begun++;
    r->jobs[slot] = (struct job){process, cut};
}

static void finish(struct run *r)
{
    char folder[PATH_BYTES];
    while (r->totals.rebuilt < r->begun)
        wait_for_one(r);
    for (unsigned n = 0; n < r->plan->nodes; n++) {
        disk_free(&r->disks[n]);
        for (size_t slot = 0; slot < r->plan->jobs; slot++) {
            folder_name(r, slot, n, folder);
            clear_folder(folder);
            (void)rmdir(folder);
        }
    }
}

static void feed(struct run *r, const struct tape_event *e)
{
    if (e->node < r->plan->nodes)
        disk_feed(&r->disks[e->node], e);
    if (e->kind == TAPE_FAILED)
        r->after_failure = AFTER_FAILURE_SYNCS;
    else if (e->kind == TAPE_DONE && r->after_failure > 0)
        r->after_failure--;
}

struct loss_totals loss_run(const struct loss_plan *p)
{
    struct run *r = mem_alloc(sizeof *r);
    size_t moments = p->tape->count - p->from + 1, spread = 0;
    ASSERT(p->nodes <= LOSS_NODES_MAX && p->jobs <= JOBS_MAX && p->jobs > 0);
    r->plan = p;
    for (unsigned n = 0; n < p->nodes; n++)
        disk_init(&r->disks[n], p->lie);
    for (size_t cut = 0; cut <= p->tape->count; cut++) {
        if (cut > 0)
            feed(r, &p->tape->events[cut - 1]);
        if (cut < p->from)
            continue;
        for (; spread < p->count * (cut - p->from + 1) / moments; spread++)
            lose(r, cut);
        for (size_t i = 0; r->after_failure > 0 && i < p->after_failure; i++)
            lose(r, cut);
    }
    finish(r);
    struct loss_totals totals = r->totals;
    mem_free(r);
    return totals;
}

/* ---- claims ------------------------------------------------------------ */

int loss_claim(const char *what, struct loss_totals totals)
{
    bool is_good = totals.lost == 0 && totals.torn > 0;
    (void)printf("%s power: %s: %zu power losses rebuilt, %zu of them with "
                 "unsynced writes, %zu lost\n",
                 is_good ? "ok" : "not ok", what, totals.rebuilt, totals.torn,
                 totals.lost);
    return totals.lost > 0 ? EXIT_LOST : is_good ? 0 : 1;
}

int loss_claim_noticed(const char *what, struct loss_totals totals)
{
    (void)printf("%s power: noticed: %s: %zu rebuilt, %zu lost\n",
                 totals.lost > 0 ? "ok" : "not ok", what, totals.rebuilt,
                 totals.lost);
    return totals.lost > 0 ? 0 : 1;
}
