/* test_swim.c - SWIM's packets, and one machine among puppets in virtual
 * time. Whole clusters are in test_swim_net.c. */
#include "tests/unit/cmocka_wrap.h"

#include "ring/rule.h"
#include "ring/swim.h"
#include "ring/swim_wire.h"
#include "tests/unit/swim_record.h"

/* ---- one machine among puppets ----------------------------------------- */

/* The machine under test is node 0 of `count`; no jitter, so times are
 * exact; the first probe and sync are at 1000. */
static void one_init(struct swim *s, size_t count)
{
    struct swim_cfg cfg = swim_cfg_default();
    cfg.id = id_of(0);
    cfg.boot = 5;
    cfg.address = span_str("tcp://10.0.0.0:7400");
    cfg.seed = 7;
    cfg.now_ms = 1000;
    cfg.jitter_ms = 0;
    swim_init(s, &cfg);
    set_record(s, count);
}

/* What the effects of the last input were, in short. */
struct seen {
    size_t sent[SWIM_STATE + 1];
    struct swim_packet last[SWIM_STATE + 1];
    struct id128 last_to[SWIM_STATE + 1];
    size_t changes;
};

static struct seen drain(struct swim *s)
{
    struct seen seen = {0};
    struct swim_effect effect;
    while (swim_pop(s, &effect)) {
        if (effect.kind == SWIM_CHANGED) {
            seen.changes++;
            continue;
        }
        struct swim_packet packet;
        assert_true(effect.bytes.size <= SWIM_BYTES_MAX);
        assert_true(swim_wire_decode(effect.bytes, &packet));
        seen.sent[packet.kind]++;
        seen.last[packet.kind] = packet;
        seen.last_to[packet.kind] = effect.id;
    }
    swim_check(s);
    return seen;
}

static struct seen tick(struct swim *s, uint64_t now_ms)
{
    swim_tick(s, now_ms);
    return drain(s);
}

static size_t encode(const struct swim_packet *packet, uint8_t *bytes)
{
    struct enc e = enc_of(bytes, SWIM_BYTES_MAX);
    swim_wire_head(&e, packet);
    for (size_t i = 0; i < packet->claim_count; i++)
        swim_wire_claim(&e, &packet->claims[i]);
    assert_true(enc_fits(&e));
    return e.size;
}

static struct seen give(struct swim *s, size_t from,
                        const struct swim_packet *packet)
{
    uint8_t bytes[SWIM_BYTES_MAX];
    size_t size = encode(packet, bytes);
    assert_int_equal(swim_recv(s, id_of(from), span_of(bytes, size)), ERR_OK);
    return drain(s);
}

static struct swim_packet packet_of(enum swim_kind kind, uint32_t seq,
                                    uint64_t boot, uint32_t version)
{
    struct swim_packet p = {.kind = kind, .seq = seq};
    p.sender = (struct swim_claim){
        .boot = boot, .version = version, .state = SWIM_ALIVE};
    return p;
}

static struct seen hear(struct swim *s, size_t from, size_t about,
                        enum swim_state state, uint64_t boot, uint32_t version,
                        enum swim_kind kind)
{
    struct swim_packet p = packet_of(kind, 0, 1, 0);
    p.claim_count = 1;
    p.claims[0] = (struct swim_claim){.id = id_of(about),
                                      .boot = boot,
                                      .version = version,
                                      .state = state,
                                      .by = id_of(from)};
    return give(s, from, &p);
}

static enum swim_state state_of(const struct swim *s, size_t n)
{
    return swim_state(s, id_of(n));
}

/* ---- packets ----------------------------------------------------------- */

static void a_ping_has_these_bytes(void **state)
{
    (void)state;
    static const uint8_t golden[] = {
        0x01,                                        /* PING */
        0x44, 0x33, 0x22, 0x11,                      /* seq */
        0x05, 0,    0,    0,    0,   0,   0,   0,    /* boot */
        0x09, 0,    0,    0,                         /* version */
        0x05, 0,    'a',  ':',  '7', '4', '0',       /* address */
        0x02, 0,    0xfe, 0xff,                      /* meta */
        0x10, 0,    0,    0,    0,   0,   0,   0,    /* claim: id 1 */
        0,    0,    0,    0,    0,   0,   0,   1,    /* */
        0x06, 0,    0,    0,    0,   0,   0,   0,    /* boot */
        0x07, 0,    0,    0,                         /* version */
        0x02,                                        /* SUSPECT */
        0x10, 0,    0,    0,    0,   0,   0,   0,    /* by id 2 */
        0,    0,    0,    0,    0,   0,   0,   2,    /* */
        0x10, 0,    0,    0,    0,   0,   0,   0,    /* claim: id 3 */
        0,    0,    0,    0,    0,   0,   0,   3,    /* */
        0x01, 0,    0,    0,    0,   0,   0,   0x80, /* boot */
        0,    0,    0,    0,                         /* version */
        0x01, 0x01, 0,    'b',  0,   0,              /* ALIVE, "b", "" */
    };
    static const uint8_t meta[] = {0xfe, 0xff};
    struct swim_packet p = packet_of(SWIM_PING, 0x11223344, 5, 9);
    p.sender.address = span_str("a:740");
    p.sender.meta = span_of(meta, sizeof meta);
    p.claim_count = 2;
    p.claims[0] = (struct swim_claim){.id = id_of(1),
                                      .boot = 6,
                                      .version = 7,
                                      .state = SWIM_SUSPECT,
                                      .by = id_of(2)};
    p.claims[1] = (struct swim_claim){.id = id_of(3),
                                      .boot = 0x8000000000000001u,
                                      .state = SWIM_ALIVE,
                                      .address = span_str("b")};
    uint8_t bytes[SWIM_BYTES_MAX];
    size_t size = encode(&p, bytes);
    assert_int_equal(size, sizeof golden);
    assert_memory_equal(bytes, golden, sizeof golden);
    struct swim_packet back;
    assert_true(swim_wire_decode(span_of(golden, sizeof golden), &back));
    assert_int_equal(back.claim_count, 2);
    assert_true(span_equal(back.sender.meta, p.sender.meta));
    assert_int_equal(back.claims[1].boot, p.claims[1].boot);
    assert_true(id_equal(back.claims[0].by, id_of(2)));
}

