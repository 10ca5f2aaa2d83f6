/* cmd_ring.c - `eddy ring`: how the nodes are, and who keeps what. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/cli.h"
#include "tools/cmd.h"
#include "tools/cmd_check.h"
#include "tools/cmd_plan.h"
#include "tools/cmd_recover.h"
#include "tools/cmd_transfers.h"
#include "tools/cmd_view.h"
#include "tools/cmd_why.h"

static const char usage[] =
    "eddy ring status    OK, WARN or ERROR, and a line for each finding: CODE\n"
    "                    COUNT SINCE and what to do; exit 0 healthy, 10 not;\n"
    "                    then, of the transfers under way: PARTITION, NODEs,\n"
    "                    STATE BYTES of TOTAL RATE left TIME and the reason\n"
    "eddy ring members   UD (up, down) and NJLX (normal, joining, leaving, "
    "out),\n"
    "                    NODE NAME ADDRESS ZONE WEIGHT REPLICAS LEADERS OWNS%\n"
    "                    USED FREE VERSION SINCE; * is the node asked first\n"
    "eddy ring table     PARTITION, the nodes that shall keep it, who leads "
    "it,\n"
    "                    and the nodes that do keep it, + if still installing\n"
    "eddy ring wait      until every member that is up has answered and "
    "nothing\n"
    "                    is missing or on its way; else exit 10 after "
    "--timeout\n"
    "eddy ring why [partition P | node N | stream S]\n"
    "                    what waits, and for what\n"
    "                    --watch with status, members, table and why: again\n"
    "                    and again\n"
    "eddy ring check     reads every copy of every partition, holds it against "
    "its\n"
    "                    checksums and against the other copies, has damage "
    "mended\n"
    "                    and names it: exit 0 all whole and equal, 10 damage "
    "(also\n"
    "                    if it is mended by now), 1 a copy could not be "
    "checked\n"
    "\n"
    "Changes. Each is shown first: copies and bytes to move, live copies on "
    "the\n"
    "way, zones. A NODE is a name or the beginning of an id.\n"
    "eddy ring drain NODE    its copies go elsewhere while it serves; then it "
    "has\n"
    "                    left, and its eddyd ends with 79. --undo: it stays\n"
    "eddy ring remove NODE   the same of one that is dead: its copies are "
    "made\n"
    "                    anew from the others. --accept-data-loss: it has left "
    "at\n"
    "                    once, whatever only it has is lost\n"
    "eddy ring replace OLD NEW   drains OLD; NEW, which has joined, bears "
    "OLD's\n"
    "                    weight\n"
    "eddy ring set replication=N out-after=TIME repair.rate=SIZE\n"
    "                    1 to 7 copies; 1s to 30d; 64K to 1G bytes a second "
    "at\n"
    "                    which each node copies replicas, at most (64M)\n"
    "eddy ring plan [--add N,..] [--drain N,..] [--remove N,..] [--replace "
    "OLD=NEW]\n"
    "               [--weight N=W,..] [--zone N=Z,..] [--set K=V,..] | "
    "--clear\n"
    "                    stages changes, behind those staged already; nothing\n"
    "                    moves. Without options: what is staged, and the "
    "epoch\n"
    "eddy ring commit EPOCH   carries out what is staged, if the ring has not "
    "moved\n"
    "                    since it was shown (else exit 6)\n"
    "eddy ring recover [ring | PARTITION...]\n"
    "                    groups whose majority is lost for good go on from "
    "the\n"
    "                    survivor that has most; what only the lost nodes had "
    "is\n"
    "                    lost, and what they still have is dropped should "
    "they\n"
    "                    come back. Nodes that are only cut off go on "
    "meanwhile:\n"
    "                    what they acknowledge until they hear of it is lost, "
    "too.\n"
    "                    Needs --accept-data-loss (else exit 3)\n"
    "  --dry-run  shows and does nothing\n"
    "  --yes      asks nothing (scripts; commit EPOCH asks on terminals "
    "alone)\n"
    "  --force    in spite of a refusal (exit 3), if no data can be lost by "
    "it;\n"
    "             else --accept-data-loss\n" CMD_COMMON_USAGE;

#define ANSWER_MS 2500u /* a member that takes longer is down to us */
#define POLL_MS   200
#define WATCH_S   2

