/* store_model_impl.h - what the two files of the store in memory share: what it
 * keeps and commits (store_model.c), its readers (store_model_read.c). Nothing
 * outside of them includes this. */
#ifndef STORAGE_STORE_MODEL_IMPL_H
#define STORAGE_STORE_MODEL_IMPL_H

#include "storage/store_founding.h"
#include "storage/store_ledger.h"
#include "storage/store_payload.h"
#include "storage/store_read.h"
#include "storage/store_rows.h"

enum model_payload { PAYLOAD_THERE, PAYLOAD_LOST, PAYLOAD_OTHERS };
struct model_entry {
    struct buf manifest;
    bool is_rotten; /* the manifest's row */
    bool is_lost;
};

struct model_row {
    struct buf key;
    struct buf value;
    bool is_rotten;
    enum model_payload payload_is; /* of a run of payload */
};
struct model_rows { /* ascending by key */
    struct model_row *rows;
    size_t count, capacity;
};

/* One incarnation of one group: a replica, or what a tombstone has left. */
struct model_home {
    uint32_t incarnation;
    uint64_t base;               /* the last index before the log */
    struct model_entry *entries; /* of index base + 1 and up */
    size_t count, capacity;
    struct model_rows payload;
    struct model_rows state;
    struct model_rows index;
    struct model_home *older;
};

struct model {
    struct store base; /* first: the ops */
    store_bytes_fn bytes;
    void *bytes_ctx;
    struct store_ledger ledger;
    struct buf record;
    struct buf boots;
    struct model_home *homes[GROUPS_MAX]; /* newest first */
    struct store_space space;
    uint64_t txn;
    bool is_rotten; /* a row of meta */
};

struct model_reader {
    struct store_reader base; /* first: the ops */
    const struct model *m;
};

/* Where the key is or would be. */
size_t store_model_find(const struct model_rows *r, struct span key,
                        bool *is_there);
#define MODEL_PAYLOAD_KEY_BYTES 10u
void store_model_payload_key(struct position at,
                             uint8_t key[MODEL_PAYLOAD_KEY_BYTES]);
struct model_home *store_model_home(const struct model *m, uint32_t group,
                                    uint32_t incarnation);

/* As store_ops says. */
struct store_reader *store_model_reader_open(struct store *s);
void store_model_reader_close(struct store_reader *r);
void store_model_read_segments(struct store_reader *base,
                               const struct segments_ticket *t,
                               struct segments_result *out);
void store_model_read_log(struct store_reader *base, const struct log_ticket *t,
                          struct log_result *out);
void store_model_read_blob(struct store_reader *base,
                           const struct blob_ticket *t,
                           struct blob_result *out);
void store_model_read_rows(struct store_reader *base,
                           const struct rows_ticket *t,
                           struct rows_result *out);
void store_model_scrub(struct store_reader *base, const struct scrub_ticket *t,
                       struct scrub_result *out);

#endif
