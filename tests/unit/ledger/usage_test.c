/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Usage is read in pages: each file is found, at most once in a page, while counters change and
 * Redis rearranges its table. No command reads a whole day at once.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/ledger/fixture.h"

#define DAY   29991123u /* which never ends */
#define FILES 6000

static struct fixture fx;

static void setup(void)
{
    fixture_start(&fx);
    fixture_open_ready(&fx);
    cr_assert_eq(fixture_change(&fx, LEDGER_OPEN, "alice", 1000, "t1", NULL), 0);
}

static void teardown(void)
{
    fixture_end(&fx);
}

TestSuite(ledger_usage, .init = setup, .fini = teardown, .timeout = 120);

/* Writes usage of the files "/N", of N bytes and one response each, as posts would. */
static void make_files(unsigned first, unsigned last)
{
    freeReplyObject(fixture_redis(&fx, "EVAL %s 1 tg:{shop/alice}:usage:%u %u %u",
                                  "for i = ARGV[1], ARGV[2] do local n = string.format('%.0f', i) "
                                  "redis.call('HSET', KEYS[1], 'b:/' .. n, n, 'r:/' .. n, '1') end",
                                  DAY, first, last));
}

struct seen {
    unsigned times[4 * FILES + 1]; /* that a file was seen */
    unsigned rows, rows_in_page, last_page[4 * FILES + 1], page;
    char before[32];
};

static int see(void *context, const struct ledger_usage_row *row)
{
    struct seen *seen = context;
    unsigned number = (unsigned)strtoul(row->file + 1, NULL, 10);
    cr_assert(number >= 1 && number <= 4 * FILES, "%s", row->file);
    cr_assert_eq(row->date, DAY);
    cr_assert_eq(row->bytes, number);
    cr_assert_eq(row->responses, 1);
    cr_assert_neq(seen->last_page[number], seen->page, "%s is twice in a page", row->file);
    cr_assert(seen->rows_in_page == 0 || strcmp(seen->before, row->file) < 0, "%s after %s",
              row->file, seen->before);
    seen->last_page[number] = seen->page;
    snprintf(seen->before, sizeof(seen->before), "%s", row->file);
    seen->times[number]++;
    seen->rows++;
    seen->rows_in_page++;
    return 0;
}

static const struct ledger_usage_ask first_page = {.issuer = "shop",
                                                   .account = "alice",
                                                   .from = DAY - 1,
                                                   .to = DAY + 1,
                                                   .rows_max = 500,
                                                   .cursor = ""};

/* Reads the page behind the cursor `next` and moves the cursor on. */
static int read_page(struct seen *seen, char next[LEDGER_USAGE_CURSOR_MAX])
{
    struct ledger_usage_ask ask = first_page;
    struct ledger_usage_page page = {.row = see, .context = seen};
    ask.cursor = next;
    seen->page++;
    seen->rows_in_page = 0;
    int result = ledger_usage(fx.ledger, &ask, &page);
    cr_assert_leq(seen->rows_in_page, ask.rows_max + 600, "a page without an end");
    memcpy(next, page.next, LEDGER_USAGE_CURSOR_MAX);
    return result;
}

/* Reads all pages. Returns whether Redis has read no hash as a whole meanwhile. */
static bool is_read_in_steps(void)
{
    static struct seen seen;
    char next[LEDGER_USAGE_CURSOR_MAX] = "";
    memset(&seen, 0, sizeof(seen));
    freeReplyObject(fixture_redis(&fx, "CONFIG RESETSTAT"));
    do
        cr_assert_eq(read_page(&seen, next), 0);
    while (next[0] != '\0');
    cr_assert_eq(seen.rows, FILES);
    cr_assert_geq(seen.page, FILES / 1100);
    redisReply *reply = fixture_redis(&fx, "INFO commandstats");
    const char *scans = strstr(reply->str, "cmdstat_hscan:calls=");
    bool in_steps = strstr(reply->str, "cmdstat_hgetall:") == NULL;
    cr_assert(scans != NULL && strtoul(strchr(scans, '=') + 1, NULL, 10) > 2 * FILES / 500);
    freeReplyObject(reply);
    return in_steps;
}

/* Once a second the ledger reads the list of nodes, which is a hash, too: then the test reads again. */
Test(ledger_usage, of_a_day_comes_in_pages_and_in_short_steps)
{
    make_files(1, FILES);
    for (unsigned tries = 0; !is_read_in_steps(); tries++)
        cr_assert_lt(tries, 50, "a day is read at once");
}

