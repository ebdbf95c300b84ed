/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tollgate link explain` without a node: the verdict on a link, and the hint that tells the
 * storefront's developer what to mend. Links with faults that `link sign` would not make are
 * signed here.
 */
#include <criterion/criterion.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "server/command/cli.h"
#include "tests/unit/command/fixture.h"
#include "tokens/base64url_internal.h"
#include "tokens/tokens.h"

/* Expects that `link explain` says this status and reason, and a hint that has `part`. */
static void expect_refused(const char *link, const char *verdict, const char *part)
{
    cr_expect_eq(cli_run("link", "explain", link, NULL), CLI_EXIT_NO, "%s%s", cli_out, cli_err);
    EXPECT_IN(cli_out, verdict);
    EXPECT_IN(cli_out, part);
}

Test(server_cli, explain_dates_the_claims_in_utc_and_from_now)
{
    cli_make_node();
    const int64_t now = (int64_t)time(NULL);
    struct token_claims claims = {
        .iss = "shop", .account = "a", .container = "exact:/x", .exp = now - 750};
    char *link = cli_sign_by_hand("shop-private.jwks", &claims, "/x");
    expect_refused(link, "Verdict: 410 expired", "UTC, 12 minutes ago");
    EXPECT_IN(cli_out, "path       ok");
    free(link);
    claims.exp = now + 18000;
    claims.nbf = now + 12600;
    link = cli_sign_by_hand("shop-private.jwks", &claims, "/x");
    expect_refused(link, "Verdict: 403 not_yet_valid", "nbf_leeway_s");
    EXPECT_IN(cli_out, "UTC, in 3 hours");
    free(link);
}

Test(server_cli, explain_recognises_milliseconds)
{
    cli_make_node();
    const struct token_claims claims = {.iss = "shop",
                                        .account = "a",
                                        .container = "exact:/x",
                                        .exp = ((int64_t)time(NULL) + 3600) * 1000};
    char *link = cli_sign_by_hand("shop-private.jwks", &claims, "/x");
    expect_refused(link, "lifetime_too_long", "exp counts milliseconds: divide by 1000");
    free(link);
}

Test(server_cli, explain_recognises_encoded_paths_in_the_wrong_place)
{
    cli_make_node();
    const int64_t exp = (int64_t)time(NULL) + 3600;
    const struct token_claims claims = {
        .iss = "shop", .account = "a", .container = "exact:/a%20b.mp3", .exp = exp};
    char *link = cli_sign_by_hand("shop-private.jwks", &claims, "/a%20b.mp3");
    expect_refused(link, "out_of_container", "cdniuc is percent-encoded");
    free(link);
    const struct token_claims decoded = {
        .iss = "shop", .account = "a", .container = "exact:/a b.mp3", .exp = exp};
    link = cli_sign_by_hand("shop-private.jwks", &decoded, "/a%2520b.mp3");
    expect_refused(link, "out_of_container", "percent-encoded twice");
    free(link);
}

Test(server_cli, explain_tells_two_unicode_forms_of_one_name)
{
    cli_make_node();
    const int64_t exp = (int64_t)time(NULL) + 3600;
    /* The path is NFC in the token and NFD on disk, as in files that come from a Mac. */
    const struct token_claims claims = {
        .iss = "shop", .account = "a", .container = "exact:/Caf\xc3\xa9.mp3", .exp = exp};
    char *link = cli_sign_by_hand("shop-private.jwks", &claims, "/Cafe%CC%81.mp3");
    expect_refused(link, "out_of_container", "another Unicode form (NFC and NFD)");
    free(link);
    const struct token_claims album = {
        .iss = "shop", .account = "a", .container = "prefix:/Cafe\xcc\x81/", .exp = exp};
    link = cli_sign_by_hand("shop-private.jwks", &album, "/Caf%C3%A9/x.mp3");
    expect_refused(link, "out_of_container", "another Unicode form (NFC and NFD)");
    free(link);
}

/* Signs claims that token_sign would refuse, with radio's shared secret; returns the link. */
static char *sign_claims(const char *claims)
{
    char text[4096], header[256], *link = NULL, *input = NULL, *parts[2] = {NULL, NULL};
    unsigned char secret[64], mac[32];
    size_t mac_size = 0;
    cli_read_back("radio-private.jwks", text, sizeof(text));
    json_t *set = json_loads(text, 0, NULL);
    const json_t *key = json_array_get(json_object_get(set, "keys"), 0);
    const char *k = json_string_value(json_object_get(key, "k"));
    size_t secret_size = 0;
    cr_assert_eq(base64url_decode(k, strlen(k), secret, sizeof(secret), &secret_size), 0);
    snprintf(header, sizeof(header), "{\"alg\":\"HS256\",\"kid\":\"%s\"}",
             json_string_value(json_object_get(key, "kid")));
    const char *const texts[2] = {header, claims};
    for (size_t i = 0; i < 2; i++) {
        parts[i] = calloc(1, BASE64URL_ENCODED_SIZE(strlen(texts[i])) + 1);
        base64url_encode((const unsigned char *)texts[i], strlen(texts[i]), parts[i]);
    }
    cr_assert_gt(asprintf(&input, "%s.%s", parts[0], parts[1]), 0);
    cr_assert_not_null(EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, secret, secret_size,
                                 (const unsigned char *)input, strlen(input), mac, sizeof(mac),
                                 &mac_size));
    char signature[64] = "";
    base64url_encode(mac, sizeof(mac), signature);
    cr_assert_gt(asprintf(&link, "/radio/x?URISigningPackage=%s.%s", input, signature), 0);
    free(parts[0]);
    free(parts[1]);
    free(input);
    json_decref(set);
    return link;
}

Test(server_cli, explain_recognises_slips_in_limits_and_a_plain_sub)
{
    static const struct {
        const char *member, *verdict, *hint;
    } rows[] = {
        {"\"max_uses\":1", "403 jti_missing", "give each purchase a jti"},
        {"\"max_uses\":\"1\",\"jti\":\"o\"", "403 claims_malformed",
         "max_uses is a whole number of 1 to 1000, without quotes"},
        {"\"rate\":0", "403 claims_malformed", "rate is a whole number"},
        {"\"pace\":0.5", "403 claims_malformed", "pace is a number of 1 to 1000"},
        {"\"filename\":\"a/b\"", "403 claims_malformed", "filename is a string"},
        {"\"jti\":7", "403 claims_malformed", "jti is a string"},
        {"\"nbf\":true", "403 claims_malformed", "nbf is a number"},
        {"\"iat\":-1", "403 claims_malformed", "iat is a number"},
        {"\"aud\":7", "403 claims_malformed", "aud is one string"},
        {"\"cdniv\":\"1\"", "403 claims_malformed", "cdniv is the integer 1"},
        {"\"cdnicrit\":\"\"", "403 claims_malformed", "cdnicrit is a string"},
        {"\"a\":1,\"a\":2", "403 claims_malformed", "the payload is not one JSON object"},
        {"\"sub\":\"alice\"", "403 subject_unsupported", "name the account in acct"},
        {"\"cdniets\":30", "403 renewal_unsupported", "Verdict"},
        {"\"cdniip\":\"x\"", "403 client_ip_unsupported", "Verdict"},
    };
    cli_make_node();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char claims[512];
        snprintf(claims, sizeof(claims),
                 "{\"iss\":\"radio\",\"acct\":\"a\",\"cdniuc\":\"exact:/radio/x\",\"exp\":%lld,%s}",
                 (long long)time(NULL) + 60, rows[i].member);
        char *link = sign_claims(claims);
        expect_refused(link, rows[i].verdict, rows[i].hint);
        free(link);
    }
}

Test(server_cli, explain_tells_a_time_before_1970_from_one_after_9999)
{
    cli_make_node();
    char *link = sign_claims("{\"iss\":\"radio\",\"acct\":\"a\",\"cdniuc\":\"exact:/radio/x\","
                             "\"exp\":253402300800,\"iat\":-1}");
    expect_refused(link, "-1, which is before the year 1970",
                   "253402300800, which is after the year 9999");
    free(link);
}

Test(server_cli, explain_names_the_issuers_and_paths_that_exist)
{
    cli_make_node();
    const int64_t exp = (int64_t)time(NULL) + 3600;
    const struct token_claims stranger = {
        .iss = "nobody", .account = "a", .container = "exact:/x", .exp = exp};
    char *link = cli_sign_by_hand("shop-private.jwks", &stranger, "/x");
    expect_refused(link, "403 issuer_unknown", "issuer shop is configured with iss shop");
    EXPECT_IN(cli_out, "key        not reached");
    free(link);
    link = cli_sign("radio-private.jwks", "radio", "/elsewhere");
    expect_refused(link, "out_of_issuer_paths", "issuer radio may sign for: /radio/");
    free(link);
    const struct token_claims aimed = {
        .iss = "shop", .account = "a", .container = "exact:/x", .exp = exp, .audience = "cdn"};
    link = cli_sign_by_hand("shop-private.jwks", &aimed, "/x");
    expect_refused(link, "audience_mismatch", "leave aud out");
    free(link);
}

Test(server_cli, explain_lists_the_kids_that_exist)
{
    cli_make_node();
    cr_assert_eq(cli_run("key", "generate", "--issuer", "shop", "--alg", "ES256", "--private",
                         "new-private.jwks", "--public", "new-public.jwks", NULL),
                 EX_OK, "%s", cli_err);
    char *link = cli_sign("new-private.jwks", "shop", "/x");
    char text[4096], part[256];
    cli_read_back("shop-public.jwks", text, sizeof(text));
    json_t *set = json_loads(text, 0, NULL);
    const json_t *key = json_array_get(json_object_get(set, "keys"), 0);
    snprintf(part, sizeof(part), "has the kid %s (ES256)",
             json_string_value(json_object_get(key, "kid")));
    json_decref(set);
    expect_refused(link, "403 key_unknown", part);
    free(link);
}

/* Writes radio's key set with another `k` under the same kid, as a storefront would hold it. */
static void write_key_as(const char *path, const char *k)
{
    char text[4096];
    cli_read_back("radio-private.jwks", text, sizeof(text));
    json_t *set = json_loads(text, 0, NULL);
    json_t *key = json_array_get(json_object_get(set, "keys"), 0);
    json_object_set_new(key, "k", json_string(k));
    cr_assert_eq(json_dump_file(set, path, 0), 0);
    json_decref(set);
}

Test(server_cli, explain_proves_that_the_secret_was_not_decoded)
{
    cli_make_node();
    /* The storefront's secret is the text of the node's `k`, whose base64url it did not decode. */
    write_key_as("radio-private.jwks", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    write_key_as("storefront.jwks", "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQQ");
    char *link = cli_sign("storefront.jwks", "radio", "/radio/x");
    expect_refused(link, "403 bad_signature", "base64url-decode k first");
    free(link);
}

Test(server_cli, explain_tells_a_changed_token_from_a_wrong_kid)
{
    cli_make_node();
    write_key_as("storefront.jwks", "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI");
    char *link = cli_sign("storefront.jwks", "radio", "/radio/x");
    expect_refused(link, "403 bad_signature", "no key of ./radio-private.jwks signed this token");
    EXPECT_NOT_IN(cli_out, "base64url-decode k");
    /* The node also has the storefront's key, but under another kid. */
    char text[4096];
    cli_read_back("radio-private.jwks", text, sizeof(text));
    json_t *set = json_loads(text, 0, NULL);
    json_t *other = json_deep_copy(json_array_get(json_object_get(set, "keys"), 0));
    json_object_set_new(other, "kid", json_string("second"));
    json_object_set_new(other, "k", json_string("QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI"));
    json_array_append_new(json_object_get(set, "keys"), other);
    cr_assert_eq(json_dump_file(set, "radio-private.jwks", 0), 0);
    json_decref(set);
    expect_refused(link, "403 bad_signature", "the key second signed this token");
    free(link);
}

Test(server_cli, explain_reads_what_people_paste)
{
    cli_make_node();
    expect_refused("http://x.example/a.mp3", "403 token_missing", "no parameter URISigningPackage");
    expect_refused("/a/../b?URISigningPackage=x", "400 path_invalid",
                   "a node does not correct paths: segment 2 of the path");
    expect_refused("/a?URISigningPackage=e30.e30", "403 token_malformed", "three parts");
    cr_expect_eq(cli_run("link", "explain", "eyJhbGciOiJub25lIn0.e30.", NULL), EX_DATAERR);
    EXPECT_NOT_IN(cli_err, "eyJ");
    cr_expect_eq(cli_run("link", "explain", NULL), EX_USAGE);
    EXPECT_IN(cli_err, "single quotes");
}

Test(server_cli, explain_reads_the_link_from_standard_input)
{
    char text[8192];
    cli_make_node();
    char *link = cli_sign("shop-private.jwks", "shop", "/x");
    cli_input = link;
    cr_expect_eq(cli_run("link", "explain", "-", NULL), EX_OK, "%s%s", cli_out, cli_err);
    EXPECT_IN(cli_out, "Verdict: admitted");
    snprintf(text, sizeof(text), "%s\r\n\n", link);
    cli_input = text;
    cr_expect_eq(cli_run("link", "explain", "--json", "-", NULL), EX_OK, "%s%s", cli_out, cli_err);
    EXPECT_IN(cli_out, "\"admitted\": true");
    snprintf(text, sizeof(text), "%s\n%s\n", link, link);
    static const char *const wrong[][2] = {{"", "is empty"}, {"\n", "first line is empty"}};
    for (size_t i = 0; i < 3; i++) {
        cli_input = i < 2 ? wrong[i][0] : text;
        int code = cli_run("link", "explain", "-", NULL);
        cr_expect(code == EX_NOINPUT || code == EX_DATAERR, "%d", code);
        EXPECT_IN(cli_err, i < 2 ? wrong[i][1] : "more than one line");
        EXPECT_NOT_IN(cli_err, "ey");
    }
    /* Revoking needs a node; the error speaks of the link that was read. */
    cli_input = "";
    cr_expect_eq(cli_run("link", "revoke", "-", NULL), EX_NOINPUT, "%s", cli_err);
    EXPECT_IN(cli_err, "standard input: is empty");
    free(link);
}

Test(server_cli, explain_says_when_a_link_leads_to_another_node)
{
    static const struct {
        const char *lines, *own[4], *others[4];
    } rows[] = {
        {"public_origin: https://Media.example\nlisten: :8080\n",
         {"https://media.example", "HTTPS://MEDIA.example:443", "http://localhost:8080",
          "https://media.example."},
         {"http://media.example", "https://media.example:444", "https://cdn.example",
          "http://cdn.example:8080"}},
        {"listen: :8080\n",
         {"http://127.0.0.1:8080", "http://any.example:8080", "http://[::1]:8080", ""},
         {"http://any.example", "https://any.example:8080", "http://127.0.0.1:8081"}},
        {"listen: 192.0.2.1:80\n",
         {"http://192.0.2.1", "http://user@192.0.2.1:80", ""},
         {"http://192.0.2.2", "http://localhost"}},
        {"listen: '[::1]:8080'\n", {"http://[::1]:8080", ""}, {"http://[::2]:8080"}},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char link[8192];
        if (i == 0)
            cli_make_node();
        else
            cli_make_configuration();
        cli_configure(rows[i].lines);
        char *signed_link = cli_sign("shop-private.jwks", "shop", "/x");
        const char *target = strstr(signed_link, "/x?");
        for (size_t k = 0; k < 8; k++) {
            const char *origin = k < 4 ? rows[i].own[k] : rows[i].others[k - 4];
            if (origin == NULL)
                continue;
            snprintf(link, sizeof(link), "%s%s", origin, target);
            cr_expect_eq(cli_run("link", "explain", link, NULL), EX_OK, "%s%s", cli_out, cli_err);
            bool told =
                strstr(cli_out, "Hint: the URL begins with the origin of another node") != NULL;
            cr_expect_eq(told, k >= 4, "%s: %s", rows[i].lines, origin);
        }
        free(signed_link);
    }
}

Test(server_cli, explain_as_json_says_the_same)
{
    cli_make_node();
    char *link = cli_sign("radio-private.jwks", "radio", "/elsewhere");
    cr_expect_eq(cli_run("link", "explain", link, "--json", NULL), CLI_EXIT_NO);
    json_t *report = json_loads(cli_out, 0, NULL);
    cr_assert_not_null(report, "no JSON: %s", cli_out);
    cr_expect(json_is_false(json_object_get(report, "admitted")));
    cr_expect_eq(json_integer_value(json_object_get(report, "status")), 403);
    cr_expect_str_eq(json_string_value(json_object_get(report, "reason")), "out_of_issuer_paths");
    cr_expect_str_eq(json_string_value(json_object_get(report, "issuer")), "radio");
    cr_expect_gt(json_array_size(json_object_get(report, "hints")), 0);
    json_decref(report);
    EXPECT_NOT_IN(cli_out, strstr(link, "=ey") + 1);
    free(link);
}
