/* test_client.c - the client core against scripted nodes: how it finds the
 * ring, where its calls go, what it reads. */
#include "tests/unit/client_world.h"

#include "net/keys.h"
#include "ring/rule.h"

/* ---- the record -------------------------------------------------------- */

static void connect_asks_hello_then_the_record(void **state)
{
    (void)state;
    struct world *w = world_connected();
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
    struct sent *first = world_next_sent(w, OP_HELLO);
    world_pass(w, ATTEMPT / 4);
    world_assert_nothing_sent(w);
    world_pass(w, ATTEMPT / 4);
    struct sent *second = world_next_sent(w, OP_HELLO);
    assert_int_not_equal(first->link, second->link);
    world_say_hello(w, second);
    world_give_record(w, world_next_sent(w, OP_RECORD));
    assert_non_null(client_record(w->client));
    world_free(w);
}

/* The id of the cluster in the first answer has a bit that is wrong: nobody
 * there is of that one, nobody answers; the next HELLO asks for it anew. */
static void one_wrong_hello_does_not_shut_the_client_out(void **state)
{
    (void)state;
    struct world *w = world_of((struct id128){{0}}, 2);
    struct sent *s = world_next_sent(w, OP_HELLO);
    struct id128 wrong = w->record->cluster;
    wrong.bytes[5] ^= 2;
    struct response r = {.op = OP_HELLO,
                         .node = world_id(world_node_at(w, s->link)),
                         .level = LEVEL_NOW,
                         .version = span_str("test")};
    world_respond_of(w, s, wrong, r.node, w->record->epoch, &r);
    s = world_next_sent(w, OP_RECORD);
    assert_true(id_equal(s->in.header.cluster, wrong));
    world_pass(w, ATTEMPT / 4);
    world_assert_nothing_sent(w);
    world_pass(w, ATTEMPT / 4);
    s = world_next_sent(w, OP_HELLO);
    assert_true(id_is_zero(s->in.header.cluster));
    world_say_hello(w, s);
    s = world_next_sent(w, OP_RECORD);
    assert_true(id_equal(s->in.header.cluster, w->record->cluster));
    world_give_record(w, s);
    assert_non_null(client_record(w->client));
    world_free(w);
}

static void a_contact_where_nobody_is_costs_no_wait(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    struct sent *first = world_next_sent(w, OP_HELLO);
    world_lose(w, first->link);
    struct sent *second = world_next_sent(w, OP_HELLO);
    assert_int_not_equal(first->link, second->link);
    /* Nor do its later failures ask again and again. */
    world_lose(w, first->link);
    world_assert_nothing_sent(w);
    world_say_hello(w, second);
    world_give_record(w, world_next_sent(w, OP_RECORD));
    assert_non_null(client_record(w->client));
    world_free(w);
}

/* Another node had the contact's address when it was asked. */
static void a_late_hello_does_not_overrule_the_record(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    struct sent first = *world_next_sent(w, OP_HELLO);
    world_pass(w, ATTEMPT / 2);
    world_say_hello(w, world_next_sent(w, OP_HELLO));
    world_give_record(w, world_next_sent(w, OP_RECORD));
    struct response r = {
        .op = OP_HELLO, .node = world_id(3), .level = LEVEL_NOW};
    world_respond_as(w, &first, r.node, w->record->epoch, &r);
    world_submit_create(w, 5);
    struct sent *s = world_next_sent(w, OP_COMMANDS);
    if (world_node_at(w, s->link) != 1) {
        world_refuse_moved(w, s, 1);
        s = world_next_sent(w, OP_COMMANDS);
    }
    assert_int_equal(world_node_at(w, s->link), 1);
    assert_true(id_equal(s->in.header.to, world_id(1)));
    world_free(w);
}

/* Slower than the turn in which contacts are asked, faster than an attempt. */
static void a_slow_contact_is_understood(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    struct sent *s = world_next_sent(w, OP_HELLO);
    world_pass(w, ATTEMPT - 1);
    world_assert_nothing_sent(w);
    world_say_hello(w, s);
    s = world_next_sent(w, OP_RECORD);
    world_pass(w, ATTEMPT - 1);
    world_assert_nothing_sent(w);
    world_give_record(w, s);
    assert_non_null(client_record(w->client));
    world_free(w);
}

static void nobody_answering_is_unavailable_when_time_is_up(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    world_submit_create(w, 5);
    world_settle(w);
    world_pass(w, TIMEOUT - 1);
    assert_int_equal(w->told_count, 0);
    world_pass(w, 1);
    assert_int_equal(world_only_told(w)->result.err, ERR_UNAVAILABLE);
    world_free(w);
}

