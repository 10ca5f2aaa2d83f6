/* store_lmdb.c - the environment: founding, opening, closing, space.
 *
 * One environment, four databases, all opened in one write transaction at the
 * start; MDB_NOTLS and otherwise default flags, so that a commit which returns
 * is on the disk (PITFALLS A2); a huge map of fixed size; file mode 0600. No
 * page is touched before the file is known to be as long as its meta page
 * says. */
#include "storage/store_lmdb.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "storage/store_founding.h"

#define READERS_MAX 1024u
#define FILE_MODE   0600
/* Free pages are counted anew after so many commits: the walk over the free
 * list costs about a microsecond a commit that has freed pages. */
#define COUNT_EVERY 256u

static const char *const db_names[STORE_DB_COUNT] = {
    [STORE_DB_LOG] = "log",
    [STORE_DB_INDEX] = "index",
    [STORE_DB_STATE] = "state",
    [STORE_DB_META] = "meta",
};

/* Two environments over one file in one process lose LMDB its locks, silently
 * (PITFALLS A26): the only global of this room. */
static struct store_lmdb *open_stores;
static pthread_mutex_t open_stores_lock = PTHREAD_MUTEX_INITIALIZER;

enum err store_lmdb_err(int rc)
{
    switch (rc) {
    case MDB_SUCCESS:
        return ERR_OK;
    case MDB_NOTFOUND:
        return ERR_NOT_FOUND;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
        return ERR_DAMAGED;
    case MDB_VERSION_MISMATCH:
        return ERR_INCOMPATIBLE;
    default: /* an int of LMDB or of errno, not an enum */
        return ERR_IO;
    }
}

/* ---- registry ---------------------------------------------------------- */

static enum err register_open(struct store_lmdb *s)
{
    struct stat folder;
    if (stat(s->path, &folder) != 0)
        return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    s->device = folder.st_dev;
    s->inode = folder.st_ino;
    enum err err = ERR_OK;
    (void)pthread_mutex_lock(&open_stores_lock);
    for (struct store_lmdb *o = open_stores; o != NULL; o = o->next_open)
        if (o->device == s->device && o->inode == s->inode)
            err = ERR_IN_USE;
    if (err == ERR_OK) {
        s->next_open = open_stores;
        open_stores = s;
    }
    (void)pthread_mutex_unlock(&open_stores_lock);
    return err;
}

static void unregister(struct store_lmdb *s)
{
    (void)pthread_mutex_lock(&open_stores_lock);
    for (struct store_lmdb **at = &open_stores; *at != NULL;
         at = &(*at)->next_open) {
        if (*at == s) {
            *at = s->next_open;
            break;
        }
    }
    (void)pthread_mutex_unlock(&open_stores_lock);
}

/* ---- the files --------------------------------------------------------- */

static struct buf file_path(const struct store_lmdb *s, const char *name)
{
    struct buf path = {0};
    buf_printf(&path, "%s/%s", s->path, name);
    return path;
}

/* NOT_FOUND: there is no data.mdb. */
static enum err data_size(const struct store_lmdb *s, uint64_t *size)
{
    struct buf path = file_path(s, "data.mdb");
    struct stat file;
    int rc = stat((const char *)path.data, &file);
    buf_free(&path);
    if (rc != 0)
        return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    *size = (uint64_t)file.st_size;
    return ERR_OK;
}

static void remove_file(const struct store_lmdb *s, const char *name)
{
    struct buf path = file_path(s, name);
    (void)unlink((const char *)path.data);
    buf_free(&path);
}

static enum err sync_folder(const struct store_lmdb *s)
{
    int fd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return ERR_IO;
    int rc = fsync(fd);
    (void)close(fd);
    return rc == 0 ? ERR_OK : ERR_IO;
}

/* Through LMDB's own descriptor: closing another one on the file would drop
 * its locks. */
static enum err sync_data(const struct store_lmdb *s)
{
    mdb_filehandle_t fd;
    if (mdb_env_get_fd(s->env, &fd) != 0 || fsync(fd) != 0)
        return ERR_IO;
    return ERR_OK;
}

/* A page that is not in the file is SIGBUS at its first touch (PITFALLS A7). */
static enum err check_length(const struct store_lmdb *s)
{
    MDB_envinfo info;
    MDB_stat stat;
    uint64_t size;
    enum err err = data_size(s, &size);
    if (err != ERR_OK)
        return ERR_IO;
    if (mdb_env_info(s->env, &info) != 0 || mdb_env_stat(s->env, &stat) != 0)
        return ERR_IO;
    uint64_t pages = (uint64_t)info.me_last_pgno + 1;
    return pages <= size / stat.ms_psize ? ERR_OK : ERR_DAMAGED;
}

