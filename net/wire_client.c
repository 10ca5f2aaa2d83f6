/* wire_client.c - requests and responses, see wire.h.
 *
 *   request   op u16, body
 *   response  op u16, err u16, hint 16, credit bytes u32, credit commands u32,
 *             text string, then (if has_body) body
 *
 * The lists in a body (commands, verdicts, streams, segments) stand at its
 * end, behind their count; reading walks them once, so that the caller's walk
 * cannot fail. */
#include "net/wire.h"

#include "net/check.h"
#include "net/wire_ring.h"
#include "ring/codec.h"

#define COMMANDS_BYTES_MAX (ENTRY_MANIFEST_BYTES_MAX - ENTRY_HEADER_BYTES)

enum verdict_flag {
    VERDICT_DUPLICATE = 1,
    VERDICT_ID = 2,
    VERDICT_SEQ = 4,
    VERDICT_PRODUCER = 8,
    VERDICT_NEXT_SEQ = 16,
};

enum segment_flag {
    SEGMENT_SEQ = 1,  /* else the one after the previous segment's */
    SEGMENT_TIME = 2, /* else the previous segment's */
    SEGMENT_KEY = 4,
    SEGMENT_ATTRIBUTES = 8,
};

/* ---- small fields ------------------------------------------------------ */

static bool get_bool(struct dec *d)
{
    uint8_t v = dec_u8(d);
    if (v > 1)
        dec_fail(d);
    return v == 1;
}

static uint32_t get_group(struct dec *d)
{
    uint32_t group = dec_u32(d);
    if (group >= GROUPS_MAX)
        dec_fail(d);
    return group;
}

static struct span get_string(struct dec *d, size_t size_max)
{
    struct span s = dec_string(d);
    if (s.size > size_max)
        dec_fail(d);
    return s;
}

/* Printable ASCII without blanks, into a C string of size_max + 1 bytes. */
static void get_text(struct dec *d, char *out, size_t size_max)
{
    struct span s = get_string(d, size_max);
    if (d->is_bad)
        return;
    for (size_t i = 0; i < s.size; i++) {
        if (s.data[i] <= ' ' || s.data[i] > '~')
            dec_fail(d);
        out[i] = (char)s.data[i];
    }
    out[s.size] = 0;
}

static struct span get_blob(struct dec *d)
{
    uint32_t size = dec_u32(d);
    return dec_bytes(d, size);
}

static void put_blob(struct enc *e, struct span s)
{
    ASSERT(s.size <= MESSAGE_BYTES_MAX);
    enc_u32(e, (uint32_t)s.size);
    enc_bytes(e, s.data, s.size);
}

/* ---- requests ---------------------------------------------------------- */

static void put_member(struct enc *e, const struct member *m)
{
    enc_id(e, m->node);
    enc_bytes(e, m->public_key, KEY_BYTES);
    enc_string(e, span_str(m->name));
    enc_string(e, span_str(m->zone));
    enc_string(e, span_str(m->client_address));
    enc_string(e, span_str(m->peer_address));
    enc_u32(e, m->weight);
    enc_u16(e, m->level);
}

static void get_member(struct dec *d, struct member *m)
{
    m->node = dec_id(d);
    struct span key = dec_bytes(d, KEY_BYTES);
    if (!d->is_bad)
        memcpy(m->public_key, key.data, KEY_BYTES);
    get_text(d, m->name, NODE_NAME_MAX);
    get_text(d, m->zone, ZONE_NAME_MAX);
    get_text(d, m->client_address, ADDRESS_MAX);
    get_text(d, m->peer_address, ADDRESS_MAX);
    m->weight = dec_u32(d);
    m->level = dec_u16(d);
    if (id_is_zero(m->node) || m->name[0] == 0)
        dec_fail(d);
}

static void put_read(struct enc *e, const struct request *r)
{
    enc_u32(e, r->group);
    enc_position(e, r->stream);
    enc_u64(e, r->from_seq);
    enc_u64(e, r->end_seq);
    enc_u32(e, r->count_max);
    enc_u32(e, r->bytes_max);
    enc_u32(e, r->wait_ms);
}

