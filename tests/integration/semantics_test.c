/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RFC 9110 from outside: a table of requests and the answers that its sections ask for, then tests
 * that need more than a row. All rows are sent to one node, by a bare socket.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/harness.h"

#define SHOP_PAGE "https://shop.example"

/* {etag}, {modified}, {older}, {newer} and {size} stand for values of the served file. */
struct row {
    const char *section, *what;
    const char *method; /* NULL: GET */
    const char *fields; /* whole lines */
    unsigned status;
    const char *header; /* "Name: value" that the answer has, or "!Name" that it lacks */
    long first, length; /* the body's place in the file; length -1: no body; 0: not checked */
};

static const struct row rows[] = {
    {"9.3.2", "HEAD is GET without content", "HEAD", "", 200, "Content-Length: {size}", 0, -1},
    {"9.3.7", "OPTIONS names the methods", "OPTIONS", "", 204, "Allow: GET, HEAD, OPTIONS", 0, -1},
    {"15.5.6", "405 names them too", "DELETE", "", 405, "Allow: GET, HEAD, OPTIONS", 0, 0},
    {"15.6.2", "an unknown method", "BREW", "", 501, "Content-Type: application/problem+json", 0,
     0},
    {"8.3", "audio is named", NULL, "", 200, "Content-Type: audio/mpeg", 0, 0},
    {"14.3", "ranges are offered", NULL, "", 200, "Accept-Ranges: bytes", 0, 0},

    {"14.1.2", "the first bytes", NULL, "Range: bytes=0-9\r\n", 206,
     "Content-Range: bytes 0-9/{size}", 0, 10},
    {"14.1.2", "from a byte on", NULL, "Range: bytes=2000-\r\n", 206, "Content-Length: 251", 2000,
     251},
    {"14.1.2", "the last bytes", NULL, "Range: bytes=-51\r\n", 206,
     "Content-Range: bytes 2200-2250/{size}", 2200, 51},
    {"14.1.2", "a suffix longer than the file", NULL, "Range: bytes=-99999\r\n", 206,
     "Content-Range: bytes 0-2250/{size}", 0, 2251},
    {"14.1.2", "an end behind the file's", NULL, "Range: bytes=2250-9999999999999999999\r\n", 206,
     "Content-Length: 1", 2250, 1},
    {"14.1.1", "the unit is compared without case", NULL, "Range: BYTES=0-0\r\n", 206, NULL, 0, 1},
    {"15.5.17", "behind the end", NULL, "Range: bytes=2251-\r\n", 416,
     "Content-Range: bytes */{size}", 0, 0},
    {"15.5.17", "no last byte", NULL, "Range: bytes=-0\r\n", 416, "Content-Range: bytes */{size}",
     0, 0},
    {"14.2", "an unknown unit is ignored", NULL, "Range: frames=0-9\r\n", 200, "!Content-Range", 0,
     2251},
    {"14.2", "an invalid range is ignored", NULL, "Range: bytes=9-0\r\n", 200, "!Content-Range", 0,
     2251},
    {"14.2", "Range is GET's alone", "HEAD", "Range: bytes=0-9\r\n", 200, "Content-Length: {size}",
     0, -1},
    {"14.2", "overlapping ranges are ignored", NULL, "Range: bytes=0-9,5-14\r\n", 200, NULL, 0,
     2251},
    {"17.15", "many ranges that do not ascend are ignored", NULL,
     "Range: bytes=2-2,0-0,4-4,6-6,8-8,10-10,12-12,14-14,16-16\r\n", 200, NULL, 0, 2251},
    {"15.3.7", "of several the only one in the file", NULL, "Range: bytes=0-9,9999-\r\n", 206,
     "Content-Range: bytes 0-9/{size}", 0, 10},

    {"13.1.1", "If-Match with our tag", NULL, "If-Match: \"x\", {etag}\r\n", 200, NULL, 0, 2251},
    {"13.1.1", "If-Match with another", NULL, "If-Match: \"x\"\r\n", 412, NULL, 0, 0},
    {"13.1.1", "If-Match compares strongly", NULL, "If-Match: W/{etag}\r\n", 412, NULL, 0, 0},
    {"13.1.1", "If-Match: *", NULL, "If-Match: *\r\n", 200, NULL, 0, 2251},
    {"13.1.2", "If-None-Match with our tag", NULL, "If-None-Match: {etag}\r\n", 304, "ETag: {etag}",
     0, -1},
    {"13.1.2", "If-None-Match compares weakly", NULL, "If-None-Match: \"x\", W/{etag}\r\n", 304,
     "!Content-Length", 0, -1},
    {"13.1.2", "If-None-Match: *", NULL, "If-None-Match: *\r\n", 304, NULL, 0, -1},
    {"13.1.2", "If-None-Match with another", NULL, "If-None-Match: \"x\"\r\n", 200, NULL, 0, 2251},
    {"13.1.2", "for HEAD, too", "HEAD", "If-None-Match: {etag}\r\n", 304, NULL, 0, -1},
    {"13.1.3", "If-Modified-Since then", NULL, "If-Modified-Since: {modified}\r\n", 304, NULL, 0,
     -1},
    {"13.1.3", "If-Modified-Since before", NULL, "If-Modified-Since: {older}\r\n", 200, NULL, 0,
     2251},
    {"13.1.3", "not beside If-None-Match", NULL,
     "If-None-Match: \"x\"\r\nIf-Modified-Since: {newer}\r\n", 200, NULL, 0, 2251},
    {"13.1.3", "an invalid date is ignored", NULL, "If-Modified-Since: tomorrow\r\n", 200, NULL, 0,
     2251},
    {"13.1.4", "If-Unmodified-Since before", NULL, "If-Unmodified-Since: {older}\r\n", 412, NULL, 0,
     0},
    {"13.1.4", "If-Unmodified-Since before 1970", NULL,
     "If-Unmodified-Since: Wed, 31 Dec 1969 00:00:00 GMT\r\n", 412, NULL, 0, 0},
    {"13.1.3", "If-Modified-Since before 1970", NULL,
     "If-Modified-Since: Wed, 31 Dec 1969 00:00:00 GMT\r\n", 200, NULL, 0, 2251},
    {"5.6.7", "71 is a year of this century", NULL,
     "If-Unmodified-Since: Thursday, 01-Jan-71 00:00:00 GMT\r\n", 200, NULL, 0, 2251},
    {"13.1.4", "If-Unmodified-Since then", NULL, "If-Unmodified-Since: {modified}\r\n", 200, NULL,
     0, 2251},
    {"13.1.4", "not beside If-Match", NULL, "If-Match: {etag}\r\nIf-Unmodified-Since: {older}\r\n",
     200, NULL, 0, 2251},
    {"5.3", "If-Match in two lines", NULL, "If-Match: \"x\"\r\nIf-Match: {etag}\r\n", 200, NULL, 0,
     2251},
    {"5.3", "If-Match in two lines without our tag", NULL, "If-Match: \"x\"\r\nIf-Match: \"y\"\r\n",
     412, NULL, 0, 0},
    {"5.3", "If-None-Match in three lines", NULL,
     "If-None-Match: \"x\"\r\nIf-None-Match:\r\nIf-None-Match: \"y\", W/{etag}\r\n", 304, NULL, 0,
     -1},
    {"5.3", "If-None-Match in two lines without our tag", NULL,
     "If-None-Match: \"x\"\r\nIf-None-Match: \"y\"\r\nIf-Modified-Since: {newer}\r\n", 200, NULL, 0,
     2251},
    {"13.1.3", "two dates are ignored", NULL,
     "If-Modified-Since: {newer}\r\nIf-Modified-Since: {newer}\r\n", 200, NULL, 0, 2251},
    {"13.1.3", "and so are three", NULL,
     "If-Modified-Since: {newer}\r\nIf-Modified-Since: {newer}\r\nIf-Modified-Since: {newer}\r\n",
     200, NULL, 0, 2251},
    {"13.1.4", "two dates are ignored", NULL,
     "If-Unmodified-Since: {older}\r\nIf-Unmodified-Since: {older}\r\n", 200, NULL, 0, 2251},
    {"14.2", "two lines of Range are not guessed from", NULL,
     "Range: bytes=0-9\r\nRange: bytes=0-9\r\n", 400, "Connection: close", 0, 0},
    {"13.1.5", "nor are two of If-Range", NULL,
     "Range: bytes=0-9\r\nIf-Range: {etag}\r\nIf-Range: {etag}\r\n", 400, "Connection: close", 0,
     0},
    {"13.2.2", "If-Match before If-None-Match", NULL,
     "If-Match: \"x\"\r\nIf-None-Match: {etag}\r\n", 412, NULL, 0, 0},
    {"13.2.2", "304 before a range", NULL, "If-None-Match: {etag}\r\nRange: bytes=0-9\r\n", 304,
     NULL, 0, -1},
    {"13.1.5", "If-Range with our tag", NULL, "If-Range: {etag}\r\nRange: bytes=0-9\r\n", 206, NULL,
     0, 10},
    {"13.1.5", "If-Range with another", NULL, "If-Range: \"x\"\r\nRange: bytes=0-9\r\n", 200, NULL,
     0, 2251},
    {"13.1.5", "If-Range has no weak tags", NULL, "If-Range: W/{etag}\r\nRange: bytes=0-9\r\n", 200,
     NULL, 0, 2251},
    {"13.1.5", "If-Range with the date", NULL, "If-Range: {modified}\r\nRange: bytes=0-9\r\n", 206,
     NULL, 0, 10},
    {"13.1.5", "If-Range with another date", NULL, "If-Range: {newer}\r\nRange: bytes=0-9\r\n", 200,
     NULL, 0, 2251},

    {"10.1.1", "an expectation without content", NULL, "Expect: 100-continue\r\n", 200, NULL, 0,
     2251},
    {"10.1.1", "a list of expectations, with empty members", NULL,
     "Expect: ,100-Continue, ,\r\nExpect:\r\n", 200, NULL, 0, 2251},
    {"10.1.1", "an unknown one among them", NULL, "Expect: 100-continue, fish\r\n", 417, NULL, 0,
     0},
    {"9.3.7", "OPTIONS with content, which is not read", "OPTIONS", "Content-Length: 3\r\n", 204,
     "Connection: close", 0, -1},
    {"9.3.7", "OPTIONS with empty content", "OPTIONS", "Content-Length: 0\r\n", 204, "!Connection",
     0, -1},
    {"10.1.1", "an unknown expectation", NULL, "Expect: fish\r\n", 417, NULL, 0, 0},
    {"9.3.1", "content in a GET", NULL, "Content-Length: 3\r\n", 413, "Connection: close", 0, 0},

    {"9111 5.2.2", "no shared cache, and an end", NULL, "", 200,
     "Cache-Control: private, max-age=600", 0, 0},
    {"9111 5.2.2", "the same in 304", NULL, "If-None-Match: *\r\n", 304,
     "Cache-Control: private, max-age=600", 0, -1},
    {"6266 4.2", "played, not saved", NULL, "", 200,
     "Content-Disposition: inline; filename=\"jingle.mp3\"", 0, 0},
    {"Referrer", "no token in a Referer", NULL, "", 200, "Referrer-Policy: no-referrer", 0, 0},
    {"Fetch", "no guessing of types", NULL, "", 200, "X-Content-Type-Options: nosniff", 0, 0},

    {"Fetch", "a page of the shop may read", NULL, "Origin: " SHOP_PAGE "\r\n", 200,
     "Access-Control-Allow-Origin: " SHOP_PAGE, 0, 2251},
    {"Fetch", "and what a player needs", NULL, "Origin: " SHOP_PAGE "\r\nRange: bytes=0-9\r\n", 206,
     "Access-Control-Expose-Headers: Accept-Ranges, Content-Disposition, Content-Length, "
     "Content-Range, ETag, Retry-After",
     0, 10},
    {"Fetch", "refusals, too", NULL, "Origin: " SHOP_PAGE "\r\nRange: bytes=9999-\r\n", 416,
     "Access-Control-Allow-Origin: " SHOP_PAGE, 0, 0},
    {"Fetch", "a foreign page may not", NULL, "Origin: https://other.example\r\n", 200,
     "!Access-Control-Allow-Origin", 0, 2251},
    {"9110 12.5.5", "caches are told", NULL, "Origin: https://other.example\r\n", 200,
     "Vary: Origin", 0, 0},
    {"Fetch", "a preflight", "OPTIONS",
     "Origin: " SHOP_PAGE
     "\r\nAccess-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: range\r\n",
     204, "Access-Control-Allow-Methods: GET, HEAD", 0, -1},
    {"Fetch", "a foreign preflight", "OPTIONS",
     "Origin: https://other.example\r\nAccess-Control-Request-Method: GET\r\n", 204,
     "!Access-Control-Allow-Methods", 0, -1},
};

