/* store_ledger.c - see store_ledger.h. */
#include "storage/store_ledger.h"

#include "ring/rule.h"

static void held_free(struct store_held *h)
{
    if (h == NULL)
        return;
    mem_free(h->runs);
    mem_free(h->configs);
    mem_free((void *)h->view.quarantine.data);
    mem_free(h);
}

static struct store_held *held_copy(const struct store_held *h)
{
    struct store_held *copy = mem_copy(h, sizeof *h);
    size_t runs = h->view.raft.run_count;
    size_t configs = h->view.raft.config_count;
    struct span why = h->view.quarantine;
    copy->runs = mem_copy(h->runs, runs * sizeof *h->runs);
    copy->run_capacity = runs;
    copy->view.raft.runs = copy->runs;
    copy->configs = mem_copy(h->configs, configs * sizeof *h->configs);
    copy->config_capacity = configs;
    copy->view.raft.configs = copy->configs;
    copy->view.quarantine.data = mem_copy(why.data, why.size);
    return copy;
}

void store_ledger_free(struct store_ledger *l)
{
    store_ledger_keep(l);
    for (size_t i = 0; i < GROUPS_MAX; i++)
        held_free(l->slots[i].held);
    mem_free(l->was);
    *l = (struct store_ledger){0};
}

void store_ledger_copy(const struct store_ledger *l, struct store_ledger *out)
{
    ASSERT(l->was_count == 0);
    *out = *l;
    out->was = NULL;
    out->was_capacity = 0;
    for (size_t i = 0; i < GROUPS_MAX; i++)
        if (l->slots[i].held != NULL)
            out->slots[i].held = held_copy(l->slots[i].held);
}

/* ---- as it is read from disk ------------------------------------------- */

static void set_quarantine(struct store_held *h, struct span why)
{
    size_t size = (size_t)min_u64(why.size, STORE_QUARANTINE_MAX);
    mem_free((void *)h->view.quarantine.data);
    h->view.quarantine = span_of(mem_copy(why.data, size), size);
}

bool store_ledger_add(struct store_ledger *l, const struct store_replica *r)
{
    if (r->group >= GROUPS_MAX || l->slots[r->group].held != NULL)
        return false;
    struct store_held *h = mem_alloc(sizeof *h);
    h->view = *r;
    h->view.raft.runs = NULL;
    h->view.raft.run_count = 0;
    h->view.raft.configs = NULL;
    h->view.raft.config_count = 0;
    h->view.quarantine = (struct span){NULL, 0};
    set_quarantine(h, r->quarantine);
    l->slots[r->group].held = h;
    return true;
}

static size_t grown(size_t capacity)
{
    return capacity < 4 ? 4 : capacity * 2;
}

void store_ledger_add_run(struct store_held *h, struct raft_term_run run)
{
    struct raft_stored *raft = &h->view.raft;
    if (raft->run_count == h->run_capacity) {
        h->run_capacity = grown(h->run_capacity);
        h->runs = mem_resize(h->runs, h->run_capacity * sizeof *h->runs);
        raft->runs = h->runs;
    }
    h->runs[raft->run_count++] = run;
}

void store_ledger_add_config(struct store_held *h, const struct config *c)
{
    struct raft_stored *raft = &h->view.raft;
    if (raft->config_count == h->config_capacity) {
        h->config_capacity = grown(h->config_capacity);
        h->configs =
            mem_resize(h->configs, h->config_capacity * sizeof *h->configs);
        raft->configs = h->configs;
    }
    h->configs[raft->config_count++] = *c;
}

/* ---- commands ---------------------------------------------------------- */

/* Keeps what the group is, once a batch; the replica becomes a copy. */
static struct store_slot *touch(struct store_ledger *l, uint32_t group)
{
    struct store_slot *slot = &l->slots[group];
    if (slot->is_touched)
        return slot;
    if (l->was_count == l->was_capacity) {
        l->was_capacity = grown(l->was_capacity);
        l->was = mem_resize(l->was, l->was_capacity * sizeof *l->was);
    }
    l->was[l->was_count++] =
        (struct store_was){group, slot->held, slot->tombstone};
    slot->is_touched = true;
    if (slot->held != NULL)
        slot->held = held_copy(slot->held);
    return slot;
}

