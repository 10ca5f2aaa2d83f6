/* swim.c - see swim.h.
 *
 * Order: figures, members, effects, claims, packets out, probes, push-pull,
 * time, packets in. What others may ask is in swim_view.c, the bytes of a
 * packet in swim_wire.c. */
#include "ring/swim.h"

#include <stdlib.h>

#include "ring/rule.h"
#include "ring/swim_wire.h"

static_assert(4 * (PROBE_INTERVAL_MS + PROBE_JITTER_MS) + SUSPICION_MS <= 10000,
              "with three nodes a dead one is seen by all within 10 s");
static_assert(PROBE_TIMEOUT_MS < PROBE_INTERVAL_MS,
              "there is time to ask helpers");
static_assert(TOMBSTONE_MS >= 2 * 4 * PUSH_PULL_MS,
              "a tombstone outlives two push-pulls of MEMBERS_MAX nodes");
static_assert(MEMBERS_MAX <= UINT16_MAX, "an order is of u16");

/* ---- figures ----------------------------------------------------------- */

struct swim_cfg swim_cfg_default(void)
{
    return (struct swim_cfg){
        .probe_interval_ms = PROBE_INTERVAL_MS,
        .probe_timeout_ms = PROBE_TIMEOUT_MS,
        .jitter_ms = PROBE_JITTER_MS,
        .suspicion_ms = SUSPICION_MS,
        .push_pull_ms = PUSH_PULL_MS,
        .heal_ms = HEAL_MS,
        .meta_interval_ms = META_INTERVAL_MS,
        .tombstone_ms = TOMBSTONE_MS,
        .health_max = SWIM_HEALTH_MAX,
    };
}

/* How many bits n has: floor(log2 n) + 1. */
static uint32_t bit_length(size_t n)
{
    uint32_t bits = 0;
    for (; n > 0; n /= 2)
        bits++;
    return bits;
}

static size_t cluster_size(const struct swim *s)
{
    return s->member_count + 1;
}

/* suspicion_ms * max(1, log10 n), rounded up to a row: integers alone. */
static uint64_t suspicion_ms(const struct swim_cfg *cfg, size_t count)
{
    static const struct {
        size_t count;
        uint64_t log10_per_mille;
    } rows[] = {{10, 1000}, {16, 1205},  {25, 1398},  {32, 1506}, {50, 1699},
                {64, 1807}, {100, 2000}, {128, 2108}, {200, 2302}};
    uint64_t factor = 2409; /* of MEMBERS_MAX + 1 */
    for (size_t i = sizeof rows / sizeof rows[0]; i-- > 0;)
        if (count <= rows[i].count)
            factor = rows[i].log10_per_mille;
    return cfg->suspicion_ms * factor / 1000;
}

uint64_t swim_detection_ms_max(const struct swim_cfg *cfg, size_t count)
{
    ASSERT(count >= 2 && count <= MEMBERS_MAX + 1);
    return (2 * count - 2) * (cfg->probe_interval_ms + cfg->jitter_ms) +
           suspicion_ms(cfg, count);
}

/* memberlist: above 32 nodes push-pulls are ceil(log2 n - 5) + 1 times as
 * rare, so that the cluster's sum of them grows slowly. */
static uint64_t push_pull_scale(const struct swim *s)
{
    size_t n = cluster_size(s);
    return n <= 32 ? 1 : bit_length(n - 1) - 4;
}

/* Lifeguard, local health multiplier: who is slow gives others more time. */
static uint64_t by_health(const struct swim *s, uint64_t ms)
{
    return ms * (1 + s->health);
}

static void worsen_health(struct swim *s, size_t amount)
{
    s->health = (uint32_t)min_u64(s->cfg.health_max, s->health + amount);
}

static uint64_t jitter(struct swim *s)
{
    return rng_below(&s->rng, s->cfg.jitter_ms + 1);
}

/* ---- members ----------------------------------------------------------- */

static bool is_own(const struct swim *s, struct id128 id)
{
    return id_equal(s->cfg.id, id);
}

