/* cmd_why.c - see cmd_why.h.
 *
 * Whatever does not go on says why: a leader about its group's walk, a replica
 * without a leader about its election. What nobody can say, since nobody
 * answers, is told from who does not answer. */
#include "tools/cmd_why.h"

#include <inttypes.h>
#include <string.h>

#include "tools/cmd_plan.h"
#include "tools/cmd_transfers.h"
#include "tools/cmd_view.h"

#define ANSWER_MS   2500u
#define REASON_SIZE 512u

/* ---- one group --------------------------------------------------------- */

/* Who was made to leave is not asked, and may have what nobody else has. */
static void explain_removed(const struct cmd_view *v, struct buf *text)
{
    for (uint32_t i = 0; i < v->record->member_count; i++) {
        const struct member *m = &v->record->members[i];
        if (m->wanted == WANTED_LEFT && m->seen != SEEN_GONE)
            buf_printf(text,
                       "; %s was removed while groups counted on it: start it "
                       "once more, and the others take over what it has; else "
                       "that is lost, and its partitions stand still",
                       m->name);
    }
}

/* No leader: the newest configuration that somebody tells, who of it does not
 * answer, and what the others say. */
static void explain_leaderless(const struct cmd_view *v, uint32_t group,
                               struct buf *text)
{
    struct status_group g, newest;
    if (!cmd_view_config(v, group, &newest)) {
        uint32_t count;
        const uint16_t *row = record_row(v->record, group, &count);
        buf_printf(text, "no node that answers keeps a copy; by the table they "
                         "are on");
        for (uint32_t i = 0; i < count; i++)
            buf_printf(text, " %s", v->record->members[row[i]].name);
        explain_removed(v, text);
        return;
    }
    uint32_t voters = 0, up = 0;
    for (uint32_t i = 0; i < newest.replica_count; i++) {
        const struct status_replica *r = &newest.replicas[i];
        uint16_t slot = record_slot(v->record, r->node);
        bool is_up = slot != SLOT_NONE && v->nodes[slot].has_answered;
        voters += r->is_voter;
        up += r->is_voter && is_up;
        if (r->is_voter && !is_up)
            buf_printf(text, "%s does not answer; ", cmd_view_name(v, r->node));
    }
    if (up < record_majority(voters)) {
        buf_printf(text,
                   "%u of its %u voters answer, %u are needed: start the "
                   "others again",
                   up, voters, record_majority(voters));
        explain_removed(v, text);
        return;
    }
    for (uint16_t i = 0; i < v->record->member_count; i++)
        if (cmd_view_replica(v, i, group, &g) && g.reason.size > 0)
            buf_printf(text, "%s: %.*s; ", v->record->members[i].name,
                       (int)g.reason.size, (const char *)g.reason.data);
    buf_printf(text, "an election is on its way");
}

static bool is_as_its_row(const struct cmd_view *v, uint32_t group)
{
    const struct status_group *g = &v->groups[group].g;
    uint32_t count;
    (void)record_row(v->record, group, &count);
    bool is_same = g->replica_count == count;
    for (uint32_t i = 0; i < g->replica_count && is_same; i++)
        is_same = g->replicas[i].is_voter &&
                  record_rank(v->record, group,
                              record_slot(v->record, g->replicas[i].node)) !=
                      REPLICAS_MAX;
    return is_same;
}

/* Who is being installed is silent to the leader; the node itself knows how far
 * it is. */
static void explain_installs(const struct cmd_view *v, uint32_t group,
                             struct buf *text)
{
    const char *comma = "";
    for (size_t i = 0; i < v->transfer_count; i++) {
        if (v->transfers[i].t.group != group)
            continue;
        buf_printf(text, "%s", comma);
        cmd_transfers_explain(v, &v->transfers[i], text);
        comma = "; ";
    }
}

/* Nothing is written if nothing waits. */
static void explain_group(const struct cmd_view *v, uint32_t group,
                          struct buf *text)
{
    const struct cmd_view_group *at = &v->groups[group];
    if (!at->has_leader) {
        explain_leaderless(v, group, text);
        return;
    }
    size_t before = text->size;
    explain_installs(v, group, text);
    if (text->size > before) {
        if (at->g.reason.size > 0)
            buf_printf(text, "; its leader %s: %.*s",
                       v->record->members[at->leader].name,
                       (int)at->g.reason.size, (const char *)at->g.reason.data);
        return;
    }
    if (at->g.reason.size > 0) {
        buf_printf(text, "%.*s", (int)at->g.reason.size,
                   (const char *)at->g.reason.data);
        for (uint32_t i = 0; i < at->g.replica_count; i++)
            if (!at->g.replicas[i].is_live)
                buf_printf(text, "; %s does not answer",
                           cmd_view_name(v, at->g.replicas[i].node));
    } else if (!is_as_its_row(v, group)) {
        buf_printf(text, "it begins to walk to its row: its leader has not "
                         "looked at it yet");
    } else if (group > 0 && at->g.replica_count < v->record->acks) {
        buf_printf(text, "appends wait: %u more nodes are needed (eddyd join)",
                   v->record->acks - at->g.replica_count);
    }
}

