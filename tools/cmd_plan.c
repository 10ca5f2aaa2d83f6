/* cmd_plan.c - see cmd_plan.h. */
#include "tools/cmd_plan.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "net/wire.h"
#include "ring/placement.h"

#define ANSWER_MS 2500u
#define TRIES_MAX 3u /* while the ring changes under what is to be done */

/* What is asked for, and what comes of it. */
struct plan {
    struct cmd_view *view;
    struct record *next; /* as the record will be */
    struct change changes[CHANGES_MAX];
    uint32_t count;
    /* The leader knows better where copies still are: the table shown is
     * about right, and none is named. */
    bool is_about;
};

/* ---- words into changes ------------------------------------------------ */

uint16_t cmd_plan_member(const struct cli *cli, const struct record *r,
                         const char *word, int *code)
{
    uint16_t found = record_slot_by_name(r, span_str(word));
    size_t size = strlen(word);
    bool is_unique = true;
    for (uint32_t i = 0; found == SLOT_NONE && i < r->member_count; i++) {
        char id[33];
        id_format(r->members[i].node, id);
        if (r->members[i].wanted == WANTED_LEFT || size < 2 || size > 32 ||
            strncmp(id, word, size) != 0)
            continue;
        for (uint32_t k = i + 1; k < r->member_count; k++) {
            id_format(r->members[k].node, id);
            is_unique = is_unique && (r->members[k].wanted == WANTED_LEFT ||
                                      strncmp(id, word, size) != 0);
        }
        found = (uint16_t)i;
    }
    if (found != SLOT_NONE && is_unique)
        return found;
    *code = cli_fail(cli, CLI_ABSENT, "NOT_FOUND",
                     is_unique ? "no member is called '%s'"
                               : "'%s' begins the id of several members",
                     word);
    return SLOT_NONE;
}

static bool add(const struct cli *cli, struct plan *p, struct change c,
                int *code)
{
    const char *fault = change_fault(&c);
    if (fault == NULL && p->count < CHANGES_MAX) {
        p->changes[p->count++] = c;
        return true;
    }
    *code = cli_fail(cli, CLI_USAGE, "BAD_REQUEST", "%s",
                     fault == NULL ? "too many changes" : fault);
    return false;
}

static bool add_of(const struct cli *cli, struct plan *p, const char *word,
                   enum change_kind kind, int *code)
{
    struct change c = {.kind = kind};
    c.slot = cmd_plan_member(cli, p->view->record, word, code);
    p->is_about = p->is_about || kind == CHANGE_ADD;
    return c.slot != SLOT_NONE && add(cli, p, c, code);
}

/* NODE=VALUE */
static bool add_valued(const struct cli *cli, struct plan *p, char *word,
                       enum change_kind kind, int *code)
{
    char *value = strchr(word, '=');
    uint64_t number = 0;
    if (value == NULL ||
        (kind == CHANGE_WEIGHT && (!cli_read_u64(value + 1, &number) ||
                                   number == 0 || number > WEIGHT_MAX))) {
        *code =
            cli_fail(cli, CLI_USAGE, "BAD_REQUEST", "'%s' is not NODE=%s", word,
                     kind == CHANGE_WEIGHT ? "WEIGHT (1 to 100000)" : "ZONE");
        return false;
    }
    *value++ = 0;
    struct change c = {.kind = kind, .value = (uint32_t)number};
    if (kind == CHANGE_ZONE && strlen(value) > ZONE_NAME_MAX) {
        *code = cli_fail(cli, CLI_USAGE, "BAD_REQUEST", "the zone is too long");
        return false;
    }
    if (kind == CHANGE_ZONE)
        memcpy(c.zone, value, strlen(value) + 1);
    c.slot = cmd_plan_member(cli, p->view->record, word, code);
    return c.slot != SLOT_NONE && add(cli, p, c, code);
}

