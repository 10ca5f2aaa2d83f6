/* test_streams_random.c - random histories: verdicts against a slow twin that
 * remembers every answer, replicas against each other across restarts, and
 * admission against a replica that has already applied the whole log. */
#include <inttypes.h>

#include "tests/unit/streams_world.h"

#define NAMES         3u
#define STREAMS       3u
#define PRODUCERS_MAX 4000u

/* ---- the twin ---------------------------------------------------------- */

struct answer {
    uint64_t seq;
    uint64_t checksum;
};

struct twin_producer {
    struct position id;
    uint32_t stream;
    uint32_t name;
    uint32_t epoch;
    bool is_closed;
    struct answer *answers; /* of every number, for ever */
    uint64_t count;
};

struct twin {
    struct position streams[STREAMS];
    uint64_t next_seq[STREAMS];
    struct twin_producer producers[PRODUCERS_MAX];
    uint32_t producer_count;
};

static const char *const stream_names[STREAMS] = {"red", "green", "blue"};
static const char *const producer_names[NAMES] = {"p", "q", "r"};

static void twin_free(struct twin *t)
{
    for (uint32_t i = 0; i < t->producer_count; i++)
        mem_free(t->producers[i].answers);
    mem_free(t);
}

static uint32_t twin_stream(const struct twin *t, struct position id)
{
    for (uint32_t i = 0; i < STREAMS; i++)
        if (position_equal(t->streams[i], id))
            return i;
    return STREAMS;
}

static struct twin_producer *twin_producer(struct twin *t, struct position id)
{
    for (uint32_t i = 0; i < t->producer_count; i++)
        if (position_equal(t->producers[i].id, id))
            return &t->producers[i];
    return NULL;
}

static struct twin_producer *twin_named(struct twin *t, uint32_t stream,
                                        uint32_t name)
{
    for (uint32_t i = 0; i < t->producer_count; i++) {
        struct twin_producer *p = &t->producers[i];
        if (!p->is_closed && p->stream == stream && p->name == name)
            return p;
    }
    return NULL;
}

static struct verdict twin_repeat(const struct twin_producer *p,
                                  const struct command *c)
{
    uint64_t age = p->count - c->number;
    const struct answer *a = &p->answers[c->number];
    if (age > PRODUCER_WINDOW)
        return (struct verdict){.err = ERR_EXPIRED};
    if (age <= PRODUCER_CHECKSUMS && a->checksum != c->checksum.lo)
        return (struct verdict){.err = ERR_CONFLICT};
    return (struct verdict){.err = ERR_OK, .is_duplicate = true, .seq = a->seq};
}

static struct verdict twin_append(struct twin *t, const struct command *c)
{
    uint32_t stream = twin_stream(t, c->stream);
    if (stream == STREAMS)
        return (struct verdict){.err = ERR_NOT_FOUND};
    struct twin_producer *p = twin_producer(t, c->producer);
    if (p == NULL || p->stream != stream || c->producer_epoch > p->epoch)
        return (struct verdict){.err = ERR_EXPIRED};
    if (c->producer_epoch < p->epoch)
        return (struct verdict){.err = ERR_FENCED};
    if (c->number < p->count)
        return twin_repeat(p, c);
    if (p->is_closed)
        return (struct verdict){.err = ERR_EXPIRED};
    if (c->number > p->count)
        return (struct verdict){.err = ERR_OUT_OF_ORDER};
    uint64_t seq = t->next_seq[stream];
    if (c->expected_seq != SEQ_ANY && c->expected_seq != seq)
        return (struct verdict){.err = ERR_CONFLICT};
    t->next_seq[stream]++;
    if ((p->count & (p->count + 1)) == 0)
        p->answers =
            mem_resize(p->answers, (2 * p->count + 2) * sizeof *p->answers);
    p->answers[p->count++] = (struct answer){seq, c->checksum.lo};
    p->is_closed = c->closes_producer;
    return (struct verdict){.err = ERR_OK, .seq = seq};
}

