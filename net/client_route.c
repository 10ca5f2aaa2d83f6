/* client_route.c - which nodes there are, who leads what, and the ring record
 * that says so; a part of the client core (client.h).
 *
 * Contacts are asked HELLO (who are you?), then RECORD. Who was told no cluster
 * takes that of the first record, not of the first who says hello: that could
 * be a stranger at an old address, who has none for us. From then on the
 * record's rows say where a group is; who leads it is learned from MOVED.
 * The record is asked for again when a response's header bears a higher epoch,
 * when a leader is named that it does not know, and when a node is silent.
 *
 * A link that let a request run out, or that is lost, is *silent* for a while:
 * others are taken where there is a choice, so that a dead node costs one wait
 * at most, and not one for each group. Anything that comes from it ends that,
 * and so does its being connected again. */
#include "net/client_impl.h"

#include <stdio.h>

#define SILENT_MS 3000u
/* Contacts and members that are asked for the record in turn: this often. */
#define ASK_PART 4u

/* ---- links ------------------------------------------------------------- */

static uint32_t link_add(struct client *c, const char *address,
                         const uint8_t server_key[KEY_BYTES])
{
    if (c->link_count == c->link_capacity) {
        c->link_capacity = c->link_capacity == 0 ? 16 : c->link_capacity * 2;
        c->links = mem_resize(c->links, c->link_capacity * sizeof *c->links);
    }
    struct link *l = &c->links[c->link_count];
    *l = (struct link){
        .credit_bytes = CLIENT_CREDIT_BYTES,
        .credit_commands = CLIENT_CREDIT_COMMANDS,
    };
    (void)snprintf(l->address, sizeof l->address, "%s", address);
    memcpy(l->server_key, server_key, KEY_BYTES);
    return c->link_count++;
}

/* Links are made anew in memory as they grow, so the effect borrows from what
 * stays: the record's member, or (at the start) the contacts in place. */
static void link_tell(struct client *c, uint32_t link, const char *address,
                      const uint8_t *server_key)
{
    struct client_effect *e = client_push(c, CLIENT_DO_LINK);
    e->link = link;
    e->address = address;
    e->server_key = server_key;
}

void client_route_init(struct client *c, const struct client_cfg *cfg)
{
    for (size_t i = 0; i < cfg->contact_count; i++) {
        const struct client_contact *contact = &cfg->contacts[i];
        uint32_t link = link_add(c, contact->address, contact->server_key);
        c->links[link].is_contact = true;
    }
    for (uint32_t i = 0; i < c->link_count; i++)
        link_tell(c, i, c->links[i].address, c->links[i].server_key);
    c->wants_record = true;
    c->ask_link = UINT32_MAX;
    c->ask_ms = c->now_ms;
}

uint32_t client_route_node(const struct client *c, struct id128 node)
{
    for (uint32_t i = 0; i < c->link_count; i++)
        if (id_equal(c->links[i].node, node))
            return i;
    return UINT32_MAX;
}

static bool is_at(const struct link *l, const struct member *m)
{
    return strcmp(l->address, m->client_address) == 0 &&
           memcmp(l->server_key, m->public_key, KEY_BYTES) == 0;
}

/* The link of a member: its own, or a contact at its address. */
static uint32_t member_link(const struct client *c, const struct member *m)
{
    uint32_t contact = UINT32_MAX;
    for (uint32_t i = 0; i < c->link_count; i++) {
        const struct link *l = &c->links[i];
        if (id_equal(l->node, m->node) && (!l->is_contact || is_at(l, m)))
            return i;
        if (l->is_contact && is_at(l, m))
            contact = i;
    }
    return contact;
}