static struct site *make_site(void)
{
    struct site *site =
        site_create(.own_media = true, .settings = "cache_max_age_s: 600\n",
                    .issuer = "    origins: [\"" SHOP_PAGE "\"]\n"
                              "    refusal_url: https://shop.example/refused?from=media\n");
    /* Files of the test's own have a date of now, while those of the catalogue may have any. */
    site_media_add(site, TRACK_TINY, TRACK_TINY, 1);
    site_media_add(site, TRACK_LONG, TRACK_LONG, 1);
    site_account_open_postpaid(site, "alice");
    return site;
}

static const char *replace(struct site *site, const char *text, const char *name, const char *value)
{
    const char *at = strstr(text, name);
    return at != NULL ? replace(site,
                                site_format(site, "%.*s%s%s", (int)(at - text), text, value,
                                            at + strlen(name)),
                                name, value)
                      : text;
}

struct facts {
    const char *etag, *modified;
};

static struct facts facts_of(struct site *site, const char *link)
{
    struct facts facts = {0};
    while (facts.etag == NULL) { /* until the file is hashed */
        const struct answer *answer = fetch(site, link, .method = "HEAD");
        facts.etag = answer_header(site, answer, "ETag");
        facts.modified = answer_header(site, answer, "Last-Modified");
        harness_pause();
    }
    return facts;
}

