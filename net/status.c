/* status.c - see status.h. */
#include "net/status.h"

#include "ring/codec.h"

enum status_tag {
    TAG_SELF = 1,
    TAG_MEMBER = 2,
    TAG_GROUP = 3,
    TAG_TRANSFER = 4
};

#define TAG_HEAD_BYTES 6u

/* The longest texts that are taken over, in characters. */
#define REASON_BYTES_MAX 1024u

/* ---- out --------------------------------------------------------------- */

static void put_self(struct enc *e, const struct status *s)
{
    enc_id(e, s->node);
    enc_string(e, s->name);
    enc_string(e, s->version);
    enc_u64(e, s->boot);
    enc_epoch(e, s->epoch);
    enc_u64(e, s->confirmed_ms);
    enc_u64(e, s->uptime_ms);
    enc_u64(e, s->map_bytes);
    enc_u64(e, s->map_used);
    enc_u64(e, s->disk_bytes);
    enc_u64(e, s->disk_free);
    enc_u8(e, s->is_full);
    enc_u8(e, s->is_ready);
    enc_u64(e, s->commits);
    enc_u64(e, s->commit_us_p99);
    enc_u64(e, s->dropped);
    enc_u64(e, s->appends);
    enc_u64(e, s->reads);
    enc_u64(e, s->damaged);
    enc_u64(e, s->mended);
    enc_u64(e, s->wall_ms);
}

static void put_member(struct enc *e, const struct status_member *m)
{
    enc_u16(e, m->slot);
    enc_u8(e, m->state);
    enc_u64(e, m->since_ms);
    enc_string(e, m->address);
}

static void put_group(struct enc *e, const struct status_group *g)
{
    ASSERT(g->replica_count <= REPLICAS_MAX);
    enc_u32(e, g->group);
    enc_u8(e, g->is_leader);
    enc_u8(e, g->is_ready);
    enc_u8(e, g->is_quarantined);
    enc_id(e, g->leader);
    enc_u64(e, g->term);
    enc_u64(e, g->commit);
    enc_u64(e, g->applied);
    enc_u64(e, g->last);
    enc_u64(e, g->config_index);
    enc_u8(e, (uint8_t)g->replica_count);
    for (uint32_t i = 0; i < g->replica_count; i++) {
        enc_id(e, g->replicas[i].node);
        enc_u64(e, g->replicas[i].added);
        enc_u8(e, g->replicas[i].is_voter);
        enc_u8(e, g->replicas[i].is_live);
        enc_u64(e, g->replicas[i].match);
    }
    enc_u64(e, g->streams);
    enc_u64(e, g->bytes);
    enc_string(e, g->reason);
    enc_generation(e, g->generation);
    enc_u64(e, g->last_term);
}

static void put_transfer(struct enc *e, const struct status_transfer *t)
{
    enc_u32(e, t->group);
    enc_u64(e, t->added);
    enc_u8(e, (uint8_t)t->state);
    enc_id(e, t->from);
    enc_u64(e, t->bytes);
    enc_u64(e, t->total);
    enc_u64(e, t->rate);
    enc_u64(e, t->idle_ms);
    enc_string(e, t->reason);
}

/* Room for a value of that size, with its tag in front. */
static struct enc begin_tag(struct buf *out, enum status_tag tag, size_t size)
{
    size_t whole = TAG_HEAD_BYTES + size;
    struct enc e = enc_of(buf_grow(out, whole), whole);
    size_t began = enc_tag_begin(&e, (uint16_t)tag);
    ASSERT(began == TAG_HEAD_BYTES);
    return e;
}

static void end_tag(struct enc *e)
{
    ASSERT(e->size == e->capacity);
    enc_tag_end(e, TAG_HEAD_BYTES);
}

void status_write(struct buf *out, const struct status *s)
{
    struct enc measured = enc_of(NULL, 0);
    put_self(&measured, s);
    struct enc e = begin_tag(out, TAG_SELF, measured.size);
    put_self(&e, s);
    end_tag(&e);
}

void status_write_member(struct buf *out, const struct status_member *m)
{
    struct enc measured = enc_of(NULL, 0);
    put_member(&measured, m);
    struct enc e = begin_tag(out, TAG_MEMBER, measured.size);
    put_member(&e, m);
    end_tag(&e);
}

void status_write_group(struct buf *out, const struct status_group *g)
{
    struct enc measured = enc_of(NULL, 0);
    put_group(&measured, g);
    struct enc e = begin_tag(out, TAG_GROUP, measured.size);
    put_group(&e, g);
    end_tag(&e);
}

void status_write_transfer(struct buf *out, const struct status_transfer *t)
{
    struct enc measured = enc_of(NULL, 0);
    put_transfer(&measured, t);
    struct enc e = begin_tag(out, TAG_TRANSFER, measured.size);
    put_transfer(&e, t);
    end_tag(&e);
}

/* ---- in ---------------------------------------------------------------- */

static bool get_bool(struct dec *d)
{
    uint8_t v = dec_u8(d);
    if (v > 1)
        dec_fail(d);
    return v == 1;
}

static struct span get_string(struct dec *d, size_t size_max)
{
    struct span s = dec_string(d);
    if (s.size > size_max)
        dec_fail(d);
    return s;
}

