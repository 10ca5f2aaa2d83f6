/* node.h - one node: gossip, the ring record and all hosted groups, composed
 * into one machine without I/O, clock or chance of its own.
 *
 * Two drivers do the same five steps with it: node/loop.c (production) and
 * tests/sim (the simulator): take inputs, call node_*, pop effects until
 * there are none, do them, feed completions back.
 *
 *   peers' and clients' messages --\                /--> messages out
 *   commits done, reads done -------> struct node -----> COMMIT (one cycle)
 *   ticks (now_ms, wall_ms) -------/                \--> READ, READ_LOG, ...
 *
 * Several inputs may be given before popping; the work of a *turn* (apply,
 * propose, pull appends, cut a flush cycle) is done by node_pop when it finds
 * no effect waiting, so that one turn batches all that came in.
 *
 * The flush cycle: at most one COMMIT is out at a time. While it syncs, the
 * next one gathers. It carries all hard state that waits, then log commands
 * round-robin over groups up to COMMIT_A_BYTES, then a portion of lazy rows up
 * to COMMIT_B_BYTES (T20).
 *
 * Buffers: a message comes with the handle of the shell's buffer. If the core
 * keeps slices of it, it says so by ACQUIRE effects, one a reference, popped
 * before the shell lets go of its own. RELEASE effects are popped last of a
 * turn: until then a slice in a message to send is backed by some reference,
 * so the shell gathers at once and SEND needs no references of its own. */
#ifndef NODE_NODE_H
#define NODE_NODE_H

#include "net/wire.h"
#include "ring/swim.h"
#include "storage/store.h"

/* Every duration of a node, so that the simulator can scale them all (T35).
 * Milliseconds. node_timing_default gives limits.h's. */
struct node_timing {
    uint32_t heartbeat_ms;
    uint32_t election_ms;
    uint32_t jitter_percent;
    uint32_t probe_interval_ms;
    uint32_t probe_timeout_ms;
    uint32_t suspicion_ms;
    uint32_t push_pull_ms;
    uint32_t join_wait_ms;       /* joins that wait this long are one record */
    uint32_t join_settle_ms;     /* nobody has joined for so long: newcomers
                                    get copies */
    uint32_t record_interval_ms; /* automatic records, at most one each */
    uint32_t record_ask_ms;      /* asking a peer for a newer record */
    uint32_t lane_timeout_ms;    /* no echo for so long: all is lost */
    uint32_t walk_ms;            /* how often a leader looks at its row */
    uint32_t calm_ms;            /* a node seen dead leads again after this,
                                    and after twice that the next time (L3) */
    uint32_t orphan_ms;          /* no leader for this long: ask the members */
    uint32_t unstored_age_ms;    /* lazy rows are never older */
    uint32_t stop_ms;            /* handing over at a stop */
    uint32_t mend_again_ms;      /* between two tries to mend what is damaged */
    uint32_t install_stall_ms;   /* an install that gets nothing for so long
                                    holds no log any more (L5) */
    uint32_t back_after_ms;      /* contact before who is out is up again;
                                    out-after, if that is less */
};
struct node_timing node_timing_default(void);

struct node_cfg {
    struct store_folder folder; /* folder.boot is this start's number, which
                                   the driver has committed already (S22) */
    uint64_t nonce;             /* random per process (S6) */
    uint64_t seed;
    struct node_timing timing;
    const char *version; /* borrowed for ever */
    /* Where clients and peers reach us now; NULL: as the record says. Borrowed
     * for ever. */
    const char *client_address, *peer_address;
    uint32_t log_keep_entries;        /* 0: LOG_KEEP_ENTRIES */
    bool is_recording_trace;          /* NODE_DO_LOG for every protocol step */
    void (*release)(uint64_t handle); /* by node_free, for each reference that
                                         the core still has; may be NULL */
};

enum node_log_level { NODE_ERROR, NODE_WARN, NODE_INFO, NODE_DEBUG };

enum node_effect_kind {
    NODE_DO_ACQUIRE,     /* handle: one more reference */
    NODE_DO_SEND_PEER,   /* node, lane, message */
    NODE_DO_SEND_CLIENT, /* connection, message */
    NODE_DO_COMMIT,      /* batch: valid until node_committed */
    NODE_DO_READ,        /* ticket, segments: the driver takes segments.rows */
    NODE_DO_READ_LOG,    /* ticket, log */
    NODE_DO_READ_BLOB,   /* ticket, blob */
    NODE_DO_READ_ROWS,   /* ticket, rows */
    NODE_DO_SCRUB,       /* ticket, scrub */
    NODE_DO_PEER,        /* node, address, key: reach it there */
    NODE_DO_PEER_GONE,   /* node */
    NODE_DO_PEER_AGAIN,  /* node: it has been silent for long; connect anew */
    NODE_DO_ALLOW,       /* keys or members changed: see node_record */
    NODE_DO_READY,       /* requests are answered from now on */
    NODE_DO_STOP,        /* exit_code, text: end the process */
    NODE_DO_LOG,         /* level, text */
    NODE_DO_RELEASE,     /* handle: one less; popped last of a turn */
};

