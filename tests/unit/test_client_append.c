/* test_client_append.c - the client core's appends, against scripted nodes; the
 * last test lets a lossy network and a real state machine answer at random. */
#include "tests/unit/client_world.h"

/* ---- appends ----------------------------------------------------------- */

static uint32_t open_producer(struct world *w)
{
    struct client_request r = {
        .op = CLIENT_PRODUCER,
        .token = 2,
        .partition = 3,
        .stream = {7, 1},
        .name = span_str("p"),
    };
    assert_int_equal(client_submit(w->client, &r, w->now), ERR_OK);
    struct verdict v = {.id = {8, 0}, .producer_epoch = 4, .next_number = 10};
    world_answer_verdict(w, world_next_sent(w, OP_COMMANDS), &v);
    const struct told *t = world_only_told(w);
    assert_int_equal(t->result.err, ERR_OK);
    assert_int_equal(t->result.next_number, 10);
    return t->result.producer;
}

static enum err append_sized(struct world *w, uint32_t producer, uint64_t token,
                             uint32_t size)
{
    assert_true(w->segment_count < RESULT_MAX);
    struct buf *b = &w->segments[w->segment_count];
    memset(buf_grow(b, size), (int)(token & 0xff), size);
    struct client_append a = {
        .producer = producer,
        .token = token,
        .bytes = {w->segment_count + 1, 0, size},
        .algorithm = CHECKSUM_XXH3_128,
        .checksum = wire_checksum(span_buf(b)),
        .expected_seq = SEQ_ANY,
    };
    enum err err = client_append(w->client, &a, w->now);
    if (err == ERR_OK)
        w->segment_count++;
    else
        buf_free(b);
    return err;
}

static void append_many(struct world *w, uint32_t producer, uint32_t count,
                        uint32_t size)
{
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(append_sized(w, producer, i, size), ERR_OK);
    world_settle(w);
}

/* Answers each command of a request: OK up to `ok` of them, then `err`. */
static void judge(struct world *w, const struct sent *s, uint32_t ok,
                  enum err err)
{
    struct buf list = {0};
    struct commands_iter it;
    struct command c;
    wire_commands_begin(&it, &s->request);
    for (uint32_t i = 0; wire_commands_next(&it, &c); i++) {
        struct verdict v = {.err = i < ok ? ERR_OK : err};
        if (v.err == ERR_OK)
            v.seq = 100 + c.number;
        wire_verdict_write(&list, &v);
    }
    struct response r = {.op = OP_COMMANDS,
                         .verdicts = span_buf(&list),
                         .verdict_count = s->request.command_count};
    world_respond(w, s, &r);
    buf_free(&list);
}

static uint64_t first_number(const struct sent *s)
{
    struct commands_iter it;
    struct command c = {0};
    wire_commands_begin(&it, &s->request);
    assert_true(wire_commands_next(&it, &c));
    assert_int_equal(c.kind, COMMAND_APPEND);
    return c.number;
}

static void appends_of_one_turn_are_one_request(void **state)
{
    (void)state;
    struct world *w = world_connected();
    uint32_t p = open_producer(w);
    assert_int_equal(client_next_number(w->client, p), 10);
    append_many(w, p, 3, 100);
    assert_int_equal(client_next_number(w->client, p), 13);
    const struct sent *s = world_next_sent(w, OP_COMMANDS);
    world_assert_nothing_sent(w);
    assert_int_equal(s->request.command_count, 3);
    assert_int_equal(s->in.payload.size, 300);
    assert_int_equal(wire_commands_verify(&s->in, &s->request), ERR_OK);
    assert_int_equal(first_number(s), 10);
    assert_int_equal(w->released_count, 0);
    judge(w, s, 3, ERR_OK);
    assert_int_equal(w->told_count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(w->told[i].result.token, i);
        assert_int_equal(w->told[i].number, 10 + i);
        assert_int_equal(w->told[i].seq, 110 + i);
    }
    assert_int_equal(w->released_count, 3);
    world_free(w);
}

static void no_more_than_the_credit_is_in_flight(void **state)
{
    (void)state;
    struct world *w = world_connected();
    uint32_t p = open_producer(w);
    append_many(w, p, 12, 256 * KIB);
    size_t bytes = 0;
    while (w->handled < w->sent_count)
        bytes += w->sent[w->handled++].in.payload.size;
    assert_int_equal(bytes, CLIENT_CREDIT_BYTES);
    judge(w, &w->sent[w->sent_count - 4], 1, ERR_OK);
    assert_int_equal(world_next_sent(w, OP_COMMANDS)->in.payload.size,
                     256 * KIB);
    world_assert_nothing_sent(w);
    world_free(w);
}

