/* node_install.c - replicas that come by transfer: the receiving side, around
 * ring/transfer.h. Invited with a pin (node_walk.c), a replica is created
 * *installing*: it is no group of this node yet, has no raft, and so neither
 * votes nor acknowledges nor serves (S17). The last small write makes it one.
 *
 *   invited --CREATE--> BLOB --its pieces stored--> ROWS --INSTALLED--> a group
 *
 * Questions are few at a time and throttled by the bytes of their answers (the
 * ring's repair rate); answers are stored as they come, with the cursor behind
 * them, so that a restart goes on there. Segments' bytes pass by handle. */
#include "node/node_impl.h"

#include "net/status.h"

/* What is told of an install's rate is that of the last so many ms. */
#define RATE_WINDOW_MS 2000u

/* ---- life -------------------------------------------------------------- */

static struct install *install_new(struct node *n, uint32_t id,
                                   uint32_t incarnation,
                                   struct generation generation, uint64_t added)
{
    ASSERT(id < n->group_count && n->installs[id] == NULL);
    struct install *in = mem_alloc(sizeof *in);
    in->id = id;
    in->incarnation = incarnation;
    in->generation = generation;
    in->self = (struct replica){n->cfg.folder.node, added};
    in->heard_ms = in->moved_ms = in->rated_ms = n->now_ms;
    struct transfer_cfg cfg = {
        .self = in->self,
        .is_ring = id == 0,
        .patience_ms = 4 * n->cfg.timing.election_ms,
    };
    in->transfer = transfer_new(&cfg, n->now_ms);
    n->installs[id] = in;
    n->install_count++;
    n->has_work = true;
    return in;
}

void node_install_dropped(struct node *n, struct install *in)
{
    n->installs[in->id] = NULL;
    n->install_count--;
    transfer_free(in->transfer);
    mem_free(in);
}

void node_install_free(struct node *n)
{
    for (uint32_t i = 0; i < GROUPS_MAX; i++)
        if (n->installs[i] != NULL)
            node_install_dropped(n, n->installs[i]);
}

static struct extra *store(struct node *n, struct install *in,
                           enum store_kind kind)
{
    struct extra *x = node_cycle_extra(n, EXTRA_INSTALL);
    x->command.kind = kind;
    x->command.group = in->id;
    x->command.incarnation = in->incarnation;
    x->command.generation = in->generation;
    x->command.added = in->self.added;
    in->storing++;
    return x;
}

/* ---- as loaded --------------------------------------------------------- */

enum err node_install_load(struct node *n, const struct store_replica *r)
{
    struct install *in =
        install_new(n, r->group, r->incarnation, r->generation, r->added);
    in->cursor = r->cursor;
    in->moved_bytes = r->moved_bytes;
    if (r->raft.base_index == 0)
        return ERR_OK;
    if (r->raft.config_count != 1)
        return ERR_DAMAGED;
    in->is_blob_stored = true;
    struct transfer_head head = {r->raft.base_index, r->raft.base_term,
                                 r->digest, r->epoch, r->raft.configs[0]};
    transfer_load_head(in->transfer, &head);
    return ERR_OK;
}

/* Without its whole blob there is nothing to go on from. */
static void begin_anew(struct node *n, struct install *in)
{
    struct extra *x = node_cycle_extra(n, EXTRA_CREATE);
    x->command.kind = STORE_CREATE;
    x->command.group = in->id;
    x->command.incarnation = in->incarnation + 1;
    x->command.generation = in->generation;
    x->command.added = in->self.added;
    x->command.is_installing = true;
    struct sweep *s = node_queue_push(&n->sweeps);
    *s = (struct sweep){in->id, in->incarnation};
    node_install_dropped(n, in);
}

enum err node_install_start(struct node *n)
{
    for (uint32_t i = 0; i < n->group_count; i++) {
        struct install *in = n->installs[i];
        if (in == NULL)
            continue;
        if (!in->is_blob_stored)
            begin_anew(n, in);
        else if (transfer_load_end(in->transfer, in->cursor, in->moved_bytes) !=
                 ERR_OK)
            return ERR_DAMAGED;
        else
            in->rated_bytes = transfer_bytes(in->transfer);
    }
    return ERR_OK;
}

/* ---- invited ----------------------------------------------------------- */

void node_install_created(struct node *n, const struct extra *x)
{
    const struct store_command *c = &x->command;
    struct install *in =
        install_new(n, c->group, c->incarnation, c->generation, c->added);
    if (!id_is_zero(x->invited_by))
        transfer_invited(
            in->transfer,
            (struct replica){x->invited_by, x->invite.from_replica}, x->pin);
    node_log(n, NODE_INFO, "group %u: replica %llu is being installed", in->id,
             (unsigned long long)in->self.added);
}

