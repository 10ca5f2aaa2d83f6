/* golden.h - messages whose every byte is known: those of net/PROTOCOL.md.
 *
 * And their parts, for tests that bend them. What is returned is the test's to
 * free. */
#ifndef TESTS_UNIT_GOLDEN_H
#define TESTS_UNIT_GOLDEN_H

#include "net/check.h"
#include "net/status.h"
#include "net/wire.h"

struct golden {
    const char *name; /* of the vector */
    struct buf (*build)(void);
};
#define GOLDEN_COUNT 26u
extern const struct golden golden_all[GOLDEN_COUNT];
/* Fails the test if there is none of that name. */
struct buf golden_build(const char *name);

/* ---- parts ------------------------------------------------------------- */

extern const struct epoch golden_epoch;
extern const struct frame_group golden_group; /* group 5 */

struct id128 golden_id(uint8_t first); /* first, first + 1, ... */
struct wire_header golden_header(enum wire_kind kind);
/* Ends `o` and gives its bytes, the payload behind them; frees it. */
struct buf golden_message(struct wire_out *o, struct span payload);
struct buf golden_request(const struct request *r, struct span payload);
struct buf golden_response(const struct response *r, struct span payload);

struct command golden_append(uint64_t number, struct span bytes);
struct request golden_commands(struct commands_builder *b);
struct member golden_member(void);
struct segment_head golden_segment(uint64_t seq, struct span bytes);
struct status golden_status(void);
struct buf golden_check_bytes(void);
struct buf golden_status_bytes(void); /* a SELF, a MEMBER, a GROUP */

struct config golden_config(void);
struct frame golden_raft_frame(enum raft_msg_kind kind);
struct frame golden_group_frame(enum frame_kind kind);
/* One of each kind but APPEND. */
#define GOLDEN_CONTROL_FRAMES 24u
void golden_control_frames(struct frame f[GOLDEN_CONTROL_FRAMES]);

#endif
