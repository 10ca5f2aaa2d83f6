/* node_impl.h - inside struct node: for node/node*.c only.
 *
 *   node.c        life, inputs, the turn, effects
 *   node_group.c  one hosted group: raft's effects, applying, images
 *   node_serve.c  what clients ask
 *   node_cycle.c  the flush cycle
 *   node_boots.c  which process of a peer is heard
 *   node_peers.c  messages to and from other nodes: lanes, windows, echoes
 *   node_ring.c   the ring record: group 0's jobs, joins, who may speak
 *   node_out.c    who goes out of the ring by itself, and who comes back
 *   node_walk.c   leaders walk their groups to their rows; replicas come, go
 *   node_recover.c  groups go on in another generation when all else is lost
 *   node_cut.c    how far logs are cut
 *   node_install.c  replicas by transfer: the receiving side
 *   node_give.c     ... and the source's
 *   node_check.c  what this node says of its own copies
 *   node_mend.c   payload that is damaged here comes from another replica
 */
#ifndef NODE_NODE_IMPL_H
#define NODE_NODE_IMPL_H

#include "node/node.h"
#include "ring/limits.h"
#include "ring/rule.h"
#include "ring/transfer.h"

/* Entries proposed and not committed, per group, before the next waits to
 * grow: small groups answer fast, busy ones batch (HAZARDS 3.16). */
#define ENTRIES_INFLIGHT 4u

/* ---- a FIFO of fixed-size elements ------------------------------------- */

/* Grows by doubling; index 0 is the oldest. */
struct queue {
    uint8_t *data;
    size_t width, first, count, capacity;
};
void node_queue_init(struct queue *q, size_t width);
void node_queue_free(struct queue *q);
void *node_queue_push(struct queue *q); /* zeroed */
void *node_queue_at(const struct queue *q, size_t i);
void node_queue_pop(struct queue *q);
void node_queue_pop_back(struct queue *q);

/* ---- clients that wait ------------------------------------------------- */

/* One COMMANDS request; freed when the last of its commands is judged. */
struct call {
    uint64_t connection;
    uint64_t number;
    uint32_t bytes; /* counted against CLIENTS_BYTES_MAX */
    uint16_t count;
    uint16_t left;
    struct verdict *verdicts;
};

/* Who waits for the commands of one entry, by ordinal (T5). */
struct waiter {
    struct call *call;
    uint16_t at;
};
struct pending {
    uint64_t index;
    uint64_t term;
    uint32_t count;
    struct waiter *waiters;
};

/* A question that needs the leader's word (read-index). */
struct question {
    uint64_t token;
    uint64_t connection;
    uint64_t number;
    struct request request; /* its spans point into `text` */
    uint8_t *text;
    bool is_confirmed; /* the round is done; waits for applied >= index */
    uint64_t index;
};

/* ---- groups ------------------------------------------------------------ */

/* Waits for the next cycles: one log command. */
struct log_command {
    bool is_truncate;
    struct item *item;
    uint64_t index;
    uint64_t write;
};

/* After-images of one applied entry, not stored yet (T1). */
struct images {
    uint64_t index;
    uint64_t term;
    struct hash128 digest;
    struct epoch epoch;
    uint64_t applied_ms;
    struct buf rows;
};

/* A learner, as its leader knows it from its answers to invitations. */
struct guest {
    struct replica replica;
    /* It holds a part of the group's state, or may: from there on it needs the
     * log (node_cut.c). When that was last heard; 0: it needs none yet. */
    uint64_t held_ms;
    uint64_t answered_ms; /* 0: not yet */
    enum err answer;
};

