/* group_commands.c - see group.h: what a case may do with a group.
 * tests/cases/README.md is the manual of these commands. */
#include "tests/cases/group.h"

#include <stdio.h>
#include <stdlib.h>

#define DELIVERIES_MAX 2000u

typedef void (*command_fn)(struct group *g, struct line *l, struct buf *out);

/* ---- reading ----------------------------------------------------------- */

static size_t read_node(struct line *l)
{
    uint64_t number = line_next_u64(l);
    if (number < 1 || number > RIG_NODES) {
        line_fail(l, "%s: nodes are 1 to %u", l->verb, RIG_NODES);
        return 0;
    }
    return (size_t)number - 1;
}

/* A node that runs. */
static size_t read_running(const struct group *g, struct line *l)
{
    size_t node = read_node(l);
    if (g->rig.nodes[node].r == NULL)
        line_fail(l, "%s: node %zu does not run", l->verb, node + 1);
    return node;
}

struct link {
    bool is_given;
    size_t from, to;
    enum raft_msg_kind kind; /* 0: any */
};

static bool parse_link(const char *text, struct link *k)
{
    char *end;
    unsigned long from = strtoul(text, &end, 10);
    if (end == text || strncmp(end, "->", 2) != 0)
        return false;
    const char *second = end + 2;
    unsigned long to = strtoul(second, &end, 10);
    if (end == second || *end != '\0' || from < 1 || from > RIG_NODES ||
        to < 1 || to > RIG_NODES)
        return false;
    *k = (struct link){true, from - 1, to - 1, (enum raft_msg_kind)0};
    return true;
}

/* [1->2] [append]: the packets that a command is about. */
static struct link read_link(struct line *l, bool must)
{
    struct link k = {0};
    const char *word = line_next(l);
    if (word != NULL && parse_link(word, &k))
        word = line_next(l);
    else if (must)
        line_fail(l, "%s: a link like 1->2 is wanted", l->verb);
    if (word != NULL) {
        k.kind = group_kind(word);
        if (k.kind == 0)
            line_fail(l, "%s: no message is called \"%s\"", l->verb, word);
    }
    return k;
}

static bool is_on(const struct link *k, const struct group_packet *p)
{
    return (!k->is_given || (p->from == k->from && p->to == k->to)) &&
           (k->kind == 0 || p->msg.kind == k->kind);
}

static struct line_pair read_position(struct line *l, const char *key)
{
    struct line_pair p = {0};
    (void)line_pairs(l, key, &p, 1);
    return p;
}

/* ---- nodes and disks --------------------------------------------------- */

/* start 2 ...; start 4 added=5: a replica by the entry that has added it. */
static void run_start(struct group *g, struct line *l, struct buf *out)
{
    size_t nodes[RIG_NODES];
    size_t count = 0;
    uint64_t added = line_u64(l, "added", 0);
    while (line_has_next(l) && !l->is_bad && count < RIG_NODES) {
        nodes[count] = read_node(l);
        if (g->rig.nodes[nodes[count]].r != NULL)
            line_fail(l, "start: node %zu runs", nodes[count] + 1);
        count++;
    }
    if (!line_end(l))
        return;
    for (size_t i = 0; i < count; i++) {
        struct rig_node *n = &g->rig.nodes[nodes[i]];
        if (added > 0)
            n->self.added = added;
        rig_start(&g->rig, nodes[i]);
        g->shown[nodes[i]].config_index = raft_config(n->r)->index;
    }
    group_flow(g, out);
}

static void run_crash(struct group *g, struct line *l, struct buf *out)
{
    size_t node = read_running(g, l);
    if (!line_end(l))
        return;
    rig_crash(&g->rig, node);
    g->shown[node].commit = 0;
    group_flow(g, out);
}

