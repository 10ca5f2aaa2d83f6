/* node_serve.c - what clients ask, and what they are answered.
 *
 * Commands: admitted by the speculative state (T31), gathered into the
 * group's next entry, answered by the verdict when the entry of that very
 * term is applied (S18, T5). Before a command is in the log it may be refused
 * as UNAVAILABLE, BUSY, NO_SPACE or MOVED, "nothing done" (S21); after that
 * only a verdict or TIMEOUT is said.
 *
 * Questions (open, info, list, the end of a stream) wait for a read-index
 * round; reads of segments that are there are served by any replica. */
#include "node/node_impl.h"

#include <stdio.h>

#define READINGS_MAX  4096u
#define QUESTIONS_MAX 4096u
/* Heads of segments that one answer may hold beside its payload. */
#define READ_HEADS_BYTES (56 * KIB)
#define READ_COUNT_MAX   1024u
#define LIST_COUNT_MAX   1024u
#define RESPONSE_ROOM    4096u

static const struct id128 nobody = {{0}};

/* ---- answers ----------------------------------------------------------- */

static void begin_response(struct node *n, struct wire_out *m, uint64_t number)
{
    struct wire_header h = {
        .kind = WIRE_RESPONSE,
        .cluster = n->cfg.folder.cluster,
        .from = n->cfg.folder.node,
        .boot = n->cfg.folder.boot,
        .epoch = n->record->epoch,
        .number = number,
    };
    wire_begin(m, &h);
}

static void end_response(struct node *n, uint64_t connection,
                         struct wire_out *m, const struct response *r)
{
    struct response full = *r;
    /* While there is room, one client alone may keep the disk busy; more
     * bytes than these would only wait longer. */
    bool has_room = n->client_bytes < CLIENTS_BYTES_MAX / 4;
    full.credit_bytes = CLIENT_CREDIT_BYTES;
    full.credit_commands =
        has_room ? CLIENT_CREDIT_COMMANDS_MAX : CLIENT_CREDIT_COMMANDS;
    wire_response_write(m, &full);
    wire_end(m);
    node_send_client(n, connection, m);
}

void node_respond(struct node *n, uint64_t connection, uint64_t number,
                  const struct response *r)
{
    struct wire_out m = {0};
    begin_response(n, &m, number);
    end_response(n, connection, &m, r);
}

void node_refuse(struct node *n, uint64_t connection, uint64_t number,
                 enum wire_op op, enum err err, struct id128 hint,
                 const char *text)
{
    struct response r = {
        .op = op, .err = err, .hint = hint, .text = span_str(text)};
    node_respond(n, connection, number, &r);
}

/* ---- calls: requests with commands ------------------------------------- */

static void call_finish(struct node *n, struct call *c)
{
    struct buf verdicts = {0};
    for (uint16_t i = 0; i < c->count; i++)
        wire_verdict_write(&verdicts, &c->verdicts[i]);
    struct response r = {
        .op = OP_COMMANDS,
        .err = ERR_OK,
        .verdicts = span_buf(&verdicts),
        .verdict_count = c->count,
    };
    node_respond(n, c->connection, c->number, &r);
    buf_free(&verdicts);
    n->client_bytes -= c->bytes;
    mem_free(c->verdicts);
    mem_free(c);
}

static void call_judged(struct node *n, struct waiter w,
                        const struct verdict *v)
{
    ASSERT(w.at < w.call->count && w.call->left > 0);
    w.call->verdicts[w.at] = *v;
    if (v->err == ERR_OK)
        n->appends++;
    if (--w.call->left == 0)
        call_finish(n, w.call);
}

static void judge_all(struct node *n, const struct waiter *waiters,
                      uint32_t count, enum err err)
{
    struct verdict v = {.err = err};
    for (uint32_t i = 0; i < count; i++)
        call_judged(n, waiters[i], &v);
}

/* ---- gathering and proposing ------------------------------------------- */

