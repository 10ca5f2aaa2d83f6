/* producer.c - see producer.h. */
#include "ring/producer.h"

#include <stdlib.h>

#define ROW_VERSION 1u

enum producer_flag { FLAG_UNNAMED = 1, FLAG_CLOSED = 2 };

/* A run of the row takes at most two numbers of ten bytes. */
#define VARINT_BYTES_MAX 10u
#define RUN_BYTES_MAX    (2 * VARINT_BYTES_MAX)
/* All of the row but name, runs and checksums. */
#define ROW_FIXED_BYTES 64u

static_assert((PRODUCER_WINDOW & (PRODUCER_WINDOW - 1)) == 0,
              "runs are a circle whose size is a power of two");
static_assert((PRODUCER_CHECKSUMS & (PRODUCER_CHECKSUMS - 1)) == 0,
              "checksums are a circle whose size is a power of two");
static_assert(PRODUCER_CHECKSUMS <= UINT8_MAX, "their count is a byte");
static_assert(PRODUCER_NAME_MAX <= UINT8_MAX, "a name's size is a byte");

struct producer *producer_new(struct position id, struct position stream,
                              struct span name)
{
    ASSERT(name.size > 0 && name.size <= PRODUCER_NAME_MAX);
    struct producer *p = mem_alloc(sizeof *p + name.size);
    p->id = id;
    p->stream = stream;
    p->name_size = (uint8_t)name.size;
    memcpy(p->name, name.data, name.size);
    return p;
}

void producer_free(struct producer *p)
{
    mem_free(p->runs);
    mem_free(p->checksums);
    mem_free(p);
}

/* ---- the window -------------------------------------------------------- */

static uint64_t window_begin(const struct producer *p)
{
    return p->next_number > PRODUCER_WINDOW ? p->next_number - PRODUCER_WINDOW
                                            : 0;
}

static uint64_t checksums_begin(const struct producer *p)
{
    return p->next_number > PRODUCER_CHECKSUMS
               ? p->next_number - PRODUCER_CHECKSUMS
               : 0;
}

/* i from 0, the oldest. */
static struct producer_run *run_at(const struct producer *p, uint32_t i)
{
    return &p->runs[(p->run_first + i) & (p->run_capacity - 1u)];
}

static uint64_t run_end(const struct producer *p, uint32_t i)
{
    return i + 1u < p->run_count ? run_at(p, i + 1)->first_number
                                 : p->next_number;
}

static uint64_t *checksum_at(const struct producer *p, uint64_t number)
{
    return &p->checksums[number & (p->checksum_capacity - 1u)];
}

/* Seq of a number of the window: the last run that begins at or below it. */
static uint64_t seq_of(const struct producer *p, uint64_t number)
{
    uint32_t low = 0;
    uint32_t high = p->run_count;
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        if (run_at(p, middle)->first_number <= number)
            low = middle;
        else
            high = middle;
    }
    const struct producer_run *run = run_at(p, low);
    ASSERT(p->run_count > 0 && run->first_number <= number);
    return run->first_seq + (number - run->first_number);
}

enum number_case producer_judge(const struct producer *p, uint64_t number,
                                struct hash128 checksum, uint64_t *seq)
{
    if (number == p->next_number)
        return NUMBER_NEXT;
    if (number > p->next_number)
        return NUMBER_GAP;
    if (number < window_begin(p))
        return NUMBER_OLD;
    if (number >= checksums_begin(p) && *checksum_at(p, number) != checksum.lo)
        return NUMBER_DIFFERS;
    *seq = seq_of(p, number);
    return NUMBER_KNOWN;
}

static void grow_runs(struct producer *p)
{
    uint16_t grown = p->run_capacity == 0 ? 1 : (uint16_t)(p->run_capacity * 2);
    struct producer_run *runs = mem_alloc(grown * sizeof *runs);
    for (uint32_t i = 0; i < p->run_count; i++)
        runs[i] = *run_at(p, i);
    mem_free(p->runs);
    p->runs = runs;
    p->run_first = 0;
    p->run_capacity = grown;
}

static void push_run(struct producer *p, uint64_t number, uint64_t seq)
{
    if (p->run_count == p->run_capacity)
        grow_runs(p);
    p->run_count++;
    *run_at(p, p->run_count - 1u) = (struct producer_run){number, seq};
}

/* Numbers begin at 0, so that while the circle is not at its full size no
 * number lies beyond its end, and growing moves nothing. */
