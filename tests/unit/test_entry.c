/* test_entry.c - manifests: their bytes, their limits, and what is refused. */
#include <stdio.h>
#include <stdlib.h>

#include "ring/entry.h"
#include "tests/unit/cmocka_wrap.h"

static const struct entry_stamp stamp = {
    .epoch = {1, 2, 3}, .level = LEVEL_NOW, .time_ms = 0x0102030405060708};

static struct command append_of(uint64_t number, uint32_t size)
{
    return (struct command){.kind = COMMAND_APPEND,
                            .stream = {7, 1},
                            .producer = {8, 2},
                            .producer_epoch = 3,
                            .number = number,
                            .expected_seq = SEQ_ANY,
                            .size = size,
                            .algorithm = CHECKSUM_XXH3_128,
                            .checksum = {0x1111, 0x2222}};
}

static struct command create_of(const char *name)
{
    return (struct command){.kind = COMMAND_CREATE, .name = span_str(name)};
}

/* A manifest of these commands, which must fit. */
static void build(struct buf *out, const struct command *commands, size_t count)
{
    struct entry_builder b;
    entry_build(&b, out, stamp);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(entry_add(&b, &commands[i]), ERR_OK);
    entry_end(&b);
}

static void assert_command(const struct command *a, const struct command *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_true(span_equal(a->name, b->name));
    assert_int_equal(a->is_unnamed, b->is_unnamed);
    assert_true(position_equal(a->stream, b->stream));
    if (a->kind != COMMAND_APPEND)
        return;
    assert_true(position_equal(a->producer, b->producer));
    assert_int_equal(a->producer_epoch, b->producer_epoch);
    assert_int_equal(a->number, b->number);
    assert_int_equal(a->expected_seq, b->expected_seq);
    assert_int_equal(a->closes_producer, b->closes_producer);
    assert_int_equal(a->size, b->size);
    assert_int_equal(a->algorithm, b->algorithm);
    assert_int_equal(a->checksum.lo, b->checksum.lo);
    assert_int_equal(a->checksum.hi, b->checksum.hi);
    assert_int_equal(a->key_hash, b->key_hash);
    assert_true(span_equal(a->attributes, b->attributes));
}

/* ---- bytes ------------------------------------------------------------- */

static void assert_hex(struct span bytes, const char *hex)
{
    struct buf text = {0};
    for (size_t i = 0; i < bytes.size; i++)
        buf_printf(&text, "%02x", bytes.data[i]);
    buf_append(&text, "", 1);
    assert_string_equal((const char *)text.data, hex);
    buf_free(&text);
}

#define STAMP_HEX "010000000200000003000000000000000807060504030201"

static void bytes_are_as_documented(void **state)
{
    (void)state;
    struct buf out = {0};
    struct command commands[4] = {create_of("ab"), append_of(5, 10),
                                  append_of(6, 11)};
    commands[2].key_hash = 9;
    commands[2].attributes = span_str("x");
    commands[2].expected_seq = 4;
    commands[2].closes_producer = true;
    commands[3] = (struct command){.kind = COMMAND_OPEN_PRODUCER,
                                   .stream = {7, 1},
                                   .is_unnamed = true,
                                   .name = span_str("p")};
    build(&out, commands, 4);
    entry_number(out.data, 17, 18);
    assert_hex(span_buf(&out), "01"               /* version */
                               "03"               /* kind: commands */
                               "0100"             /* level */
                               "1100000000000000" /* index */
                               "1200000000000000" /* term */
               STAMP_HEX "15000000"               /* payload bytes */
                               "0400"             /* commands */
                               "01"               /* create */
                               "02006162"
                               "02" /* append ... */
                               "00" /* ... in full */
                               "07000000000000000100"
                               "08000000000000000200"
                               "03000000"
                               "0500000000000000"
                               "0a000000"
                               "01"
                               "11110000000000002222000000000000"
                               "02" /* append, continues, with everything */
                               "1f"
                               "0400000000000000"
                               "0b000000"
                               "01"
                               "11110000000000002222000000000000"
                               "0900000000000000"
                               "010078"
                               "03" /* open producer */
                               "07000000000000000100"
                               "01"
                               "010070");
    assert_int_equal(entry_check(span_buf(&out)), ERR_OK);
    buf_free(&out);
}

