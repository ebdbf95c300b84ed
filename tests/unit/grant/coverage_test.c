/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For which tokens what Redis confirmed speaks: by the account's validity, by their age, by what was
 * heard of revocations, and link by link while some link of the account is revoked.
 */
#include "tests/unit/grant/scene_fixture.h"

TestSuite(coverage, .init = begin_asking, .fini = end_scene);

#define WATERMARK 100 /* seconds */

/* Redis lets the window's link pass, tokens from WATERMARK on, with links revoked for so long. */
static void confirm(uint64_t revoked_left_ms)
{
    struct ledger_grant grant = thousand;
    grant.revoked_before = WATERMARK;
    grant.revoked_left_ms = revoked_left_ms;
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(sent_count - 1, &grant);
}

Test(coverage, lasts_as_long_as_the_validity_from_the_question_on)
{
    cr_expect_not(covers(window, WATERMARK), "nothing is confirmed yet");
    cr_expect_not(coverage_is_valid(window, now_ms));
    cr_assert_eq(ask(&demand, &asker), 0);
    now_ms += 300; /* so long the answer takes */
    answer(0, &thousand);
    cr_expect_eq(coverage_until_ms(window, now_ms), (uint64_t)VALID_END);
    cr_expect(coverage_holds(ledger, window, WATERMARK, VALID_END - 1));
    cr_expect(coverage_is_valid(window, VALID_END - 1));
    cr_expect_not(coverage_holds(ledger, window, WATERMARK, VALID_END));
    cr_expect_not(coverage_of_account(ledger, window, WATERMARK, VALID_END));
    cr_expect_not(coverage_is_valid(window, VALID_END));
}

Test(coverage, is_of_tokens_from_the_watermark_on)
{
    confirm(0);
    cr_expect(covers(window, WATERMARK));
    cr_expect_not(covers(window, WATERMARK - 1));
    cr_expect(coverage_of_account(ledger, window, WATERMARK, now_ms));
    cr_expect_not(coverage_of_account(ledger, window, WATERMARK - 1, now_ms));
}

Test(coverage, ends_with_each_message_and_each_loss_of_the_push_connection)
{
    confirm(0);
    hear(alice, 7);
    cr_expect_not(covers(window, WATERMARK));
    cr_expect_not(coverage_of_account(ledger, window, WATERMARK, now_ms));
    cr_expect(coverage_is_valid(window, now_ms), "whatever was heard since");
    confirm(0);
    cr_expect(covers(window, WATERMARK), "it was asked again");
    struct ledger_account *bob = account("bob");
    hear(bob, 8);
    cr_expect(covers(window, WATERMARK), "another account's message");
    ledger_account_drop(&bob);
}

Test(coverage, is_of_all_links_of_an_account_of_which_none_is_revoked)
{
    struct window *other = open_window(alice, 2, file);
    confirm(0);
    cr_expect(covers(other, WATERMARK));
    cr_expect_not(covers(other, WATERMARK - 1));
    cr_expect_eq(coverage_until_ms(other, now_ms), (uint64_t)VALID_END);
    window_drop(&other, now_ms);
}

Test(coverage, is_of_each_link_by_itself_until_the_last_revoked_one_has_ended)
{
    struct window *other = open_window(alice, 2, file);
    const uint64_t until_ms = VALID_END + 500;
    confirm(500);
    cr_expect(covers(window, WATERMARK), "it was asked for itself");
    cr_expect_not(covers(other, WATERMARK));
    cr_expect(coverage_of_account(ledger, other, WATERMARK, now_ms));
    cr_expect_eq(coverage_until_ms(other, now_ms), 0u);
    cr_expect_eq(coverage_until_ms(window, now_ms), (uint64_t)VALID_END);
    /* The account is confirmed again, by an answer that knows of no revoked link any more. */
    now_ms = until_ms - 1;
    confirm(0);
    cr_expect_not(covers(other, WATERMARK));
    now_ms = until_ms;
    cr_expect(covers(other, WATERMARK));
    window_drop(&other, now_ms);
}

Test(coverage, of_a_link_ends_no_later_than_its_accounts)
{
    confirm(500);
    atomic_store(&window->cover.valid_until_ms, VALID_END + 5);
    cr_expect_eq(coverage_until_ms(window, now_ms), (uint64_t)VALID_END);
    atomic_store(&window->cover.valid_until_ms, VALID_END - 5);
    cr_expect_eq(coverage_until_ms(window, now_ms), VALID_END - 5u);
    cr_expect(coverage_holds(ledger, window, WATERMARK, VALID_END - 6));
    cr_expect_not(coverage_holds(ledger, window, WATERMARK, VALID_END - 5));
}

Test(coverage, is_never_shortened_by_an_older_answer)
{
    struct cover cover = {0};
    const struct ledger_heard heard = {.epoch = 3, .messages = 4};
    cover_confirm(&cover, &heard, 500);
    cover_confirm(&cover, &heard, 400);
    cr_expect_eq(atomic_load(&cover.valid_until_ms), 500u);
    cover_confirm(&cover, &heard, 600);
    cr_expect_eq(atomic_load(&cover.valid_until_ms), 600u);
    cr_expect_eq(atomic_load(&cover.heard_epoch), 3u);
    cr_expect_eq(atomic_load(&cover.heard_messages), 4u);
}

Test(coverage, that_is_dropped_has_the_next_response_ask_and_stays_valid)
{
    confirm(500);
    cover_drop(&window->cover);
    cr_expect_not(covers(window, WATERMARK));
    cr_expect(coverage_of_account(ledger, window, WATERMARK, now_ms));
    cr_expect(coverage_is_valid(window, now_ms));
    confirm(500);
    cr_expect(covers(window, WATERMARK));
    cover_drop(&window->account_group->cover);
    cr_expect_not(covers(window, WATERMARK));
}
