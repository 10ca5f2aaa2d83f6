/* partition.c - the world of one partition's state machine (ring/streams.h):
 * a log of entries, the state that has applied them, and at times some that a
 * leader has taken into its log and nobody has applied yet. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/cases/words.h"

#define NAMES_MAX   32u
#define ENTRIES_MAX 4096u
#define SECOND_MS   1000u
#define MINUTE_MS   60000u

struct name {
    char text[32];
    struct position id;
    struct position stream; /* of a producer */
    uint32_t epoch;         /* as its owner got it */
};

/* A row as storage would hold it. */
struct stored_row {
    enum row_space space;
    struct buf key, value;
};

struct partition {
    struct streams *streams;
    struct name names[NAMES_MAX];
    size_t name_count;
    struct buf entries[ENTRIES_MAX]; /* the log: its i-th is index i + 1 */
    size_t entry_count;
    size_t applied;
    struct buf images[ENTRIES_MAX]; /* what applying each has changed */
    struct stored_row *rows;
    size_t row_count, row_capacity;
    size_t stored;     /* the entry whose state the rows are */
    uint16_t level;    /* that entries are stamped with */
    bool is_gathering; /* commands go into one entry */
    struct entry_builder builder;
    struct buf manifest;
    char as[ENTRY_COMMANDS_MAX][32]; /* how the command's result is called */
    uint64_t time_ms;
};

/* ---- names ------------------------------------------------------------- */

static struct name *find(struct partition *p, const char *text)
{
    for (size_t i = 0; i < p->name_count; i++) {
        if (strcmp(p->names[i].text, text) == 0)
            return &p->names[i];
    }
    return NULL;
}

static void call(struct partition *p, const char *text, struct name value)
{
    struct name *n = find(p, text);
    if (n == NULL) {
        ASSERT(p->name_count < NAMES_MAX);
        n = &p->names[p->name_count++];
    }
    *n = value;
    (void)snprintf(n->text, sizeof n->text, "%s", text);
}

/* Applies the next entry of the log. */
static void apply(struct partition *p, struct buf *out)
{
    struct verdict *verdicts = mem_alloc(ENTRY_COMMANDS_MAX * sizeof *verdicts);
    struct buf *images = &p->images[p->applied];
    struct span manifest = span_buf(&p->entries[p->applied++]);
    buf_clear(images);
    enum err err = streams_apply(p->streams, manifest, verdicts, images);
    struct entry_iter it;
    struct command c;
    if (err == ERR_OK)
        err = entry_begin(&it, manifest);
    for (size_t i = 0; err == ERR_OK && entry_next(&it, &c); i++) {
        print_verdict(c.kind, &verdicts[i], out);
        if (c.kind != COMMAND_APPEND && verdicts[i].err == ERR_OK &&
            p->as[i][0] != '\0')
            call(p, p->as[i],
                 (struct name){.id = verdicts[i].id,
                               .stream = c.stream,
                               .epoch = verdicts[i].producer_epoch});
    }
    if (err != ERR_OK)
        buf_printf(out, "the entry is refused: %s\n", err_name(err));
    mem_free(verdicts);
}

/* ---- entries ----------------------------------------------------------- */

static void begin_entry(struct partition *p)
{
    p->time_ms += SECOND_MS;
    entry_build(&p->builder, &p->manifest,
                (struct entry_stamp){.epoch = {1, 1, 1},
                                     .level = p->level,
                                     .time_ms = p->time_ms});
    memset(p->as, 0, sizeof p->as);
}

/* The entry that was gathered comes to the end of the log. */
static void end_entry(struct partition *p)
{
    entry_end(&p->builder);
    ASSERT(p->entry_count < ENTRIES_MAX);
    struct buf *e = &p->entries[p->entry_count++];
    buf_append(e, p->manifest.data, p->manifest.size);
    entry_number(e->data, p->entry_count, 1);
    enum err err = entry_check(span_buf(e));
    ASSERT(err == ERR_OK || p->level > LEVEL_NOW);
}

/* Into the entry that is gathered, or one of its own which is applied. */
static void add(struct partition *p, const struct command *c, const char *as,
                struct buf *out)
{
    if (!p->is_gathering)
        begin_entry(p);
    uint16_t place = p->builder.header.command_count;
    enum err err = entry_add(&p->builder, c);
    if (err != ERR_OK) {
        buf_printf(out, "%s\n", err_name(err));
        return;
    }
    (void)snprintf(p->as[place], sizeof p->as[place], "%s", as);
    if (p->is_gathering)
        return;
    end_entry(p);
    while (p->applied < p->entry_count)
        apply(p, out);
}

/* ---- commands ---------------------------------------------------------- */

