/* SPDX-License-Identifier: Apache-2.0 */
/* Dates, preconditions and ranges: tables of fields and what RFC 9110 asks for. */
#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "server/http/http_fields.h"

#define ETAG        "\"0123456789abcdef0123456789abcdef\""
#define MODIFIED    784111777  /* Sun, 06 Nov 1994 08:49:37 GMT */
#define NOW_S       1795856400 /* Sat, 28 Nov 2026 09:00:00 GMT */
#define NOW_DATE    "Sun, 06 Nov 1994 08:49:37 GMT"
#define OLDER       "Sun, 06 Nov 1994 08:49:36 GMT"
#define NEWER       "Sun, 06 Nov 1994 08:49:38 GMT"
#define IN_2071     "Thursday, 01-Jan-71 00:00:00 GMT"
#define BEFORE_1970 "Fri, 01 Jan 1960 00:00:00 GMT"

static struct http_text text(const char *string)
{
    return (struct http_text){string, string != NULL ? strlen(string) : 0};
}

Test(http_date, writes_and_reads_the_three_forms)
{
    char out[HTTP_DATE_SIZE];
    static const char *const forms[] = {NOW_DATE, "Sunday, 06-Nov-94 08:49:37 GMT",
                                        "Sun Nov  6 08:49:37 1994"};
    http_date_write(MODIFIED, out);
    cr_assert_str_eq(out, NOW_DATE);
    for (size_t i = 0; i < 3; i++) {
        struct http_text form = text(forms[i]);
        int64_t seconds = 0;
        cr_assert_eq(http_date_read(&form, NOW_S, &seconds), 0, "%s", forms[i]);
        cr_assert_eq(seconds, MODIFIED, "%s", forms[i]);
    }
}

Test(http_date, refuses_what_is_no_date)
{
    static const char *const bad[] = {
        "",
        "0",
        "yesterday",
        "Sun, 06 Nov 1994 08:49:37 CET",
        "Sun, 06 Nvo 1994 08:49:37 GMT",
        "Sun, 31 Apr 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 199x 08:49:37 GMT",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct http_text form = text(bad[i]);
        int64_t seconds;
        cr_assert_lt(http_date_read(&form, NOW_S, &seconds), 0, "%s", bad[i]);
    }
}

