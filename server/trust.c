/*
 * Reads the issuers' key sets from disk and makes the trust that tokens are verified under. Called
 * by the node and by the command line; key material is wiped from the buffers that it passed
 * through and never printed.
 */
#include "server/trust.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "server/log.h"

/* Whether whoever reads the file could sign: a secret, or a private half. */
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

int trust_keys_load(const char *path, struct key_set **out, char *error, size_t error_size)
{
    char *text;
    size_t length;
    *out = NULL;
    int result = config_read_file(path, TRUST_KEYS_BYTES_MAX, &text, &length);
    if (result < 0) {
        snprintf(error, error_size, "%s: %s; %s", path, strerror(-result), cure_of(result));
        return result;
    }
    char why[512] = "";
    result = key_set_parse(out, text, length, why, sizeof(why));
    explicit_bzero(text, length);
    free(text);
    if (result < 0) {
        snprintf(error, error_size, "%s: %s", path, why[0] != '\0' ? why : strerror(-result));
        return result;
    }
    struct stat facts;
    if (holds_secret(*out) && stat(path, &facts) == 0 && (facts.st_mode & 077) != 0)
        log_warning("%s holds keys that can sign and others may read it (mode %03o); run "
                    "chmod 600 %s",
                    path, (unsigned)(facts.st_mode & 0777), path);
    return 0;
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

int trust_load(const struct config *config, struct token_trust **out, char *error,
               size_t error_size)
{
    *out = NULL;
    size_t count = config->issuers_count;
    struct token_issuer *issuers = calloc(count > 0 ? count : 1, sizeof(*issuers));
    if (!issuers) {
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
            snprintf(error, error_size, "%s", why[0] != '\0' ? why : strerror(-result));
    }
    if (result < 0) /* the trust owns the keys only once it exists */
        keys_destroy(issuers, count);
    free(issuers);
    return result;
}
