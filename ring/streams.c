/* streams.c - see streams.h. The judgement: at apply, and at admission. */
#include "ring/streams.h"

#include <inttypes.h>

#include "ring/overlay.h"
#include "ring/rule.h"
#include "ring/state.h"

struct streams {
    struct state state;
    struct overlay overlay;
    uint64_t applied; /* 0: nothing since the start */
};

struct streams *streams_new(void)
{
    return mem_alloc(sizeof(struct streams));
}

void streams_free(struct streams *s)
{
    if (s == NULL)
        return;
    overlay_clear(&s->overlay);
    state_free(&s->state);
    mem_free(s);
}

enum err streams_load(struct streams *s, struct span key, struct span value)
{
    ASSERT(s->applied == 0);
    return state_load(&s->state, key, value);
}

/* ---- the judgement of an append ---------------------------------------- */

/* What the state says of an append. */
struct judgement {
    struct stream *stream;     /* NULL: unknown */
    struct producer *producer; /* NULL: unknown in this stream */
    bool is_final;             /* no later entry can change it */
};

static struct judgement look_up(const struct streams *s,
                                const struct command *c)
{
    struct judgement j = {.stream = state_stream(&s->state, c->stream)};
    struct producer *p = state_producer(&s->state, c->producer);
    if (p != NULL && position_equal(p->stream, c->stream))
        j.producer = p;
    return j;
}

static enum err judge_expected(const struct command *c, uint64_t next_seq)
{
    return c->expected_seq == SEQ_ANY || c->expected_seq == next_seq
               ? ERR_OK
               : ERR_CONFLICT;
}

/* An epoch above the producer's was given by a state that is not this one's
 * past: this producer is not the one meant. */
static enum err judge_epoch(uint32_t epoch, uint32_t newest)
{
    if (epoch > newest)
        return ERR_EXPIRED;
    return epoch < newest && RULE(S19B) ? ERR_FENCED : ERR_OK;
}

static enum err judge_number(const struct command *c, struct judgement *j,
                             struct verdict *v)
{
    const struct producer *p = j->producer;
    enum number_case found = producer_judge(p, c->number, c->checksum, &v->seq);
    v->next_number = p->next_number;
    j->is_final = true;
    switch (found) {
    case NUMBER_OLD:
        v->is_duplicate = !RULE(T9);
        return RULE(T9) ? ERR_EXPIRED : ERR_OK;
    case NUMBER_DIFFERS:
        v->is_duplicate = !RULE(S19C);
        return RULE(S19C) ? ERR_CONFLICT : ERR_OK;
    case NUMBER_KNOWN:
        v->is_duplicate = true;
        return ERR_OK;
    case NUMBER_GAP:
    case NUMBER_NEXT:
        break;
    }
    if (p->is_closed)
        return ERR_EXPIRED;
    j->is_final = false;
    return found == NUMBER_GAP ? ERR_OUT_OF_ORDER : ERR_OK;
}

static enum err judge_append(const struct streams *s, const struct command *c,
                             struct judgement *j, struct verdict *v,
                             bool with_number)
{
    if (j->stream == NULL) {
        j->is_final = c->stream.index <= s->applied;
        return ERR_NOT_FOUND;
    }
    v->next_seq = j->stream->next_seq;
    enum err expected = judge_expected(c, j->stream->next_seq);
    if (!RULE(S20) && expected != ERR_OK)
        return expected;
    if (j->producer == NULL) {
        j->is_final = c->producer.index <= s->applied;
        return RULE(S19A) ? ERR_EXPIRED : ERR_OK;
    }
    enum err err = judge_epoch(c->producer_epoch, j->producer->epoch);
    if (err != ERR_OK) {
        j->is_final = err == ERR_FENCED;
        return err;
    }
    if (with_number)
        err = judge_number(c, j, v);
    if (err != ERR_OK || v->is_duplicate)
        return err;
    return expected;
}

/* ---- applying ---------------------------------------------------------- */

/* One entry on its way through; a run of it, and a row of that run. */
struct applying {
    struct streams *s;
    const struct entry_header *header;
    struct buf *images;
    bool is_in_run;
    struct position run_stream;
    uint16_t run_ordinal;
    uint32_t run_offset;
    struct run_row row; /* count 0: none begun */
    struct run_segment segments[ENTRY_COMMANDS_MAX];
};

