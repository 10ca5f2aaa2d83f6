/* client_call.c - questions and single commands (all that is not an append);
 * a part of the client core (client.h).
 *
 * A call makes one attempt at a time. What comes of it is: the answer; a
 * refusal that may pass (another replica, or a wait); or silence. At the end
 * of its time the call says what is known: TIMEOUT if an attempt to change
 * something has not been answered definitely (T18), else the newest refusal.
 *
 * A LIST is a call whose parts are calls, one a group, some at a time. */
#include "net/client_impl.h"

#include <stdio.h>
#include <stdlib.h>

#include "ring/rule.h"

#define LIST_PARTS_MAX 16u
#define LIST_COUNT_MAX 1000u /* streams in one answer */
/* Hints followed without a wait, before it counts as a failure. */
#define HINTS_MAX 3u
/* A node answers no more of one client at once (limits.h); some are left to
 * appends. */
#define LINK_CALLS_MAX (CLIENT_REQUESTS_MAX / 2)

/* ---- life -------------------------------------------------------------- */

static struct call *call_add(struct client *c)
{
    struct call *call = mem_alloc(sizeof *call);
    call->previous = c->calls_last;
    if (c->calls_last != NULL)
        c->calls_last->next = call;
    else
        c->calls = call;
    c->calls_last = call;
    call->try_ms = c->now_ms;
    return call;
}

struct call *client_call_new(struct client *c, const struct client_request *r)
{
    struct call *call = call_add(c);
    call->request = *r;
    buf_append(&call->name, r->name.data, r->name.size);
    if (r->op == CLIENT_CHANGE) {
        buf_append(&call->name, r->change.changes.data, r->change.changes.size);
        call->request.change.changes = span_buf(&call->name);
    }
    call->request.name = span_buf(&call->name);
    uint32_t timeout_ms = r->timeout_ms > 0 ? r->timeout_ms : c->cfg.timeout_ms;
    call->deadline_ms = c->now_ms + timeout_ms;
    call->answers_seen = c->record_answers;
    call->next_group = 1;
    return call;
}

void client_call_free(struct call *call)
{
    for (size_t i = 0; i < call->stream_count; i++)
        mem_free((void *)call->streams[i].name.data);
    mem_free(call->streams);
    buf_free(&call->name);
    buf_free(&call->after);
    mem_free(call);
}

static void end_attempt(struct client *c, struct call *call)
{
    if (call->number == 0)
        return;
    ASSERT(c->links[call->link].flight_requests > 0);
    c->links[call->link].flight_requests--;
    call->number = 0;
}

static void call_remove(struct client *c, struct call *call)
{
    end_attempt(c, call);
    if (call->previous != NULL)
        call->previous->next = call->next;
    else
        c->calls = call->next;
    if (call->next != NULL)
        call->next->previous = call->previous;
    else
        c->calls_last = call->previous;
}

static void drop_parts(struct client *c, const struct call *whole)
{
    struct call *call = c->calls;
    while (call != NULL && whole->parts > 0) {
        struct call *next = call->next;
        if (call->whole == whole) {
            call_remove(c, call);
            client_call_free(call);
        }
        call = next;
    }
}

/* The result; what it borrows lives until the next input. */
static struct client_result *finish(struct client *c, struct call *call,
                                    enum err err)
{
    ASSERT(call->whole == NULL);
    drop_parts(c, call);
    call_remove(c, call);
    c->call_count--;
    call->next = c->finished;
    c->finished = call;
    struct client_result *r = &client_push(c, CLIENT_DO_DONE)->result;
    r->token = call->request.token;
    r->op = call->request.op;
    r->err = err;
    if (call->group > 0)
        r->partition = call->group - 1;
    memcpy(r->text, call->text, sizeof r->text);
    return r;
}

/* A part's failure is its whole's. Callers that walk the calls begin anew
 * after it. */
