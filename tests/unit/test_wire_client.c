/* test_wire_client.c - requests and responses: what is written is read again,
 * and what cannot be true is refused. */
#include "tests/unit/cmocka_wrap.h"

#include <stdio.h>

#include "tests/unit/golden.h"

/* ---- requests ---------------------------------------------------------- */

static enum err read_request(struct buf *b, struct request *r)
{
    struct wire_in in;
    assert_int_equal(wire_read(span_buf(b), &in), ERR_OK);
    return wire_request_read(&in, r);
}

static void append_request_comes_back_command_by_command(void **state)
{
    (void)state;
    struct buf b = golden_build("append-request");
    struct request r;
    struct commands_iter it;
    struct command c;
    assert_int_equal(read_request(&b, &r), ERR_OK);
    assert_int_equal(r.group, 5);
    wire_commands_begin(&it, &r);
    assert_true(wire_commands_next(&it, &c));
    assert_int_equal(c.ordinal, 0);
    assert_int_equal(c.expected_seq, 40);
    assert_true(wire_commands_next(&it, &c));
    assert_int_equal(c.ordinal, 1);
    assert_int_equal(c.number, 2);
    assert_int_equal(c.producer_epoch, 2);
    assert_true(position_equal(c.stream, (struct position){17, 0}));
    assert_true(span_equal(c.attributes, span_str("type=text")));
    assert_false(wire_commands_next(&it, &c));
    buf_free(&b);
}

static void read_and_join_requests_come_back(void **state)
{
    (void)state;
    struct request r;
    struct buf read = golden_build("read-request");
    assert_int_equal(read_request(&read, &r), ERR_OK);
    assert_int_equal(r.from_seq, 40);
    assert_int_equal(r.end_seq, SEQ_ANY);
    assert_int_equal(r.count_max, 1000);
    assert_int_equal(r.bytes_max, 1048576);
    assert_int_equal(r.wait_ms, 5000);
    buf_free(&read);
    struct buf join = golden_build("join-request");
    struct member m = golden_member();
    assert_int_equal(read_request(&join, &r), ERR_OK);
    assert_memory_equal(&r.member.public_key, &m.public_key, KEY_BYTES);
    assert_string_equal(r.member.name, m.name);
    assert_string_equal(r.member.zone, m.zone);
    assert_string_equal(r.member.client_address, m.client_address);
    assert_string_equal(r.member.peer_address, m.peer_address);
    assert_int_equal(r.member.weight, 100);
    buf_free(&join);
}

static enum err join_with_name(const char *name)
{
    struct request r = {.op = OP_JOIN, .member = golden_member()};
    (void)snprintf(r.member.name, sizeof r.member.name, "%s", name);
    struct buf b = golden_request(&r, span_str(""));
    enum err err = read_request(&b, &r);
    buf_free(&b);
    return err;
}

static void join_wants_a_plain_name(void **state)
{
    (void)state;
    assert_int_equal(join_with_name("ash"), ERR_OK);
    assert_int_equal(join_with_name(""), ERR_BAD_REQUEST);
    assert_int_equal(join_with_name("a b"), ERR_BAD_REQUEST);
    assert_int_equal(join_with_name("a\n"), ERR_BAD_REQUEST);
}

/* S13: what any node may hear, and what only the one it is meant for. */
static enum err read_with_ids(enum wire_op op, bool has_cluster, bool has_to)
{
    struct wire_out o = {0};
    struct wire_header h = golden_header(WIRE_REQUEST);
    struct request r = {.op = op, .member = golden_member()};
    if (!has_cluster)
        h.cluster = (struct id128){{0}};
    if (!has_to)
        h.to = (struct id128){{0}};
    wire_begin(&o, &h);
    wire_request_write(&o, &r);
    struct buf b = golden_message(&o, span_str(""));
    enum err err = read_request(&b, &r);
    buf_free(&b);
    return err;
}

