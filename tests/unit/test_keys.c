/* test_keys.c - key files: what is whole is read, and what is wrong is said
 * in words. Files are made in $TMPDIR. */
#include "tests/unit/cmocka_wrap.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/keys.h"

/* ---- a folder for each test -------------------------------------------- */

static char folder[200];
static char path[256];
static char reason[KEYS_REASON_SIZE];

static int make_folder(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(folder, sizeof folder, "%.150s/keys.XXXXXX",
                   tmp == NULL ? "/tmp" : tmp);
    if (mkdtemp(folder) == NULL)
        return -1;
    (void)snprintf(path, sizeof path, "%s/a.key", folder);
    return keys_init() == ERR_OK ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    (void)unlink(path);
    (void)rmdir(path);
    return rmdir(folder);
}

static struct id128 cluster_a(void)
{
    struct id128 id;
    memset(id.bytes, 0xc1, sizeof id.bytes);
    return id;
}

static const struct id128 any_cluster;

static void add_contact(struct keys *k, const char *address)
{
    struct key_contact *c = &k->contacts[k->contact_count++];
    (void)snprintf(c->address, sizeof c->address, "%s", address);
    memset(c->public_key, 0x5a, KEY_BYTES);
}

static void put_file(const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    assert_int_equal(close(fd), 0);
}

static enum err read_back(struct keys *k)
{
    return keys_read(path, any_cluster, k, reason);
}

static void assert_reason_says(const char *words)
{
    if (strstr(reason, words) == NULL)
        fail_msg("'%s' does not say '%s'", reason, words);
}

/* ---- whole files ------------------------------------------------------- */

static void key_file_comes_back_as_it_was_written(void **state)
{
    (void)state;
    struct keys made;
    struct keys got;
    keys_generate(&made, cluster_a());
    add_contact(&made, "10.0.0.1:7460");
    add_contact(&made, "[::1]:7460");
    assert_int_equal(keys_write(path, &made, reason), ERR_OK);
    assert_int_equal(keys_read(path, cluster_a(), &got, reason), ERR_OK);
    assert_true(id_equal(got.cluster, made.cluster));
    assert_memory_equal(got.public_key, made.public_key, KEY_BYTES);
    assert_memory_equal(got.secret_key, made.secret_key, KEY_BYTES);
    assert_int_equal(got.contact_count, 2);
    assert_string_equal(got.contacts[1].address, "[::1]:7460");
    assert_memory_equal(got.contacts[1].public_key, made.contacts[1].public_key,
                        KEY_BYTES);
}

static void key_file_is_open_to_its_owner_only(void **state)
{
    (void)state;
    struct keys k;
    struct stat st;
    keys_generate(&k, cluster_a());
    mode_t before = umask(0);
    assert_int_equal(keys_write(path, &k, reason), ERR_OK);
    (void)umask(before);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void key_is_never_overwritten(void **state)
{
    (void)state;
    struct keys first;
    struct keys second;
    struct keys got;
    keys_generate(&first, cluster_a());
    keys_generate(&second, cluster_a());
    assert_int_equal(keys_write(path, &first, reason), ERR_OK);
    assert_int_equal(keys_write(path, &second, reason), ERR_CONFLICT);
    assert_reason_says("never overwritten");
    assert_int_equal(read_back(&got), ERR_OK);
    assert_memory_equal(got.public_key, first.public_key, KEY_BYTES);
}

/* A crash before the last step leaves a draft, which does not stop us. */
static void draft_of_a_crash_does_no_harm(void **state)
{
    (void)state;
    struct keys k;
    struct keys got;
    char whole[256];
    memcpy(whole, path, sizeof whole);
    size_t end = strlen(path);
    (void)snprintf(path + end, sizeof path - end, ".new");
    put_file("eddy-key 1\nclus", 0600);
    memcpy(path, whole, sizeof whole);
    keys_generate(&k, cluster_a());
    assert_int_equal(keys_write(path, &k, reason), ERR_OK);
    assert_int_equal(read_back(&got), ERR_OK);
}

static void write_into_a_missing_folder_says_so(void **state)
{
    (void)state;
    struct keys k;
    keys_generate(&k, cluster_a());
    assert_int_equal(keys_write("/nonexistent/a.key", &k, reason), ERR_IO);
    assert_reason_says("No such file");
}

/* ---- files that are refused -------------------------------------------- */

static void missing_file_is_not_found(void **state)
{
    (void)state;
    struct keys k;
    assert_int_equal(read_back(&k), ERR_NOT_FOUND);
    assert_reason_says("no such key file");
}

static void folder_is_no_key_file(void **state)
{
    (void)state;
    struct keys k;
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(read_back(&k), ERR_DAMAGED);
    assert_reason_says("this is a folder");
}

static void pipe_is_no_key_file(void **state)
{
    (void)state;
    struct keys k;
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(read_back(&k), ERR_DAMAGED);
    assert_reason_says("not a regular file");
}

static void file_open_to_others_is_unsafe(void **state)
{
    (void)state;
    struct keys k;
    struct keys got;
    keys_generate(&k, cluster_a());
    assert_int_equal(keys_write(path, &k, reason), ERR_OK);
    static const mode_t modes[] = {0640, 0604, 0620, 0601};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        assert_int_equal(chmod(path, modes[i]), 0);
        assert_int_equal(read_back(&got), ERR_UNSAFE);
        assert_reason_says("chmod 600");
    }
    assert_int_equal(chmod(path, 0400), 0);
    assert_int_equal(read_back(&got), ERR_OK);
}

