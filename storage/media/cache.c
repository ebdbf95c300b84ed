/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The open-file cache of one worker. A hit costs a hash of the path, a probe and a comparison: no
 * system call, no allocation, and no lock once the file is hashed. Opens that might wait for the
 * disk go to the worker's ring, and hashing to the hasher; nothing here ever blocks.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include <xxhash.h>

#include "server/base/check.h"
#include "storage/media/cache_internal.h"
#include "storage/media/media_internal.h"

#define ENTRY_MAGIC      0x6d656469U
#define ENTRY_MAGIC_DEAD 0xdeadf11eU

/* Missing files get this part of the entries. */
#define MISSING_SHARE    4

struct media_cache {
    struct media *media; /* borrowed */
    struct cache_table table;
    struct cache_list idle, missing;
    size_t entries_max, missing_max;
    size_t detached; /* entries out of the table that still have references */
    uint64_t revalidate_ms;
    int descriptor_max; /* descriptors of files stay below it */
    uint64_t serials;   /* given to versions so far */
    uint64_t seed;      /* random, so that nobody can choose paths that meet in one slot */
    void (*user_free)(void *user);
};

static struct cache_entry *entry_of(struct media_file *file)
{
    struct cache_entry *entry =
        (struct cache_entry *)(void *)((char *)file - offsetof(struct cache_entry, file));
    check(entry->magic == ENTRY_MAGIC);
    return entry;
}

/* ---- an entry's life ---- */

/* Makes an entry, which owns `fd` (-1 for a missing file). NULL without memory: `fd`
 * stays the caller's. */
static struct cache_entry *entry_create(const char *path, size_t path_length, uint64_t path_hash,
                                        int fd, uint64_t now_ms)
{
    struct cache_entry *entry = malloc(sizeof(*entry));
    if (entry == NULL)
        return NULL;
    /* The path is not zeroed, because it is long; the members behind it are set below. */
    memset(entry, 0, offsetof(struct cache_entry, file) + offsetof(struct media_file, path));
    entry->magic = ENTRY_MAGIC;
    entry->path_hash = path_hash;
    entry->validated_ms = now_ms;
    entry->file.fd = fd;
    memcpy(entry->file.path, path, path_length);
    entry->file.path[path_length] = '\0';
    entry->file.path_length = path_length;
    entry->file.references = 0;
    entry->file.bytes = NULL;
    entry->file.user = NULL;
    return entry;
}

static void entry_free(const struct media_cache *cache, struct cache_entry *entry)
{
    check(entry->file.references == 0);
    if (entry->file.user != NULL && cache->user_free != NULL)
        cache->user_free(entry->file.user);
    if (entry->file.fd >= 0)
        close(entry->file.fd);
    free(entry->file.bytes);
    entry->magic = ENTRY_MAGIC_DEAD;
    free(entry);
}

/* Takes the entry out of the table; frees it now if it has no references, otherwise the
 * last drop does. */
static void detach(struct media_cache *cache, struct cache_entry *entry)
{
    cache_table_remove(&cache->table, entry);
    if (entry->file.references) {
        cache->detached++;
        return;
    }
    cache_list_remove(entry->file.fd < 0 ? &cache->missing : &cache->idle, entry);
    entry_free(cache, entry);
}

static bool make_room_for_file(struct media_cache *cache)
{
    if (cache->table.count < cache->entries_max)
        return true;
    /* A missing file saves a failed open, an idle one an open and its hash: a missing
     * one goes first. */
    struct cache_entry *victim =
        cache->missing.oldest != NULL ? cache->missing.oldest : cache->idle.oldest;
    if (victim == NULL)
        return false;
    detach(cache, victim);
    return true;
}

/* Never at the cost of an open file. */
static bool make_room_for_missing(struct media_cache *cache)
{
    if (cache->table.count < cache->entries_max && cache->missing.count < cache->missing_max)
        return true;
    if (cache->missing.oldest == NULL)
        return false;
    detach(cache, cache->missing.oldest);
    return true;
}

static void take(struct media_cache *cache, struct cache_entry *entry, struct media_file **out)
{
    if (entry->file.references++ == 0 && entry->cached)
        cache_list_remove(&cache->idle, entry);
    *out = &entry->file;
}