/* ---- status ------------------------------------------------------------ */

static const char *level_name(enum cmd_view_level level)
{
    switch (level) {
    case VIEW_NOTE:
        return "OK";
    case VIEW_WARN:
        return "WARN";
    case VIEW_ERROR:
        return "ERROR";
    }
    return "?";
}

static void text_status(const struct cmd_view *v,
                        const struct cmd_view_finding *found, size_t count,
                        enum cmd_view_level worst)
{
    const struct record *r = v->record;
    char cluster[33], ago[CLI_TEXT_SIZE];
    id_format(r->cluster, cluster);
    (void)printf("%s cluster %s epoch %llu (", level_name(worst), cluster,
                 (unsigned long long)r->epoch.number);
    if (v->confirmed_ms == UINT64_MAX)
        (void)printf("not confirmed by group 0");
    else
        (void)printf("confirmed %s ago", cli_duration(v->confirmed_ms, ago));
    (void)printf(") N=%u Q=%u\n", r->copies, r->partitions);
    for (size_t i = 0; i < count; i++)
        (void)printf("%s %u %s %s\n", found[i].code, found[i].count,
                     found[i].since_ms == UINT64_MAX
                         ? "-"
                         : cli_duration(found[i].since_ms, ago),
                     found[i].text);
}

static void json_status(const struct cmd_view *v,
                        const struct cmd_view_finding *found, size_t count,
                        enum cmd_view_level worst, struct cli_json *j)
{
    const struct record *r = v->record;
    char cluster[33];
    id_format(r->cluster, cluster);
    cli_json_begin(j, stdout);
    cli_json_text(j, "status", level_name(worst));
    cli_json_text(j, "cluster", cluster);
    cli_json_u64(j, "epoch", r->epoch.number);
    if (v->confirmed_ms == UINT64_MAX)
        cli_json_null(j, "confirmed_seconds_ago");
    else
        cli_json_seconds(j, "confirmed_seconds_ago", v->confirmed_ms);
    cli_json_u64(j, "replication", r->copies);
    cli_json_u64(j, "partitions", r->partitions);
    cli_json_seconds(j, "out_after_seconds", r->out_after_ms);
    cli_json_u64(j, "repair_rate", r->repair_rate);
    cli_json_open(j, "findings", '[');
    for (size_t i = 0; i < count; i++) {
        cli_json_open(j, NULL, '{');
        cli_json_text(j, "code", found[i].code);
        cli_json_u64(j, "count", found[i].count);
        if (found[i].since_ms == UINT64_MAX)
            cli_json_null(j, "since_seconds");
        else
            cli_json_seconds(j, "since_seconds", found[i].since_ms);
        cli_json_text(j, "text", found[i].text);
        cli_json_close(j, '}');
    }
    cli_json_close(j, ']');
}

static int status_once(struct cli *cli, struct eddy *e)
{
    enum eddy_error err;
    struct cmd_view *v = cmd_view_take(e, ANSWER_MS, &err);
    if (v == NULL)
        return cli_failed(cli, e, err, "asking the ring");
    struct cmd_view_finding found[CMD_VIEW_FINDINGS_MAX];
    size_t count = cmd_view_findings(v, found);
    enum cmd_view_level worst = VIEW_NOTE;
    for (size_t i = 0; i < count; i++)
        if (found[i].level > worst)
            worst = found[i].level;
    if (cli->is_json) {
        struct cli_json j;
        json_status(v, found, count, worst, &j);
        cli_json_open(&j, "transfers", '[');
        cmd_transfers_json(v, &j);
        cli_json_close(&j, ']');
        cli_json_end(&j);
    } else {
        text_status(v, found, count, worst);
        cmd_transfers_text(v);
    }
    cmd_view_free(v);
    return cli_flush(cli, worst == VIEW_NOTE ? CLI_DONE : CLI_UNHEALTHY);
}

