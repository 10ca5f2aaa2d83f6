/* door.c - knocks at a node's two ports with any key and any bytes.
 *
 * For the tests with real processes: what the CLI would never send. A node is
 * named by its data folder (for its public key) and the address of a port.
 *
 *   door key LIKE OUT [other]       a stranger's key file: the cluster and
 *                                   contacts of LIKE, or another cluster
 *   door hello KEY DIR HOST:PORT    who answers on this client port: its id
 *   door status KEY DIR HOST:PORT   its view of itself, as shell assignments
 *   door groups KEY DIR HOST:PORT   a line for each of its groups: number,
 *                                   leader|follower, ready|-, voters,
 *                                   learners, lag (commit less than the
 *                                   lowest match; leaders only), term
 *   door peer KEY DIR HOST:PORT FROM TO BOOT COUNT
 *                                   COUNT messages between nodes, without
 *                                   frames: from the node of id FROM, in boot
 *                                   BOOT, to the node of id TO
 *   door frame KEY DIR HOST:PORT FROM TO BOOT COUNT
 *                                   the same with one frame that makes no
 *                                   sense
 *   door garbage KEY DIR HOST:PORT SEED COUNT
 *                                   COUNT messages of chance: bytes, headers
 *                                   that promise too much, requests cut short
 *
 * Exit 0; 1 if nobody answered in time; 2 for wrong usage. */
#define _GNU_SOURCE /* nanosleep beside <time.h>'s clocks */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "net/keys.h"
#include "net/links.h"
#include "net/status.h"

#define ANSWER_MS 3000
#define LINGER_MS 300 /* for what was sent to leave the process */

struct door {
    struct keys key;
    uint8_t server_key[KEY_BYTES];
    struct links *links;
    struct blob *answer; /* the last one */
    struct id128 node;   /* who answered HELLO */
};

static int die(const char *what, const char *why)
{
    (void)fprintf(stderr, "door: %s: %s\n", what, why);
    return 1;
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

static bool open_door(struct door *d, const char *key_file, const char *dir,
                      const char *address)
{
    char reason[KEYS_REASON_SIZE];
    char path[4096];
    struct keys node;
    struct id128 any = {{0}};
    if (keys_read(key_file, any, &d->key, reason) != ERR_OK)
        return die(key_file, reason) == 0;
    (void)snprintf(path, sizeof path, "%s/keys/node.key", dir);
    if (keys_read(path, any, &node, reason) != ERR_OK)
        return die(path, reason) == 0;
    memcpy(d->server_key, node.public_key, KEY_BYTES);
    keys_wipe(&node);
    struct links_cfg cfg = {.is_insecure = false};
    memcpy(cfg.public_key, d->key.public_key, KEY_BYTES);
    memcpy(cfg.secret_key, d->key.secret_key, KEY_BYTES);
    if (links_open(&cfg, &d->links, reason) != ERR_OK)
        return die("sockets", reason) == 0;
    if (!links_set(d->links, 0, address, d->server_key))
        return die(address, "no address") == 0;
    return true;
}

static void forget_answer(struct door *d)
{
    if (d->answer != NULL)
        blob_unref(d->answer);
    d->answer = NULL;
}

static void close_door(struct door *d)
{
    forget_answer(d);
    links_close(d->links);
    keys_wipe(&d->key);
}

/* Sends, and waits a little now and then: the queue is short, and what is in
 * it when the process ends is lost. */
static void send_all(struct door *d, struct wire_out *o)
{
    uint32_t link;
    struct blob *blob;
    /* Before, not after: the answer to this one may be quick. */
    while (links_recv(d->links, &link, &blob))
        blob_unref(blob); /* whatever it says of earlier ones */
    uint64_t until = now_ms() + ANSWER_MS;
    while (!links_send(d->links, 0, o) && now_ms() < until)
        links_wait(d->links, 10, NULL, 0, NULL);
}

static void linger(void)
{
    struct timespec t = {0, LINGER_MS * 1000000L};
    (void)nanosleep(&t, NULL);
}

/* ---- questions --------------------------------------------------------- */

static bool ask(struct door *d, const struct request *r, struct response *out)
{
    struct wire_header h = {
        .kind = WIRE_REQUEST,
        .cluster = d->key.cluster,
        .to = d->node,
        .number = (uint64_t)r->op,
    };
    struct wire_out o = {0};
    wire_begin(&o, &h);
    wire_request_write(&o, r);
    wire_end(&o);
    send_all(d, &o);
    wire_out_free(&o);
    uint64_t until = now_ms() + ANSWER_MS;
    while (now_ms() < until) {
        uint32_t link;
        struct wire_in in;
        links_wait(d->links, 50, NULL, 0, NULL);
        forget_answer(d);
        if (!links_recv(d->links, &link, &d->answer))
            continue;
        if (wire_read(blob_span(d->answer), &in) == ERR_OK &&
            in.header.kind == WIRE_RESPONSE &&
            in.header.number == (uint64_t)r->op)
            return wire_response_read(&in, out) == ERR_OK && out->err == ERR_OK;
    }
    return false;
}

static bool hello(struct door *d)
{
    struct request r = {.op = OP_HELLO};
    struct response answer;
    if (!ask(d, &r, &answer))
        return false;
    d->node = answer.node;
    return true;
}

static int say_hello(struct door *d)
{
    char id[33];
    if (!hello(d))
        return die("hello", "no answer");
    id_format(d->node, id);
    (void)printf("%s\n", id);
    return 0;
}

static bool fetch_status(struct door *d, struct span *bytes, struct status *s)
{
    struct request r = {.op = OP_STATUS};
    struct response answer;
    if (!hello(d) || !ask(d, &r, &answer))
        return false;
    *bytes = answer.bytes;
    return status_read(answer.bytes, s) == ERR_OK;
}

static uint64_t lowest_match(const struct status_group *g)
{
    uint64_t lowest = UINT64_MAX;
    for (uint32_t i = 0; i < g->replica_count; i++)
        lowest = min_u64(lowest, g->replicas[i].match);
    return lowest;
}

static uint32_t voters(const struct status_group *g)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < g->replica_count; i++)
        count += g->replicas[i].is_voter;
    return count;
}

