/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes on without Redis, and what waits: by the account, its cap, the journal and the time, each
 * up to its edge; and that all of it is asked again once Redis answers.
 */
#include "server/grant/decision.h"
#include "server/grant/outage.h"
#include "tests/unit/grant/scene_fixture.h"

#define LONGEST 600000
#define CAP     2000

/* A postpaid account without max_bytes. */
static const struct ledger_grant unbounded = {.funds = {.bounds = LEDGER_BY_NOTHING}};

static struct patience patience;

static void allow(uint64_t longest_ms, uint64_t journal_bytes_max)
{
    outage_settle(windows, &(struct outage_settings){.longest_ms = longest_ms,
                                                     .bytes_max = CAP,
                                                     .journal_bytes_max = journal_bytes_max});
}

/* Worker 0 looks at a node that can ask Redis and hears it. */
static void observe(void)
{
    outage_observe(windows, true, now_ms);
}

static void confirm(const struct ledger_grant *grant)
{
    struct grants_asker unnamed = {0};
    cr_assert_eq(ask(&demand, &unnamed), 0);
    answer(sent_count - 1, grant);
}

/* From now on Redis cannot be asked, and what it has granted is over. */
static void cut_off(void)
{
    is_up = false;
    now_ms += VALIDITY;
    outage_observe(windows, false, now_ms);
}

static void set_up(void)
{
    begin_listening();
    allow(LONGEST, LEDGER_NUMBER_MAX);
    observe();
    patience = (struct patience){0};
}

/* Alice's account is postpaid, Redis has confirmed it, and is gone. */
static void begin_outage(void)
{
    confirm(&unbounded);
    cut_off();
}

TestSuite(outage, .init = set_up, .fini = end_scene);

static enum decision decide(void)
{
    return decision_begin(&grants[0], &demand, now_ms);
}

static bool may_send(void)
{
    struct demand under_way = demand;
    under_way.is_under_way = true;
    return outage_claim(&grants[0], &under_way, now_ms);
}

static struct pool *pool(void)
{
    return &window->account_group->pool;
}

/* A further response of alice's. It ends with the test's scene. */
struct another {
    struct claim claim;
    struct demand demand;
};

static enum decision begin_another(struct another *another, uint64_t need)
{
    *another = (struct another){0};
    another->demand = demand_for(window, &another->claim, need);
    return decision_begin(&grants[0], &another->demand, now_ms);
}

/* ---- who goes on ---- */

Test(outage, lets_a_known_account_without_a_bound_begin_and_send)
{
    begin_outage();
    cr_expect_eq(decide(), DECISION_GO);
    cr_expect_eq(claim.bytes, 700u);
    cr_expect(may_send());
    cr_expect_eq(sent_count, 1u, "Redis is not asked");
    cr_expect_eq(outage_counted(windows).responses, 1u, "whatever it sends");
}

Test(outage, lets_on_a_transfer_that_redis_had_granted)
{
    confirm(&unbounded);
    cr_assert_eq(decide(), DECISION_GO);
    cr_expect_eq(outage_counted(windows).responses, 0u, "that was granted");
    demand.is_under_way = true;
    cut_off();
    cr_expect_eq(decision_more(&grants[0], &demand, now_ms), DECISION_GO);
    cr_expect_eq(decision_retry(&grants[0], &demand, &patience, now_ms), DECISION_GO);
    cr_expect_eq(decision_unanswered(&grants[0], &demand, now_ms), DECISION_GO);
    cr_expect_eq(outage_counted(windows).responses, 1u);
}

Test(outage, lets_on_a_response_that_waited_for_the_question_of_another)
{
    begin_outage();
    now_ms += 100;
    cr_expect_eq(decision_retry(&grants[0], &demand, &patience, now_ms), DECISION_GO,
                 "however long it has waited");
    cr_expect_eq(claim.bytes, 700u);
}

Test(outage, lets_nobody_on_where_redis_is_to_be_waited_for)
{
    allow(0, LEDGER_NUMBER_MAX);
    begin_outage();
    cr_expect_eq(decide(), DECISION_ASK);
    cr_expect_eq(decision_unanswered(&grants[0], &demand, now_ms), DECISION_REFUSE);
    cr_expect_not(may_send());
    cr_expect_not(outage_lets_on(windows, now_ms));
}

