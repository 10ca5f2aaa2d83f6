/* test_record_codec.c - the ring record's bytes and sense: ring/record.h. */
#include "tests/unit/cmocka_wrap.h"

#include <stdio.h>

#include "tests/unit/rings.h"

/* Decodes from memory of exactly that size, so that a sanitizer sees the
 * first byte read past it. */
static enum err decode_exactly(struct span bytes, struct record **out)
{
    uint8_t *copy = mem_copy(bytes.data, bytes.size);
    enum err err = record_decode(span_of(copy, bytes.size), out);
    mem_free(copy);
    return err;
}

/* What every decoder must keep: sense, and one encoding of one record. */
static void assert_decoded_well(struct span bytes, const struct record *r)
{
    struct buf again = {0};
    assert_null(record_fault(r));
    record_encode(r, &again);
    assert_true(span_equal(bytes, span_buf(&again)));
    buf_free(&again);
}

/* ---- bytes ------------------------------------------------------------- */

static const char golden[] =
    /* version, level */
    "01000100"
    /* RING */
    "010034000000c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c002000000040302010100"
    "000000000000020000000807060504030201e803000000000000"
    /* SETTINGS */
    "020011000000100000000300000002000000a0bb0d0000"
    /* MEMBERS: IDENTITY, PLACE, STANDING */
    "0300760000000100000001006c00000001003400000001010101010101010101"
    "010101010101a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"
    "a1a1a1a1a1a102006e3102001100000001007a0300683a310300683a32640000"
    "000300150000000100010200e8030000000000000100000000000000"
    /* KEYS */
    "04003b0000000100000001003100000001002b000000b1b1b1b1b1b1b1b1b1b1"
    "b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b10f000000050061646d69"
    "6e"
    /* TABLE */
    "0500370000001100000001000001000001000001000001000001000001000001"
    "0000010000010000010000010000010000010000010000010000010000"
    /* ANSWERS */
    "06002500000001000000d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0070200000004"
    "0302010100000000000000"
    /* PLAN: drain slot 0 */
    "07000d00000001000000010000000000000000"
    /* LIVES: slot 0 founded group 3 anew */
    "090022000000020000000807060504030201010000000300000003000000181716"
    "15141312110000";

static struct record *golden_record(void)
{
    struct record *r = record_new();
    r->cluster = rings_id(0xc0);
    r->generation = (struct generation){2, 0x0102030405060708};
    r->partitions = 16;
    struct member m = rings_member(1);
    memset(m.public_key, 0xa1, sizeof m.public_key);
    (void)snprintf(m.zone, sizeof m.zone, "z");
    record_begin(r, &m, 1000);
    struct client_key k = rings_key(0xb1, RIGHTS_ALL);
    assert_int_equal(record_allow(r, &k), ERR_OK);
    r->answers[r->answer_count++] =
        (struct proposal_answer){rings_id(0xd0), ERR_CONFLICT, r->epoch};
    r->changes[r->change_count++] = (struct change){.kind = CHANGE_DRAIN};
    struct record_life life = {3, {3, 0x1112131415161718}, 0};
    r->lives = mem_copy(&life, sizeof life);
    r->life_count = 1;
    return r;
}

static void a_small_record_has_its_golden_bytes(void **state)
{
    (void)state;
    struct record *r = golden_record();
    struct buf bytes = {0};
    struct buf hex = {0};
    record_encode(r, &bytes);
    for (size_t i = 0; i < bytes.size; i++)
        buf_printf(&hex, "%02x", (unsigned)bytes.data[i]);
    buf_append(&hex, "", 1);
    assert_string_equal((const char *)hex.data, golden);
    buf_free(&bytes);
    buf_free(&hex);
    record_free(r);
}