struct group {
    uint32_t id;
    uint32_t incarnation;
    struct generation generation;
    struct replica self;
    struct raft *raft;
    struct streams *streams; /* NULL: group 0 */
    bool is_dirty;           /* in node.dirty */
    bool is_quarantined;
    bool is_founding;      /* ended, and the next generation's founder */
    bool is_being_founded; /* ... which is on its way to the disk */
    const char *quarantine_text;
    uint64_t next_tick_ms;
    enum raft_role role; /* as last seen */
    uint64_t role_term;
    /* storage */
    uint64_t marked_in; /* the cycle that has a mark of this group, */
    uint32_t mark_at;   /* and which of its marks */
    bool is_hard_waiting;
    struct raft_hard_state hard;
    uint64_t hard_write;
    struct queue log_commands;
    uint64_t applied;             /* in memory */
    uint64_t stored;              /* on disk */
    struct hash128 stored_digest; /* of the state there */
    uint64_t stored_pending;      /* in the cycle under way, or stored */
    struct queue images;          /* (stored, applied] that changed rows, and
                                     every entry in between */
    size_t image_bytes;
    struct hash128 digest;
    /* clients */
    struct entry_builder builder; /* the entry that gathers */
    struct buf gather;
    bool is_gathering;
    struct slice *gather_slices;
    uint32_t gather_slice_count, gather_slice_capacity;
    struct waiter *gather_waiters;
    struct queue pendings; /* proposed, by index */
    struct queue questions;
    uint64_t next_entry_time_ms; /* what this leader stamps never goes back */
    /* walking */
    uint64_t led_since_ms;
    uint64_t handed_over_ms;
    uint32_t hand_over_backoff;
    uint64_t asked_ms;  /* orphans */
    struct epoch epoch; /* the highest of its applied entries (T29) */
    const char *walk_reason;
    struct guest guests[REPLICAS_MAX]; /* learners, of a leader */
    struct id128 let_go; /* of a former life, to be made anew (S7) */
    uint64_t let_go_ms;
    uint64_t manifest_bytes; /* applied since the newest of ... */
    struct queue cut_marks;  /* uint64_t: entries, so many bytes apart */
    uint64_t cut_pending;    /* in the cycle under way, or the base */
    uint64_t scanned_ms;     /* a scan of it has ended */
    uint64_t damaged_index;  /* an entry whose payload could not be read */
    /* The newest log row that a read has not found, and when first. */
    uint64_t missing_index, missing_ms;
    uint64_t config_told;        /* index of the committed configuration that
                                    removed replicas were told of */
    struct config config_before; /* the committed one before that */
};

/* ---- peers ------------------------------------------------------------- */

struct sent {
    uint64_t number;
    uint32_t bytes;
    uint64_t at_ms;
    uint32_t *groups; /* whose frames were in it */
    uint32_t group_count;
};

struct peer {
    struct id128 node;
    uint16_t slot;
    char address[ADDRESS_MAX + 1];
    uint8_t key[KEY_BYTES];
    uint64_t boot; /* the highest seen, 0: none, and whose that was (S6) */
    uint32_t nonce;
    uint64_t hello_ms; /* when we last said ours */
    uint32_t deaths;   /* that gossip has seen, in quick succession */
    uint64_t death_ms; /* the last one */
    /* Where it says that it is reached; empty: as the record has it. */
    char said_client[ADDRESS_MAX + 1], said_peer[ADDRESS_MAX + 1];
    uint64_t heard_ms; /* any message, or when it was last connected anew */
    uint64_t known_ms; /* since when it is a peer */
    struct buf dead;   /* ids: who is dead to it, as of */
    uint64_t dead_told_ms;
    uint64_t record_asked_ms;
    /* control lane, out */
    struct wire_out control;
    bool is_control_open;
    size_t control_bytes; /* of the last one: the next is about as long */
    uint64_t control_number;
    /* entries lane, out */
    uint64_t transfer_number;
    uint64_t entries_number;
    uint32_t window_bytes; /* in flight */
    uint64_t echo_ms;      /* when something of it was last echoed */
    struct queue sent;
    struct queue waiting; /* uint32_t: groups that may have entries for it */
    uint8_t waiting_set[(GROUPS_MAX + 7) / 8];
    /* entries lane, in */
    uint64_t in_boot, in_number;
    uint64_t missing_first, missing_last;
    bool is_echo_due;
};

