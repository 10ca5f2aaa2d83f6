/* cuts.c - see cuts.h. */
#include "tests/sim/cuts.h"

#include "tests/sim/story.h"

struct cuts {
    struct world *w;
    struct cut all[CUTS_MAX];
    uint32_t count;
};

struct cuts *cuts_new(struct world *w)
{
    struct cuts *c = mem_alloc(sizeof *c);
    c->w = w;
    return c;
}

void cuts_free(struct cuts *c)
{
    mem_free(c);
}

/* ---- in force ---------------------------------------------------------- */

static void lay(struct world *w, const struct cut *cut, int by)
{
    for (uint32_t i = 0; i < ENDPOINTS; i++) {
        for (uint32_t k = 0; k < ENDPOINTS; k++) {
            struct line *l = mesh_line(w, i, k);
            if (cut->blocks[i][k])
                l->cuts = (uint16_t)(l->cuts + by);
        }
    }
}

uint32_t cuts_begin(struct cuts *c, const struct cut *cut, uint32_t until_ms)
{
    struct world *w = c->w;
    if (c->count == CUTS_MAX)
        return CUTS_MAX;
    c->all[c->count] = *cut;
    c->all[c->count].is_in_force = true;
    lay(w, cut, 1);
    w->totals.partitions++;
    uint64_t for_us = 1000 + world_draw(w, (uint64_t)until_ms * 1000);
    world_at(w, for_us, EVENT_HEAL, 0, 0, c->count, NULL);
    story_cut(w, c->count + 1, cut->blocks, for_us);
    return c->count++;
}

void cuts_mend(struct cuts *c, uint32_t number)
{
    if (number >= c->count || !c->all[number].is_in_force)
        return;
    c->all[number].is_in_force = false;
    lay(c->w, &c->all[number], -1);
    world_fault(c->w, "cut %u is mended", number + 1);
}

void cuts_mend_all(struct cuts *c)
{
    for (uint32_t i = 0; i < c->count; i++)
        cuts_mend(c, i);
}

/* ---- shapes ------------------------------------------------------------ */

/* Hosts in a drawn order, and on which side each is. */
struct draft {
    struct world *w;
    struct cut cut;
    uint32_t count;
    uint32_t order[HOSTS_MAX];
    bool sides[HOSTS_MAX];
};

static void shuffle(struct draft *d)
{
    for (uint32_t i = 0; i < d->count; i++) {
        uint32_t at = (uint32_t)world_draw(d->w, i);
        d->order[i] = d->order[at];
        d->order[at] = i;
    }
}

static void part(struct draft *d, uint32_t a, uint32_t b)
{
    d->cut.blocks[a][b] = d->cut.blocks[b][a] = true;
}

static void part_sides(struct draft *d)
{
    for (uint32_t i = 0; i < d->count; i++)
        for (uint32_t k = 0; k < i; k++)
            if (d->sides[i] != d->sides[k])
                part(d, i, k);
}

/* The first so many of the order are on one side. */
static void split(struct draft *d, uint32_t size)
{
    for (uint32_t i = 0; i < size; i++)
        d->sides[d->order[i]] = true;
    part_sides(d);
}

static void draw_coins(struct draft *d)
{
    for (uint32_t i = 0; i < d->count; i++)
        d->sides[i] = rng_chance(&d->w->rng, 500);
    part_sides(d);
}

static void draw_bridge(struct draft *d)
{
    uint32_t bridge = d->order[d->count - 1];
    split(d, 1 + (uint32_t)world_draw(d->w, d->count - 3));
    for (uint32_t i = 0; i < d->count; i++)
        d->cut.blocks[i][bridge] = d->cut.blocks[bridge][i] = false;
}

static void draw_leaves(struct draft *d)
{
    for (uint32_t leaf = 0; leaf < 2; leaf++) {
        uint32_t a = d->order[leaf];
        uint32_t at = 2 + (uint32_t)world_draw(d->w, d->count - 3);
        d->sides[a] = true;
        for (uint32_t i = 0; i < d->count; i++)
            if (i != a && i != d->order[at])
                part(d, a, i);
    }
}