/* The replica that the command names, ready to be changed; NULL: unknown. */
static struct store_held *touch_named(struct store_ledger *l,
                                      const struct store_command *c)
{
    struct store_held *h = store_ledger_find(l, c->group);
    if (h == NULL || h->view.incarnation != c->incarnation)
        return NULL;
    return touch(l, c->group)->held;
}

static enum err apply_boot(struct store_ledger *l,
                           const struct store_command *c)
{
    if (c->number <= l->folder.boot)
        return ERR_DAMAGED;
    l->folder.boot = c->number;
    return ERR_OK;
}

static enum err apply_create(struct store_ledger *l,
                             const struct store_command *c)
{
    /* The largest incarnation has no successor, by which ranges end. */
    if (c->group >= GROUPS_MAX || c->incarnation == UINT32_MAX)
        return ERR_DAMAGED;
    struct store_slot *slot = touch(l, c->group);
    if (c->incarnation <= slot->tombstone.incarnation ||
        c->added <= slot->tombstone.least)
        return ERR_DAMAGED;
    const struct store_held *h = slot->held;
    if (h != NULL) {
        /* Only what is no replica yet begins anew. */
        if (!h->view.is_installing || !c->is_installing ||
            h->view.added != c->added || c->incarnation <= h->view.incarnation)
            return ERR_DAMAGED;
        held_free(slot->held);
        slot->held = NULL;
    }
    struct store_replica view = {.group = c->group,
                                 .incarnation = c->incarnation,
                                 .generation = c->generation,
                                 .added = c->added,
                                 .is_installing = c->is_installing};
    return store_ledger_add(l, &view) ? ERR_OK : ERR_DAMAGED;
}

static enum err apply_append(struct store_held *h, const struct item *item)
{
    struct raft_stored *raft = &h->view.raft;
    ASSERT(item != NULL);
    if (item->index != raft->last_index + 1 || !item_has_payload(item))
        return ERR_DAMAGED;
    if (item->kind == ENTRY_CONFIG) {
        struct config c;
        if (entry_read_config(item_manifest(item), &c) != ERR_OK)
            return ERR_DAMAGED;
        c.index = item->index;
        store_ledger_add_config(h, &c);
    }
    if (raft->run_count == 0 || h->runs[raft->run_count - 1].term != item->term)
        store_ledger_add_run(h,
                             (struct raft_term_run){item->index, item->term});
    raft->last_index = item->index;
    return ERR_OK;
}

static enum err apply_truncate(struct store_held *h, uint64_t index)
{
    struct raft_stored *raft = &h->view.raft;
    if (index <= raft->base_index || index <= raft->applied_index ||
        index > raft->last_index)
        return ERR_DAMAGED;
    while (raft->run_count > 0 &&
           h->runs[raft->run_count - 1].first_index >= index)
        raft->run_count--;
    while (raft->config_count > 0 &&
           h->configs[raft->config_count - 1].index >= index)
        raft->config_count--;
    raft->last_index = index - 1;
    if (raft->last_index == raft->base_index)
        raft->run_count = 0; /* one that began below the base */
    return ERR_OK;
}

static void apply_tombstone(struct store_ledger *l,
                            const struct store_command *c)
{
    struct store_slot *slot = touch(l, c->group);
    held_free(slot->held);
    slot->held = NULL;
    slot->tombstone.least = max_u64(slot->tombstone.least, c->added);
    slot->tombstone.incarnation = c->incarnation;
}

static enum err apply_portion(struct store_held *h,
                              const struct store_command *c)
{
    struct raft_stored *raft = &h->view.raft;
    /* T1: from exactly the one to exactly the other entry. */
    if (c->index != raft->applied_index || c->index_to <= c->index ||
        c->index_to > raft->last_index ||
        c->term != store_ledger_term_at(h, c->index_to))
        return ERR_DAMAGED;
    raft->applied_index = c->index_to;
    h->view.applied_term = c->term;
    h->view.digest = c->digest;
    h->view.epoch = c->epoch;
    return ERR_OK;
}

