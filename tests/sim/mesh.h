/* mesh.h - the network: a line from each endpoint to each other, and packets
 * on them. Endpoints are hosts, then users.
 *
 *    send --> lost? doubled? --> clogged: waits --> delayed --> arrives, if no
 *                 |                   |                |        cut lies across
 *                 `- buffer full      `- reset         `- reset
 *
 * A line is one way. What concerns single packets (loss, doubles, delays) is
 * drawn for each of them; what befalls a line for a while (cuts.h, troubles.h)
 * sets a field of it and takes that back. Between hosts anything may happen,
 * as node/ declares; between users and hosts nothing is doubled, as on TCP. */
#ifndef TESTS_SIM_MESH_H
#define TESTS_SIM_MESH_H

#include "tests/sim/world.h"

/* Bytes under way; `data` is the heap's. */
struct packet {
    uint32_t refs;
    enum event_kind kind;
    uint32_t from;   /* endpoint */
    uint64_t life;   /* of the addressee's connection */
    uint64_t number; /* connection (to a host), link (to a user) */
    uint8_t *data;
    size_t size;
};

struct line {
    uint16_t cuts;           /* that lie across it: nothing arrives */
    uint16_t clogs;          /* that hold it up: what is sent waits */
    uint32_t loss_per_mille; /* more than on others */
    uint32_t size_max;       /* larger packets never arrive; 0: no bound */
    uint16_t dead_kind;      /* of wire.h: none of it arrives; 0: all do */
    uint32_t slow_us;        /* longer on its way than on others */
    uint32_t bytes_per_ms;   /* 0: no cap */
    uint32_t buffer;         /* packets; more at once are lost; 0: no bound */
    uint32_t buffer_us;      /* in which one of them leaves it */
    uint64_t free_us;        /* from when on the cap lets the next one begin */
    uint64_t drained_us;     /* when the buffer is empty */
    uint64_t reset_us;       /* what was sent up to then is lost */
    uint64_t last_us;        /* when the last one arrives */
    uint64_t newest_us;      /* sent, of those that have arrived */
    struct packet **held;    /* clogged */
    size_t held_count, held_capacity;
};

/* Whoever asks from a connection that is no user's: nobody hears the answer. */
#define MESH_NOBODY (USERS_MAX - 1)
/* Who changes the ring (operator.h). */
#define MESH_OPERATOR (USERS_MAX - 2)
/* Who asks for scrubs (checker.h). */
#define MESH_CHECKER (USERS_MAX - 3)

static inline uint32_t mesh_host(uint32_t host)
{
    return host;
}
static inline uint32_t mesh_user(uint32_t user)
{
    return HOSTS_MAX + user;
}
/* How a host names a user's connection: a new life of the user is another. */
static inline uint64_t mesh_connection(uint32_t user, uint64_t life,
                                       uint32_t link)
{
    return life << 32 | user << 16 | link;
}
static inline uint32_t mesh_connection_user(uint64_t connection)
{
    return (uint32_t)(connection >> 16) & 0xffff;
}
static inline uint32_t mesh_connection_link(uint64_t connection)
{
    return (uint32_t)connection & 0xffff;
}

struct mesh *mesh_new(struct world *w);
void mesh_free(struct mesh *m);
/* Between endpoints; for those that do something to it. */
struct line *mesh_line(struct world *w, uint32_t from, uint32_t to);

/* Takes over the bytes. */
void mesh_send(struct world *w, enum event_kind kind, uint32_t from,
               uint32_t to, uint64_t life, uint64_t number, uint8_t *data,
               size_t size);
/* The bytes of one that has arrived, owned by the caller; NULL: it was cut
 * off on the way. Frees the packet. */
uint8_t *mesh_receive(struct world *w, const struct event *e, uint32_t to,
                      size_t *size, uint32_t *from, uint64_t *number);
void mesh_drop(struct packet *p);

/* Brings a packet that is not of the line's traffic: it is neither lost nor
 * late, but arrives only if no cut lies across. */
void mesh_bring(struct world *w, struct packet *p, uint32_t to,
                uint64_t after_us);

/* What waits on a line goes on, once no clog holds it up. */
void mesh_unclog(struct world *w, uint32_t from, uint32_t to);
/* All that is under way on a line, or waits, is lost. */
void mesh_reset(struct world *w, uint32_t from, uint32_t to);
/* What is sent to one of two hosts reaches the other; again: as before. */
void mesh_swap(struct world *w, uint32_t a, uint32_t b);

#endif
