/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a revocation must not do: transfers that it does not name go on, also while Redis restarts or
 * has lost what it knew.
 */
#include <signal.h>
#include <unistd.h>

#include "tests/integration/harness.h"
#include "tests/integration/transfer_steps.h"

Test(revocation, is_not_what_a_restart_of_Redis_is_taken_for)
{
    struct site *site = site_create(.own_redis = true);
    site_account_open_prepaid(site, "alice", 1000u * 1000 * 1000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_LONG, .limits = SLOW);
    int fd = begin_transfer(site, link);
    site_redis_kill(site);
    expect_flow(fd, 2000, 150000); /* while Redis is away */
    site_redis_start(site);
    site_log_await(site, "the node hears of revocations again");
    expect_flow(fd, 3000, 150000);
    close(fd);
    site_destroy(&site);
}

Test(revocation, is_not_what_a_restart_of_the_embedded_Redis_is_taken_for)
{
    struct site *site = site_create();
    site_account_open_prepaid(site, "alice", 1000u * 1000 * 1000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_LONG, .limits = SLOW);
    int fd = begin_transfer(site, link);
    cr_assert_eq(kill(site_embedded_redis_pid(site), SIGKILL), 0);
    expect_flow(fd, 5000, 300000);
    close(fd);
    site_destroy(&site);
}

Test(revocation, that_takes_nothing_away_cuts_nothing)
{
    struct site *site = site_create(.own_redis = true);
    site_account_open_prepaid(site, "alice", 1000u * 1000 * 1000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_LONG, .limits = SLOW);
    int fd = begin_transfer(site, link);
    for (int i = 0; i < 4; i++) {
        admin_expect(site, "/v1/accounts/shop/alice/activate", "", 200);
        site_redis_command(site, "CLIENT KILL TYPE normal SKIPME yes");
        expect_flow(fd, 500, 10000);
    }
    close(fd);
    site_destroy(&site);
}

Test(revocation, of_another_link_cuts_none_that_hold_the_last_funds)
{
    struct site *site = site_create(.own_media = true);
    size_t size;
    site_media_add(site, "/big.mp3", TRACK_LONG, 4);
    (void)site_media_bytes(site, "/big.mp3", &size);
    site_account_open_prepaid(site, "alice", 2 * size);
    const char *link = site_link(site, .account = "alice", .path = "/big.mp3", .jti = "order-1",
                                 .limits = {.rate = 600000});
    int fds[] = {begin_transfer(site, link), begin_transfer(site, link)};
    revoke_jti(site, "order-2");
    expect_flow(fds[0], 1500, 100000);
    expect_flow(fds[1], 1500, 100000);
    revoke_jti(site, "order-1");
    expect_cut(fds[0]);
    expect_cut(fds[1]);
    site_destroy(&site);
}

Test(revocation, that_Redis_has_lost_leaves_the_account_usable)
{
    struct site *first = site_create(.own_redis = true);
    struct site *second =
        site_create(.beside = first, .redis = site_redis_address(first), .node = "second-node");
    site_account_open_prepaid(first, "alice", 1000u * 1000 * 1000);
    const char *link = site_link(first, .account = "alice", .path = TRACK_TINY);
    answer_expect_file(first, fetch(first, link), TRACK_TINY);
    admin_expect(second, "/v1/accounts/shop/alice/suspend", "", 200);
    admin_expect(second, "/v1/accounts/shop/alice/activate", "", 200);
    answer_expect_file(first, fetch(first, link), TRACK_TINY);
    /* The revision was in the journal of the second node, which is gone. */
    site_node_kill(second);
    site_redis_command(first, "FLUSHALL");
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (site_admin(first, "GET", "/v1/accounts/shop/alice", NULL)->status != 200 &&
           harness_now_ms() < deadline_ms)
        harness_pause();
    while (fetch(first, link)->status != 200 && harness_now_ms() < deadline_ms)
        harness_pause();
    pause_ms(2500); /* the window ends, so that the next request asks Redis */
    answer_expect_file(first, fetch(first, link), TRACK_TINY);
    site_destroy(&second);
    site_destroy(&first);
}
