/* scrub.h - what a replica finds when it reads all of its own copy: the words
 * that disk, wire and core share. Pure data.
 *
 * A scrub goes through a copy in pieces, each one short read. It is resumed at
 * the cursor behind the last piece, by whoever keeps that; nobody else does.
 *
 *   STATE  all mutable rows: together they must be what their digest says
 *   LOG    the manifests of (base, stored applied index]: all there
 *   ROWS   the index of entries up to `index`, in key order: each stream
 *          without a hole, the bytes of each segment as its checksum says
 *   DONE
 *
 * Damage of a payload is listed, and mended from another replica. Damage of
 * any other row makes the folder bad (S24): then there is no answer.
 *
 * What two replicas of a group keep of entries up to one index is equal row by
 * row, in whatever order it was written: so the order-free sum over the rows,
 * of all pieces together, is equal, or one of the two has judged differently
 * (S27) or lost rows. Payload is compared by the checksums in the rows. */
#ifndef RING_SCRUB_H
#define RING_SCRUB_H

#include "ring/rows.h"

enum scrub_phase { SCRUB_STATE, SCRUB_LOG, SCRUB_ROWS, SCRUB_DONE };

/* Where it goes on; a zeroed one is the beginning. */
struct scrub_cursor {
    enum scrub_phase phase;
    uint64_t index;        /* LOG: the next entry; 0: the first */
    struct row_cursor row; /* ROWS */
};

/* A row of the index some of whose segments are not what their checksums say.
 * The row is mended as a whole. */
struct scrub_damage {
    struct position stream;
    uint64_t first_seq; /* of the row: with the stream, its key */
    uint16_t count;     /* segments of the row */
    uint16_t bad_count; /* ... that are damaged ... */
    uint64_t bad_seq;   /* ... the first of them */
    struct position at; /* the run that has the bytes */
};

struct scrub_sums {
    struct hash128 digest; /* of index rows, each half modulo 2^64 */
    uint64_t rows;
    uint64_t segments;
    uint64_t bytes; /* of payload */
};
static inline void scrub_add(struct scrub_sums *sums,
                             const struct scrub_sums *more)
{
    sums->digest.lo += more->digest.lo;
    sums->digest.hi += more->digest.hi;
    sums->rows += more->rows;
    sums->segments += more->segments;
    sums->bytes += more->bytes;
}

#endif
