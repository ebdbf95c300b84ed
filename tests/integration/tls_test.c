/*
 * HTTPS: the same answers over TLS 1.2 and 1.3, the certificate that the name asks for, sessions
 * that survive other workers and reloads, what is refused, and a bill that is never more than what
 * arrived.
 */
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/integration/harness_internal.h"
#include "tests/integration/harness_tls.h"

static const char *subject_of(struct site *site, const struct client *client)
{
    char text[256] = "";
    X509 *certificate = SSL_get1_peer_certificate(client->ssl);
    cr_assert_not_null(certificate);
    X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, text,
                              sizeof(text));
    X509_free(certificate);
    return site_format(site, "%s", text);
}

static uint64_t counter(struct site *site, const char *name)
{
    const struct answer *health = site_admin(site, "GET", "/v1/health", NULL);
    const char *quoted = site_format(site, "\"%s\":", name);
    const char *at = strstr((const char *)health->body, quoted);
    cr_assert_not_null(at, "no counter %s", name);
    return strtoull(at + strlen(quoted), NULL, 10);
}

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
    cr_assert_eq(counter(site, "tls_handshakes"), 1);
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

/* ---- names and protocols ---- */

Test(tls, sends_the_certificate_of_the_name_that_is_asked_for)
{
    struct site *site = site_create(.tls = true);
    static const char *const names[][2] = {{"media.example", "media.example"},
                                           {"other.example", "other.example"},
                                           {"unknown.example", "media.example"}};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        struct client client;
        OPEN(site, &client, .name = names[i][0]);
        cr_assert_str_eq(subject_of(site, &client), names[i][1]);
        client_close(&client);
    }
    site_destroy(&site);
}

/* The subject that a client of `options` is shown; "" where the two do not come together. */
static const char *served(struct site *site, const struct client_options *options)
{
    struct client client;
    const char *subject = client_open(site, &client, options) == 1 ? subject_of(site, &client) : "";
    client_close(&client);
    return subject;
}

#define EXPECT_SERVED(site, expected, ...)                                                         \
    cr_assert_str_eq(served(site, &(struct client_options){__VA_ARGS__}), expected)

#define RSA_ALONE "RSA-PSS+SHA256:RSA+SHA256"

Test(tls, certificates_of_two_kinds_serve_each_client_the_one_that_it_can_verify)
{
    struct site *site = site_create(.tls = true, .stays_down = true);
    CERTIFICATE(site, .file = "a-rsa.pem", .names = "DNS:two.example", .subject = "rsa",
                .rsa = true);
    CERTIFICATE(site, .file = "b-p384.pem", .names = "DNS:two.example", .subject = "p384",
                .curve = "P-384");
    CERTIFICATE(site, .file = "c-p256.pem", .names = "DNS:two.example", .subject = "p256");
    site_node_start(site);
    site_node_await_ready(site);
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < 2; i++) {
        int version = versions[i];
        EXPECT_SERVED(site, "p384", .name = "two.example", .version = version);
        EXPECT_SERVED(site, "rsa", .name = "two.example", .version = version,
                      .signatures = RSA_ALONE);
        EXPECT_SERVED(site, "rsa", .name = "other.one", .version = version,
                      .signatures = RSA_ALONE);
        EXPECT_SERVED(site, "p384", .name = "other.one", .version = version);
    }
    EXPECT_SERVED(site, "p256", .name = "two.example", .version = TLS1_3_VERSION,
                  .signatures = "ECDSA+SHA256:" RSA_ALONE);
    EXPECT_SERVED(site, "rsa", .name = "two.example", .version = TLS1_2_VERSION,
                  .ciphers = "ECDHE-RSA-AES128-GCM-SHA256");
    EXPECT_SERVED(site, "p384", .name = "two.example", .version = TLS1_2_VERSION,
                  .ciphers = "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256");
    EXPECT_SERVED(site, "", .name = "media.example", .version = TLS1_3_VERSION,
                  .signatures = RSA_ALONE);
    site_destroy(&site);
}

