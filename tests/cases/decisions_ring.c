/* decisions_ring.c - see decisions.h: who seems alive, who keeps what.
 *
 * Nodes are numbered by their slot in the ring record, from 0. */
#include "tests/cases/decisions.h"

#include "ring/placement.h"
#include "ring/swim_wire.h"
#include "tests/unit/swim_record.h"

/* ---- gossip ------------------------------------------------------------ */

static void drain(struct swim *s)
{
    struct swim_effect effect;
    while (swim_pop(s, &effect))
        continue;
}

/* Node 0 of n, who has heard nothing yet. */
static struct swim *swim_of(size_t count, uint64_t suspicion)
{
    struct swim *s = mem_alloc(sizeof *s);
    struct swim_cfg cfg = swim_cfg_default();
    cfg.id = id_of(0);
    cfg.boot = 1;
    cfg.jitter_ms = 0;
    cfg.now_ms = 1000;
    cfg.suspicion_ms = suspicion;
    swim_init(s, &cfg);
    set_record(s, count);
    swim_tick(s, cfg.now_ms);
    drain(s);
    return s;
}

static void swim_drop(struct swim *s)
{
    swim_free(s);
    mem_free(s);
}

static uint64_t read_count(struct line *l)
{
    uint64_t n = line_need_u64(l, "n");
    if (n < 2 || n > MEMBERS_MAX)
        line_fail(l, "n: 2 to %u nodes", MEMBERS_MAX);
    return n;
}

/* Node `from` says this of node `about`, by news or in a full state. */
static void tell(struct swim *s, size_t from, enum swim_kind kind,
                 const struct swim_claim *claim)
{
    uint8_t bytes[SWIM_BYTES_MAX];
    struct enc e = enc_of(bytes, sizeof bytes);
    struct swim_packet packet = {
        .kind = kind,
        .seq = 1,
        .sender = {.boot = 1, .version = 1, .state = SWIM_ALIVE},
    };
    swim_wire_head(&e, &packet);
    if (claim != NULL)
        swim_wire_claim(&e, claim);
    ASSERT(enc_fits(&e));
    enum err err = swim_recv(s, id_of(from), enc_span(&e));
    ASSERT(err == ERR_OK);
    drain(s);
}

/* Until the first tick after which it is dead. */
static uint64_t wait_for_death(struct swim *s, size_t node)
{
    uint64_t began = s->now_ms;
    while (swim_state(s, id_of(node)) != SWIM_DEAD) {
        swim_tick(s, s->now_ms + 1);
        drain(s);
    }
    return s->now_ms - began;
}

static void decide_suspicion(struct line *l, struct buf *out)
{
    uint64_t n = read_count(l);
    uint64_t others = line_u64(l, "confirmations", 0);
    uint64_t base = line_u64(l, "suspicion_ms", SUSPICION_MS);
    if (!l->is_bad && others + 3 > n)
        line_fail(l, "confirmations: at most n - 3 others can say so");
    if (base == 0 || base > 1000000)
        line_fail(l, "suspicion_ms: 1 to 1000000");
    if (!line_end(l))
        return;
    struct swim *s = swim_of((size_t)n, base);
    struct swim_claim claim = {
        .id = id_of(1), .boot = 1, .version = 1, .state = SWIM_SUSPECT};
    for (size_t from = 2; from < 3 + others; from++) {
        claim.by = id_of(from);
        tell(s, from, SWIM_ACK, &claim);
    }
    buf_printf(out, "%llu\n", (unsigned long long)wait_for_death(s, 1));
    swim_drop(s);
}

static void decide_detection(struct line *l, struct buf *out)
{
    uint64_t n = read_count(l);
    if (!line_end(l))
        return;
    struct swim_cfg cfg = swim_cfg_default();
    buf_printf(out, "%llu\n",
               (unsigned long long)swim_detection_ms_max(&cfg, (size_t)n));
}

