/* cmd_heal.c - see cmd_heal.h. */
#include "tools/cmd_heal.h"

#include <stdio.h>

#include "tools/cli.h"

#define BAR_WIDTH 20u /* the line fits a terminal of 80 columns */

/* About: what a replica lacks of `bytes`, by its own word or, where it gets the
 * log, by how much of that it has. */
static uint64_t lacks(const struct cmd_view *v, const struct status_group *g,
                      const struct status_replica *r)
{
    const struct cmd_view_transfer *at =
        cmd_view_transfer(v, g->group, r->node);
    if (at != NULL)
        return g->bytes - min_u64(at->t.bytes, g->bytes);
    if (!r->is_live || g->commit == 0)
        return g->bytes;
    uint64_t behind = g->commit - min_u64(r->match, g->commit);
    return g->bytes / 1000 * (behind * 1000 / g->commit);
}

static void count_group(const struct cmd_view *v, uint32_t group,
                        struct cmd_heal *h)
{
    const struct cmd_view_group *at = &v->groups[group];
    uint32_t row, missing = v->record->copies;
    (void)record_row(v->record, group, &row);
    h->copies += v->record->copies;
    for (uint32_t i = 0;
         at->has_leader && i < at->g.replica_count && missing > 0; i++) {
        const struct status_replica *r = &at->g.replicas[i];
        if (record_rank(v->record, group, record_slot(v->record, r->node)) >=
            row)
            continue; /* on its way out */
        missing--;
        h->moving += !r->is_voter;
        if (r->is_voter && r->is_live && r->match >= at->g.commit)
            h->whole++;
        else
            h->bytes += lacks(v, &at->g, r);
    }
    h->bytes += missing * at->g.bytes;
}

void cmd_heal_count(const struct cmd_view *v, struct cmd_heal *out)
{
    *out = (struct cmd_heal){0};
    for (uint32_t group = 1; group < v->record->row_count; group++)
        count_group(v, group, out);
}

void cmd_heal_text(const struct cmd_heal *h, char text[256])
{
    char bar[BAR_WIDTH + 1], bytes[CLI_TEXT_SIZE];
    uint32_t done = h->copies == 0 ? 0 : h->whole * BAR_WIDTH / h->copies;
    memset(bar, '-', BAR_WIDTH);
    memset(bar, '#', done);
    bar[BAR_WIDTH] = 0;
    (void)snprintf(text, 256,
                   "[%s] %u of %u copies whole, %u on their way, %s to go", bar,
                   h->whole, h->copies, h->moving, cli_size(h->bytes, bytes));
}
