/* loop.h - the event loop: drives one struct node with real sockets, threads,
 * clocks and a folder, until it is told to stop. */
#ifndef NODE_LOOP_H
#define NODE_LOOP_H

#include "net/keys.h"
#include "node/node.h"
#include "storage/store.h"

#define LOOP_TEXT_SIZE 8192u

enum loop_format { LOOP_TEXT, LOOP_JSON };

struct loop_cfg {
    const char *dir;
    struct store *store;
    struct store_folder folder; /* as loaded: the boot of the last start */
    struct keys *node_key;
    bool is_insecure;
    char client_listen[ADDRESS_MAX + 1];
    char peer_listen[ADDRESS_MAX + 1];
    /* what others are told */
    char client_address[ADDRESS_MAX + 1];
    char peer_address[ADDRESS_MAX + 1];
    uint32_t log_keep_entries;
    enum node_log_level log_level;
    enum loop_format log_format;
    /* SIGHUP: puts what may change meanwhile into *cfg and says so in `text`
     * (LOOP_TEXT_SIZE); on an error, why, and nothing has changed. */
    enum err (*reload)(void *context, struct loop_cfg *cfg, char *text);
    void *reload_context;
};

/* A line on stderr, as the settings say. */
void loop_log(const struct loop_cfg *cfg, enum node_log_level level,
              const char *text);

/* Payload handles are blobs: for store_lmdb_cfg.bytes. */
const uint8_t *loop_bytes(void *ctx, uint64_t handle);

/* Whether both ports can be opened: 0, or the exit code, and the log says why.
 * Who asks to be let in does so first, or the ring would have a member that
 * nobody reaches. */
int loop_try_ports(struct loop_cfg *cfg);
/* Returns the exit code of the process (CLI.md). */
int loop_run(struct loop_cfg *cfg);

#endif
