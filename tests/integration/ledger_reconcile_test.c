/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tollgate ledger reconcile` as finance and operators run it: beside a node and after its end, with a
 * bill in Redis that was changed, a log that lacks a line, and a journal that is ahead of Redis.
 */
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/harness.h"

TestSuite(ledger_reconcile, .timeout = 180);

static void expect(const char *text, const char *part)
{
    cr_expect(strstr(text, part) != NULL, "no \"%s\" in: %s", part, text);
}

static const char *path_of(struct site *site, const char *name)
{
    return site_format(site, "%s/%s", site_directory(site), name);
}

/* Two accounts, of which alice has a file and bob two; returns alice's bytes. */
static size_t deliver(struct site *site)
{
    size_t vbr, tiny;
    (void)site_media_bytes(site, TRACK_VBR, &vbr);
    (void)site_media_bytes(site, TRACK_TINY, &tiny);
    site_account_open_postpaid(site, "alice");
    site_account_open_prepaid(site, "bob+c", 100000000);
    cr_assert_eq(fetch(site, site_link(site, .account = "alice", .path = TRACK_VBR))->status, 200);
    cr_assert_eq(fetch(site, site_link(site, .account = "bob+c", .path = TRACK_TINY))->status, 200);
    cr_assert_eq(fetch(site, site_link(site, .account = "bob+c", .path = TRACK_VBR))->status, 200);
    site_usage_await(site, "alice", vbr);
    site_usage_await(site, "bob+c", vbr + tiny);
    return vbr;
}

/* Copies the access log without its last line. */
static const char *cut_log(struct site *site, const char *name)
{
    char text[65536] = "";
    FILE *from = fopen(path_of(site, name), "re");
    const char *cut = path_of(site, "cut");
    FILE *to = fopen(cut, "we");
    cr_assert(from != NULL && to != NULL);
    size_t length = fread(text, 1, sizeof(text) - 1, from);
    cr_assert(length > 1 && text[length - 1] == '\n');
    text[length - 1] = '\0';
    char *last = strrchr(text, '\n');
    cr_assert_not_null(last);
    last[1] = '\0';
    cr_assert(fputs(text, to) >= 0);
    fclose(from);
    fclose(to);
    return cut;
}

Test(ledger_reconcile, finds_that_journals_Redis_and_log_agree_and_the_byte_by_which_Redis_does_not)
{
    struct site *site = site_create(.own_redis = true, .settings = "access_log: access\n");
    size_t size = deliver(site);
    const char *log = path_of(site, "access");
    struct command_result result =
        site_tollgate(site, "ledger", "reconcile", "--all", "--access-log", log);
    cr_assert_eq(result.exit_code, 0, "%s%s", result.output, result.errors);
    expect(
        result.output,
        site_format(site,
                    "shop/alice: journals %zu posted, 0 unposted; Redis %zu used, %zu in months, "
                    "%zu from these journals; logs %zu\n",
                    size, size, size, size, size));
    expect(result.output, "2 accounts: all agree, to the byte");
    site_redis_command(site, "HINCRBY tg:{shop/alice}:account used 1");
    result = site_tollgate(site, "ledger", "reconcile");
    cr_expect_eq(result.exit_code, 1);
    expect(result.output, site_format(site,
                                      "shop/alice: journals %zu posted, 0 unposted; Redis "
                                      "%zu used (1 more), %zu in months, ",
                                      size, size + 1, size));
    cr_expect(strstr(result.output, "shop/bob") == NULL, "%s", result.output);
    expect(result.output, "2 accounts: 1 differs\n");
    result = site_tollgate(site, "ledger", "reconcile", "--json");
    cr_expect_eq(result.exit_code, 1);
    json_t *answer = json_loads(result.output, 0, NULL);
    const json_t *row = json_array_get(json_object_get(answer, "rows"), 0);
    cr_expect_eq(json_array_size(json_object_get(answer, "rows")), 1);
    cr_expect_str_eq(json_string_value(json_object_get(row, "account")), "shop/alice");
    cr_expect_eq(
        json_integer_value(json_object_get(json_object_get(row, "differences"), "redis_used")), 1);
    json_decref(answer);
    site_redis_command(site, "HINCRBY tg:{shop/alice}:account used -1");
    site_destroy(&site);
}

static void expect_lines_to_show(struct site *site)
{
    size_t size = deliver(site);
    site_node_signal(site, SIGTERM);
    cr_assert_eq(site_node_wait(site), 0);
    const char *log = path_of(site, "access"), *cut = cut_log(site, "access");
    struct command_result result = site_tollgate(site, "ledger", "reconcile", "--access-log", log);
    cr_assert_eq(result.exit_code, 0, "%s%s", result.output, result.errors);
    result = site_tollgate(site, "ledger", "reconcile", "--access-log", cut);
    cr_expect_eq(result.exit_code, 1);
    expect(result.output, site_format(site, " (%zu less)\n", size));
    expect(result.output, "shop/bob%2Bc: ");
    expect(result.output, "the logs lack lines: ");
    expect(result.output, "1 differs\n");
    result = site_tollgate(site, "ledger", "reconcile", "--without-redis", "--access-log", log,
                           "--access-log", log);
    cr_expect_eq(result.exit_code, 1);
    expect(result.output, site_format(site, "logs %zu (%zu more)\n", 2 * size, size));
    expect(result.output, "the logs have more than the journals: ");
    site_destroy(&site);
}

Test(ledger_reconcile, finds_a_line_that_the_log_lacks_and_one_that_it_has_twice)
{
    expect_lines_to_show(
        site_create(.own_redis = true, .settings = "workers: 1\naccess_log: access\n"));
}

Test(ledger_reconcile, reads_the_combined_format_too)
{
    expect_lines_to_show(site_create(.own_redis = true, .settings =
                                                            "workers: 1\naccess_log: access\n"
                                                            "access_log_format: combined\n"));
}

static json_int_t journalled(struct site *site, const char *account)
{
    struct command_result result =
        site_tollgate(site, "ledger", "inspect", "--json", "--account", account);
    cr_assert_eq(result.exit_code, 0, "%s", result.errors);
    json_t *answer = json_loads(result.output, 0, NULL);
    json_int_t bytes =
        json_integer_value(json_object_get(json_object_get(answer, "sums"), "bytes"));
    json_decref(answer);
    return bytes;
}

/* Redis stops in the middle of a download, and the node is killed before it answers again. */
Test(ledger_reconcile, tells_what_is_not_posted_yet_and_calls_it_no_difference)
{
    struct site *site = site_create(.own_redis = true, .settings = "access_log: access\n");
    size_t size = deliver(site), length;
    (void)site_media_bytes(site, TRACK_VBR, &length);
    int fd = raw_connect(site, 4096);
    raw_print(fd, "GET %s HTTP/1.1\r\nHost: media.example\r\nConnection: close\r\n\r\n",
              site_link(site, .account = "alice", .path = TRACK_VBR));
    const struct answer *answer = raw_answer_head(site, fd);
    cr_assert_eq(answer->status, 200);
    site_redis_signal(site, SIGSTOP);
    cr_assert_eq(raw_drain(fd), length);
    close(fd);
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (journalled(site, "shop/alice") < (json_int_t)(size + length)) {
        cr_assert_lt(harness_now_ms(), deadline_ms);
        harness_pause();
    }
    site_node_kill(site);
    site_redis_signal(site, SIGCONT);
    struct command_result result = site_tollgate(site, "ledger", "reconcile", "--all");
    cr_assert_eq(result.exit_code, 0, "%s%s", result.output, result.errors);
    expect(result.output,
           site_format(site, "shop/alice: journals %zu posted, %zu unposted; ", size, length));
    expect(result.output, ", the first of 20");
    site_node_start(site);
    site_node_await_ready(site);
    site_usage_await(site, "alice", size + length);
    result = site_tollgate(site, "ledger", "reconcile", "--all");
    cr_assert_eq(result.exit_code, 0, "%s%s", result.output, result.errors);
    expect(result.output,
           site_format(site, "shop/alice: journals %zu posted, 0 unposted; ", size + length));
    site_destroy(&site);
}

Test(ledger_reconcile, says_which_journals_it_was_not_given_and_refuses_a_copy)
{
    struct site *site = site_create(.own_redis = true);
    struct site *other =
        site_create(.redis = site_redis_address(site), .node = "node-two", .beside = site);
    size_t size = deliver(site);
    cr_assert_eq(fetch(other, site_link(site, .account = "alice", .path = TRACK_VBR))->status, 200);
    site_usage_await(other, "alice", 2 * size);
    struct command_result result = site_tollgate(site, "ledger", "reconcile", "--all");
    cr_assert_eq(result.exit_code, 0, "%s%s", result.output, result.errors);
    expect(result.output,
           site_format(site, "%zu from these journals, %zu from others\n", size, size));
    expect(result.output,
           site_format(site,
                       " of node node-two posted %zu bytes of 1 account, and its journal was "
                       "not given",
                       size));
    result = site_tollgate(site, "ledger", "reconcile", site_state_dir(site), site_state_dir(other),
                           "--all");
    cr_assert_eq(result.exit_code, 0, "%s%s", result.output, result.errors);
    expect(result.output,
           site_format(site, "shop/alice: journals %zu posted, 0 unposted; ", 2 * size));
    cr_expect(strstr(result.output, "not given") == NULL, "%s", result.output);
    result = site_tollgate(site, "ledger", "reconcile", site_state_dir(site), site_state_dir(site));
    cr_expect_eq(result.exit_code, 64);
    expect(result.errors, "one is a copy of the other");
    result = site_tollgate(site, "ledger", "reconcile", "--without-redis");
    cr_expect_eq(result.exit_code, 64);
    site_destroy(&other);
    site_destroy(&site);
}

Test(ledger_reconcile,
     says_of_an_older_copy_that_it_lacks_records_and_that_nothing_is_to_be_rebuilt)
{
    struct site *site = site_create(.own_redis = true);
    const char *copy = path_of(site, "copy");
    size_t size = deliver(site);
    cr_assert_eq(system(site_format(site, "cp -a '%s' '%s'", site_state_dir(site), copy)), 0);
    cr_assert_eq(fetch(site, site_link(site, .account = "alice", .path = TRACK_VBR))->status, 200);
    site_usage_await(site, "alice", 2 * size);
    struct command_result result = site_tollgate(site, "ledger", "reconcile", copy);
    cr_expect_eq(result.exit_code, 1);
    expect(result.output, " records that these journals lack\n");
    expect(result.output, "name the newest of each node. Rebuild no account until then");
    cr_expect(strstr(result.output, "--rebuild") == NULL, "%s", result.output);
    site_destroy(&site);
}
