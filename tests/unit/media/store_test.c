/* SPDX-License-Identifier: Apache-2.0 */
/* The store of hashes: remembered over a restart, damage, bounds, a full or absent disk, two
 * processes. */
#include <signal.h>
#include <sys/resource.h>

#include "tests/unit/media/fixture.h"

TestSuite(media_store, .init = fixture_setup, .fini = fixture_teardown);

#define BLOCK 72L /* bytes of the file's header, and of each record */

static const char *store_path(void)
{
    static char path[400];
    (void)snprintf(path, sizeof(path), "%s/hashes", fixture_state);
    return path;
}

static off_t store_size(void)
{
    struct stat status;
    cr_assert_eq(stat(store_path(), &status), 0, "%s", strerrordesc_np(errno));
    return status.st_size;
}

/* Makes the files /f0, /f1 and so on, and hashes them. */
static void put_files(int count)
{
    char path[32];
    for (int i = 0; i < count; i++) {
        (void)snprintf(path, sizeof(path), "/f%d", i);
        put_file(path, path);
    }
}

static void scan_files(struct media *media)
{
    cr_assert_eq(media_scan(media, NULL, NULL), 0);
}

static void flip_byte(off_t offset)
{
    int fd = open(store_path(), O_RDWR | O_CLOEXEC);
    unsigned char byte;
    cr_assert_eq(pread(fd, &byte, 1, offset), 1);
    byte ^= 1;
    cr_assert_eq(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

Test(media_store, a_hash_is_remembered_over_a_restart_without_reading_the_file)
{
    put_file("/a", "bytes");
    struct media *media = open_media();
    struct media_cache *cache = open_cache(media, 16, 1000);
    cr_assert_eq(touch(media, cache, "/a", 1), 0);
    WAIT_FOR_STATS(media, stats.files_hashed == 1);
    media_cache_destroy(&cache);
    media_close(&media);

    media = open_media();
    cache = open_cache(media, 16, 1000);
    struct media_file *file = must_fetch(media, cache, "/a", 1);
    char expected[MEDIA_ETAG_SIZE];
    expected_etag("bytes", 5, expected);
    cr_assert_str_eq(file->etag, expected, "at once, at the first get");
    struct media_hash_stats stats = stats_of(media);
    cr_assert_eq(stats.entries_loaded, 1);
    cr_assert_eq(stats.files_hashed, 0);
    cr_assert_eq(stats.bytes_hashed, 0);
    cr_assert_eq(stats.queue_length, 0);
    media_file_drop(cache, &file);
    media_cache_destroy(&cache);
    media_close(&media);
}

Test(media_store, a_remembered_hash_is_not_given_to_a_new_version)
{
    put_file("/a", "bytes");
    struct media *media = open_media();
    scan_files(media);
    media_close(&media);
    put_file("/a", "BYTES more");
    media = open_media();
    struct media_cache *cache = open_cache(media, 16, 1000);
    struct media_file *file = must_fetch(media, cache, "/a", 1);
    cr_assert_str_eq(file->etag, "");
    media_file_drop(cache, &file);
    media_cache_destroy(&cache);
    media_close(&media);
}

Test(media_store, the_file_has_the_documented_layout)
{
    put_file("/a", "bytes");
    struct media *media = open_media();
    scan_files(media);
    media_close(&media);
    cr_assert_eq(store_size(), 2 * BLOCK);

    unsigned char blocks[2 * BLOCK];
    int fd = open(store_path(), O_RDONLY | O_CLOEXEC);
    cr_assert_eq(read(fd, blocks, sizeof(blocks)), (ssize_t)sizeof(blocks));
    close(fd);
    cr_assert_arr_eq(blocks, "tollhash\3\0\0\0\110\0\0\0", 16);
    struct stat status;
    cr_assert_eq(stat(in_root("/a"), &status), 0);
    uint64_t words[5] = {status.st_dev, status.st_ino, 5};
    words[3] = (uint64_t)status.st_mtim.tv_sec * 1000000000U + (uint64_t)status.st_mtim.tv_nsec;
    words[4] = (uint64_t)status.st_ctim.tv_sec * 1000000000U + (uint64_t)status.st_ctim.tv_nsec;
    for (size_t i = 0; i < 40; i++)
        cr_assert_eq(blocks[BLOCK + i], (unsigned char)(words[i / 8] >> (8 * (i % 8))));
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits("bytes", 5));
    cr_assert_arr_eq(blocks + BLOCK + 40, canonical.digest, 16);
}

Test(media_store, a_torn_tail_is_ignored_and_overwritten)
{
    put_files(3);
    struct media *media = open_media();
    scan_files(media);
    media_close(&media);
    cr_assert_eq(store_size(), 4 * BLOCK);
    cr_assert_eq(truncate(store_path(), 4 * BLOCK - 10), 0);

    media = open_media();
    cr_assert_eq(stats_of(media).entries_loaded, 2);
    scan_files(media);
    cr_assert_eq(stats_of(media).files_hashed, 1, "only the torn one");
    media_close(&media);
    cr_assert_eq(store_size(), 4 * BLOCK);

    media = open_media();
    cr_assert_eq(stats_of(media).entries_loaded, 3);
    cr_assert_eq(stats_of(media).records_damaged, 0);
    media_close(&media);
}

Test(media_store, a_damaged_record_is_ignored_and_the_rest_is_kept)
{
    put_files(3);
    struct media *media = open_media();
    scan_files(media);
    media_close(&media);
    flip_byte(2 * BLOCK + 45); /* in the second record's hash */

    media = open_media();
    struct media_hash_stats stats = stats_of(media);
    cr_assert_eq(stats.entries_loaded, 2);
    cr_assert_eq(stats.records_damaged, 1);
    scan_files(media);
    cr_assert_eq(stats_of(media).files_hashed, 1);
    media_close(&media);
}

Test(media_store, a_file_of_another_version_is_set_aside)
{
    put_files(1);
    struct media *media = open_media();
    scan_files(media);
    media_close(&media);
    flip_byte(8);

    media = open_media();
    cr_assert_eq(stats_of(media).entries, 0);
    cr_assert_eq(stats_of(media).store_error, 0);
    scan_files(media);
    media_close(&media);
    char aside[420];
    (void)snprintf(aside, sizeof(aside), "%s.unreadable", store_path());
    cr_assert_eq(access(aside, F_OK), 0);
    media = open_media();
    cr_assert_eq(stats_of(media).entries_loaded, 1, "a new file took its place");
    media_close(&media);
}

Test(media_store, mostly_dead_records_are_compacted_when_it_is_opened)
{
    put_files(2);
    struct media *media = open_media();
    for (int i = 0; i < 80; i++) {
        char content[32];
        (void)snprintf(content, sizeof(content), "version %d", i);
        put_file("/f1", content); /* the same inode each time */
        scan_files(media);
    }
    cr_assert_eq(stats_of(media).entries, 2);
    media_close(&media);
    off_t before = store_size();
    cr_assert_geq(before, 80 * BLOCK);

    media = open_media();
    cr_assert_eq(store_size(), 3 * BLOCK);
    cr_assert_eq(stats_of(media).entries, 2);
    scan_files(media);
    cr_assert_eq(stats_of(media).files_hashed, 0, "what lives is kept");
    put_file("/f3", "after");
    scan_files(media);
    media_close(&media);
    cr_assert_eq(store_size(), 4 * BLOCK, "the new file is the one appended to");
}

Test(media_store, nothing_is_compacted_while_another_has_it_open)
{
    put_files(1);
    struct media *media = open_media();
    for (int i = 0; i < 80; i++) {
        char content[32];
        (void)snprintf(content, sizeof(content), "version %d", i);
        put_file("/f0", content);
        scan_files(media);
    }
    off_t before = store_size();
    struct media *second = open_media();
    cr_assert_eq(store_size(), before);
    cr_assert_eq(stats_of(second).store_error, 0);
    cr_assert_eq(stats_of(second).entries, 1);
    media_close(&second);
    media_close(&media);
}

Test(media_store, what_another_process_hashed_is_not_hashed_again)
{
    put_files(3);
    struct media *serving = open_media();
    struct media *scanning = open_media();
    scan_files(scanning);
    media_close(&scanning);
    struct media_cache *cache = open_cache(serving, 16, 1000);
    cr_assert_eq(touch(serving, cache, "/f0", 1), 0);
    WAIT_FOR_STATS(serving, stats.queue_length == 0);
    struct media_file *file = must_fetch(serving, cache, "/f0", 2);
    char expected[MEDIA_ETAG_SIZE];
    expected_etag("/f0", 3, expected);
    cr_assert_str_eq(file->etag, expected);
    cr_assert_eq(stats_of(serving).files_hashed, 0);
    cr_assert_eq(stats_of(serving).entries_loaded, 3);
    media_file_drop(cache, &file);
    media_cache_destroy(&cache);
    media_close(&serving);
}

Test(media_store, it_never_holds_more_than_its_bound)
{
    struct media *media = open_media_with(4, 10, fixture_state);
    char path[32];
    for (int i = 0; i < 25; i++) {
        (void)snprintf(path, sizeof(path), "/f%02d", i);
        put_file(path, path);
        scan_files(media); /* from the eleventh file on it also hashes evicted ones again */
        cr_assert_leq(stats_of(media).entries, 10);
    }
    media_close(&media);
    media = open_media_with(4, 10, fixture_state);
    cr_assert_eq(stats_of(media).entries, 10);
    media_close(&media);
}

Test(media_store, the_youngest_hashes_are_the_ones_kept)
{
    put_files(20);
    struct media *media = open_media_with(32, 100, fixture_state);
    struct media_cache *cache = open_cache(media, 32, 1000);
    char path[32];
    for (int i = 0; i < 20; i++) {
        (void)snprintf(path, sizeof(path), "/f%d", i);
        cr_assert_eq(touch(media, cache, path, 1), 0);
    }
    WAIT_FOR_STATS(media, stats.files_hashed == 20); /* in this order, by the one hasher */
    media_cache_destroy(&cache);
    media_close(&media);

    media = open_media_with(32, 5, fixture_state);
    cache = open_cache(media, 32, 1000);
    for (int i = 19; i >= 15; i--) {
        (void)snprintf(path, sizeof(path), "/f%d", i);
        struct media_file *file = must_fetch(media, cache, path, 1);
        cr_assert_eq(strlen(file->etag), MEDIA_ETAG_SIZE - 1, "%s", path);
        media_file_drop(cache, &file);
    }
    struct media_file *gone = must_fetch(media, cache, "/f14", 1);
    cr_assert_str_eq(gone->etag, "");
    media_file_drop(cache, &gone);
    media_cache_destroy(&cache);
    media_close(&media);
}

Test(media_store, without_a_state_directory_hashes_stay_in_memory_and_the_stats_say_why)
{
    put_files(1);
    char absent[400];
    (void)snprintf(absent, sizeof(absent), "%s/absent", fixture_state);
    struct media *media = open_media_with(4, 10, absent);
    cr_assert_eq(stats_of(media).store_error, -ENOENT);
    struct media_cache *cache = open_cache(media, 4, 1000);
    cr_assert_eq(touch(media, cache, "/f0", 1), 0);
    WAIT_FOR_STATS(media, stats.files_hashed == 1);
    struct media_file *file = must_fetch(media, cache, "/f0", 2);
    cr_assert_eq(strlen(file->etag), MEDIA_ETAG_SIZE - 1);
    media_file_drop(cache, &file);
    WAIT_FOR_STATS(media, stats.store_failures == 1);
    media_cache_destroy(&cache);
    media_close(&media);
}

Test(media_store, no_state_directory_asked_for_is_no_error)
{
    put_files(1);
    struct media *media = open_media_with(4, 10, NULL);
    scan_files(media);
    struct media_hash_stats stats = stats_of(media);
    cr_assert_eq(stats.files_hashed, 1);
    cr_assert_eq(stats.store_error, 0);
    cr_assert_eq(stats.store_failures, 0);
    media_close(&media);
}

/* Lets no file grow past `bytes`, which acts like a full disk: a write may be cut short. */
static void limit_file_size(rlim_t bytes)
{
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

Test(media_store, a_full_disk_costs_no_hash_and_leaves_no_damage)
{
    cr_assert_neq(signal(SIGXFSZ, SIG_IGN), SIG_ERR);
    put_files(6);
    struct media *media = open_media();
    limit_file_size(3 * BLOCK + 20); /* the header, two records and a part of one */
    scan_files(media);
    struct media_hash_stats stats = stats_of(media);
    limit_file_size(RLIM_INFINITY);
    cr_assert_eq(stats.entries, 6);
    cr_assert_eq(stats.store_failures, 4);
    cr_assert_eq(stats.store_error, -EFBIG);
    cr_assert_eq(store_size(), 3 * BLOCK + 20, "the disk was full in the middle of a record");

    struct media_cache *cache = open_cache(media, 16, 1000);
    struct media_file *file = must_fetch(media, cache, "/f5", 1);
    cr_assert_eq(strlen(file->etag), MEDIA_ETAG_SIZE - 1);
    media_file_drop(cache, &file);

    put_file("/later", "there is room again");
    scan_files(media);
    cr_assert_eq(stats_of(media).store_error, 0, "it works again");
    media_cache_destroy(&cache);
    media_close(&media);

    /* The records that could not be written at first were, at the latest by media_close. */
    media = open_media();
    stats = stats_of(media);
    cr_assert_eq(stats.entries_loaded, 7);
    cr_assert_eq(stats.records_damaged, 0);
    media_close(&media);
}
