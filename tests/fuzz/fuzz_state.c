/* fuzz_state.c - any bytes as a list of images (ring/rows.h), and each of them
 * as a row of a partition: loaded, or read as a run. What is accepted must
 * hold together. */
#include "ring/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_run(const struct image *image)
{
    struct run_row row;
    struct run_segment segment;
    if (run_row_read(image->key, image->value, &row) != ERR_OK)
        return;
    uint32_t end = row.offset;
    for (uint32_t i = 0; i < row.count; i++) {
        ASSERT(run_row_segment(&row, i, &segment));
        ASSERT(segment.seq == row.first_seq + i && segment.offset == end);
        end += segment.size;
    }
    ASSERT(end <= ENTRY_PAYLOAD_BYTES_MAX);
    ASSERT(!run_row_segment(&row, row.count, &segment));
}

/* One meaning, one encoding: the digest of a row that was read and written
 * again must be the same. */
static void try_producer(const struct image *image)
{
    struct producer *p =
        producer_row_read((struct position){1, 0}, image->value);
    if (p == NULL)
        return;
    struct buf again = {0};
    producer_check(p);
    producer_row_write(p, &again);
    ASSERT(span_equal(span_buf(&again), image->value));
    buf_free(&again);
    producer_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dec d = dec_of(span_of(data, size));
    struct image image;
    struct state st = {0};
    while (image_next(&d, &image)) {
        if (image.space == ROW_INDEX) {
            try_run(&image);
        } else {
            try_producer(&image);
            enum err err = state_load(&st, image.key, image.value);
            ASSERT(err == ERR_OK || err == ERR_CORRUPT);
        }
    }
    state_settle(&st);
    (void)state_sorted(&st);
    state_free(&st);
    return 0;
}
