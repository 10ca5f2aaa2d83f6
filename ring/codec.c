/* codec.c - see codec.h. */
#include "ring/codec.h"

void enc_epoch(struct enc *e, struct epoch epoch)
{
    enc_u32(e, epoch.counter);
    enc_u32(e, epoch.tag);
    enc_u64(e, epoch.number);
}

void enc_hash128(struct enc *e, struct hash128 h)
{
    enc_u64(e, h.lo);
    enc_u64(e, h.hi);
}

void enc_string(struct enc *e, struct span s)
{
    ASSERT(s.size <= UINT16_MAX);
    enc_u16(e, (uint16_t)s.size);
    enc_bytes(e, s.data, s.size);
}

size_t enc_tag_begin(struct enc *e, uint16_t tag)
{
    enc_u16(e, tag);
    enc_u32(e, 0);
    return e->size;
}

void enc_tag_end(struct enc *e, size_t began)
{
    ASSERT(began >= 4 && began <= e->size);
    if (!enc_fits(e))
        return;
    size_t length = e->size - began;
    for (size_t i = 0; i < 4; i++)
        e->data[began - 4 + i] = (uint8_t)(length >> (8 * i));
}

/* ---- in ---------------------------------------------------------------- */

struct epoch dec_epoch(struct dec *d)
{
    struct epoch e;
    e.counter = dec_u32(d);
    e.tag = dec_u32(d);
    e.number = dec_u64(d);
    return e;
}

struct hash128 dec_hash128(struct dec *d)
{
    struct hash128 h;
    h.lo = dec_u64(d);
    h.hi = dec_u64(d);
    return h;
}

struct span dec_string(struct dec *d)
{
    uint16_t size = dec_u16(d);
    return dec_bytes(d, size);
}

bool dec_tag(struct dec *d, uint16_t *tag, struct dec *value)
{
    if (dec_left(d) == 0)
        return false;
    *tag = dec_u16(d);
    uint32_t length = dec_u32(d);
    *value = dec_of(dec_bytes(d, length));
    return !d->is_bad;
}

/* ---- keys -------------------------------------------------------------- */

static void put_be(uint8_t *at, uint64_t v, size_t width)
{
    for (size_t i = 0; i < width; i++)
        at[i] = (uint8_t)(v >> (8 * (width - 1 - i)));
}

static uint64_t get_be(const uint8_t *at, size_t width)
{
    uint64_t v = 0;
    for (size_t i = 0; i < width; i++)
        v = v << 8 | at[i];
    return v;
}

void put_be16(uint8_t *at, uint16_t v)
{
    put_be(at, v, 2);
}

void put_be32(uint8_t *at, uint32_t v)
{
    put_be(at, v, 4);
}

void put_be64(uint8_t *at, uint64_t v)
{
    put_be(at, v, 8);
}

uint16_t get_be16(const uint8_t *at)
{
    return (uint16_t)get_be(at, 2);
}

uint32_t get_be32(const uint8_t *at)
{
    return (uint32_t)get_be(at, 4);
}

uint64_t get_be64(const uint8_t *at)
{
    return get_be(at, 8);
}
