/* test_wire.c - messages, frames and status: what is written is read again,
 * what is bent is refused, and net/PROTOCOL.md says the very bytes.
 *
 * A vector of the file that is wrong prints what the encoder makes now. The
 * file is found from the root of the tree, where tests are run. */
#include "tests/unit/cmocka_wrap.h"

#include <stdio.h>

#include "tests/unit/golden.h"

#define PROTOCOL_PATH "net/PROTOCOL.md"

/* ---- the vectors of PROTOCOL.md ---------------------------------------- */

static struct buf read_protocol(void)
{
    struct buf text = {0};
    FILE *file = fopen(PROTOCOL_PATH, "rb");
    if (file == NULL)
        fail_msg("%s: run tests from the root of the tree", PROTOCOL_PATH);
    uint8_t chunk[4096];
    size_t got = 0;
    while ((got = fread(chunk, 1, sizeof chunk, file)) > 0)
        buf_append(&text, chunk, got);
    (void)fclose(file);
    buf_append(&text, "", 1);
    return text;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

/* The bytes of the block "```vector NAME"; empty if there is none. Blanks are
 * skipped, and what follows '|' in a line is a remark. */
static struct buf vector_of(const char *text, const char *name)
{
    struct buf out = {0};
    char head[96];
    (void)snprintf(head, sizeof head, "```vector %s\n", name);
    const char *at = strstr(text, head);
    if (at == NULL)
        return out;
    at += strlen(head);
    bool is_remark = false;
    while (*at != 0 && strncmp(at, "```", 3) != 0) {
        is_remark = *at == '|' || (is_remark && *at != '\n');
        int high = is_remark ? -1 : hex_value(at[0]);
        int low = high < 0 ? -1 : hex_value(at[1]);
        if (low >= 0) {
            uint8_t byte = (uint8_t)(high * 16 + low);
            buf_append(&out, &byte, 1);
        }
        at += low >= 0 ? 2 : 1;
    }
    return out;
}

static void print_vector(const char *name, struct span bytes)
{
    print_message("```vector %s\n", name);
    for (size_t i = 0; i < bytes.size; i++)
        print_message("%02x%s", bytes.data[i],
                      i % 32 == 31 || i + 1 == bytes.size ? "\n" : " ");
    print_message("```\n");
}

static void protocol_file_says_the_bytes_that_we_encode(void **state)
{
    (void)state;
    struct buf text = read_protocol();
    size_t wrong = 0;
    for (size_t i = 0; i < GOLDEN_COUNT; i++) {
        struct buf wanted = vector_of((char *)text.data, golden_all[i].name);
        struct buf made = golden_all[i].build();
        if (!span_equal(span_buf(&wanted), span_buf(&made))) {
            print_vector(golden_all[i].name, span_buf(&made));
            wrong++;
        }
        buf_free(&wanted);
        buf_free(&made);
    }
    buf_free(&text);
    assert_int_equal(wrong, 0);
}

static void protocol_file_has_no_vector_that_is_not_checked(void **state)
{
    (void)state;
    struct buf text = read_protocol();
    size_t count = 0;
    const char *mark = "\n```vector ";
    for (const char *at = strstr((char *)text.data, mark); at != NULL;
         at = strstr(at + 1, mark))
        count++;
    buf_free(&text);
    assert_int_equal(count, GOLDEN_COUNT);
}

/* ---- reading: what is whole is taken, what is bent is not -------------- */

/* Everything that a receiver would do with a message. Every frame of a message
 * between nodes must be good. */
static enum err read_all(struct span message)
{
    struct wire_in in;
    enum err err = wire_read(message, &in);
    if (err != ERR_OK)
        return err;
    struct request request;
    struct response response;
    struct status status;
    struct check_answer check;
    struct frame_iter it;
    struct frame frame;
    switch (in.header.kind) {
    case WIRE_REQUEST:
        err = wire_request_read(&in, &request);
        if (err == ERR_OK && request.op == OP_COMMANDS)
            err = wire_commands_verify(&in, &request);
        return err;
    case WIRE_RESPONSE:
        err = wire_response_read(&in, &response);
        if (err == ERR_OK && response.op == OP_STATUS)
            err = status_read(response.bytes, &status);
        if (err == ERR_OK && response.op == OP_CHECK)
            err = check_read(response.bytes, &check);
        return err;
    case WIRE_PEER_CONTROL:
    case WIRE_PEER_ENTRIES:
    case WIRE_PEER_TRANSFER:
        wire_frame_begin(&it, &in);
        while (wire_frame_next(&it, &frame))
            continue;
        return it.skipped == 0 && it.payload_at == it.payload_end
                   ? ERR_OK
                   : ERR_BAD_REQUEST;
    }
    return ERR_BAD_REQUEST;
}

/* Reads a copy of exactly that size, so that ASan sees a byte too far. */
static enum err read_copy(struct span message)
{
    uint8_t *copy = mem_copy(message.data, message.size);
    enum err err = read_all(span_of(copy, message.size));
    mem_free(copy);
    return err;
}

static void every_golden_message_is_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOLDEN_COUNT; i++) {
        struct buf b = golden_all[i].build();
        enum err err = read_copy(span_buf(&b));
        if (err != ERR_OK)
            fail_msg("%s: %s", golden_all[i].name, err_name(err));
        buf_free(&b);
    }
}

