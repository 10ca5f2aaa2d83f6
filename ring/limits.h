/* limits.h - every bound, in one place, and how they are related.
 *
 * Sizes in bytes, times in ms. A number here is a limit of the format or of
 * memory, or a default; what an operator may set starts from its default. */
#ifndef RING_LIMITS_H
#define RING_LIMITS_H

#include <assert.h>
#include <stdint.h>

#define KIB (1024u)
#define MIB (1024u * 1024u)

/* ---- what users store -------------------------------------------------- */
#define SEGMENT_BYTES_MAX       (1 * MIB) /* attributes included */
#define SEGMENT_BYTES_DEFAULT   (256 * KIB)
#define ATTRIBUTES_BYTES_MAX    (1 * KIB)
#define STREAM_NAME_MAX         255u
#define PRODUCER_NAME_MAX       255u
#define NODE_NAME_MAX           63u
#define ZONE_NAME_MAX           63u
#define ADDRESS_MAX             255u
#define STREAMS_PER_GROUP_MAX   100000u
#define PRODUCERS_PER_GROUP_MAX 20000u

/* ---- entries ----------------------------------------------------------- */
#define ENTRY_PAYLOAD_BYTES_MAX  (1 * MIB)
#define ENTRY_MANIFEST_BYTES_MAX (48 * KIB) /* of client commands */
#define ENTRY_COMMANDS_MAX       1024u
#define PAYLOAD_ROW_BYTES_MAX    65520u /* 16 pages less LMDB's header */

/* ---- the ring ---------------------------------------------------------- */
#define PARTITIONS_MIN      16u
#define PARTITIONS_DEFAULT  256u
#define PARTITIONS_MAX      1024u
#define GROUPS_MAX          (PARTITIONS_MAX + 1u)
#define MEMBERS_MAX         256u /* in the record, those who left included */
#define REPLICATION_DEFAULT 3u
#define REPLICATION_MAX     7u
/* A configuration on its way may hold the old and the new replicas. */
#define REPLICAS_MAX     16u
#define KEYS_MAX         256u
#define RECORD_BYTES_MAX (512 * KIB)
#define RECORD_PROPOSALS 64u /* remembered answers (T26) */
#define CHANGES_MAX      64u /* in a staged plan */
/* By so much, for each generation that is between, a new one's log begins above
 * the founder's: more than any replica that was lost can have been ahead of it,
 * and more than a generation ever comes to (S7). */
#define GENERATION_STEP ((uint64_t)1 << 32)
/* The counter of one that is granted is above all that anybody tells of, also
 * where the record has forgotten some; no further than this (T12). */
#define GENERATION_SKIP_MAX 16u
#define GENERATIONS_MAX     65536u
#define WEIGHT_MAX          100000u
#define WEIGHT_DEFAULT      100u
#define OUT_PERCENT         10u /* of the members may go out by themselves (T27) */
#define OUT_STREAK_MAX      7u /* counted; each doubles the wait (T28) */

/* ---- messages ---------------------------------------------------------- */
#define MESSAGE_BYTES_MAX          (1 * MIB + 64 * KIB)
#define ZMQ_MESSAGE_BYTES_MAX      (MESSAGE_BYTES_MAX + 64u)
#define LANE_WINDOW_ENTRIES_BYTES  (8 * MIB)
#define LANE_WINDOW_TRANSFER_BYTES (8 * MIB)
#define GROUP_SHARE_BYTES          (256 * KIB) /* of one message, unless alone */
#define CLIENT_CREDIT_BYTES        (1 * MIB)
#define CLIENT_CREDIT_COMMANDS     256u /* at first, and of a busy node */
#define CLIENT_CREDIT_COMMANDS_MAX 1024u
#define CLIENTS_BYTES_MAX          (64 * MIB) /* all clients of a node */
#define CLIENT_ANSWERS_BYTES_MAX   (32 * MIB) /* not fetched by one client */
#define READ_BYTES_MAX             (1 * MIB)  /* one answer to a read */
#define SWIM_BYTES_MAX             1400u
#define SWIM_META_BYTES_MAX        64u

