/* raw.c - see raw.h. It is one machine: what a raw user may do in each state of
 * its producer, and what each answer then proves. */
#include "tests/sim/raw.h"

#include <stdio.h>

#include "net/keys.h"
#include "tests/sim/mesh.h"
#include "tests/sim/watch.h"
#include "tests/sim/strangers.h"

#define SESSIONS         3u
#define BATCH_MAX        64u
#define BULK_NUMBERS     (PRODUCER_WINDOW + 200u)
#define GIVE_UP_US       8000000u
#define RUSH_US          400000u
#define RUSH_EVERY_US    3000u
#define RUSH_PATIENCE_US 40000u
#define FLOOD_BYTES      (512 * KIB) /* in one of its requests */

enum asked {
    ASKED_NOTHING,
    ASKED_CREATE,
    ASKED_OPEN,
    ASKED_BATCH,
    ASKED_TRICK,
    ASKED_END,  /* where the stream ends */
    ASKED_NAME, /* the same, by name */
    ASKED_READ,
};

enum trick {
    TRICK_REPEAT, /* an acknowledged number with its bytes */
    TRICK_OTHER,  /* ... with other bytes */
    TRICK_GAP,
    TRICK_STRANGER, /* a producer that never was */
    TRICK_FORMER,   /* an epoch that is no more */
    TRICK_EXPECT,   /* a seq that is not the next */
    TRICK_COUNT
};

static const enum fault KINDS[TRICK_COUNT] = {
    [TRICK_REPEAT] = FAULT_REPEAT,    [TRICK_OTHER] = FAULT_OTHER_BYTES,
    [TRICK_GAP] = FAULT_GAP,          [TRICK_STRANGER] = FAULT_NO_PRODUCER,
    [TRICK_FORMER] = FAULT_OLD_EPOCH, [TRICK_EXPECT] = FAULT_OLD_SEQ,
};

struct piece {
    struct op *op;
    uint8_t *bytes;
    uint32_t size;
    uint64_t number;
    uint64_t expected;
    uint64_t seq; /* acknowledged */
    bool was_unknown;
    bool is_done;
};

/* Given up; nobody knows whether it is in. */
struct lost {
    struct op *op;
    uint64_t number;
};

struct session {
    char stream_name[32];
    char producer_name[32];
    uint32_t group;
    bool has_stream, has_producer;
    struct position stream, producer;
    uint32_t epoch;
    uint64_t next_number;
    struct piece batch[BATCH_MAX];
    uint32_t batch_count;
    uint64_t batch_us;           /* since when it is tried */
    struct lost lost[BATCH_MAX]; /* under the epoch before */
    uint32_t lost_count;
    struct piece *past; /* acknowledged, ascending by number */
    size_t past_count, past_capacity;
    bool is_bulk;
    uint32_t leader; /* host to ask */
    /* the request under way */
    enum asked asked;
    uint64_t request;
    uint64_t sent_us;
    uint64_t floor;
    uint64_t from_seq; /* READ */
    bool was_created;  /* an acknowledged stream when it was asked by name */
    enum trick trick;
    struct piece tried;  /* TRICK */
    uint64_t known_next; /* numbers acknowledged when the trick was sent */
    /* Another instance's append, under the first number of the batch */
    uint64_t twin_request;
    struct piece twin;
};

struct raw {
    struct world *w;
    uint32_t user;
    uint64_t next_request;
    uint32_t rush_group, rush_host;
    uint64_t rush_until_us;
    struct session sessions[SESSIONS];
};

/* ---- life -------------------------------------------------------------- */

struct raw *raw_new(struct world *w, uint32_t user)
{
    struct raw *r = mem_alloc(sizeof *r);
    r->w = w;
    r->user = user;
    r->next_request = 1;
    for (uint32_t i = 0; i < SESSIONS; i++) {
        struct session *s = &r->sessions[i];
        uint32_t stream = (uint32_t)world_draw(w, w->plan.streams - 1);
        (void)snprintf(s->stream_name, sizeof s->stream_name, "s%u", stream);
        /* The last one's name is its neighbours' too: they fence each other. */
        if (i + 1 == SESSIONS)
            (void)snprintf(s->producer_name, sizeof s->producer_name, "all");
        else
            (void)snprintf(s->producer_name, sizeof s->producer_name, "r%u.%u",
                           user, i);
        uint8_t hash[16];
        keys_stream_hash(w->cluster, span_str(s->stream_name), hash);
        s->group = record_partition(w->plan.groups - 1, hash) + 1;
        s->is_bulk = w->plan.has_bulk && user == 0 && i == 0;
    }
    return r;
}

