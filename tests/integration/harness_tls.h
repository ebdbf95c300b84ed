/*
 * A client of OpenSSL's for the tests: what it offers is chosen, and it can make records that
 * OpenSSL's own functions would not. Any failure fails the test, but for the handshake's.
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
    unsigned char traffic_secret[32]; /* TLS 1.3: the client's, as OpenSSL told it */
    uint64_t sent; /* records of its own that were made so far, of the last key */
};

struct client_options {
    const char *name;       /* NULL: media.example */
    const char *protocols;  /* ALPN's wire format */
    const char *signatures; /* what it can verify, as SSL_set1_sigalgs_list has it; NULL: all */
    const char *ciphers;    /* of TLS 1.2; NULL: OpenSSL's */
    bool verifies;          /* the certificate, which nobody vouches for */
    bool asks_status;       /* for an OCSP response */
    int version;            /* 0: any */
    int receive_buffer_bytes;
    int fragment; /* TLSEXT_max_fragment_length_512 and the like; 0: not asked for */
    SSL_SESSION *session;
    int fd; /* where not 0: connected already */
};

/* Connects and shakes hands: what SSL_connect said. */
int client_open(struct site *site, struct client *client, const struct client_options *options);
void client_close(struct client *client);
#define OPEN(site, client, ...)                                                                    \
    cr_assert_eq(client_open(site, client, __extension__ &(struct client_options){__VA_ARGS__}),   \
                 1, "%s", ERR_reason_error_string(ERR_peek_last_error()))

/* Asks for the whole file, as the first thing on its connection or after other requests. */
void ask(struct client *client, const char *target);
/* Reads the head and as many bytes of the body; how many of them came. */
size_t take(struct client *client, size_t wanted);

/*
 * Sends one record of any type (22: handshake, 21: alert) and content, sealed with AES-128-GCM as
 * the session's next. For sessions with that cipher, and OpenSSL may send nothing after it.
 */
void client_send_record(struct client *client, unsigned char type, const void *content,
                        size_t length);

/* Who issues certificates, and signs OCSP responses. */
struct authority {
    X509 *certificate;
    EVP_PKEY *key;
};
void authority_make(struct authority *authority, const char *subject);
void authority_free(struct authority *authority);

struct certificate_options {
    const char *file;                  /* beneath certificates/ */
    const char *names;                 /* subjectAltName: "DNS:a.example,DNS:*.b.example" */
    const char *subject;               /* its common name */
    const char *curve;                 /* NULL: P-256 */
    bool rsa;                          /* a key of RSA in place of one on a curve */
    const struct authority *authority; /* which issues it; NULL: it is signed by itself */
    bool issued;                       /* by an authority of its own that nobody trusts */
    bool with_issuer;                  /* whose certificate follows */
    const char *purpose;               /* extendedKeyUsage; NULL: none */
    bool must_staple;                  /* RFC 7633 */
    bool without_key;
    int64_t starts_s, ends_s; /* since 1970; 0: an hour ago, in 30 days */
};

/* Writes a certificate and its key to one file. */
void certificate_make(struct site *site, const struct certificate_options *options);
#define CERTIFICATE(site, ...) certificate_make(site, &(struct certificate_options){__VA_ARGS__})

#endif