/* ---- sockets (HWMs count messages, per connection) --------------------- */
#define PEER_HWM 256u /* control and entries */
/* Of a pipe of libzmq only half counts (see CLIENT_HWM). */
#define TRANSFER_HWM        8u
#define CLIENT_RECEIVE_HWM  4u
#define CLIENT_REQUESTS_MAX 64u /* unanswered, at one node */
/* Their queue, and that of their answers. A pipe of libzmq hears that messages
 * were read only after every (HWM + 1) / 2 of them, and looks full until then:
 * half of it must be room enough. */
#define CLIENT_HWM         (2 * CLIENT_REQUESTS_MAX)
#define RECEIVE_BUDGET     64u /* messages of one port in a turn of the loop */
#define HANDSHAKE_MS       4000u
#define CONNECT_MS         3000u
#define RECONNECT_MS       100u /* doubled up to ... */
#define RECONNECT_MAX_MS   2000u
#define TCP_GIVE_UP_MS     10000u /* unacknowledged data */
#define PING_CONTROL_MS    1000u
#define PING_BULK_MS       5000u
#define SILENCE_CONTROL_MS 10000u /* then the connection is made anew */
#define SILENCE_BULK_MS    30000u /* a large frame may take long (PITFALLS 19) */

/* ---- producers --------------------------------------------------------- */
#define PRODUCER_WINDOW       1024u /* answers remembered */
#define PRODUCER_CHECKSUMS    64u   /* newest numbers with their checksum */
#define PRODUCER_INFLIGHT_MAX 1024u
/* Closed ones that a group remembers, for the retry of a closing append. */
#define PRODUCERS_CLOSED_MAX 4096u
/* An unnamed one unused for longer may make room for a new one. */
#define PRODUCER_UNNAMED_IDLE_MS (60u * 60u * 1000u)

/* ---- storage ----------------------------------------------------------- */
#define COMMIT_A_BYTES              (8 * MIB)
#define COMMIT_B_BYTES              (4 * MIB)
#define COMMIT_ROWS_BYTES           (1 * MIB) /* pulled rows beside appends */
#define UNSTORED_ENTRIES_MAX        1000000u
#define UNSTORED_BYTES_MAX          (64 * MIB)
#define UNSTORED_AGE_MS             10000u
#define GROUP_UNCOMMITTED_BYTES_MAX (8 * MIB)
#define LOG_CACHE_BYTES             (32 * MIB) /* payload kept for followers, node */
#define MAP_BYTES_DEFAULT           ((uint64_t)1 << 40)
#define MAP_BYTES_TEST              ((uint64_t)256 * MIB)
#define FULL_PERCENT                92u /* past this appends get NO_SPACE */
#define FULL_REPLICAS_PERCENT       85u /* past this no new replicas */
#define FREE_BYTES_MIN              ((uint64_t)256 * MIB)

/* ---- logs and transfer ------------------------------------------------- */
#define LOG_KEEP_ENTRIES 65536u     /* of each group, stored as applied ... */
#define LOG_KEEP_BYTES   (16 * MIB) /* ... or so much of manifests */
#define LOG_PINNED_TIMES 16u        /* as many are kept for a voter */
#define LOG_CUT_ENTRIES  1024u      /* cut by one command */
#define INSTALLS_MAX     4u         /* that ask at a time, of a node */
#define INSTALL_STALL_MS 600000u    /* nothing has come for so long (L5) */
/* Pulled rows that wait for the disk, of a node: what one commit writes, and
 * what gathers for the next meanwhile. */
#define INSTALL_BYTES_MAX (2 * COMMIT_B_BYTES)
/* Of more than that a replica comes by transfer, though its log be whole: what
 * comes by log is neither counted nor bounded by repair.rate. */
#define COPY_BY_LOG_BYTES (256 * KIB)
#define GIVINGS_MAX       8u          /* blobs that a source holds */
#define BLOB_BYTES_MAX    (128 * MIB) /* the mutable rows of a group */
#define BLOB_PIECE_BYTES  (256 * KIB) /* one answer, one command */
/* One answer: what the repair rate brings in a ROWS_PER_S-th of a second, so
 * that slow lines get small ones; within these bounds, unless one run is
 * larger. */
#define ROWS_PER_S      256u
#define ROWS_BYTES_MIN  (64 * KIB)
#define ROWS_BYTES      (1 * MIB)
#define REPAIR_RATE     (64 * MIB)   /* bytes a second, of a node: default */
#define REPAIR_RATE_MIN (64 * KIB)   /* of those that an operator may ask for */
#define REPAIR_RATE_MAX (1024 * MIB) /* as good as none */

