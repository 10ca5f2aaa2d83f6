/* node_peers.c - messages to and from other nodes.
 *
 * Control lane: one message a turn and peer, with the frames of all groups:
 * votes, heartbeats, replies, gossip. Entries lane: appends, pulled from the
 * groups' rafts by deficit round-robin as the peer's byte window allows; each
 * message is numbered, the other side echoes the highest number and what is
 * missing below it, and a gap resets exactly the groups that were in the lost
 * messages (T32). Order and delivery are never assumed. */
#include "node/node_impl.h"

/* Room that a control message leaves for its largest frame. */
#define CONTROL_BYTES_MAX (256 * KIB)
/* What a control message begins with, at most, for the next one's frames. */
#define CONTROL_KEPT_BYTES (4 * KIB)
#define HELLO_INTERVAL_MS  10000u
/* libzmq gives up for good on an address where a stranger answered, or one of
 * another security (PITFALLS B2.8): a peer silent for so long is connected
 * anew. */
#define SILENT_MS 15000u
/* Who has left and comes again is a peer for so long, to be told so. */
#define FAREWELL_MS 30000u

struct peer *node_peer(const struct node *n, struct id128 node)
{
    for (size_t i = 0; i < n->peer_count; i++)
        if (id_equal(n->peers[i]->node, node))
            return n->peers[i];
    return NULL;
}

/* ---- who is a peer ----------------------------------------------------- */

static struct peer *peer_new(struct node *n, uint16_t slot)
{
    struct peer *p = mem_alloc(sizeof *p);
    p->node = n->record->members[slot].node;
    p->slot = slot;
    p->heard_ms = p->known_ms = n->now_ms;
    node_boots_remember(n, p);
    node_queue_init(&p->sent, sizeof(struct sent));
    node_queue_init(&p->waiting, sizeof(uint32_t));
    n->peers =
        mem_resize(n->peers, (n->peer_count + 1) * sizeof(struct peer *));
    n->peers[n->peer_count++] = p;
    return p;
}

static void clear_sent(struct peer *p)
{
    while (p->sent.count > 0) {
        struct sent *s = node_queue_at(&p->sent, 0);
        mem_free(s->groups);
        node_queue_pop(&p->sent);
    }
    p->window_bytes = 0;
}

static void peer_free(struct peer *p)
{
    clear_sent(p);
    node_queue_free(&p->sent);
    node_queue_free(&p->waiting);
    buf_free(&p->dead);
    wire_out_free(&p->control);
    mem_free(p);
}

void node_peers_free(struct node *n)
{
    for (size_t i = 0; i < n->peer_count; i++)
        peer_free(n->peers[i]);
    mem_free(n->peers);
    n->peers = NULL;
    n->peer_count = 0;
}

/* Gossip of a higher (boot, version) overrules the record's address. */
static void link_peer(struct node *n, struct peer *p)
{
    const struct member *m = &n->record->members[p->slot];
    const char *address = swim_address(&n->swim, p->node);
    if (address[0] == 0)
        address = m->peer_address;
    if (strcmp(address, p->address) == 0 &&
        memcmp(p->key, m->public_key, KEY_BYTES) == 0)
        return;
    memcpy(p->address, address, strlen(address) + 1);
    memcpy(p->key, m->public_key, KEY_BYTES);
    struct node_effect *e = node_push(n, NODE_DO_PEER);
    e->node = p->node;
    e->address = mem_copy(p->address, strlen(address) + 1);
    e->key = mem_copy(p->key, KEY_BYTES);
}

/* Who was made to leave is heard until it is gone (T6): while groups count on
 * it, it may have what nobody else has, and bring it, if it starts again. */
static bool is_gone(const struct node *n, const struct peer *p)
{
    return n->record->members[p->slot].seen == SEEN_GONE;
}

static void peer_remove(struct node *n, size_t at)
{
    node_boots_left(n, n->peers[at]);
    node_push(n, NODE_DO_PEER_GONE)->node = n->peers[at]->node;
    peer_free(n->peers[at]);
    n->peers[at] = n->peers[--n->peer_count];
}

