/* test_transport.c - real sockets on 127.0.0.1: who is let in where, what
 * arrives, and what strangers can do with the ports.
 *
 * Nothing is timed but against generous limits: a test waits for what shall
 * happen, and what shall not happen is judged after something that shows that
 * it would have. Ports lie below those that the system gives out. */
#include "tests/unit/cmocka_wrap.h"

#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "net/keys.h"
#include "net/links.h"
#include "net/transport.h"
#include "tests/unit/loopback.h"

#define TURN_MS      10
#define ADDRESS_SIZE 32

static char reason[TRANSPORT_REASON_SIZE];

static void set_address(char address[ADDRESS_SIZE], uint32_t port)
{
    (void)snprintf(address, ADDRESS_SIZE, "127.0.0.1:%u", (unsigned)port);
}

/* ---- a node ------------------------------------------------------------ */

struct node {
    struct transport *t;
    struct keys keys;
    uint32_t client_port;
    char client_address[ADDRESS_SIZE];
    char peer_address[ADDRESS_SIZE];
};

static struct keys new_keys(void)
{
    struct keys k;
    struct id128 cluster;
    memset(cluster.bytes, 0xc1, sizeof cluster.bytes);
    keys_generate(&k, cluster);
    return k;
}

static void open_node(struct node *n, bool is_insecure)
{
    *n = (struct node){.keys = new_keys()};
    struct transport_cfg cfg = {.is_insecure = is_insecure};
    memcpy(cfg.public_key, n->keys.public_key, KEY_BYTES);
    memcpy(cfg.secret_key, n->keys.secret_key, KEY_BYTES);
    assert_int_equal(transport_open(&cfg, &n->t, reason), ERR_OK);
    n->client_port = loopback_port();
    set_address(n->client_address, n->client_port);
    set_address(n->peer_address, loopback_port());
    assert_int_equal(transport_bind_client(n->t, n->client_address, reason),
                     ERR_OK);
    assert_int_equal(transport_bind_peer(n->t, n->peer_address, reason),
                     ERR_OK);
}

static struct span key_span(const struct keys *k)
{
    return k == NULL ? span_str("") : span_of(k->public_key, KEY_BYTES);
}

/* Lets in one peer's key and one client's; NULL: none. */
static void allow(struct node *n, const struct keys *peer,
                  const struct keys *client)
{
    transport_allow(n->t, key_span(peer), key_span(client));
}

/* One turn of the loop: a message, if one has come. */
static bool turn(struct node *n, struct transport_in *in)
{
    transport_wait(n->t, TURN_MS, NULL, 0, NULL);
    return transport_recv(n->t, in);
}

static struct links *open_links(const struct keys *k, bool is_insecure)
{
    struct links *l;
    struct links_cfg cfg = {.is_insecure = is_insecure};
    memcpy(cfg.public_key, k->public_key, KEY_BYTES);
    memcpy(cfg.secret_key, k->secret_key, KEY_BYTES);
    assert_int_equal(links_open(&cfg, &l, reason), ERR_OK);
    return l;
}

/* ---- messages ---------------------------------------------------------- */

static const struct id128 node_a = {{1}};

/* A whole message that says a number, and a slice of a blob behind it. */
static void say(struct wire_out *o, uint64_t number, struct blob *payload)
{
    struct wire_header h = {.kind = WIRE_PEER_CONTROL, .number = number};
    wire_begin(o, &h);
    if (payload != NULL)
        wire_out_slice(o, (struct slice){blob_handle(payload), 0,
                                         (uint32_t)blob_size(payload)});
    wire_end(o);
}

static uint64_t number_said(const struct blob *b)
{
    assert_true(blob_size(b) >= WIRE_HEADER_BYTES);
    struct dec d = dec_of(span_of(blob_data(b) + 80, 8));
    return dec_u64(&d);
}

static bool send_link(struct links *l, uint64_t number)
{
    struct wire_out o = {0};
    say(&o, number, NULL);
    bool ok = links_send(l, 0, &o);
    wire_out_free(&o);
    return ok;
}

