/* node_cycle.c - the flush cycle: what goes into the next transaction, chosen
 * by counts and bytes (T20, T35), and what follows once it is durable.
 *
 *   A  extras (replicas made and dropped, the record; rows of those that are
 *      being installed, up to COMMIT_B_BYTES), all hard state, log
 *      commands round-robin over groups up to COMMIT_A_BYTES
 *   B  one portion each of some groups' lazy rows, up to COMMIT_B_BYTES, and
 *      a slice of a sweep */
#include "node/node_impl.h"

/* One group's turn in the round-robin over log commands. */
#define QUANTUM_BYTES (256 * KIB)
/* A portion is worth a row's rewrite from so many entries or bytes on; older
 * ones go by age. */
#define PORTION_ENTRIES  64u
#define PORTION_BYTES    (256 * KIB)
#define SWEEP_ROWS       512u
#define SWEEPS_PER_CYCLE 1u
#define CUT_PER_CYCLE    (4 * LOG_CUT_ENTRIES)

static struct store_command *add(struct node *n, enum store_kind kind)
{
    struct cycle *c = &n->cycle;
    if (c->count == c->capacity) {
        c->capacity = c->capacity == 0 ? 64 : c->capacity * 2;
        c->commands =
            mem_resize(c->commands, c->capacity * sizeof *c->commands);
    }
    struct store_command *command = &c->commands[c->count++];
    *command = (struct store_command){.kind = kind};
    return command;
}

static struct store_command *add_of(struct node *n, const struct group *g,
                                    enum store_kind kind)
{
    struct store_command *c = add(n, kind);
    c->group = g->id;
    c->incarnation = g->incarnation;
    c->generation = g->generation;
    c->added = g->self.added;
    return c;
}

static struct cycle_mark *mark(struct node *n, struct group *g)
{
    struct queue *marks = &n->cycle.marks;
    uint64_t number = n->cycle.number + 1; /* of the one that is being cut */
    if (g->marked_in == number)
        return node_queue_at(marks, g->mark_at);
    struct cycle_mark *m = node_queue_push(marks);
    g->marked_in = number;
    g->mark_at = (uint32_t)(marks->count - 1);
    m->group = g->id;
    m->incarnation = g->incarnation;
    return m;
}

struct extra *node_cycle_extra(struct node *n, enum extra_kind kind)
{
    struct extra *x = node_queue_push(&n->extras);
    x->kind = kind;
    n->has_work = true;
    return x;
}

static size_t bytes_of(const struct extra *x)
{
    return x->bytes.size + x->command.payload.size;
}

static void take_extra(struct node *n, const struct extra *x)
{
    struct extra *kept = node_queue_push(&n->cycle.extras);
    *kept = *x;
    struct store_command *c = add(n, kept->command.kind);
    *c = kept->command;
    c->bytes = span_buf(&kept->bytes);
    c->config = kept->config;
    if (c->kind == STORE_BLOB ||
        (c->kind == STORE_RECOVER && c->bytes.size > 0)) {
        kept->images = mem_copy(&c->bytes, sizeof c->bytes);
        c->images = kept->images;
        c->image_count = 1;
    }
}

/* Is something of this group among the last `count` that wait? */
static bool has_extra(const struct node *n, uint32_t group, size_t count)
{
    for (size_t i = n->extras.count - count; i < n->extras.count; i++)
        if (((const struct extra *)node_queue_at(&n->extras, i))
                ->command.group == group)
            return true;
    return false;
}

/* All; but of rows that another replica gave no more than is worth a sync, and
 * less where there are appends, which wait for it (T20). What of the same group
 * comes behind such rows waits with them, its tombstone too (add_sweeps). */
static void add_extras(struct node *n)
{
    bool is_serving = n->log_waiting > 0 || n->cycle.had_log;
    size_t rows_max = is_serving ? COMMIT_ROWS_BYTES : COMMIT_B_BYTES;
    size_t rows = 0, left = 0;
    for (size_t k = n->extras.count; k > 0; k--) {
        struct extra x = *(struct extra *)node_queue_at(&n->extras, 0);
        size_t size = x.command.kind == STORE_ROWS ? bytes_of(&x) : 0;
        bool is_too_much = size > 0 && rows > 0 && rows + size > rows_max;
        is_too_much = is_too_much || has_extra(n, x.command.group, left);
        node_queue_pop(&n->extras);
        if (is_too_much) {
            *(struct extra *)node_queue_push(&n->extras) = x;
            left++;
        } else {
            rows += size;
            take_extra(n, &x);
        }
    }
}

