/* library.c - the world of the client core (net/client.h), which is what the
 * library and the command line are made of: a program appends through one
 * producer, and the case says what the nodes answer, or that they do not.
 *
 * What concerns the routing table (who are you, give me the record) is
 * answered by itself. */
#include <stdio.h>

#include "net/client.h"
#include "net/keys.h"
#include "tests/cases/world.h"
#include "tests/sim/buffers.h"

#define NODES        3u
#define REQUESTS_MAX 256u
#define APPENDS_MAX  256u
#define LINKS_MAX    64u
#define APPEND_LIST  16u

/* A request with commands that the core has sent. */
struct request_sent {
    uint32_t link;
    uint64_t number; /* of the message */
    uint16_t count;
    uint64_t first_number; /* of its appends */
    bool is_answered;
};

struct library {
    struct client *client;
    struct record *record;
    struct buffers buffers;
    uint64_t now_ms;
    uint32_t producer;
    bool has_producer;
    size_t node_of[LINKS_MAX]; /* by link */
    struct request_sent requests[REQUESTS_MAX];
    size_t request_count;
    char appends[APPENDS_MAX][24]; /* by token */
    size_t append_count;
};

/* ---- nodes ------------------------------------------------------------- */

static struct member member_of(size_t number)
{
    struct member m = {.weight = WEIGHT_DEFAULT, .level = LEVEL_NOW};
    m.node.bytes[0] = (uint8_t)number;
    m.public_key[0] = (uint8_t)number;
    (void)snprintf(m.name, sizeof m.name, "n%zu", number);
    (void)snprintf(m.client_address, sizeof m.client_address, "n%zu:7001",
                   number);
    (void)snprintf(m.peer_address, sizeof m.peer_address, "n%zu:7000", number);
    return m;
}

static struct record *make_record(void)
{
    struct record *r = record_new();
    r->cluster.bytes[0] = 0xc1;
    r->generation = (struct generation){1, (uint64_t)1 << 32};
    r->partitions = PARTITIONS_MIN;
    struct member founder = member_of(1);
    record_begin(r, &founder, 1000);
    for (size_t i = 2; i <= NODES; i++) {
        struct member m = member_of(i);
        enum err err = record_join(r, &m, 1000);
        ASSERT(err == ERR_OK);
        record_see(r, (uint16_t)(i - 1), SEEN_UP, 1000);
    }
    record_advance(r, 2000);
    ASSERT(record_fault(r) == NULL);
    return r;
}

static void respond(struct library *b, uint32_t link, uint64_t number,
                    const struct response *r)
{
    struct wire_header h = {
        .kind = WIRE_RESPONSE,
        .cluster = b->record->cluster,
        .from = member_of(b->node_of[link]).node,
        .boot = 1,
        .epoch = b->record->epoch,
        .number = number,
    };
    struct wire_out m = {0};
    struct response full = *r;
    full.credit_bytes = CLIENT_CREDIT_BYTES;
    full.credit_commands = CLIENT_CREDIT_COMMANDS;
    wire_begin(&m, &h);
    wire_response_write(&m, &full);
    wire_end(&m);
    client_recv(b->client, link, span_buf(&m.bytes), 0, b->now_ms);
    wire_out_free(&m);
}

/* ---- what the core does ------------------------------------------------ */

/* A question about the ring, which is answered at once. */
struct asked {
    uint32_t link;
    uint64_t number;
    enum wire_op op;
};

static void answer_asked(struct library *b, const struct asked *a)
{
    struct buf bytes = {0};
    struct response r = {.op = a->op,
                         .node = member_of(b->node_of[a->link]).node,
                         .level = LEVEL_NOW,
                         .version = span_str("case")};
    if (a->op == OP_RECORD)
        record_encode(b->record, &bytes);
    r.bytes = span_buf(&bytes);
    respond(b, a->link, a->number, &r);
    buf_free(&bytes);
}

static void print_appends(const struct library *b, const struct request *r,
                          struct request_sent *sent, struct buf *out)
{
    struct commands_iter it;
    struct command c;
    wire_commands_begin(&it, r);
    while (wire_commands_next(&it, &c)) {
        if (c.ordinal == 0)
            sent->first_number = c.number;
        if (c.kind == COMMAND_APPEND && c.number < b->append_count)
            buf_printf(out, " #%llu=%s", (unsigned long long)c.number,
                       b->appends[c.number]);
        else
            buf_printf(out, " open");
    }
}

/* True: a question about the ring. */
static bool take_sent(struct library *b, const struct client_effect *e,
                      struct asked *asked, struct buf *out)
{
    struct wire_in in;
    struct request r;
    struct buf bytes = {0};
    buf_append(&bytes, e->message->bytes.data, e->message->bytes.size);
    for (uint32_t i = 0; i < e->message->slice_count; i++) {
        struct slice s = e->message->slices[i];
        buf_append(&bytes, buffers_span(&b->buffers, s.handle).data + s.offset,
                   s.size);
    }
    enum err err = wire_read(span_buf(&bytes), &in);
    if (err == ERR_OK)
        err = wire_request_read(&in, &r);
    ASSERT(err == ERR_OK);
    *asked = (struct asked){e->link, in.header.number, r.op};
    if (r.op == OP_COMMANDS) {
        ASSERT(b->request_count < REQUESTS_MAX);
        struct request_sent *sent = &b->requests[b->request_count++];
        *sent = (struct request_sent){.link = e->link,
                                      .number = in.header.number,
                                      .count = r.command_count};
        buf_printf(out, "request %zu to node %zu:", b->request_count,
                   b->node_of[e->link]);
        print_appends(b, &r, sent, out);
        buf_printf(out, "\n");
    }
    buf_free(&bytes);
    return r.op != OP_COMMANDS;
}

