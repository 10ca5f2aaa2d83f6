/* transfer.c - see transfer.h. */
#include "ring/transfer.h"

#include "ring/rule.h"

/* In a row: then its turn is others'. */
#define FAILURES_MAX 3u

/* A stream, and where its index must end as of the blob. */
struct target {
    struct position id;
    uint64_t first_seq;
    uint64_t next_seq;
};

struct transfer {
    struct transfer_cfg cfg;
    enum transfer_phase phase;
    struct replica inviter;
    uint64_t pin;
    struct transfer_head head;
    struct buf images; /* of the blob, as far as they have come */
    uint32_t total;
    uint64_t estimate; /* bytes of the whole, as the blob counts them */
    struct streams *streams;
    struct record *ring;
    struct hash128 sum;
    struct target *targets; /* ascending by id */
    size_t target_count, target_capacity;
    size_t at; /* targets before it are complete */
    struct row_cursor cursor;
    uint64_t bytes;
    bool is_out; /* a question */
    struct replica asked;
    uint64_t asked_ms;
    uint64_t wait_until_ms; /* after a refusal */
    uint32_t source;        /* which voter is asked next */
    uint32_t failures;      /* questions in vain since the last good answer */
    struct buf reason;
};

/* ---- life -------------------------------------------------------------- */

struct transfer *transfer_new(const struct transfer_cfg *cfg, uint64_t now_ms)
{
    struct transfer *t = mem_alloc(sizeof *t);
    t->cfg = *cfg;
    t->asked_ms = now_ms;
    return t;
}

static void forget_blob(struct transfer *t)
{
    buf_free(&t->images);
    record_free(t->ring);
    t->ring = NULL;
    streams_free(t->streams);
    t->streams = NULL;
    t->sum = (struct hash128){0, 0};
    t->target_count = 0;
    t->total = 0;
    t->estimate = 0;
    t->head = (struct transfer_head){0};
}

void transfer_free(struct transfer *t)
{
    if (t == NULL)
        return;
    forget_blob(t);
    buf_free(&t->reason);
    mem_free(t->targets);
    mem_free(t);
}

void transfer_invited(struct transfer *t, struct replica by, uint64_t pin)
{
    if (!replica_equal(by, t->inviter))
        t->failures = 0; /* another to ask */
    t->inviter = by;
    t->pin = pin;
}

/* ---- the blob ---------------------------------------------------------- */

static void add_target(struct transfer *t, const struct stream_info *info)
{
    if (t->target_count == t->target_capacity) {
        t->target_capacity = t->target_capacity * 2 + 16;
        t->targets =
            mem_resize(t->targets, t->target_capacity * sizeof *t->targets);
    }
    t->targets[t->target_count++] =
        (struct target){info->id, info->first_seq, info->next_seq};
    t->estimate +=
        info->bytes + (info->next_seq - info->first_seq) * RUN_SEGMENT_BYTES;
}

static enum err load_ring_row(struct transfer *t, struct span key,
                              struct span value)
{
    if (t->ring != NULL || !span_equal(key, span_str(RECORD_ROW_KEY)))
        return ERR_CORRUPT;
    return record_decode(value, &t->ring);
}

static enum err load_streams_row(struct transfer *t, struct span key,
                                 struct span value)
{
    if (t->streams == NULL)
        t->streams = streams_new();
    enum err err = streams_load(t->streams, key, value);
    uint8_t letter;
    struct position id;
    struct stream_info info;
    if (err != ERR_OK || !row_key_read(key, &letter, &id) ||
        letter != ROW_STREAM)
        return err;
    err = streams_by_id(t->streams, id, &info);
    /* Rows come in the order of their keys, which is that of the index. */
    if (err != ERR_OK ||
        (t->target_count > 0 &&
         position_compare(t->targets[t->target_count - 1].id, id) >= 0))
        return ERR_CORRUPT;
    add_target(t, &info);
    return ERR_OK;
}

