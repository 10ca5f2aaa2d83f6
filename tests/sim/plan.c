/* plan.c - see plan.h. */
#include "tests/sim/plan.h"

static uint32_t between(struct rng *r, uint32_t low, uint32_t high)
{
    return low + (uint32_t)rng_below(r, high - low + 1);
}

static void draw_network(struct plan *p, struct rng *r)
{
    p->loss_per_mille = between(r, 20, 100);
    p->dup_per_mille = between(r, 5, 100);
    p->user_loss_per_mille = between(r, 5, 60);
    p->delay_us = between(r, 100, 2000);
    p->jitter_us = between(r, 200, 10000);
    p->long_per_mille = between(r, 2, 60);
    p->long_ms = between(r, 50, 3000);
    p->stale_ms = between(r, 5, 5000);
    p->stray_per_mille = between(r, 1, 6);
}

static void draw_processes(struct plan *p, struct rng *r)
{
    p->wake_us = between(r, 0, 3000);
    p->commit_min_us = between(r, 50, 3000);
    p->commit_max_us = p->commit_min_us + between(r, 100, 20000);
    p->told_us = between(r, 0, 2000);
    p->slow_per_mille = between(r, 1, 50);
    p->slow_ms = between(r, 20, 900);
    p->read_us = between(r, 50, 30000);
    p->skew_ms = between(r, 1, 3600000);
    p->log_keep_entries = rng_chance(r, 800) ? between(r, 4, 120) : 0;
}

static void draw_faults(struct plan *p, struct rng *r)
{
    /* Not all find a victim: of the least, five must. */
    p->crashes = (uint32_t)max_u64(between(r, 6, 18), 8);
    p->partitions = between(r, 6, 16);
    p->troubles = between(r, 4, 24);
    p->away = between(r, 1, 3);
    p->out_after_ms = p->has[FAULT_AWAY] ? between(r, 500, 6000) : OUT_AFTER_MS;
    p->pauses = between(r, 1, 8);
    p->isolations_percent = between(r, 5, 60);
    p->down_ms = between(r, 300, 6000);
    p->cut_ms = between(r, 300, 8000);
    p->pause_ms = between(r, 100, 4000);
    p->aimed_percent = between(r, 20, 100);
    p->leader_percent = between(r, 0, 80);
    p->blackout_percent = between(r, 5, 40);
    p->mishaps = between(r, 1, 8);
    p->changes = between(r, 1, 12);
    p->hunts = between(r, 1, 5);
    p->hunt_ms = between(r, 1000, 8000);
}

static void draw_users(struct plan *p, struct rng *r)
{
    p->streams = between(r, 3, 8);
    p->raw_users = between(r, 2, 3);
    p->core_users = between(r, 2, 3);
    p->pace_ms = between(r, 20, 120);
    p->batch_max = between(r, 1, 8);
    p->bytes_max = between(r, 24, 400);
    p->tricks_percent = between(r, 5, 40);
    p->has_bulk = rng_chance(r, 300);
    if (rng_chance(r, 150)) { /* few and large: an entry fills a message */
        p->bytes_max = between(r, 10000, 90000);
        p->batch_max = 8;
        p->pace_ms = between(r, 150, 350);
        p->has_bulk = false;
    }
}

/* The machine's own durations, stretched as one (T35): what must hold is in
 * their proportions to each other, not to the network's. */
static void draw_timing(struct plan *p, struct rng *r)
{
    p->timing = node_timing_default();
    uint32_t percent = rng_chance(r, 500) ? 100 : between(r, 60, 200);
    p->timing.heartbeat_ms = p->timing.heartbeat_ms * percent / 100;
    p->timing.election_ms = p->timing.election_ms * percent / 100;
    p->timing.lane_timeout_ms = p->timing.lane_timeout_ms * percent / 100;
    p->timing.walk_ms = p->timing.walk_ms * percent / 100;
    if (p->has[FAULT_NO_JITTER])
        p->timing.jitter_percent = 0;
    /* Automation waits for minutes; a history lasts one. */
    p->timing.record_interval_ms = between(r, 500, 5000);
    p->timing.join_settle_ms = p->timing.record_interval_ms;
    p->timing.calm_ms = between(r, 1000, 10000);
    p->timing.orphan_ms = between(r, 1000, 5000);
    p->timing.unstored_age_ms = between(r, 200, 10000);
    p->timing.back_after_ms = between(r, 500, 8000);
}

