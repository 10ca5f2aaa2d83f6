/* store_lmdb_write.c - the writer: commands into rows, one transaction a
 * batch.
 *
 * The hot path is an append: one row of the log and one to a few of payload,
 * neighbours in their trees. A row of meta changes only with a term, a vote, a
 * configuration, or a portion (HAZARDS 3.2). */
#include "storage/store_lmdb.h"
#include "storage/store_payload.h"

/* ---- rows -------------------------------------------------------------- */

/* MDB_RESERVE: the bytes go straight into the page; all of them are set, for
 * LMDB would write whatever else the page held (PITFALLS A25). */
static enum err reserve(struct store_lmdb *s, enum store_db db, struct span key,
                        size_t size, unsigned flags, uint8_t **at)
{
    MDB_val k = store_lmdb_val(key);
    MDB_val v = {size, NULL};
    int rc = mdb_put(s->txn, s->dbi[db], &k, &v, flags | MDB_RESERVE);
    if (rc == MDB_KEYEXIST)
        return ERR_DAMAGED;
    *at = v.mv_data;
    return store_lmdb_err(rc);
}

/* A row with its checksum. */
static enum err put(struct store_lmdb *s, enum store_db db, struct span key,
                    struct span value, unsigned flags)
{
    uint64_t checksum = store_row_checksum(key, value);
    uint8_t *at;
    enum err err =
        reserve(s, db, key, value.size + STORE_CHECKSUM_BYTES, flags, &at);
    if (err != ERR_OK)
        return err;
    if (value.size > 0)
        memcpy(at, value.data, value.size);
    struct enc e = enc_of(at + value.size, STORE_CHECKSUM_BYTES);
    enc_u64(&e, checksum);
    return ERR_OK;
}

static enum err put_meta(struct store_lmdb *s, struct store_key key,
                         const struct enc *value)
{
    ASSERT(enc_fits(value));
    return put(s, STORE_DB_META, store_key_span(&key), enc_span(value), 0);
}

/* Removes at most `limit` rows of [from, end): both prefixes of keys; counts
 * them off *limit. */
