/* test_streams.c - verdicts, limits, rows: one claim at a time. Random
 * histories against slow twins: test_streams_random.c. */
#include "tests/unit/streams_world.h"

/* A stream with one producer of epoch 1. */
struct scene {
    struct world *w;
    struct position stream;
    struct position producer;
};

static struct scene scene_new(void)
{
    struct scene s = {.w = world_new()};
    s.stream = world_do(s.w, create_stream("s")).id;
    s.producer = world_do(s.w, open_producer(s.stream, "p")).id;
    return s;
}

static void scene_end(struct scene *s)
{
    streams_check(s->w->streams);
    world_free(s->w);
}

static struct command append_number(const struct scene *s, uint64_t number)
{
    return append_to(s->stream, s->producer, 1, number);
}

/* Numbers from `from` up to `to`, in entries of up to 500. */
static void append_many(struct scene *s, uint64_t from, uint64_t to)
{
    while (from < to) {
        world_begin(s->w);
        for (int i = 0; i < 500 && from < to; i++)
            world_add(s->w, append_number(s, from++));
        world_apply(s->w);
    }
}

static enum err append_err(struct scene *s, struct command c)
{
    return world_do(s->w, c).err;
}

/* ---- streams ----------------------------------------------------------- */

static void create_of_a_name_that_is_there_tells_its_id(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct verdict first = world_do(w, create_stream("a"));
    assert_int_equal(first.err, ERR_OK);
    assert_false(first.is_duplicate);
    struct verdict second = world_do(w, create_stream("a"));
    assert_int_equal(second.err, ERR_OK);
    assert_true(second.is_duplicate);
    assert_true(position_equal(first.id, second.id));
    assert_int_equal(w->images.size, 0);
    assert_int_equal(streams_count(w->streams), 1);
    world_free(w);
}

static void ids_of_one_entry_differ_by_ordinal(void **state)
{
    (void)state;
    struct world *w = world_new();
    world_begin(w);
    world_add(w, create_stream("a"));
    world_add(w, create_stream("b"));
    world_apply(w);
    assert_true(position_equal(w->verdicts[0].id, (struct position){1, 0}));
    assert_true(position_equal(w->verdicts[1].id, (struct position){1, 1}));
    struct stream_info info;
    assert_int_equal(streams_by_name(w->streams, span_str("b"), &info), ERR_OK);
    assert_int_equal(info.id.ordinal, 1);
    assert_int_equal(info.created_ms, w->time_ms);
    assert_int_equal(streams_by_id(w->streams, (struct position){1, 2}, &info),
                     ERR_NOT_FOUND);
    world_free(w);
}

static void entry_applied_twice_is_damage(void **state)
{
    (void)state;
    struct world *w = world_new();
    world_do(w, create_stream("a"));
    assert_int_equal(streams_apply(w->streams, span_buf(&w->manifest),
                                   w->verdicts, &w->images),
                     ERR_DAMAGED);
    world_free(w);
}

static void entry_of_a_higher_level_changes_nothing(void **state)
{
    (void)state;
    struct world *w = world_new();
    world_begin(w);
    world_add(w, create_stream("a"));
    world_number(w);
    w->manifest.data[2] = LEVEL_NOW + 1;
    assert_int_equal(streams_apply(w->streams, span_buf(&w->manifest),
                                   w->verdicts, &w->images),
                     ERR_INCOMPATIBLE);
    assert_int_equal(streams_count(w->streams), 0);
    assert_int_equal(w->images.size, 0);
    w->manifest.data[2] = LEVEL_NOW;
    assert_int_equal(streams_apply(w->streams, span_buf(&w->manifest),
                                   w->verdicts, &w->images),
                     ERR_OK);
    world_free(w);
}

static void listing_is_by_name_from_a_prefix_and_behind_a_name(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct stream_info out[8];
    static const char *const names[] = {"b/2", "a", "b/1", "c", "b", "b/10"};
    for (size_t i = 0; i < 6; i++) {
        world_do(w, create_stream(names[i]));
        /* Listing in between: later names go in among those in order. */
        assert_int_equal(
            streams_list(w->streams, span_str(""), span_str(""), out, 8),
            i + 1);
        streams_check(w->streams);
    }
    assert_true(span_equal(out[0].name, span_str("a")));
    assert_true(span_equal(out[5].name, span_str("c")));
    assert_int_equal(
        streams_list(w->streams, span_str("b/"), span_str(""), out, 8), 3);
    assert_true(span_equal(out[0].name, span_str("b/1")));
    assert_true(span_equal(out[1].name, span_str("b/10")));
    assert_int_equal(
        streams_list(w->streams, span_str("b/"), span_str("b/1"), out, 1), 1);
    assert_true(span_equal(out[0].name, span_str("b/10")));
    assert_int_equal(
        streams_list(w->streams, span_str("b"), span_str("b/2"), out, 8), 0);
    assert_int_equal(
        streams_list(w->streams, span_str("x"), span_str(""), out, 8), 0);
    world_free(w);
}

