/* found.h - making data folders: `eddyd init` founds a cluster, `eddyd join`
 * makes the folder of one more node. Neither talks to the ring; see
 * admission.h for that. */
#ifndef NODE_FOUND_H
#define NODE_FOUND_H

#include "net/keys.h"
#include "node/config.h"
#include "ring/record.h"

#define FOUND_REASON_SIZE 8192u

/* What init made, for the words to the user. */
struct founded {
    struct id128 cluster;
    struct id128 node;
    char name[NODE_NAME_MAX + 1];
    char client_address[ADDRESS_MAX + 1];
    char public_text[KEY_TEXT_SIZE]; /* its public key, as key files have it */
};

/* A new cluster and its first node's folder. BAD_REQUEST: a setting is
 * senseless; CONFLICT: the folder is used; IO. Nothing is left half-made that
 * `run` would start: the store is written last, in one transaction. */
NODISCARD enum err found_cluster(const struct node_config *c,
                                 struct founded *out, char *reason);

/* The folder of a node that wants to join the cluster of this key. The ring
 * is not asked; `run` will. Same errors. */
NODISCARD enum err found_joiner(const struct node_config *c,
                                const struct keys *join_key,
                                struct founded *out, char *reason);

/* The words for an error of store_lmdb_found or store_lmdb_open. */
void found_store_reason(const struct node_config *c, enum err e, char *reason);

/* The member that this folder stands for, as init or join fixed it. */
NODISCARD enum err found_member(const struct node_config *c, struct id128 node,
                                const struct keys *node_key, struct member *out,
                                char *reason);

#endif
