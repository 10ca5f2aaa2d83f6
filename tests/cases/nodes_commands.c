/* nodes_commands.c - see nodes.h: what a case may do with whole nodes.
 * tests/cases/README.md is the manual of these commands. */
#include "tests/cases/nodes.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/cases/words.h"

#define SETTLE_MS 120000u
#define CALM_MS   1000u /* settled: for so long nothing has been amiss */

/* ---- reading ----------------------------------------------------------- */

size_t nodes_read_node(struct line *l, uint64_t number)
{
    if (number < 1 || number > NODES_MAX) {
        line_fail(l, "%s: nodes are 1 to %u", l->verb, NODES_MAX);
        return 0;
    }
    return (size_t)number - 1;
}

static bool parse_link(const char *text, size_t *from, size_t *to)
{
    char *end;
    unsigned long first = strtoul(text, &end, 10);
    if (end == text || strncmp(end, "->", 2) != 0)
        return false;
    const char *second = end + 2;
    unsigned long last = strtoul(second, &end, 10);
    *from = first - 1;
    *to = last - 1;
    return end != second && *end == '\0' && first >= 1 && first <= NODES_MAX &&
           last >= 1 && last <= NODES_MAX;
}

/* ---- machines ---------------------------------------------------------- */

/* crash 1; start 1; pause 1; resume 1; hold 1 and release 1: its disk; deafen
 * 1: messages with a ring record do not reach it */
static void run_machine(struct nodes *w, struct line *l)
{
    size_t node = nodes_read_node(l, line_next_u64(l));
    struct nodes_machine *m = &w->machines[node];
    bool is_start = strcmp(l->verb, "start") == 0;
    if (is_start ? m->node != NULL || !m->is_member : m->node == NULL)
        line_fail(l, "%s: node %zu %s", l->verb, node + 1,
                  m->node != NULL ? "runs" : "does not run");
    if (!line_end(l))
        return;
    if (is_start)
        nodes_start(w, node);
    else if (strcmp(l->verb, "crash") == 0)
        nodes_crash(w, node);
    else if (strcmp(l->verb, "pause") == 0)
        m->is_paused = true;
    else if (strcmp(l->verb, "resume") == 0)
        m->is_paused = false;
    else if (strcmp(l->verb, "deafen") == 0)
        m->is_deaf = true;
    else
        m->is_held = strcmp(l->verb, "hold") == 0;
}

/* join 4 */
static void run_join(struct nodes *w, struct line *l)
{
    size_t nodes[NODES_MAX];
    size_t count = 0;
    do {
        size_t node = nodes_read_node(l, line_next_u64(l));
        if (w->machines[node].node != NULL)
            line_fail(l, "join: node %zu runs", node + 1);
        nodes[count++] = node;
    } while (line_has_next(l) && count < NODES_MAX);
    if (!line_end(l))
        return;
    if (!nodes_join(w, nodes, count))
        buf_printf(w->out, "it is not let in\n");
}

/* ---- disks ------------------------------------------------------------- */

static struct nodes_machine *read_stopped(struct nodes *w, struct line *l)
{
    size_t node = nodes_read_node(l, line_next_u64(l));
    struct nodes_machine *m = &w->machines[node];
    if (m->node != NULL || m->store == NULL)
        line_fail(l, "%s: node %zu %s", l->verb, node + 1,
                  m->node != NULL ? "runs" : "has no folder");
    return m;
}

/* backup 3: a copy of its folder; restore 3: the folder is the copy. */
static void run_backup(struct nodes *w, struct line *l)
{
    bool is_restore = strcmp(l->verb, "restore") == 0;
    struct nodes_machine *m = read_stopped(w, l);
    if (is_restore && m->backup == NULL)
        line_fail(l, "restore: there is no backup");
    if (!line_end(l))
        return;
    struct store **old = is_restore ? &m->store : &m->backup;
    if (is_restore)
        store_reader_close(m->reader);
    store_close(*old);
    *old = store_model_copy(is_restore ? m->backup : m->store, m);
    if (is_restore)
        m->reader = store_reader_open(m->store);
}

/* rot 1 payload books at=3: a bit of a row of the group that keeps it, the
 * third, is another; rot 1 lost books: the row of the log is not there. */