static void gather_begin(struct node *n, struct group *g)
{
    struct entry_stamp stamp = {n->record->epoch, n->record->level,
                                g->next_entry_time_ms};
    entry_build(&g->builder, &g->gather, stamp);
    if (g->gather_waiters == NULL)
        g->gather_waiters =
            mem_alloc(ENTRY_COMMANDS_MAX * sizeof *g->gather_waiters);
    g->gather_slice_count = 0;
    g->is_gathering = true;
}

/* What was gathered and is not in the log: nothing was done. */
static void gather_drop(struct node *n, struct group *g, enum err err)
{
    if (!g->is_gathering)
        return;
    g->is_gathering = false;
    for (uint32_t i = 0; i < g->gather_slice_count; i++)
        item_pool_release(&n->pool, g->gather_slices[i].handle);
    g->gather_slice_count = 0;
    judge_all(n, g->gather_waiters, g->builder.header.command_count, err);
}

static void gather_propose(struct node *n, struct group *g)
{
    uint32_t count = g->builder.header.command_count;
    if (count == 0) {
        g->is_gathering = false;
        return;
    }
    entry_end(&g->builder);
    struct item *item = item_new(&n->pool, span_buf(&g->gather),
                                 g->gather_slices, g->gather_slice_count);
    uint64_t index, term;
    enum err err = raft_propose(g->raft, item, &index, &term);
    g->gather_slice_count = 0; /* the item owns the references now */
    if (err != ERR_OK) {
        item_unref(&n->pool, item);
        gather_drop(n, g, err);
        node_group_speculate(g);
        return;
    }
    g->is_gathering = false;
    struct pending *p = node_queue_push(&g->pendings);
    p->index = index;
    p->term = term;
    p->count = count;
    p->waiters = mem_copy(g->gather_waiters, count * sizeof *p->waiters);
}

void node_serve_gather(struct node *n, struct group *g)
{
    if (!g->is_gathering || g->pendings.count >= ENTRIES_INFLIGHT)
        return;
    if (node_group_is_leading(g)) {
        gather_propose(n, g);
    } else {
        gather_drop(n, g, ERR_MOVED);
        node_group_speculate(g);
    }
}

static void gather_slice(struct node *n, struct group *g, struct slice s)
{
    if (s.size == 0)
        return;
    node_push(n, NODE_DO_ACQUIRE)->handle = s.handle;
    if (g->gather_slice_count == g->gather_slice_capacity) {
        uint32_t capacity = g->gather_slice_capacity;
        g->gather_slice_capacity = capacity == 0 ? 16 : capacity * 2;
        g->gather_slices =
            mem_resize(g->gather_slices,
                       g->gather_slice_capacity * sizeof *g->gather_slices);
    }
    g->gather_slices[g->gather_slice_count++] = s;
}

/* One command of a call: into the entry that gathers, or judged at once. */
static void command_received(struct node *n, struct group *g, struct call *call,
                             const struct command *c, struct slice payload)
{
    struct verdict v = {0};
    bool is_final;
    struct waiter waiter = {call, c->ordinal};
    v.err = streams_admit(g->streams, c, &v, &is_final);
    if (v.err != ERR_OK || v.is_duplicate) {
        call_judged(n, waiter, &v);
        return;
    }
    if (!g->is_gathering)
        gather_begin(n, g);
    enum err err = entry_add(&g->builder, c);
    if (err == ERR_TOO_LARGE && g->builder.header.command_count > 0) {
        gather_propose(n, g);
        if (!node_group_is_leading(g)) {
            v.err = ERR_MOVED;
            call_judged(n, waiter, &v);
            return;
        }
        gather_begin(n, g);
        err = entry_add(&g->builder, c);
    }
    if (err != ERR_OK) {
        v.err = err;
        call_judged(n, waiter, &v);
        return;
    }
    g->gather_waiters[g->builder.header.command_count - 1] = waiter;
    gather_slice(n, g, payload);
    streams_spec_command(g->streams, c);
}

