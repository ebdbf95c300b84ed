/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Money: what a prepaid account can and cannot download, transactions that may be repeated, and a
 * stop of the node that loses nothing.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/harness.h"

static size_t size_of(struct site *site, const char *path)
{
    size_t length;
    site_media_bytes(site, path, &length);
    return length;
}

Test(billing, lets_a_prepaid_account_spend_its_balance_to_the_last_byte_and_no_more)
{
    struct site *site = site_create();
    size_t size = size_of(site, TRACK_VBR);
    site_account_open_prepaid(site, "alice", 3 * size);
    const char *link = site_link(site, .account = "alice", .path = TRACK_VBR);
    for (int i = 0; i < 3; i++)
        answer_expect_file(site, fetch(site, link), TRACK_VBR);
    site_usage_await(site, "alice", 3 * size);
    answer_expect_refusal(site, fetch(site, link), 402, "balance_insufficient");
    answer_expect_refusal(site, fetch(site, link, .range = "0-0"), 402, "balance_insufficient");
    cr_assert_eq(site_usage_settled(site, "alice"), 3 * size);
    site_destroy(&site);
}

Test(billing, shares_one_reservation_between_parallel_ranges_of_one_link)
{
    enum { COUNT = 8 };
    struct site *site = site_create();
    size_t size = size_of(site, TRACK_LONG);
    site_account_open_prepaid(site, "alice", size);
    const char *link = site_link(site, .account = "alice", .path = TRACK_LONG);
    const char *links[COUNT];
    struct fetch_options options[COUNT] = {{0}};
    const struct answer *answers[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        links[i] = link;
        options[i].range =
            site_format(site, "%zu-%zu", i * size / COUNT, (i + 1) * size / COUNT - 1);
    }
    fetch_parallel(site, links, options, COUNT, answers);
    for (size_t i = 0; i < COUNT; i++) {
        cr_assert_eq(answers[i]->status, 206, "range %zu is answered %u", i, answers[i]->status);
        answer_expect_bytes(site, answers[i], TRACK_LONG, i * size / COUNT,
                            (i + 1) * size / COUNT - i * size / COUNT);
    }
    site_usage_await(site, "alice", size);
    answer_expect_refusal(site, fetch(site, link), 402, "balance_insufficient");
    site_destroy(&site);
}

Test(billing, never_overspends_a_balance_that_many_links_compete_for)
{
    enum { COUNT = 12 };
    struct site *site = site_create();
    static const char *const tracks[] = {TRACK_TINY, TRACK_VBR, TRACK_SHORT};
    size_t balance = size_of(site, TRACK_SHORT) + size_of(site, TRACK_VBR);
    site_account_open_prepaid(site, "alice", balance);
    const char *links[COUNT];
    struct fetch_options options[COUNT] = {{0}};
    const struct answer *answers[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        /* Links that differ in exp are different links, which share nothing. */
        links[i] = site_link(site, .account = "alice", .path = tracks[i % 3],
                             .expires_in_s = 1000 + (int)i);
    }
    fetch_parallel(site, links, options, COUNT, answers);
    uint64_t received = 0;
    unsigned served = 0;
    for (size_t i = 0; i < COUNT; i++) {
        if (answers[i]->status == 402)
            continue;
        answer_expect_file(site, answers[i], tracks[i % 3]);
        received += answers[i]->body_length;
        served++;
    }
    cr_assert_geq(served, 1);
    cr_assert_leq(received, balance);
    site_usage_await(site, "alice", received);
    site_destroy(&site);
}

Test(billing, serves_again_after_a_top_up)
{
    struct site *site = site_create();
    size_t size = size_of(site, TRACK_TINY);
    site_account_open_prepaid(site, "alice", 10);
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    answer_expect_refusal(site, fetch(site, link), 402, "balance_insufficient");
    site_account_top_up(site, "alice", size - 10);
    answer_expect_file(site, fetch(site, link), TRACK_TINY);
    site_usage_await(site, "alice", size);
    site_destroy(&site);
}

Test(billing, counts_a_transaction_once)
{
    struct site *site = site_create();
    size_t size = size_of(site, TRACK_TINY);
    site_account_open_prepaid(site, "alice", 0);
    const char *body = site_format(site, "{\"bytes\":%zu,\"transaction\":\"same\"}", size);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(site_admin(site, "POST", "/v1/accounts/shop/alice/top-up", body)->status, 200);
    /* The same transaction with another amount is the storefront's mistake and answered as such. */
    cr_assert_eq(site_admin(site, "POST", "/v1/accounts/shop/alice/top-up",
                            "{\"bytes\":1,\"transaction\":\"same\"}")
                     ->status,
                 409);
    cr_assert_eq(site_balance(site, "alice").balance, (int64_t)size);
    site_destroy(&site);
}