static void fail(struct client *c, struct call *call, enum err err)
{
    struct call *whole = call->whole;
    if (whole == NULL) {
        (void)finish(c, call, err);
        return;
    }
    memcpy(whole->text, call->text, sizeof whole->text);
    (void)finish(c, whole, err);
}

/* ---- attempts ---------------------------------------------------------- */

static bool changes_something(const struct call *call)
{
    switch (call->request.op) {
    case CLIENT_CREATE:
    case CLIENT_PRODUCER:
    case CLIENT_JOIN:
    case CLIENT_CHANGE:
    case CLIENT_RECOVER:
        return true;
    case CLIENT_CONNECT:
    case CLIENT_OPEN:
    case CLIENT_INFO:
    case CLIENT_READ:
    case CLIENT_LIST:
    case CLIENT_STATUS:
    case CLIENT_RECORD:
    case CLIENT_CHECK:
        break;
    }
    return false;
}

/* The group that a call is about; 0 for those about none, and for those that
 * the ring's leader answers: JOIN and CHANGE. */
static uint32_t group_of(const struct client *c, const struct call *call)
{
    const struct client_request *r = &call->request;
    uint8_t hash[16];
    switch (r->op) {
    case CLIENT_CREATE:
    case CLIENT_OPEN:
        c->cfg.stream_hash(c->cluster, r->name, hash);
        return record_partition(c->record->partitions, hash) + 1;
    case CLIENT_INFO:
    case CLIENT_PRODUCER:
    case CLIENT_READ:
        return r->partition + 1;
    case CLIENT_LIST:
        return call->group; /* a part's was set when it was made */
    case CLIENT_CONNECT:
    case CLIENT_STATUS:
    case CLIENT_RECORD:
    case CLIENT_JOIN:
    case CLIENT_CHANGE:
    case CLIENT_CHECK: /* its node answers, whoever leads */
    case CLIENT_RECOVER:
        break;
    }
    return 0;
}

static uint32_t contact_link(const struct client *c, uint32_t turn)
{
    for (uint32_t i = 0; i < c->link_count; i++) {
        uint32_t link = (turn + i) % c->link_count;
        if (!id_is_zero(c->links[link].node) &&
            c->now_ms >= c->links[link].silent_until_ms)
            return link;
    }
    return UINT32_MAX;
}

/* A question to one node about itself. */
static bool asks_member(const struct call *call)
{
    return call->request.op == CLIENT_STATUS ||
           call->request.op == CLIENT_RECOVER ||
           call->request.op == CLIENT_CHECK;
}

static uint32_t choose_link(struct client *c, const struct call *call)
{
    const struct client_request *r = &call->request;
    if (asks_member(call))
        return id_is_zero(r->node) ? contact_link(c, call->turn)
                                   : client_route_node(c, r->node);
    bool is_any = r->any_replica || call->is_damaged;
    if (r->op == CLIENT_READ && is_any && !call->needs_leader)
        return client_route_replica(c, call->group, c->spread++);
    return client_route_leader(c, call->group, call->turn);
}

static enum err build_command(struct client *c, const struct call *call,
                              struct request *out)
{
    const struct client_request *r = &call->request;
    struct command command = {
        .kind = r->op == CLIENT_CREATE ? COMMAND_CREATE : COMMAND_OPEN_PRODUCER,
        .name = r->name,
        .stream = r->stream,
        .is_unnamed = r->is_unnamed,
    };
    wire_commands_clear(&c->commands);
    enum err err = wire_commands_add(&c->commands, &command);
    out->op = OP_COMMANDS;
    out->commands = span_buf(&c->commands.bytes);
    out->command_count = c->commands.count;
    return err;
}