static void a_denied_key_is_told_at_once(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    world_submit_create(w, 5);
    world_say_hello(w, world_next_sent(w, OP_HELLO));
    world_refuse(w, world_next_sent(w, OP_RECORD), ERR_DENIED);
    assert_int_equal(world_only_told(w)->result.err, ERR_DENIED);
    world_free(w);
}

static void a_higher_epoch_in_a_header_fetches_the_record(void **state)
{
    (void)state;
    struct world *w = world_connected();
    world_submit_create(w, 2);
    struct sent *s = world_next_sent(w, OP_COMMANDS);
    record_advance(w->record, 3000);
    world_pass(w, 1000);
    world_refuse(w, s, ERR_BUSY);
    world_give_record(w, world_next_sent(w, OP_RECORD));
    assert_int_equal(client_record(w->client)->epoch.number,
                     w->record->epoch.number);
    world_assert_nothing_sent(w);
    world_free(w);
}

static void answers_of_other_nodes_and_clusters_are_ignored(void **state)
{
    (void)state;
    struct world *w = world_connected();
    world_submit_create(w, 2);
    struct sent *s = world_next_sent(w, OP_COMMANDS);
    struct response r = {.op = OP_COMMANDS, .err = ERR_DENIED};
    world_respond_as(w, s, world_id(77), w->record->epoch, &r);
    w->record->cluster = world_id(0xdd);
    world_respond(w, s, &r);
    w->record->cluster = world_id(0xc1);
    assert_int_equal(w->told_count, 0);
    world_respond(w, s, &r);
    assert_int_equal(world_only_told(w)->result.err, ERR_DENIED);
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
    struct world *w = world_connected();
    uint32_t group = group_of_a(w);
    uint8_t leader = world_ranked(w, group, 2);
    world_submit_create(w, 2);
    struct sent *s = world_next_sent(w, OP_COMMANDS);
    assert_int_equal(world_node_at(w, s->link), world_ranked(w, group, 0));
    assert_int_equal(s->request.group, group);
    world_refuse_moved(w, s, leader);
    s = world_next_sent(w, OP_COMMANDS);
    assert_int_equal(world_node_at(w, s->link), leader);
    struct verdict v = {.id = {7, 1}};
    world_answer_verdict(w, s, &v);
    const struct told *t = world_only_told(w);
    assert_int_equal(t->result.err, ERR_OK);
    assert_int_equal(t->result.partition, group - 1);
    assert_int_equal(t->result.stream.id.index, 7);
    world_submit_create(w, 3);
    assert_int_equal(world_node_at(w, world_next_sent(w, OP_COMMANDS)->link),
                     leader);
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
    world_connect(w);
    uint32_t group = group_of_a(w), asked = 0;
    uint8_t others =
        (uint8_t)(6 - world_ranked(w, group, 0) - world_ranked(w, group, 1));
    world_submit_create(w, 2);
    for (uint32_t i = 0; i < 4; i++) {
        struct sent *s = world_next_sent(w, OP_COMMANDS);
        if (world_node_at(w, s->link) == others)
            break;
        world_refuse_moved(w, s, 0);
        asked |= 1u << world_node_at(w, s->link);
        world_pass(w, 1000);
    }
    struct sent *s = &w->sent[w->handled - 1];
    assert_int_equal(world_node_at(w, s->link), others);
    assert_int_equal(asked, 1u << world_ranked(w, group, 0) |
                                1u << world_ranked(w, group, 1));
    world_free(w);
}

static void moved_without_a_hint_tries_the_next_after_a_wait(void **state)
{
    (void)state;
    struct world *w = world_connected();
    world_submit_create(w, 2);
    struct sent *s = world_next_sent(w, OP_COMMANDS);
    world_refuse_moved(w, s, 0);
    world_pass(w, BACKOFF / 2 - 1);
    world_assert_nothing_sent(w);
    world_pass(w, BACKOFF / 2 + 1);
    uint32_t group = group_of_a(w);
    s = world_next_sent(w, OP_COMMANDS);
    assert_int_equal(world_node_at(w, s->link), world_ranked(w, group, 1));
    world_free(w);
}

