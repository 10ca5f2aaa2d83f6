/* recorder.c - a load that remembers what was promised, and checks it.
 *
 * Appends segments whose every byte follows from (stream, life, number), and
 * writes each acknowledgement to a file of its own, synced, before it counts.
 * Whatever happens to the cluster meanwhile, `verify` then finds out whether
 * all that was acknowledged is there, at its seq and byte for byte; whether
 * anything is there twice, or out of order; and whether what was refused as
 * not done is indeed not there.
 *
 *   recorder create KEY NODES STREAMS        makes rec/0, rec/1, ...; prints
 *                                            a line "STREAM PARTITION" for each
 *   recorder load KEY NODES STREAMS DIR LIFE [WRITERS [MS]]
 *                                            appends until SIGTERM (or -9);
 *                                            each writer rests MS between its
 *                                            rounds (none)
 *   recorder verify KEY NODES STREAMS DIR    one line of totals; exit 1 if any
 *                                            promise was broken
 *   recorder probe KEY NODES STREAMS DIR put|get MS
 *                                            a process for each stream does one
 *                                            thing every MS; DIR/put.STREAM has
 *                                            a line for each success: when (us
 *                                            since 1970) and how long it took
 *
 * NODES: HOST:PORT,HOST:PORT... (their keys are remembered in a file
 * recorder.contacts of the current folder). A *life* is one process's use of
 * its streams: a fresh number for each load (lives LIFE * LIVES_EACH and up: a
 * writer whose producer failed begins another).
 *
 * In DIR: acks.W has lines "STREAM SEQ LIFE NUMBER WHEN TOOK", of writer W (us
 * since 1970 and us), refused.W lines "STREAM LIFE NUMBER". */
#define _GNU_SOURCE /* prctl: writers die with their parent */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "net/eddy.h"
#include "ring/base.h"
#include "tests/cluster/content.h"

#define STREAMS_LIMIT 256u
#define WRITERS       8u
#define LIVES_EACH    32u
#define LIVES_LIMIT   4096u
#define NODES_LIMIT   16u
#define BATCH_MAX     8u /* appends of each stream between two flushes */
#define TIMEOUT_MS    30000u

static volatile sig_atomic_t is_over;

static void on_term(int signal)
{
    (void)signal;
    is_over = 1;
}

_Noreturn static void die(const char *what, const char *why)
{
    (void)fprintf(stderr, "recorder: %s: %s\n", what, why);
    exit(1);
}

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static void rest_ms(unsigned ms)
{
    struct timespec t = {ms / 1000u, (long)(ms % 1000u) * 1000000L};
    (void)nanosleep(&t, NULL);
}

struct setup {
    const char *nodes[NODES_LIMIT];
    size_t node_count;
    const char *key_file;
    unsigned streams;
    const char *dir;
};

static struct eddy *connect_to(const struct setup *s)
{
    char reason[EDDY_REASON_SIZE];
    struct eddy_options o = {.nodes = s->nodes,
                             .node_count = s->node_count,
                             .key_file = s->key_file,
                             .contacts_file = "recorder.contacts",
                             .timeout_ms = TIMEOUT_MS};
    struct eddy *e;
    if (eddy_open(&o, &e, reason) != EDDY_OK)
        die("open", reason);
    return e;
}

static void stream_name(unsigned stream, char name[32])
{
    (void)snprintf(name, 32, "rec/%u", stream);
}

static FILE *open_file(const struct setup *s, const char *what, unsigned number,
                       const char *mode)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s.%u", s->dir, what, number);
    FILE *f = fopen(path, mode);
    if (f == NULL && (mode[0] != 'r' || errno != ENOENT))
        die(path, strerror(errno));
    return f;
}

/* ---- the writers ------------------------------------------------------- */

struct track { /* one writer's use of one stream */
    struct writer *writer;
    struct eddy_stream stream;
    struct eddy_producer *producer;
    unsigned number; /* of the stream */
    uint64_t life;
    uint64_t first; /* the producer's number that is our number 0 */
    uint64_t next;  /* our number */
    uint64_t begun_us[BATCH_MAX]; /* of the last ones, by our number */
    bool has_failed;
};

struct writer {
    const struct setup *setup;
    struct eddy *eddy;
    FILE *acks, *refused;
    uint64_t life;
    unsigned pace_ms;
    struct track tracks[STREAMS_LIMIT];
    size_t track_count;
    struct buf content;
};