/* Records written before there was the setting have not its tag. */
static void a_repair_rate_is_written_if_it_is_not_the_default(void **state)
{
    (void)state;
    static const uint8_t tag[] = {8, 0, 4, 0, 0, 0, 0, 0, 1, 0};
    struct record *r = golden_record();
    struct record *back;
    struct buf without = {0}, with = {0};
    r->life_count = 0;
    record_encode(r, &without);
    r->repair_rate = REPAIR_RATE_MIN;
    record_encode(r, &with);
    assert_int_equal(with.size, without.size + sizeof tag);
    assert_memory_equal(with.data + without.size, tag, sizeof tag);
    assert_int_equal(decode_exactly(span_buf(&with), &back), ERR_OK);
    assert_int_equal(back->repair_rate, REPAIR_RATE_MIN);
    assert_decoded_well(span_buf(&with), back);
    record_free(back);
    assert_int_equal(decode_exactly(span_buf(&without), &back), ERR_OK);
    assert_int_equal(back->repair_rate, REPAIR_RATE);
    record_free(back);
    struct enc e = enc_of(with.data + with.size - 4, 4);
    enc_u32(&e, REPAIR_RATE); /* that has another encoding */
    assert_int_equal(decode_exactly(span_buf(&with), &back), ERR_BAD_REQUEST);
    e = enc_of(with.data + with.size - 4, 4);
    enc_u32(&e, REPAIR_RATE_MAX + 1);
    assert_int_equal(decode_exactly(span_buf(&with), &back), ERR_BAD_REQUEST);
    record_free(r);
    buf_free(&without);
    buf_free(&with);
}

/* Records written before there were recoveries have not its tag, with a rate
 * of repairs or without; and the default has one encoding. */
static void lives_are_written_if_a_group_was_founded_anew(void **state)
{
    (void)state;
    static const uint8_t none[] = {9, 0, 16, 0, 0, 0, 2, 0, 0, 0, 8,
                                   7, 6, 5,  4, 3, 2, 1, 0, 0, 0, 0};
    static const uint32_t rates[] = {REPAIR_RATE, REPAIR_RATE_MIN};
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct record *r = golden_record();
        struct record *back;
        struct buf bytes = {0};
        r->repair_rate = rates[i];
        record_encode(r, &bytes);
        assert_int_equal(decode_exactly(span_buf(&bytes), &back), ERR_OK);
        assert_int_equal(back->life_count, 1);
        assert_int_equal(back->repair_rate, rates[i]);
        record_free(back);
        size_t size = bytes.size - sizeof none - 18;
        r->life_count = 0;
        record_encode(r, &bytes);
        assert_int_equal(bytes.size, size);
        assert_int_equal(decode_exactly(span_buf(&bytes), &back), ERR_OK);
        assert_int_equal(back->life_count, 0);
        assert_true(generation_equal(back->born, r->generation));
        record_free(back);
        buf_append(&bytes, none, sizeof none);
        assert_int_equal(decode_exactly(span_buf(&bytes), &back),
                         ERR_BAD_REQUEST);
        bytes.data[bytes.size - sizeof none + 6] = 1; /* born before it */
        assert_int_equal(decode_exactly(span_buf(&bytes), &back), ERR_OK);
        assert_int_equal(back->born.counter, 1);
        assert_decoded_well(span_buf(&bytes), back);
        record_free(back);
        record_free(r);
        buf_free(&bytes);
    }
}

static void what_was_encoded_is_decoded(void **state)
{
    (void)state;
    struct record *r = golden_record();
    struct buf bytes = {0};
    record_encode(r, &bytes);
    struct record *back;
    assert_int_equal(decode_exactly(span_buf(&bytes), &back), ERR_OK);
    assert_decoded_well(span_buf(&bytes), back);
    assert_true(id_equal(back->cluster, r->cluster));
    assert_int_equal(epoch_compare(back->epoch, r->epoch), 0);
    assert_true(generation_equal(back->generation, r->generation));
    assert_int_equal(back->changed_ms, 1000);
    assert_int_equal(back->out_after_ms, OUT_AFTER_MS);
    const struct member *m = &back->members[0];
    assert_memory_equal(m->public_key, r->members[0].public_key, KEY_BYTES);
    assert_string_equal(m->name, "n1");
    assert_string_equal(m->zone, "z");
    assert_string_equal(m->client_address, "h:1");
    assert_string_equal(m->peer_address, "h:2");
    assert_int_equal(m->weight, WEIGHT_DEFAULT);
    assert_int_equal(m->seen, SEEN_UP);
    assert_int_equal(m->seen_since_ms, 1000);
    assert_int_equal(back->keys[0].rights, RIGHTS_ALL);
    assert_string_equal(back->keys[0].name, "admin");
    assert_int_equal(back->answers[0].err, ERR_CONFLICT);
    assert_true(id_equal(back->answers[0].proposal, rings_id(0xd0)));
    record_free(back);
    record_free(r);
    buf_free(&bytes);
}

