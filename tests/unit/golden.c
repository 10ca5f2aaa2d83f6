/* golden.c - see golden.h. */
#include "tests/unit/golden.h"

#include <stdio.h>

#include "tests/unit/cmocka_wrap.h"

#define PAYLOAD_HANDLE 1u

/* ---- parts and whole messages -----------------------------------------------
 */

struct id128 golden_id(uint8_t first)
{
    struct id128 id;
    for (size_t i = 0; i < 16; i++)
        id.bytes[i] = (uint8_t)(first + i);
    return id;
}

const struct epoch golden_epoch = {1, 0xe0e1e2e3, 7};

struct wire_header golden_header(enum wire_kind kind)
{
    struct wire_header h = {.kind = kind,
                            .cluster = golden_id(0xc0),
                            .from = golden_id(0x10),
                            .to = golden_id(0x20),
                            .boot = 3,
                            .epoch = golden_epoch,
                            .number = 0x1234};
    if (kind == WIRE_REQUEST) {
        h.from = (struct id128){{0}};
        h.boot = 0;
    }
    if (kind == WIRE_RESPONSE)
        h.to = (struct id128){{0}};
    return h;
}

/* Ends `o` and gives its bytes with the payload behind them; frees it. */
struct buf golden_message(struct wire_out *o, struct span payload)
{
    wire_end(o);
    assert_int_equal(o->payload_bytes, payload.size);
    struct buf b = {0};
    buf_append(&b, o->bytes.data, o->bytes.size);
    buf_append(&b, payload.data, payload.size);
    assert_int_equal(b.size, wire_out_size(o));
    wire_out_free(o);
    return b;
}

static void add_payload(struct wire_out *o, struct span payload)
{
    if (payload.size > 0)
        wire_out_slice(
            o, (struct slice){PAYLOAD_HANDLE, 0, (uint32_t)payload.size});
}

struct buf golden_request(const struct request *r, struct span payload)
{
    struct wire_out o = {0};
    struct wire_header h = golden_header(WIRE_REQUEST);
    wire_begin(&o, &h);
    wire_request_write(&o, r);
    add_payload(&o, payload);
    return golden_message(&o, payload);
}

struct buf golden_response(const struct response *r, struct span payload)
{
    struct wire_out o = {0};
    struct wire_header h = golden_header(WIRE_RESPONSE);
    wire_begin(&o, &h);
    wire_response_write(&o, r);
    add_payload(&o, payload);
    return golden_message(&o, payload);
}

struct command golden_append(uint64_t number, struct span bytes)
{
    return (struct command){.kind = COMMAND_APPEND,
                            .stream = {17, 0},
                            .producer = {18, 1},
                            .producer_epoch = 2,
                            .number = number,
                            .expected_seq = SEQ_ANY,
                            .size = (uint32_t)bytes.size,
                            .algorithm = CHECKSUM_XXH3_128,
                            .checksum = wire_checksum(bytes)};
}

struct request golden_commands(struct commands_builder *b)
{
    return (struct request){.op = OP_COMMANDS,
                            .group = 5,
                            .commands = span_buf(&b->bytes),
                            .command_count = b->count};
}

static struct buf make_hello_request(void)
{
    struct wire_out o = {0};
    struct wire_header h = {.kind = WIRE_REQUEST, .number = 1};
    struct request r = {.op = OP_HELLO};
    wire_begin(&o, &h);
    wire_request_write(&o, &r);
    return golden_message(&o, span_str(""));
}

static struct buf make_hello_response(void)
{
    struct response r = {.op = OP_HELLO,
                         .credit_bytes = 1048576,
                         .credit_commands = 256,
                         .node = golden_id(0x10),
                         .level = 1,
                         .version = span_str("0.1.0")};
    return golden_response(&r, span_str(""));
}

static struct buf make_record_request(void)
{
    struct request r = {.op = OP_RECORD, .epoch = golden_epoch};
    return golden_request(&r, span_str(""));
}

