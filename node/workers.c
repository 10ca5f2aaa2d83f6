/* workers.c - see workers.h. */
#define _GNU_SOURCE /* eventfd */
#include "node/workers.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define READERS 2u
/* More than the core ever has under way: READINGS_MAX of clients, and one
 * read of the log for each group and follower. */
#define RING_JOBS 16384u

struct job {
    enum job_kind kind;
    uint64_t ticket;
    const struct store_batch *batch;
    struct segments_ticket segments;
    struct log_ticket log;
    struct blob_ticket blob;
    struct rows_ticket rows;
    struct scrub_ticket scrub;
};

/* One producer, one consumer; slots are pointers to heap objects. */
struct ring {
    _Atomic size_t head; /* next to take */
    _Atomic size_t tail; /* next to fill */
    void *slots[RING_JOBS];
};

struct worker {
    struct workers *owner;
    struct store_reader *reader; /* NULL: the writer */
    pthread_t thread;
    int wake_fd;
    struct ring in;
    struct ring out;
};

struct workers {
    struct store *store;
    int done_fd;
    _Atomic bool is_stopping;
    uint32_t next_reader;
    uint32_t next_out;
    struct worker *threads[1 + READERS]; /* 0: the writer */
    size_t started;
};

/* ---- rings ------------------------------------------------------------- */

static void put(struct ring *r, void *item)
{
    size_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    size_t head = atomic_load_explicit(&r->head, memory_order_acquire);
    ASSERT(tail - head < RING_JOBS);
    r->slots[tail % RING_JOBS] = item;
    atomic_store_explicit(&r->tail, tail + 1, memory_order_release);
}

static void *take(struct ring *r)
{
    size_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    size_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);
    if (head == tail)
        return NULL;
    void *item = r->slots[head % RING_JOBS];
    atomic_store_explicit(&r->head, head + 1, memory_order_release);
    return item;
}

static void signal_fd(int fd)
{
    uint64_t one = 1;
    ssize_t wrote = write(fd, &one, sizeof one);
    (void)wrote; /* a full counter wakes as well */
}

static void clear_fd(int fd)
{
    uint64_t count;
    ssize_t got = read(fd, &count, sizeof count);
    (void)got;
}

/* ---- the threads ------------------------------------------------------- */

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static struct blob *payload_blob(struct buf *payload)
{
    return payload->size == 0 ? NULL : blob_from_buf(payload);
}

static void run_job(struct worker *w, struct job *job, struct job_done *d)
{
    d->kind = job->kind;
    d->ticket = job->ticket;
    uint64_t began = now_us();
    switch (job->kind) {
    case JOB_COMMIT:
        d->err = store_commit(w->owner->store, job->batch, &d->done);
        d->done.duration_us = now_us() - began;
        break;
    case JOB_SEGMENTS:
        store_read_segments(w->reader, &job->segments, &d->segments);
        d->payload = payload_blob(&d->segments.payload);
        buf_free(&job->segments.rows);
        break;
    case JOB_LOG:
        store_read_log(w->reader, &job->log, &d->log);
        d->payload = payload_blob(&d->log.payload);
        break;
    case JOB_BLOB:
        store_read_blob(w->reader, &job->blob, &d->state);
        break;
    case JOB_ROWS:
        store_read_rows(w->reader, &job->rows, &d->rows);
        d->payload = payload_blob(&d->rows.payload);
        break;
    case JOB_SCRUB:
        store_scrub(w->reader, &job->scrub, &d->scrub);
        break;
    case JOB_SPACE:
        d->err = store_space(w->owner->store, &d->space);
        break;
    }
}

static void *run(void *arg)
{
    struct worker *w = arg;
    for (;;) {
        struct job *job = take(&w->in);
        if (job == NULL) {
            if (atomic_load(&w->owner->is_stopping))
                return NULL;
            clear_fd(w->wake_fd); /* waits */
            continue;
        }
        struct job_done *d = mem_alloc(sizeof *d);
        run_job(w, job, d);
        mem_free(job);
        put(&w->out, d);
        signal_fd(w->owner->done_fd);
    }
}

static enum err start_one(struct workers *w, size_t i)
{
    struct worker *t = mem_alloc(sizeof *t);
    w->threads[i] = t;
    t->owner = w;
    t->reader = i == 0 ? NULL : store_reader_open(w->store);
    t->wake_fd = eventfd(0, EFD_CLOEXEC);
    if (t->wake_fd < 0)
        return ERR_IO;
    /* Signals are the loop's. */
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGABRT);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&t->thread, NULL, run, t);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0)
        return ERR_IO;
    w->started++;
    return ERR_OK;
}

