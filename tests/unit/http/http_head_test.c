/* SPDX-License-Identifier: Apache-2.0 */
/* The strict parser of request heads: tables of heads and what RFC 9112 asks for. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "server/http/http_head.h"

struct refused {
    const char *head;
    enum refusal refusal;
};

static enum http_head_status parse(const char *text, struct http_head *head, enum refusal *refusal)
{
    *refusal = REFUSAL_NONE;
    return http_head_parse(text, strlen(text), head, refusal);
}

static bool is(struct http_text text, const char *expected)
{
    return text.data != NULL && text.length == strlen(expected) &&
           memcmp(text.data, expected, text.length) == 0;
}

Test(http_head, takes_an_ordinary_get_apart)
{
    static const char text[] =
        "GET /a/b.mp3?x=1 HTTP/1.1\r\nHost: media.example:8080\r\nRange:  bytes=0-1 \r\n"
        "If-None-Match: \"x\"\r\nACCEPT: */*\r\nCookie: a=b\r\n\r\nGET /next";
    struct http_head head;
    enum refusal refusal;
    cr_assert_eq(parse(text, &head, &refusal), HTTP_HEAD_COMPLETE);
    cr_assert_eq(head.method, HTTP_GET);
    cr_assert(is(head.target, "/a/b.mp3?x=1"));
    cr_assert(is(head.host, "media.example:8080"));
    cr_assert(is(head.range, "bytes=0-1"));
    cr_assert(is(head.if_none_match, "\"x\""));
    cr_assert(is(head.cookie, "a=b"));
    cr_assert(head.keep_alive);
    cr_assert_not(head.has_body);
    cr_assert_eq(head.length, strlen(text) - strlen("GET /next"));
}

Test(http_head, asks_for_more_at_every_cut_of_a_valid_head)
{
    static const char text[] = "\r\nHEAD /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    struct http_head head;
    enum refusal refusal;
    for (size_t length = 0; length < sizeof(text) - 1; length++)
        cr_assert_eq(http_head_parse(text, length, &head, &refusal), HTTP_HEAD_PARTIAL,
                     "cut at %zu", length);
    cr_assert_eq(parse(text, &head, &refusal), HTTP_HEAD_COMPLETE);
    cr_assert_not(head.keep_alive);
}

