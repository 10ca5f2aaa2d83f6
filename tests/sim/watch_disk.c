/* watch_disk.c - what is on which disk; see watch.h. */
#include "tests/sim/twin.h"
#include "tests/sim/watch_impl.h"

/* ---- contents ---------------------------------------------------------- */

struct slot *watch_slot(struct group_watch *gw, uint64_t index)
{
    if (index >= gw->capacity) {
        size_t capacity = gw->capacity == 0 ? 64 : gw->capacity;
        while (capacity <= index)
            capacity *= 2;
        gw->slots = mem_resize(gw->slots, capacity * sizeof *gw->slots);
        memset(gw->slots + gw->capacity, 0,
               (capacity - gw->capacity) * sizeof *gw->slots);
        gw->capacity = capacity;
    }
    return &gw->slots[index];
}

struct variant *watch_variant(struct group_watch *gw, uint64_t index,
                              uint64_t term)
{
    struct variant *v = watch_slot(gw, index)->variants;
    while (v != NULL && v->term != term)
        v = v->next;
    return v;
}

bool watch_was_durable(const struct variant *v, struct replica r)
{
    for (uint32_t i = 0; i < v->durable_count; i++)
        if (replica_equal(v->durable[i], r))
            return true;
    return false;
}

static void note_durable(struct variant *v, struct replica r)
{
    if (watch_was_durable(v, r))
        return;
    v->durable =
        mem_resize(v->durable, (v->durable_count + 1) * sizeof *v->durable);
    v->durable[v->durable_count++] = r;
}

static void note_config(struct group_watch *gw, uint64_t index, uint64_t term)
{
    gw->configs =
        mem_resize(gw->configs, (gw->config_count + 1) * sizeof *gw->configs);
    gw->configs[gw->config_count++] = (struct config_seen){index, term};
}

static struct variant *new_variant(struct group_watch *gw,
                                   const struct item *item, uint64_t previous,
                                   uint64_t hash)
{
    struct variant *v = mem_alloc(sizeof *v);
    v->term = item->term;
    v->previous_term = previous;
    v->hash = hash;
    buf_append(&v->manifest, item->manifest, item->manifest_size);
    struct slot *slot = watch_slot(gw, item->index);
    v->next = slot->variants;
    slot->variants = v;
    if (item->kind == ENTRY_CONFIG)
        note_config(gw, item->index, item->term);
    return v;
}

/* ---- the log ----------------------------------------------------------- */

static void appended(struct watch *a, struct host *h, uint32_t group,
                     const struct item *item)
{
    struct disk *d = &a->hosts[h->index].disks[group];
    struct group_watch *gw = &a->groups[group];
    uint64_t previous = d->count == 0 ? 0 : d->entries[d->count - 1]->term;
    uint64_t hash = hash64(item_manifest(item));
    ASSERT(d->is_there && !d->is_installing && item->index == d->count + 1);
    struct variant *v = watch_variant(gw, item->index, item->term);
    if (v == NULL) {
        watch_change_stored(a, h, group, item);
        v = new_variant(gw, item, previous, hash);
        a->w->totals.entries++;
    }
    MUST_HOLD(a->w, I2, v->hash == hash && v->previous_term == previous,
              "n%u stores another entry %llu of term %llu in group %u than "
              "there was%s",
              h->index + 1, ull(item->index), ull(item->term), group,
              v->hash == hash ? ", after another one" : "");
    note_durable(v, (struct replica){h->id, d->added});
    if (d->count == d->capacity) {
        d->capacity = d->capacity == 0 ? 64 : d->capacity * 2;
        d->entries = mem_resize(d->entries, d->capacity * sizeof *d->entries);
    }
    d->entries[d->count++] = v;
}

