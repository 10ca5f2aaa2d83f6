/* cmd_demo.c - `eddy demo`: the whole story on one machine, with real
 * processes and real files. Every number it prints was measured, and it fails
 * if a single byte comes back another. */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ring/base.h"
#include "tools/cli.h"
#include "tools/cmd.h"
#include "tools/cmd_heal.h"
#include "tools/cmd_nodes.h"
#include "tools/cmd_view.h"

static const char usage[] =
    "eddy demo [N]   N nodes (3; 1 to 9) on this machine, in a temporary\n"
    "                folder: stores files, kills one node with -9, reads all\n"
    "                back, appends, starts it again, reads again, and "
    "compares\n"
    "                every byte. With 4 or more the dead one stays away until\n"
    "                the ring has given it up (after 5 s) and made its copies\n"
    "                anew on the others; then it is taken back. On a terminal\n"
    "                they stay until Enter. Exits with 1 if anything "
    "differed,\n"
    "                and keeps the folder then.\n" CMD_COMMON_USAGE;

#define FILES_MAX     12u
#define FILE_BYTES    (64u * 1024u * 1024u) /* larger ones are left out */
#define SMALL_BYTES   (8u * 1024u * 1024u)  /* where many streams are wanted */
#define FILE_LEAST    (1024u * 1024u)
#define TOTAL_BYTES   (48u * 1024u * 1024u)
#define SEGMENT_BYTES (256u * 1024u)
#define SETTLE_MS     120000u
#define ANSWER_MS     1500u
#define TIMEOUT_MS    20000u
#define POLL_MS       100
#define TELL_MS       500u /* between lines, where no line is written over */
/* So many nodes can do without one: its copies have where to go. */
#define HEAL_NODES 4u
#define OUT_AFTER  "5s"

struct demo_file {
    char path[512];
    char stream[64];
    uint64_t size;
    uint64_t copies; /* how many times the stream holds the file's bytes */
};

struct demo {
    struct cli *cli;
    struct cmd_nodes nodes;
    struct eddy *e;
    struct demo_file files[FILES_MAX];
    size_t file_count;
    uint64_t began_ms, step_ms;
    bool heals;           /* there are enough nodes for it */
    uint32_t victim;      /* of the nodes: the one that is killed */
    struct cmd_heal lost; /* while it is missed and not yet given up */
    char told[256];       /* last, by tell */
    uint64_t told_ms;
};

/* ---- being interrupted ------------------------------------------------- */

static volatile sig_atomic_t interrupts;
static const struct cmd_nodes *interrupted_nodes;

/* The first asks to clean up; the second does not wait for that. */
static void on_signal(int number)
{
    (void)number;
    if (++interrupts < 2)
        return;
    cmd_nodes_kill_all(interrupted_nodes);
    _exit(CLI_FAILED);
}

static void catch_signals(const struct demo *d)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction a = {.sa_handler = on_signal};
    interrupted_nodes = &d->nodes;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        (void)sigaction(numbers[i], &a, NULL);
}

/* ---- telling ----------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void say(struct demo *d,
                                                      const char *format, ...)
{
    uint64_t now = cli_now_ms();
    char took[CLI_TEXT_SIZE];
    cli_progress_end(d->cli);
    (void)printf("%8s  ", cli_duration(now - d->step_ms, took));
    va_list args;
    va_start(args, format);
    (void)vprintf(format, args);
    va_end(args);
    (void)putchar('\n');
    (void)fflush(stdout);
    d->step_ms = now;
}

__attribute__((format(printf, 2, 3))) static bool
broken(const struct demo *d, const char *format, ...)
{
    char text[768];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (interrupts > 0)
        cli_note(d->cli, "interrupted");
    else
        (void)cli_fail(d->cli, CLI_FAILED, "FAILED", "%s", text);
    return false;
}

static bool call_failed(const struct demo *d, enum eddy_error err,
                        const char *what)
{
    return broken(d, "%s: %s (%s)", what, eddy_error_text(err),
                  eddy_reason(d->e));
}

/* ---- real files -------------------------------------------------------- */

static bool is_taken(const struct demo *d, const char *name)
{
    for (size_t i = 0; i < d->file_count; i++)
        if (strcmp(d->files[i].stream, name) == 0)
            return true;
    return false;
}