static void a_cut_packet_is_refused_or_ends_at_a_claim(void **state)
{
    (void)state;
    struct swim_packet p = packet_of(SWIM_PING_REQ, 1, 1, 0);
    p.target = id_of(2);
    p.claim_count = 2;
    for (size_t i = 0; i < 2; i++)
        p.claims[i] = (struct swim_claim){
            .id = id_of(i + 3), .state = SWIM_DEAD, .by = id_of(1)};
    uint8_t bytes[SWIM_BYTES_MAX];
    size_t size = encode(&p, bytes);
    size_t claim = swim_wire_claim_size(&p.claims[0]);
    struct swim_packet back;
    for (size_t cut = 0; cut < size; cut++) {
        bool is_whole = cut == size - claim || cut == size - 2 * claim;
        assert_int_equal(swim_wire_decode(span_of(bytes, cut), &back),
                         is_whole);
    }
}

static void is_refused(size_t at, uint8_t value)
{
    struct swim_packet p = packet_of(SWIM_ACK, 1, 1, 0);
    p.sender.address = span_str("ab");
    p.claim_count = 1;
    p.claims[0] =
        (struct swim_claim){.id = id_of(1), .boot = 1, .state = SWIM_ALIVE};
    uint8_t bytes[SWIM_BYTES_MAX];
    struct swim_packet back;
    size_t size = encode(&p, bytes);
    assert_true(swim_wire_decode(span_of(bytes, size), &back));
    bytes[at] = value;
    assert_false(swim_wire_decode(span_of(bytes, size), &back));
}

static void senseless_fields_are_refused(void **state)
{
    (void)state;
    is_refused(0, 0);              /* no such kind */
    is_refused(0, SWIM_STATE + 1); /* no such kind */
    is_refused(5, 0);              /* the sender's boot is 0 */
    is_refused(19, ' ');           /* a blank in an address */
    is_refused(20, 0x7f);          /* a control character */
    is_refused(39, 0);             /* alive in boot 0 */
    is_refused(51, SWIM_UNSEEN);   /* no claim */
    is_refused(51, SWIM_DEAD + 1); /* no such state */
    is_refused(52, 1);             /* an address past the end */
    is_refused(54, 1);             /* meta past the end */
    uint8_t bytes[SWIM_BYTES_MAX + 1] = {SWIM_PING};
    struct swim_packet back;
    assert_false(swim_wire_decode(span_of(bytes, sizeof bytes), &back));
}

static void garbage_is_refused_and_counted_or_encodes_back(void **state)
{
    (void)state;
    struct swim s;
    one_init(&s, 5);
    struct rng rng;
    rng_seed(&rng, 1);
    uint8_t good[SWIM_BYTES_MAX];
    struct swim_packet p = packet_of(SWIM_PING, 1, 1, 0);
    p.claim_count = 3;
    for (size_t i = 0; i < 3; i++)
        p.claims[i] = (struct swim_claim){.id = id_of(i),
                                          .boot = 1,
                                          .state = SWIM_ALIVE,
                                          .address = span_str("x:1")};
    size_t size = encode(&p, good);
    uint64_t refused = 0;
    for (size_t round = 0; round < 20000; round++) {
        uint8_t bytes[SWIM_BYTES_MAX];
        memcpy(bytes, good, size);
        for (size_t flips = 0; flips <= round % 4; flips++)
            bytes[rng_below(&rng, size)] ^= (uint8_t)(1 + rng_below(&rng, 255));
        struct swim_packet back;
        bool is_packet = swim_wire_decode(span_of(bytes, size), &back);
        if (is_packet) {
            uint8_t again[SWIM_BYTES_MAX];
            assert_int_equal(encode(&back, again), size);
            assert_memory_equal(again, bytes, size);
        }
        refused += !is_packet;
        assert_int_equal(swim_recv(&s, id_of(1), span_of(bytes, size)),
                         is_packet ? ERR_OK : ERR_BAD_REQUEST);
        (void)drain(&s);
    }
    assert_true(refused > 1000);
    assert_int_equal(s.stats.refused, refused);
    swim_free(&s);
}

