/* SPDX-License-Identifier: Apache-2.0 */
/* Which paths are served: only regular files, only beneath the root, by no symbolic link. */
#include <sys/socket.h>
#include <sys/un.h>

#include "storage/media/path_internal.h"
#include "tests/unit/media/fixture.h"

TestSuite(media_path, .init = fixture_setup, .fini = fixture_teardown);

static struct media *media;
static struct media_cache *cache;

static void start(void)
{
    media = open_media();
    cache = open_cache(media, 16, 1000);
    put_file("/track", "music");
}

static void start_following(void)
{
    media = open_media_following();
    cache = open_cache(media, 32, 1000);
    put_file("/track", "music");
}

static void stop(void)
{
    media_cache_destroy(&cache);
    media_close(&media);
}

Test(media_path, opens_a_regular_file)
{
    start();
    struct media_file *file = must_fetch(media, cache, "/track", 1);
    cr_assert(content_is(file, "music"));
    cr_assert_eq(file->size, 5);
    cr_assert_str_eq(file->path, "/track");
    cr_assert_eq(file->path_length, 6);
    struct stat status;
    cr_assert_eq(stat(in_root("/track"), &status), 0);
    cr_assert_eq(file->mtime_s, status.st_mtime);
    media_file_drop(cache, &file);
    cr_assert_null(file);
    stop();
}

