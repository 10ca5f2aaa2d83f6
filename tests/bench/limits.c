/* limits.c - what this machine's disk, LMDB and ZeroMQ can do by themselves.
 * The shapes are those of Eddy's own use of them: default flags, ascending
 * keys, one frame a message. */
#define _GNU_SOURCE /* prctl */
#include <fcntl.h>
#include <lmdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include "tests/bench/bench.h"

#define BLOCK_BYTES       4096u
#define BLOCK_COUNT       64u
#define ROUND_BYTES       100u
#define STREAM_BYTES      65536u
#define STREAM_HWM        64
#define COPY_COMMIT_BYTES (4u << 20)
#define COPIES            3u

static uint64_t until_ns(double seconds)
{
    return bench_now_ns() + (uint64_t)(seconds * 1e9);
}

static double since_ms(uint64_t from_ns)
{
    return (double)(bench_now_ns() - from_ns) / 1e6;
}

/* ---- sync -------------------------------------------------------------- */

static void write_block(int fd, const void *block, size_t at)
{
    if (pwrite(fd, block, BLOCK_BYTES, (off_t)(at * BLOCK_BYTES)) !=
        (ssize_t)BLOCK_BYTES)
        bench_die("cannot write: is the disk full?");
}

double limit_sync_ms(const char *dir, double seconds)
{
    char path[300];
    char block[BLOCK_BYTES];
    struct samples took = {0};
    (void)snprintf(path, sizeof path, "%s/sync", dir);
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0)
        bench_die("cannot create %s", path);
    bench_fill(block, sizeof block);
    for (size_t i = 0; i < BLOCK_COUNT; i++)
        write_block(fd, block, i);
    if (fsync(fd) != 0)
        bench_die("fsync failed");
    uint64_t end = until_ns(seconds);
    for (size_t i = 0; bench_now_ns() < end; i++) {
        uint64_t begun = bench_now_ns();
        write_block(fd, block, i % BLOCK_COUNT);
        if (fdatasync(fd) != 0)
            bench_die("fdatasync failed");
        samples_add(&took, since_ms(begun));
    }
    (void)close(fd);
    (void)unlink(path);
    double median = samples_percentile(&took, 50);
    free(took.values);
    return median;
}

/* ---- LMDB -------------------------------------------------------------- */

static void must(int rc)
{
    if (rc != 0)
        bench_die("LMDB: %s", mdb_strerror(rc));
}

static void put_batch(MDB_env *env, MDB_dbi dbi, uint64_t *number, size_t batch,
                      MDB_val value)
{
    MDB_txn *txn;
    must(mdb_txn_begin(env, NULL, 0, &txn));
    for (size_t i = 0; i < batch; i++) {
        uint8_t key[16] = {0};
        uint64_t n = (*number)++;
        for (unsigned k = 0; k < 8; k++)
            key[15 - k] = (uint8_t)(n >> (8 * k));
        MDB_val k = {sizeof key, key};
        MDB_val v = value;
        must(mdb_put(txn, dbi, &k, &v, 0));
    }
    must(mdb_txn_commit(txn));
}

double limit_lmdb_ms(const char *dir, size_t size, size_t batch, double seconds,
                     double *puts_per_s)
{
    char path[300], lock[310];
    MDB_env *env;
    MDB_dbi dbi;
    MDB_txn *txn;
    struct samples took = {0};
    (void)snprintf(path, sizeof path, "%s/raw.mdb", dir);
    (void)snprintf(lock, sizeof lock, "%s-lock", path);
    must(mdb_env_create(&env));
    must(mdb_env_set_mapsize(env, (size_t)16 << 30));
    must(mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOTLS, 0600));
    must(mdb_txn_begin(env, NULL, 0, &txn));
    must(mdb_dbi_open(txn, NULL, 0, &dbi));
    must(mdb_txn_commit(txn));
    void *bytes = malloc(size);
    if (bytes == NULL)
        bench_die("no memory");
    bench_fill(bytes, size);
    uint64_t number = 0, start = bench_now_ns(), end = until_ns(seconds);
    while (bench_now_ns() < end) {
        uint64_t begun = bench_now_ns();
        put_batch(env, dbi, &number, batch, (MDB_val){size, bytes});
        samples_add(&took, since_ms(begun));
    }
    if (puts_per_s != NULL)
        *puts_per_s = (double)number / (since_ms(start) / 1e3);
    mdb_env_close(env);
    (void)unlink(path);
    (void)unlink(lock);
    free(bytes);
    double median = samples_percentile(&took, 50);
    free(took.values);
    return median;
}

