/* main.c - eddyd: one node of an Eddy ring. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "node/admission.h"
#include "node/config.h"
#include "node/folder.h"
#include "node/found.h"
#include "node/loop.h"
#include "node/settings.h"

#ifndef EDDY_VERSION
#define EDDY_VERSION "0.1.0"
#endif

#define EXIT_USAGE   2
#define EXIT_ADDRESS 69
#define EXIT_AGAIN   75
#define EXIT_KEY     77

static const char usage[] =
    "eddyd: one node of an Eddy ring, a peer-to-peer store for streams\n"
    "\n"
    "  eddyd init --data DIR [options]   a new cluster and its first node's\n"
    "                                    folder\n"
    "  eddyd join --data DIR --to HOST:PORT[,...] --key FILE [options]\n"
    "                                    a folder for one more node\n"
    "  eddyd run  --data DIR [options]   serve\n"
    "  eddyd config --data DIR [--json]  the settings in force, and why\n"
    "  eddyd --help | --version\n"
    "\n"
    "init:  --listen HOST:PORT (127.0.0.1:7460)  --peer-listen HOST:PORT\n"
    "       --advertise HOST  --name NAME  --zone ZONE  --weight 100\n"
    "       --replication 3 (1 to 7)  --partitions 256 (16 to 1024, a power\n"
    "       of two)  --out-after 15m (1s to 720h)  --insecure  --map-size 1T\n"
    "join:  as init, without --replication, --partitions and --out-after;\n"
    "       --key is the join.key of a member's DIR/keys, or --insecure\n"
    "run:   --config FILE  --log-level error|warn|info|debug\n"
    "       --log-format text|json  --listen, --peer-listen, --advertise\n"
    "\n"
    "Settings: flag, then environment (EDDYD_LISTEN ...), then DIR/eddy.conf,\n"
    "then default. Sizes are binary (256K), times 5s, 15m, 2h.\n"
    "\n"
    "SIGTERM: hands over leaderships and stops. SIGHUP: reads eddy.conf and\n"
    "the key files again; the log says what is in force now and what waits.\n"
    "\n"
    "Exit codes: 0 stopped, 2 bad arguments or config, 69 an address in use\n"
    "or not ours, 70 a broken invariant, 74 the disk failed (do not restart),\n"
    "75 no node answered or the ring refused for now, 77 key file missing,\n"
    "damaged or open to others, 78 wrong, empty, used or damaged folder,\n"
    "79 forgotten (removed, or an older copy of this folder).\n";

static int fail(int code, const char *reason)
{
    (void)fprintf(stderr, "eddyd: %s\n", reason);
    return code;
}

/* Of settings and folders. */
static int code_of(enum err e)
{
    return e == ERR_BAD_REQUEST ? EXIT_USAGE : EXIT_FOLDER;
}

/* Of what the ring says to who wants to be let in. */
static int ring_code_of(enum err e)
{
    if (e == ERR_DENIED)
        return EXIT_KEY;
    if (e == ERR_FORGOTTEN)
        return EXIT_FORGOTTEN;
    if (e == ERR_BAD_REQUEST || e == ERR_CONFLICT) /* the name is taken */
        return EXIT_USAGE;
    return e == ERR_INCOMPATIBLE ? EXIT_FOLDER : EXIT_AGAIN;
}

static bool is_insecure(const struct node_config *c)
{
    return strcmp(c->insecure.text, "yes") == 0;
}

/* ---- init, join -------------------------------------------------------- */

#define MEMBER_FLAGS                                                           \
    "data listen peer-listen advertise name zone weight insecure map-size "    \
    "log-level log-format "

