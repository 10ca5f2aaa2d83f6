/* test_store_twins.c - the two stores side by side: random batches go to both,
 * and both must answer, load and read alike. */
#include "tests/unit/cmocka_wrap.h"

#include <stdio.h>

#include "tests/unit/store_rig.h"

#define GROUPS    (RIG_PARTITIONS + 1u)
#define BATCH_MAX 24u
#define RUNS      6u
#define ROUNDS    60u

/* The core's view of one group, whatever the stores think. */
struct group {
    struct rig_core core;
    bool is_live;
    uint32_t incarnation;
    uint64_t added;
    uint64_t term;
    uint64_t base;
};

struct twins {
    struct rng rng;
    char path[RIG_PATH_BYTES];
    struct rig_bytes bytes;
    struct item_pool pool;
    struct store *model, *lmdb;
    struct store_reader *model_reader, *lmdb_reader;
    uint64_t model_txn, lmdb_txn;
    struct group groups[GROUPS];
    uint64_t cycle, boot;
    /* The batch that is being made; each portion's spans are its own. */
    struct store_command batch[BATCH_MAX];
    size_t count;
    struct span *portions[BATCH_MAX];
    struct buf texts[2];
};

static void open_lmdb(struct twins *t)
{
    struct store_lmdb_cfg cfg = rig_cfg(t->path, &t->bytes);
    assert_int_equal(store_lmdb_open(&cfg, &t->lmdb), ERR_OK);
    t->lmdb_reader = store_reader_open(t->lmdb);
    t->lmdb_txn = 0;
}

static void close_lmdb(struct twins *t)
{
    store_reader_close(t->lmdb_reader);
    store_close(t->lmdb);
}

/* LMDB's file is opened anew; of the model, a copy goes on. */
static void reopen_both(struct twins *t)
{
    close_lmdb(t);
    open_lmdb(t);
    struct store *old = t->model;
    store_reader_close(t->model_reader);
    t->model = store_model_copy(old, &t->bytes);
    t->model_reader = store_reader_open(t->model);
    store_close(old);
}

static struct twins *twins_new(uint64_t seed)
{
    struct twins *t = mem_alloc(sizeof *t);
    struct store_founding f = rig_founding(RIG_PARTITIONS);
    rng_seed(&t->rng, seed);
    rig_folder(t->path);
    struct store_lmdb_cfg cfg = rig_cfg(t->path, &t->bytes);
    assert_int_equal(store_lmdb_found(&cfg, &f), ERR_OK);
    open_lmdb(t);
    t->model = store_model_new(&f, rig_resolve, &t->bytes);
    t->model_reader = store_reader_open(t->model);
    for (uint32_t g = 0; g < GROUPS; g++) {
        t->groups[g] = (struct group){
            .is_live = true, .incarnation = 1, .added = 1, .term = 1};
        rig_core_init(&t->groups[g].core, true);
    }
    return t;
}

static void twins_free(struct twins *t)
{
    close_lmdb(t);
    store_reader_close(t->model_reader);
    store_close(t->model);
    for (uint32_t g = 0; g < GROUPS; g++)
        rig_core_free(&t->groups[g].core, &t->pool);
    assert_int_equal(t->pool.live, 0);
    item_pool_free(&t->pool);
    rig_bytes_free(&t->bytes);
    buf_free(&t->texts[0]);
    buf_free(&t->texts[1]);
    rig_folder_remove(t->path);
    mem_free(t);
}

/* ---- comparing --------------------------------------------------------- */

static void assert_same_load(struct twins *t)
{
    enum err a = rig_dump(t->model, &t->texts[0]);
    enum err b = rig_dump(t->lmdb, &t->texts[1]);
    assert_int_equal(a, ERR_OK);
    assert_int_equal(b, ERR_OK);
    assert_true(span_equal(span_buf(&t->texts[0]), span_buf(&t->texts[1])));
}

