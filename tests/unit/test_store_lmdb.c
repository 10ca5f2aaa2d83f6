/* test_store_lmdb.c - what only a disk can do: folders, damage, a failed
 * commit, kill -9, readers beside the writer. */
#include "tests/unit/cmocka_wrap.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storage/store_rows.h"
#include "tests/unit/store_rig.h"

struct rig {
    char path[RIG_PATH_BYTES];
    char file[RIG_PATH_BYTES + 16];
    struct rig_bytes bytes;
    struct item_pool pool;
    struct store_lmdb_cfg cfg;
    struct store *store; /* NULL: closed */
    struct store_done done;
    struct rig_core core; /* of group 1 */
    struct buf before, after;
};

static enum err open_store(struct rig *r)
{
    return store_lmdb_open(&r->cfg, &r->store);
}

static void close_store(struct rig *r)
{
    store_close(r->store);
    r->store = NULL;
}

static int set_up(void **state)
{
    struct rig *r = mem_alloc(sizeof *r);
    rig_folder(r->path);
    (void)snprintf(r->file, sizeof r->file, "%s/data.mdb", r->path);
    r->cfg = rig_cfg(r->path, &r->bytes);
    rig_core_init(&r->core, true);
    *state = r;
    return 0;
}

static int set_up_founded(void **state)
{
    (void)set_up(state);
    struct rig *r = *state;
    struct store_founding f = rig_founding(RIG_PARTITIONS);
    assert_int_equal(store_lmdb_found(&r->cfg, &f), ERR_OK);
    assert_int_equal(open_store(r), ERR_OK);
    return 0;
}

static int tear_down(void **state)
{
    struct rig *r = *state;
    store_close(r->store);
    rig_folder_remove(r->path);
    rig_core_free(&r->core, &r->pool);
    item_pool_free(&r->pool);
    rig_bytes_free(&r->bytes);
    buf_free(&r->before);
    buf_free(&r->after);
    mem_free(r);
    return 0;
}

static enum err commit_one(struct rig *r, struct store_command c)
{
    struct store_batch b = {1, &c, 1};
    return store_commit(r->store, &b, &r->done);
}

static struct store_command append_of(const struct item *item)
{
    return (struct store_command){
        .kind = STORE_APPEND, .group = 1, .incarnation = 1, .item = item};
}

static void append(struct rig *r, struct item *item)
{
    rig_core_append(&r->core, item);
    assert_int_equal(commit_one(r, append_of(item)), ERR_OK);
}

static struct item *segments(struct rig *r, uint32_t count, uint32_t size)
{
    struct rig_script s;
    rig_script_begin(&s, r->core.last);
    for (uint32_t i = 0; i < count; i++)
        assert_true(rig_script_append(&s, &r->core.lanes[0], i, size));
    return rig_script_end(&s, &r->pool, &r->bytes, r->core.last + 1, 1);
}

/* A stream, its producer (entries 2 and 3), and `count` segments (entry 4),
 * all applied and stored. */
static void make_stream(struct rig *r, uint32_t count, uint32_t size)
{
    struct rig_script s;
    rig_script_begin(&s, 1);
    assert_true(rig_script_create(&s, "needle"));
    append(r, rig_script_end(&s, &r->pool, &r->bytes, 2, 1));
    rig_core_apply(&r->core, 2);
    rig_script_begin(&s, 2);
    assert_true(rig_script_open(&s, r->core.lanes[0].stream, "producer"));
    append(r, rig_script_end(&s, &r->pool, &r->bytes, 3, 1));
    rig_core_apply(&r->core, 3);
    append(r, segments(r, count, size));
    rig_core_apply(&r->core, 4);
    assert_int_equal(commit_one(r, rig_core_portion(&r->core, 1, 1, 4)),
                     ERR_OK);
}

