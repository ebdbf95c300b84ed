/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Beside a node's lease, Redis keeps how many records of its journal were on disk. A journal that
 * comes back with fewer is refused before anything is served. One that has lost only records behind
 * those, by a loss of power, is never refused.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "storage/ledger/segment.h"
#include "tests/unit/ledger/fixture.h"

static struct fixture fx;

static void setup(void)
{
    fixture_start(&fx);
    fx.options.lease_ms = 300;
    fx.options.downloads_max = 1;
    fx.options.segment_bytes = 12288; /* 48 records: few more than one download needs */
}

static void teardown(void)
{
    fixture_end(&fx);
}

TestSuite(ledger_lease, .init = setup, .fini = teardown, .timeout = 60);

static uint32_t free_records(void)
{
    struct journal *journal = &fx.ledger->journal;
    pthread_mutex_lock(&journal->lock);
    uint32_t left = journal->capacity - journal->used;
    pthread_mutex_unlock(&journal->lock);
    return left;
}

static void deliver(const char *account, uint64_t bytes)
{
    fixture_deliver(&fx, account, "/f", bytes);
    cr_assert_eq(ledger_settle(fx.ledger, 30000), 0);
}

/* How many records Redis was told of with the lease. */
static int64_t records_told(const char *instance)
{
    return fixture_redis_integer(&fx, "HGET tg:lease:{%s} records", instance);
}

/* The instance of the closed ledger. */
static const char *instance_of(void)
{
    static char text[LEDGER_HEX_SIZE];
    char path[160];
    snprintf(path, sizeof(path), "%s/lane-a/instance", fx.state);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert(fd >= 0 && read(fd, text, LEDGER_HEX_SIZE - 1) == LEDGER_HEX_SIZE - 1);
    close(fd);
    return text;
}

static void segment_path(char path[160], uint32_t number)
{
    snprintf(path, 160, "%s/lane-a/journal/%08u.seg", fx.state, number);
}

/* Waits until the ledger has asked Redis; returns its state and the state's text. */
static enum ledger_state state_after_asking(char text[512])
{
    enum ledger_state state;
    while ((state = ledger_state(fx.ledger)) == LEDGER_CATCHING_UP)
        fixture_pause();
    ledger_state_text(fx.ledger, text, 512);
    return state;
}

/* Makes a journal with one account in the first segment only, another in the second only. */
static void make_two_segments(void)
{
    fixture_open_ready(&fx);
    while (free_records() > fx.ledger->journal.end_room + 1)
        deliver("early", 1);
    cr_assert_eq(journal_segments(&fx.ledger->journal), 1);
    deliver("late", 1000);
    cr_assert_eq(journal_segments(&fx.ledger->journal), 2);
    cr_assert_eq(fixture_close(&fx), 0);
}

Test(ledger_lease, a_journal_that_lost_its_newest_segment_is_refused_at_every_start)
{
    char path[160], text[512];
    make_two_segments();
    for (uint32_t number = 2; number <= 3; number++) { /* the ledger makes the third ahead */
        segment_path(path, number);
        (void)unlink(path);
    }
    for (int i = 0; i < 4; i++) {
        fixture_open(&fx);
        cr_assert_eq(state_after_asking(text), LEDGER_REFUSED, "at start %d", i);
        cr_assert(strstr(text, fx.state) != NULL && strstr(text, "older than Redis") != NULL &&
                      strstr(text, "bring the newest directory back") != NULL,
                  "%s", text);
        cr_assert_geq(fixture_close(&fx), 0);
    }
    /* An emptied Redis knows of no loss, so the ledger replays what the journal has. */
    freeReplyObject(fixture_redis(&fx, "FLUSHALL"));
    fixture_open_ready(&fx);
    deliver("late", 5);
    cr_assert_eq(fixture_account_field(&fx, "shop/late", "used"), 5);
}

static void *revoke_unposted(void *unused)
{
    struct ledger_account_view view;
    bool repeated;
    const struct ledger_request request = {
        .operation = LEDGER_REVOKE_BEFORE, .issuer = "shop", .account = "early", .amount = 1};
    (void)unused;
    /* -EINPROGRESS: the change is in the journal, but not posted. */
    cr_expect_eq(ledger_account_change(fx.ledger, &request, &repeated, &view), -EINPROGRESS);
    return NULL;
}

/* Redis does not answer at the start; revocations are journalled all the same, and are still none
 * of those that Redis knew of when the next process finds them in the journal. */
