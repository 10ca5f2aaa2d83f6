/* words.c - see words.h. */
#include "tests/cases/words.h"

void print_position(struct position id, struct buf *out)
{
    buf_printf(out, "%llu.%u", (unsigned long long)id.index, id.ordinal);
}

void print_verdict(enum command_kind kind, const struct verdict *v,
                   struct buf *out)
{
    buf_printf(out, "%s%s", err_name(v->err),
               v->is_duplicate ? " (as before)" : "");
    bool is_ok = v->err == ERR_OK;
    if (is_ok && kind != COMMAND_APPEND) {
        buf_printf(out, " id=");
        print_position(v->id, out);
    }
    if (is_ok && kind == COMMAND_OPEN_PRODUCER)
        buf_printf(out, " epoch=%u next=%llu", v->producer_epoch,
                   (unsigned long long)v->next_number);
    if (is_ok && kind == COMMAND_APPEND)
        buf_printf(out, " seq=%llu", (unsigned long long)v->seq);
    if (v->err == ERR_OUT_OF_ORDER)
        buf_printf(out, " next=%llu", (unsigned long long)v->next_number);
    if (v->err == ERR_CONFLICT)
        buf_printf(out, " end=%llu", (unsigned long long)v->next_seq);
    buf_printf(out, "\n");
}

void print_standing(const struct member *m, struct buf *out)
{
    static const char *const wanted[] = {
        [WANTED_IN] = "",
        [WANTED_DRAINING] = "draining, ",
        [WANTED_LEFT] = "left, ",
    };
    static const char *const seen[] = {
        [SEEN_JOINING] = "joining", [SEEN_UP] = "up",     [SEEN_OUT] = "out",
        [SEEN_UNFIT] = "unfit",     [SEEN_GONE] = "gone",
    };
    buf_printf(out, "%s%s", wanted[m->wanted], seen[m->seen]);
}