static const char *fill_in(struct site *site, const struct facts *facts, const char *text)
{
    text = replace(site, text, "{etag}", facts->etag);
    text = replace(site, text, "{modified}", facts->modified);
    text = replace(site, text, "{older}", "Sat, 01 Jan 2000 00:00:00 GMT");
    text = replace(site, text, "{newer}", "Fri, 01 Jan 2100 00:00:00 GMT");
    return replace(site, text, "{size}", "2251");
}

static const struct answer *ask(struct site *site, const char *method, const char *target,
                                const char *fields)
{
    int fd = raw_connect(site, 0);
    raw_print(fd, "%s %s HTTP/1.1\r\nHost: media.example\r\n%s\r\n", method, target, fields);
    const struct answer *answer = raw_answer(site, fd, strcmp(method, "HEAD") == 0);
    close(fd);
    return answer;
}

static void check_header(struct site *site, const struct row *row, const struct answer *answer,
                         const char *header)
{
    if (header[0] == '!') {
        cr_assert_null(answer_header(site, answer, header + 1), "%s, %s: has %s", row->section,
                       row->what, header + 1);
        return;
    }
    const char *colon = strstr(header, ": ");
    const char *name = site_format(site, "%.*s", (int)(colon - header), header);
    const char *value = answer_header(site, answer, name);
    cr_assert(value != NULL && strcmp(value, colon + 2) == 0, "%s, %s: %s is \"%s\"", row->section,
              row->what, name, value != NULL ? value : "(absent)");
}

