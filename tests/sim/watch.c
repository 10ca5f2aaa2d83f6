/* watch.c - see watch.h. */
#include "tests/sim/watch.h"

#include "ring/rule.h"
#include "tests/sim/twin.h"

/* One content that an index has had on some disk. */
struct variant {
    uint64_t term;
    uint64_t previous_term; /* of the entry before it: I2 by induction */
    uint64_t hash;
    struct buf manifest;
    struct replica *durable; /* who has had it on disk */
    uint32_t durable_count;
    struct variant *next;
};

struct slot {
    struct variant *variants;
    struct variant *committed;
    bool has_digest;
    struct hash128 digest;
};

struct lead {
    uint64_t term;
    struct replica leader;
};
struct vote {
    struct replica voter;
    uint64_t term;
    struct replica candidate;
};

/* A CONFIG entry that has been on some disk. */
struct config_seen {
    uint64_t index, term;
};

struct group_watch {
    struct config_seen *configs;
    size_t config_count;
    struct slot *slots; /* by index */
    size_t capacity;
    uint64_t committed;   /* by anybody */
    struct config config; /* the newest committed */
    struct lead *leads;
    size_t lead_count;
    struct vote *votes; /* newest last */
    size_t vote_count;
};

/* A replica's log and hard state as they are on its disk. */
struct disk {
    bool is_there;
    uint32_t incarnation;
    uint64_t added;
    struct raft_hard_state hard;
    struct variant **entries; /* [index - 1] */
    size_t count, capacity;
};

/* What the replica claimed at its last turn. */
struct claim {
    uint64_t added; /* which replica */
    enum raft_role role;
    uint64_t term, commit, applied;
    struct id128 leader;
    uint64_t matches; /* of a leader's followers, added up */
};

struct host_watch {
    struct disk disks[PLAN_GROUPS_MAX];
    struct claim claims[PLAN_GROUPS_MAX];
    uint64_t newest_boot;
};

/* What a turn has done, for the faults that lie in wait. */
struct doings {
    uint32_t began[PLAN_GROUPS_MAX]; /* groups that it leads since this turn */
    uint32_t began_count;
    uint32_t handed_over; /* a group; 0: none */
};

struct epoch_seen {
    uint64_t number;
    uint64_t hash;
};

struct watch {
    struct world *w;
    struct group_watch groups[PLAN_GROUPS_MAX];
    struct host_watch hosts[HOSTS_MAX];
    struct doings doings;
    struct epoch_seen *epochs;
    size_t epoch_count;
};

/* ---- life -------------------------------------------------------------- */

struct watch *watch_new(struct world *w)
{
    struct watch *a = mem_alloc(sizeof *a);
    a->w = w;
    return a;
}

static void variants_free(struct variant *v)
{
    while (v != NULL) {
        struct variant *next = v->next;
        buf_free(&v->manifest);
        mem_free(v->durable);
        mem_free(v);
        v = next;
    }
}

void watch_free(struct watch *a)
{
    for (uint32_t g = 0; g < a->w->plan.groups; g++) {
        struct group_watch *gw = &a->groups[g];
        for (size_t i = 0; i < gw->capacity; i++)
            variants_free(gw->slots[i].variants);
        mem_free(gw->slots);
        mem_free(gw->leads);
        mem_free(gw->votes);
        mem_free(gw->configs);
        for (uint32_t i = 0; i < HOSTS_MAX; i++)
            mem_free(a->hosts[i].disks[g].entries);
    }
    mem_free(a->epochs);
    mem_free(a);
}

static struct slot *slot_at(struct group_watch *gw, uint64_t index)
{
    if (index >= gw->capacity) {
        size_t capacity = gw->capacity == 0 ? 64 : gw->capacity;
        while (capacity <= index)
            capacity *= 2;
        gw->slots = mem_resize(gw->slots, capacity * sizeof *gw->slots);
        memset(gw->slots + gw->capacity, 0,
               (capacity - gw->capacity) * sizeof *gw->slots);
        gw->capacity = capacity;
    }
    return &gw->slots[index];
}

static struct variant *find_variant(struct group_watch *gw, uint64_t index,
                                    uint64_t term)
{
    struct variant *v = slot_at(gw, index)->variants;
    while (v != NULL && v->term != term)
        v = v->next;
    return v;
}

static bool is_same(struct replica a, struct replica b)
{
    return replica_equal(a, b);
}

