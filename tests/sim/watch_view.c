/* watch_view.c - who thinks whom alive; see watch.h. */
#include "tests/sim/watch_impl.h"

static bool is_older(const struct swim_member *m, const struct view *v)
{
    if (m->boot != v->boot)
        return m->boot < v->boot;
    if (m->version != v->version)
        return m->version < v->version;
    return m->state < v->state;
}

/* I25: (boot, version, state) of what is thought of another only rises, in the
 * order ALIVE, SUSPECT, DEAD: the dead come back by a higher incarnation. */
void watch_view(struct watch *a, struct host *h)
{
    struct host_watch *hw = &a->hosts[h->index];
    const struct swim *s = node_swim(h->node);
    if (s->news_count == hw->news_count)
        return;
    hw->news_count = s->news_count;
    for (uint32_t i = 0; i < a->w->host_count; i++) {
        const struct host *other = a->w->hosts[i];
        const struct swim_member *m = swim_member(s, other->id);
        struct view *v = &hw->views[i];
        if (m == NULL)
            continue;
        MUST_HOLD(a->w, I25, !is_older(m, v),
                  "n%u takes n%u for %s in %llu.%u, after %s in %llu.%u",
                  h->index + 1, other->index + 1, swim_state_name(m->state),
                  ull(m->boot), m->version, swim_state_name(v->state),
                  ull(v->boot), v->version);
        uint64_t newest = a->hosts[i].newest_boot;
        MUST_HOLD(a->w, I15, m->boot <= newest,
                  "n%u believes in boot %llu of n%u, which is at %llu",
                  h->index + 1, ull(m->boot), other->index + 1, ull(newest));
        *v = (struct view){m->boot, m->version, m->state};
    }
}
