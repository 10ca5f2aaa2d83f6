/* raft_show.c - queries, reasons, dump and check: nothing in here changes the
 * machine. */
#include "ring/raft_impl.h"

/* ---- queries ----------------------------------------------------------- */

enum raft_role raft_role(const struct raft *r)
{
    return r->role;
}

uint64_t raft_term(const struct raft *r)
{
    return r->hard.term;
}

uint64_t raft_commit(const struct raft *r)
{
    return r->commit;
}

uint64_t raft_last(const struct raft *r)
{
    return r->log.last_index;
}

uint64_t raft_base(const struct raft *r)
{
    return r->log.base_index;
}

uint64_t raft_durable_index(const struct raft *r)
{
    return r->log.durable_index;
}

uint64_t raft_applicable(const struct raft *r)
{
    return RULE(T19) ? min_u64(r->commit, r->log.durable_index) : r->commit;
}

struct replica raft_leader(const struct raft *r)
{
    return r->leader;
}

uint64_t raft_leader_heard_ms(const struct raft *r)
{
    return r->role == RAFT_LEADER ? r->now_ms : r->leader_heard_ms;
}

bool raft_is_ready(const struct raft *r)
{
    return r->role == RAFT_LEADER && r->commit >= r->term_start;
}

const struct config *raft_config(const struct raft *r)
{
    return raft_log_config(&r->log);
}

const struct config *raft_committed_config(const struct raft *r)
{
    return raft_log_committed(&r->log, r->commit);
}

size_t raft_followers(const struct raft *r, const struct raft_progress **out)
{
    *out = r->followers;
    return r->follower_count;
}

struct item *raft_cached(const struct raft *r, uint64_t index)
{
    return raft_log_item(&r->log, index);
}

uint64_t raft_term_at(const struct raft *r, uint64_t index)
{
    return raft_log_term_at(&r->log, index);
}

size_t raft_cache_bytes(const struct raft *r)
{
    return r->log.cache_bytes;
}

size_t raft_uncommitted_bytes(const struct raft *r)
{
    return r->uncommitted_bytes;
}

uint64_t raft_dropped(const struct raft *r)
{
    return r->dropped;
}

/* ---- reasons ----------------------------------------------------------- */

static void leader_reason(struct raft *r)
{
    const struct config *c = raft_log_config(&r->log);
    uint32_t heard = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        const struct raft_progress *p =
            raft_lead_find(r, c->members[i].replica);
        if (!c->members[i].is_voter)
            continue;
        heard += p == NULL /* self */ ||
                 r->now_ms < p->heard_ms + 2u * r->cfg.heartbeat_ms;
    }
    if (heard <= config_voters(c) / 2)
        buf_printf(&r->reason, "no quorum: heard from %u of %u voters", heard,
                   config_voters(c));
    else if (r->is_stalled)
        buf_printf(&r->reason, "the disk is slow: leading is suspended");
    else if (!raft_is_ready(r))
        buf_printf(&r->reason,
                   "new leader: waiting for an entry of term %llu to commit",
                   (unsigned long long)r->hard.term);
    else if (r->transfer_until_ms != 0)
        buf_printf(&r->reason, "leadership is being handed over");
}

static void candidate_reason(struct raft *r)
{
    const struct config *c = raft_log_config(&r->log);
    uint32_t votes = 0;
    for (uint32_t i = 0; i < c->count; i++)
        votes += c->members[i].is_voter && (r->granted >> i & 1u) != 0;
    buf_printf(&r->reason, "no leader: %s %u of %u votes, needs %u",
               r->role == RAFT_CANDIDATE ? "candidate with" : "would get",
               votes, config_voters(c), config_voters(c) / 2 + 1);
}

static void follower_reason(struct raft *r)
{
    if (id_is_zero(r->leader.node))
        buf_printf(&r->reason, "no leader is known");
    else if (!raft_elect_is_led(r))
        buf_printf(&r->reason, "no word from the leader for %llu ms",
                   (unsigned long long)(r->now_ms - r->leader_heard_ms));
}

const char *raft_reason(struct raft *r, uint64_t now_ms)
{
    r->now_ms = max_u64(r->now_ms, now_ms);
    buf_clear(&r->reason);
    if (r->has_ended) {
        buf_printf(&r->reason, "the group was recovered: this replica is of "
                               "another life");
        buf_append(&r->reason, "", 1);
        return (const char *)r->reason.data;
    }
    switch (r->role) {
    case RAFT_LEADER:
        leader_reason(r);
        break;
    case RAFT_PRE_CANDIDATE:
    case RAFT_CANDIDATE:
        candidate_reason(r);
        break;
    case RAFT_FOLLOWER:
        follower_reason(r);
        break;
    }
    buf_append(&r->reason, "", 1);
    return (const char *)r->reason.data;
}

