/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration as people write it: what is accepted, and that each mistake is reported with
 * its file, line and cure. Each test has a directory of its own, in which the files that values
 * name need not exist.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/file_read.h"
#include "server/config/config_internal.h"
#include "server/delivery/node.h"

static char directory[64], file[96];
static char error[65536];

static void make_directory(void)
{
    strcpy(directory, "/tmp/tollgate-config-XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
    snprintf(file, sizeof(file), "%s/tollgate.yaml", directory);
}

static void remove_directory(void)
{
    unlink(file);
    cr_assert_eq(rmdir(directory), 0);
}

TestSuite(server_config, .init = make_directory, .fini = remove_directory);

#define ISSUER                                                                                     \
    "issuers:\n"                                                                                   \
    "  - id: shop\n"                                                                               \
    "    iss: https://shop.example\n"                                                              \
    "    keys: keys/shop.jwks\n"                                                                   \
    "    prefixes: [/music/, /]\n"
#define LEAST                                                                                      \
    "media_root: media\n"                                                                          \
    "state_dir: state\n" ISSUER

static int load_bytes(const char *text, size_t length, struct config **config)
{
    FILE *out = fopen(file, "w");
    cr_assert_not_null(out);
    cr_assert_eq(fwrite(text, 1, length, out), length);
    cr_assert_eq(fclose(out), 0);
    return config_load(config, file, error, sizeof(error));
}

static struct config *accept(const char *text)
{
    struct config *config = NULL;
    int result = load_bytes(text, strlen(text), &config);
    cr_assert_eq(result, 0, "refused: %s", error);
    cr_assert_not_null(config);
    return config;
}

/* Expects that the text is refused, with a message that has FILE:LINE: and both parts. */
static void refuse(const char *text, unsigned line, const char *what, const char *cure)
{
    struct config *config = NULL;
    char place[128];
    cr_assert_eq(load_bytes(text, strlen(text), &config), -EINVAL, "accepted: %s", text);
    cr_assert_null(config);
    snprintf(place, sizeof(place), "%s:%u: ", file, line);
    cr_assert_not_null(strstr(error, place), "no \"%s\" in: %s", place, error);
    cr_assert_not_null(strstr(error, what), "no \"%s\" in: %s", what, error);
    cr_assert_not_null(strstr(error, cure), "no \"%s\" in: %s", cure, error);
}

Test(server_config, gives_defaults_to_what_is_not_written)
{
    struct config *config = accept(LEAST);
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
    cr_expect_eq(config->journal_mark_ms, 100);
    config_destroy(&config);
    cr_expect_null(config);
}

Test(server_config, takes_relative_paths_from_the_directory_of_the_file)
{
    char expected[160];
    struct config *config = accept("redis: unix:run/redis.sock\n" LEAST);
    snprintf(expected, sizeof(expected), "%s/media", directory);
    cr_expect_str_eq(config->media_root, expected);
    snprintf(expected, sizeof(expected), "%s/keys/shop.jwks", directory);
    cr_expect_str_eq(config->issuers[0].keys, expected);
    snprintf(expected, sizeof(expected), "unix:%s/run/redis.sock", directory);
    cr_expect_str_eq(config->redis, expected);
    cr_expect_str_eq(config->redis_password_file, "", "what is not given stays empty");
    config_destroy(&config);
    config = accept("media_root: /srv/media\nstate_dir: /var/lib/t\n" ISSUER);
    cr_expect_str_eq(config->media_root, "/srv/media");
    config_destroy(&config);
}

Test(server_config, reads_every_kind_of_value)
{
    struct config *config = accept(LEAST "    audiences: [cdn, 'cdn: 2']\n"
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
    struct config *config = accept("workers: auto\n" LEAST);
    cr_expect_eq(config->workers, 0);
    config_destroy(&config);
    refuse("connections_max: auto\n" LEAST, 1, "connections_max", "not a whole number");
}

Test(server_config, accepts_its_own_reference_and_finds_the_defaults_in_it)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    config_print_reference(out);
    cr_assert_eq(fclose(out), 0);
    struct config *reference = accept(text), *least = accept(LEAST);
    cr_expect_str_eq(reference->listen, least->listen);
    cr_expect_str_eq(reference->public_origin, least->public_origin);
    cr_expect_str_eq(reference->media_root, "/srv/media");
    cr_expect_str_eq(reference->node, least->node);
    /* All members from `workers` up to `issuers` must be equal, including any added later. */
    cr_expect_arr_eq(&reference->workers, &least->workers,
                     offsetof(struct config, issuers) - offsetof(struct config, workers));
    cr_expect_eq(reference->issuers_count, 1);
    config_destroy(&reference);
    config_destroy(&least);
    free(text);
}

Test(server_config, refuses_unknown_keys_and_proposes_the_nearest)
{
    refuse(LEAST "conections_max: 5\n", 8, "conections_max: no such key", "connections_max?");
    refuse(LEAST "zzzzzz: 5\n", 8, "zzzzzz: no such key", "--print-config-reference");
    refuse(LEAST "    prefixs: [/]\n", 8, "issuers[0].prefixs: no such key", "prefixes?");
}

Test(server_config, refuses_duplicates_with_both_lines)
{
    refuse("listen: ':1'\n" LEAST "listen: ':2'\n", 9, "listen: given twice (first on line 1)",
           "remove one");
    refuse(LEAST "    id: other\n", 8, "issuers[0].id: given twice (first on line 4)", "remove");
}

Test(server_config, refuses_what_no_answer_can_carry)
{
    refuse(LEAST "content_types: .mp3=audio/mpeg mp4=video/mp4\n", 8, "\"mp4=video/mp4\"",
           ".mp3=audio/mpeg");
    refuse(LEAST "content_types: .a=a/b .b=b/c .A=c/d\n", 8, "or its extension is given twice",
           ".mp3=");
    refuse(LEAST "content_types: .a=nothing\n", 8, "\".a=nothing\"", ".mp3=audio/mpeg");
    refuse(LEAST "cors_allow_headers: \"Range; X\"\n", 8, "not a list of field names", "Range");
    refuse(LEAST "cross_origin_resource_policy: none\n", 8, "same-origin", "same-site");
}

Test(server_config, refuses_numbers_that_are_none_or_out_of_bounds_on_their_line)
{
    refuse(LEAST "\nhead_bytes_max: 8x\n", 9,
           "head_bytes_max: \"8x\" is not a whole number of bytes", "1024 to 65536");
    refuse(LEAST "head_bytes_max: 100\n", 8, "head_bytes_max: 100 is less than the minimum",
           "bytes");
    refuse(LEAST "journal_mark_ms: 1001\n", 8, "more than the maximum", "10 to 1000 milliseconds");
    refuse(LEAST "tokens_max: -1\n", 8, "not a whole number", "give 16 to");
    refuse(LEAST "tokens_max: 99999999999999999999999\n", 8, "more than the maximum", "16777216");
    refuse(LEAST "tokens_max:\n", 8, "\"\" is not a whole number", "give 16 to 16777216");
}

Test(server_config, names_the_values_of_a_choice_and_the_nearest_of_them)
{
    refuse(LEAST "access_log_format: clf\n", 8,
           "access_log_format: \"clf\" is not one of its values", "write json or combined");
    refuse(LEAST "access_log_format: combind\n", 8, "did you mean combined?", "json or combined");
    refuse(LEAST "log_level: wraning\n", 8, "did you mean warning?",
           "error, warning, info or debug");
    refuse(LEAST "log_level: verylongwordthatisnolevel\n", 8, "log_level: \"very",
           "write error, warning, info or debug");
    refuse(LEAST "log_level:\n", 8, "log_level: \"\"", "write error, warning, info or debug");
    refuse(LEAST "plain_http: http\n", 8, "plain_http: \"http\"", "write serve or redirect");
    refuse(LEAST "plain_http: redirct\n", 8, "did you mean redirect?", "serve or redirect");
    refuse(LEAST "follow_links: true\n", 8, "follow_links: \"true\"", "write off or on");
    refuse(LEAST "jti_single_use: a\n", 8, "jti_single_use: \"a\"", "write off or strict");
    refuse(LEAST "cross_origin_resource_policy: same_site\n", 8, "did you mean same-site?",
           "same-origin, same-site or cross-origin, or leave it empty");
    refuse(LEAST "forwarded_field: Forwardd\n", 8, "did you mean Forwarded?",
           "X-Forwarded-For or Forwarded");
}

Test(server_config, takes_each_value_of_a_choice_in_any_case)
{
    struct config *config = accept(LEAST "access_log_format: Combined\nlog_level: DEBUG\n"
                                         "forwarded_field: x-forwarded-for\nfollow_links: On\n"
                                         "cross_origin_resource_policy: ''\n");
    cr_expect_str_eq(config->access_log_format, "combined");
    cr_expect_str_eq(config->log_level, "debug");
    cr_expect_str_eq(config->forwarded_field, "X-Forwarded-For");
    cr_expect_str_eq(config->follow_links, "on");
    cr_expect_str_eq(config->cross_origin_resource_policy, "");
    config_destroy(&config);
}

Test(server_config, shows_the_values_of_choices_in_its_reference)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    config_print_reference(out);
    fclose(out);
    cr_expect_not_null(strstr(text, "# error, warning, info or debug; default \"info\""));
    cr_expect_not_null(strstr(text, "# json or combined; default \"json\""));
    cr_expect_not_null(strstr(text, "# same-origin, same-site or cross-origin; default \"\""));
    free(text);
}

