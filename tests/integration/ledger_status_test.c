/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tollgate ledger status` as an operator runs it: while all is posted, while Redis does not answer, and
 * with an account that is set aside.
 */
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/harness.h"

TestSuite(ledger_status, .timeout = 120);

static void expect(const char *text, const char *part)
{
    cr_expect(strstr(text, part) != NULL, "no \"%s\" in: %s", part, text);
}

/* The answer of the command; the caller drops it. */
static json_t *status_of(struct site *site, int *exit_code)
{
    struct command_result result = site_tollgate(site, "ledger", "status", "--json");
    *exit_code = result.exit_code;
    json_t *answer = json_loads(result.output, JSON_REJECT_DUPLICATES, NULL);
    cr_assert_not_null(answer, "%s%s", result.output, result.errors);
    return answer;
}

static json_int_t number_of_lane(const json_t *answer, const char *name)
{
    const json_t *lane = json_array_get(json_object_get(answer, "lanes"), 0);
    cr_assert(json_is_integer(json_object_get(lane, name)), "no %s", name);
    return json_integer_value(json_object_get(lane, name));
}

/* Waits until so many records are unposted, or more than none with -1; returns the answer. */
static json_t *await_unposted(struct site *site, json_int_t wanted, int *exit_code)
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    for (;;) {
        json_t *answer = status_of(site, exit_code);
        json_int_t unposted = number_of_lane(answer, "unposted");
        if (wanted < 0 ? unposted > 0 : unposted == wanted)
            return answer;
        json_decref(answer);
        cr_assert_lt(harness_now_ms(), deadline_ms, "%lld unposted", unposted);
        harness_pause();
    }
}

Test(ledger_status, says_what_is_posted_and_what_waits_for_a_Redis_that_does_not_answer)
{
    struct site *site = site_create(.own_redis = true);
    size_t size;
    int exit_code;
    (void)site_media_bytes(site, TRACK_VBR, &size);
    site_account_open_postpaid(site, "alice");
    json_decref(await_unposted(site, 0, &exit_code));
    struct command_result result = site_tollgate(site, "ledger", "status");
    cr_expect_eq(result.exit_code, 0, "%s%s", result.output, result.errors);
    expect(result.output, "node test-node, Redis at unix:");
    expect(result.output, ", lease 1): ready\n");
    expect(result.output, ", unposted 0\n");
    expect(result.output, "accounts 1\n");

    int fd = raw_connect(site, 4096);
    raw_print(fd, "GET %s HTTP/1.1\r\nHost: media.example\r\nConnection: close\r\n\r\n",
              site_link(site, .account = "alice", .path = TRACK_VBR));
    cr_assert_eq(raw_answer_head(site, fd)->status, 200);
    site_redis_signal(site, SIGSTOP);
    cr_assert_eq(raw_drain(fd), size);
    close(fd);
    json_t *answer = await_unposted(site, -1, &exit_code);
    cr_expect_eq(number_of_lane(answer, "accounts_unposted"), 1);
    cr_expect_eq(number_of_lane(answer, "posted") + number_of_lane(answer, "unposted"),
                 number_of_lane(answer, "records"));
    const json_t *lane = json_array_get(json_object_get(answer, "lanes"), 0);
    cr_expect(json_is_string(json_object_get(lane, "unposted_since")));
    json_decref(answer);
    site_redis_signal(site, SIGCONT);
    answer = await_unposted(site, 0, &exit_code);
    cr_expect_eq(number_of_lane(answer, "accounts_unposted"), 0);
    lane = json_array_get(json_object_get(answer, "lanes"), 0);
    cr_expect(json_is_null(json_object_get(lane, "unposted_since")));
    json_decref(answer);
    site_destroy(&site);
}

Test(ledger_status, names_accounts_that_are_set_aside_and_exits_with_1)
{
    struct site *site = site_create(.own_redis = true);
    site_account_open_postpaid(site, "alice");
    site_redis_command(site, "RENAME tg:{shop/alice}:account kept");
    site_redis_command(site, "SET tg:{shop/alice}:account damaged");
    (void)site_tollgate(site, "link", "revoke", "shop/alice", "--jti", "order-1");
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    struct command_result result = site_tollgate(site, "ledger", "status");
    while (strstr(result.output, "accounts set aside 1, the first: shop/alice\n") == NULL) {
        cr_assert_lt(harness_now_ms(), deadline_ms, "%s", result.output);
        harness_pause();
        result = site_tollgate(site, "ledger", "status");
    }
    cr_expect_eq(result.exit_code, 1);
    site_redis_command(site, "DEL tg:{shop/alice}:account");
    site_redis_command(site, "RENAME kept tg:{shop/alice}:account");
    result = site_tollgate(site, "ledger", "release", "shop/alice");
    cr_expect_eq(result.exit_code, 0, "%s", result.errors);
    result = site_tollgate(site, "ledger", "status");
    cr_expect_eq(result.exit_code, 0, "%s", result.output);
    site_node_signal(site, SIGTERM);
    cr_assert_eq(site_node_wait(site), 0);
    result = site_tollgate(site, "ledger", "status");
    cr_expect_eq(result.exit_code, 69);
    expect(result.errors, "; ");
    site_destroy(&site);
}