static bool send_lane(struct node *from, enum wire_lane lane, uint64_t number)
{
    struct wire_out o = {0};
    say(&o, number, NULL);
    bool ok = transport_send_peer(from->t, node_a, lane, &o);
    wire_out_free(&o);
    return ok;
}

/* The next message must come, and say that. */
static struct transport_in expect(struct node *n, uint64_t number)
{
    struct transport_in in;
    uint64_t end = loopback_now_ms() + LOOPBACK_LIMIT_MS;
    while (!turn(n, &in))
        if (loopback_now_ms() > end)
            fail_msg("message %u has not come", (unsigned)number);
    assert_int_equal(number_said(in.blob), number);
    blob_unref(in.blob);
    in.blob = NULL;
    return in;
}

/* Until the lane is connected nothing is taken: say it until it is. */
static void send_until_taken(struct node *from, enum wire_lane lane,
                             uint64_t number)
{
    uint64_t end = loopback_now_ms() + LOOPBACK_LIMIT_MS;
    struct timespec pause = {0, 5000000};
    while (!send_lane(from, lane, number)) {
        if (loopback_now_ms() > end)
            fail_msg("the lane does not connect");
        (void)nanosleep(&pause, NULL);
    }
}

/* The node hears nothing but refuses a key, `count` times more. */
static void expect_refusals(struct node *n, uint64_t count)
{
    struct transport_in in;
    uint64_t end = loopback_now_ms() + LOOPBACK_LIMIT_MS;
    uint64_t wanted = transport_stats(n->t).refused_keys + count;
    while (transport_stats(n->t).refused_keys < wanted) {
        assert_false(turn(n, &in));
        if (loopback_now_ms() > end)
            fail_msg("no key was refused");
    }
    assert_false(turn(n, &in));
}

/* The client port serves whoever is let in. */
static void assert_serves(struct node *n, const struct keys *client,
                          bool is_insecure)
{
    struct links *l = open_links(client, is_insecure);
    assert_true(links_set(l, 0, n->client_address, n->keys.public_key));
    assert_true(send_link(l, 4711));
    (void)expect(n, 4711);
    links_close(l);
}

static int no_blob_is_left(void **state)
{
    (void)state;
    return blob_count() == 0 ? 0 : -1;
}

/* ---- who is let in ----------------------------------------------------- */

static void allowed_client_is_heard_and_answered(void **state)
{
    (void)state;
    struct node n;
    struct keys client = new_keys();
    open_node(&n, false);
    allow(&n, NULL, &client);
    struct links *l = open_links(&client, false);
    assert_true(links_set(l, 0, n.client_address, n.keys.public_key));
    assert_true(send_link(l, 1));
    struct transport_in in = expect(&n, 1);
    assert_false(in.is_peer_port);
    assert_memory_equal(in.key, client.public_key, KEY_BYTES);

    struct wire_out o = {0};
    say(&o, 2, NULL);
    assert_true(transport_send_client(n.t, in.connection, &o));
    wire_out_free(&o);
    uint32_t link = 99;
    struct blob *answer = NULL;
    links_wait(l, (int)LOOPBACK_LIMIT_MS, NULL, 0, NULL);
    assert_true(links_recv(l, &link, &answer));
    assert_int_equal(link, 0);
    assert_int_equal(number_said(answer), 2);
    blob_unref(answer);
    links_close(l);
    transport_close(n.t);
}

static void allowed_peer_is_heard_on_each_lane(void **state)
{
    (void)state;
    struct node a;
    struct node b;
    open_node(&a, false);
    open_node(&b, false);
    allow(&a, &b.keys, NULL);
    assert_true(
        transport_peer_set(b.t, node_a, a.peer_address, a.keys.public_key));
    for (uint64_t i = 0; i < LANE_COUNT; i++) {
        send_until_taken(&b, (enum wire_lane)i, i + 1);
        struct transport_in in = expect(&a, i + 1);
        assert_true(in.is_peer_port);
        assert_memory_equal(in.key, b.keys.public_key, KEY_BYTES);
    }
    transport_close(b.t);
    transport_close(a.t);
}

