/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recognises the mistakes that people make when they sign links: each rule looks at the facts and
 * adds a sentence with the cure. Called for `link explain`, `link sign` and the admin interface.
 * Where a guess can be proved (another key, an undecoded secret), it is proved before it is told.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <uninorm.h>

#include "server/base/file_read.h"
#include "server/base/nearest.h"
#include "server/base/octets.h"
#include "server/link/link_facts.h"
#include "server/link/trust.h"

/* The year 5138 in seconds: a larger number must count milliseconds. */
#define MILLISECONDS_FROM 100000000000

static __attribute__((format(printf, 2, 3))) void hint(json_t *hints, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    json_array_append_new(hints, json_vsprintf(format, arguments));
    va_end(arguments);
}

static bool is(const struct link_facts *facts, enum token_verdict verdict)
{
    return facts->refusal == refusal_of_verdict(verdict);
}

/* ---- claims ---- */

/* The claim as a whole number, small enough for sums; 0 where it is not one. */
static json_int_t seconds_of(const struct link_facts *facts, const char *name)
{
    double value = json_number_value(json_object_get(facts->claims, name));
    return value >= 0 && value <= 9007199254740991 ? (json_int_t)value : 0;
}

/* The claim resume; where it is absent, the issuer's resume_s, which stands for it. */
static json_int_t resume_of(const struct link_facts *facts)
{
    bool is_default = facts->issuer != NULL && json_object_get(facts->claims, "resume") == NULL;
    return is_default ? (json_int_t)facts->issuer->resume_s : seconds_of(facts, "resume");
}

static void hint_times(const struct link_facts *facts, json_t *hints)
{
    static const char *const names[] = {"exp", "nbf", "iat"};
    json_int_t resume = resume_of(facts), exp = seconds_of(facts, "exp");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const json_t *value = json_object_get(facts->claims, names[i]);
        if (json_is_string(value))
            hint(hints, "%s is a string: write it as a number, without quotes", names[i]);
        else if (json_number_value(value) >= MILLISECONDS_FROM)
            hint(hints, "%s counts milliseconds: divide by 1000; it is in seconds since 1970",
                 names[i]);
    }
    if (is(facts, REFUSED_LIFETIME_TOO_LONG) &&
        exp - facts->now > (json_int_t)facts->config->link_lifetime_max_s &&
        exp < MILLISECONDS_FROM)
        hint(hints, "links may live %ju seconds here (link_lifetime_max_s)",
             (uintmax_t)facts->config->link_lifetime_max_s);
    if (resume > (json_int_t)facts->config->link_lifetime_max_s)
        hint(hints, "resume is in seconds, and %ju at most (link_lifetime_max_s)%s",
             (uintmax_t)facts->config->link_lifetime_max_s,
             resume % 1000 == 0 ? "; were these milliseconds?" : "");
    if (is(facts, REFUSED_EXPIRED) && resume > facts->now - exp)
        hint(hints,
             "ranges of a download that was begun before exp are still served, for %jd more "
             "seconds (resume)",
             (intmax_t)(exp + resume - facts->now));
    if (is(facts, REFUSED_EXPIRED))
        hint(hints, "sign a new link; if this one was signed just now, exp must be a time in "
                    "seconds since 1970, and the storefront's clock right");
    if (is(facts, REFUSED_NOT_YET_VALID))
        hint(hints, "if nbf was meant to be now, the storefront's clock runs ahead: correct it, or "
                    "allow for it with nbf_leeway_s");
}

static void hint_missing(const struct link_facts *facts, json_t *hints)
{
    static const char *const required[] = {"iss", "exp", "cdniuc", "acct"};
    for (size_t i = 0; facts->claims != NULL && i < sizeof(required) / sizeof(required[0]); i++) {
        if (json_object_get(facts->claims, required[i]) == NULL)
            hint(hints, "the claim %s is missing", required[i]);
    }
    if (json_object_get(facts->claims, "sub") != NULL)
        hint(hints,
             "sub is an encrypted claim in RFC 9246; name the account in acct, in the clear");
}