Test(server_config, takes_durations_and_sizes_with_their_unit)
{
    struct config *config = accept(LEAST "head_timeout_ms: 5s\nidle_timeout_ms: 250ms\n"
                                         "stall_timeout_ms: 1.5m\nstop_timeout_ms: 0s\n"
                                         "link_lifetime_max_s: 7d\nuse_window_s: 1.5h\n"
                                         "cache_max_age_s: 60000ms\nnbf_leeway_s: 007\n"
                                         "grant_slice_bytes: 16MB\nhead_bytes_max: 16KiB\n"
                                         "journal_segment_bytes: 64MiB\n"
                                         "rate_min_bytes_per_s: 2k\n"
                                         "balance_low_bytes: 1.5GB\ngrant_validity_ms: 4000\n");
    cr_expect_eq(config->head_timeout_ms, 5000);
    cr_expect_eq(config->idle_timeout_ms, 250);
    cr_expect_eq(config->stall_timeout_ms, 90000);
    cr_expect_eq(config->stop_timeout_ms, 0);
    cr_expect_eq(config->link_lifetime_max_s, 604800);
    cr_expect_eq(config->use_window_s, 5400);
    cr_expect_eq(config->cache_max_age_s, 60);
    cr_expect_eq(config->nbf_leeway_s, 7);
    cr_expect_eq(config->grant_slice_bytes, 16000000);
    cr_expect_eq(config->head_bytes_max, 16384);
    cr_expect_eq(config->journal_segment_bytes, 67108864);
    cr_expect_eq(config->rate_min_bytes_per_s, 2000);
    cr_expect_eq(config->balance_low_bytes, 1500000000);
    cr_expect_eq(config->grant_validity_ms, 4000);
    config_destroy(&config);
}