/* What node 0 thinks of node 1 once node 2 has told it something. */
static void decide_claim(struct line *l, struct buf *out)
{
    static const char *const states = "unseen alive suspect dead";
    struct swim_claim have = {.id = id_of(1), .by = id_of(2)};
    struct swim_claim hear = {.id = id_of(1), .by = id_of(2)};
    have.state = (enum swim_state)line_choice(l, "have", states, SWIM_ALIVE);
    have.boot = line_u64(l, "boot", 1);
    uint64_t version = line_u64(l, "version", 1);
    hear.state = (enum swim_state)line_choice(l, "hear", states, SWIM_UNSEEN);
    hear.boot = line_u64(l, "hear_boot", have.boot);
    uint64_t hear_version = line_u64(l, "hear_version", version);
    have.version = (uint32_t)version;
    hear.version = (uint32_t)hear_version;
    bool is_state = line_choice(l, "by", "news state", 0) == 1;
    if (version > UINT32_MAX || hear_version > UINT32_MAX)
        line_fail(l, "claim: versions are below 2^32");
    if (hear.state == SWIM_UNSEEN || hear.boot == 0 || have.boot == 0)
        line_fail(l, "claim: hear=alive|suspect|dead; boots begin at 1");
    if (!line_end(l))
        return;
    struct swim *s = swim_of(3, SUSPICION_MS);
    if (have.state != SWIM_UNSEEN)
        tell(s, 2, SWIM_ACK, &have);
    tell(s, 2, is_state ? SWIM_STATE : SWIM_ACK, &hear);
    const struct swim_member *m = swim_member(s, id_of(1));
    buf_printf(out, "%s boot=%llu version=%u\n", swim_state_name(m->state),
               (unsigned long long)m->boot, m->version);
    swim_drop(s);
}

/* ---- placement --------------------------------------------------------- */

struct ring {
    struct placement_member members[MEMBERS_MAX];
    size_t count;
    struct placement_table table;
    uint16_t slots[PARTITIONS_MAX * REPLICATION_MAX];
    uint16_t next[PARTITIONS_MAX * REPLICATION_MAX];
};

static struct placement_member *find(struct line *l, struct ring *r,
                                     const char *key, uint64_t slot)
{
    for (size_t i = 0; i < r->count; i++) {
        if (r->members[i].slot == slot)
            return &r->members[i];
    }
    line_fail(l, "%s: %llu is not among the nodes", key,
              (unsigned long long)slot);
    return NULL;
}

static void read_members(struct line *l, struct ring *r)
{
    uint64_t slots[MEMBERS_MAX];
    size_t count = line_list(l, "nodes", slots, MEMBERS_MAX);
    for (size_t i = 0; i < count; i++) {
        uint8_t id = (uint8_t)slots[i];
        for (size_t k = 0; k < i; k++) {
            if (slots[k] == slots[i])
                line_fail(l, "nodes: one is there twice");
        }
        if (slots[i] >= MEMBERS_MAX)
            line_fail(l, "nodes: 0 to %u", MEMBERS_MAX - 1);
        r->members[r->count++] = (struct placement_member){
            .slot = (uint16_t)slots[i],
            .is_eligible = true,
            .takes_new = true,
            .zone = (uint16_t)(1000 + slots[i]),
            .weight = WEIGHT_DEFAULT,
            .hash = hash64(span_of(&id, 1)),
        };
    }
}

static void read_zones(struct line *l, struct ring *r)
{
    struct line_named zones[MEMBERS_MAX];
    size_t count = line_names(l, "zones", zones, MEMBERS_MAX);
    for (size_t i = 0; i < count; i++) {
        struct placement_member *m = find(l, r, "zones", zones[i].number);
        for (size_t k = 0; m != NULL && k <= i; k++) {
            if (strcmp(zones[k].name, zones[i].name) == 0) {
                m->zone = (uint16_t)k;
                break;
            }
        }
    }
}

static void read_states(struct line *l, struct ring *r)
{
    uint64_t list[MEMBERS_MAX];
    struct line_pair weights[MEMBERS_MAX];
    size_t count = line_list(l, "out", list, MEMBERS_MAX);
    for (size_t i = 0; i < count; i++) {
        struct placement_member *m = find(l, r, "out", list[i]);
        if (m != NULL)
            m->is_eligible = m->takes_new = false;
    }
    count = line_list(l, "full", list, MEMBERS_MAX);
    for (size_t i = 0; i < count; i++) {
        struct placement_member *m = find(l, r, "full", list[i]);
        if (m != NULL)
            m->takes_new = false;
    }
    count = line_pairs(l, "weights", weights, MEMBERS_MAX);
    for (size_t i = 0; i < count; i++) {
        struct placement_member *m = find(l, r, "weights", weights[i].first);
        if (!weights[i].has_second || weights[i].second == 0 ||
            weights[i].second > 100000)
            line_fail(l, "weights: node:weight, 1 to 100000");
        if (m != NULL)
            m->weight = (uint32_t)weights[i].second;
    }
}

static void put_slot(struct line *l, uint16_t *row, uint32_t place,
                     uint16_t slot)
{
    for (uint32_t i = 0; i < place; i++) {
        if (row[i] == slot)
            line_fail(l, "from: %u is twice in one row", slot);
    }
    row[place] = slot;
}