/* ---- reads ------------------------------------------------------------- */

enum reading_kind {
    READING_SEGMENTS,
    READING_LOG,
    READING_BLOB,
    READING_ROWS,
    READING_SCRUB
};
struct reading {
    uint64_t ticket;
    enum reading_kind kind;
    bool is_ours; /* scrub: nobody has asked */
    /* segments, scrub */
    uint64_t connection, number;
    uint64_t state_index; /* scrub */
    uint32_t group, incarnation;
    struct position stream;
    struct rows_ticket rows;
    /* log, blob, rows */
    struct replica to;
    uint64_t blob_index;  /* what the asker has the beginning of */
    uint32_t blob_offset; /* and how much of it */
    struct log_ticket log;
    struct raft_term_run *runs;
};

/* ---- transfer ---------------------------------------------------------- */

/* A replica that is being installed, and no group yet (S17). */
struct install {
    uint32_t id;
    uint32_t incarnation;
    struct generation generation;
    struct replica self;
    struct transfer *transfer;
    uint64_t heard_ms;
    uint32_t storing; /* commands that wait for the disk */
    size_t put_at;    /* bytes of the blob given to the store */
    bool is_blob_stored;
    bool is_switching;
    uint64_t moved_ms; /* when something came last */
    uint64_t rated_ms; /* the rate below is of the window before it ... */
    uint64_t rated_bytes;
    uint64_t rate;            /* ... bytes a second */
    struct row_cursor cursor; /* as loaded */
    uint64_t moved_bytes;
};

/* A blob that is kept for who asks for its pieces. */
struct giving {
    uint32_t group, incarnation;
    struct replica to;
    struct transfer_head head;
    struct buf images;
    uint64_t used_ms;
    bool is_through; /* its last piece was sent */
};

/* ---- scrub and repair -------------------------------------------------- */

/* A group whose copy is gone through, for a read has found damage in it. */
struct scan {
    uint32_t group, incarnation;
    uint64_t index; /* what was applied when it was found */
    struct scrub_cursor cursor;
    bool is_reading;
};

/* A row of the index, of which another replica is to give the bytes. */
struct mend {
    uint32_t group, incarnation;
    struct row_cursor row; /* its key */
    uint64_t entry_index;
    struct replica asked;
    bool is_asked, is_storing;
    uint32_t tries;
    uint64_t try_ms; /* ask, or ask another, from then on */
};

/* ---- the cycle --------------------------------------------------------- */

struct cycle_mark {
    uint32_t group, incarnation;
    uint64_t hard_write, log_write;
    uint64_t stored; /* a portion's k, 0: none */
    uint64_t cut;    /* the log's new base, 0: none */
};
enum extra_kind {
    EXTRA_RECORD,
    EXTRA_CREATE,
    EXTRA_TOMBSTONE,
    EXTRA_QUARANTINE,
    EXTRA_INSTALL,
    EXTRA_MEND,
    EXTRA_RECOVER
};
/* A node-level A command; what follows its durability. */
struct extra {
    enum extra_kind kind;
    struct store_command command;
    struct buf bytes;
    struct id128 invited_by; /* CREATE */
    struct frame_group invite;
    uint64_t pin;
    /* INSTALL, RECOVER; payload's handle is a reference */
    struct config *config;
    struct span *images;
};
struct sweep {
    uint32_t group, incarnation;
};
struct cycle {
    bool is_out;
    bool had_log; /* the newest one that was cut: appends */
    uint64_t number;
    uint64_t began_ms;
    struct store_command *commands;
    size_t count, capacity;
    struct store_batch batch;
    struct queue items;   /* struct item *: held until done */
    struct queue marks;   /* struct cycle_mark */
    struct queue spans;   /* struct span *: image lists to free */
    struct queue orphans; /* struct buf: rows in it of groups that went */
    struct queue extras;  /* struct extra: in this cycle */
    uint32_t sweeps;
};

