/* group_print.c - see group.h: a group in words. */
#include "tests/cases/group.h"

#include <stdio.h>

static const char *const kind_names[] = {
    [RAFT_PREVOTE] = "prevote",
    [RAFT_PREVOTE_REPLY] = "prevote_reply",
    [RAFT_VOTE] = "vote",
    [RAFT_VOTE_REPLY] = "vote_reply",
    [RAFT_APPEND] = "append",
    [RAFT_APPEND_REPLY] = "append_reply",
    [RAFT_HEARTBEAT] = "heartbeat",
    [RAFT_HEARTBEAT_REPLY] = "heartbeat_reply",
    [RAFT_TIMEOUT_NOW] = "timeout_now",
};

const char *group_kind_name(enum raft_msg_kind kind)
{
    return kind_names[kind];
}

enum raft_msg_kind group_kind(const char *name)
{
    for (size_t i = 1; i < sizeof kind_names / sizeof kind_names[0]; i++) {
        if (strcmp(kind_names[i], name) == 0)
            return (enum raft_msg_kind)i;
    }
    return (enum raft_msg_kind)0;
}

/* Node 3 is "3", and in a later life "3+7": added again by entry 7. */
static void print_replica(struct replica r, struct buf *out)
{
    buf_printf(out, "%u", r.node.bytes[0]);
    if (r.added != 1)
        buf_printf(out, "+%llu", (unsigned long long)r.added);
}

void group_print_config(const struct config *c, struct buf *out)
{
    for (int is_voter = 1; is_voter >= 0; is_voter--) {
        bool is_first = true;
        for (uint32_t i = 0; i < c->count; i++) {
            if (c->members[i].is_voter != (is_voter == 1))
                continue;
            const char *word = is_voter == 1 ? "voters " : ", learners ";
            buf_printf(out, "%s", is_first ? word : ",");
            print_replica(c->members[i].replica, out);
            is_first = false;
        }
    }
}

void group_label(const struct item *item, char *label, size_t size)
{
    struct entry_iter it;
    struct command c;
    switch (item->kind) {
    case ENTRY_NOOP:
        (void)snprintf(label, size, "-");
        return;
    case ENTRY_CONFIG:
        (void)snprintf(label, size, "config");
        return;
    case ENTRY_RECORD:
        (void)snprintf(label, size, "record");
        return;
    case ENTRY_COMMANDS:
        if (entry_begin(&it, item_manifest(item)) == ERR_OK &&
            entry_next(&it, &c))
            (void)snprintf(label, size, "%.*s", (int)c.name.size,
                           (const char *)c.name.data);
        return;
    }
}

static void print_entry(const struct item *item, struct buf *out)
{
    char label[24];
    group_label(item, label, sizeof label);
    buf_printf(out, "%llu:%llu", (unsigned long long)item->index,
               (unsigned long long)item->term);
    if (strcmp(label, "-") != 0)
        buf_printf(out, "=%s", label);
}

static void print_append(const struct raft_msg *m, struct buf *out)
{
    buf_printf(out, " prev=%llu:%llu entries=(",
               (unsigned long long)m->prev_index,
               (unsigned long long)m->prev_term);
    for (uint32_t i = 0; i < m->item_count; i++) {
        buf_printf(out, "%s", i > 0 ? " " : "");
        print_entry(m->items[i], out);
    }
    buf_printf(out, ") commit=%llu", (unsigned long long)m->commit);
}

static void print_content(const struct raft_msg *m, struct buf *out)
{
    switch (m->kind) {
    case RAFT_PREVOTE:
    case RAFT_VOTE:
        buf_printf(out, " last=%llu:%llu", (unsigned long long)m->last_index,
                   (unsigned long long)m->last_term);
        break;
    case RAFT_PREVOTE_REPLY:
    case RAFT_VOTE_REPLY:
        buf_printf(out, m->granted ? " yes" : " no");
        break;
    case RAFT_APPEND:
        print_append(m, out);
        break;
    case RAFT_APPEND_REPLY:
        if (m->granted)
            buf_printf(out, " match=%llu", (unsigned long long)m->match);
        else
            buf_printf(out, " refused, prev=%llu hint=%llu:%llu",
                       (unsigned long long)m->prev_index,
                       (unsigned long long)m->hint_index,
                       (unsigned long long)m->hint_term);
        break;
    case RAFT_HEARTBEAT:
        buf_printf(out, " commit=%llu round=%llu",
                   (unsigned long long)m->commit, (unsigned long long)m->round);
        break;
    case RAFT_HEARTBEAT_REPLY:
        buf_printf(out, " round=%llu", (unsigned long long)m->round);
        break;
    case RAFT_TIMEOUT_NOW:
        break;
    }
}

