/* sim.c - the simulator's program: histories by their seeds.
 *
 *   sim --seeds N --from S --jobs J   N histories from S on, J at a time
 *   sim --seed S [--trace]            one again; in words
 *   sim --mutants FILE                the rules, each turned off: see
 *                                     sim_mutants.h
 *   sim --speed [--seeds N ...]       simulated seconds for one of a core
 *
 * Exit: 0, 3 a promise was broken, 4 the healed cluster did not come to rest,
 * 1 anything else. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/sim/sim_jobs.h"
#include "tests/sim/sim_mutants.h"
#include "tests/sim/sim_shrink.h"
#include "tests/sim/sim_totals.h"
#include "tests/sim/speed.h"

#define SEEDS_DEFAULT  200u
#define HISTORY_S      600u /* of real time: it hangs */
#define MUTANT_S       60u
#define SHRINK_SECONDS 60u
#define LENGTH_MAX     3600u

struct options {
    struct jobs_cfg jobs;
    struct mutants_cfg mutants;
    bool has_seed, has_from, is_speed;
};

static const char USAGE[] =
    "usage: sim [--seeds N] [--from S] [--jobs J]   many histories\n"
    "           [--verbose]          a line for each\n"
    "           [--until-found]      stop at the first that fails\n"
    "           [--shrink SECONDS]   to look for fewer faults; 0: do not\n"
    "       sim --seed S [--trace]   one, in words\n"
    "       sim --mutants FILE [--tries N] [--from S] [--jobs J]\n"
    "           [--off S4,T9] [--fresh] [--update]\n"
    "       sim --speed [--seeds N] [--from S]\n"
    "of each history:\n"
    "       --off S4,T9              these rules of ring/rule.h turned off\n"
    "       --seconds N              so long do faults go on\n"
    "       --skip 3,7-9             without these of its scheduled faults\n"
    "       --no LOSS,STALE          without these kinds\n";

static _Noreturn void usage(void)
{
    (void)fputs(USAGE, stderr);
    exit(SIM_OTHER);
}

static uint64_t number(const char *text, uint64_t max)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != 0 || n > max)
        usage();
    return n;
}

static bool parse_switch(struct options *o, const char *a)
{
    const struct {
        const char *name;
        bool *is;
    } switches[] = {
        {"--trace", &o->jobs.history.cfg.is_traced},
        {"--verbose", &o->jobs.is_verbose},
        {"--until-found", &o->jobs.is_until_found},
        {"--fresh", &o->mutants.is_fresh},
        {"--update", &o->mutants.is_update},
        {"--speed", &o->is_speed},
    };
    for (size_t i = 0; i < sizeof switches / sizeof *switches; i++) {
        if (strcmp(a, switches[i].name) != 0)
            continue;
        *switches[i].is = true;
        return true;
    }
    return false;
}

/* Their names stay in the argument. */
static void add_off(struct history *h, char *rules)
{
    for (char *r = strtok(rules, ","); r != NULL; r = strtok(NULL, ",")) {
        if (h->off_count == RULES_OFF_MAX)
            usage();
        h->off[h->off_count++] = r;
    }
}

/* What is said of each history. */
static bool parse_history(struct history *h, const char *a, char *value)
{
    if (strcmp(a, "--off") == 0) {
        add_off(h, value);
    } else if (strcmp(a, "--seconds") == 0) {
        h->cfg.seconds = (uint32_t)number(value, LENGTH_MAX);
    } else if (strcmp(a, "--skip") == 0) {
        h->is_partial = true;
        if (!shrink_parse_skips(&h->cfg.skips, value))
            usage();
    } else if (strcmp(a, "--no") == 0) {
        h->is_partial = true;
        if (!shrink_parse_kinds(h->cfg.no, value))
            usage();
    } else {
        return false;
    }
    return true;
}

static void parse_value(struct options *o, const char *a, char *value)
{
    if (value == NULL)
        usage();
    if (parse_history(&o->jobs.history, a, value))
        return;
    if (strcmp(a, "--seeds") == 0) {
        o->jobs.seeds = number(value, UINT32_MAX);
    } else if (strcmp(a, "--from") == 0) {
        o->jobs.from = number(value, UINT64_MAX / 2);
        o->has_from = true;
    } else if (strcmp(a, "--jobs") == 0) {
        o->jobs.jobs = (uint32_t)number(value, JOBS_MAX);
    } else if (strcmp(a, "--seed") == 0) {
        o->jobs.from = number(value, UINT64_MAX / 2);
        o->has_seed = true;
    } else if (strcmp(a, "--shrink") == 0) {
        o->jobs.shrink_seconds = (uint32_t)number(value, 86400);
    } else if (strcmp(a, "--mutants") == 0) {
        o->mutants.file = value;
    } else if (strcmp(a, "--tries") == 0) {
        o->mutants.tries = (uint32_t)number(value, UINT32_MAX - 1);
    } else {
        usage();
    }
}

static struct options parse(int argc, char **argv)
{
    struct options o = {
        .jobs = {.from = 1,
                 .seeds = SEEDS_DEFAULT,
                 .history = {.limit_s = HISTORY_S},
                 .jobs = 1,
                 .shrink_seconds = SHRINK_SECONDS},
        .mutants = {.tries = 400},
    };
    for (int i = 1; i < argc; i++) {
        if (parse_switch(&o, argv[i]))
            continue;
        parse_value(&o, argv[i], i + 1 < argc ? argv[i + 1] : NULL);
        i++;
    }
    if (o.jobs.jobs == 0 || o.jobs.seeds == 0)
        usage();
    return o;
}

/* In this process, where a debugger finds it. */
static int play_one(const struct options *o)
{
    struct history h = o->jobs.history;
    struct totals t = {0};
    h.seed = o->jobs.from;
    (void)printf("SEED %llu\n", (unsigned long long)h.seed);
    (void)fflush(stdout);
    int code = play_history(&h, &t);
    totals_print_line("in all", &t);
    return code;
}

static int play_mutants(struct options *o)
{
    struct mutants_cfg *c = &o->mutants;
    c->history = o->jobs.history;
    c->history.limit_s = MUTANT_S;
    c->jobs = o->jobs.jobs;
    c->from = o->jobs.from;
    if (c->is_fresh && !o->has_from) /* seeds that nobody has seen */
        c->from = (uint64_t)time(NULL) * 10000;
    (void)printf("new seeds are drawn from %llu on\n",
                 (unsigned long long)c->from);
    return mutants_run(c);
}

int main(int argc, char **argv)
{
    struct options o = parse(argc, argv);
    if (o.is_speed) {
        speed_run(o.jobs.from, o.jobs.seeds);
        return SIM_OK;
    }
    if (o.mutants.file != NULL)
        return play_mutants(&o);
    if (o.has_seed && o.jobs.history.cfg.is_traced)
        return play_one(&o);
    if (o.has_seed)
        o.jobs.seeds = 1;
    return jobs_run(&o.jobs);
}
