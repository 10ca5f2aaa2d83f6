/* state.c - see state.h. */
#include "ring/state.h"

#include <stdlib.h>

#define ROW_VERSION 1u

/* version, first seq, next seq, bytes, created, changed, producers, length */
#define STREAM_ROW_FIXED_BYTES 47u

static_assert(STREAM_NAME_MAX <= UINT8_MAX, "a name's size is a byte");

/* ---- finding ----------------------------------------------------------- */

struct producer_key {
    struct position stream;
    struct span name;
};

static bool stream_has_id(const void *value, const void *key)
{
    const struct stream *s = value;
    return position_equal(s->id, *(const struct position *)key);
}

static bool stream_has_name(const void *value, const void *key)
{
    return span_equal(stream_name(value), *(const struct span *)key);
}

static bool producer_has_id(const void *value, const void *key)
{
    const struct producer *p = value;
    return position_equal(p->id, *(const struct position *)key);
}

static bool producer_has_name(const void *value, const void *key)
{
    const struct producer *p = value;
    const struct producer_key *k = key;
    return position_equal(p->stream, k->stream) &&
           span_equal(producer_name(p), k->name);
}

struct stream *state_stream(const struct state *st, struct position id)
{
    return map_find(&st->streams_by_id, position_hash(id), stream_has_id, &id);
}

struct stream *state_stream_named(const struct state *st, struct span name)
{
    return map_find(&st->streams_by_name, hash64(name), stream_has_name, &name);
}

struct producer *state_producer(const struct state *st, struct position id)
{
    return map_find(&st->producers_by_id, position_hash(id), producer_has_id,
                    &id);
}

uint64_t state_name_hash(struct position stream, struct span name)
{
    return hash64(name) ^ position_hash(stream);
}

struct producer *state_producer_named(const struct state *st,
                                      struct position stream, struct span name)
{
    struct producer_key key = {stream, name};
    return map_find(&st->producers_by_name, state_name_hash(stream, name),
                    producer_has_name, &key);
}

/* ---- the digest -------------------------------------------------------- */

static void digest_add(struct state *st, struct hash128 h)
{
    st->digest.lo += h.lo;
    st->digest.hi += h.hi;
}

static void digest_subtract(struct state *st, struct hash128 h)
{
    st->digest.lo -= h.lo;
    st->digest.hi -= h.hi;
}

/* ---- streams ----------------------------------------------------------- */

static struct stream *insert_stream(struct state *st, struct position id,
                                    struct span name)
{
    ASSERT(name.size > 0 && name.size <= STREAM_NAME_MAX);
    struct stream *s = mem_alloc(sizeof *s + name.size);
    s->id = id;
    s->name_size = (uint8_t)name.size;
    memcpy(s->name, name.data, name.size);
    map_insert(&st->streams_by_id, position_hash(id), s);
    map_insert(&st->streams_by_name, hash64(name), s);
    if (st->stream_count == st->stream_capacity) {
        size_t grown = st->stream_capacity == 0 ? 16 : st->stream_capacity * 2;
        st->streams = mem_resize(st->streams, grown * sizeof *st->streams);
        st->stream_capacity = grown;
    }
    st->streams[st->stream_count++] = s;
    return s;
}

struct stream *state_add_stream(struct state *st, struct position id,
                                struct span name)
{
    struct stream *s = insert_stream(st, id, name);
    state_touch_stream(st, s);
    return s;
}

void state_touch_stream(struct state *st, struct stream *s)
{
    if (s->is_touched)
        return;
    s->is_touched = true;
    if (st->touched_stream_count == st->touched_stream_capacity) {
        size_t grown = st->touched_stream_capacity + 16;
        st->touched_streams = mem_resize(st->touched_streams,
                                         grown * sizeof *st->touched_streams);
        st->touched_stream_capacity = grown;
    }
    st->touched_streams[st->touched_stream_count++] = s;
}

static int compare_names(const void *a, const void *b)
{
    const struct stream *const *s = a;
    const struct stream *const *t = b;
    return span_compare(stream_name(*s), stream_name(*t));
}