/* RFC 9110 5.6.7. The name of the day is not judged. */
Test(http_date, reads_two_digits_of_a_year_by_now_and_dates_before_1970)
{
    static const struct {
        const char *form;
        int64_t now_s;
        const char *meant;
    } rows[] = {
        {"Sunday, 06-Nov-94 08:49:37 GMT", NOW_S, "Sun, 06 Nov 1994 08:49:37 GMT"},
        {"Thursday, 01-Jan-70 00:00:00 GMT", NOW_S, "Wed, 01 Jan 2070 00:00:00 GMT"},
        {"Saturday, 28-Nov-76 09:00:00 GMT", NOW_S, "Sat, 28 Nov 2076 09:00:00 GMT"},
        {"Sunday, 28-Nov-76 09:00:01 GMT", NOW_S, "Sun, 28 Nov 1976 09:00:01 GMT"},
        {"Saturday, 01-Jan-77 00:00:00 GMT", NOW_S, "Sat, 01 Jan 1977 00:00:00 GMT"},
        {"Saturday, 01-Jan-00 00:00:00 GMT", NOW_S, "Sat, 01 Jan 2000 00:00:00 GMT"},
        {"Friday, 31-Dec-99 23:59:59 GMT", NOW_S, "Fri, 31 Dec 1999 23:59:59 GMT"},
        /* Read in 2052 and in 2050. The year 00 is then 2000, because 2100 has no 29 February. */
        {"Monday, 01-Jan-01 00:00:00 GMT", 2587680000, "Sat, 01 Jan 2101 00:00:00 GMT"},
        {"Tuesday, 29-Feb-00 00:00:00 GMT", 2540000000, "Tue, 29 Feb 2000 00:00:00 GMT"},
        {"Wed, 31 Dec 1969 23:59:59 GMT", NOW_S, "Wed, 31 Dec 1969 23:59:59 GMT"},
        {"Mon Jan  1 00:00:00 1900", NOW_S, "Mon, 01 Jan 1900 00:00:00 GMT"},
        {"Mon, 01 Jan 0001 00:00:00 GMT", NOW_S, "Mon, 01 Jan 0001 00:00:00 GMT"},
        {"Sat, 31 Dec 2016 23:59:60 GMT", NOW_S, "Sat, 31 Dec 2016 23:59:59 GMT"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct http_text form = text(rows[i].form);
        char out[HTTP_DATE_SIZE];
        int64_t seconds = 0;
        cr_assert_eq(http_date_read(&form, rows[i].now_s, &seconds), 0, "%s", rows[i].form);
        http_date_write(seconds, out);
        cr_expect_str_eq(out, rows[i].meant, "%s", rows[i].form);
    }
}

struct range_case {
    const char *range;
    uint64_t size;
    enum http_selection selection;
    uint64_t first, last;
};

Test(http_select, reads_ranges_as_rfc_9110_14)
{
    static const struct range_case cases[] = {
        {"bytes=0-0", 10, HTTP_PART, 0, 0},
        {"bytes=0-", 10, HTTP_PART, 0, 9},
        {"bytes=3-5", 10, HTTP_PART, 3, 5},
        {"bytes=3-500", 10, HTTP_PART, 3, 9},
        {"BYTES=3-5", 10, HTTP_PART, 3, 5},
        {"bytes=-4", 10, HTTP_PART, 6, 9},
        {"bytes=-40", 10, HTTP_PART, 0, 9},
        {"bytes=9-", 10, HTTP_PART, 9, 9},
        {"bytes=10-", 10, HTTP_UNSATISFIABLE, 0, 0},
        {"bytes=-0", 10, HTTP_UNSATISFIABLE, 0, 0},
        {"bytes=0-", 0, HTTP_WHOLE, 0, 0},
        {"bytes=-5", 0, HTTP_WHOLE, 0, 0},
        {"bytes=-0", 0, HTTP_WHOLE, 0, 0},
        {"bytes=5-9", 0, HTTP_WHOLE, 0, 0},
        {"bytes=0-0,2-3", 0, HTTP_WHOLE, 0, 0},
        {"bytes=5-3", 10, HTTP_WHOLE, 0, 0},
        {"bytes=", 10, HTTP_WHOLE, 0, 0},
        {"bytes=-", 10, HTTP_WHOLE, 0, 0},
        {"bytes=a-b", 10, HTTP_WHOLE, 0, 0},
        {"bytes=1-2x", 10, HTTP_WHOLE, 0, 0},
        {"bytes=0-1,2-4,4-5", 10, HTTP_WHOLE, 0, 0},
        {"bytes=0-,-1", 10, HTTP_WHOLE, 0, 0},
        {"bytes=1-1,0-0,2-2,3-3,4-4,5-5,6-6,7-7,8-8", 10, HTTP_WHOLE, 0, 0},
        {"bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,9-9,8-8", 10, HTTP_WHOLE, 0, 0},
        {"bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8,8-9", 10, HTTP_WHOLE, 0, 0},
        {"bytes=0-1,3-", 3, HTTP_PART, 0, 1},
        {"bytes=0-1,x", 10, HTTP_WHOLE, 0, 0},
        {"bytes=10-11,-0", 10, HTTP_UNSATISFIABLE, 0, 0},
        {"bytes=,", 10, HTTP_WHOLE, 0, 0},
        {"bytes=, ,3-5 ,", 10, HTTP_PART, 3, 5},
        {"bytes= 3-5", 10, HTTP_PART, 3, 5},
        {"bytes=3 -5", 10, HTTP_WHOLE, 0, 0},
        {"lines=0-1", 10, HTTP_WHOLE, 0, 0},
        {"bytes=9223372036854775807-", 10, HTTP_UNSATISFIABLE, 0, 0},
        {"bytes=99999999999999999999999-", 10, HTTP_UNSATISFIABLE, 0, 0},
        {"bytes=1-99999999999999999999999", 10, HTTP_PART, 1, 9},
        {"bytes=-99999999999999999999999", 10, HTTP_PART, 0, 9},
        {"bytes=9223372036854775806-9223372036854775807", INT64_MAX, HTTP_PART, INT64_MAX - 1,
         INT64_MAX - 1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct http_head head = {.method = HTTP_GET, .range = text(cases[i].range)};
        struct http_validators validators = {
            .etag = ETAG, .modified_s = MODIFIED, .size = cases[i].size};
        struct http_ranges ranges;
        cr_assert_eq(http_select(&head, &validators, &ranges), cases[i].selection, "%s",
                     cases[i].range);
        if (cases[i].selection == HTTP_PART)
            cr_assert(ranges.range[0].first == cases[i].first &&
                          ranges.range[0].last == cases[i].last,
                      "%s", cases[i].range);
    }
}

Test(http_select, keeps_several_ranges_in_the_order_of_the_request)
{
    struct http_head head = {.method = HTTP_GET, .range = text("bytes=-2, 0-0 ,4-5,99-")};
    struct http_validators validators = {.etag = ETAG, .modified_s = MODIFIED, .size = 10};
    struct http_ranges ranges;
    cr_assert_eq(http_select(&head, &validators, &ranges), HTTP_PARTS);
    static const struct http_range expected[] = {{8, 9}, {0, 0}, {4, 5}};
    cr_assert_eq(ranges.count, 3);
    cr_assert_eq(memcmp(ranges.range, expected, sizeof(expected)), 0);
}

/* Selects `count` ranges of one byte, every other byte of a file, in either order. */
static enum http_selection select_of(unsigned count, bool ascending, struct http_ranges *ranges)
{
    char list[1024] = "bytes=";
    for (unsigned i = 0; i < count; i++) {
        unsigned at = 2 * (ascending ? i : count - 1 - i);
        snprintf(list + strlen(list), sizeof(list) - strlen(list), "%u-%u,", at, at);
    }
    struct http_head head = {.method = HTTP_GET, .range = text(list)};
    struct http_validators validators = {.etag = ETAG, .modified_s = MODIFIED, .size = 1000};
    return http_select(&head, &validators, ranges);
}

Test(http_select, serves_64_ranges_that_ascend_and_8_in_any_order)
{
    struct http_ranges ranges;
    cr_assert_eq(select_of(9, true, &ranges), HTTP_PARTS);
    cr_assert_eq(select_of(64, true, &ranges), HTTP_PARTS);
    cr_assert_eq(ranges.count, 64);
    cr_assert(ranges.range[63].first == 126 && ranges.range[63].last == 126);
    cr_assert_eq(select_of(65, true, &ranges), HTTP_WHOLE);
    cr_assert_eq(select_of(8, false, &ranges), HTTP_PARTS);
    cr_assert_eq(select_of(9, false, &ranges), HTTP_WHOLE);
}

struct precondition_case {
    const char *match, *unmodified, *none_match, *modified, *range, *if_range;
    enum http_selection selection;
};

static struct http_head precondition_head(const struct precondition_case *c)
{
    return (struct http_head){
        .method = HTTP_GET,
        .if_match = text(c->match),
        .if_unmodified_since = text(c->unmodified),
        .if_none_match = text(c->none_match),
        .if_modified_since = text(c->modified),
        .range = text(c->range),
        .if_range = text(c->if_range),
    };
}

Test(http_select, evaluates_preconditions_in_the_order_of_13_2_2)
{
    static const struct precondition_case cases[] = {
        {.match = ETAG, .selection = HTTP_WHOLE},
        {.match = "*", .selection = HTTP_WHOLE},
        {.match = "\"other\"", .selection = HTTP_PRECONDITION_FAILED},
        {.match = "W/" ETAG, .selection = HTTP_PRECONDITION_FAILED},
        {.match = ETAG, .unmodified = OLDER, .selection = HTTP_WHOLE},
        {.unmodified = OLDER, .selection = HTTP_PRECONDITION_FAILED},
        {.unmodified = NOW_DATE, .selection = HTTP_WHOLE},
        {.unmodified = "rubbish", .selection = HTTP_WHOLE},
        {.none_match = ETAG, .selection = HTTP_NOT_MODIFIED},
        {.none_match = "\"a\", W/" ETAG, .selection = HTTP_NOT_MODIFIED},
        {.none_match = "*", .selection = HTTP_NOT_MODIFIED},
        {.none_match = "\"other\"", .modified = NEWER, .selection = HTTP_WHOLE},
        {.modified = NOW_DATE, .selection = HTTP_NOT_MODIFIED},
        {.modified = OLDER, .selection = HTTP_WHOLE},
        {.modified = BEFORE_1970, .selection = HTTP_WHOLE},
        {.unmodified = BEFORE_1970, .selection = HTTP_PRECONDITION_FAILED},
        {.modified = IN_2071, .selection = HTTP_NOT_MODIFIED},
        {.unmodified = IN_2071, .selection = HTTP_WHOLE},
        {.range = "bytes=0-1", .if_range = ETAG, .selection = HTTP_PART},
        {.range = "bytes=0-1", .if_range = "W/" ETAG, .selection = HTTP_WHOLE},
        {.range = "bytes=0-1", .if_range = "\"other\"", .selection = HTTP_WHOLE},
        {.range = "bytes=0-1", .if_range = NOW_DATE, .selection = HTTP_PART},
        {.range = "bytes=0-1", .if_range = NEWER, .selection = HTTP_WHOLE},
        {.range = "bytes=0-1", .none_match = ETAG, .selection = HTTP_NOT_MODIFIED},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const struct precondition_case *c = &cases[i];
        struct http_head head = precondition_head(c);
        struct http_validators validators = {
            .etag = ETAG, .modified_s = MODIFIED, .size = 10, .now_s = NOW_S};
        struct http_ranges ranges;
        cr_assert_eq(http_select(&head, &validators, &ranges), c->selection, "case %zu", i);
    }
}

Test(http_date, of_last_modification_is_that_of_the_latest_change_and_never_later_than_now)
{
    static const struct {
        int64_t mtime_s, changed_s, now_s, told_s; /* -1: none */
    } cases[] = {
        {MODIFIED, MODIFIED, MODIFIED + 9, MODIFIED},
        {MODIFIED, MODIFIED, MODIFIED, MODIFIED},
        {MODIFIED - 600, MODIFIED, MODIFIED + 9, MODIFIED}, /* put there with an older mtime */
        {MODIFIED - 600, MODIFIED, MODIFIED + 1, MODIFIED - 600},
        {MODIFIED + 600, MODIFIED + 600, MODIFIED, MODIFIED},
        {INT64_MAX, INT64_MAX, MODIFIED, MODIFIED},
        {-1, MODIFIED, MODIFIED + 9, MODIFIED},
        {-1, MODIFIED, MODIFIED, -1},
        {INT64_MIN, MODIFIED, MODIFIED, -1},
        {0, 0, MODIFIED, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char out[HTTP_DATE_SIZE], told[HTTP_DATE_SIZE];
        bool is_told =
            http_last_modified_write(cases[i].mtime_s, cases[i].changed_s, cases[i].now_s, out);
        cr_assert_eq(is_told, cases[i].told_s >= 0, "case %zu", i);
        http_date_write(cases[i].told_s, told);
        if (is_told)
            cr_assert_str_eq(out, told, "case %zu", i);
    }
}

Test(http_select, a_file_without_a_tag_matches_no_tag)
{
    struct http_head head = {
        .method = HTTP_GET, .range = text("bytes=0-1"), .if_range = text("\"\"")};
    struct http_validators validators = {.etag = "", .modified_s = MODIFIED, .size = 10};
    struct http_ranges ranges;
    cr_assert_eq(http_select(&head, &validators, &ranges), HTTP_WHOLE);
    head = (struct http_head){.method = HTTP_GET, .if_none_match = text("\"\"")};
    cr_assert_eq(http_select(&head, &validators, &ranges), HTTP_WHOLE);
}

Test(http_select, head_ignores_range)
{
    struct http_head head = {.method = HTTP_HEAD, .range = text("bytes=0-1")};
    struct http_validators validators = {.etag = ETAG, .modified_s = MODIFIED, .size = 10};
    struct http_ranges ranges;
    cr_assert_eq(http_select(&head, &validators, &ranges), HTTP_WHOLE);
}
