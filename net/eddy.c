/* eddy.c - the client library's connection: the client core (net/client.h)
 * with sockets and a clock, one thread, one wait at a time; see eddy.h. */
#include "net/eddy_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "net/check.h"
#include "ring/record.h"

/* Two election timeouts: an append that was with a leader when it died is
 * acknowledged by the next one within three (tests/cluster/failover.sh). */
#define ATTEMPT_MS     (2 * ELECTION_MS)
#define BACKOFF_MIN_MS 20u
/* An election takes a second at most: who waits for one asks often enough. */
#define BACKOFF_MAX_MS 200u
#define STEP_MS        1000u
#define AWAY_MS        1500u /* more than any wait of ours */

#define SAME(name) ((int)EDDY_##name == (int)ERR_##name)
static_assert(SAME(OK) && SAME(NOT_FOUND) && SAME(TRIMMED) && SAME(DELETED) &&
                  SAME(SEALED) && SAME(CONFLICT) && SAME(OUT_OF_ORDER) &&
                  SAME(EXPIRED) && SAME(FENCED) && SAME(TOO_LARGE) &&
                  SAME(NO_SPACE) && SAME(BUSY) && SAME(UNAVAILABLE) &&
                  SAME(TIMEOUT) && SAME(DENIED) && SAME(BAD_REQUEST) &&
                  SAME(CORRUPT) && SAME(INCOMPATIBLE) && SAME(FORGOTTEN) &&
                  SAME(REFUSED) && SAME(IO) && SAME(DAMAGED) && SAME(UNSAFE),
              "the installed header has the wire's numbers");
static_assert(EDDY_SEGMENT_MAX == SEGMENT_BYTES_MAX &&
                  EDDY_ATTRIBUTE_MAX == ATTRIBUTES_BYTES_MAX &&
                  EDDY_NAME_MAX == STREAM_NAME_MAX && EDDY_SEQ_ANY == SEQ_ANY,
              "the installed header has limits.h's limits");
static_assert(EDDY_REASON_SIZE >= KEYS_REASON_SIZE + 64 &&
                  EDDY_REASON_SIZE >= LINKS_REASON_SIZE,
              "every reason fits");

/* ---- errors ------------------------------------------------------------ */

const char *eddy_error_name(enum eddy_error e)
{
    return err_name((enum err)e);
}

const char *eddy_error_text(enum eddy_error e)
{
    return err_text((enum err)e);
}

const char *eddy_error_done(enum eddy_error e)
{
    return err_done((enum err)e);
}

const char *eddy_reason(const struct eddy *e)
{
    return e->reason;
}

enum eddy_error eddy_fail(struct eddy *e, enum err err, const char *text)
{
    (void)snprintf(e->reason, sizeof e->reason, "%s", text);
    return (enum eddy_error)err;
}

/* ---- what happens ------------------------------------------------------ */

/* While the program is elsewhere, or stopped, nobody hears the answers that
 * come; so that time is not held against them. */
uint64_t eddy_now(struct eddy *e)
{
    struct timespec t;
    int got = clock_gettime(CLOCK_MONOTONIC, &t);
    ASSERT(got == 0);
    uint64_t now = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
    e->clock_ms += min_u64(now - e->monotonic_ms, AWAY_MS);
    e->monotonic_ms = now;
    return e->clock_ms;
}

static void op_done(struct eddy *e, const struct client_result *r)
{
    struct op *op = (struct op *)(uintptr_t)r->token;
    ASSERT(!op->is_done);
    op->is_done = true;
    op->err = r->err;
    if (op->is_abandoned) {
        eddy_op_end(e, op);
        return;
    }
    memcpy(op->text, r->text, sizeof op->text);
    if (op->take != NULL)
        op->take(op->context, r);
}

static void do_effects(struct eddy *e)
{
    struct client_effect f;
    while (client_pop(e->client, &f)) {
        switch (f.kind) {
        case CLIENT_DO_SEND:
            /* A full queue is that of a node that was away: what waits in it
             * is of no use any more. */
            if (!links_send(e->links, f.link, f.message))
                links_reconnect(e->links, f.link);
            break;
        case CLIENT_DO_LINK:
            (void)links_set(e->links, f.link, f.address, f.server_key);
            break;
        case CLIENT_DO_DONE:
            op_done(e, &f.result);
            break;
        case CLIENT_DO_APPENDED:
            eddy_producer_answered(e, &f);
            break;
        case CLIENT_DO_RELEASE:
            blob_unref(blob_of(f.handle));
            break;
        }
    }
}

