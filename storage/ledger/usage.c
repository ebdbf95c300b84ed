/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Usage by day and file, in pages: steps of a scan that are short for Redis, gathered until a page
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
    time_t day;
    char scan[24]; /* cursor of HSCAN; "0": the day's beginning */
};

struct row {
    uint32_t day;
    size_t file; /* offset into the page's names */
    uint64_t bytes, responses;
};

struct page {
    struct row *rows; /* owns */
    size_t count, room;
    char *names; /* owns: each with its NUL */
    size_t names_length, names_room;
};

/* ---- days and cursors ---- */

static bool day_to_time(uint32_t day, time_t *out)
{
    struct tm date = {.tm_year = (int)(day / 10000) - 1900,
                      .tm_mon = (int)(day / 100 % 100) - 1,
                      .tm_mday = (int)(day % 100)};
    struct tm again;
    *out = timegm(&date);
    return day >= 19700101 && day <= 99991231 && gmtime_r(out, &again) != NULL &&
           (uint32_t)((again.tm_year + 1900) * 10000 + (again.tm_mon + 1) * 100 + again.tm_mday) ==
               day;
}

static uint32_t time_to_day(time_t time)
{
    struct tm date;
    gmtime_r(&time, &date);
    return (uint32_t)((date.tm_year + 1900) * 10000 + (date.tm_mon + 1) * 100 + date.tm_mday);
}

/* Parses "RUNID-20261123-1234"; false where the cursor is not of this Redis or of these days. */
static bool parse_cursor(const char *text, const char *run_id, time_t from, time_t to,
                         struct place *out)
{
    size_t day_at = RUN_ID_DIGITS + 1, scan_at = day_at + 9;
    if (strlen(text) <= scan_at || strncmp(text, run_id, RUN_ID_DIGITS) != 0 ||
        text[RUN_ID_DIGITS] != '-' || text[scan_at - 1] != '-' ||
        strspn(text + day_at, "0123456789") != 8)
        return false;
    size_t digits = strspn(text + scan_at, "0123456789");
    if (text[scan_at + digits] != '\0' || digits == 0 || digits > 20)
        return false;
    snprintf(out->scan, sizeof(out->scan), "%s", text + scan_at);
    return day_to_time((uint32_t)strtoul(text + day_at, NULL, 10), &out->day) && out->day >= from &&
           out->day <= to;
}

/* ---- a page ---- */

static int page_add(struct page *page, uint32_t day, const char *file, uint64_t bytes,
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
        .day = day, .file = page->names_length, .bytes = bytes, .responses = responses};
    page->names_length += length;
    return 0;
}

static int by_day_and_file(const void *a, const void *b, void *names)
{
    const struct row *left = a, *right = b;
    if (left->day != right->day)
        return left->day < right->day ? -1 : 1;
    return strcmp((const char *)names + left->file, (const char *)names + right->file);
}

/* Sorts the rows and merges doubles: HSCAN may bring a file twice if its table is rebuilt
 * meanwhile. Both rows then have its totals, and the later ones are no lower. */
static void page_sort(struct page *page)
{
    size_t kept = 0;
    if (page->count > 0)
        qsort_r(page->rows, page->count, sizeof(*page->rows), by_day_and_file, page->names);
    for (size_t i = 0; i < page->count; i++) {
        struct row *row = &page->rows[i], *last = kept > 0 ? &page->rows[kept - 1] : NULL;
        if (last == NULL || by_day_and_file(last, row, page->names) != 0) {
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
    for (size_t i = 1; i < reply->elements; i += 3) {
        uint64_t bytes, responses;
        if (reply->element[i]->type != REDIS_REPLY_STRING ||
            !read_total(reply->element[i + 1], &bytes) ||
            !read_total(reply->element[i + 2], &responses))
            return -EAGAIN;
        int result =
            page_add(page, time_to_day(place->day), reply->element[i]->str, bytes, responses);
        if (result != 0)
            return result;
    }
    memcpy(place->scan, reply->element[0]->str, reply->element[0]->len + 1);
    return 0;
}

static int scan_step(struct redis *redis, const struct ledger_account *account, struct place *place,
                     struct page *page)
{
    static const char keys[] = {'0' + LEDGER_COUNT(LEDGER_USAGE_KEYS), '\0'};
    const char *cursor = place->scan, *step = USAGE_STEP;
    char day[LEDGER_KEY_MAX];
    ledger_usage_key(day, account, time_to_day(place->day));
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

/* Takes steps until the page is full or the days are over. */
static int fill(struct redis *redis, const struct ledger_account *account, uint32_t rows_max,
                time_t to, struct place *place, struct page *page)
{
    while (place->day <= to && page->count < rows_max && page->names_length < USAGE_NAMES_MAX) {
        int result = scan_step(redis, account, place, page);
        if (result != 0)
            return result;
        if (strcmp(place->scan, "0") == 0)
            place->day += 86400;
    }
    return 0;
}

static int read_page(struct redis *redis, const struct ledger_account *account,
                     const struct ledger_usage_ask *ask, time_t to, struct place *place,
                     struct ledger_usage_page *out)
{
    struct page page = {0};
    int result = fill(redis, account, ask->rows_max, to, place, &page);
    page_sort(&page);
    for (size_t i = 0; result == 0 && i < page.count; i++) {
        const struct row *row = &page.rows[i];
        const struct ledger_usage_row told = {.day = row->day,
                                              .file = page.names + row->file,
                                              .bytes = row->bytes,
                                              .responses = row->responses};
        result = out->row(out->context, &told);
    }
    page_free(&page);
    if (result == 0 && place->day <= to)
        snprintf(out->next, sizeof(out->next), "%s-%08" PRIu32 "-%s", place->run_id,
                 time_to_day(place->day), place->scan);
    return result;
}

int ledger_usage(struct ledger *ledger, const struct ledger_usage_ask *ask,
                 struct ledger_usage_page *out)
{
    struct ledger_account *account;
    struct redis redis;
    time_t from, to;
    char run_id[64];
    out->next[0] = '\0';
    if (!day_to_time(ask->day_from, &from) || !day_to_time(ask->day_to, &to) || from > to ||
        (to - from) / 86400 >= LEDGER_USAGE_DAYS_MAX || ask->rows_max == 0)
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
        struct place place = {.day = from, .scan = "0"};
        snprintf(place.run_id, sizeof(place.run_id), "%.*s", RUN_ID_DIGITS, run_id);
        result = is_first || parse_cursor(ask->cursor, run_id, from, to, &place)
                     ? read_page(&redis, account, ask, to, &place, out)
                     : -ESTALE;
        if (result == 0)
            result = account_redis_confirm(ledger, &redis, losses);
        redis_close(&redis);
    }
    ledger_account_drop(&account);
    return result;
}
