/* gossip.c - the world of a gossiping cluster: machines of ring/swim.h in
 * virtual time, on a network that takes a millisecond and loses nothing but
 * what is cut. */
#include <stdlib.h>

#include "ring/swim_wire.h"
#include "tests/cases/world.h"
#include "tests/unit/swim_record.h"

#define NODES_MAX   16u
#define PACKETS_MAX 4096u

struct gossip_packet {
    size_t from, to;
    uint64_t at_ms;
    struct buf bytes;
};

struct gossip {
    size_t count;
    uint64_t now_ms;
    struct swim *nodes[NODES_MAX]; /* NULL: not running */
    uint64_t boots[NODES_MAX];
    bool is_paused[NODES_MAX];
    bool is_cut[NODES_MAX][NODES_MAX];
    struct gossip_packet packets[PACKETS_MAX];
    size_t packet_count;
    bool is_quiet;
};

/* ---- machines ---------------------------------------------------------- */

static void start(struct gossip *g, size_t node)
{
    struct swim *s = mem_alloc(sizeof *s);
    char address[48];
    format_address(node, address);
    struct swim_cfg cfg = swim_cfg_default();
    cfg.id = id_of(node);
    cfg.boot = ++g->boots[node];
    cfg.address = span_str(address);
    cfg.seed = 1000 * cfg.boot + node;
    cfg.jitter_ms = 0;
    cfg.now_ms = g->now_ms;
    swim_init(s, &cfg);
    set_record(s, g->count);
    g->nodes[node] = s;
}

static void stop(struct gossip *g, size_t node)
{
    swim_free(g->nodes[node]);
    mem_free(g->nodes[node]);
    g->nodes[node] = NULL;
}

static void send(struct gossip *g, size_t from, const struct swim_effect *e)
{
    size_t to = node_of(e->id);
    if (g->is_cut[from][to] || g->packet_count == PACKETS_MAX)
        return;
    struct gossip_packet *p = &g->packets[g->packet_count++];
    *p = (struct gossip_packet){from, to, g->now_ms + 1, {0}};
    buf_append(&p->bytes, e->bytes.data, e->bytes.size);
}

static void drain(struct gossip *g, size_t node, struct buf *out)
{
    struct swim_effect e;
    while (swim_pop(g->nodes[node], &e)) {
        if (e.kind == SWIM_SEND)
            send(g, node, &e);
        else if (!g->is_quiet)
            buf_printf(out, "%llu ms: node %zu thinks %zu is %s\n",
                       (unsigned long long)g->now_ms, node + 1,
                       node_of(e.id) + 1, swim_state_name(e.state));
    }
    swim_check(g->nodes[node]);
}

static bool is_awake(const struct gossip *g, size_t node)
{
    return g->nodes[node] != NULL && !g->is_paused[node];
}

static void tick(struct gossip *g, size_t node, struct buf *out)
{
    if (is_awake(g, node) && swim_deadline(g->nodes[node]) <= g->now_ms) {
        swim_tick(g->nodes[node], g->now_ms);
        drain(g, node, out);
    }
}

static void hand(struct gossip *g, const struct gossip_packet *p,
                 struct buf *out)
{
    if (g->nodes[p->to] == NULL)
        return;
    swim_tick(g->nodes[p->to], g->now_ms);
    drain(g, p->to, out);
    enum err err =
        swim_recv(g->nodes[p->to], id_of(p->from), span_buf(&p->bytes));
    ASSERT(err == ERR_OK);
    drain(g, p->to, out);
}

/* Packets to a paused node wait. */
static void arrive(struct gossip *g, struct buf *out)
{
    for (size_t i = 0; i < g->packet_count;) {
        struct gossip_packet p = g->packets[i];
        if (p.at_ms > g->now_ms || g->is_paused[p.to]) {
            i++;
            continue;
        }
        g->packet_count--;
        memmove(g->packets + i, g->packets + i + 1,
                (g->packet_count - i) * sizeof *g->packets);
        hand(g, &p, out);
        buf_free(&p.bytes);
    }
}

