/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/integration/retire_steps.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/transfer_steps.h"

#define FUNDS 100000000

void expect_in(const char *text, const char *part)
{
    cr_expect(strstr(text, part) != NULL, "no '%s' in: %s", part, text);
}

int64_t used_in_redis(struct site *site)
{
    return site_redis_number(site, "return tonumber(redis.call('HGET', 'tg:{shop/alice}:account', "
                                   "'used') or '0')");
}

/* The second node's journal has it by then: a revocation is answered 202 once it is on disk. */
struct debt leave_debt(struct pair *pair)
{
    size_t tiny, some = 70000;
    (void)site_media_bytes(pair->first, TRACK_TINY, &tiny);
    site_account_open_prepaid(pair->first, "alice", FUNDS);
    const char *link = site_link(pair->first, .account = "alice", .path = TRACK_TINY);
    cr_assert_eq(fetch(pair->first, link)->status, 200u);
    cr_assert_eq(fetch(pair->second, link)->status, 200u);
    site_account_top_up(pair->second, "alice", 1000);
    (void)site_usage_await(pair->first, "alice", 2 * tiny);
    const char *held =
        site_link(pair->first, .account = "alice", .path = TRACK_LONG, .jti = "held");
    int fd = raw_connect(pair->second, 0);
    raw_print(fd, "GET %s HTTP/1.1\r\nHost: media.example\r\nRange: bytes=0-%zu\r\n\r\n", held,
              some - 1);
    cr_assert_eq(raw_answer(pair->second, fd, false)->status, 206u);
    site_redis_kill(pair->first);
    close(fd);
    cr_assert_eq(
        site_admin(pair->second, "POST", "/v1/accounts/shop/alice/revoke", "{\"jti\":\"held\"}")
            ->status,
        202u);
    site_node_kill(pair->second);
    site_redis_start(pair->first);
    site_node_await_ready(pair->first);
    return (struct debt){.paid = FUNDS + 1000, .used = (int64_t)(2 * tiny + some)};
}

void await_debt(struct site *site, const struct debt *debt)
{
    const struct balance balance = site_balance(site, "alice");
    cr_expect_eq(used_in_redis(site), debt->used);
    cr_expect_eq(balance.used, debt->used);
    cr_expect_eq(balance.balance, debt->paid - debt->used);
    cr_expect_eq(site_usage_settled(site, "alice"), (uint64_t)debt->used);
    const char *held = site_link(site, .account = "alice", .path = TRACK_LONG, .jti = "held");
    answer_expect_refusal(site, fetch(site, held), 410, "link_revoked");
}
