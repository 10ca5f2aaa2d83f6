/* test_store_install.c - logs that are cut, and replicas that are installed by
 * transfer, in both stores at once: each batch goes to both, and both must
 * answer, load and read alike. */
#include "tests/unit/cmocka_wrap.h"

#include "tests/unit/store_rig.h"

#define SOURCE 1u
#define TARGET 2u /* its founder's replica is dropped first */
#define ADDED  9u

struct rig {
    char path[RIG_PATH_BYTES];
    struct rig_bytes bytes;
    struct item_pool pool;
    struct store *stores[2]; /* model, LMDB */
    struct store_reader *readers[2];
    uint64_t cycle;
    struct rig_core core; /* of SOURCE */
    struct buf texts[2];
    uint32_t incarnation; /* of TARGET */
    struct blob_result blob;
};

/* ---- life -------------------------------------------------------------- */

static void open_lmdb(struct rig *r)
{
    struct store_lmdb_cfg cfg = rig_cfg(r->path, &r->bytes);
    assert_int_equal(store_lmdb_open(&cfg, &r->stores[1]), ERR_OK);
    r->readers[1] = store_reader_open(r->stores[1]);
}

static void reopen(struct rig *r)
{
    store_reader_close(r->readers[1]);
    store_close(r->stores[1]);
    open_lmdb(r);
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
    r->readers[0] = store_reader_open(r->stores[0]);
    open_lmdb(r);
    r->incarnation = 1;
    *state = r;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *r = *state;
    for (size_t i = 0; i < 2; i++) {
        store_reader_close(r->readers[i]);
        store_close(r->stores[i]);
        buf_free(&r->texts[i]);
    }
    rig_folder_remove(r->path);
    rig_core_free(&r->core, &r->pool);
    item_pool_free(&r->pool);
    rig_bytes_free(&r->bytes);
    store_blob_free(&r->blob);
    mem_free(r);
    return 0;
}

/* ---- vocabulary -------------------------------------------------------- */

static enum err commit(struct rig *r, struct store_command c)
{
    struct store_batch b = {++r->cycle, &c, 1};
    struct store_done done;
    enum err err = store_commit(r->stores[0], &b, &done);
    assert_int_equal(store_commit(r->stores[1], &b, &done), err);
    return err;
}

/* What both load, the same; also after a restart. */
static const char *load(struct rig *r)
{
    for (size_t pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < 2; i++) {
            assert_int_equal(rig_dump(r->stores[i], &r->texts[i]), ERR_OK);
            buf_append(&r->texts[i], "", 1);
        }
        assert_string_equal(r->texts[0].data, r->texts[1].data);
        reopen(r);
    }
    return (const char *)r->texts[0].data;
}

static bool load_says(struct rig *r, const char *words)
{
    return strstr(load(r), words) != NULL;
}

static struct store_command of(const struct rig *r, enum store_kind kind,
                               uint32_t group)
{
    return (struct store_command){.kind = kind,
                                  .group = group,
                                  .incarnation =
                                      group == TARGET ? r->incarnation : 1,
                                  .added = ADDED};
}

static void append(struct rig *r, struct item *item)
{
    struct store_command c = of(r, STORE_APPEND, SOURCE);
    rig_core_append(&r->core, item);
    c.item = item;
    assert_int_equal(commit(r, c), ERR_OK);
    rig_core_apply(&r->core, r->core.last);
}

static void store_to(struct rig *r, uint64_t to)
{
    assert_int_equal(commit(r, rig_core_portion(&r->core, SOURCE, 1, to)),
                     ERR_OK);
}

static uint64_t next_index(const struct rig *r)
{
    return r->core.last + 1;
}

static void make_streams(struct rig *r)
{
    struct rig_script s;
    rig_script_begin(&s, 1);
    assert_true(rig_script_create(&s, "s0"));
    assert_true(rig_script_create(&s, "s1"));
    append(r, rig_script_end(&s, &r->pool, &r->bytes, next_index(r), 1));
    rig_script_begin(&s, 2);
    assert_true(rig_script_open(&s, r->core.lanes[0].stream, "p0"));
    assert_true(rig_script_open(&s, r->core.lanes[1].stream, "p1"));
    append(r, rig_script_end(&s, &r->pool, &r->bytes, next_index(r), 1));
}