static void piece_free(struct piece *p)
{
    mem_free(p->bytes);
    *p = (struct piece){0};
}

void raw_free(struct raw *r)
{
    for (uint32_t i = 0; i < SESSIONS; i++) {
        struct session *s = &r->sessions[i];
        for (uint32_t k = 0; k < s->batch_count; k++)
            piece_free(&s->batch[k]);
        for (size_t k = 0; k < s->past_count; k++)
            piece_free(&s->past[k]);
        if (s->trick != TRICK_REPEAT)
            piece_free(&s->tried);
        piece_free(&s->twin);
        mem_free(s->past);
    }
    mem_free(r);
}

/* ---- asking ------------------------------------------------------------ */

/* The request's number. */
static uint64_t post(struct raw *r, const struct session *s, uint32_t host,
                     struct request *q, struct commands_builder *b,
                     struct span payload)
{
    struct world *w = r->w;
    uint32_t to = host % w->host_count;
    struct wire_out m = {0};
    struct wire_header h = {
        .kind = WIRE_REQUEST,
        .cluster = w->cluster,
        .to = host_of(w, w->hosts[to]->id)->id,
        .number = r->next_request++,
    };
    q->group = s->group;
    if (b != NULL) {
        q->op = OP_COMMANDS;
        q->commands = span_buf(&b->bytes);
        q->command_count = b->count;
    }
    wire_begin(&m, &h);
    wire_request_write(&m, q);
    wire_end(&m);
    size_t size = m.bytes.size + payload.size;
    uint8_t *data = mem_resize(NULL, size);
    memcpy(data, m.bytes.data, m.bytes.size);
    if (payload.size > 0)
        memcpy(data + m.bytes.size, payload.data, payload.size);
    wire_out_free(&m);
    mesh_send(w, EVENT_REQUEST, mesh_user(r->user), mesh_host(to), 0,
              mesh_connection(r->user, 0, to), data, size);
    return h.number;
}

static void send(struct raw *r, struct session *s, enum asked asked,
                 struct request *q, struct commands_builder *b,
                 struct span payload)
{
    s->asked = asked;
    s->sent_us = r->w->now_us;
    s->request = post(r, s, s->leader, q, b, payload);
}

static void send_command(struct raw *r, struct session *s, enum asked asked,
                         const struct command *c, struct span payload)
{
    struct commands_builder b = {0};
    struct request q = {0};
    enum err err = wire_commands_add(&b, c);
    ASSERT(err == ERR_OK);
    send(r, s, asked, &q, &b, payload);
    wire_commands_free(&b);
}

static struct command append_of(const struct session *s, const struct piece *p)
{
    return (struct command){
        .kind = COMMAND_APPEND,
        .stream = s->stream,
        .producer = s->producer,
        .producer_epoch = s->epoch,
        .number = p->number,
        .expected_seq = p->expected,
        .size = p->size,
        .algorithm = CHECKSUM_XXH3_128,
        .checksum = p->op->checksum,
    };
}

static struct piece new_piece(struct raw *r, struct session *s, uint64_t number)
{
    uint32_t most = s->is_bulk ? 16 : r->w->plan.bytes_max;
    struct piece p = {.number = number, .expected = SEQ_ANY};
    p.size = 16 + (uint32_t)world_draw(r->w, most - 16);
    p.op = ops_begin(r->w->ops, r->user, s->group, s->stream, p.size, &p.bytes);
    return p;
}

static void send_batch(struct raw *r, struct session *s)
{
    struct commands_builder b = {0};
    struct request q = {0};
    struct buf payload = {0};
    for (uint32_t i = 0; i < s->batch_count; i++) {
        const struct piece *p = &s->batch[i];
        if (p->is_done)
            continue;
        struct command c = append_of(s, p);
        if (wire_commands_add(&b, &c) != ERR_OK)
            break;
        buf_append(&payload, p->bytes, p->size);
    }
    send(r, s, ASKED_BATCH, &q, &b, span_buf(&payload));
    wire_commands_free(&b);
    buf_free(&payload);
}