static void get_read(struct dec *d, struct request *r)
{
    r->group = get_group(d);
    r->stream = dec_position(d);
    r->from_seq = dec_u64(d);
    r->end_seq = dec_u64(d);
    r->count_max = dec_u32(d);
    r->bytes_max = dec_u32(d);
    r->wait_ms = dec_u32(d);
}

static void put_check(struct enc *e, const struct request *r)
{
    enc_u32(e, r->group);
    enc_u64(e, r->check.index);
    enc_u64(e, r->check.state_index);
    check_put_cursor(e, &r->check.from);
}

static void get_check(struct dec *d, struct request *r)
{
    r->group = get_group(d);
    r->check.index = dec_u64(d);
    r->check.state_index = dec_u64(d);
    check_get_cursor(d, &r->check.from);
}

static void put_request(struct enc *e, const struct request *r)
{
    enc_u16(e, (uint16_t)r->op);
    switch (r->op) {
    case OP_NONE:
    case OP_HELLO:
    case OP_STATUS:
        return;
    case OP_RECORD:
        enc_epoch(e, r->epoch);
        return;
    case OP_JOIN:
        put_member(e, &r->member);
        return;
    case OP_COMMANDS:
        enc_u32(e, r->group);
        enc_u16(e, r->command_count);
        enc_bytes(e, r->commands.data, r->commands.size);
        return;
    case OP_OPEN:
        enc_u32(e, r->group);
        enc_string(e, r->name);
        return;
    case OP_INFO:
        enc_u32(e, r->group);
        enc_position(e, r->stream);
        return;
    case OP_READ:
        put_read(e, r);
        return;
    case OP_LIST:
        enc_u32(e, r->group);
        enc_string(e, r->name);
        enc_string(e, r->after);
        enc_u32(e, r->count_max);
        return;
    case OP_CHANGE:
        wire_ring_put_change(e, r);
        return;
    case OP_CHECK:
        put_check(e, r);
        return;
    case OP_RECOVER:
        enc_generation(e, r->generation);
        return;
    }
}

void wire_request_write(struct wire_out *o, const struct request *r)
{
    ASSERT(r->op != OP_NONE);
    struct enc measured = enc_of(NULL, 0);
    put_request(&measured, r);
    struct enc e = enc_of(buf_grow(&o->bytes, measured.size), measured.size);
    put_request(&e, r);
    ASSERT(e.size == measured.size);
}

/* Walks what is left as commands; sets `commands`. Their sizes add up to the
 * payload. */
static void get_commands(struct dec *d, size_t payload_bytes, struct request *r)
{
    r->group = get_group(d);
    r->command_count = dec_u16(d);
    r->commands = dec_bytes(d, dec_left(d));
    if (r->command_count == 0 || r->command_count > ENTRY_COMMANDS_MAX ||
        r->commands.size > COMMANDS_BYTES_MAX ||
        payload_bytes > ENTRY_PAYLOAD_BYTES_MAX) {
        dec_fail(d);
        return;
    }
    struct commands_iter it;
    struct command c;
    uint64_t sum = 0;
    wire_commands_begin(&it, r);
    while (wire_commands_next(&it, &c))
        sum += c.size;
    if (!dec_done(&it.d) || it.next_ordinal != it.count || sum != payload_bytes)
        dec_fail(d);
}

static bool op_is_known(uint16_t number)
{
    return number <= OP_RECOVER;
}

/* Without a cluster: only a client that knows nothing yet. To no node in
 * particular: only what any node may hear (S13). */
static bool address_fits(const struct wire_header *h, enum wire_op op)
{
    bool to_anyone = op == OP_HELLO || op == OP_RECORD || op == OP_JOIN;
    return (op == OP_HELLO || !id_is_zero(h->cluster)) &&
           (to_anyone || !id_is_zero(h->to));
}

