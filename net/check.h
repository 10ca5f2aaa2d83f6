/* check.h - what a node says of its own copy of one group, as bytes in
 * OP_CHECK's response: how `eddy ring check` compares the copies of a ring.
 *
 * A node knows only its own copy; whoever asks puts them together (tools/
 * cmd_check.c). Without a piece (index 0) the answer comes from memory:
 *
 *   1. of each replica: where is it?    stored s, applied a; s <= a
 *   2. with i = the least s             the rows up to i, piece by piece, to be
 *                                       summed up: equal on all (ring/scrub.h)
 *   3. with k = the highest s           the digest of the state at k, which
 *                                       each can say while s <= k <= a
 *
 * What a piece lists as damaged, the node sets about to mend; to hear whether
 * it has, ask for the same piece again. */
#ifndef NET_CHECK_H
#define NET_CHECK_H

#include "ring/codec.h"
#include "ring/scrub.h"

struct check_answer {
    uint64_t stored;  /* the entry whose state is on the disk */
    uint64_t applied; /* the newest whose state is in memory */
    bool has_state;   /* it can tell the digest at the entry asked for ... */
    uint64_t state_index;
    struct hash128 state; /* ... which is this */
    /* The piece; zero if none was asked for. */
    struct scrub_cursor next;
    struct scrub_sums sums;
    uint32_t damage_count;
    struct scrub_damage damages[SCRUB_DAMAGES_MAX];
};

/* Appends. */
void check_write(struct buf *out, const struct check_answer *a);
/* BAD_REQUEST. */
NODISCARD enum err check_read(struct span bytes, struct check_answer *out);

/* A cursor within a message: 27 bytes. */
void check_put_cursor(struct enc *e, const struct scrub_cursor *c);
void check_get_cursor(struct dec *d, struct scrub_cursor *out);

#endif
