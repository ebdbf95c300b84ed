/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads one certificate with its chain, its key and its OCSP response from their files, and says
 * what is wrong with those that cannot be served. Called by tls_certificates_load.c; it never asks
 * for a password.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "server/transport/tls_certificates.h"

#define PATH_SIZE 4384

struct reading {
    const char *chain_file, *key_file;
    char *error;
    size_t size;
};

#define REFUSE(reading, ...) (snprintf((reading)->error, (reading)->size, __VA_ARGS__), -EINVAL)

/* The first of OpenSSL's queued errors in words: it is the cause, and OpenSSL's outer functions
 * added the others. */
static const char *first_reason(void)
{
    unsigned long code = ERR_peek_error();
    const char *reason = ERR_reason_error_string(code);
    if (ERR_SYSTEM_ERROR(code))
        return strerrordesc_np(ERR_GET_REASON(code));
    return reason != NULL ? reason : "out of memory";
}

static void warn_of_readers(struct certificates *certificates, const char *path)
{
    struct stat facts;
    if (stat(path, &facts) == 0 && (facts.st_mode & 077) != 0)
        certificates_warn(
            certificates,
            "%s holds a certificate's key, and other users may read it (mode %03o); run "
            "chmod 600 %s",
            path, (unsigned)(facts.st_mode & 0777), path);
}

static bool seconds_of(const ASN1_TIME *time, int64_t *out)
{
    struct tm parts;
    if (ASN1_TIME_to_tm(time, &parts) != 1)
        return false;
    *out = timegm(&parts);
    return true;
}

static bool add_name(struct certificate *certificate, const ASN1_STRING *value)
{
    unsigned char *text = NULL;
    int length = ASN1_STRING_to_UTF8(&text, value);
    bool good = true;
    if (length > 0 && memchr(text, '\0', (size_t)length) == NULL) {
        char **names =
            reallocarray(certificate->names, certificate->name_count + 1UL, sizeof(*names));
        if (names != NULL) {
            certificate->names = names;
            names[certificate->name_count] = strdup((const char *)text);
            good = names[certificate->name_count] != NULL;
            certificate->name_count += good;
        } else {
            good = false;
        }
    }
    OPENSSL_free(text);
    return good;
}

/* Adds the host names as X509_check_host reads them: from subjectAltName, or from the subject where
 * that has none. */
