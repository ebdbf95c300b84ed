/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which groups and ciphers TLS is spoken with: tls_groups and tls_ciphers of the configuration,
 * held against what this OpenSSL has and what tls_records.c can count. Called when the
 * configuration is validated and when certificates are loaded.
 */
#ifndef TOLLGATE_SERVER_CONFIG_TLS_ALGORITHMS_H
#define TOLLGATE_SERVER_CONFIG_TLS_ALGORITHMS_H

#include <openssl/ssl.h>
#include <stddef.h>

/*
 * As OpenSSL names them, with a colon between two. 0, or -EINVAL and a sentence that names the
 * entry.
 */
int tls_groups_validate(const char *groups, char *error, size_t error_size);
/* Likewise: names that begin with TLS_ are ciphers of TLS 1.3, the others of TLS 1.2. */
int tls_ciphers_validate(const char *ciphers, char *error, size_t error_size);

/*
 * Both, good as above, set in a context, and the versions of TLS that there are ciphers for. 0, or
 * -ENOMEM.
 */
int tls_algorithms_set(SSL_CTX *context, const char *groups, const char *ciphers);

#endif
