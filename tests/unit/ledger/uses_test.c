/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Uses, revocations and funds of links as the function library keeps them, called as workers and
 * posters call it: what is granted, what a use is, and that the order of posts from several nodes
 * makes no difference.
 */
#include <criterion/criterion.h>
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/ledger/fixture.h"

static struct fixture fx;

static void setup(void)
{
    fixture_start(&fx);
    fixture_function_load(&fx);
    freeReplyObject(fixture_redis(&fx, "HSET tg:{shop/a}:account plan prepaid status active "
                                       "balance 1000000"));
}

static void teardown(void)
{
    fixture_end(&fx);
}

TestSuite(ledger_uses, .init = setup, .fini = teardown, .timeout = 60);

#define KEYS  "tg:{shop/a}:account tg:{shop/a}:grants tg:{shop/a}:link:x tg:{shop/a}:link:x:grants"
#define ONE   "00000000000000000000000000000001"
#define OTHER "00000000000000000000000000000002"
#define FAR   "9000000000000" /* ms since 1970: the year 2255 */

enum { NEW, RESUMED, UNDER_WAY };

struct grant {
    int64_t admission, revision, rate, max_conns, sharers, revoked_before, revoked_left;
    int64_t bounds, posted, ceiling, bound;
    int64_t opened, till, acknowledged, left;
    int64_t link_bounds, link_posted, link_ceiling, link_bound;
};
#define GRANT_NUMBERS (sizeof(struct grant) / sizeof(int64_t))

static void take(redisReply *reply, struct grant *out)
{
    int64_t *const numbers = &out->admission;
    cr_assert(reply->type == REDIS_REPLY_ARRAY && reply->elements == GRANT_NUMBERS, "%s",
              reply->str);
    for (size_t i = 0; i < GRANT_NUMBERS; i++)
        numbers[i] = reply->element[i]->integer;
    freeReplyObject(reply);
}

/* An instance's figures of its pools; each question has a higher number. */
struct told {
    int64_t ceiling, least, link_ceiling, link_least;
    bool is_new; /* the link's figures count from what was posted */
};

static int64_t questions;

/* Asks for `need` bytes of /f, which has 1000 bytes, beyond what is told. */
static struct grant ask_told(const char *instance, int64_t need, int max_uses, int64_t max_bytes,
                             int64_t use_period_ms, int stage, const struct told *told)
{
    struct grant grant;
    long long count = (long long)++questions;
    redisReply *reply = fixture_redis(
        &fx,
        "FCALL tollgate_admit 4 " KEYS " %s 1 30000 0 %lld %lld %lld %lld %lld 0"
        " /f 1000 %d %lld " FAR " %lld %d " FAR " %lld %d %lld %lld %lld 0",
        instance, (long long)need, count, (long long)told->ceiling, (long long)told->least,
        (long long)(told->least + need), max_uses, (long long)max_bytes, (long long)use_period_ms,
        stage, max_bytes > 0 ? count : 0, told->is_new ? 1 : 0, (long long)told->link_ceiling,
        (long long)told->link_least, (long long)(told->link_least + need));
    take(reply, &grant);
    return grant;
}

static struct grant ask_of(const char *instance, int64_t need, int max_uses, int64_t max_bytes,
                           int64_t use_period_ms, int stage)
{
    return ask_told(instance, need, max_uses, max_bytes, use_period_ms, stage, &(struct told){0});
}

static struct grant ask(int max_uses, int64_t use_period_ms, int stage)
{
    return ask_of(ONE, 100, max_uses, 0, use_period_ms, stage);
}

