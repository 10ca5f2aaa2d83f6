/* test_client.c - the client core against scripted nodes: each test pops what
 * the core sends, and answers, keeps silent or lies as it likes. The last one
 * lets a lossy network and a real state machine do that at random. */
#include "net/client.h"

#include <stdio.h>
#include <stdlib.h>

#include "net/keys.h"
#include "ring/rule.h"
#include "tests/unit/cmocka_wrap.h"

#define NODES      3u
#define SENT_MAX   4096u
#define RESULT_MAX 4096u
#define TIMEOUT    30000u
#define ATTEMPT    2000u
#define BACKOFF    20u

/* A request that the core has sent, with its payload behind the inline part. */
struct sent {
    uint32_t link;
    struct buf bytes;
    struct wire_in in;
    struct request request;
};

struct told {
    struct client_result result;
    uint64_t number, seq;
    bool is_append;
};

struct world {
    struct client *client;
    struct record *record;
    uint64_t now;
    struct sent sent[SENT_MAX];
    size_t sent_count, handled;
    struct told told[RESULT_MAX];
    size_t told_count;
    uint64_t released[RESULT_MAX];
    size_t released_count;
    char address[32][ADDRESS_MAX + 1]; /* by link */
    struct buf segments[RESULT_MAX];   /* by handle - 1 */
    size_t segment_count;
};

static struct id128 id_of(uint8_t n)
{
    struct id128 id = {{0}};
    id.bytes[0] = n;
    return id;
}

static struct member member_of(uint8_t n)
{
    struct member m = {
        .node = id_of(n), .weight = WEIGHT_DEFAULT, .level = LEVEL_NOW};
    (void)snprintf(m.name, sizeof m.name, "node%u", n);
    (void)snprintf(m.client_address, sizeof m.client_address, "host%u:7460", n);
    (void)snprintf(m.peer_address, sizeof m.peer_address, "host%u:7461", n);
    m.public_key[0] = n;
    return m;
}

static struct record *make_record(void)
{
    struct record *r = record_new();
    r->cluster = id_of(0xc1);
    r->generation = (struct generation){1, 99};
    r->epoch = record_epoch(r->generation, 1);
    r->partitions = PARTITIONS_MIN;
    struct member first = member_of(1);
    record_begin(r, &first, 1000);
    for (uint8_t n = 2; n <= NODES; n++) {
        struct member m = member_of(n);
        assert_int_equal(record_join(r, &m, 1000), ERR_OK);
        record_see(r, record_slot(r, m.node), SEEN_UP, 1000);
    }
    record_advance(r, 2000);
    assert_null(record_fault(r));
    return r;
}