static void assert_same_segments(struct twins *t, struct segments_ticket ticket)
{
    struct segments_result a, b;
    ticket.least_txn = t->model_txn;
    store_read_segments(t->model_reader, &ticket, &a);
    ticket.least_txn = t->lmdb_txn;
    store_read_segments(t->lmdb_reader, &ticket, &b);
    assert_int_equal(a.err, b.err);
    assert_int_equal(a.count, b.count);
    assert_true(a.bad_seq == b.bad_seq);
    for (uint32_t i = 0; i < a.count; i++) {
        const struct segment_meta *x = &a.metas[i], *y = &b.metas[i];
        assert_true(x->seq == ticket.from_seq + i && x->seq == y->seq);
        assert_true(x->checksum.lo == y->checksum.lo && x->size == y->size &&
                    x->time_ms == y->time_ms && x->key_hash == y->key_hash &&
                    x->attributes_at == y->attributes_at &&
                    x->attributes_size == y->attributes_size);
    }
    assert_true(span_equal(span_buf(&a.payload), span_buf(&b.payload)));
    assert_true(span_equal(span_buf(&a.attributes), span_buf(&b.attributes)));
    store_segments_free(&a);
    store_segments_free(&b);
}

static void read_some_segments(struct twins *t, const struct group *g,
                               uint32_t group)
{
    if (g->core.lane_count == 0)
        return;
    const struct rig_lane *lane =
        &g->core.lanes[rng_below(&t->rng, g->core.lane_count)];
    struct segments_ticket ticket = {
        .group = group,
        .incarnation = g->incarnation,
        .stream = lane->stream,
        .from_seq = rng_below(&t->rng, lane->next_number + 2),
        .count_max = 1 + (uint32_t)rng_below(&t->rng, 50),
        .bytes_max = (uint32_t)rng_below(&t->rng, 400000),
    };
    ticket.end_seq = ticket.from_seq + rng_below(&t->rng, 60);
    if (rng_chance(&t->rng, 700))
        rig_core_memory(&g->core, &ticket.rows);
    assert_same_segments(t, ticket);
    buf_free(&ticket.rows);
}

static void read_some_log(struct twins *t, const struct group *g,
                          uint32_t group)
{
    struct raft_term_run runs[] = {{1, 1}, {2, g->term}};
    struct log_ticket ticket = {
        .group = group,
        .incarnation = g->incarnation,
        .first = 1 + rng_below(&t->rng, g->core.last + 1),
        .bytes_max = (uint32_t)rng_below(&t->rng, 600000),
        .runs = runs,
        .run_count = 2,
    };
    ticket.last = ticket.first + rng_below(&t->rng, 5);
    if (ticket.first <= g->core.last && ticket.first > 1)
        runs[1].term = g->core.applied[ticket.first - 1].term;
    struct log_result a, b;
    ticket.least_txn = t->model_txn;
    store_read_log(t->model_reader, &ticket, &a);
    ticket.least_txn = t->lmdb_txn;
    store_read_log(t->lmdb_reader, &ticket, &b);
    assert_int_equal(a.err, b.err);
    assert_int_equal(a.count, b.count);
    assert_true(span_equal(span_buf(&a.manifests), span_buf(&b.manifests)));
    assert_true(span_equal(span_buf(&a.payload), span_buf(&b.payload)));
    if (a.count > 0)
        assert_memory_equal(a.entries, b.entries, a.count * sizeof *a.entries);
    store_log_free(&a);
    store_log_free(&b);
}

