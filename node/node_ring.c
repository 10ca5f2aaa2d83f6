/* node_ring.c - the ring record in a node: the newest known is cached, told
 * to whoever is behind, and changed by group 0's leader alone. Joins that
 * wait are one record (DESIGN 4). */
#include "node/node_impl.h"

/* ---- adopting ---------------------------------------------------------- */

static void swim_members_from_record(struct node *n)
{
    struct swim_seed seeds[MEMBERS_MAX];
    size_t count = 0;
    for (uint16_t i = 0; i < n->record->member_count; i++) {
        const struct member *m = &n->record->members[i];
        if (m->wanted != WANTED_LEFT)
            seeds[count++] =
                (struct swim_seed){m->node, span_str(m->peer_address)};
    }
    swim_set_members(&n->swim, seeds, count);
}

static void swim_open(struct node *n)
{
    struct swim_cfg cfg = swim_cfg_default();
    const char *address = n->cfg.peer_address;
    if (address == NULL)
        address = n->record->members[n->slot].peer_address;
    cfg.id = n->cfg.folder.node;
    cfg.boot = n->cfg.folder.boot;
    cfg.address = span_str(address);
    cfg.seed = rng_next(&n->rng);
    cfg.now_ms = n->now_ms;
    cfg.probe_interval_ms = n->cfg.timing.probe_interval_ms;
    cfg.probe_timeout_ms = n->cfg.timing.probe_timeout_ms;
    cfg.suspicion_ms = n->cfg.timing.suspicion_ms;
    cfg.push_pull_ms = n->cfg.timing.push_pull_ms;
    swim_init(&n->swim, &cfg);
    n->is_swim_open = true;
}

static void open_groups(struct node *n)
{
    n->group_count = n->record->partitions + 1;
    n->groups = mem_alloc(n->group_count * sizeof(struct group *));
    n->standings = mem_alloc(n->group_count * sizeof *n->standings);
}

/* Takes the record over. `is_stored`: it came from the own disk. */
void node_ring_adopt(struct node *n, struct record *r, bool is_stored)
{
    if (n->record != NULL && epoch_compare(r->epoch, n->record->epoch) <= 0) {
        record_free(r);
        return;
    }
    bool is_first = n->record == NULL;
    record_free(n->record);
    n->record = r;
    record_encode(r, &n->record_bytes);
    n->slot = record_slot(r, n->cfg.folder.node);
    if (is_first)
        open_groups(n);
    if (!is_stored) {
        struct extra *x = node_cycle_extra(n, EXTRA_RECORD);
        x->command.kind = STORE_RECORD;
        buf_append(&x->bytes, n->record_bytes.data, n->record_bytes.size);
    }
    if (n->slot == SLOT_NONE)
        return;
    if (!n->is_swim_open)
        swim_open(n);
    swim_members_from_record(n);
    if (!n->is_started)
        return;
    node_log(n, NODE_INFO, "ring record %llu: %u members",
             (unsigned long long)r->epoch.number, r->member_count);
    node_peers_update(n);
    (void)node_push(n, NODE_DO_ALLOW);
    for (uint32_t i = 0; i < n->group_count; i++) {
        if (n->groups[i] == NULL)
            continue;
        node_walk_rank(n, n->groups[i]);
        node_dirty(n, n->groups[i]);
    }
    node_recover_look(n);
}

/* A member keeps its slot for ever: peers and rows here count on it. */
static bool keeps_slots(const struct record *now, const struct record *next)
{
    bool is_kept = next->member_count >= now->member_count;
    for (uint32_t i = 0; is_kept && i < now->member_count; i++)
        is_kept = id_equal(now->members[i].node, next->members[i].node);
    return is_kept;
}

