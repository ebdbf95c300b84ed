/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a response does next about its grant: each outcome of each decision, and the edges of each
 * time. The ledger has no threads, and its push connection hears of revocations where the test
 * has called `listen_now` less than LEDGER_PUSH_LOST_MS ago.
 */
#include "server/grant/decision.h"
#include "tests/unit/grant/scene_fixture.h"

static struct patience patience;
static enum shortage shortage;

static void begin(uint64_t ceiling)
{
    begin_granted(ceiling);
    patience = (struct patience){0};
    shortage = SHORTAGE_NONE;
}

static struct pool *account_pool(void)
{
    return &window->account_group->pool;
}

static struct pool *link_pool(void)
{
    return &window->link_group->pool;
}

/* Another window's response has claimed so much. */
static void let_others_claim(uint64_t bytes)
{
    cr_assert(pool_begin(account_pool(), bytes));
}

/* The account's funds were asked for, and could become `bound` at most. */
static struct grants_answer short_answer(enum ledger_bounds bounds, uint64_t bound)
{
    return (struct grants_answer){.subjects = SUBJECT_WINDOW | SUBJECT_ACCOUNT,
                                  .funds = {.bounds = bounds, .bound = bound}};
}

static enum decision decide(const struct grants_answer *answer)
{
    return decision_answered(&demand, answer, &patience, now_ms, &shortage);
}

static enum decision decide_with_bound(uint64_t bound)
{
    const struct grants_answer answer = short_answer(LEDGER_BY_BALANCE, bound);
    return decide(&answer);
}

static enum decision decide_retry(void)
{
    return decision_retry(&grants[0], &demand, &patience, now_ms);
}

static enum decision decide_more(void)
{
    return decision_more(&grants[0], &demand, now_ms);
}

/* ---- the node ---- */

Test(decision, tells_by_the_state_of_the_ledger_whether_the_node_serves)
{
    static struct ledger bare; /* its states alone are read, and no thread changes them */
    const struct grants of_it = {.ledger = &bare, .redis = &test_redis};
    static const struct {
        enum ledger_state writer, poster;
        enum readiness asking, cut_off; /* where Redis can be asked, and where it cannot */
    } rows[] = {
        {LEDGER_READY, LEDGER_READY, READINESS_SERVES, READINESS_NO_REDIS},
        {LEDGER_FULL, LEDGER_READY, READINESS_SERVES, READINESS_NO_REDIS},
        {LEDGER_READY, LEDGER_CATCHING_UP, READINESS_NO_REDIS, READINESS_NO_REDIS},
        {LEDGER_EXHAUSTED, LEDGER_READY, READINESS_NO_JOURNAL, READINESS_NO_JOURNAL},
        {LEDGER_FAILED, LEDGER_READY, READINESS_NO_JOURNAL, READINESS_NO_JOURNAL},
        {LEDGER_READY, LEDGER_REFUSED, READINESS_STARTING, READINESS_STARTING},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        atomic_store(&bare.writer_state, rows[i].writer);
        atomic_store(&bare.poster_state, rows[i].poster);
        is_up = true;
        cr_expect_eq(decision_readiness(&of_it), rows[i].asking, "row %zu, asking", i);
        is_up = false;
        cr_expect_eq(decision_readiness(&of_it), rows[i].cut_off, "row %zu, cut off", i);
    }
}

/* ---- without an answer ---- */

Test(decision, lets_a_response_begin_with_all_that_it_needs)
{
    begin(700);
    demand.need = 701;
    cr_expect_eq(decision_begin(&grants[0], &demand, now_ms), DECISION_ASK);
    cr_expect_eq(claim.bytes, 0u);
    demand.need = 700;
    cr_expect_eq(decision_begin(&grants[0], &demand, now_ms), DECISION_GO);
    cr_expect_eq(claim.bytes, 700u);
    end_scene();
}

Test(decision, has_a_response_ask_that_begins_after_the_validity_or_deaf_to_revocations)
{
    begin(700);
    now_ms = START + LEDGER_PUSH_LOST_MS;
    cr_expect_eq(decision_begin(&grants[0], &demand, now_ms), DECISION_ASK);
    now_ms = VALID_END;
    listen_now();
    cr_expect_eq(decision_begin(&grants[0], &demand, now_ms), DECISION_ASK);
    now_ms = VALID_END - 1;
    cr_expect_eq(decision_begin(&grants[0], &demand, now_ms), DECISION_GO);
    end_scene();
}

