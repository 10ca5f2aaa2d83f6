/* watch_image.c - folders that go back, and what may be lost: the fault atlas
 * (the idea is TigerBeetle's). A promise to keep what is on a majority's disks
 * says nothing once a majority has lost it; so a disk may be damaged only while
 * every group keeps a majority that is whole. See watch.h. */
#include "tests/sim/watch_impl.h"

struct watch_image {
    struct disk disks[PLAN_GROUPS_MAX];
    uint64_t boots_seen[HOSTS_MAX];
};

/* ---- images ------------------------------------------------------------ */

static void copy_disks(struct disk *to, const struct disk *from, uint32_t count)
{
    for (uint32_t g = 0; g < count; g++) {
        mem_free(to[g].entries);
        to[g] = from[g];
        to[g].capacity = from[g].count + 1;
        to[g].entries = mem_alloc(to[g].capacity * sizeof *to[g].entries);
        for (size_t i = 0; i < from[g].count; i++)
            to[g].entries[i] = from[g].entries[i];
    }
}

struct watch_image *watch_image(const struct watch *a, const struct host *h)
{
    const struct host_watch *hw = &a->hosts[h->index];
    struct watch_image *i = mem_alloc(sizeof *i);
    copy_disks(i->disks, hw->disks, a->w->plan.groups);
    memcpy(i->boots_seen, hw->boots_seen, sizeof i->boots_seen);
    return i;
}

void watch_image_free(struct watch_image *i)
{
    if (i == NULL)
        return;
    for (uint32_t g = 0; g < PLAN_GROUPS_MAX; g++)
        mem_free(i->disks[g].entries);
    mem_free(i);
}

void watch_restore(struct watch *a, struct host *h, const struct watch_image *i)
{
    struct host_watch *hw = &a->hosts[h->index];
    for (uint32_t g = 0; g < a->w->plan.groups; g++) {
        struct former *f = &hw->formers[g];
        const struct disk *d = &hw->disks[g];
        if (d->is_there && (f->added != d->added || f->count < d->count))
            *f = (struct former){d->added, d->count};
    }
    copy_disks(hw->disks, i->disks, a->w->plan.groups);
    memcpy(hw->boots_seen, i->boots_seen, sizeof i->boots_seen);
}

/* ---- may a disk be damaged? -------------------------------------------- */

/* What its log of the group had once it has, or has again. */
static bool is_whole(const struct watch *a, uint32_t group,
                     const struct host *h, const struct host *victim)
{
    const struct host_watch *hw = &a->hosts[h->index];
    const struct disk *d = &hw->disks[group];
    const struct former *f = &hw->formers[group];
    bool is_short = d->is_there && d->added == f->added && d->count < f->count;
    return h != victim && !h->is_lost && !h->is_rotten && !h->is_damaged &&
           !h->is_ghost && !is_short;
}

/* A learner that is lost may be promoted yet, within the election timeout for
 * which its leader takes it for live: of one voter and it, that is no majority
 * any more (T16; seed 433). */
static bool has_whole_majority(const struct watch *a, uint32_t group,
                               const struct config *c, const void *ctx)
{
    const struct host *victim = ctx;
    uint32_t voters = config_voters(c);
    uint32_t whole = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        const struct config_member *m = &c->members[i];
        const struct host *h = host_of(a->w, m->replica.node);
        whole += m->is_voter && is_whole(a, group, h, victim);
        voters += !m->is_voter && h == victim;
    }
    return whole > voters / 2;
}

bool watch_may_lose(const struct watch *a, struct host *victim)
{
    for (uint32_t g = 0; g < a->w->plan.groups; g++)
        if (!watch_each_config(a, g, has_whole_majority, victim))
            return false;
    return true;
}

/* ---- may it go back within a boot? ------------------------------------- */

struct loss {
    const struct host *host;
    const struct variant *entry;
    uint64_t index;
};

