/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Redis that loses its data under two nodes that work: nobody is denied who should not be, no
 * account is opened twice, and nobody receives more than was paid for. How a node sees it and whom it
 * waits for: tests/unit/ledger/birth_test.c.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/harness.h"
#include "tests/integration/harness_outage.h"
#include "tests/integration/pair_steps.h"
#include "tests/integration/transfer_steps.h"

#define LOST    "Redis has lost its data"
/* However busy the machine is, no node is given up. */
#define PATIENT "workers: 2\ndata_lost_wait_ms: 600000\n"

static unsigned answered(const struct pair *pair, unsigned number, const char *method,
                         const char *path, const char *body)
{
    return site_admin(number % 2 == 0 ? pair->first : pair->second, method, path, body)->status;
}

/* Asks the node for a byte of the account by a link that is new to it. */
static unsigned fetched(struct site *by, struct site *from, const char *account, unsigned number)
{
    const char *jti = site_format(by, "%s-%u", account, number);
    const char *link = site_link(by, .account = account, .path = TRACK_VBR, .jti = jti);
    return fetch(from, link, .range = "0-0", .fresh = true)->status;
}

static void await_served(struct site *by, struct site *from, const char *account, unsigned number)
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (fetched(by, from, account, number) != 206) {
        cr_assert(harness_now_ms() < deadline_ms, "%s is not served again", account);
        harness_pause();
    }
}

/* Of each kind of request one at each node: what may be answered is what it would be without the loss,
 * or 503. */
static void ask_all(const struct pair *pair, unsigned number)
{
    static const char open[] = "{\"plan\":\"prepaid\",\"bytes\":1000,\"transaction\":\"another\"}";
    static const char *const accounts[] = {"alice", "bob"};
    for (unsigned i = 0; i < 4; i++) {
        struct site *from = i % 2 == 0 ? pair->first : pair->second;
        const char *path = site_format(pair->first, "/v1/accounts/shop/%s", accounts[i / 2]);
        unsigned status = fetched(pair->first, from, accounts[i / 2], 4 * number + i);
        cr_expect(status == 206 || status == 503, "a listener of %s: %u", accounts[i / 2], status);
        status = answered(pair, i, "GET", path, NULL);
        cr_expect(status == 200 || status == 503, "a look at %s: %u", accounts[i / 2], status);
    }
    /* An order waits for some seconds, so there is one at a time. */
    const char *path = site_format(pair->first, "/v1/accounts/shop/%s", accounts[number % 2]);
    unsigned status = answered(pair, number / 2, "PUT", path, open);
    cr_expect(status == 409 || status == 503, "another opening: %u", status);
}

Test(data_lost, on_two_nodes_under_load_denies_nobody_and_opens_nobody_twice, .timeout = 300)
{
    struct pair pair = pair_create(PATIENT);
    unsigned number = 0;
    site_account_open_prepaid(pair.first, "alice", 100000000);
    site_account_open_prepaid(pair.second, "bob", 100000000);
    pair_await_acquaintance(&pair);
    ask_all(&pair, number++);
    for (unsigned loss = 0; loss < 3; loss++) {
        site_redis_command(pair.first, "FLUSHALL");
        for (unsigned i = 0; i < 8; i++)
            ask_all(&pair, number++);
        for (unsigned i = 0; i < 4; i++)
            await_served(pair.first, i % 2 == 0 ? pair.first : pair.second,
                         i / 2 == 0 ? "alice" : "bob", 4 * number + i);
        number++;
    }
    (void)site_log_await(pair.first, LOST);
    (void)site_log_await(pair.second, LOST);
    cr_expect_null(strstr(site_log(pair.first), "the wait for lost data is over"));
    for (unsigned i = 0; i < 2; i++) {
        const char *account = i == 0 ? "alice" : "bob";
        site_await_reserved(pair.first, account, 0);
        uint64_t used = site_usage(pair.first, account).bytes;
        cr_expect_eq(site_balance(pair.first, account).balance, 100000000 - (int64_t)used);
    }
    pair_destroy(&pair);
}

/* Three listeners at one node and two at the other hold the whole balance. */
Test(data_lost, pays_for_no_byte_beyond_the_balance, .timeout = 300)
{
    enum { LISTENERS = 5 };
    struct pair pair = pair_create(PATIENT);
    size_t size;
    int fds[LISTENERS];
    (void)site_media_bytes(pair.first, TRACK_LONG, &size);
    char *body = malloc(size);
    site_account_open_prepaid(pair.first, "alice", LISTENERS * size);
    pair_await_acquaintance(&pair);
    for (int i = 0; i < LISTENERS; i++) {
        struct site *at = i % 2 == 0 ? pair.first : pair.second;
        const char *jti = site_format(pair.first, "listener-%d", i);
        const char *link = site_link(pair.first, .account = "alice", .path = TRACK_LONG, .jti = jti,
                                     .limits = {.rate = 1500000});
        fds[i] = raw_connect(at, 4096);
        raw_print(fds[i], "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", link);
        cr_assert_eq(raw_answer_head(at, fds[i])->status, 200);
    }
    site_redis_command(pair.first, "FLUSHALL");
    for (unsigned i = 0; i < 20; i++) {
        cr_expect_neq(fetched(pair.first, pair.first, "alice", 2 * i), 206u);
        cr_expect_neq(fetched(pair.first, pair.second, "alice", 2 * i + 1), 206u);
        pause_ms(50);
    }
    for (int i = 0; i < LISTENERS; i++) {
        cr_expect_eq(raw_read(fds[i], body, size), size, "listener %d was cut", i);
        close(fds[i]);
    }
    free(body);
    site_usage_await(pair.first, "alice", LISTENERS * size);
    site_await_reserved(pair.first, "alice", 0);
    cr_expect_eq(site_balance(pair.first, "alice").balance, 0);
    pair_destroy(&pair);
}

Test(data_lost, waits_for_a_node_that_never_comes_back_as_long_as_the_key_says)
{
    struct pair pair = pair_create("workers: 1\ndata_lost_wait_ms: 4000\n");
    site_account_open_prepaid(pair.first, "alice", 100000000);
    pair_await_acquaintance(&pair);
    site_node_kill(pair.second);
    site_redis_command(pair.first, "FLUSHALL");
    (void)site_log_await(pair.first, LOST);
    bool named = health_says(pair.first, "\"data_awaited_from\":[\"second-node\"]");
    bool over = strstr(site_log(pair.first), "the wait for lost data is over") != NULL;
    cr_expect(named || over, "health does not name whom it waits for");
    while (strstr(site_log(pair.first), "the wait for lost data is over") == NULL) {
        unsigned status = fetched(pair.first, pair.first, "nobody", 1);
        /* It may be over since the log was read. */
        cr_expect(status == 503 || !health_says(pair.first, "\"data_lost\":true"),
                  "an account that nobody knows: %u", status);
        harness_pause();
    }
    await_served(pair.first, pair.first, "alice", 3);
    cr_expect_eq(fetched(pair.first, pair.first, "nobody", 2), 402u);
    cr_expect(health_says(pair.first, "\"data_lost\":false,\"data_awaited_from\":[]"));
    pair_destroy(&pair);
}

Test(data_lost, is_not_what_a_new_node_meets_in_an_empty_Redis)
{
    struct site *site = site_create();
    cr_expect_eq(fetched(site, site, "nobody", 1), 402u);
    cr_expect_null(strstr(site_log(site), LOST));
    site_destroy(&site);
}
