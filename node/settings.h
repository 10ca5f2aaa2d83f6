/* settings.h - what `eddyd run` is told to do: read at the start, checked, and
 * read again at SIGHUP.
 *
 * Live are the log's level and format. Addresses and the map's size are in
 * force from the next start on; what else eddy.conf has (name, zone, weight)
 * is what the node joined with: `eddy ring plan` changes it. */
#ifndef NODE_SETTINGS_H
#define NODE_SETTINGS_H

#include "node/config.h"
#include "node/loop.h"

struct settings {
    int argc; /* the words behind `run`: flags go before the file */
    char **argv;
    struct node_config config; /* in force */
};

/* Flags, environment, eddy.conf. BAD_REQUEST with a reason
 * (FOUND_REASON_SIZE). */
NODISCARD enum err settings_read(struct settings *s, int argc, char **argv,
                                 char *reason);
/* Checks them and puts the loop's share into *l. BAD_REQUEST. */
NODISCARD enum err settings_fill(const struct node_config *c,
                                 struct loop_cfg *l, char *reason);
/* For loop_cfg.reload; `context` is the struct settings. */
enum err settings_reload(void *context, struct loop_cfg *l, char *text);

#endif
