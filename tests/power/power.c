/* power.c - the real store under power losses (README.md).
 *
 *   power store PRELOAD SEED COUNT  records a store at work through several
 *                                   processes, some of which die; rebuilds its
 *                                   file so many times, 0: at every event of
 *                                   the tape; then proves on tapes and disks
 *                                   that break their word that a loss is
 *                                   noticed
 *   power ring TAPE NODES COUNT     judges a tape of so many eddyd (ring.h) by
 *                                   so many power losses of all at once
 *   power work TAPE FOLDER SEED UNTIL
 *                                   one process of the first, under the
 *                                   recorder
 *
 * Prints a line "ok power: ..." or "not ok power: ..." for each claim. Exit
 * 3: something acknowledged was lost, 1: anything else. */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/power/loss.h"
#include "tests/power/ring.h"
#include "tests/power/work.h"

#define EXIT_FAILED_COMMIT 74
#define JOBS               2u
#define PATH_BYTES         4096
#define AFTER_FAILURE      20u
#define LMDB_NOSYNC        "0x10000"
#define LMDB_NOMETASYNC    "0x40000"

/* ---- recording --------------------------------------------------------- */

/* A process of the store's work: how it is to end, and how far it goes. */
struct life {
    const char *how; /* NULL: it finishes */
    unsigned stop;   /* at this write or sync */
    unsigned until;  /* batch */
};

static const struct life lives[] = {
    {NULL, 0, 30},         {"kill", 41, 60},       {"kill", 12, 60},
    {"kill-meta", 60, 90}, {NULL, 0, 75},          {"fail-sync", 50, 110},
    {"kill", 1, 110},      {"fail-meta", 40, 120}, {"kill-meta", 1, 120},
    {"fail-meta", 1, 120}, {NULL, 0, 125},
};
/* Without an end but its own: for a store that breaks its word. */
static const struct life plain_life[] = {{NULL, 0, 40}};

struct recording {
    const char *preload;
    uint64_t seed;
    const char *scratch;
    const char *flags; /* of LMDB, besides its own; NULL: none */
    char tape[PATH_BYTES];
};

static void work_below(const struct recording *r, const struct life *life,
                       const char *folder)
{
    char seed[32], stop[32], until[32];
    (void)snprintf(seed, sizeof seed, "%llu", (unsigned long long)r->seed);
    (void)snprintf(stop, sizeof stop, "%u", life->stop);
    (void)snprintf(until, sizeof until, "%u", life->until);
    (void)setenv("LD_PRELOAD", r->preload, 1);
    (void)setenv("POWER_TAPE", r->tape, 1);
    if (life->how != NULL) {
        (void)setenv("POWER_STOP", stop, 1);
        (void)setenv("POWER_HOW", life->how, 1);
    }
    if (r->flags != NULL)
        (void)setenv("POWER_FLAGS", r->flags, 1);
    (void)execl("/proc/self/exe", "power", "work", r->tape, folder, seed, until,
                (char *)NULL);
    _exit(1);
}

/* True if it ended as it should. */
static bool live(const struct recording *r, const struct life *life,
                 const char *folder)
{
    int status;
    (void)fflush(NULL);
    pid_t process = fork();
    if (process == 0)
        work_below(r, life, folder);
    if (process < 0 || waitpid(process, &status, 0) != process)
        return false;
    if (life->how == NULL)
        return WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (strncmp(life->how, "kill", 4) == 0)
        return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    return WIFEXITED(status) && WEXITSTATUS(status) == EXIT_FAILED_COMMIT;
}

static bool record(struct recording *r, const char *name,
                   const struct life *life, size_t count)
{
    char folder[PATH_BYTES], file[PATH_BYTES + 16];
    (void)snprintf(r->tape, sizeof r->tape, "%s/%s.tape", r->scratch, name);
    (void)snprintf(folder, sizeof folder, "%s/%s", r->scratch, name);
    (void)unlink(r->tape);
    if (mkdir(folder, 0700) != 0)
        return false;
    bool is_good = true;
    for (size_t i = 0; is_good && i < count; i++) {
        is_good = live(r, &life[i], folder);
        if (!is_good)
            (void)printf("not ok power: process %zu does not end by %s\n",
                         i + 1, life[i].how == NULL ? "itself" : life[i].how);
    }
    static const char *const names[] = {"data.mdb", "lock.mdb"};
    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(file, sizeof file, "%s/%s", folder, names[i]);
        (void)unlink(file);
    }
    (void)rmdir(folder);
    return is_good;
}

