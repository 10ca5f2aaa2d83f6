/* watch_commit.c - what is committed and applied; see watch.h. */
#include "tests/sim/story.h"
#include "tests/sim/twin.h"
#include "tests/sim/watch_impl.h"

/* ---- configurations ---------------------------------------------------- */

static uint32_t configs_differ_by(const struct config *a,
                                  const struct config *b)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < a->count; i++) {
        const struct config_member *m = config_find(b, a->members[i].replica);
        count += m == NULL || m->is_voter != a->members[i].is_voter;
    }
    for (uint32_t i = 0; i < b->count; i++)
        count += config_find(a, b->members[i].replica) == NULL;
    return count;
}

/* Each takes of its majority as many as it can from those that the other has
 * not; do both find the rest among the common ones, without meeting? */
static bool quorums_meet(const struct config *a, const struct config *b)
{
    uint32_t common = 0;
    for (uint32_t i = 0; i < a->count; i++) {
        const struct config_member *m = config_find(b, a->members[i].replica);
        common += m != NULL && m->is_voter && a->members[i].is_voter;
    }
    uint32_t alone_a = config_voters(a) - common;
    uint32_t alone_b = config_voters(b) - common;
    uint32_t need_a = config_voters(a) / 2 + 1;
    uint32_t need_b = config_voters(b) / 2 + 1;
    uint32_t rest_a = need_a > alone_a ? need_a - alone_a : 0;
    uint32_t rest_b = need_b > alone_b ? need_b - alone_b : 0;
    return rest_a + rest_b > common;
}

/* T3: what clients are told is done must be on so many disks at least. */
static void check_acks(struct watch *a, uint32_t group, uint64_t index)
{
    uint32_t voters = config_voters(&a->groups[group].config);
    uint32_t acks = record_majority(a->w->plan.copies);
    MUST_HOLD(a->w, T3,
              record_majority(voters) >= record_majority(acks) &&
                  voters >= acks,
              "commands are committed as entry %llu of group %u, which has %u "
              "voters; it needs %u",
              ull(index), group, voters, acks);
}

static void config_committed(struct watch *a, uint32_t group,
                             const struct config *next)
{
    struct group_watch *gw = &a->groups[group];
    if (gw->config.index != 0)
        MUST_HOLD(a->w, I13, configs_differ_by(&gw->config, next) == 1,
                  "the configurations %llu and %llu of group %u differ by more "
                  "than one",
                  ull(gw->config.index), ull(next->index), group);
    gw->config = *next;
    a->w->totals.config_changes++;
    story_config(a->w, group, next);
}

/* ---- states ------------------------------------------------------------ */

void watch_digest(struct watch *a, struct host *h, uint32_t group,
                  uint64_t index, struct hash128 digest)
{
    struct slot *slot = watch_slot(&a->groups[group], index);
    if (!slot->has_digest) {
        slot->has_digest = true;
        slot->digest = digest;
    }
    MUST_HOLD(a->w, I4,
              slot->digest.lo == digest.lo && slot->digest.hi == digest.hi,
              "%s's state of group %u at entry %llu is not the others'",
              h == NULL ? "the reference" : h->name, group, ull(index));
}

static void refer(struct watch *a, uint32_t group, struct span manifest,
                  uint64_t index)
{
    struct group_watch *gw = &a->groups[group];
    buf_clear(&a->images);
    if (streams_apply(gw->reference, manifest, a->verdicts, &a->images) !=
        ERR_OK)
        world_fail(a->w, SIM_SAFETY, "entry %llu of group %u cannot be applied",
                   ull(index), group);
    watch_digest(a, NULL, group, index, streams_digest(gw->reference));
}

/* ---- committed for the first time -------------------------------------- */

