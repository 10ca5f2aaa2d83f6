/* node_boots.c - which process of a peer is the one to be heard (S6, T15).
 *
 * Every start of a node commits a boot number before its first message and
 * draws a nonce; each message bears both. Of each peer the highest boot ever
 * heard is remembered, with its nonce, over our own restarts too. Whatever
 * comes of a lower boot, or of this one with another nonce, is of a former
 * life, of a folder that was restored from a backup, or of a copy of one: it
 * is dropped silently. Its HELLO alone is answered, by a FORGOTTEN that names
 * exactly the boot and nonce it bore, so that a stale HELLO of a healthy
 * node's former life harms nobody (T15).
 *
 * Each message names the process that it is for as well, the newest that was
 * heard: an answer to the one is none to another (a vote, an echo of a round),
 * though both may stand at one address.
 *
 * Stored as one row: for each peer id 16, boot u64, nonce u32, in the order of
 * the members. It is lazy: what a crash forgets of it is as if the last message
 * had been lost. */
#include "node/node_impl.h"

#define BOOT_BYTES (16u + 8u + 4u)

static_assert(MEMBERS_MAX * BOOT_BYTES <= STORE_BOOTS_BYTES_MAX,
              "all peers' boots fit their row");

enum err node_boots_load(void *ctx, struct span bytes)
{
    struct node *n = ctx;
    if (bytes.size % BOOT_BYTES != 0)
        return ERR_DAMAGED;
    if (RULE(S6C))
        buf_append(&n->boots, bytes.data, bytes.size);
    return ERR_OK;
}

/* The highest boot of a node in these rows, if that is above *boot. */
static void find_boot(const struct buf *rows, struct id128 node, uint64_t *boot,
                      uint32_t *nonce)
{
    struct dec d = dec_of(span_buf(rows));
    while (dec_left(&d) > 0) {
        struct id128 id = dec_id(&d);
        uint64_t row_boot = dec_u64(&d);
        uint32_t row_nonce = dec_u32(&d);
        if (!id_equal(id, node) || row_boot <= *boot)
            continue;
        *boot = row_boot;
        *nonce = row_nonce;
    }
}

static void put_boot(struct buf *out, struct id128 node, uint64_t boot,
                     uint32_t nonce)
{
    if (boot == 0)
        return;
    struct enc e = enc_of(buf_grow(out, BOOT_BYTES), BOOT_BYTES);
    enc_id(&e, node);
    enc_u64(&e, boot);
    enc_u32(&e, nonce);
}

void node_boots_remember(const struct node *n, struct peer *p)
{
    find_boot(&n->boots, p->node, &p->boot, &p->nonce);
    find_boot(&n->left, p->node, &p->boot, &p->nonce);
    p->in_boot = p->boot;
}

/* Rows of nodes that are no peers: who has left, or whom only a newer record
 * than the cached one names. */
static void put_others(const struct node *n, const struct buf *rows,
                       struct buf *out)
{
    struct dec d = dec_of(span_buf(rows));
    while (dec_left(&d) > 0) {
        struct peer p = {.node = dec_id(&d)};
        uint64_t there = 0;
        uint32_t nonce = 0;
        (void)dec_bytes(&d, BOOT_BYTES - sizeof p.node);
        find_boot(out, p.node, &there, &nonce);
        if (there != 0 || node_peer(n, p.node) != NULL)
            continue;
        node_boots_remember(n, &p);
        put_boot(out, p.node, p.boot, p.nonce);
    }
}

struct span node_boots_encode(struct node *n)
{
    struct buf next = {0};
    for (size_t i = 0; i < n->peer_count; i++)
        put_boot(&next, n->peers[i]->node, n->peers[i]->boot,
                 n->peers[i]->nonce);
    put_others(n, &n->boots, &next);
    put_others(n, &n->left, &next);
    buf_free(&n->boots);
    n->boots = next;
    buf_clear(&n->left);
    return span_buf(&n->boots);
}

void node_boots_left(struct node *n, const struct peer *p)
{
    put_boot(&n->left, p->node, p->boot, p->nonce);
    n->has_boot_news = true;
}

bool node_boots_is_past(struct node *n, const struct wire_header *h)
{
    uint64_t boot = 0;
    uint32_t nonce = 0;
    find_boot(&n->boots, h->from, &boot, &nonce);
    find_boot(&n->left, h->from, &boot, &nonce);
    if (h->boot > boot)
        put_boot(&n->left, h->from, h->boot, h->nonce);
    return h->boot < boot;
}

bool node_boots_is_former(const struct peer *p, const struct wire_header *h)
{
    if (h->boot != p->boot)
        return h->boot < p->boot && RULE(T15);
    return RULE(S6C) && h->nonce != p->nonce;
}

void node_boots_seen(struct node *n, struct peer *p,
                     const struct wire_header *h)
{
    p->boot = h->boot;
    p->nonce = h->nonce;
    n->has_boot_news = true;
}

void node_boots_answer(struct node *n, struct peer *p, const struct wire_in *in)
{
    struct frame_iter it;
    struct frame f;
    wire_frame_begin(&it, in);
    while (RULE(S6C) && wire_frame_next(&it, &f)) {
        if (f.kind != FRAME_HELLO || f.boot != in->header.boot)
            continue;
        struct frame answer = {.kind = FRAME_FORGOTTEN,
                               .boot = f.boot,
                               .nonce = f.nonce,
                               .seen_boot = p->boot};
        node_peer_frame(n, p, &answer);
    }
}

void node_boots_forgotten(struct node *n, const struct frame *f)
{
    bool is_named = f->boot == n->cfg.folder.boot && f->nonce == n->cfg.nonce;
    if (RULE(T15B) && !is_named)
        return;
    if (f->seen_boot == 0)
        node_fail(n, EXIT_FORGOTTEN, "the cluster has removed this node");
    else if (f->seen_boot == f->boot)
        node_fail(n, EXIT_FORGOTTEN,
                  "another process runs with a copy of this data folder");
    else
        node_fail(n, EXIT_FORGOTTEN,
                  "this data folder is older than what its peers have heard "
                  "of it: it was restored or copied, and has forgotten what "
                  "it promised");
}
