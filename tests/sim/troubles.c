/* troubles.c - see troubles.h. */
#include "tests/sim/troubles.h"

#define TROUBLES_MAX 2048u
#define FLAPS_MAX    12u

enum kind {
    CLOG,
    SWIZZLE,
    SLOW_LINE,
    CAP,
    BUFFER,
    LOSSY_LINE,
    BLACK_HOLE,
    DEAD_LANE,
    FLAP_LINE,
    RESET,
    SWAP,
    KIND_COUNT
};

static const enum fault FAULTS[KIND_COUNT] = {
    [CLOG] = FAULT_CLOG,
    [SWIZZLE] = FAULT_SWIZZLE,
    [SLOW_LINE] = FAULT_SLOW_LINE,
    [CAP] = FAULT_CAP,
    [BUFFER] = FAULT_BUFFER,
    [LOSSY_LINE] = FAULT_LOSSY_LINE,
    [BLACK_HOLE] = FAULT_BLACK_HOLE,
    [DEAD_LANE] = FAULT_DEAD_LANE,
    [FLAP_LINE] = FAULT_FLAP_LINE,
    [RESET] = FAULT_RESET,
    [SWAP] = FAULT_SWAP,
};

/* On all lines from a `from` to a `to`; SWAP: of hosts a and b. */
struct trouble {
    enum kind kind;
    bool is_in_force;
    bool from[ENDPOINTS], to[ENDPOINTS];
    uint32_t a, b;
    /* SLOW_LINE: us; CAP: bytes a ms; BUFFER: packets; LOSSY_LINE: per mille;
     * BLACK_HOLE: bytes; DEAD_LANE: a kind of wire.h */
    uint32_t amount;
    uint32_t amount_us; /* BUFFER: in which one of them leaves */
};

struct troubles {
    struct world *w;
    struct trouble all[TROUBLES_MAX];
    uint32_t count;
};

struct troubles *troubles_new(struct world *w)
{
    struct troubles *t = mem_alloc(sizeof *t);
    t->w = w;
    return t;
}

void troubles_free(struct troubles *t)
{
    mem_free(t);
}

/* ---- in force ---------------------------------------------------------- */

static uint32_t amount_of(const struct trouble *t)
{
    return t->is_in_force ? t->amount : 0;
}

/* Of two caps (delays, buffers) on one line the later counts, and the end of
 * either ends both. */
static void set_line(struct world *w, const struct trouble *t, uint32_t from,
                     uint32_t to)
{
    struct line *l = mesh_line(w, from, to);
    switch (t->kind) {
    case CLOG:
    case SWIZZLE:
        l->clogs = (uint16_t)(l->clogs + (t->is_in_force ? 1 : -1));
        mesh_unclog(w, from, to);
        return;
    case SLOW_LINE:
        l->slow_us = amount_of(t);
        return;
    case CAP:
        l->bytes_per_ms = amount_of(t);
        if (!t->is_in_force) /* what waited is late, but holds up nothing */
            l->free_us = l->last_us = 0;
        return;
    case BUFFER:
        l->buffer = amount_of(t);
        l->buffer_us = t->amount_us;
        return;
    case LOSSY_LINE:
        l->loss_per_mille = amount_of(t);
        return;
    case BLACK_HOLE:
        l->size_max = amount_of(t);
        return;
    case DEAD_LANE:
        l->dead_kind = (uint16_t)amount_of(t);
        return;
    case FLAP_LINE:
        l->cuts = (uint16_t)(l->cuts + (t->is_in_force ? 1 : -1));
        return;
    case RESET:
        mesh_reset(w, from, to);
        return;
    case SWAP:
    case KIND_COUNT:
        break;
    }
    ASSERT(!"no trouble of a line");
}

static void set(struct world *w, struct trouble *t, bool is_in_force)
{
    if (t->is_in_force == is_in_force)
        return;
    t->is_in_force = is_in_force;
    if (t->kind == SWAP) {
        mesh_swap(w, t->a, t->b);
        return;
    }
    for (uint32_t i = 0; i < ENDPOINTS; i++)
        for (uint32_t k = 0; k < ENDPOINTS; k++)
            if (i != k && t->from[i] && t->to[k])
                set_line(w, t, i, k);
}

/* Begins that long from now, and goes on for that long. */
static void put(struct troubles *all, const struct trouble *t,
                uint64_t after_us, uint64_t during_us)
{
    if (all->count == TROUBLES_MAX)
        return;
    uint32_t number = all->count++;
    all->all[number] = *t;
    if (after_us == 0)
        set(all->w, &all->all[number], true);
    else
        world_at(all->w, after_us, EVENT_EASE, 1, 0, number, NULL);
    world_at(all->w, after_us + during_us, EVENT_EASE, 0, 0, number, NULL);
}

void troubles_event(struct troubles *t, const struct event *e)
{
    bool is_begun = e->who == 1;
    if (is_begun && !t->w->is_chaos)
        return;
    set(t->w, &t->all[e->number], is_begun);
}

void troubles_end_all(struct troubles *t)
{
    for (uint32_t i = 0; i < t->count; i++)
        set(t->w, &t->all[i], false);
}

/* ---- kinds ------------------------------------------------------------- */

static uint32_t draw_host(struct world *w)
{
    return (uint32_t)world_draw(w, w->host_count - 1);
}

static uint64_t draw_us(struct world *w, uint32_t most_ms)
{
    return 1000 + world_draw(w, (uint64_t)most_ms * 1000);
}

/* All that a host sends (or all that it is sent), or that to (from) one other
 * endpoint. */
