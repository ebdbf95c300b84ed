/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of known hashes: an entry per (device, inode), found by open addressing, aged by
 * a list from oldest to newest. The workers look up, the hasher and the scan put. It never
 * holds the table's lock while it waits for the disk: the log has a mutex of its own, which
 * workers never take.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "server/base/check.h"
#include "storage/media/hash_log_internal.h"
#include "storage/media/hash_store_internal.h"

#define NONE                UINT32_MAX
/* A log shorter than this is not worth rewriting. */
#define COMPACT_RECORDS_MIN 64

struct hash_entry {
    struct hash_record record;
    uint32_t older, newer; /* its neighbours by age, or NONE */
    bool saved;            /* it is on disk */
};

struct hash_store {
    pthread_rwlock_t lock;      /* protects all down to `loaded` */
    struct hash_entry *entries; /* owns; entries_max of them, the first `used` in use */
    /* Owns; linear probing. A slot holds the complement of an entry's number, so that the zeros of
     * fresh memory mean NONE: room for hash_entries_max entries costs nothing before it is used. */
    uint32_t *slots;
    uint32_t slot_mask, entries_max, used, oldest, newest;
    uint64_t loaded;

    atomic_uint_fast64_t generation;

    pthread_mutex_t log_lock; /* protects `log`; taken before `lock`, never while holding it */
    struct hash_log *log;     /* owns; NULL: memory only */

    /*
     * Written under log_lock, and read without, so that a disk that hangs keeps no reader waiting.
     */
    atomic_uint_fast64_t damaged, failures;
    atomic_int error;
};

/* ---- the table; the caller holds the lock ---- */

static uint32_t home_slot(const struct hash_store *store, const struct file_identity *identity)
{
    const uint64_t key[2] = {identity->device, identity->inode};
    return (uint32_t)XXH3_64bits(key, sizeof(key)) & store->slot_mask;
}

/* The number of the entry in the slot, or NONE. */
static uint32_t number_in(const struct hash_store *store, uint32_t slot)
{
    return ~store->slots[slot];
}

static void set_slot(struct hash_store *store, uint32_t slot, uint32_t number)
{
    store->slots[slot] = ~number;
}

/* The slot of this device and inode, or the empty one where it would go. */
static uint32_t find_slot(const struct hash_store *store, const struct file_identity *identity)
{
    uint32_t slot = home_slot(store, identity);
    for (; number_in(store, slot) != NONE; slot = (slot + 1) & store->slot_mask) {
        const struct file_identity *other = &store->entries[number_in(store, slot)].record.identity;
        if (other->inode == identity->inode && other->device == identity->device)
            break;
    }
    return slot;
}

/* Empties a slot and moves up those behind it that could not be found across the gap. */
static void clear_slot(struct hash_store *store, uint32_t gap)
{
    uint32_t slot = gap;
    for (;;) {
        slot = (slot + 1) & store->slot_mask;
        if (number_in(store, slot) == NONE)
            break;
        uint32_t home = home_slot(store, &store->entries[number_in(store, slot)].record.identity);
        if (((slot - home) & store->slot_mask) >= ((slot - gap) & store->slot_mask)) {
            store->slots[gap] = store->slots[slot];
            gap = slot;
        }
    }
    set_slot(store, gap, NONE);
}

static void age_leave(struct hash_store *store, uint32_t number)
{
    const struct hash_entry *entry = &store->entries[number];
    *(entry->older == NONE ? &store->oldest : &store->entries[entry->older].newer) = entry->newer;
    *(entry->newer == NONE ? &store->newest : &store->entries[entry->newer].older) = entry->older;
}

static void age_append(struct hash_store *store, uint32_t number)
{
    struct hash_entry *entry = &store->entries[number];
    entry->older = store->newest;
    entry->newer = NONE;
    *(store->newest == NONE ? &store->oldest : &store->entries[store->newest].newer) = number;
    store->newest = number;
}

static uint32_t take_entry(struct hash_store *store)
{
    if (store->used < store->entries_max)
        return store->used++;
    uint32_t number = store->oldest;
    check(number != NONE);
    age_leave(store, number);
    clear_slot(store, find_slot(store, &store->entries[number].record.identity));
    return number;
}

/* Puts a record into the table. True where it was new. */
static bool remember(struct hash_store *store, const struct hash_record *record, bool saved)
{
    uint32_t slot = find_slot(store, &record->identity);
    uint32_t number = number_in(store, slot);
    if (number != NONE) {
        struct hash_entry *known = &store->entries[number];
        if (file_identity_equal(&known->record.identity, &record->identity) &&
            memcmp(&known->record.hash, &record->hash, sizeof(record->hash)) == 0) {
            known->saved |= saved;
            return false;
        }
        age_leave(store, number);
    } else {
        number = take_entry(store);
        slot = find_slot(store, &record->identity); /* take_entry may have moved the slots */
        set_slot(store, slot, number);
    }
    store->entries[number].record = *record;
    store->entries[number].saved = saved;
    age_append(store, number);
    atomic_fetch_add_explicit(&store->generation, 1, memory_order_release);
    return true;
}

/* ---- the disk; the caller holds log_lock ---- */

/* A visitor of hash_log_read. It locks for one record at a time, so that workers never wait for a
 * long load. */