static int print_status(struct door *d)
{
    struct span bytes;
    struct status s;
    if (!fetch_status(d, &bytes, &s))
        return die("status", "no answer");
    struct dec at = dec_of(bytes);
    struct status_group g;
    unsigned groups = 0;
    unsigned leaders = 0; /* of partitions, with an own-term commit */
    while (status_next_group(&at, &g)) {
        groups++;
        leaders += g.group != 0 && g.is_leader && g.is_ready;
    }
    struct status_member m;
    unsigned dead = 0;
    at = dec_of(bytes);
    while (status_next_member(&at, &m))
        dead += m.state == SWIM_DEAD;
    char id[33];
    id_format(s.node, id);
    (void)printf("id=%s boot=%llu is_full=%d is_ready=%d groups=%u leaders=%u "
                 "dead=%u dropped=%llu commits=%llu appends=%llu reads=%llu "
                 "record=%llu\n",
                 id, (unsigned long long)s.boot, s.is_full, s.is_ready, groups,
                 leaders, dead, (unsigned long long)s.dropped,
                 (unsigned long long)s.commits, (unsigned long long)s.appends,
                 (unsigned long long)s.reads,
                 (unsigned long long)s.epoch.number);
    return 0;
}

static int print_groups(struct door *d)
{
    struct span bytes;
    struct status s;
    if (!fetch_status(d, &bytes, &s))
        return die("status", "no answer");
    struct dec at = dec_of(bytes);
    struct status_group g;
    while (status_next_group(&at, &g)) {
        uint64_t lag = g.commit - min_u64(g.commit, lowest_match(&g));
        (void)printf("%u %s %s %u %u %llu %llu\n", g.group,
                     g.is_leader ? "leader" : "follower",
                     g.is_ready ? "ready" : "-", voters(&g),
                     g.replica_count - voters(&g),
                     g.is_leader ? (unsigned long long)lag : 0,
                     (unsigned long long)g.term);
    }
    return 0;
}

/* ---- what a node must not heed ----------------------------------------- */

/* Two ways: without frames a message counts only if its header is refused;
 * with a bad one it counts once it has been let in, too. */
static int send_peer(struct door *d, char **argv, bool is_framed)
{
    struct wire_header h = {
        .kind = WIRE_PEER_CONTROL, .cluster = d->key.cluster, .number = 1};
    if (!id_parse(span_str(argv[0]), &h.from) ||
        !id_parse(span_str(argv[1]), &h.to))
        return 2;
    h.boot = strtoull(argv[2], NULL, 10);
    unsigned long count = strtoul(argv[3], NULL, 10);
    struct wire_out o = {0};
    wire_begin(&o, &h);
    if (is_framed) {
        /* Of a kind that does not exist, with an empty body. */
        uint8_t frame[12] = {0};
        struct enc e = enc_of(frame, sizeof frame);
        enc_u32(&e, 0);
        enc_u32(&e, 0);
        enc_u16(&e, 63);
        enc_u16(&e, 0);
        buf_append(&o.bytes, frame, sizeof frame);
    }
    wire_end(&o);
    for (unsigned long i = 0; i < count; i++)
        send_all(d, &o);
    wire_out_free(&o);
    linger();
    return 0;
}