/* Its disk is lost, with all that was on it. */
static void run_wipe(struct group *g, struct line *l, struct buf *out)
{
    size_t node = read_node(l);
    struct rig_node *n = &g->rig.nodes[node];
    (void)out;
    if (n->r != NULL)
        line_fail(l, "wipe: node %zu runs", node + 1);
    if (!line_end(l))
        return;
    for (; n->last > 0; n->last--) {
        item_unref(&g->rig.pool, n->log[n->last]);
        n->log[n->last] = NULL;
    }
    n->hard = (struct raft_hard_state){0};
    n->applied = 0;
}

/* rollback 3 to=2: its folder is one from a backup; entries above are gone. */
static void run_rollback(struct group *g, struct line *l, struct buf *out)
{
    size_t node = read_node(l);
    struct rig_node *n = &g->rig.nodes[node];
    uint64_t to = line_need_u64(l, "to");
    (void)out;
    if (n->r != NULL)
        line_fail(l, "rollback: node %zu runs", node + 1);
    if (to < n->base || to > n->last)
        line_fail(l, "rollback: its log ends at %llu",
                  (unsigned long long)n->last);
    if (!line_end(l))
        return;
    for (; n->last > to; n->last--) {
        item_unref(&g->rig.pool, n->log[n->last]);
        n->log[n->last] = NULL;
    }
    n->applied = min_u64(n->applied, to);
}

/* disk 2 log=1,1,2 term=3 voted_for=1 applied=1: before it starts. */
static void run_disk(struct group *g, struct line *l, struct buf *out)
{
    uint64_t terms[64];
    size_t node = read_node(l);
    struct rig_node *n = &g->rig.nodes[node];
    (void)out;
    size_t count = line_list(l, "log", terms, 64);
    uint64_t term = line_u64(l, "term", 0);
    uint64_t vote = line_u64(l, "voted_for", 0);
    uint64_t applied = line_u64(l, "applied", 0);
    if (n->r != NULL || n->last > 0)
        line_fail(l, "disk: node %zu has one", node + 1);
    for (size_t i = 0; i < count; i++) {
        if (terms[i] == 0 || (i > 0 && terms[i] < terms[i - 1]))
            line_fail(l, "disk: terms never fall along a log");
    }
    if (vote > RIG_NODES || applied > count)
        line_fail(l, "disk: no such node, or no such entry");
    if (!line_end(l))
        return;
    rig_log(&g->rig, node, terms, count);
    n->hard.term = max_u64(n->hard.term, term);
    if (vote > 0)
        n->hard.vote = rig_replica((size_t)vote - 1);
    n->applied = applied;
}

static void run_hold(struct group *g, struct line *l, struct buf *out)
{
    size_t node = read_node(l);
    if (!line_end(l))
        return;
    g->is_held[node] = strcmp(l->verb, "hold") == 0;
    group_flow(g, out);
}

static void run_sync(struct group *g, struct line *l, struct buf *out)
{
    size_t node = read_running(g, l);
    if (!line_end(l))
        return;
    rig_sync(&g->rig, node);
    group_flow(g, out);
}

/* stall 1: its owner says that the disk is slow (L10). step_down 1: a jump of
 * its clock (L17). */
static void run_owner(struct group *g, struct line *l, struct buf *out)
{
    size_t node = read_running(g, l);
    if (!line_end(l))
        return;
    struct raft *r = g->rig.nodes[node].r;
    if (strcmp(l->verb, "step_down") == 0)
        raft_step_down(r, g->rig.now);
    else
        raft_set_stalled(r, strcmp(l->verb, "stall") == 0);
    group_flow(g, out);
}

/* From now on what leaders order from their disks comes when told. */
static void run_hold_reads(struct group *g, struct line *l, struct buf *out)
{
    (void)out;
    if (line_end(l))
        g->is_reading_late = true;
}

/* load 1: they come. load 1 terms=3,3: other rows come, of these terms. */
static void run_load(struct group *g, struct line *l, struct buf *out)
{
    uint64_t terms[16];
    size_t node = read_running(g, l);
    size_t count = line_list(l, "terms", terms, 16);
    if (!line_end(l))
        return;
    for (size_t i = 0; i < g->load_count; i++) {
        struct group_load *load = &g->loads[i];
        for (size_t k = 0; k < load->count && k < count; k++) {
            struct item *right = load->items[k];
            load->items[k] = rig_item(&g->rig, right->index, terms[k]);
            item_unref(&g->rig.pool, right);
        }
    }
    group_load(g, node);
    group_flow(g, out);
}

