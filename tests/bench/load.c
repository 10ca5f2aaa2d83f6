/* load.c - one client process's load on a ring: closed loops of appends over
 * many streams, and readers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>

#include "net/eddy_impl.h" /* eddy_step: waits for whatever comes next */
#include "net/status.h"
#include "net/wire.h"
#include "tests/bench/bench.h"

#define SPREAD_MS     60000u
#define TIMEOUT_MS    20000u
#define ANSWER_MS     1000u
#define READ_BYTES    (64u << 20) /* what there is to read, of each size */
#define QUICK_BYTES   (16u << 20)
#define CONFLICTS_MAX 10u

/* A stream that is appended to. */
struct line {
    struct load *load;
    struct eddy_producer *producer;
    unsigned in_flight;
    uint64_t sent_ns[LOAD_DEPTH]; /* circular: answers come in order */
    unsigned first;
};

struct load {
    const struct ring *ring;
    struct eddy *e;
    struct line lines[LOAD_STREAMS];
    struct eddy_stream small, large; /* to be read */
    uint8_t *bytes;
    struct samples took_ms;
    size_t marked; /* samples that count; 0: all */
    uint64_t answered;
    uint64_t begun_ns; /* of what is being measured */
    double begun_cpu;
};

static void must(struct load *l, enum eddy_error err, const char *what)
{
    if (err != EDDY_OK)
        bench_die("%s: %s: %s", what, eddy_error_name(err), eddy_reason(l->e));
}

/* ---- until the ring is as it shall be ---------------------------------- */

struct spread {
    unsigned answers;
    unsigned leaders, most;
};

static unsigned count_leaders(const void *bytes, size_t size)
{
    struct dec at = dec_of(span_of(bytes, size));
    struct status_group g;
    unsigned count = 0;
    while (status_next_group(&at, &g)) {
        unsigned voters = 0;
        for (uint32_t i = 0; i < g.replica_count; i++)
            voters += g.replicas[i].is_voter;
        count += g.group != 0 && g.is_leader && g.is_ready &&
                 voters == RING_NODES && g.replica_count == RING_NODES;
    }
    return count;
}

static uint32_t take_status(void *context, const uint8_t node[16],
                            enum eddy_error error, const void *bytes,
                            size_t size)
{
    struct spread *s = context;
    struct status status;
    (void)node;
    if (error != EDDY_OK ||
        status_read(span_of(bytes, size), &status) != ERR_OK)
        return ANSWER_MS;
    unsigned leaders = count_leaders(bytes, size);
    s->answers++;
    s->leaders += leaders;
    s->most = leaders > s->most ? leaders : s->most;
    return ANSWER_MS;
}

/* All partitions have three voters and a ready leader, a third at each. */
static bool is_spread(struct load *l)
{
    struct spread s = {0};
    void *record;
    size_t size;
    if (eddy_ring_record(l->e, true, &record, &size) != EDDY_OK)
        return false;
    eddy_free(record);
    if (eddy_ring_status(l->e, ANSWER_MS, take_status, &s) != EDDY_OK)
        return false;
    unsigned partitions =
        l->ring->partitions > 0 ? l->ring->partitions : PARTITIONS_DEFAULT;
    return s.answers == RING_NODES && s.leaders == partitions &&
           s.most <= partitions / RING_NODES + 1;
}

static void wait_spread(struct load *l)
{
    uint64_t end = bench_now_ns() + SPREAD_MS * UINT64_C(1000000);
    while (!is_spread(l)) {
        if (bench_now_ns() > end)
            bench_die("the ring does not become healthy; see %s/*.log",
                      l->ring->dir);
        (void)nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    }
}

/* ---- appends ----------------------------------------------------------- */

static void on_appended(void *context, const struct eddy_appended *a)
{
    struct line *line = context;
    struct load *l = line->load;
    must(l, a->error, "append");
    uint64_t sent = line->sent_ns[line->first];
    line->first = (line->first + 1) % LOAD_DEPTH;
    line->in_flight--;
    samples_add(&l->took_ms, (double)(bench_now_ns() - sent) / 1e6);
    l->answered++;
}

