/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tollgate node retire` and `node list` as an operator runs them, with two nodes and one Redis: the second
 * node dies with records that Redis lacks, and the first takes its lanes over.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/retire_steps.h"
#include "tests/integration/transfer_steps.h"

TestSuite(node_retire, .timeout = 180);

#define SETTINGS "post_interval_ms: 60000\n"

static struct command_result retire(struct pair *pair)
{
    return site_tollgate(pair->first, "node", "retire", site_state_dir(pair->second));
}

static int64_t keys_of(struct site *site)
{
    return site_redis_number(site, "return #redis.call('KEYS', 'tg:*')");
}

/* The dead node's site ends without a node. */
static void forget(struct pair *pair)
{
    site_destroy(&pair->second);
    site_destroy(&pair->first);
}

/* The lanes that were moved tell their new node's name with the next renewal of their lease. */
static struct command_result list_without(struct pair *pair, const char *name)
{
    struct command_result result;
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    for (;;) {
        result = site_tollgate(pair->first, "node", "list", "--json");
        cr_assert_eq(result.exit_code, 0, "%s", result.errors);
        if (strstr(result.output, name) == NULL)
            return result;
        cr_assert_lt(harness_now_ms(), deadline_ms, "%s", result.output);
        harness_pause();
    }
}

Test(node_retire, posts_what_a_dead_node_left_and_deletes_nothing_in_Redis)
{
    struct pair pair = pair_create(SETTINGS);
    pair_await_acquaintance(&pair);
    struct command_result result = retire(&pair);
    cr_expect_eq(result.exit_code, 1, "%s", result.errors);
    expect_in(result.errors, "stop that node first");
    struct debt debt = leave_debt(&pair);
    cr_expect_lt(used_in_redis(pair.first), debt.used, "nothing is left to post");
    int64_t keys = keys_of(pair.first);
    result = retire(&pair);
    cr_assert_eq(result.exit_code, 0, "%s", result.errors);
    expect_in(result.output,
              "1 lane of it is node test-node's, and all that they hold is in Redis");
    await_debt(pair.first, &debt);
    cr_expect_geq(keys_of(pair.first), keys);
    result = retire(&pair);
    cr_expect_eq(result.exit_code, 0, "%s", result.errors);
    result = list_without(&pair, "second-node");
    expect_in(result.output, "\"lane-b\"");
    /* An emptied Redis is filled from both lanes. */
    site_redis_command(pair.first, "FLUSHALL");
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (used_in_redis(pair.first) != debt.used) {
        cr_assert_lt(harness_now_ms(), deadline_ms);
        harness_pause();
    }
    site_node_await_ready(pair.first);
    await_debt(pair.first, &debt);
    forget(&pair);
}

Test(node_retire, moves_for_a_node_that_does_not_run_which_posts_when_it_starts)
{
    struct pair pair = pair_create(SETTINGS);
    struct debt debt = leave_debt(&pair);
    site_node_signal(pair.first, SIGTERM);
    cr_assert_eq(site_node_wait(pair.first), 0);
    struct command_result result = retire(&pair);
    cr_expect_eq(result.exit_code, 69, "%s", result.errors);
    expect_in(result.errors, "no node answers");
    site_node_start(pair.first);
    site_node_await_ready(pair.first);
    result = retire(&pair);
    cr_expect_eq(result.exit_code, 0, "%s", result.errors);
    await_debt(pair.first, &debt);
    forget(&pair);
}

Test(node_retire, refuses_the_lanes_of_another_Redis)
{
    struct pair pair = pair_create(SETTINGS);
    (void)leave_debt(&pair);
    struct site *stranger = site_create(.own_redis = true, .node = "stranger");
    struct command_result result =
        site_tollgate(stranger, "node", "retire", site_state_dir(pair.second));
    cr_expect_eq(result.exit_code, 1, "%s", result.errors);
    expect_in(result.errors, "bills accounts twice");
    result = site_tollgate(pair.first, "ledger", "verify", site_state_dir(pair.second));
    cr_expect_eq(result.exit_code, 0, "it was moved all the same: %s", result.errors);
    site_destroy(&stranger);
    forget(&pair);
}

static const char *copy_of_second(struct pair *pair)
{
    const char *copy = site_format(pair->first, "%s/copy", site_directory(pair->first));
    cr_assert_eq(
        system(site_format(pair->first, "cp -a '%s' '%s'", site_state_dir(pair->second), copy)), 0);
    return copy;
}

static void expect_refused_and_left(struct pair *pair, const char *directory, const char *why)
{
    struct command_result result = site_tollgate(pair->first, "node", "retire", directory);
    cr_expect_eq(result.exit_code, 1, "%s%s", result.output, result.errors);
    expect_in(result.errors, why);
    result = site_tollgate(pair->first, "ledger", "verify", directory);
    cr_expect_eq(result.exit_code, 0, "it was moved all the same: %s", result.errors);
}

Test(node_retire, refuses_a_copy_of_a_directory_whose_node_runs)
{
    struct pair pair = pair_create(SETTINGS);
    pair_await_acquaintance(&pair);
    expect_refused_and_left(&pair, copy_of_second(&pair),
                            "/lane-a is a copy: a process renews the lease of its journal");
    pair_destroy(&pair);
}

Test(node_retire, refuses_a_copy_that_is_older_than_Redis_and_takes_the_directory_itself)
{
    struct pair pair = pair_create(SETTINGS);
    pair_await_acquaintance(&pair);
    const char *copy = copy_of_second(&pair);
    site_account_open_prepaid(pair.second, "alice", 1000000);
    site_node_kill(pair.second);
    expect_refused_and_left(&pair, copy, "/lane-a is older than Redis: it holds 0 records");
    struct command_result result = site_tollgate(pair.first, "ledger", "replay", copy);
    cr_expect_eq(result.exit_code, 1, "%s", result.errors);
    expect_in(result.errors, "/lane-a is older than Redis: it holds 0 records");
    result = retire(&pair);
    cr_expect_eq(result.exit_code, 0, "%s", result.errors);
    forget(&pair);
}

Test(node_retire, fails_while_an_account_of_the_lanes_is_set_aside)
{
    struct pair pair = pair_create(SETTINGS);
    struct debt debt = leave_debt(&pair);
    cr_assert_eq(
        site_redis_number(pair.first,
                          "local kept = redis.call('HGET', 'tg:{shop/alice}:account', 'used') "
                          "redis.call('SET', 'kept', kept) return redis.call('HSET', "
                          "'tg:{shop/alice}:account', 'used', 'none')"),
        0);
    struct command_result result = retire(&pair);
    cr_expect_eq(result.exit_code, 1, "%s", result.errors);
    expect_in(result.errors, "account shop/alice is set aside");
    (void)site_redis_number(pair.first,
                            "return redis.call('HSET', 'tg:{shop/alice}:account', 'used', "
                            "redis.call('GET', 'kept'))");
    result = site_tollgate(pair.first, "ledger", "release", "shop/alice");
    cr_expect_eq(result.exit_code, 0, "%s", result.errors);
    result = retire(&pair);
    cr_expect_eq(result.exit_code, 0, "%s", result.errors);
    await_debt(pair.first, &debt);
    forget(&pair);
}

static bool second_has_to_post(const char *list)
{
    const char *second = strstr(list, "second-node\n"), *comma = NULL;
    for (const char *at = second; at != NULL && (at = strstr(at, ", ")) != NULL; at++)
        if (comma == NULL && strstr(at, " to post") == at + 2 + strspn(at + 2, "0123456789"))
            comma = at;
    return comma != NULL && strncmp(comma, ", 0 ", 4) != 0;
}

Test(node_retire, node_list_shows_each_node_with_its_lease_and_what_it_has_to_post)
{
    struct pair pair = pair_create(SETTINGS);
    pair_await_acquaintance(&pair);
    struct command_result result = site_tollgate(pair.first, "node", "list");
    cr_assert_eq(result.exit_code, 0, "%s", result.errors);
    expect_in(result.output, "test-node (this node)\n  lane-a");
    expect_in(result.output, "second-node\n  lane");
    expect_in(result.output, "lease held");
    site_account_open_postpaid(pair.first, "alice");
    const char *link =
        site_link(pair.first, .account = "alice", .path = TRACK_LONG, .limits = SLOW);
    int slow = begin_transfer(pair.second, link);
    /* It tells with its renewals that this waits for the interval. */
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    do {
        result = site_tollgate(pair.first, "node", "list");
        cr_assert_lt(harness_now_ms(), deadline_ms, "%s", result.output);
    } while (!second_has_to_post(result.output));
    site_node_kill(pair.second);
    do {
        result = site_tollgate(pair.first, "node", "list");
        cr_assert_lt(harness_now_ms(), deadline_ms + HARNESS_DEADLINE_MS, "%s", result.output);
    } while (strstr(result.output, "lease run out") == NULL);
    close(slow);
    cr_expect(second_has_to_post(result.output), "%s", result.output);
    site_node_start(pair.second);
    site_node_await_ready(pair.second);
    site_node_signal(pair.second, SIGTERM);
    cr_assert_eq(site_node_wait(pair.second), 0);
    result = site_tollgate(pair.first, "node", "list");
    expect_in(result.output, "lease returned");
    expect_in(strstr(result.output, "second-node\n"), ", 0 to post, 0 set aside");
    forget(&pair);
}
