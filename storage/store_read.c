/* store_read.c - see store_read.h. */
#include "storage/store_read.h"

#include "ring/rule.h"
#include "storage/store_payload.h"

/* Rows and runs that a message has room for. */
#define ROWS_MESSAGE_MAX (MESSAGE_BYTES_MAX - 4 * KIB)

bool store_is_intact(struct span bytes, uint8_t algorithm,
                     struct hash128 checksum)
{
    if (algorithm != CHECKSUM_XXH3_128)
        return false;
    struct hash128 found = hash128(bytes);
    return found.lo == checksum.lo && found.hi == checksum.hi;
}

static size_t grown(size_t capacity)
{
    return capacity == 0 ? 64 : capacity * 2;
}

/* ---- segments ---------------------------------------------------------- */

/* A read of segments under way. */
struct reading {
    const struct store_source *source;
    const struct segments_ticket *ticket;
    struct segments_result *out;
    struct store_place place;
    size_t capacity; /* of out->metas */
    /* Rows from memory: those of this stream begin at least here ... */
    uint64_t memory_least;
    /* ... and the walk goes on where the last hit was, for they ascend. */
    struct dec memory;
    /* The row at hand. */
    struct run_row row;
    bool is_from_memory;
};

/* The row of the ticket's stream that an image is; false: it is none. */
static bool memory_row(const struct reading *r, const struct image *image,
                       struct run_row *out)
{
    return image->space == ROW_INDEX && !image->is_delete &&
           run_row_read(image->key, image->value, out) == ERR_OK &&
           position_equal(out->stream, r->ticket->stream);
}

static void begin_memory(struct reading *r)
{
    r->memory_least = UINT64_MAX;
    r->memory = dec_of(span_buf(&r->ticket->rows));
    struct dec d = r->memory;
    struct image image;
    struct run_row row;
    while (image_next(&d, &image))
        if (memory_row(r, &image, &row))
            r->memory_least = min_u64(r->memory_least, row.first_seq);
}

/* T19: what is applied and not yet stored. */
static bool find_in_memory(struct reading *r, uint64_t seq)
{
    if (seq < r->memory_least)
        return false;
    struct image image;
    for (int pass = 0; pass < 2; pass++) {
        while (image_next(&r->memory, &image))
            if (memory_row(r, &image, &r->row) && r->row.first_seq <= seq &&
                seq - r->row.first_seq < r->row.count)
                return true;
        r->memory = dec_of(span_buf(&r->ticket->rows));
    }
    return false;
}

static enum err find_row(struct reading *r, uint64_t seq)
{
    r->is_from_memory = find_in_memory(r, seq);
    if (r->is_from_memory)
        return ERR_OK;
    struct span key, value;
    enum err err = r->source->index_row(r->source->ctx, r->place,
                                        r->ticket->stream, seq, &key, &value);
    if (err != ERR_OK)
        return err;
    if (run_row_read(key, value, &r->row) != ERR_OK)
        return ERR_DAMAGED;
    return seq - r->row.first_seq < r->row.count ? ERR_OK : ERR_NOT_FOUND;
}

static struct segment_meta *next_meta(struct reading *r)
{
    struct segments_result *out = r->out;
    if (out->count == r->capacity) {
        r->capacity = grown(r->capacity);
        out->metas = mem_resize(out->metas, r->capacity * sizeof *out->metas);
    }
    return &out->metas[out->count];
}

static enum err read_payload(struct reading *r, const struct run_segment *s,
                             uint8_t *to)
{
    struct position at = {r->row.entry_index, r->row.ordinal};
    enum err err = s->size == 0
                       ? ERR_OK
                       : r->source->payload(r->source->ctx, r->place, at,
                                            s->offset, s->size, to);
    /* A stored index row and its payload are swept together, so that one
     * without the other is damage; a row from memory may have outlived it. */
    if (err == ERR_NOT_FOUND && !r->is_from_memory)
        return ERR_CORRUPT;
    if (err == ERR_OK &&
        !store_is_intact(span_of(to, s->size), s->algorithm, s->checksum))
        return ERR_CORRUPT;
    return err;
}