/* ---- one member -------------------------------------------------------- */

/* Groups whose configuration has it; *first is one of them. */
static uint32_t count_holders(const struct cmd_view *v, uint16_t slot,
                              uint32_t *first)
{
    uint32_t count = 0;
    for (uint32_t g = 0; g < v->record->row_count; g++) {
        const struct cmd_view_group *at = &v->groups[g];
        bool holds = !at->has_leader; /* who knows: it counts on it */
        for (uint32_t i = 0; at->has_leader && i < at->g.replica_count; i++)
            holds = holds || id_equal(at->g.replicas[i].node,
                                      v->record->members[slot].node);
        if (holds && count++ == 0)
            *first = g;
    }
    return count;
}

static void explain_drain(const struct cmd_view *v, uint16_t slot,
                          struct buf *text)
{
    uint32_t first = 0;
    char what[CMD_VIEW_GROUP_SIZE];
    uint32_t holders = count_holders(v, slot, &first);
    if (holders == 0) {
        buf_printf(text,
                   "no group counts on it; it will have left as soon as "
                   "the ring's leader has heard so from all of them (some "
                   "seconds)");
        return;
    }
    buf_printf(text, "%u groups still count on it; the first, %s: ", holders,
               cmd_view_group_name(first, what));
    size_t before = text->size;
    explain_group(v, first, text);
    if (text->size == before)
        buf_printf(text, "its leader is about to let it go");
}

/* In the ring by its record, but it does not answer. */
static void explain_absent(const struct cmd_view *v, uint16_t slot,
                           struct buf *text)
{
    const struct member *m = &v->record->members[slot];
    const struct cmd_view_node *n = &v->nodes[slot];
    bool is_held[MEMBERS_MAX] = {false};
    char ago[CLI_TEXT_SIZE];
    if (n->seen_dead == 0) {
        buf_printf(text,
                   n->seen_alive > 0
                       ? "the others see it alive, but its client address "
                         "%s does not answer here"
                       : "it does not answer at %s, nor is anybody who "
                         "answers in touch with it: is eddyd running there?",
                   m->client_address);
        return;
    }
    buf_printf(text, "dead for %s to %u other%s", cli_duration(n->dead_ms, ago),
               n->seen_dead, n->seen_dead == 1 ? "" : "s");
    if (cmd_view_held(v, is_held) && is_held[slot])
        buf_printf(text,
                   ", and does not go out of the ring by itself: at most one, "
                   "or a tenth of the nodes, does within an hour, and not two "
                   "of a zone; start it, or eddy ring remove %s",
                   m->name);
    else
        buf_printf(text,
                   ": it goes out of the ring after %us (at most one, or a "
                   "tenth of the nodes, within an hour, and not two of a zone)",
                   v->record->out_after_ms / 1000);
}

/* As group 0's leader has it (node/node_out.c): not more than out-after, and
 * twice as long each further time. */
static uint64_t back_after_ms(const struct record *r, const struct member *m)
{
    uint32_t doublings = m->out_streak > 0 ? m->out_streak - 1u : 0;
    return min_u64(BACK_AFTER_MS, r->out_after_ms) << doublings;
}

/* The other members that lack something of it are told by their groups. */
static void explain_member(const struct cmd_view *v, uint16_t slot,
                           struct buf *text)
{
    const struct member *m = &v->record->members[slot];
    const struct cmd_view_node *n = &v->nodes[slot];
    char after[CLI_TEXT_SIZE];
    if (m->wanted == WANTED_DRAINING) {
        explain_drain(v, slot, text);
        return;
    }
    if (m->seen == SEEN_OUT) {
        if (n->has_answered)
            buf_printf(text,
                       "it was recorded out and is back: it is taken in again "
                       "when it has been in touch for %s",
                       cli_duration(back_after_ms(v->record, m), after));
        else
            buf_printf(text,
                       "it was dead for out-after and is out: its copies are "
                       "made anew elsewhere; start it, or remove it");
        return;
    }
    if (!n->has_answered)
        explain_absent(v, slot, text);
    else if (m->seen == SEEN_JOINING)
        buf_printf(text,
                   "it has joined and is not recorded as up yet: that is "
                   "done for all newcomers at once, some seconds after the "
                   "last has joined; the ring's leader must hear its gossip "
                   "(peer address %s)",
                   m->peer_address);
    else if (m->seen == SEEN_UNFIT)
        buf_printf(text, "it takes no new replicas: its disk is nearly full");
    else if (n->self.is_full)
        buf_printf(text, "its disk or map is full: it refuses appends");
}

/* ---- what is said ------------------------------------------------------ */

struct says {
    struct cli_json json;
    bool is_json;
    uint32_t count;
};