enum err transfer_load_row(struct transfer *t, struct span key,
                           struct span value)
{
    struct hash128 h = row_digest(key, value);
    t->sum.lo += h.lo;
    t->sum.hi += h.hi;
    t->estimate += key.size + value.size;
    return t->cfg.is_ring ? load_ring_row(t, key, value)
                          : load_streams_row(t, key, value);
}

/* To the next stream that still lacks something. */
static void skip_complete(struct transfer *t)
{
    while (t->at < t->target_count) {
        const struct target *next = &t->targets[t->at];
        if (!position_equal(t->cursor.stream, next->id))
            t->cursor = (struct row_cursor){next->id, next->first_seq};
        if (RULE(S17) && t->cursor.seq < next->next_seq)
            return;
        t->at++;
    }
    t->phase = TRANSFER_DONE;
}

static bool is_state_right(struct transfer *t)
{
    if (!t->cfg.is_ring && t->streams == NULL)
        t->streams = streams_new();
    return t->sum.lo == t->head.digest.lo && t->sum.hi == t->head.digest.hi &&
           (!t->cfg.is_ring || t->ring != NULL);
}

void transfer_load_head(struct transfer *t, const struct transfer_head *head)
{
    t->head = *head;
}

enum err transfer_load_end(struct transfer *t, struct row_cursor cursor,
                           uint64_t moved_bytes)
{
    if (!is_state_right(t))
        return ERR_CORRUPT;
    t->bytes = moved_bytes;
    t->phase = TRANSFER_ROWS;
    t->cursor = cursor;
    while (t->at < t->target_count &&
           position_compare(t->targets[t->at].id, cursor.stream) < 0)
        t->at++;
    skip_complete(t);
    return ERR_OK;
}

static bool load_images(struct transfer *t)
{
    struct dec d = dec_of(span_buf(&t->images));
    struct image image;
    while (image_next(&d, &image)) {
        if (image.space != ROW_STATE || image.is_delete ||
            transfer_load_row(t, image.key, image.value) != ERR_OK)
            return false;
    }
    return dec_done(&d);
}

static bool is_head_equal(const struct transfer_head *a,
                          const struct transfer_head *b)
{
    return a->index == b->index && a->term == b->term &&
           a->digest.lo == b->digest.lo && a->digest.hi == b->digest.hi;
}

static bool is_head_usable(const struct transfer *t,
                           const struct transfer_piece *p)
{
    return p->head.index > 0 && p->head.term > 0 &&
           p->head.config.index <= p->head.index &&
           p->head.index + 1 >= t->pin && p->total <= BLOB_BYTES_MAX;
}

/* Of this blob, but not from where it is to go on: it came twice, or late. */
static bool is_stale(const struct transfer *t, const struct transfer_piece *p)
{
    return p->offset != t->images.size &&
           (p->offset > 0 || is_head_equal(&t->head, &p->head));
}

/* The asked one has answered. */
static bool hear(struct transfer *t, struct replica from)
{
    if (!t->is_out || !replica_equal(from, t->asked))
        return false;
    t->is_out = false;
    return true;
}

/* The question was in vain: a little later the next one. */
static void in_vain(struct transfer *t, uint64_t now_ms, uint32_t wait_ms)
{
    t->failures++;
    t->wait_until_ms = now_ms + wait_ms;
}

/* False: of another blob, or none of this one. */
static bool take_piece(struct transfer *t, const struct transfer_piece *p)
{
    if (p->offset == 0) {
        forget_blob(t);
        t->head = p->head;
        t->total = p->total;
    }
    if (p->total != t->total || p->images.size > t->total - p->offset ||
        !is_head_equal(&t->head, &p->head) ||
        (p->images.size == 0 && t->total > 0))
        return false;
    buf_append(&t->images, p->images.data, p->images.size);
    t->bytes += p->images.size;
    return true;
}