void media_file_hold(struct media_file *file)
{
    check(entry_of(file)->file.references > 0 && file->references < UINT32_MAX);
    file->references++;
}

void media_file_drop(struct media_cache *cache, struct media_file **file)
{
    struct cache_entry *entry = entry_of(*file);
    *file = NULL;
    check(entry->file.references > 0);
    if (--entry->file.references)
        return;
    if (entry->cached) {
        cache_list_append(&cache->idle, entry);
        return;
    }
    cache->detached--;
    entry_free(cache, entry);
}

const char *media_file_bytes(struct media_file *file)
{
    struct file_identity now;
    int64_t mtime_s;
    if (file->bytes != NULL || file->size == 0 || file->size > MEDIA_BYTES_MAX)
        return file->bytes;
    char *bytes = malloc((size_t)file->size);
    if (bytes == NULL)
        return NULL;
    /*
     * Compared after reading: bytes of a version that the validators do not name must not be kept.
     */
    if (media_file_read(file, bytes, (size_t)file->size, 0) == (ssize_t)file->size &&
        file_identify(file->fd, &now, &mtime_s) == 0 &&
        file_identity_equal(&now, &entry_of(file)->identity))
        file->bytes = bytes;
    else
        free(bytes);
    return file->bytes;
}

/* ---- hashes ---- */

/* Looks the hash up where the store has changed since the last look, so that a file that waits for
 * its hash costs one load per hit. */
static void pick_up_hash(struct media_cache *cache, struct cache_entry *entry)
{
    /* Loaded before the lookup, so that a hash that is put meanwhile is looked for
     * again, not missed. */
    uint64_t generation = hash_store_generation(cache->media->hashes);
    if (generation == entry->hashes_seen)
        return;
    entry->hashes_seen = generation;
    struct content_hash hash;
    if (!hash_store_find(cache->media->hashes, &entry->identity, &hash))
        return;
    content_hash_etag(&hash, entry->file.etag);
    entry->file.duration_ms = hash.facts.duration_ms;
    entry->file.bitrate = hash.facts.bitrate;
}

void media_file_learn(struct media_cache *cache, struct media_file *file)
{
    if (!file->etag[0])
        pick_up_hash(cache, entry_of(file));
}

uint64_t media_file_hash_first(struct media_cache *cache, struct media_file *file,
                               uint64_t until_ms)
{
    return hasher_ask_first(cache->media->hasher, file->path, file->path_length,
                            &entry_of(file)->identity, until_ms);
}

bool media_hash_is_through(const struct media *media, uint64_t ticket)
{
    return hasher_is_through_first(media->hasher, ticket);
}

/* Asks for the hash at each opening and revalidation, so that a file that was refused or abandoned
 * is asked for again. */
static void want_hash(struct media_cache *cache, struct cache_entry *entry)
{
    if (entry->file.etag[0])
        return;
    /* Asked before the lookup: once the ticket is finished, its hash is in the store. */
    bool through = hasher_is_through(cache->media->hasher, entry->hash_ticket);
    pick_up_hash(cache, entry);
    if (!entry->file.etag[0] && through)
        entry->hash_ticket = hasher_ask(cache->media->hasher, entry->file.path,
                                        entry->file.path_length, &entry->identity);
}

/* ---- opening and revalidating ---- */

/* What a failed open means to a client. */
static int verdict(int error)
{
    switch (-error) {
    case ENOENT:
    case ENOTDIR:
    case ELOOP: /* a symbolic link anywhere on the way */
    case EXDEV: /* a way out of the root */
    case EACCES:
    case EPERM:
    case ENAMETOOLONG:
    case EISDIR:
    case ENXIO: /* a socket, a device without a driver */
    case ENODEV:
        return -ENOENT;
    case EMFILE:
    case ENFILE:
        return -EMFILE;
    case ENOMEM:
        return -ENOMEM;
    default:
        return -EIO;
    }
}

/* Whether the open might wait for the disk, or this kernel or file system cannot tell. */
static bool might_block(int error)
{
    return error == -EAGAIN || error == -EINVAL || error == -ENOSYS || error == -EOPNOTSUPP;
}