void node_install_invited(struct node *n, struct install *in, struct peer *p,
                          const struct frame *f)
{
    in->heard_ms = n->now_ms;
    transfer_invited(in->transfer,
                     (struct replica){p->node, f->group.from_replica},
                     f->invite.pin);
    n->has_work = true;
}

/* ---- answers ----------------------------------------------------------- */

static struct install *addressed(const struct node *n, const struct frame *f)
{
    struct install *in = n->installs[f->group.group];
    return in != NULL &&
                   generation_equal(in->generation, f->group.generation) &&
                   in->self.added == f->group.to_replica
               ? in
               : NULL;
}

/* What is pulled, whether it is of use or not. */
static void spend(struct node *n, size_t bytes)
{
    n->repair_budget -= (int64_t)min_u64(bytes, INT32_MAX);
}

void node_install_blob(struct node *n, struct peer *p, const struct frame *f)
{
    struct install *in = addressed(n, f);
    if (in == NULL)
        return;
    struct transfer_piece piece = {
        .head = {f->transfer.index, f->transfer.term, f->transfer.digest,
                 f->transfer.epoch, f->transfer.config},
        .total = f->transfer.total,
        .offset = f->transfer.offset,
        .images = f->bytes,
    };
    in->heard_ms = n->now_ms;
    spend(n, f->bytes.size);
    uint64_t before = transfer_bytes(in->transfer);
    (void)transfer_blob(in->transfer,
                        (struct replica){p->node, f->group.from_replica},
                        &piece, n->now_ms);
    if (transfer_bytes(in->transfer) > before)
        in->moved_ms = n->now_ms;
    n->has_work = true;
}

static uint64_t bytes_of(const struct extra *rows)
{
    ASSERT(rows->command.kind == STORE_ROWS);
    return rows->bytes.size + rows->command.payload.size;
}

void node_install_rows(struct node *n, struct peer *p, const struct frame *f,
                       uint64_t handle)
{
    struct install *in = addressed(n, f);
    if (in == NULL)
        return;
    struct replica from = {p->node, f->group.from_replica};
    n->has_work = true;
    spend(n, f->bytes.size + f->payload_bytes);
    if (f->transfer.err != ERR_OK) {
        transfer_refused(in->transfer, from, n->now_ms);
        return;
    }
    if (f->transfer.index != transfer_head(in->transfer)->index ||
        !transfer_rows(in->transfer, from, f->transfer.cursor, f->bytes,
                       f->payload_bytes, n->now_ms))
        return;
    in->heard_ms = in->moved_ms = n->now_ms;
    struct extra *x = store(n, in, STORE_ROWS);
    buf_append(&x->bytes, f->bytes.data, f->bytes.size);
    x->command.cursor = transfer_cursor(in->transfer);
    if (f->payload_bytes > 0) {
        node_push(n, NODE_DO_ACQUIRE)->handle = handle;
        x->command.payload =
            (struct slice){handle, f->payload_at, f->payload_bytes};
    }
    n->install_bytes += bytes_of(x);
}

/* ---- storing ----------------------------------------------------------- */

/* One piece of the blob, cut between two images; the last bears the head. */
static void store_piece(struct node *n, struct install *in)
{
    struct span all = transfer_images(in->transfer);
    struct dec d =
        dec_of(span_of(all.data + in->put_at, all.size - in->put_at));
    struct image image;
    while (d.at < BLOB_PIECE_BYTES && image_next(&d, &image))
        continue;
    struct extra *x = store(n, in, STORE_BLOB);
    buf_append(&x->bytes, d.data, d.at);
    in->put_at += d.at;
    if (in->put_at < all.size)
        return;
    const struct transfer_head *head = transfer_head(in->transfer);
    x->command.index = head->index;
    x->command.term = head->term;
    x->command.digest = head->digest;
    x->command.epoch = head->epoch;
    x->config = mem_copy(&head->config, sizeof head->config);
}

/* A group like any other, from the next turn on. */
static void become_group(struct node *n, struct install *in)
{
    const struct transfer_head *head = transfer_head(in->transfer);
    struct raft_stored stored = {
        .hard = {.term = head->term},
        .base_index = head->index,
        .base_term = head->term,
        .last_index = head->index,
        .applied_index = head->index,
        .configs = &head->config,
        .config_count = 1,
    };
    struct group *g = node_group_new(n, in->id, in->incarnation, in->generation,
                                     in->self.added, &stored);
    g->digest = g->stored_digest = head->digest;
    g->epoch = head->epoch;
    if (in->id == 0) {
        record_free(n->ring);
        n->ring = transfer_take_ring(in->transfer);
        node_ring_adopt(n, record_copy(n->ring), false);
    } else {
        streams_free(g->streams);
        g->streams = transfer_take_streams(in->transfer);
    }
    node_log(n, NODE_INFO,
             "group %u: replica %llu is installed at entry %llu, %llu KiB",
             in->id, (unsigned long long)in->self.added,
             (unsigned long long)head->index,
             (unsigned long long)(transfer_bytes(in->transfer) / KIB));
    node_install_dropped(n, in);
    node_walk_rank(n, g);
    node_dirty(n, g);
}