/* How many of the first `count` streams have a name below this one's. */
static size_t count_below(const struct state *st, size_t count,
                          const struct stream *s)
{
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_names(&st->streams[middle], &s) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Sorts the new ones, then merges them in from the last name down, so that a
 * listing after one CREATE costs one search and one move. */
struct stream *const *state_sorted(struct state *st)
{
    size_t fresh = st->stream_count - st->sorted;
    if (fresh == 0)
        return st->streams;
    struct stream **tail =
        mem_copy(st->streams + st->sorted, fresh * sizeof *tail);
    qsort(tail, fresh, sizeof *tail, compare_names);
    size_t head = st->sorted;
    for (size_t i = fresh; i > 0; i--) {
        size_t at = count_below(st, head, tail[i - 1]);
        memmove(st->streams + at + i, st->streams + at,
                (head - at) * sizeof *tail);
        st->streams[at + i - 1] = tail[i - 1];
        head = at;
    }
    mem_free(tail);
    st->sorted = st->stream_count;
    return st->streams;
}

/* ---- producers --------------------------------------------------------- */

static struct producer_list *list_of(struct state *st, const struct producer *p)
{
    if (p->is_closed)
        return &st->closed;
    return p->is_unnamed ? &st->unnamed : &st->named;
}

static void insert_producer(struct state *st, struct producer *p)
{
    map_insert(&st->producers_by_id, position_hash(p->id), p);
    if (!p->is_closed)
        map_insert(&st->producers_by_name,
                   state_name_hash(p->stream, producer_name(p)), p);
    producer_list_add(list_of(st, p), p);
}

static void touch_producer(struct state *st, struct producer *p)
{
    if (p->is_touched)
        return;
    p->is_touched = true;
    if (st->touched_producer_count == st->touched_producer_capacity) {
        size_t grown = st->touched_producer_capacity + 16;
        st->touched_producers = mem_resize(
            st->touched_producers, grown * sizeof *st->touched_producers);
        st->touched_producer_capacity = grown;
    }
    st->touched_producers[st->touched_producer_count++] = p;
}

struct producer *state_add_producer(struct state *st, struct position id,
                                    struct stream *stream, struct span name,
                                    bool is_unnamed)
{
    struct producer *p = producer_new(id, stream->id, name);
    p->is_unnamed = is_unnamed;
    insert_producer(st, p);
    touch_producer(st, p);
    stream->producers++;
    state_touch_stream(st, stream);
    return p;
}

void state_use_producer(struct state *st, struct producer *p,
                        struct position used, uint64_t time_ms)
{
    p->used = used;
    p->used_ms = time_ms;
    touch_producer(st, p);
    producer_list_remove(list_of(st, p), p);
    producer_list_add(list_of(st, p), p);
}

/* Its name no longer leads to it, and its stream counts one less. */
static void retire(struct state *st, struct producer *p)
{
    struct producer_key key = {p->stream, producer_name(p)};
    void *removed =
        map_remove(&st->producers_by_name, state_name_hash(p->stream, key.name),
                   producer_has_name, &key);
    ASSERT(removed == p);
    producer_list_remove(list_of(st, p), p);
    struct stream *stream = state_stream(st, p->stream);
    if (stream == NULL)
        return;
    stream->producers--;
    state_touch_stream(st, stream);
}

void state_close_producer(struct state *st, struct producer *p)
{
    ASSERT(!p->is_closed);
    retire(st, p);
    p->is_closed = true;
    producer_list_add(&st->closed, p);
    touch_producer(st, p);
}

void state_evict_producer(struct state *st, struct producer *p,
                          struct buf *images)
{
    ASSERT(!p->is_touched);
    if (p->is_closed)
        producer_list_remove(&st->closed, p);
    else
        retire(st, p);
    map_remove(&st->producers_by_id, position_hash(p->id), producer_has_id,
               &p->id);
    uint8_t key[ROW_STATE_KEY_BYTES];
    row_key(ROW_PRODUCER, p->id, key);
    struct image image = {
        .space = ROW_STATE, .key = span_of(key, sizeof key), .is_delete = true};
    image_put(images, &image);
    digest_subtract(st, p->row_digest);
    producer_free(p);
}

/* ---- rows -------------------------------------------------------------- */

static void write_stream(const struct stream *s, struct buf *value)
{
    size_t size = STREAM_ROW_FIXED_BYTES + s->name_size;
    struct enc e = enc_of(buf_grow(value, size), size);
    enc_u8(&e, ROW_VERSION);
    enc_u64(&e, s->first_seq);
    enc_u64(&e, s->next_seq);
    enc_u64(&e, s->bytes);
    enc_u64(&e, s->created_ms);
    enc_u64(&e, s->changed_ms);
    enc_u32(&e, s->producers);
    enc_string(&e, stream_name(s));
    ASSERT(e.size == size);
}

static enum err load_stream(struct state *st, struct position id,
                            struct span value, struct hash128 digest)
{
    struct dec d = dec_of(value);
    uint8_t version = dec_u8(&d);
    uint64_t first_seq = dec_u64(&d);
    uint64_t next_seq = dec_u64(&d);
    uint64_t bytes = dec_u64(&d);
    uint64_t created_ms = dec_u64(&d);
    uint64_t changed_ms = dec_u64(&d);
    uint32_t producers = dec_u32(&d);
    struct span name = dec_string(&d);
    if (!dec_done(&d) || version != ROW_VERSION || name.size == 0 ||
        name.size > STREAM_NAME_MAX || first_seq > next_seq ||
        st->stream_count >= STREAMS_PER_GROUP_MAX ||
        state_stream(st, id) != NULL || state_stream_named(st, name) != NULL)
        return ERR_CORRUPT;
    struct stream *s = insert_stream(st, id, name);
    s->first_seq = first_seq;
    s->next_seq = next_seq;
    s->bytes = bytes;
    st->bytes += bytes;
    s->created_ms = created_ms;
    s->changed_ms = changed_ms;
    s->producers = producers;
    s->row_digest = digest;
    digest_add(st, digest);
    return ERR_OK;
}

static enum err load_producer(struct state *st, struct position id,
                              struct span value, struct hash128 digest)
{
    struct producer *p = producer_row_read(id, value);
    if (p == NULL)
        return ERR_CORRUPT;
    struct span name = producer_name(p);
    size_t count = p->is_closed ? st->closed.count : state_open_producers(st);
    size_t most = p->is_closed ? PRODUCERS_CLOSED_MAX : PRODUCERS_PER_GROUP_MAX;
    if (count >= most || state_producer(st, id) != NULL ||
        (!p->is_closed && state_producer_named(st, p->stream, name) != NULL)) {
        producer_free(p);
        return ERR_CORRUPT;
    }
    p->row_digest = digest;
    insert_producer(st, p);
    digest_add(st, digest);
    return ERR_OK;
}

enum err state_load(struct state *st, struct span key, struct span value)
{
    uint8_t letter;
    struct position id;
    struct garbage_row garbage;
    if (!row_key_read(key, &letter, &id))
        return ERR_CORRUPT;
    st->is_loaded = true;
    switch (letter) {
    case ROW_STREAM:
        return load_stream(st, id, value, row_digest(key, value));
    case ROW_PRODUCER:
        return load_producer(st, id, value, row_digest(key, value));
    case ROW_GARBAGE:
        return garbage_row_read(key, value, &garbage);
    }
    return ERR_CORRUPT;
}

void state_settle(struct state *st)
{
    if (!st->is_loaded)
        return;
    producer_list_sort(&st->named);
    producer_list_sort(&st->unnamed);
    producer_list_sort(&st->closed);
    st->is_loaded = false;
}

/* The value is in `scratch`; `digest` is the row's share until now. */
static void flush_row(struct state *st, uint8_t letter, struct position id,
                      struct hash128 *digest, struct buf *images)
{
    uint8_t key[ROW_STATE_KEY_BYTES];
    row_key(letter, id, key);
    struct image image = {.space = ROW_STATE,
                          .key = span_of(key, sizeof key),
                          .value = span_buf(&st->scratch)};
    image_put(images, &image);
    digest_subtract(st, *digest);
    *digest = row_digest(image.key, image.value);
    digest_add(st, *digest);
}

void state_flush(struct state *st, struct buf *images)
{
    for (size_t i = 0; i < st->touched_stream_count; i++) {
        struct stream *s = st->touched_streams[i];
        s->is_touched = false;
        buf_clear(&st->scratch);
        write_stream(s, &st->scratch);
        flush_row(st, ROW_STREAM, s->id, &s->row_digest, images);
    }
    for (size_t i = 0; i < st->touched_producer_count; i++) {
        struct producer *p = st->touched_producers[i];
        p->is_touched = false;
        buf_clear(&st->scratch);
        producer_row_write(p, &st->scratch);
        flush_row(st, ROW_PRODUCER, p->id, &p->row_digest, images);
    }
    st->touched_stream_count = 0;
    st->touched_producer_count = 0;
}

/* ---- the whole --------------------------------------------------------- */

static void free_list(struct producer_list *l)
{
    while (l->oldest != NULL) {
        struct producer *p = l->oldest;
        producer_list_remove(l, p);
        producer_free(p);
    }
}

void state_free(struct state *st)
{
    for (size_t i = 0; i < st->stream_count; i++)
        mem_free(st->streams[i]);
    mem_free(st->streams);
    free_list(&st->named);
    free_list(&st->unnamed);
    free_list(&st->closed);
    map_free(&st->streams_by_id);
    map_free(&st->streams_by_name);
    map_free(&st->producers_by_id);
    map_free(&st->producers_by_name);
    mem_free(st->touched_streams);
    mem_free(st->touched_producers);
    buf_free(&st->scratch);
    *st = (struct state){0};
}

static void check_list(const struct state *st, const struct producer_list *l,
                       struct hash128 *digest)
{
    size_t count = 0;
    for (const struct producer *p = l->oldest; p != NULL; p = p->newer) {
        count++;
        producer_check(p);
        ASSERT(!p->is_touched);
        ASSERT(p->newer != NULL ? p->newer->older == p : l->newest == p);
        ASSERT(st->is_loaded || p->newer == NULL ||
               position_compare(p->used, p->newer->used) < 0);
        ASSERT(state_producer(st, p->id) == p);
        ASSERT((state_producer_named(st, p->stream, producer_name(p)) == p) ==
               !p->is_closed);
        digest->lo += p->row_digest.lo;
        digest->hi += p->row_digest.hi;
    }
    ASSERT(count == l->count);
}

void state_check(const struct state *st)
{
    struct hash128 digest = {0, 0};
    size_t producers = 0;
    uint64_t bytes = 0;
    for (size_t i = 0; i < st->stream_count; i++) {
        const struct stream *s = st->streams[i];
        ASSERT(!s->is_touched && s->first_seq <= s->next_seq);
        ASSERT(state_stream(st, s->id) == s);
        ASSERT(state_stream_named(st, stream_name(s)) == s);
        ASSERT(i == 0 || i >= st->sorted ||
               compare_names(&st->streams[i - 1], &st->streams[i]) < 0);
        producers += s->producers;
        bytes += s->bytes;
        digest.lo += s->row_digest.lo;
        digest.hi += s->row_digest.hi;
    }
    check_list(st, &st->named, &digest);
    check_list(st, &st->unnamed, &digest);
    check_list(st, &st->closed, &digest);
    ASSERT(producers == state_open_producers(st));
    ASSERT(bytes == st->bytes);
    ASSERT(st->streams_by_id.count == st->stream_count);
    ASSERT(st->streams_by_name.count == st->stream_count);
    ASSERT(st->producers_by_name.count == producers);
    ASSERT(st->producers_by_id.count == producers + st->closed.count);
    ASSERT(digest.lo == st->digest.lo && digest.hi == st->digest.hi);
}