Test(server_config, refuses_what_a_unit_cannot_hold_and_units_of_something_else)
{
    static const char *const none[][2] = {
        {"nbf_leeway_s: 1500ms\n", "\"1500ms\" is not a whole number of seconds"},
        {"nbf_leeway_s: 0.5\n", "\"0.5\" is not a whole number of seconds"},
        {"idle_timeout_ms: 100.5ms\n", "is not a whole number of milliseconds"},
        {"idle_timeout_ms: 1.00000000001s\n", "is not a whole number of milliseconds"},
        {"head_bytes_max: 1.0001KiB\n", "is not a whole number of bytes"},
        {"head_bytes_max: 5s\n", "64KiB"},
        {"idle_timeout_ms: 5MB\n", "250ms"},
        {"idle_timeout_ms: s\n", "\"s\" is no"},
        {"idle_timeout_ms: 5.s\n", "\"5.s\" is no"},
        {"idle_timeout_ms: .5s\n", "\".5s\" is no"},
        {"idle_timeout_ms: -5s\n", "\"-5s\" is no"},
        {"idle_timeout_ms: 5 s\n", "\"5 s\" is no"},
        {"idle_timeout_ms: 5ss\n", "\"5ss\" is no"},
        {"head_bytes_max: 5KiBs\n", "\"5KiBs\" is no"},
        {"connections_max: 5s\n", "\"5s\" is not a whole number of connections"},
        {"connections_max: 5k\n", "\"5k\" is not a whole number of connections"},
        {"grant_slice_bytes: 16Mb\n", "\"16Mb\" has no unit of bytes; did you mean 16MB?"},
        {"grant_slice_bytes: 1.5Gib\n", "did you mean 1.5GiB?"},
        {"idle_timeout_ms: 2h\n", "2h is more than the maximum; give 100 to 3600000 milliseconds"},
        {"idle_timeout_ms: 213503982335d\n", "is more than the maximum"},
        {"idle_timeout_ms: 99999999999999999999999999999999999999999999d\n",
         "is more than the maximum"},
        {"balance_low_bytes: 99999999999999999TiB\n", "is more than the maximum"},
        {"balance_low_bytes: 16777216TiB\n", "is more than the maximum"},
        {"workers: 1s\n", "\"1s\" is not a whole number of threads"},
    };
    char text[512];
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        snprintf(text, sizeof(text), "%s%s", LEAST, none[i][0]);
        refuse(text, 8, none[i][1], "");
    }
}