/* Two runs; with gap, each has a refused append in its middle. */
static void append_segments(struct rig *r, uint32_t count, uint32_t size,
                            bool has_gap)
{
    struct rig_script s;
    rig_script_begin(&s, next_index(r));
    for (size_t k = 0; k < 2; k++) {
        for (uint32_t i = 0; i < count; i++) {
            if (has_gap && i == count / 2)
                assert_true(rig_script_append(&s, &r->core.lanes[k], i + 9, 7));
            assert_true(rig_script_append(&s, &r->core.lanes[k], i, size));
        }
    }
    append(r, rig_script_end(&s, &r->pool, &r->bytes, next_index(r), 1));
}

/* Entries 1 to 8: the founder's, streams, producers, 5 with segments. */
static void fill(struct rig *r)
{
    make_streams(r);
    append_segments(r, 5, 30000, false);
    append_segments(r, 4, 100, true);
    append_segments(r, 2, 0, false);
    append_segments(r, 1, 200000, true);
    append_segments(r, 3, 70000, false);
}

static enum err cut_at(struct rig *r, uint64_t index)
{
    struct store_command c = of(r, STORE_CUT, SOURCE);
    c.index = index;
    return commit(r, c);
}

static enum err create(struct rig *r, uint32_t incarnation)
{
    r->incarnation = incarnation;
    struct store_command c = of(r, STORE_CREATE, TARGET);
    c.is_installing = true;
    return commit(r, c);
}

static void drop_founded(struct rig *r)
{
    struct store_command c = of(r, STORE_TOMBSTONE, TARGET);
    c.added = 1;
    assert_int_equal(commit(r, c), ERR_OK);
}

static void read_blob(struct rig *r)
{
    struct blob_ticket t = {.group = SOURCE, .incarnation = 1};
    struct blob_result other;
    store_read_blob(r->readers[0], &t, &r->blob);
    store_read_blob(r->readers[1], &t, &other);
    assert_int_equal(r->blob.err, ERR_OK);
    assert_int_equal(other.err, ERR_OK);
    assert_true(r->blob.index == other.index && r->blob.term == other.term &&
                r->blob.digest.lo == other.digest.lo &&
                config_equal(&r->blob.config, &other.config));
    assert_true(span_equal(span_buf(&r->blob.images), span_buf(&other.images)));
    store_blob_free(&other);
}

static enum err put_blob(struct rig *r)
{
    struct span images = span_buf(&r->blob.images);
    struct store_command c = of(r, STORE_BLOB, TARGET);
    c.images = &images;
    c.image_count = 1;
    c.config = &r->blob.config;
    c.index = r->blob.index;
    c.term = r->blob.term;
    c.digest = r->blob.digest;
    c.epoch = r->blob.epoch;
    return commit(r, c);
}

/* The next rows of the source, of both stores the same. */
static enum err read_rows(struct rig *r, struct row_cursor from, uint64_t index,
                          struct rows_result *out)
{
    struct rows_ticket t = {.group = SOURCE,
                            .incarnation = 1,
                            .from = from,
                            .index = index,
                            .bytes_max = 100000};
    struct rows_result other;
    store_read_rows(r->readers[0], &t, out);
    store_read_rows(r->readers[1], &t, &other);
    assert_int_equal(out->err, other.err);
    assert_int_equal(out->count, other.count);
    assert_true(span_equal(span_buf(&out->rows), span_buf(&other.rows)));
    assert_true(span_equal(span_buf(&out->payload), span_buf(&other.payload)));
    store_rows_free(&other);
    return out->err;
}

static uint64_t keep_bytes(struct rig *r, struct span s)
{
    struct rig_bytes *b = &r->bytes;
    b->bufs = mem_resize(b->bufs, (b->count + 1) * sizeof *b->bufs);
    b->bufs[b->count] = (struct buf){0};
    buf_append(&b->bufs[b->count], s.data, s.size);
    return ++b->count;
}

/* One answer's worth; false: there is no more. */
static bool move_rows(struct rig *r, struct row_cursor *cursor)
{
    struct rows_result rows;
    assert_int_equal(read_rows(r, *cursor, r->blob.index, &rows), ERR_OK);
    if (rows.count == 0)
        return false;
    assert_true(moved_verify(span_buf(&rows.rows), span_buf(&rows.payload)));
    struct moved_iter it;
    struct moved_row m = {0};
    moved_begin(&it, span_buf(&rows.rows));
    while (moved_next(&it, &m))
        *cursor =
            (struct row_cursor){m.row.stream, m.row.first_seq + m.row.count};
    struct store_command c = of(r, STORE_ROWS, TARGET);
    c.bytes = span_buf(&rows.rows);
    if (rows.payload.size > 0)
        c.payload = (struct slice){keep_bytes(r, span_buf(&rows.payload)), 0,
                                   (uint32_t)rows.payload.size};
    c.cursor = *cursor;
    assert_int_equal(commit(r, c), ERR_OK);
    store_rows_free(&rows);
    return true;
}