static enum err remove_range(struct store_lmdb *s, enum store_db db,
                             struct store_key from, struct store_key end,
                             uint64_t *limit)
{
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(s->txn, s->dbi[db], &cursor);
    if (rc != 0)
        return store_lmdb_err(rc);
    enum err err = ERR_OK;
    while (*limit > 0) {
        struct span key = store_key_span(&from);
        struct span value;
        err = store_lmdb_move(cursor, MDB_SET_RANGE, &key, &value);
        if (err != ERR_OK || memcmp(key.data, end.bytes, end.size) >= 0)
            break;
        err = store_lmdb_err(mdb_cursor_del(cursor, 0));
        if (err != ERR_OK)
            break;
        --*limit;
    }
    mdb_cursor_close(cursor);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static enum err remove_all(struct store_lmdb *s, enum store_db db,
                           struct store_key from, struct store_key end)
{
    uint64_t no_limit = UINT64_MAX;
    return remove_range(s, db, from, end, &no_limit);
}

/* ---- meta -------------------------------------------------------------- */

static struct store_key replica_key(const struct store_held *h,
                                    enum store_meta kind, uint64_t number)
{
    return store_key_meta(h->view.group, h->view.incarnation, kind, number);
}

static enum err put_folder(struct store_lmdb *s)
{
    struct store_folder_row row = {.format = STORE_FORMAT,
                                   .folder = s->ledger.folder};
    store_ledger_count(&s->ledger, &row.replicas, &row.tombstones);
    uint8_t bytes[STORE_META_BYTES_MAX];
    struct enc e = enc_of(bytes, sizeof bytes);
    store_put_folder(&e, &row);
    return put_meta(
        s, store_key_meta(STORE_NODE_GROUP, 0, STORE_META_FOLDER, 0), &e);
}

static enum err put_boot(struct store_lmdb *s)
{
    uint8_t bytes[STORE_META_BYTES_MAX];
    struct enc e = enc_of(bytes, sizeof bytes);
    store_put_number(&e, s->ledger.folder.boot);
    return put_meta(s, store_key_meta(STORE_NODE_GROUP, 0, STORE_META_BOOT, 0),
                    &e);
}

static enum err put_replica(struct store_lmdb *s, const struct store_held *h)
{
    struct store_replica_row row = {
        .generation = h->view.generation,
        .added = h->view.added,
        .base_index = h->view.raft.base_index,
        .base_term = h->view.raft.base_term,
        .run_count = (uint32_t)h->view.raft.run_count,
        .config_count = (uint32_t)h->view.raft.config_count,
        .is_quarantined = h->view.is_quarantined,
        .is_installing = h->view.is_installing,
        .quarantine = h->view.quarantine,
    };
    uint8_t bytes[STORE_META_BYTES_MAX];
    struct enc e = enc_of(bytes, sizeof bytes);
    store_put_replica(&e, &row);
    return put_meta(s, replica_key(h, STORE_META_REPLICA, 0), &e);
}

static enum err put_hard(struct store_lmdb *s, const struct store_held *h)
{
    uint8_t bytes[STORE_META_BYTES_MAX];
    struct enc e = enc_of(bytes, sizeof bytes);
    store_put_hard(&e, &h->view.raft.hard);
    return put_meta(s, replica_key(h, STORE_META_HARD, 0), &e);
}

static enum err put_applied(struct store_lmdb *s, const struct store_held *h)
{
    struct store_applied_row row = {h->view.raft.applied_index,
                                    h->view.applied_term, h->view.digest,
                                    h->view.epoch};
    uint8_t bytes[STORE_META_BYTES_MAX];
    struct enc e = enc_of(bytes, sizeof bytes);
    store_put_applied(&e, &row);
    return put_meta(s, replica_key(h, STORE_META_APPLIED, 0), &e);
}

static enum err put_run(struct store_lmdb *s, const struct store_held *h,
                        const struct raft_term_run *run)
{
    uint8_t bytes[STORE_META_BYTES_MAX];
    struct enc e = enc_of(bytes, sizeof bytes);
    store_put_number(&e, run->term);
    return put_meta(s, replica_key(h, STORE_META_RUN, run->first_index), &e);
}

static enum err put_config(struct store_lmdb *s, const struct store_held *h,
                           const struct config *c)
{
    uint8_t bytes[STORE_META_BYTES_MAX];
    struct enc e = enc_of(bytes, sizeof bytes);
    store_put_config(&e, c);
    return put_meta(s, replica_key(h, STORE_META_CONFIG, c->index), &e);
}

static enum err put_install(struct store_lmdb *s, const struct store_held *h)
{
    struct store_install_row row = {h->view.cursor, h->view.moved_bytes};
    uint8_t bytes[STORE_META_BYTES_MAX];
    struct enc e = enc_of(bytes, sizeof bytes);
    store_put_install(&e, &row);
    return put_meta(s, replica_key(h, STORE_META_INSTALL, 0), &e);
}

/* ---- commands ---------------------------------------------------------- */

/* The ring record, or the peers' boots. */
static enum err write_node_row(struct store_lmdb *s, enum store_meta kind,
                               struct span bytes)
{
    struct store_key key = store_key_meta(STORE_NODE_GROUP, 0, kind, 0);
    return put(s, STORE_DB_META, store_key_span(&key), bytes, 0);
}

static enum err write_create(struct store_lmdb *s, const struct store_held *h)
{
    /* An install that begins anew leaves its former incarnations' rows. */
    uint32_t group = h->view.group;
    enum err err = remove_all(s, STORE_DB_META, store_key_first(group, 1),
                              store_key_first(group, h->view.incarnation));
    if (err == ERR_OK)
        err = put_replica(s, h);
    if (err == ERR_OK && h->view.is_installing)
        err = put_install(s, h);
    if (err == ERR_OK)
        err = put_hard(s, h);
    if (err == ERR_OK)
        err = put_applied(s, h);
    return err == ERR_OK ? put_folder(s) : err;
}

/* The rows of one run, chunk by chunk. */
static enum err write_run(struct store_lmdb *s, const struct store_held *h,
                          struct position at, uint32_t run_bytes,
                          unsigned flags, struct store_gather *gather)
{
    uint16_t chunk = 0;
    for (uint32_t done = 0; done < run_bytes; chunk++) {
        uint32_t size = (uint32_t)min_u64(run_bytes - done, STORE_CHUNK_BYTES);
        struct store_key key =
            store_key_payload(h->view.group, h->view.incarnation, at, chunk);
        uint8_t *row;
        enum err err = reserve(s, STORE_DB_LOG, store_key_span(&key),
                               STORE_PAYLOAD_HEADER_BYTES + size, flags, &row);
        if (err != ERR_OK)
            return err;
        store_put_payload_header(row, store_key_span(&key), run_bytes, size);
        if (!store_gather_next(gather, row + STORE_PAYLOAD_HEADER_BYTES, size))
            return ERR_DAMAGED;
        done += size;
    }
    return ERR_OK;
}

static enum err write_payload(struct store_lmdb *s, const struct store_held *h,
                              const struct item *item)
{
    struct store_gather gather = store_gather_of(item, s->bytes, s->bytes_ctx);
    struct store_runs runs;
    struct store_run run;
    enum err err = store_runs_begin(&runs, item_manifest(item));
    while (err == ERR_OK && store_runs_next(&runs, &run)) {
        if (run.bytes > item->payload_size - run.offset)
            return ERR_DAMAGED;
        err = write_run(s, h, (struct position){item->index, run.ordinal},
                        run.bytes, MDB_NOOVERWRITE, &gather);
    }
    return err;
}

static enum err write_append(struct store_lmdb *s, const struct store_held *h,
                             const struct item *item)
{
    const struct raft_stored *raft = &h->view.raft;
    struct store_key key =
        store_key_log(h->view.group, h->view.incarnation, item->index);
    enum err err = put(s, STORE_DB_LOG, store_key_span(&key),
                       item_manifest(item), MDB_NOOVERWRITE);
    if (err == ERR_OK && item->payload_size > 0)
        err = write_payload(s, h, item);
    const struct raft_term_run *run = &raft->runs[raft->run_count - 1];
    bool is_new_run = run->first_index == item->index;
    bool is_config = item->kind == ENTRY_CONFIG;
    if (err == ERR_OK && is_new_run)
        err = put_run(s, h, run);
    if (err == ERR_OK && is_config)
        err = put_config(s, h, &raft->configs[raft->config_count - 1]);
    if (err == ERR_OK && (is_new_run || is_config))
        err = put_replica(s, h);
    return err;
}

static enum err write_truncate(struct store_lmdb *s, const struct store_held *h,
                               uint64_t index)
{
    uint32_t group = h->view.group, incarnation = h->view.incarnation;
    struct store_key from =
        store_key_payload(group, incarnation, (struct position){index, 0}, 0);
    struct store_key end = store_key_first(group, incarnation + 1);
    enum err err = remove_all(s, STORE_DB_LOG, from, end);
    if (err == ERR_OK)
        err = remove_all(s, STORE_DB_META,
                         replica_key(h, STORE_META_RUN,
                                     h->view.raft.run_count > 0 ? index : 0),
                         replica_key(h, STORE_META_CONFIG, 0));
    if (err == ERR_OK)
        err = remove_all(s, STORE_DB_META,
                         replica_key(h, STORE_META_CONFIG, index), end);
    return err == ERR_OK ? put_replica(s, h) : err;
}

/* The manifests of (base, index]; the ledger has the new base already. */
static enum err write_cut(struct store_lmdb *s, const struct store_held *h,
                          uint64_t base)
{
    const struct raft_stored *raft = &h->view.raft;
    enum err err = ERR_OK;
    for (uint64_t i = base + 1; err == ERR_OK && i <= raft->base_index; i++) {
        struct store_key key =
            store_key_log(h->view.group, h->view.incarnation, i);
        MDB_val k = store_lmdb_val(store_key_span(&key));
        err = store_lmdb_err(mdb_del(s->txn, s->dbi[STORE_DB_LOG], &k, NULL));
    }
    struct store_key run_end = replica_key(h, STORE_META_CONFIG, 0);
    if (raft->run_count > 0)
        run_end = replica_key(h, STORE_META_RUN, raft->runs[0].first_index);
    if (err == ERR_OK)
        err = remove_all(s, STORE_DB_META, replica_key(h, STORE_META_RUN, 0),
                         run_end);
    if (err == ERR_OK && raft->config_count > 0)
        err = remove_all(
            s, STORE_DB_META, replica_key(h, STORE_META_CONFIG, 0),
            replica_key(h, STORE_META_CONFIG, raft->configs[0].index));
    return err == ERR_OK ? put_replica(s, h) : err;
}

static enum err write_tombstone(struct store_lmdb *s,
                                const struct store_command *c)
{
    struct store_tombstone t = s->ledger.slots[c->group].tombstone;
    uint8_t bytes[STORE_META_BYTES_MAX];
    struct enc e = enc_of(bytes, sizeof bytes);
    store_put_tombstone(&e,
                        &(struct store_tombstone_row){t.least, t.incarnation});
    enum err err =
        put_meta(s, store_key_meta(c->group, 0, STORE_META_TOMBSTONE, 0), &e);
    if (err == ERR_OK)
        err = remove_all(s, STORE_DB_META,
                         store_key_first(c->group, c->incarnation),
                         store_key_first(c->group, c->incarnation + 1));
    return err == ERR_OK ? put_folder(s) : err;
}

static enum err write_image(struct store_lmdb *s, const struct store_command *c,
                            const struct image *image)
{
    enum store_db db =
        image->space == ROW_INDEX ? STORE_DB_INDEX : STORE_DB_STATE;
    struct store_key key;
    if (!store_key_image(c->group, c->incarnation, image, &key))
        return ERR_DAMAGED;
    if (!image->is_delete)
        return put(s, db, store_key_span(&key), image->value, 0);
    MDB_val k = store_lmdb_val(store_key_span(&key));
    enum err err = store_lmdb_err(mdb_del(s->txn, s->dbi[db], &k, NULL));
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static enum err write_images(struct store_lmdb *s,
                             const struct store_command *c)
{
    for (uint32_t i = 0; i < c->image_count; i++) {
        struct dec d = dec_of(c->images[i]);
        struct image image;
        while (image_next(&d, &image)) {
            enum err err = write_image(s, c, &image);
            if (err != ERR_OK)
                return err;
        }
        if (!dec_done(&d))
            return ERR_DAMAGED;
    }
    return ERR_OK;
}

/* T1: what is stored becomes exactly what it is at index_to. */
static enum err write_portion(struct store_lmdb *s, const struct store_held *h,
                              const struct store_command *c)
{
    enum err err = write_images(s, c);
    return err == ERR_OK ? put_applied(s, h) : err;
}

static enum err write_blob(struct store_lmdb *s, const struct store_held *h,
                           const struct store_command *c)
{
    enum err err = write_images(s, c);
    if (err != ERR_OK || c->config == NULL)
        return err;
    err = put_applied(s, h);
    if (err == ERR_OK)
        err = put_hard(s, h);
    if (err == ERR_OK)
        err = put_config(s, h, c->config);
    return err == ERR_OK ? put_replica(s, h) : err;
}

static enum err write_moved(struct store_lmdb *s, const struct store_held *h,
                            const struct store_command *c)
{
    struct slice payload = c->payload;
    struct item carrier = {.slices = &payload,
                           .slice_count = payload.size > 0,
                           .payload_size = payload.size};
    struct store_gather gather =
        store_gather_of(&carrier, s->bytes, s->bytes_ctx);
    struct moved_iter it;
    struct moved_row m;
    enum err err = ERR_OK;
    moved_begin(&it, c->bytes);
    while (err == ERR_OK && moved_next(&it, &m)) {
        struct image image = {
            .space = ROW_INDEX, .key = m.key, .value = m.value};
        struct position at = {m.row.entry_index, m.row.ordinal};
        err = write_image(s, c, &image);
        if (err == ERR_OK && m.is_new_run)
            err = write_run(s, h, at, m.run_bytes, 0, &gather);
    }
    if (err == ERR_OK &&
        (!dec_done(&it.d) || it.payload_bytes != c->payload.size))
        err = ERR_DAMAGED;
    return err == ERR_OK ? put_install(s, h) : err;
}

/* One chunk of a run, `from` to `end` of which are verified bytes. What else is
 * in it belongs to other rows of the index and stays, unless the row in the
 * file is none at all any more. */
static enum err mend_chunk(struct store_lmdb *s, struct store_key key,
                           struct span run, uint32_t chunk, uint32_t from,
                           uint32_t end)
{
    uint32_t begin = chunk * STORE_CHUNK_BYTES;
    uint32_t size = (uint32_t)min_u64(run.size - begin, STORE_CHUNK_BYTES);
    uint8_t *bytes = mem_copy(run.data + begin, size);
    MDB_val k = store_lmdb_val(store_key_span(&key));
    MDB_val v;
    int rc = mdb_get(s->txn, s->dbi[STORE_DB_LOG], &k, &v);
    uint32_t run_bytes;
    struct span stored;
    if (rc == 0 &&
        store_get_payload(store_key_span(&key), store_lmdb_span(v), &run_bytes,
                          &stored) &&
        run_bytes == run.size) {
        memcpy(bytes, stored.data, size);
        uint32_t at = from > begin ? from - begin : 0;
        uint32_t to = (uint32_t)min_u64(end - begin, size);
        memcpy(bytes + at, run.data + begin + at, to - at);
    }
    uint8_t *row;
    enum err err = rc == 0 || rc == MDB_NOTFOUND ? ERR_OK : store_lmdb_err(rc);
    if (err == ERR_OK)
        err = reserve(s, STORE_DB_LOG, store_key_span(&key),
                      STORE_PAYLOAD_HEADER_BYTES + size, 0, &row);
    if (err == ERR_OK) {
        store_put_payload_header(row, store_key_span(&key), (uint32_t)run.size,
                                 size);
        memcpy(row + STORE_PAYLOAD_HEADER_BYTES, bytes, size);
    }
    mem_free(bytes);
    return err;
}

/* The chunks that a row of the index has bytes in. */
static enum err mend_row(struct store_lmdb *s, const struct store_held *h,
                         const struct moved_row *m, const uint8_t *payload)
{
    struct span run = span_of(payload + m->run_at, m->run_bytes);
    struct position at = {m->row.entry_index, m->row.ordinal};
    struct run_segment last;
    bool is_there = run_row_segment(&m->row, m->row.count - 1u, &last);
    ASSERT(is_there);
    uint32_t end = last.offset + last.size;
    enum err err = ERR_OK;
    for (uint32_t chunk = m->row.offset / STORE_CHUNK_BYTES;
         err == ERR_OK && chunk * STORE_CHUNK_BYTES < end; chunk++) {
        struct store_key key = store_key_payload(
            h->view.group, h->view.incarnation, at, (uint16_t)chunk);
        err = mend_chunk(s, key, run, chunk, m->row.offset, end);
    }
    return err;
}

/* S25: compare and put. NOT_FOUND: the row is not there, or another; or it is
 * damaged, which is for those to say who read it. */
static enum err find_mended(struct store_lmdb *s, const struct store_command *c,
                            const struct moved_row *m)
{
    struct image image = {.space = ROW_INDEX, .key = m->key};
    struct store_key key;
    struct span value;
    if (!store_key_image(c->group, c->incarnation, &image, &key))
        return ERR_DAMAGED;
    enum err err =
        store_lmdb_get(s, s->txn, STORE_DB_INDEX, store_key_span(&key), &value);
    bool is_other =
        err == ERR_OK && (!span_equal(value, m->value) || m->run_bytes == 0);
    return is_other || err == ERR_DAMAGED ? ERR_NOT_FOUND : err;
}

static enum err write_mend(struct store_lmdb *s, const struct store_held *h,
                           const struct store_command *c)
{
    const uint8_t *payload = NULL;
    if (c->payload.size > 0)
        payload = s->bytes(s->bytes_ctx, c->payload.handle) + c->payload.offset;
    struct moved_iter it;
    struct moved_row m;
    moved_begin(&it, c->bytes);
    while (moved_next(&it, &m)) {
        if (it.payload_bytes > c->payload.size)
            return ERR_DAMAGED;
        enum err err = find_mended(s, c, &m);
        if (err == ERR_NOT_FOUND)
            continue;
        if (err == ERR_OK)
            err = mend_row(s, h, &m, payload);
        if (err != ERR_OK)
            return err;
    }
    return dec_done(&it.d) && it.payload_bytes == c->payload.size ? ERR_OK
                                                                  : ERR_DAMAGED;
}

/* What is left of the log is group 0's, whose entries have no payload. */
static enum err write_recover(struct store_lmdb *s, const struct store_held *h,
                              const struct store_command *c, uint64_t base)
{
    uint32_t group = h->view.group, incarnation = h->view.incarnation;
    struct store_key end = store_key_first(group, incarnation + 1);
    enum err err = ERR_OK;
    if (group == 0)
        err = remove_all(s, STORE_DB_LOG,
                         store_key_payload(group, incarnation,
                                           (struct position){base + 1, 0}, 0),
                         end);
    if (err == ERR_OK)
        err = remove_all(s, STORE_DB_META, replica_key(h, STORE_META_RUN, 0),
                         replica_key(h, STORE_META_CONFIG, c->index));
    if (err == ERR_OK)
        err = write_images(s, c);
    if (err == ERR_OK)
        err = put_applied(s, h);
    if (err == ERR_OK)
        err = put_hard(s, h);
    if (err == ERR_OK)
        err = put_config(s, h, c->config);
    return err == ERR_OK ? put_replica(s, h) : err;
}

static enum err write_installed(struct store_lmdb *s,
                                const struct store_held *h)
{
    struct store_key key = replica_key(h, STORE_META_INSTALL, 0);
    MDB_val k = store_lmdb_val(store_key_span(&key));
    enum err err =
        store_lmdb_err(mdb_del(s->txn, s->dbi[STORE_DB_META], &k, NULL));
    return err == ERR_OK ? put_replica(s, h) : err;
}

static enum err write_sweep(struct store_lmdb *s, const struct store_command *c,
                            bool *is_swept)
{
    static const enum store_db dbs[] = {STORE_DB_LOG, STORE_DB_INDEX,
                                        STORE_DB_STATE};
    struct store_key from = store_key_first(c->group, 0);
    struct store_key end = store_key_first(c->group, c->incarnation + 1);
    uint64_t left = c->count;
    for (size_t i = 0; i < sizeof dbs / sizeof dbs[0] && left > 0; i++) {
        enum err err = remove_range(s, dbs[i], from, end, &left);
        if (err != ERR_OK)
            return err;
    }
    *is_swept = left > 0;
    return ERR_OK;
}

/* base: of the replica's log, before the command. */
static enum err write_rows(struct store_lmdb *s, const struct store_command *c,
                           uint64_t base, bool *is_swept)
{
    const struct store_held *h = store_ledger_find(&s->ledger, c->group);
    switch (c->kind) {
    case STORE_BOOT:
        return put_boot(s);
    case STORE_RECORD:
        return write_node_row(s, STORE_META_RECORD, c->bytes);
    case STORE_BOOTS:
        return write_node_row(s, STORE_META_BOOTS, c->bytes);
    case STORE_CREATE:
        return write_create(s, h);
    case STORE_HARD:
        return put_hard(s, h);
    case STORE_APPEND:
        return write_append(s, h, c->item);
    case STORE_TRUNCATE:
        return write_truncate(s, h, c->index);
    case STORE_TOMBSTONE:
        return write_tombstone(s, c);
    case STORE_QUARANTINE:
        return put_replica(s, h);
    case STORE_PORTION:
        return write_portion(s, h, c);
    case STORE_SWEEP:
        return write_sweep(s, c, is_swept);
    case STORE_CUT:
        return write_cut(s, h, base);
    case STORE_BLOB:
        return write_blob(s, h, c);
    case STORE_ROWS:
        return write_moved(s, h, c);
    case STORE_RECOVER:
        return write_recover(s, h, c, base);
    case STORE_INSTALLED:
        return write_installed(s, h);
    case STORE_MEND:
        return write_mend(s, h, c);
    }
    return ERR_DAMAGED;
}

/* Checks a command, notes it in the ledger, and changes the rows. *is_swept:
 * a sweep has found fewer rows than it was to remove. On error the caller
 * aborts the transaction and undoes the ledger. */
static enum err apply(struct store_lmdb *s, const struct store_command *c,
                      bool *is_swept)
{
    const struct store_held *h = store_ledger_find(&s->ledger, c->group);
    uint64_t base = h == NULL ? 0 : h->view.raft.base_index;
    enum err err = store_ledger_apply(&s->ledger, c);
    if (err != ERR_OK)
        return err;
    err = write_rows(s, c, base, is_swept);
    /* Nothing was searched for that might rightly be missing. */
    return err == ERR_NOT_FOUND ? ERR_DAMAGED : err;
}

/* ---- a batch ----------------------------------------------------------- */

static enum err apply_all(struct store_lmdb *s, const struct store_batch *b,
                          struct store_done *done)
{
    bool is_counting = true;
    for (size_t i = 0; i < b->count; i++) {
        bool is_swept = false;
        enum err err = apply(s, &b->commands[i], &is_swept);
        if (err != ERR_OK)
            return err;
        if (b->commands[i].kind != STORE_SWEEP)
            continue;
        is_counting = is_counting && is_swept;
        done->sweeps_finished += is_counting;
    }
    return ERR_OK;
}

enum err store_lmdb_write_founding(struct store_lmdb *s,
                                   const struct store_batch *b)
{
    struct store_done done = {0};
    enum err err = apply_all(s, b, &done);
    if (err == ERR_OK)
        err = put_folder(s);
    return err == ERR_OK ? put_boot(s) : err;
}

/* The number of the transaction that a reader must not be behind. */
static uint64_t last_txn(struct store_lmdb *s)
{
    MDB_envinfo info;
    int rc = mdb_env_info(s->env, &info);
    ASSERT(rc == 0);
    return info.me_last_txnid;
}

enum err store_lmdb_commit(struct store *base, const struct store_batch *b,
                           struct store_done *done)
{
    struct store_lmdb *s = (struct store_lmdb *)base;
    *done = (struct store_done){.cycle = b->cycle};
    if (s->is_failed)
        return ERR_IO;
    enum err err = store_lmdb_err(mdb_txn_begin(s->env, NULL, 0, &s->txn));
    if (err == ERR_OK) {
        err = apply_all(s, b, done);
        /* However it failed: what is on disk now is not known (S22). */
        if (err == ERR_OK)
            err = mdb_txn_commit(s->txn) == 0 ? ERR_OK : ERR_IO;
        else
            mdb_txn_abort(s->txn);
        s->txn = NULL;
    }
    if (err == ERR_OK) {
        store_ledger_keep(&s->ledger);
        done->txn = last_txn(s);
        return ERR_OK;
    }
    store_ledger_undo(&s->ledger);
    s->is_failed = err != ERR_DAMAGED;
    return err == ERR_DAMAGED ? ERR_DAMAGED : ERR_IO;
}