static void streams_of_a_group_are_limited(void **state)
{
    (void)state;
    struct world *w = world_new();
    w->is_storing = false;
    static struct stream_info out[STREAMS_PER_GROUP_MAX];
    char name[16];
    for (uint32_t i = 0; i < STREAMS_PER_GROUP_MAX;) {
        world_begin(w);
        for (uint32_t k = 0; k < 1000; k++, i++) {
            snprintf(name, sizeof name, "%08u", (i * 7919u) % 100003u);
            world_add(w, create_stream(name));
        }
        world_apply(w);
        if (i % 30000 == 0) { /* the rest is merged in by the next listing */
            assert_int_equal(
                streams_list(w->streams, span_str("0"), span_str(""), out, 100),
                100);
            streams_check(w->streams);
        }
    }
    assert_int_equal(streams_count(w->streams), STREAMS_PER_GROUP_MAX);
    struct hash128 before = streams_digest(w->streams);
    assert_int_equal(world_do(w, create_stream("more")).err, ERR_TOO_LARGE);
    assert_int_equal(world_do(w, create_stream("00000000")).err, ERR_OK);
    assert_int_equal(streams_digest(w->streams).lo, before.lo);
    struct verdict v;
    bool is_final;
    struct command c = create_stream("more");
    assert_int_equal(streams_admit(w->streams, &c, &v, &is_final),
                     ERR_TOO_LARGE);
    assert_false(is_final);
    assert_int_equal(streams_list(w->streams, span_str(""), span_str(""), out,
                                  STREAMS_PER_GROUP_MAX),
                     STREAMS_PER_GROUP_MAX);
    streams_check(w->streams);
    world_free(w);
}

/* ---- the order of judgement -------------------------------------------- */

static void append_to_an_unknown_stream_is_not_found(void **state)
{
    (void)state;
    struct scene s = scene_new();
    struct command c = append_number(&s, 0);
    c.stream.ordinal++;
    assert_int_equal(append_err(&s, c), ERR_NOT_FOUND);
    c = open_producer(c.stream, "p");
    assert_int_equal(append_err(&s, c), ERR_NOT_FOUND);
    scene_end(&s);
}

static void unknown_producer_is_expired_and_never_new(void **state)
{
    (void)state;
    struct scene s = scene_new();
    struct command c = append_number(&s, 0);
    c.producer.ordinal = 5;
    assert_int_equal(append_err(&s, c), ERR_EXPIRED);
    /* One of another stream is unknown in this one. */
    struct position other = world_do(s.w, create_stream("t")).id;
    c = append_to(other, s.producer, 1, 0);
    assert_int_equal(append_err(&s, c), ERR_EXPIRED);
    scene_end(&s);
}

static void lower_epoch_is_fenced_before_its_number_is_judged(void **state)
{
    (void)state;
    struct scene s = scene_new();
    append_many(&s, 0, 3);
    struct verdict v = world_do(s.w, open_producer(s.stream, "p"));
    assert_true(position_equal(v.id, s.producer));
    assert_int_equal(v.producer_epoch, 2);
    assert_int_equal(v.next_number, 3);
    assert_int_equal(v.next_seq, 3);
    for (uint64_t number = 0; number < 5; number++)
        assert_int_equal(append_err(&s, append_number(&s, number)), ERR_FENCED);
    struct command c = append_to(s.stream, s.producer, 3, 3);
    assert_int_equal(append_err(&s, c), ERR_EXPIRED);
    c.producer_epoch = 2;
    assert_int_equal(append_err(&s, c), ERR_OK);
    scene_end(&s);
}