/* Times run out by the tick only, after all that has come was heard. */
void eddy_poll(struct eddy *e)
{
    uint32_t link;
    struct blob *blob;
    bool is_up;
    do_effects(e);
    links_watch(e->links);
    while (links_recv(e->links, &link, &blob)) {
        client_recv(e->client, link, blob_span(blob), blob_handle(blob),
                    eddy_now(e));
        do_effects(e);
        blob_unref(blob);
    }
    while (links_news(e->links, &link, &is_up)) {
        if (is_up)
            client_link_up(e->client, link, eddy_now(e));
        else
            client_link_lost(e->client, link, eddy_now(e));
    }
    client_tick(e->client, eddy_now(e));
    do_effects(e);
}

static void step_until(struct eddy *e, uint64_t end_ms)
{
    do_effects(e);
    uint64_t now = eddy_now(e);
    uint64_t at = min_u64(client_deadline(e->client), end_ms);
    uint64_t wait = at > now ? min_u64(at - now, STEP_MS) : 0;
    links_wait(e->links, (int)wait, NULL, 0, NULL);
    eddy_poll(e);
}

void eddy_step(struct eddy *e)
{
    step_until(e, UINT64_MAX);
}

/* ---- operations -------------------------------------------------------- */

struct op *eddy_op_begin(struct eddy *e, const struct client_request *r,
                         void (*take)(void *, const struct client_result *),
                         void *context, enum err *err)
{
    struct op *op = mem_alloc(sizeof *op);
    op->take = take;
    op->context = context;
    op->next = e->ops;
    if (e->ops != NULL)
        e->ops->previous = op;
    e->ops = op;
    struct client_request mine = *r;
    mine.token = (uint64_t)(uintptr_t)op;
    if (mine.timeout_ms == 0)
        mine.timeout_ms = e->timeout_ms;
    *err = client_submit(e->client, &mine, eddy_now(e));
    if (*err == ERR_OK)
        return op;
    op->is_done = true;
    eddy_op_end(e, op);
    return NULL;
}

void eddy_op_end(struct eddy *e, struct op *op)
{
    if (op == NULL)
        return;
    if (!op->is_done) {
        op->is_abandoned = true;
        return;
    }
    if (op->previous != NULL)
        op->previous->next = op->next;
    else
        e->ops = op->next;
    if (op->next != NULL)
        op->next->previous = op->previous;
    mem_free(op);
}

enum eddy_error eddy_do(struct eddy *e, const struct client_request *r,
                        void (*take)(void *, const struct client_result *),
                        void *context)
{
    enum err err;
    struct op *op = eddy_op_begin(e, r, take, context, &err);
    if (op == NULL)
        return eddy_fail(e, err, err_text(err));
    while (!op->is_done)
        eddy_step(e);
    enum eddy_error result = eddy_fail(e, op->err, op->text);
    eddy_op_end(e, op);
    return result;
}

/* ---- life -------------------------------------------------------------- */

static enum err start(struct eddy *e, const struct keys *keys,
                      const struct client_contact *contacts, size_t count,
                      bool is_insecure)
{
    struct links_cfg links = {.is_insecure = is_insecure, .is_watched = true};
    memcpy(links.public_key, keys->public_key, KEY_BYTES);
    memcpy(links.secret_key, keys->secret_key, KEY_BYTES);
    char why[LINKS_REASON_SIZE] = "";
    enum err err = links_open(&links, &e->links, why);
    if (err != ERR_OK) {
        (void)eddy_fail(e, err, why);
        return err;
    }
    struct client_cfg cfg = {
        .cluster = keys->cluster,
        .contacts = contacts,
        .contact_count = count,
        .timeout_ms = e->timeout_ms,
        .attempt_ms = ATTEMPT_MS,
        .backoff_min_ms = BACKOFF_MIN_MS,
        .backoff_max_ms = BACKOFF_MAX_MS,
        .stream_hash = keys_stream_hash,
    };
    keys_random(&cfg.seed, sizeof cfg.seed);
    e->client = client_new(&cfg, eddy_now(e));
    return ERR_OK;
}

