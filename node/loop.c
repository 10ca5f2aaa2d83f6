/* loop.c - see loop.h. The five steps: take an input, call node_*, pop
 * effects, do them, feed completions back. */
#define _GNU_SOURCE /* signalfd */
#include "node/loop.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "net/transport.h"
#include "node/folder.h"
#include "node/workers.h"
#include "ring/rule.h"

#define EXIT_ADDRESS      69
#define SPACE_INTERVAL_MS 1000u
#define TURN_BYTES        (4 * MIB) /* of messages that came in, or so */
#ifndef EDDY_VERSION
#define EDDY_VERSION "0.1.0"
#endif

struct loop {
    struct loop_cfg *cfg;
    struct node *node;
    struct workers *workers;
    struct transport *transport;
    int signal_fd;
    bool is_over;
    int exit_code;
    uint64_t space_ms;
    bool is_space_asked;
};

/* ---- clocks, logs ------------------------------------------------------ */

static uint64_t clock_ms(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

static const char *level_name(enum node_log_level level)
{
    switch (level) {
    case NODE_ERROR:
        return "error";
    case NODE_WARN:
        return "warn";
    case NODE_INFO:
        return "info";
    case NODE_DEBUG:
        return "debug";
    }
    return "?";
}

void loop_log(const struct loop_cfg *cfg, enum node_log_level level,
              const char *text)
{
    if (level > cfg->log_level)
        return;
    struct timespec now;
    struct tm tm;
    char when[32];
    clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &tm);
    (void)strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);
    if (cfg->log_format == LOOP_TEXT) {
        (void)fprintf(stderr, "%s.%03ldZ %-5s %s\n", when,
                      now.tv_nsec / 1000000, level_name(level), text);
        return;
    }
    struct buf escaped = {0};
    for (const char *s = text; *s != 0; s++) {
        if (*s == '"' || *s == '\\')
            buf_printf(&escaped, "\\%c", *s);
        else if ((unsigned char)*s < 32)
            buf_printf(&escaped, "\\u%04x", (unsigned)(unsigned char)*s);
        else
            buf_printf(&escaped, "%c", *s);
    }
    (void)fprintf(stderr,
                  "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"text\":\"%.*s\""
                  "}\n",
                  when, now.tv_nsec / 1000000, level_name(level),
                  (int)escaped.size, (const char *)escaped.data);
    buf_free(&escaped);
}

const uint8_t *loop_bytes(void *ctx, uint64_t handle)
{
    (void)ctx;
    return blob_data(blob_of(handle));
}

/* ---- effects ----------------------------------------------------------- */

static void allow_keys(struct loop *l)
{
    const struct record *r = node_record(l->node);
    struct buf peers = {0};
    struct buf clients = {0};
    /* Whoever was a member once: who is gone is let in to be told so, and for
     * nothing else. */
    for (uint32_t i = 0; i < r->member_count; i++)
        buf_append(&peers, r->members[i].public_key, KEY_BYTES);
    for (uint32_t i = 0; i < r->key_count; i++)
        buf_append(&clients, r->keys[i].public_key, KEY_BYTES);
    transport_allow(l->transport, span_buf(&peers), span_buf(&clients));
    buf_free(&peers);
    buf_free(&clients);
}

/* systemd's protocol: one datagram (sd_notify(3)); not worth a library. */
static void notify(const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (path == NULL || path[0] == 0 || strlen(path) >= sizeof to.sun_path)
        return;
    memcpy(to.sun_path, path, strlen(path));
    if (path[0] == '@')
        to.sun_path[0] = 0;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    socklen_t size =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    ssize_t sent = sendto(fd, text, strlen(text), MSG_NOSIGNAL,
                          (const struct sockaddr *)&to, size);
    (void)sent;
    (void)close(fd);
}

static void say_ready(struct loop *l)
{
    char id[33];
    const struct record *r = node_record(l->node);
    id_format(l->cfg->folder.node, id);
    uint16_t slot = record_slot(r, l->cfg->folder.node);
    (void)printf("ready %s %s %s %s\n", id, r->members[slot].name,
                 l->cfg->client_listen, l->cfg->peer_listen);
    (void)fflush(stdout);
    notify("READY=1");
}

static void let_go(uint64_t handle)
{
    blob_unref(blob_of(handle));
}

static void end(struct loop *l, int exit_code, const char *text)
{
    loop_log(l->cfg, exit_code == 0 ? NODE_INFO : NODE_ERROR, text);
    l->is_over = true;
    l->exit_code = exit_code;
}

