/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What else comes to the port for TLS: noise, plain HTTP, a proxy's header, and handshakes that
 * fail, which are counted by their reason.
 */
#include <string.h>
#include <unistd.h>

#include "tests/integration/harness_internal.h"
#include "tests/integration/harness_tls.h"

/* ---- what is not TLS ---- */

static const char proxy_header[] =
    "\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x21\x11\x00\x0c"
    "\xc0\x00\x02\x01\xcb\x00\x71\x09\x12\x67\x01\xbb";

Test(tls, noise_on_its_port_ends_the_connection_alone)
{
    static const struct {
        const char *bytes;
        size_t length;
    } noise[] = {
        {"", 0},                                              /* sends nothing */
        {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11}, /* a part of a ClientHello */
        {"\x00\x01\x02\x03\x04\x05\x06\x07", 8},
        {"\xff\xfe\r\n\r\n", 6},
        {"EHLO media.example\r\n\r\n", 22},
        {"GET /\r\n\r\n", 9},  /* HTTP/0.9 has no head in which to answer */
        {"GET / HTTP/1.", 13}, /* the request stops here */
        {"\r\n\r\n", 4},
        {proxy_header, sizeof(proxy_header) - 1}, /* not from a configured proxy */
    };
    struct site *site = site_create(.tls = true, .settings = "workers: 1\nhead_timeout_ms: 1000\n");
    for (size_t i = 0; i < sizeof(noise) / sizeof(*noise); i++) {
        int fd = raw_connect_tls(site, 0);
        raw_send(fd, noise[i].bytes, noise[i].length);
        /* OpenSSL may send an alert, which has seven bytes. No HTTP answer may come. */
        cr_expect_leq(raw_drain(fd), 7, "noise %zu", i);
        close(fd);
    }
    cr_assert_geq(site_traffic(site, "tls_failed"), 1);
    struct client client;
    OPEN(site, &client, .name = "media.example");
    client_close(&client);
    site_destroy(&site);
}

/* Sends the bytes without TLS to the port for TLS, `step` at a time, and reads the answer. */
static const struct answer *exchange_plain(struct site *site, const char *request, size_t step)
{
    int fd = raw_connect_tls(site, 0);
    for (size_t at = 0, length = strlen(request); at < length; at += step) {
        raw_send(fd, request + at, length - at < step ? length - at : step);
        if (step < length)
            harness_pause();
    }
    const struct answer *answer = raw_answer(site, fd, strncmp(request, "HEAD", 4) == 0);
    cr_expect_eq(raw_drain(fd), 0, "something follows the answer to %s", request);
    close(fd);
    return answer;
}

Test(tls, plain_http_on_its_port_is_told_so_in_plain_http)
{
    static const char *const requests[] = {
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\nGET / HTTP/1.0\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345",
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n", /* no Host */
        "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n", /* the head does not end */
    };
    struct site *site = site_create(.tls = true, .settings = "workers: 1\nhead_timeout_ms: 3000\n");
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    for (size_t i = 0; i < sizeof(requests) / sizeof(*requests); i++) {
        const struct answer *answer = exchange_plain(site, requests[i], 4096);
        cr_expect_eq(answer->status, 400, "%s: %u", requests[i], answer->status);
        if (requests[i][0] != 'H')
            answer_expect_refusal(site, answer, 400, "plain_http");
        cr_expect_str_eq(answer_header(site, answer, "Connection"), "close", "%s", requests[i]);
        cr_expect_not_null(answer_header(site, answer, "Date"), "%s", requests[i]);
    }
    /* The request comes letter by letter. */
    answer_expect_refusal(site, exchange_plain(site, requests[0], 1), 400, "plain_http");
    /* A good link without TLS must not be served on this port, whatever the request. */
    static const char *const fields[] = {"", "Range: bytes=0-9\r\n", "Accept: text/html\r\n"};
    for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
        const struct answer *answer = exchange_plain(
            site,
            site_format(site, "GET %s HTTP/1.1\r\nHost: media.example\r\n%s\r\n", link, fields[i]),
            4096);
        cr_expect_eq(answer->status, 400);
        cr_expect_not_null(strstr((const char *)answer->body, "plain_http"));
    }
    answer_expect_file(site, fetch(site, link, .tls = true), TRACK_TINY);
    size_t size;
    (void)site_media_bytes(site, TRACK_TINY, &size);
    site_usage_await(site, "alice", size);
    site_destroy(&site);
}

