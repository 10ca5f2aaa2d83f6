/* zap.h - who may connect to which port: the door of ZeroMQ (ZAP, RFC 27).
 *
 * A thread that libzmq asks at each handshake of a CURVE server. It knows two
 * lists of public keys: peers' for the domain "peer", clients' for "client".
 * A key on the list is told to the receiver of each message as its "User-Id"
 * (Z85); others get 300, "not now", since they may be about to join; a 400
 * would stop their sockets for good (PITFALLS B2.8).
 *
 * libzmq lets everyone in while nobody answers (B2.6): start it before the
 * first bind, stop it after the last close. And it judges handshakes only, so
 * that who judges a message looks at its key again (S35). */
#ifndef NET_ZAP_H
#define NET_ZAP_H

#include "ring/record.h"

struct zap;

/* IO: there is no thread or socket to be had. */
NODISCARD enum err zap_start(void *context, struct zap **out);
/* Once zmq_ctx_shutdown has been called on the context. NULL is accepted. */
void zap_stop(struct zap *z);

/* Replaces both lists: keys of KEY_BYTES back to back, copied. Both are empty
 * at first. */
void zap_allow(struct zap *z, struct span peers, struct span clients);

/* Handshakes refused so far. */
uint64_t zap_refused(const struct zap *z);

#endif