static void print_appended(const struct library *b,
                           const struct client_effect *e, struct buf *out)
{
    const char *done = err_done(e->err);
    buf_printf(out, "%s: %s", b->appends[e->token], err_name(e->err));
    if (e->err == ERR_OK)
        buf_printf(out, " seq=%llu%s", (unsigned long long)e->seq,
                   e->is_duplicate ? " (as before)" : "");
    else if (strcmp(done, "no") == 0)
        buf_printf(out, ", nothing was done");
    else
        buf_printf(out, ", outcome unknown");
    buf_printf(out, "\n");
}

static void settle(struct library *b, struct buf *out)
{
    struct client_effect e;
    while (client_pop(b->client, &e)) {
        struct asked asked;
        switch (e.kind) {
        case CLIENT_DO_SEND:
            if (take_sent(b, &e, &asked, out))
                answer_asked(b, &asked);
            break;
        case CLIENT_DO_LINK:
            ASSERT(e.link < LINKS_MAX);
            b->node_of[e.link] = (size_t)(e.address[1] - '0');
            break;
        case CLIENT_DO_DONE:
            b->has_producer |= e.result.op == CLIENT_PRODUCER;
            b->producer = e.result.producer;
            break;
        case CLIENT_DO_APPENDED:
            print_appended(b, &e, out);
            break;
        case CLIENT_DO_RELEASE:
            buffers_unref(&b->buffers, e.handle);
            break;
        }
    }
    client_check(b->client);
}

/* ---- commands ---------------------------------------------------------- */

/* append a b c: the program's next segments, in one turn. */
static void run_append(struct library *b, struct line *l, struct buf *out)
{
    const char *words[APPEND_LIST];
    size_t count = 0;
    while (line_has_next(l) && count < APPEND_LIST)
        words[count++] = line_next(l);
    if (count == 0 || b->append_count + count > APPENDS_MAX)
        line_fail(l, "append: 1 to %u short words", APPEND_LIST);
    if (!line_end(l))
        return;
    for (size_t i = 0; i < count; i++) {
        uint64_t token = b->append_count++;
        (void)snprintf(b->appends[token], sizeof b->appends[0], "%s", words[i]);
        struct span bytes = span_str(words[i]);
        uint64_t handle = buffers_add(
            &b->buffers, mem_copy(bytes.data, bytes.size), bytes.size);
        struct client_append a = {
            .producer = b->producer,
            .token = token,
            .bytes = {handle, 0, (uint32_t)bytes.size},
            .algorithm = CHECKSUM_XXH3_128,
            .checksum = wire_checksum(bytes),
            .expected_seq = SEQ_ANY,
        };
        enum err err = client_append(b->client, &a, b->now_ms);
        if (err != ERR_OK) {
            buf_printf(out, "%s: %s\n", words[i], err_name(err));
            buffers_unref(&b->buffers, handle);
        }
    }
    settle(b, out);
}

static struct request_sent *read_request(struct library *b, struct line *l)
{
    uint64_t number = line_next_u64(l);
    if (number < 1 || number > b->request_count ||
        b->requests[number - 1].is_answered) {
        line_fail(l, "%s: no such request waits", l->verb);
        return NULL;
    }
    return &b->requests[number - 1];
}

static enum err parse_err(struct line *l, const char *word)
{
    for (int i = 0; word != NULL && i <= ERR_FORGOTTEN; i++) {
        if (strcmp(err_name((enum err)i), word) == 0)
            return (enum err)i;
    }
    line_fail(l, "%s: an error's name is wanted, or OK", l->verb);
    return ERR_OK;
}

/* judge 1 OK [as_before]: its entry was applied; the verdict on each of its
 * commands. Segment numbers are those of the appends. */
static void run_judge(struct library *b, struct line *l, struct buf *out)
{
    struct request_sent *r = read_request(b, l);
    struct verdict v = {.err = parse_err(l, line_next(l)),
                        .is_duplicate = line_flag(l, "as_before")};
    if (!line_end(l))
        return;
    struct buf list = {0};
    for (uint16_t i = 0; i < r->count; i++) {
        v.seq = r->first_number + i;
        v.next_number = r->first_number;
        wire_verdict_write(&list, &v);
    }
    struct response response = {.op = OP_COMMANDS,
                                .verdicts = span_buf(&list),
                                .verdict_count = r->count};
    r->is_answered = true;
    respond(b, r->link, r->number, &response);
    buf_free(&list);
    settle(b, out);
}