static void explain_silence(struct eddy *e,
                            const struct client_contact *contacts, size_t count,
                            bool is_insecure)
{
    struct buf text = {0};
    buf_printf(&text, "no node answered at");
    for (size_t i = 0; i < count && i < 4; i++) {
        /* One address may stand there with several keys. */
        if (i > 0 && strcmp(contacts[i].address, contacts[i - 1].address) == 0)
            continue;
        buf_printf(&text, "%s %.80s", i > 0 ? "," : "", contacts[i].address);
    }
    buf_printf(&text, "%s: is eddyd running there, and ",
               count > 4 ? " or others" : "");
    buf_printf(&text, "%s",
               is_insecure ? "is the cluster an open one? If not, a key file "
                             "is needed"
                           : "is the key one of this cluster's? (Of a node "
                             "that was never reached before, the key file "
                             "needs the line 'contact HOST:PORT KEY' that its "
                             "eddyd join has printed.)");
    buf_append(&text, "", 1);
    (void)eddy_fail(e, ERR_UNAVAILABLE, (const char *)text.data);
    buf_free(&text);
}

static enum eddy_error connect(struct eddy *e, const struct eddy_options *o)
{
    struct keys keys;
    struct client_contact *contacts =
        mem_alloc(EDDY_CONTACTS_MAX * sizeof *contacts);
    size_t count;
    enum err err = eddy_open_contacts(o, &keys, contacts, &count, e->reason);
    enum eddy_error result = (enum eddy_error)err;
    if (err == ERR_OK) {
        err = start(e, &keys, contacts, count, o->key_file == NULL);
        keys_wipe(&keys);
        result = (enum eddy_error)err;
    }
    if (err == ERR_OK) {
        struct client_request r = {.op = CLIENT_CONNECT};
        result = eddy_do(e, &r, NULL, NULL);
        if (result == EDDY_UNAVAILABLE)
            explain_silence(e, contacts, count, o->key_file == NULL);
    }
    mem_free(contacts);
    return result;
}

enum eddy_error eddy_open(const struct eddy_options *options, struct eddy **out,
                          char *reason)
{
    *out = NULL;
    reason[0] = 0;
    if (keys_init() != ERR_OK) {
        (void)snprintf(reason, EDDY_REASON_SIZE,
                       "the system gives no randomness");
        return EDDY_IO;
    }
    struct eddy *e = mem_alloc(sizeof *e);
    eddy_set_timeout(e, options->timeout_ms);
    /* Of an open cluster nothing would tell whether they are its. */
    if (options->contacts_file != NULL && options->key_file != NULL)
        e->contacts_file = mem_copy(options->contacts_file,
                                    strlen(options->contacts_file) + 1);
    enum eddy_error err = connect(e, options);
    if (err == EDDY_OK) {
        eddy_open_remember(e);
        *out = e;
        return EDDY_OK;
    }
    (void)snprintf(reason, EDDY_REASON_SIZE, "%s", e->reason);
    eddy_close(e);
    return err;
}

void eddy_close(struct eddy *e)
{
    if (e == NULL)
        return;
    if (e->client != NULL) {
        eddy_open_remember(e);
        client_close(e->client);
        do_effects(e);
        client_free(e->client);
    }
    while (e->ops != NULL) {
        e->ops->is_done = true;
        eddy_op_end(e, e->ops);
    }
    links_close(e->links);
    mem_free(e->contacts_file);
    mem_free(e);
}

void eddy_set_timeout(struct eddy *e, uint32_t timeout_ms)
{
    e->timeout_ms = timeout_ms > 0 ? timeout_ms : CLIENT_TIMEOUT_MS;
}

void eddy_first_node(const struct eddy *e, uint8_t node[16])
{
    struct id128 id = client_first_node(e->client);
    memcpy(node, id.bytes, sizeof id.bytes);
}

/* ---- streams ----------------------------------------------------------- */

struct stream_wanted {
    struct eddy_stream *out;
    bool *was_new;
};

