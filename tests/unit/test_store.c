/* test_store.c - the contract of storage/store.h, one suite for both stores.
 * What only a disk can do is in test_store_lmdb.c. */
#include "tests/unit/cmocka_wrap.h"

#include "tests/unit/store_rig.h"

struct rig {
    bool is_lmdb;
    char path[RIG_PATH_BYTES];
    struct rig_bytes bytes;
    struct item_pool pool;
    struct store *store;
    struct store_reader *reader;
    struct store_done done;
    uint64_t cycle;
    struct rig_core core; /* of group 1, incarnation 1 */
    struct buf before, after;
};

/* ---- life -------------------------------------------------------------- */

static void open_lmdb(struct rig *r)
{
    struct store_lmdb_cfg cfg = rig_cfg(r->path, &r->bytes);
    assert_int_equal(store_lmdb_open(&cfg, &r->store), ERR_OK);
    r->reader = store_reader_open(r->store);
    assert_non_null(r->reader);
}

/* As after a restart of the process; of the model, a copy goes on. */
static void reopen(struct rig *r)
{
    store_reader_close(r->reader);
    struct store *old = r->store;
    if (!r->is_lmdb) {
        r->store = store_model_copy(old, &r->bytes);
        r->reader = store_reader_open(r->store);
    }
    store_close(old);
    if (r->is_lmdb)
        open_lmdb(r);
}

static int set_up(void **state, bool is_lmdb)
{
    struct rig *r = mem_alloc(sizeof *r);
    struct store_founding f = rig_founding(RIG_PARTITIONS);
    r->is_lmdb = is_lmdb;
    rig_core_init(&r->core, true);
    if (is_lmdb) {
        rig_folder(r->path);
        struct store_lmdb_cfg cfg = rig_cfg(r->path, &r->bytes);
        assert_int_equal(store_lmdb_found(&cfg, &f), ERR_OK);
        open_lmdb(r);
    } else {
        r->store = store_model_new(&f, rig_resolve, &r->bytes);
        r->reader = store_reader_open(r->store);
    }
    *state = r;
    return 0;
}

static int set_up_model(void **state)
{
    return set_up(state, false);
}

static int set_up_lmdb(void **state)
{
    return set_up(state, true);
}

static int tear_down(void **state)
{
    struct rig *r = *state;
    store_reader_close(r->reader);
    store_close(r->store);
    if (r->is_lmdb)
        rig_folder_remove(r->path);
    rig_core_free(&r->core, &r->pool);
    assert_int_equal(r->pool.live, 0);
    item_pool_free(&r->pool);
    rig_bytes_free(&r->bytes);
    buf_free(&r->before);
    buf_free(&r->after);
    mem_free(r);
    return 0;
}

/* ---- vocabulary -------------------------------------------------------- */

static enum err commit(struct rig *r, const struct store_command *commands,
                       size_t count)
{
    struct store_batch b = {++r->cycle, commands, count};
    enum err err = store_commit(r->store, &b, &r->done);
    assert_int_equal(r->done.cycle, r->cycle);
    return err;
}

static enum err commit_one(struct rig *r, struct store_command c)
{
    return commit(r, &c, 1);
}

static struct store_command append_of(const struct item *item)
{
    return (struct store_command){
        .kind = STORE_APPEND, .group = 1, .incarnation = 1, .item = item};
}

/* Appends to group 1's log and to the core's. */
static void append(struct rig *r, struct item *item)
{
    rig_core_append(&r->core, item);
    assert_int_equal(commit_one(r, append_of(item)), ERR_OK);
}

static void store_to(struct rig *r, uint64_t to)
{
    rig_core_apply(&r->core, to);
    struct store_command c = rig_core_portion(&r->core, 1, 1, to);
    assert_int_equal(commit_one(r, c), ERR_OK);
}

/* Streams s0 and s1, each with a producer; nothing of it stored yet but the
 * log. */
static void make_streams(struct rig *r)
{
    struct rig_script s;
    rig_script_begin(&s, 1);
    assert_true(rig_script_create(&s, "s0"));
    assert_true(rig_script_create(&s, "s1"));
    append(r, rig_script_end(&s, &r->pool, &r->bytes, r->core.last + 1, 1));
    rig_core_apply(&r->core, r->core.last);
    rig_script_begin(&s, 2);
    assert_true(rig_script_open(&s, r->core.lanes[0].stream, "p0"));
    assert_true(rig_script_open(&s, r->core.lanes[1].stream, "p1"));
    append(r, rig_script_end(&s, &r->pool, &r->bytes, r->core.last + 1, 1));
    rig_core_apply(&r->core, r->core.last);
}