/* Another instance of the producer, which nobody has fenced, has other bytes
 * for the batch's first number (S19B). */
static void send_twin(struct raw *r, struct session *s)
{
    struct commands_builder b = {0};
    struct request q = {0};
    if (s->twin.op != NULL)
        ops_unknown(r->w->ops, s->twin.op);
    piece_free(&s->twin);
    s->twin = new_piece(r, s, s->batch[0].number);
    struct command c = append_of(s, &s->twin);
    enum err err = wire_commands_add(&b, &c);
    ASSERT(err == ERR_OK);
    s->twin_request =
        post(r, s, s->leader, &q, &b, span_of(s->twin.bytes, s->twin.size));
    wire_commands_free(&b);
}

/* What it has acknowledged, again and again, without a look at the answers. */
static void flood(struct raw *r, struct session *s)
{
    uint64_t requests = 4 + world_draw(r->w, 12);
    for (uint64_t i = 0; i < requests; i++) {
        struct commands_builder b = {0};
        struct request q = {0};
        struct buf payload = {0};
        while (b.count < BATCH_MAX && payload.size < FLOOD_BYTES) {
            const struct piece *p =
                &s->past[world_draw(r->w, s->past_count - 1)];
            struct command c = append_of(s, p);
            if (wire_commands_add(&b, &c) != ERR_OK)
                break;
            buf_append(&payload, p->bytes, p->size);
        }
        (void)post(r, s, s->leader, &q, &b, span_buf(&payload));
        wire_commands_free(&b);
        buf_free(&payload);
    }
}

static void new_batch(struct raw *r, struct session *s)
{
    uint32_t count = 1 + (uint32_t)world_draw(r->w, r->w->plan.batch_max - 1);
    if (s->is_bulk && s->next_number < BULK_NUMBERS)
        count = BATCH_MAX;
    for (uint32_t i = 0; i < count; i++)
        s->batch[i] = new_piece(r, s, s->next_number++);
    s->batch_count = count;
    s->batch_us = r->w->now_us;
    /* The end that is known, which may be the right one. */
    if (fault_strikes(r->w, FAULT_EXPECT, 200))
        s->batch[0].expected = s->batch[0].op->floor;
    bool has_twin = !s->is_bulk && fault_strikes(r->w, FAULT_TWIN_PRODUCER, 50);
    bool is_first = rng_chance(&r->w->rng, 500);
    if (has_twin && is_first)
        send_twin(r, s);
    send_batch(r, s);
    if (has_twin && !is_first)
        send_twin(r, s);
}

/* ---- tricks ------------------------------------------------------------ */

static bool begin_trick(struct raw *r, struct session *s)
{
    struct world *w = r->w;
    s->trick = (enum trick)world_draw(w, TRICK_COUNT - 1);
    bool needs_past = s->trick == TRICK_REPEAT || s->trick == TRICK_OTHER ||
                      s->trick == TRICK_EXPECT;
    if (!fault_may(w, KINDS[s->trick]) || (needs_past && s->past_count == 0) ||
        (s->trick == TRICK_FORMER && s->epoch < 2))
        return false;
    const struct piece *old = NULL;
    if (needs_past) {
        /* Mostly a new one, sometimes the oldest that there are. */
        size_t back = world_draw(w, rng_chance(&w->rng, 500) ? 8 : 4096);
        back = back < s->past_count ? back : s->past_count - 1;
        old = &s->past[s->past_count - 1 - back];
    }
    if (s->trick == TRICK_REPEAT)
        s->tried = *old;
    else
        s->tried = new_piece(r, s, s->next_number);
    if (s->trick == TRICK_OTHER)
        s->tried.number = old->number;
    if (s->trick == TRICK_GAP)
        s->tried.number += 1 + world_draw(w, 5);
    if (s->trick == TRICK_EXPECT) /* at most what has been passed */
        s->tried.expected = world_draw(w, old->seq);
    struct command c = append_of(s, &s->tried);
    if (s->trick == TRICK_STRANGER)
        c.producer.ordinal ^= 0x3ff;
    if (s->trick == TRICK_FORMER)
        c.producer_epoch--;
    s->known_next =
        s->past_count == 0 ? 0 : s->past[s->past_count - 1].number + 1;
    fault_count(w, KINDS[s->trick]);
    send_command(r, s, ASKED_TRICK, &c, span_of(s->tried.bytes, s->tried.size));
    return true;
}