static void do_effect(struct loop *l, struct node_effect *e)
{
    switch (e->kind) {
    case NODE_DO_ACQUIRE:
        (void)blob_ref(blob_of(e->handle));
        return;
    case NODE_DO_RELEASE:
        blob_unref(blob_of(e->handle));
        return;
    case NODE_DO_SEND_PEER:
        /* Lossy by declaration: a drop is noticed by the peer's echo. */
        (void)transport_send_peer(l->transport, e->node, e->lane, e->message);
        return;
    case NODE_DO_SEND_CLIENT:
        (void)transport_send_client(l->transport, e->connection, e->message);
        return;
    case NODE_DO_COMMIT:
        workers_commit(l->workers, e->batch);
        return;
    case NODE_DO_READ:
        workers_read(l->workers, e->ticket, &e->segments);
        return;
    case NODE_DO_READ_LOG:
        workers_read_log(l->workers, e->ticket, &e->log);
        return;
    case NODE_DO_READ_BLOB:
        workers_read_blob(l->workers, e->ticket, &e->blob);
        return;
    case NODE_DO_READ_ROWS:
        workers_read_rows(l->workers, e->ticket, &e->rows);
        return;
    case NODE_DO_SCRUB:
        workers_scrub(l->workers, e->ticket, &e->scrub);
        return;
    case NODE_DO_PEER:
        if (!transport_peer_set(l->transport, e->node, e->address, e->key))
            loop_log(l->cfg, NODE_WARN, "a peer's address cannot be used");
        return;
    case NODE_DO_PEER_GONE:
        transport_peer_remove(l->transport, e->node);
        return;
    case NODE_DO_PEER_AGAIN:
        transport_peer_reconnect(l->transport, e->node);
        return;
    case NODE_DO_ALLOW:
        allow_keys(l);
        return;
    case NODE_DO_READY:
        say_ready(l);
        return;
    case NODE_DO_STOP:
        /* A forgotten one must not come back with the next boot (S6). */
        if (e->exit_code == EXIT_FOLDER || e->exit_code == EXIT_FORGOTTEN)
            folder_mark_bad(l->cfg->dir, e->text);
        end(l, e->exit_code, e->text);
        return;
    case NODE_DO_LOG:
        loop_log(l->cfg, e->level, e->text);
        return;
    }
}

/* Behind a STOP nothing is done any more; but references are counted. */
static void do_effects(struct loop *l)
{
    struct node_effect e;
    while (node_pop(l->node, &e)) {
        bool is_count = e.kind == NODE_DO_ACQUIRE || e.kind == NODE_DO_RELEASE;
        if (!l->is_over || is_count)
            do_effect(l, &e);
        else if (e.kind == NODE_DO_READ)
            buf_free(&e.segments.rows);
    }
}

/* ---- inputs ------------------------------------------------------------ */

/* Checksums are verified here, before the core hears of the command. */
static bool is_corrupt(struct span message)
{
    struct wire_in in;
    struct request r;
    return wire_read(message, &in) == ERR_OK &&
           in.header.kind == WIRE_REQUEST &&
           wire_request_read(&in, &r) == ERR_OK && r.op == OP_COMMANDS &&
           wire_commands_verify(&in, &r) != ERR_OK;
}

/* So are those of rows that another node gives. */
static bool is_rotten_transfer(struct span message)
{
    struct wire_in in;
    return wire_read(message, &in) == ERR_OK &&
           in.header.kind == WIRE_PEER_TRANSFER && !wire_rows_verify(&in);
}

static void feed(struct loop *l, const struct transport_in *in)
{
    struct span message = blob_span(in->blob);
    uint64_t handle = blob_handle(in->blob);
    const uint8_t *key = l->cfg->is_insecure ? NULL : in->key;
    if (in->is_peer_port && is_rotten_transfer(message))
        return; /* as if it had been lost */
    if (in->is_peer_port)
        node_recv_peer(l->node, message, handle, key);
    else
        node_recv_client(l->node, in->connection, message, handle, key,
                         is_corrupt(message));
}

