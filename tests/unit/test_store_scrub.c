/* test_store_scrub.c - reading all of a replica, and mending what is damaged,
 * in both stores at once. Damage comes from mending with wrong bytes: that they
 * are the right ones, is for who asked for them to verify. */
#include "tests/unit/cmocka_wrap.h"

#include "tests/unit/store_rig.h"

#define GROUP     1u
#define BYTES_MAX (64 * MIB)

struct rig {
    char path[RIG_PATH_BYTES];
    struct rig_bytes bytes;
    struct item_pool pool;
    struct store *stores[2]; /* model, LMDB */
    struct store_reader *readers[2];
    uint64_t cycle;
    struct rig_core core;
};

/* ---- life -------------------------------------------------------------- */

static void commit(struct rig *r, struct store_command c)
{
    c.group = GROUP;
    c.incarnation = 1;
    struct store_batch b = {++r->cycle, &c, 1};
    struct store_done done;
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(store_commit(r->stores[i], &b, &done), ERR_OK);
}

static void append(struct rig *r, struct item *item)
{
    rig_core_append(&r->core, item);
    commit(r, (struct store_command){.kind = STORE_APPEND, .item = item});
    rig_core_apply(&r->core, r->core.last);
}

/* Runs of two streams; in the middle of each is a refused append, so that two
 * rows of the index name it. */
static void append_segments(struct rig *r, uint32_t count, uint32_t size)
{
    struct rig_script s;
    rig_script_begin(&s, r->core.last);
    for (size_t k = 0; k < 2; k++) {
        for (uint32_t i = 0; i < count; i++) {
            if (i == count / 2)
                assert_true(rig_script_append(&s, &r->core.lanes[k], i + 9, 7));
            assert_true(rig_script_append(&s, &r->core.lanes[k], i, size));
        }
    }
    append(r, rig_script_end(&s, &r->pool, &r->bytes, r->core.last + 1, 1));
}

/* Entries 2 and 3 make streams and producers; 4 and 5 have segments. */
static void fill(struct rig *r)
{
    struct rig_script s;
    rig_script_begin(&s, 1);
    assert_true(rig_script_create(&s, "s0"));
    assert_true(rig_script_create(&s, "s1"));
    append(r, rig_script_end(&s, &r->pool, &r->bytes, 2, 1));
    rig_script_begin(&s, 2);
    assert_true(rig_script_open(&s, r->core.lanes[0].stream, "p0"));
    assert_true(rig_script_open(&s, r->core.lanes[1].stream, "p1"));
    append(r, rig_script_end(&s, &r->pool, &r->bytes, 3, 1));
    append_segments(r, 4, 50000);
    append_segments(r, 4, 100);
}

static void store_to(struct rig *r, uint64_t to)
{
    commit(r, rig_core_portion(&r->core, GROUP, 1, to));
}

static int set_up(void **state)
{
    struct rig *r = mem_alloc(sizeof *r);
    struct store_founding f = rig_founding(RIG_PARTITIONS);
    rig_core_init(&r->core, true);
    rig_folder(r->path);
    struct store_lmdb_cfg cfg = rig_cfg(r->path, &r->bytes);
    assert_int_equal(store_lmdb_found(&cfg, &f), ERR_OK);
    r->stores[0] = store_model_new(&f, rig_resolve, &r->bytes);
    assert_int_equal(store_lmdb_open(&cfg, &r->stores[1]), ERR_OK);
    for (size_t i = 0; i < 2; i++)
        r->readers[i] = store_reader_open(r->stores[i]);
    fill(r);
    store_to(r, 5);
    *state = r;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *r = *state;
    for (size_t i = 0; i < 2; i++) {
        store_reader_close(r->readers[i]);
        store_close(r->stores[i]);
    }
    rig_folder_remove(r->path);
    rig_core_free(&r->core, &r->pool);
    item_pool_free(&r->pool);
    rig_bytes_free(&r->bytes);
    mem_free(r);
    return 0;
}

