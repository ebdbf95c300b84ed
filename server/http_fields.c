/*
 * Dates, entity tags, preconditions and ranges of RFC 9110. See http_fields.h.
 */
#include "server/http_fields.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

static void write_digits(char *at, int number, int width)
{
    for (int i = width; i-- > 0; number /= 10)
        at[i] = (char)('0' + number % 10);
}

/* By hand: it is in each response, and printf was a twelfth of what a small one cost. */
void http_date_write(int64_t seconds, char out[HTTP_DATE_SIZE])
{
    time_t when = (time_t)seconds;
    struct tm tm;
    if (seconds < 0 || gmtime_r(&when, &tm) == NULL || tm.tm_year > 9999 - 1900) {
        when = 0;
        gmtime_r(&when, &tm);
    }
    memcpy(out, "Thu, 01 Jan 1970 00:00:00 GMT", HTTP_DATE_SIZE);
    memcpy(out, days[tm.tm_wday], 3);
    write_digits(out + 5, tm.tm_mday, 2);
    memcpy(out + 8, months[tm.tm_mon], 3);
    write_digits(out + 12, tm.tm_year + 1900, 4);
    write_digits(out + 17, tm.tm_hour, 2);
    write_digits(out + 20, tm.tm_min, 2);
    write_digits(out + 23, tm.tm_sec, 2);
}

/* A date pattern read byte by byte: letters are places, everything else stands for itself. */
struct date_fields {
    int year, month, day, hour, minute, second;
};

static int month_of(const char *name)
{
    for (int i = 0; i < 12; i++) {
        if (memcmp(name, months[i], 3) == 0)
            return i;
    }
    return -1;
}

/*
 * Y M D h m s take one digit each (M as a name of three letters, at 'b'); '_' takes a space or a
 * digit, so that asctime's " 6" is read. Whatever stands before the pattern (the day's name) is
 * skipped by the caller.
 */
static int read_pattern(const char *text, const char *pattern, struct date_fields *out)
{
    for (; *pattern != '\0'; pattern++, text++) {
        int *place = NULL;
        switch (*pattern) {
        case 'Y':
            place = &out->year;
            break;
        case 'D':
        case '_':
            place = &out->day;
            break;
        case 'h':
            place = &out->hour;
            break;
        case 'm':
            place = &out->minute;
            break;
        case 's':
            place = &out->second;
            break;
        case 'b':
            out->month = month_of(text);
            if (out->month < 0)
                return -EINVAL;
            text += 2;
            continue;
        default:
            if (*text != *pattern)
                return -EINVAL;
            continue;
        }
        if (*pattern == '_' && *text == ' ')
            continue;
        if (*text < '0' || *text > '9')
            return -EINVAL;
        *place = *place * 10 + (*text - '0');
    }
    return 0;
}

static int to_seconds(const struct date_fields *date, int64_t *seconds)
{
    if (date->day < 1 || date->day > 31 || date->hour > 23 || date->minute > 59 ||
        date->second > 60 || date->year < 1970)
        return -EINVAL;
    struct tm tm = {.tm_year = date->year - 1900,
                    .tm_mon = date->month,
                    .tm_mday = date->day,
                    .tm_hour = date->hour,
                    .tm_min = date->minute,
                    .tm_sec = date->second};
    *seconds = (int64_t)timegm(&tm);
    return tm.tm_mday == date->day ? 0 : -EINVAL; /* 31 April rolls over */
}

int http_date_read(const struct http_text *text, int64_t *seconds)
{
    char copy[40] = "";
    struct date_fields date = {0};
    if (text->data == NULL || text->length >= sizeof(copy) || text->length < 20)
        return -EINVAL;
    memcpy(copy, text->data, text->length);
    const char *comma = strchr(copy, ',');
    int status = -EINVAL;
    if (comma == NULL && text->length == 24) { /* asctime: Sun Nov  6 08:49:37 1994 */
        status = read_pattern(copy + 3, " b _D hh:mm:ss YYYY", &date);
    } else if (comma == copy + 3 && text->length == 29) { /* IMF-fixdate */
        status = read_pattern(comma, ", DD b YYYY hh:mm:ss GMT", &date);
    } else if (comma != NULL && strlen(comma) == 24) { /* RFC 850: , 06-Nov-94 08:49:37 GMT */
        status = read_pattern(comma, ", DD-b-YY hh:mm:ss GMT", &date);
        /* RFC 9110 5.6.7: two digits more than 50 years ahead mean the past century */
        date.year += date.year < 70 ? 2000 : 1900;
    }
    return status != 0 ? status : to_seconds(&date, seconds);
}

