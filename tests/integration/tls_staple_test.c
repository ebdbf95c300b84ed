/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OCSP responses beside the certificates: stapled for clients that ask, while they are valid, and
 * reported where they are of no use. One comes from `openssl ocsp`, a real responder. The others
 * are made here, because no responder gives out wrong ones.
 */
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/integration/harness_internal.h"
#include "tests/integration/harness_tls.h"

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

static const char *in_site(struct site *site, const char *name)
{
    return site_format(site, "%s/%s", site_directory(site), name);
}

static X509 *read_leaf(struct site *site, const char *name)
{
    FILE *file = fopen(in_site(site, name), "re");
    cr_assert_not_null(file, "%s", name);
    X509 *leaf = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    cr_assert_not_null(leaf);
    return leaf;
}

static void write_bytes(struct site *site, const char *name, const void *bytes, size_t length)
{
    FILE *file = fopen(in_site(site, name), "we");
    cr_assert(file != NULL && fwrite(bytes, 1, length, file) == length && fclose(file) == 0, "%s",
              name);
}

/* ---- clients ---- */

/* The response that is stapled for a client that asks; NULL where there is none. */
static const char *stapled(struct site *site, const char *name, int version, size_t *length)
{
    struct client client;
    const unsigned char *response = NULL;
    OPEN(site, &client, .name = name, .version = version, .asks_status = true);
    long got = SSL_get_tlsext_status_ocsp_resp(client.ssl, &response);
    char *kept = NULL;
    if (response != NULL && got > 0) {
        *length = (size_t)got;
        kept = site_keep(site, malloc(*length));
        memcpy(kept, response, *length);
    }
    client_close(&client);
    return kept;
}

static void expect_stapled(struct site *site, const char *name, int version, const char *file)
{
    size_t length = 0, expected_length = 0;
    const char *found = stapled(site, name, version, &length);
    char *expected = harness_read_file(in_site(site, file), &expected_length);
    cr_assert_not_null(expected, "%s", file);
    cr_assert(found != NULL && length == expected_length && memcmp(found, expected, length) == 0,
              "%s over %#x: %zu bytes are stapled, not the %zu of %s", name, (unsigned)version,
              length, expected_length, file);
    free(expected);
}

static void expect_nothing_stapled(struct site *site, const char *name, int version)
{
    size_t length = 0;
    cr_assert_null(stapled(site, name, version, &length), "%s: %zu bytes are stapled", name,
                   length);
}

/* ---- a real responder ---- */

static void run(struct site *site, const char *script)
{
    int status = 0;
    const char *const words[] = {
        "sh", "-ec", site_format(site, "cd %s; %s", site_directory(site), script), NULL};
    pid_t pid = harness_spawn(words, -1, -1);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s: ended with %d", script, status);
}

static void write_authority(struct site *site, const struct authority *authority)
{
    FILE *file = fopen(in_site(site, "authority.pem"), "we");
    cr_assert_not_null(file);
    cr_assert_eq(PEM_write_X509(file, authority->certificate), 1);
    fclose(file);
}

/* Writes the index that `openssl ca` would keep of the certificate. */
static void write_index(struct site *site, const char *certificate)
{
    X509 *leaf = read_leaf(site, certificate);
    BIGNUM *serial = ASN1_INTEGER_to_BN(X509_get0_serialNumber(leaf), NULL);
    char *hex = BN_bn2hex(serial);
    harness_write_file(in_site(site, "index.txt"),
                       site_format(site, "V\t490101000000Z\t\t%s\tunknown\t/CN=leaf\n", hex));
    OPENSSL_free(hex);
    BN_free(serial);
    X509_free(leaf);
}

/* Resumes the session of a client that asked for an OCSP response. */
static void expect_resumed(struct site *site, int version)
{
    struct client client;
    char byte[64];
    const unsigned char *response = NULL;
    OPEN(site, &client, .name = "stapled.example", .version = version, .asks_status = true);
    cr_assert_gt(SSL_write(client.ssl, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27), 0);
    cr_assert_gt(SSL_read(client.ssl, byte, sizeof(byte)), 0);
    (void)SSL_shutdown(client.ssl);
    SSL_SESSION *session = SSL_get1_session(client.ssl);
    client_close(&client);
    OPEN(site, &client, .name = "stapled.example", .version = version, .asks_status = true,
         .session = session);
    cr_assert_eq(SSL_session_reused(client.ssl), 1, "%#x", (unsigned)version);
    /* RFC 6066 8: a response comes with a certificate, and a resumed handshake has none. */
    cr_assert_leq(SSL_get_tlsext_status_ocsp_resp(client.ssl, &response), 0);
    SSL_SESSION_free(session);
    client_close(&client);
}