static void run_rot(struct nodes *w, struct line *l)
{
    static const struct {
        const char *name;
        enum store_rot kind;
    } kinds[] = {
        {"payload", STORE_ROT_PAYLOAD}, {"log", STORE_ROT_LOG},
        {"state", STORE_ROT_STATE},     {"index", STORE_ROT_INDEX},
        {"meta", STORE_ROT_META},       {"lost", STORE_LOST_LOG},
    };
    const size_t count = sizeof kinds / sizeof kinds[0];
    size_t node = nodes_read_node(l, line_next_u64(l));
    const char *kind = line_next(l);
    const char *name = line_next(l);
    const struct nodes_name *n = name ? nodes_find_name(w, name) : NULL;
    uint64_t at = line_u64(l, "at", 1);
    size_t i = 0;
    while (i < count && kind != NULL && strcmp(kinds[i].name, kind) != 0)
        i++;
    if (i == count || n == NULL || w->machines[node].store == NULL)
        line_fail(l, "rot: a node with a folder, payload, log, state, index, "
                     "meta or lost, and a stream");
    if (!line_end(l))
        return;
    if (!store_model_rot(w->machines[node].store, kinds[i].kind, n->group,
                         at - 1))
        buf_printf(w->out, "there is no such row\n");
}

/* full 1; low 1; empty 1: its disk, as the node hears of it; low: with room
 * for appends, and for no new replica. */
static void run_full(struct nodes *w, struct line *l)
{
    size_t node = nodes_read_node(l, line_next_u64(l));
    struct nodes_machine *m = &w->machines[node];
    if (m->node == NULL)
        line_fail(l, "%s: node %zu does not run", l->verb, node + 1);
    if (!line_end(l))
        return;
    struct store_space space = {.map_bytes = MAP_BYTES_DEFAULT,
                                .disk_bytes = MAP_BYTES_DEFAULT,
                                .disk_free = MAP_BYTES_DEFAULT};
    if (strcmp(l->verb, "full") == 0)
        space.disk_free = FREE_BYTES_MIN / 2;
    else if (strcmp(l->verb, "low") == 0)
        space.map_used = MAP_BYTES_DEFAULT / 100 * (FULL_REPLICAS_PERCENT + 1);
    node_space(m->node, &space);
}

/* ---- the network ------------------------------------------------------- */

/* cut 1->2; cut 1: from and to all others. heal: all of it. */
static void run_cut(struct nodes *w, struct line *l)
{
    const char *word = line_next(l);
    size_t from = 0, to = 0;
    bool is_link = word != NULL && parse_link(word, &from, &to);
    char *end = NULL;
    unsigned long node = word == NULL ? 0 : strtoul(word, &end, 10);
    if (!is_link && (word == NULL || *end != '\0'))
        line_fail(l, "cut: a link like 1->2, or a node");
    size_t alone = is_link ? 0 : nodes_read_node(l, node);
    if (!line_end(l))
        return;
    if (is_link)
        w->is_cut[from][to] = true;
    for (size_t i = 0; !is_link && i < NODES_MAX; i++)
        w->is_cut[i][alone] = w->is_cut[alone][i] = true;
}

static void run_heal(struct nodes *w, struct line *l)
{
    if (line_end(l))
        memset(w->is_cut, 0, sizeof w->is_cut);
}

static struct nodes_tap *find_tap(struct nodes *w, const char *name)
{
    for (size_t i = 0; name != NULL && i < w->tap_count; i++) {
        if (strcmp(w->taps[i].name, name) == 0)
            return &w->taps[i];
    }
    return NULL;
}

/* tap 1->2 x: what goes over that link from now on is copied; untap x */
static void run_tap(struct nodes *w, struct line *l)
{
    bool is_new = strcmp(l->verb, "tap") == 0;
    const char *link = is_new ? line_next(l) : NULL;
    const char *name = line_next(l);
    struct nodes_tap t = {.is_open = true};
    struct nodes_tap *old = find_tap(w, name);
    if (is_new && (link == NULL || !parse_link(link, &t.from, &t.to)))
        line_fail(l, "tap: a link like 1->2 is wanted");
    if (name == NULL || strlen(name) > 20 || is_new == (old != NULL) ||
        w->tap_count == NODES_TAPS_MAX)
        line_fail(l, "%s: a %s short name, at most %u of them", l->verb,
                  is_new ? "new" : "known", NODES_TAPS_MAX);
    if (!line_end(l))
        return;
    if (is_new) {
        (void)snprintf(t.name, sizeof t.name, "%s", name);
        w->taps[w->tap_count++] = t;
    } else {
        old->is_open = false;
    }
}

