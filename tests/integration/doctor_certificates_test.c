/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doctor and `serve --check-config` on certificates: those that no client gets, chains without
 * their intermediate, and an origin that has none. Both name the same faults.
 */
#include <string.h>
#include <time.h>

#include "tests/integration/doctor_steps.h"
#include "tests/integration/harness_tls.h"

static void expect_certificates(struct site *site, const char *const *parts, size_t count)
{
    struct command_result doctor = site_tollgate(site, "doctor");
    struct command_result verdict = site_tollgate(site, "serve", "--check-config");
    cr_assert_eq(doctor.exit_code, 0, "%s%s", doctor.output, doctor.errors);
    cr_assert_eq(verdict.exit_code, 0, "%s%s", verdict.output, verdict.errors);
    for (size_t i = 0; i < count; i++) {
        expect_text(doctor.output, parts[i]);
        expect_text(verdict.errors, parts[i]);
    }
    size_t lines = 0;
    for (const char *at = doctor.output; (at = strstr(at, "warning  certificates: ")); at++)
        lines++;
    cr_assert_eq(lines, count, "%s", doctor.output);
}

Test(doctor, and_the_check_name_certificates_that_no_client_gets)
{
    struct site *site = site_create(.tls = true, .stays_down = true);
    int64_t now_s = time(NULL);
    expect_certificates(site, NULL, 0);
    /* Some client gets each of these: another kind of key, another host, a wildcard. */
    CERTIFICATE(site, .file = "media.example-rsa.pem", .names = "DNS:media.example",
                .subject = "rsa", .rsa = true);
    CERTIFICATE(site, .file = "more.pem", .names = "DNS:media.example,DNS:more.example",
                .subject = "more");
    CERTIFICATE(site, .file = "wild.pem", .names = "DNS:*.more.example", .subject = "wild");
    expect_certificates(site, NULL, 0);
    CERTIFICATE(site, .file = "z-again.pem", .names = "DNS:media.example,DNS:more.example",
                .subject = "again");
    CERTIFICATE(site, .file = "a-old.pem", .names = "DNS:old.more.example", .subject = "old",
                .starts_s = now_s - 9000, .ends_s = now_s + 5000000);
    CERTIFICATE(site, .file = "z-wild.pem", .names = "DNS:*.more.example", .subject = "wild");
    CERTIFICATE(site, .file = "z-address.pem", .names = "IP:192.0.2.1", .subject = "");
    static const char *const parts[] = {
        "/z-again.pem: no client gets this certificate, because ",
        "/z-wild.pem: no client gets this certificate, because ",
        "/z-address.pem: no client gets this certificate, because it names no host",
    };
    expect_certificates(site, parts, sizeof(parts) / sizeof(*parts));
    site_destroy(&site);
}

Test(doctor, and_the_check_name_a_chain_without_its_intermediate)
{
    struct site *site = site_create(.tls = true, .stays_down = true);
    CERTIFICATE(site, .file = "lacking.pem", .names = "DNS:lacking.example", .subject = "lacking",
                .issued = true);
    CERTIFICATE(site, .file = "whole.pem", .names = "DNS:whole.example", .subject = "whole",
                .issued = true, .with_issuer = true);
    static const char *const parts[] = {
        "/lacking.pem: the chain lacks the certificate of its issuer /CN=Authority of a test",
    };
    expect_certificates(site, parts, 1);
    site_destroy(&site);
}

Test(doctor, and_the_check_name_an_origin_that_has_no_certificate)
{
    struct site *site =
        site_create(.tls = true, .stays_down = true, .origin = "https://nobody.example:8443");
    static const char *const parts[] = {
        "no certificate is for nobody.example, the host of public_origin"};
    expect_certificates(site, parts, 1);
    site_destroy(&site);
}
