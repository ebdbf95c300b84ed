/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads and judges the claims of RFC 9246 section 2.1 and our own. The verifier calls it
 * once the signature is known to be good; it never looks at the clock, which token_validate
 * does for each request.
 */
#include <math.h>
#include <string.h>

#include "tokens/claims_internal.h"
#include "tokens/container_internal.h"
#include "tokens/json_internal.h"

bool token_text_is_plain(const char *text, size_t length, size_t max)
{
    if (length == 0 || length > max)
        return false;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte < 0x20 || byte == 0x7f)
            return false;
    }
    return true;
}

/* Copies a plain string claim into `out`, of max + 1 bytes; `absent` is what its absence means. */
static enum token_verdict read_text(const json_t *claims, const char *name, char *out, size_t max,
                                    enum token_verdict absent)
{
    size_t length = 0;
    const char *text = token_json_string(claims, name, &length);

    if (json_object_get(claims, name) == NULL)
        return absent;
    if (text == NULL || !token_text_is_plain(text, length, max))
        return REFUSED_CLAIMS_MALFORMED;
    memcpy(out, text, length);
    out[length] = '\0';
    return TOKEN_OK;
}

/* Which way a time with a fraction is rounded. */
enum rounding { EARLIER, LATER };

/*
 * RFC 7519 section 2 lets a NumericDate have a fraction, and some libraries write one. It is
 * rounded so that no link lives longer: exp and iat to the second before, nbf to the second after.
 */
static enum token_verdict read_time(const json_t *claims, const char *name, enum rounding rounding,
                                    int64_t *out, enum token_verdict absent)
{
    const json_t *value = json_object_get(claims, name);

    if (value == NULL)
        return absent;
    if (json_is_real(value)) {
        double seconds = json_real_value(value);
        if (!(seconds >= 0 && seconds <= (double)TOKEN_TIME_MAX))
            return REFUSED_CLAIMS_MALFORMED;
        *out = (int64_t)(rounding == LATER ? ceil(seconds) : floor(seconds));
        return TOKEN_OK;
    }
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        json_integer_value(value) > TOKEN_TIME_MAX)
        return REFUSED_CLAIMS_MALFORMED;
    *out = json_integer_value(value);
    return TOKEN_OK;
}

enum token_verdict claims_read_iss(const json_t *claims, const char **iss)
{
    size_t length = 0;

    if (json_object_get(claims, "iss") == NULL)
        return REFUSED_CLAIM_MISSING;
    *iss = token_json_string(claims, "iss", &length);
    if (*iss == NULL || !token_text_is_plain(*iss, length, TOKEN_ISS_MAX))
        return REFUSED_CLAIMS_MALFORMED;
    return TOKEN_OK;
}

/* RFC 9246 section 2.1.8: the version is the integer 1, and so it is where the claim is absent. */
static enum token_verdict validate_version(const json_t *claims)
{
    const json_t *version = json_object_get(claims, "cdniv");

    if (version == NULL)
        return TOKEN_OK;
    if (!json_is_integer(version))
        return REFUSED_CLAIMS_MALFORMED;
    return json_integer_value(version) == 1 ? TOKEN_OK : REFUSED_VERSION_UNSUPPORTED;
}

/* Refuses claims that would have to be enforced and cannot be. A CDN that does not support them
 * must reject the request (RFC 9246 sections 2.1.2 and 2.1.10; 3.2.1 for renewal). */
static enum token_verdict validate_unsupported(const json_t *claims)
{
    static const struct {
        const char *name;
        enum token_verdict verdict;
    } unsupported[] = {
        {"cdniip", REFUSED_CLIENT_IP_UNSUPPORTED}, {"sub", REFUSED_SUBJECT_UNSUPPORTED},
        {"cdniets", REFUSED_RENEWAL_UNSUPPORTED},  {"cdnistt", REFUSED_RENEWAL_UNSUPPORTED},
        {"cdnistd", REFUSED_RENEWAL_UNSUPPORTED},
    };

    for (size_t i = 0; i < sizeof(unsupported) / sizeof(unsupported[0]); i++) {
        if (json_object_get(claims, unsupported[i].name) != NULL)
            return unsupported[i].verdict;
    }
    return TOKEN_OK;
}

/* Whether this version enforces the claim of that name. */
static bool is_enforced(const char *name, size_t length)
{
    static const char *const enforced[] = {
        "acct", "aud",       "cdnicrit",  "cdniuc",   "cdniv", "exp",  "iat",    "filename", "iss",
        "jti",  "max_bytes", "max_conns", "max_uses", "nbf",   "pace", "resume", "rate"};

    for (size_t i = 0; i < sizeof(enforced) / sizeof(enforced[0]); i++) {
        if (strlen(enforced[i]) == length && memcmp(enforced[i], name, length) == 0)
            return true;
    }
    return false;
}

