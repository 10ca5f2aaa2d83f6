/* cli.c - see cli.h. */
#include "tools/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TIMEOUT_MS    30000u
#define OWN_KEY       "./eddy-data/keys/admin.key"
#define PATH_SIZE_MAX 4096u
#define MESSAGE_SIZE  1536u

/* ---- what is said ------------------------------------------------------ */

bool cli_is_terminal(FILE *f)
{
    return isatty(fileno(f)) == 1;
}

int cli_fail(const struct cli *cli, int code, const char *error,
             const char *format, ...)
{
    char text[MESSAGE_SIZE];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    cli_progress_end(cli);
    if (!cli->is_json) {
        (void)fprintf(stderr, "eddy: %s\n", text);
        return code;
    }
    struct cli_json j;
    cli_json_begin(&j, stderr);
    cli_json_open(&j, "error", '{');
    cli_json_text(&j, "code", error);
    cli_json_u64(&j, "exit", (uint64_t)code);
    cli_json_text(&j, "text", text);
    cli_json_close(&j, '}');
    cli_json_end(&j);
    return code;
}

int cli_exit_of(enum eddy_error err)
{
    switch (err) {
    case EDDY_OK:
        return CLI_DONE;
    case EDDY_NOT_FOUND:
    case EDDY_TRIMMED:
    case EDDY_DELETED:
        return CLI_ABSENT;
    case EDDY_CONFLICT:
    case EDDY_OUT_OF_ORDER:
    case EDDY_SEALED:
    case EDDY_EXPIRED:
    case EDDY_FENCED:
        return CLI_CONFLICT;
    case EDDY_TOO_LARGE:
    case EDDY_BAD_REQUEST:
        return CLI_USAGE;
    case EDDY_NO_SPACE:
    case EDDY_BUSY:
    case EDDY_UNAVAILABLE:
    case EDDY_CORRUPT:
    case EDDY_INCOMPATIBLE:
    case EDDY_IO:
    case EDDY_DAMAGED:
    case EDDY_UNSAFE:
        return CLI_FAILED;
    case EDDY_REFUSED:
        return CLI_REFUSED;
    case EDDY_TIMEOUT:
        return CLI_UNKNOWN;
    case EDDY_DENIED:
    case EDDY_FORGOTTEN:
        return CLI_DENIED;
    }
    return CLI_FAILED;
}

int cli_failed(const struct cli *cli, const struct eddy *e, enum eddy_error err,
               const char *what)
{
    const char *reason = eddy_reason(e);
    return cli_fail(cli, cli_exit_of(err), eddy_error_name(err), "%s: %s%s%s%s",
                    what, eddy_error_text(err), reason[0] != 0 ? " (" : "",
                    reason, reason[0] != 0 ? ")" : "");
}

int cli_stream_failed(const struct cli *cli, const struct eddy *e,
                      enum eddy_error err, const char *name)
{
    if (err != EDDY_NOT_FOUND)
        return cli_failed(cli, e, err, name);
    return cli_fail(cli, CLI_ABSENT, eddy_error_name(err),
                    "there is no stream '%s' (eddy stream list shows those "
                    "that there are)",
                    name);
}

void cli_note(const struct cli *cli, const char *format, ...)
{
    if (cli->is_quiet || cli->is_json)
        return;
    cli_progress_end(cli);
    va_list args;
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
}

static bool has_progress;

void cli_progress(const struct cli *cli, const char *format, ...)
{
    if (cli->is_quiet || cli->is_json || !cli_is_terminal(stderr))
        return;
    (void)fputs("\r\033[K", stderr);
    va_list args;
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fflush(stderr);
    has_progress = true;
}

void cli_progress_end(const struct cli *cli)
{
    (void)cli;
    if (has_progress)
        (void)fputs("\r\033[K", stderr);
    has_progress = false;
}