static struct swim_member *find(struct swim *s, struct id128 id)
{
    const struct swim_member *m = swim_member(s, id);
    return m == NULL ? NULL : &s->members[m - s->members];
}

static void set_address(struct swim_member *m, struct span address)
{
    ASSERT(address.size <= ADDRESS_MAX);
    if (address.size > 0)
        memcpy(m->address, address.data, address.size);
    m->address[address.size] = 0;
}

static bool is_address(const struct swim_member *m, struct span address)
{
    return span_equal(span_str(m->address), address);
}

static struct swim_claim claim_of(const struct swim_member *m)
{
    return (struct swim_claim){
        .id = m->id,
        .boot = m->boot,
        .version = m->version,
        .state = m->state,
        .by = m->by,
        .address = span_str(m->address),
        .meta = span_of(m->meta, m->meta_size),
    };
}

static struct swim_claim own_claim(const struct swim *s)
{
    return (struct swim_claim){
        .id = s->cfg.id,
        .boot = s->cfg.boot,
        .version = s->version,
        .state = SWIM_ALIVE,
        .address = s->cfg.address,
        .meta = span_of(s->meta, s->meta_size),
    };
}

static void shuffle(struct swim *s)
{
    for (size_t i = s->member_count; i > 1; i--) {
        size_t j = (size_t)rng_below(&s->rng, i);
        uint16_t other = s->order[j];
        s->order[j] = s->order[i - 1];
        s->order[i - 1] = other;
    }
    s->order_at = 0;
}

static void bury(struct swim *s, const struct swim_member *m)
{
    if (m->boot == 0)
        return;
    if (s->tombstone_count == MEMBERS_MAX)
        memmove(&s->tombstones[0], &s->tombstones[1],
                --s->tombstone_count * sizeof s->tombstones[0]);
    s->tombstones[s->tombstone_count++] = (struct swim_tombstone){
        .id = m->id,
        .boot = m->boot,
        .version = m->version,
        .state = m->state,
        .reap_ms = s->now_ms + s->cfg.tombstone_ms,
    };
}

static void reap_tombstones(struct swim *s)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->tombstone_count; i++)
        if (s->tombstones[i].reap_ms > s->now_ms)
            s->tombstones[kept++] = s->tombstones[i];
    s->tombstone_count = kept;
}

/* Whoever comes back before its tombstone is reaped is as dead as it was: at
 * best DEAD of its last incarnation, until it says something newer. */
static void exhume(struct swim *s, struct swim_member *m)
{
    for (size_t i = 0; i < s->tombstone_count; i++) {
        struct swim_tombstone *t = &s->tombstones[i];
        if (!id_equal(t->id, m->id))
            continue;
        m->boot = t->boot;
        m->version = t->version;
        m->state = t->state == SWIM_DEAD ? SWIM_DEAD : SWIM_UNSEEN;
        t->reap_ms = 0;
    }
    reap_tombstones(s);
}

static int compare_members(const void *a, const void *b)
{
    const struct swim_member *x = a;
    const struct swim_member *y = b;
    return id_compare(x->id, y->id);
}

/* The member that a seed stands for: the one we have, or a new one. */
static struct swim_member member_of(struct swim *s,
                                    const struct swim_seed *seed)
{
    const struct swim_member *old = find(s, seed->id);
    struct swim_member m = {.id = seed->id, .since_ms = s->now_ms};
    if (old != NULL)
        m = *old;
    else
        exhume(s, &m);
    if (m.boot == 0 || m.address[0] == 0)
        set_address(&m, seed->address);
    return m;
}

