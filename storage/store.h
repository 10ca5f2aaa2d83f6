/* store.h - bytes at rest: a table of typed commands over one folder.
 *
 * Two stores have this table: LMDB (production) and a model in memory (for
 * the simulator only; tests/unit/test_store_twins.c holds the two together).
 *
 *   loop thread   builds a batch: what goes into one transaction is chosen in
 *                 the core, by counts and bytes (T35)
 *   writer thread store_commit(batch): all of it durable, or the process ends
 *   readers       store_read_*: short read transactions, bytes copied out and
 *                 verified against the ticket, transaction ended (L14)
 *
 * A batch has two parts. A: hard state, log, truncation, replicas: what
 * acknowledgements wait for. B: everything lazy (portions of applied state,
 * sweeps). The core puts all waiting hard state in first, then log, then B.
 *
 * Layout (LMDB: four databases; keys big-endian, beginning with group be32,
 * incarnation be32; storage/README.md draws it):
 *   log      | index be64, ordinal be16, chunk be16   payload: header + bytes,
 *              at most PAYLOAD_ROW_BYTES_MAX; a run is cut into chunks back to
 *              back; the entry's manifest is behind them, at ffff, ffff
 *   index    | stream index be64, ordinal be16, first seq be64   a run row
 *   state    | the row key of ring/rows.h (group 0: of ring/record.h)
 *   meta     folder, boot, record, and per group: replica, hard, applied,
 *            term runs, configurations, tombstone
 * Every row ends with XXH3-64 over key and value (S24), payload rows excepted:
 * their header repeats the key, and the segment's own checksum covers them.
 *
 * Damage outside a payload row is ERR_DAMAGED: the folder is bad. A failed
 * commit is ERR_IO: the caller ends the process with exit code 74 (S22), and
 * never tries again. */
#ifndef STORAGE_STORE_H
#define STORAGE_STORE_H

#include "ring/entry.h"
#include "ring/raft.h"
#include "ring/rows.h"
#include "ring/scrub.h"

#define STORE_FORMAT 1u

/* ---- what a folder holds at its start ---------------------------------- */

struct store_folder {
    struct id128 cluster;
    struct id128 node;
    uint32_t partitions; /* Q; 0 in a folder made by join that has no record */
    uint64_t boot;       /* of the last start; 0: never started */
};

/* A replica as stored; `raft` borrows from the store for the call. */
struct store_replica {
    uint32_t group;
    uint32_t incarnation;
    struct generation generation;
    uint64_t added; /* the own replica id in this group */
    struct raft_stored raft;
    uint64_t applied_term;
    struct hash128 digest; /* of the state rows at applied_index */
    struct epoch epoch;    /* newest that an entry up to it bears (T29) */
    bool is_quarantined;
    struct span quarantine; /* why, for people; borrowed */
    /* It is being installed, and no replica yet (S17): nothing of it may vote,
     * acknowledge or serve. With the blob whole, raft has base = applied = its
     * index, and the configuration there; before it, base is 0. */
    bool is_installing;
    struct row_cursor cursor; /* rows of the index are there up to it */
    uint64_t moved_bytes;
};

/* Called by store_load, in this order: folder; record (if there is one); then
 * per replica, ascending by group: replica, its state rows (in key order; of
 * one that is installing only if its blob is whole), its entries above
 * applied_index (ascending); then the tombstones. Spans
 * borrow for the call. An error ends the load and is returned. */
struct store_visitor {
    void *ctx;
    enum err (*folder)(void *ctx, const struct store_folder *f);
    enum err (*record)(void *ctx, struct span record);
    enum err (*replica)(void *ctx, const struct store_replica *r);
    enum err (*row)(void *ctx, uint32_t group, struct span key,
                    struct span value);
    enum err (*entry)(void *ctx, uint32_t group, struct span manifest);
    /* Only replica ids > least may still be accepted in this group, and only
     * incarnations > incarnation made; rows of those up to it may wait for a
     * STORE_SWEEP still. The group may have a (newer) replica besides. */
    enum err (*tombstone)(void *ctx, uint32_t group, uint32_t incarnation,
                          uint64_t least);
    /* Right after the folder, if there is such a row; may be NULL. */
    enum err (*boots)(void *ctx, struct span boots);
};