Test(tls_staple, a_responders_answer_is_stapled_for_the_clients_that_ask)
{
    struct site *site = site_create(.tls = true, .stays_down = true);
    struct authority authority;
    authority_make(&authority, "Authority of a test");
    write_authority(site, &authority);
    CERTIFICATE(site, .file = "stapled.pem", .names = "DNS:stapled.example", .subject = "leaf",
                .authority = &authority, .with_issuer = true);
    CERTIFICATE(site, .file = "../responder.pem", .subject = "responder", .authority = &authority,
                .purpose = "OCSPSigning");
    write_index(site, "certificates/stapled.pem");
    run(site, "openssl ocsp -index index.txt -rsigner responder.pem -rkey responder.pem -CA "
              "authority.pem -issuer authority.pem -cert certificates/stapled.pem -ndays 7 "
              "-respout certificates/stapled.pem.ocsp");
    struct command_result verdict = site_tollgate(site, "serve", "--check-config");
    cr_assert_eq(verdict.exit_code, 0, "%s", verdict.errors);
    cr_assert_null(strstr(verdict.errors, "ocsp"), "%s", verdict.errors);
    site_node_start(site);
    site_node_await_ready(site);
    for (size_t i = 0; i < 2; i++) {
        struct client client;
        const unsigned char *response = NULL;
        expect_stapled(site, "stapled.example", versions[i], "certificates/stapled.pem.ocsp");
        expect_nothing_stapled(site, "media.example", versions[i]);
        OPEN(site, &client, .name = "stapled.example", .version = versions[i]);
        cr_assert_leq(SSL_get_tlsext_status_ocsp_resp(client.ssl, &response), 0);
        client_close(&client);
        expect_resumed(site, versions[i]);
    }
    /* The openssl tool finds the response good, and the doctor counts it. */
    run(site, site_format(site,
                          "timeout 30 openssl s_client -connect 127.0.0.1:%u -servername "
                          "stapled.example -status -CAfile authority.pem </dev/null >said 2>&1; "
                          "grep -q 'Cert Status: good' said",
                          site_port_tls(site)));
    verdict = site_tollgate(site, "doctor");
    cr_assert_not_null(strstr(verdict.output, "OCSP responses: 1;"), "%s", verdict.output);
    authority_free(&authority);
    site_destroy(&site);
}

/* ---- responses of all kinds ---- */

struct response {
    const struct authority *issuer, *signer; /* NULL: the test's authority */
    int status;                              /* V_OCSP_CERTSTATUS_GOOD is 0 */
    int refusal;                             /* OCSP_RESPONSE_STATUS_*; 0: successful */
    int64_t starts_s, ends_s;                /* since 1970; 0: an hour ago, none */
    bool of_another;                         /* for another certificate */
    bool sha256;                             /* the certificate's id is by SHA-256 */
};

/* Writes a response like `like`, in DER, beside certificates/NAME.pem. */
static void respond(struct site *site, const char *name, const struct authority *authority,
                    const struct response *like)
{
    int64_t now_s = time(NULL);
    const struct authority *signer = like->signer != NULL ? like->signer : authority;
    X509 *leaf = read_leaf(site, site_format(site, "certificates/%s.pem", name));
    if (like->of_another)
        ASN1_INTEGER_set(X509_get_serialNumber(leaf), 4711);
    OCSP_CERTID *id =
        OCSP_cert_to_id(like->sha256 ? EVP_sha256() : EVP_sha1(), leaf,
                        (like->issuer != NULL ? like->issuer : authority)->certificate);
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
    ASN1_TIME *starts =
        ASN1_GENERALIZEDTIME_set(NULL, like->starts_s != 0 ? like->starts_s : now_s - 3600);
    ASN1_TIME *ends = like->ends_s != 0 ? ASN1_GENERALIZEDTIME_set(NULL, like->ends_s) : NULL;
    cr_assert_not_null(OCSP_basic_add1_status(
        basic, id, like->status, OCSP_REVOKED_STATUS_KEYCOMPROMISE,
        like->status == V_OCSP_CERTSTATUS_REVOKED ? starts : NULL, starts, ends));
    cr_assert_eq(OCSP_basic_sign(basic, signer->certificate, signer->key, EVP_sha256(), NULL, 0),
                 1);
    OCSP_RESPONSE *response =
        OCSP_response_create(like->refusal, like->refusal != 0 ? NULL : basic);
    unsigned char *der = NULL;
    int length = i2d_OCSP_RESPONSE(response, &der);
    cr_assert_gt(length, 0);
    write_bytes(site, site_format(site, "certificates/%s.pem.ocsp", name), der, (size_t)length);
    OPENSSL_free(der);
    OCSP_RESPONSE_free(response);
    OCSP_BASICRESP_free(basic);
    OCSP_CERTID_free(id);
    ASN1_TIME_free(starts);
    ASN1_TIME_free(ends);
    X509_free(leaf);
}
#define RESPOND(site, name, authority, ...)                                                        \
    respond(site, name, authority, &(struct response){__VA_ARGS__})