int cli_flush(const struct cli *cli, int code)
{
    if (fflush(stdout) == 0 && ferror(stdout) == 0)
        return code;
    return cli_fail(cli, CLI_FAILED, "IO", "cannot write to stdout: %s",
                    strerror(errno));
}

/* ---- numbers and texts ------------------------------------------------- */

char *cli_size(uint64_t bytes, char text[CLI_TEXT_SIZE])
{
    static const char units[] = "BKMGTPE";
    size_t unit = 0;
    uint64_t tenths = bytes * 10;
    if (bytes > UINT64_MAX / 16)
        tenths = UINT64_MAX / 16 * 10;
    while (tenths >= 10240) {
        tenths = (tenths + 512) / 1024;
        unit++;
    }
    if (unit == 0)
        (void)snprintf(text, CLI_TEXT_SIZE, "%llu", (unsigned long long)bytes);
    else
        (void)snprintf(text, CLI_TEXT_SIZE, "%llu.%llu%c",
                       (unsigned long long)tenths / 10,
                       (unsigned long long)tenths % 10, units[unit]);
    return text;
}

char *cli_duration(uint64_t ms, char text[CLI_TEXT_SIZE])
{
    unsigned long long v = ms;
    if (v < 60000)
        (void)snprintf(text, CLI_TEXT_SIZE, "%llu.%02llus", v / 1000,
                       v % 1000 / 10);
    else if (v < 3600000)
        (void)snprintf(text, CLI_TEXT_SIZE, "%llum%02llus", v / 60000,
                       v / 1000 % 60);
    else if (v < 48ull * 3600000)
        (void)snprintf(text, CLI_TEXT_SIZE, "%lluh%02llum", v / 3600000,
                       v / 60000 % 60);
    else
        (void)snprintf(text, CLI_TEXT_SIZE, "%llud", v / 86400000);
    return text;
}

char *cli_time(uint64_t ms_since_1970, char text[CLI_TEXT_SIZE])
{
    time_t seconds = (time_t)(ms_since_1970 / 1000);
    struct tm tm;
    char whole[32];
    if (gmtime_r(&seconds, &tm) == NULL ||
        strftime(whole, sizeof whole, "%Y-%m-%dT%H:%M:%S", &tm) == 0)
        (void)snprintf(text, CLI_TEXT_SIZE, "?");
    else
        (void)snprintf(text, CLI_TEXT_SIZE, "%s.%03uZ", whole,
                       (unsigned)(ms_since_1970 % 1000));
    return text;
}

void cli_print_name(FILE *f, const char *name)
{
    for (const char *c = name; *c != 0; c++) {
        unsigned char byte = (unsigned char)*c;
        (void)fputc(byte < ' ' || byte == 127 ? '?' : *c, f);
    }
}

uint64_t cli_now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t cli_wall_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

bool cli_read_u64(const char *text, uint64_t *out)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    *out = v;
    return errno == 0 && *end == 0;
}

struct unit {
    const char *name;
    uint64_t factor;
};

/* Digits, then one of the units. */
static bool read_unit(const char *text, const struct unit *units, size_t count,
                      uint64_t *out)
{
    size_t digits = strspn(text, "0123456789");
    char number[24];
    uint64_t v;
    if (digits == 0 || digits >= sizeof number)
        return false;
    memcpy(number, text, digits);
    number[digits] = 0;
    if (!cli_read_u64(number, &v))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text + digits, units[i].name) != 0)
            continue;
        if (v > UINT64_MAX / units[i].factor)
            return false;
        *out = v * units[i].factor;
        return true;
    }
    return false;
}

bool cli_read_size(const char *text, uint64_t *out)
{
    static const struct unit units[] = {
        {"", 1},           {"K", 1ull << 10}, {"M", 1ull << 20},
        {"G", 1ull << 30}, {"T", 1ull << 40},
    };
    return read_unit(text, units, sizeof units / sizeof *units, out);
}