void node_install_stored(struct node *n, const struct extra *x)
{
    struct install *in = n->installs[x->command.group];
    if (x->command.kind == STORE_ROWS)
        n->install_bytes -= bytes_of(x);
    if (in == NULL || in->incarnation != x->command.incarnation)
        return; /* removed meanwhile */
    in->storing--;
    in->moved_ms = n->now_ms;
    n->has_work = true;
    if (x->command.kind == STORE_BLOB && x->config != NULL) {
        in->is_blob_stored = true;
        transfer_blob_stored(in->transfer);
    }
    if (x->command.kind == STORE_INSTALLED)
        become_group(n, in);
}

/* ---- questions --------------------------------------------------------- */

/* Of an answer: see ROWS_PER_S. */
static uint32_t rows_bytes_max(const struct node *n)
{
    uint32_t share = n->record->repair_rate / ROWS_PER_S;
    return (uint32_t)min_u64(max_u64(share, ROWS_BYTES_MIN), ROWS_BYTES);
}

/* Has it asked? */
static bool ask(struct node *n, struct install *in)
{
    struct transfer_ask a;
    if (!transfer_next(in->transfer, n->now_ms, &a))
        return false;
    struct peer *p = node_peer(n, a.to.node);
    if (p == NULL)
        return true; /* it has left: patience runs out, another is asked */
    struct frame f = {
        .kind = a.is_blob ? FRAME_BLOB_ASK : FRAME_ROWS_ASK,
        .group = {in->id, in->generation, in->self.added, a.to.added, 0},
        .transfer = {.index = a.index,
                     .offset = a.offset,
                     .cursor = a.cursor,
                     .bytes_max = rows_bytes_max(n)},
    };
    node_peer_frame(n, p, &f);
    return true;
}

/* What it does by itself; questions wait for its turn. */
static void advance(struct node *n, struct install *in)
{
    switch (transfer_phase(in->transfer)) {
    case TRANSFER_STORE:
        if (in->storing == 0)
            store_piece(n, in);
        return;
    case TRANSFER_BLOB:
    case TRANSFER_ROWS:
        return;
    case TRANSFER_DONE:
        if (in->storing == 0 && !in->is_switching) {
            in->is_switching = true;
            (void)store(n, in, STORE_INSTALLED);
        }
        return;
    }
}

/* As the ring says now; a new rate counts at once. */
static void earn(struct node *n)
{
    uint64_t rate = n->record->repair_rate;
    uint64_t ms = min_u64(n->now_ms - n->repair_ms, 1000);
    n->repair_ms = n->now_ms;
    n->repair_budget += (int64_t)(rate * ms / 1000);
    if (n->repair_budget > (int64_t)(rate / 4))
        n->repair_budget = (int64_t)(rate / 4);
}

/* A node that is full asks for nothing: a commit that finds no room would end
 * it. What waits for the disk is bounded; while one commit is written, the next
 * one gathers (node_cycle.c), so that neither the disk nor the net stands. */
static bool may_ask(const struct node *n)
{
    return n->repair_budget > 0 && n->install_bytes < INSTALL_BYTES_MAX &&
           !n->is_full;
}

/* Those that ask in vain hold no turn: one of them asks at a time, in turn. */
static void ask_in_vain(struct node *n)
{
    if (n->install_count == 0 || n->now_ms < n->vain_due_ms)
        return;
    for (uint32_t k = 0; k < n->group_count && may_ask(n); k++) {
        uint32_t i = (n->vain_next + k) % n->group_count;
        struct install *in = n->installs[i];
        if (in == NULL || transfer_takes_turn(in->transfer) || !ask(n, in))
            continue;
        n->vain_next = i + 1;
        n->vain_due_ms = n->now_ms + n->cfg.timing.election_ms / 4;
        return;
    }
}

/* The first INSTALLS_MAX ask; the others wait for their turn. */
void node_install_turn(struct node *n)
{
    uint32_t asking = 0;
    earn(n);
    n->repair_due_ms = UINT64_MAX;
    for (uint32_t i = 0; n->install_count > 0 && i < n->group_count; i++) {
        struct install *in = n->installs[i];
        if (in == NULL)
            continue;
        bool takes_turn = transfer_takes_turn(in->transfer);
        if (takes_turn && asking < INSTALLS_MAX && may_ask(n))
            (void)ask(n, in);
        asking += takes_turn;
        advance(n, in);
    }
    ask_in_vain(n);
    bool is_wanted = asking > 0 || n->scans.count > 0 || n->mends.count > 0;
    if (is_wanted && n->repair_budget <= 0)
        n->repair_due_ms =
            n->now_ms + 1 +
            (uint64_t)-n->repair_budget * 1000 / n->record->repair_rate;
}