static enum err add_segment(struct reading *r, const struct run_segment *s)
{
    struct segments_result *out = r->out;
    size_t before = out->payload.size;
    enum err err = read_payload(r, s, buf_grow(&out->payload, s->size));
    if (err != ERR_OK) {
        out->payload.size = before;
        return err;
    }
    *next_meta(r) = (struct segment_meta){
        .seq = s->seq,
        .time_ms = r->row.time_ms,
        .key_hash = s->key_hash,
        .checksum = s->checksum,
        .size = s->size,
        .attributes_at = (uint32_t)out->attributes.size,
        .attributes_size = (uint16_t)s->attributes.size,
        .algorithm = s->algorithm,
    };
    buf_append(&out->attributes, s->attributes.data, s->attributes.size);
    out->count++;
    return ERR_OK;
}

static bool has_room(const struct reading *r, const struct run_segment *s)
{
    const struct segments_result *out = r->out;
    if (out->count == 0)
        return true;
    uint64_t bytes = (uint64_t)out->payload.size + out->attributes.size +
                     s->size + s->attributes.size;
    return out->count < r->ticket->count_max && bytes <= r->ticket->bytes_max;
}

/* The segments of the row at hand, from *seq on. False: the ticket is done or
 * has failed. */
static bool read_row(struct reading *r, uint64_t *seq)
{
    struct run_segment s;
    while (*seq < r->ticket->end_seq &&
           run_row_segment(&r->row, (uint32_t)(*seq - r->row.first_seq), &s)) {
        if (!has_room(r, &s))
            return false;
        r->out->err = add_segment(r, &s);
        if (r->out->err != ERR_OK)
            return false;
        ++*seq;
    }
    return *seq < r->ticket->end_seq;
}

void store_read_segments_from(const struct store_source *source,
                              const struct segments_ticket *t,
                              struct segments_result *out)
{
    *out = (struct segments_result){.err = ERR_OK};
    struct reading r = {.source = source,
                        .ticket = t,
                        .out = out,
                        .place = {t->group, t->incarnation}};
    begin_memory(&r);
    uint64_t seq = t->from_seq;
    bool is_going_on = seq < t->end_seq && t->count_max > 0;
    while (is_going_on) {
        out->err = find_row(&r, seq);
        is_going_on = out->err == ERR_OK && read_row(&r, &seq);
    }
    if (out->err != ERR_OK)
        out->bad_seq = seq;
}

/* ---- log --------------------------------------------------------------- */

/* The term that the core expects at an index. */
static uint64_t expected_term(const struct log_ticket *t, uint64_t index)
{
    size_t i = t->run_count;
    while (i > 0 && t->runs[i - 1].first_index > index)
        i--;
    ASSERT(i > 0);
    return t->runs[i - 1].term;
}

/* A manifest whose bytes match their checksum, held against the ticket. */
static enum err check_entry(const struct log_ticket *t, uint64_t index,
                            struct span manifest, uint32_t *payload_bytes)
{
    struct entry_header header;
    if (entry_read_header(manifest, &header) != ERR_OK ||
        header.index != index || header.payload_bytes > ENTRY_PAYLOAD_BYTES_MAX)
        return ERR_DAMAGED;
    *payload_bytes = header.payload_bytes;
    /* T4: another term is another entry, however intact it is. */
    bool is_it = header.term == expected_term(t, index) || !RULE(T4);
    return is_it ? ERR_OK : ERR_NOT_FOUND;
}

static enum err read_runs(const struct store_source *source,
                          struct store_place place, uint64_t index,
                          struct span manifest, struct span payload)
{
    struct store_runs runs;
    struct store_run run;
    enum err err = store_runs_begin(&runs, manifest);
    while (err == ERR_OK && store_runs_next(&runs, &run)) {
        if (run.offset + run.bytes > payload.size)
            return ERR_DAMAGED;
        if (run.bytes > 0)
            err = source->payload(
                source->ctx, place, (struct position){index, run.ordinal}, 0,
                run.bytes, (uint8_t *)payload.data + run.offset);
    }
    /* The log row is there, in the same view. */
    return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
}

