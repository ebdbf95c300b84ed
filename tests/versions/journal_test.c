/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal of the version before, with a checkpoint, and what Redis had of it: a node of this version goes
 * on with that state directory and brings all of it to an empty Redis, of the day on which it was made. The one
 * of this very version shows that what is kept in a journal has not changed since.
 *
 * VERSIONS_JOURNALS names directories with `state` and `facts`, separated by colons. With VERSIONS_RECORD the test
 * `make` makes such a directory instead (record.sh).
 */
#include <criterion/criterion.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "storage/ledger/checkpoint_file.h"
#include "storage/ledger/verify.h"
#include "tests/unit/ledger/fixture.h"

#define SEGMENT   73728u /* 288 records */
#define SEGMENTS  4
#define LINE_MAX  1024
#define FACTS_MAX 2000

static struct fixture fx;

static void setup(void)
{
    fixture_start(&fx);
    fx.options.segment_bytes = SEGMENT;
    fx.options.downloads_max = 32;
}

static void teardown(void)
{
    fixture_end(&fx);
}

TestSuite(versions_journal, .init = setup, .fini = teardown, .timeout = 120);

/* ---- what Redis has ---- */

struct facts {
    char lines[FACTS_MAX][LINE_MAX];
    size_t count;
};

/* Fields about the nodes rather than the account: another process, or a replay, has others. */
static bool is_fact(const char *field)
{
    return strcmp(field, "revision") != 0 && strcmp(field, "recalled") != 0 &&
           strcmp(field, "holds") != 0 && strcmp(field, "opening") != 0 &&
           strncmp(field, "l:", 2) != 0;
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void add_hash(struct facts *facts, const char *key)
{
    redisReply *all = fixture_redis(&fx, "HGETALL %s", key);
    for (size_t i = 0; i + 1 < all->elements; i += 2)
        if (is_fact(all->element[i]->str)) {
            cr_assert_lt(facts->count, FACTS_MAX);
            snprintf(facts->lines[facts->count++], LINE_MAX, "%s %s %s", key, all->element[i]->str,
                     all->element[i + 1]->str);
        }
    freeReplyObject(all);
}

/* A line for each field of each account's keys, but for what nodes hold of funds. */
static void read_facts(struct facts *facts)
{
    redisReply *keys = fixture_redis(&fx, "KEYS tg:{shop/*}:*");
    facts->count = 0;
    for (size_t i = 0; i < keys->elements; i++)
        if (strstr(keys->element[i]->str, "grants") == NULL)
            add_hash(facts, keys->element[i]->str);
    freeReplyObject(keys);
    qsort(facts->lines, facts->count, LINE_MAX, compare_lines);
}

/* ---- making one ---- */

static void change(enum ledger_operation operation, const char *account, int64_t amount,
                   const char *transaction)
{
    cr_assert_eq(fixture_change(&fx, operation, account, amount, transaction, NULL), 0, "%s of %s",
                 transaction, account);
}

static void change_more(enum ledger_operation operation, const char *account, int64_t amount,
                        unsigned char link)
{
    struct ledger_account_view view;
    struct ledger_request request = {.operation = operation,
                                     .issuer = "shop",
                                     .account = account,
                                     .plan = LEDGER_POSTPAID,
                                     .amount = amount,
                                     .link_id = {link},
                                     .max_bytes = operation == LEDGER_LIMIT ? 77777 : 0,
                                     .max_conns = operation == LEDGER_LIMIT ? 3 : 0,
                                     .transaction = operation == LEDGER_OPEN ? "open" : NULL};
    bool repeated;
    cr_assert_eq(ledger_account_change(fx.ledger, &request, &repeated, &view), 0);
}

static void order(void)
{
    uint64_t end_ms = ledger_real_ms(fx.ledger) + 86400000;
    change(LEDGER_OPEN, "anna", 1000000, "open");
    change(LEDGER_TOP_UP, "anna", 5000, "top-up");
    change(LEDGER_ADJUST, "anna", -300, "adjust");
    change_more(LEDGER_OPEN, "bert", 0, 0);
    change(LEDGER_OPEN, "carl", 10, "open");
    change(LEDGER_SUSPEND, "carl", 0, NULL);
    change(LEDGER_OPEN, "dora", 10, "open");
    change(LEDGER_SUSPEND, "dora", 0, NULL);
    change(LEDGER_ACTIVATE, "dora", 0, NULL);
    change_more(LEDGER_LIMIT, "dora", 64000, 0);
    change_more(LEDGER_REVOKE_LINK, "bert", (int64_t)end_ms, 7);
    change(LEDGER_REVOKE_BEFORE, "bert", (int64_t)(end_ms / 1000) - 90000, NULL);
}

/* One download of a link with terms, whose responses are described, of a file with a long name. */
static void deliver(unsigned number)
{
    static const char *const accounts[] = {"anna", "bert", "carl", "dora", "not-open"};
    char path[300];
    uint64_t now_ms = ledger_real_ms(fx.ledger);
    const unsigned char link[LEDGER_LINK_ID_BYTES] = {(unsigned char)(1 + number % 5)};
    const unsigned char hash[LEDGER_CONTENT_BYTES] = {(unsigned char)number};
    struct ledger_download *download;
    snprintf(path, sizeof(path), "/album/%0*u.mp3", number % 7 == 0 ? 240 : 2, number % 9);
    struct ledger_account *account = fixture_account(&fx, accounts[number % 5]);
    struct ledger_file *file = fixture_file(&fx, path);
    cr_assert_eq(ledger_download_open(fx.ledger, account, file, &download), 0);
    ledger_download_tell(download, link, 5000);
    ledger_download_content(download, hash);
    if (number % 3 == 0)
        ledger_download_use(download, link, now_ms, now_ms + 60000, now_ms + 86400000);
    for (unsigned i = 0; i < 1 + number % 6; i++) {
        const struct ledger_response response = {.started_ms = now_ms,
                                                 .first = i,
                                                 .length = 10 + number % 90,
                                                 .client = {[15] = (unsigned char)number},
                                                 .client_bits = 128,
                                                 .tls = 13};
        ledger_download_begin(download);
        ledger_download_add(download, response.length, 0);
        ledger_download_end(download, &response);
    }
    ledger_download_close(&download);
    ledger_account_drop(&account);
    ledger_file_drop(&file);
    cr_assert_eq(writer_mark(fx.ledger, clock_monotonic_ms() + 20000), 0);
}

static void write_facts(const char *directory, const struct facts *facts, uint64_t time_ms)
{
    char path[300];
    snprintf(path, sizeof(path), "%s/facts", directory);
    FILE *file = fopen(path, "we");
    cr_assert_not_null(file, "%s", path);
    fprintf(file, "%llu\n", (unsigned long long)time_ms);
    for (size_t i = 0; i < facts->count; i++)
        fprintf(file, "%s\n", facts->lines[i]);
    cr_assert_eq(fclose(file), 0);
}

Test(versions_journal, make)
{
    static struct facts facts;
    char state[300];
    struct ledger_stats stats = {0};
    const char *directory = getenv("VERSIONS_RECORD");
    if (directory == NULL)
        cr_skip("VERSIONS_RECORD is not set");
    fx.options.checkpoint_records = 1;
    fixture_open_ready(&fx);
    uint64_t time_ms = ledger_real_ms(fx.ledger);
    order();
    for (unsigned i = 0; journal_segments(&fx.ledger->journal) < SEGMENTS; i++)
        deliver(i);
    while (stats.checkpoint_segment < SEGMENTS - 1) {
        fixture_pause();
        ledger_stats(fx.ledger, &stats);
    }
    deliver(1);
    cr_assert_eq(ledger_settle(fx.ledger, 20000), 0);
    cr_assert_eq(fixture_close(&fx), 0);
    read_facts(&facts);
    write_facts(directory, &facts, time_ms);
    snprintf(state, sizeof(state), "%s/state", directory);
    fixture_copy(fx.state, state);
}

/* ---- going on with one ---- */

static uint64_t read_kept(const char *directory, struct facts *facts)
{
    char path[300], line[LINE_MAX];
    unsigned long long time_ms = 0;
    snprintf(path, sizeof(path), "%s/facts", directory);
    FILE *file = fopen(path, "re");
    cr_assert_not_null(file, "%s", path);
    cr_assert_eq(fscanf(file, "%20llu ", &time_ms), 1);
    facts->count = 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        cr_assert_lt(facts->count, FACTS_MAX);
        memcpy(facts->lines[facts->count++], line, sizeof(line));
    }
    (void)fclose(file);
    return time_ms;
}

