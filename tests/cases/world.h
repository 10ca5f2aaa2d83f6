/* world.h - what a case plays in: a group of Raft replicas, one partition's
 * state machine, a gossiping cluster, or whole nodes. README.md has the
 * commands.
 *
 * A case's first command begins its world; another beginning ends it and
 * begins anew. Decisions (decisions.h) need no world and are everywhere. */
#ifndef TESTS_CASES_WORLD_H
#define TESTS_CASES_WORLD_H

#include "tests/cases/line.h"

struct world_kind {
    const char *verb; /* that begins it */
    /* NULL: the line made no sense. */
    void *(*begin)(struct line *l, struct buf *out);
    /* False: no such command. */
    bool (*run)(void *world, struct line *l, struct buf *out);
    void (*end)(void *world);
};

extern const struct world_kind world_group;     /* group.c */
extern const struct world_kind world_partition; /* partition.c */
extern const struct world_kind world_gossip;    /* gossip.c */
extern const struct world_kind world_nodes;     /* nodes.c */
extern const struct world_kind world_record;    /* ring_record.c */
extern const struct world_kind world_library;   /* library.c */

#endif