static void refuse(struct library *b, struct request_sent *r, enum err err,
                   uint64_t hint)
{
    struct response response = {.op = OP_COMMANDS, .err = err};
    if (hint > 0)
        response.hint = member_of((size_t)hint).node;
    r->is_answered = true;
    respond(b, r->link, r->number, &response);
}

/* refuse 1 MOVED [to=2]: the node did not take it. */
static void run_refuse(struct library *b, struct line *l, struct buf *out)
{
    struct request_sent *r = read_request(b, l);
    enum err err = parse_err(l, line_next(l));
    uint64_t to = line_u64(l, "to", 0);
    if (to > NODES || err == ERR_OK)
        line_fail(l, "refuse: an error, and a node of 1 to %u", NODES);
    if (!line_end(l))
        return;
    refuse(b, r, err, to);
    settle(b, out);
}

/* time ms=2000 [refuse=BUSY]: nobody answers meanwhile, or everybody refuses,
 * what was asked before too. */
static void run_time(struct library *b, struct line *l, struct buf *out)
{
    uint64_t ms = line_need_u64(l, "ms");
    const char *word = line_value(l, "refuse");
    enum err err = word == NULL ? ERR_OK : parse_err(l, word);
    if (ms == 0 || ms > 1000000)
        line_fail(l, "time: 1 to 1000000 ms");
    if (!line_end(l))
        return;
    for (uint64_t end = b->now_ms + ms; b->now_ms < end;) {
        for (size_t i = 0; err != ERR_OK && i < b->request_count; i++) {
            if (!b->requests[i].is_answered)
                refuse(b, &b->requests[i], err, 0);
            settle(b, out);
        }
        uint64_t next = client_deadline(b->client);
        b->now_ms = min_u64(max_u64(next, b->now_ms + 1), end);
        client_tick(b->client, b->now_ms);
        settle(b, out);
    }
}

/* ---- life -------------------------------------------------------------- */

static void end(void *world)
{
    struct library *b = world;
    struct buf unsaid = {0};
    client_close(b->client);
    settle(b, &unsaid);
    ASSERT(b->buffers.live == 0);
    client_free(b->client);
    record_free(b->record);
    buffers_free(&b->buffers);
    buf_free(&unsaid);
    mem_free(b);
}

static void open_producer(struct library *b)
{
    struct buf unsaid = {0};
    struct client_request r = {.op = CLIENT_PRODUCER,
                               .token = 1,
                               .partition = 3,
                               .stream = {7, 0},
                               .name = span_str("alice")};
    enum err err = client_submit(b->client, &r, b->now_ms);
    ASSERT(err == ERR_OK);
    settle(b, &unsaid);
    ASSERT(b->request_count == 1);
    struct buf list = {0};
    struct verdict v = {.id = {8, 0}, .producer_epoch = 1};
    wire_verdict_write(&list, &v);
    struct response response = {
        .op = OP_COMMANDS, .verdicts = span_buf(&list), .verdict_count = 1};
    respond(b, b->requests[0].link, b->requests[0].number, &response);
    b->request_count = 0;
    settle(b, &unsaid);
    ASSERT(b->has_producer);
    buf_free(&list);
    buf_free(&unsaid);
}

/* library [timeout_ms=30000] [attempt_ms=1000]: three nodes; the program has a
 * producer, whose next number is 0. */
static void *begin(struct line *l, struct buf *out)
{
    uint64_t timeout = line_u64(l, "timeout_ms", CLIENT_TIMEOUT_MS);
    uint64_t attempt = line_u64(l, "attempt_ms", 1000);
    (void)out;
    if (timeout < 1 || timeout > 1000000 || attempt < 1 || attempt > 1000000)
        line_fail(l, "library: times are 1 to 1000000 ms");
    if (!line_end(l))
        return NULL;
    struct library *b = mem_alloc(sizeof *b);
    struct client_contact contact = {0};
    struct member first = member_of(1);
    memcpy(contact.address, first.client_address, sizeof contact.address);
    memcpy(contact.server_key, first.public_key, KEY_BYTES);
    b->record = make_record();
    b->now_ms = 1000;
    struct client_cfg cfg = {
        .cluster = b->record->cluster,
        .contacts = &contact,
        .contact_count = 1,
        .seed = 7,
        .timeout_ms = (uint32_t)timeout,
        .attempt_ms = (uint32_t)attempt,
        .backoff_min_ms = 20,
        .backoff_max_ms = 1000,
        .stream_hash = keys_stream_hash,
    };
    b->client = client_new(&cfg, b->now_ms);
    open_producer(b);
    return b;
}

static bool run(void *world, struct line *l, struct buf *out)
{
    static const struct {
        const char *verb;
        void (*run)(struct library *b, struct line *l, struct buf *out);
    } commands[] = {
        {"append", run_append},
        {"judge", run_judge},
        {"refuse", run_refuse},
        {"time", run_time},
    };
    struct library *b = world;
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(l->verb, commands[i].verb) == 0) {
            commands[i].run(b, l, out);
            return true;
        }
    }
    return false;
}

const struct world_kind world_library = {"library", begin, run, end};