/* Why no command is let in now; OK if it may. Nothing was done yet (S21). */
static enum err may_command(const struct node *n, const struct group *g,
                            char text[160])
{
    uint32_t voters = config_voters(raft_config(g->raft));
    text[0] = 0;
    /* Not the voters count but their majority: that many disks it is on. */
    if (RULE(T3) && record_majority(voters) < n->record->acks) {
        uint32_t least = 2 * n->record->acks - 2;
        (void)snprintf(text, 160, "needs %u more node%s", least - voters,
                       least - voters == 1 ? "" : "s");
        return ERR_UNAVAILABLE;
    }
    if (n->is_full) {
        (void)snprintf(text, 160,
                       "at the node that leads this partition; eddy ring "
                       "status names who is low");
        return ERR_NO_SPACE;
    }
    if (n->is_stopping)
        return ERR_UNAVAILABLE;
    if (n->unstored_entries >= UNSTORED_ENTRIES_MAX ||
        n->unstored_bytes >= UNSTORED_BYTES_MAX ||
        n->client_bytes >= CLIENTS_BYTES_MAX ||
        raft_uncommitted_bytes(g->raft) >= GROUP_UNCOMMITTED_BYTES_MAX)
        return ERR_BUSY;
    return ERR_OK;
}

static void commands_received(struct node *n, struct group *g,
                              const struct wire_in *in, const struct request *r,
                              uint64_t connection, uint64_t handle)
{
    char text[160];
    enum err err = may_command(n, g, text);
    if (err != ERR_OK) {
        node_refuse(n, connection, in->header.number, r->op, err, nobody, text);
        return;
    }
    struct call *call = mem_alloc(sizeof *call);
    call->connection = connection;
    call->number = in->header.number;
    call->bytes = (uint32_t)in->payload.size + (uint32_t)r->commands.size;
    /* One more than there are commands: it is not answered half-way. */
    call->count = r->command_count;
    call->left = (uint16_t)(r->command_count + 1);
    call->verdicts = mem_alloc(call->count * sizeof *call->verdicts);
    n->client_bytes += call->bytes;
    struct commands_iter it;
    struct command c;
    uint32_t at = in->payload_at;
    wire_commands_begin(&it, r);
    while (wire_commands_next(&it, &c)) {
        uint32_t size = c.kind == COMMAND_APPEND ? c.size : 0;
        command_received(n, g, call, &c, (struct slice){handle, at, size});
        at += size;
    }
    if (--call->left == 0)
        call_finish(n, call);
    node_dirty(n, g);
}

/* ---- verdicts ---------------------------------------------------------- */

static void pending_done(struct group *g, struct pending *p)
{
    mem_free(p->waiters);
    node_queue_pop(&g->pendings);
}

void node_serve_judged(struct node *n, struct group *g, uint64_t index,
                       uint64_t term, const struct verdict *v, uint32_t count)
{
    while (g->pendings.count > 0) {
        struct pending *p = node_queue_at(&g->pendings, 0);
        if (p->index > index)
            return;
        /* T5: only the entry of that very term is ours. */
        bool is_ours = p->index == index && (!RULE(T5) || p->term == term) &&
                       p->count <= count;
        for (uint32_t i = 0; is_ours && i < p->count; i++)
            call_judged(n, p->waiters[i], &v[i]);
        if (!is_ours)
            judge_all(n, p->waiters, p->count, ERR_TIMEOUT);
        pending_done(g, p);
    }
}

void node_serve_deposed(struct node *n, struct group *g)
{
    gather_drop(n, g, ERR_MOVED);
    /* In the log, fate unknown: never "nothing done" (S21, T5). */
    while ((RULE(T5) || !RULE(S21)) && g->pendings.count > 0) {
        struct pending *p = node_queue_at(&g->pendings, 0);
        judge_all(n, p->waiters, p->count,
                  RULE(S21) ? ERR_TIMEOUT : ERR_UNAVAILABLE);
        pending_done(g, p);
    }
    while (g->questions.count > 0) {
        struct question *q = node_queue_at(&g->questions, 0);
        node_refuse(n, q->connection, q->number, q->request.op, ERR_MOVED,
                    node_group_hint(g), "leadership has moved");
        mem_free(q->text);
        node_queue_pop(&g->questions);
    }
}

