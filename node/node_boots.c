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

void node_boots_remember(const struct node *n, struct peer *p)
{
    struct dec d = dec_of(span_buf(&n->boots));
    while (dec_left(&d) > 0) {
        struct id128 node = dec_id(&d);
        uint64_t boot = dec_u64(&d);
        uint32_t nonce = dec_u32(&d);
        if (!id_equal(node, p->node))
            continue;
        p->boot = p->in_boot = boot;
        p->nonce = nonce;
    }
}

struct span node_boots_encode(struct node *n)
{
    buf_clear(&n->boots);
    for (size_t i = 0; i < n->peer_count; i++) {
        const struct peer *p = n->peers[i];
        if (p->boot == 0)
            continue;
        struct enc e = enc_of(buf_grow(&n->boots, BOOT_BYTES), BOOT_BYTES);
        enc_id(&e, p->node);
        enc_u64(&e, p->boot);
        enc_u32(&e, p->nonce);
    }
    return span_buf(&n->boots);
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
