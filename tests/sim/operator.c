/* operator.c - see operator.h. */
#include "tests/sim/operator.h"

#include "tests/sim/mesh.h"
#include "tests/sim/watch.h"

#define EVERY_US    1500000u
#define PATIENCE_US 600000u

struct operator
{
    struct world *w;
    uint64_t next_request;
    bool has_proposal, has_answer;
    struct id128 proposal;
    struct epoch made_from;
    struct buf changes;
    enum err told;           /* OK or CONFLICT */
    struct epoch told_epoch; /* with OK */
    uint64_t request;        /* the last sent; 0: it is answered */
    uint64_t sent_us;
};

struct operator* operator_new(struct world *w)
{
    struct operator* o = mem_alloc(sizeof *o);
    o->w = w;
    o->next_request = 1;
    return o;
}

void operator_free(struct operator* o)
{
    buf_free(&o->changes);
    mem_free(o);
}

static void act_later(struct operator* o)
{
    world_at(o->w, world_draw(o->w, EVERY_US), EVENT_RAW, MESH_OPERATOR, 0, 0,
             NULL);
}

void operator_begin(struct operator* o)
{
    if (o->w->plan.has[FAULT_OPERATOR])
        act_later(o);
}

/* ---- asking ------------------------------------------------------------ */

/* The ring's leader, or anybody. */
static struct host *draw_addressee(struct world *w)
{
    struct host *h = watch_leader(w->watch, 0);
    if (h == NULL || rng_chance(&w->rng, 300))
        h = w->hosts[world_draw(w, w->host_count - 1)];
    return h;
}

static void send(struct operator* o)
{
    struct world *w = o->w;
    const struct host *to = draw_addressee(w);
    struct wire_out m = {0};
    struct wire_header h = {
        .kind = WIRE_REQUEST,
        .cluster = w->cluster,
        .to = to->id,
        .number = o->next_request++,
    };
    struct request q = {
        .op = OP_CHANGE,
        .epoch = o->made_from,
        .change = {.act = ACT_NOW,
                   .proposal = o->proposal,
                   .count = 1,
                   .changes = span_buf(&o->changes)},
    };
    wire_begin(&m, &h);
    wire_request_write(&m, &q);
    wire_end(&m);
    size_t size = m.bytes.size;
    uint8_t *data = mem_copy(m.bytes.data, size);
    wire_out_free(&m);
    o->request = h.number;
    o->sent_us = w->now_us;
    mesh_send(w, EVENT_REQUEST, mesh_user(MESH_OPERATOR), mesh_host(to->index),
              0, mesh_connection(MESH_OPERATOR, 0, to->index), data, size);
}

/* Another weight for one member, as of the ring that some host shows. */
static void propose(struct operator* o)
{
    struct world *w = o->w;
    const struct host *h = draw_addressee(w);
    if (h->node == NULL)
        return;
    const struct record *r = node_record(h->node);
    struct change c = {
        .kind = CHANGE_WEIGHT,
        .slot = (uint16_t)world_draw(w, r->member_count - 1),
        .value = WEIGHT_DEFAULT / 2 + (uint32_t)world_draw(w, WEIGHT_DEFAULT),
    };
    uint64_t id[2] = {rng_next(&w->rng), rng_next(&w->rng)};
    memcpy(&o->proposal, id, sizeof id);
    o->made_from = r->epoch;
    o->has_proposal = true;
    o->has_answer = false;
    buf_clear(&o->changes);
    wire_change_write(&o->changes, &c);
    fault_count(w, FAULT_OPERATOR);
    send(o);
}

static void act(struct operator* o)
{
    struct world *w = o->w;
    if (!w->is_chaos)
        return;
    bool is_waiting = o->request != 0;
    if (is_waiting && w->now_us < o->sent_us + PATIENCE_US)
        return;
    bool is_repeat = o->has_proposal && !o->has_answer;
    if (o->has_answer && fault_strikes(w, FAULT_LOST_ANSWER, 400))
        is_repeat = true;
    if (is_repeat)
        send(o);
    else
        propose(o);
}

/* ---- answers ----------------------------------------------------------- */

/* Some host's record has it that this proposal won. */
static bool has_won(const struct operator* o)
{
    for (uint32_t i = 0; i < o->w->host_count; i++) {
        const struct host *h = o->w->hosts[i];
        const struct record *r = h->node == NULL ? NULL : node_record(h->node);
        for (uint32_t k = 0; r != NULL && k < r->answer_count; k++)
            if (id_equal(r->answers[k].proposal, o->proposal) &&
                r->answers[k].err == ERR_OK)
                return true;
    }
    return false;
}

static void judged(struct operator* o, const struct response *a)
{
    bool is_first = !o->has_answer || o->told == ERR_CONFLICT;
    MUST_HOLD(o->w, T26,
              is_first || (a->err == ERR_OK &&
                           epoch_compare(a->epoch, o->told_epoch) == 0),
              "the operator is told %s, epoch %llu, of a proposal that it was "
              "told has won as epoch %llu",
              err_name(a->err), (unsigned long long)a->epoch.number,
              (unsigned long long)o->told_epoch.number);
    MUST_HOLD(o->w, T26, a->err == ERR_OK || !has_won(o),
              "the operator is told %s of a proposal that has won",
              err_name(a->err));
    MUST_HOLD(o->w, S12,
              a->err != ERR_OK || a->epoch.number == o->made_from.number + 1,
              "a change made from epoch %llu has won as epoch %llu",
              (unsigned long long)o->made_from.number,
              (unsigned long long)a->epoch.number);
    o->has_answer = true;
    o->told = a->err;
    o->told_epoch = a->epoch;
}

static void answered(struct operator* o, struct span message)
{
    struct wire_in in;
    struct response a;
    if (wire_read(message, &in) != ERR_OK || in.header.number != o->request ||
        wire_response_read(&in, &a) != ERR_OK)
        return;
    o->request = 0;
    if (a.err == ERR_OK || a.err == ERR_CONFLICT)
        judged(o, &a);
    else if (a.err == ERR_REFUSED || a.err == ERR_BAD_REQUEST)
        o->has_proposal = false;
}

void operator_event(struct operator* o, const struct event *e)
{
    size_t size;
    uint32_t from;
    uint64_t link;
    if (e->kind == EVENT_RAW) {
        act(o);
        act_later(o);
        return;
    }
    uint8_t *data =
        mesh_receive(o->w, e, mesh_user(MESH_OPERATOR), &size, &from, &link);
    if (data == NULL)
        return;
    answered(o, span_of(data, size));
    mem_free(data);
}