/* ---- judging ----------------------------------------------------------- */

/* After a loss the store must be good for more: a boot and a record of many
 * pages, taken from what is free, change nothing else. */
static bool goes_on(struct store *s, const struct audit_print *before,
                    struct buf *why)
{
    static uint8_t bytes[200000];
    struct store_command commands[] = {
        {.kind = STORE_BOOT, .number = 1000000},
        {.kind = STORE_RECORD, .bytes = span_of(bytes, sizeof bytes)},
    };
    for (uint64_t i = 1; i <= 3; i++) {
        struct store_batch batch = {i, commands, 2};
        struct store_done done;
        enum err err = store_commit(s, &batch, &done);
        commands[0].number++;
        if (err == ERR_OK)
            continue;
        buf_printf(why, "the next commit: %s", err_name(err));
        return false;
    }
    struct audit_print after;
    const char *place;
    enum err err = audit_fingerprint(s, &after, &place);
    if (err == ERR_OK &&
        memcmp(&after.groups, &before->groups, sizeof after.groups) == 0)
        return true;
    buf_printf(why, "after the next commits %s has changed: %s", place,
               err_name(err));
    return false;
}

/* Whether the store may be so: as somebody was told last, or as of a batch
 * begun since. */
static bool is_allowed(const struct tape *t, size_t cut,
                       const struct audit_print *print, struct buf *why)
{
    struct work_mark m;
    for (size_t i = cut; i-- > 0;) {
        if (!work_mark_of(&t->events[i], &m))
            continue;
        if (audit_print_equal(&m.print, print))
            return true;
        if (m.kind == WORK_BEGIN)
            continue;
        buf_printf(why,
                   "batch %llu was %s, and the store is neither as it was "
                   "then nor as of a batch begun since",
                   (unsigned long long)t->events[i].offset,
                   m.kind == WORK_ACK ? "acknowledged" : "found or missed");
        break;
    }
    return false;
}

static bool judge_store(void *ctx, const char *const *folders, size_t cut,
                        struct rng *chance, struct buf *why)
{
    const struct tape *t = ctx;
    struct rig_bytes none = {0};
    struct store_lmdb_cfg cfg = rig_cfg(folders[0], &none);
    struct store *s;
    enum err err = store_lmdb_open(&cfg, &s);
    if (err != ERR_OK) {
        buf_printf(why, "the store does not open: %s", err_name(err));
        return false;
    }
    struct audit_print print;
    const char *place;
    err = audit_fingerprint(s, &print, &place);
    if (err != ERR_OK)
        buf_printf(why, "%s: %s", place, err_name(err));
    bool is_good = err == ERR_OK && is_allowed(t, cut, &print, why);
    if (is_good && rng_chance(chance, 250))
        is_good = goes_on(s, &print, why);
    store_close(s);
    return is_good;
}

/* ---- the store --------------------------------------------------------- */

static size_t first_ack(const struct tape *t)
{
    struct work_mark m;
    for (size_t i = 0; i < t->count; i++)
        if (work_mark_of(&t->events[i], &m) && m.kind == WORK_ACK)
            return i + 1;
    return t->count;
}

/* As many as there are moments if count is 0. A disk that is to lose nothing is
 * looked at closely after a failure. */
static struct loss_totals lose_store(const struct recording *r,
                                     const struct tape *t, enum disk_lie lie,
                                     size_t count)
{
    struct loss_plan p = {
        .tape = t,
        .nodes = 1,
        .lie = lie,
        .seed = r->seed,
        .from = first_ack(t),
        .count = count,
        .jobs = JOBS,
        .scratch = r->scratch,
        .is_quiet = r->flags != NULL || lie != DISK_IS_HONEST,
        .judge = judge_store,
        .ctx = (void *)t,
    };
    if (count == 0)
        p.count = t->count - p.from + 1;
    if (!p.is_quiet)
        p.after_failure = AFTER_FAILURE;
    return loss_run(&p);
}