/* ---- the ring ---------------------------------------------------------- */

struct joining {
    uint64_t connection, number;
    struct member member;
    uint64_t index, term; /* proposed there; 0: not yet */
};

/* An operator's request that waits for its record. */
struct changing {
    uint64_t connection, number;
    struct epoch made_from;
    struct change_request request; /* its changes are in `changes` */
    uint8_t changes[CHANGES_MAX * CHANGE_BYTES_MAX];
    size_t changes_size;
    uint64_t index, term; /* proposed there; 0: not yet */
};

/* Group 0's next generation, which an operator has asked this node to found. */
struct founding {
    bool is_wanted;
    uint64_t connection, number;
    struct generation generation;
    struct record *record; /* its first, on its way to the disk */
};

/* ---- the node ---------------------------------------------------------- */

struct node {
    struct node_cfg cfg;
    uint64_t now_ms, wall_ms;
    bool is_started, is_ready, is_stopping, is_stopped;
    bool has_work; /* a turn is due */
    uint64_t stop_ms, started_ms;
    struct item_pool pool;
    struct rng rng;

    struct queue effects;    /* struct node_effect */
    struct node_effect lent; /* the last popped; freed at the next pop */

    struct group **groups; /* by id, NULL: not hosted; Q + 1 */
    uint32_t group_count;  /* Q + 1, 0 before a record */
    struct queue dirty;    /* uint32_t */
    uint64_t turned[(GROUPS_MAX + 63) / 64]; /* since the last node_tick */
    uint64_t next_group_tick_ms;

    struct record *record;   /* newest known */
    struct buf record_bytes; /* encoded, for those who ask */
    struct record *ring;     /* group 0's applied state, if hosted */
    uint64_t confirmed_ms;   /* last word of group 0's quorum; 0: never */
    struct queue joinings;
    struct queue changings; /* struct changing */
    struct founding founding;
    uint64_t clash_ms;        /* another history was heard of; 0: never */
    struct epoch epoch_heard; /* a peer's that was newer than ours, and when */
    uint64_t epoch_heard_ms;
    struct frame_standing *standings; /* by group; count 0: not stated */
    uint64_t stated_ms[GROUPS_MAX];   /* when last; 0: never */
    uint64_t standing_told_ms;
    uint64_t joining_since_ms;          /* the first of those that wait */
    uint64_t joined_ms;                 /* the last that asked to be let in */
    uint64_t newcomers_since_ms;        /* some are alive and not up; 0: none */
    uint64_t automation_ms;             /* the last record that it proposed */
    uint64_t record_index, record_term; /* under way; 0: none */
    uint64_t dead_reported_ms;          /* when we last said who is dead */
    uint64_t moved_told_ms;             /* ... and where we are reached */
    struct swim swim;
    bool is_swim_open;
    uint16_t slot; /* own */

    struct peer **peers;
    size_t peer_count;
    struct buf boots;   /* of peers: as loaded, then as last encoded */
    bool has_boot_news; /* not stored yet */
    struct buf left;    /* of peers no longer, since the last encoding */

    struct cycle cycle;
    size_t hard_waiting, log_waiting; /* of all groups, for the next cycle */
    /* uint32_t: groups that had some when put there, in turn */
    struct queue hard_groups, log_groups;
    struct queue extras;           /* waiting */
    struct queue sweeps;           /* struct sweep */
    uint32_t cursor_b, cursor_cut; /* round-robin over groups */
    uint64_t last_txn;
    uint64_t tombstones[GROUPS_MAX];   /* only ids above are accepted */
    uint32_t incarnations[GROUPS_MAX]; /* the last that was dropped */

