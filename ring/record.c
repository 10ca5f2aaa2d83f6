/* record.c - see record.h. The bytes and what makes sense in them are in
 * record_codec.c. */
#include "ring/record.h"

#include "ring/placement.h"
#include "ring/rule.h"

static_assert(SLOT_NONE == PLACEMENT_NONE, "a row is a row of the table");

/* ---- life -------------------------------------------------------------- */

struct record *record_new(void)
{
    struct record *r = mem_alloc(sizeof *r);
    r->partitions = PARTITIONS_DEFAULT;
    r->copies = REPLICATION_DEFAULT;
    r->acks = record_majority(REPLICATION_DEFAULT);
    r->out_after_ms = OUT_AFTER_MS;
    r->repair_rate = REPAIR_RATE;
    r->level = LEVEL_NOW;
    return r;
}

static size_t rows_size(const struct record *r)
{
    return (size_t)r->row_count * REPLICATION_MAX * sizeof *r->row_slots;
}

struct record *record_copy(const struct record *r)
{
    struct record *copy = mem_copy(r, sizeof *r);
    copy->members = mem_copy(r->members, r->member_count * sizeof *r->members);
    copy->keys = mem_copy(r->keys, r->key_count * sizeof *r->keys);
    copy->row_slots = mem_copy(r->row_slots, rows_size(r));
    copy->lives = mem_copy(r->lives, r->life_count * sizeof *r->lives);
    return copy;
}

void record_free(struct record *r)
{
    if (r == NULL)
        return;
    mem_free(r->members);
    mem_free(r->keys);
    mem_free(r->row_slots);
    mem_free(r->lives);
    mem_free(r);
}

/* ---- questions --------------------------------------------------------- */

uint16_t record_slot(const struct record *r, struct id128 node)
{
    for (uint32_t i = 0; i < r->member_count; i++)
        if (id_equal(r->members[i].node, node))
            return (uint16_t)i;
    return SLOT_NONE;
}

uint16_t record_slot_by_name(const struct record *r, struct span name)
{
    for (uint32_t i = 0; i < r->member_count; i++)
        if (r->members[i].wanted != WANTED_LEFT &&
            span_equal(span_str(r->members[i].name), name))
            return (uint16_t)i;
    return SLOT_NONE;
}

uint16_t record_slot_by_key(const struct record *r,
                            const uint8_t key[KEY_BYTES])
{
    static const uint8_t none[KEY_BYTES]; /* members of an insecure cluster */
    if (memcmp(key, none, KEY_BYTES) == 0)
        return SLOT_NONE;
    for (uint32_t i = 0; i < r->member_count; i++)
        if (memcmp(r->members[i].public_key, key, KEY_BYTES) == 0)
            return (uint16_t)i;
    return SLOT_NONE;
}

static uint16_t *row_of(const struct record *r, uint32_t group)
{
    ASSERT(group < r->row_count);
    return &r->row_slots[(size_t)group * REPLICATION_MAX];
}

const uint16_t *record_row(const struct record *r, uint32_t group,
                           uint32_t *count)
{
    const uint16_t *slots = row_of(r, group);
    *count = 0;
    while (*count < REPLICATION_MAX && slots[*count] != SLOT_NONE)
        (*count)++;
    return slots;
}

uint32_t record_rank(const struct record *r, uint32_t group, uint16_t slot)
{
    uint32_t count;
    const uint16_t *slots = record_row(r, group, &count);
    for (uint32_t rank = 0; rank < count; rank++)
        if (slots[rank] == slot)
            return rank;
    return REPLICAS_MAX;
}

static const struct record_life *find_life(const struct record *r,
                                           uint32_t group)
{
    for (uint32_t i = 0; i < r->life_count; i++)
        if (r->lives[i].group == group)
            return &r->lives[i];
    return NULL;
}

struct generation record_generation(const struct record *r, uint32_t group)
{
    const struct record_life *life = find_life(r, group);
    if (group == 0)
        return r->generation;
    return life == NULL ? r->born : life->generation;
}

uint16_t record_founder(const struct record *r, uint32_t group)
{
    const struct record_life *life = find_life(r, group);
    return life == NULL ? SLOT_NONE : life->founder;
}

bool record_is_eligible(const struct member *m)
{
    return m->wanted == WANTED_IN && m->seen != SEEN_OUT;
}

static struct client_key *find_key(const struct record *r,
                                   const uint8_t key[KEY_BYTES])
{
    for (uint32_t i = 0; i < r->key_count; i++)
        if (memcmp(r->keys[i].public_key, key, KEY_BYTES) == 0)
            return &r->keys[i];
    return NULL;
}