static void the_largest_record_comes_back(void **state)
{
    (void)state;
    struct record *r = rings_begin(1, PARTITIONS_MAX);
    for (unsigned n = 2; n <= MEMBERS_MAX; n++) {
        struct member m = rings_member(n & 255);
        m.node.bytes[1] = (uint8_t)(n >> 8) ^ 0x55;
        m.public_key[1] = (uint8_t)(n >> 8) ^ 0x55;
        memset(m.name, 'n', NODE_NAME_MAX);
        (void)snprintf(m.name, 8, "%u", n);
        m.name[strlen(m.name)] = '-';
        memset(m.zone, 'z', ZONE_NAME_MAX);
        memset(m.client_address, 'h', ADDRESS_MAX);
        memcpy(m.client_address + ADDRESS_MAX - 6, ":65535", 6);
        memcpy(m.peer_address, m.client_address, sizeof m.peer_address);
        assert_int_equal(record_join(r, &m, T0), ERR_OK);
    }
    for (unsigned n = 0; n < KEYS_MAX; n++) {
        struct client_key k = rings_key(n, RIGHT_READ);
        k.public_key[0] = 1;
        memset(k.name, 'k', NODE_NAME_MAX);
        assert_int_equal(record_allow(r, &k), ERR_OK);
    }
    struct member one_more = rings_member(255);
    struct client_key one_key = rings_key(255, RIGHT_READ);
    assert_int_equal(record_join(r, &one_more, T0), ERR_TOO_LARGE);
    assert_int_equal(record_allow(r, &one_key), ERR_TOO_LARGE);
    r->copies = REPLICATION_MAX;
    record_advance(r, T0);
    r->answer_count = RECORD_PROPOSALS;
    struct buf bytes = {0};
    record_encode(r, &bytes);
    assert_true(bytes.size <= RECORD_BYTES_MAX);
    struct record *back;
    assert_int_equal(record_decode(span_buf(&bytes), &back), ERR_OK);
    assert_decoded_well(span_buf(&bytes), back);
    record_free(back);
    record_free(r);
    buf_free(&bytes);
}

static void a_truncated_record_is_refused_at_each_length(void **state)
{
    (void)state;
    struct record *r = rings_advanced(3, 16);
    struct buf bytes = {0};
    record_encode(r, &bytes);
    for (size_t size = 0; size < bytes.size; size++) {
        struct record *back;
        assert_int_equal(decode_exactly(span_of(bytes.data, size), &back),
                         ERR_BAD_REQUEST);
        assert_null(back);
    }
    buf_append(&bytes, "", 1);
    struct record *back;
    assert_int_equal(decode_exactly(span_buf(&bytes), &back), ERR_BAD_REQUEST);
    record_free(r);
    buf_free(&bytes);
}

/* Bytes of the golden record that no coder of ours writes. */
static void senseless_bytes_are_refused(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint8_t byte;
    } senseless[] = {{84, 2},              /* insecure: neither yes nor no */
                     {190, 0},             /* wanted */
                     {190, 4},   {191, 0}, /* seen */
                     {191, 5},             /* gone, and has not left */
                     {191, 6},   {284, 0}, /* slots of group 0's row */
                     {284, 8},   {285, 1}, /* a slot without a member */
                     {361, 1}, /* an answer other than OK and CONFLICT */
                     {361, 255}, {388, 0}, /* no change */
                     {388, 8},   {389, 1}, /* ... of no member */
                     {391, 1}, /* ... with a value that it has not */
                     {396, 1}};
    struct record *r = golden_record();
    struct buf bytes = {0};
    record_encode(r, &bytes);
    for (size_t i = 0; i < sizeof senseless / sizeof senseless[0]; i++) {
        uint8_t was = bytes.data[senseless[i].at];
        bytes.data[senseless[i].at] = senseless[i].byte;
        struct record *back;
        assert_int_equal(record_decode(span_buf(&bytes), &back),
                         ERR_BAD_REQUEST);
        bytes.data[senseless[i].at] = was;
    }
    struct record *back;
    assert_int_equal(record_decode(span_buf(&bytes), &back), ERR_OK);
    record_free(back);
    record_free(r);
    buf_free(&bytes);
}

/* It would come back as a shorter row: one record, two encodings. */
static void a_row_may_not_name_no_slot(void **state)
{
    (void)state;
    struct record *r = rings_advanced(3, 16);
    struct buf bytes = {0};
    record_encode(r, &bytes);
    size_t behind_bytes = 2 * (2 + 4 + 4); /* ANSWERS and PLAN, both empty */
    memset(bytes.data + bytes.size - behind_bytes - 2, 0xff, 2);
    struct record *back;
    assert_int_equal(record_decode(span_buf(&bytes), &back), ERR_BAD_REQUEST);
    record_free(r);
    buf_free(&bytes);
}

