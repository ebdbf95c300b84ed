/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The credit of an account, as the function library keeps it: ceilings that are told again with each
 * question and never added up, on a real Redis.
 */
#include <criterion/criterion.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/ledger/fixture.h"

#define KEYS  "tg:{shop/a}:account tg:{shop/a}:grants tg:{shop/a}:link:x tg:{shop/a}:link:x:grants"
#define ONE   "00000000000000000000000000000001"
#define OTHER "00000000000000000000000000000002"
#define TOTAL 1000

static struct fixture fx;

static void setup(void)
{
    fixture_start(&fx);
    fixture_function_load(&fx);
    redisReply *reply = fixture_redis(&fx, "HSET tg:{shop/a}:account plan prepaid status active "
                                           "balance 1000");
    freeReplyObject(reply);
}

static void teardown(void)
{
    fixture_end(&fx);
}

TestSuite(ledger_credit, .init = setup, .fini = teardown, .timeout = 60);

struct credit {
    int64_t admission, sharers, bounds, posted, ceiling, bound;
};

/* Zero and NULL stand for tollgate_admit, ONE, lease 1 and a validity of a minute. */
struct question {
    const char *function, *instance;
    long long lease, count, ceiling, least, need, want, spare, validity_ms;
};

static struct credit ask_with(const struct question *question)
{
    redisReply *reply = fixture_redis(
        &fx, "FCALL %s 4 " KEYS " %s %lld %lld 0 %lld %lld %lld %lld %lld %lld",
        question->function != NULL ? question->function : "tollgate_admit",
        question->instance != NULL ? question->instance : ONE,
        question->lease > 0 ? question->lease : 1,
        question->validity_ms > 0 ? question->validity_ms : 60000, question->need, question->count,
        question->ceiling, question->least, question->want, question->spare);
    cr_assert(reply->type == REDIS_REPLY_ARRAY && reply->elements == 11, "%s", reply->str);
    const struct credit credit = {reply->element[0]->integer, reply->element[4]->integer,
                                  reply->element[7]->integer, reply->element[8]->integer,
                                  reply->element[9]->integer, reply->element[10]->integer};
    freeReplyObject(reply);
    return credit;
}

#define ask(...) ask_with(&(const struct question){__VA_ARGS__})

/* Posts bytes as the instance's record `sequence`. */
static void post(const char *instance, long long lease, long long sequence, long long bytes)
{
    redisReply *reply = fixture_redis(
        &fx,
        "FCALL tollgate_post 3 tg:{shop/a}:account tg:{shop/a}:grants tg:{shop/a}:usage:20261125 "
        "%s %lld %lld %lld usage /f %lld 1 %s",
        instance, lease, sequence, sequence, bytes, "");
    cr_assert(reply->type == REDIS_REPLY_ARRAY && reply->element[0]->integer == 0, "%s",
              reply->str != NULL ? reply->str : "refused");
    freeReplyObject(reply);
}

/* Tells ONE's pool; returns the first two numbers of the answer. */
static void tell(long long count, long long ceiling, long long least, long long out[2])
{
    redisReply *reply = fixture_redis(
        &fx, "FCALL tollgate_tell 1 tg:{shop/a}:grants " ONE " 1 60000 %lld 0 %lld %lld", count,
        ceiling, least);
    cr_assert(reply->type == REDIS_REPLY_ARRAY && reply->elements == 3, "%s", reply->str);
    out[0] = reply->element[0]->integer;
    out[1] = reply->element[1]->integer;
    freeReplyObject(reply);
}

static int64_t reserved(void)
{
    return fixture_redis_integer(&fx, "FCALL tollgate_reserved 1 tg:{shop/a}:grants");
}

static void set(const char *field, const char *value)
{
    redisReply *reply = fixture_redis(&fx, "HSET tg:{shop/a}:account %s %s", field, value);
    freeReplyObject(reply);
}