static void read_stream(struct rig *r, uint64_t from, uint64_t end,
                        struct segments_result *out)
{
    struct store_reader *reader = store_reader_open(r->store);
    struct segments_ticket t = {.group = 1,
                                .incarnation = 1,
                                .stream = r->core.lanes[0].stream,
                                .from_seq = from,
                                .end_seq = end,
                                .count_max = 100,
                                .bytes_max = READ_BYTES_MAX,
                                .least_txn = r->done.txn};
    store_read_segments(reader, &t, out);
    store_reader_close(reader);
}

/* ---- folders ----------------------------------------------------------- */

static void an_empty_folder_has_no_store(void **state)
{
    struct rig *r = *state;
    assert_int_equal(open_store(r), ERR_NOT_FOUND);
    assert_null(r->store);
    assert_int_equal(access(r->file, F_OK), -1);
    r->cfg.path = "/nonexistent/folder";
    assert_int_equal(open_store(r), ERR_NOT_FOUND);
    struct store_founding f = rig_founding(0);
    assert_int_equal(store_lmdb_found(&r->cfg, &f), ERR_IO);
}

static void a_store_is_founded_once(void **state)
{
    struct rig *r = *state;
    struct store_founding f = rig_founding(RIG_PARTITIONS);
    assert_int_equal(rig_dump(r->store, &r->before), ERR_OK);
    close_store(r);
    assert_int_equal(store_lmdb_found(&r->cfg, &f), ERR_IN_USE);
    assert_int_equal(open_store(r), ERR_OK);
    assert_int_equal(rig_dump(r->store, &r->after), ERR_OK);
    assert_true(span_equal(span_buf(&r->before), span_buf(&r->after)));
}

static void a_folder_made_by_join_holds_ids_only(void **state)
{
    struct rig *r = *state;
    struct store_founding f = rig_founding(0);
    assert_int_equal(store_lmdb_found(&r->cfg, &f), ERR_OK);
    assert_int_equal(open_store(r), ERR_OK);
    assert_int_equal(rig_dump(r->store, &r->after), ERR_OK);
    struct span wanted =
        span_str("folder 01020300000000000000000000000000 "
                 "04050600000000000000000000000000 Q=0 boot=0\nOK\n");
    assert_true(span_equal(span_buf(&r->after), wanted));
}

static void a_founding_that_fails_leaves_nothing(void **state)
{
    struct rig *r = *state;
    struct store_founding f = rig_founding(PARTITIONS_DEFAULT);
    r->cfg.map_bytes = 32 * KIB;
    assert_int_equal(store_lmdb_found(&r->cfg, &f), ERR_IO);
    assert_int_equal(access(r->file, F_OK), -1);
    r->cfg.map_bytes = MAP_BYTES_TEST;
    assert_int_equal(store_lmdb_found(&r->cfg, &f), ERR_OK);
}

static void a_store_is_opened_once_in_a_process(void **state)
{
    struct rig *r = *state;
    struct store *second = NULL;
    assert_int_equal(store_lmdb_open(&r->cfg, &second), ERR_IN_USE);
    assert_null(second);
    close_store(r);
    assert_int_equal(open_store(r), ERR_OK);
}

static void the_files_are_the_owners_alone(void **state)
{
    struct rig *r = *state;
    struct stat file;
    assert_int_equal(stat(r->file, &file), 0);
    assert_int_equal(file.st_mode & 0777, 0600);
}

static void free_pages_do_not_count_as_used(void **state)
{
    struct rig *r = *state;
    make_stream(r, 2, 400000);
    struct store_space full, swept;
    assert_int_equal(store_space(r->store, &full), ERR_OK);
    assert_true(full.map_used > 800000 && full.map_used < 2000000);
    struct store_command c = {
        .kind = STORE_TOMBSTONE, .group = 1, .incarnation = 1, .added = 1};
    assert_int_equal(commit_one(r, c), ERR_OK);
    c = (struct store_command){
        .kind = STORE_SWEEP, .group = 1, .incarnation = 1, .count = 1000};
    assert_int_equal(commit_one(r, c), ERR_OK);
    assert_int_equal(r->done.sweeps_finished, 1);
    close_store(r); /* pages are counted anew at the first question */
    assert_int_equal(open_store(r), ERR_OK);
    assert_int_equal(store_space(r->store, &swept), ERR_OK);
    assert_true(swept.map_used < full.map_used - 700000);
    assert_true(swept.file_free > full.file_free + 700000);
}