/* ---- dump -------------------------------------------------------------- */

static const char *role_name(enum raft_role role)
{
    switch (role) {
    case RAFT_FOLLOWER:
        return "follower";
    case RAFT_PRE_CANDIDATE:
        return "pre-candidate";
    case RAFT_CANDIDATE:
        return "candidate";
    case RAFT_LEADER:
        return "leader";
    }
    return "?";
}

/* The first 8 digits of the node's id, and the index that added it. */
static void dump_replica(struct buf *text, struct replica replica)
{
    char hex[33];
    id_format(replica.node, hex);
    buf_printf(text, "%.8s+%llu", hex, (unsigned long long)replica.added);
}

void raft_dump(const struct raft *r, struct buf *text)
{
    const struct raft_log *log = &r->log;
    buf_printf(text, "group %u ", r->cfg.group);
    dump_replica(text, r->cfg.self);
    buf_printf(text, " %s term %llu", role_name(r->role),
               (unsigned long long)r->hard.term);
    if (!id_is_zero(r->leader.node)) {
        buf_printf(text, " leader ");
        dump_replica(text, r->leader);
    }
    buf_printf(text, "\n log base %llu/%llu last %llu/%llu durable %llu",
               (unsigned long long)log->base_index,
               (unsigned long long)log->base_term,
               (unsigned long long)log->last_index,
               (unsigned long long)raft_log_last_term(log),
               (unsigned long long)log->durable_index);
    buf_printf(text, " commit %llu applied %llu\n config %llu:",
               (unsigned long long)r->commit, (unsigned long long)r->applied,
               (unsigned long long)raft_log_config(log)->index);
    for (uint32_t i = 0; i < raft_log_config(log)->count; i++) {
        const struct config_member *m = &raft_log_config(log)->members[i];
        buf_printf(text, m->is_voter ? " voter " : " learner ");
        dump_replica(text, m->replica);
    }
    buf_printf(text, "\n");
    for (size_t i = 0; i < r->follower_count; i++) {
        const struct raft_progress *p = &r->followers[i];
        buf_printf(text, " follower ");
        dump_replica(text, p->replica);
        buf_printf(text, " match %llu next %llu %s heard %llu inflight %llu\n",
                   (unsigned long long)p->match, (unsigned long long)p->next,
                   p->is_probing ? "probing" : "pipelining",
                   (unsigned long long)p->heard_ms,
                   (unsigned long long)p->inflight_bytes);
    }
}

/* ---- check ------------------------------------------------------------- */

static void check_leader(const struct raft *r)
{
    ASSERT(replica_equal(r->leader, r->cfg.self));
    ASSERT(r->term_start <= r->log.last_index);
    ASSERT(raft_log_last_term(&r->log) == r->hard.term);
    ASSERT(r->follower_count + 1 == raft_log_config(&r->log)->count);
    for (size_t i = 0; i < r->follower_count; i++) {
        const struct raft_progress *p = &r->followers[i];
        ASSERT(p->match < p->next && p->match <= r->log.last_index);
        ASSERT(p->next <= r->log.last_index + 1);
        ASSERT(p->round_acked <= r->round);
        ASSERT(p->inflight_count > 0 || p->inflight_bytes == 0);
    }
}

void raft_check(const struct raft *r)
{
    raft_log_check(&r->log);
    ASSERT(r->applied <= r->commit && r->commit <= r->log.last_index);
    ASSERT(r->log.base_index <= r->commit);
    ASSERT(r->hard_durable <= r->hard_emitted);
    ASSERT(r->hard_emitted <= r->hard_write);
    ASSERT(r->hard.term >= raft_log_last_term(&r->log));
    ASSERT(r->outbox_count <= RAFT_OUTBOX_MAX);
    ASSERT(r->read_first <= r->reads_done && r->reads_done <= r->read_count);
    if (r->role == RAFT_LEADER)
        check_leader(r);
    else
        ASSERT(r->follower_count == 0 && r->uncommitted_bytes == 0);
    if (r->role == RAFT_FOLLOWER || r->role == RAFT_PRE_CANDIDATE)
        ASSERT(!replica_equal(r->leader, r->cfg.self));
}
