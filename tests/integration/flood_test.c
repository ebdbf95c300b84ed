/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Floods of links with a wrong signature: how many verifications they may cost, and that no other
 * client is refused because of them.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/harness.h"

#define WRONG "too_many_bad_signatures"

/* The link with a wrong signature, which depends on the number alone. */
static const char *forged(struct site *site, const char *link, unsigned number)
{
    char *copy = (char *)(uintptr_t)site_format(site, "%s", link);
    char *signature = strrchr(copy, '.') + 1;
    static const char digits[] = "ABCDEFGHIJKLMNOP";
    for (int i = 0; i < 8; i++)
        signature[10 + i] = digits[(number >> (4 * i)) & 15];
    return copy;
}

/* Asks from that address, on a new connection. */
static const struct answer *ask_from(struct site *site, const char *source, const char *link)
{
    return fetch(site, link, .source = source, .fresh = true);
}

Test(flood, of_bad_signatures_from_one_address_is_bounded_and_nobody_else_is_refused)
{
    struct site *site = site_create(.settings = "workers: 2\nfailed_checks_max: 10\n"
                                                "failed_checks_per_minute: 1\n");
    site_account_open_postpaid(site, "alice");
    const char *known = site_link(site, .account = "alice", .path = TRACK_TINY);
    const char *other = site_link(site, .account = "alice", .path = TRACK_TINY, .jti = "other");
    const char *fresh = site_link(site, .account = "alice", .path = TRACK_TINY, .jti = "fresh");
    answer_expect_file(site, ask_from(site, "127.0.0.2", known), TRACK_TINY);
    for (unsigned i = 0; i < 40; i++) {
        const struct answer *answer = ask_from(site, "127.0.0.2", forged(site, known, i));
        if (i < 10) {
            answer_expect_refusal(site, answer, 403, "bad_signature");
        } else {
            answer_expect_refusal(site, answer, 429, WRONG);
            cr_assert_eq(answer_header_number(site, answer, "Retry-After"), 60);
        }
    }
    cr_assert_eq(site_traffic(site, "tokens_failed"), 10);
    cr_assert_eq(site_traffic(site, "tokens_unchecked"), 30);
    (void)site_log_await(
        site, "client 127.0.0.2 has sent failed_checks_max links with a wrong signature");

    /* A token that is known as good is served by every worker. Tokens that need no verification, or
     * are known as wrong, get their own verdict. */
    for (int i = 0; i < 6; i++)
        answer_expect_file(site, ask_from(site, "127.0.0.2", known), TRACK_TINY);
    answer_expect_refusal(site, ask_from(site, "127.0.0.2", forged(site, known, 0)), 403,
                          "bad_signature");
    answer_expect_refusal(site, ask_from(site, "127.0.0.2", "/a.mp3?URISigningPackage=a.b.c"), 403,
                          "token_malformed");
    answer_expect_refusal(site, ask_from(site, "127.0.0.2", "/a.mp3"), 403, "token_missing");
    answer_expect_refusal(site, ask_from(site, "127.0.0.2", fresh), 429, WRONG);
    answer_expect_file(site, ask_from(site, "127.0.0.3", fresh), TRACK_TINY);
    answer_expect_file(site, ask_from(site, "127.0.0.3", other), TRACK_TINY);
    answer_expect_refusal(site, ask_from(site, "127.0.0.3", forged(site, known, 99)), 403,
                          "bad_signature");

    /*
     * Known tokens stay known while the keys are read again, and are verified under the new keys.
     */
    site_node_signal(site, SIGHUP);
    (void)site_log_await(site, "key sets");
    for (int i = 0; i < 6; i++)
        answer_expect_file(site, ask_from(site, "127.0.0.2", known), TRACK_TINY);
    site_destroy(&site);
}

Test(flood, of_one_bad_link_is_verified_once_until_the_keys_are_read_again_and_ends_its_connection)
{
    struct site *site = site_create(.settings = "workers: 2\n");
    site_account_open_postpaid(site, "alice");
    const char *bad = forged(site, site_link(site, .account = "alice", .path = TRACK_TINY), 1);
    for (int round = 0; round < 2; round++) {
        int fd = raw_connect(site, 0);
        for (int i = 0; i < 8; i++) {
            raw_print(fd, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", bad);
            const struct answer *answer = raw_answer(site, fd, false);
            answer_expect_refusal(site, answer, 403, "bad_signature");
            cr_assert_eq(answer_header(site, answer, "Connection") != NULL, i == 7, "answer %d", i);
        }
        cr_assert(raw_is_closed_by_peer(fd));
        close(fd);
    }
    cr_assert_eq(site_traffic(site, "tokens_failed"), 1);
    cr_assert_eq(site_traffic(site, "tokens_unchecked"), 15);
    site_node_signal(site, SIGHUP);
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (site_traffic(site, "tokens_failed") == 1) {
        cr_assert_lt(harness_now_ms(), deadline_ms, "it is not verified under the keys of now");
        answer_expect_refusal(site, ask_from(site, "127.0.0.2", bad), 403, "bad_signature");
    }
    site_destroy(&site);
}

Test(flood, behind_a_proxy_is_that_of_its_client_alone)
{
    struct site *site = site_create(.settings = "workers: 1\nfailed_checks_max: 3\n"
                                                "failed_checks_per_minute: 1\n"
                                                "forwarded_from: 127.0.0.1\n");
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    int proxy = raw_connect(site, 0);
    for (unsigned i = 0; i < 20; i++) { /* on one connection, which stays open: it is the proxy's */
        raw_print(proxy,
                  "GET %s HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.9, 2001:db8::%u\r\n\r\n",
                  forged(site, link, i), i + 1);
        const struct answer *answer = raw_answer(site, proxy, false);
        answer_expect_refusal(site, answer, i < 3 ? 403 : 429, i < 3 ? "bad_signature" : WRONG);
    }
    raw_print(proxy, "GET %s HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.9\r\n\r\n", link);
    answer_expect_file(site, raw_answer(site, proxy, false), TRACK_TINY);
    (void)site_log_await(site, "client 2001:db8::3 has sent failed_checks_max");
    close(proxy);
    site_destroy(&site);
}
