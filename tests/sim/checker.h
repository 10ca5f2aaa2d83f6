/* checker.h - who asks the hosts for scrubs of their copies, as `eddy ring
 * check` does (net/check.h): now and then while faults go on, so that what is
 * damaged is mended under them; and at the end all copies of all groups, until
 * each is whole and all are equal. In histories with damaged payload alone. */
#ifndef TESTS_SIM_CHECKER_H
#define TESTS_SIM_CHECKER_H

#include "tests/sim/host.h"

struct checker;

struct checker *checker_new(struct world *w);
void checker_free(struct checker *c);
void checker_begin(struct checker *c);
/* All is healed: from now on pass after pass over all copies. */
void checker_prove(struct checker *c);
/* A whole pass has found no damage (true as well if there can be none). */
bool checker_has_proved(const struct checker *c);
/* EVENT_RAW: something to do; EVENT_RESPONSE. */
void checker_event(struct checker *c, const struct event *e);

#endif