static void commands_come_back_as_they_were_added(void **state)
{
    (void)state;
    struct buf out = {0};
    struct command commands[7] = {append_of(1, 0), append_of(2, 3),
                                  create_of("s"),  append_of(3, 3),
                                  append_of(5, 1), append_of(6, 1)};
    commands[5].producer_epoch = 4; /* not "continues" */
    commands[6] = append_of(7, 1);
    commands[6].producer_epoch = 4;
    build(&out, commands, 7);
    struct entry_iter it;
    struct command c;
    assert_int_equal(entry_begin(&it, span_buf(&out)), ERR_OK);
    assert_int_equal(it.header.command_count, 7);
    assert_int_equal(it.header.payload_bytes, 9);
    for (uint16_t i = 0; i < 7; i++) {
        assert_true(entry_next(&it, &c));
        assert_int_equal(c.ordinal, i);
        assert_command(&c, &commands[i]);
    }
    assert_false(entry_next(&it, &c));
    buf_free(&out);
}

static void small_appends_in_a_row_take_23_bytes(void **state)
{
    (void)state;
    struct buf out = {0};
    struct command commands[3] = {append_of(1, 100), append_of(2, 100),
                                  append_of(3, 100)};
    build(&out, commands, 2);
    size_t two = out.size;
    build(&out, commands, 3);
    assert_int_equal(out.size - two, 23);
    buf_free(&out);
}

static void configurations_and_records_come_back(void **state)
{
    (void)state;
    struct buf out = {0};
    struct config c = {.count = 3};
    for (uint32_t i = 0; i < 3; i++) {
        c.members[i].replica.node.bytes[0] = i < 2 ? 1 : 2;
        c.members[i].replica.added = 5 + i;
        c.members[i].is_voter = i != 1;
    }
    entry_build_config(&out, stamp, &c);
    entry_number(out.data, 40, 2);
    assert_int_equal(entry_check(span_buf(&out)), ERR_OK);
    struct config read;
    assert_int_equal(entry_read_config(span_buf(&out), &read), ERR_OK);
    c.index = 40;
    assert_true(config_equal(&c, &read));
    assert_int_equal(config_voters(&read), 2);
    const struct config_member *m =
        config_find_node(&read, (struct id128){{1}});
    assert_non_null(m);
    assert_int_equal(m->replica.added, 6); /* the newer of its two lives */
    assert_null(config_find(&read, (struct replica){{{2}}, 6}));

    struct entry_record r = {{{9}}, {1, 2, 3}, span_str("a record")};
    struct entry_record r2;
    entry_build_record(&out, stamp, &r);
    assert_int_equal(entry_check(span_buf(&out)), ERR_OK);
    assert_int_equal(entry_read_record(span_buf(&out), &r2), ERR_OK);
    assert_true(id_equal(r.proposal, r2.proposal));
    assert_int_equal(epoch_compare(r.expected, r2.expected), 0);
    assert_true(span_equal(r.record, r2.record));
    assert_int_equal(entry_read_config(span_buf(&out), &read), ERR_BAD_REQUEST);

    entry_build_noop(&out, stamp);
    assert_int_equal(out.size, ENTRY_HEADER_BYTES);
    assert_int_equal(entry_check(span_buf(&out)), ERR_OK);
    buf_free(&out);
}

/* ---- what is refused --------------------------------------------------- */

