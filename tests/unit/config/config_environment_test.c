/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Variables of the environment in values. What they hold is not read as YAML, and no message shows it,
 * because it may be a secret.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/config/config_internal.h"
#include "tests/unit/config/fixture.h"

Test(server_config, takes_variables_of_the_environment_in_values)
{
    setenv("TG_NODE", "edge", 1);
    setenv("TG_NUMBER", "5s", 1);
    setenv("TG_PATH", "keys", 1);
    setenv("TG_LEVEL", "debug", 1);
    setenv("TG_EMPTY", "", 1);
    setenv("TG_YAML", "a: b # [c], \"d\" *e ${TG_NODE}", 1);
    struct config *config = yaml_accept(
        "media_root: media\nstate_dir: ${TG_PATH}/../state\nnode: ${TG_NODE}-${TG_NODE}\n"
        "idle_timeout_ms: ${TG_NUMBER}\nlog_level: ${TG_LEVEL}\n"
        "access_log: ${TG_EMPTY}\nredis: unix:/run/$${TG_NODE}$$$x\n"
        "redis_password_file: '\\${TG_NODE}$'\n"
        "issuers:\n  - id: ${TG_NODE}\n    iss: ${TG_YAML}\n    keys: ${TG_PATH}/k\n"
        "    prefixes: ['/${TG_PATH}/']\n    audiences: [\"${TG_YAML}\"]\n");
    char expected[160];
    cr_expect_str_eq(config->node, "edge-edge");
    cr_expect_eq(config->idle_timeout_ms, 5000);
    cr_expect_str_eq(config->log_level, "debug");
    cr_expect_str_eq(config->access_log, "");
    cr_expect_str_eq(config->redis, "unix:/run/${TG_NODE}$$x");
    snprintf(expected, sizeof(expected), "%s/${TG_NODE}$", yaml_directory);
    cr_expect_str_eq(config->redis_password_file, expected);
    cr_expect_str_eq(config->issuers[0].id, "edge");
    cr_expect_str_eq(config->issuers[0].iss, "a: b # [c], \"d\" *e ${TG_NODE}");
    snprintf(expected, sizeof(expected), "%s/keys/k", yaml_directory);
    cr_expect_str_eq(config->issuers[0].keys, expected);
    cr_expect_str_eq(config->issuers[0].prefixes[0], "/keys/");
    cr_expect_str_eq(config->issuers[0].audiences[0], "a: b # [c], \"d\" *e ${TG_NODE}");
    config_destroy(&config);
}

Test(server_config, names_variables_that_are_not_set_or_none)
{
    unsetenv("TG_NONE");
    setenv("TG_LINES", "one\ntwo: 3", 1);
    EXPECT_MISTAKES(
        "media_root: ${TG_NONE}/x\nnode: a${TG_NONE_EITHER}\nlisten: ${TG NONE}\n"
        "workers: ${TG_NONE\nidle_timeout_ms: ${}\ntoken_attribute: ${1A}\n"
        "access_log: ${TG_LINES}\n${TG_NONE}: 1\nstate_dir: s\n"
        "issuers:\n  - {id: a, iss: b, keys: \"${TG_NONE}\", prefixes: [/, "
        "\"${TG_NONE}\"]}\n",
        ":1: media_root: the environment variable TG_NONE is not set;",
        ":2: node: the environment variable TG_NONE_EITHER is not set;",
        ":3: listen: ${TG does not begin a variable", ":4: workers: ${TG_NONE does not begin",
        ":5: idle_timeout_ms: ${ does not begin", ":6: token_attribute: ${1A does not begin",
        ":7: access_log: the value holds a control character", ":8: ${TG_NONE}: no such key",
        ":11: issuers[0].keys: the environment variable",
        ":11: issuers[0].prefixes: the environment variable TG_NONE is not set");
}

Test(server_config, shows_no_value_of_the_environment_in_its_messages)
{
    static const char *const keys[] = {
        "listen",         "listen_tls",      "public_origin",      "node",
        "redis",          "token_attribute", "content_type",       "content_types",
        "forwarded_from", "log_level",       "cors_allow_headers", "admin_listen",
        "workers",        "idle_timeout_ms", "head_bytes_max",     "tls_groups",
        "tls_ciphers",    "follow_links",    "proxy_protocol_from"};
    char text[1024];
    setenv("TG_SECRET", "hunter2;\"(K0RREKT) h0rse", 1);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        snprintf(text, sizeof(text), "%s%s: 'x${TG_SECRET}'\n", LEAST, keys[i]);
        yaml_refuse(text, 8, keys[i], "");
        cr_expect_null(strstr(yaml_error, "unter"), "%s", yaml_error);
        cr_expect_null(strstr(yaml_error, "K0RR"), "%s", yaml_error);
        cr_expect_null(strstr(yaml_error, "0rse"), "%s", yaml_error);
    }
    yaml_refuse(LEAST "node: ${TG_SECRET}\n", 8, "node: \"${TG_SECRET}\" is not a name", "a-z");
    yaml_refuse(LEAST "    origins: ['${TG_SECRET}']\n    refusal_url: ${TG_SECRET}\n", 8,
                "issuers[0].origins: \"${TG_SECRET}\"", "refusal_url: \"${TG_SECRET}\"");
    cr_expect_null(strstr(yaml_error, "unter"), "%s", yaml_error);
    setenv("TG_SECRET", "my value", 1);
    yaml_refuse("head_bytes_max: ${TG_SECRET}\n" LEAST "log_level: loud\n", 9,
                "is not one of its values;", "\"${TG_SECRET}\" is not a whole");
    setenv("TG_SECRET", "a:b", 1);
    yaml_refuse(LEAST "node: ${TG_SECRET}\n", 8, "node: \"${TG_SECRET}\" is not a name", "a-z");
}

/* Sanitizers end the process where so much memory is asked for. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
Test(server_config, tells_want_of_memory_from_a_variable_that_is_not_set)
{
    struct config_variables full = {.count = SIZE_MAX / 64}; /* one more is beyond all memory */
    char wrong[CONFIG_VARIABLE_SIZE], *out;
    setenv("TG_SET", "x", 1);
    unsetenv("TG_NONE");
    cr_expect_eq(config_variables_expand(&full, "${TG_SET}", &out, wrong), -ENOMEM);
    cr_expect_eq(config_variables_expand(&full, "${TG_NONE}", &out, wrong), -ENOENT);
}
#endif