Test(billing, gives_back_what_was_reserved_and_not_sent)
{
    struct site *site =
        site_create(.settings = "grant_validity_ms: 2000\nadmission_timeout_ms: 2000\n");
    size_t size = size_of(site, TRACK_LONG);
    site_account_open_prepaid(site, "alice", size);
    const char *link = site_link(site, .account = "alice", .path = TRACK_LONG);
    const struct answer *answer = fetch(site, link, .range = "0-999");
    cr_assert_eq(answer->status, 206);
    site_usage_await(site, "alice", 1000);
    const char *other = site_link(site, .account = "alice", .path = TRACK_VBR);
    /* An account that can pay is not refused because of bytes that an idle window still holds. */
    answer_expect_file(site, fetch(site, other), TRACK_VBR);
    site_await_nothing_reserved(site, "alice");
    cr_assert_eq(site_balance(site, "alice").balance,
                 (int64_t)(size - 1000 - size_of(site, TRACK_VBR)));
    site_destroy(&site);
}

Test(billing, has_the_usage_right_after_a_restart)
{
    struct site *site = site_create();
    size_t size = size_of(site, TRACK_SHORT);
    site_account_open_prepaid(site, "alice", 2 * size);
    const char *link = site_link(site, .account = "alice", .path = TRACK_SHORT);
    answer_expect_file(site, fetch(site, link), TRACK_SHORT);
    site_node_signal(site, SIGTERM);
    cr_assert_eq(site_node_wait(site), 0);
    site_node_start(site);
    site_node_await_ready(site);
    cr_assert_eq(site_usage(site, "alice").bytes, size);
    /* Bytes that were reserved and not spent have come back. */
    answer_expect_file(site, fetch(site, link), TRACK_SHORT);
    site_usage_await(site, "alice", 2 * size);
    answer_expect_refusal(site, fetch(site, link), 402, "balance_insufficient");
    site_destroy(&site);
}

Test(billing, finishes_a_transfer_under_way_when_it_is_told_to_stop)
{
    struct site *site = site_create(.own_media = true);
    site_account_open_postpaid(site, "alice");
    site_media_add(site, "/long.mp3", TRACK_LONG, 4);
    size_t size = size_of(site, "/long.mp3");
    const char *link = site_link(site, .account = "alice", .path = "/long.mp3");
    int fd = raw_connect(site, 65536);
    raw_print(fd, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", link);
    const struct answer *answer = raw_answer_head(site, fd);
    cr_assert_eq(answer->status, 200);
    unsigned char *body = malloc(size);
    cr_assert_eq(raw_read(fd, body, 100000), 100000);
    site_node_signal(site, SIGTERM);
    site_log_await(site, "stop");
    cr_assert_eq(raw_read(fd, body + 100000, size - 100000), size - 100000,
                 "the transfer was cut by the stop");
    size_t expected;
    cr_assert(memcmp(body, site_media_bytes(site, "/long.mp3", &expected), size) == 0);
    free(body);
    cr_assert_eq(site_node_wait(site), 0);
    close(fd);
    site_node_start(site);
    site_node_await_ready(site);
    cr_assert_eq(site_usage(site, "alice").bytes, size);
    site_destroy(&site);
}

Test(billing, is_by_day_and_file)
{
    struct site *site = site_create();
    site_account_open_postpaid(site, "alice");
    site_account_open_postpaid(site, "bob");
    fetch(site, site_link(site, .account = "alice", .path = TRACK_TINY));
    fetch(site, site_link(site, .account = "alice", .path = TRACK_VBR));
    fetch(site, site_link(site, .account = "bob", .path = TRACK_TINY));
    site_usage_await(site, "alice", size_of(site, TRACK_TINY) + size_of(site, TRACK_VBR));
    site_usage_await(site, "bob", size_of(site, TRACK_TINY));
    const struct answer *answer = site_admin(site, "GET", "/v1/accounts/shop/alice/usage", NULL);
    cr_assert_eq(answer->status, 200);
    cr_assert(strstr((const char *)answer->body, TRACK_TINY), "%s", (const char *)answer->body);
    site_destroy(&site);
}