static void take_over(void *context, const struct hash_record *record)
{
    struct hash_store *store = context;
    pthread_rwlock_wrlock(&store->lock);
    if (remember(store, record, true))
        store->loaded++;
    pthread_rwlock_unlock(&store->lock);
}

static void read_log(struct hash_store *store)
{
    uint64_t damaged = 0;
    int error = hash_log_read(store->log, take_over, store, &damaged);
    store->damaged += damaged;
    if (error)
        store->error = error;
}

struct walk {
    const struct hash_store *store;
    uint32_t number;
};

/* A source for hash_log_rewrite, oldest first, so that age survives. */
static bool next_entry(void *context, struct hash_record *record)
{
    struct walk *walk = context;
    if (walk->number == NONE)
        return false;
    *record = walk->store->entries[walk->number].record;
    walk->number = walk->store->entries[walk->number].newer;
    return true;
}

/* Rewrites the file where more than half is dead: records that a later one replaced, that the bound
 * pushed out, or that are damaged. */
static void compact(struct hash_store *store)
{
    uint64_t records = hash_log_length(store->log);
    if (records < COMPACT_RECORDS_MIN || records - store->used <= store->used)
        return;
    struct walk walk = {.store = store, .number = store->oldest};
    int error = hash_log_rewrite(store->log, next_entry, &walk);
    if (error && error != -EBUSY) /* busy: another process has it open */
        store->error = error;
}

static void save(struct hash_store *store, const struct hash_record *record)
{
    if (store->log == NULL) {
        store->failures += store->error != 0;
        return;
    }
    store->error = hash_log_append(store->log, record);
    if (store->error) {
        store->failures++;
        return;
    }
    pthread_rwlock_wrlock(&store->lock);
    uint32_t number = number_in(store, find_slot(store, &record->identity));
    if (number != NONE &&
        file_identity_equal(&store->entries[number].record.identity, &record->identity))
        store->entries[number].saved = true;
    pthread_rwlock_unlock(&store->lock);
}

/* ---- what the others call ---- */

int hash_store_open(struct hash_store **out, const char *state_dir, uint32_t entries_max)
{
    if (entries_max == 0 || entries_max > UINT32_C(1) << 30)
        return -EINVAL;
    uint32_t slots = 16;
    while (slots < entries_max * 2)
        slots *= 2;
    struct hash_store *store = calloc(1, sizeof(*store));
    if (store == NULL)
        return -ENOMEM;
    pthread_rwlock_init(&store->lock, NULL);
    pthread_mutex_init(&store->log_lock, NULL);
    atomic_init(&store->generation, 1);
    store->entries_max = entries_max;
    store->oldest = store->newest = NONE;
    store->slot_mask = slots - 1;
    store->entries = calloc(entries_max, sizeof(*store->entries));
    store->slots = calloc(slots, sizeof(*store->slots));
    if (store->entries == NULL || store->slots == NULL) {
        hash_store_close(&store);
        return -ENOMEM;
    }

    if (state_dir != NULL) {
        store->error = hash_log_open(&store->log, state_dir);
        if (store->log != NULL) {
            read_log(store);
            compact(store);
            hash_log_share(store->log);
        }
    }
    *out = store;
    return 0;
}

void hash_store_close(struct hash_store **store)
{
    struct hash_store *closing = *store;
    if (closing == NULL)
        return;
    for (uint32_t i = closing->log != NULL ? closing->oldest : NONE; i != NONE;
         i = closing->entries[i].newer)
        if (!closing->entries[i].saved &&
            hash_log_append(closing->log, &closing->entries[i].record))
            break;
    hash_log_close(&closing->log);
    pthread_mutex_destroy(&closing->log_lock);
    pthread_rwlock_destroy(&closing->lock);
    free(closing->slots);
    free(closing->entries);
    free(closing);
    *store = NULL;
}

bool hash_store_find(struct hash_store *store, const struct file_identity *identity,
                     struct content_hash *out)
{
    bool found = false;
    pthread_rwlock_rdlock(&store->lock);
    uint32_t number = number_in(store, find_slot(store, identity));
    if (number != NONE && file_identity_equal(&store->entries[number].record.identity, identity)) {
        *out = store->entries[number].record.hash;
        found = true;
    }
    pthread_rwlock_unlock(&store->lock);
    return found;
}

uint64_t hash_store_generation(const struct hash_store *store)
{
    return atomic_load_explicit(&store->generation, memory_order_relaxed);
}

void hash_store_put(struct hash_store *store, const struct file_identity *identity,
                    const struct content_hash *hash)
{
    struct hash_record record = {.identity = *identity, .hash = *hash};
    pthread_rwlock_wrlock(&store->lock);
    bool news = remember(store, &record, false);
    pthread_rwlock_unlock(&store->lock);
    if (!news)
        return;
    pthread_mutex_lock(&store->log_lock);
    save(store, &record);
    pthread_mutex_unlock(&store->log_lock);
}

void hash_store_refresh(struct hash_store *store)
{
    pthread_mutex_lock(&store->log_lock);
    if (store->log != NULL)
        read_log(store);
    pthread_mutex_unlock(&store->log_lock);
}

void hash_store_stats(struct hash_store *store, struct media_hash_stats *out)
{
    pthread_rwlock_rdlock(&store->lock);
    out->entries = store->used;
    out->entries_loaded = store->loaded;
    pthread_rwlock_unlock(&store->lock);
    out->records_damaged = store->damaged;
    out->store_failures = store->failures;
    out->store_error = store->error;
}
