/* test_codec.c - little-endian cursors and big-endian keys: ring/codec.h. */
#include "tests/unit/cmocka_wrap.h"

#include "ring/codec.h"

#define TAG_NAME   1
#define TAG_NEWER  2
#define TAG_NUMBER 3

static const struct id128 some_id = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}};

/* One of everything, 92 bytes. */
static void put_all(struct enc *e)
{
    enc_u8(e, 0x01);
    enc_u16(e, 0x0203);
    enc_u32(e, 0x04050607);
    enc_u64(e, 0x08090a0b0c0d0e0f);
    enc_id(e, some_id);
    enc_epoch(e, (struct epoch){0x11121314, 0x21222324, 0x3132333435363738});
    enc_generation(e, (struct generation){0x41424344, 0x5152535455565758});
    enc_hash128(e, (struct hash128){.lo = 0x61, .hi = 0x71});
    enc_string(e, span_str("ring"));
    enc_bytes(e, "abc", 3);
    enc_u64(e, UINT64_MAX);
}
#define ALL_SIZE 92

/* Reads what put_all writes; false unless all of it is as it was. */
static bool get_all(struct dec *d)
{
    bool same = dec_u8(d) == 0x01;
    same &= dec_u16(d) == 0x0203;
    same &= dec_u32(d) == 0x04050607;
    same &= dec_u64(d) == 0x08090a0b0c0d0e0f;
    same &= id_equal(dec_id(d), some_id);
    struct epoch epoch = dec_epoch(d);
    same &= epoch.counter == 0x11121314 && epoch.tag == 0x21222324 &&
            epoch.number == 0x3132333435363738;
    same &= generation_equal(
        dec_generation(d), (struct generation){0x41424344, 0x5152535455565758});
    struct hash128 hash = dec_hash128(d);
    same &= hash.lo == 0x61 && hash.hi == 0x71;
    same &= span_equal(dec_string(d), span_str("ring"));
    same &= span_equal(dec_bytes(d, 3), span_str("abc"));
    same &= dec_u64(d) == UINT64_MAX;
    return same;
}

/* ---- encoder ----------------------------------------------------------- */

static void what_was_encoded_is_decoded(void **state)
{
    (void)state;
    uint8_t bytes[ALL_SIZE];
    struct enc e = enc_of(bytes, sizeof bytes);
    put_all(&e);
    assert_true(enc_fits(&e));
    assert_int_equal(enc_span(&e).size, ALL_SIZE);
    struct dec d = dec_of(enc_span(&e));
    assert_true(get_all(&d));
    assert_true(dec_done(&d));
}

/* The wire's order, byte by byte, whatever the machine's is. */
static void numbers_lie_little_end_first(void **state)
{
    (void)state;
    static const uint8_t golden[] = {
        0x01,                                           /* u8 */
        0x03, 0x02,                                     /* u16 */
        0x07, 0x06, 0x05, 0x04,                         /* u32 */
        0x0f, 0x0e, 0x0d, 0x0c, 0x0b, 0x0a, 0x09, 0x08, /* u64 */
        0,    1,    2,    3,    4,    5,    6,    7,    /* id as it is */
        8,    9,    10,   11,   12,   13,   14,   15,   /* */
        0x14, 0x13, 0x12, 0x11,                         /* epoch: counter */
        0x24, 0x23, 0x22, 0x21,                         /* tag */
        0x38, 0x37, 0x36, 0x35, 0x34, 0x33, 0x32, 0x31, /* number */
        0x44, 0x43, 0x42, 0x41,                         /* generation */
        0x58, 0x57, 0x56, 0x55, 0x54, 0x53, 0x52, 0x51, /* */
        0x61, 0,    0,    0,    0,    0,    0,    0,    /* hash: lo */
        0x71, 0,    0,    0,    0,    0,    0,    0,    /* hi */
        4,    0,    'r',  'i',  'n',  'g',              /* string */
        'a',  'b',  'c',                                /* bytes */
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    };
    uint8_t bytes[ALL_SIZE];
    struct enc e = enc_of(bytes, sizeof bytes);
    put_all(&e);
    assert_int_equal(sizeof golden, ALL_SIZE);
    assert_memory_equal(bytes, golden, sizeof golden);
}

