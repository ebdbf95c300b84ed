/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Revocation: of a link by its jti or its URL, of all links older than an instant, of an account,
 * of a key. It reaches every node and transfers under way, also when the push connection is late,
 * half open or lost. A relay makes round trips to Redis long, so that they can be counted.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tests/integration/harness.h"

#define SLOW                                                                                       \
    {                                                                                              \
        .rate = 100000                                                                             \
    } /* bytes per second; TRACK_LONG takes most of a minute */

/* Begins a transfer and reads a part of its body. */
static int begin_transfer(struct site *site, const char *link)
{
    char some[1000];
    int fd = raw_connect(site, 0);
    raw_print(fd, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", link);
    cr_assert_eq(raw_answer_head(site, fd)->status, 200);
    cr_assert_eq(raw_read(fd, some, sizeof(some)), sizeof(some));
    return fd;
}

/* Reads until the node resets the connection. A transfer that comes to its end fails the test. */
static void expect_cut(int fd)
{
    static char bytes[65536];
    ssize_t got;
    struct timeval deadline = {.tv_sec = 20};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof(deadline));
    while ((got = recv(fd, bytes, sizeof(bytes), 0)) > 0)
        continue;
    cr_assert(got < 0 && errno == ECONNRESET, "the transfer was not cut: %s",
              got == 0 ? "it ended" : strerrordesc_np(errno));
    close(fd);
}

static void admin_expect(struct site *site, const char *path, const char *body, unsigned status)
{
    const struct answer *answer = site_admin(site, "POST", path, body);
    cr_assert_eq(answer->status, status, "%s: %u %s", path, answer->status,
                 answer->body != NULL ? (const char *)answer->body : "");
}

static void revoke_jti(struct site *site, const char *jti)
{
    admin_expect(site, "/v1/accounts/shop/alice/revoke", site_format(site, "{\"jti\":\"%s\"}", jti),
                 200);
}

/* Answers without bytes of the file: HEAD, 304, 412 and 416. Each has a link of its own, for which
 * no GET was sent before. */
Test(revocation, is_told_where_no_bytes_are_asked_for)
{
    static const struct {
        const char *jti, *method, *range, *header;
        unsigned before;
    } asked[] = {
        {"head", "HEAD", NULL, NULL, 200},
        {"not-modified", NULL, NULL, "If-None-Match: *", 304},
        {"failed", NULL, NULL, "If-Match: \"other\"", 412},
        {"unsatisfiable", NULL, "99999999-", NULL, 416},
    };
    struct site *site = site_create(.own_redis = true, .settings = "cache_max_age_s: 600\n");
    site_account_open_postpaid(site, "alice");
    const char *links[4];
    for (unsigned revoked = 0; revoked < 3; revoked++) {
        if (revoked == 2) /* the node remembers it without Redis */
            site_redis_kill(site);
        for (unsigned i = 0; i < 4; i++) {
            if (revoked == 0)
                links[i] =
                    site_link(site, .account = "alice", .path = TRACK_TINY, .jti = asked[i].jti);
            if (revoked == 1)
                revoke_jti(site, asked[i].jti);
            const struct answer *answer =
                fetch(site, links[i], .method = asked[i].method, .range = asked[i].range,
                      .headers = asked[i].header != NULL ? HEADERS(asked[i].header) : NULL);
            cr_assert_eq(answer->status, revoked ? 410 : asked[i].before, "%s: %u", asked[i].jti,
                         answer->status);
            if (revoked && asked[i].method == NULL)
                answer_expect_refusal(site, answer, 410, "link_revoked");
            if (answer->status == 304 || answer->status == 200)
                cr_assert_str_eq(answer_header(site, answer, "Cache-Control"),
                                 "private, max-age=600");
        }
    }
    /* Without Redis the node cannot know whether a new link is revoked, so its answer must not be
     * kept in caches. */
    const char *other = site_link(site, .account = "alice", .path = TRACK_TINY, .jti = "other");
    const struct answer *answer = fetch(site, other, .headers = HEADERS("If-None-Match: *"));
    cr_assert_eq(answer->status, 304);
    cr_assert_str_eq(answer_header(site, answer, "Cache-Control"), "private, max-age=0");
    site_redis_start(site);
    site_destroy(&site);
}

