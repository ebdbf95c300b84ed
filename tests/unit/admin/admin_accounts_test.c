/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts and their usage through the admin interface: opening, topping up, adjusting, suspending,
 * what a repeated or a contradicting transaction is answered, and the rows of the usage.
 */
#include <criterion/criterion.h>
#include <hiredis/hiredis.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "server/redis/redis_child.h"
#include "tests/unit/admin/fixture.h"

Test(admin, an_account_is_opened_shown_topped_up_and_adjusted)
{
    json_t *answer = admin_ask(
        "PUT", "/v1/accounts/shop/alice",
        "{\"plan\":\"prepaid\",\"bytes\":9007199254740000,\"transaction\":\"order-1\"}", 201);
    expect_number(answer, "balance", 9007199254740000);
    cr_assert(json_is_false(json_object_get(answer, "repeated")));
    json_decref(answer);
    answer = admin_ask("POST", "/v1/accounts/shop/alice/top-up",
                       "{\"bytes\":991,\"transaction\":\"order-2\"}", 200);
    expect_number(answer, "balance", 9007199254740991);
    json_decref(answer);
    answer = admin_ask("POST", "/v1/accounts/shop/alice/adjust",
                       "{\"bytes\":-9007199254740990,\"transaction\":\"order-3\"}", 200);
    expect_number(answer, "balance", 1);
    json_decref(answer);
    answer = admin_ask("GET", "/v1/accounts/shop/alice", NULL, 200);
    expect_text(answer, "issuer", "shop");
    expect_text(answer, "account", "alice");
    expect_text(answer, "plan", "prepaid");
    expect_text(answer, "status", "active");
    expect_number(answer, "balance", 1);
    expect_number(answer, "reserved", 0);
    expect_number(answer, "available", 1);
    expect_number(answer, "used", 0);
    json_decref(answer);
}

Test(admin, an_adjustment_below_zero_needs_to_be_allowed)
{
    static const char path[] = "/v1/accounts/shop/alice/adjust";
    open_account("{\"bytes\":100,\"transaction\":\"order-1\"}");
    expect_refusal("POST", path, "{\"bytes\":-101,\"transaction\":\"fix\"}", 409,
                   "balance_negative");
    expect_refusal("POST", path,
                   "{\"bytes\":-101,\"transaction\":\"fix\",\"allow_negative\":false}", 409,
                   "balance_negative");
    expect_refusal("POST", path, "{\"bytes\":-101,\"transaction\":\"fix\",\"allow_negative\":1}",
                   422, "members_invalid");
    expect_refusal("POST", "/v1/accounts/shop/alice/top-up",
                   "{\"bytes\":1,\"transaction\":\"t\",\"allow_negative\":true}", 422,
                   "members_invalid");
    json_t *answer = admin_ask(
        "POST", path, "{\"bytes\":-101,\"transaction\":\"fix\",\"allow_negative\":true}", 200);
    expect_number(answer, "balance", -1);
    json_decref(answer);
    answer = admin_ask("POST", path, "{\"bytes\":-101,\"transaction\":\"fix\"}", 200);
    expect_number(answer, "balance", -1);
    cr_assert(json_is_true(json_object_get(answer, "repeated")));
    json_decref(answer);
}

Test(admin, a_postpaid_account_has_no_available_limit)
{
    open_account("{\"plan\":\"postpaid\",\"transaction\":\"order-1\"}");
    json_t *answer = admin_ask("GET", "/v1/accounts/shop/alice", NULL, 200);
    expect_text(answer, "plan", "postpaid");
    cr_assert(json_is_null(json_object_get(answer, "available")));
    json_decref(answer);
}

Test(admin, an_account_is_suspended_and_activated)
{
    open_account("{\"bytes\":1,\"transaction\":\"order-1\"}");
    json_t *answer = admin_ask("POST", "/v1/accounts/shop/alice/suspend", NULL, 200);
    expect_text(answer, "status", "suspended");
    json_decref(answer);
    answer = admin_ask("POST", "/v1/accounts/shop/alice/activate", "{}", 200);
    expect_text(answer, "status", "active");
    json_decref(answer);
}

Test(admin, a_repeated_transaction_answers_as_the_first_time_and_pays_once)
{
    static const char open[] = "{\"bytes\":100,\"transaction\":\"order-1\"}";
    static const char top_up[] = "{\"bytes\":7,\"transaction\":\"order-2\"}";
    open_account(open);
    json_decref(admin_ask("POST", "/v1/accounts/shop/alice/top-up", top_up, 200));
    json_t *answer = admin_ask("POST", "/v1/accounts/shop/alice/top-up", top_up, 200);
    cr_assert(json_is_true(json_object_get(answer, "repeated")));
    expect_number(answer, "balance", 107);
    json_decref(answer);
    answer = admin_ask("PUT", "/v1/accounts/shop/alice", open, 201);
    cr_assert(json_is_true(json_object_get(answer, "repeated")));
    expect_number(answer, "balance", 107);
    json_decref(answer);
}

