/* record_codec.c - the record's bytes (the format is in record.h), what makes
 * sense in them, and a dump for people.
 *
 * The encoding is canonical because each step here allows one form only: tags
 * in a fixed order, none skipped, nothing left over. */
#include "ring/record.h"

#include <inttypes.h>

#define RECORD_VERSION 1u

enum tag {
    TAG_RING = 1,
    TAG_SETTINGS = 2,
    TAG_MEMBERS = 3,
    TAG_KEYS = 4,
    TAG_TABLE = 5,
    TAG_ANSWERS = 6,
    TAG_PLAN = 7,
    TAG_REPAIR = 8,
    TAG_LIVES = 9,
};
enum inner_tag {
    TAG_ITEM = 1, /* a member or a key */
    TAG_IDENTITY = 1,
    TAG_PLACE = 2,
    TAG_STANDING = 3,
    TAG_KEY = 1,
};

#define TAG_BYTES      6u
#define SETTINGS_BYTES (16u + 16u + 12u + 8u + 4u * 4u + 1u)
#define MEMBER_BYTES_MAX                                                       \
    (4u * TAG_BYTES + 16u + KEY_BYTES + 2u + NODE_NAME_MAX + 2u +              \
     ZONE_NAME_MAX + 2u * (2u + ADDRESS_MAX) + 4u + 21u)
#define KEY_ITEM_BYTES_MAX                                                     \
    (2u * TAG_BYTES + KEY_BYTES + 4u + 2u + NODE_NAME_MAX)
#define ROW_BYTES_MAX (1u + 2u * REPLICATION_MAX)
#define ANSWER_BYTES  (16u + 1u + 16u)
#define LIFE_BYTES    (4u + 12u + 2u)

static_assert(4u + 9u * TAG_BYTES + 6u * 4u + SETTINGS_BYTES +
                      MEMBERS_MAX * MEMBER_BYTES_MAX +
                      KEYS_MAX * KEY_ITEM_BYTES_MAX +
                      GROUPS_MAX * ROW_BYTES_MAX +
                      RECORD_PROPOSALS * ANSWER_BYTES +
                      CHANGES_MAX * CHANGE_BYTES_MAX + 12u +
                      PARTITIONS_MAX * LIFE_BYTES <=
                  RECORD_BYTES_MAX,
              "the largest record fits");
static_assert(MEMBERS_MAX < SLOT_NONE, "no slot looks like none");

static bool are_partitions(uint32_t q)
{
    return q >= PARTITIONS_MIN && q <= PARTITIONS_MAX && (q & (q - 1)) == 0;
}

/* ---- out --------------------------------------------------------------- */

static void put_text(struct enc *e, const char *text)
{
    enc_string(e, span_str(text));
}

static void put_member(struct enc *e, const struct member *m)
{
    size_t item = enc_tag_begin(e, TAG_ITEM);
    size_t part = enc_tag_begin(e, TAG_IDENTITY);
    enc_id(e, m->node);
    enc_bytes(e, m->public_key, KEY_BYTES);
    put_text(e, m->name);
    enc_tag_end(e, part);
    part = enc_tag_begin(e, TAG_PLACE);
    put_text(e, m->zone);
    put_text(e, m->client_address);
    put_text(e, m->peer_address);
    enc_u32(e, m->weight);
    enc_tag_end(e, part);
    part = enc_tag_begin(e, TAG_STANDING);
    enc_u16(e, m->level);
    enc_u8(e, (uint8_t)m->wanted);
    enc_u8(e, (uint8_t)m->seen);
    enc_u8(e, m->out_streak);
    enc_u64(e, m->seen_since_ms);
    enc_u64(e, m->wanted_since);
    enc_tag_end(e, part);
    enc_tag_end(e, item);
}

static void put_key(struct enc *e, const struct client_key *k)
{
    size_t item = enc_tag_begin(e, TAG_ITEM);
    size_t part = enc_tag_begin(e, TAG_KEY);
    enc_bytes(e, k->public_key, KEY_BYTES);
    enc_u32(e, k->rights);
    put_text(e, k->name);
    enc_tag_end(e, part);
    enc_tag_end(e, item);
}

