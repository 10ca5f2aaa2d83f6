/* cmd_get.c - `eddy get`: the bytes of a stream's segments, in order, nothing
 * between them. Each checksum is verified before a byte of it is written. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli.h"
#include "tools/cmd.h"

static const char usage[] =
    "eddy get STREAM [SEQ|FROM..TO|FROM..] [-o FILE]\n"
    "\n"
    "Writes the bytes of the stream's segments to stdout, in order, with\n"
    "nothing between them: all of them, one, those from FROM to TO (which is\n"
    "included), or those from FROM to the end as it is now.\n"
    "\n"
    "  -o FILE   write there instead; then a line on stdout says "
    "what\n" CMD_COMMON_USAGE;

#define PROGRESS_MS 100u

struct range {
    uint64_t from, end; /* without end; EDDY_SEQ_ANY: to the end */
    bool has_from, has_end;
};

struct get {
    struct cli *cli;
    const char *name;
    const char *path; /* NULL: stdout */
    FILE *out;
    struct range range;
    uint64_t began_ms, shown_ms;
    uint64_t segments, bytes, first_seq, last_seq;
};

/* SEQ, FROM..TO, FROM.. */
static bool read_range(const char *text, struct range *out)
{
    char from[24];
    const char *dots = strstr(text, "..");
    size_t size = dots != NULL ? (size_t)(dots - text) : strlen(text);
    if (size == 0 || size >= sizeof from)
        return false;
    memcpy(from, text, size);
    from[size] = 0;
    out->has_from = true;
    out->has_end = dots == NULL || dots[2] != 0;
    if (!cli_read_u64(from, &out->from) || out->from == UINT64_MAX)
        return false;
    uint64_t last = out->from;
    if (dots != NULL && dots[2] != 0 &&
        (!cli_read_u64(dots + 2, &last) || last < out->from))
        return false;
    out->end = last + 1;
    return last != UINT64_MAX;
}

/* What is asked for must be there; *end is where to stop. */
static int check_range(const struct get *g, const struct eddy_stream *s,
                       uint64_t *from, uint64_t *end)
{
    const struct range *r = &g->range;
    *from = r->has_from ? r->from : s->first_seq;
    *end = r->has_end ? r->end : s->next_seq;
    if (*from < s->first_seq)
        return cli_fail(g->cli, CLI_ABSENT, "TRIMMED",
                        "%s: all below segment %llu was trimmed away", g->name,
                        (unsigned long long)s->first_seq);
    if (*end <= s->next_seq && *from <= *end)
        return CLI_DONE;
    if (s->next_seq == s->first_seq)
        return cli_fail(g->cli, CLI_ABSENT, "NOT_FOUND", "%s has no segments",
                        g->name);
    return cli_fail(g->cli, CLI_ABSENT, "NOT_FOUND",
                    "%s has segments %llu..%llu only", g->name,
                    (unsigned long long)s->first_seq,
                    (unsigned long long)s->next_seq - 1);
}

static int write_segment(struct get *g, const struct eddy_segment *s)
{
    if (fwrite(s->data, 1, s->size, g->out) != s->size)
        return cli_fail(g->cli, CLI_FAILED, "IO", "cannot write to %s: %s",
                        g->path != NULL ? g->path : "stdout", strerror(errno));
    if (g->segments == 0)
        g->first_seq = s->seq;
    g->last_seq = s->seq;
    g->segments++;
    g->bytes += s->size;
    uint64_t now = cli_now_ms();
    char size[CLI_TEXT_SIZE];
    if (g->path != NULL && now - g->shown_ms >= PROGRESS_MS) {
        g->shown_ms = now;
        cli_progress(g->cli, "%s", cli_size(g->bytes, size));
    }
    return CLI_DONE;
}

static int copy_segments(struct get *g, struct eddy *e,
                         const struct eddy_stream *s)
{
    uint64_t from, end;
    int code = check_range(g, s, &from, &end);
    if (code != CLI_DONE || from == end)
        return code;
    struct eddy_reader *r;
    enum eddy_error err = eddy_reader_open(e, s, from, end, &r);
    while (err == EDDY_OK && code == CLI_DONE && from + g->segments < end) {
        struct eddy_segment segment;
        err = eddy_reader_next(r, &segment);
        if (err == EDDY_OK)
            code = write_segment(g, &segment);
    }
    eddy_reader_close(r);
    if (err != EDDY_OK)
        code = cli_failed(g->cli, e, err, g->name);
    return code;
}

