/* cmd_check.c - see cmd_check.h. Group by group: where is each copy, is the
 * state the same, and then piece by piece of all copies at once, up to the
 * entry that all of them have stored. A node that finds damage sets about to
 * mend it; the piece is asked for again until it is whole, or time is up. */
#include "tools/cmd_check.h"

#include <stdio.h>
#include <time.h>

#include "net/check.h"
#include "net/wire.h"
#include "tools/cmd_view.h"

#define VIEW_MS    2500u
#define ASK_MS     10000u /* a piece on a slow disk; a node that has died */
#define MEND_MS    15000u
#define AGAIN_MS   200u
#define STATES_MAX 10u  /* tries to find a common entry */
#define STORED_MAX 40u  /* looks whether all is stored */
#define FOUND_MAX  256u /* damaged rows of a group that are looked at again */

struct copy {
    uint16_t slot;
    bool is_out;                 /* not to be asked any more */
    struct check_answer *answer; /* the newest */
    struct scrub_cursor cursor;
    struct scrub_sums sums;
};

/* A damaged row, and the piece that it was found in. */
struct found {
    uint32_t copy;
    struct scrub_cursor from;
    struct scrub_damage damage;
    bool is_mended;
};

/* Copies of one node that could not be checked. */
struct unchecked {
    uint32_t count;
    const char *why; /* of the first */
};

struct check {
    struct cli *cli;
    struct eddy *e;
    struct cmd_view *v;
    struct cli_json json;
    /* the group at hand */
    uint32_t group;
    struct copy copies[REPLICAS_MAX];
    uint32_t copy_count;
    uint64_t index;
    struct check_answer answers[REPLICAS_MAX];
    struct found found[FOUND_MAX];
    uint32_t found_count;
    /* all of them */
    uint64_t applied[GROUPS_MAX]; /* anywhere, when the check began */
    uint32_t copies_checked, damaged, mended, unlike, incomparable;
    uint64_t segments, bytes;
    struct unchecked unchecked[MEMBERS_MAX];
    bool is_denied;
};

static void nap(uint32_t ms)
{
    struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000L};
    (void)nanosleep(&t, NULL);
}

static const char *node_name(const struct check *c, const struct copy *at)
{
    return c->v->record->members[at->slot].name;
}

/* ---- findings ---------------------------------------------------------- */

/* What is said of one copy; `stream` may be NULL. */
static void say(struct check *c, const char *code, const char *node,
                const char *stream, const struct scrub_damage *d,
                const char *text)
{
    cli_progress_end(c->cli);
    if (c->cli->is_json) {
        cli_json_open(&c->json, NULL, '{');
        cli_json_text(&c->json, "code", code);
        if (c->group == 0)
            cli_json_null(&c->json, "partition");
        else
            cli_json_u64(&c->json, "partition", c->group - 1);
        cli_json_text(&c->json, "node", node);
        if (d != NULL) {
            cli_json_text(&c->json, "stream", stream);
            cli_json_u64(&c->json, "segment", d->bad_seq);
            cli_json_u64(&c->json, "count", d->bad_count);
        }
        cli_json_text(&c->json, "text", text);
        cli_json_close(&c->json, '}');
        return;
    }
    (void)printf("%s ", code);
    if (c->group == 0)
        (void)printf("ring");
    else
        (void)printf("partition %u", c->group - 1);
    (void)printf(" node %s", node);
    if (d != NULL) {
        (void)printf(" stream ");
        cli_print_name(stdout, stream);
        (void)printf(" segment %llu", (unsigned long long)d->bad_seq);
        if (d->bad_count > 1)
            (void)printf(" and %u more behind it", d->bad_count - 1u);
    }
    (void)printf(": %s\n", text);
}

/* Copies of a group without a node that says so are counted by node: one line
 * for each at the end. */
static void leave_out(struct check *c, struct copy *at, const char *why)
{
    struct unchecked *u = &c->unchecked[at->slot];
    at->is_out = true;
    if (u->count++ == 0)
        u->why = why;
}

