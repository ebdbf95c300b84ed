/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP from strangers: what is not a request, too large, ambiguous, or of another version. After
 * each, the node must still serve others.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/harness.h"

static struct site *site_with_alice(void)
{
    struct site *site = site_create();
    site_account_open_postpaid(site, "alice");
    return site;
}

/* Sends text and expects a refusal, then that another client is served. */
static void expect_refused(struct site *site, const char *text, unsigned status, const char *reason)
{
    int fd = raw_connect(site, 0);
    raw_send(fd, text, strlen(text));
    answer_expect_refusal(site, raw_answer(site, fd, false), status, reason);
    cr_assert(raw_is_closed_by_peer(fd), "the connection stays open after: %s", text);
    close(fd);
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    answer_expect_file(site, fetch(site, link), TRACK_TINY);
}

Test(protocol, refuses_what_is_no_request)
{
    struct site *site = site_with_alice();
    static const char *const texts[] = {
        "garbage\r\n\r\n",
        "\x16\x03\x01\x02\x01\x01\xfc\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / http/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nname without colon\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nName : space\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        expect_refused(site, texts[i], 400, "head_malformed");
    site_destroy(&site);
}

Test(protocol, wants_exactly_one_host)
{
    struct site *site = site_with_alice();
    expect_refused(site, "GET / HTTP/1.1\r\n\r\n", 400, "host_invalid");
    expect_refused(site, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "host_invalid");
    expect_refused(site, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "host_invalid");
    site_destroy(&site);
}

Test(protocol, refuses_an_oversized_head)
{
    struct site *site = site_with_alice();
    char *filler = malloc(20001);
    memset(filler, 'x', 20000);
    filler[20000] = '\0';
    const char *text =
        site_format(site, "GET / HTTP/1.1\r\nHost: a\r\nX-Filler: %s\r\n\r\n", filler);
    free(filler);
    expect_refused(site, text, 431, "head_too_large");
    site_destroy(&site);
}

/* RFC 9112 3: a request line of 8,000 bytes, here with the fields of a browser. */
Test(protocol, serves_a_request_line_of_8000_bytes_beside_ordinary_fields)
{
    struct site *site = site_with_alice();
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    char filler[8001], fields[2048];
    size_t length = 8000 - strlen("GET &x= HTTP/1.1") - strlen(link);
    memset(filler, 'x', length);
    filler[length] = '\0';
    memset(fields, 'c', sizeof(fields) - 1);
    fields[sizeof(fields) - 1] = '\0';
    const char *text = site_format(site,
                                   "GET %s&x=%s HTTP/1.1\r\nHost: media.example\r\n"
                                   "Cookie: session=%s\r\nAccept: */*\r\n"
                                   "User-Agent: Mozilla/5.0\r\n\r\n",
                                   link, filler, fields);
    cr_assert_eq(strcspn(text, "\r"), 8000);
    answer_expect_file(site, raw_exchange(site, text, strlen(text)), TRACK_TINY);
    site_destroy(&site);
}

Test(protocol, refuses_bodies)
{
    struct site *site = site_with_alice();
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    expect_refused(
        site,
        site_format(site, "GET %s HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", link),
        413, "body_refused");
    static const struct {
        const char *framing;
        unsigned status;
        const char *reason;
    } rows[] = {
        {"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 413, "body_refused"},
        {"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n", 413, "body_refused"},
        {"Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n", 501, "coding_unknown"},
        {"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, "coding_unknown"},
        {"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400, "head_malformed"},
        {"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
         "head_malformed"},
        {"Transfer-Encoding:\r\n\r\n0\r\n\r\n", 400, "head_malformed"},
        {"Transfer-Encoding: chunked\r\n\r\n0\n\r\n", 400, "head_malformed"},
        {"Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n", 400, "head_malformed"},
        {"Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n", 400, "head_malformed"},
        {"Transfer-Encoding: chunked\r\n\r\n0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400,
         "head_malformed"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        expect_refused(site,
                       site_format(site, "GET %s HTTP/1.1\r\nHost: a\r\n%s", link, rows[i].framing),
                       rows[i].status, rows[i].reason);
    site_destroy(&site);
}

/* A proxy sends it for an HTTP/2 request whose end comes in a frame of its own (RFC 9113 8.1). */
Test(protocol, answers_a_request_with_empty_chunked_content)
{
    struct site *site = site_with_alice();
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    const char *text =
        site_format(site,
                    "GET %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                    "0;name=\"va;lue\"\r\nContent-Length: 5\r\nX: y\r\n\r\n"
                    "HEAD %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n"
                    "OPTIONS * HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n00\r\n\r\n"
                    "GET %s HTTP/1.1\r\nHost: a\r\n\r\n",
                    link, link, link);
    int fd = raw_connect(site, 0);
    for (unsigned times = 0; times < 2; times++) { /* at once, then byte by byte */
        size_t length = strlen(text), piece = times == 0 ? length : 1;
        for (size_t at = 0; at < length; at += piece)
            raw_send(fd, text + at, piece);
        answer_expect_file(site, raw_answer(site, fd, false), TRACK_TINY);
        cr_assert_eq(raw_answer(site, fd, true)->status, 200);
        cr_assert_eq(raw_answer(site, fd, true)->status, 204);
        answer_expect_file(site, raw_answer(site, fd, false), TRACK_TINY);
    }
    close(fd);
    site_destroy(&site);
}

Test(protocol, bounds_what_follows_the_last_chunk)
{
    struct site *site = site_create(.settings = "head_bytes_max: 2048\nhead_timeout_ms: 2000\n");
    site_account_open_postpaid(site, "alice");
    char filler[2049];
    memset(filler, 'x', sizeof(filler) - 1);
    filler[sizeof(filler) - 1] = '\0';
    const char *head = "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0";
    expect_refused(site, site_format(site, "%s;%s", head, filler), 431, "head_too_large");
    expect_refused(site, site_format(site, "%s\r\nX: %s\r\n\r\n", head, filler), 431,
                   "head_too_large");
    expect_refused(site, site_format(site, "%s\r\n", head), 408, "head_timeout");
    site_destroy(&site);
}

Test(protocol, refuses_two_framings_at_once)
{
    struct site *site = site_with_alice();
    /* RFC 9112 6.1: an attempt at request smuggling. The request within the body must not
     * be answered. */
    int fd = raw_connect(site, 0);
    raw_print(fd, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n"
                  "\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    const struct answer *answer = raw_answer(site, fd, false);
    cr_assert(answer->status == 400 || answer->status == 413 || answer->status == 501,
              "answered %u", answer->status);
    cr_assert_eq(raw_answer_head(site, fd)->status, 0, "the hidden request was answered");
    close(fd);
    expect_refused(site,
                   "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                   400, "head_malformed");
    site_destroy(&site);
}

Test(protocol, knows_GET_and_HEAD_alone)
{
    struct site *site = site_with_alice();
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    static const char *const methods[] = {"POST", "PUT", "DELETE", "PATCH"};
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        const char *text = site_format(site, "%s %s HTTP/1.1\r\nHost: a\r\n\r\n", methods[i], link);
        const struct answer *answer = raw_exchange(site, text, strlen(text));
        answer_expect_refusal(site, answer, 405, "method_not_allowed");
        const char *allow = answer_header(site, answer, "Allow");
        cr_assert(allow != NULL && strstr(allow, "GET") != NULL && strstr(allow, "HEAD") != NULL,
                  "Allow: %s", allow != NULL ? allow : "(none)");
    }
    const char *text = site_format(site, "FROB %s HTTP/1.1\r\nHost: a\r\n\r\n", link);
    answer_expect_refusal(site, raw_exchange(site, text, strlen(text)), 501, "method_unknown");
    cr_assert_eq(site_usage_settled(site, "alice"), 0);
    site_destroy(&site);
}

Test(protocol, speaks_HTTP_1_0)
{
    struct site *site = site_with_alice();
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    int fd = raw_connect(site, 0);
    raw_print(fd, "GET %s HTTP/1.0\r\n\r\n", link);
    answer_expect_file(site, raw_answer(site, fd, false), TRACK_TINY);
    cr_assert(raw_is_closed_by_peer(fd), "an HTTP/1.0 connection stays open");
    close(fd);

    /* An HTTP/1.0 connection is kept only if the answer says so, or the client would wait for
     * its end. */
    fd = raw_connect(site, 0);
    for (int i = 0; i < 3; i++) {
        const struct answer *answer;
        raw_print(fd, "GET %s HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
                  i == 1 ? "/nowhere" : link);
        answer = raw_answer(site, fd, false);
        if (i == 1)
            cr_assert_eq(answer->status, 403);
        else
            answer_expect_file(site, answer, TRACK_TINY);
        cr_assert_str_eq(answer_header(site, answer, "Connection"), "keep-alive");
    }
    raw_print(fd, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", link);
    cr_assert_null(answer_header(site, raw_answer(site, fd, false), "Connection"));
    close(fd);
    expect_refused(site, "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "version_refused");
    site_destroy(&site);
}

/* Characters that the WHATWG URL standard leaves as they are, while links have them escaped. */
Test(protocol, takes_what_browsers_send_as_if_it_were_percent_encoded)
{
    static const struct {
        const char *path, *sent, *more;
    } rows[] = {
        {"/a [live].mp3", "/a%20[live].mp3", "&utm=[mail]|^"},
        {"/a|b^c.mp3", "/a|b^c.mp3", "&ref={{id}}`"},
        {"/a|b^c.mp3", "/a%7Cb%5ec.mp3", ""},
    };
    struct site *site = site_create(.own_media = true);
    site_account_open_postpaid(site, "alice");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        site_media_add(site, rows[i].path, TRACK_TINY, 1);
        const char *link = site_link(site, .account = "alice", .path = rows[i].path);
        for (size_t form = 0; form < 2; form++) { /* RFC 9112 3.2.1, 3.2.2 */
            int fd = raw_connect(site, 0);
            raw_print(fd, "GET %s%s%s%s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
                      form == 0 ? "" : "http://[::1]:80", rows[i].sent, strchr(link, '?'),
                      rows[i].more);
            answer_expect_file(site, raw_answer(site, fd, false), rows[i].path);
            close(fd);
        }
    }
    site_media_add(site, TRACK_TINY, TRACK_TINY, 1);
    expect_refused(site, "GET http://a?b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 403,
                   "token_missing");
    expect_refused(site, "GET http://a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 403,
                   "token_missing");
    site_destroy(&site);
}

Test(protocol, closes_where_the_client_says_so)
{
    struct site *site = site_with_alice();
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    int fd = raw_connect(site, 0);
    raw_print(fd, "GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", link);
    const struct answer *answer = raw_answer(site, fd, false);
    answer_expect_file(site, answer, TRACK_TINY);
    cr_assert_str_eq(answer_header(site, answer, "Connection"), "close");
    cr_assert(raw_is_closed_by_peer(fd));
    close(fd);
    site_destroy(&site);
}

Test(protocol, keeps_the_connection_after_a_refusal)
{
    struct site *site = site_with_alice();
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    int fd = raw_connect(site, 0);
    raw_print(fd, "GET /x HTTP/1.1\r\nHost: a\r\n\r\nGET %s HTTP/1.1\r\nHost: a\r\n\r\n", link);
    answer_expect_refusal(site, raw_answer(site, fd, false), 403, "token_missing");
    answer_expect_file(site, raw_answer(site, fd, false), TRACK_TINY);
    close(fd);
    site_destroy(&site);
}

Test(protocol, answers_a_head_that_never_ends_by_408)
{
    struct site *site = site_create(.settings = "head_timeout_ms: 300\n");
    int fd = raw_connect(site, 0);
    raw_print(fd, "GET / HTTP/1.1\r\nHost: a\r\n");
    const struct answer *answer = raw_answer(site, fd, false);
    answer_expect_refusal(site, answer, 408, "head_timeout");
    cr_assert(raw_is_closed_by_peer(fd));
    close(fd);
    site_destroy(&site);
}

Test(protocol, closes_an_idle_connection)
{
    struct site *site = site_create(.settings = "idle_timeout_ms: 300\n");
    int fd = raw_connect(site, 0);
    cr_assert(raw_is_closed_by_peer(fd), "an idle connection stays open");
    cr_assert_eq(raw_drain(fd), 0);
    close(fd);
    site_destroy(&site);
}

Test(protocol, takes_tokens_from_the_header_and_the_cookie)
{
    struct site *site = site_with_alice();
    const char *token = site_token(site, .account = "alice", .path = TRACK_TINY);
    const char *bearer = site_format(site, "Authorization: Bearer %s", token);
    answer_expect_file(site, fetch(site, TRACK_TINY, .headers = HEADERS(bearer)), TRACK_TINY);
    const char *cookie = site_format(site, "Cookie: a=b; URISigningPackage=%s; c=d", token);
    answer_expect_file(site, fetch(site, TRACK_TINY, .headers = HEADERS(cookie)), TRACK_TINY);
    const char *twice =
        site_format(site, "%s?URISigningPackage=%s&URISigningPackage=%s", TRACK_TINY, token, token);
    answer_expect_refusal(site, fetch(site, twice), 403, "token_ambiguous");
    site_destroy(&site);
}

/* Proxies that translate HTTP/2 may send several (RFC 9113 8.2.3). */
Test(protocol, takes_several_cookie_lines_for_one)
{
    struct site *site = site_with_alice();
    const char *token = site_token(site, .account = "alice", .path = TRACK_TINY);
    int fd = raw_connect(site, 0);
    raw_print(fd, "GET " TRACK_TINY " HTTP/1.1\r\nHost: a\r\nCookie: a=b\r\nX: y\r\n");
    for (unsigned i = 0; i < 50; i++)
        raw_print(fd, "cookie: c%u=d; e%u=f\r\n", i, i);
    raw_print(fd, "Cookie: g=h; URISigningPackage=%s\r\nCookie: i=j\r\n\r\n", token);
    answer_expect_file(site, raw_answer(site, fd, false), TRACK_TINY);
    raw_print(fd,
              "GET " TRACK_TINY
              " HTTP/1.1\r\nHost: a\r\nCookie: URISigningPackage=%s\r\nCookie: a=b\r\n"
              "Cookie: URISigningPackage=%s\r\n\r\n",
              token, token);
    answer_expect_refusal(site, raw_answer(site, fd, false), 403, "token_ambiguous");
    raw_print(fd, "GET " TRACK_TINY " HTTP/1.1\r\nHost: a\r\nCookie: a=b\r\nCookie: c=d\r\n\r\n");
    answer_expect_refusal(site, raw_answer(site, fd, false), 403, "token_missing");
    close(fd);
    site_destroy(&site);
}
