/* linear.h - is what users are told of one stream linearizable (Herlihy and
 * Wing, 1990)? Judged while it happens, with one number.
 *
 * The operations: an append, which becomes segment `seq`; a question for the
 * end, answered with a number; a read, which tells that the stream has so many
 * segments at least (those that it serves, or those that a replica says it
 * knows). Each begins at one time and ends at a later one, or never.
 *
 * Linearizable means: there is one order of all of them, in which whatever had
 * ended before another began stands before it, such that one after the other
 * they would have been answered so. In any such order an append that became
 * seq stands between the ends seq and seq + 1, an end n among the ends n, a
 * read of n segments nowhere before the ends n. So all operations but reads
 * have a rank, and the order must be by rank:
 *
 *     end 0 | append 0 | end 1 | append 1 | end 2 | ...
 *
 * The only question left is real time: nothing may begin after something of a
 * higher rank has ended. That is what the floor says: the highest end that any
 * ended operation implies, taken when another begins, which may then not lie
 * below it. Nothing else is needed: sort by rank and, where ranks are equal,
 * by beginnings; put each read as late as its own end allows. Hence the check
 * is exact, neither too strict nor too lax; tests/unit/test_linear.c holds it
 * against a search for such an order.
 *
 * What an append became is not taken from its answer but from the log (twin.h),
 * so one whose user has died, or was never answered, is judged too. Refusals
 * are no operations: they may come of a leader's guess (T31), and change
 * nothing. */
#ifndef TESTS_SIM_LINEAR_H
#define TESTS_SIM_LINEAR_H

#include <stdbool.h>
#include <stdint.h>

struct linear {
    uint64_t told; /* the highest end that an ended operation implies */
};

/* An operation begins: its floor. */
static inline uint64_t linear_begin(const struct linear *l)
{
    return l->told;
}

/* May an append with this floor be this segment? */
static inline bool linear_may_append(uint64_t floor, uint64_t seq)
{
    return seq >= floor;
}

/* May an end with this floor be so? */
static inline bool linear_may_end(uint64_t floor, uint64_t end)
{
    return end >= floor;
}

/* An operation has ended, which implies that the stream has so many segments:
 * seq + 1 of an append, the end itself, or what was read. */
static inline void linear_ended(struct linear *l, uint64_t end)
{
    if (l->told < end)
        l->told = end;
}

#endif
