/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTPS: the same answers over TLS 1.2 and 1.3, HTTP/1.1 by ALPN, and a bill that never exceeds
 * what has arrived.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/integration/harness_internal.h"
#include "tests/integration/harness_tls.h"

/* ---- the same answers ---- */

Test(tls, delivers_files_ranges_and_heads_and_bills_them_exactly)
{
    struct site *site = site_create(.tls = true, .settings = "workers: 1\n");
    site_account_open_prepaid(site, "alice", 100000000);
    const char *tiny = site_link(site, .account = "alice", .path = TRACK_TINY);
    const char *lengthy = site_link(site, .account = "alice", .path = TRACK_LONG);
    size_t tiny_size, long_size;
    (void)site_media_bytes(site, TRACK_TINY, &tiny_size);
    (void)site_media_bytes(site, TRACK_LONG, &long_size);
    uint64_t due = 0;
    for (int i = 0; i < 3; i++) {
        const struct answer *answer = fetch(site, tiny, .tls = true);
        answer_expect_file(site, answer, TRACK_TINY);
        cr_assert_eq(answer->reused, i > 0);
        answer_expect_file(site, fetch(site, lengthy, .tls = true), TRACK_LONG);
        due += tiny_size + long_size;
    }
    const struct answer *part = fetch(site, lengthy, .tls = true, .range = "70001-170000");
    cr_assert_eq(part->status, 206);
    answer_expect_bytes(site, part, TRACK_LONG, 70001, 100000);
    due += 100000;
    const struct answer *parts = fetch(site, lengthy, .tls = true, .range = "0-9,50000-149999");
    cr_assert_eq(parts->status, 206);
    cr_assert(parts->complete);
    due += 10 + 100000;
    const struct answer *head = fetch(site, lengthy, .tls = true, .method = "HEAD");
    cr_assert_eq(head->status, 200);
    cr_assert_eq(answer_header_number(site, head, "Content-Length"), long_size);
    answer_expect_refusal(site, fetch(site, "/nothing.mp3", .tls = true), 403, "token_missing");
    site_usage_await(site, "alice", due);
    cr_assert_eq(site_traffic(site, "tls_handshakes"), 1);
    site_destroy(&site);
}

/* The end of the handshake and the first request may reach the node in one segment. */
Test(tls, counts_a_handshake_once_that_ends_together_with_a_request)
{
    struct site *site = site_create(.tls = true);
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    struct client client;
    size_t size;
    (void)site_media_bytes(site, TRACK_TINY, &size);
    int fd = raw_connect_tls(site, 0), held = 1, released = 0;
    cr_assert_eq(setsockopt(fd, IPPROTO_TCP, TCP_CORK, &held, sizeof(held)), 0);
    OPEN(site, &client, .version = TLS1_3_VERSION, .fd = fd);
    ask(&client, link);
    cr_assert_eq(setsockopt(fd, IPPROTO_TCP, TCP_CORK, &released, sizeof(released)), 0);
    cr_assert_eq(take(&client, size), size);
    client_close(&client);
    site_usage_await(site, "alice", size);
    cr_assert_eq(site_traffic(site, "tls_handshakes"), 1);
    site_destroy(&site);
}

Test(tls, speaks_1_2_and_1_3_and_nothing_older)
{
    struct site *site = site_create(.tls = true);
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_LONG);
    size_t size;
    (void)site_media_bytes(site, TRACK_LONG, &size);
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < 2; i++) {
        struct client client;
        OPEN(site, &client, .version = versions[i]);
        cr_assert_eq(SSL_version(client.ssl), versions[i]);
        ask(&client, link);
        cr_assert_eq(take(&client, size), size);
        client_close(&client);
        site_usage_await(site, "alice", (i + 1) * size);
    }
    struct client old;
    cr_assert_neq(client_open(site, &old, &(struct client_options){.version = TLS1_1_VERSION}), 1);
    client_close(&old);
    site_destroy(&site);
}

