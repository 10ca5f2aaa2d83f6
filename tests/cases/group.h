/* group.h - the world of one Raft group: machines of ring/raft.h with their
 * disks (tests/unit/raft_rig.h), and the network between them as a list of
 * packets that the case delivers, drops, keeps and brings back.
 *
 * After every command the machines are let to work: effects are popped, what
 * waits for a disk is synced (unless that disk is held), appends are pulled.
 * What changed is printed: roles, terms, configurations, commits, answers to
 * reads. An onlooker who knows everything prints VIOLATION where two nodes
 * lead one term, or commit different entries at one index. */
#ifndef TESTS_CASES_GROUP_H
#define TESTS_CASES_GROUP_H

#include "tests/cases/world.h"
#include "tests/unit/raft_rig.h"

#define GROUP_INDEX_MAX 512u
#define GROUP_TERM_MAX  64u
#define GROUP_KEPT_MAX  16u
#define GROUP_READS_MAX 8u

struct group_packet {
    struct raft_msg msg; /* its items are owned */
    size_t from;
    size_t to;
};

/* Entries that a leader has ordered from its disk for a follower, as they were
 * when it ordered them. */
struct group_load {
    size_t node;
    struct replica to;
    struct item **items;
    size_t count;
};

/* What was printed of a node last. */
struct group_shown {
    enum raft_role role;
    uint64_t term;
    uint64_t commit;
    uint64_t config_index;
    bool is_up;
};

struct group {
    struct rig rig;
    struct group_packet *packets; /* in the order in which they were sent */
    size_t packet_count;
    size_t packet_capacity;
    struct {
        char name[24];
        struct group_packet packet;
    } kept[GROUP_KEPT_MAX];
    size_t kept_count;
    struct group_load loads[GROUP_READS_MAX];
    size_t load_count;
    bool is_cut[RIG_NODES][RIG_NODES]; /* from, to */
    bool is_held[RIG_NODES];           /* its disk syncs only when told */
    bool is_reading_late;              /* loads wait until told */
    bool has_heartbeats;               /* they are printed too */
    struct group_shown shown[RIG_NODES];
    /* the onlooker's */
    uint64_t leader_of[GROUP_TERM_MAX]; /* node + 1; 0: none */
    struct {
        uint64_t term; /* 0: not committed */
        char label[24];
    } committed[GROUP_INDEX_MAX];
};

/* Lets the machines work and prints what has changed. */
void group_flow(struct group *g, struct buf *out);
/* Hands a packet over, or says that it is lost. */
void group_hand(struct group *g, const struct group_packet *p, bool is_quiet,
                struct buf *out);
/* The reads that this node has ordered come back; RIG_NODES: all. */
void group_load(struct group *g, size_t node);
/* Takes the i-th packet out of the network; the caller owns its items. */
struct group_packet group_take(struct group *g, size_t i);
struct group_packet group_copy(const struct group_packet *p);
void group_drop(struct group *g, struct group_packet *p);

/* ---- what is printed (group_print.c) ------------------------------------ */

/* What a node has become since this was asked last. */
void group_print_news(struct group *g, size_t node, struct buf *out);
/* "-", "config" or what was proposed: what an entry is to a reader. */
void group_label(const struct item *item, char *label, size_t size);
void group_print_packet(const struct group_packet *p, struct buf *out);
void group_print_config(const struct config *c, struct buf *out);
void group_print_status(const struct group *g, size_t node, struct buf *out);
void group_print_log(const struct group *g, size_t node, struct buf *out);
const char *group_kind_name(enum raft_msg_kind kind);
/* 0: no kind is called so. */
enum raft_msg_kind group_kind(const char *name);

/* ---- commands (group_commands.c) ---------------------------------------- */

bool group_run(void *world, struct line *l, struct buf *out);

#endif
