/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tollgate key generate`: the files that it writes, their modes, and the lines for the
 * configuration that it prints.
 */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "tests/unit/command/fixture.h"

static unsigned mode_of(const char *path)
{
    struct stat facts;
    cr_assert_eq(stat(path, &facts), 0, "%s is missing", path);
    return facts.st_mode & 0777;
}

Test(server_cli, a_new_key_pair_is_two_files_of_which_only_one_can_sign)
{
    umask(077); /* the node's user must be able to read the public half all the same */
    cr_assert_eq(cli_run("key", "generate", "--issuer", "shop", "--alg", "EdDSA", NULL), EX_OK);
    cr_expect_eq(mode_of("shop-private.jwks"), 0600);
    cr_expect_eq(mode_of("shop-public.jwks"), 0644);
    EXPECT_IN(cli_out, "issuers:\n  - id: \"shop\"\n");
    EXPECT_IN(cli_out, "shop-public.jwks\"\n    prefixes:");
    char text[4096], secret[256];
    cli_read_back("shop-private.jwks", text, sizeof(text));
    EXPECT_IN(text, "\"d\"");
    json_t *keys = json_loads(text, 0, NULL);
    json_t *key = json_array_get(json_object_get(keys, "keys"), 0);
    snprintf(secret, sizeof(secret), "%s", json_string_value(json_object_get(key, "d")));
    cr_assert_gt(strlen(secret), 40);
    json_decref(keys);
    EXPECT_NOT_IN(cli_out, secret);
    cli_read_back("shop-public.jwks", text, sizeof(text));
    EXPECT_NOT_IN(text, "\"d\"");
}

/* Expects `keys: "NAME"` in the last output, and no path of the machine. */
static void expect_key_named(const char *name)
{
    char line[512];
    snprintf(line, sizeof(line), "    keys: \"%s\"\n", name);
    EXPECT_IN(cli_out, line);
    EXPECT_NOT_IN(cli_out, cli_directory);
}

#define GENERATE(...)                                                                              \
    cr_assert_eq(cli_run("key", "generate", "--issuer", "shop", "--alg", "ES256", "--force",       \
                         __VA_ARGS__, NULL),                                                       \
                 EX_OK, "%s", cli_err)

Test(server_cli, a_new_key_is_named_from_the_directory_of_the_configuration)
{
    char whole[128];
    cr_assert_eq(mkdir("keys", 0755), 0);
    cr_assert_eq(mkdir("conf", 0755), 0);
    GENERATE("--directory", ".");
    expect_key_named("shop-public.jwks");
    GENERATE("--directory", "keys");
    expect_key_named("keys/shop-public.jwks");
    snprintf(whole, sizeof(whole), "%s/keys", cli_directory);
    GENERATE("--directory", whole);
    expect_key_named("keys/shop-public.jwks");
    /* No configuration is found. A relative directory is printed as it was given; an absolute one
     * that is not beneath the working directory is left out. */
    cr_assert_eq(chdir("conf"), 0);
    GENERATE("--directory", "../keys");
    expect_key_named("../keys/shop-public.jwks");
    GENERATE("--directory", whole);
    expect_key_named("shop-public.jwks");
    cr_assert_eq(chdir(".."), 0);
    /* TOLLGATE_CONFIG names the configuration, which need not exist yet. */
    cr_assert_eq(setenv("TOLLGATE_CONFIG", "conf/tollgate.yaml", 1), 0);
    GENERATE("--directory", whole);
    expect_key_named("../keys/shop-public.jwks");
    GENERATE("--private", "conf/a.jwks", "--public", "conf/b.jwks");
    expect_key_named("b.jwks");
}

Test(server_cli, the_lines_of_a_new_key_make_a_configuration_wherever_they_are_moved)
{
    char text[8192];
    cr_assert_eq(mkdir("keys", 0755), 0);
    GENERATE("--directory", "keys");
    snprintf(text, sizeof(text), "media_root: media\nstate_dir: state\n%.4096s", cli_out);
    cli_write_text("tollgate.yaml", text);
    cr_assert_eq(mkdir("moved", 0755), 0);
    cr_assert_eq(rename("keys", "moved/keys"), 0);
    cr_assert_eq(rename("media", "moved/media"), 0);
    cr_assert_eq(rename("tollgate.yaml", "moved/tollgate.yaml"), 0);
    cr_expect_eq(cli_run("serve", "--check-config", "--config", "moved/tollgate.yaml", NULL), EX_OK,
                 "%s", cli_err);
}

Test(server_cli, a_shared_secret_is_one_file)
{
    cr_assert_eq(cli_run("key", "generate", "--issuer", "radio", "--alg", "HS256", NULL), EX_OK);
    cr_expect_eq(mode_of("radio-private.jwks"), 0600);
    cr_expect_eq(access("radio-public.jwks", F_OK), -1);
    EXPECT_IN(cli_out, "radio-private.jwks\"");
}

Test(server_cli, a_key_is_not_overwritten_without_force)
{
    char before[4096], after[4096];
    cli_make_node();
    cli_read_back("shop-private.jwks", before, sizeof(before));
    cr_expect_eq(cli_run("key", "generate", "--issuer", "shop", "--alg", "ES256", NULL),
                 EX_CANTCREAT);
    EXPECT_IN(cli_err, "--force");
    cr_assert_eq(unlink("shop-private.jwks"), 0);
    cr_expect_eq(cli_run("key", "generate", "--issuer", "shop", "--alg", "ES256", NULL),
                 EX_CANTCREAT);
    cr_expect_eq(access("shop-private.jwks", F_OK), -1, "half a pair was written");
    cr_expect_eq(cli_run("key", "generate", "--issuer", "shop", "--alg", "ES256", "--force", NULL),
                 EX_OK, "%s", cli_err);
    cli_read_back("shop-private.jwks", after, sizeof(after));
    cr_expect_str_neq(before, after);
}

Test(server_cli, key_options_that_contradict_are_refused)
{
    cr_expect_eq(cli_run("key", "generate", "--issuer", "Shop!", "--alg", "ES256", NULL), EX_USAGE);
    EXPECT_IN(cli_err, "not a short name");
    cr_expect_eq(cli_run("key", "generate", "--issuer", "shop", "--alg", "RS256", NULL), EX_USAGE);
    EXPECT_IN(cli_err, "give ES256, EdDSA or HS256");
    cr_expect_eq(cli_run("key", "generate", "--issuer", "s", "--alg", "HS256", "--private", "a",
                         "--public", "b", NULL),
                 EX_USAGE);
    EXPECT_IN(cli_err, "no public half");
    cr_expect_eq(cli_run("key", "generate", "--issuer", "s", "--alg", "ES256", "--directory",
                         "nowhere", NULL),
                 EX_CANTCREAT);
    EXPECT_IN(cli_err, "create the directory first");
}