bool transfer_blob(struct transfer *t, struct replica from,
                   const struct transfer_piece *p, uint64_t now_ms)
{
    if (t->phase != TRANSFER_BLOB || is_stale(t, p) || !hear(t, from))
        return false;
    if (!is_head_usable(t, p)) {
        forget_blob(t); /* the rest of one that the pin has left behind */
        t->is_out = true;
        transfer_refused(t, from, now_ms);
        return false;
    }
    if (!take_piece(t, p)) {
        forget_blob(t); /* from its beginning */
        in_vain(t, now_ms, t->cfg.patience_ms / 8);
        return false;
    }
    if (t->images.size < t->total) {
        if (p->offset > 0)
            t->failures = 0;
        return false;
    }
    if (!load_images(t) || !is_state_right(t)) {
        forget_blob(t);
        in_vain(t, now_ms, t->cfg.patience_ms);
        return false;
    }
    t->failures = 0;
    t->phase = TRANSFER_STORE;
    return true;
}

struct span transfer_images(const struct transfer *t)
{
    ASSERT(t->phase == TRANSFER_STORE);
    return span_buf(&t->images);
}

void transfer_blob_stored(struct transfer *t)
{
    ASSERT(t->phase == TRANSFER_STORE);
    buf_free(&t->images);
    t->phase = TRANSFER_ROWS;
    t->is_out = false;
    skip_complete(t);
}

/* ---- rows -------------------------------------------------------------- */

/* Exactly the next rows, without a gap, none of an entry behind the blob. */
static bool advance(struct transfer *t, struct span rows,
                    uint32_t payload_bytes)
{
    struct moved_iter it;
    struct moved_row m;
    size_t count = 0;
    moved_begin(&it, rows);
    while (moved_next(&it, &m)) {
        if (t->phase != TRANSFER_ROWS)
            return false;
        const struct target *target = &t->targets[t->at];
        uint64_t end = m.row.first_seq + m.row.count;
        if (!position_equal(m.row.stream, target->id) ||
            m.row.first_seq != t->cursor.seq || end > target->next_seq ||
            m.row.entry_index > t->head.index)
            return false;
        t->cursor.seq = end;
        skip_complete(t);
        count++;
    }
    return dec_done(&it.d) && count > 0 && it.payload_bytes == payload_bytes;
}

/* The asked one, or one that was asked before and is slower than patience: its
 * rows are as good. */
static bool hear_rows(struct transfer *t, struct replica from)
{
    if (hear(t, from))
        return true;
    const struct config_member *m = config_find(&t->head.config, from);
    bool is_voter = m != NULL && m->is_voter;
    if (!is_voter && !replica_equal(from, t->inviter))
        return false;
    t->asked = from;
    t->is_out = false;
    return true;
}

bool transfer_rows(struct transfer *t, struct replica from,
                   struct row_cursor asked, struct span rows,
                   uint32_t payload_bytes, uint64_t now_ms)
{
    if (t->phase != TRANSFER_ROWS || !row_cursor_equal(asked, t->cursor) ||
        !hear_rows(t, from))
        return false;
    struct row_cursor cursor = t->cursor;
    size_t at = t->at;
    if (!advance(t, rows, payload_bytes)) {
        t->cursor = cursor;
        t->at = at;
        t->phase = TRANSFER_ROWS;
        t->is_out = true;
        transfer_refused(t, from, now_ms);
        return false;
    }
    t->bytes += rows.size + payload_bytes;
    t->failures = 0;
    return true;
}

/* ---- questions --------------------------------------------------------- */

void transfer_refused(struct transfer *t, struct replica from, uint64_t now_ms)
{
    if (!hear(t, from))
        return;
    t->source++;
    in_vain(t, now_ms, t->cfg.patience_ms / 8);
}

/* The blob comes from who invites; rows from any voter as of the blob, or from
 * who invites, by turns. False: nobody is known. */
