/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Usage by day and file, or by month and file, in pages: steps of a scan that are short for Redis, gathered until a page
 * is full, then sorted, each file once. Admin threads call it, on connections of its own. It keeps
 * nothing between two pages: the caller gets a cursor for the next one.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "storage/ledger/keys.h"
#include "storage/ledger/ledger_internal.h"
#include "storage/ledger/redis.h"

#define USAGE_WAIT_MS   2000
#define USAGE_STEP      "100" /* fields a step: Redis works some tenths of a millisecond */
#define USAGE_NAMES_MAX ((size_t)16 << 20)
#define RUN_ID_DIGITS   8

/* Where a page begins, and in which Redis: a cursor means nothing to another one. */
struct place {
    char run_id[RUN_ID_DIGITS + 1];
    uint32_t date; /* yyyymmdd or yyyymm */
    char scan[24]; /* cursor of HSCAN; "0": the date's beginning */
};

struct row {
    uint32_t date;
    size_t file; /* offset into the page's names */
    uint64_t bytes, responses;
};

struct page {
    struct row *rows; /* owns */
    size_t count, room;
    char *names; /* owns: each with its NUL */
    size_t names_length, names_room;
};

/* ---- dates and cursors ---- */

/* Whether a date is yyyymm. */
static bool is_month(uint32_t date)
{
    return date < 1000000;
}

/* The second at which the date begins. False where the calendar has none such. */
static bool date_begins(uint32_t date, time_t *out)
{
    uint32_t day = is_month(date) ? date * 100 + 1 : date;
    struct tm parts = {.tm_year = (int)(day / 10000) - 1900,
                       .tm_mon = (int)(day / 100 % 100) - 1,
                       .tm_mday = (int)(day % 100)};
    struct tm again;
    *out = timegm(&parts);
    return day >= 19700101 && day <= 99991231 && gmtime_r(out, &again) != NULL &&
           (uint32_t)((again.tm_year + 1900) * 10000 + (again.tm_mon + 1) * 100 + again.tm_mday) ==
               day;
}

static uint32_t date_behind(uint32_t date)
{
    time_t begins = 0;
    struct tm parts;
    if (is_month(date))
        return date % 100 == 12 ? date + 100 - 11 : date + 1;
    (void)date_begins(date, &begins);
    begins += 86400;
    gmtime_r(&begins, &parts);
    return (uint32_t)((parts.tm_year + 1900) * 10000 + (parts.tm_mon + 1) * 100 + parts.tm_mday);
}

/* Whether these are dates of one kind, in order, and not too many. */
static bool are_dates(uint32_t from, uint32_t to)
{
    time_t begins, ends;
    if (is_month(from) != is_month(to) || !date_begins(from, &begins) || !date_begins(to, &ends) ||
        from > to)
        return false;
    return is_month(from)
               ? (to / 100 - from / 100) * 12 + to % 100 < from % 100 + LEDGER_USAGE_DATES_MAX
               : (ends - begins) / 86400 < LEDGER_USAGE_DATES_MAX;
}

/* Parses "RUNID-20261123-1234"; false where the cursor is not of this Redis or of these dates. */
static bool parse_cursor(const char *text, const char *run_id, const struct ledger_usage_ask *ask,
                         struct place *out)
{
    size_t digits = is_month(ask->from) ? 6 : 8;
    size_t date_at = RUN_ID_DIGITS + 1, scan_at = date_at + digits + 1;
    time_t begins;
    if (strlen(text) <= scan_at || strncmp(text, run_id, RUN_ID_DIGITS) != 0 ||
        text[RUN_ID_DIGITS] != '-' || text[scan_at - 1] != '-' ||
        strspn(text + date_at, "0123456789") != digits)
        return false;
    size_t scan_digits = strspn(text + scan_at, "0123456789");
    if (text[scan_at + scan_digits] != '\0' || scan_digits == 0 || scan_digits > 20)
        return false;
    snprintf(out->scan, sizeof(out->scan), "%s", text + scan_at);
    out->date = (uint32_t)strtoul(text + date_at, NULL, 10);
    return date_begins(out->date, &begins) && out->date >= ask->from && out->date <= ask->to;
}

/* ---- a page ---- */

static int page_add(struct page *page, uint32_t date, const char *file, uint64_t bytes,
                    uint64_t responses)
{
    size_t length = strlen(file) + 1;
    if (page->count == page->room) {
        size_t room = page->room == 0 ? 256 : page->room * 2;
        struct row *rows = realloc(page->rows, room * sizeof(*rows));
        if (rows == NULL)
            return -ENOMEM;
        page->rows = rows;
        page->room = room;
    }
    if (page->names_length + length > page->names_room) {
        size_t room = page->names_room == 0 ? 16384 : page->names_room * 2;
        while (room < page->names_length + length)
            room *= 2;
        char *names = realloc(page->names, room);
        if (names == NULL)
            return -ENOMEM;
        page->names = names;
        page->names_room = room;
    }
    memcpy(page->names + page->names_length, file, length);
    page->rows[page->count++] = (struct row){
        .date = date, .file = page->names_length, .bytes = bytes, .responses = responses};
    page->names_length += length;
    return 0;
}

static int by_date_and_file(const void *a, const void *b, void *names)
{
    const struct row *left = a, *right = b;
    if (left->date != right->date)
        return left->date < right->date ? -1 : 1;
    return strcmp((const char *)names + left->file, (const char *)names + right->file);
}

/* Sorts the rows and merges doubles: HSCAN may bring a file twice if its table is rebuilt
 * meanwhile. Both rows then have its totals, and the later ones are no lower. */