void node_serve_drop(struct node *n, struct group *g)
{
    node_serve_deposed(n, g);
    while (g->pendings.count > 0) {
        struct pending *p = node_queue_at(&g->pendings, 0);
        judge_all(n, p->waiters, p->count, ERR_TIMEOUT);
        pending_done(g, p);
    }
    node_queue_free(&g->pendings);
    node_queue_free(&g->questions);
    buf_free(&g->gather);
    mem_free(g->gather_slices);
    mem_free(g->gather_waiters);
}

/* ---- questions --------------------------------------------------------- */

static void not_leading(struct node *n, const struct group *g,
                        uint64_t connection, uint64_t number, enum wire_op op)
{
    if (g == NULL) {
        node_refuse(n, connection, number, op, ERR_MOVED, nobody,
                    "this node does not keep that partition");
    } else if (g->is_quarantined) {
        node_refuse(n, connection, number, op, ERR_MOVED, nobody,
                    g->quarantine_text);
    } else if (raft_role(g->raft) == RAFT_LEADER) {
        node_refuse(n, connection, number, op, ERR_UNAVAILABLE, nobody,
                    raft_reason(g->raft, n->now_ms));
    } else {
        struct id128 hint = node_group_hint(g);
        node_refuse(n, connection, number, op, ERR_MOVED, hint,
                    id_is_zero(hint) ? raft_reason(g->raft, n->now_ms)
                                     : "another node leads this partition");
    }
}

/* R9: whose word would be final. */
static bool may_ask_quorum(const struct group *g)
{
    return node_group_is_leading(g) ||
           (!RULE(R9) && raft_role(g->raft) == RAFT_LEADER);
}

/* Keeps the request with copies of its texts until its round is done. */
static void ask_quorum(struct node *n, struct group *g, const struct request *r,
                       uint64_t connection, uint64_t number)
{
    if (g->questions.count >= QUESTIONS_MAX) {
        node_refuse(n, connection, number, r->op, ERR_BUSY, nobody, "");
        return;
    }
    uint64_t token = n->next_token++;
    enum err err = raft_read(g->raft, token, n->now_ms);
    if (err != ERR_OK) {
        not_leading(n, g, connection, number, r->op);
        return;
    }
    struct question *q = node_queue_push(&g->questions);
    q->token = token;
    q->connection = connection;
    q->number = number;
    q->request = *r;
    q->text = mem_alloc(r->name.size + r->after.size + 1);
    if (r->name.size > 0)
        memcpy(q->text, r->name.data, r->name.size);
    if (r->after.size > 0)
        memcpy(q->text + r->name.size, r->after.data, r->after.size);
    q->request.name = span_of(q->text, r->name.size);
    q->request.after = span_of(q->text + r->name.size, r->after.size);
    node_dirty(n, g);
}

void node_serve_confirmed(struct node *n, struct group *g, uint64_t token,
                          bool is_ok, uint64_t index)
{
    for (size_t i = 0; i < g->questions.count; i++) {
        struct question *q = node_queue_at(&g->questions, i);
        if (q->token != token)
            continue;
        if (is_ok) {
            q->is_confirmed = true;
            q->index = index;
            return;
        }
        node_refuse(n, q->connection, q->number, q->request.op, ERR_MOVED,
                    node_group_hint(g), "leadership has moved");
        mem_free(q->text);
        *q = *(struct question *)node_queue_at(&g->questions,
                                               g->questions.count - 1);
        node_queue_pop_back(&g->questions);
        return;
    }
}