/* One of a store's databases, from one file to another. */
static uint64_t copy_db(MDB_txn *from, MDB_env *env, const char *name)
{
    MDB_dbi source, target;
    MDB_cursor *cursor;
    MDB_txn *txn;
    MDB_val k, v;
    uint64_t bytes = 0, committed = 0;
    must(mdb_dbi_open(from, name, 0, &source));
    must(mdb_cursor_open(from, source, &cursor));
    must(mdb_txn_begin(env, NULL, 0, &txn));
    must(mdb_dbi_open(txn, name, MDB_CREATE, &target));
    int rc;
    while ((rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0) {
        must(mdb_put(txn, target, &k, &v, 0));
        bytes += k.mv_size + v.mv_size;
        if (bytes - committed < COPY_COMMIT_BYTES)
            continue;
        committed = bytes;
        must(mdb_txn_commit(txn));
        must(mdb_txn_begin(env, NULL, 0, &txn));
    }
    if (rc != MDB_NOTFOUND)
        must(rc);
    must(mdb_txn_commit(txn));
    mdb_cursor_close(cursor);
    return bytes;
}

/* All rows of a store into a new file; MB/s. */
static double copy_store(MDB_txn *from, const char *path)
{
    static const char *const names[] = {"log", "index", "state"};
    MDB_env *to;
    uint64_t bytes = 0;
    must(mdb_env_create(&to));
    must(mdb_env_set_maxdbs(to, 8));
    must(mdb_env_set_mapsize(to, (size_t)16 << 30));
    must(mdb_env_open(to, path, MDB_NOSUBDIR | MDB_NOTLS, 0600));
    uint64_t begun = bench_now_ns();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        bytes += copy_db(from, to, names[i]);
    double rate = (double)bytes / 1e3 / since_ms(begun);
    mdb_env_close(to);
    return rate;
}

/* Each copy is a file of its own, and all go at the end: over pages that a
 * deleted file has just left a copy is up to twice as fast as over new ones,
 * which a transfer gets. */
double limit_copy_mbs(const char *data, const char *dir)
{
    char path[300], lock[310];
    MDB_env *from;
    MDB_txn *txn;
    struct samples rates = {0};
    must(mdb_env_create(&from));
    must(mdb_env_set_maxdbs(from, 8));
    must(mdb_env_open(from, data, MDB_RDONLY | MDB_NOTLS, 0600));
    must(mdb_txn_begin(from, NULL, MDB_RDONLY, &txn));
    for (unsigned i = 0; i < COPIES; i++) {
        (void)snprintf(path, sizeof path, "%s/copy%u.mdb", dir, i);
        samples_add(&rates, copy_store(txn, path));
    }
    mdb_txn_abort(txn);
    mdb_env_close(from);
    for (unsigned i = 0; i < COPIES; i++) {
        (void)snprintf(path, sizeof path, "%s/copy%u.mdb", dir, i);
        (void)snprintf(lock, sizeof lock, "%s-lock", path);
        (void)unlink(path);
        (void)unlink(lock);
    }
    double median = samples_percentile(&rates, 50);
    free(rates.values);
    return median;
}

/* ---- ZeroMQ ------------------------------------------------------------ */

static void *check(void *pointer)
{
    if (pointer == NULL)
        bench_die("ZeroMQ: %s", zmq_strerror(zmq_errno()));
    return pointer;
}

static int checked(int rc)
{
    if (rc < 0)
        bench_die("ZeroMQ: %s", zmq_strerror(zmq_errno()));
    return rc;
}

/* One key pair that both sides know: it costs what secret ones do. */
static void set_curve(void *socket, bool is_server)
{
    uint8_t secret_bytes[32];
    char secret[41], public[41];
    int one = 1;
    memset(secret_bytes, 0x42, sizeof secret_bytes);
    (void)zmq_z85_encode(secret, secret_bytes, sizeof secret_bytes);
    checked(zmq_curve_public(public, secret));
    if (is_server) {
        checked(zmq_setsockopt(socket, ZMQ_CURVE_SERVER, &one, sizeof one));
    } else {
        checked(zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, public, 41));
        checked(zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, public, 41));
    }
    checked(zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, secret, 41));
}