struct member golden_member(void)
{
    struct member m = {.node = golden_id(0x30), .weight = 100, .level = 1};
    memset(m.public_key, 0xab, KEY_BYTES);
    (void)snprintf(m.name, sizeof m.name, "ash");
    (void)snprintf(m.zone, sizeof m.zone, "cellar");
    (void)snprintf(m.client_address, sizeof m.client_address, "10.0.0.1:7460");
    (void)snprintf(m.peer_address, sizeof m.peer_address, "10.0.0.1:7461");
    return m;
}

static struct buf make_join_request(void)
{
    struct request r = {.op = OP_JOIN, .member = golden_member()};
    return golden_request(&r, span_str(""));
}

/* Drain the member of slot 3, and give that of slot 1 another zone. */
static struct buf make_change_request(void)
{
    struct buf list = {0};
    struct change drain = {.kind = CHANGE_DRAIN, .slot = 3};
    struct change zone = {.kind = CHANGE_ZONE, .slot = 1, .zone = "attic"};
    wire_change_write(&list, &drain);
    wire_change_write(&list, &zone);
    struct request r = {.op = OP_CHANGE,
                        .epoch = golden_epoch,
                        .change = {.act = ACT_NOW,
                                   .proposal = golden_id(0x70),
                                   .digest = {1, 2},
                                   .count = 2,
                                   .changes = span_buf(&list)}};
    struct buf message = golden_request(&r, span_str(""));
    buf_free(&list);
    return message;
}

/* What begins when an operator recovers what was lost. */
static const struct generation golden_generation = {2, 0xe0e1e2e3e4e5e6e7};

static struct buf make_recover_request(void)
{
    struct request r = {.op = OP_RECOVER, .generation = golden_generation};
    return golden_request(&r, span_str(""));
}

static struct buf make_recover_change_request(void)
{
    struct buf list = {0};
    struct change recover = {.kind = CHANGE_RECOVER,
                             .slot = 2,
                             .value = 5,
                             .generation = golden_generation};
    wire_change_write(&list, &recover);
    struct request r = {.op = OP_CHANGE,
                        .epoch = golden_epoch,
                        .change = {.act = ACT_NOW,
                                   .proposal = golden_id(0x70),
                                   .is_forced = true,
                                   .count = 1,
                                   .changes = span_buf(&list)}};
    struct buf message = golden_request(&r, span_str(""));
    buf_free(&list);
    return message;
}

static struct buf make_change_response(void)
{
    struct response r = {.op = OP_CHANGE, .err = ERR_OK, .epoch = golden_epoch};
    return golden_response(&r, span_str(""));
}

static struct buf make_create_request(void)
{
    struct commands_builder b = {0};
    struct command c = {.kind = COMMAND_CREATE, .name = span_str("logs/web")};
    assert_int_equal(wire_commands_add(&b, &c), ERR_OK);
    struct request r = golden_commands(&b);
    struct buf message = golden_request(&r, span_str(""));
    wire_commands_free(&b);
    return message;
}

static struct buf make_open_producer_request(void)
{
    struct commands_builder b = {0};
    struct command c = {.kind = COMMAND_OPEN_PRODUCER,
                        .stream = {17, 0},
                        .name = span_str("web-1")};
    assert_int_equal(wire_commands_add(&b, &c), ERR_OK);
    struct request r = golden_commands(&b);
    struct buf message = golden_request(&r, span_str(""));
    wire_commands_free(&b);
    return message;
}

static struct buf make_append_request(void)
{
    struct commands_builder b = {0};
    struct command first = golden_append(1, span_str("Hello, "));
    struct command second = golden_append(2, span_str("world"));
    first.expected_seq = 40;
    second.key_hash = 0x77;
    second.attributes = span_str("type=text");
    assert_int_equal(wire_commands_add(&b, &first), ERR_OK);
    assert_int_equal(wire_commands_add(&b, &second), ERR_OK);
    struct request r = golden_commands(&b);
    struct buf message = golden_request(&r, span_str("Hello, world"));
    wire_commands_free(&b);
    return message;
}

