/* workers.h - the threads that touch the disk: one writer, two readers.
 *
 *   loop --jobs--> writer   --done--\
 *        --jobs--> reader 0 --done---> one eventfd wakes the loop
 *        --jobs--> reader 1 --done--/
 *
 * Between the loop and each thread stand two bounded rings, each with one
 * producer and one consumer, and an eventfd. The writer alone makes write
 * transactions; readers copy out and verify, and end their transaction before
 * the loop hears of it (L14). A page fault or a slow disk stays in here. */
#ifndef NODE_WORKERS_H
#define NODE_WORKERS_H

#include "net/blob.h"
#include "storage/store.h"

struct workers;

enum job_kind {
    JOB_COMMIT,
    JOB_SEGMENTS,
    JOB_LOG,
    JOB_BLOB,
    JOB_ROWS,
    JOB_SCRUB,
    JOB_SPACE
};

/* What comes back. */
struct job_done {
    enum job_kind kind;
    enum err err;           /* COMMIT, SPACE */
    struct store_done done; /* COMMIT */
    struct store_space space;
    uint64_t ticket;                 /* of reads */
    struct segments_result segments; /* its payload has moved to the blob */
    struct log_result log;
    struct blob_result state;
    struct rows_result rows;
    struct scrub_result scrub;
    struct blob *payload; /* one reference, the caller's; NULL if empty */
};

/* Starts the threads. IO: the system has no more threads or descriptors. */
NODISCARD enum err workers_start(struct store *store, struct workers **out);
/* Ends them once they are done with what they have; results are dropped. */
void workers_stop(struct workers *w);

/* At most one is under way; the batch is borrowed until it comes back. */
void workers_commit(struct workers *w, const struct store_batch *batch);
/* Takes the ticket's rows over. */
void workers_read(struct workers *w, uint64_t ticket,
                  const struct segments_ticket *segments);
/* The ticket's runs are borrowed until it comes back. */
void workers_read_log(struct workers *w, uint64_t ticket,
                      const struct log_ticket *log);
void workers_read_blob(struct workers *w, uint64_t ticket,
                       const struct blob_ticket *blob);
void workers_read_rows(struct workers *w, uint64_t ticket,
                       const struct rows_ticket *rows);
void workers_scrub(struct workers *w, uint64_t ticket,
                   const struct scrub_ticket *scrub);
void workers_space(struct workers *w);

/* Readable when something has come back. */
int workers_fd(const struct workers *w);
/* The next that has come back; false: none. Free it with workers_free_done. */
bool workers_next(struct workers *w, struct job_done *out);
void workers_free_done(struct job_done *d);

#endif
