/* test_base.c - what every room stands on: ring/base.h. */
#include "tests/unit/cmocka_wrap.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ring/base.h"

/* True if `act` ends its process as a failed ASSERT does. */
static bool aborts(void (*act)(void))
{
    (void)fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)signal(SIGABRT, SIG_DFL);
        (void)close(STDERR_FILENO); /* the message is expected */
        act();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

/* ---- assertions -------------------------------------------------------- */

static void assert_what_is_false(void)
{
    ASSERT(1 + 1 == 3);
}

static void assert_what_is_true(void)
{
    ASSERT(1 + 1 == 2);
}

static void assert_aborts_exactly_when_its_condition_is_false(void **state)
{
    (void)state;
    assert_true(aborts(assert_what_is_false));
    assert_false(aborts(assert_what_is_true));
}

/* ---- errors ------------------------------------------------------------ */

static const enum err all_errors[] = {
#define X(name, number, done, text) ERR_##name,
    ERR_LIST(X)
#undef X
};
#define ERRORS (sizeof all_errors / sizeof all_errors[0])

static void every_error_has_its_own_number_name_and_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < ERRORS; i++) {
        enum err e = all_errors[i];
        assert_string_not_equal(err_name(e), "?");
        assert_string_not_equal(err_text(e), "?");
        for (size_t k = 0; k < i; k++) {
            assert_int_not_equal(e, all_errors[k]);
            assert_string_not_equal(err_name(e), err_name(all_errors[k]));
            assert_string_not_equal(err_text(e), err_text(all_errors[k]));
        }
    }
}

/* The numbers are the wire's: these lines never change, they only grow. */
static void numbers_of_errors_are_those_of_the_wire(void **state)
{
    (void)state;
    static const char *const names[] = {
        "OK",        "NOT_FOUND", "NOT_HERE",    "MOVED",        "TRIMMED",
        "DELETED",   "SEALED",    "CONFLICT",    "OUT_OF_ORDER", "EXPIRED",
        "FENCED",    "TOO_LARGE", "NO_SPACE",    "BUSY",         "UNAVAILABLE",
        "TIMEOUT",   "DENIED",    "BAD_REQUEST", "CORRUPT",      "INCOMPATIBLE",
        "FORGOTTEN", "REFUSED",
    };
    const size_t count = sizeof names / sizeof names[0];
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(err_name((enum err)i), names[i]);
        assert_true(err_is_wire((uint32_t)i));
    }
    assert_false(err_is_wire((uint32_t)count));
}

static void local_errors_and_strange_numbers_are_not_for_the_wire(void **state)
{
    (void)state;
    assert_false(err_is_wire(ERR_IO));
    assert_false(err_is_wire(ERR_DAMAGED));
    assert_false(err_is_wire(ERR_IN_USE));
    assert_false(err_is_wire(ERR_UNSAFE));
    assert_false(err_is_wire(UINT32_MAX));
}

/* Retrying an unknown outcome as if nothing were done would append twice. */
static void only_errors_of_unknown_outcome_leave_done_open(void **state)
{
    (void)state;
    assert_string_equal(err_done(ERR_OK), "yes");
    for (size_t i = 0; i < ERRORS; i++) {
        enum err e = all_errors[i];
        if (e == ERR_TIMEOUT || e == ERR_EXPIRED || e == ERR_FENCED ||
            e == ERR_IO)
            assert_string_equal(err_done(e), "?");
        else if (e != ERR_OK)
            assert_string_equal(err_done(e), "no");
    }
}

static void number_that_is_no_error_is_a_question_mark(void **state)
{
    (void)state;
    assert_string_equal(err_name((enum err)63), "?");
    assert_string_equal(err_text((enum err)63), "?");
    assert_string_equal(err_done((enum err)63), "?");
}

/* ---- spans ------------------------------------------------------------- */

static void spans_are_equal_only_with_the_same_size_and_bytes(void **state)
{
    (void)state;
    struct span none = {NULL, 0};
    assert_true(span_equal(span_str("ring"), span_str("ring")));
    assert_false(span_equal(span_str("ring"), span_str("rings")));
    assert_false(span_equal(span_str("ring"), span_str("rink")));
    assert_true(span_equal(none, span_str("")));
    assert_false(span_equal(none, span_str("a")));
}

static int sign(int v)
{
    return (v > 0) - (v < 0);
}

static int compare_slowly(struct span a, struct span b)
{
    for (size_t i = 0; i < a.size && i < b.size; i++)
        if (a.data[i] != b.data[i])
            return a.data[i] < b.data[i] ? -1 : 1;
    return (a.size > b.size) - (a.size < b.size);
}

