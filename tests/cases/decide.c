/* decide.c - runs tables of decisions, anybody's, against ours.
 *
 *     decide [--update] [--off RULE] FILE...      "-" is stdin
 *
 * The format is script.h's, the decisions are in README.md. Prints what
 * differs, and how many do. Exit 0: all is as expected; 1: something differs;
 * 2: something makes no sense (told with file and line; the rest is run).
 * --update puts our answers in the place of the expected ones ("-": to stdout),
 * so that a file of questions becomes one of answers. */
#include "ring/rule.h"
#include "tests/cases/decisions.h"
#include "tests/cases/script.h"

static void run(void *world, struct line *l, struct buf *out)
{
    (void)world;
    if (!decide_raft(l, out) && !decide_ring(l, out))
        line_fail(l, "no decision is called \"%s\"", l->verb);
}

struct tally {
    size_t files, good, bad, senseless;
};

/* 0, 1 or 2, as main. */
static int run_file(const char *path, bool is_update, struct tally *tally)
{
    struct buf text = {0};
    if (!script_read(path, &text))
        return 2;
    struct script s = {
        .path = path, .run = run, .is_quiet = is_update, .is_table = true};
    script_run(&s, span_buf(&text), is_update);
    int status = s.bad > 0 ? 2 : s.differences > 0;
    if (is_update && s.bad == 0 && strcmp(path, "-") == 0) {
        (void)fwrite(s.rewritten.data, 1, s.rewritten.size, stdout);
        status = 0;
    } else if (is_update && s.bad == 0) {
        status =
            status == 0 || script_write(path, span_buf(&s.rewritten)) ? 0 : 2;
    }
    tally->good += s.blocks - s.differences;
    tally->bad += s.differences;
    tally->senseless += s.bad;
    buf_free(&s.rewritten);
    buf_free(&text);
    return status;
}

static int report(const struct tally *t, bool is_update, int status)
{
    if (t->files == 0) {
        (void)fprintf(stderr,
                      "usage: decide [--update] [--off RULE] FILE...\n");
        return 2;
    }
    if (!is_update && t->senseless > 0)
        printf("%zu files: %zu as expected, %zu not, %zu make no sense\n",
               t->files, t->good, t->bad, t->senseless);
    else if (!is_update)
        printf("%zu files: %zu as expected, %zu not\n", t->files, t->good,
               t->bad);
    return status;
}

int main(int argc, char **argv)
{
    bool is_update = false;
    int status = 0;
    struct tally tally = {0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--update") == 0) {
            is_update = true;
        } else if (strcmp(argv[i], "--off") == 0 && i + 1 < argc) {
            if (!rule_turn_off(argv[++i])) {
                (void)fprintf(stderr, "no rule is called %s\n", argv[i]);
                return 2;
            }
        } else {
            int one = run_file(argv[i], is_update, &tally);
            status = one > status ? one : status;
            tally.files++;
        }
    }
    return report(&tally, is_update, status);
}