Test(server_config, refuses_what_is_missing_and_tells_all_of_it_at_once)
{
    refuse("listen: ':80'\n", 1,
           "media_root: missing; add it, such as media_root: ", "state_dir: missing");
    refuse("", 1, "media_root: missing", "state_dir: missing");
    refuse("media_root: a\nstate_dir: b\n", 1, "issuers: there is no issuer",
           "tollgate key generate");
    refuse("media_root: a\nstate_dir: b\nissuers:\n  - id: x\n    iss: x\n", 4,
           "issuers[0].keys: missing", "issuers[0].prefixes: missing");
}

/* Expects one line of `error` for each mistake, and no other line. */
static void expect_mistakes(const char *text, const char *const *mistakes, size_t count)
{
    struct config *config = NULL;
    cr_assert_eq(load_bytes(text, strlen(text), &config), -EINVAL, "accepted: %s", text);
    cr_assert_null(config);
    size_t lines = 1;
    for (const char *at = error; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    for (size_t i = 0; i < count; i++)
        cr_expect_not_null(strstr(error, mistakes[i]), "no \"%s\" in:\n%s", mistakes[i], error);
    cr_expect_eq(lines, count, "%zu mistakes are told, %zu were made:\n%s", lines, count, error);
}

#define EXPECT_MISTAKES(text, ...)                                                                 \
    expect_mistakes(text, (const char *const[]){__VA_ARGS__},                                      \
                    sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

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
    cr_assert_eq(load_bytes(text, length, &config), -EINVAL);
    cr_expect_not_null(strstr(error, "zz49: no such key"));
    cr_expect_eq(config_load(&config, file, some, sizeof(some)), -EINVAL);
    cr_expect_not_null(strstr(some, " more mistakes"), "%s", some);
    free(text);
}

Test(server_config, takes_variables_of_the_environment_in_values)
{
    setenv("TG_NODE", "edge", 1);
    setenv("TG_NUMBER", "5s", 1);
    setenv("TG_PATH", "keys", 1);
    setenv("TG_LEVEL", "debug", 1);
    setenv("TG_EMPTY", "", 1);
    setenv("TG_YAML", "a: b # [c], \"d\" *e ${TG_NODE}", 1);
    struct config *config =
        accept("media_root: media\nstate_dir: ${TG_PATH}/../state\nnode: ${TG_NODE}-${TG_NODE}\n"
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
    snprintf(expected, sizeof(expected), "%s/${TG_NODE}$", directory);
    cr_expect_str_eq(config->redis_password_file, expected);
    cr_expect_str_eq(config->issuers[0].id, "edge");
    cr_expect_str_eq(config->issuers[0].iss, "a: b # [c], \"d\" *e ${TG_NODE}");
    snprintf(expected, sizeof(expected), "%s/keys/k", directory);
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
        refuse(text, 8, keys[i], "");
        cr_expect_null(strstr(error, "unter"), "%s", error);
        cr_expect_null(strstr(error, "K0RR"), "%s", error);
        cr_expect_null(strstr(error, "0rse"), "%s", error);
    }
    refuse(LEAST "node: ${TG_SECRET}\n", 8, "node: \"${TG_SECRET}\" is not a name", "a-z");
    refuse(LEAST "    origins: ['${TG_SECRET}']\n    refusal_url: ${TG_SECRET}\n", 8,
           "issuers[0].origins: \"${TG_SECRET}\"", "refusal_url: \"${TG_SECRET}\"");
    cr_expect_null(strstr(error, "unter"), "%s", error);
    setenv("TG_SECRET", "my value", 1);
    refuse("head_bytes_max: ${TG_SECRET}\n" LEAST "log_level: loud\n", 9,
           "is not one of its values;", "\"${TG_SECRET}\" is not a whole");
    setenv("TG_SECRET", "a:b", 1);
    refuse(LEAST "node: ${TG_SECRET}\n", 8, "node: \"${TG_SECRET}\" is not a name", "a-z");
}

Test(server_config, refuses_the_wrong_shape_in_its_own_words)
{
    refuse("- a\n- b\n", 1, "keys and values are expected", "--print-config-reference");
    refuse("listen: [a, b]\n" LEAST, 1, "listen: a single value is expected, not a list", "");
    refuse("media_root: a\nissuers: shop\n", 2, "issuers: a list is expected", "key generate");
    refuse("media_root: a\nissuers:\n  - shop\n", 3, "issuers[0]: a mapping is expected", "- id:");
    refuse("issuers:\n  - id: x\n    prefixes: /\n", 3, "issuers[0].prefixes: a list",
           "[ONE, TWO]");
    refuse("issuers:\n  - id: x\n    prefixes: [[/]]\n", 3, "a single value", "not a list");
    refuse("? [a]\n: b\n", 1, "a single value is expected", "");
}

Test(server_config, refuses_yaml_that_cannot_be_read_on_its_line)
{
    refuse("media_root: a\n  state_dir: b\n", 2, "not readable as YAML", "indentation");
    refuse("media_root: a\nlisten: @x\n", 2, "not readable as YAML", "quotes");
    refuse("media_root: &a x\nstate_dir: *a\n", 2, "aliases", "write the value out");
    refuse("media_root: a\n---\nstate_dir: b\n", 2, "second document", "remove");
    refuse("media_root: \"a\\0b\"\n", 1, "media_root: the value holds a control character", "");
    struct config *config = NULL;
    cr_expect_eq(load_bytes("a: \xff\xfe\n", 6, &config), -EINVAL);
    cr_expect_not_null(strstr(error, "UTF-8"), "%s", error);
}

Test(server_config, refuses_addresses_and_names_that_are_none)
{
    static const char *const wrong[] = {
        "localhost:80",   "127.0.0.1", "127.0.0.1:65536", "::1:80", "1.2.3.4:80 x",
        "[127.0.0.1]:80", "5"};
    char text[512];
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        snprintf(text, sizeof(text), "listen: \"%s\"\n%s", wrong[i], LEAST);
        refuse(text, 1, "is not an address and port", "127.0.0.1:8080");
    }
    refuse("content_type: x\n" LEAST, 1, "\"x\" is not a media type", "application/octet-stream");
    refuse("node: Node_1\n" LEAST, 1, "node: \"Node_1\" is not a name", "a-z");
    refuse("log_level: loud\n" LEAST, 1, "log_level", "write error, warning, info or debug");
    refuse("token_attribute: a=b\n" LEAST, 1, "token_attribute", "letters");
    refuse("redis: redis.example\n" LEAST, 1, "redis: \"redis.example\" is not an address",
           "unix:");
    refuse("redis: 'h:0'\n" LEAST, 1, "is not an address", "embedded");
    refuse("public_origin: https://a.example/\n" LEAST, 1, "public_origin", "last slash");
    refuse("public_origin: ftp://a.example\n" LEAST, 1, "public_origin", "write https://");
}