static void end_trick(struct session *s)
{
    if (s->trick != TRICK_REPEAT)
        mem_free(s->tried.bytes);
    s->tried = (struct piece){0};
}

static bool is_passing(const struct raw *r, enum err err)
{
    return err == ERR_MOVED || err == ERR_BUSY || err == ERR_UNAVAILABLE ||
           err == ERR_NO_SPACE || err == ERR_TIMEOUT || err == ERR_FENCED ||
           (err == ERR_CORRUPT && r->w->plan.has[FAULT_BIT_FLIP]);
}

static _Noreturn void wrong(struct raw *r, const struct session *s,
                            const struct verdict *v, const char *what)
{
    world_fail(r->w, SIM_SAFETY,
               "user %u, stream %s, producer %s.%u: %s number %llu is "
               "answered %s%s, seq %llu (number %llu was acknowledged before)",
               r->user, s->stream_name, s->producer_name, s->epoch, what,
               (unsigned long long)s->tried.number, err_name(v->err),
               v->is_duplicate ? " (duplicate)" : "",
               (unsigned long long)v->seq,
               (unsigned long long)s->known_next - 1);
}

/* What may be said of an acknowledged number, depending on how far back it
 * lies (T9, S19C, S20). */
static void judge_past(struct raw *r, struct session *s,
                       const struct verdict *v)
{
    const struct twin_producer *p =
        twin_producer(r->w->twin, s->group, s->producer);
    ASSERT(p != NULL && s->tried.number < p->count);
    const struct twin_answer *first = &p->answers[s->tried.number];
    bool is_same = first->checksum.lo == s->tried.op->checksum.lo;
    uint64_t passed_now = p->count - s->tried.number;
    uint64_t passed_then = s->known_next - s->tried.number;
    if (v->err == ERR_OK) {
        if (!v->is_duplicate || v->seq != first->seq)
            wrong(r, s, v, "a repeated");
        if (passed_then > PRODUCER_WINDOW)
            wrong(r, s, v, "T9: a forgotten");
        if (!is_same && passed_now <= PRODUCER_CHECKSUMS)
            wrong(r, s, v, "S19: with other bytes, a repeated");
    } else if (v->err == ERR_EXPIRED) {
        if (passed_now <= PRODUCER_WINDOW)
            wrong(r, s, v, "a remembered");
    } else if (v->err != ERR_CONFLICT) {
        wrong(r, s, v, "a repeated");
    } else if (is_same) {
        wrong(r, s, v, "S20: with the same bytes, a repeated");
    }
}

static void trick_judged(struct raw *r, struct session *s,
                         const struct verdict *v)
{
    if (is_passing(r, v->err)) {
        r->w->totals.fenced += v->err == ERR_FENCED;
        if (s->trick != TRICK_REPEAT && v->err == ERR_TIMEOUT)
            ops_unknown(r->w->ops, s->tried.op);
        else if (s->trick != TRICK_REPEAT)
            ops_failed(r->w->ops, s->tried.op, v->err);
        return;
    }
    switch (s->trick) {
    case TRICK_REPEAT:
    case TRICK_OTHER:
        judge_past(r, s, v);
        break;
    case TRICK_GAP:
        if (v->err != ERR_OUT_OF_ORDER)
            wrong(r, s, v, "too high a");
        break;
    case TRICK_STRANGER:
    case TRICK_FORMER:
        if (v->err != ERR_EXPIRED)
            wrong(r, s, v, "another producer's");
        break;
    case TRICK_EXPECT:
        if (v->err != ERR_CONFLICT && v->err != ERR_OUT_OF_ORDER)
            wrong(r, s, v, "expecting a past seq, the");
        break;
    case TRICK_COUNT:
        break;
    }
    if (s->trick != TRICK_REPEAT && v->err != ERR_OK)
        ops_failed(r->w->ops, s->tried.op, v->err);
}

/* ---- answers ----------------------------------------------------------- */

static void keep_past(struct session *s, struct piece *p)
{
    if (s->past_count == s->past_capacity) {
        s->past_capacity = s->past_capacity == 0 ? 64 : s->past_capacity * 2;
        s->past = mem_resize(s->past, s->past_capacity * sizeof *s->past);
    }
    s->past[s->past_count++] = *p;
    *p = (struct piece){.is_done = true};
}