static void encoder_without_room_measures(void **state)
{
    (void)state;
    struct enc e = enc_of(NULL, 0);
    assert_true(enc_fits(&e));
    put_all(&e);
    assert_int_equal(e.size, ALL_SIZE);
    assert_false(enc_fits(&e));
}

static void
short_encoder_counts_on_and_writes_nothing_past_its_end(void **state)
{
    (void)state;
    for (size_t capacity = 0; capacity < ALL_SIZE; capacity++) {
        uint8_t bytes[ALL_SIZE + 8];
        memset(bytes, 0xee, sizeof bytes);
        struct enc e = enc_of(bytes, capacity);
        put_all(&e);
        assert_int_equal(e.size, ALL_SIZE);
        assert_false(enc_fits(&e));
        for (size_t i = capacity; i < sizeof bytes; i++)
            assert_int_equal(bytes[i], 0xee);
    }
}

static void empty_string_and_no_bytes_are_encoded(void **state)
{
    (void)state;
    uint8_t bytes[2] = {0xee, 0xee};
    struct enc e = enc_of(bytes, sizeof bytes);
    enc_bytes(&e, NULL, 0);
    enc_string(&e, (struct span){NULL, 0});
    assert_true(enc_fits(&e));
    struct dec d = dec_of(enc_span(&e));
    assert_int_equal(dec_string(&d).size, 0);
    assert_true(dec_done(&d));
}

static void longest_string_survives(void **state)
{
    (void)state;
    struct buf text = {0};
    memset(buf_grow(&text, UINT16_MAX), 'x', UINT16_MAX);
    struct buf out = {0};
    (void)buf_grow(&out, 2 + UINT16_MAX);
    struct enc e = enc_of(out.data, out.size);
    enc_string(&e, span_buf(&text));
    assert_true(enc_fits(&e));
    struct dec d = dec_of(enc_span(&e));
    assert_true(span_equal(dec_string(&d), span_buf(&text)));
    assert_true(dec_done(&d));
    buf_free(&text);
    buf_free(&out);
}

/* ---- decoder ----------------------------------------------------------- */

static void every_shorter_input_is_bad(void **state)
{
    (void)state;
    uint8_t bytes[ALL_SIZE];
    struct enc e = enc_of(bytes, sizeof bytes);
    put_all(&e);
    for (size_t size = 0; size < ALL_SIZE; size++) {
        /* Of exactly this size, for the sanitizer to see a byte too far. */
        uint8_t *cut = mem_copy(bytes, size);
        struct dec d = dec_of(span_of(cut, size));
        (void)get_all(&d);
        assert_true(d.is_bad);
        assert_false(dec_done(&d));
        assert_int_equal(dec_left(&d), 0);
        mem_free(cut);
    }
}

static void input_with_bytes_left_is_not_done(void **state)
{
    (void)state;
    struct dec d = dec_of(span_of("\1\2\3", 3));
    assert_int_equal(dec_u16(&d), 0x0201);
    assert_int_equal(dec_left(&d), 1);
    assert_false(dec_done(&d));
    assert_int_equal(dec_u8(&d), 3);
    assert_true(dec_done(&d));
}

static void bad_decoder_gives_zeros_for_ever(void **state)
{
    (void)state;
    struct dec d = dec_of(span_of("\xff\xff\xff\xff\xff\xff\xff", 7));
    assert_true(dec_u64(&d) == 0);
    assert_true(d.is_bad);
    /* Seven bytes would do for these, but the failure sticks. */
    assert_int_equal(dec_u8(&d), 0);
    assert_int_equal(dec_u16(&d), 0);
    assert_int_equal(dec_u32(&d), 0);
    assert_true(id_is_zero(dec_id(&d)));
    assert_int_equal(dec_bytes(&d, 1).size, 0);
    assert_null(dec_bytes(&d, 0).data);
    assert_int_equal(dec_string(&d).size, 0);
    assert_int_equal(epoch_compare(dec_epoch(&d), (struct epoch){0}), 0);
    assert_true(
        generation_equal(dec_generation(&d), (struct generation){0, 0}));
    assert_true(dec_hash128(&d).hi == 0);
    assert_false(dec_done(&d));
}

