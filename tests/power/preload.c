/* preload.c - the recorder: under LD_PRELOAD it sees each call by which LMDB
 * brings bytes to data.mdb, and writes it to a tape (tape.h).
 *
 *   POWER_TAPE=FILE   the tape; without it nothing is recorded
 *   POWER_NODE=N      whose data.mdb this is
 *   POWER_ACKS=1      this process is a recorder of tests/cluster: what it
 *                     appends to a file acks.* becomes a mark, just before it
 *                     syncs that file
 *   POWER_FLAGS=N     added to those of mdb_env_open (a store that does not
 *                     keep its promise)
 *   POWER_STOP=N      at the N-th write or sync of this process, or the first
 *   POWER_HOW=...     of its kind after it,
 *     kill              die by SIGKILL, the bytes in the page cache
 *     kill-meta         the same in a write with O_DSYNC
 *     fail-sync         a sync gives EIO
 *     fail-meta         a write with O_DSYNC gives EIO
 *
 * A write is recorded before it is made and a sync's DONE after it: a reader
 * of the tape never takes for durable what is not, nor misses what may be.
 * Killed between the two, a process would leave a tape that knows more than
 * the file: so SIGUSR2 is its kill -9, between calls.
 *
 * Nothing reaches data.mdb past the calls below: without MDB_WRITEMAP LMDB
 * builds pages in memory of its own and maps the file for reading alone, where
 * a store is SIGSEGV. A call on data.mdb that this file cannot tell of ends the
 * process, a mapping for writing included, so that no change of the store goes
 * unseen. */
#define _GNU_SOURCE /* RTLD_NEXT, syscall */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/power/tape.h"

#define FDS_MAX   4096
#define PARTS_MAX 64 /* LMDB's MDB_COMMIT_PAGES */

enum watched { NOT_WATCHED, DATA, DATA_DSYNC, FOLDER };

static _Atomic unsigned char watched[FDS_MAX];
static atomic_bool is_writing; /* what is on the tape is not all in the file */
static atomic_bool is_to_die;
static off_t told[FDS_MAX]; /* of an acks file: what is on the tape */
static int tape = -1;
static uint16_t node;
static bool is_acks;
static unsigned long flags, stop_at, operations;
static const char *how;

_Noreturn static void give_up(const char *why)
{
    (void)fprintf(stderr, "power: the recorder gives up: %s\n", why);
    abort();
}

static unsigned long number_of(const char *name)
{
    const char *text = getenv(name);
    return text == NULL ? 0 : strtoul(text, NULL, 0);
}

_Noreturn static void die(void)
{
    for (;;)
        (void)syscall(SYS_kill, getpid(), SIGKILL);
}

/* Whoever is writing dies after it. */
static void on_kill(int number)
{
    (void)number;
    atomic_store(&is_to_die, true);
    if (!atomic_exchange(&is_writing, true))
        die();
}

static void begin_write(void)
{
    while (atomic_exchange(&is_writing, true))
        (void)syscall(SYS_sched_yield); /* only the dying holds it */
}