static struct buf make_commands_response(void)
{
    struct buf verdicts = {0};
    struct verdict appended = {.seq = 40, .next_seq = 41};
    struct verdict repeated = {.is_duplicate = true, .seq = 41, .next_seq = 42};
    struct verdict opened = {
        .id = {18, 1}, .producer_epoch = 2, .next_number = 1, .next_seq = 40};
    struct verdict refused = {.err = ERR_CONFLICT, .next_seq = 42};
    wire_verdict_write(&verdicts, &appended);
    wire_verdict_write(&verdicts, &repeated);
    wire_verdict_write(&verdicts, &opened);
    wire_verdict_write(&verdicts, &refused);
    struct response r = {.op = OP_COMMANDS,
                         .credit_bytes = 1048576,
                         .credit_commands = 256,
                         .verdicts = span_buf(&verdicts),
                         .verdict_count = 4};
    struct buf message = golden_response(&r, span_str(""));
    buf_free(&verdicts);
    return message;
}

static struct buf make_open_request(void)
{
    struct request r = {
        .op = OP_OPEN, .group = 5, .name = span_str("logs/web")};
    return golden_request(&r, span_str(""));
}

static struct buf make_open_response(void)
{
    struct buf streams = {0};
    struct stream_info s = {.id = {17, 0},
                            .name = span_str("logs/web"),
                            .first_seq = 2,
                            .next_seq = 42,
                            .bytes = 1000,
                            .created_ms = 1700000000000,
                            .changed_ms = 1700000000500,
                            .producers = 1};
    wire_stream_write(&streams, &s);
    struct response r = {.op = OP_OPEN,
                         .credit_bytes = 1048576,
                         .credit_commands = 256,
                         .streams = span_buf(&streams),
                         .stream_count = 1};
    struct buf message = golden_response(&r, span_str(""));
    buf_free(&streams);
    return message;
}

static struct buf make_info_request(void)
{
    struct request r = {.op = OP_INFO, .group = 5, .stream = {17, 0}};
    return golden_request(&r, span_str(""));
}

static struct buf make_list_request(void)
{
    struct request r = {.op = OP_LIST,
                        .group = 5,
                        .name = span_str("logs/"),
                        .after = span_str("logs/app"),
                        .count_max = 100};
    return golden_request(&r, span_str(""));
}

static struct buf make_read_request(void)
{
    struct request r = {.op = OP_READ,
                        .group = 5,
                        .stream = {17, 0},
                        .from_seq = 40,
                        .end_seq = SEQ_ANY,
                        .count_max = 1000,
                        .bytes_max = 1048576,
                        .wait_ms = 5000};
    return golden_request(&r, span_str(""));
}

struct segment_head golden_segment(uint64_t seq, struct span bytes)
{
    return (struct segment_head){.seq = seq,
                                 .time_ms = 1700000000500,
                                 .size = (uint32_t)bytes.size,
                                 .algorithm = CHECKSUM_XXH3_128,
                                 .checksum = wire_checksum(bytes)};
}

static struct buf make_read_response(void)
{
    struct buf segments = {0};
    struct segment_head previous = {0};
    struct segment_head first = golden_segment(40, span_str("Hello, "));
    struct segment_head second = golden_segment(41, span_str("world"));
    second.key_hash = 0x77;
    second.attributes = span_str("type=text");
    wire_segment_write(&segments, &previous, &first);
    wire_segment_write(&segments, &previous, &second);
    struct response r = {.op = OP_READ,
                         .credit_bytes = 1048576,
                         .credit_commands = 256,
                         .segments = span_buf(&segments),
                         .segment_count = 2,
                         .next_seq = 42,
                         .first_seq = 2,
                         .is_leader = true};
    struct buf message = golden_response(&r, span_str("Hello, world"));
    buf_free(&segments);
    return message;
}

