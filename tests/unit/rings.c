/* rings.c - see rings.h. */
#include "tests/unit/rings.h"

#include <stdio.h>

struct id128 rings_id(unsigned n)
{
    struct id128 id;
    memset(id.bytes, (int)n, sizeof id.bytes);
    return id;
}

struct member rings_member(unsigned n)
{
    struct member m = {
        .node = rings_id(n),
        .weight = WEIGHT_DEFAULT,
        .level = LEVEL_NOW,
        .client_address = "h:1",
        .peer_address = "h:2",
    };
    memset(m.public_key, (int)(255 - n), sizeof m.public_key);
    (void)snprintf(m.name, sizeof m.name, "n%u", n);
    return m;
}

struct client_key rings_key(unsigned n, uint32_t rights)
{
    struct client_key k = {.rights = rights, .name = "admin"};
    memset(k.public_key, (int)n, sizeof k.public_key);
    return k;
}

struct record *rings_begin(unsigned count, uint32_t partitions)
{
    struct record *r = record_new();
    r->cluster = rings_id(0xc0);
    r->generation = (struct generation){2, 0x0102030405060708};
    r->partitions = partitions;
    struct member founder = rings_member(1);
    record_begin(r, &founder, T0);
    for (unsigned n = 2; n <= count; n++) {
        struct member m = rings_member(n);
        assert_int_equal(record_join(r, &m, T0), ERR_OK);
        record_see(r, (uint16_t)(n - 1), SEEN_UP, T0);
    }
    return r;
}

struct record *rings_advanced(unsigned count, uint32_t partitions)
{
    struct record *r = rings_begin(count, partitions);
    record_advance(r, T0);
    assert_null(record_fault(r));
    return r;
}

bool rings_same(const struct record *a, const struct record *b)
{
    struct buf x = {0}, y = {0};
    record_encode(a, &x);
    record_encode(b, &y);
    bool same = span_equal(span_buf(&x), span_buf(&y));
    buf_free(&x);
    buf_free(&y);
    return same;
}
