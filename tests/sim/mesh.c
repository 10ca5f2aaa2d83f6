/* mesh.c - see mesh.h. */
#include "tests/sim/mesh.h"

#include "tests/sim/strangers.h"

/* A capped line's queue: what would wait longer is dropped. */
#define CAP_WAIT_US 5000000u

struct mesh {
    struct line lines[ENDPOINTS][ENDPOINTS];
    uint32_t hosts[HOSTS_MAX]; /* who is at a host's address */
};

struct mesh *mesh_new(struct world *w)
{
    struct mesh *m = mem_alloc(sizeof *m);
    for (uint32_t i = 0; i < HOSTS_MAX; i++)
        m->hosts[i] = i;
    if (w->plan.has[FAULT_EXPONENTIAL])
        fault_count(w, FAULT_EXPONENTIAL);
    return m;
}

static void drop_held(struct line *l)
{
    for (size_t i = 0; i < l->held_count; i++)
        mesh_drop(l->held[i]);
    l->held_count = 0;
}

void mesh_free(struct mesh *m)
{
    for (uint32_t i = 0; i < ENDPOINTS; i++) {
        for (uint32_t k = 0; k < ENDPOINTS; k++) {
            drop_held(&m->lines[i][k]);
            mem_free(m->lines[i][k].held);
        }
    }
    mem_free(m);
}

struct line *mesh_line(struct world *w, uint32_t from, uint32_t to)
{
    ASSERT(from < ENDPOINTS && to < ENDPOINTS);
    return &w->mesh->lines[from][to];
}

/* ---- how long it takes ------------------------------------------------- */

/* About exponential, of that mean: as many halvings as a coin says, and a
 * part of one (whole numbers are the same on every machine). */
static uint64_t draw_exponential(struct world *w, uint64_t mean)
{
    uint64_t bits = rng_next(&w->rng);
    uint64_t halvings = (uint64_t)__builtin_ctzll(bits | (uint64_t)1 << 40);
    uint64_t thousandths = halvings * 1000 + (bits >> 41) % 1000;
    return mean * thousandths * 693 / 1000000;
}

static uint64_t draw_delay(struct world *w)
{
    const struct plan *p = &w->plan;
    return p->delay_us + (p->has[FAULT_EXPONENTIAL]
                              ? draw_exponential(w, p->jitter_us / 2)
                              : world_draw(w, p->jitter_us));
}

/* The wait for those before it on a capped line. */
static uint64_t cap_wait(struct world *w, struct line *l, size_t size)
{
    if (l->bytes_per_ms == 0)
        return 0;
    l->free_us = max_u64(l->free_us, w->now_us);
    l->free_us += size * 1000 / l->bytes_per_ms;
    return l->free_us - w->now_us;
}

/* Packets in a burst beyond what the buffer holds are dropped. */
static bool overflows(struct world *w, struct line *l)
{
    if (l->buffer == 0)
        return false;
    uint64_t at = max_u64(l->drained_us, w->now_us);
    if (at - w->now_us >= (uint64_t)l->buffer * l->buffer_us)
        return true;
    l->drained_us = at + l->buffer_us;
    return false;
}

static bool is_of_kind(const struct packet *p, uint16_t kind)
{
    struct wire_in in;
    return wire_read(span_of(p->data, p->size), &in) == ERR_OK &&
           in.header.kind == (enum wire_kind)kind;
}

/* Some trouble of the line takes it. */
static bool is_swallowed(struct world *w, const struct line *l,
                         const struct packet *p)
{
    if (l->loss_per_mille > 0 && rng_chance(&w->rng, l->loss_per_mille))
        fault_count(w, FAULT_LOSSY_LINE);
    else if (l->size_max > 0 && p->size > l->size_max)
        fault_count(w, FAULT_BLACK_HOLE);
    else if (l->dead_kind != 0 && is_of_kind(p, l->dead_kind))
        fault_count(w, FAULT_DEAD_LANE);
    else
        return false;
    return true;
}

/* ---- on its way -------------------------------------------------------- */

void mesh_bring(struct world *w, struct packet *p, uint32_t to,
                uint64_t after_us)
{
    uint32_t who = to < HOSTS_MAX ? w->mesh->hosts[to] : to - HOSTS_MAX;
    p->refs++;
    world_at(w, after_us, p->kind, who, p->life, w->now_us, p);
}

