/* audit.c - see audit.h. */
#include "tests/power/audit.h"

#include "tests/unit/store_rig.h"

#define READ_BYTES   (1u << 20)
#define LISTED_MAX   64u
#define SEGMENTS_MAX 4096u /* of one read */

/* ---- what there is ----------------------------------------------------- */

static enum err note_folder(void *ctx, const struct store_folder *f)
{
    struct audit *a = ctx;
    a->folder = *f;
    return ERR_OK;
}

static enum err pass_record(void *ctx, struct span record)
{
    (void)ctx, (void)record;
    return ERR_OK;
}

static enum err note_replica(void *ctx, const struct store_replica *r)
{
    struct audit *a = ctx;
    size_t size = (a->count + 1) * sizeof *a->replicas;
    a->replicas = mem_resize(a->replicas, size);
    a->replicas[a->count++] = (struct audit_replica){
        .group = r->group,
        .incarnation = r->incarnation,
        .base_index = r->raft.base_index,
        .last_index = r->raft.last_index,
        .applied_index = r->raft.applied_index,
        .runs =
            mem_copy(r->raft.runs, r->raft.run_count * sizeof *r->raft.runs),
        .run_count = r->raft.run_count,
        .is_installing = r->is_installing,
        .streams = r->group == 0 ? NULL : streams_new(),
    };
    return ERR_OK;
}

/* A replica comes before its rows. */
static enum err note_row(void *ctx, uint32_t group, struct span key,
                         struct span value)
{
    struct audit *a = ctx;
    for (size_t i = 0; i < a->count; i++)
        if (a->replicas[i].group == group && group != 0)
            return streams_load(a->replicas[i].streams, key, value) == ERR_OK
                       ? ERR_OK
                       : ERR_DAMAGED;
    return group == 0 ? ERR_OK : ERR_DAMAGED;
}

static enum err pass_entry(void *ctx, uint32_t group, struct span manifest)
{
    (void)ctx, (void)group, (void)manifest;
    return ERR_OK;
}

static enum err pass_tombstone(void *ctx, uint32_t group, uint32_t incarnation,
                               uint64_t least)
{
    (void)ctx, (void)group, (void)incarnation, (void)least;
    return ERR_OK;
}

enum err audit_read(struct store *s, struct audit *out)
{
    *out = (struct audit){0};
    struct store_visitor v = {
        .ctx = out,
        .folder = note_folder,
        .record = pass_record,
        .replica = note_replica,
        .row = note_row,
        .entry = pass_entry,
        .tombstone = pass_tombstone,
    };
    enum err err = store_load(s, &v);
    if (err != ERR_OK)
        audit_free(out);
    return err;
}

void audit_free(struct audit *a)
{
    for (size_t i = 0; i < a->count; i++) {
        mem_free(a->replicas[i].runs);
        if (a->replicas[i].streams != NULL)
            streams_free(a->replicas[i].streams);
    }
    mem_free(a->replicas);
    *a = (struct audit){0};
}

/* ---- the log ----------------------------------------------------------- */

typedef enum err (*entry_fn)(void *ctx, struct span manifest,
                             struct span payload);

