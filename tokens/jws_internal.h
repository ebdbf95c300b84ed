/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compact JWS (RFC 7515 section 7.1) taken apart, and its header read. verify.c and peek.c use
 * it; nothing in here may be trusted before jws_verify_signature has returned TOKEN_OK.
 */
#ifndef TOLLGATE_TOKENS_JWS_INTERNAL_H
#define TOLLGATE_TOKENS_JWS_INTERNAL_H

#include <jansson.h>

#include "tokens/key_internal.h"
#include "tokens/tokens.h"

/* The three parts as they stand in the token, still in base64url; all borrowed. */
struct jws_parts {
    const char *header;
    size_t header_length;
    const char *payload;
    size_t payload_length;
    const char *signature;
    size_t signature_length;
    size_t input_length; /* of the signing input, which begins at `header` */
};

/* Splits the token. Returns TOKEN_OK, REFUSED_TOKEN_TOO_LONG,
 * REFUSED_TOKEN_ENCRYPTED or REFUSED_TOKEN_MALFORMED. */
enum token_verdict jws_split(const char *jws, size_t length, struct jws_parts *parts);

/* Decodes the object that a part holds; the caller owns *out. Returns TOKEN_OK,
 * REFUSED_TOKEN_MALFORMED (not base64url) or `refusal` (not an acceptable JSON object). */
enum token_verdict jws_decode_object(const char *text, size_t length, enum token_verdict refusal,
                                     json_t **out);

struct jws_header {
    enum token_algorithm algorithm; /* the token's claim; the key decides */
    const char *kid;                /* borrowed from the JSON */
};

/*
 * Reads alg and kid. Returns TOKEN_OK, REFUSED_HEADER_MALFORMED, REFUSED_HEADER_UNSUPPORTED,
 * REFUSED_ALGORITHM_REFUSED or REFUSED_KEY_ID_MISSING.
 */
enum token_verdict jws_read_header(const json_t *json, struct jws_header *header);

/*
 * The callback that is asked before a signature is verified (token_verify_if); may_verify NULL:
 * none.
 */
struct jws_gate {
    bool (*may_verify)(void *context);
    void *context;
};

/* Decodes the signature part and verifies it. Returns TOKEN_OK,
 * REFUSED_TOKEN_MALFORMED or REFUSED_BAD_SIGNATURE. */
enum token_verdict jws_verify_signature(const struct jws_parts *parts, const struct key *key,
                                        const struct jws_gate *gate);

#endif