static void assert_client_refused(struct node *n, const struct keys *k)
{
    struct links *l = open_links(k, false);
    assert_true(links_set(l, 0, n->client_address, n->keys.public_key));
    assert_true(send_link(l, 1));
    expect_refusals(n, 1);
    links_close(l);
}

static void stranger_is_refused_on_the_client_port(void **state)
{
    (void)state;
    struct node n;
    struct keys client = new_keys();
    struct keys stranger = new_keys();
    open_node(&n, false);
    allow(&n, NULL, &client);
    assert_client_refused(&n, &stranger);
    transport_close(n.t);
}

static void node_key_is_refused_on_the_client_port(void **state)
{
    (void)state;
    struct node n;
    struct keys client = new_keys();
    struct keys member = new_keys();
    open_node(&n, false);
    allow(&n, &member, &client);
    assert_client_refused(&n, &member);
    transport_close(n.t);
}

/* A peer that is not on the list cannot even send. */
static void assert_peer_refused(struct node *n, struct node *peer)
{
    assert_true(transport_peer_set(peer->t, node_a, n->peer_address,
                                   n->keys.public_key));
    expect_refusals(n, LANE_COUNT);
    assert_false(send_lane(peer, LANE_CONTROL, 1));
    assert_true(transport_stats(peer->t).dropped_peer > 0);
}

static void stranger_is_refused_on_the_peer_port(void **state)
{
    (void)state;
    struct node n;
    struct node stranger;
    struct keys member = new_keys();
    open_node(&n, false);
    open_node(&stranger, false);
    allow(&n, &member, NULL);
    assert_peer_refused(&n, &stranger);
    transport_close(stranger.t);
    transport_close(n.t);
}

static void admin_key_is_refused_on_the_peer_port(void **state)
{
    (void)state;
    struct node n;
    struct node admin; /* one who speaks to peers with an admin's key */
    open_node(&n, false);
    open_node(&admin, false);
    allow(&n, NULL, &admin.keys);
    assert_peer_refused(&n, &admin);
    transport_close(admin.t);
    transport_close(n.t);
}

static void nobody_is_let_in_before_the_lists_are_set(void **state)
{
    (void)state;
    struct node n;
    struct keys client = new_keys();
    open_node(&n, false);
    assert_client_refused(&n, &client);
    transport_close(n.t);
}

static void refused_key_gets_in_once_it_is_listed(void **state)
{
    (void)state;
    struct node n;
    struct keys client = new_keys();
    open_node(&n, false);
    struct links *l = open_links(&client, false);
    assert_true(links_set(l, 0, n.client_address, n.keys.public_key));
    assert_true(send_link(l, 1));
    expect_refusals(&n, 1);
    allow(&n, NULL, &client);
    (void)expect(&n, 1);
    links_close(l);
    transport_close(n.t);
}

/* S35: the handshake is past, so the message must say whose it is. */
static void revoked_client_is_still_named_by_each_message(void **state)
{
    (void)state;
    struct node n;
    struct keys client = new_keys();
    open_node(&n, false);
    allow(&n, NULL, &client);
    struct links *l = open_links(&client, false);
    assert_true(links_set(l, 0, n.client_address, n.keys.public_key));
    assert_true(send_link(l, 1));
    (void)expect(&n, 1);
    allow(&n, NULL, NULL);
    assert_true(send_link(l, 2));
    struct transport_in in = expect(&n, 2);
    assert_memory_equal(in.key, client.public_key, KEY_BYTES);
    links_close(l);
    transport_close(n.t);
}

static void server_with_another_key_gets_nothing(void **state)
{
    (void)state;
    struct node n;
    struct keys client = new_keys();
    struct keys other = new_keys();
    open_node(&n, false);
    allow(&n, NULL, &client);
    struct links *l = open_links(&client, false);
    assert_true(links_set(l, 0, n.client_address, other.public_key));
    assert_true(send_link(l, 1));
    /* What another client says arrives, what was said before does not. */
    assert_serves(&n, &client, false);
    links_close(l);
    transport_close(n.t);
}