Test(decision, lets_a_transfer_send_while_its_grant_speaks_for_it)
{
    bool renew = true;
    begin(0);
    cr_expect_eq(decision_next(&grants[0], &demand, VALID_END - 1, &renew), DECISION_GO);
    renew = true;
    cr_expect_eq(decision_next(&grants[0], &demand, VALID_END, &renew), DECISION_ASK);
    cr_expect_not(renew, "what has to ask renews nothing");
    demand.iat = -1;
    cr_expect_eq(decision_next(&grants[0], &demand, now_ms, &renew), DECISION_ASK);
    demand.iat = 100;
    cr_expect_eq(decision_next(&grants[0], &demand, now_ms, &renew), DECISION_GO);
    hear(alice, 7);
    cr_expect_eq(decision_next(&grants[0], &demand, now_ms, &renew), DECISION_ASK);
    end_scene();
}

/* Either ceiling may be older than what was confirmed, where it was not asked for with it. */
Test(decision, has_a_transfer_ask_when_a_ceiling_that_pays_for_it_ends)
{
    bool renew = true;
    begin(700);
    atomic_store(&account_pool()->valid_until_ms, START + 9000);
    cr_expect_eq(decision_next(&grants[0], &demand, START + 8999, &renew), DECISION_GO);
    cr_expect_eq(decision_next(&grants[0], &demand, START + 9000, &renew), DECISION_ASK);
    cr_expect_eq(decision_next(&grants[0], &demand, START + 4000, &renew), DECISION_GO);
    cr_expect_not(renew);
    cr_expect_eq(decision_next(&grants[0], &demand, START + 4001, &renew), DECISION_GO);
    cr_expect(renew, "half of its validity is over");
    demand.link_bounds = true;
    atomic_store(&link_pool()->valid_until_ms, START + 6000);
    cr_expect_eq(decision_next(&grants[0], &demand, START + 5999, &renew), DECISION_GO);
    cr_expect_eq(decision_next(&grants[0], &demand, START + 6000, &renew), DECISION_ASK);
    atomic_store(&link_pool()->valid_until_ms, START + 9500);
    cr_expect_eq(decision_next(&grants[0], &demand, START + 8999, &renew), DECISION_GO);
    cr_expect_eq(decision_next(&grants[0], &demand, START + 9000, &renew), DECISION_ASK);
    demand.link_bounds = false;
    atomic_store(&account_pool()->ceiling, POOL_UNBOUNDED);
    cr_expect_eq(decision_next(&grants[0], &demand, VALID_END - 1, &renew), DECISION_GO,
                 "without a bound there is no ceiling");
    end_scene();
}

Test(decision, renews_past_half_of_the_validity_where_redis_can_be_asked)
{
    const uint64_t half = START + VALIDITY / 2;
    bool renew = true;
    begin(0);
    cr_expect_eq(decision_next(&grants[0], &demand, half, &renew), DECISION_GO);
    cr_expect_not(renew);
    cr_expect_eq(decision_next(&grants[0], &demand, half + 1, &renew), DECISION_GO);
    cr_expect(renew);
    is_up = false;
    cr_expect_eq(decision_next(&grants[0], &demand, half + 1, &renew), DECISION_GO);
    cr_expect_not(renew);
    end_scene();
}

Test(decision, has_a_transfer_wait_for_redis_until_its_validity_ends)
{
    begin(0);
    demand.is_under_way = true;
    cr_expect_eq(decision_unanswered(&grants[0], &demand, VALID_END - 1), DECISION_WAIT);
    cr_expect_eq(decision_unanswered(&grants[0], &demand, VALID_END), DECISION_REFUSE);
    hear(alice, 7);
    cr_expect_eq(decision_unanswered(&grants[0], &demand, VALID_END - 1), DECISION_WAIT);
    cr_expect_eq(decide_more(), DECISION_ASK);
    is_up = false;
    cr_expect_eq(decide_more(), DECISION_WAIT);
    now_ms = VALID_END;
    cr_expect_eq(decide_more(), DECISION_REFUSE);
    is_up = true;
    cr_expect_eq(decide_more(), DECISION_ASK);
    demand.is_under_way = false;
    cr_expect_eq(decision_unanswered(&grants[0], &demand, START), DECISION_REFUSE);
    end_scene();
}