static void say(struct says *s, const char *kind, const char *what,
                struct buf *reason)
{
    if (reason->size == 0)
        return;
    buf_append(reason, "", 1);
    s->count++;
    if (!s->is_json) {
        (void)printf("%s %s: %s\n", kind, what, (const char *)reason->data);
        return;
    }
    cli_json_open(&s->json, NULL, '{');
    cli_json_text(&s->json, "kind", kind);
    cli_json_text(&s->json, "name", what);
    cli_json_text(&s->json, "reason", (const char *)reason->data);
    cli_json_close(&s->json, '}');
}

static void say_group(struct says *s, const struct cmd_view *v, uint32_t group)
{
    struct buf reason = {0};
    char what[16] = "ring";
    if (group > 0)
        (void)snprintf(what, sizeof what, "%u", group - 1);
    explain_group(v, group, &reason);
    say(s, group > 0 ? "partition" : "group", what, &reason);
    buf_free(&reason);
}

static void say_range(struct says *s, uint32_t first, uint32_t last,
                      struct buf *reason)
{
    char what[32];
    if (first == last)
        (void)snprintf(what, sizeof what, "%u", first - 1);
    else
        (void)snprintf(what, sizeof what, "%u-%u", first - 1, last - 1);
    say(s, "partition", what, reason);
}

/* In words, neighbours that wait for the same are one line. */
static void say_partitions(struct says *s, const struct cmd_view *v)
{
    struct buf last = {0};
    uint32_t first = 1;
    for (uint32_t g = 1; g < v->record->row_count; g++) {
        struct buf reason = {0};
        explain_group(v, g, &reason);
        bool is_same = span_equal(span_buf(&last), span_buf(&reason));
        if (g > 1 && (s->is_json || !is_same)) {
            say_range(s, first, g - 1, &last);
            first = g;
        }
        buf_free(&last);
        last = reason;
    }
    say_range(s, first, v->record->row_count - 1, &last);
    buf_free(&last);
}

static void say_member(struct says *s, const struct cmd_view *v, uint16_t slot)
{
    struct buf reason = {0};
    explain_member(v, slot, &reason);
    say(s, "node", v->record->members[slot].name, &reason);
    buf_free(&reason);
}

static void say_all(struct says *s, const struct cmd_view *v)
{
    for (uint16_t i = 0; i < v->record->member_count; i++)
        if (v->record->members[i].wanted != WANTED_LEFT)
            say_member(s, v, i);
    say_group(s, v, 0);
    say_partitions(s, v);
    char text[256];
    struct buf reason = {0};
    if (!cmd_view_is_balanced(v, text))
        buf_printf(&reason, "%s", text);
    say(s, "leaders", "all", &reason);
    buf_free(&reason);
}

static int say_one(struct cli *cli, struct eddy *e, struct says *s,
                   const struct cmd_view *v)
{
    const char *kind = cli->arguments[1];
    const char *name = cli->arguments[2];
    uint64_t partition;
    int code = CLI_DONE;
    if (strcmp(kind, "partition") == 0) {
        if (!cli_read_u64(name, &partition) ||
            partition >= v->record->partitions)
            return cli_fail(cli, CLI_ABSENT, "NOT_FOUND",
                            "there is no partition '%s'", name);
        say_group(s, v, (uint32_t)partition + 1);
    } else if (strcmp(kind, "node") == 0) {
        uint16_t slot = cmd_plan_member(cli, v->record, name, &code);
        if (slot != SLOT_NONE)
            say_member(s, v, slot);
    } else if (strcmp(kind, "stream") == 0) {
        say_group(s, v, eddy_partition(e, name) + 1);
    } else {
        return cli_fail(cli, CLI_USAGE, "BAD_REQUEST",
                        "why what? partition P, node N or stream S; not '%s'",
                        kind);
    }
    return code;
}

int cmd_why(struct cli *cli, struct eddy *e)
{
    enum eddy_error err;
    struct says s = {.is_json = cli->is_json};
    if (cli->argument_count == 2)
        return cli_fail(cli, CLI_USAGE, "BAD_REQUEST",
                        "why what? partition P, node N or stream S");
    struct cmd_view *v = cmd_view_take(e, ANSWER_MS, &err);
    int code = CLI_DONE;
    if (v == NULL)
        return cli_failed(cli, e, err, "asking the ring");
    if (s.is_json) {
        cli_json_begin(&s.json, stdout);
        cli_json_open(&s.json, "waits", '[');
    }
    if (cli->argument_count > 2)
        code = say_one(cli, e, &s, v);
    else
        say_all(&s, v);
    if (s.is_json) {
        cli_json_close(&s.json, ']');
        cli_json_end(&s.json);
    } else if (s.count == 0 && code == CLI_DONE) {
        (void)printf("nothing waits\n");
    }
    cmd_view_free(v);
    return cli_flush(cli, code);
}
