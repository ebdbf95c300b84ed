/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that are not in memory. The kernel's threads for the ring read the disk, never a worker,
 * which would keep all its connections waiting meanwhile. Files of which no one can tell whether
 * they are in memory are served all the same.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/integration/harness.h"

#define FILES 4
static const char *const paths[FILES] = {"/1.mp3", "/2.mp3", "/3.mp3", "/4.mp3"};

/* ---- the files ---- */

static void add_files(struct site *site)
{
    for (unsigned i = 0; i < FILES; i++)
        site_media_add(site, paths[i], TRACK_LONG, 2);
}

/* Waits for the hasher, which would otherwise read the evicted files into memory again. */
static void await_hashes(struct site *site)
{
    for (unsigned i = 0; i < FILES; i++) {
        const char *link = site_link(site, .account = "alice", .path = paths[i]);
        uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
        while (answer_header(site, fetch(site, link, .method = "HEAD", .fresh = true), "ETag") ==
               NULL) {
            cr_assert_lt(harness_now_ms(), deadline_ms);
            harness_pause();
        }
    }
}

static bool is_in_memory(int fd, size_t length)
{
    size_t pages = (length + 4095) / 4096, count = 0;
    unsigned char *found = malloc(pages);
    void *map = mmap(NULL, length, PROT_READ, MAP_SHARED, fd, 0);
    cr_assert(found != NULL && map != MAP_FAILED);
    cr_assert_eq(mincore(map, length, found), 0);
    for (size_t i = 0; i < pages; i++)
        count += found[i] & 1;
    munmap(map, length);
    free(found);
    return count > 0;
}

/* Evicts the files from memory. False where one stays, as on tmpfs. `total` gets their length. */
static bool evict(struct site *site, uint64_t *total)
{
    *total = 0;
    for (unsigned i = 0; i < FILES; i++) {
        struct stat status;
        int fd = open(site_media_path(site, paths[i]), O_RDONLY | O_CLOEXEC);
        cr_assert(fd >= 0 && fstat(fd, &status) == 0 && fsync(fd) == 0);
        uint64_t deadline_ms = harness_now_ms() + 5000;
        while (is_in_memory(fd, (size_t)status.st_size) && harness_now_ms() < deadline_ms) {
            posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
            harness_pause();
        }
        bool stays = is_in_memory(fd, (size_t)status.st_size);
        close(fd);
        if (stays)
            return false;
        *total += (uint64_t)status.st_size;
    }
    return true;
}

/* ---- the node ---- */

/* Bytes that the node's workers themselves have read from the disk. */
static uint64_t read_by_workers(struct site *site)
{
    uint64_t sum = 0;
    const char *tasks = site_format(site, "/proc/%d/task", (int)site_node_pid(site));
    DIR *directory = opendir(tasks);
    cr_assert_not_null(directory);
    for (const struct dirent *entry = readdir(directory); entry != NULL;
         entry = readdir(directory)) {
        char text[64] = "";
        unsigned long long bytes = 0;
        FILE *file = fopen(site_format(site, "%s/%s/comm", tasks, entry->d_name), "re");
        bool worker = file != NULL && fgets(text, sizeof(text), file) != NULL &&
                      strncmp(text, "worker-", 7) == 0;
        if (file != NULL)
            fclose(file);
        if (!worker)
            continue;
        file = fopen(site_format(site, "%s/%s/io", tasks, entry->d_name), "re");
        cr_assert_not_null(file);
        while (fgets(text, sizeof(text), file) != NULL &&
               sscanf(text, "read_bytes: %llu", &bytes) != 1)
            continue;
        fclose(file);
        sum += bytes;
    }
    closedir(directory);
    return sum;
}

static void fetch_all(struct site *site, bool tls)
{
    const char *links[FILES];
    const struct answer *answers[FILES];
    for (unsigned i = 0; i < FILES; i++)
        links[i] = site_link(site, .account = "alice", .path = paths[i]);
    struct fetch_options options[FILES] = {{.tls = tls}, {.tls = tls}, {.tls = tls}, {.tls = tls}};
    fetch_parallel(site, links, options, FILES, answers);
    for (unsigned i = 0; i < FILES; i++)
        answer_expect_file(site, answers[i], paths[i]);
}

static void expect_ring_reads(bool tls)
{
    struct site *site = site_create(.own_media = true, .tls = true, .settings = "workers: 1\n");
    uint64_t total = 0, asked = 0, read_before = read_by_workers(site);
    add_files(site);
    site_account_open_postpaid(site, "alice");
    await_hashes(site);
    for (unsigned round = 0; round < 3; round++) {
        if (!evict(site, &total))
            cr_skip_test("the files cannot be evicted: is /tmp in memory?");
        fetch_all(site, tls);
        asked += total;
    }
    uint64_t read = read_by_workers(site) - read_before;
    cr_assert_lt(read, asked / 20, "of %llu bytes of cold files a worker read %llu",
                 (unsigned long long)asked, (unsigned long long)read);
    cr_assert_geq(site_traffic(site, "chunks_cold"), asked / (1024 * 1024));
    cr_assert_eq(site_traffic(site, "chunks_unread"), 0);
    cr_assert_eq(site_traffic(site, "transfers_cut"), 0);
    site_usage_await(site, "alice", asked);
    site_destroy(&site);
}

