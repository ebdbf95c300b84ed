/* SPDX-License-Identifier: Apache-2.0 */
/* Groups and ciphers, told good from bad by OpenSSL itself. See tls_algorithms.h. */
#include "server/config/tls_algorithms.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENTRY_SIZE 128 /* the longest name of a cipher has 41 bytes */

/*
 * The next entry of a list whose entries have colons between them; *at is NULL behind the last.
 * False where it is longer than any name: *entry has its beginning then.
 */
static bool next_entry(const char **at, char entry[ENTRY_SIZE])
{
    size_t length = strcspn(*at, ":");
    snprintf(entry, ENTRY_SIZE, "%.*s", (int)(length < ENTRY_SIZE ? length : ENTRY_SIZE - 1), *at);
    *at = (*at)[length] == ':' ? *at + length + 1 : NULL;
    return length < ENTRY_SIZE;
}

static bool is_of_1_3(const char *cipher)
{
    return strncmp(cipher, "TLS_", 4) == 0;
}

/* ---- groups ---- */

static bool takes_groups(SSL_CTX *context, const char *groups)
{
    char *copy = strdup(groups); /* the macro takes no const */
    bool good = copy != NULL && SSL_CTX_set1_groups_list(context, copy) == 1;
    free(copy);
    ERR_clear_error();
    return good;
}

int tls_groups_validate(const char *groups, char *error, size_t error_size)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    char entry[ENTRY_SIZE];
    bool named = false;
    if (context != NULL && takes_groups(context, groups)) {
        SSL_CTX_free(context);
        return 0;
    }
    for (const char *at = groups; context != NULL && at != NULL && !named;)
        named = !next_entry(&at, entry) || !takes_groups(context, entry);
    SSL_CTX_free(context);
    if (named)
        snprintf(error, error_size,
                 "\"%s\" is a group that OpenSSL %s does not have; remove it, or write it as "
                 "OpenSSL does, "
                 "with a colon between two: X25519:P-256",
                 entry, OpenSSL_version(OPENSSL_VERSION_STRING));
    else
        snprintf(error, error_size,
                 "\"%s\": OpenSSL takes each of these groups, but not all together; name each once",
                 groups);
    return -EINVAL;
}

/* ---- ciphers ---- */

static const SSL_CIPHER *find_cipher(SSL_CTX *context, const char *name)
{
    const SSL_CIPHER *found = NULL;
    bool taken = is_of_1_3(name) ? SSL_CTX_set_ciphersuites(context, name) == 1
                                 : SSL_CTX_set_cipher_list(context, name) == 1;
    STACK_OF(SSL_CIPHER) *ciphers = taken ? SSL_CTX_get_ciphers(context) : NULL;
    /* "HIGH" is taken, too, and many ciphers are there then, but none of that name. */
    for (int i = 0; i < sk_SSL_CIPHER_num(ciphers) && found == NULL; i++) {
        const SSL_CIPHER *cipher = sk_SSL_CIPHER_value(ciphers, i);
        if (strcmp(SSL_CIPHER_get_name(cipher), name) == 0)
            found = cipher;
    }
    ERR_clear_error();
    return found;
}

/*
 * Forward secrecy and authenticated encryption alone, by a certificate. A record's overhead is
 * known for these three (record_adds in tls_records.c), and with it which bytes of a file have
 * arrived.
 */
static bool is_spoken(const SSL_CIPHER *cipher)
{
    int kind = SSL_CIPHER_get_cipher_nid(cipher), exchange = SSL_CIPHER_get_kx_nid(cipher),
        by = SSL_CIPHER_get_auth_nid(cipher);
    return (kind == NID_aes_128_gcm || kind == NID_aes_256_gcm || kind == NID_chacha20_poly1305) &&
           (exchange == NID_kx_ecdhe || exchange == NID_kx_any) &&
           (by == NID_auth_ecdsa || by == NID_auth_rsa || by == NID_auth_any);
}

int tls_ciphers_validate(const char *ciphers, char *error, size_t error_size)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    char entry[ENTRY_SIZE];
    int status = 0;
    if (context == NULL) {
        snprintf(error, error_size, "out of memory");
        return -ENOMEM;
    }
    for (const char *at = ciphers; at != NULL && status == 0;) {
        const SSL_CIPHER *cipher = next_entry(&at, entry) ? find_cipher(context, entry) : NULL;
        if (cipher != NULL && is_spoken(cipher))
            continue;
        status = -EINVAL;
        snprintf(
            error, error_size,
            cipher == NULL
                ? "\"%s\" is a cipher that OpenSSL %s does not have; remove it, or write it "
                  "as `openssl ciphers` does, with a colon between two"
                : "\"%s\" is not allowed here (OpenSSL %s has it); name ciphers with ECDHE, or "
                  "of TLS 1.3, and with AES-GCM or ChaCha20-Poly1305",
            entry, OpenSSL_version(OPENSSL_VERSION_STRING));
    }
    SSL_CTX_free(context);
    return status;
}

/* The entries for TLS 1.3, or the others, in `out`, which has the size of the whole list. */
static void select_ciphers(const char *ciphers, bool of_1_3, char *out)
{
    char entry[ENTRY_SIZE];
    size_t length = 0;
    out[0] = '\0';
    for (const char *at = ciphers; at != NULL;) {
        (void)next_entry(&at, entry);
        if (is_of_1_3(entry) == of_1_3)
            length += (size_t)sprintf(out + length, "%s%s", length > 0 ? ":" : "", entry);
    }
}

int tls_algorithms_set(SSL_CTX *context, const char *groups, const char *ciphers)
{
    size_t size = strlen(ciphers) + 1;
    char *of_1_2 = malloc(size), *of_1_3 = malloc(size);
    bool good = of_1_2 != NULL && of_1_3 != NULL;
    if (good) {
        select_ciphers(ciphers, false, of_1_2);
        select_ciphers(ciphers, true, of_1_3);
        good = takes_groups(context, groups) && SSL_CTX_set_ciphersuites(context, of_1_3) == 1 &&
               (of_1_2[0] == '\0' || SSL_CTX_set_cipher_list(context, of_1_2) == 1) &&
               SSL_CTX_set_min_proto_version(context, of_1_2[0] != '\0' ? TLS1_2_VERSION
                                                                        : TLS1_3_VERSION) == 1 &&
               SSL_CTX_set_max_proto_version(context, of_1_3[0] != '\0' ? TLS1_3_VERSION
                                                                        : TLS1_2_VERSION) == 1;
    }
    free(of_1_2);
    free(of_1_3);
    return good ? 0 : -ENOMEM;
}
