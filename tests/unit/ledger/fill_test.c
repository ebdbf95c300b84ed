/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filling an emptied Redis: that an account which was filled from a checkpoint and the records behind it is
 * what all records come to, key by key, in one journal or in two; and the index by which it is found.
 * fill_part_test.c has what Redis and the node do between two parts.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/ledger/checkpoint_index.h"
#include "tests/unit/ledger/forge.h"

#define ACCOUNTS  5
#define LINES_MAX 20000
#define LATE_MS   INT64_C(4102444800000) /* of the year 2100: a link's state that stays */

static struct fixture fx;
static struct forge forge;
static uint64_t random_state;

static void setup(void)
{
    forge_start(&fx);
}

static void teardown(void)
{
    fixture_end(&fx);
}

TestSuite(ledger_fill, .init = setup, .fini = teardown, .timeout = 120);

static unsigned below(unsigned bound)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)((random_state >> 33) % bound);
}

/* ---- what Redis holds ---- */

struct lines {
    char *list[LINES_MAX];
    size_t count;
};

static int by_text(const void *one, const void *other)
{
    return strcmp(*(char *const *)one, *(char *const *)other);
}

/* What differs for reasons of its own: which lease was in force, and what nodes hold. */
static bool is_passing(const char *key, const char *field)
{
    return strncmp(field, "l:", 2) == 0 ||
           (strstr(key, "grants") != NULL && strncmp(field, "p:", 2) != 0);
}

static void add_line(struct lines *lines, const char *key, const char *field, const char *value)
{
    cr_assert_lt(lines->count, LINES_MAX);
    cr_assert_gt(asprintf(&lines->list[lines->count++], "%s %s = %s", key, field, value), 0);
}

static void read_key(struct lines *lines, const char *key)
{
    redisReply *reply = fixture_redis(&fx, "HGETALL %s", key);
    cr_assert_eq(reply->type, REDIS_REPLY_ARRAY);
    for (size_t i = 0; i < reply->elements; i += 2)
        if (!is_passing(key, reply->element[i]->str))
            add_line(lines, key, reply->element[i]->str, reply->element[i + 1]->str);
    freeReplyObject(reply);
    char ends[24];
    snprintf(ends, sizeof(ends), "%" PRId64, fixture_redis_integer(&fx, "PEXPIRETIME %s", key));
    add_line(lines, key, "ends", ends);
}

static struct lines *read_redis(void)
{
    struct lines *lines = calloc(1, sizeof(*lines));
    redisReply *reply = fixture_redis(&fx, "KEYS tg:{shop/*");
    cr_assert_eq(reply->type, REDIS_REPLY_ARRAY);
    for (size_t i = 0; i < reply->elements; i++)
        read_key(lines, reply->element[i]->str);
    freeReplyObject(reply);
    qsort(lines->list, lines->count, sizeof(lines->list[0]), by_text);
    return lines;
}

static void free_lines(struct lines *lines)
{
    for (size_t i = 0; i < lines->count; i++)
        free(lines->list[i]);
    free(lines);
}

static void expect_same(struct lines *one, struct lines *other, unsigned seed)
{
    size_t i = 0;
    while (i < one->count && i < other->count && strcmp(one->list[i], other->list[i]) == 0)
        i++;
    cr_assert(i == one->count && i == other->count,
              "seed %u: by all records:\n  %s\nand by the checkpoint:\n  %s", seed,
              i < one->count ? one->list[i] : "-", i < other->count ? other->list[i] : "-");
    free_lines(one);
    free_lines(other);
}

static uint64_t filled(void)
{
    struct ledger_stats stats;
    ledger_stats(fx.ledger, &stats);
    cr_assert_eq(stats.accounts_filling, 0);
    return stats.accounts_filled;
}

static void empty_redis(void)
{
    freeReplyObject(fixture_redis(&fx, "FLUSHALL"));
}

/* ---- journals by chance ---- */

