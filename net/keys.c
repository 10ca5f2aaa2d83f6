/* keys.c - see keys.h. */
#include "net/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>
#include <zmq.h>

#define Z85_CHARS     40u
#define PATH_SIZE_MAX 4096u
#define FILE_MODE     0600

static const char first_line[] = "eddy-key 1";

static_assert(KEY_BYTES == crypto_box_PUBLICKEYBYTES &&
                  KEY_BYTES == crypto_box_SECRETKEYBYTES,
              "CURVE's keys are crypto_box's");
static_assert(sizeof(struct id128) >= crypto_generichash_KEYBYTES_MIN,
              "a cluster id is long enough to be a key");

enum err keys_init(void)
{
    return sodium_init() < 0 ? ERR_IO : ERR_OK;
}

void keys_random(void *out, size_t size)
{
    randombytes_buf(out, size);
}

void keys_generate(struct keys *out, struct id128 cluster)
{
    *out = (struct keys){.cluster = cluster};
    int made = crypto_box_keypair(out->public_key, out->secret_key);
    ASSERT(made == 0);
}

void keys_wipe(struct keys *k)
{
    sodium_memzero(k, sizeof *k);
}

void keys_stream_hash(struct id128 cluster, struct span name, uint8_t out[16])
{
    int done = crypto_generichash(out, 16, name.data, name.size, cluster.bytes,
                                  sizeof cluster.bytes);
    ASSERT(done == 0);
}

/* ---- text -------------------------------------------------------------- */

void keys_format_public(const uint8_t key[KEY_BYTES], char text[KEY_TEXT_SIZE])
{
    const char *made = zmq_z85_encode(text, key, KEY_BYTES);
    ASSERT(made != NULL);
}

bool keys_parse_public(struct span text, uint8_t key[KEY_BYTES])
{
    char z85[KEY_TEXT_SIZE];
    if (text.size != Z85_CHARS || memchr(text.data, 0, text.size) != NULL)
        return false;
    memcpy(z85, text.data, Z85_CHARS);
    z85[Z85_CHARS] = 0;
    bool ok = zmq_z85_decode(key, z85) != NULL;
    sodium_memzero(z85, sizeof z85);
    return ok;
}

static void put_line(struct buf *out, const char *word, const char *value)
{
    buf_printf(out, "%s %s\n", word, value);
}

void keys_format(const struct keys *k, struct buf *out)
{
    char cluster[33];
    char z85[KEY_TEXT_SIZE];
    /* At once, so that no copy of the secret is left behind by growing. */
    buf_reserve(out, KEY_FILE_BYTES_MAX);
    id_format(k->cluster, cluster);
    buf_printf(out, "%s\n", first_line);
    put_line(out, "cluster", cluster);
    keys_format_public(k->public_key, z85);
    put_line(out, "public", z85);
    keys_format_public(k->secret_key, z85);
    put_line(out, "secret", z85);
    sodium_memzero(z85, sizeof z85);
    ASSERT(k->contact_count <= KEY_CONTACTS_MAX);
    for (uint32_t i = 0; i < k->contact_count; i++) {
        keys_format_public(k->contacts[i].public_key, z85);
        buf_printf(out, "contact %s %s\n", k->contacts[i].address, z85);
    }
    ASSERT(out->size <= KEY_FILE_BYTES_MAX);
}

/* What has been seen of a file so far. */
struct parser {
    struct keys *keys;
    const char *fault;
    bool has_cluster, has_public, has_secret;
};

/* Takes the bytes up to `end` (or all) off the front of `rest`. */
static struct span take_until(struct span *rest, uint8_t end)
{
    size_t size = 0;
    while (size < rest->size && rest->data[size] != end)
        size++;
    struct span taken = {rest->data, size};
    size_t skip = size < rest->size ? size + 1 : size;
    *rest = span_of(rest->data + skip, rest->size - skip);
    return taken;
}

bool keys_address_is_sound(struct span text)
{
    size_t colon = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] <= ' ' || text.data[i] > '~')
            return false;
        if (text.data[i] == ':')
            colon = i;
    }
    if (colon == 0 || text.size > ADDRESS_MAX)
        return false;
    uint32_t port = 0;
    for (size_t i = colon + 1; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || port > UINT16_MAX)
            return false;
        port = port * 10 + (text.data[i] - (uint32_t)'0');
    }
    return port > 0 && port <= UINT16_MAX;
}

static void parse_contact(struct parser *p, struct span value)
{
    struct keys *k = p->keys;
    if (k->contact_count == KEY_CONTACTS_MAX) {
        p->fault = "too many contacts";
        return;
    }
    struct key_contact *c = &k->contacts[k->contact_count];
    struct span address = take_until(&value, ' ');
    if (!keys_address_is_sound(address)) {
        p->fault = "a contact is HOST:PORT and a public key";
        return;
    }
    if (!keys_parse_public(value, c->public_key)) {
        p->fault = "the contact's public key is not 40 characters of Z85";
        return;
    }
    memcpy(c->address, address.data, address.size);
    c->address[address.size] = 0;
    k->contact_count++;
}