static int remember_missing(struct media_cache *cache, struct cache_entry *known, const char *path,
                            size_t path_length, uint64_t path_hash, uint64_t now_ms)
{
    if (known != NULL && known->file.fd < 0) {
        known->validated_ms = now_ms;
        cache_list_remove(&cache->missing, known);
        cache_list_append(&cache->missing, known);
        return -ENOENT;
    }
    if (known != NULL)
        detach(cache, known);
    if (!make_room_for_missing(cache))
        return -ENOENT;
    struct cache_entry *entry = entry_create(path, path_length, path_hash, -1, now_ms);
    if (entry == NULL)
        return -ENOENT; /* without memory the name is just not remembered */
    cache_table_insert(&cache->table, entry);
    cache_list_append(&cache->missing, entry);
    return -ENOENT;
}

static int admit_version(struct media_cache *cache, const char *path, size_t path_length,
                         uint64_t path_hash, uint64_t now_ms, int fd,
                         const struct file_identity *identity, int64_t mtime_s,
                         struct media_file **out)
{
    struct cache_entry *entry = entry_create(path, path_length, path_hash, fd, now_ms);
    if (entry == NULL) {
        close(fd);
        return -ENOMEM;
    }
    entry->identity = *identity;
    entry->file.size = identity->size;
    entry->file.mtime_s = mtime_s;
    int64_t ctime_s = (int64_t)(identity->ctime_ns / 1000000000U);
    entry->file.changed_s = ctime_s > mtime_s ? ctime_s : mtime_s;
    entry->file.serial = ++cache->serials;
    /* Readers ask for each part that is to be read ahead. The kernel's own guess would have the
     * worker that meets a cold page begin to read up to megabytes. */
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
    if (make_room_for_file(cache)) {
        cache_table_insert(&cache->table, entry);
        cache_list_append(&cache->idle, entry);
    } else {
        cache->detached++;
    }
    want_hash(cache, entry);
    take(cache, entry, out);
    return 0;
}

/* Takes the result of an open, inline or on the ring, and compares it with the `known`
 * entry (or NULL). */
static int settle(struct media_cache *cache, struct cache_entry *known, const char *path,
                  size_t path_length, uint64_t path_hash, uint64_t now_ms, int result,
                  struct media_file **out)
{
    struct file_identity identity;
    int64_t mtime_s = 0;
    if (result >= 0) {
        int error = file_identify(result, &identity, &mtime_s);
        if (error) {
            close(result);
            result = error;
        }
    }
    if (result < 0) {
        int error = verdict(result);
        if (error == -ENOENT)
            return remember_missing(cache, known, path, path_length, path_hash, now_ms);
        /* Lack of descriptors or memory says nothing about the file: the cached version is served,
         * and compared with the disk at the next get. */
        if (error == -EIO || known == NULL || known->file.fd < 0)
            return error;
        take(cache, known, out);
        return 0;
    }

    if (known != NULL && known->file.fd >= 0 && file_identity_equal(&known->identity, &identity)) {
        close(result);
        known->validated_ms = now_ms;
        want_hash(cache, known);
        take(cache, known, out);
        return 0;
    }
    if (known != NULL)
        detach(cache, known);
    return admit_version(cache, path, path_length, path_hash, now_ms, result, &identity, mtime_s,
                         out);
}

/* Where descriptors run out, the least recently used idle file but `keep` gives its own. True where
 * one did. */
static bool give_descriptor_back(struct media_cache *cache, const struct cache_entry *keep)
{
    struct cache_entry *victim = cache->idle.oldest;
    if (victim != NULL && victim == keep)
        victim = victim->newer;
    if (victim == NULL)
        return false;
    detach(cache, victim);
    return true;
}

bool media_cache_give_back(struct media_cache *cache)
{
    return give_descriptor_back(cache, NULL);
}

void media_cache_set_descriptor_max(struct media_cache *cache, int bound)
{
    cache->descriptor_max = bound;
}

