/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What TLS needs before a connection comes: certificates and their keys, the choice among them by
 * server name (RFC 6066 3), ALPN (RFC 7301), the keys of session tickets (RFC 5077, RFC 8446
 * 4.6.1). Loaded when a node starts and again at SIGHUP; shared by the workers, immutable but for
 * the ticket keys, which a mutex guards. It moves no bytes: tls_records.c and stream_tls*.c do.
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
 * privkey.pem, as certbot keeps them; the path may also be such a directory itself. A *.pem in the
 * directory that lacks its certificate or key is skipped with a warning, unless `before` served it.
 * certificates_choose picks the certificate of each handshake; the first by file name serves
 * clients that name the host of no other. The ticket keys are those of `tls_ticket_keys`, or else
 * of `before`, where there is one, so that sessions outlive a reload. 0 and a reference, or a
 * negative errno with one sentence. FILE.ocsp beside a certificate's FILE is an OCSP response,
 * which handshakes carry for clients that ask, while it is valid; an unusable one causes a warning.
 */
int tls_load(struct tls **out, const struct config *config, const struct tls *before, char *error,
             size_t error_size);
/* Takes another reference, and drops one. From any thread. */
struct tls *tls_hold(struct tls *tls);
void tls_drop(struct tls **tls);

/* Makes a server's session without BIOs, which the caller frees (SSL_free). NULL without memory. */
SSL *tls_session_new(const struct tls *tls);

unsigned tls_certificate_count(const struct tls *tls);
/* How many of them have an OCSP response that is stapled now. */
unsigned tls_staple_count(const struct tls *tls);
/* The warning of that index, counted from 0: one sentence on what an operator should mend, with the
 * cure. NULL past the last. */
const char *tls_warning(const struct tls *tls, unsigned index);
/* Returns the file of a certificate whose OCSP response has ended since the load, each file once;
 * NULL when there are no more. Only one thread may call it. */
const char *tls_staple_ended(struct tls *tls, int64_t now_s);
/* Whether a certificate names the host, which is a name or an IP address without brackets. */
bool tls_has_host(const struct tls *tls, const char *host);
/* The earliest end of a certificate (seconds since 1970); *file is that certificate's file,
 * borrowed. */
int64_t tls_expires_s(const struct tls *tls, const char **file);
/* Whether the kernel can make the records (its module tls is there). */
bool tls_has_kernel(void);

#endif
