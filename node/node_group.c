/* node_group.c - one hosted group: raft's effects become storage commands,
 * frames and answers; committed entries are applied, and their after-images
 * kept until they are stored. */
#include "node/node_impl.h"

/* Bytes of one group's entries on their way to one follower. */
#define GROUP_INFLIGHT_BYTES (2 * MIB)

struct group *node_group(const struct node *n, uint32_t id)
{
    return id < n->group_count ? n->groups[id] : NULL;
}

struct group *node_group_same(const struct node *n, uint32_t id,
                              uint32_t incarnation)
{
    struct group *g = node_group(n, id);
    return g != NULL && g->incarnation == incarnation ? g : NULL;
}

struct group *node_group_new(struct node *n, uint32_t id, uint32_t incarnation,
                             struct generation generation, uint64_t added,
                             const struct raft_stored *stored)
{
    ASSERT(id < n->group_count && n->groups[id] == NULL);
    struct group *g = mem_alloc(sizeof *g);
    g->id = id;
    g->incarnation = incarnation;
    g->generation = generation;
    g->self = (struct replica){n->cfg.folder.node, added};
    g->applied = g->stored = g->stored_pending = stored->applied_index;
    g->role_term = stored->hard.term;
    struct raft_cfg cfg = {
        .group = id,
        .generation = generation,
        .self = g->self,
        .pool = &n->pool,
        .seed = rng_next(&n->rng),
        .election_ms = n->cfg.timing.election_ms,
        .heartbeat_ms = n->cfg.timing.heartbeat_ms,
        .jitter_percent = n->cfg.timing.jitter_percent,
        .append_inflight_bytes = GROUP_INFLIGHT_BYTES,
    };
    g->raft = raft_new(&cfg, stored, n->now_ms);
    g->streams = id == 0 ? NULL : streams_new();
    node_queue_init(&g->log_commands, sizeof(struct log_command));
    node_queue_init(&g->images, sizeof(struct images));
    node_queue_init(&g->pendings, sizeof(struct pending));
    node_queue_init(&g->questions, sizeof(struct question));
    node_queue_init(&g->cut_marks, sizeof(uint64_t));
    g->cut_pending = stored->base_index;
    n->groups[id] = g;
    n->next_group_tick_ms = 0;
    return g;
}

void node_group_free(struct node *n, struct group *g)
{
    if (g == NULL)
        return;
    node_serve_drop(n, g);
    while (g->log_commands.count > 0) {
        struct log_command *c = node_queue_at(&g->log_commands, 0);
        if (c->item != NULL)
            item_unref(&n->pool, c->item);
        node_queue_pop(&g->log_commands);
        n->log_waiting--;
    }
    n->hard_waiting -= g->is_hard_waiting;
    while (g->images.count > 0) {
        struct images *i = node_queue_at(&g->images, 0);
        n->unstored_entries--;
        n->unstored_bytes -= i->rows.size;
        /* A portion under way may still be reading them. */
        if (n->cycle.is_out)
            *(struct buf *)node_queue_push(&n->cycle.orphans) = i->rows;
        else
            buf_free(&i->rows);
        node_queue_pop(&g->images);
    }
    node_queue_free(&g->log_commands);
    node_queue_free(&g->images);
    node_queue_free(&g->cut_marks);
    raft_free(g->raft);
    streams_free(g->streams);
    n->groups[g->id] = NULL;
    mem_free(g);
}

bool node_group_is_leading(const struct group *g)
{
    return raft_role(g->raft) == RAFT_LEADER && raft_is_ready(g->raft) &&
           !g->is_quarantined;
}

struct id128 node_group_hint(const struct group *g)
{
    return raft_leader(g->raft).node;
}

/* ---- raft's effects ---------------------------------------------------- */

static void queue_log(struct node *n, struct group *g,
                      const struct raft_effect *e)
{
    n->log_waiting++;
    if (g->log_commands.count == 0)
        *(uint32_t *)node_queue_push(&n->log_groups) = g->id;
    struct log_command *c = node_queue_push(&g->log_commands);
    c->is_truncate = e->kind == RAFT_DO_TRUNCATE;
    c->item = c->is_truncate ? NULL : e->item;
    c->index = c->is_truncate ? e->index : e->item->index;
    c->write = e->write;
}

