/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a TLS handshake, or a session, failed: the kinds that are counted apart in /v1/health, as
 * tls_failed_no_shared_cipher and the like; tls_failed is their sum. Called by stream_tls.c.
 * Pure.
 */
#ifndef TOLLGATE_SERVER_TRANSPORT_TLS_FAILURE_H
#define TOLLGATE_SERVER_TRANSPORT_TLS_FAILURE_H

/* X(with, name, help): `with` is passed on, so that a table of metrics can take these as its rows. */
#define TLS_FAILURES(X, with)                                                                      \
    X(with, no_shared_cipher,                                                                      \
      "TLS handshakes that failed: no cipher, group or signature algorithm in common.")            \
    X(with, no_shared_version, "TLS handshakes that failed: no version of TLS in common.")         \
    X(with, no_protocol,                                                                           \
      "TLS handshakes that failed: the client offered protocols (ALPN), and http/1.1 is not "      \
      "among them.")                                                                               \
    X(with, certificate_refused,                                                                   \
      "TLS handshakes that failed: the client refused the certificate by an alert.")               \
    X(with, timed_out, "TLS handshakes that were not done within head_timeout_ms.")                \
    X(with, plain_http, "Connections to listen_tls that spoke HTTP without TLS.")                  \
    X(with, after_handshake, "TLS sessions that were established, and broke or were cut.")         \
    X(with, other,                                                                                 \
      "TLS handshakes that failed otherwise: noise, or a client that left in the middle.")

enum tls_failure {
#define X(unused, name, help) TLS_FAILURE_##name,
    TLS_FAILURES(X, )
#undef X
        TLS_FAILURE_COUNT
};

/* The kind of a handshake that ended with this error of OpenSSL (ERR_peek_last_error). */
enum tls_failure tls_failure_of(unsigned long error);

#endif