static void insecure_node_hears_everyone(void **state)
{
    (void)state;
    static const uint8_t zeros[KEY_BYTES];
    struct node a;
    struct node b;
    struct keys client = new_keys();
    open_node(&a, true);
    open_node(&b, true);
    struct links *l = open_links(&client, true);
    assert_true(links_set(l, 0, a.client_address, zeros));
    assert_true(send_link(l, 1));
    struct transport_in in = expect(&a, 1);
    assert_memory_equal(in.key, zeros, KEY_BYTES);
    assert_true(transport_peer_set(b.t, node_a, a.peer_address, zeros));
    send_until_taken(&b, LANE_CONTROL, 2);
    in = expect(&a, 2);
    assert_true(in.is_peer_port);
    links_close(l);
    transport_close(b.t);
    transport_close(a.t);
}

static void insecure_client_of_a_secure_node_gets_nowhere(void **state)
{
    (void)state;
    struct node n;
    struct keys client = new_keys();
    open_node(&n, false);
    allow(&n, NULL, &client);
    struct links *l = open_links(&client, true);
    assert_true(links_set(l, 0, n.client_address, n.keys.public_key));
    assert_true(send_link(l, 1));
    assert_serves(&n, &client, false);
    links_close(l);
    transport_close(n.t);
}

/* ---- garbage ----------------------------------------------------------- */

static void raw_garbage_on_a_port_does_no_harm(void **state)
{
    (void)state;
    struct node n;
    struct keys client = new_keys();
    open_node(&n, false);
    allow(&n, NULL, &client);
    struct rng rng;
    rng_seed(&rng, 11);
    int fds[24];
    for (size_t i = 0; i < 24; i++) {
        uint8_t bytes[512];
        for (size_t k = 0; k < sizeof bytes; k++)
            bytes[k] = (uint8_t)rng_next(&rng);
        /* One in three begins as ZMTP does, then a frame of 8 GiB. */
        static const uint8_t greeting[10] = {0xff, 0, 0, 0, 0,
                                             0,    0, 0, 1, 0x7f};
        static const uint8_t huge[9] = {6, 0, 0, 0, 2, 0, 0, 0, 0};
        if (i % 3 == 0) {
            memcpy(bytes, greeting, sizeof greeting);
            memset(bytes + 10, 0, 54);
            bytes[10] = 3;
            memcpy(bytes + 12, "CURVE", 5);
            memcpy(bytes + 64, huge, sizeof huge);
        }
        fds[i] = loopback_connect(n.client_port);
        (void)send(fds[i], bytes, sizeof bytes, MSG_NOSIGNAL);
    }
    assert_serves(&n, &client, false);
    for (size_t i = 0; i < 24; i++)
        (void)close(fds[i]);
    assert_serves(&n, &client, false);
    transport_close(n.t);
}

static void expect_refused_messages(struct node *n, uint64_t count)
{
    struct transport_in in;
    uint64_t end = loopback_now_ms() + LOOPBACK_LIMIT_MS;
    while (transport_stats(n->t).refused_messages < count) {
        assert_false(turn(n, &in));
        if (loopback_now_ms() > end)
            fail_msg("nothing was refused");
    }
}

static void message_of_one_frame_is_taken_from_anyone(void **state)
{
    (void)state;
    struct node n;
    struct transport_in in;
    open_node(&n, true);
    int fd = loopback_rogue(n.client_port, "");
    loopback_rogue_frame(fd, "hello", false);
    uint64_t end = loopback_now_ms() + LOOPBACK_LIMIT_MS;
    while (!turn(&n, &in))
        assert_true(loopback_now_ms() < end);
    assert_true(span_equal(blob_span(in.blob), span_str("hello")));
    blob_unref(in.blob);
    (void)close(fd);
    transport_close(n.t);
}

static void message_of_several_frames_is_dropped(void **state)
{
    (void)state;
    struct node n;
    struct keys client = new_keys();
    open_node(&n, true);
    int fd = loopback_rogue(n.client_port, "");
    loopback_rogue_frame(fd, "a", true);
    loopback_rogue_frame(fd, "b", true);
    loopback_rogue_frame(fd, "c", false);
    expect_refused_messages(&n, 1);
    assert_serves(&n, &client, true);
    (void)close(fd);
    transport_close(n.t);
}

