/* record.h - the ring record: who is a member, with which keys and rights,
 * and which nodes shall keep which partition. Group 0's state machine.
 *
 * It is changed only by compare-and-append in group 0 (S12): a proposal names
 * the epoch it was made from and a random id; the first whose epoch still
 * holds wins, a repeated id gets its first answer (T26). The whole next record
 * travels in the entry: the leader of group 0 makes it with the verbs below,
 * everybody applies it with record_apply, and all nodes cache the newest on
 * disk.
 *
 *   record n --copy--> join, see, allow ... --advance--> record n+1
 *                                                            | encode
 *   record n --------------- record_apply <--- group 0 <-----+
 *
 * Members keep their slot (index in `members`) for ever; the table's rows are
 * slots. Two fields say how a member stands, and automation writes only the
 * second (T26): `wanted` is the operator's, `seen` is automatic. One step is
 * shared: who drains has left once no group counts on it any more (T6), and
 * that is written by the leader that has seen it; the operator asked for it.
 *
 * Newcomers (joining) are members at once and get copies when they are up,
 * which group 0's leader writes down once nobody else has joined for some
 * seconds (JOIN_SETTLE_MS) and all are heard: ten nodes that are started one
 * after the other are one fold. Folded one by one, the first of ten would be
 * given what the others then take from it again: 1.75 times the copies where
 * three become thirteen, 1.34 times from ten (make bench-ring). Since groups
 * walk within a second, a fold from where copies *are* could not bring that
 * back: only waiting can. Where members that are up are too few for N,
 * newcomers are not made to wait: the first of them, by slot, get copies in the
 * record that lets them in; and an operator's plan takes all of them in.
 *
 *   in <--add-- draining --every group says so--> left, gone
 *      --drain->    |                              ^
 *                   +--remove--> left --the same---+
 *
 * Bytes (little-endian, canonical: one record, one encoding):
 *
 *   version u16 = 1, level u16, then each tag once and in this order
 *   1 RING      cluster 16, epoch 16, generation 12, changed u64
 *   2 SETTINGS  partitions u32, copies u32, acks u32, out-after u32,
 *               is-insecure u8
 *   3 MEMBERS   count u32, then for each slot a tag 1, in it the tags
 *               1 IDENTITY  node 16, public key 32, name string
 *               2 PLACE     zone, client address, peer address strings,
 *                           weight u32
 *               3 STANDING  level u16, wanted u8, seen u8, out streak u8,
 *                           seen since u64, wanted since u64
 *   4 KEYS      count u32, then for each a tag 1, in it the tag
 *               1 KEY       public key 32, rights u32, name string
 *   5 TABLE     row count u32, then for each row: count u8, slots u16
 *   6 ANSWERS   count u32, then for each: proposal 16, err u8, epoch 16
 *   7 PLAN      count u32, then the changes (ring/change.h)
 *   8 REPAIR    rate u32; only if it is not the default, REPAIR_RATE
 *   9 LIVES     generation 12 that all partitions began with, count u32, then
 *               for each that was founded anew, ascending: group u32,
 *               generation 12, slot u16; only if the first is not the record's
 *               generation, or the count is not 0
 *
 * The last two are absent where they say nothing: a record that was written
 * before there was the tag is still canonical.
 *
 * A tag that is not known is refused, not skipped: whoever skipped it would
 * lose it at the next change. New tags come with a new feature level, which
 * the record bears only once every member knows it (T11); a binary below it
 * says INCOMPATIBLE before it reads any tag. */
#ifndef RING_RECORD_H
#define RING_RECORD_H

#include "ring/change.h"
#include "ring/entry.h"

#define KEY_BYTES 32u        /* a CURVE public key */
#define SLOT_NONE UINT16_MAX /* no member; a row ends */

enum member_wanted { WANTED_IN = 1, WANTED_DRAINING = 2, WANTED_LEFT = 3 };
enum member_seen {
    SEEN_JOINING = 1, /* in the record, has not been up yet: gets copies only
                         where the others are too few for N */
    SEEN_UP = 2,
    SEEN_OUT = 3,   /* dead for out-after: its replicas are replaced */
    SEEN_UNFIT = 4, /* up, but takes no new replicas (L5) */
    SEEN_GONE = 5,  /* has left, and no group counts on it: it may be told
                       FORGOTTEN (T6) */
};

