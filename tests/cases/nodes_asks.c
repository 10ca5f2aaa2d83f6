/* nodes_asks.c - see nodes.h: what clients ask, and what they are answered.
 * Each request is a message of its own to one node, the leader unless the
 * case says otherwise; nothing is retried behind the reader's back. */
#include "tests/cases/nodes.h"

#include <stdio.h>

#include "net/check.h"
#include "net/keys.h"
#include "net/status.h"
#include "tests/cases/words.h"

#define ANSWER_MS     1000u
#define JOIN_MS       30000u
#define JOIN_AGAIN_MS 1500u

/* ---- names ------------------------------------------------------------- */

struct nodes_name *nodes_find_name(struct nodes *w, const char *text)
{
    for (size_t i = 0; i < w->name_count; i++) {
        if (strcmp(w->names[i].text, text) == 0)
            return &w->names[i];
    }
    return NULL;
}

static void call(struct nodes *w, const struct nodes_asked *a,
                 const struct verdict *v)
{
    struct nodes_name *n = nodes_find_name(w, a->as);
    if (n == NULL) {
        ASSERT(w->name_count < NODES_NAMES_MAX);
        n = &w->names[w->name_count++];
    }
    *n = (struct nodes_name){
        .group = a->group, .id = v->id, .epoch = v->producer_epoch};
    memcpy(n->text, a->as, sizeof n->text);
}

static uint32_t group_of(const struct nodes *w, const char *stream)
{
    uint8_t hash[16];
    keys_stream_hash(w->cluster, span_str(stream), hash);
    return record_partition(NODES_GROUPS - 1, hash) + 1;
}

/* Of those that think so, the one of the highest term. */
size_t nodes_leader(const struct nodes *w, uint32_t group)
{
    size_t leader = NODES_MAX;
    uint64_t term = 0;
    for (size_t i = 0; i < NODES_MAX; i++) {
        const struct nodes_machine *m = &w->machines[i];
        const struct raft *r =
            m->node == NULL ? NULL : node_raft(m->node, group);
        if (r == NULL || raft_role(r) != RAFT_LEADER || raft_term(r) < term)
            continue;
        leader = i;
        term = raft_term(r);
    }
    return leader;
}

/* ---- answers ----------------------------------------------------------- */

static void print_verdicts(struct nodes *w, struct nodes_asked *a,
                           const struct response *r)
{
    struct dec d = dec_of(r->verdicts);
    struct verdict v;
    while (wire_verdict_next(&d, &v)) {
        print_verdict(a->kind, &v, w->out);
        if (v.err == ERR_OK && a->as[0] != '\0')
            call(w, a, &v);
        a->err = v.err;
    }
}

static void print_segments(struct nodes *w, const struct response *r,
                           struct span payload)
{
    struct dec d = dec_of(r->segments);
    struct segment_head head, previous = {0};
    size_t at = 0;
    buf_printf(w->out, "OK");
    while (wire_segment_next(&d, &previous, &head)) {
        buf_printf(w->out, " %llu=\"%.*s\"", (unsigned long long)head.seq,
                   (int)head.size, (const char *)payload.data + at);
        at += head.size;
    }
    if (r->is_leader)
        buf_printf(w->out, " it ends at %llu, says the leader",
                   (unsigned long long)r->next_seq);
    buf_printf(w->out, "\n");
}

/* A line's end has no blanks in a case. */
static struct span trimmed(struct span text)
{
    while (text.size > 0 && text.data[text.size - 1] == ' ')
        text.size--;
    return text;
}

static void print_refusal(struct nodes *w, const struct response *r)
{
    size_t hint = id_is_zero(r->hint) ? NODES_MAX : nodes_place(w, r->hint);
    buf_printf(w->out, "%s", err_name(r->err));
    if (hint < NODES_MAX)
        buf_printf(w->out, ", ask node %zu", hint + 1);
    else if (r->text.size > 0)
        buf_printf(w->out, ": %.*s", (int)trimmed(r->text).size,
                   (const char *)r->text.data);
    buf_printf(w->out, "\n");
}

