/* cmd_recover.c - see cmd_recover.h. */
#include "tools/cmd_recover.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "net/wire.h"

#define ANSWER_MS 2500u
#define POLL_MS   200

/* One group as its survivors tell. */
struct loss {
    uint32_t group;
    uint32_t life;  /* the generation that it may go on from */
    uint32_t next;  /* and that it would go on as */
    bool is_former; /* `life` is not the record's */
    bool has_leader;
    uint32_t voters, up; /* of the newest configuration that somebody tells */
    uint16_t founder;    /* the most advanced log; SLOT_NONE: there is none */
    uint64_t last, last_term; /* its end */
    uint64_t commit;          /* the newest that any survivor was told */
    struct status_group told; /* by whom that configuration is told */
    bool is_granted;          /* its next generation, by this command */
};

struct losses {
    struct cmd_view *view;
    struct loss *list;
    uint32_t count;
    struct buf lost; /* names of those that do not answer, for people */
};

static void losses_free(struct losses *l)
{
    cmd_view_free(l->view);
    mem_free(l->list);
    buf_free(&l->lost);
}

/* ---- looking ----------------------------------------------------------- */

/* What a member says of its replica of the group. */
static bool find_any(const struct cmd_view *v, uint16_t slot, uint32_t group,
                     struct status_group *out)
{
    struct dec d = dec_of(span_buf(&v->nodes[slot].bytes));
    while (v->nodes[slot].has_answered && status_next_group(&d, out)) {
        if (out->group != group)
            continue;
        if (out->generation.counter == 0) /* it knows of no other yet */
            out->generation =
                group == 0 ? v->record->generation : v->record->born;
        return true;
    }
    return false;
}

/* What a member says of its replica of that life. */
static bool find_replica(const struct cmd_view *v, uint16_t slot,
                         uint32_t group, struct generation life,
                         struct status_group *out)
{
    return find_any(v, slot, group, out) &&
           generation_equal(out->generation, life);
}

static bool is_sound(const struct status_group *g)
{
    return !g->is_quarantined && g->last > 0;
}

/* The newest life that somebody who answers has a copy of; counter 0: nobody
 * has any. */
static struct generation newest_life(const struct cmd_view *v, uint32_t group)
{
    struct generation newest = {0};
    struct status_group g;
    for (uint16_t i = 0; i < v->record->member_count; i++)
        if (find_any(v, i, group, &g) && is_sound(&g) &&
            g.generation.counter > newest.counter)
            newest = g.generation;
    return newest;
}

/* Above all that anybody tells of, also where the ring has forgotten it (T12).
 */
static uint32_t next_counter(const struct cmd_view *v, uint32_t group)
{
    uint32_t counter = record_generation(v->record, group).counter;
    struct status_group g;
    for (uint16_t i = 0; i < v->record->member_count; i++)
        if (find_any(v, i, group, &g) && g.generation.counter > counter)
            counter = g.generation.counter;
    return counter + 1;
}

static void take_replica(struct loss *out, uint16_t slot,
                         const struct status_group *g)
{
    out->has_leader = out->has_leader || (g->is_leader && g->is_ready);
    out->commit = max_u64(out->commit, g->commit);
    if (out->told.replica_count == 0 ||
        g->config_index > out->told.config_index)
        out->told = *g;
    bool is_ahead = g->last_term > out->last_term ||
                    (g->last_term == out->last_term && g->last > out->last);
    if (out->founder != SLOT_NONE && !is_ahead)
        return;
    out->founder = slot;
    out->last = g->last;
    out->last_term = g->last_term;
}

/* One life of a group. */
static struct loss look_at_life(const struct cmd_view *v, uint32_t group,
                                struct generation life)
{
    struct loss out = {
        .group = group, .life = life.counter, .founder = SLOT_NONE};
    struct status_group g;
    for (uint16_t i = 0; i < v->record->member_count; i++)
        if (find_replica(v, i, group, life, &g) && is_sound(&g))
            take_replica(&out, i, &g);
    for (uint32_t i = 0; i < out.told.replica_count; i++) {
        const struct status_replica *r = &out.told.replicas[i];
        uint16_t slot = record_slot(v->record, r->node);
        out.voters += r->is_voter;
        out.up += r->is_voter && slot != SLOT_NONE &&
                  find_replica(v, slot, group, life, &g) && is_sound(&g);
    }
    return out;
}

static bool is_lost(const struct loss *l)
{
    return !l->has_leader && l->up < record_majority(l->voters);
}

/* The present life; if that is lost, and there is a newer one, which the ring
 * has forgotten, or an older one only (its founder has died alone), then that:
 * it does not go on by itself, however many have it. */
