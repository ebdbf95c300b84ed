/*
 * The content of requests that have none to speak of: proxies which translate HTTP/2 send a GET with
 * `Transfer-Encoding: chunked` and the last chunk alone. Called by the workers and the admin thread behind
 * http_head_parse, and fuzzed with it. It reads no other content; what it skips is used for nothing.
 */
#ifndef TOLLGATE_SERVER_HTTP_CONTENT_H
#define TOLLGATE_SERVER_HTTP_CONTENT_H

#include "server/http_head.h"

/*
 * Takes the content behind a complete head of GET, HEAD or OPTIONS which is chunked: `data` is what
 * http_head_parse was given. Where the content is empty, head->length comes to hold it, too, and
 * head->has_body is false from then on; all other heads and contents stay as they are.
 *
 * PARTIAL: it may still be empty. The caller bounds how many bytes it lets be, head and content together;
 * trailer fields are HTTP_HEADERS_MAX at most. REFUSED: *refusal says why, and where the next request
 * begins is not known.
 */
enum http_head_status http_content_skip(const char *data, size_t length, struct http_head *head,
                                        enum refusal *refusal);

#endif
