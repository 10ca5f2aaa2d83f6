/* socket.c - see socket.h. Facts about libzmq are cited from PITFALLS. */
#include "net/socket.h"

#include <errno.h>
#include <stdio.h>

#include <sodium.h>
#include <zmq.h>

#define ENDPOINT_SIZE   (ADDRESS_MAX + 8u)
#define SOCKETS_MAX     (MEMBERS_MAX * LANE_COUNT + 64u)
#define IO_CONTROL_MASK 1 /* affinity: the first I/O thread */
#define IO_BULK_MASK    2

static_assert(ZMQ_MESSAGE_BYTES_MAX >= MESSAGE_BYTES_MAX + 33u,
              "CURVE adds 33 bytes to a frame");

/* ---- options ----------------------------------------------------------- */

/* These fail only for a wrong option or value: our bug. */
static void set_int(void *socket, int option, uint32_t value)
{
    int v = (int)value;
    int rc = zmq_setsockopt(socket, option, &v, sizeof v);
    ASSERT(rc == 0);
}

static void set_bytes(void *socket, int option, const void *data, size_t size)
{
    int rc = zmq_setsockopt(socket, option, data, size);
    ASSERT(rc == 0);
}

static void set_common(void *socket)
{
    int64_t size_max = ZMQ_MESSAGE_BYTES_MAX;
    set_int(socket, ZMQ_LINGER, 0);
    /* Or a stranger fills our memory before the handshake (B2.5). */
    set_bytes(socket, ZMQ_MAXMSGSIZE, &size_max, sizeof size_max);
    set_int(socket, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS);
    set_int(socket, ZMQ_TCP_MAXRT, TCP_GIVE_UP_MS);
}

static void set_pings(void *socket, uint32_t interval_ms, uint32_t silence_ms)
{
    set_int(socket, ZMQ_HEARTBEAT_IVL, interval_ms);
    set_int(socket, ZMQ_HEARTBEAT_TIMEOUT, silence_ms);
    set_int(socket, ZMQ_HEARTBEAT_TTL, silence_ms);
}

static void set_affinity(void *socket, uint64_t mask)
{
    set_bytes(socket, ZMQ_AFFINITY, &mask, sizeof mask);
}

const char *socket_domain(enum socket_port port)
{
    return port == SOCKET_PORT_PEER ? "peer" : "client";
}

static void set_port(void *socket, enum socket_port port)
{
    switch (port) {
    case SOCKET_PORT_PEER:
        /* Nothing is sent here: peers' pings and their TTL find the dead. */
        set_int(socket, ZMQ_RCVHWM, PEER_HWM);
        set_int(socket, ZMQ_SNDHWM, 1);
        return;
    case SOCKET_PORT_CLIENT:
        set_int(socket, ZMQ_RCVHWM, CLIENT_RECEIVE_HWM);
        set_int(socket, ZMQ_SNDHWM, CLIENT_HWM);
        set_pings(socket, PING_BULK_MS, SILENCE_BULK_MS);
        set_affinity(socket, IO_CONTROL_MASK);
        return;
    }
}

void *socket_router(void *context, const struct socket_keys *keys,
                    enum socket_port port)
{
    void *socket = zmq_socket(context, ZMQ_ROUTER);
    if (socket == NULL)
        return NULL;
    set_common(socket);
    set_port(socket, port);
    /* Else what cannot be sent vanishes without a word (B3.14). */
    set_int(socket, ZMQ_ROUTER_MANDATORY, 1);
    if (keys->is_insecure)
        return socket;
    const char *domain = socket_domain(port);
    set_int(socket, ZMQ_CURVE_SERVER, 1);
    set_bytes(socket, ZMQ_CURVE_SECRETKEY, keys->secret_key, KEY_BYTES);
    set_bytes(socket, ZMQ_ZAP_DOMAIN, domain, strlen(domain));
    return socket;
}