static void end_row(struct applying *a)
{
    if (a->row.count == 0)
        return;
    struct state *st = &a->s->state;
    uint8_t key[RUN_KEY_BYTES];
    run_key(a->row.stream, a->row.first_seq, key);
    buf_clear(&st->scratch);
    run_row_write(&a->row, a->segments, &st->scratch);
    struct image image = {.space = ROW_INDEX,
                          .key = span_of(key, sizeof key),
                          .value = span_buf(&st->scratch)};
    image_put(a->images, &image);
    a->row.count = 0;
}

static void end_run(struct applying *a)
{
    end_row(a);
    a->is_in_run = false;
}

/* The payload of an append goes behind those of its run. */
static void enter_run(struct applying *a, const struct command *c)
{
    if (a->is_in_run && position_equal(a->run_stream, c->stream))
        return;
    end_run(a);
    a->is_in_run = true;
    a->run_stream = c->stream;
    a->run_ordinal = c->ordinal;
    a->run_offset = 0;
}

static void add_segment(struct applying *a, const struct command *c,
                        uint64_t seq, uint64_t time_ms)
{
    if (a->row.count == 0)
        a->row = (struct run_row){.stream = c->stream,
                                  .first_seq = seq,
                                  .entry_index = a->header->index,
                                  .ordinal = a->run_ordinal,
                                  .offset = a->run_offset,
                                  .time_ms = time_ms};
    a->segments[a->row.count++] =
        (struct run_segment){.seq = seq,
                             .offset = a->run_offset,
                             .size = c->size,
                             .algorithm = c->algorithm,
                             .checksum = c->checksum,
                             .key_hash = c->key_hash,
                             .attributes = c->attributes};
}

/* Nothing leads to the bytes of a refused append but this row, by which they
 * are swept. */
static void add_garbage(struct applying *a, const struct command *c)
{
    end_row(a);
    if (c->size == 0)
        return;
    struct state *st = &a->s->state;
    struct garbage_row row = {a->header->index, a->run_ordinal, a->run_offset,
                              c->size};
    uint8_t key[ROW_STATE_KEY_BYTES];
    row_key(ROW_GARBAGE, (struct position){a->header->index, c->ordinal}, key);
    buf_clear(&st->scratch);
    garbage_row_write(&row, &st->scratch);
    struct image image = {.space = ROW_STATE,
                          .key = span_of(key, sizeof key),
                          .value = span_buf(&st->scratch)};
    image_put(a->images, &image);
}

static void accept_append(struct applying *a, const struct command *c,
                          const struct judgement *j, struct verdict *v)
{
    struct state *st = &a->s->state;
    struct stream *stream = j->stream;
    uint64_t time_ms = a->header->stamp.time_ms;
    v->seq = stream->next_seq++;
    v->next_seq = stream->next_seq;
    stream->bytes += c->size;
    st->bytes += c->size;
    /* Times never go back within a stream, whatever the clocks (S26). */
    if (RULE(S26))
        time_ms = max_u64(stream->changed_ms, time_ms);
    stream->changed_ms = time_ms;
    state_touch_stream(st, stream);
    add_segment(a, c, v->seq, stream->changed_ms);
    struct producer *p = j->producer;
    /* Always so but where a rule is off. */
    if (p == NULL || c->number != p->next_number || p->is_closed)
        return;
    producer_accept(p, v->seq, c->checksum);
    state_use_producer(st, p, (struct position){a->header->index, c->ordinal},
                       time_ms);
    if (!c->closes_producer)
        return;
    state_close_producer(st, p);
    if (st->closed.count > PRODUCERS_CLOSED_MAX)
        state_evict_producer(st, st->closed.oldest, a->images);
}

static void apply_append(struct applying *a, const struct command *c,
                         struct verdict *v)
{
    enter_run(a, c);
    struct judgement j = look_up(a->s, c);
    v->err = judge_append(a->s, c, &j, v, RULE(S18));
    if (v->err == ERR_OK && !v->is_duplicate)
        accept_append(a, c, &j, v);
    else
        add_garbage(a, c);
    a->run_offset += c->size;
}

