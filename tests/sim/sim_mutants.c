/* sim_mutants.c - see sim_mutants.h. */
#include "tests/sim/sim_mutants.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "ring/rule.h"

#define TEXT_MAX     200u
#define HEAD_MAX     4096u
#define PROGRESS_S   2
#define PLAIN_S      30
#define WAIT_MS      200
#define UPDATE_FINDS 4u  /* of which the one that fails earliest is kept */
#define UPDATE_TRIES 24u /* ... once one is found */

typedef unsigned long long ull; /* what printf calls uint64_t */

struct mutant {
    uint64_t kept; /* the file's seed, 0: none */
    char why[TEXT_MAX];
    bool is_wanted; /* it is to be tried */
    uint32_t begun, ended;
    uint32_t finds;
    uint32_t found_try; /* the first that failed; 0: none has */
    uint64_t seed;      /* of the best find, and how far it went */
    uint64_t failed_ms;
    char seen[TEXT_MAX];
};

/* The same history with all rules on: if it fails, too, it proves nothing. */
enum control_state { CONTROL_RUNS, CONTROL_GOOD, CONTROL_FAILS };
struct control {
    uint64_t seed;
    enum control_state state;
};

struct mutants {
    const struct mutants_cfg *cfg;
    struct pool *pool;
    struct mutant all[RULE_COUNT];
    struct control *controls;
    uint32_t control_count;
    char head[HEAD_MAX]; /* the comments that the file begins with */
    time_t begun, told;
    bool is_terminal;
};

/* ---- the file ---------------------------------------------------------- */

static struct mutant *find_mutant(struct mutants *m, const char *name)
{
    for (size_t i = 0; i < RULE_COUNT; i++)
        if (strcmp(rule_name(i), name) == 0)
            return &m->all[i];
    return NULL;
}

static bool read_line(struct mutants *m, const char *line)
{
    char name[16], seed[32];
    int at = 0;
    if (line[0] == '#') {
        size_t size = strlen(m->head);
        (void)snprintf(m->head + size, HEAD_MAX - size, "%s\n", line);
        return true;
    }
    if (line[0] == 0)
        return true;
    if (sscanf(line, "%15s %31s %n", name, seed, &at) < 2)
        return false;
    struct mutant *u = find_mutant(m, name);
    if (u == NULL)
        return false;
    if (strcmp(seed, "-") == 0)
        (void)snprintf(u->why, sizeof u->why, "%s", line + at);
    else
        u->kept = strtoull(seed, NULL, 10);
    return strcmp(seed, "-") == 0 ? u->why[0] != 0 : u->kept != 0;
}

static bool read_file(struct mutants *m)
{
    char line[TEXT_MAX];
    FILE *f = fopen(m->cfg->file, "r");
    if (f == NULL) {
        perror(m->cfg->file);
        return false;
    }
    bool is_good = true;
    while (is_good && fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "\n")] = 0;
        is_good = read_line(m, line);
    }
    (void)fclose(f);
    if (!is_good)
        (void)fprintf(stderr, "%s: what is this? %s\n", m->cfg->file, line);
    return is_good;
}

static bool write_file(const struct mutants *m)
{
    FILE *f = fopen(m->cfg->file, "w");
    if (f == NULL) {
        perror(m->cfg->file);
        return false;
    }
    (void)fputs(m->head, f);
    for (size_t i = 0; i < RULE_COUNT; i++) {
        const struct mutant *u = &m->all[i];
        uint64_t seed = u->finds > 0 ? u->seed : u->kept;
        if (seed != 0)
            (void)fprintf(f, "%s %llu\n", rule_name(i), (ull)seed);
        else if (u->why[0] != 0)
            (void)fprintf(f, "%s - %s\n", rule_name(i), u->why);
    }
    return fclose(f) == 0;
}

/* ---- trying ------------------------------------------------------------ */

static bool is_named(const struct history *h, const char *name)
{
    for (uint32_t i = 0; i < h->off_count; i++)
        if (strcmp(h->off[i], name) == 0)
            return true;
    return false;
}

