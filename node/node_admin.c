/* node_admin.c - what operators change in the ring: group 0's leader makes the
 * next record of it, if that is safe, and proposes it.
 *
 * A request names the epoch that it was made from, a random id, and mostly the
 * table that its maker was shown. Of a repeated id the first answer is given
 * (T26): from the record if it was judged, else when it is. One request is one
 * record, in the order in which they came. */
#include "node/node_impl.h"

#define WAITING_MAX 16u

static const struct id128 nobody = {{0}};

/* ---- answers ----------------------------------------------------------- */

static void answer(struct node *n, const struct changing *c, enum err err,
                   struct epoch epoch, const char *text)
{
    struct response r = {
        .op = OP_CHANGE, .err = err, .epoch = epoch, .text = span_str(text)};
    node_respond(n, c->connection, c->number, &r);
}

static const char *const moved_on =
    "the ring has changed since: look at the plan again";

static void answer_judged(struct node *n, const struct changing *c,
                          const struct proposal_answer *a)
{
    answer(n, c, a->err, a->epoch, a->err == ERR_OK ? "" : moved_on);
}

static const struct proposal_answer *find_answer(const struct node *n,
                                                 struct id128 proposal)
{
    for (uint32_t i = 0; i < n->ring->answer_count; i++)
        if (id_equal(n->ring->answers[i].proposal, proposal))
            return &n->ring->answers[i];
    return NULL;
}

void node_admin_applied(struct node *n, const struct item *item,
                        const struct proposal_answer *a)
{
    size_t count = n->changings.count;
    for (size_t i = 0; i < count; i++) {
        struct changing c = *(struct changing *)node_queue_at(&n->changings, 0);
        node_queue_pop(&n->changings);
        bool is_this = (c.index == item->index && c.term == item->term) ||
                       id_equal(c.request.proposal, a->proposal);
        if (is_this)
            answer_judged(n, &c, a);
        else
            *(struct changing *)node_queue_push(&n->changings) = c;
    }
}

void node_admin_deposed(struct node *n)
{
    struct group *g = node_group(n, 0);
    while (n->changings.count > 0) {
        struct changing c = *(struct changing *)node_queue_at(&n->changings, 0);
        node_queue_pop(&n->changings);
        node_refuse(n, c.connection, c.number, OP_CHANGE,
                    c.index == 0 ? ERR_MOVED : ERR_TIMEOUT,
                    g == NULL ? nobody : node_group_hint(g),
                    "the ring's leader has changed");
    }
}

/* ---- the next record --------------------------------------------------- */

static void list_live(const struct node *n, bool is_live[MEMBERS_MAX])
{
    for (uint32_t i = 0; i < n->ring->member_count; i++)
        is_live[i] =
            swim_state(&n->swim, n->ring->members[i].node) == SWIM_ALIVE;
}

/* Who is to have left at once must not be counted on by any group (T6). */
static bool may_leave(const struct node *n, const struct record *next,
                      struct buf *why)
{
    bool may = true;
    for (uint16_t i = 0; i < n->ring->member_count; i++) {
        if (next->members[i].wanted != WANTED_LEFT ||
            n->ring->members[i].wanted == WANTED_LEFT)
            continue;
        uint32_t holders = node_standing_holders(n, i);
        if (holders == 0)
            continue;
        may = false;
        if (why->size > 0)
            buf_append(why, " ", 1);
        buf_printf(why,
                   "%u group%s still count on %s: drain it, or accept the "
                   "loss of data.",
                   holders, holders == 1 ? "" : "s", n->ring->members[i].name);
    }
    return may;
}

/* S7: a group that goes on by itself, as far as this node hears, is never
 * founded anew, and none without the operator's word that data may be lost. */
static enum err may_recover(const struct node *n, const struct changing *c,
                            const struct record *staged, struct buf *why)
{
    bool is_live[MEMBERS_MAX] = {false};
    list_live(n, is_live);
    is_live[n->slot] = true;
    for (uint32_t i = 0; i < staged->change_count; i++) {
        const struct change *at = &staged->changes[i];
        if (at->kind != CHANGE_RECOVER)
            continue;
        if (!node_standing_is_complete(n)) {
            buf_printf(why, "the ring has a new leader, which waits to hear "
                            "of the partitions that are led");
            return ERR_BUSY;
        }
        if (!c->request.is_forced)
            buf_printf(why, "a partition that is recovered may lose data: "
                            "accept that, or start the nodes that have it");
        else if (!is_live[at->slot])
            buf_printf(why,
                       "%s, which is to found partition %u anew, is not "
                       "alive",
                       n->ring->members[at->slot].name, at->value - 1);
        else if (node_standing_is_led(n, at->value))
            buf_printf(why, "partition %u has a leader: it goes on by itself",
                       at->value - 1);
        if (why->size > 0)
            return ERR_REFUSED;
    }
    return ERR_OK;
}

static enum err list_changes(const struct changing *c, struct record *next,
                             const char **why)
{
    struct dec d = dec_of(span_of(c->changes, c->changes_size));
    struct change change;
    enum err err = ERR_OK;
    while (err == ERR_OK && wire_change_next(&d, &change))
        err = record_stage(next, &change, why);
    return err;
}

/* Back in: the groups that have not let go of it need not fetch anything. */
static void keep_rows(const struct node *n, struct record *next)
{
    for (uint16_t i = 0; i < n->ring->member_count; i++)
        if (n->ring->members[i].wanted == WANTED_DRAINING &&
            next->members[i].wanted == WANTED_IN)
            node_out_keep_rows(n, next, i);
}