static void draw_lines(struct world *w, struct trouble *t)
{
    uint32_t host = draw_host(w);
    bool is_out = rng_chance(&w->rng, 500);
    bool *near = is_out ? t->from : t->to;
    bool *far = is_out ? t->to : t->from;
    near[host] = true;
    if (rng_chance(&w->rng, 500)) {
        memset(far, true, ENDPOINTS);
        return;
    }
    uint32_t other =
        (uint32_t)world_draw(w, w->host_count + w->raw_count + w->user_count);
    if (other >= w->host_count)
        other = HOSTS_MAX + (other - w->host_count) % USERS_MAX;
    far[other] = true;
}

/* What is short comes to a host, and a ring record does not (T29). */
static void leave_uninformed(struct world *w, struct trouble *t)
{
    memset(t->from, true, ENDPOINTS);
    memset(t->to, false, ENDPOINTS);
    t->to[draw_host(w)] = true;
    t->amount = 600 + (uint32_t)world_draw(w, 500);
}

/* Hosts, a drawn part of them, are clogged one by one and freed in another
 * order (FoundationDB's swizzle). */
static void swizzle(struct troubles *all)
{
    struct world *w = all->w;
    uint64_t all_clogged_us = draw_us(w, w->plan.cut_ms / 2);
    for (uint32_t i = 0; i < w->host_count; i++) {
        if (rng_chance(&w->rng, 500))
            continue;
        struct trouble t = {.kind = SWIZZLE};
        uint64_t after_us = 1 + world_draw(w, all_clogged_us);
        t.from[i] = true;
        memset(t.to, true, sizeof t.to);
        put(all, &t, after_us,
            all_clogged_us - after_us + draw_us(w, w->plan.cut_ms / 2));
        t.from[i] = false;
        memset(t.to, false, sizeof t.to);
    }
}

/* Down and up again, and again, both ways. */
static void flap(struct troubles *all, struct trouble *t)
{
    struct world *w = all->w;
    uint64_t times = 3 + world_draw(w, FLAPS_MAX - 3);
    uint64_t at_us = 1;
    for (uint32_t i = 0; i < ENDPOINTS; i++)
        t->from[i] = t->to[i] = t->from[i] || t->to[i];
    for (uint64_t i = 0; i < times; i++) {
        uint64_t down_us = draw_us(w, w->plan.timing.election_ms);
        put(all, t, at_us, down_us);
        at_us += down_us + draw_us(w, w->plan.timing.election_ms);
    }
}

/* One pair at a time: a swap within another is no swap. */
static bool is_swapped(const struct troubles *t)
{
    for (uint32_t i = 0; i < t->count; i++)
        if (t->all[i].kind == SWAP && t->all[i].is_in_force)
            return true;
    return false;
}

static void begin(struct troubles *all, enum kind kind)
{
    struct world *w = all->w;
    struct trouble t = {.kind = kind};
    uint32_t most_ms = w->plan.cut_ms;
    draw_lines(w, &t);
    switch (kind) {
    case CLOG:
        break;
    case SWIZZLE:
        swizzle(all);
        return;
    case SLOW_LINE: /* up to where heartbeats are too late */
        t.amount = (uint32_t)draw_us(w, w->plan.timing.election_ms);
        break;
    case CAP: /* 16 kbit/s to 8 Mbit/s */
        t.amount = 2u << world_draw(w, 9);
        break;
    case BUFFER:
        t.amount = 1 + (uint32_t)world_draw(w, 15);
        t.amount_us = (uint32_t)draw_us(w, 5);
        break;
    case LOSSY_LINE:
        t.amount = 300 + (uint32_t)world_draw(w, 690);
        break;
    case BLACK_HOLE:
        t.amount = 300 + (uint32_t)world_draw(w, 1200);
        if (rng_chance(&w->rng, 500))
            break;
        most_ms = 3 * w->plan.cut_ms;
        leave_uninformed(w, &t);
        break;
    case DEAD_LANE:
        t.amount =
            wire_lane_kind((enum wire_lane)world_draw(w, LANE_COUNT - 1));
        break;
    case FLAP_LINE:
        flap(all, &t);
        return;
    case RESET: /* both ways */
        for (uint32_t i = 0; i < ENDPOINTS; i++)
            t.from[i] = t.to[i] = t.from[i] || t.to[i];
        most_ms = 0;
        break;
    case SWAP:
        if (is_swapped(all))
            return;
        t.a = draw_host(w);
        t.b = (t.a + 1 + (uint32_t)world_draw(w, w->host_count - 2)) %
              w->host_count;
        break;
    case KIND_COUNT:
        break;
    }
    put(all, &t, 0, draw_us(w, most_ms));
}

/* Counted where it takes one. */
static bool is_of_packets(enum kind kind)
{
    return kind == CAP || kind == BUFFER || kind == LOSSY_LINE ||
           kind == BLACK_HOLE || kind == DEAD_LANE;
}

void troubles_strike(struct troubles *t)
{
    struct world *w = t->w;
    uint64_t at = world_draw(w, KIND_COUNT - 1);
    for (uint32_t i = 0; i < KIND_COUNT; i++) {
        enum kind kind = (enum kind)((at + i) % KIND_COUNT);
        if (!fault_may(w, FAULTS[kind]))
            continue;
        world_fault(w, "the network: %s", fault_words(FAULTS[kind]));
        if (!is_of_packets(kind))
            fault_count(w, FAULTS[kind]);
        begin(t, kind);
        return;
    }
}