static bool add_setting(const struct cli *cli, struct plan *p, const char *word,
                        int *code)
{
    uint64_t value = 0;
    struct change c = {.kind = CHANGE_COPIES};
    bool is_good = false;
    if (strncmp(word, "replication=", 12) == 0) {
        is_good = cli_read_u64(word + 12, &value) && value >= 1 &&
                  value <= REPLICATION_MAX;
    } else if (strncmp(word, "out-after=", 10) == 0) {
        c.kind = CHANGE_OUT_AFTER;
        is_good = cli_read_time(word + 10, &value) &&
                  value >= OUT_AFTER_MIN_MS && value <= OUT_AFTER_MAX_MS;
    } else if (strncmp(word, "repair.rate=", 12) == 0) {
        c.kind = CHANGE_REPAIR_RATE;
        is_good = cli_read_size(word + 12, &value) &&
                  value >= REPAIR_RATE_MIN && value <= REPAIR_RATE_MAX;
    }
    c.value = (uint32_t)value;
    if (is_good)
        return add(cli, p, c, code);
    *code = cli_fail(cli, CLI_USAGE, "BAD_REQUEST",
                     "'%s' is no setting: replication=1 to %u, out-after=%us "
                     "to %ud, repair.rate=%uK to %uM (bytes a second)",
                     word, REPLICATION_MAX, OUT_AFTER_MIN_MS / 1000,
                     OUT_AFTER_MAX_MS / 86400000, REPAIR_RATE_MIN / KIB,
                     REPAIR_RATE_MAX / MIB);
    return false;
}

/* OLD gives all it has away, and NEW bears as much as OLD did. */
static bool add_replacement(const struct cli *cli, struct plan *p,
                            const char *old, const char *new, int *code)
{
    const struct record *r = p->view->record;
    uint16_t from = cmd_plan_member(cli, r, old, code);
    uint16_t to =
        from == SLOT_NONE ? SLOT_NONE : cmd_plan_member(cli, r, new, code);
    if (to == SLOT_NONE)
        return false;
    if (from == to || !record_is_eligible(&r->members[to]) ||
        !p->view->nodes[to].has_answered) {
        *code = cli_fail(cli, CLI_REFUSED, "REFUSED",
                         "%s cannot take over: it must have joined (eddyd "
                         "join, eddyd run), be up and not be draining",
                         r->members[to].name);
        return false;
    }
    struct change drain = {.kind = CHANGE_DRAIN, .slot = from};
    struct change weight = {
        .kind = CHANGE_WEIGHT, .slot = to, .value = r->members[from].weight};
    return add(cli, p, drain, code) && add(cli, p, weight, code);
}

/* Each word of a list, separated by commas. */
static bool add_list(const struct cli *cli, struct plan *p, const char *list,
                     enum change_kind kind, int *code)
{
    char *words = list == NULL ? NULL : strdup(list);
    char *rest = NULL;
    bool is_good = true;
    for (char *word = words == NULL ? NULL : strtok_r(words, ",", &rest);
         word != NULL && is_good; word = strtok_r(NULL, ",", &rest)) {
        if (kind == CHANGE_WEIGHT || kind == CHANGE_ZONE)
            is_good = add_valued(cli, p, word, kind, code);
        else if (kind == CHANGE_COPIES)
            is_good = add_setting(cli, p, word, code);
        else
            is_good = add_of(cli, p, word, kind, code);
    }
    free(words);
    return is_good;
}

static bool add_options(const struct cli *cli, struct plan *p,
                        const struct cmd_plan_options *o, int *code)
{
    char *old = o->replace == NULL ? NULL : strdup(o->replace);
    char *new = old == NULL ? NULL : strchr(old, '=');
    bool is_good = true;
    if (old != NULL && new == NULL) {
        *code = cli_fail(cli, CLI_USAGE, "BAD_REQUEST", "--replace OLD=NEW");
        is_good = false;
    } else if (old != NULL) {
        *new ++ = 0;
        is_good = add_replacement(cli, p, old, new, code);
    }
    free(old);
    return is_good && add_list(cli, p, o->add, CHANGE_ADD, code) &&
           add_list(cli, p, o->drain, CHANGE_DRAIN, code) &&
           add_list(cli, p, o->remove, CHANGE_REMOVE, code) &&
           add_list(cli, p, o->weight, CHANGE_WEIGHT, code) &&
           add_list(cli, p, o->zone, CHANGE_ZONE, code) &&
           add_list(cli, p, o->set, CHANGE_COPIES, code);
}