/* What a node finds in its copy. */
static void print_check(struct nodes *w, const struct response *r)
{
    struct check_answer a;
    enum err err = check_read(r->bytes, &a);
    ASSERT(err == ERR_OK);
    buf_printf(w->out, "OK %llu rows, %llu segments",
               (unsigned long long)a.sums.rows,
               (unsigned long long)a.sums.segments);
    for (uint32_t i = 0; i < a.damage_count; i++)
        buf_printf(w->out, ", %u damaged from %llu on", a.damages[i].bad_count,
                   (unsigned long long)a.damages[i].bad_seq);
    buf_printf(w->out, "%s\n", a.next.phase == SCRUB_DONE ? "" : ", and so on");
}

/* Of one group: to be asked for by `transfers`. */
static void print_transfers(struct nodes *w, uint32_t group,
                            const struct response *r)
{
    static const char *const states[] = {
        [TRANSFER_STATE_WAITING] = "waits for its turn",
        [TRANSFER_STATE_BLOB] = "the state comes",
        [TRANSFER_STATE_STORING] = "the state is stored",
        [TRANSFER_STATE_SEGMENTS] = "segments come",
        [TRANSFER_STATE_SWITCHING] = "it switches",
    };
    struct dec d = dec_of(r->bytes);
    struct status_transfer t;
    size_t count = 0;
    while (status_next_transfer(&d, &t)) {
        if (t.group != group)
            continue;
        buf_printf(w->out, "%s, %llu bytes, nothing since %llu s\n",
                   states[t.state], (unsigned long long)t.bytes,
                   (unsigned long long)(t.idle_ms / 1000));
        count++;
    }
    if (count == 0)
        buf_printf(w->out, "none\n");
}

static void print_response(struct nodes *w, struct nodes_asked *a,
                           const struct response *r, struct span payload)
{
    struct dec d = dec_of(r->streams);
    struct stream_info info;
    a->err = r->err;
    if (r->err != ERR_OK)
        print_refusal(w, r);
    else if (r->op == OP_COMMANDS)
        print_verdicts(w, a, r);
    else if (r->op == OP_READ)
        print_segments(w, r, payload);
    else if (r->op == OP_CHECK)
        print_check(w, r);
    else if (r->op == OP_STATUS)
        print_transfers(w, a->group, r);
    else if (wire_stream_next(&d, &info))
        buf_printf(w->out, "OK it ends at %llu\n",
                   (unsigned long long)info.next_seq);
    else
        buf_printf(w->out, "OK\n");
}

void nodes_answered(struct nodes *w, size_t from, struct span message)
{
    struct wire_in in;
    struct response r;
    enum err err = wire_read(message, &in);
    ASSERT(err == ERR_OK);
    err = wire_response_read(&in, &r);
    ASSERT(err == ERR_OK);
    ASSERT(in.header.number > 0 && in.header.number <= w->asked_count);
    struct nodes_asked *a = &w->asked[in.header.number - 1];
    ASSERT(!a->is_answered);
    a->is_answered = true;
    if (a->label[0] == '\0') /* a join: its effect is looked for */
        return;
    if (!a->is_awaited)
        buf_printf(w->out, "late, from node %zu, \"%s\": ", from + 1, a->label);
    print_response(w, a, &r, in.payload);
}

/* ---- asking ------------------------------------------------------------ */

static bool is_answered(struct nodes *w, uint64_t number)
{
    return w->asked[number - 1].is_answered;
}

/* The label of a request is the line, as far as there is room. */
static void label(struct nodes_asked *a, const struct line *l)
{
    size_t size = (size_t)snprintf(a->label, sizeof a->label, "%s", l->verb);
    for (size_t i = 0; i < l->count && size < sizeof a->label; i++) {
        const struct line_word *word = &l->words[i];
        if (strcmp(word->value, "later") == 0)
            continue;
        size += (size_t)snprintf(a->label + size, sizeof a->label - size,
                                 " %s%s%s", word->key ? word->key : "",
                                 word->key ? "=" : "", word->value);
    }
}

