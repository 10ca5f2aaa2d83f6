/* test_transport_bytes.c - what a node keeps for clients that do not fetch
 * their answers: counted in bytes, of each and of all (net/transport.h). */
#include "tests/unit/cmocka_wrap.h"

#include <stdio.h>
#include <time.h>

#include "net/keys.h"
#include "net/links.h"
#include "net/transport.h"
#include "tests/unit/loopback.h"

#define ADDRESS_SIZE 32
#define CLIENTS      3u
#define ANSWER_BYTES (1 * MIB)
/* What a client's own side and the system take in before the node must keep
 * answers: its queue, and a socket's buffers. */
#define TAKEN_IN ((uint64_t)CLIENT_HWM + 16)

static char reason[TRANSPORT_REASON_SIZE];

struct client {
    struct links *links;
    uint64_t connection;
};

struct rig {
    struct transport *node;
    char address[ADDRESS_SIZE];
    struct client clients[CLIENTS];
    struct blob *payload;
};

static void say(struct wire_out *o, enum wire_kind kind)
{
    struct wire_header h = {.kind = kind, .number = 1};
    wire_begin(o, &h);
}

static uint64_t heard_from(struct transport *t)
{
    struct transport_in in;
    uint64_t end = loopback_now_ms() + LOOPBACK_LIMIT_MS;
    while (!transport_recv(t, &in)) {
        if (loopback_now_ms() > end)
            fail_msg("nothing has come");
        transport_wait(t, 10, NULL, 0, NULL);
    }
    blob_unref(in.blob);
    return in.connection;
}

static void open_client(struct rig *r, struct client *c)
{
    static const uint8_t no_key[KEY_BYTES];
    struct links_cfg cfg = {.is_insecure = true};
    struct wire_out o = {0};
    assert_int_equal(links_open(&cfg, &c->links, reason), ERR_OK);
    assert_true(links_set(c->links, 0, r->address, no_key));
    say(&o, WIRE_REQUEST);
    wire_end(&o);
    assert_true(links_send(c->links, 0, &o));
    wire_out_free(&o);
    c->connection = heard_from(r->node);
}

static int open_rig(void **state)
{
    struct rig *r = mem_alloc(sizeof *r);
    struct transport_cfg cfg = {.is_insecure = true};
    *state = r;
    if (transport_open(&cfg, &r->node, reason) != ERR_OK)
        return -1;
    (void)snprintf(r->address, sizeof r->address, "127.0.0.1:%u",
                   (unsigned)loopback_port());
    if (transport_bind_client(r->node, r->address, reason) != ERR_OK)
        return -1;
    r->payload = blob_new(ANSWER_BYTES);
    for (size_t i = 0; i < CLIENTS; i++)
        open_client(r, &r->clients[i]);
    return 0;
}

static int close_rig(void **state)
{
    struct rig *r = *state;
    for (size_t i = 0; i < CLIENTS; i++)
        links_close(r->clients[i].links);
    transport_close(r->node);
    blob_unref(r->payload);
    mem_free(r);
    return blob_count() == 0 ? 0 : -1;
}

static bool answer(struct rig *r, size_t client, uint32_t bytes)
{
    struct wire_out o = {0};
    say(&o, WIRE_RESPONSE);
    if (bytes > 0)
        wire_out_slice(&o, (struct slice){blob_handle(r->payload), 0, bytes});
    wire_end(&o);
    bool ok = transport_send_client(r->node, r->clients[client].connection, &o);
    wire_out_free(&o);
    return ok;
}

/* Answers until the node has taken none for a while: how many it took. */
static uint64_t fill(struct rig *r, size_t client)
{
    uint64_t taken = 0;
    uint64_t last_ms = loopback_now_ms();
    struct timespec pause = {0, 2000000};
    while (loopback_now_ms() - last_ms < 300) {
        if (answer(r, client, ANSWER_BYTES)) {
            taken++;
            last_ms = loopback_now_ms();
        } else {
            (void)nanosleep(&pause, NULL);
        }
    }
    return taken;
}

static void who_does_not_fetch_fills_its_own_share(void **state)
{
    struct rig *r = *state;
    uint64_t most = CLIENT_ANSWERS_BYTES_MAX / ANSWER_BYTES;
    uint64_t taken = fill(r, 0);
    assert_in_range(taken, most - 1, most + TAKEN_IN);
    assert_false(answer(r, 0, ANSWER_BYTES));
    /* Small ones are for free, and others are not concerned. */
    assert_true(answer(r, 0, 0));
    assert_true(answer(r, 1, ANSWER_BYTES));
}

static void what_was_fetched_makes_room(void **state)
{
    struct rig *r = *state;
    (void)fill(r, 0);
    assert_false(answer(r, 0, ANSWER_BYTES));
    uint64_t end = loopback_now_ms() + LOOPBACK_LIMIT_MS;
    while (!answer(r, 0, ANSWER_BYTES)) {
        uint32_t link;
        struct blob *blob;
        if (loopback_now_ms() > end)
            fail_msg("there is no room again");
        links_wait(r->clients[0].links, 10, NULL, 0, NULL);
        while (links_recv(r->clients[0].links, &link, &blob))
            blob_unref(blob);
    }
}

static void all_together_have_a_bound(void **state)
{
    struct rig *r = *state;
    uint64_t most = CLIENTS_BYTES_MAX / ANSWER_BYTES;
    uint64_t taken = fill(r, 0) + fill(r, 1);
    /* The third finds all filled, and has one answer: kept once its own side
     * takes no more in. */
    taken += fill(r, 2);
    assert_in_range(taken, most - 2, most + 1 + CLIENTS * TAKEN_IN);
    assert_false(answer(r, 2, ANSWER_BYTES));
    assert_true(answer(r, 2, 0));
}

static void who_goes_takes_nothing_along(void **state)
{
    struct rig *r = *state;
    (void)fill(r, 0);
    (void)fill(r, 1);
    links_close(r->clients[0].links);
    links_close(r->clients[1].links);
    open_client(r, &r->clients[0]);
    open_client(r, &r->clients[1]);
    uint64_t end = loopback_now_ms() + LOOPBACK_LIMIT_MS;
    while (!answer(r, 0, ANSWER_BYTES) || !answer(r, 0, ANSWER_BYTES))
        if (loopback_now_ms() > end)
            fail_msg("what was theirs is still counted");
}

#define RIG(test) cmocka_unit_test_setup_teardown(test, open_rig, close_rig)

int main(void)
{
    if (keys_init() != ERR_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        RIG(who_does_not_fetch_fills_its_own_share),
        RIG(what_was_fetched_makes_room),
        RIG(all_together_have_a_bound),
        RIG(who_goes_takes_nothing_along),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