/* ---- the ring as it is ------------------------------------------------- */

static uint64_t newest_epoch(const struct cmd_view *v)
{
    uint64_t newest = v->record->epoch.number;
    for (uint32_t i = 0; i < v->record->member_count; i++)
        if (v->nodes[i].has_answered)
            newest = max_u64(newest, v->nodes[i].self.epoch.number);
    return newest;
}

/* A view whose record is the newest that any member knows, and at least this
 * one; NULL: *code is set. */
static struct cmd_view *look(struct cli *cli, struct eddy *e, uint64_t least,
                             int *code)
{
    uint64_t began = cli_now_ms();
    for (;;) {
        enum eddy_error err;
        struct cmd_view *v = cmd_view_take(e, ANSWER_MS, &err);
        if (v == NULL) {
            *code = cli_failed(cli, e, err, "asking the ring");
            return NULL;
        }
        bool is_new = v->record->epoch.number >= newest_epoch(v) &&
                      v->record->epoch.number >= least;
        if (is_new || cli_now_ms() - began > min_u64(cli->timeout_ms, 5000))
            return v;
        cmd_view_free(v);
    }
}

static void plan_free(struct plan *p)
{
    cmd_view_free(p->view);
    record_free(p->next);
}

/* The record after these changes, behind what is staged. */
static bool carry_out(struct cli *cli, struct plan *p, int *code)
{
    const char *why = "";
    enum err err = ERR_OK;
    p->next = record_copy(p->view->record);
    for (uint32_t i = 0; i < p->count && err == ERR_OK; i++)
        err = record_stage(p->next, &p->changes[i], &why);
    for (uint32_t i = 0; i < p->next->change_count; i++)
        p->is_about = p->is_about || p->next->changes[i].kind == CHANGE_ADD;
    if (err == ERR_OK)
        err = record_commit(p->next, &why);
    if (err != ERR_OK) {
        *code = cli_fail(cli, cli_exit_of((enum eddy_error)err), err_name(err),
                         "%s", why);
        return false;
    }
    record_advance(p->next, p->next->changed_ms);
    return true;
}

/* ---- showing ----------------------------------------------------------- */

struct moves {
    uint32_t copies;
    uint64_t bytes;
    uint32_t live_least; /* copies of some group that answer, on the way */
    uint32_t unknown;    /* groups whose leader has not told their size */
    struct placement_figures now, after;
};

static bool goes_at_once(const struct plan *p, struct id128 node)
{
    uint16_t slot = record_slot(p->next, node);
    return slot == SLOT_NONE || p->next->members[slot].wanted == WANTED_LEFT;
}

static bool is_live(const struct plan *p, uint32_t group,
                    const struct status_replica *r)
{
    uint16_t slot = record_slot(p->view->record, r->node);
    if (p->view->groups[group].has_leader)
        return r->is_live;
    return slot != SLOT_NONE && p->view->nodes[slot].has_answered;
}

/* Newcomers come before others go, so that no copy is missed on the way but
 * of those that are to have left at once. In the end there are those of the
 * next row that are up. */
static uint32_t live_copies(const struct plan *p, uint32_t group)
{
    struct status_group g;
    uint32_t count;
    uint32_t before = 0;
    uint32_t after = 0;
    const uint16_t *row = record_row(p->next, group, &count);
    for (uint32_t i = 0; i < count; i++)
        after += p->view->nodes[row[i]].has_answered;
    if (!cmd_view_config(p->view, group, &g))
        return 0;
    for (uint32_t i = 0; i < g.replica_count; i++)
        before += g.replicas[i].is_voter && is_live(p, group, &g.replicas[i]) &&
                  !goes_at_once(p, g.replicas[i].node);
    /* Group 0 has fewer voters in a smaller ring; its record is everywhere. */
    return group == 0 ? before : (uint32_t)min_u64(before, after);
}