void swim_set_members(struct swim *s, const struct swim_seed *seeds,
                      size_t count)
{
    ASSERT(count <= MEMBERS_MAX);
    struct swim_member *members = mem_alloc(count * sizeof *members);
    size_t taken = 0;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (is_own(s, seeds[i].id))
            continue;
        kept += find(s, seeds[i].id) != NULL;
        members[taken++] = member_of(s, &seeds[i]);
    }
    qsort(members, taken, sizeof *members, compare_members);
    for (size_t i = 1; i < taken; i++)
        ASSERT(id_compare(members[i - 1].id, members[i].id) < 0);

    bool is_same = kept == taken && kept == s->member_count;
    struct swim_member *old = s->members;
    size_t old_count = s->member_count;
    s->members = members;
    s->member_count = taken;
    for (size_t i = 0; i < old_count; i++)
        if (find(s, old[i].id) == NULL)
            bury(s, &old[i]);
    mem_free(old);
    /* A new record with the same members does not disturb the order, on
     * which the bound of detection rests. */
    if (is_same)
        return;
    for (size_t i = 0; i < taken; i++)
        s->order[i] = (uint16_t)i;
    shuffle(s);
}

/* ---- effects ----------------------------------------------------------- */

static struct swim_queued *queue_effect(struct swim *s)
{
    ASSERT(s->effect_count < SWIM_EFFECTS_MAX);
    return &s->effects[s->effect_count++];
}

/* An input begins: what the one before has brought is no longer valid. */
static void begin_input(struct swim *s)
{
    ASSERT(s->effect_at == s->effect_count);
    s->effect_at = 0;
    s->effect_count = 0;
    buf_clear(&s->out);
}

bool swim_pop(struct swim *s, struct swim_effect *effect)
{
    if (s->effect_at == s->effect_count)
        return false;
    const struct swim_queued *q = &s->effects[s->effect_at++];
    *effect = (struct swim_effect){.kind = q->kind, .id = q->id};
    effect->state = q->state;
    if (q->kind == SWIM_SEND)
        effect->bytes = span_of(s->out.data + q->offset, q->size);
    return true;
}

/* ---- claims ------------------------------------------------------------ */

static int compare_incarnations(uint64_t boot_a, uint32_t version_a,
                                uint64_t boot_b, uint32_t version_b)
{
    if (boot_a != boot_b)
        return boot_a < boot_b ? -1 : 1;
    return version_a < version_b ? -1 : version_a > version_b;
}

/* Is the claim newer than what we hold? By incarnation, then by state: so an
 * ALIVE never undoes a SUSPECT or DEAD of its own incarnation (SWIM 4.2). */
static bool is_newer(const struct swim_claim *claim,
                     const struct swim_member *m)
{
    int order =
        compare_incarnations(claim->boot, claim->version, m->boot, m->version);
    return order > 0 || (order == 0 && claim->state > m->state);
}

/* Take over a claim, and pass it on. */
static void adopt(struct swim *s, struct swim_member *m,
                  const struct swim_claim *claim)
{
    bool is_new_life = m->state != claim->state || m->boot != claim->boot;
    bool is_moved = false;
    m->boot = claim->boot;
    m->version = claim->version;
    m->state = claim->state;
    m->by = claim->by;
    if (claim->state == SWIM_ALIVE) {
        is_moved = claim->address.size > 0 && !is_address(m, claim->address);
        if (is_moved)
            set_address(m, claim->address);
        m->meta_size = claim->meta.size;
        memcpy(m->meta, claim->meta.data, claim->meta.size);
    }
    if (is_new_life)
        m->since_ms = s->now_ms;
    /* What others have found was judged by their health. */
    uint64_t wait_ms = suspicion_ms(&s->cfg, cluster_size(s));
    if (claim->state == SWIM_SUSPECT)
        m->deadline_ms =
            s->now_ms +
            (is_own(s, claim->by) ? by_health(s, wait_ms) : wait_ms);
    m->news_number = ++s->news_count;
    m->sends_left = SWIM_LAMBDA * bit_length(cluster_size(s));
    if (is_new_life || is_moved) {
        struct swim_queued *q = queue_effect(s);
        *q = (struct swim_queued){.kind = SWIM_CHANGED, .id = m->id};
        q->state = m->state;
    }
}

