/* prctl: a child that dies with us is Linux's alone. nftw is XSI's. */
#define _GNU_SOURCE

/* cmd_nodes.c - see cmd_nodes.h. */
#include "tools/cmd_nodes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tools/cli.h"

/* Below the range that Linux takes outgoing ports from. */
#define PORT_FIRST 20000u
#define PORT_COUNT 12000u
#define READY_MS   30000u
#define STOP_MS    15000u
#define ARGUMENTS  20u

static bool fail(struct cmd_nodes *n, const char *what, const char *why)
{
    (void)snprintf(n->reason, sizeof n->reason, "%.200s: %.250s", what, why);
    return false;
}

static void nap(void)
{
    struct timespec t = {0, 20 * 1000000L};
    (void)nanosleep(&t, NULL);
}

/* ---- what is needed ---------------------------------------------------- */

static bool port_is_free(uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons(port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_free = fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0;
    if (fd >= 0)
        (void)close(fd);
    return is_free;
}

static bool find_ports(struct cmd_nodes *n)
{
    /* Two demos at once begin at different places. */
    uint32_t at = (uint32_t)getpid() * 97u % PORT_COUNT;
    uint16_t *wanted = NULL;
    uint32_t found = 0;
    for (uint32_t tried = 0; tried < PORT_COUNT && found < 2 * n->count;
         tried++, at++) {
        uint16_t port = (uint16_t)(PORT_FIRST + at % PORT_COUNT);
        if (!port_is_free(port))
            continue;
        struct cmd_node *node = &n->nodes[found / 2];
        wanted = found % 2 == 0 ? &node->client_port : &node->peer_port;
        *wanted = port;
        found++;
    }
    return found == 2 * n->count ||
           fail(n, "ports", "none are free between 20000 and 32000");
}

/* Beside this very program. */
static bool find_program(struct cmd_nodes *n)
{
    ssize_t size = readlink("/proc/self/exe", n->program,
                            sizeof n->program - sizeof "eddyd");
    char *slash = NULL;
    if (size > 0) {
        n->program[size] = 0;
        slash = strrchr(n->program, '/');
    }
    if (slash == NULL)
        return fail(n, "/proc/self/exe", "cannot be read");
    memcpy(slash + 1, "eddyd", sizeof "eddyd");
    return access(n->program, X_OK) == 0 ||
           fail(n, n->program, "is not there: build it with make");
}

bool cmd_nodes_prepare(struct cmd_nodes *n, uint32_t count)
{
    *n = (struct cmd_nodes){.count = count};
    for (uint32_t i = 0; i < count; i++)
        (void)snprintf(n->nodes[i].name, sizeof n->nodes[i].name, "n%u", i + 1);
    if (!find_program(n) || !find_ports(n))
        return false;
    const char *temporary = getenv("TMPDIR");
    bool is_usable = temporary != NULL && temporary[0] == '/' &&
                     strlen(temporary) < sizeof n->folder - 24;
    (void)snprintf(n->folder, sizeof n->folder, "%s/eddy-demo.XXXXXX",
                   is_usable ? temporary : "/tmp");
    if (mkdtemp(n->folder) == NULL) {
        (void)fail(n, n->folder, strerror(errno));
        n->folder[0] = 0;
        return false;
    }
    return true;
}

/* ---- processes --------------------------------------------------------- */

/* In a group of its own, so that Ctrl-C is ours to judge; gone when we are. */
static pid_t spawn(const struct cmd_nodes *n, const char *log,
                   const char *const *arguments)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(126);
    int in = open("/dev/null", O_RDONLY);
    int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (in < 0 || out < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 ||
        dup2(out, 2) < 0)
        _exit(126);
    (void)execv(n->program, (char *const *)arguments);
    _exit(127);
}

static void log_path(const struct cmd_nodes *n, uint32_t i, char *path,
                     size_t size)
{
    (void)snprintf(path, size, "%s/%s.log", n->folder, n->nodes[i].name);
}

void cmd_nodes_key(const struct cmd_nodes *n, char *path, size_t size)
{
    (void)snprintf(path, size, "%s/%s/keys/admin.key", n->folder,
                   n->nodes[0].name);
}