static void append(struct load *l, struct line *line, size_t size)
{
    unsigned at = (line->first + line->in_flight) % LOAD_DEPTH;
    struct eddy_append a = {.data = l->bytes, .size = size};
    line->sent_ns[at] = bench_now_ns();
    line->in_flight++;
    must(l, eddy_append(line->producer, &a), "append");
}

static double cpu_s(const struct load *l)
{
    struct rusage own;
    (void)getrusage(RUSAGE_SELF, &own);
    return ring_cpu_s(l->ring) +
           (double)(own.ru_utime.tv_sec + own.ru_stime.tv_sec) +
           (double)(own.ru_utime.tv_usec + own.ru_stime.tv_usec) / 1e6;
}

void load_forget(struct load *l)
{
    l->took_ms.count = 0;
    l->marked = 0;
    l->answered = 0;
    l->begun_cpu = cpu_s(l);
    l->begun_ns = bench_now_ns();
}

void load_mark(struct load *l)
{
    l->marked = l->took_ms.count;
}

struct load_result load_append_while(struct load *l, size_t size,
                                     unsigned streams, unsigned depth,
                                     bool (*goes_on)(void *context),
                                     void *context)
{
    load_forget(l);
    while (goes_on(context)) {
        bool is_full = true;
        for (unsigned i = 0; i < streams; i++) {
            while (l->lines[i].in_flight < depth) {
                append(l, &l->lines[i], size);
                is_full = false;
            }
        }
        if (is_full)
            eddy_step(l->e);
    }
    for (unsigned i = 0; i < streams; i++)
        must(l, eddy_flush(l->lines[i].producer), "flush");
    double took = (double)(bench_now_ns() - l->begun_ns) / 1e9;
    if (l->marked > 0)
        l->took_ms.count = l->marked;
    return (struct load_result){
        .per_s = (double)l->answered / took,
        .p50_ms = samples_percentile(&l->took_ms, 50),
        .p99_ms = samples_percentile(&l->took_ms, 99),
        .cpu_us = (cpu_s(l) - l->begun_cpu) * 1e6 / (double)l->answered,
    };
}

static bool is_before(void *end_ns)
{
    return bench_now_ns() < *(const uint64_t *)end_ns;
}

struct load_result load_append(struct load *l, size_t size, unsigned streams,
                               unsigned depth, double seconds)
{
    uint64_t end = bench_now_ns() + (uint64_t)(seconds * 1e9);
    return load_append_while(l, size, streams, depth, is_before, &end);
}

/* ---- reads ------------------------------------------------------------- */

struct load_result load_read(struct load *l, size_t size, double seconds)
{
    const struct eddy_stream *stream =
        size == LOAD_READ_SMALL ? &l->small : &l->large;
    uint64_t count = 0;
    uint64_t begun = bench_now_ns();
    uint64_t end = begun + (uint64_t)(seconds * 1e9);
    while (bench_now_ns() < end) {
        struct eddy_reader *reader;
        struct eddy_segment g;
        must(l, eddy_reader_open(l->e, stream, 0, stream->next_seq, &reader),
             "reader");
        enum eddy_error err;
        while ((err = eddy_reader_next(reader, &g)) == EDDY_OK &&
               bench_now_ns() < end)
            count++;
        if (err != EDDY_NOT_FOUND)
            must(l, err, "read");
        eddy_reader_close(reader);
    }
    double took = (double)(bench_now_ns() - begun) / 1e9;
    return (struct load_result){.per_s = (double)count / took};
}

/* ---- the ring ---------------------------------------------------------- */

/* From the record that is in force: another leader of the ring may just have
 * changed it. */