static void free_extra(struct node *n, struct extra *x)
{
    if (x->command.payload.size > 0)
        item_pool_release(&n->pool, x->command.payload.handle);
    buf_free(&x->bytes);
    mem_free(x->config);
    mem_free(x->images);
}

/* The next group of a queue of them; NULL: gone meanwhile. */
static struct group *next_of(struct node *n, struct queue *groups)
{
    uint32_t id = *(uint32_t *)node_queue_at(groups, 0);
    node_queue_pop(groups);
    return node_group(n, id);
}

static void add_hard(struct node *n)
{
    while (n->hard_groups.count > 0) {
        struct group *g = next_of(n, &n->hard_groups);
        if (g == NULL || !g->is_hard_waiting)
            continue;
        g->is_hard_waiting = false;
        n->hard_waiting--;
        add_of(n, g, STORE_HARD)->hard = g->hard;
        mark(n, g)->hard_write = g->hard_write;
    }
}

/* Up to QUANTUM_BYTES (at least one) of one group's log commands. */
static size_t add_log_of(struct node *n, struct group *g)
{
    size_t bytes = 0;
    struct cycle_mark *m = mark(n, g);
    while (g->log_commands.count > 0 && bytes < QUANTUM_BYTES) {
        struct log_command *c = node_queue_at(&g->log_commands, 0);
        if (c->is_truncate) {
            add_of(n, g, STORE_TRUNCATE)->index = c->index;
            bytes += 64;
        } else {
            add_of(n, g, STORE_APPEND)->item = c->item;
            *(struct item **)node_queue_push(&n->cycle.items) = c->item;
            bytes += item_bytes(c->item);
        }
        m->log_write = c->write;
        node_queue_pop(&g->log_commands);
        n->log_waiting--;
    }
    return bytes;
}

/* Who has more than its quantum comes again behind the others. */
static void add_log(struct node *n)
{
    size_t bytes = 0;
    n->cycle.had_log = n->log_waiting > 0;
    while (n->log_groups.count > 0 && bytes < COMMIT_A_BYTES) {
        struct group *g = next_of(n, &n->log_groups);
        if (g == NULL || g->log_commands.count == 0)
            continue;
        bytes += add_log_of(n, g);
        if (g->log_commands.count > 0)
            *(uint32_t *)node_queue_push(&n->log_groups) = g->id;
    }
}

/* ---- B ----------------------------------------------------------------- */

uint32_t node_cycle_soft_age_ms(const struct node *n)
{
    return n->cfg.timing.unstored_age_ms / 10;
}

static bool is_debt_high(const struct node *n)
{
    return n->unstored_entries > UNSTORED_ENTRIES_MAX / 2 ||
           n->unstored_bytes > UNSTORED_BYTES_MAX / 2;
}

static uint64_t portion_at_ms(const struct node *n, const struct group *g)
{
    if (g->images.count == 0)
        return UINT64_MAX;
    const struct images *oldest = node_queue_at(&g->images, 0);
    return oldest->applied_ms + node_cycle_soft_age_ms(n);
}

bool node_cycle_is_large(const struct group *g)
{
    return g->images.count >= PORTION_ENTRIES ||
           g->image_bytes >= PORTION_BYTES;
}

static bool portion_is_due(const struct node *n, const struct group *g,
                           bool is_cycle_due)
{
    if (g->images.count == 0)
        return false;
    return n->now_ms >= portion_at_ms(n, g) || is_debt_high(n) ||
           (is_cycle_due && node_cycle_is_large(g));
}