/* A descriptor at or above the bound is kept only in exchange for an idle file's. */
static int keep_below_max(struct media_cache *cache, const struct cache_entry *keep, int result)
{
    if (result < cache->descriptor_max || give_descriptor_back(cache, keep))
        return result;
    close(result);
    return -EMFILE;
}

static int open_without_blocking(struct media_cache *cache, const struct cache_entry *keep,
                                 const char *path)
{
    const char *relative = media_relative_path(path);
    int result = path_open(&cache->media->root, relative, RESOLVE_CACHED);
    if ((result == -EMFILE || result == -ENFILE) && give_descriptor_back(cache, keep))
        result = path_open(&cache->media->root, relative, RESOLVE_CACHED);
    return keep_below_max(cache, keep, result);
}

int media_cache_get(struct media_cache *cache, const char *path, size_t path_length,
                    uint64_t now_ms, struct media_file **out)
{
    *out = NULL;
    uint64_t path_hash = XXH3_64bits_withSeed(path, path_length, cache->seed);
    struct cache_entry *entry = cache_table_find(&cache->table, path, path_length, path_hash);
    /* Unsigned: where the clock went back, the file is compared now, not valid for ever. */
    if (entry != NULL && now_ms - entry->validated_ms < cache->revalidate_ms) {
        if (entry->file.fd < 0) {
            cache_list_remove(&cache->missing, entry);
            cache_list_append(&cache->missing, entry);
            return -ENOENT;
        }
        media_file_learn(cache, &entry->file);
        take(cache, entry, out);
        return 0;
    }

    if (!path_is_servable(path, path_length))
        return -ENOENT;
    check(path[path_length] == '\0');
    int result = open_without_blocking(cache, entry, path);
    if (might_block(result))
        return -EAGAIN;
    return settle(cache, entry, path, path_length, path_hash, now_ms, result, out);
}

int media_cache_admit(struct media_cache *cache, const char *path, size_t path_length,
                      uint64_t now_ms, int result, struct media_file **out)
{
    *out = NULL;
    if (!path_is_servable(path, path_length)) {
        if (result >= 0)
            close(result);
        return -ENOENT;
    }
    /* Another request may have brought the same path in while this one was on the ring. */
    uint64_t path_hash = XXH3_64bits_withSeed(path, path_length, cache->seed);
    struct cache_entry *known = cache_table_find(&cache->table, path, path_length, path_hash);
    result = keep_below_max(cache, known, result);
    if (result == -EMFILE || result == -ENFILE)
        (void)give_descriptor_back(cache, known); /* for the next attempt */
    return settle(cache, known, path, path_length, path_hash, now_ms, result, out);
}

/* ---- the cache ---- */

int media_cache_create(struct media_cache **out, struct media *media, uint32_t entries_max,
                       uint32_t revalidate_ms, void (*user_free)(void *user))
{
    if (entries_max == 0)
        return -EINVAL;
    struct media_cache *cache = calloc(1, sizeof(*cache));
    if (cache == NULL)
        return -ENOMEM;
    cache->media = media;
    cache->entries_max = entries_max;
    cache->missing_max = entries_max < MISSING_SHARE ? 1 : entries_max / MISSING_SHARE;
    cache->revalidate_ms = revalidate_ms;
    cache->descriptor_max = INT_MAX;
    cache->user_free = user_free;
    int error = cache_table_create(&cache->table, entries_max);
    if (!error && getrandom(&cache->seed, sizeof(cache->seed), 0) != (ssize_t)sizeof(cache->seed))
        error = -EIO;
    if (error) {
        media_cache_destroy(&cache);
        return error;
    }
    *out = cache;
    return 0;
}

void media_cache_destroy(struct media_cache **cache)
{
    struct media_cache *ending = *cache;
    if (ending == NULL)
        return;
    /* A file in use would lose its owner. */
    check(ending->detached == 0);
    check(ending->table.count == ending->idle.count + ending->missing.count);
    while (ending->idle.oldest != NULL)
        detach(ending, ending->idle.oldest);
    while (ending->missing.oldest != NULL)
        detach(ending, ending->missing.oldest);
    cache_table_destroy(&ending->table);
    free(ending);
    *cache = NULL;
}