static void configuration_needs_a_voter_and_each_pair_once(void **state)
{
    (void)state;
    struct buf out = {0};
    struct config c = {.count = 1};
    c.members[0].replica.node.bytes[0] = 1;
    entry_build_config(&out, stamp, &c);
    assert_int_equal(entry_check(span_buf(&out)), ERR_BAD_REQUEST);
    c.members[0].is_voter = true;
    entry_build_config(&out, stamp, &c);
    assert_int_equal(entry_check(span_buf(&out)), ERR_OK);
    c.count = 2;
    c.members[1] = c.members[0];
    entry_build_config(&out, stamp, &c);
    assert_int_equal(entry_check(span_buf(&out)), ERR_BAD_REQUEST);
    c.members[1].replica.added = 1;
    entry_build_config(&out, stamp, &c);
    assert_int_equal(entry_check(span_buf(&out)), ERR_OK);
    c.members[1].replica.node.bytes[0] = 0;
    entry_build_config(&out, stamp, &c);
    assert_int_equal(entry_check(span_buf(&out)), ERR_BAD_REQUEST);
    buf_free(&out);
}

static void newer_version_or_level_is_incompatible(void **state)
{
    (void)state;
    struct buf out = {0};
    entry_build_noop(&out, stamp);
    out.data[0] = ENTRY_VERSION + 1;
    assert_int_equal(entry_check(span_buf(&out)), ERR_INCOMPATIBLE);
    out.data[0] = 0;
    assert_int_equal(entry_check(span_buf(&out)), ERR_BAD_REQUEST);
    out.data[0] = ENTRY_VERSION;
    out.data[1] = 77; /* an unknown kind of a newer level is not senseless */
    out.data[2] = LEVEL_NOW + 1;
    assert_int_equal(entry_check(span_buf(&out)), ERR_INCOMPATIBLE);
    out.data[2] = LEVEL_NOW;
    assert_int_equal(entry_check(span_buf(&out)), ERR_BAD_REQUEST);
    out.data[1] = ENTRY_NOOP;
    out.data[2] = 0;
    assert_int_equal(entry_check(span_buf(&out)), ERR_BAD_REQUEST);
    buf_free(&out);
}

static enum err add_alone(const struct command *c)
{
    struct buf out = {0};
    struct entry_builder b;
    entry_build(&b, &out, stamp);
    size_t before = out.size;
    enum err err = entry_add(&b, c);
    assert_int_equal(err == ERR_OK, out.size > before);
    if (err == ERR_OK) {
        entry_end(&b);
        assert_int_equal(entry_check(span_buf(&out)), ERR_OK);
    }
    buf_free(&out);
    return err;
}

static void a_command_over_a_limit_is_refused_and_at_it_is_not(void **state)
{
    (void)state;
    static uint8_t bytes[ATTRIBUTES_BYTES_MAX + 1];
    struct command c = create_of("");
    assert_int_equal(add_alone(&c), ERR_BAD_REQUEST);
    c.name = span_of(bytes, STREAM_NAME_MAX);
    assert_int_equal(add_alone(&c), ERR_OK);
    c.name.size++;
    assert_int_equal(add_alone(&c), ERR_TOO_LARGE);
    c.kind = COMMAND_OPEN_PRODUCER;
    assert_int_equal(add_alone(&c), ERR_TOO_LARGE);
    c.name.size = PRODUCER_NAME_MAX;
    assert_int_equal(add_alone(&c), ERR_OK);

    c = append_of(0, SEGMENT_BYTES_MAX);
    assert_int_equal(add_alone(&c), ERR_OK);
    c.attributes = span_of(bytes, 1); /* they are part of the segment */
    assert_int_equal(add_alone(&c), ERR_TOO_LARGE);
    c.size--;
    assert_int_equal(add_alone(&c), ERR_OK);
    c.size = 0;
    c.attributes = span_of(bytes, ATTRIBUTES_BYTES_MAX);
    assert_int_equal(add_alone(&c), ERR_OK);
    c.attributes.size++;
    assert_int_equal(add_alone(&c), ERR_TOO_LARGE);
    c = append_of(UINT64_MAX - 1, 0);
    assert_int_equal(add_alone(&c), ERR_OK);
    c.number++;
    assert_int_equal(add_alone(&c), ERR_BAD_REQUEST);
    c = append_of(0, 0);
    c.algorithm = 2;
    assert_int_equal(add_alone(&c), ERR_BAD_REQUEST);
    c.kind = 9;
    assert_int_equal(add_alone(&c), ERR_BAD_REQUEST);
}