static void link_member(struct client *c, const struct member *m)
{
    uint32_t link = member_link(c, m);
    bool is_new = link == UINT32_MAX;
    if (is_new)
        link = link_add(c, m->client_address, m->public_key);
    struct link *l = &c->links[link];
    bool is_changed = !is_at(l, m);
    /* A contact reached elsewhere than the record says is asked for the
     * record only, so that one node has one link. */
    for (uint32_t i = 0; i < c->link_count; i++)
        if (i != link && id_equal(c->links[i].node, m->node))
            c->links[i].node = (struct id128){0};
    l->node = m->node;
    l->is_contact = false;
    l->hello_number = 0; /* a late answer to a contact does not overrule it */
    (void)snprintf(l->address, sizeof l->address, "%s", m->client_address);
    memcpy(l->server_key, m->public_key, KEY_BYTES);
    if (is_new || is_changed)
        link_tell(c, link, m->client_address, m->public_key);
}

/* ---- the record -------------------------------------------------------- */

static bool is_newer(const struct client *c, struct epoch epoch)
{
    return c->record == NULL || epoch_compare(epoch, c->record->epoch) > 0;
}

static void install_record(struct client *c, struct record *record)
{
    if (c->leaders == NULL)
        c->leaders = mem_alloc(record->row_count * sizeof *c->leaders);
    record_free(c->record);
    c->record = record;
    for (uint32_t i = 0; i < record->member_count; i++)
        if (record->members[i].wanted != WANTED_LEFT)
            link_member(c, &record->members[i]);
}

static void take_record(struct client *c, uint32_t link, struct span bytes)
{
    struct record *record;
    enum err err = record_decode(bytes, &record);
    if (err != ERR_OK) {
        client_route_refused(c, err, "the node's ring record is unreadable");
        return;
    }
    bool is_known = !id_is_zero(c->cluster);
    struct id128 cluster = is_known ? c->cluster : c->links[link].cluster;
    bool fits =
        id_equal(record->cluster, cluster) &&
        (c->record == NULL || record->partitions == c->record->partitions) &&
        is_newer(c, record->epoch);
    if (!fits) {
        record_free(record);
        return;
    }
    c->cluster = cluster;
    install_record(c, record);
}

void client_route_refused(struct client *c, enum err err, const char *text)
{
    c->refusal = err;
    client_say(c->refusal_text, span_str(text));
}

void client_route_want(struct client *c, uint32_t link)
{
    c->wants_record = true;
    if (link != UINT32_MAX)
        c->ask_link = link;
}

static void ask_hello(struct client *c, uint32_t link)
{
    struct link *l = &c->links[link];
    l->node = (struct id128){0};
    l->cluster = (struct id128){0};
    l->asked_ms = c->now_ms;
    l->hello_number = ++c->next_number;
    struct wire_out *o = client_message(c, link, l->hello_number);
    struct request r = {.op = OP_HELLO};
    wire_request_write(o, &r);
    client_send(c, link, o);
}

static void ask_record(struct client *c, uint32_t link)
{
    struct link *l = &c->links[link];
    l->asked_ms = c->now_ms;
    l->record_number = ++c->next_number;
    struct wire_out *o = client_message(c, link, l->record_number);
    struct request r = {.op = OP_RECORD};
    if (c->record != NULL)
        r.epoch = c->record->epoch;
    wire_request_write(o, &r);
    client_send(c, link, o);
}

/* It may still answer. Who is asked again before it could, answers what nobody
 * waits for any more, for ever. */
static bool is_asked(const struct client *c, const struct link *l)
{
    return (l->hello_number != 0 || l->record_number != 0) &&
           c->now_ms - l->asked_ms < c->cfg.attempt_ms;
}

/* The next to ask: who is said to have it, else all in turn, those that are
 * not silent first. UINT32_MAX: all are asked. */
static uint32_t next_to_ask(struct client *c)
{
    uint32_t link = c->ask_link;
    c->ask_link = UINT32_MAX;
    if (link != UINT32_MAX)
        return link;
    uint32_t silent = UINT32_MAX;
    for (uint32_t i = 0; i < c->link_count; i++) {
        link = c->ask_turn++ % c->link_count;
        if (is_asked(c, &c->links[link]))
            continue;
        if (c->now_ms >= c->links[link].silent_until_ms)
            return link;
        silent = link;
    }
    return silent;
}

