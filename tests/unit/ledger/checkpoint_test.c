/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checkpoints: what they keep of an account, what a start with one knows and does not read, and what
 * happens to one that is damaged or was not finished.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "storage/ledger/checkpoint.h"
#include "storage/ledger/checkpoint_file.h"
#include "storage/ledger/checkpoints.h"
#include "storage/ledger/segment.h"
#include "storage/ledger/verify.h"
#include "tests/unit/ledger/fixture.h"

#define DOWNLOADS 32
#define SEGMENT   73728u /* 288 records */

/* ---- what is kept of an account ---- */

static struct names names;
static struct checkpoint_account account;
static struct journal_entry entry;
static uint32_t segment;

static void setup_account(void)
{
    struct ledger_name *name;
    cr_assert_eq(names_init(&names, 10, 10), 0);
    memset(&account, 0, sizeof(account));
    memset(&entry, 0, sizeof(entry));
    segment = 1;
    cr_assert_eq(names_get(&names, JOURNAL_ACCOUNT, "shop/gina", 9, &name), 0);
    entry.account = names_account(name);
}

static void teardown_account(void)
{
    checkpoint_account_clear(&account);
    names_free(&names);
}

TestSuite(ledger_checkpoint_account, .init = setup_account, .fini = teardown_account);

static uint64_t at(uint32_t day)
{
    struct tm time = {.tm_year = (int)(day / 10000) - 1900,
                      .tm_mon = (int)(day / 100 % 100) - 1,
                      .tm_mday = (int)(day % 100),
                      .tm_hour = 12};
    return (uint64_t)timegm(&time) * 1000;
}

static void add(struct checkpoint_account *to)
{
    entry.record.sequence++;
    cr_assert_eq(checkpoint_account_add(to, &entry, segment), 0);
}

static void deliver(struct checkpoint_account *to, uint32_t day, const char *path, uint64_t bytes)
{
    struct ledger_name *name;
    uint64_t sequence = entry.record.sequence;
    cr_assert_eq(names_get(&names, JOURNAL_FILE, path, strlen(path), &name), 0);
    entry.file = (struct ledger_file *)name;
    entry.record = (struct journal_record){.type = JOURNAL_USAGE,
                                           .sequence = sequence,
                                           .time_ms = at(day),
                                           .bytes_delta = bytes,
                                           .responses_delta = 1};
    add(to);
    names_drop(name);
}

static void order(struct checkpoint_account *to, enum ledger_operation operation, int64_t amount,
                  uint64_t number, const char *transaction)
{
    uint64_t sequence = entry.record.sequence;
    entry.record = (struct journal_record){.type = JOURNAL_MONEY,
                                           .sequence = sequence,
                                           .operation = operation,
                                           .amount = amount,
                                           .operation_number = number,
                                           .time_ms = at(20260101),
                                           .node = "node-1"};
    snprintf(entry.record.transaction, sizeof(entry.record.transaction), "%s", transaction);
    add(to);
}

static void expect_usage(uint32_t index, uint32_t day, const char *path, uint64_t bytes,
                         uint64_t responses)
{
    cr_assert_lt(index, account.usages_count);
    const struct checkpoint_usage *usage = &account.usages[index];
    cr_expect_eq(usage->day, day, "%u", usage->day);
    cr_expect_eq(usage->bytes, bytes);
    cr_expect_eq(usage->responses, responses);
    if (path == NULL)
        cr_expect_null(usage->file);
    else
        cr_expect_str_eq(usage->file->name.text, path);
}