enum err wire_request_read(const struct wire_in *in, struct request *out)
{
    ASSERT(in->header.kind == WIRE_REQUEST);
    *out = (struct request){0};
    struct dec d = dec_of(in->inline_part);
    uint16_t op = dec_u16(&d);
    if (d.is_bad || op == OP_NONE || !op_is_known(op))
        return ERR_BAD_REQUEST;
    out->op = (enum wire_op)op;
    if (!address_fits(&in->header, out->op))
        return ERR_BAD_REQUEST;
    if (out->op != OP_COMMANDS && in->payload.size > 0)
        return ERR_BAD_REQUEST;
    switch (out->op) {
    case OP_NONE:
    case OP_HELLO:
    case OP_STATUS:
        break;
    case OP_RECORD:
        out->epoch = dec_epoch(&d);
        break;
    case OP_JOIN:
        get_member(&d, &out->member);
        break;
    case OP_COMMANDS:
        get_commands(&d, in->payload.size, out);
        break;
    case OP_OPEN:
        out->group = get_group(&d);
        out->name = get_string(&d, STREAM_NAME_MAX);
        break;
    case OP_INFO:
        out->group = get_group(&d);
        out->stream = dec_position(&d);
        break;
    case OP_READ:
        get_read(&d, out);
        break;
    case OP_LIST:
        out->group = get_group(&d);
        out->name = get_string(&d, STREAM_NAME_MAX);
        out->after = get_string(&d, STREAM_NAME_MAX);
        out->count_max = dec_u32(&d);
        break;
    case OP_CHANGE:
        wire_ring_get_change(&d, out);
        break;
    case OP_CHECK:
        get_check(&d, out);
        break;
    case OP_RECOVER:
        out->generation = dec_generation(&d);
        break;
    }
    return dec_done(&d) ? ERR_OK : ERR_BAD_REQUEST;
}

/* ---- commands ---------------------------------------------------------- */

void wire_commands_clear(struct commands_builder *b)
{
    buf_clear(&b->bytes);
    b->count = 0;
    b->payload_bytes = 0;
    b->previous = (struct command){0};
}

void wire_commands_free(struct commands_builder *b)
{
    buf_free(&b->bytes);
    *b = (struct commands_builder){0};
}

enum err wire_commands_add(struct commands_builder *b, const struct command *c)
{
    enum err err = command_check(c);
    if (err != ERR_OK)
        return err;
    uint32_t size = c->kind == COMMAND_APPEND ? c->size : 0;
    struct enc measured = enc_of(NULL, 0);
    command_write(&measured, &b->previous, c);
    if (b->count == ENTRY_COMMANDS_MAX ||
        size > ENTRY_PAYLOAD_BYTES_MAX - b->payload_bytes ||
        measured.size > COMMANDS_BYTES_MAX - b->bytes.size)
        return ERR_TOO_LARGE;
    struct enc e = enc_of(buf_grow(&b->bytes, measured.size), measured.size);
    command_write(&e, &b->previous, c);
    ASSERT(e.size == measured.size);
    b->count++;
    b->payload_bytes += size;
    b->previous = *c;
    b->previous.name = (struct span){NULL, 0};
    b->previous.attributes = (struct span){NULL, 0};
    return ERR_OK;
}

void wire_commands_begin(struct commands_iter *it, const struct request *r)
{
    it->d = dec_of(r->commands);
    it->previous = (struct command){0};
    it->next_ordinal = 0;
    it->count = r->command_count;
}

bool wire_commands_next(struct commands_iter *it, struct command *out)
{
    if (it->d.is_bad || it->next_ordinal == it->count)
        return false;
    if (!command_read(&it->d, &it->previous, out)) {
        dec_fail(&it->d);
        return false;
    }
    out->ordinal = it->next_ordinal++;
    it->previous = *out;
    return true;
}

enum err wire_commands_verify(const struct wire_in *in, const struct request *r)
{
    ASSERT(r->op == OP_COMMANDS);
    struct commands_iter it;
    struct command c;
    size_t at = 0;
    wire_commands_begin(&it, r);
    while (wire_commands_next(&it, &c)) {
        if (c.kind != COMMAND_APPEND)
            continue;
        ASSERT(c.size <= in->payload.size - at);
        struct hash128 h =
            wire_checksum(span_of(in->payload.data + at, c.size));
        if (h.lo != c.checksum.lo || h.hi != c.checksum.hi)
            return ERR_CORRUPT;
        at += c.size;
    }
    return ERR_OK;
}

/* ---- verdicts, streams, segments --------------------------------------- */