/* A message between nodes that is cut where a frame ends is whole again only
 * if its inline size says so, which it does not. */
static void every_cut_message_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOLDEN_COUNT; i++) {
        struct buf b = golden_all[i].build();
        for (size_t size = 0; size < b.size; size++)
            if (read_copy(span_of(b.data, size)) == ERR_OK)
                fail_msg("%s cut to %zu", golden_all[i].name, size);
        buf_free(&b);
    }
}

static void every_lengthened_message_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOLDEN_COUNT; i++) {
        struct buf b = golden_all[i].build();
        buf_append(&b, "", 1);
        if (read_copy(span_buf(&b)) == ERR_OK)
            fail_msg("%s", golden_all[i].name);
        buf_free(&b);
    }
}

/* Bytes of any value at any place: no crash, no byte read too far. */
static void bent_messages_do_no_harm(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 7);
    for (size_t i = 0; i < GOLDEN_COUNT; i++) {
        struct buf b = golden_all[i].build();
        for (int round = 0; round < 3000; round++) {
            size_t at = (size_t)rng_below(&rng, b.size);
            uint8_t before = b.data[at];
            b.data[at] = (uint8_t)rng_next(&rng);
            (void)read_copy(span_buf(&b));
            b.data[at] = before;
        }
        buf_free(&b);
    }
}

/* ---- header ------------------------------------------------------------ */

static enum err read_header(struct buf *b, struct wire_in *in)
{
    enum err err = wire_read(span_buf(b), in);
    buf_free(b);
    return err;
}

static void header_comes_back_as_it_was_sent(void **state)
{
    (void)state;
    struct wire_in in;
    struct buf b = golden_build("peer-entries");
    assert_int_equal(wire_read(span_buf(&b), &in), ERR_OK);
    struct wire_header want = golden_header(WIRE_PEER_ENTRIES);
    assert_int_equal(in.header.kind, want.kind);
    assert_true(id_equal(in.header.cluster, want.cluster));
    assert_true(id_equal(in.header.from, want.from));
    assert_true(id_equal(in.header.to, want.to));
    assert_int_equal(in.header.boot, want.boot);
    assert_int_equal(epoch_compare(in.header.epoch, want.epoch), 0);
    assert_int_equal(in.header.number, want.number);
    assert_int_equal(in.payload_at, WIRE_HEADER_BYTES + in.inline_part.size);
    assert_int_equal(in.payload.size, 17);
    buf_free(&b);
}