/* An entry that appends `count` segments of `size` to each stream: two runs. */
static struct item *segments_item(struct rig *r, uint32_t count, uint32_t size,
                                  uint64_t term)
{
    struct rig_script s;
    rig_script_begin(&s, r->core.last);
    for (size_t k = 0; k < 2; k++)
        for (uint32_t i = 0; i < count; i++)
            assert_true(rig_script_append(&s, &r->core.lanes[k], i, size));
    return rig_script_end(&s, &r->pool, &r->bytes, r->core.last + 1, term);
}

static void append_segments(struct rig *r, uint32_t count, uint32_t size)
{
    append(r, segments_item(r, count, size, 1));
    rig_core_apply(&r->core, r->core.last);
}

static struct segments_ticket ticket_of(const struct rig *r, uint64_t from,
                                        uint64_t end)
{
    return (struct segments_ticket){.group = 1,
                                    .incarnation = 1,
                                    .stream = r->core.lanes[1].stream,
                                    .from_seq = from,
                                    .end_seq = end,
                                    .count_max = 1000,
                                    .bytes_max = READ_BYTES_MAX,
                                    .least_txn = r->done.txn};
}

static struct log_ticket log_ticket_of(const struct rig *r, uint64_t first,
                                       uint64_t last)
{
    static const struct raft_term_run runs[] = {{1, 1}};
    return (struct log_ticket){.group = 1,
                               .incarnation = 1,
                               .first = first,
                               .last = last,
                               .bytes_max = 4 * MIB,
                               .least_txn = r->done.txn,
                               .runs = runs,
                               .run_count = 1};
}

static void gather(const struct rig *r, const struct item *item,
                   struct buf *out)
{
    for (uint32_t i = 0; i < item->slice_count; i++) {
        const uint8_t *from =
            rig_resolve((void *)&r->bytes, item->slices[i].handle);
        buf_append(out, from + item->slices[i].offset, item->slices[i].size);
    }
}

static void dump(struct rig *r, struct buf *text)
{
    assert_int_equal(rig_dump(r->store, text), ERR_OK);
}

static bool dump_says(struct rig *r, const char *words)
{
    dump(r, &r->after);
    buf_append(&r->after, "", 1);
    return strstr((const char *)r->after.data, words) != NULL;
}

static void remember(struct rig *r)
{
    dump(r, &r->before);
}

static void assert_unchanged(struct rig *r)
{
    dump(r, &r->after);
    assert_true(span_equal(span_buf(&r->before), span_buf(&r->after)));
    reopen(r);
    dump(r, &r->after);
    assert_true(span_equal(span_buf(&r->before), span_buf(&r->after)));
}

/* ---- founding ---------------------------------------------------------- */

static void a_founding_is_loaded_as_it_was_given(void **state)
{
    struct rig *r = *state;
    assert_true(dump_says(r, "folder 01020300000000000000000000000000 "
                             "04050600000000000000000000000000 Q=3 boot=0"));
    assert_true(dump_says(r, "record 16:"));
    assert_true(dump_says(
        r, "replica 3.1 7:8 added 1 term 1 vote "
           "00000000000000000000000000000000:0 base 0/0 last 1 applied 1/1 "
           "epoch 1.3 digest 00000000000000000000000000000000 1->1 config 1 of "
           "1\n"));
    assert_true(dump_says(r, "row 0 E 1:"));
    assert_false(dump_says(r, "replica 4.1"));
}

/* ---- log --------------------------------------------------------------- */

static void an_entry_is_read_as_it_was_appended(void **state)
{
    struct rig *r = *state;
    make_streams(r);
    struct item *item = segments_item(r, 5, 100000, 1);
    append(r, item);
    struct log_ticket t = log_ticket_of(r, 4, 4);
    struct log_result out;
    store_read_log(r->reader, &t, &out);
    assert_int_equal(out.err, ERR_OK);
    assert_int_equal(out.count, 1);
    assert_true(span_equal(span_buf(&out.manifests), item_manifest(item)));
    struct buf payload = {0};
    gather(r, item, &payload);
    assert_int_equal(payload.size, 1000000);
    assert_true(span_equal(span_buf(&out.payload), span_buf(&payload)));
    buf_free(&payload);
    store_log_free(&out);
}