static void client_that_names_itself_is_dropped(void **state)
{
    (void)state;
    struct node n;
    struct keys client = new_keys();
    open_node(&n, true);
    int fd = loopback_rogue(n.client_port, "me");
    loopback_rogue_frame(fd, "a", false);
    expect_refused_messages(&n, 1);
    assert_serves(&n, &client, true);
    (void)close(fd);
    transport_close(n.t);
}

/* B2.5: judged by its length, before any of it is stored. */
static void oversize_message_cuts_the_connection(void **state)
{
    (void)state;
    struct node n;
    struct keys client = new_keys();
    open_node(&n, true);
    int fd = loopback_rogue(n.client_port, "");
    uint8_t head[9] = {2};
    put_be64(head + 1, ZMQ_MESSAGE_BYTES_MAX + 1);
    assert_int_equal(send(fd, head, sizeof head, MSG_NOSIGNAL), sizeof head);
    assert_true(loopback_is_cut(fd));
    assert_serves(&n, &client, true);
    (void)close(fd);
    transport_close(n.t);
}

/* ---- delivery ---------------------------------------------------------- */

static void largest_message_arrives_whole(void **state)
{
    (void)state;
    struct node n;
    struct keys client = new_keys();
    open_node(&n, false);
    allow(&n, NULL, &client);
    struct links *l = open_links(&client, false);
    assert_true(links_set(l, 0, n.client_address, n.keys.public_key));
    size_t size = MESSAGE_BYTES_MAX - WIRE_HEADER_BYTES;
    struct blob *payload = blob_new(size);
    for (size_t i = 0; i < size; i++)
        blob_bytes(payload)[i] = (uint8_t)(i * 7 + i / 251);
    struct wire_out o = {0};
    say(&o, 1, payload);
    assert_true(links_send(l, 0, &o));
    wire_out_free(&o);
    struct transport_in in;
    uint64_t end = loopback_now_ms() + LOOPBACK_LIMIT_MS;
    while (!turn(&n, &in))
        assert_true(loopback_now_ms() < end);
    assert_int_equal(blob_size(in.blob), MESSAGE_BYTES_MAX);
    assert_memory_equal(blob_data(in.blob) + WIRE_HEADER_BYTES,
                        blob_data(payload), size);
    blob_unref(in.blob);
    blob_unref(payload);
    links_close(l);
    transport_close(n.t);
}

static void slices_are_gathered_in_order(void **state)
{
    (void)state;
    struct node n;
    struct keys client = new_keys();
    open_node(&n, true);
    struct links *l = open_links(&client, true);
    assert_true(links_set(l, 0, n.client_address, n.keys.public_key));
    struct buf text = {0};
    buf_append(&text, "0123456789", 10);
    struct blob *b = blob_from_buf(&text);
    assert_null(text.data);
    struct wire_out o = {0};
    struct wire_header h = {.kind = WIRE_REQUEST, .number = 1};
    wire_begin(&o, &h);
    wire_out_slice(&o, (struct slice){blob_handle(b), 7, 3});
    wire_out_slice(&o, (struct slice){blob_handle(b), 0, 2});
    wire_out_slice(&o, (struct slice){blob_handle(b), 10, 0});
    wire_end(&o);
    assert_true(links_send(l, 0, &o));
    wire_out_free(&o);
    blob_unref(b);
    struct transport_in in;
    uint64_t end = loopback_now_ms() + LOOPBACK_LIMIT_MS;
    while (!turn(&n, &in))
        assert_true(loopback_now_ms() < end);
    assert_int_equal(blob_size(in.blob), WIRE_HEADER_BYTES + 5);
    assert_memory_equal(blob_data(in.blob) + WIRE_HEADER_BYTES, "78901", 5);
    blob_unref(in.blob);
    links_close(l);
    transport_close(n.t);
}

