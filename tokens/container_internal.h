/*
 * URI containers (RFC 9246 sections 2.1.11 and 2.1.15): what a token says it opens. Parsed once,
 * when the token is verified or signed; matched at each request. Immutable, and knows nothing of
 * tokens.
 */
#ifndef TOLLGATE_TOKENS_CONTAINER_INTERNAL_H
#define TOLLGATE_TOKENS_CONTAINER_INTERNAL_H

#include "tokens/tokens.h"

/* Returns TOKEN_OK, REFUSED_CONTAINER_UNSUPPORTED or REFUSED_CONTAINER_MALFORMED. */
enum token_verdict container_parse(struct token_container **out, const char *text, size_t length);
void container_destroy(struct token_container **container);

/* `origin` is the policy's, in normal form. */
bool container_covers(const struct token_container *container, const char *origin,
                      const struct token_request *request);

#endif