/* "0,1,2 1,2,0 -": a row a word. */
static void read_rows(struct line *l, const char *text, struct ring *r)
{
    uint32_t row = 0, place = 0;
    for (const char *at = text; *at != '\0' && !l->is_bad;) {
        if (row == r->table.row_count) {
            line_fail(l, "from: more than q rows");
            return;
        }
        if (*at >= '0' && *at <= '9') {
            uint32_t slot = 0;
            for (; *at >= '0' && *at <= '9' && slot < 100000; at++)
                slot = 10 * slot + (uint32_t)(*at - '0');
            if (slot >= MEMBERS_MAX || place == REPLICATION_MAX)
                line_fail(l, "from: a row has up to %u of 0 to %u",
                          REPLICATION_MAX, MEMBERS_MAX - 1);
            else
                put_slot(l, &r->slots[row * REPLICATION_MAX], place++,
                         (uint16_t)slot);
        } else if (*at == ',' || *at == '-') {
            at++;
        } else if (*at == ' ') {
            at += strspn(at, " ");
            row++;
            place = 0;
        } else {
            line_fail(l, "from: rows like 0,1,2 are wanted");
        }
    }
}

static bool read_ring(struct line *l, struct ring *r)
{
    uint64_t q = line_u64(l, "q", 1);
    uint64_t n = line_need_u64(l, "n");
    if (q < 1 || q > PARTITIONS_MAX)
        line_fail(l, "q: 1 to %u partitions", PARTITIONS_MAX);
    if (n < 1 || n > REPLICATION_MAX)
        line_fail(l, "n: 1 to %u replicas", REPLICATION_MAX);
    if (l->is_bad)
        return false;
    placement_init(&r->table, (uint32_t)q, (uint32_t)n, r->slots);
    const char *from = line_value(l, "from");
    if (from != NULL)
        read_rows(l, from, r);
    read_members(l, r);
    read_zones(l, r);
    read_states(l, r);
    return line_end(l);
}

static void print_ring(struct ring *r, const struct placement_table *next,
                       struct buf *out)
{
    struct placement_figures f = placement_measure(next, r->members, r->count);
    placement_print(next, out);
    buf_printf(
        out, " | moves %u of at least %u, loads %u-%u, leaders %u-%u",
        placement_moves(&r->table, next),
        placement_moves_least(&r->table, r->members, r->count, next->copies),
        f.load_min, f.load_max, f.leaders_min, f.leaders_max);
    if (f.rows_short > 0)
        buf_printf(out, ", short %u", f.rows_short);
    if (f.zone_violations > 0)
        buf_printf(out, ", zone violations %u", f.zone_violations);
    if (f.zone_majorities > 0)
        buf_printf(out, ", zone majorities %u", f.zone_majorities);
    buf_printf(out, "\n");
}

static void decide_fold(struct line *l, struct buf *out)
{
    struct ring *r = mem_alloc(sizeof *r);
    if (read_ring(l, r)) {
        struct placement_table next = {.slots = r->next};
        placement_fold(&r->table, r->members, r->count, r->table.copies, &next);
        ASSERT(placement_check(&next, r->members, r->count, NULL));
        print_ring(r, &next, out);
    }
    mem_free(r);
}

/* Group 0's row, which obeys other rules. */
static void decide_fold_ring(struct line *l, struct buf *out)
{
    struct ring *r = mem_alloc(sizeof *r);
    placement_init(&r->table, 1, 1, r->slots);
    const char *from = line_value(l, "from");
    if (from != NULL)
        read_rows(l, from, r);
    read_members(l, r);
    read_zones(l, r);
    read_states(l, r);
    if (line_end(l)) {
        placement_fold_ring(r->slots, r->members, r->count, r->next);
        for (size_t i = 0; i < REPLICATION_MAX; i++) {
            if (r->next[i] != PLACEMENT_NONE)
                buf_printf(out, "%s%u", i > 0 ? "," : "", r->next[i]);
        }
        buf_printf(out, "\n");
    }
    mem_free(r);
}

bool decide_ring(struct line *l, struct buf *out)
{
    static const struct {
        const char *verb;
        void (*run)(struct line *l, struct buf *out);
    } verbs[] = {
        {"suspicion", decide_suspicion}, {"detection", decide_detection},
        {"claim", decide_claim},         {"fold", decide_fold},
        {"fold_ring", decide_fold_ring},
    };
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(l->verb, verbs[i].verb) == 0) {
            verbs[i].run(l, out);
            return true;
        }
    }
    return false;
}