static void full_states_of_the_largest_cluster_are_split(void **state)
{
    (void)state;
    static const uint8_t meta[SWIM_META_BYTES_MAX];
    char address[ADDRESS_MAX];
    memset(address, 'a', sizeof address);
    struct swim s;
    one_init(&s, MEMBERS_MAX);
    for (size_t i = 1; i < MEMBERS_MAX; i++) {
        struct swim_packet p = packet_of(SWIM_ACK, 0, 1, 0);
        p.sender.address = span_of(address, sizeof address);
        p.sender.meta = span_of(meta, sizeof meta);
        (void)give(&s, i, &p);
    }
    struct swim_packet p = packet_of(SWIM_SYNC, 0, 1, 0);
    uint8_t bytes[SWIM_BYTES_MAX];
    size_t size = encode(&p, bytes);
    assert_int_equal(swim_recv(&s, id_of(1), span_of(bytes, size)), ERR_OK);
    bool is_told[MEMBERS_MAX] = {false};
    size_t told = 0;
    struct swim_effect effect;
    while (swim_pop(&s, &effect)) {
        struct swim_packet part;
        assert_true(effect.bytes.size <= SWIM_BYTES_MAX);
        assert_true(swim_wire_decode(effect.bytes, &part));
        assert_int_equal(part.kind, SWIM_STATE);
        for (size_t i = 0; i < part.claim_count; i++) {
            size_t n = node_of(part.claims[i].id);
            assert_false(is_told[n]);
            is_told[n] = true;
            told++;
        }
    }
    assert_int_equal(told, MEMBERS_MAX - 1);
    swim_free(&s);
}

/* ---- claims ------------------------------------------------------------ */

static void strangers_are_ignored_and_counted(void **state)
{
    (void)state;
    struct swim s;
    one_init(&s, 3);
    struct swim_packet p = packet_of(SWIM_PING, 1, 1, 0);
    uint8_t bytes[SWIM_BYTES_MAX];
    size_t size = encode(&p, bytes);
    assert_int_equal(swim_recv(&s, id_of(9), span_of(bytes, size)),
                     ERR_NOT_FOUND);
    assert_int_equal(drain(&s).sent[SWIM_ACK], 0);
    assert_int_equal(s.stats.strangers, 1);
    (void)hear(&s, 1, 9, SWIM_ALIVE, 1, 0, SWIM_ACK);
    assert_int_equal(s.stats.unknown, 1);
    assert_int_equal(state_of(&s, 9), SWIM_UNSEEN);
    swim_free(&s);
}

static void alive_of_the_same_incarnation_does_not_resurrect(void **state)
{
    (void)state;
    struct swim s;
    one_init(&s, 4);
    (void)hear(&s, 1, 2, SWIM_ALIVE, 3, 7, SWIM_ACK);
    assert_int_equal(state_of(&s, 2), SWIM_ALIVE);
    assert_int_equal(hear(&s, 1, 2, SWIM_DEAD, 3, 7, SWIM_ACK).changes, 1);
    assert_int_equal(state_of(&s, 2), SWIM_DEAD);
    assert_int_equal(hear(&s, 3, 2, SWIM_ALIVE, 3, 7, SWIM_ACK).changes, 1);
    assert_int_equal(state_of(&s, 2), SWIM_DEAD);
    /* Not even from itself; but it is told. */
    struct swim_packet p = packet_of(SWIM_PING, 1, 3, 7);
    struct seen seen = give(&s, 2, &p);
    assert_int_equal(state_of(&s, 2), SWIM_DEAD);
    assert_int_equal(seen.sent[SWIM_ACK], 1);
    assert_true(id_equal(seen.last[SWIM_ACK].claims[0].id, id_of(2)));
    assert_int_equal(seen.last[SWIM_ACK].claims[0].state, SWIM_DEAD);
    (void)hear(&s, 1, 2, SWIM_ALIVE, 3, 8, SWIM_ACK);
    assert_int_equal(state_of(&s, 2), SWIM_ALIVE);
    swim_free(&s);
}

static void a_higher_boot_overrules_any_version(void **state)
{
    (void)state;
    struct swim s;
    one_init(&s, 4);
    (void)hear(&s, 1, 2, SWIM_DEAD, 3, 900, SWIM_ACK);
    (void)hear(&s, 1, 2, SWIM_ALIVE, 4, 0, SWIM_ACK);
    assert_int_equal(state_of(&s, 2), SWIM_ALIVE);
    assert_int_equal(swim_boot(&s, id_of(2)), 4);
    (void)hear(&s, 1, 2, SWIM_DEAD, 3, 901, SWIM_ACK);
    assert_int_equal(state_of(&s, 2), SWIM_ALIVE);
    swim_free(&s);
}

