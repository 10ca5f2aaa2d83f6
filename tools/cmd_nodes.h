/* cmd_nodes.h - eddyd processes of one's own, in a temporary folder, on free
 * ports of this machine: what the demo runs its ring on. They die with this
 * process. */
#ifndef TOOLS_CMD_NODES_H
#define TOOLS_CMD_NODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CMD_NODES_MAX 9u

struct cmd_node {
    pid_t pid; /* 0: not running */
    uint16_t client_port, peer_port;
    char name[16]; /* n1, n2, ... */
};

struct cmd_nodes {
    char folder[64];
    char program[4096];    /* eddyd */
    const char *out_after; /* of the ring; NULL: its default */
    uint32_t count;
    struct cmd_node nodes[CMD_NODES_MAX];
    char reason[512]; /* why the last call failed */
};

/* A folder, ports and the program; false: see reason. */
bool cmd_nodes_prepare(struct cmd_nodes *n, uint32_t count);
/* `eddyd init` or `eddyd join` for one of them. */
bool cmd_nodes_make(struct cmd_nodes *n, uint32_t i);
/* `eddyd run`, until it says that it is ready. */
bool cmd_nodes_start(struct cmd_nodes *n, uint32_t i);
void cmd_nodes_kill(struct cmd_nodes *n, uint32_t i); /* -9 */
/* SIGTERM to all; false: one of them did not exit with 0 within 15 s. */
bool cmd_nodes_stop(struct cmd_nodes *n);
/* Kills what runs; the folder goes too, unless it is to be looked at. */
void cmd_nodes_clean(struct cmd_nodes *n, bool keeps_folder);
/* For a signal handler. */
void cmd_nodes_kill_all(const struct cmd_nodes *n);

/* folder/nK/keys/admin.key of the first. */
void cmd_nodes_key(const struct cmd_nodes *n, char *path, size_t size);

#endif