struct member {
    struct id128 node;
    uint8_t public_key[KEY_BYTES];
    char name[NODE_NAME_MAX + 1];
    char zone[ZONE_NAME_MAX + 1];         /* empty: a zone of its own */
    char client_address[ADDRESS_MAX + 1]; /* HOST:PORT, seeds; gossip of a */
    char peer_address[ADDRESS_MAX + 1];   /* higher (boot, version) overrules */
    uint32_t weight;                      /* > 0; WEIGHT_DEFAULT is usual */
    uint16_t level; /* highest feature level its binary knows */
    enum member_wanted wanted;
    enum member_seen seen;
    uint8_t out_streak;     /* times it went out with less than a day between:
                               doubles the wait before it is up again (T28) */
    uint64_t seen_since_ms; /* wall clock of the record that changed it */
    uint64_t wanted_since;  /* number of the epoch that changed `wanted` */
};

enum rights {
    RIGHT_READ = 1,
    RIGHT_WRITE = 2,
    RIGHT_ADMIN = 4,
    RIGHT_JOIN = 8
};

#define RIGHTS_ALL                                                             \
    ((uint32_t)RIGHT_READ | RIGHT_WRITE | RIGHT_ADMIN | RIGHT_JOIN)

struct client_key {
    uint8_t public_key[KEY_BYTES];
    uint32_t rights; /* a set of enum rights, not empty */
    char name[NODE_NAME_MAX + 1];
};

struct proposal_answer {
    struct id128 proposal;
    enum err err;       /* OK or CONFLICT */
    struct epoch epoch; /* in force after it */
};

/* A partition's majority was lost, and its group founded anew (S7): this member
 * alone goes on, from its own log; lower generations are refused. */
struct record_life {
    uint32_t group;
    struct generation generation;
    uint16_t founder; /* slot */
};

struct record {
    struct id128 cluster;
    struct generation generation; /* group 0's */
    struct generation born;       /* the partitions', but for `lives` */
    struct epoch epoch;           /* record_epoch(generation, a number) */
    uint32_t partitions;          /* Q */
    uint32_t copies;              /* N */
    uint32_t acks; /* voters' disks a client command needs (T3) */
    uint32_t out_after_ms;
    uint32_t repair_rate; /* bytes a second of transfers to one node */
    uint16_t level;       /* feature level; never falls (T11) */
    bool is_insecure;
    uint64_t changed_ms;
    uint32_t member_count;
    struct member *members; /* by slot */
    uint32_t key_count;
    struct client_key *keys;
    /* Row 0 is group 0's, row p + 1 partition p's: the row of group g begins
     * at row_slots[g * REPLICATION_MAX]; SLOT_NONE behind its last slot. */
    uint32_t row_count; /* Q + 1 */
    uint16_t *row_slots;
    /* The staged plan: nothing of it is carried out yet. */
    uint32_t change_count; /* <= CHANGES_MAX */
    struct change changes[CHANGES_MAX];
    uint32_t life_count;
    struct record_life *lives; /* ascending by group */
    /* Memory of group 0 for T26, no part of what the ring has decided: it may
     * differ between two copies of one epoch. */
    uint32_t answer_count; /* <= RECORD_PROPOSALS, oldest first */
    struct proposal_answer answers[RECORD_PROPOSALS];
};

/* The epoch of a generation's record: the tag is the upper half of the
 * random. */
static inline struct epoch record_epoch(struct generation g, uint64_t number)
{
    return (struct epoch){g.counter, (uint32_t)(g.random >> 32), number};
}

/* ---- life and bytes ---------------------------------------------------- */

/* Owned by the caller. A new one has defaults (Q, N, acks = majority(N),
 * out-after, our level) and neither cluster nor members: see record_begin.
 * record_copy is deep; record_free accepts NULL. */
struct record *record_new(void);
struct record *record_copy(const struct record *r);
void record_free(struct record *r);

/* `out` is cleared first; at most RECORD_BYTES_MAX. The record must be without
 * fault: asserted. */
void record_encode(const struct record *r, struct buf *out);
/* BAD_REQUEST: not canonical, over a limit, or record_fault finds something;
 * INCOMPATIBLE: version or level above ours. On OK *out is owned by the
 * caller, without fault, and encodes to the same bytes; on error it is NULL.
 * No count is believed before it was held against its limit. */
NODISCARD enum err record_decode(struct span bytes, struct record **out);
/* What makes no sense in it, as a static text, or NULL. Counts and level;
 * Q a power of two in PARTITIONS_MIN .. PARTITIONS_MAX; acks in 1 .. N; the
 * epoch is the generation's; names unique among members not left, node ids,
 * members' keys and clients' keys unique (a zero key is no key: allowed to
 * members of an insecure cluster only); members not left know the record's
 * level; only who has left is gone; rows are not empty and name members not
 * left, each once; staged changes are about members. */