static void small_appends_are_bounded_by_count(void **state)
{
    (void)state;
    struct world *w = world_connected();
    uint32_t p = open_producer(w);
    append_many(w, p, 1000, 1);
    uint32_t commands = 0;
    while (w->handled < w->sent_count)
        commands += w->sent[w->handled++].request.command_count;
    assert_int_equal(commands, CLIENT_CREDIT_COMMANDS);
    world_free(w);
}

static void too_much_unanswered_is_busy(void **state)
{
    (void)state;
    struct world *w = world_connected();
    uint32_t p = open_producer(w);
    append_many(w, p, PRODUCER_INFLIGHT_MAX, 1);
    assert_int_equal(append_sized(w, p, 0, 1), ERR_BUSY);
    w->handled = w->sent_count;
    uint32_t q = open_producer(w);
    append_many(w, q, 15, MIB);
    assert_int_equal(append_sized(w, q, 0, MIB), ERR_BUSY);
    world_free(w);
}

static void one_refused_stops_the_line_and_goes_back_to_it(void **state)
{
    (void)state;
    struct world *w = world_connected();
    uint32_t p = open_producer(w);
    append_many(w, p, 3, 256 * KIB);
    struct sent *s[3];
    for (size_t i = 0; i < 3; i++)
        s[i] = world_next_sent(w, OP_COMMANDS);
    judge(w, s[0], 0, ERR_BUSY);
    world_pass(w, 500);
    world_assert_nothing_sent(w); /* the others are not back */
    judge(w, s[2], 0, ERR_OUT_OF_ORDER);
    judge(w, s[1], 0, ERR_OUT_OF_ORDER);
    world_pass(w, 1000);
    const struct sent *again = world_next_sent(w, OP_COMMANDS);
    assert_int_equal(first_number(again), 10);
    world_assert_nothing_sent(w); /* a window of one */
    judge(w, again, 1, ERR_OK);
    assert_int_equal(first_number(world_next_sent(w, OP_COMMANDS)), 11);
    assert_int_equal(first_number(world_next_sent(w, OP_COMMANDS)), 12);
    world_free(w);
}

static void what_is_answered_is_not_sent_again(void **state)
{
    (void)state;
    struct world *w = world_connected();
    uint32_t p = open_producer(w);
    append_many(w, p, 2, 256 * KIB);
    (void)world_next_sent(w, OP_COMMANDS); /* its answer is lost */
    judge(w, world_next_sent(w, OP_COMMANDS), 1, ERR_OK);
    assert_int_equal(w->told_count, 0); /* in order */
    world_pass(w, ATTEMPT);
    world_pass(w, 1000);
    const struct sent *again = world_next_sent(w, OP_COMMANDS);
    assert_int_equal(first_number(again), 10);
    assert_int_equal(again->request.command_count, 1);
    judge(w, again, 1, ERR_OK);
    assert_int_equal(w->told_count, 2);
    assert_int_equal(w->told[0].number, 10);
    assert_int_equal(w->told[1].number, 11);
    world_free(w);
}

static void moved_takes_the_line_to_the_new_leader(void **state)
{
    (void)state;
    struct world *w = world_connected();
    uint32_t p = open_producer(w);
    append_many(w, p, 2, 256 * KIB);
    struct sent *a = world_next_sent(w, OP_COMMANDS);
    struct sent *b = world_next_sent(w, OP_COMMANDS);
    uint8_t leader = (uint8_t)(world_node_at(w, a->link) % NODES + 1);
    world_refuse_moved(w, a, leader);
    world_refuse_moved(w, b, leader);
    const struct sent *again = world_next_sent(w, OP_COMMANDS);
    assert_int_equal(world_node_at(w, again->link), leader);
    assert_int_equal(first_number(again), 10);
    world_free(w);
}

