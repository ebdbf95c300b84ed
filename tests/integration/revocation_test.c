/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Revocation on one node: of a link by its jti or its URL, of all links older than an instant, of an
 * account. It ends transfers under way, lasts as long as its link, and outlives Redis and the node.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/integration/harness.h"
#include "tests/integration/transfer_steps.h"

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
            unsigned wanted = revoked ? 410 : asked[i].before;
            uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
            const struct answer *answer = NULL;
            do { /* the node hears of it by its push connection */
                answer =
                    fetch(site, links[i], .method = asked[i].method, .range = asked[i].range,
                          .headers = asked[i].header != NULL ? HEADERS(asked[i].header) : NULL);
            } while (revoked == 1 && answer->status != wanted && harness_now_ms() < deadline_ms);
            cr_assert_eq(answer->status, wanted, "%s: %u", asked[i].jti, answer->status);
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
        await_no_delivery(site, links[i], 410, "link_revoked");
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
        site_link(site, .account = "alice", .path = TRACK_LONG, .limits = SLOW, .expires_in_s = 6);
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
    expect_flow(fresh, 1500, 100000);
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
    for (size_t i = 0; i < 2; i++)
        await_no_delivery(site, twins[i], 410, "link_revoked");
    key_set_destroy(&keys);
    site_destroy(&site);
}
