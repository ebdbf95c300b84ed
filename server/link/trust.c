/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the issuers' key sets from disk and makes the trust that tokens are verified under. Called
 * by the node and by the command line; it wipes key material from the buffers that it passed
 * through, and never prints it.
 */
#include "server/link/trust.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "server/base/file_read.h"
#include "server/base/log.h"

/* Whether a reader of the file can sign, because it holds a secret or a private half. */
static bool holds_secret(const struct key_set *keys)
{
    for (size_t i = 0; i < key_set_count(keys); i++) {
        if (key_set_algorithm(keys, i) == TOKEN_HS256 || key_set_can_sign(keys, i))
            return true;
    }
    return false;
}

static const char *cure_of(int failure)
{
    if (failure == -ENOENT)
        return "make one with `tollgate key generate`, or correct the path";
    if (failure == -EACCES)
        return "let the node's user read it";
    if (failure == -EFBIG)
        return "a key set has 1 MiB at most; is this the right file?";
    return "check the path";
}

static void __attribute__((format(printf, 2, 3)))
warn(const struct trust_warner *warner, const char *format, ...)
{
    char text[PATH_MAX + 512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    warner->warn(warner->context, text);
}

void trust_warn_log(void *context, const char *text)
{
    (void)context;
    log_warning("%s", text);
}

void trust_keys_warn(const char *path, const struct key_set *keys,
                     const struct trust_warner *warner)
{
    struct stat facts;
    if (holds_secret(keys) && stat(path, &facts) == 0 && (facts.st_mode & 077) != 0)
        warn(warner,
             "%s holds keys that can sign, and other users may read it (mode %03o); run chmod 600 "
             "%s",
             path, (unsigned)(facts.st_mode & 0777), path);
    for (size_t i = 0; i < key_set_count(keys); i++) {
        if (key_set_is_guessable(keys, i))
            warn(warner,
                 "%s: the HS256 secret of kid %s repeats itself or counts upwards, so that it can "
                 "be guessed; make one with `tollgate key generate`",
                 path, key_set_kid(keys, i));
    }
}

/* Parses the keys in `text`, then wipes and frees it. `read` is what reading the text returned. */
static int keys_of(int read, char *text, size_t length, const char *name, struct key_set **out,
                   char *error, size_t error_size)
{
    *out = NULL;
    if (read < 0) {
        snprintf(error, error_size, "%s: %s; %s", name, strerrordesc_np(-read), cure_of(read));
        return read;
    }
    char why[512] = "";
    int result = key_set_parse(out, text, length, why, sizeof(why));
    explicit_bzero(text, length);
    free(text);
    if (result < 0)
        snprintf(error, error_size, "%s: %s", name,
                 why[0] != '\0' ? why : strerrordesc_np(-result));
    return result < 0 ? result : 0;
}

int trust_keys_load(const char *path, struct key_set **out, char *error, size_t error_size)
{
    char *text;
    size_t length;
    int read = file_read(path, TRUST_KEYS_BYTES_MAX, &text, &length);
    return keys_of(read, text, length, path, out, error, error_size);
}

int trust_keys_load_descriptor(int fd, const char *name, struct key_set **out, char *error,
                               size_t error_size)
{
    char *text;
    size_t length;
    int read = file_read_descriptor(fd, TRUST_KEYS_BYTES_MAX, &text, &length);
    return keys_of(read, text, length, name, out, error, error_size);
}

uint64_t trust_files_print(const struct config *config)
{
    uint64_t print = 0;
    for (unsigned i = 0; i < config->issuers_count; i++) {
        struct stat facts;
        uint64_t numbers[7] = {0};
        if (stat(config->issuers[i].keys, &facts) == 0) {
            numbers[0] = facts.st_dev;
            numbers[1] = facts.st_ino;
            numbers[2] = (uint64_t)facts.st_size;
            numbers[3] = (uint64_t)facts.st_mtim.tv_sec;
            numbers[4] = (uint64_t)facts.st_mtim.tv_nsec;
            numbers[5] = (uint64_t)facts.st_ctim.tv_sec;
            numbers[6] = (uint64_t)facts.st_ctim.tv_nsec;
        }
        print = XXH3_64bits_withSeed(numbers, sizeof(numbers), print);
    }
    return print;
}

static void keys_destroy(struct token_issuer *issuers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        key_set_destroy(&issuers[i].keys);
}

/* Warns of private halves: a node needs only the public ones, and a thief of a private half can
 * sign. */
static void warn_of_private(const char *path, const struct key_set *keys,
                            const struct trust_warner *warner)
{
    for (size_t i = 0; i < key_set_count(keys); i++) {
        if (key_set_has_private(keys, i))
            warn(warner,
                 "%s: kid %s is a private key (\"d\"), which a node does not need and should not "
                 "have; give it the public key set, as `tollgate key generate` writes it",
                 path, key_set_kid(keys, i));
    }
}

/* A key's digest with its issuer, to be sorted. */
struct print {
    unsigned char of_key[KEY_PRINT_SIZE];
    size_t issuer; /* its place in the configuration */
    const char *kid;
};

static int compare_prints(const void *left, const void *right)
{
    const struct print *a = left, *b = right;
    int order = memcmp(a->of_key, b->of_key, KEY_PRINT_SIZE);
    return order != 0 ? order : (a->issuer > b->issuer) - (a->issuer < b->issuer);
}

/* Warns of keys that two issuers share: iss and kid pick the key, but its holder writes both at
 * will, so that either issuer can sign for the other's accounts. */
static void warn_of_shared(const struct token_issuer *issuers, size_t count,
                           const struct trust_warner *warner)
{
    size_t keys = 0, taken = 0;
    for (size_t i = 0; i < count; i++)
        keys += key_set_count(issuers[i].keys);
    struct print *prints = calloc(keys > 0 ? keys : 1, sizeof(*prints));
    if (prints == NULL)
        return; /* without memory only this warning is lost */
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < key_set_count(issuers[i].keys); k++) {
            prints[taken].issuer = i;
            prints[taken].kid = key_set_kid(issuers[i].keys, k);
            if (key_set_print(issuers[i].keys, k, prints[taken].of_key))
                taken++;
        }
    }
    qsort(prints, taken, sizeof(*prints), compare_prints);
    for (size_t i = 1; i < taken; i++) {
        const struct print *one = &prints[i - 1], *other = &prints[i];
        if (one->issuer != other->issuer && memcmp(one->of_key, other->of_key, KEY_PRINT_SIZE) == 0)
            warn(warner,
                 "issuers %s (kid %s) and %s (kid %s) have the same key, so that each can sign for "
                 "the other's accounts; give each a key of its own",
                 issuers[one->issuer].id, one->kid, issuers[other->issuer].id, other->kid);
    }
    free(prints);
}