static void put_settings(struct enc *e, const struct record *r)
{
    size_t tag = enc_tag_begin(e, TAG_RING);
    enc_id(e, r->cluster);
    enc_epoch(e, r->epoch);
    enc_generation(e, r->generation);
    enc_u64(e, r->changed_ms);
    enc_tag_end(e, tag);
    tag = enc_tag_begin(e, TAG_SETTINGS);
    enc_u32(e, r->partitions);
    enc_u32(e, r->copies);
    enc_u32(e, r->acks);
    enc_u32(e, r->out_after_ms);
    enc_u8(e, r->is_insecure ? 1 : 0);
    enc_tag_end(e, tag);
}

static void put_table(struct enc *e, const struct record *r)
{
    size_t tag = enc_tag_begin(e, TAG_TABLE);
    enc_u32(e, r->row_count);
    for (uint32_t group = 0; group < r->row_count; group++) {
        uint32_t count;
        const uint16_t *slots = record_row(r, group, &count);
        enc_u8(e, (uint8_t)count);
        for (uint32_t i = 0; i < count; i++)
            enc_u16(e, slots[i]);
    }
    enc_tag_end(e, tag);
}

static void put_answers(struct enc *e, const struct record *r)
{
    size_t tag = enc_tag_begin(e, TAG_ANSWERS);
    enc_u32(e, r->answer_count);
    for (uint32_t i = 0; i < r->answer_count; i++) {
        enc_id(e, r->answers[i].proposal);
        enc_u8(e, (uint8_t)r->answers[i].err);
        enc_epoch(e, r->answers[i].epoch);
    }
    enc_tag_end(e, tag);
}

static void put_plan(struct enc *e, const struct record *r)
{
    size_t tag = enc_tag_begin(e, TAG_PLAN);
    enc_u32(e, r->change_count);
    for (uint32_t i = 0; i < r->change_count; i++)
        change_write(e, &r->changes[i]);
    enc_tag_end(e, tag);
}

/* One encoding of each record: what older ones lack is the default. */
static void put_repair(struct enc *e, const struct record *r)
{
    if (r->repair_rate == REPAIR_RATE)
        return;
    size_t tag = enc_tag_begin(e, TAG_REPAIR);
    enc_u32(e, r->repair_rate);
    enc_tag_end(e, tag);
}

/* What a record without the tag says: no group was ever founded anew. */
static bool is_first_life(const struct record *r)
{
    return r->life_count == 0 && generation_equal(r->born, r->generation);
}

static void put_lives(struct enc *e, const struct record *r)
{
    if (is_first_life(r))
        return;
    size_t tag = enc_tag_begin(e, TAG_LIVES);
    enc_generation(e, r->born);
    enc_u32(e, r->life_count);
    for (uint32_t i = 0; i < r->life_count; i++) {
        enc_u32(e, r->lives[i].group);
        enc_generation(e, r->lives[i].generation);
        enc_u16(e, r->lives[i].founder);
    }
    enc_tag_end(e, tag);
}

static void put_record(struct enc *e, const struct record *r)
{
    enc_u16(e, RECORD_VERSION);
    enc_u16(e, r->level);
    put_settings(e, r);
    size_t tag = enc_tag_begin(e, TAG_MEMBERS);
    enc_u32(e, r->member_count);
    for (uint32_t i = 0; i < r->member_count; i++)
        put_member(e, &r->members[i]);
    enc_tag_end(e, tag);
    tag = enc_tag_begin(e, TAG_KEYS);
    enc_u32(e, r->key_count);
    for (uint32_t i = 0; i < r->key_count; i++)
        put_key(e, &r->keys[i]);
    enc_tag_end(e, tag);
    put_table(e, r);
    put_answers(e, r);
    put_plan(e, r);
    put_repair(e, r);
    put_lives(e, r);
}

void record_encode(const struct record *r, struct buf *out)
{
    ASSERT(record_fault(r) == NULL);
    struct enc measure = enc_of(NULL, 0);
    put_record(&measure, r);
    ASSERT(measure.size <= RECORD_BYTES_MAX);
    buf_clear(out);
    struct enc e = enc_of(buf_grow(out, measure.size), measure.size);
    put_record(&e, r);
    ASSERT(e.size == measure.size);
}

/* ---- in ---------------------------------------------------------------- */