/* As much as one turn of the core takes in. False: that was all. */
static bool receive_some(struct loop *l)
{
    struct blob *held[RECEIVE_BUDGET];
    size_t count = 0, bytes = 0;
    struct transport_in in;
    bool has_more = true;
    while (count < RECEIVE_BUDGET && bytes < TURN_BYTES) {
        has_more = transport_recv(l->transport, &in);
        if (!has_more)
            break;
        feed(l, &in);
        bytes += blob_size(in.blob);
        held[count++] = in.blob;
    }
    /* What the core keeps of them, it acquires now. */
    do_effects(l);
    for (size_t i = 0; i < count; i++)
        blob_unref(held[i]);
    return has_more;
}

static void receive(struct loop *l)
{
    while (!l->is_over && receive_some(l))
        continue;
}

static void job_done(struct loop *l, struct job_done *d)
{
    uint64_t handle = d->payload == NULL ? 0 : blob_handle(d->payload);
    switch (d->kind) {
    case JOB_COMMIT:
        if (d->err == ERR_OK)
            node_committed(l->node, &d->done);
        else if (d->err == ERR_IO)
            end(l, EXIT_DISK,
                "a commit failed: the disk cannot be trusted any more (S22); "
                "check it before this node is started again");
        else
            end(l, EXIT_BROKEN, "the store refused a commit as senseless");
        return;
    case JOB_SEGMENTS:
        d->payload = NULL; /* the core takes the reference over */
        node_read_done(l->node, d->ticket, &d->segments, handle);
        return;
    case JOB_LOG:
        d->payload = NULL;
        node_log_done(l->node, d->ticket, &d->log, handle);
        return;
    case JOB_BLOB:
        node_blob_done(l->node, d->ticket, &d->state);
        return;
    case JOB_ROWS:
        d->payload = NULL;
        node_rows_done(l->node, d->ticket, &d->rows, handle);
        return;
    case JOB_SCRUB:
        node_scrub_done(l->node, d->ticket, &d->scrub);
        return;
    case JOB_SPACE:
        l->is_space_asked = false;
        if (d->err == ERR_OK)
            node_space(l->node, &d->space);
        return;
    }
}

static void complete(struct loop *l)
{
    struct job_done d;
    while (!l->is_over && workers_next(l->workers, &d)) {
        job_done(l, &d);
        workers_free_done(&d);
    }
}

static void reload(struct loop *l)
{
    char text[LOOP_TEXT_SIZE];
    char state[64];
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    (void)snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%llu",
                   (unsigned long long)now.tv_sec * 1000000u +
                       (unsigned long long)now.tv_nsec / 1000u);
    notify(state);
    enum node_log_level before = l->cfg->log_level;
    enum err e = l->cfg->reload(l->cfg->reload_context, l->cfg, text);
    if (e == ERR_OK) {
        /* As loud as it was or will be: who asked shall see it. */
        struct loop_cfg loud = *l->cfg;
        loud.log_level = before > loud.log_level ? before : loud.log_level;
        loop_log(&loud, NODE_INFO, text);
        node_record_trace(l->node, l->cfg->log_level == NODE_DEBUG);
    } else {
        loop_log(l->cfg, NODE_ERROR, text);
        loop_log(l->cfg, NODE_ERROR,
                 "SIGHUP: the settings stay as they were, but the next start "
                 "would fail; mend that and send it again");
    }
    notify("READY=1");
}

static void take_signal(struct loop *l)
{
    struct signalfd_siginfo info;
    if (read(l->signal_fd, &info, sizeof info) != (ssize_t)sizeof info)
        return;
    if (info.ssi_signo == SIGHUP) {
        reload(l);
        return;
    }
    notify("STOPPING=1");
    node_stop(l->node);
}

static void ask_space(struct loop *l, uint64_t now_ms)
{
    if (l->is_space_asked || now_ms < l->space_ms)
        return;
    l->space_ms = now_ms + SPACE_INTERVAL_MS;
    l->is_space_asked = true;
    workers_space(l->workers);
}

static void serve(struct loop *l)
{
    int fds[2] = {workers_fd(l->workers), l->signal_fd};
    bool ready[2] = {false, false};
    while (!l->is_over) {
        uint64_t now = clock_ms(CLOCK_MONOTONIC);
        uint64_t at = node_deadline(l->node);
        int wait = at <= now ? 0 : (int)min_u64(at - now, 1000);
        transport_wait(l->transport, wait, fds, 2, ready);
        now = clock_ms(CLOCK_MONOTONIC);
        node_tick(l->node, now, clock_ms(CLOCK_REALTIME));
        ask_space(l, now);
        if (ready[1])
            take_signal(l);
        if (ready[0])
            complete(l);
        receive(l);
    }
    do_effects(l); /* what completions have left */
}