/* Some mutants are records: another port, another time. */
static void no_mutant_that_decodes_is_without_sense(void **state)
{
    (void)state;
    struct record *r = golden_record();
    struct member m = rings_member(2);
    assert_int_equal(record_join(r, &m, T0), ERR_OK);
    record_advance(r, T0);
    struct buf bytes = {0};
    record_encode(r, &bytes);
    struct rng rng;
    rng_seed(&rng, 1);
    unsigned decoded = 0;
    for (unsigned i = 0; i < 60000; i++) {
        struct buf mutant = {0};
        buf_append(&mutant, bytes.data, bytes.size);
        for (uint64_t edits = 1 + rng_below(&rng, 3); edits > 0; edits--) {
            uint8_t *at = &mutant.data[rng_below(&rng, mutant.size)];
            if (rng_chance(&rng, 500))
                *at ^= (uint8_t)(1u << rng_below(&rng, 8));
            else
                *at = (uint8_t)rng_next(&rng);
        }
        struct record *back;
        enum err err = decode_exactly(span_buf(&mutant), &back);
        assert_int_equal(err == ERR_OK, back != NULL);
        if (err == ERR_OK) {
            assert_decoded_well(span_buf(&mutant), back);
            decoded++;
        }
        record_free(back);
        buf_free(&mutant);
    }
    assert_in_range(decoded, 1000, 50000);
    record_free(r);
    buf_free(&bytes);
}

static void a_newer_version_or_level_is_incompatible(void **state)
{
    (void)state;
    struct record *r = rings_advanced(1, 16);
    struct record *back;
    struct buf bytes = {0};
    record_encode(r, &bytes);
    bytes.data[0] = 2;
    assert_int_equal(record_decode(span_buf(&bytes), &back), ERR_INCOMPATIBLE);
    bytes.data[0] = 0;
    assert_int_equal(record_decode(span_buf(&bytes), &back), ERR_BAD_REQUEST);
    bytes.data[0] = 1;
    bytes.data[2] = LEVEL_NOW + 1;
    assert_int_equal(record_decode(span_buf(&bytes), &back), ERR_INCOMPATIBLE);
    bytes.data[2] = 0;
    assert_int_equal(record_decode(span_buf(&bytes), &back), ERR_BAD_REQUEST);
    assert_null(back);
    record_free(r);
    buf_free(&bytes);
}

static void a_copy_is_deep(void **state)
{
    (void)state;
    struct record *r = golden_record();
    struct record *copy = record_copy(r);
    assert_true(rings_same(r, copy));
    copy->members[0].weight = 7;
    copy->keys[0].rights = RIGHT_READ;
    struct member m = rings_member(2);
    assert_int_equal(record_join(copy, &m, T0), ERR_OK);
    record_set_row(copy, 3, (const uint16_t[]){1, 0}, 2);
    assert_int_equal(r->members[0].weight, WEIGHT_DEFAULT);
    assert_int_equal(r->keys[0].rights, RIGHTS_ALL);
    assert_int_equal(record_rank(r, 3, 0), 0);
    record_free(r);
    assert_null(record_fault(copy));
    record_free(copy);
    record_free(NULL);
}

/* ---- sense ------------------------------------------------------------- */

