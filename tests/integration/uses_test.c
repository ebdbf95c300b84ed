/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A use is a download, not a request: what breaks other shops' one-time links, tried with real
 * clients, and how a use ends. Redis keeps windows and uses, so two nodes agree.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/integration/harness.h"

#define ONE_USE(order) .jti = order, .limits = {.max_uses = 1}

static size_t size_of(struct site *site, const char *path)
{
    size_t size;
    (void)site_media_bytes(site, path, &size);
    return size;
}

static const char *range_text(struct site *site, size_t first, size_t last)
{
    return site_format(site, "%zu-%zu", first, last);
}

/* Waits until the link is refused with this reason, whatever the answers before. */
static void await_refusal(struct site *site, const char *link, const char *range, unsigned status,
                          const char *reason)
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    const struct answer *answer = fetch(site, link, .range = range);
    while (answer->status != status && harness_now_ms() < deadline_ms) {
        harness_pause();
        answer = fetch(site, link, .range = range);
    }
    answer_expect_refusal(site, answer, status, reason);
}

Test(uses, a_browsers_prefetch_by_head_and_its_probe_take_none_from_the_download)
{
    struct site *site = site_create();
    site_account_open_prepaid(site, "alice", 100u * 1000 * 1000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_SHORT, ONE_USE("order-1"));
    for (int i = 0; i < 3; i++)
        cr_assert_eq(fetch(site, link, .method = "HEAD")->status, 200);
    answer_expect_bytes(site, fetch(site, link, .range = "0-1"), TRACK_SHORT, 0, 2);
    answer_expect_file(site, fetch(site, link), TRACK_SHORT);
    const struct answer *again = fetch(site, link, .headers = HEADERS("If-None-Match: *"));
    cr_expect_eq(again->status, 304);
    site_usage_await(site, "alice", size_of(site, TRACK_SHORT) + 2);
    site_destroy(&site);
}

Test(uses, a_scanner_that_fetches_first_does_not_lock_the_user_out)
{
    struct site *site = site_create();
    site_account_open_prepaid(site, "alice", 100u * 1000 * 1000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_SHORT, ONE_USE("order-1"));
    answer_expect_file(site, fetch(site, link, .source = "127.0.0.9", .fresh = true), TRACK_SHORT);
    answer_expect_file(site, fetch(site, link, .fresh = true), TRACK_SHORT);
    /* Each delivered byte is billed, also those that the scanner took. */
    site_usage_await(site, "alice", 2 * size_of(site, TRACK_SHORT));
    site_destroy(&site);
}

Test(uses, a_download_in_eight_segments_is_one_use)
{
    enum { SEGMENTS = 8 };
    struct site *site = site_create();
    site_account_open_prepaid(site, "alice", 1000u * 1000 * 1000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_LONG, ONE_USE("order-1"));
    const char *targets[SEGMENTS];
    struct fetch_options options[SEGMENTS] = {{0}};
    const struct answer *answers[SEGMENTS];
    size_t size = size_of(site, TRACK_LONG), part = size / SEGMENTS;
    for (size_t i = 0; i < SEGMENTS; i++) {
        targets[i] = link;
        options[i].range =
            range_text(site, i * part, i + 1 < SEGMENTS ? (i + 1) * part - 1 : size - 1);
    }
    fetch_parallel(site, targets, options, SEGMENTS, answers);
    for (size_t i = 0; i < SEGMENTS; i++)
        answer_expect_bytes(site, answers[i], TRACK_LONG, i * part,
                            i + 1 < SEGMENTS ? part : size - i * part);
    site_usage_await(site, "alice", size);
    site_destroy(&site);
}

Test(uses, a_phone_that_changes_its_address_goes_on)
{
    struct site *site = site_create();
    site_account_open_prepaid(site, "alice", 100u * 1000 * 1000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_LONG, ONE_USE("order-1"));
    size_t size = size_of(site, TRACK_LONG);
    answer_expect_bytes(
        site, fetch(site, link, .range = "0-999999", .source = "127.0.0.7", .fresh = true),
        TRACK_LONG, 0, 1000000);
    answer_expect_bytes(site,
                        fetch(site, link, .range = range_text(site, 1000000, size - 1),
                              .source = "127.0.0.8", .fresh = true),
                        TRACK_LONG, 1000000, size - 1000000);
    site_usage_await(site, "alice", size);
    site_destroy(&site);
}