/* ---- what is asked of a node -------------------------------------------- */

static void settle(struct group *g, bool is_quiet, struct buf *out)
{
    for (size_t n = 0; g->packet_count > 0; n++) {
        if (n == DELIVERIES_MAX) {
            buf_printf(out, "... and so on for ever\n");
            return;
        }
        struct group_packet p = group_take(g, 0);
        group_hand(g, &p, is_quiet, out);
        group_drop(g, &p);
        group_flow(g, out);
    }
}

static void run_campaign(struct group *g, struct line *l, struct buf *out)
{
    size_t node = read_running(g, l);
    if (!line_end(l))
        return;
    raft_campaign(g->rig.nodes[node].r, g->rig.now);
    group_flow(g, out);
    if (strcmp(l->verb, "elect") == 0)
        settle(g, true, out);
}

/* Time passes until it has waited long enough for a leader. */
static void run_timeout(struct group *g, struct line *l, struct buf *out)
{
    size_t node = read_running(g, l);
    if (!line_end(l))
        return;
    struct raft *r = g->rig.nodes[node].r;
    if (raft_role(r) == RAFT_LEADER) {
        line_fail(l, "timeout: node %zu leads", node + 1);
        return;
    }
    enum raft_role role = raft_role(r);
    for (size_t i = 0; i < 1000 && raft_role(r) == role; i++)
        rig_tick(&g->rig, node, max_u64(raft_deadline(r), g->rig.now));
    group_flow(g, out);
}

static struct item *command_item(struct group *g, const char *label)
{
    struct buf manifest = {0};
    struct entry_builder b;
    struct command c = {.kind = COMMAND_CREATE, .name = span_str(label)};
    entry_build(&b, &manifest, (struct entry_stamp){.level = LEVEL_NOW});
    enum err err = entry_add(&b, &c);
    ASSERT(err == ERR_OK);
    entry_end(&b);
    struct item *item = item_new(&g->rig.pool, span_buf(&manifest), NULL, 0);
    buf_free(&manifest);
    return item;
}

/* propose 1 a */
static void run_propose(struct group *g, struct line *l, struct buf *out)
{
    size_t node = read_running(g, l);
    const char *label = line_next(l);
    if (label == NULL || strlen(label) > 20)
        line_fail(l, "propose: a short word is wanted");
    if (!line_end(l))
        return;
    struct item *item = command_item(g, label);
    uint64_t index, term;
    enum err err = raft_propose(g->rig.nodes[node].r, item, &index, &term);
    if (err == ERR_OK)
        buf_printf(out, "%s is entry %llu:%llu\n", label,
                   (unsigned long long)index, (unsigned long long)term);
    else
        buf_printf(out, "%s\n", err_name(err));
    if (err != ERR_OK)
        item_unref(&g->rig.pool, item);
    group_flow(g, out);
}

/* Node `number` in the configuration: its newest life. */
static const struct config_member *member(const struct config *c,
                                          uint64_t number)
{
    return config_find_node(c, rig_replica((size_t)number - 1).node);
}

static void without(struct config *c, struct replica r)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        if (!replica_equal(c->members[i].replica, r))
            c->members[kept++] = c->members[i];
    }
    c->count = kept;
}