enum err workers_start(struct store *store, struct workers **out)
{
    struct workers *w = mem_alloc(sizeof *w);
    w->store = store;
    w->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    enum err e = w->done_fd < 0 ? ERR_IO : ERR_OK;
    for (size_t i = 0; i < 1 + READERS && e == ERR_OK; i++)
        e = start_one(w, i);
    if (e != ERR_OK) {
        workers_stop(w);
        w = NULL;
    }
    *out = w;
    return e;
}

static void drop_jobs(struct worker *t)
{
    struct job *job;
    while ((job = take(&t->in)) != NULL) {
        buf_free(&job->segments.rows);
        mem_free(job);
    }
    struct job_done *d;
    while ((d = take(&t->out)) != NULL) {
        workers_free_done(d);
        mem_free(d);
    }
}

void workers_stop(struct workers *w)
{
    if (w == NULL)
        return;
    atomic_store(&w->is_stopping, true);
    for (size_t i = 0; i < 1 + READERS; i++) {
        struct worker *t = w->threads[i];
        if (t == NULL)
            continue;
        if (i < w->started) {
            signal_fd(t->wake_fd);
            pthread_join(t->thread, NULL);
        }
        drop_jobs(t);
        if (t->reader != NULL)
            store_reader_close(t->reader);
        if (t->wake_fd >= 0)
            close(t->wake_fd);
        mem_free(t);
    }
    if (w->done_fd >= 0)
        close(w->done_fd);
    mem_free(w);
}

/* ---- the loop's side --------------------------------------------------- */

static void give(struct worker *t, const struct job *job)
{
    put(&t->in, mem_copy(job, sizeof *job));
    signal_fd(t->wake_fd);
}

static struct worker *next_reader(struct workers *w)
{
    w->next_reader = (w->next_reader + 1) % READERS;
    return w->threads[1 + w->next_reader];
}

void workers_commit(struct workers *w, const struct store_batch *batch)
{
    struct job job = {.kind = JOB_COMMIT, .batch = batch};
    give(w->threads[0], &job);
}

void workers_read(struct workers *w, uint64_t ticket,
                  const struct segments_ticket *segments)
{
    struct job job = {
        .kind = JOB_SEGMENTS, .ticket = ticket, .segments = *segments};
    give(next_reader(w), &job);
}

void workers_read_log(struct workers *w, uint64_t ticket,
                      const struct log_ticket *log)
{
    struct job job = {.kind = JOB_LOG, .ticket = ticket, .log = *log};
    give(next_reader(w), &job);
}

void workers_read_blob(struct workers *w, uint64_t ticket,
                       const struct blob_ticket *blob)
{
    struct job job = {.kind = JOB_BLOB, .ticket = ticket, .blob = *blob};
    give(next_reader(w), &job);
}

void workers_read_rows(struct workers *w, uint64_t ticket,
                       const struct rows_ticket *rows)
{
    struct job job = {.kind = JOB_ROWS, .ticket = ticket, .rows = *rows};
    give(next_reader(w), &job);
}

void workers_scrub(struct workers *w, uint64_t ticket,
                   const struct scrub_ticket *scrub)
{
    struct job job = {.kind = JOB_SCRUB, .ticket = ticket, .scrub = *scrub};
    give(next_reader(w), &job);
}

void workers_space(struct workers *w)
{
    struct job job = {.kind = JOB_SPACE};
    give(w->threads[0], &job);
}

int workers_fd(const struct workers *w)
{
    return w->done_fd;
}

bool workers_next(struct workers *w, struct job_done *out)
{
    clear_fd(w->done_fd);
    for (size_t i = 0; i < 1 + READERS; i++) {
        struct worker *t = w->threads[(w->next_out + i) % (1 + READERS)];
        struct job_done *d = take(&t->out);
        if (d == NULL)
            continue;
        w->next_out = (w->next_out + (uint32_t)i + 1) % (1 + READERS);
        *out = *d;
        mem_free(d);
        return true;
    }
    return false;
}

void workers_free_done(struct job_done *d)
{
    store_segments_free(&d->segments);
    store_log_free(&d->log);
    store_blob_free(&d->state);
    store_rows_free(&d->rows);
    store_scrub_free(&d->scrub);
    if (d->payload != NULL)
        blob_unref(d->payload);
    *d = (struct job_done){0};
}
