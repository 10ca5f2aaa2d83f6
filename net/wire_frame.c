/* wire_frame.c - the frames between nodes, see wire.h.
 *
 *   frame    body bytes u32, payload bytes u32, kind u16, flags u16 = 0, body
 *   group    group u32, generation 12, from u64, to u64, term u64
 *
 * Each kind has a put and a get of its body; both are straight lists of the
 * same fields in the same order. */
#include "net/wire.h"

#include "net/wire_ring.h"
#include "ring/codec.h"

#define FRAME_HEAD_BYTES   12u
#define GROUP_PREFIX_BYTES 40u
/* Of a body without what its owner sized: that of APPEND_REPLY, the longest of
 * Raft's, and any at all (REMOVED with all its members). */
#define RAFT_BODY_BYTES  (GROUP_PREFIX_BYTES + 41u)
#define BODY_FIXED_BYTES (GROUP_PREFIX_BYTES + 65u + 25u * REPLICAS_MAX)
#define FIRST_NODE_FRAME 64u /* kinds from here on are not of a group */

static_assert(FRAME_HEAD_BYTES + RAFT_BODY_BYTES <= WIRE_RAFT_BYTES_MAX,
              "the bound that the header gives");

static bool is_raft(enum frame_kind kind)
{
    return kind >= FRAME_RAFT_FIRST && kind <= FRAME_RAFT_LAST;
}

static bool is_of_group(enum frame_kind kind)
{
    return (uint32_t)kind < FIRST_NODE_FRAME;
}

static bool is_append(enum frame_kind kind)
{
    return is_raft(kind) && (enum raft_msg_kind)kind == RAFT_APPEND;
}

/* ---- out --------------------------------------------------------------- */

/* The head's lengths and kind are set by end_frame. */
static struct enc begin_frame(struct wire_out *o, size_t body_max)
{
    size_t size_max = FRAME_HEAD_BYTES + body_max;
    buf_reserve(&o->bytes, o->bytes.size + size_max);
    struct enc e = enc_of(o->bytes.data + o->bytes.size, size_max);
    e.size = FRAME_HEAD_BYTES;
    return e;
}

static void end_frame(struct wire_out *o, const struct enc *e,
                      enum frame_kind kind, size_t payload)
{
    ASSERT(enc_fits(e));
    ASSERT(e->size <= MESSAGE_BYTES_MAX && payload <= MESSAGE_BYTES_MAX);
    struct enc head = enc_of(e->data, FRAME_HEAD_BYTES);
    enc_u32(&head, (uint32_t)(e->size - FRAME_HEAD_BYTES));
    enc_u32(&head, (uint32_t)payload);
    enc_u16(&head, (uint16_t)kind);
    enc_u16(&head, 0);
    o->bytes.size += e->size;
}

/* One check for all of it: the compiler sees that the fields fit. */
static void put_group(struct enc *e, const struct frame_group *g)
{
    uint8_t *room = enc_room(e, GROUP_PREFIX_BYTES);
    if (room == NULL)
        return;
    struct enc prefix = enc_of(room, GROUP_PREFIX_BYTES);
    enc_u32(&prefix, g->group);
    enc_generation(&prefix, g->generation);
    enc_u64(&prefix, g->from_replica);
    enc_u64(&prefix, g->to_replica);
    enc_u64(&prefix, g->term);
    ASSERT(prefix.size == GROUP_PREFIX_BYTES);
}

static void put_append(struct enc *e, const struct raft_msg *m)
{
    enc_u64(e, m->prev_index);
    enc_u64(e, m->prev_term);
    enc_u64(e, m->commit);
    enc_u64(e, m->round);
    enc_u32(e, m->item_count);
    for (uint32_t i = 0; i < m->item_count; i++) {
        struct span manifest = item_manifest(m->items[i]);
        enc_u32(e, (uint32_t)manifest.size);
        enc_bytes(e, manifest.data, manifest.size);
    }
}