void watch_commit(struct watch *a, uint32_t group, struct variant *v,
                  uint64_t index)
{
    struct group_watch *gw = &a->groups[group];
    struct span manifest = span_buf(&v->manifest);
    struct entry_header header;
    struct config next;
    watch_slot(gw, index)->committed = v;
    gw->committed = index;
    if (entry_read_header(manifest, &header) != ERR_OK)
        world_fail(a->w, SIM_SAFETY, "entry %llu of group %u makes no sense",
                   ull(index), group);
    if (header.kind == ENTRY_COMMANDS)
        check_acks(a, group, index);
    if (header.kind == ENTRY_CONFIG &&
        entry_read_config(manifest, &next) == ERR_OK) {
        next.index = index;
        config_committed(a, group, &next);
    }
    if (group == 0)
        return;
    twin_commit(a->w->twin, group, index, v->term, manifest);
    refer(a, group, manifest, index);
}

/* ---- on what grounds --------------------------------------------------- */

static uint32_t count_durable(const struct variant *v, const struct config *c)
{
    uint32_t count = 0;
    for (uint32_t i = 0; v != NULL && i < c->count; i++)
        count += c->members[i].is_voter &&
                 watch_was_durable(v, c->members[i].replica);
    return count;
}

/* A new commit: it was counted by entries of the own term, over a
 * configuration whose quorums meet those of the last one that committed, and
 * a majority of it has the entry. */
static void check_quorum(struct watch *a, struct host *h, uint32_t group,
                         const struct raft *r, uint64_t index)
{
    struct group_watch *gw = &a->groups[group];
    const struct config *c = raft_config(r);
    bool is_leader = raft_role(r) == RAFT_LEADER;
    uint64_t term = raft_term_at(r, index);
    /* Paper 5.4.2. */
    MUST_HOLD(a->w, R5, !is_leader || term == raft_term(r),
              "n%u, leader of group %u in term %llu, counts entry %llu of term "
              "%llu",
              h->index + 1, group, ull(raft_term(r)), ull(index), ull(term));
    struct variant *v = watch_variant(gw, index, term);
    uint32_t count = count_durable(v, c);
    /* Or it has committed, stepped down and followed, all in this one turn. */
    bool was_leader = !is_leader && count_durable(v, &gw->config) >
                                        config_voters(&gw->config) / 2;
    MUST_HOLD(a->w, I5, count > config_voters(c) / 2 || was_leader,
              "n%u commits entry %llu of group %u in term %llu; it is on %u "
              "disks of %u voters",
              h->index + 1, ull(index), group, ull(raft_term(r)), count,
              config_voters(c));
    MUST_HOLD(
        a->w, I14, c->index == gw->config.index || quorums_meet(c, &gw->config),
        "n%u commits entry %llu of group %u by configuration %llu, whose "
        "quorums need not meet those of %llu, which is committed",
        h->index + 1, ull(index), group, ull(c->index), ull(gw->config.index));
}

void watch_commit_risen(struct watch *a, struct host *h, uint32_t group,
                        const struct raft *r, uint64_t from)
{
    struct group_watch *gw = &a->groups[group];
    uint64_t commit = raft_commit(r);
    if (commit > gw->committed)
        check_quorum(a, h, group, r, commit);
    /* What was installed is judged by its blob (watch_disk.c). */
    for (uint64_t i = max_u64(from, raft_base(r)) + 1; i <= commit; i++) {
        struct slot *slot = watch_slot(gw, i);
        uint64_t term = raft_term_at(r, i);
        if (slot->committed == NULL) {
            struct variant *v = watch_variant(gw, i, term);
            ASSERT(v != NULL && i == gw->committed + 1);
            watch_commit(a, group, v, i);
            slot->committed_in = raft_term_at(r, commit); /* R5 */
        }
        MUST_HOLD(a->w, I6, slot->committed->term == term,
                  "n%u has entry %llu of group %u committed with term %llu; it "
                  "was with term %llu",
                  h->index + 1, ull(i), group, ull(term),
                  ull(slot->committed->term));
    }
}

/* Leaders of terms above that in which an entry was committed have it (paper,
 * 5.4.3; the entry's own term may be lower, and leaders between the two need
 * not have it). The newest such entry is enough: by log matching (I2) a log
 * that has it has all before it. */
