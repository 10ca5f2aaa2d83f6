/* socket.h - how each of our ZeroMQ sockets is set up, for transport.c and
 * links.c alone. A socket is a void * as ZeroMQ has it.
 *
 * libzmq's defaults are nearly all wrong for us (PITFALLS B2): every option is
 * set here, before bind or connect. Nothing in here ever blocks: what does not
 * go at once is dropped, and a drop is a loss like any other (L16). */
#ifndef NET_SOCKET_H
#define NET_SOCKET_H

#include <stdatomic.h>

#include "net/blob.h"
#include "net/keys.h"
#include "net/wire.h"

#define SOCKET_REASON_SIZE 512u /* enough for every reason given here */

struct socket_keys {
    bool is_insecure; /* the keys are not used */
    uint8_t public_key[KEY_BYTES];
    uint8_t secret_key[KEY_BYTES];
};

/* What a connection carries: its queues, pings and I/O thread. */
enum socket_use {
    SOCKET_CONTROL,
    SOCKET_ENTRIES,
    SOCKET_TRANSFER,
    SOCKET_CLIENT, /* a client's, to one node */
};

enum socket_port { SOCKET_PORT_PEER, SOCKET_PORT_CLIENT };

/* The domain that a port's handshakes are judged in (net/zap.h). */
const char *socket_domain(enum socket_port port);

/* INCOMPATIBLE: this libzmq cannot encrypt, and keys->is_insecure is not set.
 * IO. On OK *context is for socket_context_close, once all is closed. */
NODISCARD enum err socket_context(const struct socket_keys *keys,
                                  uint32_t io_threads, void **context,
                                  char *reason);

void socket_context_close(void *context); /* NULL is accepted */
void socket_keys_wipe(struct socket_keys *keys);

/* A ROUTER, to be bound; a DEALER, to be connected to the owner of the key.
 * NULL: the process is out of descriptors or sockets. */
void *socket_router(void *context, const struct socket_keys *keys,
                    enum socket_port port);
void *socket_dealer(void *context, const struct socket_keys *keys,
                    enum socket_use use, const uint8_t server_key[KEY_BYTES]);
/* To HOST:PORT, in the background. False: the address is none. */
bool socket_connect(void *socket, const char *address);
void socket_close(void *socket); /* NULL is accepted */

/* IN_USE; IO: not an address of this machine, or not allowed. */
NODISCARD enum err socket_bind(void *socket, const char *address, char *reason);

/* Bytes that wait in queues of ZeroMQ's: counted here, taken off by its I/O
 * threads. It must outlive the context. */
struct socket_tally {
    _Atomic size_t bytes;
};

/* One message of header, inline part and slices (blobs), copied into one
 * frame; `id`, if not empty, goes before it (ROUTER). Counted in both
 * `tallies` (NULL: not) until it is on its way. False: dropped,
 * since the queue is full, nobody is connected, or it is too large. */
bool socket_send(void *socket, struct span id, const struct wire_out *message,
                 struct socket_tally *const tallies[2]);

enum socket_got {
    SOCKET_GOT_NOTHING,
    SOCKET_GOT_MESSAGE,
    SOCKET_GOT_REFUSED, /* not one frame, or from a routing id of its own */
};
struct socket_in {
    uint64_t connection; /* ROUTER: for socket_connection_id; else 0 */
    bool has_key;
    uint8_t key[KEY_BYTES]; /* who sent it, by the handshake */
    struct blob *blob;      /* the caller's reference */
};
/* The next message of a ROUTER or a DEALER, if there is one. */
enum socket_got socket_recv(void *socket, bool is_router,
                            struct socket_in *out);

/* Tells what becomes of a DEALER's connection: another socket, to be waited
 * for like one. Before socket_connect; `number` is another one each time. It
 * never makes libzmq wait, however late it is read (PITFALLS B25). NULL: out of
 * descriptors or sockets. socket_unwatch before the DEALER is closed. */
void *socket_watch(void *context, void *socket, uint32_t number);
void socket_unwatch(void *socket, void *watch); /* NULL is accepted */

enum socket_news {
    SOCKET_NEWS_NONE,
    SOCKET_NEWS_UP,   /* connected, and who answers has the key */
    SOCKET_NEWS_LOST, /* it was, and is no more; or nobody is there */
};
/* The next of what is not read yet. */
enum socket_news socket_news(void *watch);

/* The routing id of a connection: 5 bytes, as ZeroMQ makes them. */
#define SOCKET_ID_BYTES 5u
void socket_connection_id(uint64_t connection, uint8_t id[SOCKET_ID_BYTES]);

/* Waits until a socket or a descriptor is readable or the time (-1: any) is
 * over; a signal ends it too. ready[i] is for fds[i]. */
#define SOCKET_WAIT_MAX 512u
void socket_wait(void *const *sockets, size_t socket_count, const int *fds,
                 size_t fd_count, bool *ready, int timeout_ms);

#endif
