/* raft.c - see raft.h: life, time, the dispatcher, the outbox, effects.
 *
 * Effects are not queued: raft_pop derives the next one from what the state
 * says is due, in an order that the storage relies on (hard state before the
 * log it belongs to). So nothing here can overflow, and what has become
 * obsolete before it was popped is never done. */
#include "ring/raft.h"

#include "ring/raft_impl.h"

/* ---- life -------------------------------------------------------------- */

struct raft *raft_new(const struct raft_cfg *cfg,
                      const struct raft_stored *stored, uint64_t now_ms)
{
    ASSERT(cfg->heartbeat_ms > 0 && cfg->election_ms > cfg->heartbeat_ms);
    struct raft *r = mem_alloc(sizeof *r);
    r->cfg = *cfg;
    r->stamp.level = LEVEL_NOW;
    rng_seed(&r->rng, cfg->seed);
    r->now_ms = now_ms;
    r->rank = REPLICAS_MAX;
    r->hard = stored->hard;
    raft_log_init(&r->log, stored, cfg->pool);
    ASSERT(r->hard.term >= raft_log_last_term(&r->log));
    r->commit = stored->applied_index;
    r->applied = stored->applied_index;
    raft_elect_init(r);
    return r;
}

void raft_free(struct raft *r)
{
    if (r == NULL)
        return;
    raft_lead_end(r);
    raft_log_free(&r->log);
    buf_free(&r->scratch);
    buf_free(&r->reason);
    mem_free(r->reads);
    mem_free(r->batch);
    mem_free(r->outbox);
    mem_free(r);
}

void raft_load_item(struct raft *r, struct item *item)
{
    raft_log_load(&r->log, item);
}

/* ---- time and settings ------------------------------------------------- */

static void see_time(struct raft *r, uint64_t now_ms)
{
    r->now_ms = max_u64(r->now_ms, now_ms);
}

void raft_tick(struct raft *r, uint64_t now_ms)
{
    see_time(r, now_ms);
    if (r->has_ended)
        return;
    if (r->role == RAFT_LEADER)
        raft_lead_tick(r);
    else
        raft_elect_tick(r);
}

uint64_t raft_deadline(const struct raft *r)
{
    if (r->has_ended)
        return UINT64_MAX;
    if (r->role == RAFT_LEADER)
        return raft_lead_deadline(r);
    if (r->role == RAFT_FOLLOWER)
        return r->election_at_ms;
    return min_u64(r->election_at_ms, r->resend_at_ms);
}

void raft_set_rank(struct raft *r, uint32_t rank)
{
    raft_elect_set_rank(r, rank);
}

void raft_set_stamp(struct raft *r, struct entry_stamp stamp)
{
    r->stamp = stamp;
}

void raft_set_stalled(struct raft *r, bool is_stalled)
{
    r->is_stalled = is_stalled;
}

void raft_step_down(struct raft *r, uint64_t now_ms)
{
    see_time(r, now_ms);
    if (r->role != RAFT_FOLLOWER)
        raft_elect_follow(r, r->hard.term, (struct replica){0});
    raft_elect_reset_timer(r); /* a pause is not the leader's silence */
}

void raft_end(struct raft *r, bool is_founder, uint64_t now_ms)
{
    raft_step_down(r, now_ms);
    r->leader = (struct replica){0};
    r->has_ended = true;
    r->outbox_count = 0;
    if (is_founder && r->commit < r->log.last_index)
        raft_commit_to(r, r->log.last_index);
}

bool raft_has_ended(const struct raft *r)
{
    return r->has_ended;
}

void raft_campaign(struct raft *r, uint64_t now_ms)
{
    see_time(r, now_ms);
    if (!r->has_ended && r->role != RAFT_LEADER && raft_elect_is_voter(r))
        raft_elect_campaign(r, false);
}

/* ---- writes ------------------------------------------------------------ */

void raft_hard_changed(struct raft *r)
{
    r->hard_write++;
}

void raft_durable(struct raft *r, uint64_t hard_write, uint64_t log_write)
{
    ASSERT(hard_write <= r->hard_emitted);
    r->hard_durable = max_u64(r->hard_durable, hard_write);
    raft_elect_durable(r);
    if (!raft_log_durable(&r->log, log_write))
        return;
    if (r->role == RAFT_LEADER)
        raft_lead_advance_commit(r);
    else
        raft_follow_durable(r);
}

