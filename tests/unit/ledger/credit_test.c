/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The credit of an account, as the function library keeps it: ceilings that are told again with each
 * question and never added up, on a real Redis.
 */
#include <criterion/criterion.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
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
    int64_t admission, revision, sharers, bounds, posted, ceiling, bound;
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
    const struct credit credit = {reply->element[0]->integer, reply->element[1]->integer,
                                  reply->element[4]->integer, reply->element[7]->integer,
                                  reply->element[8]->integer, reply->element[9]->integer,
                                  reply->element[10]->integer};
    freeReplyObject(reply);
    return credit;
}

#define ask(...) ask_with(&(const struct question){__VA_ARGS__})

/* Posts bytes as the instance's record `sequence`. */
static void post(const char *instance, long long lease, long long sequence, long long bytes)
{
    redisReply *reply = fixture_redis(
        &fx,
        "FCALL tollgate_post 4 tg:{shop/a}:account tg:{shop/a}:grants tg:{shop/a}:usage:20261125 "
        "tg:{shop/a}:usage:202611 %s %lld %lld %lld usage 20261125 /f %lld 1 %s",
        instance, lease, sequence, sequence, bytes, "");
    cr_assert(reply->type == REDIS_REPLY_ARRAY && reply->element[0]->integer == 0, "%s",
              reply->str != NULL ? reply->str : "refused");
    freeReplyObject(reply);
}

/* Tells ONE's pool as the process of a lease; returns the first two numbers of the answer. */
static void tell_as(long long lease, long long count, bool is_new, long long ceiling,
                    long long least, long long out[2])
{
    redisReply *reply = fixture_redis(
        &fx, "FCALL tollgate_tell 1 tg:{shop/a}:grants " ONE " %lld 60000 %lld %d %lld %lld", lease,
        count, is_new ? 1 : 0, ceiling, least);
    cr_assert(reply->type == REDIS_REPLY_ARRAY && reply->elements == 3, "%s", reply->str);
    out[0] = reply->element[0]->integer;
    out[1] = reply->element[1]->integer;
    freeReplyObject(reply);
}

static void tell(long long count, long long ceiling, long long least, long long out[2])
{
    tell_as(1, count, false, ceiling, least, out);
}

static int64_t reserved(void)
{
    return fixture_redis_integer(&fx, "FCALL tollgate_reserved 1 tg:{shop/a}:grants");
}

static long long redis_ms(void)
{
    redisReply *reply = fixture_redis(&fx, "TIME");
    long long ms = strtoll(reply->element[0]->str, NULL, 10) * 1000 +
                   strtoll(reply->element[1]->str, NULL, 10) / 1000;
    freeReplyObject(reply);
    return ms;
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
    credit = ask(.instance = OTHER, .count = 1, .need = 600, .want = 800);
    cr_expect_eq(credit.ceiling, 700, "one fund is raised as far as it reaches");
    cr_expect_eq(reserved(), TOTAL);
}