static enum err check_payload(struct span manifest, struct span payload)
{
    struct entry_iter it;
    struct command c;
    size_t at = 0;
    if (entry_begin(&it, manifest) != ERR_OK)
        return ERR_DAMAGED;
    while (entry_next(&it, &c)) {
        if (c.kind != COMMAND_APPEND)
            continue;
        if (c.size > payload.size - at)
            return ERR_DAMAGED;
        if (!store_is_intact(span_of(payload.data + at, c.size), c.algorithm,
                             c.checksum))
            return ERR_CORRUPT;
        at += c.size;
    }
    return at == payload.size ? ERR_OK : ERR_DAMAGED;
}

static enum err read_entry_payload(const struct store_source *source,
                                   struct store_place place, uint64_t index,
                                   struct log_result *out,
                                   const struct log_entry *entry)
{
    if (entry->payload_size == 0)
        return ERR_OK;
    /* Once more, out of what was copied: look-ups borrow until the next. */
    struct span manifest =
        span_of(out->manifests.data + entry->manifest_at, entry->manifest_size);
    struct span payload = span_of(buf_grow(&out->payload, entry->payload_size),
                                  entry->payload_size);
    enum err err = read_runs(source, place, index, manifest, payload);
    return err == ERR_OK ? check_payload(manifest, payload) : err;
}

/* One more entry; *is_full, and nothing added: it does not fit. */
static enum err add_entry(const struct store_source *source,
                          const struct log_ticket *t, uint64_t index,
                          struct log_result *out, bool *is_full)
{
    struct store_place place = {t->group, t->incarnation};
    struct span manifest;
    uint32_t payload_bytes = 0;
    enum err err = source->log_row(source->ctx, place, index, &manifest);
    if (err == ERR_OK)
        err = check_entry(t, index, manifest, &payload_bytes);
    if (err != ERR_OK)
        return err;
    uint64_t bytes = (uint64_t)out->manifests.size + out->payload.size +
                     manifest.size + payload_bytes;
    *is_full = out->count > 0 && bytes > t->bytes_max;
    if (*is_full)
        return ERR_OK;
    struct log_entry entry = {(uint32_t)out->manifests.size,
                              (uint32_t)manifest.size,
                              (uint32_t)out->payload.size, payload_bytes};
    buf_append(&out->manifests, manifest.data, manifest.size);
    err = read_entry_payload(source, place, index, out, &entry);
    if (err != ERR_OK) {
        out->manifests.size = entry.manifest_at;
        out->payload.size = entry.payload_at;
        return err;
    }
    out->entries[out->count++] = entry;
    return ERR_OK;
}

void store_read_log_from(const struct store_source *source,
                         const struct log_ticket *t, struct log_result *out)
{
    *out = (struct log_result){.err = ERR_OK};
    size_t capacity = 0;
    bool is_full = false;
    for (uint64_t i = t->first; i <= t->last && !is_full; i++) {
        if (out->count == capacity) {
            capacity = grown(capacity);
            out->entries =
                mem_resize(out->entries, capacity * sizeof *out->entries);
        }
        out->err = add_entry(source, t, i, out, &is_full);
        if (out->err != ERR_OK)
            return;
    }
}

/* ---- transfer ---------------------------------------------------------- */

void store_blob_add(struct buf *images, struct span key, struct span value)
{
    if (key.size > 0 && key.data[0] == ROW_GARBAGE)
        return;
    image_put(images,
              &(struct image){.space = ROW_STATE, .key = key, .value = value});
}

/* A read of index rows under way. */
struct moving {
    const struct store_source *source;
    const struct rows_ticket *ticket;
    struct rows_result *out;
    struct store_place place;
    struct row_cursor cursor;
    struct position run; /* the newest whose bytes are in the result */
};