/* The batch is over: what is not acknowledged has failed, or nobody knows. */
static void give_up(struct raw *r, struct session *s, enum err err)
{
    s->lost_count = 0;
    for (uint32_t i = 0; i < s->batch_count; i++) {
        struct piece *p = &s->batch[i];
        if (p->op != NULL && p->was_unknown) {
            ops_unknown(r->w->ops, p->op);
            s->lost[s->lost_count++] = (struct lost){p->op, p->number};
        } else if (p->op != NULL)
            ops_failed(r->w->ops, p->op, err);
        piece_free(p);
    }
    s->batch_count = 0;
    s->has_producer = false;
}

static void attempt_unknown(struct session *s)
{
    for (uint32_t i = 0; i < s->batch_count; i++)
        s->batch[i].was_unknown =
            s->batch[i].was_unknown || !s->batch[i].is_done;
}

/* False: the producer is of no use any more. */
static bool piece_judged(struct raw *r, struct session *s, struct piece *p,
                         const struct verdict *v)
{
    if (v->err == ERR_OK) {
        ops_acked(r->w->ops, p->op, v->seq, v->is_duplicate);
        p->seq = v->seq;
        keep_past(s, p);
        return true;
    }
    if (v->err == ERR_FENCED) {
        r->w->totals.fenced++;
        return false;
    }
    p->was_unknown = p->was_unknown || v->err == ERR_TIMEOUT;
    if (is_passing(r, v->err) || v->err == ERR_OUT_OF_ORDER)
        return true;
    if (v->err != ERR_CONFLICT)
        world_fail(r->w, SIM_SAFETY, "user %u: a sound append is answered %s",
                   r->user, err_name(v->err));
    if (p->op->is_in && p->op->in_us < s->sent_us)
        world_fail(r->w, SIM_SAFETY,
                   "S20: user %u is told CONFLICT of an append that was "
                   "segment %llu before it asked again",
                   r->user, (unsigned long long)p->op->seq);
    return false;
}

static void batch_judged(struct raw *r, struct session *s,
                         const struct response *a)
{
    struct dec d = dec_of(a->verdicts);
    struct verdict v;
    enum err failed = ERR_OK;
    for (uint32_t i = 0; i < s->batch_count; i++) {
        if (s->batch[i].is_done)
            continue;
        if (!wire_verdict_next(&d, &v))
            break;
        if (!piece_judged(r, s, &s->batch[i], &v) && failed == ERR_OK)
            failed = v.err;
    }
    if (failed != ERR_OK) {
        give_up(r, s, failed);
        return;
    }
    for (uint32_t i = 0; i < s->batch_count; i++)
        if (!s->batch[i].is_done)
            return;
    s->batch_count = 0;
}

/* An open raises the epoch: an append of a lower one that is not in by now
 * can never come (S19B). So what was unknown is known. */
static void opened(struct raw *r, struct session *s, const struct verdict *v)
{
    const struct twin_producer *p = twin_producer(r->w->twin, s->group, v->id);
    if (p == NULL || v->producer_epoch > p->epoch || v->next_number > p->count)
        world_fail(r->w, SIM_SAFETY,
                   "user %u is told of a producer %s.%u at number %llu that "
                   "is not there",
                   r->user, s->producer_name, v->producer_epoch,
                   (unsigned long long)v->next_number);
    for (uint32_t i = 0; i < s->lost_count; i++)
        if (s->lost[i].number >= v->next_number)
            ops_failed(r->w->ops, s->lost[i].op, ERR_FENCED);
    s->lost_count = 0;
    bool is_known = s->past_count > 0 && position_equal(s->producer, v->id);
    MUST_HOLD(r->w, I20,
              !is_known || v->next_number > s->past[s->past_count - 1].number,
              "user %u is told that producer %s.%u goes on with number %llu, "
              "which was acknowledged",
              r->user, s->producer_name, v->producer_epoch,
              (unsigned long long)v->next_number);
    if (!position_equal(s->producer, v->id)) {
        for (size_t i = 0; i < s->past_count; i++)
            piece_free(&s->past[i]);
        s->past_count = 0;
    }
    s->has_producer = true;
    s->producer = v->id;
    s->epoch = v->producer_epoch;
    s->next_number = v->next_number;
}

