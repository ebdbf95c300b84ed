/* SPDX-License-Identifier: Apache-2.0 */
/* Content hashes: what the validator is, when it appears, and what the hasher does not remember. */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "storage/media/content_hash_internal.h"
#include "tests/unit/media/fixture.h"

TestSuite(media_hash, .init = fixture_setup, .fini = fixture_teardown);

Test(media_hash, the_validator_is_the_canonical_xxh3_128_of_the_content)
{
    struct media *media = open_media();
    struct media_cache *cache = open_cache(media, 16, 1000);
    put_file("/empty", "");
    size_t size = 3 * 1024 * 1024 + 17; /* several chunks and a part of one */
    unsigned char *content = malloc(size);
    cr_assert_not_null(content);
    for (size_t i = 0; i < size; i++)
        content[i] = (unsigned char)(i * 2654435761U >> 13);
    write_file(in_root("/big"), content, size);

    struct media_file *empty = must_fetch(media, cache, "/empty", 1);
    struct media_file *big = must_fetch(media, cache, "/big", 1);
    WAIT_FOR_STATS(media, stats.files_hashed == 2 && stats.queue_length == 0);
    struct media_file *same_empty = must_fetch(media, cache, "/empty", 2);
    struct media_file *same_big = must_fetch(media, cache, "/big", 2);
    cr_assert_eq(same_empty, empty, "picked up by the cached entry");
    cr_assert_eq(same_big, big);
    /* XXH3-128 of no input, as published. */
    cr_assert_str_eq(empty->etag, "\"99aa06d3014798d86001c324468d497f\"");
    char expected[MEDIA_ETAG_SIZE];
    expected_etag(content, size, expected);
    cr_assert_str_eq(big->etag, expected);
    cr_assert_eq(stats_of(media).bytes_hashed, size);

    media_file_drop(cache, &empty);
    media_file_drop(cache, &same_empty);
    media_file_drop(cache, &big);
    media_file_drop(cache, &same_big);
    free(content);
    media_cache_destroy(&cache);
    media_close(&media);
}

Test(media_hash, a_file_has_no_validator_before_it_is_hashed)
{
    struct media *media = open_media();
    struct media_cache *cache = open_cache(media, 16, 1000);
    put_endless_file("/endless");
    put_file("/behind", "x");
    struct media_file *endless = must_fetch(media, cache, "/endless", 1);
    struct media_file *behind = must_fetch(media, cache, "/behind", 1);
    cr_assert_str_eq(endless->etag, "");
    cr_assert_str_eq(behind->etag, "");
    cr_assert_eq(stats_of(media).queue_length, 2);
    media_file_drop(cache, &endless);
    media_file_drop(cache, &behind);
    media_cache_destroy(&cache);
    media_close(&media); /* leaves the endless file half read */
}

/* Frames of MPEG 1 layer III, 128 kbit/s, 44.1 kHz: 417 bytes each. */
static void put_song(const char *name)
{
    static unsigned char frames[100][417];
    for (unsigned i = 0; i < 100; i++)
        memcpy(frames[i], (const unsigned char[]){0xff, 0xfb, 0x90, 0x40}, 4);
    write_file(in_root(name), frames, sizeof(frames));
}

