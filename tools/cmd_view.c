/* cmd_view.c - see cmd_view.h. */
#include "tools/cmd_view.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "ring/swim.h"
#include "tools/cli.h"

/* Who is dead to the others may just have come back. */
#define DEAD_ANSWER_MS 300u
/* A transfer that has its turn and gets nothing for so long: at the lowest rate
 * of repair its next answer is 16 s away. */
#define STALLED_MS 30000u
/* Clocks that differ by less may be an answer that took its time. */
#define SKEW_MS 5000

/* ---- taking it --------------------------------------------------------- */

static void take_group(struct cmd_view *v, uint16_t slot,
                       const struct status_group *g)
{
    struct cmd_view_node *n = &v->nodes[slot];
    if (g->group >= v->record->row_count)
        return;
    n->quarantined += g->is_quarantined;
    n->replicas += g->group > 0;
    if (!g->is_leader || !g->is_ready)
        return;
    struct cmd_view_group *at = &v->groups[g->group];
    bool is_later = g->generation.counter > at->g.generation.counter ||
                    (g->generation.counter == at->g.generation.counter &&
                     g->term > at->g.term);
    if (at->has_leader && !is_later)
        return;
    at->has_leader = true;
    at->leader = slot;
    at->g = *g;
}

/* What a node that answered says of groups and of the others. */
static void take_view(struct cmd_view *v, uint16_t slot)
{
    const struct cmd_view_node *n = &v->nodes[slot];
    struct status_group g;
    struct status_member m;
    struct dec d = dec_of(span_buf(&n->bytes));
    while (status_next_group(&d, &g))
        take_group(v, slot, &g);
    d = dec_of(span_buf(&n->bytes));
    while (status_next_member(&d, &m)) {
        if (m.slot >= v->record->member_count || m.slot == slot)
            continue;
        struct cmd_view_node *other = &v->nodes[m.slot];
        bool is_dead = m.state == SWIM_DEAD;
        other->seen_alive += m.state == SWIM_ALIVE;
        other->seen_dead += is_dead;
        if (is_dead)
            other->dead_ms = max_u64(other->dead_ms, m.since_ms);
    }
    if (n->self.confirmed_ms < v->confirmed_ms)
        v->confirmed_ms = n->self.confirmed_ms;
}

/* Whether all that have not answered are dead to most of those that have, and
 * these are most of the members that are not out. */
static bool only_dead_are_missing(const struct cmd_view *v)
{
    uint32_t in = 0, answered = 0;
    for (uint32_t i = 0; i < v->record->member_count; i++) {
        in += v->nodes[i].is_asked && v->record->members[i].seen != SEEN_OUT;
        answered += v->nodes[i].has_answered;
    }
    for (uint32_t i = 0; i < v->record->member_count; i++) {
        const struct cmd_view_node *n = &v->nodes[i];
        if (n->is_asked && !n->has_answered && n->seen_dead <= answered / 2)
            return false;
    }
    return answered > in / 2;
}

static void take_node(struct cmd_view *v, struct id128 id,
                      enum eddy_error error, const void *bytes, size_t size)
{
    uint16_t slot = record_slot(v->record, id);
    if (slot == SLOT_NONE)
        return; /* the record in use is newer than ours */
    struct cmd_view_node *n = &v->nodes[slot];
    n->is_denied = error == EDDY_DENIED;
    if (error != EDDY_OK)
        return;
    buf_append(&n->bytes, bytes, size);
    n->has_answered = status_read(span_buf(&n->bytes), &n->self) == ERR_OK;
    n->ahead_ms = (int64_t)n->self.wall_ms - (int64_t)cli_wall_ms();
    if (n->has_answered)
        take_view(v, slot);
}

static uint32_t take_answer(void *context, const uint8_t node[16],
                            enum eddy_error error, const void *bytes,
                            size_t size)
{
    struct cmd_view *v = context;
    struct id128 id;
    memcpy(id.bytes, node, sizeof id.bytes);
    take_node(v, id, error, bytes, size);
    return only_dead_are_missing(v) ? DEAD_ANSWER_MS : UINT32_MAX;
}