/* Whether the part of the list before `before` has the name. */
static bool is_listed(const char *list, const char *before, const char *name, size_t length)
{
    while (list < before) {
        size_t other = strcspn(list, ",");
        if (other == length && memcmp(list, name, length) == 0)
            return true;
        list += other + 1;
    }
    return false;
}

/*
 * RFC 9246 section 2.1.9: names separated by commas, not empty, none twice; each must be understood
 * and enforced, or else the token must be rejected. A name of the RFC's own is a producer's mistake
 * that a recipient may ignore; it is ignored here, since those claims are enforced anyway.
 */
static enum token_verdict validate_critical(const json_t *claims)
{
    size_t length = 0;
    const char *list = token_json_string(claims, "cdnicrit", &length);
    const char *name = list;
    enum token_verdict verdict = TOKEN_OK;

    if (json_object_get(claims, "cdnicrit") == NULL)
        return TOKEN_OK;
    if (list == NULL)
        return REFUSED_CLAIMS_MALFORMED;
    for (;;) {
        size_t name_length = strcspn(name, ",");
        if (name_length == 0 || is_listed(list, name, name, name_length))
            return REFUSED_CLAIMS_MALFORMED;
        if (!is_enforced(name, name_length))
            verdict = REFUSED_CRITICAL_UNSUPPORTED;
        if (name[name_length] == '\0')
            return verdict;
        name += name_length + 1;
    }
}

/* Validates one value of aud: REFUSED_AUDIENCE_MISMATCH where it names another service. */
static enum token_verdict validate_one_audience(const json_t *value,
                                                const struct token_issuer_entry *issuer)
{
    const char *audience = json_string_value(value);

    if (audience == NULL ||
        !token_text_is_plain(audience, json_string_length(value), TOKEN_ISS_MAX))
        return REFUSED_CLAIMS_MALFORMED;
    return issuer_has_audience(issuer, audience) ? TOKEN_OK : REFUSED_AUDIENCE_MISMATCH;
}

/*
 * RFC 9246 section 2.1.3 makes aud optional, so its absence passes whatever is configured. RFC 7519
 * section 4.1.3: a string or an array of them, and where it is present it must name this service.
 */
static enum token_verdict validate_audience(const json_t *claims,
                                            const struct token_issuer_entry *issuer)
{
    const json_t *audience = json_object_get(claims, "aud");
    enum token_verdict verdict = REFUSED_AUDIENCE_MISMATCH;

    if (audience == NULL)
        return TOKEN_OK;
    if (!json_is_array(audience))
        return validate_one_audience(audience, issuer);
    if (json_array_size(audience) > TOKEN_AUDIENCES_MAX)
        return REFUSED_CLAIMS_MALFORMED;
    for (size_t i = 0; i < json_array_size(audience); i++) {
        enum token_verdict one = validate_one_audience(json_array_get(audience, i), issuer);
        if (one == REFUSED_CLAIMS_MALFORMED)
            return one;
        if (one == TOKEN_OK)
            verdict = TOKEN_OK;
    }
    return verdict;
}

/*
 * Our own claim: the name under which the file is to be saved. A name, not a path (RFC 6266 4.3).
 */
static enum token_verdict read_filename(const json_t *claims, struct token *token)
{
    enum token_verdict verdict =
        read_text(claims, "filename", token->filename, TOKEN_FILENAME_MAX, TOKEN_OK);

    if (verdict == TOKEN_OK && !token_filename_is_sound(token->filename))
        verdict = REFUSED_CLAIMS_MALFORMED;
    return verdict;
}