static void only_some_requests_may_be_to_whom_it_may_concern(void **state)
{
    (void)state;
    assert_int_equal(read_with_ids(OP_HELLO, false, false), ERR_OK);
    assert_int_equal(read_with_ids(OP_RECORD, true, false), ERR_OK);
    assert_int_equal(read_with_ids(OP_RECORD, false, false), ERR_BAD_REQUEST);
    assert_int_equal(read_with_ids(OP_JOIN, true, false), ERR_OK);
    assert_int_equal(read_with_ids(OP_JOIN, false, true), ERR_BAD_REQUEST);
    assert_int_equal(read_with_ids(OP_STATUS, true, true), ERR_OK);
    assert_int_equal(read_with_ids(OP_STATUS, true, false), ERR_BAD_REQUEST);
    assert_int_equal(read_with_ids(OP_READ, true, false), ERR_BAD_REQUEST);
    assert_int_equal(read_with_ids(OP_READ, false, true), ERR_BAD_REQUEST);
}

static void group_that_cannot_be_is_refused(void **state)
{
    (void)state;
    struct request r = {.op = OP_INFO, .group = GROUPS_MAX - 1};
    struct buf highest = golden_request(&r, span_str(""));
    assert_int_equal(read_request(&highest, &r), ERR_OK);
    buf_free(&highest);
    r.group = GROUPS_MAX;
    struct buf above = golden_request(&r, span_str(""));
    assert_int_equal(read_request(&above, &r), ERR_BAD_REQUEST);
    buf_free(&above);
}

static void appends_that_do_not_fill_the_payload_are_refused(void **state)
{
    (void)state;
    struct commands_builder b = {0};
    struct command c = golden_append(1, span_str("Hello"));
    assert_int_equal(wire_commands_add(&b, &c), ERR_OK);
    struct request r = golden_commands(&b);
    struct buf fits = golden_request(&r, span_str("Hello"));
    struct buf less = golden_request(&r, span_str("Hell"));
    struct buf more = golden_request(&r, span_str("Hello!"));
    struct request got;
    assert_int_equal(read_request(&fits, &got), ERR_OK);
    assert_int_equal(read_request(&less, &got), ERR_BAD_REQUEST);
    assert_int_equal(read_request(&more, &got), ERR_BAD_REQUEST);
    buf_free(&fits);
    buf_free(&less);
    buf_free(&more);
    wire_commands_free(&b);
}

static void flipped_bit_of_a_segment_is_corrupt(void **state)
{
    (void)state;
    struct buf b = golden_build("append-request");
    struct wire_in in;
    struct request r;
    b.data[b.size - 1] ^= 1;
    assert_int_equal(wire_read(span_buf(&b), &in), ERR_OK);
    assert_int_equal(wire_request_read(&in, &r), ERR_OK);
    assert_int_equal(wire_commands_verify(&in, &r), ERR_CORRUPT);
    b.data[b.size - 1] ^= 1;
    assert_int_equal(wire_commands_verify(&in, &r), ERR_OK);
    buf_free(&b);
}

static void commands_stop_at_the_limits_of_an_entry(void **state)
{
    (void)state;
    struct commands_builder b = {0};
    struct command c = golden_append(1, span_str(""));
    for (uint32_t i = 0; i < ENTRY_COMMANDS_MAX; i++) {
        assert_int_equal(wire_commands_add(&b, &c), ERR_OK);
        c.number++;
    }
    assert_int_equal(wire_commands_add(&b, &c), ERR_TOO_LARGE);
    assert_int_equal(b.count, ENTRY_COMMANDS_MAX);
    wire_commands_clear(&b);
    c.size = ENTRY_PAYLOAD_BYTES_MAX;
    assert_int_equal(wire_commands_add(&b, &c), ERR_OK);
    c.size = 1;
    assert_int_equal(wire_commands_add(&b, &c), ERR_TOO_LARGE);
    c.number = UINT64_MAX;
    assert_int_equal(wire_commands_add(&b, &c), ERR_BAD_REQUEST);
    wire_commands_free(&b);
}

