/* node_status.c - a node's own view of itself, for OP_STATUS. */
#include "node/node_impl.h"

#include "net/status.h"

#include <stdlib.h>

static void write_members(const struct node *n, struct buf *out)
{
    for (size_t i = 0; i < n->peer_count; i++) {
        const struct peer *p = n->peers[i];
        uint64_t since = swim_since_ms(&n->swim, p->node);
        struct status_member m = {
            .slot = p->slot,
            .state = (uint8_t)swim_state(&n->swim, p->node),
            .since_ms = n->now_ms - min_u64(since, n->now_ms),
            .address = span_str(p->address),
        };
        status_write_member(out, &m);
    }
}

static void fill_replicas(const struct node *n, const struct group *g,
                          struct status_group *s)
{
    const struct config *config = raft_committed_config(g->raft);
    const struct raft_progress *p;
    size_t count = raft_followers(g->raft, &p);
    s->config_index = config->index;
    s->replica_count = config->count;
    for (uint32_t i = 0; i < config->count; i++) {
        struct status_replica *r = &s->replicas[i];
        r->node = config->members[i].replica.node;
        r->added = config->members[i].replica.added;
        r->is_voter = config->members[i].is_voter;
        if (replica_equal(config->members[i].replica, g->self)) {
            r->is_live = true;
            r->match = raft_durable_index(g->raft);
        }
        for (size_t k = 0; k < count; k++) {
            if (!replica_equal(p[k].replica, config->members[i].replica))
                continue;
            r->match = p[k].match;
            r->is_live = p[k].heard_ms != 0 &&
                         !node_has_timed_out(n->now_ms, p[k].heard_ms,
                                             n->cfg.timing.election_ms);
        }
    }
}

static const char *reason_of(const struct node *n, const struct group *g)
{
    if (g->is_quarantined)
        return g->quarantine_text;
    const char *damage = node_mend_reason(n, g->id);
    if (damage != NULL)
        return damage;
    const char *cut = node_cut_reason(n, g);
    if (raft_role(g->raft) != RAFT_LEADER || !raft_is_ready(g->raft)) {
        const char *raft = raft_reason(g->raft, n->now_ms);
        return *raft == 0 && cut != NULL ? cut : raft;
    }
    if (cut != NULL)
        return cut;
    return g->walk_reason == NULL ? "" : g->walk_reason;
}

const char *node_reason(const struct node *n, uint32_t group)
{
    const struct group *g = n->groups[group];
    return g == NULL ? node_install_reason(n, group) : reason_of(n, g);
}

size_t node_backlog(const struct node *n)
{
    size_t count = n->effects.count + n->extras.count + n->sweeps.count +
                   n->readings.count + n->scans.count + n->joinings.count +
                   n->changings.count + n->hard_waiting;
    for (size_t i = 0; i < n->peer_count; i++)
        count += n->peers[i]->sent.count + n->peers[i]->waiting.count;
    for (uint32_t i = 0; i < n->group_count; i++) {
        const struct group *g = n->groups[i];
        if (g != NULL)
            count +=
                g->log_commands.count + g->pendings.count + g->questions.count;
    }
    return count;
}

static void write_group(struct node *n, const struct group *g, struct buf *out)
{
    bool is_leader = raft_role(g->raft) == RAFT_LEADER;
    struct status_group s = {
        .group = g->id,
        .is_leader = is_leader,
        .is_ready = raft_is_ready(g->raft),
        .is_quarantined = g->is_quarantined,
        .leader = raft_leader(g->raft).node,
        .term = raft_term(g->raft),
        .commit = raft_commit(g->raft),
        .applied = g->applied,
        .last = raft_last(g->raft),
        .streams = g->streams == NULL ? 0 : streams_count(g->streams),
        .bytes = g->streams == NULL ? 0 : streams_bytes(g->streams),
        .reason = span_str(reason_of(n, g)),
        .generation = g->generation,
        .last_term = raft_term_at(g->raft, raft_last(g->raft)),
    };
    fill_replicas(n, g, &s);
    status_write_group(out, &s);
}

static int compare_us(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static uint64_t commit_p99(const struct node *n)
{
    size_t room = sizeof n->commit_us / sizeof *n->commit_us;
    size_t count = n->commits < room ? (size_t)n->commits : room;
    if (count == 0)
        return 0;
    uint32_t sorted[sizeof n->commit_us / sizeof *n->commit_us];
    memcpy(sorted, n->commit_us, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare_us);
    return sorted[(count * 99) / 100];
}

void node_status_write(struct node *n, struct buf *out)
{
    const struct member *self = &n->record->members[n->slot];
    struct status s = {
        .node = n->cfg.folder.node,
        .name = span_str(self->name),
        .version = span_str(n->cfg.version),
        .boot = n->cfg.folder.boot,
        .epoch = n->record->epoch,
        .confirmed_ms = n->confirmed_ms == 0
                            ? UINT64_MAX
                            : n->now_ms - min_u64(n->now_ms, n->confirmed_ms),
        .uptime_ms = n->now_ms - n->started_ms,
        .map_bytes = n->space.map_bytes,
        .map_used = n->space.map_used,
        .disk_bytes = n->space.disk_bytes,
        .disk_free = n->space.disk_free,
        .is_full = n->is_full,
        .is_ready = n->is_ready,
        .commits = n->commits,
        .commit_us_p99 = commit_p99(n),
        .dropped = n->dropped,
        .appends = n->appends,
        .reads = n->reads,
        .damaged = n->mends.count,
        .mended = n->mended,
        .wall_ms = n->wall_ms,
    };
    status_write(out, &s);
    write_members(n, out);
    for (uint32_t i = 0; i < n->group_count; i++)
        if (n->groups[i] != NULL)
            write_group(n, n->groups[i], out);
    node_install_status(n, out);
}