/* A new leader judges what it lets into its log as if all that is in the log
 * were applied (T31). */
void node_group_speculate(struct group *g)
{
    if (g->streams == NULL || g->is_quarantined)
        return;
    streams_spec_clear(g->streams);
    for (uint64_t i = g->applied + 1; i <= raft_last(g->raft); i++) {
        struct item *item = raft_cached(g->raft, i);
        ASSERT(item != NULL);
        streams_spec_note(g->streams, item_manifest(item));
    }
}

static void role_changed(struct node *n, struct group *g)
{
    enum raft_role role = raft_role(g->raft);
    uint64_t term = raft_term(g->raft);
    bool was_leader = g->role == RAFT_LEADER;
    bool is_leader = role == RAFT_LEADER;
    bool is_new_term = term != g->role_term;
    g->role = role;
    g->role_term = term;
    if (was_leader && (!is_leader || is_new_term)) {
        node_serve_deposed(n, g);
        if (g->id == 0)
            node_ring_deposed(n);
    }
    if (is_leader && (!was_leader || is_new_term)) {
        node_log(n, NODE_DEBUG, "leads group %u in term %llu", g->id,
                 (unsigned long long)term);
        g->led_since_ms = n->now_ms;
        node_cut_led(n, g);
        node_group_speculate(g);
    }
}

static void drain_raft(struct node *n, struct group *g)
{
    struct raft_effect e;
    while (raft_pop(g->raft, &e)) {
        switch (e.kind) {
        case RAFT_DO_SEND:
            node_peer_raft(n, g, &e.msg);
            break;
        case RAFT_DO_HARD:
            if (!g->is_hard_waiting)
                *(uint32_t *)node_queue_push(&n->hard_groups) = g->id;
            n->hard_waiting += !g->is_hard_waiting;
            g->is_hard_waiting = true;
            g->hard = e.hard;
            g->hard_write = e.write;
            break;
        case RAFT_DO_LOG:
        case RAFT_DO_TRUNCATE:
            queue_log(n, g, &e);
            break;
        case RAFT_DO_ROLE:
            role_changed(n, g);
            break;
        case RAFT_DO_READ:
            node_serve_confirmed(n, g, e.token, e.is_ok, e.index);
            break;
        }
    }
}

/* ---- applying ---------------------------------------------------------- */

void node_group_quarantine(struct node *n, struct group *g, const char *why)
{
    if (g->is_quarantined)
        return;
    g->is_quarantined = true;
    g->quarantine_text = why;
    node_log(n, NODE_ERROR, "group %u is quarantined at index %llu: %s", g->id,
             (unsigned long long)g->applied + 1, why);
    struct extra *x = node_cycle_extra(n, EXTRA_QUARANTINE);
    buf_append(&x->bytes, why, strlen(why));
    x->command.kind = STORE_QUARANTINE;
    x->command.group = g->id;
    x->command.incarnation = g->incarnation;
    node_serve_deposed(n, g);
    node_walk_rank(n, g);
}

static void keep_images(struct node *n, struct group *g, struct item *item,
                        struct buf *rows)
{
    struct images *i = node_queue_push(&g->images);
    i->index = item->index;
    i->term = item->term;
    i->digest = g->digest;
    i->epoch = g->epoch;
    i->applied_ms = n->now_ms;
    n->portion_at_ms =
        min_u64(n->portion_at_ms, n->now_ms + node_cycle_soft_age_ms(n));
    i->rows = *rows;
    g->image_bytes += rows->size;
    n->is_portion_large = n->is_portion_large || node_cycle_is_large(g);
    n->unstored_entries++;
    n->unstored_bytes += rows->size;
}

