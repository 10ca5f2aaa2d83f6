/* partition.c - the world of one partition's state machine (ring/streams.h):
 * a log of entries, the state that has applied them, and at times some that a
 * leader has taken into its log and nobody has applied yet. */
#include <stdio.h>

#include "ring/streams.h"
#include "tests/cases/world.h"

#define NAMES_MAX   32u
#define ENTRIES_MAX 4096u

struct name {
    char text[32];
    struct position id;
    struct position stream; /* of a producer */
    uint32_t epoch;         /* as its owner got it */
};

struct partition {
    struct streams *streams;
    struct name names[NAMES_MAX];
    size_t name_count;
    struct buf entries[ENTRIES_MAX]; /* the log: its i-th is index i + 1 */
    size_t entry_count;
    size_t applied;
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

static void print_position(struct position id, struct buf *out)
{
    buf_printf(out, "%llu.%u", (unsigned long long)id.index, id.ordinal);
}

/* ---- verdicts ---------------------------------------------------------- */

static void print_verdict(const struct command *c, const struct verdict *v,
                          struct buf *out)
{
    buf_printf(out, "%s%s", err_name(v->err),
               v->is_duplicate ? " (as before)" : "");
    bool is_ok = v->err == ERR_OK;
    if (is_ok && c->kind != COMMAND_APPEND) {
        buf_printf(out, " id=");
        print_position(v->id, out);
    }
    if (is_ok && c->kind == COMMAND_OPEN_PRODUCER)
        buf_printf(out, " epoch=%u next=%llu", v->producer_epoch,
                   (unsigned long long)v->next_number);
    if (is_ok && c->kind == COMMAND_APPEND)
        buf_printf(out, " seq=%llu", (unsigned long long)v->seq);
    if (v->err == ERR_OUT_OF_ORDER)
        buf_printf(out, " next=%llu", (unsigned long long)v->next_number);
    if (v->err == ERR_CONFLICT)
        buf_printf(out, " end=%llu", (unsigned long long)v->next_seq);
    buf_printf(out, "\n");
}

/* Applies the next entry of the log. */
static void apply(struct partition *p, struct buf *out)
{
    struct verdict *verdicts = mem_alloc(ENTRY_COMMANDS_MAX * sizeof *verdicts);
    struct buf images = {0};
    struct span manifest = span_buf(&p->entries[p->applied++]);
    enum err err = streams_apply(p->streams, manifest, verdicts, &images);
    struct entry_iter it;
    struct command c;
    ASSERT(entry_begin(&it, manifest) == ERR_OK);
    for (size_t i = 0; err == ERR_OK && entry_next(&it, &c); i++) {
        print_verdict(&c, &verdicts[i], out);
        if (c.kind != COMMAND_APPEND && verdicts[i].err == ERR_OK &&
            p->as[i][0] != '\0')
            call(p, p->as[i],
                 (struct name){.id = verdicts[i].id,
                               .stream = c.stream,
                               .epoch = verdicts[i].producer_epoch});
    }
    if (err != ERR_OK)
        buf_printf(out, "the entry is refused: %s\n", err_name(err));
    buf_free(&images);
    mem_free(verdicts);
}

/* ---- entries ----------------------------------------------------------- */

static void begin_entry(struct partition *p)
{
    p->time_ms += 1000;
    entry_build(&p->builder, &p->manifest,
                (struct entry_stamp){.epoch = {1, 1, 1},
                                     .level = LEVEL_NOW,
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
    ASSERT(entry_check(span_buf(e)) == ERR_OK);
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

static struct name *read_name(struct partition *p, struct line *l)
{
    const char *text = line_next(l);
    struct name *n = text == NULL ? NULL : find(p, text);
    if (n == NULL)
        line_fail(l, "%s: \"%s\" was never made", l->verb,
                  text == NULL ? "" : text);
    return n;
}

/* open films alice [as=a] [unnamed] */
static void run_open(struct partition *p, struct line *l, struct buf *out)
{
    const struct name *stream = read_name(p, l);
    const char *name = line_next(l);
    const char *as = line_value(l, "as");
    bool is_unnamed = line_flag(l, "unnamed");
    if (name == NULL)
        line_fail(l, "open: the producer's name is missing");
    if (!line_end(l))
        return;
    struct command c = {.kind = COMMAND_OPEN_PRODUCER,
                        .stream = stream->id,
                        .name = span_str(name),
                        .is_unnamed = is_unnamed};
    add(p, &c, as == NULL ? name : as, out);
}

/* ... films alice number=0 [epoch=1] [data=x] [expect=5] [close] [count=10],
 * or id=9.0 in the place of alice. */
static bool read_append(struct partition *p, struct line *l, struct command *c,
                        uint64_t *count)
{
    const struct name *stream = read_name(p, l);
    const struct name *producer = read_name(p, l);
    const char *data = line_value(l, "data");
    *c = (struct command){.kind = COMMAND_APPEND,
                          .algorithm = CHECKSUM_XXH3_128};
    c->number = line_need_u64(l, "number");
    c->expected_seq = line_u64(l, "expect", SEQ_ANY);
    c->closes_producer = line_flag(l, "close");
    c->producer_epoch =
        (uint32_t)line_u64(l, "epoch", producer == NULL ? 0 : producer->epoch);
    *count = line_u64(l, "count", 1);
    if (*count < 1 || *count > 100000 || (*count > 1 && data != NULL))
        line_fail(l, "%s: count=1 to 100000, without data=", l->verb);
    if (l->is_bad)
        return false;
    c->stream = stream->id;
    c->producer = producer->id;
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
        print_verdict(&c, &v, out);
    } else if (err == ERR_BUSY) {
        buf_printf(out, "waits for the same one, in the log already\n");
    } else if (err != ERR_OK) {
        buf_printf(out, "refused: ");
        print_verdict(&c, &v, out);
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
        buf_printf(out, " segments=%llu\n",
                   (unsigned long long)streams[i].next_seq);
    }
    if (count == 0)
        buf_printf(out, "no streams\n");
}

/* A replica that applies the log from its beginning: the same state? */
static void run_replay(struct partition *p, struct line *l, struct buf *out)
{
    if (!line_end(l))
        return;
    struct streams *s = streams_new();
    struct verdict *verdicts = mem_alloc(ENTRY_COMMANDS_MAX * sizeof *verdicts);
    struct buf images = {0};
    enum err err = ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < p->applied; i++)
        err = streams_apply(s, span_buf(&p->entries[i]), verdicts, &images);
    struct hash128 a = streams_digest(s);
    struct hash128 b = streams_digest(p->streams);
    bool is_same = err == ERR_OK && a.lo == b.lo && a.hi == b.hi;
    buf_printf(out, is_same ? "the same state\n" : "another state\n");
    buf_free(&images);
    mem_free(verdicts);
    streams_free(s);
}

/* So much time passes, by the stamps of entries. */
static void run_time(struct partition *p, struct line *l, struct buf *out)
{
    uint64_t minutes = line_need_u64(l, "minutes");
    (void)out;
    if (line_end(l))
        p->time_ms += minutes * 60000;
}

/* ---- life -------------------------------------------------------------- */

static void *begin(struct line *l, struct buf *out)
{
    (void)out;
    if (!line_end(l))
        return NULL;
    struct partition *p = mem_alloc(sizeof *p);
    p->streams = streams_new();
    p->time_ms = 1000000;
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
        {"time", run_time},
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
    for (size_t i = 0; i < p->entry_count; i++)
        buf_free(&p->entries[i]);
    buf_free(&p->manifest);
    streams_free(p->streams);
    mem_free(p);
}

const struct world_kind world_partition = {"partition", begin, run, end};
