/* store_rig.c - see store_rig.h. */
#include "tests/unit/store_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct entry_stamp stamp = {
    .epoch = {1, 2, 3}, .level = LEVEL_NOW, .time_ms = 1700000000000u};

/* ---- buffers of the shell ---------------------------------------------- */

const uint8_t *rig_resolve(void *ctx, uint64_t handle)
{
    const struct rig_bytes *b = ctx;
    ASSERT(handle >= 1 && handle <= b->count);
    return b->bufs[handle - 1].data;
}

void rig_bytes_free(struct rig_bytes *b)
{
    for (size_t i = 0; i < b->count; i++)
        buf_free(&b->bufs[i]);
    mem_free(b->bufs);
    *b = (struct rig_bytes){0};
}

static uint64_t add_bytes(struct rig_bytes *b, struct span s)
{
    b->bufs = mem_resize(b->bufs, (b->count + 1) * sizeof *b->bufs);
    b->bufs[b->count] = (struct buf){0};
    buf_append(&b->bufs[b->count], s.data, s.size);
    return ++b->count;
}

/* ---- entries ----------------------------------------------------------- */

void rig_script_begin(struct rig_script *s, uint64_t seed)
{
    *s = (struct rig_script){0};
    rng_seed(&s->rng, seed);
    entry_build(&s->builder, &s->manifest, stamp);
}

bool rig_script_create(struct rig_script *s, const char *name)
{
    struct command c = {.kind = COMMAND_CREATE, .name = span_str(name)};
    return entry_add(&s->builder, &c) == ERR_OK;
}

bool rig_script_open(struct rig_script *s, struct position stream,
                     const char *name)
{
    struct command c = {.kind = COMMAND_OPEN_PRODUCER,
                        .stream = stream,
                        .name = span_str(name)};
    return entry_add(&s->builder, &c) == ERR_OK;
}

bool rig_script_append(struct rig_script *s, const struct rig_lane *lane,
                       uint64_t ahead, uint32_t size)
{
    size_t at = s->payload.size;
    uint8_t *bytes = buf_grow(&s->payload, size);
    for (uint32_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i % 8 == 0 ? rng_next(&s->rng) : i + bytes[i - 1]);
    struct command c = {.kind = COMMAND_APPEND,
                        .stream = lane->stream,
                        .producer = lane->producer,
                        .producer_epoch = lane->epoch,
                        .number = lane->next_number + ahead,
                        .expected_seq = SEQ_ANY,
                        .size = size,
                        .algorithm = CHECKSUM_XXH3_128,
                        .checksum = hash128(span_of(bytes, size))};
    if (rng_chance(&s->rng, 100))
        c.attributes = span_str("colour=blue");
    if (rng_chance(&s->rng, 100))
        c.key_hash = rng_next(&s->rng) | 1;
    if (entry_add(&s->builder, &c) == ERR_OK)
        return true;
    s->payload.size = at;
    return false;
}

/* Cuts [0, size) into up to four slices; each lies somewhere in a buffer. */
static uint32_t cut_slices(struct rig_script *s, struct rig_bytes *bytes,
                           struct slice out[4])
{
    uint32_t count = 0;
    uint32_t at = 0, size = (uint32_t)s->payload.size;
    while (at < size) {
        uint32_t part = size - at;
        if (count < 3)
            part = 1 + (uint32_t)rng_below(&s->rng, part);
        /* A few bytes of something else around it. */
        uint32_t before = (uint32_t)min_u64(at, rng_below(&s->rng, 20));
        struct span span =
            span_of(s->payload.data + at - before, before + part);
        out[count++] = (struct slice){add_bytes(bytes, span), before, part};
        at += part;
    }
    return count;
}