static void fenced_is_definite_only_if_nothing_is_unknown(void **state)
{
    (void)state;
    struct world *w = world_connected();
    uint32_t p = open_producer(w);
    append_many(w, p, 2, 10);
    judge(w, world_next_sent(w, OP_COMMANDS), 0, ERR_FENCED);
    assert_int_equal(w->told_count, 2);
    assert_int_equal(w->told[0].result.err, ERR_FENCED);
    assert_int_equal(append_sized(w, p, 9, 1), ERR_FENCED);
    w->told_count = 0;
    p = open_producer(w);
    append_many(w, p, 1, 10);
    (void)world_next_sent(w, OP_COMMANDS); /* lost: it may be in the log */
    world_pass(w, ATTEMPT);
    world_pass(w, 1000);
    judge(w, world_next_sent(w, OP_COMMANDS), 0, ERR_FENCED);
    assert_int_equal(world_only_told(w)->result.err, ERR_TIMEOUT);
    assert_int_equal(append_sized(w, p, 9, 1), ERR_TIMEOUT);
    world_free(w);
}

/* The second attempt meets a leader whose uncommitted log has moved the end
 * away; it falls, and the first attempt's entry commits after all. */
static void once_unknown_a_conflict_is_definite_only_of_the_number(void **state)
{
    (void)state;
    for (uint64_t next = 0; next < 2; next++) {
        struct world *w = world_connected();
        uint32_t p = open_producer(w);
        append_many(w, p, 1, 10);
        (void)world_next_sent(w, OP_COMMANDS); /* lost: it may be in the log */
        world_pass(w, ATTEMPT);
        world_pass(w, 1000);
        struct sent *again = world_next_sent(w, OP_COMMANDS);
        struct verdict v = {.err = ERR_CONFLICT,
                            .next_number = first_number(again) + next};
        world_answer_verdict(w, again, &v);
        assert_int_equal(world_only_told(w)->result.err,
                         next == 0 ? ERR_TIMEOUT : ERR_CONFLICT);
        world_free(w);
    }
}

static void behind_a_failed_append_nothing_was_done(void **state)
{
    (void)state;
    struct world *w = world_connected();
    uint32_t p = open_producer(w);
    append_many(w, p, 3, 256 * KIB);
    struct sent *first = world_next_sent(w, OP_COMMANDS);
    struct sent *second = world_next_sent(w, OP_COMMANDS);
    (void)world_next_sent(w, OP_COMMANDS);
    judge(w, second, 0, ERR_OUT_OF_ORDER);
    judge(w, first, 0, ERR_CONFLICT);
    assert_int_equal(w->told_count, 3);
    assert_int_equal(w->told[0].result.err, ERR_CONFLICT);
    assert_int_equal(w->told[1].result.err, ERR_OUT_OF_ORDER);
    assert_int_equal(w->told[2].result.err, ERR_TIMEOUT); /* in flight */
    assert_int_equal(w->released_count, 3);
    world_free(w);
}

static void an_append_refused_to_the_end_says_why(void **state)
{
    (void)state;
    struct world *w = world_connected();
    uint32_t p = open_producer(w);
    append_many(w, p, 1, 10);
    assert_int_equal(world_refuse_until_the_end(w, ERR_NO_SPACE), ERR_NO_SPACE);
    world_free(w);
}

static void behind_one_busy_to_the_end_nothing_waits_for_room(void **state)
{
    (void)state;
    struct world *w = world_connected();
    uint32_t p = open_producer(w);
    append_many(w, p, 1, 10);
    assert_int_equal(world_refuse_until_the_end(w, ERR_BUSY), ERR_BUSY);
    /* BUSY would be tried again for ever: the line has ended. */
    assert_int_equal(append_sized(w, p, 1, 10), ERR_UNAVAILABLE);
    world_free(w);
}

static void an_append_once_lost_ends_unknown(void **state)
{
    (void)state;
    struct world *w = world_connected();
    uint32_t p = open_producer(w);
    append_many(w, p, 1, 10);
    (void)world_next_sent(w, OP_COMMANDS);
    world_pass(w, ATTEMPT);
    assert_int_equal(world_refuse_until_the_end(w, ERR_NO_SPACE), ERR_TIMEOUT);
    world_free(w);
}

static void batches_at_a_lost_link_go_to_another(void **state)
{
    (void)state;
    struct world *w = world_connected();
    uint32_t p = open_producer(w);
    append_many(w, p, 2, 256 * KIB);
    uint32_t lost = world_next_sent(w, OP_COMMANDS)->link;
    assert_int_equal(world_next_sent(w, OP_COMMANDS)->link, lost);
    world_lose(w, lost);
    struct sent *s = world_next_sent(w, OP_COMMANDS);
    assert_int_not_equal(s->link, lost);
    /* What was sent there is unknown until its number is judged (T18). */
    judge(w, s, 0, ERR_FENCED);
    assert_int_equal(w->told[0].result.err, ERR_TIMEOUT);
    world_free(w);
}