/* Links are left out: many names of one library are one file. */
static void look_at(struct demo *d, const char *folder, const char *name,
                    uint64_t *total)
{
    struct demo_file f = {.copies = 0};
    struct stat s;
    int size = snprintf(f.path, sizeof f.path, "%s/%s", folder, name);
    if (size < 0 || (size_t)size >= sizeof f.path || lstat(f.path, &s) != 0 ||
        !S_ISREG(s.st_mode) || access(f.path, R_OK) != 0)
        return;
    f.size = (uint64_t)s.st_size;
    if (f.size < FILE_LEAST || f.size > (d->heals ? SMALL_BYTES : FILE_BYTES) ||
        strlen(name) >= sizeof f.stream || is_taken(d, name))
        return;
    memcpy(f.stream, name, strlen(name) + 1);
    d->files[d->file_count++] = f;
    *total += f.size;
}

static void find_files(struct demo *d, uint64_t *total)
{
    static const char *const folders[] = {
        "/usr/lib/gcc/x86_64-linux-gnu/12",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib64",
        "/usr/bin",
        "/usr/lib",
    };
    *total = 0;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        DIR *folder = opendir(folders[i]);
        struct dirent *at;
        while (folder != NULL && d->file_count < FILES_MAX &&
               *total < TOTAL_BYTES && (at = readdir(folder)) != NULL)
            look_at(d, folders[i], at->d_name, total);
        if (folder != NULL)
            (void)closedir(folder);
    }
}

/* ---- put and get ------------------------------------------------------- */

static bool append_file(struct demo *d, const struct demo_file *f,
                        struct eddy_producer *p, FILE *in)
{
    uint8_t *bytes = mem_alloc(SEGMENT_BYTES);
    enum eddy_error err = EDDY_OK;
    size_t size = 1;
    while (err == EDDY_OK && interrupts == 0 &&
           (size = fread(bytes, 1, SEGMENT_BYTES, in)) > 0)
        err =
            eddy_append(p, &(struct eddy_append){.data = bytes, .size = size});
    mem_free(bytes);
    enum eddy_error flushed = eddy_flush(p);
    err = err == EDDY_OK ? flushed : err;
    if (err != EDDY_OK)
        return call_failed(d, err, f->stream);
    return size == 0 || broken(d, "%s cannot be read", f->path);
}

static bool put_file(struct demo *d, struct demo_file *f)
{
    struct eddy_stream s;
    struct eddy_producer *p = NULL;
    FILE *in = fopen(f->path, "rb");
    if (in == NULL)
        return broken(d, "%s: %s", f->path, strerror(errno));
    enum eddy_error err = eddy_stream_create(d->e, f->stream, &s, NULL);
    if (err == EDDY_OK)
        err = eddy_producer_open(d->e, &s, NULL, NULL, NULL, &p);
    bool is_good = err == EDDY_OK ? append_file(d, f, p, in)
                                  : call_failed(d, err, f->stream);
    eddy_producer_close(p);
    (void)fclose(in);
    f->copies += is_good;
    return is_good;
}

/* The stream against the file, again and again from its beginning. */
static bool compare(struct demo *d, const struct demo_file *f,
                    struct eddy_reader *r, FILE *in)
{
    uint8_t *bytes = mem_alloc(EDDY_SEGMENT_MAX);
    struct eddy_segment s;
    uint64_t compared = 0;
    enum eddy_error err = EDDY_OK;
    bool is_same = true;
    while (is_same && interrupts == 0 &&
           (err = eddy_reader_next(r, &s)) == EDDY_OK) {
        if (compared % f->size == 0)
            rewind(in);
        is_same = fread(bytes, 1, s.size, in) == s.size &&
                  memcmp(bytes, s.data, s.size) == 0;
        compared += s.size;
    }
    mem_free(bytes);
    if (!is_same || interrupts > 0)
        return broken(d, "%s differs from %s at byte %llu or before", f->stream,
                      f->path, (unsigned long long)compared);
    if (err != EDDY_NOT_FOUND)
        return call_failed(d, err, f->stream);
    return compared == f->size * f->copies ||
           broken(d, "%s has %llu bytes instead of %llu", f->stream,
                  (unsigned long long)compared,
                  (unsigned long long)(f->size * f->copies));
}