/* ---- what is on the disks ---------------------------------------------- */

static void note_durable(struct variant *v, struct replica r)
{
    for (uint32_t i = 0; i < v->durable_count; i++)
        if (is_same(v->durable[i], r))
            return;
    v->durable =
        mem_resize(v->durable, (v->durable_count + 1) * sizeof *v->durable);
    v->durable[v->durable_count++] = r;
}

static bool was_durable(const struct variant *v, struct replica r)
{
    for (uint32_t i = 0; i < v->durable_count; i++)
        if (is_same(v->durable[i], r))
            return true;
    return false;
}

static void note_config(struct group_watch *gw, uint64_t index, uint64_t term)
{
    gw->configs =
        mem_resize(gw->configs, (gw->config_count + 1) * sizeof *gw->configs);
    gw->configs[gw->config_count++] = (struct config_seen){index, term};
}

static void appended(struct watch *a, struct host *h, uint32_t group,
                     const struct item *item)
{
    struct disk *d = &a->hosts[h->index].disks[group];
    struct group_watch *gw = &a->groups[group];
    uint64_t previous = d->count == 0 ? 0 : d->entries[d->count - 1]->term;
    uint64_t hash = hash64(item_manifest(item));
    ASSERT(d->is_there && item->index == d->count + 1);
    struct variant *v = find_variant(gw, item->index, item->term);
    if (v == NULL) {
        v = mem_alloc(sizeof *v);
        v->term = item->term;
        v->previous_term = previous;
        v->hash = hash;
        buf_append(&v->manifest, item->manifest, item->manifest_size);
        struct slot *slot = slot_at(gw, item->index);
        v->next = slot->variants;
        slot->variants = v;
        a->w->totals.entries++;
        if (item->kind == ENTRY_CONFIG)
            note_config(gw, item->index, item->term);
    }
    if (v->hash != hash || v->previous_term != previous)
        world_fail(a->w, SIM_SAFETY,
                   "I2: n%u stores another entry %llu of term %llu in group "
                   "%u than there was%s",
                   h->index + 1, (unsigned long long)item->index,
                   (unsigned long long)item->term, group,
                   v->hash == hash ? " (behind another one)" : "");
    note_durable(v, (struct replica){h->id, d->added});
    if (d->count == d->capacity) {
        d->capacity = d->capacity == 0 ? 64 : d->capacity * 2;
        d->entries = mem_resize(d->entries, d->capacity * sizeof *d->entries);
    }
    d->entries[d->count++] = v;
}

static void truncated(struct watch *a, struct host *h, uint32_t group,
                      uint64_t index)
{
    struct disk *d = &a->hosts[h->index].disks[group];
    struct group_watch *gw = &a->groups[group];
    ASSERT(index >= 1 && index <= d->count);
    for (uint64_t i = index; i <= d->count; i++) {
        if (slot_at(gw, i)->committed == d->entries[i - 1])
            world_fail(a->w, SIM_SAFETY,
                       "I6: n%u truncates entry %llu of group %u, which is "
                       "committed",
                       h->index + 1, (unsigned long long)i, group);
    }
    d->count = (size_t)index - 1;
}

static void hard_stored(struct watch *a, struct host *h,
                        const struct store_command *c)
{
    struct disk *d = &a->hosts[h->index].disks[c->group];
    if (c->hard.term < d->hard.term)
        world_fail(a->w, SIM_SAFETY,
                   "I8: n%u stores term %llu of group %u after term %llu",
                   h->index + 1, (unsigned long long)c->hard.term, c->group,
                   (unsigned long long)d->hard.term);
    d->hard = c->hard;
}

void watch_durable(struct watch *a, struct host *h, const struct store_batch *b)
{
    for (size_t i = 0; i < b->count; i++) {
        const struct store_command *c = &b->commands[i];
        struct disk *d = &a->hosts[h->index].disks[c->group];
        switch (c->kind) {
        case STORE_CREATE:
            d->is_there = true;
            d->incarnation = c->incarnation;
            d->added = c->added;
            d->hard = (struct raft_hard_state){0};
            d->count = 0;
            break;
        case STORE_TOMBSTONE:
            d->is_there = false;
            break;
        case STORE_HARD:
            hard_stored(a, h, c);
            break;
        case STORE_APPEND:
            appended(a, h, c->group, c->item);
            break;
        case STORE_TRUNCATE:
            truncated(a, h, c->group, c->index);
            break;
        case STORE_QUARANTINE:
            world_fail(a->w, SIM_SAFETY, "n%u quarantines group %u: %.*s",
                       h->index + 1, c->group, (int)c->bytes.size,
                       (const char *)c->bytes.data);
        case STORE_BOOT:
        case STORE_RECORD:
        case STORE_PORTION:
        case STORE_SWEEP:
            break;
        }
    }
}

