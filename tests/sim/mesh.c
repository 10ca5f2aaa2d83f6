/* mesh.c - the network between hosts and users; see world.h. */
#include "tests/sim/world.h"

/* Mostly about delay_us, sometimes much more: what is late here is overtaken
 * by what comes after. */
static uint64_t draw_delay(struct world *w)
{
    const struct plan *p = &w->plan;
    uint64_t delay = p->delay_us + world_draw(w, p->jitter_us);
    if (fault_strikes(w, FAULT_LATE, p->long_per_mille))
        delay += world_draw(w, (uint64_t)p->long_ms * 1000);
    return delay;
}

static void launch(struct world *w, enum event_kind kind, uint32_t to,
                   uint64_t life, struct packet *p, uint64_t delay_us)
{
    p->refs++;
    world_at(w, delay_us, kind, to, life, w->now_us, p);
}

void mesh_send(struct world *w, enum event_kind kind, uint32_t from,
               uint32_t to, uint64_t life, uint64_t number, uint8_t *data,
               size_t size)
{
    bool is_peer = kind == EVENT_PACKET;
    uint32_t to_host = to < HOSTS_MAX ? to : to - HOSTS_MAX;
    struct packet *p = mem_alloc(sizeof *p);
    *p = (struct packet){1, from, number, data, size};
    w->totals.messages++;
    w->totals.bytes += size;
    uint32_t loss =
        is_peer ? w->plan.loss_per_mille : w->plan.user_loss_per_mille;
    if (!fault_strikes(w, FAULT_LOSS, loss))
        launch(w, kind, to_host, life, p, draw_delay(w));
    if (is_peer && fault_strikes(w, FAULT_DUPLICATE, w->plan.dup_per_mille)) {
        uint64_t delay = draw_delay(w);
        if (fault_strikes(w, FAULT_STALE, 500))
            delay += world_draw(w, (uint64_t)w->plan.stale_ms * 1000);
        launch(w, kind, to_host, life, p, delay);
    }
    mesh_drop(p);
}

void mesh_drop(struct packet *p)
{
    if (--p->refs > 0)
        return;
    mem_free(p->data);
    mem_free(p);
}

uint8_t *mesh_receive(struct world *w, const struct event *e, uint32_t to,
                      size_t *size, uint32_t *from, uint64_t *number)
{
    struct packet *p = e->data;
    if (w->blocked[p->from][to] > 0) {
        w->totals.cut++;
        mesh_drop(p);
        return NULL;
    }
    uint64_t *newest = &w->newest_us[p->from][to];
    if (e->number < *newest)
        w->totals.reordered++;
    else
        *newest = e->number;
    *size = p->size;
    *from = p->from;
    *number = p->number;
    uint8_t *data = p->data;
    if (p->refs > 1)
        data = mem_copy(p->data, p->size);
    else
        p->data = NULL;
    mesh_drop(p);
    return data;
}
