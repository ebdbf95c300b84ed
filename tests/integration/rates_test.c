/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limits that a node keeps over all its connections and workers: rate, max_conns and max_bytes
 * of a link and of its account, of which the tighter counts, and pace. A rate is judged by the
 * share of its bytes that arrived in five seconds, and by what has come since it was asked for.
 */
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/integration/harness.h"

#define CONNECTIONS_MAX 16
#define SECONDS         5
#define ATTEMPTS        6 /* of measurements that a busy machine may spoil */
#define BIG             "/big.mp3"

static struct site *site_with_a_big_file(const char *settings)
{
    struct site *site = site_create(.own_media = true, .settings = settings);
    site_media_add(site, BIG, TRACK_LONG, 20); /* 100 MB */
    site_account_open_prepaid(site, "alice", 100ull * 1000 * 1000 * 1000);
    return site;
}

static int begin(struct site *site, const char *link)
{
    int fd = raw_connect(site, 0);
    raw_print(fd, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", link);
    cr_assert_eq(raw_answer_head(site, fd)->status, 200);
    return fd;
}

/* Reads what has come on any of the connections; returns how many bytes. A connection that ends
 * fails the test. */
static uint64_t read_some(const int *fds, size_t count, int timeout_ms)
{
    static char bytes[1 << 18];
    struct pollfd items[CONNECTIONS_MAX];
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++)
        items[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    poll(items, count, timeout_ms);
    for (size_t i = 0; i < count; i++) {
        if (!(items[i].revents & (POLLIN | POLLHUP | POLLERR)))
            continue;
        ssize_t got = recv(fds[i], bytes, sizeof(bytes), MSG_DONTWAIT);
        cr_assert(got > 0, "connection %zu ended", i);
        total += (uint64_t)got;
    }
    return total;
}

struct measured {
    double share;   /* of the rate, in five seconds once all connections have begun */
    double at_most; /* of what the rate allows since the first request was sent, over all */
};

static struct measured measure(struct site *site, const char *link, size_t count, double rate)
{
    int fds[CONNECTIONS_MAX];
    uint64_t asked_ms = harness_now_ms(), before = 0, bytes = 0;
    for (size_t i = 0; i < count; i++)
        fds[i] = begin(site, link);
    uint64_t settle_ms = harness_now_ms() + 500;
    while (harness_now_ms() < settle_ms)
        before += read_some(fds, count, 20);
    uint64_t begun_ms = harness_now_ms(), now_ms = begun_ms;
    while (now_ms < begun_ms + SECONDS * 1000) {
        bytes += read_some(fds, count, 20);
        now_ms = harness_now_ms();
    }
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
    return (struct measured){.share = (double)bytes * 1000 / (double)(now_ms - begun_ms) / rate,
                             .at_most = (double)(before + bytes) * 1000 /
                                        (double)(now_ms - asked_ms) / rate};
}

/* Since the first request no more may ever have come than the rate allows, however busy the machine is.
 * The best of several measurements must reach the rate, because a busy machine slows some of them. */
static void expect_rate(struct site *site, const char *link, size_t connections, double rate)
{
    double best = 0;
    for (int attempt = 0; attempt < ATTEMPTS && best < 0.95; attempt++) {
        struct measured measured = measure(site, link, connections, rate);
        printf("%zu connections: %.3f of the rate\n", connections, measured.share);
        cr_assert_leq(measured.at_most, 1.05, "%zu connections bring %.3f of the rate", connections,
                      measured.at_most);
        best = measured.share > best ? measured.share : best;
    }
    cr_expect_geq(best, 0.95, "%zu connections bring %.3f of the rate", connections, best);
}

Test(rates, of_a_link_is_held_over_one_four_and_sixteen_connections)
{
    struct site *site = site_with_a_big_file("workers: 2\n");
    static const size_t counts[] = {1, 4, 16};
    for (size_t i = 0; i < 3; i++) {
        const char *link =
            site_link(site, .account = "alice", .path = BIG,
                      .jti = site_format(site, "order-%zu", i), .limits = {.rate = 2000000});
        expect_rate(site, link, counts[i], 2000000);
    }
    site_destroy(&site);
}

Test(rates, of_an_account_is_held_over_its_links_and_the_tighter_one_counts)
{
    struct site *site = site_with_a_big_file("workers: 2\n");
    struct command_result result =
        site_tollgate(site, "account", "limit", "shop/alice", "--rate", "1MB");
    cr_assert_eq(result.exit_code, 0, "%s", result.errors);
    const char *free_link = site_link(site, .account = "alice", .path = BIG);
    const char *slow_link =
        site_link(site, .account = "alice", .path = BIG, .limits = {.rate = 400000});
    expect_rate(site, free_link, 4, 1000000);
    expect_rate(site, slow_link, 4, 400000);
    site_destroy(&site);
}

/* Reads for four seconds from several connections of a link. Returns what the least of them got as a
 * share of what the most of them got. */
static double least_share(struct site *site, const char *link)
{
    enum { COUNT = 4 };
    int fds[COUNT];
    uint64_t bytes[COUNT] = {0}, least = UINT64_MAX, most = 0;
    for (size_t i = 0; i < COUNT; i++)
        fds[i] = begin(site, link);
    for (uint64_t until_ms = harness_now_ms() + 4000; harness_now_ms() < until_ms;) {
        for (size_t i = 0; i < COUNT; i++)
            bytes[i] += read_some(&fds[i], 1, 5);
    }
    for (size_t i = 0; i < COUNT; i++) {
        least = bytes[i] < least ? bytes[i] : least;
        most = bytes[i] > most ? bytes[i] : most;
        close(fds[i]);
    }
    return (double)least / (double)most;
}

Test(rates, are_shared_fairly_by_the_connections_of_a_link)
{
    struct site *site = site_with_a_big_file("workers: 2\n");
    const char *link =
        site_link(site, .account = "alice", .path = BIG, .limits = {.rate = 2000000});
    double best = 0;
    for (int attempt = 0; attempt < ATTEMPTS && best <= 0.5; attempt++) {
        double share = least_share(site, link);
        best = share > best ? share : best;
    }
    cr_expect_gt(best, 0.5, "one got %.2f of what another got", best);
    site_destroy(&site);
}

Test(rates, small_answers_do_not_slip_through)
{
    struct site *site = site_with_a_big_file("workers: 2\n");
    const char *link = site_link(site, .account = "alice", .path = BIG, .limits = {.rate = 50000});
    uint64_t begun_ms = harness_now_ms(), bytes = 0;
    while (harness_now_ms() < begun_ms + 3000) {
        const struct answer *answer = fetch(site, link, .range = "0-3999");
        cr_assert_eq(answer->status, 206);
        bytes += answer->body_length;
    }
    double rate = (double)bytes * 1000 / (double)(harness_now_ms() - begun_ms);
    cr_expect_leq(rate, 50000 * 1.1, "%.0f bytes per second", rate);
    site_destroy(&site);
}

/* The file's bytes per second of sound. */
static double bitrate_of(struct site *site, const char *path)
{
    struct command_result shown = site_tollgate(site, "media", "show", "--json", path);
    json_t *facts = json_loads(shown.output, 0, NULL);
    json_int_t bits =
        json_integer_value(json_object_get(json_array_get(facts, 0), "bitrate_bits_per_s"));
    json_decref(facts);
    cr_assert_gt(bits, 0, "%s %s", shown.output, shown.errors);
    return (double)bits / 8;
}

/* Waits until the file is hashed, so that the node knows the bitrate; returns it. */
static double await_bitrate(struct site *site, const char *link)
{
    const struct answer *head = fetch(site, link, .method = "HEAD");
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (answer_header(site, head, "ETag") == NULL && harness_now_ms() < deadline_ms) {
        harness_pause();
        head = fetch(site, link, .method = "HEAD");
    }
    return bitrate_of(site, BIG);
}

static json_int_t files_hashed(struct site *site)
{
    const struct answer *answer = site_admin(site, "GET", "/v1/health", NULL);
    json_t *health = json_loadb((const char *)answer->body, answer->body_length, 0, NULL);
    json_int_t count =
        json_integer_value(json_object_get(json_object_get(health, "media"), "files_hashed"));
    json_decref(health);
    return count;
}

/* Reads for `ms` milliseconds. Returns the bytes per second; *bytes gets the bytes. */
static double read_for(int fd, uint64_t ms, uint64_t *bytes)
{
    uint64_t begun_ms = harness_now_ms();
    *bytes = 0;
    while (harness_now_ms() < begun_ms + ms)
        *bytes += read_some(&fd, 1, 20);
    return (double)*bytes * 1000 / (double)(harness_now_ms() - begun_ms);
}

/* A paced download of the link: whether ten seconds of sound came at once and the rest at the pace. More
 * than that may never have come, however busy the machine is. */
static bool is_paced(struct site *site, const char *link, double heard)
{
    uint64_t asked_ms = harness_now_ms(), burst, late;
    int fd = begin(site, link);
    (void)read_for(fd, 1000, &burst);
    double after = read_for(fd, 4000, &late);
    double seconds = (double)(harness_now_ms() - asked_ms) / 1000;
    printf("burst %.1f s of sound, then %.2f times the bitrate\n", (double)burst / heard,
           after / heard);
    cr_expect_leq((double)(burst + late) / heard, (10 + 2 * seconds) * 1.02, "in %.2f s", seconds);
    close(fd);
    return (double)burst / heard >= 10 && (double)burst / heard <= 14 && after / heard >= 1.8;
}

Test(rates, a_paced_file_comes_at_once_for_ten_seconds_and_then_as_it_is_heard)
{
    struct site *site = site_with_a_big_file("workers: 2\n");
    double heard = await_bitrate(site, site_link(site, .account = "alice", .path = BIG));
    bool is_seen = false;
    for (int attempt = 0; attempt < ATTEMPTS && !is_seen; attempt++)
        is_seen = is_paced(site,
                           site_link(site, .account = "alice", .path = BIG,
                                     .jti = site_format(site, "order-%d", attempt),
                                     .limits = {.pace_thousandth = 2000}),
                           heard);
    cr_expect(is_seen, "it never comes so");
    site_destroy(&site);
}

/* The file is as long as 100 s at the highest bitrate. At that pace, which a file of unknown
 * bitrate has, it would not come in time. */
Test(rates, a_file_that_is_no_MP3_has_no_pace)
{
    struct site *site = site_create(.own_media = true, .settings = "workers: 1\n");
    site_account_open_postpaid(site, "alice");
    FILE *file = fopen(site_media_path(site, "/film.mp4"), "we");
    cr_assert_not_null(file);
    for (unsigned i = 0; i < 4000000; i++)
        putc((int)(i * 2654435761U >> 24), file);
    cr_assert_eq(fclose(file), 0);
    const char *link = site_link(site, .account = "alice", .path = "/film.mp4",
                                 .limits = {.pace_thousandth = 1000});
    answer_expect_file(site, fetch(site, link), "/film.mp4");
    site_destroy(&site);
}

Test(rates, a_pace_of_an_unknown_bitrate_is_set_anew_once_the_file_is_hashed)
{
    static const char path[] = "/slow.mp3"; /* 192 kbit/s; an unknown bitrate counts as 320 */
    struct site *site = site_create(.own_media = true, .settings = "workers: 2\n");
    site_account_open_postpaid(site, "alice");
    const char *link =
        site_link(site, .account = "alice", .path = path, .limits = {.pace_thousandth = 2000});
    site_media_add(site, path, TRACK_SHORT, 10);
    /* The hasher must first read a sparse file of 4 GiB. */
    site_media_add(site, "/holes.mp3", TRACK_TINY, 1);
    cr_assert_eq(truncate(site_media_path(site, "/holes.mp3"), 4ll << 30), 0);
    (void)fetch(site, site_link(site, .account = "alice", .path = "/holes.mp3"), .method = "HEAD");
    int fd = begin(site, link);
    if (files_hashed(site) > 0)
        printf("the hasher was faster: nothing is shown\n");
    uint64_t bytes, deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    (void)read_for(fd, 400, &bytes);
    /* No other request is sent, from which the worker could learn the bitrate. */
    while (files_hashed(site) < 2 && harness_now_ms() < deadline_ms)
        (void)read_for(fd, 50, &bytes);
    double heard = bitrate_of(site, path), after = 0;
    for (int attempt = 0; attempt < ATTEMPTS && (after < 1.7 || after > 2.2); attempt++) {
        (void)read_for(fd, 500, &bytes);
        after = read_for(fd, 3000, &bytes) / heard;
        printf("then %.2f times the bitrate\n", after);
    }
    cr_expect(after >= 1.7 && after <= 2.2, "%.2f times the bitrate", after);
    close(fd);
    site_destroy(&site);
}

/* Reads `count` bytes and fails the test where they do not come before the deadline. */
static void expect_bytes(int fd, uint64_t count)
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS, bytes = 0;
    while (bytes < count && harness_now_ms() < deadline_ms)
        bytes += read_some(&fd, 1, 20);
    cr_expect_geq(bytes, count, "%llu bytes of %llu have come", (unsigned long long)bytes,
                  (unsigned long long)count);
}