static void entries_above_applied_are_loaded(void **state)
{
    struct rig *r = *state;
    make_streams(r);
    store_to(r, 2);
    append(r, rig_noop(&r->pool, 4, 5));
    assert_false(dump_says(r, "entry 1 2/1"));
    assert_true(dump_says(r, "entry 1 3/1"));
    assert_true(dump_says(r, "entry 1 4/5"));
    assert_true(dump_says(r, "last 4 applied 2/1"));
    remember(r);
    assert_unchanged(r);
}

static void entries_that_do_not_fit_wait_for_the_next_read(void **state)
{
    struct rig *r = *state;
    make_streams(r);
    append(r, segments_item(r, 1, 1000, 1));
    append(r, rig_noop(&r->pool, 5, 1));
    struct log_ticket t = log_ticket_of(r, 1, 5);
    struct log_result out;
    t.bytes_max = 1;
    store_read_log(r->reader, &t, &out);
    assert_int_equal(out.err, ERR_OK);
    assert_int_equal(out.count, 1);
    store_log_free(&out);
    t.bytes_max = 2000;
    store_read_log(r->reader, &t, &out);
    assert_int_equal(out.count, 3);
    assert_int_equal(out.payload.size, 0);
    store_log_free(&out);
    t.bytes_max = 4000;
    store_read_log(r->reader, &t, &out);
    assert_int_equal(out.count, 5);
    assert_int_equal(out.entries[3].payload_size, 2000);
    assert_int_equal(out.entries[4].payload_at, 2000);
    store_log_free(&out);
}

static void an_entry_of_another_term_is_not_found(void **state)
{
    struct rig *r = *state;
    append(r, rig_noop(&r->pool, 2, 1));
    append(r, rig_noop(&r->pool, 3, 2));
    struct log_ticket t = log_ticket_of(r, 2, 3);
    struct log_result out;
    store_read_log(r->reader, &t, &out);
    assert_int_equal(out.err, ERR_NOT_FOUND);
    assert_int_equal(out.count, 1);
    store_log_free(&out);
    static const struct raft_term_run runs[] = {{1, 1}, {3, 2}};
    t.runs = runs;
    t.run_count = 2;
    store_read_log(r->reader, &t, &out);
    assert_int_equal(out.err, ERR_OK);
    assert_int_equal(out.count, 2);
    store_log_free(&out);
    t.last = 4;
    store_read_log(r->reader, &t, &out);
    assert_int_equal(out.err, ERR_NOT_FOUND);
    store_log_free(&out);
}

static void truncate_from(struct rig *r, uint64_t index)
{
    rig_core_truncate(&r->core, &r->pool, index);
    struct store_command c = {
        .kind = STORE_TRUNCATE, .group = 1, .incarnation = 1, .index = index};
    assert_int_equal(commit_one(r, c), ERR_OK);
    reopen(r);
}

static void truncation_takes_entries_terms_and_configurations(void **state)
{
    struct rig *r = *state;
    make_streams(r);
    append(r, segments_item(r, 3, 70000, 1));
    append(r, rig_noop(&r->pool, 5, 2));
    append(r, rig_config(&r->pool, 6, 2, 3));
    assert_true(dump_says(r, "1->1 5->2 config 1 of 1 config 6 of 3\n"));
    truncate_from(r, 6);
    assert_true(dump_says(r, "1->1 5->2 config 1 of 1\n"));
    append(r, rig_config(&r->pool, 6, 2, 3));
    truncate_from(r, 4);
    assert_true(dump_says(r, "last 3 applied 1/1"));
    assert_true(dump_says(r, " 1->1 config 1 of 1\n"));
}

static void a_place_is_written_again_in_another_term(void **state)
{
    struct rig *r = *state;
    make_streams(r);
    append(r, segments_item(r, 3, 70000, 1));
    rig_core_truncate(&r->core, &r->pool, 4);
    struct item *item = segments_item(r, 1, 50, 2);
    rig_core_append(&r->core, item);
    struct store_command both[] = {
        {.kind = STORE_TRUNCATE, .group = 1, .incarnation = 1, .index = 4},
        append_of(item)};
    assert_int_equal(commit(r, both, 2), ERR_OK);
    reopen(r);
    assert_true(dump_says(r, " 1->1 4->2 config"));
    rig_core_apply(&r->core, 4);
    store_to(r, 4);
    struct segments_ticket t = ticket_of(r, 0, 1);
    struct segments_result out;
    store_read_segments(r->reader, &t, &out);
    assert_int_equal(out.err, ERR_OK);
    assert_int_equal(out.payload.size, 50);
    store_segments_free(&out);
}

