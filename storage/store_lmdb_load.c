/* store_lmdb_load.c - the start: what the folder holds, each row checked.
 *
 * What a rotten page of a tree makes vanish gives no error of its own (S24),
 * so every fact is held against another: the folder's row counts replicas and
 * tombstones, a replica's row its term runs and configurations, the log's ends
 * must fit the runs, its entries above applied must be without a gap, and the
 * digest that came with the last portion must be that of the state's rows. */
#include "storage/store_lmdb.h"

/* ---- meta into the ledger ---------------------------------------------- */

/* A replica whose rows are being read: they come after its REPLICA row. */
struct filling {
    struct store_lmdb *s;
    MDB_txn *txn;
    struct store_held *held; /* NULL: none yet */
    struct store_replica_row row;
    bool has_hard;
    bool has_applied;
    bool has_install;
};

/* A log row as the start needs it. */
static enum err read_log_header(const struct store_lmdb *s, MDB_txn *txn,
                                const struct store_held *h, uint64_t index,
                                struct entry_header *out)
{
    struct store_key key =
        store_key_log(h->view.group, h->view.incarnation, index);
    struct span manifest;
    enum err err =
        store_lmdb_get(s, txn, STORE_DB_LOG, store_key_span(&key), &manifest);
    if (err != ERR_OK)
        return err == ERR_NOT_FOUND ? ERR_DAMAGED : err;
    err = entry_read_header(manifest, out);
    if (err == ERR_INCOMPATIBLE) /* a newer eddyd wrote it: nothing is bad */
        return err;
    if (err != ERR_OK || out->index != index ||
        out->term != store_ledger_term_at(h, index))
        return ERR_DAMAGED;
    return ERR_OK;
}