/* create films [as=f] */
static void run_create(struct partition *p, struct line *l, struct buf *out)
{
    const char *name = line_next(l);
    const char *as = line_value(l, "as");
    if (name == NULL)
        line_fail(l, "create: the stream's name is missing");
    if (!line_end(l))
        return;
    struct command c = {.kind = COMMAND_CREATE, .name = span_str(name)};
    add(p, &c, as == NULL ? name : as, out);
}

/* "9.0", for what was never made. */
static bool parse_position(const char *text, struct position *id)
{
    char *end;
    id->index = strtoull(text, &end, 10);
    if (end == text || *end != '.')
        return false;
    const char *second = end + 1;
    id->ordinal = (uint16_t)strtoul(second, &end, 10);
    return end != second && *end == '\0';
}

/* A name of the case, or an id. */
static struct name read_name(struct partition *p, struct line *l)
{
    const char *text = line_next(l);
    const struct name *n = text == NULL ? NULL : find(p, text);
    struct name other = {.epoch = 1};
    if (n != NULL)
        return *n;
    if (text == NULL || !parse_position(text, &other.id))
        line_fail(l, "%s: \"%s\" was never made", l->verb,
                  text == NULL ? "" : text);
    return other;
}

/* open films alice [as=a] [unnamed] */
static void run_open(struct partition *p, struct line *l, struct buf *out)
{
    struct name stream = read_name(p, l);
    const char *name = line_next(l);
    const char *as = line_value(l, "as");
    bool is_unnamed = line_flag(l, "unnamed");
    if (name == NULL)
        line_fail(l, "open: the producer's name is missing");
    if (!line_end(l))
        return;
    struct command c = {.kind = COMMAND_OPEN_PRODUCER,
                        .stream = stream.id,
                        .name = span_str(name),
                        .is_unnamed = is_unnamed};
    add(p, &c, as == NULL ? name : as, out);
}

/* ... films alice number=0 [epoch=1] [data=x] [expect=5] [close] [count=10],
 * or an id like 9.0 in the place of either. */
static bool read_append(struct partition *p, struct line *l, struct command *c,
                        uint64_t *count)
{
    struct name stream = read_name(p, l);
    struct name producer = read_name(p, l);
    const char *data = line_value(l, "data");
    *c = (struct command){.kind = COMMAND_APPEND,
                          .algorithm = CHECKSUM_XXH3_128};
    c->number = line_need_u64(l, "number");
    c->expected_seq = line_u64(l, "expect", SEQ_ANY);
    c->closes_producer = line_flag(l, "close");
    c->producer_epoch = (uint32_t)line_u64(l, "epoch", producer.epoch);
    *count = line_u64(l, "count", 1);
    if (*count < 1 || *count > 100000 || (*count > 1 && data != NULL))
        line_fail(l, "%s: count=1 to 100000, without data=", l->verb);
    if (l->is_bad)
        return false;
    c->stream = stream.id;
    c->producer = producer.id;
    struct buf own = {0};
    buf_printf(&own, "bytes of %llu", (unsigned long long)c->number);
    struct span bytes = data == NULL ? span_buf(&own) : span_str(data);
    c->size = (uint32_t)bytes.size;
    c->checksum = hash128(bytes);
    buf_free(&own);
    return line_end(l);
}

/* count=: so many neighbours, of which only the last one is told. */
static void run_append(struct partition *p, struct line *l, struct buf *out)
{
    struct command c;
    uint64_t count;
    if (!read_append(p, l, &c, &count))
        return;
    struct buf unseen = {0};
    for (uint64_t left = count; left > 1;) {
        begin_entry(p);
        for (; left > 1 && entry_add(&p->builder, &c) == ERR_OK; left--)
            c.number++;
        end_entry(p);
        while (p->applied < p->entry_count)
            apply(p, &unseen);
    }
    buf_free(&unseen);
    add(p, &c, "", out);
}

/* What a leader does with it: answers, or takes it into its log. */
static void run_propose(struct partition *p, struct line *l, struct buf *out)
{
    struct command c;
    struct verdict v;
    bool is_final;
    uint64_t count;
    if (!read_append(p, l, &c, &count))
        return;
    enum err err = streams_admit(p->streams, &c, &v, &is_final);
    if (is_final) {
        buf_printf(out, "answered: ");
        print_verdict(c.kind, &v, out);
    } else if (err == ERR_BUSY) {
        buf_printf(out, "waits for the same one, in the log already\n");
    } else if (err != ERR_OK) {
        buf_printf(out, "refused: ");
        print_verdict(c.kind, &v, out);
    } else {
        begin_entry(p);
        ASSERT(entry_add(&p->builder, &c) == ERR_OK);
        end_entry(p);
        streams_spec_command(p->streams, &c);
        buf_printf(out, "entry %zu\n", p->entry_count);
    }
}

