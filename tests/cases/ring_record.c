/* ring_record.c - the world of the ring record (ring/record.h): group 0's
 * state machine, proposals that are drafted and applied when the case says so,
 * and the judgement of who goes out and who comes back. */
#include <stdio.h>

#include "tests/cases/words.h"

#define DRAFTS_MAX 32u
#define NODES_MAX  40u
#define MINUTE_MS  60000u

struct draft {
    char name[24];
    struct id128 id;
    struct epoch expected;
    struct buf bytes;
};

struct ring {
    struct record *now;
    struct draft drafts[DRAFTS_MAX];
    size_t draft_count;
    uint64_t now_ms; /* the proposer's clock */
};

/* ---- nodes ------------------------------------------------------------- */

/* Node n has slot n - 1, and a name. */
static struct member member_of(uint64_t number)
{
    struct member m = {.weight = WEIGHT_DEFAULT,
                       .level = LEVEL_NOW,
                       .client_address = "h:1",
                       .peer_address = "h:2"};
    m.node.bytes[0] = (uint8_t)number;
    m.public_key[0] = (uint8_t)number;
    (void)snprintf(m.name, sizeof m.name, "n%llu", (unsigned long long)number);
    return m;
}

/* The slot of a key's node, which must be a member; SLOT_NONE: no such key. */
static uint16_t read_slot(const struct ring *g, struct line *l, const char *key)
{
    uint64_t number = line_u64(l, key, 0);
    if (number == 0)
        return SLOT_NONE;
    if (number > g->now->member_count) {
        line_fail(l, "%s: nodes are 1 to %u", key, g->now->member_count);
        return SLOT_NONE;
    }
    return (uint16_t)(number - 1);
}

/* ---- proposals --------------------------------------------------------- */

/* What an operator or automation may want of the next record. */
struct wish {
    uint64_t join, join_level, level, out_after_ms, random;
    uint16_t drain, out, up, unfit;
};

static void read_wish(const struct ring *g, struct line *l, struct wish *w)
{
    w->join = line_u64(l, "join", 0);
    w->join_level = line_u64(l, "join_level", LEVEL_NOW);
    w->level = line_u64(l, "level", g->now->level);
    w->out_after_ms = line_u64(l, "out_after_ms", g->now->out_after_ms);
    w->random = line_u64(l, "random", g->now->generation.random);
    w->drain = read_slot(g, l, "drain");
    w->out = read_slot(g, l, "out");
    w->up = read_slot(g, l, "up");
    w->unfit = read_slot(g, l, "unfit");
    if (w->join > NODES_MAX || w->join_level > UINT16_MAX ||
        w->level > UINT16_MAX || w->out_after_ms > UINT32_MAX)
        line_fail(l, "%s: too large", l->verb);
}

static void see(struct record *r, uint16_t slot, enum member_seen seen,
                uint64_t now_ms)
{
    if (slot != SLOT_NONE)
        record_see(r, slot, seen, now_ms);
}

static enum err grant(const struct wish *w, struct record *r, uint64_t now_ms)
{
    if (w->join > 0) {
        struct member m = member_of(w->join);
        m.level = (uint16_t)w->join_level;
        enum err err = record_join(r, &m, now_ms);
        if (err != ERR_OK)
            return err;
    }
    if (w->drain != SLOT_NONE)
        r->members[w->drain].wanted = WANTED_DRAINING;
    see(r, w->out, SEEN_OUT, now_ms);
    see(r, w->up, SEEN_UP, now_ms);
    see(r, w->unfit, SEEN_UNFIT, now_ms);
    r->out_after_ms = (uint32_t)w->out_after_ms;
    r->level = (uint16_t)w->level;
    r->generation.random = w->random;
    r->epoch = record_epoch(r->generation, r->epoch.number);
    return ERR_OK;
}

/* draft x join=6 | drain=3 | out=3 | up=3 | unfit=3 | out_after_ms=5000 ...:
 * the next record as its proposer would have it, from the one in force now. */
static void run_draft(struct ring *g, struct line *l, struct buf *out)
{
    const char *name = line_next(l);
    struct wish wish;
    read_wish(g, l, &wish);
    if (name == NULL || strlen(name) > 20 || g->draft_count == DRAFTS_MAX)
        line_fail(l, "draft: a short name, at most %u of them", DRAFTS_MAX);
    if (!line_end(l))
        return;
    struct record *next = record_copy(g->now);
    enum err err = grant(&wish, next, g->now_ms);
    if (err != ERR_OK) {
        buf_printf(out, "%s\n", err_name(err));
        record_free(next);
        return;
    }
    record_advance(next, g->now_ms);
    const char *fault = record_fault(next);
    if (fault != NULL) {
        buf_printf(out, "not to be proposed: %s\n", fault);
    } else {
        struct draft *d = &g->drafts[g->draft_count++];
        (void)snprintf(d->name, sizeof d->name, "%s", name);
        d->id.bytes[0] = (uint8_t)g->draft_count;
        d->expected = g->now->epoch;
        record_encode(next, &d->bytes);
    }
    record_free(next);
}

