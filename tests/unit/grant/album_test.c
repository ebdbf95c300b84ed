/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several links of one account: what one answer covers, and what it does not.
 */
#include "server/grant/decision.h"
#include "tests/unit/grant/scene_fixture.h"

TestSuite(album, .init = begin_listening, .fini = end_scene);

Test(album, of_twelve_links_asks_once)
{
    enum { LINKS = 12 };
    struct claim claims[LINKS] = {0};
    struct window *album[LINKS];
    unsigned unasked = 0;
    for (unsigned i = 0; i < LINKS; i++) {
        album[i] = open_window(alice, 10 + i, file);
        const struct demand one = demand_for(album[i], &claims[i], SIZE);
        if (demand_claim_unasked(ledger, &one, now_ms)) {
            unasked++;
            continue;
        }
        cr_assert_eq(ask(&one, &asker), 0);
        const struct ledger_grant grant = balance(SIZE + SLICE * 3, 100 * SLICE);
        answer(sent_count - 1, &grant);
        cr_assert(demand_claim(&one, now_ms));
    }
    cr_expect_eq(unasked, LINKS - 1u);
    cr_expect_eq(sent_count, 1u);
    for (unsigned i = 0; i < LINKS; i++) {
        claim_end(&claims[i], album[i]);
        window_drop(&album[i], now_ms);
    }
}

Test(album, of_an_account_of_which_a_link_is_revoked_asks_for_each)
{
    enum { LINKS = 12 };
    struct ledger_grant grant = balance(100 * SIZE, 100 * SIZE);
    struct claim own = {0};
    grant.revoked_left_ms = 5000;
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(0, &grant);
    for (unsigned i = 0; i < LINKS; i++) {
        struct window *one = open_window(alice, 10 + i, file);
        const struct demand of_one = demand_for(one, &own, SIZE);
        cr_expect_not(demand_claim_unasked(ledger, &of_one, now_ms), "link %u", i);
        cr_assert_eq(ask(&of_one, &asker), 0);
        expect_no_funds(1 + i);
        answer(1 + i, &grant);
        cr_expect(demand_claim_unasked(ledger, &of_one, now_ms), "link %u", i);
        claim_end(&own, one);
        window_drop(&one, now_ms);
    }
}

/* ---- what Redis denies ---- */

static const struct ledger_grant unknown = {.admission = LEDGER_UNKNOWN};

Test(album, what_redis_denies_or_raises_is_confirmed_by_its_birth_and_nothing_else_is)
{
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(0, &unknown);
    cr_expect(told.status == 0 && told.admission == LEDGER_UNKNOWN && confirmed == 1);
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(1, &thousand);
    cr_expect(told.status == 0 && told.admission == LEDGER_GRANTED && confirmed == 2,
              "its ceiling was raised");
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(2, &thousand);
    cr_expect(told.status == 0 && told.admission == LEDGER_GRANTED && confirmed == 2,
              "it has what it had");
    demand.need = 5000;
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(3, &thousand);
    cr_expect(told.status == 0 && !told.lacks_data && confirmed == 3, "the account is short");
    demand.need = 700;
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(4, &(struct ledger_grant){.admission = LEDGER_REVOKED});
    cr_expect(told.status == 0 && told.admission == LEDGER_REVOKED && confirmed == 3,
              "what is revoked stays so");
}

Test(album, what_a_redis_of_another_birth_denies_or_raises_does_not_count)
{
    birth = "cd";
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(0, &unknown);
    cr_expect_eq(told.status, -ESTALE);
    cr_expect(atomic_load(&ledger->birth_doubted), "the poster is to look");
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(1, &(struct ledger_grant){.admission = LEDGER_SUSPENDED});
    cr_expect_eq(told.status, -ESTALE);
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(2, &thousand);
    cr_expect_eq(told.status, -ESTALE, "it does not know what other nodes hold");
    cr_expect_eq(atomic_load(&window->account_group->pool.ceiling), 0u);
    const struct ledger_grant little = balance(0, 100);
    struct patience patience = {0};
    enum shortage shortage;
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(3, &little);
    cr_expect(told.status == 0 && told.lacks_data);
    cr_expect_eq(decision_answered(&demand, &told, &patience, now_ms, &shortage), DECISION_WAIT);
    cr_expect_eq(shortage, SHORTAGE_ELSEWHERE);
    now_ms += PATIENCE_SHORT_MS;
    cr_expect_eq(decision_answered(&demand, &told, &patience, now_ms, &shortage), DECISION_REFUSE);
    cr_expect_eq(shortage, SHORTAGE_ELSEWHERE, "which is 503, and not 402");
}