static void page_sort(struct page *page)
{
    size_t kept = 0;
    if (page->count > 0)
        qsort_r(page->rows, page->count, sizeof(*page->rows), by_date_and_file, page->names);
    for (size_t i = 0; i < page->count; i++) {
        struct row *row = &page->rows[i], *last = kept > 0 ? &page->rows[kept - 1] : NULL;
        if (last == NULL || by_date_and_file(last, row, page->names) != 0) {
            page->rows[kept++] = *row;
            continue;
        }
        last->bytes = row->bytes > last->bytes ? row->bytes : last->bytes;
        last->responses = row->responses > last->responses ? row->responses : last->responses;
    }
    page->count = kept;
}

static void page_free(struct page *page)
{
    free(page->rows);
    free(page->names);
}

/* ---- the scan ---- */

static bool read_total(const redisReply *reply, uint64_t *out)
{
    char *end;
    if (reply->type != REDIS_REPLY_STRING)
        return false;
    errno = 0;
    *out = strtoull(reply->str, &end, 10);
    return errno == 0 && end != reply->str && *end == '\0';
}

/* Adds the rows of one reply, {cursor, file, bytes, responses, ...}, and moves the place on. */
static int take_step(const redisReply *reply, struct place *place, struct page *page)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements % 3 != 1 ||
        reply->element[0]->type != REDIS_REPLY_STRING ||
        reply->element[0]->len >= sizeof(place->scan))
        return -EAGAIN;
    if (strcmp(reply->element[0]->str, "ended") == 0)
        return -ENODATA;
    for (size_t i = 1; i < reply->elements; i += 3) {
        uint64_t bytes, responses;
        if (reply->element[i]->type != REDIS_REPLY_STRING ||
            !read_total(reply->element[i + 1], &bytes) ||
            !read_total(reply->element[i + 2], &responses))
            return -EAGAIN;
        int result = page_add(page, place->date, reply->element[i]->str, bytes, responses);
        if (result != 0)
            return result;
    }
    memcpy(place->scan, reply->element[0]->str, reply->element[0]->len + 1);
    return 0;
}

static int scan_step(struct redis *redis, const struct ledger_account *of, struct place *place,
                     struct page *page)
{
    static const char keys[] = {'0' + LEDGER_COUNT(LEDGER_USAGE_KEYS), '\0'};
    const char *cursor = place->scan, *step = USAGE_STEP;
    char key[LEDGER_KEY_MAX], entries[LEDGER_KEY_MAX], date[16];
    ledger_key(key, of, "account");
    ledger_usage_key(entries, of, place->date);
    snprintf(date, sizeof(date), "%" PRIu32, place->date);
    const char *account = key;
    const char *const words[] = {"FCALL", "tollgate_usage", keys,
                                 LEDGER_USAGE_KEYS(LEDGER_KEY_WORD)
                                     LEDGER_USAGE_ARGUMENTS(LEDGER_WORD)};
    redisReply *reply = redis_call(redis, sizeof(words) / sizeof(words[0]), words);
    if (reply == NULL)
        return -EAGAIN;
    int result = take_step(reply, place, page);
    freeReplyObject(reply);
    return result;
}

/* Takes steps until the page is full or the dates are over. */
static int fill(struct redis *redis, const struct ledger_account *account,
                const struct ledger_usage_ask *ask, struct place *place, struct page *page)
{
    while (place->date <= ask->to && page->count < ask->rows_max &&
           page->names_length < USAGE_NAMES_MAX) {
        int result = scan_step(redis, account, place, page);
        if (result != 0)
            return result;
        if (strcmp(place->scan, "0") == 0)
            place->date = date_behind(place->date);
    }
    return 0;
}

static int read_page(struct redis *redis, const struct ledger_account *account,
                     const struct ledger_usage_ask *ask, struct place *place,
                     struct ledger_usage_page *out)
{
    struct page page = {0};
    int result = fill(redis, account, ask, place, &page);
    page_sort(&page);
    for (size_t i = 0; result == 0 && i < page.count; i++) {
        const struct row *row = &page.rows[i];
        const struct ledger_usage_row told = {.date = row->date,
                                              .file = page.names + row->file,
                                              .bytes = row->bytes,
                                              .responses = row->responses};
        result = out->row(out->context, &told);
    }
    page_free(&page);
    if (result == 0 && place->date <= ask->to)
        snprintf(out->next, sizeof(out->next), "%s-%" PRIu32 "-%s", place->run_id, place->date,
                 place->scan);
    return result;
}

int ledger_usage(struct ledger *ledger, const struct ledger_usage_ask *ask,
                 struct ledger_usage_page *out)
{
    struct ledger_account *account;
    struct redis redis;
    char run_id[64];
    out->next[0] = '\0';
    if (!are_dates(ask->from, ask->to) || ask->rows_max == 0)
        return -EINVAL;
    int result = account_get(ledger, ask->issuer, ask->account, &account);
    if (result != 0)
        return result == -EINVAL ? result : -EAGAIN;
    uint64_t losses = ledger_losses(ledger);
    bool is_first = ask->cursor[0] == '\0';
    if (is_first && ledger_account_settle(ledger, account, USAGE_WAIT_MS) != 0)
        result = -EAGAIN;
    if (result == 0)
        result = account_redis_open(ledger, &redis, run_id);
    if (result == 0) {
        struct place place = {.date = ask->from, .scan = "0"};
        snprintf(place.run_id, sizeof(place.run_id), "%.*s", RUN_ID_DIGITS, run_id);
        result = is_first || parse_cursor(ask->cursor, run_id, ask, &place)
                     ? read_page(&redis, account, ask, &place, out)
                     : -ESTALE;
        if (result == 0)
            result = account_redis_confirm(ledger, &redis, losses);
        redis_close(&redis);
    }
    ledger_account_drop(&account);
    return result;
}