/* ---- who leads, who votes ---------------------------------------------- */

/* True if it was not known. */
static bool note_leader(struct watch *a, uint32_t group, uint64_t term,
                        struct replica leader)
{
    struct group_watch *gw = &a->groups[group];
    for (size_t i = gw->lead_count; i > 0; i--) {
        const struct lead *l = &gw->leads[i - 1];
        if (l->term != term)
            continue;
        if (!is_same(l->leader, leader))
            world_fail(a->w, SIM_SAFETY,
                       "I1: term %llu of group %u has two leaders, %s and %s",
                       (unsigned long long)term, group,
                       host_of(a->w, l->leader.node)->name,
                       host_of(a->w, leader.node)->name);
        return false;
    }
    gw->leads = mem_resize(gw->leads, (gw->lead_count + 1) * sizeof *gw->leads);
    gw->leads[gw->lead_count++] = (struct lead){term, leader};
    a->w->totals.elections++;
    return true;
}

static void note_vote(struct watch *a, uint32_t group, struct replica voter,
                      uint64_t term, struct replica candidate)
{
    struct group_watch *gw = &a->groups[group];
    for (size_t i = gw->vote_count; i > 0; i--) {
        const struct vote *v = &gw->votes[i - 1];
        if (v->term != term || !is_same(v->voter, voter))
            continue;
        if (!is_same(v->candidate, candidate))
            world_fail(a->w, SIM_SAFETY,
                       "I12: %s votes twice in term %llu of group %u, for %s "
                       "and %s",
                       host_of(a->w, voter.node)->name,
                       (unsigned long long)term, group,
                       host_of(a->w, v->candidate.node)->name,
                       host_of(a->w, candidate.node)->name);
        return;
    }
    gw->votes = mem_resize(gw->votes, (gw->vote_count + 1) * sizeof *gw->votes);
    gw->votes[gw->vote_count++] = (struct vote){voter, term, candidate};
}

static void vote_left(struct watch *a, struct host *h, const struct host *to,
                      const struct frame *f)
{
    const struct disk *d = &a->hosts[h->index].disks[f->group.group];
    struct replica self = {h->id, f->group.from_replica};
    struct replica candidate = {to->id, f->group.to_replica};
    if (d->hard.term < f->group.term ||
        (d->hard.term == f->group.term && !is_same(d->hard.vote, candidate)))
        world_fail(a->w, SIM_SAFETY,
                   "I12: n%u's vote for n%u in term %llu of group %u leaves "
                   "before it is on the disk",
                   h->index + 1, to->index + 1,
                   (unsigned long long)f->group.term, f->group.group);
    note_vote(a, f->group.group, self, f->group.term, candidate);
}

static void ack_left(struct watch *a, struct host *h, const struct frame *f)
{
    const struct disk *d = &a->hosts[h->index].disks[f->group.group];
    if (!d->is_there || d->added != f->group.from_replica ||
        d->count < f->msg.match)
        world_fail(a->w, SIM_SAFETY,
                   "I17: n%u acknowledges entry %llu of group %u, its disk "
                   "ends at %zu",
                   h->index + 1, (unsigned long long)f->msg.match,
                   f->group.group, d->count);
}

/* T13: who is invited is in a committed configuration, by the entry that the
 * invitation names. */
static void invited(struct watch *a, struct host *h, const struct host *to,
                    const struct frame *f)
{
    struct group_watch *gw = &a->groups[f->group.group];
    const struct variant *v = slot_at(gw, f->invite.added)->committed;
    struct config c;
    struct replica newcomer = {to->id, f->invite.added};
    if (v != NULL && entry_read_config(span_buf(&v->manifest), &c) == ERR_OK &&
        config_find(&c, newcomer) != NULL)
        return;
    world_fail(a->w, SIM_SAFETY,
               "T13: n%u invites n%u to group %u as replica %llu, which is "
               "in no committed configuration",
               h->index + 1, to->index + 1, f->group.group,
               (unsigned long long)f->invite.added);
}

