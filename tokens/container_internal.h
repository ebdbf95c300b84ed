/* SPDX-License-Identifier: Apache-2.0 */
/*
 * URI containers (RFC 9246 sections 2.1.11 and 2.1.15): what a token says it opens. Parsed once,
 * when the token is verified or signed; matched at each request. Immutable, and never looks at the
 * token itself.
 */
#ifndef TOLLGATE_TOKENS_CONTAINER_INTERNAL_H
#define TOLLGATE_TOKENS_CONTAINER_INTERNAL_H

#include "tokens/tokens.h"

/* Parses the text of cdniuc. On TOKEN_OK the caller owns *out; otherwise it is NULL and the verdict
 * is REFUSED_CONTAINER_UNSUPPORTED or REFUSED_CONTAINER_MALFORMED (also where memory runs out). */
enum token_verdict container_parse(struct token_container **out, const char *text, size_t length);
void container_destroy(struct token_container **container);

/* Whether the container covers the request; `origin` is the policy's, in normal form. False also
 * when memory runs out. */
bool container_covers(const struct token_container *container, const char *origin,
                      const struct token_request *request);

#endif