/* The value of the next tag, which must be this one. Close it with leave. */
static struct dec enter(struct dec *d, uint16_t wanted)
{
    uint16_t tag = 0;
    struct dec value = dec_of((struct span){NULL, 0});
    if (!dec_tag(d, &tag, &value) || tag != wanted) {
        dec_fail(d);
        dec_fail(&value);
    }
    return value;
}

static void leave(struct dec *d, const struct dec *value)
{
    if (!dec_done(value))
        dec_fail(d);
}

/* A string into a zeroed array of max + 1. */
static void get_text(struct dec *d, char *text, size_t max)
{
    struct span s = dec_string(d);
    if (s.size > max || (s.size > 0 && memchr(s.data, 0, s.size) != NULL))
        dec_fail(d);
    else if (s.size > 0)
        memcpy(text, s.data, s.size);
}

static void get_key_bytes(struct dec *d, uint8_t key[KEY_BYTES])
{
    struct span s = dec_bytes(d, KEY_BYTES);
    if (s.size == KEY_BYTES)
        memcpy(key, s.data, KEY_BYTES);
}

/* A count, held against its limit before anything is allocated for it. */
static uint32_t get_count(struct dec *d, uint32_t max)
{
    uint32_t count = dec_u32(d);
    if (count > max)
        dec_fail(d);
    return d->is_bad ? 0 : count;
}

static enum member_wanted get_wanted(struct dec *d)
{
    uint8_t v = dec_u8(d);
    if (v < WANTED_IN || v > WANTED_LEFT)
        dec_fail(d);
    return d->is_bad ? WANTED_IN : (enum member_wanted)v;
}

static enum member_seen get_seen(struct dec *d)
{
    uint8_t v = dec_u8(d);
    if (v < SEEN_JOINING || v > SEEN_GONE)
        dec_fail(d);
    return d->is_bad ? SEEN_JOINING : (enum member_seen)v;
}

static void get_member(struct dec *d, struct member *m)
{
    struct dec item = enter(d, TAG_ITEM);
    struct dec part = enter(&item, TAG_IDENTITY);
    m->node = dec_id(&part);
    get_key_bytes(&part, m->public_key);
    get_text(&part, m->name, NODE_NAME_MAX);
    leave(&item, &part);
    part = enter(&item, TAG_PLACE);
    get_text(&part, m->zone, ZONE_NAME_MAX);
    get_text(&part, m->client_address, ADDRESS_MAX);
    get_text(&part, m->peer_address, ADDRESS_MAX);
    m->weight = dec_u32(&part);
    leave(&item, &part);
    part = enter(&item, TAG_STANDING);
    m->level = dec_u16(&part);
    m->wanted = get_wanted(&part);
    m->seen = get_seen(&part);
    m->out_streak = dec_u8(&part);
    m->seen_since_ms = dec_u64(&part);
    m->wanted_since = dec_u64(&part);
    leave(&item, &part);
    leave(d, &item);
}

static void get_members(struct dec *d, struct record *r)
{
    struct dec value = enter(d, TAG_MEMBERS);
    uint32_t count = get_count(&value, MEMBERS_MAX);
    r->members = mem_alloc(count * sizeof *r->members);
    r->member_count = count;
    for (uint32_t i = 0; i < count && !value.is_bad; i++)
        get_member(&value, &r->members[i]);
    leave(d, &value);
}

static void get_keys(struct dec *d, struct record *r)
{
    struct dec value = enter(d, TAG_KEYS);
    uint32_t count = get_count(&value, KEYS_MAX);
    r->keys = mem_alloc(count * sizeof *r->keys);
    r->key_count = count;
    for (uint32_t i = 0; i < count && !value.is_bad; i++) {
        struct client_key *k = &r->keys[i];
        struct dec item = enter(&value, TAG_ITEM);
        struct dec part = enter(&item, TAG_KEY);
        get_key_bytes(&part, k->public_key);
        k->rights = dec_u32(&part);
        get_text(&part, k->name, NODE_NAME_MAX);
        leave(&item, &part);
        leave(&value, &item);
    }
    leave(d, &value);
}