Test(tls, plain_http_on_its_port_behind_a_proxys_header_is_told_so)
{
    struct site *site = site_create(.tls = true, .settings = "proxy_protocol_from: 127.0.0.0/8\n");
    for (int together = 0; together < 2; together++) {
        int fd = raw_connect_tls(site, 0);
        if (!together) {
            raw_send(fd, proxy_header, sizeof(proxy_header) - 1);
            harness_pause();
            raw_print(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        } else {
            char bytes[128];
            memcpy(bytes, proxy_header, sizeof(proxy_header) - 1);
            memcpy(bytes + sizeof(proxy_header) - 1, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27);
            raw_send(fd, bytes, sizeof(proxy_header) - 1 + 27);
        }
        answer_expect_refusal(site, raw_answer(site, fd, false), 400, "plain_http");
        close(fd);
    }
    site_log_await(site, "192.0.2.1");
    site_destroy(&site);
}

Test(tls, plain_http_on_its_port_is_redirected_where_the_plain_port_redirects)
{
    struct site *site = site_create(.tls = true, .origin = "https://media.example",
                                    .settings = "plain_http: redirect\n");
    static const char request[] = "GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n";
    for (size_t step = 1; step < sizeof(request); step += sizeof(request) - 2) {
        const struct answer *answer = exchange_plain(site, request, step);
        cr_expect_eq(answer->status, 308);
        cr_expect_str_eq(answer_header(site, answer, "Location"), "https://media.example/a?b");
        cr_expect_str_eq(answer_header(site, answer, "Connection"), "close");
    }
    answer_expect_refusal(site, exchange_plain(site, "DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", 4096),
                          400, "plain_http");
    site_destroy(&site);
}

Test(tls, plain_http_is_redirected_where_it_is_to_be)
{
    struct site *site = site_create(.tls = true, .origin = "https://media.example",
                                    .settings = "plain_http: redirect\n");
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    const struct answer *answer = fetch(site, link);
    cr_assert_eq(answer->status, 308); /* RFC 9110 15.4.9 */
    cr_assert_str_eq(answer_header(site, answer, "Location"),
                     site_format(site, "https://media.example%s", link));
    answer_expect_file(site, fetch(site, link, .tls = true), TRACK_TINY);
    cr_assert_eq(fetch(site, link, .method = "DELETE")->status, 405);
    site_destroy(&site);
}

Test(tls, a_proxys_header_comes_before_it)
{
    struct site *site = site_create(.tls = true, .settings = "proxy_protocol_from: 127.0.0.0/8\n"
                                                             "connections_per_address_max: 1\n");
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    size_t size;
    (void)site_media_bytes(site, TRACK_TINY, &size);
    struct client first, second;
    int fd = raw_connect_tls(site, 0);
    raw_send(fd, proxy_header, 7);
    harness_pause();
    raw_send(fd, proxy_header + 7, sizeof(proxy_header) - 1 - 7);
    OPEN(site, &first, .fd = fd);
    ask(&first, link);
    cr_assert_eq(take(&first, size), size);
    fd = raw_connect_tls(site, 0); /* the same client, a second time */
    raw_send(fd, proxy_header, sizeof(proxy_header) - 1);
    cr_assert_neq(client_open(site, &second, &(struct client_options){.fd = fd}), 1);
    client_close(&second);
    client_close(&first);
    site_destroy(&site);
}

/* ---- failed handshakes by reason ---- */

struct failure {
    const char *kind;
    struct client_options options; /* a client whose handshake fails */
    const char *bytes;             /* sent instead of a handshake, where not NULL */
    size_t length;
    bool leaves; /* closes right after sending */
};

static void fail(struct site *site, const struct failure *failure)
{
    struct client client;
    if (failure->bytes == NULL) {
        cr_assert_neq(client_open(site, &client, &failure->options), 1, "%s", failure->kind);
        client_close(&client);
        return;
    }
    int fd = raw_connect_tls(site, 0);
    raw_send(fd, failure->bytes, failure->length);
    if (!failure->leaves)
        cr_assert(raw_is_closed_by_peer(fd));
    close(fd);
}

Test(tls, failures_are_counted_by_their_reason)
{
#define NONE(text) .bytes = (text), .length = sizeof(text) - 1
    static const struct failure failures[] = {
        {.kind = "no_shared_cipher",
         .options = {.version = TLS1_2_VERSION, .ciphers = "AES128-SHA"}},
        {.kind = "no_shared_version", .options = {.version = TLS1_1_VERSION}},
        {.kind = "no_protocol", .options = {.protocols = "\x02h2"}},
        {.kind = "certificate_refused", .options = {.verifies = true, .version = TLS1_2_VERSION}},
        {.kind = "timed_out", NONE("")},
        {.kind = "timed_out", NONE("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")},
        {.kind = "other", NONE("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), .leaves = true},
        {.kind = "plain_http", NONE("GET / HTTP/1.1\r\nHost: a\r\n\r\n")},
        {.kind = "plain_http", NONE("POST / HTTP/1.1\r\n\r\n")},
        {.kind = "other", NONE("EHLO media.example\r\n\r\n")},
        {.kind = "other", NONE("\x00\x01\x02\x03\x04\x05\x06\x07")},
    };
#undef NONE
    struct site *site = site_create(.tls = true, .settings = "workers: 1\nhead_timeout_ms: 2000\n");
    for (size_t i = 0; i < sizeof(failures) / sizeof(*failures); i++) {
        const char *name = site_format(site, "tls_failed_%s", failures[i].kind);
        uint64_t before = site_traffic(site, name);
        cr_assert_eq(site_traffic(site, "tls_failed"), i);
        fail(site, &failures[i]);
        for (int wait = 0; site_traffic(site, name) == before; wait++) {
            cr_assert_lt(wait, 6000, "row %zu is not counted as %s", i, name);
            harness_pause();
        }
        cr_expect_eq(site_traffic(site, name), before + 1, "%s", name);
        cr_expect_eq(site_traffic(site, "tls_failed"), i + 1, "%s", name);
    }
    struct client client; /* sends a record that its session did not make */
    OPEN(site, &client);
    raw_send(client.fd, "\x17\x03\x03\x00\x14nobody sealed these.", 25);
    cr_assert(raw_is_closed_by_peer(client.fd));
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (site_traffic(site, "tls_failed_after_handshake") != 1) {
        cr_assert(harness_now_ms() < deadline_ms, "a broken session is not counted");
        harness_pause();
    }
    client_close(&client);
    site_destroy(&site);
}