/* What another replica would be installed from. */
static void read_some_rows(struct twins *t, const struct group *g,
                           uint32_t group)
{
    struct rows_ticket ticket = {
        .group = group,
        .incarnation = g->incarnation,
        .from = {.seq = rng_below(&t->rng, 20)},
        .index = rng_below(&t->rng, g->core.stored_index + 2),
        .bytes_max = (uint32_t)rng_below(&t->rng, 400000),
    };
    if (g->core.lane_count > 0)
        ticket.from.stream =
            g->core.lanes[rng_below(&t->rng, g->core.lane_count)].stream;
    struct rows_result a, b;
    store_read_rows(t->model_reader, &ticket, &a);
    store_read_rows(t->lmdb_reader, &ticket, &b);
    assert_int_equal(a.err, b.err);
    assert_int_equal(a.count, b.count);
    assert_true(span_equal(span_buf(&a.rows), span_buf(&b.rows)));
    assert_true(span_equal(span_buf(&a.payload), span_buf(&b.payload)));
    store_rows_free(&a);
    store_rows_free(&b);
}

static void scrub_some(struct twins *t, const struct group *g, uint32_t group)
{
    struct scrub_ticket ticket = {
        .group = group,
        .incarnation = g->incarnation,
        .from = {.phase = (enum scrub_phase)rng_below(&t->rng, 4),
                 .index = rng_below(&t->rng, 20),
                 .row = {.seq = rng_below(&t->rng, 20)}},
        .index = rng_below(&t->rng, g->core.stored_index + 2),
        .bytes_max = (uint32_t)rng_below(&t->rng, 400000),
    };
    if (g->core.lane_count > 0)
        ticket.from.row.stream =
            g->core.lanes[rng_below(&t->rng, g->core.lane_count)].stream;
    struct scrub_result a, b;
    store_scrub(t->model_reader, &ticket, &a);
    store_scrub(t->lmdb_reader, &ticket, &b);
    assert_true(a.err == ERR_OK || a.err == ERR_NOT_FOUND);
    assert_int_equal(a.err, b.err);
    assert_int_equal(a.next.phase, b.next.phase);
    assert_true(a.next.index == b.next.index &&
                a.next.row.seq == b.next.row.seq &&
                position_equal(a.next.row.stream, b.next.row.stream));
    assert_true(
        a.sums.digest.lo == b.sums.digest.lo &&
        a.sums.digest.hi == b.sums.digest.hi && a.sums.rows == b.sums.rows &&
        a.sums.segments == b.sums.segments && a.sums.bytes == b.sums.bytes);
    assert_int_equal(a.damage_count, b.damage_count);
    for (uint32_t i = 0; i < a.damage_count; i++)
        assert_true(a.damages[i].first_seq == b.damages[i].first_seq &&
                    a.damages[i].bad_seq == b.damages[i].bad_seq &&
                    a.damages[i].bad_count == b.damages[i].bad_count);
    store_scrub_free(&a);
    store_scrub_free(&b);
}

static void read_the_blob(struct twins *t, const struct group *g,
                          uint32_t group)
{
    struct blob_ticket ticket = {.group = group, .incarnation = g->incarnation};
    struct blob_result a, b;
    store_read_blob(t->model_reader, &ticket, &a);
    store_read_blob(t->lmdb_reader, &ticket, &b);
    assert_int_equal(a.err, b.err);
    if (a.err == ERR_OK)
        assert_true(a.index == b.index && a.term == b.term &&
                    a.digest.lo == b.digest.lo && a.digest.hi == b.digest.hi &&
                    epoch_compare(a.epoch, b.epoch) == 0 &&
                    config_equal(&a.config, &b.config));
    assert_true(span_equal(span_buf(&a.images), span_buf(&b.images)));
    store_blob_free(&a);
    store_blob_free(&b);
}

/* ---- batches ----------------------------------------------------------- */

static struct store_command *add(struct twins *t, struct store_command c)
{
    if (t->count == BATCH_MAX)
        return NULL;
    t->batch[t->count] = c;
    return &t->batch[t->count++];
}