Test(ledger_credit, is_raised_towards_what_is_wanted_by_what_is_available)
{
    struct credit credit = ask(.count = 1, .need = 300, .want = 300);
    cr_expect_eq(credit.bounds, LEDGER_BY_BALANCE);
    cr_expect_eq(credit.ceiling, 300);
    cr_expect_eq(credit.bound, TOTAL);
    cr_expect_eq(reserved(), 300);
    credit = ask(.instance = OTHER, .count = 1, .need = 800, .want = 800);
    cr_expect_eq(credit.ceiling, 700, "one fund is raised as far as it reaches");
    cr_expect_eq(reserved(), TOTAL);
}

Test(ledger_credit, is_not_raised_for_a_need_that_it_can_never_cover)
{
    struct credit credit = ask(.count = 1, .need = 1001, .want = 1001, .spare = 5000);
    cr_expect_eq(credit.ceiling, 0);
    cr_expect_eq(credit.bound, TOTAL);
    cr_expect_eq(reserved(), 0);
    credit = ask(.count = 2, .need = 1001, .want = 1401);
    cr_expect_eq(credit.ceiling, 400, "others wait for so much");
}

Test(ledger_credit, beyond_the_need_is_a_quarter_of_the_rest_at_most)
{
    cr_expect_eq(ask(.count = 1, .need = 200, .want = 200, .spare = 10000).ceiling, 400);
    cr_expect_eq(ask(.count = 2, .ceiling = 400, .want = 0, .spare = 50).ceiling, 450);
}

Test(ledger_credit, is_taken_as_it_is_told_also_where_it_is_refused)
{
    cr_expect_eq(ask(.count = 1, .want = 500).ceiling, 500);
    set("status", "suspended");
    struct credit credit = ask(.count = 2, .ceiling = 100, .least = 50, .want = 900);
    cr_expect_eq(credit.admission, LEDGER_SUSPENDED);
    cr_expect_eq(credit.ceiling, 100);
    cr_expect_eq(reserved(), 100);
}

Test(ledger_credit, does_not_follow_a_number_that_is_not_above_the_last)
{
    cr_expect_eq(ask(.count = 5, .want = 500).ceiling, 500);
    static const long long late[][2] = {{1, 4}, {1, 5}, {1, 1}};
    for (size_t i = 0; i < sizeof(late) / sizeof(*late); i++)
        cr_expect_eq(ask(.lease = late[i][0], .count = late[i][1]).admission, LEDGER_OUTDATED);
    long long told[2];
    tell(5, 0, 0, told);
    cr_expect_eq(told[0], 1);
    cr_expect_eq(reserved(), 500);
    tell(6, 200, 100, told);
    cr_expect_eq(told[0], 0);
    cr_expect_eq(reserved(), 200);
    cr_expect_eq(ask(.lease = 2, .count = 1, .ceiling = 10, .want = 20).ceiling, 20);
    cr_expect_eq(ask(.lease = 1, .count = 9).admission, LEDGER_OUTDATED, "of a process before");
}

Test(ledger_credit, of_a_judgement_stays_as_it_was)
{
    (void)ask(.count = 1, .want = 100);
    struct credit credit =
        ask(.function = "tollgate_judge", .count = 2, .ceiling = 100, .need = 400, .want = 500);
    cr_expect_eq(credit.bound, TOTAL);
    cr_expect_eq(reserved(), 100);
    cr_expect_eq(ask(.count = 2, .ceiling = 100, .want = 100).admission, LEDGER_GRANTED);
}

Test(ledger_credit, is_what_posts_leave_of_it_whichever_comes_first)
{
    (void)ask(.count = 1, .want = 600);
    post(ONE, 1, 1, 250);
    cr_expect_eq(reserved(), 350);
    /* The question was on its way when the post came: its figures are as good after it. */
    struct credit credit = ask(.count = 2, .ceiling = 600, .least = 600, .need = 400, .want = 1000);
    cr_expect_eq(credit.posted, 250);
    cr_expect_eq(credit.ceiling, 1000);
    cr_expect_eq(credit.bound, 1000);
    post(ONE, 1, 2, 750);
    cr_expect_eq(reserved(), 0);
    cr_expect_eq(fixture_account_field(&fx, "shop/a", "balance"), 0);
}

