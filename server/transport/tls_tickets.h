/*
 * The keys of session tickets (RFC 5077, RFC 8446 4.6.1): of the process's own, with a new one
 * every twelve hours, or those of a file that several nodes share, so that each resumes what
 * another began, and a restart forgets nothing. Used by the contexts of tls.c, from any thread.
 */
#ifndef TOLLGATE_SERVER_TRANSPORT_TLS_TICKETS_H
#define TOLLGATE_SERVER_TRANSPORT_TLS_TICKETS_H

#include <openssl/ssl.h>
#include <stddef.h>

#define TLS_TICKET_LIFE_S   43200 /* a ticket opens for as long again, under the key before */
#define TLS_TICKET_KEY_SIZE 80    /* in the file: a name of 16 bytes, 32 for HMAC, 32 for AES-256 */
#define TLS_TICKET_KEYS_MAX 16

struct tls_tickets;

/* Keys of the process's own. NULL without memory. The caller's reference. */
struct tls_tickets *tls_tickets_create(void);
/*
 * The keys in the file, as nginx's ssl_session_ticket_key has them, one behind the other: the first
 * makes tickets, each opens them. 0 and a reference, or a negative errno and one sentence: a file
 * whose mode lets others read it, or whose size is not that of 1 to TLS_TICKET_KEYS_MAX keys, is
 * refused.
 */
int tls_tickets_read(struct tls_tickets **out, const char *path, char *error, size_t error_size);
/* Another reference, and its end, which wipes the keys. */
struct tls_tickets *tls_tickets_hold(struct tls_tickets *tickets);
void tls_tickets_drop(struct tls_tickets *tickets);

/* SSL_CTX_set_tlsext_ticket_key_evp_cb(3): what the callback returns. */
int tls_tickets_use(struct tls_tickets *tickets, const SSL *ssl, unsigned char name[16],
                    unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int encrypt);

#endif
