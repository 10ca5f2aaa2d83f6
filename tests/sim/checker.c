/* checker.c - see checker.h. */
#include "tests/sim/checker.h"

#include "net/check.h"
#include "tests/sim/mesh.h"

#define EVERY_US    400000u
#define PATIENCE_US 600000u

/* What the first copy of a group was found to be, in a pass at the end. */
struct found {
    bool is_there;
    uint64_t index;
    bool has_state;
    struct hash128 state;
    struct scrub_sums sums;
};

struct checker {
    struct world *w;
    uint64_t next_request;
    uint64_t request; /* the last sent; 0: it is answered */
    uint64_t sent_us;
    /* the copy at hand */
    uint32_t host, group;
    uint64_t index; /* 0: its head is asked for */
    struct scrub_cursor cursor;
    struct scrub_sums sums;
    /* the pass at hand */
    bool is_proving, has_proved;
    uint32_t damaged, unlike;
    struct found found[PLAN_GROUPS_MAX];
};

struct checker *checker_new(struct world *w)
{
    struct checker *c = mem_alloc(sizeof *c);
    c->w = w;
    c->next_request = 1;
    return c;
}

void checker_free(struct checker *c)
{
    mem_free(c);
}

static bool is_needed(const struct world *w)
{
    return w->plan.has[FAULT_ROT_PAYLOAD] || w->plan.has[FAULT_LOST_PAYLOAD] ||
           w->plan.has[FAULT_OTHERS_PAYLOAD];
}

static void act_in(struct checker *c, uint64_t us)
{
    world_at(c->w, us, EVENT_RAW, MESH_CHECKER, 0, 0, NULL);
}

void checker_begin(struct checker *c)
{
    if (is_needed(c->w))
        act_in(c, world_draw(c->w, EVERY_US));
}

/* ---- which copy -------------------------------------------------------- */

static bool has_copy(const struct checker *c)
{
    const struct host *h = c->w->hosts[c->host];
    return world_in_core(c->w, c->host) && h->node != NULL &&
           c->group < c->w->plan.groups && node_raft(h->node, c->group) != NULL;
}

static void begin_copy(struct checker *c, uint32_t host, uint32_t group)
{
    c->host = host;
    c->group = group;
    c->index = 0;
    c->cursor = (struct scrub_cursor){0};
    c->sums = (struct scrub_sums){0};
}

static void begin_pass(struct checker *c)
{
    c->damaged = c->unlike = 0;
    memset(c->found, 0, sizeof c->found);
    begin_copy(c, 0, 0);
}

static void end_pass(struct checker *c)
{
    c->has_proved = c->damaged == 0 && c->unlike == 0;
    begin_pass(c);
}

/* The next copy in a pass; while faults go on any. */
static void next_copy(struct checker *c)
{
    struct world *w = c->w;
    if (!c->is_proving) {
        begin_copy(c, (uint32_t)world_draw(w, w->host_count - 1),
                   (uint32_t)world_draw(w, w->plan.groups - 1));
        return;
    }
    uint32_t host = c->host, group = c->group + 1;
    if (group == w->plan.groups) {
        group = 0;
        host++;
    }
    if (host == w->host_count)
        end_pass(c);
    else
        begin_copy(c, host, group);
}

void checker_prove(struct checker *c)
{
    c->is_proving = true;
    c->has_proved = !is_needed(c->w);
    begin_pass(c);
}

bool checker_has_proved(const struct checker *c)
{
    return c->has_proved;
}

/* ---- asking ------------------------------------------------------------ */