/* change 1 add=4 | promote=4 | remove=3 */
static void run_change(struct group *g, struct line *l, struct buf *out)
{
    size_t node = read_running(g, l);
    uint64_t add = line_u64(l, "add", 0);
    uint64_t promote = line_u64(l, "promote", 0);
    uint64_t remove = line_u64(l, "remove", 0);
    if ((add > 0) + (promote > 0) + (remove > 0) != 1 || add > RIG_NODES ||
        promote > RIG_NODES || remove > RIG_NODES)
        line_fail(l, "change: add=, promote= or remove= a node");
    if (l->is_bad)
        return;
    struct config to = *raft_config(g->rig.nodes[node].r);
    const struct config_member *m =
        add > 0 ? NULL : member(&to, promote + remove);
    if (!line_end(l))
        return;
    if (add == 0 && m == NULL) {
        buf_printf(out, "it is no member\n");
        return;
    }
    if (add > 0)
        to.members[to.count++] = (struct config_member){
            {rig_replica((size_t)add - 1).node, 0}, false};
    else if (promote > 0)
        to.members[m - to.members].is_voter = true;
    else
        without(&to, m->replica);
    uint64_t index;
    enum err err = raft_change(g->rig.nodes[node].r, &to, &index);
    if (err == ERR_OK)
        buf_printf(out, "the change is entry %llu:%llu\n",
                   (unsigned long long)index,
                   (unsigned long long)raft_term(g->rig.nodes[node].r));
    else
        buf_printf(out, "%s\n", err_name(err));
    group_flow(g, out);
}

static void run_transfer(struct group *g, struct line *l, struct buf *out)
{
    size_t node = read_running(g, l);
    uint64_t to = line_need_u64(l, "to");
    if (to < 1 || to > RIG_NODES)
        line_fail(l, "transfer: to=2, say");
    if (!line_end(l))
        return;
    struct raft *r = g->rig.nodes[node].r;
    const struct config_member *m = member(raft_config(r), to);
    struct replica target =
        m == NULL ? rig_replica((size_t)to - 1) : m->replica;
    buf_printf(out, "%s\n", err_name(raft_transfer(r, target, g->rig.now)));
    group_flow(g, out);
}

/* read 1 7: a linearizable read, called 7. */
static void run_read(struct group *g, struct line *l, struct buf *out)
{
    size_t node = read_running(g, l);
    uint64_t token = line_next_u64(l);
    if (!line_end(l))
        return;
    enum err err = raft_read(g->rig.nodes[node].r, token, g->rig.now);
    if (err != ERR_OK)
        buf_printf(out, "%s\n", err_name(err));
    group_flow(g, out);
}

/* ---- the network ------------------------------------------------------- */

/* All, until it is quiet; or those that are under way on a link. */
static void run_deliver(struct group *g, struct line *l, struct buf *out)
{
    struct link k = read_link(l, false);
    if (!line_end(l))
        return;
    if (!k.is_given && k.kind == 0) {
        settle(g, strcmp(l->verb, "settle") == 0, out);
        return;
    }
    size_t count = g->packet_count;
    for (size_t i = 0; count > 0; count--) {
        if (!is_on(&k, &g->packets[i])) {
            i++;
            continue;
        }
        struct group_packet p = group_take(g, i);
        group_hand(g, &p, false, out);
        group_drop(g, &p);
        group_flow(g, out);
    }
}

static void run_drop(struct group *g, struct line *l, struct buf *out)
{
    struct link k = read_link(l, false);
    (void)out;
    if (!line_end(l))
        return;
    for (size_t i = g->packet_count; i > 0; i--) {
        if (!is_on(&k, &g->packets[i - 1]))
            continue;
        struct group_packet p = group_take(g, i - 1);
        group_drop(g, &p);
    }
}

/* keep x 1->2 append: takes the newest out of the network, for later; copy
 * leaves it there. */
static void run_keep(struct group *g, struct line *l, struct buf *out)
{
    const char *name = line_next(l);
    struct link k = read_link(l, true);
    if (name == NULL || strlen(name) > 20 || g->kept_count == GROUP_KEPT_MAX)
        line_fail(l, "%s: a short name, at most %u times", l->verb,
                  GROUP_KEPT_MAX);
    if (!line_end(l))
        return;
    for (size_t i = g->packet_count; i > 0; i--) {
        if (!is_on(&k, &g->packets[i - 1]))
            continue;
        struct group_packet p = strcmp(l->verb, "keep") == 0
                                    ? group_take(g, i - 1)
                                    : group_copy(&g->packets[i - 1]);
        (void)snprintf(g->kept[g->kept_count].name, 24, "%s", name);
        g->kept[g->kept_count++].packet = p;
        buf_printf(out, "%s: ", name);
        group_print_packet(&p, out);
        buf_printf(out, "\n");
        return;
    }
    buf_printf(out, "no such message is under way\n");
}