/* The highest index of the replica's log, the base if there is none. */
static enum err find_last(const struct store_lmdb *s, MDB_txn *txn,
                          const struct store_held *h, uint64_t *last)
{
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(txn, s->dbi[STORE_DB_LOG], &cursor);
    if (rc != 0)
        return store_lmdb_err(rc);
    struct store_key first =
        store_key_first(h->view.group, h->view.incarnation);
    struct store_key end =
        store_key_first(h->view.group, h->view.incarnation + 1);
    struct span key = store_key_span(&end);
    struct span value;
    enum err err = store_lmdb_move(cursor, MDB_SET_RANGE, &key, &value);
    if (err == ERR_OK)
        err = store_lmdb_move(cursor, MDB_PREV, &key, &value);
    else if (err == ERR_NOT_FOUND)
        err = store_lmdb_move(cursor, MDB_LAST, &key, &value);
    *last = h->view.raft.base_index;
    if (err == ERR_OK && key.size != STORE_LOG_KEY_BYTES)
        err = ERR_DAMAGED;
    /* Payload of entries below the base stays when the log is cut. */
    if (err == ERR_OK && memcmp(key.data, first.bytes, first.size) == 0)
        *last = max_u64(*last, get_be64(key.data + STORE_GROUP_KEY_BYTES));
    mdb_cursor_close(cursor);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

/* Runs and configurations are in key order, so only their ends can be off. */
static enum err check_log(const struct store_lmdb *s, MDB_txn *txn,
                          const struct store_held *h)
{
    const struct raft_stored *raft = &h->view.raft;
    if (raft->applied_index < raft->base_index ||
        raft->applied_index > raft->last_index)
        return ERR_DAMAGED;
    if (raft->config_count > 0 &&
        h->configs[raft->config_count - 1].index > raft->last_index)
        return ERR_DAMAGED;
    if (raft->applied_index == raft->base_index &&
        h->view.applied_term != raft->base_term)
        return ERR_DAMAGED;
    if (raft->last_index == raft->base_index)
        return raft->run_count == 0 ? ERR_OK : ERR_DAMAGED;
    if (raft->run_count == 0 || h->runs[0].first_index > raft->base_index + 1 ||
        h->runs[raft->run_count - 1].first_index > raft->last_index)
        return ERR_DAMAGED;
    if (raft->applied_index > raft->base_index &&
        h->view.applied_term != store_ledger_term_at(h, raft->applied_index))
        return ERR_DAMAGED;
    struct entry_header header;
    enum err err = read_log_header(s, txn, h, raft->base_index + 1, &header);
    if (err == ERR_OK)
        err = read_log_header(s, txn, h, raft->last_index, &header);
    return err;
}

static enum err finish_replica(struct filling *f)
{
    struct store_held *h = f->held;
    if (h == NULL)
        return ERR_OK;
    const struct raft_stored *raft = &h->view.raft;
    f->held = NULL;
    if (!f->has_hard || !f->has_applied ||
        f->has_install != f->row.is_installing ||
        raft->run_count != f->row.run_count ||
        raft->config_count != f->row.config_count)
        return ERR_DAMAGED;
    enum err err = find_last(f->s, f->txn, h, &h->view.raft.last_index);
    return err == ERR_OK ? check_log(f->s, f->txn, h) : err;
}

static enum err begin_replica(struct filling *f, struct span key,
                              struct span value)
{
    uint32_t group = store_key_group(key);
    if (!store_get_replica(value, &f->row))
        return ERR_DAMAGED;
    struct store_replica view = {
        .group = group,
        .incarnation = store_key_incarnation(key),
        .generation = f->row.generation,
        .added = f->row.added,
        .is_quarantined = f->row.is_quarantined,
        .is_installing = f->row.is_installing,
        .quarantine = f->row.quarantine,
    };
    view.raft.base_index = f->row.base_index;
    view.raft.base_term = f->row.base_term;
    if (!store_ledger_add(&f->s->ledger, &view))
        return ERR_DAMAGED;
    f->held = store_ledger_find(&f->s->ledger, group);
    f->has_hard = f->has_applied = f->has_install = false;
    return ERR_OK;
}

static bool fill_applied(struct store_held *h, struct span value)
{
    struct store_applied_row row;
    if (!store_get_applied(value, &row))
        return false;
    h->view.raft.applied_index = row.index;
    h->view.applied_term = row.term;
    h->view.digest = row.digest;
    h->view.epoch = row.epoch;
    return true;
}

static bool fill_install(struct store_held *h, struct span value)
{
    struct store_install_row row;
    if (!store_get_install(value, &row))
        return false;
    h->view.cursor = row.cursor;
    h->view.moved_bytes = row.moved_bytes;
    return true;
}

static bool fill_run(struct store_held *h, uint64_t number, struct span value)
{
    struct raft_term_run run = {.first_index = number};
    if (!store_get_number(value, &run.term))
        return false;
    store_ledger_add_run(h, run);
    return true;
}

static bool fill_config(struct store_held *h, uint64_t number,
                        struct span value)
{
    struct config config;
    if (!store_get_config(value, number, &config))
        return false;
    store_ledger_add_config(h, &config);
    return true;
}

static bool fill_tombstone(struct store_ledger *l, uint32_t group,
                           struct span value)
{
    struct store_tombstone_row row;
    if (group >= GROUPS_MAX || !store_get_tombstone(value, &row) ||
        row.incarnation == 0)
        return false;
    l->slots[group].tombstone =
        (struct store_tombstone){row.least, row.incarnation};
    return true;
}

/* A row that belongs to the replica at hand. */
static enum err fill_held(struct filling *f, enum store_meta kind,
                          struct span key, uint64_t number, struct span value)
{
    struct store_held *h = f->held;
    if (h == NULL || h->view.group != store_key_group(key) ||
        h->view.incarnation != store_key_incarnation(key))
        return ERR_DAMAGED;
    bool is_sound = false;
    switch (kind) {
    case STORE_META_HARD:
        is_sound = f->has_hard = store_get_hard(value, &h->view.raft.hard);
        break;
    case STORE_META_APPLIED:
        is_sound = f->has_applied = fill_applied(h, value);
        break;
    case STORE_META_RUN:
        is_sound = fill_run(h, number, value);
        break;
    case STORE_META_CONFIG:
        is_sound = fill_config(h, number, value);
        break;
    case STORE_META_INSTALL:
        is_sound = f->has_install = fill_install(h, value);
        break;
    case STORE_META_FOLDER:
    case STORE_META_BOOT:
    case STORE_META_RECORD:
    case STORE_META_TOMBSTONE:
    case STORE_META_REPLICA:
    case STORE_META_BOOTS:
        break;
    }
    return is_sound ? ERR_OK : ERR_DAMAGED;
}

static enum err fill_row(struct filling *f, struct span key, struct span stored)
{
    struct span value;
    enum store_meta kind;
    uint64_t number;
    if (!store_key_read_meta(key, &kind, &number) ||
        !store_row_open(key, stored, &value))
        return ERR_DAMAGED;
    if (kind == STORE_META_TOMBSTONE || kind == STORE_META_REPLICA) {
        enum err err = finish_replica(f);
        if (err != ERR_OK)
            return err;
    }
    if (kind == STORE_META_REPLICA)
        return begin_replica(f, key, value);
    if (kind == STORE_META_TOMBSTONE)
        return fill_tombstone(&f->s->ledger, store_key_group(key), value)
                   ? ERR_OK
                   : ERR_DAMAGED;
    return fill_held(f, kind, key, number, value);
}

/* All rows of groups, in key order. */
static enum err fill_groups(struct filling *f)
{
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(f->txn, f->s->dbi[STORE_DB_META], &cursor);
    if (rc != 0)
        return store_lmdb_err(rc);
    struct span key = {NULL, 0};
    struct span stored;
    enum err err = store_lmdb_move(cursor, MDB_FIRST, &key, &stored);
    while (err == ERR_OK) {
        if (key.size != STORE_META_KEY_BYTES) {
            err = ERR_DAMAGED;
            break;
        }
        if (store_key_group(key) == STORE_NODE_GROUP)
            break;
        err = fill_row(f, key, stored);
        if (err == ERR_OK)
            err = store_lmdb_move(cursor, MDB_NEXT, &key, &stored);
    }
    mdb_cursor_close(cursor);
    /* The node's own rows come last: they are never not found. */
    if (err == ERR_NOT_FOUND)
        err = ERR_DAMAGED;
    return err == ERR_OK ? finish_replica(f) : err;
}

static enum err get_node_row(const struct store_lmdb *s, MDB_txn *txn,
                             enum store_meta kind, struct span *value)
{
    struct store_key key = store_key_meta(STORE_NODE_GROUP, 0, kind, 0);
    return store_lmdb_get(s, txn, STORE_DB_META, store_key_span(&key), value);
}

static enum err fill_folder(struct store_lmdb *s, MDB_txn *txn,
                            struct store_folder_row *row)
{
    struct span value;
    enum err err = get_node_row(s, txn, STORE_META_FOLDER, &value);
    if (err != ERR_OK)
        return err;
    if (!store_get_folder(value, row))
        return ERR_DAMAGED;
    if (row->format > STORE_FORMAT)
        return ERR_INCOMPATIBLE;
    if (row->format != STORE_FORMAT)
        return ERR_DAMAGED;
    s->ledger.folder = row->folder;
    err = get_node_row(s, txn, STORE_META_BOOT, &value);
    if (err != ERR_OK)
        return err;
    return store_get_number(value, &s->ledger.folder.boot) ? ERR_OK
                                                           : ERR_DAMAGED;
}

static enum err fill_ledger(struct store_lmdb *s, MDB_txn *txn)
{
    struct store_folder_row row;
    enum err err = fill_folder(s, txn, &row);
    if (err != ERR_OK)
        return err;
    struct filling f = {.s = s, .txn = txn};
    err = fill_groups(&f);
    if (err != ERR_OK)
        return err;
    uint32_t replicas, tombstones;
    store_ledger_count(&s->ledger, &replicas, &tombstones);
    return replicas == row.replicas && tombstones == row.tombstones
               ? ERR_OK
               : ERR_DAMAGED;
}

enum err store_lmdb_load_ledger(struct store_lmdb *s)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn);
    if (rc != 0)
        return store_lmdb_err(rc);
    enum err err = fill_ledger(s, txn);
    mdb_txn_abort(txn);
    store_ledger_keep(&s->ledger);
    return err == ERR_NOT_FOUND ? ERR_DAMAGED : err;
}

