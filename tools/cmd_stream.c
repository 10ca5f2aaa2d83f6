/* cmd_stream.c - `eddy stream`: which streams there are, and how long. */
#include <string.h>

#include "tools/cli.h"
#include "tools/cmd.h"

static const char usage[] =
    "eddy stream list [PREFIX]   all streams (whose names begin so), sorted:\n"
    "                            NAME SEGMENTS BYTES CHANGED\n"
    "eddy stream info STREAM     one of them\n"
    "eddy stream create STREAM   an empty one, unless there is "
    "one\n" CMD_COMMON_USAGE;

static void json_stream(struct cli_json *j, const struct eddy_stream *s)
{
    char id[CLI_TEXT_SIZE];
    (void)snprintf(id, sizeof id, "%u.%llu.%u", s->partition + 1,
                   (unsigned long long)s->id_index, s->id_ordinal);
    cli_json_text(j, "name", s->name);
    cli_json_text(j, "id", id);
    cli_json_u64(j, "partition", s->partition);
    cli_json_u64(j, "first", s->first_seq);
    cli_json_u64(j, "next", s->next_seq);
    cli_json_u64(j, "bytes", s->bytes);
    cli_json_u64(j, "producers", s->producers);
    if (s->created_ms != 0)
        cli_json_time(j, "created", s->created_ms);
    if (s->changed_ms != 0)
        cli_json_time(j, "changed", s->changed_ms);
}

static void print_list(const struct cli *cli, const struct eddy_stream *list,
                       size_t count)
{
    char size[CLI_TEXT_SIZE], changed[CLI_TEXT_SIZE];
    if (cli->is_json) {
        struct cli_json j;
        cli_json_begin(&j, stdout);
        cli_json_open(&j, "streams", '[');
        for (size_t i = 0; i < count; i++) {
            cli_json_open(&j, NULL, '{');
            json_stream(&j, &list[i]);
            cli_json_close(&j, '}');
        }
        cli_json_close(&j, ']');
        cli_json_end(&j);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const struct eddy_stream *s = &list[i];
        cli_print_name(stdout, s->name);
        (void)printf(
            " %llu %s %s\n", (unsigned long long)(s->next_seq - s->first_seq),
            cli_size(s->bytes, size),
            s->changed_ms == 0 ? "-" : cli_time(s->changed_ms, changed));
    }
}

static int list(struct cli *cli, struct eddy *e)
{
    struct eddy_stream *streams;
    size_t count;
    const char *prefix = cli->argument_count > 1 ? cli->arguments[1] : "";
    enum eddy_error err = eddy_stream_list(e, prefix, &streams, &count);
    if (err != EDDY_OK)
        return cli_failed(cli, e, err, "listing the streams");
    print_list(cli, streams, count);
    eddy_free(streams);
    return cli_flush(cli, CLI_DONE);
}

static void print_info(const struct eddy_stream *s)
{
    char text[CLI_TEXT_SIZE];
    (void)printf("name       ");
    cli_print_name(stdout, s->name);
    (void)printf("\nid         %u.%llu.%u\npartition  %u\n", s->partition + 1,
                 (unsigned long long)s->id_index, s->id_ordinal, s->partition);
    if (s->next_seq > s->first_seq)
        (void)printf("segments   %llu..%llu\n",
                     (unsigned long long)s->first_seq,
                     (unsigned long long)s->next_seq - 1);
    else
        (void)printf("segments   none; the next is %llu\n",
                     (unsigned long long)s->next_seq);
    (void)printf("bytes      %llu (%s)\n", (unsigned long long)s->bytes,
                 cli_size(s->bytes, text));
    (void)printf("producers  %u\n", s->producers);
    (void)printf("created    %s\n", cli_time(s->created_ms, text));
    if (s->changed_ms != 0)
        (void)printf("changed    %s\n", cli_time(s->changed_ms, text));
}

static int info(struct cli *cli, struct eddy *e)
{
    struct eddy_stream s;
    enum eddy_error err = eddy_stream_open(e, cli->arguments[1], &s);
    if (err != EDDY_OK)
        return cli_stream_failed(cli, e, err, cli->arguments[1]);
    if (cli->is_json) {
        struct cli_json j;
        cli_json_begin(&j, stdout);
        json_stream(&j, &s);
        cli_json_end(&j);
    } else {
        print_info(&s);
    }
    return cli_flush(cli, CLI_DONE);
}

static int create(struct cli *cli, struct eddy *e)
{
    struct eddy_stream s;
    bool was_new;
    enum eddy_error err =
        eddy_stream_create(e, cli->arguments[1], &s, &was_new);
    if (err != EDDY_OK)
        return cli_failed(cli, e, err, cli->arguments[1]);
    if (cli->is_json) {
        struct cli_json j;
        cli_json_begin(&j, stdout);
        cli_json_text(&j, "name", s.name);
        cli_json_u64(&j, "partition", s.partition);
        cli_json_bool(&j, "created", was_new);
        cli_json_end(&j);
    } else {
        cli_note(cli, "%s",
                 was_new ? "made" : "there is one of that name already");
    }
    return cli_flush(cli, CLI_DONE);
}

static const struct verb {
    const char *name;
    int (*run)(struct cli *cli, struct eddy *e);
    size_t min, max; /* arguments, the verb itself included */
} verbs[] = {
    {"list", list, 1, 2},
    {"info", info, 2, 2},
    {"create", create, 2, 2},
};

int cmd_stream(int argc, char **argv)
{
    struct cli cli = {.usage = usage};
    int code;
    if (!cli_parse(&cli, argc, argv, NULL, 0, &code)) {
        cli_free(&cli);
        return code;
    }
    const char *name = cli.argument_count > 0 ? cli.arguments[0] : "";
    const struct verb *verb = NULL;
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(name, verbs[i].name) == 0)
            verb = &verbs[i];
    if (verb == NULL) {
        code =
            cli_fail(&cli, CLI_USAGE, "BAD_REQUEST",
                     "which? eddy stream list, info or create; not '%s'", name);
    } else if (cli_wants(&cli, verb->min, verb->max, &code)) {
        struct eddy *e = cli_connect(&cli, &code);
        if (e != NULL)
            code = verb->run(&cli, e);
        eddy_close(e);
    }
    cli_free(&cli);
    return code;
}
