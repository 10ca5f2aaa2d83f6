/* admission.c - see admission.h: the client core with sockets, one operation
 * at a time. */
#include "node/admission.h"

#include <stdio.h>
#include <time.h>

#include "net/client.h"
#include "net/links.h"
#include "node/found.h"

#define FETCH_TIMEOUT_MS 10000u
#define JOIN_TIMEOUT_MS  60000u

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

/* ---- contacts ---------------------------------------------------------- */

static enum err take_contact(struct keys *key, const struct keys *old,
                             struct span address, char *reason)
{
    if (!record_is_address(address) || key->contact_count == KEY_CONTACTS_MAX) {
        (void)snprintf(reason, FOUND_REASON_SIZE,
                       "--to is up to %u addresses HOST:PORT, "
                       "comma-separated",
                       KEY_CONTACTS_MAX);
        return ERR_BAD_REQUEST;
    }
    struct key_contact *c = &key->contacts[key->contact_count++];
    *c = old->contacts[0];
    for (uint32_t i = 0; i < old->contact_count; i++)
        if (span_equal(span_str(old->contacts[i].address), address))
            *c = old->contacts[i];
    memcpy(c->address, address.data, address.size);
    c->address[address.size] = 0;
    return ERR_OK;
}

enum err admission_contacts(struct keys *key, const char *to, char *reason)
{
    struct keys old = *key;
    if (to[0] == 0 && key->contact_count > 0)
        return ERR_OK;
    key->contact_count = 0;
    enum err e = ERR_OK;
    do {
        size_t size = strcspn(to, ",");
        e = take_contact(key, &old, span_of(to, size), reason);
        to += size + (to[size] == ',');
    } while (e == ERR_OK && *to != 0);
    keys_wipe(&old);
    return e;
}

/* ---- one operation ----------------------------------------------------- */

struct session {
    struct client *client;
    struct links *links;
    bool is_done;
    struct client_result result; /* its spans are not kept */
};

static void do_effects(struct session *s)
{
    struct client_effect e;
    while (client_pop(s->client, &e)) {
        switch (e.kind) {
        case CLIENT_DO_SEND:
            (void)links_send(s->links, e.link, e.message);
            break;
        case CLIENT_DO_LINK:
            (void)links_set(s->links, e.link, e.address, e.server_key);
            break;
        case CLIENT_DO_DONE:
            s->is_done = true;
            s->result = e.result;
            break;
        case CLIENT_DO_APPENDED:
        case CLIENT_DO_RELEASE:
            break;
        }
    }
}

static void hear(struct session *s)
{
    uint32_t link;
    struct blob *blob;
    bool is_up;
    links_watch(s->links);
    while (!s->is_done && links_recv(s->links, &link, &blob)) {
        client_recv(s->client, link, blob_span(blob), 0, now_ms());
        do_effects(s);
        blob_unref(blob);
    }
    while (!s->is_done && links_news(s->links, &link, &is_up)) {
        if (is_up)
            client_link_up(s->client, link, now_ms());
        else
            client_link_lost(s->client, link, now_ms());
    }
}

static void run(struct session *s)
{
    while (!s->is_done) {
        uint64_t now = now_ms();
        uint64_t at = client_deadline(s->client);
        int wait = at <= now ? 0 : (int)min_u64(at - now, 1000);
        links_wait(s->links, wait, NULL, 0, NULL);
        hear(s);
        if (s->is_done)
            return;
        client_tick(s->client, now_ms());
        do_effects(s);
    }
}

static enum err open_session(struct session *s, const struct keys *key,
                             bool is_insecure, char *reason)
{
    struct links_cfg links = {.is_insecure = is_insecure, .is_watched = true};
    memcpy(links.public_key, key->public_key, KEY_BYTES);
    memcpy(links.secret_key, key->secret_key, KEY_BYTES);
    struct client_contact contacts[KEY_CONTACTS_MAX];
    for (uint32_t i = 0; i < key->contact_count; i++) {
        memcpy(contacts[i].address, key->contacts[i].address,
               sizeof contacts[i].address);
        memcpy(contacts[i].server_key, key->contacts[i].public_key, KEY_BYTES);
    }
    struct client_cfg cfg = {
        .cluster = key->cluster,
        .contacts = contacts,
        .contact_count = key->contact_count,
        .timeout_ms = FETCH_TIMEOUT_MS,
        .attempt_ms = 2000,
        .backoff_min_ms = 20,
        .backoff_max_ms = 1000,
        .stream_hash = keys_stream_hash,
    };
    keys_random(&cfg.seed, sizeof cfg.seed);
    enum err e = links_open(&links, &s->links, reason);
    if (e == ERR_OK)
        s->client = client_new(&cfg, now_ms());
    return e;
}

