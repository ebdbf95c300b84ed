/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a TLS handshake, or a session, failed: the kinds that are counted apart in /v1/health, as
 * tls_failed_no_shared_cipher and the like; tls_failed is their sum. Called by transport_tls.c.
 * Pure.
 */
#ifndef TOLLGATE_SERVER_TRANSPORT_TLS_FAILURE_H
#define TOLLGATE_SERVER_TRANSPORT_TLS_FAILURE_H

/* name: as in the counter */
#define TLS_FAILURES(X)                                                                            \
    X(no_shared_cipher)    /* nor group, nor signature algorithm */                                \
    X(no_shared_version)   /* of TLS */                                                            \
    X(no_protocol)         /* ALPN: the client offers some, and http/1.1 is not among them */      \
    X(certificate_refused) /* by an alert of the client */                                         \
    X(timed_out)           /* the handshake was not done within head_timeout_ms */                 \
    X(plain_http)          /* the client speaks HTTP without TLS */                                \
    X(after_handshake)     /* a session that was established broke, or was cut */                  \
    X(other)               /* noise, or a client that left in the middle of the handshake */

enum tls_failure {
#define X(name) TLS_FAILURE_##name,
    TLS_FAILURES(X)
#undef X
        TLS_FAILURE_COUNT
};

/* The kind of a handshake that ended with this error of OpenSSL (ERR_peek_last_error). */
enum tls_failure tls_failure_of(unsigned long error);

#endif