static struct loss look_at(const struct cmd_view *v, uint32_t group)
{
    struct generation now = record_generation(v->record, group);
    struct generation newest = newest_life(v, group);
    struct loss out = look_at_life(v, group, now);
    bool is_other = newest.counter > now.counter || out.founder == SLOT_NONE;
    if (is_lost(&out) && is_other && newest.counter > 0) {
        out = look_at_life(v, group, newest);
        out.is_former = true;
        out.has_leader = false;
        out.up = 0;
    }
    out.next = next_counter(v, group);
    return out;
}

static void add(struct losses *l, const struct loss *one)
{
    l->list = mem_resize(l->list, (l->count + 1) * sizeof *l->list);
    l->list[l->count++] = *one;
}

/* "ring" or a partition's number into a group. */
static bool read_group(const struct cli *cli, const struct record *r,
                       const char *word, uint32_t *group, int *code)
{
    uint64_t partition;
    *group = 0;
    if (strcmp(word, "ring") == 0)
        return true;
    if (!cli_read_u64(word, &partition) || partition >= r->partitions) {
        *code = cli_fail(cli, CLI_ABSENT, "NOT_FOUND",
                         "there is no partition '%s'", word);
        return false;
    }
    *group = (uint32_t)partition + 1;
    return true;
}

/* The groups that were named, each of which must be lost. */
static bool take_named(const struct cli *cli, struct losses *l, int *code)
{
    for (size_t i = 1; i < cli->argument_count; i++) {
        uint32_t group;
        if (!read_group(cli, l->view->record, cli->arguments[i], &group, code))
            return false;
        struct loss one = look_at(l->view, group);
        if (!is_lost(&one)) {
            *code = cli_fail(cli, CLI_REFUSED, "REFUSED",
                             "%s has %s: it goes on by itself, and recovering "
                             "it would lose data",
                             cli->arguments[i],
                             one.has_leader ? "a leader"
                                            : "a majority that answers");
            return false;
        }
        add(l, &one);
    }
    return true;
}

static void name_silent(struct losses *l)
{
    for (uint16_t i = 0; i < l->view->record->member_count; i++)
        if (l->view->nodes[i].is_asked && !l->view->nodes[i].has_answered)
            buf_printf(&l->lost, "%s%s", l->lost.size > 0 ? " " : "",
                       l->view->record->members[i].name);
    buf_append(&l->lost, "", 1);
}

static bool look(const struct cli *cli, struct eddy *e, struct losses *l,
                 int *code)
{
    enum eddy_error err;
    l->view = cmd_view_take(e, ANSWER_MS, &err);
    if (l->view == NULL) {
        *code = cli_failed(cli, e, err, "asking the ring");
        return false;
    }
    name_silent(l);
    if (cli->argument_count > 1)
        return take_named(cli, l, code);
    for (uint32_t g = 0; g < l->view->record->row_count; g++) {
        struct loss one = look_at(l->view, g);
        if (is_lost(&one))
            add(l, &one);
    }
    return true;
}

/* ---- showing ----------------------------------------------------------- */

static const char *name_of(const struct losses *l, struct id128 node)
{
    uint16_t slot = record_slot(l->view->record, node);
    return slot == SLOT_NONE ? "?" : l->view->record->members[slot].name;
}

static const char *founder_of(const struct losses *l, const struct loss *one)
{
    return one->founder == SLOT_NONE
               ? "-"
               : l->view->record->members[one->founder].name;
}

static void text_loss(const struct losses *l, const struct loss *one)
{
    if (one->group == 0)
        (void)printf("  ring          ");
    else
        (void)printf("  partition %-4u", one->group - 1);
    if (one->founder == SLOT_NONE) {
        (void)printf("  nobody who answers has a copy\n");
        return;
    }
    (void)printf("  from %s  last %" PRIu64 " of term %" PRIu64
                 "  newest commit told %" PRIu64 "  voters ",
                 founder_of(l, one), one->last, one->last_term, one->commit);
    for (uint32_t i = 0; i < one->told.replica_count; i++)
        if (one->told.replicas[i].is_voter)
            (void)printf("%s%s", i > 0 ? "," : "",
                         name_of(l, one->told.replicas[i].node));
    if (one->is_former)
        (void)printf("  OF GENERATION %" PRIu32
                     ": nobody who answers has a later one",
                     one->life);
    if (one->commit > one->last)
        (void)printf("  LACKS %" PRIu64, one->commit - one->last);
    (void)printf("\n");
}

static uint32_t count_hopeless(const struct losses *l)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < l->count; i++)
        count += l->list[i].founder == SLOT_NONE;
    return count;
}