static void other_version_is_incompatible_and_says_its_number(void **state)
{
    (void)state;
    struct wire_in in;
    struct buf b = golden_build("info-request");
    b.data[4] = 2;
    assert_int_equal(read_header(&b, &in), ERR_INCOMPATIBLE);
    assert_int_equal(in.header.kind, WIRE_REQUEST);
    assert_int_equal(in.header.number, 0x1234);
}

static void other_magic_or_kind_is_refused(void **state)
{
    (void)state;
    struct wire_in in;
    struct buf magic = golden_build("info-request");
    magic.data[0] ^= 1;
    assert_int_equal(read_header(&magic, &in), ERR_BAD_REQUEST);
    struct buf kind = golden_build("info-request");
    kind.data[6] = 99;
    assert_int_equal(read_header(&kind, &in), ERR_BAD_REQUEST);
    struct buf tail = golden_build("info-request");
    tail.data[WIRE_HEADER_BYTES - 1] = 1;
    assert_int_equal(read_header(&tail, &in), ERR_BAD_REQUEST);
}

static void peers_message_names_the_process_that_sent_it(void **state)
{
    (void)state;
    struct wire_in in;
    struct wire_out out = {0};
    struct wire_header h = {.kind = WIRE_PEER_CONTROL,
                            .cluster = {{1}},
                            .from = {{2}},
                            .to = {{3}},
                            .boot = 4,
                            .number = 5,
                            .nonce = 0xfedcba98};
    wire_begin(&out, &h);
    wire_end(&out);
    assert_int_equal(wire_read(span_buf(&out.bytes), &in), ERR_OK);
    assert_int_equal(in.header.boot, 4);
    assert_int_equal(in.header.nonce, 0xfedcba98);
    wire_out_free(&out);
}

static void inline_part_beyond_the_message_is_refused(void **state)
{
    (void)state;
    struct wire_in in;
    struct buf b = golden_build("info-request");
    b.data[88] = (uint8_t)(b.size - WIRE_HEADER_BYTES + 1);
    assert_int_equal(read_header(&b, &in), ERR_BAD_REQUEST);
}

static void message_over_the_limit_is_too_large(void **state)
{
    (void)state;
    struct wire_in in;
    struct buf b = golden_build("info-request");
    (void)buf_grow(&b, MESSAGE_BYTES_MAX + 1 - b.size);
    assert_int_equal(read_header(&b, &in), ERR_TOO_LARGE);
}

/* Writes a peers' header with one field changed, and reads it. */
static enum err read_peer_header(struct wire_header h)
{
    struct wire_out o = {0};
    struct wire_in in;
    wire_begin(&o, &h);
    struct buf b = golden_message(&o, span_str(""));
    return read_header(&b, &in);
}

static void peers_message_without_an_id_is_refused(void **state)
{
    (void)state;
    struct wire_header good = golden_header(WIRE_PEER_CONTROL);
    assert_int_equal(read_peer_header(good), ERR_OK);
    struct wire_header h = good;
    h.cluster = (struct id128){{0}};
    assert_int_equal(read_peer_header(h), ERR_BAD_REQUEST);
    h = good;
    h.from = (struct id128){{0}};
    assert_int_equal(read_peer_header(h), ERR_BAD_REQUEST);
    h = good;
    h.to = (struct id128){{0}};
    assert_int_equal(read_peer_header(h), ERR_BAD_REQUEST);
    h = good;
    h.boot = 0;
    assert_int_equal(read_peer_header(h), ERR_BAD_REQUEST);
    h = good;
    h.number = 0;
    assert_int_equal(read_peer_header(h), ERR_BAD_REQUEST);
}

/* ---- frames ------------------------------------------------------------ */

/* Equal if they are written alike; APPEND has its own test. */
static void assert_same_frame(const struct frame *a, const struct frame *b)
{
    struct wire_out x = {0};
    struct wire_out y = {0};
    wire_frame_write(&x, a);
    wire_frame_write(&y, b);
    assert_true(span_equal(span_buf(&x.bytes), span_buf(&y.bytes)));
    wire_out_free(&x);
    wire_out_free(&y);
}

