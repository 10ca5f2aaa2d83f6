/* found.c - see found.h. */
#include "node/found.h"

#include <stdio.h>
#include <time.h>

#include "node/folder.h"
#include "ring/rows.h"
#include "storage/store.h"

#define MAP_BYTES_MIN (16 * MIB)

static enum err bad(char *reason, const char *what, const char *value)
{
    (void)snprintf(reason, FOUND_REASON_SIZE,
                   "--%s %s: not in the range that "
                   "--help names",
                   what, value);
    return ERR_BAD_REQUEST;
}

static uint64_t wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

/* ---- the member -------------------------------------------------------- */

static void default_name(struct id128 node, char name[NODE_NAME_MAX + 1])
{
    char hex[33];
    id_format(node, hex);
    (void)snprintf(name, NODE_NAME_MAX + 1, "%.8s", hex);
}

enum err found_member(const struct node_config *c, struct id128 node,
                      const struct keys *node_key, struct member *out,
                      char *reason)
{
    uint64_t weight;
    char peer[ADDRESS_MAX + 1];
    *out = (struct member){
        .node = node,
        .level = LEVEL_NOW,
        .wanted = WANTED_IN,
        .seen = SEEN_JOINING,
    };
    if (node_key != NULL)
        memcpy(out->public_key, node_key->public_key, KEY_BYTES);
    if (!config_number(c->weight.text, 1000000, &weight) || weight == 0)
        return bad(reason, "weight", c->weight.text);
    out->weight = (uint32_t)weight;
    struct span name = span_str(c->name.text);
    struct span zone = span_str(c->zone.text);
    if (name.size > 0 && !record_is_name(name))
        return bad(reason, "name", c->name.text);
    if (zone.size > 0 && !record_is_name(zone))
        return bad(reason, "zone", c->zone.text);
    default_name(node, out->name);
    if (name.size > 0)
        memcpy(out->name, name.data, name.size + 1);
    memcpy(out->zone, zone.data, zone.size + 1);
    if (!config_advertised(c, c->listen.text, out->client_address) ||
        !record_is_address(span_str(out->client_address)))
        return bad(reason, "listen", c->listen.text);
    if (!config_peer_listen(c, peer) ||
        !config_advertised(c, peer, out->peer_address) ||
        !record_is_address(span_str(out->peer_address)))
        return bad(reason, "peer-listen", c->peer_listen.text);
    if (config_is_everywhere(out->client_address) ||
        config_is_everywhere(out->peer_address)) {
        (void)snprintf(reason, FOUND_REASON_SIZE, CONFIG_NO_ADDRESS);
        return ERR_BAD_REQUEST;
    }
    const char *fault = record_member_fault(out);
    if (fault != NULL) {
        (void)snprintf(reason, FOUND_REASON_SIZE, "%s", fault);
        return ERR_BAD_REQUEST;
    }
    return ERR_OK;
}

/* ---- keys -------------------------------------------------------------- */

static enum err write_key(const struct node_config *c, const char *name,
                          const struct keys *k, char *reason)
{
    char path[FOLDER_PATH_MAX];
    if (!folder_path(c->data.text, name, path))
        return bad(reason, "data", c->data.text);
    return keys_write(path, k, reason);
}

static void add_contact(struct keys *k, const struct member *m)
{
    struct key_contact *contact = &k->contacts[k->contact_count++];
    memcpy(contact->address, m->client_address, sizeof contact->address);
    memcpy(contact->public_key, m->public_key, KEY_BYTES);
}

static struct client_key client_key_of(const struct keys *k, uint32_t rights,
                                       const char *name)
{
    struct client_key key = {.rights = rights};
    memcpy(key.public_key, k->public_key, KEY_BYTES);
    memcpy(key.name, name, strlen(name) + 1);
    return key;
}

/* ---- a new cluster ----------------------------------------------------- */

static bool is_power_of_two(uint64_t n)
{
    return n != 0 && (n & (n - 1)) == 0;
}