static void set_use(void *socket, enum socket_use use)
{
    switch (use) {
    case SOCKET_CONTROL:
        set_int(socket, ZMQ_SNDHWM, PEER_HWM);
        set_pings(socket, PING_CONTROL_MS, SILENCE_CONTROL_MS);
        set_affinity(socket, IO_CONTROL_MASK);
        break;
    case SOCKET_ENTRIES:
        set_int(socket, ZMQ_SNDHWM, PEER_HWM);
        set_pings(socket, PING_BULK_MS, SILENCE_BULK_MS);
        set_affinity(socket, IO_BULK_MASK);
        break;
    case SOCKET_TRANSFER:
        set_int(socket, ZMQ_SNDHWM, TRANSFER_HWM);
        set_pings(socket, PING_BULK_MS, SILENCE_BULK_MS);
        set_affinity(socket, IO_BULK_MASK);
        break;
    case SOCKET_CLIENT:
        /* The first request waits for the connection; a late one is judged
         * by its producer's number like any repeat. */
        set_int(socket, ZMQ_SNDHWM, CLIENT_HWM);
        set_int(socket, ZMQ_RCVHWM, CLIENT_HWM);
        set_pings(socket, PING_BULK_MS, SILENCE_BULK_MS);
        return;
    }
    /* Between nodes nothing waits for a node that is away, to reach it stale
     * (B3.17), and nothing comes back this way (S34). */
    set_int(socket, ZMQ_IMMEDIATE, 1);
    set_int(socket, ZMQ_RCVHWM, 1);
}

static bool endpoint_of(const char *address, char endpoint[ENDPOINT_SIZE])
{
    if (!keys_address_is_sound(span_str(address)))
        return false;
    (void)snprintf(endpoint, ENDPOINT_SIZE, "tcp://%s", address);
    return true;
}

void *socket_dealer(void *context, const struct socket_keys *keys,
                    enum socket_use use, const uint8_t server_key[KEY_BYTES])
{
    void *socket = zmq_socket(context, ZMQ_DEALER);
    if (socket == NULL)
        return NULL;
    set_common(socket);
    set_use(socket, use);
    set_int(socket, ZMQ_CONNECT_TIMEOUT, CONNECT_MS);
    set_int(socket, ZMQ_RECONNECT_IVL, RECONNECT_MS);
    set_int(socket, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS);
    if (!keys->is_insecure) {
        set_bytes(socket, ZMQ_CURVE_SERVERKEY, server_key, KEY_BYTES);
        set_bytes(socket, ZMQ_CURVE_PUBLICKEY, keys->public_key, KEY_BYTES);
        set_bytes(socket, ZMQ_CURVE_SECRETKEY, keys->secret_key, KEY_BYTES);
    }
    return socket;
}

bool socket_connect(void *socket, const char *address)
{
    char endpoint[ENDPOINT_SIZE];
    return endpoint_of(address, endpoint) && zmq_connect(socket, endpoint) == 0;
}

void socket_close(void *socket)
{
    if (socket == NULL)
        return;
    int rc = zmq_close(socket);
    ASSERT(rc == 0);
}

/* ---- context, bind ----------------------------------------------------- */

enum err socket_context(const struct socket_keys *keys, uint32_t io_threads,
                        void **context, char *reason)
{
    *context = NULL;
    if (!keys->is_insecure && zmq_has("curve") == 0) {
        (void)snprintf(reason, SOCKET_REASON_SIZE,
                       "this libzmq is built without CURVE and cannot "
                       "encrypt; install one with libsodium");
        return ERR_INCOMPATIBLE;
    }
    void *made = zmq_ctx_new();
    if (made == NULL) {
        (void)snprintf(reason, SOCKET_REASON_SIZE, "cannot start ZeroMQ: %s",
                       zmq_strerror(zmq_errno()));
        return ERR_IO;
    }
    int rc = zmq_ctx_set(made, ZMQ_IO_THREADS, (int)io_threads);
    ASSERT(rc == 0);
    rc = zmq_ctx_set(made, ZMQ_MAX_SOCKETS, (int)SOCKETS_MAX);
    ASSERT(rc == 0);
    rc = zmq_ctx_set(made, ZMQ_BLOCKY, 0);
    ASSERT(rc == 0);
    *context = made;
    return ERR_OK;
}

void socket_context_close(void *context)
{
    if (context == NULL)
        return;
    /* A signal may end the wait early. */
    while (zmq_ctx_term(context) != 0)
        ASSERT(zmq_errno() == EINTR);
}

void socket_keys_wipe(struct socket_keys *keys)
{
    sodium_memzero(keys, sizeof *keys);
}

enum err socket_bind(void *socket, const char *address, char *reason)
{
    char endpoint[ENDPOINT_SIZE];
    if (!endpoint_of(address, endpoint)) {
        (void)snprintf(reason, SOCKET_REASON_SIZE,
                       "cannot listen on '%.255s': not HOST:PORT; name an IP "
                       "address of this machine and a port",
                       address);
        return ERR_IO;
    }
    if (zmq_bind(socket, endpoint) == 0)
        return ERR_OK;
    int code = zmq_errno();
    bool is_in_use = code == EADDRINUSE;
    if (is_in_use)
        (void)snprintf(reason, SOCKET_REASON_SIZE,
                       "cannot listen on %s: it is in use by another process; "
                       "stop that one or choose another port",
                       address);
    else
        (void)snprintf(reason, SOCKET_REASON_SIZE,
                       "cannot listen on %s: %s; name an IP address of this "
                       "machine and a port",
                       address, zmq_strerror(code));
    return is_in_use ? ERR_IN_USE : ERR_IO;
}