Test(tls, a_valid_certificate_goes_before_an_expired_one_and_a_name_before_a_wildcard)
{
    struct site *site = site_create(.tls = true, .stays_down = true);
    int64_t now_s = time(NULL);
    CERTIFICATE(site, .file = "a.pem", .names = "DNS:old.example,DNS:late.example", .subject = "a",
                .starts_s = now_s - 7200, .ends_s = now_s - 3600);
    CERTIFICATE(site, .file = "b.pem", .names = "DNS:old.example", .subject = "b", .rsa = true);
    CERTIFICATE(site, .file = "c.pem", .names = "DNS:*.shop.example", .subject = "c");
    CERTIFICATE(site, .file = "d.pem", .names = "DNS:www.shop.example", .subject = "d",
                .rsa = true);
    CERTIFICATE(site, .file = "e.pem", .names = "DNS:dl.shop.example", .subject = "e",
                .starts_s = now_s + 36000);
    site_node_start(site);
    site_node_await_ready(site);
    EXPECT_SERVED(site, "b", .name = "old.example");
    EXPECT_SERVED(site, "a", .name = "old.example", .version = TLS1_3_VERSION,
                  .signatures = "ECDSA+SHA256"); /* it is all that such a client can take */
    EXPECT_SERVED(site, "a", .name = "late.example");
    EXPECT_SERVED(site, "d", .name = "www.shop.example");
    EXPECT_SERVED(site, "d", .name = "WWW.Shop.Example");
    EXPECT_SERVED(site, "c", .name = "www.shop.example", .version = TLS1_3_VERSION,
                  .signatures = "ECDSA+SHA256");
    EXPECT_SERVED(site, "c", .name = "any.shop.example");
    EXPECT_SERVED(site, "c", .name = "dl.shop.example"); /* e is not valid yet */
    EXPECT_SERVED(site, "b", .name = "unknown.example"); /* of the first one's host */
    site_destroy(&site);
}

Test(tls, a_certificate_that_ends_during_the_run_gives_way_to_the_one_that_begins)
{
    struct site *site = site_create(.tls = true);
    int64_t change_s = time(NULL) + 3;
    CERTIFICATE(site, .file = "a.pem", .names = "DNS:long.example", .subject = "a",
                .ends_s = change_s);
    CERTIFICATE(site, .file = "b.pem", .names = "DNS:long.example", .subject = "b",
                .starts_s = change_s);
    site_node_signal(site, SIGHUP);
    (void)site_log_await(site, "reloaded 4 certificates");
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    const char *subject = "";
    while (strcmp(subject, "b") != 0) { /* the first answers may come from before the reload */
        cr_assert_lt(harness_now_ms(), deadline_ms, "%s is served still", subject);
        subject = served(site, &(struct client_options){.name = "long.example"});
        cr_assert(strcmp(subject, "b") != 0 || time(NULL) >= change_s);
        harness_pause();
    }
    site_destroy(&site);
}

static void write_in(struct site *site, const char *name, const char *text)
{
    const char *path = site_format(site, "%s/certificates/%s", site_directory(site), name);
    FILE *file = fopen(path, "we");
    cr_assert(file != NULL && fputs(text, file) >= 0, "%s", path);
    cr_assert_eq(fclose(file), 0);
}

Test(tls, a_stray_file_among_the_certificates_is_skipped_and_named)
{
    struct site *site = site_create(.tls = true, .stays_down = true);
    write_in(site, "a-dhparams.pem",
             "-----BEGIN DH PARAMETERS-----\nMAYCAQcCAQI=\n"
             "-----END DH PARAMETERS-----\n");
    CERTIFICATE(site, .file = "a-bundle.pem", .names = "DNS:media.example", .subject = "bundle",
                .without_key = true);
    write_in(site, "a-key.pem",
             "-----BEGIN PRIVATE KEY-----\nMAYCAQcCAQI=\n"
             "-----END PRIVATE KEY-----\n");
    write_in(site, "a-empty.pem", "");
    const char *nowhere = site_format(site, "%s/certificates/a-link.pem", site_directory(site));
    cr_assert_eq(symlink("nowhere", nowhere), 0);
    static const char *const found[] = {
        "a-dhparams.pem: skipped: it holds neither a certificate nor a private key",
        "a-bundle.pem: skipped: it holds a certificate without its private key",
        "a-key.pem: skipped: it holds a private key without its certificate",
        "a-empty.pem: skipped: it holds neither a certificate nor a private key",
        "a-link.pem: skipped: the file that it links to is not there",
    };
    struct command_result checked = site_tollgate(site, "serve", "--check-config");
    cr_assert_eq(checked.exit_code, 0, "%s", checked.errors);
    site_node_start(site);
    site_node_await_ready(site);
    for (size_t i = 0; i < sizeof(found) / sizeof(*found); i++) {
        cr_assert_not_null(strstr(checked.errors, found[i]), "%s", checked.errors);
        (void)site_log_await(site, found[i]);
    }
    EXPECT_SERVED(site, "media.example", .name = "unknown.example");
    site_destroy(&site);
}

