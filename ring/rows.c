/* rows.c - see rows.h. */
#include "ring/rows.h"

#define ROW_VERSION 1u

/* version, where, flags, entry index, ordinal, offset, time, count */
#define RUN_HEAD_BYTES 27u

enum run_flag {
    RUN_KEYS = 1,       /* each segment is followed by its key hash u64 */
    RUN_ATTRIBUTES = 2, /* ... by the end of its attributes, u16; the
                           attributes stand behind the last segment */
};

static_assert(ENTRY_MANIFEST_BYTES_MAX <= UINT16_MAX,
              "the attributes of an entry are counted by a u16");

/* ---- state rows -------------------------------------------------------- */

void row_key(uint8_t letter, struct position id,
             uint8_t key[ROW_STATE_KEY_BYTES])
{
    key[0] = letter;
    put_be64(key + 1, id.index);
    put_be16(key + 9, id.ordinal);
}

bool row_key_read(struct span key, uint8_t *letter, struct position *id)
{
    if (key.size != ROW_STATE_KEY_BYTES)
        return false;
    *letter = key.data[0];
    id->index = get_be64(key.data + 1);
    id->ordinal = get_be16(key.data + 9);
    return true;
}

struct hash128 row_digest(struct span key, struct span value)
{
    if (key.size == 0 || key.size > ROW_KEY_BYTES_MAX ||
        key.data[0] == ROW_GARBAGE)
        return (struct hash128){0, 0};
    uint8_t both[ROW_KEY_BYTES_MAX + 16];
    struct enc e = enc_of(both, sizeof both);
    enc_bytes(&e, key.data, key.size);
    enc_hash128(&e, hash128(value));
    return hash128(enc_span(&e));
}

void garbage_row_write(const struct garbage_row *row, struct buf *value)
{
    uint8_t *at = buf_grow(value, 11);
    struct enc e = enc_of(at, 11);
    enc_u8(&e, ROW_VERSION);
    enc_u16(&e, row->run_ordinal);
    enc_u32(&e, row->offset);
    enc_u32(&e, row->size);
    ASSERT(e.size == 11);
}

enum err garbage_row_read(struct span key, struct span value,
                          struct garbage_row *out)
{
    uint8_t letter;
    struct position id;
    if (!row_key_read(key, &letter, &id) || letter != ROW_GARBAGE)
        return ERR_CORRUPT;
    struct dec d = dec_of(value);
    if (dec_u8(&d) != ROW_VERSION)
        return ERR_CORRUPT;
    out->entry_index = id.index;
    out->run_ordinal = dec_u16(&d);
    out->offset = dec_u32(&d);
    out->size = dec_u32(&d);
    return dec_done(&d) ? ERR_OK : ERR_CORRUPT;
}

/* ---- runs -------------------------------------------------------------- */

static size_t stride_of(uint8_t flags)
{
    return RUN_SEGMENT_BYTES + (flags & RUN_KEYS ? 8u : 0u) +
           (flags & RUN_ATTRIBUTES ? 2u : 0u);
}

void run_key(struct position stream, uint64_t first_seq,
             uint8_t key[RUN_KEY_BYTES])
{
    put_be64(key, stream.index);
    put_be16(key + 8, stream.ordinal);
    put_be64(key + 10, first_seq);
}

void run_row_write(const struct run_row *row,
                   const struct run_segment *segments, struct buf *value)
{
    unsigned flags = 0;
    size_t attributes_size = 0;
    for (uint32_t i = 0; i < row->count; i++) {
        flags |= segments[i].key_hash != 0 ? RUN_KEYS : 0u;
        flags |= segments[i].attributes.size > 0 ? RUN_ATTRIBUTES : 0u;
        attributes_size += segments[i].attributes.size;
    }
    ASSERT(row->count > 0 && attributes_size <= UINT16_MAX);
    size_t size = RUN_HEAD_BYTES + row->count * stride_of((uint8_t)flags) +
                  attributes_size;
    struct enc e = enc_of(buf_grow(value, size), size);
    enc_u8(&e, ROW_VERSION);
    enc_u8(&e, row->where);
    enc_u8(&e, (uint8_t)flags);
    enc_u64(&e, row->entry_index);
    enc_u16(&e, row->ordinal);
    enc_u32(&e, row->offset);
    enc_u64(&e, row->time_ms);
    enc_u16(&e, row->count);
    uint32_t end = row->offset;
    size_t attributes_end = 0;
    for (uint32_t i = 0; i < row->count; i++) {
        end += segments[i].size;
        attributes_end += segments[i].attributes.size;
        enc_u32(&e, end);
        enc_u8(&e, segments[i].algorithm);
        enc_hash128(&e, segments[i].checksum);
        if (flags & RUN_KEYS)
            enc_u64(&e, segments[i].key_hash);
        if (flags & RUN_ATTRIBUTES)
            enc_u16(&e, (uint16_t)attributes_end);
    }
    for (uint32_t i = 0; i < row->count; i++)
        enc_bytes(&e, segments[i].attributes.data, segments[i].attributes.size);
    ASSERT(e.size == size);
}

