/* config.c - see config.h. */
#include "node/config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct field {
    const char *key;
    const char *value; /* the default */
    const char *help;
    size_t offset;
};

static const struct field fields[] = {
#define X(field, key, def, help)                                               \
    {key, def, help, offsetof(struct node_config, field)},
    CONFIG_LIST(X)
#undef X
};
#define FIELDS (sizeof fields / sizeof *fields)

const char *config_source_name(enum config_source s)
{
    switch (s) {
    case CONFIG_DEFAULT:
        return "default";
    case CONFIG_FILE:
        return "file";
    case CONFIG_ENVIRONMENT:
        return "environment";
    case CONFIG_FLAG:
        return "flag";
    }
    return "?";
}

static struct config_value *value_at(struct node_config *c, size_t i)
{
    return (struct config_value *)(void *)((char *)c + fields[i].offset);
}

static size_t find(const char *key, size_t length)
{
    for (size_t i = 0; i < FIELDS; i++)
        if (strlen(fields[i].key) == length &&
            memcmp(fields[i].key, key, length) == 0)
            return i;
    return FIELDS;
}

static bool set(struct node_config *c, size_t i, const char *text,
                enum config_source source)
{
    struct config_value *v = value_at(c, i);
    size_t size = strlen(text);
    if (size >= CONFIG_VALUE_MAX)
        return false;
    memcpy(v->text, text, size + 1);
    v->source = source;
    return true;
}

/* EDDYD_PEER_LISTEN for peer-listen. */
static const char *from_environment(const char *key)
{
    char name[64] = "EDDYD_";
    size_t at = 6;
    for (; *key != 0 && at + 1 < sizeof name; key++)
        name[at++] = *key == '-' ? '_' : (char)toupper((unsigned char)*key);
    name[at] = 0;
    return getenv(name);
}

static bool is_allowed(const char *allowed, const char *key, size_t length)
{
    for (const char *at = allowed; *at != 0;) {
        size_t word = strcspn(at, " ");
        if (word == length && memcmp(at, key, length) == 0)
            return true;
        at += word;
        at += strspn(at, " ");
    }
    return false;
}

static enum err parse_flag(struct node_config *c, int argc, char **argv,
                           int *at, const char *allowed, char *reason)
{
    const char *arg = argv[*at];
    if (strncmp(arg, "--", 2) != 0) {
        (void)snprintf(reason, CONFIG_REASON_SIZE,
                       "'%s' is no option: options begin with -- (see --help)",
                       arg);
        return ERR_BAD_REQUEST;
    }
    size_t length = strcspn(arg + 2, "=");
    size_t i = find(arg + 2, length);
    if (i == FIELDS || !is_allowed(allowed, arg + 2, length)) {
        (void)snprintf(reason, CONFIG_REASON_SIZE,
                       "'%s' is not an option of this command (see --help)",
                       arg);
        return ERR_BAD_REQUEST;
    }
    const char *value = arg + 2 + length;
    if (*value == '=') {
        value++;
    } else if (strcmp(fields[i].key, "insecure") == 0) {
        value = "yes";
    } else if (*at + 1 < argc) {
        value = argv[++*at];
    } else {
        (void)snprintf(reason, CONFIG_REASON_SIZE, "%s needs a value (%s)", arg,
                       fields[i].help);
        return ERR_BAD_REQUEST;
    }
    if (!set(c, i, value, CONFIG_FLAG)) {
        (void)snprintf(reason, CONFIG_REASON_SIZE,
                       "the value of --%s is too long", fields[i].key);
        return ERR_BAD_REQUEST;
    }
    return ERR_OK;
}