Test(server_config, refuses_proxies_that_are_none)
{
    refuse(LEAST "proxy_protocol_from: 10.0.0.0/33\n", 8, "proxy_protocol_from: \"10.0.0.0/33\"",
           "10.0.0.0/8");
    refuse(LEAST "forwarded_from: 10.0.0.0/8 proxy\n", 8, "forwarded_from: \"proxy\"", "10.0.0.5");
    refuse(LEAST "forwarded_field: X-Real-IP\n", 8, "\"X-Real-IP\"",
           "write X-Forwarded-For or Forwarded");
}

Test(server_config, refuses_keys_that_do_not_agree)
{
    refuse(LEAST "  - {id: shop, iss: b, keys: b, prefixes: [/]}\n", 8,
           "issuers[1].id: \"shop\" is already the id of issuers[0] (line 4)", "its own id");
    refuse(LEAST "  - {id: b, iss: 'https://shop.example', keys: b, prefixes: [/]}\n", 8,
           "issuers[1].iss", "its own");
    refuse(LEAST "  - id: b\n    iss: b\n    keys: b\n    prefixes:\n      - /a/\n      - /b\n", 13,
           "\"/b\" does not start and end with a slash", "/music/");
    refuse("journal_segment_bytes: 70000\n" LEAST, 1, "not a multiple of 4096", "write 73728");
    refuse("redis_user: u\n" LEAST, 1, "redis_user", "remove it");
    refuse("redis: 'h:1'\nredis_user: u\n" LEAST, 2, "redis_user", "redis_password_file");
    refuse("admission_timeout_ms: 5000\ngrant_validity_ms: 4000\n" LEAST, 1,
           "longer than grant_validity_ms (4000)", "shorter");
}