Test(ledger_usage, holds_every_file_while_others_come)
{
    static struct seen seen;
    char next[LEDGER_USAGE_CURSOR_MAX] = "";
    make_files(1, FILES);
    freeReplyObject(fixture_redis(&fx, "CONFIG RESETSTAT"));
    do {
        cr_assert_eq(read_page(&seen, next), 0);
        if (seen.page <= 3) /* makes Redis move the table to a larger one, step by step */
            make_files(seen.page * FILES + 1, (seen.page + 1) * FILES);
    } while (next[0] != '\0');
    for (unsigned i = 1; i <= FILES; i++)
        cr_assert_geq(seen.times[i], 1, "/%u is missing", i);
}

static int find(void *context, const struct ledger_usage_row *row)
{
    uint64_t *responses = context;
    cr_assert_eq(row->bytes, 0);
    *responses = *responses * 10 + row->responses;
    return 0;
}

/* Around midnight the bytes may belong to one day and the response to the next. */
Test(ledger_usage, has_files_that_brought_responses_alone)
{
    uint64_t responses = 0;
    struct ledger_usage_ask ask = first_page;
    struct ledger_usage_page page = {.row = find, .context = &responses};
    freeReplyObject(fixture_redis(&fx, "HSET tg:{shop/alice}:usage:%u r:/a 2", DAY));
    cr_assert_eq(ledger_usage(fx.ledger, &ask, &page), 0);
    cr_assert_eq(responses, 2);

    struct ledger_account *account = fixture_account(&fx, "alice");
    struct ledger_file *file = fixture_file(&fx, "/b");
    struct ledger_download *download = NULL;
    cr_assert_eq(ledger_download_open(fx.ledger, account, file, &download), 0);
    ledger_download_add(download, 0, 3);
    ledger_download_close(&download);
    cr_assert_eq(ledger_settle(fx.ledger, 30000), 0);
    redisReply *keys = fixture_redis(&fx, "KEYS tg:{shop/alice}:usage:*");
    for (size_t i = 0; i < keys->elements; i++)
        if (strstr(keys->element[i]->str, "usage:29991123") == NULL &&
            strlen(strrchr(keys->element[i]->str, ':')) == 9)
            ask.from = ask.to =
                (uint32_t)strtoul(strrchr(keys->element[i]->str, ':') + 1, NULL, 10);
    cr_assert_eq(keys->elements, 3, "two days, and a month");
    freeReplyObject(keys);
    responses = 0;
    cr_assert_eq(ledger_usage(fx.ledger, &ask, &page), 0);
    cr_assert_eq(responses, 3);
    ledger_account_drop(&account);
    ledger_file_drop(&file);
}

/* Each Redis process walks its tables in an order of its own, so a cursor holds for one alone. */
Test(ledger_usage, is_not_read_on_in_another_redis)
{
    static struct seen seen;
    static const char *const bad[] = {"?", "00000000-29991123-0", "x", "--"};
    char next[LEDGER_USAGE_CURSOR_MAX] = "";
    make_files(1, FILES);
    cr_assert_eq(read_page(&seen, next), 0);
    cr_assert_str_not_empty(next);
    char earlier[LEDGER_USAGE_CURSOR_MAX];
    snprintf(earlier, sizeof(earlier), "%.9s29991101%s", next, next + 17);
    cr_assert_eq(read_page(&seen, earlier), -ESTALE);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char cursor[LEDGER_USAGE_CURSOR_MAX];
        snprintf(cursor, sizeof(cursor), "%s", bad[i]);
        cr_assert_eq(read_page(&seen, cursor), -ESTALE, "%s", bad[i]);
    }
    fixture_redis_kill(&fx);
    fixture_redis_start(&fx);
    fixture_deliver(&fx, "alice", "/c", 1); /* makes the poster ask Redis */
    cr_assert_eq(ledger_settle(fx.ledger, 30000), 0);
    fixture_wait_state(&fx, LEDGER_READY);
    int result;
    char cursor[LEDGER_USAGE_CURSOR_MAX];
    do {
        memcpy(cursor, next, sizeof(cursor));
        result = read_page(&seen, cursor);
    } while (result == -EAGAIN);
    cr_assert_eq(result, -ESTALE, "%d", result);
}