/* The largest request fits a message, and an entry. */
static void longest_list_of_commands_fits_an_entry(void **state)
{
    (void)state;
    static uint8_t name[STREAM_NAME_MAX];
    memset(name, 'n', sizeof name);
    struct commands_builder b = {0};
    struct command c = {.kind = COMMAND_CREATE,
                        .name = span_of(name, sizeof name)};
    while (wire_commands_add(&b, &c) == ERR_OK)
        continue;
    struct request r = golden_commands(&b);
    struct buf message = golden_request(&r, span_str(""));
    assert_int_equal(read_request(&message, &r), ERR_OK);
    struct buf manifest = {0};
    struct entry_builder entry;
    struct entry_stamp stamp = {golden_epoch, LEVEL_NOW, 0};
    struct commands_iter it;
    entry_build(&entry, &manifest, stamp);
    wire_commands_begin(&it, &r);
    while (wire_commands_next(&it, &c))
        assert_int_equal(entry_add(&entry, &c), ERR_OK);
    buf_free(&manifest);
    buf_free(&message);
    wire_commands_free(&b);
}

/* ---- responses --------------------------------------------------------- */

static enum err read_response(struct buf *b, struct response *r)
{
    struct wire_in in;
    assert_int_equal(wire_read(span_buf(b), &in), ERR_OK);
    return wire_response_read(&in, r);
}

static void verdicts_come_back(void **state)
{
    (void)state;
    struct buf b = golden_build("commands-response");
    struct response r;
    struct verdict v;
    assert_int_equal(read_response(&b, &r), ERR_OK);
    assert_int_equal(r.verdict_count, 4);
    struct dec d = dec_of(r.verdicts);
    assert_true(wire_verdict_next(&d, &v));
    assert_int_equal(v.seq, 40);
    assert_int_equal(v.next_seq, 41);
    assert_false(v.is_duplicate);
    assert_true(wire_verdict_next(&d, &v));
    assert_true(v.is_duplicate);
    assert_true(wire_verdict_next(&d, &v));
    assert_true(position_equal(v.id, (struct position){18, 1}));
    assert_int_equal(v.producer_epoch, 2);
    assert_int_equal(v.next_number, 1);
    assert_true(wire_verdict_next(&d, &v));
    assert_int_equal(v.err, ERR_CONFLICT);
    assert_false(wire_verdict_next(&d, &v));
    buf_free(&b);
}

static void segments_come_back(void **state)
{
    (void)state;
    struct buf b = golden_build("read-response");
    struct response r;
    struct segment_head previous = {0};
    struct segment_head s;
    assert_int_equal(read_response(&b, &r), ERR_OK);
    assert_true(r.is_leader);
    assert_int_equal(r.next_seq, 42);
    assert_int_equal(r.first_seq, 2);
    struct dec d = dec_of(r.segments);
    assert_true(wire_segment_next(&d, &previous, &s));
    assert_int_equal(s.seq, 40);
    assert_int_equal(s.size, 7);
    assert_true(wire_segment_next(&d, &previous, &s));
    assert_int_equal(s.seq, 41);
    assert_int_equal(s.time_ms, 1700000000500);
    assert_int_equal(s.key_hash, 0x77);
    assert_true(span_equal(s.attributes, span_str("type=text")));
    struct hash128 h = wire_checksum(span_str("world"));
    assert_int_equal(s.checksum.lo, h.lo);
    assert_int_equal(s.checksum.hi, h.hi);
    assert_false(wire_segment_next(&d, &previous, &s));
    buf_free(&b);
}

static enum err read_two_segments(uint64_t first, uint64_t second,
                                  const char *payload)
{
    struct buf segments = {0};
    struct segment_head previous = {0};
    struct segment_head a = golden_segment(first, span_str("ab"));
    struct segment_head b = golden_segment(second, span_str("cd"));
    wire_segment_write(&segments, &previous, &a);
    wire_segment_write(&segments, &previous, &b);
    struct response r = {
        .op = OP_READ, .segments = span_buf(&segments), .segment_count = 2};
    struct buf message = golden_response(&r, span_str(payload));
    enum err err = read_response(&message, &r);
    buf_free(&message);
    buf_free(&segments);
    return err;
}