/* Room for one more. */
static struct cmd_view_transfer *new_transfer(struct cmd_view *v)
{
    if (v->transfer_count == v->transfer_capacity) {
        v->transfer_capacity = v->transfer_capacity * 2 + 16;
        v->transfers = mem_resize(v->transfers,
                                  v->transfer_capacity * sizeof *v->transfers);
    }
    return &v->transfers[v->transfer_count++];
}

static void take_transfers(struct cmd_view *v)
{
    for (uint16_t i = 0; i < v->record->member_count; i++) {
        struct dec d = dec_of(span_buf(&v->nodes[i].bytes));
        struct status_transfer t;
        while (v->nodes[i].has_answered && status_next_transfer(&d, &t))
            if (t.group < v->record->row_count)
                *new_transfer(v) = (struct cmd_view_transfer){i, t};
    }
}

const struct cmd_view_transfer *
cmd_view_transfer(const struct cmd_view *v, uint32_t group, struct id128 node)
{
    for (size_t i = 0; i < v->transfer_count; i++)
        if (v->transfers[i].t.group == group &&
            id_equal(v->record->members[v->transfers[i].to].node, node))
            return &v->transfers[i];
    return NULL;
}

bool cmd_view_replica(const struct cmd_view *v, uint16_t slot, uint32_t group,
                      struct status_group *out)
{
    struct dec d = dec_of(span_buf(&v->nodes[slot].bytes));
    while (v->nodes[slot].has_answered && status_next_group(&d, out))
        if (out->group == group)
            return true;
    return false;
}

bool cmd_view_config(const struct cmd_view *v, uint32_t group,
                     struct status_group *out)
{
    struct status_group g;
    *out = v->groups[group].g;
    if (v->groups[group].has_leader)
        return true;
    for (uint16_t i = 0; i < v->record->member_count; i++)
        if (cmd_view_replica(v, i, group, &g) &&
            g.config_index >= out->config_index)
            *out = g;
    return out->replica_count > 0;
}

static void count_rows(struct cmd_view *v)
{
    for (uint32_t g = 1; g < v->record->row_count; g++) {
        uint32_t count;
        const uint16_t *row = record_row(v->record, g, &count);
        for (uint32_t i = 0; i < count; i++)
            v->nodes[row[i]].rows++;
        if (v->groups[g].has_leader)
            v->nodes[v->groups[g].leader].leaders++;
    }
}

static enum eddy_error take_record(struct eddy *e, struct cmd_view *v)
{
    void *bytes;
    size_t size;
    enum eddy_error err = eddy_ring_record(e, true, &bytes, &size);
    if (err != EDDY_OK)
        err = eddy_ring_record(e, false, &bytes, &size);
    if (err != EDDY_OK)
        return err;
    enum err decoded = record_decode(span_of(bytes, size), &v->record);
    eddy_free(bytes);
    return (enum eddy_error)decoded;
}

/* What could only be guessed without a single answer, is not. */
static bool is_denied(const struct cmd_view *v)
{
    bool is_any = false;
    for (uint16_t i = 0; i < v->record->member_count; i++) {
        if (v->nodes[i].has_answered)
            return false;
        is_any = is_any || v->nodes[i].is_denied;
    }
    return is_any;
}

struct cmd_view *cmd_view_take(struct eddy *e, uint32_t wait_ms,
                               enum eddy_error *err)
{
    struct cmd_view *v = mem_alloc(sizeof *v);
    v->confirmed_ms = UINT64_MAX;
    *err = take_record(e, v);
    for (uint16_t i = 0; *err == EDDY_OK && i < v->record->member_count; i++)
        v->nodes[i].is_asked = v->record->members[i].wanted != WANTED_LEFT;
    if (*err == EDDY_OK)
        *err = eddy_ring_status(e, wait_ms, take_answer, v);
    if (*err == EDDY_OK && is_denied(v))
        *err = EDDY_DENIED;
    if (*err != EDDY_OK) {
        cmd_view_free(v);
        return NULL;
    }
    count_rows(v);
    take_transfers(v);
    return v;
}