static void install(struct rig *r)
{
    struct row_cursor cursor = {0};
    drop_founded(r);
    assert_int_equal(create(r, 2), ERR_OK);
    read_blob(r);
    assert_int_equal(put_blob(r), ERR_OK);
    while (move_rows(r, &cursor))
        continue;
    assert_int_equal(commit(r, of(r, STORE_INSTALLED, TARGET)), ERR_OK);
}

/* All segments of a lane, read in one group of one store. */
static void read_lane(struct rig *r, size_t store, uint32_t group, size_t lane,
                      uint64_t end, struct segments_result *out)
{
    struct segments_ticket t = {
        .group = group,
        .incarnation = group == TARGET ? r->incarnation : 1,
        .stream = r->core.lanes[lane].stream,
        .end_seq = end,
        .count_max = 1000,
        .bytes_max = 64 * MIB,
    };
    store_read_segments(r->readers[store], &t, out);
}

static void assert_same_segments(struct rig *r, uint64_t end)
{
    for (size_t i = 0; i < 4; i++) {
        struct segments_result a, b;
        read_lane(r, i / 2, SOURCE, i % 2, end, &a);
        read_lane(r, i / 2, TARGET, i % 2, end, &b);
        assert_int_equal(a.err, ERR_OK);
        assert_int_equal(b.err, ERR_OK);
        assert_int_equal(a.count, end);
        assert_int_equal(b.count, end);
        assert_true(span_equal(span_buf(&a.payload), span_buf(&b.payload)));
        assert_true(
            span_equal(span_buf(&a.attributes), span_buf(&b.attributes)));
        store_segments_free(&a);
        store_segments_free(&b);
    }
}

/* ---- cuts -------------------------------------------------------------- */

static void a_cut_log_begins_behind_the_cut(void **state)
{
    struct rig *r = *state;
    fill(r);
    store_to(r, 6);
    assert_int_equal(cut_at(r, 5), ERR_OK);
    assert_true(load_says(r, "base 5/1 last 8 applied 6/1"));
    assert_true(load_says(r, "1->1 config 1 of 1\n"));
    assert_true(load_says(r, "entry 1 7/1"));
    static const struct raft_term_run runs[] = {{1, 1}};
    for (size_t i = 0; i < 2; i++) {
        struct log_ticket t = {SOURCE, 1, 5, 6, 1 * MIB, 0, runs, 1};
        struct log_result log;
        store_read_log(r->readers[i], &t, &log);
        assert_int_equal(log.err, ERR_NOT_FOUND);
        store_log_free(&log);
        t.first = 6;
        store_read_log(r->readers[i], &t, &log);
        assert_int_equal(log.err, ERR_OK);
        assert_int_equal(log.count, 1);
        store_log_free(&log);
    }
}

static void segments_outlive_their_log(void **state)
{
    struct rig *r = *state;
    fill(r);
    store_to(r, 8);
    assert_int_equal(cut_at(r, 4), ERR_OK);
    assert_int_equal(cut_at(r, 8), ERR_OK);
    assert_true(load_says(r, "base 8/1 last 8 applied 8/1"));
    for (size_t i = 0; i < 2; i++) {
        struct segments_result out;
        read_lane(r, i, SOURCE, 1, 15, &out);
        assert_int_equal(out.err, ERR_OK);
        assert_int_equal(out.count, 15);
        store_segments_free(&out);
    }
    append_segments(r, 1, 10, false); /* the log goes on at 9 */
    assert_true(load_says(r, "base 8/1 last 9 applied 8/1"));
}

static void a_cut_above_what_is_stored_changes_nothing(void **state)
{
    struct rig *r = *state;
    fill(r);
    store_to(r, 6);
    assert_int_equal(cut_at(r, 7), ERR_DAMAGED);
    assert_int_equal(cut_at(r, 3), ERR_OK);
    assert_int_equal(cut_at(r, 3), ERR_DAMAGED);
    assert_int_equal(cut_at(r, 2), ERR_DAMAGED);
    assert_true(load_says(r, "base 3/1 last 8 applied 6/1"));
}

