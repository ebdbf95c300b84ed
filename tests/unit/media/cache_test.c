/* SPDX-License-Identifier: Apache-2.0 */
/* The open-file cache: hits, versions, revalidation, bounds, eviction, missing files, scarcity. */
#include <fcntl.h>
#include <sys/resource.h>

#include "tests/unit/media/fixture.h"

TestSuite(media_cache, .init = fixture_setup, .fini = fixture_teardown);

static int freed_users;

static void count_freed(void *user)
{
    freed_users += *(const int *)user;
}

Test(media_cache, a_hit_is_the_same_open_file)
{
    struct media *media = open_media();
    struct media_cache *cache = open_cache(media, 16, 1000);
    put_file("/a", "one");
    struct media_file *first = must_fetch(media, cache, "/a", 1);
    /* From here on media_cache_get alone must find the file, without -EAGAIN. */
    struct media_file *second = NULL;
    cr_assert_eq(media_cache_get(cache, "/a", 2, 900, &second), 0);
    cr_assert_eq(first, second);
    media_file_drop(cache, &second);
    media_file_drop(cache, &first);
    cr_assert_eq(media_cache_get(cache, "/a", 2, 900, &second), 0);
    cr_assert_eq(second->references, 1);
    media_file_drop(cache, &second);
    media_cache_destroy(&cache);
    media_close(&media);
}

Test(media_cache, the_bytes_of_a_small_file_are_those_of_its_version)
{
    struct media *media = open_media();
    struct media_cache *cache = open_cache(media, 16, 0);
    put_file("/a", "one");
    struct media_file *first = must_fetch(media, cache, "/a", 1);
    const char *bytes = media_file_bytes(first);
    cr_assert(bytes != NULL && memcmp(bytes, "one", 3) == 0);
    cr_assert_eq(media_file_bytes(first), bytes);

    put_file("/a", "three");
    struct media_file *second = must_fetch(media, cache, "/a", 2);
    cr_assert_neq(first, second);
    cr_assert(media_file_bytes(second) != NULL &&
              memcmp(media_file_bytes(second), "three", 5) == 0);
    cr_assert(memcmp(media_file_bytes(first), "one", 3) == 0);
    media_file_drop(cache, &first);
    media_file_drop(cache, &second);
    media_cache_destroy(&cache);
    media_close(&media);
}

Test(media_cache, no_bytes_are_kept_of_large_empty_or_changed_files)
{
    struct media *media = open_media();
    struct media_cache *cache = open_cache(media, 16, 1000);
    static char large[MEDIA_BYTES_MAX + 2];
    memset(large, 'x', MEDIA_BYTES_MAX + 1);
    put_file("/large", large);
    put_file("/empty", "");
    put_file("/changed", "one");
    struct media_file *file = must_fetch(media, cache, "/large", 1);
    cr_assert_null(media_file_bytes(file));
    media_file_drop(cache, &file);
    file = must_fetch(media, cache, "/empty", 1);
    cr_assert_null(media_file_bytes(file));
    media_file_drop(cache, &file);
    /* Written in place, of the same length: only the times show the change. */
    file = must_fetch(media, cache, "/changed", 1);
    int fd = open(in_root("/changed"), O_WRONLY | O_CLOEXEC);
    cr_assert_eq(pwrite(fd, "two", 3, 0), 3);
    cr_assert_eq(futimens(fd, (struct timespec[2]){{.tv_sec = 1}, {.tv_sec = 1}}), 0);
    close(fd);
    cr_assert_null(media_file_bytes(file));
    media_file_drop(cache, &file);
    media_cache_destroy(&cache);
    media_close(&media);
}

Test(media_cache, hands_back_what_might_block)
{
    struct media *media = open_media();
    struct media_cache *cache = open_cache(media, 16, 1000);
    struct media_file *file = NULL;
    /* A name that was never looked up is in no directory cache, so looking it up might wait for
     * the disk. */
    cr_assert_eq(media_cache_get(cache, "/never-looked-up", 16, 1, &file), -EAGAIN);
    cr_assert_null(file);
    cr_assert_eq(media_cache_admit(cache, "/never-looked-up", 16, 1, -ENOENT, &file), -ENOENT);
    cr_assert_null(file);
    media_cache_destroy(&cache);
    media_close(&media);
}

