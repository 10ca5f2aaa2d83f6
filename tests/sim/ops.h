/* ops.h - what users did and were told, held against what became of it.
 *
 * Each append has bytes of its own, so its checksum names it. The twin says
 * which of them are in which stream, and where; from then on:
 *
 *   I19  an acknowledged append is in, at the seq that was said, and what is
 *        served is what the twin has, byte for byte
 *   I20  appends, ends and reads are linearizable, stream by stream, over all
 *        users: linear.h says why its one number proves neither more nor less
 *   I21  an append is in once: an acknowledged seq is its alone, and one of
 *        unknown outcome is there at most once
 *   I23  one that failed definitely is not in, now or ever */
#ifndef TESTS_SIM_OPS_H
#define TESTS_SIM_OPS_H

#include "tests/sim/twin.h"

enum op_state { STATE_OPEN, STATE_ACKED, STATE_FAILED, STATE_UNKNOWN };

struct op {
    struct hash128 checksum;
    uint32_t group;
    struct position stream;
    uint32_t user;
    enum op_state state;
    enum err err;   /* STATE_FAILED: what was said */
    uint64_t floor; /* linear.h */
    bool is_in;
    uint64_t seq;   /* where it is */
    uint64_t in_us; /* since when */
};

struct ops *ops_new(struct world *w);
void ops_free(struct ops *o);

/* A new append; its bytes, which nobody has written before. */
struct op *ops_begin(struct ops *o, uint32_t user, uint32_t group,
                     struct position stream, uint32_t size, uint8_t **bytes);
void ops_acked(struct ops *o, struct op *op, uint64_t seq, bool is_duplicate);
/* Nothing was done, was said, and nothing may come of it later. */
void ops_failed(struct ops *o, struct op *op, enum err err);
/* A request, a question or one that changes something, is refused. */
void ops_refused(struct ops *o, uint32_t user, bool is_question, enum err err);
void ops_unknown(struct ops *o, struct op *op);

/* A question for the end of a stream begins, and is answered. */
uint64_t ops_floor(const struct ops *o, uint32_t group, struct position stream);
void ops_end(struct ops *o, uint32_t user, uint32_t group,
             struct position stream, uint64_t floor, uint64_t end);
/* A segment was served, by any replica, with these bytes. */
void ops_served(struct ops *o, uint32_t user, uint32_t group,
                struct position stream, const struct segment_head *head,
                struct span bytes);
/* Some replica has said that it knows so much of the stream. */
void ops_known(struct ops *o, uint32_t user, uint32_t group,
               struct position stream, uint64_t end);

/* From the twin: this segment is now part of the stream. */
void ops_committed(struct ops *o, uint32_t group, const struct twin_stream *s,
                   uint64_t seq);
/* At the end: every acknowledged append is in. */
void ops_check(struct ops *o);

#endif