    struct queue readings;
    uint64_t next_ticket, next_token;
    struct install *installs[GROUPS_MAX];
    uint32_t install_count;
    struct queue givings;   /* struct giving */
    struct queue scans;     /* struct scan; the first is under way */
    struct queue mends;     /* struct mend */
    uint64_t mended;        /* rows, since the start */
    int64_t repair_budget;  /* bytes that may be asked for, or scanned */
    uint64_t install_bytes; /* pulled rows that wait for the disk */
    uint64_t repair_ms;
    uint64_t repair_due_ms; /* there is some again; UINT64_MAX: none waits */
    uint64_t vain_due_ms;   /* an install that asks in vain may ask again */
    uint32_t vain_next;     /* from this group on */

    struct store_space space;
    bool is_full;
    bool is_unfit; /* has no room for one more replica, and says so */
    size_t client_bytes;
    size_t unstored_entries, unstored_bytes;
    uint64_t portion_at_ms; /* no portion is due by its age before */
    bool is_portion_large;  /* one may be due by its size */
    uint64_t cut_at_ms;     /* when logs are looked at next */
    uint64_t walk_tick_ms;
    uint32_t removed_count; /* replicas of ours, not told in the log yet */
    uint64_t removed_ms;    /* the newest of them */

    uint32_t commit_us[256];
    uint64_t commits, dropped, appends, reads;
    struct verdict verdicts[ENTRY_COMMANDS_MAX];
};

/* ---- node.c ------------------------------------------------------------ */

struct node_effect *node_push(struct node *n, enum node_effect_kind kind);
void node_log(struct node *n, enum node_log_level level, const char *format,
              ...) __attribute__((format(printf, 3, 4)));
void node_dirty(struct node *n, struct group *g);
/* Takes the message over. */
void node_send_client(struct node *n, uint64_t connection, struct wire_out *m);
void node_fail(struct node *n, int exit_code, const char *text);
bool node_has_timed_out(uint64_t now_ms, uint64_t since_ms, uint32_t limit_ms);
/* For one more replica, and for logs that are kept long. */
bool node_has_room(const struct node *n);
/* Of its disk and map. */
bool node_uses_less(const struct node *n, uint32_t percent);

/* ---- node_group.c ------------------------------------------------------ */

struct group *node_group_new(struct node *n, uint32_t id, uint32_t incarnation,
                             struct generation generation, uint64_t added,
                             const struct raft_stored *stored);
void node_group_free(struct node *n, struct group *g);
struct group *node_group(const struct node *n, uint32_t id);
/* If it is this replica of it still: what was ordered of a former one, whose
 * rows may have been swept since, is nobody's. */
struct group *node_group_same(const struct node *n, uint32_t id,
                              uint32_t incarnation);
/* Everything a group has to do in a turn. */
void node_group_turn(struct node *n, struct group *g);
void node_group_stored(struct node *n, struct group *g, uint64_t stored);
void node_group_quarantine(struct node *n, struct group *g, const char *why);
bool node_group_is_leading(const struct group *g); /* and may serve */
struct id128 node_group_hint(const struct group *g);
/* Begins the speculative state anew from the log (T31). */
void node_group_speculate(struct group *g);

/* ---- node_serve.c ------------------------------------------------------ */

void node_serve_judged(struct node *n, struct group *g, uint64_t index,
                       uint64_t term, const struct verdict *v, uint32_t count);
void node_serve_deposed(struct node *n, struct group *g);
void node_serve_gather(struct node *n, struct group *g);
void node_serve_questions(struct node *n, struct group *g);
void node_serve_confirmed(struct node *n, struct group *g, uint64_t token,
                          bool is_ok, uint64_t index);
void node_serve_drop(struct node *n, struct group *g); /* group goes away */
void node_respond(struct node *n, uint64_t connection, uint64_t number,
                  const struct response *r);
void node_refuse(struct node *n, uint64_t connection, uint64_t number,
                 enum wire_op op, enum err err, struct id128 hint,
                 const char *text);