static void parse_key(struct parser *p, bool *has, struct span value,
                      uint8_t key[KEY_BYTES])
{
    if (*has)
        p->fault = "this line stands twice";
    else if (!keys_parse_public(value, key))
        p->fault = "the key is not 40 characters of Z85";
    *has = true;
}

static void parse_cluster(struct parser *p, struct span value)
{
    if (p->has_cluster)
        p->fault = "this line stands twice";
    else if (!id_parse(value, &p->keys->cluster) ||
             id_is_zero(p->keys->cluster))
        p->fault = "the cluster is not 32 hex digits";
    p->has_cluster = true;
}

static void parse_line(struct parser *p, struct span line)
{
    if (line.size == 0 || line.data[0] == '#')
        return;
    struct span value = line;
    struct span word = take_until(&value, ' ');
    if (span_equal(word, span_str("cluster")))
        parse_cluster(p, value);
    else if (span_equal(word, span_str("public")))
        parse_key(p, &p->has_public, value, p->keys->public_key);
    else if (span_equal(word, span_str("secret")))
        parse_key(p, &p->has_secret, value, p->keys->secret_key);
    else if (span_equal(word, span_str("contact")))
        parse_contact(p, value);
    else
        p->fault = "not a line of a key file";
}

/* All lines are there, and the two keys are a pair. */
static const char *whole_fault(const struct parser *p)
{
    if (!p->has_cluster)
        return "the line 'cluster' is missing";
    if (!p->has_public)
        return "the line 'public' is missing";
    if (!p->has_secret)
        return "the line 'secret' is missing";
    uint8_t public_key[KEY_BYTES];
    if (crypto_scalarmult_base(public_key, p->keys->secret_key) != 0 ||
        sodium_memcmp(public_key, p->keys->public_key, KEY_BYTES) != 0)
        return "the public key does not belong to the secret one";
    return NULL;
}

/* OK: the first line is ours, and taken off. A number that is not ours is a
 * newer format's. */
static enum err parse_first_line(struct span *text)
{
    struct span line = take_until(text, '\n');
    if (span_equal(line, span_str(first_line)))
        return ERR_OK;
    struct span number = line;
    struct span word = take_until(&number, ' ');
    bool is_ours = span_equal(word, span_str("eddy-key")) && number.size > 0;
    for (size_t i = 0; i < number.size; i++)
        is_ours = is_ours && number.data[i] >= '0' && number.data[i] <= '9';
    return is_ours ? ERR_INCOMPATIBLE : ERR_BAD_REQUEST;
}

enum err keys_parse(struct span text, struct keys *out, uint32_t *line,
                    const char **reason)
{
    *out = (struct keys){0};
    *line = 1;
    *reason = "it does not begin with 'eddy-key 1'";
    enum err err = parse_first_line(&text);
    if (err != ERR_OK)
        return err;
    struct parser p = {.keys = out};
    while (text.size > 0 && p.fault == NULL) {
        ++*line;
        struct span one = take_until(&text, '\n');
        parse_line(&p, one);
    }
    if (p.fault == NULL) {
        *line = 0;
        p.fault = whole_fault(&p);
    }
    *reason = p.fault;
    if (p.fault == NULL)
        return ERR_OK;
    keys_wipe(out);
    return ERR_BAD_REQUEST;
}

/* ---- files ------------------------------------------------------------- */

static enum err fail(enum err err, char *reason, const char *path,
                     const char *what)
{
    (void)snprintf(reason, KEYS_REASON_SIZE, "%.300s: %s", path, what);
    return err;
}

static enum err fail_errno(char *reason, const char *path, const char *doing)
{
    int code = errno;
    (void)snprintf(reason, KEYS_REASON_SIZE, "cannot %s %.300s: %s", doing,
                   path, strerror(code));
    return ERR_IO;
}

static bool write_all(int fd, struct span s)
{
    while (s.size > 0) {
        ssize_t n = write(fd, s.data, s.size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        s = span_of(s.data + n, s.size - (size_t)n);
    }
    return true;
}

/* The name of the new file is durable only once its folder is synced. */
static bool sync_folder(const char *path)
{
    char folder[PATH_SIZE_MAX] = ".";
    const char *slash = strrchr(path, '/');
    if (slash != NULL) {
        size_t size = slash == path ? 1 : (size_t)(slash - path);
        memcpy(folder, path, size);
        folder[size] = 0;
    }
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool ok = fsync(fd) == 0;
    (void)close(fd);
    return ok;
}

/* All of it durable in a file of its own. */
static bool write_new(const char *path, struct span text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                  FILE_MODE);
    if (fd < 0)
        return false;
    bool ok = write_all(fd, text) && fsync(fd) == 0;
    int code = errno;
    (void)close(fd);
    errno = code;
    return ok;
}

