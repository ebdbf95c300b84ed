/* SPDX-License-Identifier: Apache-2.0 */
/* tollgate-bench against a real node: it reports what was delivered and billed. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "tests/integration/harness.h"

/* Runs tollgate-bench with --json and these shell words. Returns its exit code; *out gets
 * its report. */
static int bench(struct site *site, json_t **out, const char *words)
{
    const char *report = site_format(site, "%s/report.json", site_directory(site));
    const char *other = getenv("TOLLGATE_BENCH"); /* a build with a sanitizer, say */
    const char *command =
        site_format(site, "timeout 120 '%s' --json --quiet --duration 100s %s >'%s'",
                    other != NULL ? other : TOLLGATE_BENCH, words, report);
    int status = system(command); // NOLINT(cert-env33-c): the words are the test's own
    json_error_t error;
    cr_assert(WIFEXITED(status));
    *out = json_load_file(report, 0, &error);
    cr_assert(*out != NULL || WEXITSTATUS(status) > 1, "exit %d: %s", WEXITSTATUS(status),
              error.text);
    return WEXITSTATUS(status);
}

static uint64_t number(const json_t *report, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(report, name));
}

static const char *url(struct site *site, const char *target)
{
    return site_format(site, "'http://127.0.0.1:%u%s'", site_port(site), target);
}

Test(bench, verifies_the_bodies_of_many_connections_at_once)
{
    struct site *site = site_create();
    json_t *report;
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_LONG);
    while (strstr(fetch(site, link, .method = "HEAD")->head, "ETag: ") ==
           NULL) /* until the file is hashed */
        harness_pause();
    const char *words =
        site_format(site, "--verify --connections 16 --requests 48 %s", url(site, link));
    cr_assert_eq(bench(site, &report, words), 0);
    cr_assert_eq(number(report, "requests"), 48);
    cr_assert_eq(number(report, "verified"), 48);
    size_t length = 0;
    (void)site_media_bytes(site, TRACK_LONG, &length);
    cr_assert_eq(number(report, "body_bytes"), 48 * length);
    site_usage_await(site, "alice", 48 * length);
    json_decref(report);
    site_destroy(&site);
}

Test(bench, signs_a_link_of_its_own_for_each_request)
{
    struct site *site = site_create(.own_media = true);
    json_t *report;
    site_media_add(site, "/rival/song.mp3", TRACK_TINY, 1);
    cr_assert_eq(site_tollgate(site, "account", "open", "rival/bob", "--plan", "postpaid",
                               "--transaction", "order-1")
                     .exit_code,
                 0);
    const char *words =
        site_format(site,
                    "--key '%s/rival.jwks' --issuer https://rival.example --account bob "
                    "--unique-links=90 --requests 80 --connections 8 %s",
                    site_directory(site), url(site, "/rival/song.mp3"));
    cr_assert_eq(bench(site, &report, words), 0);
    cr_assert_eq(number(report, "requests"), 80);
    struct command_result health = site_tollgate(site, "health", "--json");
    json_t *answer = json_loads(health.output, 0, NULL);
    json_t *traffic = json_object_get(answer, "traffic");
    cr_assert_eq(number(traffic, "tokens_verified"), 80, "%s", health.output);
    json_decref(answer);
    json_decref(report);
    site_destroy(&site);
}

Test(bench, counts_refusals_by_status_and_says_so_by_its_exit)
{
    struct site *site = site_create();
    json_t *report;
    const char *link = site_link(site, .account = "nobody", .path = TRACK_TINY);
    const char *words =
        site_format(site, "--no-keep-alive --connections 4 --requests 20 %s", url(site, link));
    cr_assert_eq(bench(site, &report, words), 1);
    cr_assert_eq(number(report, "requests"), 0);
    cr_assert_eq(number(json_object_get(report, "statuses"), "402"), 20);
    cr_assert_eq(number(json_object_get(report, "errors"), "status"), 20);
    json_decref(report);
    site_destroy(&site);
}

Test(bench, counts_no_body_of_a_refusal_as_delivered)
{
    struct site *site = site_create();
    json_t *report;
    site_account_open_postpaid(site, "alice");
    const char *good = site_link(site, .account = "alice", .path = TRACK_TINY);
    const char *unpaid = site_link(site, .account = "nobody", .path = TRACK_TINY);
    const char *missing = site_link(site, .account = "alice", .path = "/missing.mp3");
    cr_assert_gt(fetch(site, unpaid)->body_length, 0);
    const char *words = site_format(site, "--connections 3 --requests 30 %s %s %s", url(site, good),
                                    url(site, unpaid), url(site, missing));
    cr_assert_eq(bench(site, &report, words), 1);
    cr_assert_eq(number(report, "requests"), 10);
    cr_assert_eq(number(json_object_get(report, "errors"), "status"), 20);
    size_t length = 0;
    (void)site_media_bytes(site, TRACK_TINY, &length);
    cr_assert_eq(number(report, "body_bytes"), 10 * length);
    site_usage_await(site, "alice", 10 * length);
    json_decref(report);
    site_destroy(&site);
}
