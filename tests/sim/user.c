/* user.c - see user.h. */
#include "tests/sim/user.h"

#include <stdio.h>

#include "net/keys.h"
#include "tests/sim/mesh.h"
#include "tests/sim/orders.h"
#include "tests/sim/strangers.h"

#define STREAMS_MAX 8u
#define LINKS_MAX   64u
#define FLIGHT_MAX  24u

enum wanted {
    WANT_CREATE = 1,
    WANT_PRODUCER,
    WANT_END,
    WANT_NAME,
    WANT_READ,
    WANT_LIST,
    WANT_JOIN,
    WANT_RECORD,
    WANT_CHANGE,
    WANT_APPEND,
    WANT_DRAIN,
};

/* One stream as this user uses it. */
struct use {
    char name[16];
    bool has_stream, has_producer;
    bool is_creating, is_opening, is_reading, is_asking;
    bool was_answered; /* by name: it is there */
    uint32_t partition;
    struct position stream;
    uint32_t producer;
    uint32_t flight;   /* appends without an answer */
    bool is_failed;    /* the producer: it is opened anew */
    bool is_list_due;  /* the list under way must name it */
    uint64_t read_seq; /* the next to read */
    uint64_t floor, read_floor;
    bool is_proof; /* an append for the end's sake is under way */
    bool has_proof;
};

struct sent {
    struct op *op; /* NULL: answered */
    uint32_t use;
};

struct user {
    struct world *w;
    uint32_t index;
    uint64_t life;
    struct client *c;
    struct buffers buffers;
    uint32_t hosts[LINKS_MAX]; /* by link */
    struct use uses[STREAMS_MAX];
    uint32_t use_count;
    struct sent *sent; /* by token */
    size_t sent_count, sent_capacity;
    uint32_t flight;
    bool is_listing;
    struct host *joining;
    bool is_join_said; /* by the ring's leader */
    bool is_join_asked;
    bool is_changing;
    bool is_proving;
    uint64_t deadline_ms; /* the client's, as of the last drain */
};

static void drain(struct user *u);

/* ---- life -------------------------------------------------------------- */

static void open_client(struct user *u)
{
    struct world *w = u->w;
    struct client_contact contacts[HOSTS_MAX] = {0};
    for (uint32_t i = 0; i < w->host_count; i++)
        (void)snprintf(contacts[i].address, sizeof contacts[i].address, "%s",
                       w->hosts[i]->client_address);
    struct client_cfg cfg = {
        .contacts = contacts,
        .contact_count = w->host_count,
        .seed = rng_next(&w->rng),
        .timeout_ms = 3000 + (uint32_t)world_draw(w, 12000),
        .attempt_ms = 300 + (uint32_t)world_draw(w, 1700),
        .backoff_min_ms = 20,
        .backoff_max_ms = 1000,
        .stream_hash = keys_stream_hash,
    };
    u->life++;
    u->c = client_new(&cfg, world_ms(w));
    drain(u);
}

struct user *user_new(struct world *w, uint32_t index)
{
    struct user *u = mem_alloc(sizeof *u);
    u->w = w;
    u->index = index;
    u->use_count = w->plan.streams;
    for (uint32_t i = 0; i < u->use_count; i++)
        (void)snprintf(u->uses[i].name, sizeof u->uses[i].name, "s%u", i);
    open_client(u);
    return u;
}

static void close_client(struct user *u)
{
    client_close(u->c);
    drain(u);
    if (u->buffers.live != 0)
        world_fail(u->w, SIM_OTHER,
                   "user %u: the client core keeps %u buffers after its close",
                   u->index, u->buffers.live);
    client_free(u->c);
    u->c = NULL;
    buffers_free(&u->buffers);
    for (size_t i = 0; i < u->sent_count; i++)
        if (u->sent[i].op != NULL)
            ops_unknown(u->w->ops, u->sent[i].op);
    u->sent_count = 0;
    u->flight = 0;
}

void user_free(struct user *u)
{
    close_client(u);
    mem_free(u->sent);
    mem_free(u);
}