/* ---- state and segments ------------------------------------------------ */

static enum err feed_row(void *ctx, uint32_t group, struct span key,
                         struct span value)
{
    return group == 1 ? streams_load(ctx, key, value) : ERR_OK;
}
static enum err skip_folder(void *ctx, const struct store_folder *f)
{
    (void)ctx, (void)f;
    return ERR_OK;
}
static enum err skip_record(void *ctx, struct span record)
{
    (void)ctx, (void)record;
    return ERR_OK;
}
static enum err skip_replica(void *ctx, const struct store_replica *r)
{
    (void)ctx, (void)r;
    return ERR_OK;
}
static enum err skip_entry(void *ctx, uint32_t group, struct span manifest)
{
    (void)ctx, (void)group, (void)manifest;
    return ERR_OK;
}

static void portions_bring_the_state_back(void **state)
{
    struct rig *r = *state;
    make_streams(r);
    append_segments(r, 3, 100);
    store_to(r, 3);
    append_segments(r, 3, 100);
    store_to(r, 5);
    reopen(r);
    struct streams *loaded = streams_new();
    struct store_visitor v = {loaded,   skip_folder, skip_record, skip_replica,
                              feed_row, skip_entry,  NULL,        NULL};
    assert_int_equal(store_load(r->store, &v), ERR_OK);
    struct hash128 now = streams_digest(r->core.streams);
    struct hash128 then = streams_digest(loaded);
    assert_true(now.lo == then.lo && now.hi == then.hi);
    assert_int_equal(streams_count(loaded), 2);
    streams_free(loaded);
}

static void a_state_of_another_digest_is_damage(void **state)
{
    struct rig *r = *state;
    make_streams(r);
    struct store_command c = rig_core_portion(&r->core, 1, 1, 3);
    c.digest.lo++;
    assert_int_equal(commit_one(r, c), ERR_OK);
    assert_int_equal(rig_dump(r->store, &r->after), ERR_DAMAGED);
}

/* Reads [from, end) of stream s1 and holds it against the entry that has its
 * segments of this size from seq `first` on. */
static void assert_segments(struct rig *r, struct segments_ticket t,
                            const struct item *item, uint64_t first,
                            uint32_t size)
{
    struct segments_result out;
    struct buf payload = {0};
    gather(r, item, &payload);
    store_read_segments(r->reader, &t, &out);
    assert_int_equal(out.err, ERR_OK);
    assert_int_equal(out.count, t.end_seq - t.from_seq);
    for (uint32_t i = 0; i < out.count; i++)
        assert_true(out.metas[i].seq == t.from_seq + i &&
                    out.metas[i].size == size);
    /* s1's run is the second half of the entry. */
    struct span wanted =
        span_of(payload.data + payload.size / 2 + (t.from_seq - first) * size,
                out.payload.size);
    assert_true(span_equal(span_buf(&out.payload), wanted));
    buf_free(&payload);
    store_segments_free(&out);
}

static void segments_are_read_across_chunks(void **state)
{
    struct rig *r = *state;
    make_streams(r);
    append_segments(r, 5, 100000);
    struct item *item = r->core.items[3];
    store_to(r, 4);
    assert_segments(r, ticket_of(r, 0, 5), item, 0, 100000);
    assert_segments(r, ticket_of(r, 3, 4), item, 0, 100000);
    reopen(r);
    assert_segments(r, ticket_of(r, 1, 5), item, 0, 100000);
}

static void a_segment_of_full_size_is_read(void **state)
{
    struct rig *r = *state;
    make_streams(r);
    struct rig_script s;
    rig_script_begin(&s, 9);
    uint32_t size = SEGMENT_BYTES_MAX - ATTRIBUTES_BYTES_MAX;
    assert_true(rig_script_append(&s, &r->core.lanes[1], 0, size));
    append(r, rig_script_end(&s, &r->pool, &r->bytes, 4, 1));
    store_to(r, 4);
    struct segments_ticket t = ticket_of(r, 0, 1);
    t.bytes_max = 1; /* one is read whatever its size */
    struct segments_result out;
    store_read_segments(r->reader, &t, &out);
    assert_int_equal(out.err, ERR_OK);
    assert_int_equal(out.payload.size, size);
    store_segments_free(&out);
}