static void commands_answered(struct raw *r, struct session *s,
                              enum asked asked, const struct response *a)
{
    struct dec d = dec_of(a->verdicts);
    struct verdict v;
    if (asked == ASKED_BATCH) {
        batch_judged(r, s, a);
        return;
    }
    if (!wire_verdict_next(&d, &v))
        world_fail(r->w, SIM_OTHER, "an answer without a verdict");
    if (asked == ASKED_TRICK) {
        trick_judged(r, s, &v);
        end_trick(s);
        return;
    }
    if (v.err != ERR_OK) {
        if (!is_passing(r, v.err))
            world_fail(r->w, SIM_SAFETY, "user %u: %s is answered %s", r->user,
                       asked == ASKED_CREATE ? "create" : "open",
                       err_name(v.err));
        return;
    }
    if (asked == ASKED_OPEN) {
        opened(r, s, &v);
        return;
    }
    const struct twin_stream *t =
        twin_stream_named(r->w->twin, s->group, s->stream_name);
    if (t == NULL || !position_equal(t->id, v.id))
        world_fail(r->w, SIM_SAFETY, "user %u: stream %s is another", r->user,
                   s->stream_name);
    s->has_stream = true;
    s->stream = v.id;
}

static void end_answered(struct raw *r, struct session *s,
                         const struct response *a)
{
    struct dec d = dec_of(a->streams);
    struct stream_info info;
    if (a->stream_count == 1 && wire_stream_next(&d, &info))
        ops_end(r->w->ops, r->user, s->group, info.id, s->floor, info.next_seq);
}

static void read_answered(struct raw *r, struct session *s,
                          const struct response *a, struct span payload)
{
    struct dec d = dec_of(a->segments);
    struct segment_head head, previous = {0};
    size_t at = 0;
    uint64_t next = s->from_seq;
    if (strangers_spoil(r->w, a, payload))
        return; /* as the library does; it is asked again some time */
    while (wire_segment_next(&d, &previous, &head)) {
        MUST_HOLD(r->w, I22, head.seq == next,
                  "user %u asks for segment %llu of stream %s on and reads "
                  "%llu",
                  r->user, (unsigned long long)s->from_seq, s->stream_name,
                  (unsigned long long)head.seq);
        ops_served(r->w->ops, r->user, s->group, s->stream, &head,
                   span_of(payload.data + at, head.size));
        at += head.size;
        next++;
    }
    ops_known(r->w->ops, r->user, s->group, s->stream, a->next_seq);
    if (a->is_leader)
        ops_end(r->w->ops, r->user, s->group, s->stream, s->floor, a->next_seq);
}

/* Nothing was done by this attempt, or nobody knows. */
static void refused(struct raw *r, struct session *s, enum asked asked,
                    const struct response *a)
{
    const struct host *hint = host_of(r->w, a->hint);
    s->leader = hint != NULL ? hint->index : s->leader + 1;
    bool is_question =
        asked == ASKED_END || asked == ASKED_NAME || asked == ASKED_READ;
    if (a->err == ERR_NOT_FOUND && is_question) {
        if (s->was_created)
            world_fail(r->w, SIM_SAFETY,
                       "S30: user %u is told that stream %s is not there",
                       r->user, s->stream_name);
        return;
    }
    ops_refused(r->w->ops, r->user, is_question, a->err);
    bool is_read = asked == ASKED_READ &&
                   (a->err == ERR_NOT_HERE || a->err == ERR_CORRUPT);
    if (!is_passing(r, a->err) && !is_read)
        world_fail(r->w, SIM_SAFETY, "user %u: a request is answered %s: %.*s",
                   r->user, err_name(a->err), (int)a->text.size,
                   (const char *)a->text.data);
    if (asked == ASKED_BATCH && a->err == ERR_TIMEOUT)
        attempt_unknown(s);
    if (asked != ASKED_TRICK)
        return;
    struct verdict v = {.err = a->err};
    trick_judged(r, s, &v);
    end_trick(s);
}

/* Of the two one is in at most; the other must be told so, as long as its
 * bytes can be told from the first one's. */