static void dead_by_push_pull_becomes_suspect(void **state)
{
    (void)state;
    struct swim s;
    one_init(&s, 5);
    (void)hear(&s, 1, 2, SWIM_ALIVE, 3, 7, SWIM_STATE);
    (void)hear(&s, 1, 2, SWIM_DEAD, 3, 7, SWIM_STATE);
    assert_int_equal(state_of(&s, 2), SWIM_SUSPECT);
    (void)hear(&s, 1, 2, SWIM_ALIVE, 3, 8, SWIM_STATE);
    assert_int_equal(state_of(&s, 2), SWIM_ALIVE);
    /* One never seen too; but who is dead stays dead. */
    (void)hear(&s, 1, 3, SWIM_DEAD, 3, 7, SWIM_STATE);
    assert_int_equal(state_of(&s, 3), SWIM_SUSPECT);
    (void)hear(&s, 1, 4, SWIM_DEAD, 3, 7, SWIM_ACK);
    (void)hear(&s, 1, 4, SWIM_DEAD, 3, 8, SWIM_STATE);
    assert_int_equal(state_of(&s, 4), SWIM_DEAD);
    swim_free(&s);
}

static void an_accusation_is_refuted_by_the_next_version(void **state)
{
    (void)state;
    struct swim s;
    one_init(&s, 3);
    struct seen seen = hear(&s, 1, 0, SWIM_SUSPECT, 5, 0, SWIM_PING);
    assert_int_equal(seen.last[SWIM_ACK].sender.version, 1);
    seen = hear(&s, 1, 0, SWIM_DEAD, 5, 4, SWIM_PING);
    assert_int_equal(seen.last[SWIM_ACK].sender.version, 5);
    /* What gets no answer is refuted by a ping. */
    seen = hear(&s, 1, 0, SWIM_SUSPECT, 5, 5, SWIM_ACK);
    assert_int_equal(seen.last[SWIM_PING].sender.version, 6);
    assert_true(id_equal(seen.last_to[SWIM_PING], id_of(1)));
    assert_int_equal(s.stats.refutations, 3);
    swim_free(&s);
}

static void old_and_impossible_accusations_are_not_refuted(void **state)
{
    (void)state;
    struct swim s;
    one_init(&s, 3);
    (void)hear(&s, 1, 0, SWIM_SUSPECT, 5, 0, SWIM_PING);
    (void)hear(&s, 1, 0, SWIM_SUSPECT, 5, 0, SWIM_PING);
    (void)hear(&s, 1, 0, SWIM_DEAD, 4, 77, SWIM_PING);
    (void)hear(&s, 1, 0, SWIM_ALIVE, 5, 1, SWIM_PING);
    assert_int_equal(s.version, 1);
    assert_int_equal(s.stats.impostors, 0);
    (void)hear(&s, 1, 0, SWIM_DEAD, 6, 0, SWIM_PING);
    (void)hear(&s, 1, 0, SWIM_DEAD, 5, UINT32_MAX, SWIM_PING);
    assert_int_equal(s.version, 1);
    assert_int_equal(s.stats.impostors, 2);
    swim_free(&s);
}

static void a_packet_of_a_former_life_is_dropped(void **state)
{
    (void)state;
    struct swim s;
    one_init(&s, 3);
    struct swim_packet p = packet_of(SWIM_PING, 1, 8, 0);
    assert_int_equal(give(&s, 1, &p).sent[SWIM_ACK], 1);
    p = packet_of(SWIM_PING, 1, 7, 3);
    assert_int_equal(give(&s, 1, &p).sent[SWIM_ACK], 0);
    assert_int_equal(s.stats.stale, 1);
#ifdef EDDY_RULES
    assert_true(rule_turn_off("T15"));
    assert_int_equal(give(&s, 1, &p).sent[SWIM_ACK], 1);
    rule_turn_all_on();
#endif
    swim_free(&s);
}

static void gossip_overrules_the_record_s_address(void **state)
{
    (void)state;
    struct swim s;
    one_init(&s, 3);
    assert_string_equal(swim_address(&s, id_of(1)), "tcp://10.0.0.1:7400");
    struct swim_packet p = packet_of(SWIM_PING, 1, 1, 0);
    p.sender.address = span_str("tcp://new:1");
    assert_int_equal(give(&s, 1, &p).changes, 1);
    assert_string_equal(swim_address(&s, id_of(1)), "tcp://new:1");
    set_record(&s, 3);
    assert_string_equal(swim_address(&s, id_of(1)), "tcp://new:1");
    /* Another address for a live incarnation: reported, not believed. */
    p.sender.address = span_str("tcp://other:1");
    assert_int_equal(give(&s, 1, &p).changes, 0);
    assert_string_equal(swim_address(&s, id_of(1)), "tcp://new:1");
    assert_int_equal(s.stats.conflicts, 1);
    p.sender.version = 1;
    assert_int_equal(give(&s, 1, &p).changes, 1);
    assert_string_equal(swim_address(&s, id_of(1)), "tcp://other:1");
    swim_free(&s);
}