Test(tls, a_file_that_lost_its_certificate_does_not_lose_its_host)
{
    struct site *site = site_create(.tls = true, .stays_down = true);
    CERTIFICATE(site, .file = "kept.pem", .names = "DNS:kept.example", .subject = "kept");
    site_node_start(site);
    site_node_await_ready(site);
    write_in(site, "kept.pem", "");
    site_node_signal(site, SIGHUP);
    (void)site_log_await(site,
                         "the certificates were not reloaded, and the previous ones stay in force");
    EXPECT_SERVED(site, "kept", .name = "kept.example");
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

/* ---- sessions and reloads ---- */

/* A session that may be resumed: TLS 1.3 sends it with the first answer. */
static SSL_SESSION *session_of(struct site *site, const char *link, int version)
{
    struct client client;
    size_t size;
    (void)site_media_bytes(site, TRACK_TINY, &size);
    OPEN(site, &client, .version = version);
    ask(&client, link);
    cr_assert_eq(take(&client, size), size);
    (void)SSL_shutdown(client.ssl); /* OpenSSL resumes no session that just broke off */
    SSL_SESSION *session = SSL_get1_session(client.ssl);
    cr_assert(SSL_SESSION_is_resumable(session));
    client_close(&client);
    return session;
}

Test(tls, sessions_are_resumed_by_any_worker_and_after_a_reload)
{
    struct site *site = site_create(.tls = true, .settings = "workers: 4\n");
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < 2; i++) {
        SSL_SESSION *session = session_of(site, link, versions[i]);
        for (int round = 0; round < 12; round++) {
            struct client client;
            if (round == 6) {
                site_node_signal(site, SIGHUP);
                const char *line = "reloaded 2 certificates";
                (void)site_log_await(site, line);
            }
            SSL_SESSION *copy = SSL_SESSION_dup(session);
            OPEN(site, &client, .version = versions[i], .session = copy);
            cr_assert_eq(SSL_session_reused(client.ssl), 1, "round %d of %s is not resumed", round,
                         SSL_get_version(client.ssl));
            SSL_SESSION_free(copy);
            (void)SSL_shutdown(client.ssl);
            client_close(&client);
        }
        SSL_SESSION_free(session);
    }
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (counter(site, "tls_resumed") < 24) { /* the client's end of a handshake comes first */
        cr_assert_lt(harness_now_ms(), deadline_ms);
        harness_pause();
    }
    site_destroy(&site);
}

#define TICKETS_MAX 8

/* Tickets that a client was given and has not used. */
struct tickets {
    SSL_SESSION *sessions[TICKETS_MAX];
    unsigned count;
};

static int keep_ticket(SSL *ssl, SSL_SESSION *session)
{
    struct tickets *tickets = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    cr_assert_lt(tickets->count, TICKETS_MAX);
    tickets->sessions[tickets->count++] = session;
    return 1; /* it is ours now */
}