static void name_of(char out[32], unsigned account)
{
    snprintf(out, 32, "account-%u", account);
}

static void forge_use(const char *account)
{
    static const uint32_t days[] = {20261001, 20261002, 20261130};
    struct journal_record record = {.type = JOURNAL_USAGE,
                                    .closing = true,
                                    .time_ms = forge_noon(days[below(3)]),
                                    .download = ++forge.downloads,
                                    .bytes = below(3) == 0 ? 0 : 1 + below(100),
                                    .responses = 1,
                                    .responses_delta = 1,
                                    .opened_ms = forge_noon(20261001) + below(6),
                                    .keep_s = 4102444800};
    char path[8];
    snprintf(path, sizeof(path), "/f%u", below(2));
    memset(record.link_id, 1 + (int)below(3), sizeof(record.link_id));
    record.bytes_delta = record.bytes;
    record.till_s = 1800000000 + (uint32_t)(record.opened_ms % 10); /* of one use the same */
    forge_append(&forge, account, path, &record);
}

static void forge_order(const char *account, uint64_t number)
{
    static const enum ledger_operation operations[] = {
        LEDGER_OPEN,     LEDGER_TOP_UP, LEDGER_ADJUST,      LEDGER_SUSPEND,
        LEDGER_ACTIVATE, LEDGER_LIMIT,  LEDGER_REVOKE_LINK, LEDGER_REVOKE_BEFORE};
    enum ledger_operation operation = operations[below(8)];
    struct journal_record record = {.type = JOURNAL_MONEY,
                                    .operation = operation,
                                    .amount = 1 + (int)below(5),
                                    .operation_number = number,
                                    .time_ms = forge_noon(20261101) + below(1000),
                                    .node = "node-1"};
    if (operation == LEDGER_OPEN)
        record.plan = below(2) == 0 ? LEDGER_PREPAID : LEDGER_POSTPAID;
    if (operation == LEDGER_ADJUST)
        record.amount -= 3;
    if (operation == LEDGER_LIMIT) {
        record.max_bytes = below(3);
        record.max_conns = below(3);
    }
    if (operation == LEDGER_REVOKE_LINK) {
        record.amount = LATE_MS + (int)below(3);
        record.operation_number = 0;
        for (unsigned i = 0, link = 1 + below(3); i < LEDGER_LINK_ID_BYTES; i++)
            snprintf(record.transaction + 2 * i, 3, "%02x", link);
    } else if (operation == LEDGER_OPEN || operation == LEDGER_TOP_UP ||
               operation == LEDGER_ADJUST || below(3) == 0) {
        snprintf(record.transaction, sizeof(record.transaction), "t%u", below(12));
    }
    forge_append(&forge, account, NULL, &record);
}

/* The newest day is that of the newest record, by which a checkpoint judges what has ended. */
static void forge_some(unsigned records)
{
    static const uint32_t days[] = {20240105, 20250801, 20260901, 20261020, 20261021, 20261130};
    static uint64_t number;
    for (unsigned i = 0; i < records; i++) {
        char account[32], path[8];
        name_of(account, below(ACCOUNTS));
        snprintf(path, sizeof(path), "/f%u", below(9));
        switch (below(4)) {
        case 0:
            forge_order(account, ++number);
            break;
        case 1:
            forge_use(account);
            break;
        default:
            forge_usage(&forge, account, path, days[below(6)], below(500));
        }
    }
}