/* Posts the bytes that arrived in a use, which ends at `till`, as an instance's record `sequence`. */
static void post_till(const char *instance, int64_t sequence, int64_t bytes, int64_t opened,
                      int64_t till, bool taken)
{
    char terms[96];
    snprintf(terms, sizeof(terms), "5 %lld %lld " FAR " %d", (long long)opened, (long long)till,
             taken ? 1 : 0);
    redisReply *reply =
        fixture_redis(&fx,
                      "FCALL tollgate_post 6 tg:{shop/a}:account tg:{shop/a}:grants "
                      "tg:{shop/a}:usage:20261125 tg:{shop/a}:usage:202611 tg:{shop/a}:link:x "
                      "tg:{shop/a}:link:x:grants %s 1 %lld %lld usage 20261125 /f %lld 1 %s",
                      instance, (long long)sequence, (long long)sequence, (long long)bytes, terms);
    cr_assert(reply->type == REDIS_REPLY_ARRAY && reply->elements == 4 &&
                  reply->element[0]->integer == 0,
              "%s", reply->str != NULL ? reply->str : "refused");
    freeReplyObject(reply);
}

static void post(const char *instance, int64_t sequence, int64_t bytes, int64_t opened, bool taken)
{
    post_till(instance, sequence, bytes, opened, INT64_C(9000000000000), taken);
}

static int64_t control(const char *instance, int64_t sequence, const char *operation,
                       int64_t amount, int64_t time_ms)
{
    redisReply *reply = fixture_redis(
        &fx,
        "FCALL tollgate_post 8 tg:{shop/a}:account tg:{shop/a}:grants " FIXTURE_RING(
            "shop/a") "tg:{shop/a}:link:x %s 1 %lld %lld money %s %lld - %lld %s 0 0 0 n1",
        instance, (long long)sequence, (long long)sequence, operation, (long long)amount,
        (long long)time_ms, "");
    cr_assert(reply->type == REDIS_REPLY_ARRAY, "%s", reply->str);
    int64_t refused = reply->element[0]->integer;
    freeReplyObject(reply);
    return refused;
}

static void use_text(char out[128])
{
    redisReply *reply = fixture_redis(&fx, "HGET tg:{shop/a}:link:x p:/f");
    snprintf(out, 128, "%s", reply->type == REDIS_REPLY_STRING ? reply->str : "(none)");
    freeReplyObject(reply);
}

/* ---- uses ---- */

Test(ledger_uses, a_use_stays_open_until_three_times_the_file_has_arrived)
{
    struct grant first = ask(1, 60000, NEW);
    cr_assert_eq(first.admission, LEDGER_GRANTED);
    cr_assert_gt(first.opened, 0);
    cr_expect_eq(first.till, first.opened + 60000);
    cr_expect(first.left > 0 && first.left <= 60000, "%lld", (long long)first.left);
    cr_expect_eq(ask(1, 60000, NEW).opened, first.opened);
    post(ONE, 1, 2999, first.opened, false);
    struct grant second = ask(1, 60000, NEW);
    cr_expect_eq(second.admission, LEDGER_GRANTED);
    cr_expect_eq(second.acknowledged, 2999);
    post(ONE, 2, 1, first.opened, false);
    cr_expect_eq(ask(1, 60000, NEW).admission, LEDGER_USED_UP);
    cr_expect_eq(ask(1, 60000, UNDER_WAY).admission, LEDGER_GRANTED, "a response is cut for it");
    cr_expect_eq(ask(1, 60000, RESUMED).admission, LEDGER_USED_UP);
    struct grant third = ask(2, 60000, NEW);
    cr_expect_eq(third.admission, LEDGER_GRANTED);
    cr_expect_gt(third.opened, first.opened);
    cr_expect_eq(third.acknowledged, 0);
}

Test(ledger_uses, a_use_in_which_nothing_arrived_does_not_count)
{
    for (int i = 0; i < 5; i++) { /* each use ends at once */
        cr_assert_eq(ask(1, 1, NEW).admission, LEDGER_GRANTED);
        fixture_pause();
    }
    struct grant last = ask(1, 1, NEW);
    post_till(ONE, 1, 1, last.opened, last.till, false);
    fixture_pause();
    cr_expect_eq(ask(1, 1, NEW).admission, LEDGER_USED_UP);
}

Test(ledger_uses, one_that_was_taken_counts_though_nothing_arrived)
{
    struct grant grant = ask(1, 1, NEW);
    post_till(ONE, 1, 0, grant.opened, grant.till, true);
    fixture_pause();
    cr_expect_eq(ask(1, 1, NEW).admission, LEDGER_USED_UP);
}