Test(server_config, refuses_a_state_directory_whose_sockets_would_not_bind)
{
    char text[512];
    snprintf(text, sizeof(text), "media_root: m\nstate_dir: /%0100d\n%s", 0, ISSUER);
    refuse(text, 2, "too long for the Unix sockets", "shorter path");
}

Test(server_config, names_the_admin_socket_in_the_state_directory)
{
    char path[108], expected[160], small[8];
    struct config *config = accept(LEAST);
    cr_assert_eq(config_admin_socket(config, path, sizeof(path)), 0);
    snprintf(expected, sizeof(expected), "%s/state/admin.sock", directory);
    cr_expect_str_eq(path, expected);
    cr_expect_eq(config_admin_socket(config, small, sizeof(small)), -ENAMETOOLONG);
    config_destroy(&config);
}

static void expect_exposed(const char *text, const char *complaint)
{
    struct config *config = NULL;
    cr_assert_eq(load_bytes(text, strlen(text), &config), -EINVAL, "%s", text);
    cr_assert(strstr(error, complaint) != NULL, "no \"%s\" in: %s", complaint, error);
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
    expect_exposed("redis: 127.0.0.1:6379\nredis_password_file: media/redis\n" LEAST,
                   "redis_password_file: ");
    expect_exposed(
        "listen_tls: :8443\ncertificates: media/tls\npublic_origin: https://a.example\n" LEAST,
        "certificates: ");
    expect_exposed(LEAST "    admin_secret_file: media/secret\n", "admin_secret_file: ");
    /* Symbolic links are followed, and the directories need not exist yet. */
    char link[128];
    snprintf(link, sizeof(link), "%s/media", directory);
    cr_assert_eq(symlink(".", link), 0);
    expect_exposed(LEAST, "state_dir: ");
    cr_assert_eq(unlink(link), 0);
    struct config *config = accept("access_log: media.log\n" LEAST);
    config_destroy(&config);
    config = accept("media_root: state/media\nstate_dir: state\n" ISSUER);
    config_destroy(&config);
}

Test(server_config, lets_the_command_line_move_the_address_and_a_derived_origin_with_it)
{
    struct config *config = accept(LEAST);
    cr_expect_eq(config_set_listen(config, "nonsense", error, sizeof(error)), -EINVAL);
    cr_expect_not_null(strstr(error, "nonsense"));
    cr_expect_str_eq(config->listen, "127.0.0.1:8080");
    cr_assert_eq(config_set_listen(config, ":81", error, sizeof(error)), 0);
    cr_expect_str_eq(config->listen, ":81");
    cr_expect_str_eq(config->public_origin, "http://127.0.0.1:81");
    config_destroy(&config);
    config = accept("public_origin: https://media.example\n" LEAST);
    cr_assert_eq(config_set_listen(config, ":81", error, sizeof(error)), 0);
    cr_expect_str_eq(config->public_origin, "https://media.example");
    config_destroy(&config);
}