void node_peers_update(struct node *n)
{
    for (uint16_t slot = 0; slot < n->record->member_count; slot++) {
        const struct member *m = &n->record->members[slot];
        if (m->seen == SEEN_GONE || slot == n->slot)
            continue;
        struct peer *p = node_peer(n, m->node);
        if (p == NULL)
            p = peer_new(n, slot);
        link_peer(n, p);
    }
    for (size_t i = 0; i < n->peer_count;) {
        if (is_gone(n, n->peers[i]))
            peer_remove(n, i);
        else
            i++;
    }
}

/* S33: the key that proved itself on this connection is the member's. */
static bool is_its_key(const struct node *n, const uint8_t *key,
                       const uint8_t *of_member)
{
    return key == NULL ? n->record->is_insecure
                       : memcmp(key, of_member, KEY_BYTES) == 0;
}

/* ---- who has left ------------------------------------------------------ */

/* The HELLO of the very life that sent the message. */
static bool find_hello(const struct wire_in *in, struct frame *out)
{
    struct frame_iter it;
    wire_frame_begin(&it, in);
    while (wire_frame_next(&it, out))
        if (out->kind == FRAME_HELLO && out->boot == in->header.boot)
            return true;
    return false;
}

/* A member that has left says hello and does not know yet: exactly that
 * process is told (T15), and none because of a record alone (T6): no group
 * counts on it any more. For that it is a peer for a while. */
static void say_farewell(struct node *n, const struct wire_in *in,
                         const uint8_t *key)
{
    uint16_t slot = record_slot(n->record, in->header.from);
    const struct member *m =
        slot == SLOT_NONE ? NULL : &n->record->members[slot];
    struct frame hello;
    if (m == NULL || m->seen != SEEN_GONE ||
        !is_its_key(n, key, m->public_key) || !find_hello(in, &hello)) {
        n->dropped++;
        return;
    }
    struct peer *p = node_peer(n, m->node);
    if (p == NULL) {
        p = peer_new(n, slot);
        link_peer(n, p);
    }
    /* An old folder of its that runs again (S6C) is told as well: else nobody
     * ever tells it. It is not believed to be the newest. */
    if (!node_boots_is_past(n, &in->header))
        node_boots_seen(n, p, &in->header);
    struct frame told = {
        .kind = FRAME_FORGOTTEN, .boot = hello.boot, .nonce = hello.nonce};
    n->has_work = true;
    node_peer_frame(n, p, &told);
}

/* ---- out: control ------------------------------------------------------ */

static struct wire_header header_to(const struct node *n, const struct peer *p,
                                    enum wire_kind kind, uint64_t number)
{
    return (struct wire_header){
        .kind = kind,
        .cluster = n->cfg.folder.cluster,
        .from = n->cfg.folder.node,
        .to = p->node,
        .boot = n->cfg.folder.boot,
        .epoch = n->record->epoch,
        .number = number,
        .nonce = (uint32_t)n->cfg.nonce,
        .to_nonce = p->nonce,
    };
}

static void send_peer(struct node *n, struct peer *p, enum wire_lane lane,
                      struct wire_out *m)
{
    wire_end(m);
    struct node_effect *e = node_push(n, NODE_DO_SEND_PEER);
    struct wire_out *kept = mem_alloc(sizeof *kept);
    *kept = *m;
    *m = (struct wire_out){0};
    e->node = p->node;
    e->lane = lane;
    e->message = kept;
}

static void flush_control(struct node *n, struct peer *p)
{
    if (!p->is_control_open)
        return;
    p->is_control_open = false;
    p->control_bytes = min_u64(p->control.bytes.size, CONTROL_KEPT_BYTES);
    send_peer(n, p, LANE_CONTROL, &p->control);
}

