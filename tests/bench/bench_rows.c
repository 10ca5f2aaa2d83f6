/* bench_rows.c - the probe that DESIGN.md 3 asks for: segments of one stream
 * that are neighbours in an entry as one *run* (payload back to back, one row
 * of index), against a row of payload and a row of index for each segment.
 *
 * Raw LMDB, with the keys, headers and sizes of storage/store_rows.h and
 * ring/rows.h. One entry a commit, its segments those of STREAMS streams. Both
 * layouts take turns, each in a fresh folder; printed are medians.
 *
 *   gcc -std=c17 -D_POSIX_C_SOURCE=200809L -O2 -I. tests/bench/bench_rows.c \
 *       storage/store_rows.c ring/base.c ring/codec.c ring/rows.c ring/entry.c
 \ -llmdb -o /tmp/bench_rows && /tmp/bench_rows
 */
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "storage/store_rows.h"

#define STREAMS 4u
#define ROUNDS  5
/* What ring/rows.h writes: a row's head, and each segment of it. */
#define RUN_HEAD_BYTES    27u
#define RUN_SEGMENT_BYTES 21u

enum layout { LAYOUT_RUNS, LAYOUT_SEGMENTS };

struct shape {
    uint32_t size;  /* of a segment */
    uint32_t count; /* in a commit */
    uint32_t commits;
};

struct result {
    double commits_per_s;
    double bytes_per_segment;
};

static MDB_env *env;
static MDB_dbi payload_db, index_db;
static MDB_txn *txn;

static void must(int rc)
{
    if (rc == 0)
        return;
    fprintf(stderr, "bench_rows: %s\n", mdb_strerror(rc));
    exit(1);
}

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint8_t *reserve(MDB_dbi dbi, struct span key, size_t size)
{
    MDB_val k = {key.size, (void *)key.data}, v = {size, NULL};
    must(mdb_put(txn, dbi, &k, &v, MDB_RESERVE));
    return v.mv_data;
}

static void put_payload(struct position at, uint16_t chunk, uint32_t run_bytes,
                        uint32_t size)
{
    struct store_key key = store_key_payload(1, 1, at, chunk);
    uint8_t *row = reserve(payload_db, store_key_span(&key),
                           STORE_PAYLOAD_HEADER_BYTES + size);
    memset(row, (int)run_bytes & 0xff, STORE_PAYLOAD_HEADER_BYTES + size);
}

static void put_index(uint64_t stream, uint64_t seq, uint32_t count)
{
    uint8_t key[STORE_INDEX_KEY_BYTES];
    put_be32(key, 1);
    put_be32(key + 4, 1);
    put_be64(key + 8, stream);
    put_be16(key + 16, 0);
    put_be64(key + 18, seq);
    size_t size = RUN_HEAD_BYTES + (size_t)count * RUN_SEGMENT_BYTES +
                  STORE_CHECKSUM_BYTES;
    memset(reserve(index_db, span_of(key, sizeof key), size), (int)seq & 0xff,
           size);
}

/* Entry `index` with its segments; seq is that of the first, in each stream. */
static void write_entry(enum layout layout, const struct shape *s,
                        uint64_t index, uint64_t seq)
{
    uint32_t each = s->count / STREAMS;
    for (uint32_t stream = 0; stream < STREAMS; stream++) {
        struct position at = {index, (uint16_t)(stream * each)};
        uint32_t bytes = each * s->size;
        if (layout == LAYOUT_RUNS) {
            uint16_t chunk = 0;
            for (uint32_t done = 0; done < bytes; done += STORE_CHUNK_BYTES)
                put_payload(at, chunk++, bytes,
                            (uint32_t)min_u64(bytes - done, STORE_CHUNK_BYTES));
            put_index(stream, seq, each);
            continue;
        }
        for (uint32_t i = 0; i < each; i++, at.ordinal++) {
            put_payload(at, 0, s->size, s->size);
            put_index(stream, seq + i, 1);
        }
    }
}

static struct result run(const char *path, enum layout layout,
                         const struct shape *s)
{
    char data[300], lock[300];
    (void)snprintf(data, sizeof data, "%s/data.mdb", path);
    (void)snprintf(lock, sizeof lock, "%s/lock.mdb", path);
    must(mdb_env_create(&env));
    must(mdb_env_set_mapsize(env, (size_t)4 << 30));
    must(mdb_env_set_maxdbs(env, 2));
    must(mdb_env_open(env, path, MDB_NOTLS, 0600));
    must(mdb_txn_begin(env, NULL, 0, &txn));
    must(mdb_dbi_open(txn, "payload", MDB_CREATE, &payload_db));
    must(mdb_dbi_open(txn, "index", MDB_CREATE, &index_db));
    must(mdb_txn_commit(txn));
    double begun = now_s();
    for (uint32_t i = 0; i < s->commits; i++) {
        must(mdb_txn_begin(env, NULL, 0, &txn));
        write_entry(layout, s, i + 1, (uint64_t)i * (s->count / STREAMS));
        must(mdb_txn_commit(txn));
    }
    double seconds = now_s() - begun;
    mdb_env_close(env);
    struct stat file;
    must(stat(data, &file));
    (void)unlink(data);
    (void)unlink(lock);
    return (struct result){s->commits / seconds,
                           (double)file.st_size / s->commits / s->count};
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(const char *name, const struct shape *s, double *rates,
                   double bytes)
{
    qsort(rates, ROUNDS, sizeof *rates, compare);
    double median = rates[ROUNDS / 2];
    printf("%5u B x %4u  %-12s %7.0f commits/s %10.0f segments/s "
           "%6.0f B of file a segment   (%.0f .. %.0f)\n",
           s->size, s->count, name, median, median * s->count, bytes, rates[0],
           rates[ROUNDS - 1]);
}

int main(void)
{
    static const struct shape shapes[] = {
        {100, 64, 500}, {100, 1024, 100}, {1000, 64, 500}, {1000, 1024, 60}};
    const char *base = getenv("TMPDIR");
    char path[200];
    (void)snprintf(path, sizeof path, "%s/bench-rows-XXXXXX",
                   base == NULL ? "/tmp" : base);
    if (mkdtemp(path) == NULL)
        return 1;
    for (size_t k = 0; k < sizeof shapes / sizeof shapes[0]; k++) {
        double rates[2][ROUNDS];
        struct result r[2];
        for (int i = 0; i < ROUNDS; i++) {
            for (int layout = 0; layout < 2; layout++) {
                r[layout] = run(path, (enum layout)layout, &shapes[k]);
                rates[layout][i] = r[layout].commits_per_s;
            }
        }
        report("run rows", &shapes[k], rates[LAYOUT_RUNS],
               r[LAYOUT_RUNS].bytes_per_segment);
        report("row each", &shapes[k], rates[LAYOUT_SEGMENTS],
               r[LAYOUT_SEGMENTS].bytes_per_segment);
    }
    (void)rmdir(path);
    return 0;
}