Test(ledger_lease, what_is_journalled_before_redis_is_reached_makes_up_for_no_loss)
{
    enum { REVOCATIONS = 8 };
    char path[160], text[512];
    pthread_t threads[REVOCATIONS];
    make_two_segments();
    for (uint32_t number = 2; number <= 3; number++) {
        segment_path(path, number);
        (void)unlink(path);
    }
    cr_assert_eq(kill(fx.redis, SIGSTOP), 0);
    fixture_open(&fx);
    for (int i = 0; i < REVOCATIONS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, revoke_unposted, NULL), 0);
    for (int i = 0; i < REVOCATIONS; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    cr_assert_eq(kill(fx.redis, SIGCONT), 0);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(state_after_asking(text), LEDGER_REFUSED, "at start %d", i);
        cr_assert_not_null(strstr(text, "older than Redis"), "%s", text);
        cr_assert_geq(fixture_close(&fx), 0);
        fixture_open(&fx);
    }
}

/* They count once a process that found them has the lease. */
Test(ledger_lease, what_is_journalled_before_redis_is_reached_is_posted_by_the_next_process)
{
    char away[128];
    snprintf(away, sizeof(away), "%s.away", fx.socket);
    fixture_open_ready(&fx);
    deliver("early", 10);
    cr_assert_eq(fixture_close(&fx), 0);
    cr_assert_eq(rename(fx.socket, away), 0);
    fixture_open(&fx);
    fixture_deliver(&fx, "early", "/f", 5);
    cr_assert_eq(ledger_close(&fx.ledger, 0), 2); /* as far as it knows */
    cr_assert_eq(rename(away, fx.socket), 0);
    fixture_open_ready(&fx);
    cr_assert_eq(ledger_settle(fx.ledger, 30000), 0);
    cr_assert_eq(fixture_account_field(&fx, "shop/early", "used"), 15);
    deliver("early", 1);
    cr_assert_eq(records_told(fx.ledger->instance), 3);
}

Test(ledger_lease, the_number_grows_with_each_process_also_where_redis_lost_it)
{
    for (uint64_t number = 1; number <= 3; number++) {
        fixture_open_ready(&fx);
        cr_assert_eq(ledger_lease_number(fx.ledger), number);
        deliver("gina", 10);
        cr_assert_eq(fixture_close(&fx), 0);
        if (number == 2)
            freeReplyObject(fixture_redis(&fx, "FLUSHALL"));
    }
}

/* Who holds the very lock that the lease was taken with needs not wait for it to run out. */
Test(ledger_lease, a_process_that_was_killed_leaves_its_lease_to_the_next_one_at_once)
{
    fx.options.lease_ms = 600000;
    fixture_open_ready(&fx);
    deliver("gina", 10);
    cr_assert_eq(fixture_close(&fx), 0);
    freeReplyObject(fixture_redis(&fx, "HSET tg:lease:{%s} until 99999999999999", instance_of()));
    fixture_open_ready(&fx);
    deliver("gina", 10);
    cr_assert_eq(fixture_account_field(&fx, "shop/gina", "used"), 20);
}

Test(ledger_lease, a_lease_that_redis_has_lost_is_taken_again_with_a_higher_number)
{
    fixture_open_ready(&fx);
    deliver("gina", 10);
    for (int64_t lost = 0; lost < 3; lost++) {
        uint64_t before = ledger_lease_number(fx.ledger);
        freeReplyObject(
            fixture_redis(&fx, lost == 1 ? "HSET tg:lease:{%s} number 1" : "DEL tg:lease:{%s}",
                          fx.ledger->instance));
        for (int i = 0; ledger_lease_number(fx.ledger) == before; i++) {
            cr_assert_lt(i, 15000, "the lease is not taken again");
            fixture_pause();
        }
        cr_assert_eq(ledger_lease_number(fx.ledger), before + 1);
        cr_assert_eq(fixture_redis_integer(&fx, "HGET tg:lease:{%s} number", fx.ledger->instance),
                     (int64_t)before + 1);
    }
    deliver("gina", 10);
    cr_assert_eq(fixture_account_field(&fx, "shop/gina", "used"), 20);
}

/* On another disk its end counts for nothing: a clock of Redis that was set may put it anywhere. */
Test(ledger_lease, a_lease_taken_elsewhere_is_over_once_nobody_renews_it_whatever_its_end)
{
    fixture_open_ready(&fx);
    cr_assert_eq(fixture_close(&fx), 0);
    freeReplyObject(
        fixture_redis(&fx, "HSET tg:lease:{%s} until 99999999999999 inode 1", instance_of()));
    fixture_open(&fx);
    char text[512] = "";
    while (strstr(text, "runs out") == NULL) {
        fixture_pause();
        ledger_state_text(fx.ledger, text, sizeof(text));
    }
    fixture_wait_state(&fx, LEDGER_READY);
}