static void get_self(struct dec *d, struct status *out)
{
    out->node = dec_id(d);
    out->name = get_string(d, NODE_NAME_MAX);
    out->version = get_string(d, REASON_BYTES_MAX);
    out->boot = dec_u64(d);
    out->epoch = dec_epoch(d);
    out->confirmed_ms = dec_u64(d);
    out->uptime_ms = dec_u64(d);
    out->map_bytes = dec_u64(d);
    out->map_used = dec_u64(d);
    out->disk_bytes = dec_u64(d);
    out->disk_free = dec_u64(d);
    out->is_full = get_bool(d);
    out->is_ready = get_bool(d);
    out->commits = dec_u64(d);
    out->commit_us_p99 = dec_u64(d);
    out->dropped = dec_u64(d);
    out->appends = dec_u64(d);
    out->reads = dec_u64(d);
    out->damaged = dec_u64(d);
    out->mended = dec_u64(d);
    out->wall_ms = dec_u64(d);
}

static void get_member(struct dec *d, struct status_member *out)
{
    out->slot = dec_u16(d);
    out->state = dec_u8(d);
    out->since_ms = dec_u64(d);
    out->address = get_string(d, ADDRESS_MAX);
    if (out->slot >= MEMBERS_MAX || out->state > SWIM_DEAD)
        dec_fail(d);
}

static void get_group(struct dec *d, struct status_group *out)
{
    out->group = dec_u32(d);
    out->is_leader = get_bool(d);
    out->is_ready = get_bool(d);
    out->is_quarantined = get_bool(d);
    out->leader = dec_id(d);
    out->term = dec_u64(d);
    out->commit = dec_u64(d);
    out->applied = dec_u64(d);
    out->last = dec_u64(d);
    out->config_index = dec_u64(d);
    out->replica_count = dec_u8(d);
    if (out->group >= GROUPS_MAX || out->replica_count > REPLICAS_MAX) {
        dec_fail(d);
        return;
    }
    for (uint32_t i = 0; i < out->replica_count; i++) {
        out->replicas[i].node = dec_id(d);
        out->replicas[i].added = dec_u64(d);
        out->replicas[i].is_voter = get_bool(d);
        out->replicas[i].is_live = get_bool(d);
        out->replicas[i].match = dec_u64(d);
    }
    out->streams = dec_u64(d);
    out->bytes = dec_u64(d);
    out->reason = get_string(d, REASON_BYTES_MAX);
    if (dec_left(d) == 0)
        return; /* from one that has no lives of groups yet */
    out->generation = dec_generation(d);
    out->last_term = dec_u64(d);
}

static void get_transfer(struct dec *d, struct status_transfer *out)
{
    out->group = dec_u32(d);
    out->added = dec_u64(d);
    uint8_t state = dec_u8(d);
    out->from = dec_id(d);
    out->bytes = dec_u64(d);
    out->total = dec_u64(d);
    out->rate = dec_u64(d);
    out->idle_ms = dec_u64(d);
    out->reason = get_string(d, REASON_BYTES_MAX);
    if (out->group >= GROUPS_MAX || state < TRANSFER_STATE_WAITING ||
        state > TRANSFER_STATE_SWITCHING)
        dec_fail(d);
    else
        out->state = (enum status_transfer_state)state;
}

enum err status_read(struct span bytes, struct status *out)
{
    *out = (struct status){0};
    struct dec d = dec_of(bytes);
    struct dec value;
    uint16_t tag;
    uint32_t selves = 0;
    while (dec_tag(&d, &tag, &value)) {
        struct status_member m;
        struct status_group g;
        struct status_transfer t;
        if (tag == TAG_SELF) {
            get_self(&value, out);
            selves++;
        } else if (tag == TAG_MEMBER) {
            get_member(&value, &m);
        } else if (tag == TAG_GROUP) {
            get_group(&value, &g);
        } else if (tag == TAG_TRANSFER) {
            get_transfer(&value, &t);
        }
        if (value.is_bad)
            dec_fail(&d);
    }
    return dec_done(&d) && selves == 1 ? ERR_OK : ERR_BAD_REQUEST;
}

static bool next_of(struct dec *d, enum status_tag wanted, struct dec *value)
{
    uint16_t tag;
    while (dec_tag(d, &tag, value))
        if (tag == (uint16_t)wanted)
            return true;
    return false;
}

bool status_next_member(struct dec *d, struct status_member *out)
{
    struct dec value;
    *out = (struct status_member){0};
    if (!next_of(d, TAG_MEMBER, &value))
        return false;
    get_member(&value, out);
    return !value.is_bad;
}

bool status_next_group(struct dec *d, struct status_group *out)
{
    struct dec value;
    *out = (struct status_group){0};
    if (!next_of(d, TAG_GROUP, &value))
        return false;
    get_group(&value, out);
    return !value.is_bad;
}

bool status_next_transfer(struct dec *d, struct status_transfer *out)
{
    struct dec value;
    *out = (struct status_transfer){0};
    if (!next_of(d, TAG_TRANSFER, &value))
        return false;
    get_transfer(&value, out);
    return !value.is_bad;
}