/* From exactly the stored entry to exactly another, in order (T1). */
static size_t add_portion(struct node *n, struct group *g, size_t bytes_max)
{
    size_t bytes = 0;
    size_t count = 0;
    while (count < g->images.count && (count == 0 || bytes < bytes_max)) {
        const struct images *i = node_queue_at(&g->images, count);
        bytes += i->rows.size;
        count++;
    }
    struct span *spans = mem_alloc(count * sizeof *spans);
    *(struct span **)node_queue_push(&n->cycle.spans) = spans;
    for (size_t i = 0; i < count; i++) {
        const struct images *at = node_queue_at(&g->images, i);
        spans[i] = span_buf(&at->rows);
    }
    /* Without T1 newer rows would stand beside an older applied index. */
    const struct images *newest = node_queue_at(&g->images, count - 1);
    const struct images *last =
        RULE(T1) ? newest : node_queue_at(&g->images, 0);
    struct store_command *c = add_of(n, g, STORE_PORTION);
    c->index = g->stored;
    c->index_to = last->index;
    c->term = last->term;
    c->digest = newest->digest;
    c->epoch = newest->epoch;
    c->images = spans;
    c->image_count = (uint32_t)count;
    g->stored_pending = last->index;
    mark(n, g)->stored = last->index;
    return bytes;
}

static void add_boots(struct node *n)
{
    if (!n->has_boot_news)
        return;
    n->has_boot_news = false;
    struct span boots = node_boots_encode(n);
    if (boots.size > 0) /* else who had been heard has left meanwhile */
        add(n, STORE_BOOTS)->bytes = boots;
}

static void add_portions(struct node *n)
{
    bool is_cycle_due = n->cycle.count > 0;
    bool is_due = n->now_ms >= n->portion_at_ms || is_debt_high(n) ||
                  (is_cycle_due && n->is_portion_large);
    if (n->unstored_entries == 0 || !is_due)
        return; /* most turns end here: no look at each group */
    bool is_large = false;
    size_t bytes = 0;
    uint64_t next_ms = UINT64_MAX;
    uint32_t from = n->cursor_b;
    for (uint32_t k = 0; k < n->group_count && bytes < COMMIT_B_BYTES; k++) {
        uint32_t i = (from + k) % n->group_count;
        struct group *g = n->groups[i];
        if (g == NULL)
            continue;
        next_ms = min_u64(next_ms, portion_at_ms(n, g));
        if (portion_is_due(n, g, is_cycle_due)) {
            bytes += add_portion(n, g, COMMIT_B_BYTES - bytes);
            n->cursor_b = (i + 1) % n->group_count;
        } else {
            is_large = is_large || node_cycle_is_large(g);
        }
    }
    n->is_portion_large = is_large || bytes > 0;
    n->portion_at_ms = bytes == 0 ? next_ms : 0; /* some may be left over */
}

/* Not before the replica whose rows they were is no more. */
static void add_sweeps(struct node *n)
{
    size_t sweeps = 0;
    for (; sweeps < min_u64(n->sweeps.count, SWEEPS_PER_CYCLE); sweeps++) {
        const struct sweep *s = node_queue_at(&n->sweeps, sweeps);
        if (has_extra(n, s->group, n->extras.count))
            break;
        struct store_command *c = add(n, STORE_SWEEP);
        c->group = s->group;
        c->incarnation = s->incarnation;
        c->count = SWEEP_ROWS;
    }
    n->cycle.sweeps = (uint32_t)sweeps;
}

/* Manifests that nobody needs any more; a slice of a group in a cycle, and not
 * of all groups in the same one (L12). Looked for a few times a second, and in
 * each cycle while there are some. */
static void add_cuts(struct node *n)
{
    if (n->now_ms < n->cut_at_ms)
        return;
    uint32_t from = n->cursor_cut;
    uint64_t entries = 0;
    for (uint32_t k = 0; k < n->group_count && entries < CUT_PER_CYCLE; k++) {
        uint32_t i = (from + k) % n->group_count;
        struct group *g = n->groups[i];
        uint64_t index = g == NULL ? 0 : node_cut_next(n, g);
        if (index == 0)
            continue;
        entries += index - g->cut_pending;
        add_of(n, g, STORE_CUT)->index = index;
        mark(n, g)->cut = index;
        g->cut_pending = index;
        n->cursor_cut = (i + 1) % n->group_count;
    }
    n->cut_at_ms = entries > 0 ? 0 : n->now_ms + n->cfg.timing.walk_ms;
}

