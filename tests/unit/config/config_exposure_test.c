/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node must not serve its own secrets: no file of the node may lie beneath the media root, where a
 * link for prefix:/ would deliver it.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/config/fixture.h"

static void expect_exposed(const char *text, const char *complaint)
{
    struct config *config = NULL;
    cr_assert_eq(yaml_load(text, strlen(text), &config), -EINVAL, "%s", text);
    cr_assert(strstr(yaml_error, complaint) != NULL, "no \"%s\" in: %s", complaint, yaml_error);
}

/* Any link for prefix:/ would deliver such a file. */
Test(server_config, refuses_what_nobody_may_download_beneath_the_media_root)
{
    expect_exposed("media_root: .\nstate_dir: /nowhere/state\n" ISSUER, "media_root: ");
    expect_exposed("media_root: .\nstate_dir: /nowhere/state\n" ISSUER,
                   "holds this configuration file");
    expect_exposed("media_root: .\nstate_dir: /nowhere/state\n" ISSUER, "keys: ");
    expect_exposed("media_root: /\nstate_dir: state\n" ISSUER, "state_dir: ");
    expect_exposed("media_root: media\nstate_dir: media/state\n" ISSUER, "state_dir: ");
    expect_exposed("media_root: state/..\nstate_dir: state\n" ISSUER, "state_dir: ");
    expect_exposed("media_root: media\nstate_dir: media\n" ISSUER, "state_dir: ");
    expect_exposed("access_log: media/log/access.log\n" LEAST, "access_log: ");
    expect_exposed("redis: 'sentinel:m@h:1'\nsentinel_password_file: media/redis\n" LEAST,
                   "sentinel_password_file: ");
    expect_exposed("redis: 127.0.0.1:6379\nredis_password_file: media/redis\n" LEAST,
                   "redis_password_file: ");
    expect_exposed(
        "listen_tls: :8443\ncertificates: media/tls\npublic_origin: https://a.example\n" LEAST,
        "certificates: ");
    expect_exposed(LEAST "    admin_secret_file: media/secret\n", "admin_secret_file: ");
    /* Symbolic links are followed, and the directories need not exist yet. */
    char link[128];
    snprintf(link, sizeof(link), "%s/media", yaml_directory);
    cr_assert_eq(symlink(".", link), 0);
    expect_exposed(LEAST, "state_dir: ");
    cr_assert_eq(unlink(link), 0);
    struct config *config = yaml_accept("access_log: media.log\n" LEAST);
    config_destroy(&config);
    config = yaml_accept("media_root: state/media\nstate_dir: state\n" ISSUER);
    config_destroy(&config);
}