/* A node's response began at the use's end, and has not been posted when another node opens it. */
Test(ledger_uses, one_that_ended_before_its_bytes_were_posted_is_not_two)
{
    char text[128], expected[128];
    struct grant ended = ask(1, 1, NEW);
    fixture_pause();
    struct grant again = ask_of(OTHER, 100, 1, 0, 60000, NEW);
    cr_expect_eq(again.opened, ended.opened);
    cr_expect_gt(again.till, ended.till);
    post_till(ONE, 1, 10, ended.opened, ended.till, false);
    post_till(OTHER, 1, 5, again.opened, again.till, false);
    use_text(text);
    snprintf(expected, sizeof(expected), "%" PRId64 " 15 %" PRId64, again.till, ended.opened);
    cr_expect_str_eq(text, expected);
}

Test(ledger_uses, one_that_was_opened_again_ends_as_late_after_a_replay_in_either_order)
{
    char text[128];
    for (int i = 0; i < 2; i++) {
        freeReplyObject(fixture_redis(&fx, "FLUSHALL"));
        post_till(ONE, 1, 10, 1000, i == 0 ? 5000 : 60000, false);
        post_till(OTHER, 1, 5, 1000, i == 0 ? 60000 : 5000, false);
        use_text(text);
        cr_expect_str_eq(text, "60000 15 1000");
    }
}

Test(ledger_uses, a_resume_needs_a_use_that_is_open)
{
    cr_expect_eq(ask(0, 60000, RESUMED).admission, LEDGER_NOT_BEGUN);
    struct grant grant = ask(0, 60000, NEW);
    cr_expect_eq(ask(0, 60000, RESUMED).opened, grant.opened);
    fixture_pause();
    freeReplyObject(fixture_redis(&fx, "DEL tg:{shop/a}:link:x"));
    (void)ask(0, 1, NEW);
    fixture_pause();
    cr_expect_eq(ask(0, 1, RESUMED).admission, LEDGER_NOT_BEGUN);
}

/* Two nodes have three uses open. Every order of their four posts must give three uses. */
Test(ledger_uses, posts_in_any_order_come_to_the_same)
{
    static const struct {
        const char *instance;
        int64_t opened, bytes;
    } posts[4] = {{ONE, 1000, 10}, {ONE, 3000, 30}, {OTHER, 2000, 20}, {OTHER, 3000, 5}};
    char first[128] = "";
    for (int order = 0; order < 6; order++) {
        /* Each instance posts in its own order; all interleavings are tried. */
        static const int orders[6][4] = {{0, 1, 2, 3}, {0, 2, 1, 3}, {0, 2, 3, 1},
                                         {2, 0, 1, 3}, {2, 0, 3, 1}, {2, 3, 0, 1}};
        int64_t sequence[2] = {0, 0};
        char text[128];
        freeReplyObject(fixture_redis(&fx, "FLUSHALL"));
        for (int i = 0; i < 4; i++) {
            int at = orders[order][i];
            post(posts[at].instance, ++sequence[at / 2], posts[at].bytes, posts[at].opened, false);
        }
        use_text(text);
        if (order == 0)
            snprintf(first, sizeof(first), "%s", text);
        cr_expect_str_eq(text, first, "order %d: %s", order, text);
    }
    cr_expect_str_eq(first, FAR " 35 1000 2000 3000");
}

Test(ledger_uses, one_after_another_without_max_uses_leaves_the_last_alone)
{
    char text[128], last[128];
    for (int i = 0; i < 3; i++) {
        struct grant grant = ask(0, 1, NEW); /* it ends at once */
        post_till(ONE, i + 1, 10, grant.opened, grant.till, false);
        fixture_pause();
        snprintf(last, sizeof(last), "%lld 10 %lld", (long long)grant.till,
                 (long long)grant.opened);
    }
    use_text(text);
    cr_expect_str_eq(text, last);
}