enum err config_parse(struct node_config *c, int argc, char **argv,
                      const char *allowed, char *reason)
{
    for (size_t i = 0; i < FIELDS; i++) {
        (void)set(c, i, fields[i].value, CONFIG_DEFAULT);
        const char *value = from_environment(fields[i].key);
        if (value != NULL && !set(c, i, value, CONFIG_ENVIRONMENT)) {
            (void)snprintf(reason, CONFIG_REASON_SIZE,
                           "the environment's value for %s is too long",
                           fields[i].key);
            return ERR_BAD_REQUEST;
        }
    }
    for (int at = 0; at < argc; at++) {
        enum err e = parse_flag(c, argc, argv, &at, allowed, reason);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

/* ---- the file ---------------------------------------------------------- */

static char *trim(char *s)
{
    while (isspace((unsigned char)*s))
        s++;
    char *end = s + strlen(s);
    while (end > s && isspace((unsigned char)end[-1]))
        end--;
    *end = 0;
    return s;
}

static bool parse_line(struct node_config *c, char *line)
{
    char *text = trim(line);
    if (*text == 0 || *text == '#')
        return true;
    char *equals = strchr(text, '=');
    if (equals == NULL)
        return false;
    *equals = 0;
    char *key = trim(text);
    char *value = trim(equals + 1);
    size_t i = find(key, strlen(key));
    if (i == FIELDS)
        return false;
    if (value_at(c, i)->source > CONFIG_FILE)
        return true; /* a flag or the environment goes first */
    return set(c, i, value, CONFIG_FILE);
}

enum err config_read(struct node_config *c, const char *path, char *reason)
{
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        (void)snprintf(reason, CONFIG_REASON_SIZE, "%s: %s", path,
                       strerror(errno));
        return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    }
    char line[2 * CONFIG_VALUE_MAX];
    unsigned number = 0;
    enum err e = ERR_OK;
    while (e == ERR_OK && fgets(line, sizeof line, f) != NULL) {
        number++;
        if (!parse_line(c, line)) {
            (void)snprintf(reason, CONFIG_REASON_SIZE,
                           "%s, line %u: not `key = value` with a key that "
                           "`eddyd config` lists",
                           path, number);
            e = ERR_BAD_REQUEST;
        }
    }
    if (e == ERR_OK && ferror(f)) {
        (void)snprintf(reason, CONFIG_REASON_SIZE, "%s: %s", path,
                       strerror(errno));
        e = ERR_IO;
    }
    (void)fclose(f);
    return e;
}

enum err config_write(const struct node_config *c, const char *path,
                      char *reason)
{
    static const char *const kept[] = {
        "listen", "peer-listen", "advertise", "name",       "zone",
        "weight", "insecure",    "log-level", "log-format", "map-size"};
    struct buf text = {0};
    buf_printf(&text, "# eddyd's settings; `eddyd config --data DIR` shows "
                      "what is in force.\n");
    for (size_t k = 0; k < sizeof kept / sizeof *kept; k++) {
        size_t i = find(kept[k], strlen(kept[k]));
        const struct config_value *v =
            value_at((struct node_config *)(uintptr_t)c, i);
        buf_printf(&text, "%s%s = %s\n", v->text[0] == 0 ? "# " : "", kept[k],
                   v->text);
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool is_written = fd >= 0 &&
                      write(fd, text.data, text.size) == (ssize_t)text.size &&
                      fsync(fd) == 0;
    int error = errno;
    if (fd >= 0)
        (void)close(fd);
    buf_free(&text);
    if (is_written)
        return ERR_OK;
    (void)snprintf(reason, CONFIG_REASON_SIZE, "%s: %s", path, strerror(error));
    return error == EEXIST ? ERR_CONFLICT : ERR_IO;
}

void config_print(const struct node_config *c, bool is_json, struct buf *out)
{
    if (is_json)
        buf_printf(out, "{\"schema\":1,\"settings\":{");
    for (size_t i = 0; i < FIELDS; i++) {
        const struct config_value *v =
            value_at((struct node_config *)(uintptr_t)c, i);
        const char *from = config_source_name(v->source);
        if (!is_json) {
            buf_printf(out, "%-12s %-24s %s\n", fields[i].key,
                       v->text[0] == 0 ? "-" : v->text, from);
            continue;
        }
        buf_printf(out, "%s\"%s\":{\"value\":\"", i == 0 ? "" : ",",
                   fields[i].key);
        for (const char *s = v->text; *s != 0; s++) {
            if (*s == '"' || *s == '\\')
                buf_printf(out, "\\%c", *s);
            else if ((unsigned char)*s < 32)
                buf_printf(out, "\\u%04x", (unsigned)(unsigned char)*s);
            else
                buf_printf(out, "%c", *s);
        }
        buf_printf(out, "\",\"from\":\"%s\"}", from);
    }
    if (is_json)
        buf_printf(out, "}}\n");
}

/* ---- values ------------------------------------------------------------ */

bool config_number(const char *text, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    if (*text == 0)
        return false;
    for (; *text != 0; text++) {
        if (!isdigit((unsigned char)*text))
            return false;
        uint64_t digit = (uint64_t)(*text - '0');
        if (v > (max - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *out = v;
    return v <= max;
}

/* A number with one letter of `units`, whose factors stand in `factors`. */
static bool scaled(const char *text, const char *units, const uint64_t *factors,
                   uint64_t *out)
{
    char digits[24];
    size_t length = strlen(text);
    if (length == 0 || length >= sizeof digits)
        return false;
    memcpy(digits, text, length + 1);
    uint64_t factor = factors[0];
    const char *unit = strchr(units, digits[length - 1]);
    if (unit != NULL && !isdigit((unsigned char)digits[length - 1])) {
        factor = factors[1 + (size_t)(unit - units)];
        digits[length - 1] = 0;
    }
    if (!config_number(digits, UINT64_MAX / factor, out))
        return false;
    *out *= factor;
    return true;
}

bool config_size(const char *text, uint64_t *bytes)
{
    static const uint64_t factors[] = {1, 1ull << 10, 1ull << 20, 1ull << 30,
                                       1ull << 40};
    return scaled(text, "KMGT", factors, bytes);
}

bool config_time(const char *text, uint64_t *ms)
{
    static const uint64_t factors[] = {1000, 1000, 60000, 3600000};
    return scaled(text, "smh", factors, ms);
}

static const char *port_of(const char *address)
{
    const char *colon = strrchr(address, ':');
    return colon == NULL ? NULL : colon + 1;
}

bool config_peer_listen(const struct node_config *c, char out[ADDRESS_MAX + 1])
{
    if (c->peer_listen.text[0] != 0) {
        int size = snprintf(out, ADDRESS_MAX + 1, "%s", c->peer_listen.text);
        return size <= (int)ADDRESS_MAX && port_of(out) != NULL;
    }
    uint64_t port;
    const char *digits = port_of(c->listen.text);
    if (digits == NULL || !config_number(digits, 65534, &port))
        return false;
    int host = (int)(digits - c->listen.text);
    int size = snprintf(out, ADDRESS_MAX + 1, "%.*s%llu", host, c->listen.text,
                        (unsigned long long)port + 1);
    return size <= (int)ADDRESS_MAX;
}

bool config_is_everywhere(const char *address)
{
    return strncmp(address, "0.0.0.0:", 8) == 0 ||
           strncmp(address, "[::]:", 5) == 0;
}

bool config_advertised(const struct node_config *c, const char *listen,
                       char out[ADDRESS_MAX + 1])
{
    const char *port = port_of(listen);
    if (port == NULL)
        return false;
    int size =
        c->advertise.text[0] == 0
            ? snprintf(out, ADDRESS_MAX + 1, "%s", listen)
            : snprintf(out, ADDRESS_MAX + 1, "%s:%s", c->advertise.text, port);
    return size <= (int)ADDRESS_MAX;
}