static void file_of_another_user_is_unsafe(void **state)
{
    (void)state;
    struct keys k;
    struct keys got;
    if (geteuid() != 0)
        skip(); /* only root can give a file away */
    keys_generate(&k, cluster_a());
    assert_int_equal(keys_write(path, &k, reason), ERR_OK);
    assert_int_equal(chown(path, 12345, 12345), 0);
    assert_int_equal(read_back(&got), ERR_UNSAFE);
    assert_reason_says("another user");
}

static void key_of_another_cluster_is_a_conflict(void **state)
{
    (void)state;
    struct keys k;
    struct keys got;
    struct id128 other = cluster_a();
    other.bytes[0] ^= 1;
    keys_generate(&k, cluster_a());
    assert_int_equal(keys_write(path, &k, reason), ERR_OK);
    assert_int_equal(keys_read(path, other, &got, reason), ERR_CONFLICT);
    assert_reason_says("c0c1c1c1");
    assert_reason_says("c1c1c1c1");
    static const uint8_t zeros[KEY_BYTES];
    assert_memory_equal(got.secret_key, zeros, KEY_BYTES);
}

static void every_cut_of_a_key_file_is_damaged(void **state)
{
    (void)state;
    struct keys k;
    struct buf text = {0};
    keys_generate(&k, cluster_a());
    keys_format(&k, &text);
    struct keys got;
    uint32_t line;
    const char *why;
    /* All but the last byte, which is a line's end, is needed. */
    for (size_t size = 0; size + 1 < text.size; size++)
        if (keys_parse(span_of(text.data, size), &got, &line, &why) == ERR_OK)
            fail_msg("cut to %zu", size);
    assert_int_equal(
        keys_parse(span_of(text.data, text.size - 1), &got, &line, &why),
        ERR_OK);
    buf_free(&text);
}

static void assert_bad(const char *text, const char *words)
{
    struct keys k;
    put_file(text, 0600);
    assert_int_equal(read_back(&k), ERR_DAMAGED);
    assert_reason_says(words);
    assert_reason_says("copy it again");
}

#define HEX "000102030405060708090a0b0c0d0e0f"

static void garbled_line_is_named(void **state)
{
    (void)state;
    assert_bad("", "it is empty");
    assert_bad("hello\n", "line 1: it does not begin with 'eddy-key 1'");
    assert_bad("eddy-key 1\n", "the line 'cluster' is missing");
    assert_bad("eddy-key 1\ncluster 12\n", "line 2: the cluster is not");
    assert_bad("eddy-key 1\ncluster " HEX "\ncluster " HEX "\n",
               "line 3: this line stands twice");
    assert_bad("eddy-key 1\n\n# remark\nsecret 123\n",
               "line 4: the key is not 40 characters");
    assert_bad("eddy-key 1\nfoo bar\n", "line 2: not a line of a key file");
    assert_bad("eddy-key 1\r\n", "line 1");
    assert_bad("eddy-key 1\ncontact host\n", "line 2: a contact is HOST:PORT");
    assert_bad("eddy-key 1\ncontact host:0 x\n", "line 2: a contact is");
    assert_bad("eddy-key 1\ncontact host:65536 x\n", "line 2: a contact is");
    assert_bad("eddy-key 1\ncontact :7460 x\n", "line 2: a contact is");
    assert_bad("eddy-key 1\ncontact a:7460 x\n",
               "line 2: the contact's public");
}

static void newer_format_is_incompatible(void **state)
{
    (void)state;
    struct keys k;
    put_file("eddy-key 2\nwhatever\n", 0600);
    assert_int_equal(read_back(&k), ERR_INCOMPATIBLE);
    assert_reason_says("newer version");
}

static void public_key_must_be_the_secrets(void **state)
{
    (void)state;
    struct keys k;
    struct keys got;
    struct buf text = {0};
    uint32_t line;
    const char *why;
    keys_generate(&k, cluster_a());
    k.public_key[3] ^= 1;
    keys_format(&k, &text);
    assert_int_equal(keys_parse(span_buf(&text), &got, &line, &why),
                     ERR_BAD_REQUEST);
    assert_string_equal(why,
                        "the public key does not belong to the secret one");
    buf_free(&text);
}

