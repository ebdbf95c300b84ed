/*
 * What the verifier needs of a trust: an issuer by its iss. Filled by trust.c, read by verify.c and
 * claims.c; immutable from creation to the last drop.
 */
#ifndef TOLLGATE_TOKENS_TRUST_INTERNAL_H
#define TOLLGATE_TOKENS_TRUST_INTERNAL_H

#include "tokens/key_internal.h"
#include "tokens/tokens.h"

struct token_issuer_entry {
    char id[TOKEN_ISSUER_ID_MAX + 1];
    char iss[TOKEN_ISS_MAX + 1];
    struct key_set *keys; /* owns */
    char **prefixes;      /* owns; each ends in no slash but the one that means everything: "" */
    size_t prefix_count;
    char **audiences; /* owns */
    size_t audience_count;
    uint32_t resume_s; /* of links that carry no resume */
};

/* The issuer of that iss, or NULL. */
const struct token_issuer_entry *trust_find_issuer(const struct token_trust *trust,
                                                   const char *iss);

/* Whether the issuer may sign for that path: beneath one of its prefixes, or the prefix itself. */
bool issuer_covers(const struct token_issuer_entry *issuer, const char *path, size_t length);
bool issuer_has_audience(const struct token_issuer_entry *issuer, const char *audience);

#endif