static void who_left_the_record_is_remembered_then_reaped(void **state)
{
    (void)state;
    struct swim s;
    one_init(&s, 3);
    (void)hear(&s, 1, 2, SWIM_DEAD, 3, 7, SWIM_ACK);
    set_record(&s, 2);
    set_record(&s, 3);
    assert_int_equal(state_of(&s, 2), SWIM_DEAD);
    assert_int_equal(swim_boot(&s, id_of(2)), 3);
    set_record(&s, 2);
    (void)tick(&s, 1000 + TOMBSTONE_MS - 1);
    assert_int_equal(s.tombstone_count, 1);
    (void)tick(&s, 1000 + TOMBSTONE_MS);
    assert_int_equal(s.tombstone_count, 0);
    swim_free(&s);
}

static void tombstones_are_bounded_and_the_oldest_goes(void **state)
{
    (void)state;
    struct swim s;
    one_init(&s, MEMBERS_MAX);
    struct swim_packet p = packet_of(SWIM_ACK, 0, 1, 0);
    for (size_t i = 1; i < MEMBERS_MAX; i++)
        (void)give(&s, i, &p);
    struct swim_seed seeds[10];
    for (size_t i = 0; i < 10; i++)
        seeds[i] = (struct swim_seed){id_of(300 + i), span_str("x:1")};
    swim_set_members(&s, seeds, 10);
    assert_int_equal(s.tombstone_count, MEMBERS_MAX - 1);
    for (size_t i = 0; i < 10; i++)
        (void)give(&s, 300 + i, &p);
    set_record(&s, 1);
    assert_int_equal(s.tombstone_count, MEMBERS_MAX);
    assert_int_equal(node_of(s.tombstones[0].id), 10);
    assert_int_equal(node_of(s.tombstones[MEMBERS_MAX - 1].id), 309);
    swim_free(&s);
}

static void a_day_of_churn_keeps_the_tables_bounded(void **state)
{
    (void)state;
    struct swim s;
    one_init(&s, 2);
    for (size_t minute = 1; minute <= 24 * 60; minute++) {
        struct swim_seed seeds[20];
        for (size_t i = 0; i < 20; i++)
            seeds[i] =
                (struct swim_seed){id_of(1 + minute * 7 + i), span_str("x:1")};
        swim_set_members(&s, seeds, 20);
        for (size_t i = 0; i < 20; i++) {
            struct swim_packet p = packet_of(SWIM_ACK, 0, 1, 0);
            (void)give(&s, 1 + minute * 7 + i, &p);
        }
        (void)tick(&s, 1000 + minute * 60000);
        assert_int_equal(s.member_count, 20);
        assert_true(s.tombstone_count <= 7 * 5);
    }
    swim_free(&s);
}

/* ---- time -------------------------------------------------------------- */

static void a_probe_fails_after_helpers_failed_too(void **state)
{
    (void)state;
    struct swim s;
    one_init(&s, 3);
    (void)hear(&s, 1, 1, SWIM_ALIVE, 1, 0, SWIM_STATE);
    (void)hear(&s, 2, 2, SWIM_ALIVE, 1, 0, SWIM_STATE);
    struct seen seen = tick(&s, 1000);
    assert_int_equal(seen.sent[SWIM_PING], 1);
    assert_int_equal(seen.sent[SWIM_SYNC], 1);
    size_t target = node_of(seen.last_to[SWIM_PING]);
    size_t helper = 3 - target;
    assert_int_equal(tick(&s, 1499).sent[SWIM_PING_REQ], 0);
    seen = tick(&s, 1500);
    assert_int_equal(seen.sent[SWIM_PING_REQ], 1);
    assert_int_equal(node_of(seen.last_to[SWIM_PING_REQ]), helper);
    assert_true(id_equal(seen.last[SWIM_PING_REQ].target, id_of(target)));
    (void)tick(&s, 1999);
    assert_int_equal(state_of(&s, target), SWIM_ALIVE);
    (void)tick(&s, 2000);
    assert_int_equal(state_of(&s, target), SWIM_SUSPECT);
    /* The helper did not even say no. */
    assert_int_equal(s.health, 1);
    swim_free(&s);
}

static void who_may_be_slow_gives_its_own_suspects_longer(void **state)
{
    (void)state;
    struct swim s;
    one_init(&s, 3);
    (void)hear(&s, 1, 1, SWIM_ALIVE, 1, 0, SWIM_STATE);
    (void)hear(&s, 2, 2, SWIM_ALIVE, 1, 0, SWIM_STATE);
    size_t target = node_of(tick(&s, 1000).last_to[SWIM_PING]);
    (void)tick(&s, 1500);
    (void)tick(&s, 2000);
    assert_int_equal(s.health, 1);
    assert_int_equal(swim_member(&s, id_of(target))->deadline_ms,
                     2000 + 2 * SUSPICION_MS);
    /* What another has found is not in doubt for that. */
    size_t other = 3 - target;
    (void)hear(&s, target, other, SWIM_SUSPECT, 1, 0, SWIM_ACK);
    assert_int_equal(swim_member(&s, id_of(other))->deadline_ms,
                     2000 + SUSPICION_MS);
    swim_free(&s);
}

