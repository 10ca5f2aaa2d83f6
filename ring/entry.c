/* entry.c - see entry.h. One reader of a command serves both the check and
 * the walk, so that what one accepts the other understands. */
#include "ring/entry.h"

#include "ring/codec.h"

#define HEADER_INDEX_AT   4u /* behind version, kind, level */
#define HEADER_TERM_AT    12u
#define HEADER_PAYLOAD_AT 44u

#define CONFIG_MEMBER_BYTES 25u
#define RECORD_HEAD_BYTES   36u /* proposal, expected epoch, size */

enum append_flag {
    FLAG_CONTINUES = 1,
    FLAG_EXPECT = 2,
    FLAG_CLOSE = 4,
    FLAG_ATTRIBUTES = 8,
    FLAG_KEY = 16,
};
#define FLAGS_ALL 31u

static_assert(ENTRY_HEADER_BYTES == HEADER_PAYLOAD_AT + 4 + 2,
              "the header ends with payload bytes and command count");
static_assert(REPLICAS_MAX <= UINT8_MAX, "a configuration's count is a byte");
static_assert(ENTRY_COMMANDS_MAX <= UINT16_MAX, "an ordinal is a u16");

/* ---- configurations ---------------------------------------------------- */

uint32_t config_voters(const struct config *c)
{
    uint32_t voters = 0;
    for (uint32_t i = 0; i < c->count; i++)
        voters += c->members[i].is_voter;
    return voters;
}

const struct config_member *config_find(const struct config *c,
                                        struct replica r)
{
    for (uint32_t i = 0; i < c->count; i++)
        if (replica_equal(c->members[i].replica, r))
            return &c->members[i];
    return NULL;
}

const struct config_member *config_find_node(const struct config *c,
                                             struct id128 node)
{
    const struct config_member *found = NULL;
    for (uint32_t i = 0; i < c->count; i++) {
        const struct config_member *m = &c->members[i];
        if (!id_equal(m->replica.node, node))
            continue;
        if (found == NULL || m->replica.added > found->replica.added)
            found = m;
    }
    return found;
}

bool config_equal(const struct config *a, const struct config *b)
{
    if (a->index != b->index || a->count != b->count)
        return false;
    for (uint32_t i = 0; i < a->count; i++) {
        if (!replica_equal(a->members[i].replica, b->members[i].replica))
            return false;
        if (a->members[i].is_voter != b->members[i].is_voter)
            return false;
    }
    return true;
}

/* ---- what a command may be --------------------------------------------- */

static enum err check_name(struct span name, size_t size_max)
{
    if (name.size == 0)
        return ERR_BAD_REQUEST;
    return name.size > size_max ? ERR_TOO_LARGE : ERR_OK;
}

static enum err check_append(const struct command *c)
{
    if (c->algorithm != CHECKSUM_XXH3_128)
        return ERR_BAD_REQUEST;
    /* The number after it must exist: next_number is last + 1. */
    if (c->number == UINT64_MAX)
        return ERR_BAD_REQUEST;
    if (c->attributes.size > ATTRIBUTES_BYTES_MAX)
        return ERR_TOO_LARGE;
    if (c->size > SEGMENT_BYTES_MAX - c->attributes.size)
        return ERR_TOO_LARGE;
    return ERR_OK;
}

enum err command_check(const struct command *c)
{
    switch (c->kind) {
    case COMMAND_CREATE:
        return check_name(c->name, STREAM_NAME_MAX);
    case COMMAND_APPEND:
        return check_append(c);
    case COMMAND_OPEN_PRODUCER:
        return check_name(c->name, PRODUCER_NAME_MAX);
    }
    return ERR_BAD_REQUEST;
}

/* ---- building ---------------------------------------------------------- */

static void put_header(struct enc *e, const struct entry_header *h)
{
    enc_u8(e, ENTRY_VERSION);
    enc_u8(e, (uint8_t)h->kind);
    enc_u16(e, h->stamp.level);
    enc_u64(e, h->index);
    enc_u64(e, h->term);
    enc_epoch(e, h->stamp.epoch);
    enc_u64(e, h->stamp.time_ms);
    enc_u32(e, h->payload_bytes);
    enc_u16(e, h->command_count);
}