/* ---- scrub and repair -------------------------------------------------- */
#define SCRUB_BYTES       (2 * MIB) /* read by one piece, or one row's */
#define SCRUB_DAMAGES_MAX 64u       /* listed by one piece, which ends there */
#define MENDS_MAX         256u /* rows that a node is mending; others wait */

/* ---- times ------------------------------------------------------------- */
#define HEARTBEAT_MS       100u
#define ELECTION_MS        500u
#define PROBE_INTERVAL_MS  1000u
#define PROBE_TIMEOUT_MS   500u
#define SUSPICION_MS       4000u /* at n = 3 */
#define PROBE_JITTER_MS    100u  /* added to a probe interval, at most */
#define PUSH_PULL_MS       30000u
#define HEAL_MS            5000u   /* a push-pull with someone dead */
#define META_INTERVAL_MS   5000u   /* between two changes of gossiped meta */
#define TOMBSTONE_MS       300000u /* memory of who left the record */
#define CLIENT_TIMEOUT_MS  30000u
#define READ_WAIT_MS       5000u
#define OUT_AFTER_MS       (15u * 60u * 1000u)
#define OUT_AFTER_MIN_MS   1000u /* of those that an operator may ask for */
#define OUT_AFTER_MAX_MS   (30u * 24u * 60u * 60u * 1000u)
#define OUT_WINDOW_MS      (60u * 60u * 1000u) /* for OUT_PERCENT of them */
#define OUT_STREAK_MS      (24u * 60u * 60u * 1000u) /* up so long: none */
#define BACK_AFTER_MS      60000u /* contact before up again (T28) */
#define JOIN_WAIT_MS       1000u  /* joins that wait are one record */
#define JOIN_SETTLE_MS     5000u  /* without a join: newcomers get copies ... */
#define JOIN_SETTLES_LATE  3u     /* ... if one is not heard, after so many; */
#define JOIN_SETTLES_MAX   6u /* ... from the first, after so many at most */
#define RECORD_INTERVAL_MS 10000u
#define MEND_AGAIN_MS      5000u

static_assert(SEGMENT_BYTES_MAX <= ENTRY_PAYLOAD_BYTES_MAX,
              "the largest segment fits an entry");
static_assert(ENTRY_PAYLOAD_BYTES_MAX + ENTRY_MANIFEST_BYTES_MAX + 4 * KIB <=
                  MESSAGE_BYTES_MAX,
              "an entry and its headers fit a message");
static_assert(ENTRY_PAYLOAD_BYTES_MAX <= COMMIT_A_BYTES,
              "an entry fits a commit");
static_assert(ENTRY_PAYLOAD_BYTES_MAX <= LANE_WINDOW_ENTRIES_BYTES,
              "an entry fits a window");
static_assert(RECORD_BYTES_MAX < ENTRY_PAYLOAD_BYTES_MAX,
              "a record is a command of one entry");
static_assert(PRODUCER_INFLIGHT_MAX <= PRODUCER_WINDOW,
              "whatever may be repeated is remembered");
static_assert(PRODUCERS_CLOSED_MAX > ENTRY_COMMANDS_MAX,
              "no entry closes a producer and forgets it too");
static_assert(CLIENT_REQUESTS_MAX / 2 * READ_BYTES_MAX <=
                  CLIENT_ANSWERS_BYTES_MAX,
              "who has half of its requests for reads loses no answer");
static_assert(CLIENT_ANSWERS_BYTES_MAX < CLIENTS_BYTES_MAX,
              "one client alone does not fill what all have");
static_assert(TRANSFER_HWM * ROWS_BYTES <= LANE_WINDOW_TRANSFER_BYTES,
              "the window is what bounds transfers");
static_assert(INSTALLS_MAX <= TRANSFER_HWM / 2,
              "one source may be asked by all of a node at once");
static_assert(JOIN_SETTLE_MS >= 3 * JOIN_WAIT_MS,
              "joins of neighbouring records are one fold");
static_assert(HEARTBEAT_MS * 4 <= ELECTION_MS, "some heartbeats may be lost");
static_assert(GENERATIONS_MAX <= UINT64_MAX / GENERATION_STEP / 2,
              "indexes do not run out");
static_assert(ATTRIBUTES_BYTES_MAX < SEGMENT_BYTES_MAX,
              "attributes are part of a segment");

#endif
