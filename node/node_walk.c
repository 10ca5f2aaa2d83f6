/* node_walk.c - leaders walk their groups to their rows, one step at a time
 * (ring/walk.h decides); replicas come by invitation and go by proof. */
#include "node/node_impl.h"

#include "ring/walk.h"

/* A member that lags by so many entries is about to match. */
#define MATCHED_LAG 64u
/* Who dies again and again waits 64 times as long as after its first death. */
#define CALM_DOUBLINGS_MAX 6u

void node_walk_rank(struct node *n, struct group *g)
{
    uint32_t rank = record_rank(n->record, g->id, n->slot);
    raft_set_rank(g->raft, g->is_quarantined ? REPLICAS_MAX : rank);
}

/* ---- leaders ----------------------------------------------------------- */

/* Calm: not seen dead lately, or alive again for long enough (L3). */
static bool is_calm(const struct node *n, struct id128 node)
{
    const struct peer *p = node_peer(n, node);
    if (p == NULL || swim_state(&n->swim, node) == SWIM_DEAD)
        return false;
    if (p->deaths == 0)
        return true;
    uint32_t calm_ms = n->cfg.timing.calm_ms << (p->deaths - 1);
    return node_has_timed_out(n->now_ms, swim_since_ms(&n->swim, node),
                              calm_ms);
}

void node_walk_death(struct node *n, struct peer *p)
{
    uint32_t longest_ms = n->cfg.timing.calm_ms << CALM_DOUBLINGS_MAX;
    if (node_has_timed_out(n->now_ms, p->death_ms, 2 * longest_ms))
        p->deaths = 0;
    p->death_ms = n->now_ms;
    if (p->deaths <= CALM_DOUBLINGS_MAX)
        p->deaths++;
}

static bool is_out(const struct node *n, struct id128 node)
{
    uint16_t slot = record_slot(n->record, node);
    if (slot == SLOT_NONE)
        return true;
    const struct member *m = &n->record->members[slot];
    return m->seen == SEEN_OUT || m->wanted == WANTED_LEFT;
}

static const struct raft_progress *progress_of(const struct group *g,
                                               struct replica r)
{
    const struct raft_progress *p;
    size_t count = raft_followers(g->raft, &p);
    for (size_t i = 0; i < count; i++)
        if (replica_equal(p[i].replica, r))
            return &p[i];
    return NULL;
}

static bool is_live(const struct node *n, const struct raft_progress *p)
{
    return p->heard_ms != 0 && !node_has_timed_out(n->now_ms, p->heard_ms,
                                                   n->cfg.timing.election_ms);
}

/* What a learner says of itself, as long as it goes on saying it. */
static enum err last_answer(const struct node *n, const struct group *g,
                            struct replica r)
{
    const struct guest *guest = node_cut_guest(g, r);
    return guest == NULL || guest->answered_ms == 0 ||
                   node_has_timed_out(n->now_ms, guest->answered_ms,
                                      2 * n->cfg.timing.election_ms)
               ? ERR_TIMEOUT
               : guest->answer;
}

static struct walk_replica view_of(const struct node *n, const struct group *g,
                                   struct replica r)
{
    if (replica_equal(r, g->self))
        return (struct walk_replica){
            .is_live = true, .is_matched = true, .is_calm = true};
    const struct raft_progress *p = progress_of(g, r);
    if (p == NULL)
        return (struct walk_replica){.is_out = is_out(n, r.node)};
    bool is_matched =
        p->match > 0 && p->match + MATCHED_LAG >= raft_commit(g->raft);
    enum err answer = last_answer(n, g, r);
    bool is_refusing = answer == ERR_NO_SPACE || answer == ERR_UNAVAILABLE;
    return (struct walk_replica){
        .is_live = is_live(n, p),
        .is_matched = is_matched,
        .is_calm = is_calm(n, r.node),
        .is_lost = p->is_lost,
        .is_out = is_out(n, r.node),
        .is_behind = p->is_behind,
        .is_installing =
            !p->is_voter && (answer == ERR_OK || answer == ERR_BUSY),
        .refusal = is_refusing && !p->is_voter ? answer : ERR_OK};
}