/* The message of this turn, with room for so many bytes. */
static struct wire_out *open_control(struct node *n, struct peer *p,
                                     size_t size_max)
{
    n->has_work = true;
    if (p->is_control_open &&
        wire_out_size(&p->control) + size_max > CONTROL_BYTES_MAX)
        flush_control(n, p);
    if (!p->is_control_open) {
        struct wire_header h =
            header_to(n, p, WIRE_PEER_CONTROL, ++p->control_number);
        /* Most are as long as the one before. */
        buf_reserve(&p->control.bytes, p->control_bytes + WIRE_RAFT_BYTES_MAX);
        wire_begin(&p->control, &h);
        p->is_control_open = true;
    }
    return &p->control;
}

void node_peer_frame(struct node *n, struct peer *p, const struct frame *f)
{
    wire_frame_write(open_control(n, p, wire_frame_size_max(f)), f);
}

void node_peer_raft(struct node *n, struct group *g, const struct raft_msg *msg)
{
    struct peer *p = node_peer(n, msg->to.node);
    if (p == NULL) /* left the ring: nobody listens there */
        return;
    wire_frame_write_raft(open_control(n, p, WIRE_RAFT_BYTES_MAX), g->id,
                          g->generation, msg);
}

/* ---- out: entries ------------------------------------------------------ */

void node_peer_transfer(struct node *n, struct peer *p, const struct frame *f)
{
    struct wire_out m = {0};
    struct wire_header h =
        header_to(n, p, WIRE_PEER_TRANSFER, ++p->transfer_number);
    wire_begin(&m, &h);
    wire_frame_write(&m, f);
    send_peer(n, p, LANE_TRANSFER, &m);
}

void node_peer_wants(struct node *n, struct peer *p, uint32_t group)
{
    if (p->waiting_set[group / 8] & (1u << (group % 8)))
        return;
    p->waiting_set[group / 8] |= (uint8_t)(1u << (group % 8));
    *(uint32_t *)node_queue_push(&p->waiting) = group;
    n->has_work = true;
}

static uint32_t next_waiting(struct peer *p)
{
    uint32_t group = *(uint32_t *)node_queue_at(&p->waiting, 0);
    node_queue_pop(&p->waiting);
    p->waiting_set[group / 8] &= (uint8_t) ~(1u << (group % 8));
    return group;
}

static void read_log(struct node *n, struct group *g, struct replica to,
                     uint64_t first, uint64_t last)
{
    struct reading *r = node_queue_push(&n->readings);
    r->ticket = n->next_ticket++;
    r->kind = READING_LOG;
    r->group = g->id;
    r->to = to;
    r->log = (struct log_ticket){
        .group = g->id,
        .incarnation = g->incarnation,
        .first = first,
        .last = last,
        .bytes_max = GROUP_SHARE_BYTES,
        .least_txn = n->last_txn,
    };
    r->runs = mem_alloc((size_t)(last - first + 1) * sizeof *r->runs);
    size_t count = 0;
    for (uint64_t i = first; i <= last; i++) {
        uint64_t term = raft_term_at(g->raft, i);
        if (count == 0 || r->runs[count - 1].term != term)
            r->runs[count++] = (struct raft_term_run){i, term};
    }
    r->log.runs = r->runs;
    r->log.run_count = count;
    struct node_effect *e = node_push(n, NODE_DO_READ_LOG);
    e->ticket = r->ticket;
    e->log = r->log;
}

/* Entries that a follower lacks and that are no longer cached are read in
 * pieces of at most so many. */
#define LOG_READ_ENTRIES 1024u

/* Room for the frame around a group's share of a message. */
#define FRAME_SLACK_BYTES (64 * KIB)

static const struct raft_progress *progress_of(const struct group *g,
                                               struct id128 node)
{
    const struct raft_progress *p;
    size_t count = raft_followers(g->raft, &p);
    const struct raft_progress *newest = NULL;
    for (size_t i = 0; i < count; i++)
        if (id_equal(p[i].replica.node, node) &&
            (newest == NULL || p[i].replica.added > newest->replica.added))
            newest = &p[i];
    return newest;
}

