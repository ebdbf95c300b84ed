/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of operations, with a real redis-server: numbers, not clocks, say which of two counts;
 * the answer is the state that was read back; and the same order at two nodes at once is answered
 * twice and counts once.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/ledger/fixture.h"

#define ROUNDS 40

static struct fixture fx;
static struct ledger *other; /* of another node with the same Redis */
static pthread_t tester;
static pthread_mutex_t push_goes_on = PTHREAD_MUTEX_INITIALIZER;

/* Push's thread waits here while the test holds the lock. */
static void on_pushed(void *context, const struct ledger_account *account)
{
    (void)context;
    if (account == NULL || pthread_equal(pthread_self(), tester))
        return;
    pthread_mutex_lock(&push_goes_on);
    pthread_mutex_unlock(&push_goes_on);
}

static void setup(void)
{
    tester = pthread_self();
    fixture_start(&fx);
    fx.options.pushed = on_pushed;
    fixture_open_ready(&fx);
}

static void teardown(void)
{
    (void)pthread_mutex_trylock(&push_goes_on); /* a test that failed may hold it */
    pthread_mutex_unlock(&push_goes_on);
    if (other != NULL)
        ledger_close(&other, 30000);
    fixture_end(&fx);
}

TestSuite(ledger_orders, .init = setup, .fini = teardown, .timeout = 120);

/* One order at one node, and its answer. */
struct orderer {
    struct ledger *ledger;
    struct ledger_request request;
    int result;
    bool repeated;
    struct ledger_account_view view;
};

static void *give(void *context)
{
    struct orderer *orderer = context;
    orderer->result = ledger_account_change(orderer->ledger, &orderer->request, &orderer->repeated,
                                            &orderer->view);
    return NULL;
}

static int order(struct ledger *ledger, struct ledger_request request,
                 struct ledger_account_view *view)
{
    struct orderer orderer = {.ledger = ledger, .request = request};
    orderer.request.issuer = "shop";
    give(&orderer);
    if (view != NULL)
        *view = orderer.view;
    return orderer.result;
}

