/* node_give.c - replicas that come by transfer: the source's side. Any replica
 * of a group gives to a member of its configuration: its state as of what it
 * has stored (the blob, kept for a while so that its pieces are of one entry),
 * and rows of its index with their payload. Each answer is read in one short
 * transaction; segments' bytes pass by handle. */
#include "node/node_impl.h"

/* Answers under way for others. */
#define GIVING_READS_MAX 32u
#define GIVING_IDLE_MS   30000u
/* A blob whose next piece was asked for within this time is not dropped for
 * another's: else more askers than GIVINGS_MAX take turns at beginning anew. */
#define GIVING_BUSY_MS 10000u

/* ---- who asks ---------------------------------------------------------- */

/* The group, if the asker is a member of it as far as is known here. */
static struct group *asked_group(struct node *n, const struct peer *p,
                                 const struct frame *f)
{
    struct group *g = node_group(n, f->group.group);
    struct replica asker = {p->node, f->group.from_replica};
    if (g == NULL || g->is_quarantined ||
        !generation_equal(g->generation, f->group.generation) ||
        g->self.added != f->group.to_replica ||
        config_find(raft_config(g->raft), asker) == NULL)
        return NULL;
    size_t reads = 0;
    for (size_t i = 0; i < n->readings.count; i++) {
        const struct reading *r = node_queue_at(&n->readings, i);
        reads += r->kind == READING_BLOB || r->kind == READING_ROWS;
    }
    return reads < GIVING_READS_MAX ? g : NULL;
}

static struct frame answer_to(const struct group *g, enum frame_kind kind,
                              uint64_t to)
{
    return (struct frame){
        .kind = kind,
        .group = {g->id, g->generation, g->self.added, to, raft_term(g->raft)},
    };
}

static struct reading *order(struct node *n, const struct group *g,
                             enum reading_kind kind, struct replica to)
{
    struct reading *r = node_queue_push(&n->readings);
    r->ticket = n->next_ticket++;
    r->kind = kind;
    r->group = g->id;
    r->incarnation = g->incarnation;
    r->to = to;
    return r;
}

/* ---- blobs ------------------------------------------------------------- */

static struct giving *find_giving(const struct node *n, const struct group *g,
                                  struct replica to)
{
    for (size_t i = 0; i < n->givings.count; i++) {
        struct giving *at = node_queue_at(&n->givings, i);
        if (at->group == g->id && at->incarnation == g->incarnation &&
            replica_equal(at->to, to))
            return at;
    }
    return NULL;
}

static void drop_giving(struct node *n, struct giving *g)
{
    buf_free(&g->images);
    *g = *(struct giving *)node_queue_at(&n->givings, n->givings.count - 1);
    node_queue_pop_back(&n->givings);
}

static bool is_busy(const struct node *n, const struct giving *g)
{
    return !g->is_through &&
           !node_has_timed_out(n->now_ms, g->used_ms, GIVING_BUSY_MS);
}

/* If there are too many, the least recently used one goes that nobody is in
 * the middle of. NULL: there is none, and who asks asks again later. */
static struct giving *new_giving(struct node *n)
{
    if (n->givings.count < GIVINGS_MAX)
        return node_queue_push(&n->givings);
    struct giving *oldest = NULL;
    for (size_t i = 0; i < n->givings.count; i++) {
        struct giving *at = node_queue_at(&n->givings, i);
        if (!is_busy(n, at) &&
            (oldest == NULL || at->used_ms < oldest->used_ms))
            oldest = at;
    }
    if (oldest == NULL)
        return NULL;
    drop_giving(n, oldest);
    return node_queue_push(&n->givings);
}

static void send_piece(struct node *n, struct group *g, struct giving *at,
                       uint32_t offset)
{
    struct peer *p = node_peer(n, at->to.node);
    if (p == NULL)
        return;
    at->used_ms = n->now_ms;
    node_cut_given(n, g, at->to);
    struct dec d =
        dec_of(span_of(at->images.data + offset, at->images.size - offset));
    struct image image;
    while (d.at < BLOB_PIECE_BYTES && image_next(&d, &image))
        continue;
    struct frame f = answer_to(g, FRAME_BLOB, at->to.added);
    f.transfer = (struct frame_transfer){
        .index = at->head.index,
        .term = at->head.term,
        .digest = at->head.digest,
        .epoch = at->head.epoch,
        .config = at->head.config,
        .total = (uint32_t)at->images.size,
        .offset = offset,
    };
    f.bytes = span_of(d.data, d.at);
    at->is_through = offset + d.at == at->images.size;
    node_peer_transfer(n, p, &f);
}

/* Who leads keeps the log from there on for who is given a state (node_cut.c);
 * who does not any more could not. */
static bool may_begin(const struct group *g)
{
    return !RULE(T23) || raft_role(g->raft) == RAFT_LEADER;
}

static void order_blob(struct node *n, const struct group *g, struct replica to,
                       uint64_t index, uint32_t offset)
{
    struct reading *r = order(n, g, READING_BLOB, to);
    r->blob_index = index;
    r->blob_offset = offset;
    struct node_effect *e = node_push(n, NODE_DO_READ_BLOB);
    e->ticket = r->ticket;
    e->blob = (struct blob_ticket){g->id, g->incarnation, n->last_txn};
}