bool cli_read_time(const char *text, uint64_t *out_ms)
{
    static const struct unit units[] = {
        {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000},
    };
    return read_unit(text, units, sizeof units / sizeof *units, out_ms);
}

/* ---- arguments --------------------------------------------------------- */

/* What is still to be read, and what an option's value is. */
struct words {
    int argc, at;
    char **argv;
};

static const struct cli_option *find_option(const struct cli_option *options,
                                            size_t count, const char *name,
                                            size_t size, bool is_letter)
{
    for (size_t i = 0; i < count; i++) {
        const struct cli_option *o = &options[i];
        if (is_letter
                ? o->letter != 0 && o->letter == *name
                : strlen(o->name) == size && strncmp(o->name, name, size) == 0)
            return o;
    }
    return NULL;
}

static int bad_usage(const struct cli *cli, const char *what, const char *word)
{
    return cli_fail(cli, CLI_USAGE, "BAD_REQUEST", "%s '%s' (see --help)", what,
                    word);
}

static bool take_option(struct cli *cli, struct words *w,
                        const struct cli_option *options, size_t count,
                        int *code)
{
    const char *word = w->argv[w->at++];
    bool is_letter = word[1] != '-';
    const char *name = word + (is_letter ? 1 : 2);
    size_t size = is_letter ? 1 : strcspn(name, "=");
    const struct cli_option *o =
        find_option(options, count, name, size, is_letter);
    const char *rest = name + size;
    if (o == NULL) {
        *code = bad_usage(cli, "unknown option", word);
        return false;
    }
    if (o->flag != NULL) {
        if (*rest != 0) {
            *code = bad_usage(cli, "this option has no value:", word);
            return false;
        }
        *o->flag = true;
        return true;
    }
    /* The last one would count, and nobody would be told. --node is taken out
     * as it comes. */
    if (*o->value != NULL) {
        *code = bad_usage(cli, "given twice (a list goes with commas):", word);
        return false;
    }
    if (*rest != 0) {
        *o->value = rest + (*rest == '=');
    } else if (w->at < w->argc) {
        *o->value = w->argv[w->at++];
    } else {
        *code = bad_usage(cli, "a value is missing behind", word);
        return false;
    }
    return true;
}

static bool add_nodes(struct cli *cli, char *list, int *code)
{
    for (char *at = list; *at != 0;) {
        size_t size = strcspn(at, ",");
        bool is_last = at[size] == 0;
        at[size] = 0;
        if (size > 0 && cli->node_count == CLI_NODES_MAX) {
            *code = bad_usage(cli, "too many nodes, at", at);
            return false;
        }
        if (size > 0)
            cli->nodes[cli->node_count++] = at;
        at += size + !is_last;
    }
    return true;
}

static char *copy(const char *text)
{
    char *mine = strdup(text);
    if (mine == NULL)
        abort();
    return mine;
}

/* The words, option after option; --node is gathered here, since it may come
 * several times. */
static bool read_words(struct cli *cli, struct words *w,
                       const struct cli_option *options, size_t count,
                       int *code)
{
    const char *node = NULL, *timeout = NULL;
    uint64_t ms = TIMEOUT_MS;
    struct cli_option all[32] = {
        {"json", 0, &cli->is_json, NULL},
        {"quiet", 'q', &cli->is_quiet, NULL},
        {"help", 'h', &cli->is_help, NULL},
        {"node", 0, NULL, &node},
        {"key", 0, NULL, &cli->key_file},
        {"timeout", 0, NULL, &timeout},
    };
    for (size_t i = 0; i < count; i++)
        all[6 + i] = options[i];
    bool takes_options = true;
    while (w->at < w->argc) {
        char *word = w->argv[w->at];
        if (takes_options && strcmp(word, "--") == 0) {
            takes_options = false;
            w->at++;
        } else if (takes_options && word[0] == '-' && word[1] != 0) {
            if (!take_option(cli, w, all, count + 6, code))
                return false;
            if (node != NULL && !add_nodes(cli, (char *)node, code))
                return false;
            node = NULL;
        } else if (cli->argument_count == CLI_ARGUMENTS_MAX) {
            *code = bad_usage(cli, "too many arguments, at", word);
            return false;
        } else {
            cli->arguments[cli->argument_count++] = word;
            w->at++;
        }
    }
    if (timeout != NULL &&
        (!cli_read_time(timeout, &ms) || ms == 0 || ms > 7ull * 86400000)) {
        *code = bad_usage(cli, "--timeout is a time as 5s, 15m or 2h, not",
                          timeout);
        return false;
    }
    cli->timeout_ms = (uint32_t)ms;
    return true;
}

