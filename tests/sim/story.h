/* story.h - lines of a history told in words (make sim SEED=7 TRACE=1), for
 * what takes more than a format to say. README.md explains the columns. */
#ifndef TESTS_SIM_STORY_H
#define TESTS_SIM_STORY_H

#include "tests/sim/mesh.h"

/* Who no longer reaches whom: "cut 4: n1,n2 -/-> n3; n3 -/-> n1,n2; for 2.3 s".
 */
void story_cut(const struct world *w, uint32_t number,
               const bool blocks[ENDPOINTS][ENDPOINTS], uint64_t for_us);
/* "group 5 is n1+1 n2+9 (n4+12 learns), says its entry 12". */
void story_config(const struct world *w, uint32_t group,
                  const struct config *c);
/* A look at all of it, now and then. */
void story_so_far(const struct world *w);

#endif
