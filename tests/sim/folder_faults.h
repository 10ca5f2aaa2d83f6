/* folder_faults.h - what befalls a host's folder: a row is damaged, all of it
 * is lost, or it is an older one, in its place or beside it.
 *
 * What would void a promise is done only where the fault atlas (watch.h:
 * watch_may_lose, watch_may_forget) says that it is borne. */
#ifndef TESTS_SIM_FOLDER_FAULTS_H
#define TESTS_SIM_FOLDER_FAULTS_H

#include "tests/sim/host.h"

/* How many of that kind there are in a minute at most; 0: it is not one of
 * these. */
uint32_t folder_faults_most(enum fault kind);
/* It is time for one, of a host that is up. */
void folder_faults_strike(struct host *h, enum fault kind);
/* The second half of one that takes a while: EVENT_LATER with FAULT_... as
 * its number. */
void folder_faults_event(struct host *h, const struct event *e);
/* A host that is down: its folder turns out to be bad. */
void folder_faults_bad(struct host *h);
/* A ghost has been told that it is one; or its machine goes. */
void folder_faults_ended(struct host *ghost);

#endif