/* We think so ourselves. */
static void accuse(struct swim *s, struct swim_member *m, enum swim_state state)
{
    struct swim_claim claim = claim_of(m);
    claim.state = state;
    if (m->state != SWIM_SUSPECT)
        claim.by = s->cfg.id;
    adopt(s, m, &claim);
}

/* A claim about this node; true if it had to be refuted. */
static bool hear_of_self(struct swim *s, const struct swim_claim *claim)
{
    if (claim->boot > s->cfg.boot)
        s->stats.impostors++;
    if (claim->boot != s->cfg.boot)
        return false;
    bool is_accused = claim->state != SWIM_ALIVE;
    if (claim->version < s->version ||
        (claim->version == s->version && !is_accused))
        return false;
    /* Only we raise our version, so a greater one is a fault somewhere; the
     * greatest one could never be refuted again. */
    if (claim->version == UINT32_MAX) {
        s->stats.impostors++;
        return false;
    }
    s->version = claim->version + 1;
    s->stats.refutations++;
    if (is_accused)
        worsen_health(s, 1);
    return true;
}

static void hear_of_member(struct swim *s, const struct swim_claim *claim,
                           bool is_push_pull)
{
    struct swim_member *m = find(s, claim->id);
    if (m == NULL) {
        s->stats.unknown++;
        return;
    }
    struct swim_claim heard = *claim;
    /* It may know better, and has not been asked: let it refute. */
    if (is_push_pull && heard.state == SWIM_DEAD && m->state != SWIM_DEAD)
        heard.state = SWIM_SUSPECT;
    if (is_newer(&heard, m)) {
        adopt(s, m, &heard);
        return;
    }
    bool is_same_life = heard.state == SWIM_ALIVE && m->state == SWIM_ALIVE &&
                        heard.boot == m->boot && heard.version == m->version;
    if (is_same_life && heard.address.size > 0 && !is_address(m, heard.address))
        s->stats.conflicts++;
}

/* ---- packets out ------------------------------------------------------- */

/* A packet in the making, at the end of `out`. */
struct draft {
    struct enc enc;
    struct id128 to;
    size_t offset;
};

static struct draft open_packet(struct swim *s, struct id128 to,
                                enum swim_kind kind, uint32_t seq,
                                struct id128 target)
{
    struct draft d = {.to = to, .offset = s->out.size};
    d.enc = enc_of(buf_grow(&s->out, SWIM_BYTES_MAX), SWIM_BYTES_MAX);
    struct swim_packet head = {.kind = kind, .seq = seq, .target = target};
    head.sender = own_claim(s);
    swim_wire_head(&d.enc, &head);
    return d;
}

static bool add_claim(struct draft *d, const struct swim_member *m)
{
    struct swim_claim claim = claim_of(m);
    size_t room = d->enc.capacity - d->enc.size;
    if (swim_wire_claim_size(&claim) > room)
        return false;
    swim_wire_claim(&d->enc, &claim);
    return true;
}

static void close_packet(struct swim *s, const struct draft *d)
{
    ASSERT(enc_fits(&d->enc));
    s->out.size = d->offset + d->enc.size;
    struct swim_queued *q = queue_effect(s);
    *q = (struct swim_queued){.kind = SWIM_SEND, .id = d->to};
    q->offset = d->offset;
    q->size = d->enc.size;
}

/* The newest news older than number `before`; NULL: none. */
static struct swim_member *next_news(const struct swim *s, uint64_t before)
{
    struct swim_member *newest = NULL;
    for (size_t i = 0; i < s->member_count; i++) {
        struct swim_member *m = &s->members[i];
        if (m->sends_left > 0 && m->news_number < before &&
            (newest == NULL || m->news_number > newest->news_number))
            newest = m;
    }
    return newest;
}

/* Piggyback, newest first, each a bounded number of times: so a storm of
 * events cannot keep a death from spreading (SWIM 4.1). */
static void add_news(struct swim *s, struct draft *d,
                     const struct swim_member *included)
{
    uint64_t before = UINT64_MAX;
    while (d->enc.capacity - d->enc.size >= SWIM_CLAIM_BYTES_MIN) {
        struct swim_member *m = next_news(s, before);
        if (m == NULL)
            return;
        before = m->news_number;
        /* What concerns the receiver has been said. */
        if (id_equal(m->id, d->to) || m == included)
            continue;
        if (add_claim(d, m))
            m->sends_left--;
    }
}

