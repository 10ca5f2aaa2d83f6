/* node_recover.c - a group that has lost its majority for good goes on from a
 * survivor, in another generation (S7, T12).
 *
 *   a partition  the ring's record grants the next generation and names its
 *                founder, by compare and append, before anybody begins it
 *   group 0      has nobody to grant it: the operator's command goes to one
 *                survivor, with the random bits of the generation
 *
 *   founder   raft_end -> its whole log applied, stored, cut -> RECOVER: alone
 *             in its configuration, GENERATION_STEP above for each
 *             generation that is between -> a group again
 *   others    raft_end: silent from the moment that they know the record. They
 *             keep what they have, and ask (L18), until the new life proves
 *             itself: then they are dropped as removed (T13), one by one as
 *             long as the founder is alone, and may be invited anew. Should
 *             the founder die before, one of them can be the next. They answer
 * no client (S7); to another of their life they give bytes as before, and it
 * does not go on either.
 *
 * A replica of a later life than the record's is at its end as well: group 0
 * was founded from a record that did not know of its grant (T12), and it could
 * neither invite anybody nor be told from a second history. It keeps what it
 * has: the next grant is above all that anybody tells of, and may name it.
 *
 * The record that grants is durable here before, or with, anything that is
 * applied by force: it is the older write, and a restart goes on from it. Of
 * group 0 nothing is applied by force before the one write that founds it. */
#include "node/node_impl.h"

/* So long is another history remembered, and not told of again. */
#define CLASH_MS 30000u
/* ... and so long a newer record waited for, which peers speak of. */
#define NEWER_MS 30000u

static const struct id128 nobody = {{0}};

/* ---- at its end -------------------------------------------------------- */

static void end(struct node *n, struct group *g, bool is_founder)
{
    g->is_founding = is_founder;
    raft_end(g->raft, is_founder, n->now_ms);
    struct generation now = record_generation(n->record, g->id);
    node_log(n, NODE_WARN,
             is_founder ? "group %u was recovered: this node founds its next "
                          "generation, from entry %llu"
             : g->generation.counter > now.counter
                 ? "group %u: the ring has forgotten the generation of this "
                   "replica, which ends with entry %llu: it waits for another "
                   "recovery, or for the node to be removed and to join anew"
                 : "group %u was recovered: this replica, which ends with "
                   "entry %llu, is of another life",
             g->id, (unsigned long long)raft_last(g->raft));
    node_dirty(n, g);
}

static bool may_found(const struct node *n, const struct group *g,
                      struct generation now)
{
    return g->id > 0 && !g->is_quarantined && raft_last(g->raft) > 0 &&
           g->generation.counter < now.counter &&
           record_founder(n->record, g->id) == n->slot;
}

bool node_recover_is_former(const struct group *g)
{
    return raft_has_ended(g->raft) && !g->is_founding && !g->is_being_founded;
}

/* At its end is who is not of the record's generation: that is a later one, or
 * of another history (two were founded at once), or has forgotten this one. */
void node_recover_look(struct node *n)
{
    for (uint32_t i = 0; i < n->group_count; i++) {
        struct group *g = n->groups[i];
        struct install *in = n->installs[i];
        struct generation now = record_generation(n->record, i);
        if (in != NULL && !generation_equal(in->generation, now) && RULE(S7))
            node_walk_drop(n, i, in->self.added);
        if (g == NULL || g->is_being_founded ||
            generation_equal(g->generation, now))
            continue;
        /* The founder before may have died: now it is another's turn. */
        bool is_founder = may_found(n, g, now);
        if (raft_has_ended(g->raft) && g->is_founding == is_founder)
            continue;
        if (is_founder || RULE(S7))
            end(n, g, is_founder);
    }
}

/* ---- founding ---------------------------------------------------------- */

/* Nothing of it waits for the disk, or is on the way there. */
static bool is_at_rest(const struct group *g)
{
    return !g->is_hard_waiting && g->log_commands.count == 0 &&
           raft_durable_index(g->raft) == raft_last(g->raft) &&
           g->applied == raft_applicable(g->raft) && g->stored == g->applied &&
           g->cut_pending == raft_base(g->raft);
}

/* Each generation has indexes of its own, from its counter times the step on,
 * also if the founder has missed some: what is made of indexes (ids of streams
 * and replicas) is never given twice (S7). */