/* ---- messages ---------------------------------------------------------- */

static void fill(uint8_t *at, const struct wire_out *from)
{
    memcpy(at, from->bytes.data, from->bytes.size);
    at += from->bytes.size;
    for (uint32_t i = 0; i < from->slice_count; i++) {
        const struct slice *s = &from->slices[i];
        struct span bytes = blob_span(blob_of(s->handle));
        ASSERT(s->offset <= bytes.size && s->size <= bytes.size - s->offset);
        if (s->size > 0)
            memcpy(at, bytes.data + s->offset, s->size);
        at += s->size;
    }
}

/* A full queue to a connection that is gone is noticed only when the socket
 * does its commands: make it, and try once more (B3.15). */
static bool send_frame(void *socket, zmq_msg_t *message, int flags)
{
    if (zmq_msg_send(message, socket, flags | ZMQ_DONTWAIT) >= 0)
        return true;
    if (zmq_errno() != EAGAIN)
        return false;
    int events = 0;
    size_t size = sizeof events;
    if (zmq_getsockopt(socket, ZMQ_EVENTS, &events, &size) != 0)
        return false;
    return zmq_msg_send(message, socket, flags | ZMQ_DONTWAIT) >= 0;
}

static bool send_id(void *socket, struct span id)
{
    zmq_msg_t message;
    int rc = zmq_msg_init_size(&message, id.size);
    ASSERT(rc == 0);
    memcpy(zmq_msg_data(&message), id.data, id.size);
    bool ok = send_frame(socket, &message, ZMQ_SNDMORE);
    if (!ok)
        (void)zmq_msg_close(&message);
    return ok;
}

/* A message that is counted: what ZeroMQ gives back begins with this. */
struct counted {
    struct socket_tally *tallies[2];
    size_t size;
    uint8_t bytes[];
};

static void uncount(void *data, void *hint)
{
    struct counted *c = hint;
    (void)data;
    for (size_t i = 0; i < 2; i++)
        atomic_fetch_sub_explicit(&c->tallies[i]->bytes, c->size,
                                  memory_order_relaxed);
    mem_free(c);
}

static void make_counted(zmq_msg_t *message, size_t size,
                         const struct wire_out *from,
                         struct socket_tally *const tallies[2])
{
    /* Not mem_alloc: what is about to be filled is not zeroed. */
    struct counted *c = mem_resize(NULL, sizeof *c + size);
    c->size = size;
    for (size_t i = 0; i < 2; i++) {
        c->tallies[i] = tallies[i];
        atomic_fetch_add_explicit(&tallies[i]->bytes, size,
                                  memory_order_relaxed);
    }
    fill(c->bytes, from);
    int rc = zmq_msg_init_data(message, c->bytes, size, uncount, c);
    ASSERT(rc == 0);
}

static void make_plain(zmq_msg_t *message, size_t size,
                       const struct wire_out *from)
{
    int rc = zmq_msg_init_size(message, size);
    ASSERT(rc == 0);
    fill(zmq_msg_data(message), from);
}

bool socket_send(void *socket, struct span id, const struct wire_out *from,
                 struct socket_tally *const tallies[2])
{
    size_t size = wire_out_size(from);
    ASSERT(from->bytes.size >= WIRE_HEADER_BYTES);
    if (size > MESSAGE_BYTES_MAX)
        return false;
    if (id.size > 0 && !send_id(socket, id))
        return false;
    zmq_msg_t message;
    if (tallies != NULL)
        make_counted(&message, size, from, tallies);
    else
        make_plain(&message, size, from);
    bool ok = send_frame(socket, &message, 0);
    if (!ok)
        (void)zmq_msg_close(&message);
    return ok;
}

static bool recv_frame(void *socket, zmq_msg_t *message)
{
    int rc = zmq_msg_recv(message, socket, ZMQ_DONTWAIT);
    while (rc < 0 && zmq_errno() == EINTR)
        rc = zmq_msg_recv(message, socket, ZMQ_DONTWAIT);
    return rc >= 0;
}

/* The frames behind `message`; all of a message is there at once. */
static void drop_rest(void *socket, zmq_msg_t *message)
{
    while (zmq_msg_more(message) && recv_frame(socket, message))
        continue;
}