void node_ring_received(struct node *n, struct span bytes)
{
    struct record *r;
    if (record_decode(bytes, &r) != ERR_OK) {
        n->dropped++;
        return;
    }
    bool is_later = epoch_compare(r->epoch, n->record->epoch) > 0;
    bool is_next = !is_later || keeps_slots(n->record, r);
    if (!is_next)
        node_log(n, NODE_ERROR,
                 "a later ring record forgets members that are known here (a "
                 "forced recovery from an older one?); it is refused");
    if (!id_equal(r->cluster, n->cfg.folder.cluster) ||
        r->partitions != n->record->partitions || !is_next) {
        n->dropped++;
        record_free(r);
        return;
    }
    if (epoch_clash(r->epoch, n->record->epoch)) {
        node_log(n, NODE_ERROR,
                 "a peer has a ring record of another history (a second "
                 "forced recovery?); it is refused");
        n->dropped++;
        record_free(r);
        return;
    }
    node_ring_adopt(n, r, false);
}

void node_ring_ask(struct node *n, struct peer *p)
{
    if (p->record_asked_ms != 0 &&
        !node_has_timed_out(n->now_ms, p->record_asked_ms,
                            n->cfg.timing.record_ask_ms))
        return;
    p->record_asked_ms = n->now_ms + 1;
    struct frame f = {.kind = FRAME_RECORD_ASK, .epoch = n->record->epoch};
    node_peer_frame(n, p, &f);
}

/* ---- group 0's state machine ------------------------------------------- */

/* Joins that were in the applied entry get their answer; those of a proposal
 * that lost its race are tried again. */
static void answer_joins(struct node *n, const struct item *item, enum err err)
{
    size_t count = n->joinings.count;
    for (size_t i = 0; i < count; i++) {
        struct joining j = *(struct joining *)node_queue_at(&n->joinings, 0);
        node_queue_pop(&n->joinings);
        bool is_this = j.index == item->index && j.term == item->term;
        if (is_this && err == ERR_OK) {
            struct response r = {.op = OP_JOIN, .err = ERR_OK};
            node_respond(n, j.connection, j.number, &r);
            continue;
        }
        if (is_this)
            j.index = 0;
        *(struct joining *)node_queue_push(&n->joinings) = j;
    }
}

static bool apply_record(struct node *n, struct group *g, struct item *item)
{
    struct entry_record e;
    struct proposal_answer answer = {.err = ERR_CONFLICT};
    enum err err = entry_read_record(item_manifest(item), &e);
    if (err == ERR_OK)
        err = record_apply(&n->ring, &e, &answer);
    if (err != ERR_OK) {
        node_group_quarantine(n, g, "a ring record that cannot be read");
        return false;
    }
    if (n->record_index == item->index && n->record_term == item->term)
        n->record_index = 0;
    answer_joins(n, item, answer.err);
    node_admin_applied(n, item, &answer);
    /* Published only once applied (T26). */
    if (epoch_compare(n->ring->epoch, n->record->epoch) <= 0)
        return true;
    if (!keeps_slots(n->record, n->ring)) {
        node_group_quarantine(n, g, "a ring record that has lost members");
        return false;
    }
    node_ring_adopt(n, record_copy(n->ring), false);
    return true;
}

bool node_ring_apply(struct node *n, struct group *g, struct item *item,
                     struct buf *images)
{
    if (item->kind != ENTRY_RECORD)
        return true;
    if (!apply_record(n, g, item))
        return false;
    struct buf row = {0};
    record_encode(n->ring, &row);
    struct image image = {ROW_STATE, span_str(RECORD_ROW_KEY), false,
                          span_buf(&row)};
    image_put(images, &image);
    g->digest = row_digest(image.key, image.value);
    buf_free(&row);
    return true;
}

/* ---- proposing --------------------------------------------------------- */

static struct id128 random_id(struct node *n)
{
    struct id128 id;
    uint64_t a = rng_next(&n->rng);
    uint64_t b = rng_next(&n->rng);
    memcpy(id.bytes, &a, 8);
    memcpy(id.bytes + 8, &b, 8);
    return id;
}

