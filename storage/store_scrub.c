/* store_scrub.c - reading all of a replica to see whether it is whole, the part
 * that is the same for both stores; ring/scrub.h has the idea. Within one
 * consistent view nothing can be missing because somebody is just changing it:
 * what is not there is damage. */
#include "storage/store_read.h"

/* A piece under way. */
struct scrubbing {
    const struct store_source *source;
    const struct scrub_ticket *ticket;
    struct scrub_result *out;
    struct store_place place;
    struct store_applied_row applied;
    uint64_t bytes; /* read so far */
    bool is_first;  /* no row of the index has been seen yet */
    struct buf scratch;
};

static bool is_full(const struct scrubbing *s)
{
    return s->bytes >= s->ticket->bytes_max ||
           s->out->damage_count == SCRUB_DAMAGES_MAX;
}

/* ---- state ------------------------------------------------------------- */

/* All at once: its rows are of one entry only within one view (T33). */
static enum err scrub_state(struct scrubbing *s)
{
    struct hash128 sum;
    enum err err = s->source->state_digest(s->source->ctx, s->place, &sum);
    if (err != ERR_OK)
        return err;
    s->out->next = (struct scrub_cursor){.phase = SCRUB_LOG};
    return sum.lo == s->applied.digest.lo && sum.hi == s->applied.digest.hi
               ? ERR_OK
               : ERR_DAMAGED;
}

/* ---- log --------------------------------------------------------------- */

/* Entries that are stored as applied: above them the log may end anywhere. One
 * that was cut since the last piece needs no look. */
static enum err scrub_log(struct scrubbing *s)
{
    uint64_t base;
    enum err err = s->source->log_base(s->source->ctx, s->place, &base);
    uint64_t index = max_u64(s->out->next.index, base + 1);
    while (err == ERR_OK && index <= s->applied.index && !is_full(s)) {
        struct span manifest;
        struct entry_header header;
        err = s->source->log_row(s->source->ctx, s->place, index, &manifest);
        if (err == ERR_OK && (entry_read_header(manifest, &header) != ERR_OK ||
                              header.index != index))
            err = ERR_DAMAGED;
        s->bytes += manifest.size;
        index++;
    }
    s->out->next.index = index;
    if (index > s->applied.index)
        s->out->next = (struct scrub_cursor){.phase = SCRUB_ROWS};
    return err == ERR_NOT_FOUND ? ERR_DAMAGED : err;
}

/* ---- rows -------------------------------------------------------------- */

/* OK or CORRUPT is what the segment's bytes are; else the piece has failed. */
static enum err scrub_segment(struct scrubbing *s, struct position run,
                              const struct run_segment *segment)
{
    buf_clear(&s->scratch);
    uint8_t *to = buf_grow(&s->scratch, segment->size);
    enum err err = ERR_OK;
    if (segment->size > 0)
        err = s->source->payload(s->source->ctx, s->place, run, segment->offset,
                                 segment->size, to);
    if (err == ERR_NOT_FOUND) /* the row that leads to it is there */
        return ERR_CORRUPT;
    if (err == ERR_OK &&
        !store_is_intact(span_of(to, segment->size), segment->algorithm,
                         segment->checksum))
        return ERR_CORRUPT;
    return err;
}

static enum err scrub_payload(struct scrubbing *s, const struct run_row *row)
{
    struct position run = {row->entry_index, row->ordinal};
    struct scrub_damage damage = {.stream = row->stream,
                                  .first_seq = row->first_seq,
                                  .count = row->count,
                                  .at = run};
    struct run_segment segment;
    for (uint32_t i = 0; run_row_segment(row, i, &segment); i++) {
        enum err err = scrub_segment(s, run, &segment);
        if (err == ERR_CORRUPT && damage.bad_count++ == 0)
            damage.bad_seq = segment.seq;
        if (err != ERR_OK && err != ERR_CORRUPT)
            return err;
        s->out->sums.bytes += segment.size;
        s->bytes += segment.size;
    }
    if (damage.bad_count == 0)
        return ERR_OK;
    if (s->out->damages == NULL) /* rarely is there any */
        s->out->damages =
            mem_alloc(SCRUB_DAMAGES_MAX * sizeof *s->out->damages);
    s->out->damages[s->out->damage_count++] = damage;
    return ERR_OK;
}