static struct verdict twin_open(struct twin *t, const struct command *c,
                                uint32_t name, struct position at)
{
    uint32_t stream = twin_stream(t, c->stream);
    if (stream == STREAMS)
        return (struct verdict){.err = ERR_NOT_FOUND};
    struct twin_producer *p = twin_named(t, stream, name);
    if (p == NULL) {
        assert_true(t->producer_count < PRODUCERS_MAX);
        p = &t->producers[t->producer_count++];
        *p = (struct twin_producer){.id = at, .stream = stream, .name = name};
    }
    p->epoch++;
    return (struct verdict){.err = ERR_OK,
                            .id = p->id,
                            .producer_epoch = p->epoch,
                            .next_number = p->count};
}

/* ---- random commands --------------------------------------------------- */

/* An append, mostly a right one, from the newest producers. */
static struct command random_append(struct rng *r, const struct twin *t)
{
    if (t->producer_count == 0)
        return append_to(t->streams[0], (struct position){1, 9}, 1, 0);
    uint64_t back = rng_below(r, min_u64(t->producer_count, 12));
    const struct twin_producer *p = &t->producers[t->producer_count - 1 - back];
    struct command c =
        append_to(t->streams[p->stream], p->id, p->epoch, p->count);
    switch (rng_below(r, 16)) {
    case 0:
        c.number -= min_u64(c.number, rng_below(r, 4));
        break;
    case 1:
        c.number -= min_u64(c.number, rng_below(r, 70));
        break;
    case 2:
        c.number -= min_u64(c.number, 1020 + rng_below(r, 8));
        break;
    case 3:
        c.number += rng_below(r, 3);
        break;
    case 4:
        c.producer_epoch += (uint32_t)rng_below(r, 2);
        break;
    case 5:
        c.producer_epoch -= (uint32_t)rng_below(r, 2);
        break;
    case 6:
        c.expected_seq = t->next_seq[p->stream] - rng_below(r, 2);
        break;
    case 7:
        c.stream = t->streams[rng_below(r, STREAMS)];
        break;
    case 8:
        c.producer.ordinal += (uint16_t)rng_below(r, 2);
        break;
    case 9:
        c.closes_producer = rng_chance(r, 100);
        break;
    }
    c.checksum.lo = c.number * 7 + 1 + rng_chance(r, 20);
    c.size = (uint32_t)rng_below(r, 30);
    return c;
}

static void assert_append(struct verdict a, struct verdict b)
{
    assert_int_equal(a.err, b.err);
    assert_int_equal(a.is_duplicate, b.is_duplicate);
    if (a.err == ERR_OK)
        assert_int_equal(a.seq, b.seq);
}

/* Adds a random command to the entry and judges it with the twin. */
static struct verdict add_random(struct world *w, struct rng *r, struct twin *t)
{
    uint16_t ordinal = w->builder.header.command_count;
    if (!rng_chance(r, 15)) {
        struct command c = random_append(r, t);
        assert_int_equal(world_add(w, c), ordinal);
        return twin_append(t, &c);
    }
    uint32_t name = (uint32_t)rng_below(r, NAMES);
    struct command c =
        open_producer(t->streams[rng_below(r, STREAMS)], producer_names[name]);
    c.is_unnamed = rng_chance(r, 300);
    world_add(w, c);
    return twin_open(t, &c, name, (struct position){w->index + 1, ordinal});
}

static struct twin *begin_history(struct world *w)
{
    struct twin *t = mem_alloc(sizeof *t);
    world_begin(w);
    for (uint32_t i = 0; i < STREAMS; i++)
        world_add(w, create_stream(stream_names[i]));
    world_apply(w);
    for (uint32_t i = 0; i < STREAMS; i++)
        t->streams[i] = w->verdicts[i].id;
    return t;
}