/* Id of what a command makes. */
static struct position new_id(const struct applying *a, const struct command *c)
{
    return (struct position){a->header->index, RULE(T8) ? c->ordinal : 0};
}

static enum err apply_create(struct applying *a, const struct command *c,
                             struct verdict *v)
{
    struct state *st = &a->s->state;
    struct stream *stream = state_stream_named(st, c->name);
    v->is_duplicate = stream != NULL;
    if (stream == NULL && st->stream_count >= STREAMS_PER_GROUP_MAX) {
        v->err = ERR_TOO_LARGE;
        return ERR_OK;
    }
    if (stream == NULL) {
        struct position id = new_id(a, c);
        if (RULE(T8) && state_stream(st, id) != NULL)
            return ERR_DAMAGED;
        stream = state_add_stream(st, id, c->name);
        stream->created_ms = a->header->stamp.time_ms;
    }
    v->id = stream->id;
    v->next_seq = stream->next_seq;
    return ERR_OK;
}

/* True if there is room for one more producer, after an unnamed one that
 * nobody has used for long has made it. */
static bool make_room(struct applying *a)
{
    struct state *st = &a->s->state;
    if (state_open_producers(st) < PRODUCERS_PER_GROUP_MAX)
        return true;
    struct producer *oldest = st->unnamed.oldest;
    uint64_t time_ms = a->header->stamp.time_ms;
    if (oldest == NULL || time_ms < oldest->used_ms ||
        time_ms - oldest->used_ms <= PRODUCER_UNNAMED_IDLE_MS)
        return false;
    state_evict_producer(st, oldest, a->images);
    return true;
}

static enum err apply_open(struct applying *a, const struct command *c,
                           struct verdict *v)
{
    struct state *st = &a->s->state;
    struct stream *stream = state_stream(st, c->stream);
    if (stream == NULL) {
        v->err = ERR_NOT_FOUND;
        return ERR_OK;
    }
    v->next_seq = stream->next_seq;
    struct producer *p = state_producer_named(st, stream->id, c->name);
    bool is_refused = p != NULL ? p->epoch == UINT32_MAX : !make_room(a);
    if (is_refused) {
        v->err = ERR_TOO_LARGE;
        return ERR_OK;
    }
    if (p == NULL) {
        struct position id = new_id(a, c);
        if (RULE(T8) && state_producer(st, id) != NULL)
            return ERR_DAMAGED;
        p = state_add_producer(st, id, stream, c->name, c->is_unnamed);
    }
    p->epoch++;
    state_use_producer(st, p, (struct position){a->header->index, c->ordinal},
                       a->header->stamp.time_ms);
    v->id = p->id;
    v->producer_epoch = p->epoch;
    v->next_number = p->next_number;
    return ERR_OK;
}

static enum err apply_command(struct applying *a, const struct command *c,
                              struct verdict *v)
{
    *v = (struct verdict){.err = ERR_OK};
    switch (c->kind) {
    case COMMAND_CREATE:
        end_run(a);
        return apply_create(a, c, v);
    case COMMAND_APPEND:
        apply_append(a, c, v);
        return ERR_OK;
    case COMMAND_OPEN_PRODUCER:
        end_run(a);
        return apply_open(a, c, v);
    }
    return ERR_DAMAGED;
}

static void unnote(struct streams *s, const struct command *c,
                   struct position at);

static enum err apply_commands(struct streams *s, struct entry_iter *it,
                               struct verdict *verdicts, struct buf *images)
{
    struct applying a; /* 64 KiB: `segments` is not cleared for nothing */
    a.s = s;
    a.header = &it->header;
    a.images = images;
    a.is_in_run = false;
    a.row.count = 0;
    struct command c;
    while (entry_next(it, &c)) {
        enum err err = apply_command(&a, &c, &verdicts[c.ordinal]);
        if (err != ERR_OK)
            return err;
        if (!overlay_is_empty(&s->overlay))
            unnote(s, &c, (struct position){it->header.index, c.ordinal});
    }
    end_run(&a);
    state_flush(&s->state, images);
    return it->next_ordinal == it->header.command_count ? ERR_OK : ERR_DAMAGED;
}