/* It has its turn, or asks in vain; those before it have theirs. */
static bool is_first(const struct node *n, const struct install *in)
{
    uint32_t asking = 0;
    for (uint32_t i = 0; i < in->id; i++)
        asking += n->installs[i] != NULL &&
                  transfer_takes_turn(n->installs[i]->transfer);
    return asking < INSTALLS_MAX || !transfer_takes_turn(in->transfer);
}

enum err node_install_answer(const struct node *n, const struct install *in)
{
    bool is_stalled = node_has_timed_out(n->now_ms, in->moved_ms,
                                         n->cfg.timing.install_stall_ms);
    bool holds = transfer_head(in->transfer)->index > 0;
    if (n->is_full)
        return holds ? ERR_UNAVAILABLE : ERR_NO_SPACE;
    if (is_stalled && is_first(n, in))
        return ERR_UNAVAILABLE;
    return holds ? ERR_OK : ERR_BUSY;
}

static uint64_t rate_of(const struct node *n, const struct install *in)
{
    uint64_t ms = n->now_ms - in->rated_ms;
    uint64_t bytes = transfer_bytes(in->transfer) - in->rated_bytes;
    return bytes * 1000 / max_u64(ms, 1);
}

static void measure(struct node *n, struct install *in)
{
    uint64_t bytes = transfer_bytes(in->transfer);
    if (bytes < in->rated_bytes) /* the blob begins anew */
        in->rated_bytes = bytes;
    if (!node_has_timed_out(n->now_ms, in->rated_ms, RATE_WINDOW_MS))
        return;
    in->rate = rate_of(n, in);
    in->rated_ms = n->now_ms;
    in->rated_bytes = bytes;
}

/* Without a word for long it asks whether it is still wanted (L18). */
void node_install_tick(struct node *n)
{
    for (uint32_t i = 0; i < n->group_count; i++) {
        struct install *in = n->installs[i];
        uint32_t wait_ms = n->cfg.timing.orphan_ms;
        if (in != NULL)
            measure(n, in);
        if (in == NULL || !node_has_timed_out(n->now_ms, in->heard_ms, wait_ms))
            continue;
        in->heard_ms = n->now_ms;
        struct frame f = {
            .kind = FRAME_ASK,
            .group = {in->id, in->generation, in->self.added, 0, 0},
            .ask_added = in->self.added,
        };
        node_walk_ask_all(n, &f, &transfer_head(in->transfer)->config);
    }
}

static const char *reason(const struct node *n, const struct install *in)
{
    enum transfer_phase phase = transfer_phase(in->transfer);
    bool is_asking = phase == TRANSFER_BLOB || phase == TRANSFER_ROWS;
    return n->is_full && is_asking
               ? "this node is nearly full: free space on it"
               : transfer_reason(in->transfer);
}

const char *node_install_reason(const struct node *n, uint32_t group)
{
    const struct install *in = n->installs[group];
    return in == NULL ? "" : reason(n, in);
}

static enum status_transfer_state state_of(const struct install *in,
                                           bool has_turn)
{
    switch (transfer_phase(in->transfer)) {
    case TRANSFER_BLOB:
        return has_turn ? TRANSFER_STATE_BLOB : TRANSFER_STATE_WAITING;
    case TRANSFER_STORE:
        return TRANSFER_STATE_STORING;
    case TRANSFER_ROWS:
        return has_turn ? TRANSFER_STATE_SEGMENTS : TRANSFER_STATE_WAITING;
    case TRANSFER_DONE:
        break;
    }
    return TRANSFER_STATE_SWITCHING;
}

/* By the same order as node_install_turn's. */
void node_install_status(const struct node *n, struct buf *out)
{
    uint32_t asking = 0;
    for (uint32_t i = 0; i < n->group_count; i++) {
        const struct install *in = n->installs[i];
        if (in == NULL)
            continue;
        bool has_turn = asking < INSTALLS_MAX;
        asking += transfer_takes_turn(in->transfer);
        struct status_transfer t = {
            .group = i,
            .added = in->self.added,
            .state = state_of(in, has_turn),
            .from = transfer_source(in->transfer).node,
            .bytes = transfer_bytes(in->transfer),
            .total = transfer_total(in->transfer),
            .rate = in->rate != 0 ? in->rate : rate_of(n, in),
            .idle_ms = n->now_ms - min_u64(n->now_ms, in->moved_ms),
            .reason = span_str(reason(n, in)),
        };
        status_write_transfer(out, &t);
    }
}
