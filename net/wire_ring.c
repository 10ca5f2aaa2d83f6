/* wire_ring.c - see wire_ring.h and wire.h.
 *
 *   CHANGE     act u8, forced u8, epoch 16, proposal 16, digest 16, count u32,
 *              changes (ring/change.h)
 *   standing   group u32, epoch 16, count u8, then slots u16; the highest bit
 *              of one: a voter */
#include "net/wire_ring.h"

#define VOTER_BIT           0x8000u
#define STANDINGS_BYTES_MAX (GROUPS_MAX * (4u + 16u + 1u + 2u * REPLICAS_MAX))

static_assert(MEMBERS_MAX < VOTER_BIT, "no slot looks like a voter");

/* ---- standings --------------------------------------------------------- */

static void put_standing(struct enc *e, const struct frame_standing *s)
{
    ASSERT(s->count <= REPLICAS_MAX);
    enc_u32(e, s->group);
    enc_epoch(e, s->epoch);
    enc_u8(e, (uint8_t)s->count);
    for (uint32_t i = 0; i < s->count; i++)
        enc_u16(e, (uint16_t)(s->slots[i] | (s->is_voter[i] ? VOTER_BIT : 0u)));
}

void wire_standing_write(struct buf *out, const struct frame_standing *s)
{
    struct enc measured = enc_of(NULL, 0);
    put_standing(&measured, s);
    struct enc e = enc_of(buf_grow(out, measured.size), measured.size);
    put_standing(&e, s);
}

bool wire_standing_next(struct dec *d, struct frame_standing *out)
{
    if (dec_left(d) == 0)
        return false;
    *out = (struct frame_standing){0};
    out->group = dec_u32(d);
    out->epoch = dec_epoch(d);
    uint8_t count = dec_u8(d);
    if (out->group >= GROUPS_MAX || count > REPLICAS_MAX)
        dec_fail(d);
    for (uint32_t i = 0; !d->is_bad && i < count; i++) {
        uint16_t slot = dec_u16(d);
        out->is_voter[i] = (slot & VOTER_BIT) != 0;
        out->slots[i] = (uint16_t)(slot & ~VOTER_BIT);
        if (out->slots[i] >= MEMBERS_MAX)
            dec_fail(d);
        out->count = i + 1;
    }
    return !d->is_bad;
}

struct span wire_ring_get_standings(struct dec *d)
{
    struct span list = dec_bytes(d, dec_left(d));
    struct dec walk = dec_of(list);
    struct frame_standing s;
    while (wire_standing_next(&walk, &s)) {
    }
    if (list.size == 0 || list.size > STANDINGS_BYTES_MAX || !dec_done(&walk))
        dec_fail(d);
    return list;
}

/* ---- changes ----------------------------------------------------------- */

void wire_change_write(struct buf *out, const struct change *c)
{
    struct enc measured = enc_of(NULL, 0);
    change_write(&measured, c);
    struct enc e = enc_of(buf_grow(out, measured.size), measured.size);
    change_write(&e, c);
}

bool wire_change_next(struct dec *d, struct change *out)
{
    if (dec_left(d) == 0)
        return false;
    change_read(d, out);
    return !d->is_bad;
}

void wire_ring_put_change(struct enc *e, const struct request *r)
{
    const struct change_request *c = &r->change;
    enc_u8(e, (uint8_t)c->act);
    enc_u8(e, c->is_forced);
    enc_epoch(e, r->epoch);
    enc_id(e, c->proposal);
    enc_hash128(e, c->digest);
    enc_u32(e, c->count);
    enc_bytes(e, c->changes.data, c->changes.size);
}

static bool is_count(enum change_act act, uint32_t count)
{
    switch (act) {
    case ACT_STAGE:
    case ACT_NOW:
        return count >= 1 && count <= CHANGES_MAX;
    case ACT_CLEAR:
    case ACT_COMMIT:
        break;
    }
    return count == 0;
}

void wire_ring_get_change(struct dec *d, struct request *out)
{
    struct change_request *c = &out->change;
    uint8_t act = dec_u8(d);
    uint8_t is_forced = dec_u8(d);
    out->epoch = dec_epoch(d);
    c->proposal = dec_id(d);
    c->digest = dec_hash128(d);
    c->count = dec_u32(d);
    c->changes = dec_bytes(d, dec_left(d));
    if (d->is_bad || act < ACT_STAGE || act > ACT_NOW || is_forced > 1 ||
        id_is_zero(c->proposal)) {
        dec_fail(d);
        return;
    }
    c->act = (enum change_act)act;
    c->is_forced = is_forced == 1;
    struct dec walk = dec_of(c->changes);
    struct change change;
    uint32_t count = 0;
    while (count < c->count && wire_change_next(&walk, &change))
        count++;
    if (!is_count(c->act, c->count) || count != c->count || !dec_done(&walk))
        dec_fail(d);
}