static void segments_with_a_gap_are_refused(void **state)
{
    (void)state;
    assert_int_equal(read_two_segments(0, 1, "abcd"), ERR_OK);
    assert_int_equal(read_two_segments(7, 8, "abcd"), ERR_OK);
    assert_int_equal(read_two_segments(7, 9, "abcd"), ERR_BAD_REQUEST);
    assert_int_equal(read_two_segments(7, 7, "abcd"), ERR_BAD_REQUEST);
    assert_int_equal(read_two_segments(7, 8, "abc"), ERR_BAD_REQUEST);
    assert_int_equal(read_two_segments(7, 8, "abcde"), ERR_BAD_REQUEST);
}

static void small_segment_takes_22_bytes_of_head(void **state)
{
    (void)state;
    struct buf out = {0};
    struct segment_head previous = {0};
    struct segment_head a = golden_segment(7, span_str("ab"));
    wire_segment_write(&out, &previous, &a);
    size_t before = out.size;
    a.seq++;
    wire_segment_write(&out, &previous, &a);
    assert_int_equal(out.size - before, 22);
    buf_free(&out);
}

static void refusal_carries_no_body(void **state)
{
    (void)state;
    struct buf b = golden_build("moved-response");
    struct response r;
    assert_int_equal(read_response(&b, &r), ERR_OK);
    assert_int_equal(r.err, ERR_MOVED);
    assert_true(id_equal(r.hint, golden_id(0x50)));
    assert_int_equal(r.verdict_count, 0);
    buf_free(&b);
}

static void trimmed_read_says_where_the_stream_begins(void **state)
{
    (void)state;
    struct response r = {
        .op = OP_READ, .err = ERR_TRIMMED, .first_seq = 12, .next_seq = 40};
    struct buf b = golden_response(&r, span_str(""));
    assert_int_equal(read_response(&b, &r), ERR_OK);
    assert_int_equal(r.err, ERR_TRIMMED);
    assert_int_equal(r.first_seq, 12);
    assert_int_equal(r.next_seq, 40);
    buf_free(&b);
}

static void response_to_no_op_must_be_an_error(void **state)
{
    (void)state;
    struct response r = {.op = OP_NONE, .err = ERR_INCOMPATIBLE};
    struct buf refused = golden_response(&r, span_str(""));
    assert_int_equal(read_response(&refused, &r), ERR_OK);
    buf_free(&refused);
    r = (struct response){.op = OP_NONE};
    struct buf done = golden_response(&r, span_str(""));
    assert_int_equal(read_response(&done, &r), ERR_BAD_REQUEST);
    buf_free(&done);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(append_request_comes_back_command_by_command),
        cmocka_unit_test(read_and_join_requests_come_back),
        cmocka_unit_test(join_wants_a_plain_name),
        cmocka_unit_test(only_some_requests_may_be_to_whom_it_may_concern),
        cmocka_unit_test(group_that_cannot_be_is_refused),
        cmocka_unit_test(appends_that_do_not_fill_the_payload_are_refused),
        cmocka_unit_test(flipped_bit_of_a_segment_is_corrupt),
        cmocka_unit_test(commands_stop_at_the_limits_of_an_entry),
        cmocka_unit_test(longest_list_of_commands_fits_an_entry),
        cmocka_unit_test(verdicts_come_back),
        cmocka_unit_test(segments_come_back),
        cmocka_unit_test(segments_with_a_gap_are_refused),
        cmocka_unit_test(small_segment_takes_22_bytes_of_head),
        cmocka_unit_test(refusal_carries_no_body),
        cmocka_unit_test(trimmed_read_says_where_the_stream_begins),
        cmocka_unit_test(response_to_no_op_must_be_an_error),
    };
    return cmocka_run_group_tests_name("wire_client", tests, NULL, NULL) != 0;
}