bool watch_sent(struct watch *a, struct host *h, const struct host *to,
                struct span message, enum aim aim)
{
    struct wire_in in;
    struct frame_iter it;
    struct frame f;
    if (wire_read(message, &in) != ERR_OK)
        world_fail(a->w, SIM_OTHER, "n%u sends what is no message",
                   h->index + 1);
    bool has_hit = false;
    wire_frame_begin(&it, &in);
    while (wire_frame_next(&it, &f)) {
        if (f.kind == FRAME_INVITE)
            invited(a, h, to, &f);
        if (f.kind > FRAME_RAFT_LAST || f.kind < FRAME_RAFT_FIRST)
            continue;
        bool is_yes = f.msg.granted;
        if (f.msg.kind == RAFT_VOTE_REPLY && is_yes) {
            vote_left(a, h, to, &f);
            has_hit = has_hit || aim == AIM_VOTED;
        } else if (f.msg.kind == RAFT_VOTE) {
            struct replica self = {h->id, f.group.from_replica};
            note_vote(a, f.group.group, self, f.group.term, self);
        } else if (f.msg.kind == RAFT_APPEND_REPLY && is_yes) {
            ack_left(a, h, &f);
            has_hit = has_hit || aim == AIM_ACKED;
        } else if (f.msg.kind == RAFT_TIMEOUT_NOW) {
            a->doings.handed_over = f.group.group;
        } else if (f.msg.kind == RAFT_HEARTBEAT) {
            struct replica self = {h->id, f.group.from_replica};
            (void)note_leader(a, f.group.group, f.group.term, self);
        }
    }
    if (it.skipped > 0)
        world_fail(a->w, SIM_OTHER, "n%u sends a bad frame", h->index + 1);
    return has_hit && h->batch != NULL;
}

/* ---- what is committed ------------------------------------------------- */

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

/* T3: what clients are told is done must be on so many disks at least. */
static void check_acks(struct watch *a, uint32_t group, uint64_t index)
{
    uint32_t voters = config_voters(&a->groups[group].config);
    uint32_t acks = record_majority(a->w->plan.copies);
    if (record_majority(voters) < record_majority(acks) || voters < acks)
        world_fail(a->w, SIM_SAFETY,
                   "T3: commands are committed as entry %llu of group %u, "
                   "which has %u voters; it needs %u",
                   (unsigned long long)index, group, voters, acks);
}

static void entry_committed(struct watch *a, uint32_t group,
                            const struct variant *v, uint64_t index)
{
    struct entry_header header;
    struct config next;
    struct group_watch *gw = &a->groups[group];
    struct span manifest = span_buf(&v->manifest);
    if (entry_read_header(manifest, &header) != ERR_OK)
        return;
    if (header.kind == ENTRY_COMMANDS)
        check_acks(a, group, index);
    if (header.kind != ENTRY_CONFIG ||
        entry_read_config(manifest, &next) != ERR_OK)
        return;
    next.index = index;
    if (gw->config.index != 0 && configs_differ_by(&gw->config, &next) != 1)
        world_fail(a->w, SIM_SAFETY,
                   "I13: the configurations %llu and %llu of group %u differ "
                   "by more than one",
                   (unsigned long long)gw->config.index,
                   (unsigned long long)index, group);
    gw->config = next;
    a->w->totals.config_changes++;
}

static uint32_t count_durable(const struct variant *v, const struct config *c)
{
    uint32_t count = 0;
    for (uint32_t i = 0; v != NULL && i < c->count; i++)
        count +=
            c->members[i].is_voter && was_durable(v, c->members[i].replica);
    return count;
}