#define DIGITS_OF(n) #n
#define DIGITS(n)    DIGITS_OF(n)
#define TEXT_TO(n)   "is a string of 1 to " DIGITS(n) " bytes without control characters"
#define NUMBER_TO(n)                                                                               \
    "is a whole number of 1 to " DIGITS(n) ", without quotes; to set no limit, leave it out"
#define SECONDS "is a number of seconds since 1970, not negative, without quotes"

/* What a claim has to look like. token_verify_named says which claim does not. */
static const char *const forms[][2] = {
    {"iss", TEXT_TO(TOKEN_ISS_MAX)},
    {"acct", TEXT_TO(TOKEN_ACCOUNT_MAX)},
    {"jti", TEXT_TO(TOKEN_JTI_MAX)},
    {"filename", TEXT_TO(TOKEN_FILENAME_MAX) ", a name without slash and backslash, not . or .."},
    {"exp", SECONDS},
    {"nbf", SECONDS},
    {"iat", SECONDS},
    {"aud", "is one string or a list of strings, none of them empty"},
    {"cdniv", "is the integer 1, without quotes"},
    {"cdnicrit", "is a string of names of claims, with commas between, none empty and none twice"},
    {"cdniuc", "is a string: exact:/file.mp3, prefix:/dir/, or hash: and regex: as in RFC 9246"},
    {"max_uses", NUMBER_TO(TOKEN_USES_MAX)},
    {"max_bytes", NUMBER_TO(9007199254740991)},
    {"rate", NUMBER_TO(9007199254740991)},
    {"max_conns", NUMBER_TO(TOKEN_CONNS_MAX)},
    {"resume", NUMBER_TO(4294967295)},
    {"pace", "is a number of 1 to " DIGITS(
                 TOKEN_PACE_MAX) ", times the file's own bitrate, without quotes"},
};

static void hint_malformed(const struct link_facts *facts, json_t *hints)
{
    if (is(facts, REFUSED_JTI_MISSING))
        hint(hints, "uses are counted under the link's name: give each purchase a jti, such as its "
                    "order number");
    if (is(facts, REFUSED_CONTAINER_MALFORMED))
        hint(hints,
             "cdniuc is not a container that can be read: write exact:/file.mp3 or prefix:/dir/, "
             "or hash: and regex: as in RFC 9246");
    if (!is(facts, REFUSED_CLAIMS_MALFORMED))
        return;
    if (facts->claim == NULL)
        hint(hints, "the payload is not one JSON object in UTF-8: no member twice, no NUL, at most "
                    "8 levels deep, and no number of more than 64 bits");
    for (size_t i = 0; facts->claim != NULL && i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (strcmp(forms[i][0], facts->claim) == 0)
            hint(hints, "%s %s", facts->claim, forms[i][1]);
    }
}

/* RFC 7519 4: unknown claims are ignored, and so a misspelt limit limits nothing. */
static void hint_unknown(const struct link_facts *facts, json_t *hints)
{
    static const char *const known[] = {
        "acct",     "aud", "cdnicrit", "cdniip", "cdniets", "cdnistd", "cdnistt",   "cdniuc",
        "cdniv",    "exp", "filename", "iat",    "iss",     "jti",     "max_bytes", "max_conns",
        "max_uses", "nbf", "pace",     "rate",   "resume",  "sub"};
    enum { KNOWN = sizeof(known) / sizeof(known[0]) };
    void *iterator = json_object_iter(facts->claims);
    for (; iterator != NULL; iterator = json_object_iter_next(facts->claims, iterator)) {
        const char *name = json_object_iter_key(iterator);
        bool is_known = false;
        for (size_t i = 0; i < KNOWN; i++)
            is_known = is_known || strcmp(known[i], name) == 0;
        const char *near = is_known ? NULL : nearest_name(name, known, KNOWN);
        if (near != NULL)
            hint(hints, "no node knows the claim %.64s, so it limits nothing: did you mean %s?",
                 name, near);
    }
}

static char *join(char *const *values, unsigned count)
{
    char *joined = strdup("");
    for (unsigned i = 0; joined != NULL && i < count; i++) {
        char *longer = NULL;
        if (asprintf(&longer, "%s%s%s", joined, i > 0 ? ", " : "", values[i]) < 0)
            longer = NULL;
        free(joined);
        joined = longer;
    }
    return joined;
}