static void ask(struct client *c, uint32_t link)
{
    const struct link *l = &c->links[link];
    /* A contact may have been given another node since: then it is silent to
     * what names the old one. */
    if (id_is_zero(l->node) || (l->is_contact && l->record_number != 0))
        ask_hello(c, link);
    else
        ask_record(c, link);
}

void client_route_turn(struct client *c)
{
    if (!c->wants_record || c->now_ms < c->ask_ms)
        return;
    uint32_t link = next_to_ask(c);
    if (link != UINT32_MAX)
        ask(c, link);
    uint32_t wait = c->cfg.attempt_ms / ASK_PART + 1;
    c->ask_ms = c->now_ms + wait + rng_below(&c->rng, wait / 4 + 1);
}

uint64_t client_route_deadline(const struct client *c)
{
    return c->wants_record ? max_u64(c->ask_ms, c->now_ms) : UINT64_MAX;
}

/* ---- answers ----------------------------------------------------------- */

bool client_route_heard(struct client *c, uint32_t link,
                        const struct wire_in *in, const struct response *r)
{
    struct link *l = &c->links[link];
    const struct wire_header *h = &in->header;
    if (!id_is_zero(c->cluster) && !id_equal(c->cluster, h->cluster)) {
        char text[CLIENT_TEXT_SIZE];
        (void)snprintf(text, sizeof text,
                       "the node at %.100s is of another cluster", l->address);
        client_route_refused(c, ERR_UNAVAILABLE, text);
        return false;
    }
    bool is_hello = l->hello_number != 0 && h->number == l->hello_number;
    bool is_its = id_equal(l->node, h->from) &&
                  (c->record != NULL || id_equal(l->cluster, h->cluster));
    if (!is_hello && !is_its)
        return false;
    l->silent_until_ms = 0;
    l->is_lost = false;
    if (r->credit_bytes > 0 && r->credit_commands > 0) {
        l->credit_bytes = r->credit_bytes;
        l->credit_commands = r->credit_commands;
    }
    if (c->record != NULL && is_newer(c, h->epoch))
        client_route_want(c, link);
    if (is_hello && r->op == OP_HELLO && r->err == ERR_OK &&
        id_equal(r->node, h->from)) {
        l->node = h->from;
        l->cluster = h->cluster;
    }
    return true;
}

static void hello_answered(struct client *c, uint32_t link,
                           const struct response *r)
{
    struct link *l = &c->links[link];
    l->hello_number = 0;
    l->record_number = 0;
    if (r->err != ERR_OK || id_is_zero(l->node)) {
        c->refusal = r->err != ERR_OK ? r->err : ERR_BAD_REQUEST;
        client_say(c->refusal_text, r->text);
    } else if (c->wants_record) {
        ask_record(c, link);
    }
}

static void record_answered(struct client *c, uint32_t link,
                            const struct response *r)
{
    c->links[link].record_number = 0;
    if (r->err != ERR_OK) {
        c->refusal = r->err;
        client_say(c->refusal_text, r->text);
        return;
    }
    struct id128 node = c->links[link].node;
    bool is_first = c->record == NULL;
    if (r->bytes.size > 0)
        take_record(c, link, r->bytes);
    if (c->record == NULL)
        return;
    if (is_first)
        c->first_node = node;
    c->record_answers++;
    c->refusal = ERR_OK;
    if (c->ask_link == UINT32_MAX)
        c->wants_record = false;
}

bool client_route_answered(struct client *c, uint32_t link, uint64_t number,
                           const struct response *r)
{
    const struct link *l = &c->links[link];
    if (number == l->hello_number && (r->op == OP_HELLO || r->op == OP_NONE)) {
        hello_answered(c, link, r);
        return true;
    }
    if (number == l->record_number &&
        (r->op == OP_RECORD || r->op == OP_NONE)) {
        record_answered(c, link, r);
        return true;
    }
    return false;
}

/* ---- where to go ------------------------------------------------------- */

static bool is_silent(const struct client *c, uint32_t link)
{
    return c->now_ms < c->links[link].silent_until_ms;
}

