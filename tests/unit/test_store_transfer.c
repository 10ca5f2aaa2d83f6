/* test_store_transfer.c - the receiving side of a transfer: ring/transfer.h,
 * against what a model store gives. */
#include "tests/unit/cmocka_wrap.h"

#include "ring/transfer.h"
#include "tests/unit/rings.h"
#include "tests/unit/store_rig.h"

#define PATIENCE 1000u

static const struct replica self = {{{9}}, 77};
static const struct replica leader = {{{4, 5, 6}}, 1}; /* the founder */
static const struct replica other = {{{8}}, 30};

struct rig {
    struct rig_bytes bytes;
    struct item_pool pool;
    struct store *store;
    struct store_reader *reader;
    struct rig_core core;
    struct blob_result blob;
    struct transfer *t;
};

/* ---- life -------------------------------------------------------------- */

static void append(struct rig *r, struct item *item)
{
    struct store_command c = {
        .kind = STORE_APPEND, .group = 1, .incarnation = 1, .item = item};
    struct store_batch b = {1, &c, 1};
    struct store_done done;
    rig_core_append(&r->core, item);
    assert_int_equal(store_commit(r->store, &b, &done), ERR_OK);
    rig_core_apply(&r->core, r->core.last);
}

static void fill(struct rig *r)
{
    struct rig_script s;
    rig_script_begin(&s, 1);
    assert_true(rig_script_create(&s, "a"));
    assert_true(rig_script_create(&s, "empty"));
    assert_true(rig_script_create(&s, "b"));
    append(r, rig_script_end(&s, &r->pool, &r->bytes, 2, 1));
    rig_script_begin(&s, 2);
    assert_true(rig_script_open(&s, r->core.lanes[0].stream, "p"));
    assert_true(rig_script_open(&s, r->core.lanes[2].stream, "q"));
    append(r, rig_script_end(&s, &r->pool, &r->bytes, 3, 1));
    for (uint64_t i = 4; i < 8; i++) {
        rig_script_begin(&s, i);
        for (uint64_t k = 0; k < 3; k++) {
            assert_true(rig_script_append(&s, &r->core.lanes[0], k, 900));
            assert_true(rig_script_append(&s, &r->core.lanes[2], k, 50));
        }
        append(r, rig_script_end(&s, &r->pool, &r->bytes, i, 1));
    }
    struct store_command c = rig_core_portion(&r->core, 1, 1, 7);
    struct store_batch b = {2, &c, 1};
    struct store_done done;
    assert_int_equal(store_commit(r->store, &b, &done), ERR_OK);
}

static int set_up(void **state)
{
    struct rig *r = mem_alloc(sizeof *r);
    struct store_founding f = rig_founding(RIG_PARTITIONS);
    rig_core_init(&r->core, true);
    r->store = store_model_new(&f, rig_resolve, &r->bytes);
    r->reader = store_reader_open(r->store);
    fill(r);
    struct blob_ticket t = {.group = 1, .incarnation = 1};
    store_read_blob(r->reader, &t, &r->blob);
    assert_int_equal(r->blob.err, ERR_OK);
    struct transfer_cfg cfg = {.self = self, .patience_ms = PATIENCE};
    r->t = transfer_new(&cfg, 0);
    *state = r;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *r = *state;
    transfer_check(r->t);
    transfer_free(r->t);
    store_blob_free(&r->blob);
    store_reader_close(r->reader);
    store_close(r->store);
    rig_core_free(&r->core, &r->pool);
    item_pool_free(&r->pool);
    rig_bytes_free(&r->bytes);
    mem_free(r);
    return 0;
}

/* ---- vocabulary -------------------------------------------------------- */

static struct transfer_head head_of(const struct rig *r)
{
    return (struct transfer_head){r->blob.index, r->blob.term, r->blob.digest,
                                  r->blob.epoch, r->blob.config};
}

static struct transfer_piece piece(const struct rig *r, size_t from, size_t end)
{
    return (struct transfer_piece){
        .head = head_of(r),
        .total = (uint32_t)r->blob.images.size,
        .offset = (uint32_t)from,
        .images = span_of(r->blob.images.data + from, end - from)};
}

/* Where the first image ends. */
static size_t first_image(const struct rig *r)
{
    struct dec d = dec_of(span_buf(&r->blob.images));
    struct image image;
    assert_true(image_next(&d, &image));
    return d.at;
}