/* While the hasher reads /endless, nothing of what it found for /song must show there. */
Test(media_hash, a_file_that_is_not_hashed_has_no_facts)
{
    struct media *media = open_media();
    struct media_cache *cache = open_cache(media, 16, 1000);
    put_song("/song");
    put_endless_file("/endless");
    struct media_file *song = must_fetch(media, cache, "/song", 1);
    for (unsigned i = 0; song->etag[0] == '\0'; i++) { /* learnt without another get */
        cr_assert_lt(i, FIXTURE_PATIENCE_MS / 2, "the file is not hashed");
        (void)usleep(2000);
        media_file_learn(cache, song);
    }
    cr_assert_gt(song->bitrate, 120000);
    cr_assert_gt(song->duration_ms, 2000);
    struct media_file *endless = must_fetch(media, cache, "/endless", 1);
    cr_assert_str_eq(endless->etag, "");
    cr_assert_eq(endless->bitrate, 0, "%u bit/s", endless->bitrate);
    cr_assert_eq(endless->duration_ms, 0);
    media_file_drop(cache, &song);
    media_file_drop(cache, &endless);
    media_cache_destroy(&cache);
    media_close(&media);
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void await_ticket(const struct media *media, uint64_t ticket)
{
    for (unsigned i = 0; !media_hash_is_through(media, ticket); i++) {
        cr_assert_lt(i, FIXTURE_PATIENCE_MS / 2, "the hasher is not through");
        (void)usleep(2000);
    }
}

static atomic_uint hashed_calls;

static void count_hashed(void *context)
{
    cr_assert_eq(context, &hashed_calls);
    atomic_fetch_add(&hashed_calls, 1);
}

/* The hasher reads an endless file, at first for no request, then for one that gives up. */
Test(media_hash, a_file_that_somebody_waits_for_is_hashed_first)
{
    struct media *media = NULL;
    char error[512];
    const struct media_options options = {.root = fixture_root,
                                          .hash_queue_max = 64,
                                          .hash_first_max = 2,
                                          .hash_entries_max = 64,
                                          .hashed = count_hashed,
                                          .context = &hashed_calls};
    cr_assert_eq(media_open(&media, &options, error, sizeof(error)), 0, "%s", error);
    struct media_cache *cache = open_cache(media, 16, 1000);
    put_endless_file("/endless");
    put_file("/one", "1");
    put_file("/two", "2");
    struct media_file *endless = must_fetch(media, cache, "/endless", 1);
    struct media_file *one = must_fetch(media, cache, "/one", 1);
    struct media_file *two = must_fetch(media, cache, "/two", 1);
    WAIT_FOR_STATS(media, stats.bytes_hashed > 0);
    uint64_t ticket = media_file_hash_first(cache, one, now_ms() + 600000);
    cr_assert_gt(ticket, 0);
    await_ticket(media, ticket);
    media_file_learn(cache, one);
    cr_assert_neq(one->etag[0], '\0');
    cr_assert_eq(atomic_load(&hashed_calls), 1);

    ticket = media_file_hash_first(cache, endless, now_ms() + 3000);
    cr_assert_gt(ticket, 0);
    uint64_t behind = media_file_hash_first(cache, two, now_ms() + 600000);
    cr_assert_gt(behind, ticket);
    cr_assert_eq(media_file_hash_first(cache, two, now_ms() + 600000), 0, "a third of two");
    await_ticket(media, ticket);
    media_file_learn(cache, endless);
    cr_assert_eq(endless->etag[0], '\0');
    await_ticket(media, behind);
    media_file_learn(cache, two);
    cr_assert_neq(two->etag[0], '\0');
    cr_assert_eq(stats_of(media).queue_length, 3, "in their turn: all three");
    media_file_drop(cache, &endless);
    media_file_drop(cache, &one);
    media_file_drop(cache, &two);
    media_cache_destroy(&cache);
    media_close(&media);
}

/* The file is read twice only up to where the hasher was when the request came. */
Test(media_hash, a_file_that_is_hashed_first_is_not_hashed_again)
{
    struct media *media = open_media();
    struct media_cache *cache = open_cache(media, 16, 1000);
    const size_t size = (size_t)64 << 20;
    write_file(in_root("/large"), "", 0);
    cr_assert_eq(truncate(in_root("/large"), (off_t)size), 0);
    struct media_file *large = must_fetch(media, cache, "/large", 1);
    uint64_t ticket = media_file_hash_first(cache, large, now_ms() + 600000);
    cr_assert_gt(ticket, 0);
    await_ticket(media, ticket);
    media_file_learn(cache, large);
    cr_assert_neq(large->etag[0], '\0');
    WAIT_FOR_STATS(media, stats.queue_length == 0);
    cr_assert_eq(stats_of(media).files_hashed, 1);
    media_file_drop(cache, &large);
    media_cache_destroy(&cache);
    media_close(&media);
}

Test(media_hash, two_copies_have_the_same_validator_and_another_content_has_another)
{
    struct media *media = open_media();
    struct media_cache *cache = open_cache(media, 16, 1000);
    put_file("/a", "the same bytes");
    put_file("/b", "the same bytes");
    put_file("/c", "other bytes");
    const char *paths[] = {"/a", "/b", "/c"};
    for (int i = 0; i < 3; i++)
        cr_assert_eq(touch(media, cache, paths[i], 1), 0);
    WAIT_FOR_STATS(media, stats.files_hashed == 3);
    struct media_file *files[3];
    for (int i = 0; i < 3; i++)
        files[i] = must_fetch(media, cache, paths[i], 2);
    cr_assert_eq(strlen(files[0]->etag), MEDIA_ETAG_SIZE - 1);
    cr_assert_str_eq(files[0]->etag, files[1]->etag);
    cr_assert_str_neq(files[0]->etag, files[2]->etag);
    for (int i = 0; i < 3; i++)
        media_file_drop(cache, &files[i]);
    media_cache_destroy(&cache);
    media_close(&media);
}

Test(media_hash, a_file_that_two_workers_ask_for_is_hashed_once)
{
    struct media *media = open_media();
    struct media_cache *one = open_cache(media, 16, 1000), *two = open_cache(media, 16, 1000);
    put_file("/a", "bytes");
    struct media_file *first = must_fetch(media, one, "/a", 1);
    struct media_file *second = must_fetch(media, two, "/a", 1);
    WAIT_FOR_STATS(media, stats.files_hashed > 0 && stats.queue_length == 0);
    cr_assert_eq(stats_of(media).files_hashed, 1);
    cr_assert_eq(touch(media, one, "/a", 2), 0);
    cr_assert_eq(touch(media, two, "/a", 2), 0);
    cr_assert_eq(strlen(first->etag), MEDIA_ETAG_SIZE - 1);
    cr_assert_str_eq(first->etag, second->etag);
    media_file_drop(one, &first);
    media_file_drop(two, &second);
    media_cache_destroy(&one);
    media_cache_destroy(&two);
    media_close(&media);
}

Test(media_hash, a_file_that_changes_while_it_is_hashed_is_not_remembered)
{
    struct media *media = open_media();
    struct media_cache *cache = open_cache(media, 16, 1000);
    put_endless_file("/a");
    struct media_file *old = must_fetch(media, cache, "/a", 1);
    WAIT_FOR_STATS(media, stats.bytes_hashed > 0); /* under way */
    cr_assert_eq(truncate(in_root("/a"), 100), 0);
    WAIT_FOR_STATS(media, stats.files_abandoned == 1 && stats.queue_length == 0);
    cr_assert_eq(stats_of(media).entries, 0);
    cr_assert_eq(stats_of(media).files_hashed, 0);
    cr_assert_eq(touch(media, cache, "/a", 2), 0);
    cr_assert_str_eq(old->etag, "");

    /* The new version is asked for when revalidation finds it. */
    cr_assert_eq(touch(media, cache, "/a", 1001), 0);
    WAIT_FOR_STATS(media, stats.files_hashed == 1);
    struct media_file *new = must_fetch(media, cache, "/a", 1002);
    static const char zeros[100];
    char expected[MEDIA_ETAG_SIZE];
    expected_etag(zeros, sizeof(zeros), expected);
    cr_assert_str_eq(new->etag, expected);
    cr_assert_str_eq(old->etag, "");
    media_file_drop(cache, &new);
    media_file_drop(cache, &old);
    media_cache_destroy(&cache);
    media_close(&media);
}

struct saboteur {
    int fd;
    int calls;
    bool stop;
};

static bool sabotage(void *context, uint64_t bytes)
{
    struct saboteur *saboteur = context;
    cr_assert_gt(bytes, 0);
    saboteur->calls++;
    if (saboteur->fd >= 0) /* writes one byte in place, so that the size stays */
        cr_assert_eq(pwrite(saboteur->fd, "x", 1, 0), 1);
    return !saboteur->stop;
}

Test(media_hash, a_write_in_place_is_noticed_and_reading_can_be_stopped)
{
    char *content = calloc(1, 2 << 20);
    cr_assert_not_null(content);
    write_file(in_root("/a"), content, 2 << 20);
    free(content);
    int fd = open(in_root("/a"), O_RDWR | O_CLOEXEC);
    struct file_identity identity;
    struct content_reader *reader = NULL;
    struct content_hash hash;
    cr_assert_eq(content_reader_create(&reader), 0);

    cr_assert_eq(file_identify(fd, &identity, NULL), 0);
    struct saboteur stopper = {.fd = -1, .stop = true};
    cr_assert_eq(content_reader_hash(reader, fd, &identity, 0, sabotage, &stopper, &hash),
                 -ECANCELED);
    cr_assert_eq(stopper.calls, 1);

    while (content_settle_ns(&identity, content_now_ns()) >
           0) /* or the write could leave the change time as it is */
        pause_briefly();
    struct saboteur writer = {.fd = open(in_root("/a"), O_WRONLY | O_CLOEXEC)};
    cr_assert_eq(content_reader_hash(reader, fd, &identity, 0, sabotage, &writer, &hash), -EBUSY);
    cr_assert_eq(writer.calls, 1, "it gives up at once");
    cr_assert_eq(content_reader_hash(reader, fd, &identity, 0, sabotage, &writer, &hash), -EBUSY,
                 "another version than the expected one");

    close(writer.fd);
    close(fd);
    content_reader_destroy(&reader);
}

Test(media_hash, a_version_of_this_moment_must_settle_and_an_old_one_need_not)
{
    const uint64_t second = 1000000000U, now_ns = 1000 * second + 7;
    struct file_identity fresh = {.ctime_ns = now_ns}, old = {.ctime_ns = now_ns - second};
    struct file_identity future = {.ctime_ns = now_ns + second};
    cr_assert_geq(content_settle_ns(&fresh, now_ns), 10000000U,
                  "a tick of the slowest kernel clock");
    cr_assert_eq(content_settle_ns(&fresh, now_ns + content_settle_ns(&fresh, now_ns)), 0);
    cr_assert_eq(content_settle_ns(&old, now_ns), 0);
    cr_assert_eq(content_settle_ns(&future, now_ns), 0);
    /* Where times are in whole seconds, a later write may be hidden for up to two. */
    struct file_identity coarse = {.ctime_ns = 999 * second};
    cr_assert_gt(content_settle_ns(&coarse, now_ns), second);
    cr_assert_eq(content_settle_ns(&coarse, now_ns + 2 * second), 0);
}

Test(media_hash, a_full_queue_refuses_and_a_later_revalidation_asks_again)
{
    struct media *media = open_media_with(2, 100, fixture_state);
    struct media_cache *cache = open_cache(media, 16, 1000);
    put_endless_file("/endless");
    struct media_file *endless = must_fetch(media, cache, "/endless", 1);
    WAIT_FOR_STATS(media, stats.bytes_hashed > 0); /* the hasher has it, so it is not queued */
    const char *paths[] = {"/a", "/b", "/c", "/d"};
    for (int i = 0; i < 4; i++) {
        put_file(paths[i], paths[i]);
        cr_assert_eq(touch(media, cache, paths[i], 1), 0, "a full queue does not stop the serving");
    }
    struct media_hash_stats counts = stats_of(media);
    cr_assert_eq(counts.queue_length, 3, "two wait and one is under way");
    cr_assert_eq(counts.queue_refused, 2);

    /* Files that wait are not queued twice; those that were refused are tried again. */
    for (int i = 0; i < 4; i++)
        cr_assert_eq(touch(media, cache, paths[i], 1001), 0);
    counts = stats_of(media);
    cr_assert_eq(counts.queue_length, 3);
    cr_assert_eq(counts.queue_refused, 4);

    cr_assert_eq(truncate(in_root("/endless"), 0), 0);
    WAIT_FOR_STATS(media, stats.files_hashed == 2 && stats.queue_length == 0);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(touch(media, cache, paths[i], 2001), 0);
    WAIT_FOR_STATS(media, stats.files_hashed == 4 && stats.queue_length == 0);
    for (int i = 0; i < 4; i++) {
        struct media_file *file = must_fetch(media, cache, paths[i], 2002);
        char expected[MEDIA_ETAG_SIZE];
        expected_etag(paths[i], 2, expected);
        cr_assert_str_eq(file->etag, expected);
        media_file_drop(cache, &file);
    }
    media_file_drop(cache, &endless);
    media_cache_destroy(&cache);
    media_close(&media);
}

/* ---- the page cache ---- */

#define LARGE_BYTES ((size_t)8 << 20)
#define HOT_BYTES   ((size_t)1 << 20)

/* Pages of [from, to) that are in the page cache. */
static size_t resident_pages(int fd, size_t from, size_t to)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = LARGE_BYTES / page, resident = 0;
    void *map = mmap(NULL, LARGE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    unsigned char *present = calloc(pages, 1);
    cr_assert(map != MAP_FAILED && present != NULL);
    cr_assert_eq(mincore(map, LARGE_BYTES, present), 0);
    for (size_t i = from / page; i < to / page; i++)
        resident += present[i] & 1;
    free(present);
    munmap(map, LARGE_BYTES);
    return resident;
}

static void make_cold(int fd)
{
    cr_assert_eq(fdatasync(fd), 0);
    cr_assert_eq(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
}

static bool carry_on(void *context, uint64_t bytes)
{
    (void)context;
    (void)bytes;
    return true;
}

Test(media_hash, hashing_a_large_file_leaves_the_page_cache_as_it_was)
{
    unsigned char *content = malloc(LARGE_BYTES);
    cr_assert_not_null(content);
    memset(content, 7, LARGE_BYTES);
    write_file(in_root("/large"), content, LARGE_BYTES);
    int fd = open(in_root("/large"), O_RDWR | O_CLOEXEC);
    make_cold(fd);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (resident_pages(fd, 0, LARGE_BYTES) > LARGE_BYTES / page / 2) {
        fixture_teardown(); /* Criterion does not call it for a skipped test */
        cr_skip_test("this file system is in memory: nothing is ever cold");
    }
    cr_assert_eq(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM),
                 0); /* no read-ahead past the hot part */
    cr_assert_eq(pread(fd, content, HOT_BYTES, 0), (ssize_t)HOT_BYTES);
    size_t hot = resident_pages(fd, 0, LARGE_BYTES);

    struct content_reader *reader = NULL;
    struct file_identity identity;
    struct content_hash hash;
    cr_assert_eq(content_reader_create(&reader), 0);
    cr_assert_eq(file_identify(fd, &identity, NULL), 0);
    int own = open(in_root("/large"), O_RDONLY | O_CLOEXEC);
    cr_assert_eq(content_reader_hash(reader, own, &identity, 0, carry_on, NULL, &hash), 0);
    cr_assert_eq(resident_pages(fd, 0, HOT_BYTES), HOT_BYTES / page);
    cr_assert_eq(resident_pages(fd, 0, LARGE_BYTES), hot);
    close(own);

    /* A file that is small enough to be kept stays in memory whole. */
    own = open(in_root("/large"), O_RDONLY | O_CLOEXEC);
    cr_assert_eq(content_reader_hash(reader, own, &identity, LARGE_BYTES, carry_on, NULL, &hash),
                 0);
    cr_assert_eq(resident_pages(fd, 0, LARGE_BYTES), LARGE_BYTES / page);
    close(own);
    close(fd);
    content_reader_destroy(&reader);
    free(content);
}

/* ---- threads, for ThreadSanitizer ---- */

struct worker {
    struct media *media;
    pthread_t thread;
    atomic_int with_etag;
};

static void *work(void *context)
{
    struct worker *worker = context;
    struct media_cache *cache = open_cache(worker->media, 8, 3);
    char path[32];
    for (uint64_t turn = 0; turn < 3000; turn++) {
        (void)snprintf(path, sizeof(path), "/f%d", (int)(turn % 24));
        struct media_file *file = must_fetch(worker->media, cache, path, turn);
        char expected[MEDIA_ETAG_SIZE];
        expected_etag(path, strlen(path), expected);
        cr_assert(file->etag[0] == '\0' || strcmp(file->etag, expected) == 0);
        worker->with_etag += file->etag[0] != '\0';
        media_file_drop(cache, &file);
    }
    media_cache_destroy(&cache);
    return NULL;
}

Test(media_hash, workers_the_hasher_and_a_scan_share_the_store)
{
    char path[32];
    for (int i = 0; i < 24; i++) {
        (void)snprintf(path, sizeof(path), "/f%d", i);
        put_file(path, path);
    }
    struct media *media =
        open_media_with(4, 16, fixture_state); /* fewer hashes than files, so some are evicted */
    struct worker workers[3];
    for (int i = 0; i < 3; i++) {
        workers[i].media = media;
        workers[i].with_etag = 0;
        cr_assert_eq(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    cr_assert_eq(media_scan(media, NULL, NULL), 0);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(pthread_join(workers[i].thread, NULL), 0);
    WAIT_FOR_STATS(media, stats.queue_length == 0);
    cr_assert_geq(stats_of(media).files_hashed, 24);
    cr_assert_eq(stats_of(media).entries, 16);
    media_close(&media);
}
