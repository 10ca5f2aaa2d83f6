/* twin.c - see twin.h. */
#include "tests/sim/twin.h"

#include "tests/sim/ops.h"

struct twin_group {
    struct twin_stream **streams;
    size_t stream_count;
    struct twin_producer **producers;
    size_t producer_count;
    uint64_t index;
};

struct twin {
    struct world *w;
    struct twin_group groups[PLAN_GROUPS_MAX];
};

struct twin *twin_new(struct world *w)
{
    struct twin *t = mem_alloc(sizeof *t);
    t->w = w;
    return t;
}

void twin_free(struct twin *t)
{
    for (uint32_t g = 0; g < t->w->plan.groups; g++) {
        struct twin_group *tg = &t->groups[g];
        for (size_t i = 0; i < tg->stream_count; i++) {
            mem_free(tg->streams[i]->segments);
            mem_free(tg->streams[i]);
        }
        for (size_t i = 0; i < tg->producer_count; i++) {
            mem_free(tg->producers[i]->answers);
            mem_free(tg->producers[i]);
        }
        mem_free(tg->streams);
        mem_free(tg->producers);
    }
    mem_free(t);
}

/* ---- questions --------------------------------------------------------- */

static uint32_t find_stream(const struct twin_group *g, struct position id)
{
    for (size_t i = 0; i < g->stream_count; i++)
        if (position_equal(g->streams[i]->id, id))
            return (uint32_t)i;
    return UINT32_MAX;
}

static struct twin_producer *find_producer(const struct twin_group *g,
                                           struct position id, uint32_t *at)
{
    for (size_t i = 0; i < g->producer_count; i++) {
        if (!position_equal(g->producers[i]->id, id))
            continue;
        *at = (uint32_t)i;
        return g->producers[i];
    }
    return NULL;
}

const struct twin_stream *twin_stream(const struct twin *t, uint32_t group,
                                      struct position id)
{
    uint32_t at = find_stream(&t->groups[group], id);
    return at == UINT32_MAX ? NULL : t->groups[group].streams[at];
}

const struct twin_stream *twin_stream_named(const struct twin *t,
                                            uint32_t group, const char *name)
{
    const struct twin_group *g = &t->groups[group];
    for (size_t i = 0; i < g->stream_count; i++)
        if (strcmp(g->streams[i]->name, name) == 0)
            return g->streams[i];
    return NULL;
}

const struct twin_producer *twin_producer(const struct twin *t, uint32_t group,
                                          struct position id)
{
    uint32_t at;
    return find_producer(&t->groups[group], id, &at);
}

const struct twin_stream *twin_next(const struct twin *t, uint32_t group,
                                    const struct twin_stream *s)
{
    const struct twin_group *g = &t->groups[group];
    size_t at = s == NULL ? 0 : find_stream(g, s->id) + 1u;
    return at < g->stream_count ? g->streams[at] : NULL;
}

/* ---- judging ----------------------------------------------------------- */

static void name_copy(char to[64], struct span name)
{
    ASSERT(name.size < 64);
    memcpy(to, name.data, name.size);
    to[name.size] = 0;
}

static void judge_create(struct twin_group *g, const struct command *c,
                         struct position id)
{
    for (size_t i = 0; i < g->stream_count; i++)
        if (span_equal(span_str(g->streams[i]->name), c->name))
            return;
    struct twin_stream *s = mem_alloc(sizeof *s);
    s->id = id;
    name_copy(s->name, c->name);
    g->streams =
        mem_resize(g->streams, (g->stream_count + 1) * sizeof *g->streams);
    g->streams[g->stream_count++] = s;
}

static void judge_open(struct twin_group *g, const struct command *c,
                       struct position id)
{
    uint32_t stream = find_stream(g, c->stream);
    if (stream == UINT32_MAX)
        return;
    for (size_t i = 0; i < g->producer_count; i++) {
        struct twin_producer *p = g->producers[i];
        if (p->stream != stream || p->is_closed ||
            !span_equal(span_str(p->name), c->name))
            continue;
        p->epoch++;
        return;
    }
    struct twin_producer *p = mem_alloc(sizeof *p);
    p->id = id;
    p->stream = stream;
    p->epoch = 1;
    name_copy(p->name, c->name);
    g->producers = mem_resize(g->producers,
                              (g->producer_count + 1) * sizeof *g->producers);
    g->producers[g->producer_count++] = p;
}