static void text_losses(const struct losses *l)
{
    for (uint32_t i = 0; i < l->count; i++)
        text_loss(l, &l->list[i]);
    (void)printf("%u groups have lost their majority; silent: %s\n"
                 "what was acknowledged and only the silent nodes have is "
                 "lost for good; their copies, should they come back, are "
                 "dropped\n"
                 "who is silent here may go on out of sight, behind a cut "
                 "network: what it acknowledges until it hears of the new "
                 "generation is lost, too\n",
                 l->count, (const char *)l->lost.data);
    if (count_hopeless(l) > 0)
        (void)printf("%u groups cannot be recovered: nobody who answers has a "
                     "copy\n",
                     count_hopeless(l));
}

static void json_losses(const struct losses *l, const char *state)
{
    struct cli_json j;
    cli_json_begin(&j, stdout);
    cli_json_text(&j, "state", state);
    cli_json_text(&j, "silent", (const char *)l->lost.data);
    cli_json_open(&j, "groups", '[');
    for (uint32_t i = 0; i < l->count; i++) {
        const struct loss *one = &l->list[i];
        cli_json_open(&j, NULL, '{');
        if (one->group == 0)
            cli_json_null(&j, "partition");
        else
            cli_json_u64(&j, "partition", one->group - 1);
        cli_json_text(&j, "founder", founder_of(l, one));
        cli_json_u64(&j, "generation", one->life);
        cli_json_bool(&j, "is_former", one->is_former);
        cli_json_u64(&j, "last", one->last);
        cli_json_u64(&j, "last_term", one->last_term);
        cli_json_u64(&j, "commit", one->commit);
        cli_json_u64(&j, "voters", one->voters);
        cli_json_u64(&j, "voters_up", one->up);
        cli_json_close(&j, '}');
    }
    cli_json_close(&j, ']');
    cli_json_end(&j);
}

static void show(const struct cli *cli, const struct losses *l,
                 const char *state)
{
    if (cli->is_json)
        json_losses(l, state);
    else
        text_losses(l);
}

/* ---- doing ------------------------------------------------------------- */

static bool draw(const struct cli *cli, void *out, size_t size, int *code)
{
    if (getrandom(out, size, 0) == (ssize_t)size)
        return true;
    *code = cli_fail(cli, CLI_FAILED, "IO", "no random numbers: %s",
                     strerror(errno));
    return false;
}

static void pause_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    (void)nanosleep(&t, NULL);
}

/* Looks again and again; the view is then the newest one. */
static bool wait_until(const struct cli *cli, struct eddy *e, struct losses *l,
                       bool (*is_so)(const struct losses *l))
{
    uint64_t began = cli_now_ms();
    while (cli_now_ms() - began < cli->timeout_ms) {
        enum eddy_error err;
        struct cmd_view *v = cmd_view_take(e, ANSWER_MS, &err);
        if (v != NULL) {
            cmd_view_free(l->view);
            l->view = v;
            if (is_so(l))
                return true;
        }
        pause_ms(POLL_MS);
    }
    return false;
}

/* In the generation that was granted to it here, or in a later one. */
static bool goes_on(const struct losses *l, const struct loss *one)
{
    return record_generation(l->view->record, one->group).counter >=
               one->next &&
           look_at(l->view, one->group).has_leader;
}

static bool ring_goes_on(const struct losses *l)
{
    return goes_on(l, &l->list[0]);
}

static bool all_go_on(const struct losses *l)
{
    for (uint32_t i = 0; i < l->count; i++)
        if (l->list[i].is_granted && !goes_on(l, &l->list[i]))
            return false;
    return true;
}

/* A grant is only a word: who was to found the group may have died since, or
 * lost its copy. Then nobody goes on with it until there is another grant. */
static int wait_for_founders(struct cli *cli, struct eddy *e, struct losses *l)
{
    uint32_t missing = 0;
    if (wait_until(cli, e, l, all_go_on))
        return CLI_DONE;
    for (uint32_t i = 0; i < l->count; i++) {
        const struct loss *one = &l->list[i];
        if (!one->is_granted || goes_on(l, one))
            continue;
        cli_note(cli, "partition %u does not go on from %s yet", one->group - 1,
                 founder_of(l, one));
        missing++;
    }
    return cli_fail(cli, CLI_UNKNOWN, "TIMEOUT",
                    "%u partitions were granted, but nobody leads them yet: "
                    "eddy ring why, then eddy ring recover again",
                    missing);
}