static bool get_file(struct demo *d, const struct demo_file *f)
{
    struct eddy_stream s;
    struct eddy_reader *r = NULL;
    FILE *in = fopen(f->path, "rb");
    if (in == NULL)
        return broken(d, "%s: %s", f->path, strerror(errno));
    enum eddy_error err = eddy_stream_open(d->e, f->stream, &s);
    if (err == EDDY_OK)
        err = eddy_reader_open(d->e, &s, 0, EDDY_SEQ_ANY, &r);
    bool is_good =
        err == EDDY_OK ? compare(d, f, r, in) : call_failed(d, err, f->stream);
    eddy_reader_close(r);
    (void)fclose(in);
    return is_good;
}

static bool put_all(struct demo *d, const char *when)
{
    uint64_t bytes = 0, began = cli_now_ms();
    for (size_t i = 0; i < d->file_count; i++) {
        cli_progress(d->cli, "put %s", d->files[i].stream);
        if (!put_file(d, &d->files[i]))
            return false;
        bytes += d->files[i].size;
    }
    char size[CLI_TEXT_SIZE], rate[CLI_TEXT_SIZE];
    uint64_t ms = cli_now_ms() - began + 1;
    say(d, "put %zu files, %s, each as a stream%s: %s/s", d->file_count,
        cli_size(bytes, size), when, cli_size(bytes * 1000 / ms, rate));
    return true;
}

static bool get_all(struct demo *d, const char *when)
{
    uint64_t bytes = 0, began = cli_now_ms();
    for (size_t i = 0; i < d->file_count; i++) {
        cli_progress(d->cli, "get %s", d->files[i].stream);
        if (!get_file(d, &d->files[i]))
            return false;
        bytes += d->files[i].size * d->files[i].copies;
    }
    char size[CLI_TEXT_SIZE], rate[CLI_TEXT_SIZE];
    uint64_t ms = cli_now_ms() - began + 1;
    say(d, "got all back%s, %s, every byte the same: %s/s", when,
        cli_size(bytes, size), cli_size(bytes * 1000 / ms, rate));
    return true;
}

/* ---- the nodes --------------------------------------------------------- */

/* Whether what is waited for has come; how far it is goes to `text`. */
typedef bool done_fn(struct demo *d, const struct cmd_view *v, char text[256]);

static bool is_settled(struct demo *d, const struct cmd_view *v, char text[256])
{
    return v->record->member_count == d->nodes.count &&
           cmd_view_is_settled(v, false, text);
}

static bool is_balanced(struct demo *d, const struct cmd_view *v,
                        char text[256])
{
    return v->record->member_count == d->nodes.count &&
           cmd_view_is_settled(v, true, text);
}

/* A line now and then, where none can be written over. */
static void tell(struct demo *d, const char *text)
{
    uint64_t now = cli_now_ms();
    cli_progress(d->cli, "%s", text);
    if (cli_is_terminal(stderr) || now - d->told_ms < TELL_MS ||
        strcmp(text, d->told) == 0)
        return;
    (void)printf("%10s%s\n", "", text);
    (void)fflush(stdout);
    (void)snprintf(d->told, sizeof d->told, "%s", text);
    d->told_ms = now;
}

/* Asks the ring again and again. What is live is told in any case, the rest on
 * a terminal only. */
static bool wait_until(struct demo *d, done_fn *is_done, bool is_live)
{
    uint64_t until = cli_now_ms() + SETTLE_MS;
    char text[256] = "no answer yet";
    bool is_over = false;
    d->told_ms = 0;
    while (!is_over && interrupts == 0 && cli_now_ms() < until) {
        enum eddy_error err;
        struct cmd_view *v = cmd_view_take(d->e, ANSWER_MS, &err);
        is_over = v != NULL && is_done(d, v, text);
        cmd_view_free(v);
        if (is_over)
            break;
        if (is_live)
            tell(d, text);
        else
            cli_progress(d->cli, "%s", text);
        struct timespec pause = {0, POLL_MS * 1000000L};
        (void)nanosleep(&pause, NULL);
    }
    return is_over || broken(d, "the ring does not settle: %s", text);
}

