/* node_check.c - what this node says of its own copies, for who compares them
 * with others' (net/check.h), and its own scrubs: a read that finds payload
 * damaged is a sign that there is more, so all of that group's copy is gone
 * through, in pieces, within the repair rate.
 *
 *   OP_CHECK --index 0--> from memory, at once
 *            --a piece--> SCRUB by a reader --> the answer
 *   CORRUPT in any read --> a scan: piece after piece, of one group at a time
 *
 * What either finds goes to node_mend.c. Damage that is no payload's ends the
 * node (S24). */
#include "node/node_impl.h"

#include "net/check.h"

/* Pieces under way for clients. */
#define CHECKS_MAX 64u

static const struct id128 nobody = {{0}};

/* ---- reads that were ordered ------------------------------------------- */

bool node_reading_take(struct node *n, uint64_t ticket, struct reading *out)
{
    for (size_t i = 0; i < n->readings.count; i++) {
        struct reading *at = node_queue_at(&n->readings, i);
        if (at->ticket != ticket)
            continue;
        *out = *at;
        *at = *(struct reading *)node_queue_at(&n->readings,
                                               n->readings.count - 1);
        node_queue_pop_back(&n->readings);
        n->has_work = true;
        return true;
    }
    return false;
}

bool node_reading_is_bad(struct node *n, enum err err)
{
    if (err != ERR_DAMAGED && err != ERR_IO)
        return false;
    node_fail(n, err == ERR_IO ? EXIT_DISK : EXIT_FOLDER,
              "a row that is not a payload is damaged");
    return true;
}

static struct reading *order(struct node *n, const struct group *g,
                             const struct scrub_cursor *from, uint64_t index)
{
    struct reading *r = node_queue_push(&n->readings);
    r->ticket = n->next_ticket++;
    r->kind = READING_SCRUB;
    r->group = g->id;
    r->incarnation = g->incarnation;
    struct node_effect *e = node_push(n, NODE_DO_SCRUB);
    e->ticket = r->ticket;
    e->scrub = (struct scrub_ticket){
        .group = g->id,
        .incarnation = g->incarnation,
        .from = *from,
        .index = index,
        .bytes_max = SCRUB_BYTES,
        .least_txn = n->last_txn,
    };
    return r;
}

/* ---- questions --------------------------------------------------------- */

/* What is known of itself without a look at the disk. */
static struct check_answer head_of(const struct group *g, uint64_t state_index)
{
    struct check_answer a = {
        .stored = g->stored,
        .applied = g->applied,
        .state_index = state_index == 0 ? g->stored : state_index,
    };
    a.has_state = a.state_index >= g->stored && a.state_index <= g->applied;
    if (!a.has_state)
        return a;
    if (a.state_index == g->stored) {
        a.state = g->stored_digest;
    } else { /* each entry that is not stored yet has its images */
        const struct images *i =
            node_queue_at(&g->images, (size_t)(a.state_index - g->stored - 1));
        ASSERT(i->index == a.state_index);
        a.state = i->digest;
    }
    return a;
}

static void answer(struct node *n, uint64_t connection, uint64_t number,
                   const struct check_answer *a)
{
    struct buf bytes = {0};
    check_write(&bytes, a);
    struct response r = {
        .op = OP_CHECK, .err = ERR_OK, .bytes = span_buf(&bytes)};
    node_respond(n, connection, number, &r);
    buf_free(&bytes);
}

static void refuse(struct node *n, uint64_t connection, uint64_t number,
                   enum err err, const char *text)
{
    node_refuse(n, connection, number, OP_CHECK, err, nobody, text);
}

static bool is_busy(const struct node *n)
{
    size_t count = 0;
    for (size_t i = 0; i < n->readings.count; i++) {
        const struct reading *r = node_queue_at(&n->readings, i);
        count += r->kind == READING_SCRUB;
    }
    return count >= CHECKS_MAX;
}