int cmd_ring_status(struct cli *cli, struct eddy *e)
{
    return status_once(cli, e);
}

/* --watch: until it is interrupted, or cannot be written. */
static int look_again(struct cli *cli, struct eddy *e,
                      int (*look)(struct cli *cli, struct eddy *e))
{
    bool is_screen = !cli->is_json && cli_is_terminal(stdout);
    for (;;) {
        if (is_screen)
            (void)fputs("\033[H\033[2J", stdout);
        int code = look(cli, e);
        if (code != CLI_DONE && code != CLI_UNHEALTHY)
            return code;
        struct timespec pause = {WATCH_S, 0};
        (void)nanosleep(&pause, NULL);
    }
}

/* ---- members ----------------------------------------------------------- */

static char standing(const struct member *m)
{
    if (m->seen == SEEN_OUT)
        return 'X';
    if (m->wanted == WANTED_DRAINING)
        return 'L';
    return m->seen == SEEN_JOINING ? 'J' : 'N';
}

/* Of all the partitions, in tenths of a percent: it keeps a copy of so many. */
static uint32_t owned_per_mille(const struct cmd_view *v, uint32_t slot)
{
    return v->nodes[slot].rows * 1000 / v->record->partitions;
}

/* How wide the columns of words must be. */
struct widths {
    int name, address, zone;
};

static int wider(int width, const char *text)
{
    int size = (int)strlen(text);
    return size > width ? size : width;
}

static struct widths text_members_begin(const struct cmd_view *v)
{
    struct widths w = {4, 7, 4};
    for (uint32_t i = 0; i < v->record->member_count; i++) {
        const struct member *m = &v->record->members[i];
        w.name = wider(w.name, m->name);
        w.address = wider(w.address, m->client_address);
        w.zone = wider(w.zone, m->zone);
    }
    (void)printf("    %-8s %-*s %-*s %-*s %6s %8s %7s %6s %6s %6s %-7s %s\n",
                 "NODE", w.name, "NAME", w.address, "ADDRESS", w.zone, "ZONE",
                 "WEIGHT", "REPLICAS", "LEADERS", "OWNS%", "USED", "FREE",
                 "VERSION", "SINCE");
    return w;
}

static void text_member(const struct cmd_view *v, uint32_t slot, bool is_asked,
                        const struct widths *w)
{
    const struct member *m = &v->record->members[slot];
    const struct cmd_view_node *n = &v->nodes[slot];
    char node[9], used[CLI_TEXT_SIZE] = "-", space[CLI_TEXT_SIZE] = "-";
    char since[CLI_TEXT_SIZE], version[64] = "-", owns[16];
    uint64_t now = cli_wall_ms();
    uint32_t owned = owned_per_mille(v, slot);
    cmd_view_short_id(m->node, node);
    if (n->has_answered) {
        cli_size(n->self.map_used, used);
        cli_size(n->self.disk_free, space);
        (void)snprintf(version, sizeof version, "%.*s",
                       (int)n->self.version.size,
                       (const char *)n->self.version.data);
    }
    cli_duration(now - min_u64(now, m->seen_since_ms), since);
    (void)snprintf(owns, sizeof owns, "%u.%u%%", owned / 10, owned % 10);
    (void)printf("%c%c%c %-8s %-*s %-*s %-*s %6u %8u %7u %6s %6s %6s %-7s %s\n",
                 n->has_answered ? 'U' : 'D', standing(m), is_asked ? '*' : ' ',
                 node, w->name, m->name, w->address, m->client_address, w->zone,
                 m->zone[0] != 0 ? m->zone : "-", m->weight,
                 n->has_answered ? n->replicas : n->rows, n->leaders, owns,
                 used, space, version, since);
}