static void answer_stream(struct node *n, const struct question *q,
                          const struct stream_info *info, enum err err)
{
    struct buf streams = {0};
    if (err == ERR_OK)
        wire_stream_write(&streams, info);
    struct response r = {
        .op = q->request.op,
        .err = err,
        .streams = span_buf(&streams),
        .stream_count = err == ERR_OK,
    };
    node_respond(n, q->connection, q->number, &r);
    buf_free(&streams);
}

static void answer_list(struct node *n, struct group *g,
                        const struct question *q)
{
    uint32_t wanted = q->request.count_max;
    wanted = wanted == 0 || wanted > LIST_COUNT_MAX ? LIST_COUNT_MAX : wanted;
    /* Not mem_alloc: it is large, and mostly little of it is needed. */
    struct stream_info *infos = mem_resize(NULL, (wanted + 1) * sizeof *infos);
    size_t count = streams_list(g->streams, q->request.name, q->request.after,
                                infos, wanted + 1);
    struct buf streams = {0};
    uint32_t put = 0;
    while (put < count && put < wanted &&
           streams.size + RESPONSE_ROOM < MESSAGE_BYTES_MAX / 4)
        wire_stream_write(&streams, &infos[put++]);
    struct response r = {
        .op = OP_LIST,
        .err = ERR_OK,
        .streams = span_buf(&streams),
        .stream_count = put,
        .has_more = put < count,
    };
    node_respond(n, q->connection, q->number, &r);
    buf_free(&streams);
    mem_free(infos);
}

static void read_segments(struct node *n, struct group *g,
                          const struct request *r, uint64_t connection,
                          uint64_t number, bool is_confirmed);

static void answer_question(struct node *n, struct group *g,
                            const struct question *q)
{
    struct stream_info info;
    enum err err;
    switch (q->request.op) {
    case OP_OPEN:
        err = streams_by_name(g->streams, q->request.name, &info);
        answer_stream(n, q, &info, err);
        return;
    case OP_INFO:
        err = streams_by_id(g->streams, q->request.stream, &info);
        answer_stream(n, q, &info, err);
        return;
    case OP_LIST:
        answer_list(n, g, q);
        return;
    case OP_READ:
        read_segments(n, g, &q->request, q->connection, q->number, true);
        return;
    case OP_NONE:
    case OP_HELLO:
    case OP_RECORD:
    case OP_JOIN:
    case OP_COMMANDS:
    case OP_STATUS:
    case OP_CHANGE:
    case OP_CHECK:
    case OP_RECOVER:
        break;
    }
    ASSERT(!"no question of this kind is ever kept");
}

void node_serve_questions(struct node *n, struct group *g)
{
    for (size_t i = 0; i < g->questions.count;) {
        struct question *q = node_queue_at(&g->questions, i);
        if (!q->is_confirmed || g->applied < q->index) {
            i++;
            continue;
        }
        struct question done = *q;
        *q = *(struct question *)node_queue_at(&g->questions,
                                               g->questions.count - 1);
        node_queue_pop_back(&g->questions);
        answer_question(n, g, &done);
        mem_free(done.text);
    }
}

/* ---- reads ------------------------------------------------------------- */

/* Runs of the stream that are applied and not stored yet go with the ticket
 * (T19): the reader consults them first. */
static void unstored_rows(const struct group *g, struct segments_ticket *t)
{
    for (size_t i = 0; i < g->images.count; i++) {
        const struct images *at = node_queue_at(&g->images, i);
        struct dec d = dec_of(span_buf(&at->rows));
        struct image image;
        while (image_next(&d, &image)) {
            struct run_row row;
            if (image.space != ROW_INDEX || image.is_delete ||
                run_row_read(image.key, image.value, &row) != ERR_OK ||
                !position_equal(row.stream, t->stream) ||
                row.first_seq >= t->end_seq ||
                row.first_seq + row.count <= t->from_seq)
                continue;
            image_put(&t->rows, &image);
        }
    }
}