static void expect_facts(const struct facts *kept)
{
    static struct facts now;
    read_facts(&now);
    for (size_t i = 0; i < kept->count; i++)
        cr_expect_not_null(bsearch(kept->lines[i], now.lines, now.count, LINE_MAX, compare_lines),
                           "Redis lacks: %s", kept->lines[i]);
}

static void go_on_with(const char *directory, bool from_checkpoint)
{
    static struct facts kept;
    char state[300], path[400], error[512];
    struct ledger_verification found = {0};
    uint64_t made_ms = read_kept(directory, &kept);
    cr_assert_gt(kept.count, 50);
    snprintf(state, sizeof(state), "%s/state", directory);
    fixture_copy(state, fx.state);
    snprintf(path, sizeof(path), "%s/lane-a/checkpoints", fx.state);
    if (!from_checkpoint)
        fixture_remove(path);
    fixture_redis_start_clock(&fx);
    *fx.clock = ((int64_t)made_ms - (int64_t)clock_real_ms()) * 1000000;
    cr_assert_eq(ledger_verify(fx.state, 0, &found, error, sizeof(error)), 0, "%s", error);
    fixture_open_ready(&fx);
    cr_expect_eq(fx.ledger->journal.from_checkpoint, from_checkpoint ? SEGMENTS - 1 : 0);
    cr_assert_eq(ledger_settle(fx.ledger, 20000), 0);
    expect_facts(&kept);
    int64_t used = fixture_account_field(&fx, "shop/anna", "used");
    fixture_deliver(&fx, "anna", "/new.mp3", 11);
    cr_assert_eq(ledger_settle(fx.ledger, 20000), 0);
    cr_expect_eq(fixture_account_field(&fx, "shop/anna", "used"), used + 11);
    cr_assert_eq(fixture_close(&fx), 0);
    found = (struct ledger_verification){0};
    cr_assert_eq(ledger_verify(fx.state, 0, &found, error, sizeof(error)), 0, "%s", error);
    cr_expect_eq(found.accounts, 5);
    fixture_remove(fx.state);
}

static void go_on_with_each(bool from_checkpoint)
{
    const char *kept = getenv("VERSIONS_JOURNALS");
    char list[1000], *rest = list;
    if (kept == NULL)
        cr_skip("VERSIONS_JOURNALS is not set; see tests/versions/run.sh");
    snprintf(list, sizeof(list), "%s", kept);
    for (const char *directory; (directory = strsep(&rest, ":")) != NULL;)
        go_on_with(directory, from_checkpoint);
}

Test(versions_journal, of_the_version_before_is_brought_to_an_empty_redis)
{
    go_on_with_each(false);
}

Test(versions_journal, of_the_version_before_begins_with_its_checkpoint)
{
    go_on_with_each(true);
}