uint32_t record_rights(const struct record *r, const uint8_t key[KEY_BYTES])
{
    if (r->is_insecure)
        return RIGHTS_ALL;
    const struct client_key *found = find_key(r, key);
    return found == NULL ? 0 : found->rights;
}

uint32_t record_majority(uint32_t n)
{
    return n / 2 + 1;
}

uint32_t record_partition(uint32_t partitions, const uint8_t hash[16])
{
    ASSERT(partitions >= PARTITIONS_MIN && partitions <= PARTITIONS_MAX);
    ASSERT((partitions & (partitions - 1)) == 0);
    /* The first bits of 16 are those of the quotient, Q being a power of 2. */
    return get_be16(hash) / ((UINT16_MAX + 1u) / partitions);
}

/* ---- the next record --------------------------------------------------- */

void record_begin(struct record *r, const struct member *founder,
                  uint64_t now_ms)
{
    ASSERT(r->member_count == 0 && r->row_count == 0);
    r->members = mem_copy(founder, sizeof *founder);
    r->member_count = 1;
    r->members[0].wanted = WANTED_IN;
    r->members[0].seen = SEEN_UP;
    r->members[0].seen_since_ms = now_ms;
    r->members[0].out_streak = 0;
    r->members[0].wanted_since = 1;
    r->row_count = r->partitions + 1;
    r->row_slots = mem_alloc(rows_size(r));
    for (uint32_t group = 0; group < r->row_count; group++)
        record_set_row(r, group, (const uint16_t[]){0}, 1);
    r->epoch = record_epoch(r->generation, 1);
    r->born = r->generation;
    r->changed_ms = now_ms;
}

void record_found_anew(struct record *r, struct generation generation,
                       uint64_t now_ms)
{
    ASSERT(generation.counter > r->generation.counter);
    r->generation = generation;
    r->epoch = record_epoch(generation, r->epoch.number + 1);
    r->changed_ms = now_ms;
}

/* A member comes again, perhaps from elsewhere and with a newer binary. */
static enum err refresh(struct member *member, const struct member *m)
{
    if (member->wanted == WANTED_LEFT)
        return ERR_FORGOTTEN;
    if (memcmp(member->public_key, m->public_key, KEY_BYTES) != 0)
        return ERR_CONFLICT;
    memcpy(member->client_address, m->client_address,
           sizeof member->client_address);
    memcpy(member->peer_address, m->peer_address, sizeof member->peer_address);
    member->level = m->level;
    return ERR_OK;
}

enum err record_join(struct record *r, const struct member *m, uint64_t now_ms)
{
    if (record_member_fault(m) != NULL)
        return ERR_BAD_REQUEST;
    uint16_t slot = record_slot(r, m->node);
    if (m->level < r->level &&
        (slot == SLOT_NONE || r->members[slot].wanted != WANTED_LEFT))
        return ERR_INCOMPATIBLE; /* T11 */
    if (slot != SLOT_NONE)
        return refresh(&r->members[slot], m);
    if (record_slot_by_name(r, span_str(m->name)) != SLOT_NONE ||
        record_slot_by_key(r, m->public_key) != SLOT_NONE)
        return ERR_CONFLICT;
    if (r->member_count == MEMBERS_MAX)
        return ERR_TOO_LARGE;
    r->members =
        mem_resize(r->members, (r->member_count + 1) * sizeof *r->members);
    struct member *member = &r->members[r->member_count++];
    *member = *m;
    member->wanted = WANTED_IN;
    member->seen = SEEN_JOINING;
    member->seen_since_ms = now_ms;
    member->out_streak = 0;
    member->wanted_since = r->epoch.number + 1;
    return ERR_OK;
}

static void set_address(char to[ADDRESS_MAX + 1], struct span address)
{
    memcpy(to, address.data, address.size);
    to[address.size] = 0;
}

enum err record_move(struct record *r, uint16_t slot,
                     struct span client_address, struct span peer_address)
{
    ASSERT(slot < r->member_count);
    if (!record_is_address(client_address) || !record_is_address(peer_address))
        return ERR_BAD_REQUEST;
    set_address(r->members[slot].client_address, client_address);
    set_address(r->members[slot].peer_address, peer_address);
    return ERR_OK;
}

