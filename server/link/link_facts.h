/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be known of a link from the configuration alone, collected once for `link explain`,
 * `link sign` and the admin interface, which give it as text or as JSON. Hints and report never
 * hold the token itself.
 */
#ifndef TOLLGATE_SERVER_LINK_LINK_FACTS_H
#define TOLLGATE_SERVER_LINK_LINK_FACTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/config/config.h"
#include "server/http/refusal.h"
#include "tokens/tokens.h"

/* X(name, word, what passing it means): the steps of a node's judgement, in its order. */
#define LINK_STEPS(X)                                                                              \
    X(ADDRESS, "address", "the path can be read")                                                  \
    X(TOKEN, "token", "one token, a signed JWS in compact form")                                   \
    X(HEADER, "header", "it has alg and kid, and no member that is refused")                       \
    X(ISSUER, "issuer", "iss is a configured issuer")                                              \
    X(KEY, "key", "the issuer's key set has the kid, for this alg")                                \
    X(SIGNATURE, "signature", "the key signed this token")                                         \
    X(CLAIMS, "claims", "the known ones are well formed and enforced")                             \
    X(TIMES, "times", "nbf and iat have come, exp has not, and is not too far away")               \
    X(PATH, "path", "the container covers the path, and the issuer may sign for it")

enum link_step {
#define X(name, word, text) LINK_STEP_##name,
    LINK_STEPS(X)
#undef X
        LINK_STEP_COUNT
};

enum link_state { LINK_NOT_REACHED, LINK_PASSED, LINK_FAILED };

struct link_facts {
    const struct config *config; /* borrows */
    int64_t now;                 /* seconds since 1970 */
    bool is_elsewhere;           /* see link_is_elsewhere */
    char *request;               /* owns: the head that a client would send */
    size_t request_length;
    struct token_target target;         /* .package borrows the request */
    json_t *header, *claims;            /* owns; NULL where they cannot be read */
    const struct config_issuer *issuer; /* borrows; NULL where iss names none */
    struct key_set *keys;               /* owns; the issuer's */
    const char *claim;                  /* name of the malformed claim, static; NULL: none is */
    enum refusal refusal;               /* REFUSAL_NONE: the token by itself admits the link */
    enum link_state states[LINK_STEP_COUNT];
    enum refusal refusals[LINK_STEP_COUNT]; /* why a step failed */
};

/*
 * Judges a link as of `now` (seconds since 1970): an http:// or https:// URL, or a path with its
 * query. *out is the caller's and borrows `config`. 0, -EINVAL where `link` is neither, or -ENOMEM.
 */
int link_facts_create(struct link_facts **out, const struct config *config,
                      const struct token_trust *trust, const char *link, int64_t now);
void link_facts_destroy(struct link_facts **facts);

/* A claim or header member that is a string, borrowed; NULL where it is absent or not a string. */
const char *link_facts_string(const json_t *object, const char *name);

/* Whether the link is a URL whose scheme, host and port lead to another node than this one. */
bool link_is_elsewhere(const struct config *config, const char *link);

/* The link's mistakes, each a sentence with the cure: a JSON array of strings, the caller's. */
json_t *link_hints(const struct link_facts *facts);

/* The whole verdict as one JSON object; `hints` is borrowed. NULL without memory. */
json_t *link_report(const struct link_facts *facts, json_t *hints);

#endif
