/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several ranges in one request (RFC 9110 14.2, 14.6): the parts of the body, to the byte, and one
 * bill for all of them.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/harness.h"
#include "tests/integration/semantics_steps.h"

/* Expects a part with these bytes of the file at `at`; returns what follows the part. */
static const char *expect_part(struct site *site, const char *at, const char *boundary,
                               size_t first, size_t last)
{
    size_t size = 0;
    const unsigned char *bytes = site_media_bytes(site, TRACK_TINY, &size);
    const char *head = site_format(
        site, "\r\n--%s\r\nContent-Type: audio/mpeg\r\nContent-Range: bytes %zu-%zu/%zu\r\n\r\n",
        boundary, first, last, size);
    cr_assert_eq(strncmp(at, head, strlen(head)), 0, "%.200s", at);
    at += strlen(head);
    cr_assert_eq(memcmp(at, bytes + first, last - first + 1), 0);
    return at + (last - first + 1);
}

Test(semantics, of_several_ranges_are_one_body_and_one_bill)
{
    struct site *site = semantics_site();
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    const struct answer *answer = fetch(site, link, .range = "2000-2099,0-9,-1");
    cr_assert_eq(answer->status, 206);
    cr_assert(answer->complete);
    cr_assert_null(answer_header(site, answer, "Content-Range"));
    const char *type = answer_header(site, answer, "Content-Type");
    const char *boundary = type != NULL ? strstr(type, "boundary=") : NULL;
    cr_assert(boundary != NULL && strncmp(type, "multipart/byteranges;", 21) == 0, "%s", type);
    boundary += strlen("boundary=");
    const char *at = (const char *)answer->body;
    at = expect_part(site, at, boundary, 2000, 2099);
    at = expect_part(site, at, boundary, 0, 9);
    at = expect_part(site, at, boundary, 2250, 2250);
    const char *end = site_format(site, "\r\n--%s--\r\n", boundary);
    cr_assert_eq((size_t)(at - (const char *)answer->body) + strlen(end), answer->body_length);
    cr_assert_eq(memcmp(at, end, strlen(end)), 0);
    /* The connection must still be in step behind the body. */
    answer_expect_file(site, fetch(site, link), TRACK_TINY);
    site_usage_await(site, "alice", 111 + 2251);
    cr_assert_eq(site_usage(site, "alice").responses, 2);
    site_destroy(&site);
}

/* A zsync that has every other block asks so. There are more parts than a connection has marks
 * for TLS. */
Test(semantics, of_64_ranges_that_ascend_are_one_body_and_one_bill)
{
    struct site *site = site_create(.tls = true);
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    const char *range = "0-9";
    for (unsigned i = 1; i < 64; i++)
        range = site_format(site, "%s,%u-%u", range, i * 35, i * 35 + 9 + i % 7);
    for (unsigned tls = 0; tls < 2; tls++) {
        const struct answer *answer = fetch(site, link, .range = range, .tls = tls == 1);
        cr_assert_eq(answer->status, 206);
        cr_assert(answer->complete);
        const char *type = answer_header(site, answer, "Content-Type");
        const char *boundary = type != NULL ? strstr(type, "boundary=") : NULL;
        cr_assert(boundary, "%s", type);
        boundary += strlen("boundary=");
        const char *at = (const char *)answer->body;
        at = expect_part(site, at, boundary, 0, 9);
        for (unsigned i = 1; i < 64; i++)
            at = expect_part(site, at, boundary, (size_t)i * 35, (size_t)i * 35 + 9 + i % 7);
        const char *end = site_format(site, "\r\n--%s--\r\n", boundary);
        cr_assert_eq((size_t)(at - (const char *)answer->body) + strlen(end), answer->body_length);
        /* The connection must still be in step behind the body. */
        answer_expect_file(site, fetch(site, link, .tls = tls == 1), TRACK_TINY);
    }
    /* With a 65th range the whole file is served. */
    const struct answer *whole = fetch(site, link, .range = site_format(site, "%s,2250-", range));
    cr_assert_eq(whole->status, 200);
    answer_expect_file(site, whole, TRACK_TINY);
    uint64_t parts = 0;
    for (unsigned i = 0; i < 64; i++)
        parts += 10 + i % 7;
    site_usage_await(site, "alice", 2 * parts + 3 * (uint64_t)2251);
    cr_assert_eq(site_usage(site, "alice").responses, 5);
    site_destroy(&site);
}

Test(semantics, of_several_large_ranges_go_to_a_slow_reader)
{
    struct site *site = semantics_site();
    size_t size = 0;
    const unsigned char *bytes = site_media_bytes(site, TRACK_LONG, &size);
    const char *link = site_link(site, .account = "alice", .path = TRACK_LONG);
    int fd = raw_connect(site, 4096);
    raw_print(fd, "GET %s HTTP/1.1\r\nHost: a\r\nRange: bytes=1000000-2999999,10-999998\r\n\r\n",
              link);
    const struct answer *head = raw_answer_head(site, fd);
    cr_assert_eq(head->status, 206);
    size_t length = answer_header_number(site, head, "Content-Length"), have = 0;
    cr_assert_lt(length, size);
    unsigned char *body = malloc(length);
    while (have < length) {
        size_t got = raw_read(fd, body + have, length - have < 65536 ? length - have : 65536);
        cr_assert(got > 0, "ended after %zu of %zu", have, length);
        have += got;
    }
    const unsigned char *first = memmem(body, 400, "\r\n\r\n", 4);
    cr_assert(first);
    cr_assert_eq(memcmp(first + 4, bytes + 1000000, 2000000), 0);
    const unsigned char *second = memmem(first + 4 + 2000000, 400, "\r\n\r\n", 4);
    cr_assert(second != NULL && memcmp(second + 4, bytes + 10, 999989) == 0);
    free(body);
    close(fd);
    site_usage_await(site, "alice", 2000000 + 999989);
    site_destroy(&site);
}

Test(semantics, of_several_ranges_want_the_whole_sum_paid)
{
    struct site *site = semantics_site();
    site_account_open_prepaid(site, "bob", 150);
    const char *link = site_link(site, .account = "bob", .path = TRACK_TINY);
    answer_expect_refusal(site, fetch(site, link, .range = "0-99,200-299"), 402,
                          "balance_insufficient");
    cr_assert_eq(fetch(site, link, .range = "0-99,200-249")->status, 206);
    site_usage_await(site, "bob", 150);
    site_destroy(&site);
}