enum err streams_apply(struct streams *s, struct span manifest,
                       struct verdict *verdicts, struct buf *images)
{
    struct entry_header h;
    enum err err = entry_read_header(manifest, &h);
    if (err != ERR_OK)
        return err;
    if (h.index <= s->applied)
        return ERR_DAMAGED;
    state_settle(&s->state);
    if (h.kind == ENTRY_COMMANDS) {
        struct entry_iter it;
        err = entry_begin(&it, manifest);
        if (err == ERR_OK)
            err = apply_commands(s, &it, verdicts, images);
        if (err != ERR_OK)
            return err;
    }
    s->applied = h.index;
    if (overlay_is_empty(&s->overlay))
        overlay_clear(&s->overlay);
    return ERR_OK;
}

/* ---- the speculative state --------------------------------------------- */

/* True if the stream is there once the log is applied. */
static bool spec_stream(const struct streams *s, struct position id,
                        uint64_t *next_seq)
{
    const struct stream *stream = state_stream(&s->state, id);
    const struct pending *pending = overlay_find(&s->overlay, id);
    if (stream == NULL && (pending == NULL || pending->opens == 0))
        return false;
    *next_seq = stream != NULL ? stream->next_seq : 0;
    if (pending != NULL)
        *next_seq += pending->appends;
    return true;
}

/* A producer as it is once the log is applied. */
struct spec_producer {
    uint32_t epoch;
    uint64_t next_number;
    bool is_closed;
};

static bool spec_producer(const struct streams *s, const struct command *c,
                          struct spec_producer *out)
{
    const struct producer *p = state_producer(&s->state, c->producer);
    const struct pending *pending = overlay_find(&s->overlay, c->producer);
    if (p == NULL && (pending == NULL || pending->opens == 0))
        return false;
    struct position stream = p != NULL ? p->stream : pending->stream;
    if (!position_equal(stream, c->stream))
        return false;
    *out = (struct spec_producer){0};
    if (p != NULL)
        *out = (struct spec_producer){p->epoch, p->next_number, p->is_closed};
    if (pending != NULL) {
        out->epoch += pending->opens;
        out->next_number += pending->appends;
        out->is_closed = out->is_closed || pending->closes > 0;
    }
    return true;
}

/* The append as the state will judge it with the whole log applied. */
static enum err spec_judge(const struct streams *s, const struct command *c,
                           struct verdict *v)
{
    struct spec_producer p;
    if (!spec_stream(s, c->stream, &v->next_seq))
        return ERR_NOT_FOUND;
    if (!spec_producer(s, c, &p))
        return ERR_EXPIRED;
    v->next_number = p.next_number;
    if (c->number < p.next_number)
        return ERR_BUSY;
    enum err err = judge_epoch(c->producer_epoch, p.epoch);
    if (err != ERR_OK)
        return err;
    if (p.is_closed)
        return ERR_EXPIRED;
    if (c->number > p.next_number)
        return ERR_OUT_OF_ORDER;
    return judge_expected(c, v->next_seq);
}

static enum err admit_append(const struct streams *s, const struct command *c,
                             struct verdict *v, bool *is_final)
{
    struct judgement j = look_up(s, c);
    enum err err = judge_append(s, c, &j, v, true);
    *is_final = j.is_final;
    if (j.is_final)
        return err;
    if (!RULE(S19A) && j.stream != NULL && j.producer == NULL)
        return ERR_OK;
    /* Without S18 the applied state is asked here, and nothing at apply. */
    return RULE(S18) ? spec_judge(s, c, v) : ERR_OK;
}

static enum err admit_create(const struct streams *s, const struct command *c,
                             struct verdict *v, bool *is_final)
{
    const struct stream *stream = state_stream_named(&s->state, c->name);
    if (stream == NULL)
        return s->state.stream_count < STREAMS_PER_GROUP_MAX ? ERR_OK
                                                             : ERR_TOO_LARGE;
    *is_final = true;
    v->is_duplicate = true;
    v->id = stream->id;
    v->next_seq = stream->next_seq;
    return ERR_OK;
}

static enum err admit_open(const struct streams *s, const struct command *c,
                           struct verdict *v, bool *is_final)
{
    if (spec_stream(s, c->stream, &v->next_seq))
        return ERR_OK;
    *is_final = c->stream.index <= s->applied;
    return ERR_NOT_FOUND;
}