static void repeat_gets_its_first_answer(void **state)
{
    (void)state;
    struct scene s = scene_new();
    append_many(&s, 0, 2);
    struct position other = world_do(s.w, open_producer(s.stream, "q")).id;
    world_do(s.w, append_to(s.stream, other, 1, 0));
    append_many(&s, 2, 5);
    static const uint64_t answers[] = {0, 1, 3, 4, 5};
    for (uint64_t n = 0; n < 5; n++) {
        struct verdict v = world_do(s.w, append_number(&s, n));
        assert_int_equal(v.err, ERR_OK);
        assert_true(v.is_duplicate);
        assert_int_equal(v.seq, answers[n]);
        assert_int_equal(v.next_seq, 6);
    }
    /* Twice in one entry is no different. */
    world_begin(s.w);
    world_add(s.w, append_number(&s, 5));
    world_add(s.w, append_number(&s, 5));
    world_apply(s.w);
    assert_false(s.w->verdicts[0].is_duplicate);
    assert_true(s.w->verdicts[1].is_duplicate);
    assert_int_equal(s.w->verdicts[0].seq, s.w->verdicts[1].seq);
    scene_end(&s);
}

static void below_the_window_is_expired_and_at_its_edge_is_not(void **state)
{
    (void)state;
    struct scene s = scene_new();
    append_many(&s, 0, PRODUCER_WINDOW - 1);
    struct verdict v = world_do(s.w, append_number(&s, 0));
    assert_true(v.err == ERR_OK && v.is_duplicate && v.seq == 0);
    append_many(&s, PRODUCER_WINDOW - 1, PRODUCER_WINDOW);
    v = world_do(s.w, append_number(&s, 0));
    assert_true(v.err == ERR_OK && v.is_duplicate && v.seq == 0);
    append_many(&s, PRODUCER_WINDOW, PRODUCER_WINDOW + 1);
    assert_int_equal(append_err(&s, append_number(&s, 0)), ERR_EXPIRED);
    v = world_do(s.w, append_number(&s, 1));
    assert_true(v.err == ERR_OK && v.is_duplicate && v.seq == 1);
    scene_end(&s);
}

static void repeat_with_other_bytes_is_a_conflict(void **state)
{
    (void)state;
    struct scene s = scene_new();
    append_many(&s, 0, 70);
    struct command c = append_number(&s, 70 - PRODUCER_CHECKSUMS);
    c.checksum.lo++;
    assert_int_equal(append_err(&s, c), ERR_CONFLICT);
    c = append_number(&s, 70 - PRODUCER_CHECKSUMS - 1);
    c.checksum.lo++; /* no longer remembered */
    struct verdict v = world_do(s.w, c);
    assert_true(v.err == ERR_OK && v.is_duplicate);
    scene_end(&s);
}

static void gap_is_out_of_order_and_tells_the_number_wanted(void **state)
{
    (void)state;
    struct scene s = scene_new();
    append_many(&s, 0, 4);
    struct command c = append_number(&s, 5);
    c.expected_seq = 77; /* judged after the gap */
    struct verdict v = world_do(s.w, c);
    assert_int_equal(v.err, ERR_OUT_OF_ORDER);
    assert_int_equal(v.next_number, 4);
    assert_int_equal(append_err(&s, append_number(&s, 4)), ERR_OK);
    scene_end(&s);
}

static void expected_seq_is_judged_after_the_number(void **state)
{
    (void)state;
    struct scene s = scene_new();
    struct command c = append_number(&s, 0);
    c.expected_seq = 1;
    struct verdict v = world_do(s.w, c);
    assert_int_equal(v.err, ERR_CONFLICT);
    assert_int_equal(v.next_seq, 0);
    c.expected_seq = 0; /* the refused one has taken no number */
    assert_int_equal(append_err(&s, c), ERR_OK);
    v = world_do(s.w, c); /* expected 0, the end is 1: yet it is the answer */
    assert_true(v.err == ERR_OK && v.is_duplicate && v.seq == 0);
    scene_end(&s);
}

/* ---- the life of a producer -------------------------------------------- */

static void closing_append_is_answered_again_and_frees_the_name(void **state)
{
    (void)state;
    struct scene s = scene_new();
    append_many(&s, 0, 2);
    struct command c = append_number(&s, 2);
    c.closes_producer = true;
    struct verdict v = world_do(s.w, c);
    assert_true(v.err == ERR_OK && !v.is_duplicate && v.seq == 2);
    struct stream_info info;
    assert_int_equal(streams_by_id(s.w->streams, s.stream, &info), ERR_OK);
    assert_int_equal(info.producers, 0);
    for (uint64_t n = 0; n < 3; n++) {
        v = world_do(s.w, append_number(&s, n));
        assert_true(v.err == ERR_OK && v.is_duplicate && v.seq == n);
    }
    assert_int_equal(append_err(&s, append_number(&s, 3)), ERR_EXPIRED);
    assert_int_equal(append_err(&s, append_number(&s, 4)), ERR_EXPIRED);
    v = world_do(s.w, open_producer(s.stream, "p"));
    assert_false(position_equal(v.id, s.producer));
    assert_int_equal(v.producer_epoch, 1);
    assert_int_equal(v.next_number, 0);
    assert_int_equal(v.next_seq, 3);
    scene_end(&s);
}

