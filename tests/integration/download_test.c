/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a listener's client asks for and what is billed for it: whole files, ranges, conditional
 * requests, kept connections and pipelined requests. Every test ends by comparing the bill with the
 * bytes that came.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "tests/integration/harness.h"

/* A site with a postpaid account "alice", for tests that are not about money. */
static struct site *site_with_alice(void)
{
    struct site *site = site_create();
    site_account_open_postpaid(site, "alice");
    return site;
}

static size_t size_of(struct site *site, const char *path)
{
    size_t length;
    site_media_bytes(site, path, &length);
    return length;
}

/* The entity tag that the file must have: its XXH3-128 in hexadecimal, quoted. */
static const char *etag_of(struct site *site, const char *path)
{
    size_t length;
    const unsigned char *bytes = site_media_bytes(site, path, &length);
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes, length));
    char hex[33];
    for (size_t i = 0; i < 16; i++)
        snprintf(hex + 2 * i, 3, "%02x", canonical.digest[i]);
    return site_format(site, "\"%s\"", hex);
}

/* Waits until the file is hashed; returns the entity tag of the answer. */
static const char *await_etag(struct site *site, const char *link)
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    for (;;) {
        const struct answer *answer = fetch(site, link, .method = "HEAD");
        cr_assert_eq(answer->status, 200);
        const char *etag = answer_header(site, answer, "ETag");
        if (etag != NULL)
            return etag;
        cr_assert(harness_now_ms() < deadline_ms, "the file is not hashed");
        harness_pause();
    }
}

Test(download, of_a_whole_file_bills_exactly_its_bytes)
{
    static const char *const tracks[] = {TRACK_TINY, TRACK_VBR, TRACK_SHORT, TRACK_LONG};
    struct site *site = site_with_alice();
    uint64_t total = 0;
    for (size_t i = 0; i < sizeof(tracks) / sizeof(tracks[0]); i++) {
        const char *link = site_link(site, .account = "alice", .path = tracks[i]);
        answer_expect_file(site, fetch(site, link), tracks[i]);
        total += size_of(site, tracks[i]);
        site_usage_await(site, "alice", total);
    }
    cr_assert_eq(site_usage(site, "alice").responses, 4);
    site_destroy(&site);
}

Test(download, carries_the_headers_that_players_need)
{
    struct site *site = site_with_alice();
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    const struct answer *answer = fetch(site, link);
    answer_expect_file(site, answer, TRACK_TINY);
    cr_assert_str_eq(answer_header(site, answer, "Content-Type"), "audio/mpeg");
    cr_assert_str_eq(answer_header(site, answer, "Accept-Ranges"), "bytes");
    cr_assert(answer_header(site, answer, "Date"));
    cr_assert(answer_header(site, answer, "Last-Modified"));
    site_destroy(&site);
}

Test(download, of_a_range_sends_and_bills_those_bytes_alone)
{
    struct site *site = site_with_alice();
    const char *link = site_link(site, .account = "alice", .path = TRACK_SHORT);
    size_t size = size_of(site, TRACK_SHORT);
    const struct answer *answer = fetch(site, link, .range = "1000-50999");
    cr_assert_eq(answer->status, 206);
    answer_expect_bytes(site, answer, TRACK_SHORT, 1000, 50000);
    cr_assert_str_eq(answer_header(site, answer, "Content-Range"),
                     site_format(site, "bytes 1000-50999/%zu", size));
    site_usage_await(site, "alice", 50000);
    site_destroy(&site);
}

Test(download, takes_suffix_and_open_ended_ranges)
{
    struct site *site = site_with_alice();
    const char *link = site_link(site, .account = "alice", .path = TRACK_SHORT);
    size_t size = size_of(site, TRACK_SHORT);
    const struct answer *answer = fetch(site, link, .range = "-777");
    cr_assert_eq(answer->status, 206);
    answer_expect_bytes(site, answer, TRACK_SHORT, size - 777, 777);
    cr_assert_str_eq(answer_header(site, answer, "Content-Range"),
                     site_format(site, "bytes %zu-%zu/%zu", size - 777, size - 1, size));

    answer = fetch(site, link, .range = site_format(site, "%zu-", size - 4321));
    cr_assert_eq(answer->status, 206);
    answer_expect_bytes(site, answer, TRACK_SHORT, size - 4321, 4321);

    /* RFC 9110 14.1.2: a last position past the end means the end, and a suffix longer than the
     * file means all of it. */
    answer = fetch(site, link, .range = site_format(site, "%zu-99999999999", size - 10));
    cr_assert_eq(answer->status, 206);
    answer_expect_bytes(site, answer, TRACK_SHORT, size - 10, 10);
    answer = fetch(site, link, .range = "-99999999999");
    cr_assert_eq(answer->status, 206);
    answer_expect_bytes(site, answer, TRACK_SHORT, 0, size);
    site_usage_await(site, "alice", 777 + 4321 + 10 + size);
    site_destroy(&site);
}