static struct buf make_moved_response(void)
{
    struct response r = {.op = OP_COMMANDS,
                         .err = ERR_MOVED,
                         .hint = golden_id(0x50),
                         .credit_bytes = 1048576,
                         .credit_commands = 256,
                         .text = span_str("another node leads this partition")};
    return golden_response(&r, span_str(""));
}

static struct buf make_status_request(void)
{
    struct request r = {.op = OP_STATUS};
    return golden_request(&r, span_str(""));
}

struct status golden_status(void)
{
    return (struct status){.node = golden_id(0x10),
                           .name = span_str("ash"),
                           .version = span_str("0.1.0"),
                           .boot = 3,
                           .epoch = golden_epoch,
                           .confirmed_ms = 250,
                           .uptime_ms = 60000,
                           .map_bytes = 1048576,
                           .map_used = 4096,
                           .disk_bytes = 2097152,
                           .disk_free = 1048576,
                           .is_ready = true,
                           .commits = 10,
                           .commit_us_p99 = 700,
                           .dropped = 1,
                           .appends = 20,
                           .reads = 30,
                           .damaged = 2,
                           .mended = 7,
                           .wall_ms = 1700000000000};
}

static struct status_group status_group_a(void)
{
    struct status_group g = {.group = 5,
                             .is_leader = true,
                             .is_ready = true,
                             .leader = golden_id(0x10),
                             .term = 4,
                             .commit = 90,
                             .applied = 90,
                             .last = 91,
                             .config_index = 8,
                             .replica_count = 2,
                             .streams = 1,
                             .bytes = 1000,
                             .reason = span_str("needs 1 more node"),
                             .generation = golden_generation,
                             .last_term = 3};
    g.replicas[0] = (struct status_replica){golden_id(0x10), 1, true, true, 91};
    g.replicas[1] =
        (struct status_replica){golden_id(0x20), 8, false, true, 60};
    return g;
}

struct buf golden_status_bytes(void)
{
    struct buf bytes = {0};
    struct status s = golden_status();
    struct status_member m = {.slot = 1,
                              .state = SWIM_SUSPECT,
                              .since_ms = 1500,
                              .address = span_str("10.0.0.2:7461")};
    struct status_group g = status_group_a();
    status_write(&bytes, &s);
    status_write_member(&bytes, &m);
    status_write_group(&bytes, &g);
    struct status_transfer t = {.group = 6,
                                .added = 12,
                                .state = TRANSFER_STATE_SEGMENTS,
                                .from = golden_id(0x20),
                                .bytes = 4096,
                                .total = 10000,
                                .rate = 2048,
                                .idle_ms = 40,
                                .reason = span_str("segments")};
    status_write_transfer(&bytes, &t);
    return bytes;
}

static struct buf make_status_response(void)
{
    struct buf bytes = golden_status_bytes();
    struct response r = {.op = OP_STATUS,
                         .credit_bytes = 1048576,
                         .credit_commands = 256,
                         .bytes = span_buf(&bytes)};
    struct buf message = golden_response(&r, span_str(""));
    buf_free(&bytes);
    return message;
}

static struct buf make_check_request(void)
{
    struct request r = {
        .op = OP_CHECK,
        .group = 5,
        .check = {.index = 90,
                  .state_index = 92,
                  .from = {.phase = SCRUB_ROWS, .row = {{7, 0}, 40}}}};
    return golden_request(&r, span_str(""));
}

struct buf golden_check_bytes(void)
{
    struct check_answer a = {
        .stored = 90,
        .applied = 93,
        .has_state = true,
        .state_index = 92,
        .state = {1, 2},
        .next = {.phase = SCRUB_DONE},
        .sums = {.digest = {3, 4}, .rows = 2, .segments = 6, .bytes = 1000},
        .damage_count = 1,
        .damages = {{.stream = {7, 0},
                     .first_seq = 40,
                     .count = 4,
                     .bad_count = 2,
                     .bad_seq = 41,
                     .at = {88, 3}}}};
    struct buf bytes = {0};
    check_write(&bytes, &a);
    return bytes;
}