static bool start_ring(struct demo *d)
{
    struct cmd_nodes *n = &d->nodes;
    for (uint32_t i = 0; i < n->count; i++)
        if (interrupts > 0 || !cmd_nodes_make(n, i) || !cmd_nodes_start(n, i))
            return broken(d, "%s", n->reason);
    char key[160], reason[EDDY_REASON_SIZE];
    cmd_nodes_key(n, key, sizeof key);
    struct eddy_options o = {.key_file = key, .timeout_ms = TIMEOUT_MS};
    if (eddy_open(&o, &d->e, reason) != EDDY_OK)
        return broken(d, "%s", reason);
    say(d, "%u node%s run, in %s", n->count, n->count == 1 ? "" : "s",
        n->folder);
    if (!wait_until(d, is_balanced, false))
        return false;
    say(d, "every partition has its %u cop%s and a leader",
        n->count < 3 ? n->count : 3, n->count == 1 ? "y" : "ies");
    return true;
}

/* Who leads most. */
static bool kill_one(struct demo *d)
{
    enum eddy_error err;
    struct cmd_view *v = cmd_view_take(d->e, ANSWER_MS, &err);
    if (v == NULL)
        return call_failed(d, err, "asking the ring");
    uint32_t most = 0;
    const char *name = d->nodes.nodes[0].name;
    for (uint32_t i = 0; i < v->record->member_count; i++) {
        if (v->nodes[i].leaders <= most)
            continue;
        most = v->nodes[i].leaders;
        name = v->record->members[i].name;
    }
    for (uint32_t i = 0; i < d->nodes.count; i++)
        if (strcmp(d->nodes.nodes[i].name, name) == 0)
            d->victim = i;
    cmd_nodes_kill(&d->nodes, d->victim);
    say(d, "killed %s with -9: it led %u of %u partitions", name, most,
        v->record->partitions);
    cmd_view_free(v);
    return true;
}

/* ---- healing ----------------------------------------------------------- */

static const char *victim_name(const struct demo *d)
{
    return d->nodes.nodes[d->victim].name;
}

static bool victim_is_out(const struct demo *d, const struct cmd_view *v)
{
    for (uint32_t i = 0; i < v->record->member_count; i++)
        if (strcmp(v->record->members[i].name, victim_name(d)) == 0)
            return v->record->members[i].seen == SEEN_OUT;
    return false;
}

/* Until then its copies are missed, and none is made anew. */
static bool is_given_up(struct demo *d, const struct cmd_view *v,
                        char text[256])
{
    if (victim_is_out(d, v))
        return true;
    cmd_heal_count(v, &d->lost);
    (void)snprintf(text, 256,
                   "%s does not come back: the others give it up when it has "
                   "been dead for " OUT_AFTER,
                   victim_name(d));
    return false;
}

static bool is_healed(struct demo *d, const struct cmd_view *v, char text[256])
{
    struct cmd_heal h;
    char why[256];
    cmd_heal_count(v, &h);
    cmd_heal_text(&h, text);
    return is_settled(d, v, why);
}

static bool is_taken_back(struct demo *d, const struct cmd_view *v,
                          char text[256])
{
    (void)snprintf(text, 256,
                   "%s is taken back when it has been in touch for " OUT_AFTER,
                   victim_name(d));
    return !victim_is_out(d, v);
}

/* Nobody is at the keyboard: it only looks. */
static bool watch_healing(struct demo *d)
{
    char bytes[CLI_TEXT_SIZE], took[CLI_TEXT_SIZE];
    if (!wait_until(d, is_given_up, true))
        return false;
    say(d, "%s is out of the ring: its %u copies, %s, are made anew",
        victim_name(d), d->lost.copies - d->lost.whole,
        cli_size(d->lost.bytes, bytes));
    uint64_t began = cli_now_ms();
    if (!wait_until(d, is_healed, true))
        return false;
    say(d, "all %u copies are whole again, on the other %u nodes, after %s",
        d->lost.copies, d->nodes.count - 1,
        cli_duration(cli_now_ms() - began, took));
    return get_all(d, " from them");
}

/* It comes back to a ring that has done without it. */
static bool watch_return(struct demo *d)
{
    if (!wait_until(d, is_taken_back, true))
        return false;
    say(d, "%s is taken back, and gets its share again", victim_name(d));
    return wait_until(d, is_healed, true);
}