static void describe(struct token_issuer *issuer, const struct config_issuer *configured)
{
    issuer->id = configured->id;
    issuer->iss = configured->iss;
    issuer->prefixes = (const char *const *)configured->prefixes;
    issuer->prefix_count = configured->prefixes_count;
    issuer->audiences = (const char *const *)configured->audiences;
    issuer->audience_count = configured->audiences_count;
    issuer->resume_s = (uint32_t)configured->resume_s; /* bounded by config_table.h */
}

static void policy_of(const struct config *config, struct token_policy *policy)
{
    memset(policy, 0, sizeof(*policy));
    policy->lifetime_max_s = (uint32_t)config->link_lifetime_max_s; /* bounded by config_table.h */
    policy->nbf_leeway_s = (uint32_t)config->nbf_leeway_s;
    policy->jti_single_use = strcmp(config->jti_single_use, "strict") == 0;
    snprintf(policy->public_origin, sizeof(policy->public_origin), "%s", config->public_origin);
}

int trust_load(const struct config *config, struct token_trust **out,
               const struct trust_warner *warner, char *error, size_t error_size)
{
    *out = NULL;
    size_t count = config->issuers_count;
    struct token_issuer *issuers = calloc(count > 0 ? count : 1, sizeof(*issuers));
    if (issuers == NULL) {
        snprintf(error, error_size, "out of memory");
        return -ENOMEM;
    }
    int result = 0;
    size_t loaded = 0;
    for (; result == 0 && loaded < count; loaded++) {
        char why[1024];
        describe(&issuers[loaded], &config->issuers[loaded]);
        result =
            trust_keys_load(config->issuers[loaded].keys, &issuers[loaded].keys, why, sizeof(why));
        if (result < 0)
            snprintf(error, error_size, "issuer %s: %s", issuers[loaded].id, why);
    }
    struct token_policy policy;
    policy_of(config, &policy);
    if (result == 0) {
        char why[512] = "";
        result = token_trust_create(out, issuers, count, &policy, why, sizeof(why));
        if (result < 0)
            snprintf(error, error_size, "%s", why[0] != '\0' ? why : strerrordesc_np(-result));
    }
    for (size_t i = 0; result == 0 && warner != NULL && i < count; i++) {
        trust_keys_warn(config->issuers[i].keys, issuers[i].keys, warner);
        warn_of_private(config->issuers[i].keys, issuers[i].keys, warner);
    }
    if (result == 0 && warner != NULL)
        warn_of_shared(issuers, count, warner);
    if (result < 0) /* the trust owns the keys only once it exists */
        keys_destroy(issuers, count);
    free(issuers);
    return result;
}
