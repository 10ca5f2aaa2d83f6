/* streams.h - the state machine of one partition: streams, producers, and
 * the verdict on each command, judged when its entry is applied (S18).
 *
 * A verdict is a function of (entry, this state) and of nothing else (T10):
 * no clock, no free space, no rows on disk, no ring record. All replicas of
 * the group come to the same verdicts; `streams_digest` lets them compare
 * (an order-free sum of row hashes, T33).
 *
 * Applying an entry yields
 *   verdicts   one a command, for the clients that wait
 *   images     the rows that the entry changed, as they are after it: the
 *              stored state is built from these and never from live memory
 *              (T1); stored rows, in order, bring the state back
 *
 *                       entry                     verdicts -> client answers
 *   raft (committed) ------------> streams_apply <
 *                                                 images   -> storage, lazily
 *
 * Order of judgement of an append: stream known? producer known in it
 * (EXPIRED, S19A)? epoch (lower: FENCED, S19B; higher: EXPIRED)? below the
 * window (EXPIRED, T9), in the window (DUPLICATE with the first answer, or
 * CONFLICT if the checksum is remembered and differs, S19C), number above last
 * + 1 (OUT_OF_ORDER)? expected seq (CONFLICT; after dedupe, S20)? A refused
 * append consumes no number: the producer sends the number again.
 *
 * The *speculative* state (T31) is the same machine as if the whole log were
 * applied; the leader asks it before it appends, so as not to append what
 * would be refused. Nothing positive is ever answered from it.
 *
 * Four files: rows.h (the bytes of rows and images), producer.h (the window
 * of answers), state.h (memory, rows and digest kept one and the same),
 * overlay.h (what the unapplied log adds); the judgement is here.
 *
 * Producers come to an end in two ways. An append that *closes* its producer
 * frees its name at once, but the row is kept by its id among the newest
 * PRODUCERS_CLOSED_MAX closed ones of the group, so that a retry of that very
 * append, or of one in flight with it, gets its first answer and not EXPIRED;
 * any new number is EXPIRED. And when a group has PRODUCERS_PER_GROUP_MAX
 * open ones, a new one takes the place of the unnamed one that was used least
 * recently, if that was over PRODUCER_UNNAMED_IDLE_MS ago by the times of
 * entries; otherwise the answer is TOO_LARGE. Both are functions of the log
 * alone. */
#ifndef RING_STREAMS_H
#define RING_STREAMS_H

#include "ring/entry.h"
#include "ring/rows.h"

/* ---- verdicts ---------------------------------------------------------- */

struct verdict {
    enum err err;
    bool is_duplicate;       /* OK, and it is the first answer repeated */
    struct position id;      /* CREATE, OPEN_PRODUCER: what was made or found.
                                A CREATE of a name that is there is a duplicate
                                with the id that it has */
    uint64_t seq;            /* APPEND: where it is */
    uint32_t producer_epoch; /* OPEN_PRODUCER */
    uint64_t next_number;    /* OPEN_PRODUCER: last + 1; OUT_OF_ORDER: wanted */
    uint64_t next_seq;       /* the stream's end after it */
};

/* ---- the state --------------------------------------------------------- */

struct streams; /* opaque */

struct stream_info {
    struct position id;
    struct span name; /* borrowed until the next apply */
    uint64_t first_seq;
    uint64_t next_seq;
    uint64_t bytes;
    uint64_t created_ms;
    uint64_t changed_ms; /* time of the newest segment; 0: none */
    uint32_t producers;
};

struct streams *streams_new(void);
void streams_free(struct streams *s);

/* Before the first apply: a row of `state` as stored, in any order. CORRUPT:
 * not a row of ours, or one that does not fit the others. Garbage rows are
 * checked and not kept (nothing here depends on them). */
NODISCARD enum err streams_load(struct streams *s, struct span key,
                                struct span value);

/* Judges a COMMANDS entry that has passed entry_check; others (NOOP, CONFIG)
 * change nothing but `applied`. verdicts: room for ENTRY_COMMANDS_MAX, filled
 * for each command; images: appended to. INCOMPATIBLE: the entry's level is
 * above ours, nothing was changed (T11). DAMAGED: a broken invariant: an
 * entry at or below one applied before, an id that exists already (T8);
 * quarantine this replica (T17), the state is void. */
NODISCARD enum err streams_apply(struct streams *s, struct span manifest,
                                 struct verdict *verdicts, struct buf *images);

/* Judges `c`, as if appended behind everything noted so far, without keeping
 * anything. *v is filled as by streams_apply; returned is v->err.
 *
 *   *is_final       *v is the answer, and can never become another: it holds
 *                   by the applied state alone. ERR_OK here is a duplicate
 *                   with its first answer; the others are FENCED, CONFLICT
 *                   (other bytes under the number), EXPIRED (below the
 *                   window, or forgotten), NOT_FOUND. Nothing is appended.
 *   else ERR_OK     append it, then streams_spec_note
 *   else ERR_BUSY   a repeat of one that is in the log and not yet applied;
 *                   the answer comes with that one
 *   else            refuse: nothing was done by this attempt, for it never
 *                   came to the log (S21), but the next may fare otherwise
 *
 * command_check is the caller's. */
NODISCARD enum err streams_admit(struct streams *s, const struct command *c,
                                 struct verdict *v, bool *is_final);
/* Notes what will be in the log (speculative state): one command that the
 * leader has just admitted and gathers for its next entry, ... */
void streams_spec_command(struct streams *s, const struct command *c);
/* ... or all commands of an entry (at election, each unapplied entry in order
 * after streams_spec_clear). Each command is noted once, one way or the
 * other, in the order of the log; applying it takes the note back, so that
 * nothing need be cleared while a leader leads. If something noted will not
 * come to the log after all, clear, and note again what is there. */
void streams_spec_note(struct streams *s, struct span manifest);
void streams_spec_clear(struct streams *s);

/* NOT_FOUND; DELETED. */
NODISCARD enum err streams_by_name(const struct streams *s, struct span name,
                                   struct stream_info *out);
NODISCARD enum err streams_by_id(const struct streams *s, struct position id,
                                 struct stream_info *out);
/* Streams whose name begins with prefix, ascending by name, from the first
 * name > after (empty: from the start). Returns how many were put in out. */
size_t streams_list(struct streams *s, struct span prefix, struct span after,
                    struct stream_info *out, size_t count);
uint64_t streams_bytes(const struct streams *s); /* of all segments */
size_t streams_count(const struct streams *s);
struct hash128 streams_digest(const struct streams *s);
/* Digest of one stored row, for the check at start: the sum over all rows of
 * the state database (both halves added) equals streams_digest. */
static inline struct hash128 streams_row_digest(struct span key,
                                                struct span value)
{
    return row_digest(key, value);
}
void streams_check(const struct streams *s);
void streams_dump(const struct streams *s, struct buf *text);

#endif