static void span_compare_agrees_with_byte_by_byte(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 1);
    for (int round = 0; round < 20000; round++) {
        /* Few values and sizes, so that prefixes and equals are common;
         * 0xff, so that bytes taken as signed would show. */
        uint8_t a[4];
        uint8_t b[4];
        for (size_t i = 0; i < 4; i++) {
            a[i] = rng_chance(&r, 500) ? 0xff : 1;
            b[i] = rng_chance(&r, 500) ? 0xff : 1;
        }
        struct span x = span_of(a, rng_below(&r, 5));
        struct span y = span_of(b, rng_below(&r, 5));
        int order = compare_slowly(x, y);
        assert_int_equal(sign(span_compare(x, y)), order);
        assert_int_equal(sign(span_compare(y, x)), -order);
        assert_int_equal(span_equal(x, y), order == 0);
    }
}

static void empty_span_without_address_sorts_first(void **state)
{
    (void)state;
    struct span none = {NULL, 0};
    assert_int_equal(span_compare(none, none), 0);
    assert_true(span_compare(none, span_str("a")) < 0);
    assert_true(span_compare(span_str("a"), none) > 0);
}

/* ---- memory and buffers ------------------------------------------------ */

static void new_memory_is_zeroed_and_never_null(void **state)
{
    (void)state;
    uint8_t *p = mem_alloc(4096);
    for (size_t i = 0; i < 4096; i++)
        assert_int_equal(p[i], 0);
    mem_free(p);
    void *nothing = mem_alloc(0);
    void *copy = mem_copy(NULL, 0);
    assert_non_null(nothing);
    assert_non_null(copy);
    mem_free(nothing);
    mem_free(copy);
}

static void resized_memory_keeps_its_bytes(void **state)
{
    (void)state;
    char *p = mem_copy("gossip proposes", 16);
    p = mem_resize(p, 100000);
    assert_string_equal(p, "gossip proposes");
    p = mem_resize(p, 16);
    assert_string_equal(p, "gossip proposes");
    mem_free(p);
}

static void appended_bytes_stay_in_order_while_a_buffer_grows(void **state)
{
    (void)state;
    struct buf b = {0};
    for (uint32_t i = 0; i < 5000; i++) {
        uint8_t pair[2] = {(uint8_t)(i >> 8), (uint8_t)i};
        buf_append(&b, pair, i % 3);
    }
    size_t at = 0;
    for (uint32_t i = 0; i < 5000; i++) {
        if (i % 3 > 0)
            assert_int_equal(b.data[at], i >> 8);
        if (i % 3 > 1)
            assert_int_equal(b.data[at + 1], i & 255);
        at += i % 3;
    }
    assert_int_equal(b.size, at);
    assert_true(b.capacity >= b.size);
    buf_free(&b);
}

static void appending_nothing_to_an_empty_buffer_allocates_nothing(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_append(&b, NULL, 0);
    buf_reserve(&b, 0);
    assert_null(b.data);
    assert_int_equal(span_buf(&b).size, 0);
    buf_free(&b);
}

static void reserved_room_is_not_moved_by_what_fits_it(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_reserve(&b, 1000);
    assert_true(b.capacity >= 1000);
    assert_int_equal(b.size, 0);
    const uint8_t *before = b.data;
    uint8_t *at = buf_grow(&b, 999);
    memset(at, 'x', 999);
    buf_append(&b, "y", 1);
    assert_ptr_equal(b.data, before);
    assert_ptr_equal(at, before);
    assert_int_equal(b.data[999], 'y');
    buf_free(&b);
}

static void printed_text_is_appended_without_its_nul(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_printf(&b, "%s=%d", "term", 7);
    buf_printf(&b, "%s", "");
    buf_printf(&b, "%0200d", 1); /* more than the buffer begins with */
    assert_int_equal(b.size, 206);
    assert_memory_equal(b.data, "term=70000", 10);
    assert_int_equal(b.data[205], '1');
    buf_free(&b);
}

static void
cleared_buffer_keeps_its_memory_and_a_freed_one_does_not(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_append(&b, "abc", 3);
    size_t capacity = b.capacity;
    buf_clear(&b);
    assert_int_equal(b.size, 0);
    assert_int_equal(b.capacity, capacity);
    assert_non_null(b.data);
    buf_free(&b);
    assert_null(b.data);
    assert_int_equal(b.capacity, 0);
    buf_free(&b); /* a zeroed one may be freed */
}

static void grow_past_the_address_space(void)
{
    struct buf b = {.size = 16};
    (void)buf_grow(&b, SIZE_MAX - 8);
}

