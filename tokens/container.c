/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The four containers: exact: and prefix: over the decoded path, hash: and regex: over the
 * percent-encoded URI under the configured origin. They are parsed when a token is verified or
 * signed, and matched with each request; nothing here looks at a Host header.
 */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tokens/base64url_internal.h"
#include "tokens/container_internal.h"
#include "tokens/pattern_internal.h"

#define SHA256_SIZE 32

enum kind { EXACT, PREFIX, HASH, REGEX };

static const struct {
    const char *prefix;
    size_t length;
} schemes[] = {
    [EXACT] = {"exact:", 6},
    [PREFIX] = {"prefix:", 7},
    [HASH] = {"hash:", 5},
    [REGEX] = {"regex:", 6},
};

struct token_container {
    enum kind kind;
    union {
        size_t length; /* of `path`: EXACT and PREFIX */
        unsigned char digest[SHA256_SIZE];
        struct pattern *pattern; /* owns */
    } as;
    char path[]; /* no longer than needed, since each remembered link has one */
};

static enum token_verdict parse_path(struct token_container *container, const char *text,
                                     size_t length)
{
    if (length == 0 || text[0] != '/')
        return REFUSED_CONTAINER_MALFORMED;
    /* A prefix names a directory: /a would otherwise open /abc too. */
    if (container->kind == PREFIX && text[length - 1] != '/')
        return REFUSED_CONTAINER_MALFORMED;
    memcpy(container->path, text, length);
    container->as.length = length;
    return TOKEN_OK;
}

/* RFC 9246 section 2.1.15.1: the URL segment form of RFC 6920 section 5, "sha-256;" and the hash.
 */
static enum token_verdict parse_hash(struct token_container *container, const char *text,
                                     size_t length)
{
    static const char algorithm[] = "sha-256;";
    const size_t skip = sizeof(algorithm) - 1;
    size_t decoded = 0;

    if (length < skip || memcmp(text, algorithm, skip) != 0) {
        /* Other algorithms, and truncated forms of this one, are well formed, but
         * weaker or unknown. */
        return memchr(text, ';', length) != NULL ? REFUSED_CONTAINER_UNSUPPORTED
                                                 : REFUSED_CONTAINER_MALFORMED;
    }
    if (length - skip != BASE64URL_ENCODED_SIZE(SHA256_SIZE) ||
        base64url_decode(text + skip, length - skip, container->as.digest, SHA256_SIZE, &decoded) !=
            0 ||
        decoded != SHA256_SIZE)
        return REFUSED_CONTAINER_MALFORMED;
    return TOKEN_OK;
}

/*
 * RFC 9246 section 2.1.15.2: a POSIX ERE, evaluated in the POSIX locale; it must match the whole
 * URI. The C library's matcher is not used: with 2,000 bytes, "a.{100}" repeated three times took
 * it 0.6 s and 27 MB a request, which anybody with one signed link could cause.
 */
static enum token_verdict parse_regex(struct token_container *container, const char *text,
                                      size_t length)
{
    return pattern_compile(&container->as.pattern, text, length) == 0 ? TOKEN_OK
                                                                      : REFUSED_CONTAINER_MALFORMED;
}

static enum token_verdict parse_kind(struct token_container *container, const char *text,
                                     size_t length)
{
    switch (container->kind) {
    case EXACT:
    case PREFIX:
        return parse_path(container, text, length);
    case HASH:
        return parse_hash(container, text, length);
    case REGEX:
        return parse_regex(container, text, length);
    }
    return REFUSED_CONTAINER_UNSUPPORTED;
}

enum token_verdict container_parse(struct token_container **out, const char *text, size_t length)
{
    struct token_container *container;
    enum token_verdict verdict;
    size_t kind = 0;
    const size_t kinds = sizeof(schemes) / sizeof(schemes[0]);

    *out = NULL;
    if (length > TOKEN_CONTAINER_MAX)
        return REFUSED_CONTAINER_MALFORMED;
    while (kind < kinds && (length < schemes[kind].length ||
                            memcmp(text, schemes[kind].prefix, schemes[kind].length) != 0))
        kind++;
    if (kind == kinds)
        return REFUSED_CONTAINER_UNSUPPORTED;
    container = calloc(1, sizeof(*container) + length);
    if (container == NULL)
        return REFUSED_CONTAINER_MALFORMED;
    container->kind = (enum kind)kind;
    verdict = parse_kind(container, text + schemes[kind].length, length - schemes[kind].length);
    if (verdict != TOKEN_OK) {
        free(container); /* a pattern that failed to compile holds nothing */
        return verdict;
    }
    *out = container;
    return TOKEN_OK;
}

void container_destroy(struct token_container **container)
{
    if (*container == NULL)
        return;
    if ((*container)->kind == REGEX)
        pattern_destroy(&(*container)->as.pattern);
    free(*container);
    *container = NULL;
}

/* Compares the SHA-256 of the origin and the URI; false when memory runs out. */
static bool covers_hash(const struct token_container *container, const char *origin,
                        const struct token_request *request)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool equal = context != NULL && EVP_DigestInit_ex2(context, EVP_sha256(), NULL) == 1 &&
                 EVP_DigestUpdate(context, origin, strlen(origin)) == 1 &&
                 EVP_DigestUpdate(context, request->uri, request->uri_length) == 1 &&
                 EVP_DigestFinal_ex(context, digest, &length) == 1 && length == SHA256_SIZE &&
                 CRYPTO_memcmp(digest, container->as.digest, SHA256_SIZE) == 0;

    EVP_MD_CTX_free(context);
    return equal;
}

static bool covers_regex(const struct token_container *container, const char *origin,
                         const struct token_request *request)
{
    char subject[PATTERN_SUBJECT_MAX + 1];
    int length = snprintf(subject, sizeof(subject), "%s%.*s", origin, (int)request->uri_length,
                          request->uri);

    /* A match costs more with a longer URI: a URI past the bound is not covered. */
    if (length < 0 || (size_t)length >= sizeof(subject))
        return false;
    return pattern_matches(container->as.pattern, subject, (size_t)length);
}

bool container_covers(const struct token_container *container, const char *origin,
                      const struct token_request *request)
{
    switch (container->kind) {
    case EXACT:
        return request->path_length == container->as.length &&
               memcmp(request->path, container->path, container->as.length) == 0;
    case PREFIX:
        return request->path_length >= container->as.length &&
               memcmp(request->path, container->path, container->as.length) == 0;
    case HASH:
        return covers_hash(container, origin, request);
    case REGEX:
        return covers_regex(container, origin, request);
    }
    return false;
}
