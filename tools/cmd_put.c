/* cmd_put.c - `eddy put`: cuts an input into segments and appends them.
 *
 * With --producer NAME the input's segments are the producer's numbers 0, 1,
 * 2, ..., and the command may be repeated until it exits 0. When it begins
 * again, the ring says how many numbers M there are already; they are
 * confirmed, not believed:
 *
 *   0 ............... M - 64 ........... M ................. end of input
 *   | found in the stream,  | sent again: | appended
 *   | by checksum, in order | the ring    |
 *                             compares checksums and says DUPLICATE
 *
 * Of the newest 64 numbers the ring itself remembers checksums; of the older
 * ones nothing else tells (T9), so the stream is read and the input's
 * checksums are looked for in it, in order. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/wire.h"
#include "tools/cli.h"
#include "tools/cmd.h"

static const char usage[] =
    "eddy put STREAM [FILE|-] [options]\n"
    "\n"
    "Cuts the input into segments and appends them to the stream, which is\n"
    "made if there is none. Prints STREAM FIRST..LAST COUNT segments BYTES\n"
    "SECONDS RATE.\n"
    "\n"
    "  --segment SIZE   of a segment, 1 to 1M (256K)\n"
    "  --lines          cut after a newline: as many whole lines as fit\n"
    "  --expect SEQ     the first segment must become this one (else exit 6)\n"
    "  --attr TEXT      attributes of every segment, up to 1 KiB of it\n"
    "  --producer NAME  names this one input: repeat the command until it "
    "exits\n"
    "                   0, and each segment is in the stream once. What is\n"
    "                   there is confirmed by checksum; other bytes: exit 6\n"
    "  --continue       with --producer: the input comes after the last one's\n"
    "                   (not to be repeated)\n" CMD_COMMON_USAGE;

#define RESENT_MAX  64u /* numbers whose checksums the ring remembers */
#define PROGRESS_MS 100u
/* Of the unanswered, and the one that waits to be taken. */
#define SIZES (2 * PRODUCER_INFLIGHT_MAX)

static_assert(RESENT_MAX <= PRODUCER_CHECKSUMS, "they are remembered");

struct put_options {
    const char *segment, *expect, *attributes, *producer;
    bool is_lines, is_continuing;
    uint64_t segment_bytes, expected_seq;
};

/* ---- the input --------------------------------------------------------- */

/* One byte more than a segment is held, to know which one is the last. */
struct cutter {
    int fd;
    bool is_lines, is_ended;
    size_t segment_bytes;
    uint8_t *bytes; /* segment_bytes + 1 */
    size_t size;    /* held */
    size_t given;   /* of those, by the last call */
    uint64_t total; /* given before; and how long the input is, or 0 */
    uint64_t input_bytes;
};

struct put {
    struct cli *cli;
    struct eddy *e;
    const char *name; /* the stream's */
    struct put_options options;
    struct cutter cutter;
    struct eddy_stream stream;
    struct eddy_producer *producer;
    uint64_t base;  /* the producer's number of the input's first segment */
    uint64_t there; /* segments of the input that were there before */
    uint64_t began_ms, shown_ms;
    /* confirmed to be in the stream, in order from the first */
    uint64_t segments, bytes, first_seq, last_seq;
    uint64_t skipped; /* of those, there before */
    uint64_t failed_number;
    enum eddy_error error;
    uint32_t sizes[SIZES]; /* of unanswered, by number */
};

static int open_input(struct put *p, const char *path)
{
    struct cutter *c = &p->cutter;
    struct stat s;
    c->fd = STDIN_FILENO;
    if (path != NULL && strcmp(path, "-") != 0)
        c->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (c->fd < 0 || fstat(c->fd, &s) != 0)
        return cli_fail(p->cli, CLI_USAGE, "IO", "cannot read %s: %s", path,
                        strerror(errno));
    if (S_ISDIR(s.st_mode))
        return cli_fail(p->cli, CLI_USAGE, "IO", "%s is a folder", path);
    c->input_bytes = S_ISREG(s.st_mode) ? (uint64_t)s.st_size : 0;
    c->segment_bytes = p->options.segment_bytes;
    c->is_lines = p->options.is_lines;
    c->bytes = malloc(c->segment_bytes + 1);
    if (c->bytes == NULL)
        abort();
    return CLI_DONE;
}

