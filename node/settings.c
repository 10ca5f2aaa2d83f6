/* settings.c - see settings.h. */
#include "node/settings.h"

#include <stdio.h>
#include <unistd.h>

#include "net/keys.h"
#include "node/folder.h"
#include "node/found.h"

static_assert(LOOP_TEXT_SIZE >= FOUND_REASON_SIZE, "every reason fits");

/* ---- reading ----------------------------------------------------------- */

static enum err read_config(struct node_config *c, int argc, char **argv,
                            char *reason)
{
    char path[FOLDER_PATH_MAX];
    enum err e = config_parse(
        c, argc, argv,
        "data config log-level log-format listen peer-listen advertise "
        "log-keep",
        reason);
    if (e != ERR_OK)
        return e;
    if (c->config.text[0] != 0)
        return config_read(c, c->config.text, reason) == ERR_OK
                   ? ERR_OK
                   : ERR_BAD_REQUEST;
    if (!folder_path(c->data.text, "eddy.conf", path)) {
        (void)snprintf(reason, FOUND_REASON_SIZE, "--data is too long");
        return ERR_BAD_REQUEST;
    }
    e = config_read(c, path, reason);
    return e == ERR_NOT_FOUND ? ERR_OK : e;
}

enum err settings_read(struct settings *s, int argc, char **argv, char *reason)
{
    s->argc = argc;
    s->argv = argv;
    return read_config(&s->config, argc, argv, reason);
}

/* ---- checking ---------------------------------------------------------- */

static bool level_of(const char *text, enum node_log_level *out)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    static const enum node_log_level levels[] = {NODE_ERROR, NODE_WARN,
                                                 NODE_INFO, NODE_DEBUG};
    for (size_t i = 0; i < 4; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = levels[i];
            return true;
        }
    }
    return false;
}

static bool format_of(const char *text, enum loop_format *out)
{
    *out = strcmp(text, "json") == 0 ? LOOP_JSON : LOOP_TEXT;
    return *out == LOOP_JSON || strcmp(text, "text") == 0;
}

static bool is_keep_filled(const struct node_config *c, struct loop_cfg *l)
{
    uint64_t keep;
    if (!config_number(c->log_keep.text, UINT32_MAX, &keep) || keep == 0)
        return false;
    l->log_keep_entries = (uint32_t)keep;
    return true;
}

enum err settings_fill(const struct node_config *c, struct loop_cfg *l,
                       char *reason)
{
    l->dir = c->data.text;
    if (!level_of(c->log_level.text, &l->log_level) ||
        !format_of(c->log_format.text, &l->log_format)) {
        (void)snprintf(reason, FOUND_REASON_SIZE,
                       "log-level is error, warn, info or debug, not '%s'; "
                       "log-format is text or json, not '%s'",
                       c->log_level.text, c->log_format.text);
        return ERR_BAD_REQUEST;
    }
    if (!is_keep_filled(c, l)) {
        (void)snprintf(reason, FOUND_REASON_SIZE,
                       "log-keep is a number of entries, not '%s'",
                       c->log_keep.text);
        return ERR_BAD_REQUEST;
    }
    int size = snprintf(l->client_listen, sizeof l->client_listen, "%s",
                        c->listen.text);
    if (size > (int)ADDRESS_MAX ||
        !record_is_address(span_str(l->client_listen)) ||
        !config_peer_listen(c, l->peer_listen) ||
        !config_advertised(c, l->client_listen, l->client_address) ||
        !config_advertised(c, l->peer_listen, l->peer_address) ||
        !record_is_address(span_str(l->client_address)) ||
        !record_is_address(span_str(l->peer_address))) {
        (void)snprintf(reason, FOUND_REASON_SIZE,
                       "listen and peer-listen are HOST:PORT, advertise a "
                       "HOST");
        return ERR_BAD_REQUEST;
    }
    if (config_is_everywhere(l->client_address) ||
        config_is_everywhere(l->peer_address)) {
        (void)snprintf(reason, FOUND_REASON_SIZE, CONFIG_NO_ADDRESS);
        return ERR_BAD_REQUEST;
    }
    return ERR_OK;
}

/* ---- again ------------------------------------------------------------- */

/* The ring knows this node by its key; whoever may come in besides stands in
 * the record. So the files cannot bring anything new, but they can be bad, and
 * that is better known before the next start. */
static enum err check_keys(const struct loop_cfg *l, char *text)
{
    static const char *const names[] = {"keys/node.key", "keys/admin.key",
                                        "keys/join.key"};
    char path[FOLDER_PATH_MAX];
    enum err e = ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < sizeof names / sizeof *names; i++) {
        struct keys k;
        bool is_own = i == 0;
        if (!folder_path(l->dir, names[i], path) ||
            (!is_own && access(path, F_OK) != 0))
            continue;
        e = keys_read(path, l->folder.cluster, &k, text);
        bool is_other =
            e == ERR_OK && is_own &&
            memcmp(k.public_key, l->node_key->public_key, KEY_BYTES) != 0;
        keys_wipe(&k);
        if (is_other) {
            (void)snprintf(text, LOOP_TEXT_SIZE,
                           "%.512s is another key than the one that the ring "
                           "knows this node by: put that one back",
                           path);
            e = ERR_CONFLICT;
        }
    }
    return e;
}

static void tell_waiting(const struct node_config *now,
                         const struct node_config *next, char *text)
{
    const struct {
        const char *key;
        const struct config_value *now, *next;
        const char *what;
    } waiting[] = {
        {"listen", &now->listen, &next->listen, "a restart"},
        {"peer-listen", &now->peer_listen, &next->peer_listen, "a restart"},
        {"advertise", &now->advertise, &next->advertise, "a restart"},
        {"map-size", &now->map_size, &next->map_size, "a restart"},
        {"log-keep", &now->log_keep, &next->log_keep, "a restart"},
        {"zone", &now->zone, &next->zone, "eddy ring plan --zone"},
        {"weight", &now->weight, &next->weight, "eddy ring plan --weight"},
    };
    size_t at = (size_t)snprintf(text, LOOP_TEXT_SIZE,
                                 "settings and key files are read again: "
                                 "log-level %s, log-format %s",
                                 next->log_level.text, next->log_format.text);
    for (size_t i = 0; i < sizeof waiting / sizeof *waiting; i++)
        if (strcmp(waiting[i].now->text, waiting[i].next->text) != 0)
            at += (size_t)snprintf(text + at, LOOP_TEXT_SIZE - at,
                                   "; %s = %s needs %s", waiting[i].key,
                                   waiting[i].next->text, waiting[i].what);
}

enum err settings_reload(void *context, struct loop_cfg *l, char *text)
{
    struct settings *s = context;
    struct node_config next;
    struct loop_cfg checked = *l;
    enum err e = read_config(&next, s->argc, s->argv, text);
    if (e == ERR_OK)
        e = settings_fill(&next, &checked, text);
    if (e == ERR_OK)
        e = check_keys(l, text);
    if (e != ERR_OK)
        return e;
    l->log_level = checked.log_level;
    l->log_format = checked.log_format;
    tell_waiting(&s->config, &next, text);
    s->config.log_level = next.log_level;
    s->config.log_format = next.log_format;
    return ERR_OK;
}
