/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML that is not a configuration: keys that do not exist, come twice or are missing, values of the
 * wrong shape, and text that cannot be read. All mistakes are told at once, each on its line.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/config/fixture.h"

Test(server_config, refuses_unknown_keys_and_proposes_the_nearest)
{
    yaml_refuse(LEAST "conections_max: 5\n", 8, "conections_max: no such key", "connections_max?");
    yaml_refuse(LEAST "zzzzzz: 5\n", 8, "zzzzzz: no such key", "--print-config-reference");
    yaml_refuse(LEAST "    prefixs: [/]\n", 8, "issuers[0].prefixs: no such key", "prefixes?");
}

Test(server_config, refuses_duplicates_with_both_lines)
{
    yaml_refuse("listen: ':1'\n" LEAST "listen: ':2'\n", 9, "listen: given twice (first on line 1)",
                "remove one");
    yaml_refuse(LEAST "    id: other\n", 8, "issuers[0].id: given twice (first on line 4)",
                "remove");
}

Test(server_config, refuses_what_is_missing_and_tells_all_of_it_at_once)
{
    yaml_refuse("listen: ':80'\n", 1,
                "media_root: missing; add it, such as media_root: ", "state_dir: missing");
    yaml_refuse("", 1, "media_root: missing", "state_dir: missing");
    yaml_refuse("media_root: a\nstate_dir: b\n", 1, "issuers: there is no issuer",
                "tollgate key generate");
    yaml_refuse("media_root: a\nstate_dir: b\nissuers:\n  - id: x\n    iss: x\n", 4,
                "issuers[0].keys: missing", "issuers[0].prefixes: missing");
}

Test(server_config, tells_mistakes_of_every_kind_at_once_and_none_twice)
{
    EXPECT_MISTAKES(
        "listen: nowhere\n"
        "conections_max: 5\n"
        "node: A_B\n"
        "node: b\n"
        "workers: [1]\n"
        "head_bytes_max: 8x\n"
        "idle_timeout_ms: 1\n"
        "token_attribute: \"\"\n"
        "public_origin: ftp://x\n"
        "forwarded_from: 10.0.0.0/33\n"
        "journal_segment_bytes: 70000\n"
        "admission_timeout_ms: 5000\n"
        "grant_validity_ms: 4000\n"
        "log_level: {a: b}\n"
        "media_root: m\n"
        "state_dir: \"a\\tb\"\n"
        "issuers:\n"
        "  - id: A B\n"
        "    iss: x\n"
        "    keyz: k\n"
        "    prefixes: [[/a/], /b, /c/]\n"
        "    resume_s: -1\n"
        "    refusal_url: nowhere\n"
        "  - shop\n"
        "  - {id: c, iss: x, keys: k, prefixes: /, origins: ['https://A'],\n"
        "     audiences: ['']}\n",
        ":1: listen: ", ":2: conections_max: no such key", ":3: node: \"A_B\"",
        ":4: node: given twice (first on line 3)", ":5: workers: a single value",
        ":6: head_bytes_max: ", ":7: idle_timeout_ms: ", ":8: token_attribute: is empty",
        ":9: public_origin: ", ":10: forwarded_from: ", ":11: journal_segment_bytes: ",
        ":12: admission_timeout_ms: ", ":14: log_level: a single value",
        ":16: state_dir: the value holds a control", ":18: issuers[0].id: \"A B\"",
        ":20: issuers[0].keyz: no such key", ":21: issuers[0].prefixes: a single value",
        ":21: issuers[0].prefixes: \"/b\"", ":22: issuers[0].resume_s: ",
        ":23: issuers[0].refusal_url: ", ":24: issuers[1]: a mapping is expected",
        ":25: issuers[2].iss: \"x\" is already the iss of issuers[0]",
        ":25: issuers[2].prefixes: a list",
        ":25: issuers[2].origins: ", ":26: issuers[2].audiences: ");
}