static enum eddy_error try_rate(struct load *l, const struct change *change)
{
    void *bytes;
    size_t size;
    struct record *record;
    uint64_t epoch;
    must(l, eddy_ring_record(l->e, true, &bytes, &size), "record");
    enum err err = record_decode(span_of(bytes, size), &record);
    eddy_free(bytes);
    if (err != ERR_OK)
        bench_die("the record: %s", err_name(err));
    struct buf list = {0};
    wire_change_write(&list, change);
    struct change_request r = {
        .act = ACT_NOW, .count = 1, .changes = span_buf(&list)};
    if (getrandom(&r.proposal, sizeof r.proposal, 0) < 0)
        bench_die("no random numbers");
    enum eddy_error answer = eddy_ring_change(l->e, &r, &record->epoch, &epoch);
    buf_free(&list);
    record_free(record);
    return answer;
}

void load_set_repair_rate(struct load *l, uint32_t rate)
{
    struct change c = {.kind = CHANGE_REPAIR_RATE, .value = rate};
    enum eddy_error err = EDDY_CONFLICT;
    for (unsigned i = 0; i < CONFLICTS_MAX && err == EDDY_CONFLICT; i++)
        err = try_rate(l, &c);
    must(l, err, "repair.rate");
}

/* ---- life -------------------------------------------------------------- */

static void make_line(struct load *l, unsigned i)
{
    char name[32];
    struct eddy_stream stream;
    struct line *line = &l->lines[i];
    line->load = l;
    (void)snprintf(name, sizeof name, "append-%u", i);
    must(l, eddy_stream_create(l->e, name, &stream, NULL), name);
    must(l,
         eddy_producer_open(l->e, &stream, NULL, on_appended, line,
                            &line->producer),
         name);
}

/* A stream with so many bytes. */
static void make_stream(struct load *l, const char *name, size_t size,
                        size_t bytes, struct eddy_stream *out)
{
    struct eddy_producer *p;
    struct eddy_append a = {.data = l->bytes, .size = size};
    must(l, eddy_stream_create(l->e, name, out, NULL), name);
    must(l, eddy_producer_open(l->e, out, NULL, NULL, NULL, &p), name);
    for (size_t done = 0; done < bytes; done += size)
        must(l, eddy_append(p, &a), name);
    must(l, eddy_flush(p), name);
    eddy_producer_close(p);
    must(l, eddy_stream_info(l->e, out), name);
}

struct load *load_open(const struct ring *r, bool is_quick)
{
    struct load *l = calloc(1, sizeof *l);
    const char *nodes[RING_NODES];
    char reason[EDDY_REASON_SIZE];
    if (l == NULL || (l->bytes = malloc(EDDY_SEGMENT_MAX)) == NULL)
        bench_die("no memory");
    bench_fill(l->bytes, EDDY_SEGMENT_MAX);
    l->ring = r;
    for (unsigned i = 0; i < RING_NODES; i++)
        nodes[i] = r->addresses[i];
    struct eddy_options o = {
        .nodes = nodes,
        .node_count = RING_NODES,
        .key_file = r->admin_key[0] == 0 ? NULL : r->admin_key,
        .timeout_ms = TIMEOUT_MS,
    };
    if (eddy_open(&o, &l->e, reason) != EDDY_OK)
        bench_die("%s", reason);
    wait_spread(l);
    for (unsigned i = 0; i < LOAD_STREAMS; i++)
        make_line(l, i);
    size_t bytes = is_quick ? QUICK_BYTES : READ_BYTES;
    make_stream(l, "small", LOAD_READ_SMALL, bytes / 4, &l->small);
    make_stream(l, "large", LOAD_READ_LARGE, bytes, &l->large);
    return l;
}

void load_close(struct load *l)
{
    if (l == NULL)
        return;
    for (unsigned i = 0; i < LOAD_STREAMS; i++)
        eddy_producer_close(l->lines[i].producer);
    eddy_close(l->e);
    free(l->took_ms.values);
    free(l->bytes);
    free(l);
}
