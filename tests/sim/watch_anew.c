/* watch_anew.c - groups that were founded anew (recovery.h); see watch.h.
 *
 * Their indexes go on far above, and what was committed before may be gone: the
 * rest of the watch looks at them no more. Of a group's former lives nothing is
 * checked but that they end. */
#include "tests/sim/twin.h"
#include "tests/sim/watch_impl.h"

/* ---- states ------------------------------------------------------------ */

/* I4 among those of the present life; none of another is at such an index. */
static void check_digest(struct watch *a, struct host *h, uint32_t group,
                         uint64_t index, struct hash128 digest)
{
    struct group_watch *gw = &a->groups[group];
    for (size_t i = 0; i < gw->digest_count; i++) {
        const struct anew_digest *d = &gw->digests[i];
        if (d->index != index)
            continue;
        MUST_HOLD(a->w, I4,
                  d->digest.lo == digest.lo && d->digest.hi == digest.hi,
                  "n%u's state of group %u, which was founded anew, at entry "
                  "%llu is not the others'",
                  h->index + 1, group, ull(index));
        return;
    }
    gw->digests =
        mem_resize(gw->digests, (gw->digest_count + 1) * sizeof *gw->digests);
    gw->digests[gw->digest_count++] = (struct anew_digest){index, digest};
}

static uint64_t segments_at(const struct twin_stream *s, uint64_t index)
{
    uint64_t count = 0;
    while (count < s->count && s->segments[count].index <= index)
        count++;
    return count;
}

/* Up to there its log is what was committed; behind, others' entries were. */
static uint64_t shared(struct group_watch *gw, const struct disk *d)
{
    uint64_t i = d->count;
    while (i > 0 && watch_slot(gw, i)->committed != d->entries[i - 1])
        i--;
    return i;
}

/* What was committed and in the founder's log is in its state. */
static void check_kept(struct watch *a, struct host *h, uint32_t group)
{
    const struct streams *streams = node_streams(h->node, group);
    uint64_t last = shared(&a->groups[group], &a->hosts[h->index].disks[group]);
    const struct twin_stream *s = NULL;
    while ((s = twin_next(a->w->twin, group, s)) != NULL) {
        struct stream_info info;
        uint64_t wanted = segments_at(s, last);
        if (s->id.index > last)
            continue;
        MUST_HOLD(a->w, I19,
                  streams_by_id(streams, s->id, &info) == ERR_OK &&
                      info.next_seq >= wanted,
                  "n%u founds group %u anew at entry %llu, without all of the "
                  "%llu segments of stream %s",
                  h->index + 1, group, ull(last), ull(wanted), s->name);
    }
}

/* ---- disks ------------------------------------------------------------- */

/* T12: of the next generation, of which the record names the founder; group
 * 0's own is the operator's, who asks one. */
static void founded(struct watch *a, struct host *h,
                    const struct store_command *c)
{
    struct group_watch *gw = &a->groups[c->group];
    struct disk *d = &a->hosts[h->index].disks[c->group];
    uint64_t steps = c->generation.counter - max_u64(d->generation.counter, 1);
    uint64_t last = c->index - GENERATION_STEP * steps;
    const struct record *r = h->node == NULL ? NULL : node_record(h->node);
    uint16_t founder = r == NULL ? SLOT_NONE : record_founder(r, c->group);
    MUST_HOLD(a->w, T12, c->generation.counter > gw->life.counter,
              "n%u founds group %u anew as generation %u, which it has come to "
              "by another",
              h->index + 1, c->group, c->generation.counter);
    MUST_HOLD(
        a->w, T12,
        c->group == 0 || r == NULL ||
            (founder != SLOT_NONE && id_equal(r->members[founder].node, h->id)),
        "n%u founds group %u anew, and the record does not say so",
        h->index + 1, c->group);
    MUST_HOLD(a->w, I15, d->is_there && c->added > d->added_most,
              "n%u founds group %u anew as replica %llu; it has had %llu",
              h->index + 1, c->group, ull(c->added), ull(d->added_most));
    if (!gw->is_anew && c->group > 0) {
        MUST_HOLD(a->w, I7, last == d->count && d->stored == last,
                  "n%u founds group %u anew from entry %llu; its disk ends at "
                  "%zu, stored is %llu",
                  h->index + 1, c->group, ull(last), d->count, ull(d->stored));
        if (r != NULL)
            check_kept(a, h, c->group);
    }
    gw->is_anew = true;
    gw->life = c->generation;
    d->generation = c->generation;
    d->added = d->added_most = c->added;
    check_digest(a, h, c->group, c->index, c->digest);
    world_fault(a->w, "n%u founds group %u anew, from entry %llu", h->index + 1,
                c->group, ull(last));
}

/* What a founder has in its log it takes for committed, before it begins. */
static bool is_forced(const struct host *h, uint32_t group)
{
    const struct raft *r = h->node == NULL ? NULL : node_raft(h->node, group);
    return r != NULL && raft_has_ended(r);
}

static void created(struct watch *a, struct host *h,
                    const struct store_command *c)
{
    struct disk *d = &a->hosts[h->index].disks[c->group];
    bool is_anew = d->is_there && d->is_installing && c->added == d->added;
    MUST_HOLD(a->w, I15,
              (is_anew || (!d->is_there && c->added > d->added_most)) &&
                  c->incarnation > d->incarnation,
              "n%u makes replica %llu of group %u; it has had %llu",
              h->index + 1, ull(c->added), c->group, ull(d->added_most));
    d->is_there = true;
    d->is_installing = c->is_installing;
    d->incarnation = c->incarnation;
    d->generation = c->generation;
    d->added = d->added_most = c->added;
}

bool watch_anew_stored(struct watch *a, struct host *h,
                       const struct store_command *c)
{
    if (c->kind == STORE_RECOVER) {
        founded(a, h, c);
        return true;
    }
    bool is_of_group = c->kind != STORE_BOOT && c->kind != STORE_RECORD &&
                       c->kind != STORE_BOOTS;
    if (!is_of_group)
        return false;
    struct disk *d = &a->hosts[h->index].disks[c->group];
    if (!a->groups[c->group].is_anew) {
        bool is_its = c->kind == STORE_PORTION && is_forced(h, c->group);
        d->stored = is_its ? c->index_to : d->stored;
        return is_its;
    }
    bool is_present = generation_equal(d->generation, a->groups[c->group].life);
    if (c->kind == STORE_CREATE)
        created(a, h, c);
    else if (c->kind == STORE_TOMBSTONE)
        d->is_there = false;
    else if (c->kind == STORE_PORTION && is_present)
        check_digest(a, h, c->group, c->index_to, c->digest);
    else if (c->kind == STORE_BLOB && is_present && c->config != NULL)
        check_digest(a, h, c->group, c->index, c->digest);
    else if (c->kind == STORE_INSTALLED)
        d->is_installing = false;
    return true;
}

/* ---- after a turn ------------------------------------------------------ */

void watch_anew_look(struct watch *a, struct host *h, uint32_t group,
                     const struct raft *r)
{
    const struct disk *d = &a->hosts[h->index].disks[group];
    struct generation now = record_generation(node_record(h->node), group);
    raft_check(r);
    MUST_HOLD(a->w, S7,
              raft_role(r) != RAFT_LEADER ||
                  max_u64(d->generation.counter, 1) == now.counter,
              "n%u leads group %u in generation %u, and knows of %u",
              h->index + 1, group, d->generation.counter, now.counter);
}
