/* node_standing.c - on whom the groups count, as their leaders state it.
 *
 * Every leader tells the nodes of group 0's row, again and again, what its
 * group's committed configuration is, and the highest ring epoch that an
 * applied entry of its log bears. Of a member that drains or has left, group
 * 0's leader so learns when no group counts on it any more (T6): each has
 * stated a configuration without it, and its log bears an epoch at or above
 * the one that sent it away, so that no later leader can act for an older
 * record and call it back (T29). A group that had nothing to change writes one
 * entry that does nothing but bear the epoch.
 *
 * A statement is a fact, not a hint: it is of what has committed. It is kept in
 * memory only; a new leader of group 0 hears all of it within a probe
 * interval. */
#include "node/node_impl.h"

/* ---- stating ----------------------------------------------------------- */

static void describe(const struct node *n, const struct group *g,
                     struct frame_standing *out)
{
    const struct config *c = raft_committed_config(g->raft);
    *out = (struct frame_standing){.group = g->id, .epoch = g->epoch};
    for (uint32_t i = 0; i < c->count; i++) {
        uint16_t slot = record_slot(n->record, c->members[i].replica.node);
        if (slot == SLOT_NONE)
            continue;
        out->slots[out->count] = slot;
        out->is_voter[out->count++] = c->members[i].is_voter;
    }
}

static void keep(struct node *n, const struct frame_standing *s)
{
    if (s->group >= n->group_count)
        return;
    struct frame_standing *kept = &n->standings[s->group];
    n->stated_ms[s->group] = n->now_ms;
    /* Messages overtake each other: an older one says nothing new. */
    if (epoch_compare(s->epoch, kept->epoch) >= 0)
        *kept = *s;
}

static void tell(struct node *n, struct span list)
{
    uint32_t count;
    const uint16_t *slots = record_row(n->record, 0, &count);
    struct frame f = {.kind = FRAME_STANDING, .bytes = list};
    for (uint32_t i = 0; i < count; i++) {
        struct peer *p = node_peer(n, n->record->members[slots[i]].node);
        if (p != NULL)
            node_peer_frame(n, p, &f);
    }
}

void node_standing_tick(struct node *n)
{
    if (!node_has_timed_out(n->now_ms, n->standing_told_ms,
                            n->cfg.timing.probe_interval_ms))
        return;
    n->standing_told_ms = n->now_ms;
    struct buf list = {0};
    for (uint32_t i = 0; i < n->group_count; i++) {
        if (n->groups[i] == NULL || !node_group_is_leading(n->groups[i]))
            continue;
        struct frame_standing s;
        describe(n, n->groups[i], &s);
        keep(n, &s);
        wire_standing_write(&list, &s);
    }
    if (list.size > 0)
        tell(n, span_buf(&list));
    buf_free(&list);
}

void node_standing_received(struct node *n, struct span list)
{
    struct dec d = dec_of(list);
    struct frame_standing s;
    while (wire_standing_next(&d, &s))
        keep(n, &s);
}

/* ---- asking ------------------------------------------------------------ */

static struct epoch sent_away_at(const struct record *r, uint16_t slot)
{
    return (struct epoch){r->epoch.counter, r->epoch.tag,
                          r->members[slot].wanted_since};
}

static bool counts_on(const struct frame_standing *s, uint16_t slot)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (s->slots[i] == slot)
            return true;
    return false;
}

uint32_t node_standing_holders(const struct node *n, uint16_t slot)
{
    struct epoch since = sent_away_at(n->ring, slot);
    uint32_t count = 0;
    for (uint32_t g = 0; g < n->group_count; g++) {
        const struct frame_standing *s = &n->standings[g];
        bool is_stated = s->count > 0 && epoch_compare(s->epoch, since) >= 0;
        count += RULE(T6) && (!is_stated || counts_on(s, slot));
    }
    return count;
}

uint32_t node_standing_voters(const struct node *n)
{
    uint32_t least = REPLICAS_MAX;
    for (uint32_t g = 1; g < n->group_count; g++) {
        uint32_t voters = 0;
        for (uint32_t i = 0; i < n->standings[g].count; i++)
            voters += n->standings[g].is_voter[i];
        least = (uint32_t)min_u64(least, voters);
    }
    return least;
}

const struct frame_standing *node_standing(const struct node *n, uint32_t group)
{
    const struct frame_standing *s = &n->standings[group];
    return s->count > 0 ? s : NULL;
}

/* Leaders state their groups with each probe interval; some words are lost. */
static bool is_long_ago(const struct node *n, uint64_t since_ms)
{
    return node_has_timed_out(n->now_ms, since_ms,
                              4 * n->cfg.timing.probe_interval_ms);
}

bool node_standing_is_led(const struct node *n, uint32_t group)
{
    return n->stated_ms[group] != 0 && !is_long_ago(n, n->stated_ms[group]);
}

bool node_standing_is_complete(const struct node *n)
{
    const struct group *g = node_group(n, 0);
    return g != NULL && node_ring_leads(n) && is_long_ago(n, g->led_since_ms);
}

/* ---- bearing the epoch ------------------------------------------------- */

/* Somebody was sent away later than this group's log knows. */
static bool is_behind(const struct node *n, const struct group *g)
{
    for (uint16_t i = 0; i < n->record->member_count; i++) {
        const struct member *m = &n->record->members[i];
        if (m->wanted != WANTED_IN && m->seen != SEEN_GONE &&
            epoch_compare(g->epoch, sent_away_at(n->record, i)) < 0)
            return true;
    }
    return false;
}

void node_standing_mark(struct node *n, struct group *g)
{
    /* What is under way bears it already, or soon makes room. */
    if (!is_behind(n, g) || raft_last(g->raft) != g->applied)
        return;
    struct entry_stamp stamp = {n->record->epoch, n->record->level, n->wall_ms};
    struct buf manifest = {0};
    uint64_t index, term;
    entry_build_noop(&manifest, stamp);
    struct item *item = item_new(&n->pool, span_buf(&manifest), NULL, 0);
    if (raft_propose(g->raft, item, &index, &term) != ERR_OK)
        item_unref(&n->pool, item);
    buf_free(&manifest);
    node_dirty(n, g);
}
