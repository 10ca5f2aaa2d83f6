/* troubles.h - what befalls lines for a while, other than cuts: they are
 * clogged (one, or all of several hosts: swizzled, as FoundationDB calls it),
 * slower one way than the other, narrow, of small buffer, lossy; they let no
 * large packet through, or none of one lane; go up and down; are reset; two
 * hosts change addresses. Each has an end, and what it did is taken back. */
#ifndef TESTS_SIM_TROUBLES_H
#define TESTS_SIM_TROUBLES_H

#include "tests/sim/mesh.h"

struct troubles;

struct troubles *troubles_new(struct world *w);
void troubles_free(struct troubles *t);
/* One of the kinds that the history has. */
void troubles_strike(struct troubles *t);
/* EVENT_EASE: one begins (a part of a swizzle) or ends. */
void troubles_event(struct troubles *t, const struct event *e);
void troubles_end_all(struct troubles *t);

#endif