static void size_that_overflows_aborts(void **state)
{
    (void)state;
    assert_true(aborts(grow_past_the_address_space));
}

/* ---- ids, epochs ------------------------------------------------------- */

static void id_survives_its_text(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 2);
    for (int round = 0; round < 1000; round++) {
        struct id128 id;
        for (size_t i = 0; i < 16; i++)
            id.bytes[i] = (uint8_t)rng_next(&r);
        char text[33];
        id_format(id, text);
        assert_int_equal(strlen(text), 32);
        struct id128 back = {{0}};
        assert_true(id_parse(span_str(text), &back));
        assert_true(id_equal(id, back));
    }
}

static void id_text_is_lower_case_and_read_in_either(void **state)
{
    (void)state;
    struct id128 lower = {{0}};
    struct id128 upper = {{0}};
    assert_true(id_parse(span_str("00112233445566778899aabbccddeeff"), &lower));
    assert_true(id_parse(span_str("00112233445566778899AABBCCDDEEFF"), &upper));
    assert_true(id_equal(lower, upper));
    assert_int_equal(lower.bytes[1], 0x11);
    assert_int_equal(lower.bytes[15], 0xff);
    char text[33];
    id_format(upper, text);
    assert_string_equal(text, "00112233445566778899aabbccddeeff");
}

static void text_that_is_no_id_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "0",
        "00112233445566778899aabbccddeef",
        "00112233445566778899aabbccddeeff0",
        "g0112233445566778899aabbccddeeff",
        "00112233445566778899aabbccddeef/",
        "00112233445566778899aabbccddee:f",
        "00112233445566778899aabbccddee@f",
        "00112233445566778899aabbccddee`f",
        " 0112233445566778899aabbccddeeff",
        "0x112233445566778899aabbccddeeff",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct id128 id;
        assert_false(id_parse(span_str(bad[i]), &id));
    }
}

static void only_the_id_of_zeros_is_zero(void **state)
{
    (void)state;
    struct id128 id = {{0}};
    assert_true(id_is_zero(id));
    for (size_t i = 0; i < 16; i++) {
        id = (struct id128){{0}};
        id.bytes[i] = 1;
        assert_false(id_is_zero(id));
        assert_true(id_compare(id, (struct id128){{0}}) > 0);
    }
}

static void epochs_compare_by_counter_then_number_whatever_the_tag(void **state)
{
    (void)state;
    struct epoch old = {1, 99, 1000};
    struct epoch recovered = {2, 5, 1};
    struct epoch later = {2, 5, 2};
    struct epoch rival = {2, 6, 2};
    assert_true(epoch_compare(old, recovered) < 0);
    assert_true(epoch_compare(recovered, old) > 0);
    assert_true(epoch_compare(recovered, later) < 0);
    assert_true(epoch_compare(later, recovered) > 0);
    assert_int_equal(epoch_compare(later, later), 0);
    assert_int_equal(epoch_compare(later, rival), 0);
}

static void epochs_numbers_compare_over_all_64_bits(void **state)
{
    (void)state;
    struct epoch low = {1, 1, 1};
    struct epoch high = {1, 1, (uint64_t)1 << 63};
    assert_true(epoch_compare(low, high) < 0);
    low = (struct epoch){1, 1, 1};
    high = (struct epoch){UINT32_MAX, 1, 0};
    assert_true(epoch_compare(low, high) < 0);
}

static void epochs_clash_when_one_counter_has_two_tags(void **state)
{
    (void)state;
    struct epoch a = {2, 5, 1};
    assert_true(epoch_clash(a, (struct epoch){2, 6, 9}));
    assert_false(epoch_clash(a, (struct epoch){2, 5, 9}));
    assert_false(epoch_clash(a, (struct epoch){3, 6, 1}));
}

static void generations_are_equal_only_in_both_parts(void **state)
{
    (void)state;
    struct generation a = {1, 7};
    assert_true(generation_equal(a, (struct generation){1, 7}));
    assert_false(generation_equal(a, (struct generation){2, 7}));
    assert_false(generation_equal(a, (struct generation){1, 8}));
}

/* ---- chance ------------------------------------------------------------ */

/* Figures of the reference code (prng.di.unimi.it), seeded by splitmix64. A
 * seed that found a bug must find it in every later version. */