static void say_damage(struct check *c, const struct found *f)
{
    struct eddy_stream s = {.partition = c->group - 1,
                            .id_index = f->damage.stream.index,
                            .id_ordinal = f->damage.stream.ordinal};
    if (eddy_stream_info(c->e, &s) != EDDY_OK)
        (void)snprintf(s.name, sizeof s.name, "%llu.%u",
                       (unsigned long long)f->damage.stream.index,
                       f->damage.stream.ordinal);
    say(c, f->is_mended ? "MENDED" : "DAMAGED",
        node_name(c, &c->copies[f->copy]), s.name, &f->damage,
        f->is_mended ? "it was damaged here, and is whole again, from another "
                       "copy"
                     : "it is damaged here, and no other copy has mended it "
                       "yet: are the other nodes up? Check again");
}

static void say_unlike(struct check *c, const struct copy *at,
                       const struct copy *first, const char *what)
{
    char text[400];
    (void)snprintf(text, sizeof text,
                   "the %s that it keeps up to entry %llu are not those of "
                   "node %s: two that should be the same have come apart. "
                   "Keep both folders; compare with a third copy, and bring "
                   "the odd one back as a new node",
                   what, (unsigned long long)c->index, node_name(c, first));
    c->unlike++;
    say(c, "DIFFERS", node_name(c, at), NULL, NULL, text);
}

/* ---- asking ------------------------------------------------------------ */

static const char *why_not(enum eddy_error err)
{
    if (err == EDDY_NOT_FOUND)
        return "it has no whole copy of it: eddy ring why";
    if (err == EDDY_TIMEOUT || err == EDDY_UNAVAILABLE)
        return "it does not answer, or not any more: its log says why";
    return eddy_error_text(err);
}

/* Asks all copies that are `wanted` the same but for the cursor. */
static void ask(struct check *c, uint64_t index, uint64_t state_index,
                const bool wanted[REPLICAS_MAX])
{
    struct eddy_check checks[REPLICAS_MAX] = {0};
    struct check_request requests[REPLICAS_MAX];
    struct copy *asked[REPLICAS_MAX];
    size_t count = 0;
    for (uint32_t i = 0; i < c->copy_count; i++) {
        struct copy *at = &c->copies[i];
        if (at->is_out || !wanted[i])
            continue;
        struct eddy_check *q = &checks[count];
        requests[count] =
            (struct check_request){index, state_index, at->cursor};
        memcpy(q->node, c->v->record->members[at->slot].node.bytes,
               sizeof q->node);
        q->group = c->group;
        q->request = &requests[count];
        q->answer = at->answer;
        asked[count++] = at;
    }
    enum eddy_error err = eddy_ring_check(c->e, checks, count);
    for (size_t i = 0; i < count; i++) {
        enum eddy_error why = err == EDDY_OK ? checks[i].error : err;
        c->is_denied = c->is_denied || why == EDDY_DENIED;
        if (why != EDDY_OK)
            leave_out(c, asked[i], why_not(why));
    }
}

static void ask_all(struct check *c, uint64_t index, uint64_t state_index)
{
    bool all[REPLICAS_MAX];
    memset(all, true, sizeof all);
    ask(c, index, state_index, all);
}

/* ---- which copies ------------------------------------------------------ */

static void add_copy(struct check *c, uint16_t slot)
{
    struct copy *at = &c->copies[c->copy_count];
    *at = (struct copy){.slot = slot, .answer = &c->answers[c->copy_count]};
    c->copy_count++;
    if (!c->v->nodes[slot].has_answered)
        leave_out(c, at, "it does not answer");
}

/* The voters, as the leader tells; without one, as the table has it. */
static void list_copies(struct check *c, uint32_t group)
{
    const struct cmd_view_group *g = &c->v->groups[group];
    const struct record *r = c->v->record;
    c->group = group;
    c->copy_count = c->found_count = 0;
    if (g->has_leader) {
        for (uint32_t i = 0; i < g->g.replica_count; i++) {
            struct id128 node = g->g.replicas[i].node;
            uint16_t slot = record_slot(r, node);
            if (g->g.replicas[i].is_voter && slot != SLOT_NONE &&
                !cmd_view_is_kept_seat(c->v, group, node))
                add_copy(c, slot);
        }
        return;
    }
    uint32_t count;
    const uint16_t *row = record_row(r, group, &count);
    for (uint32_t i = 0; i < count; i++)
        add_copy(c, row[i]);
}