static struct moves count_moves(const struct plan *p)
{
    const struct record *now = p->view->record;
    struct moves m = {.live_least = UINT32_MAX};
    for (uint32_t g = 0; g < now->row_count; g++) {
        uint32_t count;
        uint32_t copies = 0;
        const uint16_t *row = record_row(p->next, g, &count);
        for (uint32_t i = 0; i < count; i++)
            copies += record_rank(now, g, row[i]) == REPLICAS_MAX;
        m.copies += copies;
        m.unknown += copies > 0 && !p->view->groups[g].has_leader;
        if (p->view->groups[g].has_leader)
            m.bytes += copies * p->view->groups[g].g.bytes;
        m.live_least = (uint32_t)min_u64(m.live_least, live_copies(p, g));
    }
    struct placement_member list[MEMBERS_MAX];
    struct placement_table table;
    size_t count = record_placement(p->view->record, list, &table);
    m.now = placement_measure(&table, list, count);
    count = record_placement(p->next, list, &table);
    m.after = placement_measure(&table, list, count);
    return m;
}

static uint32_t rows_of(const struct record *r, uint16_t slot)
{
    uint32_t rows = 0;
    for (uint32_t g = 1; g < r->row_count; g++)
        rows += record_rank(r, g, slot) != REPLICAS_MAX;
    return rows;
}

static uint32_t led_by(const struct record *r, uint16_t slot)
{
    uint32_t rows = 0;
    for (uint32_t g = 1; g < r->row_count; g++)
        rows += record_rank(r, g, slot) == 0;
    return rows;
}

static const char *standing(const struct member *m)
{
    if (m->wanted == WANTED_LEFT)
        return "left";
    return m->wanted == WANTED_DRAINING ? "draining" : "in";
}

static void text_member(const struct plan *p, uint16_t slot)
{
    const struct member *a = &p->view->record->members[slot];
    const struct member *b = &p->next->members[slot];
    (void)printf("  %-16s %-8s -> %-8s  copies %4u -> %4u  leads %4u -> %4u",
                 a->name, standing(a), standing(b),
                 rows_of(p->view->record, slot), rows_of(p->next, slot),
                 led_by(p->view->record, slot), led_by(p->next, slot));
    if (a->weight != b->weight)
        (void)printf("  weight %u -> %u", a->weight, b->weight);
    if (strcmp(a->zone, b->zone) != 0)
        (void)printf("  zone %s -> %s", a->zone[0] != 0 ? a->zone : "-",
                     b->zone[0] != 0 ? b->zone : "-");
    (void)printf("\n");
}

static void text_settings(const struct record *a, const struct record *b)
{
    char out[2][CLI_TEXT_SIZE];
    if (a->copies != b->copies)
        (void)printf("  N %u -> %u\n", a->copies, b->copies);
    if (a->out_after_ms != b->out_after_ms)
        (void)printf("  out after %s -> %s\n",
                     cli_duration(a->out_after_ms, out[0]),
                     cli_duration(b->out_after_ms, out[1]));
    if (a->repair_rate != b->repair_rate)
        (void)printf("  repair rate %s -> %s a second and node\n",
                     cli_size(a->repair_rate, out[0]),
                     cli_size(b->repair_rate, out[1]));
}

/* What is worth knowing before it is done. */
static void text_warnings(const struct plan *p, const struct moves *m)
{
    if (m->live_least == 0)
        (void)printf("some partitions have no copy that answers: they stand "
                     "still until one is started again\n");
    if (m->after.rows_short > 0)
        (void)printf("%u partitions will have fewer than %u copies: too few "
                     "nodes\n",
                     m->after.rows_short, p->next->copies);
    if (m->after.zone_majorities > 0)
        (void)printf("%u partitions will stop when one zone, or one node "
                     "without a zone, does\n",
                     m->after.zone_majorities);
}

