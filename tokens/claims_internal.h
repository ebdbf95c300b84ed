/*
 * The claims set of a token whose signature has been checked, read into a struct token. Used by
 * verify.c; the iss alone is read earlier, to find the key.
 */
#ifndef TOLLGATE_TOKENS_CLAIMS_INTERNAL_H
#define TOLLGATE_TOKENS_CLAIMS_INTERNAL_H

#include <jansson.h>

#include "tokens/tokens.h"
#include "tokens/trust_internal.h"

#define TOKEN_TIME_MAX 9007199254740991 /* 2^53 - 1: what every JSON library holds exactly */

/* The iss, borrowed from the JSON: REFUSED_CLAIM_MISSING or REFUSED_CLAIMS_MALFORMED where it is
 * not. */
enum token_verdict claims_read_iss(const json_t *claims, const char **iss);

/*
 * Everything but iss. On TOKEN_OK the token owns its container; else *claim is the name of the claim
 * that was looked at last, a constant.
 */
enum token_verdict claims_read(const json_t *claims, const struct token_issuer_entry *issuer,
                               struct token *token, const char **claim);

/* No slash, no backslash, not a dot-segment; the rest is token_text_is_plain's. */
bool token_filename_is_sound(const char *name);

#endif