static struct dec segment_at(const struct run_row *row, uint32_t i)
{
    size_t stride = stride_of(row->flags);
    return dec_of(span_of(row->segments.data + i * stride, stride));
}

/* Where the attributes of the i-th segment end; the row has some. */
static uint16_t attributes_end_at(const struct run_row *row, uint32_t i)
{
    struct dec d = segment_at(row, i);
    (void)dec_bytes(&d, d.size - 2);
    return dec_u16(&d);
}

/* Ends ascend, and the attributes' last end is their size. */
static bool ends_fit(const struct run_row *row)
{
    uint32_t end = row->offset;
    uint16_t attributes_end = 0;
    for (uint32_t i = 0; i < row->count; i++) {
        struct dec d = segment_at(row, i);
        uint32_t next = dec_u32(&d);
        if (next < end)
            return false;
        end = next;
        if (!(row->flags & RUN_ATTRIBUTES))
            continue;
        uint16_t attributes_next = attributes_end_at(row, i);
        if (attributes_next < attributes_end)
            return false;
        attributes_end = attributes_next;
    }
    return end <= ENTRY_PAYLOAD_BYTES_MAX &&
           attributes_end == row->attributes.size;
}

enum err run_row_read(struct span key, struct span value, struct run_row *out)
{
    if (key.size != RUN_KEY_BYTES)
        return ERR_CORRUPT;
    out->stream.index = get_be64(key.data);
    out->stream.ordinal = get_be16(key.data + 8);
    out->first_seq = get_be64(key.data + 10);
    struct dec d = dec_of(value);
    if (dec_u8(&d) != ROW_VERSION)
        return ERR_CORRUPT;
    out->where = dec_u8(&d);
    out->flags = dec_u8(&d);
    out->entry_index = dec_u64(&d);
    out->ordinal = dec_u16(&d);
    out->offset = dec_u32(&d);
    out->time_ms = dec_u64(&d);
    out->count = dec_u16(&d);
    if (out->count == 0 || out->count > ENTRY_COMMANDS_MAX ||
        (out->flags & ~(RUN_KEYS | RUN_ATTRIBUTES)) != 0 ||
        out->first_seq > UINT64_MAX - out->count)
        return ERR_CORRUPT;
    out->segments = dec_bytes(&d, out->count * stride_of(out->flags));
    out->attributes = dec_bytes(&d, dec_left(&d));
    return !d.is_bad && ends_fit(out) ? ERR_OK : ERR_CORRUPT;
}

bool run_row_segment(const struct run_row *row, uint32_t i,
                     struct run_segment *out)
{
    if (i >= row->count)
        return false;
    out->seq = row->first_seq + i;
    out->offset = row->offset;
    if (i > 0) {
        struct dec before = segment_at(row, i - 1);
        out->offset = dec_u32(&before);
    }
    struct dec d = segment_at(row, i);
    out->size = dec_u32(&d) - out->offset;
    out->algorithm = dec_u8(&d);
    out->checksum = dec_hash128(&d);
    out->key_hash = row->flags & RUN_KEYS ? dec_u64(&d) : 0;
    out->attributes = (struct span){NULL, 0};
    if (row->flags & RUN_ATTRIBUTES) {
        uint16_t begin = i > 0 ? attributes_end_at(row, i - 1) : 0;
        out->attributes = span_of(row->attributes.data + begin,
                                  (size_t)attributes_end_at(row, i) - begin);
    }
    return true;
}

/* ---- runs on their way to another replica ------------------------------ */

