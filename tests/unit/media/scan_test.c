/* SPDX-License-Identifier: Apache-2.0 */
/* Hashing ahead: the whole tree, progress, stopping, what is skipped and what is reported. */
#include <sys/resource.h>

#include "tests/unit/media/fixture.h"

TestSuite(media_scan, .init = fixture_setup, .fini = fixture_teardown);

struct seen {
    int calls, stop_after;
    uint64_t last_done, last_bytes;
    char paths[16][64];
    char etags[16][MEDIA_ETAG_SIZE];
    int errors[16];
    bool passed_over[16];
    struct media_scan_progress last;
};

static int note(void *context, const struct media_scan_progress *progress)
{
    struct seen *seen = context;
    cr_assert_lt(seen->calls, 16);
    (void)snprintf(seen->paths[seen->calls], sizeof(seen->paths[0]), "%s", progress->path);
    (void)snprintf(seen->etags[seen->calls], sizeof(seen->etags[0]), "%s", progress->etag);
    seen->errors[seen->calls] = progress->error;
    seen->passed_over[seen->calls] = progress->passed_over;
    cr_assert_geq(progress->files_done, seen->last_done);
    cr_assert_geq(progress->bytes_done, seen->last_bytes);
    cr_assert_leq(progress->files_done, progress->files_total);
    cr_assert_leq(progress->bytes_done, progress->bytes_total);
    seen->last_done = progress->files_done;
    seen->last_bytes = progress->bytes_done;
    seen->last = *progress;
    seen->calls++;
    return seen->calls == seen->stop_after;
}

static int find(const struct seen *seen, const char *path)
{
    for (int i = 0; i < seen->calls; i++)
        if (strcmp(seen->paths[i], path) == 0)
            return i;
    return -1;
}

static void put_tree(void)
{
    put_file("/a", "aaaa");
    cr_assert_eq(mkdir(in_root("/d"), 0700), 0);
    cr_assert_eq(mkdir(in_root("/d/e"), 0700), 0);
    cr_assert_eq(mkdir(in_root("/empty"), 0700), 0);
    put_file("/d/b", "bb");
    put_file("/d/e/c", "cccccc");
    put_file("/d/.hidden", "");
    put_file("/d/shown", "");
}

Test(media_scan, hashes_every_file_beneath_the_root_and_reports_each)
{
    put_tree();
    struct media *media = open_media();
    struct seen seen = {0};
    cr_assert_eq(media_scan(media, note, &seen), 0);
    cr_assert_eq(seen.calls, 4);
    cr_assert_eq(seen.last.files_total, 4);
    cr_assert_eq(seen.last.files_done, 4);
    cr_assert_eq(seen.last.files_hashed, 4);
    cr_assert_eq(seen.last.bytes_total, 12);
    cr_assert_eq(seen.last.bytes_done, 12);
    int c = find(&seen, "/d/e/c");
    cr_assert_geq(c, 0);
    char expected[MEDIA_ETAG_SIZE];
    expected_etag("cccccc", 6, expected);
    cr_assert_str_eq(seen.etags[c], expected);
    cr_assert_geq(find(&seen, "/a"), 0);
    cr_assert_geq(find(&seen, "/d/b"), 0);
    cr_assert_geq(find(&seen, "/d/shown"), 0);
    cr_assert_lt(find(&seen, "/d/.hidden"), 0);
    cr_assert_eq(stats_of(media).files_hashed, 4);
    media_close(&media);
}

Test(media_scan, a_second_scan_finds_all_known_and_reads_nothing)
{
    put_tree();
    struct media *media = open_media();
    cr_assert_eq(media_scan(media, NULL, NULL), 0);
    uint64_t bytes = stats_of(media).bytes_hashed;
    struct seen seen = {0};
    cr_assert_eq(media_scan(media, note, &seen), 0);
    cr_assert_eq(seen.last.files_done, 4);
    cr_assert_eq(seen.last.files_hashed, 0);
    cr_assert_eq(strlen(seen.etags[0]), MEDIA_ETAG_SIZE - 1);
    cr_assert_eq(stats_of(media).bytes_hashed, bytes);
    media_close(&media);
}

Test(media_scan, what_was_scanned_is_served_with_its_validator_at_once)
{
    put_tree();
    struct media *media = open_media();
    cr_assert_eq(media_scan(media, NULL, NULL), 0);
    struct media_cache *cache = open_cache(media, 4, 1000);
    struct media_file *file = must_fetch(media, cache, "/d/b", 1);
    char expected[MEDIA_ETAG_SIZE];
    expected_etag("bb", 2, expected);
    cr_assert_str_eq(file->etag, expected);
    media_file_drop(cache, &file);
    media_cache_destroy(&cache);
    media_close(&media);
}

Test(media_scan, stops_when_it_is_told_to)
{
    put_tree();
    struct media *media = open_media();
    struct seen seen = {.stop_after = 2};
    cr_assert_eq(media_scan(media, note, &seen), 1);
    cr_assert_eq(seen.calls, 2);
    cr_assert_eq(stats_of(media).files_hashed, 2);
    /* The next scan goes on from there. */
    struct seen rest = {0};
    cr_assert_eq(media_scan(media, note, &rest), 0);
    cr_assert_eq(rest.last.files_done, 4);
    cr_assert_eq(rest.last.files_hashed, 2);
    media_close(&media);
}