/* Another replica leads: it has applied as much, and has the same log. What it
 * would refuse it reads from there. */
static void run_elect(struct partition *p, struct line *l, struct buf *out)
{
    (void)out;
    if (!line_end(l))
        return;
    streams_spec_clear(p->streams);
    for (size_t i = p->applied; i < p->entry_count; i++)
        streams_spec_note(p->streams, span_buf(&p->entries[i]));
}

/* What is in the log and not applied; or all of it is truncated. */
static void run_apply(struct partition *p, struct line *l, struct buf *out)
{
    if (!line_end(l))
        return;
    if (p->applied == p->entry_count)
        buf_printf(out, "all is applied\n");
    while (p->applied < p->entry_count) {
        buf_printf(out, "entry %zu: ", p->applied + 1);
        apply(p, out);
    }
}

/* The next commands are one entry's; "end" applies it. */
static void run_entry(struct partition *p, struct line *l, struct buf *out)
{
    bool is_end = strcmp(l->verb, "end") == 0;
    if (is_end != p->is_gathering)
        line_fail(l, "entry, commands, end: in this order");
    if (!line_end(l))
        return;
    p->is_gathering = !is_end;
    if (!is_end) {
        begin_entry(p);
        return;
    }
    end_entry(p);
    while (p->applied < p->entry_count)
        apply(p, out);
}

static void run_streams(struct partition *p, struct line *l, struct buf *out)
{
    struct stream_info streams[NAMES_MAX];
    if (!line_end(l))
        return;
    struct span none = {0};
    size_t count = streams_list(p->streams, none, none, streams, NAMES_MAX);
    for (size_t i = 0; i < count; i++) {
        buf_printf(out, "%.*s id=", (int)streams[i].name.size,
                   (const char *)streams[i].name.data);
        print_position(streams[i].id, out);
        buf_printf(out, " segments=%llu",
                   (unsigned long long)streams[i].next_seq);
        if (streams[i].changed_ms > 0)
            buf_printf(out, " newest of minute %llu",
                       (unsigned long long)streams[i].changed_ms / MINUTE_MS);
        buf_printf(out, "\n");
    }
    if (count == 0)
        buf_printf(out, "no streams\n");
}

static bool is_same_state(const struct streams *s, const struct streams *t)
{
    struct hash128 a = streams_digest(s);
    struct hash128 b = streams_digest(t);
    return a.lo == b.lo && a.hi == b.hi;
}

/* Applies entries (from, to] to a state by itself. */
static enum err apply_to(const struct partition *p, struct streams *s,
                         size_t from, size_t to)
{
    struct verdict *verdicts = mem_alloc(ENTRY_COMMANDS_MAX * sizeof *verdicts);
    struct buf images = {0};
    enum err err = ERR_OK;
    for (size_t i = from; err == ERR_OK && i < to; i++)
        err = streams_apply(s, span_buf(&p->entries[i]), verdicts, &images);
    buf_free(&images);
    mem_free(verdicts);
    return err;
}

/* A replica that applies the log from its beginning: the same state? */
static void run_replay(struct partition *p, struct line *l, struct buf *out)
{
    if (!line_end(l))
        return;
    struct streams *s = streams_new();
    enum err err = apply_to(p, s, 0, p->applied);
    bool is_same = err == ERR_OK && is_same_state(s, p->streams);
    buf_printf(out, is_same ? "the same state\n" : "another state\n");
    streams_free(s);
}

/* ---- storage ----------------------------------------------------------- */

static struct stored_row *find_row(struct partition *p,
                                   const struct image *image)
{
    for (size_t i = 0; i < p->row_count; i++) {
        if (p->rows[i].space == image->space &&
            span_equal(span_buf(&p->rows[i].key), image->key))
            return &p->rows[i];
    }
    return NULL;
}

static void store_image(struct partition *p, const struct image *image)
{
    struct stored_row *row = find_row(p, image);
    if (row == NULL && image->is_delete)
        return;
    if (row == NULL) {
        if (p->row_count == p->row_capacity) {
            p->row_capacity = 2 * p->row_capacity + 16;
            p->rows = mem_resize(p->rows, p->row_capacity * sizeof *p->rows);
        }
        row = &p->rows[p->row_count++];
        *row = (struct stored_row){.space = image->space};
        buf_append(&row->key, image->key.data, image->key.size);
    }
    buf_clear(&row->value);
    buf_append(&row->value, image->value.data, image->value.size);
    if (!image->is_delete)
        return;
    buf_free(&row->key);
    buf_free(&row->value);
    *row = p->rows[--p->row_count];
}

/* store to=5: the after-images of the entries up to there are stored. live:
 * so are those of all that was applied since, as if rows were written from
 * what is in memory. */