static struct transfer_ask ask(struct rig *r, uint64_t now_ms)
{
    struct transfer_ask a;
    assert_true(transfer_next(r->t, now_ms, &a));
    return a;
}

static bool is_quiet(struct rig *r, uint64_t now_ms)
{
    struct transfer_ask a;
    return !transfer_next(r->t, now_ms, &a);
}

static void take_blob(struct rig *r)
{
    transfer_invited(r->t, leader, 2);
    (void)ask(r, 0);
    struct transfer_piece p = piece(r, 0, r->blob.images.size);
    assert_true(transfer_blob(r->t, leader, &p, 0));
    transfer_blob_stored(r->t);
}

/* Answers a question for rows; at least one row. */
static bool give(struct rig *r, const struct transfer_ask *a, uint64_t now_ms)
{
    struct rows_ticket t = {1, 1, a->cursor, a->index, 1, 0};
    struct rows_result rows;
    store_read_rows(r->reader, &t, &rows);
    assert_int_equal(rows.err, ERR_OK);
    bool is_taken = transfer_rows(r->t, a->to, a->cursor, span_buf(&rows.rows),
                                  rows.payload_bytes, now_ms);
    store_rows_free(&rows);
    return is_taken;
}

/* ---- the blob ---------------------------------------------------------- */

static void the_blob_is_asked_of_who_invites(void **state)
{
    struct rig *r = *state;
    assert_true(is_quiet(r, 0)); /* nobody has */
    transfer_invited(r->t, leader, 2);
    struct transfer_ask a = ask(r, 0);
    assert_true(a.is_blob && a.index == 0 && a.offset == 0);
    assert_true(replica_equal(a.to, leader));
    assert_true(is_quiet(r, 0)); /* one question at a time */
}

static void a_blob_comes_in_pieces(void **state)
{
    struct rig *r = *state;
    transfer_invited(r->t, leader, 2);
    (void)ask(r, 0);
    struct transfer_piece first = piece(r, 0, first_image(r));
    assert_false(transfer_blob(r->t, leader, &first, 0));
    struct transfer_ask a = ask(r, 0);
    assert_int_equal(a.offset, first_image(r));
    assert_true(a.index == r->blob.index);
    struct transfer_piece rest = piece(r, a.offset, r->blob.images.size);
    struct transfer_piece later = rest;
    later.offset++;
    later.images.size--;
    assert_false(transfer_blob(r->t, leader, &first, 0)); /* a repeat */
    assert_false(transfer_blob(r->t, leader, &later, 0));
    assert_true(is_quiet(r, 0));
    assert_true(transfer_blob(r->t, leader, &rest, 0));
    assert_int_equal(transfer_phase(r->t), TRANSFER_STORE);
    assert_true(span_equal(transfer_images(r->t), span_buf(&r->blob.images)));
}

static void pieces_of_two_blobs_do_not_mix(void **state)
{
    struct rig *r = *state;
    transfer_invited(r->t, leader, 2);
    (void)ask(r, 0);
    struct transfer_piece p = piece(r, 0, first_image(r));
    assert_false(transfer_blob(r->t, leader, &p, 0));
    (void)ask(r, 0);
    p = piece(r, first_image(r), r->blob.images.size);
    p.head.index++;
    assert_false(transfer_blob(r->t, leader, &p, 0));
    assert_true(is_quiet(r, PATIENCE / 8 - 1));
    assert_int_equal(ask(r, PATIENCE / 8).offset, 0);
}

static void a_blob_below_the_pin_is_refused(void **state)
{
    struct rig *r = *state;
    transfer_invited(r->t, leader, r->blob.index + 2);
    (void)ask(r, 0);
    struct transfer_piece p = piece(r, 0, r->blob.images.size);
    assert_false(transfer_blob(r->t, leader, &p, 0));
    transfer_invited(r->t, leader, r->blob.index + 1); /* i >= pin - 1 */
    (void)ask(r, PATIENCE);
    assert_true(transfer_blob(r->t, leader, &p, PATIENCE));
}

