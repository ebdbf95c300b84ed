/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verifier: it turns a compact JWS into a token with validated claims, or into the reason for
 * refusing it; and it validates such a token against a request and the time. The server's admission
 * and the command line call it. It never remembers a token: caching is its caller's.
 */
#include <stdio.h>
#include <stdlib.h>

#include "server/base/check.h"
#include "tokens/claims_internal.h"
#include "tokens/container_internal.h"
#include "tokens/jws_internal.h"
#include "tokens/trust_internal.h"

#define IAT_AHEAD_S 60 /* a storefront's clock may run so much ahead */

/* Picks the key by iss and kid and verifies the signature with it. The iss cannot be trusted yet:
 * it only says whose keys to try (RFC 9246 section 2.1.1), and a lie ends in BAD_SIGNATURE. */
static enum token_verdict authenticate(const struct token_trust *trust,
                                       const struct jws_parts *parts,
                                       const struct jws_header *header, const json_t *claims,
                                       const struct jws_gate *gate,
                                       const struct token_issuer_entry **issuer)
{
    const struct key *key;
    const char *iss = NULL;
    enum token_verdict verdict = claims_read_iss(claims, &iss);

    if (verdict != TOKEN_OK)
        return verdict;
    *issuer = trust_find_issuer(trust, iss);
    if (*issuer == NULL)
        return REFUSED_ISSUER_UNKNOWN;
    key = key_set_find((*issuer)->keys, header->kid);
    if (key == NULL)
        return REFUSED_KEY_UNKNOWN;
    /* RFC 8725 section 3.1: the key, not the token, decides the algorithm, before the signature is
     * looked at. */
    if (key->algorithm != header->algorithm)
        return REFUSED_ALGORITHM_REFUSED;
    return jws_verify_signature(parts, key, gate);
}

static enum token_verdict read_token(const struct token_issuer_entry *issuer, const char *kid,
                                     const json_t *claims, bool single_use, struct token **out,
                                     const char **claim)
{
    struct token *token = calloc(1, sizeof(*token));
    enum token_verdict verdict;

    if (token == NULL)
        return REFUSED_TOKEN_MALFORMED; /* out of memory: refused, not let in */
    token->issuer = issuer;
    token->issuer_id = issuer->id;
    (void)snprintf(token->kid, sizeof(token->kid), "%s", kid); /* a key has this kid, so it fits */
    verdict = claims_read(claims, issuer, token, claim);
    /* RFC 9246 section 2.1.7: a token with a jti must not be used twice. */
    if (single_use && token->jti[0] != '\0' && token->limits.max_uses == 0)
        token->limits.max_uses = 1;
    if (verdict != TOKEN_OK) {
        token_destroy(&token);
        return verdict;
    }
    *out = token;
    return TOKEN_OK;
}

static enum token_verdict verify(const struct token_trust *trust, const char *jws, size_t length,
                                 const struct jws_gate *gate, struct token **out,
                                 const char **claim)
{
    struct jws_parts parts;
    struct jws_header header;
    const struct token_issuer_entry *issuer = NULL;
    json_t *header_json = NULL;
    json_t *claims = NULL;
    enum token_verdict verdict;

    *out = NULL;
    *claim = NULL;
    verdict = jws_split(jws, length, &parts);
    if (verdict != TOKEN_OK)
        return verdict;
    verdict = jws_decode_object(parts.header, parts.header_length, REFUSED_HEADER_MALFORMED,
                                &header_json);
    if (verdict == TOKEN_OK)
        verdict = jws_read_header(header_json, &header);
    if (verdict == TOKEN_OK)
        verdict = jws_decode_object(parts.payload, parts.payload_length, REFUSED_CLAIMS_MALFORMED,
                                    &claims);
    if (verdict == TOKEN_OK) {
        *claim = "iss";
        verdict = authenticate(trust, &parts, &header, claims, gate, &issuer);
    }
    if (verdict == TOKEN_OK)
        verdict = read_token(issuer, header.kid, claims, token_trust_policy(trust)->jti_single_use,
                             out, claim);
    if (verdict != REFUSED_CLAIMS_MALFORMED)
        *claim = NULL;
    json_decref(claims);
    json_decref(header_json);
    return verdict;
}