static void put_checksum(struct producer *p, uint64_t number, uint64_t lo)
{
    while (number >= p->checksum_capacity &&
           p->checksum_capacity < PRODUCER_CHECKSUMS) {
        uint8_t grown =
            p->checksum_capacity == 0 ? 1 : (uint8_t)(p->checksum_capacity * 2);
        p->checksums = mem_resize(p->checksums, grown * sizeof *p->checksums);
        p->checksum_capacity = grown;
    }
    *checksum_at(p, number) = lo;
}

void producer_accept(struct producer *p, uint64_t seq, struct hash128 checksum)
{
    uint64_t number = p->next_number;
    uint32_t last = p->run_count - 1u;
    bool is_neighbour =
        p->run_count > 0 &&
        run_at(p, last)->first_seq + (number - run_at(p, last)->first_number) ==
            seq;
    /* Let go of the runs that leave the window before one is added: so there
     * are never more of them than the window has numbers. The last one stays,
     * for the window is wider than one number. */
    uint64_t begin =
        number < PRODUCER_WINDOW ? 0 : number + 1 - PRODUCER_WINDOW;
    while (p->run_count > 0 && run_end(p, 0) <= begin) {
        p->run_first = (p->run_first + 1u) & (p->run_capacity - 1u);
        p->run_count--;
    }
    put_checksum(p, number, checksum.lo);
    p->next_number++;
    if (!is_neighbour)
        push_run(p, number, seq);
}

/* ---- the row ----------------------------------------------------------- */

/* Seven bits a byte, the lowest first: gaps and lengths are mostly small. */
static void put_varint(struct enc *e, uint64_t v)
{
    while (v >= 0x80) {
        enc_u8(e, (uint8_t)(v | 0x80));
        v >>= 7;
    }
    enc_u8(e, (uint8_t)v);
}

static uint64_t get_varint(struct dec *d)
{
    uint64_t v = 0;
    for (uint32_t i = 0; i < VARINT_BYTES_MAX; i++) {
        uint8_t byte = dec_u8(d);
        v |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte & 0x80)
            continue;
        /* The shortest form only, and no bit above the 64th. */
        if ((byte == 0 && i > 0) || (i == VARINT_BYTES_MAX - 1 && byte > 1))
            dec_fail(d);
        return v;
    }
    dec_fail(d);
    return 0;
}

static void put_runs(struct enc *e, const struct producer *p)
{
    enc_u16(e, p->run_count);
    if (p->run_count == 0)
        return;
    enc_u64(e, run_at(p, 0)->first_number);
    enc_u64(e, run_at(p, 0)->first_seq);
    for (uint32_t i = 1; i < p->run_count; i++) {
        const struct producer_run *before = run_at(p, i - 1);
        const struct producer_run *run = run_at(p, i);
        uint64_t count = run->first_number - before->first_number;
        put_varint(e, count);
        put_varint(e, run->first_seq - before->first_seq - count);
    }
}

void producer_row_write(const struct producer *p, struct buf *value)
{
    uint64_t begin = checksums_begin(p);
    size_t bound = ROW_FIXED_BYTES + p->name_size +
                   p->run_count * (size_t)RUN_BYTES_MAX +
                   PRODUCER_CHECKSUMS * sizeof(uint64_t);
    size_t at = value->size;
    struct enc e = enc_of(buf_grow(value, bound), bound);
    unsigned flags =
        (p->is_unnamed ? FLAG_UNNAMED : 0u) | (p->is_closed ? FLAG_CLOSED : 0u);
    enc_u8(&e, ROW_VERSION);
    enc_u8(&e, (uint8_t)flags);
    enc_position(&e, p->stream);
    enc_position(&e, p->used);
    enc_u64(&e, p->used_ms);
    enc_u32(&e, p->epoch);
    enc_u64(&e, p->next_number);
    enc_string(&e, producer_name(p));
    put_runs(&e, p);
    for (uint64_t n = begin; n < p->next_number; n++)
        enc_u64(&e, *checksum_at(p, n));
    ASSERT(enc_fits(&e));
    value->size = at + e.size;
}

/* Runs ascend in number and in seq, none could be joined to the one before,
 * and together they cover the window and not a whole run more. */
