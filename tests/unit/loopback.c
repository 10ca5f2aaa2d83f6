/* loopback.c - see loopback.h. */
#include "tests/unit/loopback.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/cmocka_wrap.h"

#define PORT_FIRST 20000u
#define PORT_COUNT 12000u

/* ---- time and ports ---------------------------------------------------- */

uint64_t loopback_now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static struct sockaddr_in address_of(uint32_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    a.sin_port = htons((uint16_t)port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static bool port_is_free(uint32_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = address_of(port);
    bool ok = fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0;
    (void)close(fd);
    return ok;
}

/* Each call gives another, and so does each process that runs by our side. */
uint32_t loopback_port(void)
{
    static uint32_t next;
    if (next == 0)
        next = (uint32_t)getpid() * 37;
    for (uint32_t tried = 0; tried < PORT_COUNT; tried++) {
        uint32_t port = PORT_FIRST + next++ % PORT_COUNT;
        if (port_is_free(port))
            return port;
    }
    fail_msg("no free port");
    return 0;
}

/* ---- rogues ------------------------------------------------------------ */

int loopback_connect(uint32_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = address_of(port);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static void skip_raw(int fd, size_t size)
{
    uint8_t sink[256];
    assert_true(size <= sizeof sink);
    assert_int_equal(recv(fd, sink, size, MSG_WAITALL), (ssize_t)size);
}

/* A DEALER of somebody who does not play by our rules: ZMTP 3.0 by hand (RFC
 * 23), in the clear. With a routing id of its own, unless that is empty. */
int loopback_rogue(uint32_t port, const char *name)
{
    struct buf b = {0};
    static const uint8_t head[12] = {0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0};
    static const char ready[] = "\5READY\13Socket-Type\0\0\0\6DEALER"
                                "\10Identity\0\0\0";
    static const uint8_t zeros[48];
    uint8_t name_size = (uint8_t)strlen(name);
    uint8_t command[2] = {4, (uint8_t)(sizeof ready + name_size)};
    buf_append(&b, head, sizeof head);
    buf_append(&b, "NULL", 4);
    buf_append(&b, zeros, sizeof zeros);
    buf_append(&b, command, sizeof command);
    buf_append(&b, ready, sizeof ready - 1); /* its last byte ... */
    buf_append(&b, &name_size, 1);           /* ... is a length */
    buf_append(&b, name, name_size);
    int fd = loopback_connect(port);
    assert_int_equal(send(fd, b.data, b.size, MSG_NOSIGNAL), (ssize_t)b.size);
    buf_free(&b);
    /* The node's greeting and READY: before that, no message may be sent. */
    uint8_t answer[2];
    skip_raw(fd, 64);
    assert_int_equal(recv(fd, answer, 2, MSG_WAITALL), 2);
    skip_raw(fd, answer[1]);
    return fd;
}

void loopback_rogue_frame(int fd, const char *text, bool has_more)
{
    uint8_t frame[64] = {has_more, (uint8_t)strlen(text)};
    memcpy(frame + 2, text, strlen(text));
    size_t size = 2 + strlen(text);
    assert_int_equal(send(fd, frame, size, MSG_NOSIGNAL), (ssize_t)size);
}

/* The other end has had enough. */
bool loopback_is_cut(int fd)
{
    struct timeval limit = {LOOPBACK_LIMIT_MS / 1000, 0};
    uint8_t sink[256];
    ssize_t got = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    while (got > 0)
        got = recv(fd, sink, sizeof sink, 0);
    return got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}
