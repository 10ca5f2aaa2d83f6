/* codec.h - little-endian bytes, in and out, without allocation.
 *
 * Both ends are cursors with a sticky failure, so that a coder is a straight
 * list of calls with one check at its end. An encoder that has run out of
 * room goes on counting: with capacity 0 it measures.
 *
 * Growth: where more fields are likely later, tag-length-value is used (tag
 * u16, length u32); a decoder skips tags that it does not know. */
#ifndef RING_CODEC_H
#define RING_CODEC_H

#include "ring/base.h"

struct enc {
    uint8_t *data;
    size_t capacity;
    size_t size; /* bytes wanted so far; > capacity: did not fit */
};

static inline struct enc enc_of(void *data, size_t capacity)
{
    return (struct enc){data, capacity, 0};
}
static inline bool enc_fits(const struct enc *e)
{
    return e->size <= e->capacity;
}
static inline struct span enc_span(const struct enc *e)
{
    return (struct span){e->data, e->size};
}
/* Room for `size` more bytes; NULL if they do not fit (they are counted). */
static inline uint8_t *enc_room(struct enc *e, size_t size)
{
    size_t at = e->size;
    ASSERT(size <= SIZE_MAX - at);
    e->size = at + size;
    return e->size <= e->capacity ? e->data + at : NULL;
}

static inline void enc_le(struct enc *e, uint64_t v, size_t width)
{
    uint8_t *p = enc_room(e, width);
    if (p == NULL)
        return;
/* Unrolled, the bytes become one store (and one load below): measured on rows
 * of producers, a third of the time of an entry with one append. */
#pragma GCC unroll 8
    for (size_t i = 0; i < width; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

/* Inline, as the coders of hot frames are little but these: a heartbeat's
 * codec took a third of a calm cluster's time as calls. */
static inline void enc_u8(struct enc *e, uint8_t v)
{
    enc_le(e, v, 1);
}
static inline void enc_u16(struct enc *e, uint16_t v)
{
    enc_le(e, v, 2);
}
static inline void enc_u32(struct enc *e, uint32_t v)
{
    enc_le(e, v, 4);
}
static inline void enc_u64(struct enc *e, uint64_t v)
{
    enc_le(e, v, 8);
}
static inline void enc_bytes(struct enc *e, const void *data, size_t size)
{
    uint8_t *p = enc_room(e, size);
    if (p != NULL && size > 0)
        memcpy(p, data, size);
}
static inline void enc_id(struct enc *e, struct id128 id)
{
    enc_bytes(e, id.bytes, 16);
}
void enc_epoch(struct enc *e, struct epoch epoch); /* 16 bytes */
/* 12 bytes */
static inline void enc_generation(struct enc *e, struct generation g)
{
    enc_u32(e, g.counter);
    enc_u64(e, g.random);
}
void enc_hash128(struct enc *e, struct hash128 h); /* lo, hi */
/* u16 length, then the bytes (at most 65,535; more is a mistake of the caller:
 * asserted). */
void enc_string(struct enc *e, struct span s);
/* A tag whose length is filled in by enc_tag_end. Returns where it began. */
size_t enc_tag_begin(struct enc *e, uint16_t tag);
void enc_tag_end(struct enc *e, size_t began);

struct dec {
    const uint8_t *data;
    size_t size;
    size_t at;
    bool is_bad; /* once set, every further read gives zeros */
};

static inline struct dec dec_of(struct span s)
{
    return (struct dec){s.data, s.size, 0, false};
}
static inline size_t dec_left(const struct dec *d)
{
    return d->is_bad ? 0 : d->size - d->at;
}
/* Nothing bad, and everything read. */
static inline bool dec_done(const struct dec *d)
{
    return !d->is_bad && d->at == d->size;
}
/* The next `size` bytes; NULL when bad. */
static inline const uint8_t *dec_take(struct dec *d, size_t size)
{
    if (d->is_bad || size > d->size - d->at) {
        d->is_bad = true;
        return NULL;
    }
    const uint8_t *p = d->data + d->at;
    d->at += size;
    return p;
}

static inline uint64_t dec_le(struct dec *d, size_t width)
{
    const uint8_t *p = dec_take(d, width);
    if (p == NULL)
        return 0;
    uint64_t v = 0;
#pragma GCC unroll 8
    for (size_t i = 0; i < width; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static inline uint8_t dec_u8(struct dec *d)
{
    return (uint8_t)dec_le(d, 1);
}
static inline uint16_t dec_u16(struct dec *d)
{
    return (uint16_t)dec_le(d, 2);
}
static inline uint32_t dec_u32(struct dec *d)
{
    return (uint32_t)dec_le(d, 4);
}
static inline uint64_t dec_u64(struct dec *d)
{
    return dec_le(d, 8);
}
/* Borrowed from the input; empty when bad. */
static inline struct span dec_bytes(struct dec *d, size_t size)
{
    const uint8_t *p = dec_take(d, size);
    return p == NULL ? (struct span){NULL, 0} : (struct span){p, size};
}
static inline struct id128 dec_id(struct dec *d)
{
    struct id128 id = {{0}};
    const uint8_t *p = dec_take(d, 16);
    if (p != NULL)
        memcpy(id.bytes, p, 16);
    return id;
}
struct epoch dec_epoch(struct dec *d);
static inline struct generation dec_generation(struct dec *d)
{
    struct generation g;
    g.counter = dec_u32(d);
    g.random = dec_u64(d);
    return g;
}
struct hash128 dec_hash128(struct dec *d);
struct span dec_string(struct dec *d);
/* The next tag and its value; false at the end or when bad. */
bool dec_tag(struct dec *d, uint16_t *tag, struct dec *value);
/* What the caller found to be senseless: fails the decoder. */
static inline void dec_fail(struct dec *d)
{
    d->is_bad = true;
}

/* Big-endian, for keys whose memcmp order is their order. */
void put_be16(uint8_t *at, uint16_t v);
void put_be32(uint8_t *at, uint32_t v);
void put_be64(uint8_t *at, uint64_t v);
uint16_t get_be16(const uint8_t *at);
uint32_t get_be32(const uint8_t *at);
uint64_t get_be64(const uint8_t *at);

#endif
