/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the path and the token in the target of a request, in the same way for a client's request
 * and for a link that is explained or revoked. Pure.
 */
#ifndef TOLLGATE_SERVER_LINK_REQUEST_TARGET_H
#define TOLLGATE_SERVER_LINK_REQUEST_TARGET_H

#include <stddef.h>

#include "server/config/config.h"
#include "server/http/http_head.h"
#include "server/http/refusal.h"
#include "tokens/tokens.h"

/* Parses the target, in which `attribute` names the token. REFUSAL_NONE, or why the request is
 * refused. *out borrows the head's buffer. */
enum refusal request_target_read(const struct http_head *head, const char *attribute,
                                 struct token_target *out);

/*
 * Makes the head of the GET that a client would send for a link. `link` is an http:// or https://
 * URL, or a path with its query, to any host. *out is one whole head, which the caller frees.
 * -EINVAL where `link` is neither, or has control characters, which no client sends; -ENOMEM.
 */
int request_of_link(const char *link, char **out, size_t *length);
/* Reads such a head as a worker reads a client's; see request_target_read. */
enum refusal request_of_link_read(const char *request, size_t length, const struct config *config,
                                  struct token_target *out);

#endif
