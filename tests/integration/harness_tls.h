/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TLS client for the tests, by OpenSSL. A test chooses what the client offers, and can send
 * records that OpenSSL's own functions would not make. Any failure but that of the handshake fails
 * the test.
 */
#ifndef TOLLGATE_TESTS_INTEGRATION_HARNESS_TLS_H
#define TOLLGATE_TESTS_INTEGRATION_HARNESS_TLS_H

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "tests/integration/harness.h"

struct client {
    SSL_CTX *context;
    SSL *ssl;
    int fd;
    unsigned char traffic_secret[32]; /* TLS 1.3: the client's, from OpenSSL's key log */
    uint64_t sent;                    /* records that the client has sent under its present key */
};

struct client_options {
    const char *name;       /* NULL: media.example */
    const char *protocols;  /* ALPN's wire format */
    const char *signatures; /* algorithms, as for SSL_set1_sigalgs_list; NULL: OpenSSL's */
    const char *ciphers;    /* of TLS 1.2; NULL: OpenSSL's */
    bool verifies;          /* the certificate, and so refuses it: it trusts no authority */
    bool asks_status;       /* for an OCSP response */
    int version;            /* 0: any */
    int receive_buffer_bytes;
    int fragment; /* TLSEXT_max_fragment_length_512 and the like; 0: not asked for */
    SSL_SESSION *session;
    int fd; /* a connected socket; 0: client_open connects */
};

/* Connects and makes the handshake; returns the result of SSL_connect. */
int client_open(struct site *site, struct client *client, const struct client_options *options);
/* Frees the session and closes its socket. */
void client_close(struct client *client);
/* client_open, which must succeed. */
#define OPEN(site, client, ...)                                                                    \
    cr_assert_eq(client_open(site, client, __extension__ &(struct client_options){__VA_ARGS__}),   \
                 1, "%s", ERR_reason_error_string(ERR_peek_last_error()))

/* Sends a GET for the target. */
void ask(struct client *client, const char *target);
/* Reads the head and at most `wanted` bytes of the body; returns how many of the body came. */
size_t take(struct client *client, size_t wanted);

/*
 * Sends one record of any type (22: handshake, 21: alert) and content, sealed with AES-128-GCM as
 * the session's next. The session must have that cipher. OpenSSL must send nothing afterwards,
 * because its own record number is then one behind.
 */
void client_send_record(struct client *client, unsigned char type, const void *content,
                        size_t length);

/* An authority, which issues certificates and signs OCSP responses. */
struct authority {
    X509 *certificate;
    EVP_PKEY *key;
};
void authority_make(struct authority *authority, const char *subject);
void authority_free(struct authority *authority);

struct certificate_options {
    const char *file;                  /* beneath certificates/ */
    const char *names;                 /* subjectAltName: "DNS:a.example,DNS:*.b.example" */
    const char *subject;               /* the common name */
    const char *curve;                 /* NULL: P-256 */
    bool rsa;                          /* an RSA key instead of one on a curve */
    const struct authority *authority; /* the issuer; NULL: self-signed */
    bool issued;                       /* by a new authority that nobody trusts */
    bool with_issuer;                  /* the issuer's certificate follows in the file */
    const char *purpose;               /* extendedKeyUsage; NULL: none */
    bool must_staple;                  /* RFC 7633 */
    bool without_key;
    int64_t starts_s, ends_s; /* since 1970; 0: an hour ago, in 30 days */
};

/* Writes a certificate and its key to one file. */
void certificate_make(struct site *site, const struct certificate_options *options);
#define CERTIFICATE(site, ...) certificate_make(site, &(struct certificate_options){__VA_ARGS__})

#endif