/* RFC 8446 C.4: such a client never brings a ticket twice, and resumes each time all the same. */
Test(tls, a_client_that_uses_each_ticket_once_resumes_each_time)
{
    struct site *site = site_create(.tls = true, .settings = "workers: 2\n");
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    struct tickets tickets = {0};
    size_t size;
    (void)site_media_bytes(site, TRACK_TINY, &size);
    for (unsigned round = 0; round < 12; round++) {
        struct client client;
        SSL_SESSION *session = tickets.count > 0 ? tickets.sessions[--tickets.count] : NULL;
        unsigned before = tickets.count;
        OPEN(site, &client, .version = TLS1_3_VERSION, .session = session);
        cr_assert_eq(SSL_session_reused(client.ssl), round > 0, "round %u", round);
        SSL_CTX_set_session_cache_mode(client.context,
                                       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_set_app_data(client.context, &tickets);
        SSL_CTX_sess_set_new_cb(client.context, keep_ticket);
        ask(&client, link);
        cr_assert_eq(take(&client, size), size);
        cr_assert_eq(tickets.count - before, round == 0 ? 2u : 1u, "round %u: %u tickets", round,
                     tickets.count - before);
        (void)SSL_shutdown(client.ssl);
        SSL_SESSION_free(session);
        client_close(&client);
    }
    while (tickets.count > 0)
        SSL_SESSION_free(tickets.sessions[--tickets.count]);
    site_usage_await(site, "alice", 12 * size);
    site_destroy(&site);
}

static const char *serial_of(struct site *site, const struct client *client)
{
    X509 *certificate = SSL_get1_peer_certificate(client->ssl);
    char *text = i2s_ASN1_INTEGER(NULL, X509_get0_serialNumber(certificate));
    const char *kept = site_format(site, "%s", text);
    OPENSSL_free(text);
    X509_free(certificate);
    return kept;
}

Test(tls, a_reload_brings_the_new_certificate_and_drops_no_connection)
{
    struct site *site = site_create(.tls = true, .settings = "workers: 2\n");
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_LONG);
    size_t size;
    (void)site_media_bytes(site, TRACK_LONG, &size);
    struct client before, after;
    OPEN(site, &before, .receive_buffer_bytes = 8192);
    ask(&before, link); /* in the middle of its file when the certificate changes */
    cr_assert_eq(take(&before, 1000), 1000);
    (void)site_certificate_make(site, "media.example", "ec");
    site_node_signal(site, SIGHUP);
    (void)site_log_await(site, "reloaded 2 certificates");
    const char *old = serial_of(site, &before), *fresh = old;
    for (int i = 0; i < 200 && strcmp(fresh, old) == 0; i++) { /* until the worker has heard */
        OPEN(site, &after, .name = "media.example");
        fresh = serial_of(site, &after);
        client_close(&after);
        harness_pause();
    }
    cr_assert_str_neq(fresh, old);
    char buffer[16384];
    size_t got = 1000;
    for (int length; got < size; got += (size_t)length) {
        length = SSL_read(before.ssl, buffer, sizeof(buffer));
        cr_assert_gt(length, 0, "cut at %zu of %zu", got, size);
    }
    client_close(&before);
    site_usage_await(site, "alice", size);
    site_destroy(&site);
}

Test(tls, a_broken_certificate_leaves_those_before_in_force)
{
    struct site *site = site_create(.tls = true);
    const char *path = site_certificate_make(site, "media.example", "ec");
    harness_write_file(path, "-----BEGIN CERTIFICATE-----\nAAAA\n");
    site_node_signal(site, SIGHUP);
    (void)site_log_await(site,
                         "the certificates were not reloaded, and the previous ones stay in force");
    struct client client;
    OPEN(site, &client, .name = "media.example");
    client_close(&client);
    struct command_result checked = site_tollgate(site, "serve", "--check-config");
    cr_assert_eq(checked.exit_code, 78);
    cr_assert_not_null(strstr(checked.errors, "media.example.pem"), "%s", checked.errors);
    site_destroy(&site);
}

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
        {"", 0},                                              /* says nothing */
        {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11}, /* half of a client's hello */
        {"\x00\x01\x02\x03\x04\x05\x06\x07", 8},
        {"\xff\xfe\r\n\r\n", 6},
        {"EHLO media.example\r\n\r\n", 22},
        {"GET /\r\n\r\n", 9},  /* HTTP/0.9 had no answer that could say anything */
        {"GET / HTTP/1.", 13}, /* and then nothing */
        {"\r\n\r\n", 4},
        {proxy_header, sizeof(proxy_header) - 1}, /* of a proxy that nobody named */
    };
    struct site *site = site_create(.tls = true, .settings = "workers: 1\nhead_timeout_ms: 300\n");
    for (size_t i = 0; i < sizeof(noise) / sizeof(*noise); i++) {
        int fd = raw_connect_tls(site, 0);
        raw_send(fd, noise[i].bytes, noise[i].length);
        /* OpenSSL may send an alert, which is seven bytes, and nothing says HTTP. */
        cr_expect_leq(raw_drain(fd), 7, "noise %zu", i);
        close(fd);
    }
    cr_assert_geq(counter(site, "tls_failed"), 1);
    struct client client;
    OPEN(site, &client, .name = "media.example");
    client_close(&client);
    site_destroy(&site);
}

