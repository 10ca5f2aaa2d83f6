/* user.h - a user with the client core: the library's pure half, driven as
 * net/eddy.c drives it. Appends in a pipeline, asks, reads from the first
 * segment on as they come, lists; dies at times and comes back. One of them,
 * the operator's, also lets hosts join and has the ring changed (orders.h). */
#ifndef TESTS_SIM_USER_H
#define TESTS_SIM_USER_H

#include "tests/sim/ops.h"

struct user *user_new(struct world *w, uint32_t index);
void user_free(struct user *u);
/* EVENT_USER: something to do; EVENT_RESPONSE. */
void user_event(struct user *u, const struct event *e);
void user_wake(struct user *u);
uint64_t user_next_us(const struct user *u);
/* The process dies; a new one begins at once. */
void user_crash(struct user *u);
/* Asks for a host to be let in, as often as it takes. */
void user_join(struct user *u, struct host *h);
/* Asks for a change of the ring, about that host if it is about one; what
 * comes of it goes to orders.h. False: it cannot, now. */
bool user_change(struct user *u, const struct change *c, const struct host *h);
/* Asks for a drain, or that it be given up; it may be refused. */
void user_drain(struct user *u, const struct change *c);
/* The record that this user knows; NULL: none yet. */
const struct record *user_record(const struct user *u);
bool user_is_idle(const struct user *u);
/* It has read every stream to where the twin ends. */
bool user_has_read_all(struct user *u);
/* From now on: one append to each stream until all are acknowledged, and all
 * of each is read; or no more of it. */
void user_prove(struct user *u, bool is_proving);
bool user_has_proved(const struct user *u);

#endif