Test(ledger_checkpoint_account, has_usage_by_day_then_by_month_then_without_the_file)
{
    deliver(&account, 20260115, "/a", 1);
    deliver(&account, 20260115, "/b", 2);
    deliver(&account, 20260116, "/a", 4);
    deliver(&account, 20260115, "/a", 8);
    checkpoint_account_settle(&account, at(20260301));
    cr_assert_eq(account.usages_count, 3);
    expect_usage(0, 20260115, "/a", 9, 2);
    expect_usage(1, 20260115, "/b", 2, 1);
    expect_usage(2, 20260116, "/a", 4, 1);
    checkpoint_account_settle(&account, at(20260327)); /* 70 days after the 16th */
    cr_assert_eq(account.usages_count, 3);
    expect_usage(2, 20260116, "/a", 4, 1);
    checkpoint_account_settle(&account, at(20260328));
    cr_assert_eq(account.usages_count, 2);
    expect_usage(0, 20260100, "/a", 13, 3);
    expect_usage(1, 20260100, "/b", 2, 1);
    checkpoint_account_settle(&account, at(20270228));
    cr_assert_eq(account.usages_count, 2);
    checkpoint_account_settle(&account, at(20270301));
    cr_assert_eq(account.usages_count, 1);
    expect_usage(0, 20260100, NULL, 15, 4);
    cr_expect_eq(account.bytes, 15);
}

Test(ledger_checkpoint_account, keeps_all_money_and_what_counts_of_the_rest)
{
    order(&account, LEDGER_OPEN, 100, 1, "order-1");
    order(&account, LEDGER_SUSPEND, 0, 4, "");
    order(&account, LEDGER_ACTIVATE, 0, 3, "");
    order(&account, LEDGER_TOP_UP, 50, 5, "order-2");
    order(&account, LEDGER_LIMIT, 1000, 7, "");
    order(&account, LEDGER_LIMIT, 2000, 6, "");
    order(&account, LEDGER_REVOKE_BEFORE, 30, 8, "");
    order(&account, LEDGER_REVOKE_BEFORE, 20, 9, "");
    checkpoint_account_settle(&account, at(20260102));
    cr_assert_eq(account.operations_count, 5);
    cr_expect_str_eq(account.operations[0].transaction, "order-1");
    cr_expect_str_eq(account.operations[1].transaction, "order-2");
    cr_expect_eq(account.operations[2].operation, LEDGER_SUSPEND);
    cr_expect_eq(account.operations[3].amount, 1000);
    cr_expect_eq(account.operations[4].amount, 30);
    cr_expect_eq(account.operation_number, 9);
}

Test(ledger_checkpoint_account, keeps_the_revocation_of_a_link_until_its_state_ends)
{
    int64_t end = (int64_t)at(20260110);
    order(&account, LEDGER_REVOKE_LINK, end - 5000, 0, "aa");
    order(&account, LEDGER_REVOKE_LINK, end, 0, "aa");
    order(&account, LEDGER_REVOKE_LINK, end, 0, "bb");
    checkpoint_account_settle(&account, at(20260110) + CHECKPOINT_LINK_KEPT_MS - 1);
    cr_assert_eq(account.operations_count, 2);
    cr_expect_eq(account.operations[0].amount, end);
    checkpoint_account_settle(&account, at(20260110) + CHECKPOINT_LINK_KEPT_MS);
    cr_assert_eq(account.operations_count, 0);
}

Test(ledger_checkpoint_account, adds_up_the_same_in_two_parts_as_in_one)
{
    struct checkpoint_account parts[2] = {{0}, {0}};
    struct checkpoint_bytes one = {0}, other = {0};
    for (unsigned i = 0; i < 200; i++) {
        uint64_t sequence = entry.record.sequence;
        segment = 1 + i / 100;
        for (unsigned part = 0; part < 2; part++) {
            struct checkpoint_account *to = part == 0 ? &account : &parts[i / 100];
            entry.record.sequence = sequence;
            if (i % 10 == 0)
                order(to, i % 20 == 0 ? LEDGER_SUSPEND : LEDGER_TOP_UP, i, i, "order");
            else
                deliver(to, 20251201 + i % 7, i % 3 == 0 ? "/a" : "/b", i);
        }
        if (i == 99)
            checkpoint_account_settle(&parts[0], at(20260101));
    }
    cr_assert_eq(checkpoint_account_join(&parts[0], &parts[1]), 0);
    checkpoint_account_settle(&parts[0], at(20260301));
    checkpoint_account_settle(&account, at(20260301));
    cr_assert_eq(checkpoint_account_encode(&account, &one), 0);
    cr_assert_eq(checkpoint_account_encode(&parts[0], &other), 0);
    cr_assert_eq(one.length, other.length);
    cr_expect_eq(memcmp(one.data, other.data, one.length), 0);
    free(one.data);
    free(other.data);
    checkpoint_account_clear(&parts[0]);
}