static void the_rest_of_a_blob_below_the_pin_is_not_asked_for(void **state)
{
    struct rig *r = *state;
    transfer_invited(r->t, leader, 2);
    (void)ask(r, 0);
    struct transfer_piece p = piece(r, 0, first_image(r));
    assert_false(transfer_blob(r->t, leader, &p, 0));
    transfer_invited(r->t, leader, r->blob.index + 2);
    assert_int_equal(ask(r, 0).offset, first_image(r));
    p = piece(r, first_image(r), r->blob.images.size);
    assert_false(transfer_blob(r->t, leader, &p, 0));
    assert_int_equal(ask(r, PATIENCE).offset, 0);
}

static void a_blob_of_another_digest_is_refused(void **state)
{
    struct rig *r = *state;
    transfer_invited(r->t, leader, 2);
    (void)ask(r, 0);
    struct transfer_piece p = piece(r, 0, r->blob.images.size);
    p.head.digest.lo ^= 1;
    assert_false(transfer_blob(r->t, leader, &p, 0));
    assert_int_equal(transfer_phase(r->t), TRANSFER_BLOB);
    assert_int_equal(ask(r, PATIENCE).offset, 0);
}

/* Of the ring: one row, which must be a record. */
static bool takes_ring_row(const char *key, struct span value)
{
    struct transfer_cfg cfg = {
        .self = self, .is_ring = true, .patience_ms = PATIENCE};
    struct transfer *t = transfer_new(&cfg, 0);
    struct image image = {ROW_STATE, span_str(key), false, value};
    struct buf images = {0};
    image_put(&images, &image);
    struct transfer_piece p = {
        .head = {.index = 5,
                 .term = 2,
                 .digest = row_digest(image.key, image.value)},
        .total = (uint32_t)images.size,
        .images = span_buf(&images)};
    struct transfer_ask a;
    transfer_invited(t, leader, 2);
    assert_true(transfer_next(t, 0, &a));
    bool is_taken = transfer_blob(t, leader, &p, 0);
    if (is_taken) {
        transfer_blob_stored(t);
        struct record *ring = transfer_take_ring(t);
        assert_non_null(ring);
        record_free(ring);
    }
    transfer_free(t);
    buf_free(&images);
    return is_taken;
}

static void a_ring_row_must_be_a_record(void **state)
{
    (void)state;
    struct record *ring = rings_begin(3, PARTITIONS_MIN);
    struct buf value = {0};
    record_encode(ring, &value);
    assert_true(takes_ring_row(RECORD_ROW_KEY, span_buf(&value)));
    assert_false(takes_ring_row("F", span_buf(&value)));
    assert_false(takes_ring_row(RECORD_ROW_KEY, span_str("no record")));
    buf_free(&value);
    record_free(ring);
}

/* ---- rows -------------------------------------------------------------- */

static void all_rows_make_it_done(void **state)
{
    struct rig *r = *state;
    assert_int_equal(transfer_total(r->t), 0);
    take_blob(r);
    uint64_t total = transfer_total(r->t);
    unsigned answers = 0;
    while (transfer_phase(r->t) == TRANSFER_ROWS) {
        struct transfer_ask a = ask(r, 0);
        assert_false(a.is_blob);
        assert_true(give(r, &a, 0));
        transfer_check(r->t);
        answers++;
    }
    assert_in_range(answers, 2, 24);
    /* Keys and heads of rows are not estimated: much, of 50 bytes. */
    assert_in_range(transfer_bytes(r->t), total, total * 5 / 4);
    assert_int_equal(transfer_phase(r->t), TRANSFER_DONE);
    assert_true(is_quiet(r, 10 * PATIENCE));
    struct streams *s = transfer_take_streams(r->t);
    assert_true(streams_digest(s).lo == r->blob.digest.lo);
    assert_int_equal(streams_count(s), 3);
    streams_free(s);
}

static void an_answer_counts_once_and_from_whom_was_asked(void **state)
{
    struct rig *r = *state;
    take_blob(r);
    struct transfer_ask a = ask(r, 0);
    struct transfer_ask stranger = a;
    stranger.to = other;
    assert_false(give(r, &stranger, 0));
    assert_true(give(r, &a, 0));
    struct row_cursor cursor = transfer_cursor(r->t);
    assert_false(give(r, &a, 0)); /* doubled on the way */
    (void)ask(r, 0);
    assert_false(give(r, &a, 0)); /* late: to a former question */
    assert_true(transfer_cursor(r->t).seq == cursor.seq);
}