static void seed_gives_the_same_numbers_for_ever(void **state)
{
    (void)state;
    static const struct {
        uint64_t seed;
        uint64_t numbers[4];
    } golden[] = {
        {0,
         {0x99ec5f36cb75f2b4, 0xbf6e1f784956452a, 0x1a5f849d4933e6e0,
          0x6aa594f1262d2d2c}},
        {1,
         {0xb3f2af6d0fc710c5, 0x853b559647364cea, 0x92f89756082a4514,
          0x642e1c7bc266a3a7}},
        {4711,
         {0xf923a38f1536545b, 0x4e6686940b91ab5f, 0x56cf094bb103b9ee,
          0xad8640b3d4a64ef9}},
    };
    for (size_t i = 0; i < sizeof golden / sizeof golden[0]; i++) {
        struct rng r;
        rng_seed(&r, golden[i].seed);
        for (size_t k = 0; k < 4; k++)
            assert_true(rng_next(&r) == golden[i].numbers[k]);
    }
}

static void numbers_below_a_bound_are_spread_evenly(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 3);
    uint32_t counts[10] = {0};
    for (int i = 0; i < 100000; i++) {
        uint64_t x = rng_below(&r, 10);
        assert_true(x < 10);
        counts[x]++;
    }
    for (size_t i = 0; i < 10; i++) /* 10,000 each, five deviations */
        assert_in_range(counts[i], 9526, 10474);
}

/* With a bound of 3/4 of the range, a plain remainder would give the lower
 * third of the results twice as often. */
static void large_bound_favours_no_number(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 4);
    const uint64_t quarter = (uint64_t)1 << 62;
    uint32_t low = 0;
    for (int i = 0; i < 30000; i++) {
        uint64_t x = rng_below(&r, 3 * quarter);
        assert_true(x < 3 * quarter);
        low += x < quarter;
    }
    assert_in_range(low, 9592, 10408);
}

static void bound_of_one_gives_zero(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 5);
    for (int i = 0; i < 100; i++)
        assert_int_equal(rng_below(&r, 1), 0);
}

static void draw_below_zero(void)
{
    struct rng r;
    rng_seed(&r, 6);
    (void)rng_below(&r, 0);
}

static void bound_of_zero_aborts(void **state)
{
    (void)state;
    assert_true(aborts(draw_below_zero));
}

static void chance_of_0_never_happens_and_of_1000_always(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 7);
    uint32_t hits = 0;
    for (int i = 0; i < 10000; i++) {
        assert_false(rng_chance(&r, 0));
        assert_true(rng_chance(&r, 1000));
        hits += rng_chance(&r, 250);
    }
    assert_in_range(hits, 2283, 2717);
}

/* ---- hashes ------------------------------------------------------------ */

/* Vectors of xxhash's own test suite: they lie on disk, so they must hold on
 * every machine and with every version of the library. */
static void hashes_are_xxh3(void **state)
{
    (void)state;
    assert_true(hash64(span_str("")) == 0x2d06800538d394c2);
    assert_true(hash64(span_str("a")) == 0xe6c632b61e964e1f);
    assert_true(hash64(span_str("abc")) == 0x78af5f94892f3950);
    struct hash128 none = hash128((struct span){NULL, 0});
    assert_true(none.hi == 0x99aa06d3014798d8);
    assert_true(none.lo == 0x6001c324468d497f);
    struct hash128 abc = hash128(span_str("abc"));
    assert_true(abc.hi == 0x06b05ab6733a6185);
    assert_true(abc.lo == 0x78af5f94892f3950);
}

/* ---- map --------------------------------------------------------------- */

struct item {
    uint32_t key;
    bool is_in;
};

static bool item_has_key(const void *value, const void *key)
{
    return ((const struct item *)value)->key == *(const uint32_t *)key;
}

static void empty_map_finds_and_removes_nothing(void **state)
{
    (void)state;
    struct map m = {0};
    uint32_t key = 1;
    assert_null(map_find(&m, 1, item_has_key, &key));
    assert_null(map_remove(&m, 1, item_has_key, &key));
    map_free(&m);
}

/* The hash decides nothing but the place: here all collide, or wrap around
 * the end, or are spread. The twin is the flag in each item. */