/* The entry that the follower wants next, if it is in memory. */
static const struct item *next_item(const struct group *g,
                                    const struct raft_progress *to)
{
    for (size_t i = 0; i < to->loaded_count; i++)
        if (to->loaded[i]->index == to->next)
            return to->loaded[i];
    return raft_cached(g->raft, to->next);
}

/* A large entry goes alone (T21): it must not be pulled into a message that
 * has begun and cannot hold it. */
static bool next_fits(const struct group *g, const struct raft_progress *to,
                      const struct wire_out *m)
{
    const struct item *item = next_item(g, to);
    return item == NULL || m->bytes.size == WIRE_HEADER_BYTES ||
           wire_out_size(m) + item_bytes(item) + 4 * KIB <= MESSAGE_BYTES_MAX;
}

enum pulled { PULLED_NOTHING, PULLED_FRAME, PULLED_NO_ROOM };

static enum pulled pull_group(struct node *n, struct peer *p, struct group *g,
                              struct wire_out *m)
{
    const struct raft_progress *to = progress_of(g, p->node);
    if (to == NULL)
        return PULLED_NOTHING;
    if (!next_fits(g, to, m))
        return PULLED_NO_ROOM;
    struct replica replica = to->replica;
    struct raft_msg msg;
    uint64_t first, last;
    enum raft_pull pull = raft_next_append(g->raft, replica, GROUP_SHARE_BYTES,
                                           n->now_ms, &msg, &first, &last);
    if (pull == RAFT_PULL_NOTHING)
        return PULLED_NOTHING;
    if (pull == RAFT_PULL_READ) {
        read_log(n, g, replica, first,
                 min_u64(last, first + LOG_READ_ENTRIES - 1));
        return PULLED_NOTHING;
    }
    wire_frame_write_raft(m, g->id, g->generation, &msg);
    ASSERT(wire_out_size(m) <= MESSAGE_BYTES_MAX);
    for (uint32_t i = 0; i < msg.item_count; i++)
        item_unref(&n->pool, msg.items[i]);
    return PULLED_FRAME;
}

static void sent_message(struct node *n, struct peer *p, struct wire_out *m,
                         const uint32_t *groups, uint32_t group_count)
{
    struct sent *s = node_queue_push(&p->sent);
    s->number = p->entries_number;
    s->bytes = (uint32_t)wire_out_size(m);
    s->at_ms = n->now_ms;
    s->groups = mem_copy(groups, group_count * sizeof *groups);
    s->group_count = group_count;
    p->window_bytes += s->bytes;
    send_peer(n, p, LANE_ENTRIES, m);
}

/* One message of at most MESSAGE_BYTES_MAX; false if there was nothing. */
static bool send_entries(struct node *n, struct peer *p)
{
    struct wire_out m = {0};
    struct wire_header h =
        header_to(n, p, WIRE_PEER_ENTRIES, p->entries_number + 1);
    wire_begin(&m, &h);
    uint32_t groups[256];
    uint32_t count = 0;
    while (p->waiting.count > 0 && count < 256 &&
           wire_out_size(&m) + GROUP_SHARE_BYTES + FRAME_SLACK_BYTES <=
               MESSAGE_BYTES_MAX) {
        struct group *g = node_group(n, next_waiting(p));
        if (g == NULL || raft_role(g->raft) != RAFT_LEADER)
            continue;
        enum pulled pulled = pull_group(n, p, g, &m);
        if (pulled != PULLED_NOTHING)
            node_peer_wants(n, p, g->id);
        if (pulled == PULLED_FRAME)
            groups[count++] = g->id;
        if (pulled == PULLED_NO_ROOM)
            break; /* the next message is its own */
    }
    if (count == 0) {
        wire_out_free(&m);
        return false;
    }
    p->entries_number++;
    sent_message(n, p, &m, groups, count);
    return true;
}

