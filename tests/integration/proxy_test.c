/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients behind proxies: the PROXY protocol, X-Forwarded-For or Forwarded names them, for the
 * access log and for the bound of an address. Also what a proxy is told that sends none of these.
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/harness.h"

static void ask(int fd, const char *link, const char *fields)
{
    raw_print(fd, "GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n", link, fields);
}

/* The `client` of the access log's line `index`, counted from 0. Lines come in the order in which
 * responses are settled, so a test must send one request after the other. */
static const char *client_of(struct site *site, unsigned index)
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    for (;; harness_pause()) {
        cr_assert_lt(harness_now_ms(), deadline_ms, "there is no line %u", index);
        FILE *file = fopen(site_format(site, "%s/access", site_directory(site)), "re");
        char line[8192] = "";
        unsigned read = 0;
        while (file != NULL && read <= index && fgets(line, sizeof(line), file) != NULL)
            read += strchr(line, '\n') != NULL;
        if (file != NULL)
            fclose(file);
        if (read <= index)
            continue;
        json_t *value = json_loads(line, 0, NULL);
        const char *client =
            site_format(site, "%s", json_string_value(json_object_get(value, "client")));
        json_decref(value);
        return client;
    }
}

/* Asks on a new connection, and expects the file and this client in the log. */
static void expect_client(struct site *site, unsigned *lines, const char *before,
                          const char *fields, const char *link, const char *client)
{
    int fd = raw_connect(site, 0);
    raw_print(fd, "%s", before);
    ask(fd, link, fields);
    answer_expect_file(site, raw_answer(site, fd, false), TRACK_TINY);
    close(fd);
    const char *logged = client_of(site, (*lines)++);
    if (client != NULL)
        cr_assert_str_eq(logged, client, "%s in place of %s: %s%s", logged, client, before, fields);
    else
        cr_assert_eq(strncmp(logged, "127.0.0.1:", 10), 0, "%s: %s%s", logged, before, fields);
}

Test(proxy, protocol_of_version_1_names_the_client)
{
    struct site *site = site_create(.settings = "workers: 1\naccess_log: access\n"
                                                "connections_per_address_max: 1\n"
                                                "proxy_protocol_from: 127.0.0.1\n");
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    unsigned lines = 0;
    expect_client(site, &lines, "PROXY TCP4 192.0.2.1 203.0.113.9 4711 80\r\n", "", link,
                  "192.0.2.1:4711");
    expect_client(site, &lines, "PROXY TCP6 2001:db8::1 ::1 4711 80\r\n", "", link,
                  "[2001:db8::1]:4711");
    expect_client(site, &lines, "PROXY UNKNOWN\r\n", "", link, NULL);
    /* The header comes in pieces, and the same client is connected twice. */
    int one = raw_connect(site, 0), two = raw_connect(site, 0);
    raw_print(one, "PROXY TCP4 192.0.2.");
    harness_pause();
    raw_print(one, "1 203.0.113.9 4711 80\r\n");
    ask(one, link, "");
    answer_expect_file(site, raw_answer(site, one, false), TRACK_TINY);
    raw_print(two, "PROXY TCP4 192.0.2.1 203.0.113.9 4712 80\r\n");
    answer_expect_refusal(site, raw_answer(site, two, false), 429, "address_exhausted");
    close(one);
    close(two);
    site_destroy(&site);
}

Test(proxy, that_begins_without_a_header_is_told_and_named_in_the_log)
{
    struct site *site =
        site_create(.tls = true,
                    .settings = "proxy_protocol_from: 127.0.0.0/8\nhead_timeout_ms: 2000\n");
    static const char *const wrong[] = {"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
                                        "PROXY TCP4 192.0.2.01 203.0.113.9 4711 80\r\n"};
    static const char *const said[] = {
        "proxy 127.0.0.1: refused a connection that began without a PROXY protocol header",
        "proxy 127.0.0.1: refused a connection whose PROXY protocol header is malformed",
    };
    for (size_t i = 0; i < 2; i++) {
        answer_expect_refusal(site, raw_exchange(site, wrong[i], strlen(wrong[i])), 400,
                              "proxy_header_missing");
        (void)site_log_await(site, said[i]);
        (void)site_log_await(site, "or take it out of proxy_protocol_from");
    }
    for (int i = 0; i < 20; i++) /* the log must not repeat it each time */
        (void)raw_exchange(site, wrong[0], strlen(wrong[0]));
    const char *first = strstr(site_log(site), said[0]);
    cr_assert_null(strstr(first + 1, said[0]));
    /* TLS, or a header that stops half way, cannot be answered in HTTP, so only the log tells. */
    int hello = raw_connect_tls(site, 0), half = raw_connect_tls(site, 0);
    raw_send(hello, "\x16\x03\x01\x00\x05hello", 10);
    cr_assert(raw_is_closed_by_peer(hello));
    raw_print(half, "PROXY TCP4 192.0.2.1");
    cr_assert(raw_is_closed_by_peer(half));
    (void)site_log_await(site, "did not arrive whole within head_timeout_ms");
    close(hello);
    close(half);
    site_destroy(&site);
}