struct item *rig_script_end(struct rig_script *s, struct item_pool *pool,
                            struct rig_bytes *bytes, uint64_t index,
                            uint64_t term)
{
    entry_end(&s->builder);
    entry_number(s->manifest.data, index, term);
    ASSERT(entry_check(span_buf(&s->manifest)) == ERR_OK);
    struct slice slices[4];
    uint32_t count = cut_slices(s, bytes, slices);
    struct item *item = item_new(pool, span_buf(&s->manifest), slices, count);
    buf_free(&s->manifest);
    buf_free(&s->payload);
    return item;
}

static struct item *item_of(struct item_pool *pool, struct buf *manifest,
                            uint64_t index, uint64_t term)
{
    entry_number(manifest->data, index, term);
    struct item *item = item_new(pool, span_buf(manifest), NULL, 0);
    buf_free(manifest);
    return item;
}

struct item *rig_noop(struct item_pool *pool, uint64_t index, uint64_t term)
{
    struct buf manifest = {0};
    entry_build_noop(&manifest, stamp);
    return item_of(pool, &manifest, index, term);
}

struct item *rig_config(struct item_pool *pool, uint64_t index, uint64_t term,
                        uint32_t members)
{
    struct config config = {.index = index, .count = members};
    for (uint32_t i = 0; i < members; i++)
        config.members[i] =
            (struct config_member){{{{(uint8_t)(i + 1)}}, i + 1}, i == 0};
    struct buf manifest = {0};
    entry_build_config(&manifest, stamp, &config);
    return item_of(pool, &manifest, index, term);
}

/* ---- a group's core ---------------------------------------------------- */

void rig_core_init(struct rig_core *c, bool is_founded)
{
    *c = (struct rig_core){.streams = streams_new()};
    if (!is_founded)
        return;
    rig_core_append(c, NULL);
    rig_core_apply(c, 1);
    c->stored_index = 1;
}

static void forget(struct rig_core *c, struct item_pool *pool, size_t i)
{
    if (c->items[i] != NULL)
        item_unref(pool, c->items[i]);
    buf_free(&c->applied[i].images);
}

void rig_core_free(struct rig_core *c, struct item_pool *pool)
{
    for (size_t i = 0; i < c->last; i++)
        forget(c, pool, i);
    mem_free(c->items);
    mem_free(c->applied);
    mem_free(c->lanes);
    mem_free(c->portion);
    streams_free(c->streams);
    *c = (struct rig_core){0};
}

void rig_core_append(struct rig_core *c, struct item *item)
{
    ASSERT(item == NULL || item->index == c->last + 1);
    if (c->last == c->capacity) {
        c->capacity = c->capacity * 2 + 8;
        c->items = mem_resize(c->items, c->capacity * sizeof *c->items);
        c->applied = mem_resize(c->applied, c->capacity * sizeof *c->applied);
    }
    c->applied[c->last] =
        (struct rig_applied){.term = item == NULL ? 1 : item->term};
    c->items[c->last++] = item;
}

void rig_core_truncate(struct rig_core *c, struct item_pool *pool,
                       uint64_t index)
{
    ASSERT(index > c->applied_index);
    while (c->last >= index)
        forget(c, pool, --c->last);
}

static void note_verdict(struct rig_core *c, const struct command *command,
                         const struct verdict *v)
{
    if (v->err != ERR_OK || v->is_duplicate)
        return;
    if (command->kind == COMMAND_CREATE) {
        c->lanes = mem_resize(c->lanes, (c->lane_count + 1) * sizeof *c->lanes);
        c->lanes[c->lane_count++] = (struct rig_lane){.stream = v->id};
        return;
    }
    struct rig_lane *lane = c->lanes;
    while (!position_equal(lane->stream, command->stream))
        lane++;
    if (command->kind == COMMAND_OPEN_PRODUCER) {
        lane->producer = v->id;
        lane->epoch = v->producer_epoch;
        lane->next_number = v->next_number;
    } else {
        lane->next_number = command->number + 1;
    }
}