static void turn_takes_no_more_than_the_budget(void **state)
{
    (void)state;
    struct node a;
    struct node b;
    open_node(&a, true);
    open_node(&b, true);
    assert_true(
        transport_peer_set(b.t, node_a, a.peer_address, a.keys.public_key));
    send_until_taken(&b, LANE_CONTROL, 1);
    uint64_t sent = 1;
    while (sent < 2 * RECEIVE_BUDGET && send_lane(&b, LANE_CONTROL, sent + 1))
        sent++;
    uint64_t got = 0;
    uint64_t most = 0;
    uint64_t end = loopback_now_ms() + LOOPBACK_LIMIT_MS;
    struct timespec pause = {0, 50000000};
    (void)nanosleep(&pause, NULL);
    while (got < sent && loopback_now_ms() < end) {
        struct transport_in in;
        uint64_t here = 0;
        transport_wait(a.t, TURN_MS, NULL, 0, NULL);
        while (transport_recv(a.t, &in)) {
            assert_int_equal(number_said(in.blob), got + 1);
            blob_unref(in.blob);
            got++;
            here++;
        }
        most = max_u64(most, here);
    }
    assert_int_equal(got, sent);
    assert_true(most <= RECEIVE_BUDGET);
    transport_close(b.t);
    transport_close(a.t);
}

static void answer_to_a_client_that_left_is_dropped(void **state)
{
    (void)state;
    struct node n;
    struct keys client = new_keys();
    open_node(&n, true);
    struct links *l = open_links(&client, true);
    assert_true(links_set(l, 0, n.client_address, n.keys.public_key));
    assert_true(send_link(l, 1));
    struct transport_in in = expect(&n, 1);
    links_close(l);
    struct wire_out o = {0};
    say(&o, 2, NULL);
    uint64_t end = loopback_now_ms() + LOOPBACK_LIMIT_MS;
    while (transport_send_client(n.t, in.connection, &o)) {
        struct transport_in none;
        assert_false(turn(&n, &none));
        assert_true(loopback_now_ms() < end);
    }
    assert_false(transport_send_client(n.t, in.connection + 77, &o));
    assert_int_equal(transport_stats(n.t).dropped_client, 2);
    wire_out_free(&o);
    transport_close(n.t);
}

static void peer_that_moved_is_reached_at_its_new_address(void **state)
{
    (void)state;
    struct node a;
    struct node b;
    struct node c;
    open_node(&a, false);
    open_node(&b, false);
    open_node(&c, false);
    allow(&a, &b.keys, NULL);
    allow(&c, &b.keys, NULL);
    assert_true(
        transport_peer_set(b.t, node_a, a.peer_address, a.keys.public_key));
    send_until_taken(&b, LANE_CONTROL, 1);
    (void)expect(&a, 1);
    /* The same again changes nothing: the lane takes a message at once. */
    assert_true(
        transport_peer_set(b.t, node_a, a.peer_address, a.keys.public_key));
    assert_true(send_lane(&b, LANE_CONTROL, 2));
    (void)expect(&a, 2);
    assert_true(
        transport_peer_set(b.t, node_a, c.peer_address, c.keys.public_key));
    send_until_taken(&b, LANE_CONTROL, 3);
    (void)expect(&c, 3);
    transport_peer_reconnect(b.t, node_a);
    send_until_taken(&b, LANE_CONTROL, 4);
    (void)expect(&c, 4);
    transport_peer_remove(b.t, node_a);
    assert_false(send_lane(&b, LANE_CONTROL, 5));
    transport_close(c.t);
    transport_close(b.t);
    transport_close(a.t);
}

static void message_to_an_absent_peer_is_dropped_not_kept(void **state)
{
    (void)state;
    struct node b;
    struct keys absent = new_keys();
    char address[ADDRESS_SIZE];
    open_node(&b, false);
    set_address(address, loopback_port());
    assert_true(transport_peer_set(b.t, node_a, address, absent.public_key));
    for (uint64_t i = 0; i < 10; i++)
        assert_false(send_lane(&b, LANE_ENTRIES, i));
    assert_int_equal(transport_stats(b.t).dropped_peer, 10);
    transport_close(b.t);
}