Test(ledger_uses, one_has_a_later_name_than_the_one_before_whatever_the_clock_says)
{
    post(ONE, 1, 3000, 9000000000000, false);
    struct grant grant = ask(2, 60000, NEW);
    cr_expect_eq(grant.admission, LEDGER_GRANTED);
    cr_expect_eq(grant.opened, 9000000000001);
}

static int64_t kept_until(const char *key)
{
    return fixture_redis_integer(&fx, "PEXPIRETIME tg:{shop/a}:link:%s", key);
}

Test(ledger_uses, and_funds_of_a_link_are_kept_an_hour_longer_than_the_link_and_never_shorter)
{
    const int64_t kept_ms = 9000000000000 + 3600000;
    (void)ask_of(ONE, 100, 1, 1000, 60000, NEW);
    cr_expect_eq(kept_until("x"), kept_ms);
    cr_expect_eq(kept_until("x:grants"), kept_ms);
    freeReplyObject(fixture_redis(&fx, "PEXPIREAT tg:{shop/a}:link:x 9100000000000"));
    (void)ask_of(ONE, 100, 1, 1000, 60000, NEW);
    cr_expect_eq(kept_until("x"), 9100000000000);
    freeReplyObject(fixture_redis(&fx, "PEXPIREAT tg:{shop/a}:link:x " FAR));
    (void)ask_of(ONE, 100, 1, 1000, 60000, NEW);
    cr_expect_eq(kept_until("x"), kept_ms);
}

/* Asks for 100 bytes, with the link's funds where its count is 1. */
static struct grant ask_by(const char *function, int link_count)
{
    struct grant grant;
    redisReply *reply =
        fixture_redis(&fx,
                      "FCALL %s 4 " KEYS " " ONE " 1 30000 0 100 1 0 0 100 0 /f 1000 1 1000 " FAR
                      " 60000 0 " FAR " %d 0 0 0 100 0",
                      function, link_count);
    take(reply, &grant);
    return grant;
}

Test(ledger_uses, that_are_only_judged_leave_nothing)
{
    struct grant grant = ask_by("tollgate_judge", 1);
    cr_expect_eq(grant.admission, LEDGER_GRANTED);
    cr_expect(grant.ceiling == 100 && grant.link_ceiling == 100, "it says what would be granted");
    cr_expect_eq(fixture_redis_integer(&fx, "EXISTS tg:{shop/a}:grants tg:{shop/a}:link:x "
                                            "tg:{shop/a}:link:x:grants"),
                 0);
    cr_expect_eq(fixture_account_field(&fx, "shop/a", "l:" ONE), 0);
}

Test(ledger_uses, that_are_malformed_in_redis_are_refused)
{
    static const char *const values[] = {
        "", "1", "1 2", "1 2 ", "x 2 3", "9007199254740993 2 3", "1 9007199254740993 3"};
    for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
        freeReplyObject(fixture_redis(&fx, "HSET tg:{shop/a}:link:x p:/f %s", values[i]));
        redisReply *reply = fixture_redis(&fx, "FCALL tollgate_admit 4 " KEYS " " ONE
                                               " 1 30000 0 0 0 0 0 0 0 /f 1000 1 0 " FAR
                                               " 60000 0 " FAR " 0 0 0 0 0 0");
        cr_expect(reply->type == REDIS_REPLY_ERROR && strstr(reply->str, "DAMAGED ") == reply->str,
                  "'%s'", values[i]);
        freeReplyObject(reply);
    }
}

/* ---- funds of a link ---- */