static void on_appended(void *context, const struct eddy_appended *a)
{
    struct track *t = context;
    unsigned long long number = a->number - t->first;
    uint64_t now = now_us();
    uint64_t begun = t->begun_us[number % BATCH_MAX];
    if (a->error == EDDY_OK)
        (void)fprintf(
            t->writer->acks, "%u %llu %llu %llu %llu %llu\n", t->number,
            (unsigned long long)a->seq, (unsigned long long)t->life, number,
            (unsigned long long)now, (unsigned long long)(now - begun));
    else if (strcmp(eddy_error_done(a->error), "no") == 0)
        (void)fprintf(t->writer->refused, "%u %llu %llu\n", t->number,
                      (unsigned long long)t->life, number);
    if (a->error != EDDY_OK)
        t->has_failed = true;
}

static void sync_file(FILE *f)
{
    if (fflush(f) != 0 || fdatasync(fileno(f)) != 0)
        die("acks", strerror(errno));
}

/* Streams of odd numbers have a producer with a name: each life fences off the
 * one before. False: not now. */
static bool open_producer(struct track *t)
{
    char name[32];
    (void)snprintf(name, sizeof name, "recorder-%u", t->number);
    enum eddy_error e = eddy_producer_open(t->writer->eddy, &t->stream,
                                           t->number % 2 == 1 ? name : NULL,
                                           on_appended, t, &t->producer);
    if (e != EDDY_OK) {
        (void)fprintf(stderr, "recorder: producer of stream %u: %s: %s\n",
                      t->number, eddy_error_name(e),
                      eddy_reason(t->writer->eddy));
        return false;
    }
    t->first = eddy_producer_next(t->producer);
    t->next = 0;
    t->life = t->writer->life;
    t->has_failed = false;
    return true;
}

static void append_some(struct writer *w, struct track *t, unsigned count)
{
    for (unsigned i = 0; i < count && !t->has_failed; i++) {
        content_of(t->number, t->life, t->next, &w->content);
        struct eddy_append a = {.data = w->content.data,
                                .size = w->content.size};
        t->begun_us[t->next % BATCH_MAX] = now_us();
        if (eddy_append(t->producer, &a) != EDDY_OK)
            t->has_failed = true;
        else
            t->next++;
    }
}

/* A producer that failed: what it left unknown stays so; another life. */
static void begin_anew(struct writer *w)
{
    bool is_any = false;
    for (size_t i = 0; i < w->track_count; i++)
        is_any = is_any || w->tracks[i].has_failed;
    if (!is_any)
        return;
    w->life++;
    if (w->life % LIVES_EACH == 0)
        die("load", "too many producers failed");
    for (size_t i = 0; i < w->track_count; i++) {
        struct track *t = &w->tracks[i];
        if (!t->has_failed)
            continue;
        (void)fprintf(stderr, "recorder: stream %u failed: %s\n", t->number,
                      eddy_reason(w->eddy));
        eddy_producer_close(t->producer);
        t->producer = NULL;
        while (!is_over && !open_producer(t))
            rest_ms(100);
    }
}

static void write_until_over(struct writer *w)
{
    struct rng chance;
    rng_seed(&chance, w->life * WRITERS + w->tracks[0].number);
    while (!is_over) {
        for (size_t i = 0; i < w->track_count; i++)
            append_some(w, &w->tracks[i],
                        1 + (unsigned)rng_below(&chance, BATCH_MAX));
        for (size_t i = 0; i < w->track_count; i++)
            if (eddy_flush(w->tracks[i].producer) != EDDY_OK)
                w->tracks[i].has_failed = true;
        sync_file(w->refused);
        sync_file(w->acks);
        if (!is_over)
            begin_anew(w);
        if (!is_over && w->pace_ms > 0)
            rest_ms(w->pace_ms);
    }
}

/* Of a load: the writers share the streams. */
struct shift {
    uint64_t life;
    unsigned writers, pace_ms;
};

static int writer_main(const struct setup *s, unsigned number,
                       const struct shift *shift)
{
    struct writer *w = mem_alloc(sizeof *w);
    w->setup = s;
    w->life = shift->life * LIVES_EACH;
    w->pace_ms = shift->pace_ms;
    w->eddy = connect_to(s);
    w->acks = open_file(s, "acks", number, "a");
    w->refused = open_file(s, "refused", number, "a");
    for (unsigned i = number; i < s->streams; i += shift->writers) {
        struct track *t = &w->tracks[w->track_count++];
        char name[32];
        stream_name(i, name);
        t->writer = w;
        t->number = i;
        if (eddy_stream_open(w->eddy, name, &t->stream) != EDDY_OK)
            die(name, eddy_reason(w->eddy));
        if (!open_producer(t))
            die(name, "no producer");
    }
    write_until_over(w);
    for (size_t i = 0; i < w->track_count; i++)
        eddy_producer_close(w->tracks[i].producer);
    eddy_close(w->eddy);
    (void)fclose(w->acks);
    (void)fclose(w->refused);
    buf_free(&w->content);
    mem_free(w);
    return 0;
}