static void refusals_are_retried_until_time_is_up_and_then_told(void **state)
{
    (void)state;
    struct world *w = world_connected();
    world_submit_create(w, 2);
    uint64_t end = w->now + TIMEOUT;
    while (w->now < end - 1) {
        world_settle(w);
        while (w->handled < w->sent_count)
            world_refuse(w, &w->sent[w->handled++], ERR_NO_SPACE);
        uint64_t at = client_deadline(w->client);
        assert_true(at > w->now);
        world_pass(w, min_u64(at, end - 1) - w->now);
    }
    while (w->handled < w->sent_count)
        world_refuse(w, &w->sent[w->handled++], ERR_NO_SPACE);
    assert_int_equal(w->told_count, 0);
    assert_true(w->sent_count > 20 && w->sent_count < 200);
    world_pass(w, 1);
    assert_int_equal(world_only_told(w)->result.err, ERR_NO_SPACE);
    world_free(w);
}

static void once_unknown_a_refusal_says_nothing(void **state)
{
    (void)state;
    struct world *w = world_connected();
    world_submit_create(w, 2);
    (void)world_next_sent(w, OP_COMMANDS); /* lost */
    world_pass(w, ATTEMPT);
    assert_int_equal(world_refuse_until_the_end(w, ERR_UNAVAILABLE),
                     ERR_TIMEOUT);
    world_free(w);
#ifdef EDDY_RULES
    assert_true(rule_turn_off("T18"));
    w = world_connected();
    world_submit_create(w, 2);
    (void)world_next_sent(w, OP_COMMANDS);
    world_pass(w, ATTEMPT);
    assert_int_equal(world_refuse_until_the_end(w, ERR_UNAVAILABLE),
                     ERR_UNAVAILABLE);
    world_free(w);
    rule_turn_all_on();
#endif
}

static void denied_says_nothing_of_an_earlier_attempt(void **state)
{
    (void)state;
    struct world *w = world_connected();
    world_submit_create(w, 2);
    world_refuse(w, world_next_sent(w, OP_COMMANDS), ERR_DENIED);
    assert_int_equal(world_only_told(w)->result.err, ERR_DENIED);
    w->told_count = 0;
    world_submit_create(w, 3);
    (void)world_next_sent(w, OP_COMMANDS); /* lost: it may be in the log */
    world_pass(w, ATTEMPT);
    world_pass(w, 1000);
    world_refuse(w, world_next_sent(w, OP_COMMANDS), ERR_DENIED);
    assert_int_equal(world_only_told(w)->result.err, ERR_TIMEOUT);
    world_free(w);
}

static void silence_tries_another_node_and_asks_for_the_record(void **state)
{
    (void)state;
    struct world *w = world_connected();
    world_submit_create(w, 2);
    struct sent *first = world_next_sent(w, OP_COMMANDS);
    uint32_t silent = first->link;
    world_pass(w, ATTEMPT - 1);
    world_assert_nothing_sent(w);
    world_pass(w, 1);
    struct sent *s = world_next_sent(w, OP_COMMANDS);
    assert_int_not_equal(s->link, silent);
    world_pass(w, ATTEMPT / 4);
    assert_int_equal(world_next_sent(w, OP_RECORD)->request.op, OP_RECORD);
    struct verdict v = {.is_duplicate = true, .id = {7, 1}};
    world_answer_verdict(w, s, &v);
    const struct told *t = world_only_told(w);
    assert_int_equal(t->result.err, ERR_OK);
    assert_true(t->result.is_duplicate);
    world_free(w);
}

static void a_lost_link_is_not_waited_for(void **state)
{
    (void)state;
    struct world *w = world_connected();
    world_submit_create(w, 2);
    uint32_t lost = world_next_sent(w, OP_COMMANDS)->link;
    world_lose(w, lost);
    struct sent *s = world_next_sent(w, OP_COMMANDS);
    assert_int_not_equal(s->link, lost);
    /* It may have been done there, so that no refusal is the last word. */
    world_refuse(w, s, ERR_DENIED);
    assert_int_equal(world_only_told(w)->result.err, ERR_TIMEOUT);
    world_free(w);
}

static void a_lost_link_is_asked_again_once_it_is_back(void **state)
{
    (void)state;
    struct world *w = world_connected();
    world_submit_create(w, 2);
    uint32_t link = world_next_sent(w, OP_COMMANDS)->link;
    uint8_t node = world_node_at(w, link);
    world_lose(w, link);
    /* The hint names who cannot be reached: that waits. */
    world_refuse_moved(w, world_next_sent(w, OP_COMMANDS), node);
    world_assert_nothing_sent(w);
    client_link_up(w->client, link, w->now);
    world_pass(w, 4 * BACKOFF);
    assert_int_equal(world_next_sent(w, OP_COMMANDS)->link, link);
    world_free(w);
}