Test(download, answers_416_behind_the_end_and_bills_nothing)
{
    struct site *site = site_with_alice();
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    size_t size = size_of(site, TRACK_TINY);
    const struct answer *answer = fetch(site, link, .range = site_format(site, "%zu-", size));
    answer_expect_refusal(site, answer, 416, "range_not_satisfiable");
    cr_assert_str_eq(answer_header(site, answer, "Content-Range"),
                     site_format(site, "bytes */%zu", size));
    answer_expect_refusal(site, fetch(site, link, .range = "-0"), 416, "range_not_satisfiable");
    cr_assert_eq(site_usage_settled(site, "alice"), 0);
    site_destroy(&site);
}

Test(download, ignores_a_range_that_cannot_be_read)
{
    struct site *site = site_with_alice();
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    answer_expect_file(site, fetch(site, link, .headers = HEADERS("Range: lines=1-2")), TRACK_TINY);
    answer_expect_file(site, fetch(site, link, .headers = HEADERS("Range: bytes=9-3")), TRACK_TINY);
    site_usage_await(site, "alice", 2 * size_of(site, TRACK_TINY));
    site_destroy(&site);
}

/* `head` without its Date line, which may change between two requests. */
static const char *without_date(struct site *site, const char *head)
{
    const char *date = strstr(head, "\r\nDate:");
    cr_assert(date, "no Date in: %s", head);
    const char *rest = strstr(date + 2, "\r\n");
    return site_format(site, "%.*s%s", (int)(date - head), head, rest);
}

Test(download, by_HEAD_has_the_headers_of_GET_and_bills_nothing)
{
    struct site *site = site_with_alice();
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    await_etag(site, link);
    const struct answer *head = fetch(site, link, .method = "HEAD");
    const struct answer *get = fetch(site, link);
    cr_assert_eq(head->status, 200);
    cr_assert_eq(head->body_length, 0);
    answer_expect_file(site, get, TRACK_TINY);
    cr_assert_str_eq(without_date(site, head->head), without_date(site, get->head));
    fetch(site, link, .method = "HEAD");
    cr_assert_eq(site_usage_settled(site, "alice"), size_of(site, TRACK_TINY));
    site_destroy(&site);
}

Test(download, reuses_a_connection)
{
    struct site *site = site_with_alice();
    const char *link = site_link(site, .account = "alice", .path = TRACK_VBR);
    for (int i = 0; i < 5; i++) {
        const struct answer *answer = fetch(site, link);
        answer_expect_file(site, answer, TRACK_VBR);
        cr_assert_eq(answer->reused, i > 0, "request %d", i);
    }
    site_usage_await(site, "alice", 5 * size_of(site, TRACK_VBR));
    site_destroy(&site);
}

Test(download, answers_pipelined_requests_in_order_and_bills_each)
{
    struct site *site = site_with_alice();
    const char *tiny = site_link(site, .account = "alice", .path = TRACK_TINY);
    const char *large = site_link(site, .account = "alice", .path = TRACK_VBR);
    const char *text = "";
    for (int i = 0; i < 10; i++)
        text = site_format(site, "%sGET %s HTTP/1.1\r\nHost: a\r\nRange: bytes=%d-%d\r\n\r\n", text,
                           i % 2 ? large : tiny, i * 10, i * 10 + 1499);
    int fd = raw_connect(site, 0);
    raw_send(fd, text, strlen(text));
    for (int i = 0; i < 10; i++) {
        const struct answer *answer = raw_answer(site, fd, false);
        cr_assert_eq(answer->status, 206, "answer %d has %u", i, answer->status);
        answer_expect_bytes(site, answer, i % 2 ? TRACK_VBR : TRACK_TINY, (size_t)i * 10, 1500);
    }
    site_usage_await(site, "alice", 15000);
    cr_assert_eq(site_usage(site, "alice").responses, 10);
    close(fd);
    site_destroy(&site);
}