static void too_large_a_file_is_not_read(void **state)
{
    (void)state;
    struct keys k;
    put_file("eddy-key 1\n", 0600);
    assert_int_equal(truncate(path, (off_t)KEY_FILE_BYTES_MAX + 1), 0);
    assert_int_equal(read_back(&k), ERR_DAMAGED);
    assert_reason_says("too large");
}

static void as_many_contacts_as_there_is_room_for(void **state)
{
    (void)state;
    struct keys k;
    struct keys got;
    struct buf text = {0};
    uint32_t line;
    const char *why;
    keys_generate(&k, cluster_a());
    while (k.contact_count < KEY_CONTACTS_MAX)
        add_contact(&k, "host.example:7460");
    keys_format(&k, &text);
    assert_int_equal(keys_parse(span_buf(&text), &got, &line, &why), ERR_OK);
    assert_int_equal(got.contact_count, KEY_CONTACTS_MAX);
    char z85[KEY_TEXT_SIZE];
    keys_format_public(k.public_key, z85);
    buf_printf(&text, "contact one.more:1 %s\n", z85);
    assert_int_equal(keys_parse(span_buf(&text), &got, &line, &why),
                     ERR_BAD_REQUEST);
    assert_string_equal(why, "too many contacts");
    buf_free(&text);
}

/* ---- keys and hashes --------------------------------------------------- */

static void two_keys_are_two(void **state)
{
    (void)state;
    struct keys a;
    struct keys b;
    keys_generate(&a, cluster_a());
    keys_generate(&b, cluster_a());
    assert_memory_not_equal(a.secret_key, b.secret_key, KEY_BYTES);
    assert_memory_not_equal(a.public_key, b.public_key, KEY_BYTES);
}

static void wiped_keys_are_zero(void **state)
{
    (void)state;
    static const struct keys zero;
    struct keys k;
    keys_generate(&k, cluster_a());
    keys_wipe(&k);
    assert_memory_equal(&k, &zero, sizeof k);
}

static void public_key_comes_back_from_its_text(void **state)
{
    (void)state;
    struct keys k;
    char text[KEY_TEXT_SIZE];
    uint8_t back[KEY_BYTES];
    keys_generate(&k, cluster_a());
    keys_format_public(k.public_key, text);
    assert_int_equal(strlen(text), 40);
    assert_true(keys_parse_public(span_str(text), back));
    assert_memory_equal(back, k.public_key, KEY_BYTES);
    assert_false(keys_parse_public(span_of(text, 39), back));
    text[7] = '"'; /* not of Z85 */
    assert_false(keys_parse_public(span_str(text), back));
}

/* Made by Python's hashlib.blake2b(name, digest_size=16, key=cluster). */
static void stream_hash_is_keyed_blake2b(void **state)
{
    (void)state;
    struct id128 cluster;
    for (size_t i = 0; i < 16; i++)
        cluster.bytes[i] = (uint8_t)i;
    static const uint8_t wanted[16] = {0x62, 0x22, 0x42, 0xd1, 0xff, 0xcf,
                                       0x31, 0x1b, 0x2c, 0xf7, 0xe7, 0x50,
                                       0x13, 0xca, 0xbf, 0xd5};
    uint8_t hash[16];
    keys_stream_hash(cluster, span_str("logs/web"), hash);
    assert_memory_equal(hash, wanted, 16);
    cluster.bytes[0] ^= 1;
    keys_stream_hash(cluster, span_str("logs/web"), hash);
    assert_memory_not_equal(hash, wanted, 16);
}

#define IN_FOLDER(test)                                                        \
    cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(key_file_comes_back_as_it_was_written),
        IN_FOLDER(key_file_is_open_to_its_owner_only),
        IN_FOLDER(key_is_never_overwritten),
        IN_FOLDER(draft_of_a_crash_does_no_harm),
        IN_FOLDER(write_into_a_missing_folder_says_so),
        IN_FOLDER(missing_file_is_not_found),
        IN_FOLDER(folder_is_no_key_file),
        IN_FOLDER(pipe_is_no_key_file),
        IN_FOLDER(file_open_to_others_is_unsafe),
        IN_FOLDER(file_of_another_user_is_unsafe),
        IN_FOLDER(key_of_another_cluster_is_a_conflict),
        IN_FOLDER(every_cut_of_a_key_file_is_damaged),
        IN_FOLDER(garbled_line_is_named),
        IN_FOLDER(newer_format_is_incompatible),
        IN_FOLDER(public_key_must_be_the_secrets),
        IN_FOLDER(too_large_a_file_is_not_read),
        IN_FOLDER(as_many_contacts_as_there_is_room_for),
        IN_FOLDER(two_keys_are_two),
        IN_FOLDER(wiped_keys_are_zero),
        IN_FOLDER(public_key_comes_back_from_its_text),
        IN_FOLDER(stream_hash_is_keyed_blake2b),
    };
    return cmocka_run_group_tests_name("keys", tests, NULL, NULL) != 0;
}