/* RFC 9110 8.8.3: does the list hold our (strong) tag, by weak comparison where `weak`? */
static bool tag_list_has(const struct http_text *list, const char *etag, bool weak)
{
    const char *at = list->data, *end = at + list->length;
    size_t etag_length = strlen(etag);
    if (list->length == 1 && *at == '*')
        return true;
    while (at < end) {
        bool is_weak = false;
        while (at < end && (*at == ' ' || *at == '\t' || *at == ','))
            at++;
        if (end - at >= 2 && at[0] == 'W' && at[1] == '/') {
            is_weak = true;
            at += 2;
        }
        if (at >= end || *at != '"')
            return false;
        const char *close = memchr(at + 1, '"', (size_t)(end - at - 1));
        if (close == NULL)
            return false;
        if ((weak || !is_weak) && etag_length != 0 && (size_t)(close + 1 - at) == etag_length &&
            memcmp(at, etag, etag_length) == 0)
            return true;
        at = close + 1;
    }
    return false;
}

/* RFC 9110 13.2.2, steps 1 to 4 */
static enum http_selection preconditions(const struct http_head *head,
                                         const struct http_validators *validators)
{
    int64_t date;
    if (head->if_match.data != NULL) {
        if (!tag_list_has(&head->if_match, validators->etag, false))
            return HTTP_PRECONDITION_FAILED;
    } else if (http_date_read(&head->if_unmodified_since, &date) == 0) {
        if (validators->modified_s > date)
            return HTTP_PRECONDITION_FAILED;
    }
    if (head->if_none_match.data != NULL) {
        if (tag_list_has(&head->if_none_match, validators->etag, true))
            return HTTP_NOT_MODIFIED;
    } else if (http_date_read(&head->if_modified_since, &date) == 0) {
        if (validators->modified_s <= date)
            return HTTP_NOT_MODIFIED;
    }
    return HTTP_WHOLE;
}

/*
 * RFC 9110 13.1.5: a date here is compared exactly, and is strong only if it is not from the last
 * second, which cannot be told from a Last-Modified alone; files replaced within a second are told
 * apart by their tag once it is known.
 */
static bool if_range_holds(const struct http_head *head, const struct http_validators *validators)
{
    int64_t date;
    if (head->if_range.data == NULL)
        return true;
    if (http_date_read(&head->if_range, &date) == 0)
        return date == validators->modified_s;
    return head->if_range.length > 0 && head->if_range.data[0] == '"' &&
           tag_list_has(&head->if_range, validators->etag, false);
}

/* 1*DIGIT at *at; a number past 2^63 - 1 stays there, which is past the end of any file. */
static bool read_number(const char **at, const char *end, uint64_t *out)
{
    uint64_t number = 0;
    const char *first = *at;
    for (; *at < end && **at >= '0' && **at <= '9'; (*at)++) {
        uint64_t digit = (uint64_t)(**at - '0');
        number = number > ((uint64_t)INT64_MAX - digit) / 10 ? INT64_MAX : number * 10 + digit;
    }
    *out = number;
    return *at > first;
}

/* RFC 9110 14.1.2 and 14.2: an invalid or unknown Range, and several ranges, are ignored: the whole
 * file. */
static enum http_selection select_range(const struct http_text *range, uint64_t size,
                                        uint64_t *first, uint64_t *last)
{
    static const char unit[] = "bytes=";
    const char *at = range->data, *end = at + range->length;
    uint64_t from, to;
    if (range->length <= sizeof(unit) - 1 || strncasecmp(at, unit, sizeof(unit) - 1) != 0)
        return HTTP_WHOLE;
    at += sizeof(unit) - 1;
    if (*at == '-') { /* suffix-range: the last n bytes */
        at++;
        if (!read_number(&at, end, &to) || at != end)
            return HTTP_WHOLE;
        if (to == 0 || size == 0)
            return HTTP_UNSATISFIABLE;
        *first = to >= size ? 0 : size - to;
        *last = size - 1;
        return HTTP_PART;
    }
    if (!read_number(&at, end, &from) || at == end || *at != '-')
        return HTTP_WHOLE;
    at++;
    if (at == end)
        to = INT64_MAX;
    else if (!read_number(&at, end, &to) || at != end || to < from)
        return HTTP_WHOLE;
    if (from >= size)
        return HTTP_UNSATISFIABLE;
    *first = from;
    *last = to >= size ? size - 1 : to;
    return HTTP_PART;
}

enum http_selection http_select(const struct http_head *head,
                                const struct http_validators *validators, uint64_t *first,
                                uint64_t *last)
{
    enum http_selection selection = preconditions(head, validators);
    if (selection != HTTP_WHOLE)
        return selection;
    /* RFC 9110 14.2: Range is defined for GET only */
    if (head->range.data == NULL || head->method != HTTP_GET || !if_range_holds(head, validators))
        return HTTP_WHOLE;
    return select_range(&head->range, validators->size, first, last);
}