static bool read_connection(zmq_msg_t *id, uint64_t *out)
{
    const uint8_t *bytes = zmq_msg_data(id);
    /* A name that the client chose could be another's. */
    if (zmq_msg_size(id) != SOCKET_ID_BYTES || bytes[0] != 0)
        return false;
    *out = get_be32(bytes + 1);
    return true;
}

void socket_connection_id(uint64_t connection, uint8_t id[SOCKET_ID_BYTES])
{
    id[0] = 0;
    put_be32(id + 1, (uint32_t)connection);
}

/* From the body's frame: the id's has lost it by then (B1.3). */
static bool read_key(zmq_msg_t *body, uint8_t key[KEY_BYTES])
{
    const char *text = zmq_msg_gets(body, "User-Id");
    return text != NULL && keys_parse_public(span_str(text), key);
}

enum socket_got socket_recv(void *socket, bool is_router, struct socket_in *out)
{
    *out = (struct socket_in){0};
    zmq_msg_t message;
    int rc = zmq_msg_init(&message);
    ASSERT(rc == 0);
    if (!recv_frame(socket, &message)) {
        (void)zmq_msg_close(&message);
        return SOCKET_GOT_NOTHING;
    }
    bool is_good = true;
    if (is_router) {
        is_good = read_connection(&message, &out->connection) &&
                  zmq_msg_more(&message) && recv_frame(socket, &message);
    }
    if (!is_good || zmq_msg_more(&message)) {
        drop_rest(socket, &message);
        (void)zmq_msg_close(&message);
        return SOCKET_GOT_REFUSED;
    }
    out->has_key = read_key(&message, out->key);
    out->blob = blob_take(&message);
    (void)zmq_msg_close(&message);
    return SOCKET_GOT_MESSAGE;
}

void socket_wait(void *const *sockets, size_t socket_count, const int *fds,
                 size_t fd_count, bool *ready, int timeout_ms)
{
    zmq_pollitem_t items[SOCKET_WAIT_MAX];
    ASSERT(socket_count + fd_count <= SOCKET_WAIT_MAX);
    size_t count = 0;
    for (size_t i = 0; i < socket_count; i++)
        items[count++] = (zmq_pollitem_t){sockets[i], 0, ZMQ_POLLIN, 0};
    for (size_t i = 0; i < fd_count; i++)
        items[count++] = (zmq_pollitem_t){NULL, fds[i], ZMQ_POLLIN, 0};
    int got = zmq_poll(items, (int)count, timeout_ms);
    ASSERT(got >= 0 || zmq_errno() == EINTR);
    for (size_t i = 0; i < fd_count; i++)
        ready[i] = got > 0 && items[socket_count + i].revents != 0;
}

/* ---- what becomes of a connection -------------------------------------- */

#define NEWS_LOST (ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CONNECT_RETRIED)

void *socket_watch(void *context, void *socket, uint32_t number)
{
    char endpoint[ENDPOINT_SIZE];
    (void)snprintf(endpoint, sizeof endpoint, "inproc://watch-%u",
                   (unsigned)number);
    void *watch = zmq_socket(context, ZMQ_PAIR);
    if (watch == NULL)
        return NULL;
    set_int(watch, ZMQ_LINGER, 0);
    /* No bound: a full one would stop the I/O thread (B25). */
    set_int(watch, ZMQ_RCVHWM, 0);
    if (zmq_socket_monitor(socket, endpoint,
                           NEWS_LOST | ZMQ_EVENT_HANDSHAKE_SUCCEEDED) == 0) {
        if (zmq_connect(watch, endpoint) == 0)
            return watch;
        (void)zmq_socket_monitor(socket, NULL, 0);
    }
    socket_close(watch);
    return NULL;
}

void socket_unwatch(void *socket, void *watch)
{
    if (watch == NULL)
        return;
    (void)zmq_socket_monitor(socket, NULL, 0);
    socket_close(watch);
}

/* An event is two frames: its number and a value; where to. */
enum socket_news socket_news(void *watch)
{
    zmq_msg_t message;
    uint16_t event = 0;
    int rc = zmq_msg_init(&message);
    ASSERT(rc == 0);
    bool is_there = recv_frame(watch, &message);
    if (is_there && zmq_msg_size(&message) >= sizeof event)
        memcpy(&event, zmq_msg_data(&message), sizeof event);
    if (is_there)
        drop_rest(watch, &message);
    (void)zmq_msg_close(&message);
    if (!is_there)
        return SOCKET_NEWS_NONE;
    return (event & NEWS_LOST) != 0 ? SOCKET_NEWS_LOST : SOCKET_NEWS_UP;
}
