/* raft_lead.c - leading: followers' progress, appends, commit, rounds, reads
 * (paper 5.3, 5.4.2; thesis 6.2 check-quorum, 6.4 read-index, 10.2.1 sending
 * before the own sync).
 *
 *   probing      one append at a time, until the log is known to match
 *   pipelining   as many as fit the window; a refusal, a reset or an election
 *                timeout without progress goes back to probing
 *
 * A round is a numbered set of heartbeats; a majority that echoes it proves
 * that this was the leader when the round began. */
#include "ring/raft_impl.h"

/* Entries that one read of the log may ask for. */
#define LOAD_ENTRIES_MAX 256u

/* ---- followers --------------------------------------------------------- */

struct raft_progress *raft_lead_find(const struct raft *r,
                                     struct replica replica)
{
    for (size_t i = 0; i < r->follower_count; i++) {
        if (raft_is_same(r->followers[i].replica, replica))
            return &r->followers[i];
    }
    return NULL;
}

bool raft_lead_is_live(const struct raft *r, const struct raft_progress *p)
{
    return r->now_ms < p->heard_ms + r->cfg.election_ms;
}

static void drop_loaded(struct raft *r, struct raft_progress *p)
{
    for (size_t i = 0; i < p->loaded_count; i++)
        item_unref(r->cfg.pool, p->loaded[i]);
    mem_free(p->loaded);
    p->loaded = NULL;
    p->loaded_count = 0;
}

static void probe_from(struct raft_progress *p, uint64_t next)
{
    p->next = next;
    p->is_probing = true;
    p->is_waiting = false;
    p->inflight_count = 0;
    p->inflight_bytes = 0;
    p->commit_sent = 0;
}

/* What was sent may be lost. At the base it finds out whether the follower
 * has been installed meanwhile. */
static void probe_again(const struct raft *r, struct raft_progress *p)
{
    probe_from(p, max_u64(p->match, r->log.base_index) + 1);
}

void raft_lead_cut(struct raft *r)
{
    for (size_t i = 0; i < r->follower_count; i++) {
        struct raft_progress *p = &r->followers[i];
        if (p->next <= r->log.base_index)
            probe_again(r, p); /* `next` may have been a cautious guess */
    }
}

void raft_lead_sync_followers(struct raft *r)
{
    const struct config *c = raft_log_config(&r->log);
    struct raft_progress *next = mem_alloc((c->count + 1) * sizeof *next);
    size_t count = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        const struct config_member *m = &c->members[i];
        if (replica_equal(m->replica, r->cfg.self))
            continue;
        struct raft_progress *p = &next[count++];
        for (size_t k = 0; k < r->follower_count; k++) {
            if (replica_equal(r->followers[k].replica, m->replica)) {
                *p = r->followers[k];
                r->followers[k].loaded = NULL;
                r->followers[k].loaded_count = 0;
            }
        }
        if (p->next == 0) {
            p->replica = m->replica;
            p->heard_ms = r->now_ms;
            probe_from(p, r->log.last_index);
        }
        p->is_voter = m->is_voter;
    }
    for (size_t k = 0; k < r->follower_count; k++)
        drop_loaded(r, &r->followers[k]);
    mem_free(r->followers);
    r->followers = next;
    r->follower_count = count;
}

/* ---- counting ---------------------------------------------------------- */

