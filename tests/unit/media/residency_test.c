/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which parts of a file are in memory, on a real disk: an evicted part is never taken for ready, a
 * part that was read in as asked is, and for a hot part the kernel is not asked each time.
 */
#include <linux/magic.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "tests/unit/media/fixture.h"

#define FILE_SIZE (10 * MEDIA_BLOCK + 5000)

TestSuite(media_residency, .init = fixture_setup, .fini = fixture_teardown);

static struct media *media;
static struct media_cache *cache;
static struct media_residency *residency;
static struct media_file *file;
static struct media_reader reader;

static bool is_on_disk(const char *path)
{
    struct statfs system;
    cr_assert_eq(statfs(path, &system), 0);
    return system.f_type != TMPFS_MAGIC && system.f_type != OVERLAYFS_SUPER_MAGIC;
}

static void begin(void)
{
    mallopt(M_PERTURB, 0x5a); /* memory from malloc is not zero */
    char *content = malloc(FILE_SIZE);
    cr_assert_not_null(content);
    memset(content, 'x', FILE_SIZE);
    write_file(in_root("/a"), content, FILE_SIZE);
    free(content);
    media = open_media();
    cache = open_cache(media, 16, 1000);
    cr_assert_eq(media_residency_create(&residency), 0);
    file = must_fetch(media, cache, "/a", 1);
    /* The hasher would read the file into memory, so wait until it is done. */
    WAIT_FOR_STATS(media, stats.queue_length == 0);
    media_reader_begin(&reader);
}

static void end(void)
{
    media_file_drop(cache, &file);
    media_residency_destroy(&residency);
    media_cache_destroy(&cache);
    media_close(&media);
}

static size_t pages_in_memory(uint64_t from, uint64_t until)
{
    static unsigned char pages[FILE_SIZE / 4096 + 1];
    size_t count = 0;
    void *map = mmap(NULL, FILE_SIZE, PROT_READ, MAP_SHARED, file->fd, 0);
    cr_assert_neq(map, MAP_FAILED);
    cr_assert_eq(mincore(map, FILE_SIZE, pages), 0);
    munmap(map, FILE_SIZE);
    for (uint64_t page = from / 4096; page * 4096 < until; page++)
        count += pages[page] & 1;
    return count;
}