static void check_quorum(struct watch *a, struct host *h, uint32_t group,
                         const struct raft *r, uint64_t index)
{
    struct group_watch *gw = &a->groups[group];
    const struct config *c = raft_config(r);
    /* R5 (paper 5.4.2): what was counted is an entry of the own term. */
    if (raft_role(r) == RAFT_LEADER && raft_term_at(r, index) != raft_term(r))
        world_fail(a->w, SIM_SAFETY,
                   "R5: n%u, leader of group %u in term %llu, counts entry "
                   "%llu of term %llu",
                   h->index + 1, group, (unsigned long long)raft_term(r),
                   (unsigned long long)index,
                   (unsigned long long)raft_term_at(r, index));
    struct variant *v = find_variant(gw, index, raft_term_at(r, index));
    uint32_t count = count_durable(v, c);
    if (count > config_voters(c) / 2)
        return;
    /* It has committed, stepped down and followed, all in this one turn. */
    if (raft_role(r) != RAFT_LEADER && gw->config.count > 0 &&
        count_durable(v, &gw->config) > config_voters(&gw->config) / 2)
        return;
    world_fail(a->w, SIM_SAFETY,
               "I5: n%u commits entry %llu of group %u in term %llu; it is on "
               "%u disks of %u voters",
               h->index + 1, (unsigned long long)index, group,
               (unsigned long long)raft_term(r), count, config_voters(c));
}

static void commit_risen(struct watch *a, struct host *h, uint32_t group,
                         const struct raft *r, uint64_t from)
{
    struct group_watch *gw = &a->groups[group];
    uint64_t commit = raft_commit(r);
    if (commit > gw->committed)
        check_quorum(a, h, group, r, commit);
    for (uint64_t i = from + 1; i <= commit; i++) {
        struct slot *slot = slot_at(gw, i);
        uint64_t term = raft_term_at(r, i);
        if (slot->committed == NULL) {
            slot->committed = find_variant(gw, i, term);
            ASSERT(slot->committed != NULL);
            gw->committed = i;
            entry_committed(a, group, slot->committed, i);
            if (group > 0)
                twin_commit(a->w->twin, group, i, term,
                            span_buf(&slot->committed->manifest));
        }
        if (slot->committed->term != term)
            world_fail(a->w, SIM_SAFETY,
                       "I6: n%u has entry %llu of group %u committed with "
                       "term %llu; it was with term %llu",
                       h->index + 1, (unsigned long long)i, group,
                       (unsigned long long)term,
                       (unsigned long long)slot->committed->term);
    }
}

static void check_complete(struct watch *a, struct host *h, uint32_t group,
                           const struct raft *r)
{
    struct group_watch *gw = &a->groups[group];
    for (uint64_t i = 1; i <= gw->committed; i++) {
        const struct variant *v = slot_at(gw, i)->committed;
        if (v->term >= raft_term(r)) /* it leads in the past */
            return;
        if (raft_term_at(r, i) != v->term)
            world_fail(a->w, SIM_SAFETY,
                       "I3: n%u leads group %u in term %llu without entry "
                       "%llu of term %llu, which is committed",
                       h->index + 1, group, (unsigned long long)raft_term(r),
                       (unsigned long long)i, (unsigned long long)v->term);
    }
}

static void applied_risen(struct watch *a, struct host *h, uint32_t group,
                          uint64_t applied)
{
    struct slot *slot = slot_at(&a->groups[group], applied);
    const struct streams *s = node_streams(h->node, group);
    if (s == NULL)
        return;
    struct hash128 digest = streams_digest(s);
    if (!slot->has_digest) {
        slot->has_digest = true;
        slot->digest = digest;
    }
    if (slot->digest.lo != digest.lo || slot->digest.hi != digest.hi)
        world_fail(a->w, SIM_SAFETY,
                   "I4: n%u's state of group %u at entry %llu is not the "
                   "others'",
                   h->index + 1, group, (unsigned long long)applied);
    twin_compare(a->w->twin, h, group, applied, s);
}

/* ---- after a turn ------------------------------------------------------ */

static void check_monotone(struct watch *a, struct host *h, uint32_t group,
                           const struct claim *was, const struct claim *is)
{
    if (is->term < was->term || is->commit < was->commit ||
        is->applied < was->applied)
        world_fail(a->w, SIM_SAFETY,
                   "I10: n%u, group %u: term, commit or applied went back",
                   h->index + 1, group);
    if (is->applied > is->commit)
        world_fail(a->w, SIM_SAFETY,
                   "I7: n%u, group %u: applied %llu, committed %llu",
                   h->index + 1, group, (unsigned long long)is->applied,
                   (unsigned long long)is->commit);
}

/* S9D: the configuration in force is the newest in this log. An entry that is
 * on no disk yet is known to its leader alone. */
