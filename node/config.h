/* config.h - eddyd's settings: flag > environment (EDDYD_...) > eddy.conf >
 * default, and where each value came from.
 *
 * eddy.conf in the data folder: lines `key = value`, `#` begins a comment. It
 * is written by init and join and may be edited by hand. */
#ifndef NODE_CONFIG_H
#define NODE_CONFIG_H

#include "ring/base.h"
#include "ring/limits.h"

#define CONFIG_REASON_SIZE 512u
#define CONFIG_VALUE_MAX   512u

/* X(field, key, default, help) */
#define CONFIG_LIST(X)                                                         \
    X(data, "data", "./eddy-data", "the node's folder")                        \
    X(listen, "listen", "127.0.0.1:7460", "client port: HOST:PORT")            \
    X(peer_listen, "peer-listen", "", "peer port; default: client port + 1")   \
    X(advertise, "advertise", "", "host that others reach this node at")       \
    X(log_level, "log-level", "info", "error, warn, info or debug")            \
    X(log_format, "log-format", "text", "text or json")                        \
    X(log_keep, "log-keep", "65536", "entries of a group's log that are kept") \
    X(map_size, "map-size", "1T", "address space of the store, fixed")         \
    X(name, "name", "", "the node's name; default: 8 digits of its id")        \
    X(zone, "zone", "", "failure zone; without one the node is its own")       \
    X(weight, "weight", "100", "share of the partitions, against others'")     \
    X(replication, "replication", "3", "copies of each partition (init)")      \
    X(partitions, "partitions", "256", "16 to 1024, a power of two (init)")    \
    X(out_after, "out-after", "15m", "dead for so long: replaced (init)")      \
    X(to, "to", "", "client addresses of members, comma-separated (join)")     \
    X(key, "key", "", "the join.key (join)")                                   \
    X(config, "config", "", "another eddy.conf (run)")                         \
    X(insecure, "insecure", "no", "yes: no keys at all (init, join)")

enum config_source {
    CONFIG_DEFAULT,
    CONFIG_FILE,
    CONFIG_ENVIRONMENT,
    CONFIG_FLAG,
};
const char *config_source_name(enum config_source s);

struct config_value {
    char text[CONFIG_VALUE_MAX];
    enum config_source source;
};

struct node_config {
#define X(field, key, def, help) struct config_value field;
    CONFIG_LIST(X)
#undef X
};

/* Defaults, then the environment, then argv (flags only: `--key value` or
 * `--key=value`, `--insecure` alone; `allowed` lists their keys, separated by
 * spaces). BAD_REQUEST with a reason. */
NODISCARD enum err config_parse(struct node_config *c, int argc, char **argv,
                                const char *allowed, char *reason);
/* Values of a file fill what neither flag nor environment has set. NOT_FOUND,
 * BAD_REQUEST (the line), IO. */
NODISCARD enum err config_read(struct node_config *c, const char *path,
                               char *reason);
/* Writes the settings that `run` needs. CONFLICT: there is one. IO. */
NODISCARD enum err config_write(const struct node_config *c, const char *path,
                                char *reason);
/* Each key, value and where it came from, as text or as JSON. */
void config_print(const struct node_config *c, bool is_json, struct buf *out);

/* 256K, 4M, 1T: binary. 5s, 15m, 2h: in ms. False: neither. */
bool config_size(const char *text, uint64_t *bytes);
bool config_time(const char *text, uint64_t *ms);
bool config_number(const char *text, uint64_t max, uint64_t *out);

/* The peer port's address: as set, or the client port's + 1; and what others
 * are told, with `advertise` for the host. False: not HOST:PORT. */
bool config_peer_listen(const struct node_config *c, char out[ADDRESS_MAX + 1]);
bool config_advertised(const struct node_config *c, const char *listen,
                       char out[ADDRESS_MAX + 1]);
/* An address to listen on that leads nowhere: what is advertised must not be
 * one. */
bool config_is_everywhere(const char *address);
#define CONFIG_NO_ADDRESS                                                      \
    "who listens on all addresses must say which of them others reach it at: " \
    "--advertise HOST"

#endif