/* replay x [to=3] [addressed] [early] [stranger] [by_client]: all of it arrives
 * again, perhaps elsewhere, perhaps with the name of its new addressee on it,
 * perhaps from before its sender had heard which process it speaks to, perhaps
 * as if it were another cluster's, perhaps at the door for clients. */
static void run_replay(struct nodes *w, struct line *l)
{
    const size_t cluster_at = 8, to_at = 40, to_nonce_at = 96; /* header */
    const struct nodes_tap *t = find_tap(w, line_next(l));
    if (t == NULL)
        line_fail(l, "replay: what was tapped under that name?");
    uint64_t to = line_u64(l, "to", t == NULL ? 1 : t->to + 1);
    size_t node = nodes_read_node(l, to);
    bool is_stranger = line_flag(l, "stranger");
    bool is_addressed = line_flag(l, "addressed");
    bool is_early = line_flag(l, "early");
    size_t from = line_flag(l, "by_client") ? NODES_MAX : t ? t->from : 0;
    if (!line_end(l))
        return;
    size_t count = t->count;
    for (size_t i = 0; i < count; i++) {
        struct nodes_packet p = nodes_packet_copy(&t->packets[i]);
        if (is_stranger)
            p.bytes.data[cluster_at] ^= 0xff;
        if (is_addressed)
            memcpy(p.bytes.data + to_at, w->machines[node].id.bytes, 16);
        if (is_early)
            memset(p.bytes.data + to_nonce_at, 0, 4);
        nodes_send(w, from, node, 0, &p.bytes);
    }
    buf_printf(w->out, "%s\n", count == 0 ? "nothing" : "sent again");
}

/* ---- time -------------------------------------------------------------- */

static void run_run(struct nodes *w, struct line *l)
{
    uint64_t ms = line_need_u64(l, "ms");
    if (ms == 0 || ms > 10000000)
        line_fail(l, "run: 1 to 10000000 ms");
    if (line_end(l))
        (void)nodes_run(w, w->now_ms + ms, NULL, 0);
}

static bool has_stored(struct nodes *w, uint64_t node)
{
    return w->machines[node].portions > w->machines[node].portions_seen;
}

/* portion 1: until the next portion of applied state is on its disk. */
static void run_portion(struct nodes *w, struct line *l)
{
    size_t node = nodes_read_node(l, line_next_u64(l));
    struct nodes_machine *m = &w->machines[node];
    if (m->node == NULL)
        line_fail(l, "portion: node %zu does not run", node + 1);
    if (!line_end(l))
        return;
    m->portions_seen = m->portions;
    if (!nodes_run(w, w->now_ms + SETTLE_MS, has_stored, node))
        buf_printf(w->out, "it stores none\n");
}

/* A newcomer that runs gets its copies when it is up. */
static bool is_to_come_up(const struct nodes *w, const struct node *n)
{
    const struct record *r = node_record(n);
    for (uint32_t i = 0; i < r->member_count; i++)
        if (r->members[i].seen == SEEN_JOINING &&
            w->machines[nodes_place(w, r->members[i].node)].node != NULL)
            return true;
    return false;
}

/* What is amiss, of any group, as any running node sees it. */
static const char *amiss(const struct nodes *w, size_t *node, uint32_t *group)
{
    for (*node = 0; *node < NODES_MAX; ++*node) {
        const struct node *n = w->machines[*node].node;
        *group = 0;
        if (n != NULL && is_to_come_up(w, n))
            return "a newcomer is not up yet";
        for (*group = 0; n != NULL && *group < NODES_GROUPS; ++*group) {
            const char *reason = node_reason(n, *group);
            if (reason[0] != '\0')
                return reason;
        }
    }
    return NULL;
}

static void run_settle(struct nodes *w, struct line *l)
{
    if (!line_end(l))
        return;
    uint64_t end = w->now_ms + SETTLE_MS;
    uint64_t since = w->now_ms;
    size_t node = 0;
    uint32_t group = 0;
    const char *reason = "";
    while (w->now_ms < end && w->now_ms - since < CALM_MS) {
        (void)nodes_run(w, w->now_ms + 100, NULL, 0);
        reason = amiss(w, &node, &group);
        if (reason != NULL)
            since = w->now_ms;
    }
    if (reason != NULL)
        buf_printf(w->out, "node %zu: group %u: %s\n", node + 1, group, reason);
}

