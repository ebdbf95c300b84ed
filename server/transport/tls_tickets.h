/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys of session tickets (RFC 5077, RFC 8446 4.6.1): either the process's own, renewed every
 * twelve hours, or those of a file that several nodes share, so that each node resumes sessions of
 * the others, also after a restart. Called by tls.c, from any thread.
 */
#ifndef TOLLGATE_SERVER_TRANSPORT_TLS_TICKETS_H
#define TOLLGATE_SERVER_TRANSPORT_TLS_TICKETS_H

#include <openssl/ssl.h>
#include <stddef.h>

#define TLS_TICKET_LIFE_S   43200 /* a key makes tickets so long, then as long only opens them */
#define TLS_TICKET_KEY_SIZE 80    /* in the file: a name of 16 bytes, 32 for HMAC, 32 for AES-256 */
#define TLS_TICKET_KEYS_MAX 16

struct tls_tickets;

/* Makes keys of the process's own. Returns a reference for the caller; NULL without memory. */
struct tls_tickets *tls_tickets_create(void);
/*
 * Reads the keys in the file, one behind the other, each as in nginx's ssl_session_ticket_key: the
 * first one makes tickets, all of them open tickets. 0 and a reference, or a negative errno and one
 * sentence: a file whose mode lets others read it, or whose size is not that of 1 to
 * TLS_TICKET_KEYS_MAX keys, is refused.
 */
int tls_tickets_read(struct tls_tickets **out, const char *path, char *error, size_t error_size);
/* Takes another reference, and drops one; the last one wipes the keys. */
struct tls_tickets *tls_tickets_hold(struct tls_tickets *tickets);
void tls_tickets_drop(struct tls_tickets *tickets);

/* Sets up encryption or decryption of a ticket; returns what the callback of
 * SSL_CTX_set_tlsext_ticket_key_evp_cb(3) must return. */
int tls_tickets_use(struct tls_tickets *tickets, const SSL *ssl, unsigned char name[16],
                    unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int encrypt);

#endif
