/* sim_jobs.c - see sim_jobs.h. */
#include "tests/sim/sim_jobs.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/sim_shrink.h"
#include "tests/sim/sim_totals.h"

#define TWICE_MIN   20u
#define REPORTS_MAX 3u
#define PROGRESS_S  1.0  /* on a terminal */
#define PLAIN_S     30.0 /* in a file */
#define WAIT_MS     200

typedef unsigned long long ull; /* what printf calls uint64_t */

struct failure {
    struct history history;
    struct outcome outcome;
};

struct jobs {
    const struct jobs_cfg *cfg;
    struct pool *pool;
    struct totals sum;
    uint64_t next, ended, failed, twice;
    uint64_t played_ms; /* simulated; of those played twice, twice */
    int result;
    struct failure failures[REPORTS_MAX]; /* the first */
    double begun_s, told_s;
    bool is_terminal;
};

static double clock_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int worse(int a, int b)
{
    static const int order[] = {SIM_SAFETY, SIM_LIVENESS, SIM_OTHER};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        if (a == order[i] || b == order[i])
            return order[i];
    return SIM_OK;
}

/* ---- how far it has come ----------------------------------------------- */

static void clear_progress(const struct jobs *j)
{
    if (j->is_terminal)
        (void)printf("\r\033[K");
}

static void tell_progress(struct jobs *j)
{
    const struct jobs_cfg *c = j->cfg;
    double now = clock_s(), spent = now - j->begun_s;
    if (now - j->told_s < (j->is_terminal ? PROGRESS_S : PLAIN_S))
        return;
    j->told_s = now;
    clear_progress(j);
    (void)printf("%llu of %llu histories, %.1f simulated hours, %llu failed; "
                 "%.0f s",
                 (ull)j->ended, (ull)c->seeds,
                 (double)j->sum.simulated_ms / 3.6e6, (ull)j->failed, spent);
    if (j->ended > 0)
        (void)printf(", about %.0f s to go",
                     spent * (double)(c->seeds - j->ended) / (double)j->ended);
    if (!j->is_terminal)
        (void)putchar('\n');
    (void)fflush(stdout);
}

/* ---- one after the other ----------------------------------------------- */

static bool is_twice(const struct jobs_cfg *c, uint64_t seed)
{
    uint64_t count = max_u64(c->seeds / 100, TWICE_MIN);
    uint64_t every = c->seeds < TWICE_MIN ? 10 : c->seeds / count;
    return c->history.off_count == 0 && (seed - c->from) % every == 0;
}

static struct history history_of(const struct jobs_cfg *c, uint64_t seed)
{
    struct history h = c->history;
    h.seed = seed;
    h.is_twice = is_twice(c, seed);
    return h;
}

static void begin_more(struct jobs *j)
{
    const struct jobs_cfg *c = j->cfg;
    while (j->next < c->from + c->seeds && !pool_is_full(j->pool)) {
        struct history h = history_of(c, j->next);
        pool_begin(j->pool, &h, 0);
        j->next++;
    }
}

static void print_failure(const struct jobs *j, const struct outcome *o,
                          const struct history *h)
{
    clear_progress(j);
    (void)printf("SEED %llu FAILS", (ull)o->seed);
    if (o->signal_number != 0)
        (void)printf(" (it died of signal %d)", o->signal_number);
    (void)printf("; again: make sim ");
    shrink_print_options(h);
    (void)printf(" TRACE=1\n%s", o->words);
    (void)fflush(stdout);
}

static void note_failure(struct jobs *j, const struct outcome *o)
{
    struct history h = history_of(j->cfg, o->seed);
    print_failure(j, o, &h);
    j->result = worse(j->result, o->code);
    if (j->failed < REPORTS_MAX) {
        struct failure *f = &j->failures[j->failed];
        *f = (struct failure){h, *o};
        f->outcome.words = mem_copy(o->words, strlen(o->words) + 1);
    }
    j->failed++;
}

static void note_end(struct jobs *j, const struct outcome *o)
{
    j->ended++;
    totals_add(&j->sum, &o->totals);
    j->played_ms += o->totals.simulated_ms;
    if (o->code != SIM_OK) {
        note_failure(j, o);
        return;
    }
    if (is_twice(j->cfg, o->seed)) {
        j->twice++;
        j->played_ms += o->totals.simulated_ms;
    }
    if (!j->cfg->is_verbose)
        return;
    char name[32];
    (void)snprintf(name, sizeof name, "seed %llu", (ull)o->seed);
    clear_progress(j);
    totals_print_line(name, &o->totals);
}

/* ---- the end ----------------------------------------------------------- */

static void report_failures(struct jobs *j)
{
    const struct jobs_cfg *c = j->cfg;
    uint32_t count =
        j->failed < REPORTS_MAX ? (uint32_t)j->failed : REPORTS_MAX;
    for (uint32_t i = 0; i < count; i++) {
        struct failure *f = &j->failures[i];
        if (c->shrink_seconds > 0) {
            (void)printf("\n---- seed %llu\n", (ull)f->history.seed);
            shrink_report(&f->history, &f->outcome, c->jobs,
                          c->shrink_seconds / count);
        }
        mem_free(f->outcome.words);
    }
}

static void print_last_line(const struct jobs *j, double spent_s, double cpu_s)
{
    const struct jobs_cfg *c = j->cfg;
    (void)printf(
        "%llu histories of seeds %llu to %llu (%llu played twice, with "
        "the same trace), %llu failed; %.1f simulated hours in %.0f s, "
        "%.0f simulated s per s and core\n",
        (ull)j->ended, (ull)c->from, (ull)(c->from + c->seeds - 1),
        (ull)j->twice, (ull)j->failed, (double)j->sum.simulated_ms / 3.6e6,
        spent_s, (double)j->played_ms / 1000 / cpu_s);
}

int jobs_run(const struct jobs_cfg *cfg)
{
    struct jobs *j = mem_alloc(sizeof *j);
    *j = (struct jobs){.cfg = cfg, .next = cfg->from, .result = SIM_OK};
    j->pool = pool_new(cfg->jobs);
    j->begun_s = j->told_s = clock_s();
    j->is_terminal = isatty(STDOUT_FILENO) == 1;
    begin_more(j);
    while (!pool_is_empty(j->pool)) {
        struct outcome o;
        if (pool_next(j->pool, &o, WAIT_MS))
            note_end(j, &o);
        if (j->failed > 0 && cfg->is_until_found)
            break;
        begin_more(j);
        tell_progress(j);
    }
    pool_free(j->pool);
    clear_progress(j);
    double spent_s = clock_s() - j->begun_s, cpu_s = pool_cpu_seconds();
    totals_print(&j->sum);
    report_failures(j);
    print_last_line(j, spent_s, cpu_s);
    int result = j->result;
    mem_free(j);
    return result;
}
