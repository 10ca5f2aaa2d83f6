/* check.c - see check.h. */
#include "net/check.h"

void check_put_cursor(struct enc *e, const struct scrub_cursor *c)
{
    enc_u8(e, (uint8_t)c->phase);
    enc_u64(e, c->index);
    enc_position(e, c->row.stream);
    enc_u64(e, c->row.seq);
}

void check_get_cursor(struct dec *d, struct scrub_cursor *out)
{
    uint8_t phase = dec_u8(d);
    if (phase > SCRUB_DONE)
        dec_fail(d);
    out->phase = d->is_bad ? SCRUB_STATE : (enum scrub_phase)phase;
    out->index = dec_u64(d);
    out->row.stream = dec_position(d);
    out->row.seq = dec_u64(d);
}

/* ---- out --------------------------------------------------------------- */

static void put_damage(struct enc *e, const struct scrub_damage *damage)
{
    enc_position(e, damage->stream);
    enc_u64(e, damage->first_seq);
    enc_u16(e, damage->count);
    enc_u16(e, damage->bad_count);
    enc_u64(e, damage->bad_seq);
    enc_position(e, damage->at);
}

static void put_answer(struct enc *e, const struct check_answer *a)
{
    ASSERT(a->damage_count <= SCRUB_DAMAGES_MAX);
    enc_u64(e, a->stored);
    enc_u64(e, a->applied);
    enc_u8(e, a->has_state);
    enc_u64(e, a->state_index);
    enc_hash128(e, a->state);
    check_put_cursor(e, &a->next);
    enc_hash128(e, a->sums.digest);
    enc_u64(e, a->sums.rows);
    enc_u64(e, a->sums.segments);
    enc_u64(e, a->sums.bytes);
    enc_u32(e, a->damage_count);
    for (uint32_t i = 0; i < a->damage_count; i++)
        put_damage(e, &a->damages[i]);
}

void check_write(struct buf *out, const struct check_answer *a)
{
    struct enc measured = enc_of(NULL, 0);
    put_answer(&measured, a);
    struct enc e = enc_of(buf_grow(out, measured.size), measured.size);
    put_answer(&e, a);
    ASSERT(e.size == measured.size);
}

/* ---- in ---------------------------------------------------------------- */

static void get_damage(struct dec *d, struct scrub_damage *out)
{
    out->stream = dec_position(d);
    out->first_seq = dec_u64(d);
    out->count = dec_u16(d);
    out->bad_count = dec_u16(d);
    out->bad_seq = dec_u64(d);
    out->at = dec_position(d);
    uint64_t behind = out->bad_seq - out->first_seq;
    if (out->first_seq > UINT64_MAX - out->count || out->bad_count == 0 ||
        out->bad_seq < out->first_seq || behind >= out->count ||
        out->bad_count > out->count - behind)
        dec_fail(d);
}

enum err check_read(struct span bytes, struct check_answer *out)
{
    struct dec d = dec_of(bytes);
    *out = (struct check_answer){.stored = dec_u64(&d)};
    out->applied = dec_u64(&d);
    uint8_t has_state = dec_u8(&d);
    out->has_state = has_state == 1;
    out->state_index = dec_u64(&d);
    out->state = dec_hash128(&d);
    check_get_cursor(&d, &out->next);
    out->sums.digest = dec_hash128(&d);
    out->sums.rows = dec_u64(&d);
    out->sums.segments = dec_u64(&d);
    out->sums.bytes = dec_u64(&d);
    out->damage_count = dec_u32(&d);
    if (has_state > 1 || out->damage_count > SCRUB_DAMAGES_MAX)
        return ERR_BAD_REQUEST;
    for (uint32_t i = 0; i < out->damage_count; i++)
        get_damage(&d, &out->damages[i]);
    return dec_done(&d) ? ERR_OK : ERR_BAD_REQUEST;
}