static void text_plan(const struct plan *p, const struct moves *m,
                      const char *refusal, uint64_t epoch, const char *state)
{
    const struct record *now = p->view->record;
    char bytes[CLI_TEXT_SIZE];
    (void)printf("epoch %" PRIu64 ", %s: now -> after\n", epoch, state);
    for (uint16_t i = 0; i < now->member_count; i++)
        if (now->members[i].wanted != WANTED_LEFT)
            text_member(p, i);
    text_settings(now, p->next);
    (void)printf("  zone violations %u -> %u\n", m->now.zone_violations,
                 m->after.zone_violations);
    (void)printf("%s%u copies to make, %s%s bytes; at least %u live copies of "
                 "every group on the way\n",
                 p->is_about ? "about " : "", m->copies,
                 m->unknown > 0 ? "at least " : "", cli_size(m->bytes, bytes),
                 m->live_least);
    text_warnings(p, m);
    if (refusal[0] != 0)
        (void)printf("would be refused: %s\n", refusal);
}

static void json_plan(const struct plan *p, const struct moves *m,
                      const char *refusal, uint64_t epoch, const char *state)
{
    const struct record *now = p->view->record;
    struct cli_json j;
    cli_json_begin(&j, stdout);
    cli_json_text(&j, "state", state);
    cli_json_u64(&j, "epoch", epoch);
    cli_json_open(&j, "members", '[');
    for (uint16_t i = 0; i < now->member_count; i++) {
        const struct member *a = &now->members[i];
        const struct member *b = &p->next->members[i];
        if (a->wanted == WANTED_LEFT)
            continue;
        cli_json_open(&j, NULL, '{');
        cli_json_text(&j, "name", a->name);
        cli_json_text(&j, "wanted", standing(a));
        cli_json_text(&j, "wanted_after", standing(b));
        cli_json_u64(&j, "copies", rows_of(now, i));
        cli_json_u64(&j, "copies_after", rows_of(p->next, i));
        cli_json_u64(&j, "leads", led_by(now, i));
        cli_json_u64(&j, "leads_after", led_by(p->next, i));
        cli_json_u64(&j, "weight_after", b->weight);
        cli_json_text(&j, "zone_after", b->zone);
        cli_json_close(&j, '}');
    }
    cli_json_close(&j, ']');
    cli_json_u64(&j, "replication_after", p->next->copies);
    cli_json_seconds(&j, "out_after_seconds_after", p->next->out_after_ms);
    cli_json_u64(&j, "repair_rate_after", p->next->repair_rate);
    cli_json_u64(&j, "copies_to_make", m->copies);
    cli_json_u64(&j, "bytes_to_move", m->bytes);
    cli_json_bool(&j, "is_estimate", p->is_about || m->unknown > 0);
    cli_json_u64(&j, "live_copies_least", m->live_least);
    cli_json_u64(&j, "partitions_short", m->after.rows_short);
    cli_json_u64(&j, "zone_violations_now", m->now.zone_violations);
    cli_json_u64(&j, "zone_violations", m->after.zone_violations);
    cli_json_u64(&j, "zone_majorities", m->after.zone_majorities);
    cli_json_text(&j, "refusal", refusal);
    cli_json_end(&j);
}

/* As the leader will judge it, by what has answered here. */
static bool is_refused(const struct plan *p, char text[512])
{
    bool is_live[MEMBERS_MAX] = {false};
    struct buf why = {0};
    for (uint32_t i = 0; i < p->view->record->member_count; i++)
        is_live[i] = p->view->nodes[i].has_answered;
    bool is_refused =
        record_may_go_on(p->view->record, p->next, is_live, &why) != ERR_OK;
    (void)snprintf(text, 512, "%.*s", (int)min_u64(why.size, 500),
                   why.size > 0 ? (const char *)why.data : "");
    buf_free(&why);
    return is_refused;
}

/* ---- doing ------------------------------------------------------------- */