/* Two nodes that each held a part of what they need would recall it from each other, and both refuse. */
Test(ledger_credit, is_not_raised_by_a_part_of_what_is_needed)
{
    (void)ask(.count = 1, .want = 300);
    struct credit credit = ask(.instance = OTHER, .count = 1, .need = 800, .want = 800);
    cr_expect_eq(credit.ceiling, 0);
    cr_expect_eq(credit.bound, TOTAL, "the need can be paid");
    cr_expect_gt(fixture_account_field(&fx, "shop/a", "recalled"), 0);
    cr_expect_eq(ask(.count = 2, .ceiling = 300, .least = 300, .need = 700, .want = TOTAL).ceiling,
                 TOTAL, "it holds nothing that the first could need");
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

Test(ledger_credit, that_the_node_holds_already_is_not_available_to_it_once_more)
{
    (void)ask(.count = 1, .want = 600);
    struct credit credit = ask(.count = 2, .ceiling = 600, .least = 600, .need = 300, .want = 1100);
    cr_expect_eq(credit.ceiling, TOTAL);
    cr_expect_eq(reserved(), TOTAL);
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
    struct credit before = ask(.lease = 1, .count = 9);
    cr_expect_eq(before.admission, LEDGER_OUTDATED, "of a process before");
    cr_expect_eq(before.revision, 2, "it says the later lease");
    cr_expect_eq(reserved(), 20);
}

Test(ledger_credit, does_not_follow_a_process_before_the_one_that_posted)
{
    long long told[2];
    post(ONE, 2, 1, 100);
    tell_as(1, 9, false, 500, 500, told);
    cr_expect_eq(told[0], 1);
    cr_expect_eq(reserved(), 0);
    tell_as(2, 1, false, 150, 150, told);
    cr_expect_eq(told[0], 0, "a post has no number");
    cr_expect_eq(reserved(), 50);
    post(ONE, 2, 2, 10);
    tell_as(2, 1, false, 900, 900, told);
    cr_expect_eq(told[0], 1, "and takes none away");
    cr_expect_eq(reserved(), 40);
}

Test(ledger_credit, that_is_told_alone_needs_no_question_before)
{
    long long told[2];
    tell(1, 40, 40, told);
    cr_expect_eq(told[0], 0);
    cr_expect_eq(reserved(), 40);
    post(ONE, 1, 1, 300);
    tell_as(1, 2, true, 100, 0, told);
    cr_expect_eq(told[1], 300);
    cr_expect_eq(reserved(), 100, "the figures of one that is new count from what was posted");
}

Test(ledger_credit, is_not_touched_by_a_question_without_funds)
{
    (void)ask(.count = 1, .want = 100);
    struct credit credit = ask(.need = 5000);
    cr_expect_eq(credit.admission, LEDGER_GRANTED);
    cr_expect_eq(credit.bounds, LEDGER_BY_BALANCE, "the node learns that it has to ask for funds");
    cr_expect(credit.posted == 0 && credit.ceiling == 0 && credit.bound == 0);
    cr_expect_eq(reserved(), 100);
    cr_expect_eq(fixture_account_field(&fx, "shop/a", "recalled"), 0);
}

/* 2^53 + 1, which Lua does not hold exactly. */
#define MUCH "9007199254740993"

Test(ledger_credit, that_is_malformed_in_redis_is_refused_and_left_as_it_is)
{
    static const char *const values[] = {
        "",
        "1",
        "1 2 3 4",
        "1 2 3 4 5 6",
        "1 2 3 4 x",
        "-1 2 3 4 5",
        " 1 2 3 4 5",
        MUCH " 2 3 4 5",
        "1 " MUCH " 3 4 5",
        "1 2 " MUCH " 4 5",
        "1 2 3 " MUCH " 5",
        "1 2 3 4 " MUCH,
    };
    static const char *const calls[] = {
        "FCALL tollgate_admit 4 " KEYS " " ONE " 1 1000 0 1 9 9 9 9 0",
        "FCALL tollgate_judge 4 " KEYS " " OTHER " 1 1000 0 1 9 9 9 9 0",
        "FCALL tollgate_tell 1 tg:{shop/a}:grants " ONE " 1 1000 9 0 9 9",
        "FCALL tollgate_reserved 1 tg:{shop/a}:grants",
    };
    for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
        redisReply *reply = fixture_redis(&fx, "HSET tg:{shop/a}:grants " ONE " %s", values[i]);
        freeReplyObject(reply);
        for (size_t j = 0; j < sizeof(calls) / sizeof(*calls); j++) {
            reply = fixture_redis(&fx, calls[j]);
            cr_expect(reply->type == REDIS_REPLY_ERROR &&
                          strstr(reply->str, "DAMAGED tollgate: stored pool is malformed") ==
                              reply->str,
                      "'%s': %s", values[i], calls[j]);
            freeReplyObject(reply);
        }
        reply = fixture_redis(&fx, "HGET tg:{shop/a}:grants " ONE);
        cr_expect_str_eq(reply->str, values[i]);
        freeReplyObject(reply);
    }
    cr_expect_eq(fixture_account_field(&fx, "shop/a", "l:" ONE), 0, "nothing was written");
}