static void
closed_producers_are_forgotten_in_order_beyond_the_limit(void **state)
{
    (void)state;
    struct scene s = scene_new();
    s.w->is_storing = false;
    struct command first = append_number(&s, 0);
    first.closes_producer = true;
    assert_int_equal(append_err(&s, first), ERR_OK);
    struct hash128 before = {0, 0};
    for (uint32_t i = 0; i < PRODUCERS_CLOSED_MAX; i++) {
        if (i == PRODUCERS_CLOSED_MAX - 1) {
            struct verdict v = world_do(s.w, first);
            assert_true(v.err == ERR_OK && v.is_duplicate);
            before = streams_digest(s.w->streams);
        }
        struct position p = world_do(s.w, open_producer(s.stream, "x")).id;
        struct command c = append_to(s.stream, p, 1, 0);
        c.closes_producer = true;
        assert_int_equal(append_err(&s, c), ERR_OK);
    }
    assert_int_equal(append_err(&s, first), ERR_EXPIRED);
    assert_true(before.lo != streams_digest(s.w->streams).lo);
    scene_end(&s);
}

/* Opens producers named by number until there are `count` in the group. */
static void open_many(struct scene *s, uint32_t from, uint32_t count,
                      bool is_unnamed)
{
    char name[16];
    while (from < count) {
        world_begin(s->w);
        for (uint32_t k = 0; k < 1000 && from < count; k++, from++) {
            snprintf(name, sizeof name, "%u", from);
            struct command c = open_producer(s->stream, name);
            c.is_unnamed = is_unnamed;
            world_add(s->w, c);
        }
        world_apply(s->w);
    }
}

static void
unnamed_producer_makes_room_after_an_hour_and_a_named_never(void **state)
{
    (void)state;
    struct scene s = scene_new(); /* "p" is named, and the first */
    s.w->is_storing = false;
    open_many(&s, 1, 3, true);
    s.w->time_ms += 1;
    /* The oldest is used again, and so is no longer the oldest. */
    struct verdict one = world_do(s.w, open_producer(s.stream, "1"));
    assert_int_equal(one.producer_epoch, 2);
    open_many(&s, 3, PRODUCERS_PER_GROUP_MAX, false);
    struct hash128 before = streams_digest(s.w->streams);
    s.w->time_ms = 1000 + WORLD_HOUR_MS;
    assert_int_equal(append_err(&s, open_producer(s.stream, "x")),
                     ERR_TOO_LARGE);
    assert_int_equal(streams_digest(s.w->streams).lo, before.lo);
    /* Taking one over needs no room. */
    assert_int_equal(append_err(&s, open_producer(s.stream, "7")), ERR_OK);
    s.w->time_ms++;
    assert_int_equal(append_err(&s, open_producer(s.stream, "x")), ERR_OK);
    assert_int_equal(append_err(&s, open_producer(s.stream, "y")),
                     ERR_TOO_LARGE); /* "1" was used a millisecond later */
    assert_int_equal(append_err(&s, append_to(s.stream, one.id, 2, 0)), ERR_OK);
    s.w->time_ms += 10 * WORLD_HOUR_MS;
    assert_int_equal(append_err(&s, open_producer(s.stream, "y")), ERR_OK);
    assert_int_equal(append_err(&s, append_to(s.stream, one.id, 2, 1)),
                     ERR_EXPIRED);
    assert_int_equal(append_err(&s, open_producer(s.stream, "z")),
                     ERR_TOO_LARGE); /* none but named ones are left */
    struct stream_info info;
    assert_int_equal(streams_by_id(s.w->streams, s.stream, &info), ERR_OK);
    assert_int_equal(info.producers, PRODUCERS_PER_GROUP_MAX);
    scene_end(&s);
}

/* ---- admission --------------------------------------------------------- */

/* What a leader says to a command; -1 stands for "append it". */
static int admit(struct scene *s, struct command c, bool *is_final)
{
    struct verdict v;
    enum err err = streams_admit(s->w->streams, &c, &v, is_final);
    assert_int_equal(err, v.err);
    return err == ERR_OK && !*is_final ? -1 : (int)err;
}