static void truncated(struct watch *a, struct host *h, uint32_t group,
                      uint64_t index)
{
    struct disk *d = &a->hosts[h->index].disks[group];
    struct group_watch *gw = &a->groups[group];
    ASSERT(index >= 1 && index <= d->count);
    for (uint64_t i = index; i <= d->count; i++)
        MUST_HOLD(a->w, I6, watch_slot(gw, i)->committed != d->entries[i - 1],
                  "n%u truncates entry %llu of group %u, which is committed",
                  h->index + 1, ull(i), group);
    d->count = (size_t)index - 1;
}

static void hard_stored(struct watch *a, struct host *h,
                        const struct store_command *c)
{
    struct disk *d = &a->hosts[h->index].disks[c->group];
    MUST_HOLD(a->w, I8, c->hard.term >= d->hard.term,
              "n%u stores term %llu of group %u after term %llu", h->index + 1,
              ull(c->hard.term), c->group, ull(d->hard.term));
    MUST_HOLD(a->w, I9,
              c->hard.term > d->hard.term || id_is_zero(d->hard.vote.node) ||
                  replica_equal(c->hard.vote, d->hard.vote),
              "n%u changes its vote in term %llu of group %u", h->index + 1,
              ull(c->hard.term), c->group);
    d->hard = c->hard;
}

/* ---- states and replicas ----------------------------------------------- */

static void portion_stored(struct watch *a, struct host *h,
                           const struct store_command *c)
{
    struct disk *d = &a->hosts[h->index].disks[c->group];
    MUST_HOLD(a->w, I11, c->index == d->stored && c->index_to > c->index,
              "n%u stores group %u's state from entry %llu to %llu over that "
              "of entry %llu",
              h->index + 1, c->group, ull(c->index), ull(c->index_to),
              ull(d->stored));
    MUST_HOLD(a->w, I7,
              c->index_to <= max_u64(a->groups[c->group].committed, 1) &&
                  c->index_to <= d->count,
              "n%u stores group %u's state of entry %llu; committed are %llu, "
              "its disk ends at %zu",
              h->index + 1, c->group, ull(c->index_to),
              ull(a->groups[c->group].committed), d->count);
    watch_digest(a, h, c->group, c->index_to, c->digest);
    d->stored = c->index_to;
}

static void created(struct watch *a, struct host *h,
                    const struct store_command *c)
{
    struct disk *d = &a->hosts[h->index].disks[c->group];
    /* An install that begins anew is the same replica, and none yet. */
    bool is_anew = d->is_there && d->is_installing && c->is_installing &&
                   c->added == d->added;
    MUST_HOLD(a->w, I15,
              (is_anew || (!d->is_there && c->added > d->added_most)) &&
                  c->incarnation > d->incarnation,
              "n%u makes replica %llu of group %u; it has had %llu, and its "
              "incarnation %u",
              h->index + 1, ull(c->added), c->group, ull(d->added_most),
              d->incarnation);
    d->is_there = true;
    d->incarnation = c->incarnation;
    d->added = d->added_most = c->added;
    d->is_installing = c->is_installing;
    d->generation = c->generation;
    d->base = 0;
    d->hard = (struct raft_hard_state){0};
    d->count = 0;
    d->stored = 0;
}

/* T24: what is cut is in the stored state. */
static void cut(struct watch *a, struct host *h, const struct store_command *c)
{
    struct disk *d = &a->hosts[h->index].disks[c->group];
    MUST_HOLD(a->w, I7, !d->is_installing && c->index <= d->stored,
              "n%u cuts the log of group %u at %llu, its stored state is that "
              "of entry %llu",
              h->index + 1, c->group, ull(c->index), ull(d->stored));
    d->base = c->index;
    a->w->totals.cuts++;
}

/* S16: exactly the state of one committed entry. */
static void blob_stored(struct watch *a, struct host *h,
                        const struct store_command *c)
{
    struct disk *d = &a->hosts[h->index].disks[c->group];
    struct group_watch *gw = &a->groups[c->group];
    if (c->config == NULL)
        return;
    MUST_HOLD(a->w, I7,
              d->is_installing && c->index <= gw->committed &&
                  watch_slot(gw, c->index)->committed->term == c->term,
              "n%u installs group %u at entry %llu of term %llu; committed are "
              "%llu",
              h->index + 1, c->group, ull(c->index), ull(c->term),
              ull(gw->committed));
    watch_digest(a, h, c->group, c->index, c->digest);
    d->stored = c->index;
}