static uint32_t row_nodes(const struct node *n, uint32_t group,
                          struct id128 row[REPLICATION_MAX])
{
    uint32_t count;
    const uint16_t *slots = record_row(n->record, group, &count);
    for (uint32_t i = 0; i < count; i++)
        row[i] = n->record->members[slots[i]].node;
    return count;
}

static bool may_hand_over(const struct node *n, const struct group *g)
{
    uint32_t wait_ms = n->cfg.timing.election_ms << g->hand_over_backoff;
    /* Whom the row prefers may have handed it over just now, since it stops. */
    return node_has_timed_out(n->now_ms, g->led_since_ms,
                              n->cfg.timing.stop_ms) &&
           (g->handed_over_ms == 0 ||
            node_has_timed_out(n->now_ms, g->handed_over_ms, wait_ms));
}

static void handed_over(struct node *n, struct group *g)
{
    g->handed_over_ms = n->now_ms;
    g->hand_over_backoff =
        g->hand_over_backoff < 8 ? g->hand_over_backoff + 1 : 8;
}

static void hand_over(struct node *n, struct group *g, struct replica to)
{
    if (may_hand_over(n, g) && raft_transfer(g->raft, to, n->now_ms) == ERR_OK)
        handed_over(n, g);
}

/* What the next step starts from. */
static const struct config *walked_to(const struct group *g)
{
    return RULE(S9B) ? raft_committed_config(g->raft) : raft_config(g->raft);
}

/* The next after this one, going round, so that two that are both damaged do
 * not hand it to each other for ever. What could not be read has been applied:
 * who has all that is committed lacks none of it, so that it can take over. */
void node_walk_leave(struct node *n, struct group *g)
{
    const struct config *c = raft_config(g->raft);
    uint32_t self = 0;
    while (self < c->count && !replica_equal(c->members[self].replica, g->self))
        self++;
    for (uint32_t i = 1; self < c->count && i < c->count; i++) {
        const struct config_member *m = &c->members[(self + i) % c->count];
        const struct raft_progress *p = progress_of(g, m->replica);
        if (m->is_voter && p != NULL && is_live(n, p) && !p->is_lost &&
            p->match >= raft_commit(g->raft) &&
            raft_transfer(g->raft, m->replica, n->now_ms) == ERR_OK)
            return;
    }
}

/* Nothing commits here without a voter that lacks what this log has cut, or, as
 * it came by transfer, has never had. That of another voter may begin lower. */
static void leave_if_it_begins_too_high(struct node *n, struct group *g)
{
    const struct raft_progress *p;
    size_t count = raft_followers(g->raft, &p);
    bool is_needed = false;
    for (size_t i = 0; i < count; i++)
        is_needed =
            is_needed || (p[i].is_voter && p[i].is_behind && is_live(n, &p[i]));
    if (!is_needed || !may_hand_over(n, g))
        return;
    node_walk_leave(n, g);
    handed_over(n, g);
    node_dirty(n, g);
}

static void take_step(struct node *n, struct group *g,
                      const struct walk_step *step)
{
    switch (step->kind) {
    case WALK_DONE:
        g->hand_over_backoff = 0;
        return;
    case WALK_WAIT:
        return;
    case WALK_TRANSFER:
        hand_over(n, g, step->replica);
        break;
    case WALK_ADD:
    case WALK_PROMOTE:
    case WALK_REMOVE: {
        struct config next;
        uint64_t index;
        walk_apply(walked_to(g), step, &next);
        enum err e = raft_change(g->raft, &next, &index);
        if (e != ERR_OK)
            g->walk_reason =
                e == ERR_BUSY ? "a change of configuration is being committed"
                              : "too few voters of the new configuration "
                                "answer and match, or leadership is on "
                                "its way";
        break;
    }
    }
    node_dirty(n, g);
}

/* S9A: nobody walks before an entry of the own term has committed. */
static bool may_walk(const struct group *g)
{
    return node_group_is_leading(g) ||
           (!RULE(S9A) && raft_role(g->raft) == RAFT_LEADER);
}