enum err streams_admit(struct streams *s, const struct command *c,
                       struct verdict *v, bool *is_final)
{
    *v = (struct verdict){.err = ERR_BAD_REQUEST};
    *is_final = false;
    switch (c->kind) {
    case COMMAND_CREATE:
        v->err = admit_create(s, c, v, is_final);
        break;
    case COMMAND_APPEND:
        v->err = admit_append(s, c, v, is_final);
        break;
    case COMMAND_OPEN_PRODUCER:
        v->err = admit_open(s, c, v, is_final);
        break;
    }
    return v->err;
}

static void note_append(struct streams *s, const struct command *c)
{
    struct overlay *o = &s->overlay;
    struct verdict ignored = {.err = ERR_OK};
    if (spec_judge(s, c, &ignored) != ERR_OK) {
        overlay_write(o, (struct journal_line){o->noted, {0, 0}});
        return;
    }
    overlay_get(o, c->stream)->appends++;
    struct pending *producer = overlay_get(o, c->producer);
    producer->appends++;
    producer->closes += c->closes_producer;
}

/* The producer that this name will stand for; NULL: one to be made, at a
 * position that is not known yet. */
static struct pending *
producer_to_open(struct streams *s, const struct command *c, struct position at)
{
    struct overlay *o = &s->overlay;
    const struct producer *p =
        state_producer_named(&s->state, c->stream, c->name);
    struct pending *pending = p != NULL ? overlay_get(o, p->id) : NULL;
    if (pending != NULL && pending->closes == 0)
        return pending;
    uint64_t hash = state_name_hash(c->stream, c->name);
    pending = overlay_find_name(o, c->stream, hash);
    if (pending != NULL && pending->closes == 0)
        return pending;
    if (at.index == 0)
        return NULL;
    pending = overlay_get(o, at);
    overlay_set_name(o, pending, c->stream, hash);
    return pending;
}

static void note_open(struct streams *s, const struct command *c,
                      struct position at)
{
    struct overlay *o = &s->overlay;
    uint64_t next_seq;
    if (!spec_stream(s, c->stream, &next_seq))
        return;
    struct pending *producer = producer_to_open(s, c, at);
    if (producer == NULL)
        return;
    producer->opens++;
    overlay_write(o, (struct journal_line){o->noted, producer->id});
}

/* `at` has index 0 where the command has no position yet. What it makes has
 * no id then, so nobody can name it before it is applied. */
static void note(struct streams *s, const struct command *c, struct position at)
{
    switch (c->kind) {
    case COMMAND_CREATE:
        if (at.index != 0 && state_stream_named(&s->state, c->name) == NULL)
            overlay_get(&s->overlay, at)->opens = 1;
        break;
    case COMMAND_APPEND:
        note_append(s, c);
        break;
    case COMMAND_OPEN_PRODUCER:
        note_open(s, c, at);
        break;
    }
    s->overlay.noted++;
}

void streams_spec_command(struct streams *s, const struct command *c)
{
    note(s, c, (struct position){0, 0});
}

void streams_spec_note(struct streams *s, struct span manifest)
{
    struct entry_iter it;
    struct command c;
    if (entry_begin(&it, manifest) != ERR_OK || it.header.index <= s->applied)
        return;
    while (entry_next(&it, &c))
        note(s, &c, (struct position){it.header.index, c.ordinal});
}

/* Takes away what it has added; 0 stays 0, for another leader's commands may
 * have come in the place of those noted. */
static void settle_pending(struct overlay *o, struct position id,
                           bool is_append, bool is_close)
{
    struct pending *p = overlay_find(o, id);
    if (p == NULL)
        return;
    if (is_append && p->appends > 0)
        p->appends--;
    if (is_close && p->closes > 0)
        p->closes--;
    if (!is_append && p->opens > 0)
        p->opens--;
    overlay_drop_idle(o, p);
}

/* The command is applied: what was expected of it no longer counts. */
static void unnote(struct streams *s, const struct command *c,
                   struct position at)
{
    struct overlay *o = &s->overlay;
    struct journal_line line;
    bool is_written = overlay_read(o, o->done, &line);
    o->done++;
    switch (c->kind) {
    case COMMAND_CREATE:
        settle_pending(o, at, false, false);
        return;
    case COMMAND_OPEN_PRODUCER:
        if (is_written)
            settle_pending(o, line.id, false, false);
        return;
    case COMMAND_APPEND:
        if (is_written)
            return;
        settle_pending(o, c->stream, true, false);
        settle_pending(o, c->producer, true, c->closes_producer);
        return;
    }
}