/* ---- commands ---------------------------------------------------------- */

static size_t read_node(const struct gossip *g, struct line *l, uint64_t number)
{
    if (number < 1 || number > g->count) {
        line_fail(l, "%s: nodes are 1 to %zu", l->verb, g->count);
        return 0;
    }
    return (size_t)number - 1;
}

/* run ms=5000 [quietly] */
static void run_run(struct gossip *g, struct line *l, struct buf *out)
{
    uint64_t ms = line_need_u64(l, "ms");
    g->is_quiet = line_flag(l, "quietly");
    if (ms > 10000000)
        line_fail(l, "run: at most 10000000 ms");
    if (!line_end(l))
        return;
    for (uint64_t end = g->now_ms + ms; g->now_ms < end; g->now_ms++) {
        arrive(g, out);
        for (size_t i = 0; i < g->count; i++)
            tick(g, i, out);
    }
    g->is_quiet = false;
}

static void run_kill(struct gossip *g, struct line *l, struct buf *out)
{
    size_t node = read_node(g, l, line_next_u64(l));
    bool is_start = strcmp(l->verb, "start") == 0;
    (void)out;
    if ((g->nodes[node] == NULL) != is_start)
        line_fail(l, "%s: it %s", l->verb, is_start ? "runs" : "does not run");
    if (!line_end(l))
        return;
    if (is_start)
        start(g, node);
    else
        stop(g, node);
}

static void run_pause(struct gossip *g, struct line *l, struct buf *out)
{
    size_t node = read_node(g, l, line_next_u64(l));
    (void)out;
    if (line_end(l))
        g->is_paused[node] = strcmp(l->verb, "pause") == 0;
}

/* cut 1->2; cut 3: from and to all; heal */
static void run_cut(struct gossip *g, struct line *l, struct buf *out)
{
    const char *word = line_next(l);
    char *end = NULL;
    (void)out;
    size_t from = read_node(g, l, word ? strtoul(word, &end, 10) : 0);
    bool is_link = end != NULL && strncmp(end, "->", 2) == 0;
    size_t to = read_node(g, l, is_link ? strtoul(end + 2, &end, 10) : 1);
    if (end == NULL || *end != '\0')
        line_fail(l, "cut: a link like 1->2, or a node");
    if (!line_end(l))
        return;
    if (is_link)
        g->is_cut[from][to] = true;
    for (size_t i = 0; !is_link && i < g->count; i++)
        g->is_cut[i][from] = g->is_cut[from][i] = true;
}

static void run_heal(struct gossip *g, struct line *l, struct buf *out)
{
    (void)out;
    if (line_end(l))
        memset(g->is_cut, 0, sizeof g->is_cut);
}

/* tell 1 from=3 boot=7 [about=2 state=dead about_boot=1 about_version=0]: a
 * packet made by hand. */
static void run_tell(struct gossip *g, struct line *l, struct buf *out)
{
    size_t to = read_node(g, l, line_next_u64(l));
    size_t from = read_node(g, l, line_need_u64(l, "from"));
    uint64_t about = line_u64(l, "about", 0);
    struct swim_packet packet = {.kind = SWIM_ACK, .seq = 1};
    packet.sender.boot = line_u64(l, "boot", g->boots[from]);
    packet.sender.version = (uint32_t)line_u64(l, "version", 1);
    packet.sender.state = SWIM_ALIVE;
    char address[48];
    format_address(from, address);
    packet.sender.address = span_str(address);
    struct swim_claim claim = {
        .id = id_of(read_node(g, l, about > 0 ? about : 1)),
        .boot = line_u64(l, "about_boot", 1),
        .version = (uint32_t)line_u64(l, "about_version", 0),
        .by = id_of(from)};
    claim.state = (enum swim_state)line_choice(
        l, "state", "unseen alive suspect dead", SWIM_ALIVE);
    if (g->nodes[to] == NULL)
        line_fail(l, "tell: node %zu does not run", to + 1);
    if (!line_end(l))
        return;
    uint8_t bytes[SWIM_BYTES_MAX];
    struct enc e = enc_of(bytes, sizeof bytes);
    swim_wire_head(&e, &packet);
    if (about > 0)
        swim_wire_claim(&e, &claim);
    struct gossip_packet p = {from, to, 0, {0}};
    buf_append(&p.bytes, bytes, e.size);
    hand(g, &p, out);
    buf_free(&p.bytes);
}