static void put_stream(struct eddy_stream *out, const struct stream_info *s,
                       uint32_t partition)
{
    *out = (struct eddy_stream){
        .partition = partition,
        .id_index = s->id.index,
        .id_ordinal = s->id.ordinal,
        .first_seq = s->first_seq,
        .next_seq = s->next_seq,
        .bytes = s->bytes,
        .created_ms = s->created_ms,
        .changed_ms = s->changed_ms,
        .producers = s->producers,
    };
    memcpy(out->name, s->name.data, min_u64(s->name.size, EDDY_NAME_MAX));
}

static void take_stream(void *context, const struct client_result *r)
{
    const struct stream_wanted *wanted = context;
    if (r->err != ERR_OK)
        return;
    put_stream(wanted->out, &r->stream, r->partition);
    if (wanted->was_new != NULL)
        *wanted->was_new = !r->is_duplicate;
}

static enum eddy_error by_name(struct eddy *e, enum client_op op,
                               const char *name, struct stream_wanted *wanted)
{
    struct client_request r = {.op = op, .name = span_str(name)};
    if (r.name.size == 0 || r.name.size > STREAM_NAME_MAX)
        return eddy_fail(e, ERR_BAD_REQUEST,
                         "a stream's name has 1 to 255 bytes");
    return eddy_do(e, &r, take_stream, wanted);
}

enum eddy_error eddy_stream_create(struct eddy *e, const char *name,
                                   struct eddy_stream *out, bool *was_new)
{
    struct stream_wanted wanted = {out, was_new};
    return by_name(e, CLIENT_CREATE, name, &wanted);
}

enum eddy_error eddy_stream_open(struct eddy *e, const char *name,
                                 struct eddy_stream *out)
{
    struct stream_wanted wanted = {out, NULL};
    return by_name(e, CLIENT_OPEN, name, &wanted);
}

enum eddy_error eddy_stream_info(struct eddy *e, struct eddy_stream *stream)
{
    struct stream_wanted wanted = {stream, NULL};
    struct client_request r = {
        .op = CLIENT_INFO,
        .partition = stream->partition,
        .stream = {stream->id_index, stream->id_ordinal},
    };
    return eddy_do(e, &r, take_stream, &wanted);
}

struct list_wanted {
    const struct eddy *e;
    struct eddy_stream *streams;
    size_t count;
};

static void take_list(void *context, const struct client_result *r)
{
    struct list_wanted *wanted = context;
    const struct record *record = client_record(wanted->e->client);
    uint8_t hash[16];
    if (r->err != ERR_OK)
        return;
    wanted->streams =
        mem_alloc((r->stream_count + 1) * sizeof *wanted->streams);
    wanted->count = r->stream_count;
    for (size_t i = 0; i < r->stream_count; i++) {
        keys_stream_hash(record->cluster, r->streams[i].name, hash);
        put_stream(&wanted->streams[i], &r->streams[i],
                   record_partition(record->partitions, hash));
    }
}

enum eddy_error eddy_stream_list(struct eddy *e, const char *prefix,
                                 struct eddy_stream **out, size_t *count)
{
    struct list_wanted wanted = {.e = e};
    struct client_request r = {.op = CLIENT_LIST, .name = span_str(prefix)};
    enum eddy_error err = eddy_do(e, &r, take_list, &wanted);
    *out = wanted.streams;
    *count = wanted.count;
    return err;
}

void eddy_free(void *memory)
{
    mem_free(memory);
}

/* ---- the ring ---------------------------------------------------------- */

enum eddy_error eddy_ring_record(struct eddy *e, bool is_fresh, void **bytes,
                                 size_t *size)
{
    *bytes = NULL;
    *size = 0;
    if (is_fresh) {
        struct client_request r = {.op = CLIENT_RECORD};
        enum eddy_error err = eddy_do(e, &r, NULL, NULL);
        if (err != EDDY_OK)
            return err;
    }
    struct buf encoded = {0};
    record_encode(client_record(e->client), &encoded);
    *bytes = encoded.data;
    *size = encoded.size;
    return EDDY_OK;
}

uint32_t eddy_partition(const struct eddy *e, const char *name)
{
    const struct record *r = client_record(e->client);
    uint8_t hash[16];
    keys_stream_hash(r->cluster, span_str(name), hash);
    return record_partition(r->partitions, hash);
}