static void json_member(const struct cmd_view *v, uint32_t slot, bool is_asked,
                        struct cli_json *j)
{
    const struct member *m = &v->record->members[slot];
    const struct cmd_view_node *n = &v->nodes[slot];
    char id[33], state[2] = {standing(m), 0}, version[64];
    id_format(m->node, id);
    cli_json_open(j, NULL, '{');
    cli_json_bool(j, "is_up", n->has_answered);
    cli_json_text(j, "state", state);
    cli_json_bool(j, "is_asked", is_asked);
    cli_json_text(j, "node", id);
    cli_json_text(j, "name", m->name);
    cli_json_text(j, "address", m->client_address);
    cli_json_text(j, "peer_address", m->peer_address);
    cli_json_text(j, "zone", m->zone);
    cli_json_u64(j, "weight", m->weight);
    cli_json_u64(j, "rows", n->rows);
    cli_json_u64(j, "leaders", n->leaders);
    cli_json_u64(j, "owns_per_mille", owned_per_mille(v, slot));
    cli_json_time(j, "since", m->seen_since_ms);
    if (n->has_answered) {
        (void)snprintf(version, sizeof version, "%.*s",
                       (int)n->self.version.size,
                       (const char *)n->self.version.data);
        cli_json_u64(j, "replicas", n->replicas);
        cli_json_u64(j, "used", n->self.map_used);
        cli_json_u64(j, "free", n->self.disk_free);
        cli_json_text(j, "version", version);
    }
    cli_json_close(j, '}');
}

/* What X means, and what to do. */
static void note_out(const struct cli *cli, const struct cmd_view *v)
{
    struct cmd_view_finding found[CMD_VIEW_FINDINGS_MAX];
    size_t count = cmd_view_findings(v, found);
    for (size_t i = 0; i < count; i++)
        if (strncmp(found[i].code, "MEMBER_", 7) == 0)
            cli_note(cli, "%s", found[i].text);
}

static int members(struct cli *cli, struct eddy *e)
{
    enum eddy_error err;
    struct cmd_view *v = cmd_view_take(e, ANSWER_MS, &err);
    struct cli_json j;
    struct id128 asked;
    if (v == NULL)
        return cli_failed(cli, e, err, "asking the ring");
    eddy_first_node(e, asked.bytes);
    struct widths w = {0};
    if (cli->is_json) {
        cli_json_begin(&j, stdout);
        cli_json_open(&j, "members", '[');
    } else {
        w = text_members_begin(v);
    }
    for (uint32_t i = 0; i < v->record->member_count; i++) {
        const struct member *m = &v->record->members[i];
        if (m->wanted == WANTED_LEFT)
            continue;
        if (cli->is_json)
            json_member(v, i, id_equal(m->node, asked), &j);
        else
            text_member(v, i, id_equal(m->node, asked), &w);
    }
    if (cli->is_json) {
        cli_json_close(&j, ']');
        cli_json_end(&j);
    } else {
        note_out(cli, v);
    }
    cmd_view_free(v);
    return cli_flush(cli, CLI_DONE);
}

/* ---- table ------------------------------------------------------------- */

static const char *name_of(const struct cmd_view *v, struct id128 node)
{
    uint16_t slot = record_slot(v->record, node);
    return slot == SLOT_NONE ? "?" : v->record->members[slot].name;
}

static void text_row(const struct cmd_view *v, uint32_t group)
{
    const struct cmd_view_group *at = &v->groups[group];
    uint32_t count;
    const uint16_t *row = record_row(v->record, group, &count);
    if (group == 0)
        (void)printf("ring ");
    else
        (void)printf("%u ", group - 1);
    for (uint32_t i = 0; i < count; i++)
        (void)printf("%s%s", i > 0 ? "," : "", v->record->members[row[i]].name);
    if (!at->has_leader) {
        (void)printf(" - -\n");
        return;
    }
    (void)printf(" %s ", v->record->members[at->leader].name);
    for (uint32_t i = 0; i < at->g.replica_count; i++)
        (void)printf("%s%s%s", i > 0 ? "," : "",
                     name_of(v, at->g.replicas[i].node),
                     at->g.replicas[i].is_voter ? "" : "+");
    (void)printf("\n");
}

