/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request fields that decide which bytes of a file are sent (Range, If-Range, the
 * preconditions), the dates and file names of answers, and bearer tokens. Pure functions over
 * borrowed text, used by request*.c, response.c and the admin interface, and fuzzed alone.
 */
#ifndef TOLLGATE_SERVER_HTTP_HTTP_FIELDS_H
#define TOLLGATE_SERVER_HTTP_HTTP_FIELDS_H

#include <stddef.h>
#include <stdint.h>

#include "server/http/http_head.h"

#define HTTP_DATE_SIZE 30 /* "Sun, 06 Nov 1994 08:49:37 GMT" and NUL */

/* Writes `seconds` since 1970, which may be negative, as an IMF-fixdate (RFC 9110 5.6.7). A time
 * outside of the years 0 to 9999 is written as second 0. */
void http_date_write(int64_t seconds, char out[HTTP_DATE_SIZE]);

/*
 * Writes the Last-Modified, at `now_s`, of a file whose latest change of any kind (its ctime, which
 * nobody can set back) was in the second changed_s. It is changed_s once that second is over,
 * because another change within it would bear the same date; until then it is the mtime. Never
 * later than Date (RFC 9110 8.8.2.1). False where none is to be sent: many recipients cannot read a
 * date before 1970.
 */
bool http_last_modified_write(int64_t mtime_s, int64_t changed_s, int64_t now_s,
                              char out[HTTP_DATE_SIZE]);

/* Reads any of the three forms of RFC 9110 5.6.7. One of them has two digits for the year, whose
 * century follows from `now_s`. *seconds is negative before 1970. 0 or -EINVAL. */
int http_date_read(const struct http_text *text, int64_t now_s, int64_t *seconds);

/*
 * What preconditions are compared with: of a representation of `size` bytes. etag is "" where it
 * has none yet. Nothing has replaced the representation since the second modified_s ended, so this
 * date is a strong validator (RFC 9110 8.8.2.2) where it was told after that second.
 */
struct http_validators {
    const char *etag;
    int64_t modified_s;
    uint64_t size;
    int64_t now_s; /* the time of the comparison */
};

/*
 * Writes the value of Content-Disposition (RFC 6266 4): the kind (`attachment`, `inline`) with the
 * name, of 255 bytes at most, in a form for all recipients and, where that differs from the name,
 * in UTF-8 (RFC 8187 3.2). A name that is not UTF-8, or has control characters, is written in the
 * first form alone. Returns the length of the value.
 */
#define HTTP_DISPOSITION_SIZE (64 + 4 * 255)
size_t http_disposition_write(const char *kind, const char *filename,
                              char out[HTTP_DISPOSITION_SIZE]);

/* RFC 6750 2.1: the token of "Authorization: Bearer TOKEN", borrowed; false where there is none. */
bool http_bearer(const struct http_head *head, struct http_text *out);

enum http_selection {
    HTTP_WHOLE,               /* 200 */
    HTTP_PART,                /* 206: one range */
    HTTP_PARTS,               /* 206: several, as multipart/byteranges */
    HTTP_UNSATISFIABLE,       /* 416 */
    HTTP_NOT_MODIFIED,        /* 304 */
    HTTP_PRECONDITION_FAILED, /* 412 */
    HTTP_TAG_UNKNOWN,         /* 503: If-Match, and the representation has no tag yet */
};

/* A request for more ranges is answered with the whole file; so is one for more than
 * HTTP_RANGES_UNORDERED_MAX that do not ascend. */
#define HTTP_RANGES_MAX           64
#define HTTP_RANGES_UNORDERED_MAX 8
struct http_ranges {
    unsigned count;
    struct http_range {
        uint64_t first, last; /* inclusive, both in the file */
    } range[HTTP_RANGES_MAX]; /* no two overlap; in the order of the request */
};

/* Whether the answer depends on the representation's entity tag. */
bool http_asks_for_tag(const struct http_head *head);

/*
 * Evaluates preconditions in the order of RFC 9110 13.2.2, then Range and If-Range. *ranges is set
 * for HTTP_PART and HTTP_PARTS.
 */
enum http_selection http_select(const struct http_head *head,
                                const struct http_validators *validators,
                                struct http_ranges *ranges);

#endif