static void control_frames_come_back_in_order(void **state)
{
    (void)state;
    struct frame wanted[GOLDEN_CONTROL_FRAMES];
    struct wire_in in;
    struct frame_iter it;
    struct frame f;
    struct buf b = golden_build("peer-control");
    golden_control_frames(wanted);
    assert_int_equal(wire_read(span_buf(&b), &in), ERR_OK);
    wire_frame_begin(&it, &in);
    for (size_t i = 0; i < GOLDEN_CONTROL_FRAMES; i++) {
        assert_true(wire_frame_next(&it, &f));
        assert_int_equal(f.kind, wanted[i].kind);
        assert_same_frame(&f, &wanted[i]);
    }
    assert_false(wire_frame_next(&it, &f));
    assert_int_equal(it.skipped, 0);
    buf_free(&b);
}

static void raft_frame_names_its_replicas_and_term(void **state)
{
    (void)state;
    struct wire_in in;
    struct frame_iter it;
    struct frame f;
    struct buf b = golden_build("peer-control");
    assert_int_equal(wire_read(span_buf(&b), &in), ERR_OK);
    wire_frame_begin(&it, &in);
    assert_true(wire_frame_next(&it, &f));
    assert_int_equal(f.msg.kind, RAFT_PREVOTE);
    assert_int_equal(f.msg.from.added, 1);
    assert_int_equal(f.msg.to.added, 8);
    assert_int_equal(f.msg.term, 4);
    assert_int_equal(f.group.group, 5);
    assert_true(generation_equal(f.group.generation, golden_group.generation));
    assert_true(id_is_zero(f.msg.from.node));
    buf_free(&b);
}

static void assert_append(const struct frame *f, struct span message,
                          uint32_t group, const char *const *payloads,
                          size_t count)
{
    assert_int_equal(f->msg.kind, RAFT_APPEND);
    assert_int_equal(f->group.group, group);
    assert_int_equal(f->msg.item_count, count);
    struct dec entries = dec_of(f->entries);
    struct frame_entry entry;
    uint32_t at = f->payload_at;
    for (size_t i = 0; i < count; i++) {
        assert_true(wire_frame_entry_next(&entries, &entry));
        assert_int_equal(entry_check(entry.manifest), ERR_OK);
        struct span got = span_of(message.data + at, entry.payload_bytes);
        assert_true(span_equal(got, span_str(payloads[i])));
        at += entry.payload_bytes;
    }
    assert_false(wire_frame_entry_next(&entries, &entry));
    assert_int_equal(at, f->payload_at + f->payload_bytes);
}

static const char *const group_5_payloads[] = {"Hello, world", "!"};
static const char *const group_6_payloads[] = {"tail"};

static void appends_find_their_payload_in_the_message(void **state)
{
    (void)state;
    struct wire_in in;
    struct frame_iter it;
    struct frame f;
    struct buf b = golden_build("peer-entries");
    assert_int_equal(wire_read(span_buf(&b), &in), ERR_OK);
    wire_frame_begin(&it, &in);
    assert_true(wire_frame_next(&it, &f));
    assert_append(&f, span_buf(&b), 5, group_5_payloads, 2);
    assert_true(wire_frame_next(&it, &f));
    assert_append(&f, span_buf(&b), 6, group_6_payloads, 1);
    assert_false(wire_frame_next(&it, &f));
    buf_free(&b);
}

/* Offsets within the first frame's body of golden_entries. */
#define FIRST_BODY_AT  (WIRE_HEADER_BYTES + 12u)
#define FIRST_PREV_AT  (FIRST_BODY_AT + 40u)
#define FIRST_COUNT_AT (FIRST_PREV_AT + 32u)