static void get_runs(struct dec *d, struct producer *p)
{
    uint16_t count = dec_u16(d);
    if (count > PRODUCER_WINDOW || (count == 0) != (p->next_number == 0))
        dec_fail(d);
    if (d->is_bad || count == 0)
        return;
    struct producer_run run;
    run.first_number = dec_u64(d);
    run.first_seq = dec_u64(d);
    push_run(p, run.first_number, run.first_seq);
    if (run.first_number > window_begin(p))
        dec_fail(d);
    for (uint32_t i = 1; i < count && !d->is_bad; i++) {
        uint64_t length = get_varint(d);
        uint64_t gap = get_varint(d);
        if (length == 0 || gap == 0 ||
            length >= p->next_number - run.first_number ||
            gap > UINT64_MAX - length ||
            run.first_seq > UINT64_MAX - length - gap)
            dec_fail(d);
        run.first_number += length;
        run.first_seq += length + gap;
        if (i == 1 && run.first_number <= window_begin(p))
            dec_fail(d);
        push_run(p, run.first_number, run.first_seq);
    }
    if (run.first_number >= p->next_number ||
        p->next_number - run.first_number > UINT64_MAX - run.first_seq)
        dec_fail(d);
}

static void get_body(struct dec *d, struct producer *p)
{
    get_runs(d, p);
    uint64_t count = p->next_number - checksums_begin(p);
    if (dec_left(d) != count * sizeof(uint64_t)) {
        dec_fail(d);
        return;
    }
    for (uint64_t n = checksums_begin(p); n < p->next_number; n++)
        put_checksum(p, n, dec_u64(d));
}

struct producer *producer_row_read(struct position id, struct span value)
{
    struct dec d = dec_of(value);
    uint8_t version = dec_u8(&d);
    uint8_t flags = dec_u8(&d);
    struct position stream, used;
    stream.index = dec_u64(&d);
    stream.ordinal = dec_u16(&d);
    used.index = dec_u64(&d);
    used.ordinal = dec_u16(&d);
    uint64_t used_ms = dec_u64(&d);
    uint32_t epoch = dec_u32(&d);
    uint64_t next_number = dec_u64(&d);
    struct span name = dec_string(&d);
    if (d.is_bad || version != ROW_VERSION || epoch == 0 || name.size == 0 ||
        name.size > PRODUCER_NAME_MAX ||
        (flags & ~(FLAG_UNNAMED | FLAG_CLOSED)) != 0)
        return NULL;
    struct producer *p = producer_new(id, stream, name);
    p->used = used;
    p->used_ms = used_ms;
    p->epoch = epoch;
    p->next_number = next_number;
    p->is_unnamed = (flags & FLAG_UNNAMED) != 0;
    p->is_closed = (flags & FLAG_CLOSED) != 0;
    get_body(&d, p);
    if (dec_done(&d))
        return p;
    producer_free(p);
    return NULL;
}

void producer_check(const struct producer *p)
{
    ASSERT(p->epoch > 0 && p->name_size > 0);
    ASSERT((p->run_count == 0) == (p->next_number == 0));
    ASSERT(p->run_count <= PRODUCER_WINDOW);
    if (p->run_count == 0)
        return;
    ASSERT(run_at(p, 0)->first_number <= window_begin(p));
    ASSERT(run_end(p, 0) > window_begin(p));
    for (uint32_t i = 0; i < p->run_count; i++) {
        uint64_t length = run_end(p, i) - run_at(p, i)->first_number;
        ASSERT(run_at(p, i)->first_number < run_end(p, i));
        ASSERT(i + 1u == p->run_count ||
               run_at(p, i)->first_seq + length < run_at(p, i + 1)->first_seq);
    }
}

/* ---- lists ------------------------------------------------------------- */

void producer_list_add(struct producer_list *l, struct producer *p)
{
    ASSERT(p->older == NULL && p->newer == NULL);
    p->older = l->newest;
    if (l->newest != NULL)
        l->newest->newer = p;
    else
        l->oldest = p;
    l->newest = p;
    l->count++;
}

void producer_list_remove(struct producer_list *l, struct producer *p)
{
    ASSERT(l->count > 0);
    if (p->older != NULL)
        p->older->newer = p->newer;
    else
        l->oldest = p->newer;
    if (p->newer != NULL)
        p->newer->older = p->older;
    else
        l->newest = p->older;
    p->older = NULL;
    p->newer = NULL;
    l->count--;
}

static int compare_used(const void *a, const void *b)
{
    const struct producer *const *p = a;
    const struct producer *const *q = b;
    return position_compare((*p)->used, (*q)->used);
}

void producer_list_sort(struct producer_list *l)
{
    size_t count = l->count;
    struct producer **all = mem_alloc(count * sizeof(struct producer *));
    size_t n = 0;
    while (l->oldest != NULL) {
        all[n++] = l->oldest;
        producer_list_remove(l, l->oldest);
    }
    qsort(all, n, sizeof *all, compare_used);
    for (size_t i = 0; i < n; i++)
        producer_list_add(l, all[i]);
    ASSERT(l->count == count);
    mem_free(all);
}
