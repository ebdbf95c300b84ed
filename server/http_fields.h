/*
 * The request fields that decide which bytes of a file are sent: Range, If-Range, the
 * preconditions, dates. Pure functions over borrowed text, used by request.c and fuzzed alone.
 */
#ifndef TOLLGATE_SERVER_HTTP_FIELDS_H
#define TOLLGATE_SERVER_HTTP_FIELDS_H

#include <stddef.h>
#include <stdint.h>

#include "server/http_head.h"

#define HTTP_DATE_SIZE 30 /* "Sun, 06 Nov 1994 08:49:37 GMT" and NUL */

/* Writes an IMF-fixdate (RFC 9110 5.6.7) of seconds since 1970, or before; past the years 0 to 9999 that
 * of second 0. */
void http_date_write(int64_t seconds, char out[HTTP_DATE_SIZE]);

/*
 * The value of Last-Modified at `now_s`, of a file with that mtime whose latest change of any kind, which
 * nobody can set back, was in the second changed_s: that one once it is over, for another change in it
 * would bear the same date, and mtime before. Never later than Date (RFC 9110 8.8.2.1). False where none
 * is sent: many recipients read no date before 1970.
 */
bool http_last_modified_write(int64_t mtime_s, int64_t changed_s, int64_t now_s,
                              char out[HTTP_DATE_SIZE]);

/* Reads any of the three forms of RFC 9110 5.6.7, one of which has two digits for the year and is read by
 * the time `now_s`. *seconds is negative before 1970. 0, or -EINVAL. */
int http_date_read(const struct http_text *text, int64_t now_s, int64_t *seconds);

/*
 * What a representation of `size` bytes is validated by. etag is "" where it has none (yet). Since the
 * end of the second modified_s nothing has taken its place, so that this date is a strong validator
 * (RFC 9110 8.8.2.2) where it was told after that second.
 */
struct http_validators {
    const char *etag;
    int64_t modified_s;
    uint64_t size;
    int64_t now_s; /* when they are compared */
};

/*
 * Writes the value of Content-Disposition (RFC 6266 4): the kind (`attachment`, `inline`) with the
 * name, of 255 bytes at most, in a form for all recipients and, where that is not the same, in UTF-8
 * (RFC 8187 3.2). A name that is not UTF-8, or has control characters, is written in the first form
 * alone. Returns its length.
 */
#define HTTP_DISPOSITION_SIZE (64 + 4 * 255)
size_t http_disposition_write(const char *kind, const char *filename,
                              char out[HTTP_DISPOSITION_SIZE]);

/* RFC 6750 2.1: the token of "Authorization: Bearer TOKEN"; false where there is none. */
bool http_bearer(const struct http_head *head, struct http_text *out);

enum http_selection {
    HTTP_WHOLE,         /* 200 */
    HTTP_PART,          /* 206: one range */
    HTTP_PARTS,         /* 206: several, as multipart/byteranges */
    HTTP_UNSATISFIABLE, /* 416 */
    HTTP_NOT_MODIFIED,  /* 304 */
    HTTP_PRECONDITION_FAILED,
    HTTP_TAG_UNKNOWN, /* 503: If-Match, and the representation has no tag yet */
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

/* Whether the answer hangs on the representation's entity tag. */
bool http_asks_for_tag(const struct http_head *head);

/*
 * Evaluates preconditions in the order of RFC 9110 13.2.2, then Range and If-Range. *ranges is set
 * for HTTP_PART and HTTP_PARTS.
 */
enum http_selection http_select(const struct http_head *head,
                                const struct http_validators *validators,
                                struct http_ranges *ranges);

#endif