static void an_entry_over_a_limit_is_refused_and_at_it_is_not(void **state)
{
    (void)state;
    struct buf out = {0};
    struct entry_builder b;
    entry_build(&b, &out, stamp);
    for (uint32_t i = 0; i < ENTRY_COMMANDS_MAX; i++) {
        struct command c = append_of(i, 1);
        assert_int_equal(entry_add(&b, &c), ERR_OK);
    }
    size_t before = out.size;
    struct command c = append_of(ENTRY_COMMANDS_MAX, 1);
    assert_int_equal(entry_add(&b, &c), ERR_TOO_LARGE);
    assert_int_equal(out.size, before);
    entry_end(&b);
    assert_int_equal(entry_check(span_buf(&out)), ERR_OK);

    entry_build(&b, &out, stamp);
    c = append_of(0, ENTRY_PAYLOAD_BYTES_MAX - 1);
    assert_int_equal(entry_add(&b, &c), ERR_OK);
    c = append_of(1, 2);
    assert_int_equal(entry_add(&b, &c), ERR_TOO_LARGE);
    c = append_of(1, 1);
    assert_int_equal(entry_add(&b, &c), ERR_OK);
    entry_end(&b);
    assert_int_equal(entry_check(span_buf(&out)), ERR_OK);

    entry_build(&b, &out, stamp);
    char name[STREAM_NAME_MAX + 1];
    memset(name, 'n', sizeof name);
    name[STREAM_NAME_MAX] = 0;
    c = create_of(name);
    while (entry_add(&b, &c) == ERR_OK)
        continue;
    assert_true(out.size <= ENTRY_MANIFEST_BYTES_MAX);
    assert_true(out.size + 3 + STREAM_NAME_MAX > ENTRY_MANIFEST_BYTES_MAX);
    entry_end(&b);
    assert_int_equal(entry_check(span_buf(&out)), ERR_OK);
    buf_free(&out);
}

/* An entry of one append, whose bytes a test then changes. */
#define APPEND_AT ENTRY_HEADER_BYTES

static void one_meaning_has_one_encoding(void **state)
{
    (void)state;
    struct buf out = {0};
    struct command c = append_of(0, 1);
    build(&out, &c, 1);
    assert_int_equal(entry_check(span_buf(&out)), ERR_OK);
    out.data[APPEND_AT + 1] = 1; /* continues nothing */
    assert_int_equal(entry_check(span_buf(&out)), ERR_BAD_REQUEST);
    out.data[APPEND_AT + 1] = 32; /* a flag that is none */
    assert_int_equal(entry_check(span_buf(&out)), ERR_BAD_REQUEST);

    c.key_hash = 1;
    build(&out, &c, 1);
    memset(out.data + out.size - 8, 0, 8); /* a key flag without a key */
    assert_int_equal(entry_check(span_buf(&out)), ERR_BAD_REQUEST);

    c = append_of(0, 1);
    c.expected_seq = 0;
    build(&out, &c, 1);
    memset(out.data + APPEND_AT + 34, 0xff, 8);
    assert_int_equal(entry_check(span_buf(&out)), ERR_BAD_REQUEST);
    buf_free(&out);
}

static void header_must_agree_with_the_body(void **state)
{
    (void)state;
    struct buf out = {0};
    struct command commands[2] = {append_of(0, 5), append_of(1, 6)};
    build(&out, commands, 2);
    out.data[44]++; /* payload bytes */
    assert_int_equal(entry_check(span_buf(&out)), ERR_BAD_REQUEST);
    out.data[44]--;
    out.data[48] = 1; /* one command, and bytes left over */
    assert_int_equal(entry_check(span_buf(&out)), ERR_BAD_REQUEST);
    out.data[48] = 3;
    assert_int_equal(entry_check(span_buf(&out)), ERR_BAD_REQUEST);
    out.data[48] = 0;
    assert_int_equal(entry_check(span_buf(&out)), ERR_BAD_REQUEST);
    entry_build_noop(&out, stamp);
    out.data[48] = 1;
    assert_int_equal(entry_check(span_buf(&out)), ERR_BAD_REQUEST);
    buf_free(&out);
}

