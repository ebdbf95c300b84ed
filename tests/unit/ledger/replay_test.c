/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A property of tollgate_post, with a real redis-server: whichever order the journals of several
 * nodes are replayed in, an account comes to the same state. Journals are made by chance, with
 * clocks that have nothing to do with each other, numbers that are alike, records of old journals
 * that have none, and transactions that repeat or contradict each other.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/ledger/fixture.h"

#define SEEDS        150
#define NODES        3
#define RECORDS      10 /* of each journal */
#define ORDERS       5  /* in which a seed's journals are replayed */
#define COMMAND_SIZE 500
#define STATE_SIZE   4096
#define DAYS         3

/* The last of them has ended: nothing of it is kept but what its month came to. */
static const char *const days[DAYS] = {"29991120", "29991201", "20200229"};

static struct fixture fx;
static uint64_t state; /* of the random numbers */

static void setup(void)
{
    fixture_start(&fx);
    fixture_function_load(&fx);
}

static void teardown(void)
{
    fixture_end(&fx);
}

TestSuite(ledger_replay, .init = setup, .fini = teardown, .timeout = 120);

static unsigned below(unsigned bound)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)((state >> 33) % bound);
}

/* The command that posts one record of one journal. */
struct record {
    char command[COMMAND_SIZE];
};

static void make_usage(struct record *record, unsigned node, unsigned sequence)
{
    const char *day = days[below(DAYS)];
    snprintf(record->command, sizeof(record->command),
             "FCALL tollgate_post 4 tg:{shop/a}:account tg:{shop/a}:grants "
             "tg:{shop/a}:usage:%s tg:{shop/a}:usage:%.6s %032x 1 %u %u usage %s /f%u %u 1 %%s",
             day, day, node + 1, sequence, sequence, day, below(2), below(1000));
}

static void make_money(struct record *record, unsigned node, unsigned sequence, unsigned number)
{
    static const char *const operations[] = {"open",     "top_up", "adjust",      "suspend",
                                             "activate", "limit",  "revoke_link", "revoke_before"};
    unsigned operation = below(8);
    /* A link that is revoked until long after now, so that its state stays. */
    long long amount = operation == 6                    ? 9000000000000 + (int)below(2)
                       : operation == 1 || operation > 4 ? (int)below(3) + 1
                       : operation == 2                  ? (int)below(5) - 2
                                                         : 0;
    char transaction[8] = "%s"; /* none */
    if (operation < 3 || (operation < 5 && below(3) == 0))
        snprintf(transaction, sizeof(transaction), "t%u", below(6));
    snprintf(record->command, sizeof(record->command),
             "FCALL tollgate_post 8 tg:{shop/a}:account tg:{shop/a}:grants " FIXTURE_RING(
                 "shop/a") "tg:{shop/a}:link:x %032x 1 %u %u money %s %lld %s %u "
                           "%s %u %u %u n%u",
             node + 1, sequence, sequence, operations[operation], amount,
             operation != 0  ? "-"
             : below(2) == 0 ? "prepaid"
                             : "postpaid",
             1 + below(5), transaction, operation == 5 ? below(3) : 0,
             operation == 5 ? below(3) : 0, number, node);
}

static void make_journals(struct record journals[NODES][RECORDS])
{
    for (unsigned node = 0; node < NODES; node++) {
        unsigned number = 0, old = below(RECORDS);
        for (unsigned i = 0; i < RECORDS; i++) {
            if (below(3) == 0) {
                make_usage(&journals[node][i], node, i + 1);
            } else {
                number += i >= old ? 1 + below(2) : 0;
                make_money(&journals[node][i], node, i + 1, number);
            }
        }
    }
}

static int by_text(const void *one, const void *other)
{
    return strcmp(*(char *const *)one, *(char *const *)other);
}

/* Appends the fields of a hash, in the order of their names. */
static void add_hash(char out[STATE_SIZE], const char *key)
{
    redisReply *reply = fixture_redis(&fx, "HGETALL tg:{shop/a}:%s", key);
    char *fields[64];
    size_t count = reply->elements / 2, used = strlen(out);
    cr_assert(reply->type == REDIS_REPLY_ARRAY && count <= 64);
    for (size_t i = 0; i < count; i++)
        cr_assert_gt(asprintf(&fields[i], "%s=%s", reply->element[2 * i]->str,
                              reply->element[2 * i + 1]->str),
                     0);
    qsort(fields, count, sizeof(fields[0]), by_text);
    used += (size_t)snprintf(out + used, STATE_SIZE - used, "%s:", key);
    for (size_t i = 0; i < count; i++) {
        used += (size_t)snprintf(out + used, STATE_SIZE - used, " %s;", fields[i]);
        cr_assert_lt(used, STATE_SIZE);
        free(fields[i]);
    }
    snprintf(out + used, STATE_SIZE - used, "\n");
    freeReplyObject(reply);
}

/* Replays the journals to an empty Redis, in an order by chance, and reads the account back. */
static void replay(struct record journals[NODES][RECORDS], char out[STATE_SIZE])
{
    static const char *const keys[] = {
        "account",        "grants",         "transactions:0", "transactions:1", "transactions:2",
        "transactions:3", "transactions:4", "link:x",         "usage:29991120", "usage:29991201",
        "usage:20200229", "usage:299911",   "usage:299912",   "usage:202002"};
    unsigned done[NODES] = {0};
    freeReplyObject(fixture_redis(&fx, "FLUSHDB"));
    for (unsigned left = NODES * RECORDS; left > 0; left--) {
        unsigned node = below(NODES);
        while (done[node] == RECORDS)
            node = (node + 1) % NODES;
        redisReply *reply = fixture_redis(&fx, journals[node][done[node]++].command, "");
        cr_assert(reply->type == REDIS_REPLY_ARRAY && reply->element[0]->integer == 0, "%s: %s",
                  journals[node][done[node] - 1].command, reply->str);
        freeReplyObject(reply);
    }
    out[0] = '\0';
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        add_hash(out, keys[i]);
}