static void put_raft(struct enc *e, const struct raft_msg *m)
{
    switch (m->kind) {
    case RAFT_PREVOTE:
    case RAFT_VOTE:
        enc_u64(e, m->last_index);
        enc_u64(e, m->last_term);
        enc_u8(e, m->is_transfer);
        return;
    case RAFT_PREVOTE_REPLY:
    case RAFT_VOTE_REPLY:
        enc_u8(e, m->granted);
        return;
    case RAFT_APPEND:
        put_append(e, m);
        return;
    case RAFT_APPEND_REPLY:
        enc_u8(e, m->granted);
        enc_u64(e, m->match);
        enc_u64(e, m->prev_index);
        enc_u64(e, m->hint_index);
        enc_u64(e, m->hint_term);
        enc_u64(e, m->round);
        return;
    case RAFT_HEARTBEAT:
        enc_u64(e, m->commit);
        enc_u64(e, m->round);
        enc_u64(e, m->floor);
        return;
    case RAFT_HEARTBEAT_REPLY:
        enc_u64(e, m->match);
        enc_u64(e, m->round);
        return;
    case RAFT_TIMEOUT_NOW:
        return;
    }
}

static void put_config(struct enc *e, const struct config *c)
{
    ASSERT(c->count <= REPLICAS_MAX);
    enc_u64(e, c->index);
    enc_u8(e, (uint8_t)c->count);
    for (uint32_t i = 0; i < c->count; i++) {
        enc_id(e, c->members[i].replica.node);
        enc_u64(e, c->members[i].replica.added);
        enc_u8(e, c->members[i].is_voter);
    }
}

static void put_echo(struct enc *e, const struct frame_echo *echo)
{
    enc_u8(e, (uint8_t)echo->lane);
    enc_u64(e, echo->boot);
    enc_u64(e, echo->received);
    enc_u64(e, echo->missing_first);
    enc_u64(e, echo->missing_last);
}

static void put_invite(struct enc *e, const struct frame_invite *invite)
{
    enc_u64(e, invite->added);
    enc_u64(e, invite->round);
    enc_u64(e, invite->pin);
    enc_epoch(e, invite->epoch);
}

static void put_cursor(struct enc *e, struct row_cursor cursor)
{
    enc_position(e, cursor.stream);
    enc_u64(e, cursor.seq);
}

static void put_transfer(struct enc *e, const struct frame *f)
{
    const struct frame_transfer *t = &f->transfer;
    if (f->kind == FRAME_ROWS)
        enc_u16(e, (uint16_t)t->err);
    enc_u64(e, t->index);
    if (f->kind == FRAME_ROWS || f->kind == FRAME_ROWS_ASK)
        put_cursor(e, t->cursor);
    else
        enc_u32(e, t->offset);
    if (f->kind == FRAME_ROWS_ASK)
        enc_u32(e, t->bytes_max);
    if (f->kind == FRAME_BLOB) {
        enc_u32(e, t->total);
        enc_u64(e, t->term);
        enc_hash128(e, t->digest);
        enc_epoch(e, t->epoch);
        put_config(e, &t->config);
    }
    if (f->kind == FRAME_ROWS)
        enc_u64(e, hash64(f->bytes));
    enc_bytes(e, f->bytes.data, f->bytes.size);
}