void node_peers_turn(struct node *n)
{
    for (size_t i = 0; i < n->peer_count; i++) {
        struct peer *p = n->peers[i];
        while (p->waiting.count > 0 &&
               p->window_bytes < LANE_WINDOW_ENTRIES_BYTES)
            if (!send_entries(n, p))
                break;
        if (p->is_echo_due) {
            p->is_echo_due = false;
            struct frame f = {
                .kind = FRAME_ECHO,
                .echo = {LANE_ENTRIES, p->in_boot, p->in_number,
                         p->missing_first, p->missing_last},
            };
            p->missing_first = p->missing_last = 0;
            node_peer_frame(n, p, &f);
        }
        flush_control(n, p);
    }
}

/* ---- losses ------------------------------------------------------------ */

static void reset_groups(struct node *n, struct peer *p, const struct sent *s)
{
    for (uint32_t i = 0; i < s->group_count; i++) {
        struct group *g = node_group(n, s->groups[i]);
        if (g == NULL)
            continue;
        raft_reset_peer(g->raft, p->node, n->now_ms);
        node_dirty(n, g);
    }
}

/* Everything up to `received` has left the window; what is missing in between
 * was lost, and its groups start again from what is acknowledged. */
static void echo_received(struct node *n, struct peer *p,
                          const struct frame_echo *e)
{
    if (e->lane != LANE_ENTRIES || e->boot != n->cfg.folder.boot)
        return;
    while (p->sent.count > 0) {
        struct sent *s = node_queue_at(&p->sent, 0);
        if (s->number > e->received)
            break;
        p->echo_ms = n->now_ms;
        if (RULE(T32) && s->number >= e->missing_first &&
            s->number <= e->missing_last)
            reset_groups(n, p, s);
        p->window_bytes -= s->bytes;
        mem_free(s->groups);
        node_queue_pop(&p->sent);
    }
    n->has_work = true;
}

void node_peers_tick(struct node *n)
{
    for (size_t i = 0; i < n->peer_count;) {
        if (is_gone(n, n->peers[i]) &&
            node_has_timed_out(n->now_ms, n->peers[i]->known_ms, FAREWELL_MS))
            peer_remove(n, i);
        else
            i++;
    }
    for (size_t i = 0; i < n->peer_count; i++) {
        struct peer *p = n->peers[i];
        link_peer(n, p);
        if (p->sent.count > 0) {
            const struct sent *oldest = node_queue_at(&p->sent, 0);
            /* On a slow line a whole window takes longer than that; but
             * something of it comes in all the time. */
            uint64_t since = max_u64(oldest->at_ms, p->echo_ms);
            if (node_has_timed_out(n->now_ms, since,
                                   n->cfg.timing.lane_timeout_ms)) {
                for (size_t k = 0; k < p->sent.count; k++)
                    reset_groups(n, p, node_queue_at(&p->sent, k));
                clear_sent(p);
            }
        }
        if (node_has_timed_out(n->now_ms, p->heard_ms, SILENT_MS)) {
            p->heard_ms = n->now_ms;
            node_push(n, NODE_DO_PEER_AGAIN)->node = p->node;
        }
        if (p->hello_ms == 0 ||
            node_has_timed_out(n->now_ms, p->hello_ms, HELLO_INTERVAL_MS)) {
            p->hello_ms = n->now_ms + 1;
            struct frame f = {.kind = FRAME_HELLO,
                              .boot = n->cfg.folder.boot,
                              .nonce = n->cfg.nonce};
            node_peer_frame(n, p, &f);
        }
    }
}

void node_peers_dump(const struct node *n, struct buf *text)
{
    for (size_t i = 0; i < n->peer_count; i++) {
        const struct peer *p = n->peers[i];
        char id[33];
        id_format(p->node, id);
        buf_printf(text,
                   "peer %.8s boot %llu entries in %llu missing %llu-%llu out "
                   "%llu waiting %zu window %u\n",
                   id, (unsigned long long)p->boot,
                   (unsigned long long)p->in_number,
                   (unsigned long long)p->missing_first,
                   (unsigned long long)p->missing_last,
                   (unsigned long long)p->entries_number, p->sent.count,
                   p->window_bytes);
    }
}

