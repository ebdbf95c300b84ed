/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Funds: a response takes what it needs when it begins and gives back what is left of it, however
 * its account's limits change meanwhile. So no response begins with bytes that another still needs,
 * no limit is passed, and at the end nothing stays reserved.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/integration/harness.h"

#define BIG    "/big.mp3"
#define COPIES 8 /* of TRACK_LONG: 40 MB, more than sockets hold */

static struct site *site_with_a_big_file(const char *settings, size_t *size)
{
    struct site *site = site_create(.own_media = true, .settings = settings);
    site_media_add(site, BIG, TRACK_LONG, COPIES);
    (void)site_media_bytes(site, BIG, size);
    return site;
}

static void limit_bytes(struct site *site, const char *account, size_t max_bytes)
{
    struct command_result result =
        site_tollgate(site, "account", "limit", site_format(site, "shop/%s", account),
                      "--max-bytes", site_format(site, "%zu", max_bytes));
    cr_assert_eq(result.exit_code, 0, "%s%s", result.output, result.errors);
}

/* Asks for bytes first..last and reads only the head. */
static int begin(struct site *site, const char *link, size_t first, size_t last)
{
    int fd = raw_connect(site, 0);
    raw_print(fd, "GET %s HTTP/1.1\r\nHost: a\r\nRange: bytes=%zu-%zu\r\n\r\n", link, first, last);
    cr_assert_eq(raw_answer_head(site, fd)->status, 206);
    return fd;
}

/* Reads `length` bytes. */
static void read_and_pause(int fd, size_t length)
{
    char *bytes = malloc(length);
    cr_assert_eq(raw_read(fd, bytes, length), length);
    free(bytes);
}

/* Waits until the sockets are full: for a second the node neither hands on nor counts as acknowledged a
 * byte. Returns how many bytes the client's kernel has not acknowledged: some 100 kB and more, if the
 * client has read for a while before. */
static uint64_t await_full(struct site *site)
{
    uint64_t handed = 0, acknowledged = 0, calm_ms = harness_now_ms();
    while (harness_now_ms() < calm_ms + 1000) {
        uint64_t handed_before = handed, acknowledged_before = acknowledged;
        handed = site_traffic(site, "bytes_handed");
        acknowledged = site_traffic(site, "bytes_acknowledged");
        if (handed != handed_before || acknowledged != acknowledged_before)
            calm_ms = harness_now_ms();
        harness_pause();
    }
    return handed - acknowledged;
}

/* ---- beginning ---- */

Test(funds, of_a_response_under_way_are_not_anothers_to_begin_on)
{
    size_t size;
    struct site *site = site_with_a_big_file("workers: 2\n", &size);
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = BIG,
                                 .limits = {.max_bytes = 1000000, .rate = 300000});
    int fd = begin(site, link, 0, 599999);
    /* The response has hardly begun, but 600,000 bytes are taken for it and 400,000 are left. */
    for (int i = 0; i < 2; i++)
        answer_expect_refusal(site, fetch(site, link, .range = "0-400000", .fresh = true), 410,
                              "link_bytes_used_up");
    read_and_pause(fd, 600000);
    answer_expect_bytes(site, fetch(site, link, .range = "0-399999", .fresh = true), BIG, 0,
                        400000);
    answer_expect_refusal(site, fetch(site, link, .range = "0-0", .fresh = true), 410,
                          "link_bytes_used_up");
    site_usage_await(site, "alice", 1000000);
    close(fd);
    site_destroy(&site);
}