static enum eddy_error send(struct eddy *e, const struct plan *p,
                            enum change_act act, bool is_forced,
                            uint64_t *epoch)
{
    struct buf list = {0};
    struct change_request r = {.act = act, .is_forced = is_forced};
    if (getrandom(&r.proposal, sizeof r.proposal, 0) !=
        (ssize_t)sizeof r.proposal)
        return EDDY_IO; /* no random numbers */
    if (act == ACT_STAGE || act == ACT_NOW) {
        for (uint32_t i = 0; i < p->count; i++)
            wire_change_write(&list, &p->changes[i]);
        r.count = p->count;
        r.changes = span_buf(&list);
    }
    if ((act == ACT_COMMIT || act == ACT_NOW) && !p->is_about)
        r.digest = record_table_digest(p->next);
    enum eddy_error err =
        eddy_ring_change(e, &r, &p->view->record->epoch, epoch);
    buf_free(&list);
    return err;
}

static int ask(struct cli *cli, struct eddy *e, const struct plan *p,
               enum change_act act, bool is_forced, uint64_t *epoch)
{
    enum eddy_error err = send(e, p, act, is_forced, epoch);
    return err == EDDY_OK ? CLI_DONE
                          : cli_failed(cli, e, err, "changing the ring");
}

bool cmd_plan_is_sure(const struct cli *cli, const struct cmd_plan_options *o,
                      const char *word, int *code)
{
    char line[256] = "";
    if (o->is_sure)
        return true;
    if (!cli_is_terminal(stdin)) {
        *code = cli_fail(cli, CLI_USAGE, "BAD_REQUEST",
                         "this moves data: say --yes, or --dry-run to look");
        return false;
    }
    (void)fprintf(stderr, "type %s to do it: ", word);
    if (fgets(line, sizeof line, stdin) != NULL)
        line[strcspn(line, "\n")] = 0;
    if (strcmp(line, word) == 0)
        return true;
    *code = cli_fail(cli, CLI_FAILED, "FAILED", "nothing was done");
    return false;
}

/* --force is for what stands still then. What may lose data, members that are
 * to have left at once, needs --accept-data-loss. */
static bool is_forced(const struct plan *p, const struct cmd_plan_options *o)
{
    bool loses_data = false;
    for (uint32_t i = 0; i < p->next->member_count; i++)
        loses_data =
            loses_data || (p->next->members[i].wanted == WANTED_LEFT &&
                           p->view->record->members[i].wanted != WANTED_LEFT);
    return o->loses_data || (o->is_forced && !loses_data);
}

/* Shows the plan; what it would be refused for is in `refusal`. */
static void show(const struct cli *cli, const struct plan *p, uint64_t epoch,
                 const char *state)
{
    char refusal[512];
    struct moves m = count_moves(p);
    (void)is_refused(p, refusal);
    if (cli->is_json)
        json_plan(p, &m, refusal, epoch, state);
    else
        text_plan(p, &m, refusal, epoch, state);
}

/* The ring has changed since it was looked at: looks again. */
static bool look_again(struct cli *cli, struct eddy *e, struct plan *p,
                       int *code)
{
    uint64_t least = p->view->record->epoch.number + 1;
    plan_free(p);
    p->next = NULL;
    p->view = look(cli, e, least, code);
    return p->view != NULL;
}

/* All in one: shown, confirmed, staged and committed. `word` is to be typed.
 * Automation may change the ring at any moment: who wants nothing confirmed is
 * not told to look at it once more, but shown what becomes of it then. */