static void choose(struct mutants *m)
{
    const struct history *h = &m->cfg->history;
    for (size_t i = 0; i < RULE_COUNT; i++)
        m->all[i].is_wanted = h->off_count == 0 ? m->all[i].why[0] == 0
                                                : is_named(h, rule_name(i));
}

static bool has_kept(const struct mutants *m, const struct mutant *u)
{
    return u->kept != 0 && !m->cfg->is_fresh;
}

static bool is_open(const struct mutants *m, const struct mutant *u)
{
    if (!u->is_wanted || u->begun == m->cfg->tries)
        return false;
    if (u->finds == 0 || !m->cfg->is_update)
        return u->finds == 0;
    return u->finds < UPDATE_FINDS && u->begun < u->found_try + UPDATE_TRIES;
}

static uint64_t next_seed(const struct mutants *m, const struct mutant *u)
{
    bool is_kept = has_kept(m, u) && u->begun == 0;
    return is_kept ? u->kept : m->cfg->from + u->begun - has_kept(m, u);
}

static struct control *find_control(const struct mutants *m, uint64_t seed)
{
    for (uint32_t i = 0; i < m->control_count; i++)
        if (m->controls[i].seed == seed)
            return &m->controls[i];
    return NULL;
}

/* Of those that are not found yet, one that was tried least and whose next
 * history is not being judged. */
static bool next_try(const struct mutants *m, size_t *which)
{
    bool is_one = false;
    for (size_t i = 0; i < RULE_COUNT; i++) {
        const struct mutant *u = &m->all[i];
        if (!is_open(m, u))
            continue;
        const struct control *c = find_control(m, next_seed(m, u));
        if (c != NULL && c->state == CONTROL_RUNS)
            continue;
        if (!is_one || u->begun < m->all[*which].begun)
            *which = i;
        is_one = true;
    }
    return is_one;
}

static void begin_control(struct mutants *m, uint64_t seed)
{
    struct history h = m->cfg->history;
    uint32_t number = m->control_count++;
    h.seed = seed;
    h.off_count = 0;
    m->controls =
        mem_resize(m->controls, m->control_count * sizeof *m->controls);
    m->controls[number] = (struct control){seed, CONTROL_RUNS};
    pool_begin(m->pool, &h, (uint64_t)number << 32 | RULE_COUNT);
}

static void begin_try(struct mutants *m, size_t i)
{
    struct mutant *u = &m->all[i];
    struct history h = m->cfg->history;
    h.seed = next_seed(m, u);
    h.off[0] = rule_name(i);
    h.off_count = 1;
    u->begun++;
    pool_begin(m->pool, &h, (uint64_t)u->begun << 32 | i);
}

static void begin_more(struct mutants *m)
{
    size_t i = 0;
    while (!pool_is_full(m->pool) && next_try(m, &i)) {
        struct mutant *u = &m->all[i];
        uint64_t seed = next_seed(m, u);
        const struct control *c = find_control(m, seed);
        if (c == NULL) {
            begin_control(m, seed);
        } else if (c->state == CONTROL_GOOD) {
            begin_try(m, i);
        } else {
            u->begun++;
            u->ended++;
        }
    }
}

static void note_control(struct mutants *m, const struct outcome *o)
{
    struct control *c = &m->controls[o->tag >> 32];
    c->state = o->is_violation ? CONTROL_FAILS : CONTROL_GOOD;
    if (c->state == CONTROL_FAILS)
        (void)printf("%sseed %llu fails with all rules on: it proves nothing\n",
                     m->is_terminal ? "\r\033[K" : "", (ull)c->seed);
}