/* Sends it, and waits for the answer for a while, unless it is for later. */
static void ask(struct nodes *w, size_t to, const struct nodes_asked *asked,
                const struct request *q, struct span payload, bool is_later)
{
    if (to >= NODES_MAX || w->asked_count == NODES_ASKED_MAX) {
        buf_printf(w->out, "nobody leads\n");
        return;
    }
    w->asked[w->asked_count++] = *asked;
    uint64_t number = w->asked_count;
    struct nodes_asked *a = &w->asked[number - 1];
    struct wire_header h = {.kind = WIRE_REQUEST,
                            .cluster = w->cluster,
                            .to = w->machines[to].id,
                            .number = number};
    struct wire_out m = {0};
    wire_begin(&m, &h);
    wire_request_write(&m, q);
    wire_end(&m);
    buf_append(&m.bytes, payload.data, payload.size);
    a->is_awaited = !is_later;
    nodes_send(w, NODES_MAX, to, number, &m.bytes);
    wire_out_free(&m);
    if (!is_later && !nodes_run(w, w->now_ms + ANSWER_MS, is_answered, number))
        buf_printf(w->out, "no answer yet\n");
    a->is_awaited = false;
}

/* Where a request goes: at=2, or the group's leader. */
static size_t read_target(const struct nodes *w, struct line *l, uint32_t group)
{
    uint64_t at = line_u64(l, "at", 0);
    return at == 0 ? nodes_leader(w, group) : nodes_read_node(l, at);
}

static void ask_command(struct nodes *w, struct line *l, uint32_t group,
                        const struct command *c, struct span payload,
                        const char *as)
{
    struct nodes_asked a = {.group = group, .kind = c->kind};
    size_t to = read_target(w, l, group);
    bool is_later = line_flag(l, "later");
    if (!line_end(l))
        return;
    label(&a, l);
    (void)snprintf(a.as, sizeof a.as, "%s", as);
    struct commands_builder b = {0};
    enum err err = wire_commands_add(&b, c);
    if (err == ERR_OK) {
        struct request q = {.op = OP_COMMANDS,
                            .group = group,
                            .commands = span_buf(&b.bytes),
                            .command_count = b.count};
        ask(w, to, &a, &q, payload, is_later);
    } else {
        buf_printf(w->out, "%s\n", err_name(err));
    }
    wire_commands_free(&b);
}

static struct nodes_name *read_name(struct nodes *w, struct line *l)
{
    const char *text = line_next(l);
    struct nodes_name *n = text == NULL ? NULL : nodes_find_name(w, text);
    if (n == NULL)
        line_fail(l, "%s: \"%s\" was never made", l->verb,
                  text == NULL ? "" : text);
    return n;
}

/* ---- requests ---------------------------------------------------------- */

/* create films */
static void ask_create(struct nodes *w, struct line *l)
{
    const char *name = line_next(l);
    if (name == NULL || strlen(name) > 30) {
        line_fail(l, "create: a stream's name, up to 30 letters");
        return;
    }
    struct command c = {.kind = COMMAND_CREATE, .name = span_str(name)};
    ask_command(w, l, group_of(w, name), &c, (struct span){0}, name);
}

/* open films alice [as=a] */
static void ask_open(struct nodes *w, struct line *l)
{
    const struct nodes_name *stream = read_name(w, l);
    const char *name = line_next(l);
    const char *as = line_value(l, "as");
    if (name == NULL)
        line_fail(l, "open: the producer's name is missing");
    if (l->is_bad)
        return;
    struct command c = {.kind = COMMAND_OPEN_PRODUCER,
                        .stream = stream->id,
                        .name = span_str(name)};
    ask_command(w, l, stream->group, &c, (struct span){0},
                as == NULL ? name : as);
}

/* append films alice number=0 data=x [epoch=1] [expect=5] */
static void ask_append(struct nodes *w, struct line *l)
{
    const struct nodes_name *stream = read_name(w, l);
    const struct nodes_name *producer = read_name(w, l);
    const char *data = line_value(l, "data");
    struct command c = {.kind = COMMAND_APPEND, .algorithm = CHECKSUM_XXH3_128};
    c.number = line_need_u64(l, "number");
    c.expected_seq = line_u64(l, "expect", SEQ_ANY);
    uint64_t epoch = line_u64(l, "epoch", 0);
    if (l->is_bad)
        return;
    struct span bytes = span_str(data == NULL ? "some bytes" : data);
    c.stream = stream->id;
    c.producer = producer->id;
    c.producer_epoch = epoch == 0 ? producer->epoch : (uint32_t)epoch;
    c.size = (uint32_t)bytes.size;
    c.checksum = wire_checksum(bytes);
    ask_command(w, l, stream->group, &c, bytes, "");
}

/* read films from=3; end films: where it ends, by its id; find films: by its
 * name. */