Test(revocation, of_a_link_by_its_jti_ends_its_transfers_and_no_others)
{
    struct site *site = site_create();
    site_account_open_prepaid(site, "alice", 1000u * 1000 * 1000);
    const char *bad =
        site_link(site, .account = "alice", .path = TRACK_LONG, .jti = "order-1", .limits = SLOW);
    const char *good =
        site_link(site, .account = "alice", .path = TRACK_LONG, .jti = "order-2", .limits = SLOW);
    int cut = begin_transfer(site, bad), kept = begin_transfer(site, good);
    revoke_jti(site, "order-1");
    expect_cut(cut);
    answer_expect_refusal(site, fetch(site, bad), 410, "link_revoked");
    /* A token that is signed again with the same jti is the same link. */
    const char *again = site_link(site, .account = "alice", .path = TRACK_TINY, .jti = "order-1");
    answer_expect_refusal(site, fetch(site, again), 410, "link_revoked");
    char some[20000];
    cr_expect_eq(raw_read(kept, some, sizeof(some)), sizeof(some), "another link's was cut, too");
    close(kept);
    site_destroy(&site);
}

Test(revocation, of_a_link_by_itself_needs_no_jti)
{
    struct site *site = site_create();
    site_account_open_prepaid(site, "alice", 1000u * 1000 * 1000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_LONG, .limits = SLOW);
    int fd = begin_transfer(site, link);
    admin_expect(site, "/v1/links/revoke",
                 site_format(site, "{\"url\":\"http://media.example%s\"}", link), 200);
    expect_cut(fd);
    answer_expect_refusal(site, fetch(site, link), 410, "link_revoked");
    admin_expect(site, "/v1/links/revoke",
                 site_format(site, "{\"url\":\"http://media.example%sX\"}", link), 422);
    struct command_result result =
        site_tollgate(site, "link", "revoke", site_format(site, "http://media.example%s", link));
    cr_expect_eq(result.exit_code, 0, "%s", result.errors);
    site_destroy(&site);
}

