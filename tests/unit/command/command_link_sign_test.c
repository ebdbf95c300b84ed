/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tollgate link sign`: the links that it prints, what it refuses to sign, and what it warns of
 * before a node would refuse it. `link explain` reads the links back.
 */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "server/command/cli.h"
#include "tests/unit/command/fixture.h"

Test(server_cli, sign_takes_the_issuers_id_as_the_other_commands_do)
{
    cr_assert_eq(cli_run_line("key generate --issuer shop --iss https://shop.example --alg ES256"),
                 EX_OK);
    cli_write_text("tollgate.yaml", cli_out);
    FILE *file = fopen("tollgate.yaml", "a");
    cr_assert_geq(fputs("media_root: media\nstate_dir: state\n", file), 0);
    fclose(file);
    static const char *const issuers[] = {"shop", "https://shop.example"};
    for (size_t i = 0; i < 2; i++) {
        cr_expect_eq(
            cli_run_line("link sign --key shop-private.jwks --issuer %s --account alice --path "
                         "/a.mp3 --expires-in 1h",
                         issuers[i]),
            EX_OK, "%s", cli_err);
        cr_expect_eq(cli_run("link", "explain", strtok(cli_out, "\n"), NULL), EX_OK, "%s", cli_out);
        EXPECT_IN(cli_out, "\"https://shop.example\"");
    }
}

Test(server_cli, a_signed_link_is_admitted_and_percent_encoded)
{
    cli_make_node();
    char *link = cli_sign("shop-private.jwks", "shop", "/a b/\xc3\xa9?#.mp3");
    EXPECT_IN(link, "http://127.0.0.1:8080/a%20b/%C3%A9%3F%23.mp3?URISigningPackage=ey");
    cr_expect_eq(cli_run("link", "explain", link, NULL), EX_OK, "%s", cli_out);
    EXPECT_IN(cli_out, "Verdict: admitted");
    EXPECT_IN(cli_out, "not asked");
    EXPECT_IN(cli_out, "tollgate account show shop/alice");
    EXPECT_NOT_IN(cli_out, strstr(link, "=ey") + 1);
    free(link);
}

Test(server_cli, several_paths_give_several_links_with_ids_of_their_own)
{
    cli_make_node();
    cr_assert_eq(cli_run("link", "sign", "--key", "radio-private.jwks", "--issuer", "radio",
                         "--account", "a", "--path", "/radio/1", "--path", "/radio/2", "--jti",
                         "auto", "--expires-in", "7d", "--origin", "https://cdn.example", NULL),
                 EX_OK, "%s", cli_err);
    char *first = strdup(cli_out), *second = strchr(first, '\n') + 1, jti[2][64];
    second[-1] = '\0';
    second[strcspn(second, "\n")] = '\0';
    const char *const links[] = {first, second};
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(strncmp(links[i], "https://cdn.example/radio/", 26), 0, "%s", links[i]);
        cr_assert_eq(cli_run("link", "explain", "--json", links[i], NULL), EX_OK, "%s", cli_out);
        json_t *report = json_loads(cli_out, 0, NULL);
        const json_t *claims = json_object_get(report, "claims");
        snprintf(jti[i], sizeof(jti[i]), "%s", json_string_value(json_object_get(claims, "jti")));
        json_decref(report);
        cr_expect_eq(strlen(jti[i]), 32);
    }
    cr_expect_str_neq(jti[0], jti[1]);
    free(first);
}

Test(server_cli, a_prefix_link_opens_the_directory_and_nothing_beside_it)
{
    cli_make_node();
    cr_assert_eq(cli_run("link", "sign", "--key", "shop-private.jwks", "--issuer", "shop",
                         "--account", "a", "--path", "/album/", "--prefix", "--expires-in", "15m",
                         NULL),
                 EX_OK, "%s", cli_err);
    cli_out[strcspn(cli_out, "\n")] = '\0';
    char inside[4096], outside[4096];
    const char *package = strchr(cli_out, '?');
    snprintf(inside, sizeof(inside), "/album/1.mp3%s", package);
    snprintf(outside, sizeof(outside), "/other/1.mp3%s", package);
    cr_expect_eq(cli_run("link", "explain", inside, NULL), EX_OK);
    cr_expect_eq(cli_run("link", "explain", outside, NULL), CLI_EXIT_NO);
    EXPECT_IN(cli_out, "403 out_of_container");
}

Test(server_cli, a_link_that_no_node_would_admit_is_not_signed)
{
    static const char *const paths[] = {"/a/../b", "/a\\b", "/a\nb", "relative"};
    cli_make_node();
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        int code = cli_run("link", "sign", "--key", "shop-private.jwks", "--issuer", "shop",
                           "--account", "a", "--path", paths[i], "--expires-in", "1h", NULL);
        cr_expect(code == EX_DATAERR || code == EX_USAGE, "%s: %d", paths[i], code);
        cr_expect_str_empty(cli_out);
    }
}

Test(server_cli, signing_says_what_is_wrong_with_the_key)
{
    cli_make_node();
#define SIGN_WITH(...)                                                                             \
    cli_run("link", "sign", "--issuer", "shop", "--account", "a", "--path", "/x", __VA_ARGS__, NULL)
    cr_expect_eq(SIGN_WITH("--expires-in", "1h", "--key", "shop-public.jwks"), EX_DATAERR);
    EXPECT_IN(cli_err, "is it the public key set?");
    cr_expect_eq(SIGN_WITH("--expires-in", "1h", "--key", "shop-private.jwks", "--kid", "no"),
                 EX_DATAERR);
    EXPECT_IN(cli_err, "has no key no that can sign; it has:");
    EXPECT_IN(cli_err, "(ES256)");
    cr_expect_eq(SIGN_WITH("--expires-in", "1h", "--key", "missing.jwks"), EX_NOINPUT);
    cr_expect_eq(SIGN_WITH("--expires-in", "1h", "--key", "tollgate.yaml"), EX_DATAERR);
    cr_expect_eq(SIGN_WITH("--expires-in", "3600", "--key", "shop-private.jwks"), EX_USAGE);
    EXPECT_IN(cli_err, "it is not a duration; give a number and a unit");
    cr_expect_eq(SIGN_WITH("--expires-in", "0s", "--key", "shop-private.jwks"), EX_USAGE);
    cr_expect_eq(
        SIGN_WITH("--expires-in", "1m", "--not-before", "2m", "--key", "shop-private.jwks"),
        EX_USAGE);
    EXPECT_IN(cli_err, "would never open");
#undef SIGN_WITH
}

#define SIGN(...)                                                                                  \
    cli_run("link", "sign", "--key", "shop-private.jwks", "--issuer", "shop", "--account",         \
            "alice", __VA_ARGS__, NULL)

Test(server_cli, a_link_begins_with_the_origin_of_the_configuration_that_is_found)
{
    cli_make_node();
    cli_write_text("media/x.mp3", "x");
    cli_configure("public_origin: https://media.example\ntoken_attribute: ticket\n");
    cr_assert_eq(SIGN("--path", "/x.mp3", "--expires-in", "1h"), EX_OK, "%s", cli_err);
    EXPECT_IN(cli_out, "https://media.example/x.mp3?ticket=ey");
    cr_expect_str_empty(cli_err);
    cr_assert_eq(
        SIGN("--path", "/x.mp3", "--expires-in", "1h", "--origin", "http://a", "--attribute", "b"),
        EX_OK, "%s", cli_err);
    EXPECT_IN(cli_out, "http://a/x.mp3?b=ey");
    cr_assert_eq(rename("tollgate.yaml", "other.yaml"), 0);
    cr_assert_eq(SIGN("--path", "/x.mp3", "--expires-in", "1h"), EX_OK, "%s", cli_err);
    EXPECT_IN(cli_out, "http://127.0.0.1:8080/x.mp3?URISigningPackage=ey");
    cr_expect_str_empty(cli_err);
    cr_assert_eq(SIGN("--path", "/x.mp3", "--expires-in", "1h", "--config", "other.yaml"), EX_OK);
    EXPECT_IN(cli_out, "https://media.example/x.mp3?ticket=ey");
}

Test(server_cli, a_configuration_that_is_wrong_ends_the_signing_only_where_it_was_asked_for)
{
    cli_make_node();
    cli_configure("workers: many\n");
    cr_expect_eq(SIGN("--path", "/x", "--expires-in", "1h"), EX_OK);
    EXPECT_IN(cli_out, "http://127.0.0.1:8080/x?");
    EXPECT_IN(cli_err, "tollgate.yaml:1: workers: ");
    EXPECT_IN(cli_err, "nothing is taken from this configuration");
    cr_expect_eq(SIGN("--path", "/x", "--expires-in", "1h", "--config", "tollgate.yaml"),
                 EX_CONFIG);
    cr_expect_str_empty(cli_out);
    cr_expect_eq(SIGN("--path", "/x", "--expires-in", "1h", "--config", "none.yaml"), EX_NOINPUT);
}

Test(server_cli, signing_warns_of_what_the_node_will_refuse)
{
    cli_make_node();
    cr_assert_eq(mkdir("media/album", 0755), 0);
    cli_write_text("media/album/x.mp3", "x");
    cli_write_text("media/.secret", "x");
    cli_configure("link_lifetime_max_s: 1h\n");
    const struct {
        const char *path, *expires, *more[2], *warning;
    } rows[] = {
        {"/album/x.mp3", "1h", {0}, NULL},
        {"/album/x.mp3", "61m", {0}, "give --expires-in 3600s at most"},
        {"/album/x.mp3", "2h", {"--not-before", "1h"}, NULL},
        {"/album/x.mp3", "4h", {"--not-before", "2h"}, "the link lives 7200 seconds"},
        {"/album/x.mp3", "1h", {"--resume", "2h"}, "give --resume 3600s at most"},
        {"/album/y.mp3", "1h", {0}, "there is no such file beneath ./media"},
        {"/album/x.mp3/y", "1h", {0}, "there is no such file beneath ./media"},
        {"/album", "1h", {0}, "there is no such file beneath ./media"},
        {"/.secret", "1h", {0}, "never serves a name that begins with a dot"},
        {"/album/x.mp3", "1h", {"--audience", "cdn"}, "with 403 audience_mismatch"},
        {"/album/x.mp3", "1h", {"--account", "bob"}, NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cr_expect_eq(SIGN("--path", rows[i].path, "--expires-in", rows[i].expires, rows[i].more[0],
                          rows[i].more[1]),
                     EX_OK, "%s", cli_err);
        EXPECT_IN(cli_out, "?URISigningPackage=ey");
        if (rows[i].warning != NULL)
            EXPECT_IN(cli_err, rows[i].warning);
        else
            cr_expect_str_empty(cli_err, "%s", cli_err);
    }
    cr_expect_eq(SIGN("--path", "/album/", "--prefix", "--expires-in", "1h"), EX_OK);
    cr_expect_str_empty(cli_err, "%s", cli_err);
    cr_expect_eq(SIGN("--path", "/", "--prefix", "--expires-in", "1h"), EX_OK);
    cr_expect_str_empty(cli_err, "%s", cli_err);
    cr_expect_eq(SIGN("--path", "/elsewhere/", "--prefix", "--expires-in", "1h"), EX_OK);
    EXPECT_IN(cli_err, "there is no such directory beneath ./media");
    cr_expect_eq(cli_run("link", "sign", "--key", "radio-private.jwks", "--issuer", "radio",
                         "--account", "a", "--path", "/album/x.mp3", "--expires-in", "1h", NULL),
                 EX_OK);
    EXPECT_IN(cli_err, "with 403 out_of_issuer_paths");
    EXPECT_NOT_IN(cli_err, "ey");
}

Test(server_cli, paths_and_the_key_are_read_from_standard_input)
{
    char key[4096];
    cli_make_node();
    cli_read_back("shop-private.jwks", key, sizeof(key));
    cli_input = key;
    cr_expect_eq(cli_run("link", "sign", "--key", "-", "--issuer", "shop", "--account", "a",
                         "--path", "/x", "--expires-in", "1h", NULL),
                 EX_OK, "%s", cli_err);
    EXPECT_IN(cli_out, "/x?URISigningPackage=ey");
    cli_input = "/one\r\n\n/two words\n/three";
    cr_expect_eq(SIGN("--path", "/zero", "--path", "-", "--expires-in", "1h"), EX_OK, "%s",
                 cli_err);
    static const char *const parts[] = {"/zero?", "\nhttp://127.0.0.1:8080/one?", "/two%20words?",
                                        "/three?"};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        EXPECT_IN(cli_out, parts[i]);
    cli_input = "";
    cr_expect_eq(SIGN("--path", "-", "--expires-in", "1h"), EX_NOINPUT);
    EXPECT_IN(cli_err, "standard input: it holds no path");
    cli_input = "";
    cr_expect_eq(cli_run("link", "sign", "--key", "-", "--issuer", "shop", "--account", "a",
                         "--path", "/x", "--expires-in", "1h", NULL),
                 EX_DATAERR);
    EXPECT_IN(cli_err, "standard input: ");
    cr_expect_eq(cli_run("link", "sign", "--key", "-", "--issuer", "shop", "--account", "a",
                         "--path", "-", "--expires-in", "1h", NULL),
                 EX_USAGE);
    EXPECT_IN(cli_err, "can be read only once");
}

Test(server_cli, sign_writes_limits_that_explain_reads_back)
{
    cli_make_node();
    cr_assert_eq(cli_run("link", "sign", "--key", "shop-private.jwks", "--issuer", "shop",
                         "--account", "a", "--path", "/x.mp3", "--expires-in", "1h", "--jti",
                         "order-1", "--max-uses", "2", "--max-bytes", "20MB", "--rate", "64KiB",
                         "--max-conns", "8", "--resume", "1d", "--pace", "1.5", NULL),
                 EX_OK, "%s", cli_err);
    char link[4096];
    snprintf(link, sizeof(link), "%.*s", (int)strcspn(cli_out, "\n"), cli_out);
    cr_expect_eq(cli_run("link", "explain", link, NULL), EX_OK, "%s", cli_out);
    static const char *const lines[] = {"max_uses   2", "max_bytes  20000000", "rate       65536",
                                        "max_conns  8", "resume     86400",    "pace       1.5"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        EXPECT_IN(cli_out, lines[i]);
    static const char *const wrong[][2] = {
        {"--max-uses", "0"},   {"--max-uses", "1001"}, {"--max-bytes", "1X"}, {"--rate", "fast"},
        {"--max-conns", "-1"}, {"--resume", "86400"},  {"--pace", "0.5"},     {"--max-uses", "1x"}};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        cr_expect_eq(cli_run("link", "sign", "--key", "shop-private.jwks", "--issuer", "shop",
                             "--account", "a", "--path", "/x.mp3", "--expires-in", "1h", "--jti",
                             "o", wrong[i][0], wrong[i][1], NULL),
                     EX_USAGE, "%s %s", wrong[i][0], wrong[i][1]);
        EXPECT_IN(cli_err, wrong[i][0]);
    }
    cr_expect_eq(cli_run("link", "sign", "--key", "shop-private.jwks", "--issuer", "shop",
                         "--account", "a", "--path", "/x.mp3", "--expires-in", "1h", "--max-uses",
                         "1", NULL),
                 EX_USAGE);
    EXPECT_IN(cli_err, "--max-uses needs --jti");
}