/* Asks for the lease of an instance whose lock is none that Redis knows. Returns what it answers first. */
static int64_t ask_elsewhere(int met, int over)
{
    redisReply *reply = fixture_redis(&fx,
                                      "FCALL tollgate_lease 1 tg:lease:{%032d} 0 0 3000 0 b 1 2 "
                                      "%d %d 0",
                                      1, met, over);
    cr_assert(reply->type == REDIS_REPLY_ARRAY && reply->elements == 4, "%s", reply->str);
    int64_t result = reply->element[0]->integer;
    freeReplyObject(reply);
    return result;
}

/* A Redis that lost its data has lost the lease of a process that may live, beside which a copy waited. */
Test(ledger_lease, one_that_redis_lost_is_left_to_its_holder_until_it_has_run_out)
{
    fixture_function_load(&fx);
    cr_assert_eq(ask_elsewhere(1000, 0), 2);
    cr_assert_eq(fixture_redis_integer(&fx, "EXISTS tg:lease:{%032d}", 1), 0);
    cr_assert_eq(ask_elsewhere(0, 1000), 1);
}

/* An older file, in which a process of before had given the lease back, has lost its holder's just so. */
Test(ledger_lease, one_that_an_older_redis_has_as_given_back_is_left_to_its_holder_too)
{
    fixture_function_load(&fx);
    cr_assert_eq(fixture_redis_integer(&fx,
                                       "HSET tg:lease:{%032d} number 2 until 0 records 0 boot c "
                                       "device 1 inode 3 begun 0",
                                       1),
                 7);
    cr_assert_eq(ask_elsewhere(1000, 0), 2);
    cr_assert_eq(ask_elsewhere(0, 1000), 1);
}

/* A renewal, or the first question of a process that was killed, comes behind its successor's. */
Test(ledger_lease, what_a_process_of_before_sent_and_comes_late_takes_no_lease)
{
    static const struct {
        int number, least;
    } questions[] = {{7, 6}, {0, 6}, {7, 9}, {9, 0}};
    fixture_function_load(&fx);
    freeReplyObject(fixture_redis(
        &fx, "HSET tg:lease:{%032d} number 9 until 1 boot b device 1 inode 2 begun 500", 1));
    for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
        redisReply *late = fixture_redis(&fx,
                                         "FCALL tollgate_lease 1 tg:lease:{%032d} %d %d 3000 0 b 1 "
                                         "2 0 0 499",
                                         1, questions[i].number, questions[i].least);
        cr_assert(late->type == REDIS_REPLY_ARRAY && late->elements == 4);
        cr_expect_eq(late->element[0]->integer, 2, "question %zu", i);
        freeReplyObject(late);
    }
    cr_expect_eq(fixture_redis_integer(&fx, "HGET tg:lease:{%032d} number", 1), 9);
    cr_expect_eq(fixture_redis_integer(&fx, "HGET tg:lease:{%032d} until", 1), 1);
}

Test(ledger_lease, a_journal_that_came_back_from_a_copy_is_refused_though_its_accounts_are_new)
{
    char copy[160], text[512];
    snprintf(copy, sizeof(copy), "%s/copy", fx.directory);
    fixture_open_ready(&fx);
    cr_assert_eq(fixture_close(&fx), 0);
    fixture_copy(fx.state, copy);
    fixture_open_ready(&fx);
    deliver("late", 1000);
    cr_assert_eq(fixture_close(&fx), 0);
    fixture_remove(fx.state);
    cr_assert_eq(rename(copy, fx.state), 0);
    fixture_open(&fx);
    cr_assert_eq(state_after_asking(text), LEDGER_REFUSED);
}

Test(ledger_lease, the_records_on_disk_are_told_with_each_renewal)
{
    fixture_open_ready(&fx);
    for (int64_t records = 1; records <= 3; records++) {
        deliver("gina", 10);
        for (int i = 0; records_told(fx.ledger->instance) < records; i++) {
            cr_assert_lt(i, 15000, "the renewal does not tell");
            fixture_pause();
        }
        cr_assert_eq(records_told(fx.ledger->instance), records);
    }
}

/* A node may be killed after a post and before it renews its lease. Redis must then know already
 * that the journal had the record, or a journal that has lost it would be taken back. */