static void walk(struct node *n, struct group *g)
{
    const struct config *config = walked_to(g);
    if (RULE(T29) && epoch_compare(n->record->epoch, g->epoch) < 0) {
        g->walk_reason = "the ring record here is older than the group's";
        return;
    }
    if (RULE(S9B) && config->index != raft_config(g->raft)->index) {
        g->walk_reason = "a change of configuration is being committed";
        return;
    }
    struct walk_replica replicas[REPLICAS_MAX];
    for (uint32_t i = 0; i < config->count; i++)
        replicas[i] = view_of(n, g, config->members[i].replica);
    struct id128 row[REPLICATION_MAX];
    struct walk_view view = {
        .config = config,
        .replicas = replicas,
        .self = g->self,
        .row = row,
        .row_count = row_nodes(n, g->id, row),
    };
    struct walk_step step = walk_next(&view);
    g->walk_reason = step.reason;
    take_step(n, g, &step);
    if (step.kind == WALK_DONE || step.kind == WALK_WAIT)
        node_standing_mark(n, g);
}

/* From where the log is kept for who is invited (node_cut.c). 1: from its
 * beginning, and all comes by log, which little does soonest; a larger group is
 * installed even then, throttled and told. */
static uint64_t pin_of(const struct group *g)
{
    uint64_t cut = max_u64(raft_base(g->raft), raft_floor(g->raft));
    bool is_little =
        g->streams == NULL || streams_bytes(g->streams) <= COPY_BY_LOG_BYTES;
    return cut == 0 && !is_little ? 2 : cut + 1;
}

/* Learners that have not answered yet are invited, once the entry that adds
 * them has committed (T13), until they do. */
static void invite(struct node *n, struct group *g)
{
    const struct config *config =
        RULE(T13) ? raft_committed_config(g->raft) : raft_config(g->raft);
    const struct raft_progress *p;
    size_t count = raft_followers(g->raft, &p);
    for (size_t i = 0; i < count; i++) {
        if (p[i].is_voter || config_find(config, p[i].replica) == NULL)
            continue;
        if (p[i].heard_ms != 0 &&
            !node_has_timed_out(n->now_ms, p[i].heard_ms,
                                n->cfg.timing.election_ms))
            continue;
        struct peer *peer = node_peer(n, p[i].replica.node);
        if (peer == NULL)
            continue;
        struct frame f = {
            .kind = FRAME_INVITE,
            .group = {g->id, g->generation, g->self.added, p[i].replica.added,
                      raft_term(g->raft)},
            .invite = {.added = p[i].replica.added,
                       .pin = pin_of(g),
                       .epoch = n->record->epoch},
        };
        node_peer_frame(n, peer, &f);
    }
}

static struct frame removed_frame(const struct group *g, uint64_t to)
{
    return (struct frame){
        .kind = FRAME_REMOVED,
        .group = {g->id, g->generation, g->self.added, to, raft_term(g->raft)},
        .removed = {raft_commit(g->raft), *raft_committed_config(g->raft)},
    };
}

/* Who was in the configuration before and is no more is told at once; what is
 * lost on the way, orphans ask for. */
void node_walk_committed(struct node *n, struct group *g)
{
    const struct config *config = raft_committed_config(g->raft);
    if (config->index == g->config_told)
        return;
    struct config before = g->config_before;
    g->config_told = config->index;
    g->config_before = *config;
    if (raft_role(g->raft) != RAFT_LEADER)
        return;
    for (uint32_t i = 0; i < before.count; i++) {
        struct replica r = before.members[i].replica;
        struct peer *p = node_peer(n, r.node);
        if (p == NULL || config_find(config, r) != NULL)
            continue;
        struct frame f = removed_frame(g, r.added);
        node_peer_frame(n, p, &f);
    }
}

/* ---- orphans ----------------------------------------------------------- */

static void ask_node(struct node *n, struct group *g, struct id128 node)
{
    struct peer *p = node_peer(n, node);
    if (p == NULL)
        return;
    struct frame f = {
        .kind = FRAME_ASK,
        .group = {g->id, g->generation, g->self.added, 0, raft_term(g->raft)},
        .ask_added = raft_committed_config(g->raft)->index,
    };
    node_peer_frame(n, p, &f);
}