static void print_tape(const struct tape *t)
{
    unsigned long long bytes = 0, acks = 0;
    size_t of[TAPE_MARK + 1] = {0};
    struct work_mark m;
    for (size_t i = 0; i < t->count; i++) {
        const struct tape_event *e = &t->events[i];
        of[e->kind]++;
        bytes += e->kind == TAPE_WRITE ? e->size : 0;
        acks += work_mark_of(e, &m) && m.kind == WORK_ACK;
    }
    (void)printf("   power: a tape of %zu processes: %llu commits, %zu writes "
                 "(%llu KiB), %zu syncs, %zu of the meta page, %zu failed\n",
                 sizeof lives / sizeof lives[0], acks, of[TAPE_WRITE],
                 bytes / 1024, of[TAPE_SYNC], of[TAPE_WRITE_DSYNC],
                 of[TAPE_FAILED]);
}

static int test_store(struct recording *r, size_t count)
{
    struct tape t;
    const char *why = "";
    if (!record(r, "store", lives, sizeof lives / sizeof lives[0]) ||
        !tape_read(&t, r->tape, &why)) {
        (void)printf("not ok power: the store's work was not recorded %s\n",
                     why);
        return 1;
    }
    print_tape(&t);
    int status =
        loss_claim("the store", lose_store(r, &t, DISK_IS_HONEST, count));
    status |= loss_claim_noticed("a disk that forgets fdatasync",
                                 lose_store(r, &t, DISK_FORGETS_SYNCS, 100));
    status |= loss_claim_noticed("a disk that forgets O_DSYNC",
                                 lose_store(r, &t, DISK_FORGETS_METAS, 100));
    status |= loss_claim_noticed("a disk that forgets the folder",
                                 lose_store(r, &t, DISK_FORGETS_NAMES, 20));
    tape_free(&t);
    (void)unlink(r->tape);
    return status;
}

static int test_flags(struct recording *r, const char *name, const char *flags)
{
    struct tape t;
    const char *why = "";
    char words[64];
    r->flags = flags;
    if (!record(r, name, plain_life, 1) || !tape_read(&t, r->tape, &why)) {
        (void)printf("not ok power: %s was not recorded %s\n", name, why);
        return 1;
    }
    (void)snprintf(words, sizeof words, "an environment with %s", name);
    int status =
        loss_claim_noticed(words, lose_store(r, &t, DISK_IS_HONEST, 100));
    tape_free(&t);
    (void)unlink(r->tape);
    return status;
}

/* ---- main -------------------------------------------------------------- */

/* In memory if possible: the files are rebuilt and synced by the thousand. */
static bool make_scratch(char path[PATH_BYTES])
{
    const char *folders[] = {"/dev/shm", getenv("TMPDIR"), "/tmp"};
    for (size_t i = 0; i < 3; i++) {
        if (folders[i] == NULL)
            continue;
        (void)snprintf(path, PATH_BYTES, "%s/eddy-power-XXXXXX", folders[i]);
        if (mkdtemp(path) != NULL)
            return true;
    }
    return false;
}

static int run_store(const char *preload, uint64_t seed, size_t count)
{
    char scratch[PATH_BYTES];
    if (!make_scratch(scratch))
        return 1;
    struct recording r = {.preload = preload, .seed = seed, .scratch = scratch};
    int status = test_store(&r, count);
    if (status == 0) {
        status |= test_flags(&r, "MDB_NOSYNC", LMDB_NOSYNC);
        status |= test_flags(&r, "MDB_NOMETASYNC", LMDB_NOMETASYNC);
    }
    (void)rmdir(scratch);
    return status;
}

static int run_ring(const char *tape_path, unsigned nodes, size_t count)
{
    char scratch[PATH_BYTES];
    if (!make_scratch(scratch))
        return 1;
    int status = ring_run(tape_path, nodes, count, scratch);
    (void)rmdir(scratch);
    return status;
}

static uint64_t number_of(const char *text)
{
    return strtoull(text, NULL, 10);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    if (strcmp(what, "store") == 0 && argc == 5)
        return run_store(argv[2], number_of(argv[3]),
                         (size_t)number_of(argv[4]));
    if (strcmp(what, "ring") == 0 && argc == 5)
        return run_ring(argv[2], (unsigned)number_of(argv[3]),
                        (size_t)number_of(argv[4]));
    if (strcmp(what, "work") == 0 && argc == 6)
        return work_run(argv[2], argv[3], number_of(argv[4]),
                        number_of(argv[5]));
    (void)fprintf(stderr, "power: usage: see the head of power.c\n");
    return 2;
}