const char *record_fault(const struct record *r);
/* The same of one member by itself: ids, names, addresses, weight. */
const char *record_member_fault(const struct member *m);
/* A node's or zone's name: 1 to 63 of A-Z a-z 0-9 . _ - */
bool record_is_name(struct span name);
/* HOST:PORT: a host name, an IPv4 or a bracketed IPv6 address, at most
 * ADDRESS_MAX long; port 1 to 65535 without leading zeros. */
bool record_is_address(struct span address);

/* All of it for people, a line a thing; the text is appended. */
void record_dump(const struct record *r, struct buf *text);

/* ---- group 0's state machine ------------------------------------------- */

/* Group 0's only state row: key 'E', value an encoded record. */
#define RECORD_ROW_KEY "E"

/* Applies a RECORD entry to group 0's state. The proposal wins if the epoch it
 * expects is still in force and its record is a fit successor: the next
 * epoch of the same cluster, Q and generation; level not lower (T11); each
 * old slot still the same node and key, who has left stays left; a group that
 * was founded anew is in the next generation (T12); and who
 * newly went out is within the limits below, judged by the times in the
 * records (T27). Then *now is replaced and the old one freed. Else the answer
 * is CONFLICT and *now is kept. Either way the answer is remembered in *now
 * (those in the proposed record do not count), and a remembered proposal gets
 * its first answer again.
 * DAMAGED: the proposed record is undecodable; INCOMPATIBLE: its version or
 * level is above ours, so this binary stops applying. Nothing changes. */
NODISCARD enum err record_apply(struct record **now,
                                const struct entry_record *e,
                                struct proposal_answer *answer);

/* ---- questions --------------------------------------------------------- */

/* The slot of a node, or SLOT_NONE. By node id and key those who left are
 * found too, by name only members not left. */
uint16_t record_slot(const struct record *r, struct id128 node);
uint16_t record_slot_by_name(const struct record *r, struct span name);
uint16_t record_slot_by_key(const struct record *r,
                            const uint8_t key[KEY_BYTES]);
/* The row of a group: slots in order, *count of them. Borrowed. */
const uint16_t *record_row(const struct record *r, uint32_t group,
                           uint32_t *count);
/* Rank of a slot in a group's row from 0, or REPLICAS_MAX: not in it. */
uint32_t record_rank(const struct record *r, uint32_t group, uint16_t slot);
/* May hold replicas: wanted in, and seen joining, up or unfit. */
bool record_is_eligible(const struct member *m);
/* Rights of a client's key, 0 if unknown. An insecure cluster gives all to
 * everyone. */
uint32_t record_rights(const struct record *r, const uint8_t key[KEY_BYTES]);
uint32_t record_majority(uint32_t n);
/* The partition of a stream's name: the first log2(Q) bits, big-endian, of its
 * hash. The caller makes that (crypto_generichash, 16 bytes, keyed with the
 * cluster id): ring/ has no libsodium. */
uint32_t record_partition(uint32_t partitions, const uint8_t hash[16]);

/* The generation of a group, as the ring has granted it. */
struct generation record_generation(const struct record *r, uint32_t group);
/* Who founds this generation of a partition; SLOT_NONE: it was not recovered.
 */
uint16_t record_founder(const struct record *r, uint32_t group);

struct placement_member;
struct placement_table;
/* What the fold is given (ring/placement.h): the members not left, room for
 * MEMBERS_MAX; and the partitions' rows, borrowed. Returns how many. */
size_t record_placement(const struct record *r, struct placement_member *list,
                        struct placement_table *table);

/* ---- the next record --------------------------------------------------- */

/* The verbs change a copy that the leader is about to propose (init: the very
 * first record). Last comes record_advance, then record_fault: a change that
 * it objects to must not be proposed. */

/* Makes a new record that of a new cluster, whose id and settings the caller
 * has set: epoch 1, `founder` up in slot 0 and alone in every row. */
void record_begin(struct record *r, const struct member *founder,
                  uint64_t now_ms);
/* A node asks to be a member. `wanted` and `seen` are not taken from *m:
 * a new member is in and joining.
 * OK: it is a member now, or was with the same key: then only addresses and
 * level are refreshed. BAD_REQUEST: record_member_fault. FORGOTTEN: this node
 * id has left (whether it is to be told so is T6's and T15's affair).
 * CONFLICT: name or key belong to another, or the node id to another key.
 * INCOMPATIBLE: its level is below the record's (T11). TOO_LARGE: there are
 * MEMBERS_MAX. On error nothing changes. */
NODISCARD enum err record_join(struct record *r, const struct member *m,
                               uint64_t now_ms);
/* A member is reached elsewhere now. BAD_REQUEST: an address is none. */
NODISCARD enum err record_move(struct record *r, uint16_t slot,
                               struct span client_address,
                               struct span peer_address);
/* Automation's verb: UP, OUT or UNFIT; GONE of who has left. What a member is
 * seen as already changes nothing, not even the time. */
