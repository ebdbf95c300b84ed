/* SPDX-License-Identifier: Apache-2.0 */
/* `tollgate media show` and `scan`, symbolic links, and a file's date as its validator. */
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/integration/harness.h"

Test(media_show, tells_duration_bitrate_and_the_tag_that_clients_see)
{
    static const struct {
        const char *path;
        int duration_ms, least, most; /* least, most: kbit/s, as docker/catalogue.sh encodes */
    } tracks[] = {
        {TRACK_TINY, 235, 64, 64}, /* nine frames */
        {TRACK_VBR, 30040, 40, 200},
        {TRACK_SHORT, 40045, 192, 192},
        {TRACK_LONG, 125048, 320, 320},
    };
    struct site *site = site_create(.settings = "workers: 1\n");
    site_account_open_postpaid(site, "alice");
    for (size_t i = 0; i < sizeof(tracks) / sizeof(*tracks); i++) {
        struct command_result shown =
            site_tollgate(site, "media", "show", "--json", tracks[i].path);
        cr_assert_eq(shown.exit_code, 0, "%s", shown.errors);
        json_t *list = json_loads(shown.output, 0, NULL);
        const json_t *facts = json_array_get(list, 0);
        cr_assert_str_eq(json_string_value(json_object_get(facts, "path")), tracks[i].path);
        cr_assert_eq(json_integer_value(json_object_get(facts, "duration_ms")),
                     tracks[i].duration_ms, "%s", shown.output);
        json_int_t bitrate = json_integer_value(json_object_get(facts, "bitrate_bits_per_s"));
        cr_assert(bitrate >= tracks[i].least * 1000 && bitrate <= tracks[i].most * 1000, "%s",
                  shown.output);
        const char *link = site_link(site, .account = "alice", .path = tracks[i].path);
        const char *etag = json_string_value(json_object_get(facts, "etag"));
        uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
        for (const char *sent = NULL; sent == NULL || strcmp(sent, etag) != 0;) {
            cr_assert_lt(harness_now_ms(), deadline_ms);
            sent = answer_header(site, fetch(site, link, .method = "HEAD"), "ETag");
            harness_pause();
        }
        json_decref(list);
    }
    site_destroy(&site);
}

Test(media_show, names_what_is_not_there_and_shows_the_rest)
{
    struct site *site = site_create(.stays_down = true);
    struct command_result shown =
        site_tollgate(site, "media", "show", "/none.mp3", "none", TRACK_TINY);
    cr_assert_eq(shown.exit_code, 66);
    cr_assert_not_null(strstr(shown.errors, "/none.mp3: there is no such file"), "%s",
                       shown.errors);
    cr_assert_not_null(
        strstr(shown.errors, "none: a path begins with /, as in a link; write /none"), "%s",
        shown.errors);
    cr_assert_not_null(strstr(shown.output, "duration  0:00:00.235"), "%s", shown.output);
    site_destroy(&site);
}

