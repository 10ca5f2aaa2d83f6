/* sim_pool.c - see sim_pool.h.
 *
 * A process speaks through a pipe and leaves its totals in memory that it
 * shares with us, where they are found even if it has died. */
#define _GNU_SOURCE /* MAP_ANONYMOUS */
#include "tests/sim/sim_pool.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

struct job {
    pid_t pid; /* 0: none */
    int words;
    uint64_t seed, tag;
    struct buf text;
    struct totals *totals; /* shared */
};

struct pool {
    struct job jobs[JOBS_MAX];
    uint32_t count;
    struct buf text; /* of the last outcome */
};

static _Noreturn void give_up(const char *what)
{
    perror(what);
    exit(SIM_OTHER);
}

struct pool *pool_new(uint32_t jobs)
{
    ASSERT(jobs > 0 && jobs <= JOBS_MAX);
    struct pool *p = mem_alloc(sizeof *p);
    p->count = jobs;
    for (uint32_t i = 0; i < jobs; i++) {
        p->jobs[i].totals =
            mmap(NULL, sizeof(struct totals), PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (p->jobs[i].totals == MAP_FAILED)
            give_up("sim: mmap");
    }
    return p;
}

void pool_free(struct pool *p)
{
    for (uint32_t i = 0; i < p->count; i++) {
        struct job *j = &p->jobs[i];
        if (j->pid != 0) {
            (void)kill(j->pid, SIGKILL);
            (void)waitpid(j->pid, NULL, 0);
            (void)close(j->words);
        }
        buf_free(&j->text);
        (void)munmap(j->totals, sizeof *j->totals);
    }
    buf_free(&p->text);
    mem_free(p);
}

bool pool_is_full(const struct pool *p)
{
    for (uint32_t i = 0; i < p->count; i++)
        if (p->jobs[i].pid == 0)
            return false;
    return true;
}

bool pool_is_empty(const struct pool *p)
{
    for (uint32_t i = 0; i < p->count; i++)
        if (p->jobs[i].pid != 0)
            return false;
    return true;
}

/* In the new process. What it has said before an ASSERT must be out. */
static _Noreturn void play(const struct history *h, int words,
                           struct totals *totals)
{
    (void)dup2(words, STDOUT_FILENO);
    (void)dup2(words, STDERR_FILENO);
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    (void)alarm(h->limit_s);
    int code = play_history(h, totals);
    (void)fflush(stdout);
    _exit(code);
}

void pool_begin(struct pool *p, const struct history *h, uint64_t tag)
{
    struct job *j = p->jobs;
    while (j->pid != 0)
        j++;
    ASSERT(j < p->jobs + p->count);
    int words[2];
    if (pipe(words) != 0)
        give_up("sim: pipe");
    *j->totals = (struct totals){0};
    j->seed = h->seed;
    j->tag = tag;
    (void)fflush(stdout);
    j->pid = fork();
    if (j->pid < 0)
        give_up("sim: fork");
    if (j->pid == 0)
        play(h, words[1], j->totals);
    (void)close(words[1]);
    j->words = words[0];
}

static struct job *with_words(struct pool *p, int wait_ms)
{
    struct pollfd fds[JOBS_MAX];
    for (uint32_t i = 0; i < p->count; i++) {
        const struct job *j = &p->jobs[i];
        fds[i] = (struct pollfd){j->pid == 0 ? -1 : j->words, POLLIN, 0};
    }
    if (poll(fds, p->count, wait_ms) <= 0)
        return NULL;
    for (uint32_t i = 0; i < p->count; i++)
        if (fds[i].revents != 0)
            return &p->jobs[i];
    return NULL;
}

static void end_job(struct pool *p, struct job *j, struct outcome *o)
{
    int status = 0;
    while (waitpid(j->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    (void)close(j->words);
    j->pid = 0;
    buf_append(&j->text, "", 1);
    buf_free(&p->text);
    p->text = j->text;
    j->text = (struct buf){0};
    *o = (struct outcome){
        .tag = j->tag,
        .seed = j->seed,
        .code = WIFEXITED(status) ? WEXITSTATUS(status) : SIM_OTHER,
        .signal_number = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
        .totals = *j->totals,
        .words = (char *)p->text.data,
    };
    o->is_violation = o->code == SIM_SAFETY || o->code == SIM_LIVENESS ||
                      o->signal_number == SIGABRT;
}

bool pool_next(struct pool *p, struct outcome *o, int wait_ms)
{
    struct job *j;
    while ((j = with_words(p, wait_ms)) != NULL) {
        char text[4096];
        ssize_t size = read(j->words, text, sizeof text);
        if (size > 0) {
            buf_append(&j->text, text, (size_t)size);
            continue;
        }
        end_job(p, j, o);
        return true;
    }
    return false;
}

double pool_cpu_seconds(void)
{
    struct rusage u;
    if (getrusage(RUSAGE_CHILDREN, &u) != 0)
        give_up("sim: getrusage");
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static const char *reason_of(const struct outcome *o)
{
    const char *at = strstr(o->words, " violated, while ");
    if (at != NULL)
        at = strchr(at, '\n');
    if (at != NULL)
        return at + strspn(at, "\n .0123456789"); /* when it was */
    at = strstr(o->words, ": broken invariant: ");
    while (at != NULL && at > o->words && at[-1] != '\n')
        at--;
    if (at != NULL)
        return at;
    if (o->signal_number == SIGALRM)
        return "it did not end";
    return o->signal_number != 0 ? "it died" : o->words;
}

void outcome_reason(const struct outcome *o, char *line, size_t size)
{
    const char *reason = reason_of(o);
    (void)snprintf(line, size, "%.*s", (int)strcspn(reason, "\n"), reason);
}