/* ---- vocabulary -------------------------------------------------------- */

/* What a whole scrub finds, in pieces of so many bytes. */
struct whole {
    enum err err;
    uint32_t pieces;
    struct scrub_sums sums;
    uint32_t damage_count;
    struct scrub_damage damages[16];
};

static struct whole scrub_one(struct store_reader *reader, uint64_t index,
                              uint32_t bytes_max)
{
    struct whole w = {0};
    struct scrub_ticket t = {.group = GROUP,
                             .incarnation = 1,
                             .index = index,
                             .bytes_max = bytes_max};
    while (w.err == ERR_OK && t.from.phase != SCRUB_DONE) {
        struct scrub_result piece;
        store_scrub(reader, &t, &piece);
        w.err = piece.err;
        w.pieces++;
        scrub_add(&w.sums, &piece.sums);
        for (uint32_t i = 0; i < piece.damage_count; i++)
            w.damages[w.damage_count++] = piece.damages[i];
        t.from = piece.next;
        store_scrub_free(&piece);
        assert_in_range(w.pieces, 1, 1000);
    }
    return w;
}

static bool is_same(const struct scrub_sums *a, const struct scrub_sums *b)
{
    return a->digest.lo == b->digest.lo && a->digest.hi == b->digest.hi &&
           a->rows == b->rows && a->segments == b->segments &&
           a->bytes == b->bytes;
}

/* Both stores find the same. */
static struct whole scrub(struct rig *r, uint64_t index, uint32_t bytes_max)
{
    struct whole w = scrub_one(r->readers[0], index, bytes_max);
    struct whole other = scrub_one(r->readers[1], index, bytes_max);
    assert_int_equal(w.err, other.err);
    assert_int_equal(w.pieces, other.pieces);
    assert_true(is_same(&w.sums, &other.sums));
    assert_int_equal(w.damage_count, other.damage_count);
    for (uint32_t i = 0; i < w.damage_count; i++) {
        const struct scrub_damage *a = &w.damages[i], *b = &other.damages[i];
        assert_true(position_equal(a->stream, b->stream) &&
                    a->first_seq == b->first_seq && a->count == b->count &&
                    a->bad_seq == b->bad_seq && a->bad_count == b->bad_count &&
                    position_equal(a->at, b->at));
    }
    return w;
}

static uint64_t keep(struct rig *r, struct buf bytes)
{
    struct rig_bytes *b = &r->bytes;
    b->bufs = mem_resize(b->bufs, (b->count + 1) * sizeof *b->bufs);
    b->bufs[b->count] = bytes;
    return ++b->count;
}

/* All rows as they are, with their runs. */
static struct rows_result read_rows(struct rig *r, uint64_t index)
{
    struct rows_ticket t = {.group = GROUP,
                            .incarnation = 1,
                            .index = index,
                            .bytes_max = BYTES_MAX};
    struct rows_result rows;
    store_read_rows(r->readers[0], &t, &rows);
    assert_int_equal(rows.err, ERR_OK);
    return rows;
}

/* Mends the `at`-th row of those, with these bytes of its run. */
static void mend(struct rig *r, const struct rows_result *rows, uint32_t at,
                 struct span value, struct span run)
{
    struct moved_iter it;
    struct moved_row m;
    struct buf bytes = {0}, one = {0};
    moved_begin(&it, span_buf(&rows->rows));
    for (uint32_t i = 0; i <= at; i++)
        assert_true(moved_next(&it, &m));
    moved_row_put(&one, m.key, value.size > 0 ? value : m.value, m.run_bytes);
    buf_append(&bytes, run.data, run.size);
    assert_int_equal(run.size, m.run_bytes);
    uint64_t handle = keep(r, bytes);
    commit(r,
           (struct store_command){.kind = STORE_MEND,
                                  .bytes = span_buf(&one),
                                  .payload = {handle, 0, (uint32_t)run.size}});
    buf_free(&one);
}

