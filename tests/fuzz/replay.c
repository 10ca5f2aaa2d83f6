/* replay.c - a fuzzer's main without libFuzzer: the corpus, then mutations
 * of it that are the same in every run.
 *
 *   replay [-n MUTATIONS] [-s SEED] [-o CRASH] FILE...
 *
 * Each input lies in memory of exactly its size, so that a sanitizer sees the
 * first byte read past it. If the decoder crashes, the input at hand is written
 * to CRASH: give it as FILE to see it again, and keep it in the corpus.
 *
 * What this is not: a search. Finding new inputs is `make fuzz`; this proves
 * that what was found once stays mended, and catches the coarse mistakes. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ring/base.h"

#define INPUT_BYTES_MAX (4u << 20)
#define EDITS_MAX       8u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Globals for the signal handler, which has nothing else. */
static struct buf input;
static const char *crash_path; /* NULL: keep nothing */

static void say(const char *text)
{
    if (write(STDERR_FILENO, text, strlen(text)) < 0)
        _exit(1);
}

/* Only what a handler may call. */
static void keep_input(int signal_number)
{
    int fd = -1;
    if (crash_path != NULL)
        fd = open(crash_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd >= 0 && write(fd, input.data, input.size) == (ssize_t)input.size) {
        say("replay: the input that did it is in ");
        say(crash_path);
        say("\n");
    }
    /* SA_RESETHAND: this time it ends us, with the status of a crash. */
    (void)raise(signal_number);
}

static void catch_crashes(void)
{
    /* Under ASan an abort follows its report (abort_on_error=1); its own
     * handlers of the others must stay. */
#ifdef __SANITIZE_ADDRESS__
    static const int signals[] = {SIGABRT};
#else
    static const int signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
#endif
    struct sigaction action = {.sa_handler = keep_input};
    action.sa_flags = (int)SA_RESETHAND;
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        (void)sigaction(signals[i], &action, NULL);
}

static bool read_file(const char *path, struct buf *out)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return false;
    uint8_t chunk[4096];
    size_t got = 0;
    while ((got = fread(chunk, 1, sizeof chunk, file)) > 0 &&
           out->size <= INPUT_BYTES_MAX)
        buf_append(out, chunk, got);
    bool ok = !ferror(file) && out->size <= INPUT_BYTES_MAX;
    (void)fclose(file);
    return ok;
}

static void run_input(struct span bytes)
{
    /* Not mem_copy: an empty input must have no byte that may be read. */
    uint8_t *data = malloc(bytes.size);
    ASSERT(data != NULL || bytes.size == 0);
    if (bytes.size > 0)
        memcpy(data, bytes.data, bytes.size);
    (void)LLVMFuzzerTestOneInput(data, bytes.size);
    free(data);
}

/* ---- mutations --------------------------------------------------------- */

static size_t pick(struct rng *r, size_t bound)
{
    return (size_t)rng_below(r, bound);
}

/* Lengths and counts break decoders: write one that is likely to. */
static void put_number(struct rng *r, struct buf *b)
{
    static const uint64_t numbers[] = {
        0,          1,           0x7f,       0x80,       0xff,
        0x7fff,     0xffff,      0x10000,    0x7fffffff, 0x80000000,
        0xffffffff, 0x100000000, UINT64_MAX, INT64_MAX,
    };
    size_t width = (size_t)1 << pick(r, 4);
    if (b->size < width)
        return;
    uint64_t v = numbers[pick(r, sizeof numbers / sizeof numbers[0])];
    size_t at = pick(r, b->size - width + 1);
    for (size_t i = 0; i < width; i++)
        b->data[at + i] = (uint8_t)(v >> (8 * i));
}

static void cut_out(struct rng *r, struct buf *b)
{
    size_t at = pick(r, b->size);
    size_t count = 1 + pick(r, b->size - at);
    memmove(b->data + at, b->data + at + count, b->size - at - count);
    b->size -= count;
}

/* Up to 64 bytes of `other`, from somewhere, over or between ours. */
static void splice(struct rng *r, struct buf *b, struct span other)
{
    if (other.size == 0)
        return;
    size_t from = pick(r, other.size);
    size_t count = (size_t)min_u64(1 + pick(r, 64), other.size - from);
    size_t at = pick(r, b->size + 1);
    size_t tail = b->size - at;
    (void)buf_grow(b, count);
    memmove(b->data + at + count, b->data + at, tail);
    memcpy(b->data + at, other.data + from, count);
}

static void edit(struct rng *r, struct buf *b, struct span other)
{
    if (b->size == 0) {
        splice(r, b, other);
        return;
    }
    switch (pick(r, 6)) {
    case 0:
        b->data[pick(r, b->size)] ^= (uint8_t)(1u << pick(r, 8));
        break;
    case 1:
        b->data[pick(r, b->size)] = (uint8_t)rng_below(r, 256);
        break;
    case 2:
        b->size = pick(r, b->size);
        break;
    case 3:
        cut_out(r, b);
        break;
    case 4:
        splice(r, b, other);
        break;
    case 5:
        put_number(r, b);
        break;
    }
}

static void run_mutations(const struct buf *files, size_t count, size_t total,
                          uint64_t seed)
{
    struct rng r;
    rng_seed(&r, seed);
    for (size_t i = 0; i < total; i++) {
        const struct buf *from = &files[i % count];
        const struct buf *other = &files[pick(&r, count)];
        buf_clear(&input);
        buf_append(&input, from->data, from->size);
        size_t edits = 1 + pick(&r, EDITS_MAX);
        for (size_t k = 0; k < edits; k++)
            edit(&r, &input, span_buf(other));
        run_input(span_buf(&input));
    }
}

/* ---- main -------------------------------------------------------------- */

static int usage(void)
{
    say("usage: replay [-n MUTATIONS] [-s SEED] [-o CRASH] FILE...\n");
    return 2;
}

int main(int argc, char **argv)
{
    size_t mutations = 0;
    uint64_t seed = 1;
    int option = 0;
    while ((option = getopt(argc, argv, "n:s:o:")) != -1) {
        if (option == 'n')
            mutations = (size_t)strtoull(optarg, NULL, 10);
        else if (option == 's')
            seed = strtoull(optarg, NULL, 10);
        else if (option == 'o')
            crash_path = optarg;
        else
            return usage();
    }
    if (optind >= argc)
        return usage();
    size_t count = (size_t)(argc - optind);
    struct buf *files = mem_alloc(count * sizeof *files);
    catch_crashes();
    for (size_t i = 0; i < count; i++) {
        const char *path = argv[optind + (int)i];
        if (!read_file(path, &files[i])) {
            fprintf(stderr, "replay: cannot read %s\n", path);
            return 1;
        }
        buf_clear(&input);
        buf_append(&input, files[i].data, files[i].size);
        run_input(span_buf(&input));
    }
    run_mutations(files, count, mutations, seed);
    printf("%zu inputs, %zu mutations (seed %llu)\n", count, mutations,
           (unsigned long long)seed);
    for (size_t i = 0; i < count; i++)
        buf_free(&files[i]);
    mem_free(files);
    buf_free(&input);
    return 0;
}