/* ---- commands ---------------------------------------------------------- */

enum store_kind {
    /* A */
    STORE_BOOT = 1,   /* number: the boot of this start */
    STORE_RECORD,     /* bytes: the newest ring record (a cache; DESIGN 4) */
    STORE_CREATE,     /* a replica from an accepted invitation: empty log and
                         state (base 0), added, generation, incarnation. Both
                         numbers above those of the group's tombstone. An
                         installing one may begin anew: the same `added` under
                         a higher incarnation; the rows of the lower ones wait
                         for a STORE_SWEEP */
    STORE_HARD,       /* hard */
    STORE_APPEND,     /* item: its log row and payload rows. The index is the
                         last + 1 of that log */
    STORE_TRUNCATE,   /* index: remove log rows >= index and their payload,
                         term runs and configurations. Above applied, at most
                         last */
    STORE_TOMBSTONE,  /* added: only ids > added may be accepted; removes the
                         replica's meta rows. Its other rows stay until swept */
    STORE_QUARANTINE, /* text in bytes: this replica neither applies, leads
                         nor serves (T17). Cut at STORE_QUARANTINE_MAX */
    STORE_RECOVER,    /* the replica founds another generation (S7): it goes on
                         as `added` = `index`, above its last, with base =
                         applied = index, base term `term`, no vote, the one
                         configuration `config` and `epoch`. Its log must be cut
                         to its end and applied; of group 0, whose new state is
                         in the images, what is left of it goes */
    STORE_INSTALLED,  /* the switch (S17): what was installed is a replica, with
                         base = applied = the blob's index and no vote */
    /* B */
    STORE_PORTION, /* state from exactly `index` (a) to exactly `index_to`
                      (k): images in order, applied = k, term, digest (T1),
                      epoch. a is what is stored, k is at most last, term is k's
                    */
    STORE_BOOTS,   /* bytes: which boots of its peers this node has seen (S6C);
                      no row: of none */
    STORE_SWEEP,   /* remove at most `count` rows of the group's incarnations
                      up to `incarnation`, which no replica names any more */
    STORE_CUT,     /* the log begins behind `index` from now on: above its base,
                      at most the stored applied index (T24). Manifests go,
                      term runs and configurations below it too; payload stays,
                      for rows of the index name it */
    STORE_BLOB,    /* images of state rows for an installing replica; with
                      `config` they are the last: the blob is whole, and is the
                      state at (index, term) with this digest, epoch */
    STORE_ROWS,    /* bytes: moved rows (ring/rows.h), payload: their runs;
                      cursor: where it goes on. Of an installing replica whose
                      blob is whole; the same rows may come twice */
    STORE_MEND,    /* the same, of a replica that has these very rows: the bytes
                      of their segments are written again. A row that is not
                      there any more, or is another by now: nothing (S25) */
};
#define STORE_QUARANTINE_MAX  255u
#define STORE_BOOTS_BYTES_MAX (64u * KIB)

struct store_command {
    enum store_kind kind;
    uint32_t group;
    uint32_t incarnation;
    struct generation generation;
    uint64_t added;
    uint64_t number;
    uint64_t index;
    uint64_t index_to;
    uint64_t term;
    struct hash128 digest;
    struct epoch epoch;
    struct raft_hard_state hard;
    const struct item *item;   /* borrowed until the commit has ended */
    const struct span *images; /* image buffers (ring/rows.h), in order */
    uint32_t image_count;
    uint32_t count;
    struct span bytes;
    bool is_installing;          /* CREATE */
    const struct config *config; /* BLOB, RECOVER; borrowed */
    struct slice payload;        /* ROWS, MEND; size 0: none */
    struct row_cursor cursor;    /* ROWS */
};

struct store_batch {
    uint64_t cycle; /* ascending; echoed */
    const struct store_command *commands;
    size_t count;
};

