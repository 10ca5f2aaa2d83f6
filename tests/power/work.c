/* work.c - see work.h. */
#include "tests/power/work.h"

#include <stdio.h>
#include <unistd.h>

#define EXIT_FAILED_COMMIT 74
#define EXIT_LOST          3
#define INSTALL_BYTES      30000u

bool work_mark_of(const struct tape_event *e, struct work_mark *out)
{
    if (e->kind != TAPE_MARK || e->size != sizeof *out)
        return false;
    memcpy(out, e->bytes, sizeof *out);
    return true;
}

/* ---- life of the work -------------------------------------------------- */

static void print_model(struct work *w)
{
    const char *place;
    enum err err = audit_fingerprint(w->model, &w->print, &place);
    ASSERT(err == ERR_OK);
}

struct work *work_new(uint64_t seed)
{
    struct work *w = mem_alloc(sizeof *w);
    struct store_founding f = rig_founding(WORK_PARTITIONS);
    w->seed = seed;
    w->model = store_model_new(&f, rig_resolve, &w->bytes);
    w->batch.commands = w->commands;
    for (uint32_t g = 0; g < WORK_GROUPS; g++) {
        w->groups[g] = (struct work_group){.state = WORK_LIVE,
                                           .incarnation = 1,
                                           .added = 1,
                                           .term = 1,
                                           .base = 1};
        rig_core_init(&w->groups[g].core, true);
    }
    print_model(w);
    return w;
}

void work_free(struct work *w)
{
    store_close(w->model);
    store_blob_free(&w->install.blob);
    store_rows_free(&w->install.rows);
    for (uint32_t g = 0; g < WORK_GROUPS; g++)
        rig_core_free(&w->groups[g].core, &w->pool);
    item_pool_free(&w->pool);
    rig_bytes_free(&w->bytes);
    buf_free(&w->record);
    buf_free(&w->boots);
    mem_free(w);
}

struct store_lmdb_cfg work_cfg(const char *folder, struct work *w)
{
    return rig_cfg(folder, &w->bytes);
}

/* ---- commands ---------------------------------------------------------- */

static uint32_t draw_group(struct work *w)
{
    return 1 + (uint32_t)rng_below(&w->chance, WORK_PARTITIONS);
}

/* For a slice of it. */
static uint64_t keep_bytes(struct rig_bytes *b, struct span s)
{
    b->bufs = mem_resize(b->bufs, (b->count + 1) * sizeof *b->bufs);
    b->bufs[b->count] = (struct buf){0};
    buf_append(&b->bufs[b->count], s.data, s.size);
    return ++b->count;
}

static struct store_command *add(struct work *w, enum store_kind kind,
                                 uint32_t group)
{
    ASSERT(w->batch.count < WORK_BATCH_MAX);
    struct store_command *c = &w->commands[w->batch.count++];
    *c = (struct store_command){.kind = kind, .group = group};
    if (group < WORK_GROUPS)
        c->incarnation = w->groups[group].incarnation;
    return c;
}

static void add_boot(struct work *w)
{
    add(w, STORE_BOOT, WORK_GROUPS)->number = ++w->boot;
}

/* The ring record, and which boots of its peers the node has seen: bytes of
 * chance, out of `bytes`. */
static void add_bytes(struct work *w, enum store_kind kind, struct buf *bytes)
{
    size_t size = 1 + (size_t)rng_below(&w->chance, 9000);
    buf_clear(bytes);
    for (size_t i = 0; i < size; i++)
        *buf_grow(bytes, 1) = (uint8_t)rng_next(&w->chance);
    add(w, kind, WORK_GROUPS)->bytes = span_buf(bytes);
}

static void add_hard(struct work *w, uint32_t group)
{
    struct work_group *g = &w->groups[group];
    struct store_command *c = add(w, STORE_HARD, group);
    g->term += rng_below(&w->chance, 2);
    c->hard.term = g->term;
    c->hard.vote.added = rng_below(&w->chance, 9);
    c->hard.vote.node.bytes[0] = (uint8_t)rng_next(&w->chance);
}

/* A new leader's log overrules what was not committed. */
static void add_truncate(struct work *w, uint32_t group)
{
    struct work_group *g = &w->groups[group];
    struct rig_core *core = &g->core;
    if (core->last == core->applied_index)
        return;
    uint64_t index = core->applied_index + 1 +
                     rng_below(&w->chance, core->last - core->applied_index);
    add(w, STORE_TRUNCATE, group)->index = index;
    rig_core_truncate(core, &w->pool, index);
    g->term++;
}