/* Certificates NAME.pem for the host NAME, each with a response that is wrong in its own way. */
static const char *const unusable[][2] = {
    {"none", "it does not hold one OCSP response in DER; let `openssl ocsp -respout` write it"},
    {"pem", "it does not hold one OCSP response in DER; let `openssl ocsp -respout` write it"},
    {"longer", "it does not hold one OCSP response in DER; let `openssl ocsp -respout` write it"},
    {"empty", "it has 0 bytes, where an OCSP response has 1 to 16380"},
    {"large", "it has 16381 bytes, where an OCSP response has 1 to 16380"},
    {"directory", "it is not a file; write the OCSP response there"},
    {"nowhere", "it cannot be read (No such file or directory); correct its link or its mode"},
    {"later", "the responder answered \"trylater\"; ask it again"},
    {"another", "it is about another certificate; ask the responder for the status of this one"},
    {"stranger", "it is about another certificate; ask the responder for the status of this one"},
    {"alone", "it is about another certificate; ask the responder for the status of this one"},
    {"forged",
     "its signature cannot be verified (Verify error: self-signed certificate); ask the responder"},
    {"revoked", "it says that the certificate is revoked; have a certificate made for a new key"},
    {"unknown", "it says that the responder does not know the certificate; ask"},
    {"ended", "it expired on 2001-09-09 01:46:40 UTC, its nextUpdate; ask the responder again"},
};

static void make_unusable(struct site *site, const struct authority *authority,
                          const struct authority *stranger)
{
    static const char filler[16384] = "-----BEGIN OCSP RESPONSE-----\n";
    for (size_t i = 0; i < sizeof(unusable) / sizeof(*unusable); i++) {
        const char *name = unusable[i][0];
        CERTIFICATE(site, .file = site_format(site, "%s.pem", name),
                    .names = site_format(site, "DNS:%s", name), .subject = name,
                    .authority = authority, .with_issuer = strcmp(name, "alone") != 0);
    }
    write_bytes(site, "certificates/none.pem.ocsp", "good", 4);
    write_bytes(site, "certificates/pem.pem.ocsp", filler, strlen(filler));
    RESPOND(site, "longer", authority, .status = 0);
    run(site, "echo >>certificates/longer.pem.ocsp");
    write_bytes(site, "certificates/empty.pem.ocsp", "", 0);
    write_bytes(site, "certificates/large.pem.ocsp", filler, 16381);
    cr_assert_eq(mkdir(in_site(site, "certificates/directory.pem.ocsp"), 0700), 0);
    cr_assert_eq(symlink("gone", in_site(site, "certificates/nowhere.pem.ocsp")), 0);
    RESPOND(site, "later", authority, .refusal = OCSP_RESPONSE_STATUS_TRYLATER);
    RESPOND(site, "another", authority, .of_another = true);
    RESPOND(site, "stranger", authority, .issuer = stranger, .signer = stranger);
    RESPOND(site, "alone", authority, .of_another = true);
    RESPOND(site, "forged", authority, .signer = stranger);
    RESPOND(site, "revoked", authority, .status = V_OCSP_CERTSTATUS_REVOKED);
    RESPOND(site, "unknown", authority, .status = V_OCSP_CERTSTATUS_UNKNOWN);
    RESPOND(site, "ended", authority, .starts_s = 999999999, .ends_s = 1000000000);
}