static void verdicts_are_those_of_a_twin_that_forgets_nothing(void **state)
{
    (void)state;
    struct rng r;
    uint32_t seen[64] = {0};
    for (uint64_t seed = 1; seed <= 3; seed++) {
        rng_seed(&r, seed);
        struct world *w = world_new();
        w->is_storing = false;
        struct twin *t = begin_history(w);
        struct verdict expected[64];
        for (int i = 0; i < 4000; i++) {
            uint64_t count = 1 + rng_below(&r, 20);
            w->time_ms = 1000 + rng_below(&r, 100);
            world_begin(w);
            for (uint64_t k = 0; k < count; k++)
                expected[k] = add_random(w, &r, t);
            world_apply(w);
            for (uint64_t k = 0; k < count; k++) {
                assert_append(w->verdicts[k], expected[k]);
                assert_int_equal(w->verdicts[k].producer_epoch,
                                 expected[k].producer_epoch);
                seen[expected[k].err]++;
            }
        }
        streams_check(w->streams);
        twin_free(t);
        world_free(w);
    }
    assert_true(seen[ERR_OK] > 1000 && seen[ERR_OUT_OF_ORDER] > 1000);
    assert_true(seen[ERR_EXPIRED] > 1000 && seen[ERR_FENCED] > 1000);
    assert_true(seen[ERR_CONFLICT] > 1000);
}

/* ---- replicas ---------------------------------------------------------- */

static struct hash128 sum_of_rows(const struct world *w)
{
    struct hash128 sum = {0, 0};
    for (size_t i = 0; i < w->row_count; i++) {
        struct hash128 h = {0, 0};
        if (w->rows[i].space == ROW_STATE)
            h = streams_row_digest(span_buf(&w->rows[i].key),
                                   span_buf(&w->rows[i].value));
        sum.lo += h.lo;
        sum.hi += h.hi;
    }
    return sum;
}

/* A second replica restarts from its rows now and then, in any order of the
 * rows; it comes to the same verdicts, rows and digests. */
static void replica_restarted_from_its_rows_is_the_same(void **state)
{
    (void)state;
    static struct verdict verdicts[ENTRY_COMMANDS_MAX];
    struct rng r;
    struct buf images = {0};
    for (uint64_t seed = 1; seed <= 2; seed++) {
        rng_seed(&r, seed);
        struct world *w = world_new();
        w->is_state_only = true;
        struct twin *t = begin_history(w);
        struct streams *other = world_load(w, &r);
        for (int i = 0; i < 3000; i++) {
            uint64_t count = 1 + rng_below(&r, 10);
            w->time_ms = 1000 + rng_below(&r, 100);
            world_begin(w);
            for (uint64_t k = 0; k < count; k++)
                (void)add_random(w, &r, t);
            world_apply(w);
            buf_clear(&images);
            assert_int_equal(
                streams_apply(other, span_buf(&w->manifest), verdicts, &images),
                ERR_OK);
            for (uint64_t k = 0; k < count; k++)
                assert_append(w->verdicts[k], verdicts[k]);
            assert_true(span_equal(span_buf(&w->images), span_buf(&images)));
            world_assert_digest(w->streams, other);
            struct hash128 sum = sum_of_rows(w);
            assert_int_equal(sum.lo, streams_digest(other).lo);
            assert_int_equal(sum.hi, streams_digest(other).hi);
            if (rng_chance(&r, 100)) {
                streams_check(other);
                streams_free(other);
                other = world_load(w, &r);
            }
        }
        world_assert_digest(w->streams, other);
        streams_free(other);
        twin_free(t);
        world_free(w);
    }
    buf_free(&images);
}

