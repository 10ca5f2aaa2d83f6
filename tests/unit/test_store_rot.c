/* test_store_rot.c - what the model store can be made to suffer reads as LMDB
 * reads it (test_store_lmdb.c: flipped bytes in its file). */
#include "tests/unit/cmocka_wrap.h"

#include "tests/unit/store_rig.h"

#define SEGMENTS 5u
#define SIZE     300u

struct rig {
    struct rig_bytes bytes;
    struct item_pool pool;
    struct store *store;
    struct rig_core core; /* of group 1, incarnation 1 */
    uint64_t cycle;
    struct buf text;
};

/* ---- life -------------------------------------------------------------- */

static void commit(struct rig *r, struct store_command c)
{
    struct store_batch b = {++r->cycle, &c, 1};
    struct store_done done;
    assert_int_equal(store_commit(r->store, &b, &done), ERR_OK);
}

static void append(struct rig *r, struct rig_script *s)
{
    struct item *item =
        rig_script_end(s, &r->pool, &r->bytes, r->core.last + 1, 1);
    rig_core_append(&r->core, item);
    commit(r, (struct store_command){.kind = STORE_APPEND,
                                     .group = 1,
                                     .incarnation = 1,
                                     .item = item});
    rig_core_apply(&r->core, r->core.last);
}

/* Entry 4 has all the payload; all but the last entry, a create, is stored. */
static int set_up(void **state)
{
    struct rig *r = mem_alloc(sizeof *r);
    struct store_founding f = rig_founding(RIG_PARTITIONS);
    struct rig_script s;
    rig_core_init(&r->core, true);
    r->store = store_model_new(&f, rig_resolve, &r->bytes);
    rig_script_begin(&s, 1);
    assert_true(rig_script_create(&s, "s0"));
    append(r, &s);
    rig_script_begin(&s, 2);
    assert_true(rig_script_open(&s, r->core.lanes[0].stream, "p0"));
    append(r, &s);
    rig_script_begin(&s, 3);
    for (uint32_t i = 0; i < SEGMENTS; i++)
        assert_true(rig_script_append(&s, &r->core.lanes[0], i, SIZE));
    append(r, &s);
    commit(r, rig_core_portion(&r->core, 1, 1, 4));
    rig_script_begin(&s, 4);
    assert_true(rig_script_create(&s, "s1"));
    append(r, &s);
    *state = r;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *r = *state;
    store_close(r->store);
    rig_core_free(&r->core, &r->pool);
    item_pool_free(&r->pool);
    rig_bytes_free(&r->bytes);
    buf_free(&r->text);
    mem_free(r);
    return 0;
}

/* ---- vocabulary -------------------------------------------------------- */

static enum err read_segments(struct rig *r, struct store *s)
{
    struct store_reader *reader = store_reader_open(s);
    struct segments_ticket t = {.group = 1,
                                .incarnation = 1,
                                .stream = r->core.lanes[0].stream,
                                .end_seq = SEGMENTS,
                                .count_max = SEGMENTS,
                                .bytes_max = READ_BYTES_MAX};
    struct segments_result out;
    store_read_segments(reader, &t, &out);
    enum err err = out.err;
    store_segments_free(&out);
    store_reader_close(reader);
    return err;
}

static enum err read_log(struct store *s, uint64_t index)
{
    static const struct raft_term_run runs[] = {{1, 1}};
    struct store_reader *reader = store_reader_open(s);
    struct log_ticket t = {.group = 1,
                           .incarnation = 1,
                           .first = index,
                           .last = index,
                           .bytes_max = 4 * MIB,
                           .runs = runs,
                           .run_count = 1};
    struct log_result out;
    store_read_log(reader, &t, &out);
    enum err err = out.err;
    store_log_free(&out);
    store_reader_close(reader);
    return err;
}

static enum err load(struct rig *r, struct store *s)
{
    buf_clear(&r->text);
    return rig_dump(s, &r->text);
}

static void rot(struct rig *r, enum store_rot kind, uint64_t draw)
{
    assert_true(store_model_rot(r->store, kind, 1, draw));
}

/* ---- tests ------------------------------------------------------------- */