/* ---- one process each -------------------------------------------------- */

static void catch_term(void)
{
    struct sigaction a = {.sa_handler = on_term};
    (void)sigaction(SIGTERM, &a, NULL);
}

/* True in the child. It dies with its parent. */
static bool fork_child(pid_t *out)
{
    pid_t parent = getpid();
    pid_t child = fork();
    if (child < 0)
        die("fork", strerror(errno));
    *out = child;
    if (child != 0)
        return false;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        exit(1);
    return true;
}

/* Passes SIGTERM on; the worst exit status of the children. */
static int wait_children(const pid_t *children, size_t count)
{
    int worst = 0;
    size_t left = count;
    bool is_told = false;
    while (left > 0) {
        int status;
        pid_t ended = waitpid(-1, &status, is_over ? 0 : WNOHANG);
        if (ended > 0) {
            left--;
            worst = status != 0 ? 1 : worst;
        } else if (!is_over) {
            rest_ms(20);
        }
        if (!is_over || is_told)
            continue;
        for (size_t i = 0; i < count; i++)
            (void)kill(children[i], SIGTERM);
        is_told = true;
    }
    return worst;
}

static int load(const struct setup *s, const struct shift *shift)
{
    pid_t children[STREAMS_LIMIT];
    catch_term();
    for (unsigned i = 0; i < shift->writers; i++)
        if (fork_child(&children[i]))
            return writer_main(s, i, shift);
    return wait_children(children, shift->writers);
}

static struct shift read_shift(int argc, char **argv)
{
    struct shift shift = {strtoull(argv[6], NULL, 10), WRITERS, 0};
    if (argc > 7)
        shift.writers = (unsigned)strtoul(argv[7], NULL, 10);
    if (argc > 8)
        shift.pace_ms = (unsigned)strtoul(argv[8], NULL, 10);
    return shift;
}

/* ---- probing ----------------------------------------------------------- */

struct probe {
    FILE *times;
    uint64_t acked;
    enum eddy_error error;
};

static void on_probed(void *context, const struct eddy_appended *a)
{
    struct probe *p = context;
    p->error = a->error;
    if (a->error == EDDY_OK)
        p->acked++;
}

static bool probe_put(struct eddy *e, struct eddy_stream *stream,
                      struct eddy_producer **producer, struct probe *p)
{
    struct eddy_append a = {.data = "probe", .size = 5};
    if (*producer == NULL &&
        eddy_producer_open(e, stream, NULL, on_probed, p, producer) != EDDY_OK)
        return false;
    bool is_ok =
        eddy_append(*producer, &a) == EDDY_OK && eddy_flush(*producer) == 0;
    if (!is_ok) {
        eddy_producer_close(*producer);
        *producer = NULL;
    }
    return is_ok;
}

/* The newest segment, its number asked of the leader. */
static bool probe_get(struct eddy *e, struct eddy_stream *stream)
{
    struct eddy_reader *r = NULL;
    struct eddy_segment g;
    if (eddy_stream_info(e, stream) != EDDY_OK || stream->next_seq == 0)
        return false;
    bool is_ok = eddy_reader_open(e, stream, stream->next_seq - 1,
                                  stream->next_seq, &r) == EDDY_OK &&
                 eddy_reader_next(r, &g) == EDDY_OK;
    eddy_reader_close(r);
    return is_ok;
}

static int prober_main(const struct setup *s, unsigned number, bool is_put,
                       unsigned pace_ms)
{
    struct eddy *e = connect_to(s);
    struct eddy_stream stream;
    struct eddy_producer *producer = NULL;
    struct probe p = {.times =
                          open_file(s, is_put ? "put" : "get", number, "w")};
    char name[32];
    stream_name(number, name);
    (void)setvbuf(p.times, NULL, _IOLBF, 0); /* read while we run */
    if (eddy_stream_open(e, name, &stream) != EDDY_OK)
        die(name, eddy_reason(e));
    while (!is_over) {
        uint64_t begun = now_us();
        bool is_ok = is_put ? probe_put(e, &stream, &producer, &p)
                            : probe_get(e, &stream);
        uint64_t now = now_us();
        if (is_ok)
            (void)fprintf(p.times, "%llu %llu\n", (unsigned long long)now,
                          (unsigned long long)(now - begun));
        else
            (void)fprintf(stderr, "recorder: probe of %s failed: %s\n", name,
                          eddy_reason(e));
        rest_ms(pace_ms);
    }
    eddy_producer_close(producer);
    eddy_close(e);
    return fclose(p.times) != 0;
}