static void a_helper_s_no_keeps_our_health(void **state)
{
    (void)state;
    struct swim s;
    one_init(&s, 3);
    (void)hear(&s, 1, 1, SWIM_ALIVE, 1, 0, SWIM_STATE);
    (void)hear(&s, 2, 2, SWIM_ALIVE, 1, 0, SWIM_STATE);
    struct seen seen = tick(&s, 1000);
    uint32_t seq = seen.last[SWIM_PING].seq;
    size_t target = node_of(seen.last_to[SWIM_PING]);
    (void)tick(&s, 1500);
    struct swim_packet nack = packet_of(SWIM_NACK, seq, 1, 0);
    (void)give(&s, 3 - target, &nack);
    (void)give(&s, 3 - target, &nack);
    (void)tick(&s, 2000);
    assert_int_equal(state_of(&s, target), SWIM_SUSPECT);
    assert_int_equal(s.health, 0);
    swim_free(&s);
}

static void only_an_asked_one_s_ack_ends_a_probe(void **state)
{
    (void)state;
    struct swim s;
    one_init(&s, 4);
    struct seen seen = tick(&s, 1000);
    size_t target = node_of(seen.last_to[SWIM_PING]);
    uint32_t seq = seen.last[SWIM_PING].seq;
    struct swim_packet p = packet_of(SWIM_ACK, seq, 1, 0);
    (void)give(&s, target % 3 + 1, &p); /* not asked */
    assert_true(s.probe.is_open);
    p.seq = seq + 1;
    (void)give(&s, target, &p); /* of another probe */
    assert_true(s.probe.is_open);
    p.seq = seq;
    (void)give(&s, target, &p);
    assert_false(s.probe.is_open);
    swim_free(&s);
}

static void a_helper_pings_and_relays_or_says_no(void **state)
{
    (void)state;
    struct swim s;
    one_init(&s, 3);
    (void)tick(&s, 1000);
    /* What it says of itself is no news when the time comes. */
    (void)hear(&s, 2, 2, SWIM_ALIVE, 4, 2, SWIM_NACK);
    struct swim_packet ping = packet_of(SWIM_PING, 1, 1, 0);
    for (size_t i = 0; i < 20; i++)
        (void)give(&s, 1, &ping);
    struct swim_packet req = packet_of(SWIM_PING_REQ, 77, 1, 0);
    req.target = id_of(2);
    struct seen seen = give(&s, 1, &req);
    assert_true(id_equal(seen.last_to[SWIM_PING], id_of(2)));
    uint32_t seq = seen.last[SWIM_PING].seq;
    assert_int_equal(tick(&s, 1249).sent[SWIM_NACK], 0);
    seen = tick(&s, 1250);
    assert_int_equal(seen.sent[SWIM_NACK], 1);
    assert_int_equal(seen.last[SWIM_NACK].seq, 77);
    /* A late answer is passed on still, with what it says of itself. */
    struct swim_packet ack = packet_of(SWIM_ACK, seq, 4, 2);
    seen = give(&s, 2, &ack);
    assert_true(id_equal(seen.last_to[SWIM_ACK], id_of(1)));
    assert_int_equal(seen.last[SWIM_ACK].seq, 77);
    assert_true(id_equal(seen.last[SWIM_ACK].claims[0].id, id_of(2)));
    assert_int_equal(seen.last[SWIM_ACK].claims[0].boot, 4);
    assert_int_equal(give(&s, 2, &ack).sent[SWIM_ACK], 0);
    swim_free(&s);
}

static void a_suspect_is_dead_after_the_timeout(void **state)
{
    (void)state;
    struct swim s;
    one_init(&s, 3);
    (void)tick(&s, 1000);
    (void)hear(&s, 1, 2, SWIM_SUSPECT, 1, 0, SWIM_ACK);
    while (swim_deadline(&s) < 1000 + SUSPICION_MS)
        (void)tick(&s, swim_deadline(&s));
    assert_int_equal(swim_deadline(&s), 1000 + SUSPICION_MS);
    assert_int_equal(state_of(&s, 2), SWIM_SUSPECT);
    (void)tick(&s, 1000 + SUSPICION_MS);
    assert_int_equal(state_of(&s, 2), SWIM_DEAD);
    assert_int_equal(swim_since_ms(&s, id_of(2)), 1000 + SUSPICION_MS);
    swim_free(&s);
}

static void one_never_seen_dies_like_any_other(void **state)
{
    (void)state;
    struct swim s;
    one_init(&s, 2);
    while (swim_deadline(&s) < 2000 + SUSPICION_MS) {
        assert_int_not_equal(state_of(&s, 1), SWIM_DEAD);
        (void)tick(&s, swim_deadline(&s));
    }
    (void)tick(&s, 2000 + SUSPICION_MS);
    assert_int_equal(state_of(&s, 1), SWIM_DEAD);
    assert_int_equal(s.health, 0);
    swim_free(&s);
}