/* The run of the `at`-th row. */
static struct span run_of(const struct rows_result *rows, uint32_t at)
{
    struct moved_iter it;
    struct moved_row m;
    moved_begin(&it, span_buf(&rows->rows));
    for (uint32_t i = 0; i <= at; i++)
        assert_true(moved_next(&it, &m));
    return span_of(rows->payload.data + m.run_at, m.run_bytes);
}

/* The same with every byte another. */
static struct buf wrong(struct span run)
{
    struct buf bytes = {0};
    buf_append(&bytes, run.data, run.size);
    for (size_t i = 0; i < bytes.size; i++)
        bytes.data[i] ^= 0x55;
    return bytes;
}

static void damage(struct rig *r, const struct rows_result *rows, uint32_t at)
{
    struct buf bytes = wrong(run_of(rows, at));
    mend(r, rows, at, (struct span){NULL, 0}, span_buf(&bytes));
    buf_free(&bytes);
}

/* ---- whole copies ------------------------------------------------------ */

static void a_whole_copy_has_no_damage(void **state)
{
    struct rig *r = *state;
    struct whole w = scrub(r, 5, BYTES_MAX);
    assert_int_equal(w.err, ERR_OK);
    assert_int_equal(w.damage_count, 0);
    assert_int_equal(w.sums.rows, 8); /* 2 streams, 2 entries, 2 of a run */
    assert_int_equal(w.sums.segments, 16);
    assert_int_equal(w.sums.bytes, 8 * 50000 + 8 * 100);
}

static void pieces_add_up_to_the_whole(void **state)
{
    struct rig *r = *state;
    struct whole all = scrub(r, 5, BYTES_MAX);
    struct whole some = scrub(r, 5, 60000);
    struct whole least = scrub(r, 5, 1);
    assert_int_equal(all.pieces, 1);
    assert_true(some.pieces > 1 && least.pieces >= 8);
    assert_true(is_same(&all.sums, &some.sums));
    assert_true(is_same(&all.sums, &least.sums));
}

static void rows_of_later_entries_do_not_count(void **state)
{
    struct rig *r = *state;
    struct whole w = scrub(r, 4, BYTES_MAX);
    assert_int_equal(w.sums.rows, 4);
    struct whole before = scrub(r, 5, BYTES_MAX);
    append_segments(r, 2, 10);
    store_to(r, 6);
    struct whole after = scrub(r, 5, 1000);
    assert_true(is_same(&before.sums, &after.sums));
}

static void what_is_not_stored_yet_is_not_found(void **state)
{
    struct rig *r = *state;
    append_segments(r, 2, 10);
    assert_int_equal(scrub(r, 6, BYTES_MAX).err, ERR_NOT_FOUND);
    store_to(r, 6);
    assert_int_equal(scrub(r, 6, BYTES_MAX).err, ERR_OK);
    struct scrub_ticket t = {.group = 2, .incarnation = 9, .bytes_max = 1};
    struct scrub_result piece;
    for (size_t i = 0; i < 2; i++) {
        store_scrub(r->readers[i], &t, &piece);
        assert_int_equal(piece.err, ERR_NOT_FOUND);
    }
}

static void a_cursor_from_anywhere_is_no_damage(void **state)
{
    struct rig *r = *state;
    for (uint64_t seq = 0; seq < 10; seq++) {
        struct scrub_ticket t = {
            .group = GROUP,
            .incarnation = 1,
            .from = {.phase = SCRUB_ROWS,
                     .row = {r->core.lanes[0].stream, seq}},
            .index = 5,
            .bytes_max = BYTES_MAX};
        for (size_t i = 0; i < 2; i++) {
            struct scrub_result piece;
            store_scrub(r->readers[i], &t, &piece);
            assert_int_equal(piece.err, ERR_OK);
            assert_int_equal(piece.next.phase, SCRUB_DONE);
        }
    }
}

