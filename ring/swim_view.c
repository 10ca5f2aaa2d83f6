/* swim_view.c - what others may ask of swim.h's machine; changes nothing. */
#include "ring/swim.h"

const char *swim_state_name(enum swim_state state)
{
    switch (state) {
    case SWIM_UNSEEN:
        return "unseen";
    case SWIM_ALIVE:
        return "alive";
    case SWIM_SUSPECT:
        return "suspect";
    case SWIM_DEAD:
        return "dead";
    }
    return "?";
}

const struct swim_member *swim_member(const struct swim *s, struct id128 id)
{
    size_t low = 0;
    size_t high = s->member_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = id_compare(s->members[middle].id, id);
        if (order == 0)
            return &s->members[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

enum swim_state swim_state(const struct swim *s, struct id128 id)
{
    if (id_equal(s->cfg.id, id))
        return SWIM_ALIVE;
    const struct swim_member *m = swim_member(s, id);
    return m == NULL ? SWIM_UNSEEN : m->state;
}

const char *swim_address(const struct swim *s, struct id128 id)
{
    if (id_equal(s->cfg.id, id))
        return s->own_address;
    const struct swim_member *m = swim_member(s, id);
    return m == NULL ? "" : m->address;
}

uint64_t swim_since_ms(const struct swim *s, struct id128 id)
{
    if (id_equal(s->cfg.id, id))
        return s->cfg.now_ms;
    const struct swim_member *m = swim_member(s, id);
    return m == NULL ? 0 : m->since_ms;
}

struct span swim_meta(const struct swim *s, struct id128 id)
{
    if (id_equal(s->cfg.id, id))
        return span_of(s->meta_next, s->meta_next_size);
    const struct swim_member *m = swim_member(s, id);
    return m == NULL ? (struct span){NULL, 0} : span_of(m->meta, m->meta_size);
}

uint64_t swim_boot(const struct swim *s, struct id128 id)
{
    if (id_equal(s->cfg.id, id))
        return s->cfg.boot;
    const struct swim_member *m = swim_member(s, id);
    return m == NULL ? 0 : m->boot;
}

static void check_member(const struct swim *s, size_t at)
{
    const struct swim_member *m = &s->members[at];
    ASSERT(!id_equal(s->cfg.id, m->id));
    ASSERT(at == 0 || id_compare(s->members[at - 1].id, m->id) < 0);
    ASSERT(m->state <= SWIM_DEAD);
    ASSERT(m->state != SWIM_ALIVE || m->boot > 0);
    ASSERT(m->since_ms <= s->now_ms);
    ASSERT(m->news_number <= s->news_count);
    ASSERT(m->sends_left == 0 || m->state != SWIM_UNSEEN);
    ASSERT(m->meta_size <= SWIM_META_BYTES_MAX);
    ASSERT(memchr(m->address, 0, sizeof m->address) != NULL);
}

void swim_check(const struct swim *s)
{
    bool is_ordered[MEMBERS_MAX] = {false};
    ASSERT(s->member_count <= MEMBERS_MAX);
    ASSERT(s->order_at <= s->member_count);
    for (size_t i = 0; i < s->member_count; i++) {
        check_member(s, i);
        ASSERT(s->order[i] < s->member_count && !is_ordered[s->order[i]]);
        is_ordered[s->order[i]] = true;
    }
    ASSERT(s->deadline_ms >= s->now_ms);
    ASSERT(s->health <= s->cfg.health_max);
    ASSERT(s->effect_at <= s->effect_count);
    ASSERT(s->tombstone_count <= MEMBERS_MAX);
    ASSERT(s->probe.nack_count <= s->probe.helper_count);
    ASSERT(s->probe.helper_count <= SWIM_HELPERS);
}

void swim_dump(const struct swim *s, struct buf *text)
{
    char id[33];
    id_format(s->cfg.id, id);
    buf_printf(text,
               "swim %.8s n=%zu boot=%llu version=%u health=%u now=%llu\n", id,
               s->member_count + 1, (unsigned long long)s->cfg.boot,
               (unsigned)s->version, (unsigned)s->health,
               (unsigned long long)s->now_ms);
    for (size_t i = 0; i < s->member_count; i++) {
        const struct swim_member *m = &s->members[i];
        char by[33];
        id_format(m->id, id);
        id_format(m->by, by);
        buf_printf(text, "  %.8s %-7s %llu.%u since=%llu by=%.8s news=%u %s\n",
                   id, swim_state_name(m->state), (unsigned long long)m->boot,
                   (unsigned)m->version, (unsigned long long)m->since_ms, by,
                   (unsigned)m->sends_left, m->address);
    }
}
