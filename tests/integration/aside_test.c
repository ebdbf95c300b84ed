/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An operator's SET over one key of one account, with two nodes and listeners of several accounts: that
 * account alone is refused, the log and the health name it, and `tollgate ledger release` brings it
 * back with the figures that the journals hold.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/integration/harness.h"
#include "tests/integration/transfer_steps.h"

#define SETTINGS           "workers: 1\npost_interval_ms: 200\ngrant_validity_ms: 2000\n"
#define FUNDS              100000000
#define UNACKNOWLEDGED_MAX 65536 /* a segment on loopback, of which the acknowledgement is late */

enum { ALICE, BOB, CAROL, ACCOUNTS, NODES = 2 };
static const char *const accounts[] = {"alice", "bob", "carol"};

static struct scene {
    struct site *nodes[NODES];
    int listeners[ACCOUNTS][NODES]; /* -1: its transfer was cut */
    uint64_t received[ACCOUNTS];
} scene;

/* Each account has a listener at each node; alice's have links with terms, which have keys of their own. */
static void set_up(void)
{
    scene.nodes[0] = site_create(.own_redis = true, .settings = SETTINGS);
    scene.nodes[1] =
        site_create(.beside = scene.nodes[0], .redis = site_redis_address(scene.nodes[0]),
                    .node = "second-node", .settings = SETTINGS);
    for (int i = 0; i < ACCOUNTS; i++) {
        site_account_open_prepaid(scene.nodes[i % NODES], accounts[i], FUNDS);
        for (int node = 0; node < NODES; node++) {
            struct site *site = scene.nodes[node];
            struct token_limits limits = {.rate = 100000};
            if (i == ALICE)
                limits.max_bytes = FUNDS;
            scene.listeners[i][node] = begin_transfer(
                site, site_link(scene.nodes[0], .account = accounts[i], .path = TRACK_LONG,
                                .jti = accounts[i], .limits = limits));
        }
    }
}

static void tear_down(void)
{
    for (int i = 0; i < ACCOUNTS * NODES; i++)
        if (scene.listeners[i / NODES][i % NODES] >= 0)
            close(scene.listeners[i / NODES][i % NODES]);
    site_destroy(&scene.nodes[1]);
    site_destroy(&scene.nodes[0]);
}

TestSuite(aside, .init = set_up, .fini = tear_down);

/* Takes what arrives. Only alice's transfers may end, by being cut. */
static void listen_once(void)
{
    static char body[65536];
    for (int i = 0; i < ACCOUNTS; i++)
        for (int node = 0; node < NODES; node++) {
            int *fd = &scene.listeners[i][node];
            ssize_t got = *fd >= 0 ? recv(*fd, body, sizeof(body), MSG_DONTWAIT) : -1;
            if (got > 0) {
                scene.received[i] += (uint64_t)got;
            } else if (*fd >= 0 && (got == 0 || errno != EAGAIN)) {
                cr_assert_eq(i, ALICE, "%s at node %d is cut", accounts[i], node);
                close(*fd);
                *fd = -1;
            }
        }
    harness_pause();
}

/* A request for two bytes, by a link that was not used before. */
static const struct answer *ask(int account, int node)
{
    static unsigned number;
    struct site *site = scene.nodes[node];
    return fetch(site,
                 site_link(scene.nodes[0], .account = accounts[account], .path = TRACK_LONG,
                           .jti = site_format(site, "ask-%u", number++)),
                 .range = "0-1", .fresh = true);
}

static void await_status(int account, int node, unsigned status)
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    const struct answer *answer;
    while ((answer = ask(account, node))->status != status) {
        cr_assert(harness_now_ms() < deadline_ms, "%s at node %d: %u %s", accounts[account], node,
                  answer->status, answer->body);
        listen_once();
    }
    if (status == 503)
        answer_expect_refusal(scene.nodes[node], answer, 503, "account_set_aside");
}

/* The others are served, billed, topped up and revoked meanwhile. */
static void expect_others_go_on(const char *when)
{
    for (int i = BOB; i < ACCOUNTS; i++) {
        struct site *site = scene.nodes[i % NODES], *other = scene.nodes[(i + 1) % NODES];
        struct balance before = site_balance(site, accounts[i]);
        const char *link = site_link(scene.nodes[0], .account = accounts[i], .path = TRACK_TINY,
                                     .jti = site_format(site, "revoked-%s", when));
        cr_expect_eq(ask(i, 0)->status, 206u);
        cr_expect_eq(ask(i, 1)->status, 206u);
        cr_expect_eq(fetch(other, link, .range = "0-1")->status, 206u);
        site_account_top_up(site, accounts[i], 1000);
        const char *path = site_format(site, "/v1/accounts/shop/%s/revoke", accounts[i]);
        admin_expect(site, path, site_format(site, "{\"jti\":\"revoked-%s\"}", when), 200);
        uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
        while (fetch(other, link, .range = "0-1")->status != 410) /* link_revoked */
            cr_assert(harness_now_ms() < deadline_ms, "%s has a link that is not revoked",
                      accounts[i]);
        deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
        while (site_balance(site, accounts[i]).used < before.used + 50000) {
            cr_assert(harness_now_ms() < deadline_ms, "%s is not billed", accounts[i]);
            listen_once();
        }
    }
    for (int node = 0; node < NODES; node++)
        cr_expect_eq(site_admin(scene.nodes[node], "GET", "/v1/health", NULL)->status, 200u);
}

static unsigned times(const char *text, const char *part)
{
    unsigned count = 0;
    while ((text = strstr(text, part)) != NULL) {
        text += strlen(part);
        count++;
    }
    return count;
}

