/* ops.c - see ops.h. */
#include "tests/sim/ops.h"

#include "tests/sim/linear.h"

struct told {
    uint32_t group;
    struct position stream;
    struct linear linear;
};

struct ops {
    struct world *w;
    struct map by_checksum;
    struct op **all;
    size_t count, capacity;
    struct told *told;
    size_t told_count;
    uint64_t appenders[(USERS_MAX + 63) / 64];
    uint32_t acked_by[USERS_MAX];
};

struct ops *ops_new(struct world *w)
{
    struct ops *o = mem_alloc(sizeof *o);
    o->w = w;
    return o;
}

void ops_free(struct ops *o)
{
    for (size_t i = 0; i < o->count; i++)
        mem_free(o->all[i]);
    mem_free(o->all);
    mem_free(o->told);
    map_free(&o->by_checksum);
    mem_free(o);
}

/* ---- what was told ----------------------------------------------------- */

static struct told *find_told(const struct ops *o, uint32_t group,
                              struct position stream)
{
    for (size_t i = 0; i < o->told_count; i++)
        if (o->told[i].group == group &&
            position_equal(o->told[i].stream, stream))
            return &o->told[i];
    return NULL;
}

static void ended(struct ops *o, uint32_t group, struct position stream,
                  uint64_t end)
{
    struct told *t = find_told(o, group, stream);
    if (t == NULL) {
        o->told = mem_resize(o->told, (o->told_count + 1) * sizeof *o->told);
        t = &o->told[o->told_count++];
        *t = (struct told){.group = group, .stream = stream};
    }
    linear_ended(&t->linear, end);
}

uint64_t ops_floor(const struct ops *o, uint32_t group, struct position stream)
{
    const struct told *t = find_told(o, group, stream);
    return t == NULL ? 0 : linear_begin(&t->linear);
}

void ops_known(struct ops *o, uint32_t user, uint32_t group,
               struct position stream, uint64_t end)
{
    const struct twin_stream *s = twin_stream(o->w->twin, group, stream);
    MUST_HOLD(o->w, I20, s != NULL && end <= s->count,
              "user %u is told of %llu segments of stream %s; there are %zu",
              user, (unsigned long long)end, s == NULL ? "?" : s->name,
              s == NULL ? 0 : s->count);
    ended(o, group, stream, end);
}

void ops_end(struct ops *o, uint32_t user, uint32_t group,
             struct position stream, uint64_t floor, uint64_t end)
{
    o->w->totals.ends++;
    MUST_HOLD(o->w, I20, linear_may_end(floor, end),
              "user %u is told that the stream ends at %llu; before it asked, "
              "%llu was known",
              user, (unsigned long long)end, (unsigned long long)floor);
    ops_known(o, user, group, stream, end);
}

/* ---- appends ----------------------------------------------------------- */

static bool is_same(struct hash128 a, struct hash128 b)
{
    return a.lo == b.lo && a.hi == b.hi;
}

static bool has_checksum(const void *value, const void *key)
{
    const struct op *op = value;
    return is_same(op->checksum, *(const struct hash128 *)key);
}

/* Bytes that count up, from another one each time. */
static void fill(uint8_t *data, size_t size, uint8_t first)
{
    size_t done = size < 256 ? size : 256; /* then they come again */
    for (size_t i = 0; i < done; i++)
        data[i] = (uint8_t)(first + i);
    for (; done < size; done *= 2)
        memcpy(data + done, data, min_u64(done, size - done));
}

struct op *ops_begin(struct ops *o, uint32_t user, uint32_t group,
                     struct position stream, uint32_t size, uint8_t **bytes)
{
    ASSERT(size >= 16);
    uint8_t *data = mem_resize(NULL, size);
    uint64_t head[2] = {o->count, o->w->seed};
    memcpy(data, head, sizeof head);
    fill(data + 16, size - 16, (uint8_t)(o->count * 31 + 16));
    struct op *op = mem_alloc(sizeof *op);
    op->checksum = wire_checksum(span_of(data, size));
    op->group = group;
    op->stream = stream;
    op->user = user;
    op->floor = ops_floor(o, group, stream);
    map_insert(&o->by_checksum, op->checksum.lo, op);
    if (o->count == o->capacity) {
        o->capacity = o->capacity == 0 ? 256 : o->capacity * 2;
        o->all = mem_resize(o->all, o->capacity * sizeof(struct op *));
    }
    o->all[o->count++] = op;
    *bytes = data;
    return op;
}