Test(media_path, refuses_traversal)
{
    start();
    write_file(in_root("/../secret"), "secret", 6);
    cr_assert_eq(mkdir(in_root("/d"), 0700), 0);
    const char *paths[] = {"/../secret", "/d/../../secret", "/d/../track", "/./track", "//track",
                           "/track/",    "/d/..",           "/..",         "/.",       "/"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        cr_assert_eq(touch(media, cache, paths[i], 1), -ENOENT, "%s", paths[i]);
    /* The same names without the dots exist, so the dots are what is refused. */
    cr_assert_eq(touch(media, cache, "/track", 1), 0);
    stop();
}

Test(media_path, the_kernel_itself_refuses_ways_out)
{
    start();
    write_file(in_root("/../secret"), "secret", 6);
    char absolute[512];
    (void)snprintf(absolute, sizeof(absolute), "%s/secret", fixture_top);
    const char *ways[] = {"../secret", absolute, "/etc/passwd"};
    const struct path_root root = path_root_of(media_root_fd(media), false);
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
        cr_assert_eq(path_open(&root, ways[i], 0), -EXDEV, "%s", ways[i]);
    stop();
}

Test(media_path, refuses_symbolic_links_within_and_out_of_the_root)
{
    start();
    write_file(in_root("/../secret"), "secret", 6);
    cr_assert_eq(mkdir(in_root("/real"), 0700), 0);
    put_file("/real/track", "music");
    cr_assert_eq(symlink("track", in_root("/inside")), 0);
    cr_assert_eq(symlink("../secret", in_root("/outside")), 0);
    cr_assert_eq(symlink("/etc/passwd", in_root("/absolute")), 0);
    cr_assert_eq(symlink("real", in_root("/directory")), 0);
    cr_assert_eq(symlink("/proc/self/root", in_root("/magic")), 0);
    const char *paths[] = {"/inside", "/outside", "/absolute", "/directory/track",
                           "/magic/etc/passwd"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        cr_assert_eq(touch(media, cache, paths[i], 1), -ENOENT, "%s", paths[i]);
    cr_assert_eq(touch(media, cache, "/real/track", 1), 0);
    stop();
}

Test(media_path, follows_links_that_stay_within_the_root_where_it_shall)
{
    start_following();
    write_file(in_root("/../secret"), "secret", 6);
    cr_assert_eq(mkdir(in_root("/real"), 0700), 0);
    put_file("/real/track", "music");
    cr_assert_eq(symlink("real/track", in_root("/inside")), 0);
    cr_assert_eq(symlink("inside", in_root("/twice")), 0);
    cr_assert_eq(symlink("real", in_root("/directory")), 0);
    cr_assert_eq(symlink("../real/track", in_root("/real/up")), 0);
    cr_assert_eq(symlink("../secret", in_root("/outside")), 0);
    cr_assert_eq(symlink(in_root("/../secret"), in_root("/absolute")), 0);
    cr_assert_eq(symlink("outside", in_root("/outside_twice")), 0);
    cr_assert_eq(symlink("..", in_root("/parent")), 0);
    cr_assert_eq(symlink("/proc/self/root", in_root("/magic")), 0);
    cr_assert_eq(symlink("loop", in_root("/loop")), 0);
    cr_assert_eq(symlink("nothing", in_root("/dangling")), 0);
    const char *followed[] = {"/inside", "/twice", "/directory/track", "/real/up", "/directory/up"};
    for (size_t i = 0; i < sizeof(followed) / sizeof(followed[0]); i++)
        cr_assert_eq(touch(media, cache, followed[i], 1), 0, "%s", followed[i]);
    const char *refused[] = {"/outside",          "/absolute",  "/outside_twice",
                             "/parent/secret",    "/loop",      "/dangling",
                             "/magic/etc/passwd", "/directory", "/real/none"};
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        cr_assert_eq(touch(media, cache, refused[i], 1), -ENOENT, "%s", refused[i]);
    /* Revalidation follows the link to its new target. */
    cr_assert_eq(unlink(in_root("/inside")), 0);
    cr_assert_eq(symlink("../secret", in_root("/inside")), 0);
    cr_assert_eq(touch(media, cache, "/inside", 5000), -ENOENT);
    stop();
}

Test(media_path, a_file_that_becomes_a_link_is_not_served_again)
{
    start();
    write_file(in_root("/../secret"), "secret", 6);
    cr_assert_eq(touch(media, cache, "/track", 1), 0);
    cr_assert_eq(unlink(in_root("/track")), 0);
    cr_assert_eq(symlink("../secret", in_root("/track")), 0);
    cr_assert_eq(touch(media, cache, "/track", 2000), -ENOENT);
    stop();
}

Test(media_path, a_directory_on_the_way_that_becomes_a_link_is_not_followed)
{
    start();
    cr_assert_eq(mkdir(in_root("/album"), 0700), 0);
    put_file("/album/track", "music");
    cr_assert_eq(touch(media, cache, "/album/track", 1), 0);
    cr_assert_eq(rename(in_root("/album"), in_root("/moved")), 0);
    cr_assert_eq(symlink("moved", in_root("/album")), 0);
    cr_assert_eq(touch(media, cache, "/album/track", 2000), -ENOENT);
    stop();
}

Test(media_path, a_fifo_does_not_block_and_is_not_served, .timeout = 60)
{
    start();
    cr_assert_eq(mkfifo(in_root("/fifo"), 0600), 0);
    cr_assert_eq(touch(media, cache, "/fifo", 1), -ENOENT);
    stop();
}

Test(media_path, directories_and_sockets_are_not_served)
{
    start();
    cr_assert_eq(mkdir(in_root("/d"), 0700), 0);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    cr_assert_lt(snprintf(address.sun_path, sizeof(address.sun_path), "%s", in_root("/socket")),
                 (int)sizeof(address.sun_path));
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    cr_assert_eq(touch(media, cache, "/d", 1), -ENOENT);
    cr_assert_eq(touch(media, cache, "/socket", 1), -ENOENT);
    cr_assert_eq(touch(media, cache, "/track/below-a-file", 1), -ENOENT);
    close(fd);
    stop();
}

Test(media_path, a_path_of_the_greatest_length_is_served_and_a_longer_one_is_not)
{
    start();
    char path[MEDIA_PATH_MAX + 2] = "";
    /* In segments of 200 bytes, because file systems take no more than 255. */
    while (strlen(path) + 201 < MEDIA_PATH_MAX) {
        size_t length = strlen(path);
        path[length] = '/';
        memset(path + length + 1, 'd', 200);
        cr_assert_eq(mkdir(in_root(path), 0700), 0, "%s", strerrordesc_np(errno));
    }
    size_t length = strlen(path);
    path[length] = '/';
    memset(path + length + 1, 'f', MEDIA_PATH_MAX - length - 1);
    cr_assert_eq(strlen(path), MEDIA_PATH_MAX);
    put_file(path, "deep");
    struct media_file *file = must_fetch(media, cache, path, 1);
    cr_assert_str_eq(file->path, path);
    media_file_drop(cache, &file);

    path[MEDIA_PATH_MAX] = 'f';
    put_file(path, "deeper");
    cr_assert_eq(touch(media, cache, path, 1), -ENOENT);
    stop();
}

Test(media_path, a_name_with_a_nul_is_not_the_name_before_it)
{
    start();
    struct media_file *file = NULL;
    cr_assert_eq(media_cache_get(cache, "/track\0x", 8, 1, &file), -ENOENT);
    cr_assert_null(file);
    stop();
}

Test(media_path, dots_within_names_are_servable_and_hidden_files_are_not)
{
    const char *good[] = {"/a", "/a.", "/a..b", "/a../b..", "/a.d/b.mp3"};
    const char *bad[] = {"",     "/",        "a",          "/a/",          "/a//b",
                         "/.",   "/..",      "/a/./b",     "/a/../b",      "/a/..",
                         "/...", "/.hidden", "/a/.hidden", "/.git/config", "/..a/b"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        cr_assert(path_is_servable(good[i], strlen(good[i])), "%s", good[i]);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_not(path_is_servable(bad[i], strlen(bad[i])), "%s", bad[i]);
}

Test(media_path, a_root_that_is_no_directory_is_refused_by_name)
{
    put_file("/track", "music");
    const char *roots[] = {in_root("/track"), in_root("/absent")};
    for (size_t i = 0; i < 2; i++) {
        struct media_options options = {
            .root = roots[i], .hash_queue_max = 1, .hash_first_max = 1, .hash_entries_max = 1};
        char error[512] = "";
        struct media *none = NULL;
        cr_assert_eq(media_open(&none, &options, error, sizeof(error)),
                     i == 0 ? -ENOTDIR : -ENOENT);
        cr_assert_null(none);
        cr_assert_not_null(strstr(error, roots[i]), "%s", error);
    }
}
