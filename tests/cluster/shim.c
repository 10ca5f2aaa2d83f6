/* shim.c - a disk that fails on command, for eddyd under LD_PRELOAD.
 *
 *   SHIM_FAIL=FILE    while FILE is there, fdatasync gives EIO
 *   SHIM_SPACE=FILE   while FILE is there, statvfs says that as many MiB are
 *                     free as FILE says
 *   SHIM_CLOCK=S      the wall clock is S seconds ahead
 *
 * The process under test must not notice the shim otherwise. */
#define _GNU_SOURCE /* RTLD_NEXT */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

/* The real one, which ours hides. A function pointer cannot be cast from
 * dlsym's result in ISO C. */
static void find_real(const char *name, void *function_pointer)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL)
        abort();
    memcpy(function_pointer, &found, sizeof found);
}

int fdatasync(int fd)
{
    int (*real)(int) = NULL;
    const char *file = getenv("SHIM_FAIL");
    if (file != NULL && access(file, F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    find_real("fdatasync", &real);
    return real(fd);
}

int statvfs(const char *restrict path, struct statvfs *restrict out)
{
    int (*real)(const char *restrict, struct statvfs *restrict) = NULL;
    find_real("statvfs", &real);
    int result = real(path, out);
    const char *file = getenv("SHIM_SPACE");
    FILE *f = result == 0 && file != NULL ? fopen(file, "r") : NULL;
    if (f == NULL)
        return result;
    unsigned long mebibytes;
    if (fscanf(f, "%lu", &mebibytes) == 1) {
        out->f_bavail = (mebibytes << 20) / out->f_frsize;
        out->f_bfree = out->f_bavail;
    }
    (void)fclose(f);
    return 0;
}

int clock_gettime(clockid_t id, struct timespec *out)
{
    int (*real)(clockid_t, struct timespec *) = NULL;
    const char *ahead = getenv("SHIM_CLOCK");
    find_real("clock_gettime", &real);
    int result = real(id, out);
    if (result == 0 && id == CLOCK_REALTIME && ahead != NULL)
        out->tv_sec += strtol(ahead, NULL, 10);
    return result;
}
