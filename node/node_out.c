/* node_out.c - who goes out of the ring by itself, and who comes back.
 *
 * Gossip proposes, quorum decides. Every voter of group 0 tells its leader
 * whom it has seen dead for the record's out-after; the leader counts the
 * voters' words (its own too) and what it is in touch with; the record's rules
 * (record_may_go_out, record_may_come_back; T27, T28) say who may, and the
 * next record is compared and appended like any other. The fold then gives
 * the rows of who is out to others, and the groups walk there. */
#include "node/node_impl.h"

/* A report counts for so many intervals: one or two may be lost. */
#define REPORT_INTERVALS 3u

/* ---- what this node knows ---------------------------------------------- */

/* Dead since it was seen so; who has not been heard of at all, since it is
 * known here (T27: dead-since is kept by every node since its own start). */
static bool is_dead(const struct node *n, const struct peer *p)
{
    enum swim_state state = swim_state(&n->swim, p->node);
    uint64_t since =
        state == SWIM_DEAD ? swim_since_ms(&n->swim, p->node) : p->known_ms;
    return (state == SWIM_DEAD || state == SWIM_UNSEEN) &&
           node_has_timed_out(n->now_ms, since, n->record->out_after_ms);
}

static bool is_out(const struct node *n, const struct peer *p)
{
    return n->record->members[p->slot].seen == SEEN_OUT;
}

static uint64_t contact_ms(const struct node *n, const struct peer *p)
{
    if (swim_state(&n->swim, p->node) != SWIM_ALIVE)
        return 0;
    uint64_t since = swim_since_ms(&n->swim, p->node);
    return n->now_ms > since ? n->now_ms - since : 0;
}

/* ---- a voter's report -------------------------------------------------- */

void node_out_tick(struct node *n)
{
    const struct group *g = node_group(n, 0);
    if (g == NULL || !node_has_timed_out(n->now_ms, n->dead_reported_ms,
                                         n->cfg.timing.probe_interval_ms))
        return;
    n->dead_reported_ms = n->now_ms;
    struct peer *leader = node_peer(n, raft_leader(g->raft).node);
    struct buf ids = {0};
    for (size_t i = 0; leader != NULL && i < n->peer_count; i++)
        if (is_dead(n, n->peers[i]) && !is_out(n, n->peers[i]))
            buf_append(&ids, n->peers[i]->node.bytes, sizeof(struct id128));
    if (ids.size > 0) {
        struct frame f = {.kind = FRAME_DEAD, .bytes = span_buf(&ids)};
        node_peer_frame(n, leader, &f);
    }
    buf_free(&ids);
}

void node_out_reported(struct node *n, const struct peer *p, struct span ids)
{
    struct peer *from = node_peer(n, p->node);
    buf_clear(&from->dead);
    buf_append(&from->dead, ids.data, ids.size);
    from->dead_told_ms = n->now_ms;
}

/* ---- the leader's count ------------------------------------------------ */

static bool reports(const struct node *n, const struct peer *p,
                    struct id128 node)
{
    if (p->dead.size == 0 ||
        node_has_timed_out(n->now_ms, p->dead_told_ms,
                           REPORT_INTERVALS * n->cfg.timing.probe_interval_ms))
        return false;
    for (size_t at = 0; at < p->dead.size; at += sizeof node)
        if (memcmp(p->dead.data + at, node.bytes, sizeof node) == 0)
            return true;
    return false;
}

static uint32_t count_reports(const struct node *n, const struct config *config,
                              const struct peer *dead)
{
    uint32_t count = is_dead(n, dead);
    for (uint32_t i = 0; i < config->count; i++) {
        const struct config_member *m = &config->members[i];
        const struct peer *p = node_peer(n, m->replica.node);
        count += m->is_voter && p != NULL && reports(n, p, dead->node);
    }
    return count;
}

static void list_contacts(const struct node *n, const struct config *config,
                          struct member_contact contacts[MEMBERS_MAX])
{
    memset(contacts, 0, MEMBERS_MAX * sizeof *contacts);
    contacts[n->slot].contact_ms = UINT64_MAX;
    for (size_t i = 0; i < n->peer_count; i++) {
        const struct peer *p = n->peers[i];
        contacts[p->slot] = (struct member_contact){count_reports(n, config, p),
                                                    contact_ms(n, p)};
    }
}

/* Mostly nobody is dead for long, and nobody out. */
static bool has_candidates(const struct node *n)
{
    for (size_t i = 0; i < n->peer_count; i++)
        if (is_out(n, n->peers[i]) || is_dead(n, n->peers[i]))
            return true;
    return false;
}

static struct record *copy_once(const struct node *n, struct record **next)
{
    if (*next == NULL)
        *next = record_copy(n->ring);
    return *next;
}

/* T28: a group that has not removed the old voter yet keeps it: the fold
 * starts from the group's configuration, as its leader has stated it. The
 * newcomer that was meant to replace it is the one to go. */
void node_out_keep_rows(const struct node *n, struct record *next,
                        uint16_t slot)
{
    for (uint32_t g = 0; g < n->group_count; g++) {
        const struct frame_standing *s = node_standing(n, g);
        uint16_t voters[REPLICAS_MAX];
        uint32_t count = 0;
        bool is_kept = false;
        for (uint32_t i = 0; s != NULL && i < s->count; i++) {
            if (!s->is_voter[i])
                continue;
            voters[count++] = s->slots[i];
            is_kept = is_kept || s->slots[i] == slot;
        }
        if (is_kept)
            record_keep_row(next, g, slot, voters, count);
    }
}

/* A ring that gives up its dead in less than a minute takes them back as
 * quickly. */
static uint32_t back_after_ms(const struct node *n)
{
    return n->cfg.timing.back_after_ms < n->ring->out_after_ms
               ? n->cfg.timing.back_after_ms
               : n->ring->out_after_ms;
}

void node_out_judge(struct node *n, const struct group *g, struct record **next)
{
    const struct config *config = raft_committed_config(g->raft);
    struct member_contact contacts[MEMBERS_MAX];
    uint16_t slots[MEMBERS_MAX];
    if (!has_candidates(n))
        return;
    list_contacts(n, config, contacts);
    uint32_t count = record_may_go_out(n->ring, n->wall_ms,
                                       config_voters(config), contacts, slots);
    for (uint32_t i = 0; i < count; i++) {
        record_see(copy_once(n, next), slots[i], SEEN_OUT, n->wall_ms);
        node_log(n, NODE_WARN,
                 "node %s has been dead for %u s: it goes out of the ring, its "
                 "copies are made anew elsewhere",
                 n->ring->members[slots[i]].name, n->ring->out_after_ms / 1000);
    }
    count = record_may_come_back(n->ring, back_after_ms(n), contacts, slots);
    for (uint32_t i = 0; i < count; i++) {
        record_see(copy_once(n, next), slots[i], SEEN_UP, n->wall_ms);
        node_out_keep_rows(n, *next, slots[i]);
        node_log(n, NODE_INFO, "node %s is back in the ring",
                 n->ring->members[slots[i]].name);
    }
}
