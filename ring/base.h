/* base.h - the few things every room stands on: spans and buffers, errors,
 * assertions, ids, a seeded generator, a hash map.
 *
 * Nothing here knows of the protocol, of I/O or of a clock. */
#ifndef RING_BASE_H
#define RING_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* ---- our own bugs ------------------------------------------------------ */

/* ASSERT is for *our* bugs: it aborts, in every build, and has no side
 * effect. Bytes from a peer, client, disk or socket are never asserted on. */
#define ASSERT(cond)                                                           \
    ((cond) ? (void)0 : assert_failed(#cond, __FILE__, __LINE__))
#define NODISCARD __attribute__((warn_unused_result))

_Noreturn void assert_failed(const char *cond, const char *file, int line)
    __attribute__((cold));

/* ---- errors ------------------------------------------------------------ */

/* One list for wire, C API and CLI. The number is the wire's: never reuse
 * one. `done` answers "was anything done?": no | yes | ? (unknown).
 * X(NAME, number, done, text) */
#define ERR_LIST(X)                                                            \
    X(OK, 0, "yes", "done")                                                    \
    X(NOT_FOUND, 1, "no", "there is no such thing")                            \
    X(NOT_HERE, 2, "no", "this replica does not have it; ask the leader")      \
    X(MOVED, 3, "no", "another node leads this partition")                     \
    X(TRIMMED, 4, "no", "the segment was trimmed away")                        \
    X(DELETED, 5, "no", "the stream was deleted")                              \
    X(SEALED, 6, "no", "the stream is sealed")                                 \
    X(CONFLICT, 7, "no", "what is there differs from what was expected")       \
    X(OUT_OF_ORDER, 8, "no", "a number before this one is missing")            \
    X(EXPIRED, 9, "?", "the producer or its number is no longer remembered")   \
    X(FENCED, 10, "?", "a newer instance of this producer has taken over")     \
    X(TOO_LARGE, 11, "no", "over a limit of size or count")                    \
    X(NO_SPACE, 12, "no", "the disk or the map is nearly full")                \
    X(BUSY, 13, "no", "too much is waiting; try again later")                  \
    X(UNAVAILABLE, 14, "no", "no quorum, or not enough nodes")                 \
    X(TIMEOUT, 15, "?", "no answer in time; the outcome is unknown")           \
    X(DENIED, 16, "no", "the key has no right to do this")                     \
    X(BAD_REQUEST, 17, "no", "the request makes no sense")                     \
    X(CORRUPT, 18, "no", "the bytes do not match their checksum")              \
    X(INCOMPATIBLE, 19, "no", "the versions do not fit")                       \
    X(FORGOTTEN, 20, "no", "the cluster has removed this node")                \
    X(REFUSED, 21, "no", "refused: it would lose a quorum or data")            \
    /* below: never on the wire */                                             \
    X(IO, 64, "?", "the operating system refused")                             \
    X(DAMAGED, 65, "no", "the data folder is damaged")                         \
    X(IN_USE, 66, "no", "in use by another process")                           \
    X(UNSAFE, 67, "no", "readable by others")

enum err {
#define X(name, number, done, text) ERR_##name = number,
    ERR_LIST(X)
#undef X
};

/* The name ("NOT_FOUND"), the text, and whether anything was done, of an
 * error; of a number that is none: "?" . Static strings. */
const char *err_name(enum err e);
const char *err_text(enum err e);
const char *err_done(enum err e);
/* True if a number from the wire names an error that may stand there. */
bool err_is_wire(uint32_t number);

/* ---- bytes ------------------------------------------------------------- */

/* Borrowed bytes. */
struct span {
    const uint8_t *data;
    size_t size;
};

/* Owned bytes; a zeroed struct is an empty one. */
struct buf {
    uint8_t *data;
    size_t size;
    size_t capacity;
};

/* A slice of a buffer that the shell owns and counts references of. The core
 * never looks inside; `handle` is opaque, 0 is none. */
struct slice {
    uint64_t handle;
    uint32_t offset;
    uint32_t size;
};

static inline struct span span_of(const void *data, size_t size)
{
    return (struct span){data, size};
}
static inline struct span span_str(const char *text)
{
    return (struct span){(const uint8_t *)text, strlen(text)};
}
static inline struct span span_buf(const struct buf *b)
{
    return (struct span){b->data, b->size};
}
bool span_equal(struct span a, struct span b);
/* memcmp order, the shorter first where one is a prefix of the other. */
int span_compare(struct span a, struct span b);

/* Memory is never short in a way we can answer: these abort on failure.
 * Sizes that come from outside are checked against limits.h before. */
void *mem_alloc(size_t size); /* zeroed */
void *mem_resize(void *p, size_t size);
void *mem_copy(const void *data, size_t size);
void mem_free(void *p);

void buf_reserve(struct buf *b, size_t capacity);
void buf_append(struct buf *b, const void *data, size_t size);
/* Append `size` bytes, not set, and return where they begin. */
uint8_t *buf_grow(struct buf *b, size_t size);
void buf_printf(struct buf *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void buf_clear(struct buf *b); /* size 0, memory kept */
void buf_free(struct buf *b);

/* ---- ids, epochs ------------------------------------------------------- */

/* A random 128-bit name of a node or a cluster; all zero is none. */
struct id128 {
    uint8_t bytes[16];
};
static inline bool id_equal(struct id128 a, struct id128 b)
{
    return memcmp(a.bytes, b.bytes, 16) == 0;
}
static inline int id_compare(struct id128 a, struct id128 b)
{
    return memcmp(a.bytes, b.bytes, 16);
}
static inline bool id_is_zero(struct id128 a)
{
    return id_equal(a, (struct id128){{0}});
}
/* 32 hex digits and a NUL into `text`. */
void id_format(struct id128 a, char text[33]);
/* False if `hex` is not 32 hex digits; then *out is not to be used. */
bool id_parse(struct span hex, struct id128 *out);

/* A group's (or the ring's) life: raised only by a forced recovery (T12). */
struct generation {
    uint32_t counter;
    uint64_t random;
};
static inline bool generation_equal(struct generation a, struct generation b)
{
    return a.counter == b.counter && a.random == b.random;
}
/* Two lives that began at one counter: neither is the other's past (T12). */
static inline bool generation_clash(struct generation a, struct generation b)
{
    return a.counter == b.counter && a.random != b.random;
}

/* The number of a ring record. `counter` and `tag` (the first half of the
 * random) are group 0's generation and are compared first. */
struct epoch {
    uint32_t counter;
    uint32_t tag;
    uint64_t number;
};
/* <0, 0, >0 by (counter, number). Two tags at one counter are two histories:
 * epoch_clash says so, and the caller refuses the other (T12). */
int epoch_compare(struct epoch a, struct epoch b);
bool epoch_clash(struct epoch a, struct epoch b);

/* ---- chance ------------------------------------------------------------ */

/* Seeded; the same seed gives the same numbers for ever (splitmix64 into
 * xoshiro256**, Blackman and Vigna 2018). */
struct rng {
    uint64_t s[4];
};
void rng_seed(struct rng *r, uint64_t seed);
uint64_t rng_next(struct rng *r);
/* Uniform in [0, bound), bound > 0. */
uint64_t rng_below(struct rng *r, uint64_t bound);
/* True with `per_mille` in 1000. */
bool rng_chance(struct rng *r, uint32_t per_mille);

/* ---- hashes ------------------------------------------------------------ */

struct hash128 {
    uint64_t lo;
    uint64_t hi;
};
/* XXH3: against rot and for tables, not against forgers (DESIGN 3). */
uint64_t hash64(struct span s);
struct hash128 hash128(struct span s);

/* ---- map --------------------------------------------------------------- */

/* Open addressing over caller-owned values: the map keeps a hash and a
 * pointer. It cannot be iterated, on purpose: an order that depends on hashes
 * must never reach a decision (T35). Keep a list beside it. */
struct map_slot {
    uint64_t hash;
    void *value; /* NULL: empty */
};
struct map {
    struct map_slot *slots;
    size_t count;
    size_t capacity; /* 0 or a power of two */
};
/* True if `value` is the one that `key` names. */
typedef bool (*map_equal_fn)(const void *value, const void *key);

void *map_find(const struct map *m, uint64_t hash, map_equal_fn equal,
               const void *key);
/* The key must not be in the map. */
void map_insert(struct map *m, uint64_t hash, void *value);
/* Returns the value, or NULL if there was none. */
void *map_remove(struct map *m, uint64_t hash, map_equal_fn equal,
                 const void *key);
void map_free(struct map *m); /* not the values */

/* ---- small arithmetic -------------------------------------------------- */

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}
static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

#endif