static void break_partitions(struct record *r)
{
    r->partitions = 24;
}
static void break_few_partitions(struct record *r)
{
    r->partitions = 8;
}
static void break_copies(struct record *r)
{
    r->copies = REPLICATION_MAX + 1;
}
static void break_acks_zero(struct record *r)
{
    r->acks = 0;
}
static void break_acks_above_copies(struct record *r)
{
    r->acks = r->copies + 1;
}
static void break_epoch_tag(struct record *r)
{
    r->epoch.tag++;
}
static void break_epoch_number(struct record *r)
{
    r->epoch.number = 0;
}
static void break_cluster(struct record *r)
{
    r->cluster = (struct id128){{0}};
}
static void break_row_count(struct record *r)
{
    r->row_count--;
}
static void break_empty_row(struct record *r)
{
    r->row_slots[0] = SLOT_NONE;
    r->row_slots[1] = SLOT_NONE;
    r->row_slots[2] = SLOT_NONE;
}
static void break_gap_in_row(struct record *r)
{
    r->row_slots[REPLICATION_MAX + 1] = SLOT_NONE;
}
static void break_doubled_slot(struct record *r)
{
    r->row_slots[REPLICATION_MAX + 1] = r->row_slots[REPLICATION_MAX];
}
static void break_slot_of_nobody(struct record *r)
{
    r->row_slots[REPLICATION_MAX] = (uint16_t)r->member_count;
}
static void break_slot_of_the_left(struct record *r)
{
    r->members[0].wanted = WANTED_LEFT;
}
static void break_name(struct record *r)
{
    memcpy(r->members[0].name, "a b", 4);
}
static void break_twice_name(struct record *r)
{
    memcpy(r->members[0].name, r->members[1].name, sizeof r->members[0].name);
}
static void break_twice_id(struct record *r)
{
    r->members[0].node = r->members[1].node;
}
static void break_twice_key(struct record *r)
{
    memcpy(r->members[0].public_key, r->members[1].public_key, KEY_BYTES);
}
static void break_zero_key(struct record *r)
{
    memset(r->members[0].public_key, 0, KEY_BYTES);
}
static void break_address(struct record *r)
{
    memcpy(r->members[2].peer_address, "h", 2);
}
static void break_weight(struct record *r)
{
    r->members[0].weight = 0;
}
static void break_level(struct record *r)
{
    r->members[0].level = 0;
}
static void break_streak(struct record *r)
{
    r->members[0].out_streak = OUT_STREAK_MAX + 1;
}
static void break_out_after(struct record *r)
{
    r->out_after_ms = 0;
}
static void break_slow_repair(struct record *r)
{
    r->repair_rate = REPAIR_RATE_MIN - 1;
}
static void break_fast_repair(struct record *r)
{
    r->repair_rate = REPAIR_RATE_MAX + 1;
}
static void break_rights(struct record *r)
{
    r->keys[0].rights = 16;
}
static void break_no_rights(struct record *r)
{
    r->keys[0].rights = 0;
}
static void break_client_key(struct record *r)
{
    memset(r->keys[0].public_key, 0, KEY_BYTES);
}

static void set_lives(struct record *r, uint32_t first, uint32_t second)
{
    r->lives = mem_alloc(2 * sizeof *r->lives);
    r->lives[0] = (struct record_life){first, {9, 1}, 0};
    r->lives[1] = (struct record_life){second, {9, 2}, 1};
    r->life_count = 2;
}
static void break_life_of_the_ring(struct record *r)
{
    set_lives(r, 0, 1);
}
static void break_life_of_nobody(struct record *r)
{
    set_lives(r, 1, 17);
}
static void break_order_of_lives(struct record *r)
{
    set_lives(r, 2, 2);
}
static void break_founder(struct record *r)
{
    set_lives(r, 1, 2);
    r->lives[1].founder = 3;
}
static void break_life_before_birth(struct record *r)
{
    set_lives(r, 1, 16);
    r->lives[1].generation.counter = r->born.counter;
}
static void break_life_beyond_all(struct record *r)
{
    set_lives(r, 1, 16);
    r->lives[1].generation.counter = GENERATIONS_MAX + 1;
}
static void break_generation(struct record *r)
{
    r->generation.counter = GENERATIONS_MAX + 1;
    r->epoch = record_epoch(r->generation, r->epoch.number);
}

static const struct {
    void (*breaks)(struct record *r);
    const char *fault;
} faults[] = {
    {break_partitions, "Q is not a power of two in range"},
    {break_few_partitions, "Q is not a power of two in range"},
    {break_copies, "N is out of range"},
    {break_acks_zero, "acks is not in 1..N"},
    {break_acks_above_copies, "acks is not in 1..N"},
    {break_epoch_tag, "the epoch is not the generation's"},
    {break_epoch_number, "the epoch is not the generation's"},
    {break_cluster, "no cluster id"},
    {break_row_count, "not Q + 1 rows"},
    {break_empty_row, "a row is empty"},
    {break_gap_in_row, "a gap in a row"},
    {break_doubled_slot, "a row names a member twice"},
    {break_slot_of_nobody, "a row names a slot without a member"},
    {break_slot_of_the_left, "a row names a member that has left"},
    {break_name, "a member's name is none"},
    {break_twice_name, "two members of one name"},
    {break_twice_id, "two members of one id"},
    {break_twice_key, "two members of one key"},
    {break_zero_key, "a member without a key"},
    {break_address, "an address is not HOST:PORT"},
    {break_weight, "a member without weight"},
    {break_level, "a member's binary is below the level"},
    {break_streak, "an out streak over its limit"},
    {break_out_after, "out-after is zero"},
    {break_slow_repair, "the repair rate is out of range"},
    {break_fast_repair, "the repair rate is out of range"},
    {break_rights, "a key's rights are none"},
    {break_no_rights, "a key's rights are none"},
    {break_client_key, "a client's key is zero"},
    {break_life_of_the_ring, "a life of no partition"},
    {break_life_of_nobody, "a life of no partition"},
    {break_order_of_lives, "lives are not ascending"},
    {break_founder, "a founder that is no member"},
    {break_life_before_birth, "a life that is not a later one"},
    {break_life_beyond_all, "a generation that is out of range"},
    {break_generation, "a generation that is out of range"},
};