/* What was kept arrives; as often as one likes. */
static void run_inject(struct group *g, struct line *l, struct buf *out)
{
    const char *name = line_next(l);
    size_t at = 0;
    while (at < g->kept_count && name != NULL &&
           strcmp(g->kept[at].name, name) != 0)
        at++;
    if (name == NULL || at == g->kept_count)
        line_fail(l, "inject: what was kept under that name?");
    if (!line_end(l))
        return;
    bool has_heartbeats = g->has_heartbeats;
    g->has_heartbeats = true;
    group_hand(g, &g->kept[at].packet, false, out);
    g->has_heartbeats = has_heartbeats;
    group_flow(g, out);
}

/* cut 1->2, or cut 1: from and to all others. heal: all of it. */
static void run_cut(struct group *g, struct line *l, struct buf *out)
{
    const char *word = line_next(l);
    struct link k = {0};
    char *end = NULL;
    unsigned long node = word == NULL ? 0 : strtoul(word, &end, 10);
    bool is_link = word != NULL && parse_link(word, &k);
    (void)out;
    if (!is_link &&
        (word == NULL || *end != '\0' || node < 1 || node > RIG_NODES))
        line_fail(l, "cut: a link like 1->2, or a node");
    if (!line_end(l))
        return;
    if (is_link)
        g->is_cut[k.from][k.to] = true;
    for (size_t i = 0; !is_link && i < RIG_NODES; i++)
        g->is_cut[i][node - 1] = g->is_cut[node - 1][i] = true;
}

static void run_heal(struct group *g, struct line *l, struct buf *out)
{
    (void)out;
    if (line_end(l))
        memset(g->is_cut, 0, sizeof g->is_cut);
}

static void run_network(struct group *g, struct line *l, struct buf *out)
{
    if (!line_end(l))
        return;
    for (size_t i = 0; i < g->packet_count; i++) {
        group_print_packet(&g->packets[i], out);
        buf_printf(out, "\n");
    }
    if (g->packet_count == 0)
        buf_printf(out, "nothing is under way\n");
}

/* send 3->1 append_reply term=2 yes match=5: a message made by hand, of the
 * senders' first lives unless from_added= or to_added= say otherwise. */
static void run_send(struct group *g, struct line *l, struct buf *out)
{
    struct link k = read_link(l, true);
    struct line_pair last = read_position(l, "last");
    struct line_pair prev = read_position(l, "prev");
    uint64_t terms[16];
    struct group_packet p = {.from = k.from, .to = k.to};
    struct raft_msg *m = &p.msg;
    *m = rig_msg(k.kind, k.from, k.to, line_need_u64(l, "term"));
    m->from.added = line_u64(l, "from_added", 1);
    m->to.added = line_u64(l, "to_added", 1);
    m->granted = line_flag(l, "yes");
    m->is_transfer = line_flag(l, "transfer");
    m->last_index = last.first;
    m->last_term = last.second;
    m->prev_index = prev.first;
    m->prev_term = prev.second;
    m->match = line_u64(l, "match", 0);
    m->commit = line_u64(l, "commit", 0);
    m->round = line_u64(l, "round", 0);
    size_t count = line_list(l, "entries", terms, 16);
    if (k.kind == 0)
        line_fail(l, "send: which message?");
    if (!line_end(l))
        return;
    m->items = count > 0 ? mem_alloc(count * sizeof *m->items) : NULL;
    m->item_count = (uint32_t)count;
    for (size_t i = 0; i < count; i++)
        m->items[i] = rig_item(&g->rig, prev.first + 1 + i, terms[i]);
    group_hand(g, &p, false, out);
    group_drop(g, &p);
    group_flow(g, out);
}

/* ---- time -------------------------------------------------------------- */