static void twin_answered(struct raw *r, struct session *s,
                          const struct response *a)
{
    struct verdict v = {.err = a->err};
    struct dec d = dec_of(a->verdicts);
    if (a->err == ERR_OK && !wire_verdict_next(&d, &v))
        world_fail(r->w, SIM_OTHER, "an answer without a verdict");
    const struct twin_producer *p =
        twin_producer(r->w->twin, s->group, s->producer);
    if (v.err == ERR_TIMEOUT) {
        ops_unknown(r->w->ops, s->twin.op);
    } else if (v.err != ERR_OK) {
        ops_failed(r->w->ops, s->twin.op, v.err);
    } else if (!v.is_duplicate) {
        ops_acked(r->w->ops, s->twin.op, v.seq, false);
    } else {
        MUST_HOLD(r->w, I21,
                  p != NULL && p->count > s->twin.number + PRODUCER_CHECKSUMS,
                  "user %u is told that number %llu of producer %s is in "
                  "already, with bytes that are another's",
                  r->user, (unsigned long long)s->twin.number,
                  s->producer_name);
        ops_unknown(r->w->ops, s->twin.op);
    }
    s->twin_request = 0;
    piece_free(&s->twin);
}

static void answered(struct raw *r, struct span message)
{
    struct wire_in in;
    struct response a;
    enum err err = wire_read(message, &in);
    if (err == ERR_OK && in.header.kind != WIRE_RESPONSE)
        err = ERR_BAD_REQUEST;
    if (err == ERR_OK)
        err = wire_response_read(&in, &a);
    if (err != ERR_OK && !strangers_may_answer(r->w))
        world_fail(r->w, SIM_OTHER, "a response makes no sense");
    if (err != ERR_OK || !id_equal(in.header.cluster, r->w->cluster) ||
        host_of(r->w, in.header.from) == NULL)
        return;
    for (uint32_t i = 0; i < SESSIONS; i++) {
        struct session *s = &r->sessions[i];
        if (s->twin.op != NULL && s->twin_request == in.header.number)
            twin_answered(r, s, &a);
        if (s->request != in.header.number)
            continue;
        enum asked asked = s->asked;
        s->request = 0;
        s->asked = ASKED_NOTHING;
        if (a.err != ERR_OK)
            refused(r, s, asked, &a);
        else if (asked == ASKED_READ)
            read_answered(r, s, &a, in.payload);
        else if (asked == ASKED_END || asked == ASKED_NAME)
            end_answered(r, s, &a);
        else
            commands_answered(r, s, asked, &a);
        return;
    }
}

/* ---- doing ------------------------------------------------------------- */

static void ask_end(struct raw *r, struct session *s)
{
    struct request q = {.op = OP_INFO, .stream = s->stream};
    bool is_by_name = rng_chance(&r->w->rng, 300);
    if (is_by_name)
        q = (struct request){.op = OP_OPEN, .name = span_str(s->stream_name)};
    s->was_created = true;
    s->floor = ops_floor(r->w->ops, s->group, s->stream);
    send(r, s, is_by_name ? ASKED_NAME : ASKED_END, &q, NULL, (struct span){0});
}

static void ask_read(struct raw *r, struct session *s)
{
    s->floor = ops_floor(r->w->ops, s->group, s->stream);
    s->from_seq = world_draw(r->w, s->floor + 2);
    struct request q = {
        .op = OP_READ,
        .stream = s->stream,
        .from_seq = s->from_seq,
        .end_seq = SEQ_ANY,
        .count_max = 20,
        .bytes_max = 1 << 16,
    };
    s->was_created = true;
    if (rng_chance(&r->w->rng, 500)) /* any replica */
        s->leader = (uint32_t)world_draw(r->w, r->w->host_count - 1);
    send(r, s, ASKED_READ, &q, NULL, (struct span){0});
}

static void ask_to_begin(struct raw *r, struct session *s)
{
    struct command c = {.kind = COMMAND_CREATE,
                        .name = span_str(s->stream_name)};
    if (s->has_stream) {
        c.kind = COMMAND_OPEN_PRODUCER;
        c.name = span_str(s->producer_name);
        c.stream = s->stream;
    }
    send_command(r, s, s->has_stream ? ASKED_OPEN : ASKED_CREATE, &c,
                 (struct span){0});
}

static void time_out(struct raw *r, struct session *s)
{
    if (s->asked == ASKED_BATCH)
        attempt_unknown(s);
    if (s->asked == ASKED_TRICK) {
        if (s->trick != TRICK_REPEAT)
            ops_unknown(r->w->ops, s->tried.op);
        end_trick(s);
    }
    s->asked = ASKED_NOTHING;
    s->request = 0;
    s->leader = (uint32_t)world_draw(r->w, r->w->host_count - 1);
}

