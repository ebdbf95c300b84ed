/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Revocation on the way to other nodes, when the push connection is late, half open, or refused. A
 * relay makes round trips to Redis long, so that they can be counted.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/integration/harness.h"
#include "tests/integration/transfer_steps.h"

Test(revocation, is_told_where_the_Redis_user_may_not_hear_it)
{
    struct site *site = site_create(.own_redis = true);
    site_account_open_prepaid(site, "alice", 1000u * 1000 * 1000);
    site_redis_command(site, "ACL SETUSER default resetchannels");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY, .jti = "order-1");
    answer_expect_file(site, fetch(site, link), TRACK_TINY);
    revoke_jti(site, "order-1");
    site_node_signal(site, SIGTERM);
    cr_assert_eq(site_node_wait(site), 0);
    site_node_start(site);
    site_node_await_ready(site);
    site_log_await(site, "run redis-cli ACL SETUSER default '&tg:revocations'");
    /* No response begins by an earlier grant: each asks Redis. */
    answer_expect_refusal(site, fetch(site, link), 410, "link_revoked");
    struct command_result result = site_tollgate(site, "doctor");
    cr_expect_neq(result.exit_code, 0);
    cr_expect(strstr(result.output, "&tg:revocations"), "%s", result.output);
    site_destroy(&site);
}

struct pair {
    struct site *home; /* close to Redis; most revocations are sent to it */
    struct relay *relay;
    struct site *far[2];
};

static void pair_create(struct pair *pair, unsigned delay_ms, const char *settings)
{
    pair->home = site_create(.own_redis = true);
    pair->relay = relay_start(site_redis_address(pair->home), delay_ms);
    pair->far[0] = site_create(.beside = pair->home, .redis = relay_address(pair->relay),
                               .node = "far-1", .settings = settings);
    pair->far[1] = site_create(.beside = pair->home, .redis = relay_address(pair->relay),
                               .node = "far-2", .settings = settings);
    site_account_open_prepaid(pair->home, "alice", 1000u * 1000 * 1000);
}

static void pair_destroy(struct pair *pair)
{
    site_destroy(&pair->far[0]);
    site_destroy(&pair->far[1]);
    relay_stop(&pair->relay);
    site_destroy(&pair->home);
}

static void await_push(struct site *site)
{
    const struct answer *answer = site_admin(site, "GET", "/v1/health", NULL);
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (strstr((const char *)answer->body, "\"push_up\":true") == NULL) {
        cr_assert(harness_now_ms() < deadline_ms, "push does not come: %s", answer->body);
        harness_pause();
        answer = site_admin(site, "GET", "/v1/health", NULL);
    }
}

/* Sends the request to revoke; returns the connection on which the answer will come. */
static int ask_to_revoke(struct site *site, const char *jti)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *body = site_format(site, "{\"jti\":\"%s\"}", jti);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/admin.sock", site_state_dir(site));
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    raw_print(fd,
              "POST /v1/accounts/shop/alice/revoke HTTP/1.1\r\nHost: localhost\r\n"
              "Content-Length: %zu\r\n\r\n%s",
              strlen(body), body);
    return fd;
}

/* The time from the request to revoke the link until both nodes have cut their transfers of it. */
static uint64_t cut_after_ms(struct pair *pair, const char *jti)
{
    const char *link =
        site_link(pair->home, .account = "alice", .path = TRACK_LONG, .jti = jti, .limits = SLOW);
    int fds[] = {begin_transfer(pair->far[0], link), begin_transfer(pair->far[1], link)};
    uint64_t begun_ms = harness_now_ms();
    /* The request goes to a far node, so that its own way to Redis counts, too. The answer is not
     * waited for, because it takes a further look at the account. */
    int asked = ask_to_revoke(pair->far[0], jti);
    for (size_t i = 0; i < 2; i++)
        expect_cut(fds[i]);
    uint64_t taken_ms = harness_now_ms() - begun_ms;
    char status[13] = "";
    cr_assert_eq(raw_read(asked, status, 12), 12u);
    cr_expect_str_eq(status, "HTTP/1.1 200");
    close(asked);
    return taken_ms;
}