/* Of two readings of different clocks; either may be the later. */
static uint64_t apart_ms(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

void record_see(struct record *r, uint16_t slot, enum member_seen seen,
                uint64_t now_ms)
{
    ASSERT(slot < r->member_count);
    ASSERT(seen != SEEN_JOINING);
    struct member *m = &r->members[slot];
    if (m->seen == seen)
        return;
    if (seen == SEEN_OUT) {
        bool goes_on = apart_ms(now_ms, m->seen_since_ms) < OUT_STREAK_MS;
        uint64_t streak = goes_on ? m->out_streak + 1u : 1u;
        m->out_streak = (uint8_t)min_u64(streak, OUT_STREAK_MAX);
    }
    m->seen = seen;
    m->seen_since_ms = now_ms;
}

void record_see_gone(struct record *r, uint16_t slot, uint64_t now_ms)
{
    ASSERT(slot < r->member_count);
    struct member *m = &r->members[slot];
    ASSERT(m->wanted != WANTED_IN);
    if (m->wanted == WANTED_DRAINING) {
        m->wanted = WANTED_LEFT;
        m->wanted_since = r->epoch.number + 1;
    }
    record_see(r, slot, SEEN_GONE, now_ms);
}

enum err record_allow(struct record *r, const struct client_key *key)
{
    static const uint8_t none[KEY_BYTES];
    if (memcmp(key->public_key, none, KEY_BYTES) == 0 || key->rights == 0 ||
        (key->rights & ~RIGHTS_ALL) != 0 ||
        !record_is_name(span_str(key->name)))
        return ERR_BAD_REQUEST;
    struct client_key *known = find_key(r, key->public_key);
    if (known != NULL) {
        *known = *key;
        return ERR_OK;
    }
    if (r->key_count == KEYS_MAX)
        return ERR_TOO_LARGE;
    r->keys = mem_resize(r->keys, (r->key_count + 1) * sizeof *r->keys);
    r->keys[r->key_count++] = *key;
    return ERR_OK;
}

void record_set_row(struct record *r, uint32_t group, const uint16_t *slots,
                    uint32_t count)
{
    ASSERT(count >= 1 && count <= REPLICATION_MAX);
    uint16_t *row = row_of(r, group);
    for (uint32_t i = 0; i < REPLICATION_MAX; i++) {
        ASSERT(i >= count || slots[i] < r->member_count);
        row[i] = i < count ? slots[i] : SLOT_NONE;
    }
}

void record_keep_row(struct record *r, uint32_t group, uint16_t slot,
                     const uint16_t *voters, uint32_t count)
{
    /* Group 0 has as many as there are members for, whatever N. */
    uint32_t limit = group == 0 ? REPLICATION_MAX : r->copies;
    uint16_t row[REPLICATION_MAX] = {slot};
    uint32_t size = 1;
    for (uint32_t i = 0; i < count && size < limit; i++) {
        bool is_new = voters[i] < r->member_count;
        for (uint32_t k = 0; k < size; k++)
            is_new = is_new && row[k] != voters[i];
        if (is_new)
            row[size++] = voters[i];
    }
    record_set_row(r, group, row, size);
}

/* A zone is numbered by the first slot that is in it, so that a node without
 * a zone has its own. */
static uint16_t zone_of(const struct record *r, uint32_t slot)
{
    const char *zone = r->members[slot].zone;
    for (uint32_t i = 0; i < slot && zone[0] != 0; i++)
        if (strcmp(r->members[i].zone, zone) == 0)
            return (uint16_t)i;
    return (uint16_t)slot;
}

/* A newcomer is given copies once it is up, with all who came with it; as many
 * as members that are up are too few for N are given some at once. */
static void hold_newcomers_back(const struct record *r,
                                struct placement_member *list, size_t count)
{
    uint32_t takers = 0;
    for (size_t i = 0; i < count; i++)
        takers +=
            r->members[list[i].slot].seen == SEEN_UP && list[i].is_eligible;
    for (size_t i = 0; i < count; i++) {
        if (r->members[list[i].slot].seen != SEEN_JOINING)
            continue;
        list[i].takes_new = list[i].is_eligible && takers < r->copies;
        takers += list[i].takes_new;
    }
}

/* Those who left are not listed: the fold strikes them in any case. */
size_t record_placement(const struct record *r, struct placement_member *list,
                        struct placement_table *table)
{
    size_t count = 0;
    *table = (struct placement_table){r->partitions, r->copies, row_of(r, 1)};
    for (uint32_t i = 0; i < r->member_count; i++) {
        const struct member *m = &r->members[i];
        if (m->wanted == WANTED_LEFT)
            continue;
        list[count++] = (struct placement_member){
            .slot = (uint16_t)i,
            .is_eligible = record_is_eligible(m),
            .takes_new = m->seen != SEEN_UNFIT,
            .is_leaving = m->wanted == WANTED_DRAINING,
            .zone = zone_of(r, i),
            .weight = m->weight,
            .hash = hash64(span_of(m->node.bytes, sizeof m->node.bytes)),
        };
    }
    hold_newcomers_back(r, list, count);
    return count;
}

void record_advance(struct record *r, uint64_t now_ms)
{
    struct placement_member list[MEMBERS_MAX];
    struct placement_table table;
    size_t count = record_placement(r, list, &table);
    placement_fold(&table, list, count, r->copies, &table);
    placement_fold_ring(row_of(r, 0), list, count, row_of(r, 0));
    r->epoch.number++;
    r->changed_ms = now_ms;
}

/* ---- who goes out, who comes back -------------------------------------- */

/* What the limits leave of the members that may go out at one time. */
struct out_budget {
    uint32_t left;
    bool is_zone_spent[MEMBERS_MAX]; /* by zone_of */
};

static uint32_t count_members(const struct record *r)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < r->member_count; i++)
        count += r->members[i].wanted != WANTED_LEFT;
    return count;
}