Test(funds, of_a_balance_are_taken_by_as_many_at_once_as_it_pays_for)
{
    enum { COUNT = 24, PART = 300000, PAID = 7 };
    size_t size;
    struct site *site = site_with_a_big_file("workers: 3\n", &size);
    site_account_open_prepaid(site, "alice", PAID * PART + PART / 2);
    const char *targets[COUNT];
    struct fetch_options options[COUNT] = {{0}};
    const struct answer *answers[COUNT];
    size_t served = 0;
    for (size_t i = 0; i < COUNT; i++) { /* three links, eight responses each */
        targets[i] =
            site_link(site, .account = "alice", .path = BIG,
                      .jti = site_format(site, "order-%zu", i % 3), .limits = {.rate = 2000000});
        options[i].range = i % 2 == 0 ? "0-299999" : "0-99999,200000-399999";
    }
    fetch_parallel(site, targets, options, COUNT, answers);
    for (size_t i = 0; i < COUNT; i++) {
        served += answers[i]->status == 206;
        cr_expect(answers[i]->status != 206 || answers[i]->complete, "answer %zu was cut", i);
        if (answers[i]->status != 206)
            answer_expect_refusal(site, answers[i], 402, "balance_insufficient");
    }
    cr_expect_eq(served, PAID, "%zu were served", served);
    site_usage_await(site, "alice", served * PART);
    site_await_reserved(site, "alice", 0);
    cr_expect_eq(site_balance(site, "alice").balance, PART / 2);
    site_destroy(&site);
}

Test(funds, that_a_download_under_way_does_not_need_pay_for_another_link)
{
    size_t size;
    struct site *site = site_with_a_big_file("workers: 2\n", &size);
    site_account_open_prepaid(site, "alice", 4 * size);
    /* The link's window is granted a quarter of the balance, which is the whole file. */
    const char *link = site_link(site, .account = "alice", .path = BIG, .limits = {.rate = 100000});
    int fd = begin(site, link, 0, 999999);
    const char *other = site_link(site, .account = "alice", .path = BIG, .jti = "order-2");
    int fds[4];
    for (size_t i = 0; i < 4; i++) { /* they do not read, and so hold all of the balance */
        fds[i] = begin(site, other, 0, i < 3 ? size - 1 : size - 1000001);
    }
    answer_expect_refusal(site, fetch(site, other, .range = "0-0"), 402, "balance_insufficient");
    for (size_t i = 0; i < 4; i++)
        raw_reset(fds[i]);
    raw_reset(fd);
    site_await_reserved(site, "alice", 0);
    site_destroy(&site);
}

Test(funds, of_a_response_that_a_seeking_player_leaves_are_waited_for)
{
    size_t size;
    bool waited = false;
    struct site *site = site_with_a_big_file("workers: 2\n", &size);
    site_account_open_prepaid(site, "alice", size);
    const char *link =
        site_link(site, .account = "alice", .path = BIG, .limits = {.rate = 1000000});
    /* A busy machine may pause between the two for longer than the node waits, so try again. */
    for (int attempt = 0; attempt < 10 && !waited; attempt++) {
        int old = begin(site, link, 0, size - 2000000);
        int fd = raw_connect(site, 0);
        raw_print(fd, "GET %s HTTP/1.1\r\nHost: a\r\nRange: bytes=5000000-7999999\r\n\r\n", link);
        raw_reset(old);
        waited = raw_answer_head(site, fd)->status == 206;
        raw_reset(fd);
    }
    cr_expect(waited, "the old response's funds were never waited for");
    site_destroy(&site);
}

/* ---- limits that come and go under way ---- */

Test(funds, of_a_limit_that_came_under_way_get_back_no_more_than_was_taken)
{
    size_t size;
    struct site *site = site_with_a_big_file("workers: 2\n", &size);
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = BIG);
    int fd = begin(site, link, 0, size - 1);
    read_and_pause(fd, 15000000);
    uint64_t unacknowledged = await_full(site);
    uint64_t used = site_usage_settled(site, "alice"), left = size - used;
    cr_assert_gt(unacknowledged, 5000u);
    /* The limit leaves what is not acknowledged yet and 1,000 bytes. */
    limit_bytes(site, "alice", used + left + 1000);
    site_await_reserved(site, "alice", (int64_t)left);
    raw_reset(fd);
    uint64_t now_used = site_usage_settled(site, "alice");
    cr_assert_eq(now_used, used);
    const char *range = site_format(site, "0-%llu", (unsigned long long)(left + 1000));
    answer_expect_refusal(site, fetch(site, link, .range = range), 402, "account_bytes_used_up");
    site_await_reserved(site, "alice", 0);
    range = site_format(site, "0-%llu", (unsigned long long)(left + 999));
    answer_expect_bytes(site, fetch(site, link, .range = range), BIG, 0, left + 1000);
    answer_expect_refusal(site, fetch(site, link, .range = "0-0"), 402, "account_bytes_used_up");
    site_await_reserved(site, "alice", 0);
    cr_expect_eq(site_balance(site, "alice").used, (int64_t)(used + left + 1000));
    site_destroy(&site);
}