Test(media_cache, a_held_file_survives_one_drop)
{
    struct media *media = open_media();
    struct media_cache *cache = open_cache(media, 16, 0);
    put_file("/a", "one");
    struct media_file *file = must_fetch(media, cache, "/a", 1);
    struct media_file *held = file;
    media_file_hold(held);
    media_file_drop(cache, &file);
    cr_assert_eq(unlink(in_root("/a")), 0);
    cr_assert_eq(touch(media, cache, "/a", 2), -ENOENT);
    cr_assert(content_is(held, "one"));
    media_file_drop(cache, &held);
    media_cache_destroy(&cache);
    media_close(&media);
}

Test(media_cache, a_file_replaced_by_rename_serves_its_old_bytes_to_those_under_way)
{
    struct media *media = open_media();
    struct media_cache *cache = open_cache(media, 16, 1000);
    put_file("/a", "old");
    put_file("/new", "newer");
    struct media_file *old = must_fetch(media, cache, "/a", 1);
    cr_assert_eq(rename(in_root("/new"), in_root("/a")), 0);

    /* At 1000 the entry is not due for revalidation yet. */
    struct media_file *still = must_fetch(media, cache, "/a", 1000);
    cr_assert_eq(still, old);
    media_file_drop(cache, &still);

    struct media_file *new = must_fetch(media, cache, "/a", 1001);
    cr_assert_neq(new, old);
    cr_assert(content_is(new, "newer"));
    cr_assert_eq(new->size, 5);
    cr_assert(content_is(old, "old"));
    cr_assert_eq(old->size, 3);

    int old_fd = old->fd;
    WAIT_FOR_STATS(media, stats.queue_length == 0); /* else the hasher may take the number up */
    media_file_drop(cache, &old);
    cr_assert_eq(fcntl(old_fd, F_GETFD), -1, "the last drop closes what was replaced");
    media_file_drop(cache, &new);
    media_cache_destroy(&cache);
    media_close(&media);
}

Test(media_cache, an_unchanged_file_stays_open_over_revalidation)
{
    struct media *media = open_media();
    struct media_cache *cache = open_cache(media, 16, 1000);
    put_file("/a", "one");
    struct media_file *file = must_fetch(media, cache, "/a", 1);
    int fd = file->fd;
    media_file_drop(cache, &file);
    struct media_file *again = must_fetch(media, cache, "/a", 1001);
    cr_assert_eq(again->fd, fd);
    media_file_drop(cache, &again);
    /* The file was revalidated at 1001, so it is not due again at 2000, whatever has happened. */
    cr_assert_eq(unlink(in_root("/a")), 0);
    cr_assert_eq(touch(media, cache, "/a", 2000), 0);
    cr_assert_eq(touch(media, cache, "/a", 2001), -ENOENT);
    media_cache_destroy(&cache);
    media_close(&media);
}

Test(media_cache, a_truncated_file_is_a_new_version_after_revalidation)
{
    struct media *media = open_media();
    struct media_cache *cache = open_cache(media, 16, 1000);
    put_file("/a", "0123456789");
    struct media_file *long_one = must_fetch(media, cache, "/a", 1);
    cr_assert_eq(truncate(in_root("/a"), 4), 0);
    struct media_file *short_one = must_fetch(media, cache, "/a", 1001);
    cr_assert_neq(short_one, long_one);
    cr_assert_eq(short_one->size, 4);
    cr_assert_eq(long_one->size, 10);
    media_file_drop(cache, &short_one);
    media_file_drop(cache, &long_one);
    media_cache_destroy(&cache);
    media_close(&media);
}

