/* transfer.c - what a transfer costs those who append meanwhile, and how fast
 * it is: a ring of its own whose logs are cut, so that whoever joins gets its
 * copies by transfer; a fourth node joins under load, at the rate that a ring
 * has by itself, and a fifth without load, at the highest. */
#define _GNU_SOURCE /* memmem */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ring/limits.h"
#include "tests/bench/bench.h"

#define PARTITIONS 16u
/* Less than what is written before somebody joins. */
#define LOG_KEEP    512u
#define FILL_SIZE   65536u
#define FILL_S      5.0
#define ALONE_S     5.0
#define APPEND_SIZE 1000u
#define LOOK_NS     UINT64_C(20000000)
#define REST_NS     UINT64_C(2000000000) /* nothing new: all has come */
#define GIVE_UP_NS  UINT64_C(120000000000)

static struct ring ring;

/* A node that gets copies, as its log says. */
struct watch {
    struct load
        *load; /* of it counts what is between first and last; or NULL */
    char log[310];
    uint64_t begun_ns, looked_ns;
    uint64_t first_ns, last_ns; /* the first was begun, the newest installed */
    unsigned started, installed;
    uint64_t kib;
};

/* ---- the log ----------------------------------------------------------- */

static char *read_log(const char *path, size_t *size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    off_t whole = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
    char *text = whole < 0 ? NULL : malloc((size_t)whole + 1);
    ssize_t got = text == NULL ? -1 : pread(fd, text, (size_t)whole, 0);
    if (got < 0)
        bench_die("cannot read %s", path);
    (void)close(fd);
    text[got] = 0;
    *size = (size_t)got;
    return text;
}

static unsigned count(const char *text, const char *what)
{
    unsigned found = 0;
    for (const char *at = text; (at = strstr(at, what)) != NULL; at++)
        found++;
    return found;
}

/* "... is installed at entry 40, 12544 KiB" */
static uint64_t sum_kib(const char *text)
{
    uint64_t kib = 0;
    for (const char *at = text;
         (at = strstr(at, "is installed at entry")) != NULL; at++) {
        unsigned long long entry, part;
        if (sscanf(at, "is installed at entry %llu, %llu KiB", &entry, &part) ==
            2)
            kib += part;
    }
    return kib;
}

/* False once all has come. */
static bool look(void *context)
{
    struct watch *w = context;
    uint64_t now = bench_now_ns();
    if (now - w->looked_ns < LOOK_NS)
        return true;
    w->looked_ns = now;
    if (now - w->begun_ns > GIVE_UP_NS)
        bench_die("no transfer ends within two minutes; see %s", w->log);
    size_t size;
    char *text = read_log(w->log, &size);
    unsigned started = count(text, "is being installed");
    unsigned installed = count(text, "is installed at entry");
    w->kib = sum_kib(text);
    free(text);
    if (w->started == 0 && started > 0) {
        w->first_ns = now;
        if (w->load != NULL)
            load_forget(w->load);
    }
    if (installed != w->installed || started != w->started) {
        w->last_ns = now;
        if (w->load != NULL)
            load_mark(w->load);
    }
    w->started = started;
    w->installed = installed;
    return started == 0 || installed < started || now - w->last_ns < REST_NS;
}

static struct watch join(struct load *load)
{
    struct watch w = {.load = load, .begun_ns = bench_now_ns()};
    ring_join(&ring);
    (void)snprintf(w.log, sizeof w.log, "%s/n%u.log", ring.dir, ring.count);
    return w;
}

/* ---- measuring --------------------------------------------------------- */

static void measure_appends(struct load *l, double alone_s,
                            struct transfer_result *out)
{
    out->alone_p99_ms =
        load_append(l, APPEND_SIZE, LOAD_STREAMS, 1, alone_s).p99_ms;
    struct watch w = join(l);
    out->during_p99_ms =
        load_append_while(l, APPEND_SIZE, LOAD_STREAMS, 1, look, &w).p99_ms;
    out->during_s = (double)(w.last_ns - w.first_ns) / 1e9;
}

static void measure_rate(struct load *l, struct transfer_result *out)
{
    char data[300];
    load_set_repair_rate(l, REPAIR_RATE_MAX);
    struct watch w = join(NULL);
    while (look(&w))
        (void)nanosleep(&(struct timespec){.tv_nsec = (long)LOOK_NS}, NULL);
    out->moved_mb = (double)w.kib * KIB / 1e6;
    out->moved_mbs = out->moved_mb * 1e9 / (double)(w.last_ns - w.first_ns);
    (void)snprintf(data, sizeof data, "%s/n%u", ring.dir, ring.count);
    out->copied_mbs = limit_copy_mbs(data, ring.dir);
}

struct transfer_result transfer_measure(const char *eddyd, const char *dir,
                                        bool is_insecure, bool is_quick)
{
    struct transfer_result out = {0};
    double factor = is_quick ? 0.5 : 1;
    ring = (struct ring){.partitions = PARTITIONS, .log_keep = LOG_KEEP};
    ring_start(&ring, eddyd, dir, is_insecure);
    struct load *l = load_open(&ring, is_quick);
    (void)load_append(l, FILL_SIZE, LOAD_STREAMS, 1, FILL_S * factor);
    measure_appends(l, ALONE_S * factor, &out);
    measure_rate(l, &out);
    load_close(l);
    ring_kill(&ring);
    return out;
}

void transfer_kill(void)
{
    ring_kill(&ring);
}