void node_check_asked(struct node *n, uint64_t connection, uint64_t number,
                      const struct request *q)
{
    const struct group *g = node_group(n, q->group);
    bool is_copy = g != NULL && !node_recover_is_former(g);
    if (!is_copy || g->is_quarantined) {
        refuse(n, connection, number, ERR_NOT_FOUND,
               !is_copy ? "this node keeps no copy of that partition"
                        : g->quarantine_text);
    } else if (q->check.index == 0) {
        struct check_answer a = head_of(g, q->check.state_index);
        answer(n, connection, number, &a);
    } else if (is_busy(n)) {
        refuse(n, connection, number, ERR_BUSY, "");
    } else {
        struct reading *r = order(n, g, &q->check.from, q->check.index);
        r->connection = connection;
        r->number = number;
        r->state_index = q->check.state_index;
    }
}

static void piece_read(struct node *n, const struct reading *r,
                       const struct group *g, const struct scrub_result *piece)
{
    if (g == NULL) {
        refuse(n, r->connection, r->number, ERR_NOT_FOUND,
               "the replica has gone");
        return;
    }
    if (piece->err != ERR_OK) {
        refuse(n, r->connection, r->number, ERR_BUSY,
               "this copy is not that far yet");
        return;
    }
    struct check_answer a = head_of(g, r->state_index);
    a.next = piece->next;
    a.sums = piece->sums;
    a.damage_count = piece->damage_count;
    for (uint32_t i = 0; i < piece->damage_count; i++)
        a.damages[i] = piece->damages[i];
    answer(n, r->connection, r->number, &a);
}

/* ---- scans ------------------------------------------------------------- */

void node_check_scan(struct node *n, const struct group *g)
{
    for (size_t i = 0; i < n->scans.count; i++) {
        const struct scan *s = node_queue_at(&n->scans, i);
        if (s->group == g->id)
            return;
    }
    bool is_too_soon =
        g->scanned_ms != 0 && !node_has_timed_out(n->now_ms, g->scanned_ms,
                                                  n->cfg.timing.mend_again_ms);
    if (is_too_soon)
        return;
    struct scan *s = node_queue_push(&n->scans);
    s->group = g->id;
    s->incarnation = g->incarnation;
    s->index = g->applied;
    n->has_work = true;
}

static void scanned(struct node *n, struct group *g,
                    const struct scrub_result *piece)
{
    struct scan *s = node_queue_at(&n->scans, 0);
    ASSERT(s->is_reading);
    s->is_reading = false;
    s->cursor = piece->next;
    n->repair_budget -= (int64_t)piece->sums.bytes;
    if (g != NULL && piece->err == ERR_OK && s->cursor.phase != SCRUB_DONE)
        return;
    if (g != NULL)
        g->scanned_ms = n->now_ms;
    node_queue_pop(&n->scans);
}

/* The next piece of the first scan: once what was applied when it was asked for
 * is stored, and there is room for what it may find. */
void node_check_turn(struct node *n)
{
    if (n->scans.count == 0)
        return;
    struct scan *s = node_queue_at(&n->scans, 0);
    const struct group *g = node_group_same(n, s->group, s->incarnation);
    if (s->is_reading)
        return;
    if (g == NULL) {
        node_queue_pop(&n->scans);
        return;
    }
    if (g->stored < s->index || n->repair_budget <= 0 ||
        n->mends.count + SCRUB_DAMAGES_MAX > MENDS_MAX)
        return;
    s->is_reading = true;
    order(n, g, &s->cursor, s->index)->is_ours = true;
}

/* ---- answers of readers ------------------------------------------------ */

void node_scrub_done(struct node *n, uint64_t ticket,
                     const struct scrub_result *result)
{
    struct reading r;
    bool is_there = node_reading_take(n, ticket, &r);
    ASSERT(is_there && r.kind == READING_SCRUB);
    if (node_reading_is_bad(n, result->err))
        return;
    struct group *g = node_group_same(n, r.group, r.incarnation);
    for (uint32_t i = 0; g != NULL && i < result->damage_count; i++)
        node_mend_add(n, g, &result->damages[i]);
    if (r.is_ours)
        scanned(n, g, result);
    else
        piece_read(n, &r, g, result);
}