static int init(int argc, char **argv)
{
    struct node_config c;
    struct founded out;
    char reason[FOUND_REASON_SIZE];
    enum err e =
        config_parse(&c, argc, argv,
                     MEMBER_FLAGS "replication partitions out-after", reason);
    if (e == ERR_OK)
        e = found_cluster(&c, &out, reason);
    if (e != ERR_OK)
        return fail(code_of(e), reason);
    char hex[33];
    id_format(out.cluster, hex);
    (void)printf("cluster %s\nnode    %s in %s\n\nStart it:\n"
                 "  eddyd run --data %s\n\n",
                 hex, out.name, c.data.text, c.data.text);
    (void)printf("On each further machine (copy %s/keys/join.key there):\n"
                 "  eddyd join --data DIR --to %s %s--listen HOST:PORT\n"
                 "  eddyd run --data DIR\n",
                 c.data.text, out.client_address,
                 is_insecure(&c) ? "--insecure " : "--key join.key ");
    if (is_insecure(&c))
        (void)fprintf(stderr,
                      "eddyd: this cluster is open: whoever reaches a port "
                      "may read, write and administer it\n");
    return 0;
}

static enum err read_join_key(const struct node_config *c, struct keys *out,
                              char *reason)
{
    if (is_insecure(c)) {
        /* Proves nothing to anybody, but makes the folder's file a sound one:
         * `run` reads it. */
        keys_generate(out, (struct id128){{0}});
        return ERR_OK;
    }
    if (c->key.text[0] == 0) {
        (void)snprintf(reason, FOUND_REASON_SIZE,
                       "--key FILE is missing: the join.key that `eddyd init` "
                       "made, in DIR/keys of the first node (or --insecure)");
        return ERR_BAD_REQUEST;
    }
    return keys_read(c->key.text, (struct id128){{0}}, out, reason);
}

/* The ring is asked for its record only; `run` will ask it to let us in. */
static int join(int argc, char **argv)
{
    struct node_config c;
    struct founded out;
    struct keys key;
    struct record *record = NULL;
    char reason[FOUND_REASON_SIZE];
    enum err e = config_parse(&c, argc, argv, MEMBER_FLAGS "to key", reason);
    if (e != ERR_OK)
        return fail(code_of(e), reason);
    e = read_join_key(&c, &key, reason);
    if (e != ERR_OK)
        return fail(e == ERR_BAD_REQUEST ? EXIT_USAGE : EXIT_KEY, reason);
    e = admission_contacts(&key, c.to.text, reason);
    if (e == ERR_OK)
        e = admission_fetch(&key, is_insecure(&c), &record, reason);
    if (e == ERR_OK)
        e = admission_check(record, &c, reason);
    int code = e == ERR_OK ? 0 : ring_code_of(e);
    if (e == ERR_OK) {
        key.cluster = record->cluster;
        e = found_joiner(&c, &key, &out, reason);
        code = e == ERR_OK ? 0 : code_of(e);
    }
    record_free(record);
    keys_wipe(&key);
    if (code != 0)
        return fail(code, reason);
    (void)printf("node %s in %s\n\nStart it:\n  eddyd run --data %s\n",
                 out.name, c.data.text, c.data.text);
    if (!is_insecure(&c))
        (void)printf("\nFor clients that know no other node that is up, a line "
                     "for their key file:\n  contact %s %s\n",
                     out.client_address, out.public_text);
    return 0;
}

/* ---- run --------------------------------------------------------------- */

/* What the store says before anything is started. */
struct peek {
    struct store_folder folder;
    struct record *record; /* NULL: none cached */
};

static enum err peek_folder(void *ctx, const struct store_folder *f)
{
    ((struct peek *)ctx)->folder = *f;
    return ERR_OK;
}

static enum err peek_record(void *ctx, struct span bytes)
{
    enum err e = record_decode(bytes, &((struct peek *)ctx)->record);
    return e == ERR_OK ? ERR_BUSY : e;
}

/* ERR_BUSY: enough was seen. */
static enum err peek_replica(void *ctx, const struct store_replica *r)
{
    (void)ctx;
    (void)r;
    return ERR_BUSY;
}

static enum err peek_tombstone(void *ctx, uint32_t group, uint32_t incarnation,
                               uint64_t least)
{
    (void)ctx;
    (void)group;
    (void)incarnation;
    (void)least;
    return ERR_OK;
}