Test(album, while_data_is_lost_nothing_is_denied_and_no_ceiling_is_raised)
{
    cr_assert_eq(ask(&demand, &asker), 0);
    atomic_store(&ledger->losses, 1);
    answer(0, &unknown);
    cr_expect_eq(told.status, -ESTALE, "it was lost after the question");
    cr_assert_eq(ask(&demand, &asker), 0);
    expect_funds(1, 0, 0, 0, 0);
    answer(1, &unknown);
    cr_expect_eq(told.status, -ESTALE);
    cr_expect_eq(confirmed, 1u, "it could not be raised, and was not to be confirmed");
    cr_assert_eq(ask(&demand, &asker), 0);
    atomic_store(&ledger->losses, 2);
    answer(2, &unknown);
    cr_expect_eq(told.status, -ESTALE, "it was lost before the answer");
    cr_assert_eq(ask(&demand, &asker), 0);
    expect_funds(3, 0, 0, 700, SLICE);
    answer(3, &unknown);
    cr_expect(told.status == 0 && told.admission == LEDGER_UNKNOWN && confirmed == 2);
}

Test(album, what_a_worker_holds_is_told_at_once_where_redis_has_lost_it)
{
    static const unsigned char link[LEDGER_LINK_ID_BYTES] = {1};
    struct ledger_account *bob = account("bob");
    struct window *own;
    struct claim claim_of_own = {0};
    const struct window_key key = {.link_id = link, .account = bob, .file = file, .size = SIZE};
    cr_assert_eq(grants_open_window(&grants[0], &key, now_ms, &own), 0);
    const struct demand need = demand_for(own, &claim_of_own, 700);
    cr_assert_eq(ask(&need, &asker), 0);
    answer(0, &thousand);
    cr_assert(demand_claim(&need, now_ms));
    grants_sweep(&grants[0], now_ms, false);
    cr_expect_eq(sent_count, 1u);
    cr_expect_eq(atomic_load(&ledger->told[0]), 1u);
    cr_expect_not(grants_owe_ceilings(&grants[0]));
    atomic_store(&ledger->losses, 1);
    cr_expect(grants_owe_ceilings(&grants[0]));
    grants_sweep(&grants[0], now_ms, false);
    cr_assert_eq(sent_count, 2u);
    cr_expect_str_eq(sent[1].words[1], "tollgate_tell");
    cr_expect_eq(atomic_load(&ledger->told[0]), 1u, "it is not answered yet");
    cr_expect(grants_owe_ceilings(&grants[0]));
    answer_tell(1, 0, 1000);
    grants_sweep(&grants[0], now_ms, false);
    cr_expect_eq(sent_count, 2u, "once is enough");
    cr_expect_eq(atomic_load(&ledger->told[0]), 2u);
    cr_expect_not(grants_owe_ceilings(&grants[0]));
    claim_end(&claim_of_own, own);
    window_drop(&own, now_ms);
    ledger_account_drop(&bob);
}

/* What wants more is confirmed by a command right behind it, which costs no further round trip. */
Test(album, an_answer_whose_confirmation_does_not_come_is_late_or_lost_with_its_connection)
{
    birth = NULL;
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(0, &thousand);
    cr_expect_eq(told_count, 0u);
    cr_expect_eq(sent_count, 1u);
    lose(0);
    cr_expect_eq(told.status, -ENOTCONN);
    cr_assert_eq(ask(&demand, &asker), 0);
    be_late(1);
    cr_expect_eq(told.status, -ETIMEDOUT);
    answer(1, &thousand);
    lose(1);
    cr_expect_eq(told_count, 2u);
    cr_expect_eq(atomic_load(&window->account_group->pool.ceiling), 0u);
}

Test(album, a_denial_of_what_wants_no_more_is_confirmed_by_a_further_question)
{
    static const struct ledger_grant suspended = {.admission = LEDGER_SUSPENDED};
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(0, &thousand);
    birth = NULL;
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(1, &suspended);
    cr_expect_eq(told_count, 1u);
    cr_assert_eq(sent_count, 3u);
    cr_expect_str_eq(sent[2].words[0], "HGET");
    lose(2);
    cr_expect_eq(told.status, -ENOTCONN);
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(3, &suspended);
    be_late(4);
    cr_expect_eq(told.status, -ETIMEDOUT);
    cr_expect_eq(told_count, 3u);
    lose(4);
    cr_expect_eq(told_count, 3u);
}