static void decoder_failed_by_its_caller_is_bad(void **state)
{
    (void)state;
    struct dec d = dec_of(span_of("\1\2", 2));
    dec_fail(&d);
    assert_int_equal(dec_u8(&d), 0);
    assert_false(dec_done(&d));
}

static void decoded_bytes_are_borrowed_from_the_input(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {2, 0, 'h', 'i', 'x'};
    struct dec d = dec_of(span_of(bytes, sizeof bytes));
    assert_ptr_equal(dec_string(&d).data, bytes + 2);
    assert_ptr_equal(dec_bytes(&d, 1).data, bytes + 4);
}

/* A length from outside is compared with what is left, never added up. */
static void length_that_would_overflow_is_bad(void **state)
{
    (void)state;
    struct dec d = dec_of(span_of("\1\2\3\4", 4));
    (void)dec_u8(&d);
    assert_int_equal(dec_bytes(&d, SIZE_MAX).size, 0);
    assert_true(d.is_bad);
    d = dec_of(span_of("\xff\xff\1", 3));
    assert_int_equal(dec_string(&d).size, 0);
    assert_true(d.is_bad);
}

/* ---- tags -------------------------------------------------------------- */

static void put_tags(struct enc *e)
{
    size_t began = enc_tag_begin(e, TAG_NAME);
    enc_string(e, span_str("north"));
    enc_tag_end(e, began);
    began = enc_tag_begin(e, TAG_NEWER);
    enc_u64(e, 0x1122334455667788);
    enc_tag_end(e, began);
    began = enc_tag_begin(e, TAG_NUMBER);
    enc_u32(e, 42);
    enc_tag_end(e, began);
}
#define TAGS_SIZE (3 * 6 + 7 + 8 + 4)

/* As an older version would, that does not know TAG_NEWER. */
static bool get_tags(struct dec *d, struct span *name, uint32_t *number)
{
    uint16_t tag = 0;
    struct dec value;
    while (dec_tag(d, &tag, &value)) {
        if (tag == TAG_NAME)
            *name = dec_string(&value);
        else if (tag == TAG_NUMBER)
            *number = dec_u32(&value);
        else
            continue;
        if (!dec_done(&value))
            dec_fail(d);
    }
    return dec_done(d);
}

static void unknown_tag_is_skipped_by_its_length(void **state)
{
    (void)state;
    uint8_t bytes[TAGS_SIZE];
    struct enc e = enc_of(bytes, sizeof bytes);
    put_tags(&e);
    assert_true(enc_fits(&e));
    assert_int_equal(e.size, TAGS_SIZE);
    struct dec d = dec_of(enc_span(&e));
    struct span name = {NULL, 0};
    uint32_t number = 0;
    assert_true(get_tags(&d, &name, &number));
    assert_true(span_equal(name, span_str("north")));
    assert_int_equal(number, 42);
}

static void tags_are_bad_unless_cut_between_two(void **state)
{
    (void)state;
    uint8_t bytes[TAGS_SIZE];
    struct enc e = enc_of(bytes, sizeof bytes);
    put_tags(&e);
    for (size_t size = 0; size < TAGS_SIZE; size++) {
        struct dec d = dec_of(span_of(bytes, size));
        struct span name = {NULL, 0};
        uint32_t number = 0;
        bool is_between = size == 0 || size == 13 || size == 27;
        assert_int_equal(get_tags(&d, &name, &number), is_between);
    }
}

static void tag_that_is_cut_is_not_handed_out(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {1, 0, 4, 0, 0, 0, 9, 8, 7};
    for (size_t size = 1; size <= sizeof bytes; size++) {
        struct dec d = dec_of(span_of(bytes, size));
        uint16_t tag = 0;
        struct dec value;
        assert_false(dec_tag(&d, &tag, &value));
        assert_true(d.is_bad);
    }
}

static void value_of_a_tag_cannot_be_read_past_its_length(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {1, 0, 1, 0, 0, 0, 9, 8, 7, 6};
    struct dec d = dec_of(span_of(bytes, sizeof bytes));
    uint16_t tag = 0;
    struct dec value;
    assert_true(dec_tag(&d, &tag, &value));
    assert_int_equal(dec_u32(&value), 0);
    assert_true(value.is_bad);
    assert_int_equal(dec_left(&d), 3);
}