static void put_body(struct enc *e, const struct frame *f)
{
    if (is_of_group(f->kind))
        put_group(e, &f->group);
    switch (f->kind) {
    case FRAME_RAFT_FIRST:
    case FRAME_RAFT_LAST:
        return; /* wire_frame_write_raft */
    case FRAME_INVITE:
        put_invite(e, &f->invite);
        return;
    case FRAME_INVITE_REPLY:
        enc_u16(e, (uint16_t)f->invite_reply);
        return;
    case FRAME_ASK:
        enc_u64(e, f->ask_added);
        return;
    case FRAME_REMOVED:
        enc_u64(e, f->removed.commit);
        put_config(e, &f->removed.config);
        return;
    case FRAME_BLOB_ASK:
    case FRAME_BLOB:
    case FRAME_ROWS_ASK:
    case FRAME_ROWS:
        put_transfer(e, f);
        return;
    case FRAME_SWIM:
    case FRAME_RECORD:
    case FRAME_DEAD:
    case FRAME_STANDING:
        enc_bytes(e, f->bytes.data, f->bytes.size);
        return;
    case FRAME_ECHO:
        put_echo(e, &f->echo);
        return;
    case FRAME_RECORD_ASK:
        enc_epoch(e, f->epoch);
        return;
    case FRAME_FORGOTTEN:
        enc_u64(e, f->boot);
        enc_u64(e, f->nonce);
        enc_u64(e, f->seen_boot);
        return;
    case FRAME_HELLO:
        enc_u64(e, f->boot);
        enc_u64(e, f->nonce);
        return;
    case FRAME_ADDRESS:
        enc_string(e, f->client_address);
        enc_string(e, f->peer_address);
        return;
    }
}

/* Of an APPEND's entries, inline and in the payload. */
static size_t manifests_size(const struct raft_msg *m)
{
    size_t size = 0;
    for (uint32_t i = 0; i < m->item_count; i++)
        size += 4 + m->items[i]->manifest_size;
    return size;
}

static size_t payload_size(const struct raft_msg *m)
{
    size_t size = 0;
    for (uint32_t i = 0; i < m->item_count; i++)
        size += m->items[i]->payload_size;
    return size;
}

/* What a body has beside its numbers. */
static size_t free_size(const struct frame *f)
{
    return f->bytes.size + f->client_address.size + f->peer_address.size;
}

size_t wire_frame_size_max(const struct frame *f)
{
    if (is_append(f->kind))
        return WIRE_RAFT_BYTES_MAX + manifests_size(&f->msg) +
               payload_size(&f->msg);
    if (is_raft(f->kind))
        return WIRE_RAFT_BYTES_MAX;
    return FRAME_HEAD_BYTES + BODY_FIXED_BYTES + free_size(f) + f->payload.size;
}

static void add_slices(struct wire_out *o, const struct raft_msg *m)
{
    for (uint32_t i = 0; i < m->item_count; i++) {
        const struct item *item = m->items[i];
        ASSERT(item_has_payload(item));
        for (uint32_t k = 0; k < item->slice_count; k++)
            wire_out_slice(o, item->slices[k]);
    }
}

void wire_frame_write_raft(struct wire_out *o, uint32_t group,
                           struct generation generation,
                           const struct raft_msg *msg)
{
    bool has_entries = msg->kind == RAFT_APPEND;
    struct enc e = begin_frame(o, RAFT_BODY_BYTES +
                                      (has_entries ? manifests_size(msg) : 0));
    put_group(&e, &(struct frame_group){group, generation, msg->from.added,
                                        msg->to.added, msg->term});
    put_raft(&e, msg);
    end_frame(o, &e, (enum frame_kind)msg->kind,
              has_entries ? payload_size(msg) : 0);
    if (has_entries)
        add_slices(o, msg);
}

void wire_frame_write(struct wire_out *o, const struct frame *f)
{
    if (is_raft(f->kind)) {
        ASSERT((uint32_t)f->kind == (uint32_t)f->msg.kind);
        wire_frame_write_raft(o, f->group.group, f->group.generation, &f->msg);
        return;
    }
    struct enc e = begin_frame(o, BODY_FIXED_BYTES + free_size(f));
    put_body(&e, f);
    end_frame(o, &e, f->kind, f->payload.size);
    if (f->payload.size > 0)
        wire_out_slice(o, f->payload);
}

/* ---- in ---------------------------------------------------------------- */

