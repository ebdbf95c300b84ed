/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tollgate node drain` as an operator runs it: with a slow client, without Redis, with an account that
 * is set aside, and taken back.
 */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/harness.h"
#include "tests/integration/transfer_steps.h"

TestSuite(node_drain, .timeout = 120);

static void expect(const char *text, const char *part)
{
    cr_expect(strstr(text, part) != NULL, "no '%s' in: %s", part, text);
}

static bool is_ready(struct site *site)
{
    return site_admin(site, "GET", "/v1/health", NULL)->status == 200;
}

/* What the client gets is billed to the byte before the node may go. */
Test(node_drain, lets_a_slow_client_end_and_resume_takes_nobody_new_and_then_may_go)
{
    struct site *site = site_create(.own_redis = true, .settings = "workers: 2\n");
    size_t size;
    (void)site_media_bytes(site, TRACK_LONG, &size);
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_LONG, .jti = "slow",
                                 .limits = {.rate = 300000});
    int slow = begin_transfer(site, link);
    struct command_result result = site_tollgate(site, "node", "drain", "--timeout", "1s");
    cr_expect_eq(result.exit_code, 1, "%s", result.errors);
    expect(result.errors, "1 downloads are still under way");
    cr_expect(!is_ready(site));
    expect((const char *)site_admin(site, "GET", "/v1/health", NULL)->body,
           "the node is being drained and takes no new download");
    const char *other = site_link(site, .account = "alice", .path = TRACK_TINY);
    const struct answer *refused = fetch(site, other);
    answer_expect_refusal(site, refused, 503, "node_draining");
    cr_expect_not_null(answer_header(site, refused, "Retry-After"));
    cr_expect_eq(fetch(site, link, .range = "0-99", .fresh = true)->status, 206u, "not resumed");
    raw_drain(slow);
    close(slow);
    result = site_tollgate(site, "node", "drain");
    cr_assert_eq(result.exit_code, 0, "%s", result.errors);
    cr_expect_str_eq(result.output, "test-node: no download is under way, and all that it holds is "
                                    "in Redis; it may go\n");
    result = site_tollgate(site, "node", "drain", "--json");
    cr_assert_eq(result.exit_code, 0, "%s", result.errors);
    expect(result.output, "\"may_go\": true");
    cr_expect_eq(site_redis_number(site, "return tonumber(redis.call('HGET', "
                                         "'tg:{shop/alice}:account', 'used'))"),
                 (int64_t)size + 100);
    answer_expect_refusal(site, fetch(site, link), 503, "node_draining");
    site_destroy(&site);
}

Test(node_drain, is_taken_back_by_cancel_and_by_a_restart)
{
    struct site *site = site_create(.own_redis = true);
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    cr_assert_eq(site_tollgate(site, "node", "drain").exit_code, 0);
    answer_expect_refusal(site, fetch(site, link), 503, "node_draining");
    struct command_result result = site_tollgate(site, "node", "drain", "--cancel");
    cr_assert_eq(result.exit_code, 0, "%s", result.errors);
    cr_expect_str_eq(result.output, "test-node: takes new downloads again\n");
    cr_expect_eq(fetch(site, link)->status, 200u);
    cr_expect(is_ready(site));
    cr_assert_eq(site_tollgate(site, "node", "drain").exit_code, 0);
    site_node_signal(site, SIGTERM);
    cr_assert_eq(site_node_wait(site), 0);
    site_node_start(site);
    site_node_await_ready(site);
    cr_expect_eq(fetch(site, link)->status, 200u);
    site_destroy(&site);
}

Test(node_drain, fails_and_says_what_is_not_posted_while_Redis_is_away)
{
    struct site *site = site_create(.own_redis = true);
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY, .jti = "held");
    cr_assert_eq(fetch(site, link)->status, 200u);
    site_redis_kill(site);
    cr_assert_eq(
        site_admin(site, "POST", "/v1/accounts/shop/alice/revoke", "{\"jti\":\"held\"}")->status,
        202u);
    struct command_result result = site_tollgate(site, "node", "drain", "--timeout", "4s");
    cr_expect_eq(result.exit_code, 69, "%s", result.errors);
    expect(result.errors, "lane-a: ");
    expect(result.errors, " not posted");
    site_redis_start(site);
    result = site_tollgate(site, "node", "drain");
    cr_expect_eq(result.exit_code, 0, "%s", result.errors);
    site_destroy(&site);
}

Test(node_drain, fails_and_names_an_account_that_is_set_aside)
{
    struct site *site = site_create(.own_redis = true);
    site_account_open_postpaid(site, "alice");
    site_account_open_postpaid(site, "bob");
    (void)site_usage_settled(site, "alice");
    site_redis_command(site, "SET tg:{shop/alice}:grants slip");
    site_redis_command(site, "HSET tg:{shop/alice}:account revision none");
    (void)site_admin(site, "POST", "/v1/accounts/shop/alice/suspend", NULL);
    const char *link = site_link(site, .account = "bob", .path = TRACK_TINY);
    cr_assert_eq(fetch(site, link)->status, 200u);
    (void)site_admin(site, "POST", "/v1/accounts/shop/alice/revoke", "{\"jti\":\"any\"}");
    (void)site_log_await(site, "account shop/alice is set aside:");
    struct command_result result = site_tollgate(site, "node", "drain");
    cr_expect_eq(result.exit_code, 1, "%s", result.errors);
    expect(result.errors, "1 account set aside (account shop/alice is set aside");
    result = site_tollgate(site, "ledger", "release", "shop/alice", "--rebuild");
    cr_assert_eq(result.exit_code, 0, "%s", result.errors);
    result = site_tollgate(site, "node", "drain");
    cr_expect_eq(result.exit_code, 0, "%s", result.errors);
    site_destroy(&site);
}