/* The bytes of the row's run that the result lacks; 0: none. */
static enum err missing_bytes(const struct moving *m, const struct run_row *row,
                              uint32_t *bytes)
{
    struct position run = {row->entry_index, row->ordinal};
    struct run_segment last;
    bool is_there = run_row_segment(row, row->count - 1u, &last);
    ASSERT(is_there);
    *bytes = 0;
    if (last.offset + last.size == 0 || position_equal(run, m->run))
        return ERR_OK;
    enum err err = m->source->run_bytes(m->source->ctx, m->place, run, bytes);
    return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
}

/* One row and, unless the one before it had brought it, its run. */
static enum err move_row(struct moving *m, struct span key, struct span value,
                         const struct run_row *row, uint32_t bytes)
{
    struct rows_result *out = m->out;
    moved_row_put(&out->rows, key, value, bytes);
    out->count++;
    if (bytes == 0)
        return ERR_OK;
    m->run = (struct position){row->entry_index, row->ordinal};
    enum err err = m->source->payload(m->source->ctx, m->place, m->run, 0,
                                      bytes, buf_grow(&out->payload, bytes));
    return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
}

/* A run is not divided: its rows would bring it twice, and what was verified
 * with the first of them would be written over unverified. */
static bool may_take(const struct moving *m, const struct run_row *row,
                     uint64_t bytes)
{
    struct position run = {row->entry_index, row->ordinal};
    uint64_t before = (uint64_t)m->out->rows.size + m->out->payload.size;
    return m->out->count == 0 || before + bytes <= m->ticket->bytes_max ||
           (position_equal(run, m->run) && before + bytes <= ROWS_MESSAGE_MAX);
}

/* The next row that the ticket wants. *is_full: there is one, without room. */
static enum err move_next(struct moving *m, bool *is_full)
{
    struct span key, value;
    struct run_row row;
    enum err err = m->source->next_index_row(m->source->ctx, m->place,
                                             m->cursor, &key, &value);
    if (err != ERR_OK)
        return err;
    if (run_row_read(key, value, &row) != ERR_OK)
        return ERR_DAMAGED;
    if (row.entry_index > m->ticket->index) {
        /* Indexes ascend along a stream: the rest of it comes by log. */
        m->cursor.seq = UINT64_MAX;
        m->cursor.stream = row.stream;
        return ERR_OK;
    }
    uint8_t kept_key[RUN_KEY_BYTES];
    memcpy(kept_key, key.data, RUN_KEY_BYTES);
    /* Look-ups borrow until the next. */
    uint8_t *kept = mem_copy(value.data, value.size);
    struct span copy = span_of(kept, value.size);
    err = run_row_read(span_of(kept_key, RUN_KEY_BYTES), copy, &row);
    uint32_t bytes = 0;
    if (err == ERR_OK)
        err = missing_bytes(m, &row, &bytes);
    *is_full = !may_take(m, &row, copy.size + (uint64_t)bytes);
    if (err == ERR_OK && !*is_full) {
        err = move_row(m, span_of(kept_key, RUN_KEY_BYTES), copy, &row, bytes);
        m->cursor = (struct row_cursor){row.stream, row.first_seq + row.count};
    }
    mem_free(kept);
    return err;
}

void store_read_rows_from(const struct store_source *source,
                          const struct rows_ticket *t, struct rows_result *out)
{
    *out = (struct rows_result){.err = ERR_OK};
    struct moving m = {.source = source,
                       .ticket = t,
                       .out = out,
                       .place = {t->group, t->incarnation},
                       .cursor = t->from};
    struct store_applied_row stored;
    bool is_full = false;
    enum err err = source->applied(source->ctx, m.place, &stored);
    if (err == ERR_OK && stored.index < t->index) /* T23 */
        err = ERR_NOT_FOUND;
    if (err != ERR_OK) {
        out->err = err;
        return;
    }
    while (err == ERR_OK && !is_full)
        err = move_next(&m, &is_full);
    if (err == ERR_NOT_FOUND) /* the last row is behind us */
        err = ERR_OK;
    if (err == ERR_OK &&
        !moved_verify(span_buf(&out->rows), span_buf(&out->payload)))
        err = ERR_CORRUPT;
    if (err != ERR_OK)
        store_rows_free(out);
    out->payload_bytes = (uint32_t)out->payload.size;
    out->err = err;
}
