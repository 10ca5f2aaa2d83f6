/* eddy_data.c - the client library's producers and readers; see eddy.h.
 *
 * A reader asks for several ranges at once and hands out their segments in
 * order. How many segments make a megabyte is not known beforehand, so ranges
 * are cut by the mean size seen so far; an answer that ends before its range
 * does is followed by a question for the rest. */
#include "net/eddy_impl.h"

#include <stdio.h>

#define CHUNKS          8u
#define CHUNK_COUNT_MAX 1024u
#define CHUNK_BYTES     (READ_BYTES_MAX / 4 * 3)
#define REREADS_MAX     5u

static_assert(CHUNKS <= CLIENT_REQUESTS_MAX / 2, "one node may have them all");

/* ---- producers --------------------------------------------------------- */

struct eddy_producer {
    struct eddy *e;
    uint32_t handle;
    eddy_appended_fn appended;
    void *context;
    uint64_t unanswered;
    enum eddy_error failed;
};

static void take_producer(void *context, const struct client_result *r)
{
    struct eddy_producer *p = context;
    p->handle = r->producer;
}

/* A random name: 32 hex digits. */
static void make_name(char name[33])
{
    struct id128 id;
    keys_random(&id, sizeof id);
    id_format(id, name);
}

enum eddy_error eddy_producer_open(struct eddy *e,
                                   const struct eddy_stream *stream,
                                   const char *name, eddy_appended_fn appended,
                                   void *context, struct eddy_producer **out)
{
    *out = NULL;
    char random[33];
    if (name == NULL)
        make_name(random);
    struct client_request r = {
        .op = CLIENT_PRODUCER,
        .partition = stream->partition,
        .stream = {stream->id_index, stream->id_ordinal},
        .name = span_str(name != NULL ? name : random),
        .is_unnamed = name == NULL,
    };
    if (r.name.size == 0 || r.name.size > PRODUCER_NAME_MAX)
        return eddy_fail(e, ERR_BAD_REQUEST,
                         "a producer's name has 1 to 255 bytes");
    struct eddy_producer *p = mem_alloc(sizeof *p);
    *p = (struct eddy_producer){
        .e = e, .appended = appended, .context = context};
    enum eddy_error err = eddy_do(e, &r, take_producer, p);
    if (err != EDDY_OK) {
        mem_free(p);
        return err;
    }
    *out = p;
    return EDDY_OK;
}

void eddy_producer_close(struct eddy_producer *p)
{
    if (p == NULL)
        return;
    client_close_producer(p->e->client, p->handle);
    eddy_poll(p->e);
    mem_free(p);
}

uint64_t eddy_producer_next(const struct eddy_producer *p)
{
    return client_next_number(p->e->client, p->handle);
}

enum eddy_error eddy_producer_rewind(struct eddy_producer *p, uint64_t number)
{
    if (p->unanswered > 0 || p->failed != EDDY_OK ||
        number > eddy_producer_next(p))
        return eddy_fail(p->e, ERR_BAD_REQUEST,
                         "rewind to a number that was appended, and before "
                         "anything else");
    client_rewind(p->e->client, p->handle, number);
    return EDDY_OK;
}

void eddy_producer_answered(struct eddy *e, const struct client_effect *f)
{
    struct eddy_producer *p = (struct eddy_producer *)(uintptr_t)f->token;
    ASSERT(p->unanswered > 0);
    p->unanswered--;
    struct eddy_appended a = {
        .number = f->number,
        .error = (enum eddy_error)f->err,
        .is_duplicate = f->is_duplicate,
        .seq = f->seq,
    };
    if (f->err != ERR_OK && p->failed == EDDY_OK) {
        p->failed = a.error;
        (void)eddy_fail(e, f->err, f->text);
    }
    if (p->appended != NULL)
        p->appended(p->context, &a);
}

