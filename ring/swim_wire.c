/* swim_wire.c - see swim_wire.h. */
#include "ring/swim_wire.h"

static_assert(SWIM_BYTES_MAX >=
                  1 + 4 + 16 + 12 +
                      2 * (2 + ADDRESS_MAX + 2 + SWIM_META_BYTES_MAX) + 29,
              "the largest head and the largest claim fit one packet");

void swim_wire_head(struct enc *e, const struct swim_packet *packet)
{
    ASSERT(packet->sender.boot > 0);
    enc_u8(e, (uint8_t)packet->kind);
    enc_u32(e, packet->seq);
    if (packet->kind == SWIM_PING_REQ)
        enc_id(e, packet->target);
    enc_u64(e, packet->sender.boot);
    enc_u32(e, packet->sender.version);
    enc_string(e, packet->sender.address);
    enc_string(e, packet->sender.meta);
}

void swim_wire_claim(struct enc *e, const struct swim_claim *claim)
{
    ASSERT(claim->state != SWIM_UNSEEN);
    enc_id(e, claim->id);
    enc_u64(e, claim->boot);
    enc_u32(e, claim->version);
    enc_u8(e, (uint8_t)claim->state);
    if (claim->state == SWIM_ALIVE) {
        enc_string(e, claim->address);
        enc_string(e, claim->meta);
    } else {
        enc_id(e, claim->by);
    }
}

size_t swim_wire_claim_size(const struct swim_claim *claim)
{
    struct enc e = enc_of(NULL, 0);
    swim_wire_claim(&e, claim);
    return e.size;
}

/* ---- in ---------------------------------------------------------------- */

static struct span read_address(struct dec *d)
{
    struct span text = dec_string(d);
    if (text.size > ADDRESS_MAX)
        dec_fail(d);
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] <= ' ' || text.data[i] > '~')
            dec_fail(d);
    return text;
}

static struct span read_meta(struct dec *d)
{
    struct span bytes = dec_string(d);
    if (bytes.size > SWIM_META_BYTES_MAX)
        dec_fail(d);
    return bytes;
}

static enum swim_state read_state(struct dec *d)
{
    uint8_t number = dec_u8(d);
    if (number < SWIM_ALIVE || number > SWIM_DEAD) {
        dec_fail(d);
        return SWIM_DEAD;
    }
    return (enum swim_state)number;
}

static enum swim_kind read_kind(struct dec *d)
{
    uint8_t number = dec_u8(d);
    if (number < SWIM_PING || number > SWIM_STATE) {
        dec_fail(d);
        return SWIM_PING;
    }
    return (enum swim_kind)number;
}

static struct swim_claim read_claim(struct dec *d)
{
    struct swim_claim c = {.id = dec_id(d)};
    c.boot = dec_u64(d);
    c.version = dec_u32(d);
    c.state = read_state(d);
    if (c.state == SWIM_ALIVE) {
        c.address = read_address(d);
        c.meta = read_meta(d);
        /* Boot 0 is the life of one never heard of. */
        if (c.boot == 0)
            dec_fail(d);
    } else {
        c.by = dec_id(d);
    }
    return c;
}

bool swim_wire_decode(struct span bytes, struct swim_packet *packet)
{
    if (bytes.size > SWIM_BYTES_MAX)
        return false;
    struct dec d = dec_of(bytes);
    packet->kind = read_kind(&d);
    packet->seq = dec_u32(&d);
    packet->target = (struct id128){{0}};
    if (packet->kind == SWIM_PING_REQ)
        packet->target = dec_id(&d);
    packet->sender = (struct swim_claim){.state = SWIM_ALIVE};
    packet->sender.boot = dec_u64(&d);
    packet->sender.version = dec_u32(&d);
    packet->sender.address = read_address(&d);
    packet->sender.meta = read_meta(&d);
    if (packet->sender.boot == 0)
        dec_fail(&d);
    packet->claim_count = 0;
    while (dec_left(&d) > 0) {
        if (packet->claim_count == SWIM_CLAIMS_MAX)
            return false;
        packet->claims[packet->claim_count++] = read_claim(&d);
    }
    return dec_done(&d);
}
