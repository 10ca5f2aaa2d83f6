/* host.h - one machine: a disk that outlives its processes (the model store),
 * and at times a process on it (struct node). Does for the node what
 * node/loop.c does: inputs, effects, completions.
 *
 * An input does not run the node at once but wakes it a little later, so that
 * several are seen in one turn. A commit is on the disk at one time and known
 * to the core at a later one; a crash comes before, between or after. */
#ifndef TESTS_SIM_HOST_H
#define TESTS_SIM_HOST_H

#include "tests/sim/world.h"

enum input_kind { INPUT_PEER, INPUT_USER, INPUT_COMMITTED, INPUT_READ };

struct host_read {
    uint64_t ticket;
    bool is_log;
    struct segments_ticket segments;
    struct log_ticket log;
    struct segments_result segments_result;
    struct log_result log_result;
    uint64_t payload;
};

struct input {
    enum input_kind kind;
    uint64_t handle; /* the message */
    uint64_t connection;
    bool is_corrupt;
    struct host_read *read;
};

/* When a crash shall come: at the end of the first turn that has done that
 * while a commit was under way. */
enum aim {
    AIM_NONE,
    AIM_VOTED,    /* a vote has left */
    AIM_ACKED,    /* an acknowledgement of entries has left */
    AIM_ANSWERED, /* a client was told that its commands are judged */
    AIM_LEADS,    /* it has become the leader of a group */
    AIM_COMMIT,   /* a commit has begun */
};

struct host {
    struct world *w;
    uint32_t index;
    struct id128 id;
    char name[16];
    char peer_address[24];
    char client_address[24];
    int64_t skew_ms;

    struct store *store;
    struct store_reader *reader;
    uint64_t boot;

    struct node *node; /* NULL: down */
    uint64_t life;     /* of processes; also while down */
    bool is_member;    /* its folder has a record with it in it */
    bool is_paused;
    bool is_cut_off; /* for good */
    bool is_ready;
    enum aim aim;
    bool has_hit;
    struct buffers buffers;
    struct input *inputs;
    size_t input_count, input_capacity;
    uint64_t wake_us; /* UINT64_MAX: no input waits */
    uint64_t next_us; /* when it must be woken; UINT64_MAX: never */
    const struct store_batch *batch; /* under way */
    uint64_t commit_began_us;
    bool is_durable;
    struct store_done done;
    uint64_t last_epoch; /* of its record, as the watch saw it */
};

struct host *host_new(struct world *w, uint32_t index);
void host_free(struct host *h);
/* The folder of the first node of a new cluster ... */
void host_found(struct host *h);
/* ... and of one that has joined it, with the record that names it. */
void host_join(struct host *h, struct span record);
struct member host_member(const struct host *h);

void host_start(struct host *h);
/* kill -9, or a power cut: memory is lost; the commit under way has happened
 * or has not. */
void host_crash(struct host *h);
void host_pause(struct host *h);
void host_resume(struct host *h);

void host_drop_read(struct host_read *r);
void host_event(struct host *h, const struct event *e);
void host_wake(struct host *h);
/* Every buffer in use is held by an entry in memory and by nothing else; for
 * a host at rest. */
void host_check_leaks(struct host *h);
struct host *host_of(const struct world *w, struct id128 id);
struct host *host_at(const struct world *w, const char *address);

#endif
