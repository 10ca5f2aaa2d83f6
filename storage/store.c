/* store.c - see store.h: the table's front, and results. */
#include "storage/store.h"

enum err store_load(struct store *s, const struct store_visitor *v)
{
    return s->ops->load(s, v);
}

enum err store_commit(struct store *s, const struct store_batch *b,
                      struct store_done *done)
{
    return s->ops->commit(s, b, done);
}

enum err store_space(struct store *s, struct store_space *out)
{
    return s->ops->space(s, out);
}

void store_close(struct store *s)
{
    if (s != NULL)
        s->ops->close(s);
}

struct store_reader *store_reader_open(struct store *s)
{
    return s->ops->reader_open(s);
}

void store_reader_close(struct store_reader *r)
{
    if (r != NULL)
        r->ops->reader_close(r);
}

void store_read_segments(struct store_reader *r,
                         const struct segments_ticket *t,
                         struct segments_result *out)
{
    r->ops->read_segments(r, t, out);
}

void store_read_log(struct store_reader *r, const struct log_ticket *t,
                    struct log_result *out)
{
    r->ops->read_log(r, t, out);
}

void store_read_blob(struct store_reader *r, const struct blob_ticket *t,
                     struct blob_result *out)
{
    r->ops->read_blob(r, t, out);
}

void store_read_rows(struct store_reader *r, const struct rows_ticket *t,
                     struct rows_result *out)
{
    r->ops->read_rows(r, t, out);
}

void store_scrub(struct store_reader *r, const struct scrub_ticket *t,
                 struct scrub_result *out)
{
    r->ops->scrub(r, t, out);
}

void store_blob_free(struct blob_result *r)
{
    buf_free(&r->images);
    *r = (struct blob_result){0};
}

void store_rows_free(struct rows_result *r)
{
    buf_free(&r->rows);
    buf_free(&r->payload);
    *r = (struct rows_result){0};
}

void store_scrub_free(struct scrub_result *r)
{
    mem_free(r->damages);
    *r = (struct scrub_result){0};
}

void store_segments_free(struct segments_result *r)
{
    mem_free(r->metas);
    buf_free(&r->attributes);
    buf_free(&r->payload);
    *r = (struct segments_result){0};
}

void store_log_free(struct log_result *r)
{
    mem_free(r->entries);
    buf_free(&r->manifests);
    buf_free(&r->payload);
    *r = (struct log_result){0};
}
