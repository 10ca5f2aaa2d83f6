/* sim_play.c - see sim_play.h. */
#include "tests/sim/sim_play.h"

#include <signal.h>
#include <stdio.h>

#include "ring/rule.h"

/* What each history must have in it, lest it prove nothing. */
#define SIMULATED_MS_MIN 60000u
#define CRASHES_MIN      5u
#define PARTITIONS_MIN_  5u
#define APPENDS_MIN      500u
#define APPENDERS_MIN    3u
#define KINDS_MIN        8u

/* For the last words of a process that a violation ends. */
static const struct world *playing;
static struct totals *heard;

static void last_words(const struct world *w)
{
    *heard = w->totals;
}

static void last_words_of_assert(int signal_number)
{
    if (playing != NULL)
        last_words(playing);
    (void)signal(signal_number, SIG_DFL);
    (void)raise(signal_number);
}

static void play_once(const struct history *h, bool is_traced, struct totals *t)
{
    struct world_cfg cfg = h->cfg;
    cfg.is_traced = is_traced;
    cfg.last_words = last_words;
    heard = t;
    struct world *w = world_new(h->seed, &cfg);
    if (is_traced) {
        struct buf text = {0};
        plan_print(&w->plan, &text);
        (void)printf("plan: %.*s\n", (int)text.size, (char *)text.data);
        buf_free(&text);
    }
    playing = w;
    world_run(w);
    playing = NULL;
    *t = w->totals;
    world_free(w);
}

static uint32_t kinds_injected(const struct totals *t)
{
    uint32_t count = 0;
    for (size_t i = 0; i < FAULT_COUNT; i++)
        count += t->faults[i] > 0;
    return count;
}

static const char *too_little(const struct totals *t)
{
    if (t->simulated_ms < SIMULATED_MS_MIN)
        return "simulated time";
    if (t->partitions < PARTITIONS_MIN_)
        return "partitions";
    if (kinds_injected(t) < KINDS_MIN)
        return "kinds of faults";
    /* It may have left nobody to crash, and nobody to answer. */
    if (t->faults[FAULT_HALT] + t->faults[FAULT_RECOVER] > 0)
        return NULL;
    if (t->crashes < CRASHES_MIN)
        return "crashes";
    if (t->appends < APPENDS_MIN || t->appending_users < APPENDERS_MIN)
        return "acknowledged appends";
    return NULL;
}

static bool turn_off(const struct history *h)
{
    for (uint32_t i = 0; i < h->off_count; i++) {
        if (rule_turn_off(h->off[i]))
            continue;
        (void)fprintf(stderr, "sim: there is no rule %s\n", h->off[i]);
        return false;
    }
    return true;
}

int play_history(const struct history *h, struct totals *t)
{
    (void)signal(SIGABRT, last_words_of_assert);
    if (!turn_off(h))
        return SIM_OTHER;
    play_once(h, h->cfg.is_traced, t);
    const char *little = too_little(t);
    if (little != NULL && !h->is_partial) {
        (void)fprintf(stderr, "history %llu proves nothing: too few %s\n",
                      (unsigned long long)h->seed, little);
        return SIM_OTHER;
    }
    if (!h->is_twice)
        return SIM_OK;
    struct totals again;
    play_once(h, false, &again);
    if (again.trace == t->trace)
        return SIM_OK;
    (void)fprintf(stderr,
                  "history %llu is not the same twice: chance from "
                  "outside, or memory that was never set\n",
                  (unsigned long long)h->seed);
    return SIM_OTHER;
}