void node_give_blob(struct node *n, struct peer *p, const struct frame *f)
{
    struct group *g = asked_group(n, p, f);
    if (g == NULL)
        return;
    struct replica to = {p->node, f->group.from_replica};
    struct giving *at = find_giving(n, g, to);
    if (at != NULL && f->transfer.offset > 0 &&
        at->head.index == f->transfer.index &&
        f->transfer.offset < at->images.size) {
        send_piece(n, g, at, f->transfer.offset);
        return;
    }
    if (at != NULL)
        drop_giving(n, at);
    if (may_begin(g))
        order_blob(n, g, to, f->transfer.index, f->transfer.offset);
}

/* As of what is stored, which the rows were read with; what is applied since is
 * not in them. */
static struct transfer_head head_of(const struct group *g,
                                    const struct blob_result *result)
{
    uint64_t index = result->index, term = result->term;
    if (!RULE(S16)) {
        index = g->applied;
        term = raft_term_at(g->raft, index);
    }
    return (struct transfer_head){index, term, result->digest, result->epoch,
                                  result->config};
}

void node_blob_done(struct node *n, uint64_t ticket,
                    const struct blob_result *result)
{
    struct reading r;
    bool is_there = node_reading_take(n, ticket, &r);
    ASSERT(is_there && r.kind == READING_BLOB);
    struct group *g = node_group_same(n, r.group, r.incarnation);
    if (node_reading_is_bad(n, result->err) || result->err != ERR_OK ||
        g == NULL || !may_begin(g))
        return;
    /* The log may have been let go meanwhile up to what was stored since. */
    if (RULE(T23) && result->index < raft_floor(g->raft)) {
        order_blob(n, g, r.to, r.blob_index, r.blob_offset);
        return;
    }
    if (result->images.size > BLOB_BYTES_MAX) {
        node_log(n, NODE_ERROR,
                 "group %u: its state has %zu bytes, and a transfer takes at "
                 "most %u: no new replica can be made of it",
                 g->id, result->images.size, (unsigned)BLOB_BYTES_MAX);
        return;
    }
    struct giving *at = find_giving(n, g, r.to);
    if (at != NULL)
        drop_giving(n, at);
    at = new_giving(n);
    if (at == NULL)
        return;
    at->group = r.group;
    at->incarnation = r.incarnation;
    at->to = r.to;
    at->head = head_of(g, result);
    buf_append(&at->images, result->images.data, result->images.size);
    /* It may have been dropped in the middle: if nothing was applied since,
     * the rest of it is what was asked for. */
    bool is_rest =
        r.blob_index == result->index && r.blob_offset < result->images.size;
    send_piece(n, g, at, is_rest ? r.blob_offset : 0);
}

void node_give_tick(struct node *n)
{
    for (size_t i = 0; i < n->givings.count;) {
        struct giving *at = node_queue_at(&n->givings, i);
        if (node_has_timed_out(n->now_ms, at->used_ms, GIVING_IDLE_MS))
            drop_giving(n, at);
        else
            i++;
    }
}

void node_give_free(struct node *n)
{
    while (n->givings.count > 0)
        drop_giving(n, node_queue_at(&n->givings, 0));
    node_queue_free(&n->givings);
}

/* ---- rows -------------------------------------------------------------- */

static void refuse_rows(struct node *n, const struct group *g,
                        struct replica to, uint64_t index,
                        struct row_cursor cursor, enum err err)
{
    struct peer *p = node_peer(n, to.node);
    if (p == NULL)
        return;
    struct frame f = answer_to(g, FRAME_ROWS, to.added);
    f.transfer =
        (struct frame_transfer){.index = index, .cursor = cursor, .err = err};
    node_peer_frame(n, p, &f);
}

void node_give_rows(struct node *n, struct peer *p, const struct frame *f)
{
    struct group *g = asked_group(n, p, f);
    if (g == NULL)
        return;
    struct replica to = {p->node, f->group.from_replica};
    struct reading *r = order(n, g, READING_ROWS, to);
    r->rows = (struct rows_ticket){
        .group = g->id,
        .incarnation = g->incarnation,
        .from = f->transfer.cursor,
        .index = f->transfer.index,
        .bytes_max = (uint32_t)min_u64(f->transfer.bytes_max, ROWS_BYTES),
        .least_txn = n->last_txn,
    };
    struct node_effect *e = node_push(n, NODE_DO_READ_ROWS);
    e->ticket = r->ticket;
    e->rows = r->rows;
}

static enum err code_of(const struct rows_result *result)
{
    if (result->err == ERR_OK && result->count == 0)
        return ERR_NOT_FOUND;
    return result->err;
}

void node_rows_done(struct node *n, uint64_t ticket,
                    const struct rows_result *result, uint64_t payload)
{
    struct reading r;
    bool is_there = node_reading_take(n, ticket, &r);
    ASSERT(is_there && r.kind == READING_ROWS);
    struct group *g = node_group_same(n, r.group, r.incarnation);
    struct peer *p = node_peer(n, r.to.node);
    if (!node_reading_is_bad(n, result->err) && g != NULL && p != NULL) {
        if (result->err == ERR_CORRUPT) {
            node_log(n, NODE_ERROR,
                     "group %u: a payload is damaged here; who asked for it "
                     "asks another",
                     g->id);
            node_check_scan(n, g);
        }
        if (code_of(result) != ERR_OK) {
            refuse_rows(n, g, r.to, r.rows.index, r.rows.from, code_of(result));
        } else {
            struct frame f = answer_to(g, FRAME_ROWS, r.to.added);
            f.transfer = (struct frame_transfer){.index = r.rows.index,
                                                 .cursor = r.rows.from};
            f.bytes = span_buf(&result->rows);
            f.payload = (struct slice){payload, 0, result->payload_bytes};
            node_peer_transfer(n, p, &f);
        }
    }
    if (payload != 0)
        item_pool_release(&n->pool, payload);
}
