/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OCSP responses that handshakes carry for the clients that ask (RFC 6066 8, RFC 6960): each is
 * read from a file beside its certificate, and judged by the certificate. Called by the load
 * of the certificates; it never asks a responder, the operator does.
 */
#ifndef TOLLGATE_SERVER_TRANSPORT_TLS_STAPLE_H
#define TOLLGATE_SERVER_TRANSPORT_TLS_STAPLE_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* OpenSSL's clients of TLS 1.2 take 16 KiB of a CertificateStatus, whose header has 4 bytes. */
#define STAPLE_SIZE_MAX 16380
#define STAPLE_DAY_SIZE 32

/* A response that says that the certificate is good. It may not hold yet or any more: see
 * staple_holds. */
struct staple {
    unsigned char *response; /* owns; DER; NULL: none */
    size_t length;
    int64_t starts_s, ends_s; /* thisUpdate, nextUpdate, since 1970; INT64_MAX: it gives no end */
};

/*
 * Reads the file at `path` into *out, which is zeroes. `chain` may be NULL. Where `issuer` is NULL,
 * the signature remains unverified, as does the issuer's key. 0, or a negative errno, and `why`
 * says what is wrong with the file, and the cure.
 */
int staple_read(struct staple *out, const char *path, const X509 *leaf, X509 *issuer,
                STACK_OF(X509) * chain, char *why, size_t why_size);
/* Whether there is a response, and now_s lies within its time. */
bool staple_holds(const struct staple *staple, int64_t now_s);
void staple_clear(struct staple *staple);

/* Writes a second since 1970 as "2026-01-31 23:59:59 UTC". */
const char *staple_day(int64_t time_s, char out[STAPLE_DAY_SIZE]);

#endif