/* ---- life -------------------------------------------------------------- */

static const struct store_ops lmdb_ops;

static struct store_lmdb *lmdb_new(const struct store_lmdb_cfg *cfg)
{
    struct store_lmdb *s = mem_alloc(sizeof *s);
    s->base.ops = &lmdb_ops;
    s->path = mem_copy(cfg->path, strlen(cfg->path) + 1);
    s->bytes = cfg->bytes;
    s->bytes_ctx = cfg->bytes_ctx;
    s->on_broken = cfg->on_broken;
    return s;
}

static void lmdb_broken(MDB_env *env, const char *why)
{
    const struct store_lmdb *s = mdb_env_get_userctx(env);
    if (s->on_broken != NULL)
        s->on_broken(why);
}

static void lmdb_close(struct store *base)
{
    struct store_lmdb *s = (struct store_lmdb *)base;
    ASSERT(s->txn == NULL);
    if (s->env != NULL)
        mdb_env_close(s->env);
    unregister(s);
    store_ledger_free(&s->ledger);
    mem_free(s->path);
    mem_free(s);
}

static enum err open_env(struct store_lmdb *s, uint64_t map_bytes)
{
    int rc = mdb_env_create(&s->env);
    if (rc == 0)
        rc = mdb_env_set_userctx(s->env, s);
    if (rc == 0)
        rc = mdb_env_set_assert(s->env, lmdb_broken);
    if (rc == 0)
        rc = mdb_env_set_mapsize(s->env, (size_t)map_bytes);
    if (rc == 0)
        rc = mdb_env_set_maxdbs(s->env, STORE_DB_COUNT);
    if (rc == 0)
        rc = mdb_env_set_maxreaders(s->env, READERS_MAX);
    if (rc == 0)
        rc = mdb_env_open(s->env, s->path, MDB_NOTLS, FILE_MODE);
    return rc == ENOMEM ? ERR_TOO_LARGE : store_lmdb_err(rc);
}

static enum err open_dbs(struct store_lmdb *s, unsigned flags)
{
    for (size_t i = 0; i < STORE_DB_COUNT; i++) {
        int rc = mdb_dbi_open(s->txn, db_names[i], flags, &s->dbi[i]);
        if (rc != 0)
            return rc == MDB_NOTFOUND ? ERR_DAMAGED : store_lmdb_err(rc);
    }
    return ERR_OK;
}

static enum err open_stored(struct store_lmdb *s, uint64_t map_bytes)
{
    uint64_t size;
    enum err err = data_size(s, &size);
    if (err != ERR_OK)
        return err;
    if (size == 0)
        return ERR_DAMAGED; /* LMDB would take it for a new one */
    err = open_env(s, map_bytes);
    if (err == ERR_OK)
        err = check_length(s);
    /* S22: a meta page whose write has failed may be on the disk all the same;
     * LMDB has overruled it in the page cache, and only there. Were the next
     * pages, of the same numbers, on the disk before that is, a power loss
     * would leave a tree of both. */
    if (err == ERR_OK)
        err = sync_data(s);
    int dead;
    if (err == ERR_OK)
        err = store_lmdb_err(mdb_reader_check(s->env, &dead));
    if (err == ERR_OK)
        err = store_lmdb_err(mdb_txn_begin(s->env, NULL, 0, &s->txn));
    if (err != ERR_OK)
        return err;
    err = open_dbs(s, 0);
    if (err == ERR_OK)
        err = store_lmdb_err(mdb_txn_commit(s->txn));
    else
        mdb_txn_abort(s->txn);
    s->txn = NULL;
    return err == ERR_OK ? store_lmdb_load_ledger(s) : err;
}

enum err store_lmdb_open(const struct store_lmdb_cfg *cfg, struct store **out)
{
    *out = NULL;
    struct store_lmdb *s = lmdb_new(cfg);
    enum err err = register_open(s);
    if (err == ERR_OK)
        err = open_stored(s, cfg->map_bytes);
    if (err == ERR_OK)
        *out = &s->base;
    else
        lmdb_close(&s->base);
    return err;
}

/* ---- founding ---------------------------------------------------------- */