/* ---- hostile bytes ----------------------------------------------------- */

static struct command random_command(struct rng *r, uint64_t number)
{
    static const uint8_t bytes[64];
    if (rng_chance(r, 150))
        return (struct command){
            .kind = COMMAND_CREATE,
            .name = span_of(bytes, 1 + (size_t)rng_below(r, 60))};
    if (rng_chance(r, 150))
        return (struct command){
            .kind = COMMAND_OPEN_PRODUCER,
            .stream = {rng_next(r), (uint16_t)rng_next(r)},
            .is_unnamed = rng_chance(r, 500),
            .name = span_of(bytes, 1 + (size_t)rng_below(r, 60))};
    struct command c = append_of(number, (uint32_t)rng_below(r, 2000));
    if (rng_chance(r, 100))
        c.expected_seq = rng_below(r, 10);
    if (rng_chance(r, 100))
        c.key_hash = rng_next(r) | 1;
    if (rng_chance(r, 100))
        c.attributes = span_of(bytes, 1 + (size_t)rng_below(r, 60));
    c.closes_producer = rng_chance(r, 50);
    return c;
}

static void random_entry(struct rng *r, struct buf *out)
{
    struct entry_builder b;
    struct config config = {.count = 1 + (uint32_t)rng_below(r, REPLICAS_MAX)};
    struct entry_record record = {{{1}}, {1, 1, 1}, span_str("record")};
    switch (rng_below(r, 8)) {
    case 0:
        for (uint32_t i = 0; i < config.count; i++)
            config.members[i] =
                (struct config_member){{{{1}}, i}, rng_chance(r, 800)};
        config.members[0].is_voter = true;
        entry_build_config(out, stamp, &config);
        return;
    case 1:
        entry_build_record(out, stamp, &record);
        return;
    }
    entry_build(&b, out, stamp);
    uint64_t count = 1 + rng_below(r, 30);
    for (uint64_t i = 0; i < count; i++) {
        struct command c = random_command(r, i);
        assert_int_equal(entry_add(&b, &c), ERR_OK);
    }
    entry_end(&b);
}

/* Every reader, on bytes that may be anything. */
static void read_all(struct span bytes)
{
    struct entry_header h;
    struct config config;
    struct entry_record record;
    struct entry_iter it;
    struct command c;
    enum err err = entry_check(bytes);
    enum err header = entry_read_header(bytes, &h);
    enum err as_config = entry_read_config(bytes, &config);
    enum err as_record = entry_read_record(bytes, &record);
    enum err as_commands = entry_begin(&it, bytes);
    uint32_t count = 0;
    uint64_t payload = 0;
    while (as_commands == ERR_OK && entry_next(&it, &c)) {
        count++;
        payload += c.size;
    }
    if (err != ERR_OK)
        return;
    assert_int_equal(header, ERR_OK);
    assert_int_equal(as_config == ERR_OK, h.kind == ENTRY_CONFIG);
    assert_int_equal(as_record == ERR_OK, h.kind == ENTRY_RECORD);
    assert_int_equal(as_commands == ERR_OK, h.kind == ENTRY_COMMANDS);
    assert_int_equal(count, h.command_count);
    assert_int_equal(payload, h.payload_bytes);
}

static void truncated_entry_is_refused_at_every_length(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 1);
    struct buf out = {0};
    for (int i = 0; i < 200; i++) {
        random_entry(&r, &out);
        assert_int_equal(entry_check(span_buf(&out)), ERR_OK);
        read_all(span_buf(&out));
        for (size_t size = 0; size < out.size; size++) {
            /* In a block of its size, so that a sanitizer sees any step
             * beyond it. */
            uint8_t *copy = mem_copy(out.data, size);
            assert_int_not_equal(entry_check(span_of(copy, size)), ERR_OK);
            read_all(span_of(copy, size));
            mem_free(copy);
        }
        buf_append(&out, "", 1);
        assert_int_equal(entry_check(span_buf(&out)), ERR_BAD_REQUEST);
    }
    buf_free(&out);
}