/* The first APPEND is bent in one byte: the second is read all the same. */
static void assert_only_second_append(size_t at, uint8_t value)
{
    struct wire_in in;
    struct frame_iter it;
    struct frame f;
    struct buf b = golden_build("peer-entries");
    b.data[at] = value;
    assert_int_equal(wire_read(span_buf(&b), &in), ERR_OK);
    wire_frame_begin(&it, &in);
    assert_true(wire_frame_next(&it, &f));
    assert_append(&f, span_buf(&b), 6, group_6_payloads, 1);
    assert_int_equal(it.skipped, 1);
    assert_false(wire_frame_next(&it, &f));
    buf_free(&b);
}

static void bad_frame_is_skipped_with_its_payload(void **state)
{
    (void)state;
    /* an unknown kind; flags; a group that cannot be; another count; a
     * manifest of another version */
    assert_only_second_append(WIRE_HEADER_BYTES + 8, 77);
    assert_only_second_append(WIRE_HEADER_BYTES + 10, 1);
    assert_only_second_append(FIRST_BODY_AT + 2, 0xff);
    assert_only_second_append(FIRST_COUNT_AT, 3);
    assert_only_second_append(FIRST_COUNT_AT + 8, 9);
}

static void address_that_is_none_is_skipped(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "10.0.0.7", "10.0.0.7:0", "a b:1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct wire_out o = {0};
        struct wire_header h = golden_header(WIRE_PEER_CONTROL);
        struct frame f = {.kind = FRAME_ADDRESS,
                          .client_address = span_str("10.0.0.7:7460"),
                          .peer_address = span_str(bad[i])};
        wire_begin(&o, &h);
        wire_frame_write(&o, &f);
        struct buf b = golden_message(&o, span_str(""));
        struct wire_in in;
        struct frame_iter it;
        assert_int_equal(wire_read(span_buf(&b), &in), ERR_OK);
        wire_frame_begin(&it, &in);
        assert_false(wire_frame_next(&it, &f));
        assert_int_equal(it.skipped, 1);
        buf_free(&b);
    }
}

static void append_whose_entries_do_not_follow_prev_is_skipped(void **state)
{
    (void)state;
    assert_only_second_append(FIRST_PREV_AT, 91);
}

static void frame_that_claims_more_payload_than_there_is_ends_it(void **state)
{
    (void)state;
    struct wire_in in;
    struct frame_iter it;
    struct frame f;
    struct buf b = golden_build("peer-entries");
    b.data[WIRE_HEADER_BYTES + 4] = 18; /* of 17 */
    assert_int_equal(wire_read(span_buf(&b), &in), ERR_OK);
    wire_frame_begin(&it, &in);
    assert_false(wire_frame_next(&it, &f));
    assert_int_equal(it.skipped, 1);
    buf_free(&b);
}

/* Writes one frame and counts how many of it are read. */
static bool frame_is_taken(const struct frame *f)
{
    struct wire_out o = {0};
    struct wire_header h = golden_header(WIRE_PEER_CONTROL);
    struct wire_in in;
    struct frame_iter it;
    struct frame got;
    wire_begin(&o, &h);
    wire_frame_write(&o, f);
    struct buf b = golden_message(&o, span_str(""));
    assert_int_equal(wire_read(span_buf(&b), &in), ERR_OK);
    wire_frame_begin(&it, &in);
    bool taken = wire_frame_next(&it, &got);
    assert_int_equal(it.skipped, taken ? 0 : 1);
    buf_free(&b);
    return taken;
}

static void configuration_without_voter_or_with_a_twin_is_refused(void **state)
{
    (void)state;
    struct frame f = golden_group_frame(FRAME_REMOVED);
    f.removed.config = golden_config();
    assert_true(frame_is_taken(&f));
    f.removed.config.members[0].is_voter = false;
    assert_false(frame_is_taken(&f));
    f.removed.config = golden_config();
    f.removed.config.members[1] = f.removed.config.members[0];
    assert_false(frame_is_taken(&f));
}

