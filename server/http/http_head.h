/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The strict request-head parser: RFC 9112, one head at a time, in place. Used by the workers for
 * clients and by the admin thread; fuzzed alone. It reads only its arguments, allocates nothing and
 * repairs nothing: what the RFC does not allow is refused with its reason.
 */
#ifndef TOLLGATE_SERVER_HTTP_HTTP_HEAD_H
#define TOLLGATE_SERVER_HTTP_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/http/refusal.h"

#define HTTP_HEADERS_MAX 64
#define HTTP_TARGET_MAX  8192

/* A piece of the head, borrowed from the caller's buffer; data is NULL where it is absent. */
struct http_text {
    const char *data;
    size_t length;
};

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_OPTIONS,
    HTTP_OTHER_KNOWN, /* DELETE, PATCH, TRACE, CONNECT: known, and not for files */
    HTTP_UNKNOWN,
};

struct http_head {
    enum http_method method;
    struct http_text method_text;
    /* The path with its query. It begins with "/", or with "?" where an absolute-form had no path.
     * The "*" of OPTIONS and whatever CONNECT has are left as they came. */
    struct http_text target;
    unsigned minor;  /* HTTP/1.minor: 0 or 1 */
    bool keep_alive; /* RFC 9112 9.3, from the version and Connection */
    bool has_body;   /* chunked, or a Content-Length above 0; see http_content.h */
    bool chunked;    /* Transfer-Encoding: chunked; any other is refused */
    bool expect_continue;
    uint64_t content_length;
    struct http_text host, range, if_range, if_modified_since, if_unmodified_since, authorization,
        accept, origin, preflight_method, fetch_mode, user_agent, referer;
    /* Lists in one line or several. These are the first lines; http_head_next finds the others. */
    struct http_text if_match, if_none_match, cookie;
    bool repeats;            /* a list has several lines */
    struct http_text fields; /* all lines between request line and empty line, each with its CRLF */
    size_t length;           /* of the whole head, the empty line included */
};

enum http_head_status {
    HTTP_HEAD_COMPLETE,
    HTTP_HEAD_PARTIAL, /* more bytes are needed; nothing wrong so far */
    HTTP_HEAD_REFUSED, /* *refusal says why; the connection is to be closed after the answer */
};

/*
 * Parses the head at the start of `data`, up to its empty line; what follows is not looked at.
 * *head borrows `data`. Empty lines before the request line are skipped (RFC 9112 2.2) and counted
 * in head->length. *refusal is set where the head is refused.
 */
enum http_head_status http_head_parse(const char *data, size_t length, struct http_head *head,
                                      enum refusal *refusal);

/* Has a head that was copied borrow the copy: moves its texts that lie in the head->length bytes at
 * `from` to `to`. */
void http_head_move(struct http_head *head, const char *from, const char *to);

/* Whether `data` begins with a whole request line, of any version of HTTP that has one and for any
 * target: its sender speaks HTTP then. */
bool http_head_is_begun(const char *data, size_t length);

/*
 * Moves *value, a line of the list field `name` (such as "if-match"), on to that field's next line
 * in the head, whose buffer must still be there. False where there is none: *value is of no use
 * then. A head has HTTP_HEADERS_MAX field lines at most.
 */
bool http_head_next(const struct http_head *head, const char *name, struct http_text *value);

/* True where a list field (RFC 9110 5.6.1) has the token `word`, compared without case. */
bool http_list_has(const struct http_text *field, const char *word);

#endif
