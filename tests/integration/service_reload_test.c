/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reloads on SIGHUP: key sets are read again, good ones are kept where new ones are wrong, and what
 * has changed in the configuration is told to the log and to the service manager.
 */
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/harness.h"
#include "tests/integration/harness_internal.h"
#include "tests/integration/service_steps.h"

static void write_keys(struct site *site, const char *text)
{
    FILE *file = fopen(site_format(site, "%s/shop.jwks", site_directory(site)), "we");
    cr_assert(file);
    cr_assert(fputs(text, file) >= 0);
    cr_assert_eq(fclose(file), 0);
}

/* A key set for the shop that has a private key, a secret that can be guessed and the
 * rival's secret. */
static const char *unwise_keys(struct site *site)
{
    json_error_t error;
    char *private_text = NULL, *public_text = NULL;
    cr_assert_eq(key_generate(TOKEN_ES256, &private_text, &public_text), 0);
    json_t *set = json_loads(private_text, 0, &error);
    json_t *rival =
        json_load_file(site_format(site, "%s/rival.jwks", site_directory(site)), 0, &error);
    json_t *keys = json_object_get(set, "keys");
    json_t *copy = json_deep_copy(json_array_get(json_object_get(rival, "keys"), 0));
    json_t *weak = json_deep_copy(copy);
    cr_assert_eq(json_object_set_new(json_array_get(keys, 0), "kid", json_string("private")), 0);
    cr_assert_eq(json_object_set_new(copy, "kid", json_string("copied")), 0);
    cr_assert_eq(json_object_set_new(weak, "kid", json_string("weak")), 0);
    cr_assert_eq(json_object_set_new(
                     weak, "k", json_string("c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0")),
                 0);
    cr_assert_eq(json_array_append_new(keys, copy), 0);
    cr_assert_eq(json_array_append_new(keys, weak), 0);
    char *text = json_dumps(set, 0);
    const char *kept = site_format(site, "%s", text);
    free(text);
    json_decref(set);
    json_decref(rival);
    key_text_free(&private_text);
    key_text_free(&public_text);
    return kept;
}

/* Expects the three warnings in the text, and no secret. */
static void expect_warnings(struct site *site, const char *text, const char *keys)
{
    static const char *const members[] = {"d", "k", "k"};
    cr_expect(strstr(text, "shop.jwks: kid private is a private key"), "%s", text);
    cr_expect(strstr(text, "shop.jwks: the HS256 secret of kid weak repeats itself"), "%s", text);
    cr_expect(strstr(text, "issuers shop (kid copied) and rival (kid "), "%s", text);
    cr_expect_null(strstr(text, "the HS256 secret of kid copied"), "%s", text);
    json_t *set = json_loads(keys, 0, NULL);
    for (size_t i = 0; i < 3; i++) {
        json_t *key = json_array_get(json_object_get(set, "keys"), i);
        const char *secret = json_string_value(json_object_get(key, members[i]));
        cr_assert(secret);
        cr_expect_null(strstr(text, site_format(site, "%.16s", secret)), "a secret is told");
    }
    json_decref(set);
}

Test(service, warns_of_keys_that_sign_for_others_at_start_and_reload_and_by_the_doctor)
{
    struct site *site = site_create(.stays_down = true);
    char *good = harness_read_file(site_key_file(site), NULL);
    struct command_result verdict = site_tollgate(site, "serve", "--check-config");
    cr_assert_eq(verdict.exit_code, 0, "%s", verdict.errors);
    cr_expect_null(strstr(verdict.errors, "warning"), "%s", verdict.errors);

    const char *unwise = unwise_keys(site);
    write_keys(site, unwise);
    verdict = site_tollgate(site, "serve", "--check-config");
    cr_expect_eq(verdict.exit_code, 0);
    expect_warnings(site, verdict.errors, unwise);
    struct command_result doctor = site_tollgate(site, "doctor");
    cr_expect(strstr(doctor.output, "warning  keys: "), "%s", doctor.output);
    expect_warnings(site, doctor.output, unwise);
    site_node_start(site);
    site_node_await_ready(site);
    expect_warnings(site, site_log_await(site, "kid private is"), unwise);

    write_keys(site, good);
    const char *log = site_log_await(site, "reloaded the key sets of 2 issuers");
    size_t before = strlen(log);
    write_keys(site, unwise);
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (strstr((log = site_log(site)) + before, "reloaded the key sets of 2 issuers") == NULL) {
        cr_assert(harness_now_ms() < deadline_ms, "the keys were not read again");
        harness_pause();
    }
    expect_warnings(site, log + before, unwise);
    free(good);
    site_destroy(&site);
}

