/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A media root and a state directory for one test, and the steps that most media tests share. Only
 * the media tests include it. It leaves no file behind, and waits for conditions, never for a time.
 */
#ifndef TOLLGATE_TESTS_MEDIA_FIXTURE_H
#define TOLLGATE_TESTS_MEDIA_FIXTURE_H

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "storage/media/media.h"

#define FIXTURE __attribute__((unused)) static

static char fixture_top[256];
static char fixture_root[300], fixture_state[300];

/* Far longer than any wait takes. A test that waits this long fails. */
#define FIXTURE_PATIENCE_MS 60000

FIXTURE void fixture_setup(void)
{
    const char *temporary = getenv("TMPDIR");
    (void)snprintf(fixture_top, sizeof(fixture_top), "%s/media-test-XXXXXX",
                   temporary ? temporary : "/tmp");
    cr_assert_not_null(mkdtemp(fixture_top));
    (void)snprintf(fixture_root, sizeof(fixture_root), "%s/root", fixture_top);
    (void)snprintf(fixture_state, sizeof(fixture_state), "%s/state", fixture_top);
    cr_assert_eq(mkdir(fixture_root, 0700), 0);
    cr_assert_eq(mkdir(fixture_state, 0700), 0);
}

FIXTURE int fixture_remove(const char *path, const struct stat *status, int type,
                           struct FTW *position)
{
    (void)status;
    (void)type;
    (void)position;
    return remove(path);
}

FIXTURE void fixture_teardown(void)
{
    cr_assert_eq(nftw(fixture_top, fixture_remove, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* The path of `name` beneath the media root. It lasts until the fourth call from now. */
FIXTURE const char *in_root(const char *name)
{
    static char buffers[4][2048];
    static unsigned turn;
    char *buffer = buffers[turn++ % 4];
    (void)snprintf(buffer, sizeof(buffers[0]), "%s%s", fixture_root, name);
    return buffer;
}

FIXTURE void write_file(const char *path, const void *content, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0, "%s: %s", path, strerrordesc_np(errno));
    cr_assert_eq(write(fd, content, size), (ssize_t)size);
    cr_assert_eq(close(fd), 0);
}

FIXTURE void put_file(const char *name, const char *content)
{
    write_file(in_root(name), content, strlen(content));
}

/* A sparse file of 1 TiB: it keeps the hasher busy for minutes and takes no room on disk. */
FIXTURE void put_endless_file(const char *name)
{
    write_file(in_root(name), "", 0);
    cr_assert_eq(truncate(in_root(name), (off_t)1 << 40), 0, "%s", strerrordesc_np(errno));
}

FIXTURE struct media *open_media_with(uint32_t queue_max, uint32_t entries_max,
                                      const char *state_dir)
{
    struct media *media = NULL;
    char error[512] = "";
    struct media_options options = {.root = fixture_root,
                                    .state_dir = state_dir,
                                    .hash_queue_max = queue_max,
                                    .hash_first_max = 2,
                                    .hash_entries_max = entries_max};
    cr_assert_eq(media_open(&media, &options, error, sizeof(error)), 0, "%s", error);
    return media;
}

FIXTURE struct media *open_media_following(void)
{
    struct media *media = NULL;
    char error[512] = "";
    struct media_options options = {.root = fixture_root,
                                    .follow_links = true,
                                    .state_dir = fixture_state,
                                    .hash_queue_max = 64,
                                    .hash_first_max = 2,
                                    .hash_entries_max = 1000};
    cr_assert_eq(media_open(&media, &options, error, sizeof(error)), 0, "%s", error);
    return media;
}

FIXTURE struct media *open_media(void)
{
    return open_media_with(64, 1000, fixture_state);
}

FIXTURE struct media_cache *open_cache(struct media *media, uint32_t entries_max,
                                       uint32_t revalidate_ms)
{
    struct media_cache *cache = NULL;
    cr_assert_eq(media_cache_create(&cache, media, entries_max, revalidate_ms, NULL), 0);
    return cache;
}

/* Gets a file as a worker does: from the cache, or by openat2 and admit where that might block. */
FIXTURE int fetch(struct media *media, struct media_cache *cache, const char *path, uint64_t now_ms,
                  struct media_file **out)
{
    int error = media_cache_get(cache, path, strlen(path), now_ms, out);
    if (error != -EAGAIN)
        return error;
    cr_assert_null(*out);
    struct open_how how = *media_open_how(media);
    long fd =
        syscall(SYS_openat2, media_root_fd(media), media_relative_path(path), &how, sizeof(how));
    return media_cache_admit(cache, path, strlen(path), now_ms, fd < 0 ? -errno : (int)fd, out);
}

FIXTURE struct media_file *must_fetch(struct media *media, struct media_cache *cache,
                                      const char *path, uint64_t now_ms)
{
    struct media_file *file = NULL;
    int error = fetch(media, cache, path, now_ms, &file);
    cr_assert_eq(error, 0, "%s: %s", path, strerrordesc_np(-error));
    cr_assert_not_null(file);
    return file;
}

/* Fetches the file and drops it; returns the error of the fetch. */
FIXTURE int touch(struct media *media, struct media_cache *cache, const char *path, uint64_t now_ms)
{
    struct media_file *file = NULL;
    int error = fetch(media, cache, path, now_ms, &file);
    if (!error)
        media_file_drop(cache, &file);
    return error;
}

FIXTURE bool content_is(const struct media_file *file, const char *expected)
{
    char buffer[256];
    ssize_t got = pread(file->fd, buffer, sizeof(buffer), 0);
    return got == (ssize_t)strlen(expected) && memcmp(buffer, expected, (size_t)got) == 0;
}

FIXTURE struct media_hash_stats stats_of(const struct media *media)
{
    struct media_hash_stats stats;
    media_stats(media, &stats);
    return stats;
}

FIXTURE void pause_briefly(void)
{
    struct timespec pause = {.tv_nsec = 1000000};
    nanosleep(&pause, NULL);
}

/* Waits until `condition` (an expression over `stats`) holds for the media's stats. */
#define WAIT_FOR_STATS(media, condition)                                                           \
    do {                                                                                           \
        struct media_hash_stats stats = stats_of(media);                                           \
        int patience_ms = FIXTURE_PATIENCE_MS;                                                     \
        for (; !(condition) && patience_ms > 0; patience_ms--) {                                   \
            pause_briefly();                                                                       \
            stats = stats_of(media);                                                               \
        }                                                                                          \
        cr_assert(condition, "never came true: %s", #condition);                                   \
    } while (0)

FIXTURE void expected_etag(const void *content, size_t size, char etag[MEDIA_ETAG_SIZE])
{
    XXH128_hash_t hash = XXH3_128bits(content, size);
    (void)snprintf(etag, MEDIA_ETAG_SIZE, "\"%016" PRIx64 "%016" PRIx64 "\"", hash.high64,
                   hash.low64);
}

#endif