static void an_answer_that_waits_is_heard_however_late(void **state)
{
    (void)state;
    struct world *w = world_connected();
    uint32_t p = open_producer(w);
    append_many(w, p, 2, 256 * KIB);
    w->now += 2 * TIMEOUT; /* the program was elsewhere */
    judge(w, world_next_sent(w, OP_COMMANDS), 1, ERR_OK);
    judge(w, world_next_sent(w, OP_COMMANDS), 1, ERR_OK);
    world_pass(w, 0);
    assert_int_equal(w->told_count, 2);
    assert_int_equal(w->told[0].result.err, ERR_OK);
    assert_int_equal(w->told[1].result.err, ERR_OK);
    world_free(w);
}

static void a_rewound_producer_repeats_its_numbers(void **state)
{
    (void)state;
    struct world *w = world_connected();
    uint32_t p = open_producer(w);
    client_rewind(w->client, p, 4);
    assert_int_equal(client_next_number(w->client, p), 4);
    append_many(w, p, 1, 10);
    assert_int_equal(first_number(world_next_sent(w, OP_COMMANDS)), 4);
    world_free(w);
}

static void nothing_follows_a_closing_append(void **state)
{
    (void)state;
    struct world *w = world_connected();
    uint32_t p = open_producer(w);
    struct client_append a = {
        .producer = p,
        .algorithm = CHECKSUM_XXH3_128,
        .checksum = wire_checksum(span_of("", 0)),
        .expected_seq = SEQ_ANY,
        .attributes = span_str("last"),
        .closes_producer = true,
    };
    assert_int_equal(client_append(w->client, &a, w->now), ERR_OK);
    assert_int_equal(client_append(w->client, &a, w->now), ERR_BAD_REQUEST);
    const struct sent *s = world_next_sent(w, OP_COMMANDS);
    struct commands_iter it;
    struct command c;
    wire_commands_begin(&it, &s->request);
    assert_true(wire_commands_next(&it, &c));
    assert_true(c.closes_producer);
    assert_true(span_equal(c.attributes, span_str("last")));
    judge(w, s, 1, ERR_OK);
    assert_int_equal(world_only_told(w)->result.err, ERR_OK);
    world_free(w);
}

/* ---- a lossy network and a real state machine -------------------------- */

/* One group as its leader would judge it: every request is an entry. */
struct store {
    struct streams *streams;
    uint64_t index;
    uint64_t accepted; /* appends judged OK for the first time */
    uint64_t tokens[RESULT_MAX];
};

static void store_judge(struct store *g, const struct request *r,
                        struct span payload, struct buf *verdicts)
{
    static struct verdict v[ENTRY_COMMANDS_MAX];
    struct buf manifest = {0};
    struct buf images = {0};
    struct entry_builder b;
    struct commands_iter it;
    struct command c;
    entry_build(&b, &manifest, (struct entry_stamp){.level = LEVEL_NOW});
    wire_commands_begin(&it, r);
    while (wire_commands_next(&it, &c))
        assert_int_equal(entry_add(&b, &c), ERR_OK);
    entry_end(&b);
    entry_number(manifest.data, ++g->index, 1);
    assert_int_equal(streams_apply(g->streams, span_buf(&manifest), v, &images),
                     ERR_OK);
    wire_commands_begin(&it, r);
    size_t at = 0;
    for (uint32_t i = 0; wire_commands_next(&it, &c); i++) {
        if (c.kind == COMMAND_APPEND && v[i].err == ERR_OK &&
            !v[i].is_duplicate) {
            assert_int_equal(v[i].seq, g->accepted);
            uint64_t token;
            memcpy(&token, payload.data + at, sizeof token);
            g->tokens[g->accepted++] = token;
        }
        at += c.kind == COMMAND_APPEND ? c.size : 0;
        wire_verdict_write(verdicts, &v[i]);
    }
    buf_free(&manifest);
    buf_free(&images);
}

