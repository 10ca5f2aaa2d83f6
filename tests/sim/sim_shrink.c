/* sim_shrink.c - see sim_shrink.h.
 *
 * Delta debugging (Zeller, Hildebrandt, TSE 28(2), 2002), by complements: the
 * elements are the scheduled faults, in the order of time, and the kinds of
 * those that come by chance (packets lost, commits slow ...). A share of them
 * is left out; if the history still fails in the same way they are gone for
 * good; shares get smaller until no single one can go. A history without some
 * faults is another history: what remains is enough to fail, and not always
 * what made the first one fail. */
#include "tests/sim/sim_shrink.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LAST_LINES   30u
#define ELEMENTS_MAX (FAULTS_MAX + FAULT_COUNT)

struct shrink {
    struct history base; /* with what the caller has left out */
    struct outcome failure;
    char kind[16]; /* of the failure: "I5", "V6" ... */
    uint32_t scheduled;
    uint32_t kept[ELEMENTS_MAX]; /* elements: ordinals, then kinds */
    uint32_t kept_count;
    struct pool *pool;
    uint32_t jobs;
    uint64_t until_ms;
    uint32_t tries;
};

static uint64_t clock_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- names ------------------------------------------------------------- */

static bool add_range(struct skips *s, unsigned long from, unsigned long to)
{
    if (from == 0 || from > to || to > FAULTS_MAX)
        return false;
    for (unsigned long i = from; i <= to; i++)
        skips_add(s, (uint32_t)i);
    return true;
}

bool shrink_parse_skips(struct skips *s, const char *text)
{
    do {
        char *end;
        unsigned long from = strtoul(text, &end, 10);
        unsigned long to = from;
        if (*end == '-')
            to = strtoul(end + 1, &end, 10);
        if (!add_range(s, from, to) || (*end != ',' && *end != 0))
            return false;
        text = end + (*end == ',');
    } while (*text != 0);
    return true;
}

bool shrink_parse_kinds(bool kinds[FAULT_COUNT], const char *text)
{
    while (*text != 0) {
        size_t size = strcspn(text, ",");
        size_t kind = 0;
        while (kind < FAULT_COUNT &&
               !span_equal(span_of(text, size),
                           span_str(fault_name((enum fault)kind))))
            kind++;
        if (kind == FAULT_COUNT)
            return false;
        kinds[kind] = true;
        text += size + (text[size] == ',');
    }
    return true;
}

static void print_skips(const struct skips *s)
{
    const char *before = " SKIP=";
    for (uint32_t i = 1; i <= FAULTS_MAX; i++) {
        if (!skips_has(s, i))
            continue;
        uint32_t to = i;
        while (to < FAULTS_MAX && skips_has(s, to + 1))
            to++;
        (void)printf(to > i ? "%s%u-%u" : "%s%u", before, i, to);
        before = ",";
        i = to;
    }
}

void shrink_print_options(const struct history *h)
{
    (void)printf("SEED=%llu", (unsigned long long)h->seed);
    if (h->cfg.seconds != 0)
        (void)printf(" LENGTH=%u", h->cfg.seconds);
    for (uint32_t i = 0; i < h->off_count; i++)
        (void)printf("%s%s", i == 0 ? " OFF=" : ",", h->off[i]);
    print_skips(&h->cfg.skips);
    const char *before = " NO=";
    for (size_t i = 0; i < FAULT_COUNT; i++) {
        if (!h->cfg.no[i])
            continue;
        (void)printf("%s%s", before, fault_name((enum fault)i));
        before = ",";
    }
}

/* ---- trying ------------------------------------------------------------ */

/* "I5: n2 commits ..." is "I5"; what has no such name is "". */
static void kind_of(const struct outcome *o, char kind[16])
{
    char line[200];
    outcome_reason(o, line, sizeof line);
    size_t size = strcspn(line, ": ");
    if (line[size] != ':' || size > 15)
        size = 0;
    memcpy(kind, line, size);
    kind[size] = 0;
}

static bool is_same_failure(const struct shrink *s, const struct outcome *o)
{
    char kind[16];
    kind_of(o, kind);
    return o->code == s->failure.code &&
           o->signal_number == s->failure.signal_number &&
           strcmp(kind, s->kind) == 0;
}

/* The history with what is kept, but for `count` elements from `at` on. */
static struct history without(const struct shrink *s, uint32_t at,
                              uint32_t count)
{
    bool is_kept[ELEMENTS_MAX] = {0};
    for (uint32_t i = 0; i < s->kept_count; i++)
        is_kept[s->kept[i]] = i < at || i >= at + count;
    struct history h = s->base;
    h.is_partial = true;
    h.is_twice = false;
    for (uint32_t i = 0; i < s->scheduled; i++)
        if (!is_kept[i])
            skips_add(&h.cfg.skips, i + 1);
    for (uint32_t i = 0; i < FAULT_COUNT; i++)
        if (s->failure.totals.chances[i] > 0)
            h.cfg.no[i] = !is_kept[s->scheduled + i];
    return h;
}

