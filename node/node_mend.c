/* node_mend.c - payload that is damaged here comes from another replica. A
 * committed position has one content, so the bytes that match the checksum in
 * the own row are the bytes, whoever has them (S25).
 *
 *   damage --> ROWS_ASK to a voter --> ROWS, verified by the shell --> MEND
 *                    |                                                   |
 *                    '-- refused, silent: the next one      compared with the
 *                                                         own row when written
 *
 * The question is a transfer's: rows of the index from the damaged one on, of
 * entries up to its. Only rows of the index are asked for, so that nothing is
 * ever mended that is not applied. Damage of a whole neighbourhood is mended by
 * one answer: of its rows all are taken that wait. Questions are few and count
 * against the repair rate. */
#include "node/node_impl.h"

/* Then others may have it no better; whoever reads it again begins anew. */
#define TRIES_MAX 24u
#define ASKED_MAX 4u

/* ---- the list ---------------------------------------------------------- */

static struct mend *find(const struct node *n, uint32_t group,
                         uint32_t incarnation, struct row_cursor row)
{
    for (size_t i = 0; i < n->mends.count; i++) {
        struct mend *m = node_queue_at(&n->mends, i);
        if (m->group == group && m->incarnation == incarnation &&
            row_cursor_equal(m->row, row))
            return m;
    }
    return NULL;
}

static void drop(struct node *n, struct mend *m)
{
    *m = *(struct mend *)node_queue_at(&n->mends, n->mends.count - 1);
    node_queue_pop_back(&n->mends);
}

void node_mend_add(struct node *n, const struct group *g,
                   const struct scrub_damage *damage)
{
    struct row_cursor row = {damage->stream, damage->first_seq};
    if (n->mends.count >= MENDS_MAX ||
        find(n, g->id, g->incarnation, row) != NULL)
        return;
    struct mend *m = node_queue_push(&n->mends);
    m->group = g->id;
    m->incarnation = g->incarnation;
    m->row = row;
    m->entry_index = damage->at.index;
    n->has_work = true;
    node_log(
        n, NODE_ERROR,
        "group %u: of stream %llu.%u, %u segments from %llu on are damaged "
        "here: another replica is asked for them",
        g->id, (unsigned long long)row.stream.index, row.stream.ordinal,
        damage->bad_count, (unsigned long long)damage->bad_seq);
}

const char *node_mend_reason(const struct node *n, uint32_t group)
{
    for (size_t i = 0; i < n->mends.count; i++) {
        const struct mend *m = node_queue_at(&n->mends, i);
        if (m->group == group)
            return "payload is damaged here; another replica is asked for it";
    }
    return NULL;
}

/* ---- asking ------------------------------------------------------------ */

/* The voters but this one: how many. */
static uint32_t list_sources(const struct group *g,
                             struct replica out[REPLICAS_MAX])
{
    const struct config *c = raft_config(g->raft);
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->count; i++)
        if (c->members[i].is_voter &&
            !replica_equal(c->members[i].replica, g->self))
            out[count++] = c->members[i].replica;
    return count;
}

/* A round over all of them is followed by a pause. */
static void try_later(const struct node *n, const struct group *g,
                      struct mend *m)
{
    struct replica sources[REPLICAS_MAX];
    uint32_t count = list_sources(g, sources);
    bool is_round = ++m->tries % max_u64(count, 1) == 0;
    m->is_asked = false;
    m->try_ms = n->now_ms + (is_round ? n->cfg.timing.mend_again_ms : 0);
}

static void ask(struct node *n, const struct group *g, struct mend *m)
{
    struct replica sources[REPLICAS_MAX];
    uint32_t count = list_sources(g, sources);
    struct replica to = count > 0 ? sources[m->tries % count] : g->self;
    struct peer *p = count > 0 ? node_peer(n, to.node) : NULL;
    if (p == NULL) {
        try_later(n, g, m);
        return;
    }
    m->is_asked = true;
    m->asked = to;
    m->try_ms = n->now_ms + 4 * (uint64_t)n->cfg.timing.election_ms;
    struct frame f = {
        .kind = FRAME_ROWS_ASK,
        .group = {g->id, g->generation, g->self.added, to.added, 0},
        .transfer = {.index = m->entry_index,
                     .cursor = m->row,
                     .bytes_max = ROWS_BYTES_MIN},
    };
    node_peer_frame(n, p, &f);
}