/* ---- questions --------------------------------------------------------- */

static void print_members(const struct nodes *w, const struct config *c,
                          struct buf *out)
{
    for (int is_voter = 1; is_voter >= 0; is_voter--) {
        bool is_first = true;
        for (size_t i = 0; i < NODES_MAX; i++) {
            const struct config_member *m =
                config_find_node(c, w->machines[i].id);
            if (m == NULL || m->is_voter != (is_voter == 1))
                continue;
            const char *word = is_voter == 1 ? ", voters " : ", learners ";
            buf_printf(out, "%s%zu", is_first ? word : ",", i + 1);
            is_first = false;
        }
    }
}

static void print_replica(const struct nodes *w, size_t node, uint32_t group,
                          struct buf *out)
{
    static const char *const roles[] = {
        [RAFT_FOLLOWER] = "follows",
        [RAFT_PRE_CANDIDATE] = "asks whether it may campaign",
        [RAFT_CANDIDATE] = "campaigns",
        [RAFT_LEADER] = "leads",
    };
    const struct node *n = w->machines[node].node;
    const struct raft *r = n == NULL ? NULL : node_raft(n, group);
    buf_printf(out, "node %zu: ", node + 1);
    if (n == NULL) {
        buf_printf(out, "down\n");
    } else if (r == NULL) {
        buf_printf(out, "no replica\n");
    } else {
        buf_printf(out, "%s",
                   raft_has_ended(r) ? "is of a former life"
                                     : roles[raft_role(r)]);
        print_members(w, raft_config(r), out);
        buf_printf(out, "\n");
    }
}

static void print_log(const struct nodes *w, size_t node, uint32_t group,
                      struct buf *out)
{
    const struct node *n = w->machines[node].node;
    const struct raft *r = n == NULL ? NULL : node_raft(n, group);
    if (r != NULL)
        buf_printf(out, "node %zu: entries %llu to %llu\n", node + 1,
                   (unsigned long long)raft_base(r) + 1,
                   (unsigned long long)raft_last(r));
}

static void print_why(const struct nodes *w, size_t node, uint32_t group,
                      struct buf *out)
{
    const struct node *n = w->machines[node].node;
    const char *reason = n == NULL ? "" : node_reason(n, group);
    if (reason[0] != 0)
        buf_printf(out, "node %zu: %s\n", node + 1, reason);
}

/* status films: the group that keeps it; status ring: group 0; status
 * group=3; log films, ring or group=3: what its replicas keep of it; why
 * films, ring or group=3: what they wait for */
static void run_status(struct nodes *w, struct line *l)
{
    uint64_t group = line_u64(l, "group", NODES_GROUPS);
    const char *name = line_next(l);
    const struct nodes_name *n = name ? nodes_find_name(w, name) : NULL;
    void (*print)(const struct nodes *, size_t, uint32_t, struct buf *) =
        strcmp(l->verb, "log") == 0   ? print_log
        : strcmp(l->verb, "why") == 0 ? print_why
                                      : print_replica;
    if (n != NULL)
        group = n->group;
    else if (name != NULL && strcmp(name, "ring") == 0)
        group = 0;
    if (group >= NODES_GROUPS)
        line_fail(l, "%s: of a stream, of the ring, or group=", l->verb);
    if (!line_end(l))
        return;
    for (size_t i = 0; i < NODES_MAX; i++) {
        if (w->machines[i].store != NULL)
            print(w, i, (uint32_t)group, w->out);
    }
}

/* Of each running node: the record that it knows. */
static void run_ring(struct nodes *w, struct line *l)
{
    if (!line_end(l))
        return;
    for (size_t i = 0; i < NODES_MAX; i++) {
        const struct node *n = w->machines[i].node;
        if (n == NULL)
            continue;
        const struct record *r = node_record(n);
        buf_printf(w->out, "node %zu: record %llu", i + 1,
                   (unsigned long long)r->epoch.number);
        if (r->generation.counter > 1)
            buf_printf(w->out, " of generation %u", r->generation.counter);
        buf_printf(w->out, ":");
        for (uint32_t k = 0; k < r->member_count; k++) {
            buf_printf(w->out, "%s %s ", k > 0 ? ";" : "", r->members[k].name);
            print_standing(&r->members[k], w->out);
        }
        buf_printf(w->out, "\n");
    }
}

/* await 4 books segments: until what node 4 waits for in that group has that
 * word in it. */