static void send(struct checker *c)
{
    struct world *w = c->w;
    const struct host *to = w->hosts[c->host];
    struct wire_out m = {0};
    struct wire_header h = {
        .kind = WIRE_REQUEST,
        .cluster = w->cluster,
        .to = to->id,
        .number = c->next_request++,
    };
    struct request q = {
        .op = OP_CHECK,
        .group = c->group,
        .check = {.index = c->index,
                  .state_index = c->index,
                  .from = c->cursor},
    };
    wire_begin(&m, &h);
    wire_request_write(&m, &q);
    wire_end(&m);
    size_t size = m.bytes.size;
    uint8_t *data = mem_copy(m.bytes.data, size);
    wire_out_free(&m);
    c->request = h.number;
    c->sent_us = w->now_us;
    mesh_send(w, EVENT_REQUEST, mesh_user(MESH_CHECKER), mesh_host(to->index),
              0, mesh_connection(MESH_CHECKER, 0, to->index), data, size);
}

static void act(struct checker *c)
{
    struct world *w = c->w;
    bool is_waiting = c->request != 0;
    if (c->has_proved || (!w->is_chaos && !c->is_proving) ||
        (is_waiting && w->now_us < c->sent_us + PATIENCE_US))
        return;
    if (is_waiting && !c->is_proving)
        next_copy(c); /* that host may be down for long */
    /* In a pass all that are no copies are passed by at once. */
    while (!has_copy(c) && c->is_proving && !c->has_proved)
        next_copy(c);
    if (has_copy(c) && !c->has_proved)
        send(c);
    else
        next_copy(c);
}

/* ---- answers ----------------------------------------------------------- */

/* At rest all copies are of one entry, and then all the same. */
static void compare(struct checker *c, const struct check_answer *a)
{
    struct found *f = &c->found[c->group];
    if (!f->is_there)
        *f = (struct found){true, c->index, a->has_state, a->state, c->sums};
    c->unlike += f->index != c->index;
    if (f->index != c->index)
        return;
    MUST_HOLD(c->w, I4,
              !a->has_state || !f->has_state ||
                  (f->state.lo == a->state.lo && f->state.hi == a->state.hi),
              "n%u's state of group %u at entry %llu has another digest than "
              "another's",
              c->host + 1, c->group, (unsigned long long)c->index);
    MUST_HOLD(c->w, I4,
              f->sums.digest.lo == c->sums.digest.lo &&
                  f->sums.digest.hi == c->sums.digest.hi &&
                  f->sums.rows == c->sums.rows,
              "n%u's rows of group %u up to entry %llu are others than "
              "another's",
              c->host + 1, c->group, (unsigned long long)c->index);
}

static void piece_came(struct checker *c, const struct check_answer *a)
{
    scrub_add(&c->sums, &a->sums);
    c->damaged += a->damage_count;
    c->cursor = a->next;
    if (c->cursor.phase != SCRUB_DONE)
        return;
    if (c->is_proving)
        compare(c, a);
    next_copy(c);
}

static void answered(struct checker *c, struct span message)
{
    struct wire_in in;
    struct response r;
    struct check_answer a;
    if (wire_read(message, &in) != ERR_OK || in.header.number != c->request ||
        wire_response_read(&in, &r) != ERR_OK)
        return;
    c->request = 0;
    if (r.err != ERR_OK) { /* gone, quarantined or not that far: another */
        c->unlike++;
        next_copy(c);
        return;
    }
    enum err err = check_read(r.bytes, &a);
    ASSERT(err == ERR_OK);
    if (c->index == 0)
        c->index = a.stored;
    else
        piece_came(c, &a);
}

void checker_event(struct checker *c, const struct event *e)
{
    size_t size;
    uint32_t from;
    uint64_t link;
    if (e->kind == EVENT_RAW) {
        act(c);
        act_in(c, c->is_proving ? PATIENCE_US / 2 : world_draw(c->w, EVERY_US));
        return;
    }
    uint8_t *data =
        mesh_receive(c->w, e, mesh_user(MESH_CHECKER), &size, &from, &link);
    if (data == NULL)
        return;
    answered(c, span_of(data, size));
    mem_free(data);
    act(c); /* at once, if that was the answer */
}