Test(funds, of_a_limit_that_went_under_way_are_given_back)
{
    size_t size;
    struct site *site = site_with_a_big_file("workers: 2\n", &size);
    site_account_open_postpaid(site, "alice");
    for (int reads_on = 0; reads_on < 2; reads_on++) {
        limit_bytes(site, "alice", 10 * size);
        const char *link = site_link(site, .account = "alice", .path = BIG,
                                     .jti = site_format(site, "order-%d", reads_on));
        int fd = begin(site, link, 0, size - 1);
        read_and_pause(fd, 15000000);
        cr_assert_gt(await_full(site), 5000u);
        uint64_t granted = site_traffic(site, "admissions_granted");
        limit_bytes(site, "alice", 0);
        uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
        while (site_traffic(site, "admissions_granted") == granted) {
            cr_assert(harness_now_ms() < deadline_ms, "the node does not ask again");
            harness_pause();
        }
        if (reads_on)
            read_and_pause(fd, 5000000); /* bytes that no fund pays for */
        raw_reset(fd);
        site_await_reserved(site, "alice", 0);
    }
    /* A new limit can be used up to its last byte. */
    const char *link = site_link(site, .account = "alice", .path = BIG);
    uint64_t used = site_usage_settled(site, "alice");
    limit_bytes(site, "alice", used + size);
    answer_expect_file(site, fetch(site, link), BIG);
    answer_expect_refusal(site, fetch(site, link, .range = "0-0"), 402, "account_bytes_used_up");
    site_destroy(&site);
}

Test(funds, of_a_link_pay_for_no_limit_of_its_account)
{
    size_t size;
    struct site *site = site_with_a_big_file("workers: 2\n", &size);
    site_account_open_postpaid(site, "alice");
    const char *link =
        site_link(site, .account = "alice", .path = BIG, .limits = {.max_bytes = size});
    const char *other = site_link(site, .account = "alice", .path = BIG, .jti = "order-2");
    int first = begin(site, link, 0, size - 1);
    read_and_pause(first, 15000000);
    cr_assert_gt(await_full(site), 5000u);
    uint64_t used = site_usage_settled(site, "alice"), left = size - used;
    /* The response holds all of the link's bytes. The account has enough for it and for another. */
    limit_bytes(site, "alice", used + left + 3000000);
    site_await_reserved(site, "alice", (int64_t)left);
    int second = begin(site, other, 0, 2999999);
    raw_reset(first);
    /* What the first response gives back must not reduce what the second holds. */
    const char *range = site_format(site, "0-%llu", (unsigned long long)left);
    answer_expect_refusal(site, fetch(site, link, .range = range), 402, "account_bytes_used_up");
    read_and_pause(second, 3000000);
    close(second);
    range = site_format(site, "0-%llu", (unsigned long long)left - 1);
    answer_expect_bytes(site, fetch(site, link, .range = range), BIG, 0, left);
    answer_expect_refusal(site, fetch(site, link, .range = "0-0"), 402, "account_bytes_used_up");
    site_await_reserved(site, "alice", 0);
    cr_expect_eq(site_balance(site, "alice").used, (int64_t)(used + left + 3000000));
    site_destroy(&site);
}