/* T24: never above what is stored as applied. */
static enum err apply_cut(struct store_held *h, uint64_t index)
{
    struct raft_stored *raft = &h->view.raft;
    if (index <= raft->base_index || (RULE(T24) && index > raft->applied_index))
        return ERR_DAMAGED;
    raft->base_term = store_ledger_term_at(h, index);
    raft->base_index = index;
    size_t gone = 0;
    while (gone < raft->run_count &&
           (gone + 1 < raft->run_count ? h->runs[gone + 1].first_index - 1
                                       : raft->last_index) <= index)
        gone++;
    raft->run_count -= gone;
    memmove(h->runs, h->runs + gone, raft->run_count * sizeof *h->runs);
    /* The one in force at the base is kept. */
    gone = 0;
    while (gone + 1 < raft->config_count && h->configs[gone + 1].index <= index)
        gone++;
    raft->config_count -= gone;
    memmove(h->configs, h->configs + gone,
            raft->config_count * sizeof *h->configs);
    return ERR_OK;
}

/* The blob is whole when its configuration comes: (index, term) is the base
 * of a log that is empty. */
static enum err apply_blob(struct store_held *h, const struct store_command *c)
{
    struct raft_stored *raft = &h->view.raft;
    if (!h->view.is_installing || raft->base_index != 0)
        return ERR_DAMAGED;
    if (c->config == NULL)
        return ERR_OK;
    if (c->index == 0 || c->term == 0 || c->config->index > c->index)
        return ERR_DAMAGED;
    raft->base_index = raft->applied_index = raft->last_index = c->index;
    raft->base_term = c->term;
    raft->hard = (struct raft_hard_state){.term = c->term};
    h->view.applied_term = c->term;
    h->view.digest = c->digest;
    h->view.epoch = c->epoch;
    store_ledger_add_config(h, c->config);
    return ERR_OK;
}

static enum err apply_rows(struct store_held *h, const struct store_command *c)
{
    if (!h->view.is_installing || h->view.raft.base_index == 0)
        return ERR_DAMAGED;
    h->view.cursor = c->cursor;
    h->view.moved_bytes += c->bytes.size + c->payload.size;
    return ERR_OK;
}

/* S7, T12: another generation, whose indexes are above all of this one. */
static enum err apply_recover(struct store_held *h,
                              const struct store_command *c)
{
    struct raft_stored *raft = &h->view.raft;
    bool is_whole = raft->base_index == raft->last_index &&
                    raft->applied_index == raft->last_index;
    bool is_ring = c->group == 0 && c->image_count > 0;
    if (h->view.is_installing || (!is_whole && !is_ring) ||
        c->index <= raft->last_index || c->added != c->index ||
        c->term < raft->hard.term || c->config == NULL ||
        c->config->index != c->index ||
        c->generation.counter <= h->view.generation.counter)
        return ERR_DAMAGED;
    h->view.generation = c->generation;
    h->view.added = c->added;
    h->view.applied_term = c->term;
    h->view.epoch = c->epoch;
    if (is_ring)
        h->view.digest = c->digest;
    raft->base_index = raft->applied_index = raft->last_index = c->index;
    raft->base_term = c->term;
    raft->hard = (struct raft_hard_state){.term = c->term};
    raft->run_count = 0;
    raft->config_count = 0;
    store_ledger_add_config(h, c->config);
    return ERR_OK;
}

static enum err apply_installed(struct store_held *h)
{
    if (!h->view.is_installing || h->view.raft.base_index == 0)
        return ERR_DAMAGED;
    h->view.is_installing = false;
    h->view.cursor = (struct row_cursor){0};
    h->view.moved_bytes = 0;
    return ERR_OK;
}

/* Never a row that a replica still names. */
static enum err check_sweep(const struct store_ledger *l,
                            const struct store_command *c)
{
    if (c->group >= GROUPS_MAX || c->incarnation == UINT32_MAX)
        return ERR_DAMAGED;
    const struct store_held *h = store_ledger_find(l, c->group);
    return h == NULL || h->view.incarnation > c->incarnation ? ERR_OK
                                                             : ERR_DAMAGED;
}

