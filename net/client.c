/* client.c - the client core's life, inputs, effects and turn; see client.h,
 * and client_impl.h for the other files. */
#include "net/client.h"

#include "net/client_impl.h"

/* ---- life -------------------------------------------------------------- */

struct client *client_new(const struct client_cfg *cfg, uint64_t now_ms)
{
    ASSERT(cfg->contact_count > 0 && cfg->attempt_ms > 0);
    ASSERT(cfg->backoff_min_ms > 0 &&
           cfg->backoff_min_ms <= cfg->backoff_max_ms);
    struct client *c = mem_alloc(sizeof *c);
    c->cfg = *cfg;
    c->cfg.contacts = NULL;
    c->cfg.contact_count = 0;
    c->now_ms = now_ms;
    rng_seed(&c->rng, cfg->seed);
    /* Answers to an earlier client of the same connection match nothing. */
    c->next_number = rng_next(&c->rng) >> 1;
    c->spread = (uint32_t)rng_below(&c->rng, REPLICATION_MAX);
    c->cluster = cfg->cluster;
    client_route_init(c, cfg);
    return c;
}

static void effects_free(struct client *c)
{
    for (size_t i = 0; i < c->effect_count; i++) {
        if (c->effects[i].kind != CLIENT_DO_SEND)
            continue;
        struct wire_out *o = (struct wire_out *)c->effects[i].message;
        wire_out_free(o);
        mem_free(o);
    }
    c->effect_count = 0;
    c->popped = 0;
}

static void calls_free(struct call *calls)
{
    while (calls != NULL) {
        struct call *next = calls->next;
        client_call_free(calls);
        calls = next;
    }
}

/* What was popped, and the operations whose results it was, may go now. */
void client_begin(struct client *c, uint64_t now_ms)
{
    c->now_ms = max_u64(c->now_ms, now_ms);
    c->is_settled = false;
    if (c->popped < c->effect_count)
        return;
    effects_free(c);
    calls_free(c->finished);
    c->finished = NULL;
}

void client_close(struct client *c)
{
    client_begin(c, c->now_ms);
    calls_free(c->calls);
    c->calls = NULL;
    c->calls_last = NULL;
    c->call_count = 0;
    for (uint32_t i = 0; i < c->line_count; i++)
        if (c->lines[i].is_used)
            client_close_producer(c, i + 1);
}

void client_free(struct client *c)
{
    if (c == NULL)
        return;
    effects_free(c);
    calls_free(c->calls);
    calls_free(c->finished);
    client_append_free(c);
    wire_commands_free(&c->commands);
    record_free(c->record);
    mem_free(c->leaders);
    mem_free(c->links);
    mem_free(c->effects);
    mem_free(c);
}

/* ---- effects ----------------------------------------------------------- */

struct client_effect *client_push(struct client *c,
                                  enum client_effect_kind kind)
{
    if (c->effect_count == c->effect_capacity) {
        c->effect_capacity =
            c->effect_capacity == 0 ? 64 : c->effect_capacity * 2;
        c->effects =
            mem_resize(c->effects, c->effect_capacity * sizeof *c->effects);
    }
    struct client_effect *e = &c->effects[c->effect_count++];
    *e = (struct client_effect){.kind = kind};
    return e;
}

struct wire_out *client_message(struct client *c, uint32_t link,
                                uint64_t number)
{
    ASSERT(link < c->link_count);
    struct wire_out *o = mem_alloc(sizeof *o);
    struct wire_header h = {
        .kind = WIRE_REQUEST,
        .cluster = id_is_zero(c->cluster) ? c->links[link].cluster : c->cluster,
        .to = c->links[link].node,
        .number = number,
    };
    if (c->record != NULL)
        h.epoch = c->record->epoch;
    wire_begin(o, &h);
    return o;
}

void client_send(struct client *c, uint32_t link, struct wire_out *o)
{
    wire_end(o);
    struct client_effect *e = client_push(c, CLIENT_DO_SEND);
    e->link = link;
    e->message = o;
}

uint32_t client_backoff(struct client *c, uint32_t failures)
{
    uint32_t wait = c->cfg.backoff_min_ms;
    for (uint32_t i = 0; i < failures && wait < c->cfg.backoff_max_ms; i++)
        wait *= 2;
    wait = (uint32_t)min_u64(wait, c->cfg.backoff_max_ms);
    return wait / 2 + (uint32_t)rng_below(&c->rng, wait / 2 + 1);
}

void client_say(char text[CLIENT_TEXT_SIZE], struct span said)
{
    size_t size = min_u64(said.size, CLIENT_TEXT_SIZE - 1);
    for (size_t i = 0; i < size; i++) {
        bool is_plain = said.data[i] >= ' ' && said.data[i] != 127;
        text[i] = is_plain ? (char)said.data[i] : '?';
    }
    text[size] = 0;
}

bool client_is_transient(enum err err)
{
    return err == ERR_MOVED || err == ERR_NOT_HERE || err == ERR_BUSY ||
           err == ERR_UNAVAILABLE || err == ERR_NO_SPACE ||
           err == ERR_OUT_OF_ORDER || err == ERR_CORRUPT || err == ERR_TIMEOUT;
}