static void check_config(struct watch *a, struct host *h, uint32_t group,
                         const struct raft *r)
{
    const struct group_watch *gw = &a->groups[group];
    uint64_t index = raft_config(r)->index;
    uint64_t newest = 0;
    bool is_entry = index == 0;
    for (size_t i = gw->config_count; i > 0; i--) {
        const struct config_seen *c = &gw->configs[i - 1];
        if (raft_term_at(r, c->index) == c->term && c->index <= raft_last(r))
            newest = max_u64(newest, c->index);
        is_entry = is_entry || c->index == index;
    }
    if (index <= raft_last(r) &&
        (index == newest || (index > newest && !is_entry)))
        return;
    world_fail(a->w, SIM_SAFETY,
               "S9D: n%u, group %u: configuration %llu is in force, the "
               "newest in its log is %llu",
               h->index + 1, group, (unsigned long long)index,
               (unsigned long long)newest);
}

/* A leader's idea of what its followers have: each has had that very entry on
 * its disk (S4, S10C, R12). */
static void check_matches(struct watch *a, struct host *h, uint32_t group,
                          const struct raft *r)
{
    const struct raft_progress *p;
    size_t count = raft_followers(r, &p);
    for (size_t i = 0; i < count; i++) {
        uint64_t match = p[i].match;
        if (match == 0)
            continue;
        const struct variant *v =
            find_variant(&a->groups[group], match, raft_term_at(r, match));
        if (v == NULL || !was_durable(v, p[i].replica))
            world_fail(a->w, SIM_SAFETY,
                       "I3: n%u, leader of group %u in term %llu, believes "
                       "that %s+%llu has entry %llu of term %llu",
                       h->index + 1, group, (unsigned long long)raft_term(r),
                       host_of(a->w, p[i].replica.node)->name,
                       (unsigned long long)p[i].replica.added,
                       (unsigned long long)match,
                       (unsigned long long)raft_term_at(r, match));
    }
}

static uint64_t sum_of_matches(const struct raft *r)
{
    const struct raft_progress *p;
    size_t count = raft_followers(r, &p);
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += p[i].match;
    return sum;
}

/* R7: whoever has not heard of a majority for long does not lead. */
static void check_heard(struct watch *a, struct host *h, uint32_t group,
                        const struct raft *r)
{
    const struct raft_progress *p;
    size_t count = raft_followers(r, &p);
    uint32_t heard = 1;
    uint64_t patience = 2 * (uint64_t)a->w->plan.timing.election_ms;
    for (size_t i = 0; i < count; i++)
        heard += p[i].is_voter && world_ms(a->w) <= p[i].heard_ms + patience;
    if (heard <= config_voters(raft_config(r)) / 2)
        world_fail(a->w, SIM_LIVENESS,
                   "R7: n%u leads group %u and has heard of no majority for "
                   "two election timeouts",
                   h->index + 1, group);
}

/* True if it has begun to lead. */
static bool look_at(struct watch *a, struct host *h, uint32_t group,
                    const struct raft *r)
{
    struct claim *was = &a->hosts[h->index].claims[group];
    struct claim is = {.added = a->hosts[h->index].disks[group].added,
                       .role = raft_role(r),
                       .term = raft_term(r),
                       .commit = raft_commit(r),
                       .applied = node_applied(h->node, group),
                       .leader = raft_leader(r).node,
                       .matches = sum_of_matches(r)};
    if (was->added != is.added)
        *was = (struct claim){.added = is.added};
    if (is.role == RAFT_LEADER)
        check_heard(a, h, group, r);
    if (was->role == is.role && was->term == is.term &&
        was->commit == is.commit && was->applied == is.applied &&
        was->matches == is.matches && id_equal(was->leader, is.leader))
        return false;
    if (is.role == RAFT_FOLLOWER && !id_is_zero(is.leader))
        (void)note_leader(a, group, is.term, raft_leader(r));
    if (was->matches != is.matches)
        check_matches(a, h, group, r);
    check_config(a, h, group, r);
    check_monotone(a, h, group, was, &is);
    bool has_begun = is.role == RAFT_LEADER &&
                     (was->role != RAFT_LEADER || was->term != is.term);
    if (has_begun) {
        (void)note_leader(a, group, is.term, (struct replica){h->id, is.added});
        check_complete(a, h, group, r);
    }
    if (is.commit > was->commit)
        commit_risen(a, h, group, r, was->commit);
    if (is.applied > was->applied)
        applied_risen(a, h, group, is.applied);
    *was = is;
    raft_check(r);
    return has_begun;
}

