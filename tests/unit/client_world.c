/* client_world.c - see client_world.h. */
#include "tests/unit/client_world.h"

#include <stdio.h>

#include "net/keys.h"

struct id128 world_id(uint8_t n)
{
    struct id128 id = {{0}};
    id.bytes[0] = n;
    return id;
}

struct member world_member(uint8_t n)
{
    struct member m = {
        .node = world_id(n), .weight = WEIGHT_DEFAULT, .level = LEVEL_NOW};
    (void)snprintf(m.name, sizeof m.name, "node%u", n);
    (void)snprintf(m.client_address, sizeof m.client_address, "host%u:7460", n);
    (void)snprintf(m.peer_address, sizeof m.peer_address, "host%u:7461", n);
    m.public_key[0] = n;
    return m;
}

static struct record *make_record(void)
{
    struct record *r = record_new();
    r->cluster = world_id(0xc1);
    r->generation = (struct generation){1, 99};
    r->epoch = record_epoch(r->generation, 1);
    r->partitions = PARTITIONS_MIN;
    struct member first = world_member(1);
    record_begin(r, &first, 1000);
    for (uint8_t n = 2; n <= NODES; n++) {
        struct member m = world_member(n);
        assert_int_equal(record_join(r, &m, 1000), ERR_OK);
        record_see(r, record_slot(r, m.node), SEEN_UP, 1000);
    }
    record_advance(r, 2000);
    assert_null(record_fault(r));
    return r;
}

struct world *world_of(struct id128 cluster, size_t contacts)
{
    struct world *w = mem_alloc(sizeof *w);
    static struct client_contact list[NODES];
    for (size_t i = 0; i < contacts; i++) {
        struct member m = world_member((uint8_t)(i + 1));
        memcpy(list[i].address, m.client_address, sizeof list[i].address);
        memcpy(list[i].server_key, m.public_key, KEY_BYTES);
    }
    struct client_cfg cfg = {
        .cluster = cluster,
        .contacts = list,
        .contact_count = contacts,
        .seed = 7,
        .timeout_ms = TIMEOUT,
        .attempt_ms = ATTEMPT,
        .backoff_min_ms = BACKOFF,
        .backoff_max_ms = 1000,
        .stream_hash = keys_stream_hash,
    };
    w->record = make_record();
    w->now = 100;
    w->client = client_new(&cfg, w->now);
    return w;
}

struct world *world_new(size_t contacts)
{
    return world_of(world_id(0xc1), contacts);
}

static void take_sent(struct world *w, const struct client_effect *e)
{
    assert_true(w->sent_count < SENT_MAX);
    struct sent *s = &w->sent[w->sent_count++];
    s->link = e->link;
    buf_append(&s->bytes, e->message->bytes.data, e->message->bytes.size);
    for (uint32_t i = 0; i < e->message->slice_count; i++) {
        struct slice slice = e->message->slices[i];
        const struct buf *b = &w->segments[slice.handle - 1];
        assert_true(slice.offset + slice.size <= b->size);
        buf_append(&s->bytes, b->data + slice.offset, slice.size);
    }
    assert_int_equal(wire_read(span_buf(&s->bytes), &s->in), ERR_OK);
    assert_int_equal(wire_request_read(&s->in, &s->request), ERR_OK);
}

void world_settle(struct world *w)
{
    struct client_effect e;
    while (client_pop(w->client, &e)) {
        struct told *t = &w->told[w->told_count];
        switch (e.kind) {
        case CLIENT_DO_SEND:
            take_sent(w, &e);
            break;
        case CLIENT_DO_LINK:
            (void)snprintf(w->address[e.link], sizeof w->address[e.link], "%s",
                           e.address);
            break;
        case CLIENT_DO_DONE:
            assert_true(w->told_count++ < RESULT_MAX);
            *t = (struct told){.result = e.result};
            break;
        case CLIENT_DO_APPENDED:
            assert_true(w->told_count++ < RESULT_MAX);
            *t = (struct told){
                .number = e.number, .seq = e.seq, .is_append = true};
            t->result.token = e.token;
            t->result.err = e.err;
            t->result.is_duplicate = e.is_duplicate;
            break;
        case CLIENT_DO_RELEASE:
            assert_true(w->released_count < RESULT_MAX);
            w->released[w->released_count++] = e.handle;
            break;
        }
    }
    client_check(w->client);
}

void world_free(struct world *w)
{
    client_close(w->client);
    world_settle(w);
    /* Every handle came back, each once. */
    assert_int_equal(w->released_count, w->segment_count);
    client_free(w->client);
    record_free(w->record);
    for (size_t i = 0; i < w->sent_count; i++)
        buf_free(&w->sent[i].bytes);
    for (size_t i = 0; i < w->segment_count; i++)
        buf_free(&w->segments[i]);
    mem_free(w);
}

void world_pass(struct world *w, uint64_t ms)
{
    w->now += ms;
    client_tick(w->client, w->now);
    world_settle(w);
}

