/* cuts.h - which lines carry nothing for a while. Shapes, for hosts:
 *
 *   split    two parts, of any size or by coins      A B | C D E
 *   one      one of them alone                       A | B C D E
 *   bridge   two parts that see one host, not        A B - C - D E
 *            each other
 *   leaves   two that see one other host each        A - C, B - D, C D E
 *   pair     two that do not see each other          A | B, all else
 *
 * each both ways or one. Half of the time users are cut off with the host
 * that they are near to. Several cuts may be in force at once. */
#ifndef TESTS_SIM_CUTS_H
#define TESTS_SIM_CUTS_H

#include "tests/sim/mesh.h"

#define CUTS_MAX 512u /* of a history; also: none of them */

struct cut {
    bool is_in_force;
    bool blocks[ENDPOINTS][ENDPOINTS]; /* from, to */
};

struct cuts;

struct cuts *cuts_new(struct world *w);
void cuts_free(struct cuts *c);
/* One of the shapes that the history has. */
void cuts_strike(struct cuts *c);
/* This one, for up to so long. Returns its number; CUTS_MAX: there have been
 * too many. */
uint32_t cuts_begin(struct cuts *c, const struct cut *cut, uint32_t until_ms);
/* Ends one, if it has not ended; CUTS_MAX is accepted. */
void cuts_mend(struct cuts *c, uint32_t number);
void cuts_mend_all(struct cuts *c);

#endif