/* ---- node_status.c ----------------------------------------------------- */

void node_status_write(struct node *n, struct buf *out);

/* ---- node_cycle.c ------------------------------------------------------ */

void node_cycle_cut(struct node *n);
struct extra *node_cycle_extra(struct node *n, enum extra_kind kind);
void node_cycle_free(struct node *n);
bool node_cycle_is_stalled(const struct node *n);
/* From this age on, images are worth a portion of their own. */
uint32_t node_cycle_soft_age_ms(const struct node *n);
/* Has it rows enough for a portion, whatever their age? */
bool node_cycle_is_large(const struct group *g);

/* ---- node_peers.c ------------------------------------------------------ */

struct peer *node_peer(const struct node *n, struct id128 node);
void node_peers_update(struct node *n); /* the record has changed */
void node_peers_free(struct node *n);
/* Adds a frame to the peer's control message of this turn. */
void node_peer_frame(struct node *n, struct peer *p, const struct frame *f);
void node_peer_raft(struct node *n, struct group *g,
                    const struct raft_msg *msg);
void node_peer_wants(struct node *n, struct peer *p, uint32_t group);
/* A message of its own on the transfer lane. */
void node_peer_transfer(struct node *n, struct peer *p, const struct frame *f);
void node_peers_turn(struct node *n);
void node_peers_tick(struct node *n);
void node_peers_dump(const struct node *n, struct buf *text);

/* ---- node_boots.c ------------------------------------------------------ */

enum err node_boots_load(void *ctx, struct span bytes);
/* A new peer: what is known of it from before our start. */
void node_boots_remember(const struct node *n, struct peer *p);
/* All that is known, for the disk; valid until the next call. */
struct span node_boots_encode(struct node *n);
bool node_boots_is_former(const struct peer *p, const struct wire_header *h);
/* It is no peer any more, but what was heard of it stays known. */
void node_boots_left(struct node *n, const struct peer *p);
/* Of a member that has left: a later life of it has been heard. If not, this
 * one has. */
bool node_boots_is_past(struct node *n, const struct wire_header *h);
void node_boots_seen(struct node *n, struct peer *p,
                     const struct wire_header *h);
/* A message of a former life: its HELLO gets FORGOTTEN. */
void node_boots_answer(struct node *n, struct peer *p,
                       const struct wire_in *in);
void node_boots_forgotten(struct node *n, const struct frame *f);

/* ---- node_ring.c ------------------------------------------------------- */

void node_ring_adopt(struct node *n, struct record *r, bool is_stored);
/* False: it cannot be applied, the replica is quarantined. */
bool node_ring_apply(struct node *n, struct group *g, struct item *item,
                     struct buf *images);
void node_ring_tick(struct node *n);
void node_ring_deposed(struct node *n);
void node_ring_gone(struct node *n); /* group 0's replica goes away */
void node_ring_join(struct node *n, uint64_t connection, uint64_t number,
                    const struct member *m);
/* Leads group 0, and has its state. */
bool node_ring_leads(const struct node *n);
/* MOVED, to whoever should know who leads the ring. */
void node_ring_refuse(struct node *n, uint64_t connection, uint64_t number,
                      enum wire_op op);
/* Proposes the next record, made from group 0's applied state; borrowed. False
 * if it cannot be proposed now. */
bool node_ring_propose(struct node *n, struct group *g,
                       const struct record *next, struct id128 proposal);
void node_ring_ask(struct node *n, struct peer *p);
void node_ring_received(struct node *n, struct span bytes);
void node_ring_swim(struct node *n);

/* ---- node_moved.c ------------------------------------------------------ */

/* Says where this node is reached, until the record has it. */
void node_moved_tick(struct node *n);
void node_moved_received(struct node *n, struct peer *p, const struct frame *f);
/* Members that are reached elsewhere; *next is made if there is one. */
void node_moved_judge(struct node *n, struct record **next);

