/* client_impl.h - what the client core's files share; for them alone.
 *
 *   client.c         life, inputs, effects, the turn
 *   client_route.c   nodes, the record, who leads what
 *   client_call.c    questions and single commands
 *   client_append.c  the producers' pipelines */
#ifndef NET_CLIENT_IMPL_H
#define NET_CLIENT_IMPL_H

#include "net/client.h"

#define BATCHES_MAX 8u /* of one producer, in flight */

/* A node, as an address to send to. */
struct link {
    char address[ADDRESS_MAX + 1];
    uint8_t server_key[KEY_BYTES];
    struct id128 node;    /* zero: a contact that has not said who it is */
    struct id128 cluster; /* that it says it is of */
    bool is_contact;
    uint64_t hello_number, record_number; /* newest asked; 0: none */
    uint64_t asked_ms;                    /* when */
    bool is_lost;             /* nobody is there, and the shell tries again */
    uint64_t silent_until_ms; /* it let a request run out, or
                                 nobody is there */
    uint32_t credit_bytes, credit_commands;
    uint32_t flight_bytes, flight_commands, flight_requests;
};

/* One operation; of a LIST also one for each group, its parts. */
struct call {
    struct call *next, *previous;  /* by age */
    struct call *whole;            /* of a part */
    struct client_request request; /* its name points into `name` */
    struct buf name;
    uint64_t deadline_ms;
    uint32_t group;
    uint64_t answers_seen; /* RECORD: client.record_answers when submitted */
    /* the attempt under way */
    uint64_t number; /* 0: none */
    uint32_t link;
    uint64_t attempt_deadline_ms;
    /* those before it */
    uint64_t try_ms; /* the next one, not before */
    uint32_t turn;   /* counts up at each failure: which replica is next */
    uint32_t failures;
    bool needs_leader; /* READ: a follower did not have it */
    bool is_damaged;   /* READ: some copy of it is, so any replica may serve */
    bool is_unknown;   /* an attempt may have done it, or may yet */
    enum err err;      /* the newest refusal */
    char text[CLIENT_TEXT_SIZE];
    /* LIST, whole */
    uint32_t next_group;
    uint32_t parts;
    struct stream_info *streams; /* names are owned */
    size_t stream_count, stream_capacity;
    struct buf after; /* LIST, part: the last name that came */
};

struct append {
    uint64_t token;
    struct slice bytes;
    uint8_t algorithm;
    struct hash128 checksum;
    uint64_t expected_seq;
    uint64_t key_hash;
    struct span attributes; /* owned */
    bool closes_producer;
    uint64_t deadline_ms;
    bool is_unknown; /* an attempt may have done it, or may yet (T18) */
    bool is_answered;
    bool is_duplicate;
    enum err err; /* the answer; before it, the newest refusal */
    uint64_t seq;
};

/* One COMMANDS request of a producer, in flight. */
struct batch {
    uint64_t number; /* the request's */
    uint64_t first;  /* the producer's number of its first append */
    uint32_t count;
    uint32_t bytes;
    uint32_t link;
    uint64_t deadline_ms;
};

struct producer_line {
    bool is_used;
    uint32_t group;
    struct position stream;
    struct position id;
    uint32_t epoch;
    bool is_closing; /* the closing append has been submitted */
    enum err failed; /* not OK: for good */
    /* Numbers first .. first + count - 1 are unanswered, or answered and not
     * told yet; append n at n % capacity, a power of two. */
    struct append *appends;
    uint32_t capacity;
    uint32_t count;
    uint64_t first;
    uint64_t next_send;
    struct batch batches[BATCHES_MAX];
    uint32_t batch_count;
    uint32_t window; /* batches at once */
    bool is_stopped; /* until no batch is in flight; then from `first` */
    uint64_t resume_ms;
    uint32_t turn, failures;
    char text[CLIENT_TEXT_SIZE]; /* of the newest refusal */
};

