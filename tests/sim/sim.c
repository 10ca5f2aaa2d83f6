/* sim.c - the simulator's program: histories by their seeds.
 *
 *   sim --seeds N --from S --jobs J   N histories from S on, J at a time
 *   sim --seed S [--trace]            one again, in words
 *   sim ... --without RULE            with a rule of ring/rule.h turned off
 *   sim ... --until-found             stop at the first that fails
 *   sim --speed [--seeds N ...]       simulated seconds for one of a core
 *
 * Each history is a process of its own. Every tenth runs twice and must leave
 * the same trace. Exit: 0, 3 a promise was broken, 4 the healed cluster did
 * not come to rest, 1 anything else. */
#define _GNU_SOURCE /* fork, waitpid and pipes: Linux and POSIX */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ring/rule.h"
#include "tests/sim/speed.h"
#include "tests/sim/world.h"

#define JOBS_MAX    64u
#define TWICE_EVERY 10u
#define HISTORY_S   300u /* of real time: it hangs */

/* What each history must have in it, lest it prove nothing. */
#define SIMULATED_MS_MIN 60000u
#define CRASHES_MIN      5u
#define PARTITIONS_MIN_  5u
#define APPENDS_MIN      500u
#define APPENDERS_MIN    3u
#define KINDS_MIN        8u

struct options {
    uint64_t from, seeds, seed;
    uint32_t jobs;
    bool has_seed, is_traced, is_until_found, is_mutant, is_speed;
    const char *rules[16];
    uint32_t rule_count;
};

struct job {
    pid_t pid;
    uint64_t seed;
    int results, words; /* pipes */
    struct buf text;
    struct totals totals;
    bool has_totals;
};

/* ---- one history ------------------------------------------------------- */

static void run_history(uint64_t seed, bool is_traced, struct totals *totals)
{
    struct world *w =
        world_new(seed, &(struct world_cfg){.is_traced = is_traced});
    if (is_traced) {
        struct buf text = {0};
        plan_print(&w->plan, &text);
        (void)printf("plan: %.*s\n", (int)text.size, (char *)text.data);
        buf_free(&text);
    }
    world_run(w);
    *totals = w->totals;
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
    if (t->crashes < CRASHES_MIN)
        return "crashes";
    if (t->partitions < PARTITIONS_MIN_)
        return "partitions";
    if (kinds_injected(t) < KINDS_MIN)
        return "kinds of faults";
    if (t->appends < APPENDS_MIN || t->appending_users < APPENDERS_MIN)
        return "acknowledged appends";
    return NULL;
}

static void turn_off(const struct options *o)
{
    for (uint32_t i = 0; i < o->rule_count; i++) {
        if (rule_turn_off(o->rules[i]))
            continue;
        (void)fprintf(stderr, "sim: there is no rule %s\n", o->rules[i]);
        _exit(SIM_OTHER);
    }
}

static int play(const struct options *o, uint64_t seed, struct totals *t)
{
    turn_off(o);
    run_history(seed, o->is_traced, t);
    if (too_little(t) != NULL) {
        (void)fprintf(stderr, "history %llu proves nothing: too few %s\n",
                      (unsigned long long)seed, too_little(t));
        return SIM_OTHER;
    }
    if (o->has_seed || o->rule_count > 0 || seed % TWICE_EVERY != 0)
        return SIM_OK;
    struct totals again;
    run_history(seed, false, &again);
    if (again.trace == t->trace)
        return SIM_OK;
    (void)fprintf(stderr,
                  "history %llu is not the same twice: chance from "
                  "outside, or memory that was never set\n",
                  (unsigned long long)seed);
    return SIM_OTHER;
}

/* ---- totals ------------------------------------------------------------ */

static void print_totals(const char *name, const struct totals *t)
{
    (void)printf(
        "%s: %llu s, %llu events, %llu messages (%llu overtaken, %llu cut "
        "off), %llu crashes (%llu unsynced), %llu cuts; %llu appends "
        "acknowledged by %llu users (%llu on a repeat), %llu refused, %llu "
        "unknown, %llu fenced, %llu segments read, %llu ends; "
        "%llu joins, %llu elections (of a group %llu at most, and %llu terms "
        "without), %llu configurations, %llu entries, %llu commits; at rest "
        "after %llu ms\n",
        name, (unsigned long long)t->simulated_ms / 1000,
        (unsigned long long)t->events, (unsigned long long)t->messages,
        (unsigned long long)t->reordered, (unsigned long long)t->cut,
        (unsigned long long)t->crashes, (unsigned long long)t->unsynced,
        (unsigned long long)t->partitions, (unsigned long long)t->appends,
        (unsigned long long)t->appending_users,
        (unsigned long long)t->duplicates, (unsigned long long)t->refused,
        (unsigned long long)t->unknown, (unsigned long long)t->fenced,
        (unsigned long long)t->reads, (unsigned long long)t->ends,
        (unsigned long long)t->joins, (unsigned long long)t->elections,
        (unsigned long long)t->elections_most,
        (unsigned long long)t->idle_terms_most,
        (unsigned long long)t->config_changes, (unsigned long long)t->entries,
        (unsigned long long)t->commits, (unsigned long long)t->healed_ms);
}

