/* script.c - see script.h. */
#include "tests/cases/script.h"

#include <ctype.h>
#include <errno.h>

/* ---- lines ------------------------------------------------------------- */

struct reader {
    struct span text;
    size_t at;
    size_t number; /* of the line that was read last, from 1 */
};

static bool at_end(const struct reader *r)
{
    return r->at == r->text.size;
}

/* Without its newline, and without blanks at its end. */
static struct span peek_line(const struct reader *r, size_t *next)
{
    size_t end = r->at;
    while (end < r->text.size && r->text.data[end] != '\n')
        end++;
    *next = end + (end < r->text.size);
    while (end > r->at && isspace(r->text.data[end - 1]))
        end--;
    return span_of(r->text.data + r->at, end - r->at);
}

static struct span read_line(struct reader *r)
{
    size_t next;
    struct span line = peek_line(r, &next);
    r->at = next;
    r->number++;
    return line;
}

static struct span first_word(struct span line)
{
    size_t at = 0;
    while (at < line.size && isspace(line.data[at]))
        at++;
    return span_of(line.data + at, line.size - at);
}

static bool is_comment(struct span line)
{
    struct span word = first_word(line);
    return word.size > 0 && word.data[0] == '#';
}

static void put_line(struct buf *b, struct span line)
{
    buf_append(b, line.data, line.size);
    buf_append(b, "\n", 1);
}

/* ---- running ----------------------------------------------------------- */

static void complain(struct script *s, size_t number, const char *why)
{
    s->bad++;
    (void)fprintf(stderr, "%s:%zu: %s\n", s->path, number, why);
}

static void run_command(struct script *s, size_t number, struct span text,
                        struct buf *out)
{
    struct line l;
    line_parse(&l, text);
    s->run(s->world, &l, out);
    if (l.is_bad)
        complain(s, number, l.why);
    line_free(&l);
}

/* Prints the lines that differ, without those that are the same at both ends.
 */
static void print_difference(struct span expected, struct span got)
{
    size_t same = 0, tail = 0, line = 0;
    while (same < expected.size && same < got.size &&
           expected.data[same] == got.data[same]) {
        same++;
        if (expected.data[same - 1] == '\n')
            line = same;
    }
    while (tail < expected.size - line && tail < got.size - line &&
           expected.data[expected.size - 1 - tail] ==
               got.data[got.size - 1 - tail])
        tail++;
    while (tail > 0 && expected.data[expected.size - tail] != '\n')
        tail--;
    tail -= tail > 0; /* that newline ends a line that differs */
    struct span texts[2] = {{expected.data + line, expected.size - tail - line},
                            {got.data + line, got.size - tail - line}};
    for (size_t i = 0; i < 2; i++) {
        struct reader r = {.text = texts[i]};
        while (!at_end(&r)) {
            struct span text = read_line(&r);
            printf("  %c %.*s\n", i == 0 ? '-' : '+', (int)text.size,
                   (const char *)text.data);
        }
    }
}

/* `bad`: as many lines had made no sense before this block. */
static void judge(struct script *s, size_t number, struct span expected,
                  const struct buf *got, struct span command, size_t bad)
{
    if (s->bad > bad) /* and said why */
        return;
    s->blocks++;
    if (span_equal(expected, span_buf(got)))
        return;
    s->differences++;
    if (s->is_quiet)
        return;
    printf("%s:%zu: %.*s\n", s->path, number, (int)command.size,
           (const char *)command.data);
    print_difference(expected, span_buf(got));
}

/* ---- rows and blocks --------------------------------------------------- */

/* Where " ->" stands before a blank or the end; false: it is no row. */
static bool find_arrow(struct span line, size_t *at)
{
    for (size_t i = 1; i + 2 <= line.size; i++) {
        bool is_arrow = line.data[i] == '-' && line.data[i + 1] == '>' &&
                        isspace(line.data[i - 1]);
        if (is_arrow && (i + 2 == line.size || isspace(line.data[i + 2]))) {
            *at = i;
            return true;
        }
    }
    return false;
}

static void run_row(struct script *s, size_t number, struct span line,
                    size_t arrow)
{
    struct buf out = {0}, expected = {0};
    size_t bad = s->bad;
    struct span right =
        first_word(span_of(line.data + arrow + 2, line.size - arrow - 2));
    run_command(s, number, span_of(line.data, arrow), &out);
    put_line(&expected, right);
    judge(s, number, span_buf(&expected), &out, line, bad);
    buf_append(&s->rewritten, line.data, arrow + 2);
    buf_append(&s->rewritten, " ", 1);
    buf_append(&s->rewritten, out.data, out.size);
    if (out.size == 0)
        buf_append(&s->rewritten, "\n", 1);
    buf_free(&out);
    buf_free(&expected);
}

static void run_block(struct script *s, struct reader *r, struct span line,
                      bool is_update)
{
    struct buf out = {0}, expected = {0};
    size_t began = r->number, bad = s->bad;
    struct span first = line;
    bool has_mark = false;
    while (line.size > 0) {
        has_mark = span_equal(line, span_str("----"));
        if (has_mark)
            break;
        put_line(&s->rewritten, line);
        if (!is_comment(line))
            run_command(s, r->number, line, &out);
        if (at_end(r))
            break;
        line = read_line(r);
    }
    while (has_mark && !at_end(r)) {
        line = read_line(r);
        if (line.size == 0)
            break;
        put_line(&expected, line);
    }
    if (!has_mark && !is_update)
        complain(s, r->number, "a line ---- and what is expected are missing");
    judge(s, began, span_buf(&expected), &out, first, bad);
    put_line(&s->rewritten, span_str("----"));
    buf_append(&s->rewritten, out.data, out.size);
    if (!at_end(r))
        put_line(&s->rewritten, span_str(""));
    buf_free(&out);
    buf_free(&expected);
}

void script_run(struct script *s, struct span text, bool is_update)
{
    struct reader r = {.text = text};
    while (!at_end(&r) && (s->bad == 0 || s->is_table)) {
        struct span line = read_line(&r);
        size_t arrow;
        if (line.size == 0 || is_comment(line))
            put_line(&s->rewritten, line);
        else if (find_arrow(line, &arrow))
            run_row(s, r.number, line, arrow);
        else
            run_block(s, &r, line, is_update);
    }
}

/* ---- files ------------------------------------------------------------- */

bool script_read(const char *path, struct buf *out)
{
    bool is_stdin = strcmp(path, "-") == 0;
    FILE *f = is_stdin ? stdin : fopen(path, "r");
    if (f == NULL) {
        (void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return false;
    }
    buf_clear(out);
    size_t size;
    do {
        uint8_t *at = buf_grow(out, 4096);
        size = fread(at, 1, 4096, f);
        out->size -= 4096 - size;
    } while (size > 0);
    bool is_ok = ferror(f) == 0;
    if (!is_ok)
        (void)fprintf(stderr, "%s: cannot be read\n", path);
    if (!is_stdin)
        (void)fclose(f);
    return is_ok;
}

bool script_write(const char *path, struct span text)
{
    FILE *f = fopen(path, "w");
    bool is_ok = f != NULL && fwrite(text.data, 1, text.size, f) == text.size;
    if (f != NULL && fclose(f) != 0)
        is_ok = false;
    if (!is_ok)
        (void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
    return is_ok;
}