/* ---- damage ------------------------------------------------------------ */

static void slurp(const struct rig *r, struct buf *out)
{
    struct stat info;
    int fd = open(r->file, O_RDONLY);
    assert_true(fd >= 0 && fstat(fd, &info) == 0);
    size_t size = (size_t)info.st_size;
    buf_clear(out);
    assert_true(read(fd, buf_grow(out, size), size) == info.st_size);
    assert_int_equal(close(fd), 0);
}

static void spill(const struct rig *r, const struct buf *in)
{
    int fd = open(r->file, O_WRONLY | O_TRUNC);
    assert_true(fd >= 0);
    assert_true(write(fd, in->data, in->size) == (ssize_t)in->size);
    assert_int_equal(close(fd), 0);
}

/* Calls `edit` on what follows each occurrence of the needle in data.mdb (old
 * versions of a page are hit as well). The store is closed. */
static void edit_file(struct rig *r, struct span needle,
                      void (*edit)(uint8_t *at))
{
    struct buf file = {0};
    slurp(r, &file);
    unsigned hits = 0;
    for (size_t i = 0; i + needle.size < file.size; i++) {
        if (memcmp(file.data + i, needle.data, needle.size) != 0)
            continue;
        edit(file.data + i + needle.size);
        hits++;
    }
    assert_int_not_equal(hits, 0);
    spill(r, &file);
    buf_free(&file);
}

static void flip_third(uint8_t *at)
{
    at[2] ^= 0x10;
}

/* In a header that was the needle: the ordinal of the key that it repeats. */
static void flip_ordinal(uint8_t *at)
{
    int ordinal = (int)STORE_LOG_KEY_BYTES - 4;
    at[ordinal - (int)STORE_PAYLOAD_HEADER_BYTES] ^= 0x10;
}

static void a_flipped_byte_of_payload_is_corrupt(void **state)
{
    struct rig *r = *state;
    make_stream(r, 4, 30000); /* one run of 120,000 bytes: two rows */
    close_store(r);
    struct store_key key = store_key_payload(1, 1, (struct position){4, 0}, 1);
    uint8_t header[STORE_PAYLOAD_HEADER_BYTES];
    store_put_payload_header(header, store_key_span(&key), 120000,
                             120000 - STORE_CHUNK_BYTES);
    edit_file(r, span_of(header, sizeof header), flip_third);
    assert_int_equal(open_store(r), ERR_OK);
    assert_int_equal(rig_dump(r->store, &r->after), ERR_OK);
    struct segments_result out;
    read_stream(r, 0, 4, &out);
    assert_int_equal(out.err, ERR_CORRUPT);
    assert_int_equal(out.bad_seq, 2); /* it lies across both rows */
    assert_int_equal(out.count, 2);
    store_segments_free(&out);
    read_stream(r, 3, 4, &out);
    assert_int_equal(out.err, ERR_OK);
    store_segments_free(&out);
    static const struct raft_term_run runs[] = {{1, 1}};
    struct log_ticket t = {.group = 1,
                           .incarnation = 1,
                           .first = 3,
                           .last = 4,
                           .bytes_max = MIB,
                           .runs = runs,
                           .run_count = 1};
    struct log_result log;
    struct store_reader *reader = store_reader_open(r->store);
    store_read_log(reader, &t, &log);
    assert_int_equal(log.err, ERR_CORRUPT);
    assert_int_equal(log.count, 1);
    store_log_free(&log);
    store_reader_close(reader);
}