static void print_faults(const struct totals *t)
{
    (void)printf("faults injected by kind:\n");
    for (size_t i = 0; i < FAULT_COUNT; i++)
        (void)printf("  %-16s %10llu  %s\n", fault_name((enum fault)i),
                     (unsigned long long)t->faults[i],
                     fault_words((enum fault)i));
}

static void print_invariants(const struct totals *t)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < HELD_COUNT; i++)
        sum += t->held[i];
    (void)printf("%llu invariant checks:\n", (unsigned long long)sum);
    for (size_t i = 0; i < HELD_COUNT; i++)
        (void)printf("  %-4s %12llu  %s\n", invariant_name((enum invariant)i),
                     (unsigned long long)t->held[i],
                     invariant_words((enum invariant)i));
}

/* struct totals is uint64_t throughout. */
static void add_totals(struct totals *sum, const struct totals *t)
{
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)t;
    for (size_t i = 0; i < sizeof *t / sizeof *to; i++)
        to[i] += from[i];
}

/* ---- many histories ---------------------------------------------------- */

static void begin_job(const struct options *o, struct job *j, uint64_t seed)
{
    int results[2], words[2];
    *j = (struct job){.seed = seed};
    if (pipe(results) != 0 || pipe(words) != 0) {
        perror("sim: pipe");
        exit(SIM_OTHER);
    }
    (void)fflush(stdout);
    j->pid = fork();
    if (j->pid < 0) {
        perror("sim: fork");
        exit(SIM_OTHER);
    }
    if (j->pid == 0) {
        struct totals t = {0};
        (void)dup2(words[1], STDOUT_FILENO);
        (void)dup2(words[1], STDERR_FILENO);
        (void)alarm(HISTORY_S);
        int code = play(o, seed, &t);
        (void)fflush(stdout);
        if (write(results[1], &t, sizeof t) != sizeof t)
            code = SIM_OTHER;
        _exit(code);
    }
    (void)close(results[1]);
    (void)close(words[1]);
    j->results = results[0];
    j->words = words[0];
}

/* True once the history has ended: its words are at their end. */
static bool hear(struct job *j)
{
    char text[4096];
    ssize_t size = read(j->words, text, sizeof text);
    if (size > 0) {
        buf_append(&j->text, text, (size_t)size);
        return false;
    }
    j->has_totals =
        read(j->results, &j->totals, sizeof j->totals) == sizeof j->totals;
    (void)close(j->words);
    (void)close(j->results);
    return true;
}

