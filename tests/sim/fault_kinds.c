/* fault_kinds.c - see fault_kinds.h. */
#include "tests/sim/fault_kinds.h"

#include "tests/sim/world.h"

static const struct {
    const char *name, *words;
    uint32_t per_mille;
} KINDS[FAULT_COUNT] = {
#define X(name, per_mille, words) {#name, words, per_mille},
    FAULT_KINDS(X)
#undef X
};

const char *fault_name(enum fault kind)
{
    return KINDS[kind].name;
}

const char *fault_words(enum fault kind)
{
    return KINDS[kind].words;
}

void fault_draw(bool has[FAULT_COUNT], uint64_t seed)
{
    for (size_t i = 0; i < FAULT_COUNT; i++) {
        struct rng r;
        rng_seed(&r, seed ^ hash64(span_str(KINDS[i].name)));
        has[i] = rng_chance(&r, KINDS[i].per_mille);
    }
}

bool fault_may(const struct world *w, enum fault kind)
{
    return w->is_chaos && w->plan.has[kind] && !w->cfg.no[kind];
}

bool fault_strikes(struct world *w, enum fault kind, uint32_t per_mille)
{
    if (!fault_may(w, kind))
        return false;
    w->totals.chances[kind]++;
    if (!rng_chance(&w->rng, per_mille))
        return false;
    fault_count(w, kind);
    return true;
}

void fault_count(struct world *w, enum fault kind)
{
    w->totals.faults[kind]++;
}