static struct entry_header header_of(enum entry_kind kind,
                                     struct entry_stamp stamp)
{
    return (struct entry_header){.kind = kind, .stamp = stamp};
}

void entry_build(struct entry_builder *b, struct buf *out,
                 struct entry_stamp stamp)
{
    *b = (struct entry_builder){.out = out};
    b->header = header_of(ENTRY_COMMANDS, stamp);
    buf_clear(out);
    struct enc e =
        enc_of(buf_grow(out, ENTRY_HEADER_BYTES), ENTRY_HEADER_BYTES);
    put_header(&e, &b->header);
}

/* True if `c` is told by "CONTINUES" behind `previous`. */
static bool continues(const struct command *previous, const struct command *c)
{
    return previous->kind == COMMAND_APPEND &&
           position_equal(previous->stream, c->stream) &&
           position_equal(previous->producer, c->producer) &&
           previous->producer_epoch == c->producer_epoch &&
           previous->number + 1 == c->number;
}

static void put_append(struct enc *e, const struct command *c,
                       bool is_continuing)
{
    unsigned flags = 0;
    flags |= is_continuing ? FLAG_CONTINUES : 0u;
    flags |= c->expected_seq != SEQ_ANY ? FLAG_EXPECT : 0u;
    flags |= c->closes_producer ? FLAG_CLOSE : 0u;
    flags |= c->attributes.size > 0 ? FLAG_ATTRIBUTES : 0u;
    flags |= c->key_hash != 0 ? FLAG_KEY : 0u;
    enc_u8(e, (uint8_t)flags);
    if (!is_continuing) {
        enc_position(e, c->stream);
        enc_position(e, c->producer);
        enc_u32(e, c->producer_epoch);
        enc_u64(e, c->number);
    }
    if (flags & FLAG_EXPECT)
        enc_u64(e, c->expected_seq);
    enc_u32(e, c->size);
    enc_u8(e, c->algorithm);
    enc_hash128(e, c->checksum);
    if (flags & FLAG_KEY)
        enc_u64(e, c->key_hash);
    if (flags & FLAG_ATTRIBUTES)
        enc_string(e, c->attributes);
}

static void put_command(struct enc *e, const struct command *c,
                        bool is_continuing)
{
    enc_u8(e, (uint8_t)c->kind);
    switch (c->kind) {
    case COMMAND_CREATE:
        enc_string(e, c->name);
        return;
    case COMMAND_APPEND:
        put_append(e, c, is_continuing);
        return;
    case COMMAND_OPEN_PRODUCER:
        enc_position(e, c->stream);
        enc_u8(e, c->is_unnamed);
        enc_string(e, c->name);
        return;
    }
}

void command_write(struct enc *e, const struct command *previous,
                   const struct command *c)
{
    put_command(e, c, continues(previous, c));
}

enum err entry_add(struct entry_builder *b, const struct command *c)
{
    enum err err = command_check(c);
    if (err != ERR_OK)
        return err;
    if (b->header.command_count == ENTRY_COMMANDS_MAX)
        return ERR_TOO_LARGE;
    uint32_t size = c->kind == COMMAND_APPEND ? c->size : 0;
    if (size > ENTRY_PAYLOAD_BYTES_MAX - b->header.payload_bytes)
        return ERR_TOO_LARGE;
    bool is_continuing = b->has_previous && continues(&b->previous, c);
    struct enc measured = enc_of(NULL, 0);
    put_command(&measured, c, is_continuing);
    if (b->out->size + measured.size > ENTRY_MANIFEST_BYTES_MAX)
        return ERR_TOO_LARGE;
    struct enc e = enc_of(buf_grow(b->out, measured.size), measured.size);
    put_command(&e, c, is_continuing);
    ASSERT(e.size == measured.size);
    b->header.command_count++;
    b->header.payload_bytes += size;
    b->previous = *c;
    b->previous.name = (struct span){NULL, 0};
    b->previous.attributes = (struct span){NULL, 0};
    b->has_previous = true;
    return ERR_OK;
}

void entry_end(struct entry_builder *b)
{
    ASSERT(b->header.command_count > 0);
    ASSERT(b->out->size >= ENTRY_HEADER_BYTES);
    struct enc e = enc_of(b->out->data, ENTRY_HEADER_BYTES);
    put_header(&e, &b->header);
}