void cmd_view_free(struct cmd_view *v)
{
    if (v == NULL)
        return;
    for (size_t i = 0; i < MEMBERS_MAX; i++)
        buf_free(&v->nodes[i].bytes);
    record_free(v->record);
    mem_free(v->transfers);
    mem_free(v);
}

const char *cmd_view_name(const struct cmd_view *v, struct id128 node)
{
    uint16_t slot = record_slot(v->record, node);
    return slot == SLOT_NONE ? "a node that is no member"
                             : v->record->members[slot].name;
}

char *cmd_view_group_name(uint32_t group, char text[CMD_VIEW_GROUP_SIZE])
{
    if (group == 0)
        (void)snprintf(text, CMD_VIEW_GROUP_SIZE, "the ring's group");
    else
        (void)snprintf(text, CMD_VIEW_GROUP_SIZE, "partition %u", group - 1);
    return text;
}

void cmd_view_short_id(struct id128 node, char text[9])
{
    char hex[33];
    id_format(node, hex);
    memcpy(text, hex, 8);
    text[8] = 0;
}

/* ---- findings ---------------------------------------------------------- */

struct findings {
    struct cmd_view_finding *out;
    size_t count;
};

__attribute__((format(printf, 6, 7))) static void
add(struct findings *f, const char *code, enum cmd_view_level level,
    uint32_t count, uint64_t since_ms, const char *format, ...)
{
    if (count == 0 || f->count == CMD_VIEW_FINDINGS_MAX)
        return;
    struct cmd_view_finding *at = &f->out[f->count++];
    *at = (struct cmd_view_finding){
        .code = code, .level = level, .count = count, .since_ms = since_ms};
    va_list args;
    va_start(args, format);
    (void)vsnprintf(at->text, sizeof at->text, format, args);
    va_end(args);
}

/* Names of members for which `bits` is set, as many as have room. */
static void name_members(const struct cmd_view *v, const bool *is_meant,
                         char *text, size_t size)
{
    size_t at = 0;
    text[0] = 0;
    for (uint32_t i = 0; i < v->record->member_count; i++) {
        const char *name = v->record->members[i].name;
        if (!is_meant[i])
            continue;
        if (at + strlen(name) + 8 > size) {
            (void)snprintf(text + at, size - at, ", ...");
            return;
        }
        at += (size_t)snprintf(text + at, size - at, "%s%s", at > 0 ? ", " : "",
                               name);
    }
}

static void find_down(const struct cmd_view *v, struct findings *f)
{
    bool is_down[MEMBERS_MAX] = {false};
    uint32_t count = 0, alive_to_others = 0;
    uint64_t since = 0;
    char names[160];
    for (uint32_t i = 0; i < v->record->member_count; i++) {
        const struct cmd_view_node *n = &v->nodes[i];
        if (!n->is_asked || n->has_answered ||
            v->record->members[i].seen == SEEN_OUT)
            continue;
        is_down[i] = true;
        count++;
        alive_to_others += n->seen_alive > n->seen_dead;
        since = max_u64(since, n->dead_ms);
    }
    name_members(v, is_down, names, sizeof names);
    /* It may have died just now, or be out of the client's reach alone. */
    const char *hint =
        alive_to_others == count
            ? ", though the others see it alive; if that stays so, its client "
              "address is wrong"
            : ": start eddyd there again";
    add(f, "NODE_DOWN", VIEW_WARN, count, since > 0 ? since : UINT64_MAX,
        "%s: no answer%s", names, hint);
}