static void echo_of_a_gap_that_cannot_be_is_refused(void **state)
{
    (void)state;
    struct frame f = {.kind = FRAME_ECHO};
    f.echo = (struct frame_echo){LANE_TRANSFER, 3, 100, 0, 0};
    assert_true(frame_is_taken(&f));
    f.echo.missing_last = 5;
    assert_false(frame_is_taken(&f));
    f.echo.missing_first = 6;
    assert_false(frame_is_taken(&f));
    f.echo.missing_first = 5;
    f.echo.missing_last = 101;
    assert_false(frame_is_taken(&f));
    f.echo.lane = (enum wire_lane)LANE_COUNT;
    assert_false(frame_is_taken(&f));
}

static void swim_packet_over_its_limit_is_refused(void **state)
{
    (void)state;
    static const uint8_t zeros[SWIM_BYTES_MAX + 1];
    struct frame f = {.kind = FRAME_SWIM};
    f.bytes = span_of(zeros, SWIM_BYTES_MAX);
    assert_true(frame_is_taken(&f));
    f.bytes = span_of(zeros, SWIM_BYTES_MAX + 1);
    assert_false(frame_is_taken(&f));
    f.bytes = span_of(zeros, 0);
    assert_false(frame_is_taken(&f));
}

static void lanes_and_kinds_name_each_other(void **state)
{
    (void)state;
    for (int i = 0; i < LANE_COUNT; i++) {
        enum wire_lane back = LANE_CONTROL;
        assert_true(wire_kind_lane(wire_lane_kind((enum wire_lane)i), &back));
        assert_int_equal(back, i);
    }
    enum wire_lane none;
    assert_false(wire_kind_lane(WIRE_REQUEST, &none));
    assert_false(wire_kind_lane(WIRE_RESPONSE, &none));
}

/* ---- status ------------------------------------------------------------ */

static void status_comes_back(void **state)
{
    (void)state;
    struct buf b = golden_status_bytes();
    struct status s;
    struct status_member m;
    struct status_group g;
    assert_int_equal(status_read(span_buf(&b), &s), ERR_OK);
    assert_true(span_equal(s.name, span_str("ash")));
    assert_int_equal(s.confirmed_ms, 250);
    assert_int_equal(s.reads, 30);
    assert_true(s.is_ready);
    struct dec members = dec_of(span_buf(&b));
    assert_true(status_next_member(&members, &m));
    assert_int_equal(m.state, SWIM_SUSPECT);
    assert_true(span_equal(m.address, span_str("10.0.0.2:7461")));
    assert_false(status_next_member(&members, &m));
    struct dec groups = dec_of(span_buf(&b));
    assert_true(status_next_group(&groups, &g));
    assert_int_equal(g.replica_count, 2);
    assert_int_equal(g.replicas[1].match, 60);
    assert_false(g.replicas[1].is_voter);
    assert_true(span_equal(g.reason, span_str("needs 1 more node")));
    assert_false(status_next_group(&groups, &g));
    struct dec transfers = dec_of(span_buf(&b));
    struct status_transfer t;
    assert_true(status_next_transfer(&transfers, &t));
    assert_int_equal(t.group, 6);
    assert_int_equal(t.state, TRANSFER_STATE_SEGMENTS);
    assert_int_equal(t.total, 10000);
    assert_true(span_equal(t.reason, span_str("segments")));
    assert_false(status_next_transfer(&transfers, &t));
    buf_free(&b);
}

static void a_transfer_in_a_state_that_is_none_is_refused(void **state)
{
    (void)state;
    struct buf b = {0};
    struct status s = golden_status();
    struct status_transfer t = {.group = 1, .state = TRANSFER_STATE_WAITING};
    status_write(&b, &s);
    size_t state_at = b.size + 6 + 4 + 8;
    status_write_transfer(&b, &t);
    assert_int_equal(status_read(span_buf(&b), &s), ERR_OK);
    b.data[state_at] = 0;
    assert_int_equal(status_read(span_buf(&b), &s), ERR_BAD_REQUEST);
    b.data[state_at] = TRANSFER_STATE_SWITCHING + 1;
    assert_int_equal(status_read(span_buf(&b), &s), ERR_BAD_REQUEST);
    buf_free(&b);
}