/* Evictions depend on the order of use, which the rows must carry too. */
static void restarted_replica_evicts_the_same_producers(void **state)
{
    (void)state;
    static struct verdict verdicts[ENTRY_COMMANDS_MAX];
    struct rng r;
    rng_seed(&r, 9);
    struct world *w = world_new();
    w->is_storing = false;
    struct position stream = world_do(w, create_stream("s")).id;
    char name[24];
    for (uint32_t i = 0; i < PRODUCERS_PER_GROUP_MAX;) {
        w->time_ms += 100;
        world_begin(w);
        for (uint32_t k = 0; k < 1000; k++, i++) {
            snprintf(name, sizeof name, "%" PRIu32, i);
            struct command c = open_producer(stream, name);
            c.is_unnamed = rng_chance(&r, 1);
            world_add(w, c);
        }
        world_apply(w);
        /* Straight to a list of rows: finding each would be quadratic. */
        struct dec d = dec_of(span_buf(&w->images));
        struct image image;
        while (image_next(&d, &image)) {
            if (image.key.data[0] == ROW_STREAM) {
                world_store(w, &image);
                continue;
            }
            if (w->row_count == w->row_capacity) {
                w->row_capacity = w->row_capacity * 2 + 16;
                w->rows =
                    mem_resize(w->rows, w->row_capacity * sizeof *w->rows);
            }
            struct world_row *row = &w->rows[w->row_count++];
            *row = (struct world_row){.space = image.space};
            buf_append(&row->key, image.key.data, image.key.size);
            buf_append(&row->value, image.value.data, image.value.size);
        }
    }
    struct streams *other = world_load(w, &r);
    world_assert_digest(w->streams, other);
    struct buf images = {0};
    uint32_t evicted = 0;
    for (uint32_t i = 0; i < 40; i++) {
        w->time_ms += WORLD_HOUR_MS / 2;
        snprintf(name, sizeof name, "new %" PRIu32, i);
        struct command c = open_producer(stream, name);
        c.is_unnamed = i % 3 == 0;
        evicted += world_do(w, c).err == ERR_OK;
        buf_clear(&images);
        assert_int_equal(
            streams_apply(other, span_buf(&w->manifest), verdicts, &images),
            ERR_OK);
        assert_int_equal(verdicts[0].err, w->verdicts[0].err);
        assert_true(span_equal(span_buf(&w->images), span_buf(&images)));
        world_assert_digest(w->streams, other);
    }
    assert_true(evicted > 5 && evicted < 40);
    streams_check(other);
    streams_free(other);
    buf_free(&images);
    world_free(w);
}

/* ---- admission --------------------------------------------------------- */

/* A leader whose state lags behind its log, and a replica that has applied
 * all of it. */
struct leading {
    struct world *leader; /* applied up to `leader->index` */
    struct world *ahead;
    struct twin *twin;  /* of `ahead`: what clients may know */
    struct buf log[64]; /* unapplied manifests, oldest first */
    uint32_t log_count;
    uint64_t told; /* ids up to this index are known to clients */
};

static struct verdict judge_in_copy(const struct world *w, struct command c)
{
    struct world *copy = world_new();
    streams_free(copy->streams);
    copy->streams = world_load(w, NULL);
    copy->is_storing = false;
    copy->index = w->index;
    copy->time_ms = w->time_ms;
    struct verdict v = world_do(copy, c);
    world_free(copy);
    return v;
}

static void apply_one(struct leading *l)
{
    static struct verdict verdicts[ENTRY_COMMANDS_MAX];
    struct world *w = l->leader;
    buf_clear(&w->images);
    assert_int_equal(
        streams_apply(w->streams, span_buf(&l->log[0]), verdicts, &w->images),
        ERR_OK);
    world_store_images(w);
    w->index++;
    l->told = max_u64(l->told, w->index);
    buf_free(&l->log[0]);
    memmove(l->log, l->log + 1, (--l->log_count) * sizeof *l->log);
}

/* Another leader with the same log: it notes entries, not commands, and its
 * clients know ids that it has not applied. */
static void elect(struct leading *l)
{
    streams_spec_clear(l->leader->streams);
    for (uint32_t i = 0; i < l->log_count; i++)
        streams_spec_note(l->leader->streams, span_buf(&l->log[i]));
    l->told = l->ahead->index;
}