Test(server_config, tells_a_missing_file_from_a_wrong_one)
{
    struct config *config = NULL;
    cr_expect_eq(config_load(&config, file, error, sizeof(error)), -ENOENT);
    cr_expect_not_null(strstr(error, file));
    cr_expect_not_null(strstr(error, "correct the path"));
    cr_expect_eq(config_load(&config, directory, error, sizeof(error)), -EISDIR);
    cr_expect_null(config);
}

Test(server_config, keeps_its_messages_within_a_small_buffer)
{
    char small[24];
    struct config *config = NULL;
    FILE *out = fopen(file, "w");
    fputs("a: 1\nb: 2\nc: 3\n", out);
    fclose(out);
    cr_expect_eq(config_load(&config, file, small, sizeof(small)), -EINVAL);
    cr_expect_lt(strlen(small), sizeof(small));
    cr_expect_eq(config_load(&config, file, small, 0), -EINVAL);
}

Test(server_config, reads_files_whole_and_not_past_the_bound)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = fopen(file, "w");
    for (int i = 0; i < 5000; i++)
        fputs("ab", out);
    fclose(out);
    cr_assert_eq(file_read(file, 10000, &text, &length), 0);
    cr_expect_eq(length, 10000);
    cr_expect_eq(strlen(text), 10000);
    free(text);
    cr_expect_eq(file_read(file, 9999, &text, &length), -EFBIG);
    cr_expect_null(text);
}

/* ---- changes between two configurations ---- */

static unsigned changes(const char *before, const char *after, char text[512])
{
    struct config *one = accept(before), *other = accept(after);
    unsigned count = config_changes(one, other, text, 512);
    cr_expect_lt(strlen(text), 512);
    config_destroy(&one);
    config_destroy(&other);
    return count;
}

Test(server_config, names_what_differs_between_two_configurations)
{
    char text[512];
    cr_expect_eq(changes(LEAST, LEAST, text), 0);
    cr_expect_str_eq(text, "");
    /* Values are compared, not how they are written. */
    const char *same = "workers: 0\nlisten: \"127.0.0.1:8080\"\ncache_max_age_s: 03600\n" LEAST;
    cr_expect_eq(changes("workers: auto\n" LEAST, same, text), 0, "%s", text);

    cr_expect_eq(changes(LEAST, "workers: 3\naccess_log: /log\nlisten: :81\n" LEAST, text), 3);
    cr_expect_str_eq(text, "listen (from 127.0.0.1:8080 to :81), access_log (from \"\" to /log), "
                           "workers (from auto to 3)");
    cr_expect_eq(changes(LEAST, "public_origin: https://a.example\n" LEAST, text), 1);
    cr_expect_str_eq(text, "public_origin (from http://127.0.0.1:8080 to https://a.example)");
}

Test(server_config, names_what_differs_between_issuers_by_their_ids)
{
    static const char rival[] = "  - id: rival\n"
                                "    iss: rival\n"
                                "    keys: /k\n"
                                "    prefixes: [/]\n";
    char text[512], both[1024], turned[1024];
    snprintf(both, sizeof(both), "%s%s", LEAST, rival);
    snprintf(turned, sizeof(turned), "media_root: media\nstate_dir: state\nissuers:\n%s%s", rival,
             strchr(ISSUER, '\n') + 1);
    cr_expect_eq(changes(both, turned, text), 0, "%s", text);
    cr_expect_eq(changes(LEAST, both, text), 1);
    cr_expect_str_eq(text, "issuers.rival (added)");
    cr_expect_eq(changes(both, LEAST, text), 1);
    cr_expect_str_eq(text, "issuers.rival (removed)");
    snprintf(both, sizeof(both), "admin_listen: 127.0.0.1:8090\n%s%s    admin_secret_file: /t\n",
             LEAST, rival);
    cr_expect_eq(changes(both,
                         "admin_listen: 127.0.0.1:8090\n"
                         "media_root: media\n"
                         "state_dir: state\n"
                         "issuers:\n"
                         "  - id: rival\n"
                         "    iss: other\n"
                         "    keys: /k2\n"
                         "    prefixes: [/a/, /b/]\n"
                         "    audiences: [x]\n"
                         "    origins: [\"*\"]\n"
                         "    refusal_url: https://a.example/\n"
                         "    resume_s: 60\n"
                         "    admin_secret_file: /s\n"
                         "  - id: shop\n"
                         "    iss: https://shop.example\n"
                         "    keys: keys/shop.jwks\n"
                         "    prefixes: [/music/, /]\n",
                         text),
                 8);
    cr_expect_str_eq(text, "issuers.rival.iss (from rival to other), "
                           "issuers.rival.keys (from /k to /k2), "
                           "issuers.rival.prefixes (from [/] to [/a/, /b/]), "
                           "issuers.rival.audiences (from [] to [x]), "
                           "issuers.rival.origins (from [] to [*]), "
                           "issuers.rival.refusal_url (from \"\" to https://a.example/), "
                           "issuers.rival.resume_s, issuers.rival.admin_secret_file");
}