Test(tls, agrees_on_http_1_1_and_refuses_those_who_speak_only_h2)
{
    struct site *site = site_create(.tls = true);
    struct client client;
    const unsigned char *chosen;
    unsigned length;
    OPEN(site, &client, .protocols = "\x02h2\x08http/1.1");
    SSL_get0_alpn_selected(client.ssl, &chosen, &length);
    cr_assert(length == 8 && memcmp(chosen, "http/1.1", 8) == 0);
    client_close(&client);
    cr_assert_neq(client_open(site, &client, &(struct client_options){.protocols = "\x02h2"}), 1);
    cr_assert_eq(ERR_GET_REASON(ERR_peek_last_error()), SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL);
    client_close(&client);
    site_destroy(&site);
}

/* ---- the bill ---- */

Test(tls, a_client_that_goes_in_the_middle_pays_for_no_more_than_arrived)
{
    struct site *site = site_create(.tls = true, .settings = "workers: 1\n");
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_LONG);
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    uint64_t before = 0;
    for (size_t i = 0; i < 2; i++) {
        struct client client;
        OPEN(site, &client, .version = versions[i], .receive_buffer_bytes = 16384);
        ask(&client, link);
        size_t read = take(&client, 300000);
        cr_assert_eq(read, 300000);
        for (int wait = 0; wait < 30; wait++)
            harness_pause(); /* until the receive buffer is full and a tick has counted it */
        raw_reset(client.fd);
        client.fd = -1;
        uint64_t billed = site_usage_settled(site, "alice") - before;
        /* All that was read is acknowledged, and at most a receive buffer's content beyond it. */
        cr_assert_geq(billed, 300000 - 32 * 29 - 16384, "%llu", (unsigned long long)billed);
        cr_assert_leq(billed, 300000 + 65536, "%llu", (unsigned long long)billed);
        before += billed;
        client_close(&client);
    }
    site_destroy(&site);
}

Test(tls, a_slow_client_gets_all_and_pays_for_all)
{
    struct site *site = site_create(.tls = true, .settings = "workers: 1\n");
    site_account_open_prepaid(site, "alice", 100000000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_LONG);
    size_t size;
    const unsigned char *bytes = site_media_bytes(site, TRACK_LONG, &size);
    struct client client;
    OPEN(site, &client, .receive_buffer_bytes = 4096);
    ask(&client, link);
    cr_assert_eq(take(&client, 1), 1);
    unsigned char buffer[5000];
    size_t at = 1;
    while (at < size) {
        int got = SSL_read(client.ssl, buffer, sizeof(buffer));
        cr_assert_gt(got, 0);
        cr_assert_eq(memcmp(buffer, bytes + at, (size_t)got), 0, "wrong bytes after %zu", at);
        at += (size_t)got;
        if (at / 100000 != (at - (size_t)got) / 100000)
            harness_pause();
    }
    site_usage_await(site, "alice", size);
    client_close(&client);
    site_destroy(&site);
}

Test(tls, a_client_that_says_close_notify_still_gets_what_it_asked_for)
{
    struct site *site = site_create(.tls = true);
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_SHORT);
    size_t size;
    (void)site_media_bytes(site, TRACK_SHORT, &size);
    struct client client;
    OPEN(site, &client, .name = "media.example");
    ask(&client, link);
    cr_assert_eq(SSL_shutdown(client.ssl), 0);
    cr_assert_eq(take(&client, size), size);
    char byte;
    cr_assert_leq(SSL_read(client.ssl, &byte, 1), 0);
    cr_assert_eq(SSL_get_shutdown(client.ssl) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN,
                 "the server ends without close_notify");
    client_close(&client);
    site_usage_await(site, "alice", size);
    site_destroy(&site);
}

Test(tls, a_clients_key_update_in_the_middle_changes_nothing)
{
    struct site *site = site_create(.tls = true);
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_LONG);
    size_t size, got;
    (void)site_media_bytes(site, TRACK_LONG, &size);
    struct client client;
    OPEN(site, &client, .version = TLS1_3_VERSION, .receive_buffer_bytes = 8192);
    ask(&client, link);
    got = take(&client, 5000);
    char buffer[16384];
    while (got < size) {
        if (got % 7 == 0)
            cr_assert_eq(SSL_key_update(client.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        int length = SSL_read(client.ssl, buffer, sizeof(buffer));
        cr_assert_gt(length, 0);
        got += (size_t)length;
        cr_assert_eq(SSL_do_handshake(client.ssl), 1); /* writes the update */
    }
    cr_assert_eq(got, size);
    site_usage_await(site, "alice", size);
    client_close(&client);
    site_destroy(&site);
}