static void json_row(const struct cmd_view *v, uint32_t group,
                     struct cli_json *j)
{
    const struct cmd_view_group *at = &v->groups[group];
    uint32_t count;
    const uint16_t *row = record_row(v->record, group, &count);
    cli_json_open(j, NULL, '{');
    if (group == 0)
        cli_json_null(j, "partition");
    else
        cli_json_u64(j, "partition", group - 1);
    cli_json_open(j, "row", '[');
    for (uint32_t i = 0; i < count; i++)
        cli_json_text(j, NULL, v->record->members[row[i]].name);
    cli_json_close(j, ']');
    if (at->has_leader) {
        cli_json_text(j, "leader", v->record->members[at->leader].name);
        cli_json_u64(j, "term", at->g.term);
        cli_json_u64(j, "commit", at->g.commit);
        cli_json_open(j, "replicas", '[');
        for (uint32_t i = 0; i < at->g.replica_count; i++) {
            const struct status_replica *r = &at->g.replicas[i];
            cli_json_open(j, NULL, '{');
            cli_json_text(j, "name", name_of(v, r->node));
            cli_json_bool(j, "is_voter", r->is_voter);
            cli_json_bool(j, "is_live", r->is_live);
            cli_json_u64(j, "match", r->match);
            cli_json_close(j, '}');
        }
        cli_json_close(j, ']');
    } else {
        cli_json_null(j, "leader");
    }
    cli_json_close(j, '}');
}

static int table(struct cli *cli, struct eddy *e)
{
    enum eddy_error err;
    struct cmd_view *v = cmd_view_take(e, ANSWER_MS, &err);
    struct cli_json j;
    if (v == NULL)
        return cli_failed(cli, e, err, "asking the ring");
    if (cli->is_json) {
        cli_json_begin(&j, stdout);
        cli_json_open(&j, "groups", '[');
    }
    for (uint32_t g = 0; g < v->record->row_count; g++) {
        if (cli->is_json)
            json_row(v, g, &j);
        else
            text_row(v, g);
    }
    if (cli->is_json) {
        cli_json_close(&j, ']');
        cli_json_end(&j);
    }
    cmd_view_free(v);
    return cli_flush(cli, CLI_DONE);
}

/* ---- wait -------------------------------------------------------------- */

/* What asking again does not change. */
static bool is_final(enum eddy_error err)
{
    return err == EDDY_DENIED || err == EDDY_FORGOTTEN ||
           err == EDDY_INCOMPATIBLE;
}

static int wait_settled(struct cli *cli, struct eddy *e)
{
    uint64_t began = cli_now_ms(), end = began + cli->timeout_ms;
    char text[256], took[CLI_TEXT_SIZE];
    for (;;) {
        enum eddy_error err;
        uint64_t left = end - min_u64(cli_now_ms(), end);
        struct cmd_view *v = cmd_view_take(
            e, (uint32_t)min_u64(max_u64(left, POLL_MS), ANSWER_MS), &err);
        if (v == NULL && is_final(err))
            return cli_failed(cli, e, err, "asking the ring");
        if (v == NULL)
            (void)snprintf(text, sizeof text, "%s", eddy_error_text(err));
        bool is_settled = v != NULL && cmd_view_is_settled(v, true, text);
        cmd_view_free(v);
        uint64_t ms = cli_now_ms() - began;
        if (is_settled) {
            cli_note(cli, "settled after %s", cli_duration(ms, took));
            return CLI_DONE;
        }
        if (ms >= cli->timeout_ms)
            return cli_fail(cli, CLI_UNHEALTHY, "UNHEALTHY",
                            "not settled after %s: %s", cli_duration(ms, took),
                            text);
        cli_progress(cli, "%s", text);
        struct timespec pause = {0, POLL_MS * 1000000L};
        (void)nanosleep(&pause, NULL);
    }
}

/* ---- the command ------------------------------------------------------- */

#define SURE "dry-run yes accept-data-loss force "