bool cmd_nodes_make(struct cmd_nodes *n, uint32_t i)
{
    const struct cmd_node *node = &n->nodes[i];
    char data[128], listen[32], peer[32], to[32], key[160], copies[4], log[128];
    (void)snprintf(data, sizeof data, "%s/%s", n->folder, node->name);
    (void)snprintf(listen, sizeof listen, "127.0.0.1:%u", node->client_port);
    (void)snprintf(peer, sizeof peer, "127.0.0.1:%u", node->peer_port);
    (void)snprintf(to, sizeof to, "127.0.0.1:%u", n->nodes[0].client_port);
    (void)snprintf(key, sizeof key, "%s/%s/keys/join.key", n->folder,
                   n->nodes[0].name);
    (void)snprintf(copies, sizeof copies, "%u", n->count < 3 ? n->count : 3);
    log_path(n, i, log, sizeof log);
    const char *const init[] = {n->program,
                                "init",
                                "--data",
                                data,
                                "--listen",
                                listen,
                                "--peer-listen",
                                peer,
                                "--name",
                                node->name,
                                "--replication",
                                copies,
                                "--partitions",
                                "64",
                                n->out_after == NULL ? NULL : "--out-after",
                                n->out_after,
                                NULL};
    const char *const join[] = {
        n->program,      "join", "--data", data,       "--listen", listen,
        "--peer-listen", peer,   "--name", node->name, "--to",     to,
        "--key",         key,    NULL};
    pid_t pid = spawn(n, log, i == 0 ? init : join);
    int state = 0;
    while (pid > 0 && waitpid(pid, &state, 0) < 0 && errno == EINTR) {
    }
    return (pid > 0 && WIFEXITED(state) && WEXITSTATUS(state) == 0) ||
           fail(n, log, "eddyd would not make its folder; see there");
}

/* A line of the log begins with it, counted from an offset. */
static bool log_says(const char *path, long from, const char *word)
{
    FILE *f = fopen(path, "r");
    char line[512];
    bool is_said = false;
    if (f == NULL)
        return false;
    if (fseek(f, from, SEEK_SET) == 0)
        while (!is_said && fgets(line, sizeof line, f) != NULL)
            is_said = strncmp(line, word, strlen(word)) == 0;
    (void)fclose(f);
    return is_said;
}

static long file_size(const char *path)
{
    FILE *f = fopen(path, "r");
    long size = 0;
    if (f != NULL) {
        if (fseek(f, 0, SEEK_END) == 0)
            size = ftell(f);
        (void)fclose(f);
    }
    return size;
}

bool cmd_nodes_start(struct cmd_nodes *n, uint32_t i)
{
    struct cmd_node *node = &n->nodes[i];
    char data[128], log[128];
    (void)snprintf(data, sizeof data, "%s/%s", n->folder, node->name);
    log_path(n, i, log, sizeof log);
    const char *const run[] = {n->program, "run", "--data", data, NULL};
    long from = file_size(log);
    node->pid = spawn(n, log, run);
    if (node->pid < 0) {
        node->pid = 0;
        return fail(n, "fork", strerror(errno));
    }
    uint64_t until = cli_now_ms() + READY_MS;
    while (cli_now_ms() < until) {
        if (log_says(log, from, "ready "))
            return true;
        if (waitpid(node->pid, NULL, WNOHANG) == node->pid) {
            node->pid = 0;
            return fail(n, log, "eddyd ended; see there");
        }
        nap();
    }
    return fail(n, log, "eddyd is not ready after 30 s; see there");
}

void cmd_nodes_kill(struct cmd_nodes *n, uint32_t i)
{
    struct cmd_node *node = &n->nodes[i];
    if (node->pid == 0)
        return;
    (void)kill(node->pid, SIGKILL);
    while (waitpid(node->pid, NULL, 0) < 0 && errno == EINTR) {
    }
    node->pid = 0;
}

void cmd_nodes_kill_all(const struct cmd_nodes *n)
{
    for (uint32_t i = 0; i < n->count; i++)
        if (n->nodes[i].pid != 0)
            (void)kill(n->nodes[i].pid, SIGKILL);
}

static bool has_ended(struct cmd_nodes *n, uint32_t i, bool *is_good)
{
    struct cmd_node *node = &n->nodes[i];
    int state = 0;
    if (node->pid == 0)
        return true;
    if (waitpid(node->pid, &state, WNOHANG) != node->pid)
        return false;
    node->pid = 0;
    if (!WIFEXITED(state) || WEXITSTATUS(state) != 0) {
        *is_good = false;
        (void)fail(n, node->name, "did not exit with 0; see its log");
    }
    return true;
}

bool cmd_nodes_stop(struct cmd_nodes *n)
{
    bool is_good = true;
    uint64_t until = cli_now_ms() + STOP_MS;
    for (uint32_t i = 0; i < n->count; i++)
        if (n->nodes[i].pid != 0)
            (void)kill(n->nodes[i].pid, SIGTERM);
    for (uint32_t i = 0; i < n->count; i++) {
        while (!has_ended(n, i, &is_good) && cli_now_ms() < until)
            nap();
        if (n->nodes[i].pid == 0)
            continue;
        is_good = fail(n, n->nodes[i].name, "did not stop within 15 s");
        cmd_nodes_kill(n, i);
    }
    return is_good;
}

static int remove_one(const char *path, const struct stat *s, int kind,
                      struct FTW *at)
{
    (void)s;
    (void)kind;
    (void)at;
    return remove(path);
}

void cmd_nodes_clean(struct cmd_nodes *n, bool keeps_folder)
{
    for (uint32_t i = 0; i < n->count; i++)
        cmd_nodes_kill(n, i);
    if (n->folder[0] != 0 && !keeps_folder)
        (void)nftw(n->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