static void
repeat_of_what_is_in_the_log_is_busy_until_it_is_applied(void **state)
{
    (void)state;
    struct scene s = scene_new();
    bool is_final;
    struct command c = append_number(&s, 0);
    assert_int_equal(admit(&s, append_number(&s, 1), &is_final),
                     ERR_OUT_OF_ORDER);
    assert_false(is_final);
    assert_int_equal(admit(&s, c, &is_final), -1);
    assert_int_equal(admit(&s, c, &is_final), -1); /* asking keeps nothing */
    streams_spec_command(s.w->streams, &c);
    assert_int_equal(admit(&s, c, &is_final), ERR_BUSY);
    assert_false(is_final);
    struct command next = append_number(&s, 1);
    next.expected_seq = 0;
    assert_int_equal(admit(&s, next, &is_final), ERR_CONFLICT);
    next.expected_seq = 1;
    assert_int_equal(admit(&s, next, &is_final), -1);
    world_do(s.w, c);
    assert_int_equal(admit(&s, c, &is_final), ERR_OK);
    assert_true(is_final);
    c.checksum.lo++;
    assert_int_equal(admit(&s, c, &is_final), ERR_CONFLICT);
    assert_true(is_final);
    scene_end(&s);
}

static void append_behind_an_unapplied_takeover_is_fenced(void **state)
{
    (void)state;
    struct scene s = scene_new();
    bool is_final;
    append_many(&s, 0, 1);
    struct command takeover = open_producer(s.stream, "p");
    assert_int_equal(admit(&s, takeover, &is_final), -1);
    streams_spec_command(s.w->streams, &takeover);
    assert_int_equal(admit(&s, append_number(&s, 1), &is_final), ERR_FENCED);
    assert_false(is_final);
    /* What is applied is so, whatever the log will bring. */
    assert_int_equal(admit(&s, append_number(&s, 0), &is_final), ERR_OK);
    assert_true(is_final);
    world_do(s.w, takeover);
    assert_int_equal(admit(&s, append_number(&s, 1), &is_final), ERR_FENCED);
    assert_true(is_final);
    scene_end(&s);
}

static void new_leader_knows_what_its_log_will_make(void **state)
{
    (void)state;
    struct scene s = scene_new();
    bool is_final;
    struct streams *old = s.w->streams;
    s.w->streams = world_load(s.w, NULL); /* as it is before the entry */
    world_begin(s.w);
    world_add(s.w, create_stream("new"));
    world_number(s.w);
    streams_spec_note(s.w->streams, span_buf(&s.w->manifest));
    struct position stream = {s.w->index, 0};
    assert_int_equal(admit(&s, open_producer(stream, "p"), &is_final), -1);
    world_begin(s.w);
    world_add(s.w, open_producer(stream, "p"));
    world_number(s.w);
    streams_spec_note(s.w->streams, span_buf(&s.w->manifest));
    struct position producer = {s.w->index, 0};
    struct command c = append_to(stream, producer, 1, 0);
    assert_int_equal(admit(&s, c, &is_final), -1);
    streams_spec_clear(s.w->streams);
    assert_int_equal(admit(&s, c, &is_final), ERR_NOT_FOUND);
    assert_false(is_final); /* its entry may yet come */
    streams_free(old);
    scene_end(&s);
}

static void wrong_guess_lasts_until_its_command_is_applied(void **state)
{
    (void)state;
    struct scene s = scene_new();
    bool is_final;
    struct command c = append_number(&s, 0);
    streams_spec_command(s.w->streams, &c);
    assert_int_equal(admit(&s, c, &is_final), ERR_BUSY);
    /* In its place comes one that is refused. */
    c.expected_seq = 99;
    assert_int_equal(append_err(&s, c), ERR_CONFLICT);
    assert_int_equal(admit(&s, append_number(&s, 0), &is_final), -1);
    scene_end(&s);
}

/* ---- rows -------------------------------------------------------------- */

static struct run_row stored_run(struct world *w, struct position stream,
                                 uint64_t seq)
{
    struct run_row row;
    uint8_t key[RUN_KEY_BYTES];
    run_key(stream, seq, key);
    struct world_row *stored =
        world_row(w, ROW_INDEX, span_of(key, sizeof key));
    assert_non_null(stored);
    assert_int_equal(
        run_row_read(span_buf(&stored->key), span_buf(&stored->value), &row),
        ERR_OK);
    return row;
}

static size_t count_images(const struct world *w, enum row_space space)
{
    size_t count = 0;
    struct dec d = dec_of(span_buf(&w->images));
    struct image image;
    while (image_next(&d, &image))
        count += image.space == space;
    return count;
}

