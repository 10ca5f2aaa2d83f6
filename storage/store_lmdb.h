/* store_lmdb.h - what the four files of the LMDB store share: the environment
 * (store_lmdb.c), the start (store_lmdb_load.c), the writer
 * (store_lmdb_write.c), readers (store_lmdb_read.c). Nothing outside of them
 * includes this. */
#ifndef STORAGE_STORE_LMDB_H
#define STORAGE_STORE_LMDB_H

#include <lmdb.h>
#include <sys/types.h>

#include "storage/store_ledger.h"
#include "storage/store_rows.h"

struct store_lmdb {
    struct store base; /* first: the ops */
    MDB_env *env;
    MDB_dbi dbi[STORE_DB_COUNT];
    char *path;
    store_bytes_fn bytes;
    void *bytes_ctx;
    void (*on_broken)(const char *why);
    struct store_ledger ledger;
    MDB_txn *txn; /* the write transaction under way */
    /* S22: a commit has failed, and there is never another */
    bool is_failed;
    uint64_t free_pages; /* as of counted_txn; see store_space */
    uint64_t counted_txn;
    /* Every environment that is open in this process (PITFALLS A26). */
    dev_t device;
    ino_t inode;
    struct store_lmdb *next_open;
};

/* The one place that knows LMDB's numbers. NOT_FOUND: no such row. */
enum err store_lmdb_err(int rc);

static inline MDB_val store_lmdb_val(struct span s)
{
    return (MDB_val){s.size, (void *)s.data};
}
static inline struct span store_lmdb_span(MDB_val v)
{
    return span_of(v.mv_data, v.mv_size);
}

/* ---- writer ------------------------------------------------------------ */

enum err store_lmdb_commit(struct store *s, const struct store_batch *b,
                           struct store_done *done);
/* Inside the write transaction s->txn: all of a founding but its commit. */
NODISCARD enum err store_lmdb_write_founding(struct store_lmdb *s,
                                             const struct store_batch *b);

/* ---- loading ----------------------------------------------------------- */

/* At the opening: the rows of meta into the ledger, each checked, and each
 * log's first and last row held against them. DAMAGED; INCOMPATIBLE; IO. */
NODISCARD enum err store_lmdb_load_ledger(struct store_lmdb *s);
enum err store_lmdb_load(struct store *s, const struct store_visitor *v);

/* ---- readers ----------------------------------------------------------- */

/* A row whose checksum matches; borrowed. NOT_FOUND; DAMAGED; IO. */
NODISCARD enum err store_lmdb_get(const struct store_lmdb *s, MDB_txn *txn,
                                  enum store_db db, struct span key,
                                  struct span *value);
/* Moves a cursor: op is MDB_SET_RANGE (from *key), MDB_FIRST, MDB_NEXT,
 * MDB_PREV or MDB_LAST. Key and stored value (with its checksum) are borrowed.
 */
NODISCARD enum err store_lmdb_move(MDB_cursor *cursor, MDB_cursor_op op,
                                   struct span *key, struct span *stored);
struct store_reader *store_lmdb_reader_open(struct store *s);
void store_lmdb_reader_close(struct store_reader *r);
void store_lmdb_read_segments(struct store_reader *r,
                              const struct segments_ticket *t,
                              struct segments_result *out);
void store_lmdb_read_log(struct store_reader *r, const struct log_ticket *t,
                         struct log_result *out);
void store_lmdb_read_blob(struct store_reader *r, const struct blob_ticket *t,
                          struct blob_result *out);
void store_lmdb_read_rows(struct store_reader *r, const struct rows_ticket *t,
                          struct rows_result *out);
void store_lmdb_scrub(struct store_reader *r, const struct scrub_ticket *t,
                      struct scrub_result *out);

#endif