static enum err commit(struct twins *t)
{
    struct store_batch batch = {++t->cycle, t->batch, t->count};
    struct store_done a, b;
    enum err model = store_commit(t->model, &batch, &a);
    enum err lmdb = store_commit(t->lmdb, &batch, &b);
    assert_int_equal(model, lmdb);
    assert_true(a.cycle == t->cycle && b.cycle == t->cycle);
    if (model == ERR_OK) {
        t->model_txn = a.txn;
        t->lmdb_txn = b.txn;
    }
    for (size_t i = 0; i < t->count; i++) {
        mem_free(t->portions[i]);
        t->portions[i] = NULL;
    }
    t->count = 0;
    return model;
}

static uint32_t random_size(struct twins *t)
{
    static const uint32_t bounds[] = {4, 200, 2000, 70000, 140000};
    return (uint32_t)rng_below(&t->rng, bounds[rng_below(&t->rng, 5)]);
}

/* Commands in the order that chance wants: a run breaks where the stream
 * changes, numbers are now and then wrong (a refusal), streams are new. */
static struct item *random_commands(struct twins *t, struct group *g)
{
    struct rig_script s;
    struct rig_core *c = &g->core;
    rig_script_begin(&s, rng_next(&t->rng));
    uint64_t ahead[64] = {0};
    char name[32];
    (void)snprintf(name, sizeof name, "s%u", (unsigned)rng_below(&t->rng, 12));
    if (c->lane_count == 0 || rng_chance(&t->rng, 200))
        (void)rig_script_create(&s, name);
    for (uint64_t n = rng_below(&t->rng, 20); n > 0 && c->lane_count > 0; n--) {
        size_t i = (size_t)rng_below(&t->rng, c->lane_count);
        const struct rig_lane *lane = &c->lanes[i];
        if (lane->producer.index == 0 || rng_chance(&t->rng, 30)) {
            (void)rig_script_open(&s, lane->stream, "p");
            continue;
        }
        uint32_t size = random_size(t);
        for (uint64_t k = 1 + rng_below(&t->rng, 4); k > 0; k--) {
            bool is_wrong = rng_chance(&t->rng, 60);
            if (!rig_script_append(&s, lane, ahead[i] + is_wrong * 7u, size))
                break;
            ahead[i] += !is_wrong;
        }
    }
    if (s.builder.header.command_count == 0)
        (void)rig_script_create(&s, name);
    return rig_script_end(&s, &t->pool, &t->bytes, c->last + 1, g->term);
}

static void add_append(struct twins *t, struct group *g, uint32_t group)
{
    uint64_t index = g->core.last + 1;
    struct item *item = NULL;
    if (rng_chance(&t->rng, 100))
        item = rig_noop(&t->pool, index, g->term);
    else if (rng_chance(&t->rng, 60))
        item = rig_config(&t->pool, index, g->term,
                          1 + (uint32_t)rng_below(&t->rng, 5));
    else
        item = random_commands(t, g);
    struct store_command c = {.kind = STORE_APPEND,
                              .group = group,
                              .incarnation = g->incarnation,
                              .item = item};
    if (add(t, c) != NULL)
        rig_core_append(&g->core, item);
    else
        item_unref(&t->pool, item);
}

static void add_truncate(struct twins *t, struct group *g, uint32_t group)
{
    struct rig_core *c = &g->core;
    if (c->last == c->applied_index)
        return;
    uint64_t index =
        c->applied_index + 1 + rng_below(&t->rng, c->last - c->applied_index);
    struct store_command command = {.kind = STORE_TRUNCATE,
                                    .group = group,
                                    .incarnation = g->incarnation,
                                    .index = index};
    /* Items that this batch appends must outlive it: truncate alone. */
    if (t->count > 0 || add(t, command) == NULL)
        return;
    assert_int_equal(commit(t), ERR_OK);
    rig_core_truncate(c, &t->pool, index);
    g->term++;
}

static void add_portion(struct twins *t, struct group *g, uint32_t group)
{
    struct rig_core *c = &g->core;
    if (t->count == BATCH_MAX || c->stored_index == c->applied_index)
        return;
    uint64_t to = c->stored_index + 1 +
                  rng_below(&t->rng, c->applied_index - c->stored_index);
    struct store_command command =
        rig_core_portion(c, group, g->incarnation, to);
    t->portions[t->count] = c->portion; /* ours until the commit has ended */
    c->portion = NULL;
    (void)add(t, command);
}