/* RFC 8032 5.1.3: a point of order 8, y = p + 1, and y = 2, for which there is no x. */
Test(service, a_key_under_which_anybody_could_sign_is_refused_at_start_and_reload)
{
    static const char *const points[] = {
        "JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_AU",
        "7v_______________________________________38",
        "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    };
    struct site *site = site_create();
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    char *good = harness_read_file(site_key_file(site), NULL);
    site_account_open_prepaid(site, "alice", 1000000);
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        write_keys(site, site_format(site,
                                     "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"alg\":\"EdDSA\","
                                     "\"kid\":\"p\",\"x\":\"%s\"}",
                                     points[i]));
        struct command_result verdict = site_tollgate(site, "serve", "--check-config");
        cr_expect_eq(verdict.exit_code, 78, "%s", points[i]);
        cr_expect(strstr(verdict.errors, "issuer shop: ") != NULL &&
                      strstr(verdict.errors, "is not an Ed25519 public key") != NULL,
                  "%s", verdict.errors);
    }
    (void)site_log_await(site,
                         "the key sets were not reloaded, and the previous ones stay in force: ");
    answer_expect_file(site, fetch(site, link), TRACK_TINY);
    write_keys(site, good);
    free(good);
    site_destroy(&site);
}

Test(service, reads_the_key_sets_again_on_sighup_and_keeps_good_ones)
{
    struct site *site = site_create(.stays_down = true);
    int notices = open_notify_socket(site);
    site_node_start(site);
    expect_notice(notices, "READY=1");
    site_node_await_ready(site);
    site_account_open_prepaid(site, "alice", 1000000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    answer_expect_file(site, fetch(site, link), TRACK_TINY);
    size_t length = 0;
    FILE *file = fopen(site_format(site, "%s/shop.jwks", site_directory(site)), "re");
    char good[4096] = "";
    length = fread(good, 1, sizeof(good) - 1, file);
    cr_assert(length > 0);
    fclose(file);

    write_keys(site, "{\"keys\": [");
    site_node_signal(site, SIGHUP);
    expect_notice(notices, "RELOADING=1");
    expect_notice(notices, "READY=1");
    (void)site_log_await(site,
                         "the key sets were not reloaded, and the previous ones stay in force: ");
    answer_expect_file(site, fetch(site, link), TRACK_TINY);

    char *private_text = NULL, *public_text = NULL;
    cr_assert_eq(key_generate(TOKEN_EDDSA, &private_text, &public_text), 0);
    write_keys(site, public_text);
    key_text_free(&private_text);
    key_text_free(&public_text);
    site_node_signal(site, SIGHUP);
    expect_notice(notices, "RELOADING=1");
    expect_notice(notices, "READY=1");
    (void)site_log_await(site, "reloaded the key sets of 2 issuers");
    /* READY=1 does not wait until every worker has the new keys. */
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (fetch(site, link)->status == 200) {
        cr_assert(harness_now_ms() < deadline_ms, "the removed key is still good");
        harness_pause();
    }
    answer_expect_refusal(site, fetch(site, link), 403, "key_unknown");

    write_keys(site, good);
    site_node_signal(site, SIGHUP);
    expect_notice(notices, "RELOADING=1");
    expect_notice(notices, "READY=1");
    while (fetch(site, link)->status == 403) {
        cr_assert(harness_now_ms() < deadline_ms, "the key that is back is not good");
        harness_pause();
    }
    answer_expect_file(site, fetch(site, link), TRACK_TINY);
    site_node_signal(site, SIGTERM);
    expect_notice(notices, "STOPPING=1");
    cr_assert_eq(site_node_wait(site), 0);
    site_destroy(&site);
    close(notices);
}

/* Replaces `before` by `after` in the site's configuration; returns the whole new text. */
static const char *edit_configuration(struct site *site, const char *before, const char *after)
{
    const char *path = site_format(site, "%s/tollgate.yaml", site_directory(site));
    char *text = harness_read_file(path, NULL);
    char *place = strstr(text, before);
    cr_assert(place, "%s is not in %s", before, text);
    const char *edited =
        site_format(site, "%.*s%s%s", (int)(place - text), text, after, place + strlen(before));
    free(text);
    harness_write_file(path, edited);
    return edited;
}

/* Sends SIGHUP; returns what the log says about the reload. */
static const char *reload_and_read(struct site *site, int notices)
{
    size_t before = strlen(site_log(site));
    site_node_signal(site, SIGHUP);
    expect_notice(notices, "RELOADING=1");
    expect_notice(notices, "READY=1");
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    const char *log;
    while (strstr((log = site_log(site) + before), "reloaded the key sets of 2 issuers") == NULL) {
        cr_assert(harness_now_ms() < deadline_ms, "the reload is not in the log");
        harness_pause();
    }
    return log;
}

Test(service, says_at_each_sighup_which_changed_keys_want_a_restart)
{
    struct site *site = site_create(.stays_down = true, .settings = "workers: 1\n");
    int notices = open_notify_socket(site);
    site_serve_after(site, "set -- \"$@\" --listen 127.0.0.1:0");
    const char *first = edit_configuration(site, "listen: 127.0.0.1:0\n", "listen: 127.0.0.1:9\n");
    site_node_start(site);
    expect_notice(notices, "READY=1");
    site_node_await_ready(site);
    site_account_open_prepaid(site, "alice", 1000000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);

    const char *log = reload_and_read(site, notices); /* nothing has changed: not even --listen */
    cr_expect_null(strstr(log, "tollgate.yaml"), "%s", log);

    edit_configuration(site, "listen: 127.0.0.1:9\n", "listen: 127.0.0.1:7\n");
    edit_configuration(site, "workers: 1\n", "workers: 2\n");
    log = reload_and_read(site, notices);
    cr_expect(
        strstr(log, "/tollgate.yaml: workers (from 1 to 2) takes effect only after a restart\n"),
        "%s", log);
    edit_configuration(site, "prefixes: [/]\n", "prefixes: [/none/]\n");
    edit_configuration(site, "  - id: rival\n", "  - id: other\n");
    for (int i = 0; i < 2; i++) {
        log = reload_and_read(site, notices);
        cr_expect(strstr(log,
                         "/tollgate.yaml: workers (from 1 to 2), issuers.shop.prefixes (from [/] "
                         "to [/none/]), issuers.rival (removed), issuers.other (added) take "
                         "effect only after a restart\n"),
                  "%s", log);
    }
    answer_expect_file(site, fetch(site, link), TRACK_TINY); /* the old prefix is in force */

    /* A mistake that only a look at the machine can find. */
    edit_configuration(site, "media_root: ", "media_root: /nowhere");
    log = reload_and_read(site, notices);
    cr_expect(strstr(log, "/tollgate.yaml: media_root (from "), "%s", log);
    cr_expect(strstr(log, "/tollgate.yaml: media_root: /nowhere"), "%s", log);

    harness_write_file(site_format(site, "%s/tollgate.yaml", site_directory(site)), first);
    log = reload_and_read(site, notices);
    cr_expect_null(strstr(log, "tollgate.yaml"), "%s", log);
    site_destroy(&site);
    close(notices);
}

Test(service, names_the_mistakes_of_its_configuration_at_sighup_and_stays_as_it_is)
{
    struct site *site = site_create(.stays_down = true);
    int notices = open_notify_socket(site);
    site_node_start(site);
    expect_notice(notices, "READY=1");
    site_node_await_ready(site);
    site_account_open_prepaid(site, "alice", 1000000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    const char *path = site_format(site, "%s/tollgate.yaml", site_directory(site));

    edit_configuration(site, "listen: 127.0.0.1:0\n", "listne: 127.0.0.1:0\n");
    edit_configuration(site, "prefixes: [/rival/]\n", "prefixes: /rival/\n");
    struct command_result verdict = site_tollgate(site, "serve", "--check-config");
    cr_assert_eq(verdict.exit_code, 78);
    cr_assert(strstr(verdict.errors, "tollgate.yaml:1: listne: no such key") != NULL &&
                  strstr(verdict.errors, "issuers[1].prefixes: a list is expected") != NULL,
              "%s", verdict.errors);
    const char *log = reload_and_read(site, notices);
    cr_expect(strstr(log, "/tollgate.yaml: a restart would fail because of the following; "), "%s",
              log);
    const char *line = verdict.errors; /* each is a line of the log */
    for (size_t length; (length = strcspn(line, "\n")) > 0; line += length + 1)
        cr_expect(strstr(log, site_format(site, " warning %.*s\n", (int)length, line)), "%.*s: %s",
                  (int)length, line, log);
    cr_expect_null(strstr(log, "want"), "%s", log);

    cr_assert_eq(unlink(path), 0);
    log = reload_and_read(site, notices);
    cr_expect(strstr(log, site_format(site, "%s: No such file or directory; ", path)), "%s", log);
    answer_expect_file(site, fetch(site, link), TRACK_TINY);
    site_destroy(&site);
    close(notices);
}