struct store_done {
    uint64_t cycle;
    uint64_t txn;         /* number of the transaction, for read tickets */
    uint64_t duration_us; /* measured by the caller's shell, 0 here */
    /* The first so many STORE_SWEEP commands of the batch left nothing behind
     * and need not be given again. (A later one may be done too; it says so
     * when it is given again.) */
    uint32_t sweeps_finished;
};

struct store_space {
    uint64_t map_bytes;
    uint64_t map_used; /* last page less free pages */
    uint64_t disk_bytes;
    uint64_t disk_free; /* to us, on the file system of the folder */
    uint64_t file_free; /* of the file, which never shrinks: used again */
};

/* ---- tickets ----------------------------------------------------------- */

/* Segments [from_seq, end_seq) of a stream, as many as fit. Everything below
 * end_seq was applied when the ticket was made; what is not stored yet is in
 * `rows` (encoded images of ROW_INDEX, consulted first, T19). */
struct segments_ticket {
    uint32_t group;
    uint32_t incarnation;
    struct position stream;
    uint64_t from_seq;
    uint64_t end_seq;
    uint32_t count_max;
    uint32_t bytes_max; /* at least one segment is read whatever its size */
    uint64_t least_txn;
    struct buf rows; /* owned by the ticket */
};
struct segment_meta {
    uint64_t seq;
    uint64_t time_ms;
    uint64_t key_hash;
    struct hash128 checksum;
    uint32_t size;
    uint32_t attributes_at; /* in result.attributes */
    uint16_t attributes_size;
    uint8_t algorithm;
};
struct segments_result {
    /* OK.
     * CORRUPT: the payload of bad_seq is damaged or gone: mended from a peer.
     * NOT_FOUND: the index row of bad_seq is missing, or the payload of a row
     * from memory: damage only if the position is still live, which the core
     * checks (T19).
     * DAMAGED, IO: the folder; nothing is to be believed.
     * With CORRUPT and NOT_FOUND the `count` segments before bad_seq stand. */
    enum err err;
    uint32_t count;
    struct segment_meta *metas;
    struct buf attributes;
    struct buf payload; /* the segments' bytes back to back */
    uint64_t bad_seq;   /* with CORRUPT and NOT_FOUND */
};
void store_segments_free(struct segments_result *r);

/* Log entries first..last for a follower, as many as fit in bytes_max (at
 * least one). Each row is checked against its checksum, its index, and `runs`
 * (the terms the core expects, T4). */
struct log_ticket {
    uint32_t group;
    uint32_t incarnation;
    uint64_t first;
    uint64_t last;
    uint32_t bytes_max;
    uint64_t least_txn;
    const struct raft_term_run *runs; /* covering first..last */
    size_t run_count;
};
struct log_entry {
    uint32_t manifest_at; /* in result.manifests */
    uint32_t manifest_size;
    uint32_t payload_at; /* in result.payload */
    uint32_t payload_size;
};
struct log_result {
    /* OK; CORRUPT: payload damaged; NOT_FOUND: the log is not that any more
     * (truncated meanwhile); DAMAGED; IO. With CORRUPT and NOT_FOUND the
     * `count` entries before the bad one stand. */
    enum err err;
    uint32_t count;
    struct log_entry *entries;
    struct buf manifests;
    struct buf payload;
};
void store_log_free(struct log_result *r);

/* The mutable rows of a group, all of one stored applied index (S16), as images
 * (garbage rows excepted: they name bytes of this replica alone). */
struct blob_ticket {
    uint32_t group;
    uint32_t incarnation;
    uint64_t least_txn;
};
struct blob_result {
    /* OK; NOT_FOUND: there is no such replica, or no configuration is applied;
     * DAMAGED; IO */
    enum err err;
    uint64_t index;
    uint64_t term;
    struct hash128 digest;
    struct epoch epoch;
    struct config config; /* the newest at or below index */
    struct buf images;
};
void store_blob_free(struct blob_result *r);

/* Rows of the index from a cursor on, in key order, of entries at or below
 * `index`, with their payload: as many as fit (at least one). */