static void run_is_split_by_what_is_refused_and_garbage_is_named(void **state)
{
    (void)state;
    struct scene s = scene_new();
    struct position other = world_do(s.w, create_stream("t")).id;
    struct position q = world_do(s.w, open_producer(other, "q")).id;
    world_begin(s.w);
    world_add(s.w, append_to(other, q, 1, 0)); /* 0: a run of its own */
    world_add(s.w, append_number(&s, 0));      /* 1: seq 0 */
    world_add(s.w, append_number(&s, 1));      /* 2: seq 1 */
    uint16_t refused = world_add(s.w, append_number(&s, 9)); /* 3 */
    struct command c = append_number(&s, 2);                 /* 4: seq 2 */
    c.key_hash = 42;
    c.attributes = span_str("note");
    world_add(s.w, c);
    world_add(s.w, append_number(&s, 3)); /* 5: seq 3 */
    world_apply(s.w);
    assert_int_equal(count_images(s.w, ROW_INDEX), 3);

    struct run_row row = stored_run(s.w, s.stream, 0);
    assert_int_equal(row.count, 2);
    assert_int_equal(row.entry_index, s.w->index);
    assert_int_equal(row.ordinal, 1);
    assert_int_equal(row.offset, 0);
    row = stored_run(s.w, s.stream, 2);
    assert_int_equal(row.count, 2);
    assert_int_equal(row.ordinal, 1); /* still the bytes of that run */
    assert_int_equal(row.offset, 30); /* behind the refused ten */
    struct run_segment segment;
    assert_true(run_row_segment(&row, 0, &segment));
    assert_int_equal(segment.seq, 2);
    assert_int_equal(segment.offset, 30);
    assert_int_equal(segment.size, 10);
    assert_int_equal(segment.key_hash, 42);
    assert_true(span_equal(segment.attributes, span_str("note")));
    assert_int_equal(segment.checksum.lo, 2 * 7 + 1);
    assert_true(run_row_segment(&row, 1, &segment));
    assert_int_equal(segment.offset, 40);
    assert_int_equal(segment.key_hash, 0);
    assert_int_equal(segment.attributes.size, 0);
    assert_false(run_row_segment(&row, 2, &segment));

    uint8_t key[ROW_STATE_KEY_BYTES];
    row_key(ROW_GARBAGE, (struct position){s.w->index, refused}, key);
    struct world_row *stored =
        world_row(s.w, ROW_STATE, span_of(key, sizeof key));
    assert_non_null(stored);
    struct garbage_row garbage;
    assert_int_equal(garbage_row_read(span_buf(&stored->key),
                                      span_buf(&stored->value), &garbage),
                     ERR_OK);
    assert_int_equal(garbage.entry_index, s.w->index);
    assert_int_equal(garbage.run_ordinal, 1);
    assert_int_equal(garbage.offset, 20);
    assert_int_equal(garbage.size, 10);
    scene_end(&s);
}

static void run_ends_at_another_command_and_at_another_stream(void **state)
{
    (void)state;
    struct scene s = scene_new();
    world_begin(s.w);
    world_add(s.w, append_number(&s, 0));
    world_add(s.w, create_stream("between"));
    world_add(s.w, append_number(&s, 1));
    world_add(s.w, append_to((struct position){99, 0}, s.producer, 1, 0));
    world_add(s.w, append_number(&s, 2));
    world_apply(s.w);
    static const uint16_t ordinals[] = {0, 2, 4};
    for (uint64_t seq = 0; seq < 3; seq++) {
        struct run_row row = stored_run(s.w, s.stream, seq);
        assert_int_equal(row.ordinal, ordinals[seq]);
        assert_int_equal(row.count, 1);
        assert_int_equal(row.offset, 0);
    }
    scene_end(&s);
}

static void times_of_a_stream_never_go_back(void **state)
{
    (void)state;
    struct scene s = scene_new();
    static const uint64_t clock[] = {5000, 3000, 7000};
    static const uint64_t times[] = {5000, 5000, 7000};
    for (uint64_t n = 0; n < 3; n++) {
        s.w->time_ms = clock[n];
        world_do(s.w, append_number(&s, n));
        assert_int_equal(stored_run(s.w, s.stream, n).time_ms, times[n]);
    }
    struct stream_info info;
    assert_int_equal(streams_by_id(s.w->streams, s.stream, &info), ERR_OK);
    assert_int_equal(info.changed_ms, 7000);
    assert_int_equal(info.bytes, 30);
    assert_int_equal(info.next_seq, 3);
    scene_end(&s);
}

