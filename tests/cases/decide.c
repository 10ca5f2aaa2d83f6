/* decide.c - runs tables of decisions, anybody's, against ours.
 *
 *     decide [--update] [--off RULE] FILE...      "-" is stdin
 *
 * The format is script.h's, the decisions are in README.md. Prints what
 * differs, and how many do. Exit 0: all is as expected; 1: something differs;
 * 2: something makes no sense. --update puts our answers in the place of the
 * expected ones
 * ("-": to stdout), so that a file of questions becomes one of answers. */
#include "ring/rule.h"
#include "tests/cases/decisions.h"
#include "tests/cases/script.h"

static void run(void *world, struct line *l, struct buf *out)
{
    (void)world;
    if (!decide_raft(l, out) && !decide_ring(l, out))
        line_fail(l, "no decision is called \"%s\"", l->verb);
}

/* 0, 1 or 2, as main; the rows that were good are added up. */
static int run_file(const char *path, bool is_update, size_t *good, size_t *bad)
{
    struct buf text = {0};
    if (!script_read(path, &text))
        return 2;
    struct script s = {.path = path, .run = run, .is_quiet = is_update};
    script_run(&s, span_buf(&text), is_update);
    int status = s.differences > 0;
    if (s.is_bad) {
        status = 2;
    } else if (is_update && strcmp(path, "-") == 0) {
        (void)fwrite(s.rewritten.data, 1, s.rewritten.size, stdout);
        status = 0;
    } else if (is_update) {
        status =
            status == 0 || script_write(path, span_buf(&s.rewritten)) ? 0 : 2;
    } else {
        *good += s.blocks - s.differences;
        *bad += s.differences;
    }
    buf_free(&s.rewritten);
    buf_free(&text);
    return status;
}

int main(int argc, char **argv)
{
    bool is_update = false;
    int status = 0;
    size_t files = 0, good = 0, bad = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--update") == 0) {
            is_update = true;
        } else if (strcmp(argv[i], "--off") == 0 && i + 1 < argc) {
            if (!rule_turn_off(argv[++i])) {
                (void)fprintf(stderr, "no rule is called %s\n", argv[i]);
                return 2;
            }
        } else {
            int one = run_file(argv[i], is_update, &good, &bad);
            status = one > status ? one : status;
            files++;
        }
    }
    if (files == 0) {
        (void)fprintf(stderr,
                      "usage: decide [--update] [--off RULE] FILE...\n");
        return 2;
    }
    if (!is_update)
        printf("%zu files: %zu as expected, %zu not\n", files, good, bad);
    return status;
}