bool node_ring_propose(struct node *n, struct group *g,
                       const struct record *next, struct id128 proposal)
{
    struct buf bytes = {0};
    struct buf manifest = {0};
    record_encode(next, &bytes);
    struct entry_record e = {proposal, n->ring->epoch, span_buf(&bytes)};
    struct entry_stamp stamp = {n->record->epoch, n->record->level, n->wall_ms};
    entry_build_record(&manifest, stamp, &e);
    struct item *item = item_new(&n->pool, span_buf(&manifest), NULL, 0);
    enum err err =
        raft_propose(g->raft, item, &n->record_index, &n->record_term);
    if (err != ERR_OK) {
        item_unref(&n->pool, item);
        n->record_index = 0;
    }
    node_dirty(n, g);
    buf_free(&bytes);
    buf_free(&manifest);
    return err == ERR_OK;
}

static const char *join_text(enum err err)
{
    if (err == ERR_CONFLICT)
        return "the name or the key belongs to another member: choose "
               "another --name, or remove that member first";
    if (err == ERR_FORGOTTEN)
        return "this node has left the cluster: wipe the folder and join as "
               "a new node";
    if (err == ERR_TOO_LARGE)
        return "the ring is full";
    if (err == ERR_INCOMPATIBLE)
        return "this eddyd is too old for the ring: upgrade it";
    return err_text(err);
}

static void refuse_joins(struct node *n, const char *fault)
{
    while (n->joinings.count > 0) {
        const struct joining *j = node_queue_at(&n->joinings, 0);
        node_refuse(n, j->connection, j->number, OP_JOIN, ERR_BAD_REQUEST,
                    (struct id128){{0}}, fault);
        node_queue_pop(&n->joinings);
    }
}

/* All joins that wait, as one record. */
static void propose_joins(struct node *n, struct group *g)
{
    struct record *next = record_copy(n->ring);
    size_t count = n->joinings.count;
    size_t accepted = 0;
    for (size_t i = 0; i < count; i++) {
        struct joining j = *(struct joining *)node_queue_at(&n->joinings, 0);
        node_queue_pop(&n->joinings);
        enum err err = record_join(next, &j.member, n->wall_ms);
        if (err != ERR_OK) {
            node_refuse(n, j.connection, j.number, OP_JOIN, err,
                        (struct id128){{0}}, join_text(err));
            continue;
        }
        accepted++;
        *(struct joining *)node_queue_push(&n->joinings) = j;
    }
    if (accepted > 0) {
        record_advance(next, n->wall_ms);
        const char *fault = record_fault(next);
        if (fault != NULL) {
            refuse_joins(n, fault);
        } else if (node_ring_propose(n, g, next, random_id(n))) {
            for (size_t i = 0; i < n->joinings.count; i++) {
                struct joining *j = node_queue_at(&n->joinings, i);
                j->index = n->record_index;
                j->term = n->record_term;
            }
        }
    }
    record_free(next);
}

/* Those who come together are one fold (DESIGN 4, record.h): nobody has asked
 * to join for a while, and all who did are heard; or they are not for longer;
 * or somebody has waited long enough. */
static bool have_joins_settled(const struct node *n, const struct group *g,
                               bool are_all_heard)
{
    uint32_t quiet_ms = n->cfg.timing.join_settle_ms;
    /* What the leader before heard, this one does not know. */
    uint64_t last_ms = max_u64(n->joined_ms, g->led_since_ms);
    uint32_t quiets = are_all_heard ? 1 : JOIN_SETTLES_LATE;
    return node_has_timed_out(n->now_ms, last_ms, quiets * quiet_ms) ||
           node_has_timed_out(n->now_ms, n->newcomers_since_ms,
                              JOIN_SETTLES_MAX * quiet_ms);
}

