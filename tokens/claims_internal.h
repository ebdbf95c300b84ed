/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The claims set of a token whose signature was verified, read into a struct token. verify.c uses
 * it, and reads iss alone earlier, to find the key. It never judges a time.
 */
#ifndef TOLLGATE_TOKENS_CLAIMS_INTERNAL_H
#define TOLLGATE_TOKENS_CLAIMS_INTERNAL_H

#include <jansson.h>

#include "tokens/tokens.h"
#include "tokens/trust_internal.h"

#define TOKEN_TIME_MAX 9007199254740991 /* 2^53 - 1: what every JSON library holds exactly */

/*
 * Reads iss, borrowed from the JSON. TOKEN_OK, REFUSED_CLAIM_MISSING or REFUSED_CLAIMS_MALFORMED.
 */
enum token_verdict claims_read_iss(const json_t *claims, const char **iss);

/* Reads all claims but iss. On TOKEN_OK the token owns its container; otherwise *claim is the name
 * of the claim that was looked at last, a constant. */
enum token_verdict claims_read(const json_t *claims, const struct token_issuer_entry *issuer,
                               struct token *token, const char **claim);

/* Whether a file name has no slash, no backslash and is not a dot-segment; token_text_is_plain
 * validates the rest. */
bool token_filename_is_sound(const char *name);

#endif