/* Expects that the log and the health of the node name alice, and nobody else. */
static void expect_named(int node)
{
    struct site *site = scene.nodes[node];
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (strstr((const char *)site_admin(site, "GET", "/v1/health", NULL)->body,
                  "\"set_aside\":[\"shop/alice\"]") == NULL) {
        cr_assert(harness_now_ms() < deadline_ms, "health does not name alice alone");
        harness_pause();
    }
    (void)site_log_await(site, "account shop/alice is set aside:");
    cr_expect_eq(times(site_log(site), "is set aside:"), 1u, "%s", site_log(site));
    cr_expect_eq(times(site_log(site), "account shop/alice is set aside:"), 1u);
}

/* SET over the last of alice's keys whose names are like this; and its name. */
static const char *overwrite(const char *like)
{
    struct site *site = scene.nodes[0];
    const char *script =
        site_format(site,
                    "local keys = redis.call('KEYS', 'tg:{shop/alice}:%s') table.sort(keys) "
                    "if #keys > 0 then redis.call('SET', keys[#keys], 'slip') end return #keys",
                    like);
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (site_redis_number(site, script) == 0) {
        cr_assert(harness_now_ms() < deadline_ms, "alice has no key %s", like);
        listen_once();
    }
    return site_format(site, "in tg:{shop/alice}:%.5s", like);
}

struct figures {
    struct balance balance;
    uint64_t usage;
};

static struct figures figures_of(int account)
{
    struct figures figures = {.usage = site_usage_settled(scene.nodes[0], accounts[account])};
    figures.balance = site_balance(scene.nodes[0], accounts[account]);
    return figures;
}

/* What Redis says by itself. */
static int64_t used(int account)
{
    struct site *site = scene.nodes[0];
    return site_redis_number(
        site, site_format(
                  site, "return tonumber(redis.call('HGET', 'tg:{shop/%s}:account', 'used')) or 0",
                  accounts[account]));
}

/* The figures are those of the journals: an emptied Redis gets the same ones. */
static void expect_journals_figures(void)
{
    struct figures kept[ACCOUNTS];
    for (int i = 0; i < ACCOUNTS * NODES; i++) {
        int *fd = &scene.listeners[i / NODES][i % NODES];
        if (*fd >= 0)
            close(*fd);
        *fd = -1;
    }
    for (int i = 0; i < ACCOUNTS; i++) {
        site_await_reserved(scene.nodes[0], accounts[i], 0);
        for (int node = 0; node < NODES; node++) /* who is asked posts first what it has */
            (void)site_balance(scene.nodes[node], accounts[i]);
        kept[i] = figures_of(i);
        /* What a client has read before its kernel acknowledged it is not billed where it is cut. */
        cr_expect_geq(kept[i].usage + NODES * UNACKNOWLEDGED_MAX, scene.received[i],
                      "%s is not billed all of it", accounts[i]);
        cr_expect_eq(kept[i].usage, (uint64_t)kept[i].balance.used, "%s", accounts[i]);
    }
    site_redis_command(scene.nodes[0], "FLUSHALL");
    for (int i = 0; i < ACCOUNTS; i++) {
        uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
        /* A node that has nothing to post hears of it by a question that it cannot answer alone. */
        while ((uint64_t)used(i) < kept[i].usage) {
            cr_assert(harness_now_ms() < deadline_ms, "%s is not replayed", accounts[i]);
            (void)ask(i, 0);
            (void)ask(i, 1);
        }
        struct figures again = figures_of(i);
        cr_expect_lt(again.usage - kept[i].usage, 1000u, "%s: more than those questions",
                     accounts[i]);
        cr_expect_eq(again.usage, (uint64_t)again.balance.used, "%s", accounts[i]);
        cr_expect_eq(again.balance.balance + again.balance.used,
                     kept[i].balance.balance + kept[i].balance.used, "%s", accounts[i]);
    }
}

static void overwrite_and_release(const char *like)
{
    struct site *first = scene.nodes[0];
    site_account_top_up(scene.nodes[1], "alice", 5000); /* in the second node's journal */
    const char *key = overwrite(like);
    for (int node = 0; node < NODES; node++)
        await_status(ALICE, node, 503);
    expect_others_go_on("aside");
    for (int node = 0; node < NODES; node++)
        expect_named(node);
    struct command_result result = site_tollgate(first, "ledger", "release", "shop/alice");
    cr_expect_eq(result.exit_code, 1);
    cr_expect_not_null(strstr(result.errors, key), "%s", result.errors);
    result = site_tollgate(first, "ledger", "release", "shop/alice", "--rebuild");
    cr_assert_eq(result.exit_code, 0, "%s", result.errors);
    expect_others_go_on("back");
    for (int node = 0; node < NODES; node++)
        await_status(ALICE, node, 206);
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    for (int64_t paid_in = 0; paid_in != FUNDS + 5000; harness_pause()) {
        const struct balance back = site_balance(first, "alice"); /* as the nodes have posted it */
        paid_in = back.balance + back.used;
        cr_assert(harness_now_ms() < deadline_ms, "%lld were paid in", (long long)paid_in);
    }
    expect_journals_figures();
}

Test(aside, an_account_whose_key_is_overwritten_stops_alone_and_is_rebuilt)
{
    overwrite_and_release("account");
}

Test(aside, an_account_whose_pools_are_overwritten_stops_alone_and_is_rebuilt)
{
    overwrite_and_release("grants");
}

Test(aside, an_account_whose_usage_is_overwritten_stops_alone_and_is_rebuilt)
{
    overwrite_and_release("usage:*");
}

Test(aside, an_account_whose_link_is_overwritten_stops_alone_and_is_rebuilt)
{
    overwrite_and_release("link:*[0-9a-f]");
}
