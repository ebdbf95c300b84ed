/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tollgate ledger replay` as an operator runs it: into the Redis that knows the dead node, into an emptied one,
 * and on a directory whose node, or a copy of it, runs.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/retire_steps.h"

TestSuite(ledger_replay, .timeout = 180);

#define SETTINGS "post_interval_ms: 60000\n"

Test(ledger_replay, posts_what_a_dead_node_left_once_and_leaves_the_directory)
{
    struct pair pair = pair_create(SETTINGS);
    const char *directory = site_state_dir(pair.second);
    struct command_result result = site_tollgate(pair.first, "ledger", "replay", directory);
    cr_expect_eq(result.exit_code, 1, "%s", result.errors);
    expect_in(result.errors, "is in use by another process");
    struct debt debt = leave_debt(&pair);
    cr_expect_lt(used_in_redis(pair.first), debt.used, "nothing is left to post");
    for (int i = 0; i < 2; i++) {
        result = site_tollgate(pair.first, "ledger", "replay", directory);
        cr_assert_eq(result.exit_code, 0, "%s", result.errors);
        expect_in(result.output, "all that its 1 lane holds is in Redis");
        await_debt(pair.first, &debt);
    }
    /* The node itself may come back. */
    site_node_start(pair.second);
    site_node_await_ready(pair.second);
    await_debt(pair.first, &debt);
    pair_destroy(&pair);
}

Test(ledger_replay, refuses_a_copy_of_a_directory_whose_node_runs)
{
    struct pair pair = pair_create(SETTINGS);
    const char *copy = site_format(pair.first, "%s/copy", site_directory(pair.first));
    site_account_open_postpaid(pair.second, "alice");
    cr_assert_eq(
        system(site_format(pair.first, "cp -a '%s' '%s'", site_state_dir(pair.second), copy)), 0);
    struct command_result result =
        site_tollgate(pair.first, "ledger", "replay", copy, "--timeout", "30s");
    cr_expect_eq(result.exit_code, 1, "%s", result.errors);
    expect_in(result.errors, "another process runs with a copy of the state directory");
    pair_destroy(&pair);
}

Test(ledger_replay, fills_an_empty_Redis_only_when_told_so)
{
    struct pair pair = pair_create(SETTINGS);
    const char *directory = site_state_dir(pair.second);
    struct debt debt = leave_debt(&pair);
    site_node_kill(pair.first);
    site_redis_command(pair.first, "FLUSHALL");
    struct command_result result = site_tollgate(pair.first, "ledger", "replay", directory);
    cr_expect_eq(result.exit_code, 1, "%s", result.errors);
    expect_in(result.errors, "Redis knows no lease and no watermark of this journal");
    expect_in(result.errors, "bills accounts twice");
    cr_expect_eq(site_redis_number(pair.first, "return #redis.call('KEYS', '*')"), 0);
    result = site_tollgate(pair.first, "ledger", "replay", directory, "--into-empty");
    cr_assert_eq(result.exit_code, 0, "%s", result.errors);
    cr_expect_gt(used_in_redis(pair.first), 0);
    /* From now on that Redis knows it; and the other node brings the rest. */
    result = site_tollgate(pair.first, "ledger", "replay", directory, "--json");
    cr_assert_eq(result.exit_code, 0, "%s", result.errors);
    expect_in(result.output, "\"posted\": true");
    site_node_start(pair.first);
    site_node_await_ready(pair.first);
    await_debt(pair.first, &debt);
    site_destroy(&pair.second);
    site_destroy(&pair.first);
}