static enum err write_founding(struct store_lmdb *s,
                               const struct store_founding *f)
{
    enum err err = store_lmdb_err(mdb_txn_begin(s->env, NULL, 0, &s->txn));
    if (err != ERR_OK)
        return err;
    struct store_founding_batch b;
    store_founding_begin(&b, f);
    s->ledger.folder = f->folder;
    err = open_dbs(s, MDB_CREATE);
    if (err == ERR_OK)
        err = store_lmdb_write_founding(s, &b.batch);
    if (err == ERR_OK)
        err = store_lmdb_err(mdb_txn_commit(s->txn));
    else
        mdb_txn_abort(s->txn);
    s->txn = NULL;
    store_founding_end(&b);
    return err;
}

static enum err found(struct store_lmdb *s, uint64_t map_bytes,
                      const struct store_founding *f)
{
    enum err err = open_env(s, map_bytes);
    if (err == ERR_OK)
        err = write_founding(s, f);
    if (err == ERR_OK)
        err = sync_data(s);
    if (err == ERR_OK)
        err = sync_folder(s);
    if (err == ERR_OK)
        return ERR_OK;
    /* There was none before: what is there is ours, and half of it. */
    remove_file(s, "data.mdb");
    remove_file(s, "lock.mdb");
    return err == ERR_TOO_LARGE ? err : ERR_IO;
}

enum err store_lmdb_found(const struct store_lmdb_cfg *cfg,
                          const struct store_founding *f)
{
    struct store_lmdb *s = lmdb_new(cfg);
    uint64_t size;
    enum err err = register_open(s);
    if (err == ERR_OK) {
        err = data_size(s, &size);
        if (err == ERR_OK)
            err = ERR_IN_USE;
        else if (err == ERR_NOT_FOUND)
            err = found(s, cfg->map_bytes, f);
    }
    lmdb_close(&s->base);
    return err == ERR_NOT_FOUND ? ERR_IO : err;
}

/* ---- space ------------------------------------------------------------- */

/* LMDB's database 0 holds, for each transaction that freed pages, their list;
 * its first word is how many they are. */
static enum err count_free(struct store_lmdb *s, uint64_t *pages)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn);
    if (rc != 0)
        return store_lmdb_err(rc);
    MDB_cursor *cursor;
    enum err err = store_lmdb_err(mdb_cursor_open(txn, 0, &cursor));
    *pages = 0;
    while (err == ERR_OK) {
        MDB_val key, list;
        size_t count = 0;
        err = store_lmdb_err(mdb_cursor_get(cursor, &key, &list, MDB_NEXT));
        if (err == ERR_OK && list.mv_size >= sizeof count) {
            memcpy(&count, list.mv_data, sizeof count);
            *pages += count;
        }
    }
    if (err == ERR_NOT_FOUND) {
        mdb_cursor_close(cursor);
        err = ERR_OK;
    }
    mdb_txn_abort(txn);
    return err;
}

static enum err lmdb_space(struct store *base, struct store_space *out)
{
    struct store_lmdb *s = (struct store_lmdb *)base;
    MDB_envinfo info;
    MDB_stat stat;
    struct statvfs disk;
    if (mdb_env_info(s->env, &info) != 0 || mdb_env_stat(s->env, &stat) != 0 ||
        statvfs(s->path, &disk) != 0)
        return ERR_IO;
    if (s->counted_txn == 0 ||
        info.me_last_txnid >= s->counted_txn + COUNT_EVERY) {
        enum err err = count_free(s, &s->free_pages);
        if (err != ERR_OK)
            return err;
        s->counted_txn = info.me_last_txnid;
    }
    uint64_t pages = (uint64_t)info.me_last_pgno + 1;
    *out = (struct store_space){
        .map_bytes = info.me_mapsize,
        .map_used = (pages - min_u64(pages, s->free_pages)) * stat.ms_psize,
        .disk_bytes = (uint64_t)disk.f_blocks * disk.f_frsize,
        .disk_free = (uint64_t)disk.f_bavail * disk.f_frsize,
        .file_free = min_u64(pages, s->free_pages) * stat.ms_psize,
    };
    return ERR_OK;
}

static const struct store_ops lmdb_ops = {
    .close = lmdb_close,
    .load = store_lmdb_load,
    .commit = store_lmdb_commit,
    .space = lmdb_space,
    .reader_open = store_lmdb_reader_open,
    .reader_close = store_lmdb_reader_close,
    .read_segments = store_lmdb_read_segments,
    .read_log = store_lmdb_read_log,
    .read_blob = store_lmdb_read_blob,
    .read_rows = store_lmdb_read_rows,
    .scrub = store_lmdb_scrub,
};
