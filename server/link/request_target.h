/*
 * From a request head to the path and the token in its target: the same for a client's request and
 * for a link that is explained or revoked. Pure.
 */
#ifndef TOLLGATE_SERVER_LINK_REQUEST_TARGET_H
#define TOLLGATE_SERVER_LINK_REQUEST_TARGET_H

#include <stddef.h>

#include "server/config/config.h"
#include "server/http/http_head.h"
#include "server/http/refusal.h"
#include "tokens/tokens.h"

/*
 * Takes the target apart, under the token's name `attribute`; REFUSAL_NONE, or why it is refused.
 * *out borrows the head's buffer.
 */
enum refusal request_target_read(const struct http_head *head, const char *attribute,
                                 struct token_target *out);

/*
 * The head of the GET that a client sends for a link: an http:// or https:// URL, or a path with
 * its query, to any host. *out is one whole head, which the caller frees. -EINVAL where `link` is
 * neither, or has control characters, which no client sends; -ENOMEM.
 */
int request_of_link(const char *link, char **out, size_t *length);
/* Reads it as a worker reads a client's; see request_target_read. */
enum refusal request_of_link_read(const char *request, size_t length, const struct config *config,
                                  struct token_target *out);

#endif