enum eddy_error eddy_append(struct eddy_producer *p,
                            const struct eddy_append *append)
{
    struct eddy *e = p->e;
    if (append->size > EDDY_SEGMENT_MAX ||
        append->attributes_size > EDDY_ATTRIBUTE_MAX)
        return eddy_fail(e, ERR_TOO_LARGE,
                         "a segment is up to 1 MiB, its attributes 1 KiB of "
                         "them");
    struct blob *blob = blob_new(append->size);
    if (append->size > 0)
        memcpy(blob_bytes(blob), append->data, append->size);
    struct client_append a = {
        .producer = p->handle,
        .token = (uint64_t)(uintptr_t)p,
        .bytes = {blob_handle(blob), 0, (uint32_t)append->size},
        .algorithm = CHECKSUM_XXH3_128,
        .checksum = wire_checksum(blob_span(blob)),
        .expected_seq =
            append->has_expected_seq ? append->expected_seq : SEQ_ANY,
        .key_hash = append->key_hash,
        .attributes = span_of(append->attributes, append->attributes_size),
        .closes_producer = append->closes_producer,
    };
    enum err err = client_append(e->client, &a, eddy_now(e));
    while (err == ERR_BUSY) {
        eddy_step(e);
        err = client_append(e->client, &a, eddy_now(e));
    }
    if (err != ERR_OK) {
        blob_unref(blob);
        return p->failed != EDDY_OK ? p->failed
                                    : eddy_fail(e, err, err_text(err));
    }
    p->unanswered++;
    eddy_poll(e);
    return EDDY_OK;
}

enum eddy_error eddy_flush(struct eddy_producer *p)
{
    while (p->unanswered > 0)
        eddy_step(p->e);
    return p->failed;
}

/* ---- readers ----------------------------------------------------------- */

struct chunk {
    struct op *op;      /* NULL: answered, and nothing left of it */
    uint64_t from, end; /* what is still to come of it */
    struct blob *blob;  /* the answer; its segments are walked: */
    struct dec heads;
    struct segment_head previous;
    struct span payload;
    uint64_t first_seq; /* TRIMMED below this */
    bool is_end;        /* the leader says: nothing at `from` */
};

struct eddy_reader {
    struct eddy *e;
    uint32_t partition;
    struct position stream;
    uint64_t from, end; /* not asked for yet */
    uint64_t mean_bytes;
    uint32_t first, count; /* of chunks, circular */
    uint32_t rereads;
    enum eddy_error failed;
    struct chunk chunks[CHUNKS];
};

static void take_segments(void *context, const struct client_result *r)
{
    struct chunk *c = context;
    if (r->read == NULL)
        return;
    c->first_seq = r->read->first_seq;
    if (r->err != ERR_OK)
        return;
    c->is_end = r->read->segment_count == 0;
    c->blob = blob_ref(blob_of(r->payload_handle));
    c->heads = dec_of(r->read->segments);
    c->previous = (struct segment_head){0};
    c->payload = r->payload;
}

static void chunk_drop(struct eddy_reader *r, struct chunk *c)
{
    eddy_op_end(r->e, c->op);
    c->op = NULL;
    if (c->blob != NULL)
        blob_unref(c->blob);
    c->blob = NULL;
}

static enum eddy_error chunk_ask(struct eddy_reader *r, struct chunk *c)
{
    chunk_drop(r, c);
    struct client_request q = {
        .op = CLIENT_READ,
        .partition = r->partition,
        .stream = r->stream,
        .from_seq = c->from,
        .end_seq = c->end,
        .bytes_max = READ_BYTES_MAX,
        .count_max = CHUNK_COUNT_MAX,
        .any_replica = true,
    };
    enum err err;
    c->op = eddy_op_begin(r->e, &q, take_segments, c, &err);
    return c->op != NULL ? EDDY_OK : eddy_fail(r->e, err, err_text(err));
}

/* Keeps CHUNKS questions out. */
static enum eddy_error ask_ahead(struct eddy_reader *r)
{
    enum eddy_error err = EDDY_OK;
    while (err == EDDY_OK && r->count < CHUNKS && r->from < r->end) {
        uint64_t count = max_u64(1, CHUNK_BYTES / max_u64(1, r->mean_bytes));
        count = min_u64(count, CHUNK_COUNT_MAX);
        count = min_u64(count, r->end - r->from);
        struct chunk *c = &r->chunks[(r->first + r->count) % CHUNKS];
        c->from = r->from;
        c->end = r->from + count;
        r->from = c->end;
        r->count++;
        err = chunk_ask(r, c);
    }
    return err;
}

enum eddy_error eddy_reader_open(struct eddy *e,
                                 const struct eddy_stream *stream,
                                 uint64_t from, uint64_t end,
                                 struct eddy_reader **out)
{
    struct eddy_stream now = *stream;
    *out = NULL;
    if (end == EDDY_SEQ_ANY || now.next_seq == now.first_seq) {
        enum eddy_error err = eddy_stream_info(e, &now);
        if (err != EDDY_OK)
            return err;
        end = end == EDDY_SEQ_ANY ? now.next_seq : end;
    }
    uint64_t segments = now.next_seq - now.first_seq;
    struct eddy_reader *r = mem_alloc(sizeof *r);
    r->e = e;
    r->partition = stream->partition;
    r->stream = (struct position){stream->id_index, stream->id_ordinal};
    r->from = from;
    r->end = end;
    r->mean_bytes = segments > 0 ? now.bytes / segments : 0;
    if (r->mean_bytes == 0)
        r->mean_bytes = SEGMENT_BYTES_DEFAULT;
    *out = r;
    return EDDY_OK;
}