static void find_drains(const struct cmd_view *v, struct findings *f)
{
    bool drains[MEMBERS_MAX] = {false};
    uint32_t count = 0;
    char names[160];
    for (uint32_t i = 0; i < v->record->member_count; i++) {
        drains[i] = v->record->members[i].wanted == WANTED_DRAINING;
        count += drains[i];
    }
    name_members(v, drains, names, sizeof names);
    add(f, "DRAINING", VIEW_NOTE, count, UINT64_MAX,
        "%s: leaving; eddy ring why node says how far it is", names);
    add(f, "PLAN_STAGED", VIEW_NOTE, v->record->change_count, UINT64_MAX,
        "changes are staged: eddy ring plan shows them");
}

static void find_out(const struct cmd_view *v, struct findings *f)
{
    bool is_out[MEMBERS_MAX] = {false}, is_back[MEMBERS_MAX] = {false};
    uint32_t out = 0, back = 0;
    uint64_t since = UINT64_MAX;
    char names[160];
    for (uint32_t i = 0; i < v->record->member_count; i++) {
        const struct member *m = &v->record->members[i];
        if (m->wanted == WANTED_LEFT || m->seen != SEEN_OUT)
            continue;
        is_back[i] = v->nodes[i].has_answered;
        is_out[i] = !is_back[i];
        back += is_back[i];
        out += is_out[i];
        if (is_out[i])
            since = min_u64(since, m->seen_since_ms);
    }
    uint64_t now = cli_wall_ms();
    name_members(v, is_out, names, sizeof names);
    add(f, "MEMBER_OUT", VIEW_WARN, out, now - min_u64(now, since),
        "%s: dead for too long, so its copies are made anew on others; start "
        "eddyd there again and it is taken back",
        names);
    name_members(v, is_back, names, sizeof names);
    add(f, "MEMBER_BACK", VIEW_WARN, back, UINT64_MAX,
        "%s: out and in touch again; it is taken back once that has lasted",
        names);
}

/* As group 0's leader judges, from what the nodes that answered have seen. */
bool cmd_view_held(const struct cmd_view *v, bool is_held[MEMBERS_MAX])
{
    struct member_contact contacts[MEMBERS_MAX] = {0};
    uint16_t slots[MEMBERS_MAX];
    bool is_any = false;
    for (uint32_t i = 0; i < v->record->member_count; i++) {
        const struct cmd_view_node *n = &v->nodes[i];
        bool is_dead = !n->has_answered && n->seen_dead > n->seen_alive &&
                       n->dead_ms >= v->record->out_after_ms;
        contacts[i] = (struct member_contact){is_dead, n->has_answered};
        is_held[i] = is_dead && v->record->members[i].wanted == WANTED_IN &&
                     v->record->members[i].seen != SEEN_OUT;
    }
    uint32_t count =
        record_may_go_out(v->record, cli_wall_ms(), 1, contacts, slots);
    for (uint32_t i = 0; i < count; i++)
        is_held[slots[i]] = false;
    for (uint32_t i = 0; i < v->record->member_count; i++)
        is_any = is_any || is_held[i];
    return is_any;
}

static void find_held(const struct cmd_view *v, struct findings *f)
{
    bool is_held[MEMBERS_MAX] = {false};
    uint32_t count = 0;
    uint64_t since = 0;
    char names[160];
    if (!cmd_view_held(v, is_held))
        return;
    for (uint32_t i = 0; i < v->record->member_count; i++) {
        count += is_held[i];
        if (is_held[i])
            since = max_u64(since, v->nodes[i].dead_ms);
    }
    name_members(v, is_held, names, sizeof names);
    add(f, "DOES_NOT_HEAL", VIEW_WARN, count, since,
        "%s: dead for more than out-after, but at most one, or a tenth of the "
        "nodes, goes out by itself within an hour, and not two of a zone: "
        "start eddyd there again, or eddy ring remove it",
        names);
}

static uint32_t live_voters(const struct status_group *g)
{
    uint32_t live = 0;
    for (uint32_t i = 0; i < g->replica_count; i++)
        live += g->replicas[i].is_voter && g->replicas[i].is_live;
    return live;
}

