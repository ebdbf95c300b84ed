/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys whose value is one of a few words: each word is taken in any case, and a refusal names the
 * words and the nearest of them.
 */
#include <criterion/criterion.h>

#include "tests/unit/config/fixture.h"

Test(server_config, names_the_values_of_a_choice_and_the_nearest_of_them)
{
    yaml_refuse(LEAST "access_log_format: clf\n", 8,
                "access_log_format: \"clf\" is not one of its values", "write json or combined");
    yaml_refuse(LEAST "access_log_format: combind\n", 8, "did you mean combined?",
                "json or combined");
    yaml_refuse(LEAST "log_level: wraning\n", 8, "did you mean warning?",
                "error, warning, info, debug or trace");
    yaml_refuse(LEAST "log_level: verylongwordthatisnolevel\n", 8, "log_level: \"very",
                "write error, warning, info, debug or trace");
    yaml_refuse(LEAST "log_level:\n", 8, "log_level: \"\"",
                "write error, warning, info, debug or trace");
    yaml_refuse(LEAST "plain_http: http\n", 8, "plain_http: \"http\"", "write serve or redirect");
    yaml_refuse(LEAST "plain_http: redirct\n", 8, "did you mean redirect?", "serve or redirect");
    yaml_refuse(LEAST "follow_links: true\n", 8, "follow_links: \"true\"", "write off or on");
    yaml_refuse(LEAST "jti_single_use: a\n", 8, "jti_single_use: \"a\"", "write off or strict");
    yaml_refuse(LEAST "cross_origin_resource_policy: same_site\n", 8, "did you mean same-site?",
                "same-origin, same-site or cross-origin, or leave it empty");
    yaml_refuse(LEAST "forwarded_field: Forwardd\n", 8, "did you mean Forwarded?",
                "X-Forwarded-For or Forwarded");
}

Test(server_config, takes_each_value_of_a_choice_in_any_case)
{
    struct config *config = yaml_accept(LEAST "access_log_format: Combined\nlog_level: DEBUG\n"
                                              "forwarded_field: x-forwarded-for\nfollow_links: On\n"
                                              "cross_origin_resource_policy: ''\n");
    cr_expect_str_eq(config->access_log_format, "combined");
    cr_expect_str_eq(config->log_level, "debug");
    cr_expect_str_eq(config->forwarded_field, "X-Forwarded-For");
    cr_expect_str_eq(config->follow_links, "on");
    cr_expect_str_eq(config->cross_origin_resource_policy, "");
    config_destroy(&config);
}
