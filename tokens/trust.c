/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The snapshot of issuers and policy under which tokens are verified: validated and copied when it
 * is made, never changed, shared by reference count. The configuration makes one at start and at
 * each reload, the verifier reads it; it never reads a file.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "tokens/trust_internal.h"

struct token_trust {
    atomic_uint references;
    uint64_t generation;
    struct token_policy policy;
    size_t count;
    struct token_issuer_entry entries[]; /* sorted by iss */
};

/* The last generation given out. Process-wide, so that two trusts never share a number. */
static atomic_uint_fast64_t generations;

__attribute__((format(printf, 3, 4))) static int complain(char *error, size_t error_size,
                                                          const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    if (error_size > 0)
        (void)vsnprintf(error, error_size, format, arguments);
    va_end(arguments);
    return -EINVAL;
}

static bool is_id(const char *id)
{
    size_t length = strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789-");

    return length > 0 && length <= TOKEN_ISSUER_ID_MAX && id[length] == '\0';
}

/* 1 to `max` bytes without control characters. */
static bool is_plain(const char *text, size_t max)
{
    size_t length = strlen(text);

    if (length == 0 || length > max)
        return false;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte < 0x20 || byte == 0x7f)
            return false;
    }
    return true;
}

/* Whether a prefix is absolute and has only segments that a request's path can have: one with "//"
 * or ".." would cover nothing. */
static bool is_prefix(const char *prefix)
{
    const char *segment = prefix;

    if (!is_plain(prefix, sizeof((struct token_target *)0)->path - 1) || prefix[0] != '/')
        return false;
    while (segment != NULL) {
        size_t length;
        segment++;
        length = strcspn(segment, "/");
        if ((length == 0 && (segment[0] != '\0')) || (length == 1 && segment[0] == '.') ||
            (length == 2 && segment[0] == '.' && segment[1] == '.'))
            return false;
        segment = strchr(segment, '/');
    }
    return true;
}

static int validate_issuer(const struct token_issuer *issuer, char *error, size_t error_size)
{
    if (issuer->id == NULL || !is_id(issuer->id))
        return complain(error, error_size,
                        "an issuer's id must be 1 to %d characters of a-z, 0-9 and -",
                        TOKEN_ISSUER_ID_MAX);
    if (issuer->iss == NULL || !is_plain(issuer->iss, TOKEN_ISS_MAX))
        return complain(error, error_size,
                        "issuer %s: iss must be 1 to %d bytes without control characters",
                        issuer->id, TOKEN_ISS_MAX);
    if (issuer->keys == NULL)
        return complain(error, error_size, "issuer %s has no keys; name its JWKS file", issuer->id);
    if (issuer->prefix_count == 0 || issuer->prefix_count > TOKEN_PREFIXES_MAX)
        return complain(
            error, error_size,
            "issuer %s: 1 to %d path prefixes are needed; \"/\" lets it sign for everything",
            issuer->id, TOKEN_PREFIXES_MAX);
    for (size_t i = 0; i < issuer->prefix_count; i++) {
        if (!is_prefix(issuer->prefixes[i]))
            return complain(
                error, error_size,
                "issuer %s: path prefix %zu must begin with / and have no empty, . or .. "
                "segment",
                issuer->id, i + 1);
    }
    if (issuer->audience_count > TOKEN_AUDIENCES_MAX)
        return complain(error, error_size, "issuer %s: %d audiences at most", issuer->id,
                        TOKEN_AUDIENCES_MAX);
    for (size_t i = 0; i < issuer->audience_count; i++) {
        if (!is_plain(issuer->audiences[i], TOKEN_ISS_MAX))
            return complain(
                error, error_size,
                "issuer %s: audience %zu must be 1 to %d bytes without control characters",
                issuer->id, i + 1, TOKEN_ISS_MAX);
    }
    return 0;
}

/*
 * Brings an origin into the normal form of RFC 3986 sections 6.2.2.1 and 6.2.3: lower case, no
 * default port. Returns whether it is a scheme and an authority and nothing else.
 */
static bool normalise_origin(char *origin)
{
    static const char *const schemes[][2] = {{"http://", ":80"}, {"https://", ":443"}};
    size_t length = strlen(origin);

    for (size_t i = 0; i < length; i++) {
        if (origin[i] >= 'A' && origin[i] <= 'Z')
            origin[i] = (char)(origin[i] + ('a' - 'A'));
    }
    for (size_t i = 0; i < 2; i++) {
        size_t skip = strlen(schemes[i][0]);
        size_t port = strlen(schemes[i][1]);
        if (strncmp(origin, schemes[i][0], skip) != 0)
            continue;
        if (length > skip + port && strcmp(origin + length - port, schemes[i][1]) == 0)
            origin[length - port] = '\0';
        return origin[skip] != '\0' &&
               strspn(origin + skip, "abcdefghijklmnopqrstuvwxyz0123456789-._~:[]") ==
                   strlen(origin + skip);
    }
    return false;
}

static char **copy_texts(const char *const *texts, size_t count)
{
    char **copies = calloc(count > 0 ? count : 1, sizeof(*copies));

    for (size_t i = 0; copies != NULL && i < count; i++) {
        copies[i] = strdup(texts[i]);
        if (copies[i] == NULL) {
            while (i > 0)
                free(copies[--i]);
            free(copies);
            return NULL;
        }
    }
    return copies;
}

static void free_texts(char **texts, size_t count)
{
    for (size_t i = 0; texts != NULL && i < count; i++)
        free(texts[i]);
    free(texts);
}

