/* eddy_open.c - where a connection goes to: addresses of the program's, the
 * key file's contacts, and the members remembered from the last time.
 *
 * A node is reached only with its public key in hand (CURVE). Addresses that
 * the program names come without one: it is looked up among the contacts that
 * are known by address; for an unknown address each known key is tried.
 *
 * The contacts file holds no secrets:
 *
 *   eddy-contacts 1
 *   cluster 32 hex digits
 *   contact HOST:PORT Z85
 *
 * What it says is only where to look; who answers must have the key, and a
 * file of another cluster is not used. */
#include "net/eddy_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DEFAULT_NODE       "127.0.0.1:7460"
#define FILE_HEAD          "eddy-contacts 1"
#define FILE_LINE_SIZE     512
#define CONTACT_FIELDS_FMT "contact %255s %40s"

/* ---- the file ---------------------------------------------------------- */

/* A contact more, unless it is there or there are too many. */
static void contact_add(struct client_contact *known, size_t *count,
                        const char *address, const uint8_t key[KEY_BYTES])
{
    for (size_t i = 0; i < *count; i++)
        if (strcmp(known[i].address, address) == 0 &&
            memcmp(known[i].server_key, key, KEY_BYTES) == 0)
            return;
    if (*count == EDDY_CONTACTS_MAX || !record_is_address(span_str(address)))
        return;
    struct client_contact *c = &known[(*count)++];
    (void)snprintf(c->address, sizeof c->address, "%s", address);
    memcpy(c->server_key, key, KEY_BYTES);
}

/* Line by line; whatever makes no sense ends it. */
static void read_known(FILE *f, struct id128 cluster,
                       struct client_contact *known, size_t *count)
{
    char line[FILE_LINE_SIZE];
    char hex[33];
    struct id128 id;
    if (fgets(line, sizeof line, f) == NULL ||
        strcmp(line, FILE_HEAD "\n") != 0)
        return;
    if (fgets(line, sizeof line, f) == NULL ||
        sscanf(line, "cluster %32s", hex) != 1 ||
        !id_parse(span_str(hex), &id) || !id_equal(id, cluster))
        return;
    while (fgets(line, sizeof line, f) != NULL) {
        char address[ADDRESS_MAX + 1];
        char text[KEY_TEXT_SIZE];
        uint8_t key[KEY_BYTES];
        if (sscanf(line, CONTACT_FIELDS_FMT, address, text) != 2 ||
            !keys_parse_public(span_str(text), key))
            return;
        contact_add(known, count, address, key);
    }
}

static void write_known(FILE *f, const struct record *r)
{
    char text[KEY_TEXT_SIZE];
    char hex[33];
    id_format(r->cluster, hex);
    (void)fprintf(f, FILE_HEAD "\ncluster %s\n", hex);
    for (uint32_t i = 0; i < r->member_count; i++) {
        const struct member *m = &r->members[i];
        if (m->wanted == WANTED_LEFT)
            continue;
        keys_format_public(m->public_key, text);
        (void)fprintf(f, "contact %s %s\n", m->client_address, text);
    }
}

void eddy_open_remember(struct eddy *e)
{
    const struct record *r = client_record(e->client);
    if (e->contacts_file == NULL || r == NULL ||
        epoch_compare(r->epoch, e->contacts_epoch) == 0)
        return;
    e->contacts_epoch = r->epoch;
    size_t size = strlen(e->contacts_file) + 32;
    char *beside = mem_alloc(size);
    (void)snprintf(beside, size, "%s.%ld", e->contacts_file, (long)getpid());
    FILE *f = fopen(beside, "w");
    if (f != NULL) {
        write_known(f, r);
        bool is_written = ferror(f) == 0;
        is_written = fclose(f) == 0 && is_written;
        if (!is_written || rename(beside, e->contacts_file) != 0)
            (void)remove(beside);
    }
    mem_free(beside);
}

/* ---- where to go ------------------------------------------------------- */

/* A key of known's, once each: is this the first contact that has it? */
static bool is_first_with_key(const struct client_contact *known, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (memcmp(known[k].server_key, known[i].server_key, KEY_BYTES) == 0)
            return false;
    return true;
}

static void resolve(const char *address, const struct client_contact *known,
                    size_t known_count, struct client_contact *out,
                    size_t *count)
{
    size_t before = *count;
    for (size_t i = 0; i < known_count; i++)
        if (strcmp(known[i].address, address) == 0)
            contact_add(out, count, address, known[i].server_key);
    bool is_known = *count > before;
    for (size_t i = 0; !is_known && i < known_count; i++)
        if (is_first_with_key(known, i))
            contact_add(out, count, address, known[i].server_key);
}

static enum err read_keys(const struct eddy_options *o, struct keys *keys,
                          struct client_contact *known, size_t *known_count,
                          char *reason)
{
    *keys = (struct keys){0};
    char why[KEYS_REASON_SIZE] = "";
    if (o->key_file != NULL) {
        enum err err = keys_read(o->key_file, (struct id128){{0}}, keys, why);
        if (err != ERR_OK) {
            (void)snprintf(reason, EDDY_REASON_SIZE, "%s", why);
            return err;
        }
    }
    for (uint32_t i = 0; i < keys->contact_count; i++)
        contact_add(known, known_count, keys->contacts[i].address,
                    keys->contacts[i].public_key);
    FILE *f = NULL;
    if (o->contacts_file != NULL && o->key_file != NULL)
        f = fopen(o->contacts_file, "r");
    if (f != NULL) {
        read_known(f, keys->cluster, known, known_count);
        (void)fclose(f);
    }
    return ERR_OK;
}

enum err eddy_open_contacts(const struct eddy_options *o, struct keys *keys,
                            struct client_contact *out, size_t *count,
                            char *reason)
{
    struct client_contact *known = mem_alloc(EDDY_CONTACTS_MAX * sizeof *known);
    static const uint8_t no_key[KEY_BYTES];
    size_t known_count = 0;
    *count = 0;
    enum err err = read_keys(o, keys, known, &known_count, reason);
    for (size_t i = 0; err == ERR_OK && i < o->node_count; i++) {
        if (!record_is_address(span_str(o->nodes[i]))) {
            (void)snprintf(reason, EDDY_REASON_SIZE,
                           "'%.200s' is no address of a node: HOST:PORT",
                           o->nodes[i]);
            err = ERR_BAD_REQUEST;
        } else if (o->key_file == NULL) {
            contact_add(out, count, o->nodes[i], no_key);
        } else {
            resolve(o->nodes[i], known, known_count, out, count);
        }
    }
    for (size_t i = 0; o->node_count == 0 && i < known_count; i++)
        contact_add(out, count, known[i].address,
                    o->key_file == NULL ? no_key : known[i].server_key);
    if (err == ERR_OK && *count == 0 && o->key_file == NULL)
        contact_add(out, count, DEFAULT_NODE, no_key);
    if (err == ERR_OK && *count == 0) {
        (void)snprintf(reason, EDDY_REASON_SIZE,
                       "%.400s names no contact: add a line "
                       "'contact HOST:PORT KEY' of a node, as in its "
                       "admin.key",
                       o->key_file);
        err = ERR_BAD_REQUEST;
    }
    mem_free(known);
    if (err != ERR_OK)
        keys_wipe(keys);
    return err;
}
