/* fuzz_entry.c - any bytes as a manifest: checked, then walked whole. What
 * the check accepts, the readers must understand, and the builder must make
 * again (one meaning, one encoding). */
#include "ring/entry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk_commands(struct span manifest, const struct entry_header *h)
{
    struct entry_iter it;
    struct command c;
    struct buf out = {0};
    struct entry_builder b;
    ASSERT(entry_begin(&it, manifest) == ERR_OK);
    entry_build(&b, &out, h->stamp);
    uint32_t count = 0;
    enum err err = ERR_OK;
    while (entry_next(&it, &c)) {
        ASSERT(c.ordinal == count);
        count++;
        if (err == ERR_OK)
            err = entry_add(&b, &c);
    }
    ASSERT(count == h->command_count);
    ASSERT(err == ERR_OK);
    entry_end(&b);
    /* Shorter, where the manifest does not say "continues" but could. */
    ASSERT(out.size <= manifest.size);
    ASSERT(entry_check(span_buf(&out)) == ERR_OK);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span manifest = span_of(data, size);
    struct entry_header h;
    struct config config;
    struct entry_record record;
    struct entry_iter it;
    struct command c;
    enum err header = entry_read_header(manifest, &h);
    enum err as_config = entry_read_config(manifest, &config);
    enum err as_record = entry_read_record(manifest, &record);
    if (entry_begin(&it, manifest) == ERR_OK)
        while (entry_next(&it, &c))
            continue;
    if (entry_check(manifest) != ERR_OK)
        return 0;
    ASSERT(header == ERR_OK);
    ASSERT((as_config == ERR_OK) == (h.kind == ENTRY_CONFIG));
    ASSERT((as_record == ERR_OK) == (h.kind == ENTRY_RECORD));
    if (h.kind == ENTRY_COMMANDS)
        walk_commands(manifest, &h);
    return 0;
}