/* Sends the bytes as they are, `step` at a time, to the port of TLS, and reads the answer. */
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
        "GET / HTTP/1.1\r\nHost: a\r\n", /* the rest does not come */
    };
    struct site *site = site_create(.tls = true, .settings = "workers: 1\nhead_timeout_ms: 1000\n");
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
    /* In pieces, the first of which is one letter. */
    answer_expect_refusal(site, exchange_plain(site, requests[0], 1), 400, "plain_http");
    /* A link that is good opens nothing here, whatever is asked of it. */
    static const char *const fields[] = {"", "Range: bytes=0-9\r\n", "Accept: text/html\r\n"};
    for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
        const struct answer *answer = exchange_plain(
            site,
            site_format(site, "GET %s HTTP/1.1\r\nHost: media.example\r\n%s\r\n", link, fields[i]),
            4096);
        cr_expect_eq(answer->status, 400);
        cr_expect_not_null(strstr((const char *)answer->body, "this port speaks https"));
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

/* ---- the bill ---- */

/* ---- ticket keys of a file ---- */

/* Keys whose bytes are those numbers, with that mode. */
static const char *write_ticket_keys(struct site *site, const char *numbers, unsigned mode)
{
    const char *path = site_format(site, "%s/ticket-keys", site_directory(site));
    FILE *file = fopen(path, "we");
    cr_assert_not_null(file);
    for (const char *number = numbers; *number != '\0'; number++) {
        for (int i = 0; i < 80; i++)
            fputc(*number, file);
    }
    cr_assert(fclose(file) == 0 && chmod(path, mode) == 0);
    return path;
}

static bool resumes(struct site *site, SSL_SESSION *session, int version)
{
    struct client client;
    SSL_SESSION *copy = SSL_SESSION_dup(session);
    OPEN(site, &client, .version = version, .session = copy);
    bool resumed = SSL_session_reused(client.ssl) == 1;
    SSL_SESSION_free(copy);
    (void)SSL_shutdown(client.ssl);
    client_close(&client);
    return resumed;
}

static void reload(struct site *site)
{
    site_node_signal(site, SIGHUP);
    (void)site_log_await(site, "reloaded 2 certificates");
}

Test(tls, nodes_with_the_same_ticket_keys_resume_each_others_sessions)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    static const char settings[] = "tls_ticket_keys: ticket-keys\n";
    struct site *sites[2];
    const char *link[2];
    for (size_t i = 0; i < 2; i++) {
        sites[i] = site_create(.tls = true, .settings = settings, .stays_down = true);
        (void)write_ticket_keys(sites[i], "1", 0600);
        site_node_start(sites[i]);
        site_node_await_ready(sites[i]);
        site_account_open_postpaid(sites[i], "alice");
        link[i] = site_link(sites[i], .account = "alice", .path = TRACK_TINY);
    }
    for (size_t i = 0; i < 2; i++) {
        SSL_SESSION *session = session_of(sites[0], link[0], versions[i]);
        cr_expect(resumes(sites[1], session, versions[i]), "%#x: by the other",
                  (unsigned)versions[i]);
        SSL_SESSION_free(session);
    }
    site_destroy(&sites[1]);

    struct site *site = sites[0];
    SSL_SESSION *first = session_of(site, link[0], TLS1_2_VERSION);
    site_node_kill(site); /* a restart keeps the session */
    site_node_start(site);
    site_node_await_ready(site);
    cr_expect(resumes(site, first, TLS1_2_VERSION), "after a restart");
    (void)write_ticket_keys(site, "21", 0600); /* a key comes before it */
    reload(site);
    cr_expect(resumes(site, first, TLS1_2_VERSION), "by the key before");
    SSL_SESSION *second = session_of(site, link[0], TLS1_2_VERSION);
    /* A file that is not good leaves those before in force. */
    (void)write_ticket_keys(site, "2", 0644);
    site_node_signal(site, SIGHUP);
    (void)site_log_await(site,
                         "the certificates were not reloaded, and the previous ones stay in force");
    cr_expect(resumes(site, first, TLS1_2_VERSION), "with a file that was refused");
    (void)write_ticket_keys(site, "2", 0600); /* and the first key goes */
    site_node_kill(site);
    site_node_start(site);
    site_node_await_ready(site);
    cr_expect(resumes(site, second, TLS1_2_VERSION), "the first key of two made it");
    cr_expect_not(resumes(site, first, TLS1_2_VERSION), "by a key that is gone");
    SSL_SESSION_free(first);
    SSL_SESSION_free(second);
    site_destroy(&site);
}

