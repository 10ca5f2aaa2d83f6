/* bench.c - `make bench`: Eddy against the limits of this machine, measured in
 * turns within one run; see README.md for how to read the table.
 *
 *   bench EDDYD      nodes of that program, in a new folder below $TMPDIR
 *   bench EDDYD transfer   only what is about transfers
 *   bench EDDYD append SIZE STREAMS DEPTH SECONDS
 *                          only one figure, for as long as a profiler needs
 *   QUICK=1          shorter, for a look */
#define _GNU_SOURCE /* nftw, mkdtemp */
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "net/eddy.h"
#include "tests/bench/bench.h"

#define ROUNDS       3u
#define EDDY_S       1.3
#define LIMIT_S      0.5
#define SETTLE_S     2.0
#define PROBE_S      0.02
#define QUICK_FACTOR 0.16
#define SMALL        100u
#define MEDIUM       1000u
#define LARGE        65536u
#define HUGE         EDDY_SEGMENT_MAX

/* ---- what bench.h promises --------------------------------------------- */

static struct ring open_ring, keyed_ring;
static char scratch[200];
static bool keeps_scratch;

static int remove_one(const char *path, const struct stat *st, int flag,
                      struct FTW *at)
{
    (void)st;
    (void)flag;
    (void)at;
    return remove(path);
}