Test(outage, lets_nobody_on_who_can_ask)
{
    begin_outage();
    is_up = true;
    cr_expect_eq(decide(), DECISION_ASK);
    cr_expect_not(may_send());
    cr_expect(pool_covers(pool(), LEDGER_NUMBER_MAX), "no cap is lent");
}

Test(outage, lets_no_account_on_that_redis_has_not_confirmed)
{
    cut_off();
    cr_expect_eq(decide(), DECISION_ASK);
    cr_expect_eq(decision_unanswered(&grants[0], &demand, now_ms), DECISION_REFUSE);
    cr_expect_not(may_send());
}

Test(outage, lets_no_account_on_that_has_a_bound)
{
    confirm(&thousand);
    cut_off();
    cr_expect_eq(decide(), DECISION_ASK);
    cr_expect_not(may_send());
    is_up = true;
    const struct ledger_grant limited = {
        .funds = {.bounds = LEDGER_BY_ACCOUNT_BYTES, .ceiling = 1000, .bound = 1000}};
    confirm(&limited);
    cut_off();
    cr_expect_eq(decide(), DECISION_ASK);
    cr_expect_eq(decision_unanswered(&grants[0], &demand, now_ms), DECISION_REFUSE);
}

Test(outage, lets_no_account_on_that_redis_refused_last)
{
    static const enum ledger_admission refusals[] = {LEDGER_SUSPENDED, LEDGER_SET_ASIDE};
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        const struct ledger_grant refused = {.admission = refusals[i]};
        is_up = true;
        confirm(&unbounded);
        confirm(&refused);
        cut_off();
        cr_expect_eq(decide(), DECISION_ASK, "row %zu", i);
        cr_expect_not(may_send(), "row %zu", i);
    }
}

Test(outage, lets_no_account_on_of_which_something_was_heard_since)
{
    confirm(&unbounded);
    hear(alice, 7);
    cut_off();
    cr_expect_eq(decide(), DECISION_ASK);
    cr_expect_not(may_send());
}

Test(outage, lets_no_token_on_that_is_older_than_the_watermark)
{
    struct ledger_grant marked = unbounded;
    marked.revoked_before = 100;
    demand.iat = 100;
    confirm(&marked);
    cut_off();
    demand.iat = 99;
    cr_expect_eq(decide(), DECISION_ASK);
    cr_expect_not(may_send());
    demand.iat = 100;
    cr_expect_eq(decide(), DECISION_GO);
}

Test(outage, lets_no_link_with_terms_on)
{
    begin_outage();
    demand.has_terms = true;
    cr_expect_eq(decide(), DECISION_ASK);
    cr_expect_not(may_send());
    demand.has_terms = false;
    grant_use(window, 500, 0); /* its token said so when it began */
    cr_expect_not(may_send());
}

/* Which links of the account are revoked, only Redis knows. */
Test(outage, lets_on_only_confirmed_links_of_an_account_that_has_revoked_ones)
{
    struct ledger_grant some_revoked = unbounded;
    some_revoked.revoked_left_ms = LONGEST;
    confirm(&some_revoked);
    struct window *other = open_window(alice, 2, file);
    struct claim other_claim = {0};
    const struct demand of_other = demand_for(other, &other_claim, 700);
    cut_off();
    cr_expect_eq(decision_begin(&grants[0], &of_other, now_ms), DECISION_ASK);
    cr_expect_eq(decide(), DECISION_GO);
    window_drop(&other, now_ms);
}

Test(outage, lets_no_link_on_that_redis_has_called_revoked)
{
    const struct ledger_grant revoked = {.admission = LEDGER_REVOKED, .revoked_left_ms = LONGEST};
    confirm(&unbounded);
    confirm(&revoked);
    cut_off();
    cr_expect_eq(decide(), DECISION_ASK);
    cr_expect_not(may_send());
}

/* What was missed between two push connections, nobody has told since. */
Test(outage, lets_no_account_on_that_was_confirmed_before_the_last_loss_of_push)
{
    confirm(&unbounded);
    listen_again();
    observe();
    cut_off();
    cr_expect_eq(decide(), DECISION_ASK);
    is_up = true;
    confirm(&unbounded);
    cut_off();
    cr_expect_eq(decide(), DECISION_GO);
}