static void run_store(struct partition *p, struct line *l, struct buf *out)
{
    uint64_t to = line_need_u64(l, "to");
    bool is_live = line_flag(l, "live");
    (void)out;
    if (to < p->stored || to > p->applied)
        line_fail(l, "store: %zu is stored, %zu is applied", p->stored,
                  p->applied);
    if (!line_end(l))
        return;
    for (size_t i = p->stored; i < (is_live ? p->applied : to); i++) {
        struct dec d = dec_of(span_buf(&p->images[i]));
        struct image image;
        while (image_next(&d, &image))
            store_image(p, &image);
    }
    p->stored = (size_t)to;
}

/* The process starts again: what is stored, and the log above it. */
static void run_restart(struct partition *p, struct line *l, struct buf *out)
{
    if (!line_end(l))
        return;
    struct streams *s = streams_new();
    enum err err = ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < p->row_count; i++) {
        const struct stored_row *r = &p->rows[i];
        if (r->space == ROW_STATE)
            err = streams_load(s, span_buf(&r->key), span_buf(&r->value));
    }
    if (err == ERR_OK)
        err = apply_to(p, s, p->stored, p->applied);
    if (err != ERR_OK)
        buf_printf(out, "%s\n", err_name(err));
    else
        buf_printf(out, is_same_state(s, p->streams) ? "the same state\n"
                                                     : "another state\n");
    streams_free(p->streams);
    p->streams = s;
}

/* What is stored of segments: what leads to their bytes, and nothing else
 * does. */
static void run_rows(struct partition *p, struct line *l, struct buf *out)
{
    if (!line_end(l))
        return;
    size_t count = 0;
    for (size_t i = 0; i < p->row_count; i++) {
        struct stored_row *r = &p->rows[i];
        struct run_row run;
        if (r->space != ROW_INDEX)
            continue;
        enum err err =
            run_row_read(span_buf(&r->key), span_buf(&r->value), &run);
        ASSERT(err == ERR_OK);
        buf_printf(out, "stream ");
        print_position(run.stream, out);
        buf_printf(out, " segments %llu to %llu: bytes at %llu.%u + %u\n",
                   (unsigned long long)run.first_seq,
                   (unsigned long long)run.first_seq + run.count - 1,
                   (unsigned long long)run.entry_index, run.ordinal,
                   run.offset);
        count++;
    }
    if (count == 0)
        buf_printf(out, "no rows\n");
}

/* ---- stamps ------------------------------------------------------------ */

/* clock minutes=5: what the next leader's clock says; it may go back. */
static void run_clock(struct partition *p, struct line *l, struct buf *out)
{
    uint64_t minutes = line_need_u64(l, "minutes");
    (void)out;
    if (minutes > 100000000)
        line_fail(l, "clock: at most 100000000 minutes");
    if (line_end(l))
        p->time_ms = minutes * MINUTE_MS;
}

/* level 2: the feature level that the next entries are to be judged at. */
static void run_level(struct partition *p, struct line *l, struct buf *out)
{
    uint64_t level = line_next_u64(l);
    (void)out;
    if (level < 1 || level > 1000)
        line_fail(l, "level: 1 to 1000");
    if (line_end(l))
        p->level = (uint16_t)level;
}

/* ---- life -------------------------------------------------------------- */

static void *begin(struct line *l, struct buf *out)
{
    (void)out;
    if (!line_end(l))
        return NULL;
    struct partition *p = mem_alloc(sizeof *p);
    p->streams = streams_new();
    p->level = LEVEL_NOW;
    return p;
}

static bool run(void *world, struct line *l, struct buf *out)
{
    static const struct {
        const char *verb;
        void (*run)(struct partition *p, struct line *l, struct buf *out);
    } commands[] = {
        {"create", run_create},   {"open", run_open},
        {"append", run_append},   {"propose", run_propose},
        {"apply", run_apply},     {"elect", run_elect},
        {"entry", run_entry},     {"end", run_entry},
        {"streams", run_streams}, {"replay", run_replay},
        {"store", run_store},     {"restart", run_restart},
        {"rows", run_rows},       {"clock", run_clock},
        {"level", run_level},
    };
    struct partition *p = world;
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(l->verb, commands[i].verb) == 0) {
            commands[i].run(p, l, out);
            return true;
        }
    }
    return false;
}

static void end(void *world)
{
    struct partition *p = world;
    for (size_t i = 0; i < p->entry_count; i++) {
        buf_free(&p->entries[i]);
        buf_free(&p->images[i]);
    }
    for (size_t i = 0; i < p->row_count; i++) {
        buf_free(&p->rows[i].key);
        buf_free(&p->rows[i].value);
    }
    mem_free(p->rows);
    buf_free(&p->manifest);
    streams_free(p->streams);
    mem_free(p);
}

const struct world_kind world_partition = {"partition", begin, run, end};
