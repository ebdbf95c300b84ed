/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a response does next about its grant: each outcome of each decision, and the edges of each
 * time. The ledger has no threads, and its push connection hears of revocations where the test
 * has called `listen_now` less than LEDGER_PUSH_LOST_MS ago.
 */
#include "server/grant/decision.h"
#include "tests/unit/grant/scene_fixture.h"

static struct patience patience;

static void begin(uint64_t spare_bytes)
{
    begin_granted(spare_bytes);
    patience = (struct patience){0};
}

static uint64_t in_purse(void)
{
    return purse.funds.bytes[LEDGER_FUND_ACCOUNT];
}

static enum decision decide_answered(enum ledger_admission admission)
{
    return decision_answered(&grants[0], &demand, admission, &patience, now_ms);
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
    cr_expect_eq(in_purse(), 0u);
    demand.need = 700;
    cr_expect_eq(decision_begin(&grants[0], &demand, now_ms), DECISION_GO);
    cr_expect_eq(in_purse(), 700u);
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
    demand.iat = 99;
    cr_expect_eq(decision_next(&grants[0], &demand, now_ms, &renew), DECISION_ASK);
    demand.iat = 100;
    cr_expect_eq(decision_next(&grants[0], &demand, now_ms, &renew), DECISION_GO);
    hear(alice, 7);
    cr_expect_eq(decision_next(&grants[0], &demand, now_ms, &renew), DECISION_ASK);
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
    cr_expect_eq(decision_unanswered(&demand, VALID_END - 1), DECISION_WAIT);
    cr_expect_eq(decision_unanswered(&demand, VALID_END), DECISION_REFUSE);
    hear(alice, 7);
    cr_expect_eq(decision_unanswered(&demand, VALID_END - 1), DECISION_WAIT);
    cr_expect_eq(decide_more(), DECISION_ASK);
    is_up = false;
    cr_expect_eq(decide_more(), DECISION_WAIT);
    now_ms = VALID_END;
    cr_expect_eq(decide_more(), DECISION_REFUSE);
    is_up = true;
    cr_expect_eq(decide_more(), DECISION_ASK);
    demand.is_under_way = false;
    cr_expect_eq(decision_unanswered(&demand, START), DECISION_REFUSE);
    end_scene();
}

/* ---- answered ---- */

Test(decision, lets_what_was_granted_go_unless_others_have_taken_it)
{
    begin(600);
    cr_expect_eq(decide_answered(LEDGER_GRANTED), DECISION_ASK);
    cr_expect_eq(in_purse(), 0u);
    demand.is_under_way = true;
    cr_expect_eq(decide_answered(LEDGER_GRANTED), DECISION_GO, "a transfer takes what there is");
    cr_expect_eq(in_purse(), 600u);
    purse.funds = (struct funds){0};
    cr_expect_eq(decide_answered(LEDGER_GRANTED), DECISION_ASK);
    demand.is_under_way = false;
    grant_spare(700);
    cr_expect_eq(decide_answered(LEDGER_GRANTED), DECISION_GO);
    cr_expect_eq(in_purse(), 700u);
    end_scene();
}

Test(decision, lets_an_inquiry_go_that_was_granted_and_takes_nothing)
{
    begin(700);
    demand.takes_nothing = true;
    cr_expect_eq(decide_answered(LEDGER_GRANTED), DECISION_GO);
    cr_expect_eq(in_purse(), 0u);
    demand.need = 701;
    cr_expect_eq(decide_answered(LEDGER_GRANTED), DECISION_GO);
    cr_expect_eq(spare(window, LEDGER_FUND_ACCOUNT), 700u);
    end_scene();
}

Test(decision, refuses_what_redis_refuses_whatever_the_window_has)
{
    static const enum ledger_admission refusals[] = {
        LEDGER_UNKNOWN, LEDGER_SUSPENDED, LEDGER_REVOKED, LEDGER_USED_UP, LEDGER_NOT_BEGUN};
    begin(700);
    atomic_store(&window->paying, 1);
    for (unsigned i = 0; i < 2 * sizeof(refusals) / sizeof(refusals[0]); i++) {
        demand.is_under_way = i % 2 == 1;
        cr_expect_eq(decide_answered(refusals[i / 2]), DECISION_REFUSE, "%d", refusals[i / 2]);
    }
    cr_expect_eq(in_purse(), 0u);
    cr_expect_eq(patience.short_until_ms, 0u);
    atomic_store(&window->paying, 0);
    end_scene();
}

/* ---- short of funds ---- */

