/* audit.h - all that a store holds, read as a stranger would: through its
 * table alone.
 *
 * Two stores hold the same exactly if their fingerprints are equal: whatever
 * store_load tells, each log entry with its payload, and each segment of each
 * stream that has been applied and stored. */
#ifndef TESTS_POWER_AUDIT_H
#define TESTS_POWER_AUDIT_H

#include "ring/streams.h"
#include "storage/store.h"

struct audit_replica {
    uint32_t group;
    uint32_t incarnation;
    uint64_t base_index;
    uint64_t last_index;
    uint64_t applied_index;
    struct raft_term_run *runs;
    size_t run_count;
    bool is_installing;      /* then nothing can be read of it */
    struct streams *streams; /* as stored; NULL: group 0 */
};
struct audit {
    struct store_folder folder;
    struct audit_replica *replicas; /* ascending by group */
    size_t count;
};
/* As store_load. */
NODISCARD enum err audit_read(struct store *s, struct audit *out);
void audit_free(struct audit *a);

/* A segment as a replica has it. */
struct audit_segment {
    struct span stream; /* its name */
    uint64_t seq;
    struct span bytes;
};
typedef void (*audit_segment_fn)(void *ctx, const struct audit_segment *s);
/* Tells of each segment that is stored as applied, and of each that the rest of
 * the log appends if all of it is applied, which is done here: once a replica.
 * Group 0 and who is being installed are passed over. The errors are those of
 * store_read_segments, store_read_log and streams_apply; DAMAGED if an entry
 * makes no sense. */
NODISCARD enum err audit_segments(struct store_reader *reader,
                                  const struct audit_replica *r,
                                  audit_segment_fn on_segment, void *ctx);

struct audit_print {
    struct hash128 node;   /* ids, boot, peers' boots, the ring record */
    struct hash128 groups; /* all else */
};
static inline bool audit_print_equal(const struct audit_print *a,
                                     const struct audit_print *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}
/* *err_place: where it failed, static words. */
NODISCARD enum err audit_fingerprint(struct store *s, struct audit_print *out,
                                     const char **err_place);

#endif