/* Gives two orders at once, one to each node. */
static void give_both(struct orderer orderers[2], const char *account)
{
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        orderers[i].ledger = i == 0 ? fx.ledger : other;
        orderers[i].request.issuer = "shop";
        orderers[i].request.account = account;
        cr_assert_eq(pthread_create(&threads[i], NULL, give, &orderers[i]), 0);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

static uint64_t operations_of(const char *account)
{
    char tag[64];
    snprintf(tag, sizeof(tag), "shop/%s", account);
    return (uint64_t)fixture_account_field(&fx, tag, "operations");
}

/* ---- the same order at two nodes ---- */

Test(ledger_orders, the_same_order_at_two_nodes_at_once_is_answered_twice_and_counts_once)
{
    other = fixture_open_other(&fx);
    for (int i = 0; i < ROUNDS; i++) {
        char account[16];
        snprintf(account, sizeof(account), "amy-%d", i);
        struct orderer opens[2], adds[2], takes[2];
        for (int n = 0; n < 2; n++) {
            opens[n].request = (struct ledger_request){
                .operation = LEDGER_OPEN, .amount = 100, .transaction = "open"};
            adds[n].request = (struct ledger_request){
                .operation = LEDGER_TOP_UP, .amount = 50, .transaction = "add"};
            takes[n].request = (struct ledger_request){
                .operation = LEDGER_ADJUST, .amount = -130, .transaction = "take"};
        }
        give_both(opens, account);
        give_both(adds, account);
        give_both(takes, account);
        for (int n = 0; n < 2; n++) {
            cr_assert_eq(opens[n].result, 0, "round %d: open: %d", i, opens[n].result);
            cr_assert_eq(adds[n].result, 0, "round %d: top up: %d", i, adds[n].result);
            cr_assert_eq(takes[n].result, 0, "round %d: adjust: %d", i, takes[n].result);
            cr_assert_eq(opens[n].view.balance, 100);
            cr_assert_eq(adds[n].view.balance, 150);
            cr_assert_eq(takes[n].view.balance, 20);
        }
    }
    cr_assert_eq(fixture_account_field(&fx, "shop/amy-0", "conflicts"), 0);
}

Test(ledger_orders, one_id_with_two_contents_at_two_nodes_at_once_is_taken_at_one)
{
    other = fixture_open_other(&fx);
    cr_assert_eq(fixture_change(&fx, LEDGER_OPEN, "ben", 0, "open", NULL), 0);
    int64_t balance = 0;
    for (int i = 0; i < ROUNDS; i++) {
        char id[16];
        struct orderer orderers[2];
        snprintf(id, sizeof(id), "t-%d", i);
        for (int n = 0; n < 2; n++)
            orderers[n].request = (struct ledger_request){
                .operation = LEDGER_TOP_UP, .amount = 1 + n, .transaction = id};
        give_both(orderers, "ben");
        cr_assert_eq(orderers[0].result + orderers[1].result, -ENOTUNIQ, "round %d: %d and %d", i,
                     orderers[0].result, orderers[1].result);
        balance += orderers[0].result == 0 ? 1 : 2;
    }
    cr_assert_eq(fixture_account_field(&fx, "shop/ben", "balance"), balance);
    cr_assert_eq(fixture_account_field(&fx, "shop/ben", "conflicts"), 0,
                 "what is refused was journalled");
}

Test(ledger_orders, two_openings_at_once_open_the_account_by_one_of_them)
{
    other = fixture_open_other(&fx);
    for (int i = 0; i < ROUNDS; i++) {
        char account[16];
        struct orderer orderers[2];
        snprintf(account, sizeof(account), "cat-%d", i);
        for (int n = 0; n < 2; n++)
            orderers[n].request =
                (struct ledger_request){.operation = LEDGER_OPEN,
                                        .plan = n == 0 ? LEDGER_PREPAID : LEDGER_POSTPAID,
                                        .amount = 10 + n,
                                        .transaction = n == 0 ? "ours" : "theirs"};
        give_both(orderers, account);
        int first = orderers[0].result == 0 ? 0 : 1, late = orderers[1 - first].result;
        cr_assert_eq(orderers[first].result, 0);
        cr_assert(late == -EBUSY || late == -EEXIST, "round %d: %d", i, late);
        cr_assert_eq(orderers[first].view.plan, first == 0 ? LEDGER_PREPAID : LEDGER_POSTPAID);
        cr_assert_eq(orderers[first].view.balance, 10 + first);
    }
}

/* ---- which of two counts ---- */

Test(ledger_orders, the_last_order_counts_at_whichever_node_it_was_given)
{
    other = fixture_open_other(&fx);
    cr_assert_eq(fixture_change(&fx, LEDGER_OPEN, "dan", 0, "open", NULL), 0);
    for (int i = 0; i < ROUNDS; i++) {
        struct ledger *ledger = i % 3 == 0 ? fx.ledger : other;
        struct ledger_account_view view;
        struct ledger_request status = {.operation = i % 2 == 0 ? LEDGER_SUSPEND : LEDGER_ACTIVATE,
                                        .account = "dan"};
        struct ledger_request limit = {
            .operation = LEDGER_LIMIT, .account = "dan", .amount = i, .max_conns = 4};
        uint64_t before = operations_of("dan");
        cr_assert_eq(order(ledger, status, &view), 0);
        cr_assert_eq(view.status, i % 2 == 0 ? LEDGER_STATUS_SUSPENDED : LEDGER_ACTIVE);
        cr_assert_eq(order(ledger, limit, &view), 0);
        cr_assert_eq(view.rate, i);
        cr_assert_eq(operations_of("dan"), before + 2);
    }
}

Test(ledger_orders, an_order_that_does_not_count_is_told_so)
{
    struct ledger_account_view view;
    cr_assert_eq(fixture_change(&fx, LEDGER_OPEN, "eve", 0, "open", NULL), 0);
    freeReplyObject(fixture_redis(&fx,
                                  "HSET tg:{shop/eve}:account status_at %s limits_at %s rate 7",
                                  "9000 1 node-2", "9000 1 node-2"));
    struct ledger_request suspend = {.operation = LEDGER_SUSPEND, .account = "eve"};
    cr_assert_eq(order(fx.ledger, suspend, &view), -ECANCELED);
    cr_assert_eq(view.status, LEDGER_ACTIVE);
    struct ledger_request limit = {.operation = LEDGER_LIMIT, .account = "eve", .amount = 8};
    cr_assert_eq(order(fx.ledger, limit, &view), -ECANCELED);
    cr_assert_eq(view.rate, 7);
    limit.amount = 7;
    cr_assert_eq(order(fx.ledger, limit, &view), 0, "it is as the order wants it");
}

Test(ledger_orders, a_number_lies_above_all_of_this_journal_although_redis_has_forgotten_them)
{
    static const char forget[] = "HDEL tg:{shop/fay}:account operations";
    cr_assert_eq(fixture_change(&fx, LEDGER_OPEN, "fay", 0, "open", NULL), 0);
    cr_assert_eq(fixture_change(&fx, LEDGER_SUSPEND, "fay", 0, NULL, NULL), 0);
    cr_assert_eq(operations_of("fay"), 2);
    cr_assert_eq(fixture_redis_integer(&fx, forget), 1);
    cr_assert_eq(fixture_change(&fx, LEDGER_ACTIVATE, "fay", 0, NULL, NULL), 0);
    cr_assert_eq(operations_of("fay"), 3);
    cr_assert_eq(fixture_close(&fx), 0);
    cr_assert_eq(fixture_redis_integer(&fx, forget), 1);
    fixture_open_ready(&fx);
    cr_assert_eq(fixture_change(&fx, LEDGER_SUSPEND, "fay", 0, NULL, NULL), 0);
    cr_assert_eq(operations_of("fay"), 4, "the journal was read");
}

Test(ledger_orders, an_order_waits_for_the_replay_to_a_redis_that_lost_its_data)
{
    cr_assert_eq(fixture_change(&fx, LEDGER_OPEN, "gus", 5, "open", NULL), 0);
    for (int i = 0; i < 5; i++) {
        fixture_redis_kill(&fx);
        fixture_redis_start(&fx);
        int result;
        while ((result = fixture_change(&fx, LEDGER_SUSPEND, "gus", 0, NULL, NULL)) == -EAGAIN ||
               result == -EINPROGRESS)
            fixture_pause();
        cr_assert_eq(result, 0, "round %d: %d", i, result);
        cr_assert_geq(operations_of("gus"), 2 + (uint64_t)i);
    }
}

Test(ledger_orders, who_was_answered_finds_the_change_at_this_node_before_push_brings_it)
{
    struct ledger_account *account;
    struct ledger_account_view view;
    pthread_mutex_lock(&push_goes_on);
    cr_assert_eq(order(fx.ledger,
                       (struct ledger_request){.operation = LEDGER_OPEN,
                                               .account = "alice",
                                               .plan = LEDGER_POSTPAID,
                                               .transaction = "o1"},
                       NULL),
                 0);
    account = fixture_account(&fx, "alice");
    for (int64_t i = 1; i <= ROUNDS; i++) {
        cr_assert_eq(order(fx.ledger,
                           (struct ledger_request){
                               .operation = LEDGER_LIMIT, .account = "alice", .amount = i},
                           &view),
                     0);
        cr_assert_geq(ledger_heard(fx.ledger, account).revision, view.revision);
    }
    pthread_mutex_unlock(&push_goes_on);
    ledger_account_drop(&account);
}
