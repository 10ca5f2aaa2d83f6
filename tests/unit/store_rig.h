/* store_rig.h - what the tests of the stores share: entries from a script, a
 * small stand-in for the core of one group, folders, and a dump of all that a
 * store loads. */
#ifndef TESTS_UNIT_STORE_RIG_H
#define TESTS_UNIT_STORE_RIG_H

#include "ring/streams.h"
#include "storage/store.h"

#define RIG_PARTITIONS 3u
#define RIG_PATH_BYTES 256u

/* ---- buffers of the shell ---------------------------------------------- */

/* Handle k is buffer k - 1; kept until the end. */
struct rig_bytes {
    struct buf *bufs;
    size_t count;
};
const uint8_t *rig_resolve(void *ctx, uint64_t handle);
void rig_bytes_free(struct rig_bytes *b);

/* ---- entries ----------------------------------------------------------- */

/* A stream and its producer, as the verdicts have told them. */
struct rig_lane {
    struct position stream;
    struct position producer; /* index 0: not opened */
    uint32_t epoch;
    uint64_t next_number;
};

/* An entry that is being written; its payload is cut into slices that do not
 * align with the commands. */
struct rig_script {
    struct buf manifest;
    struct buf payload;
    struct entry_builder builder;
    struct rng rng;
};
void rig_script_begin(struct rig_script *s, uint64_t seed);
/* False: it is full, nothing was added. */
bool rig_script_create(struct rig_script *s, const char *name);
bool rig_script_open(struct rig_script *s, struct position stream,
                     const char *name);
/* The `ahead`-th segment behind those that the lane's producer has applied. */
bool rig_script_append(struct rig_script *s, const struct rig_lane *lane,
                       uint64_t ahead, uint32_t size);
struct item *rig_script_end(struct rig_script *s, struct item_pool *pool,
                            struct rig_bytes *bytes, uint64_t index,
                            uint64_t term);
struct item *rig_noop(struct item_pool *pool, uint64_t index, uint64_t term);
struct item *rig_config(struct item_pool *pool, uint64_t index, uint64_t term,
                        uint32_t members);

/* ---- a group's core ---------------------------------------------------- */

/* What applying an entry yielded. */
struct rig_applied {
    struct buf images;
    struct hash128 digest;
    uint64_t term;
};
/* The state machine of one group, and the after-images of each entry. */
struct rig_core {
    struct streams *streams;
    struct item **items; /* of index 1 and up; NULL: the founder's */
    struct rig_applied *applied;
    size_t last, capacity;
    uint64_t applied_index;
    uint64_t stored_index;
    struct rig_lane *lanes;
    size_t lane_count;
    struct span *portion; /* of the last rig_core_portion */
};
/* is_founded: entry 1 is the founder's, applied and stored. */
void rig_core_init(struct rig_core *c, bool is_founded);
void rig_core_free(struct rig_core *c, struct item_pool *pool);
/* Takes the reference over. */
void rig_core_append(struct rig_core *c, struct item *item);
void rig_core_truncate(struct rig_core *c, struct item_pool *pool,
                       uint64_t index);
void rig_core_apply(struct rig_core *c, uint64_t to);
/* A STORE_PORTION from what is stored to there; noted as stored. */
struct store_command rig_core_portion(struct rig_core *c, uint32_t group,
                                      uint32_t incarnation, uint64_t to);
/* The images of what is applied and not stored, for a ticket. */
void rig_core_memory(const struct rig_core *c, struct buf *rows);

/* ---- stores ------------------------------------------------------------ */

struct store_founding rig_founding(uint32_t partitions);
/* A new empty folder below $TMPDIR. */
void rig_folder(char path[RIG_PATH_BYTES]);
void rig_folder_remove(const char *path);
struct store_lmdb_cfg rig_cfg(const char *path, struct rig_bytes *bytes);
/* All that store_load tells, as text. */
enum err rig_dump(struct store *s, struct buf *text);

#endif
