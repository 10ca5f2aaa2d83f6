/* change.h - one thing that an operator changes in the ring: a member's
 * standing, weight or zone, a setting of the record, or who founds a group
 * anew.
 *
 * A change is a value: the operator's tool lists them, the record keeps those
 * that are staged, and record_change carries one out. Bytes: kind u8, slot u16,
 * value u32, zone string, and of RECOVER generation 12; what a kind does not
 * use is zero, so that a change has one encoding. */
#ifndef RING_CHANGE_H
#define RING_CHANGE_H

#include "ring/codec.h"
#include "ring/limits.h"

enum change_kind {
    CHANGE_DRAIN = 1,  /* slot: its replicas go elsewhere, then it has left */
    CHANGE_ADD = 2,    /* slot: it stays after all, a drain is given up */
    CHANGE_REMOVE = 3, /* slot: it has left, at once */
    CHANGE_WEIGHT = 4, /* slot, value: 1 .. WEIGHT_MAX */
    CHANGE_ZONE = 5,   /* slot, zone; empty: a zone of its own */
    CHANGE_COPIES = 6, /* value: N */
    CHANGE_OUT_AFTER = 7, /* value: ms, OUT_AFTER_MIN_MS .. OUT_AFTER_MAX_MS */
    CHANGE_REPAIR_RATE = 8, /* value: bytes a second of a node, REPAIR_RATE_MIN
                               .. REPAIR_RATE_MAX */
    CHANGE_RECOVER = 9,     /* slot, value: a partition's group, generation: the
                               group's majority is lost, and this member founds its
                               next life, of this generation (S7, T12) */
};

struct change {
    enum change_kind kind;
    uint16_t slot;
    uint32_t value;
    char zone[ZONE_NAME_MAX + 1];
    struct generation generation;
};

#define CHANGE_BYTES_MAX (1u + 2u + 4u + 2u + ZONE_NAME_MAX + 12u)

void change_write(struct enc *e, const struct change *c);
/* Fails the decoder on what change_fault objects to. */
void change_read(struct dec *d, struct change *out);
/* What makes no sense in it by itself, as a static text, or NULL. */
const char *change_fault(const struct change *c);
/* True if it is about a member: `slot` means something. */
bool change_is_of_member(enum change_kind kind);
bool change_equal(const struct change *a, const struct change *b);

#endif