/* 3 to 9, two fifths of them 5. Three form a cluster before others come late,
 * and as many as there are copies: or else too little is acknowledged. */
static void draw_hosts(struct plan *p, struct rng *r, uint64_t seed)
{
    static const uint8_t hosts[] = {3, 3, 3, 4, 4, 4, 5, 5, 5, 5,
                                    5, 5, 5, 5, 6, 6, 7, 7, 8, 9};
    struct rng sizes; /* of its own: a history of 5 is as it always was */
    rng_seed(&sizes, seed ^ 0x405754);
    p->hosts = hosts[rng_below(&sizes, sizeof hosts)];
    uint32_t late = between(r, 1, 2);
    late = p->has[FAULT_JOIN_LATE] ? late : 0;
    p->late_hosts = late < p->hosts - 3 ? late : p->hosts - 3;
    p->copies = rng_chance(r, 700) || p->hosts < 5 ? 3 : 5;
}

void plan_draw(struct plan *p, uint64_t seed)
{
    struct rng r;
    rng_seed(&r, seed);
    *p = (struct plan){0};
    fault_draw(p->has, seed);
    draw_hosts(p, &r, seed);
    p->groups = PARTITIONS_MIN + 1;
    p->chaos_ms = 60000;
    draw_timing(p, &r);
    draw_network(p, &r);
    draw_processes(p, &r);
    draw_faults(p, &r);
    draw_users(p, &r);
}

void plan_calm(struct plan *p)
{
    *p = (struct plan){
        .hosts = 5,
        .copies = 3,
        .groups = PLAN_GROUPS_MAX,
        .streams = 8,
        .raw_users = 2,
        .core_users = 2,
        .timing = node_timing_default(),
        .chaos_ms = 60000,
        .out_after_ms = OUT_AFTER_MS,
        .delay_us = 200,
        .jitter_us = 300,
        .wake_us = 100,
        .commit_min_us = 1000,
        .commit_max_us = 3000,
        .told_us = 100,
        .read_us = 500,
        .pace_ms = 250,
        .batch_max = 4,
        .bytes_max = 200,
        .tricks_percent = 5,
    };
}

void plan_stretch(struct plan *p, uint32_t seconds)
{
    uint32_t *counts[] = {&p->crashes, &p->partitions, &p->troubles, &p->pauses,
                          &p->mishaps, &p->changes,    &p->hunts};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        *counts[i] =
            (uint32_t)((uint64_t)*counts[i] * seconds * 1000 / p->chaos_ms);
    p->chaos_ms = seconds * 1000;
}

void plan_print(const struct plan *p, struct buf *text)
{
    buf_printf(
        text,
        "%u nodes, late %u, N=%u, T %u ms; loss %u/1000 dup %u delay %u+%u us, "
        "long %u/1000 %u ms, stale %u ms; wake %u us, commit %u..%u us, "
        "slow %u/1000 %u ms; crashes %u (aimed %u %%, leader %u %%, "
        "several %u %%, down %u ms), cuts %u (%u ms), troubles %u, pauses %u, "
        "mishaps %u, changes %u, "
        "hunts %u (%u ms); "
        "%u streams, %u+%u users, every %u ms, batch %u, %u bytes",
        p->hosts, p->late_hosts, p->copies, p->timing.election_ms,
        p->loss_per_mille, p->dup_per_mille, p->delay_us, p->jitter_us,
        p->long_per_mille, p->long_ms, p->stale_ms, p->wake_us,
        p->commit_min_us, p->commit_max_us, p->slow_per_mille, p->slow_ms,
        p->crashes, p->aimed_percent, p->leader_percent, p->blackout_percent,
        p->down_ms, p->partitions, p->cut_ms, p->troubles, p->pauses,
        p->mishaps, p->changes, p->hunts, p->hunt_ms, p->streams, p->raw_users,
        p->core_users, p->pace_ms, p->batch_max, p->bytes_max);
    buf_printf(text, "; without");
    for (size_t i = 0; i < FAULT_COUNT; i++)
        if (!p->has[i])
            buf_printf(text, " %s", fault_name((enum fault)i));
}
