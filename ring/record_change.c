/* record_change.c - what operators change in the ring record, and when it is
 * refused; see record.h. */
#include "ring/record.h"

#include "ring/rule.h"

static enum err conflict(const char **why, const char *text)
{
    *why = text;
    return ERR_CONFLICT;
}

/* ---- one change -------------------------------------------------------- */

static void want(struct record *r, struct member *m, enum member_wanted wanted)
{
    if (m->wanted == wanted)
        return;
    m->wanted = wanted;
    m->wanted_since = r->epoch.number + 1;
}

/* S7, T12: the next life of a partition, of which only its founder knows what
 * it begins with. Whoever made this of an older one would begin a second. */
static enum err found_anew(struct record *r, const struct change *c,
                           const char **why)
{
    uint32_t group = c->value;
    if (group >= r->row_count) {
        *why = "there is no such partition";
        return ERR_NOT_FOUND;
    }
    struct generation now = record_generation(r, group);
    if (RULE(T12) && c->generation.counter <= now.counter)
        return conflict(why, "the partition has been recovered since");
    if (c->generation.counter - now.counter > GENERATION_SKIP_MAX && RULE(T12))
        return conflict(why, "that generation is too far ahead");
    uint32_t at = 0;
    while (at < r->life_count && r->lives[at].group < group)
        at++;
    if (at == r->life_count || r->lives[at].group != group) {
        r->lives = mem_resize(r->lives, (r->life_count + 1) * sizeof *r->lives);
        memmove(&r->lives[at + 1], &r->lives[at],
                (r->life_count - at) * sizeof *r->lives);
        r->life_count++;
    }
    r->lives[at] = (struct record_life){group, c->generation, c->slot};
    return ERR_OK;
}

static enum err change_member(struct record *r, const struct change *c,
                              const char **why)
{
    if (c->slot >= r->member_count ||
        r->members[c->slot].wanted == WANTED_LEFT) {
        *why = "there is no such member, or it has left";
        return ERR_NOT_FOUND;
    }
    struct member *m = &r->members[c->slot];
    switch (c->kind) {
    case CHANGE_DRAIN:
        want(r, m, WANTED_DRAINING);
        break;
    case CHANGE_ADD:
        want(r, m, WANTED_IN);
        break;
    case CHANGE_REMOVE:
        want(r, m, WANTED_LEFT);
        break;
    case CHANGE_WEIGHT:
        m->weight = c->value;
        break;
    case CHANGE_ZONE:
        memcpy(m->zone, c->zone, sizeof m->zone);
        break;
    case CHANGE_RECOVER:
        return found_anew(r, c, why);
    case CHANGE_COPIES:
    case CHANGE_OUT_AFTER:
    case CHANGE_REPAIR_RATE:
        ASSERT(!"no change of a member");
    }
    for (uint32_t i = 0; i < r->member_count; i++)
        if (record_is_eligible(&r->members[i]))
            return ERR_OK;
    return conflict(why, "no member would be left that holds anything");
}

/* T3: a raised N leaves `acks` until every group has the voters; a lowered one
 * lowers it at once. */
static void change_copies(struct record *r, uint32_t copies)
{
    r->copies = copies;
    r->acks = (uint32_t)min_u64(r->acks, record_majority(copies));
}

enum err record_change(struct record *r, const struct change *c,
                       const char **why)
{
    ASSERT(change_fault(c) == NULL);
    if (change_is_of_member(c->kind))
        return change_member(r, c, why);
    if (c->kind == CHANGE_COPIES)
        change_copies(r, c->value);
    else if (c->kind == CHANGE_OUT_AFTER)
        r->out_after_ms = c->value;
    else
        r->repair_rate = c->value;
    return ERR_OK;
}

/* ---- the staged plan --------------------------------------------------- */

/* What was shown has them: who drains one node in the place of another must not
 * move all to third ones first. */
static void take_newcomers_in(struct record *r)
{
    for (uint16_t i = 0; i < r->member_count; i++)
        if (r->members[i].wanted == WANTED_IN &&
            r->members[i].seen == SEEN_JOINING)
            record_see(r, i, SEEN_UP, r->changed_ms);
}

enum err record_commit(struct record *r, const char **why)
{
    enum err err = ERR_OK;
    take_newcomers_in(r);
    for (uint32_t i = 0; i < r->change_count && err == ERR_OK; i++)
        err = record_change(r, &r->changes[i], why);
    r->change_count = 0;
    memset(r->changes, 0, sizeof r->changes);
    return err;
}