/* A file below the home folder (or where `variable` says), if that is known;
 * the memory is the cli's. */
static char *home_path(struct cli *cli, size_t at, const char *variable,
                       const char *below_home, const char *name)
{
    const char *base = getenv(variable);
    const char *home = getenv("HOME");
    char path[PATH_SIZE_MAX];
    int size;
    if (base != NULL && base[0] == '/')
        size = snprintf(path, sizeof path, "%s/eddy/%s", base, name);
    else if (home != NULL && home[0] == '/')
        size = snprintf(path, sizeof path, "%s/%s/eddy/%s", home, below_home,
                        name);
    else
        return NULL;
    if (size < 0 || (size_t)size >= sizeof path)
        return NULL;
    free(cli->owned[at]);
    cli->owned[at] = copy(path);
    return cli->owned[at];
}

/* Flag, environment, then the usual places. */
static void find_key(struct cli *cli)
{
    const char *set = getenv("EDDY_KEY");
    if (cli->key_file != NULL)
        return;
    if (set != NULL && set[0] != 0) {
        cli->key_file = set;
        return;
    }
    const char *own = home_path(cli, 1, "XDG_CONFIG_HOME", ".config", "key");
    if (own != NULL && access(own, F_OK) == 0)
        cli->key_file = own;
    else if (access(OWN_KEY, F_OK) == 0)
        cli->key_file = OWN_KEY;
}

bool cli_parse(struct cli *cli, int argc, char **argv,
               const struct cli_option *options, size_t option_count, int *code)
{
    struct words w = {argc, 0, argv};
    /* Known before the first error is said. */
    for (int i = 0; i < argc; i++)
        if (strcmp(argv[i], "--json") == 0)
            cli->is_json = true;
    if (!read_words(cli, &w, options, option_count, code))
        return false;
    if (cli->is_help) {
        (void)fputs(cli->usage, stdout);
        *code = cli_flush(cli, CLI_DONE);
        return false;
    }
    const char *nodes = getenv("EDDY_NODES");
    if (cli->node_count == 0 && nodes != NULL) {
        cli->owned[0] = copy(nodes);
        if (!add_nodes(cli, cli->owned[0], code))
            return false;
    }
    find_key(cli);
    return true;
}

void cli_free(struct cli *cli)
{
    for (size_t i = 0; i < sizeof cli->owned / sizeof *cli->owned; i++)
        free(cli->owned[i]);
    *cli = (struct cli){0};
}

bool cli_wants(struct cli *cli, size_t min, size_t max, int *code)
{
    if (cli->argument_count >= min && cli->argument_count <= max)
        return true;
    if (cli->argument_count > max)
        *code = bad_usage(cli, "one argument too many:", cli->arguments[max]);
    else
        *code = cli_fail(cli, CLI_USAGE, "BAD_REQUEST",
                         "an argument is missing (see --help)");
    return false;
}

/* ---- the connection ---------------------------------------------------- */

/* Where the nodes were the last time; one file for each key file's cluster is
 * not needed: a file of another cluster is ignored, and written anew. */