static void ask_question(struct nodes *w, struct line *l)
{
    const struct nodes_name *stream = read_name(w, l);
    struct nodes_asked a = {0};
    struct request q = {.op = OP_INFO, .end_seq = SEQ_ANY};
    if (strcmp(l->verb, "read") == 0) {
        q.op = OP_READ;
        q.from_seq = line_need_u64(l, "from");
    } else if (strcmp(l->verb, "find") == 0) {
        q.op = OP_OPEN;
    }
    if (l->is_bad)
        return;
    a.group = q.group = stream->group;
    q.stream = stream->id;
    q.name = span_str(stream->text);
    size_t to = read_target(w, l, stream->group);
    bool is_later = line_flag(l, "later");
    if (!line_end(l))
        return;
    label(&a, l);
    ask(w, to, &a, &q, (struct span){0}, is_later);
}

/* check films at=2: what that node finds in its copy of the group, up to what
 * it has applied. transfers films at=2: what it says of the copy that comes. */
static void ask_check(struct nodes *w, struct line *l)
{
    const struct nodes_name *stream = read_name(w, l);
    size_t to = stream == NULL ? NODES_MAX : read_target(w, l, stream->group);
    if (!line_end(l) || to >= NODES_MAX || w->machines[to].node == NULL) {
        line_fail(l, "%s: a stream, and at= a node that runs", l->verb);
        return;
    }
    struct nodes_asked a = {.group = stream->group};
    struct request q = {.op = OP_STATUS};
    if (strcmp(l->verb, "check") == 0) {
        q.op = OP_CHECK;
        q.group = stream->group;
        q.check.index = node_applied(w->machines[to].node, stream->group);
    }
    label(&a, l);
    ask(w, to, &a, &q, (struct span){0}, false);
}

/* weight=3:200: of node 3. */
static uint32_t read_weights(struct line *l, struct buf *changes)
{
    struct line_pair pairs[NODES_MAX];
    size_t count = line_pairs(l, "weight", pairs, NODES_MAX);
    for (size_t i = 0; i < count; i++) {
        struct change c = {.kind = CHANGE_WEIGHT};
        c.slot = (uint16_t)nodes_read_node(l, pairs[i].first);
        c.value = (uint32_t)min_u64(max_u64(pairs[i].second, 1), WEIGHT_MAX);
        wire_change_write(changes, &c);
    }
    return (uint32_t)count;
}

static uint32_t read_changes(struct line *l, struct buf *changes)
{
    static const struct {
        const char *key;
        enum change_kind kind;
    } kinds[] = {{"drain", CHANGE_DRAIN},
                 {"add", CHANGE_ADD},
                 {"remove", CHANGE_REMOVE},
                 {"copies", CHANGE_COPIES}};
    uint32_t count = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct change c = {.kind = kinds[i].kind};
        uint64_t value = line_u64(l, kinds[i].key, 0);
        if (value == 0)
            continue;
        if (c.kind == CHANGE_COPIES)
            c.value = (uint32_t)min_u64(value, REPLICATION_MAX);
        else
            c.slot = (uint16_t)nodes_read_node(l, value);
        wire_change_write(changes, &c);
        count++;
    }
    return count + read_weights(l, changes);
}

/* order drain=3 | add=3 | remove=3 | copies=5 | weight=3:200, or some of them,
 * [forced] [seen=7]: what an operator has changed in the ring, at once, who has
 * looked at record 7; if it is not said, at the newest. */
static void ask_change(struct nodes *w, struct line *l)
{
    struct buf changes = {0};
    uint32_t count = read_changes(l, &changes);
    bool is_forced = line_flag(l, "forced");
    uint64_t seen = line_u64(l, "seen", 0);
    size_t to = read_target(w, l, 0);
    if (count == 0)
        line_fail(l, "order: drain=, add=, remove= a node, weight= or copies=");
    if (to < NODES_MAX && w->machines[to].node == NULL)
        line_fail(l, "order: node %zu does not run", to + 1);
    if (!line_end(l)) {
        buf_free(&changes);
        return;
    }
    struct nodes_asked a = {0};
    label(&a, l);
    struct request q = {.op = OP_CHANGE};
    q.change = (struct change_request){.act = ACT_NOW,
                                       .is_forced = is_forced,
                                       .count = count,
                                       .changes = span_buf(&changes)};
    q.change.proposal.bytes[0] = (uint8_t)++w->orders;
    if (to < NODES_MAX)
        q.epoch = node_record(w->machines[to].node)->epoch;
    if (seen > 0)
        q.epoch.number = seen;
    ask(w, to, &a, &q, (struct span){0}, false);
    buf_free(&changes);
}

