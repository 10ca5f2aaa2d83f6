/* loopback.h - free ports of 127.0.0.1, and those who come by them and do not
 * play by our rules.
 *
 * Ports lie below those that the system gives out by itself, lest a socket
 * that connects to a dead port finds itself (PITFALLS B5.34). */
#ifndef TESTS_UNIT_LOOPBACK_H
#define TESTS_UNIT_LOOPBACK_H

#include "ring/base.h"

/* What shall happen is waited for this long. */
#define LOOPBACK_LIMIT_MS 8000u

uint64_t loopback_now_ms(void);
/* Free a moment ago. Each call gives another, and so does each process that
 * runs by our side. */
uint32_t loopback_port(void);

/* A TCP connection that has said nothing yet. */
int loopback_connect(uint32_t port);
/* A ZeroMQ DEALER by hand, in the clear (ZMTP 3.0, RFC 23), past the
 * handshake; with a routing id of its own, unless `name` is empty. */
int loopback_rogue(uint32_t port, const char *name);
void loopback_rogue_frame(int fd, const char *text, bool has_more);
/* Waits for the other end to have had enough; false: it has not in time. */
bool loopback_is_cut(int fd);

#endif