void entry_build_noop(struct buf *out, struct entry_stamp stamp)
{
    struct entry_header h = header_of(ENTRY_NOOP, stamp);
    buf_clear(out);
    struct enc e =
        enc_of(buf_grow(out, ENTRY_HEADER_BYTES), ENTRY_HEADER_BYTES);
    put_header(&e, &h);
}

void entry_build_config(struct buf *out, struct entry_stamp stamp,
                        const struct config *c)
{
    ASSERT(c->count <= REPLICAS_MAX);
    struct entry_header h = header_of(ENTRY_CONFIG, stamp);
    size_t size = ENTRY_HEADER_BYTES + 1 + c->count * CONFIG_MEMBER_BYTES;
    buf_clear(out);
    struct enc e = enc_of(buf_grow(out, size), size);
    put_header(&e, &h);
    enc_u8(&e, (uint8_t)c->count);
    for (uint32_t i = 0; i < c->count; i++) {
        enc_id(&e, c->members[i].replica.node);
        enc_u64(&e, c->members[i].replica.added);
        enc_u8(&e, c->members[i].is_voter);
    }
    ASSERT(e.size == size);
}

void entry_build_record(struct buf *out, struct entry_stamp stamp,
                        const struct entry_record *r)
{
    ASSERT(r->record.size <= RECORD_BYTES_MAX);
    struct entry_header h = header_of(ENTRY_RECORD, stamp);
    size_t size = ENTRY_HEADER_BYTES + RECORD_HEAD_BYTES + r->record.size;
    buf_clear(out);
    struct enc e = enc_of(buf_grow(out, size), size);
    put_header(&e, &h);
    enc_id(&e, r->proposal);
    enc_epoch(&e, r->expected);
    enc_u32(&e, (uint32_t)r->record.size);
    enc_bytes(&e, r->record.data, r->record.size);
    ASSERT(e.size == size);
}

void entry_number(uint8_t *manifest, uint64_t index, uint64_t term)
{
    struct enc e = enc_of(manifest + HEADER_INDEX_AT,
                          HEADER_TERM_AT + 8 - HEADER_INDEX_AT);
    enc_u64(&e, index);
    enc_u64(&e, term);
}

/* ---- reading ----------------------------------------------------------- */

/* Reads the header; what it says of the body is not checked here. */
static enum err get_header(struct dec *d, struct entry_header *out)
{
    uint8_t version = dec_u8(d);
    uint8_t kind = dec_u8(d);
    out->stamp.level = dec_u16(d);
    out->index = dec_u64(d);
    out->term = dec_u64(d);
    out->stamp.epoch = dec_epoch(d);
    out->stamp.time_ms = dec_u64(d);
    out->payload_bytes = dec_u32(d);
    out->command_count = dec_u16(d);
    if (d->is_bad || version == 0 || out->stamp.level == 0)
        return ERR_BAD_REQUEST;
    /* A newer level may bring kinds that we do not know (T11). */
    if (version > ENTRY_VERSION || out->stamp.level > LEVEL_NOW)
        return ERR_INCOMPATIBLE;
    if (kind < ENTRY_NOOP || kind > ENTRY_RECORD)
        return ERR_BAD_REQUEST;
    out->kind = (enum entry_kind)kind;
    return ERR_OK;
}

static void get_append(struct dec *d, const struct command *previous,
                       struct command *out)
{
    uint8_t flags = dec_u8(d);
    if ((flags & ~FLAGS_ALL) != 0)
        dec_fail(d);
    if (flags & FLAG_CONTINUES) {
        if (previous->kind != COMMAND_APPEND)
            dec_fail(d);
        out->stream = previous->stream;
        out->producer = previous->producer;
        out->producer_epoch = previous->producer_epoch;
        out->number = previous->number + 1;
    } else {
        out->stream = dec_position(d);
        out->producer = dec_position(d);
        out->producer_epoch = dec_u32(d);
        out->number = dec_u64(d);
    }
    out->expected_seq = flags & FLAG_EXPECT ? dec_u64(d) : SEQ_ANY;
    out->closes_producer = (flags & FLAG_CLOSE) != 0;
    out->size = dec_u32(d);
    out->algorithm = dec_u8(d);
    out->checksum = dec_hash128(d);
    out->key_hash = flags & FLAG_KEY ? dec_u64(d) : 0;
    if (flags & FLAG_ATTRIBUTES)
        out->attributes = dec_string(d);
    /* One meaning, one encoding: a flag stands for a value that is there. */
    if ((flags & FLAG_EXPECT && out->expected_seq == SEQ_ANY) ||
        (flags & FLAG_KEY && out->key_hash == 0) ||
        (flags & FLAG_ATTRIBUTES && out->attributes.size == 0))
        dec_fail(d);
}

