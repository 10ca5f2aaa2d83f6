/* fuzz_wire.c - any bytes as a message between nodes, and as frames alone.
 * What is taken is written again, to the same bytes (one meaning, one
 * encoding); what is skipped is counted. */
#include "net/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PAYLOAD_BYTES 4096u /* behind frames that come without a message */

/* An APPEND's entries as items, for writing it again. */
static struct item **items_of(struct item_pool *pool, const struct frame *f)
{
    struct item **items = mem_alloc(f->msg.item_count * sizeof *items);
    struct dec entries = dec_of(f->entries);
    struct frame_entry entry;
    uint32_t count = 0;
    uint32_t at = f->payload_at;
    while (wire_frame_entry_next(&entries, &entry)) {
        ASSERT(count < f->msg.item_count);
        ASSERT(entry_check(entry.manifest) == ERR_OK);
        struct slice slice = {1, at, entry.payload_bytes};
        items[count++] = item_new(pool, entry.manifest, &slice,
                                  entry.payload_bytes > 0 ? 1 : 0);
        at += entry.payload_bytes;
    }
    ASSERT(count == f->msg.item_count);
    ASSERT(at == f->payload_at + f->payload_bytes);
    return items;
}

static void free_items(struct item_pool *pool, struct item **items,
                       uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        item_unref(pool, items[i]);
    mem_free(items);
    ASSERT(pool->live == 0);
    item_pool_free(pool);
}

static void write_again(struct frame *f, struct span bytes)
{
    struct wire_out o = {0};
    struct item_pool pool = {0};
    uint32_t count = 0;
    if (f->msg.kind == RAFT_APPEND) {
        count = f->msg.item_count;
        f->msg.items = items_of(&pool, f);
    }
    wire_frame_write(&o, f);
    ASSERT(span_equal(span_buf(&o.bytes), bytes));
    ASSERT(o.payload_bytes == f->payload_bytes);
    free_items(&pool, f->msg.items, count);
    wire_out_free(&o);
}

static void read_frames(const struct wire_in *in)
{
    struct frame_iter it;
    struct frame f;
    wire_frame_begin(&it, in);
    for (;;) {
        uint64_t skipped = it.skipped;
        size_t from = it.d.at;
        if (!wire_frame_next(&it, &f))
            break;
        ASSERT(f.payload_at + f.payload_bytes <=
               in->payload_at + in->payload.size);
        /* Where one was skipped it is not known where this one begins. */
        if (it.skipped == skipped)
            write_again(&f, span_of(it.d.data + from, it.d.at - from));
    }
    ASSERT(it.payload_at <= it.payload_end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t payload[PAYLOAD_BYTES];
    struct wire_in in;
    enum wire_lane lane;
    if (wire_read(span_of(data, size), &in) == ERR_OK &&
        wire_kind_lane(in.header.kind, &lane))
        read_frames(&in);
    in = (struct wire_in){.inline_part = span_of(data, size),
                          .payload = span_of(payload, sizeof payload)};
    read_frames(&in);
    return 0;
}