static bool get_bool(struct dec *d)
{
    uint8_t v = dec_u8(d);
    if (v > 1)
        dec_fail(d);
    return v == 1;
}

/* As in put_group: one check. */
static struct frame_group get_group(struct dec *d)
{
    struct frame_group g = {0};
    const uint8_t *bytes = dec_take(d, GROUP_PREFIX_BYTES);
    if (bytes == NULL)
        return g;
    struct dec prefix = dec_of(span_of(bytes, GROUP_PREFIX_BYTES));
    g.group = dec_u32(&prefix);
    g.generation = dec_generation(&prefix);
    g.from_replica = dec_u64(&prefix);
    g.to_replica = dec_u64(&prefix);
    g.term = dec_u64(&prefix);
    ASSERT(dec_done(&prefix));
    if (g.group >= GROUPS_MAX)
        dec_fail(d);
    return g;
}

bool wire_frame_entry_next(struct dec *entries, struct frame_entry *out)
{
    if (dec_left(entries) == 0)
        return false;
    uint32_t size = dec_u32(entries);
    out->manifest = dec_bytes(entries, size);
    struct entry_header h;
    if (entries->is_bad || entry_read_header(out->manifest, &h) != ERR_OK)
        return false;
    out->payload_bytes = h.payload_bytes;
    return true;
}

static void get_append(struct dec *d, struct frame *f)
{
    struct raft_msg *m = &f->msg;
    m->prev_index = dec_u64(d);
    m->prev_term = dec_u64(d);
    m->commit = dec_u64(d);
    m->round = dec_u64(d);
    m->item_count = dec_u32(d);
    f->entries = dec_bytes(d, dec_left(d));
    struct dec entries = dec_of(f->entries);
    struct frame_entry entry;
    uint32_t count = 0;
    uint64_t payload_bytes = 0;
    while (wire_frame_entry_next(&entries, &entry)) {
        struct entry_header h;
        count++;
        if (entry_check(entry.manifest) != ERR_OK ||
            entry_read_header(entry.manifest, &h) != ERR_OK ||
            h.index != m->prev_index + count)
            dec_fail(d);
        payload_bytes += entry.payload_bytes;
    }
    if (!dec_done(&entries) || count != m->item_count ||
        payload_bytes != f->payload_bytes)
        dec_fail(d);
}

static void get_raft(struct dec *d, struct frame *f)
{
    struct raft_msg *m = &f->msg;
    m->kind = (enum raft_msg_kind)f->kind;
    m->from.added = f->group.from_replica;
    m->to.added = f->group.to_replica;
    m->term = f->group.term;
    switch (m->kind) {
    case RAFT_PREVOTE:
    case RAFT_VOTE:
        m->last_index = dec_u64(d);
        m->last_term = dec_u64(d);
        m->is_transfer = get_bool(d);
        return;
    case RAFT_PREVOTE_REPLY:
    case RAFT_VOTE_REPLY:
        m->granted = get_bool(d);
        return;
    case RAFT_APPEND:
        get_append(d, f);
        return;
    case RAFT_APPEND_REPLY:
        m->granted = get_bool(d);
        m->match = dec_u64(d);
        m->prev_index = dec_u64(d);
        m->hint_index = dec_u64(d);
        m->hint_term = dec_u64(d);
        m->round = dec_u64(d);
        return;
    case RAFT_HEARTBEAT:
        m->commit = dec_u64(d);
        m->round = dec_u64(d);
        m->floor = dec_u64(d);
        return;
    case RAFT_HEARTBEAT_REPLY:
        m->match = dec_u64(d);
        m->round = dec_u64(d);
        return;
    case RAFT_TIMEOUT_NOW:
        return;
    }
}

