/* keys.h - CURVE key pairs and the files that they live in.
 *
 * A key file is text, so that a person can look at it (and see at once that it
 * is a secret):
 *
 *   eddy-key 1
 *   cluster 32 hex digits
 *   public Z85, 40 characters
 *   secret Z85, 40 characters
 *   contact HOST:PORT Z85           any number up to KEY_CONTACTS_MAX
 *
 * The first line is first; cluster, public and secret stand once each, in any
 * order; empty lines and lines that begin with '#' are skipped. A contact is a
 * node's client address with its public key, for who has no record yet.
 *
 * Reading trusts nothing: the file must be a regular one, belong to the user
 * or to root, and be closed to all others; the public key must be the
 * secret's. What is wrong is said in words that name the remedy. */
#ifndef NET_KEYS_H
#define NET_KEYS_H

#include "ring/base.h"
#include "ring/limits.h"
#include "ring/record.h"

#define KEY_CONTACTS_MAX   16u
#define KEY_FILE_BYTES_MAX (16u * KIB)
#define KEY_TEXT_SIZE      41u  /* Z85 and a NUL */
#define KEYS_REASON_SIZE   512u /* enough for every reason given here */

struct key_contact {
    char address[ADDRESS_MAX + 1];
    uint8_t public_key[KEY_BYTES];
};

struct keys {
    struct id128 cluster;
    uint8_t public_key[KEY_BYTES];
    uint8_t secret_key[KEY_BYTES];
    uint32_t contact_count;
    struct key_contact contacts[KEY_CONTACTS_MAX];
};

/* libsodium: once, before threads are started. IO: there is no randomness. */
NODISCARD enum err keys_init(void);
/* Bytes that nobody can guess (ids, seeds). After keys_init. */
void keys_random(void *out, size_t size);

/* A new pair, no contacts. After keys_init. */
void keys_generate(struct keys *out, struct id128 cluster);
void keys_wipe(struct keys *k); /* overwrites it, for certain */

/* The text of a key file, and back. BAD_REQUEST: *line (from 1) is the one at
 * fault, or 0 if one is missing, and *reason says why (a static text).
 * INCOMPATIBLE: a newer format. On error `out` is wiped. */
void keys_format(const struct keys *k, struct buf *out);
NODISCARD enum err keys_parse(struct span text, struct keys *out,
                              uint32_t *line, const char **reason);

/* Writes a file that is there whole or not at all, open to its owner only.
 * CONFLICT: there is a file already, it is left as it is. IO. On an error
 * `reason` (KEYS_REASON_SIZE bytes) says what to do. */
NODISCARD enum err keys_write(const char *path, const struct keys *k,
                              char *reason);
/* NOT_FOUND; DAMAGED: no key file, cut short or garbled; INCOMPATIBLE;
 * UNSAFE: open to others, or somebody else's; CONFLICT: of another cluster
 * than `cluster` (zero: any); IO. */
NODISCARD enum err keys_read(const char *path, struct id128 cluster,
                             struct keys *out, char *reason);

/* A public key as people see it. False: not 40 characters of Z85. */
void keys_format_public(const uint8_t key[KEY_BYTES], char text[KEY_TEXT_SIZE]);
bool keys_parse_public(struct span text, uint8_t key[KEY_BYTES]);

/* HOST:PORT as all addresses are written: printable ASCII without blanks, at
 * most ADDRESS_MAX, the port after the last colon and from 1 to 65535 (libzmq
 * would take what is above modulo 65536). */
bool keys_address_is_sound(struct span text);

/* Where a stream's name lies on the circle (DESIGN 1): BLAKE2b of 16 bytes,
 * keyed with the cluster's id, so that nobody outside can aim names at one
 * partition. For record_partition. */
void keys_stream_hash(struct id128 cluster, struct span name, uint8_t out[16]);

#endif