struct rows_ticket {
    uint32_t group;
    uint32_t incarnation;
    struct row_cursor from;
    uint64_t index;
    uint32_t bytes_max;
    uint64_t least_txn;
};
struct rows_result {
    /* OK (no rows: there are no more); NOT_FOUND: what is stored here is not
     * at `index` yet (T23), or is no such replica; CORRUPT: a payload is
     * damaged here; DAMAGED; IO. Rows stand only with OK. */
    enum err err;
    uint32_t count;
    struct buf rows; /* ring/rows.h: moved rows */
    struct buf payload;
    uint32_t payload_bytes;
};
void store_rows_free(struct rows_result *r);

/* A piece of a scrub (ring/scrub.h), in one consistent view. */
struct scrub_ticket {
    uint32_t group;
    uint32_t incarnation;
    struct scrub_cursor from;
    uint64_t index;     /* index rows of entries at or below */
    uint32_t bytes_max; /* read; at least one row */
    uint64_t least_txn;
};
struct scrub_result {
    /* OK; NOT_FOUND: what is stored here is not at `index` yet, or is no such
     * replica; DAMAGED: a row that is no payload's, or a hole; IO. */
    enum err err;
    struct scrub_cursor next;
    struct scrub_sums sums; /* of this piece */
    uint32_t damage_count;
    struct scrub_damage *damages; /* owned; at most SCRUB_DAMAGES_MAX */
};
void store_scrub_free(struct scrub_result *r);

/* ---- the table --------------------------------------------------------- */

struct store;        /* writer's side and the whole */
struct store_reader; /* one per reader thread */

struct store_ops {
    void (*close)(struct store *s);
    enum err (*load)(struct store *s, const struct store_visitor *v);
    enum err (*commit)(struct store *s, const struct store_batch *b,
                       struct store_done *done);
    enum err (*space)(struct store *s, struct store_space *out);
    struct store_reader *(*reader_open)(struct store *s);
    void (*reader_close)(struct store_reader *r);
    void (*read_segments)(struct store_reader *r,
                          const struct segments_ticket *t,
                          struct segments_result *out);
    void (*read_log)(struct store_reader *r, const struct log_ticket *t,
                     struct log_result *out);
    void (*read_blob)(struct store_reader *r, const struct blob_ticket *t,
                      struct blob_result *out);
    void (*read_rows)(struct store_reader *r, const struct rows_ticket *t,
                      struct rows_result *out);
    void (*scrub)(struct store_reader *r, const struct scrub_ticket *t,
                  struct scrub_result *out);
};
/* First member of every store and of every reader. */
struct store {
    const struct store_ops *ops;
};
struct store_reader {
    const struct store_ops *ops;
};

/* Resolves a payload handle to its bytes; called in the writer thread, for
 * handles that a batch under way holds references to. */
typedef const uint8_t *(*store_bytes_fn)(void *ctx, uint64_t handle);

/* Replays everything stored into the visitor. DAMAGED; IO. */
NODISCARD enum err store_load(struct store *s, const struct store_visitor *v);
/* One transaction, durable when it returns OK.
 * IO: the end of this process (S22); every later commit fails as well. A full
 * map or disk is no other case: admission keeps both from filling (S23).
 * DAMAGED: the commands do not fit what is stored (an APPEND that is not the
 * last + 1, a PORTION that does not begin at the stored applied index, a
 * replica that is not there): our bug or a damaged folder; nothing was
 * changed. */
NODISCARD enum err store_commit(struct store *s, const struct store_batch *b,
                                struct store_done *done);
/* By the thread that commits: the count of free pages is kept from one call to
 * the next and made anew every so many commits. */
NODISCARD enum err store_space(struct store *s, struct store_space *out);
/* A reader belongs to one thread at a time; close all before the store. NULL:
 * there are too many (1,024), or the system refused. */
struct store_reader *store_reader_open(struct store *s);
void store_reader_close(struct store_reader *r); /* accepts NULL */
void store_read_segments(struct store_reader *r,
                         const struct segments_ticket *t,
                         struct segments_result *out);
void store_read_log(struct store_reader *r, const struct log_ticket *t,
                    struct log_result *out);
