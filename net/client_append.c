/* client_append.c - the producers' pipelines; a part of the client core
 * (client.h).
 *
 *        first             next_send          first + count
 *          | in flight, answered  | waits            |
 *   -------[ batch ][ batch ]-----[ . . . . . . . . ]-------> numbers
 *
 * Appends go out in batches, in order, to the leader of the stream's group;
 * several are in flight, within the node's credit of bytes and commands. A
 * batch is a quarter of the credit at most, so that the leader always has one
 * to work on.
 *
 * Any refusal that may pass, and any silence, *stops* the line: numbers behind
 * a refused one would be refused too (OUT_OF_ORDER). It waits until nothing is
 * in flight, so that as few outcomes as possible are unknown, then goes back
 * to the first unanswered number with a window of one batch, which doubles
 * while all goes well (L15, T18).
 *
 * What was sent and not answered definitely is *unknown*. From then on only
 * what says something of that very number counts: OK, or CONFLICT because the
 * number has been used for other bytes. A FENCED, say, is judged before the
 * number is looked up, so that an earlier attempt may well have been appended;
 * and a CONFLICT over the expected seq may be the word of a leader whose log
 * never commits, while the earlier attempt's does. The answer is TIMEOUT then
 * (T18). */
#include "net/client_impl.h"

#include "ring/rule.h"

/* ---- life -------------------------------------------------------------- */

uint32_t client_append_open(struct client *c, const struct call *call,
                            const struct verdict *v)
{
    uint32_t i = 0;
    while (i < c->line_count && c->lines[i].is_used)
        i++;
    if (i == CLIENT_PRODUCERS_MAX)
        return 0;
    if (i == c->line_count) {
        c->line_count++;
        c->lines = mem_resize(c->lines, c->line_count * sizeof *c->lines);
    }
    c->lines[i] = (struct producer_line){
        .is_used = true,
        .group = call->group,
        .stream = call->request.stream,
        .id = v->id,
        .epoch = v->producer_epoch,
        .first = v->next_number,
        .next_send = v->next_number,
        .window = BATCHES_MAX,
    };
    return i + 1;
}

static struct producer_line *line_of(const struct client *c, uint32_t producer)
{
    ASSERT(producer > 0 && producer <= c->line_count);
    ASSERT(c->lines[producer - 1].is_used);
    return &c->lines[producer - 1];
}

static struct append *append_at(const struct producer_line *l, uint64_t number)
{
    ASSERT(number - l->first < l->count);
    return &l->appends[number & (l->capacity - 1)];
}

static void forget_batch(struct client *c, struct producer_line *l, uint32_t i)
{
    const struct batch *b = &l->batches[i];
    struct link *link = &c->links[b->link];
    ASSERT(link->flight_bytes >= b->bytes && link->flight_requests > 0);
    ASSERT(link->flight_commands >= b->count);
    link->flight_bytes -= b->bytes;
    link->flight_commands -= b->count;
    link->flight_requests--;
    l->batches[i] = l->batches[--l->batch_count];
}

/* The oldest one leaves: its bytes go back to the shell. */
static void drop_first(struct client *c, struct producer_line *l)
{
    struct append *a = append_at(l, l->first);
    if (a->bytes.handle != 0)
        client_push(c, CLIENT_DO_RELEASE)->handle = a->bytes.handle;
    ASSERT(c->append_bytes >= a->bytes.size);
    c->append_bytes -= a->bytes.size;
    mem_free((void *)a->attributes.data);
    *a = (struct append){0};
    l->first++;
    l->count--;
}

void client_close_producer(struct client *c, uint32_t producer)
{
    struct producer_line *l = line_of(c, producer);
    while (l->batch_count > 0)
        forget_batch(c, l, 0);
    while (l->count > 0)
        drop_first(c, l);
    mem_free(l->appends);
    *l = (struct producer_line){0};
}

void client_append_free(struct client *c)
{
    for (uint32_t i = 0; i < c->line_count; i++) {
        struct producer_line *l = &c->lines[i];
        for (uint32_t n = 0; n < l->count; n++)
            mem_free((void *)append_at(l, l->first + n)->attributes.data);
        mem_free(l->appends);
    }
    mem_free(c->lines);
}

/* ---- submit ------------------------------------------------------------ */

