/* world.h - one history: hosts, users, the network between them, and time.
 *
 *              +----------------- world: heap of events ----------------+
 *   plan ----> | faults    mesh (packets)    hosts (struct node, model  |
 *              |                             store, buffers)            |
 *              |           raw users, core users (struct client)        |
 *              +--------------------------------------------------------+
 *                 watch (Raft)     twin (streams)     ops (clients' view)
 *
 * One thread, one generator, no clock: a seed is a history. Whatever breaks a
 * promise ends the process by world_fail, with the history's number. */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "net/client.h"
#include "node/node.h"
#include "tests/sim/buffers.h"
#include "tests/sim/heap.h"
#include "tests/sim/invariants.h"
#include "tests/sim/plan.h"

#define HOSTS_MAX 11u
#define HOST_COPY HOSTS_MAX /* index of world.copy */
#define USERS_MAX 10u
#define ENDPOINTS (HOSTS_MAX + USERS_MAX) /* users after hosts */

/* Scheduled faults of a history, numbered from 1 in the order of time. */
#define FAULTS_MAX 4096u

#define SIM_OK       0
#define SIM_OTHER    1
#define SIM_SAFETY   3
#define SIM_LIVENESS 4

enum event_kind {
    EVENT_PACKET,   /* to host who; data: struct packet (mesh.h) */
    EVENT_REQUEST,  /* to host who, of user number */
    EVENT_RESPONSE, /* to user who */
    EVENT_DISK,     /* host who's commit is durable */
    EVENT_TOLD,     /* and its core shall hear of it */
    EVENT_READ,     /* data: struct host_read */
    EVENT_FAULT,    /* the next of the plan's */
    EVENT_LATER,    /* host who: the rest of a fault (disk_faults.c) */
    EVENT_HEAL,     /* number: which cut ends */
    EVENT_EASE,     /* number: which trouble of lines ends (who 1: begins) */
    EVENT_PROCESS,  /* number: the next step of a mishap (processes.h) */
    EVENT_RESTART,  /* host who */
    EVENT_RESUME,   /* host who */
    EVENT_RAW,      /* raw user who does something */
    EVENT_USER,     /* core user who does something */
    EVENT_JOIN,     /* host who goes on joining */
};

struct world;

/* What a history did, for the totals. */
struct totals {
    uint64_t simulated_ms, events, wakes, messages, bytes;
    uint64_t faults[FAULT_COUNT];  /* injected, by kind */
    uint64_t chances[FAULT_COUNT]; /* that those that come by chance have had */
    uint64_t cut;
    uint64_t crashes, unsynced; /* crashes with a commit that never was */
    uint64_t partitions;
    uint64_t appends, duplicates, refused, unknown, appending_users;
    uint64_t reads, ends, fenced, joins, outs;
    uint64_t moves, moves_least; /* copies that records ask for */
    uint64_t cuts, installs;     /* of logs; of replicas by transfer */
    uint64_t mends;              /* of damaged rows, from another replica */
    uint64_t idle_terms_most, elections_most; /* of a group */
    uint64_t backlog_most;                    /* of a host at rest */
    uint64_t elections, commits, entries, config_changes;
    uint64_t held[HELD_COUNT]; /* checks of each invariant */
    uint64_t healed_ms;        /* how long it took to converge */
    uint64_t scheduled;        /* faults; the highest ordinal */
    uint64_t trace;            /* hash of all that happened */
};

/* Scheduled faults that shall not be, by their ordinals (faults.h): a failing
 * history is played again without them to see which of them it needs. */
struct skips {
    uint64_t bits[FAULTS_MAX / 64 + 1];
};

static inline bool skips_has(const struct skips *s, uint32_t ordinal)
{
    return s->bits[ordinal / 64] >> ordinal % 64 & 1;
}
static inline void skips_add(struct skips *s, uint32_t ordinal)
{
    s->bits[ordinal / 64] |= (uint64_t)1 << ordinal % 64;
}

/* What a history is played with, besides its seed. */
struct world_cfg {
    const struct plan *plan; /* NULL: what the seed draws */
    bool is_traced;          /* in words, on stdout */
    uint32_t seconds;        /* of faults; 0: as many as the plan says */
    struct skips skips;
    bool no[FAULT_COUNT]; /* of those that come by chance: fault_strikes */
    /* Called before a history that has failed ends the process. */
    void (*last_words)(const struct world *w);
};

struct host;
struct raw;
struct user;
struct watch;
struct twin;
struct ops;
struct faults;
struct operator;
struct mesh;
struct strangers;
struct orders;
struct checker;

struct world {
    uint64_t seed;
    struct plan plan;
    struct rng rng;
    uint64_t now_us;
    struct heap events;
    struct totals totals;
    struct world_cfg cfg;
    bool is_chaos;     /* faults may happen, messages may be lost */
    bool is_halted;    /* more is lost than the promises cover (FAULT_HALT) */
    bool is_healing;   /* users do nothing but what the end asks of them */
    const char *doing; /* for the failure's report */

    struct id128 cluster;
    struct host *hosts[HOSTS_MAX];
    struct raw *raws[USERS_MAX];
    struct user *users[USERS_MAX];
    uint32_t host_count, raw_count, user_count;
    uint32_t core;      /* hosts that are not gone for good, by bits (core.h) */
    struct host *copy;  /* a process with a copy of another's folder */
    struct host *ghost; /* it, or a host that has gone back to an old folder */

    struct mesh *mesh;
    struct strangers *strangers;
    struct watch *watch;
    struct twin *twin;
    struct ops *ops;
    struct faults *faults;
    struct operator* operator;
    struct orders *orders;
    struct checker *checker;
};

struct world *world_new(uint64_t seed, const struct world_cfg *cfg);
void world_free(struct world *w);
/* All of it, from the founding to the healed cluster. */
void world_run(struct world *w);
/* Its beginning alone: the nodes have joined. */
void world_form(struct world *w);
/* Handles events up to that time. */
void world_until(struct world *w, uint64_t at_us);
/* Goes on until the condition holds; false: it did not within so long. */
typedef bool (*world_fn)(struct world *w);
bool world_wait(struct world *w, world_fn is_done, uint64_t limit_ms);

static inline uint32_t world_all(const struct world *w)
{
    return (1u << w->host_count) - 1;
}
static inline bool world_in_core(const struct world *w, uint32_t host)
{
    return w->core >> host & 1;
}
static inline uint64_t world_ms(const struct world *w)
{
    return w->now_us / 1000;
}
/* Of an event: one of the hosts, or the copy. */
static inline struct host *world_host(const struct world *w, uint32_t who)
{
    return who == HOST_COPY ? w->copy : w->hosts[who];
}
uint64_t world_wall_ms(const struct world *w);
/* Uniform in [0, max]. */
uint64_t world_draw(struct world *w, uint64_t max);
void world_at(struct world *w, uint64_t delay_us, enum event_kind kind,
              uint32_t who, uint64_t life, uint64_t number, void *data);
/* Folds something that happened into the trace's hash. */
void world_note(struct world *w, uint64_t what, uint64_t value);
/* A line of the history as it is told (README.md: its columns) ... */
void world_trace(const struct world *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* ... and one about a fault. */
void world_fault(const struct world *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* An invariant is broken: its name goes before the words. */
_Noreturn void world_broken(struct world *w, enum invariant i,
                            const char *format, ...)
    __attribute__((format(printf, 3, 4)));
_Noreturn void world_fail(struct world *w, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