static void who_slept_judges_nobody_for_it(void **state)
{
    (void)state;
    struct swim s;
    one_init(&s, 3);
    (void)hear(&s, 1, 1, SWIM_ALIVE, 1, 0, SWIM_STATE);
    (void)tick(&s, 1000);
    (void)hear(&s, 1, 2, SWIM_SUSPECT, 1, 0, SWIM_ACK);
    (void)tick(&s, 61000);
    assert_int_equal(s.stats.sleeps, 1);
    assert_int_equal(state_of(&s, 1), SWIM_ALIVE);
    assert_int_equal(state_of(&s, 2), SWIM_SUSPECT);
    swim_free(&s);
}

static void who_slept_listens_for_a_timeout_before_it_judges(void **state)
{
    (void)state;
    struct swim s;
    one_init(&s, 3);
    (void)tick(&s, 1000);
    (void)hear(&s, 1, 2, SWIM_SUSPECT, 1, 0, SWIM_ACK);
    while (swim_deadline(&s) < 1000 + SUSPICION_MS)
        (void)tick(&s, swim_deadline(&s));
    uint64_t late_ms = 1000 + SUSPICION_MS + PROBE_TIMEOUT_MS + 1;
    (void)tick(&s, late_ms);
    (void)tick(&s, late_ms + PROBE_TIMEOUT_MS - 1);
    assert_int_equal(state_of(&s, 2), SWIM_SUSPECT);
    (void)tick(&s, late_ms + PROBE_TIMEOUT_MS);
    assert_int_equal(state_of(&s, 2), SWIM_DEAD);
    swim_free(&s);
}

static void the_dead_are_not_probed(void **state)
{
    (void)state;
    struct swim s;
    one_init(&s, 3);
    (void)hear(&s, 1, 2, SWIM_DEAD, 1, 0, SWIM_ACK);
    for (size_t round = 1; round < 10; round++) {
        struct seen seen = tick(&s, 1000 * round);
        assert_int_equal(node_of(seen.last_to[SWIM_PING]), 1);
        struct swim_packet p =
            packet_of(SWIM_ACK, seen.last[SWIM_PING].seq, 1, 0);
        (void)give(&s, 1, &p);
    }
    swim_free(&s);
}

static void help_is_bounded(void **state)
{
    (void)state;
    struct swim s;
    one_init(&s, 3);
    (void)tick(&s, 1000);
    struct swim_packet req = packet_of(SWIM_PING_REQ, 77, 1, 0);
    req.target = id_of(2);
    for (size_t i = 0; i < SWIM_RELAYS_MAX; i++)
        assert_int_equal(give(&s, 1, &req).sent[SWIM_PING], 1);
    assert_int_equal(give(&s, 1, &req).sent[SWIM_PING], 0);
    assert_int_equal(s.stats.relays_full, 1);
    (void)tick(&s, 1999);
    assert_int_equal(give(&s, 1, &req).sent[SWIM_PING], 0);
    (void)tick(&s, 2000);
    assert_int_equal(give(&s, 1, &req).sent[SWIM_PING], 1);
    swim_free(&s);
}

static uint64_t push_pull_ms(size_t count)
{
    struct swim s;
    one_init(&s, count);
    struct swim_packet p = packet_of(SWIM_STATE, 0, 1, 0);
    (void)give(&s, 1, &p);
    (void)tick(&s, 1000);
    uint64_t wait_ms = s.sync_ms - 1000;
    swim_free(&s);
    return wait_ms;
}

static void times_grow_with_the_cluster_as_in_memberlist(void **state)
{
    (void)state;
    assert_int_equal(push_pull_ms(32), PUSH_PULL_MS);
    assert_int_equal(push_pull_ms(33), 2 * PUSH_PULL_MS);
    assert_int_equal(push_pull_ms(64), 2 * PUSH_PULL_MS);
    assert_int_equal(push_pull_ms(65), 3 * PUSH_PULL_MS);
    assert_int_equal(push_pull_ms(256), 4 * PUSH_PULL_MS);
    struct swim_cfg cfg = swim_cfg_default();
    assert_int_equal(swim_detection_ms_max(&cfg, 3), 4 * 1100 + 4000);
    assert_int_equal(swim_detection_ms_max(&cfg, 10), 18 * 1100 + 4000);
    assert_int_equal(swim_detection_ms_max(&cfg, 11), 20 * 1100 + 4820);
    assert_int_equal(swim_detection_ms_max(&cfg, 100), 198 * 1100 + 8000);
}

static void meta_leaves_at_once_and_then_at_intervals(void **state)
{
    (void)state;
    struct swim s;
    one_init(&s, 3);
    struct swim_packet ping = packet_of(SWIM_PING, 1, 1, 0);
    swim_set_meta(&s, span_str("one"));
    (void)tick(&s, 1000);
    swim_set_meta(&s, span_str("two"));
    swim_set_meta(&s, span_str("three"));
    while (swim_deadline(&s) < 1000 + META_INTERVAL_MS)
        (void)tick(&s, swim_deadline(&s));
    struct seen seen = give(&s, 1, &ping);
    assert_true(span_equal(seen.last[SWIM_ACK].sender.meta, span_str("one")));
    assert_int_equal(seen.last[SWIM_ACK].sender.version, 1);
    assert_int_equal(swim_deadline(&s), 1000 + META_INTERVAL_MS);
    (void)tick(&s, swim_deadline(&s));
    seen = give(&s, 1, &ping);
    assert_int_equal(seen.last[SWIM_ACK].sender.version, 2);
    swim_free(&s);
}