static void command_of(const struct producer_line *l, const struct append *a,
                       uint64_t number, struct command *out)
{
    *out = (struct command){
        .kind = COMMAND_APPEND,
        .stream = l->stream,
        .producer = l->id,
        .producer_epoch = l->epoch,
        .number = number,
        .expected_seq = a->expected_seq,
        .closes_producer = a->closes_producer,
        .size = a->bytes.size,
        .algorithm = a->algorithm,
        .checksum = a->checksum,
        .key_hash = a->key_hash,
        .attributes = a->attributes,
    };
}

static void grow(struct producer_line *l)
{
    uint32_t capacity = l->capacity == 0 ? 16 : l->capacity * 2;
    struct append *appends = mem_alloc(capacity * sizeof *appends);
    for (uint64_t n = l->first; n < l->first + l->count; n++)
        appends[n & (capacity - 1)] = *append_at(l, n);
    mem_free(l->appends);
    l->appends = appends;
    l->capacity = capacity;
}

enum err client_append(struct client *c, const struct client_append *a,
                       uint64_t now_ms)
{
    struct producer_line *l = line_of(c, a->producer);
    client_begin(c, now_ms);
    if (l->failed != ERR_OK)
        return l->failed;
    if (l->is_closing)
        return ERR_BAD_REQUEST;
    if (l->count == PRODUCER_INFLIGHT_MAX ||
        (c->append_bytes > 0 &&
         c->append_bytes + a->bytes.size > CLIENT_APPEND_BYTES_MAX))
        return ERR_BUSY;
    struct append mine = {
        .token = a->token,
        .bytes = a->bytes,
        .algorithm = a->algorithm,
        .checksum = a->checksum,
        .expected_seq = a->expected_seq,
        .key_hash = a->key_hash,
        .attributes = a->attributes,
        .closes_producer = a->closes_producer,
        .deadline_ms = c->now_ms + c->cfg.timeout_ms,
    };
    struct command command;
    command_of(l, &mine, l->first + l->count, &command);
    enum err err = command_check(&command);
    if (err != ERR_OK)
        return err;
    if (a->attributes.size > 0)
        mine.attributes.data = mem_copy(a->attributes.data, a->attributes.size);
    else
        mine.attributes = (struct span){NULL, 0};
    if (l->count == l->capacity)
        grow(l);
    l->count++;
    *append_at(l, command.number) = mine;
    c->append_bytes += mine.bytes.size;
    l->is_closing = mine.closes_producer;
    return ERR_OK;
}

uint64_t client_next_number(const struct client *c, uint32_t producer)
{
    const struct producer_line *l = line_of(c, producer);
    return l->first + l->count;
}

void client_rewind(struct client *c, uint32_t producer, uint64_t number)
{
    struct producer_line *l = line_of(c, producer);
    ASSERT(l->count == 0 && l->batch_count == 0 && number <= l->first);
    l->first = number;
    l->next_send = number;
}

/* ---- send -------------------------------------------------------------- */

/* What one batch may take of a credit; never more than an entry holds. */
static uint64_t share(uint32_t credit, uint32_t in_flight, uint32_t most)
{
    uint32_t left = credit > in_flight ? credit - in_flight : 0;
    return min_u64(min_u64(left, credit / 4), most);
}

/* Whether a batch that begins with `size` bytes may go out to this link. A
 * first append may be larger than a share: it must fit the credit, or be
 * alone. */
static bool has_credit(const struct link *link, uint32_t size)
{
    return link->flight_requests < CLIENT_REQUESTS_MAX &&
           (link->flight_requests == 0 ||
            (link->flight_bytes + size <= link->credit_bytes &&
             link->flight_commands < link->credit_commands));
}