void node_cycle_cut(struct node *n)
{
    struct cycle *c = &n->cycle;
    if (c->is_out || n->is_stopped)
        return;
    ASSERT(c->count == 0 && c->marks.count == 0);
    add_extras(n);
    add_hard(n);
    add_log(n);
    add_boots(n);
    add_portions(n);
    add_cuts(n);
    add_sweeps(n);
    if (c->count == 0)
        return;
    c->is_out = true;
    c->began_ms = n->now_ms;
    c->number++;
    c->batch = (struct store_batch){c->number, c->commands, c->count};
    node_push(n, NODE_DO_COMMIT)->batch = &c->batch;
}

bool node_cycle_is_stalled(const struct node *n)
{
    return n->cycle.is_out && node_has_timed_out(n->now_ms, n->cycle.began_ms,
                                                 n->cfg.timing.election_ms);
}

/* ---- done -------------------------------------------------------------- */

static void release_cycle(struct node *n)
{
    struct cycle *c = &n->cycle;
    while (c->items.count > 0) {
        item_unref(&n->pool, *(struct item **)node_queue_at(&c->items, 0));
        node_queue_pop(&c->items);
    }
    while (c->spans.count > 0) {
        mem_free(*(struct span **)node_queue_at(&c->spans, 0));
        node_queue_pop(&c->spans);
    }
    while (c->orphans.count > 0) {
        buf_free(node_queue_at(&c->orphans, 0));
        node_queue_pop(&c->orphans);
    }
    c->count = 0;
    c->is_out = false;
}

static void finish_extras(struct node *n)
{
    struct queue *extras = &n->cycle.extras;
    while (extras->count > 0) {
        struct extra x = *(struct extra *)node_queue_at(extras, 0);
        node_queue_pop(extras);
        if (x.kind == EXTRA_CREATE)
            node_walk_created(n, &x);
        if (x.kind == EXTRA_INSTALL)
            node_install_stored(n, &x);
        if (x.kind == EXTRA_MEND)
            node_mend_stored(n, &x);
        if (x.kind == EXTRA_RECOVER)
            node_recover_done(n, &x);
        free_extra(n, &x);
    }
}

static void finish_sweeps(struct node *n, uint32_t finished)
{
    for (uint32_t i = 0; i < n->cycle.sweeps && n->sweeps.count > 0; i++) {
        struct sweep s = *(struct sweep *)node_queue_at(&n->sweeps, 0);
        node_queue_pop(&n->sweeps);
        if (i >= finished)
            *(struct sweep *)node_queue_push(&n->sweeps) = s;
    }
    n->cycle.sweeps = 0;
}

void node_committed(struct node *n, const struct store_done *done)
{
    struct cycle *c = &n->cycle;
    ASSERT(c->is_out && done->cycle == c->number);
    n->has_work = true;
    n->last_txn = done->txn;
    n->commit_us[n->commits % (sizeof n->commit_us / sizeof *n->commit_us)] =
        (uint32_t)min_u64(done->duration_us, UINT32_MAX);
    n->commits++;
    finish_extras(n);
    finish_sweeps(n, done->sweeps_finished);
    while (c->marks.count > 0) {
        struct cycle_mark m = *(struct cycle_mark *)node_queue_at(&c->marks, 0);
        node_queue_pop(&c->marks);
        struct group *g = node_group(n, m.group);
        /* Dropped meanwhile, or another life of this group's replica. */
        if (g == NULL || g->incarnation != m.incarnation)
            continue;
        raft_durable(g->raft, m.hard_write, m.log_write);
        if (m.stored > 0)
            node_group_stored(n, g, m.stored);
        if (m.cut > 0)
            raft_cut(g->raft, m.cut);
        node_dirty(n, g);
    }
    release_cycle(n);
}

void node_cycle_free(struct node *n)
{
    struct cycle *c = &n->cycle;
    release_cycle(n);
    struct queue *both[] = {&n->extras, &c->extras};
    for (size_t i = 0; i < 2; i++) {
        while (both[i]->count > 0) {
            free_extra(n, node_queue_at(both[i], 0));
            node_queue_pop(both[i]);
        }
        node_queue_free(both[i]);
    }
    node_queue_free(&c->items);
    node_queue_free(&c->marks);
    node_queue_free(&c->spans);
    node_queue_free(&c->orphans);
    mem_free(c->commands);
}
