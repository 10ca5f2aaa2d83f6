/* eddy.h - the client library of Eddy, a store for streams of segments.
 *
 * A *stream* is a named, append-only sequence; its *segments* are numbered 0,
 * 1, 2, ... without a gap and never change. This library appends segments and
 * reads them, from any node of a ring:
 *
 *     struct eddy *e;
 *     char reason[EDDY_REASON_SIZE];
 *     struct eddy_options o = {.key_file = "eddy.key"};
 *     if (eddy_open(&o, &e, reason) != EDDY_OK)
 *         errx(1, "%s", reason);
 *
 *     struct eddy_stream s;
 *     eddy_stream_create(e, "log", &s, NULL);    (or eddy_stream_open)
 *
 *     struct eddy_producer *p;
 *     eddy_producer_open(e, &s, NULL, on_appended, NULL, &p);
 *     eddy_append(p, &(struct eddy_append){.data = text, .size = n});
 *     eddy_flush(p);                  now it is on a majority of its replicas
 *     eddy_producer_close(p);
 *
 *     struct eddy_reader *r;
 *     struct eddy_segment g;
 *     eddy_reader_open(e, &s, 0, EDDY_SEQ_ANY, &r);
 *     while (eddy_reader_next(r, &g) == EDDY_OK)
 *         fwrite(g.data, 1, g.size, stdout);
 *     eddy_reader_close(r);
 *     eddy_close(e);
 *
 * Calls block, at most for the timeout (which counts the time spent in here,
 * not what you do between), and try again by themselves what may pass: a change
 * of leader, a node that is down or busy. What they return in the end is
 * definite: done, or not done, or, for EDDY_TIMEOUT (and EDDY_EXPIRED),
 * unknown; eddy_error_done says which. They never say more than is known.
 *
 * Appends are pipelined: eddy_append hands one over and returns, and waits
 * only while much is unanswered (1,024 segments or 16 MiB); the answers come
 * to a function of yours, in order, from within later calls. Reads are
 * pipelined too, and each segment's checksum is verified before you see it.
 *
 * A handle and all that was made with it belong to one thread at a time. The
 * library has no threads but ZeroMQ's, no global state and installs no signal
 * handlers. Strings are UTF-8 by convention; they are bytes to it. */
#ifndef NET_EDDY_H
#define NET_EDDY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- errors ------------------------------------------------------------ */

enum eddy_error {
    EDDY_OK = 0,
    EDDY_NOT_FOUND = 1,
    EDDY_TRIMMED = 4, /* the segment was trimmed away */
    EDDY_DELETED = 5,
    EDDY_SEALED = 6,
    EDDY_CONFLICT = 7,     /* expected another seq; other bytes under a used
                              number */
    EDDY_OUT_OF_ORDER = 8, /* an append before this one failed; not done */
    EDDY_EXPIRED = 9, /* number or producer no longer remembered: unknown */
    EDDY_FENCED = 10, /* another instance has opened the same producer */
    EDDY_TOO_LARGE = 11,
    EDDY_NO_SPACE = 12,
    EDDY_BUSY = 13,
    EDDY_UNAVAILABLE = 14, /* no quorum, not enough nodes, or none answered */
    EDDY_TIMEOUT = 15,     /* the outcome is unknown */
    EDDY_DENIED = 16,
    EDDY_BAD_REQUEST = 17,
    EDDY_CORRUPT = 18, /* no replica gave bytes that match the checksum */
    EDDY_INCOMPATIBLE = 19,
    EDDY_FORGOTTEN = 20,
    EDDY_REFUSED = 21, /* it would lose a quorum or data */
    EDDY_IO = 64,      /* a file, or the operating system */
    EDDY_DAMAGED = 65, /* the key file makes no sense */
    EDDY_UNSAFE = 67,  /* the key file is open to others */
};

/* "NOT_FOUND", its text, and whether anything was done: "yes", "no", "?". */
const char *eddy_error_name(enum eddy_error e);
const char *eddy_error_text(enum eddy_error e);
const char *eddy_error_done(enum eddy_error e);

#define EDDY_SEQ_ANY       UINT64_MAX
#define EDDY_SEGMENT_MAX   (1024u * 1024u) /* attributes included */
#define EDDY_ATTRIBUTE_MAX 1024u
#define EDDY_NAME_MAX      255u
#define EDDY_REASON_SIZE   768u

/* ---- a connection to a ring -------------------------------------------- */

struct eddy;

/* A zeroed struct has the defaults. */
struct eddy_options {
    const char *const *nodes; /* HOST:PORT of some; if none, the key file's */
    size_t node_count;
    const char *key_file;      /* NULL: an open (insecure) cluster */
    const char *contacts_file; /* remembers where the nodes are, so that the
                                  next connection needs none of the key file's
                                  to be up; no secrets. NULL: none */
    uint32_t timeout_ms;       /* of each operation; 0: 30 s */
};