static enum err peek_at(struct store *store, struct peek *p)
{
    struct store_visitor v = {
        .ctx = p,
        .folder = peek_folder,
        .record = peek_record,
        .replica = peek_replica,
        .tombstone = peek_tombstone,
    };
    *p = (struct peek){0};
    enum err e = store_load(store, &v);
    return e == ERR_BUSY ? ERR_OK : e;
}

/* Asks the ring to let this node in until its record has it, then stores the
 * record: only then may the node open its peer port. An exit code, or 0. */
static int admit(const struct node_config *c, struct loop_cfg *l,
                 struct peek *p)
{
    struct member member;
    struct keys join_key = {0};
    char path[FOLDER_PATH_MAX];
    char reason[FOUND_REASON_SIZE];
    enum err e =
        found_member(c, p->folder.node, l->is_insecure ? NULL : l->node_key,
                     &member, reason);
    if (e != ERR_OK)
        return fail(code_of(e), reason);
    if (!folder_path(c->data.text, "keys/join.key", path))
        return fail(EXIT_USAGE, "--data is too long");
    e = keys_read(path, p->folder.cluster, &join_key, reason);
    if (e != ERR_OK)
        return fail(EXIT_KEY, reason);
    int code = loop_try_ports(l);
    if (code != 0) {
        keys_wipe(&join_key);
        return code;
    }
    loop_log(l, NODE_INFO, "asking the ring to let this node in");
    e = admission_join(&join_key, l->is_insecure, &member, &p->record, reason);
    keys_wipe(&join_key);
    if (e != ERR_OK)
        return fail(ring_code_of(e), reason);
    struct buf bytes = {0};
    record_encode(p->record, &bytes);
    struct store_command command = {.kind = STORE_RECORD,
                                    .bytes = span_buf(&bytes)};
    struct store_batch batch = {.commands = &command, .count = 1};
    struct store_done done;
    e = store_commit(l->store, &batch, &done);
    buf_free(&bytes);
    return e == ERR_OK ? 0
                       : fail(EXIT_DISK, "the ring record cannot be stored");
}

static int serve(const struct node_config *c, struct loop_cfg *l,
                 struct peek *p)
{
    char reason[FOUND_REASON_SIZE];
    char path[FOLDER_PATH_MAX];
    struct keys node_key;
    if (!folder_path(c->data.text, "keys/node.key", path))
        return fail(EXIT_USAGE, "--data is too long");
    enum err e = keys_read(path, p->folder.cluster, &node_key, reason);
    if (e != ERR_OK)
        return fail(EXIT_KEY, reason);
    l->node_key = &node_key;
    l->folder = p->folder;
    l->is_insecure =
        p->record != NULL ? p->record->is_insecure : is_insecure(c);
    int code = 0;
    if (p->record == NULL ||
        record_slot(p->record, p->folder.node) == SLOT_NONE)
        code = admit(c, l, p);
    if (code == 0)
        code = loop_run(l);
    keys_wipe(&node_key);
    return code;
}

/* ---- faults ------------------------------------------------------------ */

static const char *fault_dir;

/* Damage that was met in the middle of things: the folder is bad (S24). */
static void on_damage(const char *why)
{
    folder_mark_bad(fault_dir, why);
    ssize_t wrote = write(STDERR_FILENO, why, strlen(why));
    wrote = write(STDERR_FILENO, "\n", 1);
    (void)wrote;
    _exit(EXIT_FOLDER);
}

/* SIGBUS: the device could not give a page of the map. */
static void on_bus(int signal)
{
    (void)signal;
    on_damage("a page of the store could not be read");
}

/* An assertion, ours or a library's, has said why already. */
static void on_abort(int signal)
{
    (void)signal;
    _exit(EXIT_BROKEN);
}