/* Adds what fits, from next_send on; the slices go into `o`. */
static struct batch gather(struct client *c, struct producer_line *l,
                           const struct link *link, struct wire_out *o)
{
    uint64_t bytes_max =
        share(link->credit_bytes, link->flight_bytes, ENTRY_PAYLOAD_BYTES_MAX);
    uint64_t count_max =
        share(link->credit_commands, link->flight_commands, ENTRY_COMMANDS_MAX);
    struct batch b = {.first = l->next_send};
    wire_commands_clear(&c->commands);
    while (b.first + b.count < l->first + l->count) {
        const struct append *a = append_at(l, b.first + b.count);
        bool is_full =
            b.count >= count_max || b.bytes + a->bytes.size > bytes_max;
        if (a->is_answered || (b.count > 0 && is_full))
            break;
        struct command command;
        command_of(l, a, b.first + b.count, &command);
        if (wire_commands_add(&c->commands, &command) != ERR_OK)
            break;
        b.bytes += a->bytes.size;
        b.count++;
        if (a->bytes.size > 0)
            wire_out_slice(o, a->bytes);
    }
    ASSERT(b.count > 0); /* any append fits an empty list: client_append */
    return b;
}

/* True if a batch went out. */
static bool send_batch(struct client *c, struct producer_line *l)
{
    uint64_t end = l->first + l->count;
    while (l->next_send < end && append_at(l, l->next_send)->is_answered)
        l->next_send++;
    if (l->next_send == end)
        return false;
    uint32_t to = client_route_leader(c, l->group, l->turn);
    if (to == UINT32_MAX)
        return false;
    /* A pipeline never forks: what is at the old leader comes back first. */
    if (l->batch_count > 0 && l->batches[0].link != to)
        return false;
    struct link *link = &c->links[to];
    if (!has_credit(link, append_at(l, l->next_send)->bytes.size))
        return false;
    uint64_t number = ++c->next_number;
    struct wire_out *o = client_message(c, to, number);
    struct batch b = gather(c, l, link, o);
    struct request r = {
        .op = OP_COMMANDS,
        .group = l->group,
        .commands = span_buf(&c->commands.bytes),
        .command_count = c->commands.count,
    };
    wire_request_write(o, &r);
    client_send(c, to, o);
    b.number = number;
    b.link = to;
    b.deadline_ms = c->now_ms + c->cfg.attempt_ms;
    link->flight_bytes += b.bytes;
    link->flight_commands += b.count;
    link->flight_requests++;
    l->batches[l->batch_count++] = b;
    l->next_send += b.count;
    return true;
}

/* ---- answers to the program -------------------------------------------- */

static bool is_in_flight(const struct producer_line *l, uint64_t number)
{
    for (uint32_t i = 0; i < l->batch_count; i++)
        if (number - l->batches[i].first < l->batches[i].count)
            return true;
    return false;
}

/* A verdict that says something of this very number, whatever became of
 * earlier attempts at it. Of the two CONFLICTs it is the one that found the
 * number used: then the next one lies above it. */
static bool is_about_number(uint64_t number, const struct verdict *v)
{
    return v->err == ERR_OK || v->err == ERR_TOO_LARGE ||
           v->err == ERR_BAD_REQUEST ||
           (v->err == ERR_CONFLICT && v->next_number > number);
}

static void answer(struct append *a, uint64_t number, const struct verdict *v)
{
    a->is_answered = true;
    a->err = v->err;
    a->seq = v->seq;
    a->is_duplicate = v->is_duplicate;
    if (RULE(T18) && a->is_unknown && !is_about_number(number, v))
        a->err = ERR_TIMEOUT;
}

/* What is known of a number that will not be sent again. */
static enum err outcome(const struct producer_line *l, uint64_t number)
{
    const struct append *a = append_at(l, number);
    if (RULE(T18) && (a->is_unknown || is_in_flight(l, number)))
        return ERR_TIMEOUT;
    if (a->err == ERR_OK || a->err == ERR_MOVED || a->err == ERR_NOT_HERE)
        return ERR_UNAVAILABLE;
    return a->err;
}

/* The line has come to its end: nothing behind the failed one can follow. */
static void fail_rest(struct client *c, struct producer_line *l)
{
    for (uint64_t n = l->first; n < l->first + l->count; n++) {
        struct append *a = append_at(l, n);
        if (a->is_answered)
            continue;
        bool is_unknown = a->is_unknown || is_in_flight(l, n);
        a->is_answered = true;
        a->err = RULE(T18) && is_unknown ? ERR_TIMEOUT : ERR_OUT_OF_ORDER;
    }
    while (l->batch_count > 0)
        forget_batch(c, l, 0);
}