Test(ledger_replay, an_account_comes_to_the_same_state_in_whichever_order_journals_are_replayed)
{
    static struct record journals[NODES][RECORDS];
    unsigned with_conflicts = 0;
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        static char first[STATE_SIZE], next[STATE_SIZE];
        state = seed;
        make_journals(journals);
        replay(journals, first);
        with_conflicts += strstr(first, " conflict;") != NULL;
        for (int i = 1; i < ORDERS; i++) {
            replay(journals, next);
            cr_assert_str_eq(first, next, "seed %u", seed);
        }
    }
    cr_assert_gt(with_conflicts, SEEDS / 10, "the journals contradict each other now and then");
}

/* ---- which of two counts ---- */

static unsigned posted[2];

/* Posts a record of a node whose clock says `time`. */
static void post(unsigned node, unsigned number, const char *time, const char *operation,
                 const char *amount, const char *transaction)
{
    char command[COMMAND_SIZE];
    unsigned sequence = ++posted[node];
    snprintf(command, sizeof(command),
             "FCALL tollgate_post 7 tg:{shop/a}:account tg:{shop/a}:grants " FIXTURE_RING(
                 "shop/a") "%032x 1 %u %u money %s %s %s %s %%s 0 0 %u n%u",
             node + 1, sequence, sequence, operation, amount,
             strcmp(operation, "open") == 0 ? "prepaid" : "-", time, number, node);
    redisReply *reply = fixture_redis(&fx, command, transaction);
    cr_assert(reply->type == REDIS_REPLY_ARRAY && reply->element[0]->integer == 0, "%s",
              reply->str);
    freeReplyObject(reply);
}

static void expect(const char *key, const char *field, const char *value)
{
    redisReply *reply = fixture_redis(&fx, "HGET tg:{shop/a}:%s %s", key, field);
    cr_assert_eq(reply->type, REDIS_REPLY_STRING);
    cr_assert_str_eq(reply->str, value);
    freeReplyObject(reply);
}

/* What Redis has of a transaction, until the next call. */
static const char *transaction(const char *id)
{
    static char out[128];
    redisReply *reply =
        fixture_redis(&fx, "FCALL tollgate_transaction 5 " FIXTURE_RING("shop/a") "%s", id);
    cr_assert_eq(reply->type, REDIS_REPLY_STRING);
    snprintf(out, sizeof(out), "%s", reply->str);
    freeReplyObject(reply);
    return out;
}

Test(ledger_replay, the_higher_number_counts_although_its_clock_is_twelve_years_behind)
{
    post(0, 1, "2000000000000", "open", "0", "t");
    post(0, 2, "2000000000000", "suspend", "0", "");
    post(1, 3, "1600000000000", "activate", "0", "");
    expect("account", "status", "active");
    expect("account", "status_at", "3 1600000000000 n1");
    post(0, 2, "2000000000000", "suspend", "0", "");
    expect("account", "status", "active");
    expect("account", "operations", "3");
}

Test(ledger_replay, of_two_with_the_same_number_the_node_with_the_later_name_counts)
{
    post(1, 5, "100", "limit", "11", "");
    post(0, 5, "200", "limit", "10", "");
    expect("account", "rate", "11");
    post(0, 6, "50", "limit", "12", "");
    expect("account", "rate", "12");
}

Test(ledger_replay,
     records_of_old_journals_keep_the_order_of_their_times_and_lie_before_all_numbers)
{
    post(0, 0, "300", "suspend", "0", "");
    post(1, 0, "200", "activate", "0", "");
    expect("account", "status", "suspended");
    post(1, 0, "400", "activate", "0", "");
    expect("account", "status", "active");
    post(1, 1, "100", "suspend", "0", "");
    post(0, 0, "999", "activate", "0", "");
    expect("account", "status", "suspended");
}

Test(ledger_replay, of_two_contents_of_one_transaction_the_lower_number_counts)
{
    post(0, 1, "100", "open", "0", "o");
    post(1, 7, "100", "top_up", "20", "t");
    expect("account", "balance", "20");
    post(0, 5, "900", "top_up", "10", "t");
    expect("account", "balance", "10");
    expect("account", "conflicts", "1");
    cr_assert_str_eq(transaction("t"),
                     "top_up 10 - 5 900 n0 00000000000000000000000000000001 conflict");
    post(1, 8, "100", "top_up", "20", "t");
    expect("account", "balance", "10");
    expect("account", "conflicts", "1");
}

/* An order that was sent to two nodes is in both journals. When they are replayed, both are older than what is
 * kept of transactions, which counts from the post. */
Test(ledger_replay,
     one_order_of_long_ago_in_two_journals_counts_once_in_the_one_with_the_lower_number)
{
    post(0, 1, "100", "open", "0", "o");
    post(1, 7, "200", "top_up", "20", "t");
    cr_assert_str_eq(transaction("t"), "top_up 20 - 7 200 n1 00000000000000000000000000000002");
    post(0, 5, "100", "top_up", "20", "t");
    cr_assert_str_eq(transaction("t"), "top_up 20 - 5 100 n0 00000000000000000000000000000001");
    expect("account", "balance", "20");
}