static void run_await(struct nodes *w, struct line *l)
{
    size_t node = nodes_read_node(l, line_next_u64(l));
    const char *name = line_next(l), *word = line_next(l);
    const struct nodes_name *n = name ? nodes_find_name(w, name) : NULL;
    if (n == NULL || word == NULL || w->machines[node].node == NULL)
        line_fail(l, "await: a node that runs, a stream, a word");
    if (!line_end(l))
        return;
    uint64_t end = w->now_ms + SETTLE_MS;
    while (w->now_ms < end) {
        const char *reason = node_reason(w->machines[node].node, n->group);
        if (strstr(reason, word) != NULL) {
            buf_printf(w->out, "node %zu: %s\n", node + 1, reason);
            return;
        }
        (void)nodes_run(w, w->now_ms + 1, NULL, 0);
    }
    buf_printf(w->out, "it does not\n");
}

/* ---- life -------------------------------------------------------------- */

static void form(struct nodes *w, size_t joined)
{
    struct line settle = {.verb = "settle"};
    nodes_found(w);
    nodes_start(w, 0);
    (void)nodes_run(w, w->now_ms + 2000, NULL, 0);
    for (size_t i = 1; i < joined; i++) {
        if (!nodes_join(w, &i, 1))
            buf_printf(w->out, "node %zu is not let in\n", i + 1);
    }
    run_settle(w, &settle);
}

/* nodes joined=3 [copies=3] [keep=65536] [out_after_ms=900000] */
static void *begin(struct line *l, struct buf *out)
{
    uint64_t joined = line_need_u64(l, "joined");
    uint64_t copies = line_u64(l, "copies", 3);
    uint64_t keep = line_u64(l, "keep", LOG_KEEP_ENTRIES);
    uint64_t out_after = line_u64(l, "out_after_ms", OUT_AFTER_MS);
    if (joined < 1 || joined > NODES_MAX)
        line_fail(l, "nodes: joined=1 to %u", NODES_MAX);
    if (copies < 1 || copies > REPLICATION_MAX)
        line_fail(l, "nodes: copies=1 to %u", REPLICATION_MAX);
    if (keep < 1 || keep > LOG_KEEP_ENTRIES)
        line_fail(l, "nodes: keep=1 to %u", LOG_KEEP_ENTRIES);
    if (out_after < 1000 || out_after > OUT_AFTER_MS)
        line_fail(l, "nodes: out_after_ms=1000 to %u", OUT_AFTER_MS);
    if (!line_end(l))
        return NULL;
    struct nodes *w = mem_alloc(sizeof *w);
    memset(w->cluster.bytes, 0xc1, sizeof w->cluster.bytes);
    w->copies = (uint32_t)copies;
    w->log_keep_entries = (uint32_t)keep;
    w->out_after_ms = (uint32_t)out_after;
    w->now_ms = 1000;
    w->out = out;
    for (size_t i = 0; i < NODES_MAX; i++) {
        w->machines[i].world = w;
        w->machines[i].index = i;
        w->machines[i].id.bytes[0] = (uint8_t)(i + 1);
    }
    form(w, (size_t)joined);
    return w;
}

bool nodes_command(void *world, struct line *l, struct buf *out)
{
    static const struct {
        const char *verb;
        void (*run)(struct nodes *w, struct line *l);
    } commands[] = {
        {"crash", run_machine},  {"start", run_machine},
        {"pause", run_machine},  {"resume", run_machine},
        {"hold", run_machine},   {"release", run_machine},
        {"deafen", run_machine}, {"backup", run_backup},
        {"restore", run_backup}, {"rot", run_rot},
        {"full", run_full},      {"empty", run_full},
        {"low", run_full},       {"why", run_status},
        {"await", run_await},    {"join", run_join},
        {"cut", run_cut},        {"heal", run_heal},
        {"tap", run_tap},        {"untap", run_tap},
        {"replay", run_replay},  {"portion", run_portion},
        {"run", run_run},        {"settle", run_settle},
        {"status", run_status},  {"log", run_status},
        {"ring", run_ring},
    };
    struct nodes *w = world;
    w->out = out;
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(l->verb, commands[i].verb) == 0) {
            commands[i].run(w, l);
            return true;
        }
    }
    return nodes_ask(w, l);
}

static void end(void *world)
{
    nodes_end(world);
}

const struct world_kind world_nodes = {"nodes", begin, nodes_command, end};
