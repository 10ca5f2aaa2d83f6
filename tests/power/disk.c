/* disk.c - see disk.h. */
#include "tests/power/disk.h"

const char *disk_mode_name(enum disk_mode m)
{
    static const char *const names[DISK_MODES] = {
        [DISK_NOTHING] = "nothing unsynced",
        [DISK_EVERYTHING] = "everything unsynced",
        [DISK_WRITES] = "some writes",
        [DISK_PAGES] = "some pages",
        [DISK_SECTORS] = "some sectors",
        [DISK_FIRST] = "the first writes",
        [DISK_LAST] = "the last writes",
        [DISK_ONE] = "one write",
        [DISK_ALL_BUT_ONE] = "all writes but one",
    };
    return names[m];
}

void disk_init(struct disk *d, enum disk_lie lie)
{
    *d = (struct disk){.lie = lie};
}

void disk_free(struct disk *d)
{
    buf_free(&d->safe);
    mem_free(d->writes);
    *d = (struct disk){0};
}

/* ---- feeding ----------------------------------------------------------- */

static void lengthen(struct buf *file, uint64_t size)
{
    if (file->size >= size)
        return;
    size_t more = (size_t)size - file->size;
    memset(buf_grow(file, more), 0, more);
}

static void apply(struct buf *file, const struct disk_write *w)
{
    lengthen(file, w->offset + w->size);
    memcpy(file->data + w->offset, w->bytes, (size_t)w->size);
}

/* What is safe from the front on needs no list. */
static void settle(struct disk *d)
{
    size_t done = 0;
    while (done < d->count && d->writes[done].is_safe)
        apply(&d->safe, &d->writes[done++]);
    d->count -= done;
    memmove(d->writes, d->writes + done, d->count * sizeof *d->writes);
}

static void add(struct disk *d, const struct tape_event *e)
{
    if (d->count == d->capacity) {
        d->capacity = d->capacity * 2 + 64;
        d->writes = mem_resize(d->writes, d->capacity * sizeof *d->writes);
    }
    d->writes[d->count++] = (struct disk_write){
        .offset = e->offset,
        .size = e->size,
        .bytes = e->bytes,
        .is_dsync = e->kind == TAPE_WRITE_DSYNC,
    };
    d->cache_size = max_u64(d->cache_size, e->offset + e->size);
}

/* The writes that the call under way is about. */
static void end_call(struct disk *d, bool is_done)
{
    bool is_sync = d->under_way == TAPE_SYNC;
    ASSERT(is_sync || d->under_way == TAPE_WRITE_DSYNC);
    size_t from = is_sync ? 0 : d->count - 1;
    size_t to = is_sync ? d->synced : d->count;
    bool is_forgotten =
        d->lie == (is_sync ? DISK_FORGETS_SYNCS : DISK_FORGETS_METAS);
    for (size_t i = from; i < to && !is_forgotten; i++) {
        struct disk_write *w = &d->writes[i];
        if (is_done)
            w->is_safe = w->is_safe || !w->is_failed;
        else
            w->is_failed = !w->is_safe;
    }
    d->under_way = TAPE_MARK;
    settle(d);
}

void disk_feed(struct disk *d, const struct tape_event *e)
{
    switch (e->kind) {
    case TAPE_WRITE:
    case TAPE_WRITE_DSYNC:
        add(d, e);
        d->under_way = e->kind;
        return;
    case TAPE_SYNC:
        d->synced = d->count;
        d->under_way = TAPE_SYNC;
        return;
    case TAPE_DONE:
        end_call(d, true);
        return;
    case TAPE_FAILED:
        end_call(d, false);
        return;
    case TAPE_FOLDER:
        d->has_name = d->lie != DISK_FORGETS_NAMES;
        return;
    case TAPE_MARK:
        return;
    }
}

size_t disk_unsafe(const struct disk *d)
{
    size_t count = 0;
    for (size_t i = 0; i < d->count; i++)
        count += !d->writes[i].is_safe;
    return count;
}

/* ---- rebuilding -------------------------------------------------------- */

struct drawing {
    enum disk_mode mode;
    struct rng *chance;
    size_t pivot; /* one of the unsafe writes */
    uint32_t per_mille;
};

/* Whether the piece that begins `at` bytes into the file, of the n-th unsafe
 * write, is there; *is_kept is the answer for its page or write so far. */
static bool is_there(const struct drawing *w, size_t n, uint64_t at,
                     bool is_first, bool *is_kept)
{
    switch (w->mode) {
    case DISK_NOTHING:
        return false;
    case DISK_EVERYTHING:
        return true;
    case DISK_WRITES:
        if (is_first)
            *is_kept = rng_chance(w->chance, w->per_mille);
        return *is_kept;
    case DISK_PAGES:
        if (is_first || at % DISK_PAGE_BYTES == 0)
            *is_kept = rng_chance(w->chance, w->per_mille);
        return *is_kept;
    case DISK_SECTORS:
        return rng_chance(w->chance, w->per_mille);
    case DISK_FIRST:
        return n < w->pivot ||
               (n == w->pivot && rng_chance(w->chance, w->per_mille));
    case DISK_LAST:
        return n >= w->pivot;
    case DISK_ONE:
        return n == w->pivot;
    case DISK_ALL_BUT_ONE:
        return n != w->pivot;
    case DISK_MODES:
        break;
    }
    ASSERT(false);
    return false;
}

/* Brings those of one write's sectors from the cache to the disk that are
 * there: whole, with what else the cache holds in them. */
static void bring(const struct drawing *w, size_t n, const struct disk_write *d,
                  const struct buf *cache, struct buf *out)
{
    bool is_kept = false;
    uint64_t end = d->offset + d->size;
    for (uint64_t at = d->offset; at < end;) {
        uint64_t sector = at - at % DISK_SECTOR_BYTES;
        uint64_t next = min_u64(sector + DISK_SECTOR_BYTES, cache->size);
        if (d->is_safe || is_there(w, n, at, at == d->offset, &is_kept)) {
            lengthen(out, next);
            memcpy(out->data + sector, cache->data + sector,
                   (size_t)(next - sector));
        }
        at = next;
    }
}

bool disk_rebuild(const struct disk *d, enum disk_mode mode, struct rng *chance,
                  struct buf *out)
{
    static const uint32_t odds[] = {500, 100, 900};
    struct buf cache = {0};
    size_t n = 0;
    struct drawing w = {.mode = mode,
                        .chance = chance,
                        .pivot = (size_t)rng_below(chance, disk_unsafe(d) + 1),
                        .per_mille = odds[rng_below(chance, 3)]};
    buf_clear(out);
    buf_append(out, d->safe.data, d->safe.size);
    buf_append(&cache, d->safe.data, d->safe.size);
    for (size_t i = 0; i < d->count; i++) {
        apply(&cache, &d->writes[i]);
        bring(&w, n, &d->writes[i], &cache, out);
        n += !d->writes[i].is_safe;
    }
    if (rng_chance(chance, 500))
        lengthen(out, d->cache_size);
    buf_free(&cache);
    return d->has_name;
}