void raft_commit_to(struct raft *r, uint64_t index)
{
    ASSERT(r->commit < index && index <= r->log.last_index);
    if (r->role == RAFT_LEADER) {
        for (uint64_t i = r->commit + 1; i <= index; i++)
            r->uncommitted_bytes -= item_bytes(raft_log_item(&r->log, i));
    }
    r->commit = index;
    raft_log_forget_configs(&r->log, index);
}

void raft_applied(struct raft *r, uint64_t index)
{
    ASSERT(r->applied <= index && index <= raft_applicable(r)); /* T19 */
    r->applied = index;
    uint64_t needed_above = index;
    for (size_t i = 0; i < r->follower_count; i++) {
        const struct raft_progress *p = &r->followers[i];
        if (raft_lead_is_live(r, p) && !p->is_lost)
            needed_above = min_u64(needed_above, p->match);
    }
    raft_log_trim(&r->log, needed_above, 0);
}

size_t raft_trim_cache(struct raft *r, size_t bytes)
{
    raft_log_trim(&r->log, r->applied, bytes);
    return r->log.cache_bytes;
}

void raft_set_floor(struct raft *r, uint64_t index)
{
    r->floor = max_u64(r->floor, index);
}

uint64_t raft_floor(const struct raft *r)
{
    return r->floor;
}

void raft_cut(struct raft *r, uint64_t base)
{
    ASSERT(base <= r->applied); /* T24 */
    raft_log_cut(&r->log, base);
    raft_lead_cut(r);
}

/* ---- messages in ------------------------------------------------------- */

bool raft_is_same(struct replica a, struct replica b)
{
    return id_equal(a.node, b.node) && (a.added == b.added || !RULE(S4));
}

void raft_drop(struct raft *r)
{
    r->dropped++;
}

/* True if the sender is an earlier life of a node that the configuration has
 * only in a later one. A pair that it does not know at all may be newer than
 * the configuration, and is heard. */
static bool is_former_life(const struct raft *r, struct replica from)
{
    const struct config *c = raft_log_config(&r->log);
    if (config_find(c, from) != NULL)
        return false;
    const struct config_member *m = config_find_node(c, from.node);
    return RULE(S4) && m != NULL && m->replica.added > from.added;
}

static bool are_items_sensible(const struct raft_msg *msg)
{
    if (msg->prev_index > UINT64_MAX - msg->item_count)
        return false;
    uint64_t term = msg->prev_term;
    for (uint32_t i = 0; i < msg->item_count; i++) {
        const struct item *item = msg->items[i];
        /* Of term 0 is what is not there: raft_log_term_at. */
        if (item->index != msg->prev_index + 1 + i || item->term < term ||
            item->term == 0)
            return false;
        term = item->term;
    }
    return term <= msg->term;
}

/* Elections never come near it: one a microsecond takes 292,000 years. What is
 * adopted from a peer must have successors. */
#define TERM_MAX (UINT64_MAX / 2)

static bool is_sensible(const struct raft *r, const struct raft_msg *msg)
{
    if (!raft_is_same(msg->to, r->cfg.self)) /* S4: exact, from here on */
        return false;
    if (id_equal(msg->from.node, r->cfg.self.node))
        return false;
    if (msg->term == 0 || msg->term > TERM_MAX)
        return false;
    if (is_former_life(r, msg->from))
        return false;
    return msg->kind != RAFT_APPEND || are_items_sensible(msg);
}

/* A pre-vote asks, and is granted, in a term that nobody is in yet. */
static bool raises_term(const struct raft_msg *msg)
{
    return msg->kind != RAFT_PREVOTE &&
           !(msg->kind == RAFT_PREVOTE_REPLY && msg->granted);
}

/* Answers what comes from a lower term with the own one, so that whoever is
 * stuck there is freed (R6). True if that is all. */
static bool answer_lower_term(struct raft *r, const struct raft_msg *msg)
{
    struct raft_msg reply = {.to = msg->from, .term = r->hard.term};
    switch (msg->kind) {
    case RAFT_PREVOTE: /* refused there */
        return false;
    case RAFT_VOTE:
        reply.kind = RAFT_VOTE_REPLY;
        break;
    case RAFT_APPEND:
        reply.kind = RAFT_APPEND_REPLY;
        break;
    case RAFT_HEARTBEAT:
        reply.kind = RAFT_HEARTBEAT_REPLY;
        break;
    case RAFT_APPEND_REPLY:
    case RAFT_HEARTBEAT_REPLY:
        raft_drop(r);
        return RULE(R12);
    case RAFT_PREVOTE_REPLY:
    case RAFT_VOTE_REPLY:
    case RAFT_TIMEOUT_NOW:
        raft_drop(r);
        return true;
    }
    if (!RULE(R6A))
        return false;
    raft_post(r, &reply);
    return true;
}