Test(tls, ticket_keys_that_others_may_read_or_of_a_wrong_size_are_refused)
{
    struct site *site =
        site_create(.tls = true, .settings = "tls_ticket_keys: ticket-keys\n", .stays_down = true);
    struct command_result checked = site_tollgate(site, "serve", "--check-config");
    cr_expect(checked.exit_code == 78 && strstr(checked.errors, "ticket-keys: No such file"), "%s",
              checked.errors);
    static const unsigned modes[] = {0604, 0640, 0602};
    const char *path = NULL;
    for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
        path = write_ticket_keys(site, "12", modes[i]);
        checked = site_tollgate(site, "serve", "--check-config");
        cr_expect(checked.exit_code == 78 && strstr(checked.errors, "run chmod 600"), "%s",
                  checked.errors);
    }
    cr_assert_eq(chmod(path, 0600), 0);
    static const long sizes[] = {0, 1, 48, 79, 81, 17L * 80};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        cr_assert_eq(truncate(path, sizes[i]), 0);
        checked = site_tollgate(site, "serve", "--check-config");
        cr_expect(checked.exit_code == 78 &&
                      strstr(checked.errors, site_format(site, "has %ld bytes", sizes[i])),
                  "%s", checked.errors);
    }
    (void)write_ticket_keys(site, "12", 0400);
    cr_expect_eq(site_tollgate(site, "serve", "--check-config").exit_code, 0);
    site_destroy(&site);
}

/* ---- what failed ---- */

struct failure {
    const char *kind;
    struct client_options options; /* of a client whose handshake fails */
    const char *bytes;             /* or what is sent instead */
    size_t length;
    bool leaves; /* right after that */
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
    struct site *site = site_create(.tls = true, .settings = "workers: 1\nhead_timeout_ms: 500\n");
    for (size_t i = 0; i < sizeof(failures) / sizeof(*failures); i++) {
        const char *name = site_format(site, "tls_failed_%s", failures[i].kind);
        uint64_t before = site_traffic(site, name);
        cr_assert_eq(site_traffic(site, "tls_failed"), i);
        fail(site, &failures[i]);
        for (int wait = 0; site_traffic(site, name) == before; wait++) {
            cr_assert_lt(wait, 1000, "row %zu is not counted as %s", i, name);
            harness_pause();
        }
        cr_expect_eq(site_traffic(site, name), before + 1, "%s", name);
        cr_expect_eq(site_traffic(site, "tls_failed"), i + 1, "%s", name);
    }
    struct client client; /* and a record that no session made */
    OPEN(site, &client);
    raw_send(client.fd, "\x17\x03\x03\x00\x14nobody sealed these.", 25);
    cr_assert(raw_is_closed_by_peer(client.fd));
    cr_expect_eq(site_traffic(site, "tls_failed_after_handshake"), 1);
    client_close(&client);
    site_destroy(&site);
}

/* ---- groups and ciphers ---- */

/* What was agreed on: version, cipher and group. */
static const char *agreed(struct site *site, int version)
{
    struct client client;
    OPEN(site, &client, .version = version);
    const char *text =
        site_format(site, "%s %s %s", SSL_get_version(client.ssl), SSL_get_cipher_name(client.ssl),
                    OBJ_nid2sn((int)SSL_get_negotiated_group(client.ssl)));
    client_close(&client);
    return text;
}

static bool is_spoken(struct site *site, int version)
{
    struct client client;
    bool good = client_open(site, &client, &(struct client_options){.version = version}) == 1;
    client_close(&client);
    return good;
}