static uint32_t draw_size(struct work *w)
{
    static const uint32_t bounds[] = {4, 200, 2000, 4000, 70000, 140000};
    static const uint32_t share[] = {300, 600, 850, 960, 990, 1000};
    uint64_t die = rng_below(&w->chance, 1000);
    size_t i = 0;
    while (die >= share[i])
        i++;
    return (uint32_t)rng_below(&w->chance, bounds[i]);
}

static struct item *draw_commands(struct work *w, struct work_group *g)
{
    struct rig_core *core = &g->core;
    struct rig_script s;
    uint64_t ahead[64] = {0};
    char name[32];
    rig_script_begin(&s, rng_next(&w->chance));
    (void)snprintf(name, sizeof name, "s%u",
                   (unsigned)rng_below(&w->chance, 12));
    if (core->lane_count == 0 || rng_chance(&w->chance, 150))
        (void)rig_script_create(&s, name);
    for (uint64_t n = rng_below(&w->chance, 8); n > 0; n--) {
        if (core->lane_count == 0)
            break;
        size_t i = (size_t)rng_below(&w->chance, core->lane_count);
        const struct rig_lane *lane = &core->lanes[i];
        if (lane->producer.index == 0) {
            (void)rig_script_open(&s, lane->stream, "p");
            continue;
        }
        uint32_t size = draw_size(w);
        for (uint64_t k = 1 + rng_below(&w->chance, 3); k > 0; k--)
            ahead[i] += rig_script_append(&s, lane, ahead[i], size);
    }
    if (s.builder.header.command_count == 0)
        (void)rig_script_create(&s, name);
    return rig_script_end(&s, &w->pool, &w->bytes, core->last + 1, g->term);
}

static void add_append(struct work *w, uint32_t group)
{
    struct work_group *g = &w->groups[group];
    uint64_t index = g->core.last + 1, die = rng_below(&w->chance, 100);
    struct item *item = NULL;
    if (die < 8)
        item = rig_noop(&w->pool, index, g->term);
    else if (die < 12)
        item = rig_config(&w->pool, index, g->term,
                          1 + (uint32_t)rng_below(&w->chance, 5));
    else
        item = draw_commands(w, g);
    add(w, STORE_APPEND, group)->item = item;
    rig_core_append(&g->core, item);
}

static void add_portion(struct work *w, uint32_t group)
{
    struct work_group *g = &w->groups[group];
    struct rig_core *core = &g->core;
    if (core->stored_index == core->applied_index)
        return;
    uint64_t to =
        core->stored_index + 1 +
        rng_below(&w->chance, core->applied_index - core->stored_index);
    *add(w, STORE_PORTION, group) =
        rig_core_portion(core, group, g->incarnation, to);
}

/* Behind an entry that is stored as applied (T24). */
static void add_cut(struct work *w, uint32_t group)
{
    struct work_group *g = &w->groups[group];
    uint64_t stored = g->core.stored_index;
    if (stored <= g->base)
        return;
    g->base += 1 + rng_below(&w->chance, stored - g->base);
    add(w, STORE_CUT, group)->index = g->base;
}

static struct store_command *add_create(struct work *w, uint32_t group)
{
    w->groups[group].incarnation++;
    struct store_command *c = add(w, STORE_CREATE, group);
    c->added = ++w->groups[group].added;
    return c;
}

static void add_tombstone(struct work *w, uint32_t group)
{
    struct work_group *g = &w->groups[group];
    add(w, STORE_TOMBSTONE, group)->added = g->added;
    g->state = WORK_GONE;
    if (w->install.group == group)
        w->install.group = 0;
}

/* Drops the replica, or makes the next one of this group. */
static void add_turn_over(struct work *w, uint32_t group)
{
    struct work_group *g = &w->groups[group];
    if (g->state != WORK_GONE) {
        add_tombstone(w, group);
        return;
    }
    (void)add_create(w, group);
    rig_core_free(&g->core, &w->pool);
    rig_core_init(&g->core, false);
    g->base = 0;
    g->state = WORK_LIVE;
}

static void add_sweep(struct work *w, uint32_t group)
{
    const struct work_group *g = &w->groups[group];
    struct store_command *c = add(w, STORE_SWEEP, group);
    c->incarnation =
        g->state == WORK_GONE ? g->incarnation : g->incarnation - 1;
    c->count = 1 + (uint32_t)rng_below(&w->chance, 200);
}

/* ---- installing -------------------------------------------------------- */

static void begin_install(struct work *w)
{
    uint32_t group = 1, source = draw_group(w);
    const struct work_group *from = &w->groups[source];
    while (group < WORK_GROUPS && w->groups[group].state != WORK_GONE)
        group++;
    if (group == WORK_GROUPS || from->state != WORK_LIVE)
        return;
    add_create(w, group)->is_installing = true;
    w->groups[group].state = WORK_INSTALLING;
    w->install.group = group;
    w->install.source = source;
    w->install.source_incarnation = from->incarnation;
    w->install.has_blob = false;
    w->install.cursor = (struct row_cursor){0};
}