void streams_spec_clear(struct streams *s)
{
    overlay_clear(&s->overlay);
}

/* ---- questions --------------------------------------------------------- */

static void describe(const struct stream *s, struct stream_info *out)
{
    *out = (struct stream_info){.id = s->id,
                                .name = stream_name(s),
                                .first_seq = s->first_seq,
                                .next_seq = s->next_seq,
                                .bytes = s->bytes,
                                .created_ms = s->created_ms,
                                .changed_ms = s->changed_ms,
                                .producers = s->producers};
}

enum err streams_by_name(const struct streams *s, struct span name,
                         struct stream_info *out)
{
    const struct stream *stream = state_stream_named(&s->state, name);
    if (stream == NULL)
        return ERR_NOT_FOUND;
    describe(stream, out);
    return ERR_OK;
}

enum err streams_by_id(const struct streams *s, struct position id,
                       struct stream_info *out)
{
    const struct stream *stream = state_stream(&s->state, id);
    if (stream == NULL)
        return ERR_NOT_FOUND;
    describe(stream, out);
    return ERR_OK;
}

/* The first of `sorted` that is above `after` and not below `prefix`. */
static size_t list_begin(const struct streams *s, struct stream *const *sorted,
                         struct span prefix, struct span after)
{
    size_t low = 0;
    size_t high = s->state.stream_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct span name = stream_name(sorted[middle]);
        if (span_compare(name, prefix) < 0 || span_compare(name, after) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t streams_list(struct streams *s, struct span prefix, struct span after,
                    struct stream_info *out, size_t count)
{
    struct stream *const *sorted = state_sorted(&s->state);
    size_t found = 0;
    for (size_t i = list_begin(s, sorted, prefix, after);
         i < s->state.stream_count && found < count; i++) {
        struct span name = stream_name(sorted[i]);
        if (name.size < prefix.size ||
            !span_equal(span_of(name.data, prefix.size), prefix))
            break;
        describe(sorted[i], &out[found++]);
    }
    return found;
}

size_t streams_count(const struct streams *s)
{
    return s->state.stream_count;
}

uint64_t streams_bytes(const struct streams *s)
{
    return s->state.bytes;
}

struct hash128 streams_digest(const struct streams *s)
{
    return s->state.digest;
}

void streams_check(const struct streams *s)
{
    state_check(&s->state);
    ASSERT(s->overlay.done <= s->overlay.noted);
}

static void dump_producers(const struct producer_list *l, const char *kind,
                           struct buf *text)
{
    for (const struct producer *p = l->oldest; p != NULL; p = p->newer)
        buf_printf(text,
                   "producer %" PRIu64 ".%u %s of %" PRIu64
                   ".%u: epoch %u next %" PRIu64 " runs %u \"%.*s\"\n",
                   p->id.index, p->id.ordinal, kind, p->stream.index,
                   p->stream.ordinal, p->epoch, p->next_number, p->run_count,
                   (int)p->name_size, (const char *)p->name);
}

void streams_dump(const struct streams *s, struct buf *text)
{
    const struct state *st = &s->state;
    buf_printf(text,
               "streams %zu, producers %zu named %zu unnamed %zu closed, "
               "applied %" PRIu64 ", digest %016" PRIx64 "%016" PRIx64 "\n",
               st->stream_count, st->named.count, st->unnamed.count,
               st->closed.count, s->applied, st->digest.hi, st->digest.lo);
    for (size_t i = 0; i < st->stream_count; i++) {
        const struct stream *t = st->streams[i];
        buf_printf(text,
                   "stream %" PRIu64 ".%u: seq %" PRIu64 "..%" PRIu64
                   " bytes %" PRIu64 " producers %u \"%.*s\"\n",
                   t->id.index, t->id.ordinal, t->first_seq, t->next_seq,
                   t->bytes, t->producers, (int)t->name_size,
                   (const char *)t->name);
    }
    dump_producers(&st->named, "named", text);
    dump_producers(&st->unnamed, "unnamed", text);
    dump_producers(&st->closed, "closed", text);
}