/* A new push connection alone, before the node may ask, does not end what has gone on. */
Test(outage, lets_on_while_redis_is_back_and_the_journal_is_not_yet_posted)
{
    begin_outage();
    listen_again();
    outage_observe(windows, false, now_ms);
    cr_expect_eq(decide(), DECISION_GO);
    observe();
    cr_expect_not(may_send(), "from here on Redis is asked again, also where it is lost again");
}

/* ---- when ---- */

Test(outage, begins_with_an_answer_that_is_late)
{
    confirm(&unbounded);
    now_ms += VALIDITY;
    cr_assert_eq(ask(&demand, &asker), 0);
    cr_expect_not(may_send(), "it may come in time");
    be_late(1);
    cr_expect(may_send());
    cr_expect_eq(decision_unanswered(&grants[0], &demand, now_ms), DECISION_GO);
    claim_end(&claim, window);
    answer(1, &unbounded);
    cr_expect_not(grants_are_cut_off(&grants[0]));
    cr_expect(covers(window, 100), "late as it is, it counts");
}

Test(outage, does_not_begin_with_an_answer_that_redis_refuses)
{
    confirm(&unbounded);
    now_ms += VALIDITY;
    cr_expect_eq(decision_unanswered(&grants[0], &demand, now_ms), DECISION_REFUSE);
    cr_assert_eq(ask(&demand, &asker), 0);
    be_late(1);
    lose(1);
    cr_expect_not(grants_are_cut_off(&grants[0]), "the connection says whether it is lost");
}

Test(outage, ends_when_its_time_is_over)
{
    begin_outage();
    cr_assert_eq(decide(), DECISION_GO);
    claim_end(&claim, window);
    now_ms = START + LONGEST - 1;
    cr_expect(outage_lets_on(windows, now_ms));
    cr_expect(may_send());
    cr_expect_eq(decide(), DECISION_GO);
    now_ms++;
    cr_expect_not(outage_lets_on(windows, now_ms));
    cr_expect_not(may_send());
    demand.is_under_way = true;
    cr_expect_eq(decision_more(&grants[0], &demand, now_ms), DECISION_REFUSE);
}

/* Its time runs from when revocations were heard last, also where Redis was asked later. */
Test(outage, has_its_time_from_when_revocations_were_heard)
{
    confirm(&unbounded);
    now_ms = START + LONGEST / 2;
    observe(); /* deaf: push was up at START last */
    is_up = false;
    now_ms = START + LONGEST - 1;
    cr_expect(may_send());
    now_ms++;
    cr_expect_not(may_send());
}

Test(outage, lets_nobody_on_once_the_journal_that_waits_has_reached_its_bound)
{
    uint64_t waiting = ledger_unposted_bytes(ledger);
    cr_assert_gt(waiting, 0u);
    begin_outage();
    allow(LONGEST, waiting + 1);
    outage_observe(windows, false, now_ms);
    cr_expect_eq(decide(), DECISION_GO);
    allow(LONGEST, waiting);
    outage_observe(windows, false, now_ms);
    cr_expect_not(outage_lets_on(windows, now_ms));
    cr_expect_not(may_send());
}

/* ---- how much ---- */

Test(outage, lets_new_responses_claim_up_to_the_cap_and_no_more)
{
    struct another second, third;
    begin_outage();
    demand.need = CAP - 500;
    cr_expect_eq(decide(), DECISION_GO);
    cr_expect_eq(begin_another(&second, 501), DECISION_ASK);
    cr_expect_eq(begin_another(&second, 500), DECISION_GO);
    cr_expect_eq(begin_another(&third, 1), DECISION_ASK);
    cr_expect_eq(claim_pay(&second.claim, window, 500), 500u);
    claim_hand(&second.claim, 500);
    claim_end(&second.claim, window);
    cr_expect_eq(begin_another(&third, 1), DECISION_ASK, "what was delivered stays counted");
    claim_end(&claim, window);
    cr_expect_eq(begin_another(&third, CAP - 500), DECISION_GO, "what was not is free again");
    claim_end(&third.claim, window);
}