/* Connects: EDDY_OK once a node has told what the ring is like.
 * EDDY_UNAVAILABLE: no node answered in time. EDDY_NOT_FOUND, EDDY_DAMAGED,
 * EDDY_UNSAFE, EDDY_IO: the key file. EDDY_BAD_REQUEST: no address to go to, or
 * not HOST:PORT. EDDY_DENIED: the cluster does not know the key (any more).
 * EDDY_INCOMPATIBLE. On an error *out is NULL, and `reason`
 * (EDDY_REASON_SIZE bytes) says what to do. */
enum eddy_error eddy_open(const struct eddy_options *options, struct eddy **out,
                          char *reason);
/* Readers and producers must be closed before. NULL is accepted. */
void eddy_close(struct eddy *e);

/* Why the last call that failed did, in words; empty if nothing more is known
 * than the error itself. Until the next call. */
const char *eddy_reason(const struct eddy *e);
/* Of operations begun from now on; 0: 30 s. */
void eddy_set_timeout(struct eddy *e, uint32_t timeout_ms);

/* The node (16 bytes) that told us first what the ring is like. */
void eddy_first_node(const struct eddy *e, uint8_t node[16]);

/* ---- streams ----------------------------------------------------------- */

struct eddy_stream {
    char name[EDDY_NAME_MAX + 1];
    uint32_t partition;
    uint64_t id_index; /* the id: never used again, even for the same name */
    uint16_t id_ordinal;
    uint64_t first_seq; /* below it all is trimmed */
    uint64_t next_seq;  /* the end, when it was asked */
    uint64_t bytes;
    uint64_t created_ms; /* since 1970 */
    uint64_t changed_ms; /* newest segment; 0: none */
    uint32_t producers;
};

/* Opens it, and makes it before if there is none; *was_new may be NULL. The
 * other figures than id and next_seq are not set. */
enum eddy_error eddy_stream_create(struct eddy *e, const char *name,
                                   struct eddy_stream *out, bool *was_new);
/* EDDY_NOT_FOUND. All figures are of a moment after the call began. */
enum eddy_error eddy_stream_open(struct eddy *e, const char *name,
                                 struct eddy_stream *out);
/* The figures of an opened one, anew. EDDY_DELETED. */
enum eddy_error eddy_stream_info(struct eddy *e, struct eddy_stream *stream);
/* All whose name begins with `prefix`, sorted by name; eddy_free(*out). */
enum eddy_error eddy_stream_list(struct eddy *e, const char *prefix,
                                 struct eddy_stream **out, size_t *count);
void eddy_free(void *memory);

/* ---- appending --------------------------------------------------------- */

/* A producer is who makes an append exactly-once: its appends are numbered,
 * and a number is appended at most once. One with a name may be opened again
 * (after a crash, say) and goes on with the number after its last; that
 * fences off whoever had it open before. One without is a new one, for this
 * process alone; close it by its last append if you can. */
struct eddy_producer;

struct eddy_appended {
    uint64_t number;
    enum eddy_error error;
    bool is_duplicate; /* it had been appended before: this is its first answer
                        */
    uint64_t seq;
};
/* In order of appending, each once. It must call nothing of this library but
 * eddy_reason. */
typedef void (*eddy_appended_fn)(void *context,
                                 const struct eddy_appended *appended);

enum eddy_error eddy_producer_open(struct eddy *e,
                                   const struct eddy_stream *stream,
                                   const char *name, eddy_appended_fn appended,
                                   void *context, struct eddy_producer **out);
/* What is unanswered stays so: eddy_flush before. NULL is accepted. */
void eddy_producer_close(struct eddy_producer *p);
/* The number that the next append will bear: how many this producer has
 * appended, ever, if all goes well. */
uint64_t eddy_producer_next(const struct eddy_producer *p);
/* Repeats numbers: the next append bears this one, at most eddy_producer_next
 * as it was at the opening. A number whose first answer is still remembered
 * (the last 1,024) is answered with it, if the bytes are the same, else with
 * EDDY_CONFLICT; below that with EDDY_EXPIRED. Only before the first append. */
enum eddy_error eddy_producer_rewind(struct eddy_producer *p, uint64_t number);