static void accept(struct twin *t, uint32_t group, struct twin_stream *s,
                   struct twin_producer *p, uint32_t producer,
                   const struct command *c, const struct entry_header *header)
{
    if (s->count == s->capacity) {
        s->capacity = s->capacity == 0 ? 64 : s->capacity * 2;
        s->segments =
            mem_resize(s->segments, s->capacity * sizeof *s->segments);
    }
    if (p->count == p->capacity) {
        p->capacity = p->capacity == 0 ? 64 : p->capacity * 2;
        p->answers = mem_resize(p->answers, p->capacity * sizeof *p->answers);
    }
    p->answers[p->count++] = (struct twin_answer){s->count, c->checksum};
    uint64_t before_ms = s->count == 0 ? 0 : s->segments[s->count - 1].time_ms;
    s->segments[s->count++] = (struct twin_segment){
        header->index, max_u64(before_ms, header->stamp.time_ms),
        c->checksum,   c->size,
        producer,      c->number,
    };
    p->is_closed = c->closes_producer;
    ops_committed(t->w->ops, group, s, s->count - 1);
}

static void judge_append(struct twin *t, uint32_t group,
                         const struct command *c,
                         const struct entry_header *header)
{
    struct twin_group *g = &t->groups[group];
    uint32_t stream = find_stream(g, c->stream);
    uint32_t producer;
    struct twin_producer *p = find_producer(g, c->producer, &producer);
    if (stream == UINT32_MAX || p == NULL || p->stream != stream ||
        p->is_closed || p->epoch != c->producer_epoch || p->count != c->number)
        return; /* refused, or a repeat */
    struct twin_stream *s = g->streams[stream];
    if (c->expected_seq != SEQ_ANY && c->expected_seq != s->count)
        return;
    accept(t, group, s, p, producer, c, header);
}

void twin_commit(struct twin *t, uint32_t group, uint64_t index, uint64_t term,
                 struct span manifest)
{
    struct twin_group *g = &t->groups[group];
    ASSERT(index == g->index + 1);
    g->index = index;
    world_note(t->w, index << 8 | group, term);
    struct entry_iter it;
    struct entry_header header;
    struct command c;
    if (entry_check(manifest) != ERR_OK)
        world_fail(t->w, SIM_SAFETY, "entry %llu of group %u makes no sense",
                   (unsigned long long)index, group);
    if (entry_read_header(manifest, &header) != ERR_OK ||
        header.kind != ENTRY_COMMANDS || entry_begin(&it, manifest) != ERR_OK)
        return;
    while (entry_next(&it, &c)) {
        struct position id = {index, c.ordinal};
        switch (c.kind) {
        case COMMAND_CREATE:
            judge_create(g, &c, id);
            break;
        case COMMAND_OPEN_PRODUCER:
            judge_open(g, &c, id);
            break;
        case COMMAND_APPEND:
            judge_append(t, group, &c, &header);
            break;
        }
    }
}

/* ---- comparing --------------------------------------------------------- */

static uint64_t end_at(const struct twin_stream *s, uint64_t index)
{
    size_t low = 0, high = s->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->segments[middle].index <= index)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void twin_compare(struct twin *t, struct host *h, uint32_t group,
                  uint64_t applied, const struct streams *s)
{
    const struct twin_group *g = &t->groups[group];
    size_t count = 0;
    for (size_t i = 0; i < g->stream_count; i++) {
        const struct twin_stream *ts = g->streams[i];
        struct stream_info info;
        if (ts->id.index > applied)
            continue;
        count++;
        uint64_t end = end_at(ts, applied);
        enum err err = streams_by_id(s, ts->id, &info);
        MUST_HOLD(t->w, I18,
                  err == ERR_OK && info.first_seq == 0 && info.next_seq == end,
                  "n%u's stream %s (group %u) ends at %llu with entry %llu "
                  "applied (%s); it should at %llu",
                  h->index + 1, ts->name, group,
                  (unsigned long long)(err == ERR_OK ? info.next_seq : 0),
                  (unsigned long long)applied, err_text(err),
                  (unsigned long long)end);
        MUST_HOLD(t->w, S26,
                  end == 0 || info.changed_ms == ts->segments[end - 1].time_ms,
                  "n%u's stream %s (group %u) has its newest segment at %llu "
                  "ms; it should have it at %llu",
                  h->index + 1, ts->name, group,
                  (unsigned long long)info.changed_ms,
                  (unsigned long long)ts->segments[end - 1].time_ms);
    }
    MUST_HOLD(t->w, I18, streams_count(s) == count,
              "n%u has %zu streams in group %u, not %zu", h->index + 1,
              streams_count(s), group, count);
}