/* Loses one in eight of requests and answers, refuses one in eight. */
static void store_serve(struct world *w, struct store *g, struct rng *rng)
{
    const struct sent *s = &w->sent[w->handled++];
    if (s->request.op == OP_RECORD) {
        world_give_record(w, s);
        return;
    }
    if (rng_chance(rng, 125))
        return;
    if (rng_chance(rng, 125)) {
        static const enum err errors[] = {ERR_BUSY, ERR_UNAVAILABLE, ERR_MOVED,
                                          ERR_CORRUPT};
        world_refuse(w, s, errors[rng_below(rng, 4)]);
        return;
    }
    struct buf verdicts = {0};
    store_judge(g, &s->request, s->in.payload, &verdicts);
    struct response r = {.op = OP_COMMANDS,
                         .verdicts = span_buf(&verdicts),
                         .verdict_count = s->request.command_count};
    if (!rng_chance(rng, 125))
        world_respond(w, s, &r);
    buf_free(&verdicts);
}

static void append_token(struct world *w, uint32_t producer, uint64_t token)
{
    struct buf *b = &w->segments[w->segment_count];
    buf_append(b, &token, sizeof token);
    struct client_append a = {
        .producer = producer,
        .token = token,
        .bytes = {w->segment_count + 1, 0, sizeof token},
        .algorithm = CHECKSUM_XXH3_128,
        .checksum = wire_checksum(span_buf(b)),
        .expected_seq = SEQ_ANY,
    };
    assert_int_equal(client_append(w->client, &a, w->now), ERR_OK);
    w->segment_count++;
}

/* Drives all that the core wants until `told` results are there. */
static void store_drive(struct world *w, struct store *g, struct rng *rng,
                        size_t told)
{
    world_settle(w);
    while (w->told_count < told) {
        while (w->handled < w->sent_count)
            store_serve(w, g, rng);
        if (w->told_count < told)
            world_pass(w, max_u64(1, client_deadline(w->client) - w->now));
    }
}

static void each_append_is_in_the_stream_once_and_in_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world *w = world_connected();
        struct rng rng;
        rng_seed(&rng, seed);
        struct store g = {.streams = streams_new()};
        world_submit_create(w, 1);
        store_drive(w, &g, &rng, 1);
        struct client_request r = {
            .op = CLIENT_PRODUCER,
            .token = 2,
            .partition = w->told[0].result.partition,
            .stream = w->told[0].result.stream.id,
            .name = span_str("p"),
        };
        assert_int_equal(client_submit(w->client, &r, w->now), ERR_OK);
        store_drive(w, &g, &rng, 2);
        uint32_t p = w->told[1].result.producer;
        w->told_count = 0;
        for (uint64_t token = 0; token < 300; token++) {
            append_token(w, p, token);
            if (rng_chance(&rng, 100))
                store_drive(w, &g, &rng, w->told_count);
        }
        store_drive(w, &g, &rng, 300);
        assert_int_equal(g.accepted, 300);
        for (uint64_t i = 0; i < 300; i++) {
            assert_int_equal(w->told[i].result.err, ERR_OK);
            assert_int_equal(w->told[i].seq, i);
            assert_int_equal(g.tokens[i], i);
        }
        streams_free(g.streams);
        world_free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_of_one_turn_are_one_request),
        cmocka_unit_test(no_more_than_the_credit_is_in_flight),
        cmocka_unit_test(small_appends_are_bounded_by_count),
        cmocka_unit_test(too_much_unanswered_is_busy),
        cmocka_unit_test(one_refused_stops_the_line_and_goes_back_to_it),
        cmocka_unit_test(what_is_answered_is_not_sent_again),
        cmocka_unit_test(moved_takes_the_line_to_the_new_leader),
        cmocka_unit_test(fenced_is_definite_only_if_nothing_is_unknown),
        cmocka_unit_test(behind_a_failed_append_nothing_was_done),
        cmocka_unit_test(an_append_refused_to_the_end_says_why),
        cmocka_unit_test(behind_one_busy_to_the_end_nothing_waits_for_room),
        cmocka_unit_test(an_append_once_lost_ends_unknown),
        cmocka_unit_test(
            once_unknown_a_conflict_is_definite_only_of_the_number),
        cmocka_unit_test(batches_at_a_lost_link_go_to_another),
        cmocka_unit_test(an_answer_that_waits_is_heard_however_late),
        cmocka_unit_test(a_rewound_producer_repeats_its_numbers),
        cmocka_unit_test(nothing_follows_a_closing_append),
        cmocka_unit_test(each_append_is_in_the_stream_once_and_in_order),
    };
    return cmocka_run_group_tests_name("client append", tests, NULL, NULL) != 0;
}