/* At least one voter, and each pair once: as entry_check has it. */
static void get_config(struct dec *d, struct config *out)
{
    *out = (struct config){0};
    out->index = dec_u64(d);
    uint8_t count = dec_u8(d);
    if (count > REPLICAS_MAX) {
        dec_fail(d);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct config_member *m = &out->members[i];
        m->replica.node = dec_id(d);
        m->replica.added = dec_u64(d);
        m->is_voter = get_bool(d);
        if (id_is_zero(m->replica.node) || config_find(out, m->replica) != NULL)
            dec_fail(d);
        out->count = i + 1;
    }
    if (config_voters(out) == 0)
        dec_fail(d);
}

static struct frame_echo get_echo(struct dec *d)
{
    struct frame_echo echo = {0};
    uint8_t lane = dec_u8(d);
    if (lane >= LANE_COUNT)
        dec_fail(d);
    else
        echo.lane = (enum wire_lane)lane;
    echo.boot = dec_u64(d);
    echo.received = dec_u64(d);
    echo.missing_first = dec_u64(d);
    echo.missing_last = dec_u64(d);
    if (echo.missing_first > echo.missing_last ||
        (echo.missing_first == 0 && echo.missing_last != 0) ||
        echo.missing_last > echo.received)
        dec_fail(d);
    return echo;
}

static enum err get_err(struct dec *d)
{
    uint16_t number = dec_u16(d);
    if (!err_is_wire(number))
        dec_fail(d);
    return d->is_bad ? ERR_OK : (enum err)number;
}

static struct frame_invite get_invite(struct dec *d)
{
    struct frame_invite invite;
    invite.added = dec_u64(d);
    invite.round = dec_u64(d);
    invite.pin = dec_u64(d);
    invite.epoch = dec_epoch(d);
    return invite;
}

static struct row_cursor get_cursor(struct dec *d)
{
    struct row_cursor cursor;
    cursor.stream.index = dec_u64(d);
    cursor.stream.ordinal = dec_u16(d);
    cursor.seq = dec_u64(d);
    return cursor;
}

static void get_transfer(struct dec *d, struct frame *f)
{
    struct frame_transfer *t = &f->transfer;
    uint64_t checksum = 0;
    *t = (struct frame_transfer){0};
    if (f->kind == FRAME_ROWS)
        t->err = get_err(d);
    t->index = dec_u64(d);
    if (f->kind == FRAME_ROWS || f->kind == FRAME_ROWS_ASK)
        t->cursor = get_cursor(d);
    else
        t->offset = dec_u32(d);
    if (f->kind == FRAME_ROWS_ASK)
        t->bytes_max = dec_u32(d);
    if (f->kind == FRAME_BLOB) {
        t->total = dec_u32(d);
        t->term = dec_u64(d);
        t->digest = dec_hash128(d);
        t->epoch = dec_epoch(d);
        get_config(d, &t->config);
    }
    if (f->kind == FRAME_ROWS)
        checksum = dec_u64(d);
    if (f->kind == FRAME_BLOB || f->kind == FRAME_ROWS)
        f->bytes = dec_bytes(d, dec_left(d));
    if (f->kind == FRAME_ROWS && !d->is_bad && checksum != hash64(f->bytes))
        dec_fail(d);
}

static struct span get_rest(struct dec *d, size_t size_max)
{
    if (dec_left(d) == 0 || dec_left(d) > size_max)
        dec_fail(d);
    return dec_bytes(d, dec_left(d));
}

static struct span get_address(struct dec *d)
{
    struct span address = dec_string(d);
    if (!record_is_address(address))
        dec_fail(d);
    return address;
}

static bool kind_is_known(uint16_t kind)
{
    return (kind >= FRAME_RAFT_FIRST && kind <= FRAME_ROWS) ||
           (kind >= FRAME_SWIM && kind <= FRAME_ADDRESS);
}

