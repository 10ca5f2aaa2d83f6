/* transport.c - see transport.h. */
#include "net/transport.h"

#include <stdio.h>

#include <zmq.h>

#include "net/socket.h"
#include "net/zap.h"

#define IO_THREADS  2u /* control and clients; bulk (HAZARDS 3.9) */
#define TALLIES     1024u
#define SMALL_BYTES (4 * KIB)

static_assert(TRANSPORT_REASON_SIZE == SOCKET_REASON_SIZE,
              "a socket's reason is the transport's");
static_assert(TRANSPORT_FDS_MAX + 2 <= SOCKET_WAIT_MAX, "all are waited for");

struct peer {
    struct id128 node;
    char address[ADDRESS_MAX + 1];
    uint8_t server_key[KEY_BYTES];
    void *lanes[LANE_COUNT]; /* all or none are there */
};

struct port {
    void *socket; /* NULL: not open */
    uint32_t budget;
};

struct transport {
    struct socket_keys keys;
    void *context;
    struct zap *zap; /* NULL if insecure */
    struct port peer_port;
    struct port client_port;
    bool peer_is_next; /* turns of transport_recv */
    struct peer *peers;
    size_t peer_count;
    struct transport_stats stats;
    /* Answers that clients have not fetched yet: of all, and of each by its
     * connection's number; who shares a tally shares what is allowed. */
    struct socket_tally answers;
    struct socket_tally answers_to[TALLIES];
};

/* ---- life -------------------------------------------------------------- */

enum err transport_open(const struct transport_cfg *cfg, struct transport **out,
                        char *reason)
{
    *out = NULL;
    struct transport *t = mem_alloc(sizeof *t);
    t->keys.is_insecure = cfg->is_insecure;
    memcpy(t->keys.public_key, cfg->public_key, KEY_BYTES);
    memcpy(t->keys.secret_key, cfg->secret_key, KEY_BYTES);
    t->peers = mem_alloc(MEMBERS_MAX * sizeof *t->peers);
    enum err err = socket_context(&t->keys, IO_THREADS, &t->context, reason);
    if (err == ERR_OK && !cfg->is_insecure) {
        err = zap_start(t->context, &t->zap);
        if (err != ERR_OK)
            (void)snprintf(reason, TRANSPORT_REASON_SIZE,
                           "cannot start the thread that judges keys");
    }
    if (err != ERR_OK) {
        transport_close(t);
        return err;
    }
    *out = t;
    return ERR_OK;
}

static void close_lanes(struct peer *p)
{
    for (size_t i = 0; i < LANE_COUNT; i++) {
        socket_close(p->lanes[i]);
        p->lanes[i] = NULL;
    }
}

void transport_close(struct transport *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < t->peer_count; i++)
        close_lanes(&t->peers[i]);
    socket_close(t->client_port.socket);
    socket_close(t->peer_port.socket);
    /* Only now: nobody shall find the door without its keeper (B2.6). */
    if (t->context != NULL)
        (void)zmq_ctx_shutdown(t->context);
    zap_stop(t->zap);
    socket_context_close(t->context);
    mem_free(t->peers);
    socket_keys_wipe(&t->keys);
    mem_free(t);
}

/* A port is kept only once it is open. */
static enum err bind_port(struct transport *t, struct port *port,
                          enum socket_port kind, const char *address,
                          char *reason)
{
    ASSERT(port->socket == NULL);
    void *socket = socket_router(t->context, &t->keys, kind);
    if (socket == NULL) {
        (void)snprintf(reason, TRANSPORT_REASON_SIZE,
                       "no more sockets; raise the limit of open files");
        return ERR_IO;
    }
    enum err err = socket_bind(socket, address, reason);
    if (err != ERR_OK) {
        socket_close(socket);
        return err;
    }
    port->socket = socket;
    return ERR_OK;
}

enum err transport_bind_client(struct transport *t, const char *address,
                               char *reason)
{
    return bind_port(t, &t->client_port, SOCKET_PORT_CLIENT, address, reason);
}

enum err transport_bind_peer(struct transport *t, const char *address,
                             char *reason)
{
    return bind_port(t, &t->peer_port, SOCKET_PORT_PEER, address, reason);
}

void transport_allow(struct transport *t, struct span peers,
                     struct span clients)
{
    if (t->zap != NULL)
        zap_allow(t->zap, peers, clients);
}

/* ---- peers ------------------------------------------------------------- */

static struct peer *find_peer(struct transport *t, struct id128 node)
{
    for (size_t i = 0; i < t->peer_count; i++)
        if (id_equal(t->peers[i].node, node))
            return &t->peers[i];
    return NULL;
}

static enum socket_use use_of(enum wire_lane lane)
{
    switch (lane) {
    case LANE_CONTROL:
        return SOCKET_CONTROL;
    case LANE_ENTRIES:
        return SOCKET_ENTRIES;
    case LANE_TRANSFER:
        break;
    }
    return SOCKET_TRANSFER;
}

static bool open_lanes(struct transport *t, struct peer *p)
{
    close_lanes(p);
    for (size_t i = 0; i < LANE_COUNT; i++) {
        p->lanes[i] = socket_dealer(t->context, &t->keys,
                                    use_of((enum wire_lane)i), p->server_key);
        if (p->lanes[i] == NULL || !socket_connect(p->lanes[i], p->address)) {
            close_lanes(p);
            return false;
        }
    }
    return true;
}

