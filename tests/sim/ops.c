/* ops.c - see ops.h. */
#include "tests/sim/ops.h"

struct known {
    uint32_t group;
    struct position stream;
    uint64_t end; /* the highest that anyone was told */
};

struct ops {
    struct world *w;
    struct map by_checksum;
    struct op **all;
    size_t count, capacity;
    struct known *known;
    size_t known_count;
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
    mem_free(o->known);
    map_free(&o->by_checksum);
    mem_free(o);
}

/* ---- the ends that were told ------------------------------------------- */

static struct known *find_known(const struct ops *o, uint32_t group,
                                struct position stream)
{
    for (size_t i = 0; i < o->known_count; i++)
        if (o->known[i].group == group &&
            position_equal(o->known[i].stream, stream))
            return &o->known[i];
    return NULL;
}

static void raise_known(struct ops *o, uint32_t group, struct position stream,
                        uint64_t end)
{
    struct known *k = find_known(o, group, stream);
    if (k == NULL) {
        o->known =
            mem_resize(o->known, (o->known_count + 1) * sizeof *o->known);
        k = &o->known[o->known_count++];
        *k = (struct known){group, stream, 0};
    }
    k->end = max_u64(k->end, end);
}

uint64_t ops_floor(const struct ops *o, uint32_t group, struct position stream)
{
    const struct known *k = find_known(o, group, stream);
    return k == NULL ? 0 : k->end;
}

void ops_known(struct ops *o, uint32_t user, uint32_t group,
               struct position stream, uint64_t end)
{
    const struct twin_stream *s = twin_stream(o->w->twin, group, stream);
    if (s == NULL || end > s->count)
        world_fail(o->w, SIM_SAFETY,
                   "I20: user %u is told of %llu segments of stream %s; there "
                   "are %zu",
                   user, (unsigned long long)end, s == NULL ? "?" : s->name,
                   s == NULL ? 0 : s->count);
}

void ops_end(struct ops *o, uint32_t user, uint32_t group,
             struct position stream, uint64_t floor, uint64_t end)
{
    ops_known(o, user, group, stream, end);
    o->w->totals.ends++;
    if (end < floor)
        world_fail(o->w, SIM_SAFETY,
                   "I20: user %u is told that the stream ends at %llu; before "
                   "it asked, %llu was known",
                   user, (unsigned long long)end, (unsigned long long)floor);
    raise_known(o, group, stream, end);
}

/* ---- appends ----------------------------------------------------------- */

static bool has_checksum(const void *value, const void *key)
{
    const struct op *op = value;
    const struct hash128 *checksum = key;
    return op->checksum.lo == checksum->lo && op->checksum.hi == checksum->hi;
}

struct op *ops_begin(struct ops *o, uint32_t user, uint32_t group,
                     struct position stream, uint32_t size, uint8_t **bytes)
{
    ASSERT(size >= 16);
    uint8_t *data = mem_alloc(size);
    uint64_t head[2] = {o->count, o->w->seed};
    memcpy(data, head, sizeof head);
    for (uint32_t i = 16; i < size; i++)
        data[i] = (uint8_t)(o->count * 31 + i);
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
    if (op == NULL || op->group != group || !position_equal(op->stream, s->id))
        world_fail(o->w, SIM_SAFETY, "segment %llu of stream %s is nobody's",
                   (unsigned long long)seq, s->name);
    if (op->is_in)
        world_fail(o->w, SIM_SAFETY,
                   "I21: one append of user %u is segment %llu and %llu of "
                   "stream %s",
                   op->user, (unsigned long long)op->seq,
                   (unsigned long long)seq, s->name);
    if (op->state == STATE_FAILED)
        world_fail(o->w, SIM_SAFETY,
                   "I23: an append of user %u, said to have failed with "
                   "nothing done, is segment %llu of stream %s",
                   op->user, (unsigned long long)seq, s->name);
    if (seq < op->floor)
        world_fail(o->w, SIM_SAFETY,
                   "I20: an append of user %u is segment %llu of stream %s; "
                   "before it began, %llu were known",
                   op->user, (unsigned long long)seq, s->name,
                   (unsigned long long)op->floor);
    op->is_in = true;
    op->seq = seq;
    op->in_us = o->w->now_us;
}

void ops_acked(struct ops *o, struct op *op, uint64_t seq, bool is_duplicate)
{
    if (!op->is_in || op->seq != seq)
        world_fail(o->w, SIM_SAFETY,
                   "I19: user %u is told that its append is segment %llu; it "
                   "%s %llu",
                   op->user, (unsigned long long)seq,
                   op->is_in ? "is" : "is not in, not even at",
                   (unsigned long long)op->seq);
    if (op->state == STATE_ACKED)
        return;
    op->state = STATE_ACKED;
    raise_known(o, op->group, op->stream, seq + 1);
    o->w->totals.appends++;
    o->w->totals.duplicates += is_duplicate;
    if (o->acked_by[op->user]++ == 0)
        o->w->totals.appending_users++;
}

void ops_failed(struct ops *o, struct op *op, enum err err)
{
    if (op->is_in)
        world_fail(o->w, SIM_SAFETY,
                   "I23: user %u is told %s, nothing done; its append is "
                   "segment %llu",
                   op->user, err_name(err), (unsigned long long)op->seq);
    op->state = STATE_FAILED;
    o->w->totals.refused++;
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
    if (segment->size != bytes.size || head->size != bytes.size ||
        segment->checksum.lo != checksum.lo ||
        segment->checksum.hi != checksum.hi ||
        head->checksum.lo != checksum.lo || head->checksum.hi != checksum.hi)
        world_fail(o->w, SIM_SAFETY,
                   "I19: user %u is served other bytes as segment %llu of "
                   "stream %s",
                   user, (unsigned long long)head->seq, s->name);
}

void ops_check(struct ops *o)
{
    for (size_t i = 0; i < o->count; i++)
        if (o->all[i]->state == STATE_ACKED && !o->all[i]->is_in)
            world_fail(o->w, SIM_SAFETY,
                       "I19: an acknowledged append of user %u is lost",
                       o->all[i]->user);
}
