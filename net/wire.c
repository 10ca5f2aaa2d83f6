/* wire.c - the message itself: header, inline part, payload. What stands in
 * the inline part is wire_frame.c's (nodes) and wire_client.c's (clients). */
#include "net/wire.h"

#include "ring/codec.h"

#define HEADER_FIELDS_BYTES 96u
#define INLINE_BYTES_AT     88u

static_assert(WIRE_HEADER_BYTES == HEADER_FIELDS_BYTES + 4,
              "a header ends with the process it is for");
static_assert(WIRE_HEADER_BYTES < MESSAGE_BYTES_MAX, "a header fits a message");

/* ---- out --------------------------------------------------------------- */

void wire_out_free(struct wire_out *o)
{
    buf_free(&o->bytes);
    mem_free(o->slices);
    *o = (struct wire_out){0};
}

void wire_out_slice(struct wire_out *o, struct slice s)
{
    ASSERT(s.handle != 0);
    if (o->slice_count == o->slice_capacity) {
        uint32_t grown = o->slice_capacity == 0 ? 16 : o->slice_capacity * 2;
        o->slices = mem_resize(o->slices, grown * sizeof *o->slices);
        o->slice_capacity = grown;
    }
    o->slices[o->slice_count++] = s;
    o->payload_bytes += s.size;
}

size_t wire_out_size(const struct wire_out *o)
{
    return o->bytes.size + o->payload_bytes;
}

static void put_header(struct enc *e, const struct wire_header *h)
{
    enc_u32(e, WIRE_MAGIC);
    enc_u16(e, WIRE_VERSION);
    enc_u16(e, (uint16_t)h->kind);
    enc_id(e, h->cluster);
    enc_id(e, h->from);
    enc_id(e, h->to);
    enc_u64(e, h->boot);
    enc_epoch(e, h->epoch);
    enc_u64(e, h->number);
    enc_u32(e, 0); /* inline bytes: wire_end */
    enc_u32(e, h->nonce);
    enc_u32(e, h->to_nonce);
}

void wire_begin(struct wire_out *o, const struct wire_header *h)
{
    buf_clear(&o->bytes);
    o->slice_count = 0;
    o->payload_bytes = 0;
    struct enc e =
        enc_of(buf_grow(&o->bytes, WIRE_HEADER_BYTES), WIRE_HEADER_BYTES);
    put_header(&e, h);
    ASSERT(e.size == WIRE_HEADER_BYTES);
}

void wire_end(struct wire_out *o)
{
    ASSERT(o->bytes.size >= WIRE_HEADER_BYTES);
    ASSERT(wire_out_size(o) <= MESSAGE_BYTES_MAX);
    struct enc e = enc_of(o->bytes.data + INLINE_BYTES_AT, 4);
    enc_u32(&e, (uint32_t)(o->bytes.size - WIRE_HEADER_BYTES));
}

/* ---- in ---------------------------------------------------------------- */

static bool kind_is_known(uint16_t number)
{
    switch ((enum wire_kind)number) {
    case WIRE_PEER_CONTROL:
    case WIRE_PEER_ENTRIES:
    case WIRE_PEER_TRANSFER:
    case WIRE_REQUEST:
    case WIRE_RESPONSE:
        return true;
    }
    return false;
}

/* Whether the ids are set that this kind of message must have. */
static bool ids_fit(const struct wire_header *h)
{
    bool is_from_node = !id_is_zero(h->from) && h->boot > 0;
    switch (h->kind) {
    case WIRE_PEER_CONTROL:
    case WIRE_PEER_ENTRIES:
    case WIRE_PEER_TRANSFER:
        return is_from_node && !id_is_zero(h->to) && h->number > 0 &&
               !id_is_zero(h->cluster);
    case WIRE_REQUEST:
        return h->nonce == 0 &&
               h->to_nonce == 0; /* its ids: wire_request_read knows */
    case WIRE_RESPONSE:
        return is_from_node && !id_is_zero(h->cluster) && h->nonce == 0 &&
               h->to_nonce == 0;
    }
    return false;
}

enum err wire_read(struct span message, struct wire_in *out)
{
    *out = (struct wire_in){0};
    if (message.size > MESSAGE_BYTES_MAX)
        return ERR_TOO_LARGE;
    struct dec d = dec_of(message);
    uint32_t magic = dec_u32(&d);
    uint16_t version = dec_u16(&d);
    uint16_t kind = dec_u16(&d);
    struct wire_header *h = &out->header;
    h->cluster = dec_id(&d);
    h->from = dec_id(&d);
    h->to = dec_id(&d);
    h->boot = dec_u64(&d);
    h->epoch = dec_epoch(&d);
    h->number = dec_u64(&d);
    h->inline_bytes = dec_u32(&d);
    h->nonce = dec_u32(&d);
    h->to_nonce = dec_u32(&d);
    if (d.is_bad || magic != WIRE_MAGIC || !kind_is_known(kind))
        return ERR_BAD_REQUEST;
    h->kind = (enum wire_kind)kind;
    if (version != WIRE_VERSION)
        return ERR_INCOMPATIBLE;
    if (h->inline_bytes > dec_left(&d) || !ids_fit(h))
        return ERR_BAD_REQUEST;
    out->inline_part = dec_bytes(&d, h->inline_bytes);
    out->payload_at = (uint32_t)d.at;
    out->payload = dec_bytes(&d, dec_left(&d));
    return ERR_OK;
}

enum wire_kind wire_lane_kind(enum wire_lane lane)
{
    switch (lane) {
    case LANE_CONTROL:
        return WIRE_PEER_CONTROL;
    case LANE_ENTRIES:
        return WIRE_PEER_ENTRIES;
    case LANE_TRANSFER:
        break;
    }
    return WIRE_PEER_TRANSFER;
}

bool wire_kind_lane(enum wire_kind kind, enum wire_lane *out)
{
    switch (kind) {
    case WIRE_PEER_CONTROL:
        *out = LANE_CONTROL;
        return true;
    case WIRE_PEER_ENTRIES:
        *out = LANE_ENTRIES;
        return true;
    case WIRE_PEER_TRANSFER:
        *out = LANE_TRANSFER;
        return true;
    case WIRE_REQUEST:
    case WIRE_RESPONSE:
        break;
    }
    return false;
}

struct hash128 wire_checksum(struct span bytes)
{
    return hash128(bytes);
}
