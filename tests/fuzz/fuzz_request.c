/* fuzz_request.c - any bytes as a request or a response, with and without a
 * header. What is taken can be walked to its end, and is written again to the
 * same bytes (one meaning, one encoding). */
#include "net/check.h"
#include "net/status.h"
#include "net/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_request(const struct wire_in *in)
{
    struct request r;
    if (wire_request_read(in, &r) != ERR_OK)
        return;
    if (r.op == OP_COMMANDS) {
        struct commands_iter it;
        struct command c;
        wire_commands_begin(&it, &r);
        while (wire_commands_next(&it, &c))
            ASSERT(command_check(&c) == ERR_OK);
        ASSERT(dec_done(&it.d) && it.next_ordinal == r.command_count);
        enum err err = wire_commands_verify(in, &r);
        ASSERT(err == ERR_OK || err == ERR_CORRUPT);
    }
    struct wire_out o = {0};
    wire_request_write(&o, &r);
    ASSERT(span_equal(span_buf(&o.bytes), in->inline_part));
    wire_out_free(&o);
}

static void walk_verdicts(const struct response *r)
{
    struct buf again = {0};
    struct dec d = dec_of(r->verdicts);
    struct verdict v;
    while (wire_verdict_next(&d, &v))
        wire_verdict_write(&again, &v);
    ASSERT(dec_done(&d) && span_equal(span_buf(&again), r->verdicts));
    buf_free(&again);
}

static void walk_streams(const struct response *r)
{
    struct buf again = {0};
    struct dec d = dec_of(r->streams);
    struct stream_info s;
    while (wire_stream_next(&d, &s))
        wire_stream_write(&again, &s);
    ASSERT(dec_done(&d) && span_equal(span_buf(&again), r->streams));
    buf_free(&again);
}

static void walk_segments(const struct response *r)
{
    struct buf again = {0};
    struct dec d = dec_of(r->segments);
    struct segment_head before = {0};
    struct segment_head before_again = {0};
    struct segment_head s;
    while (wire_segment_next(&d, &before, &s))
        wire_segment_write(&again, &before_again, &s);
    ASSERT(dec_done(&d) && span_equal(span_buf(&again), r->segments));
    buf_free(&again);
}

static void walk_status(struct span bytes)
{
    struct status s;
    struct status_member m;
    struct status_group g;
    if (status_read(bytes, &s) != ERR_OK)
        return;
    struct dec members = dec_of(bytes);
    while (status_next_member(&members, &m))
        continue;
    struct dec groups = dec_of(bytes);
    while (status_next_group(&groups, &g))
        ASSERT(g.replica_count <= REPLICAS_MAX);
    struct dec transfers = dec_of(bytes);
    struct status_transfer t;
    while (status_next_transfer(&transfers, &t))
        ASSERT(t.group < GROUPS_MAX);
    ASSERT(dec_done(&members) && dec_done(&groups) && dec_done(&transfers));
}

static void walk_check(struct span bytes)
{
    struct check_answer a;
    if (check_read(bytes, &a) != ERR_OK)
        return;
    struct buf again = {0};
    check_write(&again, &a);
    ASSERT(span_equal(span_buf(&again), bytes));
    buf_free(&again);
}

static void read_response(const struct wire_in *in)
{
    struct response r;
    if (wire_response_read(in, &r) != ERR_OK)
        return;
    walk_verdicts(&r);
    walk_streams(&r);
    walk_segments(&r);
    if (r.op == OP_STATUS)
        walk_status(r.bytes);
    if (r.op == OP_CHECK)
        walk_check(r.bytes);
    struct wire_out o = {0};
    wire_response_write(&o, &r);
    ASSERT(span_equal(span_buf(&o.bytes), in->inline_part));
    wire_out_free(&o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_in in;
    if (wire_read(span_of(data, size), &in) == ERR_OK) {
        if (in.header.kind == WIRE_REQUEST)
            read_request(&in);
        if (in.header.kind == WIRE_RESPONSE)
            read_response(&in);
    }
    /* Ids that fit every op. */
    const struct id128 id = {{1}};
    in = (struct wire_in){.inline_part = span_of(data, size)};
    in.header.cluster = id;
    in.header.to = id;
    in.header.kind = WIRE_REQUEST;
    read_request(&in);
    in.header.kind = WIRE_RESPONSE;
    read_response(&in);
    return 0;
}
