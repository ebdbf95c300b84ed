/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Skips the empty content of a request: proxies that translate HTTP/2 send a GET with
 * `Transfer-Encoding: chunked` and only the last chunk. Called by the workers and the admin thread
 * after http_head_parse, and fuzzed with it. It reads no other content, and uses nothing of it.
 */
#ifndef TOLLGATE_SERVER_HTTP_HTTP_CONTENT_H
#define TOLLGATE_SERVER_HTTP_HTTP_CONTENT_H

#include "server/http/http_head.h"

/*
 * Reads the chunked content behind a complete head of GET, HEAD or OPTIONS; `data` is what
 * http_head_parse was given. Where the content is empty, head->length includes it from then on and
 * head->has_body is false. Other heads and contents are left as they are.
 *
 * COMPLETE: the head can be answered. PARTIAL: the content may still turn out empty; the caller
 * bounds how many bytes head and content may have together, and HTTP_HEADERS_MAX bounds the trailer
 * fields. REFUSED: *refusal says why, and it is unknown where the next request begins.
 */
enum http_head_status http_content_skip(const char *data, size_t length, struct http_head *head,
                                        enum refusal *refusal);

#endif