Test(proxy, names_the_client_in_x_forwarded_for)
{
    struct site *site = site_create(.settings = "workers: 1\naccess_log: access\n"
                                                "forwarded_from: 127.0.0.1 10.0.0.0/8\n");
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    unsigned lines = 0;
    expect_client(site, &lines, "", "X-Forwarded-For: 192.0.2.1\r\n", link, "192.0.2.1");
    expect_client(site, &lines, "",
                  "X-Forwarded-For: 198.51.100.9, [2001:db8::1]:4711, 10.0.0.9\r\n", link,
                  "[2001:db8::1]:4711");
    expect_client(site, &lines, "",
                  "X-Forwarded-For: 198.51.100.9\r\nForwarded: for=198.51.100.9\r\n"
                  "X-Forwarded-For: 192.0.2.1\r\n",
                  link, "192.0.2.1");
    /* The field of a client that is not a trusted proxy is ignored: it may be forged. */
    const struct answer *answer = fetch(site, link, .source = "127.0.0.9", .fresh = true,
                                        .headers = HEADERS("X-Forwarded-For: 192.0.2.1"));
    answer_expect_file(site, answer, TRACK_TINY);
    const char *stranger = client_of(site, lines++);
    cr_assert_eq(strncmp(stranger, "127.0.0.9:", 10), 0, "%s", stranger);

    expect_client(site, &lines, "", "X-Forwarded-For: unknown\r\n", link, NULL);
    cr_assert_null(strstr(site_log(site), "proxy 127.0.0.1"));
    expect_client(site, &lines, "", "", link, NULL);
    (void)site_log_await(site, "proxy 127.0.0.1: a request came without X-Forwarded-For");
    expect_client(site, &lines, "", "Forwarded: for=192.0.2.1\r\n", link, NULL);
    (void)site_log_await(site, "set forwarded_field: Forwarded");
    expect_client(site, &lines, "", "X-Forwarded-For: client.example\r\n", link, NULL);
    (void)site_log_await(site,
                         "proxy 127.0.0.1: what it wrote in X-Forwarded-For is not an address");
    site_destroy(&site);
}

Test(proxy, names_the_client_in_forwarded_behind_one_that_speaks_the_protocol)
{
    struct site *site = site_create(.settings = "workers: 1\naccess_log: access\n"
                                                "proxy_protocol_from: 127.0.0.1\n"
                                                "forwarded_from: 10.0.0.0/8\n"
                                                "forwarded_field: forwarded\n");
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    unsigned lines = 0;
    static const char trusted[] = "PROXY TCP4 10.0.0.7 203.0.113.9 4711 80\r\n";
    expect_client(site, &lines, trusted, "Forwarded: for=\", for=\"[2001:db8::1]:80\";by=_x\r\n",
                  link, "[2001:db8::1]:80");
    expect_client(site, &lines, trusted, "X-Forwarded-For: 192.0.2.1\r\nForwarded: for=_secret\r\n",
                  link, "10.0.0.7:4711");
    expect_client(site, &lines, "PROXY TCP4 198.51.100.9 203.0.113.9 4711 80\r\n",
                  "Forwarded: for=192.0.2.1\r\n", link, "198.51.100.9:4711");
    site_destroy(&site);
}

Test(proxy, of_many_clients_has_the_requests_of_each_counted)
{
    struct site *site = site_create(.settings = "workers: 2\nconnections_per_address_max: 1\n"
                                                "forwarded_from: 127.0.0.1\n");
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    const char *slow =
        site_link(site, .account = "alice", .path = TRACK_LONG, .limits = {.rate = 1000});
    int busy = raw_connect(site, 4096), other = raw_connect(site, 0);
    ask(busy, slow, "X-Forwarded-For: 192.0.2.1\r\n");
    cr_assert_eq(raw_answer_head(site, busy)->status, 200);
    /* The connection belongs to the proxy, and stays open for its other clients. */
    for (int i = 0; i < 2; i++) {
        ask(other, link, "X-Forwarded-For: 192.0.2.1\r\n");
        answer_expect_refusal(site, raw_answer(site, other, false), 429, "address_exhausted");
        ask(other, link, "X-Forwarded-For: 192.0.2.2\r\n");
        answer_expect_file(site, raw_answer(site, other, false), TRACK_TINY);
    }
    /* Behind content it is closed: unread content must not pass for another client's request. */
    static const char *const framings[] = {"Content-Length: 1000", "Transfer-Encoding: chunked"};
    for (int i = 0; i < 2; i++) {
        int posted = raw_connect(site, 0);
        raw_print(posted, "POST /x HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\n%s\r\n\r\n",
                  framings[i]);
        ask(posted, link, "X-Forwarded-For: 192.0.2.3\r\n");
        answer_expect_refusal(site, raw_answer(site, posted, false), 429, "address_exhausted");
        cr_assert_eq(raw_drain(posted), 0, "an answer to what was content");
        close(posted);
    }
    raw_reset(busy);
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    const struct answer *answer;
    do { /* until the node has noticed the close */
        cr_assert(harness_now_ms() < deadline_ms, "the place is not given back");
        harness_pause();
        ask(other, link, "X-Forwarded-For: 192.0.2.1\r\n");
        answer = raw_answer(site, other, false);
    } while (answer->status != 200);
    close(other);
    site_destroy(&site);
}