Test(tls_staple, a_response_that_is_of_no_use_is_named_and_its_certificate_serves_without)
{
    struct site *site = site_create(.tls = true, .stays_down = true);
    struct authority authority, stranger;
    authority_make(&authority, "Authority of a test");
    authority_make(&stranger, "Another authority");
    make_unusable(site, &authority, &stranger);
    CERTIFICATE(site, .file = "promised.pem", .names = "DNS:promised", .subject = "promised",
                .must_staple = true);
    write_bytes(site, "certificates/stray.ocsp", "", 0);
    /* Good responses: signed by the authority itself, of an issuer that is not in the chain, and
     * with an id by SHA-256. */
    static const char *const usable[] = {"direct", "chainless", "longid"};
    for (size_t i = 0; i < 3; i++) {
        CERTIFICATE(site, .file = site_format(site, "%s.pem", usable[i]),
                    .names = site_format(site, "DNS:%s", usable[i]), .subject = usable[i],
                    .authority = &authority, .with_issuer = i != 1);
        RESPOND(site, usable[i], &authority, .sha256 = i == 2, .ends_s = time(NULL) + 86400);
    }
    RESPOND(site, "direct", &authority, .status = 0);
    struct command_result verdict = site_tollgate(site, "serve", "--check-config");
    cr_assert_eq(verdict.exit_code, 0, "%s", verdict.errors);
    site_node_start(site);
    site_node_await_ready(site);
    for (size_t i = 0; i < sizeof(unusable) / sizeof(*unusable); i++) {
        const char *found = site_format(site, "certificates/%s.pem.ocsp: is not stapled: %s",
                                        unusable[i][0], unusable[i][1]);
        cr_expect_not_null(strstr(verdict.errors, found), "%s is not in:\n%s", found,
                           verdict.errors);
        (void)site_log_await(site, found);
        expect_nothing_stapled(site, unusable[i][0], versions[i % 2]);
    }
    static const char *const others[] = {
        "promised.pem: the certificate promises an OCSP response",
        "stray.ocsp: is not stapled: no certificate is served from the file of this name",
        "direct.pem.ocsp: has no nextUpdate, so it is stapled for as long as the file is there",
    };
    for (size_t i = 0; i < 3; i++) {
        cr_expect_not_null(strstr(verdict.errors, others[i]), "%s", verdict.errors);
        expect_stapled(site, usable[i], 0,
                       site_format(site, "certificates/%s.pem.ocsp", usable[i]));
    }
    authority_free(&authority);
    authority_free(&stranger);
    site_destroy(&site);
}

/* Whether the response was stapled while it was valid. A response that is stapled at any other time
 * fails the test. */
static bool is_stapled_at_its_time(struct site *site, int64_t starts_s, int64_t ends_s)
{
    bool seen = false;
    size_t length;
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    for (int64_t before_s = 0; before_s < ends_s;) {
        cr_assert_lt(harness_now_ms(), deadline_ms);
        before_s = time(NULL);
        if (stapled(site, "brief.example", 0, &length) != NULL) {
            struct timespec after; /* time(2) may lag behind the node's clock by a tick */
            clock_gettime(CLOCK_REALTIME, &after);
            cr_assert(after.tv_sec >= starts_s && before_s < ends_s, "%lld: is stapled",
                      (long long)(before_s - starts_s));
            seen = true;
        }
        harness_pause();
    }
    return seen;
}

Test(tls_staple, a_response_is_stapled_from_its_time_to_its_end_which_is_told_once)
{
    struct site *site = site_create(.tls = true);
    struct authority authority;
    authority_make(&authority, "Authority of a test");
    CERTIFICATE(site, .file = "brief.pem", .names = "DNS:brief.example", .subject = "brief",
                .authority = &authority, .with_issuer = true);
    bool seen = false;
    unsigned rounds = 0, told = 0;
    for (int64_t span_s = 2; !seen;
         span_s *= 2, rounds++) { /* a busy machine may look too late, so try a longer time */
        cr_assert_leq(span_s, 16, "it is never stapled");
        int64_t starts_s = time(NULL) + span_s / 2, ends_s = starts_s + span_s;
        RESPOND(site, "brief", &authority, .starts_s = starts_s, .ends_s = ends_s);
        site_node_signal(site, SIGHUP);
        (void)site_log_await(site, "reloaded 3 certificates");
        seen = is_stapled_at_its_time(site, starts_s, ends_s);
    }
    static const char ended[] = "brief.pem.ocsp: is no longer stapled: its nextUpdate has passed";
    (void)site_log_await(site, ended);
    RESPOND(site, "brief", &authority, .status = V_OCSP_CERTSTATUS_REVOKED);
    site_node_signal(site, SIGHUP);
    const char *log = site_log_await(site, "it says that the certificate is revoked");
    for (const char *at = log; (at = strstr(at, ended)) != NULL; at++)
        told++;
    cr_assert_leq(told, rounds, "%u of %u are told:\n%s", told, rounds, log);
    authority_free(&authority);
    site_destroy(&site);
}
