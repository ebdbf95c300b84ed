/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dates, file names, entity tags, preconditions, ranges and bearer tokens. See http_fields.h.
 */
#include "server/http/http_fields.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistr.h>

static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

static void write_digits(char *at, int number, int width)
{
    for (int i = width; i-- > 0; number /= 10)
        at[i] = (char)('0' + number % 10);
}

/* Written without printf, which took a twelfth of the time of a small response. */
void http_date_write(int64_t seconds, char out[HTTP_DATE_SIZE])
{
    time_t when = (time_t)seconds;
    struct tm tm;
    if (gmtime_r(&when, &tm) == NULL || tm.tm_year < 0 - 1900 || tm.tm_year > 9999 - 1900) {
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

bool http_last_modified_write(int64_t mtime_s, int64_t changed_s, int64_t now_s,
                              char out[HTTP_DATE_SIZE])
{
    /* One more second, because an open file is compared with the disk only now and then. */
    int64_t modified_s = changed_s < now_s - 1 ? changed_s : mtime_s;
    if (modified_s < 0)
        return false;
    http_date_write(modified_s < now_s ? modified_s : now_s, out);
    return true;
}

size_t http_disposition_write(const char *kind, const char *filename,
                              char out[HTTP_DISPOSITION_SIZE])
{
    static const char hex[] = "0123456789ABCDEF";
    char plain[256], *at = out;
    size_t length = strnlen(filename, sizeof(plain) - 1);
    bool same = true, controls = false;
    /* RFC 6266 appendix D: no escapes, percent signs or bytes beyond ASCII. Each such character
     * becomes one underscore; in UTF-8 the bytes 10xxxxxx begin no character. */
    size_t kept = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)filename[i];
        if (byte >= 0x80 && byte < 0xc0)
            continue;
        bool safe = byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\' && byte != '%';
        plain[kept] = '_';
        if (safe)
            plain[kept] = filename[i];
        kept++;
        same = same && safe;
        controls = controls || byte < 0x20 || byte == 0x7f;
    }
    plain[kept] = '\0';
    /* Each answer has this field, and snprintf took a fourteenth of a small response's instructions. */
    at = stpcpy(stpcpy(stpcpy(stpcpy(at, kind), "; filename=\""), plain), "\"");
    if (same || controls || u8_check((const uint8_t *)filename, length) != NULL)
        return (size_t)(at - out);
    at = stpcpy(at, "; filename*=UTF-8''");
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)filename[i];
        /* RFC 8187 3.2.1: attr-char */
        if ((byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
            (byte >= 'a' && byte <= 'z') || (byte != 0 && strchr("!#$&+-.^_`|~", byte) != NULL)) {
            *at++ = filename[i];
        } else {
            *at++ = '%';
            *at++ = hex[byte >> 4];
            *at++ = hex[byte & 15];
        }
    }
    *at = '\0';
    return (size_t)(at - out);
}

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
 * Reads a date by a pattern. Y D h m s each take one digit of their field, b takes a month's name
 * of three letters, and _ takes a space or a digit of the day, as in asctime's " 6". Any other
 * character stands for itself. The caller has skipped the day's name. 0 or -EINVAL.
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
        date->second > 60)
        return -EINVAL;
    struct tm tm = {.tm_year = date->year - 1900,
                    .tm_mon = date->month,
                    .tm_mday = date->day,
                    .tm_hour = date->hour,
                    .tm_min = date->minute,
                    .tm_sec = date->second < 60 ? date->second : 59}; /* clocks skip leap seconds */
    *seconds = (int64_t)timegm(&tm);
    return tm.tm_mday == date->day ? 0 : -EINVAL; /* 31 April rolls over */
}

/*
 * RFC 9110 5.6.7: a year of two digits that appears to be more than 50 years in the future
 * means the last year in the past with these digits. So it is the latest such year that is not
 * that far ahead.
 */