/* time ms=50: nothing is delivered meanwhile. run ms=50: all is, and only what
 * comes of it is printed. without=1,2: these are paused, and do not notice. */
static void run_time(struct group *g, struct line *l, struct buf *out)
{
    uint64_t ms = line_need_u64(l, "ms");
    uint64_t paused[RIG_NODES];
    bool is_paused[RIG_NODES + 1] = {false};
    size_t count = line_list(l, "without", paused, RIG_NODES);
    for (size_t i = 0; i < count; i++)
        is_paused[min_u64(max_u64(paused[i], 1) - 1, RIG_NODES)] = true;
    bool is_delivering = strcmp(l->verb, "run") == 0;
    if (ms == 0 || ms > 100000)
        line_fail(l, "%s: 1 to 100000 ms", l->verb);
    if (!line_end(l))
        return;
    for (uint64_t end = g->rig.now + ms; g->rig.now < end;) {
        g->rig.now++;
        for (size_t i = 0; i < RIG_NODES; i++) {
            if (g->rig.nodes[i].r != NULL && !is_paused[i])
                raft_tick(g->rig.nodes[i].r, g->rig.now);
        }
        group_flow(g, out);
        if (is_delivering)
            settle(g, true, out);
    }
}

/* ---- questions --------------------------------------------------------- */

/* status, or status 1 3; log 1 3. */
static void run_show(struct group *g, struct line *l, struct buf *out)
{
    bool is_asked[RIG_NODES] = {false};
    bool is_log = strcmp(l->verb, "log") == 0;
    bool has_any = false;
    for (const char *word = line_next(l); word != NULL; word = line_next(l)) {
        unsigned long node = strtoul(word, NULL, 10);
        if (node < 1 || node > RIG_NODES) {
            line_fail(l, "%s: nodes are 1 to %u", l->verb, RIG_NODES);
            return;
        }
        is_asked[node - 1] = has_any = true;
    }
    if (!line_end(l))
        return;
    for (size_t i = 0; i < RIG_NODES; i++) {
        bool is_wanted =
            has_any ? is_asked[i] : g->shown[i].is_up || g->shown[i].term > 0;
        if (is_wanted && is_log && g->rig.nodes[i].r != NULL)
            group_print_log(g, i, out);
        else if (is_wanted && !is_log)
            group_print_status(g, i, out);
    }
}

static void run_heartbeats(struct group *g, struct line *l, struct buf *out)
{
    bool is_on_word = line_flag(l, "on");
    (void)out;
    if (!is_on_word && !line_flag(l, "off"))
        line_fail(l, "heartbeats: on or off?");
    if (line_end(l))
        g->has_heartbeats = is_on_word;
}

bool group_run(void *world, struct line *l, struct buf *out)
{
    static const struct {
        const char *verb;
        command_fn run;
    } commands[] = {
        {"start", run_start},
        {"crash", run_crash},
        {"wipe", run_wipe},
        {"rollback", run_rollback},
        {"disk", run_disk},
        {"hold", run_hold},
        {"release", run_hold},
        {"sync", run_sync},
        {"stall", run_owner},
        {"unstall", run_owner},
        {"step_down", run_owner},
        {"hold_reads", run_hold_reads},
        {"load", run_load},
        {"campaign", run_campaign},
        {"elect", run_campaign},
        {"timeout", run_timeout},
        {"propose", run_propose},
        {"change", run_change},
        {"transfer", run_transfer},
        {"read", run_read},
        {"deliver", run_deliver},
        {"settle", run_deliver},
        {"drop", run_drop},
        {"keep", run_keep},
        {"copy", run_keep},
        {"inject", run_inject},
        {"cut", run_cut},
        {"heal", run_heal},
        {"network", run_network},
        {"send", run_send},
        {"time", run_time},
        {"run", run_time},
        {"status", run_show},
        {"log", run_show},
        {"heartbeats", run_heartbeats},
    };
    struct group *g = world;
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(l->verb, commands[i].verb) == 0) {
            commands[i].run(g, l, out);
            return true;
        }
    }
    return false;
}