static void a_cut_keeps_the_terms_and_the_configuration_in_force(void **state)
{
    struct rig *r = *state;
    append(r, rig_config(&r->pool, 2, 1, 2));
    append(r, rig_noop(&r->pool, 3, 4));
    append(r, rig_config(&r->pool, 4, 4, 3));
    append(r, rig_noop(&r->pool, 5, 6));
    append(r, rig_config(&r->pool, 6, 6, 4));
    store_to(r, 5);
    assert_int_equal(cut_at(r, 4), ERR_OK);
    assert_true(load_says(r, "base 4/4 last 6 applied 5/6"));
    assert_true(load_says(r, " 5->6 config 4 of 3 config 6 of 4\n"));
    struct store_command c = of(r, STORE_TRUNCATE, SOURCE);
    c.index = 6;
    assert_int_equal(commit(r, c), ERR_OK);
    assert_int_equal(cut_at(r, 5), ERR_OK);
    assert_true(load_says(r, "base 5/6 last 5 applied 5/6"));
    assert_false(load_says(r, "5->6"));
}

/* ---- transfer ---------------------------------------------------------- */

static void an_installed_replica_reads_as_its_source(void **state)
{
    struct rig *r = *state;
    fill(r);
    store_to(r, 8);
    assert_int_equal(cut_at(r, 7), ERR_OK);
    install(r);
    assert_true(load_says(r, "replica 2.2 0:0 added 9 term 1 vote "
                             "00000000000000000000000000000000:0 base 8/1 last "
                             "8 applied 8/1"));
    assert_false(load_says(r, "installing"));
    assert_same_segments(r, 15);
}

static void entries_behind_the_blob_come_by_log(void **state)
{
    struct rig *r = *state;
    fill(r);
    store_to(r, 6);
    drop_founded(r);
    assert_int_equal(create(r, 2), ERR_OK);
    read_blob(r);
    assert_int_equal(r->blob.index, 6);
    store_to(r, 8); /* the source goes on meanwhile */
    assert_int_equal(put_blob(r), ERR_OK);
    struct row_cursor cursor = {0};
    while (move_rows(r, &cursor))
        continue;
    assert_int_equal(commit(r, of(r, STORE_INSTALLED, TARGET)), ERR_OK);
    assert_same_segments(r, 11);
    struct store_command c = of(r, STORE_APPEND, TARGET);
    c.item = r->core.items[6];
    assert_int_equal(commit(r, c), ERR_OK);
    assert_true(load_says(r, "base 6/1 last 7 applied 6/1"));
}

/* What the first rows of a run brought stays what was verified with them. */
static void an_answer_ends_where_a_run_ends(void **state)
{
    struct rig *r = *state;
    struct row_cursor from = {0};
    struct rows_result rows;
    make_streams(r);
    append_segments(r, 4, 30000, true); /* 120,007 bytes each, two rows */
    append_segments(r, 4, 100, true);
    store_to(r, r->core.last);
    from.stream = r->core.lanes[0].stream;
    assert_int_equal(read_rows(r, from, r->core.last, &rows), ERR_OK);
    assert_int_equal(rows.count, 2);
    assert_int_equal(rows.payload_bytes, 120007);
    store_rows_free(&rows);
    from.seq = 4;
    assert_int_equal(read_rows(r, from, r->core.last, &rows), ERR_OK);
    assert_int_equal(rows.count, 2); /* and no room for the next stream's */
    assert_int_equal(rows.payload_bytes, 407);
    store_rows_free(&rows);
}

static void a_source_that_lags_has_no_rows(void **state)
{
    struct rig *r = *state;
    struct rows_result out;
    fill(r);
    store_to(r, 6);
    assert_int_equal(read_rows(r, (struct row_cursor){0}, 7, &out),
                     ERR_NOT_FOUND);
    assert_int_equal(read_rows(r, (struct row_cursor){0}, 6, &out), ERR_OK);
    assert_true(out.count > 0);
    store_rows_free(&out);
}

static void an_install_goes_on_after_a_restart(void **state)
{
    struct rig *r = *state;
    struct row_cursor cursor = {0};
    fill(r);
    store_to(r, 8);
    drop_founded(r);
    assert_int_equal(create(r, 2), ERR_OK);
    assert_true(load_says(r, "installing to 0.0:0, 0 bytes"));
    read_blob(r);
    assert_int_equal(put_blob(r), ERR_OK);
    assert_true(move_rows(r, &cursor));
    assert_true(load_says(r, "installing to 2.0:5"));
    struct row_cursor again = {0}; /* the same rows may come twice */
    while (move_rows(r, &again))
        continue;
    assert_int_equal(commit(r, of(r, STORE_INSTALLED, TARGET)), ERR_OK);
    assert_same_segments(r, 15);
}