/* Both say what shall become of one thing: the later one counts. */
static bool overrules(const struct change *a, const struct change *b)
{
    bool are_standings = a->kind <= CHANGE_REMOVE && b->kind <= CHANGE_REMOVE;
    if (a->kind == CHANGE_RECOVER)
        return a->kind == b->kind && a->value == b->value;
    return a->slot == b->slot && (a->kind == b->kind || are_standings);
}

enum err record_stage(struct record *r, const struct change *c,
                      const char **why)
{
    ASSERT(change_fault(c) == NULL);
    uint32_t kept = 0;
    struct change changes[CHANGES_MAX + 1] = {0};
    for (uint32_t i = 0; i < r->change_count; i++)
        if (!overrules(c, &r->changes[i]))
            changes[kept++] = r->changes[i];
    changes[kept++] = *c;
    if (kept > CHANGES_MAX) {
        *why = "the plan is full";
        return ERR_TOO_LARGE;
    }
    struct record *trial = record_copy(r);
    memcpy(trial->changes, changes, sizeof trial->changes);
    trial->change_count = kept;
    enum err err = record_commit(trial, why);
    record_free(trial);
    if (err != ERR_OK)
        return err;
    memcpy(r->changes, changes, sizeof r->changes);
    r->change_count = kept;
    return ERR_OK;
}

/* ---- safety ------------------------------------------------------------ */

static uint32_t count_eligible(const struct record *r)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < r->member_count; i++)
        count += record_is_eligible(&r->members[i]);
    return count;
}

static void begin_sentence(struct buf *why)
{
    if (why->size > 0)
        buf_append(why, " ", 1);
}

static bool keeps_enough_copies(const struct record *now,
                                const struct record *next, struct buf *why)
{
    if (next->copies >= now->copies ||
        (next->copies >= 2 && next->copies + 1 >= now->copies))
        return true;
    begin_sentence(why);
    buf_printf(why,
               "N would go from %u to %u: go down by one at a time, and not "
               "below 2, or force it.",
               now->copies, next->copies);
    return false;
}

static bool keeps_enough_members(const struct record *now,
                                 const struct record *next, struct buf *why)
{
    uint32_t before = count_eligible(now);
    uint32_t after = count_eligible(next);
    if (after >= before || after >= next->copies)
        return true;
    begin_sentence(why);
    buf_printf(why,
               "%u copies need %u nodes, and %u would be left: %u more must "
               "join first (eddyd join), or N be lowered.",
               next->copies, next->copies, after, next->copies - after);
    return false;
}

/* A row without a majority of members that are up. */
static bool is_row_dead(const struct record *r, uint32_t group,
                        const bool *is_live)
{
    uint32_t count;
    uint32_t live = 0;
    const uint16_t *slots = record_row(r, group, &count);
    for (uint32_t i = 0; i < count; i++)
        live += is_live[slots[i]];
    return live < record_majority(count);
}

static void name_dead(const struct record *r, const bool *is_live,
                      struct buf *why)
{
    const char *comma = "";
    for (uint32_t i = 0; i < r->member_count; i++) {
        if (is_live[i] || !record_is_eligible(&r->members[i]))
            continue;
        buf_printf(why, "%s%s", comma, r->members[i].name);
        comma = ", ";
    }
}

static bool keeps_quorums(const struct record *now, const struct record *next,
                          const bool *is_live, struct buf *why)
{
    if (count_eligible(next) >= count_eligible(now))
        return true;
    uint32_t dead = 0;
    for (uint32_t g = 0; g < next->row_count; g++)
        dead += is_row_dead(next, g, is_live) && !is_row_dead(now, g, is_live);
    if (dead == 0)
        return true;
    begin_sentence(why);
    buf_printf(why,
               "%u group%s would have no majority of nodes that are up: ", dead,
               dead == 1 ? "" : "s");
    name_dead(next, is_live, why);
    buf_printf(why, " must come back first, or others join.");
    return false;
}

enum err record_may_go_on(const struct record *now, const struct record *next,
                          const bool *is_live, struct buf *why)
{
    bool is_safe = keeps_enough_copies(now, next, why);
    is_safe = keeps_enough_members(now, next, why) && is_safe;
    is_safe = keeps_quorums(now, next, is_live, why) && is_safe;
    return is_safe ? ERR_OK : ERR_REFUSED;
}

struct hash128 record_table_digest(const struct record *r)
{
    size_t count = (size_t)r->row_count * REPLICATION_MAX;
    struct buf bytes = {0};
    struct enc e = enc_of(buf_grow(&bytes, 2 * count), 2 * count);
    for (size_t i = 0; i < count; i++)
        enc_u16(&e, r->row_slots[i]);
    struct hash128 digest = hash128(span_buf(&bytes));
    buf_free(&bytes);
    return digest;
}