static void order_read(struct node *n, struct group *g, const struct request *r,
                       uint64_t connection, uint64_t number, uint64_t end_seq)
{
    if (n->readings.count >= READINGS_MAX) {
        node_refuse(n, connection, number, OP_READ, ERR_BUSY, nobody, "");
        return;
    }
    struct reading *reading = node_queue_push(&n->readings);
    reading->ticket = n->next_ticket++;
    reading->connection = connection;
    reading->number = number;
    reading->group = g->id;
    reading->incarnation = g->incarnation;
    reading->stream = r->stream;
    struct node_effect *e = node_push(n, NODE_DO_READ);
    e->ticket = reading->ticket;
    uint32_t count_max = r->count_max;
    if (count_max == 0 || count_max > READ_COUNT_MAX)
        count_max = READ_COUNT_MAX;
    uint32_t bytes_max = r->bytes_max;
    if (bytes_max == 0 || bytes_max > READ_BYTES_MAX)
        bytes_max = READ_BYTES_MAX;
    e->segments = (struct segments_ticket){
        .group = g->id,
        .incarnation = g->incarnation,
        .stream = r->stream,
        .from_seq = r->from_seq,
        .end_seq = min_u64(end_seq, r->from_seq + count_max),
        .count_max = count_max,
        .bytes_max = bytes_max,
        .least_txn = n->last_txn,
    };
    if (RULE(T19))
        unstored_rows(g, &e->segments);
    n->reads++;
}

static void answer_end(struct node *n, uint64_t connection, uint64_t number,
                       const struct stream_info *info)
{
    struct response r = {
        .op = OP_READ,
        .err = ERR_OK,
        .next_seq = info->next_seq,
        .first_seq = info->first_seq,
        .is_leader = true,
    };
    node_respond(n, connection, number, &r);
}

/* Any replica says yes to what it has; only a leader, after read-index, says
 * that there is no such stream or no more of it (S30). */
static void read_segments(struct node *n, struct group *g,
                          const struct request *r, uint64_t connection,
                          uint64_t number, bool is_confirmed)
{
    if (node_recover_is_former(g)) { /* S7: of another life */
        node_refuse(n, connection, number, OP_READ, ERR_NOT_HERE, nobody,
                    "the group was recovered: this replica is of another life");
        return;
    }
    struct stream_info info;
    enum err err = streams_by_id(g->streams, r->stream, &info);
    bool is_certain = is_confirmed || !RULE(S30);
    if (err == ERR_OK && r->from_seq < info.first_seq) {
        struct response trimmed = {.op = OP_READ,
                                   .err = ERR_TRIMMED,
                                   .next_seq = info.next_seq,
                                   .first_seq = info.first_seq};
        node_respond(n, connection, number, &trimmed);
        return;
    }
    uint64_t end = err == ERR_OK ? min_u64(info.next_seq, r->end_seq) : 0;
    if (err == ERR_OK && r->from_seq < end) {
        order_read(n, g, r, connection, number, end);
        return;
    }
    if (err == ERR_OK && is_certain) {
        answer_end(n, connection, number, &info);
        return;
    }
    if (is_certain) {
        node_refuse(n, connection, number, OP_READ, err, nobody, "");
        return;
    }
    if (may_ask_quorum(g)) {
        ask_quorum(n, g, r, connection, number);
        return;
    }
    node_refuse(n, connection, number, OP_READ, ERR_NOT_HERE,
                node_group_hint(g), "");
}

/* As many of the result's segments as one message can head. */
static uint32_t write_heads(const struct segments_result *result,
                            struct buf *heads, uint32_t *payload_bytes)
{
    struct segment_head previous = {0};
    uint32_t count = 0;
    *payload_bytes = 0;
    while (count < result->count && heads->size < READ_HEADS_BYTES) {
        const struct segment_meta *m = &result->metas[count++];
        struct segment_head head = {
            .seq = m->seq,
            .time_ms = m->time_ms,
            .size = m->size,
            .algorithm = m->algorithm,
            .checksum = m->checksum,
            .key_hash = m->key_hash,
            .attributes = span_of(result->attributes.data + m->attributes_at,
                                  m->attributes_size),
        };
        wire_segment_write(heads, &previous, &head);
        *payload_bytes += m->size;
    }
    return count;
}