/* A field that is zero is left out: one meaning, one encoding. */
static uint8_t verdict_flags(const struct verdict *v)
{
    unsigned flags = 0;
    flags |= v->is_duplicate ? VERDICT_DUPLICATE : 0u;
    flags |= v->id.index != 0 || v->id.ordinal != 0 ? VERDICT_ID : 0u;
    flags |= v->seq != 0 ? VERDICT_SEQ : 0u;
    flags |=
        v->producer_epoch != 0 || v->next_number != 0 ? VERDICT_PRODUCER : 0u;
    flags |= v->next_seq != 0 ? VERDICT_NEXT_SEQ : 0u;
    return (uint8_t)flags;
}

static void put_verdict(struct enc *e, const struct verdict *v)
{
    uint8_t flags = verdict_flags(v);
    enc_u8(e, (uint8_t)v->err);
    enc_u8(e, flags);
    if (flags & VERDICT_ID)
        enc_position(e, v->id);
    if (flags & VERDICT_SEQ)
        enc_u64(e, v->seq);
    if (flags & VERDICT_PRODUCER) {
        enc_u32(e, v->producer_epoch);
        enc_u64(e, v->next_number);
    }
    if (flags & VERDICT_NEXT_SEQ)
        enc_u64(e, v->next_seq);
}

void wire_verdict_write(struct buf *out, const struct verdict *v)
{
    ASSERT(err_is_wire((uint32_t)v->err));
    struct enc measured = enc_of(NULL, 0);
    put_verdict(&measured, v);
    struct enc e = enc_of(buf_grow(out, measured.size), measured.size);
    put_verdict(&e, v);
}

bool wire_verdict_next(struct dec *d, struct verdict *out)
{
    if (dec_left(d) == 0)
        return false;
    *out = (struct verdict){0};
    uint8_t err = dec_u8(d);
    uint8_t flags = dec_u8(d);
    if (!err_is_wire(err))
        dec_fail(d);
    else
        out->err = (enum err)err;
    out->is_duplicate = (flags & VERDICT_DUPLICATE) != 0;
    if (flags & VERDICT_ID)
        out->id = dec_position(d);
    if (flags & VERDICT_SEQ)
        out->seq = dec_u64(d);
    if (flags & VERDICT_PRODUCER) {
        out->producer_epoch = dec_u32(d);
        out->next_number = dec_u64(d);
    }
    if (flags & VERDICT_NEXT_SEQ)
        out->next_seq = dec_u64(d);
    if (flags != verdict_flags(out))
        dec_fail(d);
    return !d->is_bad;
}

static void put_stream(struct enc *e, const struct stream_info *s)
{
    enc_position(e, s->id);
    enc_string(e, s->name);
    enc_u64(e, s->first_seq);
    enc_u64(e, s->next_seq);
    enc_u64(e, s->bytes);
    enc_u64(e, s->created_ms);
    enc_u64(e, s->changed_ms);
    enc_u32(e, s->producers);
}

void wire_stream_write(struct buf *out, const struct stream_info *s)
{
    struct enc measured = enc_of(NULL, 0);
    put_stream(&measured, s);
    struct enc e = enc_of(buf_grow(out, measured.size), measured.size);
    put_stream(&e, s);
}

bool wire_stream_next(struct dec *d, struct stream_info *out)
{
    if (dec_left(d) == 0)
        return false;
    out->id = dec_position(d);
    out->name = get_string(d, STREAM_NAME_MAX);
    out->first_seq = dec_u64(d);
    out->next_seq = dec_u64(d);
    out->bytes = dec_u64(d);
    out->created_ms = dec_u64(d);
    out->changed_ms = dec_u64(d);
    out->producers = dec_u32(d);
    return !d->is_bad;
}

/* Before the first: one whose successor has seq 0. */
static uint64_t seq_after(const struct segment_head *previous)
{
    bool is_first = previous->algorithm == 0;
    return is_first ? 0 : previous->seq + 1;
}

static uint8_t segment_flags(const struct segment_head *previous,
                             const struct segment_head *s)
{
    unsigned flags = 0;
    flags |= s->seq != seq_after(previous) ? SEGMENT_SEQ : 0u;
    flags |= s->time_ms != previous->time_ms ? SEGMENT_TIME : 0u;
    flags |= s->key_hash != 0 ? SEGMENT_KEY : 0u;
    flags |= s->attributes.size > 0 ? SEGMENT_ATTRIBUTES : 0u;
    return (uint8_t)flags;
}