enum token_verdict token_verify(const struct token_trust *trust, const char *jws, size_t length,
                                struct token **out)
{
    return token_verify_if(trust, jws, length, out, NULL, NULL);
}

enum token_verdict token_verify_named(const struct token_trust *trust, const char *jws,
                                      size_t length, struct token **out, const char **claim)
{
    static const struct jws_gate open = {NULL, NULL};

    return verify(trust, jws, length, &open, out, claim);
}

enum token_verdict token_verify_if(const struct token_trust *trust, const char *jws, size_t length,
                                   struct token **out, bool (*may_verify)(void *context),
                                   void *context)
{
    const struct jws_gate gate = {may_verify, context};
    const char *claim;

    return verify(trust, jws, length, &gate, out, &claim);
}

void token_destroy(struct token **token)
{
    if (*token == NULL)
        return;
    container_destroy(&(*token)->container);
    free(*token);
    *token = NULL;
}

/* Times are compared without sums that could overflow: exp and nbf are below 2^53, `now`
 * may be anything. */
static enum token_verdict validate_times(const struct token_policy *policy,
                                         const struct token *token, int64_t now)
{
    if (now < 0)
        now = 0;
    if ((token->exp > now && token->exp - now > (int64_t)policy->lifetime_max_s) ||
        token->limits.resume_s > policy->lifetime_max_s)
        return REFUSED_LIFETIME_TOO_LONG;
    /* RFC 9246 section 2.1.5 allows no leeway; the policy's is an operator's decision. */
    if (token->nbf > now && token->nbf - now > (int64_t)policy->nbf_leeway_s)
        return REFUSED_NOT_YET_VALID;
    /* A later iat would escape each revocation by iat. RFC 7519 section 4.1.6 leaves that judgement
     * to the application. */
    if (token->iat > token_iat_max(policy, now))
        return REFUSED_ISSUED_AHEAD;
    /* RFC 9246 section 2.1.4: refused from the second of exp on, without leeway. */
    if (now >= token->exp && now - token->exp >= (int64_t)token->limits.resume_s)
        return REFUSED_EXPIRED;
    return TOKEN_OK;
}

int64_t token_iat_max(const struct token_policy *policy, int64_t now)
{
    int64_t ahead = IAT_AHEAD_S + (int64_t)policy->nbf_leeway_s;

    return now > INT64_MAX - ahead ? INT64_MAX : now + ahead;
}

int64_t token_ends_at(const struct token *token)
{
    return token->exp + (int64_t)token->limits.resume_s; /* below 2^53 + 2^32: no overflow */
}

bool token_is_resuming(const struct token *token, int64_t now)
{
    return now >= token->exp;
}

bool token_is_live(const struct token_trust *trust, const struct token *token)
{
    const struct token_issuer_entry *issuer = trust_find_issuer(trust, token->issuer->iss);
    if (issuer == token->issuer) /* nothing was read since the token was verified with it */
        return true;
    const struct key *now = issuer != NULL ? key_set_find(issuer->keys, token->kid) : NULL;
    const struct key *then = key_set_find(token->issuer->keys, token->kid);

    return now != NULL && then != NULL && key_is_same(now, then);
}

enum token_verdict token_validate(const struct token_trust *trust, const struct token *token,
                                  const struct token_request *request, int64_t now)
{
    const struct token_policy *policy = token_trust_policy(trust);
    enum token_verdict verdict = validate_times(policy, token, now);

    check(request->path_length > 0 && request->path[0] == '/');
    if (verdict != TOKEN_OK)
        return verdict;
    if (!container_covers(token->container, policy->public_origin, request))
        return REFUSED_OUT_OF_CONTAINER;
    if (!issuer_covers(token->issuer, request->path, request->path_length))
        return REFUSED_OUT_OF_ISSUER_PATHS;
    return TOKEN_OK;
}
