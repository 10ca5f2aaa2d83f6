/* story.c - see story.h. */
#include "tests/sim/story.h"

#include "tests/sim/host.h"
#include "tests/sim/watch.h"

/* ---- cuts -------------------------------------------------------------- */

static void add_name(struct buf *text, const struct world *w, uint32_t endpoint,
                     const char *before)
{
    if (endpoint < HOSTS_MAX)
        buf_printf(text, "%s%s", before, w->hosts[endpoint]->name);
    else
        buf_printf(text, "%suser%u", before, endpoint - HOSTS_MAX);
}

static bool is_there(const struct world *w, uint32_t endpoint)
{
    return endpoint < HOSTS_MAX
               ? endpoint < w->host_count
               : endpoint - HOSTS_MAX < w->raw_count + w->user_count;
}

/* The endpoints there are that `from` does not reach. */
static uint64_t unreached(const struct world *w, uint32_t from,
                          const bool blocks[ENDPOINTS][ENDPOINTS])
{
    uint64_t bits = 0;
    for (uint32_t k = 0; k < ENDPOINTS; k++)
        if (blocks[from][k] && is_there(w, k))
            bits |= (uint64_t)1 << k;
    return bits;
}

static void add_names(struct buf *text, const struct world *w, uint64_t bits)
{
    const char *before = "";
    for (uint32_t i = 0; i < ENDPOINTS; i++) {
        if ((bits >> i & 1) == 0)
            continue;
        add_name(text, w, i, before);
        before = ",";
    }
}

void story_cut(const struct world *w, uint32_t number,
               const bool blocks[ENDPOINTS][ENDPOINTS], uint64_t for_us)
{
    _Static_assert(ENDPOINTS <= 64, "they are bits of a word");
    if (!w->cfg.is_traced)
        return;
    struct buf text = {0};
    uint64_t told = 0;
    for (uint32_t i = 0; i < ENDPOINTS; i++) {
        uint64_t to = is_there(w, i) ? unreached(w, i, blocks) : 0;
        if (to == 0 || (told >> i & 1) != 0)
            continue;
        uint64_t from = 0; /* all that are cut off from the same */
        for (uint32_t k = i; k < ENDPOINTS; k++)
            if (is_there(w, k) && unreached(w, k, blocks) == to)
                from |= (uint64_t)1 << k;
        told |= from;
        add_names(&text, w, from);
        buf_printf(&text, " -/-> ");
        add_names(&text, w, to);
        buf_printf(&text, "; ");
    }
    world_fault(w, "cut %u: %.*sfor %.1f s", number, (int)text.size,
                (const char *)text.data, (double)for_us / 1e6);
    buf_free(&text);
}

/* ---- the cluster ------------------------------------------------------- */

void story_config(const struct world *w, uint32_t group, const struct config *c)
{
    if (!w->cfg.is_traced)
        return;
    struct buf text = {0};
    for (uint32_t i = 0; i < c->count; i++) {
        const struct config_member *m = &c->members[i];
        const struct host *h = host_of(w, m->replica.node);
        buf_printf(&text, m->is_voter ? " %s+%llu" : " (%s+%llu learns)",
                   h == NULL ? "?" : h->name,
                   (unsigned long long)m->replica.added);
    }
    world_trace(w, "group %u is%.*s, says its entry %llu, committed", group,
                (int)text.size, (const char *)text.data,
                (unsigned long long)c->index);
    buf_free(&text);
}

void story_so_far(const struct world *w)
{
    if (!w->cfg.is_traced)
        return;
    struct buf text = {0};
    for (uint32_t i = 0; i < w->host_count; i++) {
        const struct host *h = w->hosts[i];
        uint32_t led = 0;
        for (uint32_t g = 0; g < w->plan.groups && h->node != NULL; g++)
            led += watch_leader(w->watch, g) == h;
        if (!h->is_member)
            buf_printf(&text, " %s is no member;", h->name);
        else if (h->node == NULL)
            buf_printf(&text, " %s is down;", h->name);
        else
            buf_printf(&text, " %s leads %u%s;", h->name, led,
                       h->is_paused ? ", paused" : "");
    }
    world_trace(w, "so far:%.*s %llu appends acknowledged", (int)text.size,
                (const char *)text.data, (unsigned long long)w->totals.appends);
    buf_free(&text);
}