static int probe(const struct setup *s, const char *what, unsigned pace_ms)
{
    pid_t children[STREAMS_LIMIT];
    catch_term();
    for (unsigned i = 0; i < s->streams; i++)
        if (fork_child(&children[i]))
            return prober_main(s, i, strcmp(what, "put") == 0, pace_ms);
    return wait_children(children, s->streams);
}

/* ---- verifying --------------------------------------------------------- */

#define NOT_ACKED UINT64_MAX

struct book {                   /* what is known of one stream */
    uint64_t *acked;            /* by seq: life << 32 | number, or NOT_ACKED */
    uint64_t count;             /* one more than the highest seq acknowledged */
    uint64_t next[LIVES_LIMIT]; /* by life: the next number to be found */
    uint64_t refused[LIVES_LIMIT]; /* by life: the first one not done, + 1 */
    uint64_t newest_life;
};

struct totals {
    uint64_t acked, there, lost, other, twice, gaps, damaged, refused_there;
};

static void complain(struct totals *t, uint64_t *count, unsigned stream,
                     uint64_t seq, const char *what)
{
    (void)t;
    if ((*count)++ < 20)
        (void)fprintf(stderr, "recorder: stream %u, segment %llu: %s\n", stream,
                      (unsigned long long)seq, what);
}

static void note_ack(struct book *b, uint64_t seq, uint64_t content,
                     unsigned stream, struct totals *t)
{
    if (seq >= b->count) {
        b->acked = mem_resize(b->acked, (seq + 1) * sizeof *b->acked);
        for (uint64_t i = b->count; i <= seq; i++)
            b->acked[i] = NOT_ACKED;
        b->count = seq + 1;
    }
    if (b->acked[seq] != NOT_ACKED)
        complain(t, &t->twice, stream, seq, "acknowledged to two appends");
    b->acked[seq] = content;
    t->acked++;
}

/* A last line without its end was never synced: it does not count. */
static void read_books(const struct setup *s, struct book *books,
                       struct totals *t)
{
    char line[128];
    unsigned stream;
    unsigned long long seq, life, number;
    for (unsigned w = 0; w < STREAMS_LIMIT; w++) {
        FILE *f = open_file(s, "acks", w, "r");
        while (f != NULL && fgets(line, sizeof line, f) != NULL &&
               strchr(line, '\n') != NULL)
            if (sscanf(line, "%u %llu %llu %llu", &stream, &seq, &life,
                       &number) == 4 &&
                stream < s->streams && life < LIVES_LIMIT)
                note_ack(&books[stream], seq, life << 32 | number, stream, t);
        if (f != NULL)
            (void)fclose(f);
        f = open_file(s, "refused", w, "r");
        while (f != NULL && fgets(line, sizeof line, f) != NULL &&
               strchr(line, '\n') != NULL)
            if (sscanf(line, "%u %llu %llu", &stream, &life, &number) == 3 &&
                stream < s->streams && life < LIVES_LIMIT &&
                books[stream].refused[life] == 0)
                books[stream].refused[life] = number + 1;
        if (f != NULL)
            (void)fclose(f);
    }
}

static void check_segment(struct book *b, unsigned stream,
                          const struct eddy_segment *g, struct buf *content,
                          struct totals *t)
{
    unsigned claimed;
    uint64_t life, number;
    bool is_known = content_read(span_of(g->data, g->size), &claimed, &life,
                                 &number, content);
    if (!is_known || claimed != stream || life >= LIVES_LIMIT) {
        complain(t, &t->damaged, stream, g->seq, "other bytes than appended");
        return;
    }
    if (number < b->next[life])
        complain(t, &t->twice, stream, g->seq, "there for the second time");
    else if (number > b->next[life])
        complain(t, &t->gaps, stream, g->seq, "one before it is missing");
    else
        b->next[life]++;
    if (stream % 2 == 1 && life < b->newest_life)
        complain(t, &t->gaps, stream, g->seq, "by a producer fenced off");
    if (life > b->newest_life)
        b->newest_life = life;
    if (b->refused[life] != 0 && number + 1 >= b->refused[life])
        complain(t, &t->refused_there, stream, g->seq, "said to be not done");
    if (g->seq < b->count && b->acked[g->seq] != NOT_ACKED) {
        if (b->acked[g->seq] != (life << 32 | number))
            complain(t, &t->other, stream, g->seq, "another was acknowledged");
        b->acked[g->seq] = NOT_ACKED;
    }
}