Test(decision, asks_again_where_other_windows_gave_the_fund_back_that_is_short)
{
    begin(0);
    struct window *same_link = open_window(alice, 1, other_file),
                  *other_link = open_window(alice, 2, file);
    demand.link_bounds = true;
    window_fund(windows, other_link, ACCOUNT | LINK, 500, NULL, 0);
    cr_expect_eq(decide_answered(LEDGER_LINK_BYTES_UP), DECISION_REFUSE, "its link has no fund");
    cr_expect_eq(sent_count, 0u);
    cr_expect_eq(decide_answered(LEDGER_INSUFFICIENT), DECISION_ASK);
    cr_assert_eq(sent_count, 1u);
    expect_sent(0, "tollgate_release", 500, 500);
    cr_expect_eq(decide_answered(LEDGER_INSUFFICIENT), DECISION_REFUSE, "no more is left");
    window_fund(windows, other_link, ACCOUNT, 300, NULL, 0);
    cr_expect_eq(decide_answered(LEDGER_ACCOUNT_BYTES_UP), DECISION_ASK);
    expect_sent(1, "tollgate_release", 300, 0);
    window_fund(windows, same_link, LINK, 200, NULL, 0);
    cr_expect_eq(decide_answered(LEDGER_ACCOUNT_BYTES_UP), DECISION_REFUSE);
    cr_expect_eq(decide_answered(LEDGER_LINK_BYTES_UP), DECISION_ASK);
    expect_sent(2, "tollgate_release", 0, 200);
    cr_expect_eq(sent_count, 3u);
    window_drop(&same_link, now_ms);
    window_drop(&other_link, now_ms);
    end_scene();
}

Test(decision, lets_a_transfer_that_is_short_go_on_with_its_windows_own_funds)
{
    begin(400);
    demand.is_under_way = true;
    cr_expect_eq(decide_answered(LEDGER_INSUFFICIENT), DECISION_GO);
    cr_expect_eq(in_purse(), 400u);
    purse.funds = (struct funds){0};
    atomic_store(&window->paying, 1);
    cr_expect_eq(decide_answered(LEDGER_INSUFFICIENT), DECISION_REFUSE, "it is told at once");
    cr_expect_eq(patience.short_until_ms, 0u);
    cr_expect_eq(patience.short_retry_ms, 0u);
    atomic_store(&window->paying, 0);
    end_scene();
}

Test(decision, has_a_new_response_that_is_short_wait_for_others_that_pay)
{
    begin(0);
    cr_expect_eq(decide_answered(LEDGER_INSUFFICIENT), DECISION_REFUSE, "nobody pays");
    cr_expect_eq(patience.short_until_ms, 0u);
    atomic_store(&window->paying, 1);
    purse.funds.bytes[LEDGER_FUND_ACCOUNT] = 50;
    cr_expect_eq(decide_answered(LEDGER_INSUFFICIENT), DECISION_WAIT);
    cr_expect_eq(patience.short_until_ms, (uint64_t)START + PATIENCE_SHORT_MS);
    cr_expect_eq(patience.short_retry_ms, (uint64_t)START + PATIENCE_RETRY_MS);
    cr_expect_eq(in_purse(), 0u, "others may have it while it waits");
    cr_expect_eq(spare(window, LEDGER_FUND_ACCOUNT), 50u);
    now_ms = START + PATIENCE_SHORT_MS - 1;
    cr_expect_eq(decide_answered(LEDGER_LINK_BYTES_UP), DECISION_WAIT);
    cr_expect_eq(patience.short_until_ms, (uint64_t)START + PATIENCE_SHORT_MS);
    cr_expect_eq(patience.short_retry_ms, now_ms + PATIENCE_RETRY_MS);
    now_ms = START + PATIENCE_SHORT_MS;
    cr_expect_eq(decide_answered(LEDGER_ACCOUNT_BYTES_UP), DECISION_REFUSE);
    atomic_store(&window->paying, 0);
    end_scene();
}

/* ---- again ---- */

Test(decision, lets_a_parked_response_go_once_its_window_has_the_funds_however_late)
{
    begin(0);
    patience.short_retry_ms = now_ms + 1;
    cr_expect_eq(decide_retry(), DECISION_REFUSE, "it is overdue");
    window_fund(windows, window, ACCOUNT, 700, NULL, 0);
    cr_expect_eq(decide_retry(), DECISION_GO);
    cr_expect_eq(in_purse(), 700u);
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
    demand.is_under_way = false;
    patience.short_until_ms = START + 1;
    cr_expect_eq(decide_retry(), DECISION_ASK, "one that is short has a time of its own");
    end_scene();
}

Test(decision, does_not_ask_for_a_response_that_is_short_before_the_next_tick)
{
    begin(0);
    patience_begin(&patience, now_ms, 500);
    atomic_store(&window->paying, 1);
    cr_expect_eq(decide_answered(LEDGER_INSUFFICIENT), DECISION_WAIT);
    now_ms = START + PATIENCE_RETRY_MS - 1;
    cr_expect_eq(decide_retry(), DECISION_WAIT);
    is_up = false;
    cr_expect_eq(decide_retry(), DECISION_WAIT);
    now_ms += 1;
    cr_expect_eq(decide_retry(), DECISION_REFUSE, "Redis cannot be asked");
    is_up = true;
    cr_expect_eq(decide_retry(), DECISION_ASK);
    patience_end(&patience);
    cr_expect(patience.short_until_ms == 0 && patience.short_retry_ms == 0);
    atomic_store(&window->paying, 0);
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
