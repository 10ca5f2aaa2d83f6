/* orders.c - see orders.h. */
#include "tests/sim/orders.h"

#include <stdio.h>

#include "tests/sim/host.h"
#include "tests/sim/user.h"

#define ZONES      3u
#define OPEN_MAX   16u
#define COPIES_MAX 5u

/* What is changed: of each host its zone, of the ring N. */
enum what { ZONE, COPIES, WHAT_COUNT };

static const enum fault FAULTS[WHAT_COUNT] = {
    [ZONE] = FAULT_REZONE,
    [COPIES] = FAULT_COPIES,
};

static const char *const WORDS[WHAT_COUNT] = {
    [ZONE] = "zone",
    [COPIES] = "N",
};

/* The values that one of them may have: the last acknowledged one, and those
 * whose outcome nobody knows since. */
struct value {
    uint32_t may_be[1 + OPEN_MAX];
    uint32_t count;
};

struct orders {
    struct world *w;
    struct value values[WHAT_COUNT][HOSTS_MAX];
    bool is_asking;
    enum what what;
    uint32_t host;
    uint32_t asked; /* value */
};

struct orders *orders_new(struct world *w)
{
    struct orders *o = mem_alloc(sizeof *o);
    o->w = w;
    for (uint32_t i = 0; i < HOSTS_MAX; i++) {
        o->values[ZONE][i] = (struct value){{0}, 1};
        o->values[COPIES][i] = (struct value){{w->plan.copies}, 1};
    }
    return o;
}

void orders_free(struct orders *o)
{
    mem_free(o);
}

/* ---- asking ------------------------------------------------------------ */

static struct change change_of(const struct orders *o)
{
    struct change c = {0};
    switch (o->what) {
    case ZONE:
        c.kind = CHANGE_ZONE;
        if (o->asked != 0)
            (void)snprintf(c.zone, sizeof c.zone, "z%u", o->asked);
        break;
    case COPIES:
        c.kind = CHANGE_COPIES;
        c.value = o->asked;
        break;
    case WHAT_COUNT:
        break;
    }
    return c;
}

/* One more copy or one less than there are, never fewer than at first: what
 * was acknowledged with as many shall not have fewer. */
static uint32_t draw_copies(const struct orders *o)
{
    struct world *w = o->w;
    uint32_t now = o->values[COPIES][0].may_be[0];
    bool is_up = rng_chance(&w->rng, 500);
    if (is_up)
        return now < COPIES_MAX ? now + 1 : now;
    return now > w->plan.copies ? now - 1 : now;
}

static void draw(struct orders *o, enum what what)
{
    struct world *w = o->w;
    o->what = what;
    o->host = (uint32_t)world_draw(w, w->host_count - 1);
    if (what == ZONE)
        o->asked = (uint32_t)world_draw(w, ZONES);
    else
        o->asked = draw_copies(o);
    if (what == COPIES)
        o->host = 0;
}

void orders_strike(struct orders *o)
{
    struct world *w = o->w;
    uint64_t at = world_draw(w, WHAT_COUNT - 1);
    for (uint32_t i = 0; i < WHAT_COUNT && !o->is_asking; i++) {
        enum what what = (enum what)((at + i) % WHAT_COUNT);
        if (!fault_may(w, FAULTS[what]))
            continue;
        draw(o, what);
        struct change c = change_of(o);
        o->is_asking = user_change(w->users[0], &c, w->hosts[o->host]);
        if (o->is_asking) {
            fault_count(w, FAULTS[what]);
            world_fault(w, "an operator asks for %s %u%s%s", WORDS[what],
                        o->asked, what == COPIES ? "" : " of ",
                        what == COPIES ? "" : w->hosts[o->host]->name);
        }
        return;
    }
}

/* ---- what came of it --------------------------------------------------- */

void orders_answered(struct orders *o, enum err err)
{
    struct value *v = &o->values[o->what][o->host];
    ASSERT(o->is_asking);
    o->is_asking = false;
    world_trace(o->w, "the operator is told %s", err_name(err));
    if (err == ERR_OK)
        *v = (struct value){{o->asked}, 1};
    else if (err == ERR_TIMEOUT && v->count <= OPEN_MAX)
        v->may_be[v->count++] = o->asked;
}

static uint32_t value_in(const struct record *r, enum what what, uint16_t slot)
{
    if (what == COPIES)
        return r->copies;
    const struct member *m = &r->members[slot];
    return m->zone[0] == 0 ? 0 : (uint32_t)(m->zone[1] - '0');
}

/* Of what is still under way nobody knows either. */
static bool is_under_way(const struct orders *o, enum what what, uint32_t host,
                         uint32_t is)
{
    return o->is_asking && o->what == what && o->host == host && o->asked == is;
}

static bool may_be(const struct value *v, uint32_t is)
{
    for (uint32_t i = 0; i < v->count; i++)
        if (v->may_be[i] == is)
            return true;
    return false;
}

void orders_check(struct orders *o, const struct record *r)
{
    struct world *w = o->w;
    for (uint32_t what = 0; what < WHAT_COUNT; what++) {
        for (uint32_t i = 0; i < w->host_count; i++) {
            uint16_t slot = record_slot(r, w->hosts[i]->id);
            if (slot == SLOT_NONE || (what == COPIES && i > 0))
                continue;
            uint32_t is = value_in(r, (enum what)what, slot);
            MUST_HOLD(w, T26,
                      may_be(&o->values[what][i], is) ||
                          is_under_way(o, (enum what)what, i, is),
                      "of %s the record says %u; the operator was told %u",
                      what == COPIES ? "N" : w->hosts[i]->name, is,
                      o->values[what][i].may_be[0]);
        }
    }
}