/* False: it cannot be applied, the group stands still. */
static bool apply(struct node *n, struct group *g, struct item *item)
{
    struct buf rows = {0};
    struct entry_header header;
    enum err e = entry_read_header(item_manifest(item), &header);
    if (e == ERR_OK && g->streams != NULL)
        e = streams_apply(g->streams, item_manifest(item), n->verdicts, &rows);
    if (e != ERR_OK) {
        buf_free(&rows);
        node_group_quarantine(n, g,
                              e == ERR_INCOMPATIBLE
                                  ? "an entry needs a newer version of eddyd"
                                  : "a broken invariant in its streams");
        return false;
    }
    if (g->streams != NULL) {
        g->digest = streams_digest(g->streams);
    } else if (!node_ring_apply(n, g, item, &rows)) {
        buf_free(&rows);
        return false;
    }
    g->applied = item->index;
    if (epoch_compare(header.stamp.epoch, g->epoch) > 0)
        g->epoch = header.stamp.epoch;
    keep_images(n, g, item, &rows);
    node_cut_applied(g, item);
    if (g->streams != NULL && item->kind == ENTRY_COMMANDS)
        node_serve_judged(n, g, item->index, item->term, n->verdicts,
                          header.command_count);
    return true;
}

/* Whether that may have made more to do. */
static bool apply_all(struct node *n, struct group *g)
{
    uint64_t to = raft_applicable(g->raft);
    bool has_applied = false;
    if (g->is_quarantined) { /* what will never be applied need not be kept */
        raft_applied(g->raft, to);
        return true;
    }
    while (g->applied < to && !g->is_quarantined) {
        struct item *item = raft_cached(g->raft, g->applied + 1);
        ASSERT(item != NULL);
        if (!apply(n, g, item))
            break;
        has_applied = true;
    }
    if (!has_applied)
        return false;
    raft_applied(g->raft, g->applied);
    if (g->streams != NULL && !g->is_gathering &&
        g->applied == raft_last(g->raft))
        streams_spec_clear(g->streams);
    return true;
}

void node_group_stored(struct node *n, struct group *g, uint64_t stored)
{
    ASSERT(stored >= g->stored && stored <= g->applied);
    while (g->images.count > 0) {
        struct images *i = node_queue_at(&g->images, 0);
        if (i->index > stored)
            break;
        g->stored_digest = i->digest;
        g->image_bytes -= i->rows.size;
        n->unstored_bytes -= i->rows.size;
        n->unstored_entries--;
        buf_free(&i->rows);
        node_queue_pop(&g->images);
    }
    g->stored = stored;
}

/* ---- the turn ---------------------------------------------------------- */

/* A share of the node's cache for each group; what is not applied or not
 * durable stays whatever this says. */
static void trim_cache(struct node *n, struct group *g)
{
    size_t least = 256 * KIB;
    if (raft_cache_bytes(g->raft) <= least)
        return;
    size_t share = max_u64(least, LOG_CACHE_BYTES / (n->group_count + 1));
    if (raft_cache_bytes(g->raft) > share)
        (void)raft_trim_cache(g->raft, share);
}

static void want_entries(struct node *n, struct group *g)
{
    const struct raft_progress *p;
    size_t count = raft_followers(g->raft, &p);
    for (size_t i = 0; i < count; i++) {
        if (p[i].next > raft_last(g->raft))
            continue;
        struct peer *peer = node_peer(n, p[i].replica.node);
        if (peer != NULL)
            node_peer_wants(n, peer, g->id);
    }
}

static void set_stamp(struct node *n, struct group *g)
{
    /* The clock may jump; a leader's times never go back. */
    g->next_entry_time_ms = max_u64(g->next_entry_time_ms, n->wall_ms);
    raft_set_stamp(g->raft,
                   (struct entry_stamp){n->record->epoch, n->record->level,
                                        g->next_entry_time_ms});
}

void node_group_turn(struct node *n, struct group *g)
{
    set_stamp(n, g);
    drain_raft(n, g);
    bool has_more = apply_all(n, g) || g->is_gathering;
    node_walk_committed(n, g);
    if (has_more) { /* most turns have seen heartbeats, and end here */
        node_serve_gather(n, g);
        drain_raft(n, g);
        /* A group of one: what it proposed may be applicable. */
        (void)apply_all(n, g);
    }
    node_serve_questions(n, g);
    if (raft_has_ended(g->raft))
        node_recover_turn(n, g);
    if (raft_role(g->raft) == RAFT_LEADER) {
        if (g->is_quarantined) {
            raft_step_down(g->raft, n->now_ms);
            node_dirty(n, g);
        }
        want_entries(n, g);
    }
    trim_cache(n, g);
    g->next_tick_ms = raft_deadline(g->raft);
}