Test(http_head, takes_targets_of_every_form_that_names_a_path)
{
    static const struct {
        const char *line, *target;
    } rows[] = {
        {"GET http://h/x", "/x"},
        {"GET HTTPS://[::1]:8443/x?y", "/x?y"},
        {"GET http://[2001:db8::1]/x", "/x"},
        {"GET http://h", "/"},
        {"GET http://[::1]:80", "/"},
        {"GET http://h?x=/y", "?x=/y"},
        {"OPTIONS *", "*"},
        {"OPTIONS /x", "/x"},
        {"CONNECT h:80", "h:80"},
        {"OPTIONS http://h", "*"},
        {"OPTIONS http://h/", "/"},
        {"GET /a%20[live].mp3?utm=[x]|^{y}`", "/a%20[live].mp3?utm=[x]|^{y}`"},
        {"GET /a|b^c.mp3", "/a|b^c.mp3"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[256];
        struct http_head head;
        enum refusal refusal;
        snprintf(text, sizeof(text), "%s HTTP/1.1\r\nHost: h\r\n\r\n", rows[i].line);
        cr_assert_eq(parse(text, &head, &refusal), HTTP_HEAD_COMPLETE, "%s", rows[i].line);
        cr_expect_eq(head.target.length, strlen(rows[i].target), "%s", rows[i].line);
        cr_expect_arr_eq(head.target.data, rows[i].target, strlen(rows[i].target), "%s",
                         rows[i].line);
    }
}

static const struct refused forbidden[] = {
    {"GET /x HTTP/1.1\nHost: h\n\n", REFUSAL_HEAD_MALFORMED},             /* bare LF */
    {"GET /x HTTP/1.1\r\nHost: h\rX: y\r\n\r\n", REFUSAL_HEAD_MALFORMED}, /* bare CR */
    {"GET /x HTTP/1.1\r\nHost : h\r\n\r\n", REFUSAL_HEAD_MALFORMED}, /* space before the colon */
    {"GET /x HTTP/1.1\r\nHost: h\r\n X: y\r\n\r\n", REFUSAL_HEAD_MALFORMED}, /* obs-fold */
    {"GET /x HTTP/1.1\r\n Host: h\r\n\r\n", REFUSAL_HEAD_MALFORMED},
    {"GET /x HTTP/1.1\r\n: h\r\n\r\n", REFUSAL_HEAD_MALFORMED},
    {"GET /x HTTP/1.1\r\nHost: h\r\nX: a\x01 b\r\n\r\n", REFUSAL_HEAD_MALFORMED},
    {"GET /x HTTP/1.1\r\nHost: a:b\r\n\r\n", REFUSAL_HOST_INVALID},
    {"GET /x HTTP/1.1\r\nHost: a:65536\r\n\r\n", REFUSAL_HOST_INVALID},
    {"GET /x HTTP/1.1\r\nHost: [::1\r\n\r\n", REFUSAL_HOST_INVALID},
    {"GET /x HTTP/1.1\r\nHost: [zz]\r\n\r\n", REFUSAL_HOST_INVALID},
    {"GET /x HTTP/1.1\r\nHost: a%2\r\n\r\n", REFUSAL_HOST_INVALID},
    {"GET http://user@h/x HTTP/1.1\r\nHost: h\r\n\r\n", REFUSAL_TARGET_INVALID},
    {"GET http:///x HTTP/1.1\r\nHost: h\r\n\r\n", REFUSAL_TARGET_INVALID},
    {"GET http:// HTTP/1.1\r\nHost: h\r\n\r\n", REFUSAL_TARGET_INVALID},
    {"GET http://?x HTTP/1.1\r\nHost: h\r\n\r\n", REFUSAL_TARGET_INVALID},
    {"GET http://[::1/x HTTP/1.1\r\nHost: h\r\n\r\n", REFUSAL_TARGET_INVALID},
    {"GET ?x HTTP/1.1\r\nHost: h\r\n\r\n", REFUSAL_TARGET_INVALID},
    {"GET /{x} HTTP/1.1\r\nHost: h\r\n\r\n", REFUSAL_TARGET_INVALID},
    {"GET /`x HTTP/1.1\r\nHost: h\r\n\r\n", REFUSAL_TARGET_INVALID},
    {"GET /x?<y> HTTP/1.1\r\nHost: h\r\n\r\n", REFUSAL_TARGET_INVALID},
    {"GET /x?\"y HTTP/1.1\r\nHost: h\r\n\r\n", REFUSAL_TARGET_INVALID},
    {"GET /x?\\y HTTP/1.1\r\nHost: h\r\n\r\n", REFUSAL_TARGET_INVALID},
    {"GET  /x HTTP/1.1\r\nHost: h\r\n\r\n", REFUSAL_HEAD_MALFORMED},
    {"GET /x\r\n\r\n", REFUSAL_HEAD_MALFORMED}, /* HTTP/0.9 */
    {"GET /x HTTP/1.10\r\nHost: h\r\n\r\n", REFUSAL_HEAD_MALFORMED},
    {"GET /x http/1.1\r\nHost: h\r\n\r\n", REFUSAL_HEAD_MALFORMED},
    {"GET /x HTTP/2.0\r\nHost: h\r\n\r\n", REFUSAL_VERSION_REFUSED},
    {"G(T /x HTTP/1.1\r\nHost: h\r\n\r\n", REFUSAL_HEAD_MALFORMED},
    {"GET /x\x80 HTTP/1.1\r\nHost: h\r\n\r\n", REFUSAL_TARGET_INVALID},
    {"GET /x#y HTTP/1.1\r\nHost: h\r\n\r\n", REFUSAL_TARGET_INVALID},
    {"GET /x HTTP/1.1\r\n\r\n", REFUSAL_HOST_INVALID},
    {"GET /x HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", REFUSAL_HOST_INVALID},
    {"GET /x HTTP/1.1\r\nHost: a/b\r\n\r\n", REFUSAL_HOST_INVALID},
    {"GET /x HTTP/1.1\r\nHost: u@h\r\n\r\n", REFUSAL_HOST_INVALID},
    {"GET /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
     REFUSAL_HEAD_MALFORMED},
    {"GET /x HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\n", REFUSAL_HEAD_MALFORMED},
    {"GET /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1, 1\r\n\r\n", REFUSAL_HEAD_MALFORMED},
    {"GET /x HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n",
     REFUSAL_HEAD_MALFORMED},
    {"GET /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
     REFUSAL_HEAD_MALFORMED},
    {"GET /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", REFUSAL_HEAD_MALFORMED},
    {"GET /x HTTP/1.1\r\nHost: h\r\nExpect: tea\r\n\r\n", REFUSAL_EXPECTATION_FAILED},
    {"GET /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue, tea\r\n\r\n", REFUSAL_EXPECTATION_FAILED},
    {"GET /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue 100-continue\r\n\r\n",
     REFUSAL_EXPECTATION_FAILED},
    {"OPTIONS foo HTTP/1.1\r\nHost: h\r\n\r\n", REFUSAL_TARGET_INVALID},
    {"OPTIONS ** HTTP/1.1\r\nHost: h\r\n\r\n", REFUSAL_TARGET_INVALID},
    {"OPTIONS *?x HTTP/1.1\r\nHost: h\r\n\r\n", REFUSAL_TARGET_INVALID},
    {"OPTIONS h:80 HTTP/1.1\r\nHost: h\r\n\r\n", REFUSAL_TARGET_INVALID},
    {"OPTIONS ftp://h/x HTTP/1.1\r\nHost: h\r\n\r\n", REFUSAL_TARGET_INVALID},
    {"OPTIONS ?x HTTP/1.1\r\nHost: h\r\n\r\n", REFUSAL_TARGET_INVALID},
    {"GET * HTTP/1.1\r\nHost: h\r\n\r\n", REFUSAL_TARGET_INVALID},
    {"GET foo HTTP/1.1\r\nHost: h\r\n\r\n", REFUSAL_TARGET_INVALID},
    {"HEAD h:80 HTTP/1.1\r\nHost: h\r\n\r\n", REFUSAL_TARGET_INVALID},
    {"GET /x HTTP/1.1\r\nHost: h\r\nRange: bytes=0-1\r\nRange: bytes=2-3\r\n\r\n",
     REFUSAL_HEAD_MALFORMED},
    {"GET /x HTTP/1.1\r\nHost: h\r\nIf-Range: \"a\"\r\nIf-Range: \"a\"\r\n\r\n",
     REFUSAL_HEAD_MALFORMED},
    {"\x16\x03\x01\x02\r\n", REFUSAL_HEAD_MALFORMED}, /* TLS on the plain port */
};

Test(http_head, refuses_what_rfc_9112_forbids_with_its_reason)
{
    for (size_t i = 0; i < sizeof(forbidden) / sizeof(*forbidden); i++) {
        struct http_head head;
        enum refusal refusal;
        cr_assert_eq(parse(forbidden[i].head, &head, &refusal), HTTP_HEAD_REFUSED, "case %zu", i);
        cr_assert_eq(refusal, forbidden[i].refusal, "case %zu: %s", i, refusal_name(refusal));
    }
}

Test(http_head, walks_the_lines_of_a_list_and_takes_two_dates_for_none)
{
    static const char text[] =
        "GET /x HTTP/1.1\r\nIf-None-Match: \"a\", \"b\" \r\nHost: h\r\nCookie: a=b\r\n"
        "if-none-match:\r\nIF-NONE-MATCH:\t\"c\"\t\r\nIf-None-Match-X: \"d\"\r\n"
        "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
        "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
        "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\nIf-None-Match: \"e\"\r\n";
    struct http_head head;
    enum refusal refusal;
    cr_assert_eq(parse(text, &head, &refusal), HTTP_HEAD_COMPLETE);
    struct http_text line = head.if_none_match;
    cr_assert(is(line, "\"a\", \"b\""));
    cr_assert(http_head_next(&head, "if-none-match", &line) && is(line, ""));
    cr_assert(http_head_next(&head, "if-none-match", &line) && is(line, "\"c\""));
    cr_assert_not(http_head_next(&head, "if-none-match", &line));
    line = head.cookie;
    cr_assert(is(line, "a=b"));
    cr_assert_not(http_head_next(&head, "cookie", &line));
    line = head.if_match;
    cr_assert_not(http_head_next(&head, "if-match", &line));
    cr_assert_eq(head.if_modified_since.length, 0);
}

Test(http_head, knows_chunked_alone_last_and_once)
{
    static const struct {
        const char *codings;
        enum refusal refusal;
    } rows[] = {
        {"chunked", REFUSAL_NONE},
        {" \tCHUNKED ", REFUSAL_NONE},
        {"gzip", REFUSAL_CODING_UNKNOWN},
        {"identity", REFUSAL_CODING_UNKNOWN},
        {"xchunked", REFUSAL_CODING_UNKNOWN},
        {"gzip;level=9, chunked", REFUSAL_CODING_UNKNOWN},
        {"gzip\r\nX: y\r\nTransfer-Encoding: chunked", REFUSAL_CODING_UNKNOWN},
        {"chunked, chunked", REFUSAL_HEAD_MALFORMED},
        {"chunked\r\nTransfer-Encoding: chunked", REFUSAL_HEAD_MALFORMED},
        {"chunked, gzip", REFUSAL_HEAD_MALFORMED},
        {"chunked\r\nTransfer-Encoding: gzip", REFUSAL_HEAD_MALFORMED},
        {"chunked\r\nTransfer-Encoding:", REFUSAL_HEAD_MALFORMED},
        {"gzip, chunked, gzip", REFUSAL_HEAD_MALFORMED},
        {"chunked;q=1", REFUSAL_HEAD_MALFORMED},
        {"\"chunked\"", REFUSAL_HEAD_MALFORMED},
        {"chun ked", REFUSAL_HEAD_MALFORMED},
        {"", REFUSAL_HEAD_MALFORMED},
        {",", REFUSAL_HEAD_MALFORMED},
        {", chunked", REFUSAL_HEAD_MALFORMED},
        {"chunked,", REFUSAL_HEAD_MALFORMED},
        {"chunked\r\nContent-Length: 0", REFUSAL_HEAD_MALFORMED},
        {"gzip\r\nContent-Length: 5", REFUSAL_HEAD_MALFORMED},
    };
    char text[256];
    struct http_head head;
    enum refusal refusal;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        snprintf(text, sizeof(text), "GET /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: %s\r\n\r\n",
                 rows[i].codings);
        enum http_head_status status = parse(text, &head, &refusal);
        cr_assert_eq(refusal, rows[i].refusal, "%s", rows[i].codings);
        cr_assert_eq(status, refusal == REFUSAL_NONE ? HTTP_HEAD_COMPLETE : HTTP_HEAD_REFUSED);
    }
    cr_assert_eq(parse("GET /x HTTP/1.0\r\nTransfer-Encoding: gzip\r\n\r\n", &head, &refusal),
                 HTTP_HEAD_REFUSED);
    cr_assert_eq(refusal, REFUSAL_HEAD_MALFORMED);
}