Test(rates, tokens_of_one_jti_with_and_without_a_pace_do_not_disturb_each_other)
{
    struct site *site = site_with_a_big_file("workers: 2\n");
    const char *paced_link = site_link(site, .account = "alice", .path = BIG, .jti = "order-1",
                                       .limits = {.pace_thousandth = 2000});
    const char *free_link = site_link(site, .account = "alice", .path = BIG, .jti = "order-1");
    double heard = await_bitrate(site, paced_link);
    uint64_t bytes;
    int paced = begin(site, paced_link);
    (void)read_for(paced, 700, &bytes);
    int free_one = begin(site, free_link);
    double rate = 0;
    for (int attempt = 0; attempt < ATTEMPTS && (rate < 1.7 || rate > 2.2); attempt++) {
        expect_bytes(free_one, 10 * 1000 * 1000);
        (void)read_for(paced, 500, &bytes); /* bytes that had come meanwhile */
        rate = read_for(paced, 2500, &bytes) / heard;
    }
    cr_expect(rate >= 1.7 && rate <= 2.2, "the paced one comes at %.2f times the bitrate", rate);
    int paced_later = begin(site, paced_link);
    expect_bytes(free_one, 20 * 1000 * 1000);
    close(paced);
    close(paced_later);
    close(free_one);
    site_destroy(&site);
}

