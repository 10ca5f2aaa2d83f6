/* raft_change.c - what a leader is asked for: entries, other members, the
 * hand-over (thesis 4.1 single-server changes, 3.10 transfer).
 *
 * A change is one member at a time: the majorities of neighbouring
 * configurations overlap. That holds only from a configuration that can not be
 * rolled back to a sibling (Ongaro 2015), hence S9A and S9B. */
#include "ring/raft_impl.h"

/* A learner may be this far behind and still be promoted: it is in the
 * stream of new entries then (R3). */
#define PROMOTE_LAG_ENTRIES 64u

static bool is_handing_over(const struct raft *r)
{
    return r->transfer_until_ms != 0;
}

/* ---- entries ----------------------------------------------------------- */

enum err raft_propose(struct raft *r, struct item *item, uint64_t *index,
                      uint64_t *term)
{
    ASSERT(item->refs == 1);
    ASSERT(item->kind != ENTRY_CONFIG);
    if (r->role != RAFT_LEADER)
        return ERR_MOVED;
    /* S21: before it is in the log, and only then. */
    if (!raft_is_ready(r) || is_handing_over(r))
        return ERR_UNAVAILABLE;
    item->index = r->log.last_index + 1;
    item->term = r->hard.term;
    entry_number(item->manifest, item->index, item->term);
    *index = item->index;
    *term = item->term;
    raft_lead_append(r, item);
    return ERR_OK;
}

/* ---- members ----------------------------------------------------------- */

/* How a proposed configuration differs from the one in force. */
struct step {
    uint32_t added;
    uint32_t promoted;
    uint32_t removed;
    uint32_t senseless;
    struct replica replica; /* of the one promoted or removed */
};

static struct step step_between(const struct config *from,
                                const struct config *to)
{
    struct step s = {0};
    for (uint32_t i = 0; i < to->count; i++) {
        const struct config_member *m = &to->members[i];
        const struct config_member *old = config_find(from, m->replica);
        if (m->replica.added == 0 && !m->is_voter) {
            s.added++;
        } else if (old == NULL || (old->is_voter && !m->is_voter)) {
            s.senseless++;
        } else if (!old->is_voter && m->is_voter) {
            s.promoted++;
            s.replica = m->replica;
        }
        if (config_find(to, m->replica) != m)
            s.senseless++; /* twice */
    }
    for (uint32_t i = 0; i < from->count; i++) {
        if (config_find(to, from->members[i].replica) == NULL) {
            s.removed++;
            s.replica = from->members[i].replica;
        }
    }
    return s;
}

/* T14: what makes no majority now could not commit its own entry. */
static bool has_live_majority(const struct raft *r, const struct config *c)
{
    uint32_t live = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        const struct config_member *m = &c->members[i];
        const struct raft_progress *p = raft_lead_find(r, m->replica);
        bool is_self = replica_equal(m->replica, r->cfg.self);
        bool is_matched = is_self || (p != NULL && raft_lead_is_live(r, p) &&
                                      p->match >= r->commit);
        live += m->is_voter && is_matched;
    }
    return live > config_voters(c) / 2;
}

/* One that has all is no less caught up for a reset that has it probed again:
 * where nothing is appended, no probe would ever be sent. */
static bool is_caught_up(const struct raft *r, struct replica learner)
{
    const struct raft_progress *p = raft_lead_find(r, learner);
    if (p == NULL || !raft_lead_is_live(r, p))
        return false;
    uint64_t lag = p->is_probing ? 0 : PROMOTE_LAG_ENTRIES;
    return p->match + lag >= r->commit;
}

static enum err check_change(const struct raft *r, const struct config *to)
{
    if (r->role != RAFT_LEADER)
        return ERR_MOVED;
    const struct config *now = raft_log_config(&r->log);
    if ((!raft_is_ready(r) && RULE(S9A)) || is_handing_over(r))
        return ERR_UNAVAILABLE;
    if (now->index > r->commit && RULE(S9B))
        return ERR_BUSY;
    if (to->count > REPLICAS_MAX || config_voters(to) == 0)
        return ERR_BAD_REQUEST;
    struct step s = step_between(now, to);
    if (s.senseless > 0 || s.added + s.promoted + s.removed != 1)
        return ERR_BAD_REQUEST;
    if (s.removed > 0 && RULE(S9E) && replica_equal(s.replica, r->cfg.self))
        return ERR_BAD_REQUEST;
    if (s.promoted > 0 && !is_caught_up(r, s.replica) && RULE(R3))
        return ERR_UNAVAILABLE;
    if (!has_live_majority(r, to) && RULE(T14))
        return ERR_UNAVAILABLE;
    return ERR_OK;
}

enum err raft_change(struct raft *r, const struct config *to, uint64_t *index)
{
    enum err err = check_change(r, to);
    if (err != ERR_OK)
        return err;
    struct config c = *to;
    c.index = r->log.last_index + 1;
    for (uint32_t i = 0; i < c.count; i++) {
        if (c.members[i].replica.added == 0)
            c.members[i].replica.added = c.index;
    }
    entry_build_config(&r->scratch, r->stamp, &c);
    entry_number(r->scratch.data, c.index, r->hard.term);
    *index = c.index;
    raft_lead_append(r, item_new(r->cfg.pool, span_buf(&r->scratch), NULL, 0));
    return ERR_OK;
}

/* ---- hand-over --------------------------------------------------------- */

/* Only to one that has all: proposals wait meanwhile, so it soon has. */
static void push_over(struct raft *r, const struct raft_progress *p)
{
    if (p->match == r->log.last_index)
        raft_post(r, &(struct raft_msg){
                         .kind = RAFT_TIMEOUT_NOW,
                         .to = p->replica,
                         .term = r->hard.term,
                     });
}

enum err raft_transfer(struct raft *r, struct replica to, uint64_t now_ms)
{
    r->now_ms = max_u64(r->now_ms, now_ms);
    if (r->role != RAFT_LEADER)
        return ERR_MOVED;
    const struct raft_progress *p = raft_lead_find(r, to);
    if (p == NULL || !p->is_voter)
        return ERR_BAD_REQUEST;
    /* Asked again, it is not given more time: proposals wait. */
    if (!is_handing_over(r) || !replica_equal(to, r->transfer_to))
        r->transfer_until_ms = r->now_ms + r->cfg.election_ms;
    r->transfer_to = p->replica;
    push_over(r, p);
    return ERR_OK;
}

void raft_change_matched(struct raft *r, const struct raft_progress *p)
{
    if (is_handing_over(r) && replica_equal(p->replica, r->transfer_to))
        push_over(r, p);
}

void raft_change_tick(struct raft *r)
{
    if (!is_handing_over(r))
        return;
    const struct raft_progress *p = raft_lead_find(r, r->transfer_to);
    if (p == NULL || r->now_ms >= r->transfer_until_ms)
        r->transfer_until_ms = 0;
    else
        push_over(r, p);
}