static enum err build_request(struct client *c, const struct call *call,
                              struct request *out)
{
    const struct client_request *r = &call->request;
    *out = (struct request){.group = call->group};
    switch (r->op) {
    case CLIENT_CREATE:
    case CLIENT_PRODUCER:
        return build_command(c, call, out);
    case CLIENT_OPEN:
        out->op = OP_OPEN;
        out->name = r->name;
        return ERR_OK;
    case CLIENT_INFO:
        out->op = OP_INFO;
        out->stream = r->stream;
        return ERR_OK;
    case CLIENT_READ:
        out->op = OP_READ;
        out->stream = r->stream;
        out->from_seq = r->from_seq;
        out->end_seq = r->end_seq;
        out->count_max = r->count_max;
        out->bytes_max = (uint32_t)min_u64(r->bytes_max, READ_BYTES_MAX);
        return ERR_OK;
    case CLIENT_LIST:
        out->op = OP_LIST;
        out->name = r->name;
        out->after = span_buf(&call->after);
        out->count_max = LIST_COUNT_MAX;
        return ERR_OK;
    case CLIENT_STATUS:
        out->op = OP_STATUS;
        return ERR_OK;
    case CLIENT_JOIN:
        out->op = OP_JOIN;
        out->member = r->member;
        return ERR_OK;
    case CLIENT_CHANGE:
        out->op = OP_CHANGE;
        out->change = r->change;
        out->epoch = r->epoch;
        return ERR_OK;
    case CLIENT_CHECK:
        out->op = OP_CHECK;
        out->group = r->group;
        out->check = r->check;
        return ERR_OK;
    case CLIENT_RECOVER:
        out->op = OP_RECOVER;
        out->generation = r->generation;
        return ERR_OK;
    case CLIENT_CONNECT:
    case CLIENT_RECORD:
        break;
    }
    return ERR_BAD_REQUEST; /* these are not sent: see step */
}

static void attempt(struct client *c, struct call *call)
{
    call->group = group_of(c, call);
    if (call->group >= c->record->row_count) {
        client_say(call->text, span_str("there is no such partition"));
        fail(c, call, ERR_BAD_REQUEST);
        return;
    }
    uint32_t link = choose_link(c, call);
    if (link == UINT32_MAX && asks_member(call) &&
        !id_is_zero(call->request.node)) {
        client_say(call->text, span_str("there is no such member"));
        fail(c, call, ERR_NOT_FOUND);
        return;
    }
    /* How a node is: nobody else can say that, and it is not there. */
    if (link != UINT32_MAX && asks_member(call) && c->links[link].is_lost) {
        client_say(call->text, span_str("nobody is there"));
        fail(c, call, ERR_UNAVAILABLE);
        return;
    }
    if (link == UINT32_MAX ||
        c->links[link].flight_requests >= LINK_CALLS_MAX) {
        call->try_ms = c->now_ms + c->cfg.backoff_min_ms;
        return;
    }
    struct request r;
    enum err err = build_request(c, call, &r);
    if (err != ERR_OK) {
        fail(c, call, err);
        return;
    }
    call->number = ++c->next_number;
    call->link = link;
    call->attempt_deadline_ms = c->now_ms + c->cfg.attempt_ms;
    c->links[link].flight_requests++;
    struct wire_out *o = client_message(c, link, call->number);
    wire_request_write(o, &r);
    client_send(c, link, o);
}

/* Another attempt, after a wait or at once. */
static void try_again(struct client *c, struct call *call, bool is_at_once)
{
    end_attempt(c, call);
    call->turn++;
    uint32_t wait = is_at_once ? 0 : client_backoff(c, call->failures);
    call->failures++;
    call->try_ms = c->now_ms + wait;
}

void client_call_lost(struct client *c, uint32_t link)
{
    for (struct call *call = c->calls; call != NULL; call = call->next)
        if (call->number != 0 && call->link == link)
            call->attempt_deadline_ms = c->now_ms;
}

static void attempt_ran_out(struct client *c, struct call *call)
{
    if (changes_something(call))
        call->is_unknown = true;
    client_route_silent(c, call->group, call->link);
    try_again(c, call, true);
}

/* ---- the end of its time ----------------------------------------------- */