static void answer_read(struct node *n, const struct reading *r,
                        const struct group *g,
                        const struct segments_result *result, uint64_t payload)
{
    struct stream_info info = {0};
    enum err err = streams_by_id(g->streams, r->stream, &info);
    if (err != ERR_OK) {
        node_refuse(n, r->connection, r->number, OP_READ, ERR_NOT_HERE,
                    node_group_hint(g), "");
        return;
    }
    struct buf heads = {0};
    uint32_t payload_bytes;
    uint32_t count = write_heads(result, &heads, &payload_bytes);
    struct response response = {
        .op = OP_READ,
        .err = ERR_OK,
        .segments = span_buf(&heads),
        .segment_count = count,
        .next_seq = info.next_seq,
        .first_seq = info.first_seq,
        .is_leader = false,
    };
    struct wire_out m = {0};
    begin_response(n, &m, r->number);
    if (payload_bytes > 0)
        wire_out_slice(&m, (struct slice){payload, 0, payload_bytes});
    end_response(n, r->connection, &m, &response);
    buf_free(&heads);
}

static void segments_read(struct node *n, const struct reading *r,
                          const struct segments_result *result,
                          uint64_t payload)
{
    struct group *g = node_group_same(n, r->group, r->incarnation);
    if (g == NULL || node_recover_is_former(
                         g)) { /* its rows may have been swept meanwhile */
        node_refuse(n, r->connection, r->number, OP_READ, ERR_NOT_HERE, nobody,
                    "the replica has gone");
    } else if (result->err == ERR_OK) {
        answer_read(n, r, g, result, payload);
    } else {
        /* The position is live (nothing is trimmed yet): it is damage, and
         * another replica has the bytes. */
        node_log(n, NODE_ERROR, "group %u: segment %llu cannot be read: %s",
                 r->group, (unsigned long long)result->bad_seq,
                 err_text(result->err));
        node_refuse(n, r->connection, r->number, OP_READ, ERR_CORRUPT, nobody,
                    "this replica's copy is damaged; another has it");
        node_check_scan(n, g);
    }
}

void node_read_done(struct node *n, uint64_t ticket,
                    const struct segments_result *result, uint64_t payload)
{
    struct reading r;
    bool is_there = node_reading_take(n, ticket, &r);
    ASSERT(is_there && r.kind == READING_SEGMENTS);
    if (!node_reading_is_bad(n, result->err))
        segments_read(n, &r, result, payload);
    if (payload != 0)
        item_pool_release(&n->pool, payload);
}

/* ---- requests ---------------------------------------------------------- */

static uint32_t rights_needed(enum wire_op op)
{
    switch (op) {
    case OP_HELLO:
    case OP_RECORD:
        return RIGHT_READ | RIGHT_WRITE | RIGHT_ADMIN | RIGHT_JOIN;
    case OP_JOIN:
        return RIGHT_JOIN | RIGHT_ADMIN;
    case OP_CHANGE:
    case OP_CHECK:
    case OP_RECOVER:
        return RIGHT_ADMIN;
    case OP_COMMANDS:
        return RIGHT_WRITE | RIGHT_ADMIN;
    case OP_OPEN:
    case OP_INFO:
    case OP_READ:
    case OP_LIST:
    case OP_STATUS:
        return RIGHT_READ | RIGHT_WRITE | RIGHT_ADMIN;
    case OP_NONE:
        break;
    }
    return 0;
}

static void answer_self(struct node *n, const struct wire_in *in,
                        const struct request *r, uint64_t connection)
{
    struct buf status = {0};
    struct response response = {.op = r->op, .err = ERR_OK};
    if (r->op == OP_HELLO) {
        response.node = n->cfg.folder.node;
        response.level = LEVEL_NOW;
        response.version = span_str(n->cfg.version);
    } else if (r->op == OP_RECORD) {
        if (epoch_compare(n->record->epoch, r->epoch) > 0)
            response.bytes = span_buf(&n->record_bytes);
    } else {
        node_status_write(n, &status);
        response.bytes = span_buf(&status);
    }
    node_respond(n, connection, in->header.number, &response);
    buf_free(&status);
}