Test(admin, conflicts_are_409_each_with_its_reason)
{
    open_account("{\"bytes\":100,\"transaction\":\"order-1\"}");
    expect_refusal("PUT", "/v1/accounts/shop/alice", "{\"bytes\":100,\"transaction\":\"order-9\"}",
                   409, "account_open");
    expect_refusal("POST", "/v1/accounts/shop/alice/top-up",
                   "{\"bytes\":100,\"transaction\":\"order-1\"}", 409, "transaction_reused");
    expect_refusal("POST", "/v1/accounts/shop/alice/top-up",
                   "{\"bytes\":9007199254740991,\"transaction\":\"order-2\"}", 422,
                   "total_too_large");
    json_t *answer = admin_ask("GET", "/v1/accounts/shop/alice", NULL, 200);
    expect_number(answer, "balance", 100);
    json_decref(answer);
}

Test(admin, what_does_not_exist_is_404_and_known_issuers_are_named)
{
    expect_refusal("GET", "/v1/accounts/shop/bob", NULL, 404, "account_unknown");
    expect_refusal("GET", "/v1/accounts/shop/bob/usage", NULL, 404, "account_unknown");
    expect_refusal("POST", "/v1/accounts/shop/bob/top-up", "{\"bytes\":1,\"transaction\":\"t\"}",
                   404, "account_unknown");
    expect_refusal("GET", "/v1/nothing", NULL, 404, "route_unknown");
    expect_refusal("GET", "/v1/accounts/shop/bob/usage/more", NULL, 404, "route_unknown");
    json_t *answer = admin_ask("GET", "/v1/accounts/shpo/alice", NULL, 404);
    expect_text(answer, "reason", "issuer_unknown");
    const char *detail = json_string_value(json_object_get(answer, "detail"));
    cr_assert_not_null(strstr(detail, "shop, radio"), "%s", detail);
    json_decref(answer);
}

Test(admin, an_account_is_decoded_after_the_path_was_split)
{
    json_t *answer = admin_ask("PUT", "/v1/accounts/shop/a%2Fb%20%C3%A9",
                               "{\"bytes\":5,\"transaction\":\"t\"}", 201);
    expect_text(answer, "account", "a/b \xc3\xa9");
    json_decref(answer);
    expect_refusal("GET", "/v1/accounts/shop/a/b", NULL, 404, "route_unknown");
    static const char *const invalid[] = {"", "%", "%4", "%zz", "a%00", "%ff"};
    for (size_t i = 0; i < sizeof(invalid) / sizeof(invalid[0]); i++) {
        char target[64];
        (void)snprintf(target, sizeof(target), "/v1/accounts/shop/%s", invalid[i]);
        expect_refusal("GET", target, NULL, 422, "account_invalid");
    }
    char longest[200];
    (void)snprintf(longest, sizeof(longest), "/v1/accounts/shop/%0128d", 0);
    expect_refusal("GET", longest, NULL, 404, "account_unknown");
    (void)snprintf(longest, sizeof(longest), "/v1/accounts/shop/%0129d", 0);
    expect_refusal("GET", longest, NULL, 422, "account_invalid");
}

Test(admin, money_waits_while_redis_is_gone_and_nothing_is_done_twice)
{
    open_account("{\"bytes\":100,\"transaction\":\"order-1\"}");
    redis_child_stop(&admin_redis);
    await_redis(false);
    expect_refusal("POST", "/v1/accounts/shop/alice/top-up",
                   "{\"bytes\":1,\"transaction\":\"order-2\"}", 503, "redis_unavailable");
    char answer[4096];
    exchange_raw("GET /v1/accounts/shop/alice HTTP/1.1\r\nHost: x\r\n\r\n", answer, sizeof(answer));
    cr_assert_not_null(strstr(answer, "\r\nRetry-After: 1\r\n"), "%s", answer);
    char error[512];
    cr_assert_eq(redis_child_start(&admin_redis, admin_state_dir, admin_node.redis.address,
                                   sizeof(admin_node.redis.address), error, sizeof(error)),
                 0);
    await_redis(true);
    json_t *shown = admin_ask("POST", "/v1/accounts/shop/alice/top-up",
                              "{\"bytes\":1,\"transaction\":\"order-2\"}", 200);
    expect_number(shown, "balance", 101);
    json_decref(shown);
}

