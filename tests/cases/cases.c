/* cases.c - plays directed cases: text files that tell an incident of
 * HAZARDS.md in commands that a reader of Raft understands, and what they
 * print.
 *
 *     cases [--update] [--off RULE] FILE|FOLDER...
 *     cases --off-all FILE|FOLDER...
 *
 * A folder stands for its *.txt. Exit 0: all print what is expected; 1: some do
 * not; 2: something makes no sense.
 *
 * --off-all proves that a case can fail: a case NAME_of_the_incident.txt is
 * played again with each rule switched off whose name NAME is or begins with
 * (S9 stands for S9A, S9B ...), or that its line "# off: RULE ..." names.
 * Without the rule it must print something else, or die. "# no switch: why"
 * says that there is none. */
#include <dirent.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ring/rule.h"
#include "tests/cases/decisions.h"
#include "tests/cases/script.h"
#include "tests/cases/world.h"

#define FILES_MAX 400u

/* ---- one case ---------------------------------------------------------- */

struct player {
    const struct world_kind *kind; /* NULL: no world yet */
    void *world;
};

static const struct world_kind *const kinds[] = {
    &world_group, &world_partition, &world_gossip,
    &world_nodes, &world_record,    &world_library,
};

static void leave(struct player *p)
{
    if (p->world != NULL)
        p->kind->end(p->world);
    *p = (struct player){0};
}

static void run(void *context, struct line *l, struct buf *out)
{
    struct player *p = context;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(l->verb, kinds[i]->verb) == 0) {
            leave(p);
            p->kind = kinds[i];
            p->world = p->kind->begin(l, out);
            return;
        }
    }
    if (p->world != NULL && p->kind->run(p->world, l, out))
        return;
    if (!decide_raft(l, out) && !decide_ring(l, out))
        line_fail(l, "no command is called \"%s\"%s", l->verb,
                  p->world == NULL ? " before a world begins" : " here");
}

/* 0, 1 or 2, as main. */
static int play(const char *path, bool is_update, bool is_quiet)
{
    struct buf text = {0};
    if (!script_read(path, &text))
        return 2;
    struct player p = {0};
    struct script s = {.path = path,
                       .run = run,
                       .world = &p,
                       .is_quiet = is_quiet || is_update};
    script_run(&s, span_buf(&text), is_update);
    leave(&p);
    int status = s.bad > 0 ? 2 : s.differences > 0;
    if (status == 1 && is_update)
        status = script_write(path, span_buf(&s.rewritten)) ? 0 : 2;
    if (s.bad == 0 && s.blocks == 0 && !is_quiet) {
        (void)fprintf(stderr, "%s: tells nothing\n", path);
        status = 2;
    }
    buf_free(&s.rewritten);
    buf_free(&text);
    return status;
}

/* ---- without a rule ---------------------------------------------------- */

/* In a process of its own, which may die of it. True: the case has noticed. */
static bool notices(const char *path, const char *rule)
{
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(0);
        bool is_known = rule_turn_off(rule);
        ASSERT(is_known);
        _exit(play(path, false, true));
    }
    int status = 0;
    ASSERT(pid > 0 && waitpid(pid, &status, 0) == pid);
    return !WIFEXITED(status) || WEXITSTATUS(status) == 1;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

/* The file's incident, "S09" of "S09_holes.txt", and the rule's name, "S9A":
 * the same letter and number, or a part of it. */
static bool is_part(const char *rule, const char *path)
{
    const char *name = base_name(path);
    char *rule_end, *name_end;
    unsigned long number = strtoul(rule + 1, &rule_end, 10);
    return name[0] == rule[0] && strtoul(name + 1, &name_end, 10) == number &&
           name_end > name + 1 && (*name_end == '_' || *name_end == '.');
}

/* The words behind "# off:" or "# no switch:" in the file; empty: none. */
static void read_remark(const char *path, const char *key, struct buf *out)
{
    struct buf text = {0};
    buf_clear(out);
    if (script_read(path, &text)) {
        buf_append(&text, "", 1);
        const char *at = strstr((const char *)text.data, key);
        if (at != NULL)
            buf_append(out, at + strlen(key), strcspn(at + strlen(key), "\n"));
    }
    buf_append(out, "", 1);
    buf_free(&text);
}

