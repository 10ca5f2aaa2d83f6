/* eddy.c - the command line: which command is meant. */
#include <stdio.h>
#include <string.h>

#include "tools/cli.h"
#include "tools/cmd.h"

#ifndef EDDY_VERSION
#define EDDY_VERSION "0.1.0"
#endif

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *words;
} commands[] = {
    {"put", cmd_put,
     "put STREAM [FILE|-]       cut the input into segments and append them"},
    {"get", cmd_get,
     "get STREAM [RANGE]        the bytes of a stream, in order"},
    {"stream", cmd_stream,
     "stream list|info|create   which streams there are, and how long"},
    {"ring", cmd_ring,
     "ring status|members|table|wait|why|check\n"
     "                            how the nodes are, and who keeps what\n"
     "  eddy ring plan|commit|drain|remove|replace|set\n"
     "                            who shall keep it"},
    {"demo", cmd_demo,
     "demo [N]                  N nodes on this machine, one of them killed;\n"
     "                                 with 4 or more the ring heals without "
     "it"},
};
#define COMMAND_COUNT (sizeof commands / sizeof *commands)

static void print_usage(FILE *f)
{
    (void)fputs("eddy: a client of an Eddy ring, a peer-to-peer store for "
                "streams\n\n",
                f);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        (void)fprintf(f, "  eddy %s\n", commands[i].words);
    (void)fputs("  eddy --version\n\n`eddy COMMAND --help` says more of "
                "each.\n" CMD_COMMON_USAGE,
                f);
}

static int unknown(int argc, char **argv)
{
    struct cli cli = {0};
    char names[128] = "";
    size_t at = 0;
    for (int i = 2; i < argc; i++)
        cli.is_json = cli.is_json || strcmp(argv[i], "--json") == 0;
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        at += (size_t)snprintf(names + at, sizeof names - at, "%s%s",
                               i > 0 ? ", " : "", commands[i].name);
    return cli_fail(&cli, CLI_USAGE, "BAD_REQUEST",
                    "unknown command '%s'; there is %s (see eddy --help)",
                    argv[1], names);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_usage(stderr);
        return CLI_USAGE;
    }
    const char *name = argv[1];
    struct cli none = {0};
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 ||
        strcmp(name, "help") == 0) {
        print_usage(stdout);
        return cli_flush(&none, CLI_DONE);
    }
    if (strcmp(name, "--version") == 0) {
        (void)puts("eddy " EDDY_VERSION);
        return cli_flush(&none, CLI_DONE);
    }
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(name, commands[i].name) == 0)
            return commands[i].run(argc - 2, argv + 2);
    return unknown(argc, argv);
}