/* ---- node_fit.c -------------------------------------------------------- */

/* Says by gossip whether this node has room for one more replica. */
void node_fit_tick(struct node *n);
/* Members that have none, or have some again; *next is made if there is one. */
void node_fit_judge(struct node *n, struct record **next);

/* ---- node_out.c -------------------------------------------------------- */

/* A voter of group 0 tells its leader who is dead. */
void node_out_tick(struct node *n);
void node_out_reported(struct node *n, const struct peer *p, struct span ids);
/* What group 0's leader would write into the next record: who goes out, who is
 * up again. *next is made as a copy of n->ring if it is NULL and needed. */
void node_out_judge(struct node *n, const struct group *g,
                    struct record **next);

/* T28: where a group counts on a member still, the fold shall start from the
 * group's configuration instead of its row. */
void node_out_keep_rows(const struct node *n, struct record *next,
                        uint16_t slot);

/* ---- node_standing.c --------------------------------------------------- */

void node_standing_tick(struct node *n);
void node_standing_received(struct node *n, struct span list);
/* Groups that count on a member that was sent away, or have not stated yet
 * that they do not. Only where group 0's state is (n->ring). */
uint32_t node_standing_holders(const struct node *n, uint16_t slot);
/* The fewest voters that a partition has, as far as is stated. */
uint32_t node_standing_voters(const struct node *n);
/* What was last stated of a group, or NULL. */
const struct frame_standing *node_standing(const struct node *n,
                                           uint32_t group);
/* A leader has stated it lately. */
bool node_standing_is_led(const struct node *n, uint32_t group);
/* This node leads group 0 for so long that whoever leads a group, and is not
 * cut off, has stated it. */
bool node_standing_is_complete(const struct node *n);
/* A leader lets its group's log bear the epoch that sent somebody away. */
void node_standing_mark(struct node *n, struct group *g);

/* ---- node_admin.c ------------------------------------------------------ */

void node_admin_change(struct node *n, uint64_t connection, uint64_t number,
                       const struct request *r);
/* Makes records of the requests that wait, until one is proposed. */
void node_admin_propose(struct node *n, struct group *g);
void node_admin_applied(struct node *n, const struct item *item,
                        const struct proposal_answer *a);
void node_admin_deposed(struct node *n);

/* ---- node_walk.c ------------------------------------------------------- */

void node_walk_tick(struct node *n);
void node_walk_committed(struct node *n, struct group *g);
void node_walk_invite(struct node *n, struct peer *p, const struct frame *f);
void node_walk_created(struct node *n, const struct extra *e);
void node_walk_asked(struct node *n, struct peer *p, const struct frame *f);
void node_walk_removed(struct node *n, struct peer *p, const struct frame *f);
/* This replica leads, and lacks bytes that a follower needs: another takes
 * over that has all. */
void node_walk_leave(struct node *n, struct group *g);
void node_walk_rank(struct node *n, struct group *g);
/* Gossip sees it dead. */
void node_walk_death(struct node *n, struct peer *p);
void node_walk_replied(struct node *n, struct peer *p, const struct frame *f);
/* To all nodes of the group's row and of the configuration. */
void node_walk_ask_all(struct node *n, const struct frame *f,
                       const struct config *config);

/* A replica of this node goes, by proof: only ids above `least` may come. */
void node_walk_drop(struct node *n, uint32_t id, uint64_t least);

/* ---- node_recover.c ---------------------------------------------------- */

/* Its life is over, and it does not found the next one: it is no copy of what
 * clients know of the group (S7). */
bool node_recover_is_former(const struct group *g);
/* Group 0 is not founded here after all: the operator is told, if he waits. */
void node_recover_give_up(struct node *n, const char *why);
/* The record is another one, or a replica has come: whoever is not of the
 * record's generation is at its end. */