/* ---- in ---------------------------------------------------------------- */

/* Slices the payload of an APPEND out of the message: the items own
 * references of it. */
static bool items_of(struct node *n, const struct frame *f, uint64_t handle,
                     struct item **items)
{
    uint32_t payload_at = f->payload_at;
    struct dec d = dec_of(f->entries);
    struct frame_entry e;
    uint32_t count = 0;
    while (count < f->msg.item_count && wire_frame_entry_next(&d, &e)) {
        struct slice s = {handle, payload_at, e.payload_bytes};
        if (e.payload_bytes > 0)
            node_push(n, NODE_DO_ACQUIRE)->handle = handle;
        items[count++] =
            item_new(&n->pool, e.manifest, &s, e.payload_bytes > 0);
        payload_at += e.payload_bytes;
    }
    bool is_whole = count == f->msg.item_count;
    for (uint32_t i = 0; !is_whole && i < count; i++)
        item_unref(&n->pool, items[i]);
    return is_whole;
}

static void raft_received(struct node *n, struct peer *p, struct frame *f,
                          uint64_t handle)
{
    struct group *g = node_group(n, f->group.group);
    /* No message creates a replica (T7), and only those between the current
     * pairs count (S4): raft compares the pairs. */
    if (g == NULL || !generation_equal(g->generation, f->group.generation)) {
        n->dropped++;
        return;
    }
    struct raft_msg *msg = &f->msg;
    if (n->is_stopping && msg->kind == RAFT_TIMEOUT_NOW)
        return; /* it would lead for a moment */
    msg->from.node = p->node;
    msg->to.node = n->cfg.folder.node;
    struct item **items = NULL;
    if (msg->kind == RAFT_APPEND && msg->item_count > 0) {
        items = mem_alloc(msg->item_count * sizeof *items);
        if (!items_of(n, f, handle, items)) {
            n->dropped++;
            mem_free(items);
            return;
        }
        msg->items = items;
    }
    raft_recv(g->raft, msg, n->now_ms);
    for (uint32_t i = 0; items != NULL && i < msg->item_count; i++)
        item_unref(&n->pool, items[i]);
    mem_free(items);
    node_dirty(n, g);
}

static void record_asked(struct node *n, struct peer *p, const struct frame *f)
{
    if (epoch_compare(n->record->epoch, f->epoch) <= 0)
        return;
    struct frame answer = {.kind = FRAME_RECORD,
                           .bytes = span_buf(&n->record_bytes)};
    flush_control(n, p); /* it may be large: a message of its own */
    node_peer_frame(n, p, &answer);
    flush_control(n, p);
}

static void frame_received(struct node *n, struct peer *p, struct frame *f,
                           uint64_t handle)
{
    switch (f->kind) {
    case FRAME_INVITE:
        node_walk_invite(n, p, f);
        return;
    case FRAME_INVITE_REPLY:
        node_walk_replied(n, p, f);
        return;
    case FRAME_BLOB_ASK:
        node_give_blob(n, p, f);
        return;
    case FRAME_BLOB:
        node_install_blob(n, p, f);
        return;
    case FRAME_ROWS_ASK:
        node_give_rows(n, p, f);
        return;
    case FRAME_ROWS:
        if (n->installs[f->group.group] != NULL)
            node_install_rows(n, p, f, handle);
        else
            node_mend_rows(n, p, f, handle);
        return;
    case FRAME_ASK:
        node_walk_asked(n, p, f);
        return;
    case FRAME_REMOVED:
        node_walk_removed(n, p, f);
        return;
    case FRAME_SWIM:
        if (swim_recv(&n->swim, p->node, f->bytes) != ERR_OK)
            n->dropped++;
        node_ring_swim(n);
        return;
    case FRAME_ECHO:
        echo_received(n, p, &f->echo);
        return;
    case FRAME_RECORD_ASK:
        record_asked(n, p, f);
        return;
    case FRAME_RECORD:
        node_ring_received(n, f->bytes);
        return;
    case FRAME_FORGOTTEN:
        node_boots_forgotten(n, f);
        return;
    case FRAME_HELLO:
        return; /* the header has said it all */
    case FRAME_DEAD:
        node_out_reported(n, p, f->bytes);
        return;
    case FRAME_STANDING:
        node_standing_received(n, f->bytes);
        return;
    case FRAME_ADDRESS:
        node_moved_received(n, p, f);
        return;
    case FRAME_RAFT_FIRST:
    case FRAME_RAFT_LAST:
        break;
    }
    raft_received(n, p, f, handle);
}