void node_walk_ask_all(struct node *n, const struct frame *f,
                       const struct config *config)
{
    struct id128 nodes[REPLICATION_MAX + REPLICAS_MAX];
    uint32_t count = row_nodes(n, f->group.group, nodes);
    for (uint32_t i = 0; i < config->count; i++)
        nodes[count++] = config->members[i].replica.node;
    for (uint32_t i = 0; i < count; i++) {
        struct peer *p = node_peer(n, nodes[i]);
        if (p != NULL)
            node_peer_frame(n, p, f);
    }
}

/* A learner that is being installed is heard of by its answers to invitations
 * only:
 *
 *   OK           it holds a part of the state, and comes along
 *   BUSY         it will come, and holds nothing yet
 *   UNAVAILABLE  nothing more comes: no room for it, or nobody gives it
 *   NO_SPACE     its node has no room for a new replica
 */
void node_walk_replied(struct node *n, struct peer *p, const struct frame *f)
{
    struct group *g = node_group(n, f->group.group);
    struct replica from = {p->node, f->group.from_replica};
    if (g != NULL && generation_equal(g->generation, f->group.generation))
        node_cut_answered(n, g, from, f->invite_reply);
}

/* A replica that has had no word from a leader asks all who should know
 * whether it is still in (L18). */
static void ask(struct node *n, struct group *g)
{
    uint32_t wait_ms = n->cfg.timing.orphan_ms;
    uint64_t heard = max_u64(raft_leader_heard_ms(g->raft), n->started_ms);
    if (!node_has_timed_out(n->now_ms, heard, wait_ms) ||
        !node_has_timed_out(n->now_ms, g->asked_ms, wait_ms))
        return;
    g->asked_ms = n->now_ms;
    struct id128 row[REPLICATION_MAX];
    uint32_t count = row_nodes(n, g->id, row);
    for (uint32_t i = 0; i < count; i++)
        ask_node(n, g, row[i]);
    const struct config *config = raft_config(g->raft);
    for (uint32_t i = 0; i < config->count; i++)
        ask_node(n, g, config->members[i].replica.node);
}

/* Who was let go is on its way as a learner, or was until a moment ago. */
static bool is_coming(const struct node *n, const struct group *g)
{
    uint64_t heard_ms = g->let_go_ms;
    for (uint32_t i = 0; i < REPLICAS_MAX; i++) {
        const struct guest *guest = &g->guests[i];
        bool comes = guest->answer == ERR_OK || guest->answer == ERR_BUSY;
        if (comes && id_equal(guest->replica.node, g->let_go))
            heard_ms = max_u64(heard_ms, guest->answered_ms);
    }
    return g->let_go_ms != 0 &&
           !node_has_timed_out(n->now_ms, heard_ms, n->cfg.timing.orphan_ms);
}

/* S7: as long as the founder is all that there is of a new life, those of the
 * former one are the only other copies. They go one by one, each to be made
 * anew, until there is a second. */
static bool may_go(const struct node *n, const struct group *g,
                   struct id128 former)
{
    uint32_t row_count;
    (void)record_row(n->record, g->id, &row_count);
    const struct config *c = raft_committed_config(g->raft);
    if (config_voters(c) != 1 || row_count == 1)
        return true;
    if (raft_role(g->raft) != RAFT_LEADER)
        return false;
    for (uint32_t i = 0; i < c->count; i++) {
        struct replica r = c->members[i].replica;
        struct walk_replica view = view_of(n, g, r);
        if (!replica_equal(r, g->self) && view.is_live && view.is_matched)
            return true;
    }
    return config_find_node(c, former) != NULL &&
           (id_equal(g->let_go, former) || !is_coming(n, g));
}

void node_walk_asked(struct node *n, struct peer *p, const struct frame *f)
{
    struct group *g = node_group(n, f->group.group);
    /* S7: who is of a lower generation is none of this one's. */
    if (g == NULL || raft_has_ended(g->raft) ||
        g->generation.counter < f->group.generation.counter ||
        generation_clash(g->generation, f->group.generation))
        return;
    struct replica asker = {p->node, f->group.from_replica};
    if ((RULE(S5) && raft_commit(g->raft) < asker.added) ||
        config_find(raft_committed_config(g->raft), asker) != NULL)
        return;
    if (g->generation.counter > f->group.generation.counter) {
        if (!may_go(n, g, p->node))
            return;
        g->let_go = p->node;
        g->let_go_ms = n->now_ms;
    }
    struct frame answer = removed_frame(g, asker.added);
    node_peer_frame(n, p, &answer);
}