static void empty_segments_have_no_payload(void **state)
{
    struct rig *r = *state;
    make_streams(r);
    append_segments(r, 3, 0);
    store_to(r, 4);
    struct segments_ticket t = ticket_of(r, 0, 3);
    struct segments_result out;
    store_read_segments(r->reader, &t, &out);
    assert_int_equal(out.err, ERR_OK);
    assert_int_equal(out.count, 3);
    assert_int_equal(out.payload.size, 0);
    store_segments_free(&out);
}

static void rows_in_memory_are_consulted_first(void **state)
{
    struct rig *r = *state;
    make_streams(r);
    append_segments(r, 3, 1000); /* s1: seq 0..2, stored */
    store_to(r, 4);
    append_segments(r, 3, 1000); /* seq 3..5, applied only */
    append_segments(r, 3, 1000); /* seq 6..8 */
    struct segments_ticket t = ticket_of(r, 0, 9);
    struct segments_result out;
    store_read_segments(r->reader, &t, &out);
    assert_int_equal(out.err, ERR_NOT_FOUND);
    assert_int_equal(out.bad_seq, 3);
    assert_int_equal(out.count, 3);
    store_segments_free(&out);
    rig_core_memory(&r->core, &t.rows);
    store_read_segments(r->reader, &t, &out);
    assert_int_equal(out.err, ERR_OK);
    assert_int_equal(out.count, 9);
    store_segments_free(&out);
    t.from_seq = 4;
    t.end_seq = 6;
    assert_segments(r, t, r->core.items[4], 3, 1000);
    t.from_seq = t.end_seq = 9;
    store_read_segments(r->reader, &t, &out);
    assert_true(out.err == ERR_OK && out.count == 0);
    store_segments_free(&out);
    buf_free(&t.rows);
}

static void an_unapplied_payload_has_no_name(void **state)
{
    struct rig *r = *state;
    make_streams(r);
    append(r, segments_item(r, 2, 10, 1));
    struct segments_ticket t = ticket_of(r, 0, 2);
    struct segments_result out;
    store_read_segments(r->reader, &t, &out);
    assert_int_equal(out.err, ERR_NOT_FOUND);
    assert_int_equal(out.count, 0);
    store_segments_free(&out);
}

static void a_read_ends_at_its_bounds(void **state)
{
    struct rig *r = *state;
    make_streams(r);
    append_segments(r, 4, 1000);
    append_segments(r, 4, 1000);
    store_to(r, 5);
    struct segments_ticket t = ticket_of(r, 1, 8);
    struct segments_result out;
    t.count_max = 5;
    store_read_segments(r->reader, &t, &out);
    assert_true(out.err == ERR_OK && out.count == 5);
    assert_int_equal(out.metas[4].seq, 5);
    store_segments_free(&out);
    t.count_max = 100;
    t.bytes_max = 3500;
    store_read_segments(r->reader, &t, &out);
    assert_true(out.err == ERR_OK && out.count == 3);
    store_segments_free(&out);
}

static void another_stream_has_other_segments(void **state)
{
    struct rig *r = *state;
    make_streams(r);
    append_segments(r, 4, 10);
    store_to(r, 4);
    struct segments_ticket t = ticket_of(r, 0, 4);
    struct segments_result out;
    t.stream.ordinal++;
    store_read_segments(r->reader, &t, &out);
    assert_int_equal(out.err, ERR_NOT_FOUND);
    store_segments_free(&out);
    t = ticket_of(r, 4, 5);
    store_read_segments(r->reader, &t, &out);
    assert_int_equal(out.err, ERR_NOT_FOUND);
    store_segments_free(&out);
    t = ticket_of(r, 0, 4);
    t.incarnation = 2;
    store_read_segments(r->reader, &t, &out);
    assert_int_equal(out.err, ERR_NOT_FOUND);
    store_segments_free(&out);
}

/* ---- the rest of meta -------------------------------------------------- */

static void hard_state_is_loaded_as_last_written(void **state)
{
    struct rig *r = *state;
    struct store_command c = {.kind = STORE_HARD, .group = 2, .incarnation = 1};
    c.hard.term = 7;
    assert_int_equal(commit_one(r, c), ERR_OK);
    c.hard.term = 9;
    c.hard.vote = (struct replica){{{0xab}}, 12};
    assert_int_equal(commit_one(r, c), ERR_OK);
    reopen(r);
    assert_true(dump_says(r, "replica 2.1 7:8 added 1 term 9 vote "
                             "ab000000000000000000000000000000:12 "));
}