static void a_payload_row_of_another_place_is_corrupt(void **state)
{
    struct rig *r = *state;
    make_stream(r, 1, 30000);
    close_store(r);
    struct store_key key = store_key_payload(1, 1, (struct position){4, 0}, 0);
    uint8_t header[STORE_PAYLOAD_HEADER_BYTES];
    store_put_payload_header(header, store_key_span(&key), 30000, 30000);
    edit_file(r, span_of(header, sizeof header), flip_ordinal);
    assert_int_equal(open_store(r), ERR_OK);
    struct segments_result out;
    read_stream(r, 0, 1, &out);
    assert_int_equal(out.err, ERR_CORRUPT);
    store_segments_free(&out);
}

/* Of the group: the rows whose payload is damaged. */
static uint32_t scrub(struct rig *r)
{
    struct store_reader *reader = store_reader_open(r->store);
    struct scrub_ticket t = {.group = 1,
                             .incarnation = 1,
                             .index = r->core.stored_index,
                             .bytes_max = UINT32_MAX};
    struct scrub_result piece;
    store_scrub(reader, &t, &piece);
    assert_int_equal(piece.err, ERR_OK);
    assert_int_equal(piece.next.phase, SCRUB_DONE);
    uint32_t count = piece.damage_count;
    store_scrub_free(&piece);
    store_reader_close(reader);
    return count;
}

/* The first row of the payload has lost its header, in the second a byte is
 * another: both are written again. */
static void damaged_rows_of_payload_are_mended(void **state)
{
    struct rig *r = *state;
    make_stream(r, 4, 30000);
    assert_int_equal(scrub(r), 0);
    struct store_reader *reader = store_reader_open(r->store);
    struct rows_ticket t = {
        .group = 1, .incarnation = 1, .index = 4, .bytes_max = MIB};
    struct rows_result rows;
    store_read_rows(reader, &t, &rows);
    assert_int_equal(rows.err, ERR_OK);
    store_reader_close(reader);
    close_store(r);
    uint8_t header[STORE_PAYLOAD_HEADER_BYTES];
    struct store_key key = store_key_payload(1, 1, (struct position){4, 0}, 1);
    store_put_payload_header(header, store_key_span(&key), 120000,
                             120000 - STORE_CHUNK_BYTES);
    edit_file(r, span_of(header, sizeof header), flip_third);
    key = store_key_payload(1, 1, (struct position){4, 0}, 0);
    store_put_payload_header(header, store_key_span(&key), 120000,
                             STORE_CHUNK_BYTES);
    edit_file(r, span_of(header, sizeof header), flip_ordinal);
    assert_int_equal(open_store(r), ERR_OK);
    assert_int_equal(scrub(r), 1); /* one row of the index names all four */
    struct rig_bytes *b = &r->bytes;
    b->bufs = mem_resize(b->bufs, (b->count + 1) * sizeof *b->bufs);
    b->bufs[b->count++] = rows.payload;
    rows.payload = (struct buf){0};
    struct store_command c = {.kind = STORE_MEND,
                              .group = 1,
                              .incarnation = 1,
                              .bytes = span_buf(&rows.rows),
                              .payload = {b->count, 0, rows.payload_bytes}};
    assert_int_equal(commit_one(r, c), ERR_OK);
    store_rows_free(&rows);
    assert_int_equal(scrub(r), 0);
    struct segments_result out;
    read_stream(r, 0, 4, &out);
    assert_int_equal(out.err, ERR_OK);
    assert_int_equal(out.count, 4);
    store_segments_free(&out);
}

static void a_flipped_byte_of_state_is_damage(void **state)
{
    struct rig *r = *state;
    make_stream(r, 1, 10);
    close_store(r);
    uint8_t row[ROW_STATE_KEY_BYTES];
    row_key(ROW_STREAM, r->core.lanes[0].stream, row);
    struct image image = {.space = ROW_STATE, .key = span_of(row, sizeof row)};
    struct store_key key;
    assert_true(store_key_image(1, 1, &image, &key));
    edit_file(r, store_key_span(&key), flip_third);
    assert_int_equal(open_store(r), ERR_OK);
    assert_int_equal(rig_dump(r->store, &r->after), ERR_DAMAGED);
}