Test(server_config, tells_all_that_an_empty_file_lacks)
{
    EXPECT_MISTAKES("", "media_root: missing", "state_dir: missing", "issuers: there is no issuer");
    EXPECT_MISTAKES("# nothing\n---\n", "keys and values are expected");
    EXPECT_MISTAKES("a: 1\nb: 2\nc: 3\n", ":1: a: no such key", ":2: b: no", ":3: c: no",
                    "media_root: missing", "state_dir: missing", "issuers: there is no issuer");
}

/* What follows from a mistake for other keys must not be reported as a further mistake. */
Test(server_config, tells_a_mistake_and_not_what_follows_from_it)
{
    EXPECT_MISTAKES(LEAST "grant_validity_ms: x\nadmission_timeout_ms: 60000\n",
                    ":8: grant_validity_ms: ");
    EXPECT_MISTAKES(LEAST "listen_tls: [':8443']\ncertificates: tls\nplain_http: redirect\n",
                    ":8: listen_tls: ");
    EXPECT_MISTAKES(LEAST "    admin_secret_file: [a]\nadmin_listen: 127.0.0.1:8090\n",
                    ":8: issuers[0].admin_secret_file: ");
    EXPECT_MISTAKES("media_root: m\nstate_dir: s\nisuers: []\n", ":3: isuers: no such key");
    EXPECT_MISTAKES(LEAST "link_lifetime_max_s: 0\n"
                          "connections_max: 0\n",
                    ":8: link_lifetime_max_s: ", ":9: connections_max: ");
}

Test(server_config, goes_on_past_aliases_and_a_second_document)
{
    EXPECT_MISTAKES("node: &a B_\nlisten: *a\n" LEAST "workers: x\n---\na: b\n", ":2: aliases",
                    ":1: node: ", ":10: workers: ", ":11: a second document", "listen: ");
}

Test(server_config, says_how_many_mistakes_its_buffer_could_not_hold)
{
    char some[1024], *text = NULL;
    size_t length = 0;
    struct config *config = NULL;
    FILE *out = open_memstream(&text, &length);
    for (int i = 0; i < 50; i++)
        fprintf(out, "zz%d: 1\n", i);
    fputs(LEAST, out);
    fclose(out);
    cr_assert_eq(yaml_load(text, length, &config), -EINVAL);
    cr_expect_not_null(strstr(yaml_error, "zz49: no such key"));
    cr_expect_eq(config_load(&config, yaml_file, some, sizeof(some)), -EINVAL);
    cr_expect_not_null(strstr(some, " more mistakes"), "%s", some);
    free(text);
}

Test(server_config, refuses_the_wrong_shape_in_its_own_words)
{
    yaml_refuse("- a\n- b\n", 1, "keys and values are expected", "--print-config-reference");
    yaml_refuse("listen: [a, b]\n" LEAST, 1, "listen: a single value is expected, not a list", "");
    yaml_refuse("media_root: a\nissuers: shop\n", 2, "issuers: a list is expected", "key generate");
    yaml_refuse("media_root: a\nissuers:\n  - shop\n", 3, "issuers[0]: a mapping is expected",
                "- id:");
    yaml_refuse("issuers:\n  - id: x\n    prefixes: /\n", 3, "issuers[0].prefixes: a list",
                "[ONE, TWO]");
    yaml_refuse("issuers:\n  - id: x\n    prefixes: [[/]]\n", 3, "a single value", "not a list");
    yaml_refuse("? [a]\n: b\n", 1, "a single value is expected", "");
}

Test(server_config, refuses_yaml_that_cannot_be_read_on_its_line)
{
    yaml_refuse("media_root: a\n  state_dir: b\n", 2, "not readable as YAML", "indentation");
    yaml_refuse("media_root: a\nlisten: @x\n", 2, "not readable as YAML", "quotes");
    yaml_refuse("media_root: &a x\nstate_dir: *a\n", 2, "aliases", "write the value out");
    yaml_refuse("media_root: a\n---\nstate_dir: b\n", 2, "second document", "remove");
    yaml_refuse("media_root: \"a\\0b\"\n", 1, "media_root: the value holds a control character",
                "");
    struct config *config = NULL;
    cr_expect_eq(yaml_load("a: \xff\xfe\n", 6, &config), -EINVAL);
    cr_expect_not_null(strstr(yaml_error, "UTF-8"), "%s", yaml_error);
}