/* A small packet with news, and with what we hold of `about`, if given. */
static void send_about(struct swim *s, struct id128 to, enum swim_kind kind,
                       uint32_t seq, const struct swim_member *about)
{
    const struct swim_member *m = find(s, to);
    if (m == NULL)
        return;
    struct id128 target = about == NULL ? (struct id128){{0}} : about->id;
    struct draft d = open_packet(s, to, kind, seq, target);
    /* Lifeguard, buddy system: let the accused know first. */
    if (m->state > SWIM_ALIVE)
        (void)add_claim(&d, m);
    if (about != NULL && about != m && about->state != SWIM_UNSEEN)
        (void)add_claim(&d, about);
    add_news(s, &d, about);
    close_packet(s, &d);
}

static void send(struct swim *s, struct id128 to, enum swim_kind kind,
                 uint32_t seq)
{
    send_about(s, to, kind, seq, NULL);
}

/* All that we know, in as many packets as it takes; SYNC asks for the same in
 * return, once. The order begins anywhere, so that it is not always the same
 * part that is lost. */
static void send_all(struct swim *s, struct id128 to, enum swim_kind first)
{
    size_t count = s->member_count;
    struct id128 none = {{0}};
    struct draft d = open_packet(s, to, first, s->seq++, none);
    size_t start = (size_t)rng_below(&s->rng, count + 1);
    for (size_t i = 0; i < count; i++) {
        const struct swim_member *m = &s->members[(start + i) % count];
        if (m->state == SWIM_UNSEEN || add_claim(&d, m))
            continue;
        close_packet(s, &d);
        d = open_packet(s, to, SWIM_STATE, s->seq++, none);
        bool is_added = add_claim(&d, m);
        ASSERT(is_added);
    }
    close_packet(s, &d);
}

/* ---- probes ------------------------------------------------------------ */

/* Up to `count` random members in one of the states from `low` to `high`,
 * without `except`. */
static size_t pick(struct swim *s, enum swim_state low, enum swim_state high,
                   struct id128 except, struct id128 *out, size_t count)
{
    size_t seen = 0;
    for (size_t i = 0; i < s->member_count; i++) {
        const struct swim_member *m = &s->members[i];
        if (m->state < low || m->state > high || id_equal(m->id, except))
            continue;
        /* Reservoir sampling: each is kept with the same chance. */
        size_t at = seen < count ? seen : (size_t)rng_below(&s->rng, seen + 1);
        if (at < count)
            out[at] = m->id;
        seen++;
    }
    return seen < count ? seen : count;
}

/* SWIM 4.3: round-robin over a list that each pass shuffles anew. The dead
 * are not probed: push-pull goes to see them. */
static struct swim_member *next_target(struct swim *s)
{
    for (size_t i = 0; i < 2 * s->member_count; i++) {
        if (s->order_at == s->member_count)
            shuffle(s);
        struct swim_member *m = &s->members[s->order[s->order_at++]];
        if (m->state != SWIM_DEAD)
            return m;
    }
    return NULL;
}

static void start_probe(struct swim *s)
{
    struct swim_probe *p = &s->probe;
    *p = (struct swim_probe){.seq = s->seq++};
    p->indirect_ms = s->now_ms + by_health(s, s->cfg.probe_timeout_ms);
    p->end_ms = s->now_ms + by_health(s, s->cfg.probe_interval_ms) + jitter(s);
    const struct swim_member *m = next_target(s);
    if (m == NULL)
        return;
    p->target = m->id;
    p->is_open = true;
    send(s, m->id, SWIM_PING, p->seq);
}