Test(download, takes_a_request_in_pieces)
{
    struct site *site = site_with_alice();
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    const char *text = site_format(site, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", link);
    int fd = raw_connect(site, 0);
    for (size_t i = 0; text[i]; i++)
        raw_send(fd, text + i, 1);
    answer_expect_file(site, raw_answer(site, fd, false), TRACK_TINY);
    close(fd);
    site_destroy(&site);
}

Test(download, has_the_content_hash_as_entity_tag)
{
    struct site *site = site_with_alice();
    static const char *const tracks[] = {TRACK_TINY, TRACK_VBR, TRACK_LONG};
    for (size_t i = 0; i < sizeof(tracks) / sizeof(tracks[0]); i++) {
        const char *link = site_link(site, .account = "alice", .path = tracks[i]);
        cr_assert_str_eq(await_etag(site, link), etag_of(site, tracks[i]));
    }
    site_destroy(&site);
}

Test(download, that_is_not_modified_is_answered_304_and_not_billed)
{
    struct site *site = site_create(.own_media = true);
    site_account_open_postpaid(site, "alice");
    site_media_add(site, TRACK_TINY, TRACK_TINY, 1);
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    const char *etag = await_etag(site, link);
    const char *none_match = site_format(site, "If-None-Match: \"other\", %s", etag);
    const struct answer *answer = fetch(site, link, .headers = HEADERS(none_match));
    cr_assert_eq(answer->status, 304);
    cr_assert_eq(answer->body_length, 0);
    cr_assert_str_eq(answer_header(site, answer, "ETag"), etag);

    const char *modified =
        answer_header(site, fetch(site, link, .method = "HEAD"), "Last-Modified");
    const char *since = site_format(site, "If-Modified-Since: %s", modified);
    cr_assert_eq(fetch(site, link, .headers = HEADERS(since))->status, 304);
    cr_assert_eq(site_usage_settled(site, "alice"), 0);
    site_destroy(&site);
}

Test(download, resumes_by_If_Range_only_where_the_file_is_the_same)
{
    struct site *site = site_with_alice();
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    const char *same = site_format(site, "If-Range: %s", await_etag(site, link));
    const struct answer *answer = fetch(site, link, .range = "100-", .headers = HEADERS(same));
    cr_assert_eq(answer->status, 206);
    answer_expect_bytes(site, answer, TRACK_TINY, 100, size_of(site, TRACK_TINY) - 100);
    /* RFC 9110 13.1.5: if the validator does not match, Range is ignored. */
    answer = fetch(site, link, .range = "100-", .headers = HEADERS("If-Range: \"other\""));
    answer_expect_file(site, answer, TRACK_TINY);
    site_destroy(&site);
}

/* Adds a new file while the hasher is busy with one that it will not finish. *etag gets the tag
 * that the new file must have. */
static const char *add_new(struct site *site, const char *path, const char **etag)
{
    site_media_add(site, path, TRACK_TINY, 1);
    *etag = etag_of(site, path);
    return site_link(site, .account = "alice", .path = path);
}

static struct site *site_with_endless_file(const char *settings)
{
    struct site *site = site_create(.own_media = true, .settings = settings);
    site_account_open_postpaid(site, "alice");
    FILE *file = fopen(site_media_path(site, "/endless.mp3"), "we");
    cr_assert(file != NULL && ftruncate(fileno(file), (off_t)1 << 40) == 0);
    cr_assert_eq(fclose(file), 0);
    const char *link = site_link(site, .account = "alice", .path = "/endless.mp3");
    cr_assert_eq(fetch(site, link, .method = "HEAD")->status, 200);
    return site;
}

Test(download, by_an_entity_tag_waits_for_the_hash_of_its_file)
{
    struct site *site = site_with_endless_file("hash_wait_ms: 60000\n");
    const char *etag, *link = add_new(site, "/one.mp3", &etag);
    const struct answer *answer =
        fetch(site, link, .headers = HEADERS(site_format(site, "If-None-Match: %s", etag)));
    cr_assert_eq(answer->status, 304);
    cr_assert_str_eq(answer_header(site, answer, "ETag"), etag);
    link = add_new(site, "/two.mp3", &etag);
    answer = fetch(site, link, .range = "100-",
                   .headers = HEADERS(site_format(site, "If-Range: %s", etag)));
    cr_assert_eq(answer->status, 206);
    uint64_t billed = answer->body_length;
    link = add_new(site, "/three.mp3", &etag);
    answer = fetch(site, link, .headers = HEADERS(site_format(site, "If-Match: %s", etag)));
    answer_expect_file(site, answer, "/three.mp3");
    billed += answer->body_length;
    link = add_new(site, "/four.mp3", &etag);
    answer = fetch(site, link, .headers = HEADERS("If-Match: \"other\""));
    answer_expect_refusal(site, answer, 412, "precondition_failed");
    site_usage_await(site, "alice", billed);
    site_destroy(&site);
}

Test(download, by_an_entity_tag_does_not_wait_longer_than_hash_wait_ms)
{
    struct site *site = site_with_endless_file("hash_wait_ms: 200\n");
    const char *link = site_link(site, .account = "alice", .path = "/endless.mp3");
    const char *tag = "\"0123456789abcdef0123456789abcdef\"";
    const struct answer *answer = fetch(site, link, .range = "0-9",
                                        .headers = HEADERS(site_format(site, "If-Match: %s", tag)));
    answer_expect_refusal(site, answer, 503, "file_not_hashed");
    cr_assert(answer_header(site, answer, "Retry-After"));
    answer = fetch(site, link, .method = "HEAD",
                   .headers = HEADERS(site_format(site, "If-None-Match: %s", tag)));
    cr_assert_eq(answer->status, 200);
    cr_assert_null(answer_header(site, answer, "ETag"));
    cr_assert_eq(
        fetch(site, link, .method = "HEAD", .headers = HEADERS("If-None-Match: *"))->status, 304);
    cr_assert_eq(fetch(site, link, .range = "0-9", .headers = HEADERS("If-Match: *"))->status, 206);
    site_usage_await(site, "alice", 10);

    /* Requests pipelined behind one that waits are answered in order. */
    int fd = raw_connect(site, 0);
    raw_print(fd,
              "HEAD %s HTTP/1.1\r\nHost: media.example\r\nIf-None-Match: %s\r\n\r\n"
              "HEAD %s HTTP/1.1\r\nHost: media.example\r\nIf-Match: %s\r\n\r\n",
              link, tag, link, tag);
    cr_assert_eq(raw_answer(site, fd, true)->status, 200);
    cr_assert_eq(raw_answer(site, fd, true)->status, 503);
    /* A client leaves while its request waits. */
    raw_print(fd, "HEAD %s HTTP/1.1\r\nHost: media.example\r\nIf-Match: %s\r\n\r\n", link, tag);
    raw_reset(fd);
    cr_assert_eq(fetch(site, link, .method = "HEAD")->status, 200);
    site_destroy(&site);
}

Test(download, fails_its_precondition_by_412)
{
    struct site *site = site_with_alice();
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    await_etag(site, link);
    cr_assert_eq(fetch(site, link, .headers = HEADERS("If-Match: \"other\""))->status, 412);
    cr_assert_eq(site_usage_settled(site, "alice"), 0);
    site_destroy(&site);
}

Test(download, runs_in_parallel_on_many_connections)
{
    enum { COUNT = 24 };
    struct site *site = site_with_alice();
    const char *links[COUNT], *tracks[COUNT];
    struct fetch_options options[COUNT] = {{0}};
    const struct answer *answers[COUNT];
    uint64_t total = 0;
    for (size_t i = 0; i < COUNT; i++) {
        tracks[i] = i % 3 == 0 ? TRACK_TINY : i % 3 == 1 ? TRACK_VBR : TRACK_SHORT;
        links[i] = site_link(site, .account = "alice", .path = tracks[i]);
        total += size_of(site, tracks[i]);
    }
    fetch_parallel(site, links, options, COUNT, answers);
    for (size_t i = 0; i < COUNT; i++)
        answer_expect_file(site, answers[i], tracks[i]);
    site_usage_await(site, "alice", total);
    cr_assert_eq(site_usage(site, "alice").responses, COUNT);
    site_destroy(&site);
}

Test(download, serves_the_new_bytes_after_a_file_was_replaced)
{
    struct site *site = site_create(.own_media = true, .settings = "revalidate_ms: 20\n");
    site_account_open_postpaid(site, "alice");
    site_media_add(site, "/a.mp3", TRACK_TINY, 1);
    const char *link = site_link(site, .account = "alice", .path = "/a.mp3");
    answer_expect_file(site, fetch(site, link), "/a.mp3");
    const char *old_etag = await_etag(site, link);
    site_media_add(site, "/b.mp3", TRACK_VBR, 1);
    const char *from = site_media_path(site, "/b.mp3"), *to = site_media_path(site, "/a.mp3");
    cr_assert_eq(rename(from, to), 0);
    size_t size = size_of(site, "/a.mp3");
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    const struct answer *answer = fetch(site, link, .method = "HEAD");
    while (answer_header_number(site, answer, "Content-Length") != size) {
        cr_assert(harness_now_ms() < deadline_ms, "the old file is served for ever");
        harness_pause();
        answer = fetch(site, link, .method = "HEAD");
    }
    answer_expect_file(site, fetch(site, link), "/a.mp3");
    const char *etag = await_etag(site, link);
    cr_assert_str_neq(etag, old_etag);
    cr_assert_str_eq(etag, etag_of(site, "/a.mp3"));
    site_destroy(&site);
}
