/* store_payload.c - see store_payload.h. */
#include "storage/store_payload.h"

enum err store_runs_begin(struct store_runs *r, struct span manifest)
{
    *r = (struct store_runs){0};
    struct entry_header header;
    if (entry_read_header(manifest, &header) != ERR_OK)
        return ERR_DAMAGED;
    if (header.kind != ENTRY_COMMANDS)
        return ERR_OK;
    if (entry_begin(&r->commands, manifest) != ERR_OK)
        return ERR_DAMAGED;
    r->has_next = entry_next(&r->commands, &r->next);
    return ERR_OK;
}

bool store_runs_next(struct store_runs *r, struct store_run *out)
{
    while (r->has_next && r->next.kind != COMMAND_APPEND)
        r->has_next = entry_next(&r->commands, &r->next);
    if (!r->has_next)
        return false;
    struct position stream = r->next.stream;
    *out = (struct store_run){r->next.ordinal, r->offset, 0};
    while (r->has_next && r->next.kind == COMMAND_APPEND &&
           position_equal(r->next.stream, stream)) {
        out->bytes += r->next.size;
        r->has_next = entry_next(&r->commands, &r->next);
    }
    r->offset += out->bytes;
    return true;
}

bool store_gather_next(struct store_gather *g, uint8_t *to, size_t size)
{
    while (size > 0) {
        if (g->slice == g->item->slice_count)
            return false;
        const struct slice *s = &g->item->slices[g->slice];
        size_t part = (size_t)min_u64(size, s->size - g->offset);
        const uint8_t *from = g->bytes(g->ctx, s->handle);
        memcpy(to, from + s->offset + g->offset, part);
        to += part;
        size -= part;
        g->offset += (uint32_t)part;
        if (g->offset == s->size) {
            g->slice++;
            g->offset = 0;
        }
    }
    return true;
}
