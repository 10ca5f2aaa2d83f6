/* raft_log.c - see raft_log.h. */
#include "ring/raft_log.h"

#include "ring/rule.h"

#define CACHE_SLOTS_MIN 16u

/* ---- life -------------------------------------------------------------- */

static void push_run(struct raft_log *log, struct raft_term_run run)
{
    if (log->run_count == log->run_capacity) {
        log->run_capacity = log->run_capacity ? 2 * log->run_capacity : 4;
        log->runs =
            mem_resize(log->runs, log->run_capacity * sizeof *log->runs);
    }
    log->runs[log->run_count++] = run;
}

static void push_config(struct raft_log *log, const struct config *c)
{
    if (log->config_count == log->config_capacity) {
        log->config_capacity = log->config_capacity + 2;
        log->configs = mem_resize(log->configs,
                                  log->config_capacity * sizeof *log->configs);
    }
    log->configs[log->config_count++] = *c;
}

void raft_log_init(struct raft_log *log, const struct raft_stored *stored,
                   struct item_pool *pool)
{
    /* Storage has checked what it read; these are ours. */
    ASSERT(stored->base_index <= stored->applied_index); /* T24 */
    ASSERT(stored->applied_index <= stored->last_index); /* T19 */
    *log = (struct raft_log){
        .pool = pool,
        .base_index = stored->base_index,
        .base_term = stored->base_term,
        .last_index = stored->last_index,
        .durable_index = stored->last_index,
        .written_index = stored->last_index,
        .first_cached = stored->applied_index + 1,
        .next_cached = stored->applied_index + 1,
    };
    for (size_t i = 0; i < stored->run_count; i++)
        push_run(log, stored->runs[i]);
    /* Before the log's first entry nobody is in the configuration: so a
     * truncation of all that an invited replica has taken goes back to that. */
    if (stored->config_count == 0 ||
        stored->configs[0].index > stored->applied_index)
        push_config(log, &(struct config){0});
    for (size_t i = 0; i < stored->config_count; i++)
        push_config(log, &stored->configs[i]);
    raft_log_forget_configs(log, stored->applied_index);
}

void raft_log_free(struct raft_log *log)
{
    for (uint64_t i = log->first_cached; i < log->next_cached; i++)
        item_unref(log->pool, log->slots[i & (log->capacity - 1)].item);
    mem_free(log->slots);
    mem_free(log->runs);
    mem_free(log->configs);
    *log = (struct raft_log){0};
}

/* ---- the cache --------------------------------------------------------- */

static struct raft_log_slot *slot_at(const struct raft_log *log, uint64_t index)
{
    ASSERT(log->first_cached <= index && index < log->next_cached);
    return &log->slots[index & (log->capacity - 1)];
}

static void grow_cache(struct raft_log *log)
{
    size_t capacity = log->capacity ? 2 * log->capacity : CACHE_SLOTS_MIN;
    struct raft_log_slot *slots = mem_alloc(capacity * sizeof *slots);
    for (uint64_t i = log->first_cached; i < log->next_cached; i++)
        slots[i & (capacity - 1)] = *slot_at(log, i);
    mem_free(log->slots);
    log->slots = slots;
    log->capacity = capacity;
}

static void cache_item(struct raft_log *log, struct item *item)
{
    ASSERT(item->index == log->next_cached);
    if (log->next_cached - log->first_cached == log->capacity)
        grow_cache(log);
    log->next_cached++;
    *slot_at(log, item->index) = (struct raft_log_slot){item, 0};
    log->cache_bytes += item_bytes(item);
}

static void uncache_item(struct raft_log *log, uint64_t index)
{
    struct item *item = slot_at(log, index)->item;
    ASSERT(log->cache_bytes >= item_bytes(item));
    log->cache_bytes -= item_bytes(item);
    item_unref(log->pool, item);
}

void raft_log_load(struct raft_log *log, struct item *item)
{
    ASSERT(item->index <= log->last_index);
    ASSERT(item->term == raft_log_term_at(log, item->index));
    cache_item(log, item);
}

void raft_log_trim(struct raft_log *log, uint64_t index, size_t bytes)
{
    index = min_u64(index, log->durable_index);
    while (log->first_cached < log->next_cached && log->first_cached <= index &&
           log->cache_bytes > bytes) {
        uncache_item(log, log->first_cached);
        log->first_cached++;
    }
}

/* ---- changes ----------------------------------------------------------- */

void raft_log_append(struct raft_log *log, struct item *item)
{
    ASSERT(item->index == log->last_index + 1);
    ASSERT(item->term >= raft_log_last_term(log));
    if (log->run_count == 0 || item->term > raft_log_last_term(log))
        push_run(log, (struct raft_term_run){item->index, item->term});
    log->last_index = item->index;
    cache_item(log, item);
    if (item->kind == ENTRY_CONFIG) {
        struct config c;
        enum err err = entry_read_config(item_manifest(item), &c);
        ASSERT(err == ERR_OK); /* has passed entry_check */
        c.index = item->index;
        push_config(log, &c); /* R2: in force when appended */
    }
}