/* recover books by=1, recover ring by=1 [generation=2] [at=1]: an operator who
 * accepts the loss of data has the group founded anew by that node. */
static void ask_recovery(struct nodes *w, struct line *l)
{
    const char *name = line_next(l);
    bool is_ring = name != NULL && strcmp(name, "ring") == 0;
    const struct nodes_name *n = name ? nodes_find_name(w, name) : NULL;
    size_t by = nodes_read_node(l, line_need_u64(l, "by"));
    uint32_t counter = (uint32_t)line_u64(l, "generation", 2);
    size_t to = is_ring ? by : read_target(w, l, 0);
    if (!is_ring && n == NULL)
        line_fail(l, "recover: the ring, or a stream");
    if (to < NODES_MAX && w->machines[to].node == NULL)
        line_fail(l, "recover: node %zu does not run", to + 1);
    if (!line_end(l))
        return;
    struct nodes_asked a = {0};
    struct buf changes = {0};
    label(&a, l);
    struct generation next = {counter, ((uint64_t)++w->orders << 32) + 1};
    struct request q = {.op = OP_RECOVER, .generation = next};
    if (!is_ring) {
        struct change change = {.kind = CHANGE_RECOVER,
                                .slot = (uint16_t)by,
                                .value = n->group,
                                .generation = next};
        wire_change_write(&changes, &change);
        q.op = OP_CHANGE;
        q.change = (struct change_request){.act = ACT_NOW,
                                           .is_forced = true,
                                           .count = 1,
                                           .changes = span_buf(&changes)};
        q.change.proposal.bytes[0] = (uint8_t)w->orders;
        if (to < NODES_MAX)
            q.epoch = node_record(w->machines[to].node)->epoch;
    }
    ask(w, to, &a, &q, (struct span){0}, false);
    buf_free(&changes);
}

bool nodes_ask(struct nodes *w, struct line *l)
{
    static const struct {
        const char *verb;
        void (*run)(struct nodes *w, struct line *l);
    } verbs[] = {
        {"create", ask_create},   {"open", ask_open},
        {"append", ask_append},   {"order", ask_change},
        {"read", ask_question},   {"end", ask_question},
        {"find", ask_question},   {"check", ask_check},
        {"transfers", ask_check}, {"recover", ask_recovery},
    };
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(l->verb, verbs[i].verb) == 0) {
            verbs[i].run(w, l);
            return true;
        }
    }
    return false;
}

/* ---- joining ----------------------------------------------------------- */

static bool is_known(struct nodes *w, uint64_t node)
{
    for (size_t i = 0; i < NODES_MAX; i++) {
        const struct nodes_machine *m = &w->machines[i];
        if (m->node != NULL && record_slot(node_record(m->node),
                                           w->machines[node].id) != SLOT_NONE)
            return true;
    }
    return false;
}

/* As `eddyd run` does in a folder that the record does not name yet: asks
 * again until it does. */
bool nodes_join(struct nodes *w, const size_t *nodes, size_t count)
{
    uint64_t end = w->now_ms + JOIN_MS;
    struct nodes_asked a = {0};
    size_t unknown = 0;
    for (size_t i = 0; w->now_ms < end && unknown < count; i++) {
        size_t to = i % NODES_MAX;
        if (w->machines[to].node == NULL)
            continue;
        for (size_t k = unknown; k < count; k++) {
            struct request q = {.op = OP_JOIN,
                                .member = nodes_member(w, nodes[k])};
            ask(w, to, &a, &q, (struct span){0}, true);
        }
        (void)nodes_run(w, w->now_ms + JOIN_AGAIN_MS, is_known, nodes[unknown]);
        while (unknown < count && is_known(w, nodes[unknown]))
            unknown++;
    }
    for (size_t k = 0; k < unknown; k++) {
        nodes_put_record(w, nodes[k]);
        nodes_start(w, nodes[k]);
    }
    return unknown == count;
}
