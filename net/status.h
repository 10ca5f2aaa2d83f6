/* status.h - a node's own view of itself, as bytes in OP_STATUS's response.
 *
 * Tag-length-value (ring/codec.h): one SELF, then MEMBERs, GROUPs and
 * TRANSFERs in any number. It grows in two ways: by new tags, which readers
 * skip, and by fields at the end of a value, which readers that do not know
 * them leave unread. A view is what this node knows; the CLI asks every member
 * and puts the views together. */
#ifndef NET_STATUS_H
#define NET_STATUS_H

#include "ring/record.h"
#include "ring/swim.h"

struct status_replica {
    struct id128 node;
    uint64_t added;
    bool is_voter;
    bool is_live;   /* answered within an election timeout (leader's view) */
    uint64_t match; /* leader's view; else 0 */
};

struct status_group {
    uint32_t group;
    bool is_leader;
    bool is_ready; /* leader with an own-term commit */
    bool is_quarantined;
    struct id128 leader; /* known leader; zero: none */
    uint64_t term;
    uint64_t commit;
    uint64_t applied;
    uint64_t last;
    uint64_t config_index;
    uint32_t replica_count; /* of the committed configuration */
    struct status_replica replicas[REPLICAS_MAX];
    uint64_t streams;
    uint64_t bytes;
    struct span reason; /* why it waits; empty: it does not */
    struct generation generation;
    uint64_t last_term; /* of the entry `last` */
};

/* Of a replica that comes by transfer, at the node that it comes to. */
enum status_transfer_state {
    TRANSFER_STATE_WAITING = 1,  /* others of this node come first */
    TRANSFER_STATE_BLOB = 2,     /* the group's state is pulled ... */
    TRANSFER_STATE_STORING = 3,  /* ... and stored */
    TRANSFER_STATE_SEGMENTS = 4, /* segments are pulled */
    TRANSFER_STATE_SWITCHING = 5,
};

struct status_transfer {
    uint32_t group;
    uint64_t added; /* of the replica */
    enum status_transfer_state state;
    struct id128 from; /* asked last; zero: nobody yet */
    uint64_t bytes;
    uint64_t total;   /* about; 0: not known yet */
    uint64_t rate;    /* bytes a second, of the last seconds */
    uint64_t idle_ms; /* since the last that came */
    struct span reason;
};

struct status_member {
    uint16_t slot;
    uint8_t state;       /* enum swim_state as this node sees it */
    uint64_t since_ms;   /* how long ago it became so */
    struct span address; /* peers' address in use */
};

struct status {
    struct id128 node;
    struct span name;
    struct span version;
    uint64_t boot;
    struct epoch epoch;
    uint64_t confirmed_ms; /* how long ago group 0 confirmed it; UINT64_MAX:
                              not since the start */
    uint64_t uptime_ms;
    uint64_t map_bytes, map_used, disk_bytes, disk_free;
    bool is_full; /* refuses appends for space */
    bool is_ready;
    uint64_t commits;       /* flush cycles done */
    uint64_t commit_us_p99; /* of the last some hundred */
    uint64_t dropped;       /* messages refused, of all kinds */
    uint64_t appends;       /* commands judged OK here as leader */
    uint64_t reads;
    uint64_t
        damaged;     /* rows whose payload is damaged here and not mended yet */
    uint64_t mended; /* ... and those that were, since its start */
    uint64_t wall_ms; /* its clock, since 1970 */
};

/* Each appends to `out`: status_write first, then members and groups in any
 * number and order. */
void status_write(struct buf *out, const struct status *s);
void status_write_member(struct buf *out, const struct status_member *m);
void status_write_group(struct buf *out, const struct status_group *g);
void status_write_transfer(struct buf *out, const struct status_transfer *t);
/* Reads SELF and checks all the rest. BAD_REQUEST. Spans borrow. */
NODISCARD enum err status_read(struct span bytes, struct status *out);
/* The next of the kind asked, skipping others; the walk begins with
 * dec_of(bytes), of bytes that status_read has accepted. */
bool status_next_member(struct dec *d, struct status_member *out);
bool status_next_group(struct dec *d, struct status_group *out);
bool status_next_transfer(struct dec *d, struct status_transfer *out);

#endif