static void end_write(void)
{
    atomic_store(&is_writing, false);
    if (atomic_load(&is_to_die))
        die();
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("POWER_TAPE");
    if (path == NULL)
        return;
    tape = (int)syscall(SYS_openat, AT_FDCWD, path,
                        O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (tape < 0)
        give_up("no tape");
    node = (uint16_t)number_of("POWER_NODE");
    is_acks = getenv("POWER_ACKS") != NULL;
    flags = number_of("POWER_FLAGS");
    stop_at = number_of("POWER_STOP");
    how = getenv("POWER_HOW");
    if (how == NULL)
        how = "";
    struct sigaction kill_it = {.sa_handler = on_kill};
    (void)sigaction(SIGUSR2, &kill_it, NULL);
}

/* ---- the tape ---------------------------------------------------------- */

static void record(enum tape_kind kind, uint64_t offset,
                   const struct iovec *parts, int count)
{
    struct tape_head head = {TAPE_MAGIC, (uint16_t)kind, node, offset, 0};
    struct iovec all[PARTS_MAX + 1] = {{&head, sizeof head}};
    if (count > PARTS_MAX)
        give_up("more parts in a write than it knows");
    for (int i = 0; i < count; i++) {
        all[i + 1] = parts[i];
        head.size += parts[i].iov_len;
    }
    int saved = errno;
    long wrote = syscall(SYS_writev, tape, all, count + 1);
    if (wrote != (long)(sizeof head + head.size))
        give_up("the tape is full");
    errno = saved;
}

static void record_word(enum tape_kind kind)
{
    record(kind, 0, NULL, 0);
}

/* ---- the end ----------------------------------------------------------- */

static bool is_time(const char *what)
{
    return stop_at != 0 && operations >= stop_at && strcmp(how, what) == 0;
}

static void maybe_die(bool is_dsync)
{
    if (is_time("kill") || (is_dsync && is_time("kill-meta")))
        die();
}

/* ---- files ------------------------------------------------------------- */

static enum watched what_is(const char *path, int open_flags)
{
    const char *name = strrchr(path, '/');
    name = name == NULL ? path : name + 1;
    if (open_flags & O_DIRECTORY)
        return FOLDER;
    if (strcmp(name, "data.mdb") != 0)
        return NOT_WATCHED;
    return (open_flags & O_DSYNC) != 0 ? DATA_DSYNC : DATA;
}

static enum watched watch_of(int fd)
{
    return tape >= 0 && fd >= 0 && fd < FDS_MAX ? (enum watched)watched[fd]
                                                : NOT_WATCHED;
}

int open(const char *path, int open_flags, ...)
{
    va_list rest;
    va_start(rest, open_flags);
    unsigned mode = (open_flags & O_CREAT) != 0 ? va_arg(rest, unsigned) : 0;
    va_end(rest);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, open_flags, mode);
    if (fd < 0 || tape < 0)
        return fd;
    enum watched what = what_is(path, open_flags);
    if (fd < FDS_MAX)
        watched[fd] = (unsigned char)what;
    else if (what != NOT_WATCHED)
        give_up("too many files");
    return fd;
}

int close(int fd)
{
    if (fd >= 0 && fd < FDS_MAX)
        watched[fd] = NOT_WATCHED;
    return (int)syscall(SYS_close, fd);
}

/* ---- writes ------------------------------------------------------------ */

static size_t size_of(const struct iovec *parts, int count)
{
    size_t size = 0;
    for (int i = 0; i < count; i++)
        size += parts[i].iov_len;
    return size;
}

/* at < 0: where the descriptor stands. */
static ssize_t write_parts(int fd, const struct iovec *parts, int count,
                           off_t at)
{
    enum watched what = watch_of(fd);
    bool is_data = what == DATA || what == DATA_DSYNC;
    if (is_data) {
        off_t begins = at < 0 ? (off_t)syscall(SYS_lseek, fd, 0, SEEK_CUR) : at;
        operations++;
        begin_write();
        record(what == DATA ? TAPE_WRITE : TAPE_WRITE_DSYNC, (uint64_t)begins,
               parts, count);
    }
    ssize_t wrote = at < 0
                        ? syscall(SYS_writev, fd, parts, count)
                        : syscall(SYS_pwritev, fd, parts, count, (long)at, 0L);
    if (!is_data)
        return wrote;
    if (wrote >= 0 && (size_t)wrote != size_of(parts, count))
        give_up("a short write of data.mdb");
    end_write();
    maybe_die(what == DATA_DSYNC);
    if (what == DATA)
        return wrote;
    if (is_time("fail-meta")) {
        wrote = -1;
        errno = EIO;
        how = "";
    }
    record_word(wrote < 0 ? TAPE_FAILED : TAPE_DONE);
    return wrote;
}