static int do_now(struct cli *cli, struct eddy *e, struct plan *p,
                  const struct cmd_plan_options *o, const char *word)
{
    int code = CLI_DONE;
    uint64_t epoch = 0;
    char refusal[512], typed[NODE_NAME_MAX + 1];
    enum eddy_error err = EDDY_CONFLICT;
    (void)snprintf(typed, sizeof typed, "%s", word); /* it is the view's */
    for (uint32_t tries = 0; err == EDDY_CONFLICT; tries++) {
        if (tries > 0 && !look_again(cli, e, p, &code))
            return code;
        epoch = p->view->record->epoch.number;
        if (p->view->record->change_count > 0)
            return cli_fail(cli, CLI_CONFLICT, "CONFLICT",
                            "something else is staged: eddy ring plan shows "
                            "it, eddy ring plan --clear drops it");
        if (!carry_out(cli, p, &code))
            return code;
        if (o->is_dry_run || !cli->is_json)
            show(cli, p, epoch, "shown");
        if (is_refused(p, refusal) && !is_forced(p, o))
            return cli_fail(cli, CLI_REFUSED, "REFUSED", "refused: %s",
                            refusal);
        if (o->is_dry_run)
            return cli_flush(cli, CLI_DONE);
        (void)fflush(stdout);
        if (!cmd_plan_is_sure(cli, o, typed, &code))
            return code;
        err = send(e, p, ACT_NOW, is_forced(p, o), &epoch);
        if (err == EDDY_CONFLICT && (!o->is_sure || tries == TRIES_MAX))
            break;
    }
    if (err != EDDY_OK)
        return cli_failed(cli, e, err, "changing the ring");
    if (cli->is_json)
        show(cli, p, epoch, "committed");
    cli_note(cli, "epoch %" PRIu64 "; eddy ring wait waits until it is done",
             epoch);
    return cli_flush(cli, CLI_DONE);
}

/* ---- the verbs --------------------------------------------------------- */

static int stage(struct cli *cli, struct eddy *e, struct plan *p,
                 const struct cmd_plan_options *o)
{
    int code = CLI_DONE;
    uint64_t epoch = p->view->record->epoch.number;
    if (!carry_out(cli, p, &code))
        return code;
    if (!o->is_dry_run)
        code = ask(cli, e, p, ACT_STAGE, false, &epoch);
    if (code != CLI_DONE)
        return code;
    show(cli, p, epoch, o->is_dry_run ? "shown" : "staged");
    if (!o->is_dry_run)
        cli_note(cli, "staged; nothing moves until: eddy ring commit %" PRIu64,
                 epoch);
    return cli_flush(cli, CLI_DONE);
}

static int show_staged(struct cli *cli, struct plan *p)
{
    int code = CLI_DONE;
    uint64_t epoch = p->view->record->epoch.number;
    bool is_any = p->view->record->change_count > 0;
    if (!carry_out(cli, p, &code))
        return code;
    if (is_any || cli->is_json)
        show(cli, p, epoch, is_any ? "staged" : "none");
    if (is_any)
        cli_note(cli, "to carry it out: eddy ring commit %" PRIu64, epoch);
    else
        cli_note(cli, "nothing is staged");
    return cli_flush(cli, CLI_DONE);
}

static int clear(struct cli *cli, struct eddy *e, struct plan *p)
{
    uint64_t epoch;
    if (p->view->record->change_count == 0) {
        cli_note(cli, "nothing is staged");
        return CLI_DONE;
    }
    return ask(cli, e, p, ACT_CLEAR, false, &epoch);
}

int cmd_plan_show(struct cli *cli, struct eddy *e,
                  const struct cmd_plan_options *o)
{
    struct plan p = {0};
    int code = CLI_DONE;
    p.view = look(cli, e, 0, &code);
    if (p.view == NULL)
        return code;
    if (add_options(cli, &p, o, &code)) {
        if (o->clears)
            code = clear(cli, e, &p);
        else if (p.count > 0)
            code = stage(cli, e, &p, o);
        else
            code = show_staged(cli, &p);
    }
    plan_free(&p);
    return code;
}

/* The epoch that is given is that of a plan which was shown, so scripts need
 * not say --yes; on a terminal it is shown once more, and asked. */