struct node_effect {
    enum node_effect_kind kind;
    struct id128 node;
    enum wire_lane lane;
    const struct wire_out *message; /* until the next pop or input */
    uint64_t connection;
    const struct store_batch *batch;
    uint64_t ticket;
    struct segments_ticket segments;
    struct log_ticket log; /* its runs are valid until node_log_done */
    struct blob_ticket blob;
    struct rows_ticket rows;
    struct scrub_ticket scrub;
    uint64_t handle;
    const char *address;
    const uint8_t *key;
    int exit_code;
    enum node_log_level level;
    const char *text;
};

struct node;

/* Exit codes that the core may ask for (CLI.md). */
#define EXIT_BROKEN    70
#define EXIT_DISK      74
#define EXIT_FOLDER    78
#define EXIT_FORGOTTEN 79

/* The clocks as for node_tick. */
struct node *node_new(const struct node_cfg *cfg, uint64_t now_ms,
                      uint64_t wall_ms);
/* Pops nothing, frees everything. All ACQUIRE effects have been done. */
void node_free(struct node *n);

/* Loads what storage has, by store_load with this visitor, before
 * node_start. */
struct store_visitor node_visitor(struct node *n);
/* DAMAGED: what was loaded does not fit together (no record with this node
 * in it: the caller should have joined first). */
NODISCARD enum err node_start(struct node *n);

/* ---- inputs ------------------------------------------------------------ */

/* Monotonic and wall clock. A jump of more than an election timeout since the
 * last tick makes every leader step down first (L17). */
void node_tick(struct node *n, uint64_t now_ms, uint64_t wall_ms);
uint64_t node_deadline(const struct node *n);
/* A message on the peer port; key: the sender's proven public key, NULL in an
 * insecure cluster. Refused ones are counted. Of the transfer lane only what
 * wire_rows_verify has passed. */
void node_recv_peer(struct node *n, struct span message, uint64_t handle,
                    const uint8_t *key);
/* A message on the client port. Its checksums have been verified by the
 * driver (wire_commands_verify): is_corrupt says that they were not right. */
void node_recv_client(struct node *n, uint64_t connection, struct span message,
                      uint64_t handle, const uint8_t *key, bool is_corrupt);
void node_committed(struct node *n, const struct store_done *done);
/* The result is borrowed; payload is the handle of a buffer that holds
 * result->payload (0 if empty), of which the core takes over one reference. */
void node_read_done(struct node *n, uint64_t ticket,
                    const struct segments_result *result, uint64_t payload);
void node_log_done(struct node *n, uint64_t ticket,
                   const struct log_result *result, uint64_t payload);
void node_blob_done(struct node *n, uint64_t ticket,
                    const struct blob_result *result);
void node_rows_done(struct node *n, uint64_t ticket,
                    const struct rows_result *result, uint64_t payload);
void node_scrub_done(struct node *n, uint64_t ticket,
                     const struct scrub_result *result);
void node_space(struct node *n, const struct store_space *space);
/* As node_cfg.is_recording_trace, from now on. */
void node_record_trace(struct node *n, bool is_recording);
/* Hand over leaderships, then NODE_DO_STOP with 0. */
void node_stop(struct node *n);

bool node_pop(struct node *n, struct node_effect *out);

/* ---- questions (drivers, tests) ---------------------------------------- */

const struct record *node_record(const struct node *n);
/* ASSERTs invariants over all machines. */
void node_check(const struct node *n);
void node_dump(const struct node *n, struct buf *text);
/* For oracles: NULL if the group is not hosted here. */
const struct raft *node_raft(const struct node *n, uint32_t group);
const struct streams *node_streams(const struct node *n, uint32_t group);
uint64_t node_applied(const struct node *n, uint32_t group);
/* Why the group does not go on, or is not as its row says, in a few words; ""
 * if nothing is amiss as far as this node knows. Until the next input. */
const char *node_reason(const struct node *n, uint32_t group);
/* How many things wait in its queues; not rows that are stored at leisure,
 * which have a bound of their own (T25). */
size_t node_backlog(const struct node *n);
/* Which groups had a turn since the last node_tick: group g's is bit g % 64 of
 * word g / 64. The others' machines have had no input, or will have a turn. */
const uint64_t *node_turned(const struct node *n);
const struct swim *node_swim(const struct node *n);

#endif