static enum err add_blob(struct work *w, struct store_reader *reader)
{
    struct work_install *in = &w->install;
    struct blob_ticket t = {.group = in->source,
                            .incarnation = in->source_incarnation};
    store_blob_free(&in->blob);
    store_read_blob(reader, &t, &in->blob);
    if (in->blob.err != ERR_OK)
        return in->blob.err;
    in->images = span_buf(&in->blob.images);
    in->has_blob = true;
    struct store_command *c = add(w, STORE_BLOB, in->group);
    c->images = &in->images;
    c->image_count = 1;
    c->config = &in->blob.config;
    c->index = in->blob.index;
    c->term = in->blob.term;
    c->digest = in->blob.digest;
    c->epoch = in->blob.epoch;
    return ERR_OK;
}

static struct row_cursor end_of(const struct rows_result *rows)
{
    struct moved_iter it;
    struct moved_row m = {0};
    moved_begin(&it, span_buf(&rows->rows));
    while (moved_next(&it, &m))
        continue;
    return (struct row_cursor){m.row.stream, m.row.first_seq + m.row.count};
}

static enum err add_rows(struct work *w, struct store_reader *reader)
{
    struct work_install *in = &w->install;
    struct rows_ticket t = {.group = in->source,
                            .incarnation = in->source_incarnation,
                            .from = in->cursor,
                            .index = in->blob.index,
                            .bytes_max = INSTALL_BYTES};
    store_rows_free(&in->rows);
    store_read_rows(reader, &t, &in->rows);
    if (in->rows.err != ERR_OK)
        return in->rows.err;
    if (in->rows.count == 0) {
        (void)add(w, STORE_INSTALLED, in->group);
        w->groups[in->group].state = WORK_INSTALLED;
        in->group = 0;
        return ERR_OK;
    }
    in->cursor = end_of(&in->rows);
    struct store_command *c = add(w, STORE_ROWS, in->group);
    c->bytes = span_buf(&in->rows.rows);
    c->cursor = in->cursor;
    uint32_t size = (uint32_t)in->rows.payload.size;
    if (size > 0)
        c->payload = (struct slice){
            keep_bytes(&w->bytes, span_buf(&in->rows.payload)), 0, size};
    return ERR_OK;
}

/* One step, from what the model held before this batch. A source that is gone
 * is the end of it. */
static void add_install(struct work *w)
{
    struct work_install *in = &w->install;
    if (in->group == 0) {
        begin_install(w);
        return;
    }
    struct store_reader *reader = store_reader_open(w->model);
    enum err err = in->has_blob ? add_rows(w, reader) : add_blob(w, reader);
    store_reader_close(reader);
    if (err != ERR_OK)
        add_tombstone(w, in->group);
}

/* ---- batches ----------------------------------------------------------- */

typedef void (*add_fn)(struct work *w, uint32_t group);

/* For some of the live groups with streams, ascending as the node goes. */
static void add_for_some(struct work *w, uint32_t per_mille, add_fn fn)
{
    for (uint32_t g = 1; g < WORK_GROUPS; g++)
        if (w->groups[g].state == WORK_LIVE &&
            rng_chance(&w->chance, per_mille))
            fn(w, g);
}

/* Hard state first, then the log, then what is lazy. Now and then nearly all
 * groups have something to say, as under load. */
static void draw_batch(struct work *w)
{
    uint32_t busy = rng_chance(&w->chance, 200) ? 900 : 200;
    add_for_some(w, rng_chance(&w->chance, 50) ? 1000 : 60, add_hard);
    if (rng_chance(&w->chance, 80))
        add_turn_over(w, draw_group(w));
    add_for_some(w, 40, add_truncate);
    add_for_some(w, busy, add_append);
    add_for_some(w, busy / 3, add_append);
    if (rng_chance(&w->chance, 40))
        add_bytes(w, STORE_RECORD, &w->record);
    if (rng_chance(&w->chance, 40))
        add_bytes(w, STORE_BOOTS, &w->boots);
    add_for_some(w, 150, add_portion);
    add_for_some(w, 40, add_cut);
    if (rng_chance(&w->chance, w->install.group != 0 ? 600 : 150))
        add_install(w);
    if (rng_chance(&w->chance, 100))
        add_sweep(w, draw_group(w));
}

void work_begin(struct work *w, uint64_t number, bool is_boot)
{
    rng_seed(&w->chance, w->seed << 32 ^ number);
    w->batch.cycle = number;
    w->batch.count = 0;
    if (is_boot)
        add_boot(w);
    else
        draw_batch(w);
    struct store_done done;
    enum err err = store_commit(w->model, &w->batch, &done);
    ASSERT(err == ERR_OK);
    print_model(w);
}

