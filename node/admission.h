/* admission.h - how a node that is not a member yet speaks to the ring: as a
 * client, with the join key, on members' client ports. */
#ifndef NODE_ADMISSION_H
#define NODE_ADMISSION_H

#include "net/keys.h"
#include "node/config.h"
#include "ring/record.h"

/* Puts the addresses of `to` (HOST:PORT, comma-separated; empty: those in the
 * key) in the place of the key's contacts. Their public keys come from the
 * key's contacts at the same address; an unknown address takes the first
 * contact's key. BAD_REQUEST. */
NODISCARD enum err admission_contacts(struct keys *key, const char *to,
                                      char *reason);

/* The record, from the first contact that answers. TIMEOUT: none did;
 * DENIED: the key is not (or no longer) the cluster's. *out is the caller's. */
NODISCARD enum err admission_fetch(const struct keys *key, bool is_insecure,
                                   struct record **out, char *reason);

/* Would it let such a node in? CONFLICT: the name is taken; INCOMPATIBLE: this
 * binary is too old. */
NODISCARD enum err admission_check(const struct record *r,
                                   const struct node_config *c, char *reason);

/* Asks to be let in until a record has the member; that record is *out (an
 * old one is freed). TIMEOUT; CONFLICT; FORGOTTEN; INCOMPATIBLE. */
NODISCARD enum err admission_join(const struct keys *key, bool is_insecure,
                                  const struct member *member,
                                  struct record **out, char *reason);

#endif