static void get_settings(struct dec *d, struct record *r)
{
    struct dec value = enter(d, TAG_RING);
    r->cluster = dec_id(&value);
    r->epoch = dec_epoch(&value);
    r->generation = dec_generation(&value);
    r->changed_ms = dec_u64(&value);
    leave(d, &value);
    value = enter(d, TAG_SETTINGS);
    r->partitions = dec_u32(&value);
    r->copies = dec_u32(&value);
    r->acks = dec_u32(&value);
    r->out_after_ms = dec_u32(&value);
    uint8_t insecure = dec_u8(&value);
    r->is_insecure = insecure == 1;
    if (insecure > 1 || !are_partitions(r->partitions))
        dec_fail(&value);
    leave(d, &value);
}

static void get_row(struct dec *d, uint16_t *slots)
{
    uint8_t count = dec_u8(d);
    if (count > REPLICATION_MAX)
        dec_fail(d);
    for (uint32_t i = 0; i < REPLICATION_MAX; i++) {
        slots[i] = SLOT_NONE;
        if (d->is_bad || i >= count)
            continue;
        slots[i] = dec_u16(d);
        if (slots[i] >= MEMBERS_MAX) /* SLOT_NONE would shorten the row */
            dec_fail(d);
    }
}

static void get_table(struct dec *d, struct record *r)
{
    struct dec value = enter(d, TAG_TABLE);
    uint32_t count = get_count(&value, GROUPS_MAX);
    r->row_slots = mem_alloc(count * REPLICATION_MAX * sizeof *r->row_slots);
    r->row_count = count;
    for (uint32_t group = 0; group < count && !value.is_bad; group++)
        get_row(&value, &r->row_slots[group * REPLICATION_MAX]);
    leave(d, &value);
}

static void get_answers(struct dec *d, struct record *r)
{
    struct dec value = enter(d, TAG_ANSWERS);
    r->answer_count = get_count(&value, RECORD_PROPOSALS);
    for (uint32_t i = 0; i < r->answer_count; i++) {
        r->answers[i].proposal = dec_id(&value);
        uint8_t err = dec_u8(&value);
        if (err != ERR_OK && err != ERR_CONFLICT)
            dec_fail(&value);
        r->answers[i].err = err == ERR_OK ? ERR_OK : ERR_CONFLICT;
        r->answers[i].epoch = dec_epoch(&value);
    }
    leave(d, &value);
}

static void get_plan(struct dec *d, struct record *r)
{
    struct dec value = enter(d, TAG_PLAN);
    r->change_count = get_count(&value, CHANGES_MAX);
    for (uint32_t i = 0; i < r->change_count; i++)
        change_read(&value, &r->changes[i]);
    leave(d, &value);
}

/* The next tag is this one: what may be absent is looked for by its tag. */
static bool is_next(const struct dec *d, enum tag tag)
{
    struct dec ahead = *d;
    return dec_left(d) > 0 && dec_u16(&ahead) == tag;
}

static void get_repair(struct dec *d, struct record *r)
{
    if (!is_next(d, TAG_REPAIR))
        return; /* the default, as record_new has it */
    struct dec value = enter(d, TAG_REPAIR);
    r->repair_rate = dec_u32(&value);
    if (r->repair_rate == REPAIR_RATE)
        dec_fail(&value);
    leave(d, &value);
}

static void get_lives(struct dec *d, struct record *r)
{
    r->born = r->generation;
    if (!is_next(d, TAG_LIVES))
        return;
    struct dec value = enter(d, TAG_LIVES);
    r->born = dec_generation(&value);
    uint32_t count = get_count(&value, PARTITIONS_MAX);
    r->lives = mem_alloc(count * sizeof *r->lives);
    r->life_count = count;
    for (uint32_t i = 0; i < count && !value.is_bad; i++) {
        r->lives[i].group = dec_u32(&value);
        r->lives[i].generation = dec_generation(&value);
        r->lives[i].founder = dec_u16(&value);
    }
    if (!value.is_bad && is_first_life(r))
        dec_fail(&value);
    leave(d, &value);
}

