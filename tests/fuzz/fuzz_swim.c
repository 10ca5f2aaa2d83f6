/* fuzz_swim.c - any bytes as a SWIM packet: the decoder refuses them, or what
 * it makes of them encodes to the same bytes; and a machine survives them.
 *
 * The first byte says which member sent it and how far time has gone on. */
#include "ring/swim.h"
#include "ring/swim_wire.h"

#define FUZZ_NODES 4u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct id128 id_of(uint8_t n)
{
    struct id128 id = {{0x10}};
    id.bytes[15] = n;
    return id;
}

static void decode_and_back(struct span bytes)
{
    struct swim_packet packet;
    if (!swim_wire_decode(bytes, &packet))
        return;
    uint8_t again[SWIM_BYTES_MAX];
    struct enc e = enc_of(again, sizeof again);
    swim_wire_head(&e, &packet);
    for (size_t i = 0; i < packet.claim_count; i++)
        swim_wire_claim(&e, &packet.claims[i]);
    ASSERT(enc_fits(&e));
    ASSERT(span_equal(enc_span(&e), bytes));
}

static void drain(struct swim *s)
{
    struct swim_effect effect;
    while (swim_pop(s, &effect))
        if (effect.kind == SWIM_SEND)
            decode_and_back(effect.bytes);
    swim_check(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct span bytes = span_of(data + 1, size - 1);
    decode_and_back(bytes);

    struct swim_seed seeds[FUZZ_NODES];
    for (uint8_t i = 0; i < FUZZ_NODES; i++)
        seeds[i] = (struct swim_seed){id_of(i), span_str("tcp://a:1")};
    struct swim_cfg cfg = swim_cfg_default();
    cfg.id = id_of(0);
    cfg.boot = 2;
    cfg.seed = 1;
    struct swim s;
    swim_init(&s, &cfg);
    swim_set_members(&s, seeds, FUZZ_NODES);
    swim_tick(&s, 0);
    drain(&s);
    uint8_t from = data[0] % (FUZZ_NODES + 1);
    /* Twice: the second meets what the first has left. */
    for (int i = 0; i < 2; i++) {
        enum err e = swim_recv(&s, id_of(from), bytes);
        ASSERT(e == ERR_OK || e == ERR_BAD_REQUEST || e == ERR_NOT_FOUND);
        drain(&s);
        swim_tick(&s, s.now_ms + data[0] * 100u);
        drain(&s);
    }
    swim_free(&s);
    return 0;
}