static void ask_helpers(struct swim *s)
{
    struct swim_probe *p = &s->probe;
    p->is_indirect = true;
    const struct swim_member *target = find(s, p->target);
    if (target == NULL)
        return;
    p->helper_count =
        pick(s, SWIM_ALIVE, SWIM_ALIVE, p->target, p->helpers, SWIM_HELPERS);
    for (size_t i = 0; i < p->helper_count; i++)
        send_about(s, p->helpers[i], SWIM_PING_REQ, p->seq, target);
}

static void fail_probe(struct swim *s)
{
    struct swim_probe *p = &s->probe;
    p->is_open = false;
    struct swim_member *m = find(s, p->target);
    if (m == NULL)
        return;
    /* Lifeguard: a helper that is alive and did not even say no means that
     * it may be us who does not hear. */
    worsen_health(s, p->helper_count - p->nack_count);
    if (m->state < SWIM_SUSPECT)
        accuse(s, m, SWIM_SUSPECT);
}

static void run_probe(struct swim *s)
{
    struct swim_probe *p = &s->probe;
    if (p->is_open && !p->is_indirect && s->now_ms >= p->indirect_ms)
        ask_helpers(s);
    if (s->now_ms < p->end_ms)
        return;
    if (p->is_open)
        fail_probe(s);
    start_probe(s);
}

static void run_relays(struct swim *s)
{
    for (size_t i = 0; i < SWIM_RELAYS_MAX; i++) {
        struct swim_relay *r = &s->relays[i];
        if (!r->is_used)
            continue;
        if (!r->is_nacked && s->now_ms >= r->nack_ms) {
            r->is_nacked = true;
            send(s, r->asker, SWIM_NACK, r->asker_seq);
        }
        if (s->now_ms >= r->end_ms)
            r->is_used = false;
    }
}

static void run_suspicions(struct swim *s)
{
    for (size_t i = 0; i < s->member_count; i++) {
        struct swim_member *m = &s->members[i];
        if (m->state == SWIM_SUSPECT && s->now_ms >= m->deadline_ms)
            accuse(s, m, SWIM_DEAD);
    }
}

/* ---- push-pull --------------------------------------------------------- */

static void sync_with(struct swim *s, enum swim_state low, enum swim_state high)
{
    struct id128 to;
    if (pick(s, low, high, s->cfg.id, &to, 1) == 1)
        send_all(s, to, SWIM_SYNC);
}

static void run_syncs(struct swim *s)
{
    uint64_t scale = push_pull_scale(s);
    if (s->now_ms >= s->sync_ms) {
        /* At the start with anyone, until one has answered. */
        uint64_t wait = s->is_synced ? s->cfg.push_pull_ms * scale
                                     : s->cfg.probe_interval_ms;
        sync_with(s, s->is_synced ? SWIM_ALIVE : SWIM_UNSEEN,
                  s->is_synced ? SWIM_SUSPECT : SWIM_DEAD);
        s->sync_ms = s->now_ms + wait + jitter(s);
    }
    if (s->now_ms >= s->heal_ms) {
        sync_with(s, SWIM_DEAD, SWIM_DEAD);
        s->heal_ms = s->now_ms + s->cfg.heal_ms * scale + jitter(s);
    }
}

/* ---- time -------------------------------------------------------------- */

static void publish_meta(struct swim *s)
{
    if (!s->is_meta_new || s->now_ms < s->meta_ms || s->version == UINT32_MAX)
        return;
    s->is_meta_new = false;
    s->meta_size = s->meta_next_size;
    memcpy(s->meta, s->meta_next, s->meta_size);
    s->version++;
    /* Two such news a second in the whole cluster leave room for deaths. */
    s->meta_ms =
        s->now_ms + max_u64(s->cfg.meta_interval_ms, cluster_size(s) * 500);
}

void swim_set_meta(struct swim *s, struct span meta)
{
    ASSERT(meta.size <= SWIM_META_BYTES_MAX);
    if (span_equal(meta, span_of(s->meta_next, s->meta_next_size)))
        return;
    s->meta_next_size = meta.size;
    if (meta.size > 0)
        memcpy(s->meta_next, meta.data, meta.size);
    s->is_meta_new = true;
    s->deadline_ms = min_u64(s->deadline_ms, max_u64(s->meta_ms, s->now_ms));
}

