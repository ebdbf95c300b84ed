/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows what a token says, without believing any of it. Only `link explain` calls it; nothing that
 * decides about a request may.
 */
#include "tokens/jws_internal.h"

static char *print(const json_t *json)
{
    /* ASCII and escapes only: a stranger's text must not steer a terminal. */
    return json_dumps(json, JSON_INDENT(2) | JSON_ENSURE_ASCII);
}

enum token_verdict token_peek(const char *jws, size_t length, char **header_json,
                              char **claims_json)
{
    struct jws_parts parts;
    struct jws_header header;
    json_t *header_object = NULL;
    json_t *claims_object = NULL;
    enum token_verdict verdict;
    enum token_verdict claims_verdict;

    *header_json = *claims_json = NULL;
    verdict = jws_split(jws, length, &parts);
    if (verdict != TOKEN_OK)
        return verdict;
    verdict = jws_decode_object(parts.header, parts.header_length, REFUSED_HEADER_MALFORMED,
                                &header_object);
    if (verdict == TOKEN_OK) {
        *header_json = print(header_object);
        verdict = jws_read_header(header_object, &header);
    }
    claims_verdict = jws_decode_object(parts.payload, parts.payload_length,
                                       REFUSED_CLAIMS_MALFORMED, &claims_object);
    if (claims_verdict == TOKEN_OK)
        *claims_json = print(claims_object);
    json_decref(header_object);
    json_decref(claims_object);
    return verdict != TOKEN_OK ? verdict : claims_verdict;
}
