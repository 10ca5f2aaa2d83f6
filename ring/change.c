/* change.c - see change.h. */
#include "ring/change.h"

bool change_is_of_member(enum change_kind kind)
{
    switch (kind) {
    case CHANGE_DRAIN:
    case CHANGE_ADD:
    case CHANGE_REMOVE:
    case CHANGE_WEIGHT:
    case CHANGE_ZONE:
    case CHANGE_RECOVER:
        return true;
    case CHANGE_COPIES:
    case CHANGE_OUT_AFTER:
    case CHANGE_REPAIR_RATE:
        break;
    }
    return false;
}

/* The values that a kind allows; 0..0: it has none. */
static bool is_value(const struct change *c)
{
    switch (c->kind) {
    case CHANGE_DRAIN:
    case CHANGE_ADD:
    case CHANGE_REMOVE:
    case CHANGE_ZONE:
        return c->value == 0;
    case CHANGE_WEIGHT:
        return c->value >= 1 && c->value <= WEIGHT_MAX;
    case CHANGE_COPIES:
        return c->value >= 1 && c->value <= REPLICATION_MAX;
    case CHANGE_OUT_AFTER:
        return c->value >= OUT_AFTER_MIN_MS && c->value <= OUT_AFTER_MAX_MS;
    case CHANGE_REPAIR_RATE:
        return c->value >= REPAIR_RATE_MIN && c->value <= REPAIR_RATE_MAX;
    case CHANGE_RECOVER:
        return c->value >= 1 && c->value <= PARTITIONS_MAX;
    }
    return false;
}

static bool is_zone_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

static bool is_zone(const char *zone)
{
    for (size_t i = 0; zone[i] != 0; i++)
        if (!is_zone_char(zone[i]))
            return false;
    return true;
}

const char *change_fault(const struct change *c)
{
    if (change_is_of_member(c->kind) ? c->slot >= MEMBERS_MAX : c->slot != 0)
        return "a change of no member";
    if (!is_value(c))
        return "a change's value is out of range";
    if (c->kind == CHANGE_ZONE ? !is_zone(c->zone) : c->zone[0] != 0)
        return "a zone's name is none";
    static const struct generation none;
    uint32_t counter = c->generation.counter;
    if (c->kind == CHANGE_RECOVER ? counter == 0 || counter > GENERATIONS_MAX
                                  : !generation_equal(c->generation, none))
        return "a generation that is none";
    return NULL;
}

bool change_equal(const struct change *a, const struct change *b)
{
    return a->kind == b->kind && a->slot == b->slot && a->value == b->value &&
           strcmp(a->zone, b->zone) == 0 &&
           generation_equal(a->generation, b->generation);
}

void change_write(struct enc *e, const struct change *c)
{
    ASSERT(change_fault(c) == NULL);
    enc_u8(e, (uint8_t)c->kind);
    enc_u16(e, c->slot);
    enc_u32(e, c->value);
    enc_string(e, span_str(c->zone));
    if (c->kind == CHANGE_RECOVER)
        enc_generation(e, c->generation);
}

void change_read(struct dec *d, struct change *out)
{
    *out = (struct change){0};
    uint8_t kind = dec_u8(d);
    out->slot = dec_u16(d);
    out->value = dec_u32(d);
    struct span zone = dec_string(d);
    bool is_good = !d->is_bad && kind >= CHANGE_DRAIN &&
                   kind <= CHANGE_RECOVER && zone.size <= ZONE_NAME_MAX &&
                   (zone.size == 0 || memchr(zone.data, 0, zone.size) == NULL);
    if (!is_good) {
        dec_fail(d);
        return;
    }
    out->kind = (enum change_kind)kind;
    if (zone.size > 0)
        memcpy(out->zone, zone.data, zone.size);
    if (out->kind == CHANGE_RECOVER)
        out->generation = dec_generation(d);
    if (change_fault(out) != NULL)
        dec_fail(d);
}