/* The `turn`-th of the group's row, leaving out the silent if others are. */
static uint32_t row_link(const struct client *c, uint32_t group, uint32_t turn)
{
    uint32_t count;
    const uint16_t *row = record_row(c->record, group, &count);
    uint32_t first = UINT32_MAX;
    for (uint32_t i = 0; i < count; i++) {
        uint16_t slot = row[(turn + i) % count];
        uint32_t link = client_route_node(c, c->record->members[slot].node);
        if (link == UINT32_MAX)
            continue;
        if (first == UINT32_MAX)
            first = link;
        if (!is_silent(c, link))
            return link;
    }
    return first;
}

/* The `turn`-th of the members that are not in it. */
static uint32_t other_link(const struct client *c, uint32_t group,
                           uint32_t turn)
{
    uint32_t count = c->record->member_count;
    for (uint32_t i = 0; i < count; i++) {
        uint16_t slot = (uint16_t)((turn + i) % count);
        uint32_t link = client_route_node(c, c->record->members[slot].node);
        if (record_rank(c->record, group, slot) == REPLICAS_MAX &&
            link != UINT32_MAX && !is_silent(c, link))
            return link;
    }
    return UINT32_MAX;
}

/* Who may lead a group: its row, or while it is on its way there, others. They
 * are asked in turn with the row once all of the row were: if a group's whole
 * row is new and cut off or dead, nobody there can say who leads. (Simulator,
 * seed 753 of c6db87e.) */
static uint32_t candidate_link(const struct client *c, uint32_t group,
                               uint32_t turn)
{
    uint32_t count;
    (void)record_row(c->record, group, &count);
    if (turn < count)
        return row_link(c, group, turn);
    uint32_t other = other_link(c, group, turn / 2);
    if (other == UINT32_MAX)
        return row_link(c, group, turn);
    return turn % 2 == 1 ? other : row_link(c, group, turn / 2);
}

uint32_t client_route_leader(struct client *c, uint32_t group, uint32_t turn)
{
    ASSERT(c->record != NULL && group < c->record->row_count);
    struct id128 leader = c->leaders[group];
    uint32_t link =
        id_is_zero(leader) ? UINT32_MAX : client_route_node(c, leader);
    if (link != UINT32_MAX && !is_silent(c, link))
        return link;
    return candidate_link(c, group, turn);
}

uint32_t client_route_replica(struct client *c, uint32_t group, uint32_t turn)
{
    ASSERT(c->record != NULL && group < c->record->row_count);
    return row_link(c, group, turn);
}

bool client_route_moved(struct client *c, uint32_t group, uint32_t link,
                        struct id128 hint)
{
    ASSERT(c->record != NULL && group < c->record->row_count);
    bool is_hint = !id_is_zero(hint) && !id_equal(hint, c->links[link].node);
    c->leaders[group] = is_hint ? hint : (struct id128){0};
    if (!is_hint)
        return false;
    uint32_t there = client_route_node(c, hint);
    if (there == UINT32_MAX) {
        client_route_want(c, link);
        return false;
    }
    return !is_silent(c, there);
}

bool client_route_lost(struct client *c, uint32_t link)
{
    struct link *l = &c->links[link];
    bool was_known = is_silent(c, link);
    l->silent_until_ms = c->now_ms + SILENT_MS;
    l->is_lost = true;
    l->asked_ms = 0;
    if (was_known)
        return false;
    if (l->hello_number != 0 || l->record_number != 0)
        c->ask_ms = c->now_ms; /* the next one, now */
    return true;
}

void client_route_up(struct client *c, uint32_t link)
{
    c->links[link].silent_until_ms = 0;
    c->links[link].is_lost = false;
}

void client_route_silent(struct client *c, uint32_t group, uint32_t link)
{
    struct link *l = &c->links[link];
    l->silent_until_ms = c->now_ms + SILENT_MS;
    if (c->record == NULL)
        return;
    if (group < c->record->row_count && id_equal(c->leaders[group], l->node))
        c->leaders[group] = (struct id128){0};
    client_route_want(c, UINT32_MAX);
}