static void dispatch(struct raft *r, const struct raft_msg *msg)
{
    switch (msg->kind) {
    case RAFT_PREVOTE:
        raft_elect_prevote(r, msg);
        break;
    case RAFT_VOTE:
        raft_elect_vote(r, msg);
        break;
    case RAFT_PREVOTE_REPLY:
    case RAFT_VOTE_REPLY:
        raft_elect_reply(r, msg);
        break;
    case RAFT_APPEND:
        raft_follow_append(r, msg);
        break;
    case RAFT_HEARTBEAT:
        raft_follow_heartbeat(r, msg);
        break;
    case RAFT_APPEND_REPLY:
        raft_lead_append_reply(r, msg);
        break;
    case RAFT_HEARTBEAT_REPLY:
        raft_lead_heartbeat_reply(r, msg);
        break;
    case RAFT_TIMEOUT_NOW:
        if (replica_equal(msg->from, r->leader) && raft_elect_is_voter(r))
            raft_elect_campaign(r, true);
        break;
    }
}

void raft_recv(struct raft *r, const struct raft_msg *msg, uint64_t now_ms)
{
    see_time(r, now_ms);
    if (r->has_ended || !is_sensible(r, msg)) {
        raft_drop(r);
        return;
    }
    /* R6C: not even its term is heard, or a replica that was cut off would
     * depose a leader that all others follow. */
    if (RULE(R6C) && msg->kind == RAFT_VOTE && !msg->is_transfer &&
        raft_elect_is_led(r)) {
        raft_drop(r);
        return;
    }
    if (msg->term > r->hard.term && raises_term(msg))
        raft_elect_follow(r, msg->term, (struct replica){0});
    if (msg->term < r->hard.term && answer_lower_term(r, msg))
        return;
    dispatch(r, msg);
}

/* ---- messages out ------------------------------------------------------ */

static struct raft_gated *outbox_place(struct raft *r,
                                       const struct raft_msg *msg)
{
    for (size_t i = 0; i < r->outbox_count; i++) {
        struct raft_gated *g = &r->outbox[i];
        if (g->msg.kind == msg->kind && replica_equal(g->msg.to, msg->to))
            return g;
    }
    if (r->outbox_count == RAFT_OUTBOX_MAX)
        return NULL;
    if (r->outbox_count == r->outbox_capacity) {
        r->outbox_capacity = r->outbox_capacity ? 2 * r->outbox_capacity : 4;
        r->outbox =
            mem_resize(r->outbox, r->outbox_capacity * sizeof *r->outbox);
    }
    return &r->outbox[r->outbox_count++];
}

void raft_post(struct raft *r, const struct raft_msg *msg)
{
    struct raft_gated *g = r->has_ended ? NULL : outbox_place(r, msg);
    if (g == NULL) {
        raft_drop(r); /* as if the network had lost it */
        return;
    }
    g->msg = *msg;
    g->msg.from = r->cfg.self;
    g->hard_write = r->hard_write;
}

/* S10: a message that names a term or a vote leaves once that is durable. */
static bool pop_outbox(struct raft *r, struct raft_effect *out)
{
    for (size_t i = 0; i < r->outbox_count; i++) {
        struct raft_gated *g = &r->outbox[i];
        if (g->hard_write > r->hard_durable && RULE(S10A))
            continue;
        *out = (struct raft_effect){.kind = RAFT_DO_SEND, .msg = g->msg};
        r->outbox_count--;
        memmove(g, g + 1, (r->outbox_count - i) * sizeof *g);
        return true;
    }
    return false;
}

/* ---- effects ----------------------------------------------------------- */

static bool pop_role(struct raft *r, struct raft_effect *out)
{
    if (!r->is_role_news)
        return false;
    r->is_role_news = false;
    *out = (struct raft_effect){.kind = RAFT_DO_ROLE};
    return true;
}

static bool pop_hard(struct raft *r, struct raft_effect *out)
{
    if (r->hard_emitted == r->hard_write)
        return false;
    r->hard_emitted = r->hard_write;
    *out = (struct raft_effect){
        .kind = RAFT_DO_HARD, .hard = r->hard, .write = r->hard_write};
    return true;
}

bool raft_pop(struct raft *r, struct raft_effect *out)
{
    if (r->is_round_wanted && !r->is_stalled)
        raft_lead_start_round(r);
    return pop_role(r, out) || pop_hard(r, out) || raft_log_pop(&r->log, out) ||
           raft_lead_pop_read(r, out) || pop_outbox(r, out) ||
           raft_lead_pop_heartbeat(r, out);
}