static void entry_has_one_image_of_each_row(void **state)
{
    (void)state;
    struct scene s = scene_new();
    world_begin(s.w);
    for (uint64_t n = 0; n < 5; n++)
        world_add(s.w, append_number(&s, n));
    world_add(s.w, open_producer(s.stream, "p"));
    world_add(s.w, append_to(s.stream, s.producer, 2, 5));
    world_apply(s.w);
    assert_int_equal(count_images(s.w, ROW_STATE), 2); /* stream, producer */
    assert_int_equal(count_images(s.w, ROW_INDEX), 2);
    scene_end(&s);
}

static void damaged_rows_and_images_are_refused(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 5);
    struct scene s = scene_new();
    struct command c = append_number(&s, 0);
    c.attributes = span_str("attributes");
    c.key_hash = 3;
    world_begin(s.w);
    world_add(s.w, c);
    world_add(s.w, append_number(&s, 1));
    world_add(s.w, append_number(&s, 7));
    world_apply(s.w);
    for (size_t i = 0; i < s.w->row_count; i++) {
        struct span key = span_buf(&s.w->rows[i].key);
        struct span value = span_buf(&s.w->rows[i].value);
        struct run_row row;
        struct run_segment segment;
        for (size_t size = 0; size < value.size + 300; size++) {
            bool is_cut = size < value.size;
            uint8_t *copy = mem_copy(value.data, is_cut ? size : value.size);
            struct span bytes = span_of(copy, is_cut ? size : value.size);
            if (!is_cut)
                copy[rng_below(&r, bytes.size)] ^= (uint8_t)(1 + rng_next(&r));
            enum err err;
            if (s.w->rows[i].space == ROW_INDEX) {
                err = run_row_read(key, bytes, &row);
                for (uint32_t k = 0; err == ERR_OK && k < row.count; k++)
                    assert_true(run_row_segment(&row, k, &segment));
            } else {
                struct streams *t = streams_new();
                err = streams_load(t, key, bytes);
                streams_free(t);
            }
            assert_true(err == ERR_OK || err == ERR_CORRUPT);
            assert_true(err == ERR_CORRUPT || !is_cut);
            mem_free(copy);
        }
    }
    for (size_t size = 0; size < s.w->images.size; size++) {
        struct dec d = dec_of(span_of(s.w->images.data, size));
        struct image image;
        while (image_next(&d, &image))
            continue;
    }
    scene_end(&s);
}

static void rows_that_do_not_fit_together_are_corrupt(void **state)
{
    (void)state;
    struct scene s = scene_new();
    struct streams *t = world_load(s.w, NULL);
    for (size_t i = 0; i < s.w->row_count; i++) {
        const struct world_row *row = &s.w->rows[i];
        struct buf key = {0};
        buf_append(&key, row->key.data, row->key.size);
        assert_int_equal(streams_load(t, span_buf(&key), span_buf(&row->value)),
                         ERR_CORRUPT); /* the id is there already */
        key.data[8]++;
        assert_int_equal(streams_load(t, span_buf(&key), span_buf(&row->value)),
                         ERR_CORRUPT); /* the name is */
        key.data[0] = 'X';
        assert_int_equal(streams_load(t, span_buf(&key), span_buf(&row->value)),
                         ERR_CORRUPT);
        buf_free(&key);
    }
    streams_free(t);
    scene_end(&s);
}

/* ---- rules off --------------------------------------------------------- */

static void turn_off(const char *name)
{
    assert_true(rule_turn_off(name));
}

static int all_rules_on(void **state)
{
    (void)state;
    rule_turn_all_on();
    return 0;
}

static void without_s18_a_repeat_in_the_log_appends_twice(void **state)
{
    (void)state;
    struct scene s = scene_new();
    turn_off("S18");
    world_begin(s.w);
    world_add(s.w, append_number(&s, 0));
    world_add(s.w, append_number(&s, 0));
    world_apply(s.w);
    assert_int_equal(s.w->verdicts[1].err, ERR_OK);
    assert_int_equal(s.w->verdicts[1].seq, 1);
    scene_end(&s);
}

static void without_s19a_a_forgotten_producer_is_new(void **state)
{
    (void)state;
    struct scene s = scene_new();
    turn_off("S19A");
    struct command c = append_number(&s, 0);
    c.producer.ordinal++;
    assert_int_equal(append_err(&s, c), ERR_OK);
    struct verdict v = world_do(s.w, c);
    assert_true(v.err == ERR_OK && !v.is_duplicate && v.seq == 1);
    scene_end(&s);
}

static void without_s19b_an_old_instance_goes_on(void **state)
{
    (void)state;
    struct scene s = scene_new();
    turn_off("S19B");
    world_do(s.w, open_producer(s.stream, "p"));
    assert_int_equal(append_err(&s, append_number(&s, 0)), ERR_OK);
    scene_end(&s);
}