static enum err ask(struct session *s, const struct client_request *r,
                    char *reason)
{
    s->is_done = false;
    enum err e = client_submit(s->client, r, now_ms());
    if (e != ERR_OK) {
        (void)snprintf(reason, FOUND_REASON_SIZE, "cannot ask the ring: %s",
                       err_text(e));
        return e;
    }
    do_effects(s);
    run(s);
    if (s->result.err == ERR_UNAVAILABLE && client_record(s->client) == NULL)
        (void)snprintf(reason, FOUND_REASON_SIZE,
                       "no node answered: is eddyd running at those addresses "
                       "(--to), and is the key the join.key of that cluster "
                       "(--key)?");
    else if (s->result.err != ERR_OK)
        (void)snprintf(reason, FOUND_REASON_SIZE,
                       "the ring did not answer as hoped (%s: %s)%s%s",
                       err_name(s->result.err), err_text(s->result.err),
                       s->result.text[0] == 0 ? "" : ": ", s->result.text);
    return s->result.err;
}

static void close_session(struct session *s)
{
    if (s->client != NULL) {
        client_close(s->client);
        do_effects(s);
        client_free(s->client);
    }
    links_close(s->links);
}

/* ---- what is asked ----------------------------------------------------- */

static void take_record(struct session *s, struct record **out)
{
    record_free(*out);
    *out = record_copy(client_record(s->client));
}

enum err admission_fetch(const struct keys *key, bool is_insecure,
                         struct record **out, char *reason)
{
    struct session s = {0};
    struct client_request r = {.op = CLIENT_RECORD,
                               .timeout_ms = FETCH_TIMEOUT_MS};
    enum err e = open_session(&s, key, is_insecure, reason);
    if (e == ERR_OK)
        e = ask(&s, &r, reason);
    if (e == ERR_OK)
        take_record(&s, out);
    close_session(&s);
    return e;
}

enum err admission_check(const struct record *r, const struct node_config *c,
                         char *reason)
{
    struct span name = span_str(c->name.text);
    if (r->level > LEVEL_NOW) {
        (void)snprintf(reason, FOUND_REASON_SIZE,
                       "this eddyd is too old for the ring: upgrade it");
        return ERR_INCOMPATIBLE;
    }
    if (name.size > 0 && record_slot_by_name(r, name) != SLOT_NONE) {
        (void)snprintf(reason, FOUND_REASON_SIZE,
                       "a member is named '%s' already; choose another --name "
                       "(a node whose folder was lost comes back as a new "
                       "one)",
                       c->name.text);
        return ERR_CONFLICT;
    }
    return ERR_OK;
}

enum err admission_join(const struct keys *key, bool is_insecure,
                        const struct member *member, struct record **out,
                        char *reason)
{
    struct session s = {0};
    struct client_request join = {
        .op = CLIENT_JOIN, .timeout_ms = JOIN_TIMEOUT_MS, .member = *member};
    struct client_request record = {.op = CLIENT_RECORD,
                                    .timeout_ms = FETCH_TIMEOUT_MS};
    uint64_t until = now_ms() + JOIN_TIMEOUT_MS;
    enum err e = open_session(&s, key, is_insecure, reason);
    if (e == ERR_OK)
        e = ask(&s, &join, reason);
    bool is_member = false;
    /* Another node may answer, one that has not heard of it yet. */
    while (e == ERR_OK && !is_member && now_ms() < until) {
        e = ask(&s, &record, reason);
        is_member = e == ERR_OK && record_slot(client_record(s.client),
                                               member->node) != SLOT_NONE;
        if (e == ERR_OK && !is_member)
            links_wait(s.links, 100, NULL, 0, NULL);
    }
    if (e == ERR_OK && !is_member) {
        (void)snprintf(reason, FOUND_REASON_SIZE,
                       "the ring has let this node in, but no member knows of "
                       "it yet; run again");
        e = ERR_TIMEOUT;
    }
    if (e == ERR_OK)
        take_record(&s, out);
    close_session(&s);
    return e;
}