static void take_reason_of_part(const struct client *c, struct call *whole)
{
    for (const struct call *p = c->calls; p != NULL; p = p->next) {
        if (p->whole != whole || p->err == ERR_OK)
            continue;
        whole->err = p->err;
        memcpy(whole->text, p->text, sizeof whole->text);
        return;
    }
}

static void expire(struct client *c, struct call *call)
{
    if (call->request.op == CLIENT_LIST && call->err == ERR_OK)
        take_reason_of_part(c, call);
    bool is_asked = call->number != 0 && changes_something(call);
    enum err err = call->err;
    if (c->record == NULL) {
        err = c->refusal != ERR_OK ? c->refusal : ERR_UNAVAILABLE;
        const char *text =
            c->refusal_text[0] != 0 ? c->refusal_text : "no node answered";
        client_say(call->text, span_str(text));
    } else if (RULE(T18) && (call->is_unknown || is_asked)) {
        err = ERR_TIMEOUT;
    } else if (err == ERR_OK) {
        err = ERR_TIMEOUT;
        client_say(call->text, span_str("no answer in time"));
    }
    fail(c, call, err);
}

/* ---- lists ------------------------------------------------------------- */

static void list_parts(struct client *c, struct call *whole)
{
    while (whole->parts < LIST_PARTS_MAX &&
           whole->next_group < c->record->row_count) {
        struct call *part = call_add(c);
        part->request = whole->request; /* borrows the whole's name */
        part->whole = whole;
        part->group = whole->next_group++;
        part->deadline_ms = whole->deadline_ms;
        whole->parts++;
    }
}

static int compare_names(const void *a, const void *b)
{
    const struct stream_info *x = a;
    const struct stream_info *y = b;
    return span_compare(x->name, y->name);
}

static void list_take(struct call *whole, const struct stream_info *s)
{
    if (whole->stream_count == whole->stream_capacity) {
        whole->stream_capacity =
            whole->stream_capacity == 0 ? 64 : whole->stream_capacity * 2;
        whole->streams = mem_resize(whole->streams, whole->stream_capacity *
                                                        sizeof *whole->streams);
    }
    struct stream_info *mine = &whole->streams[whole->stream_count++];
    *mine = *s;
    mine->name.data = mem_copy(s->name.data, s->name.size);
}

static void list_answered(struct client *c, struct call *part)
{
    struct call *whole = part->whole;
    struct dec d = dec_of(c->response.streams);
    struct stream_info s;
    bool ascends = true;
    while (ascends && wire_stream_next(&d, &s)) {
        ascends = span_compare(s.name, span_buf(&part->after)) > 0;
        if (!ascends)
            break;
        list_take(whole, &s);
        buf_clear(&part->after);
        buf_append(&part->after, s.name.data, s.name.size);
    }
    end_attempt(c, part);
    if (ascends && c->response.has_more && c->response.stream_count > 0) {
        part->try_ms = c->now_ms;
        return;
    }
    call_remove(c, part);
    client_call_free(part);
    whole->parts--;
    if (whole->parts > 0 || whole->next_group < c->record->row_count)
        return;
    if (whole->stream_count > 0)
        qsort(whole->streams, whole->stream_count, sizeof *whole->streams,
              compare_names);
    struct client_result *r = finish(c, whole, ERR_OK);
    r->streams = whole->streams;
    r->stream_count = whole->stream_count;
}

/* ---- answers ----------------------------------------------------------- */

