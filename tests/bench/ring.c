/* ring.c - nodes of eddyd on loopback, as processes of their own. They end with
 * this one, however it ends. */
#define _GNU_SOURCE /* prctl */
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/bench.h"

#define PORT_FIRST 20000u
#define PORT_LAST  31998u
#define ARGS_MAX   20u
#define READY_MS   10000u

/* ---- ports ------------------------------------------------------------- */

static bool is_free(uint16_t port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        bench_die("no sockets");
    bool is = bind(fd, (struct sockaddr *)&at, sizeof at) == 0;
    (void)close(fd);
    return is;
}

uint16_t ring_free_port(void)
{
    static unsigned next;
    if (next == 0)
        next = PORT_FIRST + (unsigned)getpid() % 5000u * 2u;
    for (unsigned tried = 0; tried < 1000; tried++) {
        uint16_t port = (uint16_t)next;
        next = next + 2 > PORT_LAST ? PORT_FIRST : next + 2;
        if (is_free(port) && is_free((uint16_t)(port + 1)))
            return port;
    }
    bench_die("no free ports");
}

/* ---- processes --------------------------------------------------------- */

struct command {
    const char *args[ARGS_MAX];
    unsigned count;
};

static void add(struct command *c, const char *arg)
{
    if (c->count + 1 >= ARGS_MAX)
        bench_die("too many arguments");
    c->args[c->count++] = arg;
}

static void add_pair(struct command *c, const char *name, const char *value)
{
    add(c, name);
    add(c, value);
}

/* Its output goes to a file. */
static pid_t spawn(const struct command *c, const char *log)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    int fd = open(log, O_CREAT | O_WRONLY | O_APPEND, 0600);
    if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
        _exit(126);
    (void)execv(c->args[0], (char *const *)c->args);
    _exit(127);
}

static void run(const struct command *c, const char *log)
{
    int status;
    pid_t pid = spawn(c, log);
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
        bench_die("%s %s failed; see %s", c->args[0], c->args[1], log);
}

static void wait_ready(pid_t pid, const char *log)
{
    char text[4096];
    for (unsigned waited = 0; waited < READY_MS; waited += 20) {
        int fd = open(log, O_RDONLY | O_CLOEXEC);
        ssize_t size = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
        if (fd >= 0)
            (void)close(fd);
        text[size < 0 ? 0 : size] = 0;
        if (strstr(text, "ready ") != NULL)
            return;
        if (waitpid(pid, NULL, WNOHANG) == pid)
            break;
        (void)nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    bench_die("a node does not start; see %s:\n%s", log, text);
}

/* ---- the ring ---------------------------------------------------------- */

static void start_node(struct ring *r)
{
    char data[300], log[310], name[16], key[300], number[16];
    unsigned i = r->count++;
    bool is_first = i == 0;
    if (i >= RING_NODES_MAX)
        bench_die("too many nodes");
    (void)snprintf(name, sizeof name, "n%u", i + 1);
    (void)snprintf(data, sizeof data, "%s/%s", r->dir, name);
    (void)snprintf(log, sizeof log, "%s.log", data);
    (void)snprintf(key, sizeof key, "%s/n1/keys/join.key", r->dir);
    (void)snprintf(r->addresses[i], sizeof r->addresses[i], "127.0.0.1:%u",
                   (unsigned)ring_free_port());
    struct command make = {{r->eddyd, is_first ? "init" : "join"}, 2};
    add_pair(&make, "--data", data);
    add_pair(&make, "--name", name);
    add_pair(&make, "--listen", r->addresses[i]);
    if (!is_first)
        add_pair(&make, "--to", r->addresses[0]);
    if (is_first && r->partitions > 0) {
        (void)snprintf(number, sizeof number, "%u", r->partitions);
        add_pair(&make, "--partitions", number);
    }
    if (r->is_insecure)
        add(&make, "--insecure");
    else if (!is_first)
        add_pair(&make, "--key", key);
    run(&make, log);
    struct command serve = {{r->eddyd, "run", "--data", data}, 4};
    if (r->log_keep > 0) {
        (void)snprintf(number, sizeof number, "%u", r->log_keep);
        add_pair(&serve, "--log-keep", number);
    }
    r->pids[i] = spawn(&serve, log);
    if (is_first)
        wait_ready(r->pids[i], log); /* the others ask it to let them in */
}

void ring_start(struct ring *r, const char *eddyd, const char *dir,
                bool is_insecure)
{
    (void)snprintf(r->dir, sizeof r->dir, "%s", dir);
    r->eddyd = eddyd;
    r->is_insecure = is_insecure;
    r->count = 0;
    for (unsigned i = 0; i < RING_NODES; i++)
        start_node(r);
    if (!is_insecure)
        (void)snprintf(r->admin_key, sizeof r->admin_key,
                       "%s/n1/keys/admin.key", dir);
}

void ring_join(struct ring *r)
{
    start_node(r);
}

void ring_kill(struct ring *r)
{
    for (unsigned i = 0; i < r->count; i++) {
        if (r->pids[i] <= 0)
            continue;
        (void)kill(r->pids[i], SIGKILL);
        (void)waitpid(r->pids[i], NULL, 0);
        r->pids[i] = 0;
    }
}

/* ---- what they cost ---------------------------------------------------- */

/* A file of /proc/PID; how much was read. */
static void read_proc(pid_t pid, const char *name, char *out, size_t size)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, out, size - 1);
    if (got < 0)
        bench_die("node %d has ended", (int)pid);
    out[got] = 0;
    (void)close(fd);
}

double ring_cpu_s(const struct ring *r)
{
    unsigned long ticks = 0;
    for (unsigned i = 0; i < r->count; i++) {
        char text[1024];
        unsigned long user, system;
        read_proc(r->pids[i], "stat", text, sizeof text);
        /* Fields 14 and 15; the name, field 2, may hold blanks. */
        const char *at = strrchr(text, ')');
        if (at == NULL || sscanf(at + 1,
                                 " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u "
                                 "%*u %lu %lu",
                                 &user, &system) != 2)
            bench_die("/proc/%d/stat is not as expected", (int)r->pids[i]);
        ticks += user + system;
    }
    return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

double ring_rss_mb(const struct ring *r)
{
    double largest = 0;
    for (unsigned i = 0; i < r->count; i++) {
        char text[4096];
        unsigned long kib = 0;
        read_proc(r->pids[i], "status", text, sizeof text);
        const char *at = strstr(text, "VmHWM:");
        if (at == NULL || sscanf(at, "VmHWM: %lu", &kib) != 1)
            bench_die("/proc/%d/status is not as expected", (int)r->pids[i]);
        double mb = (double)kib * 1024 / 1e6;
        largest = mb > largest ? mb : largest;
    }
    return largest;
}
