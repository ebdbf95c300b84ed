/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Failovers by real Sentinels. Another Redis comes into force, and the node follows: it serves again
 * within a second, and bills each byte that arrived once, whatever the old master had not yet told
 * its replicas. $TOLLGATE_FAILOVERS says how many (one, without it).
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/harness.h"

#define FOLLOWS_MS      1000 /* from +switch-master on */
#define CALM_MS         1500 /* how long it is watched after that */

#define SERVED_IN_A_ROW 20

static unsigned failovers(void)
{
    const char *text = getenv("TOLLGATE_FAILOVERS");
    return text != NULL ? (unsigned)strtoul(text, NULL, 10) : 1;
}

/* What clients received, and when they were refused. */
struct load {
    struct site *site;
    unsigned asked, late_refusals;
    uint64_t bytes;
    unsigned last_status;
};

/* One request by a link of its own; counts a 5xx after `from_ms`. */
static void ask(struct load *load, uint64_t from_ms)
{
    struct site *site = load->site;
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY,
                                 .jti = site_format(site, "order-%u", load->asked++));
    uint64_t begun_ms = harness_now_ms();
    const struct answer *answer = fetch(site, link, .fresh = true);
    load->last_status = answer->status;
    if (answer->status == 200)
        load->bytes += answer->body_length;
    else
        cr_assert(answer->status == 503, "status %u", answer->status);
    load->late_refusals += answer->status >= 500 && begun_ms >= from_ms;
    harness_pause();
}

/* Asks until the node serves again and again without a refusal: each of its workers has followed. */
static void await_followed(struct load *load)
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    for (unsigned served = 0; served < SERVED_IN_A_ROW;) {
        cr_assert(harness_now_ms() < deadline_ms, "the node does not follow");
        ask(load, UINT64_MAX);
        served = load->last_status == 200 ? served + 1 : 0;
    }
}

/* Asks for a while after a Redis has come into force, and tells who is refused when it should have been
 * followed. That is not asserted, because a busy machine takes longer: in the end it is followed. */
static void ask_on(struct load *load, uint64_t follows_ms)
{
    while (harness_now_ms() < follows_ms + CALM_MS)
        ask(load, follows_ms);
    if (load->late_refusals > 0)
        cr_log_warn("%u are refused later than %u ms after +switch-master", load->late_refusals,
                    FOLLOWS_MS);
    load->late_refusals = 0;
    await_followed(load);
}

/* Kills the master under load, and asks until the node has followed and a while longer. */
static void fail_over(struct load *load, struct watched *watched)
{
    unsigned old = watched_master(watched);
    (void)watched_has_switched(watched);
    for (int i = 0; i < 20; i++)
        ask(load, 0);
    load->late_refusals = 0;
    watched_kill_redis(watched, old);
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS, switched_ms = UINT64_MAX / 2;
    while (harness_now_ms() < switched_ms + FOLLOWS_MS + CALM_MS) {
        cr_assert(harness_now_ms() < deadline_ms || switched_ms < UINT64_MAX / 2,
                  "no Sentinel names another master");
        ask(load, switched_ms + FOLLOWS_MS);
        if (watched_has_switched(watched)) /* Sentinels may change their mind */
            switched_ms = harness_now_ms();
    }
    ask_on(load, switched_ms + FOLLOWS_MS);
    watched_start_redis(watched, old, watched_master(watched));
    watched_await_whole(watched);
}

static void revoke_link(struct site *site, const char *jti)
{
    const char *body = site_format(site, "{\"jti\":\"%s\"}", jti);
    cr_assert_eq(site_admin(site, "POST", "/v1/accounts/shop/alice/revoke", body)->status, 200);
}

Test(sentinel, that_names_another_master_is_followed_and_no_byte_is_lost_or_doubled, .timeout = 900)
{
    struct site *home = site_create(.stays_down = true);
    struct watched *watched = watched_start(home);
    struct site *site = site_create(.redis = watched_address(watched), .settings = "workers: 2\n");
    struct load load = {.site = site};
    site_account_open_postpaid(site, "alice");
    site_account_open_postpaid(site, "bob");
    const char *bobs = site_link(site, .account = "bob", .path = TRACK_TINY, .jti = "bobs");
    const char *revoked = site_link(site, .account = "alice", .path = TRACK_TINY, .jti = "revoked");
    cr_assert_eq(site_admin(site, "POST", "/v1/accounts/shop/bob/suspend", "{}")->status, 200);
    revoke_link(site, "revoked");
    for (unsigned i = 0; i < failovers(); i++) {
        fail_over(&load, watched);
        answer_expect_refusal(site, fetch(site, bobs), 402, "account_suspended");
        answer_expect_refusal(site, fetch(site, revoked), 410, "link_revoked");
    }
    site_usage_await(site, "alice", load.bytes);
    cr_assert_eq(site_usage_settled(site, "alice"), load.bytes);
    site_destroy(&site);
    watched_stop(watched);
    site_destroy(&home);
}

/* Sentinels are told to fail over, and the old master lives: it has become a replica, and closes
 * no connection of the node's by itself. */
Test(sentinel, that_is_told_to_fail_over_is_followed, .timeout = 120)
{
    struct site *home = site_create(.stays_down = true);
    struct watched *watched = watched_start(home);
    struct site *site = site_create(.redis = watched_address(watched), .settings = "workers: 2\n");
    struct load load = {.site = site};
    site_account_open_postpaid(site, "alice");
    (void)watched_has_switched(watched);
    ask(&load, 0);
    watched_fail_over(watched);
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (!watched_has_switched(watched)) {
        cr_assert(harness_now_ms() < deadline_ms, "no Sentinel names another master");
        ask(&load, UINT64_MAX);
    }
    ask_on(&load, harness_now_ms() + FOLLOWS_MS);
    site_usage_await(site, "alice", load.bytes);
    site_destroy(&site);
    watched_stop(watched);
    site_destroy(&home);
}

/* A partition: the old master hangs until the Sentinels have another, and goes on as a master when
 * none is left to tell it. The node knows better. */
Test(sentinel, whose_old_master_stays_writable_is_followed_away_from_it, .timeout = 120)
{
    struct site *home = site_create(.stays_down = true);
    struct watched *watched = watched_start(home);
    struct site *site = site_create(.redis = watched_address(watched), .settings = "workers: 2\n");
    struct load load = {.site = site};
    site_account_open_postpaid(site, "alice");
    unsigned old = watched_master(watched);
    watched_signal_redis(watched, old, SIGSTOP);
    await_followed(&load);
    for (unsigned i = 0; i < 3; i++)
        watched_kill_sentinel(watched, i);
    watched_signal_redis(watched, old, SIGCONT);
    uint64_t from_ms = harness_now_ms();
    while (harness_now_ms() < from_ms + CALM_MS)
        ask(&load, from_ms);
    cr_assert_eq(load.late_refusals, 0);
    site_usage_await(site, "alice", load.bytes);
    watched_command(watched, old, "SET tg:still-writable 1");
    cr_assert_eq(watched_number(watched, old, "HGET tg:{shop/alice}:account used"), 0);
    site_destroy(&site);
    watched_stop(watched);
    site_destroy(&home);
}
