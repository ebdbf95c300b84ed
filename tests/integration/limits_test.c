/* SPDX-License-Identifier: Apache-2.0 */
/* Bounds: connections of an address and of the node, requests of a connection, slow clients; and
 * how proxies count. */
#include <string.h>
#include <unistd.h>

#include "tests/integration/harness.h"

static void ask(struct site *site, int fd, const char *link)
{
    (void)site;
    raw_print(fd, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", link);
}

Test(limits, of_requests_on_a_connection_end_it_with_the_last_answer)
{
    struct site *site = site_create(.settings = "requests_max: 3\n");
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    int fd = raw_connect(site, 0);
    for (int i = 0; i < 3; i++) {
        ask(site, fd, link);
        const struct answer *answer = raw_answer(site, fd, false);
        answer_expect_file(site, answer, TRACK_TINY);
        const char *connection = answer_header(site, answer, "Connection");
        cr_assert_eq(connection != NULL && strcmp(connection, "close") == 0, i == 2, "answer %d",
                     i);
    }
    cr_assert(raw_is_closed_by_peer(fd));
    close(fd);
    site_destroy(&site);
}

/* Each request has a link of its own, so that it waits for Redis, whether it comes after the
 * answers before or is pipelined. */
Test(limits, of_requests_count_one_that_waits_for_redis_once)
{
    struct site *site = site_create(.settings = "requests_max: 3\n");
    site_account_open_postpaid(site, "alice");
    for (int pipelined = 0; pipelined < 2; pipelined++) {
        const char *links[3];
        int fd = raw_connect(site, 0);
        for (int i = 0; i < 3; i++) {
            links[i] = site_link(site, .account = "alice", .path = TRACK_TINY,
                                 .jti = site_format(site, "order-%d-%d", pipelined, i));
            if (pipelined)
                ask(site, fd, links[i]);
        }
        for (int i = 0; i < 3; i++) {
            if (!pipelined)
                ask(site, fd, links[i]);
            const struct answer *answer = raw_answer(site, fd, false);
            answer_expect_file(site, answer, TRACK_TINY);
            const char *connection = answer_header(site, answer, "Connection");
            cr_assert_eq(connection != NULL && strcmp(connection, "close") == 0, i == 2,
                         "answer %d", i);
        }
        cr_assert(raw_is_closed_by_peer(fd));
        close(fd);
    }
    site_destroy(&site);
}

Test(limits, of_an_address_refuse_its_next_connection_until_one_ends)
{
    struct site *site = site_create(.settings = "connections_per_address_max: 2\nworkers: 2\n");
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    int held[2];
    for (int i = 0; i < 2; i++) {
        held[i] = raw_connect(site, 0);
        ask(site, held[i], link);
        answer_expect_file(site, raw_answer(site, held[i], false), TRACK_TINY);
    }
    int third = raw_connect(site, 0);
    const struct answer *refused = raw_answer(site, third, false);
    cr_assert_eq(refused->status, 429);
    cr_assert_gt(answer_header_number(site, refused, "Retry-After"), 0);
    cr_assert_not_null(answer_header(site, refused, "Date")); /* RFC 9110 6.6.1 */
    close(third);
    close(held[0]);
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    const struct answer *answer;
    do { /* until the node has noticed the close */
        cr_assert(harness_now_ms() < deadline_ms, "the place is not given back");
        third = raw_connect(site, 0);
        ask(site, third, link);
        answer = raw_answer(site, third, false);
        close(third);
        harness_pause();
    } while (answer->status != 200);
    close(held[1]);
    site_destroy(&site);
}

Test(limits, of_the_node_are_those_of_all_its_workers)
{
    struct site *site = site_create(.settings = "connections_max: 4\nworkers: 3\n");
    int fds[12];
    unsigned refused = 0;
    for (int i = 0; i < 12; i++)
        fds[i] = raw_connect(site, 0);
    for (int i = 0; i < 12; i++) {
        raw_print(fds[i], "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
        const struct answer *answer = raw_answer(site, fds[i], false);
        refused += answer->status == 503;
        cr_assert_not_null(answer_header(site, answer, "Date")); /* RFC 9110 6.6.1 */
    }
    cr_assert_eq(refused, 8, "%u of 12 were refused", refused);
    for (int i = 0; i < 12; i++)
        close(fds[i]);
    site_destroy(&site);
}

Test(limits, of_slowness_hold_under_pressure_alone)
{
    struct site *site =
        site_create(.settings = "connections_max: 10\nworkers: 1\nrate_min_bytes_per_s: 1000000\n");
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_LONG);
    int paused = raw_connect(site, 4096); /* asks, and reads only the head */
    ask(site, paused, link);
    cr_assert_eq(raw_answer_head(site, paused)->status, 200);
    uint64_t until_ms = harness_now_ms() + 7000;
    while (harness_now_ms() < until_ms)
        harness_pause();
    cr_assert_null(strstr(site_log(site), "cut: "), "a paused player was cut without need");
    int idle[8];
    for (int i = 0; i < 8; i++)
        idle[i] = raw_connect(site, 0);
    (void)site_log_await(site, "cut: slower than rate_min_bytes_per_s");
    for (int i = 0; i < 8; i++)
        close(idle[i]);
    close(paused);
    site_destroy(&site);
}

/* ---- the PROXY protocol ---- */

#define SIGNATURE "\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"

/* Connects and sends a PROXY header for 192.0.2.`last`, in one or two pieces. */
static int connect_for(struct site *site, unsigned char last, size_t first_piece)
{
    char header[28];
    memcpy(header, SIGNATURE "\x21\x11\x00\x0c\xc0\x00\x02\x01\xcb\x00\x71\x09\x12\x67\x00\x50",
           28);
    header[19] = (char)last;
    int fd = raw_connect(site, 0);
    raw_send(fd, header, first_piece);
    if (first_piece < sizeof(header)) {
        harness_pause();
        raw_send(fd, header + first_piece, sizeof(header) - first_piece);
    }
    return fd;
}

Test(limits, of_addresses_are_those_of_the_clients_behind_a_trusted_proxy)
{
    struct site *site = site_create(.settings = "connections_per_address_max: 1\n"
                                                "proxy_protocol_from: 10.0.0.0/8, 127.0.0.0/8\n");
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    int one = connect_for(site, 1, 28), two = connect_for(site, 2, 5);
    ask(site, one, link);
    answer_expect_file(site, raw_answer(site, one, false), TRACK_TINY);
    ask(site, two, link);
    answer_expect_file(site, raw_answer(site, two, false), TRACK_TINY);
    int again = connect_for(site, 1, 28);
    answer_expect_refusal(site, raw_answer(site, again, false), 429, "address_exhausted");
    close(again);

    /* A proxy's connection without a header names no client and is refused. */
    int bare = raw_connect(site, 0);
    ask(site, bare, link);
    answer_expect_refusal(site, raw_answer(site, bare, false), 400, "proxy_header_missing");
    cr_assert(raw_is_closed_by_peer(bare));
    close(bare);
    /* LOCAL: the proxy checks whether the node is there. */
    int local = raw_connect(site, 0);
    raw_send(local, SIGNATURE "\x20\x00\x00\x00", 16);
    raw_print(local, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_assert_eq(raw_answer(site, local, false)->status, 204);
    close(local);
    close(one);
    close(two);
    site_destroy(&site);
}

Test(limits, a_strangers_PROXY_header_is_no_request)
{
    struct site *site = site_create(.settings = "proxy_protocol_from: 10.0.0.0/8\n");
    int fd = connect_for(site, 1, 28);
    raw_print(fd, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    answer_expect_refusal(site, raw_answer(site, fd, false), 400, "head_malformed");
    close(fd);
    site_destroy(&site);
}

static const struct answer *open_as(struct site *site, const char *secret, const char *account)
{
    return site_shop(site, secret, "PUT", site_format(site, "/v1/accounts/%s", account),
                     "{\"plan\":\"postpaid\",\"transaction\":\"first\"}");
}

Test(limits, on_accounts_are_each_issuers_own_and_no_link_uses_them_up)
{
    struct site *site = site_create(.shop_secret = true, .settings = "accounts_max: 20\n");
    const char *link = NULL;
    for (unsigned i = 0; i < 30; i++) { /* links of accounts that do not exist */
        link = site_link(site, .account = site_format(site, "never-%u", i), .path = TRACK_TINY);
        answer_expect_refusal(site, fetch(site, link), 402, "account_unknown");
    }
    const struct answer *answer = NULL;
    for (unsigned i = 0; i < 11; i++)
        answer = open_as(site, SHOP_SECRET, site_format(site, "shop/mine-%u", i));
    answer_expect_refusal(site, answer, 507, "issuer_accounts_full");
    cr_assert(strstr((const char *)answer->body, "accounts_per_issuer_max"), "%s", answer->body);
    site_log_await(site, "issuer shop has 9 accounts of the 10 that it may have");
    struct command_result result = site_tollgate(site, "account", "open", "shop/one-more", "--plan",
                                                 "postpaid", "--transaction", "order-1");
    cr_assert_eq(result.exit_code, 1, "%d", result.exit_code);
    cr_assert(strstr(result.errors, "accounts_per_issuer_max"), "%s", result.errors);
    answer = site_shop(site, SHOP_SECRET, "POST", "/v1/accounts/shop/invented/revoke",
                       "{\"jti\":\"x\"}");
    answer_expect_refusal(site, answer, 507, "issuer_accounts_full");

    for (unsigned i = 0; i < 10; i++) {
        answer = open_as(site, RIVAL_SECRET, site_format(site, "rival/mine-%u", i));
        cr_assert_eq(answer->status, 201, "the rival is locked out: %s", answer->body);
    }
    link = site_link(site, .account = "mine-9", .path = TRACK_TINY);
    answer_expect_file(site, fetch(site, link), TRACK_TINY);
    site_destroy(&site);
}