Test(semantics, are_those_of_the_table)
{
    struct site *site = make_site();
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    struct facts facts = facts_of(site, link);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i];
        const char *method = row->method != NULL ? row->method : "GET";
        const struct answer *answer = ask(site, method, link, fill_in(site, &facts, row->fields));
        cr_assert_eq(answer->status, row->status, "%s, %s: %u", row->section, row->what,
                     answer->status);
        if (row->header != NULL)
            check_header(site, row, answer, fill_in(site, &facts, row->header));
        if (row->length < 0)
            cr_assert_eq(answer->body_length, 0, "%s, %s: has content", row->section, row->what);
        else if (row->length > 0)
            answer_expect_bytes(site, answer, TRACK_TINY, (size_t)row->first, (size_t)row->length);
    }
    site_destroy(&site);
}

Test(semantics, of_HEAD_are_those_of_GET_in_every_header)
{
    struct site *site = make_site();
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY, .filename = "Ä.mp3");
    (void)facts_of(site, link);
    static const char *const fields[] = {"", "Origin: " SHOP_PAGE "\r\n", "If-None-Match: *\r\n",
                                         "If-Match: \"x\"\r\n"};
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        const char *get = ask(site, "GET", link, fields[i])->head;
        const char *head = ask(site, "HEAD", link, fields[i])->head;
        /* The answers may come in different seconds, and then differ in Date alone. */
        const char *date = strstr(get, "Date: ");
        size_t before = (size_t)(date - get),
               after = before + strlen("Date: Sun, 06 Nov 1994 08:49:37 GMT");
        cr_assert_eq(strlen(get), strlen(head), "%s\nagainst\n%s", get, head);
        cr_assert(strncmp(get, head, before) == 0 && strcmp(get + after, head + after) == 0,
                  "%s\nagainst\n%s", get, head);
    }
    site_destroy(&site);
}