static void each_fault_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        struct record *r = rings_begin(3, 16);
        struct client_key k = rings_key(9, RIGHT_READ);
        assert_int_equal(record_allow(r, &k), ERR_OK);
        record_advance(r, T0);
        assert_null(record_fault(r));
        faults[i].breaks(r);
        const char *fault = record_fault(r);
        assert_non_null(fault);
        assert_string_equal(fault, faults[i].fault);
        record_free(r);
    }
}

static void names_are_letters_digits_and_three_marks(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "Rack-7_b.example", "0"};
    static const char *const bad[] = {"", "a b", "a/b", "\xc3\xa4", "a\n"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(record_is_name(span_str(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(record_is_name(span_str(bad[i])));
    assert_false(record_is_name(span_of("a\0b", 3)));
    char text[NODE_NAME_MAX + 1];
    memset(text, 'x', sizeof text);
    assert_true(record_is_name(span_of(text, NODE_NAME_MAX)));
    assert_false(record_is_name(span_of(text, NODE_NAME_MAX + 1)));
}

static void addresses_are_host_and_port(void **state)
{
    (void)state;
    static const char *const good[] = {
        "h:1",       "10.0.0.1:7460",       "node-1.example.org:65535",
        "[::1]:746", "[fe80::1%eth0]:7461", "my_service:7460",
    };
    static const char *const bad[] = {
        "",      "h",     ":1",       "h:",       "h:0",  "h:65536",
        "h:01",  "h:1x",  "h h:1",    "::1:7460", "[]:1", "[::1:746",
        "h:-1",  "h/x:1", "h:99999",  "[h:1",     "h]:1", "tcp://h:1",
        "h:1\n", "@h:1",  "h:123456",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(record_is_address(span_str(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(record_is_address(span_str(bad[i])));
}

/* ---- for people -------------------------------------------------------- */

static void a_dump_says_what_is_in_it(void **state)
{
    (void)state;
    struct record *r = golden_record();
    struct buf text = {0};
    record_dump(r, &text);
    buf_append(&text, "", 1);
    const char *words = (const char *)text.data;
    assert_non_null(strstr(words, "epoch 2.01020304.1 "));
    assert_non_null(strstr(words, "Q 16 N 3 acks 2 "));
    assert_non_null(strstr(words, " n1 zone z in (1) up since 1000 "));
    assert_non_null(strstr(words, "key admin rights 15\n"));
    assert_non_null(strstr(words, "row 16 0\n"));
    assert_non_null(strstr(words, " CONFLICT epoch 1\n"));
    assert_non_null(strstr(words, "staged 1 slot 0 value 0 zone -\n"));
    buf_free(&text);
    record_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_record_has_its_golden_bytes),
        cmocka_unit_test(a_repair_rate_is_written_if_it_is_not_the_default),
        cmocka_unit_test(lives_are_written_if_a_group_was_founded_anew),
        cmocka_unit_test(what_was_encoded_is_decoded),
        cmocka_unit_test(the_largest_record_comes_back),
        cmocka_unit_test(a_truncated_record_is_refused_at_each_length),
        cmocka_unit_test(senseless_bytes_are_refused),
        cmocka_unit_test(a_row_may_not_name_no_slot),
        cmocka_unit_test(no_mutant_that_decodes_is_without_sense),
        cmocka_unit_test(a_newer_version_or_level_is_incompatible),
        cmocka_unit_test(a_copy_is_deep),
        cmocka_unit_test(each_fault_is_named),
        cmocka_unit_test(names_are_letters_digits_and_three_marks),
        cmocka_unit_test(addresses_are_host_and_port),
        cmocka_unit_test(a_dump_says_what_is_in_it),
    };
    return cmocka_run_group_tests_name("record_codec", tests, NULL, NULL) != 0;
}
