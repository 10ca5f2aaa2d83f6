/* client_world.h - the client core against scripted nodes: a test pops what the
 * core sends, and answers, keeps silent or lies as it likes. The ring has NODES
 * members; node n is at "hostN:7460", and a contact from the beginning if it is
 * among the first `contacts`. */
#ifndef TESTS_UNIT_CLIENT_WORLD_H
#define TESTS_UNIT_CLIENT_WORLD_H

#include "net/client.h"
#include "tests/unit/cmocka_wrap.h"

#define NODES      3u
#define SENT_MAX   4096u
#define RESULT_MAX 4096u
#define TIMEOUT    30000u
#define ATTEMPT    2000u
#define BACKOFF    20u

/* A request that the core has sent, with its payload behind the inline part. */
struct sent {
    uint32_t link;
    struct buf bytes;
    struct wire_in in;
    struct request request;
};

struct told {
    struct client_result result;
    uint64_t number, seq;
    bool is_append;
};

struct world {
    struct client *client;
    struct record *record;
    uint64_t now;
    struct sent sent[SENT_MAX];
    size_t sent_count, handled;
    struct told told[RESULT_MAX];
    size_t told_count;
    uint64_t released[RESULT_MAX];
    size_t released_count;
    char address[32][ADDRESS_MAX + 1]; /* by link */
    struct buf segments[RESULT_MAX];   /* by handle - 1 */
    size_t segment_count;
};

/* Closed with world_free, which expects every handle back, each once. */
struct world *world_of(struct id128 cluster, size_t contacts);
struct world *world_new(size_t contacts);
/* ... with one contact, which has told it the record. */
struct world *world_connected(void);
void world_free(struct world *w);
/* Asks a contact, is told the record. */
void world_connect(struct world *w);
struct id128 world_id(uint8_t n);
struct member world_member(uint8_t n);

/* ---- time and links ---------------------------------------------------- */

/* All that the core wants done now is done, and kept here. */
void world_settle(struct world *w);
void world_pass(struct world *w, uint64_t ms);
void world_lose(struct world *w, uint32_t link);
/* Who answers at a link: contacts and members have the number of their host. */
uint8_t world_node_at(const struct world *w, uint32_t link);
/* The node of rank r in the row of a group. */
uint8_t world_ranked(const struct world *w, uint32_t group, uint32_t r);

/* ---- what it sends, what it says --------------------------------------- */

/* The next request that no test has looked at; it must be of this op. */
struct sent *world_next_sent(struct world *w, enum wire_op op);
void world_assert_nothing_sent(struct world *w);
const struct told *world_only_told(struct world *w);
void world_submit_create(struct world *w, uint64_t token);

/* ---- answers ----------------------------------------------------------- */

void world_respond_of(struct world *w, const struct sent *s,
                      struct id128 cluster, struct id128 from,
                      struct epoch epoch, const struct response *r);
void world_respond_as(struct world *w, const struct sent *s, struct id128 from,
                      struct epoch epoch, const struct response *r);
/* From the node at that link, with the record's epoch. */
void world_respond(struct world *w, const struct sent *s,
                   const struct response *r);
void world_refuse(struct world *w, const struct sent *s, enum err err);
void world_refuse_moved(struct world *w, const struct sent *s, uint8_t leader);
void world_say_hello(struct world *w, const struct sent *s);
void world_give_record(struct world *w, const struct sent *s);
void world_answer_verdict(struct world *w, const struct sent *s,
                          const struct verdict *v);
/* All of them, until the time of what was submitted is up. */
enum err world_refuse_until_the_end(struct world *w, enum err err);

#endif