/* Their grants outlast the test, so that nothing but the push cuts them. After how many round trips is told:
 * a busy machine makes some attempts slow. */
Test(revocation, stops_transfers_on_two_nodes_by_its_push)
{
    struct pair pair;
    double least = 1e9;
    pair_create(&pair, 20, "grant_validity_ms: 300000\n");
    await_push(pair.far[0]);
    await_push(pair.far[1]);
    for (int attempt = 1; attempt <= 3; attempt++) {
        double round_trip_ms = relay_round_trip_ms(pair.relay);
        uint64_t taken_ms = cut_after_ms(&pair, site_format(pair.home, "order-%d", attempt));
        double round_trips = (double)taken_ms / round_trip_ms;
        least = round_trips < least ? round_trips : least;
    }
    cr_log_info("both transfers were cut after %.1f round trips", least);
    pair_destroy(&pair);
}

/* The relay passes the reply that grants and the push that revokes together. Whichever the node
 * reads first, the grant must not begin a response after the revocation. */
Test(revocation, wins_over_a_grant_that_arrives_with_it)
{
    enum { ROUNDS = 20 };
    unsigned refused = 0, cut = 0;
    struct pair pair;
    pair_create(&pair, 0, NULL);
    await_push(pair.far[0]);
    for (int round = 0; round < ROUNDS; round++) {
        const char *jti = site_format(pair.home, "order-%d", round);
        const char *link = site_link(pair.home, .account = "alice", .path = TRACK_LONG, .jti = jti,
                                     .limits = SLOW);
        relay_hold_all(pair.relay, true);
        int fd = raw_connect(pair.far[0], 0);
        raw_print(fd, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", link);
        for (int i = 0; i < 10; i++) /* until the question is at Redis; its answer is held */
            harness_pause();
        revoke_jti(pair.home, jti);
        relay_hold_all(pair.relay, false);
        const struct answer *answer = raw_answer_head(pair.far[0], fd);
        refused += answer->status == 410;
        cut += answer->status == 200;
        cr_assert(answer->status == 410 || answer->status == 200 || answer->status == 0,
                  "answered with %u", answer->status);
        if (answer->status == 200)
            expect_cut(fd); /* the grant was read first, so the push ended the response */
        else
            close(fd); /* refused, or cut before its head was read */
    }
    cr_expect_gt(refused + cut, 0, "no answer was read in any round");
    printf("of %d, %u were refused, %u began and were cut\n", ROUNDS, refused, cut);
    pair_destroy(&pair);
}

Test(revocation, reaches_a_node_whose_push_connection_is_half_open)
{
    struct pair pair;
    pair_create(&pair, 0, "grant_validity_ms: 3000\n");
    await_push(pair.far[0]);
    const char *link = site_link(pair.home, .account = "alice", .path = TRACK_LONG,
                                 .jti = "order-1", .limits = SLOW);
    const char *tiny =
        site_link(pair.home, .account = "alice", .path = TRACK_TINY, .jti = "order-2");
    int fd = begin_transfer(pair.far[0], link);
    answer_expect_file(pair.far[0], fetch(pair.far[0], tiny), TRACK_TINY);
    relay_hold_push(pair.relay, true);
    uint64_t begun_ms = harness_now_ms();
    revoke_jti(pair.home, "order-1");
    revoke_jti(pair.home, "order-2");
    /* The node knows that it hears no pushes, so a cached grant begins no response. */
    site_log_await(pair.far[0], "the node does not hear of revocations");
    answer_expect_refusal(pair.far[0], fetch(pair.far[0], tiny), 410, "link_revoked");
    expect_cut(fd);
    uint64_t taken_ms = harness_now_ms() - begun_ms;
    printf("cut after %llu ms of a validity of 3,000 ms\n", (unsigned long long)taken_ms);
    relay_hold_push(pair.relay, false);
    site_log_await(pair.far[0], "the node hears of revocations again");
    pair_destroy(&pair);
}