static void hint_issuer(const struct link_facts *facts, json_t *hints)
{
    if (is(facts, REFUSED_ISSUER_UNKNOWN)) {
        for (unsigned i = 0; i < facts->config->issuers_count; i++)
            hint(hints, "issuer %s is configured with iss %s", facts->config->issuers[i].id,
                 facts->config->issuers[i].iss);
    }
    if (facts->issuer == NULL)
        return;
    if (is(facts, REFUSED_AUDIENCE_MISMATCH)) {
        char *audiences = join(facts->issuer->audiences, facts->issuer->audiences_count);
        if (facts->issuer->audiences_count == 0)
            hint(hints, "issuer %s is configured without audiences: leave aud out",
                 facts->issuer->id);
        else if (audiences != NULL)
            hint(hints, "aud must be one of: %s", audiences);
        free(audiences);
    }
    if (is(facts, REFUSED_OUT_OF_ISSUER_PATHS)) {
        char *prefixes = join(facts->issuer->prefixes, facts->issuer->prefixes_count);
        if (prefixes != NULL)
            hint(hints, "issuer %s may sign for: %s (prefixes in the configuration)",
                 facts->issuer->id, prefixes);
        free(prefixes);
    }
}

/* ---- container ---- */

/* Undoes one layer of percent-encoding; false where there is none, or a bad one. */
static bool decode_once(const char *text, char *out, size_t size)
{
    size_t length = 0;
    bool escaped = false;
    for (; *text; text++) {
        if (length + 1 >= size)
            return false;
        if (*text != '%') {
            out[length++] = *text;
            continue;
        }
        int high = octet_hex_value(text[1]), low = high < 0 ? -1 : octet_hex_value(text[2]);
        if (low < 0 || (high == 0 && low == 0))
            return false;
        out[length++] = (char)(high * 16 + low);
        text += 2;
        escaped = true;
    }
    out[length] = '\0';
    return escaped;
}

/* Whether `text` is `path`, or with `prefix` its beginning, once both are in NFC. */
static bool same_when_composed(const char *text, bool prefix, const char *path)
{
    size_t lengths[2];
    uint8_t *composed[2];
    const char *const texts[2] = {text, path};
    for (size_t i = 0; i < 2; i++)
        composed[i] = u8_normalize(UNINORM_NFC, (const uint8_t *)texts[i], strlen(texts[i]), NULL,
                                   &lengths[i]);
    bool same = composed[0] != NULL && composed[1] != NULL && lengths[0] <= lengths[1] &&
                (prefix || lengths[0] == lengths[1]) &&
                memcmp(composed[0], composed[1], lengths[0]) == 0;
    free(composed[0]);
    free(composed[1]);
    return same;
}

/* Whether a container's path covers `path` as exact: or prefix: would. */
static bool covers(bool prefix, const char *container, const char *path)
{
    return prefix ? strncmp(container, path, strlen(container)) == 0 : strcmp(container, path) == 0;
}

static void hint_container(const struct link_facts *facts, json_t *hints)
{
    char decoded[TOKEN_CONTAINER_MAX + 1];
    const char *container = link_facts_string(facts->claims, "cdniuc");
    if (container == NULL)
        return;
    if (is(facts, REFUSED_CONTAINER_UNSUPPORTED) && container[0] == '/')
        hint(hints, "cdniuc is a bare path: write exact:%s", container);
    else if (is(facts, REFUSED_CONTAINER_UNSUPPORTED))
        hint(hints, "write exact:/file.mp3 or prefix:/dir/ with the path as on disk, or hash: and "
                    "regex: as in RFC 9246");
    if (facts->states[LINK_STEP_PATH] != LINK_FAILED)
        return;
    bool prefix = strncmp(container, "prefix:", 7) == 0;
    if (!prefix && strncmp(container, "exact:", 6) != 0)
        return;
    const char *value = strchr(container, ':') + 1, *path = facts->target.path;
    if (decode_once(value, decoded, sizeof(decoded)) && covers(prefix, decoded, path))
        hint(hints, "cdniuc is percent-encoded: it carries the decoded path, %s:%s",
             prefix ? "prefix" : "exact", decoded);
    else if (decode_once(path, decoded, sizeof(decoded)) && covers(prefix, value, decoded))
        hint(hints, "the URL's path is percent-encoded twice: encode it once");
    else if (same_when_composed(value, prefix, path))
        hint(hints, "the container and the path are the same letters in another Unicode form (NFC "
                    "and NFD): sign the name byte for byte as it is on disk, which `ls | od -c` "
                    "shows");
    else if (!prefix && covers(true, value, path))
        hint(hints, "exact: opens one file; to open a directory write prefix:/dir/");
}