Test(cold, files_are_read_by_the_ring)
{
    expect_ring_reads(false);
}

Test(cold, files_over_tls_are_read_by_the_ring)
{
    expect_ring_reads(true);
}

/* ---- file systems on which nothing is cold, or that cannot tell ---- */

/* An empty directory, which the caller removes. */
static const char *make_directory(void)
{
    static char path[] = "/tmp/tollgate-media-XXXXXX";
    cr_assert(mkdtemp(path));
    return path;
}

static bool may_mount(void)
{
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

Test(cold, files_in_memory_are_neither_read_by_the_ring_nor_cut)
{
    const char *root = make_directory();
    if (!may_mount() || mount("tmpfs", root, "tmpfs", 0, "size=64m") < 0) {
        rmdir(root);
        cr_skip_test("only root may mount");
    }
    struct site *site = site_create(.media_root = root, .tls = true, .settings = "workers: 1\n");
    add_files(site);
    site_account_open_postpaid(site, "alice");
    fetch_all(site, false);
    fetch_all(site, true);
    cr_assert_eq(site_traffic(site, "chunks_cold"), 0);
    cr_assert_eq(site_traffic(site, "chunks_unread"), 0);
    cr_assert_eq(site_traffic(site, "transfers_cut"), 0);
    site_destroy(&site);
    umount2(root, MNT_DETACH);
    rmdir(root);
}

/* overlayfs has no RWF_NOWAIT: the node knows that a part is in memory only once the ring has read
 * that part. */
Test(cold, files_of_which_nobody_can_tell_are_read_by_the_ring_and_remembered)
{
    const char *root = make_directory();
    struct site *below = site_create(.own_media = true, .stays_down = true);
    add_files(below);
    const char *upper = site_format(below, "%s/upper", site_directory(below));
    const char *work = site_format(below, "%s/work", site_directory(below));
    cr_assert(mkdir(upper, 0755) == 0 && mkdir(work, 0755) == 0);
    const char *options = site_format(below, "lowerdir=%s,upperdir=%s,workdir=%s",
                                      site_media_path(below, ""), upper, work);
    if (!may_mount() || mount("overlay", root, "overlay", 0, options) < 0) {
        rmdir(root);
        site_destroy(&below);
        cr_skip_test("overlayfs cannot be mounted here");
    }
    struct site *site = site_create(.media_root = root, .tls = true, .settings = "workers: 1\n");
    site_account_open_postpaid(site, "alice");
    await_hashes(site);
    uint64_t total, read_before = read_by_workers(site);
    if (evict(site, &total)) {
        fetch_all(site, false);
        uint64_t cold = site_traffic(site, "chunks_cold");
        cr_assert_gt(cold, 0);
        fetch_all(site, true);
        cr_assert_lt(read_by_workers(site) - read_before, total / 20);
        cr_assert_eq(site_traffic(site, "chunks_unread"), 0);
        cr_assert_eq(site_traffic(site, "transfers_cut"), 0);
    }
    site_destroy(&site);
    umount2(root, MNT_DETACH);
    rmdir(root);
    site_destroy(&below);
}

/* ---- readers that leave, files that shrink ---- */

Test(cold, files_whose_readers_leave_are_closed_and_cost_nothing)
{
    enum { READERS = 40 };
    struct site *site = site_create(.own_media = true, .settings = "workers: 1\n");
    uint64_t total;
    add_files(site);
    site_account_open_postpaid(site, "alice");
    await_hashes(site);
    if (!evict(site, &total))
        cr_skip_test("the files cannot be evicted: is /tmp in memory?");
    for (unsigned i = 0; i < READERS; i++) {
        const char *link = site_link(site, .account = "alice", .path = paths[i % FILES]);
        int fd = raw_connect(site, 0);
        raw_print(fd, "GET %s HTTP/1.1\r\nHost: a\r\nRange: bytes=%u-\r\n\r\n", link, i * 200000);
        if (i % 2 == 0)
            (void)raw_answer_head(site, fd);
        raw_reset(fd);
    }
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (site_traffic(site, "connections_open") > 0) {
        cr_assert_lt(harness_now_ms(), deadline_ms, "a reader's connection stays");
        harness_pause();
    }
    fetch_all(site, false);
    site_destroy(&site);
}

Test(cold, files_that_shrink_meanwhile_end_the_connection)
{
    struct site *site = site_create(.own_media = true, .settings = "workers: 1\n");
    uint64_t total;
    add_files(site);
    site_account_open_postpaid(site, "alice");
    await_hashes(site);
    const char *link = site_link(site, .account = "alice", .path = paths[0]);
    int fd = raw_connect(site, 65536);
    raw_print(fd, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", link);
    const struct answer *head = raw_answer_head(site, fd);
    cr_assert_eq(head->status, 200);
    uint64_t length = answer_header_number(site, head, "Content-Length");
    cr_assert_eq(truncate(site_media_path(site, paths[0]), (off_t)length - 100), 0);
    (void)evict(site, &total);
    cr_assert_lt(raw_drain(fd), length);
    close(fd);
    cr_assert(site_node_is_running(site));
    site_destroy(&site);
}