static void status_goes_to_its_member_only(void **state)
{
    (void)state;
    struct world *w = world_connected();
    struct client_request r = {
        .op = CLIENT_STATUS, .token = 2, .node = world_id(2)};
    assert_int_equal(client_submit(w->client, &r, w->now), ERR_OK);
    struct sent *s = world_next_sent(w, OP_STATUS);
    assert_int_equal(world_node_at(w, s->link), 2);
    struct response a = {.op = OP_STATUS, .bytes = span_str("view")};
    world_respond(w, s, &a);
    assert_int_equal(world_only_told(w)->result.bytes.size, 4);
    r.node = world_id(9);
    assert_int_equal(client_submit(w->client, &r, w->now), ERR_OK);
    assert_int_equal(world_only_told(w)->result.err, ERR_NOT_FOUND);
    world_free(w);
}

static void status_of_a_node_that_is_not_there_ends_at_once(void **state)
{
    (void)state;
    struct world *w = world_connected();
    struct client_request r = {
        .op = CLIENT_STATUS, .token = 8, .node = world_id(2)};
    assert_int_equal(client_submit(w->client, &r, w->now), ERR_OK);
    uint32_t link = world_next_sent(w, OP_STATUS)->link;
    world_lose(w, link);
    assert_int_equal(world_only_told(w)->result.err, ERR_UNAVAILABLE);
    assert_int_equal(client_submit(w->client, &r, w->now), ERR_OK);
    assert_int_equal(world_only_told(w)->result.err, ERR_UNAVAILABLE);
    client_link_up(w->client, link, w->now);
    assert_int_equal(client_submit(w->client, &r, w->now), ERR_OK);
    assert_int_equal(world_next_sent(w, OP_STATUS)->link, link);
    world_free(w);
}

static void a_check_goes_to_its_member_whoever_leads(void **state)
{
    (void)state;
    struct world *w = world_connected();
    struct client_request r = {.op = CLIENT_CHECK,
                               .token = 2,
                               .node = world_id(2),
                               .group = 1,
                               .check = {.index = 5}};
    assert_int_equal(client_submit(w->client, &r, w->now), ERR_OK);
    struct sent *s = world_next_sent(w, OP_CHECK);
    assert_int_equal(world_node_at(w, s->link), 2);
    assert_int_equal(s->request.group, 1);
    assert_int_equal(s->request.check.index, 5);
    struct response a = {.op = OP_CHECK,
                         .err = ERR_NOT_FOUND,
                         .text = span_str("this node keeps no copy")};
    world_respond(w, s,
                  &a); /* that is an answer, not a reason to ask another */
    assert_int_equal(world_only_told(w)->result.err, ERR_NOT_FOUND);
    r.node = world_id(9);
    assert_int_equal(client_submit(w->client, &r, w->now), ERR_OK);
    assert_int_equal(world_only_told(w)->result.err, ERR_NOT_FOUND);
    r.node = world_id(0);
    r.node.bytes[0] = 0;
    assert_int_equal(client_submit(w->client, &r, w->now), ERR_BAD_REQUEST);
    world_free(w);
}

static void join_goes_to_group_0s_leader(void **state)
{
    (void)state;
    struct world *w = world_connected();
    struct client_request r = {
        .op = CLIENT_JOIN, .token = 2, .member = world_member(9)};
    assert_int_equal(client_submit(w->client, &r, w->now), ERR_OK);
    struct sent *s = world_next_sent(w, OP_JOIN);
    assert_int_equal(world_node_at(w, s->link), world_ranked(w, 0, 0));
    world_refuse_moved(w, s, world_ranked(w, 0, 1));
    s = world_next_sent(w, OP_JOIN);
    assert_int_equal(world_node_at(w, s->link), world_ranked(w, 0, 1));
    assert_int_equal(s->request.member.node.bytes[0], 9);
    struct response a = {
        .op = OP_JOIN, .err = ERR_CONFLICT, .text = span_str("name taken")};
    world_respond(w, s, &a);
    const struct told *t = world_only_told(w);
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
    struct world *w = world_connected();
    bool is_asked[NODES + 1] = {false};
    for (uint32_t i = 0; i < NODES; i++) {
        submit_read(w, true);
        is_asked[world_node_at(w, world_next_sent(w, OP_READ)->link)] = true;
    }
    assert_true(is_asked[1] && is_asked[2] && is_asked[3]);
    world_free(w);
}