void record_see(struct record *r, uint16_t slot, enum member_seen seen,
                uint64_t now_ms);
/* No group counts on a member that drains or has left, as every group's leader
 * has stated of a commit whose log bears `wanted_since` (T6): it has left, and
 * is gone. */
void record_see_gone(struct record *r, uint16_t slot, uint64_t now_ms);
/* Lets a client's key in, or changes its rights and name. TOO_LARGE: there are
 * KEYS_MAX. BAD_REQUEST: no key, no rights, or not a name. */
NODISCARD enum err record_allow(struct record *r, const struct client_key *key);
/* Where the fold shall start for a group: its committed configuration, as far
 * as the walk has not come to the row (T28). 1 to REPLICATION_MAX different
 * slots. */
void record_set_row(struct record *r, uint32_t group, const uint16_t *slots,
                    uint32_t count);
/* T28: the fold shall start from who holds the group, `slot` before the others,
 * as many as a row has at most. The list comes from another node: slots that
 * are no members' here, or stand in it twice, do not count. */
void record_keep_row(struct record *r, uint32_t group, uint16_t slot,
                     const uint16_t *voters, uint32_t count);
/* Next epoch, time, and the fold of all rows (ring/placement.h). */
void record_advance(struct record *r, uint64_t now_ms);

/* ---- what operators change --------------------------------------------- */

/* Carries one change out in the next record, before record_advance. NOT_FOUND:
 * there is no such member, or it has left. CONFLICT: what is asked is not to
 * be had from where the member stands (a static text in *why). */
NODISCARD enum err record_change(struct record *r, const struct change *c,
                                 const char **why);
/* Adds a change to the staged plan; one that overrules an older one takes its
 * place. It must be one that record_change could carry out behind those staged
 * already: its errors. TOO_LARGE: the plan is full. */
NODISCARD enum err record_stage(struct record *r, const struct change *c,
                                const char **why);
/* Carries out all that is staged, and nothing is staged any more; newcomers
 * wait no longer for others to join. On error *r is half changed: throw it
 * away. */
NODISCARD enum err record_commit(struct record *r, const char **why);

/* Group 0 has lost its majority, and a survivor founds its next life (T12): the
 * newest record that is known becomes the first of this generation, whose
 * counter is higher. Epochs of it are above all that any group has acted on. */
void record_found_anew(struct record *r, struct generation generation,
                       uint64_t now_ms);

/* May the ring go from one record to the next that a plan makes of it? REFUSED
 * with sentences appended to `why` (S12, T14):
 * - N goes below 2, or down by more than one;
 * - members drain or go, and fewer than N are left to hold the copies;
 * - members drain or go, and some row would have no majority of members that
 *   are up: `is_live` is by slot, member_count of `now`.
 * What was so before is no reason: a dead member may always be drained if
 * that makes nothing worse. */
NODISCARD enum err record_may_go_on(const struct record *now,
                                    const struct record *next,
                                    const bool *is_live, struct buf *why);

/* A hash of the table, for whoever was shown one to name it (T26). */
struct hash128 record_table_digest(const struct record *r);

/* ---- who goes out, who comes back (T27, T28) --------------------------- */

/* What the proposer, group 0's leader, knows of one member. */
struct member_contact {
    uint32_t dead_reports; /* voters of group 0, itself included, that report
                              it dead for out-after */
    uint64_t contact_ms;   /* in touch with the proposer for so long without a
                              break; 0: it is not; itself: UINT64_MAX */
};

/* Which members may be recorded out now. A member is a candidate if it is
 * wanted in (who drains holds nothing for long, dead or not, and would use up
 * what others may need) and a majority of group 0's `voters` (of its committed
 * configuration) report it dead; there are none unless the proposer is in touch
 * with more than half of the members not left. Of the candidates at most max(1,
 * OUT_PERCENT of the members) may go within OUT_WINDOW_MS, and never two of one
 * zone, those already out counted by the times in the record. A time
 * OUT_WINDOW_MS or more ahead of now does not count: else one bad clock would
 * stop healing for ever (S12). `contacts` is by slot, member_count of them; the
 * slots are written to `slots` in ascending order, room for member_count.
 * Returns how many. */
uint32_t record_may_go_out(const struct record *r, uint64_t now_ms,
                           uint32_t voters,
                           const struct member_contact *contacts,
                           uint16_t *slots);
/* Which members that are out may be recorded up again: in touch for
 * back_after_ms (usually BACK_AFTER_MS), doubled for each further time in the
 * streak. Same shapes. */
uint32_t record_may_come_back(const struct record *r, uint32_t back_after_ms,
                              const struct member_contact *contacts,
                              uint16_t *slots);

#endif