static void add_cut(struct twins *t, struct group *g, uint32_t group)
{
    uint64_t stored = g->core.stored_index;
    if (t->count == BATCH_MAX || stored <= g->base)
        return;
    g->base += 1 + rng_below(&t->rng, stored - g->base);
    (void)add(t, (struct store_command){.kind = STORE_CUT,
                                        .group = group,
                                        .incarnation = g->incarnation,
                                        .index = g->base});
}

static void add_hard(struct twins *t, struct group *g, uint32_t group)
{
    struct store_command c = {
        .kind = STORE_HARD, .group = group, .incarnation = g->incarnation};
    if (rng_chance(&t->rng, 500))
        g->term++;
    c.hard.term = g->term;
    c.hard.vote.added = rng_below(&t->rng, 9);
    c.hard.vote.node.bytes[0] = (uint8_t)rng_next(&t->rng);
    (void)add(t, c);
}

/* Drops the replica and makes a new one, at once or some rounds later. */
static void turn_over(struct twins *t, struct group *g, uint32_t group)
{
    struct store_command c = {.kind = STORE_TOMBSTONE,
                              .group = group,
                              .incarnation = g->incarnation,
                              .added = g->added};
    if (!g->is_live) {
        c.kind = STORE_CREATE;
        c.incarnation = ++g->incarnation;
        c.added = ++g->added;
        c.generation.counter = (uint32_t)rng_below(&t->rng, 5);
    } else if (rng_chance(&t->rng, 900)) {
        return;
    }
    if (t->count > 0)
        assert_int_equal(commit(t), ERR_OK);
    (void)add(t, c);
    assert_int_equal(commit(t), ERR_OK);
    g->is_live = !g->is_live;
    if (g->is_live)
        return;
    rig_core_free(&g->core, &t->pool);
    rig_core_init(&g->core, false);
    g->base = 0;
}

static void add_sweep(struct twins *t, const struct group *g, uint32_t group)
{
    uint32_t dead = g->is_live ? g->incarnation - 1 : g->incarnation;
    (void)add(t, (struct store_command){
                     .kind = STORE_SWEEP,
                     .group = group,
                     .incarnation = dead,
                     .count = 1 + (uint32_t)rng_below(&t->rng, 30)});
}

/* Rows as they are, mended with their own bytes, or with others: that is
 * damage, which both must see alike. */
static void mend_some(struct twins *t, const struct group *g, uint32_t group)
{
    struct rows_ticket ticket = {
        .group = group,
        .incarnation = g->incarnation,
        .from = {.seq = rng_below(&t->rng, 20)},
        .index = g->core.stored_index,
        .bytes_max = (uint32_t)rng_below(&t->rng, 400000),
    };
    if (g->core.lane_count > 0)
        ticket.from.stream =
            g->core.lanes[rng_below(&t->rng, g->core.lane_count)].stream;
    struct rows_result rows;
    store_read_rows(t->model_reader, &ticket, &rows);
    if (rows.err == ERR_OK && rows.payload_bytes > 0) {
        struct rig_bytes *b = &t->bytes;
        if (rng_chance(&t->rng, 500))
            rows.payload.data[rng_below(&t->rng, rows.payload.size)] ^= 1;
        b->bufs = mem_resize(b->bufs, (b->count + 1) * sizeof *b->bufs);
        b->bufs[b->count] = rows.payload;
        rows.payload = (struct buf){0};
        b->count++;
        struct store_command c = {.kind = STORE_MEND,
                                  .group = group,
                                  .incarnation = g->incarnation,
                                  .bytes = span_buf(&rows.rows),
                                  .payload = {b->count, 0, rows.payload_bytes}};
        (void)add(t, c);
        assert_int_equal(commit(t), ERR_OK);
    }
    store_rows_free(&rows);
}

