/* ring.c - see ring.h. */
#include "tests/power/ring.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/cluster/content.h"
#include "tests/power/audit.h"
#include "tests/power/loss.h"

#define STREAMS_MAX 256u
#define JOBS        2u
#define SEED        1u
#define MAP_BYTES   ((uint64_t)4 << 30)
#define NO_CONTENT  UINT64_MAX
/* For disks and nodes that break their word. */
#define NOTICED_COUNT    12u
#define TOO_EARLY_EVENTS 200u

/* Of (stream, seq): life << 32 | number. */
struct ack {
    size_t at; /* so many events had happened */
    unsigned stream;
    uint64_t seq;
    uint64_t content;
};
struct ring {
    unsigned nodes;
    struct ack *acks;
    size_t count, capacity;
};

/* What one rebuilt folder holds. */
struct shelf {
    uint64_t *content; /* by seq */
    size_t count;
};
struct last {
    uint64_t term;
    uint64_t index; /* 0: no such replica */
};
struct node_held {
    struct shelf shelves[STREAMS_MAX];
    uint32_t group_of[STREAMS_MAX]; /* 0: never seen */
    struct last last[GROUPS_MAX];
    uint32_t group; /* being replayed */
    struct buf scratch;
    const char *wrong; /* a segment that nobody has appended */
};

/* ---- acknowledgements -------------------------------------------------- */

static void add_ack(struct ring *r, struct ack ack)
{
    if (r->count == r->capacity) {
        r->capacity = r->capacity * 2 + 1024;
        r->acks = mem_resize(r->acks, r->capacity * sizeof *r->acks);
    }
    r->acks[r->count++] = ack;
}

/* Lines "STREAM SEQ LIFE NUMBER". */
static void read_acks(struct ring *r, const struct tape_event *e, size_t at)
{
    char *text = mem_alloc((size_t)e->size + 1);
    memcpy(text, e->bytes, (size_t)e->size);
    for (char *line = strtok(text, "\n"); line != NULL;
         line = strtok(NULL, "\n")) {
        unsigned stream;
        unsigned long long seq, life, number;
        if (sscanf(line, "%u %llu %llu %llu", &stream, &seq, &life, &number) ==
                4 &&
            stream < STREAMS_MAX)
            add_ack(r, (struct ack){at, stream, seq, life << 32 | number});
    }
    mem_free(text);
}

/* ---- what a folder holds ------------------------------------------------ */

static void put_on_shelf(struct shelf *s, uint64_t seq, uint64_t content)
{
    if (seq >= s->count) {
        s->content = mem_resize(s->content, (seq + 1) * sizeof *s->content);
        while (s->count <= seq)
            s->content[s->count++] = NO_CONTENT;
    }
    s->content[seq] = content;
}

static void note_segment(void *ctx, const struct audit_segment *s)
{
    struct node_held *h = ctx;
    char name[32] = {0};
    unsigned stream, claimed;
    uint64_t life, number;
    memcpy(name, s->stream.data, min_u64(s->stream.size, sizeof name - 1));
    if (sscanf(name, "rec/%u", &stream) != 1 || stream >= STREAMS_MAX)
        return;
    if (!content_read(s->bytes, &claimed, &life, &number, &h->scratch) ||
        claimed != stream) {
        h->wrong = "a segment that nobody has appended";
        return;
    }
    h->group_of[stream] = h->group;
    put_on_shelf(&h->shelves[stream], s->seq, life << 32 | number);
}

static enum err read_replicas(struct node_held *h, struct store *s,
                              const struct audit *a)
{
    struct store_reader *reader = store_reader_open(s);
    enum err err = reader == NULL ? ERR_IO : ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < a->count; i++) {
        const struct audit_replica *r = &a->replicas[i];
        h->group = r->group;
        h->last[r->group].index = r->last_index;
        if (r->run_count > 0)
            h->last[r->group].term = r->runs[r->run_count - 1].term;
        err = audit_segments(reader, r, note_segment, h);
    }
    store_reader_close(reader);
    return err;
}

static struct node_held *read_folder(const char *folder, struct buf *why)
{
    struct node_held *h = mem_alloc(sizeof *h);
    struct store_lmdb_cfg cfg = {.path = folder, .map_bytes = MAP_BYTES};
    struct store *s;
    struct audit audit;
    const char *place = "it does not open";
    enum err err = store_lmdb_open(&cfg, &s);
    if (err == ERR_OK) {
        place = "it does not load";
        err = audit_read(s, &audit);
    }
    if (err == ERR_OK) {
        place = "a log is not whole";
        err = read_replicas(h, s, &audit);
        audit_free(&audit);
    }
    if (err == ERR_OK && h->wrong == NULL)
        return h;
    buf_printf(why, "%s: %s: %s", folder, err == ERR_OK ? "it holds" : place,
               err == ERR_OK ? h->wrong : err_name(err));
    return NULL; /* the process ends with this */
}

