/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RFC 9110 from outside: a table of requests and the answers that its sections ask for. All rows
 * are sent to one node, by a bare socket. HEAD, OPTIONS and an empty file need more than a row.
 */
#include <string.h>
#include <unistd.h>

#include "tests/integration/harness.h"
#include "tests/integration/semantics_steps.h"

/* {etag}, {modified}, {older}, {newer} and {size} stand for values of the served file. */
struct row {
    const char *section, *what;
    const char *method; /* NULL: GET */
    const char *fields; /* whole lines */
    unsigned status;
    const char *header; /* "Name: value" that the answer has, or "!Name" that it lacks */
    long first, length; /* the body's place in the file; length -1: no body; 0: any */
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

static void expect_header(struct site *site, const struct row *row, const struct answer *answer,
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
    struct site *site = semantics_site();
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    struct facts facts = facts_of(site, link);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i];
        const char *method = row->method != NULL ? row->method : "GET";
        const struct answer *answer =
            request(site, method, link, fill_in(site, &facts, row->fields));
        cr_assert_eq(answer->status, row->status, "%s, %s: %u", row->section, row->what,
                     answer->status);
        if (row->header != NULL)
            expect_header(site, row, answer, fill_in(site, &facts, row->header));
        if (row->length < 0)
            cr_assert_eq(answer->body_length, 0, "%s, %s: has content", row->section, row->what);
        else if (row->length > 0)
            answer_expect_bytes(site, answer, TRACK_TINY, (size_t)row->first, (size_t)row->length);
    }
    site_destroy(&site);
}

Test(semantics, of_HEAD_are_those_of_GET_in_every_header)
{
    struct site *site = semantics_site();
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY, .filename = "Ä.mp3");
    (void)facts_of(site, link);
    static const char *const fields[] = {"", "Origin: " SHOP_PAGE "\r\n", "If-None-Match: *\r\n",
                                         "If-Match: \"x\"\r\n"};
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        const char *get = request(site, "GET", link, fields[i])->head;
        const char *head = request(site, "HEAD", link, fields[i])->head;
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
                request(site, head ? "HEAD" : "GET", link, fill_in(site, &facts, fields[i]));
            cr_assert_eq(answer->status, 200, "%u to %s", answer->status, fields[i]);
            cr_assert_eq(answer_header_number(site, answer, "Content-Length"), 0);
            cr_assert_null(answer_header(site, answer, "Content-Range"));
        }
    }
    site_destroy(&site);
}

Test(semantics, of_OPTIONS_need_no_link)
{
    struct site *site = semantics_site();
    cr_assert_eq(request(site, "OPTIONS", "*", "")->status, 204);
    cr_assert_eq(request(site, "OPTIONS", TRACK_TINY, "")->status, 204);
    static const char *const targets[] = {"foo", "*x", "media.example:80", "ftp://media.example/"};
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++)
        answer_expect_refusal(site, request(site, "OPTIONS", targets[i], ""), 400,
                              "target_invalid");
    /* The request within the content must not be answered. */
    int fd = raw_connect(site, 0);
    raw_print(fd, "OPTIONS * HTTP/1.1\r\nHost: a\r\nContent-Length: 36\r\n\r\n"
                  "OPTIONS * HTTP/1.1\r\nHost: hidden\r\n\r\n");
    cr_assert_eq(raw_answer(site, fd, true)->status, 204);
    cr_assert_eq(raw_answer_head(site, fd)->status, 0, "content was answered");
    close(fd);
    site_destroy(&site);
}