static void rows_with_a_gap_are_refused(void **state)
{
    struct rig *r = *state;
    take_blob(r);
    struct transfer_ask a = ask(r, 0);
    struct row_cursor cursor = transfer_cursor(r->t);
    struct rows_ticket t = {1, 1, {cursor.stream, cursor.seq + 1}, 7, 1, 0};
    struct rows_result rows;
    store_read_rows(r->reader, &t, &rows);
    assert_true(rows.count > 0);
    assert_false(transfer_rows(r->t, a.to, a.cursor, span_buf(&rows.rows),
                               rows.payload_bytes, 0));
    store_rows_free(&rows);
    assert_true(transfer_cursor(r->t).seq == cursor.seq);
    a = ask(r, PATIENCE);
    assert_true(give(r, &a, PATIENCE));
}

static void a_silent_source_is_followed_by_the_next(void **state)
{
    struct rig *r = *state;
    take_blob(r);
    transfer_invited(r->t, other, 2); /* the founder is in the configuration */
    struct transfer_ask a = ask(r, 0);
    assert_true(is_quiet(r, PATIENCE - 1));
    struct transfer_ask b = ask(r, PATIENCE);
    assert_false(replica_equal(a.to, b.to));
    assert_true(a.cursor.seq == b.cursor.seq);
}

static void a_refusal_is_followed_by_the_next_a_little_later(void **state)
{
    struct rig *r = *state;
    take_blob(r);
    transfer_invited(r->t, other, 2);
    struct transfer_ask a = ask(r, 0);
    assert_null(strstr(transfer_reason(r->t), "in vain"));
    transfer_refused(r->t, a.to, 0);
    assert_true(is_quiet(r, PATIENCE / 8 - 1));
    assert_false(replica_equal(ask(r, PATIENCE / 8).to, a.to));
    assert_non_null(strstr(transfer_reason(r->t), "asked 1 times in vain"));
    a = ask(r, PATIENCE / 8 + PATIENCE); /* silence counts too */
    assert_non_null(strstr(transfer_reason(r->t), "asked 2 times in vain"));
    assert_true(give(r, &a, 2 * PATIENCE));
    assert_null(strstr(transfer_reason(r->t), "in vain"));
}

/* Else four whose sources are gone hold up all others. */
static void who_asks_in_vain_takes_no_turn(void **state)
{
    struct rig *r = *state;
    struct transfer_cfg cfg = {.self = self, .patience_ms = PATIENCE};
    struct transfer *lone = transfer_new(&cfg, 0);
    assert_false(transfer_takes_turn(lone)); /* knows nobody */
    transfer_free(lone);
    take_blob(r);
    transfer_invited(r->t, other, 2);
    assert_true(transfer_takes_turn(r->t));
    uint64_t now = 0;
    struct transfer_ask a = ask(r, now);
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(transfer_takes_turn(r->t));
        transfer_refused(r->t, a.to, now);
        now += PATIENCE;
        a = ask(r, now);
    }
    assert_false(transfer_takes_turn(r->t));
    transfer_invited(r->t, other, 3); /* nothing new */
    assert_false(transfer_takes_turn(r->t));
    assert_true(give(r, &a, now));
    assert_true(transfer_takes_turn(r->t));
}

/* Senseless answers are in vain, too. */
static void a_source_that_talks_nonsense_loses_its_turn(void **state)
{
    struct rig *r = *state;
    take_blob(r);
    uint64_t now = 0;
    for (uint32_t i = 0; i < 3; i++, now += PATIENCE) {
        assert_true(transfer_takes_turn(r->t));
        struct transfer_ask a = ask(r, now);
        assert_false(
            transfer_rows(r->t, a.to, a.cursor, span_of("x", 1), 0, now));
    }
    assert_false(transfer_takes_turn(r->t));
    struct replica new_leader = {other.node, other.added + 50};
    transfer_invited(r->t, new_leader, 2);
    assert_true(transfer_takes_turn(r->t));
}