Test(ledger_uses, nodes_share_what_max_bytes_leaves)
{
    struct grant one = ask_of(ONE, 600, 0, 1000, 60000, NEW);
    cr_expect_eq(one.admission, LEDGER_GRANTED);
    cr_expect_eq(one.link_bounds, LEDGER_BY_LINK_BYTES);
    cr_expect_eq(one.link_ceiling, 600);
    cr_expect_eq(one.link_bound, 1000);
    /* It holds 600, and needs all of them: the other node can have 400 at most. */
    (void)ask_told(ONE, 0, 0, 1000, 60000, NEW, &(struct told){600, 600, 600, 600, false});
    struct grant other = ask_of(OTHER, 600, 0, 1000, 60000, NEW);
    cr_expect_eq(other.link_bound, 400);
    cr_expect_eq(other.link_ceiling, 0, "of two funds that do not both suffice one was raised");
    cr_expect_eq(other.ceiling, 0);
    cr_expect_eq(ask_of(OTHER, 400, 0, 1000, 60000, NEW).link_ceiling, 400);
    /* The first delivers its bytes; the other tells that it holds nothing any more. */
    post(ONE, 1, 600, one.opened, false);
    freeReplyObject(fixture_redis(
        &fx, "FCALL tollgate_tell 1 tg:{shop/a}:link:x:grants " OTHER " 1 30000 %lld 0 0 0",
        (long long)++questions));
    const struct told told = {600, 600, 600, 600, false};
    struct grant short_of = ask_told(ONE, 401, 0, 1000, 60000, NEW, &told);
    cr_expect_eq(short_of.link_posted, 600);
    cr_expect_eq(short_of.link_bound, 1000);
    cr_expect_eq(short_of.link_ceiling, 600);
    cr_expect_eq(ask_told(ONE, 400, 0, 1000, 60000, NEW, &told).link_ceiling, 1000);
}

Test(ledger_uses, a_question_without_the_links_figures_learns_what_bounds_it_and_takes_nothing)
{
    struct grant grant = ask_by("tollgate_admit", 0);
    cr_expect_eq(grant.admission, LEDGER_GRANTED);
    cr_expect_eq(grant.ceiling, 100, "the account's funds alone are raised");
    cr_expect_eq(grant.link_bounds, LEDGER_BY_LINK_BYTES);
    cr_expect(grant.link_ceiling == 0 && grant.link_bound == 0);
    cr_expect_eq(fixture_redis_integer(&fx, "EXISTS tg:{shop/a}:link:x:grants"), 0);
}

Test(ledger_uses, a_node_that_does_not_know_what_it_posted_of_a_link_counts_from_there)
{
    struct grant first = ask_of(ONE, 0, 0, 1000, 60000, NEW);
    post(ONE, 1, 300, first.opened, false);
    struct grant grant = ask_told(ONE, 200, 0, 1000, 60000, NEW, &(struct told){.is_new = true});
    cr_expect_eq(grant.link_posted, 300);
    cr_expect_eq(grant.link_ceiling, 500);
    cr_expect_eq(grant.link_bound, 1000);
}

/* ---- revocation and limits ---- */

Test(ledger_uses, a_revoked_link_is_granted_nothing_and_each_change_moves_the_revision)
{
    struct grant before = ask(0, 60000, NEW);
    cr_expect_eq(control(ONE, 1, "revoke_link", 9000000000000, 5), 0);
    struct grant after = ask(0, 60000, NEW);
    cr_expect_eq(after.admission, LEDGER_REVOKED);
    cr_expect_eq(after.revision, before.revision + 1);
    cr_expect_eq(ask(0, 60000, UNDER_WAY).admission, LEDGER_REVOKED);
    int64_t expiry = fixture_redis_integer(&fx, "PEXPIRETIME tg:{shop/a}:link:x");
    cr_expect_geq(expiry, 9000000000000);
    cr_expect_gt(after.revoked_left, INT64_C(365) * 86400 * 1000, "each link is to be asked for");
    cr_expect_eq(before.revoked_left, 0);
}

Test(ledger_uses, an_iat_watermark_never_goes_back)
{
    (void)control(ONE, 1, "revoke_before", 500, 5);
    (void)control(OTHER, 1, "revoke_before", 400, 6);
    cr_expect_eq(fixture_account_field(&fx, "shop/a", "revoked_before"), 500);
    cr_expect_eq(ask(0, 60000, NEW).revoked_before, 500);
    cr_expect_eq(ask(0, 60000, NEW).admission, LEDGER_REVOKED, "iat 0 is older than any instant");
}

Test(ledger_uses, the_latest_limit_counts_whichever_node_posts_it_first)
{
    (void)control(ONE, 1, "limit", 700, 9);
    (void)control(OTHER, 1, "limit", 300, 8);
    cr_expect_eq(ask(0, 60000, NEW).rate, 700);
    cr_expect_eq(fixture_account_field(&fx, "shop/a", "balance"), 1000000, "a limit is not money");
}