static int recover_ring(struct cli *cli, struct eddy *e, struct losses *l)
{
    const struct record *r = l->view->record;
    const struct loss *ring = &l->list[0];
    int code = CLI_DONE;
    uint64_t epoch;
    struct generation next = {.counter = ring->next};
    if (ring->founder == SLOT_NONE)
        return cli_fail(cli, CLI_REFUSED, "REFUSED",
                        "nobody who answers has a copy of the ring's group");
    if (!draw(cli, &next.random, sizeof next.random, &code))
        return code;
    enum eddy_error err = eddy_ring_recover(
        e, r->members[ring->founder].node.bytes, &next, &epoch);
    if (err != EDDY_OK)
        return cli_failed(cli, e, err, "recovering the ring");
    cli_note(cli, "the ring goes on from %s, epoch %" PRIu64,
             r->members[ring->founder].name, epoch);
    /* The survivor leads it, alone: only then can partitions be granted. */
    return wait_until(cli, e, l, ring_goes_on)
               ? CLI_DONE
               : cli_fail(cli, CLI_UNKNOWN, "TIMEOUT",
                          "the ring was recovered, but nobody leads it yet: "
                          "eddy ring why, then eddy ring recover again");
}

/* As many partitions as one record may change, from *at on; made_from becomes
 * the epoch after it. */
static int recover_some(struct cli *cli, struct eddy *e, struct losses *l,
                        uint32_t *at, struct epoch *made_from)
{
    struct change_request request = {.act = ACT_NOW, .is_forced = true};
    struct buf list = {0};
    int code = CLI_DONE;
    uint64_t random = 0;
    if (!draw(cli, &request.proposal, sizeof request.proposal, &code) ||
        !draw(cli, &random, sizeof random, &code))
        return code;
    for (; *at < l->count && request.count < CHANGES_MAX; (*at)++) {
        struct loss *one = &l->list[*at];
        if (one->group == 0 || one->founder == SLOT_NONE)
            continue;
        struct change c = {.kind = CHANGE_RECOVER,
                           .slot = one->founder,
                           .value = one->group,
                           .generation = {one->next, random}};
        if (change_fault(&c) != NULL)
            continue; /* its generations have run out */
        wire_change_write(&list, &c);
        one->is_granted = true;
        request.count++;
    }
    request.changes = span_buf(&list);
    enum eddy_error err = EDDY_OK;
    if (request.count > 0)
        err = eddy_ring_change(e, &request, made_from, &made_from->number);
    buf_free(&list);
    return err == EDDY_OK ? CLI_DONE
                          : cli_failed(cli, e, err, "recovering partitions");
}

/* As the new ring shows them: some may have come back meanwhile. */
static void look_again(struct losses *l)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < l->count; i++) {
        struct loss now = look_at(l->view, l->list[i].group);
        if (now.group == 0 || is_lost(&now))
            l->list[kept++] = now;
    }
    l->count = kept;
}

static int recover(struct cli *cli, struct eddy *e, struct losses *l)
{
    int code = CLI_DONE;
    uint32_t at = 0;
    if (l->list[0].group == 0) {
        code = recover_ring(cli, e, l);
        look_again(l);
    }
    struct epoch made_from = l->view->record->epoch;
    while (code == CLI_DONE && at < l->count)
        code = recover_some(cli, e, l, &at, &made_from);
    if (code == CLI_DONE)
        code = wait_for_founders(cli, e, l);
    if (code == CLI_DONE)
        cli_note(cli, "recovered; what is missing of copies is made anew on "
                      "other nodes: eddy ring remove the lost ones, eddyd join "
                      "new ones, eddy ring wait");
    return code;
}

/* The ring grants the partitions' next lives: it comes first. */
static bool is_in_order(const struct cli *cli, const struct losses *l,
                        int *code)
{
    struct loss ring = look_at(l->view, 0);
    if (!is_lost(&ring) || l->list[0].group == 0)
        return true;
    *code = cli_fail(cli, CLI_REFUSED, "REFUSED",
                     "the ring's own group has lost its majority, too: it "
                     "comes first (eddy ring recover ring)");
    return false;
}

int cmd_recover(struct cli *cli, struct eddy *e,
                const struct cmd_plan_options *o)
{
    struct losses l = {0};
    int code = CLI_DONE;
    if (!look(cli, e, &l, &code)) {
        losses_free(&l);
        return code;
    }
    if (l.count == 0) {
        cli_note(cli, "no group has lost its majority");
        if (cli->is_json)
            show(cli, &l, "none");
    } else {
        if (o->is_dry_run || !cli->is_json)
            show(cli, &l, "shown");
        (void)fflush(stdout);
        if (o->is_dry_run || !is_in_order(cli, &l, &code)) {
            /* shown, or refused */
        } else if (!o->loses_data) {
            code = cli_fail(cli, CLI_REFUSED, "REFUSED",
                            "this may lose data: if the silent nodes will "
                            "never come back, say --accept-data-loss");
        } else if (cmd_plan_is_sure(cli, o, "lost", &code)) {
            code = recover(cli, e, &l);
            if (code == CLI_DONE && cli->is_json)
                show(cli, &l, "recovered");
        }
    }
    losses_free(&l);
    return cli_flush(cli, code);
}