/* Segments of a stream that entries up to the index have brought. */
static uint64_t segments_at(const struct twin_stream *s, uint64_t index)
{
    size_t count = s == NULL ? 0 : s->count;
    while (count > 0 && s->segments[count - 1].index > index)
        count--;
    return count;
}

/* In these rows, which must be of segments that there are. */
static uint64_t count_segments(const struct watch *a, struct host *h,
                               const struct rows_result *rows,
                               struct rows_ticket *t)
{
    struct moved_iter it;
    struct moved_row m;
    uint64_t count = 0;
    MUST_HOLD(a->w, S17,
              moved_verify(span_buf(&rows->rows), span_buf(&rows->payload)),
              "n%u has other bytes in a segment of group %u", h->index + 1,
              t->group);
    moved_begin(&it, span_buf(&rows->rows));
    while (moved_next(&it, &m)) {
        const struct run_row *r = &m.row;
        uint64_t end = r->first_seq + r->count;
        uint64_t most =
            segments_at(twin_stream(a->w->twin, t->group, r->stream), t->index);
        MUST_HOLD(a->w, S17, end <= most,
                  "n%u has segment %llu of a stream of group %u, which has "
                  "%llu as of entry %llu",
                  h->index + 1, ull(end - 1), t->group, ull(most),
                  ull(t->index));
        t->from = (struct row_cursor){r->stream, end};
        count += r->count;
    }
    return count;
}

/* Each row is read once, so that the sum tells whether one is missing. */
static void check_whole(struct watch *a, struct host *h, uint32_t group)
{
    const struct disk *d = &a->hosts[h->index].disks[group];
    struct rows_ticket t = {.group = group,
                            .incarnation = d->incarnation,
                            .index = d->stored,
                            .bytes_max = ROWS_BYTES};
    uint64_t there = 0, needed = 0;
    struct rows_result rows;
    if (h->is_damaged || h->is_rotten)
        return; /* since they came, perhaps */
    bool is_end = false;
    while (!is_end) {
        store_read_rows(h->reader, &t, &rows);
        is_end = rows.err != ERR_OK || rows.count == 0;
        if (!is_end)
            there += count_segments(a, h, &rows, &t);
        store_rows_free(&rows);
    }
    const struct twin_stream *s = NULL;
    while ((s = twin_next(a->w->twin, group, s)) != NULL)
        needed += segments_at(s, d->stored);
    MUST_HOLD(a->w, S17, there == needed,
              "n%u takes group %u for installed at entry %llu, with %llu "
              "segments of %llu",
              h->index + 1, group, ull(d->stored), ull(there), ull(needed));
}

/* S17: only now is it a replica, with all that is committed up to there. */
static void installed(struct watch *a, struct host *h, uint32_t group)
{
    struct disk *d = &a->hosts[h->index].disks[group];
    struct group_watch *gw = &a->groups[group];
    MUST_HOLD(a->w, I7, d->is_installing && d->stored > 0,
              "n%u takes group %u for installed without a blob", h->index + 1,
              group);
    if (group != 0)
        check_whole(a, h, group);
    d->is_installing = false;
    d->base = d->stored;
    if (d->stored > d->capacity) {
        d->capacity = d->stored;
        d->entries = mem_resize(d->entries, d->capacity * sizeof *d->entries);
    }
    for (d->count = 0; d->count < d->stored; d->count++) {
        struct variant *v = watch_slot(gw, d->count + 1)->committed;
        note_durable(v, (struct replica){h->id, d->added});
        d->entries[d->count] = v;
    }
    d->hard.term = d->entries[d->count - 1]->term;
    a->w->totals.installs++;
}