static void check_map_against_flags(uint64_t seed, uint64_t hashes)
{
    struct item items[200];
    struct map m = {0};
    struct rng r;
    size_t count = 0;
    rng_seed(&r, seed);
    for (uint32_t i = 0; i < 200; i++)
        items[i] = (struct item){i, false};
    for (int round = 0; round < 20000; round++) {
        /* Fill and drain in turns, so that chains form and break. */
        bool is_filling = (round / 500) % 2 == 0;
        struct item *item = &items[rng_below(&r, 200)];
        uint64_t hash = UINT64_MAX - item->key % hashes;
        void *expected = item->is_in ? item : NULL;
        assert_ptr_equal(map_find(&m, hash, item_has_key, &item->key),
                         expected);
        if (is_filling && !item->is_in) {
            map_insert(&m, hash, item);
            item->is_in = true;
            count++;
        } else if (!is_filling) {
            assert_ptr_equal(map_remove(&m, hash, item_has_key, &item->key),
                             expected);
            count -= item->is_in;
            item->is_in = false;
        }
        assert_int_equal(m.count, count);
    }
    map_free(&m);
    assert_null(m.slots);
    assert_int_equal(m.count, 0);
}

static void map_agrees_with_flags_when_hashes_are_spread(void **state)
{
    (void)state;
    check_map_against_flags(8, 200);
}

static void map_agrees_with_flags_when_few_hashes_are_shared(void **state)
{
    (void)state;
    check_map_against_flags(9, 7);
}

static void map_agrees_with_flags_when_all_hashes_collide(void **state)
{
    (void)state;
    check_map_against_flags(10, 1);
}

static void insert_null(void)
{
    struct map m = {0};
    map_insert(&m, 1, NULL);
}

static void map_of_null_aborts(void **state)
{
    (void)state;
    assert_true(aborts(insert_null));
}

/* ---- arithmetic -------------------------------------------------------- */

static void min_and_max_compare_as_unsigned(void **state)
{
    (void)state;
    assert_true(min_u64(UINT64_MAX, 1) == 1);
    assert_true(max_u64(UINT64_MAX, 1) == UINT64_MAX);
    assert_true(min_u64(5, 5) == 5 && max_u64(5, 5) == 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(assert_aborts_exactly_when_its_condition_is_false),
        cmocka_unit_test(every_error_has_its_own_number_name_and_text),
        cmocka_unit_test(numbers_of_errors_are_those_of_the_wire),
        cmocka_unit_test(local_errors_and_strange_numbers_are_not_for_the_wire),
        cmocka_unit_test(only_errors_of_unknown_outcome_leave_done_open),
        cmocka_unit_test(number_that_is_no_error_is_a_question_mark),
        cmocka_unit_test(spans_are_equal_only_with_the_same_size_and_bytes),
        cmocka_unit_test(span_compare_agrees_with_byte_by_byte),
        cmocka_unit_test(empty_span_without_address_sorts_first),
        cmocka_unit_test(new_memory_is_zeroed_and_never_null),
        cmocka_unit_test(resized_memory_keeps_its_bytes),
        cmocka_unit_test(appended_bytes_stay_in_order_while_a_buffer_grows),
        cmocka_unit_test(
            appending_nothing_to_an_empty_buffer_allocates_nothing),
        cmocka_unit_test(reserved_room_is_not_moved_by_what_fits_it),
        cmocka_unit_test(printed_text_is_appended_without_its_nul),
        cmocka_unit_test(
            cleared_buffer_keeps_its_memory_and_a_freed_one_does_not),
        cmocka_unit_test(size_that_overflows_aborts),
        cmocka_unit_test(id_survives_its_text),
        cmocka_unit_test(id_text_is_lower_case_and_read_in_either),
        cmocka_unit_test(text_that_is_no_id_is_refused),
        cmocka_unit_test(only_the_id_of_zeros_is_zero),
        cmocka_unit_test(
            epochs_compare_by_counter_then_number_whatever_the_tag),
        cmocka_unit_test(epochs_numbers_compare_over_all_64_bits),
        cmocka_unit_test(epochs_clash_when_one_counter_has_two_tags),
        cmocka_unit_test(generations_are_equal_only_in_both_parts),
        cmocka_unit_test(seed_gives_the_same_numbers_for_ever),
        cmocka_unit_test(numbers_below_a_bound_are_spread_evenly),
        cmocka_unit_test(large_bound_favours_no_number),
        cmocka_unit_test(bound_of_one_gives_zero),
        cmocka_unit_test(bound_of_zero_aborts),
        cmocka_unit_test(chance_of_0_never_happens_and_of_1000_always),
        cmocka_unit_test(hashes_are_xxh3),
        cmocka_unit_test(empty_map_finds_and_removes_nothing),
        cmocka_unit_test(map_agrees_with_flags_when_hashes_are_spread),
        cmocka_unit_test(map_agrees_with_flags_when_few_hashes_are_shared),
        cmocka_unit_test(map_agrees_with_flags_when_all_hashes_collide),
        cmocka_unit_test(map_of_null_aborts),
        cmocka_unit_test(min_and_max_compare_as_unsigned),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL) != 0;
}