static void expect_429(struct site *site, const char *link, const char *reason)
{
    const struct answer *answer = fetch(site, link, .range = "0-99", .fresh = true);
    answer_expect_refusal(site, answer, 429, reason);
    cr_expect_not_null(answer_header(site, answer, "Retry-After"));
}

static void await_206(struct site *site, const char *link)
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (fetch(site, link, .range = "0-99", .fresh = true)->status != 206) {
        cr_assert(harness_now_ms() < deadline_ms, "the place is not given back");
        harness_pause();
    }
}

Test(rates, max_conns_of_link_and_account_are_429_beyond_and_given_back)
{
    struct site *site = site_with_a_big_file("workers: 2\n");
    const char *link = site_link(site, .account = "alice", .path = BIG, .jti = "order-1",
                                 .limits = {.max_conns = 2, .rate = 100000});
    const char *other = site_link(site, .account = "alice", .path = BIG, .jti = "order-2");
    int fds[2];
    for (size_t i = 0; i < 2; i++) {
        fds[i] = raw_connect(site, 0);
        raw_print(fds[i], "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", link);
        cr_assert_eq(raw_answer_head(site, fds[i])->status, 200);
    }
    expect_429(site, link, "link_connections");
    await_206(site, other);
    raw_reset(fds[0]);
    await_206(site, link);
    struct command_result result =
        site_tollgate(site, "account", "limit", "shop/alice", "--max-conns", "1");
    cr_assert_eq(result.exit_code, 0, "%s", result.errors);
    /* A push brings the limit to the node. From then on transfers under way count towards it. */
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (fetch(site, other, .range = "0-99", .fresh = true)->status == 206 &&
           harness_now_ms() < deadline_ms)
        harness_pause();
    expect_429(site, other, "account_connections");
    raw_reset(fds[1]);
    await_206(site, other);
    site_destroy(&site);
}