void group_print_packet(const struct group_packet *p, struct buf *out)
{
    print_replica(p->msg.from, out);
    buf_printf(out, "->");
    print_replica(p->msg.to, out);
    buf_printf(out, " %s term=%llu", group_kind_name(p->msg.kind),
               (unsigned long long)p->msg.term);
    print_content(&p->msg, out);
}

static const char *role_name(enum raft_role role)
{
    switch (role) {
    case RAFT_FOLLOWER:
        return "follower";
    case RAFT_PRE_CANDIDATE:
        return "pre-candidate";
    case RAFT_CANDIDATE:
        return "candidate";
    case RAFT_LEADER:
        return "leader";
    }
    return "?";
}

void group_print_status(const struct group *g, size_t node, struct buf *out)
{
    const struct rig_node *n = &g->rig.nodes[node];
    buf_printf(out, "node %zu: ", node + 1);
    if (n->r == NULL) {
        buf_printf(out, "down\n");
        return;
    }
    buf_printf(out,
               "%s, term %llu, last %llu, on disk %llu, commit %llu, applied "
               "%llu\n",
               role_name(raft_role(n->r)), (unsigned long long)raft_term(n->r),
               (unsigned long long)raft_last(n->r),
               (unsigned long long)raft_durable_index(n->r),
               (unsigned long long)raft_commit(n->r),
               (unsigned long long)n->applied);
}

static void print_change(const struct group_shown *was,
                         const struct group_shown *is, size_t node,
                         struct buf *out)
{
    if (is->is_up &&
        (!was->is_up || was->role != is->role || was->term != is->term))
        buf_printf(out, "node %zu: %s in term %llu\n", node + 1,
                   role_name(is->role), (unsigned long long)is->term);
    if (was->is_up && !is->is_up)
        buf_printf(out, "node %zu: down\n", node + 1);
}

void group_print_log(const struct group *g, size_t node, struct buf *out)
{
    const struct raft *r = g->rig.nodes[node].r;
    buf_printf(out, "node %zu: log", node + 1);
    for (uint64_t i = raft_base(r) + 1; i <= raft_last(r); i++) {
        struct item *item = raft_cached(r, i);
        const struct rig_node *n = &g->rig.nodes[node];
        if (item == NULL && i <= n->last)
            item = n->log[i];
        buf_printf(out, " ");
        if (item != NULL)
            print_entry(item, out);
    }
    buf_printf(out, " (");
    group_print_config(raft_config(r), out);
    buf_printf(out, ")\n");
}

static void print_commits(const struct rig_node *n, size_t node, uint64_t above,
                          struct buf *out)
{
    buf_printf(out, "node %zu: commits", node + 1);
    for (uint64_t i = above + 1; i <= raft_commit(n->r); i++) {
        struct item *item = raft_cached(n->r, i);
        if (item == NULL && i <= n->last)
            item = n->log[i];
        buf_printf(out, " ");
        if (item != NULL)
            print_entry(item, out);
        else
            buf_printf(out, "%llu", (unsigned long long)i);
    }
    buf_printf(out, "\n");
}

void group_print_news(struct group *g, size_t node, struct buf *out)
{
    const struct rig_node *n = &g->rig.nodes[node];
    struct group_shown *was = &g->shown[node];
    struct group_shown is = {.is_up = n->r != NULL};
    if (n->r != NULL) {
        is.role = raft_role(n->r);
        is.term = raft_term(n->r);
        is.commit = raft_commit(n->r);
        is.config_index = raft_config(n->r)->index;
    }
    print_change(was, &is, node, out);
    if (is.is_up && is.config_index != was->config_index) {
        buf_printf(out, "node %zu: ", node + 1);
        group_print_config(raft_config(n->r), out);
        buf_printf(out, "\n");
    }
    if (is.is_up && is.commit > was->commit)
        print_commits(n, node, was->commit, out);
    *was = is;
}