Test(media_cache, a_rewrite_of_the_same_size_and_modification_time_is_a_new_version)
{
    struct media *media = open_media();
    struct media_cache *cache = open_cache(media, 16, 1000);
    put_file("/a", "one");
    struct stat before, after;
    cr_assert_eq(stat(in_root("/a"), &before), 0);
    struct media_file *old = must_fetch(media, cache, "/a", 1);
    do { /* until the clock of file times has ticked */
        put_file("/a", "two");
        const struct timespec times[2] = {before.st_atim, before.st_mtim};
        cr_assert_eq(utimensat(AT_FDCWD, in_root("/a"), times, 0), 0);
        cr_assert_eq(stat(in_root("/a"), &after), 0);
    } while (after.st_ctim.tv_sec == before.st_ctim.tv_sec &&
             after.st_ctim.tv_nsec == before.st_ctim.tv_nsec);
    cr_assert_eq(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
    struct media_file *new = must_fetch(media, cache, "/a", 1001);
    cr_assert_neq(new, old);
    media_file_drop(cache, &new);
    media_file_drop(cache, &old);
    media_cache_destroy(&cache);
    media_close(&media);
}

Test(media_cache, a_clock_that_goes_back_makes_a_file_due)
{
    struct media *media = open_media();
    struct media_cache *cache = open_cache(media, 16, 1000);
    put_file("/a", "one");
    cr_assert_eq(touch(media, cache, "/a", 5000), 0);
    cr_assert_eq(unlink(in_root("/a")), 0);
    cr_assert_eq(touch(media, cache, "/a", 4000), -ENOENT);
    media_cache_destroy(&cache);
    media_close(&media);
}

Test(media_cache, a_missing_file_is_remembered_until_revalidation)
{
    struct media *media = open_media();
    struct media_cache *cache = open_cache(media, 16, 1000);
    cr_assert_eq(touch(media, cache, "/a", 1), -ENOENT);
    put_file("/a", "one");
    cr_assert_eq(touch(media, cache, "/a", 1000), -ENOENT);
    struct media_file *file = must_fetch(media, cache, "/a", 1001);
    cr_assert(content_is(file, "one"));
    media_file_drop(cache, &file);
    media_cache_destroy(&cache);
    media_close(&media);
}

Test(media_cache, missing_files_are_bounded_and_never_push_out_open_ones)
{
    struct media *media = open_media();
    struct media_cache *cache = open_cache(media, 8, 1000);
    char path[32];
    int fds[8];
    for (int i = 0; i < 7; i++) {
        (void)snprintf(path, sizeof(path), "/f%d", i);
        put_file(path, path);
        struct media_file *file = must_fetch(media, cache, path, 1);
        fds[i] = file->fd;
        media_file_drop(cache, &file);
    }
    for (int i = 0; i < 100; i++) {
        (void)snprintf(path, sizeof(path), "/missing%d", i);
        cr_assert_eq(touch(media, cache, path, 1), -ENOENT);
    }
    for (int i = 0; i < 7; i++) {
        (void)snprintf(path, sizeof(path), "/f%d", i);
        struct media_file *file = NULL;
        cr_assert_eq(media_cache_get(cache, path, strlen(path), 2, &file), 0);
        cr_assert_eq(file->fd, fds[i]);
        media_file_drop(cache, &file);
    }
    /* The last missing name is remembered, so a new file of that name is not seen yet; the first
     * name was evicted. */
    put_file("/missing99", "there");
    put_file("/missing0", "there");
    cr_assert_eq(touch(media, cache, "/missing99", 2), -ENOENT);
    cr_assert_eq(touch(media, cache, "/missing0", 2), 0);
    media_cache_destroy(&cache);
    media_close(&media);
}

Test(media_cache, missing_files_take_a_quarter_of_the_entries_at_most)
{
    struct media *media = open_media();
    struct media_cache *cache = open_cache(media, 8, 1000);
    const char *paths[] = {"/a", "/b", "/c"};
    for (int i = 0; i < 3; i++)
        cr_assert_eq(touch(media, cache, paths[i], 1), -ENOENT);
    for (int i = 0; i < 3; i++)
        put_file(paths[i], "there");
    cr_assert_eq(touch(media, cache, "/c", 2), -ENOENT, "remembered");
    cr_assert_eq(touch(media, cache, "/b", 2), -ENOENT, "remembered");
    cr_assert_eq(touch(media, cache, "/a", 2), 0, "forgotten, though the cache is not full");
    media_cache_destroy(&cache);
    media_close(&media);
}

Test(media_cache, at_the_bound_the_least_recently_used_idle_file_goes)
{
    struct media *media = open_media();
    struct media_cache *cache = NULL;
    cr_assert_eq(media_cache_create(&cache, media, 3, 1000, count_freed), 0);
    const char *paths[] = {"/a", "/b", "/c", "/d"};
    static int marks[] = {1, 10, 100, 1000};
    for (int i = 0; i < 4; i++)
        put_file(paths[i], paths[i]);
    for (int i = 0; i < 3; i++) {
        struct media_file *file = must_fetch(media, cache, paths[i], 1);
        cr_assert_null(file->user);
        file->user = &marks[i];
        media_file_drop(cache, &file);
    }
    /* /a was used again and is no longer the oldest, and /b is in use, so /c is evicted. */
    cr_assert_eq(touch(media, cache, "/a", 2), 0);
    struct media_file *in_use = must_fetch(media, cache, "/b", 2);
    cr_assert_eq(freed_users, 0);
    cr_assert_eq(touch(media, cache, "/d", 3), 0);
    cr_assert_eq(freed_users, 100);
    media_file_drop(cache, &in_use);
    media_cache_destroy(&cache);
    cr_assert_eq(freed_users, 111, "each file's user is freed once");
    media_close(&media);
}

Test(media_cache, where_all_files_are_in_use_a_further_one_is_served_but_not_kept)
{
    struct media *media = open_media();
    struct media_cache *cache = open_cache(media, 2, 1000);
    put_file("/a", "a");
    put_file("/b", "b");
    put_file("/c", "c");
    struct media_file *a = must_fetch(media, cache, "/a", 1);
    struct media_file *b = must_fetch(media, cache, "/b", 1);
    struct media_file *c = must_fetch(media, cache, "/c", 1);
    struct media_file *c_again = must_fetch(media, cache, "/c", 1);
    cr_assert(content_is(c, "c"));
    cr_assert_neq(c, c_again, "it was not kept");
    int fd = c->fd;
    WAIT_FOR_STATS(media, stats.queue_length == 0); /* else the hasher may take the number up */
    media_file_drop(cache, &c);
    cr_assert_eq(fcntl(fd, F_GETFD), -1, "and is closed by its last drop");
    media_file_drop(cache, &c_again);
    media_file_drop(cache, &b);
    media_file_drop(cache, &a);
    media_cache_destroy(&cache);
    media_close(&media);
}

Test(media_cache, two_requests_that_open_one_path_at_once_share_one_file)
{
    struct media *media = open_media();
    struct media_cache *cache = open_cache(media, 2, 1000);
    put_file("/a", "a");
    struct media_file *first = NULL, *second = NULL;
    int fd1 = open(in_root("/a"), O_RDONLY | O_CLOEXEC),
        fd2 = open(in_root("/a"), O_RDONLY | O_CLOEXEC);
    cr_assert_eq(media_cache_admit(cache, "/a", 2, 1, fd1, &first), 0);
    WAIT_FOR_STATS(media, stats.queue_length == 0); /* else the hasher may take a number up */
    cr_assert_eq(media_cache_admit(cache, "/a", 2, 1, fd2, &second), 0);
    cr_assert_eq(first, second);
    cr_assert_eq(first->fd, fd1);
    cr_assert_eq(fcntl(fd2, F_GETFD), -1, "the other descriptor is closed");
    media_file_drop(cache, &first);
    media_file_drop(cache, &second);
    media_cache_destroy(&cache);
    media_close(&media);
}

Test(media_cache, errors_of_the_disk_are_not_taken_for_missing_files)
{
    struct media *media = open_media();
    struct media_cache *cache = open_cache(media, 2, 1000);
    put_file("/a", "a");
    struct media_file *file = NULL;
    const int io[] = {-EIO, -EAGAIN, -EINTR, -ECANCELED, -ESTALE};
    for (size_t i = 0; i < sizeof(io) / sizeof(io[0]); i++)
        cr_assert_eq(media_cache_admit(cache, "/a", 2, 1, io[i], &file), -EIO);
    cr_assert_eq(media_cache_admit(cache, "/a", 2, 1, -ENFILE, &file), -EMFILE);
    cr_assert_eq(media_cache_admit(cache, "/a", 2, 1, -ENOMEM, &file), -ENOMEM);
    cr_assert_null(file);
    cr_assert_eq(touch(media, cache, "/a", 1), 0, "none of them is remembered");
    media_cache_destroy(&cache);
    media_close(&media);
}

/* Lets the process open no further descriptor; returns the limit that was in force. */
static rlim_t forbid_descriptors(void)
{
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    rlim_t before = limit.rlim_cur;
    int lowest_free = dup(STDIN_FILENO);
    cr_assert_geq(lowest_free, 0);
    close(lowest_free);
    limit.rlim_cur = (rlim_t)lowest_free;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    return before;
}

static void allow_descriptors(rlim_t before)
{
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = before;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

Test(media_cache, without_descriptors_the_version_in_hand_is_served_and_a_new_file_is_not)
{
    struct media *media = open_media();
    struct media_cache *cache = open_cache(media, 4, 1000);
    put_file("/a", "a");
    put_file("/b", "b");
    cr_assert_eq(touch(media, cache, "/b", 1), 0);
    struct media_file *a = must_fetch(media, cache, "/a", 1);
    struct media_file *b = must_fetch(media, cache, "/b", 1);
    WAIT_FOR_STATS(media, stats.queue_length == 0);
    put_file("/c", "c");
    rlim_t before = forbid_descriptors();
    struct media_file *due = NULL, *c = NULL;
    int error_due = media_cache_get(cache, "/a", 2, 1001, &due);
    int error_new = media_cache_get(cache, "/c", 2, 1001, &c);
    allow_descriptors(before);
    cr_assert_eq(error_due, 0);
    cr_assert_eq(due, a);
    cr_assert_eq(error_new, -EMFILE);
    media_file_drop(cache, &due);
    media_file_drop(cache, &a);
    media_file_drop(cache, &b);
    media_cache_destroy(&cache);
    media_close(&media);
}

Test(media_cache, descriptors_that_are_wanted_elsewhere_are_taken_only_in_exchange)
{
    struct media *media = open_media();
    struct media_cache *cache = open_cache(media, 4, 1000);
    put_file("/a", "a");
    put_file("/b", "b");
    struct media_file *a = must_fetch(media, cache, "/a", 1), *b = NULL;
    WAIT_FOR_STATS(media, stats.queue_length == 0);
    media_cache_set_descriptor_max(cache, a->fd + 1);
    cr_assert_eq(
        media_cache_admit(cache, "/b", 2, 1, open(in_root("/b"), O_RDONLY | O_CLOEXEC), &b),
        -EMFILE);
    cr_assert_eq(media_cache_get(cache, "/b", 2, 1, &b), -EMFILE);
    int lowest_free = dup(STDIN_FILENO);
    close(lowest_free);
    cr_assert_gt(lowest_free, a->fd, "what was not kept is open");
    media_file_drop(cache, &a); /* from here on the file is idle */
    cr_assert_eq(touch(media, cache, "/b", 1), 0);
    cr_assert_not(media_cache_give_back(cache) && media_cache_give_back(cache), "both are open");
    media_cache_destroy(&cache);
    media_close(&media);
}

Test(media_cache, without_descriptors_an_idle_file_gives_up_its_own)
{
    struct media *media = open_media();
    struct media_cache *cache = open_cache(media, 4, 1000);
    put_file("/a", "a");
    cr_assert_eq(touch(media, cache, "/a", 1), 0);
    WAIT_FOR_STATS(media, stats.queue_length == 0);
    put_file("/c", "c");
    rlim_t before = forbid_descriptors();
    struct media_file *c = NULL;
    int error = media_cache_get(cache, "/c", 2, 2, &c);
    allow_descriptors(before);
    cr_assert_eq(error, 0);
    cr_assert(content_is(c, "c"));
    media_file_drop(cache, &c);
    media_cache_destroy(&cache);
    media_close(&media);
}

/* A small cache is asked in a long random sequence; each answer is compared with the disk. */
Test(media_cache, every_answer_of_a_long_random_sequence_is_the_right_file)
{
    struct media *media = open_media_with(4, 16, NULL);
    struct media_cache *cache = open_cache(media, 13, 50);
    struct media_file *held[20] = {NULL};
    char path[32];
    for (int i = 0; i < 60; i += 2) { /* the odd ones are missing */
        (void)snprintf(path, sizeof(path), "/file%d", i);
        put_file(path, path);
    }
    unsigned random = 1;
    for (uint64_t turn = 0; turn < 20000; turn++) {
        random = random * 1103515245U + 12345U;
        unsigned which = (random >> 8) % 60, place = (random >> 16) % 20;
        (void)snprintf(path, sizeof(path), "/file%u", which);
        if (held[place] != NULL)
            media_file_drop(cache, &held[place]);
        int error = fetch(media, cache, path, turn, &held[place]);
        cr_assert_eq(error, which % 2 ? -ENOENT : 0, "%s at %d", path, (int)turn);
        if (!error)
            cr_assert(content_is(held[place], path));
    }
    for (size_t i = 0; i < 20; i++)
        if (held[i] != NULL)
            media_file_drop(cache, &held[i]);
    media_cache_destroy(&cache);
    media_close(&media);
}