/* NULL: none is left. */
static struct copy *first_copy(struct check *c)
{
    for (uint32_t i = 0; i < c->copy_count; i++)
        if (!c->copies[i].is_out)
            return &c->copies[i];
    return NULL;
}

/* What was applied anywhere when it began, the check covers. */
static void note_applied(struct check *c)
{
    for (uint32_t i = 0; i < c->v->record->member_count; i++) {
        const struct cmd_view_node *n = &c->v->nodes[i];
        struct dec d = dec_of(span_buf(&n->bytes));
        struct status_group g;
        while (n->has_answered && status_next_group(&d, &g))
            if (g.group < GROUPS_MAX)
                c->applied[g.group] = max_u64(c->applied[g.group], g.applied);
    }
}

static uint64_t least_stored(const struct check *c)
{
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < c->copy_count; i++)
        if (!c->copies[i].is_out)
            least = min_u64(least, c->answers[i].stored);
    return least;
}

/* Rows are stored a second or so after they are applied. False: there is no
 * copy. */
static bool find_entry(struct check *c)
{
    uint64_t wanted = c->applied[c->group];
    uint32_t tries = 0;
    do {
        if (tries > 0)
            nap(AGAIN_MS);
        ask_all(c, 0, 0);
        c->index = least_stored(c);
    } while (c->index < wanted && ++tries < STORED_MAX);
    if (c->index >= wanted)
        return c->index != UINT64_MAX;
    char text[200];
    (void)snprintf(text, sizeof text,
                   "it lags: entry %llu had been applied when the check began, "
                   "and it has stored up to %llu. Check again",
                   (unsigned long long)wanted, (unsigned long long)c->index);
    c->incomparable++;
    for (uint32_t i = 0; i < c->copy_count; i++)
        if (!c->copies[i].is_out && c->answers[i].stored == c->index)
            say(c, "NOT_COMPARED", node_name(c, &c->copies[i]), NULL, NULL,
                text);
    return true;
}

/* ---- the state --------------------------------------------------------- */

/* The entry that the copies' states are compared at, from their last answers:
 * the highest that is stored, so that all are asked for what is still known. */
static uint64_t common_entry(const struct check *c)
{
    uint64_t highest = 0;
    for (uint32_t i = 0; i < c->copy_count; i++)
        if (!c->copies[i].is_out)
            highest = max_u64(highest, c->answers[i].stored);
    return highest;
}

static bool have_state(const struct check *c)
{
    for (uint32_t i = 0; i < c->copy_count; i++)
        if (!c->copies[i].is_out && !c->answers[i].has_state)
            return false;
    return true;
}

/* A copy that lags is waited for a little. */
static void compare_states(struct check *c)
{
    uint32_t tries = 0;
    do {
        if (tries > 0)
            nap(AGAIN_MS);
        ask_all(c, 0, common_entry(c));
    } while (!have_state(c) && ++tries < STATES_MAX);
    struct copy *first = first_copy(c);
    if (first == NULL)
        return;
    if (!have_state(c)) {
        c->incomparable++;
        say(c, "NOT_COMPARED", node_name(c, first), NULL, NULL,
            "too much is being written, or a copy lags: the copies' states "
            "are of no common entry. Check again");
        return;
    }
    for (uint32_t i = 0; i < c->copy_count; i++) {
        const struct check_answer *a = &c->answers[i];
        if (!c->copies[i].is_out && (a->state.lo != first->answer->state.lo ||
                                     a->state.hi != first->answer->state.hi))
            say_unlike(c, &c->copies[i], first, "streams and producers");
    }
}

/* ---- the pieces -------------------------------------------------------- */

static void show_progress(const struct check *c)
{
    char size[CLI_TEXT_SIZE];
    cli_progress(c->cli, "%u of %u groups, %s read, %u damaged", c->group,
                 c->v->record->row_count, cli_size(c->bytes, size), c->damaged);
}