static struct buf make_check_response(void)
{
    struct buf bytes = golden_check_bytes();
    struct response r = {.op = OP_CHECK,
                         .credit_bytes = 1048576,
                         .credit_commands = 256,
                         .bytes = span_buf(&bytes)};
    struct buf message = golden_response(&r, span_str(""));
    buf_free(&bytes);
    return message;
}

/* ---- frames to look at ------------------------------------------------- */

const struct frame_group golden_group = {.group = 5,
                                         .generation = {1, 0xe0e1e2e3e4e5e6e7}};

struct frame golden_raft_frame(enum raft_msg_kind kind)
{
    struct frame f = {.kind = (enum frame_kind)kind, .group = golden_group};
    f.msg = (struct raft_msg){.kind = kind, .term = 4};
    f.msg.from.added = 1;
    f.msg.to.added = 8;
    return f;
}

struct frame golden_group_frame(enum frame_kind kind)
{
    struct frame f = {.kind = kind, .group = golden_group};
    f.group.from_replica = 1;
    f.group.to_replica = 8;
    f.group.term = 4;
    return f;
}

struct config golden_config(void)
{
    struct config c = {.index = 8, .count = 2};
    c.members[0] = (struct config_member){{golden_id(0x10), 1}, true};
    c.members[1] = (struct config_member){{golden_id(0x20), 8}, false};
    return c;
}

/* One of each kind but APPEND. */
void golden_control_frames(struct frame f[GOLDEN_CONTROL_FRAMES])
{
    f[0] = golden_raft_frame(RAFT_PREVOTE);
    f[0].msg.last_index = 91;
    f[0].msg.last_term = 3;
    f[1] = golden_raft_frame(RAFT_PREVOTE_REPLY);
    f[1].msg.granted = true;
    f[2] = golden_raft_frame(RAFT_VOTE);
    f[2].msg.last_index = 91;
    f[2].msg.last_term = 3;
    f[2].msg.is_transfer = true;
    f[3] = golden_raft_frame(RAFT_VOTE_REPLY);
    f[4] = golden_raft_frame(RAFT_APPEND_REPLY);
    f[4].msg.granted = true;
    f[4].msg.match = 91;
    f[4].msg.prev_index = 90;
    f[4].msg.round = 12;
    f[5] = golden_raft_frame(RAFT_HEARTBEAT);
    f[5].msg.commit = 90;
    f[5].msg.round = 13;
    f[5].msg.floor = 80;
    f[6] = golden_raft_frame(RAFT_HEARTBEAT_REPLY);
    f[6].msg.match = 91;
    f[6].msg.round = 13;
    f[7] = golden_raft_frame(RAFT_TIMEOUT_NOW);
    f[8] = golden_group_frame(FRAME_INVITE);
    f[8].invite = (struct frame_invite){8, 13, 1, golden_epoch};
    f[9] = golden_group_frame(FRAME_INVITE_REPLY);
    f[9].invite_reply = ERR_BUSY;
    f[10] = golden_group_frame(FRAME_ASK);
    f[10].ask_added = 8;
    f[11] = golden_group_frame(FRAME_REMOVED);
    f[11].removed.commit = 92;
    f[11].removed.config = golden_config();
    f[12] = (struct frame){.kind = FRAME_SWIM, .bytes = span_str("packet")};
    f[13] = (struct frame){.kind = FRAME_ECHO};
    f[13].echo = (struct frame_echo){LANE_ENTRIES, 3, 100, 98, 99};
    f[14] = (struct frame){.kind = FRAME_RECORD_ASK, .epoch = golden_epoch};
    f[15] = (struct frame){.kind = FRAME_RECORD, .bytes = span_str("record")};
    f[16] = (struct frame){
        .kind = FRAME_FORGOTTEN, .boot = 3, .nonce = 99, .seen_boot = 4};
    f[17] = (struct frame){.kind = FRAME_HELLO, .boot = 3, .nonce = 99};
    static struct id128 dead;
    dead = golden_id(0x20);
    f[18] = (struct frame){.kind = FRAME_DEAD,
                           .bytes = span_of(dead.bytes, sizeof dead.bytes)};
    static uint8_t standing[25];
    struct buf list = {0};
    struct frame_standing s = {.group = 5,
                               .epoch = golden_epoch,
                               .count = 2,
                               .slots = {0, 3},
                               .is_voter = {true, false}};
    wire_standing_write(&list, &s);
    assert_int_equal(list.size, sizeof standing);
    memcpy(standing, list.data, sizeof standing);
    buf_free(&list);
    f[19] = (struct frame){.kind = FRAME_STANDING,
                           .bytes = span_of(standing, sizeof standing)};
    f[20] = (struct frame){.kind = FRAME_ADDRESS,
                           .client_address = span_str("10.0.0.7:7460"),
                           .peer_address = span_str("10.0.0.7:7461")};
    f[21] = golden_group_frame(FRAME_BLOB_ASK);
    f[21].transfer.index = 90;
    f[21].transfer.offset = 7;
    f[22] = golden_group_frame(FRAME_ROWS_ASK);
    f[22].transfer.index = 90;
    f[22].transfer.cursor = (struct row_cursor){{6, 1}, 4};
    f[22].transfer.bytes_max = ROWS_BYTES_MIN;
    f[23] = golden_group_frame(FRAME_ROWS);
    f[23].transfer = f[22].transfer;
    f[23].transfer.err = ERR_NOT_FOUND;
}

