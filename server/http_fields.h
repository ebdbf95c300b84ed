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

/* Writes an IMF-fixdate (RFC 9110 5.6.7) of seconds since 1970. */
void http_date_write(int64_t seconds, char out[HTTP_DATE_SIZE]);

/* Reads any of the three forms of RFC 9110 5.6.7. 0, or -EINVAL. */
int http_date_read(const struct http_text *text, int64_t *seconds);

/* What a representation of `size` bytes is validated by. etag is "" where it has none (yet). */
struct http_validators {
    const char *etag;
    int64_t modified_s;
    uint64_t size;
};

enum http_selection {
    HTTP_WHOLE,         /* 200 */
    HTTP_PART,          /* 206: first..last */
    HTTP_UNSATISFIABLE, /* 416 */
    HTTP_NOT_MODIFIED,  /* 304 */
    HTTP_PRECONDITION_FAILED,
};

/*
 * Evaluates preconditions in the order of RFC 9110 13.2.2, then Range and If-Range. *first and
 * *last (inclusive) are set for HTTP_PART.
 */
enum http_selection http_select(const struct http_head *head,
                                const struct http_validators *validators, uint64_t *first,
                                uint64_t *last);

#endif