/* Unlike an argument, standard input shows the link to no other user of the machine. */
Test(revocation, of_a_link_that_standard_input_names)
{
    struct site *site = site_create();
    site_account_open_prepaid(site, "alice", 10000000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    const char *file = site_format(site, "%s/link", site_directory(site));
    FILE *text = fopen(file, "we");
    cr_assert(text);
    (void)fprintf(text, "http://media.example%s\n", link);
    cr_assert_eq(fclose(text), 0);
    const char *binary = getenv("TOLLGATE_BINARY");
    const char *command =
        site_format(site, "'%s' link revoke - --socket '%s/admin.sock' <'%s'",
                    binary != NULL ? binary : TOLLGATE_BINARY, site_state_dir(site), file);
    cr_assert_eq(system(command), 0); // NOLINT(cert-env33-c): the words are the test's own
    answer_expect_refusal(site, fetch(site, link), 410, "link_revoked");
    site_destroy(&site);
}

Test(revocation, of_what_is_older_than_an_instant_spares_what_is_newer)
{
    struct site *site = site_create();
    site_account_open_prepaid(site, "alice", 1000u * 1000 * 1000);
    const char *old = site_link(site, .account = "alice", .path = TRACK_LONG, .issued_in_s = -100,
                                .limits = SLOW);
    const char *undated = site_link(site, .account = "alice", .path = TRACK_LONG, .limits = SLOW);
    const char *fresh = site_link(site, .account = "alice", .path = TRACK_TINY, .issued_in_s = 1);
    int fds[] = {begin_transfer(site, old), begin_transfer(site, undated)};
    admin_expect(site, "/v1/accounts/shop/alice/revoke",
                 site_format(site, "{\"issued_before\":%lld}", (long long)time(NULL) - 50), 200);
    expect_cut(fds[0]);
    expect_cut(fds[1]);
    answer_expect_refusal(site, fetch(site, old), 410, "link_revoked");
    answer_expect_refusal(site, fetch(site, undated), 410, "link_revoked");
    answer_expect_file(site, fetch(site, fresh), TRACK_TINY);
    site_destroy(&site);
}

Test(revocation, as_of_now_reaches_what_a_clock_that_runs_ahead_has_signed)
{
    struct site *site = site_create(.settings = "nbf_leeway_s: 20\n");
    site_account_open_prepaid(site, "alice", 1000u * 1000 * 1000);
    const int ahead[] = {0, 1, 30, 60, 79};
    enum { LINKS = sizeof(ahead) / sizeof(ahead[0]) };
    const char *links[LINKS];
    for (unsigned i = 0; i < LINKS; i++) {
        links[i] = site_link(site, .account = "alice", .path = TRACK_TINY, .issued_in_s = ahead[i]);
        answer_expect_file(site, fetch(site, links[i]), TRACK_TINY);
    }
    struct command_result result =
        site_tollgate(site, "link", "revoke", "shop/alice", "--issued-before", "now");
    cr_assert_eq(result.exit_code, 0, "%s", result.errors);
    for (unsigned i = 0; i < LINKS; i++)
        answer_expect_refusal(site, fetch(site, links[i]), 410, "link_revoked");
    /* Links that are issued from the printed second on are good. */
    const char *before = strstr(result.output, "issued before ");
    cr_assert(before, "%s", result.output);
    long long instant = strtoll(before + strlen("issued before "), NULL, 10);
    const char *last = site_link(site, .account = "alice", .path = TRACK_TINY,
                                 .issued_in_s = (int)(instant - 1 - time(NULL)));
    answer_expect_refusal(site, fetch(site, last), 410, "link_revoked");
    const char *fresh = site_link(site, .account = "alice", .path = TRACK_TINY,
                                  .issued_in_s = (int)(instant - time(NULL)));
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (fetch(site, fresh)->status == 403 && harness_now_ms() < deadline_ms)
        harness_pause(); /* its iat lies a second too far ahead */
    answer_expect_file(site, fetch(site, fresh), TRACK_TINY);
    site_destroy(&site);
}

/* For how many seconds Redis will remember the account's one revoked link. */
static int64_t revoked_for_s(struct site *site, const char *account)
{
    return site_redis_number(
               site, site_format(site,
                                 "local keys = redis.call('KEYS', 'tg:{shop/%s}:link:*') "
                                 "assert(#keys == 1 and redis.call('HGET', keys[1], 'revoked')) "
                                 "return redis.call('PTTL', keys[1])",
                                 account)) /
           1000;
}

static void revoke_url(struct site *site, const char *link)
{
    admin_expect(site, "/v1/links/revoke", site_format(site, "{\"url\":\"%s\"}", link), 200);
}

Test(revocation, ends_with_its_link)
{
    enum { HOUR = 3600, DAY = 24 * HOUR, LIFETIME = 7 * DAY };
    struct site *site = site_create();
    revoke_url(site, site_link(site, .account = "url", .path = TRACK_TINY));
    revoke_url(site, site_link(site, .account = "resume", .path = TRACK_TINY,
                               .limits = {.resume_s = 2 * DAY}));
    revoke_url(site, site_link(site, .account = "jti", .path = TRACK_TINY, .jti = "order-1"));
    /* A link that is signed for too long opens nothing yet, but will later. */
    revoke_url(site, site_link(site, .account = "long", .path = TRACK_TINY, .jti = "order-1",
                               .expires_in_s = 300 * DAY));
    revoke_url(site, site_link(site, .account = "over", .path = TRACK_TINY, .expires_in_s = -DAY));
    admin_expect(site, "/v1/accounts/shop/bare/revoke", "{\"jti\":\"order-1\"}", 200);
    static const struct {
        const char *account;
        int64_t least_s;
    } rows[] = {
        {"url", HOUR},          {"resume", HOUR + 2 * DAY}, {"jti", 2 * LIFETIME},
        {"bare", 2 * LIFETIME}, {"long", 300 * DAY},        {"over", 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t kept = revoked_for_s(site, rows[i].account);
        /* The test has taken some time, and the node adds an hour for clocks that differ. */
        cr_expect(kept > rows[i].least_s - HARNESS_DEADLINE_MS / 1000 &&
                      kept <= rows[i].least_s + HOUR,
                  "%s: %lld s, where %lld were due", rows[i].account, (long long)kept,
                  (long long)rows[i].least_s);
    }
    /* The watermark of "issued before" is one number, and never expires. */
    admin_expect(site, "/v1/accounts/shop/bare/revoke", "{\"issued_by_now\":true}", 200);
    cr_expect_eq(site_redis_number(site, "return redis.call('PTTL', 'tg:{shop/bare}:account')"),
                 -1);
    site_destroy(&site);
}

Test(revocation, of_a_link_that_has_ended_cuts_what_is_still_under_way)
{
    struct site *site = site_create();
    site_account_open_prepaid(site, "alice", 1000u * 1000 * 1000);
    const char *link =
        site_link(site, .account = "alice", .path = TRACK_LONG, .limits = SLOW, .expires_in_s = 3);
    int fd = begin_transfer(site, link);
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    const struct answer *answer;
    while ((answer = fetch(site, link, .method = "HEAD"))->status == 200 &&
           harness_now_ms() < deadline_ms)
        harness_pause();
    cr_assert_eq(answer->status, 410);
    revoke_url(site, link);
    expect_cut(fd);
    site_destroy(&site);
}

Test(revocation, of_an_account_ends_what_is_under_way_and_can_be_taken_back)
{
    struct site *site = site_create();
    site_account_open_prepaid(site, "alice", 1000u * 1000 * 1000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_LONG, .limits = SLOW);
    const char *tiny = site_link(site, .account = "alice", .path = TRACK_TINY);
    int fd = begin_transfer(site, link);
    answer_expect_file(site, fetch(site, tiny), TRACK_TINY); /* puts its grant in the cache */
    admin_expect(site, "/v1/accounts/shop/alice/suspend", "", 200);
    expect_cut(fd);
    answer_expect_refusal(site, fetch(site, tiny), 402, "account_suspended");
    admin_expect(site, "/v1/accounts/shop/alice/activate", "", 200);
    answer_expect_file(site, fetch(site, tiny), TRACK_TINY);
    site_destroy(&site);
}

Test(revocation, outlives_a_redis_that_lost_all_and_a_node_that_was_killed)
{
    struct site *site = site_create(.own_redis = true);
    site_account_open_prepaid(site, "alice", 1000u * 1000 * 1000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY, .jti = "order-1");
    const char *old = site_link(site, .account = "alice", .path = TRACK_TINY, .issued_in_s = -100);
    revoke_jti(site, "order-1");
    admin_expect(site, "/v1/accounts/shop/alice/revoke",
                 site_format(site, "{\"issued_before\":%lld}", (long long)time(NULL) - 50), 200);
    site_node_kill(site);
    site_redis_command(site, "FLUSHALL");
    site_node_start(site);
    site_node_await_ready(site);
    answer_expect_refusal(site, fetch(site, link), 410, "link_revoked");
    answer_expect_refusal(site, fetch(site, old), 410, "link_revoked");
    site_destroy(&site);
}

/* ---- what a revocation must not do ---- */

static void pause_ms(uint64_t milliseconds)
{
    uint64_t until_ms = harness_now_ms() + milliseconds;
    while (harness_now_ms() < until_ms)
        harness_pause();
}

/* Reads for so many milliseconds; returns the bytes. Fails the test if the transfer ends. */
static uint64_t expect_flow(int fd, uint64_t milliseconds)
{
    static char bytes[65536];
    uint64_t total = 0, until_ms = harness_now_ms() + milliseconds;
    while (harness_now_ms() < until_ms) {
        struct pollfd item = {.fd = fd, .events = POLLIN};
        if (poll(&item, 1, 100) <= 0)
            continue;
        ssize_t got = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        cr_assert(got > 0, "the transfer was cut after %llu bytes: %s", (unsigned long long)total,
                  got == 0 ? "it ended" : strerrordesc_np(errno));
        total += (uint64_t)got;
    }
    return total;
}

Test(revocation, is_not_what_a_restart_of_Redis_is_taken_for)
{
    struct site *site = site_create(.own_redis = true);
    site_account_open_prepaid(site, "alice", 1000u * 1000 * 1000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_LONG, .limits = SLOW);
    int fd = begin_transfer(site, link);
    site_redis_kill(site);
    cr_expect_gt(expect_flow(fd, 2000), 100000u, "it stopped while Redis was away");
    site_redis_start(site);
    site_log_await(site, "the node hears of revocations again");
    cr_expect_gt(expect_flow(fd, 3000), 100000u, "it stopped when Redis came back");
    close(fd);
    site_destroy(&site);
}

Test(revocation, is_not_what_a_restart_of_the_embedded_Redis_is_taken_for)
{
    struct site *site = site_create();
    site_account_open_prepaid(site, "alice", 1000u * 1000 * 1000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_LONG, .limits = SLOW);
    int fd = begin_transfer(site, link);
    cr_assert_eq(kill(site_embedded_redis_pid(site), SIGKILL), 0);
    cr_expect_gt(expect_flow(fd, 5000), 200000u);
    close(fd);
    site_destroy(&site);
}

Test(revocation, that_takes_nothing_away_cuts_nothing)
{
    struct site *site = site_create(.own_redis = true);
    site_account_open_prepaid(site, "alice", 1000u * 1000 * 1000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_LONG, .limits = SLOW);
    int fd = begin_transfer(site, link);
    for (int i = 0; i < 4; i++) {
        admin_expect(site, "/v1/accounts/shop/alice/activate", "", 200);
        site_redis_command(site, "CLIENT KILL TYPE normal SKIPME yes");
        (void)expect_flow(fd, 500);
    }
    close(fd);
    site_destroy(&site);
}

Test(revocation, of_another_link_cuts_none_that_hold_the_last_funds)
{
    struct site *site = site_create(.own_media = true);
    size_t size;
    site_media_add(site, "/big.mp3", TRACK_LONG, 4);
    (void)site_media_bytes(site, "/big.mp3", &size);
    site_account_open_prepaid(site, "alice", 2 * size);
    const char *link = site_link(site, .account = "alice", .path = "/big.mp3", .jti = "order-1",
                                 .limits = {.rate = 600000});
    int fds[] = {begin_transfer(site, link), begin_transfer(site, link)};
    revoke_jti(site, "order-2");
    cr_expect_gt(expect_flow(fds[0], 1500), 100000u);
    cr_expect_gt(expect_flow(fds[1], 1500), 100000u);
    revoke_jti(site, "order-1");
    expect_cut(fds[0]);
    expect_cut(fds[1]);
    site_destroy(&site);
}

Test(revocation, that_Redis_has_lost_leaves_the_account_usable)
{
    struct site *first = site_create(.own_redis = true);
    struct site *second =
        site_create(.beside = first, .redis = site_redis_address(first), .node = "second-node");
    site_account_open_prepaid(first, "alice", 1000u * 1000 * 1000);
    const char *link = site_link(first, .account = "alice", .path = TRACK_TINY);
    answer_expect_file(first, fetch(first, link), TRACK_TINY);
    admin_expect(second, "/v1/accounts/shop/alice/suspend", "", 200);
    admin_expect(second, "/v1/accounts/shop/alice/activate", "", 200);
    answer_expect_file(first, fetch(first, link), TRACK_TINY);
    /* The revision was in the journal of the second node, which is gone. */
    site_node_kill(second);
    site_redis_command(first, "FLUSHALL");
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (site_admin(first, "GET", "/v1/accounts/shop/alice", NULL)->status != 200 &&
           harness_now_ms() < deadline_ms)
        harness_pause();
    while (fetch(first, link)->status != 200 && harness_now_ms() < deadline_ms)
        harness_pause();
    pause_ms(2500); /* the window ends, so that the next request asks Redis */
    answer_expect_file(first, fetch(first, link), TRACK_TINY);
    site_destroy(&second);
    site_destroy(&first);
}

Test(revocation, of_older_links_is_not_escaped_by_a_newer_one_of_the_same_jti)
{
    struct site *site = site_create(.settings = "workers: 1\n");
    site_account_open_prepaid(site, "alice", 1000u * 1000 * 1000);
    const char *links[] = {
        site_link(site, .account = "alice", .path = TRACK_LONG, .jti = "order-1",
                  .issued_in_s = -100, .limits = SLOW),
        site_link(site, .account = "alice", .path = TRACK_LONG, .jti = "order-1",
                  .issued_in_s = -10, .limits = SLOW),
    };
    int old = begin_transfer(site, links[0]), fresh = begin_transfer(site, links[1]);
    admin_expect(site, "/v1/accounts/shop/alice/revoke",
                 site_format(site, "{\"issued_before\":%lld}", (long long)time(NULL) - 50), 200);
    expect_cut(old);
    (void)expect_flow(fresh, 1500);
    close(fresh);
    site_destroy(&site);
}

Test(revocation, by_an_instant_in_milliseconds_is_refused)
{
    struct site *site = site_create();
    site_account_open_prepaid(site, "alice", 1000u * 1000 * 1000);
    admin_expect(site, "/v1/accounts/shop/alice/revoke",
                 site_format(site, "{\"issued_before\":%lld}", (long long)time(NULL) * 1000), 422);
    site_destroy(&site);
}

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

/* ---- two nodes, and a Redis that is far away ---- */

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

/* Each attempt must cut both transfers, but a busy machine may make some attempts slow. */
Test(revocation, stops_transfers_on_two_nodes_within_five_round_trips)
{
    struct pair pair;
    pair_create(&pair, 20, NULL);
    await_push(pair.far[0]);
    await_push(pair.far[1]);
    double round_trips = 1e9;
    for (int attempt = 1; attempt <= 5 && round_trips > 5; attempt++) {
        double round_trip_ms = relay_round_trip_ms(pair.relay);
        uint64_t taken_ms = cut_after_ms(&pair, site_format(pair.home, "order-%d", attempt));
        round_trips = (double)taken_ms / round_trip_ms;
        printf("a round trip is %.1f ms; both transfers cut after %llu ms: %.1f round trips\n",
               round_trip_ms, (unsigned long long)taken_ms, round_trips);
    }
    cr_expect_leq(round_trips, 5, "%.1f round trips", round_trips);
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
        if (answer->status == 200)
            expect_cut(fd); /* the grant was read first, so the push ended the response */
        else
            close(fd); /* refused, or cut before its head was read */
    }
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

/* ---- keys ---- */

static void replace_file(const char *path, const char *text);
static char *key_set_with_another_key(void);

Test(revocation, of_a_key_answers_those_who_wait_for_Redis_and_what_they_pipelined)
{
    struct site *home = site_create(.own_redis = true);
    struct relay *relay = relay_start(site_redis_address(home), 0);
    struct site *far = site_create(.beside = home, .redis = relay_address(relay), .node = "far-1",
                                   .settings = "workers: 1\nadmission_timeout_ms: 20000\n");
    site_account_open_prepaid(home, "alice", 1000u * 1000 * 1000);
    const char *link = site_link(home, .account = "alice", .path = TRACK_TINY);
    relay_hold_all(relay, true);
    int fd = raw_connect(far, 0);
    raw_print(fd, "GET %s HTTP/1.1\r\nHost: a\r\n\r\nGET %s HTTP/1.1\r\nHost: a\r\n\r\n", link,
              link);
    pause_ms(200);
    char *other = key_set_with_another_key();
    replace_file(site_key_file(far), other);
    answer_expect_refusal(far, raw_answer(far, fd, false), 403, "key_unknown");
    answer_expect_refusal(far, raw_answer(far, fd, false), 403, "key_unknown");
    close(fd);
    relay_hold_all(relay, false);
    key_text_free(&other);
    site_destroy(&far);
    relay_stop(&relay);
    site_destroy(&home);
}

static void replace_file(const char *path, const char *text)
{
    char fresh[600];
    snprintf(fresh, sizeof(fresh), "%s.new", path);
    FILE *file = fopen(fresh, "we");
    cr_assert(file);
    cr_assert(fputs(text, file) >= 0);
    cr_assert_eq(fclose(file), 0);
    cr_assert_eq(rename(fresh, path), 0);
}

static char *key_set_with_another_key(void)
{
    char *private_text = NULL, *public_text = NULL;
    cr_assert_eq(key_generate(TOKEN_EDDSA, &private_text, &public_text), 0);
    key_text_free(&private_text);
    return public_text;
}

Test(revocation, of_a_key_ends_its_links_and_their_transfers_without_a_signal)
{
    struct site *site = site_create();
    site_account_open_prepaid(site, "alice", 1000u * 1000 * 1000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_LONG, .limits = SLOW);
    int fd = begin_transfer(site, link);
    char *other = key_set_with_another_key();
    uint64_t begun_ms = harness_now_ms();
    replace_file(site_key_file(site), other); /* no signal is needed */
    expect_cut(fd);
    uint64_t taken_ms = harness_now_ms() - begun_ms;
    printf("cut %llu ms after its key was removed\n", (unsigned long long)taken_ms);
    answer_expect_refusal(site, fetch(site, link), 403, "key_unknown");
    key_text_free(&other);
    site_destroy(&site);
}

Test(revocation, of_a_link_without_jti_reaches_the_other_signature_of_the_same_text)
{
    struct site *site = site_create();
    struct key_set *keys = site_es256_keys(site);
    const char *twins[2];
    site_account_open_prepaid(site, "alice", 1000u * 1000 * 1000);
    site_twins(site, keys, TRACK_TINY, (struct token_limits){0}, twins);
    answer_expect_file(site, fetch(site, twins[0]), TRACK_TINY);
    answer_expect_file(site, fetch(site, twins[1]), TRACK_TINY); /* a high s is accepted as well */
    admin_expect(site, "/v1/links/revoke",
                 site_format(site, "{\"url\":\"http://media.example%s\"}", twins[0]), 200);
    answer_expect_refusal(site, fetch(site, twins[0]), 410, "link_revoked");
    answer_expect_refusal(site, fetch(site, twins[1]), 410, "link_revoked");
    key_set_destroy(&keys);
    site_destroy(&site);
}

Test(revocation, does_not_come_from_a_key_file_that_is_broken)
{
    struct site *site = site_create();
    site_account_open_prepaid(site, "alice", 1000u * 1000 * 1000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    size_t before = strlen(site_log(site));
    replace_file(site_key_file(site), "{\"keys\":[");
    site_log_await(site, "the key sets were not reloaded, and the previous ones stay in force");
    answer_expect_file(site, fetch(site, link), TRACK_TINY);
    /* The log says it once, though the node tries again and again. */
    uint64_t until_ms = harness_now_ms() + 1500;
    while (harness_now_ms() < until_ms)
        harness_pause();
    const char *said = strstr(site_log(site) + before, "were not reloaded");
    cr_assert_not_null(said);
    cr_expect_null(strstr(said + 1, "were not reloaded"));
    char *other = key_set_with_another_key();
    replace_file(site_key_file(site), other);
    site_log_await(site, "reloaded the key sets");
    /* A worker takes them over at its next turn, which may come after the log's line. */
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (fetch(site, link)->status == 200)
        cr_assert_lt(harness_now_ms(), deadline_ms, "a worker keeps the old keys");
    answer_expect_refusal(site, fetch(site, link), 403, "key_unknown");
    key_text_free(&other);
    site_destroy(&site);
}