static void a_news_is_sent_a_bounded_number_of_times(void **state)
{
    (void)state;
    struct swim s;
    one_init(&s, 7);
    (void)hear(&s, 1, 2, SWIM_DEAD, 1, 0, SWIM_NACK);
    struct swim_packet ping = packet_of(SWIM_PING, 1, 1, 0);
    size_t told = 0;
    for (size_t i = 0; i < 100; i++) {
        struct seen seen = give(&s, 3, &ping);
        for (size_t c = 0; c < seen.last[SWIM_ACK].claim_count; c++)
            told += node_of(seen.last[SWIM_ACK].claims[c].id) == 2;
    }
    assert_int_equal(told, SWIM_LAMBDA * 3); /* log2 of 7, rounded up */
    swim_free(&s);
}

static void the_newest_news_goes_first(void **state)
{
    (void)state;
    struct swim s;
    one_init(&s, 100);
    for (size_t i = 2; i < 100; i++)
        (void)hear(&s, 1, i, SWIM_SUSPECT, 1, 0, SWIM_NACK);
    struct swim_packet ping = packet_of(SWIM_PING, 1, 1, 0);
    struct seen seen = give(&s, 1, &ping);
    assert_int_equal(node_of(seen.last[SWIM_ACK].claims[0].id), 99);
    assert_int_equal(node_of(seen.last[SWIM_ACK].claims[1].id), 98);
    assert_true(seen.last[SWIM_ACK].claim_count > 20);
    swim_free(&s);
}

static void probes_of_one_are_at_most_2n_minus_3_apart(void **state)
{
    (void)state;
    struct swim s;
    one_init(&s, 6);
    size_t last[6] = {0};
    size_t greatest = 0;
    for (size_t round = 1; round < 2000; round++) {
        struct seen seen = tick(&s, 1000 * round);
        size_t target = node_of(seen.last_to[SWIM_PING]);
        if (round - last[target] > greatest && last[target] > 0)
            greatest = round - last[target];
        last[target] = round;
        struct swim_packet p =
            packet_of(SWIM_ACK, seen.last[SWIM_PING].seq, 1, 0);
        (void)give(&s, target, &p);
        set_record(&s, 6); /* the same record disturbs nothing */
    }
    assert_int_equal(greatest, 2 * 6 - 3);
    swim_free(&s);
}

static void a_dump_names_every_member(void **state)
{
    (void)state;
    struct swim s;
    one_init(&s, 3);
    (void)hear(&s, 1, 2, SWIM_DEAD, 3, 7, SWIM_ACK);
    struct buf text = {0};
    swim_dump(&s, &text);
    buf_append(&text, "", 1);
    assert_non_null(strstr((char *)text.data, "n=3 boot=5"));
    assert_non_null(strstr((char *)text.data, "dead    3.7"));
    assert_non_null(strstr((char *)text.data, "alive   1.0"));
    buf_free(&text);
    swim_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test(name)
        T(a_ping_has_these_bytes),
        T(a_cut_packet_is_refused_or_ends_at_a_claim),
        T(senseless_fields_are_refused),
        T(garbage_is_refused_and_counted_or_encodes_back),
        T(full_states_of_the_largest_cluster_are_split),
        T(strangers_are_ignored_and_counted),
        T(alive_of_the_same_incarnation_does_not_resurrect),
        T(a_higher_boot_overrules_any_version),
        T(dead_by_push_pull_becomes_suspect),
        T(an_accusation_is_refuted_by_the_next_version),
        T(old_and_impossible_accusations_are_not_refuted),
        T(a_packet_of_a_former_life_is_dropped),
        T(gossip_overrules_the_record_s_address),
        T(who_left_the_record_is_remembered_then_reaped),
        T(tombstones_are_bounded_and_the_oldest_goes),
        T(a_day_of_churn_keeps_the_tables_bounded),
        T(a_probe_fails_after_helpers_failed_too),
        T(who_may_be_slow_gives_its_own_suspects_longer),
        T(a_helper_s_no_keeps_our_health),
        T(only_an_asked_one_s_ack_ends_a_probe),
        T(a_helper_pings_and_relays_or_says_no),
        T(a_suspect_is_dead_after_the_timeout),
        T(one_never_seen_dies_like_any_other),
        T(who_slept_judges_nobody_for_it),
        T(who_slept_listens_for_a_timeout_before_it_judges),
        T(the_dead_are_not_probed),
        T(help_is_bounded),
        T(times_grow_with_the_cluster_as_in_memberlist),
        T(meta_leaves_at_once_and_then_at_intervals),
        T(a_news_is_sent_a_bounded_number_of_times),
        T(the_newest_news_goes_first),
        T(probes_of_one_are_at_most_2n_minus_3_apart),
        T(a_dump_names_every_member),
#undef T
    };
    return cmocka_run_group_tests_name("swim", tests, NULL, NULL) != 0;
}