static void take_piece(struct check *c, uint32_t i)
{
    struct copy *at = &c->copies[i];
    const struct check_answer *a = at->answer;
    scrub_add(&at->sums, &a->sums);
    c->segments += a->sums.segments;
    c->bytes += a->sums.bytes;
    c->damaged += a->damage_count;
    for (uint32_t k = 0; k < a->damage_count; k++) {
        struct found f = {i, at->cursor, a->damages[k], false};
        if (c->found_count < FOUND_MAX)
            c->found[c->found_count++] = f;
        else
            say_damage(c, &f);
    }
    at->cursor = a->next;
}

static bool read_some(struct check *c)
{
    bool wanted[REPLICAS_MAX] = {false};
    bool is_any = false;
    for (uint32_t i = 0; i < c->copy_count; i++) {
        wanted[i] =
            !c->copies[i].is_out && c->copies[i].cursor.phase != SCRUB_DONE;
        is_any = is_any || wanted[i];
    }
    if (!is_any)
        return false;
    ask(c, c->index, 0, wanted);
    for (uint32_t i = 0; i < c->copy_count; i++)
        if (wanted[i] && !c->copies[i].is_out)
            take_piece(c, i);
    show_progress(c);
    return true;
}

static void compare_rows(struct check *c)
{
    const struct copy *first = first_copy(c);
    for (uint32_t i = 0; i < c->copy_count; i++) {
        const struct copy *at = &c->copies[i];
        if (at->is_out)
            continue;
        c->copies_checked++;
        if (at->sums.rows != first->sums.rows ||
            at->sums.digest.lo != first->sums.digest.lo ||
            at->sums.digest.hi != first->sums.digest.hi)
            say_unlike(c, at, first, "segments");
    }
}

/* ---- damage ------------------------------------------------------------ */

static bool is_listed(const struct check_answer *a,
                      const struct scrub_damage *damage)
{
    for (uint32_t i = 0; i < a->damage_count; i++)
        if (position_equal(a->damages[i].stream, damage->stream) &&
            a->damages[i].first_seq == damage->first_seq)
            return true;
    return false;
}

static bool is_same_place(const struct scrub_cursor *a,
                          const struct scrub_cursor *b)
{
    return a->phase == b->phase && a->index == b->index &&
           position_equal(a->row.stream, b->row.stream) &&
           a->row.seq == b->row.seq;
}

/* The piece of one find again: what it does not list any more is mended. */
static void look_again(struct check *c, struct found *f)
{
    struct copy *at = &c->copies[f->copy];
    bool wanted[REPLICAS_MAX] = {false};
    wanted[f->copy] = true;
    at->cursor = f->from;
    ask(c, c->index, 0, wanted);
    if (at->is_out)
        return;
    for (uint32_t i = 0; i < c->found_count; i++) {
        struct found *other = &c->found[i];
        if (other->copy == f->copy && is_same_place(&other->from, &f->from))
            other->is_mended = !is_listed(at->answer, &other->damage);
    }
}

static bool are_mended(struct check *c)
{
    bool are = true;
    for (uint32_t i = 0; i < c->found_count; i++) {
        struct found *f = &c->found[i];
        if (!f->is_mended && !c->copies[f->copy].is_out)
            look_again(c, f);
        are = are && (f->is_mended || c->copies[f->copy].is_out);
    }
    return are;
}

static void see_to_damage(struct check *c)
{
    uint64_t until = cli_now_ms() + MEND_MS;
    if (c->found_count == 0)
        return;
    do
        nap(AGAIN_MS);
    while (!are_mended(c) && cli_now_ms() < until);
    for (uint32_t i = 0; i < c->found_count; i++) {
        c->mended += c->found[i].is_mended;
        say_damage(c, &c->found[i]);
    }
}

/* ---- a group, and all -------------------------------------------------- */

static void check_group(struct check *c, uint32_t group)
{
    list_copies(c, group);
    if (!find_entry(c))
        return;
    compare_states(c);
    while (read_some(c))
        continue;
    compare_rows(c);
    see_to_damage(c);
}

