/* strangers.h - packets that nobody who lives now has sent to whom they
 * reach, and what must come of them: nothing (I27).
 *
 *   old        one is kept and comes again, up to a minute later; to the
 *              addressee's next life, or from the sender's former one; to a
 *              leader that led in another term
 *   misrouted  one reaches another host, too
 *   foreign    of another cluster, whose nodes have taken over addresses
 *   unknown    of this cluster, from a node that it never had
 *   version    of a protocol that this binary does not speak
 *   garbage    any bytes; or the beginning of a packet
 *   flipped    one bit is another
 *
 * An old packet of a sender's present life may well be taken: the node's own
 * rules see to it that it does no harm.
 *
 * On flipped bits: with CURVE, which is the rule, a message with a changed bit
 * does not come through. On an open cluster TCP's 16-bit sum is all there is.
 * So a bit is flipped only where Eddy itself promises to notice: in segments'
 * bytes to and from users (checksum), and in those fields of the header that
 * are compared (magic, kind, cluster, addressee). The inner part of messages
 * and the payload between nodes are the MAC's affair. */
#ifndef TESTS_SIM_STRANGERS_H
#define TESTS_SIM_STRANGERS_H

#include "tests/sim/host.h"
#include "tests/sim/mesh.h"

struct strangers;

struct strangers *strangers_new(struct world *w);
void strangers_free(struct strangers *s);
/* A packet goes out: it may be kept, changed, or come with a stranger's. */
void strangers_pass(struct strangers *s, struct packet *p, uint32_t to);
/* A process has started; it has begun to lead a group. */
void strangers_greet(struct strangers *s, const struct host *h);
void strangers_rise(struct strangers *s, const struct host *h);
/* What a host is about to be fed: true if it must not change anything. */
bool strangers_is_void(struct strangers *s, const struct host *h,
                       struct span message, bool is_peer);

/* A user may get what is no response of a node's. */
bool strangers_may_answer(const struct world *w);
/* Segments served do not match their checksums, and may not: a bit may have
 * been flipped. */
bool strangers_spoil(const struct world *w, const struct response *a,
                     struct span payload);

#endif