/* We come too late: what we have not heard meanwhile says nothing about
 * others. The timers of judgement get the lost time and a timeout more, in
 * which we read what has come. */
static void forgive_sleep(struct swim *s)
{
    uint64_t grace = s->cfg.probe_timeout_ms;
    if (s->now_ms <= s->deadline_ms + grace)
        return;
    uint64_t lost = s->now_ms - s->deadline_ms + grace;
    s->stats.sleeps++;
    worsen_health(s, 1);
    s->probe.indirect_ms += lost;
    s->probe.end_ms += lost;
    for (size_t i = 0; i < s->member_count; i++)
        s->members[i].deadline_ms += lost;
}

static void plan_deadline(struct swim *s)
{
    const struct swim_probe *p = &s->probe;
    uint64_t at = min_u64(p->end_ms, min_u64(s->sync_ms, s->heal_ms));
    if (p->is_open && !p->is_indirect)
        at = min_u64(at, p->indirect_ms);
    if (s->is_meta_new)
        at = min_u64(at, s->meta_ms);
    for (size_t i = 0; i < s->member_count; i++)
        if (s->members[i].state == SWIM_SUSPECT)
            at = min_u64(at, s->members[i].deadline_ms);
    for (size_t i = 0; i < SWIM_RELAYS_MAX; i++)
        if (s->relays[i].is_used)
            at = min_u64(at, s->relays[i].is_nacked ? s->relays[i].end_ms
                                                    : s->relays[i].nack_ms);
    s->deadline_ms = max_u64(at, s->now_ms);
}

uint64_t swim_deadline(const struct swim *s)
{
    return s->deadline_ms;
}

void swim_tick(struct swim *s, uint64_t now_ms)
{
    ASSERT(now_ms >= s->now_ms);
    begin_input(s);
    s->now_ms = now_ms;
    if (now_ms < s->deadline_ms && s->tombstone_count == 0)
        return; /* a busy node ticks thousands of times a second */
    forgive_sleep(s);
    reap_tombstones(s);
    publish_meta(s);
    run_relays(s);
    run_suspicions(s);
    run_probe(s);
    run_syncs(s);
    plan_deadline(s);
}

void swim_init(struct swim *s, const struct swim_cfg *cfg)
{
    ASSERT(cfg->boot > 0 && !id_is_zero(cfg->id));
    ASSERT(cfg->probe_timeout_ms > 0);
    ASSERT(cfg->probe_timeout_ms < cfg->probe_interval_ms);
    ASSERT(cfg->address.size <= ADDRESS_MAX);
    *s = (struct swim){.cfg = *cfg, .now_ms = cfg->now_ms};
    if (cfg->address.size > 0)
        memcpy(s->own_address, cfg->address.data, cfg->address.size);
    s->cfg.address = span_of(s->own_address, cfg->address.size);
    rng_seed(&s->rng, cfg->seed);
    /* Answers to a former life must not fit this one's probes. */
    s->seq = (uint32_t)rng_next(&s->rng);
    s->effects = mem_alloc(SWIM_EFFECTS_MAX * sizeof *s->effects);
    s->probe.end_ms = s->now_ms + jitter(s);
    s->sync_ms = s->now_ms;
    s->heal_ms = s->now_ms + cfg->heal_ms + jitter(s);
    s->meta_ms = s->now_ms;
    plan_deadline(s);
}

void swim_free(struct swim *s)
{
    mem_free(s->members);
    mem_free(s->effects);
    buf_free(&s->out);
    *s = (struct swim){0};
}

/* ---- packets in -------------------------------------------------------- */

static struct swim_relay *free_relay(struct swim *s)
{
    for (size_t i = 0; i < SWIM_RELAYS_MAX; i++)
        if (!s->relays[i].is_used)
            return &s->relays[i];
    return NULL;
}