static void tell_answered(struct client *c, struct producer_line *l)
{
    while (l->count > 0 && append_at(l, l->first)->is_answered) {
        const struct append *a = append_at(l, l->first);
        if (a->err != ERR_OK && l->failed == ERR_OK) {
            /* BUSY from client_append means "again later". */
            l->failed = a->err == ERR_BUSY ? ERR_UNAVAILABLE : a->err;
            fail_rest(c, l);
        }
        struct client_effect *e = client_push(c, CLIENT_DO_APPENDED);
        e->token = a->token;
        e->err = a->err;
        e->is_duplicate = a->is_duplicate;
        e->number = l->first;
        e->seq = a->seq;
        e->text = a->err != ERR_OK ? l->text : "";
        drop_first(c, l);
    }
    if (l->next_send < l->first)
        l->next_send = l->first;
}

/* ---- answers of nodes -------------------------------------------------- */

/* Nothing more goes out until all is back; then from the first unanswered. */
static void stop(struct client *c, struct producer_line *l, bool is_at_once)
{
    uint32_t wait = is_at_once ? 0 : client_backoff(c, l->failures);
    if (!l->is_stopped) {
        l->turn++;
        l->failures++;
    }
    l->is_stopped = true;
    l->window = 1;
    l->resume_ms = max_u64(l->resume_ms, c->now_ms + wait);
}

static void refused(struct client *c, struct producer_line *l,
                    const struct batch *b, enum err err)
{
    for (uint64_t n = b->first; n < b->first + b->count; n++) {
        struct append *a = append_at(l, n);
        if (a->is_answered)
            continue;
        if (!client_is_transient(err)) {
            answer(a, n, &(struct verdict){.err = err});
            continue;
        }
        a->err = err;
        a->is_unknown |= err == ERR_TIMEOUT;
    }
    if (!client_is_transient(err))
        return;
    bool is_known = false;
    if (err == ERR_MOVED || err == ERR_NOT_HERE)
        is_known = client_route_moved(c, l->group, b->link, c->response.hint);
    stop(c, l, is_known && l->failures < 3);
}

static void judged(struct client *c, struct producer_line *l,
                   const struct batch *b)
{
    struct dec d = dec_of(c->response.verdicts);
    struct verdict v;
    enum err stopped_by = ERR_OK;
    for (uint64_t n = b->first; n < b->first + b->count; n++) {
        bool is_read = wire_verdict_next(&d, &v);
        ASSERT(is_read); /* counted before */
        struct append *a = append_at(l, n);
        if (a->is_answered)
            continue;
        if (!client_is_transient(v.err)) {
            answer(a, n, &v);
            continue;
        }
        a->err = v.err;
        a->is_unknown |= v.err == ERR_TIMEOUT;
        if (stopped_by == ERR_OK)
            stopped_by = v.err;
    }
    if (stopped_by != ERR_OK) {
        bool is_moved = stopped_by == ERR_MOVED || stopped_by == ERR_NOT_HERE;
        if (is_moved)
            (void)client_route_moved(c, l->group, b->link, c->response.hint);
        stop(c, l, false);
        return;
    }
    c->leaders[l->group] = c->links[b->link].node;
    l->failures = 0;
    if (!l->is_stopped)
        l->window = (uint32_t)min_u64(l->window * 2, BATCHES_MAX);
}

static void batch_answered(struct client *c, struct producer_line *l,
                           uint32_t i)
{
    struct batch b = l->batches[i];
    const struct response *r = &c->response;
    forget_batch(c, l, i);
    /* Answered appends in front may be told already, those of this batch are
     * not: it was in flight. */
    ASSERT(b.first >= l->first && b.first + b.count <= l->first + l->count);
    client_say(l->text, r->text);
    if (r->op != OP_COMMANDS && r->op != OP_NONE)
        refused(c, l, &b, ERR_TIMEOUT);
    else if (r->err != ERR_OK)
        refused(c, l, &b, r->err);
    else if (r->verdict_count != b.count)
        refused(c, l, &b, ERR_TIMEOUT);
    else
        judged(c, l, &b);
    tell_answered(c, l);
}

