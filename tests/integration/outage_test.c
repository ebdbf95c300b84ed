/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node with `redis_down: continue` while Redis is stopped, killed or out of reach: known postpaid
 * accounts are served on, up to their cap and for their time, and everybody else waits. Afterwards the
 * bill is exact, and revocations hold.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/harness.h"
#include "tests/integration/harness_outage.h"
#include "tests/integration/transfer_steps.h"

#define GOES_ON                                                                                    \
    "admission_timeout_ms: 1500\n"                                                                 \
    "redis_down: continue\n"
#define CONTINUE "workers: 2\n" GOES_ON

/* A link of its own for each request. */
static const char *next_link(struct site *site, const char *account, const char *path)
{
    static unsigned last;
    return site_link(site, .account = account, .path = path,
                     .jti = site_format(site, "order-%u", last++));
}

static void expect_file(struct site *site, const char *link)
{
    answer_expect_file(site, fetch(site, link, .fresh = true), TRACK_TINY);
}

static void expect_served(struct site *site, const char *account)
{
    expect_file(site, next_link(site, account, TRACK_TINY));
}

static void expect_waiting(struct site *site, const char *link)
{
    answer_expect_refusal(site, fetch(site, link, .fresh = true), 503, "redis_unavailable");
}

static uint64_t size_of(struct site *site, const char *path)
{
    size_t size;
    site_media_bytes(site, path, &size);
    return size;
}

static const char *limited_link(struct site *site)
{
    return site_link(site, .account = "alice", .path = TRACK_TINY, .jti = "thrice",
                     .limits = {.max_uses = 3});
}

/* Alice and Bob are known and postpaid, Carol is suspended, Dave prepaid, and Erin's account was never
 * asked about. */
static void open_accounts(struct site *site)
{
    site_account_open_postpaid(site, "alice");
    site_account_open_postpaid(site, "bob");
    site_account_open_postpaid(site, "carol");
    site_account_open_prepaid(site, "dave", 1000u * 1000 * 1000);
    site_account_open_postpaid(site, "erin");
    await_knowing(site);
    for (unsigned i = 0; i < 4; i++)
        expect_served(site, ((const char *const[]){"alice", "bob", "carol", "dave"})[i]);
    answer_expect_file(site, fetch(site, limited_link(site)), TRACK_TINY);
    admin_expect(site, "/v1/accounts/shop/carol/suspend", "{}", 200);
}

/* While Redis is away. Returns how many files Alice got. */
static unsigned expect_outage(struct site *site)
{
    enum { ROUNDS = 10 };
    await_health(site, "\"continues\":true");
    for (unsigned i = 0; i < ROUNDS; i++) {
        expect_served(site, "alice");
        expect_waiting(site, next_link(site, "carol", TRACK_TINY));
        expect_waiting(site, next_link(site, "dave", TRACK_TINY));
        expect_waiting(site, next_link(site, "erin", TRACK_TINY));
        expect_waiting(site, limited_link(site));
    }
    expect_served(site, "bob");
    cr_expect(health_says(site, "\"granting\":false"));
    cr_expect(health_says(site, "\"ready\":true"), "balancers go on sending");
    await_health(site, site_format(site, "\"responses_unasked\":%u", ROUNDS + 1));
    return ROUNDS;
}

/* Waits while the link is answered with `before`, until it is refused as it must be. */
static void await_refusal(struct site *site, const char *link, unsigned before, unsigned status,
                          const char *reason)
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    const struct answer *answer = fetch(site, link);
    while (answer->status == before && harness_now_ms() < deadline_ms) {
        harness_pause();
        answer = fetch(site, link);
    }
    answer_expect_refusal(site, answer, status, reason);
}