static void unknown_tags_of_a_status_are_skipped(void **state)
{
    (void)state;
    static const uint8_t unknown[] = {99, 0, 3, 0, 0, 0, 1, 2, 3};
    struct buf b = {0};
    struct buf known = golden_status_bytes();
    struct status s;
    struct status_group g;
    buf_append(&b, unknown, sizeof unknown);
    buf_append(&b, known.data, known.size);
    assert_int_equal(status_read(span_buf(&b), &s), ERR_OK);
    assert_int_equal(s.boot, 3);
    struct dec groups = dec_of(span_buf(&b));
    assert_true(status_next_group(&groups, &g));
    buf_free(&b);
    buf_free(&known);
}

static void surplus_at_the_end_of_a_value_is_left_unread(void **state)
{
    (void)state;
    struct buf b = {0};
    struct status s = golden_status();
    status_write(&b, &s);
    b.data[2]++; /* length of SELF, below 255 */
    assert_int_not_equal(b.data[2], 0);
    buf_append(&b, "x", 1);
    struct status got;
    assert_int_equal(status_read(span_buf(&b), &got), ERR_OK);
    assert_int_equal(got.reads, 30);
    buf_free(&b);
}

static void status_has_exactly_one_self(void **state)
{
    (void)state;
    struct buf b = {0};
    struct status s = golden_status();
    struct status got;
    assert_int_equal(status_read(span_buf(&b), &got), ERR_BAD_REQUEST);
    status_write(&b, &s);
    assert_int_equal(status_read(span_buf(&b), &got), ERR_OK);
    status_write(&b, &s);
    assert_int_equal(status_read(span_buf(&b), &got), ERR_BAD_REQUEST);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(protocol_file_says_the_bytes_that_we_encode),
        cmocka_unit_test(protocol_file_has_no_vector_that_is_not_checked),
        cmocka_unit_test(every_golden_message_is_read),
        cmocka_unit_test(every_cut_message_is_refused),
        cmocka_unit_test(every_lengthened_message_is_refused),
        cmocka_unit_test(bent_messages_do_no_harm),
        cmocka_unit_test(header_comes_back_as_it_was_sent),
        cmocka_unit_test(other_version_is_incompatible_and_says_its_number),
        cmocka_unit_test(other_magic_or_kind_is_refused),
        cmocka_unit_test(peers_message_names_the_process_that_sent_it),
        cmocka_unit_test(inline_part_beyond_the_message_is_refused),
        cmocka_unit_test(message_over_the_limit_is_too_large),
        cmocka_unit_test(peers_message_without_an_id_is_refused),
        cmocka_unit_test(control_frames_come_back_in_order),
        cmocka_unit_test(raft_frame_names_its_replicas_and_term),
        cmocka_unit_test(appends_find_their_payload_in_the_message),
        cmocka_unit_test(bad_frame_is_skipped_with_its_payload),
        cmocka_unit_test(address_that_is_none_is_skipped),
        cmocka_unit_test(append_whose_entries_do_not_follow_prev_is_skipped),
        cmocka_unit_test(frame_that_claims_more_payload_than_there_is_ends_it),
        cmocka_unit_test(configuration_without_voter_or_with_a_twin_is_refused),
        cmocka_unit_test(echo_of_a_gap_that_cannot_be_is_refused),
        cmocka_unit_test(swim_packet_over_its_limit_is_refused),
        cmocka_unit_test(lanes_and_kinds_name_each_other),
        cmocka_unit_test(status_comes_back),
        cmocka_unit_test(a_transfer_in_a_state_that_is_none_is_refused),
        cmocka_unit_test(unknown_tags_of_a_status_are_skipped),
        cmocka_unit_test(surplus_at_the_end_of_a_value_is_left_unread),
        cmocka_unit_test(status_has_exactly_one_self),
    };
    return cmocka_run_group_tests_name("wire", tests, NULL, NULL) != 0;
}