static void launch(struct world *w, struct packet *p, uint32_t to,
                   uint64_t extra_us)
{
    struct line *l = mesh_line(w, p->from, to);
    if (is_swallowed(w, l, p))
        return;
    uint64_t wait_us = cap_wait(w, l, p->size);
    if (wait_us > CAP_WAIT_US || overflows(w, l)) {
        l->free_us = min_u64(l->free_us, w->now_us + CAP_WAIT_US);
        fault_count(w, wait_us > CAP_WAIT_US ? FAULT_CAP : FAULT_BUFFER);
        return;
    }
    /* What waits in a user's socket goes to the node's next life. */
    if (p->kind == EVENT_REQUEST && fault_strikes(w, FAULT_HELD, 3))
        extra_us += 3000000 + world_draw(w, 40000000);
    if (fault_strikes(w, FAULT_LATE, w->plan.long_per_mille))
        extra_us += 1 + world_draw(w, (uint64_t)w->plan.long_ms * 1000);
    uint64_t at_us =
        w->now_us + wait_us + l->slow_us + draw_delay(w) + extra_us;
    /* In order, but for those that are late by themselves: if they held up
     * the others, all would be late. */
    if (!w->plan.has[FAULT_REORDER] && extra_us == 0)
        at_us = l->last_us = max_u64(at_us, l->last_us);
    mesh_bring(w, p, to, at_us - w->now_us);
}

static void hold(struct line *l, struct packet *p)
{
    if (l->held_count == l->held_capacity) {
        l->held_capacity = l->held_capacity == 0 ? 16 : l->held_capacity * 2;
        l->held = mem_resize(l->held, l->held_capacity * sizeof *l->held);
    }
    p->refs++;
    l->held[l->held_count++] = p;
}

static void set_out(struct world *w, struct packet *p, uint32_t to,
                    uint64_t extra_us)
{
    struct line *l = mesh_line(w, p->from, to);
    if (l->clogs > 0)
        hold(l, p);
    else
        launch(w, p, to, extra_us);
}

void mesh_send(struct world *w, enum event_kind kind, uint32_t from,
               uint32_t to, uint64_t life, uint64_t number, uint8_t *data,
               size_t size)
{
    const struct plan *plan = &w->plan;
    bool is_peer = kind == EVENT_PACKET;
    struct packet *p = mem_alloc(sizeof *p);
    *p = (struct packet){1, kind, from, life, number, data, size};
    w->totals.messages++;
    w->totals.bytes += size;
    strangers_pass(w->strangers, p, to);
    uint32_t loss = is_peer ? plan->loss_per_mille : plan->user_loss_per_mille;
    if (!fault_strikes(w, FAULT_LOSS, loss))
        set_out(w, p, to, 0);
    if (is_peer && fault_strikes(w, FAULT_DUPLICATE, plan->dup_per_mille)) {
        uint64_t later_us = 1;
        if (fault_strikes(w, FAULT_STALE, 500))
            later_us += world_draw(w, (uint64_t)plan->stale_ms * 1000);
        set_out(w, p, to, later_us);
    }
    mesh_drop(p);
}

void mesh_drop(struct packet *p)
{
    if (--p->refs > 0)
        return;
    mem_free(p->data);
    mem_free(p);
}

uint8_t *mesh_receive(struct world *w, const struct event *e, uint32_t to,
                      size_t *size, uint32_t *from, uint64_t *number)
{
    struct packet *p = e->data;
    struct line *l = mesh_line(w, p->from, to);
    if (l->cuts > 0 || e->number <= l->reset_us) {
        w->totals.cut++;
        mesh_drop(p);
        return NULL;
    }
    if (e->number < l->newest_us && w->plan.has[FAULT_REORDER])
        fault_count(w, FAULT_REORDER);
    l->newest_us = max_u64(l->newest_us, e->number);
    *size = p->size;
    *from = p->from;
    *number = p->number;
    uint8_t *data = p->data;
    if (p->refs > 1)
        data = mem_copy(p->data, p->size);
    else
        p->data = NULL;
    mesh_drop(p);
    return data;
}

/* ---- what may be done to lines ----------------------------------------- */

void mesh_unclog(struct world *w, uint32_t from, uint32_t to)
{
    struct line *l = mesh_line(w, from, to);
    if (l->clogs > 0)
        return;
    for (size_t i = 0; i < l->held_count; i++)
        launch(w, l->held[i], to, 0);
    drop_held(l);
}

void mesh_reset(struct world *w, uint32_t from, uint32_t to)
{
    struct line *l = mesh_line(w, from, to);
    drop_held(l);
    l->reset_us = w->now_us;
    l->last_us = 0;
}

void mesh_swap(struct world *w, uint32_t a, uint32_t b)
{
    uint32_t *hosts = w->mesh->hosts;
    uint32_t at_a = hosts[a];
    hosts[a] = hosts[b];
    hosts[b] = at_a;
}