/* Makes a file, and links that stay within the root and that leave it. */
static void put_file_and_links(void)
{
    put_file("/a", "aaaa");
    write_file(in_root("/../secret"), "secret", 6);
    cr_assert_eq(symlink("../secret", in_root("/out")), 0);
    cr_assert_eq(symlink("a", in_root("/in")), 0);
    cr_assert_eq(symlink(".", in_root("/loop")), 0);
    cr_assert_eq(symlink("/etc", in_root("/etc")), 0);
}

Test(media_scan, follows_no_symbolic_link_and_opens_nothing_but_regular_files, .timeout = 60)
{
    put_file_and_links();
    cr_assert_eq(mkfifo(in_root("/fifo"), 0600), 0);
    struct media *media = open_media();
    struct seen seen = {0};
    cr_assert_eq(media_scan(media, note, &seen), 0);
    cr_assert_eq(seen.last.files_done, 1);
    cr_assert_geq(find(&seen, "/a"), 0);
    /* Each link is reported, but not as a failure. */
    static const char *const links[] = {"/out", "/in", "/loop", "/etc"};
    cr_assert_eq(seen.calls, 5);
    cr_assert_eq(seen.last.links_passed_over, 4);
    for (size_t i = 0; i < 4; i++) {
        int at = find(&seen, links[i]);
        cr_assert(at >= 0 && seen.passed_over[at] && seen.errors[at] == 0, "%s", links[i]);
    }
    media_close(&media);
}

Test(media_scan, names_the_links_that_lead_to_no_file_within_the_root_where_it_follows_them)
{
    put_file_and_links();
    cr_assert_eq(symlink("nothing", in_root("/dangling")), 0);
    struct media *media = open_media_following();
    struct seen seen = {0};
    cr_assert_eq(media_scan(media, note, &seen), 0);
    cr_assert_eq(seen.last.files_done, 1);
    cr_assert_eq(seen.last.links_passed_over, 3);
    cr_assert(find(&seen, "/in") == -1 && find(&seen, "/loop") == -1);
    cr_assert(find(&seen, "/out") >= 0 && find(&seen, "/etc") >= 0 &&
              find(&seen, "/dangling") >= 0);
    /* The link has the hash of the file to which it leads. */
    struct media_facts real, by_link;
    cr_assert_eq(media_show(media, "/a", &real), 0);
    cr_assert_eq(media_show(media, "/in", &by_link), 0);
    cr_assert_str_eq(real.etag, by_link.etag);
    media_close(&media);
}

/* Removes /d/b and swaps /d/e for a link while the scan is at its first file. */
static int interfere(void *context, const struct media_scan_progress *progress)
{
    struct seen *seen = context;
    if (seen->calls == 0) {
        cr_assert_str_eq(progress->path, "/a");
        cr_assert_eq(unlink(in_root("/d/b")), 0);
        cr_assert_eq(rename(in_root("/d"), in_root("/../d")), 0);
        cr_assert_eq(symlink("../d", in_root("/d")), 0);
    }
    return note(seen, progress);
}

Test(media_scan, a_directory_swapped_for_a_link_under_way_is_reported_and_not_followed)
{
    /* The only file in the root comes before the files in the directory. */
    put_file("/a", "aaaa");
    cr_assert_eq(mkdir(in_root("/d"), 0700), 0);
    put_file("/d/b", "bb");
    put_file("/d/c", "cc");
    struct media *media = open_media();
    struct seen seen = {0};
    cr_assert_eq(media_scan(media, interfere, &seen), 0);
    cr_assert_eq(seen.last.files_total, 3);
    cr_assert_eq(find(&seen, "/d/c"), -1);
    cr_assert_eq(seen.last.files_done, 1);
    /* If /d was listed as a directory before the swap, it is refused; if it was listed afterwards,
     * it is a link and passed over. */
    int swapped = find(&seen, "/d");
    cr_assert(swapped == -1 || seen.passed_over[swapped] || seen.errors[swapped] == -ELOOP ||
              seen.errors[swapped] == -ENOTDIR);
    media_close(&media);
}

Test(media_scan, a_deep_tree_needs_no_more_descriptors_than_a_flat_one)
{
    char path[MEDIA_PATH_MAX + 1] = "";
    size_t length = 0;
    for (int depth = 0; depth < 300; depth++) {
        length += (size_t)snprintf(path + length, sizeof(path) - length, "/d");
        cr_assert_eq(mkdir(in_root(path), 0700), 0);
    }
    (void)snprintf(path + length, sizeof(path) - length, "/f");
    put_file(path, "deep");
    struct media *media = open_media();

    int lowest_free = dup(STDIN_FILENO);
    close(lowest_free);
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = (rlim_t)lowest_free + 16;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    struct seen seen = {0};
    cr_assert_eq(media_scan(media, note, &seen), 0);
    cr_assert_eq(seen.calls, 1, "no directory was left out");
    cr_assert_eq(seen.last.files_hashed, 1);
    int lowest_after = dup(STDIN_FILENO);
    cr_assert_eq(lowest_after, lowest_free, "none is left open");
    close(lowest_after);
    media_close(&media);
}