static void boots_of_peers_are_loaded_as_last_written(void **state)
{
    struct rig *r = *state;
    struct store_command c = {.kind = STORE_BOOTS, .bytes = span_str("older")};
    assert_false(dump_says(r, "boots"));
    assert_int_equal(commit_one(r, c), ERR_OK);
    c.bytes = span_str("newest");
    assert_int_equal(commit_one(r, c), ERR_OK);
    reopen(r);
    assert_true(dump_says(r, "\nboots 6:"));
    remember(r);
    c.bytes.size = 0;
    assert_int_equal(commit_one(r, c), ERR_DAMAGED);
    assert_unchanged(r);
}

static void boot_and_record_are_loaded_as_last_written(void **state)
{
    struct rig *r = *state;
    assert_int_equal(
        commit_one(r, (struct store_command){.kind = STORE_BOOT, .number = 3}),
        ERR_OK);
    assert_int_equal(
        commit_one(r, (struct store_command){.kind = STORE_RECORD,
                                             .bytes = span_str("newer")}),
        ERR_OK);
    reopen(r);
    assert_true(dump_says(r, "boot=3\nrecord 5:"));
    remember(r);
    assert_int_equal(
        commit_one(r, (struct store_command){.kind = STORE_BOOT, .number = 3}),
        ERR_DAMAGED);
    assert_unchanged(r);
}

static void a_quarantine_says_why(void **state)
{
    struct rig *r = *state;
    uint8_t text[STORE_QUARANTINE_MAX + 1];
    memset(text, 'q', sizeof text);
    struct store_command c = {.kind = STORE_QUARANTINE,
                              .group = 1,
                              .incarnation = 1,
                              .bytes = span_str("id exists")};
    assert_int_equal(commit_one(r, c), ERR_OK);
    reopen(r);
    assert_true(dump_says(r, "quarantined: id exists\n"));
    c.bytes = span_of(text, sizeof text);
    assert_int_equal(commit_one(r, c), ERR_OK);
    reopen(r);
    text[STORE_QUARANTINE_MAX] = '\0';
    assert_true(dump_says(r, (const char *)text));
}

/* ---- what does not fit ------------------------------------------------- */

static void an_append_that_is_not_the_next_changes_nothing(void **state)
{
    struct rig *r = *state;
    append(r, rig_noop(&r->pool, 2, 1));
    remember(r);
    struct item *again = rig_noop(&r->pool, 2, 1);
    struct item *gap = rig_noop(&r->pool, 4, 1);
    assert_int_equal(commit_one(r, append_of(again)), ERR_DAMAGED);
    assert_int_equal(commit_one(r, append_of(gap)), ERR_DAMAGED);
    assert_unchanged(r);
    item_unref(&r->pool, again);
    item_unref(&r->pool, gap);
    append(r, rig_noop(&r->pool, 3, 1));
}

static void an_append_without_its_bytes_changes_nothing(void **state)
{
    struct rig *r = *state;
    make_streams(r);
    remember(r);
    struct item *item = segments_item(r, 1, 10, 1);
    item_drop_payload(&r->pool, item);
    assert_int_equal(commit_one(r, append_of(item)), ERR_DAMAGED);
    assert_unchanged(r);
    item_unref(&r->pool, item);
}

static void a_portion_from_elsewhere_changes_nothing(void **state)
{
    struct rig *r = *state;
    make_streams(r);
    remember(r);
    struct store_command right = rig_core_portion(&r->core, 1, 1, 3);
    struct store_command c = right;
    c.index = 2;
    assert_int_equal(commit_one(r, c), ERR_DAMAGED);
    c = right;
    c.index_to = 4; /* above the log */
    c.term = 0;
    assert_int_equal(commit_one(r, c), ERR_DAMAGED);
    c = right;
    c.index_to = 1;
    assert_int_equal(commit_one(r, c), ERR_DAMAGED);
    c = right;
    c.term = 2;
    assert_int_equal(commit_one(r, c), ERR_DAMAGED);
    c = right;
    struct span cut[] = {c.images[0],
                         span_of(c.images[1].data, c.images[1].size - 1)};
    c.images = cut;
    assert_int_equal(commit_one(r, c), ERR_DAMAGED);
    assert_unchanged(r);
    assert_int_equal(commit_one(r, right), ERR_OK);
    assert_int_equal(commit_one(r, right), ERR_DAMAGED);
}