/* ---- answered ---- */

Test(decision, lets_what_was_granted_go_and_judges_each_by_its_own_need)
{
    begin(1000);
    let_others_claim(400);
    cr_expect_eq(decide_with_bound(1000), DECISION_REFUSE, "700 are needed, and 600 are there");
    cr_expect_eq(claim.bytes, 0u);
    demand.need = 600;
    cr_expect_eq(decide_with_bound(1000), DECISION_GO,
                 "whatever others wanted in the same question");
    cr_expect_eq(claim.bytes, 600u);
    cr_expect_eq(shortage, SHORTAGE_NONE);
    demand.is_under_way = true;
    cr_expect_eq(decide_with_bound(0), DECISION_GO, "a transfer pays with what it has claimed");
    end_scene();
}

Test(decision, has_a_response_ask_for_funds_that_others_took_before_it)
{
    begin(1000);
    let_others_claim(400);
    const struct grants_answer about_the_link = {.subjects = SUBJECT_WINDOW};
    cr_expect_eq(decide(&about_the_link), DECISION_ASK);
    cr_expect_eq(shortage, SHORTAGE_NONE);
    demand.need = 600;
    now_ms = VALID_END;
    cr_expect_eq(decide_with_bound(1000), DECISION_ASK, "the validity is over already");
    end_scene();
}

Test(decision, refuses_what_redis_refuses_whatever_the_account_has)
{
    static const enum ledger_admission refusals[] = {
        LEDGER_UNKNOWN, LEDGER_SUSPENDED, LEDGER_REVOKED, LEDGER_USED_UP, LEDGER_NOT_BEGUN};
    begin(700);
    for (unsigned i = 0; i < 2 * sizeof(refusals) / sizeof(refusals[0]); i++) {
        const struct grants_answer answer = {.admission = refusals[i / 2],
                                             .subjects = SUBJECT_WINDOW | SUBJECT_ACCOUNT};
        demand.is_under_way = i % 2 == 1;
        shortage = SHORTAGE_BALANCE;
        cr_expect_eq(decide(&answer), DECISION_REFUSE, "%d", answer.admission);
        cr_expect_eq(shortage, SHORTAGE_NONE);
    }
    cr_expect_eq(claim.bytes, 0u);
    cr_expect_eq(patience.short_until_ms, 0u);
    end_scene();
}

/* ---- short of funds ---- */

Test(decision, refuses_at_once_what_the_account_cannot_pay_beside_other_windows)
{
    static const struct {
        enum ledger_bounds bounds;
        enum shortage shortage;
    } rows[] = {{LEDGER_BY_BALANCE, SHORTAGE_BALANCE},
                {LEDGER_BY_ACCOUNT_BYTES, SHORTAGE_ACCOUNT_BYTES},
                {LEDGER_BY_LINK_BYTES, SHORTAGE_LINK_BYTES}};
    begin(1000);
    let_others_claim(400);
    for (unsigned i = 0; i < 3; i++) {
        const struct grants_answer answer = short_answer(rows[i].bounds, 1099);
        cr_expect_eq(decide(&answer), DECISION_REFUSE);
        cr_expect_eq(shortage, rows[i].shortage, "row %u", i);
    }
    cr_expect_eq(patience.short_until_ms, 0u, "it does not wait");
    cr_expect_eq(claim.bytes, 0u);
    end_scene();
}

/* A player that seeks asks again before it has closed the old connection. */
Test(decision, refuses_after_its_patience_what_only_its_own_window_stands_in_the_way_of)
{
    begin(1000);
    let_others_claim(400); /* of this window, in fact: it has promised them */
    window_use_promise(window->use, 100);
    cr_expect_eq(decide_with_bound(1000), DECISION_WAIT, "100 of them are in the way");
    cr_expect_eq(shortage, SHORTAGE_BALANCE);
    cr_expect_eq(patience.short_until_ms, (uint64_t)START + PATIENCE_SHORT_MS);
    cr_expect_eq(patience.short_retry_ms, (uint64_t)START + PATIENCE_RETRY_MS);
    cr_expect_eq(decide_with_bound(999), DECISION_REFUSE, "without them it were short still");
    now_ms = START + PATIENCE_SHORT_MS - 1;
    cr_expect_eq(decide_with_bound(1000), DECISION_WAIT);
    cr_expect_eq(patience.short_until_ms, (uint64_t)START + PATIENCE_SHORT_MS);
    cr_expect_eq(patience.short_retry_ms, now_ms + PATIENCE_RETRY_MS);
    now_ms += 1;
    cr_expect_eq(decide_with_bound(1000), DECISION_REFUSE);
    cr_expect_eq(shortage, SHORTAGE_BALANCE);
    window_use_promise_end(window->use, 100);
    end_scene();
}

