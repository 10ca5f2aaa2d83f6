/* eddy_impl.h - what the client library's files share; for them alone.
 *
 *   eddy.c       the connection, and one operation at a time
 *   eddy_open.c  where to connect to: keys, contacts
 *   eddy_data.c  producers and readers */
#ifndef NET_EDDY_IMPL_H
#define NET_EDDY_IMPL_H

#include "net/client.h"
#include "net/eddy.h"
#include "net/keys.h"
#include "net/links.h"

/* An operation under way, or done and not looked at. The program may lose
 * interest before it is done, so it is owned by the connection. */
struct op {
    struct op *next, *previous;
    bool is_done;
    bool is_abandoned;
    enum err err;
    char text[CLIENT_TEXT_SIZE]; /* the reason in words */
    /* Takes from the result what is wanted; called once, if not abandoned. */
    void (*take)(void *context, const struct client_result *result);
    void *context;
};

struct eddy {
    struct client *client;
    struct links *links;
    struct op *ops;
    uint32_t timeout_ms;
    uint64_t clock_ms;           /* counts the time spent in the library */
    uint64_t monotonic_ms;       /* when it was last looked at */
    char *contacts_file;         /* NULL: none */
    struct epoch contacts_epoch; /* of the record last written there */
    char reason[EDDY_REASON_SIZE];
};

#define EDDY_CONTACTS_MAX 64u

/* ---- eddy.c ------------------------------------------------------------ */

/* Begins an operation; NULL: refused, *err says why. */
struct op *eddy_op_begin(struct eddy *e, const struct client_request *r,
                         void (*take)(void *, const struct client_result *),
                         void *context, enum err *err);
/* Forgets it, done or not. NULL is accepted. */
void eddy_op_end(struct eddy *e, struct op *op);
/* Waits for something to happen, at most a second, and handles it; or only
 * handles what has. */
void eddy_step(struct eddy *e);
void eddy_poll(struct eddy *e);
/* One operation from beginning to end. */
enum eddy_error eddy_do(struct eddy *e, const struct client_request *r,
                        void (*take)(void *, const struct client_result *),
                        void *context);
uint64_t eddy_now(struct eddy *e); /* the clock, in ms */
enum eddy_error eddy_fail(struct eddy *e, enum err err, const char *text);

/* ---- eddy_data.c ------------------------------------------------------- */

void eddy_producer_answered(struct eddy *e, const struct client_effect *f);

/* ---- eddy_open.c ------------------------------------------------------- */

/* Reads key and contacts. On OK keys_wipe(keys) when done. */
enum err eddy_open_contacts(const struct eddy_options *o, struct keys *keys,
                            struct client_contact *out, size_t *count,
                            char *reason);
/* Writes down where the members are, if that has changed; as well as it can. */
void eddy_open_remember(struct eddy *e);

#endif
