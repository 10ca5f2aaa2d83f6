/* disk.h - one file on a disk that loses power: what must be on it, and what
 * may be.
 *
 * Fed with the events of a tape up to the moment of the loss. A write is in
 * the page cache at once; on the disk it is
 *   for good   once a sync that began after it is done, or it was made
 *              through O_DSYNC and is done
 *   perhaps    before that: any of it, sector by sector, in any order, or
 *              nothing. A sector is whole: its bytes are those that the cache
 *              held after some write to it, not older than the newest one
 *              that is there for good
 *   perhaps,   for ever, if a sync failed upon it: the kernel takes such pages
 *              for clean, so that a later sync brings nothing (Rebello et al.,
 *              "Can applications recover from fsync failures?", ATC 2020).
 *              Only being written again changes that
 * The file has a name for good once its folder was synced. It is as long as
 * what is there of it, or as the cache has it, zeroes between.
 *
 * Sectors are 512 bytes: LMDB's meta page relies on 120 bytes within one of
 * them being written whole or not at all, and so do we. */
#ifndef TESTS_POWER_DISK_H
#define TESTS_POWER_DISK_H

#include "ring/base.h"
#include "tests/power/tape.h"

#define DISK_SECTOR_BYTES 512u
#define DISK_PAGE_BYTES   4096u

/* Disks that do not do what they say, for proving that it is noticed. */
enum disk_lie {
    DISK_IS_HONEST,
    DISK_FORGETS_SYNCS, /* fdatasync does nothing; O_DSYNC does */
    DISK_FORGETS_METAS, /* O_DSYNC does nothing; fdatasync does */
    DISK_FORGETS_NAMES, /* fsync of the folder does nothing */
};

struct disk_write {
    uint64_t offset;
    uint64_t size;
    const uint8_t *bytes; /* borrowed from the tape */
    bool is_dsync;
    bool is_safe;   /* there for good */
    bool is_failed; /* a sync has failed upon it */
};

struct disk {
    enum disk_lie lie;
    struct buf safe; /* what the file is but for `writes` */
    /* In order; the first is not safe. */
    struct disk_write *writes;
    size_t count, capacity;
    size_t synced; /* those before it are what the sync under way covers */
    enum tape_kind under_way; /* WRITE_DSYNC, SYNC; else nothing is */
    bool has_name;
    uint64_t cache_size;
};

/* What of the unsafe writes has come to the disk. */
enum disk_mode {
    DISK_NOTHING,
    DISK_EVERYTHING,
    DISK_WRITES,  /* each write by chance, whole */
    DISK_PAGES,   /* each 4 KiB of each write by chance */
    DISK_SECTORS, /* each 512 bytes */
    DISK_FIRST,   /* the first so many writes, the next torn */
    DISK_LAST,    /* the last so many, without those before */
    DISK_ONE,     /* one write alone */
    DISK_ALL_BUT_ONE,
    DISK_MODES,
};
const char *disk_mode_name(enum disk_mode m);

void disk_init(struct disk *d, enum disk_lie lie);
void disk_free(struct disk *d);
/* One event of this disk's node; marks are passed over. */
void disk_feed(struct disk *d, const struct tape_event *e);
/* How many writes are unsafe. */
size_t disk_unsafe(const struct disk *d);
/* The file after a power loss now, as chance has it within the mode. False:
 * it has no name, there is no file. */
bool disk_rebuild(const struct disk *d, enum disk_mode mode, struct rng *chance,
                  struct buf *out);

#endif