/* Neither costs bytes: without a wait both would ask and answer for ever. */
static void a_blob_of_nothing_or_nonsense_loses_its_turn(void **state)
{
    struct rig *r = *state;
    transfer_invited(r->t, leader, 2);
    uint64_t now = 0;
    for (uint32_t i = 0; i < 3; i++, now += PATIENCE) {
        assert_true(transfer_takes_turn(r->t));
        (void)ask(r, now);
        struct transfer_piece p = piece(r, 0, i == 0 ? 0 : r->blob.images.size);
        p.head.digest.lo ^= i;
        assert_false(transfer_blob(r->t, leader, &p, now));
        assert_true(is_quiet(r, now));
    }
    assert_false(transfer_takes_turn(r->t));
    (void)ask(r, now);
    struct transfer_piece p = piece(r, 0, first_image(r));
    assert_false(transfer_blob(r->t, leader, &p, now));
    assert_false(transfer_takes_turn(r->t)); /* it may be nonsense, too */
    (void)ask(r, now);
    p = piece(r, first_image(r), r->blob.images.size);
    assert_true(transfer_blob(r->t, leader, &p, now));
}

static void rows_that_come_late_count(void **state)
{
    struct rig *r = *state;
    take_blob(r);
    transfer_invited(r->t, other, 2);
    struct transfer_ask a = ask(r, 0);
    struct transfer_ask b = ask(r, PATIENCE);
    assert_false(replica_equal(a.to, b.to));
    struct transfer_ask stranger = a;
    stranger.to.added += 50;
    assert_false(give(r, &stranger, PATIENCE));
    assert_true(give(r, &a, PATIENCE + 1));
    assert_false(give(r, &b, PATIENCE + 1)); /* the same rows again */
    a = ask(r, PATIENCE + 1);                /* and on at once */
    assert_true(give(r, &a, PATIENCE + 1));
}

static void it_goes_on_where_a_restart_found_it(void **state)
{
    struct rig *r = *state;
    take_blob(r);
    struct transfer_ask a = ask(r, 0);
    assert_true(give(r, &a, 0));
    struct row_cursor cursor = transfer_cursor(r->t);
    uint64_t bytes = transfer_bytes(r->t);
    transfer_free(r->t);
    struct transfer_cfg cfg = {.self = self, .patience_ms = PATIENCE};
    r->t = transfer_new(&cfg, 0);
    struct transfer_head head = head_of(r);
    transfer_load_head(r->t, &head);
    struct dec d = dec_of(span_buf(&r->blob.images));
    struct image image;
    while (image_next(&d, &image))
        assert_int_equal(transfer_load_row(r->t, image.key, image.value),
                         ERR_OK);
    assert_int_equal(transfer_load_end(r->t, cursor, bytes), ERR_OK);
    a = ask(r, 0); /* of a voter: nobody has invited in this life */
    assert_true(replica_equal(a.to, leader));
    assert_true(a.cursor.seq == cursor.seq);
    while (transfer_phase(r->t) == TRANSFER_ROWS) {
        assert_true(give(r, &a, 0));
        if (transfer_phase(r->t) == TRANSFER_ROWS)
            a = ask(r, 0);
    }
}

static void a_stored_state_of_another_digest_is_damage(void **state)
{
    struct rig *r = *state;
    struct transfer_head head = head_of(r);
    transfer_load_head(r->t, &head);
    assert_int_equal(transfer_load_end(r->t, (struct row_cursor){0}, 0),
                     ERR_CORRUPT);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(the_blob_is_asked_of_who_invites),
        TEST(a_blob_comes_in_pieces),
        TEST(pieces_of_two_blobs_do_not_mix),
        TEST(a_blob_below_the_pin_is_refused),
        TEST(the_rest_of_a_blob_below_the_pin_is_not_asked_for),
        TEST(a_blob_of_another_digest_is_refused),
        TEST(a_ring_row_must_be_a_record),
        TEST(all_rows_make_it_done),
        TEST(an_answer_counts_once_and_from_whom_was_asked),
        TEST(rows_with_a_gap_are_refused),
        TEST(a_silent_source_is_followed_by_the_next),
        TEST(a_refusal_is_followed_by_the_next_a_little_later),
        TEST(who_asks_in_vain_takes_no_turn),
        TEST(a_source_that_talks_nonsense_loses_its_turn),
        TEST(a_blob_of_nothing_or_nonsense_loses_its_turn),
        TEST(rows_that_come_late_count),
        TEST(it_goes_on_where_a_restart_found_it),
        TEST(a_stored_state_of_another_digest_is_damage),
    };
    return cmocka_run_group_tests_name("store_transfer", tests, NULL, NULL) !=
           0;
}