static void remove_kept(struct shrink *s, uint32_t at, uint32_t count)
{
    memmove(s->kept + at, s->kept + at + count,
            (s->kept_count - at - count) * sizeof *s->kept);
    s->kept_count -= count;
}

/* Tries to do without the shares of so many elements that end at `end`,
 * several at a time, and removes the latest that can go. The end of those that
 * are yet to be tried; the rest once time is up. */
static uint32_t try_shares(struct shrink *s, uint32_t share, uint32_t end)
{
    bool still_fails[JOBS_MAX] = {0};
    uint32_t starts[JOBS_MAX], sizes[JOBS_MAX], count = 0;
    for (; count < s->jobs && end > 0; count++) {
        sizes[count] = share < end ? share : end;
        starts[count] = end -= sizes[count];
        struct history h = without(s, starts[count], sizes[count]);
        pool_begin(s->pool, &h, count);
        s->tries++;
    }
    struct outcome o;
    while (!pool_is_empty(s->pool))
        if (pool_next(s->pool, &o, -1))
            still_fails[o.tag] = is_same_failure(s, &o);
    for (uint32_t i = 0; i < count; i++) {
        if (!still_fails[i])
            continue;
        remove_kept(s, starts[i], sizes[i]);
        return starts[i];
    }
    return end;
}

static void minimise(struct shrink *s)
{
    bool has_shrunk = false;
    for (uint32_t share = s->kept_count; share > 0 && s->kept_count > 0;) {
        has_shrunk = false;
        uint32_t end = s->kept_count;
        while (end > 0 && clock_ms() < s->until_ms) {
            uint32_t before = s->kept_count;
            end = try_shares(s, share, end);
            has_shrunk = has_shrunk || s->kept_count < before;
        }
        if (clock_ms() >= s->until_ms)
            return;
        if (share > 1 || !has_shrunk)
            share /= 2;
    }
}

/* ---- telling ----------------------------------------------------------- */

/* Plays it in words; its words, NUL-terminated, until the next pool call. */
static char *tell(struct shrink *s, const struct history *h)
{
    struct history in_words = *h;
    in_words.cfg.is_traced = true;
    in_words.is_twice = false;
    struct outcome o;
    pool_begin(s->pool, &in_words, 0);
    while (!pool_next(s->pool, &o, -1))
        continue;
    return o.words;
}

static void print_last_events(const char *words)
{
    const char *end = strstr(words, " violated, while ");
    if (end == NULL)
        end = strstr(words, ": broken invariant: ");
    if (end == NULL)
        end = words + strlen(words);
    const char *at = end;
    for (uint32_t lines = 0; at > words; at--)
        if (at[-1] == '\n' && lines++ == LAST_LINES)
            break;
    while (end > at && end[-1] != '\n')
        end--;
    (void)printf("the last events:\n%.*s", (int)(end - at), at);
}

/* Lines that tell of faults: README.md has the columns. */
static void print_faults(const char *words)
{
    while (*words != 0) {
        size_t size = strcspn(words, "\n");
        if (size > 14 && words[12] == '!')
            (void)printf("%.*s\n", (int)size, words);
        words += size + (words[size] == '\n');
    }
}

static void begin(struct shrink *s, const struct totals *t)
{
    s->scheduled = (uint32_t)t->scheduled;
    for (uint32_t i = 0; i < s->scheduled; i++)
        if (!skips_has(&s->base.cfg.skips, i + 1))
            s->kept[s->kept_count++] = i;
    for (uint32_t i = 0; i < FAULT_COUNT; i++)
        if (t->chances[i] > 0)
            s->kept[s->kept_count++] = s->scheduled + i;
}

void shrink_report(const struct history *h, const struct outcome *failure,
                   uint32_t jobs, uint32_t seconds)
{
    struct shrink *s = mem_alloc(sizeof *s);
    s->base = *h;
    s->failure = *failure;
    s->jobs = jobs;
    s->pool = pool_new(jobs);
    s->until_ms = clock_ms() + (uint64_t)seconds * 1000;
    kind_of(failure, s->kind);
    print_last_events(tell(s, h));
    begin(s, &failure->totals);
    (void)printf("looking for fewer faults than these %u that do it ...\n",
                 s->kept_count);
    (void)fflush(stdout);
    minimise(s);
    struct history least = without(s, 0, 0);
    (void)printf("%u of them are enough (%u histories played):\n",
                 s->kept_count, s->tries);
    print_faults(tell(s, &least));
    (void)printf("again: make sim ");
    shrink_print_options(&least);
    (void)printf(" TRACE=1\n");
    pool_free(s->pool);
    mem_free(s);
}