/* ---- keys and signatures ---- */

static void hint_key(const struct link_facts *facts, json_t *hints)
{
    const char *kid = link_facts_string(facts->header, "kid");
    if (facts->keys == NULL || facts->issuer == NULL)
        return;
    for (size_t i = 0; i < key_set_count(facts->keys); i++) {
        const char *name = token_algorithm_name(key_set_algorithm(facts->keys, i));
        if (is(facts, REFUSED_KEY_UNKNOWN) || is(facts, REFUSED_KEY_ID_MISSING))
            hint(hints, "%s has the kid %s (%s)", facts->issuer->keys, key_set_kid(facts->keys, i),
                 name);
        else if (is(facts, REFUSED_ALGORITHM_REFUSED) && kid != NULL &&
                 strcmp(kid, key_set_kid(facts->keys, i)) == 0)
            hint(hints, "the key %s is an %s key: sign with alg %s", kid, name, name);
    }
}

/* Whether `jwk`, taken under the kid that the token names, signed the token; with `k` in place of
 * its own where that is not NULL. Nothing else of the token is judged. */
static bool signed_by(const struct link_facts *facts, const json_t *jwk, const char *k)
{
    bool matches = false;
    json_t *copy = json_deep_copy(jwk);
    struct key_set *keys = NULL;
    char error[16];
    json_object_set(copy, "kid", json_object_get(facts->header, "kid"));
    if (k != NULL)
        json_object_set_new(copy, "k", json_string(k));
    char *text = json_dumps(copy, JSON_COMPACT);
    if (text != NULL && key_set_parse(&keys, text, strlen(text), error, sizeof(error)) == 0) {
        const char *const prefixes[] = {"/"};
        const struct token_issuer issuer = {.id = "x",
                                            .iss = link_facts_string(facts->claims, "iss"),
                                            .keys = keys,
                                            .prefixes = prefixes,
                                            .prefix_count = 1};
        const struct token_policy policy = {.lifetime_max_s = 1, .public_origin = "http://x"};
        struct token_trust *trust = NULL;
        struct token *token = NULL;
        if (token_trust_create(&trust, &issuer, 1, &policy, error, sizeof(error)) < 0) {
            key_set_destroy(&keys);
        } else {
            enum token_verdict verdict =
                token_verify(trust, facts->target.package, facts->target.package_length, &token);
            /* The signature is verified before the claims, so any other verdict confirms it. */
            matches = verdict != REFUSED_BAD_SIGNATURE && verdict != REFUSED_ALGORITHM_REFUSED &&
                      verdict != REFUSED_KEY_UNKNOWN;
        }
        token_destroy(&token);
        token_trust_drop(&trust);
    }
    if (text != NULL)
        key_text_free(&text);
    json_decref(copy);
    return matches;
}

/* RFC 4648 5, without padding. */
static void base64url(const char *text, char *out)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t length = strlen(text);
    for (size_t i = 0; i < length; i += 3) {
        unsigned group = 0;
        size_t bytes = length - i < 3 ? length - i : 3;
        for (size_t j = 0; j < 3; j++)
            group = group << 8 | (j < bytes ? (unsigned char)text[i + j] : 0U);
        for (size_t j = 0; j <= bytes; j++)
            *out++ = letters[group >> (18 - 6 * j) & 63];
    }
    *out = '\0';
}