/* S7: what is installed for a life that is over is nobody's last copy: no log,
 * and not all of the state. It needs no proof to go. */
static bool is_half_of_former(const struct watch *a, const struct disk *d,
                              uint32_t group)
{
    return d->is_installing && record_generation(a->record, group).counter >
                                   max_u64(d->generation.counter, 1);
}

/* S5, T13: as of a committed entry not below its own, this very pair is no
 * member any more. Ids are never given again, so the newest configuration
 * tells. */
static void dropped(struct watch *a, struct host *h, uint32_t group)
{
    struct disk *d = &a->hosts[h->index].disks[group];
    const struct config *c = &a->groups[group].config;
    struct replica r = {h->id, d->added};
    MUST_HOLD(a->w, I16,
              d->is_there &&
                  (is_half_of_former(a, d, group) ||
                   (c->index >= d->added && config_find(c, r) == NULL)),
              "n%u drops replica %llu of group %u, which no committed "
              "configuration (the newest is %llu) has removed",
              h->index + 1, ull(d->added), group, ull(c->index));
    d->is_there = false;
}

/* S25: of a copy that is there, and of entries that it has applied. */
static void mended(struct watch *a, struct host *h,
                   const struct store_command *c)
{
    const struct disk *d = &a->hosts[h->index].disks[c->group];
    struct moved_iter it;
    struct moved_row row;
    moved_begin(&it, c->bytes);
    while (moved_next(&it, &row))
        MUST_HOLD(a->w, S25,
                  d->is_there && d->incarnation == c->incarnation &&
                      row.row.entry_index <= d->stored,
                  "n%u mends a row of entry %llu of group %u; it has stored up "
                  "to %llu",
                  h->index + 1, ull(row.row.entry_index), c->group,
                  ull(d->stored));
    a->w->totals.mends++;
}

static void swept(struct watch *a, struct host *h,
                  const struct store_command *c)
{
    const struct disk *d = &a->hosts[h->index].disks[c->group];
    MUST_HOLD(a->w, I16, !d->is_there || c->incarnation < d->incarnation,
              "n%u sweeps the rows of group %u's incarnation %u, which is in "
              "use",
              h->index + 1, c->group, c->incarnation);
}

static void stored(struct watch *a, struct host *h,
                   const struct store_command *c)
{
    if (watch_anew_stored(a, h, c))
        return;
    switch (c->kind) {
    case STORE_CREATE:
        created(a, h, c);
        return;
    case STORE_TOMBSTONE:
        dropped(a, h, c->group);
        return;
    case STORE_HARD:
        hard_stored(a, h, c);
        return;
    case STORE_APPEND:
        appended(a, h, c->group, c->item);
        return;
    case STORE_TRUNCATE:
        truncated(a, h, c->group, c->index);
        return;
    case STORE_PORTION:
        portion_stored(a, h, c);
        return;
    case STORE_SWEEP:
        swept(a, h, c);
        return;
    case STORE_CUT:
        cut(a, h, c);
        return;
    case STORE_BLOB:
        blob_stored(a, h, c);
        return;
    case STORE_INSTALLED:
        installed(a, h, c->group);
        return;
    case STORE_QUARANTINE:
        world_fail(a->w, SIM_SAFETY, "n%u quarantines group %u: %.*s",
                   h->index + 1, c->group, (int)c->bytes.size,
                   (const char *)c->bytes.data);
    case STORE_BOOTS:
        watch_boots(a, h, c->bytes);
        return;
    case STORE_BOOT:
    case STORE_RECORD:
    case STORE_RECOVER: /* watch_anew.c */
    case STORE_ROWS:
        return;
    case STORE_MEND:
        mended(a, h, c);
        return;
    }
}

void watch_durable(struct watch *a, struct host *h, const struct store_batch *b)
{
    for (size_t i = 0; i < b->count; i++)
        stored(a, h, &b->commands[i]);
}