static bool find_source(const struct transfer *t, struct replica *out)
{
    struct replica known[REPLICAS_MAX + 1];
    uint32_t count = 0;
    if (!id_is_zero(t->inviter.node))
        known[count++] = t->inviter;
    const struct config *c = &t->head.config;
    for (uint32_t i = 0; t->phase == TRANSFER_ROWS && i < c->count; i++)
        if (c->members[i].is_voter &&
            !id_equal(c->members[i].replica.node, t->cfg.self.node) &&
            !replica_equal(c->members[i].replica, t->inviter))
            known[count++] = c->members[i].replica;
    if (count == 0)
        return false;
    *out = known[t->source % count];
    return true;
}

static bool is_asking(const struct transfer *t)
{
    return t->phase == TRANSFER_BLOB || t->phase == TRANSFER_ROWS;
}

bool transfer_takes_turn(const struct transfer *t)
{
    struct replica source;
    return is_asking(t) && t->failures < FAILURES_MAX &&
           find_source(t, &source);
}

bool transfer_next(struct transfer *t, uint64_t now_ms,
                   struct transfer_ask *out)
{
    if (!is_asking(t))
        return false;
    if (t->is_out && now_ms >= t->asked_ms + t->cfg.patience_ms) {
        t->is_out = false;
        t->source++;
        t->failures++;
    }
    if (t->is_out || now_ms < t->wait_until_ms || !find_source(t, &t->asked))
        return false;
    t->is_out = true;
    t->asked_ms = now_ms;
    *out = (struct transfer_ask){.to = t->asked, .index = t->head.index};
    if (t->phase == TRANSFER_BLOB) {
        out->is_blob = true;
        out->offset = (uint32_t)t->images.size;
    } else {
        out->cursor = t->cursor;
    }
    return true;
}

/* ---- queries ----------------------------------------------------------- */

enum transfer_phase transfer_phase(const struct transfer *t)
{
    return t->phase;
}

const struct transfer_head *transfer_head(const struct transfer *t)
{
    return &t->head;
}

struct row_cursor transfer_cursor(const struct transfer *t)
{
    return t->cursor;
}

uint64_t transfer_bytes(const struct transfer *t)
{
    return t->bytes;
}

uint64_t transfer_total(const struct transfer *t)
{
    bool is_known = t->phase != TRANSFER_BLOB;
    return is_known ? max_u64(t->estimate, t->bytes) : 0;
}

struct replica transfer_source(const struct transfer *t)
{
    return t->asked;
}

const char *transfer_reason(struct transfer *t)
{
    static const char *const doing[] = {
        [TRANSFER_BLOB] = "the group's state is being copied",
        [TRANSFER_STORE] = "the group's state is being stored",
        [TRANSFER_ROWS] = "segments are being copied",
        [TRANSFER_DONE] = "all is copied",
    };
    buf_clear(&t->reason);
    buf_printf(&t->reason, "%s (%zu of %zu streams)", doing[t->phase], t->at,
               t->target_count);
    if (t->failures > 0)
        buf_printf(&t->reason, "; asked %u times in vain since", t->failures);
    buf_append(&t->reason, "", 1);
    return (const char *)t->reason.data;
}

struct streams *transfer_take_streams(struct transfer *t)
{
    ASSERT(t->phase == TRANSFER_DONE);
    struct streams *streams = t->streams;
    t->streams = NULL;
    return streams;
}

struct record *transfer_take_ring(struct transfer *t)
{
    ASSERT(t->phase == TRANSFER_DONE);
    struct record *ring = t->ring;
    t->ring = NULL;
    return ring;
}

void transfer_check(const struct transfer *t)
{
    ASSERT(t->at <= t->target_count);
    ASSERT(t->phase != TRANSFER_DONE || t->at == t->target_count);
    ASSERT(t->phase == TRANSFER_BLOB || t->head.index > 0);
    for (size_t i = 1; i < t->target_count; i++)
        ASSERT(position_compare(t->targets[i - 1].id, t->targets[i].id) < 0);
}