/* RFC 9110 14.2: no range of an empty file can be satisfied, so Range is ignored. */
Test(semantics, of_ranges_of_an_empty_file_are_the_whole_of_it)
{
    static const char *const fields[] = {
        "",
        "Range: bytes=0-\r\n",
        "Range: bytes=-5\r\n",
        "Range: bytes=-0\r\n",
        "Range: bytes=5-9\r\n",
        "Range: bytes=0-0,2-3,-1\r\n",
        "Range: bytes=0-\r\nIf-Range: \"x\"\r\n",
        "Range: bytes=0-\r\nIf-Range: {etag}\r\n",
        "Range: bytes=0-\r\nIf-Range: {modified}\r\n",
    };
    struct site *site = site_create(.own_media = true);
    site_account_open_postpaid(site, "alice");
    site_media_add(site, "/empty.mp3", TRACK_TINY, 0);
    const char *link = site_link(site, .account = "alice", .path = "/empty.mp3");
    struct facts facts = facts_of(site, link);
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        for (unsigned head = 0; head < 2; head++) {
            const struct answer *answer =
                ask(site, head ? "HEAD" : "GET", link, fill_in(site, &facts, fields[i]));
            cr_assert_eq(answer->status, 200, "%u to %s", answer->status, fields[i]);
            cr_assert_eq(answer_header_number(site, answer, "Content-Length"), 0);
            cr_assert_null(answer_header(site, answer, "Content-Range"));
        }
    }
    site_destroy(&site);
}

/* ---- several ranges ---- */

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
    struct site *site = make_site();
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
    struct site *site = make_site();
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
    struct site *site = make_site();
    site_account_open_prepaid(site, "bob", 150);
    const char *link = site_link(site, .account = "bob", .path = TRACK_TINY);
    answer_expect_refusal(site, fetch(site, link, .range = "0-99,200-299"), 402,
                          "balance_insufficient");
    cr_assert_eq(fetch(site, link, .range = "0-99,200-249")->status, 206);
    site_usage_await(site, "bob", 150);
    site_destroy(&site);
}

/* ---- names, ends and browsers ---- */

Test(semantics, of_a_filename_are_safe_in_every_recipient)
{
    static const struct {
        const char *filename, *disposition;
    } names[] = {
        {"song.mp3", "attachment; filename=\"song.mp3\""},
        {"Café – 1.mp3",
         "attachment; filename=\"Caf_ _ 1.mp3\"; filename*=UTF-8''Caf%C3%A9%20%E2%80%93%201.mp3"},
        {"a\"b;c.mp3", "attachment; filename=\"a_b;c.mp3\"; filename*=UTF-8''a%22b%3Bc.mp3"},
        {"100%.mp3", "attachment; filename=\"100_.mp3\"; filename*=UTF-8''100%25.mp3"},
    };
    struct site *site = make_site();
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *link =
            site_link(site, .account = "alice", .path = TRACK_TINY, .filename = names[i].filename);
        const struct answer *answer = fetch(site, link);
        answer_expect_file(site, answer, TRACK_TINY);
        cr_assert_str_eq(answer_header(site, answer, "Content-Disposition"), names[i].disposition);
    }
    site_destroy(&site);
}

