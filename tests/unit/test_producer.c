/* test_producer.c - the window of answers, its row, and the lists. */
#include "ring/producer.h"
#include "tests/unit/cmocka_wrap.h"

static struct producer *a_producer(void)
{
    struct producer *p = producer_new((struct position){5, 1},
                                      (struct position){2, 0}, span_str("p"));
    p->epoch = 1;
    return p;
}

static struct hash128 checksum_of(uint64_t number)
{
    return (struct hash128){number * 31 + 7, 0};
}

/* Accepts numbers up to `count`; each `gap`-th is away from the one before. */
static void fill(struct producer *p, uint64_t count, uint64_t gap)
{
    for (uint64_t n = p->next_number; n < count; n++) {
        producer_accept(p, n + (gap == 0 ? 0 : 3 * (n / gap)), checksum_of(n));
        producer_check(p);
    }
}

static enum number_case ask(const struct producer *p, uint64_t number,
                            uint64_t *seq)
{
    return producer_judge(p, number, checksum_of(number), seq);
}

static void number_zero_is_known_until_the_window_has_passed_it(void **state)
{
    (void)state;
    uint64_t seq = 99;
    struct producer *p = a_producer();
    assert_int_equal(ask(p, 0, &seq), NUMBER_NEXT);
    assert_int_equal(ask(p, 1, &seq), NUMBER_GAP);
    fill(p, PRODUCER_WINDOW - 1, 0);
    assert_int_equal(ask(p, 0, &seq), NUMBER_KNOWN);
    fill(p, PRODUCER_WINDOW, 0);
    assert_int_equal(ask(p, 0, &seq), NUMBER_KNOWN);
    assert_int_equal(seq, 0);
    fill(p, PRODUCER_WINDOW + 1, 0);
    assert_int_equal(ask(p, 0, &seq), NUMBER_OLD);
    assert_int_equal(ask(p, 1, &seq), NUMBER_KNOWN);
    assert_int_equal(seq, 1);
    assert_int_equal(p->run_count, 1);
    producer_free(p);
}

static void every_number_of_the_window_has_its_answer(void **state)
{
    (void)state;
    for (uint64_t gap = 1; gap < 50; gap = gap * 3 + 1) {
        struct producer *p = a_producer();
        fill(p, 3000, gap);
        assert_true(p->run_count <= PRODUCER_WINDOW);
        for (uint64_t n = 0; n < 3000; n++) {
            uint64_t seq = 0;
            bool is_known = ask(p, n, &seq) == NUMBER_KNOWN;
            assert_int_equal(is_known, n >= 3000 - PRODUCER_WINDOW);
            if (is_known)
                assert_int_equal(seq, n + 3 * (n / gap));
        }
        producer_free(p);
    }
}

static void other_bytes_are_told_for_the_newest_checksums_only(void **state)
{
    (void)state;
    struct producer *p = a_producer();
    for (uint64_t count = 1; count < 200; count++) {
        fill(p, count, 5);
        for (uint64_t n = 0; n < count; n++) {
            uint64_t seq;
            enum number_case found =
                producer_judge(p, n, checksum_of(n + 1), &seq);
            bool is_remembered = count - n <= PRODUCER_CHECKSUMS;
            assert_int_equal(found,
                             is_remembered ? NUMBER_DIFFERS : NUMBER_KNOWN);
        }
    }
    producer_free(p);
}

static void row_brings_the_same_producer_back(void **state)
{
    (void)state;
    struct buf row = {0};
    struct buf again = {0};
    for (uint64_t count = 0; count < 2200; count = count * 2 + 1) {
        for (uint64_t gap = 0; gap < 4; gap++) {
            struct producer *p = a_producer();
            fill(p, count, gap);
            p->used = (struct position){77, 3};
            p->used_ms = 88;
            p->is_unnamed = gap == 1;
            p->is_closed = gap == 2;
            buf_clear(&row);
            producer_row_write(p, &row);
            struct producer *q = producer_row_read(p->id, span_buf(&row));
            assert_non_null(q);
            producer_check(q);
            fill(p, count + 3, gap);
            fill(q, count + 3, gap);
            buf_clear(&row);
            buf_clear(&again);
            producer_row_write(p, &row);
            producer_row_write(q, &again);
            assert_true(span_equal(span_buf(&row), span_buf(&again)));
            assert_int_equal(q->used.index, 77);
            assert_int_equal(q->is_closed, gap == 2);
            producer_free(p);
            producer_free(q);
        }
    }
    buf_free(&row);
    buf_free(&again);
}

static void damaged_row_is_refused_or_has_one_form(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 3);
    struct buf row = {0};
    struct buf again = {0};
    struct producer *p = a_producer();
    fill(p, 300, 7);
    producer_row_write(p, &row);
    for (size_t size = 0; size < row.size; size++) {
        uint8_t *copy = mem_copy(row.data, size);
        assert_null(producer_row_read(p->id, span_of(copy, size)));
        mem_free(copy);
    }
    uint32_t read = 0;
    for (int i = 0; i < 20000; i++) {
        uint8_t *copy = mem_copy(row.data, row.size);
        size_t bound = i & 1 ? row.size : 80; /* often where the runs are */
        copy[rng_below(&r, bound)] ^= (uint8_t)(1u << rng_below(&r, 8));
        if (rng_chance(&r, 500))
            copy[rng_below(&r, bound)] = (uint8_t)rng_next(&r);
        struct producer *q = producer_row_read(p->id, span_of(copy, row.size));
        if (q != NULL) {
            read++;
            producer_check(q);
            buf_clear(&again);
            producer_row_write(q, &again);
            assert_true(span_equal(span_of(copy, row.size), span_buf(&again)));
            producer_free(q);
        }
        mem_free(copy);
    }
    assert_true(read > 1000);
    producer_free(p);
    buf_free(&row);
    buf_free(&again);
}

static void row_of_two_that_take_turns_stays_small(void **state)
{
    (void)state;
    struct producer *p = a_producer();
    struct buf row = {0};
    for (uint64_t n = 0; n < 5000; n++)
        producer_accept(p, 2 * n, checksum_of(n));
    producer_check(p);
    assert_int_equal(p->run_count, PRODUCER_WINDOW);
    producer_row_write(p, &row);
    assert_true(row.size < 3000);
    producer_free(p);
    buf_free(&row);
}

static void sorted_list_goes_by_use(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 4);
    struct producer_list l = {0};
    for (uint64_t i = 0; i < 100; i++) {
        struct producer *p = a_producer();
        p->used = (struct position){rng_below(&r, 20), (uint16_t)i};
        producer_list_add(&l, p);
    }
    producer_list_sort(&l);
    assert_int_equal(l.count, 100);
    while (l.oldest != NULL) {
        struct producer *p = l.oldest;
        assert_true(p->newer == NULL ||
                    position_compare(p->used, p->newer->used) < 0);
        producer_list_remove(&l, p);
        producer_free(p);
    }
    assert_null(l.newest);
    assert_int_equal(l.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(number_zero_is_known_until_the_window_has_passed_it),
        cmocka_unit_test(every_number_of_the_window_has_its_answer),
        cmocka_unit_test(other_bytes_are_told_for_the_newest_checksums_only),
        cmocka_unit_test(row_brings_the_same_producer_back),
        cmocka_unit_test(damaged_row_is_refused_or_has_one_form),
        cmocka_unit_test(row_of_two_that_take_turns_stays_small),
        cmocka_unit_test(sorted_list_goes_by_use),
    };
    return cmocka_run_group_tests_name("producer", tests, NULL, NULL) != 0;
}