static void an_installing_replica_is_none(void **state)
{
    struct rig *r = *state;
    fill(r);
    store_to(r, 8);
    drop_founded(r);
    assert_int_equal(create(r, 2), ERR_OK);
    struct store_command hard = of(r, STORE_HARD, TARGET);
    hard.hard.term = 3;
    struct store_command noop = of(r, STORE_APPEND, TARGET);
    noop.item = r->core.items[1];
    struct store_command rows = of(r, STORE_ROWS, TARGET);
    assert_int_equal(commit(r, of(r, STORE_INSTALLED, TARGET)), ERR_DAMAGED);
    assert_int_equal(commit(r, rows), ERR_DAMAGED); /* no blob yet */
    read_blob(r);
    assert_int_equal(put_blob(r), ERR_OK);
    assert_int_equal(put_blob(r), ERR_DAMAGED); /* it is whole */
    assert_int_equal(commit(r, hard), ERR_DAMAGED);
    assert_int_equal(commit(r, noop), ERR_DAMAGED);
    assert_int_equal(commit(r, of(r, STORE_INSTALLED, TARGET)), ERR_OK);
    assert_int_equal(commit(r, hard), ERR_OK);
    assert_int_equal(create(r, 3), ERR_DAMAGED); /* it is a replica now */
    r->incarnation = 2;
}

static void an_install_begins_anew_under_another_incarnation(void **state)
{
    struct rig *r = *state;
    fill(r);
    store_to(r, 8);
    drop_founded(r);
    assert_int_equal(create(r, 2), ERR_OK);
    read_blob(r);
    struct span images = span_buf(&r->blob.images);
    struct store_command part = of(r, STORE_BLOB, TARGET);
    part.images = &images;
    part.image_count = 1;
    assert_int_equal(commit(r, part), ERR_OK);
    assert_true(load_says(r, "replica 2.2 "));
    assert_false(load_says(r, "row 2 "));
    assert_int_equal(create(r, 2), ERR_DAMAGED);
    assert_int_equal(create(r, 3), ERR_OK);
    assert_false(load_says(r, "replica 2.2 "));
    struct store_command sweep = of(r, STORE_SWEEP, TARGET);
    sweep.incarnation = 2;
    sweep.count = 1000;
    assert_int_equal(commit(r, sweep), ERR_OK);
    assert_int_equal(put_blob(r), ERR_OK);
    struct row_cursor cursor = {0};
    while (move_rows(r, &cursor))
        continue;
    assert_int_equal(commit(r, of(r, STORE_INSTALLED, TARGET)), ERR_OK);
    assert_true(load_says(r, "replica 2.3 "));
    assert_same_segments(r, 15);
}

static void bytes_that_changed_on_the_way_are_seen(void **state)
{
    struct rig *r = *state;
    struct rows_result out;
    fill(r);
    store_to(r, 8);
    assert_int_equal(read_rows(r, (struct row_cursor){0}, 8, &out), ERR_OK);
    struct span rows = span_buf(&out.rows), payload = span_buf(&out.payload);
    assert_true(moved_verify(rows, payload));
    assert_false(moved_verify(rows, span_of(payload.data, payload.size - 1)));
    out.payload.data[payload.size / 2] ^= 1;
    assert_false(moved_verify(rows, payload));
    store_rows_free(&out);
}

/* The rows of the state are those that a blob has taken before. */
static void assert_same_state(struct rig *r)
{
    struct buf before = r->blob.images;
    r->blob.images = (struct buf){0};
    read_blob(r);
    assert_true(span_equal(span_buf(&before), span_buf(&r->blob.images)));
    buf_free(&before);
}

/* ---- another generation ------------------------------------------------- */

#define ANEW ((uint64_t)1 << 33)

static enum err found_anew(struct rig *r, uint32_t counter, uint64_t index,
                           uint64_t term)
{
    struct config config = {.index = index, .count = 1};
    config.members[0] = (struct config_member){
        .replica = {rig_founding(RIG_PARTITIONS).folder.node, index},
        .is_voter = true};
    struct store_command c = of(r, STORE_RECOVER, SOURCE);
    c.generation = (struct generation){counter, 77};
    c.added = index;
    c.index = index;
    c.term = term;
    c.config = &config;
    c.epoch = (struct epoch){4, 5, 6};
    return commit(r, c);
}