enum err keys_write(const char *path, const struct keys *k, char *reason)
{
    char draft[PATH_SIZE_MAX];
    int size = snprintf(draft, sizeof draft, "%s.new", path);
    if (size < 0 || (size_t)size >= sizeof draft)
        return fail(ERR_IO, reason, path, "the path is too long");
    /* A draft that a crash has left behind. */
    (void)unlink(draft);
    struct buf text = {0};
    keys_format(k, &text);
    bool ok = write_new(draft, span_buf(&text));
    sodium_memzero(text.data, text.capacity);
    buf_free(&text);
    if (!ok) {
        enum err err = fail_errno(reason, path, "write");
        (void)unlink(draft);
        return err;
    }
    /* link, not rename: it never replaces a key that is there. */
    int linked = link(draft, path);
    enum err err = ERR_OK;
    if (linked != 0 && errno == EEXIST)
        err = fail(ERR_CONFLICT, reason, path,
                   "there is a file of this name already; a key is never "
                   "overwritten: move it away, or choose another name");
    else if (linked != 0)
        err = fail_errno(reason, path, "create");
    (void)unlink(draft);
    if (err == ERR_OK && !sync_folder(path))
        err = fail_errno(reason, path, "sync the folder of");
    return err;
}

static enum err open_key(const char *path, int *fd, char *reason)
{
    *fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (*fd >= 0)
        return ERR_OK;
    if (errno == ENOENT)
        return fail(ERR_NOT_FOUND, reason, path,
                    "there is no such key file; give the right path, or copy "
                    "the file here from where 'eddyd init' made it");
    if (errno == EACCES)
        return fail(ERR_UNSAFE, reason, path,
                    "this user may not read it; run as the user who owns it, "
                    "or chown it to the one who runs this");
    return fail_errno(reason, path, "open");
}

static enum err check_file(int fd, const char *path, char *reason)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return fail_errno(reason, path, "look at");
    if (S_ISDIR(st.st_mode))
        return fail(ERR_DAMAGED, reason, path,
                    "this is a folder; name the key file in it");
    if (!S_ISREG(st.st_mode))
        return fail(ERR_DAMAGED, reason, path,
                    "this is not a regular file; name the key file");
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return fail(ERR_UNSAFE, reason, path,
                    "it belongs to another user, who could change it; chown it "
                    "to the user who runs this");
    if ((st.st_mode & 077) != 0)
        return fail(ERR_UNSAFE, reason, path,
                    "others may read or change it; chmod 600 it, and if they "
                    "may have read it, make a new key");
    if (st.st_size > (off_t)KEY_FILE_BYTES_MAX)
        return fail(ERR_DAMAGED, reason, path,
                    "it is too large for a key file; copy it again from where "
                    "it was made");
    return ERR_OK;
}

static enum err read_text(int fd, const char *path, struct buf *out,
                          char *reason)
{
    buf_reserve(out, KEY_FILE_BYTES_MAX + 1);
    while (out->size < out->capacity) {
        ssize_t n = read(fd, out->data + out->size, out->capacity - out->size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_errno(reason, path, "read");
        if (n == 0)
            break;
        out->size += (size_t)n;
    }
    return ERR_OK;
}

static enum err judge_text(struct span text, const char *path, struct keys *out,
                           char *reason)
{
    uint32_t line = 0;
    const char *why = NULL;
    enum err err = keys_parse(text, out, &line, &why);
    if (err == ERR_OK)
        return ERR_OK;
    if (err == ERR_INCOMPATIBLE)
        return fail(err, reason, path,
                    "it was made by a newer version; install that version");
    if (text.size == 0)
        why = "it is empty";
    char where[32] = "";
    if (line > 0)
        (void)snprintf(where, sizeof where, "line %u: ", (unsigned)line);
    (void)snprintf(reason, KEYS_REASON_SIZE,
                   "%.300s: %s%s; copy it again from where it was made", path,
                   where, why);
    return ERR_DAMAGED;
}

enum err keys_read(const char *path, struct id128 cluster, struct keys *out,
                   char *reason)
{
    *out = (struct keys){0};
    reason[0] = 0;
    int fd = -1;
    enum err err = open_key(path, &fd, reason);
    if (err != ERR_OK)
        return err;
    struct buf text = {0};
    err = check_file(fd, path, reason);
    if (err == ERR_OK)
        err = read_text(fd, path, &text, reason);
    (void)close(fd);
    if (err == ERR_OK)
        err = judge_text(span_buf(&text), path, out, reason);
    if (text.capacity > 0)
        sodium_memzero(text.data, text.capacity);
    buf_free(&text);
    if (err != ERR_OK || id_is_zero(cluster) || id_equal(cluster, out->cluster))
        return err;
    char theirs[33];
    char ours[33];
    id_format(out->cluster, theirs);
    id_format(cluster, ours);
    keys_wipe(out);
    (void)snprintf(reason, KEYS_REASON_SIZE,
                   "%.300s: it is a key of cluster %s, this is cluster %s; "
                   "name a key of this one",
                   path, theirs, ours);
    return ERR_CONFLICT;
}
