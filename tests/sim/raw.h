/* raw.h - a user that speaks the wire by itself, to do what the client core
 * never would: repeat old numbers, other bytes under the same number, leave
 * gaps, go on with an epoch that another has raised, name producers that were
 * never made. Its honest appends are retried as a careful client's would be.
 *
 * A session is one producer on one stream, with one request under way. */
#ifndef TESTS_SIM_RAW_H
#define TESTS_SIM_RAW_H

#include "tests/sim/ops.h"

struct raw *raw_new(struct world *w, uint32_t user);
void raw_free(struct raw *r);
/* EVENT_RAW: something to do; EVENT_RESPONSE. */
void raw_event(struct raw *r, const struct event *e);
/* For the next moments it is busy with one group: appends wherever it may, and
 * asks that host, whose successor may be leading already, where streams end. */
void raw_rush(struct raw *r, uint32_t group, uint32_t host);
/* One of its streams is the group's. */
bool raw_uses(const struct raw *r, uint32_t group);
/* Nothing under way, and no more to come (while healing). */
bool raw_is_idle(const struct raw *r);

#endif