static const char *contacts_file(struct cli *cli)
{
    char *path = home_path(cli, 2, "XDG_CACHE_HOME", ".cache", "contacts");
    if (path == NULL)
        return NULL;
    char *name = strrchr(path, '/');
    *name = 0;
    char *folder = strrchr(path, '/');
    *folder = 0;
    (void)mkdir(path, 0700);
    *folder = '/';
    (void)mkdir(path, 0700);
    *name = '/';
    return path;
}

struct eddy *cli_connect(struct cli *cli, int *code)
{
    struct eddy_options o = {
        .nodes = cli->nodes,
        .node_count = cli->node_count,
        .key_file = cli->key_file,
        .contacts_file = contacts_file(cli),
        .timeout_ms = cli->timeout_ms,
    };
    struct eddy *e;
    char reason[EDDY_REASON_SIZE];
    enum eddy_error err = eddy_open(&o, &e, reason);
    if (err == EDDY_OK)
        return e;
    *code = cli_exit_of(err);
    if (err == EDDY_UNAVAILABLE || err == EDDY_TIMEOUT)
        *code = CLI_UNREACHED;
    else if (err == EDDY_NOT_FOUND || err == EDDY_DAMAGED || err == EDDY_UNSAFE)
        *code = CLI_USAGE; /* the key file */
    (void)cli_fail(cli, *code, eddy_error_name(err), "%s", reason);
    return NULL;
}

/* ---- JSON -------------------------------------------------------------- */

/* Bytes that are no ASCII pass as they are: names are UTF-8 by convention. */
static void put_quoted(FILE *f, const char *text)
{
    (void)fputc('"', f);
    for (const char *c = text; *c != 0; c++) {
        unsigned char byte = (unsigned char)*c;
        if (byte == '"' || byte == '\\')
            (void)fprintf(f, "\\%c", byte);
        else if (byte < ' ' || byte == 127)
            (void)fprintf(f, "\\u%04x", byte);
        else
            (void)fputc(byte, f);
    }
    (void)fputc('"', f);
}

static void put_key(struct cli_json *j, const char *key)
{
    if (j->needs_comma)
        (void)fputc(',', j->file);
    j->needs_comma = true;
    if (key == NULL)
        return;
    put_quoted(j->file, key);
    (void)fputc(':', j->file);
}

void cli_json_begin(struct cli_json *j, FILE *file)
{
    *j = (struct cli_json){.file = file};
    cli_json_open(j, NULL, '{');
    cli_json_u64(j, "schema", 1);
}

void cli_json_end(struct cli_json *j)
{
    cli_json_close(j, '}');
    (void)fputc('\n', j->file);
}

void cli_json_open(struct cli_json *j, const char *key, char bracket)
{
    put_key(j, key);
    (void)fputc(bracket, j->file);
    j->needs_comma = false;
}

void cli_json_close(struct cli_json *j, char bracket)
{
    (void)fputc(bracket, j->file);
    j->needs_comma = true;
}

void cli_json_text(struct cli_json *j, const char *key, const char *value)
{
    put_key(j, key);
    put_quoted(j->file, value);
}

void cli_json_u64(struct cli_json *j, const char *key, uint64_t value)
{
    put_key(j, key);
    (void)fprintf(j->file, "%llu", (unsigned long long)value);
}

void cli_json_seconds(struct cli_json *j, const char *key, uint64_t ms)
{
    put_key(j, key);
    (void)fprintf(j->file, "%llu.%03llu", (unsigned long long)ms / 1000,
                  (unsigned long long)ms % 1000);
}

void cli_json_bool(struct cli_json *j, const char *key, bool value)
{
    put_key(j, key);
    (void)fputs(value ? "true" : "false", j->file);
}

void cli_json_time(struct cli_json *j, const char *key, uint64_t ms)
{
    char text[CLI_TEXT_SIZE];
    cli_json_text(j, key, cli_time(ms, text));
}

void cli_json_null(struct cli_json *j, const char *key)
{
    put_key(j, key);
    (void)fputs("null", j->file);
}
