/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a good configuration becomes: defaults, paths, each kind of value, and the address that the
 * command line moves. A file that is missing is told from one that is wrong.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "server/delivery/node.h"
#include "tests/unit/config/fixture.h"

Test(server_config, gives_defaults_to_what_is_not_written)
{
    struct config *config = yaml_accept(LEAST);
    cr_expect_str_eq(config->listen, "127.0.0.1:8080");
    cr_expect_str_eq(config->public_origin, "http://127.0.0.1:8080");
    cr_expect_str_eq(config->redis, "embedded");
    cr_expect_str_eq(config->redis_user, "");
    cr_expect_str_eq(config->token_attribute, "URISigningPackage");
    cr_expect_eq(config->workers, 0);
    cr_expect_eq(config->connections_max, 10000);
    cr_expect_eq(config->link_lifetime_max_s, 604800);
    cr_expect_eq(config->nbf_leeway_s, 5);
    cr_expect_eq(config->issuers[0].resume_s, 0);
    cr_expect_eq(config->journal_segment_bytes, 67108864);
    cr_expect_eq(config->journal_mark_ms, 800);
    cr_expect_eq(config->post_interval_ms, 10000);
    cr_expect_str_eq(config->journal_client, "prefix");
    config_destroy(&config);
    cr_expect_null(config);
}

Test(server_config, takes_relative_paths_from_the_directory_of_the_file)
{
    char expected[160];
    struct config *config = yaml_accept("redis: unix:run/redis.sock\n" LEAST);
    snprintf(expected, sizeof(expected), "%s/media", yaml_directory);
    cr_expect_str_eq(config->media_root, expected);
    snprintf(expected, sizeof(expected), "%s/keys/shop.jwks", yaml_directory);
    cr_expect_str_eq(config->issuers[0].keys, expected);
    snprintf(expected, sizeof(expected), "unix:%s/run/redis.sock", yaml_directory);
    cr_expect_str_eq(config->redis, expected);
    cr_expect_str_eq(config->redis_password_file, "", "what is not given stays empty");
    config_destroy(&config);
    config = yaml_accept("media_root: /srv/media\nstate_dir: /var/lib/t\n" ISSUER);
    cr_expect_str_eq(config->media_root, "/srv/media");
    config_destroy(&config);
}

Test(server_config, reads_every_kind_of_value)
{
    struct config *config = yaml_accept(LEAST "    audiences: [cdn, 'cdn: 2']\n"
                                              "  - {id: b, iss: b, keys: /b, prefixes: [/b/]}\n"
                                              "workers: 3\n"
                                              "listen: \"[::1]:0\"\n"
                                              "public_origin: https://media.example\n"
                                              "stop_timeout_ms: 0\n"
                                              "hash_entries_max: 4294967295\n");
    cr_expect_eq(config->workers, 3);
    cr_expect_eq(config->stop_timeout_ms, 0);
    cr_expect_eq(config->hash_entries_max, 4294967295);
    cr_expect_str_eq(config->public_origin, "https://media.example");
    cr_assert_eq(config->issuers_count, 2);
    cr_assert_eq(config->issuers[0].prefixes_count, 2);
    cr_expect_str_eq(config->issuers[0].prefixes[0], "/music/");
    cr_assert_eq(config->issuers[0].audiences_count, 2);
    cr_expect_str_eq(config->issuers[0].audiences[1], "cdn: 2");
    cr_expect_str_eq(config->issuers[1].id, "b");
    cr_expect_eq(config->issuers[1].audiences_count, 0);
    config_destroy(&config);
}

Test(server_config, takes_workers_auto_as_zero)
{
    struct config *config = yaml_accept("workers: auto\n" LEAST);
    cr_expect_eq(config->workers, 0);
    config_destroy(&config);
    yaml_refuse("connections_max: auto\n" LEAST, 1, "connections_max", "not a whole number");
}

/* More would pass the validation and not run. */
Test(server_config, refuses_more_workers_than_a_node_runs)
{
    struct config *config = yaml_accept("workers: 64\n" LEAST);
    cr_expect_eq(node_workers(config), 64);
    config_destroy(&config);
    yaml_refuse("workers: 65\n" LEAST, 1, "workers: 65 is more than the maximum",
                "give 0 to 64 threads");
}

Test(server_config, names_the_admin_socket_in_the_state_directory)
{
    char path[108], expected[160], small[8];
    struct config *config = yaml_accept(LEAST);
    cr_assert_eq(config_admin_socket(config, path, sizeof(path)), 0);
    snprintf(expected, sizeof(expected), "%s/state/admin.sock", yaml_directory);
    cr_expect_str_eq(path, expected);
    cr_expect_eq(config_admin_socket(config, small, sizeof(small)), -ENAMETOOLONG);
    config_destroy(&config);
}

Test(server_config, lets_the_command_line_move_the_address_and_a_derived_origin_with_it)
{
    struct config *config = yaml_accept(LEAST);
    cr_expect_eq(config_set_listen(config, "nonsense", yaml_error, sizeof(yaml_error)), -EINVAL);
    cr_expect_not_null(strstr(yaml_error, "nonsense"));
    cr_expect_str_eq(config->listen, "127.0.0.1:8080");
    cr_assert_eq(config_set_listen(config, ":81", yaml_error, sizeof(yaml_error)), 0);
    cr_expect_str_eq(config->listen, ":81");
    cr_expect_str_eq(config->public_origin, "http://127.0.0.1:81");
    config_destroy(&config);
    config = yaml_accept("public_origin: https://media.example\n" LEAST);
    cr_assert_eq(config_set_listen(config, ":81", yaml_error, sizeof(yaml_error)), 0);
    cr_expect_str_eq(config->public_origin, "https://media.example");
    config_destroy(&config);
}

Test(server_config, tells_a_missing_file_from_a_wrong_one)
{
    struct config *config = NULL;
    cr_expect_eq(config_load(&config, yaml_file, yaml_error, sizeof(yaml_error)), -ENOENT);
    cr_expect_not_null(strstr(yaml_error, yaml_file));
    cr_expect_not_null(strstr(yaml_error, "correct the path"));
    cr_expect_eq(config_load(&config, yaml_directory, yaml_error, sizeof(yaml_error)), -EISDIR);
    cr_expect_null(config);
}

Test(server_config, keeps_its_messages_within_a_small_buffer)
{
    char small[24];
    struct config *config = NULL;
    FILE *out = fopen(yaml_file, "w");
    fputs("a: 1\nb: 2\nc: 3\n", out);
    fclose(out);
    cr_expect_eq(config_load(&config, yaml_file, small, sizeof(small)), -EINVAL);
    cr_expect_lt(strlen(small), sizeof(small));
    cr_expect_eq(config_load(&config, yaml_file, small, 0), -EINVAL);
}