void work_end(struct work *w)
{
    for (uint32_t g = 1; g < WORK_GROUPS; g++) {
        struct rig_core *core = &w->groups[g].core;
        if (rng_chance(&w->chance, 500))
            rig_core_apply(core,
                           core->applied_index +
                               rng_below(&w->chance,
                                         core->last - core->applied_index + 1));
    }
}

/* ---- a process --------------------------------------------------------- */

struct left { /* what the tape tells of those before */
    bool is_founded;
    uint64_t next; /* the first number never used */
    struct work_mark begun;
    uint64_t begun_number; /* 0: none was begun in vain */
};

static void take_up(struct work *w, const struct tape *t, struct left *left)
{
    struct work_mark m;
    *left = (struct left){0};
    for (size_t i = 0; i < t->count; i++) {
        if (!work_mark_of(&t->events[i], &m))
            continue;
        uint64_t number = t->events[i].offset;
        if (m.kind == WORK_BEGIN) {
            left->next = number + 1;
            left->begun = m;
            left->begun_number = number;
            continue;
        }
        left->is_founded = true;
        if (number > 0 && m.kind != WORK_DROPPED) {
            work_begin(w, number, left->begun.is_boot);
            work_end(w);
        }
        left->begun_number = 0;
    }
}

struct process {
    struct work *work;
    struct store *store;
    int tape;
};

static void mark(struct process *p, uint64_t number, enum work_mark_kind kind,
                 bool is_boot)
{
    struct work_mark m = {kind, is_boot, p->work->print};
    bool is_written = tape_mark(p->tape, 0, number, &m, sizeof m);
    ASSERT(is_written);
}

static enum err found_store(struct process *p, const char *folder)
{
    struct store_founding f = rig_founding(WORK_PARTITIONS);
    struct store_lmdb_cfg cfg = work_cfg(folder, p->work);
    mark(p, 0, WORK_BEGIN, false);
    enum err err = store_lmdb_found(&cfg, &f);
    if (err == ERR_OK)
        mark(p, 0, WORK_ACK, false);
    return err;
}

/* What was begun in vain may have come to the store. False: the store is
 * neither with it nor without it. */
static bool resume(struct process *p, const struct left *left)
{
    struct audit_print print;
    const char *place;
    enum err err = audit_fingerprint(p->store, &print, &place);
    if (err != ERR_OK) {
        (void)fprintf(stderr, "power: %s: %s\n", place, err_name(err));
        return false;
    }
    bool is_kept = !audit_print_equal(&print, &p->work->print);
    if (left->begun_number == 0)
        return !is_kept;
    if (is_kept) {
        work_begin(p->work, left->begun_number, left->begun.is_boot);
        work_end(p->work);
    }
    if (!audit_print_equal(&print, &p->work->print))
        return false;
    mark(p, left->begun_number, is_kept ? WORK_KEPT : WORK_DROPPED,
         left->begun.is_boot);
    return true;
}

static int go_on(struct process *p, uint64_t from, uint64_t until)
{
    for (uint64_t n = from; n <= until; n++) {
        struct store_done done;
        work_begin(p->work, n, n == from);
        mark(p, n, WORK_BEGIN, n == from);
        enum err err = store_commit(p->store, &p->work->batch, &done);
        if (err == ERR_IO)
            return EXIT_FAILED_COMMIT;
        if (err != ERR_OK)
            return 1;
        mark(p, n, WORK_ACK, n == from);
        work_end(p->work);
    }
    return 0;
}

int work_run(const char *tape_path, const char *folder, uint64_t seed,
             uint64_t until)
{
    struct tape t;
    struct left left;
    const char *why;
    struct process p = {work_new(seed), NULL, tape_open(tape_path)};
    if (p.tape < 0 || !tape_read(&t, tape_path, &why))
        return 1;
    take_up(p.work, &t, &left);
    tape_free(&t);
    struct store_lmdb_cfg cfg = work_cfg(folder, p.work);
    enum err err = ERR_OK;
    if (!left.is_founded) {
        err = found_store(&p, folder);
        left.next = 1;
        left.begun_number = 0;
    }
    if (err == ERR_OK)
        err = store_lmdb_open(&cfg, &p.store);
    int status = 1;
    if (err == ERR_OK)
        status = resume(&p, &left) ? go_on(&p, left.next, until) : EXIT_LOST;
    else
        (void)fprintf(stderr, "power: the store: %s\n", err_name(err));
    store_close(p.store);
    work_free(p.work);
    (void)close(p.tape);
    return status;
}