static void clean_up(void)
{
    ring_kill(&open_ring);
    ring_kill(&keyed_ring);
    transfer_kill();
    if (scratch[0] != 0 && !keeps_scratch)
        (void)nftw(scratch, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void on_signal(int number)
{
    (void)number;
    exit(130); /* nothing of ours needs more care than clean_up takes */
}

_Noreturn void bench_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fprintf(stderr, "bench: ");
    (void)vfprintf(stderr, format, args);
    (void)fprintf(stderr, "\n");
    va_end(args);
    keeps_scratch = scratch[0] != 0;
    if (keeps_scratch)
        (void)fprintf(stderr, "bench: the nodes' logs are in %s\n", scratch);
    exit(1);
}

uint64_t bench_now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void bench_fill(void *out, size_t size)
{
    uint64_t x = 0x9e3779b97f4a7c15u;
    uint8_t *at = out;
    for (size_t i = 0; i < size; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        at[i] = (uint8_t)x;
    }
}

void samples_add(struct samples *s, double value)
{
    if (s->count == s->capacity) {
        s->capacity = s->capacity == 0 ? 1024 : s->capacity * 2;
        s->values = realloc(s->values, s->capacity * sizeof *s->values);
        if (s->values == NULL)
            bench_die("no memory");
    }
    s->values[s->count++] = value;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double samples_percentile(struct samples *s, unsigned percent)
{
    if (s->count == 0)
        return 0;
    qsort(s->values, s->count, sizeof *s->values, compare);
    size_t at = s->count * percent / 100;
    return s->values[at < s->count ? at : s->count - 1];
}

/* ---- figures ----------------------------------------------------------- */

/* Limits first. The two doors of Eddy, open and keyed, follow in pairs. */
enum figure {
    SYNC_MS,
    LMDB_1_MS,
    LMDB_64_S, /* puts a second, from here on */
    LMDB_1024_S,
    LMDB_64K_S,
    LMDB_1024K_S,
    LMDB_64KB_MBS,
    ZMQ_ROUND_MS,
    ZMQ_ROUND_CURVE_MS,
    ZMQ_MBS,
    ZMQ_CURVE_MBS,
    /* Of both doors: the open one's, then the keyed one's. */
    ONE_P50_MS,
    SMALL_64_S = ONE_P50_MS + 2,
    SMALL_ONE_S = SMALL_64_S + 2,
    SMALL_1024_S = SMALL_ONE_S + 2,
    MEDIUM_64_S = SMALL_1024_S + 2,
    MEDIUM_ONE_S = MEDIUM_64_S + 2,
    MEDIUM_64_P99_MS = MEDIUM_ONE_S + 2,
    MEDIUM_1024_S = MEDIUM_64_P99_MS + 2,
    LARGE_64_MBS = MEDIUM_1024_S + 2,
    HUGE_16_MBS = LARGE_64_MBS + 2,
    READ_SMALL_S = HUGE_16_MBS + 2,
    READ_LARGE_MBS = READ_SMALL_S + 2,
    CPU_US = READ_LARGE_MBS + 2,
    RSS_MB = CPU_US + 2,
    FIGURE_COUNT = RSS_MB + 2
};

static struct samples figures[FIGURE_COUNT];
/* Of Eddy's figures to the limits that were measured right before. */
static struct samples ratios[FIGURE_COUNT];

static double note(int figure, double value)
{
    samples_add(&figures[figure], value);
    return value;
}

static double median(int figure)
{
    return samples_percentile(&figures[figure], 50);
}

/* A limit in the figure's unit: of each door. */
struct limit {
    double doors[2];
};

static void note_eddy(int figure, int door, double value,
                      const struct limit *limit)
{
    bool is_time = figure == ONE_P50_MS;
    double of = limit->doors[door];
    note(figure + door, value);
    samples_add(&ratios[figure + door], is_time ? of / value : value / of);
}

/* ---- a round ----------------------------------------------------------- */

/* How long a limit, and Eddy's figure, is measured; how much patience with
 * the disk. */
struct times {
    double limit_s, eddy_s, settle;
};

/* Much written makes this disk slow for a while: waits until a sync takes
 * what it did at best, or twice as long; at most SETTLE_S. */
static void settle(const struct times *t)
{
    static double best_ms = 1e9;
    uint64_t end = bench_now_ns() + (uint64_t)(SETTLE_S * 1e9 * t->settle);
    double ms;
    do {
        ms = limit_sync_ms(scratch, PROBE_S);
        best_ms = ms < best_ms ? ms : best_ms;
    } while (ms > 2 * best_ms && bench_now_ns() < end);
}

static struct limit limit_lmdb(int figure, size_t size, size_t batch,
                               const struct times *t)
{
    double puts;
    settle(t);
    (void)limit_lmdb_ms(scratch, size, batch, t->limit_s, &puts);
    if (figure == LMDB_64KB_MBS)
        puts *= (double)size / 1e6;
    note(figure, puts);
    return (struct limit){{puts, puts}};
}

/* A commit, and two round trips: client and leader, leader and follower. */
static struct limit limit_one(const struct times *t)
{
    double s = t->limit_s;
    settle(t);
    note(SYNC_MS, limit_sync_ms(scratch, s));
    double lmdb = note(LMDB_1_MS, limit_lmdb_ms(scratch, SMALL, 1, s, NULL));
    double plain = note(ZMQ_ROUND_MS, limit_zmq_round_ms(false, s));
    double curve = note(ZMQ_ROUND_CURVE_MS, limit_zmq_round_ms(true, s));
    return (struct limit){{lmdb + 2 * plain, lmdb + 2 * curve}};
}

static void measure_append(struct load *l[2], int figure, size_t size,
                           unsigned streams, unsigned depth,
                           const struct limit *limit, const struct times *t)
{
    for (int door = 0; door < 2; door++) {
        struct load_result r =
            load_append(l[door], size, streams, depth, t->eddy_s);
        double value = r.per_s;
        if (figure == ONE_P50_MS)
            value = r.p50_ms;
        else if (figure == LARGE_64_MBS || figure == HUGE_16_MBS)
            value *= (double)size / 1e6;
        note_eddy(figure, door, value, limit);
        if (figure != MEDIUM_64_S)
            continue;
        note(MEDIUM_64_P99_MS + door, r.p99_ms);
        note(CPU_US + door, r.cpu_us);
    }
}

static void measure_reads(struct load *l[2], const struct times *t)
{
    double plain = note(ZMQ_MBS, limit_zmq_mbs(false, t->limit_s));
    double curve = note(ZMQ_CURVE_MBS, limit_zmq_mbs(true, t->limit_s));
    struct limit bytes = {{plain, curve}};
    double small_mb = LOAD_READ_SMALL / 1e6, large_mb = LOAD_READ_LARGE / 1e6;
    struct limit segments = {{plain / small_mb, curve / small_mb}};
    for (int door = 0; door < 2; door++) {
        struct load_result small =
            load_read(l[door], LOAD_READ_SMALL, t->eddy_s);
        struct load_result large =
            load_read(l[door], LOAD_READ_LARGE, t->eddy_s);
        note_eddy(READ_SMALL_S, door, small.per_s, &segments);
        note_eddy(READ_LARGE_MBS, door, large.per_s * large_mb, &bytes);
    }
}

/* Each limit right before what rests on it: the disk's moods pass. */
static void measure_all(struct load *l[2], const struct times *t)
{
    struct limit of = limit_one(t);
    measure_append(l, ONE_P50_MS, SMALL, 1, 1, &of, t);
    of = limit_lmdb(LMDB_64_S, SMALL, 64, t);
    measure_append(l, SMALL_64_S, SMALL, 64, 1, &of, t);
    measure_append(l, SMALL_ONE_S, SMALL, 1, 64, &of, t);
    of = limit_lmdb(LMDB_1024_S, SMALL, 1024, t);
    measure_append(l, SMALL_1024_S, SMALL, 64, 16, &of, t);
    of = limit_lmdb(LMDB_64K_S, MEDIUM, 64, t);
    measure_append(l, MEDIUM_64_S, MEDIUM, 64, 1, &of, t);
    measure_append(l, MEDIUM_ONE_S, MEDIUM, 1, 64, &of, t);
    of = limit_lmdb(LMDB_1024K_S, MEDIUM, 1024, t);
    measure_append(l, MEDIUM_1024_S, MEDIUM, 64, 16, &of, t);
    of = limit_lmdb(LMDB_64KB_MBS, LARGE, 16, t);
    measure_append(l, LARGE_64_MBS, LARGE, 64, 1, &of, t);
    of = limit_lmdb(LMDB_64KB_MBS, LARGE, 16, t);
    measure_append(l, HUGE_16_MBS, HUGE, 16, 1, &of, t);
    measure_reads(l, t);
}

/* ---- the table --------------------------------------------------------- */

/* "0.87 ms", "33,600/s", "231 MB/s", as SPEED.md writes them. */
enum unit { UNIT_MS, UNIT_PER_S, UNIT_MBS, UNIT_US, UNIT_MB };

static const char *show(double v, enum unit unit, char out[32])
{
    unsigned long whole = (unsigned long)(v + 0.5);
    switch (unit) {
    case UNIT_MS:
        (void)snprintf(out, 32, "%.2f ms", v);
        break;
    case UNIT_PER_S:
        if (whole >= 1000000)
            (void)snprintf(out, 32, "%lu,%03lu,%03lu/s", whole / 1000000,
                           whole / 1000 % 1000, whole % 1000);
        else if (whole >= 1000)
            (void)snprintf(out, 32, "%lu,%03lu/s", whole / 1000, whole % 1000);
        else
            (void)snprintf(out, 32, "%lu/s", whole);
        break;
    case UNIT_MBS:
        (void)snprintf(out, 32, "%lu MB/s", whole);
        break;
    case UNIT_US:
        (void)snprintf(out, 32, "%lu us", whole);
        break;
    case UNIT_MB:
        (void)snprintf(out, 32, "%lu MB", whole);
        break;
    }
    return out;
}

/* "33,600/s (31,000 .. 34,100)": without the units the spread is short. */
static void show_spread(int figure, enum unit unit, char out[100])
{
    char middle[32], low[32], high[32];
    show(median(figure), unit, middle);
    show(samples_percentile(&figures[figure], 0), unit, low);
    show(samples_percentile(&figures[figure], 100), unit, high);
    low[strcspn(low, " /")] = 0;
    high[strcspn(high, " /")] = 0;
    (void)snprintf(out, 100, "%s (%s..%s)", middle, low, high);
}

static void print_limit(const char *name, int figure, enum unit unit)
{
    char text[100];
    show_spread(figure, unit, text);
    (void)printf("%-34s %s\n", name, text);
}

static void print_limits(void)
{
    (void)printf("\nraw limits of this machine          median of %u "
                 "(lowest..highest)\n",
                 ROUNDS);
    print_limit("4 KiB write + fdatasync", SYNC_MS, UNIT_MS);
    print_limit("LMDB commit of 1 x 100 B", LMDB_1_MS, UNIT_MS);
    print_limit("LMDB commits of 64 x 100 B", LMDB_64_S, UNIT_PER_S);
    print_limit("LMDB commits of 1024 x 100 B", LMDB_1024_S, UNIT_PER_S);
    print_limit("LMDB commits of 64 x 1 KB", LMDB_64K_S, UNIT_PER_S);
    print_limit("LMDB commits of 1024 x 1 KB", LMDB_1024K_S, UNIT_PER_S);
    print_limit("LMDB commits of 16 x 64 KB", LMDB_64KB_MBS, UNIT_MBS);
    print_limit("ZeroMQ round trip", ZMQ_ROUND_MS, UNIT_MS);
    print_limit("ZeroMQ round trip, CURVE", ZMQ_ROUND_CURVE_MS, UNIT_MS);
    print_limit("ZeroMQ one way, 64 KB", ZMQ_MBS, UNIT_MBS);
    print_limit("ZeroMQ one way, 64 KB, CURVE", ZMQ_CURVE_MBS, UNIT_MBS);
}

struct row {
    const char *name;
    int figure;
    enum unit unit;
    const char *skeleton[2]; /* SPEED.md's, of another run */
};

static void print_row(const struct row *r)
{
    (void)printf("%-18s", r->name);
    for (int door = 0; door < 2; door++) {
        char text[100], ratio[16] = "";
        struct samples *of = &ratios[r->figure + door];
        show_spread(r->figure + door, r->unit, text);
        if (of->count > 0)
            (void)snprintf(ratio, sizeof ratio, "%.2f",
                           samples_percentile(of, 50));
        (void)printf(" | %-33s %5s %10s", text, ratio, r->skeleton[door]);
    }
    (void)printf("\n");
}

static void print_eddy(void)
{
    static const struct row rows[] = {
        {"100 B x1, p50", ONE_P50_MS, UNIT_MS, {"0.87 ms", "0.86 ms"}},
        {"100 B x64", SMALL_64_S, UNIT_PER_S, {"", ""}},
        {"100 B x64, one", SMALL_ONE_S, UNIT_PER_S, {"33,600/s", "29,500/s"}},
        {"100 B x1024", SMALL_1024_S, UNIT_PER_S, {"219,000/s", "102,000/s"}},
        {"1 KB x64", MEDIUM_64_S, UNIT_PER_S, {"", ""}},
        {"1 KB x64, one", MEDIUM_ONE_S, UNIT_PER_S, {"19,900/s", "20,100/s"}},
        {"1 KB x64, p99", MEDIUM_64_P99_MS, UNIT_MS, {"5.4 ms", "5.2 ms"}},
        {"1 KB x1024", MEDIUM_1024_S, UNIT_PER_S, {"75,800/s", "44,100/s"}},
        {"64 KB x64", LARGE_64_MBS, UNIT_MBS, {"231 MB/s", "125 MB/s"}},
        {"1 MB x16", HUGE_16_MBS, UNIT_MBS, {"236 MB/s*", "158 MB/s*"}},
        {"read 1 KB", READ_SMALL_S, UNIT_PER_S, {"866,000/s", "307,000/s"}},
        {"read 64 KB", READ_LARGE_MBS, UNIT_MBS, {"1400 MB/s", "384 MB/s"}},
        {"CPU/op, 1 KB x64", CPU_US, UNIT_US, {"50 us", "61 us"}},
        {"largest RSS", RSS_MB, UNIT_MB, {"", ""}},
    };
    (void)printf("\n%-18s | %-33s %5s %10s | %-33s %5s %10s\n", "Eddy, 3 nodes",
                 "open (--insecure)", "limit", "skeleton", "keys (CURVE)",
                 "limit", "skeleton");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        print_row(&rows[i]);
    (void)printf(
        "\nlimit: how near it comes to the raw figure it rests on, measured\n"
        "right before it (1 is as fast). x1: a commit of 1 x 100 B and two\n"
        "round trips; other appends: LMDB commits of so many rows (of one\n"
        "process alone; here three nodes share disk and cores); reads: ZeroMQ\n"
        "one way, 64 KB. Appends in flight are spread\n"
        "over %u streams of 256 partitions (1 MB: over 16; x1, one: a single\n"
        "stream, as the skeleton and SPEED.md's peers have it).\n"
        "skeleton: as SPEED.md has it, of another run: no Raft, one leader,\n"
        "one stream, pages used again (*: x64). CPU: nodes and client.\n",
        LOAD_STREAMS);
}

/* ---- transfers --------------------------------------------------------- */

static void print_transfer(const char *name, const struct transfer_result *r)
{
    (void)printf("%-18s | p99 %.1f ms alone, %.1f ms during %.1f s: %.1f times "
                 "| %.0f MB at %.0f MB/s, by hand %.0f MB/s: %.2f\n",
                 name, r->alone_p99_ms, r->during_p99_ms, r->during_s,
                 r->during_p99_ms / r->alone_p99_ms, r->moved_mb, r->moved_mbs,
                 r->copied_mbs, r->moved_mbs / r->copied_mbs);
}

static void measure_transfers(const char *eddyd, bool is_quick)
{
    static const char *const names[] = {"open", "keys"};
    (void)printf("\nA node gets its copies: appends of 1 KB x64 meanwhile (64 "
                 "MiB/s, the default);\nand without appends at the highest "
                 "rate, against a copy of the same rows from\none LMDB file "
                 "to another.\n");
    for (int door = 0; door < 2; door++) {
        char dir[256];
        (void)snprintf(dir, sizeof dir, "%s/transfer-%s", scratch, names[door]);
        if (mkdir(dir, 0700) != 0)
            bench_die("cannot make %s", dir);
        struct transfer_result r =
            transfer_measure(eddyd, dir, door == 0, is_quick);
        print_transfer(names[door], &r);
        (void)fflush(stdout);
    }
}

/* ---- main -------------------------------------------------------------- */

static struct load *start(struct ring *r, const char *eddyd, const char *name,
                          bool is_quick)
{
    char dir[256];
    (void)snprintf(dir, sizeof dir, "%s/%s", scratch, name);
    if (mkdir(dir, 0700) != 0)
        bench_die("cannot make %s", dir);
    ring_start(r, eddyd, dir, r == &open_ring);
    return load_open(r, is_quick);
}

/* One figure of one open ring, for as long as a profiler needs. */
static void measure_one(const char *eddyd, char **args)
{
    unsigned long v[4];
    for (size_t i = 0; i < 4; i++)
        v[i] = strtoul(args[i], NULL, 10);
    if (v[0] > HUGE || v[1] < 1 || v[1] > LOAD_STREAMS || v[2] < 1 ||
        v[2] > LOAD_DEPTH)
        bench_die("append SIZE STREAMS DEPTH SECONDS: at most %u bytes, %u "
                  "streams, %u in flight in each",
                  HUGE, LOAD_STREAMS, LOAD_DEPTH);
    struct load *l = start(&open_ring, eddyd, "open", true);
    (void)load_append(l, v[0], (unsigned)v[1], (unsigned)v[2], 0.1);
    struct load_result r =
        load_append(l, v[0], (unsigned)v[1], (unsigned)v[2], (double)v[3]);
    (void)printf("%lu B, %lu streams x%lu: %.0f/s, p50 %.2f ms, p99 %.2f ms, "
                 "CPU %.0f us\n",
                 v[0], v[1], v[2], r.per_s, r.p50_ms, r.p99_ms, r.cpu_us);
}

static void make_scratch(void)
{
    const char *base = getenv("TMPDIR");
    (void)snprintf(scratch, sizeof scratch, "%.150s/eddy-bench-XXXXXX",
                   base == NULL || base[0] == 0 ? "/tmp" : base);
    if (mkdtemp(scratch) == NULL) {
        scratch[0] = 0;
        bench_die("cannot make a folder in %s", base == NULL ? "/tmp" : base);
    }
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], LIMIT_ZMQ_PEER) == 0)
        return limit_zmq_peer(argv + 2);
    bool is_transfer = argc == 3 && strcmp(argv[2], "transfer") == 0;
    bool is_one = argc == 7 && strcmp(argv[2], "append") == 0;
    if (argc != 2 && !is_transfer && !is_one) {
        (void)fprintf(stderr, "usage: [QUICK=1] bench EDDYD [transfer | append "
                              "SIZE STREAMS DEPTH SECONDS]\n");
        return 2;
    }
    const char *quick = getenv("QUICK");
    bool is_quick = quick != NULL && quick[0] != 0 && quick[0] != '0';
    double factor = is_quick ? QUICK_FACTOR : 1;
    uint64_t begun = bench_now_ns();
    (void)signal(SIGINT, on_signal);
    (void)signal(SIGTERM, on_signal);
    (void)atexit(clean_up);
    make_scratch();
    if (is_transfer)
        measure_transfers(argv[1], is_quick);
    if (is_one)
        measure_one(argv[1], argv + 3);
    if (argc > 2)
        return 0;
    struct load *loads[2];
    loads[0] = start(&open_ring, argv[1], "open", is_quick);
    loads[1] = start(&keyed_ring, argv[1], "keys", is_quick);
    /* First touches and connections are not counted. */
    measure_all(loads, &(struct times){0.02, 0.1, 0});
    for (size_t i = 0; i < FIGURE_COUNT; i++)
        figures[i].count = ratios[i].count = 0;
    const struct times times = {LIMIT_S * factor, EDDY_S * factor, factor};
    for (unsigned round = 0; round < ROUNDS; round++) {
        measure_all(loads, &times);
        (void)fprintf(stderr, "bench: round %u of %u done\n", round + 1,
                      ROUNDS);
    }
    note(RSS_MB, ring_rss_mb(&open_ring));
    note(RSS_MB + 1, ring_rss_mb(&keyed_ring));
    print_limits();
    print_eddy();
    load_close(loads[0]);
    load_close(loads[1]);
    ring_kill(&open_ring);
    ring_kill(&keyed_ring);
    measure_transfers(argv[1], is_quick);
    (void)printf("%s%.0f s.\n", is_quick ? "QUICK: too short to trust. " : "",
                 (double)(bench_now_ns() - begun) / 1e9);
    return 0;
}