void raft_log_truncate(struct raft_log *log, uint64_t index)
{
    ASSERT(log->base_index < index && index <= log->last_index);
    ASSERT(log->first_cached <= index); /* only applied ones are uncached */
    for (uint64_t i = index; i < log->next_cached; i++)
        uncache_item(log, i);
    log->next_cached = index;
    log->last_index = index - 1;
    log->durable_index = min_u64(log->durable_index, index - 1);
    if (log->written_index >= index) {
        /* A truncation that still waits is lower than all written since. */
        ASSERT(log->truncate_index == 0 || log->truncate_index >= index);
        log->truncate_index = index;
        log->written_index = index - 1;
    }
    while (log->run_count > 0 &&
           log->runs[log->run_count - 1].first_index >= index)
        log->run_count--;
    while (RULE(S9D) && log->config_count > 1 &&
           log->configs[log->config_count - 1].index >= index)
        log->config_count--;
}

void raft_log_cut(struct raft_log *log, uint64_t index)
{
    ASSERT(index <= log->durable_index);
    if (index <= log->base_index)
        return;
    log->base_term = raft_log_term_at(log, index);
    log->base_index = index;
    raft_log_trim(log, index, 0);
    size_t gone = 0;
    while (gone + 1 < log->run_count &&
           log->runs[gone + 1].first_index <= index)
        gone++;
    log->run_count -= gone;
    memmove(log->runs, log->runs + gone, log->run_count * sizeof *log->runs);
}

void raft_log_forget_configs(struct raft_log *log, uint64_t commit)
{
    size_t gone = 0;
    while (gone + 1 < log->config_count &&
           log->configs[gone + 1].index <= commit)
        gone++;
    if (gone == 0)
        return;
    log->config_count -= gone;
    memmove(log->configs, log->configs + gone,
            log->config_count * sizeof *log->configs);
}

/* ---- writes ------------------------------------------------------------ */

bool raft_log_pop(struct raft_log *log, struct raft_effect *out)
{
    if (log->truncate_index > 0) {
        *out = (struct raft_effect){.kind = RAFT_DO_TRUNCATE,
                                    .index = log->truncate_index};
        log->truncate_index = 0;
    } else if (log->written_index < log->last_index) {
        struct raft_log_slot *slot = slot_at(log, ++log->written_index);
        *out = (struct raft_effect){.kind = RAFT_DO_LOG,
                                    .item = item_ref(slot->item),
                                    .index = log->written_index};
        slot->write = log->write + 1;
    } else {
        return false;
    }
    out->write = ++log->write;
    return true;
}

bool raft_log_durable(struct raft_log *log, uint64_t write)
{
    ASSERT(write <= log->write);
    uint64_t before = log->durable_index;
    while (log->durable_index < log->written_index &&
           slot_at(log, log->durable_index + 1)->write <= write)
        log->durable_index++;
    return log->durable_index > before;
}

/* ---- queries ----------------------------------------------------------- */

/* The run that `index` is in; base < index <= last. */
static size_t run_at(const struct raft_log *log, uint64_t index)
{
    size_t low = 0;
    size_t high = log->run_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (log->runs[middle].first_index <= index)
            low = middle;
        else
            high = middle;
    }
    return low;
}

uint64_t raft_log_term_at(const struct raft_log *log, uint64_t index)
{
    if (index < log->base_index || index > log->last_index)
        return 0;
    if (index == log->base_index)
        return log->base_term;
    ASSERT(log->run_count > 0 && log->runs[0].first_index <= index);
    return log->runs[run_at(log, index)].term;
}

uint64_t raft_log_last_term(const struct raft_log *log)
{
    return raft_log_term_at(log, log->last_index);
}

uint64_t raft_log_find(const struct raft_log *log, uint64_t index,
                       uint64_t term)
{
    index = min_u64(index, log->last_index);
    while (index > log->base_index) {
        size_t run = run_at(log, index);
        if (log->runs[run].term <= term)
            return index;
        index = log->runs[run].first_index - 1;
    }
    return log->base_index;
}

struct item *raft_log_item(const struct raft_log *log, uint64_t index)
{
    if (index < log->first_cached || index >= log->next_cached)
        return NULL;
    return slot_at(log, index)->item;
}

const struct config *raft_log_config(const struct raft_log *log)
{
    return &log->configs[log->config_count - 1];
}

const struct config *raft_log_committed(const struct raft_log *log,
                                        uint64_t commit)
{
    size_t at = log->config_count - 1;
    while (at > 0 && log->configs[at].index > commit)
        at--;
    return &log->configs[at];
}

void raft_log_check(const struct raft_log *log)
{
    ASSERT(log->base_index <= log->durable_index);
    ASSERT(log->durable_index <= log->written_index);
    ASSERT(log->written_index <= log->last_index);
    ASSERT(log->next_cached == log->last_index + 1);
    ASSERT(log->first_cached <= log->durable_index + 1 ||
           log->first_cached == log->next_cached);
    ASSERT(log->config_count > 0);
    for (size_t i = 1; i < log->run_count; i++) {
        ASSERT(log->runs[i - 1].first_index < log->runs[i].first_index);
        ASSERT(log->runs[i - 1].term < log->runs[i].term);
    }
    for (size_t i = 1; RULE(S9D) && i < log->config_count; i++)
        ASSERT(log->configs[i - 1].index < log->configs[i].index);
    size_t bytes = 0;
    for (uint64_t i = log->first_cached; i < log->next_cached; i++) {
        const struct raft_log_slot *slot = slot_at(log, i);
        ASSERT(slot->item->index == i);
        ASSERT(slot->item->term == raft_log_term_at(log, i));
        bytes += item_bytes(slot->item);
    }
    ASSERT(bytes == log->cache_bytes);
}
