/* final.c - see final.h. */
#include "tests/sim/final.h"

#include <stdio.h>

#include "tests/sim/faults.h"
#include "tests/sim/raw.h"
#include "tests/sim/user.h"
#include "tests/sim/watch.h"

#define LEADERS_MS  15000u
#define SETTLED_MS  60000u
#define ANSWERED_MS 40000u
#define PROVED_MS   40000u
#define READ_MS     60000u
#define QUIET_MS    5000u
#define APPENDS_MIN 500u
#define APPENDS_MS  120000u
/* Pre-votes keep a replica that is cut off from counting up its term: those
 * that nobody won are few. */
#define IDLE_TERMS_MAX 20u

/* ---- what must come to be ---------------------------------------------- */

/* Why it is not so yet; "" if it is. */
static char why[200];

static bool not_yet(const char *what, uint32_t group, const struct host *h)
{
    (void)snprintf(why, sizeof why, "%s (group %u%s%s)", what, group,
                   h == NULL ? "" : ", ", h == NULL ? "" : h->name);
    return false;
}

static bool have_leaders(struct world *w)
{
    for (uint32_t g = 0; g < w->plan.groups; g++) {
        const struct host *h = watch_leader(w->watch, g);
        if (h == NULL || !raft_is_ready(node_raft(h->node, g)))
            return not_yet("no leader", g, h);
    }
    return true;
}

static bool is_row(const struct record *r, uint32_t group,
                   const struct config *c)
{
    uint32_t count;
    (void)record_row(r, group, &count);
    for (uint32_t i = 0; i < c->count; i++) {
        uint16_t slot = record_slot(r, c->members[i].replica.node);
        if (!c->members[i].is_voter ||
            record_rank(r, group, slot) == REPLICAS_MAX)
            return false;
    }
    return count == c->count;
}

static bool has_group_settled(struct world *w, uint32_t g)
{
    struct host *leader = watch_leader(w->watch, g);
    if (leader == NULL)
        return not_yet("no leader", g, NULL);
    const struct raft *r = node_raft(leader->node, g);
    if (!raft_is_ready(r) || raft_commit(r) != raft_last(r))
        return not_yet("not all is committed", g, leader);
    const struct config *c = raft_config(r);
    if (!is_row(node_record(leader->node), g, c))
        return not_yet("its members are not its row", g, leader);
    for (uint32_t i = 0; i < w->host_count; i++) {
        struct host *h = w->hosts[i];
        const struct raft *other = node_raft(h->node, g);
        bool is_member = config_find_node(c, h->id) != NULL;
        if (is_member != (other != NULL))
            return not_yet(is_member ? "a replica is missing"
                                     : "a replica is too many",
                           g, h);
        if (is_member && (node_applied(h->node, g) != raft_commit(r) ||
                          raft_durable_index(other) != raft_last(r)))
            return not_yet("a replica lags", g, h);
    }
    return true;
}

static bool is_settled(struct world *w)
{
    const struct record *first = node_record(w->hosts[0]->node);
    for (uint32_t i = 0; i < w->host_count; i++) {
        const struct host *h = w->hosts[i];
        if (h->node == NULL)
            return not_yet("a host is down", 0, h);
        const struct record *r = node_record(h->node);
        if (r->epoch.number != first->epoch.number)
            return not_yet("an old record", 0, h);
        uint16_t slot = record_slot(first, h->id);
        if (slot == SLOT_NONE || first->members[slot].seen != SEEN_UP)
            return not_yet("a member is not up", 0, h);
    }
    for (uint32_t g = 0; g < w->plan.groups; g++)
        if (!has_group_settled(w, g))
            return false;
    return true;
}

static bool are_answered(struct world *w)
{
    for (uint32_t i = 0; i < w->raw_count; i++)
        if (!raw_is_idle(w->raws[i]))
            return false;
    for (uint32_t i = 0; i < w->user_count; i++)
        if (!user_is_idle(w->users[i]))
            return false;
    return true;
}

static bool has_proved(struct world *w)
{
    return user_has_proved(w->users[0]);
}

static bool has_read_all(struct world *w)
{
    return user_has_read_all(w->users[0]);
}

static bool are_enough(struct world *w)
{
    return w->totals.appends >= APPENDS_MIN;
}

static bool are_quiet(struct world *w)
{
    for (uint32_t i = 0; i < w->host_count; i++)
        if (w->hosts[i]->input_count > 0 || w->hosts[i]->batch != NULL)
            return false;
    return true;
}

/* ---- the end ----------------------------------------------------------- */

static void dump(struct world *w)
{
    struct buf text = {0};
    for (uint32_t i = 0; i < w->host_count; i++)
        if (w->hosts[i]->node != NULL)
            node_dump(w->hosts[i]->node, &text);
    (void)fprintf(stderr, "%.*s", (int)text.size, (const char *)text.data);
    buf_free(&text);
}

static void need(struct world *w, world_fn is_done, uint32_t limit_ms,
                 const char *what)
{
    w->doing = what;
    why[0] = 0;
    if (world_wait(w, is_done, limit_ms))
        return;
    dump(w);
    world_fail(w, SIM_LIVENESS, "not so after %u s: %s: %s", limit_ms / 1000,
               what, why);
}

static void check_terms(struct world *w)
{
    struct totals *t = &w->totals;
    for (uint32_t g = 0; g < w->plan.groups; g++) {
        uint64_t idle = watch_idle_terms(w->watch, g);
        t->idle_terms_most = max_u64(t->idle_terms_most, idle);
        t->elections_most =
            max_u64(t->elections_most, watch_elections(w->watch, g));
        if (idle > IDLE_TERMS_MAX)
            world_fail(w, SIM_LIVENESS,
                       "V6: group %u has gone through %llu terms without a "
                       "leader",
                       g, (unsigned long long)idle);
    }
}

void final_settle(struct world *w)
{
    need(w, is_settled, SETTLED_MS, "all groups are as their rows say");
}

void final_run(struct world *w)
{
    world_trace(w, "all is HEALED");
    faults_heal(w->faults);
    uint64_t healed_us = w->now_us;
    need(w, have_leaders, LEADERS_MS, "every group has a leader");
    need(w, are_enough, APPENDS_MS, "users append");
    w->is_healing = true;
    need(w, are_answered, ANSWERED_MS, "every append is answered");
    final_settle(w);
    w->totals.healed_ms = (w->now_us - healed_us) / 1000;
    user_prove(w->users[0], true);
    need(w, has_proved, PROVED_MS, "an append to each stream is acknowledged");
    need(w, has_read_all, READ_MS, "all of each stream is read");
    need(w, is_settled, SETTLED_MS, "all replicas have all of it");
    w->doing = "the end is checked";
    check_terms(w);
    user_prove(w->users[0], false);
    for (uint32_t i = 0; i < w->host_count; i++)
        node_check(w->hosts[i]->node);
    ops_check(w->ops);
    if (!world_wait(w, are_quiet, QUIET_MS))
        world_fail(w, SIM_LIVENESS, "the hosts do not come to rest");
    for (uint32_t i = 0; i < w->host_count; i++)
        host_check_leaks(w->hosts[i]);
}