Test(decision, refuses_after_its_patience_what_other_nodes_have_not_given_back)
{
    begin(1000);
    let_others_claim(400);
    cr_expect_eq(decide_with_bound(1100), DECISION_WAIT, "the account could pay");
    cr_expect_eq(shortage, SHORTAGE_ELSEWHERE);
    now_ms = START + PATIENCE_SHORT_MS - 1;
    cr_expect_eq(decide_with_bound(1100), DECISION_WAIT);
    now_ms += 1;
    cr_expect_eq(decide_with_bound(1100), DECISION_REFUSE);
    cr_expect_eq(shortage, SHORTAGE_ELSEWHERE, "503: 402 means that it cannot pay");
    now_ms += 1;
    cr_expect_eq(decide_with_bound(1099), DECISION_REFUSE);
    cr_expect_eq(shortage, SHORTAGE_BALANCE);
    end_scene();
}

/* Funds that were given up elsewhere: the answer to the second question grants them. */
Test(decision, lets_go_what_other_nodes_gave_back_in_time)
{
    begin(500);
    patience_begin(&patience, now_ms, 500);
    cr_expect_eq(decide_with_bound(1000), DECISION_WAIT);
    now_ms = START + PATIENCE_RETRY_MS;
    cr_expect_eq(decide_retry(), DECISION_ASK);
    grant_ceiling(700);
    cr_expect_eq(decide_with_bound(700), DECISION_GO);
    cr_expect_eq(claim.bytes, 700u);
    end_scene();
}

Test(decision, cuts_a_transfer_that_is_short_at_once)
{
    begin(700);
    cr_assert_eq(decision_begin(&grants[0], &demand, now_ms), DECISION_GO);
    cr_assert_eq(claim_pay(&claim, window, 700), 700u);
    demand.is_under_way = true;
    window_use_promise(window->use, 700);
    cr_expect_eq(decide_with_bound(699), DECISION_REFUSE, "its own bytes do not count");
    cr_expect_eq(shortage, SHORTAGE_BALANCE);
    cr_expect_eq(patience.short_until_ms, 0u);
    cr_expect_eq(decide_with_bound(700), DECISION_WAIT);
    cr_expect_eq(shortage, SHORTAGE_ELSEWHERE);
    window_use_promise_end(window->use, 700);
    end_scene();
}

Test(decision, of_two_funds_that_lack_something_goes_by_the_one_that_cannot_pay)
{
    struct grants_answer answer = {
        .subjects = SUBJECT_WINDOW | SUBJECT_ACCOUNT | SUBJECT_LINK,
        .funds = {.bounds = LEDGER_BY_BALANCE, .bound = 700},
        .link_funds = {.bounds = LEDGER_BY_LINK_BYTES, .bound = 699},
    };
    begin(0);
    demand.link_bounds = true;
    cr_expect_eq(decide(&answer), DECISION_REFUSE);
    cr_expect_eq(shortage, SHORTAGE_LINK_BYTES);
    answer.link_funds.bound = 700;
    cr_expect_eq(decide(&answer), DECISION_WAIT);
    cr_expect_eq(shortage, SHORTAGE_ELSEWHERE);
    answer.funds.bound = 699;
    cr_expect_eq(decide(&answer), DECISION_REFUSE);
    cr_expect_eq(shortage, SHORTAGE_BALANCE);
    answer.link_funds.bound = 0;
    cr_expect_eq(decide(&answer), DECISION_REFUSE);
    cr_expect_eq(shortage, SHORTAGE_BALANCE, "the account's comes first");
    atomic_store(&account_pool()->ceiling, 700);
    cr_expect_eq(decide(&answer), DECISION_REFUSE);
    cr_expect_eq(shortage, SHORTAGE_LINK_BYTES, "the account covers it");
    answer.subjects = SUBJECT_WINDOW | SUBJECT_ACCOUNT;
    cr_expect_eq(decide(&answer), DECISION_ASK, "the link's funds were not asked for");
    end_scene();
}

