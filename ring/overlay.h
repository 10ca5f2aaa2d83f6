/* overlay.h - what the unapplied end of a leader's log will add to the state
 * of a partition, as far as admission must know (T31).
 *
 * Nothing absolute is kept: only, for each stream and each producer that the
 * unapplied entries touch, how much will come on top of what is applied.
 *
 *   next seq (speculative) = next seq (applied) + appends pending
 *
 * Each command adds to the counts when it is noted and takes away the same
 * when it is applied, whatever its verdict. So a wrong guess (a producer was
 * evicted in between, say) lasts until its command is applied and no longer;
 * a guess that were kept as an absolute number could refuse for ever.
 *
 * Commands are applied in the order in which they were noted, so the n-th
 * noted is the n-th applied; a command that is still gathered for an entry
 * needs no position to be noted. What a command has added follows from the
 * command, with two exceptions, which the journal holds: an append expected
 * to be refused has added nothing, and an OPEN_PRODUCER has added to the
 * producer that its name stood for at that time. */
#ifndef RING_OVERLAY_H
#define RING_OVERLAY_H

#include "ring/entry.h"

/* Of a stream or of a producer: their ids never collide, for both are
 * positions of commands. */
struct pending {
    struct position id;
    uint64_t appends;       /* that will be accepted */
    uint32_t opens;         /* a stream: 1 if its CREATE is pending; a producer:
                               epochs that are pending */
    uint32_t closes;        /* a producer: 1 if its closing append is pending */
    struct position stream; /* of a producer that is not applied yet */
    uint64_t name_hash;     /* its key in `names`; 0: not there */
    struct pending *previous, *next;
};

struct journal_line {
    uint64_t number;    /* of the command: how many were noted before it */
    struct position id; /* of the producer that it opens; 0: it adds nothing */
};

struct overlay {
    struct map by_id;
    struct map by_name;    /* producers that are not applied yet */
    struct pending *first; /* all of them */
    struct journal_line *journal;
    size_t journal_begin;
    size_t journal_end;
    size_t journal_capacity;
    uint64_t noted; /* commands since the last clear ... */
    uint64_t done;  /* ... and how many of them have been applied */
};

void overlay_clear(struct overlay *o);
static inline bool overlay_is_empty(const struct overlay *o)
{
    return o->noted == o->done;
}
/* NULL: nothing pending. */
struct pending *overlay_find(const struct overlay *o, struct position id);
/* Found or made, with counts 0. */
struct pending *overlay_get(struct overlay *o, struct position id);
/* Lets go of it if all its counts are 0. */
void overlay_drop_idle(struct overlay *o, struct pending *p);
/* The producer not applied yet that will have this name; NULL: none. */
struct pending *overlay_find_name(const struct overlay *o,
                                  struct position stream, uint64_t name_hash);
/* From now on the name stands for this one. */
void overlay_set_name(struct overlay *o, struct pending *p,
                      struct position stream, uint64_t name_hash);
void overlay_write(struct overlay *o, struct journal_line line);
/* True if there is a line of this command; lines before it are dropped. */
bool overlay_read(struct overlay *o, uint64_t number, struct journal_line *out);

#endif