static void random_bytes(struct rng *chance, struct buf *out, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)rng_next(chance);
        buf_append(out, &byte, 1);
    }
}

/* A request, or a message between nodes, that begins well. */
static void half_sense(struct door *d, struct rng *chance, struct wire_out *o)
{
    struct wire_header h = {
        .kind = rng_chance(chance, 500) ? WIRE_REQUEST : WIRE_PEER_CONTROL,
        .cluster = d->key.cluster,
        .from = d->node,
        .to = d->node,
        .number = rng_next(chance),
    };
    wire_begin(o, &h);
    struct request r = {.op = OP_OPEN,
                        .group = (uint32_t)rng_below(chance, 300),
                        .name = span_str("garbage")};
    wire_request_write(o, &r);
    random_bytes(chance, &o->bytes, rng_below(chance, 64));
    wire_end(o);
    if (rng_chance(chance, 500)) /* an inline part longer than the message */
        random_bytes(chance, &o->bytes, 1);
    size_t at = rng_below(chance, o->bytes.size);
    if (at >= WIRE_HEADER_BYTES && rng_chance(chance, 500))
        o->bytes.size = at; /* our own sockets send no less than a header */
    else
        o->bytes.data[at] ^= (uint8_t)(1u << rng_below(chance, 8));
}

static int send_garbage(struct door *d, char **argv)
{
    struct rng chance;
    rng_seed(&chance, strtoull(argv[0], NULL, 10));
    unsigned long count = strtoul(argv[1], NULL, 10);
    (void)hello(d); /* a peer port does not answer */
    for (unsigned long i = 0; i < count; i++) {
        struct wire_out o = {0};
        if (rng_chance(&chance, 300))
            random_bytes(&chance, &o.bytes,
                         WIRE_HEADER_BYTES + rng_below(&chance, 2000));
        else
            half_sense(d, &chance, &o);
        send_all(d, &o);
        wire_out_free(&o);
    }
    linger();
    return 0;
}

/* ---- keys -------------------------------------------------------------- */

static int make_key(const char *like, const char *out, bool is_other)
{
    char reason[KEYS_REASON_SIZE];
    struct keys model;
    struct keys made;
    struct id128 cluster = {{0}};
    if (keys_read(like, cluster, &model, reason) != ERR_OK)
        return die(like, reason);
    cluster = model.cluster;
    if (is_other)
        keys_random(&cluster, sizeof cluster);
    keys_generate(&made, cluster);
    made.contact_count = model.contact_count;
    memcpy(made.contacts, model.contacts, sizeof made.contacts);
    enum err e = keys_write(out, &made, reason);
    keys_wipe(&model);
    keys_wipe(&made);
    return e == ERR_OK ? 0 : die(out, reason);
}

static int at_door(struct door *d, int argc, char **argv)
{
    const char *what = argv[1];
    if (strcmp(what, "hello") == 0)
        return say_hello(d);
    if (strcmp(what, "status") == 0)
        return print_status(d);
    if (strcmp(what, "groups") == 0)
        return print_groups(d);
    if (strcmp(what, "peer") == 0 && argc == 9)
        return send_peer(d, argv + 5, false);
    if (strcmp(what, "frame") == 0 && argc == 9)
        return send_peer(d, argv + 5, true);
    if (strcmp(what, "garbage") == 0 && argc == 7)
        return send_garbage(d, argv + 5);
    (void)fprintf(stderr, "door: usage: see the head of door.c\n");
    return 2;
}

int main(int argc, char **argv)
{
    if (keys_init() != ERR_OK)
        return die("keys", "the system gives no randomness");
    if (argc >= 4 && strcmp(argv[1], "key") == 0)
        return make_key(argv[2], argv[3],
                        argc == 5 && strcmp(argv[4], "other") == 0);
    if (argc < 5) {
        (void)fprintf(stderr, "door: usage: see the head of door.c\n");
        return 2;
    }
    struct door d = {0};
    int code =
        open_door(&d, argv[2], argv[3], argv[4]) ? at_door(&d, argc, argv) : 1;
    close_door(&d);
    return code;
}