/* Some users do not see some hosts, which see each other. */
static void draw_users(struct draft *d)
{
    for (uint32_t u = HOSTS_MAX; u < ENDPOINTS; u++) {
        uint32_t unseen = (uint32_t)world_draw(d->w, d->count);
        shuffle(d);
        for (uint32_t i = 0; i < unseen; i++)
            part(d, u, d->order[i]);
    }
}

static void draw_shape(struct draft *d, enum fault shape)
{
    shuffle(d);
    if (shape == FAULT_CUT_SPLIT)
        split(d, 1 + (uint32_t)world_draw(d->w, d->count - 2));
    else if (shape == FAULT_CUT_COINS)
        draw_coins(d);
    else if (shape == FAULT_CUT_ONE)
        split(d, 1);
    else if (shape == FAULT_CUT_BRIDGE)
        draw_bridge(d);
    else if (shape == FAULT_CUT_LEAVES)
        draw_leaves(d);
    else if (shape == FAULT_CUT_USERS)
        draw_users(d);
    else
        part(d, d->order[0], d->order[1]);
    if (shape == FAULT_CUT_PAIR)
        d->sides[d->order[0]] = true;
}

/* Of what lies between the sides one direction is left. */
static void make_one_way(struct draft *d)
{
    bool is_out = rng_chance(&d->w->rng, 500);
    for (uint32_t i = 0; i < d->count; i++)
        for (uint32_t k = 0; k < d->count; k++)
            if (d->sides[i] != d->sides[k] && d->sides[i] != is_out)
                d->cut.blocks[i][k] = false;
}

/* A user sees of the hosts what the one that it is near to sees. */
static void place_users(struct draft *d)
{
    for (uint32_t u = HOSTS_MAX; u < ENDPOINTS; u++) {
        uint32_t near = (uint32_t)world_draw(d->w, d->count - 1);
        for (uint32_t i = 0; i < d->count; i++) {
            d->cut.blocks[u][i] = d->cut.blocks[near][i];
            d->cut.blocks[i][u] = d->cut.blocks[i][near];
        }
    }
}

static const enum fault SHAPES[] = {
    FAULT_CUT_ONE,    FAULT_CUT_SPLIT, FAULT_CUT_COINS, FAULT_CUT_BRIDGE,
    FAULT_CUT_LEAVES, FAULT_CUT_PAIR,  FAULT_CUT_USERS,
};
#define SHAPE_COUNT (sizeof SHAPES / sizeof *SHAPES)

/* FAULT_COUNT: the history has none of them. One alone, which is the worst
 * for Raft, is as likely as the plan says. */
static enum fault choose_shape(struct world *w)
{
    if (world_draw(w, 99) < w->plan.isolations_percent &&
        fault_may(w, FAULT_CUT_ONE))
        return FAULT_CUT_ONE;
    uint64_t at = world_draw(w, SHAPE_COUNT - 1);
    for (size_t i = 0; i < SHAPE_COUNT; i++) {
        enum fault shape = SHAPES[(at + i) % SHAPE_COUNT];
        if (fault_may(w, shape))
            return shape;
    }
    return FAULT_COUNT;
}

void cuts_strike(struct cuts *c)
{
    struct world *w = c->w;
    struct draft d = {.w = w, .count = w->host_count};
    enum fault shape = choose_shape(w);
    if (shape == FAULT_COUNT || c->count == CUTS_MAX)
        return;
    fault_count(w, shape);
    draw_shape(&d, shape);
    if (shape != FAULT_CUT_USERS) {
        if (fault_strikes(w, FAULT_CUT_ONE_WAY, 400))
            make_one_way(&d);
        if (rng_chance(&w->rng, 500))
            place_users(&d);
    }
    (void)cuts_begin(c, &d.cut, w->plan.cut_ms);
}
