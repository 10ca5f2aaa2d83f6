/* strangers.c - see strangers.h. */
#include "tests/sim/strangers.h"

#include "tests/sim/watch.h"

#define KEPT           8u
#define KEPT_LONG      2u /* of them: for the better part of a minute */
#define KEPT_BYTES_MAX (16 * KIB)
#define GARBAGE_MAX    300u

/* Where the header has them: net/wire.h. */
#define VERSION_AT 4u
#define CLUSTER_AT 8u
#define FROM_AT    24u

struct strangers {
    struct world *w;
    struct packet *kept[HOSTS_MAX][HOSTS_MAX][KEPT]; /* from, to */
    /* The highest boot that a host has heard of another in this life. */
    uint64_t lives[HOSTS_MAX];
    uint64_t heard[HOSTS_MAX][HOSTS_MAX];
};

struct strangers *strangers_new(struct world *w)
{
    struct strangers *s = mem_alloc(sizeof *s);
    s->w = w;
    return s;
}

static void forget(struct packet **slot)
{
    if (*slot != NULL)
        mesh_drop(*slot);
    *slot = NULL;
}

void strangers_free(struct strangers *s)
{
    for (uint32_t i = 0; i < HOSTS_MAX; i++)
        for (uint32_t k = 0; k < HOSTS_MAX; k++)
            for (uint32_t at = 0; at < KEPT; at++)
                forget(&s->kept[i][k][at]);
    mem_free(s);
}

/* ---- old ones ---------------------------------------------------------- */

static void keep(struct strangers *s, struct packet *p, uint32_t to)
{
    struct world *w = s->w;
    if (p->size > KEPT_BYTES_MAX || !rng_chance(&w->rng, 60))
        return;
    uint32_t at = (uint32_t)world_draw(w, KEPT - 1);
    if (at < KEPT_LONG && !rng_chance(&w->rng, 60))
        return;
    struct packet **slot = &s->kept[p->from][to][at];
    forget(slot);
    p->refs++;
    *slot = p;
}

/* Whether there was one. */
static bool bring_old(struct strangers *s, uint32_t from, uint32_t to,
                      enum fault kind, uint64_t within_us)
{
    struct world *w = s->w;
    struct packet *p = s->kept[from][to][world_draw(w, KEPT - 1)];
    if (p == NULL || !fault_strikes(w, kind, 1000))
        return false;
    mesh_bring(w, p, to, world_draw(w, within_us));
    return true;
}

void strangers_greet(struct strangers *s, const struct host *h)
{
    for (uint32_t i = 0; i < s->w->host_count; i++) {
        if (i == h->index)
            continue;
        (void)bring_old(s, i, h->index, FAULT_OLD_TO_LIFE, 300000);
        (void)bring_old(s, h->index, i, FAULT_OLD_OF_LIFE, 300000);
    }
}

void strangers_rise(struct strangers *s, const struct host *h)
{
    for (uint32_t i = 0; i < s->w->host_count; i++)
        if (i != h->index)
            (void)bring_old(s, i, h->index, FAULT_OLD_TERM, 100000);
}

/* ---- others' ----------------------------------------------------------- */

/* A packet of the same way as that one, but of nobody's connection; takes over
 * the bytes. */
static void bring_new(struct strangers *s, const struct packet *like,
                      uint32_t to, uint8_t *data, size_t size)
{
    struct packet *p = mem_alloc(sizeof *p);
    *p = *like;
    p->refs = 1;
    p->data = data;
    p->size = size;
    if (p->kind == EVENT_REQUEST)
        p->number = mesh_connection(MESH_NOBODY, 0, 0);
    mesh_bring(s->w, p, to, world_draw(s->w, 20000));
    mesh_drop(p);
}

/* The packet's bytes with another id at that place. */
static uint8_t *renamed(struct strangers *s, const struct packet *p, size_t at)
{
    uint8_t *data = mem_copy(p->data, p->size);
    uint64_t id[2] = {rng_next(&s->w->rng), rng_next(&s->w->rng)};
    memcpy(data + at, id, sizeof id);
    return data;
}

static uint8_t *of_version(struct strangers *s, const struct packet *p)
{
    uint8_t *data = mem_copy(p->data, p->size);
    data[VERSION_AT] ^= (uint8_t)(1 + world_draw(s->w, 254));
    return data;
}

/* The same, to a host that it is not meant for. */
static void misroute(struct strangers *s, struct packet *p, uint32_t to)
{
    struct world *w = s->w;
    uint64_t far = 1 + world_draw(w, w->host_count - 2);
    uint32_t other = (uint32_t)(to + far) % w->host_count;
    mesh_bring(w, p, other, world_draw(w, 20000));
}

static void bring_garbage(struct strangers *s, const struct packet *p,
                          uint32_t to)
{
    struct world *w = s->w;
    if (rng_chance(&w->rng, 500)) { /* it breaks off */
        size_t size = world_draw(w, p->size - 1);
        uint8_t *data = mem_alloc(size + 1);
        memcpy(data, p->data, size);
        bring_new(s, p, to, data, size);
        return;
    }
    size_t size = world_draw(w, GARBAGE_MAX);
    uint8_t *data = mem_alloc(size + 1);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)rng_next(&w->rng);
    bring_new(s, p, to, data, size);
}