/* ---- judging ----------------------------------------------------------- */

/* Raft's rule (paper, 5.4.1): the log is at least as new as a majority's. */
static bool can_lead(struct node_held *const *held, unsigned nodes, unsigned n,
                     uint32_t group)
{
    const struct last *own = &held[n]->last[group];
    unsigned votes = 0;
    for (unsigned i = 0; i < nodes; i++) {
        const struct last *other = &held[i]->last[group];
        votes += own->term > other->term ||
                 (own->term == other->term && own->index >= other->index);
    }
    return own->index > 0 && votes > nodes / 2;
}

static bool has_it(const struct node_held *h, const struct ack *a)
{
    const struct shelf *s = &h->shelves[a->stream];
    return a->seq < s->count && s->content[a->seq] == a->content;
}

static bool is_kept(struct node_held *const *held, unsigned nodes,
                    const struct ack *a, struct buf *why)
{
    uint32_t group = 0;
    for (unsigned n = 0; n < nodes; n++)
        group = group == 0 ? held[n]->group_of[a->stream] : group;
    for (unsigned n = 0; n < nodes; n++) {
        if (group != 0 &&
            (has_it(held[n], a) || !can_lead(held, nodes, n, group)))
            continue;
        buf_printf(why,
                   "segment %llu of stream %u was acknowledged, and node %u "
                   "could lead without it",
                   (unsigned long long)a->seq, a->stream, n + 1);
        return false;
    }
    return true;
}

/* Nothing is freed: the process ends with the judgement. */
static bool judge_ring(void *ctx, const char *const *folders, size_t cut,
                       struct rng *chance, struct buf *why)
{
    const struct ring *r = ctx;
    struct node_held *held[LOSS_NODES_MAX];
    (void)chance;
    for (unsigned n = 0; n < r->nodes; n++) {
        held[n] = read_folder(folders[n], why);
        if (held[n] == NULL)
            return false;
    }
    for (size_t i = 0; i < r->count && r->acks[i].at <= cut; i++)
        if (!is_kept(held, r->nodes, &r->acks[i], why))
            return false;
    return true;
}

/* ---- a tape ------------------------------------------------------------ */

static int judge_tape(struct ring *r, const struct tape *t, size_t count,
                      const char *scratch)
{
    struct loss_plan p = {
        .tape = t,
        .nodes = r->nodes,
        .lie = DISK_IS_HONEST,
        .seed = SEED,
        .from = r->acks[0].at,
        .count = count,
        .jobs = JOBS,
        .scratch = scratch,
        .judge = judge_ring,
        .ctx = r,
    };
    (void)printf("   power: a tape of %u nodes: %zu events, %zu MiB, %zu "
                 "segments acknowledged\n",
                 r->nodes, t->count, t->size >> 20, r->count);
    int status = loss_claim("all nodes at once", loss_run(&p));
    p.count = NOTICED_COUNT;
    p.is_quiet = true;
    p.lie = DISK_FORGETS_SYNCS;
    status |= loss_claim_noticed("disks that forget fdatasync", loss_run(&p));
    p.lie = DISK_IS_HONEST;
    for (size_t i = 0; i < r->count; i++)
        r->acks[i].at -= min_u64(r->acks[i].at, TOO_EARLY_EVENTS);
    status |= loss_claim_noticed("acknowledgements that come too early",
                                 loss_run(&p));
    return status;
}

int ring_run(const char *tape_path, unsigned nodes, size_t count,
             const char *scratch)
{
    struct tape t;
    const char *why;
    struct ring r = {.nodes = nodes};
    if (nodes == 0 || nodes > LOSS_NODES_MAX)
        return 2;
    if (!tape_read(&t, tape_path, &why)) {
        (void)printf("not ok power: %s: %s\n", tape_path, why);
        return 1;
    }
    for (size_t i = 0; i < t.count; i++)
        if (t.events[i].kind == TAPE_MARK)
            read_acks(&r, &t.events[i], i + 1);
    int status = 1;
    if (r.count == 0)
        (void)printf("not ok power: nothing was acknowledged\n");
    else
        status = judge_tape(&r, &t, count, scratch);
    mem_free(r.acks);
    tape_free(&t);
    return status;
}