bool command_read(struct dec *d, const struct command *previous,
                  struct command *out)
{
    *out = (struct command){.expected_seq = SEQ_ANY};
    uint8_t kind = dec_u8(d);
    if (kind < COMMAND_CREATE || kind > COMMAND_OPEN_PRODUCER)
        return false;
    out->kind = (enum command_kind)kind;
    uint8_t is_unnamed = 0;
    switch (out->kind) {
    case COMMAND_CREATE:
        out->name = dec_string(d);
        break;
    case COMMAND_APPEND:
        get_append(d, previous, out);
        break;
    case COMMAND_OPEN_PRODUCER:
        out->stream = dec_position(d);
        is_unnamed = dec_u8(d);
        out->is_unnamed = is_unnamed == 1;
        out->name = dec_string(d);
        break;
    }
    return !d->is_bad && is_unnamed <= 1 && command_check(out) == ERR_OK;
}

static bool check_commands(struct span manifest, struct dec *d,
                           const struct entry_header *h)
{
    if (manifest.size > ENTRY_MANIFEST_BYTES_MAX)
        return false;
    if (h->command_count == 0 || h->command_count > ENTRY_COMMANDS_MAX)
        return false;
    /* Two commands by turns, so that none is copied to be the previous. */
    struct command commands[2];
    commands[1].kind = 0;
    uint64_t payload_bytes = 0;
    for (uint32_t i = 0; i < h->command_count; i++) {
        struct command *c = &commands[i & 1];
        if (!command_read(d, &commands[~i & 1], c))
            return false;
        payload_bytes += c->size;
    }
    return payload_bytes == h->payload_bytes &&
           payload_bytes <= ENTRY_PAYLOAD_BYTES_MAX;
}

/* A configuration's body. At least one voter, each pair once. */
static bool get_config(struct dec *d, struct config *out)
{
    out->count = dec_u8(d);
    if (out->count > REPLICAS_MAX)
        return false;
    for (uint32_t i = 0; i < out->count; i++) {
        struct config_member *m = &out->members[i];
        m->replica.node = dec_id(d);
        m->replica.added = dec_u64(d);
        uint8_t is_voter = dec_u8(d);
        m->is_voter = is_voter == 1;
        if (d->is_bad || is_voter > 1 || id_is_zero(m->replica.node))
            return false;
        if (config_find(out, m->replica) != m)
            return false;
    }
    return !d->is_bad && config_voters(out) > 0;
}

static bool get_record(struct dec *d, struct entry_record *out)
{
    out->proposal = dec_id(d);
    out->expected = dec_epoch(d);
    uint32_t size = dec_u32(d);
    if (size > RECORD_BYTES_MAX)
        return false;
    out->record = dec_bytes(d, size);
    return !d->is_bad;
}

enum err entry_check(struct span manifest)
{
    struct dec d = dec_of(manifest);
    struct entry_header h;
    enum err err = get_header(&d, &h);
    if (err != ERR_OK)
        return err;
    bool is_good = false;
    bool is_bare = h.payload_bytes == 0 && h.command_count == 0;
    struct config config;
    struct entry_record record;
    switch (h.kind) {
    case ENTRY_NOOP:
        is_good = is_bare;
        break;
    case ENTRY_CONFIG:
        is_good = is_bare && get_config(&d, &config);
        break;
    case ENTRY_RECORD:
        is_good = is_bare && get_record(&d, &record);
        break;
    case ENTRY_COMMANDS:
        is_good = check_commands(manifest, &d, &h);
        break;
    }
    return is_good && dec_done(&d) ? ERR_OK : ERR_BAD_REQUEST;
}

enum err entry_read_header(struct span manifest, struct entry_header *out)
{
    struct dec d = dec_of(manifest);
    return get_header(&d, out);
}