static void tags_are_measured_and_nested(void **state)
{
    (void)state;
    struct enc measure = enc_of(NULL, 0);
    put_tags(&measure);
    assert_int_equal(measure.size, TAGS_SIZE);
    uint8_t bytes[64];
    struct enc e = enc_of(bytes, sizeof bytes);
    size_t outer = enc_tag_begin(&e, 7);
    put_tags(&e);
    enc_tag_end(&e, outer);
    struct dec d = dec_of(enc_span(&e));
    uint16_t tag = 0;
    struct dec value;
    assert_true(dec_tag(&d, &tag, &value));
    assert_int_equal(tag, 7);
    assert_true(dec_done(&d));
    struct span name = {NULL, 0};
    uint32_t number = 0;
    assert_true(get_tags(&value, &name, &number));
    assert_int_equal(number, 42);
}

/* ---- keys -------------------------------------------------------------- */

static void keys_lie_big_end_first(void **state)
{
    (void)state;
    uint8_t at[8];
    put_be16(at, 0x0102);
    assert_memory_equal(at, "\1\2", 2);
    put_be32(at, 0x01020304);
    assert_memory_equal(at, "\1\2\3\4", 4);
    put_be64(at, 0x0102030405060708);
    assert_memory_equal(at, "\1\2\3\4\5\6\7\10", 8);
}

static void keys_sort_by_memcmp_as_their_numbers_do(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 1);
    for (int round = 0; round < 20000; round++) {
        /* Of all magnitudes, so that every byte gets to decide. */
        uint64_t a = rng_next(&r) >> rng_below(&r, 64);
        uint64_t b = rng_chance(&r, 500) ? a ^ (1 + rng_below(&r, 255))
                                         : rng_next(&r) >> rng_below(&r, 64);
        uint8_t key_a[8];
        uint8_t key_b[8];
        put_be64(key_a, a);
        put_be64(key_b, b);
        assert_true(get_be64(key_a) == a);
        assert_int_equal(memcmp(key_a, key_b, 8) < 0, a < b);
        put_be32(key_a, (uint32_t)a);
        put_be32(key_b, (uint32_t)b);
        assert_true(get_be32(key_a) == (uint32_t)a);
        assert_int_equal(memcmp(key_a, key_b, 4) < 0,
                         (uint32_t)a < (uint32_t)b);
        put_be16(key_a, (uint16_t)a);
        put_be16(key_b, (uint16_t)b);
        assert_true(get_be16(key_a) == (uint16_t)a);
        assert_int_equal(memcmp(key_a, key_b, 2) < 0,
                         (uint16_t)a < (uint16_t)b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_encoded_is_decoded),
        cmocka_unit_test(numbers_lie_little_end_first),
        cmocka_unit_test(encoder_without_room_measures),
        cmocka_unit_test(
            short_encoder_counts_on_and_writes_nothing_past_its_end),
        cmocka_unit_test(empty_string_and_no_bytes_are_encoded),
        cmocka_unit_test(longest_string_survives),
        cmocka_unit_test(every_shorter_input_is_bad),
        cmocka_unit_test(input_with_bytes_left_is_not_done),
        cmocka_unit_test(bad_decoder_gives_zeros_for_ever),
        cmocka_unit_test(decoder_failed_by_its_caller_is_bad),
        cmocka_unit_test(decoded_bytes_are_borrowed_from_the_input),
        cmocka_unit_test(length_that_would_overflow_is_bad),
        cmocka_unit_test(unknown_tag_is_skipped_by_its_length),
        cmocka_unit_test(tags_are_bad_unless_cut_between_two),
        cmocka_unit_test(tag_that_is_cut_is_not_handed_out),
        cmocka_unit_test(value_of_a_tag_cannot_be_read_past_its_length),
        cmocka_unit_test(tags_are_measured_and_nested),
        cmocka_unit_test(keys_lie_big_end_first),
        cmocka_unit_test(keys_sort_by_memcmp_as_their_numbers_do),
    };
    return cmocka_run_group_tests_name("codec", tests, NULL, NULL) != 0;
}