static enum err visit_result(const struct log_result *r, entry_fn fn, void *ctx)
{
    for (uint32_t i = 0; i < r->count; i++) {
        const struct log_entry *e = &r->entries[i];
        struct span manifest =
            span_of(r->manifests.data + e->manifest_at, e->manifest_size);
        struct span payload = span_of(NULL, 0);
        if (e->payload_size > 0)
            payload = span_of(r->payload.data + e->payload_at, e->payload_size);
        enum err err = fn(ctx, manifest, payload);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

/* Each entry behind `index`, in order. */
static enum err visit_log(struct store_reader *reader,
                          const struct audit_replica *r, uint64_t index,
                          entry_fn fn, void *ctx)
{
    uint64_t next = index + 1;
    while (next <= r->last_index) {
        struct log_ticket ticket = {
            .group = r->group,
            .incarnation = r->incarnation,
            .first = next,
            .last = r->last_index,
            .bytes_max = READ_BYTES,
            .runs = r->runs,
            .run_count = r->run_count,
        };
        struct log_result result;
        store_read_log(reader, &ticket, &result);
        enum err err = result.err;
        if (err == ERR_OK)
            err = visit_result(&result, fn, ctx);
        next += result.count;
        if (err == ERR_OK && result.count == 0)
            err = ERR_DAMAGED;
        store_log_free(&result);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

struct replay {
    struct streams *streams;
    struct verdict *verdicts;
    struct buf images;
    audit_segment_fn on_segment;
    void *ctx;
};

/* The segments that an entry has appended: its payload is cut as its commands
 * say, those refused included. */
static void tell_segments(struct replay *p, struct span manifest,
                          struct span payload)
{
    struct entry_iter it;
    struct command c;
    size_t at = 0;
    if (entry_begin(&it, manifest) != ERR_OK)
        return;
    while (entry_next(&it, &c)) {
        if (c.kind != COMMAND_APPEND)
            continue;
        const struct verdict *v = &p->verdicts[c.ordinal];
        struct stream_info info;
        if (v->err == ERR_OK && !v->is_duplicate &&
            streams_by_id(p->streams, c.stream, &info) == ERR_OK)
            p->on_segment(p->ctx, &(struct audit_segment){
                                      info.name, v->seq,
                                      span_of(payload.data + at, c.size)});
        at += c.size;
    }
}

static enum err replay_entry(void *ctx, struct span manifest,
                             struct span payload)
{
    struct replay *p = ctx;
    struct entry_header header;
    if (entry_check(manifest) != ERR_OK ||
        entry_read_header(manifest, &header) != ERR_OK ||
        header.payload_bytes != payload.size)
        return ERR_DAMAGED;
    buf_clear(&p->images);
    enum err err = streams_apply(p->streams, manifest, p->verdicts, &p->images);
    if (err == ERR_OK && header.kind == ENTRY_COMMANDS)
        tell_segments(p, manifest, payload);
    return err;
}

/* ---- what is stored ---------------------------------------------------- */

typedef void (*stored_fn)(void *ctx, const struct stream_info *info,
                          const struct segments_result *some);

static enum err visit_stream(struct store_reader *reader,
                             const struct audit_replica *r,
                             const struct stream_info *info, stored_fn fn,
                             void *ctx)
{
    uint64_t next = info->first_seq;
    while (next < info->next_seq) {
        struct segments_ticket ticket = {
            .group = r->group,
            .incarnation = r->incarnation,
            .stream = info->id,
            .from_seq = next,
            .end_seq = info->next_seq,
            .count_max = SEGMENTS_MAX,
            .bytes_max = READ_BYTES,
        };
        struct segments_result result;
        store_read_segments(reader, &ticket, &result);
        fn(ctx, info, &result);
        next += result.count;
        enum err err = result.err;
        if (err == ERR_OK && result.count == 0)
            err = ERR_DAMAGED;
        store_segments_free(&result);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

/* Each stream, by name. */
static enum err visit_streams(struct store_reader *reader,
                              const struct audit_replica *r, stored_fn fn,
                              void *ctx)
{
    struct stream_info infos[LISTED_MAX];
    struct buf after = {0};
    enum err err = ERR_OK;
    size_t count;
    do {
        count = streams_list(r->streams, span_of(NULL, 0), span_buf(&after),
                             infos, LISTED_MAX);
        for (size_t i = 0; err == ERR_OK && i < count; i++)
            err = visit_stream(reader, r, &infos[i], fn, ctx);
        buf_clear(&after);
        if (count > 0)
            buf_append(&after, infos[count - 1].name.data,
                       infos[count - 1].name.size);
    } while (err == ERR_OK && count == LISTED_MAX);
    buf_free(&after);
    return err;
}

static void tell_stored(void *ctx, const struct stream_info *info,
                        const struct segments_result *some)
{
    const struct replay *p = ctx;
    size_t at = 0;
    for (uint32_t i = 0; i < some->count; i++) {
        const struct segment_meta *m = &some->metas[i];
        p->on_segment(p->ctx, &(struct audit_segment){
                                  info->name, m->seq,
                                  span_of(some->payload.data + at, m->size)});
        at += m->size;
    }
}

enum err audit_segments(struct store_reader *reader,
                        const struct audit_replica *r,
                        audit_segment_fn on_segment, void *ctx)
{
    if (r->group == 0 || r->is_installing)
        return ERR_OK;
    struct replay p = {
        .streams = r->streams,
        .verdicts = mem_alloc(ENTRY_COMMANDS_MAX * sizeof(struct verdict)),
        .on_segment = on_segment,
        .ctx = ctx,
    };
    enum err err = visit_streams(reader, r, tell_stored, &p);
    if (err == ERR_OK)
        err = visit_log(reader, r, r->applied_index, replay_entry, &p);
    mem_free(p.verdicts);
    buf_free(&p.images);
    return err;
}

/* ---- the fingerprint --------------------------------------------------- */

static void put_hash(struct buf *out, struct span s)
{
    struct hash128 h = hash128(s);
    buf_append(out, &s.size, sizeof s.size);
    buf_append(out, &h, sizeof h);
}

static enum err print_entry(void *ctx, struct span manifest,
                            struct span payload)
{
    put_hash(ctx, manifest);
    put_hash(ctx, payload);
    return ERR_OK;
}

static void print_meta(struct buf *out, const struct segment_meta *m)
{
    uint64_t words[] = {m->seq,         m->time_ms, m->key_hash, m->checksum.lo,
                        m->checksum.hi, m->size,    m->algorithm};
    buf_append(out, words, sizeof words);
}

static void print_stored(void *ctx, const struct stream_info *info,
                         const struct segments_result *some)
{
    put_hash(ctx, info->name);
    for (uint32_t i = 0; i < some->count; i++)
        print_meta(ctx, &some->metas[i]);
    put_hash(ctx, span_buf(&some->attributes));
    put_hash(ctx, span_buf(&some->payload));
}

static enum err print_replica(struct store_reader *reader,
                              const struct audit_replica *r, struct buf *out,
                              const char **place)
{
    if (r->is_installing)
        return ERR_OK;
    *place = "a log";
    enum err err = visit_log(reader, r, r->base_index, print_entry, out);
    if (err != ERR_OK || r->group == 0)
        return err;
    *place = "a stream";
    return visit_streams(reader, r, print_stored, out);
}

static size_t line_end(struct span text, size_t at)
{
    while (at < text.size && text.data[at] != '\n')
        at++;
    return at < text.size ? at + 1 : at;
}

/* The lines of the dump that are of the node come first. */
static size_t node_size(struct span text)
{
    static const char *const begins[] = {"folder ", "boots ", "record "};
    size_t at = 0;
    for (size_t i = 0; i < 3; i++) {
        size_t size = strlen(begins[i]);
        if (text.size - at >= size &&
            memcmp(text.data + at, begins[i], size) == 0)
            at = line_end(text, at);
    }
    return at;
}

enum err audit_fingerprint(struct store *s, struct audit_print *out,
                           const char **err_place)
{
    struct buf text = {0};
    struct audit audit = {0};
    *err_place = "the load";
    enum err err = rig_dump(s, &text);
    size_t node = node_size(span_buf(&text));
    if (err == ERR_OK)
        err = audit_read(s, &audit);
    struct store_reader *reader = err == ERR_OK ? store_reader_open(s) : NULL;
    if (err == ERR_OK && reader == NULL)
        err = ERR_IO;
    for (size_t i = 0; err == ERR_OK && i < audit.count; i++)
        err = print_replica(reader, &audit.replicas[i], &text, err_place);
    out->node = hash128(span_of(text.data, node));
    out->groups = hash128(span_of(text.data + node, text.size - node));
    store_reader_close(reader);
    audit_free(&audit);
    buf_free(&text);
    return err;
}