Test(server_config, names_every_key_and_tells_how_many_there_was_no_room_for)
{
    char text[512], large[8192];
    struct config *one = accept(LEAST), *other = accept(LEAST);
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        void *field = (char *)other + key->offset;
        if (key->type == CONFIG_NUMBER || key->type == CONFIG_AUTO) {
            ++*(uint64_t *)field;
        } else {
            free(*(char **)field);
            *(char **)field = strdup("another");
        }
        unsigned count = config_changes(one, other, large, sizeof(large));
        cr_expect_eq(count, i + 1, "%s is not compared", key->name);
        cr_expect(strstr(large, key->name), "%s: %s", key->name, large);
    }
    cr_expect_eq(config_changes(one, other, text, sizeof(text)), config_key_count);
    cr_expect_lt(strlen(text), sizeof(text));
    const char *more = strstr(text, ", and ");
    cr_assert(more, "%s", text);
    unsigned named = 1;
    bool in_value = false;
    for (const char *c = text; c < more; c++) {
        in_value = *c == '(' || (in_value && *c != ')');
        named += *c == ',' && !in_value;
    }
    cr_expect_eq(named + strtoul(more + 6, NULL, 10), config_key_count, "%s", text);
    config_destroy(&one);
    config_destroy(&other);
}

Test(server_config, cuts_a_long_value_after_a_whole_character)
{
    char text[512], before[1024], after[1024], name[256];
    for (unsigned lead = 0; lead < 3; lead++) {
        size_t length = (size_t)snprintf(name, sizeof(name), "/%.*s", (int)lead, "aa");
        for (int i = 0; i < 40; i++)
            length += (size_t)snprintf(name + length, sizeof(name) - length, "é");
        snprintf(before, sizeof(before), "access_log: %s\n%s", name, LEAST);
        cr_expect_eq(changes(LEAST, before, text), 1);
        const char *dots = strstr(text, "é...)");
        cr_expect(dots != NULL && dots - text < 100, "%s", text);
        /* Two values that would be shown alike, because they are cut, are left out. */
        snprintf(after, sizeof(after), "access_log: %sz\n%s", name, LEAST);
        cr_expect_eq(changes(before, after, text), 1);
        cr_expect_str_eq(text, "access_log");
    }
}

/* More would pass the check and not run. */
Test(server_config, refuses_more_workers_than_a_node_runs)
{
    struct config *config = accept("workers: 64\n" LEAST);
    cr_expect_eq(node_workers(config), 64);
    config_destroy(&config);
    refuse("workers: 65\n" LEAST, 1, "workers: 65 is more than the maximum",
           "give 0 to 64 threads");
}

Test(server_config, gives_an_issuer_a_default_resume_within_the_longest_lifetime)
{
    struct config *config = accept(LEAST "    resume_s: 3600\n");
    cr_expect_eq(config->issuers[0].resume_s, 3600);
    config_destroy(&config);
    refuse("link_lifetime_max_s: 60\n" LEAST "    resume_s: 61\n", 9,
           "issuers[0].resume_s:", "give 60 at most");
    config = accept(LEAST "    resume_s: 1h\n");
    cr_expect_eq(config->issuers[0].resume_s, 3600);
    config_destroy(&config);
    refuse(LEAST "    resume_s: 1y\n", 8, "issuers[0].resume_s: \"1y\" is not a whole number",
           "or a duration such as 5s");
    refuse(LEAST "    resume_s: 500ms\n", 8, "\"500ms\" is not a whole number of seconds", "5s");
}