/* False: it is over with this one. */
static bool advance(struct node *n, struct mend *m, uint32_t *asked)
{
    const struct group *g = node_group_same(n, m->group, m->incarnation);
    if (g == NULL)
        return false;
    bool is_due = n->now_ms >= m->try_ms;
    if (m->is_asked && is_due)
        try_later(n, g, m);
    if (m->tries >= TRIES_MAX) {
        node_log(n, NODE_ERROR,
                 "group %u: no replica gave what is damaged here of stream "
                 "%llu.%u from %llu on",
                 g->id, (unsigned long long)m->row.stream.index,
                 m->row.stream.ordinal, (unsigned long long)m->row.seq);
        return false;
    }
    if (!m->is_asked && !m->is_storing && *asked < ASKED_MAX &&
        n->repair_budget > 0 && n->now_ms >= m->try_ms)
        ask(n, g, m);
    *asked += m->is_asked;
    return true;
}

void node_mend_turn(struct node *n)
{
    uint32_t asked = 0;
    for (size_t i = 0; i < n->mends.count;) {
        struct mend *m = node_queue_at(&n->mends, i);
        if (m->is_storing || advance(n, m, &asked))
            i++;
        else
            drop(n, m);
    }
}

/* ---- answers ----------------------------------------------------------- */

static void store(struct node *n, const struct group *g, struct mend *m,
                  const struct moved_row *row, struct slice payload)
{
    struct extra *x = node_cycle_extra(n, EXTRA_MEND);
    x->command.kind = STORE_MEND;
    x->command.group = g->id;
    x->command.incarnation = g->incarnation;
    x->command.generation = g->generation;
    x->command.added = g->self.added;
    x->command.cursor = m->row;
    moved_row_put(&x->bytes, row->key, row->value, row->run_bytes);
    node_push(n, NODE_DO_ACQUIRE)->handle = payload.handle;
    x->command.payload = payload;
    m->is_asked = false;
    m->is_storing = true;
}

/* Of the rows that came all that wait, this one among them or not. */
static void take_rows(struct node *n, const struct group *g,
                      const struct frame *f, uint64_t handle)
{
    struct moved_iter it;
    struct moved_row row;
    moved_begin(&it, f->bytes);
    while (moved_next(&it, &row) && it.payload_bytes <= f->payload_bytes) {
        struct row_cursor key = {row.row.stream, row.row.first_seq};
        struct mend *m = find(n, g->id, g->incarnation, key);
        if (m == NULL || m->is_storing || row.run_bytes == 0)
            continue;
        store(
            n, g, m, &row,
            (struct slice){handle, f->payload_at + row.run_at, row.run_bytes});
    }
}

void node_mend_rows(struct node *n, struct peer *p, const struct frame *f,
                    uint64_t handle)
{
    const struct group *g = node_group(n, f->group.group);
    if (g == NULL || !generation_equal(g->generation, f->group.generation) ||
        g->self.added != f->group.to_replica)
        return;
    struct replica from = {p->node, f->group.from_replica};
    struct mend *m = find(n, g->id, g->incarnation, f->transfer.cursor);
    if (m == NULL || !m->is_asked || !replica_equal(m->asked, from) ||
        m->entry_index != f->transfer.index)
        return; /* an answer to a question that nobody waits for any more */
    n->has_work = true;
    n->repair_budget -= (int64_t)f->bytes.size + (int64_t)f->payload_bytes;
    if (f->transfer.err == ERR_OK)
        take_rows(n, g, f, handle);
    if (!m->is_storing)
        try_later(n, g, m);
}

void node_mend_stored(struct node *n, const struct extra *x)
{
    const struct store_command *c = &x->command;
    struct mend *m = find(n, c->group, c->incarnation, c->cursor);
    n->mended++;
    if (m != NULL)
        drop(n, m);
    node_log(n, NODE_INFO,
             "group %u: what was damaged of stream %llu.%u from %llu on is "
             "mended",
             c->group, (unsigned long long)c->cursor.stream.index,
             c->cursor.stream.ordinal, (unsigned long long)c->cursor.seq);
}