bool transport_peer_set(struct transport *t, struct id128 node,
                        const char *address,
                        const uint8_t server_key[KEY_BYTES])
{
    if (strlen(address) > ADDRESS_MAX)
        return false;
    struct peer *p = find_peer(t, node);
    if (p == NULL) {
        if (t->peer_count == MEMBERS_MAX)
            return false;
        p = &t->peers[t->peer_count++];
        *p = (struct peer){.node = node};
    } else if (p->lanes[0] != NULL && strcmp(p->address, address) == 0 &&
               memcmp(p->server_key, server_key, KEY_BYTES) == 0) {
        return true;
    }
    memcpy(p->address, address, strlen(address) + 1);
    memcpy(p->server_key, server_key, KEY_BYTES);
    return open_lanes(t, p);
}

void transport_peer_reconnect(struct transport *t, struct id128 node)
{
    struct peer *p = find_peer(t, node);
    /* Without sockets to be had it stays unconnected until the next time. */
    if (p != NULL)
        (void)open_lanes(t, p);
}

void transport_peer_remove(struct transport *t, struct id128 node)
{
    struct peer *p = find_peer(t, node);
    if (p == NULL)
        return;
    close_lanes(p);
    *p = t->peers[--t->peer_count];
}

bool transport_send_peer(struct transport *t, struct id128 node,
                         enum wire_lane lane, const struct wire_out *message)
{
    struct peer *p = find_peer(t, node);
    bool ok = p != NULL && p->lanes[lane] != NULL &&
              socket_send(p->lanes[lane], span_of(NULL, 0), message, NULL);
    t->stats.dropped_peer += !ok;
    return ok;
}

/* Who does not fetch its answers fills its own share; where all together have
 * filled theirs, each may have one large answer more. */
static bool has_room(struct socket_tally *const tallies[2], size_t size)
{
    size_t all = atomic_load_explicit(&tallies[0]->bytes, memory_order_relaxed);
    size_t own = atomic_load_explicit(&tallies[1]->bytes, memory_order_relaxed);
    return own == 0 || (own + size <= CLIENT_ANSWERS_BYTES_MAX &&
                        all + size <= CLIENTS_BYTES_MAX);
}

bool transport_send_client(struct transport *t, uint64_t connection,
                           const struct wire_out *message)
{
    uint8_t id[SOCKET_ID_BYTES];
    socket_connection_id(connection, id);
    struct socket_tally *const tallies[2] = {
        &t->answers, &t->answers_to[connection % TALLIES]};
    size_t size = wire_out_size(message);
    bool is_small = size <= SMALL_BYTES;
    bool ok = t->client_port.socket != NULL &&
              (is_small || has_room(tallies, size)) &&
              socket_send(t->client_port.socket, span_of(id, sizeof id),
                          message, is_small ? NULL : tallies);
    t->stats.dropped_client += !ok;
    return ok;
}

/* ---- waiting and receiving --------------------------------------------- */

void transport_wait(struct transport *t, int timeout_ms, const int *fds,
                    size_t count, bool *ready)
{
    ASSERT(count <= TRANSPORT_FDS_MAX);
    void *sockets[2];
    size_t socket_count = 0;
    if (t->peer_port.socket != NULL)
        sockets[socket_count++] = t->peer_port.socket;
    if (t->client_port.socket != NULL)
        sockets[socket_count++] = t->client_port.socket;
    socket_wait(sockets, socket_count, fds, count, ready, timeout_ms);
    t->peer_port.budget = RECEIVE_BUDGET;
    t->client_port.budget = RECEIVE_BUDGET;
}

/* A message that may be shown, from this port; refused ones use up budget. */
static bool recv_from(struct transport *t, struct port *port,
                      struct transport_in *out)
{
    while (port->socket != NULL && port->budget > 0) {
        struct socket_in in;
        enum socket_got got = socket_recv(port->socket, true, &in);
        if (got == SOCKET_GOT_NOTHING)
            return false;
        port->budget--;
        bool is_named = in.has_key || t->keys.is_insecure;
        if (got == SOCKET_GOT_MESSAGE && is_named) {
            out->is_peer_port = port == &t->peer_port;
            out->connection = in.connection;
            memcpy(out->key, in.key, KEY_BYTES);
            out->blob = in.blob;
            return true;
        }
        if (in.blob != NULL)
            blob_unref(in.blob);
        t->stats.refused_messages++;
    }
    return false;
}

bool transport_recv(struct transport *t, struct transport_in *out)
{
    struct port *first = &t->client_port;
    struct port *second = &t->peer_port;
    if (t->peer_is_next) {
        first = &t->peer_port;
        second = &t->client_port;
    }
    t->peer_is_next = !t->peer_is_next;
    return recv_from(t, first, out) || recv_from(t, second, out);
}

struct transport_stats transport_stats(const struct transport *t)
{
    struct transport_stats stats = t->stats;
    if (t->zap != NULL)
        stats.refused_keys = zap_refused(t->zap);
    return stats;
}