/* Before the store's first page is touched. */
static void catch_faults(const char *dir)
{
    fault_dir = dir;
    struct sigaction bus = {.sa_handler = on_bus};
    struct sigaction broken = {.sa_handler = on_abort};
    (void)sigaction(SIGBUS, &bus, NULL);
    (void)sigaction(SIGABRT, &broken, NULL);
}

static int open_and_serve(const struct node_config *c, struct loop_cfg *l)
{
    char reason[FOUND_REASON_SIZE];
    struct store_lmdb_cfg cfg = {
        .path = c->data.text, .bytes = loop_bytes, .on_broken = on_damage};
    if (!config_size(c->map_size.text, &cfg.map_bytes))
        return fail(EXIT_USAGE, "map-size is a size like 1T");
    catch_faults(c->data.text);
    enum err e = store_lmdb_open(&cfg, &l->store);
    if (e != ERR_OK) {
        if (e == ERR_DAMAGED)
            folder_mark_bad(c->data.text, "the store does not fit together");
        found_store_reason(c, e, reason);
        if (e == ERR_TOO_LARGE)
            return fail(EXIT_USAGE, reason);
        return fail(e == ERR_IO ? EXIT_DISK : EXIT_FOLDER, reason);
    }
    struct peek p;
    int code;
    e = peek_at(l->store, &p);
    if (e != ERR_OK) {
        if (e == ERR_DAMAGED)
            folder_mark_bad(c->data.text, "rows are damaged");
        (void)snprintf(reason, sizeof reason, "%s: %s", c->data.text,
                       err_text(e));
        code = fail(EXIT_FOLDER, reason);
    } else {
        code = serve(c, l, &p);
    }
    record_free(p.record);
    store_close(l->store);
    return code;
}

/* It waits until the loop takes signals: who asks to be let in does not die of
 * it. */
static void hold_hangups(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
}

static int run(int argc, char **argv)
{
    struct settings s;
    struct loop_cfg l = {.reload = settings_reload, .reload_context = &s};
    char reason[FOUND_REASON_SIZE];
    int lock = -1;
    hold_hangups();
    enum err e = settings_read(&s, argc, argv, reason);
    if (e == ERR_OK)
        e = settings_fill(&s.config, &l, reason);
    if (e != ERR_OK)
        return fail(code_of(e), reason);
    e = folder_check(l.dir, reason);
    if (e == ERR_OK)
        e = folder_lock(l.dir, &lock, reason);
    if (e != ERR_OK)
        return fail(EXIT_FOLDER, reason);
    int code = open_and_serve(&s.config, &l);
    (void)close(lock);
    return code;
}

static int config(int argc, char **argv)
{
    struct settings s;
    char reason[FOUND_REASON_SIZE];
    bool is_json = argc > 0 && strcmp(argv[argc - 1], "--json") == 0;
    enum err e = settings_read(&s, argc - is_json, argv, reason);
    if (e != ERR_OK)
        return fail(code_of(e), reason);
    struct buf out = {0};
    config_print(&s.config, is_json, &out);
    (void)fwrite(out.data, 1, out.size, stdout);
    buf_free(&out);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return fail(EXIT_USAGE, "say what to do: init, join, run or config "
                                "(eddyd --help)");
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            (void)fputs(usage, stdout);
            return 0;
        }
    }
    if (strcmp(argv[1], "--version") == 0) {
        (void)puts("eddyd " EDDY_VERSION);
        return 0;
    }
    if (keys_init() != ERR_OK)
        return fail(EXIT_BROKEN, "the system gives no randomness");
    if (strcmp(argv[1], "init") == 0)
        return init(argc - 2, argv + 2);
    if (strcmp(argv[1], "join") == 0)
        return join(argc - 2, argv + 2);
    if (strcmp(argv[1], "run") == 0)
        return run(argc - 2, argv + 2);
    if (strcmp(argv[1], "config") == 0)
        return config(argc - 2, argv + 2);
    (void)fprintf(stderr,
                  "eddyd: '%s' is no command: init, join, run or "
                  "config (eddyd --help)\n",
                  argv[1]);
    return EXIT_USAGE;
}