static void a_log_that_is_cut_has_no_hole(void **state)
{
    struct rig *r = *state;
    struct whole before = scrub(r, 5, BYTES_MAX);
    commit(r, (struct store_command){.kind = STORE_CUT, .index = 4});
    struct whole after = scrub(r, 5, BYTES_MAX);
    assert_int_equal(after.err, ERR_OK);
    assert_true(is_same(&before.sums, &after.sums));
}

/* ---- damage ------------------------------------------------------------ */

static void damage_is_listed_by_row(void **state)
{
    struct rig *r = *state;
    struct rows_result rows = read_rows(r, 5);
    struct whole before = scrub(r, 5, BYTES_MAX);
    damage(r, &rows, 1);
    struct whole w = scrub(r, 5, BYTES_MAX);
    assert_int_equal(w.err, ERR_OK);
    assert_int_equal(w.damage_count, 1);
    const struct scrub_damage *d = &w.damages[0];
    assert_true(position_equal(d->stream, r->core.lanes[0].stream));
    assert_int_equal(d->first_seq, 2);
    assert_int_equal(d->count, 2);
    assert_int_equal(d->bad_seq, 2);
    assert_int_equal(d->bad_count, 2);
    assert_int_equal(d->at.index, 4);
    assert_true(
        is_same(&before.sums, &w.sums)); /* the rows are what they were */
    store_rows_free(&rows);
}

static void a_full_list_ends_the_piece(void **state)
{
    struct rig *r = *state;
    for (uint64_t i = 6; i < 6 + SCRUB_DAMAGES_MAX; i++)
        append_segments(r, 1, 10);
    store_to(r, r->core.last);
    struct rows_result rows = read_rows(r, r->core.last);
    for (uint32_t i = 0; i < rows.count; i++)
        damage(r, &rows, i);
    struct scrub_ticket t = {.group = GROUP,
                             .incarnation = 1,
                             .index = r->core.last,
                             .bytes_max = BYTES_MAX};
    uint32_t found = 0;
    while (t.from.phase != SCRUB_DONE) {
        struct scrub_result piece;
        store_scrub(r->readers[1], &t, &piece);
        assert_int_equal(piece.err, ERR_OK);
        assert_in_range(piece.damage_count, 0, SCRUB_DAMAGES_MAX);
        found += piece.damage_count;
        t.from = piece.next;
        store_scrub_free(&piece);
    }
    assert_int_equal(found, rows.count);
    store_rows_free(&rows);
}

static void a_hole_in_the_index_is_damage_of_the_folder(void **state)
{
    struct rig *r = *state;
    struct rows_result rows = read_rows(r, 5);
    struct moved_iter it;
    struct moved_row m;
    moved_begin(&it, span_buf(&rows.rows));
    for (uint32_t i = 0; i < 3; i++) /* the third of the first stream's four */
        assert_true(moved_next(&it, &m));
    struct buf images = {0};
    image_put(
        &images,
        &(struct image){.space = ROW_INDEX, .key = m.key, .is_delete = true});
    append(r, rig_noop(&r->pool, 6, 1));
    struct store_command c = rig_core_portion(&r->core, GROUP, 1, 6);
    struct span hole = span_buf(&images);
    c.images = &hole;
    c.image_count = 1;
    commit(r, c);
    assert_int_equal(scrub(r, 5, BYTES_MAX).err, ERR_DAMAGED);
    assert_int_equal(scrub(r, 5, 1).err, ERR_DAMAGED); /* between two pieces */
    buf_free(&images);
    store_rows_free(&rows);
}

static void a_state_that_is_not_its_digest_is_damage(void **state)
{
    struct rig *r = *state;
    append(r, rig_noop(&r->pool, 6, 1));
    struct store_command c = rig_core_portion(&r->core, GROUP, 1, 6);
    c.digest.hi ^= 1;
    commit(r, c);
    assert_int_equal(scrub(r, 5, BYTES_MAX).err, ERR_DAMAGED);
}

