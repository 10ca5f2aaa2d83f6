/* rows.h - the rows that applying an entry yields: their keys, their bytes,
 * and the list of after-images that carries them to storage.
 *
 * Rows (key and value are made here, in streams.c and in producer.c; storage
 * stores them verbatim in its `state` and `index` databases under (group,
 * incarnation)); each value begins with its version:
 *   state 'S' | index be64 | ordinal be16          a stream
 *   state 'P' | index be64 | ordinal be16          a producer
 *   state 'G' | index be64 | ordinal be16          garbage: the payload of a
 *                                                  refused append
 *   index  stream index be64 | ordinal be16 | first seq be64     a run
 *
 * An index row describes neighbours of one run of one entry that were all
 * accepted, so that their seqs ascend by one and their bytes lie back to
 * back; a refused append in the middle of a run ends one row and begins
 * another behind its bytes:
 *
 *   run of entry 9, ordinals 3..7   | 3 | 4 | 5 refused | 6 | 7 |
 *   index rows                      (seq 20, 2)         (seq 22, 2)
 *   garbage row                               (9, 5)
 *
 * The segments of a row have one stride, so that any of them is found at
 * once; keys and attributes take room only in rows that have some. */
#ifndef RING_ROWS_H
#define RING_ROWS_H

#include "ring/entry.h"

enum row_space { ROW_STATE = 1, ROW_INDEX = 2 };

#define ROW_STREAM   'S'
#define ROW_PRODUCER 'P'
#define ROW_GARBAGE  'G'

#define ROW_KEY_BYTES_MAX   24u
#define ROW_STATE_KEY_BYTES 11u

/* The key of a row of the state. */
void row_key(uint8_t letter, struct position id,
             uint8_t key[ROW_STATE_KEY_BYTES]);
/* False: not the key of a state row; the letter is not judged. */
bool row_key_read(struct span key, uint8_t *letter, struct position *id);
/* The share of one row in the digest of a state (T33). The digest is the sum
 * over its stream and producer rows, each half by itself, modulo 2^64;
 * garbage rows, which replicas sweep at different times, count 0. Group
 * 0's row (ring/record.h) counts by the same rule. */
struct hash128 row_digest(struct span key, struct span value);

/* ---- garbage ----------------------------------------------------------- */

/* Bytes of a refused append within the run that lies under (entry index,
 * run ordinal). The index and the refused append's own ordinal are the key. */
struct garbage_row {
    uint64_t entry_index;
    uint16_t run_ordinal;
    uint32_t offset;
    uint32_t size;
};
void garbage_row_write(const struct garbage_row *row, struct buf *value);
/* CORRUPT: not a garbage row. */
NODISCARD enum err garbage_row_read(struct span key, struct span value,
                                    struct garbage_row *out);

/* ---- runs -------------------------------------------------------------- */

/* Segments of one row of the index: neighbours of one stream, in one run. */
struct run_row {
    struct position stream;
    uint64_t first_seq;
    uint64_t entry_index; /* where the bytes are: log position ... */
    uint16_t ordinal;     /* ... of the first APPEND of the run ... */
    uint32_t offset;      /* ... and where the first segment begins in it */
    uint64_t time_ms;
    uint16_t count;
    uint8_t where;        /* 0: here */
    uint8_t flags;        /* which of the columns below there are */
    struct span segments; /* `count` times; see run_row_segment */
    struct span attributes;
};
struct run_segment {
    uint64_t seq;
    uint32_t offset; /* within the run's payload */
    uint32_t size;
    uint8_t algorithm;
    struct hash128 checksum;
    uint64_t key_hash;
    struct span attributes;
};
/* Of a row for each segment: end offset, algorithm, checksum. */
#define RUN_SEGMENT_BYTES 21u
/* The key of the row that begins with this seq. */
#define RUN_KEY_BYTES 18u
void run_key(struct position stream, uint64_t first_seq,
             uint8_t key[RUN_KEY_BYTES]);
/* The value of a row of these segments, back to back from row->offset;
 * row->flags, segments and attributes are not looked at. Appends. */
void run_row_write(const struct run_row *row,
                   const struct run_segment *segments, struct buf *value);
/* CORRUPT: not a run row. Spans borrow. After it every segment below `count`
 * can be read. */
NODISCARD enum err run_row_read(struct span key, struct span value,
                                struct run_row *out);
/* The i-th segment (0 first); false past the end. */
bool run_row_segment(const struct run_row *row, uint32_t i,
                     struct run_segment *out);

/* A place among the rows of the index, in key order: where a transfer goes on,
 * at the first row that is not below it. */
struct row_cursor {
    struct position stream;
    uint64_t seq;
};

static inline bool row_cursor_equal(struct row_cursor a, struct row_cursor b)
{
    return position_equal(a.stream, b.stream) && a.seq == b.seq;
}

/* ---- runs on their way to another replica ------------------------------ */

/* Rows of the index in key order, with the payload of the runs that they
 * name: what a source answers, and what the receiver stores. Each row:
 *   bytes of its run u32 (0: the run of the row before it, or no bytes at
 *   all), key 18, size u32, value
 * The runs' bytes lie beside it, back to back, each run once and whole. */
struct moved_row {
    struct span key;
    struct span value;
    struct run_row row;
    uint32_t run_at;    /* where its run begins in the payload ... */
    uint32_t run_bytes; /* ... and its size */
    bool is_new_run;    /* false: the row before it brought its bytes */
};
struct moved_iter {
    struct dec d;
    struct position run; /* the newest that came with bytes */
    uint32_t run_at, run_bytes;
    uint64_t payload_bytes; /* of all runs so far */
};
void moved_row_put(struct buf *out, struct span key, struct span value,
                   uint32_t run_bytes);
void moved_begin(struct moved_iter *it, struct span rows);
/* False at the end, or when the bytes are no such rows (it->d.is_bad). */
bool moved_next(struct moved_iter *it, struct moved_row *out);
/* Are these rows, each run there, each segment as its checksum says? The
 * shell's duty, before the core hears of them. */
NODISCARD bool moved_verify(struct span rows, struct span payload);

/* ---- images ------------------------------------------------------------ */

/* After-images of one applied entry, encoded one behind the other; walked
 * with image_next. A row is there at most once. */
struct image {
    enum row_space space;
    struct span key;
    bool is_delete;
    struct span value;
};
/* Appends one. */
void image_put(struct buf *images, const struct image *image);
/* False at the end, or when the bytes are no images (d->is_bad). */
bool image_next(struct dec *d, struct image *out);

#endif