void eddy_reader_close(struct eddy_reader *r)
{
    if (r == NULL)
        return;
    for (uint32_t i = 0; i < CHUNKS; i++)
        chunk_drop(r, &r->chunks[i]);
    mem_free(r);
}

/* The next segment of an answer; false: there is none left in it. */
static bool chunk_next(struct chunk *c, struct segment_head *head,
                       struct span *bytes)
{
    if (c->blob == NULL || !wire_segment_next(&c->heads, &c->previous, head))
        return false;
    ASSERT(head->size <= c->payload.size); /* wire_response_read added up */
    *bytes = span_of(c->payload.data, head->size);
    c->payload.data += head->size;
    c->payload.size -= head->size;
    return true;
}

static bool is_intact(const struct segment_head *head, struct span bytes)
{
    if (head->algorithm != CHECKSUM_XXH3_128)
        return false;
    struct hash128 h = wire_checksum(bytes);
    return h.lo == head->checksum.lo && h.hi == head->checksum.hi;
}

static void put_segment(struct eddy_segment *out,
                        const struct segment_head *head, struct span bytes)
{
    *out = (struct eddy_segment){
        .seq = head->seq,
        .time_ms = head->time_ms,
        .data = bytes.data,
        .size = bytes.size,
        .attributes = head->attributes.data,
        .attributes_size = head->attributes.size,
        .key_hash = head->key_hash,
        .checksum_low = head->checksum.lo,
        .checksum_high = head->checksum.hi,
    };
}

/* Waits for the answer of a chunk; an error is the reader's. */
static enum eddy_error chunk_wait(struct eddy_reader *r, struct chunk *c)
{
    while (!c->op->is_done)
        eddy_step(r->e);
    if (c->op->err == ERR_TRIMMED) {
        char text[96];
        (void)snprintf(text, sizeof text,
                       "all below segment %llu was trimmed away",
                       (unsigned long long)c->first_seq);
        return eddy_fail(r->e, ERR_TRIMMED, text);
    }
    return eddy_fail(r->e, c->op->err, c->op->text);
}

/* One step with the oldest chunk; *is_segment: there is one in *out. */
static enum eddy_error advance(struct eddy_reader *r, struct eddy_segment *out,
                               bool *is_segment)
{
    struct chunk *c = &r->chunks[r->first];
    enum eddy_error err = chunk_wait(r, c);
    struct segment_head head;
    struct span bytes;
    if (err != EDDY_OK)
        return err;
    if (c->is_end)
        return eddy_fail(r->e, ERR_NOT_FOUND, "the stream ends here");
    if (!chunk_next(c, &head, &bytes)) {
        if (c->from < c->end)
            return chunk_ask(r, c);
        chunk_drop(r, c);
        r->first = (r->first + 1) % CHUNKS;
        r->count--;
        return EDDY_OK;
    }
    if (!is_intact(&head, bytes)) {
        if (r->rereads++ == REREADS_MAX)
            return eddy_fail(r->e, ERR_CORRUPT,
                             "no replica gave bytes that match the checksum");
        return chunk_ask(r, c);
    }
    r->rereads = 0;
    r->mean_bytes = (r->mean_bytes * 7 + bytes.size) / 8 + 1;
    c->from = head.seq + 1;
    put_segment(out, &head, bytes);
    *is_segment = true;
    return EDDY_OK;
}

enum eddy_error eddy_reader_next(struct eddy_reader *r,
                                 struct eddy_segment *out)
{
    bool is_segment = false;
    if (r->failed == EDDY_OK)
        r->failed = ask_ahead(r);
    while (r->failed == EDDY_OK && !is_segment) {
        if (r->count == 0)
            r->failed = eddy_fail(r->e, ERR_NOT_FOUND, "all have been read");
        else
            r->failed = advance(r, out, &is_segment);
        if (r->failed == EDDY_OK && !is_segment)
            r->failed = ask_ahead(r);
    }
    return r->failed;
}
