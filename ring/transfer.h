/* transfer.h - the receiving side of a transfer: how a new replica comes to
 * have what its group has, without the log from its beginning (S16).
 *
 *   BLOB    all mutable rows of the group as of one applied entry i >= pin - 1,
 *           from whoever invited, in pieces; its digest must be right
 *   STORE   (the owner stores it, piece by piece)
 *   ROWS    rows of the index and their payload, of entries at or below i, in
 *           key order, from any voter whose stored state is at i or beyond;
 *           the blob says how many segments each stream must have (S17)
 *   DONE    all there: the owner switches, and the log from i + 1 follows
 *
 * One question is out at a time; the owner pulls the next one when it has
 * room for the answer (throttling is its affair). A source that refuses, says
 * something senseless, or nothing for `patience_ms`, is followed by the next.
 * What comes twice, late or from a former question changes nothing.
 *
 * A new replica only, never in place over an old one: who has fallen behind
 * the cut of the log is removed and added anew (ring/walk.h), so that T2's
 * case can not arise. Trims do not exist yet, nor then void rows (T23).
 *
 * The machine sees rows, never segments' bytes: those go by handle, and their
 * checksums were verified before (moved_verify). */
#ifndef RING_TRANSFER_H
#define RING_TRANSFER_H

#include "ring/entry.h"
#include "ring/record.h"
#include "ring/rows.h"
#include "ring/streams.h"

enum transfer_phase {
    TRANSFER_BLOB,
    TRANSFER_STORE,
    TRANSFER_ROWS,
    TRANSFER_DONE,
};

struct transfer_cfg {
    struct replica self;
    bool is_ring; /* group 0: one row, no streams */
    uint32_t patience_ms;
};

/* What a blob is the state of. */
struct transfer_head {
    uint64_t index;
    uint64_t term;
    struct hash128 digest;
    struct epoch epoch; /* newest that an entry up to index bears (T29) */
    struct config config;
};

struct transfer_ask {
    struct replica to;
    bool is_blob;
    uint64_t index;           /* of the blob; 0: whichever you have */
    uint32_t offset;          /* BLOB */
    struct row_cursor cursor; /* ROWS */
};

struct transfer_piece {
    struct transfer_head head;
    uint32_t total; /* bytes of the blob's images */
    uint32_t offset;
    struct span images; /* cut between two */
};

struct transfer; /* opaque */

struct transfer *transfer_new(const struct transfer_cfg *cfg, uint64_t now_ms);
void transfer_free(struct transfer *t);

/* Who invites, and from where the log is kept: asked for the blob from now on.
 */
void transfer_invited(struct transfer *t, struct replica by, uint64_t pin);

/* As stored, after a restart in phase ROWS: the head, then each row of the
 * state in key order (CORRUPT: not one), then how far it was. */
void transfer_load_head(struct transfer *t, const struct transfer_head *head);
NODISCARD enum err transfer_load_row(struct transfer *t, struct span key,
                                     struct span value);
/* CORRUPT: the rows are not what the digest says. */
NODISCARD enum err transfer_load_end(struct transfer *t,
                                     struct row_cursor cursor,
                                     uint64_t moved_bytes);

/* ---- questions and answers --------------------------------------------- */

/* The next question, if one is due; it is out from now on. */
bool transfer_next(struct transfer *t, uint64_t now_ms,
                   struct transfer_ask *out);
/* True: the blob is whole and right; its images are the owner's to store. */
bool transfer_blob(struct transfer *t, struct replica from,
                   const struct transfer_piece *piece, uint64_t now_ms);
struct span transfer_images(const struct transfer *t);
/* They are stored: the images are let go. */
void transfer_blob_stored(struct transfer *t);
/* An answer to a question with this cursor: moved rows. True: they are the
 * next ones, and to be stored with transfer_cursor as it is now. */
bool transfer_rows(struct transfer *t, struct replica from,
                   struct row_cursor asked, struct span rows,
                   uint32_t payload_bytes, uint64_t now_ms);
/* The source cannot say; another is asked. */
void transfer_refused(struct transfer *t, struct replica from, uint64_t now_ms);

/* ---- queries ----------------------------------------------------------- */

enum transfer_phase transfer_phase(const struct transfer *t);
const struct transfer_head *transfer_head(const struct transfer *t);
struct row_cursor transfer_cursor(const struct transfer *t);
uint64_t transfer_bytes(const struct transfer *t);
/* About as many as transfer_bytes will be at the end: the blob's, and what it
 * counts of segments, with a row's share for each; 0 before it has come. */
uint64_t transfer_total(const struct transfer *t);
/* Who was asked last; zero: nobody yet. */
struct replica transfer_source(const struct transfer *t);
/* Has it a question to ask that is likely to be answered? Not if it knows
 * nobody to ask, or has asked in vain several times in a row: then others
 * should have its turn. */
bool transfer_takes_turn(const struct transfer *t);
/* In words, for people: what is done, and how often in a row it was asked for
 * in vain; until the next call. */
const char *transfer_reason(struct transfer *t);
/* DONE: the state as of the blob, the caller's from now on. One of the two is
 * NULL: streams, or the ring's record. */
struct streams *transfer_take_streams(struct transfer *t);
struct record *transfer_take_ring(struct transfer *t);
void transfer_check(const struct transfer *t);

#endif