static void wait_ends_when_a_descriptor_is_readable(void **state)
{
    (void)state;
    struct node n;
    int ends[2];
    bool ready[2] = {true, false};
    open_node(&n, true);
    assert_int_equal(pipe(ends), 0);
    int quiet[2];
    assert_int_equal(pipe(quiet), 0);
    int fds[2] = {quiet[0], ends[0]};
    transport_wait(n.t, 0, fds, 2, ready);
    assert_false(ready[0]);
    assert_false(ready[1]);
    assert_int_equal(write(ends[1], "x", 1), 1);
    transport_wait(n.t, -1, fds, 2, ready);
    assert_false(ready[0]);
    assert_true(ready[1]);
    for (size_t i = 0; i < 2; i++) {
        (void)close(ends[i]);
        (void)close(quiet[i]);
    }
    transport_close(n.t);
}

/* ---- opening and closing ----------------------------------------------- */

static void port_of_another_is_in_use(void **state)
{
    (void)state;
    struct node a;
    struct transport *t;
    struct transport_cfg cfg = {.is_insecure = true};
    open_node(&a, true);
    assert_int_equal(transport_open(&cfg, &t, reason), ERR_OK);
    assert_int_equal(transport_bind_client(t, a.client_address, reason),
                     ERR_IN_USE);
    assert_non_null(strstr(reason, a.client_address));
    assert_int_equal(transport_bind_peer(t, a.peer_address, reason),
                     ERR_IN_USE);
    /* A port that failed may be tried again. */
    transport_close(a.t);
    assert_int_equal(transport_bind_client(t, a.client_address, reason),
                     ERR_OK);
    transport_close(t);
}

static void address_of_another_machine_is_refused(void **state)
{
    (void)state;
    struct transport *t;
    struct transport_cfg cfg = {.is_insecure = true};
    assert_int_equal(transport_open(&cfg, &t, reason), ERR_OK);
    static const char *const addresses[] = {"192.0.2.1:20000",
                                            "nonsense",
                                            "127.0.0.1:99999",
                                            "127.0.0.1:0",
                                            "127.0.0.1:21000x",
                                            "localhost:21000",
                                            ""};
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        reason[0] = 0;
        assert_int_equal(transport_bind_client(t, addresses[i], reason),
                         ERR_IO);
        assert_non_null(strstr(reason, "name an IP address"));
    }
    assert_false(transport_peer_set(t, node_a, "nonsense", cfg.public_key));
    transport_close(t);
}

static void close_does_not_wait_for_what_cannot_be_sent(void **state)
{
    (void)state;
    struct node n;
    struct keys client = new_keys();
    char address[ADDRESS_SIZE];
    open_node(&n, false);
    set_address(address, loopback_port());
    assert_true(transport_peer_set(n.t, node_a, address, client.public_key));
    struct links *l = open_links(&client, false);
    assert_true(links_set(l, 0, address, n.keys.public_key));
    uint64_t taken = 0;
    while (send_link(l, 1))
        taken++;
    assert_int_equal(taken, CLIENT_HWM);
    uint64_t begun = loopback_now_ms();
    links_close(l);
    transport_close(n.t);
    assert_true(loopback_now_ms() - begun < 2000);
    links_close(NULL);
    transport_close(NULL);
}

/* ---- links that are lost ----------------------------------------------- */

/* News of link 0 must come, and be that; being up may come after losses. */
static void expect_news(struct links *l, bool wanted)
{
    uint64_t end = loopback_now_ms() + LOOPBACK_LIMIT_MS;
    uint32_t link = 0;
    bool is_up = false, is_told = false;
    while (!is_told || (wanted && !is_up)) {
        if (loopback_now_ms() > end)
            fail_msg("that is not told of the link");
        links_wait(l, TURN_MS, NULL, 0, NULL);
        links_watch(l);
        is_told = links_news(l, &link, &is_up);
    }
    assert_int_equal(link, 0);
    assert_int_equal(is_up, wanted);
}