enum err entry_read_config(struct span manifest, struct config *out)
{
    struct dec d = dec_of(manifest);
    struct entry_header h;
    enum err err = get_header(&d, &h);
    if (err != ERR_OK)
        return err;
    if (h.kind != ENTRY_CONFIG)
        return ERR_BAD_REQUEST;
    *out = (struct config){.index = h.index};
    return get_config(&d, out) && dec_done(&d) ? ERR_OK : ERR_BAD_REQUEST;
}

enum err entry_read_record(struct span manifest, struct entry_record *out)
{
    struct dec d = dec_of(manifest);
    struct entry_header h;
    enum err err = get_header(&d, &h);
    if (err != ERR_OK)
        return err;
    if (h.kind != ENTRY_RECORD)
        return ERR_BAD_REQUEST;
    return get_record(&d, out) && dec_done(&d) ? ERR_OK : ERR_BAD_REQUEST;
}

enum err entry_begin(struct entry_iter *it, struct span manifest)
{
    it->d = dec_of(manifest);
    it->previous.kind = 0;
    it->next_ordinal = 0;
    enum err err = get_header(&it->d, &it->header);
    if (err != ERR_OK)
        return err;
    return it->header.kind == ENTRY_COMMANDS ? ERR_OK : ERR_BAD_REQUEST;
}

bool entry_next(struct entry_iter *it, struct command *out)
{
    if (it->d.is_bad || it->next_ordinal == it->header.command_count)
        return false;
    if (!command_read(&it->d, &it->previous, out)) {
        dec_fail(&it->d);
        return false;
    }
    out->ordinal = it->next_ordinal++;
    it->previous = *out;
    return true;
}

/* ---- items ------------------------------------------------------------- */

void item_pool_free(struct item_pool *p)
{
    mem_free(p->released);
    *p = (struct item_pool){0};
}

void item_pool_release(struct item_pool *p, uint64_t handle)
{
    ASSERT(handle != 0);
    if (p->released_count == p->released_capacity) {
        size_t grown =
            p->released_capacity == 0 ? 64 : p->released_capacity * 2;
        p->released = mem_resize(p->released, grown * sizeof *p->released);
        p->released_capacity = grown;
    }
    p->released[p->released_count++] = handle;
}

struct item *item_new(struct item_pool *p, struct span manifest,
                      const struct slice *slices, uint32_t slice_count)
{
    struct entry_header h;
    enum err err = entry_read_header(manifest, &h);
    ASSERT(err == ERR_OK && manifest.size <= UINT32_MAX);
    /* One block: the item, its slices, its manifest. */
    size_t slices_size = slice_count * sizeof *slices;
    struct item *i = mem_alloc(sizeof *i + slices_size + manifest.size);
    i->refs = 1;
    i->index = h.index;
    i->term = h.term;
    i->kind = h.kind;
    i->manifest_size = (uint32_t)manifest.size;
    i->payload_size = h.payload_bytes;
    i->slice_count = slice_count;
    i->slices = (struct slice *)(i + 1);
    i->manifest = (uint8_t *)(i + 1) + slices_size;
    memcpy(i->manifest, manifest.data, manifest.size);
    uint64_t size = 0;
    for (uint32_t k = 0; k < slice_count; k++) {
        i->slices[k] = slices[k];
        size += slices[k].size;
    }
    ASSERT(slice_count == 0 || size == h.payload_bytes);
    p->live++;
    return i;
}

struct item *item_ref(struct item *i)
{
    ASSERT(i->refs > 0 && i->refs < UINT32_MAX);
    i->refs++;
    return i;
}

static void release_slices(struct item_pool *p, struct item *i)
{
    for (uint32_t k = 0; k < i->slice_count; k++)
        item_pool_release(p, i->slices[k].handle);
    i->slice_count = 0;
}

void item_unref(struct item_pool *p, struct item *i)
{
    ASSERT(i->refs > 0);
    if (--i->refs > 0)
        return;
    ASSERT(p->live > 0);
    release_slices(p, i);
    p->live--;
    mem_free(i);
}

void item_drop_payload(struct item_pool *p, struct item *i)
{
    ASSERT(i->refs == 1);
    release_slices(p, i);
}
