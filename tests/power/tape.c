/* tape.c - see tape.h. */
#include "tests/power/tape.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ring/base.h"

int tape_open(const char *path)
{
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

bool tape_mark(int fd, uint16_t node, uint64_t number, const void *bytes,
               size_t size)
{
    struct tape_head head = {TAPE_MAGIC, TAPE_MARK, node, number, size};
    struct iovec parts[] = {{&head, sizeof head}, {(void *)bytes, size}};
    return writev(fd, parts, 2) == (ssize_t)(sizeof head + size);
}

static bool read_all(struct tape *t, const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        return false;
    struct buf bytes = {0};
    size_t got;
    do {
        got = fread(buf_grow(&bytes, 1u << 20), 1, 1u << 20, f);
        bytes.size -= (1u << 20) - got;
    } while (got > 0);
    bool is_read = ferror(f) == 0;
    (void)fclose(f);
    t->bytes = bytes.data;
    t->size = bytes.size;
    return is_read;
}

static bool find_events(struct tape *t)
{
    size_t at = 0, capacity = 0;
    struct tape_head head;
    while (t->size - at >= sizeof head) {
        memcpy(&head, t->bytes + at, sizeof head);
        if (head.magic != TAPE_MAGIC || head.kind < TAPE_WRITE ||
            head.kind > TAPE_MARK)
            return false;
        at += sizeof head;
        if (head.size > t->size - at)
            return true;
        if (t->count == capacity) {
            capacity = capacity * 2 + 1024;
            t->events = mem_resize(t->events, capacity * sizeof *t->events);
        }
        t->events[t->count++] =
            (struct tape_event){(enum tape_kind)head.kind, head.node,
                                head.offset, head.size, t->bytes + at};
        at += (size_t)head.size;
    }
    return true;
}

bool tape_read(struct tape *t, const char *path, const char **why)
{
    *t = (struct tape){0};
    if (!read_all(t, path)) {
        *why = "there is no such tape";
    } else if (!find_events(t)) {
        *why = "this is no tape";
    } else {
        return true;
    }
    tape_free(t);
    return false;
}

void tape_free(struct tape *t)
{
    mem_free(t->events);
    mem_free(t->bytes);
    *t = (struct tape){0};
}