/* propose x: its entry is committed, and applied. */
static void run_propose(struct ring *g, struct line *l, struct buf *out)
{
    const char *name = line_next(l);
    const struct draft *d = NULL;
    for (size_t i = 0; name != NULL && i < g->draft_count; i++) {
        if (strcmp(g->drafts[i].name, name) == 0)
            d = &g->drafts[i];
    }
    if (d == NULL)
        line_fail(l, "propose: what was drafted under that name?");
    if (!line_end(l))
        return;
    struct entry_record e = {d->id, d->expected, span_buf(&d->bytes)};
    struct proposal_answer answer;
    enum err err = record_apply(&g->now, &e, &answer);
    if (err != ERR_OK)
        buf_printf(out, "the entry is refused: %s\n", err_name(err));
    else
        buf_printf(out, "%s, record %llu\n", err_name(answer.err),
                   (unsigned long long)answer.epoch.number);
}

/* ---- questions --------------------------------------------------------- */

static void run_members(struct ring *g, struct line *l, struct buf *out)
{
    if (!line_end(l))
        return;
    buf_printf(out, "record %llu, level %u, out after %u s:",
               (unsigned long long)g->now->epoch.number, g->now->level,
               g->now->out_after_ms / 1000);
    for (uint32_t i = 0; i < g->now->member_count; i++) {
        buf_printf(out, "%s %u ", i > 0 ? ";" : "", i + 1);
        print_standing(&g->now->members[i], out);
    }
    buf_printf(out, "\n");
}

/* row 3: who shall keep group 3. */
static void run_row(struct ring *g, struct line *l, struct buf *out)
{
    uint64_t group = line_next_u64(l);
    if (group >= g->now->row_count)
        line_fail(l, "row: groups are 0 to %u", g->now->row_count - 1);
    if (!line_end(l))
        return;
    uint32_t count;
    const uint16_t *row = record_row(g->now, (uint32_t)group, &count);
    for (uint32_t i = 0; i < count; i++)
        buf_printf(out, "%s%u", i > 0 ? "," : "", row[i] + 1u);
    buf_printf(out, "\n");
}

static void print_slots(const char *words, const uint16_t *slots,
                        uint32_t count, struct buf *out)
{
    buf_printf(out, "%s:", words);
    for (uint32_t i = 0; i < count; i++)
        buf_printf(out, "%s %u", i > 0 ? "," : "", slots[i] + 1u);
    buf_printf(out, count == 0 ? " nobody\n" : "\n");
}

/* node:number pairs into an array by slot. */
static void read_by_node(const struct ring *g, struct line *l, const char *key,
                         uint64_t values[NODES_MAX])
{
    struct line_pair pairs[NODES_MAX];
    size_t count = line_pairs(l, key, pairs, NODES_MAX);
    for (size_t i = 0; i < count; i++) {
        if (pairs[i].first < 1 || pairs[i].first > g->now->member_count ||
            !pairs[i].has_second)
            line_fail(l, "%s: node:number, of nodes 1 to %u", key,
                      g->now->member_count);
        else
            values[pairs[i].first - 1] = pairs[i].second;
    }
}

/* may_go_out voters=5 dead=3:2,4:3: of group 0's five voters two say that 3 has
 * been dead for out-after, three say so of 4. The proposer, node 1, is in touch
 * with all of whom nobody says so, less those of silent=. */
static void run_may_go_out(struct ring *g, struct line *l, struct buf *out)
{
    uint64_t reports[NODES_MAX] = {0}, silent[NODES_MAX];
    struct member_contact contacts[NODES_MAX] = {{0}};
    uint16_t slots[NODES_MAX];
    uint64_t voters = line_need_u64(l, "voters");
    read_by_node(g, l, "dead", reports);
    size_t silent_count = line_list(l, "silent", silent, NODES_MAX);
    if (voters < 1 || voters > 5)
        line_fail(l, "voters: 1 to 5");
    for (uint32_t i = 0; i < g->now->member_count; i++) {
        contacts[i].dead_reports = (uint32_t)reports[i];
        contacts[i].contact_ms = reports[i] > 0 ? 0 : UINT64_MAX;
    }
    for (size_t i = 0; i < silent_count; i++) {
        if (silent[i] < 1 || silent[i] > g->now->member_count)
            line_fail(l, "silent: nodes are 1 to %u", g->now->member_count);
        else
            contacts[silent[i] - 1].contact_ms = 0;
    }
    if (!line_end(l))
        return;
    uint32_t count =
        record_may_go_out(g->now, g->now_ms, (uint32_t)voters, contacts, slots);
    print_slots("may go out", slots, count, out);
}