static void refused(struct client *c, struct call *call, enum err err)
{
    const struct response *r = &c->response;
    client_say(call->text, r->text);
    if (err == ERR_TIMEOUT && changes_something(call))
        call->is_unknown = true;
    if (err == ERR_MOVED || err == ERR_NOT_HERE) {
        bool is_known = client_route_moved(c, call->group, call->link, r->hint);
        bool is_follower =
            call->request.op == CLIENT_READ && !call->needs_leader;
        call->needs_leader = true;
        call->err = ERR_UNAVAILABLE; /* neither ever reaches a user */
        if (call->text[0] == 0)
            client_say(call->text,
                       span_str("no node leads this partition now"));
        try_again(c, call,
                  is_follower || (is_known && call->failures < HINTS_MAX));
        return;
    }
    /* Who may not do it any more says nothing of whether it was done. */
    if (RULE(T18) && err == ERR_DENIED && call->is_unknown) {
        fail(c, call, ERR_TIMEOUT);
        return;
    }
    call->err = err;
    if (err == ERR_CORRUPT) { /* the others' copies need not be, nor theirs */
        call->is_damaged = true;
        call->needs_leader = false;
    }
    if (client_is_transient(err))
        try_again(c, call, false);
    else
        fail(c, call, err);
}

static void command_answered(struct client *c, struct call *call)
{
    struct dec d = dec_of(c->response.verdicts);
    struct verdict v;
    if (c->response.verdict_count != 1 || !wire_verdict_next(&d, &v)) {
        refused(c, call, ERR_TIMEOUT);
        return;
    }
    if (v.err != ERR_OK) {
        refused(c, call, v.err);
        return;
    }
    struct client_result *r = finish(c, call, ERR_OK);
    r->is_duplicate = v.is_duplicate;
    if (call->request.op == CLIENT_CREATE) {
        r->stream.id = v.id;
        r->stream.name = call->request.name;
        r->stream.next_seq = v.next_seq;
        return;
    }
    r->producer = client_append_open(c, call, &v);
    r->next_number = v.next_number;
    if (r->producer == 0)
        r->err = ERR_BUSY;
}

static void stream_answered(struct client *c, struct call *call)
{
    struct dec d = dec_of(c->response.streams);
    struct stream_info s;
    bool is_read = wire_stream_next(&d, &s);
    ASSERT(is_read); /* wire_response_read has seen one */
    struct client_result *r = finish(c, call, ERR_OK);
    r->stream = s;
}

/* True: what came is what was asked for, from its first segment on. */
static bool read_fits(const struct call *call, const struct response *r)
{
    struct dec d = dec_of(r->segments);
    struct segment_head previous = {0};
    struct segment_head s;
    if (!wire_segment_next(&d, &previous, &s))
        return true;
    const struct client_request *q = &call->request;
    return s.seq == q->from_seq && r->segment_count <= q->end_seq - q->from_seq;
}

static void read_answered(struct client *c, struct call *call,
                          const struct wire_in *in, uint64_t handle)
{
    const struct response *answer = &c->response;
    if (!read_fits(call, answer)) {
        refused(c, call, ERR_CORRUPT);
        return;
    }
    /* Where the end is, only the leader says (S30). */
    if (answer->segment_count == 0 && !answer->is_leader) {
        refused(c, call, ERR_NOT_HERE);
        return;
    }
    struct client_result *r = finish(c, call, ERR_OK);
    r->read = answer;
    r->payload = in->payload;
    r->payload_handle = handle;
}

static enum wire_op wire_op_of(enum client_op op)
{
    switch (op) {
    case CLIENT_CREATE:
    case CLIENT_PRODUCER:
        return OP_COMMANDS;
    case CLIENT_OPEN:
        return OP_OPEN;
    case CLIENT_INFO:
        return OP_INFO;
    case CLIENT_READ:
        return OP_READ;
    case CLIENT_LIST:
        return OP_LIST;
    case CLIENT_STATUS:
        return OP_STATUS;
    case CLIENT_JOIN:
        return OP_JOIN;
    case CLIENT_CHANGE:
        return OP_CHANGE;
    case CLIENT_CHECK:
        return OP_CHECK;
    case CLIENT_RECOVER:
        return OP_RECOVER;
    case CLIENT_CONNECT:
    case CLIENT_RECORD:
        break;
    }
    return OP_NONE;
}