/* ---- inputs ------------------------------------------------------------ */

static bool request_makes_sense(const struct client_request *r)
{
    bool has_stream = r->stream.index != 0 && r->partition < PARTITIONS_MAX;
    switch (r->op) {
    case CLIENT_CONNECT:
    case CLIENT_STATUS:
    case CLIENT_RECORD:
        return true;
    case CLIENT_CREATE:
    case CLIENT_OPEN:
        return r->name.size > 0 && r->name.size <= STREAM_NAME_MAX;
    case CLIENT_INFO:
        return has_stream;
    case CLIENT_PRODUCER:
        return has_stream && r->name.size > 0 &&
               r->name.size <= PRODUCER_NAME_MAX;
    case CLIENT_READ:
        return has_stream && r->from_seq < r->end_seq && r->bytes_max > 0 &&
               r->count_max > 0;
    case CLIENT_LIST:
        return r->name.size <= STREAM_NAME_MAX;
    case CLIENT_CHANGE:
        return !id_is_zero(r->change.proposal);
    case CLIENT_CHECK:
        return !id_is_zero(r->node) && r->group < GROUPS_MAX;
    case CLIENT_RECOVER:
        return !id_is_zero(r->node) && r->generation.counter > 0;
    case CLIENT_JOIN:
        return record_member_fault(&r->member) == NULL;
    }
    return false;
}

enum err client_submit(struct client *c, const struct client_request *r,
                       uint64_t now_ms)
{
    client_begin(c, now_ms);
    if (!request_makes_sense(r))
        return ERR_BAD_REQUEST;
    if (c->call_count == CLIENT_OPERATIONS_MAX)
        return ERR_BUSY;
    struct call *call = client_call_new(c, r);
    c->call_count++;
    if (r->op == CLIENT_RECORD) {
        client_route_want(c, UINT32_MAX);
        c->ask_ms = c->now_ms; /* who asks expressly need not wait */
    }
    ASSERT(call->deadline_ms >= c->now_ms);
    return ERR_OK;
}

void client_recv(struct client *c, uint32_t link, struct span message,
                 uint64_t handle, uint64_t now_ms)
{
    ASSERT(link < c->link_count);
    ASSERT(c->popped == c->effect_count);
    client_begin(c, now_ms);
    struct wire_in in;
    enum err err = wire_read(message, &in);
    if (err == ERR_INCOMPATIBLE) {
        client_route_refused(c, err, "the node speaks another version");
        return;
    }
    if (err != ERR_OK || in.header.kind != WIRE_RESPONSE ||
        wire_response_read(&in, &c->response) != ERR_OK)
        return; /* the attempt runs out */
    if (!client_route_heard(c, link, &in, &c->response))
        return;
    uint64_t number = in.header.number;
    if (!client_route_answered(c, link, number, &c->response) &&
        !client_call_answered(c, link, number, &in, handle))
        (void)client_append_answered(c, link, number);
}

void client_link_lost(struct client *c, uint32_t link, uint64_t now_ms)
{
    ASSERT(link < c->link_count);
    client_begin(c, now_ms);
    /* What was sent there since waits for it to come back. */
    if (!client_route_lost(c, link))
        return;
    client_call_lost(c, link);
    client_append_lost(c, link);
}

void client_link_up(struct client *c, uint32_t link, uint64_t now_ms)
{
    ASSERT(link < c->link_count);
    client_begin(c, now_ms);
    client_route_up(c, link);
}

void client_tick(struct client *c, uint64_t now_ms)
{
    ASSERT(c->popped == c->effect_count);
    client_begin(c, now_ms);
    c->is_ticked = true;
}

uint64_t client_deadline(const struct client *c)
{
    if (!c->is_settled)
        return c->now_ms;
    uint64_t at = client_route_deadline(c);
    at = min_u64(at, client_call_deadline(c));
    return min_u64(at, client_append_deadline(c));
}

bool client_pop(struct client *c, struct client_effect *out)
{
    if (c->popped == c->effect_count && !c->is_settled) {
        c->is_settled = true;
        client_route_turn(c);
        client_call_turn(c);
        client_append_turn(c);
        c->is_ticked = false;
    }
    if (c->popped == c->effect_count)
        return false;
    *out = c->effects[c->popped++];
    return true;
}

/* ---- questions --------------------------------------------------------- */

const struct record *client_record(const struct client *c)
{
    return c->record;
}

struct id128 client_first_node(const struct client *c)
{
    return c->first_node;
}

void client_check(const struct client *c)
{
    uint32_t whole = 0;
    for (const struct call *call = c->calls; call != NULL; call = call->next) {
        ASSERT(call->number == 0 || call->link < c->link_count);
        ASSERT(call->next == NULL || call->next->previous == call);
        whole += call->whole == NULL;
    }
    ASSERT(whole == c->call_count && whole <= CLIENT_OPERATIONS_MAX);
    ASSERT(c->popped <= c->effect_count);
    client_append_check(c);
}