Test(decision, counts_no_fund_of_a_link_without_max_bytes)
{
    const struct grants_answer answer = {
        .subjects = SUBJECT_WINDOW | SUBJECT_ACCOUNT | SUBJECT_LINK,
        .funds = {.bounds = LEDGER_BY_BALANCE, .bound = 700},
        .link_funds = {.bounds = LEDGER_BY_LINK_BYTES},
    };
    begin(0);
    cr_expect_eq(decide(&answer), DECISION_WAIT);
    end_scene();
}

/* ---- inquiries ---- */

Test(decision, judges_an_inquiry_by_what_a_response_would_meet_and_takes_nothing)
{
    struct grants_answer answer = {
        .subjects = SUBJECT_WINDOW,
        .funds = {.bounds = LEDGER_BY_BALANCE, .bound = 700},
        .link_funds = {.bounds = LEDGER_BY_LINK_BYTES, .bound = 700},
    };
    begin(100);
    demand.takes_nothing = demand.link_bounds = true;
    cr_expect_eq(decide(&answer), DECISION_GO, "others hold it idle");
    cr_expect_eq(shortage, SHORTAGE_NONE);
    answer.link_funds.bound = 699;
    cr_expect_eq(decide(&answer), DECISION_REFUSE);
    cr_expect_eq(shortage, SHORTAGE_LINK_BYTES);
    answer.funds.bound = 699;
    cr_expect_eq(decide(&answer), DECISION_REFUSE);
    cr_expect_eq(shortage, SHORTAGE_BALANCE);
    demand.link_bounds = false;
    answer.funds.bound = 700;
    cr_expect_eq(decide(&answer), DECISION_GO, "the link has no bound");
    cr_expect_eq(claim.bytes, 0u);
    cr_expect_eq(unclaimed(), 100u);
    cr_expect_eq(patience.short_until_ms, 0u);
    end_scene();
}

/* ---- again ---- */

Test(decision, lets_a_parked_response_go_once_its_account_has_the_funds_however_late)
{
    begin(0);
    patience.short_retry_ms = now_ms + 1;
    cr_expect_eq(decide_retry(), DECISION_REFUSE, "it is overdue");
    atomic_store(&account_pool()->ceiling, 700);
    cr_expect_eq(decide_retry(), DECISION_GO);
    cr_expect_eq(claim.bytes, 700u);
    end_scene();
}

Test(decision, refuses_a_new_response_that_has_waited_its_time_for_others)
{
    begin(0);
    patience_begin(&patience, now_ms, 500);
    now_ms = START + 500;
    cr_expect_eq(decide_retry(), DECISION_ASK);
    now_ms += 1;
    cr_expect_eq(decide_retry(), DECISION_REFUSE);
    demand.is_under_way = true;
    cr_expect_eq(decide_retry(), DECISION_ASK, "a transfer has no such time");
    end_scene();
}

Test(decision, does_not_ask_for_a_response_that_is_short_before_the_next_tick)
{
    begin(0);
    patience_begin(&patience, now_ms, 500);
    cr_expect_eq(decide_with_bound(700), DECISION_WAIT);
    now_ms = START + PATIENCE_RETRY_MS - 1;
    cr_expect_eq(decide_retry(), DECISION_WAIT);
    is_up = false;
    cr_expect_eq(decide_retry(), DECISION_WAIT);
    now_ms += 1;
    cr_expect_eq(decide_retry(), DECISION_REFUSE, "Redis cannot be asked");
    is_up = true;
    cr_expect_eq(decide_retry(), DECISION_ASK);
    end_scene();
}

Test(decision, keeps_a_parked_transfer_while_redis_is_gone_and_its_grant_valid)
{
    begin(0);
    demand.is_under_way = true;
    is_up = false;
    now_ms = VALID_END - 1;
    cr_expect_eq(decide_retry(), DECISION_WAIT);
    now_ms = VALID_END;
    cr_expect_eq(decide_retry(), DECISION_REFUSE);
    is_up = true;
    cr_expect_eq(decide_retry(), DECISION_ASK);
    end_scene();
}
