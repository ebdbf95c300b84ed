/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an answer of Redis changes in its window where it grants nothing, comes late, or was asked
 * for with terms; and the terms that the question says.
 */
#include "tests/unit/grant/scene_fixture.h"

TestSuite(grant_take, .init = begin_asking, .fini = end_scene);

Test(grant_take, short_of_funds_says_that_the_link_is_good)
{
    static const enum ledger_admission shorts[] = {LEDGER_INSUFFICIENT, LEDGER_ACCOUNT_BYTES_UP,
                                                   LEDGER_LINK_BYTES_UP};
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(0, &thousand);
    for (unsigned i = 0; i < 3; i++) {
        struct ledger_grant none = {.admission = shorts[i], .revision = i + 1};
        hear(alice, i + 1);
        cr_assert_not(covers(window, 100));
        cr_assert_eq(ask(&demand, &asker), 0);
        answer(1 + i, &none);
        cr_expect_not(told.is_overtaken);
        cr_expect(covers(window, 100), "%u: transfers would not go on with what they have", i);
    }
    /* A revocation that such an answer does not know of counts all the same. */
    cr_assert_eq(ask(&demand, &asker), 0);
    hear(alice, 9);
    answer(4, &(struct ledger_grant){.admission = LEDGER_INSUFFICIENT, .revision = 8});
    cr_expect(told.is_overtaken);
    cr_expect_not(covers(window, 100));
}

Test(grant_take, knows_what_was_heard_before_the_question)
{
    hear(alice, 7);
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(0, &thousand); /* by a Redis that has lost the revision */
    cr_expect_not(told.is_overtaken, "nothing was heard since it was asked");
    cr_expect(covers(window, 100));
}

Test(grant_take, leaves_the_limits_of_the_account_where_an_inquiry_is_refused)
{
    const struct quota *quota = &window->account_quota->quota;
    struct ledger_grant grant = thousand;
    grant.rate = 5;
    grant.max_conns = 6;
    demand.takes_nothing = true;
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(0, &grant);
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(1, &(struct ledger_grant){.admission = LEDGER_SUSPENDED}); /* it names no limits */
    cr_expect_eq(atomic_load(&quota->bucket.rate), 5u);
    cr_expect_eq(atomic_load(&quota->max_conns), 6u);
}

Test(grant_take, of_a_refused_renewal_makes_the_transfers_of_its_window_ask)
{
    const struct question_terms terms = {.till_ms = 100000, .stage = LEDGER_UNDER_WAY};
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(0, &thousand);
    cr_assert(waits && covers(window, 100));
    cr_assert_eq(question_renew(&grants[0], &demand, &terms), 0);
    answer(1, &(struct ledger_grant){.admission = LEDGER_REVOKED});
    cr_expect_eq(told_count, 1u);
    cr_expect_not(covers(window, 100), "no response waits for the refusal of a renewal");
}

Test(grant_take, counts_a_first_grant_of_nothing_as_the_first)
{
    demand.need = 0;
    cr_assert_eq(ask(&demand, &asker), 0);
    expect_sent(0, "tollgate_admit", 0, 0); /* what needs nothing asks for nothing */
    answer(0, &(struct ledger_grant){.funds = ACCOUNT});
    demand.need = 5;
    cr_assert_eq(ask(&demand, &asker), 0);
    expect_sent(1, "tollgate_admit", 5, 5);
    waits = false;
    lose(1);
}

Test(grant_take, of_a_late_answer_never_goes_back_to_an_earlier_use)
{
    struct ledger_grant early = thousand, late = thousand;
    early.opened_ms = 1000;
    early.left_ms = late.left_ms = 1000;
    late.opened_ms = 2000;
    demand.has_terms = true;
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(ask(&demand, &asker), 0);
        be_late(i);
    }
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(0, &late);
    cr_expect_eq(atomic_load(&window->opened_ms), 2000u, "there was no use before");
    late.acknowledged = 400;
    answer(1, &late);
    cr_expect_eq(window_arrived(window), 400u, "more has arrived in the same use");
    answer(2, &early);
    cr_expect_eq(atomic_load(&window->opened_ms), 2000u);
    cr_expect_eq(window_arrived(window), 400u);
    answer(3, &early); /* what is answered in time stands, since it was asked for last */
    cr_expect_eq(atomic_load(&window->opened_ms), 1000u);
}

Test(grant_take, has_what_is_delivered_from_now_on_journalled_in_its_use)
{
    struct ledger_grant grant = thousand;
    grant.opened_ms = 1000;
    grant.till_ms = 2000;
    demand.has_terms = true;
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(0, &grant);
    const struct ledger_download *download = window->use->download;
    cr_expect_eq(atomic_load(&download->opened_ms), 1000u);
    cr_expect_eq(atomic_load(&download->till_ms), 2000u);
    cr_expect_eq(atomic_load(&download->keep_ms), 101000u);
    cr_expect_arr_eq(download->link_id, window->link_id, LEDGER_LINK_ID_BYTES);
}

Test(grant_take, follows_a_question_with_all_terms_of_the_link)
{
    const struct question_terms terms = {
        .max_uses = 3, .max_bytes = 5000, .till_ms = 100000, .stage = LEDGER_UNDER_WAY};
    cr_assert_eq(question_ask(&grants[0], &demand, &terms, &asker), 0);
    cr_expect_str_eq(sent[0].rest, "10000 100", "without terms: the validity and the iat");
    lose(0);
    demand.has_terms = true;
    cr_assert_eq(question_ask(&grants[0], &demand, &terms, &asker), 0);
    cr_expect_str_eq(sent[1].rest, "10000 100 /f 1000 3 5000 100000 1000 2 101000");
    lose(1);
}

Test(grant_take, wakes_those_who_would_ask_while_a_question_could_not_be_sent)
{
    refuses = true;
    contested = window;
    cr_expect_eq(ask(&demand, &asker), -ENOTCONN);
    contested = NULL;
    cr_expect_eq(woken, 2u);
}
