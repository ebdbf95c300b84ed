/*
 * What TLS needs before a connection comes: certificates and their keys, the choice among them by
 * server name (RFC 6066 3), ALPN (RFC 7301), the keys of session tickets (RFC 5077, RFC 8446
 * 4.6.1). Loaded when a node starts and again at SIGHUP; shared by the workers, immutable but for
 * the ticket keys, which a mutex guards. It moves no bytes: transport_tls.c does.
 */
#ifndef TOLLGATE_SERVER_TRANSPORT_TLS_H
#define TOLLGATE_SERVER_TRANSPORT_TLS_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TLS_CERTIFICATES_MAX 64

struct config;
struct tls;

/*
 * Reads the configuration's `certificates`: a PEM file with a chain and its key (or the key in
 * FILE.key beside it), or a directory of such *.pem files and of directories with fullchain.pem and
 * privkey.pem, as certbot keeps them, which the path may also be itself. A *.pem there that lacks
 * certificate or key is skipped with a warning, unless `before` served it. Each handshake gets the
 * certificate that certificates_choose says; the first by name serves those who name no other's
 * host. The ticket keys are those of `tls_ticket_keys`, or else of `before`, where there is one, so
 * that sessions outlive a reload. 0 and a reference, or a negative errno with one sentence.
 * FILE.ocsp beside a certificate's FILE is an OCSP response, which handshakes carry for clients
 * that ask, while it is valid; one that is of no use is a warning.
 */
int tls_load(struct tls **out, const struct config *config, const struct tls *before, char *error,
             size_t error_size);
/* Another reference, and its end. From any thread. */
struct tls *tls_hold(struct tls *tls);
void tls_drop(struct tls **tls);

/* A server's session without BIOs; the caller's. NULL without memory. */
SSL *tls_session_new(const struct tls *tls);

unsigned tls_certificate_count(const struct tls *tls);
/* How many of them have an OCSP response that is stapled now. */
unsigned tls_staple_count(const struct tls *tls);
/*
 * What an operator should mend, one sentence with the cure, counted from 0; NULL: there is no such.
 */
const char *tls_warning(const struct tls *tls, unsigned index);
/*
 * The file of a certificate whose OCSP response has ended since the load, each told once; NULL:
 * there is none (any more). For one thread.
 */
const char *tls_staple_ended(struct tls *tls, int64_t now_s);
/* Whether a certificate is for the host, a name or an IP address without brackets. */
bool tls_has_host(const struct tls *tls, const char *host);
/* When the first of the certificates ends (seconds since 1970), and which file it is of. */
int64_t tls_expires_s(const struct tls *tls, const char **file);
/* Whether the kernel can make the records (its module tls is there). */
bool tls_has_kernel(void);

#endif