static void a_truncation_of_what_is_applied_changes_nothing(void **state)
{
    struct rig *r = *state;
    make_streams(r);
    store_to(r, 2);
    remember(r);
    struct store_command c = {
        .kind = STORE_TRUNCATE, .group = 1, .incarnation = 1, .index = 2};
    assert_int_equal(commit_one(r, c), ERR_DAMAGED);
    c.index = 4; /* above the log */
    assert_int_equal(commit_one(r, c), ERR_DAMAGED);
    assert_unchanged(r);
}

static void commands_for_unknown_replicas_change_nothing(void **state)
{
    struct rig *r = *state;
    static const enum store_kind kinds[] = {STORE_HARD,      STORE_TRUNCATE,
                                            STORE_TOMBSTONE, STORE_QUARANTINE,
                                            STORE_PORTION,   STORE_APPEND};
    struct item *item = rig_noop(&r->pool, 2, 1);
    remember(r);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct store_command c = append_of(item);
        c.kind = kinds[i];
        c.incarnation = 2;
        assert_int_equal(commit_one(r, c), ERR_DAMAGED);
        c.incarnation = 1;
        c.group = RIG_PARTITIONS + 1;
        assert_int_equal(commit_one(r, c), ERR_DAMAGED);
        c.group = UINT32_MAX;
        assert_int_equal(commit_one(r, c), ERR_DAMAGED);
    }
    assert_unchanged(r);
    item_unref(&r->pool, item);
}

static void a_batch_is_done_whole_or_not_at_all(void **state)
{
    struct rig *r = *state;
    struct item *second = rig_noop(&r->pool, 2, 4);
    remember(r);
    struct store_command batch[] = {
        {.kind = STORE_BOOT, .number = 10},
        {.kind = STORE_HARD, .group = 2, .incarnation = 1, .hard = {.term = 4}},
        append_of(second),
        {.kind = STORE_TOMBSTONE, .group = 3, .incarnation = 1, .added = 1},
        {.kind = STORE_QUARANTINE,
         .group = 2,
         .incarnation = 1,
         .bytes = span_str("no")},
        {.kind = STORE_CREATE, .group = 9, .incarnation = 1, .added = 5},
        {.kind = STORE_HARD, .group = 3, .incarnation = 1}, /* is gone */
    };
    size_t count = sizeof batch / sizeof batch[0];
    assert_int_equal(commit(r, batch, count), ERR_DAMAGED);
    assert_unchanged(r);
    assert_int_equal(commit(r, batch, count - 1), ERR_OK);
    assert_true(dump_says(r, "replica 9.1"));
    item_unref(&r->pool, second);
}

static void an_empty_batch_is_done_at_once(void **state)
{
    struct rig *r = *state;
    append(r, rig_noop(&r->pool, 2, 1));
    assert_int_equal(commit(r, NULL, 0), ERR_OK);
    struct log_ticket t = log_ticket_of(r, 2, 2);
    struct log_result out;
    store_read_log(r->reader, &t, &out);
    assert_int_equal(out.err, ERR_OK);
    store_log_free(&out);
}

/* ---- replicas come and go ---------------------------------------------- */

static struct store_command create_of(uint32_t incarnation, uint64_t added)
{
    return (struct store_command){.kind = STORE_CREATE,
                                  .group = 1,
                                  .incarnation = incarnation,
                                  .generation = {1, 1},
                                  .added = added};
}

static const struct store_command tombstone = {
    .kind = STORE_TOMBSTONE, .group = 1, .incarnation = 1, .added = 8};

static void a_tombstone_refuses_former_lives(void **state)
{
    struct rig *r = *state;
    make_streams(r);
    assert_int_equal(commit_one(r, tombstone), ERR_OK);
    reopen(r);
    assert_true(dump_says(r, "tombstone 1.1 > 8\n"));
    assert_false(dump_says(r, "replica 1."));
    remember(r);
    assert_int_equal(commit_one(r, create_of(2, 8)), ERR_DAMAGED);
    assert_int_equal(commit_one(r, create_of(1, 9)), ERR_DAMAGED);
    assert_unchanged(r);
    assert_int_equal(commit_one(r, create_of(2, 9)), ERR_OK);
    assert_int_equal(commit_one(r, create_of(3, 10)), ERR_DAMAGED);
    reopen(r);
    assert_true(dump_says(r, "replica 1.2 1:1 added 9 term 0"));
    assert_true(dump_says(r, "tombstone 1.1 > 8\n"));
}