/* ---- push ---- */

static _Atomic int pushes, pushes_of_all, recalls;

static void on_recall(void *context, const struct ledger_account *account)
{
    (void)context;
    atomic_fetch_add(&recalls, account != NULL ? 1 : 0);
}

static void on_push(void *context, const struct ledger_account *account)
{
    (void)context;
    atomic_fetch_add(account != NULL ? &pushes : &pushes_of_all, 1);
}

static void await(const _Atomic int *counter, int least)
{
    for (int i = 0; i < 15000 && atomic_load(counter) < least; i++)
        fixture_pause();
    cr_assert_geq(atomic_load(counter), least);
}

Test(ledger_uses, a_revocation_is_heard_and_makes_older_grants_stale)
{
    fx.options.pushed = on_push;
    fixture_open_ready(&fx);
    struct ledger_account *account = fixture_account(&fx, "a");
    await(&pushes_of_all, 1);
    const struct ledger_grant grant = {.revision = 0};
    struct ledger_heard heard = ledger_heard(fx.ledger, account);
    cr_expect_not(ledger_grant_is_stale(fx.ledger, account, &grant, &heard));
    (void)control(ONE, 1, "revoke_before", 500, 5);
    await(&pushes, 1);
    cr_expect(ledger_grant_is_stale(fx.ledger, account, &grant, &heard));
    const struct ledger_grant newer = {.revision = 1};
    cr_expect_not(ledger_grant_is_stale(fx.ledger, account, &newer, &heard));
    /* The revision was heard before the question, so a Redis that has lost it and answers a lower
     * one is believed. */
    const struct ledger_heard later = ledger_heard(fx.ledger, account);
    cr_expect_not(ledger_grant_is_stale(fx.ledger, account, &grant, &later));
    /* After Redis was away, revocations may have been missed. */
    fixture_redis_kill(&fx);
    fixture_redis_start(&fx);
    await(&pushes_of_all, 2);
    cr_expect(ledger_grant_is_stale(fx.ledger, account, &newer, &heard));
    ledger_account_drop(&account);
    fixture_close(&fx);
}

Test(ledger_uses, a_recall_is_heard_and_makes_no_grant_stale)
{
    fx.options.pushed = on_push;
    fx.options.recalled = on_recall;
    fixture_open_ready(&fx);
    struct ledger_account *account = fixture_account(&fx, "a");
    await(&pushes_of_all, 1);
    const struct ledger_grant grant = {.revision = 0};
    struct ledger_heard heard = ledger_heard(fx.ledger, account);
    freeReplyObject(fixture_redis(&fx, "PUBLISH tg:revocations %s", "shop/a recall"));
    await(&recalls, 1);
    cr_expect_eq(ledger_recalls(account), 1u);
    cr_expect_eq(atomic_load(&pushes), 0);
    cr_expect_not(ledger_grant_is_stale(fx.ledger, account, &grant, &heard));
    ledger_account_drop(&account);
    fixture_close(&fx);
}

Test(ledger_uses, strange_messages_on_the_channel_harm_nobody)
{
    static const char *const messages[] = {
        "",         " ",         "shop/a",        "shop/a ",       "shop/%zz 1",
        "shop/% 1", "shop/%4 1", "/ 1",           "SHOP/a 1",      "shop/a 99999999999999999999999",
        "recall",   " recall",   "shop/b recall", "shop/a recalls"};
    fx.options.pushed = on_push;
    fixture_open_ready(&fx);
    struct ledger_account *account = fixture_account(&fx, "a");
    await(&pushes_of_all, 1);
    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
        freeReplyObject(fixture_redis(&fx, "PUBLISH tg:revocations %s", messages[i]));
    }
    int before = atomic_load(&pushes);
    freeReplyObject(fixture_redis(&fx, "PUBLISH tg:revocations %s", "shop/a 7"));
    await(&pushes, before + 1);
    ledger_account_drop(&account);
    fixture_close(&fx);
}