/* They need more than the cap, and began while there was none. */
Test(outage, lets_transfers_hand_over_the_cap_to_a_byte)
{
    confirm(&unbounded);
    demand.need = 5 * CAP;
    cr_assert_eq(decide(), DECISION_GO);
    cr_assert_eq(claim_pay(&claim, window, 1000), 1000u);
    claim_hand(&claim, 1000);
    cut_off();
    demand.is_under_way = true;
    cr_assert(may_send());
    cr_expect_eq(claim_pay(&claim, window, 5000), CAP, "counted from when the outage met it");
    claim_hand(&claim, CAP);
    cr_expect_not(may_send());
    cr_expect_eq(decision_more(&grants[0], &demand, now_ms), DECISION_REFUSE);
    claim_return(window, false, 10);
    cr_expect(may_send(), "ten bytes came back unacknowledged");
    cr_expect_eq(claim_pay(&claim, window, 5000), 10u);
}

/* ---- afterwards ---- */

Test(outage, tells_redis_what_an_account_without_a_bound_would_have_told)
{
    begin_outage();
    cr_assert_eq(decide(), DECISION_GO);
    cr_assert_eq(claim_pay(&claim, window, 300), 300u);
    claim_hand(&claim, 300);
    is_up = true;
    struct another next;
    cr_expect_eq(begin_another(&next, 700), DECISION_ASK);
    cr_assert_eq(ask(&next.demand, &asker), 0);
    expect_funds(1, 300, 700, 1400, SLICE);
    answer(1, &unbounded);
    cr_expect(pool_covers(pool(), LEDGER_NUMBER_MAX), "the cap has ended with the answer");
    cr_expect_not(pool_holds(pool()));
}

Test(outage, has_a_cap_of_its_own_each_time)
{
    struct another second;
    begin_outage();
    demand.need = CAP;
    cr_assert_eq(decide(), DECISION_GO);
    cr_assert_eq(claim_pay(&claim, window, CAP), CAP);
    claim_hand(&claim, CAP);
    is_up = true;
    confirm(&unbounded);
    listen_now();
    observe();
    cut_off();
    cr_expect_eq(begin_another(&second, CAP + 1), DECISION_ASK);
    cr_expect_eq(begin_another(&second, CAP), DECISION_GO);
    claim_end(&second.claim, window);
}

Test(outage, gives_way_to_a_bound_that_the_account_has_got_meanwhile)
{
    begin_outage();
    cr_assert_eq(decide(), DECISION_GO);
    cr_assert_eq(claim_pay(&claim, window, 700), 700u);
    claim_hand(&claim, 700);
    is_up = true;
    const struct ledger_grant about_the_account = balance(900, 900);
    confirm(&about_the_account);
    cr_expect_not(pool_covers(pool(), 201));
    cr_expect(pool_covers(pool(), 200));
    cut_off();
    cr_expect_not(may_send());
}

Test(outage, counts_what_was_handed_at_each_sweep_and_never_twice)
{
    begin_outage();
    cr_assert_eq(decide(), DECISION_GO);
    cr_assert_eq(claim_pay(&claim, window, 300), 300u);
    claim_hand(&claim, 300);
    cr_expect_not(group_sweep(windows, window->account_group, now_ms));
    cr_expect_eq(outage_counted(windows).bytes, 300u);
    claim_return(window, false, 100);
    cr_expect_not(group_sweep(windows, window->account_group, now_ms));
    cr_expect_eq(outage_counted(windows).bytes, 300u);
    cr_assert_eq(claim_pay(&claim, window, 400), 400u);
    claim_hand(&claim, 400);
    is_up = true;
    confirm(&unbounded);
    cr_expect_eq(outage_counted(windows).bytes, 600u, "the answer ends it");
    cr_expect_not(group_sweep(windows, window->account_group, now_ms));
    cr_expect_eq(outage_counted(windows).bytes, 600u);
}

/* A group without a window would otherwise go with the validity of what was confirmed. */
Test(outage, finds_an_account_known_that_nobody_has_asked_for_lately)
{
    confirm(&unbounded);
    struct window_group *group = window->account_group;
    struct ledger_account *of = alice;
    struct window *idle = window;
    window_drop(&window, now_ms);
    now_ms += 10 * VALIDITY;
    listen_now();
    observe();
    cr_assert(window_sweep(windows, idle, now_ms, 0));
    cr_assert_eq(group->references, 0u);
    cr_expect_not(group_sweep(windows, group, now_ms));
    cut_off();
    window = open_window(of, 3, file);
    demand.window = window;
    cr_expect_eq(decide(), DECISION_GO);
}