static void apply_one(struct rig_core *c, size_t i)
{
    static struct verdict verdicts[ENTRY_COMMANDS_MAX];
    struct item *item = c->items[i];
    if (item != NULL) {
        enum err err = streams_apply(c->streams, item_manifest(item), verdicts,
                                     &c->applied[i].images);
        ASSERT(err == ERR_OK);
    }
    c->applied[i].digest = streams_digest(c->streams);
    if (item == NULL || item->kind != ENTRY_COMMANDS)
        return;
    struct entry_iter it;
    struct command command;
    enum err err = entry_begin(&it, item_manifest(item));
    ASSERT(err == ERR_OK);
    while (entry_next(&it, &command))
        note_verdict(c, &command, &verdicts[command.ordinal]);
}

void rig_core_apply(struct rig_core *c, uint64_t to)
{
    ASSERT(to <= c->last);
    while (c->applied_index < to)
        apply_one(c, (size_t)c->applied_index++);
}

struct store_command rig_core_portion(struct rig_core *c, uint32_t group,
                                      uint32_t incarnation, uint64_t to)
{
    ASSERT(to > c->stored_index && to <= c->applied_index);
    struct store_command command = {.kind = STORE_PORTION,
                                    .group = group,
                                    .incarnation = incarnation,
                                    .index = c->stored_index,
                                    .index_to = to,
                                    .term = c->applied[to - 1].term,
                                    .digest = c->applied[to - 1].digest,
                                    .epoch = {1, 0, to}};
    c->portion = mem_resize(c->portion, (size_t)(to - c->stored_index) *
                                            sizeof *c->portion);
    while (c->stored_index < to)
        c->portion[command.image_count++] =
            span_buf(&c->applied[c->stored_index++].images);
    command.images = c->portion;
    return command;
}

void rig_core_memory(const struct rig_core *c, struct buf *rows)
{
    for (uint64_t i = c->stored_index; i < c->applied_index; i++)
        buf_append(rows, c->applied[i].images.data, c->applied[i].images.size);
}

/* ---- stores ------------------------------------------------------------ */

struct store_founding rig_founding(uint32_t partitions)
{
    struct store_founding f = {
        .folder = {.cluster = {{1, 2, 3}},
                   .node = {{4, 5, 6}},
                   .partitions = partitions},
        .generation = {7, 8},
        .stamp = stamp,
    };
    if (partitions == 0)
        return f;
    f.record = span_str("the first record");
    f.ring_row_key = span_str("E");
    f.ring_row_value = span_str("the ring as group 0 has it");
    f.ring_digest = row_digest(f.ring_row_key, f.ring_row_value);
    return f;
}

void rig_folder(char path[RIG_PATH_BYTES])
{
    const char *base = getenv("TMPDIR");
    int size = snprintf(path, RIG_PATH_BYTES, "%s/eddy-store-XXXXXX",
                        base == NULL ? "/tmp" : base);
    ASSERT(size > 0 && size < (int)RIG_PATH_BYTES);
    char *made = mkdtemp(path);
    ASSERT(made != NULL);
}

void rig_folder_remove(const char *path)
{
    static const char *const names[] = {"data.mdb", "lock.mdb"};
    for (size_t i = 0; i < 2; i++) {
        char file[RIG_PATH_BYTES + 16];
        (void)snprintf(file, sizeof file, "%s/%s", path, names[i]);
        (void)unlink(file);
    }
    (void)rmdir(path);
}

struct store_lmdb_cfg rig_cfg(const char *path, struct rig_bytes *bytes)
{
    return (struct store_lmdb_cfg){.path = path,
                                   .map_bytes = MAP_BYTES_TEST,
                                   .bytes = rig_resolve,
                                   .bytes_ctx = bytes};
}

/* ---- the dump ---------------------------------------------------------- */

static void put_span(struct buf *text, struct span s)
{
    struct hash128 h = hash128(s);
    buf_printf(text, " %zu:%016llx", s.size, (unsigned long long)h.lo);
}

static enum err dump_folder(void *ctx, const struct store_folder *f)
{
    char cluster[33], node[33];
    id_format(f->cluster, cluster);
    id_format(f->node, node);
    buf_printf(ctx, "folder %s %s Q=%u boot=%llu\n", cluster, node,
               f->partitions, (unsigned long long)f->boot);
    return ERR_OK;
}