void node_recover_look(struct node *n);
/* A group that has ended: does it found the next generation now? */
void node_recover_turn(struct node *n, struct group *g);
void node_recover_done(struct node *n, const struct extra *x);
/* OP_RECOVER */
void node_recover_ring(struct node *n, uint64_t connection, uint64_t number,
                       struct generation generation);
/* A peer has a newer record than this node. */
void node_recover_heard(struct node *n, struct epoch epoch);
/* A peer whose epoch is of another history. */
void node_recover_clash(struct node *n, const struct peer *p);

/* ---- node_cut.c -------------------------------------------------------- */

void node_cut_applied(struct group *g, const struct item *item);
/* What the log held when it was loaded. */
void node_cut_loaded(const struct node *n, struct group *g);
/* It leads: whom the leader before has invited may hold some of the state. */
void node_cut_led(struct node *n, struct group *g);
/* A learner has answered an invitation. */
void node_cut_answered(struct node *n, struct group *g, struct replica learner,
                       enum err answer);
/* A piece of the group's state is on its way to it. */
void node_cut_given(struct node *n, struct group *g, struct replica learner);
/* NULL: nothing is known of it. */
const struct guest *node_cut_guest(const struct group *g,
                                   struct replica learner);
/* A leader says how far logs may be cut. */
void node_cut_tick(struct node *n, struct group *g);
/* The base that this replica's log should have by now; 0: as it is. */
uint64_t node_cut_next(const struct node *n, const struct group *g);
/* Why the log is cut before a learner has all of it, or is kept for one beyond
 * the bound; NULL: neither. */
const char *node_cut_reason(const struct node *n, const struct group *g);

/* ---- node_install.c ---------------------------------------------------- */

enum err node_install_load(struct node *n, const struct store_replica *r);
enum err node_install_start(struct node *n);
void node_install_free(struct node *n);
void node_install_created(struct node *n, const struct extra *x);
void node_install_invited(struct node *n, struct install *in, struct peer *p,
                          const struct frame *f);
void node_install_blob(struct node *n, struct peer *p, const struct frame *f);
void node_install_rows(struct node *n, struct peer *p, const struct frame *f,
                       uint64_t handle);
void node_install_stored(struct node *n, const struct extra *x);
/* What an invitation of it is answered with (node_walk.c). */
enum err node_install_answer(const struct node *n, const struct install *in);
void node_install_turn(struct node *n);
void node_install_tick(struct node *n);
void node_install_dropped(struct node *n, struct install *in);
const char *node_install_reason(const struct node *n, uint32_t group);
/* Of all of them, for OP_STATUS. */
void node_install_status(const struct node *n, struct buf *out);

/* ---- node_give.c ------------------------------------------------------- */

void node_give_blob(struct node *n, struct peer *p, const struct frame *f);
void node_give_rows(struct node *n, struct peer *p, const struct frame *f);
void node_give_tick(struct node *n);
void node_give_free(struct node *n);

/* ---- node_check.c ------------------------------------------------------ */

void node_check_asked(struct node *n, uint64_t connection, uint64_t number,
                      const struct request *r);
/* A read has found payload that is damaged: all of the copy is gone through. */
void node_check_scan(struct node *n, const struct group *g);
void node_check_turn(struct node *n);
/* An order for a reader that is answered by its ticket, once. */
bool node_reading_take(struct node *n, uint64_t ticket, struct reading *out);
/* The folder, or the disk, is bad: the node ends. */
bool node_reading_is_bad(struct node *n, enum err err);

/* ---- node_mend.c ------------------------------------------------------- */

void node_mend_add(struct node *n, const struct group *g,
                   const struct scrub_damage *damage);
void node_mend_rows(struct node *n, struct peer *p, const struct frame *f,
                    uint64_t handle);
void node_mend_stored(struct node *n, const struct extra *x);
void node_mend_turn(struct node *n);
/* Why rows of the group are not mended yet; NULL: none waits. */
const char *node_mend_reason(const struct node *n, uint32_t group);

#endif