static void take_epoch(void *context, const struct client_result *r)
{
    *(uint64_t *)context = r->epoch.number;
}

enum eddy_error eddy_ring_change(struct eddy *e,
                                 const struct change_request *request,
                                 const struct epoch *made_from,
                                 uint64_t *epoch_number)
{
    struct client_request r = {
        .op = CLIENT_CHANGE, .change = *request, .epoch = *made_from};
    *epoch_number = 0;
    return eddy_do(e, &r, take_epoch, epoch_number);
}

enum eddy_error eddy_ring_recover(struct eddy *e, const uint8_t node[16],
                                  const struct generation *generation,
                                  uint64_t *epoch_number)
{
    struct client_request r = {.op = CLIENT_RECOVER, .generation = *generation};
    memcpy(r.node.bytes, node, sizeof r.node.bytes);
    *epoch_number = 0;
    return eddy_do(e, &r, take_epoch, epoch_number);
}

struct status_round {
    struct eddy *e;
    eddy_status_fn fn;
    void *context;
    uint64_t end_ms;
};
struct status_wanted {
    struct status_round *round;
    struct id128 node;
};

static void take_status(void *context, const struct client_result *r)
{
    const struct status_wanted *wanted = context;
    struct status_round *round = wanted->round;
    uint32_t wait_ms =
        round->fn(round->context, wanted->node.bytes, (enum eddy_error)r->err,
                  r->bytes.data, r->err == ERR_OK ? r->bytes.size : 0);
    round->end_ms = min_u64(round->end_ms, eddy_now(round->e) + wait_ms);
}

enum eddy_error eddy_ring_status(struct eddy *e, uint32_t wait_ms,
                                 eddy_status_fn fn, void *context)
{
    const struct record *record = client_record(e->client);
    uint32_t count = record->member_count;
    struct status_wanted *wanted = mem_alloc((count + 1) * sizeof *wanted);
    struct op **ops = mem_alloc((count + 1) * sizeof(struct op *));
    struct status_round round = {e, fn, context, UINT64_MAX};
    enum err err = ERR_OK;
    for (uint32_t i = 0; i < count && err == ERR_OK; i++) {
        const struct member *m = &record->members[i];
        if (m->wanted == WANTED_LEFT)
            continue;
        wanted[i] = (struct status_wanted){&round, m->node};
        struct client_request r = {
            .op = CLIENT_STATUS, .timeout_ms = wait_ms, .node = m->node};
        ops[i] = eddy_op_begin(e, &r, take_status, &wanted[i], &err);
    }
    for (uint32_t i = 0; i < count; i++) {
        while (ops[i] != NULL && !ops[i]->is_done && eddy_now(e) < round.end_ms)
            step_until(e, round.end_ms);
        eddy_op_end(e, ops[i]);
    }
    mem_free(ops);
    mem_free(wanted);
    return err == ERR_OK ? EDDY_OK : eddy_fail(e, err, err_text(err));
}

static void take_check(void *context, const struct client_result *r)
{
    struct eddy_check *c = context;
    enum err err = r->err;
    if (err == ERR_OK && check_read(r->bytes, c->answer) != ERR_OK)
        err = ERR_INCOMPATIBLE;
    c->error = (enum eddy_error)err;
}

enum eddy_error eddy_ring_check(struct eddy *e, struct eddy_check *checks,
                                size_t count)
{
    struct op **ops = mem_alloc((count + 1) * sizeof(struct op *));
    enum err err = ERR_OK;
    for (size_t i = 0; i < count; i++) {
        struct client_request r = {.op = CLIENT_CHECK,
                                   .timeout_ms = e->timeout_ms,
                                   .group = checks[i].group,
                                   .check = *checks[i].request};
        memcpy(r.node.bytes, checks[i].node, sizeof r.node.bytes);
        checks[i].error = EDDY_TIMEOUT;
        if (err == ERR_OK)
            ops[i] = eddy_op_begin(e, &r, take_check, &checks[i], &err);
    }
    for (size_t i = 0; i < count; i++) {
        while (ops[i] != NULL && !ops[i]->is_done)
            eddy_step(e);
        eddy_op_end(e, ops[i]);
    }
    mem_free(ops);
    return err == ERR_OK ? EDDY_OK : eddy_fail(e, err, err_text(err));
}