/* ---- going ------------------------------------------------------------- */

/* The highest id that can be ours no more. As of the proof's commit index all
 * that were ever given are in its configuration or gone for ever; a new life
 * of this node that is in it must still be let in. */
static uint64_t tombstone_of(struct replica self, const struct frame_removed *r)
{
    const struct config_member *m = config_find_node(&r->config, self.node);
    uint64_t least = max_u64(self.added, r->commit);
    return m != NULL && m->replica.added > self.added
               ? min_u64(least, m->replica.added - 1)
               : least;
}

void node_walk_drop(struct node *n, uint32_t id, uint64_t least)
{
    struct group *g = node_group(n, id);
    struct install *in = n->installs[id];
    uint32_t incarnation = g != NULL ? g->incarnation : in->incarnation;
    n->removed_count++;
    n->removed_ms = n->now_ms;
    n->tombstones[id] = least;
    n->incarnations[id] = incarnation;
    struct extra *x = node_cycle_extra(n, EXTRA_TOMBSTONE);
    x->command.kind = STORE_TOMBSTONE;
    x->command.group = id;
    x->command.incarnation = incarnation;
    x->command.added = least;
    struct sweep *s = node_queue_push(&n->sweeps);
    *s = (struct sweep){id, incarnation};
    if (in != NULL) {
        node_install_dropped(n, in);
        return;
    }
    if (id == 0)
        node_ring_gone(n);
    node_group_free(n, g);
}

/* Of the own generation, or of the one that the record says has come after it
 * (S7). */
static bool may_prove(const struct node *n, uint32_t group,
                      struct generation own, struct generation of_proof)
{
    return generation_equal(own, of_proof) ||
           (own.counter < of_proof.counter &&
            generation_equal(of_proof, record_generation(n->record, group)));
}

/* Proof: as of a commit index at or above the own id, the configuration lacks
 * this very pair; ids are never given again (S5, T13). */
void node_walk_removed(struct node *n, struct peer *p, const struct frame *f)
{
    uint32_t id = f->group.group;
    struct group *g = node_group(n, id);
    struct install *in = n->installs[id];
    struct replica self = {0};
    struct generation own = {0};
    if (g != NULL) {
        self = g->self;
        own = g->generation;
    } else if (in != NULL) {
        self = in->self;
        own = in->generation;
    }
    /* Who founds the next life is all that there is of it. */
    bool is_founder = g != NULL && (g->is_founding || g->is_being_founded);
    if (self.added == 0 || is_founder ||
        !may_prove(n, id, own, f->group.generation) ||
        f->group.to_replica != self.added ||
        (RULE(S5) && f->removed.commit < self.added) ||
        config_find(&f->removed.config, self) != NULL) {
        n->dropped++;
        return;
    }
    node_log(n, NODE_DEBUG, "group %u: replica %llu was removed, says node %s",
             id, (unsigned long long)self.added,
             n->record->members[p->slot].name);
    node_walk_drop(n, id, tombstone_of(self, &f->removed));
}

/* ---- coming ------------------------------------------------------------ */

static void reply_invite(struct node *n, struct id128 to,
                         const struct frame_group *g, enum err err)
{
    struct peer *p = node_peer(n, to);
    if (p == NULL)
        return;
    struct frame f = {
        .kind = FRAME_INVITE_REPLY,
        .group = {g->group, g->generation, g->to_replica, g->from_replica,
                  g->term},
        .invite_reply = err,
    };
    node_peer_frame(n, p, &f);
}

static bool is_being_created(const struct node *n, uint32_t group)
{
    const struct queue *both[] = {&n->extras, &n->cycle.extras};
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < both[k]->count; i++) {
            const struct extra *x = node_queue_at(both[k], i);
            if (x->kind == EXTRA_CREATE && x->command.group == group)
                return true;
        }
    }
    return false;
}