Test(ledger_checkpoint_account, reads_back_as_it_was_written_and_no_shorter_bytes_do)
{
    struct checkpoint_bytes bytes = {0}, again = {0};
    order(&account, LEDGER_OPEN, -5, 3, "order-1");
    entry.record.opened_ms = 1;
    deliver(&account, 20260115, "/a", 7);
    entry.record.opened_ms = at(20260115);
    entry.record.keep_s = (uint32_t)(at(20260201) / 1000);
    entry.record.type = JOURNAL_USAGE;
    struct ledger_name *name;
    cr_assert_eq(names_get(&names, JOURNAL_FILE, "/long", 5, &name), 0);
    entry.file = (struct ledger_file *)name;
    add(&account);
    names_drop(name);
    checkpoint_account_settle(&account, at(20260116));
    cr_assert_eq(account.uses_count, 1);
    cr_assert_eq(checkpoint_account_encode(&account, &bytes), 0);
    struct checkpoint_account back = {0};
    uint32_t length = checkpoint_account_length(bytes.data);
    cr_assert_eq(length, bytes.length);
    cr_assert_eq(checkpoint_account_decode(bytes.data, length, &names, &back), 0);
    cr_assert_eq(checkpoint_account_encode(&back, &again), 0);
    cr_assert_eq(again.length, bytes.length);
    cr_expect_eq(memcmp(bytes.data, again.data, bytes.length), 0);
    checkpoint_account_clear(&back);
    for (uint32_t shorter = 80; shorter < length; shorter += 8)
        cr_assert_neq(checkpoint_account_decode(bytes.data, shorter, &names, &back), 0);
    free(bytes.data);
    free(again.data);
}

/* ---- a ledger ---- */

static struct fixture fx;
static uint64_t sent;

static void setup(void)
{
    fixture_start(&fx);
    fx.options.segment_bytes = SEGMENT;
    fx.options.downloads_max = DOWNLOADS;
    fx.options.checkpoint_records = 1;
    fixture_open_ready(&fx);
    sent = 0;
}

static void teardown(void)
{
    fixture_end(&fx);
}

TestSuite(ledger_checkpoint, .init = setup, .fini = teardown, .timeout = 120);

static uint32_t covered(void)
{
    struct ledger_stats stats;
    ledger_stats(fx.ledger, &stats);
    cr_assert_eq(stats.checkpoints_refused, 0);
    return (uint32_t)stats.checkpoint_segment;
}

/* Delivers to some accounts until the journal has this segment. */
static void fill_to(uint32_t number)
{
    static const char *const accounts[] = {"gina", "hugo", "ivan"};
    for (unsigned i = 0; journal_segments(&fx.ledger->journal) < number; i++) {
        fixture_deliver(&fx, accounts[i % 3], i % 2 == 0 ? "/f" : "/g", i);
        sent += i;
        cr_assert_eq(writer_mark(fx.ledger, clock_monotonic_ms() + 20000), 0);
    }
    cr_assert_eq(ledger_settle(fx.ledger, 20000), 0);
}

static void await_covered(uint32_t number)
{
    while (covered() < number)
        fixture_pause();
}

static void open_again(void)
{
    cr_assert_eq(fixture_close(&fx), 0);
    fixture_open_ready(&fx);
}

static char *file_of(const char *directory, uint32_t number)
{
    static char path[200];
    char name[SEGMENT_NAME_MAX];
    segment_name(number, name);
    snprintf(path, sizeof(path), "%s/lane-a/%s/%s", fx.state, directory, name);
    return path;
}