static void flip(struct strangers *s, struct packet *p)
{
    /* magic, kind (its upper byte: no kind has one), cluster, addressee */
    static const struct {
        uint8_t at, size;
    } fields[] = {{0, 4}, {7, 1}, {CLUSTER_AT, 16}, {40, 16}};
    struct world *w = s->w;
    uint64_t draw = world_draw(w, sizeof fields / sizeof *fields - 1);
    size_t at = fields[draw].at + world_draw(w, fields[draw].size - 1u);
    struct wire_in in;
    enum err err = wire_read(span_of(p->data, p->size), &in);
    bool has_payload = err == ERR_OK && in.payload.size > 0;
    if (p->kind != EVENT_PACKET && has_payload && rng_chance(&w->rng, 700))
        at = in.payload_at + world_draw(w, in.payload.size - 1);
    p->data[at] ^= (uint8_t)(1u << world_draw(w, 7));
}

static const enum fault KINDS[] = {
    FAULT_OLD_PACKET,   FAULT_MISROUTED,     FAULT_OTHER_CLUSTER,
    FAULT_UNKNOWN_NODE, FAULT_OTHER_VERSION, FAULT_GARBAGE,
    FAULT_BIT_FLIP,
};
#define KIND_COUNT (sizeof KINDS / sizeof *KINDS)

static void bring(struct strangers *s, struct packet *p, uint32_t to)
{
    struct world *w = s->w;
    enum fault kind = KINDS[world_draw(w, KIND_COUNT - 1)];
    if (kind == FAULT_OLD_PACKET) {
        uint32_t from = (uint32_t)world_draw(w, w->host_count - 1);
        uint32_t far = (uint32_t)world_draw(w, w->host_count - 1);
        (void)bring_old(s, from, far, kind, 20000);
        return;
    }
    /* A user's request bears no sender: none can be unknown. And users, who
     * call their nodes, are called by none. */
    bool is_response = p->kind == EVENT_RESPONSE;
    if ((kind == FAULT_UNKNOWN_NODE && p->kind == EVENT_REQUEST) ||
        (kind == FAULT_MISROUTED && is_response) ||
        (kind == FAULT_OTHER_VERSION && is_response) ||
        !fault_strikes(w, kind, 1000))
        return;
    if (kind == FAULT_MISROUTED)
        misroute(s, p, to);
    else if (kind == FAULT_OTHER_VERSION)
        bring_new(s, p, to, of_version(s, p), p->size);
    else if (kind == FAULT_OTHER_CLUSTER)
        bring_new(s, p, to, renamed(s, p, CLUSTER_AT), p->size);
    else if (kind == FAULT_UNKNOWN_NODE)
        bring_new(s, p, to, renamed(s, p, FROM_AT), p->size);
    else if (kind == FAULT_GARBAGE)
        bring_garbage(s, p, to);
    else
        flip(s, p);
}

void strangers_pass(struct strangers *s, struct packet *p, uint32_t to)
{
    struct world *w = s->w;
    if (!w->is_chaos)
        return;
    if (p->kind == EVENT_PACKET)
        keep(s, p, to);
    if (rng_chance(&w->rng, w->plan.stray_per_mille))
        bring(s, p, to);
}

/* ---- what must come of them -------------------------------------------- */

static bool is_void_request(const struct world *w, const struct host *h,
                            const struct wire_header *m)
{
    return m->kind != WIRE_REQUEST ||
           (!id_is_zero(m->cluster) && !id_equal(m->cluster, w->cluster)) ||
           (!id_is_zero(m->to) && !id_equal(m->to, h->id));
}

/* Whoever is gone is told so, of whatever life it is: an old folder of its that
 * runs again hears it nowhere else. */
static bool is_gone(const struct host *h, const struct host *from)
{
    const struct record *r = node_record(h->node);
    uint16_t slot = record_slot(r, from->id);
    return slot != SLOT_NONE && r->members[slot].seen == SEEN_GONE;
}

bool strangers_is_void(struct strangers *s, const struct host *h,
                       struct span message, bool is_peer)
{
    struct world *w = s->w;
    struct wire_in in;
    enum wire_lane lane;
    const struct wire_header *m = &in.header;
    if (wire_read(message, &in) != ERR_OK)
        return true;
    if (!is_peer)
        return is_void_request(w, h, m);
    const struct host *from = host_of(w, m->from);
    if (from == NULL || !id_equal(m->cluster, w->cluster) ||
        !id_equal(m->to, h->id) || !wire_kind_lane(m->kind, &lane) ||
        (lane == LANE_TRANSFER && !wire_rows_verify(&in)))
        return true;
    for (uint32_t i = 0; s->lives[h->index] != h->life && i < HOSTS_MAX; i++)
        s->heard[h->index][i] = watch_boot_seen(w->watch, h, i); /* S6C */
    s->lives[h->index] = h->life;
    uint64_t *heard = &s->heard[h->index][from->index];
    if (m->boot < *heard) /* T15 */
        return !is_gone(h, from);
    /* Who is no member by its record is a stranger to it yet. */
    if (record_slot(node_record(h->node), from->id) != SLOT_NONE)
        *heard = m->boot;
    return false;
}

bool strangers_may_answer(const struct world *w)
{
    return w->plan.has[FAULT_BIT_FLIP] || w->plan.has[FAULT_GARBAGE];
}

bool strangers_spoil(const struct world *w, const struct response *a,
                     struct span payload)
{
    struct dec d = dec_of(a->segments);
    struct segment_head head, previous = {0};
    size_t at = 0;
    bool is_whole = true;
    while (is_whole && wire_segment_next(&d, &previous, &head)) {
        struct hash128 h = wire_checksum(span_of(payload.data + at, head.size));
        is_whole = h.lo == head.checksum.lo && h.hi == head.checksum.hi;
        at += head.size;
    }
    return !is_whole && w->plan.has[FAULT_BIT_FLIP];
}