static int commit(struct cli *cli, struct eddy *e, struct plan *p,
                  const struct cmd_plan_options *o)
{
    int code = CLI_DONE;
    uint64_t epoch = p->view->record->epoch.number;
    if (!carry_out(cli, p, &code))
        return code;
    if (o->is_dry_run || !cli->is_json)
        show(cli, p, epoch, "shown");
    if (o->is_dry_run)
        return code;
    (void)fflush(stdout);
    if (cli_is_terminal(stdin) &&
        !cmd_plan_is_sure(cli, o, cli->arguments[1], &code))
        return code;
    code = ask(cli, e, p, ACT_COMMIT, is_forced(p, o), &epoch);
    if (code != CLI_DONE)
        return code;
    if (cli->is_json)
        show(cli, p, epoch, "committed");
    cli_note(cli, "epoch %" PRIu64 "; eddy ring wait waits until it is done",
             epoch);
    return code;
}

int cmd_plan_commit(struct cli *cli, struct eddy *e,
                    const struct cmd_plan_options *o)
{
    struct plan p = {0};
    int code = CLI_DONE;
    uint64_t wanted;
    if (!cli_read_u64(cli->arguments[1], &wanted))
        return cli_fail(cli, CLI_USAGE, "BAD_REQUEST",
                        "which epoch? eddy ring plan says it");
    p.view = look(cli, e, wanted, &code);
    if (p.view == NULL)
        return code;
    uint64_t epoch = p.view->record->epoch.number;
    if (epoch != wanted || p.view->record->change_count == 0)
        code = cli_fail(cli, CLI_CONFLICT, "CONFLICT",
                        epoch != wanted ? "the ring is at epoch %" PRIu64
                                          ": look at the plan again"
                                        : "nothing is staged at epoch %" PRIu64,
                        epoch);
    else
        code = commit(cli, e, &p, o);
    plan_free(&p);
    return cli_flush(cli, code);
}

/* One member's standing. */
static int send_away(struct cli *cli, struct eddy *e,
                     const struct cmd_plan_options *o, enum change_kind kind)
{
    struct plan p = {0};
    int code = CLI_DONE;
    p.view = look(cli, e, 0, &code);
    if (p.view == NULL)
        return code;
    if (add_of(cli, &p, cli->arguments[1], kind, &code))
        code = do_now(cli, e, &p, o,
                      p.view->record->members[p.changes[0].slot].name);
    plan_free(&p);
    return code;
}

int cmd_plan_drain(struct cli *cli, struct eddy *e,
                   const struct cmd_plan_options *o)
{
    return send_away(cli, e, o, o->is_undone ? CHANGE_ADD : CHANGE_DRAIN);
}

int cmd_plan_remove(struct cli *cli, struct eddy *e,
                    const struct cmd_plan_options *o)
{
    return send_away(cli, e, o, o->loses_data ? CHANGE_REMOVE : CHANGE_DRAIN);
}

int cmd_plan_replace(struct cli *cli, struct eddy *e,
                     const struct cmd_plan_options *o)
{
    struct plan p = {0};
    int code = CLI_DONE;
    p.view = look(cli, e, 0, &code);
    if (p.view == NULL)
        return code;
    if (add_replacement(cli, &p, cli->arguments[1], cli->arguments[2], &code))
        code = do_now(cli, e, &p, o,
                      p.view->record->members[p.changes[0].slot].name);
    plan_free(&p);
    return code;
}

int cmd_plan_set(struct cli *cli, struct eddy *e,
                 const struct cmd_plan_options *o)
{
    struct plan p = {0};
    int code = CLI_DONE;
    bool is_good = true;
    bool is_moving = false;
    p.view = look(cli, e, 0, &code);
    if (p.view == NULL)
        return code;
    for (size_t i = 1; i < cli->argument_count && is_good; i++)
        is_good = add_setting(cli, &p, cli->arguments[i], &code);
    struct cmd_plan_options options = *o;
    for (uint32_t i = 0; i < p.count; i++) /* only N moves data */
        is_moving = is_moving || p.changes[i].kind == CHANGE_COPIES;
    options.is_sure = o->is_sure || !is_moving;
    if (is_good && p.count > 0)
        code = do_now(cli, e, &p, &options, "yes");
    plan_free(&p);
    return code;
}