/* ---- the load ---------------------------------------------------------- */

struct visiting {
    const struct store_lmdb *s;
    MDB_txn *txn;
    const struct store_visitor *v;
};

/* The state's rows in key order; their digest must be the stored one. */
static enum err visit_state(const struct visiting *l, MDB_cursor *cursor,
                            const struct store_held *h)
{
    struct store_key first =
        store_key_first(h->view.group, h->view.incarnation);
    struct hash128 sum = {0, 0};
    struct span key = store_key_span(&first);
    struct span stored;
    enum err err = store_lmdb_move(cursor, MDB_SET_RANGE, &key, &stored);
    while (err == ERR_OK && memcmp(key.data, first.bytes, first.size) == 0) {
        struct span row_key, value;
        if (!store_key_state_row(key, &row_key) ||
            !store_row_open(key, stored, &value))
            return ERR_DAMAGED;
        struct hash128 digest = row_digest(row_key, value);
        sum.lo += digest.lo;
        sum.hi += digest.hi;
        err = l->v->row(l->v->ctx, h->view.group, row_key, value);
        if (err != ERR_OK)
            return err;
        err = store_lmdb_move(cursor, MDB_NEXT, &key, &stored);
    }
    if (err != ERR_OK && err != ERR_NOT_FOUND)
        return err;
    return sum.lo == h->view.digest.lo && sum.hi == h->view.digest.hi
               ? ERR_OK
               : ERR_DAMAGED;
}

