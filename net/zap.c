/* zap.c - see zap.h. The request's frames (RFC 27, as libzmq sends them):
 * version, request id, domain, address, routing id, mechanism, credentials.
 * The reply's: version, request id, status, text, user id, metadata. */
#include "net/zap.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <zmq.h>

#include "net/keys.h"
#include "net/socket.h"

#define REQUEST_FRAMES  7u
#define FRAME_BYTES_MAX 255u

struct key_list {
    uint8_t *keys; /* sorted, KEY_BYTES each */
    size_t count;
};

struct zap {
    void *socket; /* the thread's, once it runs */
    pthread_t thread;
    pthread_mutex_t lock; /* over the lists */
    struct key_list peers;
    struct key_list clients;
    atomic_ullong refused;
};

struct zap_request {
    size_t count; /* frames, also those that are not kept */
    struct {
        uint8_t data[FRAME_BYTES_MAX];
        size_t size; /* FRAME_BYTES_MAX + 1: longer than that */
    } frames[REQUEST_FRAMES];
};
enum { FRAME_VERSION, FRAME_ID, FRAME_DOMAIN, FRAME_MECHANISM = 5, FRAME_KEY };

/* ---- lists ------------------------------------------------------------- */

static int compare_keys(const void *a, const void *b)
{
    return memcmp(a, b, KEY_BYTES);
}

static struct key_list list_of(struct span keys)
{
    ASSERT(keys.size % KEY_BYTES == 0);
    struct key_list list = {mem_copy(keys.data, keys.size),
                            keys.size / KEY_BYTES};
    qsort(list.keys, list.count, KEY_BYTES, compare_keys);
    return list;
}

static bool list_has(const struct key_list *list, const uint8_t *key)
{
    return list->count > 0 && bsearch(key, list->keys, list->count, KEY_BYTES,
                                      compare_keys) != NULL;
}

void zap_allow(struct zap *z, struct span peers, struct span clients)
{
    struct key_list new_peers = list_of(peers);
    struct key_list new_clients = list_of(clients);
    (void)pthread_mutex_lock(&z->lock);
    struct key_list old_peers = z->peers;
    struct key_list old_clients = z->clients;
    z->peers = new_peers;
    z->clients = new_clients;
    (void)pthread_mutex_unlock(&z->lock);
    mem_free(old_peers.keys);
    mem_free(old_clients.keys);
}

uint64_t zap_refused(const struct zap *z)
{
    return atomic_load_explicit(&z->refused, memory_order_relaxed);
}

/* ---- the thread -------------------------------------------------------- */

static struct span frame(const struct zap_request *r, size_t i)
{
    return span_of(r->frames[i].data, r->frames[i].size);
}

static bool frame_is(const struct zap_request *r, size_t i, const char *text)
{
    return r->frames[i].size <= FRAME_BYTES_MAX &&
           span_equal(frame(r, i), span_str(text));
}

/* All frames of a request are read, whatever they are: REP must answer. */
static bool read_request(void *socket, struct zap_request *r)
{
    r->count = 0;
    bool has_more = true;
    while (has_more) {
        uint8_t surplus[1];
        bool is_kept = r->count < REQUEST_FRAMES;
        int size =
            zmq_recv(socket, is_kept ? r->frames[r->count].data : surplus,
                     is_kept ? FRAME_BYTES_MAX : sizeof surplus, 0);
        if (size < 0 && zmq_errno() == EINTR)
            continue;
        if (size < 0)
            return false;
        /* zmq_recv cuts, and returns the whole length. */
        if (is_kept)
            r->frames[r->count].size = (size_t)size > FRAME_BYTES_MAX
                                           ? FRAME_BYTES_MAX + 1
                                           : (size_t)size;
        r->count++;
        int more = 0;
        size_t more_size = sizeof more;
        int rc = zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &more_size);
        if (rc != 0)
            return false;
        has_more = more != 0;
    }
    return true;
}

static bool is_allowed(struct zap *z, const struct zap_request *r)
{
    if (r->count != REQUEST_FRAMES || !frame_is(r, FRAME_VERSION, "1.0") ||
        !frame_is(r, FRAME_MECHANISM, "CURVE") ||
        r->frames[FRAME_KEY].size != KEY_BYTES)
        return false;
    const struct key_list *list = NULL;
    if (frame_is(r, FRAME_DOMAIN, socket_domain(SOCKET_PORT_PEER)))
        list = &z->peers;
    else if (frame_is(r, FRAME_DOMAIN, socket_domain(SOCKET_PORT_CLIENT)))
        list = &z->clients;
    if (list == NULL)
        return false;
    (void)pthread_mutex_lock(&z->lock);
    bool found = list_has(list, r->frames[FRAME_KEY].data);
    (void)pthread_mutex_unlock(&z->lock);
    return found;
}

static void reply(void *socket, const struct zap_request *r, bool ok)
{
    char user[KEY_TEXT_SIZE] = "";
    if (ok)
        keys_format_public(r->frames[FRAME_KEY].data, user);
    bool has_id =
        r->count > FRAME_ID && r->frames[FRAME_ID].size <= FRAME_BYTES_MAX;
    const struct span frames[] = {
        span_str("1.0"),
        has_id ? frame(r, FRAME_ID) : span_str(""),
        span_str(ok ? "200" : "300"),
        span_str(ok ? "OK" : "unknown key"),
        span_str(user),
        span_str(""),
    };
    size_t count = sizeof frames / sizeof frames[0];
    for (size_t i = 0; i < count; i++) {
        int flags = i + 1 < count ? ZMQ_SNDMORE : 0;
        int rc = zmq_send(socket, frames[i].data, frames[i].size, flags);
        while (rc < 0 && zmq_errno() == EINTR)
            rc = zmq_send(socket, frames[i].data, frames[i].size, flags);
        if (rc < 0)
            return; /* the context ends: so does read_request */
    }
}

static void *serve(void *argument)
{
    struct zap *z = argument;
    struct zap_request r;
    while (read_request(z->socket, &r)) {
        bool ok = is_allowed(z, &r);
        if (!ok)
            atomic_fetch_add_explicit(&z->refused, 1, memory_order_relaxed);
        reply(z->socket, &r, ok);
    }
    socket_close(z->socket);
    return NULL;
}

/* With all signals blocked: they are the loop's. */
static bool start_thread(struct zap *z)
{
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&z->thread, NULL, serve, z);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc == 0;
}

enum err zap_start(void *context, struct zap **out)
{
    *out = NULL;
    void *socket = zmq_socket(context, ZMQ_REP);
    if (socket == NULL)
        return ERR_IO;
    int linger = 0;
    int rc = zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger);
    ASSERT(rc == 0);
    /* Here, so that the door has its keeper when this returns. */
    if (zmq_bind(socket, "inproc://zeromq.zap.01") != 0) {
        socket_close(socket);
        return ERR_IO;
    }
    struct zap *z = mem_alloc(sizeof *z);
    z->socket = socket;
    rc = pthread_mutex_init(&z->lock, NULL);
    ASSERT(rc == 0);
    if (!start_thread(z)) {
        socket_close(socket);
        (void)pthread_mutex_destroy(&z->lock);
        mem_free(z);
        return ERR_IO;
    }
    *out = z;
    return ERR_OK;
}

void zap_stop(struct zap *z)
{
    if (z == NULL)
        return;
    int rc = pthread_join(z->thread, NULL);
    ASSERT(rc == 0);
    (void)pthread_mutex_destroy(&z->lock);
    mem_free(z->peers.keys);
    mem_free(z->clients.keys);
    mem_free(z);
}