static void answered_ok(struct client *c, struct call *call,
                        const struct wire_in *in, uint64_t handle)
{
    switch (c->response.op) {
    case OP_COMMANDS:
        command_answered(c, call);
        return;
    case OP_OPEN:
    case OP_INFO:
        stream_answered(c, call);
        return;
    case OP_READ:
        read_answered(c, call, in, handle);
        return;
    case OP_LIST:
        list_answered(c, call);
        return;
    case OP_STATUS:
    case OP_CHECK:
        finish(c, call, ERR_OK)->bytes = c->response.bytes;
        return;
    case OP_JOIN:
        (void)finish(c, call, ERR_OK);
        return;
    case OP_CHANGE:
    case OP_RECOVER:
        finish(c, call, ERR_OK)->epoch = c->response.epoch;
        return;
    case OP_NONE:
    case OP_HELLO:
    case OP_RECORD:
        break;
    }
}

bool client_call_answered(struct client *c, uint32_t link, uint64_t number,
                          const struct wire_in *in, uint64_t handle)
{
    struct call *call = c->calls;
    while (call != NULL && (call->number != number || call->link != link))
        call = call->next;
    if (call == NULL)
        return false;
    const struct response *r = &c->response;
    if (r->op != OP_NONE && r->op != wire_op_of(call->request.op))
        return true; /* the attempt runs out */
    if (r->err == ERR_OK && r->op != OP_READ && !asks_member(call))
        c->leaders[call->group] = c->links[link].node;
    if (r->err == ERR_OK) {
        answered_ok(c, call, in, handle);
        return true;
    }
    if (call->request.op == CLIENT_READ && r->err == ERR_TRIMMED) {
        struct client_result *result = finish(c, call, r->err);
        result->read = r;
        client_say(result->text, r->text);
        return true;
    }
    refused(c, call, r->err);
    return true;
}

/* ---- the turn ---------------------------------------------------------- */

static void step(struct client *c, struct call *call)
{
    if (call->request.op == CLIENT_CONNECT) {
        if (c->record != NULL)
            (void)finish(c, call, ERR_OK);
        return;
    }
    if (call->request.op == CLIENT_RECORD) {
        if (c->record_answers > call->answers_seen)
            (void)finish(c, call, ERR_OK);
        return;
    }
    if (c->record == NULL)
        return;
    if (call->request.op == CLIENT_LIST && call->whole == NULL)
        list_parts(c, call);
    else if (call->number == 0 && c->now_ms >= call->try_ms)
        attempt(c, call);
}

/* Where the record is refused for good, waiting would not help. */
static bool is_locked_out(const struct client *c)
{
    return c->record == NULL &&
           (c->refusal == ERR_DENIED || c->refusal == ERR_INCOMPATIBLE);
}

void client_call_turn(struct client *c)
{
    /* A call that ends may take others with it (a LIST its parts), so that the
     * walk begins anew. */
    struct call *call = c->calls;
    while (call != NULL) {
        const struct call *finished = c->finished;
        bool is_over = c->is_ticked && c->now_ms >= call->deadline_ms;
        if (is_over || is_locked_out(c)) {
            expire(c, call);
        } else {
            if (c->is_ticked && call->number != 0 &&
                c->now_ms >= call->attempt_deadline_ms)
                attempt_ran_out(c, call);
            step(c, call);
        }
        call = c->finished != finished ? c->calls : call->next;
    }
}

uint64_t client_call_deadline(const struct client *c)
{
    uint64_t at = UINT64_MAX;
    for (const struct call *call = c->calls; call != NULL; call = call->next) {
        at = min_u64(at, call->deadline_ms);
        if (call->number != 0)
            at = min_u64(at, call->attempt_deadline_ms);
        else if (c->record != NULL && call->request.op != CLIENT_RECORD &&
                 (call->request.op != CLIENT_LIST || call->whole != NULL))
            at = min_u64(at, call->try_ms);
    }
    return at;
}