Test(admin, usage_is_by_day_and_file_and_its_totals_are_exact)
{
    open_account("{\"bytes\":1000000,\"transaction\":\"order-1\"}");
    deliver("/a.mp3", 6, 1234);
    deliver("/a.mp3", 6, 1);
    deliver("/b \"q\".mp3", 10, 4000);
    deliver("/caf\xe9.mp3", 9, 7); /* Latin-1, which JSON cannot hold */
    json_t *answer = admin_ask("GET", "/v1/accounts/shop/alice/usage", NULL, 200);
    const json_t *rows = json_object_get(answer, "rows");
    const json_t *totals = json_object_get(answer, "totals");
    cr_assert_eq(json_array_size(rows), 3);
    expect_text(json_array_get(rows, 0), "file", "/a.mp3");
    expect_number(json_array_get(rows, 0), "bytes", 1235);
    expect_number(json_array_get(rows, 0), "responses", 2);
    expect_text(json_array_get(rows, 1), "file", "/b \"q\".mp3");
    expect_text(json_array_get(rows, 2), "file", "/caf%E9.mp3");
    cr_assert(json_is_true(json_object_get(json_array_get(rows, 2), "file_encoded")));
    expect_number(totals, "bytes", 5242);
    expect_number(totals, "responses", 4);
    expect_number(totals, "rows", 3);
    json_decref(answer);
    answer = admin_ask("GET", "/v1/accounts/shop/alice", NULL, 200);
    expect_number(answer, "used", 5242);
    expect_number(answer, "balance", 1000000 - 5242);
    json_decref(answer);
    answer =
        admin_ask("GET", "/v1/accounts/shop/alice/usage?from=2096-02-28&to=2096-03-01", NULL, 200);
    cr_assert_eq(json_array_size(json_object_get(answer, "rows")), 0);
    expect_text(answer, "from", "2096-02-28");
    json_decref(answer);
}

Test(admin, usage_is_told_by_month_too_also_where_its_days_have_ended)
{
    open_account("{\"bytes\":1000000,\"transaction\":\"order-1\"}");
    deliver("/a.mp3", 6, 4242);
    json_t *answer = admin_ask("GET", "/v1/accounts/shop/alice/usage", NULL, 200);
    char day[16], target[96];
    (void)snprintf(day, sizeof(day), "%s",
                   json_string_value(
                       json_object_get(json_array_get(json_object_get(answer, "rows"), 0), "day")));
    json_decref(answer);
    (void)snprintf(target, sizeof(target), "/v1/accounts/shop/alice/usage?from=%.7s", day);
    answer = admin_ask("GET", target, NULL, 200);
    const json_t *row = json_array_get(json_object_get(answer, "rows"), 0);
    cr_assert_eq(strncmp(json_string_value(json_object_get(row, "month")), day, 7), 0);
    expect_text(row, "file", "/a.mp3");
    expect_number(row, "bytes", 4242);
    cr_assert_null(json_object_get(row, "day"));
    json_decref(answer);

    /* What is left of a month long ago. */
    redisContext *redis = redisConnectUnix(admin_node.redis.address + strlen("unix:"));
    freeReplyObject(redisCommand(redis, "HSET tg:{shop/alice}:account m:202001 %s", "77 3"));
    redisFree(redis);
    expect_refusal("GET", "/v1/accounts/shop/alice/usage?from=2020-01-30&to=2020-02-01", NULL, 410,
                   "usage_ended");
    answer = admin_ask("GET", "/v1/accounts/shop/alice/usage?from=2019-12&to=2020-02", NULL, 200);
    cr_assert_eq(json_array_size(json_object_get(answer, "rows")), 1);
    row = json_array_get(json_object_get(answer, "rows"), 0);
    expect_text(row, "month", "2020-01");
    cr_assert(json_is_null(json_object_get(row, "file")));
    expect_number(row, "bytes", 77);
    expect_number(row, "responses", 3);
    json_decref(answer);
}

Test(admin, days_that_do_not_exist_or_are_too_many_are_422)
{
    open_account("{\"bytes\":1,\"transaction\":\"order-1\"}");
    static const char *const bad[] = {
        "from=2026-02-30",
        "from=2026-1-01",
        "from=2026-11-011",
        "from=x",
        "to=",
        "from=2026-11-02&to=2026-11-01",
        "from=2026-13",
        "from=2026-11&to=2026-10",
        "from=2026-11&to=2026-11-30",
        "from=2026-11-01&to=2026-11",
        "from=%202026-1-1",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char target[96];
        (void)snprintf(target, sizeof(target), "/v1/accounts/shop/alice/usage?%s", bad[i]);
        expect_refusal("GET", target, NULL, 422, "days_invalid");
    }
    expect_refusal("GET", "/v1/accounts/shop/alice/usage?from=2024-01-01&to=2026-01-01", NULL, 422,
                   "out_of_bounds");
}