static void a_founder_goes_on_far_above_its_log(void **state)
{
    struct rig *r = *state;
    fill(r);
    store_to(r, 8);
    assert_int_equal(cut_at(r, 8), ERR_OK);
    read_blob(r);
    assert_int_equal(found_anew(r, 9, ANEW, 3), ERR_OK);
    assert_true(load_says(
        r, "replica 1.1 9:77 added 8589934592 term 3 vote "
           "00000000000000000000000000000000:0 base 8589934592/3 last "
           "8589934592 applied 8589934592/3 epoch 4.6 digest "));
    assert_true(load_says(r, " config 8589934592 of 1\n"));
    assert_same_state(r);
    /* The next entry of its log. */
    struct store_command c = of(r, STORE_APPEND, SOURCE);
    struct item *item = rig_noop(&r->pool, ANEW + 1, 4);
    c.item = item;
    assert_int_equal(commit(r, c), ERR_OK);
    assert_true(load_says(r, " last 8589934593 "));
    item_unref(&r->pool, item);
}

static void a_founder_has_applied_and_cut_all(void **state)
{
    struct rig *r = *state;
    fill(r);
    assert_int_equal(found_anew(r, 9, ANEW, 3), ERR_DAMAGED);
    store_to(r, 8);
    assert_int_equal(found_anew(r, 9, ANEW, 3), ERR_DAMAGED);
    assert_int_equal(cut_at(r, 7), ERR_OK);
    assert_int_equal(found_anew(r, 9, ANEW, 3), ERR_DAMAGED);
    assert_int_equal(cut_at(r, 8), ERR_OK);
    /* Nor into the past. */
    assert_int_equal(found_anew(r, 7, ANEW, 3), ERR_DAMAGED);
    assert_int_equal(found_anew(r, 9, 8, 3), ERR_DAMAGED);
    assert_int_equal(found_anew(r, 9, ANEW, 0), ERR_DAMAGED);
    assert_int_equal(found_anew(r, 9, ANEW, 1), ERR_OK);
}

/* Of group 0: its one row is another, and what was not applied is gone. */
static void the_ring_is_founded_anew_with_another_record(void **state)
{
    struct rig *r = *state;
    struct item *item = rig_noop(&r->pool, 2, 1);
    struct store_command c = of(r, STORE_APPEND, 0);
    c.item = item;
    assert_int_equal(commit(r, c), ERR_OK);
    struct buf images = {0};
    struct image row = {ROW_STATE, span_str("E"), false, span_str("another")};
    image_put(&images, &row);
    struct span spans = span_buf(&images);
    struct config config = {.index = ANEW, .count = 1};
    c = of(r, STORE_RECOVER, 0);
    c.generation = (struct generation){9, 77};
    c.added = c.index = ANEW;
    c.term = 2;
    c.config = &config;
    c.images = &spans;
    c.image_count = 1;
    c.digest = row_digest(row.key, row.value);
    assert_int_equal(commit(r, c), ERR_OK);
    assert_true(load_says(r, "replica 0.1 9:77 added 8589934592 term 2 "));
    assert_true(load_says(r, "row 0 E"));
    assert_false(load_says(r, "entry 0 "));
    item_unref(&r->pool, item);
    buf_free(&images);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_cut_log_begins_behind_the_cut),
        TEST(segments_outlive_their_log),
        TEST(a_cut_above_what_is_stored_changes_nothing),
        TEST(a_cut_keeps_the_terms_and_the_configuration_in_force),
        TEST(an_installed_replica_reads_as_its_source),
        TEST(entries_behind_the_blob_come_by_log),
        TEST(an_answer_ends_where_a_run_ends),
        TEST(a_source_that_lags_has_no_rows),
        TEST(an_install_goes_on_after_a_restart),
        TEST(an_installing_replica_is_none),
        TEST(an_install_begins_anew_under_another_incarnation),
        TEST(bytes_that_changed_on_the_way_are_seen),
        TEST(a_founder_goes_on_far_above_its_log),
        TEST(a_founder_has_applied_and_cut_all),
        TEST(the_ring_is_founded_anew_with_another_record),
    };
    return cmocka_run_group_tests_name("store_install", tests, NULL, NULL) != 0;
}