/* The entries above applied, without a gap. */
static enum err visit_entries(const struct visiting *l,
                              const struct store_held *h)
{
    const struct raft_stored *raft = &h->view.raft;
    for (uint64_t i = raft->applied_index + 1; i <= raft->last_index; i++) {
        struct store_key key =
            store_key_log(h->view.group, h->view.incarnation, i);
        struct span manifest;
        struct entry_header header;
        enum err err = store_lmdb_get(l->s, l->txn, STORE_DB_LOG,
                                      store_key_span(&key), &manifest);
        if (err == ERR_NOT_FOUND)
            return ERR_DAMAGED;
        if (err != ERR_OK)
            return err;
        err = entry_read_header(manifest, &header);
        if (err == ERR_INCOMPATIBLE)
            return err;
        if (err != ERR_OK || header.index != i ||
            header.term != store_ledger_term_at(h, i))
            return ERR_DAMAGED;
        err = l->v->entry(l->v->ctx, h->view.group, manifest);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

static enum err visit_replica(const struct visiting *l,
                              const struct store_held *h)
{
    enum err err = l->v->replica(l->v->ctx, &h->view);
    if (err != ERR_OK)
        return err;
    MDB_cursor *cursor;
    err = store_lmdb_err(
        mdb_cursor_open(l->txn, l->s->dbi[STORE_DB_STATE], &cursor));
    if (err != ERR_OK)
        return err;
    /* A blob that is not whole has no digest, and is begun anew. */
    if (!h->view.is_installing || h->view.raft.base_index > 0)
        err = visit_state(l, cursor, h);
    mdb_cursor_close(cursor);
    return err == ERR_OK ? visit_entries(l, h) : err;
}

/* A row of the node that need not be there: the boots before any peer was
 * heard of, the record in a folder made by join. */
static enum err visit_node_row(const struct visiting *l, enum store_meta kind,
                               enum err (*visit)(void *ctx, struct span bytes))
{
    struct span bytes;
    enum err err = get_node_row(l->s, l->txn, kind, &bytes);
    if (err == ERR_NOT_FOUND || visit == NULL)
        return ERR_OK;
    return err == ERR_OK ? visit(l->v->ctx, bytes) : err;
}

static enum err visit_all(const struct visiting *l)
{
    const struct store_ledger *ledger = &l->s->ledger;
    enum err err = l->v->folder(l->v->ctx, &ledger->folder);
    if (err == ERR_OK)
        err = visit_node_row(l, STORE_META_BOOTS, l->v->boots);
    if (err == ERR_OK)
        err = visit_node_row(l, STORE_META_RECORD, l->v->record);
    for (uint32_t group = 0; err == ERR_OK && group < GROUPS_MAX; group++) {
        const struct store_held *h = store_ledger_find(ledger, group);
        if (h != NULL)
            err = visit_replica(l, h);
    }
    return err == ERR_OK ? store_ledger_visit_tombstones(ledger, l->v) : err;
}

enum err store_lmdb_load(struct store *base, const struct store_visitor *v)
{
    struct store_lmdb *s = (struct store_lmdb *)base;
    struct visiting l = {.s = s, .v = v};
    int rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &l.txn);
    if (rc != 0)
        return store_lmdb_err(rc);
    enum err err = visit_all(&l);
    mdb_txn_abort(l.txn);
    return err;
}
