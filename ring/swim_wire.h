/* swim_wire.h - the bytes of SWIM's packets. Knows no rules of the protocol.
 *
 * All little-endian; the outer message names cluster, sender and receiver.
 *
 *     kind u8 | seq u32 | target 16, PING_REQ only
 *     sender: boot u64, version u32, address string, meta string
 *     claims, to the end of the packet:
 *       id 16, boot u64, version u32, state u8, then
 *       ALIVE: address string, meta string;  SUSPECT, DEAD: by 16
 *
 * A string is a u16 length and its bytes. An address is printable ASCII
 * without blanks, or empty: "as before". There is one encoding of a packet:
 * what decodes encodes to the same bytes. */
#ifndef RING_SWIM_WIRE_H
#define RING_SWIM_WIRE_H

#include "ring/codec.h"
#include "ring/swim.h"

enum swim_kind {
    SWIM_PING = 1,     /* answer with ACK and my seq */
    SWIM_PING_REQ = 2, /* ping `target` for me; ACK or NACK with my seq */
    SWIM_ACK = 3,
    SWIM_NACK = 4, /* I am here, but `target` has not answered me yet */
    SWIM_SYNC = 5, /* (part of) all I know; tell me all you know */
    SWIM_STATE = 6 /* (part of) all I know */
};

struct swim_claim {
    struct id128 id;
    uint64_t boot;
    uint32_t version;
    enum swim_state state;
    struct id128 by;     /* SUSPECT, DEAD */
    struct span address; /* ALIVE */
    struct span meta;    /* ALIVE */
};

#define SWIM_CLAIM_BYTES_MIN (16u + 8u + 4u + 1u + 2u + 2u)
#define SWIM_CLAIMS_MAX      (SWIM_BYTES_MAX / SWIM_CLAIM_BYTES_MIN)

struct swim_packet {
    enum swim_kind kind;
    uint32_t seq;
    struct id128 target;      /* PING_REQ */
    struct swim_claim sender; /* ALIVE; its id is not in the packet */
    struct swim_claim claims[SWIM_CLAIMS_MAX];
    size_t claim_count;
};

/* Everything before the claims; then one claim. */
void swim_wire_head(struct enc *e, const struct swim_packet *packet);
void swim_wire_claim(struct enc *e, const struct swim_claim *claim);
size_t swim_wire_claim_size(const struct swim_claim *claim);

/* Spans borrow from `bytes`. False if it is no packet; what `packet` holds is
 * then undefined. */
NODISCARD bool swim_wire_decode(struct span bytes, struct swim_packet *packet);

#endif