static void payload_that_is_not_its_own_is_corrupt(void **state)
{
    struct rig *r = *state;
    static const enum store_rot kinds[] = {
        STORE_ROT_PAYLOAD, STORE_LOST_PAYLOAD, STORE_OTHERS_PAYLOAD};
    for (size_t i = 0; i < 3; i++) {
        struct store *whole = store_model_copy(r->store, &r->bytes);
        rot(r, kinds[i], i);
        assert_int_equal(read_segments(r, r->store), ERR_CORRUPT);
        assert_int_equal(read_log(r->store, 4), ERR_CORRUPT);
        assert_int_equal(load(r, r->store), ERR_OK);
        assert_int_equal(read_segments(r, whole), ERR_OK);
        assert_int_equal(read_log(whole, 4), ERR_OK);
        store_close(r->store);
        r->store = whole;
    }
}

static void a_log_row_that_rots_is_damage(void **state)
{
    struct rig *r = *state;
    rot(r, STORE_ROT_LOG, 4); /* of five: the last */
    assert_int_equal(read_log(r->store, 5), ERR_DAMAGED);
    assert_int_equal(read_log(r->store, 4), ERR_OK);
    assert_int_equal(load(r, r->store), ERR_DAMAGED);
}

static void a_log_row_that_is_lost_is_not_found(void **state)
{
    struct rig *r = *state;
    rot(r, STORE_LOST_LOG, 4);
    assert_int_equal(read_log(r->store, 5), ERR_NOT_FOUND);
    assert_int_equal(load(r, r->store), ERR_DAMAGED);
}

static void a_row_of_state_that_rots_is_damage(void **state)
{
    struct rig *r = *state;
    rot(r, STORE_ROT_STATE, 0);
    assert_int_equal(load(r, r->store), ERR_DAMAGED);
    assert_int_equal(read_segments(r, r->store), ERR_OK);
}

static void a_row_of_the_index_that_rots_is_damage_when_read(void **state)
{
    struct rig *r = *state;
    rot(r, STORE_ROT_INDEX, 0);
    assert_int_equal(load(r, r->store), ERR_OK);
    assert_int_equal(read_segments(r, r->store), ERR_DAMAGED);
}

static void a_row_of_meta_that_rots_is_damage_at_the_next_start(void **state)
{
    struct rig *r = *state;
    rot(r, STORE_ROT_META, 0);
    assert_int_equal(read_segments(r, r->store), ERR_OK);
    assert_int_equal(load(r, r->store), ERR_DAMAGED);
}

static void what_is_not_there_cannot_rot(void **state)
{
    struct rig *r = *state;
    assert_false(store_model_rot(r->store, STORE_ROT_PAYLOAD, 2, 0));
    assert_false(store_model_rot(r->store, STORE_ROT_INDEX, 2, 0));
    assert_false(store_model_rot(r->store, STORE_ROT_LOG, 99, 0));
}

static void a_copy_does_not_see_what_comes_after(void **state)
{
    struct rig *r = *state;
    struct store *copy = store_model_copy(r->store, &r->bytes);
    assert_int_equal(load(r, r->store), ERR_OK);
    struct buf before = r->text;
    r->text = (struct buf){0};
    struct rig_script s;
    rig_script_begin(&s, 5);
    assert_true(rig_script_create(&s, "s2"));
    append(r, &s);
    commit(r, rig_core_portion(&r->core, 1, 1, 6));
    assert_int_equal(load(r, copy), ERR_OK);
    assert_true(span_equal(span_buf(&before), span_buf(&r->text)));
    assert_int_equal(load(r, r->store), ERR_OK);
    assert_false(span_equal(span_buf(&before), span_buf(&r->text)));
    buf_free(&before);
    store_close(copy);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(payload_that_is_not_its_own_is_corrupt),
        TEST(a_log_row_that_rots_is_damage),
        TEST(a_log_row_that_is_lost_is_not_found),
        TEST(a_row_of_state_that_rots_is_damage),
        TEST(a_row_of_the_index_that_rots_is_damage_when_read),
        TEST(a_row_of_meta_that_rots_is_damage_at_the_next_start),
        TEST(what_is_not_there_cannot_rot),
        TEST(a_copy_does_not_see_what_comes_after),
    };
    return cmocka_run_group_tests_name("store_rot", tests, NULL, NULL) != 0;
}