static void expect_the_end(struct site *site, unsigned of_alice)
{
    uint64_t size = size_of(site, TRACK_TINY);
    await_health(site, "\"granting\":true");
    site_log_await(site, "Redis can be asked again; in ");
    await_health(site, "\"continues\":false");
    expect_served(site, "alice");
    expect_served(site, "dave");
    expect_served(site, "erin");
    answer_expect_file(site, fetch(site, limited_link(site)), TRACK_TINY);
    /* A Redis that may have lost data is not believed at once. */
    await_refusal(site, next_link(site, "carol", TRACK_TINY), 503, 402, "account_suspended");
    site_usage_await(site, "alice", (4 + of_alice) * size);
    site_usage_await(site, "bob", 2 * size);
    site_usage_await(site, "carol", size);
    site_usage_await(site, "dave", 2 * size);
    site_usage_await(site, "erin", size);
    cr_expect_eq(site_usage_settled(site, "alice"), (4 + of_alice) * size, "and it stays so");
}

Test(outage, of_a_killed_redis_keeps_known_postpaid_accounts_served_and_the_bill_exact)
{
    struct site *site = site_create(.own_redis = true, .settings = CONTINUE);
    open_accounts(site);
    site_redis_kill(site);
    unsigned of_alice = expect_outage(site);
    site_redis_start(site);
    expect_the_end(site, of_alice);
    site_destroy(&site);
}

Test(outage, of_a_stopped_redis_keeps_known_postpaid_accounts_served_and_the_bill_exact)
{
    struct site *site = site_create(.own_redis = true, .settings = CONTINUE);
    open_accounts(site);
    site_redis_signal(site, SIGSTOP);
    unsigned of_alice = expect_outage(site);
    site_redis_signal(site, SIGCONT);
    expect_the_end(site, of_alice);
    site_destroy(&site);
}

/* All of its data: the node's journal brings it back. */
Test(outage, of_a_redis_that_comes_back_empty_is_billed_exactly)
{
    struct site *site = site_create(.own_redis = true, .settings = CONTINUE);
    open_accounts(site);
    site_redis_kill(site);
    unsigned of_alice = expect_outage(site);
    const char *files = site_format(site, "%s/appendonlydir", site_directory(site));
    cr_assert_eq(rename(files, site_format(site, "%s-old", files)), 0);
    site_redis_start(site);
    expect_the_end(site, of_alice);
    site_destroy(&site);
}

/* Also once the time of what Redis has confirmed is over: the head and a small body leave together, and
 * the body asks again whether it may. */
Test(outage, that_is_longer_than_a_grant_keeps_known_postpaid_accounts_served)
{
    struct site *site =
        site_create(.own_redis = true, .settings = CONTINUE "grant_validity_ms: 2000\n");
    site_account_open_postpaid(site, "alice");
    await_knowing(site);
    expect_served(site, "alice");
    site_redis_kill(site);
    await_health(site, "\"continues\":true");
    pause_ms(2100);
    expect_served(site, "alice");
    answer_expect_file(site, fetch(site, next_link(site, "alice", TRACK_LONG), .fresh = true),
                       TRACK_LONG);
    site_redis_start(site);
    await_health(site, "\"granting\":true");
    site_usage_await(site, "alice", 2 * size_of(site, TRACK_TINY) + size_of(site, TRACK_LONG));
    site_destroy(&site);
}

Test(outage, is_waited_for_by_default)
{
    struct site *site = site_create(.own_redis = true, .settings = "workers: 1\n");
    site_account_open_postpaid(site, "alice");
    expect_served(site, "alice");
    site_redis_kill(site);
    await_health(site, "\"granting\":false");
    expect_waiting(site, next_link(site, "alice", TRACK_TINY));
    cr_expect(health_says(site, "\"continues\":false"));
    cr_expect_eq(site_traffic(site, "responses_unasked"), 0u);
    site_redis_start(site);
    await_health(site, "\"granting\":true");
    expect_served(site, "alice");
    site_destroy(&site);
}