static int copy_issuer(struct token_issuer_entry *entry, const struct token_issuer *issuer)
{
    (void)snprintf(entry->id, sizeof(entry->id), "%s", issuer->id);
    (void)snprintf(entry->iss, sizeof(entry->iss), "%s", issuer->iss);
    entry->keys = issuer->keys;
    entry->prefix_count = issuer->prefix_count;
    entry->audience_count = issuer->audience_count;
    entry->resume_s = issuer->resume_s;
    entry->prefixes = copy_texts(issuer->prefixes, issuer->prefix_count);
    entry->audiences = copy_texts(issuer->audiences, issuer->audience_count);
    if (entry->prefixes == NULL || entry->audiences == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < entry->prefix_count; i++) {
        size_t length = strlen(entry->prefixes[i]);
        if (entry->prefixes[i][length - 1] == '/')
            entry->prefixes[i][length - 1] = '\0';
    }
    return 0;
}

static int compare_iss(const void *left, const void *right)
{
    const struct token_issuer_entry *a = left;
    const struct token_issuer_entry *b = right;

    return strcmp(a->iss, b->iss);
}

/* Two issuers with one iss would pick keys by chance; two with one id would merge their ledgers. */
static int validate_unique(const struct token_trust *trust, char *error, size_t error_size)
{
    for (size_t i = 0; i < trust->count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcmp(trust->entries[i].id, trust->entries[j].id) == 0)
                return complain(error, error_size, "issuer id %s is used twice",
                                trust->entries[i].id);
            if (strcmp(trust->entries[i].iss, trust->entries[j].iss) == 0)
                return complain(error, error_size, "issuers %s and %s have the same iss",
                                trust->entries[j].id, trust->entries[i].id);
        }
    }
    return 0;
}

static void destroy(struct token_trust *trust, bool with_keys)
{
    for (size_t i = 0; i < trust->count; i++) {
        struct token_issuer_entry *entry = &trust->entries[i];
        free_texts(entry->prefixes, entry->prefix_count);
        free_texts(entry->audiences, entry->audience_count);
        if (with_keys)
            key_set_destroy(&entry->keys);
    }
    free(trust);
}

static int fill(struct token_trust *trust, const struct token_issuer *issuers, size_t count,
                char *error, size_t error_size)
{
    for (size_t i = 0; i < count; i++) {
        int result = validate_issuer(&issuers[i], error, error_size);
        if (result != 0)
            return result;
        trust->count++;
        if ((result = copy_issuer(&trust->entries[i], &issuers[i])) != 0)
            return result;
    }
    qsort(trust->entries, trust->count, sizeof(trust->entries[0]), compare_iss);
    return validate_unique(trust, error, error_size);
}

int token_trust_create(struct token_trust **out, const struct token_issuer *issuers, size_t count,
                       const struct token_policy *policy, char *error, size_t error_size)
{
    struct token_trust *trust;
    int result;

    *out = NULL;
    if (error_size > 0)
        error[0] = '\0';
    if (count > TOKEN_ISSUERS_MAX)
        return complain(error, error_size, "%d issuers at most", TOKEN_ISSUERS_MAX);
    trust = calloc(1, sizeof(*trust) + count * sizeof(trust->entries[0]));
    if (trust == NULL)
        return -ENOMEM;
    atomic_init(&trust->references, 1);
    trust->policy = *policy;
    result = fill(trust, issuers, count, error, error_size);
    if (result == 0 && !normalise_origin(trust->policy.public_origin))
        result =
            complain(error, error_size,
                     "the public origin must be http://host or https://host, with :port where it "
                     "is not the default, and no path");
    if (result != 0) {
        destroy(trust, false);
        return result;
    }
    trust->generation = atomic_fetch_add(&generations, 1) + 1;
    *out = trust;
    return 0;
}

struct token_trust *token_trust_hold(struct token_trust *trust)
{
    unsigned before = atomic_fetch_add_explicit(&trust->references, 1, memory_order_relaxed);

    check(before > 0 && before < UINT32_MAX);
    return trust;
}

void token_trust_drop(struct token_trust **trust)
{
    unsigned before;

    if (*trust == NULL)
        return;
    before = atomic_fetch_sub_explicit(&(*trust)->references, 1, memory_order_acq_rel);
    check(before > 0);
    if (before == 1)
        destroy(*trust, true);
    *trust = NULL;
}

uint64_t token_trust_generation(const struct token_trust *trust)
{
    return trust->generation;
}

const struct token_policy *token_trust_policy(const struct token_trust *trust)
{
    return &trust->policy;
}

const struct token_issuer_entry *trust_find_issuer(const struct token_trust *trust, const char *iss)
{
    size_t low = 0;
    size_t high = trust->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(iss, trust->entries[middle].iss);
        if (order == 0)
            return &trust->entries[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

bool issuer_covers(const struct token_issuer_entry *issuer, const char *path, size_t length)
{
    for (size_t i = 0; i < issuer->prefix_count; i++) {
        size_t prefix = strlen(issuer->prefixes[i]);
        if (length >= prefix && memcmp(path, issuer->prefixes[i], prefix) == 0 &&
            (length == prefix || path[prefix] == '/'))
            return true;
    }
    return false;
}

bool issuer_has_audience(const struct token_issuer_entry *issuer, const char *audience)
{
    for (size_t i = 0; i < issuer->audience_count; i++) {
        if (strcmp(issuer->audiences[i], audience) == 0)
            return true;
    }
    return false;
}