/* ---- starting ---------------------------------------------------------- */

/* S22: one real commit, of the boot number, before the first message. */
static enum err commit_boot(const struct loop_cfg *cfg, uint64_t boot)
{
    struct store_command c = {.kind = STORE_BOOT, .number = boot};
    struct store_batch b = {.cycle = 0, .commands = &c, .count = 1};
    struct store_done done;
    return store_commit(cfg->store, &b, &done);
}

static enum err start_node(struct loop *l)
{
    const struct loop_cfg *cfg = l->cfg;
    struct node_cfg node_cfg = {
        .folder = cfg->folder,
        .timing = node_timing_default(),
        .version = EDDY_VERSION,
        .client_address = cfg->client_address,
        .peer_address = cfg->peer_address,
        .log_keep_entries = cfg->log_keep_entries,
        .is_recording_trace = cfg->log_level == NODE_DEBUG,
        .release = let_go,
    };
    node_cfg.folder.boot++;
    if (RULE(S22) && commit_boot(cfg, node_cfg.folder.boot) != ERR_OK)
        return ERR_IO;
    keys_random(&node_cfg.nonce, sizeof node_cfg.nonce);
    keys_random(&node_cfg.seed, sizeof node_cfg.seed);
    l->node = node_new(&node_cfg, clock_ms(CLOCK_MONOTONIC),
                       clock_ms(CLOCK_REALTIME));
    struct store_visitor v = node_visitor(l->node);
    enum err e = store_load(cfg->store, &v);
    return e == ERR_OK ? node_start(l->node) : e;
}

static enum err open_ports(struct loop *l, char *reason)
{
    struct transport_cfg cfg = {.is_insecure = l->cfg->is_insecure};
    memcpy(cfg.public_key, l->cfg->node_key->public_key, KEY_BYTES);
    memcpy(cfg.secret_key, l->cfg->node_key->secret_key, KEY_BYTES);
    enum err e = transport_open(&cfg, &l->transport, reason);
    if (e == ERR_OK)
        e = transport_bind_peer(l->transport, l->cfg->peer_listen, reason);
    if (e == ERR_OK)
        e = transport_bind_client(l->transport, l->cfg->client_listen, reason);
    explicit_bzero(&cfg, sizeof cfg);
    return e;
}

static void raise_limits(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
        r.rlim_cur = r.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &r);
    }
    struct rlimit none = {0, 0}; /* keys are in memory */
    (void)setrlimit(RLIMIT_CORE, &none);
}

static void catch_signals(struct loop *l)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGPIPE);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    sigdelset(&set, SIGPIPE);
    l->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int code_of(enum err e)
{
    if (e == ERR_IO)
        return EXIT_DISK;
    if (e == ERR_IN_USE)
        return EXIT_ADDRESS;
    return EXIT_FOLDER;
}

int loop_try_ports(struct loop_cfg *cfg)
{
    struct loop l = {.cfg = cfg};
    char reason[TRANSPORT_REASON_SIZE];
    if (open_ports(&l, reason) != ERR_OK)
        end(&l, EXIT_ADDRESS, reason);
    transport_close(l.transport);
    return l.exit_code;
}

int loop_run(struct loop_cfg *cfg)
{
    struct loop l = {.cfg = cfg};
    char reason[TRANSPORT_REASON_SIZE] = "the data folder cannot be read";
    raise_limits();
    catch_signals(&l);
    /* The ports first: a port in use must not cost a boot. */
    enum err e = open_ports(&l, reason);
    if (e != ERR_OK) {
        end(&l, EXIT_ADDRESS, reason);
    } else {
        e = start_node(&l);
        if (e == ERR_OK)
            e = workers_start(cfg->store, &l.workers);
        if (e != ERR_OK) {
            (void)snprintf(reason, sizeof reason,
                           "%s: the data folder cannot be used: %s", cfg->dir,
                           err_text(e));
            /* A folder of a newer eddyd is whole. */
            if (e == ERR_DAMAGED)
                folder_mark_bad(cfg->dir, reason);
            end(&l, code_of(e), reason);
        } else {
            do_effects(&l);
            serve(&l);
        }
    }
    transport_close(l.transport);
    workers_stop(l.workers);
    node_free(l.node);
    if (l.signal_fd > 0)
        (void)close(l.signal_fd);
    return l.exit_code;
}
