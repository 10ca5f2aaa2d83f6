/* recovery.c - see recovery.h. */
#include "tests/sim/recovery.h"

#include "tests/sim/host.h"
#include "tests/sim/mesh.h"
#include "tests/sim/watch.h"

#define ROUND_US  250000u
#define ROUNDS    240u /* gossip takes a while to find the lost ones dead */
#define RETURN_US 20000000u

struct recovery {
    struct world *w;
    uint32_t lost;           /* hosts, by bits */
    uint64_t requests;       /* sent */
    const struct host *ring; /* who founds group 0: nobody grants it, and two
                                would be two histories (T12) */
    uint32_t resting;        /* hosts that come back last */
    uint32_t crashed;        /* hosts that come back after this round */
};

/* ---- who is there ------------------------------------------------------ */

/* No word from a user arrives any more, nor to one. */
static void cut_users_off(struct world *w)
{
    for (uint32_t u = 0; u < USERS_MAX; u++) {
        if (u == MESH_OPERATOR)
            continue;
        for (uint32_t i = 0; i < w->host_count; i++) {
            mesh_line(w, mesh_user(u), mesh_host(i))->cuts++;
            mesh_line(w, mesh_host(i), mesh_user(u))->cuts++;
        }
    }
}

static void lose_some(struct recovery *r)
{
    struct world *w = r->w;
    for (uint32_t i = 0; i < w->host_count; i++) {
        struct host *h = w->hosts[i];
        if (h->node == NULL || !rng_chance(&w->rng, 650))
            continue;
        r->lost |= 1u << i;
        world_fault(w, "n%u is taken for LOST", i + 1);
        host_crash(h);
    }
}

static const struct raft *replica(const struct host *h, uint32_t group)
{
    return h->node == NULL || h->is_ghost ? NULL : node_raft(h->node, group);
}

/* Replicas of its present life, as the hosts that are up know it; the most
 * advanced log of them; NULL: there is none. */
static struct host *survivor(const struct recovery *r, uint32_t group,
                             bool *has_leader, bool *has_quorum)
{
    struct world *w = r->w;
    struct host *best = NULL;
    const struct config *newest = NULL;
    *has_leader = *has_quorum = false;
    for (uint32_t i = 0; i < w->host_count; i++) {
        struct host *h = w->hosts[i];
        const struct raft *is = replica(h, group);
        if (is == NULL || raft_has_ended(is) || raft_last(is) == 0)
            continue;
        *has_leader = *has_leader || raft_is_ready(is);
        const struct config *c = raft_committed_config(is);
        if (newest == NULL || c->index > newest->index)
            newest = c;
        const struct raft *was = best == NULL ? NULL : replica(best, group);
        uint64_t term = raft_term_at(is, raft_last(is));
        uint64_t best_term =
            was == NULL ? 0 : raft_term_at(was, raft_last(was));
        if (was == NULL || term > best_term ||
            (term == best_term && raft_last(is) > raft_last(was)))
            best = h;
    }
    uint32_t up = 0;
    for (uint32_t k = 0; newest != NULL && k < newest->count; k++) {
        const struct host *h = host_of(w, newest->members[k].replica.node);
        const struct raft *is = replica(h, group);
        up += newest->members[k].is_voter && is != NULL && !raft_has_ended(is);
    }
    *has_quorum = newest != NULL && up > config_voters(newest) / 2;
    return best;
}

/* ---- the operator ------------------------------------------------------ */

static void send(struct recovery *r, const struct host *to,
                 const struct request *q)
{
    struct world *w = r->w;
    struct wire_out m = {0};
    struct wire_header h = {
        .kind = WIRE_REQUEST,
        .cluster = w->cluster,
        .to = to->id,
        .number = UINT64_MAX - ++r->requests, /* not one of operator.c's */
    };
    wire_begin(&m, &h);
    wire_request_write(&m, q);
    wire_end(&m);
    size_t size = m.bytes.size;
    uint8_t *data = mem_copy(m.bytes.data, size);
    wire_out_free(&m);
    mesh_send(w, EVENT_REQUEST, mesh_user(MESH_OPERATOR), mesh_host(to->index),
              0, mesh_connection(MESH_OPERATOR, 0, to->index), data, size);
}

static void recover_ring(struct recovery *r, const struct host *by)
{
    if (r->ring == NULL)
        r->ring = by;
    if (r->ring->node == NULL)
        return; /* it will be back */
    struct generation now = node_record(r->ring->node)->generation;
    struct request q = {
        .op = OP_RECOVER,
        .generation = {now.counter + 1, rng_next(&r->w->rng)},
    };
    send(r, r->ring, &q);
}

static const struct host *ring_leader(const struct world *w)
{
    for (uint32_t i = 0; i < w->host_count; i++) {
        const struct raft *r = replica(w->hosts[i], 0);
        if (r != NULL && raft_is_ready(r))
            return w->hosts[i];
    }
    return NULL;
}