static void a_flipped_byte_of_index_is_damage(void **state)
{
    struct rig *r = *state;
    make_stream(r, 1, 10);
    close_store(r);
    uint8_t row[RUN_KEY_BYTES];
    run_key(r->core.lanes[0].stream, 0, row);
    struct image image = {.space = ROW_INDEX, .key = span_of(row, sizeof row)};
    struct store_key key;
    assert_true(store_key_image(1, 1, &image, &key));
    edit_file(r, store_key_span(&key), flip_third);
    assert_int_equal(open_store(r), ERR_OK);
    struct segments_result out;
    read_stream(r, 0, 1, &out);
    assert_int_equal(out.err, ERR_DAMAGED);
    store_segments_free(&out);
}

static void a_flipped_byte_of_meta_is_damage(void **state)
{
    struct rig *r = *state;
    static const enum store_meta kinds[] = {STORE_META_REPLICA, STORE_META_HARD,
                                            STORE_META_APPLIED};
    close_store(r);
    for (size_t i = 0; i < 3; i++) {
        struct store_key key = store_key_meta(2, 1, kinds[i], 0);
        edit_file(r, store_key_span(&key), flip_third);
        assert_int_equal(open_store(r), ERR_DAMAGED);
        edit_file(r, store_key_span(&key), flip_third); /* and back */
        assert_int_equal(open_store(r), ERR_OK);
        close_store(r);
    }
}

static void a_flipped_byte_at_the_ends_of_a_log_is_damage(void **state)
{
    struct rig *r = *state;
    append(r, rig_noop(&r->pool, 2, 1));
    append(r, rig_noop(&r->pool, 3, 1));
    close_store(r);
    for (uint64_t index = 1; index <= 3; index++) {
        struct store_key key = store_key_log(1, 1, index);
        edit_file(r, store_key_span(&key), flip_third);
        enum err err = open_store(r);
        /* The middle is read when it is loaded. */
        if (err == ERR_OK)
            err = rig_dump(r->store, &r->after);
        assert_int_equal(err, ERR_DAMAGED);
        close_store(r);
        edit_file(r, store_key_span(&key), flip_third);
    }
    assert_int_equal(open_store(r), ERR_OK);
}

static struct store_folder_row folder_row;

/* Puts folder_row, sound as a row, in the place of what is there. */
static void put_folder_row(uint8_t *at)
{
    struct store_key key =
        store_key_meta(STORE_NODE_GROUP, 0, STORE_META_FOLDER, 0);
    uint8_t bytes[STORE_META_BYTES_MAX];
    struct enc e = enc_of(bytes, sizeof bytes);
    store_put_folder(&e, &folder_row);
    enc_u64(&e, store_row_checksum(store_key_span(&key), enc_span(&e)));
    memcpy(at, bytes, e.size);
}

static void edit_folder_row(struct rig *r)
{
    struct store_key key =
        store_key_meta(STORE_NODE_GROUP, 0, STORE_META_FOLDER, 0);
    edit_file(r, store_key_span(&key), put_folder_row);
}

static void a_newer_format_is_incompatible(void **state)
{
    struct rig *r = *state;
    close_store(r);
    folder_row = (struct store_folder_row){.format = STORE_FORMAT + 1,
                                           .replicas = RIG_PARTITIONS + 1};
    edit_folder_row(r);
    assert_int_equal(open_store(r), ERR_INCOMPATIBLE);
}

static void a_vanished_replica_is_damage(void **state)
{
    struct rig *r = *state;
    close_store(r);
    folder_row = (struct store_folder_row){.format = STORE_FORMAT,
                                           .replicas = RIG_PARTITIONS + 2};
    edit_folder_row(r);
    assert_int_equal(open_store(r), ERR_DAMAGED);
    folder_row.replicas = RIG_PARTITIONS + 1;
    folder_row.tombstones = 1;
    edit_folder_row(r);
    assert_int_equal(open_store(r), ERR_DAMAGED);
}