/* Carries the plan out in `next`. */
static enum err carry_out(struct node *n, const struct changing *c,
                          struct record *next, struct buf *why)
{
    const char *text = "nothing is staged";
    bool is_live[MEMBERS_MAX] = {false};
    static const struct hash128 none;
    if (next->change_count == 0) {
        buf_printf(why, "%s", text);
        return ERR_CONFLICT;
    }
    enum err err = may_recover(n, c, next, why);
    if (err != ERR_OK)
        return err;
    err = record_commit(next, &text);
    if (err != ERR_OK) {
        buf_printf(why, "%s", text);
        return err;
    }
    keep_rows(n, next);
    record_advance(next, n->wall_ms);
    struct hash128 digest = record_table_digest(next);
    bool is_shown =
        c->request.digest.lo != none.lo || c->request.digest.hi != none.hi;
    if (is_shown && (digest.lo != c->request.digest.lo ||
                     digest.hi != c->request.digest.hi)) {
        buf_printf(why, "the table would be another than the one shown: look "
                        "at the plan again, with an eddy of this version");
        return ERR_CONFLICT;
    }
    if (c->request.is_forced)
        return ERR_OK;
    list_live(n, is_live);
    err = record_may_go_on(n->ring, next, is_live, why);
    return may_leave(n, next, why) ? err : ERR_REFUSED;
}

/* OK: `next` is to be proposed. */
static enum err make_next(struct node *n, const struct changing *c,
                          struct record *next, struct buf *why)
{
    const char *text = "";
    enum err err = ERR_OK;
    /* Made from a record that is not applied here yet: a leader that is not any
     * more would call undone what another carries out. */
    if (epoch_compare(c->made_from, n->ring->epoch) > 0) {
        buf_printf(why, "this node has not seen that record of the ring yet");
        return ERR_UNAVAILABLE;
    }
    if (epoch_compare(c->made_from, n->ring->epoch) != 0 && RULE(S12)) {
        buf_printf(why, "%s", moved_on);
        return ERR_CONFLICT;
    }
    switch (c->request.act) {
    case ACT_STAGE:
        err = list_changes(c, next, &text);
        break;
    case ACT_CLEAR:
        next->change_count = 0;
        break;
    case ACT_COMMIT:
        return carry_out(n, c, next, why);
    case ACT_NOW:
        if (next->change_count > 0) {
            buf_printf(why, "something else is staged: eddy ring plan shows "
                            "it, eddy ring plan --clear drops it");
            return ERR_CONFLICT;
        }
        err = list_changes(c, next, &text);
        if (err == ERR_OK)
            return carry_out(n, c, next, why);
        break;
    }
    if (err != ERR_OK)
        buf_printf(why, "%s", text);
    else
        record_advance(next, n->wall_ms);
    return err;
}

/* False: it was refused, and the next may try. */
static bool propose_one(struct node *n, struct group *g)
{
    struct changing *c = node_queue_at(&n->changings, 0);
    struct record *next = record_copy(n->ring);
    struct buf why = {0};
    enum err err = make_next(n, c, next, &why);
    const char *fault = err == ERR_OK ? record_fault(next) : NULL;
    if (fault != NULL) {
        err = ERR_CONFLICT;
        buf_printf(&why, "%s", fault);
    }
    if (err == ERR_OK) {
        if (node_ring_propose(n, g, next, c->request.proposal)) {
            c->index = n->record_index;
            c->term = n->record_term;
        }
    } else {
        buf_append(&why, "", 1);
        answer(n, c, err, n->ring->epoch, (const char *)why.data);
        node_queue_pop(&n->changings);
    }
    record_free(next);
    buf_free(&why);
    return err == ERR_OK;
}

void node_admin_propose(struct node *n, struct group *g)
{
    while (n->changings.count > 0 && !propose_one(n, g)) {
    }
}

/* ---- requests ---------------------------------------------------------- */

void node_admin_change(struct node *n, uint64_t connection, uint64_t number,
                       const struct request *r)
{
    if (!node_ring_leads(n)) {
        node_ring_refuse(n, connection, number, OP_CHANGE);
        return;
    }
    struct changing c = {.connection = connection,
                         .number = number,
                         .made_from = r->epoch,
                         .request = r->change};
    const struct proposal_answer *first = find_answer(n, r->change.proposal);
    if (first != NULL && RULE(T26)) {
        answer_judged(n, &c, first);
        return;
    }
    if (n->changings.count == WAITING_MAX) {
        node_refuse(n, connection, number, OP_CHANGE, ERR_BUSY, nobody,
                    "too many changes of the ring are waiting");
        return;
    }
    /* Each is at most CHANGE_BYTES_MAX, as the decoder has seen. */
    ASSERT(r->change.changes.size <= sizeof c.changes);
    if (r->change.changes.size > 0)
        memcpy(c.changes, r->change.changes.data, r->change.changes.size);
    c.changes_size = r->change.changes.size;
    c.request.changes = (struct span){NULL, 0};
    /* A repeat of what is under way gets the same answer. */
    for (size_t i = 0; i < n->changings.count; i++) {
        const struct changing *at = node_queue_at(&n->changings, i);
        if (id_equal(at->request.proposal, c.request.proposal)) {
            c.index = at->index;
            c.term = at->term;
        }
    }
    *(struct changing *)node_queue_push(&n->changings) = c;
    n->has_work = true;
}