void user_crash(struct user *u)
{
    world_trace(u->w, "user %u dies and comes back", u->index);
    close_client(u);
    for (uint32_t i = 0; i < u->use_count; i++) {
        struct use s = u->uses[i];
        u->uses[i] = (struct use){.has_stream = s.has_stream,
                                  .partition = s.partition,
                                  .stream = s.stream,
                                  .was_answered = s.was_answered,
                                  .read_seq = s.read_seq};
        memcpy(u->uses[i].name, s.name, sizeof s.name);
    }
    u->is_listing = u->is_join_asked = false;
    if (u->is_changing)
        orders_answered(u->w->orders, ERR_TIMEOUT);
    u->is_changing = false;
    fault_count(u->w, FAULT_USER_DIES);
    open_client(u);
}

/* ---- results ----------------------------------------------------------- */

static uint64_t token_of(enum wanted what, uint64_t which)
{
    return (uint64_t)what << 32 | which;
}

static const char *const what_words[] = {
    [WANT_CREATE] = "create", [WANT_PRODUCER] = "a producer's opening",
    [WANT_END] = "info",      [WANT_NAME] = "open",
    [WANT_READ] = "a read",   [WANT_LIST] = "a list",
    [WANT_JOIN] = "a join",   [WANT_RECORD] = "a record's fetching",
    [WANT_DRAIN] = "a drain",
};

static void check_passing(struct user *u, enum wanted what, enum err err,
                          const char *text)
{
    bool is_change =
        what == WANT_CREATE || what == WANT_PRODUCER || what == WANT_DRAIN;
    if (err != ERR_OK)
        ops_refused(u->w->ops, u->index, !is_change, err);
    if (err == ERR_OK || err == ERR_NO_SPACE || err == ERR_UNAVAILABLE ||
        err == ERR_TIMEOUT || err == ERR_BUSY || err == ERR_MOVED ||
        err == ERR_NOT_HERE)
        return;
    /* Of all replicas that it has reached in its time. In the end, all can be.
     */
    bool may_be_damaged = !u->w->is_healing || u->w->is_halted;
    if (what == WANT_READ && err == ERR_CORRUPT && may_be_damaged)
        return;
    world_fail(u->w, SIM_SAFETY, "user %u: %s is answered %s: %s", u->index,
               what_words[what], err_name(err), text);
}

static void stream_found(struct user *u, struct use *s,
                         const struct client_result *r)
{
    const struct twin_stream *t =
        twin_stream_named(u->w->twin, r->partition + 1, s->name);
    if (t == NULL || !position_equal(t->id, r->stream.id))
        world_fail(u->w, SIM_SAFETY, "user %u: stream %s is another", u->index,
                   s->name);
    s->has_stream = true;
    s->was_answered = true;
    s->partition = r->partition;
    s->stream = r->stream.id;
}

static void read_done(struct user *u, struct use *s,
                      const struct client_result *r)
{
    s->is_reading = false;
    check_passing(u, WANT_READ, r->err, r->text);
    if (r->err != ERR_OK)
        return;
    struct dec d = dec_of(r->read->segments);
    struct segment_head head, previous = {0};
    size_t at = 0;
    if (strangers_spoil(u->w, r->read, r->payload))
        return; /* as the library does: it is read again */
    while (wire_segment_next(&d, &previous, &head)) {
        MUST_HOLD(u->w, I22, head.seq == s->read_seq,
                  "user %u reads segment %llu of stream %s after %llu",
                  u->index, (unsigned long long)head.seq, s->name,
                  (unsigned long long)s->read_seq - 1);
        ops_served(u->w->ops, u->index, s->partition + 1, s->stream, &head,
                   span_of(r->payload.data + at, head.size));
        at += head.size;
        s->read_seq++;
    }
    ops_known(u->w->ops, u->index, s->partition + 1, s->stream,
              r->read->next_seq);
    if (r->read->is_leader)
        ops_end(u->w->ops, u->index, s->partition + 1, s->stream, s->read_floor,
                r->read->next_seq);
}

