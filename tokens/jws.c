/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes a compact JWS apart, reads its header and verifies its signature. Called by the verifier
 * and by `link explain`; it never looks at a claim and never picks a key.
 */
#include <errno.h>

#include "tokens/base64url_internal.h"
#include "tokens/json_internal.h"
#include "tokens/jws_internal.h"

enum token_verdict jws_split(const char *jws, size_t length, struct jws_parts *parts)
{
    const char *dots[4];
    size_t count = 0;

    if (length > TOKEN_LENGTH_MAX)
        return REFUSED_TOKEN_TOO_LONG;
    for (size_t i = 0; i < length; i++) {
        if (base64url_is_digit(jws[i]))
            continue;
        /* RFC 7515 section 2: no padding. It is refused here, because the signature is decoded
         * last, when the token may already have been refused for something else. */
        if (jws[i] != '.')
            return REFUSED_TOKEN_MALFORMED;
        if (count == 4)
            return REFUSED_TOKEN_MALFORMED;
        dots[count++] = jws + i;
    }
    /* RFC 7516 section 9: five parts are a JWE. */
    if (count == 4)
        return REFUSED_TOKEN_ENCRYPTED;
    if (count != 2)
        return REFUSED_TOKEN_MALFORMED;
    parts->header = jws;
    parts->header_length = (size_t)(dots[0] - jws);
    parts->payload = dots[0] + 1;
    parts->payload_length = (size_t)(dots[1] - parts->payload);
    parts->signature = dots[1] + 1;
    parts->signature_length = (size_t)(jws + length - parts->signature);
    parts->input_length = (size_t)(dots[1] - jws);
    return TOKEN_OK;
}

enum token_verdict jws_decode_object(const char *text, size_t length, enum token_verdict refusal,
                                     json_t **out)
{
    unsigned char json[BASE64URL_DECODED_SIZE_MAX(TOKEN_LENGTH_MAX)];
    size_t json_length = 0;

    *out = NULL;
    if (base64url_decode(text, length, json, sizeof(json), &json_length) != 0)
        return REFUSED_TOKEN_MALFORMED;
    *out = token_json_parse((const char *)json, json_length);
    return *out != NULL ? TOKEN_OK : refusal;
}

enum token_verdict jws_read_header(const json_t *json, struct jws_header *header)
{
    /*
     * crit and b64 change what is signed (RFC 7515 4.1.11, RFC 7797 3); the others would let the
     * token bring its own key or point to it (RFC 7515 4.1.2, 4.1.3, 4.1.5, 4.1.6; RFC 8725 3.10).
     */
    static const char *const refused[] = {"crit", "b64", "jwk", "jku", "x5c", "x5u"};
    const char *algorithm;
    size_t length = 0;

    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        if (json_object_get(json, refused[i]) != NULL)
            return REFUSED_HEADER_UNSUPPORTED;
    }
    algorithm = token_json_string(json, "alg", &length);
    if (algorithm == NULL)
        return REFUSED_HEADER_MALFORMED;
    /*
     * "none" is not one of our algorithms (RFC 8725 section 3.2), nor is a second spelling of one.
     */
    if (token_algorithm_parse(algorithm, &header->algorithm) != 0)
        return REFUSED_ALGORITHM_REFUSED;
    if (json_object_get(json, "typ") != NULL && token_json_string(json, "typ", &length) == NULL)
        return REFUSED_HEADER_MALFORMED;
    if (json_object_get(json, "kid") == NULL)
        return REFUSED_KEY_ID_MISSING;
    header->kid = token_json_string(json, "kid", &length);
    if (header->kid == NULL || length == 0 || length > TOKEN_KID_MAX)
        return REFUSED_HEADER_MALFORMED;
    return TOKEN_OK;
}

enum token_verdict jws_verify_signature(const struct jws_parts *parts, const struct key *key,
                                        const struct jws_gate *gate)
{
    /* Twice the size, so that malformed base64url of some more bytes is told from a signature of
     * another length. */
    unsigned char signature[2 * SIGNATURE_SIZE_MAX];
    size_t length = 0;
    int result = base64url_decode(parts->signature, parts->signature_length, signature,
                                  sizeof(signature), &length);

    if (result == -EINVAL)
        return REFUSED_TOKEN_MALFORMED;
    if (result != 0 || !key->can_verify)
        return REFUSED_BAD_SIGNATURE;
    if (gate->may_verify != NULL && !gate->may_verify(gate->context))
        return REFUSED_BAD_SIGNATURE;
    if (!key_verify(key, parts->header, parts->input_length, signature, length))
        return REFUSED_BAD_SIGNATURE;
    return TOKEN_OK;
}
