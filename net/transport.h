/* transport.h - a node's sockets: two doors to hear by, three lanes to each
 * peer to speak by.
 *
 *   clients --DEALER--> [ client port: ROUTER ] --answers--> clients
 *   peers   --DEALER--> [ peer port:   ROUTER ]     (never answered here)
 *            each peer <-- DEALER control   |
 *            each peer <-- DEALER entries   |  this node speaks
 *            each peer <-- DEALER transfers |
 *
 * Lossy and unordered by declaration, between nodes and in between lanes:
 * what cannot be sent at once is dropped, and whoever needs an answer asks
 * again (S34, L16). Between nodes all is one-way, and the sender is named by
 * the message, not by a routing id; so the receiver must check that the
 * sender's key, which transport_recv gives with each message, is that of the
 * node in the header (S13, S35). The client port has no code path to Raft,
 * gossip or transfer (S33): the caller gives what comes from there to
 * wire_request_read and to nothing else.
 *
 * Owned by the loop's thread: all calls are made from there. */
#ifndef NET_TRANSPORT_H
#define NET_TRANSPORT_H

#include "net/blob.h"
#include "net/wire.h"

#define TRANSPORT_REASON_SIZE 512u /* enough for every reason given here */
#define TRANSPORT_FDS_MAX     16u

struct transport;

struct transport_cfg {
    bool is_insecure; /* no encryption, no keys: everyone is let in */
    uint8_t public_key[KEY_BYTES];
    uint8_t secret_key[KEY_BYTES];
};

/* Starts libzmq's threads and the one that judges keys; opens no port yet, and
 * lets nobody in before transport_allow. INCOMPATIBLE: this libzmq cannot
 * encrypt. IO. On an error `reason` (TRANSPORT_REASON_SIZE) says why. */
NODISCARD enum err transport_open(const struct transport_cfg *cfg,
                                  struct transport **out, char *reason);
/* Drops what is not sent yet. NULL is accepted. */
void transport_close(struct transport *t);

/* Opens a port: HOST:PORT of this machine, once each. IN_USE: another process
 * listens there. IO: not an address of this machine, or not allowed. */
NODISCARD enum err transport_bind_client(struct transport *t,
                                         const char *address, char *reason);
NODISCARD enum err transport_bind_peer(struct transport *t, const char *address,
                                       char *reason);

/* Which keys (of KEY_BYTES, back to back; copied) may connect from now on:
 * members' to the peer port, clients' to the client port (a node's key is let
 * in there only if it is listed). Those who are connected stay: judge each
 * message by its key (S35). */
void transport_allow(struct transport *t, struct span peers,
                     struct span clients);

/* ---- peers ------------------------------------------------------------- */

/* Where a peer is, and whose key must answer there. Connects, or connects anew
 * if address or key is another; else it changes nothing. False: the process
 * has no more sockets, or the address is none: try again later. At most
 * MEMBERS_MAX peers. */
bool transport_peer_set(struct transport *t, struct id128 node,
                        const char *address,
                        const uint8_t server_key[KEY_BYTES]);
/* New sockets to the same place. For a peer that has been silent for long: a
 * stranger at its address, or one of another security, makes libzmq give up
 * connecting for good (PITFALLS B2.8, B5.34). */
void transport_peer_reconnect(struct transport *t, struct id128 node);
void transport_peer_remove(struct transport *t, struct id128 node);

/* One frame: header, inline part and slices (handles of blobs) are copied
 * together; `message` stays the caller's. False: dropped, for the peer is not
 * connected, unknown, or its queue is full. */
bool transport_send_peer(struct transport *t, struct id128 node,
                         enum wire_lane lane, const struct wire_out *message);
/* To a client that has sent something: transport_in.connection. False:
 * dropped, for it has gone, or has left too many answers unread, or too many
 * bytes of them: CLIENT_ANSWERS_BYTES_MAX, or CLIENTS_BYTES_MAX of all; small
 * ones are not counted. */
bool transport_send_client(struct transport *t, uint64_t connection,
                           const struct wire_out *message);

/* ---- waiting and receiving --------------------------------------------- */

/* Until a message has come, one of fds[0..count) is readable (ready[i] is then
 * true), a signal has come, or timeout_ms is over (-1: never). */
void transport_wait(struct transport *t, int timeout_ms, const int *fds,
                    size_t count, bool *ready);

struct transport_in {
    bool is_peer_port;
    uint64_t connection;    /* client port: where the answer goes */
    uint8_t key[KEY_BYTES]; /* the sender's, proven; zeros if insecure */
    struct blob *blob;      /* the message; the caller's reference */
};
/* The next message, of both ports by turns. False: no more, or RECEIVE_BUDGET
 * is used up on both until the next transport_wait, which then returns at
 * once. */
bool transport_recv(struct transport *t, struct transport_in *out);

struct transport_stats {
    uint64_t refused_keys;     /* handshakes with a key not on the list */
    uint64_t refused_messages; /* not one frame, without a key, ... */
    uint64_t dropped_peer;     /* not sent */
    uint64_t dropped_client;
};
struct transport_stats transport_stats(const struct transport *t);

#endif