void moved_row_put(struct buf *out, struct span key, struct span value,
                   uint32_t run_bytes)
{
    ASSERT(key.size == RUN_KEY_BYTES && value.size <= UINT32_MAX);
    size_t size = 4 + RUN_KEY_BYTES + 4 + value.size;
    struct enc e = enc_of(buf_grow(out, size), size);
    enc_u32(&e, run_bytes);
    enc_bytes(&e, key.data, key.size);
    enc_u32(&e, (uint32_t)value.size);
    enc_bytes(&e, value.data, value.size);
    ASSERT(e.size == size);
}

void moved_begin(struct moved_iter *it, struct span rows)
{
    *it = (struct moved_iter){.d = dec_of(rows)};
}

/* Where the bytes of the row's last segment end in its run. */
static uint32_t row_end(const struct run_row *row)
{
    struct run_segment last;
    bool is_there = run_row_segment(row, row->count - 1u, &last);
    ASSERT(is_there);
    return last.offset + last.size;
}

bool moved_next(struct moved_iter *it, struct moved_row *out)
{
    if (dec_left(&it->d) == 0)
        return false;
    uint32_t run_bytes = dec_u32(&it->d);
    out->key = dec_bytes(&it->d, RUN_KEY_BYTES);
    out->value = dec_bytes(&it->d, dec_u32(&it->d));
    if (it->d.is_bad || run_bytes > ENTRY_PAYLOAD_BYTES_MAX ||
        run_row_read(out->key, out->value, &out->row) != ERR_OK) {
        dec_fail(&it->d);
        return false;
    }
    struct position run = {out->row.entry_index, out->row.ordinal};
    out->is_new_run = run_bytes > 0;
    if (out->is_new_run) {
        it->run = run;
        it->run_at = (uint32_t)it->payload_bytes;
        it->run_bytes = run_bytes;
        it->payload_bytes += run_bytes;
    }
    bool is_at_hand = position_equal(run, it->run);
    out->run_at = is_at_hand ? it->run_at : 0;
    out->run_bytes = is_at_hand ? it->run_bytes : 0;
    if (row_end(&out->row) > out->run_bytes || it->payload_bytes > UINT32_MAX)
        dec_fail(&it->d);
    return !it->d.is_bad;
}

static bool row_is_intact(const struct moved_row *m, struct span payload)
{
    struct run_segment s;
    for (uint32_t i = 0; run_row_segment(&m->row, i, &s); i++) {
        struct span bytes =
            span_of(payload.data + m->run_at + s.offset, s.size);
        struct hash128 found = hash128(bytes);
        if (s.algorithm != CHECKSUM_XXH3_128 || found.lo != s.checksum.lo ||
            found.hi != s.checksum.hi)
            return false;
    }
    return true;
}

bool moved_verify(struct span rows, struct span payload)
{
    struct moved_iter it;
    struct moved_row m;
    moved_begin(&it, rows);
    while (moved_next(&it, &m))
        if (it.payload_bytes > payload.size || !row_is_intact(&m, payload))
            return false;
    return dec_done(&it.d) && it.payload_bytes == payload.size;
}

/* ---- images ------------------------------------------------------------ */

void image_put(struct buf *images, const struct image *image)
{
    ASSERT(image->key.size <= ROW_KEY_BYTES_MAX);
    ASSERT(image->value.size <= UINT32_MAX);
    ASSERT(!image->is_delete || image->value.size == 0);
    size_t size = 3 + image->key.size + 4 + image->value.size;
    struct enc e = enc_of(buf_grow(images, size), size);
    enc_u8(&e, (uint8_t)image->space);
    enc_u8(&e, image->is_delete);
    enc_u8(&e, (uint8_t)image->key.size);
    enc_bytes(&e, image->key.data, image->key.size);
    enc_u32(&e, (uint32_t)image->value.size);
    enc_bytes(&e, image->value.data, image->value.size);
    ASSERT(e.size == size);
}

bool image_next(struct dec *d, struct image *out)
{
    if (dec_left(d) == 0)
        return false;
    uint8_t space = dec_u8(d);
    uint8_t is_delete = dec_u8(d);
    uint8_t key_size = dec_u8(d);
    out->key = dec_bytes(d, key_size);
    out->value = dec_bytes(d, dec_u32(d));
    if (space < ROW_STATE || space > ROW_INDEX || is_delete > 1 ||
        key_size > ROW_KEY_BYTES_MAX || (is_delete && out->value.size > 0))
        dec_fail(d);
    out->space = (enum row_space)space;
    out->is_delete = is_delete == 1;
    return !d->is_bad;
}