static bool out_may(const struct out_budget *b, uint16_t zone)
{
    return (b->left > 0 && !b->is_zone_spent[zone]) || !RULE(T27);
}

static void out_charge(struct out_budget *b, uint16_t zone)
{
    b->left -= b->left > 0;
    b->is_zone_spent[zone] = true;
}

/* T27: from the record's own times, not from a leader's memory. */
static void out_budget_open(struct out_budget *b, const struct record *r,
                            uint64_t now_ms)
{
    *b = (struct out_budget){0};
    uint32_t share = count_members(r) * OUT_PERCENT / 100u;
    b->left = (uint32_t)max_u64(1, share);
    for (uint32_t i = 0; i < r->member_count; i++) {
        const struct member *m = &r->members[i];
        if (m->wanted != WANTED_LEFT && m->seen == SEEN_OUT &&
            apart_ms(now_ms, m->seen_since_ms) < OUT_WINDOW_MS)
            out_charge(b, zone_of(r, i));
    }
}

static bool sees_most(const struct record *r,
                      const struct member_contact *contacts)
{
    uint32_t seen = 0;
    for (uint32_t i = 0; i < r->member_count; i++)
        seen +=
            r->members[i].wanted != WANTED_LEFT && contacts[i].contact_ms > 0;
    return seen * 2 > count_members(r);
}

uint32_t record_may_go_out(const struct record *r, uint64_t now_ms,
                           uint32_t voters,
                           const struct member_contact *contacts,
                           uint16_t *slots)
{
    if (!sees_most(r, contacts))
        return 0;
    struct out_budget budget;
    out_budget_open(&budget, r, now_ms);
    uint32_t count = 0;
    for (uint32_t i = 0; i < r->member_count; i++) {
        const struct member *m = &r->members[i];
        if (m->wanted != WANTED_IN || m->seen == SEEN_OUT ||
            contacts[i].dead_reports < record_majority(voters))
            continue;
        uint16_t zone = zone_of(r, i);
        if (!out_may(&budget, zone))
            continue;
        out_charge(&budget, zone);
        slots[count++] = (uint16_t)i;
    }
    return count;
}

uint32_t record_may_come_back(const struct record *r, uint32_t back_after_ms,
                              const struct member_contact *contacts,
                              uint16_t *slots)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < r->member_count; i++) {
        const struct member *m = &r->members[i];
        uint32_t doublings = m->out_streak > 0 ? m->out_streak - 1u : 0;
        uint64_t wait_ms = (uint64_t)back_after_ms << doublings;
        if (m->wanted != WANTED_LEFT && m->seen == SEEN_OUT &&
            contacts[i].contact_ms >= wait_ms)
            slots[count++] = (uint16_t)i;
    }
    return count;
}

/* ---- compare and append ------------------------------------------------ */

static bool is_epoch(struct epoch a, struct epoch b)
{
    return epoch_compare(a, b) == 0 && !epoch_clash(a, b);
}