static void try_key(const struct link_facts *facts, const json_t *jwk, json_t *hints)
{
    const char *kid = link_facts_string(facts->header, "kid");
    const char *name = link_facts_string(jwk, "kid"), *k = link_facts_string(jwk, "k");
    if (name == NULL || kid == NULL)
        return;
    if (strcmp(name, kid) != 0 && signed_by(facts, jwk, NULL))
        hint(hints, "the key %s signed this token, but the header names %s: correct the kid", name,
             kid);
    if (k == NULL || strcmp(name, kid) != 0)
        return;
    char *encoded = malloc(strlen(k) / 3 * 4 + 8);
    if (encoded == NULL)
        return;
    base64url(k, encoded);
    if (signed_by(facts, jwk, encoded))
        hint(hints, "the token was signed with the characters of k: base64url-decode k first, the "
                    "key is the bytes that it stands for");
    explicit_bzero(encoded, strlen(encoded));
    free(encoded);
}

static void hint_signature(const struct link_facts *facts, json_t *hints)
{
    if (!is(facts, REFUSED_BAD_SIGNATURE) || facts->issuer == NULL)
        return;
    const char *alg = link_facts_string(facts->header, "alg");
    const char *dot = memrchr(facts->target.package, '.', facts->target.package_length);
    size_t length = (size_t)(facts->target.package + facts->target.package_length - dot - 1);
    /* RFC 7518 3.4: R and S, 32 bytes each. DER begins with 0x30, in base64url with M. */
    if (alg != NULL && strcmp(alg, "ES256") == 0 && length != 86 && dot[1] == 'M')
        hint(hints, "the signature is in DER: JWS needs R and S, 32 bytes each, one after the "
                    "other");
    char *text;
    size_t text_length;
    if (file_read(facts->issuer->keys, TRUST_KEYS_BYTES_MAX, &text, &text_length) < 0)
        return;
    json_t *set = json_loadb(text, text_length, 0, NULL);
    const json_t *keys = json_object_get(set, "keys");
    size_t before = json_array_size(hints);
    for (size_t i = 0; i < json_array_size(keys); i++)
        try_key(facts, json_array_get(keys, i), hints);
    if (keys == NULL && set != NULL)
        try_key(facts, set, hints);
    if (json_array_size(hints) == before)
        hint(hints,
             "no key of %s signed this token: does the storefront sign with another file, or was "
             "the token changed on its way?",
             facts->issuer->keys);
    json_decref(set);
    explicit_bzero(text, text_length);
    free(text);
}

/* ---- the link ---- */

static void hint_link(const struct link_facts *facts, json_t *hints)
{
    if (is(facts, REFUSED_TOKEN_MISSING))
        hint(
            hints,
            "the URL has no parameter %s; a node would also look for Authorization: Bearer and for "
            "a cookie of that name",
            facts->config->token_attribute);
    if (is(facts, REFUSED_TOKEN_MALFORMED))
        hint(hints,
             "was the URL cut off or changed when it was copied? A token has three parts with "
             "dots between, in base64url without =");
    if (facts->refusals[LINK_STEP_ADDRESS] == REFUSAL_PATH_INVALID) {
        char why[TOKEN_PATH_FAULT_SIZE];
        token_path_fault_write(&facts->target, why);
        hint(hints, "a node does not correct paths: %s", why);
    } else if (facts->states[LINK_STEP_ADDRESS] == LINK_FAILED) {
        hint(hints, "a node does not correct paths: encode spaces and other bytes as %%XX");
    }
}

static void hint_origin(const struct link_facts *facts, json_t *hints)
{
    if (facts->is_elsewhere)
        hint(hints,
             "the URL begins with the origin of another node: clients reach the node of this "
             "configuration at %s (public_origin); ask with the configuration of the node that the "
             "URL names, or correct public_origin",
             facts->config->public_origin);
}

json_t *link_hints(const struct link_facts *facts)
{
    json_t *hints = json_array();
    hint_unknown(facts, hints);
    hint_origin(facts, hints);
    if (facts->refusal == REFUSAL_NONE)
        return hints;
    hint_link(facts, hints);
    hint_issuer(facts, hints);
    hint_key(facts, hints);
    hint_signature(facts, hints);
    hint_missing(facts, hints);
    hint_times(facts, hints);
    hint_malformed(facts, hints);
    hint_container(facts, hints);
    return hints;
}