static void list_done(struct user *u, const struct client_result *r)
{
    u->is_listing = false;
    check_passing(u, WANT_LIST, r->err, r->text);
    if (r->err != ERR_OK)
        return;
    for (size_t i = 1; i < r->stream_count; i++)
        if (span_compare(r->streams[i - 1].name, r->streams[i].name) >= 0)
            world_fail(u->w, SIM_SAFETY, "user %u: a list is out of order",
                       u->index);
    for (uint32_t i = 0; i < u->use_count; i++) {
        bool is_there = !u->uses[i].is_list_due;
        for (size_t k = 0; k < r->stream_count; k++)
            is_there = is_there || span_equal(r->streams[k].name,
                                              span_str(u->uses[i].name));
        if (!is_there)
            world_fail(u->w, SIM_SAFETY, "user %u: stream %s is not listed",
                       u->index, u->uses[i].name);
    }
}

static void join_done(struct user *u, enum wanted what,
                      const struct client_result *r)
{
    u->is_join_asked = false;
    check_passing(u, what, r->err, r->text);
    if (r->err != ERR_OK || u->joining == NULL)
        return;
    if (what == WANT_JOIN)
        u->is_join_said = true;
    const struct record *record = client_record(u->c);
    if (!u->is_join_said || record == NULL ||
        record_slot(record, u->joining->id) == SLOT_NONE)
        return;
    struct buf bytes = {0};
    record_encode(record, &bytes);
    host_join(u->joining, span_buf(&bytes));
    buf_free(&bytes);
    u->w->totals.joins++;
    host_start(u->joining);
    u->joining = NULL;
}

/* Refused for safety, or since the ring has moved on, is fair. */
static void drain_done(struct user *u, const struct client_result *r)
{
    world_trace(u->w, "user %u: the drain is answered %s %s", u->index,
                err_name(r->err), r->text);
    if (r->err == ERR_CONFLICT || r->err == ERR_REFUSED ||
        r->err == ERR_NOT_FOUND)
        return;
    check_passing(u, WANT_DRAIN, r->err, r->text);
}

static void done(struct user *u, const struct client_result *r)
{
    enum wanted what = (enum wanted)(r->token >> 32);
    struct use *s = &u->uses[(uint32_t)r->token % STREAMS_MAX];
    switch (what) {
    case WANT_CREATE:
        s->is_creating = false;
        check_passing(u, what, r->err, r->text);
        if (r->err == ERR_OK)
            stream_found(u, s, r);
        return;
    case WANT_PRODUCER:
        s->is_opening = false;
        check_passing(u, what, r->err, r->text);
        s->has_producer = r->err == ERR_OK;
        s->producer = r->producer;
        return;
    case WANT_END:
    case WANT_NAME:
        s->is_asking = false;
        check_passing(u, what, r->err, r->text);
        if (r->err == ERR_OK)
            ops_end(u->w->ops, u->index, s->partition + 1, s->stream, s->floor,
                    r->stream.next_seq);
        return;
    case WANT_READ:
        read_done(u, s, r);
        return;
    case WANT_LIST:
        list_done(u, r);
        return;
    case WANT_JOIN:
    case WANT_RECORD:
        join_done(u, what, r);
        return;
    case WANT_CHANGE:
        u->is_changing = false;
        orders_answered(u->w->orders, r->err);
        return;
    case WANT_DRAIN:
        drain_done(u, r);
        return;
    case WANT_APPEND:
        break;
    }
    ASSERT(!"nothing else was asked");
}

static void appended(struct user *u, const struct client_effect *e)
{
    ASSERT((uint32_t)e->token < u->sent_count);
    struct sent *sent = &u->sent[(uint32_t)e->token];
    struct use *s = &u->uses[sent->use];
    ASSERT(sent->op != NULL);
    struct op *op = sent->op;
    sent->op = NULL;
    u->flight--;
    s->flight--;
    if (e->err == ERR_OK) {
        ops_acked(u->w->ops, op, e->seq, e->is_duplicate);
        s->has_proof = s->has_proof || s->is_proof;
    } else if (strcmp(err_done(e->err), "no") == 0) {
        ops_failed(u->w->ops, op, e->err);
    } else {
        ops_unknown(u->w->ops, op);
    }
    s->is_proof = false;
    u->w->totals.fenced += e->err == ERR_FENCED;
    s->is_failed = s->is_failed || e->err != ERR_OK;
}