bool client_append_answered(struct client *c, uint32_t link, uint64_t number)
{
    for (uint32_t p = 0; p < c->line_count; p++) {
        struct producer_line *l = &c->lines[p];
        for (uint32_t i = 0; i < l->batch_count; i++) {
            if (l->batches[i].number != number || l->batches[i].link != link)
                continue;
            batch_answered(c, l, i);
            return true;
        }
    }
    return false;
}

/* ---- the turn ---------------------------------------------------------- */

static void expire_batches(struct client *c, struct producer_line *l)
{
    for (uint32_t i = 0; i < l->batch_count;) {
        struct batch b = l->batches[i];
        if (c->now_ms < b.deadline_ms) {
            i++;
            continue;
        }
        forget_batch(c, l, i);
        for (uint64_t n = b.first; n < b.first + b.count; n++)
            append_at(l, n)->is_unknown = true;
        client_say(l->text, span_str("no answer in time"));
        client_route_silent(c, l->group, b.link);
        stop(c, l, true);
    }
}

void client_append_lost(struct client *c, uint32_t link)
{
    for (uint32_t p = 0; p < c->line_count; p++) {
        struct producer_line *l = &c->lines[p];
        for (uint32_t i = 0; i < l->batch_count; i++)
            if (l->batches[i].link == link)
                l->batches[i].deadline_ms = c->now_ms;
    }
}

static void expire(struct client *c, struct producer_line *l)
{
    expire_batches(c, l);
    if (l->count == 0 || c->now_ms < append_at(l, l->first)->deadline_ms)
        return;
    struct append *a = append_at(l, l->first);
    a->err = outcome(l, l->first);
    a->is_answered = true;
    tell_answered(c, l);
}

static void step(struct client *c, struct producer_line *l)
{
    if (c->is_ticked)
        expire(c, l);
    if (c->record == NULL || l->failed != ERR_OK || l->count == 0)
        return;
    if (l->is_stopped && l->batch_count == 0) {
        l->is_stopped = false;
        l->next_send = l->first;
    }
    if (l->is_stopped || c->now_ms < l->resume_ms)
        return;
    while (l->batch_count < l->window && send_batch(c, l)) {
    }
}

/* Lines take turns in being first, since they share a link's credit. */
void client_append_turn(struct client *c)
{
    c->line_turn++;
    for (uint32_t i = 0; i < c->line_count; i++) {
        struct producer_line *l = &c->lines[(c->line_turn + i) % c->line_count];
        if (l->is_used)
            step(c, l);
    }
}

uint64_t client_append_deadline(const struct client *c)
{
    uint64_t at = UINT64_MAX;
    for (uint32_t p = 0; p < c->line_count; p++) {
        const struct producer_line *l = &c->lines[p];
        if (!l->is_used || l->count == 0)
            continue;
        at = min_u64(at, append_at(l, l->first)->deadline_ms);
        for (uint32_t i = 0; i < l->batch_count; i++)
            at = min_u64(at, l->batches[i].deadline_ms);
        bool waits = l->next_send < l->first + l->count || l->is_stopped;
        if (waits && l->batch_count == 0 && l->resume_ms > c->now_ms)
            at = min_u64(at, l->resume_ms);
        else if (waits && l->batch_count == 0)
            /* No credit, or nobody to send to: look again. */
            at = min_u64(at, c->now_ms + c->cfg.backoff_min_ms);
    }
    return at;
}

void client_append_check(const struct client *c)
{
    size_t bytes = 0;
    for (uint32_t p = 0; p < c->line_count; p++) {
        const struct producer_line *l = &c->lines[p];
        ASSERT(l->is_used || l->count == 0);
        ASSERT(l->count <= PRODUCER_INFLIGHT_MAX && l->count <= l->capacity);
        ASSERT(l->batch_count <= BATCHES_MAX);
        ASSERT(l->next_send >= l->first);
        ASSERT(l->next_send <= l->first + l->count);
        for (uint32_t i = 0; i < l->batch_count; i++) {
            const struct batch *b = &l->batches[i];
            ASSERT(b->first >= l->first);
            ASSERT(b->first + b->count <= l->first + l->count);
        }
        for (uint64_t n = l->first; n < l->first + l->count; n++)
            bytes += append_at(l, n)->bytes.size;
    }
    ASSERT(bytes == c->append_bytes);
    ASSERT(bytes <= CLIENT_APPEND_BYTES_MAX);
}