/* A new life of the peer: its lanes begin anew. */
static void boot_seen(struct node *n, struct peer *p,
                      const struct wire_header *h)
{
    if (p->boot != 0) {
        for (size_t k = 0; k < p->sent.count; k++)
            reset_groups(n, p, node_queue_at(&p->sent, k));
        clear_sent(p);
    }
    node_boots_seen(n, p, h);
    p->said_client[0] = 0; /* a former life's address */
    p->in_boot = h->boot;
    p->in_number = 0;
    p->missing_first = p->missing_last = 0;
    p->hello_ms = 0;
}

static void number_seen(struct peer *p, uint64_t number)
{
    if (number > p->in_number + 1 && p->missing_first == 0)
        p->missing_first = p->in_number + 1;
    if (number > p->in_number + 1)
        p->missing_last = number - 1;
    p->in_number = max_u64(p->in_number, number);
    p->is_echo_due = true;
}

/* S6C: an answer to another process of this node, in an earlier life or in a
 * copy of this folder, is no answer to us: of a vote that it was given, say.
 * (Simulator, seed 545: two processes at one address led by the same votes.) */
static bool is_for_this_process(const struct node *n,
                                const struct wire_header *h)
{
    return !RULE(S6C) || h->to_nonce == 0 ||
           h->to_nonce == (uint32_t)n->cfg.nonce;
}

/* Who meant another process is told at once which one we are. What ends a
 * former process names it, and so may be meant for us nevertheless. */
static void hear_farewell(struct node *n, struct peer *p,
                          const struct wire_in *in)
{
    struct frame_iter it;
    struct frame f;
    wire_frame_begin(&it, in);
    while (wire_frame_next(&it, &f))
        if (f.kind == FRAME_FORGOTTEN)
            node_boots_forgotten(n, &f);
    p->hello_ms = 0;
    n->dropped++;
}

/* S13: of this cluster, to this node, between nodes. */
static bool is_for_us(const struct node *n, const struct wire_header *h)
{
    if (RULE(S13) && (!id_equal(h->cluster, n->cfg.folder.cluster) ||
                      !id_equal(h->to, n->cfg.folder.node)))
        return false;
    enum wire_lane lane;
    return wire_kind_lane(h->kind, &lane);
}

/* Segments come to stay on the transfer lane alone: there their checksums have
 * been verified. */
static bool is_in_its_lane(const struct wire_header *h, const struct frame *f)
{
    return f->kind != FRAME_ROWS || f->bytes.size == 0 ||
           h->kind == WIRE_PEER_TRANSFER;
}