void store_read_blob(struct store_reader *r, const struct blob_ticket *t,
                     struct blob_result *out);
void store_read_rows(struct store_reader *r, const struct rows_ticket *t,
                     struct rows_result *out);
void store_scrub(struct store_reader *r, const struct scrub_ticket *t,
                 struct scrub_result *out);
void store_close(struct store *s); /* accepts NULL */

/* What `init` puts into a new folder, in one transaction: the ids, the record
 * and, for each group 0..partitions, a replica (added 1, generation as given,
 * incarnation 1, term 1, no vote) whose log is one CONFIG entry, index 1, term
 * 1, {(node, 1), voter}, applied; group 0 gets `ring_row` as its state row
 * besides. `join` gives partitions 0: ids only. */
struct store_founding {
    struct store_folder folder;
    struct generation generation;
    struct entry_stamp stamp;
    struct span record;       /* empty: join */
    struct span ring_row_key; /* group 0's state row */
    struct span ring_row_value;
    struct hash128 ring_digest; /* stored as group 0's digest:
                                   row_digest of that row */
};

/* ---- LMDB -------------------------------------------------------------- */

struct store_lmdb_cfg {
    const char *path; /* the folder; data.mdb and lock.mdb are made in it */
    uint64_t map_bytes;
    store_bytes_fn bytes;
    void *bytes_ctx;
    /* LMDB found its own pages senseless: the folder is damaged (S24). Called
     * in whatever thread; does not return. NULL: the process aborts. */
    void (*on_broken)(const char *why);
};
/* IN_USE: there is an environment already (one is never overwritten, not even
 * what a founding that was cut short has left: remove the folder); TOO_LARGE:
 * there is no room in the address space for such a map; IO. The folder must be
 * there. Syncs the files and the folder. */
NODISCARD enum err store_lmdb_found(const struct store_lmdb_cfg *cfg,
                                    const struct store_founding *f);
/* NOT_FOUND: no environment in the folder; INCOMPATIBLE: a newer format;
 * DAMAGED: shorter than its own meta page says, or rows missing; IN_USE: open
 * in this process already (another process is kept out by the caller's
 * node.lock); TOO_LARGE as above; IO. Never a second descriptor on the files.
 * A page that the device cannot read is SIGBUS, here and in every call: the
 * caller's handler makes it the end of the folder. */
NODISCARD enum err store_lmdb_open(const struct store_lmdb_cfg *cfg,
                                   struct store **out);

/* ---- model ------------------------------------------------------------- */

/* In memory; commits are atomic, and that is all the durability it models:
 * the simulator decides whether a commit under way at a crash has happened,
 * and executes reads at any later commit boundary. */
struct store *store_model_new(const struct store_founding *f,
                              store_bytes_fn bytes, void *bytes_ctx);
void store_model_set_space(struct store *s, struct store_space space);
/* Another folder with the same rows: a backup, a copy, a former state. */
struct store *store_model_copy(const struct store *s, void *bytes_ctx);

/* What can befall a row while the rest is whole. LMDB itself can tear no
 * commit: a page in use is never overwritten, and a meta page is valid or is
 * not (S22 has what can go wrong there). A row whose checksum does not match
 * reads as LMDB's would: DAMAGED, and CORRUPT if it is of a payload. */
enum store_rot {
    STORE_ROT_PAYLOAD,    /* a bit of an entry's payload is another */
    STORE_LOST_PAYLOAD,   /* its rows never got to the disk */
    STORE_OTHERS_PAYLOAD, /* another's rows were written over them */
    STORE_ROT_LOG,        /* a bit of a log row is another */
    STORE_LOST_LOG,       /* it never got to the disk */
    STORE_ROT_STATE,
    STORE_ROT_INDEX,
    STORE_ROT_META, /* of the folder or of a replica: seen at the next start */
};
/* Damages a row of the group's replica, chosen by `draw`. False: there is none
 * of that kind. */
bool store_model_rot(struct store *s, enum store_rot kind, uint32_t group,
                     uint64_t draw);

#endif
