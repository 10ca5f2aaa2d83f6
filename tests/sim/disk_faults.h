/* disk_faults.h - what befalls a machine: its disk, its clock, its processes,
 * beyond the crashes and pauses of faults.h. */
#ifndef TESTS_SIM_DISK_FAULTS_H
#define TESTS_SIM_DISK_FAULTS_H

#include "tests/sim/host.h"

/* How many of that kind a history that has it at all schedules in so long; 0:
 * it is not one of these. */
uint32_t disk_faults_count(struct world *w, enum fault kind,
                           uint64_t during_ms);
/* It is time for one of that kind. */
void disk_faults_strike(struct world *w, enum fault kind);
/* EVENT_LATER: the rest of one that takes a while. */
void disk_faults_event(struct world *w, const struct event *e);
/* The core may ask for the end of its process with that code: something has
 * befallen its machine for which this is the answer. */
bool disk_faults_may_end(const struct host *h, int exit_code);
/* The core has asked for it, or a commit has failed. */
void disk_faults_ended(struct host *h);
/* How long a host that crashes stays down. */
uint64_t disk_faults_down_us(struct world *w);
/* Disks are fast and have room again, processes have the CPU; clocks stay
 * wrong. */
void disk_faults_heal(struct world *w);

#endif
