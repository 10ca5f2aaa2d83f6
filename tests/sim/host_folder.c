/* host_folder.c - a host's folder, apart from the process on it; see host.h. */
#include "storage/store_founding.h"
#include "tests/sim/host.h"
#include "tests/sim/watch.h"

#define FULL_USED_PERCENT 95u

static const uint8_t *store_bytes(void *ctx, uint64_t handle)
{
    const struct host *h = ctx;
    return buffers_span(&h->buffers, handle).data;
}

/* ---- its beginning ----------------------------------------------------- */

struct member host_member(const struct host *h)
{
    struct member m = {
        .node = h->id,
        .weight = WEIGHT_DEFAULT,
        .level = LEVEL_NOW,
        .wanted = WANTED_IN,
        .seen = SEEN_JOINING,
    };
    memcpy(m.name, h->name, sizeof h->name);
    memcpy(m.client_address, h->client_address, sizeof h->client_address);
    memcpy(m.peer_address, h->peer_address, sizeof h->peer_address);
    return m;
}

void host_found(struct host *h)
{
    struct world *w = h->w;
    struct member m = host_member(h);
    struct record *r = record_new();
    r->cluster = w->cluster;
    r->generation = (struct generation){1, rng_next(&w->rng)};
    r->partitions = w->plan.groups - 1;
    r->copies = w->plan.copies;
    r->out_after_ms = w->plan.out_after_ms;
    r->acks = record_majority(r->copies);
    r->is_insecure = true;
    record_begin(r, &m, host_wall_ms(h));
    ASSERT(record_fault(r) == NULL);
    struct buf bytes = {0};
    record_encode(r, &bytes);
    struct store_founding f = {
        .folder = {w->cluster, h->id, r->partitions, 0},
        .generation = r->generation,
        .stamp = {r->epoch, r->level, host_wall_ms(h)},
        .record = span_buf(&bytes),
        .ring_row_key = span_str(RECORD_ROW_KEY),
        .ring_row_value = span_buf(&bytes),
        .ring_digest =
            streams_row_digest(span_str(RECORD_ROW_KEY), span_buf(&bytes)),
    };
    h->store = store_model_new(&f, store_bytes, h);
    struct store_founding_batch b;
    store_founding_begin(&b, &f);
    watch_durable(w->watch, h, &b.batch);
    watch_founded(w->watch);
    store_founding_end(&b);
    h->reader = store_reader_open(h->store);
    h->is_member = true;
    buf_free(&bytes);
    record_free(r);
}

void host_commit_alone(struct host *h, struct store_command c)
{
    struct store_batch b = {0, &c, 1};
    struct store_done done;
    enum err err = store_commit(h->store, &b, &done);
    ASSERT(err == ERR_OK);
}

void host_join(struct host *h, struct span record)
{
    if (h->store == NULL) {
        struct store_founding f = {.folder = {h->w->cluster, h->id, 0, 0}};
        h->store = store_model_new(&f, store_bytes, h);
        h->reader = store_reader_open(h->store);
    }
    host_commit_alone(
        h, (struct store_command){.kind = STORE_RECORD, .bytes = record});
    h->is_member = true;
}

void host_set_full(struct host *h, bool is_full)
{
    uint64_t used = is_full ? MAP_BYTES_DEFAULT / 100 * FULL_USED_PERCENT : 0;
    h->is_full = is_full;
    if (h->store == NULL)
        return;
    store_model_set_space(h->store, (struct store_space){
                                        .map_bytes = MAP_BYTES_DEFAULT,
                                        .map_used = used,
                                        .disk_bytes = MAP_BYTES_DEFAULT,
                                        .disk_free = MAP_BYTES_DEFAULT - used,
                                    });
}

/* ---- images ------------------------------------------------------------ */

struct host_image *host_image(const struct host *h)
{
    struct host_image *i = mem_alloc(sizeof *i);
    i->store = store_model_copy(h->store, NULL);
    i->seen = watch_image(h->w->watch, h);
    i->boot = h->boot;
    i->life = h->life;
    i->is_rotten = h->is_rotten;
    return i;
}

void host_image_free(struct host_image *i)
{
    if (i == NULL)
        return;
    store_close(i->store);
    watch_image_free(i->seen);
    mem_free(i);
}

static void take_store(struct host *h, const struct store *from)
{
    store_reader_close(h->reader);
    store_close(h->store);
    h->store = store_model_copy(from, h);
    h->reader = store_reader_open(h->store);
    host_set_full(h, h->is_full);
}

void host_restore(struct host *h, struct host_image *i)
{
    ASSERT(h->node == NULL);
    take_store(h, i->store);
    h->is_rotten = i->is_rotten;
    if (!h->is_ghost)
        watch_restore(h->w->watch, h, i->seen);
    if (i != h->doubt)
        host_image_free(h->doubt);
    h->doubt = NULL;
    host_image_free(i);
}

struct host *host_copy(struct host *h, const struct host_image *folder)
{
    struct host *copy = host_new(h->w, HOST_COPY);
    copy->id = h->id;
    memcpy(copy->name, h->name, sizeof h->name);
    memcpy(copy->peer_address, h->peer_address, sizeof h->peer_address);
    memcpy(copy->client_address, h->client_address, sizeof h->client_address);
    copy->is_member = copy->is_ghost = true;
    take_store(copy, folder->store);
    return copy;
}

void host_lose(struct host *h)
{
    ASSERT(h->node == NULL);
    h->is_lost = true;
    h->life++; /* nor does it start again */
    if (h->index != HOST_COPY)
        h->w->core &= ~(1u << h->index);
    world_fault(h->w, "%s's folder is LOST for good", h->name);
}