static void without_s19c_other_bytes_get_the_first_answer(void **state)
{
    (void)state;
    struct scene s = scene_new();
    turn_off("S19C");
    append_many(&s, 0, 2);
    struct command c = append_number(&s, 1);
    c.checksum.lo++;
    struct verdict v = world_do(s.w, c);
    assert_true(v.err == ERR_OK && v.is_duplicate);
    scene_end(&s);
}

static void without_s20_a_repeat_is_told_a_conflict(void **state)
{
    (void)state;
    struct scene s = scene_new();
    turn_off("S20");
    struct command c = append_number(&s, 0);
    c.expected_seq = 0;
    assert_int_equal(append_err(&s, c), ERR_OK);
    assert_int_equal(append_err(&s, c), ERR_CONFLICT);
    scene_end(&s);
}

static void without_t8_two_streams_have_one_id(void **state)
{
    (void)state;
    struct world *w = world_new();
    turn_off("T8");
    world_begin(w);
    world_add(w, create_stream("a"));
    world_add(w, create_stream("b"));
    world_apply(w);
    assert_true(position_equal(w->verdicts[0].id, w->verdicts[1].id));
    world_free(w);
}

static void without_t9_what_is_forgotten_is_said_to_be_stored(void **state)
{
    (void)state;
    struct scene s = scene_new();
    turn_off("T9");
    append_many(&s, 0, PRODUCER_WINDOW + 1);
    struct verdict v = world_do(s.w, append_number(&s, 0));
    assert_true(v.err == ERR_OK && v.is_duplicate);
    scene_end(&s);
}

#define RULE_TEST(f) cmocka_unit_test_teardown(f, all_rules_on)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(create_of_a_name_that_is_there_tells_its_id),
        cmocka_unit_test(ids_of_one_entry_differ_by_ordinal),
        cmocka_unit_test(entry_applied_twice_is_damage),
        cmocka_unit_test(entry_of_a_higher_level_changes_nothing),
        cmocka_unit_test(listing_is_by_name_from_a_prefix_and_behind_a_name),
        cmocka_unit_test(streams_of_a_group_are_limited),
        cmocka_unit_test(append_to_an_unknown_stream_is_not_found),
        cmocka_unit_test(unknown_producer_is_expired_and_never_new),
        cmocka_unit_test(lower_epoch_is_fenced_before_its_number_is_judged),
        cmocka_unit_test(repeat_gets_its_first_answer),
        cmocka_unit_test(below_the_window_is_expired_and_at_its_edge_is_not),
        cmocka_unit_test(repeat_with_other_bytes_is_a_conflict),
        cmocka_unit_test(gap_is_out_of_order_and_tells_the_number_wanted),
        cmocka_unit_test(expected_seq_is_judged_after_the_number),
        cmocka_unit_test(closing_append_is_answered_again_and_frees_the_name),
        cmocka_unit_test(
            closed_producers_are_forgotten_in_order_beyond_the_limit),
        cmocka_unit_test(
            unnamed_producer_makes_room_after_an_hour_and_a_named_never),
        cmocka_unit_test(
            repeat_of_what_is_in_the_log_is_busy_until_it_is_applied),
        cmocka_unit_test(append_behind_an_unapplied_takeover_is_fenced),
        cmocka_unit_test(new_leader_knows_what_its_log_will_make),
        cmocka_unit_test(wrong_guess_lasts_until_its_command_is_applied),
        cmocka_unit_test(run_is_split_by_what_is_refused_and_garbage_is_named),
        cmocka_unit_test(run_ends_at_another_command_and_at_another_stream),
        cmocka_unit_test(times_of_a_stream_never_go_back),
        cmocka_unit_test(entry_has_one_image_of_each_row),
        cmocka_unit_test(damaged_rows_and_images_are_refused),
        cmocka_unit_test(rows_that_do_not_fit_together_are_corrupt),
        RULE_TEST(without_s18_a_repeat_in_the_log_appends_twice),
        RULE_TEST(without_s19a_a_forgotten_producer_is_new),
        RULE_TEST(without_s19b_an_old_instance_goes_on),
        RULE_TEST(without_s19c_other_bytes_get_the_first_answer),
        RULE_TEST(without_s20_a_repeat_is_told_a_conflict),
        RULE_TEST(without_t8_two_streams_have_one_id),
        RULE_TEST(without_t9_what_is_forgotten_is_said_to_be_stored),
    };
    return cmocka_run_group_tests_name("streams", tests, NULL, NULL) != 0;
}
