/* SPDX-License-Identifier: Apache-2.0 */
/* The TLS versions, groups and ciphers of the configuration: which are used, and which refused. */
#include <stdlib.h>
#include <string.h>

#include "tests/integration/harness_internal.h"
#include "tests/integration/harness_tls.h"

/* The version, cipher and group of a handshake. */
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
        {"tls_ciphers: HIGH", "tls_ciphers: \"HIGH\""}, /* a keyword for a list, not a cipher */
        {"tls_ciphers: 'TLS_AES_128_GCM_SHA256:!aNULL'", "tls_ciphers: \"!aNULL\""},
        {"tls_ciphers: ECDHE-RSA-AES128-SHA256",
         "tls_ciphers: \"ECDHE-RSA-AES128-SHA256\""}, /* CBC */
        {"tls_ciphers: AES128-GCM-SHA256",
         "tls_ciphers: \"AES128-GCM-SHA256\""}, /* no forward secrecy */
        {"tls_ciphers: TLS_AES_128_CCM_8_SHA256", "tls_ciphers: \"TLS_AES_128_CCM_8_SHA256\""},
        {"tls_ciphers: ''", "tls_ciphers: "},
    };
    struct site *site = site_create(.tls = true, .stays_down = true);
    char *good =
        harness_read_file(site_format(site, "%s/tollgate.yaml", site_directory(site)), NULL);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        harness_write_file(site_format(site, "%s/tollgate.yaml", site_directory(site)),
                           site_format(site, "%s%s\n", good, wrong[i].line));
        struct command_result verdict = site_tollgate(site, "serve", "--check-config");
        cr_expect_eq(verdict.exit_code, 78, "%s", wrong[i].line);
        cr_expect_not_null(strstr(verdict.errors, wrong[i].named), "%s: %s", wrong[i].line,
                           verdict.errors);
    }
    free(good);
    site_destroy(&site);
}