static void note_end(struct mutants *m, const struct outcome *o)
{
    uint32_t number = (uint32_t)(o->tag >> 32);
    if ((o->tag & UINT32_MAX) == RULE_COUNT) {
        note_control(m, o);
        return;
    }
    struct mutant *u = &m->all[o->tag & UINT32_MAX];
    u->ended++;
    if (!o->is_violation)
        return;
    if (u->found_try == 0 || number < u->found_try)
        u->found_try = number;
    bool is_better = m->cfg->is_update ? o->totals.simulated_ms < u->failed_ms
                                       : number == u->found_try;
    if (u->finds++ > 0 && !is_better)
        return;
    u->seed = o->seed;
    u->failed_ms = o->totals.simulated_ms;
    outcome_reason(o, u->seen, sizeof u->seen);
}

static void tell_progress(struct mutants *m)
{
    time_t now = time(NULL);
    if (now - m->told < (m->is_terminal ? PROGRESS_S : PLAIN_S))
        return;
    m->told = now;
    uint32_t wanted = 0, found = 0, tries = 0;
    for (size_t i = 0; i < RULE_COUNT; i++) {
        wanted += m->all[i].is_wanted;
        found += m->all[i].finds > 0;
        tries += m->all[i].ended;
    }
    (void)printf("%s%u of %u rules found in %u histories, %lld s%s",
                 m->is_terminal ? "\r\033[K" : "", found, wanted, tries,
                 (long long)(now - m->begun), m->is_terminal ? "" : "\n");
    (void)fflush(stdout);
}

/* ---- the table --------------------------------------------------------- */

static int compare_tries(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void print_row(const struct mutants *m, size_t i)
{
    const struct mutant *u = &m->all[i];
    const char *name = rule_name(i);
    if (u->finds > 0)
        (void)printf("%-5s seed %-8llu %4u  %5.1f s  %.100s\n", name,
                     (ull)u->seed, u->found_try, (double)u->failed_ms / 1000,
                     u->seen);
    else if (u->is_wanted)
        (void)printf("%-5s NOT FOUND     %4u           %s\n", name, u->ended,
                     rule_text(i));
    else if (m->cfg->history.off_count == 0)
        (void)printf("%-5s not tried                   %s\n", name, u->why);
}

/* True if all that were tried are found. */
static bool print_table(const struct mutants *m)
{
    uint32_t tries[RULE_COUNT] = {0}, wanted = 0, found = 0, listed = 0;
    (void)printf("%sRULE  HISTORY      TRIES  AFTER   WHAT WAS SEEN\n",
                 m->is_terminal ? "\r\033[K" : "");
    for (size_t i = 0; i < RULE_COUNT; i++) {
        const struct mutant *u = &m->all[i];
        print_row(m, i);
        wanted += u->is_wanted;
        listed += u->why[0] != 0 && u->finds == 0;
        if (u->finds > 0)
            tries[found++] = u->found_try;
    }
    qsort(tries, found, sizeof *tries, compare_tries);
    (void)printf("%u rules off one by one, %u found, %u not, %u beyond proof; "
                 "histories needed: median %u, most %u; %lld s\n",
                 wanted, found, wanted - found, listed,
                 found == 0 ? 0 : tries[found / 2],
                 found == 0 ? 0 : tries[found - 1],
                 (long long)(time(NULL) - m->begun));
    return wanted == found;
}

static bool run(struct mutants *m)
{
    choose(m);
    begin_more(m);
    while (!pool_is_empty(m->pool)) {
        struct outcome o;
        if (pool_next(m->pool, &o, WAIT_MS))
            note_end(m, &o);
        begin_more(m);
        tell_progress(m);
    }
    return print_table(m);
}

int mutants_run(const struct mutants_cfg *cfg)
{
    struct mutants *m = mem_alloc(sizeof *m);
    *m = (struct mutants){.cfg = cfg, .begun = time(NULL)};
    m->told = m->begun;
    m->is_terminal = isatty(STDOUT_FILENO) == 1;
    m->pool = pool_new(cfg->jobs);
    bool is_good = read_file(m) && run(m);
    pool_free(m->pool);
    mem_free(m->controls);
    if (cfg->is_update && m->head[0] != 0)
        is_good = write_file(m) && is_good;
    mem_free(m);
    return is_good ? SIM_OK : SIM_OTHER;
}
