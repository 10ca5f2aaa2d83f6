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
void enc_u8(struct enc *e, uint8_t v);
void enc_u16(struct enc *e, uint16_t v);
void enc_u32(struct enc *e, uint32_t v);
void enc_u64(struct enc *e, uint64_t v);
void enc_bytes(struct enc *e, const void *data, size_t size);
void enc_id(struct enc *e, struct id128 id);
void enc_epoch(struct enc *e, struct epoch epoch);       /* 16 bytes */
void enc_generation(struct enc *e, struct generation g); /* 12 bytes */
void enc_hash128(struct enc *e, struct hash128 h);       /* lo, hi */
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
uint8_t dec_u8(struct dec *d);
uint16_t dec_u16(struct dec *d);
uint32_t dec_u32(struct dec *d);
uint64_t dec_u64(struct dec *d);
/* Borrowed from the input; empty when bad. */
struct span dec_bytes(struct dec *d, size_t size);
struct id128 dec_id(struct dec *d);
struct epoch dec_epoch(struct dec *d);
struct generation dec_generation(struct dec *d);
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