static void send(struct user *u, const struct client_effect *e)
{
    const struct wire_out *m = e->message;
    size_t size = wire_out_size(m);
    uint8_t *data = mem_resize(NULL, size);
    memcpy(data, m->bytes.data, m->bytes.size);
    size_t at = m->bytes.size;
    for (uint32_t i = 0; i < m->slice_count; i++) {
        struct span bytes = buffers_span(&u->buffers, m->slices[i].handle);
        memcpy(data + at, bytes.data + m->slices[i].offset, m->slices[i].size);
        at += m->slices[i].size;
    }
    ASSERT(at == size);
    mesh_send(u->w, EVENT_REQUEST, mesh_user(u->index),
              mesh_host(u->hosts[e->link]), 0,
              mesh_connection(u->index, u->life, e->link), data, size);
}

static void drain(struct user *u)
{
    struct client_effect e;
    while (client_pop(u->c, &e)) {
        switch (e.kind) {
        case CLIENT_DO_SEND:
            send(u, &e);
            break;
        case CLIENT_DO_LINK: {
            const struct host *h = host_at(u->w, e.address);
            ASSERT(h != NULL && e.link < LINKS_MAX);
            u->hosts[e.link] = h->index;
            break;
        }
        case CLIENT_DO_DONE:
            done(u, &e.result);
            break;
        case CLIENT_DO_APPENDED:
            appended(u, &e);
            break;
        case CLIENT_DO_RELEASE:
            buffers_unref(&u->buffers, e.handle);
            break;
        }
    }
    u->deadline_ms = client_deadline(u->c);
}

/* ---- doing ------------------------------------------------------------- */

static bool submit(struct user *u, struct client_request r, enum wanted what,
                   uint64_t which)
{
    r.token = token_of(what, which);
    return client_submit(u->c, &r, world_ms(u->w)) == ERR_OK;
}

static void begin_append(struct user *u, uint32_t use, bool is_proof)
{
    struct world *w = u->w;
    struct use *s = &u->uses[use];
    uint8_t *bytes;
    uint32_t size = 16 + (uint32_t)world_draw(w, w->plan.bytes_max - 16);
    if (u->sent_count == u->sent_capacity) {
        u->sent_capacity = u->sent_capacity == 0 ? 64 : u->sent_capacity * 2;
        u->sent = mem_resize(u->sent, u->sent_capacity * sizeof *u->sent);
    }
    struct op *op =
        ops_begin(w->ops, u->index, s->partition + 1, s->stream, size, &bytes);
    uint64_t handle = buffers_add(&u->buffers, bytes, size);
    struct client_append a = {
        .producer = s->producer,
        .token = token_of(WANT_APPEND, u->sent_count),
        .bytes = {handle, 0, size},
        .algorithm = CHECKSUM_XXH3_128,
        .checksum = op->checksum,
        .expected_seq = SEQ_ANY,
    };
    if (!is_proof && fault_strikes(w, FAULT_EXPECT, 30))
        a.expected_seq = op->floor;
    enum err err = client_append(u->c, &a, world_ms(w));
    if (err != ERR_OK) {
        buffers_unref(&u->buffers, handle);
        ops_failed(w->ops, op, err);
        s->is_failed = s->is_failed || err != ERR_BUSY;
        return;
    }
    u->sent[u->sent_count++] = (struct sent){op, use};
    u->flight++;
    s->flight++;
    s->is_proof = is_proof;
}

static void begin_use(struct user *u, struct use *s, uint32_t at)
{
    struct client_request r = {0};
    if (s->is_failed && s->flight == 0) {
        client_close_producer(u->c, s->producer);
        s->is_failed = s->has_producer = false;
    }
    if (!s->has_stream && !s->is_creating) {
        r.op = CLIENT_CREATE;
        r.name = span_str(s->name);
        s->is_creating = submit(u, r, WANT_CREATE, at);
        return;
    }
    if (!s->has_stream || s->has_producer || s->is_opening)
        return;
    char name[32];
    /* Sometimes by a name that others use: they fence each other. */
    bool is_shared = fault_strikes(u->w, FAULT_SHARED_PRODUCER, 100);
    (void)snprintf(name, sizeof name, is_shared ? "all" : "c%u", u->index);
    r.op = CLIENT_PRODUCER;
    r.name = span_str(name);
    r.partition = s->partition;
    r.stream = s->stream;
    s->is_opening = submit(u, r, WANT_PRODUCER, at);
}