/* Newcomers that gossip has seen alive are up, all of them at once. */
static void see_newcomers(struct node *n, const struct group *g,
                          struct record **next)
{
    uint16_t heard[MEMBERS_MAX];
    uint32_t count = 0;
    uint32_t unheard = 0;
    for (uint16_t i = 0; i < n->ring->member_count; i++) {
        const struct member *m = &n->ring->members[i];
        if (m->wanted == WANTED_LEFT || m->seen != SEEN_JOINING)
            continue;
        if (swim_state(&n->swim, m->node) == SWIM_ALIVE)
            heard[count++] = i;
        else
            unheard++;
    }
    if (count == 0)
        n->newcomers_since_ms = 0;
    else if (n->newcomers_since_ms == 0)
        n->newcomers_since_ms = n->now_ms;
    if (count == 0 || !have_joins_settled(n, g, unheard == 0))
        return;
    if (*next == NULL)
        *next = record_copy(n->ring);
    for (uint32_t i = 0; i < count; i++)
        record_see(*next, heard[i], SEEN_UP, n->wall_ms);
}

/* Who was sent away has left once no group counts on it any more (T6). */
static void see_gone(struct node *n, struct record **next)
{
    for (uint16_t i = 0; i < n->ring->member_count; i++) {
        const struct member *m = &n->ring->members[i];
        if (m->wanted == WANTED_IN || m->seen == SEEN_GONE ||
            node_standing_holders(n, i) > 0)
            continue;
        if (*next == NULL)
            *next = record_copy(n->ring);
        record_see_gone(*next, i, n->wall_ms);
        node_log(n, NODE_INFO, "node %s has left: no group counts on it",
                 m->name);
    }
}

/* T3: a raised N asks for more disks only once every group has them: not the
 * voters count but their majority, as where appends are let in. */
static void raise_acks(struct node *n, struct record **next)
{
    uint32_t acks = record_majority(n->ring->copies);
    if (n->ring->acks >= acks ||
        record_majority(node_standing_voters(n)) < acks)
        return;
    if (*next == NULL)
        *next = record_copy(n->ring);
    (*next)->acks = acks;
}

/* What automation has to say, all of it in one record (T34). */
static void propose_seen(struct node *n, struct group *g)
{
    struct record *next = NULL;
    see_newcomers(n, g, &next);
    node_moved_judge(n, &next);
    node_fit_judge(n, &next);
    node_out_judge(n, g, &next);
    see_gone(n, &next);
    raise_acks(n, &next);
    if (next == NULL)
        return;
    n->automation_ms = n->now_ms;
    record_advance(next, n->wall_ms);
    const char *fault = record_fault(next);
    if (fault == NULL)
        (void)node_ring_propose(n, g, next, random_id(n));
    else
        node_log(n, NODE_ERROR, "the next ring record makes no sense: %s",
                 fault);
    record_free(next);
}

void node_ring_tick(struct node *n)
{
    struct group *g = node_group(n, 0);
    if (g != NULL) {
        uint64_t heard = raft_leader_heard_ms(g->raft);
        if (heard > n->started_ms)
            n->confirmed_ms = heard;
    }
    node_out_tick(n);
    node_moved_tick(n);
    node_fit_tick(n);
    node_standing_tick(n);
    if (g == NULL || !node_group_is_leading(g) || n->ring == NULL ||
        n->record_index != 0)
        return;
    node_admin_propose(n, g);
    if (n->record_index != 0)
        return;
    if (n->joinings.count > 0) {
        if (node_has_timed_out(n->now_ms, n->joining_since_ms,
                               n->cfg.timing.join_wait_ms))
            propose_joins(n, g);
        return;
    }
    /* Others' records do not count: whoever joins now and again must not hold
     * up that the dead go out. */
    if (n->automation_ms == 0 ||
        node_has_timed_out(n->now_ms, n->automation_ms,
                           n->cfg.timing.record_interval_ms))
        propose_seen(n, g);
}