static bool names(const char *words, const char *rule)
{
    size_t size = strlen(rule);
    for (const char *at = strstr(words, rule); at != NULL;
         at = strstr(at + 1, rule)) {
        bool begins = at == words || at[-1] == ' ' || at[-1] == ',';
        if (begins && (at[size] == '\0' || at[size] == ' ' || at[size] == ','))
            return true;
    }
    return false;
}

/* Plays the case without each of its rules. Returns the number of failures. */
static size_t play_without(const char *path, bool *is_seen)
{
    struct buf off = {0}, none = {0};
    size_t failures = 0, tried = 0;
    read_remark(path, "# off:", &off);
    read_remark(path, "# no switch:", &none);
    for (size_t rule = 0; rule < RULE_COUNT; rule++) {
        const char *name = rule_name(rule);
        bool is_named = names((const char *)off.data, name);
        if (!is_named && (off.size > 1 || !is_part(name, path)))
            continue;
        tried++;
        if (notices(path, name)) {
            is_seen[rule] = true;
            continue;
        }
        printf("not ok  %s: the same without %s\n", path, name);
        failures++;
    }
    if (tried == 0 && none.size == 1) {
        printf("not ok  %s: no rule to switch off, and no reason why\n", path);
        failures++;
    }
    buf_free(&off);
    buf_free(&none);
    return failures;
}

static int play_all_without(char **paths, size_t count)
{
    bool is_seen[RULE_COUNT] = {false};
    size_t failures = 0, seen = 0;
    for (size_t i = 0; i < count; i++)
        failures += play_without(paths[i], is_seen);
    for (size_t rule = 0; rule < RULE_COUNT; rule++) {
        seen += is_seen[rule];
        if (!is_seen[rule])
            printf("--      no case notices that %s is off\n", rule_name(rule));
    }
    printf("%zu of %d rules are missed by a case when off, %zu failures\n",
           seen, RULE_COUNT, failures);
    return failures > 0;
}

/* ---- files ------------------------------------------------------------- */

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static size_t add_path(char **paths, size_t count, const char *folder,
                       const char *name)
{
    struct buf path = {0};
    ASSERT(count < FILES_MAX);
    buf_printf(&path, "%s%s%s", folder, *folder == '\0' ? "" : "/", name);
    buf_append(&path, "", 1);
    paths[count] = (char *)path.data;
    return count + 1;
}

/* The file, or the folder's *.txt in the order of their names. */
static size_t add_paths(char **paths, size_t count, const char *path)
{
    DIR *folder = opendir(path);
    if (folder == NULL)
        return add_path(paths, count, "", path);
    size_t first = count;
    for (struct dirent *e = readdir(folder); e != NULL; e = readdir(folder)) {
        size_t size = strlen(e->d_name);
        if (size > 4 && strcmp(e->d_name + size - 4, ".txt") == 0)
            count = add_path(paths, count, path, e->d_name);
    }
    (void)closedir(folder);
    qsort(paths + first, count - first, sizeof *paths, compare_paths);
    return count;
}

static int play_all(char **paths, size_t count, bool is_update)
{
    int worst = 0;
    size_t good = 0;
    for (size_t i = 0; i < count; i++) {
        int status = play(paths[i], is_update, false);
        good += status == 0;
        worst = status > worst ? status : worst;
    }
    printf("%zu cases as expected, %zu not\n", good, count - good);
    return worst;
}

int main(int argc, char **argv)
{
    char *paths[FILES_MAX];
    size_t count = 0;
    bool is_update = false, is_off_all = false, is_bad = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--update") == 0) {
            is_update = true;
        } else if (strcmp(argv[i], "--off-all") == 0) {
            is_off_all = true;
        } else if (strcmp(argv[i], "--off") == 0 && i + 1 < argc) {
            is_bad = !rule_turn_off(argv[++i]) || is_bad;
        } else {
            count = add_paths(paths, count, argv[i]);
        }
    }
    int status = 2;
    if (count == 0 || is_bad)
        (void)fprintf(stderr, "usage: cases [--update] [--off RULE] FILE|FOLDER"
                              "...\n       cases --off-all FILE|FOLDER...\n");
    else if (is_off_all)
        status = play_all_without(paths, count);
    else
        status = play_all(paths, count, is_update);
    for (size_t i = 0; i < count; i++)
        mem_free(paths[i]);
    return status;
}