/* Each account has its own; it is kept to by the byte, also where clients ask at once. */
Test(outage, serves_each_account_up_to_its_cap)
{
    enum { ASKING = 8 };
    struct site *site =
        site_create(.own_redis = true, .settings = CONTINUE "redis_down_bytes_max: 8000\n");
    uint64_t size = size_of(site, TRACK_TINY), files = 8000 / size;
    cr_assert(files > 0 && files < ASKING);
    site_account_open_postpaid(site, "alice");
    site_account_open_postpaid(site, "bob");
    await_knowing(site);
    expect_served(site, "alice");
    expect_served(site, "bob");
    site_redis_kill(site);
    await_health(site, "\"continues\":true");
    const char *links[ASKING];
    const struct answer *answers[ASKING];
    for (unsigned i = 0; i < ASKING; i++)
        links[i] = next_link(site, "alice", TRACK_TINY);
    static const struct fetch_options options[ASKING];
    fetch_parallel(site, links, options, ASKING, answers);
    unsigned served = 0;
    for (unsigned i = 0; i < ASKING; i++) {
        if (answers[i]->status == 200)
            served++;
        else
            answer_expect_refusal(site, answers[i], 503, "redis_unavailable");
    }
    cr_expect_eq(served, files);
    expect_waiting(site, next_link(site, "alice", TRACK_TINY));
    expect_served(site, "bob");
    site_redis_start(site);
    await_health(site, "\"granting\":true");
    expect_served(site, "alice");
    site_usage_await(site, "alice", (2 + files) * size);
    await_health(site, site_format(site, "\"bytes_unasked\":%llu",
                                   (unsigned long long)((files + 1) * size)));
    site_destroy(&site);
}

Test(outage, lets_nobody_on_once_its_time_is_over)
{
    struct site *site =
        site_create(.own_redis = true, .settings = CONTINUE "redis_down_ms_max: 3000\n");
    site_account_open_postpaid(site, "alice");
    await_knowing(site);
    expect_served(site, "alice");
    site_redis_kill(site);
    site_log_await(site, "nothing goes on without Redis any longer");
    await_health(site, "\"continues\":false");
    expect_waiting(site, next_link(site, "alice", TRACK_TINY));
    cr_expect(health_says(site, "\"ready\":false"));
    site_redis_start(site);
    await_health(site, "\"granting\":true");
    expect_served(site, "alice");
    site_usage_await(site, "alice", 2 * size_of(site, TRACK_TINY));
    site_destroy(&site);
}

Test(outage, lets_nobody_on_once_the_journal_that_waits_has_reached_its_bound)
{
    enum { RECORDS = 16 };
    struct site *site =
        site_create(.own_redis = true, .settings = CONTINUE "redis_down_journal_bytes_max: 4096\n"
                                                            "journal_mark_ms: 10\n");
    site_account_open_postpaid(site, "alice");
    await_knowing(site);
    expect_served(site, "alice");
    site_usage_settled(site, "alice");
    site_redis_kill(site);
    await_health(site, "\"continues\":true");
    unsigned served = 0, status;
    uint64_t size = size_of(site, TRACK_TINY);
    do { /* a record each, which the writer makes once it is delivered */
        status = fetch(site, next_link(site, "alice", TRACK_TINY), .fresh = true)->status;
        served += status == 200;
        harness_pause();
        cr_assert_leq(served, 100 * RECORDS);
    } while (status == 200);
    cr_expect_eq(status, 503u);
    cr_expect_gt(served, 1u);
    site_redis_start(site);
    await_health(site, "\"granting\":true");
    expect_served(site, "alice");
    site_usage_await(site, "alice", (2 + served) * size);
    site_destroy(&site);
}

/* ---- transfers under way, and revocations that nobody heard ---- */

struct apart {
    struct site *home, *far; /* the relay lies between the far node and Redis */
    struct relay *relay;
};