struct eddy_append {
    const void *data; /* copied */
    size_t size;      /* may be 0 */
    const void *attributes;
    size_t attributes_size;
    uint64_t key_hash;     /* of the segment's key, for later use; 0: none */
    bool has_expected_seq; /* append only if it becomes this very segment: */
    uint64_t expected_seq; /* else EDDY_CONFLICT */
    bool closes_producer;  /* the last one: frees the producer's memory */
};
/* Hands it over; waits while too much is unanswered. An error means that this
 * one was not taken, and nothing after it will be: the producer has failed
 * with that error (see eddy_appended), or EDDY_TOO_LARGE, EDDY_BAD_REQUEST:
 * this append never fits. */
enum eddy_error eddy_append(struct eddy_producer *p,
                            const struct eddy_append *append);
/* Waits until all is answered. The error of the first append that failed. */
enum eddy_error eddy_flush(struct eddy_producer *p);

/* ---- reading ----------------------------------------------------------- */

struct eddy_reader;

struct eddy_segment {
    uint64_t seq;
    uint64_t time_ms; /* when it was appended, by its leader's clock */
    const void *data; /* until the next call with this reader */
    size_t size;
    const void *attributes;
    size_t attributes_size;
    uint64_t key_hash;
    uint64_t checksum_low, checksum_high; /* XXH3-128 of the data */
};

/* Segments `from` up to and without `end` (EDDY_SEQ_ANY: the end of the stream
 * as it is now, which costs a question to its leader). */
enum eddy_error eddy_reader_open(struct eddy *e,
                                 const struct eddy_stream *stream,
                                 uint64_t from, uint64_t end,
                                 struct eddy_reader **out);
/* NULL is accepted. */
void eddy_reader_close(struct eddy_reader *r);
/* EDDY_NOT_FOUND: there is no next one, all have been read (or the stream ends
 * before `end`). EDDY_TRIMMED, EDDY_DELETED, EDDY_CORRUPT. */
enum eddy_error eddy_reader_next(struct eddy_reader *r,
                                 struct eddy_segment *out);

/* ---- the ring itself --------------------------------------------------- */

/* The ring record, as ring/record.h has it, asked anew if `is_fresh`; else the
 * one in use. eddy_free(*bytes). */
enum eddy_error eddy_ring_record(struct eddy *e, bool is_fresh, void **bytes,
                                 size_t *size);
/* Which partition a stream of that name is in, or would be. */
uint32_t eddy_partition(const struct eddy *e, const char *name);
/* Asks the ring's leader for a change (an administrator's key); `request` is
 * what net/wire.h calls a change_request, its epoch beside it. *epoch_number is
 * that of the record in force after it. EDDY_CONFLICT: the ring has moved on
 * since `request` was made, or something else is staged; EDDY_REFUSED;
 * NOT_FOUND; EDDY_TIMEOUT: unknown; the same proposal may be asked again, and
 * gets its first answer. */
struct change_request;
struct epoch;
enum eddy_error eddy_ring_change(struct eddy *e,
                                 const struct change_request *request,
                                 const struct epoch *made_from,
                                 uint64_t *epoch_number);
/* Group 0 has lost its majority: this member founds it anew, in the generation
 * that is given (ring/base.h), from what it has of it. What only the lost ones
 * had is lost. EDDY_REFUSED: a majority may still be reached from there, or it
 * keeps no group 0; EDDY_CONFLICT: another generation has begun. */
struct generation;
enum eddy_error eddy_ring_recover(struct eddy *e, const uint8_t node[16],
                                  const struct generation *generation,
                                  uint64_t *epoch_number);
/* A member's view of itself, as net/status.h has it; borrowed for the call.
 * Returns for how many ms more those that have not answered yet are waited for
 * at most: who knows from the answers that they are dead need not wait. */
typedef uint32_t (*eddy_status_fn)(void *context, const uint8_t node[16],
                                   enum eddy_error error, const void *bytes,
                                   size_t size);
/* Asks all members that have not left, at once; calls back once for each as it
 * answers, or with EDDY_TIMEOUT after wait_ms; not for those that are waited
 * for no more. */
enum eddy_error eddy_ring_status(struct eddy *e, uint32_t wait_ms,
                                 eddy_status_fn fn, void *context);

/* Asks one member each about its copy of one group (an administrator's key):
 * what net/wire.h calls a check_request, and net/check.h its answer. All at
 * once; returns when each has answered or its time is up. */
struct check_request;
struct check_answer;
struct eddy_check {
    uint8_t node[16];
    uint32_t group;
    const struct check_request *request;
    struct check_answer *answer; /* is set if `error` is EDDY_OK */
    /* EDDY_NOT_FOUND: it keeps no copy of it. EDDY_TIMEOUT, EDDY_UNAVAILABLE:
     * it did not answer, or not yet. EDDY_DENIED */
    enum eddy_error error;
};
enum eddy_error eddy_ring_check(struct eddy *e, struct eddy_check *checks,
                                size_t count);

#ifdef __cplusplus
}
#endif

#endif