Test(ledger_lease, the_records_on_disk_are_told_before_they_are_posted)
{
    fx.options.lease_ms = 600000;
    fixture_open_ready(&fx);
    for (int64_t records = 1; records <= 3; records++) {
        deliver("gina", 10);
        cr_assert_eq(fixture_account_field(&fx, "shop/gina", "used"), 10 * records);
        cr_assert_eq(records_told(fx.ledger->instance), records);
    }
}

/* ---- a torn tail ---- */

#define DELIVERED 4 /* downloads before the last renewal, and as many after it */

static uint8_t *whole; /* owns; the segment as it was written */
static char segment[160];

/* The offset behind the `count`th usage record. */
static size_t behind_usage(unsigned count)
{
    size_t at = 0;
    for (; count > 0; at += JOURNAL_RECORD_BYTES)
        count -= whole[at + 8] == JOURNAL_USAGE;
    return at;
}

static size_t end_of_records(void)
{
    size_t at = 0;
    while (whole[at + 8] != JOURNAL_NOTHING)
        at += JOURNAL_RECORD_BYTES;
    return at;
}

/* Leaves Redis the lease of the process before, which has run out, and nothing else. */
static void forget_all_but_the_lease(const char *instance)
{
    freeReplyObject(fixture_redis(&fx, "FLUSHALL"));
    freeReplyObject(
        fixture_redis(&fx, "HSET tg:lease:{%s} number 1 until 0 records %d", instance, DELIVERED));
}

static void tear_at(size_t from)
{
    size_t size = (size_t)fx.options.segment_bytes;
    uint8_t *torn = calloc(1, size);
    memcpy(torn, whole, from);
    int fd = open(segment, O_WRONLY | O_CLOEXEC);
    cr_assert(torn != NULL && fd >= 0 && pwrite(fd, torn, size, 0) == (ssize_t)size);
    close(fd);
    free(torn);
}

Test(ledger_lease, a_tail_torn_behind_what_was_on_disk_is_never_refused)
{
    char away[128], text[512], instance[LEDGER_HEX_SIZE];
    snprintf(away, sizeof(away), "%s.away", fx.socket);
    fx.options.downloads_max = 8;
    fx.options.segment_bytes = 32768;
    fixture_open_ready(&fx);
    for (int i = 0; i < DELIVERED; i++)
        deliver("gina", 10);
    while (records_told(fx.ledger->instance) < DELIVERED)
        fixture_pause();
    /* From here on the node cannot reach Redis. */
    cr_assert_eq(rename(fx.socket, away), 0);
    freeReplyObject(fixture_redis(&fx, "CLIENT KILL TYPE normal SKIPME yes"));
    for (int i = 0; i < DELIVERED; i++)
        fixture_deliver(&fx, i % 2 == 0 ? "late" : "gina", "/f", 10);
    memcpy(instance, fx.ledger->instance, sizeof(instance));
    cr_assert_eq(ledger_close(&fx.ledger, 0), DELIVERED);
    cr_assert_eq(records_told(instance), DELIVERED);
    cr_assert_eq(rename(away, fx.socket), 0);

    segment_path(segment, 1);
    whole = malloc((size_t)fx.options.segment_bytes);
    int fd = open(segment, O_RDONLY | O_CLOEXEC);
    cr_assert(whole != NULL && fd >= 0 &&
              pread(fd, whole, (size_t)fx.options.segment_bytes, 0) ==
                  (ssize_t)fx.options.segment_bytes);
    close(fd);
    size_t safe = behind_usage(DELIVERED), end = end_of_records();
    cr_assert_gt(end, safe + (size_t)DELIVERED * JOURNAL_RECORD_BYTES);
    segment_path(text, 2);
    (void)unlink(text); /* the segment made ahead */
    for (size_t at = safe; at <= end; at += 29) {
        tear_at(at);
        forget_all_but_the_lease(instance);
        fixture_open(&fx);
        cr_assert_eq(state_after_asking(text), LEDGER_READY, "torn at byte %zu, behind %zu: %s", at,
                     safe, text);
        cr_assert_geq(ledger_close(&fx.ledger, 0), 0);
        segment_path(text, 2);
        (void)unlink(text);
    }
    tear_at(safe - JOURNAL_RECORD_BYTES);
    forget_all_but_the_lease(instance);
    fixture_open(&fx);
    cr_assert_eq(state_after_asking(text), LEDGER_REFUSED, "one that was on disk is gone");
    free(whole);
}
