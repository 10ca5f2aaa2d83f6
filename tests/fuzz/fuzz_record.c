/* fuzz_record.c - the ring record's decoder: whatever it accepts makes sense,
 * encodes to the same bytes, and can be folded on. */
#include "ring/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The fold of a large ring takes ms: small ones must do. */
#define FOLD_PARTITIONS_MAX 64u

static void use(struct record *r, struct span bytes)
{
    ASSERT(record_fault(r) == NULL);
    struct buf out = {0};
    record_encode(r, &out);
    ASSERT(span_equal(span_buf(&out), bytes));
    buf_clear(&out);
    record_dump(r, &out);
    buf_free(&out);
    if (r->partitions > FOLD_PARTITIONS_MAX || r->epoch.number == UINT64_MAX)
        return;
    record_advance(r, 0);
    /* The only new fault: nobody is left that could stand in a row. */
    const char *fault = record_fault(r);
    ASSERT(fault == NULL || strcmp(fault, "a row is empty") == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct record *r;
    enum err err = record_decode(span_of(data, size), &r);
    ASSERT((err == ERR_OK) == (r != NULL));
    if (r != NULL)
        use(r, span_of(data, size));
    record_free(r);
    return 0;
}