/* False: the body makes no sense. `out` has kind and payload already. */
static bool get_body(struct dec *d, struct frame *out)
{
    if (is_of_group(out->kind))
        out->group = get_group(d);
    if (out->payload_bytes > 0 && !is_append(out->kind) &&
        out->kind != FRAME_ROWS)
        return false;
    if (is_raft(out->kind)) {
        get_raft(d, out);
        return dec_done(d);
    }
    switch (out->kind) {
    case FRAME_RAFT_FIRST:
    case FRAME_RAFT_LAST:
        break; /* above */
    case FRAME_INVITE:
        out->invite = get_invite(d);
        break;
    case FRAME_INVITE_REPLY:
        out->invite_reply = get_err(d);
        break;
    case FRAME_ASK:
        out->ask_added = dec_u64(d);
        break;
    case FRAME_REMOVED:
        out->removed.commit = dec_u64(d);
        get_config(d, &out->removed.config);
        break;
    case FRAME_BLOB_ASK:
    case FRAME_BLOB:
    case FRAME_ROWS_ASK:
    case FRAME_ROWS:
        get_transfer(d, out);
        break;
    case FRAME_SWIM:
        out->bytes = get_rest(d, SWIM_BYTES_MAX);
        break;
    case FRAME_RECORD:
        out->bytes = get_rest(d, RECORD_BYTES_MAX);
        break;
    case FRAME_DEAD:
        out->bytes = get_rest(d, MEMBERS_MAX * sizeof(struct id128));
        if (out->bytes.size % sizeof(struct id128) != 0)
            dec_fail(d);
        break;
    case FRAME_STANDING:
        out->bytes = wire_ring_get_standings(d);
        break;
    case FRAME_ECHO:
        out->echo = get_echo(d);
        break;
    case FRAME_RECORD_ASK:
        out->epoch = dec_epoch(d);
        break;
    case FRAME_FORGOTTEN:
        out->boot = dec_u64(d);
        out->nonce = dec_u64(d);
        out->seen_boot = dec_u64(d);
        break;
    case FRAME_HELLO:
        out->boot = dec_u64(d);
        out->nonce = dec_u64(d);
        break;
    case FRAME_ADDRESS:
        out->client_address = get_address(d);
        out->peer_address = get_address(d);
        break;
    }
    return dec_done(d);
}

void wire_frame_begin(struct frame_iter *it, const struct wire_in *in)
{
    it->d = dec_of(in->inline_part);
    it->payload_at = in->payload_at;
    it->payload_end = in->payload_at + (uint32_t)in->payload.size;
    it->skipped = 0;
}

bool wire_frame_next(struct frame_iter *it, struct frame *out)
{
    while (dec_left(&it->d) > 0) {
        uint32_t body_bytes = dec_u32(&it->d);
        uint32_t payload_bytes = dec_u32(&it->d);
        uint16_t kind = dec_u16(&it->d);
        uint16_t flags = dec_u16(&it->d);
        struct dec body = dec_of(dec_bytes(&it->d, body_bytes));
        if (payload_bytes > it->payload_end - it->payload_at)
            dec_fail(&it->d);
        /* Lengths that do not fit leave nothing to find the next one by. */
        if (it->d.is_bad) {
            it->skipped++;
            return false;
        }
        /* All but `removed`, which is most of it and seldom there. */
        memset(out, 0, offsetof(struct frame, removed));
        out->payload_at = it->payload_at;
        out->payload_bytes = payload_bytes;
        it->payload_at += payload_bytes;
        if (flags == 0 && kind_is_known(kind)) {
            out->kind = (enum frame_kind)kind;
            if (get_body(&body, out))
                return true;
        }
        it->skipped++;
    }
    return false;
}

bool wire_rows_verify(const struct wire_in *in)
{
    struct frame_iter it;
    struct frame f;
    wire_frame_begin(&it, in);
    while (wire_frame_next(&it, &f)) {
        uint32_t at = f.payload_at - in->payload_at;
        if (f.kind == FRAME_ROWS &&
            !moved_verify(f.bytes,
                          span_of(in->payload.data + at, f.payload_bytes)))
            return false;
    }
    return it.skipped == 0;
}
