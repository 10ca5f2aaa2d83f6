/* bench.h - what the benchmark's files share; see README.md.
 *
 *   bench.c   main: rounds, medians, the table
 *   limits.c  what this machine can do: sync, LMDB, ZeroMQ
 *   ring.c    three nodes of eddyd as processes, and some that join later
 *   load.c    a client that appends and reads
 *   transfer.c  what becomes of both while a node gets its copies
 *
 * It measures and gives up at the first thing that fails: nothing here
 * returns an error, and nothing is freed that lives as long as the process. */
#ifndef TESTS_BENCH_BENCH_H
#define TESTS_BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Says why and ends the process (and with it the nodes). */
_Noreturn void bench_die(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

uint64_t bench_now_ns(void);
/* Bytes that do not compress. */
void bench_fill(void *out, size_t size);

/* A growing list of numbers. */
struct samples {
    double *values;
    size_t count, capacity;
};
void samples_add(struct samples *s, double value);
/* The value that `percent` of them are at or below; 0 if there are none.
 * Sorts them. */
double samples_percentile(struct samples *s, unsigned percent);

/* ---- limits.c ---------------------------------------------------------- */

/* Each runs for `seconds` in the folder `dir`. */

/* Median of a 4 KiB write and fdatasync over blocks already written, in ms. */
double limit_sync_ms(const char *dir, double seconds);
/* Commits of `batch` puts of `size` bytes, default flags, ascending keys: the
 * median in ms, and (not NULL) puts a second. */
double limit_lmdb_ms(const char *dir, size_t size, size_t batch, double seconds,
                     double *puts_per_s);
/* Median of a round trip of 100 bytes over tcp loopback to another process, in
 * ms. */
double limit_zmq_round_ms(bool is_curve, double seconds);
/* Messages of 64 KiB from another process, in MB/s. */
double limit_zmq_mbs(bool is_curve, double seconds);
/* Copies all payload, index and state of a node's folder into a new LMDB file
 * in `dir`, in commits of some MiB: rows as they are, in MB/s. */
double limit_copy_mbs(const char *data, const char *dir);
/* That other process's main. */
int limit_zmq_peer(char **argv);
/* argv[1] that asks for it. */
#define LIMIT_ZMQ_PEER "zmq-peer"

/* ---- ring.c ------------------------------------------------------------ */

#define RING_NODES     3u
#define RING_NODES_MAX 5u

struct ring {
    /* Set before it is started: */
    unsigned partitions; /* 0: the default */
    unsigned log_keep;   /* entries; 0: the default */
    /* ... by it: */
    const char *eddyd;
    bool is_insecure;
    unsigned count;
    char dir[256];
    char admin_key[300]; /* "": an open cluster */
    char addresses[RING_NODES_MAX][32];
    pid_t pids[RING_NODES_MAX];
};

/* A free pair of ports below 32768 (those above the kernel hands out). */
uint16_t ring_free_port(void);
/* init, join and run in `dir`; returns at once: not all may lead yet. */
void ring_start(struct ring *r, const char *eddyd, const char *dir,
                bool is_insecure);
/* One more joins and serves; its folder is DIR/n4, its log DIR/n4.log. */
void ring_join(struct ring *r);
/* kill -9, by pid. */
void ring_kill(struct ring *r);
/* User and system time of all, ever. */
double ring_cpu_s(const struct ring *r);
/* The largest that one of them has ever been. */
double ring_rss_mb(const struct ring *r);

/* ---- load.c ------------------------------------------------------------ */

#define LOAD_STREAMS 64u
#define LOAD_DEPTH   64u /* in flight in each stream, at most */

struct load; /* a client of one ring */

/* Connects, waits until the leaders are spread evenly over the nodes, makes
 * streams and producers, and what will be read. */
struct load *load_open(const struct ring *r, bool is_quick);
void load_close(struct load *l);

struct load_result {
    double per_s;
    double p50_ms, p99_ms;
    double cpu_us; /* of an operation: all nodes and the client */
};
/* Segments of `size` bytes in a closed loop: `depth` in flight in each of
 * `streams` streams. */
struct load_result load_append(struct load *l, size_t size, unsigned streams,
                               unsigned depth, double seconds);
/* The same until `goes_on` says no more; it is asked again and again, and may
 * forget what was measured so far, or mark the end of what counts (per_s and
 * cpu_us are of the whole). */
struct load_result load_append_while(struct load *l, size_t size,
                                     unsigned streams, unsigned depth,
                                     bool (*goes_on)(void *context),
                                     void *context);
void load_forget(struct load *l);
void load_mark(struct load *l);
/* Bytes a second that each node copies replicas at: ring set repair.rate. */
void load_set_repair_rate(struct load *l, uint32_t rate);
/* One reader from the beginning to the end of a stream, again and again;
 * `size` is LOAD_READ_SMALL or LOAD_READ_LARGE. */
struct load_result load_read(struct load *l, size_t size, double seconds);
#define LOAD_READ_SMALL 1000u
#define LOAD_READ_LARGE 65536u

/* ---- transfer.c -------------------------------------------------------- */

struct transfer_result {
    double alone_p99_ms;  /* of appends, nothing else going on */
    double during_p99_ms; /* ... while a fourth node gets its copies */
    double during_s;      /* for so long */
    double moved_mb;      /* to a fifth, without appends, at the highest rate */
    double moved_mbs;
    double copied_mbs; /* the same rows, from one LMDB file to another */
};
/* On a ring of its own in `dir`. */
struct transfer_result transfer_measure(const char *eddyd, const char *dir,
                                        bool is_insecure, bool is_quick);
/* kill -9 of that ring's nodes. */
void transfer_kill(void);

#endif