/* As before an upgrade: while the older node runs, the newer program cannot keep its hashes. */
Test(media_scan, says_where_its_hashes_are_not_kept)
{
    struct site *site = site_create(.own_media = true, .stays_down = true);
    site_media_add(site, "/one.mp3", TRACK_TINY, 1);
    cr_assert_eq(site_tollgate(site, "media", "scan").exit_code, 0);
    int fd = open(site_format(site, "%s/hashes", site_state_dir(site)), O_RDWR | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    cr_assert_eq(pwrite(fd, "\1", 1, 8), 1); /* an older version of the store */
    cr_assert_eq(flock(fd, LOCK_SH), 0);     /* and in use */
    struct command_result scan = site_tollgate(site, "media", "scan");
    cr_assert_eq(scan.exit_code, 74, "%d: %s", scan.exit_code, scan.errors);
    cr_assert_not_null(strstr(scan.errors, "a node of another version holds them"), "%s",
                       scan.errors);
    scan = site_tollgate(site, "media", "scan", "--json");
    cr_assert_eq(scan.exit_code, 74, "%d: %s", scan.exit_code, scan.errors);
    cr_assert_str_eq(scan.output, "", "an answer came beside the error: %s", scan.output);
    json_t *error = json_loads(scan.errors, 0, NULL);
    cr_assert_eq(json_integer_value(json_object_get(json_object_get(error, "error"), "exit_code")),
                 74, "%s", scan.errors);
    json_decref(error);
    close(fd);
    scan = site_tollgate(site, "media", "scan");
    cr_assert_eq(scan.exit_code, 0, "%s", scan.errors);
    cr_assert_not_null(strstr(scan.output, "1 hashed, "), "%s", scan.output);
    cr_assert_not_null(strstr(site_tollgate(site, "media", "scan").output, "0 hashed, "));
    site_destroy(&site);
}

/* By default a link is not served, and the scan reports it. With follow_links it is the file to
 * which it leads. */
Test(media, follows_symbolic_links_within_the_root_where_it_is_told_to)
{
    for (unsigned on = 0; on < 2; on++) {
        struct site *site =
            site_create(.own_media = true, .settings = on ? "follow_links: on\n" : "");
        site_account_open_postpaid(site, "alice");
        site_media_add(site, "/real/one.mp3", TRACK_TINY, 1);
        cr_assert_eq(symlink("real", site_media_path(site, "/by")), 0);
        cr_assert_eq(symlink("/etc", site_media_path(site, "/etc")), 0);
        const struct answer *answer =
            fetch(site, site_link(site, .account = "alice", .path = "/by/one.mp3",
                                  .container = "prefix:/by/"));
        if (on)
            answer_expect_file(site, answer, "/real/one.mp3");
        else
            answer_expect_refusal(site, answer, 404, "file_not_found");
        answer_expect_refusal(
            site, fetch(site, site_link(site, .account = "alice", .path = "/etc/passwd")), 404,
            "file_not_found");
        struct command_result scan = site_tollgate(site, "media", "scan");
        cr_assert_eq(scan.exit_code, 0, "%s", scan.errors);
        cr_assert(strstr(scan.errors, "/etc: a symbolic link, skipped"), "%s", scan.errors);
        cr_assert_eq(strstr(scan.errors, "/by: a symbolic link, skipped") == NULL, on == 1);
        site_destroy(&site);
    }
}

static void set_time(struct site *site, const char *path, int64_t seconds)
{
    const struct timespec times[2] = {{.tv_sec = seconds}, {.tv_sec = seconds}};
    cr_assert_eq(utimensat(AT_FDCWD, site_media_path(site, path), times, 0), 0);
}

/* RFC 9110 8.8.2.2. cp -p, rsync -t and reproducible images replace a file in this way. */
Test(media, that_takes_the_place_of_another_under_its_date_is_not_taken_for_it)
{
    struct site *site = site_create(.own_media = true, .settings = "workers: 1\n");
    site_account_open_postpaid(site, "alice");
    site_media_add(site, "/one.mp3", TRACK_TINY, 8);
    site_media_add(site, "/two.mp3", TRACK_TINY, 9);
    set_time(site, "/one.mp3", 1000000000);
    set_time(site, "/two.mp3", 1000000000);
    const char *link = site_link(site, .account = "alice", .path = "/one.mp3");
    const struct answer *answer = fetch(site, link, .range = "0-99");
    cr_assert_eq(answer->status, 206);
    const char *date = answer_header(site, answer, "Last-Modified");
    /* Once the file has been there for two seconds, its own date is told. */
    while (strcmp(date, "Sun, 09 Sep 2001 01:46:40 GMT") == 0) {
        harness_pause();
        date = answer_header(site, fetch(site, link, .method = "HEAD"), "Last-Modified");
    }
    answer = fetch(site, link, .range = "100-",
                   .headers = HEADERS(site_format(site, "If-Range: %s", date)));
    cr_assert_eq(answer->status, 206);
    answer =
        fetch(site, link, .headers = HEADERS(site_format(site, "If-Modified-Since: %s", date)));
    cr_assert_eq(answer->status, 304);
    answer = fetch(site, link, .range = "100-",
                   .headers = HEADERS(site_format(site, "If-Unmodified-Since: %s", date)));
    cr_assert_eq(answer->status, 206);
    cr_assert_eq(rename(site_media_path(site, "/two.mp3"), site_media_path(site, "/one.mp3")), 0);
    /* Before and after the new file is hashed. */
    size_t size;
    site_media_bytes(site, "/one.mp3", &size);
    for (uint64_t length = 0; length != size; harness_pause())
        length = (uint64_t)strtoull(
            answer_header(site, fetch(site, link, .method = "HEAD"), "Content-Length"), NULL, 10);
    const char *if_range = site_format(site, "If-Range: %s", date);
    const char *modified = site_format(site, "If-Modified-Since: %s", date);
    const char *unmodified = site_format(site, "If-Unmodified-Since: %s", date);
    for (unsigned hashed = 0; hashed < 2; hashed++) {
        answer = fetch(site, link, .range = "100-", .headers = HEADERS(if_range));
        answer_expect_file(site, answer, "/one.mp3");
        answer_expect_file(site, fetch(site, link, .headers = HEADERS(modified)), "/one.mp3");
        answer = fetch(site, link, .range = "100-", .headers = HEADERS(unmodified));
        answer_expect_refusal(site, answer, 412, "precondition_failed");
        for (const char *etag = NULL; etag == NULL; harness_pause())
            etag = answer_header(site, fetch(site, link, .method = "HEAD"), "ETag");
    }
    site_destroy(&site);
}

Test(media, is_dated_neither_later_than_its_answer_nor_before_1970)
{
    struct site *site = site_create(.own_media = true);
    site_account_open_postpaid(site, "alice");
    site_media_add(site, "/ahead.mp3", TRACK_TINY, 1);
    site_media_add(site, "/old.mp3", TRACK_TINY, 1);
    set_time(site, "/ahead.mp3", 4102444800); /* 2100 */
    set_time(site, "/old.mp3", -86400);
    const struct answer *answer =
        fetch(site, site_link(site, .account = "alice", .path = "/ahead.mp3"));
    answer_expect_file(site, answer, "/ahead.mp3");
    const char *date = answer_header(site, answer, "Date");
    cr_assert_str_eq(answer_header(site, answer, "Last-Modified"), date);
    answer = fetch(site, site_link(site, .account = "alice", .path = "/ahead.mp3"),
                   .headers = HEADERS(site_format(site, "If-Modified-Since: %s", date)));
    cr_assert_eq(answer->status, 200);
    answer = fetch(site, site_link(site, .account = "alice", .path = "/old.mp3"));
    answer_expect_file(site, answer, "/old.mp3");
    const char *told = answer_header(site, answer, "Last-Modified");
    cr_assert(told == NULL || strstr(told, " 20") != NULL, "%s", told);
    site_destroy(&site);
}
