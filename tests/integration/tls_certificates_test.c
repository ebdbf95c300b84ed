/*
 * The certificate that each client gets: the one of the name that it asks for and that it can verify,
 * before and after a reload, whatever else lies in the directory.
 */
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
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

/* ---- which one ---- */

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

/* ---- what lies in the directory ---- */

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

/* ---- reloads ---- */

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