static void begin_read(struct user *u, struct use *s, uint32_t at)
{
    if (!s->has_stream || s->is_reading)
        return;
    struct client_request r = {
        .op = CLIENT_READ,
        .partition = s->partition,
        .stream = s->stream,
        .from_seq = s->read_seq,
        .end_seq = SEQ_ANY,
        .bytes_max = u->w->is_healing ? READ_BYTES_MAX : 64 * KIB,
        .count_max = u->w->is_healing ? 500 : 30,
        .any_replica = rng_chance(&u->w->rng, 500),
    };
    s->read_floor = ops_floor(u->w->ops, s->partition + 1, s->stream);
    s->is_reading = submit(u, r, WANT_READ, at);
}

static void begin_question(struct user *u, struct use *s, uint32_t at)
{
    struct client_request r = {
        .op = CLIENT_INFO, .partition = s->partition, .stream = s->stream};
    bool is_by_name = rng_chance(&u->w->rng, 300);
    if (!s->has_stream || s->is_asking)
        return;
    if (is_by_name)
        r = (struct client_request){.op = CLIENT_OPEN,
                                    .name = span_str(s->name)};
    s->floor = ops_floor(u->w->ops, s->partition + 1, s->stream);
    s->is_asking = submit(u, r, is_by_name ? WANT_NAME : WANT_END, at);
}

static void begin_list(struct user *u)
{
    if (u->is_listing)
        return;
    for (uint32_t i = 0; i < u->use_count; i++)
        u->uses[i].is_list_due = u->uses[i].was_answered;
    struct client_request r = {.op = CLIENT_LIST, .name = span_str("s")};
    u->is_listing = submit(u, r, WANT_LIST, 0);
}

static void act(struct user *u)
{
    struct world *w = u->w;
    uint32_t at = (uint32_t)world_draw(w, u->use_count - 1);
    struct use *s = &u->uses[at];
    uint64_t dice = world_draw(w, 999);
    if (dice < 3 && fault_may(w, FAULT_USER_DIES))
        user_crash(u);
    else if (dice < 8)
        begin_list(u);
    else if (!s->has_stream || !s->has_producer || s->is_failed)
        begin_use(u, s, at);
    else if (dice < 200)
        begin_read(u, s, at);
    else if (dice < 300)
        begin_question(u, s, at);
    else if (u->flight < FLIGHT_MAX)
        for (uint64_t i = world_draw(w, w->plan.batch_max); i > 0; i--)
            begin_append(u, at, false);
    if (u->flight > 0 && fault_strikes(w, FAULT_DIES_SENT, 4)) {
        drain(u);
        user_crash(u);
    } else if (fault_strikes(w, FAULT_RECONNECT, 10)) {
        /* As libzmq does it, unasked: answers to the old ones go nowhere. */
        u->life++;
    }
}

/* The end's work: an acknowledged append on each stream, and all of it read. */
static void prove(struct user *u)
{
    for (uint32_t i = 0; i < u->use_count; i++) {
        struct use *s = &u->uses[i];
        if (!s->has_stream || !s->has_producer || s->is_failed)
            begin_use(u, s, i);
        else if (!s->has_proof && !s->is_proof && u->is_proving)
            begin_append(u, i, true);
        else
            begin_read(u, s, i);
    }
}