/* The filename is the path's last segment, whatever bytes the name on disk has. */
Test(semantics, of_a_file_that_is_played_name_it_by_its_path)
{
    static const struct {
        const char *path, *disposition, *type;
    } files[] = {
        {"/a/one.aac", "inline; filename=\"one.aac\"", "audio/aac"},
        {"/book.M4B", "inline; filename=\"book.M4B\"", "audio/mp4"},
        {"/hls/1.ts", "inline; filename=\"1.ts\"", "video/mp2t"},
        {"/hls/1.m4s", "inline; filename=\"1.m4s\"", "video/iso.segment"},
        {"/v.mp4", "inline; filename=\"v.mp4\"", "video/mp4"},
        {"/a.oga", "inline; filename=\"a.oga\"", "audio/ogg"},
        {"/album.tar.zip", "inline; filename=\"album.tar.zip\"", "application/zip"},
        {"/cover.jpg", "inline; filename=\"cover.jpg\"", "image/jpeg"},
        {"/Bücher/Übung.pdf", "inline; filename=\"_bung.pdf\"; filename*=UTF-8''%C3%9Cbung.pdf",
         "application/pdf"},
        {"/a \"b\".mp3", "inline; filename=\"a _b_.mp3\"; filename*=UTF-8''a%20%22b%22.mp3",
         "audio/mpeg"},
        {"/\xe9t\xe9.mp3", "inline; filename=\"_t_.mp3\"", "audio/mpeg"}, /* not UTF-8 */
        {"/a.mp3/LICENCE", "inline; filename=\"LICENCE\"", "application/octet-stream"},
        {"/what.xyz", "inline; filename=\"what.xyz\"", "application/octet-stream"},
    };
    struct site *site = site_create(.own_media = true);
    site_account_open_postpaid(site, "alice");
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        site_media_add(site, files[i].path, TRACK_TINY, 1);
        const struct answer *answer =
            fetch(site, site_link(site, .account = "alice", .path = files[i].path,
                                  .container = "prefix:/"));
        answer_expect_file(site, answer, files[i].path);
        cr_expect_str_eq(answer_header(site, answer, "Content-Disposition"), files[i].disposition);
        cr_expect_str_eq(answer_header(site, answer, "Content-Type"), files[i].type, "%s",
                         files[i].path);
    }
    site_destroy(&site);
}

Test(semantics, of_types_and_of_pages_elsewhere_are_configured)
{
    struct site *site = site_create(.settings = "content_types: .MP3=audio/x-mine;a=b\n"
                                                "cors_allow_headers: Range, X-Player\n"
                                                "cross_origin_resource_policy: cross-origin\n",
                                    .issuer = "    origins: [\"" SHOP_PAGE "\"]\n");
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    const struct answer *answer = ask(site, "GET", link, "");
    cr_assert_eq(answer->status, 200);
    cr_assert_str_eq(answer_header(site, answer, "Content-Type"), "audio/x-mine;a=b");
    cr_assert_str_eq(answer_header(site, answer, "Cross-Origin-Resource-Policy"), "cross-origin");
    answer = ask(site, "GET", TRACK_TINY, "");
    cr_assert_eq(answer->status, 403);
    cr_assert_str_eq(answer_header(site, answer, "Cross-Origin-Resource-Policy"), "cross-origin");
    answer = ask(site, "OPTIONS", link,
                 "Origin: " SHOP_PAGE "\r\nAccess-Control-Request-Method: GET\r\n");
    cr_assert_eq(answer->status, 204);
    cr_assert_str_eq(answer_header(site, answer, "Access-Control-Allow-Headers"),
                     "Range, X-Player");
    site_destroy(&site);
}

Test(semantics, of_max_age_never_pass_the_links_end)
{
    struct site *site = make_site();
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY, .expires_in_s = 100);
    const char *caching = answer_header(site, fetch(site, link), "Cache-Control");
    unsigned long age = strtoul(caching + strlen("private, max-age="), NULL, 10);
    cr_assert(age > 50 && age <= 100, "%s", caching);
    site_destroy(&site);
}

#define NAVIGATION                                                                                 \
    "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\nSec-Fetch-Mode: navigate\r\n"