static void recover_partition(struct recovery *r, uint32_t group,
                              const struct host *by, uint32_t counter)
{
    struct world *w = r->w;
    const struct host *to = ring_leader(w);
    if (to == NULL)
        return;
    const struct record *record = node_record(to->node);
    struct change c = {
        .kind = CHANGE_RECOVER,
        .slot = record_slot(record, by->id),
        .value = group,
        .generation = {counter, rng_next(&w->rng)},
    };
    if (c.slot == SLOT_NONE)
        return;
    struct buf changes = {0};
    wire_change_write(&changes, &c);
    struct request q = {
        .op = OP_CHANGE,
        .epoch = record->epoch,
        .change = {.act = ACT_NOW,
                   .is_forced = true,
                   .count = 1,
                   .changes = span_buf(&changes)},
    };
    uint64_t id[2] = {rng_next(&w->rng), rng_next(&w->rng) | 1};
    memcpy(&q.change.proposal, id, sizeof id);
    send(r, to, &q);
    buf_free(&changes);
}

/* As that host knows it. */
static uint32_t generation_of(const struct host *h, uint32_t group)
{
    return record_generation(node_record(h->node), group).counter;
}

/* True if some group waits for the operator still. */
static bool ask(struct recovery *r)
{
    bool is_waiting = false;
    for (uint32_t g = 0; g < r->w->plan.groups; g++) {
        bool has_leader, has_quorum;
        struct host *by = survivor(r, g, &has_leader, &has_quorum);
        if (by == NULL || has_leader || has_quorum)
            continue;
        is_waiting = true;
        if (g == 0) {
            recover_ring(r, by);
            return true; /* it comes first */
        }
        recover_partition(r, g, by, generation_of(by, g) + 1);
    }
    return is_waiting;
}

/* A second operator, who has looked before the first one's command was carried
 * out, has another survivor found the very generation that was granted. */
static void ask_again(struct recovery *r)
{
    struct world *w = r->w;
    const struct host *ring = ring_leader(w);
    for (uint32_t g = 1; ring != NULL && g < w->plan.groups; g++) {
        const struct host *by = w->hosts[world_draw(w, w->host_count - 1)];
        const struct raft *is = replica(by, g);
        const struct record *record = node_record(ring->node);
        uint16_t founder = record_founder(record, g);
        if (is == NULL || founder == SLOT_NONE ||
            id_equal(record->members[founder].node, by->id))
            continue;
        recover_partition(r, g, by, record_generation(record, g).counter);
    }
}

/* Founders die in the middle of it, and go on. */
static void crash_some(struct recovery *r)
{
    struct world *w = r->w;
    for (uint32_t i = 0; i < w->host_count; i++) {
        struct host *h = w->hosts[i];
        if (h->node == NULL && r->crashed >> i & 1)
            host_start(h);
        else if (h->node != NULL && host_is_up(h) && rng_chance(&w->rng, 30)) {
            world_fault(w, "n%u CRASHES as groups are recovered", i + 1);
            host_crash(h);
            r->crashed |= 1u << i;
        }
    }
}

static void start_again(struct recovery *r)
{
    for (uint32_t i = 0; i < r->w->host_count; i++) {
        struct host *h = r->w->hosts[i];
        if (h->node == NULL && !h->is_lost && !(r->resting >> i & 1) &&
            ((r->crashed | r->lost) >> i & 1))
            host_start(h);
    }
}

/* Founders are away as the others come back, who hear of it from one at least
 * that is there. */
static void rest_some(struct recovery *r)
{
    struct world *w = r->w;
    bool is_one_there = false;
    for (uint32_t i = 0; i < w->host_count; i++) {
        struct host *h = w->hosts[i];
        if (h->node == NULL || !host_is_up(h))
            continue;
        if (is_one_there && rng_chance(&w->rng, 700)) {
            host_crash(h);
            r->resting |= 1u << i;
        }
        is_one_there = true;
    }
}

/* ---- all of it --------------------------------------------------------- */

/* Each group of which something is left. */
static bool are_led(struct world *w)
{
    struct recovery r = {.w = w};
    for (uint32_t g = 0; g < w->plan.groups; g++) {
        bool has_leader, has_quorum;
        if (survivor(&r, g, &has_leader, &has_quorum) != NULL && !has_leader)
            return false;
    }
    return true;
}

void recovery_run(struct world *w)
{
    struct recovery r = {.w = w};
    w->doing = "groups are recovered";
    w->is_halted = true;
    fault_count(w, FAULT_RECOVER);
    cut_users_off(w);
    lose_some(&r);
    bool is_waiting = true;
    for (uint32_t round = 0; round < ROUNDS && is_waiting; round++) {
        world_until(w, w->now_us + ROUND_US);
        is_waiting = ask(&r);
        world_until(w, w->now_us + ROUND_US);
        ask_again(&r);
        if (round % 8 == 7)
            crash_some(&r);
    }
    w->doing = "those that were taken for lost come back";
    rest_some(&r);
    start_again(&r);
    world_until(w, w->now_us + RETURN_US);
    r.crashed |= r.resting;
    r.resting = 0;
    start_again(&r);
    world_until(w, w->now_us + RETURN_US);
    /* A founder may have been lost since, with the only copy of a new life. */
    for (uint32_t round = 0; round < ROUNDS && !are_led(w); round++) {
        (void)ask(&r);
        (void)world_wait(w, are_led, ROUND_US / 1000);
    }
    MUST_HOLD(w, V1, are_led(w), "a group that was recovered has no leader");
}
