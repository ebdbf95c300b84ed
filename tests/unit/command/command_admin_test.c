/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands that ask a node through its admin interface (account, usage, health): what they
 * print, and the exit codes by which a script tells the classes of failure apart.
 */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/admin/admin.h"
#include "server/command/cli.h"
#include "server/command/server.h"
#include "tests/unit/admin/fixture.h"

Test(admin, the_health_command_does_not_wait_for_a_node_that_accepts_nobody)
{
    admin_stop(&admin_served);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", admin_socket);
    int deaf = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(deaf, (struct sockaddr *)&address, sizeof(address)), 0);
    cr_assert_eq(listen(deaf, 0), 0);
    int first = connect_raw(); /* fills the socket's queue */
    cr_assert_eq(admin_run(command_health, "tollgate health", ""), EX_UNAVAILABLE, "%s",
                 admin_printed);
    expect_printed("did not answer in time");
    (void)close(first);
    (void)close(deaf);
}

#define ACCOUNT(line) admin_run(tollgate_main, "tollgate", "account " line)

Test(admin, the_account_command_walks_through_an_accounts_life)
{
    cr_assert_eq(ACCOUNT("open shop/alice --bytes 1.5GB --transaction order-1"), EX_OK, "%s",
                 admin_printed);
    expect_printed("balance      1500000000 bytes (1.50 GB)");
    cr_assert_eq(ACCOUNT("top-up --issuer shop --account alice --credit 1KiB -t order-2"), EX_OK,
                 "%s", admin_printed);
    expect_printed("1500001024 bytes");
    cr_assert_eq(ACCOUNT("top-up shop/alice --bytes 1KiB -t order-2"), EX_OK);
    expect_printed("done before");
    cr_assert_eq(ACCOUNT("adjust shop/alice --bytes -1024"), EX_OK, "%s", admin_printed);
    expect_printed("transaction  cli-");
    cr_assert_eq(ACCOUNT("adjust shop/alice --bytes -2GB"), CLI_EXIT_NO);
    expect_printed("shop/alice: the balance of 1500000000 bytes would fall below zero");
    expect_printed("--allow-negative");
    cr_assert_eq(ACCOUNT("adjust shop/alice --bytes -2GB -t fix --json"), CLI_EXIT_NO);
    expect_printed("\"kind\":\"no\",\"exit_code\":1,\"command\":\"tollgate account adjust\"");
    expect_printed("\"status\":409,\"reason\":\"balance_negative\"");
    cr_assert_eq(ACCOUNT("adjust shop/alice --bytes -2GB -t fix --allow-negative"), EX_OK);
    expect_printed("balance      -500000000 bytes");
    cr_assert_eq(ACCOUNT("adjust shop/alice --bytes 2GB"), EX_OK);
    cr_assert_eq(ACCOUNT("suspend shop/alice"), EX_OK);
    expect_printed("status       suspended");
    cr_assert_eq(ACCOUNT("activate shop/alice"), EX_OK);
    cr_assert_eq(ACCOUNT("show shop/alice --json"), EX_OK);
    json_t *answer = json_loads(admin_printed, JSON_REJECT_DUPLICATES, NULL);
    cr_assert_not_null(answer, "%s", admin_printed);
    expect_number(answer, "balance", 1500000000);
    expect_text(answer, "status", "active");
    json_decref(answer);
}

Test(admin, the_account_commands_exit_codes_tell_the_classes_apart)
{
    cr_assert_eq(ACCOUNT("show shop/bob"), CLI_EXIT_NO);
    expect_printed("open it first");
    cr_assert_eq(ACCOUNT("show shpo/bob"), CLI_EXIT_NO);
    expect_printed("shop, radio");
    cr_assert_eq(ACCOUNT("show bob"), EX_USAGE);
    cr_assert_eq(ACCOUNT("show"), EX_USAGE);
    cr_assert_eq(ACCOUNT("shwo shop/bob"), EX_USAGE);
    expect_printed("did you mean tollgate account show?");
    cr_assert_eq(ACCOUNT("top-up shop/bob"), EX_USAGE);
    expect_printed("--bytes 500MB");
    cr_assert_eq(ACCOUNT("open shop/bob --bytes plenty"), EX_USAGE);
    cr_assert_eq(ACCOUNT("open shop/bob --bytes 1 --transaction a/b"), EX_USAGE);
    admin_stop(&admin_served);
    cr_assert_eq(ACCOUNT("open shop/bob --bytes 1"), EX_UNAVAILABLE);
    expect_printed("start one with `tollgate serve --config FILE`");
    expect_printed("repeat it with --transaction cli-");
}

Test(admin, the_usage_command_prints_rows_and_totals_without_steering_the_terminal)
{
    cr_assert_eq(ACCOUNT("open shop/alice --bytes 1GB"), EX_OK);
    deliver("/a.mp3", 6, 1234567);
    deliver("/b\033.mp3", 7, 1);
    cr_assert_eq(admin_run(command_usage, "tollgate usage", "shop/alice"), EX_OK, "%s",
                 admin_printed);
    expect_printed("1234567    1.23 MB          1  /a.mp3\n");
    expect_printed("/b\\x1b.mp3\n");
    expect_printed("total       1234568    1.23 MB          2  ");
    cr_assert_null(strchr(admin_printed, '\033'));
    cr_assert_eq(admin_run(command_usage, "tollgate usage", "shop/alice --from 2026-02-30"),
                 EX_USAGE);
    cr_assert_eq(admin_run(command_usage, "tollgate usage", "shop/alice --from today"), EX_USAGE);
    cr_assert_eq(
        admin_run(command_usage, "tollgate usage", "shop/alice --from 2020-01-01 --to 2020-01-31"),
        CLI_EXIT_NO, "%s", admin_printed);
    expect_printed("shop/alice: usage by day is kept for 70 days; ask from ");
    cr_assert_eq(admin_run(command_usage, "tollgate usage", "shop/alice --from 2020-01"), EX_OK);
    expect_printed("MONTH         BYTES");
    expect_printed("1234567    1.23 MB          1  /a.mp3\n");
    expect_printed("total       1234568    1.23 MB          2  2020-01 to ");
    cr_assert_eq(admin_run(command_usage, "tollgate usage", "shop/bob"), CLI_EXIT_NO);
}

Test(admin, the_health_command_exits_with_0_1_or_69)
{
    cr_assert_eq(admin_run(command_health, "tollgate health", ""), EX_OK, "%s", admin_printed);
    expect_printed("ready        yes");
    atomic_store(&admin_node.stopping, true);
    cr_assert_eq(admin_run(command_health, "tollgate health", ""), CLI_EXIT_NO, "%s",
                 admin_printed);
    expect_printed("no: the node is stopping");
    cr_assert_eq(admin_run(command_health, "tollgate health", "--json"), CLI_EXIT_NO);
    json_t *answer = json_loads(admin_printed, JSON_REJECT_DUPLICATES, NULL);
    cr_assert(json_is_false(json_object_get(answer, "ready")), "%s", admin_printed);
    json_decref(answer);
    admin_stop(&admin_served);
    cr_assert_eq(admin_run(command_health, "tollgate health", ""), EX_UNAVAILABLE);
}
