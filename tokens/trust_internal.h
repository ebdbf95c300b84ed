/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the verifier needs of a trust: an issuer by its iss. trust.c fills it, verify.c and claims.c
 * read it; it never changes between its creation and the last drop.
 */
#ifndef TOLLGATE_TOKENS_TRUST_INTERNAL_H
#define TOLLGATE_TOKENS_TRUST_INTERNAL_H

#include "tokens/key_internal.h"
#include "tokens/tokens.h"

struct token_issuer_entry {
    char id[TOKEN_ISSUER_ID_MAX + 1];
    char iss[TOKEN_ISS_MAX + 1];
    struct key_set *keys; /* owns */
    char **prefixes;      /* owns; without a slash at the end; "" covers everything */
    size_t prefix_count;
    char **audiences; /* owns */
    size_t audience_count;
    uint32_t resume_s; /* `resume` of tokens that carry none */
};

/* The issuer with this iss, or NULL. */
const struct token_issuer_entry *trust_find_issuer(const struct token_trust *trust,
                                                   const char *iss);

/* Whether the issuer may sign for this path: one of its prefixes, or a path beneath one. */
bool issuer_covers(const struct token_issuer_entry *issuer, const char *path, size_t length);
bool issuer_has_audience(const struct token_issuer_entry *issuer, const char *audience);

#endif
