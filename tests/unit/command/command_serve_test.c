/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tollgate serve` up to the moment when it would start: what --check-config finds right, refuses
 * and warns of, and where the configuration is looked for. No node is started here.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "tests/unit/command/fixture.h"

Test(server_cli, check_config_says_ok_to_a_node_that_could_start)
{
    cli_make_node();
    cr_expect_eq(cli_run("serve", "--check-config", "--config", "tollgate.yaml", NULL), EX_OK, "%s",
                 cli_err);
    cr_expect_str_eq(cli_out, "tollgate.yaml: ok\n");
}

Test(server_cli, check_config_names_each_thing_that_is_missing)
{
    cli_make_node();
    cr_assert_eq(unlink("shop-public.jwks"), 0);
    cr_assert_eq(rmdir("media"), 0);
    cr_expect_eq(cli_run("serve", "--check-config", NULL), EX_CONFIG);
    EXPECT_IN(cli_err, "issuer shop: ./shop-public.jwks: No such file or directory; make one");
    EXPECT_IN(cli_err, "media_root: ./media: No such file or directory");
    EXPECT_NOT_IN(cli_out, "ok");
}

Test(server_cli, check_config_warns_of_a_secret_that_others_may_read)
{
    cli_make_node();
    cr_expect_eq(cli_run("serve", "--check-config", NULL), EX_OK);
    EXPECT_NOT_IN(cli_err, "chmod");
    cr_assert_eq(chmod("radio-private.jwks", 0640), 0);
    cr_expect_eq(cli_run("serve", "--check-config", NULL), EX_OK);
    EXPECT_IN(cli_err, "warning ");
    EXPECT_IN(cli_err, "chmod 600 ./radio-private.jwks");
}

/* Expects that --check-config refuses a configuration with these lines, with this message. */
static void expect_lacking(const char *lines, const char *message)
{
    cli_make_configuration();
    cli_configure(lines);
    cr_expect_eq(cli_run("serve", "--check-config", NULL), EX_CONFIG, "%s", lines);
    EXPECT_IN(cli_err, message);
    EXPECT_NOT_IN(cli_out, "ok");
}

Test(server_cli, check_config_names_what_the_machine_lacks)
{
    cli_make_node();
    cr_assert_eq(mkdir("empty", 0755), 0);
    cli_write_text("file", "");
    expect_lacking(
        "access_log: logs/access.log\n",
        "access_log: ./logs/access.log: its directory ./logs: No such file or directory; "
        "create the directory");
    expect_lacking("access_log: empty\n", "access_log: ./empty: is a directory; name a file in it");
    expect_lacking("access_log: file/access.log\n",
                   "access_log: ./file/access.log: ./file is not a directory; correct the path");
    expect_lacking("redis: 127.0.0.1:1\nredis_password_file: file\n",
                   "redis_password_file: ./file: is empty; name a file that holds the password");
    expect_lacking("redis: 127.0.0.1:1\nredis_password_file: empty\n",
                   "redis_password_file: ./empty: Is a directory; name a file");
    expect_lacking("listen: 192.0.2.1:8080\n",
                   "addresses: listen 192.0.2.1:8080: Cannot assign requested address; write an "
                   "address of this machine");
    expect_lacking("listen_tls: :8443\ncertificates: empty\n",
                   "certificates: ./empty: holds no certificate; put NAME.pem");
    cli_write_text("secret", "");
    cli_make_configuration();
    char text[4096];
    cli_read_back("tollgate.yaml", text, sizeof(text));
    char *end = strstr(text, "prefixes: [/]}");
    cr_assert_not_null(end);
    *end = '\0';
    FILE *file = fopen("tollgate.yaml", "w");
    cr_assert_not_null(file);
    fprintf(file, "admin_listen: unix:%s/file\n%sadmin_secret_file: secret, prefixes: [/]}\n",
            cli_directory, text);
    cr_assert_eq(fclose(file), 0);
    cr_expect_eq(cli_run("serve", "--check-config", NULL), EX_CONFIG);
    EXPECT_IN(cli_err, "/file: is not a socket; move it away");
    EXPECT_IN(cli_err, "admin_secrets: issuer shop: ./secret: is empty; `openssl rand -hex 32`");
}

/* A node writes into its state directory, so it must not be one that other programs use. */
Test(server_cli, check_config_refuses_a_state_directory_with_files_that_are_not_a_nodes)
{
    static const char *const own[] = {
        "lock",      "instance.new", "hashes",      "hashes.unreadable", "journal.damaged",
        "directory", ".backup",      "access.log.1"};
    char path[64];
    cli_make_node();
    cli_configure("access_log: state/access.log\n");
    cr_assert_eq(mkdir("state", 0700), 0);
    cr_expect_eq(cli_run("serve", "--check-config", NULL), EX_OK, "%s", cli_err);
    cr_assert_eq(mkdir("state/lost+found", 0700), 0);
    cr_assert_eq(mkdir("state/redis", 0700), 0);
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        snprintf(path, sizeof(path), "state/%s", own[i]);
        cli_write_text(path, "");
    }
    cr_expect_eq(cli_run("serve", "--check-config", NULL), EX_OK, "%s", cli_err);

    cli_write_text("state/passwd", "");
    cli_write_text("state/locksmith", "");
    static const char refusal[] =
        "state_dir: ./state holds files that are not a node's (locksmith, "
        "passwd); give the node a directory of its own";
    cr_expect_eq(cli_run("serve", "--check-config", NULL), EX_CONFIG);
    EXPECT_IN(cli_err, refusal);
    cr_expect_eq(cli_run("serve", NULL), EX_CONFIG);
    EXPECT_IN(cli_err, refusal);
    cr_expect_neq(cli_run("doctor", NULL), EX_OK);
    EXPECT_IN(cli_out, refusal);
    cr_expect_neq(access("state/admin.sock", F_OK), 0, "the node began");

    /* A directory that has a node's instance is accepted, whatever other files lie there. */
    cr_assert_eq(mkdir("state/lane-a", 0700), 0);
    cli_write_text("state/lane-a/instance", "");
    cr_assert_eq(mkdir("state/lane-a/journal", 0700), 0);
    cr_expect_eq(cli_run("serve", "--check-config", NULL), EX_OK, "%s", cli_err);
}

Test(server_cli, check_config_warns_of_values_that_have_no_effect_or_trust_everybody)
{
    cli_make_node();
    cli_configure(
        "forwarded_from: 10.0.0.0/8 fc00::/7 192.0.2.1\nproxy_protocol_from: 2001:db8::/32\n"
        "accounts_max: 10\naccounts_per_issuer_max: 10\n");
    cr_expect_eq(cli_run("serve", "--check-config", NULL), EX_OK, "%s", cli_err);
    cr_expect_str_empty(cli_err);
    cli_make_configuration();
    cli_configure("forwarded_from: 10.0.0.1, 0.0.0.0/0\nproxy_protocol_from: ::/0\n"
                  "accounts_max: 10\naccounts_per_issuer_max: 11\n");
    cr_expect_eq(cli_run("serve", "--check-config", NULL), EX_OK, "%s", cli_err);
    EXPECT_IN(cli_err, "forwarded_from: 0.0.0.0/0 holds clients, not only proxies");
    EXPECT_IN(cli_err, "proxy_protocol_from: ::/0 holds clients");
    EXPECT_IN(cli_err, "accounts_per_issuer_max: 11 has no effect, because accounts_max is 10");
    (void)cli_run("doctor", NULL);
    EXPECT_IN(cli_out, "forwarded_from: 0.0.0.0/0 holds clients");
    EXPECT_IN(cli_out, "accounts_per_issuer_max: 11 has no effect");
}

Test(server_cli, check_config_names_every_key_set_that_is_wrong)
{
    cli_make_node();
    cli_write_text("shop-public.jwks", "{}");
    cr_assert_eq(unlink("radio-private.jwks"), 0);
    cr_expect_eq(cli_run("serve", "--check-config", NULL), EX_CONFIG);
    EXPECT_IN(cli_err, "keys: issuer shop: ./shop-public.jwks: ");
    EXPECT_IN(cli_err,
              "keys: issuer radio: ./radio-private.jwks: No such file or directory; make one");
}

Test(server_cli, check_config_names_what_this_user_may_not_read_or_write)
{
    if (geteuid() != 0)
        cr_skip_test("only root may become another user");
    cli_make_node();
    cr_assert_eq(chmod(cli_directory, 0777),
                 0); /* the run writes its output there as another user */
    cr_assert_eq(mkdir("certificates", 0700), 0);
    cr_assert_eq(mkdir("above", 0755), 0);
    cr_assert_eq(mkdir("above/live", 0700), 0);
    cr_assert_eq(mkdir("logs", 0755), 0);
    cr_assert_eq(mkdir("state", 0700), 0);
    cli_write_text("password", "x");
    cli_write_text("old.log", "");
    cr_assert_eq(chmod("password", 0640), 0);
    cr_assert_eq(chmod("shop-public.jwks", 0600), 0);
    cli_as_nobody = true;
    expect_lacking("listen_tls: :8443\ncertificates: certificates\n",
                   "certificates: ./certificates: Permission denied; let the node's user read it");
    expect_lacking("listen_tls: :8443\ncertificates: above\n",
                   "certificates: ./above/live: Permission denied; let the node's user read it");
    expect_lacking(
        "access_log: logs/access.log\n",
        "access_log: ./logs/access.log: its directory ./logs: Permission denied; let the "
        "node's user write there");
    expect_lacking("access_log: old.log\n",
                   "access_log: ./old.log: Permission denied; let the node's user write to it");
    expect_lacking("redis: 127.0.0.1:1\nredis_password_file: password\n",
                   "redis_password_file: ./password: Permission denied; let the node's user read");
    EXPECT_IN(cli_err,
              "keys: issuer shop: ./shop-public.jwks: Permission denied; let the node's user");
    EXPECT_IN(cli_err, "keys: issuer radio: ./radio-private.jwks: Permission denied");
    EXPECT_IN(cli_err, "state_dir: ./state: cannot be written; let the node's user own it");
}

Test(server_cli, check_config_warns_of_a_password_that_others_may_read)
{
    cli_make_node();
    cli_write_text("password", "x\n");
    cli_configure("redis: 127.0.0.1:1\nredis_password_file: password\n");
    cr_assert_eq(chmod("password", 0600), 0);
    cr_expect_eq(cli_run("serve", "--check-config", NULL), EX_OK, "%s", cli_err);
    cr_expect_str_empty(cli_err, "%s", cli_err);
    cr_assert_eq(chmod("password", 0640), 0);
    cr_expect_eq(cli_run("serve", "--check-config", NULL), EX_OK, "%s", cli_err);
    EXPECT_IN(cli_err,
              "./password holds a password, and other users may read it (mode 640); run chmod 600");
}

Test(server_cli, a_wrong_configuration_is_told_with_file_and_line)
{
    cli_write_text("bad.yaml", "media_root: media\nworkers: many\nstate_dir: state\n");
    cr_expect_eq(cli_run("serve", "--check-config", "--config", "bad.yaml", NULL), EX_CONFIG);
    cr_expect_eq(strncmp(cli_err, "bad.yaml:2: ", 12), 0, "%s", cli_err);
    cr_expect_eq(cli_run("serve", "--config", "missing.yaml", NULL), EX_NOINPUT);
    EXPECT_IN(cli_err, "missing.yaml");
    cr_expect_eq(cli_run("serve", "tollgate.yaml", NULL), EX_USAGE);
    EXPECT_IN(cli_err, "did you mean --config tollgate.yaml?");
}

Test(server_cli, the_environment_names_the_configuration_where_no_option_does)
{
    cli_make_node();
    cr_assert_eq(rename("tollgate.yaml", "other.yaml"), 0);
    cr_assert_eq(setenv("TOLLGATE_CONFIG", "other.yaml", 1), 0);
    cr_expect_eq(cli_run("serve", "--check-config", NULL), EX_OK, "%s", cli_err);
    cr_expect_str_eq(cli_out, "other.yaml: ok\n");
    cr_expect_eq(cli_run("serve", "--check-config", "--config", "no.yaml", NULL), EX_NOINPUT);
}

Test(server_cli, a_listen_address_that_is_none_is_a_wrong_command_line)
{
    cli_make_node();
    cr_expect_eq(cli_run("serve", "--check-config", "--listen", "here", NULL), EX_USAGE);
    EXPECT_IN(cli_err, "--listen: here is not an address and port");
}