static void a_file_that_is_too_short_is_damage(void **state)
{
    struct rig *r = *state;
    static const off_t sizes[] = {0, 100, 4096, 8192, 5 * 4096};
    make_stream(r, 3, 100000);
    close_store(r);
    slurp(r, &r->before);
    off_t last = (off_t)r->before.size;
    assert_int_equal(truncate(r->file, last - 4096), 0);
    assert_int_equal(open_store(r), ERR_DAMAGED);
    for (size_t i = sizeof sizes / sizeof sizes[0]; i > 0; i--) {
        assert_int_equal(truncate(r->file, sizes[i - 1]), 0);
        assert_int_equal(open_store(r), ERR_DAMAGED);
    }
    spill(r, &r->before);
    assert_int_equal(open_store(r), ERR_OK);
}

/* ---- failed commits ---------------------------------------------------- */

static void assert_failed_for_good(struct rig *r)
{
    struct item *small = rig_noop(&r->pool, r->core.last + 1, 1);
    assert_int_equal(commit_one(r, append_of(small)), ERR_IO);
    close_store(r);
    r->cfg.map_bytes = MAP_BYTES_TEST;
    assert_int_equal(open_store(r), ERR_OK);
    assert_int_equal(rig_dump(r->store, &r->after), ERR_OK);
    assert_true(span_equal(span_buf(&r->before), span_buf(&r->after)));
    append(r, small);
}