static int end_job(const struct options *o, struct job *j)
{
    int status = 0;
    while (waitpid(j->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : SIM_OTHER;
    if (code == SIM_OK && !j->has_totals)
        code = SIM_OTHER;
    if (code != SIM_OK) {
        (void)printf("SEED %llu FAILS; again: make sim SEED=%llu TRACE=1",
                     (unsigned long long)j->seed, (unsigned long long)j->seed);
        for (uint32_t i = 0; i < o->rule_count; i++)
            (void)printf(" WITHOUT=%s", o->rules[i]);
        if (WIFSIGNALED(status))
            (void)printf(" (it died of signal %d)", WTERMSIG(status));
        (void)printf("\n%.*s", (int)j->text.size, (char *)j->text.data);
    } else if (o->rule_count == 0) {
        char name[32];
        (void)snprintf(name, sizeof name, "seed %llu",
                       (unsigned long long)j->seed);
        print_totals(name, &j->totals);
    }
    (void)fflush(stdout);
    buf_free(&j->text);
    j->pid = 0;
    return code;
}

static bool wait_for_words(struct job *jobs, uint32_t count)
{
    struct pollfd fds[JOBS_MAX];
    nfds_t running = 0;
    for (uint32_t i = 0; i < count; i++)
        if (jobs[i].pid != 0)
            fds[running++] = (struct pollfd){jobs[i].words, POLLIN, 0};
    return running > 0 && (poll(fds, running, -1) >= 0 || errno == EINTR);
}

static bool has_words(const struct job *j)
{
    struct pollfd fd = {j->words, POLLIN, 0};
    return poll(&fd, 1, 0) == 1;
}

static void stop_jobs(struct job *jobs, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (jobs[i].pid == 0)
            continue;
        (void)kill(jobs[i].pid, SIGKILL);
        (void)waitpid(jobs[i].pid, NULL, 0);
    }
}

/* The worst that a history ended with: safety before liveness before all
 * else. */
static int worse(int a, int b)
{
    static const int order[] = {SIM_SAFETY, SIM_LIVENESS, SIM_OTHER};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        if (a == order[i] || b == order[i])
            return order[i];
    return SIM_OK;
}

static int play_all(const struct options *o)
{
    struct job jobs[JOBS_MAX] = {0};
    struct totals sum = {0};
    uint64_t next = o->from, ended = 0, failed = 0;
    int result = SIM_OK;
    struct timespec begun, now;
    (void)clock_gettime(CLOCK_MONOTONIC, &begun);
    do {
        for (uint32_t i = 0; i < o->jobs; i++)
            if (jobs[i].pid == 0 && next < o->from + o->seeds)
                begin_job(o, &jobs[i], next++);
        for (uint32_t i = 0; i < o->jobs; i++) {
            struct job *j = &jobs[i];
            if (j->pid == 0 || !has_words(j) || !hear(j))
                continue;
            int code = end_job(o, j);
            ended++;
            failed += code != SIM_OK;
            result = worse(result, code);
            if (code == SIM_OK)
                add_totals(&sum, &j->totals);
            if (code != SIM_OK && o->is_until_found) {
                stop_jobs(jobs, o->jobs);
                (void)printf("found by seed %llu, the %llu. tried\n",
                             (unsigned long long)j->seed,
                             (unsigned long long)ended);
                return code;
            }
        }
    } while (wait_for_words(jobs, o->jobs) || next < o->from + o->seeds);
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    print_faults(&sum);
    print_totals("in all", &sum);
    print_invariants(&sum);
    (void)printf(
        "%llu histories of seeds %llu to %llu, %llu failed, in %lld s\n",
        (unsigned long long)ended, (unsigned long long)o->from,
        (unsigned long long)(o->from + o->seeds - 1),
        (unsigned long long)failed, (long long)(now.tv_sec - begun.tv_sec));
    return result;
}

/* ---- the program ------------------------------------------------------- */

static _Noreturn void usage(void)
{
    (void)fprintf(stderr,
                  "usage: sim [--seeds N] [--from S] [--jobs J] "
                  "[--until-found]\n"
                  "       sim --seed S [--trace]\n"
                  "       sim --speed [--seeds N] [--from S]\n"
                  "       either with --without RULE, more than once\n");
    exit(SIM_OTHER);
}

static uint64_t number(const char *text)
{
    char *end;
    errno = 0;
    unsigned long long n = text == NULL ? 0 : strtoull(text, &end, 10);
    if (text == NULL || errno != 0 || end == text || *end != 0)
        usage();
    return n;
}

static struct options parse(int argc, char **argv)
{
    struct options o = {.from = 1, .seeds = 200, .jobs = 1};
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(a, "--trace") == 0) {
            o.is_traced = true;
            continue;
        }
        if (strcmp(a, "--until-found") == 0) {
            o.is_until_found = true;
            continue;
        }
        if (strcmp(a, "--speed") == 0) {
            o.is_speed = true;
            continue;
        }
        i++;
        if (strcmp(a, "--seeds") == 0) {
            o.seeds = number(value);
        } else if (strcmp(a, "--from") == 0) {
            o.from = number(value);
        } else if (strcmp(a, "--jobs") == 0) {
            o.jobs = (uint32_t)number(value);
        } else if (strcmp(a, "--seed") == 0) {
            o.seed = number(value);
            o.has_seed = true;
        } else if (strcmp(a, "--without") == 0 && value != NULL &&
                   o.rule_count < 16) {
            o.rules[o.rule_count++] = value;
        } else {
            usage();
        }
    }
    if (o.jobs == 0 || o.jobs > JOBS_MAX || o.seeds == 0)
        usage();
    return o;
}

static int play_one(const struct options *o)
{
    struct totals t = {0};
    (void)printf("SEED %llu\n", (unsigned long long)o->seed);
    (void)fflush(stdout);
    int code = play(o, o->seed, &t);
    print_faults(&t);
    print_totals("in all", &t);
    print_invariants(&t);
    (void)printf("trace %016llx\n", (unsigned long long)t.trace);
    return code;
}

int main(int argc, char **argv)
{
    struct options o = parse(argc, argv);
    if (o.is_speed) {
        speed_run(o.from, o.seeds);
        return SIM_OK;
    }
    return o.has_seed ? play_one(&o) : play_all(&o);
}