static enum err dump_record(void *ctx, struct span record)
{
    buf_printf(ctx, "record");
    put_span(ctx, record);
    buf_printf(ctx, "\n");
    return ERR_OK;
}

static enum err dump_boots(void *ctx, struct span boots)
{
    buf_printf(ctx, "boots");
    put_span(ctx, boots);
    buf_printf(ctx, "\n");
    return ERR_OK;
}

static enum err dump_replica(void *ctx, const struct store_replica *r)
{
    const struct raft_stored *raft = &r->raft;
    char vote[33];
    id_format(raft->hard.vote.node, vote);
    buf_printf(ctx, "replica %u.%u %u:%llu added %llu", r->group,
               r->incarnation, r->generation.counter,
               (unsigned long long)r->generation.random,
               (unsigned long long)r->added);
    buf_printf(ctx, " term %llu vote %s:%llu",
               (unsigned long long)raft->hard.term, vote,
               (unsigned long long)raft->hard.vote.added);
    buf_printf(ctx, " base %llu/%llu last %llu applied %llu/%llu",
               (unsigned long long)raft->base_index,
               (unsigned long long)raft->base_term,
               (unsigned long long)raft->last_index,
               (unsigned long long)raft->applied_index,
               (unsigned long long)r->applied_term);
    buf_printf(ctx, " epoch %u.%llu digest %016llx%016llx", r->epoch.counter,
               (unsigned long long)r->epoch.number,
               (unsigned long long)r->digest.lo,
               (unsigned long long)r->digest.hi);
    for (size_t i = 0; i < raft->run_count; i++)
        buf_printf(ctx, " %llu->%llu",
                   (unsigned long long)raft->runs[i].first_index,
                   (unsigned long long)raft->runs[i].term);
    for (size_t i = 0; i < raft->config_count; i++)
        buf_printf(ctx, " config %llu of %u",
                   (unsigned long long)raft->configs[i].index,
                   raft->configs[i].count);
    if (r->is_installing)
        buf_printf(ctx, " installing to %llu.%u:%llu, %llu bytes",
                   (unsigned long long)r->cursor.stream.index,
                   r->cursor.stream.ordinal, (unsigned long long)r->cursor.seq,
                   (unsigned long long)r->moved_bytes);
    if (r->is_quarantined)
        buf_printf(ctx, " quarantined: %.*s", (int)r->quarantine.size,
                   (const char *)r->quarantine.data);
    buf_printf(ctx, "\n");
    return ERR_OK;
}

static enum err dump_row(void *ctx, uint32_t group, struct span key,
                         struct span value)
{
    buf_printf(ctx, "row %u %c", group, key.data[0]);
    put_span(ctx, key);
    put_span(ctx, value);
    buf_printf(ctx, "\n");
    return ERR_OK;
}

static enum err dump_entry(void *ctx, uint32_t group, struct span manifest)
{
    struct entry_header h;
    enum err err = entry_read_header(manifest, &h);
    if (err != ERR_OK)
        return err;
    buf_printf(ctx, "entry %u %llu/%llu", group, (unsigned long long)h.index,
               (unsigned long long)h.term);
    put_span(ctx, manifest);
    buf_printf(ctx, "\n");
    return ERR_OK;
}

static enum err dump_tombstone(void *ctx, uint32_t group, uint32_t incarnation,
                               uint64_t least)
{
    buf_printf(ctx, "tombstone %u.%u > %llu\n", group, incarnation,
               (unsigned long long)least);
    return ERR_OK;
}

enum err rig_dump(struct store *s, struct buf *text)
{
    struct store_visitor v = {text,           dump_folder, dump_record,
                              dump_replica,   dump_row,    dump_entry,
                              dump_tombstone, dump_boots};
    buf_clear(text);
    enum err err = store_load(s, &v);
    buf_printf(text, "%s\n", err_name(err));
    return err;
}