enum err record_decode(struct span bytes, struct record **out)
{
    *out = NULL;
    if (bytes.size > RECORD_BYTES_MAX)
        return ERR_BAD_REQUEST;
    struct dec d = dec_of(bytes);
    uint16_t version = dec_u16(&d);
    uint16_t level = dec_u16(&d);
    if (d.is_bad || version == 0)
        return ERR_BAD_REQUEST;
    if (version > RECORD_VERSION || level > LEVEL_NOW) /* T11 */
        return ERR_INCOMPATIBLE;
    struct record *r = record_new();
    r->level = level;
    get_settings(&d, r);
    if (!d.is_bad)
        get_members(&d, r);
    if (!d.is_bad)
        get_keys(&d, r);
    if (!d.is_bad)
        get_table(&d, r);
    if (!d.is_bad)
        get_answers(&d, r);
    if (!d.is_bad)
        get_plan(&d, r);
    if (!d.is_bad)
        get_repair(&d, r);
    if (!d.is_bad)
        get_lives(&d, r);
    if (!dec_done(&d) || record_fault(r) != NULL) {
        record_free(r);
        return ERR_BAD_REQUEST;
    }
    *out = r;
    return ERR_OK;
}

/* ---- sense ------------------------------------------------------------- */

static bool is_alnum(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9');
}

/* Only letters, digits and the characters of `others`. */
static bool is_made_of(struct span s, const char *others)
{
    for (size_t i = 0; i < s.size; i++)
        if (!is_alnum(s.data[i]) &&
            (s.data[i] == 0 || strchr(others, s.data[i]) == NULL))
            return false;
    return s.size > 0;
}

bool record_is_name(struct span name)
{
    return name.size <= NODE_NAME_MAX && is_made_of(name, "._-");
}

static bool is_host(struct span s)
{
    if (s.size < 2 || s.data[0] != '[')
        return is_made_of(s, "._-");
    /* '%' begins the interface of a link-local address. */
    return s.data[s.size - 1] == ']' &&
           is_made_of(span_of(s.data + 1, s.size - 2), ":.%_-");
}

static bool is_port(struct span s)
{
    if (s.size == 0 || s.size > 5 || s.data[0] == '0')
        return false;
    uint32_t port = 0;
    for (size_t i = 0; i < s.size; i++) {
        if (s.data[i] < '0' || s.data[i] > '9')
            return false;
        port = port * 10 + (uint32_t)(s.data[i] - '0');
    }
    return port <= UINT16_MAX;
}

bool record_is_address(struct span address)
{
    if (address.size > ADDRESS_MAX)
        return false;
    size_t colon = address.size;
    while (colon > 0 && address.data[colon - 1] != ':')
        colon--;
    if (colon == 0)
        return false;
    return is_host(span_of(address.data, colon - 1)) &&
           is_port(span_of(address.data + colon, address.size - colon));
}

static bool is_zero_key(const uint8_t key[KEY_BYTES])
{
    static const uint8_t zeros[KEY_BYTES];
    return memcmp(key, zeros, KEY_BYTES) == 0;
}

const char *record_member_fault(const struct member *m)
{
    if (id_is_zero(m->node))
        return "a member without an id";
    if (!record_is_name(span_str(m->name)))
        return "a member's name is none";
    if (m->zone[0] != 0 && !record_is_name(span_str(m->zone)))
        return "a zone's name is none";
    if (!record_is_address(span_str(m->client_address)) ||
        !record_is_address(span_str(m->peer_address)))
        return "an address is not HOST:PORT";
    if (m->weight == 0)
        return "a member without weight";
    return NULL;
}

static bool are_one_key(const uint8_t *a, const uint8_t *b)
{
    return !is_zero_key(a) && memcmp(a, b, KEY_BYTES) == 0;
}

/* One member beside those before it. */
static const char *member_fault(const struct record *r, uint32_t slot)
{
    const struct member *m = &r->members[slot];
    const char *fault = record_member_fault(m);
    if (fault != NULL)
        return fault;
    if (m->wanted != WANTED_LEFT && m->level < r->level)
        return "a member's binary is below the level";
    if (m->seen == SEEN_GONE && m->wanted != WANTED_LEFT)
        return "a member that is gone and has not left";
    if (m->out_streak > OUT_STREAK_MAX)
        return "an out streak over its limit";
    if (!r->is_insecure && is_zero_key(m->public_key))
        return "a member without a key";
    for (uint32_t i = 0; i < slot; i++) {
        const struct member *other = &r->members[i];
        if (id_equal(m->node, other->node))
            return "two members of one id";
        if (are_one_key(m->public_key, other->public_key))
            return "two members of one key";
        if (m->wanted != WANTED_LEFT && other->wanted != WANTED_LEFT &&
            strcmp(m->name, other->name) == 0)
            return "two members of one name";
    }
    return NULL;
}