/* ---- the story --------------------------------------------------------- */

static bool tell_story(struct demo *d)
{
    if (!start_ring(d) || !put_all(d, "") || !kill_one(d))
        return false;
    /* Of two copies both are a majority: nothing is said with one. */
    bool has_quorum = d->nodes.count >= 3;
    if (has_quorum && (!get_all(d, " without it") ||
                       !put_all(d, ", once more, while it is down")))
        return false;
    if (d->heals && !watch_healing(d))
        return false;
    if (!cmd_nodes_start(&d->nodes, d->victim))
        return broken(d, "%s", d->nodes.reason);
    say(d, "%s runs again", victim_name(d));
    if (!(d->heals ? watch_return(d) : wait_until(d, is_settled, false)))
        return false;
    say(d, "its copies have caught up");
    return get_all(d, "");
}

static void print_try(const struct demo *d)
{
    char key[160];
    cmd_nodes_key(&d->nodes, key, sizeof key);
    (void)printf("\nThey run until you press Enter. Try, in another shell:\n"
                 "  export EDDY_KEY=%s\n"
                 "  eddy ring members\n"
                 "  eddy stream list\n"
                 "  echo hello | eddy put greetings\n"
                 "  eddy get greetings\n",
                 key);
    (void)fflush(stdout);
    int c;
    do {
        c = interrupts == 0 ? getchar() : EOF;
    } while (c != '\n' && c != EOF);
}

static bool run_demo(struct demo *d)
{
    uint64_t total;
    char text[CLI_TEXT_SIZE];
    find_files(d, &total);
    if (d->file_count == 0)
        return broken(d, "there are no files of 1M to 64M in /usr to store");
    if (!tell_story(d))
        return false;
    (void)printf("\n$ eddy ring status\n");
    int code = cmd_ring_status(d->cli, d->e);
    if (code != CLI_DONE)
        return broken(d, "the ring is not healthy at the end");
    if (cli_is_terminal(stdin) && cli_is_terminal(stdout))
        print_try(d);
    (void)putchar('\n');
    d->step_ms = cli_now_ms();
    eddy_close(d->e);
    d->e = NULL;
    if (!cmd_nodes_stop(&d->nodes))
        return broken(d, "%s", d->nodes.reason);
    say(d, "all stopped");
    (void)printf("%8s  in all\n",
                 cli_duration(cli_now_ms() - d->began_ms, text));
    return true;
}

static bool prepare(struct demo *d, uint32_t count)
{
    bool is_ready = cmd_nodes_prepare(&d->nodes, count);
    d->heals = count >= HEAL_NODES;
    d->nodes.out_after = d->heals ? OUT_AFTER : NULL;
    return is_ready;
}

int cmd_demo(int argc, char **argv)
{
    struct cli cli = {.usage = usage};
    struct demo *d = mem_alloc(sizeof *d);
    uint64_t count = 3;
    int code;
    bool is_good = cli_parse(&cli, argc, argv, NULL, 0, &code) &&
                   cli_wants(&cli, 0, 1, &code);
    if (is_good && cli.argument_count == 1 &&
        (!cli_read_u64(cli.arguments[0], &count) || count == 0 ||
         count > CMD_NODES_MAX)) {
        code = cli_fail(&cli, CLI_USAGE, "BAD_REQUEST",
                        "eddy demo N: 1 to %u nodes", CMD_NODES_MAX);
        is_good = false;
    }
    if (is_good) {
        d->cli = &cli;
        d->began_ms = cli_now_ms();
        d->step_ms = d->began_ms;
        cli.is_json = false; /* a story, not a document */
        catch_signals(d);
        bool is_told = prepare(d, (uint32_t)count)
                           ? run_demo(d)
                           : broken(d, "%s", d->nodes.reason);
        bool keeps = !is_told && interrupts == 0 && d->nodes.folder[0] != 0;
        eddy_close(d->e);
        cmd_nodes_clean(&d->nodes, keeps);
        if (keeps)
            cli_note(&cli, "folders and logs are in %s", d->nodes.folder);
        code = is_told ? cli_flush(&cli, CLI_DONE) : CLI_FAILED;
    }
    mem_free(d);
    cli_free(&cli);
    return code;
}