Test(semantics, of_a_refusal_are_a_page_or_the_shops_for_a_browsers_window)
{
    struct site *site = make_site();
    const struct answer *answer = ask(site, "GET", TRACK_TINY, NAVIGATION);
    cr_assert_eq(answer->status, 403);
    cr_assert_str_eq(answer_header(site, answer, "Content-Type"), "text/html; charset=utf-8");
    cr_assert(strstr((const char *)answer->body, "<code>token_missing</code>"));
    /* The page speaks in a listener's words, and says what to do. */
    static const char incomplete[] =
        "<p>This link is incomplete. Go back to the shop and press download again.</p>";
    cr_assert(strstr((const char *)answer->body, incomplete));
    answer = ask(site, "GET", TRACK_TINY "?URISigningPackage=nonsense", NAVIGATION);
    cr_assert_eq(answer->status, 403);
    cr_assert(strstr((const char *)answer->body, incomplete));
    cr_assert_not(strstr((const char *)answer->body, "JWS"), "%s", (const char *)answer->body);

    const char *link = site_link(site, .account = "nobody", .path = TRACK_TINY);
    answer = ask(site, "GET", link, NAVIGATION);
    cr_assert_eq(answer->status, 303);
    cr_assert_str_eq(answer_header(site, answer, "Location"),
                     "https://shop.example/refused?from=media&reason=account_unknown");
    /* A player gets the same reason as JSON. */
    answer_expect_refusal(site,
                          ask(site, "GET", link, "Accept: audio/*\r\nSec-Fetch-Mode: no-cors\r\n"),
                          402, "account_unknown");
    /* A program that takes anything is not a browser. */
    answer_expect_refusal(site, ask(site, "GET", link, "Accept: */*\r\n"), 402, "account_unknown");
    site_destroy(&site);
}

static const char *allowed_origin(struct site *site, const char *link)
{
    return answer_header(site, fetch(site, link, .headers = HEADERS("Origin: " SHOP_PAGE)),
                         "Access-Control-Allow-Origin");
}

Test(semantics, of_a_link_are_for_the_pages_of_its_own_issuer)
{
    static const char *const origins[] = {SHOP_PAGE, "*"};
    for (size_t i = 0; i < 2; i++) {
        struct site *site = site_create(.issuer = i == 0 ? "    origins: [\"" SHOP_PAGE "\"]\n"
                                                         : "    origins: [\"*\"]\n");
        site_account_open_postpaid(site, "alice");
        const char *mine = site_link(site, .account = "alice", .path = TRACK_TINY);
        const char *past =
            site_link(site, .account = "alice", .path = TRACK_TINY, .expires_in_s = -5);
        const char *theirs =
            site_link(site, .account = "alice", .path = "/rival/x.mp3", .by_rival = true);
        const char *gone = site_link(site, .account = "alice", .path = "/rival/x.mp3",
                                     .by_rival = true, .expires_in_s = -5);
        cr_expect_str_eq(allowed_origin(site, mine), origins[i]);
        cr_expect_str_eq(allowed_origin(site, past), origins[i]);
        for (int again = 0; again < 2; again++) { /* the second time from the cache of tokens */
            cr_expect_null(allowed_origin(site, theirs));
            cr_expect_null(allowed_origin(site, gone));
        }
        cr_expect_str_eq(allowed_origin(site, TRACK_TINY), origins[i]); /* issuer unknown */
        site_destroy(&site);
    }
}

Test(semantics, of_OPTIONS_need_no_link)
{
    struct site *site = make_site();
    cr_assert_eq(ask(site, "OPTIONS", "*", "")->status, 204);
    cr_assert_eq(ask(site, "OPTIONS", TRACK_TINY, "")->status, 204);
    static const char *const targets[] = {"foo", "*x", "media.example:80", "ftp://media.example/"};
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++)
        answer_expect_refusal(site, ask(site, "OPTIONS", targets[i], ""), 400, "target_invalid");
    /* The request within the content must not be answered. */
    int fd = raw_connect(site, 0);
    raw_print(fd, "OPTIONS * HTTP/1.1\r\nHost: a\r\nContent-Length: 36\r\n\r\n"
                  "OPTIONS * HTTP/1.1\r\nHost: hidden\r\n\r\n");
    cr_assert_eq(raw_answer(site, fd, true)->status, 204);
    cr_assert_eq(raw_answer_head(site, fd)->status, 0, "content was answered");
    close(fd);
    site_destroy(&site);
}