/* Of each running node, what it thinks. */
static void run_status(struct gossip *g, struct line *l, struct buf *out)
{
    if (!line_end(l))
        return;
    for (size_t i = 0; i < g->count; i++) {
        if (g->nodes[i] == NULL)
            continue;
        buf_printf(out, "node %zu:", i + 1);
        for (size_t k = 0; k < g->count; k++) {
            if (k != i)
                buf_printf(out, " %zu %s", k + 1,
                           swim_state_name(swim_state(g->nodes[i], id_of(k))));
        }
        buf_printf(out, "\n");
    }
}

/* member 1 of=3: the incarnation that it knows, and the address. */
static void run_member(struct gossip *g, struct line *l, struct buf *out)
{
    size_t node = read_node(g, l, line_next_u64(l));
    size_t of = read_node(g, l, line_need_u64(l, "of"));
    if (g->nodes[node] == NULL || of == node)
        line_fail(l, "member: another one, asked of one that runs");
    if (!line_end(l))
        return;
    const struct swim_member *m = swim_member(g->nodes[node], id_of(of));
    buf_printf(out, "%zu is %s, boot %llu, version %u\n", of + 1,
               swim_state_name(m->state), (unsigned long long)m->boot,
               m->version);
}

static void run_health(struct gossip *g, struct line *l, struct buf *out)
{
    if (!line_end(l))
        return;
    for (size_t i = 0; i < g->count; i++) {
        if (g->nodes[i] != NULL)
            buf_printf(out, "node %zu: health %u of %u\n", i + 1,
                       g->nodes[i]->health, SWIM_HEALTH_MAX);
    }
}

/* ---- life -------------------------------------------------------------- */

static void end(void *world)
{
    struct gossip *g = world;
    for (size_t i = 0; i < g->count; i++) {
        if (g->nodes[i] != NULL)
            stop(g, i);
    }
    for (size_t i = 0; i < g->packet_count; i++)
        buf_free(&g->packets[i].bytes);
    mem_free(g);
}

/* gossip nodes=5: they know of each other, and have met. */
static void *begin(struct line *l, struct buf *out)
{
    uint64_t count = line_need_u64(l, "nodes");
    if (count < 2 || count > NODES_MAX)
        line_fail(l, "gossip: 2 to %u nodes", NODES_MAX);
    if (!line_end(l))
        return NULL;
    struct gossip *g = mem_alloc(sizeof *g);
    g->count = (size_t)count;
    g->is_quiet = true;
    for (size_t i = 0; i < g->count; i++)
        start(g, i);
    for (; g->now_ms < 30000; g->now_ms++) {
        arrive(g, out);
        for (size_t i = 0; i < g->count; i++)
            tick(g, i, out);
    }
    g->is_quiet = false;
    return g;
}

static bool run(void *world, struct line *l, struct buf *out)
{
    static const struct {
        const char *verb;
        void (*run)(struct gossip *g, struct line *l, struct buf *out);
    } commands[] = {
        {"run", run_run},       {"kill", run_kill},     {"start", run_kill},
        {"pause", run_pause},   {"resume", run_pause},  {"cut", run_cut},
        {"heal", run_heal},     {"tell", run_tell},     {"status", run_status},
        {"member", run_member}, {"health", run_health},
    };
    struct gossip *g = world;
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(l->verb, commands[i].verb) == 0) {
            commands[i].run(g, l, out);
            return true;
        }
    }
    return false;
}

const struct world_kind world_gossip = {"gossip", begin, run, end};