static void look_at_record(struct watch *a, struct host *h)
{
    const struct record *r = node_record(h->node);
    if (r->epoch.number == h->last_epoch)
        return;
    if (r->epoch.number < h->last_epoch)
        world_fail(a->w, SIM_SAFETY,
                   "n%u's ring record goes back from epoch "
                   "%llu to %llu",
                   h->index + 1, (unsigned long long)h->last_epoch,
                   (unsigned long long)r->epoch.number);
    h->last_epoch = r->epoch.number;
    struct record *bare = record_copy(r);
    struct buf bytes = {0};
    bare->answer_count = 0; /* group 0's memory, not the ring's (record.h) */
    record_encode(bare, &bytes);
    uint64_t hash = hash64(span_buf(&bytes));
    record_free(bare);
    buf_free(&bytes);
    for (size_t i = 0; i < a->epoch_count; i++) {
        if (a->epochs[i].number != r->epoch.number)
            continue;
        if (a->epochs[i].hash != hash)
            world_fail(a->w, SIM_SAFETY, "n%u has another record %llu",
                       h->index + 1, (unsigned long long)r->epoch.number);
        return;
    }
    a->epochs = mem_resize(a->epochs, (a->epoch_count + 1) * sizeof *a->epochs);
    a->epochs[a->epoch_count++] = (struct epoch_seen){r->epoch.number, hash};
}

bool watch_wake(struct watch *a, struct host *h)
{
    a->doings.began_count = 0;
    for (uint32_t g = 0; g < a->w->plan.groups; g++) {
        const struct raft *r = node_raft(h->node, g);
        if (r != NULL && look_at(a, h, g, r))
            a->doings.began[a->doings.began_count++] = g;
    }
    look_at_record(a, h);
    return a->doings.began_count > 0;
}

bool watch_has_begun(const struct watch *a, uint32_t group)
{
    for (uint32_t i = 0; i < a->doings.began_count; i++)
        if (a->doings.began[i] == group)
            return true;
    return false;
}

uint32_t watch_handed_over(struct watch *a)
{
    uint32_t group = a->doings.handed_over;
    a->doings.handed_over = 0;
    return group;
}

void watch_started(struct watch *a, struct host *h)
{
    struct host_watch *hw = &a->hosts[h->index];
    memset(hw->claims, 0, sizeof hw->claims);
    h->last_epoch = 0;
    if (h->boot <= hw->newest_boot)
        world_fail(a->w, SIM_SAFETY, "I15: n%u starts with boot %llu again",
                   h->index + 1, (unsigned long long)h->boot);
    hw->newest_boot = h->boot;
}

void watch_crashed(struct watch *a, struct host *h)
{
    memset(a->hosts[h->index].claims, 0, sizeof a->hosts[h->index].claims);
}

/* What a founding stores is committed by definition. */
void watch_founded(struct watch *a, struct host *h)
{
    for (uint32_t g = 0; g < a->w->plan.groups; g++) {
        struct slot *slot = slot_at(&a->groups[g], 1);
        slot->committed = slot->variants;
        a->groups[g].committed = 1;
        entry_committed(a, g, slot->committed, 1);
        if (g > 0)
            twin_commit(a->w->twin, g, 1, slot->committed->term,
                        span_buf(&slot->committed->manifest));
    }
    (void)h;
}

/* ---- questions --------------------------------------------------------- */

struct host *watch_leader(const struct watch *a, uint32_t group)
{
    struct host *leader = NULL;
    uint64_t term = 0;
    for (uint32_t i = 0; i < a->w->host_count; i++) {
        struct host *h = a->w->hosts[i];
        const struct raft *r =
            h->node == NULL ? NULL : node_raft(h->node, group);
        if (r == NULL || raft_role(r) != RAFT_LEADER || raft_term(r) < term)
            continue;
        leader = h;
        term = raft_term(r);
    }
    return leader;
}

uint64_t watch_idle_terms(const struct watch *a, uint32_t group)
{
    uint64_t newest = 0;
    for (uint32_t i = 0; i < a->w->host_count; i++)
        newest = max_u64(newest, a->hosts[i].disks[group].hard.term);
    uint64_t led = a->groups[group].lead_count;
    return newest > led ? newest - led : 0;
}

uint64_t watch_elections(const struct watch *a, uint32_t group)
{
    return a->groups[group].lead_count;
}