/* Of one that is being installed: by its leader, or by another one since. */
static void invited_again(struct node *n, struct install *in, struct peer *p,
                          const struct frame *f)
{
    if (in->self.added == f->invite.added) {
        node_install_invited(n, in, p, f);
        reply_invite(n, p->node, &f->group, node_install_answer(n, in));
    } else if (in->self.added < f->invite.added) { /* is there proof? */
        struct frame ask = {
            .kind = FRAME_ASK,
            .group = {in->id, in->generation, in->self.added, 0, 0},
            .ask_added = in->self.added,
        };
        node_peer_frame(n, p, &ask);
    }
}

/* An accepted invitation is the only way, after init, in which a replica
 * comes to be (T7). With pin 1 it begins empty, and all comes by log. Else it
 * is installed first. */
void node_walk_invite(struct node *n, struct peer *p, const struct frame *f)
{
    uint32_t id = f->group.group;
    uint64_t added = f->invite.added;
    if (id >= n->group_count || added == 0 || f->invite.pin == 0) {
        n->dropped++;
        return;
    }
    if (epoch_compare(f->invite.epoch, n->record->epoch) > 0) {
        node_ring_ask(n, p);
        return;
    }
    /* S7: of a life that is over. The answer's header says so. */
    if (RULE(S7) && !generation_equal(f->group.generation,
                                      record_generation(n->record, id))) {
        reply_invite(n, p->node, &f->group, ERR_BUSY);
        return;
    }
    struct group *g = n->groups[id];
    struct install *in = n->installs[id];
    if (in != NULL) {
        invited_again(n, in, p, f);
        return;
    }
    if (g != NULL) {
        if (g->self.added < added) /* a former life: is there proof? */
            ask_node(n, g, p->node);
        return;
    }
    if (added <= n->tombstones[id] || is_being_created(n, id))
        return;
    /* T29: by an older record. The answer's header says that there is a newer
     * one. */
    if (epoch_compare(f->invite.epoch, n->record->epoch) < 0) {
        reply_invite(n, p->node, &f->group, ERR_BUSY);
        return;
    }
    if (!node_has_room(n)) {
        reply_invite(n, p->node, &f->group, ERR_NO_SPACE);
        return;
    }
    struct extra *x = node_cycle_extra(n, EXTRA_CREATE);
    x->command.kind = STORE_CREATE;
    x->command.group = id;
    x->command.incarnation = n->incarnations[id] + 1;
    x->command.generation = f->group.generation;
    x->command.added = added;
    x->command.is_installing = f->invite.pin > 1;
    x->invited_by = p->node;
    x->invite = f->group;
    x->pin = f->invite.pin;
}

void node_walk_created(struct node *n, const struct extra *x)
{
    const struct store_command *c = &x->command;
    struct raft_stored empty = {0};
    if (c->is_installing) {
        node_install_created(n, x);
        if (!id_is_zero(x->invited_by))
            reply_invite(n, x->invited_by, &x->invite, ERR_BUSY);
    } else {
        struct group *g = node_group_new(n, c->group, c->incarnation,
                                         c->generation, c->added, &empty);
        node_walk_rank(n, g);
        node_dirty(n, g);
        reply_invite(n, x->invited_by, &x->invite, ERR_OK);
    }
    node_recover_look(n); /* the group may have been recovered meanwhile */
}

/* One line for a table's change, once it has come to rest. */
static void tell_removed(struct node *n)
{
    if (n->removed_count == 0 || !node_has_timed_out(n->now_ms, n->removed_ms,
                                                     n->cfg.timing.election_ms))
        return;
    node_log(n, NODE_INFO, "%u replicas were removed here: others keep them",
             n->removed_count);
    n->removed_count = 0;
}

void node_walk_tick(struct node *n)
{
    tell_removed(n);
    for (uint32_t i = 0; i < n->group_count; i++) {
        struct group *g = n->groups[i];
        if (g == NULL)
            continue;
        bool is_leader = raft_role(g->raft) == RAFT_LEADER;
        if (!may_walk(g)) {
            g->walk_reason = NULL;
            if (is_leader)
                leave_if_it_begins_too_high(n, g);
            else if (RULE(L18) && !g->is_founding)
                ask(n, g);
            continue;
        }
        if (n->is_stopping)
            continue;
        walk(n, g);
        invite(n, g);
        node_cut_tick(n, g);
    }
}
