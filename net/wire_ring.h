/* wire_ring.h - the parts of messages that are about the ring record; shared by
 * the files of the codec, for them alone (net/wire.h has the types). */
#ifndef NET_WIRE_RING_H
#define NET_WIRE_RING_H

#include "net/wire.h"
#include "ring/codec.h"

/* The body of a CHANGE request behind its op. */
void wire_ring_put_change(struct enc *e, const struct request *r);
void wire_ring_get_change(struct dec *d, struct request *out);
/* What is left of a STANDING frame: at least one, and nothing else. */
struct span wire_ring_get_standings(struct dec *d);

#endif
