/* SPDX-License-Identifier: Apache-2.0 */
/* Usage of more files than fit in one answer: the interface gives pages, the command prints all. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "tests/integration/harness.h"

/* Writes usage of so many files of a day, as posts would: file N has N bytes and a response. The
 * script has no spaces, because the harness splits commands at them. */
static void make_usage(struct site *site, const char *day, unsigned files)
{
    site_redis_command(site,
                       site_format(site,
                                   "EVAL for\ti=1,ARGV[1]\tdo\tlocal\tn=string.format('%%%%.0f',i);"
                                   "redis.call('HSET',KEYS[1],'b:/'..n,n,'r:/'..n,'1')end "
                                   "1 tg:{shop/alice}:usage:%s %u",
                                   day, files));
}

static json_t *usage_page(struct site *site, const char *cursor)
{
    const char *path = site_format(
        site, "/v1/accounts/shop/alice/usage?from=2999-11-01&to=2999-11-30&limit=1000%s%s",
        cursor != NULL ? "&cursor=" : "", cursor != NULL ? cursor : "");
    const struct answer *answer = site_admin(site, "GET", path, NULL);
    cr_assert_eq(answer->status, 200, "%s", answer->body);
    json_t *page = json_loadb((const char *)answer->body, answer->body_length, 0, NULL);
    cr_assert(page);
    return page;
}

Test(usage, of_many_files_is_told_in_pages)
{
    enum { FILES = 5000 };
    struct site *site = site_create();
    site_account_open_postpaid(site, "alice");
    make_usage(site, "29991103", FILES);
    make_usage(site, "29991104", 1);
    json_int_t bytes = 0, rows = 0, pages = 0;
    const char *cursor = NULL;
    do {
        json_t *page = usage_page(site, cursor);
        const json_t *totals = json_object_get(page, "totals");
        json_int_t in_page = json_integer_value(json_object_get(totals, "rows"));
        cr_assert_eq(json_array_size(json_object_get(page, "rows")), (size_t)in_page);
        cr_assert_leq(in_page, 2000, "a page has %d rows", (int)in_page);
        bytes += json_integer_value(json_object_get(totals, "bytes"));
        rows += in_page;
        pages++;
        const char *next = json_string_value(json_object_get(page, "next"));
        cursor = next != NULL ? site_format(site, "%s", next) : NULL;
        json_decref(page);
    } while (cursor != NULL);
    cr_assert_eq(rows, FILES + 1);
    cr_assert_eq(bytes, (json_int_t)FILES * (FILES + 1) / 2 + 1);
    cr_assert_gt(pages, 2);

    const char *path = "/v1/accounts/shop/alice/usage?from=2999-11-01&to=2999-11-30";
    const struct answer *whole = site_admin(site, "GET", path, NULL);
    json_t *all = json_loadb((const char *)whole->body, whole->body_length, 0, NULL);
    cr_assert_eq(json_array_size(json_object_get(all, "rows")), FILES + 1);
    cr_assert(json_object_get(all, "next") == NULL);
    json_decref(all);
    static const char *const bad[][3] = {{"422", "limit_invalid", "limit=0"},
                                         {"422", "limit_invalid", "limit=10001"},
                                         {"422", "limit_invalid", "limit=1x"},
                                         {"409", "cursor_outdated", "cursor="},
                                         {"409", "cursor_outdated", "cursor=00000000-29991103-5"}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const struct answer *answer =
            site_admin(site, "GET", site_format(site, "%s&%s", path, bad[i][2]), NULL);
        answer_expect_refusal(site, answer, (unsigned)strtoul(bad[i][0], NULL, 10), bad[i][1]);
    }
    site_destroy(&site);
}

/* There are three pages, which come in the order of Redis' table. */
Test(usage, is_printed_in_order_by_the_command_however_many_files_there_are)
{
    enum { FILES = 12000 };
    struct site *site = site_create();
    site_account_open_postpaid(site, "alice");
    make_usage(site, "29991103", FILES);
    struct command_result result = site_tollgate(site, "usage", "shop/alice", "--from",
                                                 "2999-11-01", "--to", "2999-11-30", "--json");
    cr_assert_eq(result.exit_code, 0, "%s", result.errors);
    json_t *all = json_loads(result.output, 0, NULL);
    const json_t *rows = json_object_get(all, "rows"), *totals = json_object_get(all, "totals");
    cr_assert_eq(json_array_size(rows), FILES);
    const char *before = "";
    for (size_t i = 0; i < FILES; i++) {
        const char *file = json_string_value(json_object_get(json_array_get(rows, i), "file"));
        cr_assert_lt(strcmp(before, file), 0, "%s behind %s", file, before);
        before = file;
    }
    cr_assert_eq(json_integer_value(json_object_get(totals, "bytes")),
                 (json_int_t)FILES * (FILES + 1) / 2);
    cr_assert_eq(json_integer_value(json_object_get(totals, "rows")), FILES);
    json_decref(all);
    site_destroy(&site);
}
