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
    enum node_effect_kind kind; /* NODE_DO_READ... */
    struct segments_ticket segments;
    struct log_ticket log;
    struct segments_result segments_result;
    struct log_result log_result;
    struct blob_ticket blob;
    struct rows_ticket rows;
    struct blob_result blob_result;
    struct rows_result rows_result;
    struct scrub_ticket scrub;
    struct scrub_result scrub_result;
    uint64_t payload;
};

struct input {
    enum input_kind kind;
    uint64_t handle; /* the message */
    uint64_t connection;
    bool is_corrupt;
    bool is_lost;
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
    AIM_DURABLE,  /* a commit is on the disk, and its core not told */
};

/* What becomes of a commit. That it be torn is not among them: LMDB writes no
 * page that is in use, and its meta page is valid or is not. */
enum host_commit {
    COMMIT_WELL,
    COMMIT_NEVER,  /* it fails, and is not on the disk */
    COMMIT_FAILED, /* it fails, and yet is on the disk */
    COMMIT_DOUBT   /* it fails; the cache has it and the disk has not, so that
                      it is gone if the power goes before the next (S22) */
};

/* A wall clock that may be wrong; the monotonic one is the world's. */
struct host_clock {
    int64_t ahead_ms;      /* of the world's, at since_ms */
    uint64_t since_ms;     /* of the world: when it was last set */
    uint32_t rate_percent; /* 100: as the world's goes; 0: it stands still */
};

/* A folder as it was at one moment, with what the watch knows of it. */
struct host_image {
    struct store *store;
    struct watch_image *seen;
    uint64_t boot, life;
    bool is_rotten;
};

struct host {
    struct world *w;
    uint32_t index;
    struct id128 id;
    char name[16];
    char peer_address[24];
    char client_address[24];
    struct host_clock clock;

    struct store *store;
    struct store_reader *reader;
    uint64_t boot;

    struct node *node; /* NULL: down */
    uint64_t life;     /* of processes; also while down */
    bool is_member;    /* its folder has a record with it in it */
    bool is_paused;
    bool is_stopping; /* it was told to */
    bool is_cut_off;  /* for good */
    bool is_ready;
    bool is_lost;      /* for good: the folder is lost, bad or forgotten */
    bool is_rotten;    /* a row that is not a payload's is damaged */
    bool is_damaged;   /* payload is */
    bool is_ghost;     /* its folder is older than what peers have heard of it:
                          nothing that it says may be heard, and it must end */
    struct host *copy; /* a copy that runs at the same address; NULL: none */
    enum aim aim;
    bool has_hit;
    bool is_to_pause;          /* then; else it crashes */
    int exit_code;             /* what the core has asked for; -1: nothing */
    enum host_commit fate;     /* of the next commit that ends */
    bool has_bad_sector;       /* the next read fails */
    bool has_failed_read;      /* in this life */
    bool is_full;              /* its disk */
    uint64_t slow_until_us;    /* all commits take long */
    uint64_t starved_until_us; /* turns take up to ... */
    uint32_t starved_us;
    uint64_t busy_until_us;   /* this turn takes so long */
    uint64_t space_us;        /* when the core is told next what is free */
    struct host_image *doubt; /* what the disk has, if the power goes */
    struct host_image *past;  /* what it may go back to; NULL: nothing */
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
    uint32_t voids;      /* packets of this life that had to change nothing */
};

struct host *host_new(struct world *w, uint32_t index);
void host_free(struct host *h);
/* Another process at the same address, with a copy of the folder. */
struct host *host_copy(struct host *h, const struct host_image *folder);
/* A copy of its folder as it is on the disk now. */
struct host_image *host_image(const struct host *h);
void host_image_free(struct host_image *i);
/* The folder of a host that is down is this one from now on; takes it over. */
void host_restore(struct host *h, struct host_image *i);
/* Its disk is nearly full, or has room. */
void host_set_full(struct host *h, bool is_full);
/* It is down, and never runs again. */
void host_lose(struct host *h);
void host_set_clock(struct host *h, int64_t ahead_ms, uint32_t rate_percent);
/* By how much it is ahead now. */
int64_t host_ahead_ms(const struct host *h);
uint64_t host_wall_ms(const struct host *h);
/* Outside of any cycle. */
void host_commit_alone(struct host *h, struct store_command c);
/* The folder of the first node of a new cluster ... */
void host_found(struct host *h);
/* ... and of one that has joined it, with the record that names it. */
void host_join(struct host *h, struct span record);
struct member host_member(const struct host *h);

/* Up, and no ghost: what faults may choose from. */
bool host_is_up(const struct host *h);
void host_start(struct host *h);
/* kill -9, or a power cut: memory is lost; the commit under way has happened
 * or has not. */
void host_crash(struct host *h);
void host_pause(struct host *h);
void host_resume(struct host *h);
/* SIGTERM: sooner or later exit_code is 0. */
void host_stop(struct host *h);

void host_drop_read(struct host_read *r);
void host_event(struct host *h, const struct event *e);
void host_wake(struct host *h);
/* Every buffer in use is held by an entry in memory and by nothing else; for
 * a host at rest. */
void host_check_leaks(struct host *h);
struct host *host_of(const struct world *w, struct id128 id);
struct host *host_at(const struct world *w, const char *address);

#endif