static uint32_t say_unchecked(struct check *c)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < c->v->record->member_count; i++) {
        const struct unchecked *u = &c->unchecked[i];
        sum += u->count;
        if (u->count == 0)
            continue;
        const char *name = c->v->record->members[i].name;
        if (c->cli->is_json) {
            cli_json_open(&c->json, NULL, '{');
            cli_json_text(&c->json, "code", "NOT_CHECKED");
            cli_json_text(&c->json, "node", name);
            cli_json_u64(&c->json, "count", u->count);
            cli_json_text(&c->json, "text", u->why);
            cli_json_close(&c->json, '}');
        } else {
            (void)printf("NOT_CHECKED node %s: %u copies: %s\n", name, u->count,
                         u->why);
        }
    }
    return sum;
}

static void sum_up(struct check *c, uint32_t unchecked, uint64_t ms)
{
    char size[CLI_TEXT_SIZE], took[CLI_TEXT_SIZE];
    bool is_bad = c->damaged + c->unlike > 0;
    bool is_short = unchecked + c->incomparable > 0;
    const char *status = is_bad ? "DAMAGED" : is_short ? "INCOMPLETE" : "OK";
    if (!c->cli->is_json) {
        (void)printf("%s %u copies of %u groups, %llu segments, %s in %s: %u "
                     "rows damaged, %u of them mended, %u copies unlike, %u "
                     "not checked\n",
                     status, c->copies_checked, c->v->record->row_count,
                     (unsigned long long)c->segments, cli_size(c->bytes, size),
                     cli_duration(ms, took), c->damaged, c->mended, c->unlike,
                     unchecked);
        return;
    }
    cli_json_close(&c->json, ']');
    cli_json_text(&c->json, "status", status);
    cli_json_u64(&c->json, "groups", c->v->record->row_count);
    cli_json_u64(&c->json, "copies", c->copies_checked);
    cli_json_u64(&c->json, "segments", c->segments);
    cli_json_u64(&c->json, "bytes", c->bytes);
    cli_json_u64(&c->json, "damaged", c->damaged);
    cli_json_u64(&c->json, "mended", c->mended);
    cli_json_u64(&c->json, "unlike", c->unlike);
    cli_json_u64(&c->json, "not_checked", unchecked);
    cli_json_u64(&c->json, "not_compared", c->incomparable);
    cli_json_seconds(&c->json, "seconds", ms);
    cli_json_end(&c->json);
}

/* Never 0 with damage, were it mended by now; nor if anything is missing. */
static int exit_of(const struct check *c, uint32_t unchecked)
{
    if (c->damaged + c->unlike > 0)
        return CLI_UNHEALTHY;
    return unchecked + c->incomparable > 0 ? CLI_FAILED : CLI_DONE;
}

/* Before anything is printed. */
static bool is_allowed(struct check *c)
{
    list_copies(c, 0);
    ask_all(c, 0, 0);
    memset(c->unchecked, 0, sizeof c->unchecked);
    return !c->is_denied;
}

static int check_all(struct check *c)
{
    uint64_t began = cli_now_ms();
    if (!is_allowed(c))
        return cli_failed(c->cli, c->e, EDDY_DENIED, "checking the ring");
    note_applied(c);
    if (c->cli->is_json) {
        cli_json_begin(&c->json, stdout);
        cli_json_open(&c->json, "findings", '[');
    }
    for (uint32_t g = 0; g < c->v->record->row_count; g++)
        check_group(c, g);
    cli_progress_end(c->cli);
    uint32_t unchecked = say_unchecked(c);
    sum_up(c, unchecked, cli_now_ms() - began);
    return cli_flush(c->cli, exit_of(c, unchecked));
}

int cmd_check(struct cli *cli, struct eddy *e)
{
    enum eddy_error err;
    struct check *c = mem_alloc(sizeof *c);
    c->cli = cli;
    c->e = e;
    c->v = cmd_view_take(e, VIEW_MS, &err);
    if (c->v == NULL) {
        mem_free(c);
        return cli_failed(cli, e, err, "asking the ring");
    }
    eddy_set_timeout(e, ASK_MS);
    int code = check_all(c);
    cmd_view_free(c->v);
    mem_free(c);
    return code;
}
