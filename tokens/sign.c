/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signs tokens: claims in, a compact JWS out, within the very bounds that the verifier holds.
 * Called by the command line and the bench harness; the server itself never signs.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "tokens/base64url_internal.h"
#include "tokens/claims_internal.h"
#include "tokens/container_internal.h"
#include "tokens/jws_internal.h"

static const struct key *find_signer(const struct key_set *keys, const char *kid)
{
    for (size_t i = 0; i < keys->count; i++) {
        if (keys->keys[i].can_sign && (kid == NULL || strcmp(keys->keys[i].kid, kid) == 0))
            return &keys->keys[i];
    }
    return NULL;
}

static bool is_plain_or_null(const char *text, size_t max)
{
    return text == NULL || token_text_is_plain(text, strlen(text), max);
}

static bool is_time(int64_t seconds)
{
    return seconds >= 0 && seconds <= TOKEN_TIME_MAX;
}

static bool are_limits(const struct token_claims *claims)
{
    const struct token_limits *limits = &claims->limits;

    return limits->max_uses <= TOKEN_USES_MAX && limits->max_conns <= TOKEN_CONNS_MAX &&
           limits->max_bytes <= TOKEN_TIME_MAX && limits->rate <= TOKEN_TIME_MAX &&
           (limits->pace_thousandth == 0 || limits->pace_thousandth >= 1000) &&
           limits->pace_thousandth <= TOKEN_PACE_MAX * 1000 &&
           (limits->max_uses == 0 || claims->jti != NULL);
}

/* Claims that the verifier would refuse are not signed: the mistake shows here and not
 * at a listener's. */
static bool is_sound(const struct token_claims *claims)
{
    struct token_container *container = NULL;
    bool sound =
        claims->iss != NULL && is_plain_or_null(claims->iss, TOKEN_ISS_MAX) &&
        claims->account != NULL && is_plain_or_null(claims->account, TOKEN_ACCOUNT_MAX) &&
        is_plain_or_null(claims->jti, TOKEN_JTI_MAX) &&
        is_plain_or_null(claims->filename, TOKEN_FILENAME_MAX) &&
        (claims->filename == NULL || token_filename_is_sound(claims->filename)) &&
        is_plain_or_null(claims->audience, TOKEN_ISS_MAX) && claims->exp > 0 &&
        is_time(claims->exp) && is_time(claims->nbf) && is_time(claims->iat) &&
        are_limits(claims) && claims->container != NULL &&
        container_parse(&container, claims->container, strlen(claims->container)) == TOKEN_OK;

    container_destroy(&container);
    return sound;
}

/* Adds a string unless it is NULL. json_string refuses text that is not UTF-8. */
static int add_text(json_t *object, const char *name, const char *text)
{
    if (text == NULL)
        return 0;
    return json_object_set_new(object, name, json_string(text)) == 0 ? 0 : -EINVAL;
}

/* Adds a time or a limit unless it is 0, which means none. */
static int add_number(json_t *object, const char *name, uint64_t number)
{
    if (number == 0)
        return 0;
    return json_object_set_new(object, name, json_integer((json_int_t)number)) == 0 ? 0 : -ENOMEM;
}

static int add_limits(json_t *json, const struct token_limits *limits)
{
    uint32_t pace = limits->pace_thousandth;
    int result;

    if ((result = add_number(json, "max_uses", limits->max_uses)) == 0 &&
        (result = add_number(json, "max_bytes", limits->max_bytes)) == 0 &&
        (result = add_number(json, "rate", limits->rate)) == 0 &&
        (result = add_number(json, "max_conns", limits->max_conns)) == 0)
        result = add_number(json, "resume", limits->resume_s);
    if (result == 0 && pace % 1000 == 0)
        return add_number(json, "pace", pace / 1000);
    if (result == 0 && json_object_set_new(json, "pace", json_real(pace / 1000.0)) != 0)
        result = -ENOMEM;
    return result;
}

/* The text of the object, which it drops; NULL without memory. */
static char *print(json_t *object)
{
    char *text = json_dumps(object, JSON_COMPACT);

    json_decref(object);
    return text;
}

static int make_header(const struct key *key, char **out)
{
    json_t *header = json_object();
    int result;

    if (header == NULL)
        return -ENOMEM;
    if ((result = add_text(header, "alg", token_algorithm_name(key->algorithm))) == 0 &&
        (result = add_text(header, "kid", key->kid)) == 0)
        result = add_text(header, "typ", "JWT");
    if (result != 0) {
        json_decref(header);
        return result;
    }
    *out = print(header);
    return *out != NULL ? 0 : -ENOMEM;
}

static int make_claims(const struct token_claims *claims, char **out)
{
    json_t *json = json_object();
    int result;

    if (json == NULL)
        return -ENOMEM;
    if ((result = add_text(json, "iss", claims->iss)) == 0 &&
        (result = add_text(json, "aud", claims->audience)) == 0 &&
        (result = add_number(json, "exp", (uint64_t)claims->exp)) == 0 &&
        (result = add_number(json, "nbf", (uint64_t)claims->nbf)) == 0 &&
        (result = add_number(json, "iat", (uint64_t)claims->iat)) == 0 &&
        (result = add_text(json, "jti", claims->jti)) == 0 &&
        (result = add_text(json, "filename", claims->filename)) == 0 &&
        (result = add_limits(json, &claims->limits)) == 0 &&
        (result = add_text(json, "cdniuc", claims->container)) == 0)
        result = add_text(json, "acct", claims->account);
    if (result != 0) {
        json_decref(json);
        return result;
    }
    *out = print(json);
    return *out != NULL ? 0 : -ENOMEM;
}

/* Puts header, claims and signature together (RFC 7515 section 5.1). */
static int assemble(const struct key *key, const char *header, const char *payload, char **out)
{
    unsigned char signature[SIGNATURE_SIZE_MAX];
    size_t signature_length = 0;
    size_t length = strlen(header);
    size_t claims_length = strlen(payload);
    size_t input_length =
        BASE64URL_ENCODED_SIZE(length) + 1 + BASE64URL_ENCODED_SIZE(claims_length);
    char *jws;
    int result;

    if (input_length + 1 + BASE64URL_ENCODED_SIZE(sizeof(signature)) > TOKEN_LENGTH_MAX)
        return -EINVAL;
    jws = malloc(input_length + 1 + BASE64URL_ENCODED_SIZE(sizeof(signature)) + 1);
    if (jws == NULL)
        return -ENOMEM;
    length = base64url_encode((const unsigned char *)header, length, jws);
    jws[length++] = '.';
    length += base64url_encode((const unsigned char *)payload, claims_length, jws + length);
    result = key_sign(key, jws, length, signature, &signature_length);
    if (result != 0) {
        free(jws);
        return result;
    }
    jws[length++] = '.';
    base64url_encode(signature, signature_length, jws + length);
    *out = jws;
    return 0;
}

int token_sign(const struct key_set *keys, const char *kid, const struct token_claims *claims,
               char **jws)
{
    const struct key *key = find_signer(keys, kid);
    char *header = NULL;
    char *payload = NULL;
    int result;

    *jws = NULL;
    if (key == NULL)
        return -ENOKEY;
    if (!is_sound(claims))
        return -EINVAL;
    if ((result = make_header(key, &header)) == 0 && (result = make_claims(claims, &payload)) == 0)
        result = assemble(key, header, payload, jws);
    free(header);
    free(payload);
    return result;
}
