/* overlay.c - see overlay.h. */
#include "ring/overlay.h"

struct name_key {
    struct position stream;
    uint64_t name_hash;
};

static bool id_matches(const void *value, const void *key)
{
    const struct pending *p = value;
    return position_equal(p->id, *(const struct position *)key);
}

static bool name_matches(const void *value, const void *key)
{
    const struct pending *p = value;
    const struct name_key *k = key;
    return p->name_hash == k->name_hash && position_equal(p->stream, k->stream);
}

void overlay_clear(struct overlay *o)
{
    while (o->first != NULL) {
        struct pending *p = o->first;
        o->first = p->next;
        mem_free(p);
    }
    map_free(&o->by_id);
    map_free(&o->by_name);
    mem_free(o->journal);
    *o = (struct overlay){0};
}

struct pending *overlay_find(const struct overlay *o, struct position id)
{
    return map_find(&o->by_id, position_hash(id), id_matches, &id);
}

struct pending *overlay_get(struct overlay *o, struct position id)
{
    struct pending *p = overlay_find(o, id);
    if (p != NULL)
        return p;
    p = mem_alloc(sizeof *p);
    p->id = id;
    p->next = o->first;
    if (o->first != NULL)
        o->first->previous = p;
    o->first = p;
    map_insert(&o->by_id, position_hash(id), p);
    return p;
}

static void unset_name(struct overlay *o, struct pending *p)
{
    if (p->name_hash == 0)
        return;
    struct name_key key = {p->stream, p->name_hash};
    map_remove(&o->by_name, p->name_hash, name_matches, &key);
    p->name_hash = 0;
}

void overlay_drop_idle(struct overlay *o, struct pending *p)
{
    if (p->appends > 0 || p->opens > 0 || p->closes > 0)
        return;
    unset_name(o, p);
    map_remove(&o->by_id, position_hash(p->id), id_matches, &p->id);
    if (p->previous != NULL)
        p->previous->next = p->next;
    else
        o->first = p->next;
    if (p->next != NULL)
        p->next->previous = p->previous;
    mem_free(p);
}

struct pending *overlay_find_name(const struct overlay *o,
                                  struct position stream, uint64_t name_hash)
{
    struct name_key key = {stream, name_hash};
    return map_find(&o->by_name, name_hash, name_matches, &key);
}

void overlay_set_name(struct overlay *o, struct pending *p,
                      struct position stream, uint64_t name_hash)
{
    struct pending *before = overlay_find_name(o, stream, name_hash);
    if (before != NULL)
        unset_name(o, before);
    p->stream = stream;
    p->name_hash = name_hash;
    if (name_hash != 0)
        map_insert(&o->by_name, name_hash, p);
}

void overlay_write(struct overlay *o, struct journal_line line)
{
    if (o->journal_end == o->journal_capacity) {
        /* Half of it read: move what is left to the front instead. */
        size_t count = o->journal_end - o->journal_begin;
        if (count <= o->journal_capacity / 2 && count > 0)
            memmove(o->journal, o->journal + o->journal_begin,
                    count * sizeof *o->journal);
        if (count <= o->journal_capacity / 2) {
            o->journal_begin = 0;
            o->journal_end = count;
        }
    }
    if (o->journal_end == o->journal_capacity) {
        size_t grown = o->journal_capacity == 0 ? 16 : o->journal_capacity * 2;
        o->journal = mem_resize(o->journal, grown * sizeof *o->journal);
        o->journal_capacity = grown;
    }
    o->journal[o->journal_end++] = line;
}

bool overlay_read(struct overlay *o, uint64_t number, struct journal_line *out)
{
    while (o->journal_begin < o->journal_end &&
           o->journal[o->journal_begin].number < number)
        o->journal_begin++;
    if (o->journal_begin == o->journal_end ||
        o->journal[o->journal_begin].number != number)
        return false;
    *out = o->journal[o->journal_begin++];
    return true;
}
