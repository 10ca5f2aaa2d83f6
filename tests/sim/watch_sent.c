/* watch_sent.c - what leaves; see watch.h. */
#include "tests/sim/watch_impl.h"

/* ---- who leads, who votes ---------------------------------------------- */

void watch_note_leader(struct watch *a, uint32_t group, uint64_t term,
                       struct replica leader)
{
    struct group_watch *gw = &a->groups[group];
    for (size_t i = gw->lead_count; i > 0; i--) {
        const struct lead *l = &gw->leads[i - 1];
        if (l->term != term)
            continue;
        MUST_HOLD(a->w, I1, replica_equal(l->leader, leader),
                  "term %llu of group %u has two leaders, %s and %s", ull(term),
                  group, host_of(a->w, l->leader.node)->name,
                  host_of(a->w, leader.node)->name);
        return;
    }
    gw->leads = mem_resize(gw->leads, (gw->lead_count + 1) * sizeof *gw->leads);
    gw->leads[gw->lead_count++] = (struct lead){term, leader};
    a->w->totals.elections++;
}

static void note_vote(struct watch *a, uint32_t group, struct replica voter,
                      uint64_t term, struct replica candidate)
{
    struct group_watch *gw = &a->groups[group];
    for (size_t i = gw->vote_count; i > 0; i--) {
        const struct vote *v = &gw->votes[i - 1];
        if (v->term != term || !replica_equal(v->voter, voter))
            continue;
        MUST_HOLD(a->w, I12, replica_equal(v->candidate, candidate),
                  "%s votes twice in term %llu of group %u, for %s and %s",
                  host_of(a->w, voter.node)->name, ull(term), group,
                  host_of(a->w, v->candidate.node)->name,
                  host_of(a->w, candidate.node)->name);
        return;
    }
    gw->votes = mem_resize(gw->votes, (gw->vote_count + 1) * sizeof *gw->votes);
    gw->votes[gw->vote_count++] = (struct vote){voter, term, candidate};
}

/* ---- frames ------------------------------------------------------------ */

static void vote_left(struct watch *a, struct host *h, const struct host *to,
                      const struct frame *f)
{
    const struct disk *d = &a->hosts[h->index].disks[f->group.group];
    struct replica self = {h->id, f->group.from_replica};
    struct replica candidate = {to->id, f->group.to_replica};
    MUST_HOLD(a->w, I12,
              d->hard.term > f->group.term ||
                  (d->hard.term == f->group.term &&
                   replica_equal(d->hard.vote, candidate)),
              "n%u's vote for n%u in term %llu of group %u leaves before it "
              "is on the disk",
              h->index + 1, to->index + 1, ull(f->group.term), f->group.group);
    note_vote(a, f->group.group, self, f->group.term, candidate);
}

static void ack_left(struct watch *a, struct host *h, const struct frame *f)
{
    const struct disk *d = &a->hosts[h->index].disks[f->group.group];
    MUST_HOLD(a->w, I17,
              d->is_there && d->added == f->group.from_replica &&
                  d->count >= f->msg.match,
              "n%u acknowledges entry %llu of group %u, its disk ends at %zu",
              h->index + 1, ull(f->msg.match), f->group.group, d->count);
    struct acked *acked = &a->hosts[h->index].acked[f->group.group];
    if (acked->added != d->added || acked->term != f->group.term)
        *acked = (struct acked){d->added, f->group.term, 0};
    acked->match = max_u64(acked->match, f->msg.match);
}

/* L10: its disk hangs, and it would lead for ever without getting on. A tick
 * sees that, and there is one for each heartbeat. */
static void heartbeat_left(struct watch *a, struct host *h,
                           const struct frame *f)
{
    struct replica self = {h->id, f->group.from_replica};
    const struct node_timing *t = &a->w->plan.timing;
    uint64_t patience = t->election_ms + t->heartbeat_ms + 2;
    watch_note_leader(a, f->group.group, f->group.term, self);
    MUST_HOLD(a->w, L10,
              h->batch == NULL ||
                  world_ms(a->w) <= h->commit_began_us / 1000 + patience,
              "n%u, leader of group %u, sends heartbeats; its disk has been "
              "busy with one commit for an election timeout",
              h->index + 1, f->group.group);
}

/* T13: who is invited is in a committed configuration, by the entry that the
 * invitation names. */
static void invited(struct watch *a, struct host *h, const struct host *to,
                    const struct frame *f)
{
    struct group_watch *gw = &a->groups[f->group.group];
    const struct variant *v = watch_slot(gw, f->invite.added)->committed;
    struct config c;
    struct replica newcomer = {to->id, f->invite.added};
    MUST_HOLD(
        a->w, T13,
        v != NULL && entry_read_config(span_buf(&v->manifest), &c) == ERR_OK &&
            config_find(&c, newcomer) != NULL,
        "n%u invites n%u to group %u as replica %llu, which is in no committed "
        "configuration",
        h->index + 1, to->index + 1, f->group.group, ull(f->invite.added));
}

/* True if it is what the aim waits for. */
static bool frame_left(struct watch *a, struct host *h, const struct host *to,
                       const struct frame *f, enum aim aim)
{
    struct replica self = {h->id, f->group.from_replica};
    bool is_of_group = f->kind < FRAME_SWIM;
    if (is_of_group && a->groups[f->group.group].is_anew)
        return false; /* watch_anew.c */
    if (f->kind == FRAME_INVITE)
        invited(a, h, to, f);
    if (f->kind > FRAME_RAFT_LAST || f->kind < FRAME_RAFT_FIRST)
        return false;
    if (f->msg.kind == RAFT_VOTE_REPLY && f->msg.granted) {
        vote_left(a, h, to, f);
        return aim == AIM_VOTED;
    }
    if (f->msg.kind == RAFT_APPEND_REPLY && f->msg.granted) {
        ack_left(a, h, f);
        return aim == AIM_ACKED;
    }
    if (f->msg.kind == RAFT_VOTE)
        note_vote(a, f->group.group, self, f->group.term, self);
    if (f->msg.kind == RAFT_TIMEOUT_NOW)
        a->doings.handed_over = f->group.group;
    if (f->msg.kind == RAFT_HEARTBEAT)
        heartbeat_left(a, h, f);
    return false;
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
    MUST_HOLD(a->w, I15,
              id_equal(in.header.from, h->id) && in.header.boot == h->boot,
              "n%u sends in another's name, or of boot %llu", h->index + 1,
              ull(in.header.boot));
    bool has_hit = false;
    wire_frame_begin(&it, &in);
    while (wire_frame_next(&it, &f))
        has_hit = frame_left(a, h, to, &f, aim) || has_hit;
    if (it.skipped > 0)
        world_fail(a->w, SIM_OTHER, "n%u sends a bad frame", h->index + 1);
    return has_hit && h->batch != NULL;
}