static uint32_t voters(const struct status_group *g)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < g->replica_count; i++)
        count += g->replicas[i].is_voter;
    return count;
}

/* Members on which replicas may be, and that answer. */
static uint32_t live_members(const struct cmd_view *v)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < v->record->member_count; i++)
        count += record_is_eligible(&v->record->members[i]) &&
                 v->nodes[i].has_answered;
    return count;
}

/* Of a group's row, how many live voters it takes to be whole. */
static uint32_t voters_wanted(const struct cmd_view *v, uint32_t group)
{
    uint32_t count, eligible = 0;
    const uint16_t *row = record_row(v->record, group, &count);
    if (group != 0)
        return v->record->copies;
    for (uint32_t i = 0; i < count; i++)
        eligible += record_is_eligible(&v->record->members[row[i]]);
    return eligible < 3 ? count : eligible;
}

bool cmd_view_is_kept_seat(const struct cmd_view *v, uint32_t group,
                           struct id128 node)
{
    uint32_t row;
    (void)record_row(v->record, group, &row);
    uint16_t slot = record_slot(v->record, node);
    return group == 0 && voters_wanted(v, group) < row && slot != SLOT_NONE &&
           !record_is_eligible(&v->record->members[slot]);
}

/* Is anybody down? And how long ago the first of them died; UINT64_MAX: none is
 * known to have. */
static bool is_any_down(const struct cmd_view *v, uint64_t *since_ms)
{
    bool is_any = false;
    uint64_t longest = 0;
    for (uint32_t i = 0; i < v->record->member_count; i++) {
        if (!v->nodes[i].is_asked || v->nodes[i].has_answered)
            continue;
        is_any = is_any || v->record->members[i].seen != SEEN_OUT;
        longest = max_u64(longest, v->nodes[i].dead_ms);
    }
    *since_ms = longest > 0 ? longest : UINT64_MAX;
    return is_any;
}

static void find_under_replicated(const struct cmd_view *v, struct findings *f,
                                  uint32_t under)
{
    const struct record *r = v->record;
    uint32_t live = live_members(v);
    uint64_t since;
    bool is_down = is_any_down(v, &since);
    char out_after[CLI_TEXT_SIZE];
    cli_duration(r->out_after_ms, out_after);
    if (r->copies > live) {
        add(f, "UNDER_REPLICATED", VIEW_WARN, under, since,
            "groups with fewer than %u live copies: start the nodes that are "
            "down, or add others (eddyd join)",
            r->copies);
        add(f, "DOES_NOT_HEAL", VIEW_WARN, under > 0 ? r->copies - live : 0,
            since,
            "nodes missing for %u copies: what is lost is not made anew before "
            "so many join (eddyd join) or come back",
            r->copies);
    } else if (is_down) {
        add(f, "UNDER_REPLICATED", VIEW_WARN, under, since,
            "groups with fewer than %u live copies: start the nodes that are "
            "down; after %s of a node's death others get its copies",
            r->copies, out_after);
    } else {
        add(f, "UNDER_REPLICATED", VIEW_WARN, under, since,
            "groups with fewer than %u live copies: more are being made; eddy "
            "ring why says what that waits for",
            r->copies);
    }
}

static void find_groups(const struct cmd_view *v, struct findings *f)
{
    const struct record *r = v->record;
    uint32_t leaderless = 0, too_few = 0, under = 0;
    for (uint32_t g = 0; g < r->row_count; g++) {
        const struct cmd_view_group *at = &v->groups[g];
        leaderless += !at->has_leader;
        too_few += at->has_leader && g > 0 && voters(&at->g) < r->acks;
        under += !at->has_leader || live_voters(&at->g) < voters_wanted(v, g);
    }
    add(f, "PARTITION_NO_QUORUM", VIEW_ERROR, leaderless, UINT64_MAX,
        "groups without a leader: appends and linearizable reads of their "
        "partitions wait until most of their replicas are up; eddy ring why "
        "names those that are not; if they are lost for good: eddy ring "
        "recover --dry-run");
    add(f, "PARTITION_NO_QUORUM", VIEW_ERROR, too_few, UINT64_MAX,
        "partitions on fewer than %u nodes, which changes need: add nodes "
        "(eddyd join), or wait until those that joined are installed",
        r->acks);
    find_under_replicated(v, f, under);
}

