/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credit: what nodes hold of an account, told again with each question and never added up. Nothing
 * stays reserved after answers were lost, who can pay is served by every node, and questions are asked
 * only where what is known does not do.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/harness.h"
#include "tests/integration/pair_steps.h"
#include "tests/integration/transfer_steps.h"

#define VALIDITY_MS 2000
#define SETTINGS    "workers: 2\ngrant_validity_ms: 2000\n"
#define ALBUM       12

static size_t track_size(struct site *site)
{
    size_t size;
    (void)site_media_bytes(site, TRACK_LONG, &size);
    return size;
}

/* Lets time pass that nothing announces. */
static void pass(uint64_t ms)
{
    for (uint64_t until_ms = harness_now_ms() + ms; harness_now_ms() < until_ms;)
        harness_pause();
}

static void await_push(struct site *site)
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (strstr((const char *)site_admin(site, "GET", "/v1/health", NULL)->body,
                  "\"push_up\":true") == NULL) {
        cr_assert(harness_now_ms() < deadline_ms, "push does not come up");
        harness_pause();
    }
}

/* Begins the whole track with a small receive buffer, and reads only the head. */
static int begin_track(struct site *site, const char *link)
{
    int fd = raw_connect(site, 4096);
    raw_print(fd, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", link);
    cr_assert_eq(raw_answer_head(site, fd)->status, 200);
    return fd;
}

/* Asks until the whole track comes, for so long: the other node gives back what it holds idle as soon as
 * it hears that it is needed, and a busy machine keeps it from that for longer than a request waits. */
static const struct answer *fetch_within(struct site *site, const char *link, uint64_t ms)
{
    uint64_t deadline_ms = harness_now_ms() + ms;
    const struct answer *answer;
    while ((answer = fetch(site, link))->status != 200 && harness_now_ms() < deadline_ms)
        pass(50);
    return answer;
}

Test(credit, of_three_stalls_of_Redis_leaves_nothing_reserved_and_serves_who_can_pay)
{
    struct site *site = site_create(.own_redis = true, .settings = SETTINGS);
    size_t size = track_size(site);
    site_account_open_prepaid(site, "alice", 2 * size + size / 2);
    for (int i = 0; i < 3; i++) {
        const char *jti = site_format(site, "stalled-%d", i);
        const char *link = site_link(site, .account = "alice", .path = TRACK_LONG, .jti = jti);
        site_redis_signal(site, SIGSTOP);
        answer_expect_refusal(site, fetch(site, link, .fresh = true), 503, "redis_unavailable");
        site_redis_signal(site, SIGCONT);
        site_node_await_ready(site);
    }
    site_await_reserved(site, "alice", 0);
    cr_expect_eq(site_balance(site, "alice").balance, (int64_t)(2 * size + size / 2));
    for (int i = 0; i < 2; i++) {
        const char *jti = site_format(site, "paid-%d", i);
        answer_expect_file(
            site, fetch(site, site_link(site, .account = "alice", .path = TRACK_LONG, .jti = jti)),
            TRACK_LONG);
    }
    answer_expect_refusal(
        site, fetch(site, site_link(site, .account = "alice", .path = TRACK_LONG, .jti = "more")),
        402, "balance_insufficient");
    site_destroy(&site);
}

Test(credit, that_one_node_holds_idle_is_given_to_another_that_needs_it)
{
    struct pair pair = pair_create(SETTINGS);
    size_t size = track_size(pair.first);
    site_account_open_prepaid(pair.first, "alice", size + 10);
    const char *some = site_link(pair.first, .account = "alice", .path = TRACK_LONG, .jti = "some");
    const char *all = site_link(pair.first, .account = "alice", .path = TRACK_LONG, .jti = "all");
    answer_expect_bytes(pair.first, fetch(pair.first, some, .range = "0-1"), TRACK_LONG, 0, 2);
    /* Beside its two bytes the first node was given a quarter of the rest, and needs none of it. */
    cr_assert_gt(site_balance(pair.first, "alice").reserved, (int64_t)size / 5);
    answer_expect_file(pair.second, fetch_within(pair.second, all, HARNESS_DEADLINE_MS),
                       TRACK_LONG);
    answer_expect_refusal(pair.first, fetch(pair.first, all), 402, "balance_insufficient");
    site_usage_await(pair.second, "alice", size + 2);
    site_await_reserved(pair.second, "alice", 0);
    pair_destroy(&pair);
}

/* Takes `bytes` away from alice's balance. */
static void take_away(struct site *site, size_t bytes)
{
    const struct answer *answer =
        site_admin(site, "POST", "/v1/accounts/shop/alice/adjust",
                   site_format(site, "{\"bytes\":-%zu,\"transaction\":\"less\"}", bytes));
    cr_assert_eq(answer->status, 200, "%.*s", (int)answer->body_length, (const char *)answer->body);
}

/* As a node does that is short. For a while none is published again. */
static void publish_recall(struct site *site, const char *account)
{
    (void)site_redis_number(
        site, site_format(
                  site,
                  "local now = redis.call('TIME') redis.call('HSET', 'tg:{shop/%s}:account', "
                  "'recalled', string.format('%%.0f', now[1] * 1000 + math.floor(now[2] / 1000))) "
                  "return redis.call('PUBLISH', 'tg:revocations', 'shop/%s recall')",
                  account, account));
}

/* What a node comes to hold idle just behind a recall goes back, too: who is short then may not recall. Each
 * account is new, and one that is served is enough: a busy machine gives back too late. */
Test(credit, that_a_node_comes_to_hold_just_behind_a_recall_is_given_back)
{
    struct pair pair = pair_create(SETTINGS);
    size_t size = track_size(pair.first);
    bool is_served = false;
    await_push(pair.first);
    for (int i = 0; i < 20 && !is_served; i++) {
        const char *account = site_format(pair.first, "account-%d", i);
        site_account_open_prepaid(pair.first, account, size + 10);
        const char *some =
            site_link(pair.first, .account = account, .path = TRACK_LONG, .jti = "some");
        const char *all =
            site_link(pair.first, .account = account, .path = TRACK_LONG, .jti = "all");
        answer_expect_bytes(pair.first, fetch(pair.first, some, .range = "0-1"), TRACK_LONG, 0, 2);
        publish_recall(pair.first, account);
        pass(50);
        answer_expect_bytes(pair.first, fetch(pair.first, some, .range = "2-3"), TRACK_LONG, 2, 2);
        is_served = fetch(pair.second, all)->status == 200;
    }
    cr_expect(is_served);
    pair_destroy(&pair);
}

Test(credit, that_a_node_holds_idle_is_given_back_where_money_is_taken_away)
{
    /* No validity ends in this test. */
    struct pair pair = pair_create("grant_validity_ms: 300000\n");
    size_t size = track_size(pair.first);
    site_account_open_prepaid(pair.first, "alice", 9 * size);
    const char *slow = site_link(pair.first, .account = "alice", .path = TRACK_LONG, .jti = "slow");
    const char *more = site_link(pair.first, .account = "alice", .path = TRACK_LONG, .jti = "more");
    int fd = begin_track(pair.first, slow);
    /* Beside the track that is under way the first node could serve another one unasked. */
    cr_assert_gt(site_balance(pair.first, "alice").reserved, (int64_t)(2 * size));
    take_away(pair.second, 8 * size);
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (site_balance(pair.second, "alice").reserved > (int64_t)size) {
        cr_assert(harness_now_ms() < deadline_ms, "what is held idle is not given back");
        harness_pause();
    }
    answer_expect_refusal(pair.first, fetch(pair.first, more), 402, "balance_insufficient");
    close(fd);
    pair_destroy(&pair);
}

Test(credit, of_an_album_of_twelve_links_is_asked_for_once)
{
    struct site *site = site_create(.settings = "workers: 1\n");
    size_t size;
    (void)site_media_bytes(site, TRACK_TINY, &size);
    site_account_open_prepaid(site, "alice", 1000 * ALBUM * size);
    site_account_open_postpaid(site, "bob");
    const char *const accounts[] = {"alice", "bob"};
    await_push(site);
    for (unsigned account = 0; account < 2; account++) {
        uint64_t before = site_traffic(site, "admissions_asked");
        for (int i = 0; i < ALBUM; i++) {
            const char *jti = site_format(site, "track-%d", i);
            const char *link =
                site_link(site, .account = accounts[account], .path = TRACK_TINY, .jti = jti);
            answer_expect_file(site, fetch(site, link), TRACK_TINY);
        }
        cr_expect_eq(site_traffic(site, "admissions_asked") - before, 1u, "%s: %llu questions",
                     accounts[account],
                     (unsigned long long)(site_traffic(site, "admissions_asked") - before));
    }
    site_destroy(&site);
}

/* How many links are revoked; the long run has 1,000. */
static int revocations(void)
{
    const char *text = getenv("TOLLGATE_REVOCATIONS");
    return text != NULL ? atoi(text) : 25;
}

/* An account without a revoked link, whose links are covered by one grant of the second node. */
static const char *covered_account(const struct pair *pair, const char *name, int number)
{
    const char *account = site_format(pair->first, "%s-%d", name, number);
    const char *good = site_link(pair->first, .account = account, .path = TRACK_TINY);
    site_account_open_postpaid(pair->first, account);
    answer_expect_file(pair->second, fetch(pair->second, good), TRACK_TINY);
    return account;
}

static void revoke_link(struct site *site, const char *account)
{
    admin_expect(site, site_format(site, "/v1/accounts/shop/%s/revoke", account),
                 "{\"jti\":\"revoked\"}", 200);
}

/* Redis' messages come in order: where the second node has heard of a later revocation, no response of the
 * first link begins. How long after it one does begin is told; a beat is 250 ms. */
Test(credit, does_not_cover_a_link_once_its_revocation_was_heard, .timeout = 1800)
{
    struct pair pair = pair_create(SETTINGS);
    unsigned seed = 1, late = 0;
    uint64_t latest_ms = 0;
    await_push(pair.second);
    for (int i = 0; i < revocations(); i++) {
        const char *account = covered_account(&pair, "account", i);
        const char *later = covered_account(&pair, "later", i);
        const char *link =
            site_link(pair.first, .account = account, .path = TRACK_TINY, .jti = "revoked");
        const char *mark =
            site_link(pair.first, .account = later, .path = TRACK_TINY, .jti = "revoked");
        revoke_link(pair.first, account);
        uint64_t revoked_ms = harness_now_ms();
        pass((uint64_t)rand_r(&seed) % 300);
        uint64_t after_ms = harness_now_ms() - revoked_ms;
        if (fetch(pair.second, link)->status == 200) {
            late++;
            latest_ms = after_ms > latest_ms ? after_ms : latest_ms;
        }
        revoke_link(pair.first, later);
        uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
        while (fetch(pair.second, mark)->status == 200) {
            cr_assert(harness_now_ms() < deadline_ms, "a revocation is not heard");
            harness_pause();
        }
        answer_expect_refusal(pair.second, fetch(pair.second, link), 410, "link_revoked");
    }
    cr_log_info("%u of %d began, %llu ms after the revocation at most", late, revocations(),
                (unsigned long long)latest_ms);
    pair_destroy(&pair);
}

Test(credit, of_a_killed_node_is_free_after_twice_the_validity)
{
    struct pair pair = pair_create(SETTINGS);
    size_t size = track_size(pair.first);
    site_account_open_prepaid(pair.first, "alice", size + size / 2);
    const char *link = site_link(pair.first, .account = "alice", .path = TRACK_LONG, .jti = "one");
    const char *other =
        site_link(pair.first, .account = "alice", .path = TRACK_LONG, .jti = "other");
    int fd = begin_track(pair.second, link);
    answer_expect_refusal(pair.first, fetch(pair.first, other), 402, "balance_insufficient");
    site_node_kill(pair.second);
    close(fd);
    uint64_t killed_ms = harness_now_ms();
    const struct answer *answer = fetch_within(pair.first, other, HARNESS_DEADLINE_MS);
    /* What the killed node had billed is paid; the rest covers the track. */
    answer_expect_file(pair.first, answer, TRACK_LONG);
    cr_expect_geq(harness_now_ms() - killed_ms, VALIDITY_MS / 2u);
    site_node_start(pair.second);
    site_node_await_ready(pair.second);
    pair_destroy(&pair);
}

Test(credit, of_a_killed_node_is_free_at_once_when_it_is_back)
{
    struct site *first = site_create(.own_redis = true);
    struct site *second =
        site_create(.beside = first, .redis = site_redis_address(first), .node = "second-node");
    size_t size = track_size(first);
    site_account_open_prepaid(first, "alice", size + size / 2);
    const char *link = site_link(first, .account = "alice", .path = TRACK_LONG, .jti = "one",
                                 .limits = {.max_bytes = 3 * size});
    const char *other = site_link(first, .account = "alice", .path = TRACK_LONG, .jti = "other");
    int fd = begin_track(second, link);
    answer_expect_refusal(first, fetch(first, other), 402, "balance_insufficient");
    site_node_kill(second);
    close(fd);
    answer_expect_refusal(first, fetch(first, other), 402, "balance_insufficient");
    site_node_start(second);
    site_node_await_ready(second);
    /* Without it, that would take a minute: twice the validity. */
    answer_expect_file(first, fetch_within(first, other, 20000), TRACK_LONG);
    site_await_reserved(first, "alice", 0);
    site_destroy(&second);
    site_destroy(&first);
}

Test(credit, of_an_emptied_Redis_is_told_again_and_pays_no_byte_twice)
{
    enum { LISTENERS = 5 };
    struct site *site = site_create(.own_redis = true, .settings = "workers: 2\n");
    size_t size = track_size(site);
    int fds[LISTENERS];
    char *body = malloc(size);
    site_account_open_prepaid(site, "alice", LISTENERS * size);
    for (int i = 0; i < LISTENERS; i++) {
        const char *jti = site_format(site, "listener-%d", i);
        fds[i] = begin_track(site, site_link(site, .account = "alice", .path = TRACK_LONG,
                                             .jti = jti, .limits = {.rate = 1500000}));
    }
    site_redis_command(site, "FLUSHALL");
    /* Others come while the node replays its journal, and after that. */
    for (int i = 0; i < 20; i++) {
        const char *jti = site_format(site, "other-%d", i);
        const char *link = site_link(site, .account = "alice", .path = TRACK_LONG, .jti = jti);
        cr_expect_neq(fetch(site, link, .range = "0-0", .fresh = true)->status, 206u);
        pass(100);
    }
    for (int i = 0; i < LISTENERS; i++) {
        cr_expect_eq(raw_read(fds[i], body, size), size, "listener %d was cut", i);
        close(fds[i]);
    }
    free(body);
    site_usage_await(site, "alice", LISTENERS * size);
    site_await_reserved(site, "alice", 0);
    cr_expect_eq(site_balance(site, "alice").balance, 0);
    site_destroy(&site);
}

Test(credit, counts_a_limit_that_is_set_and_removed_under_load)
{
    struct site *site = site_create(.settings = SETTINGS);
    size_t size = track_size(site);
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_LONG, .jti = "one",
                                 .limits = {.rate = 2000000});
    int fd = begin_track(site, link);
    const char *limit[] = {
        "account", "limit", "shop/alice", "--max-bytes", site_format(site, "%zu", 3 * size), NULL};
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(site_command(site, limit).exit_code, 0);
        pass(200);
        limit[4] = i % 2 == 0 ? "0" : site_format(site, "%zu", 3 * size);
    }
    char *body = malloc(size);
    cr_expect_eq(raw_read(fd, body, size), size, "the transfer was cut");
    free(body);
    close(fd);
    limit[4] = site_format(site, "%zu", 3 * size);
    cr_assert_eq(site_command(site, limit).exit_code, 0);
    site_usage_await(site, "alice", size);
    site_await_reserved(site, "alice", 0);
    for (int i = 0; i < 2; i++)
        answer_expect_file(site, fetch(site, link), TRACK_LONG);
    answer_expect_refusal(site, fetch(site, link, .range = "0-0"), 402, "account_bytes_used_up");
    site_destroy(&site);
}