Test(rates, max_bytes_of_a_link_is_never_passed_and_refused_before_any_body)
{
    struct site *site = site_with_a_big_file("workers: 2\n");
    const char *link =
        site_link(site, .account = "alice", .path = BIG, .limits = {.max_bytes = 100000});
    answer_expect_refusal(site, fetch(site, link), 410, "link_bytes_used_up");
    answer_expect_bytes(site, fetch(site, link, .range = "0-59999"), BIG, 0, 60000);
    answer_expect_refusal(site, fetch(site, link, .range = "0-59999"), 410, "link_bytes_used_up");
    answer_expect_bytes(site, fetch(site, link, .range = "0-39999"), BIG, 0, 40000);
    answer_expect_refusal(site, fetch(site, link, .range = "0-0"), 410, "link_bytes_used_up");
    site_usage_await(site, "alice", 100000);
    site_destroy(&site);
}

Test(rates, max_bytes_of_a_link_holds_over_connections_at_once)
{
    enum { COUNT = 8 };
    struct site *site = site_with_a_big_file("workers: 2\n");
    const char *link =
        site_link(site, .account = "alice", .path = BIG, .limits = {.max_bytes = 1000000});
    const char *targets[COUNT];
    struct fetch_options options[COUNT] = {{0}};
    const struct answer *answers[COUNT];
    size_t served = 0;
    for (size_t i = 0; i < COUNT; i++) {
        targets[i] = link;
        options[i].range = "0-249999";
    }
    fetch_parallel(site, targets, options, COUNT, answers);
    for (size_t i = 0; i < COUNT; i++) {
        served += answers[i]->status == 206;
        if (answers[i]->status != 206)
            answer_expect_refusal(site, answers[i], 410, "link_bytes_used_up");
    }
    cr_expect_eq(served, 4u, "%zu of the four that fit were served", served);
    site_usage_await(site, "alice", served * 250000);
    site_destroy(&site);
}