Test(ledger_fill, an_emptied_redis_holds_by_checkpoint_what_it_would_hold_by_all_records)
{
    for (unsigned seed = 1; seed <= 6; seed++) {
        random_state = seed;
        forge_open(&forge, fx.state, "node-1", FORGE_SEGMENT);
        forge_some(700);
        forge_close(&forge);
        fixture_open_ready(&fx);
        cr_assert_eq(filled(), 0);
        struct lines *by_records = read_redis();
        cr_assert_eq(fixture_close(&fx), 0);
        forge_open(&forge, fx.state, "node-1", FORGE_SEGMENT);
        forge_checkpoint(&forge, 0, 1);
        forge_checkpoint(&forge, 1, 2);
        forge_close(&forge);
        empty_redis();
        fx.options.fill_rows = seed % 2 == 0 ? 0 : 1 + seed * 2;
        fixture_open_ready(&fx);
        cr_assert_eq(fx.ledger->journal.from_checkpoint, 2);
        cr_expect_eq(filled(), ACCOUNTS);
        expect_same(by_records, read_redis(), seed);
        cr_assert_eq(fixture_close(&fx), 0);
        fixture_remove(fx.state);
        empty_redis();
    }
}

/* ---- transactions ---- */

Test(ledger_fill, one_order_in_two_journals_counts_once_when_both_are_filled)
{
    char state[128];
    struct ledger *other;
    snprintf(state, sizeof(state), "%s/other", fx.directory);
    for (int node = 0; node < 2; node++) {
        forge_open(&forge, node == 0 ? fx.state : state, node == 0 ? "node-1" : "node-2",
                   FORGE_SEGMENT);
        if (node == 0)
            forge_operation(&forge, "alice", LEDGER_OPEN, 100, "order-1", 1);
        forge_operation(&forge, "alice", LEDGER_TOP_UP, 50, "order-2", 2 + node);
        forge_operation(&forge, "alice", LEDGER_TOP_UP, 1000, node == 0 ? "order-3" : "order-4", 4);
        while (journal_segments(&forge.ledger->journal) < 2)
            forge_usage(&forge, "bob", "/f", 20261120, 1);
        forge_checkpoint(&forge, 0, 1);
        forge_close(&forge);
    }
    fixture_open_ready(&fx);
    other = fixture_open_other(&fx);
    cr_expect_eq(filled(), 2);
    cr_expect_eq(fixture_account_field(&fx, "shop/alice", "balance"), 2150);
    redisReply *reply =
        fixture_redis(&fx, "FCALL tollgate_transaction 5 " FIXTURE_RING("shop/alice") "order-2");
    cr_assert_eq(reply->type, REDIS_REPLY_STRING);
    cr_expect_not_null(strstr(reply->str, fx.ledger->instance), "%s", reply->str);
    freeReplyObject(reply);
    cr_assert_eq(ledger_close(&other, 10000), 0);
}

/* ---- the index ---- */

Test(ledger_fill, each_account_of_a_checkpoint_is_found_by_its_name_and_no_other)
{
    struct checkpoint_index index;
    const uint8_t *bytes;
    uint32_t length;
    char account[32], path[100];
    forge_open(&forge, fx.state, "node-1", FORGE_SEGMENT);
    memset(path, 'x', sizeof(path));
    path[0] = '/';
    path[sizeof(path) - 1] = '\0';
    for (unsigned i = 0; i < 400; i++) {
        name_of(account, i);
        forge_usage(&forge, account, path, 20261120, i);
    }
    uint32_t last = journal_segments(&forge.ledger->journal);
    while (journal_segments(&forge.ledger->journal) == last)
        forge_usage(&forge, "last", "/f", 20261120, 1);
    forge_checkpoint(&forge, 0, last);
    const struct checkpoint_place place = forge_place(&forge);
    cr_assert_eq(checkpoint_index_open(&index, &place, last), 0);
    cr_assert_gt(index.head.blocks, 2);
    for (unsigned i = 0; i < 500; i++) {
        int size = snprintf(path, sizeof(path), "shop/account-%u", i * 7 % 500);
        cr_assert_eq(checkpoint_index_find(&index, path, (size_t)size, &bytes, &length),
                     i * 7 % 500 < 400);
    }
    checkpoint_index_close(&index);
    cr_assert_eq(checkpoint_index_open(&index, &place, last + 1), -ENOENT);
    checkpoint_index_close(&index);
    forge_close(&forge);
}