static void put_segment(struct enc *e, const struct segment_head *previous,
                        const struct segment_head *s)
{
    uint8_t flags = segment_flags(previous, s);
    enc_u8(e, flags);
    if (flags & SEGMENT_SEQ)
        enc_u64(e, s->seq);
    if (flags & SEGMENT_TIME)
        enc_u64(e, s->time_ms);
    enc_u32(e, s->size);
    enc_u8(e, s->algorithm);
    enc_hash128(e, s->checksum);
    if (flags & SEGMENT_KEY)
        enc_u64(e, s->key_hash);
    if (flags & SEGMENT_ATTRIBUTES)
        enc_string(e, s->attributes);
}

void wire_segment_write(struct buf *out, struct segment_head *previous,
                        const struct segment_head *s)
{
    ASSERT(s->algorithm != 0);
    struct enc measured = enc_of(NULL, 0);
    put_segment(&measured, previous, s);
    struct enc e = enc_of(buf_grow(out, measured.size), measured.size);
    put_segment(&e, previous, s);
    *previous = *s;
    previous->attributes = (struct span){NULL, 0};
}

bool wire_segment_next(struct dec *d, struct segment_head *previous,
                       struct segment_head *out)
{
    if (dec_left(d) == 0)
        return false;
    *out = (struct segment_head){0};
    uint8_t flags = dec_u8(d);
    out->seq = flags & SEGMENT_SEQ ? dec_u64(d) : seq_after(previous);
    out->time_ms = flags & SEGMENT_TIME ? dec_u64(d) : previous->time_ms;
    out->size = dec_u32(d);
    out->algorithm = dec_u8(d);
    out->checksum = dec_hash128(d);
    if (flags & SEGMENT_KEY)
        out->key_hash = dec_u64(d);
    if (flags & SEGMENT_ATTRIBUTES)
        out->attributes = get_string(d, ATTRIBUTES_BYTES_MAX);
    /* Algorithm 0 is what marks "no previous one". */
    if (flags != segment_flags(previous, out) || out->algorithm == 0 ||
        out->size > SEGMENT_BYTES_MAX - out->attributes.size)
        dec_fail(d);
    *previous = *out;
    previous->attributes = (struct span){NULL, 0};
    return !d->is_bad;
}

/* ---- responses --------------------------------------------------------- */

static bool has_body(enum wire_op op, enum err err)
{
    return err == ERR_OK || (op == OP_READ && err == ERR_TRIMMED);
}

static void put_response_body(struct enc *e, const struct response *r)
{
    switch (r->op) {
    case OP_NONE:
    case OP_JOIN:
        return;
    case OP_HELLO:
        enc_id(e, r->node);
        enc_u16(e, r->level);
        enc_string(e, r->version);
        return;
    case OP_RECORD:
    case OP_STATUS:
    case OP_CHECK:
        put_blob(e, r->bytes);
        return;
    case OP_COMMANDS:
        enc_u16(e, r->verdict_count);
        enc_bytes(e, r->verdicts.data, r->verdicts.size);
        return;
    case OP_OPEN:
    case OP_INFO:
    case OP_LIST:
        enc_u32(e, r->stream_count);
        enc_u8(e, r->has_more);
        enc_bytes(e, r->streams.data, r->streams.size);
        return;
    case OP_READ:
        enc_u64(e, r->next_seq);
        enc_u64(e, r->first_seq);
        enc_u8(e, r->is_leader);
        enc_u32(e, r->segment_count);
        enc_bytes(e, r->segments.data, r->segments.size);
        return;
    case OP_CHANGE:
    case OP_RECOVER:
        enc_epoch(e, r->epoch);
        return;
    }
}

static void put_response(struct enc *e, const struct response *r)
{
    enc_u16(e, (uint16_t)r->op);
    enc_u16(e, (uint16_t)r->err);
    enc_id(e, r->hint);
    enc_u32(e, r->credit_bytes);
    enc_u32(e, r->credit_commands);
    enc_string(e, r->text);
    if (has_body(r->op, r->err))
        put_response_body(e, r);
}

