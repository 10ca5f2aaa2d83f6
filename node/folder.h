/* folder.h - a node's data folder on disk, apart from what LMDB keeps in it.
 *
 *   DIR/            0700
 *     data.mdb lock.mdb   the store (storage/; never opened by others)
 *     node.lock     flock: one process a folder
 *     eddy.conf     settings
 *     keys/         node.key, and after init admin.key and join.key, after
 *                   join join.key
 *     BAD           why this folder must never be started again
 */
#ifndef NODE_FOLDER_H
#define NODE_FOLDER_H

#include "ring/base.h"

#define FOLDER_PATH_MAX    4096u
#define FOLDER_REASON_SIZE 4608u

/* DIR/name; false: too long. */
bool folder_path(const char *dir, const char *name, char out[FOLDER_PATH_MAX]);

/* Makes DIR (0700) and DIR/keys. CONFLICT: there is something in DIR. IO. */
NODISCARD enum err folder_make(const char *dir, char *reason);

/* Takes back what was put into a folder that folder_make has just made, but for
 * the store (which takes back its own); DIR stays. */
void folder_unmake(const char *dir);

/* Before serving: DIR is a folder, ours alone (0700), with a store in it, and
 * not BAD. NOT_FOUND: missing or empty; UNSAFE; DAMAGED: it is BAD; IO. */
NODISCARD enum err folder_check(const char *dir, char *reason);

/* Keeps every other process out until the descriptor is closed. IN_USE. */
NODISCARD enum err folder_lock(const char *dir, int *fd, char *reason);

/* For good: the node comes back as a new one (S24). Async-signal-safe. */
void folder_mark_bad(const char *dir, const char *why);

#endif