/* may_come_back contact_s=3:70: in touch with node 3 for 70 seconds. */
static void run_may_come_back(struct ring *g, struct line *l, struct buf *out)
{
    uint64_t seconds[NODES_MAX] = {0};
    struct member_contact contacts[NODES_MAX] = {{0}};
    uint16_t slots[NODES_MAX];
    read_by_node(g, l, "contact_s", seconds);
    if (!line_end(l))
        return;
    for (uint32_t i = 0; i < g->now->member_count; i++)
        contacts[i].contact_ms = seconds[i] * 1000;
    uint32_t count =
        record_may_come_back(g->now, BACK_AFTER_MS, contacts, slots);
    print_slots("may come back", slots, count, out);
}

/* clock minutes=5: what the proposer's clock says; it may go back. */
static void run_clock(struct ring *g, struct line *l, struct buf *out)
{
    uint64_t minutes = line_need_u64(l, "minutes");
    (void)out;
    if (minutes > 100000000)
        line_fail(l, "clock: at most 100000000 minutes");
    if (line_end(l))
        g->now_ms = minutes * MINUTE_MS;
}

/* ---- life -------------------------------------------------------------- */

static void add_members(struct ring *g, struct line *l, uint64_t count)
{
    struct line_named zones[NODES_MAX];
    size_t zone_count = line_names(l, "zones", zones, NODES_MAX);
    for (uint64_t i = 2; i <= count; i++) {
        struct member m = member_of(i);
        enum err err = record_join(g->now, &m, g->now_ms);
        ASSERT(err == ERR_OK);
        record_see(g->now, (uint16_t)(i - 1), SEEN_UP, g->now_ms);
    }
    for (size_t i = 0; i < zone_count; i++) {
        if (zones[i].number < 1 || zones[i].number > count ||
            !record_is_name(span_str(zones[i].name)))
            line_fail(l, "zones: node:name, of nodes 1 to %u",
                      g->now->member_count);
        else
            (void)snprintf(g->now->members[zones[i].number - 1].zone,
                           sizeof g->now->members[0].zone, "%s", zones[i].name);
    }
}

static void end(void *world)
{
    struct ring *g = world;
    for (size_t i = 0; i < g->draft_count; i++)
        buf_free(&g->drafts[i].bytes);
    record_free(g->now);
    mem_free(g);
}

/* record nodes=5 [copies=3] [zones=1:a,2:a]: all up, in record 1. */
static void *begin(struct line *l, struct buf *out)
{
    uint64_t count = line_need_u64(l, "nodes");
    uint64_t copies = line_u64(l, "copies", 3);
    (void)out;
    if (count < 1 || count > NODES_MAX)
        line_fail(l, "record: 1 to %u nodes", NODES_MAX);
    if (copies < 1 || copies > REPLICATION_MAX)
        line_fail(l, "record: 1 to %u copies", REPLICATION_MAX);
    if (l->is_bad)
        return NULL;
    struct ring *g = mem_alloc(sizeof *g);
    struct member founder = member_of(1);
    g->now_ms = 1000 * MINUTE_MS;
    g->now = record_new();
    g->now->cluster.bytes[0] = 0xc1;
    g->now->generation = (struct generation){1, (uint64_t)1 << 32};
    g->now->partitions = PARTITIONS_MIN;
    g->now->copies = (uint32_t)copies;
    g->now->acks = record_majority(g->now->copies);
    record_begin(g->now, &founder, g->now_ms);
    add_members(g, l, count);
    record_advance(g->now, g->now_ms);
    ASSERT(record_fault(g->now) == NULL || l->is_bad);
    if (line_end(l))
        return g;
    end(g);
    return NULL;
}

static bool run(void *world, struct line *l, struct buf *out)
{
    static const struct {
        const char *verb;
        void (*run)(struct ring *g, struct line *l, struct buf *out);
    } commands[] = {
        {"draft", run_draft},
        {"propose", run_propose},
        {"members", run_members},
        {"row", run_row},
        {"clock", run_clock},
        {"may_go_out", run_may_go_out},
        {"may_come_back", run_may_come_back},
    };
    struct ring *g = world;
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(l->verb, commands[i].verb) == 0) {
            commands[i].run(g, l, out);
            return true;
        }
    }
    return false;
}

const struct world_kind world_record = {"record", begin, run, end};
