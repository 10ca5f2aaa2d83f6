/* base.c - see base.h. */
#include "ring/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

_Noreturn void assert_failed(const char *cond, const char *file, int line)
{
    fprintf(stderr, "%s:%d: broken invariant: %s\n", file, line, cond);
    abort();
}

/* ---- errors ------------------------------------------------------------ */

const char *err_name(enum err e)
{
    switch (e) {
#define X(name, number, done, text)                                            \
    case ERR_##name:                                                           \
        return #name;
        ERR_LIST(X)
#undef X
    }
    return "?";
}

const char *err_text(enum err e)
{
    switch (e) {
#define X(name, number, done, text)                                            \
    case ERR_##name:                                                           \
        return text;
        ERR_LIST(X)
#undef X
    }
    return "?";
}

const char *err_done(enum err e)
{
    switch (e) {
#define X(name, number, done, text)                                            \
    case ERR_##name:                                                           \
        return done;
        ERR_LIST(X)
#undef X
    }
    return "?";
}

bool err_is_wire(uint32_t number)
{
    return number <= ERR_REFUSED;
}

/* ---- bytes ------------------------------------------------------------- */

bool span_equal(struct span a, struct span b)
{
    return a.size == b.size &&
           (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

int span_compare(struct span a, struct span b)
{
    size_t shorter = a.size < b.size ? a.size : b.size;
    int order = shorter == 0 ? 0 : memcmp(a.data, b.data, shorter);
    if (order != 0)
        return order;
    return a.size < b.size ? -1 : a.size > b.size;
}

void *mem_alloc(size_t size)
{
    void *p = calloc(1, size == 0 ? 1 : size);
    ASSERT(p != NULL);
    return p;
}

void *mem_resize(void *p, size_t size)
{
    void *q = realloc(p, size == 0 ? 1 : size);
    ASSERT(q != NULL);
    return q;
}

void *mem_copy(const void *data, size_t size)
{
    void *p = malloc(size == 0 ? 1 : size);
    ASSERT(p != NULL);
    if (size > 0)
        memcpy(p, data, size);
    return p;
}

void mem_free(void *p)
{
    free(p);
}

void buf_reserve(struct buf *b, size_t capacity)
{
    if (capacity <= b->capacity)
        return;
    size_t grown = b->capacity < 64 ? 64 : b->capacity * 2;
    if (grown < capacity)
        grown = capacity;
    b->data = mem_resize(b->data, grown);
    b->capacity = grown;
}

uint8_t *buf_grow(struct buf *b, size_t size)
{
    ASSERT(size <= SIZE_MAX - b->size);
    buf_reserve(b, b->size + size);
    uint8_t *at = b->data + b->size;
    b->size += size;
    return at;
}

void buf_append(struct buf *b, const void *data, size_t size)
{
    if (size == 0)
        return;
    memcpy(buf_grow(b, size), data, size);
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int needed = vsnprintf(NULL, 0, format, args);
    va_end(args);
    ASSERT(needed >= 0);
    buf_reserve(b, b->size + (size_t)needed + 1);
    va_start(args, format);
    (void)vsnprintf((char *)b->data + b->size, (size_t)needed + 1, format,
                    args);
    va_end(args);
    b->size += (size_t)needed;
}

void buf_clear(struct buf *b)
{
    b->size = 0;
}

void buf_free(struct buf *b)
{
    free(b->data);
    *b = (struct buf){0};
}

/* ---- ids, epochs ------------------------------------------------------- */

void id_format(struct id128 a, char text[33])
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 16; i++) {
        text[2 * i] = digits[a.bytes[i] >> 4];
        text[2 * i + 1] = digits[a.bytes[i] & 15];
    }
    text[32] = 0;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool id_parse(struct span hex, struct id128 *out)
{
    if (hex.size != 32)
        return false;
    for (int i = 0; i < 16; i++) {
        int high = hex_digit(hex.data[2 * i]);
        int low = hex_digit(hex.data[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out->bytes[i] = (uint8_t)(high * 16 + low);
    }
    return true;
}

int epoch_compare(struct epoch a, struct epoch b)
{
    if (a.counter != b.counter)
        return a.counter < b.counter ? -1 : 1;
    if (a.number != b.number)
        return a.number < b.number ? -1 : 1;
    return 0;
}

bool epoch_clash(struct epoch a, struct epoch b)
{
    return a.counter == b.counter && a.tag != b.tag;
}

/* ---- chance ------------------------------------------------------------ */

static uint64_t rotate(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

void rng_seed(struct rng *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        seed += 0x9e3779b97f4a7c15u;
        uint64_t z = seed;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        r->s[i] = z ^ (z >> 31);
    }
}

uint64_t rng_next(struct rng *r)
{
    uint64_t *s = r->s;
    uint64_t result = rotate(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

uint64_t rng_below(struct rng *r, uint64_t bound)
{
    ASSERT(bound > 0);
    /* Reject the uneven tail, so that every value is equally likely. */
    uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
    uint64_t x = rng_next(r);
    while (x >= limit)
        x = rng_next(r);
    return x % bound;
}

bool rng_chance(struct rng *r, uint32_t per_mille)
{
    return rng_below(r, 1000) < per_mille;
}

/* ---- hashes ------------------------------------------------------------ */

uint64_t hash64(struct span s)
{
    return XXH3_64bits(s.data, s.size);
}

struct hash128 hash128(struct span s)
{
    XXH128_hash_t h = XXH3_128bits(s.data, s.size);
    return (struct hash128){h.low64, h.high64};
}

/* ---- map --------------------------------------------------------------- */

static size_t probe(const struct map *m, uint64_t hash, map_equal_fn equal,
                    const void *key)
{
    size_t mask = m->capacity - 1;
    size_t at = (size_t)hash & mask;
    while (m->slots[at].value != NULL) {
        if (m->slots[at].hash == hash && equal(m->slots[at].value, key))
            return at;
        at = (at + 1) & mask;
    }
    return SIZE_MAX;
}

void *map_find(const struct map *m, uint64_t hash, map_equal_fn equal,
               const void *key)
{
    if (m->count == 0)
        return NULL;
    size_t at = probe(m, hash, equal, key);
    return at == SIZE_MAX ? NULL : m->slots[at].value;
}

static void place(struct map *m, uint64_t hash, void *value)
{
    size_t mask = m->capacity - 1;
    size_t at = (size_t)hash & mask;
    while (m->slots[at].value != NULL)
        at = (at + 1) & mask;
    m->slots[at] = (struct map_slot){hash, value};
}

void map_insert(struct map *m, uint64_t hash, void *value)
{
    ASSERT(value != NULL);
    if ((m->count + 1) * 4 > m->capacity * 3) {
        struct map old = *m;
        m->capacity = old.capacity == 0 ? 16 : old.capacity * 2;
        m->slots = mem_alloc(m->capacity * sizeof *m->slots);
        for (size_t i = 0; i < old.capacity; i++)
            if (old.slots[i].value != NULL)
                place(m, old.slots[i].hash, old.slots[i].value);
        mem_free(old.slots);
    }
    place(m, hash, value);
    m->count++;
}

void *map_remove(struct map *m, uint64_t hash, map_equal_fn equal,
                 const void *key)
{
    size_t at = m->count == 0 ? SIZE_MAX : probe(m, hash, equal, key);
    if (at == SIZE_MAX)
        return NULL;
    void *value = m->slots[at].value;
    size_t mask = m->capacity - 1;
    m->slots[at].value = NULL;
    m->count--;
    /* Close the gap: whatever follows in the chain is placed again. */
    for (size_t next = (at + 1) & mask; m->slots[next].value != NULL;
         next = (next + 1) & mask) {
        struct map_slot moved = m->slots[next];
        m->slots[next].value = NULL;
        place(m, moved.hash, moved.value);
    }
    return value;
}

void map_free(struct map *m)
{
    mem_free(m->slots);
    *m = (struct map){0};
}