/* A blob's only piece, and a row of the index with its run of five bytes. */
static struct buf make_transfer(void)
{
    struct wire_out o = {0};
    struct wire_header h = golden_header(WIRE_PEER_TRANSFER);
    struct frame blob = golden_group_frame(FRAME_BLOB);
    blob.transfer = (struct frame_transfer){.index = 90,
                                            .term = 4,
                                            .digest = {1, 2},
                                            .epoch = golden_epoch,
                                            .config = golden_config(),
                                            .total = 6};
    blob.bytes = span_str("images");
    struct run_segment segment = {.size = 5,
                                  .algorithm = CHECKSUM_XXH3_128,
                                  .checksum = hash128(span_str("hello"))};
    struct run_row row = {.entry_index = 9, .ordinal = 3, .count = 1};
    uint8_t key[RUN_KEY_BYTES];
    struct buf value = {0}, rows = {0};
    run_key((struct position){6, 1}, 4, key);
    run_row_write(&row, &segment, &value);
    moved_row_put(&rows, span_of(key, sizeof key), span_buf(&value), 5);
    struct frame f = golden_group_frame(FRAME_ROWS);
    f.transfer.index = 90;
    f.transfer.cursor = (struct row_cursor){{6, 1}, 4};
    f.bytes = span_buf(&rows);
    f.payload = (struct slice){1, 0, 5};
    wire_begin(&o, &h);
    wire_frame_write(&o, &blob);
    wire_frame_write(&o, &f);
    buf_free(&value);
    buf_free(&rows);
    return golden_message(&o, span_str("hello"));
}

static struct buf make_control(void)
{
    struct wire_out o = {0};
    struct wire_header h = golden_header(WIRE_PEER_CONTROL);
    struct frame f[GOLDEN_CONTROL_FRAMES];
    golden_control_frames(f);
    wire_begin(&o, &h);
    for (size_t i = 0; i < GOLDEN_CONTROL_FRAMES; i++) {
        size_t before = wire_out_size(&o);
        wire_frame_write(&o, &f[i]);
        assert_true(wire_out_size(&o) - before <= wire_frame_size_max(&f[i]));
    }
    return golden_message(&o, span_str(""));
}

