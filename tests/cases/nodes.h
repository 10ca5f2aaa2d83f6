/* nodes.h - the world of whole nodes: node/'s struct and everything below it,
 * each with the model store as its disk, on a network that takes a
 * millisecond and loses nothing but what is cut. Clients speak the wire, one
 * request a connection.
 *
 * A small driver of struct node, as node/loop.c and tests/sim/host.c are. The
 * only chance is the jitter of election timeouts, seeded by the node's number:
 * without it two candidates of one rank would split their votes for ever. A
 * commit is on the disk a millisecond after it was ordered, unless the disk is
 * held; the core hears of it at once. */
#ifndef TESTS_CASES_NODES_H
#define TESTS_CASES_NODES_H

#include "net/wire.h"
#include "node/node.h"
#include "tests/cases/world.h"
#include "tests/sim/buffers.h"

#define NODES_MAX       7u
#define NODES_TAPS_MAX  8u
#define NODES_NAMES_MAX 32u
#define NODES_ASKED_MAX 512u
#define NODES_GROUPS    17u

struct nodes_packet {
    size_t from, to; /* from NODES_MAX: a client */
    uint64_t at_ms;
    uint64_t connection; /* of a client's request */
    struct buf bytes;
};

/* Packets of a link, copied while it is tapped. */
struct nodes_tap {
    char name[24];
    size_t from, to;
    bool is_open;
    struct nodes_packet *packets;
    size_t count, capacity;
};

struct nodes_read {
    struct node_effect effect;
    uint64_t at_ms;
};

struct nodes_machine {
    struct nodes *world;
    size_t index;
    struct id128 id;
    struct store *store; /* NULL: no disk yet */
    struct store_reader *reader;
    struct store *backup; /* a copy of its folder; NULL: none */
    bool is_member;       /* its folder has a record with it in it */
    struct node *node;    /* NULL: not running */
    struct buffers buffers;
    bool is_paused;
    bool is_held; /* its disk does nothing */
    bool is_deaf; /* ring records do not reach it */
    const struct store_batch *batch;
    uint64_t batch_ms;      /* when it is on the disk */
    uint64_t portions;      /* of applied state that it has stored ... */
    uint64_t portions_seen; /* ... and had when a case began to wait */
    struct nodes_read *reads;
    size_t read_count, read_capacity;
};

/* What a stream or a producer is called in the case. */
struct nodes_name {
    char text[32];
    uint32_t group;
    struct position id;
    uint32_t epoch;
};

/* A request; its number is its place, from 1. */
struct nodes_asked {
    char label[64]; /* what was asked, for an answer that comes late */
    char as[32];    /* what it makes is called so in the case */
    uint32_t group;
    enum command_kind kind; /* of its command; 0: a question */
    bool is_answered;
    bool is_awaited; /* its command waits: the answer needs no label */
    enum err err;    /* answered */
};

struct nodes {
    struct nodes_machine machines[NODES_MAX];
    struct id128 cluster;
    uint32_t copies;
    uint32_t out_after_ms;
    uint32_t log_keep_entries; /* 0: as in production */
    uint64_t now_ms;
    struct nodes_packet *packets; /* in the order in which they were sent */
    size_t packet_count, packet_capacity;
    bool is_cut[NODES_MAX][NODES_MAX];
    struct nodes_tap taps[NODES_TAPS_MAX];
    size_t tap_count;
    struct nodes_name names[NODES_NAMES_MAX];
    size_t name_count;
    struct nodes_asked asked[NODES_ASKED_MAX];
    size_t asked_count;
    uint64_t nonces;
    uint64_t orders;
    struct buf *out; /* of the command that runs */
};

/* The first node of a cluster of `copies` replicas a group. */
void nodes_found(struct nodes *w);
/* Its process starts, on what its disk holds. */
void nodes_start(struct nodes *w, size_t node);
void nodes_crash(struct nodes *w, size_t node);
/* The folder of one that has joined, with the newest record of any node. */
void nodes_put_record(struct nodes *w, size_t node);
struct member nodes_member(const struct nodes *w, size_t node);
/* Goes on to that time, or until the condition holds (then true). */
typedef bool (*nodes_until_fn)(struct nodes *w, uint64_t what);
bool nodes_run(struct nodes *w, uint64_t until_ms, nodes_until_fn is_done,
               uint64_t what);
/* Takes over the bytes; arrives a millisecond later. */
void nodes_send(struct nodes *w, size_t from, size_t to, uint64_t connection,
                struct buf *bytes);
size_t nodes_place(const struct nodes *w, struct id128 id);
void nodes_end(struct nodes *w);
struct nodes_packet nodes_packet_copy(const struct nodes_packet *p);

/* ---- nodes_asks.c: clients ---------------------------------------------- */

/* An answer has come. */
void nodes_answered(struct nodes *w, size_t from, struct span message);
/* Runs the line if it is a request. False: no such command. */
bool nodes_ask(struct nodes *w, struct line *l);
/* Asks for the nodes to be let in, at one time, until they are; false: not all
 * of them are. */
bool nodes_join(struct nodes *w, const size_t *nodes, size_t count);
size_t nodes_leader(const struct nodes *w, uint32_t group);
struct nodes_name *nodes_find_name(struct nodes *w, const char *text);

/* ---- nodes_commands.c ---------------------------------------------------- */

size_t nodes_read_node(struct line *l, uint64_t number);
bool nodes_command(void *world, struct line *l, struct buf *out);

#endif
