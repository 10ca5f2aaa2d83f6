/* node_moved.c - a node that was started at other addresses than the ring
 * record has.
 *
 * Peers learn a new peer address by gossip at once (a higher boot overrules
 * the record), so that the groups go on; but clients, and who starts later,
 * know the record alone. So the node says to the voters of group 0 where it is
 * now, again and again until the record has it; whoever leads group 0 then puts
 * it in the next record. */
#include "node/node_impl.h"

static bool is_there(const struct member *m, const char *client,
                     const char *peer)
{
    return strcmp(m->client_address, client) == 0 &&
           strcmp(m->peer_address, peer) == 0;
}

static bool knows_own(const struct node *n)
{
    return n->cfg.client_address != NULL && n->cfg.peer_address != NULL;
}

void node_moved_tick(struct node *n)
{
    if (!knows_own(n) || n->slot == SLOT_NONE ||
        is_there(&n->record->members[n->slot], n->cfg.client_address,
                 n->cfg.peer_address) ||
        !node_has_timed_out(n->now_ms, n->moved_told_ms,
                            n->cfg.timing.probe_interval_ms))
        return;
    n->moved_told_ms = n->now_ms;
    struct frame f = {
        .kind = FRAME_ADDRESS,
        .client_address = span_str(n->cfg.client_address),
        .peer_address = span_str(n->cfg.peer_address),
    };
    uint32_t count;
    const uint16_t *row = record_row(n->record, 0, &count);
    for (uint32_t i = 0; i < count; i++) {
        struct peer *p = node_peer(n, n->record->members[row[i]].node);
        if (p != NULL)
            node_peer_frame(n, p, &f);
    }
}

static void keep(char to[ADDRESS_MAX + 1], struct span address)
{
    memcpy(to, address.data, address.size);
    to[address.size] = 0;
}

/* The others hear it, too; they may lead when it is said again. */
void node_moved_received(struct node *n, struct peer *p, const struct frame *f)
{
    if (!node_ring_leads(n))
        return;
    keep(p->said_client, f->client_address);
    keep(p->said_peer, f->peer_address);
}

static void move(struct node *n, uint16_t slot, const char *client,
                 const char *peer, struct record **next)
{
    if (*next == NULL)
        *next = record_copy(n->ring);
    enum err err = record_move(*next, slot, span_str(client), span_str(peer));
    ASSERT(err == ERR_OK); /* the decoder, or the settings, have seen to it */
    node_log(n, NODE_INFO, "node %s is at %s now, for clients %s",
             n->ring->members[slot].name, peer, client);
}

void node_moved_judge(struct node *n, struct record **next)
{
    for (uint16_t i = 0; i < n->ring->member_count; i++) {
        const struct member *m = &n->ring->members[i];
        struct peer *p = node_peer(n, m->node);
        if (m->wanted == WANTED_LEFT)
            continue;
        if (i == n->slot && knows_own(n) &&
            !is_there(m, n->cfg.client_address, n->cfg.peer_address))
            move(n, i, n->cfg.client_address, n->cfg.peer_address, next);
        if (p == NULL || p->said_client[0] == 0)
            continue;
        if (!is_there(m, p->said_client, p->said_peer))
            move(n, i, p->said_client, p->said_peer, next);
        p->said_client[0] = 0; /* until it says so again */
    }
}