/* ---- mending ----------------------------------------------------------- */

static void what_is_mended_is_whole(void **state)
{
    struct rig *r = *state;
    struct rows_result rows = read_rows(r, 5);
    for (uint32_t i = 0; i < rows.count; i++)
        damage(r, &rows, i);
    assert_int_equal(scrub(r, 5, BYTES_MAX).damage_count, 8);
    for (uint32_t i = 0; i < rows.count; i++) {
        mend(r, &rows, i, (struct span){NULL, 0}, run_of(&rows, i));
        assert_int_equal(scrub(r, 5, BYTES_MAX).damage_count, 7 - i);
    }
    store_rows_free(&rows);
}

/* The bytes of a run that lie beside the row's were not verified with it. */
static void mending_a_row_leaves_its_neighbours_alone(void **state)
{
    struct rig *r = *state;
    struct rows_result rows = read_rows(r, 5);
    damage(r, &rows, 0);
    struct buf run = wrong(run_of(&rows, 0));
    memcpy(run.data, run_of(&rows, 0).data, 100000); /* two of 50,000 bytes */
    mend(r, &rows, 0, (struct span){NULL, 0}, span_buf(&run));
    assert_int_equal(scrub(r, 5, BYTES_MAX).damage_count, 0);
    buf_free(&run);
    store_rows_free(&rows);
}

static void a_row_that_is_another_by_now_is_not_mended(void **state)
{
    struct rig *r = *state;
    struct rows_result rows = read_rows(r, 5);
    struct moved_iter it;
    struct moved_row m;
    moved_begin(&it, span_buf(&rows.rows));
    assert_true(moved_next(&it, &m));
    uint8_t *value = mem_copy(m.value.data, m.value.size);
    value[19] ^= 1; /* its time */
    struct buf bytes = wrong(run_of(&rows, 0));
    mend(r, &rows, 0, span_of(value, m.value.size), span_buf(&bytes));
    assert_int_equal(scrub(r, 5, BYTES_MAX).damage_count, 0);
    mem_free(value);
    buf_free(&bytes);
    store_rows_free(&rows);
}

/* Rows that are gone, or another's, as the model can have them. */
static void what_is_lost_comes_back(void **state)
{
    struct rig *r = *state;
    static const enum store_rot kinds[] = {
        STORE_ROT_PAYLOAD, STORE_LOST_PAYLOAD, STORE_OTHERS_PAYLOAD};
    struct rows_result rows = read_rows(r, 5);
    for (size_t k = 0; k < 3; k++) {
        assert_true(store_model_rot(r->stores[0], kinds[k], GROUP, 0));
        struct whole w = scrub_one(r->readers[0], 5, BYTES_MAX);
        assert_in_range(w.damage_count, 1, 2);
        for (uint32_t i = 0; i < rows.count; i++)
            mend(r, &rows, i, (struct span){NULL, 0}, run_of(&rows, i));
        assert_int_equal(scrub(r, 5, BYTES_MAX).damage_count, 0);
    }
    store_rows_free(&rows);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_whole_copy_has_no_damage),
        TEST(pieces_add_up_to_the_whole),
        TEST(rows_of_later_entries_do_not_count),
        TEST(what_is_not_stored_yet_is_not_found),
        TEST(a_cursor_from_anywhere_is_no_damage),
        TEST(a_log_that_is_cut_has_no_hole),
        TEST(damage_is_listed_by_row),
        TEST(a_full_list_ends_the_piece),
        TEST(a_hole_in_the_index_is_damage_of_the_folder),
        TEST(a_state_that_is_not_its_digest_is_damage),
        TEST(what_is_mended_is_whole),
        TEST(mending_a_row_leaves_its_neighbours_alone),
        TEST(a_row_that_is_another_by_now_is_not_mended),
        TEST(what_is_lost_comes_back),
    };
    return cmocka_run_group_tests_name("store_scrub", tests, NULL, NULL) != 0;
}