static void damage(const char *path, off_t offset)
{
    uint8_t byte;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    cr_assert(fd >= 0, "%s", path);
    cr_assert_eq(pread(fd, &byte, 1, offset), 1);
    byte ^= 1;
    cr_assert_eq(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

static void expect_bill(void)
{
    uint64_t billed = 0;
    cr_assert_eq(ledger_settle(fx.ledger, 20000), 0);
    billed += fixture_redis_usage(&fx, "shop/gina");
    billed += fixture_redis_usage(&fx, "shop/hugo");
    billed += fixture_redis_usage(&fx, "shop/ivan");
    cr_expect_eq(billed, sent);
}

Test(ledger_checkpoint, is_made_behind_each_full_segment_and_begins_the_next_start)
{
    fill_to(3);
    await_covered(2);
    open_again();
    cr_expect_eq(fx.ledger->journal.from_checkpoint, 2);
    cr_expect_eq(covered(), 2);
    fill_to(5);
    await_covered(4);
    open_again();
    cr_expect_eq(fx.ledger->journal.from_checkpoint, 4);
    expect_bill();
    cr_expect_eq(access(file_of("checkpoints", 3), F_OK), 0, "the one before is kept");
}

Test(ledger_checkpoint, spares_a_start_the_segments_that_it_covers)
{
    struct ledger_verification found = {0};
    char error[600];
    fill_to(3);
    await_covered(2);
    cr_assert_eq(fixture_close(&fx), 0);
    damage(file_of("journal", 1), 1000);
    cr_assert_eq(ledger_verify(fx.state, 0, &found, error, sizeof(error)), -EBADMSG);
    fixture_open_ready(&fx);
    cr_expect_eq(fx.ledger->journal.from_checkpoint, 2);
    damage(file_of("journal", 1), 1000);
}

Test(ledger_checkpoint, goes_on_to_the_same_bill_in_a_redis_that_was_emptied)
{
    fill_to(3);
    await_covered(2);
    cr_assert_eq(fixture_close(&fx), 0);
    freeReplyObject(fixture_redis(&fx, "FLUSHALL"));
    fixture_open_ready(&fx);
    cr_expect_eq(fx.ledger->journal.from_checkpoint, 2);
    expect_bill();
    fixture_deliver(&fx, "gina", "/f", 5);
    sent += 5;
    expect_bill();
}

Test(ledger_checkpoint, that_is_damaged_gives_way_to_the_one_before_and_then_to_the_journal)
{
    fill_to(3);
    await_covered(2);
    fill_to(4);
    await_covered(3);
    cr_assert_eq(fixture_close(&fx), 0);
    fx.options.checkpoint_records = 1u << 20; /* none is made meanwhile */
    damage(file_of("checkpoints", 3), 600);
    fixture_open_ready(&fx);
    cr_expect_eq(fx.ledger->journal.from_checkpoint, 2);
    cr_expect_neq(access(file_of("checkpoints", 3), F_OK), 0, "it was left");
    cr_assert_eq(fixture_close(&fx), 0);
    damage(file_of("checkpoints", 2), 20);
    fixture_open_ready(&fx);
    cr_expect_eq(fx.ledger->journal.from_checkpoint, 0);
    expect_bill();
}

Test(ledger_checkpoint, that_a_newer_version_has_made_refuses_the_start_and_stays)
{
    char error[600];
    uint8_t head[CHECKPOINT_HEAD_BYTES], now[CHECKPOINT_HEAD_BYTES];
    fill_to(3);
    await_covered(2);
    cr_assert_eq(fixture_close(&fx), 0);
    int fd = open(file_of("checkpoints", 2), O_RDWR | O_CLOEXEC);
    cr_assert_eq(pread(fd, head, sizeof(head), 0), (ssize_t)sizeof(head));
    head[8] = CHECKPOINT_FORMAT + 1;
    uint64_t hash = XXH3_64bits(head, sizeof(head) - 8);
    for (unsigned i = 0; i < 8; i++)
        head[sizeof(head) - 8 + i] = (uint8_t)(hash >> (8 * i));
    cr_assert_eq(pwrite(fd, head, sizeof(head), 0), (ssize_t)sizeof(head));
    cr_expect_eq(ledger_open(&fx.ledger, &fx.options, error, sizeof(error)), -EPROTONOSUPPORT);
    cr_expect_not_null(strstr(error, "checkpoint was written by a newer Tollgate"), "%s", error);
    cr_assert_eq(pread(fd, now, sizeof(now), 0), (ssize_t)sizeof(now));
    cr_expect_eq(memcmp(now, head, sizeof(now)), 0);
    close(fd);
}

Test(ledger_checkpoint, that_was_not_finished_is_none)
{
    fill_to(3);
    await_covered(2);
    cr_assert_eq(fixture_close(&fx), 0);
    fx.options.checkpoint_records = 1u << 20;
    int fd = open(file_of("checkpoints", 2), O_WRONLY | O_CLOEXEC);
    static const uint8_t zeros[512];
    cr_assert_eq(pwrite(fd, zeros, sizeof(zeros), 0), (ssize_t)sizeof(zeros));
    close(fd);
    fixture_open_ready(&fx);
    cr_expect_neq(fx.ledger->journal.from_checkpoint, 2);
    expect_bill();
}

Test(ledger_checkpoint, of_a_segment_that_the_journal_has_lost_is_not_used_again)
{
    fill_to(4);
    await_covered(3);
    cr_assert_eq(fixture_close(&fx), 0);
    fx.options.checkpoint_records = 1u << 20;
    for (uint32_t number = 3; unlink(file_of("journal", number)) == 0; number++)
        ;
    freeReplyObject(fixture_redis(&fx, "FLUSHALL"));
    fixture_open_ready(&fx);
    cr_expect_lt(fx.ledger->journal.from_checkpoint, 2);
    cr_expect_neq(access(file_of("checkpoints", 3), F_OK), 0, "it is left");
}

Test(ledger_checkpoint, of_a_journal_that_went_on_otherwise_is_not_used)
{
    char journal[200], backup[220], checkpoints[200], kept[220];
    snprintf(journal, sizeof(journal), "%s/lane-a/journal", fx.state);
    snprintf(checkpoints, sizeof(checkpoints), "%s/lane-a/checkpoints", fx.state);
    snprintf(backup, sizeof(backup), "%s.backup", fx.state);
    snprintf(kept, sizeof(kept), "%s.kept", fx.state);
    fill_to(2);
    await_covered(1);
    cr_assert_eq(fixture_close(&fx), 0);
    fixture_copy(journal, backup);
    fixture_open_ready(&fx);
    fill_to(3);
    await_covered(2);
    cr_assert_eq(fixture_close(&fx), 0);
    /* The journal of the backup goes on from segment 2 with other records. */
    cr_assert_eq(rename(checkpoints, kept), 0);
    fixture_remove(journal);
    fixture_copy(backup, journal);
    freeReplyObject(fixture_redis(&fx, "FLUSHALL"));
    fx.options.checkpoint_records = 1u << 20;
    fixture_open_ready(&fx);
    fill_to(3);
    cr_assert_eq(fixture_close(&fx), 0);
    fixture_remove(checkpoints);
    cr_assert_eq(rename(kept, checkpoints), 0);
    fixture_open_ready(&fx);
    cr_expect_eq(fx.ledger->journal.from_checkpoint, 1);
    fixture_remove(backup);
}

Test(ledger_checkpoint, that_differs_from_what_the_ledger_counted_is_told_by_account)
{
    char error[600];
    fill_to(3);
    await_covered(2);
    cr_assert_eq(checkpoint_verify(fx.ledger, 2, error, sizeof(error)), 0);
    struct ledger_account *gina = fixture_account(&fx, "gina");
    atomic_fetch_add(&gina->bytes, 1);
    gina->tail_bytes_before++;
    cr_assert_eq(checkpoint_verify(fx.ledger, 2, error, sizeof(error)), -EBADMSG);
    cr_expect_not_null(strstr(error, "bytes of account shop/gina"), "%s", error);
    ledger_account_drop(&gina);
}