static void group_request(struct node *n, const struct wire_in *in,
                          const struct request *r, uint64_t connection,
                          uint64_t handle)
{
    struct group *g = node_group(n, r->group);
    uint64_t number = in->header.number;
    if (r->group == 0 || r->group >= n->group_count) {
        node_refuse(n, connection, number, r->op, ERR_BAD_REQUEST, nobody,
                    "there is no such partition");
        return;
    }
    if (r->op == OP_READ && g != NULL && !g->is_quarantined) {
        read_segments(n, g, r, connection, number, false);
        return;
    }
    bool is_question = r->op != OP_COMMANDS;
    if (g == NULL ||
        !(is_question ? may_ask_quorum(g) : node_group_is_leading(g))) {
        not_leading(n, g, connection, number, r->op);
        return;
    }
    if (!is_question)
        commands_received(n, g, in, r, connection, handle);
    else
        ask_quorum(n, g, r, connection, number);
}

static bool is_for_us(const struct node *n, const struct wire_header *h,
                      enum wire_op op)
{
    bool may_be_blank = op == OP_HELLO || op == OP_RECORD || op == OP_JOIN;
    bool is_cluster = id_equal(h->cluster, n->cfg.folder.cluster) ||
                      (op == OP_HELLO && id_is_zero(h->cluster));
    bool is_node = id_equal(h->to, n->cfg.folder.node) ||
                   (may_be_blank && id_is_zero(h->to));
    return (is_cluster && is_node) || !RULE(S13);
}

void node_recv_client(struct node *n, uint64_t connection, struct span message,
                      uint64_t handle, const uint8_t *key, bool is_corrupt)
{
    struct wire_in in;
    enum err err = n->is_started ? wire_read(message, &in) : ERR_BAD_REQUEST;
    if (err == ERR_INCOMPATIBLE) {
        node_refuse(n, connection, in.header.number, OP_NONE, err, nobody,
                    "this node speaks another version of the protocol");
        n->dropped++;
        return;
    }
    if (err != ERR_OK || in.header.kind != WIRE_REQUEST) {
        n->dropped++;
        return;
    }
    n->has_work = true;
    struct request r;
    err = wire_request_read(&in, &r);
    if (err != ERR_OK) {
        node_refuse(n, connection, in.header.number, OP_NONE, err, nobody,
                    "the request makes no sense");
        n->dropped++;
        return;
    }
    if (!is_for_us(n, &in.header, r.op)) {
        n->dropped++;
        return;
    }
    static const uint8_t no_key[KEY_BYTES];
    uint32_t rights = record_rights(n->record, key == NULL ? no_key : key);
    if ((rights & rights_needed(r.op)) == 0) {
        node_refuse(n, connection, in.header.number, r.op, ERR_DENIED, nobody,
                    "this key has no right to do that; ask an administrator");
        return;
    }
    if (is_corrupt) {
        node_refuse(n, connection, in.header.number, r.op, ERR_CORRUPT, nobody,
                    "the bytes changed on the way");
        return;
    }
    if (r.op == OP_HELLO || r.op == OP_RECORD || r.op == OP_STATUS)
        answer_self(n, &in, &r, connection);
    else if (r.op == OP_JOIN)
        node_ring_join(n, connection, in.header.number, &r.member);
    else if (r.op == OP_CHANGE)
        node_admin_change(n, connection, in.header.number, &r);
    else if (r.op == OP_CHECK)
        node_check_asked(n, connection, in.header.number, &r);
    else if (r.op == OP_RECOVER)
        node_recover_ring(n, connection, in.header.number, r.generation);
    else
        group_request(n, &in, &r, connection, handle);
}