void world_lose(struct world *w, uint32_t link)
{
    client_link_lost(w->client, link, w->now);
    world_pass(w, 0);
}

/* The next request that no test has looked at; it must be of this op. */
struct sent *world_next_sent(struct world *w, enum wire_op op)
{
    world_settle(w);
    assert_true(w->handled < w->sent_count);
    struct sent *s = &w->sent[w->handled++];
    assert_int_equal(s->request.op, op);
    return s;
}

void world_assert_nothing_sent(struct world *w)
{
    world_settle(w);
    assert_int_equal(w->handled, w->sent_count);
}

/* Who answers at a link: contacts and members have the number of their host. */
uint8_t world_node_at(const struct world *w, uint32_t link)
{
    return (uint8_t)(w->address[link][4] - '0');
}

void world_respond_of(struct world *w, const struct sent *s,
                      struct id128 cluster, struct id128 from,
                      struct epoch epoch, const struct response *r)
{
    struct wire_header h = {
        .kind = WIRE_RESPONSE,
        .cluster = cluster,
        .from = from,
        .boot = 1,
        .epoch = epoch,
        .number = s->in.header.number,
    };
    struct wire_out o = {0};
    wire_begin(&o, &h);
    wire_response_write(&o, r);
    wire_end(&o);
    client_recv(w->client, s->link, span_buf(&o.bytes), 0, w->now);
    world_settle(w);
    wire_out_free(&o);
}

void world_respond_as(struct world *w, const struct sent *s, struct id128 from,
                      struct epoch epoch, const struct response *r)
{
    world_respond_of(w, s, w->record->cluster, from, epoch, r);
}

void world_respond(struct world *w, const struct sent *s,
                   const struct response *r)
{
    world_respond_as(w, s, world_id(world_node_at(w, s->link)),
                     w->record->epoch, r);
}

void world_refuse(struct world *w, const struct sent *s, enum err err)
{
    struct response r = {.op = s->request.op, .err = err};
    world_respond(w, s, &r);
}

void world_refuse_moved(struct world *w, const struct sent *s, uint8_t leader)
{
    struct response r = {.op = s->request.op, .err = ERR_MOVED};
    if (leader != 0)
        r.hint = world_id(leader);
    world_respond(w, s, &r);
}

void world_say_hello(struct world *w, const struct sent *s)
{
    struct response r = {
        .op = OP_HELLO,
        .node = world_id(world_node_at(w, s->link)),
        .level = LEVEL_NOW,
        .version = span_str("test"),
    };
    world_respond(w, s, &r);
}

void world_give_record(struct world *w, const struct sent *s)
{
    struct buf bytes = {0};
    record_encode(w->record, &bytes);
    struct response r = {.op = OP_RECORD, .bytes = span_buf(&bytes)};
    world_respond(w, s, &r);
    buf_free(&bytes);
}

void world_connect(struct world *w)
{
    struct client_request r = {.op = CLIENT_CONNECT, .token = 1};
    assert_int_equal(client_submit(w->client, &r, w->now), ERR_OK);
    world_say_hello(w, world_next_sent(w, OP_HELLO));
    world_give_record(w, world_next_sent(w, OP_RECORD));
    assert_int_equal(w->told_count, 1);
    assert_int_equal(w->told[0].result.err, ERR_OK);
    w->told_count = 0;
}

struct world *world_connected(void)
{
    struct world *w = world_new(1);
    world_connect(w);
    return w;
}

const struct told *world_only_told(struct world *w)
{
    world_settle(w);
    assert_int_equal(w->told_count, 1);
    w->told_count = 0;
    return &w->told[0];
}

/* The node of rank r in the row of a group. */
uint8_t world_ranked(const struct world *w, uint32_t group, uint32_t r)
{
    uint32_t count;
    const uint16_t *row = record_row(w->record, group, &count);
    return w->record->members[row[r % count]].node.bytes[0];
}

void world_submit_create(struct world *w, uint64_t token)
{
    struct client_request r = {
        .op = CLIENT_CREATE, .token = token, .name = span_str("a")};
    assert_int_equal(client_submit(w->client, &r, w->now), ERR_OK);
}

void world_answer_verdict(struct world *w, const struct sent *s,
                          const struct verdict *v)
{
    struct buf list = {0};
    wire_verdict_write(&list, v);
    struct response r = {
        .op = OP_COMMANDS, .verdicts = span_buf(&list), .verdict_count = 1};
    world_respond(w, s, &r);
    buf_free(&list);
}

enum err world_refuse_until_the_end(struct world *w, enum err err)
{
    uint64_t end = w->now + TIMEOUT;
    while (w->now < end && w->told_count == 0) {
        world_settle(w);
        while (w->handled < w->sent_count) {
            const struct sent *s = &w->sent[w->handled++];
            if (s->request.op == OP_RECORD)
                world_give_record(w, s);
            else
                world_refuse(w, s, err);
        }
        world_pass(w, 10);
    }
    assert_true(w->told_count > 0);
    return w->told[0].result.err;
}
