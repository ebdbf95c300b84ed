/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificates of a node: read from a file or a directory, chosen among for each handshake, and
 * reviewed for what an operator should mend. Immutable once loaded, so any thread may ask. Only
 * tls.c calls it and owns them; all else about a session is there.
 */
#ifndef TOLLGATE_SERVER_TRANSPORT_TLS_CERTIFICATES_H
#define TOLLGATE_SERVER_TRANSPORT_TLS_CERTIFICATES_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/transport/tls.h"
#include "server/transport/tls_staple.h"

#define STAPLE_SUFFIX ".ocsp" /* after a certificate's file, as HAProxy has it */

struct certificate {
    X509 *leaf;             /* owns */
    EVP_PKEY *key;          /* owns */
    STACK_OF(X509) * chain; /* owns; NULL: none */
    char *file;             /* owns */
    char **names;           /* owns; host names; a wildcard keeps its asterisk */
    unsigned name_count;
    int64_t starts_s, ends_s; /* since 1970 */
    struct staple staple;     /* owns */
};

struct certificates {
    struct certificate all[TLS_CERTIFICATES_MAX]; /* by the names of their files */
    unsigned count;
    char **warnings; /* owns; one sentence each, with the cure */
    unsigned warning_count;
    int64_t reviewed_s; /* when the warnings were made, since 1970 */
};

/*
 * Fills *out, which is zeroes, as tls_load says. A file that was good in `before` (may be NULL) and
 * is now without certificate or key fails the load. 0, or a negative errno with one sentence; what
 * was filled is the caller's to clear in either case.
 */
int certificates_load(struct certificates *out, const char *path, const struct certificates *before,
                      char *error, size_t error_size);
/*
 * Adds the certificate whose chain and whose key are in the two files, which may be one. 0, or a
 * negative errno with one sentence.
 */
int certificates_read(struct certificates *certificates, const char *chain, const char *key,
                      char *error, size_t error_size);
void certificates_clear(struct certificates *certificates);

/*
 * The certificate for `name` (NULL: the client gave none). Certificates rank by, in this order: the
 * client's signature algorithms allow it (`ssl` NULL: any does); it is valid at now_s; it has the
 * name itself, not only a wildcard for it; ECDSA before EdDSA before RSA; the first by file. Where
 * no certificate has the name, the first file's is chosen, or one of the same host that ranks
 * higher. Borrowed.
 */
const struct certificate *certificates_choose(const struct certificates *certificates, SSL *ssl,
                                              const char *name, int64_t now_s);

/* Adds a warning; one for which there is no memory is left out. */
void certificates_warn(struct certificates *certificates, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Returns the issuer's certificate: one of the chain, the certificate itself, or one that this
 * system trusts. The caller frees the reference; NULL: unknown. */
X509 *certificate_issuer(const struct certificate *certificate);
/*
 * Adds warnings of certificates that no client gets, of chains without their intermediate, and of
 * OCSP responses that cannot be stapled now.
 */
void certificates_review(struct certificates *certificates, int64_t now_s);

#endif
