/* folder.c - see folder.h. */
#define _GNU_SOURCE /* flock */
#include "node/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

bool folder_path(const char *dir, const char *name, char out[FOLDER_PATH_MAX])
{
    int size = snprintf(out, FOLDER_PATH_MAX, "%s/%s", dir, name);
    return size > 0 && size < (int)FOLDER_PATH_MAX;
}

static enum err fail(enum err e, char *reason, const char *dir,
                     const char *what)
{
    (void)snprintf(reason, FOLDER_REASON_SIZE, "%s: %s", dir, what);
    return e;
}

/* -1: it cannot be read. */
static int count_entries(const char *dir)
{
    DIR *d = opendir(dir);
    if (d == NULL)
        return -1;
    int count = 0;
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            count++;
    (void)closedir(d);
    return count;
}

enum err folder_make(const char *dir, char *reason)
{
    char keys[FOLDER_PATH_MAX];
    if (!folder_path(dir, "keys", keys))
        return fail(ERR_BAD_REQUEST, reason, dir, "the path is too long");
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return fail(ERR_IO, reason, dir, strerror(errno));
    int entries = count_entries(dir);
    if (entries < 0)
        return fail(ERR_IO, reason, dir, strerror(errno));
    if (entries > 0)
        return fail(ERR_CONFLICT, reason, dir,
                    "there is something in this folder already; choose "
                    "another with --data, or empty it if you are sure");
    if (chmod(dir, 0700) != 0 || mkdir(keys, 0700) != 0)
        return fail(ERR_IO, reason, dir, strerror(errno));
    return ERR_OK;
}

void folder_unmake(const char *dir)
{
    static const char *const files[] = {"keys/node.key", "keys/admin.key",
                                        "keys/join.key", "eddy.conf"};
    char path[FOLDER_PATH_MAX];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (folder_path(dir, files[i], path))
            (void)unlink(path);
    if (folder_path(dir, "keys", path))
        (void)rmdir(path);
}

static void read_why(const char *path, char *why, size_t size)
{
    why[0] = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t got = read(fd, why, size - 1);
    why[got < 0 ? 0 : got] = 0;
    why[strcspn(why, "\n")] = 0;
    (void)close(fd);
}

enum err folder_check(const char *dir, char *reason)
{
    char path[FOLDER_PATH_MAX];
    struct stat st;
    if (!folder_path(dir, "BAD", path))
        return fail(ERR_BAD_REQUEST, reason, dir, "the path is too long");
    if (stat(dir, &st) != 0 && errno == ENOENT)
        return fail(ERR_NOT_FOUND, reason, dir,
                    "there is no such folder; make one with `eddyd init` (a "
                    "new cluster) or `eddyd join`");
    if (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode))
        return fail(ERR_IO, reason, dir, "not a folder that can be used");
    if ((st.st_mode & 077) != 0)
        return fail(ERR_UNSAFE, reason, dir,
                    "others may enter this folder; chmod 700 it");
    if (stat(path, &st) == 0) {
        char why[256];
        read_why(path, why, sizeof why);
        (void)snprintf(reason, FOLDER_REASON_SIZE,
                       "%s: this folder is damaged (%s); keep it if you must, "
                       "and bring the node back as a new one: `eddyd join` "
                       "with another folder",
                       dir, why);
        return ERR_DAMAGED;
    }
    if (!folder_path(dir, "data.mdb", path) || stat(path, &st) != 0)
        return fail(ERR_NOT_FOUND, reason, dir,
                    count_entries(dir) == 0
                        ? "the folder is empty (is its disk mounted?); make "
                          "one with `eddyd init` or `eddyd join`"
                        : "this is no data folder of eddyd");
    return ERR_OK;
}

enum err folder_lock(const char *dir, int *fd, char *reason)
{
    char path[FOLDER_PATH_MAX];
    if (!folder_path(dir, "node.lock", path))
        return fail(ERR_BAD_REQUEST, reason, dir, "the path is too long");
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*fd < 0)
        return fail(ERR_IO, reason, path, strerror(errno));
    if (flock(*fd, LOCK_EX | LOCK_NB) == 0)
        return ERR_OK;
    (void)close(*fd);
    *fd = -1;
    return fail(ERR_IN_USE, reason, dir,
                "another eddyd runs with this folder; stop it first");
}

void folder_mark_bad(const char *dir, const char *why)
{
    int at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (at < 0)
        return;
    int fd = openat(at, "BAD", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0) {
        ssize_t wrote = write(fd, why, strlen(why));
        wrote = write(fd, "\n", 1);
        (void)wrote;
        (void)fsync(fd);
        (void)close(fd);
    }
    (void)fsync(at);
    (void)close(at);
}