Test(uses, a_save_dialog_that_was_cancelled_costs_no_use)
{
    /* The window of the cancelled download ends before the user comes back. */
    struct site *site = site_create(.settings = "use_window_s: 1\n");
    site_account_open_prepaid(site, "alice", 100u * 1000 * 1000);
    uint64_t billed = 0;
    bool told = false;
    /* If the client's reset came too late, some bytes arrived, and the test tries again. */
    for (int attempt = 0; attempt < 10 && !told; attempt++) {
        const char *link =
            site_link(site, .account = "alice", .path = TRACK_SHORT,
                      .jti = site_format(site, "order-%d", attempt), .limits = {.max_uses = 1});
        int fd = raw_connect(site, 0);
        raw_print(fd, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", link);
        raw_reset(fd);
        uint64_t until_ms = harness_now_ms() + 1500, before = billed;
        while (harness_now_ms() < until_ms)
            harness_pause();
        billed = site_usage(site, "alice").bytes;
        if (billed != before)
            continue;
        answer_expect_file(site, fetch(site, link), TRACK_SHORT);
        told = true;
    }
    cr_assert(told, "no reset ever came before the first byte");
    site_destroy(&site);
}

Test(uses, two_people_who_share_a_one_use_link_get_three_times_the_file_between_them)
{
    struct site *site = site_create();
    site_account_open_prepaid(site, "alice", 100u * 1000 * 1000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_SHORT, ONE_USE("order-1"));
    size_t size = size_of(site, TRACK_SHORT);
    for (int i = 0; i < 3; i++)
        answer_expect_file(site, fetch(site, link, .fresh = true), TRACK_SHORT);
    await_refusal(site, link, "0-0", 410, "link_used_up");
    uint64_t billed = site_usage_settled(site, "alice");
    cr_expect_geq(billed, 3 * size);
    cr_expect_lt(billed, 3 * size + 1000, "%llu bytes", (unsigned long long)billed);
    site_destroy(&site);
}

Test(uses, forty_requests_at_once_are_not_one_download)
{
    enum { COUNT = 40 };
    struct site *site = site_create();
    site_account_open_prepaid(site, "alice", 1000u * 1000 * 1000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_LONG, ONE_USE("order-1"));
    const char *targets[COUNT];
    struct fetch_options options[COUNT] = {{0}};
    const struct answer *answers[COUNT];
    size_t served = 0;
    for (size_t i = 0; i < COUNT; i++)
        targets[i] = link;
    fetch_parallel(site, targets, options, COUNT, answers);
    for (size_t i = 0; i < COUNT; i++) {
        served += answers[i]->status == 200;
        cr_expect(answers[i]->status == 200 || answers[i]->status == 429 ||
                      answers[i]->status == 410,
                  "status %u", answers[i]->status);
    }
    cr_expect(served >= 3 && served <= 4, "%zu whole files", served);
    site_destroy(&site);
}

Test(uses, each_path_of_an_album_link_has_its_own)
{
    struct site *site = site_create(.settings = "use_window_s: 1\n");
    site_account_open_prepaid(site, "alice", 1000u * 1000 * 1000);
    const char *short_link = site_link(site, .account = "alice", .path = TRACK_SHORT,
                                       .container = "prefix:/albums/", ONE_USE("order-1"));
    const char *token = strchr(short_link, '?');
    answer_expect_file(site, fetch(site, short_link), TRACK_SHORT);
    await_refusal(site, short_link, "0-0", 410, "link_used_up");
    char encoded[512];
    cr_assert_gt(token_path_encode(TRACK_LONG, strlen(TRACK_LONG), encoded, sizeof(encoded)), 0);
    answer_expect_file(site, fetch(site, site_format(site, "%s%s", encoded, token)), TRACK_LONG);
    site_destroy(&site);
}

Test(uses, there_are_as_many_as_max_uses_says_and_a_new_token_of_the_jti_adds_none)
{
    struct site *site = site_create(.settings = "use_window_s: 1\n");
    site_account_open_prepaid(site, "alice", 100u * 1000 * 1000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY, .jti = "order-1",
                                 .limits = {.max_uses = 2});
    size_t size = size_of(site, TRACK_TINY);
    answer_expect_file(site, fetch(site, link), TRACK_TINY);
    site_usage_await(site, "alice", size);
    uint64_t until_ms = harness_now_ms() + 1200; /* the first use's window ends */
    while (harness_now_ms() < until_ms)
        harness_pause();
    answer_expect_file(site, fetch(site, link), TRACK_TINY);
    await_refusal(site, link, NULL, 410, "link_used_up");
    const char *again = site_link(site, .account = "alice", .path = TRACK_TINY, .jti = "order-1",
                                  .expires_in_s = 7200, .limits = {.max_uses = 2});
    answer_expect_refusal(site, fetch(site, again), 410, "link_used_up");
    const char *other = site_link(site, .account = "alice", .path = TRACK_TINY, .jti = "order-2",
                                  .limits = {.max_uses = 2});
    answer_expect_file(site, fetch(site, other), TRACK_TINY);
    site_destroy(&site);
}

static void wait_until(uint64_t until_ms)
{
    while (harness_now_ms() < until_ms)
        harness_pause();
}

/* One use ends and the next begins between two marks of the journal. */
Test(uses, what_arrived_before_a_new_one_began_belongs_to_the_old_one)
{
    enum { USE_MS = 3000, IDLE_MS = 2300 /* the window has ended, and Redis is asked */ };
    struct site *site = site_create(.settings = "use_window_s: 3\njournal_mark_ms: 1000\n");
    site_account_open_prepaid(site, "alice", 1000u * 1000 * 1000);
    bool told = false;
    /* An attempt that took longer than a use lasts shows nothing, so the test tries again. */
    for (int attempt = 0; attempt < 15 && !told; attempt++) {
        const char *link =
            site_link(site, .account = "alice", .path = TRACK_SHORT,
                      .jti = site_format(site, "order-%d", attempt), .limits = {.max_uses = 2});
        uint64_t first_ms = harness_now_ms();
        answer_expect_bytes(site, fetch(site, link, .range = "0-0"), TRACK_SHORT, 0, 1);
        uint64_t over_ms = harness_now_ms() + USE_MS;
        wait_until(first_ms + USE_MS - 600);
        (void)site_usage(site, "alice"); /* makes a mark; the next one comes a second later */
        unsigned whole = 0;
        for (int i = 0; i < 3; i++)
            whole += fetch(site, link, .fresh = true)->status == 200;
        if (whole < 3 || harness_now_ms() >= first_ms + USE_MS)
            continue;
        wait_until(over_ms + 10);
        uint64_t second_ms = harness_now_ms();
        answer_expect_bytes(site, fetch(site, link, .range = "0-0"), TRACK_SHORT, 0, 1);
        wait_until(harness_now_ms() + IDLE_MS);
        const struct answer *answer = fetch(site, link, .range = "0-0");
        if (harness_now_ms() >= second_ms + USE_MS)
            continue;
        answer_expect_bytes(site, answer, TRACK_SHORT, 0, 1);
        told = true;
    }
    cr_assert(told, "no attempt was within its times");
    site_destroy(&site);
}

Test(uses, a_resume_goes_on_after_exp_and_a_new_download_does_not_begin)
{
    struct site *site = site_create();
    site_account_open_prepaid(site, "alice", 100u * 1000 * 1000);
    struct token_limits resume = {.resume_s = 3600};
    const char *link = site_link(site, .account = "alice", .path = TRACK_SHORT, .expires_in_s = 5,
                                 .limits = resume);
    const char *unbegun = site_link(site, .account = "alice", .path = TRACK_TINY, .expires_in_s = 5,
                                    .limits = resume);
    const char *plain = site_link(site, .account = "alice", .path = TRACK_SHORT, .expires_in_s = 5);
    size_t size = size_of(site, TRACK_SHORT);
    answer_expect_bytes(site, fetch(site, link, .range = "0-9999"), TRACK_SHORT, 0, 10000);
    answer_expect_bytes(site, fetch(site, plain, .range = "0-9999"), TRACK_SHORT, 0, 10000);
    await_refusal(site, plain, "0-0", 410, "expired");
    /* After this time the node has forgotten the window, but Redis has not. */
    uint64_t until_ms = harness_now_ms() + 3500;
    while (harness_now_ms() < until_ms)
        harness_pause();
    answer_expect_bytes(site, fetch(site, link, .range = "10000-"), TRACK_SHORT, 10000,
                        size - 10000);
    answer_expect_refusal(site, fetch(site, link), 410, "expired");
    answer_expect_refusal(site, fetch(site, unbegun, .range = "0-99"), 410, "expired");
    site_destroy(&site);
}

/* Reads little and resets, so that most of what was sent is never acknowledged. */
static void leave_unacknowledged(struct site *site, const char *link)
{
    int fd = raw_connect(site, 2048);
    raw_print(fd, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", link);
    const struct answer *answer = raw_answer_head(site, fd);
    cr_assert(answer->status == 200 || answer->status == 429, "status %u", answer->status);
    raw_reset(fd);
}

/* Leaves five responses of the link, and asks again for a while; the last answer. The node counts them
 * at a worker's next turn, and by the minute, so that a minute that ends meanwhile has too few. */
static const struct answer *answer_after_five(struct site *site, const char *link)
{
    const struct answer *answer;
    for (int i = 0; i < 5; i++)
        leave_unacknowledged(site, link);
    for (int tries = 0; (answer = fetch(site, link, .range = "0-99"))->status == 206 && tries < 50;
         tries++)
        harness_pause();
    return answer;
}

Test(uses, a_client_that_never_acknowledges_is_told_429_and_its_use_is_taken)
{
    struct site *first =
        site_create(.own_redis = true, .settings = "unacknowledged_max: 3\nuse_window_s: 1\n");
    struct site *second = site_create(.beside = first, .redis = site_redis_address(first),
                                      .node = "second-node", .settings = "use_window_s: 1\n");
    site_account_open_prepaid(first, "alice", 1000u * 1000 * 1000);
    const char *link = NULL, *other = site_link(first, .account = "alice", .path = TRACK_LONG,
                                                ONE_USE("another"));
    const struct answer *answer = NULL;
    for (int attempt = 0; attempt < 3 && (answer == NULL || answer->status == 206); attempt++) {
        link = site_link(first, .account = "alice", .path = TRACK_LONG,
                         .jti = site_format(first, "order-%d", attempt), .limits = {.max_uses = 1});
        answer = answer_after_five(first, link);
    }
    answer_expect_refusal(first, answer, 429, "too_many_unacknowledged");
    cr_expect_not_null(answer_header(first, answer, "Retry-After"));
    cr_expect_eq(fetch(first, other, .range = "0-99")->status, 206, "another link is harmed");
    /* The second node has seen no unacknowledged bytes of the client, but the use is spent. */
    await_refusal(second, link, "0-99", 410, "link_used_up");
    site_destroy(&second);
    site_destroy(&first);
}

Test(uses, are_known_to_every_node_and_outlive_a_redis_that_lost_all)
{
    struct site *first = site_create(.own_redis = true, .settings = "use_window_s: 1\n");
    struct site *second = site_create(.beside = first, .redis = site_redis_address(first),
                                      .node = "second-node", .settings = "use_window_s: 1\n");
    site_account_open_prepaid(first, "alice", 100u * 1000 * 1000);
    const char *link = site_link(first, .account = "alice", .path = TRACK_TINY, ONE_USE("order-1"));
    answer_expect_file(first, fetch(first, link), TRACK_TINY);
    await_refusal(second, link, NULL, 410, "link_used_up");
    site_redis_command(first, "FLUSHALL");
    /* Until the journal is replayed, the account is unknown or the node not ready. */
    await_refusal(second, link, NULL, 410, "link_used_up");
    await_refusal(first, link, NULL, 410, "link_used_up");
    site_destroy(&second);
    site_destroy(&first);
}