/* Past these shares no new replicas are taken, or no appends. */
static bool is_low(const struct status *s)
{
    bool is_map_low =
        s->map_used / 100 * 100 > s->map_bytes / 100 * FULL_REPLICAS_PERCENT;
    return s->is_full || is_map_low ||
           (s->disk_bytes > 0 && s->disk_free < 2 * FREE_BYTES_MIN);
}

static void find_damage(const struct cmd_view *v, struct findings *f)
{
    bool rotten[MEMBERS_MAX] = {false}, mended[MEMBERS_MAX] = {false};
    uint64_t rotten_count = 0, mended_count = 0;
    char names[160];
    for (uint32_t i = 0; i < v->record->member_count; i++) {
        const struct cmd_view_node *n = &v->nodes[i];
        if (!n->has_answered)
            continue;
        rotten[i] = n->self.damaged > 0;
        rotten_count += n->self.damaged;
        mended[i] = n->self.mended > 0;
        mended_count += n->self.mended;
    }
    name_members(v, rotten, names, sizeof names);
    add(f, "DAMAGED", VIEW_WARN, (uint32_t)min_u64(rotten_count, UINT32_MAX),
        UINT64_MAX,
        "rows whose payload is damaged on %s: other copies are asked for it; "
        "eddy ring check says which",
        names);
    name_members(v, mended, names, sizeof names);
    add(f, "MENDED", VIEW_NOTE, (uint32_t)min_u64(mended_count, UINT32_MAX),
        UINT64_MAX,
        "rows that were damaged on %s, and are whole again: have a look at its "
        "disk",
        names);
}

static void find_nodes(const struct cmd_view *v, struct findings *f)
{
    bool low[MEMBERS_MAX] = {false}, full[MEMBERS_MAX] = {false};
    bool bad[MEMBERS_MAX] = {false};
    uint32_t low_count = 0, full_count = 0, bad_count = 0, others = 0;
    const struct status *first = NULL;
    char names[160];
    for (uint32_t i = 0; i < v->record->member_count; i++) {
        const struct cmd_view_node *n = &v->nodes[i];
        if (!n->has_answered)
            continue;
        full[i] = n->self.is_full;
        full_count += full[i];
        low[i] = !full[i] && is_low(&n->self);
        low_count += low[i];
        bad[i] = n->quarantined > 0;
        bad_count += n->quarantined;
        if (first == NULL)
            first = &n->self;
        others += !span_equal(first->version, n->self.version);
    }
    name_members(v, full, names, sizeof names);
    add(f, "DISK_LOW", VIEW_WARN, full_count, UINT64_MAX,
        "%s: full: appends to the partitions that it leads are refused until "
        "it has space",
        names);
    name_members(v, low, names, sizeof names);
    add(f, "DISK_LOW", VIEW_WARN, low_count, UINT64_MAX,
        "%s: nearly full: give it space, or appends are refused there", names);
    name_members(v, bad, names, sizeof names);
    add(f, "QUARANTINED", VIEW_WARN, bad_count, UINT64_MAX,
        "replicas whose state broke an invariant, on %s: they serve nothing; "
        "see the log there and report it",
        names);
    add(f, "VERSION_MIXED", VIEW_WARN, others > 0 ? others + 1 : 0, UINT64_MAX,
        "nodes run different versions: finish the upgrade");
}