static enum err apply_to_replica(struct store_ledger *l,
                                 const struct store_command *c)
{
    struct store_held *h = touch_named(l, c);
    if (h == NULL)
        return ERR_DAMAGED;
    /* S17: what is installing has no log and no vote. */
    bool is_log = c->kind == STORE_HARD || c->kind == STORE_APPEND ||
                  c->kind == STORE_TRUNCATE || c->kind == STORE_PORTION ||
                  c->kind == STORE_CUT;
    if (is_log && h->view.is_installing)
        return ERR_DAMAGED;
    switch (c->kind) {
    case STORE_HARD:
        h->view.raft.hard = c->hard;
        return ERR_OK;
    case STORE_APPEND:
        return apply_append(h, c->item);
    case STORE_TRUNCATE:
        return apply_truncate(h, c->index);
    case STORE_TOMBSTONE:
        apply_tombstone(l, c);
        return ERR_OK;
    case STORE_QUARANTINE:
        h->view.is_quarantined = true;
        set_quarantine(h, c->bytes);
        return ERR_OK;
    case STORE_PORTION:
        return apply_portion(h, c);
    case STORE_CUT:
        return apply_cut(h, c->index);
    case STORE_BLOB:
        return apply_blob(h, c);
    case STORE_ROWS:
        return apply_rows(h, c);
    case STORE_RECOVER:
        return apply_recover(h, c);
    case STORE_INSTALLED:
        return apply_installed(h);
    case STORE_MEND:
        return ERR_OK;
    case STORE_BOOT:
    case STORE_RECORD:
    case STORE_CREATE:
    case STORE_BOOTS:
    case STORE_SWEEP:
        break;
    }
    return ERR_DAMAGED;
}

enum err store_ledger_apply(struct store_ledger *l,
                            const struct store_command *c)
{
    switch (c->kind) {
    case STORE_BOOT:
        return apply_boot(l, c);
    case STORE_RECORD:
        return c->bytes.size > 0 && c->bytes.size <= RECORD_BYTES_MAX
                   ? ERR_OK
                   : ERR_DAMAGED;
    case STORE_CREATE:
        return apply_create(l, c);
    case STORE_BOOTS:
        return c->bytes.size > 0 && c->bytes.size <= STORE_BOOTS_BYTES_MAX
                   ? ERR_OK
                   : ERR_DAMAGED;
    case STORE_SWEEP:
        return check_sweep(l, c);
    case STORE_HARD:
    case STORE_APPEND:
    case STORE_TRUNCATE:
    case STORE_TOMBSTONE:
    case STORE_QUARANTINE:
    case STORE_PORTION:
    case STORE_CUT:
    case STORE_BLOB:
    case STORE_ROWS:
    case STORE_RECOVER:
    case STORE_INSTALLED:
    case STORE_MEND:
        return apply_to_replica(l, c);
    }
    return ERR_DAMAGED;
}

void store_ledger_keep(struct store_ledger *l)
{
    for (size_t i = 0; i < l->was_count; i++) {
        held_free(l->was[i].held);
        l->slots[l->was[i].group].is_touched = false;
    }
    l->was_count = 0;
    l->boot_kept = l->folder.boot;
}

void store_ledger_undo(struct store_ledger *l)
{
    for (size_t i = 0; i < l->was_count; i++) {
        struct store_slot *slot = &l->slots[l->was[i].group];
        held_free(slot->held);
        slot->held = l->was[i].held;
        slot->tombstone = l->was[i].tombstone;
        slot->is_touched = false;
    }
    l->was_count = 0;
    l->folder.boot = l->boot_kept;
}

/* ---- questions --------------------------------------------------------- */

struct store_held *store_ledger_find(const struct store_ledger *l,
                                     uint32_t group)
{
    return group < GROUPS_MAX ? l->slots[group].held : NULL;
}

uint64_t store_ledger_term_at(const struct store_held *h, uint64_t index)
{
    const struct raft_stored *raft = &h->view.raft;
    if (index <= raft->base_index || index > raft->last_index)
        return 0;
    size_t i = raft->run_count;
    while (i > 0 && h->runs[i - 1].first_index > index)
        i--;
    return i > 0 ? h->runs[i - 1].term : 0;
}

void store_ledger_count(const struct store_ledger *l, uint32_t *replicas,
                        uint32_t *tombstones)
{
    *replicas = 0;
    *tombstones = 0;
    for (size_t i = 0; i < GROUPS_MAX; i++) {
        *replicas += l->slots[i].held != NULL;
        *tombstones += l->slots[i].tombstone.incarnation != 0;
    }
}

enum err store_ledger_visit_tombstones(const struct store_ledger *l,
                                       const struct store_visitor *v)
{
    for (uint32_t group = 0; group < GROUPS_MAX; group++) {
        struct store_tombstone t = l->slots[group].tombstone;
        if (t.incarnation == 0)
            continue;
        enum err err = v->tombstone(v->ctx, group, t.incarnation, t.least);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}