static uint64_t first_index(const struct group *g, struct generation next)
{
    uint64_t steps = RULE(S7) ? next.counter - g->generation.counter : 1;
    return raft_last(g->raft) + steps * GENERATION_STEP;
}

static struct extra *found(struct node *n, struct group *g,
                           struct generation generation, struct epoch epoch)
{
    uint64_t index = first_index(g, generation);
    struct config config = {.index = index, .count = 1};
    config.members[0] = (struct config_member){
        .replica = {n->cfg.folder.node, index}, .is_voter = true};
    struct extra *x = node_cycle_extra(n, EXTRA_RECOVER);
    x->config = mem_copy(&config, sizeof config);
    x->command = (struct store_command){
        .kind = STORE_RECOVER,
        .group = g->id,
        .incarnation = g->incarnation,
        .generation = generation,
        .added = index,
        .index = index,
        .term = raft_term(g->raft),
        .digest = g->digest,
        .epoch = epoch,
    };
    g->is_being_founded = true;
    return x;
}

/* Another grant may have come meanwhile: the newest one counts. */
static void found_partition(struct node *n, struct group *g)
{
    if (raft_base(g->raft) < raft_last(g->raft) ||
        record_founder(n->record, g->id) != n->slot)
        return; /* it is being cut: node_cut.c */
    (void)found(n, g, record_generation(n->record, g->id), n->record->epoch);
}

/* The newest record that is known here: what its own log says, committed or
 * not, unless a later one was published. */
static struct record *newest_record(const struct node *n, const struct group *g)
{
    struct record *r = record_copy(n->ring);
    for (uint64_t i = g->applied + 1; i <= raft_last(g->raft); i++) {
        struct item *item = raft_cached(g->raft, i);
        struct entry_record e;
        struct proposal_answer answer;
        ASSERT(item != NULL); /* it is not applied */
        if (item->kind == ENTRY_RECORD &&
            (entry_read_record(item_manifest(item), &e) != ERR_OK ||
             record_apply(&r, &e, &answer) != ERR_OK))
            break;
    }
    if (epoch_compare(n->record->epoch, r->epoch) < 0)
        return r;
    record_free(r);
    return record_copy(n->record);
}

void node_recover_give_up(struct node *n, const char *why)
{
    struct founding f = n->founding;
    if (!f.is_wanted)
        return;
    n->founding = (struct founding){0};
    record_free(f.record);
    node_refuse(n, f.connection, f.number, OP_RECOVER, ERR_CONFLICT, nobody,
                why);
}

static void found_ring(struct node *n, struct group *g)
{
    if (RULE(T12) &&
        n->founding.generation.counter <= n->record->generation.counter) {
        node_recover_give_up(n, "group 0 was recovered elsewhere meanwhile");
        return;
    }
    struct record *next = newest_record(n, g);
    struct buf row = {0};
    record_found_anew(next, n->founding.generation, n->wall_ms);
    record_encode(next, &row);
    struct image image = {ROW_STATE, span_str(RECORD_ROW_KEY), false,
                          span_buf(&row)};
    struct extra *x = found(n, g, next->generation, next->epoch);
    x->command.digest = row_digest(image.key, image.value);
    image_put(&x->bytes, &image);
    n->founding.record = next;
    buf_free(&row);
}

void node_recover_turn(struct node *n, struct group *g)
{
    if (g->is_quarantined && g->id == 0 && !g->is_being_founded)
        node_recover_give_up(n, "this node's replica of group 0 is damaged");
    if (g->is_being_founded || g->is_quarantined || !is_at_rest(g))
        return;
    if (g->is_founding)
        found_partition(n, g);
    else if (g->id == 0 && n->founding.is_wanted)
        found_ring(n, g);
}

/* ---- founded ----------------------------------------------------------- */

static void ring_founded(struct node *n)
{
    struct response r = {.op = OP_RECOVER, .err = ERR_OK};
    record_free(n->ring);
    n->ring = n->founding.record;
    r.epoch = n->ring->epoch;
    node_ring_adopt(n, record_copy(n->ring), false);
    node_respond(n, n->founding.connection, n->founding.number, &r);
    n->founding = (struct founding){0};
}