void node_ring_deposed(struct node *n)
{
    struct group *g = node_group(n, 0);
    n->record_index = 0;
    n->newcomers_since_ms = 0;
    node_admin_deposed(n);
    while (n->joinings.count > 0) {
        struct joining *j = node_queue_at(&n->joinings, 0);
        enum err err = j->index == 0 ? ERR_MOVED : ERR_TIMEOUT;
        node_refuse(n, j->connection, j->number, OP_JOIN, err,
                    g == NULL ? (struct id128){{0}} : node_group_hint(g),
                    "the ring's leader has changed");
        node_queue_pop(&n->joinings);
    }
}

/* Its next life here begins from nothing. */
void node_ring_gone(struct node *n)
{
    node_ring_deposed(n);
    node_recover_give_up(n, "group 0 goes on without this node");
    record_free(n->ring);
    n->ring = NULL;
}

bool node_ring_leads(const struct node *n)
{
    const struct group *g = node_group(n, 0);
    return g != NULL && node_group_is_leading(g) && n->ring != NULL;
}

/* Who should know who leads the ring. */
static struct id128 ring_hint(const struct node *n)
{
    const struct group *g = node_group(n, 0);
    uint32_t count;
    const uint16_t *row = record_row(n->record, 0, &count);
    return g == NULL ? n->record->members[row[0]].node : node_group_hint(g);
}

void node_ring_refuse(struct node *n, uint64_t connection, uint64_t number,
                      enum wire_op op)
{
    struct id128 hint = ring_hint(n);
    /* Who does not keep the ring's group knows whom to ask instead. */
    const char *why = id_is_zero(hint)
                          ? raft_reason(node_group(n, 0)->raft, n->now_ms)
                          : "another node leads the ring";
    node_refuse(n, connection, number, op, ERR_MOVED, hint, why);
}

/* The member stands in the record as it says itself. */
static bool is_known(const struct node *n, const struct member *m)
{
    uint16_t slot = record_slot(n->ring, m->node);
    if (slot == SLOT_NONE)
        return false;
    const struct member *old = &n->ring->members[slot];
    return old->wanted != WANTED_LEFT && old->level == m->level &&
           memcmp(old->public_key, m->public_key, KEY_BYTES) == 0 &&
           strcmp(old->client_address, m->client_address) == 0 &&
           strcmp(old->peer_address, m->peer_address) == 0;
}

void node_ring_join(struct node *n, uint64_t connection, uint64_t number,
                    const struct member *m)
{
    if (!node_ring_leads(n)) {
        node_ring_refuse(n, connection, number, OP_JOIN);
        return;
    }
    if (is_known(n, m)) {
        struct response r = {.op = OP_JOIN, .err = ERR_OK};
        node_respond(n, connection, number, &r);
        return;
    }
    if (n->joinings.count >= MEMBERS_MAX) {
        node_refuse(n, connection, number, OP_JOIN, ERR_BUSY,
                    (struct id128){{0}}, "too many nodes are joining");
        return;
    }
    if (n->joinings.count == 0)
        n->joining_since_ms = n->now_ms;
    n->joined_ms = n->now_ms;
    struct joining *j = node_queue_push(&n->joinings);
    j->connection = connection;
    j->number = number;
    j->member = *m;
}

/* ---- gossip ------------------------------------------------------------ */

void node_ring_swim(struct node *n)
{
    struct swim_effect e;
    while (swim_pop(&n->swim, &e)) {
        struct peer *p = node_peer(n, e.id);
        if (p == NULL)
            continue;
        if (e.kind == SWIM_SEND) {
            struct frame f = {.kind = FRAME_SWIM, .bytes = e.bytes};
            node_peer_frame(n, p, &f);
            continue;
        }
        if (e.state == SWIM_DEAD)
            node_walk_death(n, p);
        const struct member *m = &n->record->members[p->slot];
        node_log(n, e.state == SWIM_DEAD ? NODE_WARN : NODE_INFO,
                 "node %s is %s", m->name, swim_state_name(e.state));
    }
}