Test(ledger_credit, of_which_the_posted_bytes_are_malformed_is_refused_and_left_as_it_is)
{
    static const char *const values[] = {"", "x", "-1", "01", "1 2", MUCH};
    for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
        freeReplyObject(fixture_redis(&fx, "HSET tg:{shop/a}:grants p:" ONE " %s", values[i]));
        static const char *const calls[] = {
            "FCALL tollgate_admit 4 " KEYS " " ONE " 1 1000 0 1 9 9 9 9 0",
            "FCALL tollgate_tell 1 tg:{shop/a}:grants " ONE " 1 1000 9 0 9 9",
        };
        for (size_t j = 0; j < sizeof(calls) / sizeof(*calls); j++) {
            redisReply *reply = fixture_redis(&fx, calls[j]);
            cr_expect(reply->type == REDIS_REPLY_ERROR &&
                          strstr(reply->str, "DAMAGED tollgate: stored pool is malformed") ==
                              reply->str,
                      "'%s': %s", values[i], calls[j]);
            freeReplyObject(reply);
        }
        redisReply *reply = fixture_redis(&fx, "HGETALL tg:{shop/a}:grants");
        cr_expect(reply->elements == 2 && strcmp(reply->element[1]->str, values[i]) == 0);
        freeReplyObject(reply);
    }
}

Test(ledger_credit, of_a_judgement_stays_as_it_was)
{
    (void)ask(.count = 1, .want = 100);
    struct credit credit =
        ask(.function = "tollgate_judge", .count = 2, .ceiling = 100, .need = 400, .want = 500);
    cr_expect_eq(credit.bound, TOTAL);
    cr_expect_eq(reserved(), 100);
    cr_expect_eq(ask(.count = 2, .ceiling = 100, .want = 100).admission, LEDGER_GRANTED);
    (void)ask(.instance = OTHER, .count = 1, .want = 900);
    credit = ask(.function = "tollgate_judge", .lease = 3, .count = 1, .need = 500, .want = 500);
    cr_expect_eq(credit.admission, LEDGER_GRANTED);
    cr_expect_eq(fixture_account_field(&fx, "shop/a", "recalled"), 0);
    cr_expect_eq(fixture_account_field(&fx, "shop/a", "l:" ONE), 1, "nor is its lease noted");
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
    cr_expect_eq(ask(.count = 3, .ceiling = 700, .least = 600, .want = 700).ceiling, 700);
    cr_expect_eq(reserved(), 450);
    (void)ask(.count = 4, .ceiling = 1000, .want = 1000);
    post(ONE, 1, 2, 750);
    cr_expect_eq(reserved(), 0);
    cr_expect_eq(fixture_account_field(&fx, "shop/a", "balance"), 0);
}

Test(ledger_credit, is_bounded_by_what_others_need_and_not_by_what_they_hold)
{
    (void)ask(.instance = OTHER, .count = 1, .want = 900);
    (void)ask(.instance = OTHER, .count = 2, .ceiling = 900, .least = 100, .want = 100);
    struct credit credit = ask(.count = 1, .need = 100, .want = 500);
    cr_expect_eq(credit.ceiling, 100);
    cr_expect_eq(credit.bound, 900);
    post(OTHER, 1, 1, 70);
    credit = ask(.count = 2, .ceiling = 100, .need = 500, .want = 500);
    cr_expect_eq(credit.bound, 900, "of its 100 the other needs 30, and has had 70");
}