void wire_response_write(struct wire_out *o, const struct response *r)
{
    ASSERT(err_is_wire((uint32_t)r->err));
    struct enc measured = enc_of(NULL, 0);
    put_response(&measured, r);
    struct enc e = enc_of(buf_grow(&o->bytes, measured.size), measured.size);
    put_response(&e, r);
    ASSERT(e.size == measured.size);
}

static void get_verdicts(struct dec *d, struct response *r)
{
    r->verdict_count = dec_u16(d);
    r->verdicts = dec_bytes(d, dec_left(d));
    struct dec walk = dec_of(r->verdicts);
    struct verdict v;
    uint32_t count = 0;
    while (wire_verdict_next(&walk, &v))
        count++;
    if (!dec_done(&walk) || count != r->verdict_count)
        dec_fail(d);
}

static void get_streams(struct dec *d, struct response *r)
{
    r->stream_count = dec_u32(d);
    r->has_more = get_bool(d);
    r->streams = dec_bytes(d, dec_left(d));
    struct dec walk = dec_of(r->streams);
    struct stream_info s;
    uint32_t count = 0;
    while (wire_stream_next(&walk, &s))
        count++;
    if (!dec_done(&walk) || count != r->stream_count)
        dec_fail(d);
    if (r->op != OP_LIST && (count != 1 || r->has_more))
        dec_fail(d);
}

static void get_segments(struct dec *d, size_t payload_bytes,
                         struct response *r)
{
    r->next_seq = dec_u64(d);
    r->first_seq = dec_u64(d);
    r->is_leader = get_bool(d);
    r->segment_count = dec_u32(d);
    r->segments = dec_bytes(d, dec_left(d));
    struct dec walk = dec_of(r->segments);
    struct segment_head previous = {0};
    struct segment_head s;
    uint64_t sum = 0;
    uint64_t seq = 0;
    uint32_t count = 0;
    while (wire_segment_next(&walk, &previous, &s)) {
        if (count > 0 && s.seq != seq + 1)
            dec_fail(d);
        seq = s.seq;
        sum += s.size;
        count++;
    }
    if (!dec_done(&walk) || count != r->segment_count || sum != payload_bytes)
        dec_fail(d);
}

static void get_response_body(struct dec *d, const struct wire_in *in,
                              struct response *out)
{
    switch (out->op) {
    case OP_NONE:
    case OP_JOIN:
        return;
    case OP_HELLO:
        out->node = dec_id(d);
        out->level = dec_u16(d);
        out->version = dec_string(d);
        return;
    case OP_RECORD:
    case OP_STATUS:
    case OP_CHECK:
        out->bytes = get_blob(d);
        return;
    case OP_COMMANDS:
        get_verdicts(d, out);
        return;
    case OP_OPEN:
    case OP_INFO:
    case OP_LIST:
        get_streams(d, out);
        return;
    case OP_READ:
        get_segments(d, in->payload.size, out);
        return;
    case OP_CHANGE:
    case OP_RECOVER:
        out->epoch = dec_epoch(d);
        return;
    }
}

enum err wire_response_read(const struct wire_in *in, struct response *out)
{
    ASSERT(in->header.kind == WIRE_RESPONSE);
    *out = (struct response){0};
    struct dec d = dec_of(in->inline_part);
    uint16_t op = dec_u16(&d);
    uint16_t err = dec_u16(&d);
    if (d.is_bad || !op_is_known(op) || !err_is_wire(err))
        return ERR_BAD_REQUEST;
    out->op = (enum wire_op)op;
    out->err = (enum err)err;
    out->hint = dec_id(&d);
    out->credit_bytes = dec_u32(&d);
    out->credit_commands = dec_u32(&d);
    out->text = dec_string(&d);
    bool is_read = out->op == OP_READ && has_body(out->op, out->err);
    if (in->payload.size > 0 && !is_read)
        return ERR_BAD_REQUEST;
    if (out->op == OP_NONE && out->err == ERR_OK)
        return ERR_BAD_REQUEST;
    if (has_body(out->op, out->err))
        get_response_body(&d, in, out);
    return dec_done(&d) ? ERR_OK : ERR_BAD_REQUEST;
}
