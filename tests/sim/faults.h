/* faults.h - what befalls hosts and links, by the plan: crashes, at any time or
 * at a telling one; cuts of the network, both ways or one; pauses. */
#ifndef TESTS_SIM_FAULTS_H
#define TESTS_SIM_FAULTS_H

#include "tests/sim/host.h"

struct faults *faults_new(struct world *w);
void faults_free(struct faults *f);
/* All that will happen until so long from now, numbered from 1 in the order of
 * time. What a fault draws, it draws from a generator of its own: without one
 * of them (struct skips) the others are what they were. */
void faults_schedule(struct faults *f, uint64_t during_ms);
void faults_event(struct faults *f, const struct event *e);
/* The host has done what a crash was waiting for. */
void faults_hit(struct faults *f, struct host *h);
/* The host has had a turn: a hunt may be after what it did. */
void faults_after(struct faults *f, struct host *h);
/* Kills the process; another comes so much later. */
void faults_kill(struct host *h, uint64_t down_us);
/* No more of it: all links whole, all hosts of the core up. */
void faults_heal(struct faults *f);

#endif