static void act(struct raw *r, struct session *s)
{
    struct world *w = r->w;
    if (s->asked != ASKED_NOTHING) {
        if (w->now_us < s->sent_us + 200000 + world_draw(w, 1500000))
            return;
        time_out(r, s);
    }
    if (s->batch_count > 0) {
        bool is_over = w->now_us > s->batch_us + GIVE_UP_US && !w->is_healing &&
                       !s->is_bulk;
        if (is_over)
            give_up(r, s, ERR_UNAVAILABLE);
        else
            send_batch(r, s);
        return;
    }
    if (w->is_healing)
        return;
    if (!s->has_stream || !s->has_producer)
        ask_to_begin(r, s);
    else if (world_draw(w, 99) < w->plan.tricks_percent && begin_trick(r, s))
        return;
    else if (s->past_count > 0 && fault_strikes(w, FAULT_FLOOD, 5))
        flood(r, s);
    else if (rng_chance(&w->rng, 150))
        ask_end(r, s);
    else if (rng_chance(&w->rng, 150))
        ask_read(r, s);
    else if (rng_chance(&w->rng, 10)) /* its own replacement */
        s->has_producer = false;
    else
        new_batch(r, s);
}

bool raw_uses(const struct raw *r, uint32_t group)
{
    bool uses = false;
    for (uint32_t i = 0; i < SESSIONS; i++)
        uses = uses || r->sessions[i].group == group;
    return uses;
}

void raw_rush(struct raw *r, uint32_t group, uint32_t host)
{
    r->rush_group = group;
    r->rush_host = host;
    r->rush_until_us = r->w->now_us + RUSH_US;
    world_at(r->w, 0, EVENT_RAW, r->user, 0, 1, NULL);
}

/* One has a successor: appends go there, ends are asked here, where it may not
 * be known what was acknowledged there. Of one that has none ends are asked,
 * for it may be the successor itself. */
static void rush_session(struct raw *r, struct session *s,
                         const struct host *newest)
{
    bool has_successor = newest != NULL && newest->index != r->rush_host;
    if (s->asked != ASKED_NOTHING &&
        r->w->now_us > s->sent_us + RUSH_PATIENCE_US)
        time_out(r, s);
    if (!s->has_producer || s->asked != ASKED_NOTHING)
        return;
    bool may_ask = s->batch_count == 0;
    if (may_ask && (!has_successor || rng_chance(&r->w->rng, 500))) {
        s->leader = r->rush_host;
        ask_end(r, s);
    } else if (has_successor) {
        s->leader = newest->index;
        if (may_ask)
            new_batch(r, s);
        else
            send_batch(r, s);
    }
}

static void rush(struct raw *r)
{
    struct world *w = r->w;
    const struct host *newest = watch_leader(w->watch, r->rush_group);
    for (uint32_t i = 0; i < SESSIONS; i++)
        if (r->sessions[i].group == r->rush_group)
            rush_session(r, &r->sessions[i], newest);
    if (w->now_us < r->rush_until_us && !w->is_healing)
        world_at(w, RUSH_EVERY_US, EVENT_RAW, r->user, 0, 1, NULL);
}

void raw_event(struct raw *r, const struct event *e)
{
    struct world *w = r->w;
    if (e->kind == EVENT_RAW && e->number == 1) {
        rush(r);
        return;
    }
    if (e->kind == EVENT_RAW) {
        act(r, &r->sessions[world_draw(w, SESSIONS - 1)]);
        world_at(w, world_draw(w, 2000 * (uint64_t)w->plan.pace_ms), EVENT_RAW,
                 r->user, 0, 0, NULL);
        return;
    }
    size_t size;
    uint32_t from;
    uint64_t link;
    uint8_t *data = mesh_receive(w, e, mesh_user(r->user), &size, &from, &link);
    if (data == NULL)
        return;
    answered(r, span_of(data, size));
    mem_free(data);
}

bool raw_is_idle(const struct raw *r)
{
    for (uint32_t i = 0; i < SESSIONS; i++)
        if (r->sessions[i].batch_count > 0)
            return false;
    return true;
}
