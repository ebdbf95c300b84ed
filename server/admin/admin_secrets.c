/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shops' bearer secrets: one file for each issuer, each line of it a secret, so that a new one
 * can be put beside the old while both are in use. admin.c loads them and looks callers up. They
 * are kept as SHA-256, compared by CRYPTO_memcmp alone (tests/run.sh checks that), never printed.
 */
#include <errno.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "server/admin/admin_internal.h"
#include "server/base/file_read.h"
#include "server/link/trust.h"

#define FILE_BYTES_MAX   4096
#define SECRET_BYTES_MIN 32
#define DIGEST_BYTES     32

struct secret {
    const char *issuer; /* borrows the configuration */
    unsigned char digest[DIGEST_BYTES];
};

struct admin_secrets {
    size_t count, room;
    struct secret *all; /* owns */
};

static bool digest(const char *text, size_t length, unsigned char out[DIGEST_BYTES])
{
    size_t size = 0;
    return EVP_Q_digest(NULL, "SHA256", NULL, text, length, out, &size) == 1 &&
           size == DIGEST_BYTES;
}

/* Adds a secret. 0; -EEXIST where another issuer, *other, has the same one; or -ENOMEM. */
static int add(struct admin_secrets *secrets, const char *issuer, const char *text, size_t length,
               const char **other)
{
    if (secrets->count == secrets->room) {
        size_t room = secrets->room == 0 ? 8 : secrets->room * 2;
        struct secret *all = realloc(secrets->all, room * sizeof(*all));
        if (all == NULL)
            return -ENOMEM;
        secrets->all = all;
        secrets->room = room;
    }
    struct secret *secret = &secrets->all[secrets->count];
    secret->issuer = issuer;
    if (!digest(text, length, secret->digest))
        return -ENOMEM;
    for (size_t i = 0; i < secrets->count; i++) {
        *other = secrets->all[i].issuer; /* from the configuration: equal pointers, equal issuers */
        if (*other != issuer &&
            CRYPTO_memcmp(secrets->all[i].digest, secret->digest, DIGEST_BYTES) == 0)
            return -EEXIST;
    }
    secrets->count++;
    return 0;
}

static int take_lines(struct admin_secrets *secrets, const struct config_issuer *issuer,
                      const char *text, char *error, size_t error_size)
{
    size_t before = secrets->count;
    while (*text != '\0') {
        size_t length = strcspn(text, "\r\n");
        if (length > 0 && length < SECRET_BYTES_MIN) {
            snprintf(error, error_size,
                     "issuer %s: %s: a secret has %d characters or more; `openssl rand -hex 32` "
                     "makes one",
                     issuer->id, issuer->admin_secret_file, SECRET_BYTES_MIN);
            return -EINVAL;
        }
        const char *other = NULL;
        int failure = length > 0 ? add(secrets, issuer->id, text, length, &other) : 0;
        if (failure == -EEXIST) {
            /* With a shared secret one shop could reach the other's accounts. */
            snprintf(error, error_size,
                     "issuer %s: %s: issuer %s has the same secret; give each issuer one of its "
                     "own, `openssl rand -hex 32` makes one",
                     issuer->id, issuer->admin_secret_file, other);
            return -EINVAL;
        }
        if (failure != 0)
            return failure;
        text += length + strspn(text + length, "\r\n");
    }
    if (secrets->count > before)
        return 0;
    snprintf(error, error_size, "issuer %s: %s: is empty; `openssl rand -hex 32` makes a secret",
             issuer->id, issuer->admin_secret_file);
    return -EINVAL;
}

static void warn(const struct trust_warner *warner, const char *path, mode_t mode)
{
    char text[2 * PATH_MAX + 128];
    snprintf(text, sizeof(text),
             "%s holds a secret, and other users may read it (mode %03o); run chmod 600 %s", path,
             (unsigned)(mode & 0777), path);
    warner->warn(warner->context, text);
}

static int load_one(struct admin_secrets *secrets, const struct config_issuer *issuer,
                    const struct trust_warner *warner, char *error, size_t error_size)
{
    char *text;
    size_t length;
    struct stat facts;
    const char *path = issuer->admin_secret_file;
    int result = file_read(path, FILE_BYTES_MAX, &text, &length);
    if (result < 0) {
        snprintf(error, error_size, "issuer %s: %s: %s; %s", issuer->id, path,
                 strerrordesc_np(-result),
                 result == -EACCES   ? "let the node's user read it"
                 : result == -ENOENT ? "make one with `openssl rand -hex 32`, or correct "
                                       "admin_secret_file"
                                     : "correct admin_secret_file");
        return result;
    }
    if (warner != NULL && stat(path, &facts) == 0 && (facts.st_mode & 077) != 0)
        warn(warner, path, facts.st_mode);
    result = take_lines(secrets, issuer, text, error, error_size);
    explicit_bzero(text, length);
    free(text);
    return result;
}

int admin_secrets_load(struct admin_secrets **out, const struct config *config,
                       const struct trust_warner *warner, char *error, size_t error_size)
{
    struct admin_secrets *secrets = calloc(1, sizeof(*secrets));
    int result = secrets == NULL ? -ENOMEM : 0;
    snprintf(error, error_size, "no memory");
    for (unsigned i = 0; result == 0 && i < config->issuers_count; i++) {
        if (config->issuers[i].admin_secret_file[0] != '\0')
            result = load_one(secrets, &config->issuers[i], warner, error, error_size);
    }
    if (result != 0)
        admin_secrets_destroy(&secrets);
    *out = secrets;
    return result;
}

void admin_secrets_destroy(struct admin_secrets **secrets)
{
    if (*secrets == NULL)
        return;
    free((*secrets)->all);
    free(*secrets);
    *secrets = NULL;
}

const char *admin_secrets_find(const struct admin_secrets *secrets, struct http_text text)
{
    unsigned char wanted[DIGEST_BYTES];
    const char *found = NULL;
    if (!digest(text.data, text.length, wanted))
        return NULL;
    /* The loop runs to its end in any case, so that its time does not tell whose the secret is. */
    for (size_t i = 0; i < secrets->count; i++) {
        if (CRYPTO_memcmp(secrets->all[i].digest, wanted, sizeof(wanted)) == 0)
            found = secrets->all[i].issuer;
    }
    return found;
}

void admin_shops_identify(struct admin_shops *shops, struct http_text secret,
                          char shop[static LEDGER_ISSUER_MAX + 1])
{
    pthread_mutex_lock(&shops->mutex);
    const char *issuer = admin_secrets_find(shops->secrets, secret);
    pthread_mutex_unlock(&shops->mutex);
    if (issuer != NULL) {
        (void)snprintf(shop, LEDGER_ISSUER_MAX + 1, "%s", issuer);
    }
}

void admin_shops_replace(struct admin_shops *shops, struct admin_secrets *fresh)
{
    pthread_mutex_lock(&shops->mutex);
    struct admin_secrets *old = shops->secrets;
    shops->secrets = fresh;
    pthread_mutex_unlock(&shops->mutex);
    admin_secrets_destroy(&old);
}