static const char *key_fault(const struct record *r, uint32_t index)
{
    const struct client_key *k = &r->keys[index];
    if (is_zero_key(k->public_key))
        return "a client's key is zero";
    if (!record_is_name(span_str(k->name)))
        return "a key's name is none";
    if (k->rights == 0 || (k->rights & ~RIGHTS_ALL) != 0)
        return "a key's rights are none";
    for (uint32_t i = 0; i < index; i++)
        if (are_one_key(k->public_key, r->keys[i].public_key))
            return "a client's key twice";
    return NULL;
}

static const char *row_fault(const struct record *r, uint32_t group)
{
    const uint16_t *slots = &r->row_slots[group * REPLICATION_MAX];
    uint32_t count;
    (void)record_row(r, group, &count);
    if (count == 0)
        return "a row is empty";
    for (uint32_t i = 0; i < REPLICATION_MAX; i++) {
        if (i >= count && slots[i] != SLOT_NONE)
            return "a gap in a row";
        if (i >= count)
            continue;
        if (slots[i] >= r->member_count)
            return "a row names a slot without a member";
        if (r->members[slots[i]].wanted == WANTED_LEFT)
            return "a row names a member that has left";
        for (uint32_t k = 0; k < i; k++)
            if (slots[k] == slots[i])
                return "a row names a member twice";
    }
    return NULL;
}

static const char *plan_fault(const struct record *r)
{
    if (r->change_count > CHANGES_MAX)
        return "too many staged changes";
    for (uint32_t i = 0; i < r->change_count; i++) {
        const struct change *c = &r->changes[i];
        const char *fault = change_fault(c);
        if (fault != NULL)
            return fault;
        if (change_is_of_member(c->kind) && c->slot >= r->member_count)
            return "a staged change of no member";
    }
    return NULL;
}

static const char *lives_fault(const struct record *r)
{
    if (r->life_count > r->partitions)
        return "more lives than partitions";
    for (uint32_t i = 0; i < r->life_count; i++) {
        const struct record_life *life = &r->lives[i];
        if (life->group == 0 || life->group > r->partitions)
            return "a life of no partition";
        if (i > 0 && life->group <= r->lives[i - 1].group)
            return "lives are not ascending";
        if (life->founder >= r->member_count)
            return "a founder that is no member";
        if (life->generation.counter <= r->born.counter)
            return "a life that is not a later one";
        if (life->generation.counter > GENERATIONS_MAX)
            return "a generation that is out of range";
    }
    return NULL;
}

static const char *settings_fault(const struct record *r)
{
    struct epoch own = record_epoch(r->generation, r->epoch.number);
    if (id_is_zero(r->cluster))
        return "no cluster id";
    if (r->epoch.number == 0 || epoch_compare(own, r->epoch) != 0 ||
        epoch_clash(own, r->epoch))
        return "the epoch is not the generation's";
    if (r->generation.counter > GENERATIONS_MAX)
        return "a generation that is out of range";
    if (!are_partitions(r->partitions))
        return "Q is not a power of two in range";
    if (r->copies == 0 || r->copies > REPLICATION_MAX)
        return "N is out of range";
    if (r->acks == 0 || r->acks > r->copies)
        return "acks is not in 1..N";
    if (r->out_after_ms == 0)
        return "out-after is zero";
    if (r->repair_rate < REPAIR_RATE_MIN || r->repair_rate > REPAIR_RATE_MAX)
        return "the repair rate is out of range";
    if (r->level == 0 || r->level > LEVEL_NOW)
        return "a level that this binary does not know";
    if (r->row_count != r->partitions + 1)
        return "not Q + 1 rows";
    if (r->member_count == 0 || r->member_count > MEMBERS_MAX)
        return "the number of members is out of range";
    if (r->key_count > KEYS_MAX)
        return "too many keys";
    if (r->answer_count > RECORD_PROPOSALS)
        return "too many answers";
    return NULL;
}