static void print_summary(const struct get *g)
{
    uint64_t ms = cli_now_ms() - g->began_ms;
    uint64_t rate = g->bytes * 1000 / (ms > 0 ? ms : 1);
    char size[CLI_TEXT_SIZE], took[CLI_TEXT_SIZE], speed[CLI_TEXT_SIZE];
    struct cli_json j;
    cli_progress_end(g->cli);
    if (!g->cli->is_json) {
        cli_print_name(stdout, g->name);
        if (g->segments > 0)
            (void)printf(" %llu..%llu", (unsigned long long)g->first_seq,
                         (unsigned long long)g->last_seq);
        else
            (void)printf(" -");
        (void)printf(" %llu segments %s %s %s/s\n",
                     (unsigned long long)g->segments, cli_size(g->bytes, size),
                     cli_duration(ms, took), cli_size(rate, speed));
        return;
    }
    cli_json_begin(&j, stdout);
    cli_json_text(&j, "stream", g->name);
    cli_json_text(&j, "file", g->path);
    cli_json_u64(&j, "segments", g->segments);
    cli_json_u64(&j, "bytes", g->bytes);
    cli_json_seconds(&j, "seconds", ms);
    cli_json_u64(&j, "bytes_per_second", rate);
    cli_json_end(&j);
}

static int close_output(struct get *g, int code)
{
    bool is_written = fflush(g->out) == 0 && ferror(g->out) == 0;
    if (g->path != NULL)
        is_written = fclose(g->out) == 0 && is_written;
    if (!is_written && code == CLI_DONE)
        code = cli_fail(g->cli, CLI_FAILED, "IO", "cannot write to %s: %s",
                        g->path != NULL ? g->path : "stdout", strerror(errno));
    if (code != CLI_DONE && g->path != NULL)
        cli_note(g->cli, "%s is incomplete: it has %llu segments", g->path,
                 (unsigned long long)g->segments);
    return code;
}

static int get_stream(struct get *g, struct eddy *e)
{
    struct eddy_stream s;
    enum eddy_error err = eddy_stream_open(e, g->name, &s);
    if (err != EDDY_OK)
        return cli_stream_failed(g->cli, e, err, g->name);
    g->out = g->path != NULL ? fopen(g->path, "wb") : stdout;
    if (g->out == NULL)
        return cli_fail(g->cli, CLI_USAGE, "IO", "cannot write to %s: %s",
                        g->path, strerror(errno));
    int code = close_output(g, copy_segments(g, e, &s));
    bool is_told = g->path != NULL && (!g->cli->is_quiet || g->cli->is_json);
    if (code == CLI_DONE && is_told) {
        print_summary(g);
        code = cli_flush(g->cli, code);
    }
    return code;
}

int cmd_get(int argc, char **argv)
{
    struct cli cli = {.usage = usage};
    struct get g = {.cli = &cli, .range = {0, EDDY_SEQ_ANY, false, false}};
    const struct cli_option options[] = {{"output", 'o', NULL, &g.path}};
    int code;
    bool is_good = cli_parse(&cli, argc, argv, options, 1, &code) &&
                   cli_wants(&cli, 1, 2, &code);
    if (is_good && cli.argument_count == 2 &&
        !read_range(cli.arguments[1], &g.range)) {
        code = cli_fail(&cli, CLI_USAGE, "BAD_REQUEST",
                        "'%s' is no range: SEQ, FROM..TO or FROM..",
                        cli.arguments[1]);
        is_good = false;
    }
    struct eddy *e = is_good ? cli_connect(&cli, &code) : NULL;
    if (e != NULL) {
        g.name = cli.arguments[0];
        g.began_ms = cli_now_ms();
        code = get_stream(&g, e);
    }
    eddy_close(e);
    cli_free(&cli);
    return code;
}