struct client {
    struct client_cfg cfg; /* without the contacts */
    uint64_t now_ms;
    struct rng rng;
    uint64_t next_number; /* of requests */
    struct id128 cluster;
    struct record *record;
    struct id128 first_node; /* who gave the first one */
    struct id128 *leaders;   /* by group; zero: as the row says */
    struct link *links;
    uint32_t link_count, link_capacity;
    /* asking for the record */
    bool wants_record;
    uint64_t ask_ms;
    uint32_t ask_turn;
    uint32_t ask_link; /* who is said to have a newer one; UINT32_MAX: any */
    uint64_t record_answers;
    enum err refusal; /* of HELLO or RECORD, the newest */
    char refusal_text[CLIENT_TEXT_SIZE];
    uint32_t spread; /* reads take the replicas in turn */
    /* operations */
    struct call *calls, *calls_last;
    uint32_t call_count;         /* parts not counted */
    struct call *finished;       /* results still borrow from these */
    struct producer_line *lines; /* handle - 1 */
    uint32_t line_count;
    uint32_t line_turn;
    size_t append_bytes;
    struct commands_builder commands; /* used within one function */
    struct response response;         /* being handled; results borrow it */
    /* effects; those before `popped` have been handed out */
    struct client_effect *effects;
    size_t effect_count, effect_capacity, popped;
    bool is_settled; /* no input since the last turn */
    bool is_ticked;  /* time counts in the next turn: what has come in by then
                        has been heard, however late we are */
};

/* ---- client.c ---------------------------------------------------------- */

/* Begins every input: what was popped may go now. */
void client_begin(struct client *c, uint64_t now_ms);
struct client_effect *client_push(struct client *c,
                                  enum client_effect_kind kind);
/* A message to a link, begun; client_send ends it and queues it. */
struct wire_out *client_message(struct client *c, uint32_t link,
                                uint64_t number);
void client_send(struct client *c, uint32_t link, struct wire_out *o);
/* A jittered wait that doubles with each failure. */
uint32_t client_backoff(struct client *c, uint32_t failures);
void client_say(char text[CLIENT_TEXT_SIZE], struct span said);
/* Refused for now: worth another attempt, here or elsewhere. */
bool client_is_transient(enum err err);

/* ---- client_route.c ---------------------------------------------------- */

void client_route_init(struct client *c, const struct client_cfg *cfg);
void client_route_turn(struct client *c);
uint64_t client_route_deadline(const struct client *c);
/* A response has come from a link. False: it is not from whom it should be. */
bool client_route_heard(struct client *c, uint32_t link,
                        const struct wire_in *in, const struct response *r);
/* True if it was an answer to a question of this file's. */
bool client_route_answered(struct client *c, uint32_t link, uint64_t number,
                           const struct response *r);
void client_route_refused(struct client *c, enum err err, const char *text);
/* Ask for a newer record, of this link (UINT32_MAX: of any). */
void client_route_want(struct client *c, uint32_t link);
/* The link to ask, or UINT32_MAX: nobody is known. */
uint32_t client_route_leader(struct client *c, uint32_t group, uint32_t turn);
uint32_t client_route_replica(struct client *c, uint32_t group, uint32_t turn);
uint32_t client_route_node(const struct client *c, struct id128 node);
/* A node said that another leads. True: go there at once. */
bool client_route_moved(struct client *c, uint32_t group, uint32_t link,
                        struct id128 hint);
/* Nobody is there. False: that was known. */
bool client_route_lost(struct client *c, uint32_t link);
void client_route_up(struct client *c, uint32_t link);
/* A request to this link ran out. */
void client_route_silent(struct client *c, uint32_t group, uint32_t link);

/* ---- client_call.c ----------------------------------------------------- */

struct call *client_call_new(struct client *c, const struct client_request *r);
void client_call_free(struct call *call);
void client_call_turn(struct client *c);
uint64_t client_call_deadline(const struct client *c);
/* Attempts at this link run out now. */
void client_call_lost(struct client *c, uint32_t link);
bool client_call_answered(struct client *c, uint32_t link, uint64_t number,
                          const struct wire_in *in, uint64_t handle);

/* ---- client_append.c --------------------------------------------------- */

uint32_t client_append_open(struct client *c, const struct call *call,
                            const struct verdict *v);
void client_append_turn(struct client *c);
uint64_t client_append_deadline(const struct client *c);
/* Batches at this link run out now. */
void client_append_lost(struct client *c, uint32_t link);
bool client_append_answered(struct client *c, uint32_t link, uint64_t number);
void client_append_free(struct client *c);
void client_append_check(const struct client *c);

#endif