static void mutated_entry_is_refused_or_read_whole(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 2);
    struct buf out = {0};
    uint32_t accepted = 0;
    for (int i = 0; i < 20000; i++) {
        random_entry(&r, &out);
        for (uint64_t k = 1 + rng_below(&r, 4); k > 0; k--) {
            uint64_t at = rng_below(&r, out.size);
            if (rng_chance(&r, 300) && out.size > ENTRY_HEADER_BYTES)
                at = ENTRY_HEADER_BYTES +
                     rng_below(&r, out.size - ENTRY_HEADER_BYTES);
            out.data[at] ^= (uint8_t)(1u << rng_below(&r, 8));
        }
        read_all(span_buf(&out));
        accepted += entry_check(span_buf(&out)) == ERR_OK;
    }
    assert_true(accepted > 1000); /* checksums, times: anything goes */
    buf_free(&out);
}

/* ---- items ------------------------------------------------------------- */

static void item_returns_its_handles_with_its_last_reference(void **state)
{
    (void)state;
    struct item_pool pool = {0};
    struct buf out = {0};
    struct command c = append_of(0, 30);
    build(&out, &c, 1);
    entry_number(out.data, 12, 3);
    struct slice slices[2] = {{101, 0, 10}, {102, 5, 20}};
    struct item *i = item_new(&pool, span_buf(&out), slices, 2);
    assert_int_equal(i->index, 12);
    assert_int_equal(i->term, 3);
    assert_int_equal(i->payload_size, 30);
    assert_true(item_has_payload(i));
    assert_int_equal(item_bytes(i), out.size + 30);
    assert_true(span_equal(item_manifest(i), span_buf(&out)));
    item_unref(&pool, item_ref(i));
    assert_int_equal(pool.released_count, 0);
    item_drop_payload(&pool, i);
    assert_int_equal(pool.released_count, 2);
    assert_int_equal(pool.released[0], 101);
    assert_false(item_has_payload(i));
    item_unref(&pool, i);
    assert_int_equal(pool.released_count, 2);
    assert_int_equal(pool.live, 0);
    i = item_new(&pool, span_buf(&out), slices, 2);
    item_unref(&pool, i);
    assert_int_equal(pool.released_count, 4);
    item_pool_free(&pool);
    buf_free(&out);
}

/* Streams made by one entry, as by whoever makes many at once, and producers:
 * their chains in a map stay short. */
static void positions_of_one_entry_are_spread(void **state)
{
    (void)state;
    bool is_hit[1024] = {false};
    unsigned hit = 0;
    for (uint16_t i = 0; i < 1024; i++) {
        uint64_t h = position_hash((struct position){7, i}) % 1024;
        hit += !is_hit[h];
        is_hit[h] = true;
    }
    assert_true(hit > 512);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_as_documented),
        cmocka_unit_test(commands_come_back_as_they_were_added),
        cmocka_unit_test(small_appends_in_a_row_take_23_bytes),
        cmocka_unit_test(configurations_and_records_come_back),
        cmocka_unit_test(configuration_needs_a_voter_and_each_pair_once),
        cmocka_unit_test(newer_version_or_level_is_incompatible),
        cmocka_unit_test(a_command_over_a_limit_is_refused_and_at_it_is_not),
        cmocka_unit_test(an_entry_over_a_limit_is_refused_and_at_it_is_not),
        cmocka_unit_test(one_meaning_has_one_encoding),
        cmocka_unit_test(header_must_agree_with_the_body),
        cmocka_unit_test(truncated_entry_is_refused_at_every_length),
        cmocka_unit_test(mutated_entry_is_refused_or_read_whole),
        cmocka_unit_test(item_returns_its_handles_with_its_last_reference),
        cmocka_unit_test(positions_of_one_entry_are_spread),
    };
    return cmocka_run_group_tests_name("entry", tests, NULL, NULL) != 0;
}