static void lost_link_is_told_and_so_is_its_return(void **state)
{
    (void)state;
    struct node n;
    struct keys client = new_keys();
    open_node(&n, false);
    allow(&n, NULL, &client);
    struct links *l;
    struct links_cfg cfg = {.is_watched = true};
    memcpy(cfg.public_key, client.public_key, KEY_BYTES);
    memcpy(cfg.secret_key, client.secret_key, KEY_BYTES);
    assert_int_equal(links_open(&cfg, &l, reason), ERR_OK);
    assert_true(links_set(l, 0, n.client_address, n.keys.public_key));
    expect_news(l, true);
    transport_close(n.t);
    expect_news(l, false);
    /* Nobody is there: that, too, is told; from the first attempt on. */
    links_reconnect(l, 0);
    expect_news(l, false);
    expect_news(l, false);
    struct transport_cfg again = {0};
    memcpy(again.public_key, n.keys.public_key, KEY_BYTES);
    memcpy(again.secret_key, n.keys.secret_key, KEY_BYTES);
    assert_int_equal(transport_open(&again, &n.t, reason), ERR_OK);
    allow(&n, NULL, &client);
    assert_int_equal(transport_bind_client(n.t, n.client_address, reason),
                     ERR_OK);
    expect_news(l, true);
    links_close(l);
    transport_close(n.t);
}

/* ---- blobs ------------------------------------------------------------- */

static void blob_lives_until_its_last_reference(void **state)
{
    (void)state;
    struct blob *b = blob_new(100);
    uint64_t handle = blob_handle(b);
    assert_ptr_equal(blob_of(handle), b);
    assert_ptr_equal(blob_ref(b), b);
    blob_unref(b);
    assert_int_equal(blob_count(), 1);
    assert_int_equal(blob_size(b), 100);
    blob_unref(b);
    assert_int_equal(blob_count(), 0);
}

#define LEAVES_NO_BLOB(test)                                                   \
    cmocka_unit_test_setup_teardown(test, NULL, no_blob_is_left)

int main(void)
{
    if (keys_init() != ERR_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        LEAVES_NO_BLOB(allowed_client_is_heard_and_answered),
        LEAVES_NO_BLOB(allowed_peer_is_heard_on_each_lane),
        LEAVES_NO_BLOB(stranger_is_refused_on_the_client_port),
        LEAVES_NO_BLOB(node_key_is_refused_on_the_client_port),
        LEAVES_NO_BLOB(stranger_is_refused_on_the_peer_port),
        LEAVES_NO_BLOB(admin_key_is_refused_on_the_peer_port),
        LEAVES_NO_BLOB(nobody_is_let_in_before_the_lists_are_set),
        LEAVES_NO_BLOB(refused_key_gets_in_once_it_is_listed),
        LEAVES_NO_BLOB(revoked_client_is_still_named_by_each_message),
        LEAVES_NO_BLOB(server_with_another_key_gets_nothing),
        LEAVES_NO_BLOB(insecure_node_hears_everyone),
        LEAVES_NO_BLOB(insecure_client_of_a_secure_node_gets_nowhere),
        LEAVES_NO_BLOB(raw_garbage_on_a_port_does_no_harm),
        LEAVES_NO_BLOB(lost_link_is_told_and_so_is_its_return),
        LEAVES_NO_BLOB(message_of_one_frame_is_taken_from_anyone),
        LEAVES_NO_BLOB(message_of_several_frames_is_dropped),
        LEAVES_NO_BLOB(client_that_names_itself_is_dropped),
        LEAVES_NO_BLOB(oversize_message_cuts_the_connection),
        LEAVES_NO_BLOB(largest_message_arrives_whole),
        LEAVES_NO_BLOB(slices_are_gathered_in_order),
        LEAVES_NO_BLOB(turn_takes_no_more_than_the_budget),
        LEAVES_NO_BLOB(answer_to_a_client_that_left_is_dropped),
        LEAVES_NO_BLOB(peer_that_moved_is_reached_at_its_new_address),
        LEAVES_NO_BLOB(message_to_an_absent_peer_is_dropped_not_kept),
        LEAVES_NO_BLOB(wait_ends_when_a_descriptor_is_readable),
        LEAVES_NO_BLOB(port_of_another_is_in_use),
        LEAVES_NO_BLOB(address_of_another_machine_is_refused),
        LEAVES_NO_BLOB(close_does_not_wait_for_what_cannot_be_sent),
        LEAVES_NO_BLOB(blob_lives_until_its_last_reference),
    };
    return cmocka_run_group_tests_name("transport", tests, NULL, NULL) != 0;
}
