/* cmd_view.h - the ring as its members tell it: the record, and every member's
 * view of itself, asked all at once and put together.
 *
 * No node knows the whole; who leads a group says how its replicas are, and
 * where several claim to, the highest term counts. */
#ifndef TOOLS_CMD_VIEW_H
#define TOOLS_CMD_VIEW_H

#include "net/eddy.h"
#include "net/status.h"
#include "ring/record.h"

/* By slot. */
struct cmd_view_node {
    bool is_asked; /* members that have not left are */
    bool has_answered;
    bool is_denied;       /* our key may not look at it */
    struct buf bytes;     /* the answer; `self` borrows from it */
    struct status self;   /* if has_answered */
    int64_t ahead_ms;     /* its clock of ours, less the answer's way */
    uint32_t leaders;     /* partitions that it leads, and is ready to */
    uint32_t replicas;    /* partitions that it keeps, by its own word */
    uint32_t rows;        /* partitions that the table gives it */
    uint32_t quarantined; /* groups */
    uint32_t seen_alive, seen_dead; /* by the others that answered */
    uint64_t dead_ms;               /* since when, by who has known longest */
};

/* By group, as its leader tells. */
struct cmd_view_group {
    bool has_leader;
    uint16_t leader;       /* slot */
    struct status_group g; /* if has_leader; borrows from the node's bytes */
};

/* A replica that a node says it is installing. */
struct cmd_view_transfer {
    uint16_t to;              /* slot */
    struct status_transfer t; /* borrows from the node's bytes */
};

struct cmd_view {
    struct record *record;
    uint64_t confirmed_ms; /* since group 0 confirmed it to someone; or
                              UINT64_MAX */
    struct cmd_view_node nodes[MEMBERS_MAX];
    struct cmd_view_group groups[GROUPS_MAX];
    struct cmd_view_transfer *transfers;
    size_t transfer_count, transfer_capacity;
};

/* Asks; members that do not answer within wait_ms are down to us, and those
 * that most of the others see dead, sooner. NULL: the
 * record could not be had, *err and eddy_reason say why; or EDDY_DENIED: no
 * member lets this key look at it. */
struct cmd_view *cmd_view_take(struct eddy *e, uint32_t wait_ms,
                               enum eddy_error *err);
void cmd_view_free(struct cmd_view *v); /* NULL is accepted */

/* What the node says of its replica of a group, if that is being installed;
 * NULL: it is not, or the node has not answered. Borrowed. */
const struct cmd_view_transfer *
cmd_view_transfer(const struct cmd_view *v, uint32_t group, struct id128 node);

/* Group 0 keeps the seat of a member that is out, where five voters would
 * become three without it (ring/placement.h): no copy is missed there. */
bool cmd_view_is_kept_seat(const struct cmd_view *v, uint32_t group,
                           struct id128 node);

/* By slot: dead for out-after and yet not on its way out, as others have gone
 * within the hour, or one of its zone (T27). False if there are none. */
bool cmd_view_held(const struct cmd_view *v, bool is_held[MEMBERS_MAX]);

/* What a member says of a group that it hosts; false: it does not, or has not
 * answered. */
bool cmd_view_replica(const struct cmd_view *v, uint16_t slot, uint32_t group,
                      struct status_group *out);
/* The group as its leader tells it, or else the newest configuration that any
 * of its replicas does; false: nobody who answers keeps a copy. */
bool cmd_view_config(const struct cmd_view *v, uint32_t group,
                     struct status_group *out);

enum cmd_view_level { VIEW_NOTE, VIEW_WARN, VIEW_ERROR };

/* What is not as it should be. */
struct cmd_view_finding {
    const char *code; /* stable: scripts may look for it */
    enum cmd_view_level level;
    uint32_t count;
    uint64_t since_ms; /* how long ago it began; UINT64_MAX: not known */
    char text[320];    /* what it is, and what to do */
};
#define CMD_VIEW_FINDINGS_MAX 16u
size_t cmd_view_findings(const struct cmd_view *v,
                         struct cmd_view_finding *out);

/* Nothing is under way or missing: what `eddy ring wait` waits for; without
 * `with_balance` leaders may sit anywhere. Else the first reason is in
 * `text`. */
bool cmd_view_is_settled(const struct cmd_view *v, bool with_balance,
                         char text[256]);
/* The last of its reasons alone: each leads its share, or one more. */
bool cmd_view_is_balanced(const struct cmd_view *v, char text[256]);

/* A member's name, or words that say that it is none. */
const char *cmd_view_name(const struct cmd_view *v, struct id128 node);
/* "partition 2" (that is group 3), "the ring's group"; returns `text`. */
#define CMD_VIEW_GROUP_SIZE 24u
char *cmd_view_group_name(uint32_t group, char text[CMD_VIEW_GROUP_SIZE]);

/* 8 hex digits. */
void cmd_view_short_id(struct id128 node, char text[9]);

#endif
