/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines, fields and lists of HTTP/1.1 (RFC 9112 2.2 and 5, RFC 9110 5.6), read as strictly as
 * http_head.h says: what the parsers of heads and of chunked content have in common. Pure functions
 * over borrowed text; only these two parsers call them.
 */
#ifndef TOLLGATE_SERVER_HTTP_HTTP_LINES_H
#define TOLLGATE_SERVER_HTTP_HTTP_LINES_H

#include <string.h>
#include <strings.h>

#include "server/http/http_head.h"

/*
 * Takes the line at *at without its CRLF and moves *at behind it; PARTIAL where the line does not
 * end yet. RFC 9112 2.2 lets a recipient take a bare LF as a line end. It is refused here, because
 * proxies disagree about it, which lets requests be smuggled. A bare CR must be refused.
 */
enum http_head_status http_line_take(const char **at, const char *end, struct http_text *line);

/* RFC 9112 5: cuts field-name ":" OWS field-value OWS. False where the line is malformed. */
bool http_field_cut(const struct http_text *line, struct http_text *name, struct http_text *value);

/* The length of the token (RFC 9110 5.6.2) at `at`; 0 where there is none. */
size_t http_token_length(const char *at, const char *end);

/* Whether the text is `word`, compared without case. */
static inline bool http_text_is_nocase(const struct http_text *text, const char *word)
{
    return strlen(word) == text->length && strncasecmp(text->data, word, text->length) == 0;
}

/*
 * Takes the first member of a list (RFC 9110 5.6.1), which may be empty, without the white space
 * around it, and moves *rest behind its comma. False where no member is left: rest->data is NULL
 * then. Quoted strings are not recognised; no list that is read with this has any.
 */
bool http_list_next(struct http_text *rest, struct http_text *member);

#endif