void ops_committed(struct ops *o, uint32_t group, const struct twin_stream *s,
                   uint64_t seq)
{
    struct hash128 checksum = s->segments[seq].checksum;
    struct op *op =
        map_find(&o->by_checksum, checksum.lo, has_checksum, &checksum);
    unsigned long long at = seq;
    MUST_HOLD(o->w, I19,
              op != NULL && op->group == group &&
                  position_equal(op->stream, s->id),
              "segment %llu of stream %s is nobody's", at, s->name);
    MUST_HOLD(o->w, I21, !op->is_in,
              "one append of user %u is segment %llu and %llu of stream %s",
              op->user, (unsigned long long)op->seq, at, s->name);
    MUST_HOLD(o->w, I23, op->state != STATE_FAILED,
              "an append of user %u, said to have failed with nothing done "
              "(%s), is segment %llu of stream %s",
              op->user, err_name(op->err), at, s->name);
    MUST_HOLD(o->w, I20, linear_may_append(op->floor, seq),
              "an append of user %u is segment %llu of stream %s; before it "
              "began, %llu were known",
              op->user, at, s->name, (unsigned long long)op->floor);
    op->is_in = true;
    op->seq = seq;
    op->in_us = o->w->now_us;
}

void ops_acked(struct ops *o, struct op *op, uint64_t seq, bool is_duplicate)
{
    MUST_HOLD(o->w, I19, op->is_in && op->seq == seq,
              "user %u is told that its append is segment %llu; it %s %llu",
              op->user, (unsigned long long)seq,
              op->is_in ? "is" : "is not in, not even at",
              (unsigned long long)op->seq);
    if (op->state == STATE_ACKED)
        return;
    op->state = STATE_ACKED;
    ended(o, op->group, op->stream, seq + 1);
    o->w->totals.appends++;
    o->w->totals.duplicates += is_duplicate;
    if (o->acked_by[op->user]++ == 0)
        o->w->totals.appending_users++;
}

void ops_failed(struct ops *o, struct op *op, enum err err)
{
    MUST_HOLD(o->w, I23, !op->is_in,
              "user %u is told %s, nothing done; its append is segment %llu",
              op->user, err_name(err), (unsigned long long)op->seq);
    op->state = STATE_FAILED;
    op->err = err;
    o->w->totals.refused++;
}

void ops_refused(struct ops *o, uint32_t user, bool is_question, enum err err)
{
    bool was_full = o->w->totals.faults[FAULT_FULL_DISK] > 0;
    const uint64_t *faults = o->w->totals.faults;
    bool was_damaged = faults[FAULT_ROT_PAYLOAD] + faults[FAULT_LOST_PAYLOAD] +
                           faults[FAULT_OTHERS_PAYLOAD] + faults[FAULT_HALT] +
                           faults[FAULT_BIT_FLIP] >
                       0;
    MUST_HOLD(o->w, S24, err != ERR_CORRUPT || was_damaged,
              "user %u is told of damage where there is none", user);
    MUST_HOLD(o->w, S23, err != ERR_NO_SPACE || (was_full && !is_question),
              "user %u is told that there is no space%s", user,
              is_question ? ", though it only asked" : "; no disk was full");
}

void ops_unknown(struct ops *o, struct op *op)
{
    op->state = STATE_UNKNOWN;
    o->w->totals.unknown++;
}

/* ---- reads ------------------------------------------------------------- */

void ops_served(struct ops *o, uint32_t user, uint32_t group,
                struct position stream, const struct segment_head *head,
                struct span bytes)
{
    ops_known(o, user, group, stream, head->seq + 1);
    const struct twin_stream *s = twin_stream(o->w->twin, group, stream);
    const struct twin_segment *segment = &s->segments[head->seq];
    struct hash128 checksum = wire_checksum(bytes);
    o->w->totals.reads++;
    MUST_HOLD(o->w, S26, segment->time_ms == head->time_ms,
              "user %u is told that segment %llu of stream %s is of %llu ms; "
              "it is of %llu",
              user, (unsigned long long)head->seq, s->name,
              (unsigned long long)head->time_ms,
              (unsigned long long)segment->time_ms);
    MUST_HOLD(o->w, I19,
              segment->size == bytes.size && head->size == bytes.size &&
                  is_same(segment->checksum, checksum) &&
                  is_same(head->checksum, checksum),
              "user %u is served other bytes as segment %llu of stream %s",
              user, (unsigned long long)head->seq, s->name);
}

void ops_check(struct ops *o)
{
    for (size_t i = 0; i < o->count; i++)
        MUST_HOLD(o->w, I19,
                  o->all[i]->state != STATE_ACKED || o->all[i]->is_in,
                  "an acknowledged append of user %u is lost", o->all[i]->user);
}