static void a_sweep_takes_only_what_a_tombstone_left(void **state)
{
    struct rig *r = *state;
    make_streams(r);
    append_segments(r, 10, 20000);
    store_to(r, 4);
    struct store_command swept = {
        .kind = STORE_SWEEP, .group = 1, .incarnation = 1, .count = 3};
    assert_int_equal(commit_one(r, swept), ERR_DAMAGED); /* it lives */
    struct store_command both[] = {tombstone, create_of(2, 9)};
    assert_int_equal(commit(r, both, 2), ERR_OK);
    struct store_command noop = append_of(rig_noop(&r->pool, 1, 1));
    noop.incarnation = 2;
    assert_int_equal(commit_one(r, noop), ERR_OK);
    remember(r);
    int rounds = 0;
    do {
        struct store_command twice[] = {swept, swept};
        assert_int_equal(commit(r, twice, 2), ERR_OK);
        assert_true(rounds > 0 || r->done.sweeps_finished == 0);
    } while (r->done.sweeps_finished != 2 && ++rounds < 100);
    assert_in_range(rounds, 1, 99);
    struct segments_ticket t = ticket_of(r, 0, 1);
    struct segments_result out;
    store_read_segments(r->reader, &t, &out);
    assert_int_equal(out.err, ERR_NOT_FOUND);
    store_segments_free(&out);
    struct log_ticket l = log_ticket_of(r, 1, 1);
    struct log_result log;
    store_read_log(r->reader, &l, &log);
    assert_int_equal(log.err, ERR_NOT_FOUND);
    store_log_free(&log);
    l.incarnation = 2;
    store_read_log(r->reader, &l, &log);
    assert_int_equal(log.err, ERR_OK);
    store_log_free(&log);
    assert_unchanged(r);
    item_unref(&r->pool, (struct item *)noop.item);
}

static void space_is_told(void **state)
{
    struct rig *r = *state;
    struct store_space space = {0};
    assert_int_equal(store_space(r->store, &space), ERR_OK);
    assert_true(space.map_bytes >= MAP_BYTES_TEST);
    assert_true(space.map_used < space.map_bytes);
    assert_true(space.disk_free > 0 && space.disk_free <= space.disk_bytes);
}

/* ---- both -------------------------------------------------------------- */

#define BOTH(f)                                                                \
    {"model: " #f, f, set_up_model, tear_down, NULL},                          \
    {                                                                          \
        "lmdb: " #f, f, set_up_lmdb, tear_down, NULL                           \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(a_founding_is_loaded_as_it_was_given),
        BOTH(an_entry_is_read_as_it_was_appended),
        BOTH(entries_above_applied_are_loaded),
        BOTH(entries_that_do_not_fit_wait_for_the_next_read),
        BOTH(an_entry_of_another_term_is_not_found),
        BOTH(truncation_takes_entries_terms_and_configurations),
        BOTH(a_place_is_written_again_in_another_term),
        BOTH(portions_bring_the_state_back),
        BOTH(a_state_of_another_digest_is_damage),
        BOTH(segments_are_read_across_chunks),
        BOTH(a_segment_of_full_size_is_read),
        BOTH(empty_segments_have_no_payload),
        BOTH(rows_in_memory_are_consulted_first),
        BOTH(an_unapplied_payload_has_no_name),
        BOTH(a_read_ends_at_its_bounds),
        BOTH(another_stream_has_other_segments),
        BOTH(hard_state_is_loaded_as_last_written),
        BOTH(boots_of_peers_are_loaded_as_last_written),
        BOTH(boot_and_record_are_loaded_as_last_written),
        BOTH(a_quarantine_says_why),
        BOTH(an_append_that_is_not_the_next_changes_nothing),
        BOTH(an_append_without_its_bytes_changes_nothing),
        BOTH(a_portion_from_elsewhere_changes_nothing),
        BOTH(a_truncation_of_what_is_applied_changes_nothing),
        BOTH(commands_for_unknown_replicas_change_nothing),
        BOTH(a_batch_is_done_whole_or_not_at_all),
        BOTH(an_empty_batch_is_done_at_once),
        BOTH(a_tombstone_refuses_former_lives),
        BOTH(a_sweep_takes_only_what_a_tombstone_left),
        BOTH(space_is_told),
    };
    return cmocka_run_group_tests_name("store", tests, NULL, NULL) != 0;
}