/* Within a stream each row begins where the one before it ends; a stream begins
 * with 0, as long as nothing is ever trimmed. Before the first row of a piece
 * stands what is stored, whatever the cursor says that came with the question.
 */
static enum err check_order(struct scrubbing *s, struct row_cursor cursor,
                            struct position stream, uint64_t first_seq)
{
    uint64_t due = position_equal(cursor.stream, stream) ? cursor.seq : 0;
    enum err err = ERR_OK;
    if (s->is_first && first_seq > 0) {
        struct span key, value;
        struct run_row before;
        err = s->source->index_row(s->source->ctx, s->place, stream,
                                   first_seq - 1, &key, &value);
        if (err == ERR_OK && run_row_read(key, value, &before) != ERR_OK)
            err = ERR_DAMAGED;
        if (err == ERR_OK)
            due = before.first_seq + before.count;
    } else if (s->is_first) {
        due = 0;
    }
    s->is_first = false;
    if (err == ERR_OK && due != first_seq)
        err = ERR_DAMAGED;
    return err == ERR_NOT_FOUND ? ERR_DAMAGED : err;
}

static enum err judge_row(struct scrubbing *s, struct span key,
                          struct span value)
{
    struct row_cursor *cursor = &s->out->next.row;
    struct run_row row;
    if (run_row_read(key, value, &row) != ERR_OK)
        return ERR_DAMAGED;
    enum err err = check_order(s, *cursor, row.stream, row.first_seq);
    if (err != ERR_OK)
        return err;
    s->bytes += key.size + value.size;
    if (row.entry_index > s->ticket->index) {
        /* Indexes ascend along a stream: so is the rest of it. */
        *cursor = (struct row_cursor){row.stream, UINT64_MAX};
        return ERR_OK;
    }
    *cursor = (struct row_cursor){row.stream, row.first_seq + row.count};
    struct scrub_sums sums = {row_digest(key, value), 1, row.count, 0};
    scrub_add(&s->out->sums, &sums);
    return scrub_payload(s, &row);
}

/* NOT_FOUND: there are no more. */
static enum err scrub_row(struct scrubbing *s)
{
    struct span key, value;
    enum err err = s->source->next_index_row(s->source->ctx, s->place,
                                             s->out->next.row, &key, &value);
    if (err != ERR_OK)
        return err;
    /* Look-ups borrow until the next. */
    uint8_t kept_key[RUN_KEY_BYTES];
    memcpy(kept_key, key.data, RUN_KEY_BYTES);
    uint8_t *kept = mem_copy(value.data, value.size);
    err = judge_row(s, span_of(kept_key, RUN_KEY_BYTES),
                    span_of(kept, value.size));
    mem_free(kept);
    return err;
}

static enum err scrub_rows(struct scrubbing *s)
{
    enum err err = ERR_OK;
    while (err == ERR_OK && !is_full(s))
        err = scrub_row(s);
    if (err != ERR_NOT_FOUND)
        return err;
    s->out->next = (struct scrub_cursor){.phase = SCRUB_DONE};
    return ERR_OK;
}

/* ---- a piece ----------------------------------------------------------- */

static enum err scrub_on(struct scrubbing *s)
{
    switch (s->out->next.phase) {
    case SCRUB_STATE:
        return scrub_state(s);
    case SCRUB_LOG:
        return scrub_log(s);
    case SCRUB_ROWS:
        return scrub_rows(s);
    case SCRUB_DONE:
        break;
    }
    return ERR_OK;
}

void store_scrub_from(const struct store_source *source,
                      const struct scrub_ticket *t, struct scrub_result *out)
{
    *out = (struct scrub_result){.next = t->from};
    struct scrubbing s = {.source = source,
                          .ticket = t,
                          .out = out,
                          .place = {t->group, t->incarnation},
                          .is_first = true};
    enum err err = source->applied(source->ctx, s.place, &s.applied);
    if (err == ERR_OK && s.applied.index < t->index)
        err = ERR_NOT_FOUND;
    while (err == ERR_OK && out->next.phase != SCRUB_DONE && !is_full(&s))
        err = scrub_on(&s);
    buf_free(&s.scratch);
    out->err = err;
}