static enum err fill_record(const struct node_config *c, struct record *r,
                            char *reason)
{
    uint64_t partitions, copies, out_after;
    if (!config_number(c->partitions.text, PARTITIONS_MAX, &partitions) ||
        partitions < PARTITIONS_MIN || !is_power_of_two(partitions))
        return bad(reason, "partitions", c->partitions.text);
    if (!config_number(c->replication.text, REPLICATION_MAX, &copies) ||
        copies == 0)
        return bad(reason, "replication", c->replication.text);
    if (!config_time(c->out_after.text, &out_after) ||
        out_after < OUT_AFTER_MIN_MS || out_after > OUT_AFTER_MAX_MS)
        return bad(reason, "out-after", c->out_after.text);
    r->partitions = (uint32_t)partitions;
    r->copies = (uint32_t)copies;
    r->acks = record_majority(r->copies);
    r->out_after_ms = (uint32_t)out_after;
    r->is_insecure = strcmp(c->insecure.text, "yes") == 0;
    return ERR_OK;
}

/* Everything that init decides, before anything is written. */
struct founding {
    struct keys node_key, admin_key, join_key;
    struct member founder;
    struct record *record;
};

static enum err decide(const struct node_config *c, struct founding *f,
                       struct founded *out, char *reason)
{
    keys_random(out->cluster.bytes, 16);
    keys_random(out->node.bytes, 16);
    struct generation generation = {.counter = 1};
    keys_random(&generation.random, sizeof generation.random);
    keys_generate(&f->node_key, out->cluster);
    keys_generate(&f->admin_key, out->cluster);
    keys_generate(&f->join_key, out->cluster);
    f->record = record_new();
    f->record->cluster = out->cluster;
    f->record->generation = generation;
    enum err e = fill_record(c, f->record, reason);
    if (e == ERR_OK)
        e = found_member(c, out->node, &f->node_key, &f->founder, reason);
    if (e != ERR_OK)
        return e;
    if (f->record->is_insecure)
        memset(f->founder.public_key, 0, KEY_BYTES);
    record_begin(f->record, &f->founder, wall_ms());
    struct client_key admin = client_key_of(
        &f->admin_key, RIGHT_ADMIN | RIGHT_READ | RIGHT_WRITE | RIGHT_JOIN,
        "admin");
    struct client_key join = client_key_of(&f->join_key, RIGHT_JOIN, "join");
    e = record_allow(f->record, &admin);
    if (e == ERR_OK)
        e = record_allow(f->record, &join);
    const char *fault = record_fault(f->record);
    if (fault != NULL) {
        (void)snprintf(reason, FOUND_REASON_SIZE, "%s", fault);
        return ERR_BAD_REQUEST;
    }
    add_contact(&f->admin_key, &f->founder);
    add_contact(&f->join_key, &f->founder);
    memcpy(out->name, f->founder.name, sizeof out->name);
    memcpy(out->client_address, f->founder.client_address,
           sizeof out->client_address);
    keys_format_public(f->founder.public_key, out->public_text);
    return e;
}

/* DIR and DIR/keys, once every setting is known to be sound. */
static enum err make_folder(const struct node_config *c, char *reason)
{
    uint64_t map_bytes;
    if (!config_size(c->map_size.text, &map_bytes) || map_bytes < MAP_BYTES_MIN)
        return bad(reason, "map-size", c->map_size.text);
    return folder_make(c->data.text, reason);
}

void found_store_reason(const struct node_config *c, enum err e, char *reason)
{
    if (e == ERR_TOO_LARGE)
        (void)snprintf(reason, FOUND_REASON_SIZE,
                       "cannot map %s of address space for %s: choose a "
                       "smaller --map-size (map-size in its eddy.conf), or "
                       "lift the limit (ulimit -v)",
                       c->map_size.text, c->data.text);
    else
        (void)snprintf(reason, FOUND_REASON_SIZE, "%s: %s", c->data.text,
                       err_text(e));
}

static enum err write_store(const struct node_config *c,
                            const struct store_founding *s, char *reason)
{
    struct store_lmdb_cfg cfg = {.path = c->data.text};
    bool is_size = config_size(c->map_size.text, &cfg.map_bytes);
    ASSERT(is_size); /* make_folder has seen it */
    enum err e = store_lmdb_found(&cfg, s);
    if (e == ERR_OK)
        return ERR_OK;
    found_store_reason(c, e, reason);
    return e == ERR_TOO_LARGE ? ERR_BAD_REQUEST : e;
}