Test(rates, max_bytes_of_an_account_bounds_a_postpaid_one)
{
    struct site *site = site_with_a_big_file("workers: 2\n");
    site_account_open_postpaid(site, "bob");
    struct command_result result =
        site_tollgate(site, "account", "limit", "shop/bob", "--max-bytes", "100000");
    cr_assert_eq(result.exit_code, 0, "%s", result.errors);
    const char *link = site_link(site, .account = "bob", .path = BIG);
    answer_expect_refusal(site, fetch(site, link), 402, "account_bytes_used_up");
    answer_expect_bytes(site, fetch(site, link, .range = "0-99999"), BIG, 0, 100000);
    answer_expect_refusal(site, fetch(site, link, .range = "0-0"), 402, "account_bytes_used_up");
    site_destroy(&site);
}

Test(rates, of_a_link_without_jti_are_shared_by_both_signatures_of_its_text)
{
    struct site *site = site_with_a_big_file("workers: 2\n");
    struct key_set *keys = site_es256_keys(site);
    const char *twins[2];
    site_twins(site, keys, BIG, (struct token_limits){.max_bytes = 100000}, twins);
    answer_expect_bytes(site, fetch(site, twins[0], .range = "0-59999"), BIG, 0, 60000);
    answer_expect_refusal(site, fetch(site, twins[1], .range = "0-59999"), 410,
                          "link_bytes_used_up");
    answer_expect_bytes(site, fetch(site, twins[1], .range = "0-39999"), BIG, 0, 40000);
    for (size_t i = 0; i < 2; i++)
        answer_expect_refusal(site, fetch(site, twins[i], .range = "0-0"), 410,
                              "link_bytes_used_up");

    site_twins(site, keys, BIG, (struct token_limits){.max_conns = 2, .rate = 400000}, twins);
    uint64_t begun_ms = harness_now_ms(), bytes = 0;
    int fds[] = {begin(site, twins[0]), begin(site, twins[1])};
    for (size_t i = 0; i < 2; i++)
        expect_429(site, twins[i], "link_connections");
    while (harness_now_ms() < begun_ms + 4000)
        bytes += read_some(fds, 2, 20);
    double share = (double)bytes * 1000 / (double)(harness_now_ms() - begun_ms) / 400000;
    cr_expect_leq(share, 1.1, "both bring %.2f of the rate of one", share);
    close(fds[0]);
    close(fds[1]);
    key_set_destroy(&keys);
    site_destroy(&site);
}