/* While the input has nothing for us, the ring's answers are waited for. */
static void wait_input(struct put *p)
{
    struct pollfd f = {.fd = p->cutter.fd, .events = POLLIN};
    if (p->producer != NULL && poll(&f, 1, 0) == 0)
        (void)eddy_flush(p->producer);
}

static int fill(struct put *p)
{
    struct cutter *c = &p->cutter;
    memmove(c->bytes, c->bytes + c->given, c->size - c->given);
    c->size -= c->given;
    c->total += c->given;
    c->given = 0;
    while (!c->is_ended && c->size < c->segment_bytes + 1) {
        wait_input(p);
        ssize_t got =
            read(c->fd, c->bytes + c->size, c->segment_bytes + 1 - c->size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return cli_fail(p->cli, CLI_FAILED, "IO",
                            "cannot read the input: %s", strerror(errno));
        c->is_ended = got == 0;
        c->size += (size_t)got;
    }
    return CLI_DONE;
}

/* The next segment; size 0: there is none. */
static int next_segment(struct put *p, struct span *out, bool *is_last)
{
    struct cutter *c = &p->cutter;
    int code = fill(p);
    if (code != CLI_DONE)
        return code;
    size_t size = c->size < c->segment_bytes ? c->size : c->segment_bytes;
    bool is_rest = c->is_ended && size == c->size;
    if (c->is_lines && !is_rest) {
        while (size > 0 && c->bytes[size - 1] != '\n')
            size--;
        if (size == 0)
            return cli_fail(p->cli, CLI_USAGE, "TOO_LARGE",
                            "the line at byte %llu is longer than a segment: "
                            "give a larger --segment",
                            (unsigned long long)c->total);
    }
    c->given = size;
    *out = span_of(c->bytes, size);
    *is_last = c->is_ended && size == c->size;
    return CLI_DONE;
}

/* ---- what has come of it ----------------------------------------------- */

static void show_progress(struct put *p)
{
    uint64_t now = cli_now_ms();
    char done[CLI_TEXT_SIZE], all[CLI_TEXT_SIZE];
    if (now - p->shown_ms < PROGRESS_MS)
        return;
    p->shown_ms = now;
    uint64_t of = p->cutter.input_bytes;
    if (of == 0)
        cli_progress(p->cli, "%s", cli_size(p->bytes, done));
    else
        cli_progress(p->cli, "%s of %s  %llu%%", cli_size(p->bytes, done),
                     cli_size(of, all),
                     (unsigned long long)(p->bytes * 100 / of));
}

static void confirmed(struct put *p, uint64_t seq, uint64_t size)
{
    if (p->segments == 0)
        p->first_seq = seq;
    p->last_seq = seq;
    p->segments++;
    p->bytes += size;
    show_progress(p);
}

static void appended(void *context, const struct eddy_appended *a)
{
    struct put *p = context;
    if (a->error != EDDY_OK) {
        if (p->error == EDDY_OK) {
            p->error = a->error;
            p->failed_number = a->number;
        }
        return;
    }
    /* Behind a failed one none is OK, unless an answer was lost. */
    if (p->error != EDDY_OK)
        return;
    p->skipped += a->is_duplicate && a->number - p->base < p->there;
    confirmed(p, a->seq, p->sizes[a->number % SIZES]);
}

static void print_json(const struct put *p, uint64_t ms)
{
    struct cli_json j;
    cli_json_begin(&j, stdout);
    cli_json_text(&j, "stream", p->name);
    if (p->segments > 0) {
        cli_json_u64(&j, "first", p->first_seq);
        cli_json_u64(&j, "last", p->last_seq);
    } else {
        cli_json_null(&j, "first");
        cli_json_null(&j, "last");
    }
    cli_json_u64(&j, "segments", p->segments);
    cli_json_u64(&j, "bytes", p->bytes);
    cli_json_u64(&j, "skipped", p->skipped);
    cli_json_seconds(&j, "seconds", ms);
    cli_json_u64(&j, "bytes_per_second", p->bytes * 1000 / (ms > 0 ? ms : 1));
    cli_json_end(&j);
}

static void print_summary(const struct put *p)
{
    uint64_t ms = cli_now_ms() - p->began_ms;
    char size[CLI_TEXT_SIZE], took[CLI_TEXT_SIZE], rate[CLI_TEXT_SIZE];
    cli_progress_end(p->cli);
    if (p->cli->is_json) {
        print_json(p, ms);
        return;
    }
    cli_print_name(stdout, p->name);
    if (p->segments > 0)
        (void)printf(" %llu..%llu", (unsigned long long)p->first_seq,
                     (unsigned long long)p->last_seq);
    else
        (void)printf(" -");
    (void)printf(" %llu segments %s %s %s/s\n", (unsigned long long)p->segments,
                 cli_size(p->bytes, size), cli_duration(ms, took),
                 cli_size(p->bytes * 1000 / (ms > 0 ? ms : 1), rate));
    if (p->skipped > 0)
        cli_note(p->cli, "%llu of them were there already",
                 (unsigned long long)p->skipped);
}

/* ---- appending --------------------------------------------------------- */

static int append_failed(struct put *p, enum eddy_error err)
{
    unsigned long long number = p->failed_number - p->base;
    const char *name = p->options.producer;
    int code = cli_exit_of(err);
    if (err == EDDY_CONFLICT && p->options.expect == NULL && name != NULL)
        return cli_fail(p->cli, code, "CONFLICT",
                        "producer '%s' has other bytes under number %llu: it "
                        "is another input, or cut otherwise (--segment, "
                        "--lines); use another name, or --continue",
                        name, number);
    if (err == EDDY_CONFLICT)
        return cli_fail(p->cli, code, "CONFLICT",
                        "segment %llu of the input would not become %llu: the "
                        "stream goes on elsewhere",
                        number,
                        (unsigned long long)p->options.expected_seq + number);
    if (err == EDDY_FENCED)
        return cli_fail(p->cli, code, "FENCED",
                        "another put has opened producer '%s' since",
                        name != NULL ? name : "");
    if (cli_exit_of(err) == CLI_UNKNOWN)
        return cli_fail(p->cli, code, eddy_error_name(err),
                        "no answer in time for segment %llu of the input: it "
                        "and those behind it may have been appended or not; "
                        "%s",
                        number,
                        name != NULL && !p->options.is_continuing
                            ? "repeat the command"
                            : "look with `eddy stream info`");
    return cli_failed(p->cli, p->e, err, "put");
}

static int append_segment(struct put *p, struct span bytes, bool is_last)
{
    uint64_t number = eddy_producer_next(p->producer);
    const char *attributes = p->options.attributes;
    struct eddy_append a = {
        .data = bytes.data,
        .size = bytes.size,
        .attributes = attributes,
        .attributes_size = attributes == NULL ? 0 : strlen(attributes),
        .has_expected_seq = p->options.expect != NULL,
        .expected_seq = p->options.expected_seq + (number - p->base),
        .closes_producer = is_last && p->options.producer == NULL,
    };
    p->sizes[number % SIZES] = (uint32_t)bytes.size;
    enum eddy_error err = eddy_append(p->producer, &a);
    if (err == EDDY_OK)
        return CLI_DONE;
    if (p->error == EDDY_OK)
        return cli_failed(p->cli, p->e, err, "put");
    return append_failed(p, p->error);
}

static int open_producer(struct put *p)
{
    enum eddy_error err = eddy_producer_open(
        p->e, &p->stream, p->options.producer, appended, p, &p->producer);
    if (err != EDDY_OK)
        return cli_failed(p->cli, p->e, err, "opening the producer");
    return CLI_DONE;
}

/* From where the input stands now, to its end. */
static int append_rest(struct put *p)
{
    struct span bytes;
    bool is_last = false;
    int code = CLI_DONE;
    while (code == CLI_DONE && !is_last) {
        code = next_segment(p, &bytes, &is_last);
        if (code != CLI_DONE || bytes.size == 0)
            break;
        if (p->producer == NULL)
            code = open_producer(p);
        if (code == CLI_DONE)
            code = append_segment(p, bytes, is_last);
    }
    if (p->producer == NULL)
        return code;
    enum eddy_error err = eddy_flush(p->producer);
    if (code == CLI_DONE && err != EDDY_OK)
        code = append_failed(p, err);
    return code;
}

/* ---- confirming what is there ------------------------------------------ */

static int other_input(struct put *p, uint64_t there, uint64_t number)
{
    if (p->stream.first_seq > 0)
        return cli_fail(p->cli, CLI_UNKNOWN, "EXPIRED",
                        "segment %llu of the input cannot be confirmed: the "
                        "stream was trimmed below %llu",
                        (unsigned long long)number,
                        (unsigned long long)p->stream.first_seq);
    return cli_fail(p->cli, CLI_CONFLICT, "CONFLICT",
                    "producer '%s' has appended %llu segments, but not "
                    "segment %llu of this input: it is another input, or cut "
                    "otherwise (--segment, --lines); use another name, or "
                    "--continue",
                    p->options.producer, (unsigned long long)there,
                    (unsigned long long)number);
}

/* Skips the stream's segments up to one with these bytes. */
static enum eddy_error find_segment(struct eddy_reader *r, struct span bytes,
                                    uint64_t *seq)
{
    struct hash128 sum = wire_checksum(bytes);
    struct eddy_segment s;
    enum eddy_error err;
    do {
        err = eddy_reader_next(r, &s);
    } while (err == EDDY_OK &&
             (s.size != bytes.size || s.checksum_low != sum.lo ||
              s.checksum_high != sum.hi));
    *seq = s.seq;
    return err;
}

/* The input's first `count` segments, of `there` that the producer has. */
static int confirm_old(struct put *p, uint64_t count, uint64_t there)
{
    struct eddy_reader *r;
    struct span bytes;
    bool is_last = false;
    int code = CLI_DONE;
    cli_note(p->cli, "confirming %llu segments that are there",
             (unsigned long long)count);
    enum eddy_error err = eddy_reader_open(
        p->e, &p->stream, p->stream.first_seq, EDDY_SEQ_ANY, &r);
    for (uint64_t i = 0; err == EDDY_OK && i < count; i++) {
        uint64_t seq;
        code = next_segment(p, &bytes, &is_last);
        if (code == CLI_DONE && bytes.size == 0)
            code = other_input(p, there, i);
        if (code != CLI_DONE)
            break;
        err = find_segment(r, bytes, &seq);
        if (err == EDDY_OK) {
            confirmed(p, seq, bytes.size);
            p->skipped++;
        }
    }
    if (err == EDDY_NOT_FOUND)
        code = other_input(p, there, p->segments);
    else if (err != EDDY_OK)
        code = cli_failed(p->cli, p->e, err, "reading the stream");
    eddy_reader_close(r);
    return code;
}

/* An input under a name: what is there is confirmed first. */
static int append_named(struct put *p)
{
    int code = open_producer(p);
    if (code != CLI_DONE)
        return code;
    uint64_t there = eddy_producer_next(p->producer);
    p->base = p->options.is_continuing ? there : 0;
    if (there == 0 || p->options.is_continuing)
        return append_rest(p);
    p->there = there;
    uint64_t old = there > RESENT_MAX ? there - RESENT_MAX : 0;
    enum eddy_error err = eddy_stream_info(p->e, &p->stream);
    if (err == EDDY_OK)
        err = eddy_producer_rewind(p->producer, old);
    if (err != EDDY_OK)
        return cli_failed(p->cli, p->e, err, "put");
    if (old > 0)
        code = confirm_old(p, old, there);
    if (code == CLI_DONE)
        code = append_rest(p);
    if (code == CLI_DONE && p->segments < there)
        code = cli_fail(p->cli, CLI_CONFLICT, "CONFLICT",
                        "producer '%s' has appended %llu segments, this input "
                        "has %llu: it is another one",
                        p->options.producer, (unsigned long long)there,
                        (unsigned long long)p->segments);
    return code;
}

/* ---- the command ------------------------------------------------------- */

static bool options_make_sense(struct cli *cli, struct put_options *o,
                               int *code)
{
    const char *why = NULL;
    o->segment_bytes = SEGMENT_BYTES_DEFAULT;
    size_t attributes = o->attributes == NULL ? 0 : strlen(o->attributes);
    if (o->segment != NULL && (!cli_read_size(o->segment, &o->segment_bytes) ||
                               o->segment_bytes == 0))
        why = "--segment is a size as 4096, 256K or 1M";
    else if (attributes > EDDY_ATTRIBUTE_MAX)
        why = "--attr is up to 1 KiB";
    else if (o->segment_bytes + attributes > EDDY_SEGMENT_MAX)
        why = "--segment is up to 1M, with --attr together";
    else if (o->expect != NULL && !cli_read_u64(o->expect, &o->expected_seq))
        why = "--expect is a segment's number";
    else if (o->is_continuing && o->producer == NULL)
        why = "--continue needs --producer NAME";
    else if (o->producer != NULL &&
             (o->producer[0] == 0 || strlen(o->producer) > EDDY_NAME_MAX))
        why = "--producer is a name of 1 to 255 bytes";
    if (why != NULL)
        *code = cli_fail(cli, CLI_USAGE, "BAD_REQUEST", "%s", why);
    return why == NULL;
}

static int put_input(struct put *p)
{
    int code = CLI_DONE;
    p->e = cli_connect(p->cli, &code);
    if (p->e == NULL)
        return code;
    enum eddy_error err = eddy_stream_create(p->e, p->name, &p->stream, NULL);
    if (err != EDDY_OK)
        return cli_failed(p->cli, p->e, err, "making the stream");
    code = p->options.producer != NULL ? append_named(p) : append_rest(p);
    print_summary(p);
    return cli_flush(p->cli, code);
}

int cmd_put(int argc, char **argv)
{
    struct cli cli = {.usage = usage};
    struct put *p = mem_alloc(sizeof *p);
    struct put_options *o = &p->options;
    const struct cli_option options[] = {
        {"segment", 0, NULL, &o->segment},
        {"lines", 0, &o->is_lines, NULL},
        {"expect", 0, NULL, &o->expect},
        {"attr", 0, NULL, &o->attributes},
        {"producer", 0, NULL, &o->producer},
        {"continue", 0, &o->is_continuing, NULL},
    };
    int code;
    bool is_good = cli_parse(&cli, argc, argv, options,
                             sizeof options / sizeof *options, &code) &&
                   cli_wants(&cli, 1, 2, &code) &&
                   options_make_sense(&cli, o, &code);
    if (is_good) {
        p->cli = &cli;
        p->name = cli.arguments[0];
        p->began_ms = cli_now_ms();
        p->cutter.fd = -1;
        code = open_input(p, cli.arguments[1]);
        if (code == CLI_DONE)
            code = put_input(p);
    }
    eddy_producer_close(p->producer);
    eddy_close(p->e);
    free(p->cutter.bytes);
    mem_free(p);
    cli_free(&cli);
    return code;
}
