/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An account whose key in Redis is overwritten, as an operator meets it: through the admin interface
 * and by `tollgate ledger release`.
 */
#include <criterion/criterion.h>
#include <hiredis/hiredis.h>
#include <jansson.h>
#include <string.h>

#include "server/command/cli.h"
#include "server/command/server.h"
#include "tests/unit/admin/fixture.h"

#define ALICE         "/v1/accounts/shop/alice"
#define RELEASE(line) admin_run(tollgate_main, "tollgate", "ledger release " line)

static void redis_do(const char *command)
{
    redisContext *redis = redisConnectUnix(admin_node.redis.address + strlen("unix:"));
    cr_assert(redis != NULL && redis->err == 0);
    redisReply *reply = redisCommand(redis, command);
    cr_assert(reply != NULL && reply->type != REDIS_REPLY_ERROR, "%s", command);
    freeReplyObject(reply);
    redisFree(redis);
}

Test(admin, an_account_that_is_set_aside_is_released_by_the_command)
{
    open_account("{\"plan\":\"prepaid\",\"bytes\":1000,\"transaction\":\"order-1\"}");
    deliver("/a.mp3", 6, 100);
    json_decref(admin_ask("GET", ALICE, NULL, 200));
    cr_assert_eq(RELEASE("shop/alice"), EX_OK, "%s", admin_printed);
    expect_printed("shop/alice: in order, and not set aside at this node\n");
    redis_do("SET tg:{shop/alice}:account x");
    deliver("/a.mp3", 6, 100);
    expect_refusal("GET", ALICE, NULL, 503, "account_set_aside");
    cr_assert_eq(RELEASE("shop/alice"), CLI_EXIT_NO);
    expect_printed("in tg:{shop/alice}:account: it is not a hash");
    expect_printed("--rebuild");
    cr_assert_eq(RELEASE("shop/alice --json"), CLI_EXIT_NO);
    expect_printed("\"reason\":\"account_damaged\"");
    expect_refusal("POST", ALICE "/top-up", "{\"bytes\":1,\"transaction\":\"order-2\"}", 503,
                   "account_set_aside");
    cr_assert_eq(RELEASE("shop/alice --rebuild"), EX_OK, "%s", admin_printed);
    expect_printed("shop/alice: rebuilt from the journals\n");
    json_t *answer = admin_ask("GET", ALICE, NULL, 200);
    expect_number(answer, "balance", 800);
    expect_number(answer, "used", 200);
    json_decref(answer);
    answer = admin_ask("POST", ALICE "/release", NULL, 200);
    cr_expect(json_is_false(json_object_get(answer, "was_set_aside")));
    cr_expect(json_is_false(json_object_get(answer, "rebuilt")));
    json_decref(answer);
}

Test(admin, a_release_names_who_is_unknown_and_what_is_wrong)
{
    cr_assert_eq(RELEASE("shop/nobody"), CLI_EXIT_NO);
    expect_printed("shop/nobody: no such account");
    cr_assert_eq(RELEASE("alice"), EX_USAGE);
    open_account("{\"transaction\":\"order-1\"}");
    expect_refusal("POST", ALICE "/release", "{\"rebuild\":1}", 422, "members_invalid");
}