static void *new_socket(void *context, bool is_curve, bool is_server)
{
    void *socket = check(zmq_socket(context, ZMQ_DEALER));
    int zero = 0, hwm = STREAM_HWM;
    checked(zmq_setsockopt(socket, ZMQ_LINGER, &zero, sizeof zero));
    checked(zmq_setsockopt(socket, ZMQ_SNDHWM, &hwm, sizeof hwm));
    checked(zmq_setsockopt(socket, ZMQ_RCVHWM, &hwm, sizeof hwm));
    if (is_curve)
        set_curve(socket, is_server);
    return socket;
}

/* zmq-peer echo|stream ENDPOINT curve|plain: until it is killed. */
int limit_zmq_peer(char **argv)
{
    void *socket =
        new_socket(check(zmq_ctx_new()), strcmp(argv[2], "curve") == 0, true);
    checked(zmq_bind(socket, argv[1]));
    if (strcmp(argv[0], "echo") == 0) {
        char text[ROUND_BYTES];
        for (;;) {
            int size = checked(zmq_recv(socket, text, sizeof text, 0));
            checked(zmq_send(socket, text, (size_t)size, 0));
        }
    }
    char *bytes = check(malloc(STREAM_BYTES));
    bench_fill(bytes, STREAM_BYTES);
    for (;;)
        checked(zmq_send(socket, bytes, STREAM_BYTES, 0));
}

struct zmq_side {
    void *context, *socket;
    pid_t peer;
};

static struct zmq_side zmq_begin(const char *what, bool is_curve)
{
    char endpoint[40];
    (void)snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1:%u",
                   (unsigned)ring_free_port());
    const char *curve = is_curve ? "curve" : "plain";
    struct zmq_side s = {.peer = fork()};
    if (s.peer == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)execl("/proc/self/exe", "bench", LIMIT_ZMQ_PEER, what, endpoint,
                    curve, (char *)NULL);
        _exit(127);
    }
    s.context = check(zmq_ctx_new());
    s.socket = new_socket(s.context, is_curve, false);
    checked(zmq_connect(s.socket, endpoint));
    return s;
}

static void zmq_finish(struct zmq_side *s)
{
    (void)kill(s->peer, SIGKILL);
    (void)waitpid(s->peer, NULL, 0);
    checked(zmq_close(s->socket));
    checked(zmq_ctx_term(s->context));
}

double limit_zmq_round_ms(bool is_curve, double seconds)
{
    struct zmq_side s = zmq_begin("echo", is_curve);
    struct samples took = {0};
    char text[ROUND_BYTES] = {0};
    checked(zmq_send(s.socket, text, sizeof text, 0));
    checked(zmq_recv(s.socket, text, sizeof text, 0)); /* connected */
    uint64_t end = until_ns(seconds);
    while (bench_now_ns() < end) {
        uint64_t begun = bench_now_ns();
        checked(zmq_send(s.socket, text, sizeof text, 0));
        checked(zmq_recv(s.socket, text, sizeof text, 0));
        samples_add(&took, since_ms(begun));
    }
    zmq_finish(&s);
    double median = samples_percentile(&took, 50);
    free(took.values);
    return median;
}

double limit_zmq_mbs(bool is_curve, double seconds)
{
    struct zmq_side s = zmq_begin("stream", is_curve);
    zmq_msg_t message;
    checked(zmq_msg_init(&message));
    checked(zmq_msg_recv(&message, s.socket, 0)); /* connected */
    uint64_t bytes = 0, start = bench_now_ns(), end = until_ns(seconds);
    while (bench_now_ns() < end)
        bytes += (uint64_t)checked(zmq_msg_recv(&message, s.socket, 0));
    double rate = (double)bytes / 1e3 / since_ms(start);
    checked(zmq_msg_close(&message));
    zmq_finish(&s);
    return rate;
}
