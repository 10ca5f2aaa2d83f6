/* processes.h - what befalls processes beside crashes (faults.h) and what comes
 * of their machine (disk_faults.h): they are told to stop, one, or one after
 * another as in an upgrade; several stand still together, as on one machine. */
#ifndef TESTS_SIM_PROCESSES_H
#define TESTS_SIM_PROCESSES_H

#include "tests/sim/host.h"

/* SIGSTOP, for a time that is drawn. */
void processes_pause(struct host *h);
/* One of the kinds that the history has. */
void processes_strike(struct world *w);
/* EVENT_PROCESS: the next step of a rolling restart. */
void processes_event(struct world *w, const struct event *e);
/* A process that was told to stop has done so. */
void processes_ended(struct host *h);
/* What was to stop has stopped. */
void processes_heal(struct world *w);

#endif