Test(ledger_credit, that_is_held_idle_is_recalled_once_in_a_while)
{
    redisContext *context = redisConnectUnix(fx.socket);
    redisReply *reply = redisCommand(context, "SUBSCRIBE tg:revocations");
    freeReplyObject(reply);
    (void)ask(.instance = OTHER, .count = 1, .want = 900);
    (void)ask(.count = 1, .need = 500, .want = 500);
    cr_expect_gt(fixture_account_field(&fx, "shop/a", "recalled"), 0);
    char late[24]; /* the while goes on, however slowly this test runs */
    snprintf(late, sizeof(late), "%lld", redis_ms() + 60000);
    set("recalled", late);
    for (long long i = 2; i <= 3; i++)
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

Test(ledger_credit, is_recalled_again_after_a_while_and_where_it_is_just_enough)
{
    char ago[24];
    (void)ask(.instance = OTHER, .count = 1, .want = 900);
    (void)ask(.count = 1, .need = TOTAL, .want = TOTAL);
    cr_expect_gt(fixture_account_field(&fx, "shop/a", "recalled"), 0);
    snprintf(ago, sizeof(ago), "%lld", redis_ms() - LEDGER_RECALL_MS);
    set("recalled", ago);
    (void)ask(.count = 2, .need = TOTAL, .want = TOTAL);
    cr_expect_gt(fixture_account_field(&fx, "shop/a", "recalled"), strtoll(ago, NULL, 10));
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

/* When ONE's pool is void. */
static long long expiry(void)
{
    long long expires = 0;
    redisReply *reply = fixture_redis(&fx, "HGET tg:{shop/a}:grants " ONE);
    cr_assert_eq(sscanf(reply->str, "%*d %*d %*d %*d %16lld", &expires), 1, "%s", reply->str);
    freeReplyObject(reply);
    return expires;
}

Test(ledger_credit, is_void_twice_its_validity_after_it_was_asked_for_or_told_last)
{
    long long told[2], before = redis_ms();
    (void)ask(.count = 1, .want = 500, .validity_ms = 3000);
    cr_expect(expiry() >= before + 6000 && expiry() <= redis_ms() + 6000);
    before = redis_ms();
    tell(2, 500, 0, told); /* with a minute */
    cr_expect(expiry() >= before + 120000 && expiry() <= redis_ms() + 120000);
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

Test(ledger_credit, is_the_lesser_of_a_balance_and_what_max_bytes_leaves)
{
    set("used", "100");
    set("max_bytes", "1050");
    struct credit credit = ask(.count = 1);
    cr_expect_eq(credit.bounds, LEDGER_BY_ACCOUNT_BYTES);
    cr_expect_eq(credit.bound, 950);
    set("max_bytes", "1100");
    credit = ask(.count = 2);
    cr_expect_eq(credit.bounds, LEDGER_BY_BALANCE);
    cr_expect_eq(credit.bound, TOTAL);
    set("used", "2000");
    credit = ask(.count = 3, .need = 1, .want = 1);
    cr_expect_eq(credit.bounds, LEDGER_BY_ACCOUNT_BYTES);
    cr_expect(credit.bound == 0 && credit.ceiling == 0, "it is used up");
}

Test(ledger_credit, counts_the_nodes_that_share_a_limit)
{
    set("plan", "postpaid");
    set("rate", "1000");
    cr_expect_eq(ask(.count = 1, .want = 50, .need = 50).sharers, 1);
    (void)ask(.count = 2, .ceiling = 50, .least = 50, .want = 50);
    cr_expect_eq(ask(.instance = OTHER, .count = 1, .want = 50, .need = 50).sharers, 2);
    cr_expect_eq(ask(.instance = OTHER, .count = 2).bounds, LEDGER_BY_NOTHING);
    (void)ask(.count = 3, .ceiling = 50);
    cr_expect_eq(ask(.instance = OTHER, .count = 3, .want = 50).sharers, 2,
                 "it may begin any time");
    (void)ask(.count = 4);
    cr_expect_eq(ask(.instance = OTHER, .count = 4, .want = 50).sharers, 1, "it holds nothing");
}