static void evict(void)
{
    int fd = open(in_root("/a"), O_WRONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    cr_assert_eq(fsync(fd), 0);
    for (int patience_ms = FIXTURE_PATIENCE_MS; pages_in_memory(0, FILE_SIZE) > 0; patience_ms--) {
        cr_assert_gt(patience_ms, 0, "the pages cannot be evicted");
        cr_assert_eq(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
        pause_briefly();
    }
    close(fd);
}

/* Reads what is needed, as the server has the ring do. It does so in another process, because a
 * thread that has itself read from the disk doubts what it sees. */
static void read_elsewhere(const struct media_need *need)
{
    int status = 0;
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        static char sink[MEDIA_BLOCK / 2];
        uint64_t at = need->read_from, end = at + need->read_length;
        ssize_t got = readahead(file->fd, (off_t)need->from, need->end - need->from) == 0 ? 1 : -1;
        for (; at < end && got > 0; at += (uint64_t)got) {
            size_t left = (size_t)(end - at);
            got = pread(file->fd, sink, left < sizeof(sink) ? left : sizeof(sink), (off_t)at);
        }
        _exit(got <= 0);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
}

static void read_whole_elsewhere(uint64_t from, uint64_t until)
{
    read_elsewhere(&(struct media_need){
        .from = from, .end = until, .read_from = from, .read_length = (size_t)(until - from)});
}

static size_t ready(uint64_t offset, size_t length, uint64_t now_ms)
{
    return media_reader_ready(residency, file, &reader, offset, length, now_ms);
}

static void bring_in(uint64_t offset, uint64_t now_ms)
{
    struct media_need need = media_reader_need(file, &reader, offset, FILE_SIZE);
    cr_assert_leq(need.from, offset);
    cr_assert_gt(need.end, offset);
    cr_assert_leq(need.end, FILE_SIZE);
    read_elsewhere(&need);
    media_reader_brought(residency, file, &reader, offset, now_ms);
}

Test(media_residency, of_what_is_in_memory_all_is_ready)
{
    begin();
    cr_assert_eq(ready(0, FILE_SIZE, 1), FILE_SIZE);
    media_reader_begin(&reader);
    cr_assert_eq(ready(100000, 100000, 1), 100000);
    end();
}

Test(media_residency, of_an_evicted_file_nothing_is_ready_however_often_one_looks)
{
    if (!is_on_disk(fixture_root))
        cr_skip_test("the file system does not say what is in memory");
    begin();
    evict();
    cr_assert_eq(ready(0, FILE_SIZE, 1), 0);
    /* Looking has read in a page, which no reader must take for the whole block. */
    cr_assert_eq(ready(0, FILE_SIZE, 200), 0);
    media_reader_begin(&reader);
    cr_assert_eq(ready(0, FILE_SIZE, 300), 0);
    cr_assert_lt(pages_in_memory(0, FILE_SIZE), 4);
    end();
}

Test(media_residency, of_what_is_brought_in_nothing_is_left_out)
{
    if (!is_on_disk(fixture_root))
        cr_skip_test("the file system does not say what is in memory");
    begin();
    evict();
    uint64_t offset = 70000;
    unsigned brought = 0;
    while (offset < FILE_SIZE) {
        size_t length = ready(offset, FILE_SIZE - offset, 1);
        if (length == 0) {
            cr_assert_lt(brought, 100, "it is brought in again and again");
            bring_in(offset, 1);
            brought++;
            continue;
        }
        cr_assert_eq(pages_in_memory(offset, offset + length),
                     (offset + length - 1) / 4096 - offset / 4096 + 1);
        offset += length;
        media_reader_sent(&reader);
    }
    cr_assert_geq(brought, FILE_SIZE / MEDIA_AHEAD_MAX, "%u", brought);
    end();
}

Test(media_residency, of_a_file_half_in_memory_that_half_is_ready)
{
    if (!is_on_disk(fixture_root))
        cr_skip_test("the file system does not say what is in memory");
    begin();
    evict();
    read_whole_elsewhere(0, 4 * MEDIA_BLOCK);
    read_whole_elsewhere(6 * MEDIA_BLOCK, FILE_SIZE);
    cr_assert_eq(ready(1000, FILE_SIZE - 1000, 1), 4 * MEDIA_BLOCK - 1000);
    cr_assert_eq(reader.cold_from, 4 * MEDIA_BLOCK);
    cr_assert_eq(ready(4 * MEDIA_BLOCK, FILE_SIZE - 4 * MEDIA_BLOCK, 1), 0);
    bring_in(4 * MEDIA_BLOCK, 1);
    cr_assert_eq(ready(4 * MEDIA_BLOCK, FILE_SIZE - 4 * MEDIA_BLOCK, 1),
                 FILE_SIZE - 4 * MEDIA_BLOCK);
    end();
}

Test(media_residency, of_what_was_hot_for_a_while_the_kernel_is_not_asked)
{
    if (!is_on_disk(fixture_root))
        cr_skip_test("the file system does not say what is in memory");
    begin();
    for (uint64_t now_ms = 1000; now_ms <= 1200; now_ms += 50) {
        media_reader_begin(&reader);
        cr_assert_eq(ready(0, MEDIA_BLOCK, now_ms), MEDIA_BLOCK);
    }
    /* The evicted block passes for ready only because the kernel was not asked. A moment later it
     * is asked again. */
    evict();
    media_reader_begin(&reader);
    cr_assert_eq(ready(0, MEDIA_BLOCK, 1210), MEDIA_BLOCK);
    media_reader_begin(&reader);
    cr_assert_eq(ready(0, MEDIA_BLOCK, 1400), 0);
    end();
}

Test(media_residency, of_what_was_hot_once_the_kernel_is_asked_again)
{
    if (!is_on_disk(fixture_root))
        cr_skip_test("the file system does not say what is in memory");
    begin();
    cr_assert_eq(ready(0, MEDIA_BLOCK, 1000), MEDIA_BLOCK);
    evict();
    media_reader_begin(&reader);
    cr_assert_eq(ready(0, MEDIA_BLOCK, 1001), 0);
    end();
}

Test(media_residency, a_file_that_shrank_is_not_waited_for)
{
    begin();
    cr_assert_eq(truncate(in_root("/a"), 1000), 0);
    cr_assert_eq(ready(MEDIA_BLOCK, MEDIA_BLOCK, 1), MEDIA_BLOCK);
    end();
}

static void setup_in_memory(void)
{
    setenv("TMPDIR", "/dev/shm", 1);
    fixture_setup();
}

TestSuite(media_residency_in_memory, .init = setup_in_memory, .fini = fixture_teardown);

Test(media_residency_in_memory, of_a_file_in_memory_all_is_ready_and_read)
{
    char bytes[100];
    begin();
    cr_assert_eq(ready(0, FILE_SIZE, 1), FILE_SIZE);
    cr_assert_eq(media_file_read(file, bytes, sizeof(bytes), FILE_SIZE - 10), 10);
    cr_assert_eq(media_file_read(file, bytes, sizeof(bytes), FILE_SIZE), 0);
    cr_assert_eq(bytes[0], 'x');
    end();
}