void node_recover_done(struct node *n, const struct extra *x)
{
    const struct store_command *c = &x->command;
    struct group *old = node_group(n, c->group);
    ASSERT(old != NULL && old->is_being_founded &&
           old->incarnation == c->incarnation);
    struct raft_stored stored = {
        .hard = {.term = c->term},
        .base_index = c->index,
        .base_term = c->term,
        .last_index = c->index,
        .applied_index = c->index,
        .configs = x->config,
        .config_count = 1,
    };
    struct streams *streams = old->streams; /* they go on */
    old->streams = NULL;
    node_group_free(n, old);
    struct group *g = node_group_new(n, c->group, c->incarnation, c->generation,
                                     c->added, &stored);
    streams_free(g->streams);
    g->streams = streams;
    g->digest = g->stored_digest = c->digest;
    g->epoch = c->epoch;
    if (g->id == 0)
        ring_founded(n);
    node_log(n, NODE_WARN, "group %u goes on as generation %u, from entry %llu",
             g->id, c->generation.counter, (unsigned long long)c->index);
    node_walk_rank(n, g);
    node_dirty(n, g);
    node_recover_look(n); /* a later grant may have come */
}

/* ---- the ring's own ---------------------------------------------------- */

static bool has_majority(const struct node *n, const struct group *g)
{
    const struct config *c = raft_config(g->raft);
    uint32_t live = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        const struct config_member *m = &c->members[i];
        live += m->is_voter &&
                (replica_equal(m->replica, g->self) ||
                 swim_state(&n->swim, m->replica.node) <= SWIM_ALIVE);
    }
    return live >= record_majority(config_voters(c));
}

/* Another history of the ring has been heard of: a later generation ends both.
 */
static bool is_clashing(const struct node *n)
{
    return n->clash_ms != 0 &&
           !node_has_timed_out(n->now_ms, n->clash_ms, CLASH_MS);
}

/* Without the operator. Of a later life than this replica's nothing is known
 * here but that somebody leads it: its founder may have died alone. */
static bool goes_on(const struct node *n, const struct group *g)
{
    return raft_has_ended(g->raft) ? node_standing_is_led(n, 0)
                                   : has_majority(n, g);
}

/* What the newest record has decided would be undone: grants, members (T12). */
static bool is_outdated(const struct node *n)
{
    return epoch_compare(n->epoch_heard, n->record->epoch) > 0 &&
           !node_has_timed_out(n->now_ms, n->epoch_heard_ms, NEWER_MS);
}

/* Why not, or NULL. */
static const char *refusal(const struct node *n, struct generation generation,
                           enum err *err)
{
    const struct group *g = node_group(n, 0);
    *err = ERR_REFUSED;
    if (g == NULL || n->ring == NULL || g->is_quarantined ||
        raft_last(g->raft) == 0)
        return "this node has no sound replica of group 0";
    if (goes_on(n, g) && !is_clashing(n))
        return "a majority of group 0 is alive, as far as this node knows: "
               "wait for its leader";
    *err = ERR_CONFLICT;
    if (generation.counter != n->record->generation.counter + 1 ||
        generation.counter > GENERATIONS_MAX)
        return "group 0 has been recovered since: look again";
    *err = ERR_BUSY;
    if (RULE(T12) && is_outdated(n))
        return "a newer ring record has been heard of, and is asked for: try "
               "again, or with another survivor";
    if (n->founding.is_wanted)
        return "it is being recovered here";
    return NULL;
}

void node_recover_ring(struct node *n, uint64_t connection, uint64_t number,
                       struct generation generation)
{
    enum err err;
    /* A repeat, whose answer was lost. */
    if (generation_equal(generation, n->record->generation)) {
        struct response r = {
            .op = OP_RECOVER, .err = ERR_OK, .epoch = n->record->epoch};
        node_respond(n, connection, number, &r);
        return;
    }
    const char *why = refusal(n, generation, &err);
    if (why != NULL) {
        node_refuse(n, connection, number, OP_RECOVER, err, nobody, why);
        return;
    }
    n->founding = (struct founding){.is_wanted = true,
                                    .connection = connection,
                                    .number = number,
                                    .generation = generation};
    end(n, n->groups[0], false);
}

void node_recover_heard(struct node *n, struct epoch epoch)
{
    n->epoch_heard = epoch;
    n->epoch_heard_ms = n->now_ms;
}

void node_recover_clash(struct node *n, const struct peer *p)
{
    bool is_told = is_clashing(n);
    n->clash_ms = n->now_ms + 1;
    if (is_told)
        return;
    node_log(n, NODE_ERROR,
             "node %s has a ring record of another history (two forced "
             "recoveries at once?); it is refused: recover group 0 again on "
             "the side that is to stay",
             n->record->members[p->slot].name);
}