/* True if the clients could have sent it. */
static bool is_known(const struct leading *l, const struct command *c,
                     uint32_t name)
{
    if (c->kind == COMMAND_APPEND)
        return c->producer.index <= l->told;
    /* A second opening of a name whose first is unapplied, and noted without
     * a position, is not foreseen: the append is fenced at apply. */
    struct twin_producer *p =
        twin_named(l->twin, twin_stream(l->twin, c->stream), name);
    return p == NULL || p->id.index <= l->told;
}

static void check_refusal(struct leading *l, const struct command *c,
                          struct verdict v, bool is_final)
{
    struct verdict later = judge_in_copy(l->ahead, *c);
    if (is_final) {
        assert_append(v, judge_in_copy(l->leader, *c));
        assert_true(later.err != ERR_OK || later.is_duplicate);
        return;
    }
    if (v.err == ERR_BUSY)
        assert_true(later.is_duplicate || later.err == ERR_CONFLICT ||
                    later.err == ERR_FENCED);
    else
        assert_int_equal(v.err, later.err);
}

/* One command to the leader. Returns what it said. */
static struct verdict ask(struct leading *l, struct rng *r)
{
    struct verdict v = {.err = ERR_TIMEOUT};
    bool is_final;
    uint32_t name = (uint32_t)rng_below(r, NAMES);
    struct command c = random_append(r, l->twin);
    if (rng_chance(r, 60))
        c = open_producer(l->twin->streams[rng_below(r, STREAMS)],
                          producer_names[name]);
    if (!is_known(l, &c, name))
        return v;
    enum err err = streams_admit(l->leader->streams, &c, &v, &is_final);
    assert_int_equal(err, v.err);
    if (is_final || err != ERR_OK) {
        check_refusal(l, &c, v, is_final);
        return v;
    }
    streams_spec_command(l->leader->streams, &c);
    struct verdict done = world_do(l->ahead, c);
    assert_int_equal(done.err, ERR_OK);
    assert_false(done.is_duplicate);
    struct verdict twin =
        c.kind == COMMAND_APPEND
            ? twin_append(l->twin, &c)
            : twin_open(l->twin, &c, name,
                        (struct position){l->ahead->index, 0});
    assert_int_equal(twin.err, ERR_OK);
    l->log[l->log_count] = (struct buf){0};
    buf_append(&l->log[l->log_count++], l->ahead->manifest.data,
               l->ahead->manifest.size);
    return v;
}

static void
what_is_admitted_is_accepted_and_what_is_not_would_be_refused(void **state)
{
    (void)state;
    uint32_t seen[64] = {0};
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct rng r;
        rng_seed(&r, seed);
        struct leading l = {.leader = world_new(), .ahead = world_new()};
        l.leader->is_state_only = true;
        l.ahead->is_state_only = true;
        l.twin = begin_history(l.ahead);
        twin_free(begin_history(l.leader));
        l.told = 1;
        for (int i = 0; i < 1500; i++) {
            seen[ask(&l, &r).err]++;
            while (l.log_count > 0 &&
                   (l.log_count == 64 || rng_chance(&r, 300)))
                apply_one(&l);
            if (rng_chance(&r, 50))
                elect(&l);
            streams_check(l.leader->streams);
        }
        while (l.log_count > 0)
            apply_one(&l);
        world_assert_digest(l.leader->streams, l.ahead->streams);
        twin_free(l.twin);
        world_free(l.leader);
        world_free(l.ahead);
    }
    assert_true(seen[ERR_OK] > 500 && seen[ERR_BUSY] > 50);
    assert_true(seen[ERR_OUT_OF_ORDER] > 50 && seen[ERR_FENCED] > 20);
    assert_true(seen[ERR_EXPIRED] > 50 && seen[ERR_CONFLICT] > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verdicts_are_those_of_a_twin_that_forgets_nothing),
        cmocka_unit_test(replica_restarted_from_its_rows_is_the_same),
        cmocka_unit_test(restarted_replica_evicts_the_same_producers),
        cmocka_unit_test(
            what_is_admitted_is_accepted_and_what_is_not_would_be_refused),
    };
    return cmocka_run_group_tests_name("streams_random", tests, NULL, NULL) !=
           0;
}