void watch_complete(struct watch *a, struct host *h, uint32_t group,
                    const struct raft *r)
{
    struct group_watch *gw = &a->groups[group];
    for (uint64_t i = gw->committed; i > raft_base(r); i--) {
        const struct slot *slot = watch_slot(gw, i);
        const struct variant *v = slot->committed;
        if (slot->committed_in >= raft_term(r)) /* it leads in the past */
            continue;
        MUST_HOLD(a->w, I3, raft_term_at(r, i) == v->term,
                  "n%u leads group %u in term %llu without entry %llu of term "
                  "%llu, which is committed",
                  h->index + 1, group, ull(raft_term(r)), ull(i), ull(v->term));
        return;
    }
}

void watch_applied_risen(struct watch *a, struct host *h, uint32_t group,
                         uint64_t applied)
{
    const struct streams *s = node_streams(h->node, group);
    if (s == NULL)
        return;
    watch_digest(a, h, group, applied, streams_digest(s));
    twin_compare(a->w->twin, h, group, applied, s);
}

/* ---- who may decide ---------------------------------------------------- */

/* What is committed, what is newer on some disk, and what leaders have in mind
 * that has come to no disk yet. */
bool watch_each_config(const struct watch *a, uint32_t group, config_fn fn,
                       const void *ctx)
{
    const struct group_watch *gw = &a->groups[group];
    if (!fn(a, group, &gw->config, ctx))
        return false;
    for (size_t i = 0; i < gw->config_count; i++) {
        const struct config_seen *seen = &gw->configs[i];
        struct config c;
        if (seen->index <= gw->committed)
            continue;
        const struct variant *v = gw->slots[seen->index].variants;
        while (v->term != seen->term)
            v = v->next;
        if (entry_read_config(span_buf(&v->manifest), &c) != ERR_OK ||
            !fn(a, group, &c, ctx))
            return false;
    }
    for (uint32_t i = 0; i < a->w->host_count; i++) {
        const struct host *h = a->w->hosts[i];
        const struct raft *r =
            h->node == NULL ? NULL : node_raft(h->node, group);
        if (r != NULL && raft_config(r)->index > gw->committed &&
            !fn(a, group, raft_config(r), ctx))
            return false;
    }
    return true;
}

/* From where on a log is there, of voters among these hosts who can lead. Who
 * ends below the highest base is of no use to whom it leads; of the others the
 * one whose log begins lowest comes to lead if it must. */
static uint64_t base_of_leaders(const struct watch *a, uint32_t group,
                                const struct config *c, uint32_t hosts)
{
    uint64_t highest = 0, lowest = UINT64_MAX;
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < c->count; i++) {
            const struct host *h = host_of(a->w, c->members[i].replica.node);
            const struct disk *d = &a->hosts[h->index].disks[group];
            if (!c->members[i].is_voter || !(hosts >> h->index & 1))
                continue;
            if (round == 0)
                highest = max_u64(highest, d->base);
            else if (d->count >= highest)
                lowest = min_u64(lowest, d->base);
        }
    }
    return lowest;
}

/* Who lacks what is cut from the leader's log, no log can bring up. */
static bool has_quorum(const struct watch *a, uint32_t group,
                       const struct config *c, const void *ctx)
{
    uint32_t hosts = *(const uint32_t *)ctx;
    uint32_t voters = config_voters(c), among = 0;
    uint64_t base = base_of_leaders(a, group, c, hosts);
    for (uint32_t i = 0; i < c->count; i++) {
        const struct host *h = host_of(a->w, c->members[i].replica.node);
        among += c->members[i].is_voter && (hosts >> h->index & 1) &&
                 a->hosts[h->index].disks[group].count >= base;
    }
    bool may_write = group == 0 || voters >= record_majority(a->w->plan.copies);
    return among > voters / 2 && may_write;
}

bool watch_has_quorum(const struct watch *a, uint32_t group, uint32_t hosts)
{
    return watch_each_config(a, group, has_quorum, &hosts);
}

bool watch_counts_on(const struct watch *a, uint32_t group,
                     const struct host *h)
{
    return !a->groups[group].is_anew &&
           config_find_node(&a->groups[group].config, h->id) != NULL;
}