static int compare_clocks(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a;
    const int64_t y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* Those whose clocks are not as most others' are. */
static void find_skew(const struct cmd_view *v, struct findings *f)
{
    int64_t clocks[MEMBERS_MAX];
    bool is_off[MEMBERS_MAX] = {false};
    uint32_t known = 0, off = 0;
    uint64_t worst = 0;
    char names[160], by[CLI_TEXT_SIZE];
    for (uint32_t i = 0; i < v->record->member_count; i++)
        if (v->nodes[i].has_answered)
            clocks[known++] = v->nodes[i].ahead_ms;
    if (known == 0)
        return;
    qsort(clocks, known, sizeof *clocks, compare_clocks);
    int64_t middle = clocks[(known - 1) / 2];
    for (uint32_t i = 0; i < v->record->member_count; i++) {
        int64_t ahead = v->nodes[i].ahead_ms - middle;
        if (!v->nodes[i].has_answered || (ahead < SKEW_MS && ahead > -SKEW_MS))
            continue;
        is_off[i] = true;
        off++;
        worst = max_u64(worst, (uint64_t)(ahead > 0 ? ahead : -ahead));
    }
    name_members(v, is_off, names, sizeof names);
    add(f, "CLOCK_SKEW", VIEW_WARN, off, UINT64_MAX,
        "%s: clocks up to %s from the others': set them (NTP); segments bear "
        "their leader's time",
        names, cli_duration(worst, by));
}

/* Of those that have their turn. */
static void find_stalled(const struct cmd_view *v, struct findings *f)
{
    const struct cmd_view_transfer *worst = NULL;
    char what[CMD_VIEW_GROUP_SIZE];
    uint32_t count = 0;
    for (size_t i = 0; i < v->transfer_count; i++) {
        const struct cmd_view_transfer *at = &v->transfers[i];
        if (at->t.state == TRANSFER_STATE_WAITING || at->t.idle_ms < STALLED_MS)
            continue;
        count++;
        if (worst == NULL || at->t.idle_ms > worst->t.idle_ms)
            worst = at;
    }
    if (worst == NULL)
        return;
    add(f, "TRANSFER_STALLED", VIEW_WARN, count, worst->t.idle_ms,
        "nothing comes to %s, %s: %.*s; start nodes that are down, or "
        "raise repair.rate if that is very low",
        v->record->members[worst->to].name,
        cmd_view_group_name(worst->t.group, what),
        (int)min_u64(worst->t.reason.size, 160),
        (const char *)worst->t.reason.data);
}

size_t cmd_view_findings(const struct cmd_view *v, struct cmd_view_finding *out)
{
    struct findings f = {out, 0};
    find_groups(v, &f);
    find_down(v, &f);
    find_drains(v, &f);
    find_out(v, &f);
    find_held(v, &f);
    find_nodes(v, &f);
    find_skew(v, &f);
    find_damage(v, &f);
    find_stalled(v, &f);
    add(&f, "INSECURE", VIEW_NOTE, v->record->is_insecure, UINT64_MAX,
        "an open cluster: whoever reaches a port may read, write and "
        "administer it");
    return f.count;
}

/* ---- settled ----------------------------------------------------------- */

static bool is_in_row(const struct cmd_view *v, uint32_t group,
                      struct id128 node)
{
    uint32_t rank = record_rank(v->record, group, record_slot(v->record, node));
    return rank != REPLICAS_MAX;
}

static bool group_is_settled(const struct cmd_view *v, uint32_t group,
                             char text[256])
{
    const struct cmd_view_group *at = &v->groups[group];
    uint32_t row;
    char what[CMD_VIEW_GROUP_SIZE];
    cmd_view_group_name(group, what);
    (void)record_row(v->record, group, &row);
    if (!at->has_leader) {
        (void)snprintf(text, 256, "%s has no leader", what);
        return false;
    }
    for (uint32_t i = 0; i < at->g.replica_count; i++) {
        const struct status_replica *r = &at->g.replicas[i];
        const char *node = cmd_view_name(v, r->node);
        if (!r->is_voter)
            (void)snprintf(text, 256, "%s: %s is being installed", what, node);
        else if (!is_in_row(v, group, r->node))
            (void)snprintf(text, 256, "%s is still on %s", what, node);
        else if ((!r->is_live || r->match < at->g.commit) &&
                 !cmd_view_is_kept_seat(v, group, r->node))
            (void)snprintf(text, 256, "%s: %s lags behind by %llu", what, node,
                           (unsigned long long)(at->g.commit - r->match));
        else
            continue;
        return false;
    }
    if (at->g.replica_count != row)
        (void)snprintf(text, 256, "%s is on %u nodes, not yet on %u", what,
                       at->g.replica_count, row);
    else if (group != 0 && record_majority(row) < v->record->acks)
        (void)snprintf(text, 256,
                       "no appends are taken on %u of %u copies: more nodes "
                       "are needed (eddyd join)",
                       row, v->record->copies);
    else
        return true;
    return false;
}

/* Of those that it leads though their row prefers another: why. */
static const struct cmd_view_group *led_for_another(const struct cmd_view *v,
                                                    uint32_t slot)
{
    const struct cmd_view_group *any = NULL;
    for (uint32_t g = 1; g < v->record->row_count; g++) {
        const struct cmd_view_group *at = &v->groups[g];
        if (!at->has_leader || at->leader != slot ||
            record_rank(v->record, g, (uint16_t)slot) == 0)
            continue;
        if (at->g.reason.size > 0)
            return at;
        any = at;
    }
    return any;
}

bool cmd_view_is_balanced(const struct cmd_view *v, char text[256])
{
    const struct record *r = v->record;
    /* The fold gives each its share, by weights and zones, or one more. */
    uint32_t share[MEMBERS_MAX] = {0};
    for (uint32_t g = 1; g < r->row_count; g++)
        share[record_row(r, g, &(uint32_t){0})[0]]++;
    for (uint32_t i = 0; i < r->member_count; i++) {
        const struct member *m = &r->members[i];
        const struct cmd_view_group *at;
        if (!record_is_eligible(m) || v->nodes[i].leaders <= share[i] + 1)
            continue;
        at = led_for_another(v, i);
        bool is_told = at != NULL && at->g.reason.size > 0;
        (void)snprintf(text, 256,
                       "%s leads %u partitions, its share is %u: of one, %.*s",
                       m->name, v->nodes[i].leaders, share[i],
                       is_told ? (int)min_u64(at->g.reason.size, 160) : 30,
                       is_told ? (const char *)at->g.reason.data
                               : "it is about to be handed over");
        return false;
    }
    return true;
}

/* What a member is still to do or to get; NULL: nothing. */
static const char *member_waits(const struct cmd_view *v, uint32_t slot)
{
    const struct member *m = &v->record->members[slot];
    bool has_answered = v->nodes[slot].has_answered;
    if (m->wanted == WANTED_LEFT)
        return NULL;
    if (m->wanted == WANTED_DRAINING)
        return "is draining";
    if (m->seen == SEEN_OUT)
        return has_answered ? "is in touch again and is taken back soon" : NULL;
    if (!has_answered)
        return "has not answered";
    return m->seen == SEEN_JOINING && v->nodes[slot].rows == 0
               ? "has just joined and gets its copies soon"
               : NULL;
}

bool cmd_view_is_settled(const struct cmd_view *v, bool with_balance,
                         char text[256])
{
    const struct record *r = v->record;
    for (uint32_t i = 0; i < r->member_count; i++) {
        const struct member *m = &r->members[i];
        const char *why = member_waits(v, i);
        if (why == NULL)
            continue;
        (void)snprintf(text, 256, "%s %s", m->name, why);
        return false;
    }
    for (uint32_t g = 0; g < r->row_count; g++)
        if (!group_is_settled(v, g, text))
            return false;
    return !with_balance || cmd_view_is_balanced(v, text);
}