/* The entry is on the disks of a majority even without this one. */
static bool is_elsewhere(const struct watch *a, uint32_t group,
                         const struct config *c, const void *ctx)
{
    const struct loss *l = ctx;
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        const struct host *h = host_of(a->w, c->members[i].replica.node);
        const struct disk *d = &a->hosts[h->index].disks[group];
        count += c->members[i].is_voter && is_whole(a, group, h, l->host) &&
                 d->is_there && d->added == c->members[i].replica.added &&
                 d->count >= l->index && d->entries[l->index - 1] == l->entry;
    }
    return count > config_voters(c) / 2;
}

static bool is_same_replica(const struct disk *a, const struct disk *b)
{
    return a->is_there == b->is_there && a->is_installing == b->is_installing &&
           a->incarnation == b->incarnation && a->added == b->added &&
           a->added_most == b->added_most && a->hard.term == b->hard.term &&
           replica_equal(a->hard.vote, b->hard.vote);
}

static uint64_t newest_config(const struct group_watch *gw,
                              const struct disk *d)
{
    uint64_t newest = 0;
    for (size_t i = 0; i < gw->config_count; i++) {
        const struct config_seen *c = &gw->configs[i];
        if (c->index <= d->count && d->entries[c->index - 1]->term == c->term)
            newest = max_u64(newest, c->index);
    }
    return newest;
}

/* With what is left it may be elected by the configuration that is left, too,
 * or by one in between, and by those of them who have been removed since. */
static bool is_elsewhere_of_old(const struct watch *a, uint32_t group,
                                const struct disk *then, struct loss *l)
{
    const struct group_watch *gw = &a->groups[group];
    uint64_t from = newest_config(gw, then);
    for (size_t i = 0; i < gw->config_count; i++) {
        const struct config_seen *seen = &gw->configs[i];
        const struct variant *v = gw->slots[seen->index].variants;
        struct config c;
        while (v != NULL && v->term != seen->term)
            v = v->next;
        if (seen->index >= from && v != NULL &&
            entry_read_config(span_buf(&v->manifest), &c) == ERR_OK &&
            !is_elsewhere(a, group, &c, l))
            return false;
    }
    return true;
}

static bool may_forget(const struct watch *a, const struct host *h,
                       uint32_t group, const struct disk *then)
{
    const struct disk *now = &a->hosts[h->index].disks[group];
    if (!is_same_replica(now, then) || now->count < then->count)
        return false;
    if (!now->is_there)
        return true;
    for (size_t i = 0; i < then->count; i++)
        if (now->entries[i] != then->entries[i])
            return false;
    for (size_t i = then->count; i < now->count; i++) {
        struct loss l = {h, now->entries[i], i + 1};
        if (!watch_each_config(a, group, is_elsewhere, &l) ||
            !is_elsewhere_of_old(a, group, then, &l))
            return false;
    }
    return true;
}

bool watch_may_forget(const struct watch *a, const struct host *h,
                      const struct watch_image *i, uint64_t *lost)
{
    *lost = 0;
    for (uint32_t g = 0; g < a->w->plan.groups; g++) {
        if (!may_forget(a, h, g, &i->disks[g]))
            return false;
        *lost += a->hosts[h->index].disks[g].count - i->disks[g].count;
    }
    return true;
}

/* ---- boots ------------------------------------------------------------- */

void watch_boots(struct watch *a, const struct host *h, struct span row)
{
    struct host_watch *hw = &a->hosts[h->index];
    struct dec d = dec_of(row);
    memset(hw->boots_seen, 0, sizeof hw->boots_seen);
    while (dec_left(&d) > 0) {
        const struct host *peer = host_of(a->w, dec_id(&d));
        uint64_t boot = dec_u64(&d);
        (void)dec_u32(&d);
        if (peer != NULL)
            hw->boots_seen[peer->index] = boot;
    }
}

uint64_t watch_boot_seen(const struct watch *a, const struct host *h,
                         uint32_t other)
{
    return a->hosts[h->index].boots_seen[other];
}

bool watch_all_know(const struct watch *a, const struct host *h, uint64_t boot)
{
    for (uint32_t i = 0; i < a->w->host_count; i++) {
        const struct host *other = a->w->hosts[i];
        if (other == h || other->is_lost)
            continue;
        if (!other->is_member || other->is_ghost ||
            a->hosts[i].boots_seen[h->index] < boot)
            return false;
    }
    return true;
}