static void verify_stream(struct eddy *e, unsigned stream, struct book *b,
                          struct totals *t)
{
    struct eddy_stream s;
    struct eddy_reader *r;
    struct eddy_segment g;
    struct buf content = {0};
    char name[32];
    stream_name(stream, name);
    if (eddy_stream_open(e, name, &s) != EDDY_OK ||
        eddy_reader_open(e, &s, 0, EDDY_SEQ_ANY, &r) != EDDY_OK)
        die(name, eddy_reason(e));
    uint64_t seq = 0;
    enum eddy_error err;
    while ((err = eddy_reader_next(r, &g)) == EDDY_OK) {
        if (g.seq != seq)
            die(name, "the reader skips a segment");
        check_segment(b, stream, &g, &content, t);
        seq++;
    }
    if (err != EDDY_NOT_FOUND)
        die(name, eddy_error_text(err));
    if (seq < s.next_seq)
        die(name, "the reader ends early");
    t->there += seq;
    for (uint64_t i = 0; i < b->count; i++)
        if (b->acked[i] != NOT_ACKED)
            complain(t, &t->lost, stream, i, "acknowledged and not there");
    eddy_reader_close(r);
    buf_free(&content);
}

static int verify(const struct setup *s)
{
    struct totals t = {0};
    struct book *books = mem_alloc(s->streams * sizeof *books);
    read_books(s, books, &t);
    struct eddy *e = connect_to(s);
    for (unsigned i = 0; i < s->streams; i++) {
        verify_stream(e, i, &books[i], &t);
        mem_free(books[i].acked);
    }
    eddy_close(e);
    mem_free(books);
    uint64_t broken =
        t.lost + t.other + t.twice + t.gaps + t.damaged + t.refused_there;
    (void)printf("%llu acknowledged, %llu there: %llu lost, %llu exchanged, "
                 "%llu twice, %llu out of order, %llu damaged, %llu refused "
                 "but there\n",
                 (unsigned long long)t.acked, (unsigned long long)t.there,
                 (unsigned long long)t.lost, (unsigned long long)t.other,
                 (unsigned long long)t.twice, (unsigned long long)t.gaps,
                 (unsigned long long)t.damaged,
                 (unsigned long long)t.refused_there);
    return broken != 0 || t.acked == 0;
}

static int create(const struct setup *s)
{
    struct eddy *e = connect_to(s);
    for (unsigned i = 0; i < s->streams; i++) {
        struct eddy_stream stream;
        char name[32];
        stream_name(i, name);
        if (eddy_stream_create(e, name, &stream, NULL) != EDDY_OK ||
            eddy_stream_open(e, name, &stream) != EDDY_OK)
            die(name, eddy_reason(e));
        (void)printf("%u %u\n", i, stream.partition);
    }
    eddy_close(e);
    return 0;
}

/* ---- main -------------------------------------------------------------- */

static bool read_setup(int argc, char **argv, struct setup *s)
{
    *s = (struct setup){.key_file = argc > 2 ? argv[2] : NULL};
    if (argc < 5)
        return false;
    for (char *at = strtok(argv[3], ",");
         at != NULL && s->node_count < NODES_LIMIT; at = strtok(NULL, ","))
        s->nodes[s->node_count++] = at;
    s->streams = (unsigned)strtoul(argv[4], NULL, 10);
    s->dir = argc > 5 ? argv[5] : ".";
    return s->streams > 0 && s->streams <= STREAMS_LIMIT;
}

int main(int argc, char **argv)
{
    struct setup s;
    bool is_sound = read_setup(argc, argv, &s);
    if (is_sound && strcmp(argv[1], "create") == 0)
        return create(&s);
    if (is_sound && argc >= 7 && strcmp(argv[1], "load") == 0) {
        struct shift shift = read_shift(argc, argv);
        return load(&s, &shift);
    }
    if (is_sound && argc == 6 && strcmp(argv[1], "verify") == 0)
        return verify(&s);
    if (is_sound && argc == 8 && strcmp(argv[1], "probe") == 0)
        return probe(&s, argv[6], (unsigned)strtoul(argv[7], NULL, 10));
    (void)fprintf(stderr, "recorder: usage: see the head of recorder.c\n");
    return 2;
}