static void a_commit_that_the_disk_refuses_changes_nothing(void **state)
{
    struct rig *r = *state;
    struct stat file;
    struct rlimit limit, was;
    make_stream(r, 1, 10);
    assert_int_equal(rig_dump(r->store, &r->before), ERR_OK);
    assert_int_equal(stat(r->file, &file), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    limit = was;
    limit.rlim_cur = (rlim_t)file.st_size;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    struct item *large = segments(r, 1, 1000000);
    enum err err = commit_one(r, append_of(large));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    (void)signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(err, ERR_IO);
    item_unref(&r->pool, large);
    assert_failed_for_good(r);
}

static void a_commit_that_fills_the_map_changes_nothing(void **state)
{
    struct rig *r = *state;
    make_stream(r, 1, 10);
    assert_int_equal(rig_dump(r->store, &r->before), ERR_OK);
    close_store(r);
    r->cfg.map_bytes = MIB;
    assert_int_equal(open_store(r), ERR_OK);
    struct item *large = segments(r, 1, 1000000);
    assert_int_equal(commit_one(r, append_of(large)), ERR_IO);
    item_unref(&r->pool, large);
    assert_failed_for_good(r);
}

/* ---- kill -9 ----------------------------------------------------------- */

/* In the child: commits for ever, and says each that is durable. */
static void commit_for_ever(struct rig *r, uint64_t last, int to_parent)
{
    if (open_store(r) != ERR_OK)
        _exit(1);
    for (;;) {
        struct store_command c = append_of(rig_noop(&r->pool, ++last, 1));
        if (commit_one(r, c) != ERR_OK ||
            write(to_parent, &last, sizeof last) != (ssize_t)sizeof last)
            _exit(1);
        item_unref(&r->pool, (struct item *)c.item);
    }
}

/* The last index that the child has acknowledged. */
static uint64_t kill_after(struct rig *r, uint64_t last, int acks)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        commit_for_ever(r, last, ends[1]);
    assert_int_equal(close(ends[1]), 0);
    uint64_t acknowledged = last;
    while (read(ends[0], &last, sizeof last) == (ssize_t)sizeof last) {
        acknowledged = last;
        if (--acks == 0)
            assert_int_equal(kill(child, SIGKILL), 0);
    }
    int status;
    assert_true(waitpid(child, &status, 0) == child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(close(ends[0]), 0);
    return acknowledged;
}

static enum err note_last(void *ctx, const struct store_replica *replica)
{
    if (replica->group == 1)
        *(uint64_t *)ctx = replica->raft.last_index;
    return ERR_OK;
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
static enum err skip_row(void *ctx, uint32_t group, struct span key,
                         struct span value)
{
    (void)ctx, (void)group, (void)key, (void)value;
    return ERR_OK;
}
static enum err skip_entry(void *ctx, uint32_t group, struct span manifest)
{
    (void)ctx, (void)group, (void)manifest;
    return ERR_OK;
}

static void what_was_acknowledged_survives_kill_9(void **state)
{
    struct rig *r = *state;
    uint64_t last = 1;
    close_store(r);
    for (int round = 0; round < 8; round++) {
        uint64_t acknowledged = kill_after(r, last, 1 + round * 7);
        assert_int_equal(open_store(r), ERR_OK);
        struct store_visitor v = {&last,    skip_folder, skip_record, note_last,
                                  skip_row, skip_entry,  NULL,        NULL};
        assert_int_equal(store_load(r->store, &v), ERR_OK);
        assert_true(last == acknowledged || last == acknowledged + 1);
        close_store(r);
    }
    assert_true(last > 150);
}

/* ---- readers beside the writer ----------------------------------------- */

struct reading {
    struct rig *rig;
    atomic_bool is_over;
    unsigned reads, failures;
};

static void *read_for_long(void *arg)
{
    struct reading *reading = arg;
    struct store_reader *reader = store_reader_open(reading->rig->store);
    struct segments_ticket t = {.group = 1,
                                .incarnation = 1,
                                .stream = reading->rig->core.lanes[0].stream,
                                .end_seq = 5,
                                .count_max = 100,
                                .bytes_max = READ_BYTES_MAX};
    while (!atomic_load(&reading->is_over)) {
        struct segments_result out;
        store_read_segments(reader, &t, &out);
        reading->failures += out.err != ERR_OK || out.count != 5;
        reading->reads++;
        store_segments_free(&out);
    }
    store_reader_close(reader);
    return NULL;
}

static void readers_see_whole_commits_beside_the_writer(void **state)
{
    struct rig *r = *state;
    make_stream(r, 5, 20000);
    struct reading reading = {.rig = r};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, read_for_long, &reading), 0);
    for (int i = 0; i < 200; i++) {
        struct item *item = segments(r, 3, 5000);
        append(r, item);
        rig_core_apply(&r->core, r->core.last);
        struct store_command c = rig_core_portion(&r->core, 1, 1, r->core.last);
        assert_int_equal(commit_one(r, c), ERR_OK);
    }
    atomic_store(&reading.is_over, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(reading.failures, 0);
    assert_int_not_equal(reading.reads, 0);
}

#define FOLDER(f)  cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define FOUNDED(f) cmocka_unit_test_setup_teardown(f, set_up_founded, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER(an_empty_folder_has_no_store),
        FOLDER(a_folder_made_by_join_holds_ids_only),
        FOLDER(a_founding_that_fails_leaves_nothing),
        FOUNDED(a_store_is_founded_once),
        FOUNDED(a_store_is_opened_once_in_a_process),
        FOUNDED(the_files_are_the_owners_alone),
        FOUNDED(free_pages_do_not_count_as_used),
        FOUNDED(a_flipped_byte_of_payload_is_corrupt),
        FOUNDED(a_payload_row_of_another_place_is_corrupt),
        FOUNDED(damaged_rows_of_payload_are_mended),
        FOUNDED(a_flipped_byte_of_state_is_damage),
        FOUNDED(a_flipped_byte_of_index_is_damage),
        FOUNDED(a_flipped_byte_of_meta_is_damage),
        FOUNDED(a_flipped_byte_at_the_ends_of_a_log_is_damage),
        FOUNDED(a_newer_format_is_incompatible),
        FOUNDED(a_vanished_replica_is_damage),
        FOUNDED(a_file_that_is_too_short_is_damage),
        FOUNDED(a_commit_that_the_disk_refuses_changes_nothing),
        FOUNDED(a_commit_that_fills_the_map_changes_nothing),
        FOUNDED(what_was_acknowledged_survives_kill_9),
        FOUNDED(readers_see_whole_commits_beside_the_writer),
    };
    return cmocka_run_group_tests_name("store_lmdb", tests, NULL, NULL) != 0;
}
