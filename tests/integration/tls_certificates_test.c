/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificate that each client gets: one for the name that it asks for, which it can verify,
 * before and after a reload, whatever else lies in the directory.
 */
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "server/base/clock.h"
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

/* ---- the certificate that is chosen ---- */

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

/* The subject of the certificate that a client of `options` gets; "" where the handshake fails. */
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
                  .signatures = "ECDSA+SHA256"); /* a client that accepts nothing else */
    EXPECT_SERVED(site, "a", .name = "late.example");
    EXPECT_SERVED(site, "d", .name = "www.shop.example");
    EXPECT_SERVED(site, "d", .name = "WWW.Shop.Example");
    EXPECT_SERVED(site, "c", .name = "www.shop.example", .version = TLS1_3_VERSION,
                  .signatures = "ECDSA+SHA256");
    EXPECT_SERVED(site, "c", .name = "any.shop.example");
    EXPECT_SERVED(site, "c", .name = "dl.shop.example"); /* e is not valid yet */
    EXPECT_SERVED(site, "b", .name = "unknown.example"); /* the certificate of the first host */
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
        /* time() is a tick behind the clock that the node reads. */
        cr_assert(strcmp(subject, "b") != 0 || (int64_t)(clock_real_ms() / 1000) >= change_s);
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
    struct command_result verdict = site_tollgate(site, "serve", "--check-config");
    cr_assert_eq(verdict.exit_code, 0, "%s", verdict.errors);
    site_node_start(site);
    site_node_await_ready(site);
    for (size_t i = 0; i < sizeof(found) / sizeof(*found); i++) {
        cr_assert_not_null(strstr(verdict.errors, found[i]), "%s", verdict.errors);
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

/* The `nth` PEM block of certificates/NAME, counted from 0. */
static const char *block(struct site *site, const char *name, unsigned nth)
{
    static const char begin[] = "-----BEGIN ";
    const char *path = site_format(site, "%s/certificates/%s", site_directory(site), name);
    const char *at = site_keep(site, harness_read_file(path, NULL));
    for (; nth > 0; nth--)
        at = strstr(at + 1, begin);
    const char *next = strstr(at + 1, begin);
    return site_format(site, "%.*s", (int)(next != NULL ? (size_t)(next - at) : strlen(at)), at);
}

static const char *with_password(struct site *site, const char *key)
{
    char *text;
    BIO *in = BIO_new_mem_buf(key, -1), *out = BIO_new(BIO_s_mem());
    EVP_PKEY *read = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
    cr_assert_not_null(read);
    cr_assert_eq(
        PEM_write_bio_PKCS8PrivateKey(out, read, EVP_aes_128_cbc(), "secret", 6, NULL, NULL), 1);
    long length = BIO_get_mem_data(out, &text);
    const char *kept = site_format(site, "%.*s", (int)length, text);
    EVP_PKEY_free(read);
    BIO_free(in);
    BIO_free(out);
    return kept;
}

Test(tls, a_certificate_that_cannot_be_served_is_refused_with_the_cure)
{
    struct site *site = site_create(.tls = true, .stays_down = true);
    CERTIFICATE(site, .file = "a.pem", .names = "DNS:a.example", .subject = "a", .issued = true,
                .with_issuer = true);
    CERTIFICATE(site, .file = "b.pem", .names = "DNS:b.example", .subject = "b", .rsa = true);
    const char *leaf = block(site, "a.pem", 0), *issuer = block(site, "a.pem", 1);
    const char *key = block(site, "a.pem", 2), *other = block(site, "b.pem", 1);
    const char *const files[][4] = {
        {issuer, leaf, key,
         "c.pem: the certificate of the private key is not the first; put it first"},
        {leaf, issuer, other, "c.pem: the private key is not the one of the certificate in "},
        {leaf, "", with_password(site, key),
         "c.pem: the private key has a password, and nobody can type it when the node starts"},
        {leaf, "", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
         "c.pem: it does not hold a private key in PEM that OpenSSL can read"},
        {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "", key,
         "c.pem: it does not hold a certificate in PEM that OpenSSL can read"},
    };
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
        write_in(site, "c.pem", site_format(site, "%s%s%s", files[i][0], files[i][1], files[i][2]));
        struct command_result verdict = site_tollgate(site, "serve", "--check-config");
        cr_expect_eq(verdict.exit_code, 78, "%s", files[i][3]);
        cr_expect_not_null(strstr(verdict.errors, files[i][3]), "%s", verdict.errors);
    }
    site_destroy(&site);
}

Test(tls, a_directory_with_half_of_a_pair_and_a_name_that_nobody_accepts_are_named)
{
    struct site *site = site_create(.tls = true, .stays_down = true);
    static const char *const directories[] = {"chain", "key", "link", "other"};
    for (size_t i = 0; i < sizeof(directories) / sizeof(*directories); i++)
        cr_assert_eq(
            mkdir(site_format(site, "%s/certificates/%s", site_directory(site), directories[i]),
                  0700),
            0);
    CERTIFICATE(site, .file = "chain/fullchain.pem", .names = "DNS:a.example", .subject = "a",
                .without_key = true);
    write_in(site, "key/privkey.pem", "a key");
    write_in(site, "link/privkey.pem", "a key");
    cr_assert_eq(symlink("nowhere", site_format(site, "%s/certificates/link/fullchain.pem",
                                                site_directory(site))),
                 0);
    write_in(site, "other/README", "Nothing here is a certificate.");
    CERTIFICATE(site, .file = "wide.pem", .names = "DNS:*.example", .subject = "wide");
    static const char *const found[] = {
        "chain/fullchain.pem: skipped: privkey.pem is missing, or is a link to nowhere; add it",
        "key/fullchain.pem: skipped: fullchain.pem is missing, or is a link to nowhere; add it",
        "link/fullchain.pem: skipped: fullchain.pem is missing, or is a link to nowhere; add it",
        "wide.pem: no client gets this certificate, because none accepts its name *.example; have",
    };
    struct command_result verdict = site_tollgate(site, "serve", "--check-config");
    cr_assert_eq(verdict.exit_code, 0, "%s", verdict.errors);
    for (size_t i = 0; i < sizeof(found) / sizeof(*found); i++)
        cr_expect_not_null(strstr(verdict.errors, found[i]), "%s", verdict.errors);
    cr_expect_null(strstr(verdict.errors, "certificates/other"), "%s", verdict.errors);
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
    ask(&before, link); /* its transfer is under way when the certificate changes */
    cr_assert_eq(take(&before, 1000), 1000);
    (void)site_certificate_make(site, "media.example", "ec");
    site_node_signal(site, SIGHUP);
    (void)site_log_await(site, "reloaded 2 certificates");
    const char *old = serial_of(site, &before), *fresh = old;
    for (int i = 0; i < 200 && strcmp(fresh, old) == 0; i++) { /* until it has reloaded */
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
    struct command_result verdict = site_tollgate(site, "serve", "--check-config");
    cr_assert_eq(verdict.exit_code, 78);
    cr_assert_not_null(strstr(verdict.errors, "media.example.pem"), "%s", verdict.errors);
    site_destroy(&site);
}