/* An entry of these segments, appended one after the other, as an item. */
static struct item *entry_of(struct item_pool *pool, uint64_t index,
                             const char *const *segments, size_t count)
{
    struct buf manifest = {0};
    struct entry_builder b;
    struct entry_stamp stamp = {golden_epoch, LEVEL_NOW, 1700000000500};
    uint32_t size = 0;
    entry_build(&b, &manifest, stamp);
    for (size_t i = 0; i < count; i++) {
        struct command c = golden_append(index * 10 + i, span_str(segments[i]));
        assert_int_equal(entry_add(&b, &c), ERR_OK);
        size += c.size;
    }
    entry_end(&b);
    entry_number(manifest.data, index, 4);
    struct slice slice = {PAYLOAD_HANDLE, 0, size};
    struct item *item = item_new(pool, span_buf(&manifest), &slice, 1);
    buf_free(&manifest);
    return item;
}

static struct frame append_frame(struct item **items, uint32_t count)
{
    struct frame f = golden_raft_frame(RAFT_APPEND);
    f.msg.prev_index = items[0]->index - 1;
    f.msg.prev_term = 4;
    f.msg.commit = 90;
    f.msg.round = 14;
    f.msg.items = items;
    f.msg.item_count = count;
    return f;
}

/* Two APPENDs: entry 91 "Hello, world" and 92 "!", then entry 7 "tail" of
 * another group. */
static struct buf make_entries(void)
{
    static const char *const hello[] = {"Hello, ", "world"};
    static const char *const mark[] = {"!"};
    static const char *const tail[] = {"tail"};
    struct item_pool pool = {0};
    struct item *items[2] = {entry_of(&pool, 91, hello, 2),
                             entry_of(&pool, 92, mark, 1)};
    struct item *other = entry_of(&pool, 7, tail, 1);
    struct wire_out o = {0};
    struct wire_header h = golden_header(WIRE_PEER_ENTRIES);
    wire_begin(&o, &h);
    struct frame first = append_frame(items, 2);
    struct frame second = append_frame(&other, 1);
    second.group.group = 6;
    wire_frame_write(&o, &first);
    size_t before = wire_out_size(&o);
    wire_frame_write(&o, &second);
    assert_true(wire_out_size(&o) - before <= wire_frame_size_max(&second));
    struct buf message = golden_message(&o, span_str("Hello, world!tail"));
    item_unref(&pool, items[0]);
    item_unref(&pool, items[1]);
    item_unref(&pool, other);
    item_pool_free(&pool);
    return message;
}

/* ---- all of them ------------------------------------------------------- */

const struct golden golden_all[GOLDEN_COUNT] = {
    {"hello-request", make_hello_request},
    {"hello-response", make_hello_response},
    {"record-request", make_record_request},
    {"join-request", make_join_request},
    {"change-request", make_change_request},
    {"change-response", make_change_response},
    {"recover-request", make_recover_request},
    {"recover-change-request", make_recover_change_request},
    {"create-request", make_create_request},
    {"open-producer-request", make_open_producer_request},
    {"append-request", make_append_request},
    {"commands-response", make_commands_response},
    {"moved-response", make_moved_response},
    {"open-request", make_open_request},
    {"open-response", make_open_response},
    {"info-request", make_info_request},
    {"list-request", make_list_request},
    {"read-request", make_read_request},
    {"read-response", make_read_response},
    {"status-request", make_status_request},
    {"status-response", make_status_response},
    {"check-request", make_check_request},
    {"check-response", make_check_response},
    {"peer-control", make_control},
    {"peer-transfer", make_transfer},
    {"peer-entries", make_entries},
};

struct buf golden_build(const char *name)
{
    for (size_t i = 0; i < GOLDEN_COUNT; i++)
        if (strcmp(golden_all[i].name, name) == 0)
            return golden_all[i].build();
    fail_msg("no golden message is called %s", name);
    return (struct buf){0};
}