uint64_t raft_quorum_index(const uint64_t *matches, size_t count)
{
    ASSERT(count <= REPLICAS_MAX);
    if (count == 0)
        return 0;
    uint64_t sorted[REPLICAS_MAX];
    for (size_t i = 0; i < count; i++) { /* ascending, by insertion */
        size_t at = i;
        for (; at > 0 && sorted[at - 1] > matches[i]; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = matches[i];
    }
    return sorted[(count - 1) / 2];
}

static uint64_t own_value(const struct raft *r, enum raft_lead_value what)
{
    switch (what) {
    case RAFT_LEAD_MATCH: /* S10B: its disk is a disk like the others' */
        return RULE(S10B) ? r->log.durable_index : r->log.last_index;
    case RAFT_LEAD_HEARD:
        return r->now_ms;
    case RAFT_LEAD_ROUND:
        return r->round;
    }
    return 0;
}

static uint64_t value_of(const struct raft_progress *p,
                         enum raft_lead_value what)
{
    switch (what) {
    case RAFT_LEAD_MATCH:
        return p->match;
    case RAFT_LEAD_HEARD:
        return p->heard_ms;
    case RAFT_LEAD_ROUND:
        return p->round_acked;
    }
    return 0;
}

uint64_t raft_lead_quorum(const struct raft *r, enum raft_lead_value what)
{
    uint64_t values[REPLICAS_MAX];
    size_t voters = 0;
    if (raft_elect_is_voter(r))
        values[voters++] = own_value(r, what);
    for (size_t i = 0; i < r->follower_count; i++) {
        const struct raft_progress *p = &r->followers[i];
        if (p->is_voter)
            values[voters++] = value_of(p, what);
    }
    /* Off: a learner stands in for the slowest voter. */
    for (size_t i = 0; !RULE(S9C) && i < r->follower_count; i++) {
        const struct raft_progress *p = &r->followers[i];
        size_t low = 0;
        for (size_t k = 1; k < voters; k++)
            low = values[k] < values[low] ? k : low;
        if (!p->is_voter && value_of(p, what) > values[low])
            values[low] = value_of(p, what);
    }
    return raft_quorum_index(values, voters);
}

void raft_lead_advance_commit(struct raft *r)
{
    uint64_t index = raft_lead_quorum(r, RAFT_LEAD_MATCH);
    if (index <= r->commit)
        return;
    /* R5 (paper 5.4.2, figure 8): an entry of an older term may be on a
     * majority and still be overwritten. */
    if (raft_log_term_at(&r->log, index) == r->hard.term || !RULE(R5))
        raft_commit_to(r, index);
}

/* ---- beginning and end ------------------------------------------------- */

void raft_lead_append(struct raft *r, struct item *item)
{
    ASSERT(r->role == RAFT_LEADER && item->term == r->hard.term);
    raft_log_append(&r->log, item);
    r->uncommitted_bytes += item_bytes(item);
    if (item->kind == ENTRY_CONFIG)
        raft_lead_sync_followers(r);
    raft_lead_advance_commit(r);
}

static void want_round(struct raft *r)
{
    r->is_round_wanted = true;
}

static void schedule_heartbeat(struct raft *r)
{
    /* At multiples, so that the groups of a node share a message. */
    uint64_t beat = r->cfg.heartbeat_ms;
    r->heartbeat_at_ms = (r->now_ms / beat + 1) * beat;
}

void raft_lead_begin(struct raft *r)
{
    ASSERT(r->follower_count == 0);
    r->round = 0;
    r->uncommitted_bytes = 0;
    for (uint64_t i = r->commit + 1; i <= r->log.last_index; i++)
        r->uncommitted_bytes += item_bytes(raft_log_item(&r->log, i));
    r->term_start = r->log.last_index + 1;
    entry_build_noop(&r->scratch, r->stamp);
    entry_number(r->scratch.data, r->term_start, r->hard.term);
    struct item *noop = item_new(r->cfg.pool, span_buf(&r->scratch), NULL, 0);
    r->uncommitted_bytes += item_bytes(noop);
    raft_log_append(&r->log, noop);
    raft_lead_sync_followers(r); /* they are probed with the no-op */
    raft_lead_advance_commit(r);
    want_round(r);
    schedule_heartbeat(r);
}

void raft_lead_end(struct raft *r)
{
    for (size_t i = 0; i < r->follower_count; i++)
        drop_loaded(r, &r->followers[i]);
    mem_free(r->followers);
    r->followers = NULL;
    r->follower_count = 0;
    r->uncommitted_bytes = 0;
    r->is_round_wanted = false;
    r->transfer_until_ms = 0;
    r->reads_done = r->read_count; /* with is_ok as it is: false */
}

/* ---- rounds and reads -------------------------------------------------- */

static void answer_reads(struct raft *r)
{
    if (r->reads_done == r->read_count)
        return;
    uint64_t round = raft_lead_quorum(r, RAFT_LEAD_ROUND);
    while (r->reads_done < r->read_count &&
           r->reads[r->reads_done].round <= round)
        r->reads[r->reads_done++].is_ok = true;
}

void raft_lead_start_round(struct raft *r)
{
    ASSERT(r->role == RAFT_LEADER);
    r->is_round_wanted = false;
    r->round++;
    for (size_t i = 0; i < r->follower_count; i++)
        r->followers[i].is_heartbeat_due = true;
    answer_reads(r); /* a sole voter has its majority */
}

static void push_read(struct raft *r, struct raft_pending_read read)
{
    if (r->read_first == r->read_count)
        r->read_first = r->read_count = r->reads_done = 0;
    if (r->read_count == r->read_capacity && r->read_first > 0) {
        r->read_count -= r->read_first;
        r->reads_done -= r->read_first;
        memmove(r->reads, r->reads + r->read_first,
                r->read_count * sizeof *r->reads);
        r->read_first = 0;
    }
    if (r->read_count == r->read_capacity) {
        r->read_capacity = r->read_capacity ? 2 * r->read_capacity : 8;
        r->reads = mem_resize(r->reads, r->read_capacity * sizeof *r->reads);
    }
    r->reads[r->read_count++] = read;
}

enum err raft_read(struct raft *r, uint64_t token, uint64_t now_ms)
{
    r->now_ms = max_u64(r->now_ms, now_ms);
    if (r->role != RAFT_LEADER)
        return ERR_MOVED;
    /* R9: its commit index may be an old one. */
    if (!raft_is_ready(r) && RULE(R9))
        return ERR_UNAVAILABLE;
    if (r->read_count - r->read_first >= RAFT_READS_MAX)
        return ERR_BUSY;
    /* S31: the round under way may have been sent, and answered, before
     * another leader took over. */
    push_read(r, (struct raft_pending_read){
                     .token = token,
                     .index = r->commit,
                     .round = RULE(S31) ? r->round + 1 : r->round,
                 });
    if (RULE(S31))
        want_round(r);
    else
        answer_reads(r);
    return ERR_OK;
}

bool raft_lead_pop_read(struct raft *r, struct raft_effect *out)
{
    if (r->read_first == r->reads_done)
        return false;
    const struct raft_pending_read *read = &r->reads[r->read_first++];
    *out = (struct raft_effect){.kind = RAFT_DO_READ,
                                .token = read->token,
                                .index = read->index,
                                .is_ok = read->is_ok};
    return true;
}

/* ---- time -------------------------------------------------------------- */

void raft_lead_tick(struct raft *r)
{
    uint64_t patience = r->cfg.election_ms;
    /* R7 (thesis 6.2): it may be alone, and its clients should know. */
    if (RULE(R7) &&
        r->now_ms >= raft_lead_quorum(r, RAFT_LEAD_HEARD) + patience) {
        raft_elect_follow(r, r->hard.term, (struct replica){0});
        return;
    }
    for (size_t i = 0; i < r->follower_count; i++) {
        struct raft_progress *p = &r->followers[i];
        if (p->inflight_count > 0 && r->now_ms >= p->sent_ms + patience)
            probe_again(r, p);
    }
    if (r->now_ms >= r->heartbeat_at_ms) {
        want_round(r);
        schedule_heartbeat(r);
        raft_change_tick(r);
    }
}

uint64_t raft_lead_deadline(const struct raft *r)
{
    uint64_t at = r->heartbeat_at_ms;
    if (!RULE(R7))
        return at;
    /* No quorum is older than the oldest word: mostly that is enough. */
    uint64_t oldest_ms = r->now_ms;
    for (size_t i = 0; i < r->follower_count; i++)
        oldest_ms = min_u64(oldest_ms, r->followers[i].heard_ms);
    if (oldest_ms + r->cfg.election_ms >= at)
        return at;
    return min_u64(at,
                   raft_lead_quorum(r, RAFT_LEAD_HEARD) + r->cfg.election_ms);
}

void raft_reset_peer(struct raft *r, struct id128 node, uint64_t now_ms)
{
    r->now_ms = max_u64(r->now_ms, now_ms);
    for (size_t i = 0; i < r->follower_count; i++) {
        struct raft_progress *p = &r->followers[i];
        if (!id_equal(p->replica.node, node))
            continue;
        probe_again(r, p);
        if (r->reads_done < r->read_count)
            want_round(r);
    }
    if (id_equal(r->leader.node, node))
        r->has_acked = false; /* the next append is answered at once */
    if (r->role == RAFT_PRE_CANDIDATE || r->role == RAFT_CANDIDATE)
        r->resend_at_ms = r->now_ms;
}

/* ---- replies ----------------------------------------------------------- */

/* S6D, T15: this term's acknowledgement came in before the round began that is
 * answered here, so the answer knows of it, and no follower gives up what it
 * has matched with its leader. Who has lost that may have lost a vote, too: its
 * word confirms no round. */
static void judge_log(struct raft *r, struct raft_progress *p,
                      const struct raft_msg *msg)
{
    bool knows = msg->round > p->match_round || !RULE(T15C);
    if (p->is_lost || !RULE(S6D) || msg->round > r->round || !knows ||
        msg->match >= p->match)
        return;
    p->is_lost = true;
    p->match = 0;
    p->round_acked = 0;
    probe_again(r, p);
}

/* The sender is a follower that answers this very term (S11B, R12). */
static struct raft_progress *hear(struct raft *r, const struct raft_msg *msg)
{
    struct raft_progress *p = NULL;
    if (r->role == RAFT_LEADER)
        p = raft_lead_find(r, msg->from);
    if (p == NULL) {
        raft_drop(r);
        return NULL;
    }
    p->heard_ms = r->now_ms;
    if (msg->kind == RAFT_HEARTBEAT_REPLY)
        judge_log(r, p, msg);
    if (!p->is_lost && msg->round > p->round_acked && msg->round <= r->round) {
        p->round_acked = msg->round;
        answer_reads(r);
    }
    return p;
}

void raft_lead_heartbeat_reply(struct raft *r, const struct raft_msg *msg)
{
    (void)hear(r, msg);
}

static void free_inflight(struct raft_progress *p)
{
    while (p->inflight_count > 0 &&
           p->inflight[p->inflight_first].last_index <= p->match) {
        p->inflight_bytes -= p->inflight[p->inflight_first].bytes;
        p->inflight_first = (p->inflight_first + 1) % RAFT_INFLIGHT_MAX;
        p->inflight_count--;
    }
}

static void granted(struct raft *r, struct raft_progress *p, uint64_t match)
{
    if (p->is_lost)
        return;
    p->is_probing = false;
    p->is_waiting = false;
    p->is_behind = false;
    if (match > p->match) {
        p->match = match;
        p->match_round = r->round;
        p->next = max_u64(p->next, match + 1);
        p->sent_ms = r->now_ms;
        free_inflight(p);
    }
    raft_lead_advance_commit(r);
    raft_change_matched(r, p);
}

static void refused(struct raft *r, struct raft_progress *p,
                    const struct raft_msg *msg)
{
    /* Late, or a repeat: another probe is out, or it has matched since. */
    bool is_current = p->is_probing
                          ? p->is_waiting && msg->prev_index == p->probe_prev
                          : msg->prev_index > p->match;
    if (!is_current || msg->prev_index == 0)
        return;
    uint64_t base = r->log.base_index;
    uint64_t at = raft_log_find(&r->log, msg->hint_index, msg->hint_term);
    at = min_u64(at, msg->prev_index - 1); /* onwards, whatever the hint */
    bool lacks_base = at < base || msg->hint_index < base ||
                      msg->hint_term < r->log.base_term;
    if (lacks_base && p->match < base) {
        at = base - 1; /* it gets no entries any more */
        p->is_behind = true;
    }
    probe_from(p, max_u64(at, p->match) + 1);
}

void raft_lead_append_reply(struct raft *r, const struct raft_msg *msg)
{
    struct raft_progress *p = hear(r, msg);
    if (p == NULL)
        return;
    if (!msg->granted)
        refused(r, p, msg);
    else if (msg->match <= r->log.last_index)
        granted(r, p, msg->match);
    else
        raft_drop(r);
}

/* ---- heartbeats -------------------------------------------------------- */

static bool may_append(const struct raft *r, const struct raft_progress *p)
{
    return !p->is_lost && !p->is_waiting && !p->is_loading &&
           p->next <= r->log.last_index && p->next > r->log.base_index &&
           raft_lead_is_live(r, p) && p->inflight_count < RAFT_INFLIGHT_MAX &&
           p->inflight_bytes < r->cfg.append_inflight_bytes;
}

/* Heartbeats that are due, and those that bring a commit index which no append
 * is about to bring. */
bool raft_lead_pop_heartbeat(struct raft *r, struct raft_effect *out)
{
    for (size_t i = 0; !r->is_stalled && i < r->follower_count; i++) {
        struct raft_progress *p = &r->followers[i];
        /* S11A: beyond its match the follower's log may differ. */
        uint64_t commit = RULE(S11A) ? min_u64(r->commit, p->match) : r->commit;
        bool is_news = commit > p->commit_sent && !may_append(r, p);
        if (!p->is_heartbeat_due && !is_news)
            continue;
        p->is_heartbeat_due = false;
        p->commit_sent = max_u64(p->commit_sent, commit);
        *out = (struct raft_effect){
            .kind = RAFT_DO_SEND,
            .msg = {.kind = RAFT_HEARTBEAT,
                    .from = r->cfg.self,
                    .to = p->replica,
                    .term = r->hard.term,
                    .commit = commit,
                    .round = r->round,
                    .floor = r->floor},
        };
        return true;
    }
    return false;
}

/* ---- appends ----------------------------------------------------------- */

/* With its bytes at hand, or NULL. */
static struct item *item_to_send(const struct raft *r,
                                 const struct raft_progress *p, uint64_t index)
{
    if (p->loaded_count > 0) {
        uint64_t first = p->loaded[0]->index;
        if (first <= index && index - first < p->loaded_count)
            return p->loaded[index - first];
    }
    struct item *item = raft_log_item(&r->log, index);
    return item != NULL && item_has_payload(item) ? item : NULL;
}

static void add_to_batch(struct raft *r, size_t count, struct item *item)
{
    if (count == r->batch_capacity) {
        r->batch_capacity = r->batch_capacity ? 2 * r->batch_capacity : 16;
        r->batch = mem_resize(r->batch, r->batch_capacity * sizeof *r->batch);
    }
    r->batch[count] = item_ref(item);
}

static void note_inflight(struct raft *r, struct raft_progress *p, size_t bytes)
{
    uint32_t at = (p->inflight_first + p->inflight_count) % RAFT_INFLIGHT_MAX;
    if (p->inflight_count == 0)
        p->sent_ms = r->now_ms;
    p->inflight[at].last_index = p->next - 1;
    p->inflight[at].bytes = bytes;
    p->inflight_count++;
    p->inflight_bytes += bytes;
}

static void build_append(struct raft *r, struct raft_progress *p,
                         size_t bytes_max, struct raft_msg *out)
{
    uint64_t prev = p->next - 1;
    size_t count = 0;
    size_t bytes = 0;
    for (; p->next <= r->log.last_index; p->next++) {
        struct item *item = item_to_send(r, p, p->next);
        if (item == NULL || (count > 0 && bytes + item_bytes(item) > bytes_max))
            break;
        add_to_batch(r, count++, item);
        bytes += item_bytes(item);
    }
    *out = (struct raft_msg){
        .kind = RAFT_APPEND,
        .from = r->cfg.self,
        .to = p->replica,
        .term = r->hard.term,
        .prev_index = prev,
        .prev_term = raft_log_term_at(&r->log, prev),
        .commit = r->commit,
        .round = r->round,
        .items = r->batch,
        .item_count = (uint32_t)count,
    };
    p->commit_sent = max_u64(p->commit_sent, min_u64(r->commit, p->next - 1));
    p->is_waiting = p->is_probing;
    p->probe_prev = prev;
    note_inflight(r, p, bytes);
}

/* The entries from `next` on that are not at hand. All of those are durable:
 * only such leave the cache. */
static void ask_read(struct raft *r, struct raft_progress *p, uint64_t *first,
                     uint64_t *last)
{
    drop_loaded(r, p);
    *first = p->next;
    *last = p->next;
    while (*last < r->log.last_index && *last - *first + 1 < LOAD_ENTRIES_MAX &&
           item_to_send(r, p, *last + 1) == NULL)
        ++*last;
    p->is_loading = true;
}

enum raft_pull raft_next_append(struct raft *r, struct replica to,
                                size_t max_bytes, uint64_t now_ms,
                                struct raft_msg *out, uint64_t *first,
                                uint64_t *last)
{
    r->now_ms = max_u64(r->now_ms, now_ms);
    if (r->role != RAFT_LEADER || r->is_stalled) /* L10 */
        return RAFT_PULL_NOTHING;
    struct raft_progress *p = raft_lead_find(r, to);
    if (p == NULL || !may_append(r, p) || r->now_ms < p->load_again_ms)
        return RAFT_PULL_NOTHING;
    if (item_to_send(r, p, p->next) == NULL) {
        ask_read(r, p, first, last);
        return RAFT_PULL_READ;
    }
    build_append(r, p, max_bytes, out);
    return RAFT_PULL_MSG;
}

void raft_loaded(struct raft *r, struct replica to, struct item **items,
                 size_t count, uint64_t now_ms)
{
    r->now_ms = max_u64(r->now_ms, now_ms);
    struct raft_progress *p = NULL;
    if (r->role == RAFT_LEADER)
        p = raft_lead_find(r, to);
    if (p == NULL || !p->is_loading)
        return; /* asked by an earlier leader */
    p->is_loading = false;
    drop_loaded(r, p);
    size_t usable = 0;
    while (usable < count && item_has_payload(items[usable]) &&
           items[usable]->index == items[0]->index + usable &&
           (!RULE(T4) || raft_log_term_at(&r->log, items[usable]->index) ==
                             items[usable]->term))
        usable++;
    if (usable == 0) {
        p->load_again_ms = r->now_ms + r->cfg.heartbeat_ms;
        return;
    }
    p->loaded = mem_alloc(usable * sizeof *p->loaded);
    p->loaded_count = usable;
    for (size_t i = 0; i < usable; i++)
        p->loaded[i] = item_ref(items[i]);
}