ssize_t write(int fd, const void *bytes, size_t size)
{
    struct iovec part = {(void *)bytes, size};
    return write_parts(fd, &part, 1, -1);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    return write_parts(fd, parts, count, -1);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at)
{
    struct iovec part = {(void *)bytes, size};
    return write_parts(fd, &part, 1, at);
}

/* ---- syncs ------------------------------------------------------------- */

/* What was appended to an acks file since the last time becomes a mark: each
 * of its lines was answered before the line was written. */
static void tell_acks(int fd)
{
    static char bytes[1u << 16];
    char link[64], path[4096];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0 || fd >= FDS_MAX)
        return;
    path[size] = '\0';
    const char *name = strrchr(path, '/');
    if (name == NULL || strncmp(name + 1, "acks.", 5) != 0)
        return;
    int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    long got;
    while (file >= 0 && (got = syscall(SYS_pread64, file, bytes, sizeof bytes,
                                       (long)told[fd])) > 0) {
        while (got > 0 && bytes[got - 1] != '\n')
            got--;
        if (got == 0)
            break;
        struct iovec part = {bytes, (size_t)got};
        record(TAPE_MARK, 0, &part, 1);
        told[fd] += got;
    }
    if (file >= 0)
        (void)syscall(SYS_close, file);
}

static int sync_by(long call, int fd)
{
    enum watched what = watch_of(fd);
    if (is_acks && tape >= 0)
        tell_acks(fd);
    if (what == NOT_WATCHED)
        return (int)syscall(call, fd);
    if (what == FOLDER) {
        int status = (int)syscall(call, fd);
        if (status == 0)
            record_word(TAPE_FOLDER);
        return status;
    }
    operations++;
    record_word(TAPE_SYNC);
    maybe_die(false);
    int status = (int)syscall(call, fd);
    if (is_time("fail-sync")) {
        status = -1;
        errno = EIO;
        how = "";
    }
    record_word(status == 0 ? TAPE_DONE : TAPE_FAILED);
    return status;
}

int fdatasync(int fd)
{
    return sync_by(SYS_fdatasync, fd);
}

int fsync(int fd)
{
    return sync_by(SYS_fsync, fd);
}

/* ---- what LMDB does not call as we use it ------------------------------- */

static void refuse(int fd, const char *call)
{
    enum watched what = watch_of(fd);
    if (what == DATA || what == DATA_DSYNC)
        give_up(call);
}

int ftruncate(int fd, off_t size)
{
    refuse(fd, "ftruncate of data.mdb");
    return (int)syscall(SYS_ftruncate, fd, size);
}

int fallocate(int fd, int mode, off_t at, off_t size)
{
    refuse(fd, "fallocate of data.mdb");
    return (int)syscall(SYS_fallocate, fd, mode, at, size);
}

void *mmap(void *at, size_t size, int access, int map_flags, int fd,
           off_t offset)
{
    if ((access & PROT_WRITE) != 0 && (map_flags & MAP_SHARED) != 0)
        refuse(fd, "data.mdb is mapped for writing");
    return (void *)syscall(SYS_mmap, at, size, access, map_flags, fd, offset);
}

int msync(void *at, size_t size, int sync_flags)
{
    if (tape >= 0)
        give_up("msync");
    return (int)syscall(SYS_msync, at, size, sync_flags);
}

int mdb_env_open(void *env, const char *path, unsigned open_flags,
                 unsigned mode);
int mdb_env_open(void *env, const char *path, unsigned open_flags,
                 unsigned mode)
{
    int (*real)(void *, const char *, unsigned, unsigned) = NULL;
    void *found = dlsym(RTLD_NEXT, "mdb_env_open");
    if (found == NULL)
        give_up("no LMDB");
    memcpy(&real, &found, sizeof found);
    return real(env, path, open_flags | (unsigned)flags, mode);
}