const char *record_fault(const struct record *r)
{
    const char *fault = settings_fault(r);
    if (fault == NULL)
        fault = plan_fault(r);
    if (fault == NULL)
        fault = lives_fault(r);
    if (fault != NULL)
        return fault;
    for (uint32_t i = 0; i < r->member_count && fault == NULL; i++)
        fault = member_fault(r, i);
    for (uint32_t i = 0; i < r->key_count && fault == NULL; i++)
        fault = key_fault(r, i);
    for (uint32_t i = 0; i < r->row_count && fault == NULL; i++)
        fault = row_fault(r, i);
    return fault;
}

/* ---- for people -------------------------------------------------------- */

static const char *wanted_name(enum member_wanted wanted)
{
    switch (wanted) {
    case WANTED_IN:
        return "in";
    case WANTED_DRAINING:
        return "draining";
    case WANTED_LEFT:
        return "left";
    }
    return "?";
}

static const char *seen_name(enum member_seen seen)
{
    switch (seen) {
    case SEEN_JOINING:
        return "joining";
    case SEEN_UP:
        return "up";
    case SEEN_OUT:
        return "out";
    case SEEN_UNFIT:
        return "unfit";
    case SEEN_GONE:
        return "gone";
    }
    return "?";
}

static void dump_member(const struct record *r, uint32_t slot, struct buf *text)
{
    const struct member *m = &r->members[slot];
    char node[33];
    id_format(m->node, node);
    buf_printf(text,
               "member %" PRIu32 " %s %s zone %s %s (%" PRIu64
               ") %s since %" PRIu64 " streak %u weight %" PRIu32
               " level %u clients %s peers %s\n",
               slot, node, m->name, m->zone[0] == 0 ? "-" : m->zone,
               wanted_name(m->wanted), m->wanted_since, seen_name(m->seen),
               m->seen_since_ms, (unsigned)m->out_streak, m->weight,
               (unsigned)m->level, m->client_address, m->peer_address);
}

static void dump_row(const struct record *r, uint32_t group, struct buf *text)
{
    uint32_t count;
    const uint16_t *slots = record_row(r, group, &count);
    buf_printf(text, "row %" PRIu32, group);
    for (uint32_t i = 0; i < count; i++)
        buf_printf(text, "%c%u", i == 0 ? ' ' : ',', (unsigned)slots[i]);
    buf_printf(text, "\n");
}

void record_dump(const struct record *r, struct buf *text)
{
    char id[33];
    id_format(r->cluster, id);
    buf_printf(text,
               "cluster %s epoch %" PRIu32 ".%08" PRIx32 ".%" PRIu64
               " changed %" PRIu64 " level %u%s\n",
               id, r->epoch.counter, r->epoch.tag, r->epoch.number,
               r->changed_ms, (unsigned)r->level,
               r->is_insecure ? " insecure" : "");
    buf_printf(text,
               "Q %" PRIu32 " N %" PRIu32 " acks %" PRIu32 " out-after %" PRIu32
               " repair %" PRIu32 "\n",
               r->partitions, r->copies, r->acks, r->out_after_ms,
               r->repair_rate);
    for (uint32_t i = 0; i < r->member_count; i++)
        dump_member(r, i, text);
    for (uint32_t i = 0; i < r->key_count; i++)
        buf_printf(text, "key %s rights %" PRIu32 "\n", r->keys[i].name,
                   r->keys[i].rights);
    for (uint32_t i = 0; i < r->row_count; i++)
        dump_row(r, i, text);
    for (uint32_t i = 0; i < r->answer_count; i++) {
        id_format(r->answers[i].proposal, id);
        buf_printf(text, "answer %s %s epoch %" PRIu64 "\n", id,
                   err_name(r->answers[i].err), r->answers[i].epoch.number);
    }
    for (uint32_t i = 0; i < r->change_count; i++)
        buf_printf(text, "staged %d slot %u value %" PRIu32 " zone %s\n",
                   (int)r->changes[i].kind, (unsigned)r->changes[i].slot,
                   r->changes[i].value,
                   r->changes[i].zone[0] == 0 ? "-" : r->changes[i].zone);
    for (uint32_t i = 0; i < r->life_count; i++)
        buf_printf(text,
                   "group %" PRIu32 " generation %" PRIu32 ".%016" PRIx64
                   " founded by slot %u\n",
                   r->lives[i].group, r->lives[i].generation.counter,
                   r->lives[i].generation.random,
                   (unsigned)r->lives[i].founder);
}
