/* cmd_transfers.c - see cmd_transfers.h. */
#include "tools/cmd_transfers.h"

#include <inttypes.h>

/* As text: a ring that grows has hundreds. */
#define SHOWN_MAX 16u

/* One of them, from what its node and the group's leader say. */
struct line {
    uint32_t group;
    struct id128 to;
    bool is_from_known;
    struct id128 from;
    const char *state;
    bool is_told; /* by its node: the figures below mean something */
    struct status_transfer t;
    uint64_t entry, last; /* leader's view of a replica's log */
    char reason[256];
};

typedef void show_fn(void *context, const struct cmd_view *v,
                     const struct line *line);

static const char *state_name(enum status_transfer_state state)
{
    switch (state) {
    case TRANSFER_STATE_WAITING:
        return "waiting";
    case TRANSFER_STATE_BLOB:
        return "state";
    case TRANSFER_STATE_STORING:
        return "storing";
    case TRANSFER_STATE_SEGMENTS:
        return "segments";
    case TRANSFER_STATE_SWITCHING:
        return "switching";
    }
    return "?";
}

static const char *name_of(const struct cmd_view *v, struct id128 node)
{
    uint16_t slot = record_slot(v->record, node);
    return slot == SLOT_NONE ? "?" : v->record->members[slot].name;
}

/* The time left in ms; UINT64_MAX: nobody can say. */
static uint64_t left_ms(const struct status_transfer *t)
{
    if (t->total == 0 || t->rate == 0)
        return UINT64_MAX;
    return (t->total - min_u64(t->bytes, t->total)) * 1000 / t->rate;
}

/* The blob itself says it once it is there; until then the leader does. */
static uint64_t total_of(const struct cmd_view *v,
                         const struct status_transfer *t)
{
    const struct cmd_view_group *at = &v->groups[t->group];
    if (t->total > 0 || !at->has_leader)
        return t->total;
    return max_u64(at->g.bytes, t->bytes);
}

/* ---- one after the other ----------------------------------------------- */

static void line_of_install(const struct cmd_view *v,
                            const struct cmd_view_transfer *at,
                            struct line *line)
{
    *line = (struct line){
        .group = at->t.group,
        .to = v->record->members[at->to].node,
        .is_from_known = !id_is_zero(at->t.from),
        .from = at->t.from,
        .state = state_name(at->t.state),
        .is_told = true,
        .t = at->t,
    };
    line->t.total = total_of(v, &at->t);
    if (at->t.state == TRANSFER_STATE_WAITING)
        (void)snprintf(line->reason, sizeof line->reason,
                       "others of this node come first");
    else
        (void)snprintf(line->reason, sizeof line->reason, "%.*s",
                       (int)at->t.reason.size, (const char *)at->t.reason.data);
}

static void line_of_learner(const struct cmd_view *v, uint32_t group,
                            const struct status_replica *r, struct line *line)
{
    const struct cmd_view_group *at = &v->groups[group];
    *line = (struct line){
        .group = group,
        .to = r->node,
        .is_from_known = true,
        .from = v->record->members[at->leader].node,
        .state = r->match > 0 ? "log" : "invited",
        .entry = r->match,
        .last = at->g.last,
    };
    if (!r->is_live)
        (void)snprintf(line->reason, sizeof line->reason,
                       "does not answer its leader");
    else
        (void)snprintf(line->reason, sizeof line->reason,
                       "has entry %" PRIu64 " of %" PRIu64, r->match,
                       at->g.last);
}

/* Learners that say themselves how far they are, are shown by that. */
static void each_of_group(const struct cmd_view *v, uint32_t group,
                          show_fn *show, void *context)
{
    struct line line;
    for (size_t i = 0; i < v->transfer_count; i++) {
        if (v->transfers[i].t.group != group)
            continue;
        line_of_install(v, &v->transfers[i], &line);
        show(context, v, &line);
    }
    const struct cmd_view_group *at = &v->groups[group];
    for (uint32_t i = 0; at->has_leader && i < at->g.replica_count; i++) {
        const struct status_replica *r = &at->g.replicas[i];
        if (r->is_voter || cmd_view_transfer(v, group, r->node) != NULL)
            continue;
        line_of_learner(v, group, r, &line);
        show(context, v, &line);
    }
}