static bool add_names(struct certificate *certificate)
{
    bool good = true;
    GENERAL_NAMES *others = X509_get_ext_d2i(certificate->leaf, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; good && i < sk_GENERAL_NAME_num(others); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(others, i);
        if (name->type == GEN_DNS)
            good = add_name(certificate, name->d.dNSName);
    }
    GENERAL_NAMES_free(others);
    if (certificate->name_count > 0)
        return good;
    X509_NAME *subject = X509_get_subject_name(certificate->leaf);
    for (int at = -1; good && (at = X509_NAME_get_index_by_NID(subject, NID_commonName, at)) >= 0;)
        good = add_name(certificate, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    return good;
}

/* Takes the certificates that OpenSSL has read, and the key. */
static bool add_certificate(struct certificates *certificates, SSL_CTX *read, EVP_PKEY *key,
                            const char *file)
{
    struct certificate *certificate = &certificates->all[certificates->count++];
    STACK_OF(X509) *chain = NULL;
    *certificate = (struct certificate){
        .leaf = SSL_CTX_get0_certificate(read),
        .key = key,
        .file = strdup(file),
    };
    X509_up_ref(certificate->leaf);
    EVP_PKEY_up_ref(certificate->key);
    SSL_CTX_get0_chain_certs(read, &chain);
    if (chain != NULL)
        certificate->chain = X509_chain_up_ref(chain);
    return certificate->file != NULL && (chain == NULL || certificate->chain != NULL) &&
           seconds_of(X509_get0_notBefore(certificate->leaf), &certificate->starts_s) &&
           seconds_of(X509_get0_notAfter(certificate->leaf), &certificate->ends_s) &&
           add_names(certificate);
}

/* Adds the OCSP response, if there is one. An unusable response is left out with a warning, and the
 * certificate serves without it. */
static void add_staple(struct certificates *certificates, struct certificate *certificate)
{
    char path[PATH_SIZE + 24], why[512];
    struct stat facts;
    snprintf(path, sizeof(path), "%s" STAPLE_SUFFIX, certificate->file);
    if (lstat(path, &facts) != 0 && errno == ENOENT)
        return;
    X509 *issuer = certificate_issuer(certificate);
    if (staple_read(&certificate->staple, path, certificate->leaf, issuer, certificate->chain, why,
                    sizeof(why)) != 0)
        certificates_warn(certificates, "%s: is not stapled: %s", path, why);
    X509_free(issuer);
}

/* ---- the key ---- */

/* Refuses to ask for the password of an encrypted key: a server has nobody at its terminal. */
static int no_password(char *out, int size, int writing, void *asked)
{
    (void)out;
    (void)size;
    (void)writing;
    *(bool *)asked = true;
    return 0;
}

/* Reads the private key; NULL with a sentence in the reading's error. */
static EVP_PKEY *read_key(const struct reading *reading)
{
    const char *path = reading->key_file;
    bool has_password = false;
    BIO *file = BIO_new_file(path, "re");
    EVP_PKEY *key =
        file != NULL ? PEM_read_bio_PrivateKey(file, NULL, no_password, &has_password) : NULL;
    if (file == NULL)
        (void)REFUSE(reading, "%s: %s; put the certificate's private key there", path,
                     first_reason());
    else if (key == NULL && has_password)
        (void)REFUSE(reading,
                     "%s: the private key has a password, and nobody can type it when the node "
                     "starts; write the key without one: openssl pkey -in %s -out FILE",
                     path, path);
    else if (key == NULL)
        (void)REFUSE(reading,
                     "%s: it does not hold a private key in PEM that OpenSSL can read; put the "
                     "certificate's private key there",
                     path);
    BIO_free(file);
    return key;
}

static int verify_key(const struct reading *reading, SSL_CTX *read, const EVP_PKEY *key)
{
    STACK_OF(X509) *chain = NULL;
    if (EVP_PKEY_eq(X509_get0_pubkey(SSL_CTX_get0_certificate(read)), key) == 1)
        return 0;
    SSL_CTX_get0_chain_certs(read, &chain);
    for (int i = 0; i < sk_X509_num(chain); i++)
        if (EVP_PKEY_eq(X509_get0_pubkey(sk_X509_value(chain, i)), key) == 1)
            return REFUSE(reading,
                          "%s: the certificate of the private key is not the first; put it first, "
                          "and its intermediate certificate after it",
                          reading->chain_file);
    return REFUSE(reading,
                  "%s: the private key is not the one of the certificate in %s; give the key that "
                  "the certificate was made for",
                  reading->key_file, reading->chain_file);
}

/* ---- all of it ---- */

static int refuse_chain(const struct reading *reading)
{
    unsigned long code = ERR_peek_error();
    int reason = ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0;
    if (reason == SSL_R_EE_KEY_TOO_SMALL || reason == SSL_R_CA_KEY_TOO_SMALL ||
        reason == SSL_R_CA_MD_TOO_WEAK)
        return REFUSE(reading,
                      "%s: the certificate is too weak for TLS (%s); have one made with a key of "
                      "2048 bits (RSA) or 256 bits (ECDSA), signed with SHA-256",
                      reading->chain_file, first_reason());
    return REFUSE(reading,
                  "%s: it does not hold a certificate in PEM that OpenSSL can read (%s); give a "
                  "file that begins with "
                  "the certificate",
                  reading->chain_file, first_reason());
}

int certificates_read(struct certificates *certificates, const char *chain, const char *key,
                      char *error, size_t error_size)
{
    const struct reading reading = {
        .chain_file = chain, .key_file = key, .error = error, .size = error_size};
    int status = -EINVAL;
    if (certificates->count == TLS_CERTIFICATES_MAX) {
        (void)REFUSE(&reading, "%s: is one of more than %d certificates; remove some", chain,
                     TLS_CERTIFICATES_MAX);
        return -E2BIG;
    }
    ERR_clear_error();
    SSL_CTX *read = SSL_CTX_new(TLS_server_method());
    EVP_PKEY *private_key = NULL;
    if (read == NULL)
        status = REFUSE(&reading, "TLS: %s", first_reason());
    else if (SSL_CTX_use_certificate_chain_file(read, chain) != 1)
        status = refuse_chain(&reading);
    else if ((private_key = read_key(&reading)) != NULL)
        status = verify_key(&reading, read, private_key);
    if (status == 0 && !add_certificate(certificates, read, private_key, chain))
        status = REFUSE(&reading, "%s: %s; have the certificate made again", chain, first_reason());
    if (status == 0) {
        warn_of_readers(certificates, key);
        add_staple(certificates, &certificates->all[certificates->count - 1]);
    }
    EVP_PKEY_free(private_key);
    SSL_CTX_free(read);
    ERR_clear_error();
    return status;
}