Test(http_head, takes_an_expectation_out_of_a_list)
{
    static const struct {
        const char *fields;
        unsigned minor;
        bool expected;
    } rows[] = {
        {"Expect: 100-continue", 1, true},
        {"Expect: , 100-Continue ,\t,", 1, true},
        {"Expect: 100-continue,100-continue", 1, true},
        {"Expect:\r\nExpect: 100-CONTINUE\r\nExpect: ,", 1, true},
        {"Expect:", 1, false},
        {"Expect: 100-continue", 0, false}, /* RFC 9110 10.1.1 */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        char text[256];
        struct http_head head;
        enum refusal refusal;
        snprintf(text, sizeof(text), "GET /x HTTP/1.%u\r\nHost: h\r\n%s\r\n\r\n", rows[i].minor,
                 rows[i].fields);
        cr_assert_eq(parse(text, &head, &refusal), HTTP_HEAD_COMPLETE, "%s", rows[i].fields);
        cr_assert_eq(head.expect_continue, rows[i].expected, "%s", rows[i].fields);
    }
}

Test(http_head, keeps_alive_as_version_and_connection_say)
{
    static const struct {
        const char *head;
        bool keep_alive;
    } cases[] = {
        {"GET /x HTTP/1.1\r\nHost: h\r\n\r\n", true},
        {"GET /x HTTP/1.1\r\nHost: h\r\nConnection: Close\r\n\r\n", false},
        {"GET /x HTTP/1.1\r\nHost: h\r\nConnection: te, close\r\n\r\n", false},
        {"GET /x HTTP/1.0\r\n\r\n", false},
        {"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true},
        {"GET /x HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false},
        {"GET /x HTTP/1.3\r\nHost: h\r\n\r\n", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct http_head head;
        enum refusal refusal;
        cr_assert_eq(parse(cases[i].head, &head, &refusal), HTTP_HEAD_COMPLETE, "case %zu", i);
        cr_assert_eq(head.keep_alive, cases[i].keep_alive, "case %zu", i);
    }
}

Test(http_head, sees_bodies_methods_and_absolute_form)
{
    struct http_head head;
    enum refusal refusal;
    parse("POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\n\r\n", &head, &refusal);
    cr_assert(head.method == HTTP_POST && head.has_body && head.content_length == 7);
    parse("GET /x HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", &head, &refusal);
    cr_assert_not(head.has_body);
    parse("GET /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", &head, &refusal);
    cr_assert(head.has_body && head.chunked);
    parse("get /x HTTP/1.1\r\nHost: h\r\n\r\n", &head, &refusal);
    cr_assert_eq(head.method, HTTP_UNKNOWN, "methods are case-sensitive");
    cr_assert_eq(parse("GET HTTP://other.example/x?y HTTP/1.1\r\nHost: h\r\n\r\n", &head, &refusal),
                 HTTP_HEAD_COMPLETE);
    cr_assert(is(head.target, "/x?y"));
}

Test(http_head, bounds_the_number_of_fields)
{
    char text[8192];
    size_t length = (size_t)snprintf(text, sizeof(text), "GET /x HTTP/1.1\r\nHost: h\r\n");
    for (unsigned i = 1; i < HTTP_HEADERS_MAX; i++)
        length += (size_t)snprintf(text + length, sizeof(text) - length, "X-%u: y\r\n", i);
    struct http_head head;
    enum refusal refusal;
    strcpy(text + length, "\r\n");
    cr_assert_eq(parse(text, &head, &refusal), HTTP_HEAD_COMPLETE);
    strcpy(text + length, "X: one too many\r\n\r\n");
    cr_assert_eq(parse(text, &head, &refusal), HTTP_HEAD_REFUSED);
    cr_assert_eq(refusal, REFUSAL_HEAD_TOO_LARGE);
}

Test(http_head, finds_words_in_lists_without_case)
{
    struct http_text list = {" Keep-Alive ,\tte,close", strlen(" Keep-Alive ,\tte,close")};
    cr_assert(http_list_has(&list, "keep-alive"));
    cr_assert(http_list_has(&list, "close"));
    cr_assert_not(http_list_has(&list, "clos"));
}