static struct world *world_of(struct id128 cluster, size_t contacts)
{
    struct world *w = mem_alloc(sizeof *w);
    static struct client_contact list[NODES];
    for (size_t i = 0; i < contacts; i++) {
        struct member m = member_of((uint8_t)(i + 1));
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

static struct world *world_new(size_t contacts)
{
    return world_of(id_of(0xc1), contacts);
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

static void settle(struct world *w)
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

static void world_free(struct world *w)
{
    client_close(w->client);
    settle(w);
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

static void pass(struct world *w, uint64_t ms)
{
    w->now += ms;
    client_tick(w->client, w->now);
    settle(w);
}

static void lose(struct world *w, uint32_t link)
{
    client_link_lost(w->client, link, w->now);
    pass(w, 0);
}

/* The next request that no test has looked at; it must be of this op. */
static struct sent *next_sent(struct world *w, enum wire_op op)
{
    settle(w);
    assert_true(w->handled < w->sent_count);
    struct sent *s = &w->sent[w->handled++];
    assert_int_equal(s->request.op, op);
    return s;
}

static void assert_nothing_sent(struct world *w)
{
    settle(w);
    assert_int_equal(w->handled, w->sent_count);
}

/* Who answers at a link: contacts and members have the number of their host. */
static uint8_t node_at(const struct world *w, uint32_t link)
{
    return (uint8_t)(w->address[link][4] - '0');
}

static void respond_of(struct world *w, const struct sent *s,
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
    settle(w);
    wire_out_free(&o);
}

static void respond_as(struct world *w, const struct sent *s, struct id128 from,
                       struct epoch epoch, const struct response *r)
{
    respond_of(w, s, w->record->cluster, from, epoch, r);
}

static void respond(struct world *w, const struct sent *s,
                    const struct response *r)
{
    respond_as(w, s, id_of(node_at(w, s->link)), w->record->epoch, r);
}

static void refuse(struct world *w, const struct sent *s, enum err err)
{
    struct response r = {.op = s->request.op, .err = err};
    respond(w, s, &r);
}

static void refuse_moved(struct world *w, const struct sent *s, uint8_t leader)
{
    struct response r = {.op = s->request.op, .err = ERR_MOVED};
    if (leader != 0)
        r.hint = id_of(leader);
    respond(w, s, &r);
}

static void say_hello(struct world *w, const struct sent *s)
{
    struct response r = {
        .op = OP_HELLO,
        .node = id_of(node_at(w, s->link)),
        .level = LEVEL_NOW,
        .version = span_str("test"),
    };
    respond(w, s, &r);
}

static void give_record(struct world *w, const struct sent *s)
{
    struct buf bytes = {0};
    record_encode(w->record, &bytes);
    struct response r = {.op = OP_RECORD, .bytes = span_buf(&bytes)};
    respond(w, s, &r);
    buf_free(&bytes);
}

static void connect(struct world *w)
{
    struct client_request r = {.op = CLIENT_CONNECT, .token = 1};
    assert_int_equal(client_submit(w->client, &r, w->now), ERR_OK);
    say_hello(w, next_sent(w, OP_HELLO));
    give_record(w, next_sent(w, OP_RECORD));
    assert_int_equal(w->told_count, 1);
    assert_int_equal(w->told[0].result.err, ERR_OK);
    w->told_count = 0;
}

static struct world *connected(void)
{
    struct world *w = world_new(1);
    connect(w);
    return w;
}

static const struct told *only_told(struct world *w)
{
    settle(w);
    assert_int_equal(w->told_count, 1);
    w->told_count = 0;
    return &w->told[0];
}

/* The node of rank r in the row of a group. */
static uint8_t ranked(const struct world *w, uint32_t group, uint32_t r)
{
    uint32_t count;
    const uint16_t *row = record_row(w->record, group, &count);
    return w->record->members[row[r % count]].node.bytes[0];
}

static void submit_create(struct world *w, uint64_t token)
{
    struct client_request r = {
        .op = CLIENT_CREATE, .token = token, .name = span_str("a")};
    assert_int_equal(client_submit(w->client, &r, w->now), ERR_OK);
}

static void answer_verdict(struct world *w, const struct sent *s,
                           const struct verdict *v)
{
    struct buf list = {0};
    wire_verdict_write(&list, v);
    struct response r = {
        .op = OP_COMMANDS, .verdicts = span_buf(&list), .verdict_count = 1};
    respond(w, s, &r);
    buf_free(&list);
}

/* ---- the record -------------------------------------------------------- */

static void connect_asks_hello_then_the_record(void **state)
{
    (void)state;
    struct world *w = connected();
    assert_non_null(client_record(w->client));
    /* The contact is node 1's link; the others got their own. */
    assert_string_equal(w->address[0], "host1:7460");
    assert_string_equal(w->address[1], "host2:7460");
    assert_string_equal(w->address[2], "host3:7460");
    world_free(w);
}

static void a_silent_contact_is_not_waited_for(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    struct sent *first = next_sent(w, OP_HELLO);
    pass(w, ATTEMPT / 4);
    assert_nothing_sent(w);
    pass(w, ATTEMPT / 4);
    struct sent *second = next_sent(w, OP_HELLO);
    assert_int_not_equal(first->link, second->link);
    say_hello(w, second);
    give_record(w, next_sent(w, OP_RECORD));
    assert_non_null(client_record(w->client));
    world_free(w);
}

/* The id of the cluster in the first answer has a bit that is wrong: nobody
 * there is of that one, nobody answers; the next HELLO asks for it anew. */
static void one_wrong_hello_does_not_shut_the_client_out(void **state)
{
    (void)state;
    struct world *w = world_of((struct id128){{0}}, 2);
    struct sent *s = next_sent(w, OP_HELLO);
    struct id128 wrong = w->record->cluster;
    wrong.bytes[5] ^= 2;
    struct response r = {.op = OP_HELLO,
                         .node = id_of(node_at(w, s->link)),
                         .level = LEVEL_NOW,
                         .version = span_str("test")};
    respond_of(w, s, wrong, r.node, w->record->epoch, &r);
    s = next_sent(w, OP_RECORD);
    assert_true(id_equal(s->in.header.cluster, wrong));
    pass(w, ATTEMPT / 4);
    assert_nothing_sent(w);
    pass(w, ATTEMPT / 4);
    s = next_sent(w, OP_HELLO);
    assert_true(id_is_zero(s->in.header.cluster));
    say_hello(w, s);
    s = next_sent(w, OP_RECORD);
    assert_true(id_equal(s->in.header.cluster, w->record->cluster));
    give_record(w, s);
    assert_non_null(client_record(w->client));
    world_free(w);
}

static void a_contact_where_nobody_is_costs_no_wait(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    struct sent *first = next_sent(w, OP_HELLO);
    lose(w, first->link);
    struct sent *second = next_sent(w, OP_HELLO);
    assert_int_not_equal(first->link, second->link);
    /* Nor do its later failures ask again and again. */
    lose(w, first->link);
    assert_nothing_sent(w);
    say_hello(w, second);
    give_record(w, next_sent(w, OP_RECORD));
    assert_non_null(client_record(w->client));
    world_free(w);
}

/* Another node had the contact's address when it was asked. */
static void a_late_hello_does_not_overrule_the_record(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    struct sent first = *next_sent(w, OP_HELLO);
    pass(w, ATTEMPT / 2);
    say_hello(w, next_sent(w, OP_HELLO));
    give_record(w, next_sent(w, OP_RECORD));
    struct response r = {.op = OP_HELLO, .node = id_of(3), .level = LEVEL_NOW};
    respond_as(w, &first, r.node, w->record->epoch, &r);
    submit_create(w, 5);
    struct sent *s = next_sent(w, OP_COMMANDS);
    if (node_at(w, s->link) != 1) {
        refuse_moved(w, s, 1);
        s = next_sent(w, OP_COMMANDS);
    }
    assert_int_equal(node_at(w, s->link), 1);
    assert_true(id_equal(s->in.header.to, id_of(1)));
    world_free(w);
}

/* Slower than the turn in which contacts are asked, faster than an attempt. */
static void a_slow_contact_is_understood(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    struct sent *s = next_sent(w, OP_HELLO);
    pass(w, ATTEMPT - 1);
    assert_nothing_sent(w);
    say_hello(w, s);
    s = next_sent(w, OP_RECORD);
    pass(w, ATTEMPT - 1);
    assert_nothing_sent(w);
    give_record(w, s);
    assert_non_null(client_record(w->client));
    world_free(w);
}

static void nobody_answering_is_unavailable_when_time_is_up(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    submit_create(w, 5);
    settle(w);
    pass(w, TIMEOUT - 1);
    assert_int_equal(w->told_count, 0);
    pass(w, 1);
    assert_int_equal(only_told(w)->result.err, ERR_UNAVAILABLE);
    world_free(w);
}

static void a_denied_key_is_told_at_once(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    submit_create(w, 5);
    say_hello(w, next_sent(w, OP_HELLO));
    refuse(w, next_sent(w, OP_RECORD), ERR_DENIED);
    assert_int_equal(only_told(w)->result.err, ERR_DENIED);
    world_free(w);
}

static void a_higher_epoch_in_a_header_fetches_the_record(void **state)
{
    (void)state;
    struct world *w = connected();
    submit_create(w, 2);
    struct sent *s = next_sent(w, OP_COMMANDS);
    record_advance(w->record, 3000);
    pass(w, 1000);
    refuse(w, s, ERR_BUSY);
    give_record(w, next_sent(w, OP_RECORD));
    assert_int_equal(client_record(w->client)->epoch.number,
                     w->record->epoch.number);
    assert_nothing_sent(w);
    world_free(w);
}

static void answers_of_other_nodes_and_clusters_are_ignored(void **state)
{
    (void)state;
    struct world *w = connected();
    submit_create(w, 2);
    struct sent *s = next_sent(w, OP_COMMANDS);
    struct response r = {.op = OP_COMMANDS, .err = ERR_DENIED};
    respond_as(w, s, id_of(77), w->record->epoch, &r);
    w->record->cluster = id_of(0xdd);
    respond(w, s, &r);
    w->record->cluster = id_of(0xc1);
    assert_int_equal(w->told_count, 0);
    respond(w, s, &r);
    assert_int_equal(only_told(w)->result.err, ERR_DENIED);
    world_free(w);
}

/* ---- where calls go ---------------------------------------------------- */

static uint32_t group_of_a(const struct world *w)
{
    uint8_t hash[16];
    keys_stream_hash(w->record->cluster, span_str("a"), hash);
    return record_partition(w->record->partitions, hash) + 1;
}

static void a_hint_is_followed_at_once_and_remembered(void **state)
{
    (void)state;
    struct world *w = connected();
    uint32_t group = group_of_a(w);
    uint8_t leader = ranked(w, group, 2);
    submit_create(w, 2);
    struct sent *s = next_sent(w, OP_COMMANDS);
    assert_int_equal(node_at(w, s->link), ranked(w, group, 0));
    assert_int_equal(s->request.group, group);
    refuse_moved(w, s, leader);
    s = next_sent(w, OP_COMMANDS);
    assert_int_equal(node_at(w, s->link), leader);
    struct verdict v = {.id = {7, 1}};
    answer_verdict(w, s, &v);
    const struct told *t = only_told(w);
    assert_int_equal(t->result.err, ERR_OK);
    assert_int_equal(t->result.partition, group - 1);
    assert_int_equal(t->result.stream.id.index, 7);
    submit_create(w, 3);
    assert_int_equal(node_at(w, next_sent(w, OP_COMMANDS)->link), leader);
    world_free(w);
}

/* A group whose whole row is new, and knows no leader: the one that is on its
 * way out of it leads still. */
static void who_is_not_in_the_row_is_asked_too(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    w->record->copies = 2;
    record_advance(w->record, 3000);
    connect(w);
    uint32_t group = group_of_a(w), asked = 0;
    uint8_t others = (uint8_t)(6 - ranked(w, group, 0) - ranked(w, group, 1));
    submit_create(w, 2);
    for (uint32_t i = 0; i < 4; i++) {
        struct sent *s = next_sent(w, OP_COMMANDS);
        if (node_at(w, s->link) == others)
            break;
        refuse_moved(w, s, 0);
        asked |= 1u << node_at(w, s->link);
        pass(w, 1000);
    }
    struct sent *s = &w->sent[w->handled - 1];
    assert_int_equal(node_at(w, s->link), others);
    assert_int_equal(asked,
                     1u << ranked(w, group, 0) | 1u << ranked(w, group, 1));
    world_free(w);
}

static void moved_without_a_hint_tries_the_next_after_a_wait(void **state)
{
    (void)state;
    struct world *w = connected();
    submit_create(w, 2);
    struct sent *s = next_sent(w, OP_COMMANDS);
    refuse_moved(w, s, 0);
    pass(w, BACKOFF / 2 - 1);
    assert_nothing_sent(w);
    pass(w, BACKOFF / 2 + 1);
    uint32_t group = group_of_a(w);
    s = next_sent(w, OP_COMMANDS);
    assert_int_equal(node_at(w, s->link), ranked(w, group, 1));
    world_free(w);
}

static void refusals_are_retried_until_time_is_up_and_then_told(void **state)
{
    (void)state;
    struct world *w = connected();
    submit_create(w, 2);
    uint64_t end = w->now + TIMEOUT;
    while (w->now < end - 1) {
        settle(w);
        while (w->handled < w->sent_count)
            refuse(w, &w->sent[w->handled++], ERR_NO_SPACE);
        uint64_t at = client_deadline(w->client);
        assert_true(at > w->now);
        pass(w, min_u64(at, end - 1) - w->now);
    }
    while (w->handled < w->sent_count)
        refuse(w, &w->sent[w->handled++], ERR_NO_SPACE);
    assert_int_equal(w->told_count, 0);
    assert_true(w->sent_count > 20 && w->sent_count < 200);
    pass(w, 1);
    assert_int_equal(only_told(w)->result.err, ERR_NO_SPACE);
    world_free(w);
}

/* Refuses all until the time of what was submitted is up. */
static enum err refuse_until_the_end(struct world *w, enum err err)
{
    uint64_t end = w->now + TIMEOUT;
    while (w->now < end && w->told_count == 0) {
        settle(w);
        while (w->handled < w->sent_count) {
            const struct sent *s = &w->sent[w->handled++];
            if (s->request.op == OP_RECORD)
                give_record(w, s);
            else
                refuse(w, s, err);
        }
        pass(w, 10);
    }
    assert_true(w->told_count > 0);
    return w->told[0].result.err;
}

static void once_unknown_a_refusal_says_nothing(void **state)
{
    (void)state;
    struct world *w = connected();
    submit_create(w, 2);
    (void)next_sent(w, OP_COMMANDS); /* lost */
    pass(w, ATTEMPT);
    assert_int_equal(refuse_until_the_end(w, ERR_UNAVAILABLE), ERR_TIMEOUT);
    world_free(w);
#ifdef EDDY_RULES
    assert_true(rule_turn_off("T18"));
    w = connected();
    submit_create(w, 2);
    (void)next_sent(w, OP_COMMANDS);
    pass(w, ATTEMPT);
    assert_int_equal(refuse_until_the_end(w, ERR_UNAVAILABLE), ERR_UNAVAILABLE);
    world_free(w);
    rule_turn_all_on();
#endif
}

static void denied_says_nothing_of_an_earlier_attempt(void **state)
{
    (void)state;
    struct world *w = connected();
    submit_create(w, 2);
    refuse(w, next_sent(w, OP_COMMANDS), ERR_DENIED);
    assert_int_equal(only_told(w)->result.err, ERR_DENIED);
    w->told_count = 0;
    submit_create(w, 3);
    (void)next_sent(w, OP_COMMANDS); /* lost: it may be in the log */
    pass(w, ATTEMPT);
    pass(w, 1000);
    refuse(w, next_sent(w, OP_COMMANDS), ERR_DENIED);
    assert_int_equal(only_told(w)->result.err, ERR_TIMEOUT);
    world_free(w);
}

static void silence_tries_another_node_and_asks_for_the_record(void **state)
{
    (void)state;
    struct world *w = connected();
    submit_create(w, 2);
    struct sent *first = next_sent(w, OP_COMMANDS);
    uint32_t silent = first->link;
    pass(w, ATTEMPT - 1);
    assert_nothing_sent(w);
    pass(w, 1);
    struct sent *s = next_sent(w, OP_COMMANDS);
    assert_int_not_equal(s->link, silent);
    pass(w, ATTEMPT / 4);
    assert_int_equal(next_sent(w, OP_RECORD)->request.op, OP_RECORD);
    struct verdict v = {.is_duplicate = true, .id = {7, 1}};
    answer_verdict(w, s, &v);
    const struct told *t = only_told(w);
    assert_int_equal(t->result.err, ERR_OK);
    assert_true(t->result.is_duplicate);
    world_free(w);
}

static void a_lost_link_is_not_waited_for(void **state)
{
    (void)state;
    struct world *w = connected();
    submit_create(w, 2);
    uint32_t lost = next_sent(w, OP_COMMANDS)->link;
    lose(w, lost);
    struct sent *s = next_sent(w, OP_COMMANDS);
    assert_int_not_equal(s->link, lost);
    /* It may have been done there, so that no refusal is the last word. */
    refuse(w, s, ERR_DENIED);
    assert_int_equal(only_told(w)->result.err, ERR_TIMEOUT);
    world_free(w);
}

static void a_lost_link_is_asked_again_once_it_is_back(void **state)
{
    (void)state;
    struct world *w = connected();
    submit_create(w, 2);
    uint32_t link = next_sent(w, OP_COMMANDS)->link;
    uint8_t node = node_at(w, link);
    lose(w, link);
    /* The hint names who cannot be reached: that waits. */
    refuse_moved(w, next_sent(w, OP_COMMANDS), node);
    assert_nothing_sent(w);
    client_link_up(w->client, link, w->now);
    pass(w, 4 * BACKOFF);
    assert_int_equal(next_sent(w, OP_COMMANDS)->link, link);
    world_free(w);
}

static void status_goes_to_its_member_only(void **state)
{
    (void)state;
    struct world *w = connected();
    struct client_request r = {
        .op = CLIENT_STATUS, .token = 2, .node = id_of(2)};
    assert_int_equal(client_submit(w->client, &r, w->now), ERR_OK);
    struct sent *s = next_sent(w, OP_STATUS);
    assert_int_equal(node_at(w, s->link), 2);
    struct response a = {.op = OP_STATUS, .bytes = span_str("view")};
    respond(w, s, &a);
    assert_int_equal(only_told(w)->result.bytes.size, 4);
    r.node = id_of(9);
    assert_int_equal(client_submit(w->client, &r, w->now), ERR_OK);
    assert_int_equal(only_told(w)->result.err, ERR_NOT_FOUND);
    world_free(w);
}

static void status_of_a_node_that_is_not_there_ends_at_once(void **state)
{
    (void)state;
    struct world *w = connected();
    struct client_request r = {
        .op = CLIENT_STATUS, .token = 8, .node = id_of(2)};
    assert_int_equal(client_submit(w->client, &r, w->now), ERR_OK);
    uint32_t link = next_sent(w, OP_STATUS)->link;
    lose(w, link);
    assert_int_equal(only_told(w)->result.err, ERR_UNAVAILABLE);
    assert_int_equal(client_submit(w->client, &r, w->now), ERR_OK);
    assert_int_equal(only_told(w)->result.err, ERR_UNAVAILABLE);
    client_link_up(w->client, link, w->now);
    assert_int_equal(client_submit(w->client, &r, w->now), ERR_OK);
    assert_int_equal(next_sent(w, OP_STATUS)->link, link);
    world_free(w);
}

static void a_check_goes_to_its_member_whoever_leads(void **state)
{
    (void)state;
    struct world *w = connected();
    struct client_request r = {.op = CLIENT_CHECK,
                               .token = 2,
                               .node = id_of(2),
                               .group = 1,
                               .check = {.index = 5}};
    assert_int_equal(client_submit(w->client, &r, w->now), ERR_OK);
    struct sent *s = next_sent(w, OP_CHECK);
    assert_int_equal(node_at(w, s->link), 2);
    assert_int_equal(s->request.group, 1);
    assert_int_equal(s->request.check.index, 5);
    struct response a = {.op = OP_CHECK,
                         .err = ERR_NOT_FOUND,
                         .text = span_str("this node keeps no copy")};
    respond(w, s, &a); /* that is an answer, not a reason to ask another */
    assert_int_equal(only_told(w)->result.err, ERR_NOT_FOUND);
    r.node = id_of(9);
    assert_int_equal(client_submit(w->client, &r, w->now), ERR_OK);
    assert_int_equal(only_told(w)->result.err, ERR_NOT_FOUND);
    r.node = id_of(0);
    r.node.bytes[0] = 0;
    assert_int_equal(client_submit(w->client, &r, w->now), ERR_BAD_REQUEST);
    world_free(w);
}

static void join_goes_to_group_0s_leader(void **state)
{
    (void)state;
    struct world *w = connected();
    struct client_request r = {
        .op = CLIENT_JOIN, .token = 2, .member = member_of(9)};
    assert_int_equal(client_submit(w->client, &r, w->now), ERR_OK);
    struct sent *s = next_sent(w, OP_JOIN);
    assert_int_equal(node_at(w, s->link), ranked(w, 0, 0));
    refuse_moved(w, s, ranked(w, 0, 1));
    s = next_sent(w, OP_JOIN);
    assert_int_equal(node_at(w, s->link), ranked(w, 0, 1));
    assert_int_equal(s->request.member.node.bytes[0], 9);
    struct response a = {
        .op = OP_JOIN, .err = ERR_CONFLICT, .text = span_str("name taken")};
    respond(w, s, &a);
    const struct told *t = only_told(w);
    assert_int_equal(t->result.err, ERR_CONFLICT);
    assert_string_equal(t->result.text, "name taken");
    world_free(w);
}

/* ---- reads and lists --------------------------------------------------- */

static void submit_read(struct world *w, bool any_replica)
{
    struct client_request r = {
        .op = CLIENT_READ,
        .token = 2,
        .partition = 3,
        .stream = {7, 1},
        .from_seq = 5,
        .end_seq = 6,
        .bytes_max = READ_BYTES_MAX,
        .count_max = 10,
        .any_replica = any_replica,
    };
    assert_int_equal(client_submit(w->client, &r, w->now), ERR_OK);
}

static void reads_are_spread_over_the_replicas(void **state)
{
    (void)state;
    struct world *w = connected();
    bool is_asked[NODES + 1] = {false};
    for (uint32_t i = 0; i < NODES; i++) {
        submit_read(w, true);
        is_asked[node_at(w, next_sent(w, OP_READ)->link)] = true;
    }
    assert_true(is_asked[1] && is_asked[2] && is_asked[3]);
    world_free(w);
}

static void the_end_is_the_leaders_word(void **state)
{
    (void)state;
    struct world *w = connected();
    submit_read(w, true);
    struct sent *s = next_sent(w, OP_READ);
    struct response empty = {.op = OP_READ, .next_seq = 5};
    respond(w, s, &empty); /* a follower's end */
    assert_int_equal(w->told_count, 0);
    s = next_sent(w, OP_READ);
    uint8_t leader = ranked(w, 4, 2);
    refuse_moved(w, s, leader);
    s = next_sent(w, OP_READ);
    assert_int_equal(node_at(w, s->link), leader);
    empty.is_leader = true;
    respond(w, s, &empty);
    assert_int_equal(only_told(w)->result.err, ERR_OK);
    world_free(w);
}

static void a_replica_without_it_names_the_leader(void **state)
{
    (void)state;
    struct world *w = connected();
    submit_read(w, true);
    struct sent *s = next_sent(w, OP_READ);
    uint8_t leader = (uint8_t)(node_at(w, s->link) % NODES + 1);
    struct response r = {
        .op = OP_READ, .err = ERR_NOT_HERE, .hint = id_of(leader)};
    respond(w, s, &r);
    s = next_sent(w, OP_READ);
    assert_int_equal(node_at(w, s->link), leader);
    world_free(w);
}

/* The leader's own copy: all the others are asked, too, whoever says that only
 * the leader has it. */
static void a_damaged_copy_is_read_elsewhere(void **state)
{
    (void)state;
    struct world *w = connected();
    submit_read(w, false);
    struct sent *s = next_sent(w, OP_READ);
    uint8_t leader = node_at(w, s->link);
    bool is_asked[NODES + 1] = {false};
    for (uint32_t i = 0; i < 4 * NODES; i++) {
        uint8_t node = node_at(w, s->link);
        struct response r = {.op = OP_READ, .err = ERR_CORRUPT};
        if (node != leader) {
            r.err = ERR_NOT_HERE;
            r.hint = id_of(leader);
        }
        is_asked[node] = true;
        respond(w, s, &r);
        for (int k = 0; k < 100 && w->handled == w->sent_count; k++)
            pass(w, BACKOFF);
        s = next_sent(w, OP_READ);
    }
    assert_true(is_asked[1] && is_asked[2] && is_asked[3]);
    world_free(w);
}

static void a_silent_replica_is_left_out_of_the_next_reads(void **state)
{
    (void)state;
    struct world *w = connected();
    submit_read(w, true);
    uint32_t silent = next_sent(w, OP_READ)->link;
    pass(w, ATTEMPT);
    assert_int_not_equal(next_sent(w, OP_READ)->link, silent);
    pass(w, 0);
    give_record(w, next_sent(w, OP_RECORD));
    for (uint32_t i = 0; i < 2 * NODES; i++) {
        submit_read(w, true);
        assert_int_not_equal(next_sent(w, OP_READ)->link, silent);
    }
    world_free(w);
}

static void segments_that_were_not_asked_for_are_refused(void **state)
{
    (void)state;
    struct world *w = connected();
    submit_read(w, true);
    struct sent *s = next_sent(w, OP_READ);
    struct buf list = {0};
    struct segment_head previous = {0};
    struct segment_head head = {.seq = 4, .algorithm = CHECKSUM_XXH3_128};
    wire_segment_write(&list, &previous, &head);
    struct response r = {
        .op = OP_READ, .segments = span_buf(&list), .segment_count = 1};
    respond(w, s, &r);
    assert_int_equal(w->told_count, 0);
    pass(w, BACKOFF);
    (void)next_sent(w, OP_READ);
    buf_free(&list);
    world_free(w);
}

static void answer_list(struct world *w, const struct sent *s,
                        const char *const *names, size_t count, bool has_more)
{
    struct buf list = {0};
    for (size_t i = 0; i < count; i++) {
        struct stream_info info = {.id = {9, (uint16_t)i},
                                   .name = span_str(names[i])};
        wire_stream_write(&list, &info);
    }
    struct response r = {.op = OP_LIST,
                         .streams = span_buf(&list),
                         .stream_count = (uint32_t)count,
                         .has_more = has_more};
    respond(w, s, &r);
    buf_free(&list);
}

static void a_list_is_all_groups_sorted(void **state)
{
    (void)state;
    struct world *w = connected();
    struct client_request r = {.op = CLIENT_LIST, .token = 2};
    assert_int_equal(client_submit(w->client, &r, w->now), ERR_OK);
    settle(w);
    bool is_asked[PARTITIONS_MIN + 1] = {false};
    uint32_t answered = 0;
    while (w->told_count == 0) {
        const struct sent *s = next_sent(w, OP_LIST);
        uint32_t group = s->request.group;
        if (group == 3 && s->request.after.size == 0) {
            answer_list(w, s, (const char *const[]){"m", "x"}, 2, true);
        } else if (group == 3) {
            assert_true(span_equal(s->request.after, span_str("x")));
            answer_list(w, s, (const char *const[]){"z"}, 1, false);
        } else if (group == 7) {
            answer_list(w, s, (const char *const[]){"b", "n"}, 2, false);
        } else {
            assert_false(is_asked[group]);
            answer_list(w, s, NULL, 0, false);
        }
        is_asked[group] = true;
        answered++;
    }
    assert_int_equal(answered, PARTITIONS_MIN + 1);
    const struct client_result *t = &w->told[0].result;
    assert_int_equal(t->err, ERR_OK);
    assert_int_equal(t->stream_count, 5);
    const char *const sorted[] = {"b", "m", "n", "x", "z"};
    for (size_t i = 0; i < 5; i++)
        assert_true(span_equal(t->streams[i].name, span_str(sorted[i])));
    world_free(w);
}

static void a_list_fails_as_its_parts_do(void **state)
{
    (void)state;
    struct world *w = connected();
    struct client_request r = {.op = CLIENT_LIST, .token = 2};
    assert_int_equal(client_submit(w->client, &r, w->now), ERR_OK);
    const struct sent *s = next_sent(w, OP_LIST);
    refuse(w, s, ERR_DENIED);
    assert_int_equal(only_told(w)->result.err, ERR_DENIED);
    world_free(w);
}

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
    answer_verdict(w, next_sent(w, OP_COMMANDS), &v);
    const struct told *t = only_told(w);
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
    settle(w);
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
    respond(w, s, &r);
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
    struct world *w = connected();
    uint32_t p = open_producer(w);
    assert_int_equal(client_next_number(w->client, p), 10);
    append_many(w, p, 3, 100);
    assert_int_equal(client_next_number(w->client, p), 13);
    const struct sent *s = next_sent(w, OP_COMMANDS);
    assert_nothing_sent(w);
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
    struct world *w = connected();
    uint32_t p = open_producer(w);
    append_many(w, p, 12, 256 * KIB);
    size_t bytes = 0;
    while (w->handled < w->sent_count)
        bytes += w->sent[w->handled++].in.payload.size;
    assert_int_equal(bytes, CLIENT_CREDIT_BYTES);
    judge(w, &w->sent[w->sent_count - 4], 1, ERR_OK);
    assert_int_equal(next_sent(w, OP_COMMANDS)->in.payload.size, 256 * KIB);
    assert_nothing_sent(w);
    world_free(w);
}

static void small_appends_are_bounded_by_count(void **state)
{
    (void)state;
    struct world *w = connected();
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
    struct world *w = connected();
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
    struct world *w = connected();
    uint32_t p = open_producer(w);
    append_many(w, p, 3, 256 * KIB);
    struct sent *s[3];
    for (size_t i = 0; i < 3; i++)
        s[i] = next_sent(w, OP_COMMANDS);
    judge(w, s[0], 0, ERR_BUSY);
    pass(w, 500);
    assert_nothing_sent(w); /* the others are not back */
    judge(w, s[2], 0, ERR_OUT_OF_ORDER);
    judge(w, s[1], 0, ERR_OUT_OF_ORDER);
    pass(w, 1000);
    const struct sent *again = next_sent(w, OP_COMMANDS);
    assert_int_equal(first_number(again), 10);
    assert_nothing_sent(w); /* a window of one */
    judge(w, again, 1, ERR_OK);
    assert_int_equal(first_number(next_sent(w, OP_COMMANDS)), 11);
    assert_int_equal(first_number(next_sent(w, OP_COMMANDS)), 12);
    world_free(w);
}

static void what_is_answered_is_not_sent_again(void **state)
{
    (void)state;
    struct world *w = connected();
    uint32_t p = open_producer(w);
    append_many(w, p, 2, 256 * KIB);
    (void)next_sent(w, OP_COMMANDS); /* its answer is lost */
    judge(w, next_sent(w, OP_COMMANDS), 1, ERR_OK);
    assert_int_equal(w->told_count, 0); /* in order */
    pass(w, ATTEMPT);
    pass(w, 1000);
    const struct sent *again = next_sent(w, OP_COMMANDS);
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
    struct world *w = connected();
    uint32_t p = open_producer(w);
    append_many(w, p, 2, 256 * KIB);
    struct sent *a = next_sent(w, OP_COMMANDS);
    struct sent *b = next_sent(w, OP_COMMANDS);
    uint8_t leader = (uint8_t)(node_at(w, a->link) % NODES + 1);
    refuse_moved(w, a, leader);
    refuse_moved(w, b, leader);
    const struct sent *again = next_sent(w, OP_COMMANDS);
    assert_int_equal(node_at(w, again->link), leader);
    assert_int_equal(first_number(again), 10);
    world_free(w);
}

static void fenced_is_definite_only_if_nothing_is_unknown(void **state)
{
    (void)state;
    struct world *w = connected();
    uint32_t p = open_producer(w);
    append_many(w, p, 2, 10);
    judge(w, next_sent(w, OP_COMMANDS), 0, ERR_FENCED);
    assert_int_equal(w->told_count, 2);
    assert_int_equal(w->told[0].result.err, ERR_FENCED);
    assert_int_equal(append_sized(w, p, 9, 1), ERR_FENCED);
    w->told_count = 0;
    p = open_producer(w);
    append_many(w, p, 1, 10);
    (void)next_sent(w, OP_COMMANDS); /* lost: it may be in the log */
    pass(w, ATTEMPT);
    pass(w, 1000);
    judge(w, next_sent(w, OP_COMMANDS), 0, ERR_FENCED);
    assert_int_equal(only_told(w)->result.err, ERR_TIMEOUT);
    assert_int_equal(append_sized(w, p, 9, 1), ERR_TIMEOUT);
    world_free(w);
}

/* The second attempt meets a leader whose uncommitted log has moved the end
 * away; it falls, and the first attempt's entry commits after all. */
static void once_unknown_a_conflict_is_definite_only_of_the_number(void **state)
{
    (void)state;
    for (uint64_t next = 0; next < 2; next++) {
        struct world *w = connected();
        uint32_t p = open_producer(w);
        append_many(w, p, 1, 10);
        (void)next_sent(w, OP_COMMANDS); /* lost: it may be in the log */
        pass(w, ATTEMPT);
        pass(w, 1000);
        struct sent *again = next_sent(w, OP_COMMANDS);
        struct verdict v = {.err = ERR_CONFLICT,
                            .next_number = first_number(again) + next};
        answer_verdict(w, again, &v);
        assert_int_equal(only_told(w)->result.err,
                         next == 0 ? ERR_TIMEOUT : ERR_CONFLICT);
        world_free(w);
    }
}

static void behind_a_failed_append_nothing_was_done(void **state)
{
    (void)state;
    struct world *w = connected();
    uint32_t p = open_producer(w);
    append_many(w, p, 3, 256 * KIB);
    struct sent *first = next_sent(w, OP_COMMANDS);
    struct sent *second = next_sent(w, OP_COMMANDS);
    (void)next_sent(w, OP_COMMANDS);
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
    struct world *w = connected();
    uint32_t p = open_producer(w);
    append_many(w, p, 1, 10);
    assert_int_equal(refuse_until_the_end(w, ERR_NO_SPACE), ERR_NO_SPACE);
    world_free(w);
}

static void behind_one_busy_to_the_end_nothing_waits_for_room(void **state)
{
    (void)state;
    struct world *w = connected();
    uint32_t p = open_producer(w);
    append_many(w, p, 1, 10);
    assert_int_equal(refuse_until_the_end(w, ERR_BUSY), ERR_BUSY);
    /* BUSY would be tried again for ever: the line has ended. */
    assert_int_equal(append_sized(w, p, 1, 10), ERR_UNAVAILABLE);
    world_free(w);
}

static void an_append_once_lost_ends_unknown(void **state)
{
    (void)state;
    struct world *w = connected();
    uint32_t p = open_producer(w);
    append_many(w, p, 1, 10);
    (void)next_sent(w, OP_COMMANDS);
    pass(w, ATTEMPT);
    assert_int_equal(refuse_until_the_end(w, ERR_NO_SPACE), ERR_TIMEOUT);
    world_free(w);
}

static void batches_at_a_lost_link_go_to_another(void **state)
{
    (void)state;
    struct world *w = connected();
    uint32_t p = open_producer(w);
    append_many(w, p, 2, 256 * KIB);
    uint32_t lost = next_sent(w, OP_COMMANDS)->link;
    assert_int_equal(next_sent(w, OP_COMMANDS)->link, lost);
    lose(w, lost);
    struct sent *s = next_sent(w, OP_COMMANDS);
    assert_int_not_equal(s->link, lost);
    /* What was sent there is unknown until its number is judged (T18). */
    judge(w, s, 0, ERR_FENCED);
    assert_int_equal(w->told[0].result.err, ERR_TIMEOUT);
    world_free(w);
}

static void an_answer_that_waits_is_heard_however_late(void **state)
{
    (void)state;
    struct world *w = connected();
    uint32_t p = open_producer(w);
    append_many(w, p, 2, 256 * KIB);
    w->now += 2 * TIMEOUT; /* the program was elsewhere */
    judge(w, next_sent(w, OP_COMMANDS), 1, ERR_OK);
    judge(w, next_sent(w, OP_COMMANDS), 1, ERR_OK);
    pass(w, 0);
    assert_int_equal(w->told_count, 2);
    assert_int_equal(w->told[0].result.err, ERR_OK);
    assert_int_equal(w->told[1].result.err, ERR_OK);
    world_free(w);
}

static void a_rewound_producer_repeats_its_numbers(void **state)
{
    (void)state;
    struct world *w = connected();
    uint32_t p = open_producer(w);
    client_rewind(w->client, p, 4);
    assert_int_equal(client_next_number(w->client, p), 4);
    append_many(w, p, 1, 10);
    assert_int_equal(first_number(next_sent(w, OP_COMMANDS)), 4);
    world_free(w);
}

static void nothing_follows_a_closing_append(void **state)
{
    (void)state;
    struct world *w = connected();
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
    const struct sent *s = next_sent(w, OP_COMMANDS);
    struct commands_iter it;
    struct command c;
    wire_commands_begin(&it, &s->request);
    assert_true(wire_commands_next(&it, &c));
    assert_true(c.closes_producer);
    assert_true(span_equal(c.attributes, span_str("last")));
    judge(w, s, 1, ERR_OK);
    assert_int_equal(only_told(w)->result.err, ERR_OK);
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
        give_record(w, s);
        return;
    }
    if (rng_chance(rng, 125))
        return;
    if (rng_chance(rng, 125)) {
        static const enum err errors[] = {ERR_BUSY, ERR_UNAVAILABLE, ERR_MOVED,
                                          ERR_CORRUPT};
        refuse(w, s, errors[rng_below(rng, 4)]);
        return;
    }
    struct buf verdicts = {0};
    store_judge(g, &s->request, s->in.payload, &verdicts);
    struct response r = {.op = OP_COMMANDS,
                         .verdicts = span_buf(&verdicts),
                         .verdict_count = s->request.command_count};
    if (!rng_chance(rng, 125))
        respond(w, s, &r);
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
    settle(w);
    while (w->told_count < told) {
        while (w->handled < w->sent_count)
            store_serve(w, g, rng);
        if (w->told_count < told)
            pass(w, max_u64(1, client_deadline(w->client) - w->now));
    }
}

static void each_append_is_in_the_stream_once_and_in_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world *w = connected();
        struct rng rng;
        rng_seed(&rng, seed);
        struct store g = {.streams = streams_new()};
        submit_create(w, 1);
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
        cmocka_unit_test(connect_asks_hello_then_the_record),
        cmocka_unit_test(one_wrong_hello_does_not_shut_the_client_out),
        cmocka_unit_test(a_silent_contact_is_not_waited_for),
        cmocka_unit_test(a_contact_where_nobody_is_costs_no_wait),
        cmocka_unit_test(a_late_hello_does_not_overrule_the_record),
        cmocka_unit_test(a_slow_contact_is_understood),
        cmocka_unit_test(nobody_answering_is_unavailable_when_time_is_up),
        cmocka_unit_test(a_denied_key_is_told_at_once),
        cmocka_unit_test(a_higher_epoch_in_a_header_fetches_the_record),
        cmocka_unit_test(answers_of_other_nodes_and_clusters_are_ignored),
        cmocka_unit_test(a_hint_is_followed_at_once_and_remembered),
        cmocka_unit_test(moved_without_a_hint_tries_the_next_after_a_wait),
        cmocka_unit_test(who_is_not_in_the_row_is_asked_too),
        cmocka_unit_test(refusals_are_retried_until_time_is_up_and_then_told),
        cmocka_unit_test(once_unknown_a_refusal_says_nothing),
        cmocka_unit_test(denied_says_nothing_of_an_earlier_attempt),
        cmocka_unit_test(silence_tries_another_node_and_asks_for_the_record),
        cmocka_unit_test(a_lost_link_is_not_waited_for),
        cmocka_unit_test(a_lost_link_is_asked_again_once_it_is_back),
        cmocka_unit_test(status_goes_to_its_member_only),
        cmocka_unit_test(status_of_a_node_that_is_not_there_ends_at_once),
        cmocka_unit_test(a_check_goes_to_its_member_whoever_leads),
        cmocka_unit_test(join_goes_to_group_0s_leader),
        cmocka_unit_test(reads_are_spread_over_the_replicas),
        cmocka_unit_test(the_end_is_the_leaders_word),
        cmocka_unit_test(a_replica_without_it_names_the_leader),
        cmocka_unit_test(a_damaged_copy_is_read_elsewhere),
        cmocka_unit_test(a_silent_replica_is_left_out_of_the_next_reads),
        cmocka_unit_test(segments_that_were_not_asked_for_are_refused),
        cmocka_unit_test(a_list_is_all_groups_sorted),
        cmocka_unit_test(a_list_fails_as_its_parts_do),
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
    return cmocka_run_group_tests_name("client", tests, NULL, NULL) != 0;
}
