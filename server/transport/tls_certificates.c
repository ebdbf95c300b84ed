/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chooses the certificate of a handshake, and frees certificates. It reads no file. See
 * tls_certificates.h.
 */
#include "server/transport/tls_certificates.h"

#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"

/* ---- ranks ---- */

/* How well a certificate suits one handshake; earlier fields outweigh later ones. */
struct rank {
    bool usable, valid, exact;
    int kind;
};

static bool has_name(const struct certificate *certificate, const char *name, unsigned flags)
{
    return X509_check_host(certificate->leaf, name, strlen(name), flags, NULL) == 1;
}

static bool is_rsa(const struct certificate *certificate)
{
    int type = EVP_PKEY_get_base_id(certificate->key);
    return type == EVP_PKEY_RSA || type == EVP_PKEY_RSA_PSS;
}

/* An ECDSA signature costs a node a tenth of an RSA signature, and is shorter. */
static int kind_of(const struct certificate *certificate)
{
    if (EVP_PKEY_get_base_id(certificate->key) == EVP_PKEY_EC)
        return 2;
    return is_rsa(certificate) ? 0 : 1;
}

/* Whether the client offers a cipher for this kind of certificate: in TLS 1.2 the cipher suite
 * names it, too. */
static bool has_cipher(const SSL *ssl, bool rsa)
{
    STACK_OF(SSL_CIPHER) *offered = SSL_get_client_ciphers(ssl), *ours = SSL_get_ciphers(ssl);
    for (int i = 0; i < sk_SSL_CIPHER_num(offered); i++) {
        const SSL_CIPHER *cipher = sk_SSL_CIPHER_value(offered, i);
        if (SSL_CIPHER_get_auth_nid(cipher) == (rsa ? NID_auth_rsa : NID_auth_ecdsa) &&
            sk_SSL_CIPHER_find(ours, cipher) >= 0)
            return true;
    }
    return false;
}

/* RFC 8446 4.4.2.2, RFC 5246 7.4.2: whether the client said that it can verify the signature. */
static bool is_usable(SSL *ssl, const struct certificate *certificate)
{
    int found = SSL_check_chain(ssl, certificate->leaf, certificate->key, certificate->chain);
    if (SSL_version(ssl) >= TLS1_3_VERSION)
        return (found & CERT_PKEY_EE_SIGNATURE) != 0;
    return (found & CERT_PKEY_SIGN) != 0 && (found & CERT_PKEY_EE_PARAM) != 0 &&
           has_cipher(ssl, is_rsa(certificate));
}

static struct rank rank_of(const struct certificate *certificate, SSL *ssl, const char *name,
                           int64_t now_s)
{
    return (struct rank){
        .usable = ssl == NULL || is_usable(ssl, certificate),
        .valid = certificate->starts_s <= now_s && now_s < certificate->ends_s,
        .exact = has_name(certificate, name, X509_CHECK_FLAG_NO_WILDCARDS),
        .kind = kind_of(certificate),
    };
}

static bool is_above(struct rank a, struct rank b)
{
    if (a.usable != b.usable)
        return a.usable;
    if (a.valid != b.valid)
        return a.valid;
    if (a.exact != b.exact)
        return a.exact;
    return a.kind > b.kind;
}

/* The best certificate that has the name; NULL: none has it. */
static const struct certificate *choose_for(const struct certificates *certificates, SSL *ssl,
                                            const char *name, int64_t now_s)
{
    const struct certificate *best = NULL;
    struct rank best_rank = {0};
    for (unsigned i = 0; i < certificates->count; i++) {
        const struct certificate *certificate = &certificates->all[i];
        if (!has_name(certificate, name, 0))
            continue;
        struct rank rank = rank_of(certificate, ssl, name, now_s);
        if (best != NULL && !is_above(rank, best_rank))
            continue;
        best = certificate;
        best_rank = rank;
    }
    return best;
}

const struct certificate *certificates_choose(const struct certificates *certificates, SSL *ssl,
                                              const char *name, int64_t now_s)
{
    check(certificates->count > 0);
    const struct certificate *first = &certificates->all[0];
    const struct certificate *chosen =
        name != NULL ? choose_for(certificates, ssl, name, now_s) : NULL;
    if (chosen == NULL && first->name_count > 0)
        chosen = choose_for(certificates, ssl, first->names[0], now_s);
    return chosen != NULL ? chosen : first;
}

/* ---- the end ---- */

void certificates_clear(struct certificates *certificates)
{
    for (unsigned i = 0; i < certificates->count; i++) {
        struct certificate *certificate = &certificates->all[i];
        X509_free(certificate->leaf);
        EVP_PKEY_free(certificate->key);
        sk_X509_pop_free(certificate->chain, X509_free);
        for (unsigned k = 0; k < certificate->name_count; k++)
            free(certificate->names[k]);
        free(certificate->names);
        free(certificate->file);
        staple_clear(&certificate->staple);
    }
    for (unsigned i = 0; i < certificates->warning_count; i++)
        free(certificates->warnings[i]);
    free(certificates->warnings);
    *certificates = (struct certificates){0};
}

void certificates_warn(struct certificates *certificates, const char *format, ...)
{
    char *text;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0)
        return;
    char **warnings =
        reallocarray(certificates->warnings, certificates->warning_count + 1UL, sizeof(*warnings));
    if (warnings == NULL) {
        free(text);
        return;
    }
    certificates->warnings = warnings;
    warnings[certificates->warning_count++] = text;
}