static int to_seconds_by_now(struct date_fields *date, int64_t now_s, int64_t *seconds)
{
    time_t now = (time_t)now_s;
    struct tm latest;
    if (gmtime_r(&now, &latest) == NULL)
        return -EINVAL;
    latest.tm_year += 50;
    int64_t latest_s = (int64_t)timegm(&latest);
    int year = latest.tm_year + 1900;
    date->year = year - (year - date->year) % 100;
    if (to_seconds(date, seconds) == 0 && *seconds <= latest_s)
        return 0;
    date->year -= 100;
    return to_seconds(date, seconds);
}

int http_date_read(const struct http_text *text, int64_t now_s, int64_t *seconds)
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
        return status != 0 ? status : to_seconds_by_now(&date, now_s, seconds);
    }
    return status != 0 ? status : to_seconds(&date, seconds);
}

static bool is_any(const struct http_text *list)
{
    return list->length == 1 && *list->data == '*';
}

/* RFC 9110 8.8.3.2: whether the list has our tag, which is strong. `weak`: by weak comparison. */
static bool tag_list_has(const struct http_text *list, const char *etag, bool weak)
{
    const char *at = list->data, *end = at + list->length;
    size_t etag_length = strlen(etag);
    if (is_any(list))
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

/* The same for a field in one line or several (RFC 9110 5.3), of which `line` is the first. */
static bool tag_lines_have(const struct http_head *head, const char *name, struct http_text line,
                           const char *etag, bool weak)
{
    do {
        if (tag_list_has(&line, etag, weak))
            return true;
    } while (http_head_next(head, name, &line));
    return false;
}

/* RFC 9110 13.2.2: steps 1 to 4. */
static enum http_selection preconditions(const struct http_head *head,
                                         const struct http_validators *validators)
{
    int64_t date;
    if (head->if_match.data != NULL) {
        if (validators->etag[0] == '\0' && !is_any(&head->if_match))
            return HTTP_TAG_UNKNOWN;
        if (!tag_lines_have(head, "if-match", head->if_match, validators->etag, false))
            return HTTP_PRECONDITION_FAILED;
    } else if (http_date_read(&head->if_unmodified_since, validators->now_s, &date) == 0) {
        if (validators->modified_s > date)
            return HTTP_PRECONDITION_FAILED;
    }
    if (head->if_none_match.data != NULL) {
        if (tag_lines_have(head, "if-none-match", head->if_none_match, validators->etag, true))
            return HTTP_NOT_MODIFIED;
    } else if (http_date_read(&head->if_modified_since, validators->now_s, &date) == 0) {
        if (validators->modified_s <= date)
            return HTTP_NOT_MODIFIED;
    }
    return HTTP_WHOLE;
}

/* RFC 9110 13.1.5: whether the representation is still that of If-Range, so that Range applies. */
static bool if_range_holds(const struct http_head *head, const struct http_validators *validators)
{
    int64_t date;
    if (head->if_range.data == NULL)
        return true;
    if (http_date_read(&head->if_range, validators->now_s, &date) == 0)
        return date == validators->modified_s;
    return head->if_range.length > 0 && head->if_range.data[0] == '"' &&
           tag_list_has(&head->if_range, validators->etag, false);
}

/* Reads 1*DIGIT at *at. A number past 2^63 - 1 becomes that, which is past the end of any file. */
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

/*
 * Reads the range-spec (RFC 9110 14.1.1) between `at` and `end`. False where it is malformed.
 * *satisfiable says whether the file has a byte of it.
 */
static bool read_range(const char *at, const char *end, uint64_t size, struct http_range *out,
                       bool *satisfiable)
{
    uint64_t from, to = INT64_MAX;
    if (at < end && *at == '-') { /* suffix-range: the last n bytes */
        at++;
        if (!read_number(&at, end, &to) || at != end)
            return false;
        *satisfiable = to > 0;
        *out = (struct http_range){.first = to >= size ? 0 : size - to, .last = size - 1};
        return true;
    }
    if (!read_number(&at, end, &from) || at == end || *at != '-')
        return false;
    at++;
    if (at < end && (!read_number(&at, end, &to) || at != end || to < from))
        return false;
    *satisfiable = from < size;
    *out = (struct http_range){.first = from, .last = to >= size ? size - 1 : to};
    return true;
}

static bool overlaps(const struct http_ranges *ranges, const struct http_range *other)
{
    for (unsigned i = 0; i < ranges->count; i++) {
        if (other->first <= ranges->range[i].last && ranges->range[i].first <= other->last)
            return true;
    }
    return false;
}

/*
 * RFC 9110 14.2: a Range that is invalid or in another unit is ignored, and one with many or with
 * overlapping ranges may be (14.2, 17.15): the whole file is the answer then. Clients that have the
 * rest already (zsync) ask for many ranges that ascend; nobody needs many in another order. Ranges
 * behind the file's end are left out where others are not (15.5.17). An empty file has no part: it
 * is sent whole, so that a player which asks for bytes=0- gets all that there is.
 */
static enum http_selection select_ranges(const struct http_text *range, uint64_t size,
                                         struct http_ranges *out)
{
    static const char unit[] = "bytes=";
    const char *at = range->data, *end = at + range->length;
    unsigned seen = 0;
    bool ascends = true;
    out->count = 0;
    if (size == 0 || range->length <= sizeof(unit) - 1 ||
        strncasecmp(at, unit, sizeof(unit) - 1) != 0)
        return HTTP_WHOLE;
    at += sizeof(unit) - 1;
    while (at < end) { /* RFC 9110 5.6.1.2: a list, of which elements may be empty */
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *stop = comma != NULL ? comma : end, *next = comma != NULL ? comma + 1 : end;
        struct http_range one;
        bool satisfiable;
        while (at < stop && (*at == ' ' || *at == '\t'))
            at++;
        while (stop > at && (stop[-1] == ' ' || stop[-1] == '\t'))
            stop--;
        if (at < stop) {
            if (++seen > HTTP_RANGES_MAX || !read_range(at, stop, size, &one, &satisfiable))
                return HTTP_WHOLE;
            if (satisfiable && overlaps(out, &one))
                return HTTP_WHOLE;
            if (satisfiable && out->count > 0)
                ascends = ascends && one.first > out->range[out->count - 1].last;
            if (seen > HTTP_RANGES_UNORDERED_MAX && !ascends)
                return HTTP_WHOLE;
            if (satisfiable)
                out->range[out->count++] = one;
        }
        at = next;
    }
    if (seen == 0)
        return HTTP_WHOLE;
    return out->count == 0 ? HTTP_UNSATISFIABLE : out->count == 1 ? HTTP_PART : HTTP_PARTS;
}

bool http_asks_for_tag(const struct http_head *head)
{
    if (head->if_match.data != NULL && !is_any(&head->if_match))
        return true;
    if (head->if_none_match.data != NULL && !is_any(&head->if_none_match))
        return true;
    return head->if_range.length > 0 && head->if_range.data[0] == '"' && head->range.data != NULL &&
           head->method == HTTP_GET;
}

enum http_selection http_select(const struct http_head *head,
                                const struct http_validators *validators,
                                struct http_ranges *ranges)
{
    enum http_selection selection = preconditions(head, validators);
    if (selection != HTTP_WHOLE)
        return selection;
    /* RFC 9110 14.2: Range is defined for GET only */
    if (head->range.data == NULL || head->method != HTTP_GET || !if_range_holds(head, validators))
        return HTTP_WHOLE;
    return select_ranges(&head->range, validators->size, ranges);
}

bool http_bearer(const struct http_head *head, struct http_text *out)
{
    static const char scheme[] = "Bearer ";
    const struct http_text *field = &head->authorization;
    if (field->data == NULL || field->length <= sizeof(scheme) - 1 ||
        strncasecmp(field->data, scheme, sizeof(scheme) - 1) != 0)
        return false;
    out->data = field->data + sizeof(scheme) - 1;
    out->length = field->length - (sizeof(scheme) - 1);
    while (out->length > 0 && *out->data == ' ') {
        out->data++;
        out->length--;
    }
    return true;
}
