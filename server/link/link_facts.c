/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Judges a link as a node would, step by step, by the very functions that the node uses. Called by
 * `link explain`, the admin interface and `link sign`. It asks neither Redis nor a node, and keeps
 * judging after a failure where that tells more.
 */
#include "server/link/link_facts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/link/request_target.h"
#include "server/link/trust.h"

const char *link_facts_string(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

/* The step that fails with a verdict. */
static enum link_step step_of(const struct link_facts *facts, enum token_verdict verdict)
{
    switch (verdict) {
    case REFUSED_TOKEN_MISSING:
    case REFUSED_TOKEN_AMBIGUOUS:
    case REFUSED_TOKEN_TOO_LONG:
    case REFUSED_TOKEN_MALFORMED:
    case REFUSED_TOKEN_ENCRYPTED:
        return LINK_STEP_TOKEN;
    case REFUSED_HEADER_MALFORMED:
    case REFUSED_HEADER_UNSUPPORTED:
    case REFUSED_KEY_ID_MISSING:
        return LINK_STEP_HEADER;
    case REFUSED_ISSUER_UNKNOWN:
        return LINK_STEP_ISSUER;
    case REFUSED_KEY_UNKNOWN:
        return LINK_STEP_KEY;
    case REFUSED_ALGORITHM_REFUSED:
        /* An alg that no key can have is refused with the header, before the issuer is known. */
        return facts->issuer != NULL && facts->keys != NULL ? LINK_STEP_KEY : LINK_STEP_HEADER;
    case REFUSED_BAD_SIGNATURE:
        return LINK_STEP_SIGNATURE;
    case REFUSED_EXPIRED:
    case REFUSED_NOT_YET_VALID:
    case REFUSED_LIFETIME_TOO_LONG:
    case REFUSED_ISSUED_AHEAD:
        return LINK_STEP_TIMES;
    case REFUSED_OUT_OF_CONTAINER:
    case REFUSED_OUT_OF_ISSUER_PATHS:
        return LINK_STEP_PATH;
    case REFUSED_CLAIMS_MALFORMED:
    case REFUSED_CLAIM_MISSING:
        /* Without a readable iss no key could be chosen, so the signature was never looked at. */
        return link_facts_string(facts->claims, "iss") != NULL ? LINK_STEP_CLAIMS
                                                               : LINK_STEP_ISSUER;
    case REFUSED_AUDIENCE_MISMATCH:
    case REFUSED_VERSION_UNSUPPORTED:
    case REFUSED_CRITICAL_UNSUPPORTED:
    case REFUSED_CLIENT_IP_UNSUPPORTED:
    case REFUSED_SUBJECT_UNSUPPORTED:
    case REFUSED_RENEWAL_UNSUPPORTED:
    case REFUSED_JTI_MISSING:
    case REFUSED_CONTAINER_UNSUPPORTED:
    case REFUSED_CONTAINER_MALFORMED:
    case TOKEN_OK:
    case TOKEN_VERDICT_COUNT:
        break;
    }
    return LINK_STEP_CLAIMS;
}

static void fail(struct link_facts *facts, enum link_step step, enum refusal refusal)
{
    facts->states[step] = LINK_FAILED;
    facts->refusals[step] = refusal;
    if (facts->refusal == REFUSAL_NONE)
        facts->refusal = refusal;
}

static void pass_until(struct link_facts *facts, enum link_step step)
{
    for (int i = 0; i < (int)step; i++)
        facts->states[i] = LINK_PASSED;
}

static bool judge_address(struct link_facts *facts)
{
    enum refusal refusal =
        request_of_link_read(facts->request, facts->request_length, facts->config, &facts->target);
    enum link_step step = LINK_STEP_ADDRESS;
    if (refusal == refusal_of_verdict(REFUSED_TOKEN_AMBIGUOUS)) {
        step = LINK_STEP_TOKEN;
    } else if (refusal == REFUSAL_NONE && facts->target.package == NULL) {
        step = LINK_STEP_TOKEN;
        refusal = refusal_of_verdict(REFUSED_TOKEN_MISSING);
    }
    pass_until(facts, step);
    if (refusal == REFUSAL_NONE)
        facts->states[LINK_STEP_ADDRESS] = LINK_PASSED;
    else
        fail(facts, step, refusal);
    return refusal == REFUSAL_NONE;
}

static json_t *parse_json(char *text)
{
    json_t *json = text != NULL ? json_loads(text, 0, NULL) : NULL;
    free(text);
    if (json != NULL && !json_is_object(json)) {
        json_decref(json);
        json = NULL;
    }
    return json;
}

static void read_unverified(struct link_facts *facts)
{
    char *header = NULL, *claims = NULL, error[16];
    token_peek(facts->target.package, facts->target.package_length, &header, &claims);
    facts->header = parse_json(header);
    facts->claims = parse_json(claims);
    const char *iss = link_facts_string(facts->claims, "iss");
    for (unsigned i = 0; iss != NULL && i < facts->config->issuers_count; i++) {
        if (strcmp(facts->config->issuers[i].iss, iss) == 0)
            facts->issuer = &facts->config->issuers[i];
    }
    /* trust_load has read the file before: a failure now only hides hints. */
    if (facts->issuer != NULL)
        trust_keys_load(facts->issuer->keys, &facts->keys, error, sizeof(error));
}

static void judge_request(struct link_facts *facts, const struct token_trust *trust,
                          const struct token *token)
{
    const struct token_request request = {
        .path = facts->target.path,
        .path_length = facts->target.path_length,
        .uri = facts->target.uri,
        .uri_length = facts->target.uri_length,
    };
    enum token_verdict verdict = token_validate(trust, token, &request, facts->now);
    if (verdict == TOKEN_OK || step_of(facts, verdict) == LINK_STEP_PATH)
        facts->states[LINK_STEP_TIMES] = LINK_PASSED;
    else
        fail(facts, LINK_STEP_TIMES, refusal_of_verdict(verdict));
    /* Whether the path fits is worth knowing of an expired link, too, so it is judged as of the
     * last second of the link. */
    if (facts->states[LINK_STEP_TIMES] == LINK_FAILED)
        verdict = token_validate(trust, token, &request, token->exp - 1);
    else if (token_is_resuming(token, facts->now))
        fail(facts, LINK_STEP_TIMES, refusal_of_verdict(REFUSED_EXPIRED));
    if (verdict == TOKEN_OK)
        facts->states[LINK_STEP_PATH] = LINK_PASSED;
    else if (step_of(facts, verdict) == LINK_STEP_PATH)
        fail(facts, LINK_STEP_PATH, refusal_of_verdict(verdict));
}

int link_facts_create(struct link_facts **out, const struct config *config,
                      const struct token_trust *trust, const char *link, int64_t now)
{
    size_t length = 0;
    char *request;
    int status = request_of_link(link, &request, &length);
    *out = NULL;
    if (status != 0)
        return status;
    struct link_facts *facts = calloc(1, sizeof(*facts));
    if (facts == NULL) {
        free(request);
        return -ENOMEM;
    }
    facts->request = request;
    facts->request_length = length;
    facts->config = config;
    facts->now = now;
    facts->is_elsewhere = link_is_elsewhere(config, link);
    *out = facts;
    if (!judge_address(facts))
        return 0;
    read_unverified(facts);
    struct token *token = NULL;
    enum token_verdict verdict = token_verify_named(
        trust, facts->target.package, facts->target.package_length, &token, &facts->claim);
    if (verdict != TOKEN_OK) {
        pass_until(facts, step_of(facts, verdict));
        fail(facts, step_of(facts, verdict), refusal_of_verdict(verdict));
        return 0;
    }
    pass_until(facts, LINK_STEP_TIMES);
    judge_request(facts, trust, token);
    token_destroy(&token);
    return 0;
}

void link_facts_destroy(struct link_facts **facts)
{
    if (*facts == NULL)
        return;
    json_decref((*facts)->header);
    json_decref((*facts)->claims);
    key_set_destroy(&(*facts)->keys);
    free((*facts)->request);
    free(*facts);
    *facts = NULL;
}