static void on_ping_req(struct swim *s, struct id128 from,
                        const struct swim_packet *packet)
{
    if (find(s, packet->target) == NULL) {
        s->stats.unknown++;
        return;
    }
    struct swim_relay *r = free_relay(s);
    if (r == NULL) {
        s->stats.relays_full++;
        return;
    }
    *r = (struct swim_relay){
        .target = packet->target,
        .asker = from,
        .seq = s->seq++,
        .asker_seq = packet->seq,
        .is_used = true,
        .nack_ms = s->now_ms + s->cfg.probe_timeout_ms / 2,
        .end_ms = s->now_ms + s->cfg.probe_interval_ms,
    };
    send(s, r->target, SWIM_PING, r->seq);
}

static size_t helper_index(const struct swim_probe *p, struct id128 id)
{
    size_t i = 0;
    while (i < p->helper_count && !id_equal(p->helpers[i], id))
        i++;
    return i;
}

static void on_ack(struct swim *s, struct id128 from, uint32_t seq)
{
    struct swim_probe *p = &s->probe;
    bool is_asked =
        id_equal(p->target, from) || helper_index(p, from) < p->helper_count;
    if (p->is_open && p->seq == seq && is_asked) {
        p->is_open = false;
        s->health -= s->health > 0;
        return;
    }
    for (size_t i = 0; i < SWIM_RELAYS_MAX; i++) {
        struct swim_relay *r = &s->relays[i];
        if (r->is_used && r->seq == seq && id_equal(r->target, from)) {
            r->is_used = false;
            send_about(s, r->asker, SWIM_ACK, r->asker_seq, find(s, from));
            return;
        }
    }
}

static void on_nack(struct swim *s, struct id128 from, uint32_t seq)
{
    struct swim_probe *p = &s->probe;
    size_t at = helper_index(p, from);
    if (!p->is_open || p->seq != seq || at == p->helper_count)
        return;
    /* Each counts once: those who have said no stand first. */
    if (at < p->nack_count)
        return;
    p->helpers[at] = p->helpers[p->nack_count];
    p->helpers[p->nack_count++] = from;
}

static void dispatch(struct swim *s, struct id128 from,
                     const struct swim_packet *packet, bool is_accused)
{
    switch (packet->kind) {
    case SWIM_PING:
        send(s, from, SWIM_ACK, packet->seq);
        return;
    case SWIM_SYNC:
        send_all(s, from, SWIM_STATE);
        return;
    case SWIM_PING_REQ:
        on_ping_req(s, from, packet);
        break;
    case SWIM_ACK:
        on_ack(s, from, packet->seq);
        break;
    case SWIM_NACK:
        on_nack(s, from, packet->seq);
        break;
    case SWIM_STATE:
        s->is_synced = true;
        break;
    }
    /* These get no answer that would carry the refutation. */
    if (is_accused)
        send(s, from, SWIM_PING, s->seq++);
}

enum err swim_recv(struct swim *s, struct id128 from, struct span bytes)
{
    begin_input(s);
    struct swim_packet packet;
    if (!swim_wire_decode(bytes, &packet)) {
        s->stats.refused++;
        return ERR_BAD_REQUEST;
    }
    const struct swim_member *m = find(s, from);
    if (m == NULL) {
        s->stats.strangers++;
        return ERR_NOT_FOUND;
    }
    if (RULE(T15) && packet.sender.boot < m->boot) {
        s->stats.stale++;
        return ERR_OK;
    }
    bool is_push_pull = packet.kind == SWIM_SYNC || packet.kind == SWIM_STATE;
    bool is_accused = false;
    packet.sender.id = from;
    hear_of_member(s, &packet.sender, is_push_pull);
    for (size_t i = 0; i < packet.claim_count; i++) {
        const struct swim_claim *claim = &packet.claims[i];
        if (is_own(s, claim->id))
            is_accused |= hear_of_self(s, claim);
        else
            hear_of_member(s, claim, is_push_pull);
    }
    dispatch(s, from, &packet, is_accused);
    plan_deadline(s);
    return ERR_OK;
}