static void add_node_command(struct twins *t)
{
    if (rng_chance(&t->rng, 500))
        (void)add(
            t, (struct store_command){.kind = STORE_BOOT, .number = ++t->boot});
    else
        (void)add(
            t,
            (struct store_command){
                .kind = rng_chance(&t->rng, 500) ? STORE_RECORD : STORE_BOOTS,
                .bytes = span_of("abcdefghijkl", 1 + rng_below(&t->rng, 12))});
}

static void add_something(struct twins *t)
{
    uint32_t group = (uint32_t)rng_below(&t->rng, GROUPS);
    struct group *g = &t->groups[group];
    uint64_t what = rng_below(&t->rng, 100);
    /* Group 0 keeps its one row of another kind. */
    bool has_streams = g->is_live && group != 0;
    if (what < 45 && has_streams)
        add_append(t, g, group);
    else if (what < 60 && has_streams)
        add_portion(t, g, group);
    else if (what < 65 && has_streams)
        add_truncate(t, g, group);
    else if (what < 75 && g->is_live)
        add_hard(t, g, group);
    else if (what < 80 && group != 0)
        turn_over(t, g, group);
    else if (what < 85)
        add_sweep(t, g, group);
    else if (what < 90)
        add_node_command(t);
    else if (what < 94 && has_streams)
        add_cut(t, g, group);
}

/* After a commit: what is in the log may be applied. */
static void apply_some(struct twins *t)
{
    for (uint32_t i = 1; i < GROUPS; i++) {
        struct rig_core *c = &t->groups[i].core;
        if (rng_chance(&t->rng, 600))
            rig_core_apply(
                c, c->applied_index +
                       rng_below(&t->rng, c->last - c->applied_index + 1));
    }
}

/* A batch whose last command does not fit: neither may change. */
static void try_what_does_not_fit(struct twins *t)
{
    uint32_t group = 1 + (uint32_t)rng_below(&t->rng, GROUPS - 1);
    struct group *g = &t->groups[group];
    add_hard(t, &(struct group){.incarnation = 1, .term = 99}, 0);
    struct store_command c = {.group = group, .incarnation = g->incarnation};
    static const enum store_kind kinds[] = {STORE_TRUNCATE, STORE_PORTION,
                                            STORE_CREATE, STORE_BOOT};
    c.kind = kinds[rng_below(&t->rng, 4)];
    c.index = g->core.last + 1;
    c.index_to = g->core.last + 2;
    c.added = g->added;
    (void)add(t, c);
    assert_int_equal(commit(t), ERR_DAMAGED);
}

static void play(uint64_t seed)
{
    struct twins *t = twins_new(seed);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (uint64_t n = rng_below(&t->rng, BATCH_MAX); n > 0; n--)
            add_something(t);
        assert_int_equal(commit(t), ERR_OK);
        apply_some(t);
        if (rng_chance(&t->rng, 200))
            try_what_does_not_fit(t);
        if (rng_chance(&t->rng, 100))
            reopen_both(t);
        for (uint32_t i = 0; i < GROUPS; i++) {
            read_some_segments(t, &t->groups[i], i);
            read_the_blob(t, &t->groups[i], i);
            if (!t->groups[i].is_live)
                continue;
            read_some_log(t, &t->groups[i], i);
            read_some_rows(t, &t->groups[i], i);
            scrub_some(t, &t->groups[i], i);
            if (i > 0 && rng_chance(&t->rng, 100))
                mend_some(t, &t->groups[i], i);
        }
        if (round % 4 == 0 || round + 1 == ROUNDS)
            assert_same_load(t);
    }
    twins_free(t);
}

static void both_stores_answer_alike(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= RUNS; seed++) {
        print_message("seed %u\n", (unsigned)seed);
        play(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_stores_answer_alike),
    };
    return cmocka_run_group_tests_name("store_twins", tests, NULL, NULL) != 0;
}
