/* tape.h - what the recorder below a store (preload.c) writes down: every
 * write to data.mdb and every sync, in the order in which they happened, and
 * between them the marks of those who were told that something is durable.
 *
 * One file, appended to by as many processes as take part: an append of
 * O_APPEND is whole and in order, so the tape is one history of all of them.
 *
 *   WRITE        into the page cache: since here it may be on the disk
 *   WRITE_DSYNC  the same through a descriptor with O_DSYNC (LMDB's meta page)
 *   SYNC         fdatasync or fsync begins
 *   DONE         the newest SYNC or WRITE_DSYNC of this node has returned well:
 *                since here its bytes are on the disk for good
 *   FAILED       it has returned an error: nobody knows (EIO)
 *   FOLDER       the folder was synced: the file has its name for good
 *   MARK         bytes of whoever was told: what they mean is theirs
 *
 * A process that dies between SYNC and DONE leaves no DONE. Numbers are in the
 * machine's own order: a tape is read where it was written. */
#ifndef TESTS_POWER_TAPE_H
#define TESTS_POWER_TAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tape_kind {
    TAPE_WRITE = 1,
    TAPE_WRITE_DSYNC,
    TAPE_SYNC,
    TAPE_DONE,
    TAPE_FAILED,
    TAPE_FOLDER,
    TAPE_MARK,
};

#define TAPE_MAGIC 0x45504154u /* "TAPE" */

/* As it stands in the file, `size` bytes behind it. */
struct tape_head {
    uint32_t magic;
    uint16_t kind;
    uint16_t node;   /* whose data.mdb; of a MARK: whose mark */
    uint64_t offset; /* WRITE, WRITE_DSYNC; of a MARK: its owner's */
    uint64_t size;
};

struct tape_event {
    enum tape_kind kind;
    uint16_t node;
    uint64_t offset;
    uint64_t size;
    const uint8_t *bytes; /* borrowed from the tape */
};

struct tape {
    struct tape_event *events;
    size_t count;
    uint8_t *bytes; /* of the file */
    size_t size;
};

/* For writing marks: -1 if it cannot be opened or made. */
int tape_open(const char *path);
/* False: it was not written whole. */
bool tape_mark(int fd, uint16_t node, uint64_t number, const void *bytes,
               size_t size);

/* False: no such file, or no tape (then *why says so). A last event that was
 * cut short is left out. */
bool tape_read(struct tape *t, const char *path, const char **why);
void tape_free(struct tape *t);

#endif