static void the_end_is_the_leaders_word(void **state)
{
    (void)state;
    struct world *w = world_connected();
    submit_read(w, true);
    struct sent *s = world_next_sent(w, OP_READ);
    struct response empty = {.op = OP_READ, .next_seq = 5};
    world_respond(w, s, &empty); /* a follower's end */
    assert_int_equal(w->told_count, 0);
    s = world_next_sent(w, OP_READ);
    uint8_t leader = world_ranked(w, 4, 2);
    world_refuse_moved(w, s, leader);
    s = world_next_sent(w, OP_READ);
    assert_int_equal(world_node_at(w, s->link), leader);
    empty.is_leader = true;
    world_respond(w, s, &empty);
    assert_int_equal(world_only_told(w)->result.err, ERR_OK);
    world_free(w);
}

static void a_replica_without_it_names_the_leader(void **state)
{
    (void)state;
    struct world *w = world_connected();
    submit_read(w, true);
    struct sent *s = world_next_sent(w, OP_READ);
    uint8_t leader = (uint8_t)(world_node_at(w, s->link) % NODES + 1);
    struct response r = {
        .op = OP_READ, .err = ERR_NOT_HERE, .hint = world_id(leader)};
    world_respond(w, s, &r);
    s = world_next_sent(w, OP_READ);
    assert_int_equal(world_node_at(w, s->link), leader);
    world_free(w);
}

/* The leader's own copy: all the others are asked, too, whoever says that only
 * the leader has it. */
static void a_damaged_copy_is_read_elsewhere(void **state)
{
    (void)state;
    struct world *w = world_connected();
    submit_read(w, false);
    struct sent *s = world_next_sent(w, OP_READ);
    uint8_t leader = world_node_at(w, s->link);
    bool is_asked[NODES + 1] = {false};
    for (uint32_t i = 0; i < 4 * NODES; i++) {
        uint8_t node = world_node_at(w, s->link);
        struct response r = {.op = OP_READ, .err = ERR_CORRUPT};
        if (node != leader) {
            r.err = ERR_NOT_HERE;
            r.hint = world_id(leader);
        }
        is_asked[node] = true;
        world_respond(w, s, &r);
        for (int k = 0; k < 100 && w->handled == w->sent_count; k++)
            world_pass(w, BACKOFF);
        s = world_next_sent(w, OP_READ);
    }
    assert_true(is_asked[1] && is_asked[2] && is_asked[3]);
    world_free(w);
}

static void a_silent_replica_is_left_out_of_the_next_reads(void **state)
{
    (void)state;
    struct world *w = world_connected();
    submit_read(w, true);
    uint32_t silent = world_next_sent(w, OP_READ)->link;
    world_pass(w, ATTEMPT);
    assert_int_not_equal(world_next_sent(w, OP_READ)->link, silent);
    world_pass(w, 0);
    world_give_record(w, world_next_sent(w, OP_RECORD));
    for (uint32_t i = 0; i < 2 * NODES; i++) {
        submit_read(w, true);
        assert_int_not_equal(world_next_sent(w, OP_READ)->link, silent);
    }
    world_free(w);
}

static void segments_that_were_not_asked_for_are_refused(void **state)
{
    (void)state;
    struct world *w = world_connected();
    submit_read(w, true);
    struct sent *s = world_next_sent(w, OP_READ);
    struct buf list = {0};
    struct segment_head previous = {0};
    struct segment_head head = {.seq = 4, .algorithm = CHECKSUM_XXH3_128};
    wire_segment_write(&list, &previous, &head);
    struct response r = {
        .op = OP_READ, .segments = span_buf(&list), .segment_count = 1};
    world_respond(w, s, &r);
    assert_int_equal(w->told_count, 0);
    world_pass(w, BACKOFF);
    (void)world_next_sent(w, OP_READ);
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
    world_respond(w, s, &r);
    buf_free(&list);
}

static void a_list_is_all_groups_sorted(void **state)
{
    (void)state;
    struct world *w = world_connected();
    struct client_request r = {.op = CLIENT_LIST, .token = 2};
    assert_int_equal(client_submit(w->client, &r, w->now), ERR_OK);
    world_settle(w);
    bool is_asked[PARTITIONS_MIN + 1] = {false};
    uint32_t answered = 0;
    while (w->told_count == 0) {
        const struct sent *s = world_next_sent(w, OP_LIST);
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
    struct world *w = world_connected();
    struct client_request r = {.op = CLIENT_LIST, .token = 2};
    assert_int_equal(client_submit(w->client, &r, w->now), ERR_OK);
    const struct sent *s = world_next_sent(w, OP_LIST);
    world_refuse(w, s, ERR_DENIED);
    assert_int_equal(world_only_told(w)->result.err, ERR_DENIED);
    world_free(w);
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
    };
    return cmocka_run_group_tests_name("client", tests, NULL, NULL) != 0;
}
