/* fuzz_keys.c - any bytes as a key file. What is taken is written again and
 * read to the same keys; what is refused has a reason and leaves none. */
#include "net/keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct keys k;
    struct keys again;
    uint32_t line = 0;
    const char *reason = NULL;
    if (size > KEY_FILE_BYTES_MAX)
        return 0;
    if (keys_parse(span_of(data, size), &k, &line, &reason) != ERR_OK) {
        ASSERT(reason != NULL);
        ASSERT(id_is_zero(k.cluster) && k.contact_count == 0);
        return 0;
    }
    struct buf text = {0};
    keys_format(&k, &text);
    enum err err = keys_parse(span_buf(&text), &again, &line, &reason);
    ASSERT(err == ERR_OK);
    ASSERT(id_equal(k.cluster, again.cluster));
    ASSERT(memcmp(k.secret_key, again.secret_key, KEY_BYTES) == 0);
    ASSERT(k.contact_count == again.contact_count);
    for (uint32_t i = 0; i < k.contact_count; i++)
        ASSERT(strcmp(k.contacts[i].address, again.contacts[i].address) == 0);
    buf_free(&text);
    return 0;
}