/* What only looks, and what changes something. */
static const struct verb {
    const char *name;
    size_t min, max; /* words, its own included */
    int (*look)(struct cli *cli, struct eddy *e);
    int (*change)(struct cli *cli, struct eddy *e,
                  const struct cmd_plan_options *o);
    const char *options; /* a blank behind each */
} verbs[] = {
    {"status", 1, 1, status_once, NULL, "watch "},
    {"members", 1, 1, members, NULL, "watch "},
    {"table", 1, 1, table, NULL, "watch "},
    {"wait", 1, 1, wait_settled, NULL, ""},
    {"why", 1, 3, cmd_why, NULL, "watch "},
    {"check", 1, 1, cmd_check, NULL, ""},
    {"plan", 1, 1, NULL, cmd_plan_show,
     SURE "add drain remove replace weight zone set clear "},
    {"commit", 2, 2, NULL, cmd_plan_commit, SURE},
    {"drain", 2, 2, NULL, cmd_plan_drain, SURE "undo "},
    {"remove", 2, 2, NULL, cmd_plan_remove, SURE},
    {"replace", 3, 3, NULL, cmd_plan_replace, SURE},
    {"set", 2, CLI_ARGUMENTS_MAX, NULL, cmd_plan_set, SURE},
    {"recover", 1, CLI_ARGUMENTS_MAX, NULL, cmd_recover, SURE},
};

static const struct verb *find_verb(struct cli *cli, int *code)
{
    const char *name = cli->argument_count > 0 ? cli->arguments[0] : "";
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(name, verbs[i].name) == 0)
            return cli_wants(cli, verbs[i].min, verbs[i].max, code) ? &verbs[i]
                                                                    : NULL;
    *code =
        cli_fail(cli, CLI_USAGE, "BAD_REQUEST",
                 "which? eddy ring status, members, table, wait, why, check, "
                 "plan, commit, drain, remove, replace, set or "
                 "recover; not '%s'",
                 name);
    return NULL;
}

/* Half of what is asked must not be done in silence. */
static bool takes(struct cli *cli, const struct verb *verb,
                  const struct cli_option *options, size_t count, int *code)
{
    for (size_t i = 0; i < count; i++) {
        const struct cli_option *o = &options[i];
        bool is_given = o->flag != NULL ? *o->flag : *o->value != NULL;
        char name[32];
        (void)snprintf(name, sizeof name, "%s ", o->name);
        if (!is_given || strstr(verb->options, name) != NULL)
            continue;
        *code = cli_fail(cli, CLI_USAGE, "BAD_REQUEST",
                         "eddy ring %s has no option --%s (see --help)",
                         verb->name, o->name);
        return false;
    }
    return true;
}

int cmd_ring(int argc, char **argv)
{
    struct cli cli = {.usage = usage};
    struct cmd_plan_options o = {0};
    bool is_watched = false;
    const struct cli_option options[] = {
        {"watch", 0, &is_watched, NULL},
        {"add", 0, NULL, &o.add},
        {"drain", 0, NULL, &o.drain},
        {"remove", 0, NULL, &o.remove},
        {"replace", 0, NULL, &o.replace},
        {"weight", 0, NULL, &o.weight},
        {"zone", 0, NULL, &o.zone},
        {"set", 0, NULL, &o.set},
        {"clear", 0, &o.clears, NULL},
        {"dry-run", 0, &o.is_dry_run, NULL},
        {"yes", 'y', &o.is_sure, NULL},
        {"accept-data-loss", 0, &o.loses_data, NULL},
        {"force", 0, &o.is_forced, NULL},
        {"undo", 0, &o.is_undone, NULL},
    };
    int code;
    if (!cli_parse(&cli, argc, argv, options, sizeof options / sizeof *options,
                   &code)) {
        cli_free(&cli);
        return code;
    }
    const struct verb *verb = find_verb(&cli, &code);
    bool is_good =
        verb != NULL &&
        takes(&cli, verb, options, sizeof options / sizeof *options, &code);
    struct eddy *e = is_good ? cli_connect(&cli, &code) : NULL;
    if (e != NULL && verb->change != NULL)
        code = verb->change(&cli, e, &o);
    else if (e != NULL && is_watched)
        code = look_again(&cli, e, verb->look);
    else if (e != NULL)
        code = verb->look(&cli, e);
    eddy_close(e);
    cli_free(&cli);
    return code;
}