static void each(const struct cmd_view *v, show_fn *show, void *context)
{
    for (uint32_t group = 0; group < v->record->row_count; group++)
        each_of_group(v, group, show, context);
}

/* ---- text -------------------------------------------------------------- */

static void text_line(void *context, const struct cmd_view *v,
                      const struct line *line)
{
    uint32_t *count = context;
    if ((*count)++ >= SHOWN_MAX)
        return;
    char partition[16] = "ring", bytes[CLI_TEXT_SIZE] = "-";
    char total[CLI_TEXT_SIZE] = "-", rate[CLI_TEXT_SIZE] = "-";
    char left[CLI_TEXT_SIZE] = "-";
    if (line->group > 0)
        (void)snprintf(partition, sizeof partition, "%u", line->group - 1);
    if (line->is_told)
        cli_size(line->t.bytes, bytes);
    if (line->t.total > 0)
        cli_size(line->t.total, total);
    if (line->is_told)
        cli_size(line->t.rate, rate);
    if (left_ms(&line->t) != UINT64_MAX)
        cli_duration(left_ms(&line->t), left);
    (void)printf("transfer %s to %s from %s %s %s of %s %s/s left %s: %s\n",
                 partition, name_of(v, line->to),
                 line->is_from_known ? name_of(v, line->from) : "-",
                 line->state, bytes, total, rate, left, line->reason);
}

void cmd_transfers_text(const struct cmd_view *v)
{
    uint32_t count = 0;
    each(v, text_line, &count);
    if (count > SHOWN_MAX)
        (void)printf("and %u transfers more (--json has them all)\n",
                     count - SHOWN_MAX);
}

/* ---- JSON -------------------------------------------------------------- */

static void json_figures(struct cli_json *j, const struct status_transfer *t)
{
    cli_json_u64(j, "bytes", t->bytes);
    if (t->total > 0)
        cli_json_u64(j, "total", t->total);
    else
        cli_json_null(j, "total");
    cli_json_u64(j, "rate", t->rate);
    if (left_ms(t) == UINT64_MAX)
        cli_json_null(j, "seconds_left");
    else
        cli_json_seconds(j, "seconds_left", left_ms(t));
    cli_json_seconds(j, "idle_seconds", t->idle_ms);
}

static void json_line(void *context, const struct cmd_view *v,
                      const struct line *line)
{
    struct cli_json *j = context;
    cli_json_open(j, NULL, '{');
    cli_json_u64(j, "group", line->group);
    if (line->group > 0)
        cli_json_u64(j, "partition", line->group - 1);
    else
        cli_json_null(j, "partition");
    cli_json_text(j, "to", name_of(v, line->to));
    if (line->is_from_known)
        cli_json_text(j, "from", name_of(v, line->from));
    else
        cli_json_null(j, "from");
    cli_json_text(j, "state", line->state);
    cli_json_text(j, "reason", line->reason);
    if (line->is_told) {
        json_figures(j, &line->t);
    } else {
        cli_json_u64(j, "entry", line->entry);
        cli_json_u64(j, "of", line->last);
    }
    cli_json_close(j, '}');
}

void cmd_transfers_json(const struct cmd_view *v, struct cli_json *j)
{
    each(v, json_line, j);
}

/* ---- in a sentence ----------------------------------------------------- */

void cmd_transfers_explain(const struct cmd_view *v,
                           const struct cmd_view_transfer *t, struct buf *text)
{
    struct line line;
    char rate[CLI_TEXT_SIZE], total[CLI_TEXT_SIZE], left[CLI_TEXT_SIZE];
    line_of_install(v, t, &line);
    buf_printf(text, "%s is being installed", name_of(v, line.to));
    if (line.t.total > 0)
        buf_printf(text, ": %" PRIu64 " %% of about %s",
                   line.t.bytes * 100 / line.t.total,
                   cli_size(line.t.total, total));
    if (line.is_from_known)
        buf_printf(text, ", from %s", name_of(v, line.from));
    buf_printf(text, ", %s/s", cli_size(line.t.rate, rate));
    if (left_ms(&line.t) != UINT64_MAX)
        buf_printf(text, ", %s left", cli_duration(left_ms(&line.t), left));
    buf_printf(text, " (%s)", line.reason);
}