void node_recv_peer(struct node *n, struct span message, uint64_t handle,
                    const uint8_t *key)
{
    struct wire_in in;
    if (!n->is_started || wire_read(message, &in) != ERR_OK ||
        !is_for_us(n, &in.header)) {
        n->dropped++;
        return;
    }
    struct peer *p = node_peer(n, in.header.from);
    if (p == NULL || is_gone(n, p)) {
        say_farewell(n, &in, key);
        return;
    }
    if (!is_its_key(n, key, p->key)) {
        n->dropped++;
        return;
    }
    n->has_work = true;
    if (node_boots_is_former(p, &in.header)) {
        n->dropped++;
        node_boots_answer(n, p, &in);
        return;
    }
    p->heard_ms = n->now_ms;
    if (in.header.boot > p->boot)
        boot_seen(n, p, &in.header);
    if (!is_for_this_process(n, &in.header)) {
        hear_farewell(n, p, &in);
        return;
    }
    if (in.header.kind == WIRE_PEER_ENTRIES)
        number_seen(p, in.header.number);
    if (epoch_clash(in.header.epoch, n->record->epoch))
        node_recover_clash(n, p);
    else if (epoch_compare(in.header.epoch, n->record->epoch) > 0) {
        node_recover_heard(n, in.header.epoch);
        node_ring_ask(n, p);
    }
    struct frame_iter it;
    struct frame f;
    wire_frame_begin(&it, &in);
    while (wire_frame_next(&it, &f)) {
        if (!is_in_its_lane(&in.header, &f)) {
            n->dropped++;
            continue;
        }
        frame_received(n, p, &f, handle);
        /* A record may say that the sender is gone. */
        if (f.kind == FRAME_RECORD && node_peer(n, in.header.from) == NULL)
            break;
    }
    n->dropped += it.skipped;
}

/* Once for each entry: the read is tried again all the time. */
static void tell_damage(struct node *n, struct group *g, uint64_t index)
{
    if (g->damaged_index == index)
        return;
    g->damaged_index = index;
    node_log(n, NODE_ERROR,
             "group %u: the payload of entry %llu is damaged here: another "
             "leads, for a follower lacks it",
             g->id, (unsigned long long)index);
}

/* A row that is not found is damage only if its position is live (T19): above
 * the base, and not found again by a read that was ordered long after. What is
 * read has been applied, so that nothing truncates it. */
static bool is_row_lost(const struct node *n, struct group *g, uint64_t index)
{
    if (index <= raft_base(g->raft))
        return false;
    if (g->missing_index != index) {
        g->missing_index = index;
        g->missing_ms = n->now_ms;
    }
    return node_has_timed_out(n->now_ms, g->missing_ms,
                              n->cfg.timing.election_ms);
}

void node_log_done(struct node *n, uint64_t ticket,
                   const struct log_result *result, uint64_t payload)
{
    struct reading r;
    bool is_there = node_reading_take(n, ticket, &r);
    ASSERT(is_there && r.kind == READING_LOG);
    (void)node_reading_is_bad(n, result->err);
    struct group *g = node_group(n, r.group);
    bool is_same = g != NULL && g->incarnation == r.log.incarnation;
    if (is_same && result->err == ERR_CORRUPT) {
        tell_damage(n, g, r.log.first + result->count);
        node_check_scan(n, g);
        node_walk_leave(n, g);
    }
    if (is_same && result->err == ERR_NOT_FOUND &&
        is_row_lost(n, g, r.log.first + result->count))
        node_fail(n, EXIT_FOLDER, "a row of the log is missing");
    /* What stands before a bad one is good. */
    size_t count = is_same ? result->count : 0;
    struct item **items = mem_alloc((count + 1) * sizeof *items);
    for (size_t i = 0; i < count; i++) {
        const struct log_entry *e = &result->entries[i];
        struct slice s = {payload, e->payload_at, e->payload_size};
        if (e->payload_size > 0)
            node_push(n, NODE_DO_ACQUIRE)->handle = payload;
        items[i] = item_new(
            &n->pool,
            span_of(result->manifests.data + e->manifest_at, e->manifest_size),
            &s, e->payload_size > 0);
    }
    if (is_same) {
        raft_loaded(g->raft, r.to, items, count, n->now_ms);
        node_dirty(n, g);
    }
    for (size_t i = 0; i < count; i++)
        item_unref(&n->pool, items[i]);
    if (payload != 0)
        item_pool_release(&n->pool, payload);
    mem_free(items);
    mem_free(r.runs);
}
