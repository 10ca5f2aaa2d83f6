/* links.h - a client's sockets: one DEALER to each node that it speaks to.
 *
 * For the library, the CLI and a node that wants to join; net/client.h decides
 * what to say to whom, and numbers the links. Nothing here fails when a node
 * does not answer: that is for the client core to notice, by time. But where
 * the system knows that nobody is there, or no more, that is told at once.
 *
 * Owned by one thread at a time. */
#ifndef NET_LINKS_H
#define NET_LINKS_H

#include "net/blob.h"
#include "net/wire.h"

#define LINKS_REASON_SIZE 512u
#define LINKS_FDS_MAX     16u
/* Contacts, and members, each with room for a change of address. */
#define LINKS_MAX 320u
/* Those that are told of when they are lost: each costs two descriptors. */
#define LINKS_WATCHED_MAX 64u

struct links;

struct links_cfg {
    bool is_insecure; /* the cluster has no keys */
    bool is_watched;  /* links_watch and links_news are called each turn */
    uint8_t public_key[KEY_BYTES];
    uint8_t secret_key[KEY_BYTES];
};

/* INCOMPATIBLE: this libzmq cannot encrypt. IO. On an error `reason`
 * (LINKS_REASON_SIZE) says why. */
NODISCARD enum err links_open(const struct links_cfg *cfg, struct links **out,
                              char *reason);
/* Drops what is not sent yet. NULL is accepted. */
void links_close(struct links *l);

/* Where a link leads: HOST:PORT, and whose key must answer there. Connects in
 * the background, anew if anything is another than before. False: number at
 * or above LINKS_MAX, no more sockets, or the address is none. */
bool links_set(struct links *l, uint32_t link, const char *address,
               const uint8_t server_key[KEY_BYTES]);
/* New sockets to the same place, without what waits in the old one's queue:
 * for a link that has been silent for long. */
void links_reconnect(struct links *l, uint32_t link);

/* Waits in a queue of CLIENT_HWM until the node is connected;
 * `message` stays the caller's. False: dropped, for the queue is full or there
 * is no such link. */
bool links_send(struct links *l, uint32_t link, const struct wire_out *message);

/* Until a message or news have come, one of fds[0..count) is readable, a signal
 * has come, or timeout_ms is over (-1: never). */
void links_wait(struct links *l, int timeout_ms, const int *fds, size_t count,
                bool *ready);
/* What became of the connections by now. Then links_recv until it is false, so
 * that what came in before a loss is heard first; then links_news until that
 * is false: each link that was lost, or is there (again). One that was lost and
 * is back is told of twice, in this order. News end a links_wait, too. */
void links_watch(struct links *l);
bool links_news(struct links *l, uint32_t *link, bool *is_up);
/* The next message, of all links by turns; *blob is the caller's reference.
 * False: no more. */
bool links_recv(struct links *l, uint32_t *link, struct blob **blob);

#endif
