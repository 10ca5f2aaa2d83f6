/* cli.h - what the commands of `eddy` have in common: arguments, the
 * connection, what is printed and with which exit code one ends.
 *
 * Data goes to stdout, words and progress to stderr. With --json a command
 * prints one document, and its error is a document on stderr. */
#ifndef TOOLS_CLI_H
#define TOOLS_CLI_H

#include <stdio.h>

#include "net/eddy.h"

enum cli_exit {
    CLI_DONE = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
    CLI_REFUSED = 3,   /* for safety */
    CLI_UNREACHED = 4, /* no node answered */
    CLI_UNKNOWN = 5,   /* the outcome is not known */
    CLI_CONFLICT = 6,
    CLI_ABSENT = 7, /* not found, trimmed, deleted */
    CLI_DENIED = 8,
    CLI_UNHEALTHY = 10,
};

/* ---- arguments --------------------------------------------------------- */

#define CLI_NODES_MAX     16u
#define CLI_ARGUMENTS_MAX 8u

/* One option of a command: either a flag or one with a value. */
struct cli_option {
    const char *name; /* without the dashes */
    char letter;      /* 0: none */
    bool *flag;
    const char **value;
};

struct cli {
    const char *usage; /* of this command; --help prints it */
    bool is_json, is_quiet, is_help;
    uint32_t timeout_ms;
    const char *nodes[CLI_NODES_MAX];
    size_t node_count;
    const char *key_file; /* NULL: none found, an open cluster */
    const char *arguments[CLI_ARGUMENTS_MAX];
    size_t argument_count;
    char *owned[3]; /* memory behind the above */
};

/* Reads the arguments behind the command's name: the common options, and those
 * given. False: *code is the exit code (also after --help). */
bool cli_parse(struct cli *cli, int argc, char **argv,
               const struct cli_option *options, size_t option_count,
               int *code);
void cli_free(struct cli *cli);

/* Between `min` and `max` arguments, else false, and *code is set. */
bool cli_wants(struct cli *cli, size_t min, size_t max, int *code);

/* "256K", "1M", "4096": bytes, binary. "5s", "15m", "2h", "500ms": ms. */
bool cli_read_size(const char *text, uint64_t *out);
bool cli_read_time(const char *text, uint64_t *out_ms);
bool cli_read_u64(const char *text, uint64_t *out);

/* ---- the connection ---------------------------------------------------- */

/* Connects as the options, the environment and the usual files say. NULL:
 * *code is set and the reason printed. */
struct eddy *cli_connect(struct cli *cli, int *code);

/* ---- what is said ------------------------------------------------------ */

/* `text` may be NULL. Returns the exit code. */
int cli_fail(const struct cli *cli, int code, const char *error,
             const char *format, ...) __attribute__((format(printf, 4, 5)));
/* A failed call of the library: what was tried, and why it failed. */
int cli_failed(const struct cli *cli, const struct eddy *e, enum eddy_error err,
               const char *what);
/* The same where a stream was opened by its name. */
int cli_stream_failed(const struct cli *cli, const struct eddy *e,
                      enum eddy_error err, const char *name);
int cli_exit_of(enum eddy_error err);
/* A note for people; not with -q or --json. */
void cli_note(const struct cli *cli, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
bool cli_is_terminal(FILE *f);

/* A line that is written over again, on a terminal only. */
void cli_progress(const struct cli *cli, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void cli_progress_end(const struct cli *cli);

/* Everything written to stdout has come there; else CLI_FAILED is said. */
int cli_flush(const struct cli *cli, int code);

#define CLI_TEXT_SIZE 40u
/* "10.5M"; "1.25s", "3m", "2h"; RFC 3339. All return `text`. */
char *cli_size(uint64_t bytes, char text[CLI_TEXT_SIZE]);
char *cli_duration(uint64_t ms, char text[CLI_TEXT_SIZE]);
char *cli_time(uint64_t ms_since_1970, char text[CLI_TEXT_SIZE]);
/* Names are bytes: what a terminal would obey is shown as '?'. */
void cli_print_name(FILE *f, const char *name);
uint64_t cli_now_ms(void);  /* monotonic */
uint64_t cli_wall_ms(void); /* since 1970 */

/* ---- JSON -------------------------------------------------------------- */

/* A document is written as it comes, to a file. `key` is NULL in an array. */
struct cli_json {
    FILE *file;
    bool needs_comma;
};
void cli_json_begin(struct cli_json *j, FILE *file); /* { "schema": 1 */
void cli_json_end(struct cli_json *j);               /* } and a newline */
void cli_json_open(struct cli_json *j, const char *key, char bracket);
void cli_json_close(struct cli_json *j, char bracket);
void cli_json_text(struct cli_json *j, const char *key, const char *value);
void cli_json_u64(struct cli_json *j, const char *key, uint64_t value);
void cli_json_seconds(struct cli_json *j, const char *key, uint64_t ms);
void cli_json_bool(struct cli_json *j, const char *key, bool value);
void cli_json_time(struct cli_json *j, const char *key, uint64_t ms);
void cli_json_null(struct cli_json *j, const char *key);

#endif