void user_event(struct user *u, const struct event *e)
{
    struct world *w = u->w;
    if (e->kind == EVENT_USER) {
        if (!w->is_healing)
            act(u);
        else if (u->is_proving)
            prove(u);
        drain(u);
        world_at(w, world_draw(w, 2000 * (uint64_t)w->plan.pace_ms), EVENT_USER,
                 u->index, 0, 0, NULL);
        return;
    }
    size_t size;
    uint32_t from;
    uint64_t link;
    uint8_t *data =
        mesh_receive(w, e, mesh_user(u->index), &size, &from, &link);
    if (data == NULL)
        return;
    bool is_former = e->life != u->life;
    bool dies =
        !is_former && u->flight > 0 && fault_strikes(w, FAULT_DIES_UNREAD, 2);
    if (is_former || dies) {
        mem_free(data);
        if (dies)
            user_crash(u);
        return;
    }
    uint64_t handle = buffers_add(&u->buffers, data, size);
    client_recv(u->c, (uint32_t)link, span_of(data, size), handle, world_ms(w));
    drain(u);
    buffers_unref(&u->buffers, handle);
}

void user_wake(struct user *u)
{
    client_tick(u->c, world_ms(u->w));
    drain(u);
}

uint64_t user_next_us(const struct user *u)
{
    uint64_t ms = u->deadline_ms;
    return ms == UINT64_MAX ? ms : max_u64(ms * 1000, u->w->now_us);
}

/* ---- joining, proving -------------------------------------------------- */

void user_join(struct user *u, struct host *h)
{
    bool is_busy = u->joining != NULL && u->joining != h;
    if (h->is_member || u->is_join_asked || is_busy)
        return;
    if (u->joining == NULL)
        u->is_join_said = false;
    u->joining = h;
    struct client_request r = {.op = CLIENT_RECORD};
    if (!u->is_join_said) {
        r.op = CLIENT_JOIN;
        r.member = host_member(h);
    }
    u->is_join_asked =
        submit(u, r, u->is_join_said ? WANT_RECORD : WANT_JOIN, 0);
    drain(u);
}

bool user_change(struct user *u, const struct change *c, const struct host *h)
{
    const struct record *record = client_record(u->c);
    if (u->is_changing || record == NULL)
        return false;
    struct change change = *c;
    if (change_is_of_member(c->kind))
        change.slot = record_slot(record, h->id);
    if (change.slot == SLOT_NONE)
        return false;
    uint8_t bytes[CHANGE_BYTES_MAX];
    struct enc e = enc_of(bytes, sizeof bytes);
    change_write(&e, &change);
    uint64_t a = rng_next(&u->w->rng), b = rng_next(&u->w->rng);
    struct client_request r = {
        .op = CLIENT_CHANGE,
        .epoch = record->epoch,
        .change = {.act = ACT_NOW, .count = 1, .changes = enc_span(&e)},
    };
    memcpy(r.change.proposal.bytes, &a, 8);
    memcpy(r.change.proposal.bytes + 8, &b, 8);
    u->is_changing = submit(u, r, WANT_CHANGE, 0);
    drain(u);
    return u->is_changing;
}

const struct record *user_record(const struct user *u)
{
    return client_record(u->c);
}

void user_drain(struct user *u, const struct change *c)
{
    struct buf list = {0};
    wire_change_write(&list, c);
    struct client_request r = {
        .op = CLIENT_CHANGE,
        .epoch = user_record(u)->epoch,
        .change = {.act = ACT_NOW,
                   .is_forced = c->kind == CHANGE_REMOVE,
                   .count = 1,
                   .changes = span_buf(&list)},
    };
    uint64_t words[2] = {rng_next(&u->w->rng), rng_next(&u->w->rng) | 1};
    memcpy(r.change.proposal.bytes, words, sizeof words);
    (void)submit(u, r, WANT_DRAIN, 0);
    drain(u);
    buf_free(&list);
}

bool user_is_idle(const struct user *u)
{
    return u->flight == 0;
}

void user_prove(struct user *u, bool is_proving)
{
    u->is_proving = is_proving;
}

bool user_has_proved(const struct user *u)
{
    for (uint32_t i = 0; i < u->use_count; i++)
        if (!u->uses[i].has_proof)
            return false;
    return true;
}

bool user_has_read_all(struct user *u)
{
    for (uint32_t i = 0; i < u->use_count; i++) {
        const struct use *s = &u->uses[i];
        const struct twin_stream *t =
            s->has_stream ? twin_stream(u->w->twin, s->partition + 1, s->stream)
                          : NULL;
        if (t == NULL || s->read_seq < t->count)
            return false;
    }
    return true;
}