static void apart_create(struct apart *apart, const char *settings)
{
    apart->home = site_create(.own_redis = true);
    apart->relay = relay_start(site_redis_address(apart->home), 0);
    apart->far = site_create(.beside = apart->home, .redis = relay_address(apart->relay),
                             .node = "far-1", .settings = settings);
    site_account_open_postpaid(apart->home, "alice");
    site_account_open_prepaid(apart->home, "dave", 1000u * 1000 * 1000);
    await_knowing(apart->far);
}

static void apart_destroy(struct apart *apart)
{
    site_destroy(&apart->far);
    relay_stop(&apart->relay);
    site_destroy(&apart->home);
}

static int begin_slow(struct apart *apart, const char *account, const char *jti)
{
    return begin_transfer(apart->far, site_link(apart->home, .account = account, .path = TRACK_LONG,
                                                .jti = jti, .limits = SLOW));
}

/* Whoever was revoked meanwhile is cut once Redis can be asked, and others of the account go on. A worker
 * that is told of a revocation before it can ask whom it names cuts all of the account's transfers: so
 * there is one worker here, which hears of it when it asks, and the push connection comes back later. */
Test(outage, carries_transfers_past_their_validity_and_cuts_those_that_were_revoked_meanwhile)
{
    struct apart apart;
    apart_create(&apart, "workers: 1\n" GOES_ON "grant_validity_ms: 2000\n");
    int revoked = begin_slow(&apart, "alice", "revoked"),
        kept = begin_slow(&apart, "alice", "kept");
    int prepaid = begin_slow(&apart, "dave", "prepaid");
    relay_hold_push(apart.relay, true);
    relay_hold_all(apart.relay, true);
    relay_mute_new(apart.relay, true);
    expect_cut(prepaid); /* its validity ends: it waits, in vain */
    await_health(apart.far, "\"continues\":true");
    revoke_jti(apart.home, "revoked");
    expect_flow(revoked, 1500, 100000);
    expect_flow(kept, 100, 10000);
    relay_mute_new(apart.relay, false);
    relay_hold_all(apart.relay, false);
    expect_cut(revoked);
    await_health(apart.far, "\"granting\":true");
    expect_flow(kept, 500, 10000);
    relay_hold_push(apart.relay, false);
    await_health(apart.far, "\"push_up\":true");
    expect_flow(kept, 500, 10000);
    answer_expect_refusal(apart.far,
                          fetch(apart.far, site_link(apart.home, .account = "alice",
                                                     .path = TRACK_LONG, .jti = "revoked")),
                          410, "link_revoked");
    expect_file(apart.far, next_link(apart.home, "alice", TRACK_TINY));
    close(kept);
    apart_destroy(&apart);
}

/* A link that the node was told of before stays refused, and a suspension that comes meanwhile holds
 * afterwards. */
Test(outage, starts_no_revoked_link_that_was_heard_of)
{
    struct apart apart;
    apart_create(&apart, CONTINUE);
    expect_file(apart.far, next_link(apart.home, "alice", TRACK_TINY));
    const char *link = site_link(apart.home, .account = "alice", .path = TRACK_TINY, .jti = "gone");
    answer_expect_file(apart.far, fetch(apart.far, link), TRACK_TINY);
    revoke_jti(apart.home, "gone");
    /* Until the push has reached the node, the link may still start. */
    await_refusal(apart.far, link, 200, 410, "link_revoked");
    relay_hold_all(apart.relay, true);
    relay_mute_new(apart.relay, true);
    await_health(apart.far, "\"continues\":true");
    expect_waiting(apart.far, link);
    admin_expect(apart.home, "/v1/accounts/shop/alice/suspend", "{}", 200);
    relay_mute_new(apart.relay, false);
    relay_hold_all(apart.relay, false);
    await_health(apart.far, "\"granting\":true");
    answer_expect_refusal(apart.far, fetch(apart.far, next_link(apart.home, "alice", TRACK_TINY)),
                          402, "account_suspended");
    apart_destroy(&apart);
}