Test(ledger_credit, is_bounded_by_what_others_need_and_not_by_what_they_hold)
{
    (void)ask(.instance = OTHER, .count = 1, .want = 900);
    (void)ask(.instance = OTHER, .count = 2, .ceiling = 900, .least = 100, .want = 100);
    struct credit credit = ask(.count = 1, .need = 500, .want = 500);
    cr_expect_eq(credit.ceiling, 100);
    cr_expect_eq(credit.bound, 900);
}

Test(ledger_credit, that_is_held_idle_is_recalled_once_in_a_while)
{
    redisContext *context = redisConnectUnix(fx.socket);
    redisReply *reply = redisCommand(context, "SUBSCRIBE tg:revocations");
    freeReplyObject(reply);
    (void)ask(.instance = OTHER, .count = 1, .want = 900);
    for (long long i = 1; i <= 3; i++)
        (void)ask(.count = i, .need = 500, .want = 500);
    redisReply *end = fixture_redis(&fx, "PUBLISH tg:revocations %s", "end");
    freeReplyObject(end);
    int messages = 0;
    for (bool ended = false; !ended;) {
        cr_assert_eq(redisGetReply(context, (void **)&reply), REDIS_OK);
        ended = strcmp(reply->element[2]->str, "end") == 0;
        if (!ended)
            cr_expect_str_eq(reply->element[2]->str, "shop/a recall");
        messages += ended ? 0 : 1;
        freeReplyObject(reply);
    }
    cr_expect_eq(messages, 1, "%d messages", messages);
    redisFree(context);
}

Test(ledger_credit, that_nobody_could_pay_recalls_nothing)
{
    (void)ask(.instance = OTHER, .count = 1, .want = 900);
    (void)ask(.count = 1, .need = 1001, .want = 1001);
    cr_expect_eq(fixture_account_field(&fx, "shop/a", "recalled"), 0);
}

Test(ledger_credit, is_void_after_twice_its_validity_also_for_its_own_node)
{
    (void)ask(.instance = OTHER, .count = 1, .want = 900, .validity_ms = 1);
    fixture_pause();
    fixture_pause();
    fixture_pause();
    cr_expect_eq(reserved(), 0);
    struct credit credit = ask(.count = 1, .need = 1000, .want = 1000);
    cr_expect_eq(credit.ceiling, 1000);
    credit = ask(.instance = OTHER, .count = 2, .need = 100, .want = 100);
    cr_expect_eq(credit.ceiling, 0);
}

Test(ledger_credit, of_an_account_that_does_not_exist_makes_no_keys)
{
    redisReply *reply = fixture_redis(&fx, "DEL tg:{shop/a}:account");
    freeReplyObject(reply);
    long long told[2];
    cr_expect_eq(ask(.count = 1, .need = 5, .want = 5).admission, LEDGER_UNKNOWN);
    tell(2, 0, 0, told);
    cr_expect_eq(told[0], 0);
    cr_expect_eq(fixture_redis_integer(&fx, "EXISTS tg:{shop/a}:grants tg:{shop/a}:account"), 0);
}

Test(ledger_credit, of_max_bytes_bounds_a_postpaid_account)
{
    set("plan", "postpaid");
    struct credit credit = ask(.count = 1, .need = 5, .want = 5);
    cr_expect_eq(credit.bounds, LEDGER_BY_NOTHING);
    cr_expect_eq(reserved(), 0);
    set("max_bytes", "400");
    set("used", "100");
    credit = ask(.count = 2, .need = 300, .want = 500);
    cr_expect_eq(credit.bounds, LEDGER_BY_ACCOUNT_BYTES);
    cr_expect_eq(credit.ceiling, 300);
    cr_expect_eq(credit.bound, 300);
}

Test(ledger_credit, counts_the_nodes_that_share_a_limit)
{
    set("plan", "postpaid");
    set("rate", "1000");
    cr_expect_eq(ask(.count = 1, .want = 50, .need = 50).sharers, 1);
    (void)ask(.count = 2, .ceiling = 50, .least = 50, .want = 50);
    cr_expect_eq(ask(.instance = OTHER, .count = 1, .want = 50, .need = 50).sharers, 2);
    (void)ask(.count = 3);
    cr_expect_eq(ask(.instance = OTHER, .count = 2, .want = 50).sharers, 1, "it holds nothing");
}