Test(tls, speaks_the_groups_and_ciphers_of_the_configuration_in_its_order)
{
    struct site *site = site_create(.tls = true);
    cr_expect_str_eq(agreed(site, TLS1_3_VERSION), "TLSv1.3 TLS_AES_128_GCM_SHA256 X25519");
    cr_expect_str_eq(agreed(site, TLS1_2_VERSION), "TLSv1.2 ECDHE-ECDSA-AES128-GCM-SHA256 X25519");
    site_destroy(&site);
    site = site_create(.tls = true, .settings = "tls_groups: P-384:P-256\n"
                                                "tls_ciphers: ECDHE-ECDSA-AES256-GCM-SHA384:"
                                                "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256\n");
    cr_expect_str_eq(agreed(site, TLS1_3_VERSION), "TLSv1.3 TLS_AES_256_GCM_SHA384 secp384r1");
    cr_expect_str_eq(agreed(site, TLS1_2_VERSION),
                     "TLSv1.2 ECDHE-ECDSA-AES256-GCM-SHA384 secp384r1");
    site_destroy(&site);
}

Test(tls, does_not_speak_a_version_without_ciphers)
{
    struct site *site =
        site_create(.tls = true, .settings = "tls_ciphers: TLS_AES_128_GCM_SHA256\n");
    cr_expect(is_spoken(site, TLS1_3_VERSION));
    cr_expect_not(is_spoken(site, TLS1_2_VERSION));
    site_destroy(&site);
    site = site_create(.tls = true, .settings = "tls_ciphers: ECDHE-ECDSA-AES128-GCM-SHA256\n");
    cr_expect(is_spoken(site, TLS1_2_VERSION));
    cr_expect_not(is_spoken(site, TLS1_3_VERSION));
    cr_expect(is_spoken(site, 0));
    site_destroy(&site);
}

Test(tls, a_group_or_cipher_that_cannot_be_spoken_is_named)
{
    static const struct {
        const char *line, *named;
    } wrong[] = {
        {"tls_groups: X25519:NO-SUCH-GROUP:P-256", "tls_groups: \"NO-SUCH-GROUP\""},
        {"tls_groups: 'X25519::P-256'", "tls_groups: \"\""},
        {"tls_groups: 'X25519,P-256'", "tls_groups: \"X25519,P-256\""},
        {"tls_groups: ''", "tls_groups: "},
        {"tls_ciphers: TLS_AES_128_GCM_SHA256:TLS_NO_SUCH", "tls_ciphers: \"TLS_NO_SUCH\""},
        {"tls_ciphers: ECDHE-RSA-AES128-GCM-SHA256:NO-SUCH", "tls_ciphers: \"NO-SUCH\""},
        {"tls_ciphers: HIGH", "tls_ciphers: \"HIGH\""}, /* a list of its own, not a name */
        {"tls_ciphers: 'TLS_AES_128_GCM_SHA256:!aNULL'", "tls_ciphers: \"!aNULL\""},
        {"tls_ciphers: ECDHE-RSA-AES128-SHA256",
         "tls_ciphers: \"ECDHE-RSA-AES128-SHA256\""}, /* CBC */
        {"tls_ciphers: AES128-GCM-SHA256",
         "tls_ciphers: \"AES128-GCM-SHA256\""}, /* no secrecy later */
        {"tls_ciphers: TLS_AES_128_CCM_8_SHA256", "tls_ciphers: \"TLS_AES_128_CCM_8_SHA256\""},
        {"tls_ciphers: ''", "tls_ciphers: "},
    };
    struct site *site = site_create(.tls = true, .stays_down = true);
    char *good =
        harness_read_file(site_format(site, "%s/tollgate.yaml", site_directory(site)), NULL);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        harness_write_file(site_format(site, "%s/tollgate.yaml", site_directory(site)),
                           site_format(site, "%s%s\n", good, wrong[i].line));
        struct command_result checked = site_tollgate(site, "serve", "--check-config");
        cr_expect_eq(checked.exit_code, 78, "%s", wrong[i].line);
        cr_expect_not_null(strstr(checked.errors, wrong[i].named), "%s: %s", wrong[i].line,
                           checked.errors);
    }
    free(good);
    site_destroy(&site);
}

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
            harness_pause(); /* the receive buffer fills, and a tick has seen it */
        raw_reset(client.fd);
        client.fd = -1;
        uint64_t billed = site_usage_settled(site, "alice") - before;
        /* What was read was acknowledged; beyond it at most what the receive buffer holds. */
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
    fd = raw_connect_tls(site, 0); /* the same client once more */
    raw_send(fd, proxy_header, sizeof(proxy_header) - 1);
    cr_assert_neq(client_open(site, &second, &(struct client_options){.fd = fd}), 1);
    client_close(&second);
    client_close(&first);
    site_destroy(&site);
}