bool token_filename_is_sound(const char *name)
{
    return strpbrk(name, "/\\") == NULL && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/*
 * Reads a whole number from 1 to `max`, which may be spelt 5.0 or 1e6 (JSON does not tell
 * them apart, RFC 8259 section 6; some libraries write each number so). Where it is absent,
 * *out is left alone.
 */
static enum token_verdict read_limit(const json_t *claims, const char *name, uint64_t max,
                                     uint64_t *out)
{
    const json_t *value = json_object_get(claims, name);
    json_int_t limit = json_integer_value(value);

    if (value == NULL)
        return TOKEN_OK;
    if (json_is_real(value)) {
        double spelt = json_real_value(value);
        if (!(spelt >= 1 && spelt <= (double)max) || floor(spelt) < spelt)
            return REFUSED_CLAIMS_MALFORMED;
        limit = (json_int_t)spelt;
    } else if (!json_is_integer(value)) {
        return REFUSED_CLAIMS_MALFORMED;
    }
    /* A limit of 0 would be a link that opens nothing: somebody's mistake. */
    if (limit < 1 || (uint64_t)limit > max)
        return REFUSED_CLAIMS_MALFORMED;
    *out = (uint64_t)limit;
    return TOKEN_OK;
}

/* The one claim that may have a fraction: 1.5 is one and a half times the file's bitrate. */
static enum token_verdict read_pace(const json_t *claims, struct token_limits *limits)
{
    const json_t *value = json_object_get(claims, "pace");
    double pace = json_number_value(value);

    if (value == NULL)
        return TOKEN_OK;
    /* Below 1 the listener would hear gaps. JSON has no NaN. */
    if (!json_is_number(value) || pace < 1 || pace > TOKEN_PACE_MAX)
        return REFUSED_CLAIMS_MALFORMED;
    limits->pace_thousandth = (uint32_t)(pace * 1000 + 0.5);
    return TOKEN_OK;
}

static enum token_verdict read_limits(const json_t *claims, const struct token_issuer_entry *issuer,
                                      struct token_limits *limits, const char **claim)
{
    uint64_t uses = 0, conns = 0, resume = issuer->resume_s;
    const struct {
        const char *name;
        uint64_t max, *out;
    } rows[] = {
        {"max_uses", TOKEN_USES_MAX, &uses},     {"max_conns", TOKEN_CONNS_MAX, &conns},
        {"resume", UINT32_MAX, &resume},         {"max_bytes", TOKEN_TIME_MAX, &limits->max_bytes},
        {"rate", TOKEN_TIME_MAX, &limits->rate},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        enum token_verdict verdict = read_limit(claims, rows[i].name, rows[i].max, rows[i].out);
        *claim = rows[i].name;
        if (verdict != TOKEN_OK)
            return verdict;
    }
    *claim = "pace";
    limits->max_uses = (uint32_t)uses;
    limits->max_conns = (uint32_t)conns;
    limits->resume_s = (uint32_t)resume;
    return read_pace(claims, limits);
}

/* RFC 9246 section 2.1.11: the container is mandatory. */
static enum token_verdict read_container(const json_t *claims, struct token *token)
{
    size_t length = 0;
    const char *text = token_json_string(claims, "cdniuc", &length);

    if (json_object_get(claims, "cdniuc") == NULL)
        return REFUSED_CLAIM_MISSING;
    if (text == NULL)
        return REFUSED_CLAIMS_MALFORMED;
    return container_parse(&token->container, text, length);
}

/* Reads the claims that are text: acct, jti and filename. */
static enum token_verdict read_texts(const json_t *claims, struct token *token, const char **claim)
{
    enum token_verdict verdict;

    *claim = "acct";
    verdict = read_text(claims, "acct", token->account, TOKEN_ACCOUNT_MAX, REFUSED_CLAIM_MISSING);
    if (verdict != TOKEN_OK)
        return verdict;
    *claim = "jti";
    verdict = read_text(claims, "jti", token->jti, TOKEN_JTI_MAX, TOKEN_OK);
    if (verdict != TOKEN_OK)
        return verdict;
    *claim = "filename";
    return read_filename(claims, token);
}

static enum token_verdict read_times(const json_t *claims, struct token *token, const char **claim)
{
    enum token_verdict verdict;

    *claim = "exp";
    verdict = read_time(claims, "exp", EARLIER, &token->exp, REFUSED_CLAIM_MISSING);
    if (verdict != TOKEN_OK)
        return verdict;
    *claim = "nbf";
    verdict = read_time(claims, "nbf", LATER, &token->nbf, TOKEN_OK);
    if (verdict != TOKEN_OK)
        return verdict;
    *claim = "iat";
    return read_time(claims, "iat", EARLIER, &token->iat, TOKEN_OK);
}

enum token_verdict claims_read(const json_t *claims, const struct token_issuer_entry *issuer,
                               struct token *token, const char **claim)
{
    enum token_verdict verdict;

    *claim = "cdniv";
    if ((verdict = validate_version(claims)) != TOKEN_OK ||
        (verdict = validate_unsupported(claims)) != TOKEN_OK)
        return verdict;
    *claim = "cdnicrit";
    if ((verdict = validate_critical(claims)) != TOKEN_OK ||
        (verdict = read_times(claims, token, claim)) != TOKEN_OK ||
        (verdict = read_texts(claims, token, claim)) != TOKEN_OK ||
        (verdict = read_limits(claims, issuer, &token->limits, claim)) != TOKEN_OK)
        return verdict;
    *claim = "aud";
    if ((verdict = validate_audience(claims, issuer)) != TOKEN_OK)
        return verdict;
    /* Uses are counted under the jti, which outlives the token; without one, signing the link again
     * would get around the limit. */
    if (token->limits.max_uses > 0 && token->jti[0] == '\0')
        return REFUSED_JTI_MISSING;
    *claim = "cdniuc";
    return read_container(claims, token);
}