static enum err write_cluster(const struct node_config *c,
                              const struct founding *f,
                              const struct founded *ids, char *reason)
{
    char conf[FOLDER_PATH_MAX];
    enum err e = write_key(c, "keys/node.key", &f->node_key, reason);
    if (e == ERR_OK)
        e = write_key(c, "keys/admin.key", &f->admin_key, reason);
    if (e == ERR_OK)
        e = write_key(c, "keys/join.key", &f->join_key, reason);
    if (e == ERR_OK && !folder_path(c->data.text, "eddy.conf", conf))
        e = bad(reason, "data", c->data.text);
    if (e == ERR_OK)
        e = config_write(c, conf, reason);
    if (e != ERR_OK)
        return e;
    struct buf bytes = {0};
    record_encode(f->record, &bytes);
    struct store_founding s = {
        .folder = {.cluster = ids->cluster,
                   .node = ids->node,
                   .partitions = f->record->partitions},
        .generation = f->record->generation,
        .stamp = {.epoch = f->record->epoch,
                  .level = f->record->level,
                  .time_ms = f->record->changed_ms},
        .record = span_buf(&bytes),
        .ring_row_key = span_str(RECORD_ROW_KEY),
        .ring_row_value = span_buf(&bytes),
        .ring_digest = row_digest(span_str(RECORD_ROW_KEY), span_buf(&bytes)),
    };
    e = write_store(c, &s, reason);
    buf_free(&bytes);
    return e;
}

enum err found_cluster(const struct node_config *c, struct founded *out,
                       char *reason)
{
    struct founding f = {0};
    *out = (struct founded){0};
    enum err e = decide(c, &f, out, reason);
    if (e == ERR_OK)
        e = make_folder(c, reason);
    if (e == ERR_OK) {
        e = write_cluster(c, &f, out, reason);
        if (e != ERR_OK)
            folder_unmake(c->data.text);
    }
    keys_wipe(&f.node_key);
    keys_wipe(&f.admin_key);
    keys_wipe(&f.join_key);
    record_free(f.record);
    return e;
}

/* ---- one more node ----------------------------------------------------- */

static enum err write_joiner(const struct node_config *c,
                             const struct keys *node_key,
                             const struct keys *join_key,
                             const struct founded *ids, char *reason)
{
    char conf[FOLDER_PATH_MAX];
    enum err e = write_key(c, "keys/node.key", node_key, reason);
    if (e == ERR_OK)
        e = write_key(c, "keys/join.key", join_key, reason);
    if (e == ERR_OK && !folder_path(c->data.text, "eddy.conf", conf))
        e = bad(reason, "data", c->data.text);
    if (e != ERR_OK)
        return e;
    /* What was asked for stays in force until the ring has it. */
    struct node_config kept = *c;
    memcpy(kept.name.text, ids->name, sizeof ids->name);
    e = config_write(&kept, conf, reason);
    if (e != ERR_OK)
        return e;
    struct store_founding s = {
        .folder = {.cluster = ids->cluster, .node = ids->node}};
    return write_store(c, &s, reason);
}

enum err found_joiner(const struct node_config *c, const struct keys *join_key,
                      struct founded *out, char *reason)
{
    struct keys node_key;
    struct member member;
    *out = (struct founded){.cluster = join_key->cluster};
    keys_random(out->node.bytes, 16);
    keys_generate(&node_key, out->cluster);
    enum err e = found_member(c, out->node, &node_key, &member, reason);
    memcpy(out->name, member.name, sizeof out->name);
    memcpy(out->client_address, member.client_address,
           sizeof out->client_address);
    keys_format_public(node_key.public_key, out->public_text);
    if (e == ERR_OK)
        e = make_folder(c, reason);
    if (e == ERR_OK) {
        e = write_joiner(c, &node_key, join_key, out, reason);
        if (e != ERR_OK)
            folder_unmake(c->data.text);
    }
    keys_wipe(&node_key);
    return e;
}