/* Slots are for ever: what `now` has is where it was in `next`. */
static bool keeps_members(const struct record *now, const struct record *next)
{
    if (next->member_count < now->member_count)
        return false;
    for (uint32_t i = 0; i < now->member_count; i++) {
        const struct member *old = &now->members[i];
        const struct member *new = &next->members[i];
        if (!id_equal(old->node, new->node) ||
            memcmp(old->public_key, new->public_key, KEY_BYTES) != 0 ||
            (old->wanted == WANTED_LEFT && new->wanted != WANTED_LEFT) ||
            (old->seen == SEEN_GONE && new->seen != SEEN_GONE))
            return false;
    }
    return true;
}

/* Judged with the times of the two records alone (T27): all replicas judge
 * alike, and a leader that forgot what the last one did is refused. */
static bool keeps_out_limits(const struct record *now,
                             const struct record *next)
{
    struct out_budget budget;
    out_budget_open(&budget, now, next->changed_ms);
    for (uint32_t i = 0; i < now->member_count; i++) {
        bool goes_out = now->members[i].seen != SEEN_OUT &&
                        next->members[i].seen == SEEN_OUT &&
                        next->members[i].wanted != WANTED_LEFT;
        if (!goes_out)
            continue;
        if (!out_may(&budget, zone_of(now, i)))
            return false;
        out_charge(&budget, zone_of(now, i));
    }
    return true;
}

/* T12: only upwards, so that of two who found a group anew from the same record
 * only the first one does. */
static bool keeps_generations(const struct record *now,
                              const struct record *next)
{
    if (!generation_equal(now->born, next->born) ||
        next->life_count < now->life_count)
        return false;
    for (uint32_t i = 0; i < now->life_count; i++)
        if (find_life(next, now->lives[i].group) == NULL)
            return false;
    for (uint32_t i = 0; i < next->life_count; i++) {
        const struct record_life *life = &next->lives[i];
        struct generation was = record_generation(now, life->group);
        uint32_t ahead = life->generation.counter - was.counter;
        if (RULE(T12) && !generation_equal(life->generation, was) &&
            (life->generation.counter <= was.counter ||
             ahead > GENERATION_SKIP_MAX))
            return false;
    }
    return true;
}

static bool is_successor(const struct record *now, const struct record *next)
{
    struct epoch epoch = record_epoch(now->generation, now->epoch.number + 1);
    return id_equal(next->cluster, now->cluster) &&
           generation_equal(next->generation, now->generation) &&
           is_epoch(next->epoch, epoch) &&
           next->partitions == now->partitions && next->level >= now->level &&
           keeps_members(now, next) && keeps_generations(now, next) &&
           keeps_out_limits(now, next);
}

static const struct proposal_answer *find_answer(const struct record *r,
                                                 struct id128 proposal)
{
    for (uint32_t i = 0; i < r->answer_count; i++)
        if (id_equal(r->answers[i].proposal, proposal))
            return &r->answers[i];
    return NULL;
}

static void remember(struct record *r, const struct proposal_answer *answer)
{
    if (r->answer_count == RECORD_PROPOSALS) {
        r->answer_count--;
        memmove(&r->answers[0], &r->answers[1],
                r->answer_count * sizeof r->answers[0]);
    }
    r->answers[r->answer_count++] = *answer;
}

static void inherit_answers(struct record *next, const struct record *now)
{
    next->answer_count = now->answer_count;
    memcpy(next->answers, now->answers, sizeof next->answers);
}

enum err record_apply(struct record **now, const struct entry_record *e,
                      struct proposal_answer *answer)
{
    const struct proposal_answer *first =
        *now == NULL ? NULL : find_answer(*now, e->proposal);
    if (RULE(T26) && first != NULL) {
        *answer = *first;
        return ERR_OK;
    }
    struct record *next;
    enum err err = record_decode(e->record, &next);
    if (err != ERR_OK)
        return err == ERR_INCOMPATIBLE ? err : ERR_DAMAGED;
    /* A replica that came by log has no founding record: that stands in no
     * entry. The log's first proposal was made from it by the lone founder,
     * so it won, and founding knows no answers. */
    bool is_first = *now == NULL;
    bool wins = is_first || (is_epoch(e->expected, (*now)->epoch) &&
                             is_successor(*now, next));
    if (is_first)
        next->answer_count = 0;
    if (wins) {
        if (!is_first)
            inherit_answers(next, *now);
        record_free(*now);
        *now = next;
    } else {
        record_free(next);
    }
    *answer = (struct proposal_answer){
        .proposal = e->proposal,
        .err = wins ? ERR_OK : ERR_CONFLICT,
        .epoch = (*now)->epoch,
    };
    remember(*now, answer);
    return ERR_OK;
}
