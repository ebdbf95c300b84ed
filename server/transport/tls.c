/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sets up OpenSSL's context for all sessions of a node: certificates, tickets, OCSP responses,
 * ALPN. Called by node.c and stream_tls.c; it moves no bytes. See tls.h.
 */
#include "server/transport/tls.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "server/config/config.h"
#include "server/config/tls_algorithms.h"
#include "server/transport/tls_certificates.h"
#include "server/transport/tls_tickets.h"

#define TICKETS 2 /* for a new session: browsers open two connections at once */

struct tls {
    atomic_uint references;
    struct tls_tickets *tickets; /* holds */
    SSL_CTX *context; /* owns; without a certificate: on_certificate gives each session its own */
    struct certificates certificates;
    bool ended_told[TLS_CERTIFICATES_MAX]; /* by the one thread that asks tls_staple_ended */
};

static int64_t now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec;
}

/* SSL_CTX_set_tlsext_ticket_key_evp_cb(3) */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int encrypt)
{
    const struct tls *tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    return tls_tickets_use(tls->tickets, ssl, name, iv, cipher, mac, encrypt);
}

/* ---- choosing ---- */

/* RFC 6066 3: accepts any server name; on_certificate reads it. */
static int on_server_name(SSL *ssl, int *alert, void *context)
{
    (void)alert;
    (void)context;
    return SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) != NULL ? SSL_TLSEXT_ERR_OK
                                                                      : SSL_TLSEXT_ERR_NOACK;
}

/* SSL_CTX_set_cert_cb(3): called once the ClientHello is read, where no session is resumed. */
static int on_certificate(SSL *ssl, void *context)
{
    const struct tls *tls = context;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    const struct certificate *chosen =
        certificates_choose(&tls->certificates, ssl, name, now_seconds());
    return SSL_use_cert_and_key(ssl, chosen->leaf, chosen->key, chosen->chain, 1);
}

/* SSL_CTX_set_tlsext_status_cb(3): called where a client asks for an OCSP response, once its
 * certificate is chosen. */
static int on_status(SSL *ssl, void *context)
{
    const struct tls *tls = context;
    const X509 *leaf = SSL_get_certificate(ssl);
    const struct staple *staple = NULL;
    for (unsigned i = 0; i < tls->certificates.count && staple == NULL; i++)
        if (tls->certificates.all[i].leaf == leaf)
            staple = &tls->certificates.all[i].staple;
    if (staple == NULL || !staple_holds(staple, now_seconds()))
        return SSL_TLSEXT_ERR_NOACK;
    unsigned char *copy = OPENSSL_memdup(staple->response, staple->length); /* SSL_free frees it */
    if (copy == NULL)
        return SSL_TLSEXT_ERR_NOACK;
    SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)staple->length);
    return SSL_TLSEXT_ERR_OK;
}

/* RFC 7301 3.2: a client that offers protocols, but not http/1.1, gets an alert. */
static int on_protocols(SSL *ssl, const unsigned char **out, unsigned char *out_length,
                        const unsigned char *offered, unsigned offered_length, void *context)
{
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *chosen;
    (void)ssl;
    (void)context;
    if (SSL_select_next_proto(&chosen, out_length, ours, sizeof(ours) - 1, offered,
                              offered_length) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* ---- loading ---- */

bool tls_has_kernel(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    /* Only a connected socket takes the protocol: a kernel that has it says ENOTCONN, one without
     * it says ENOENT. */
    bool has = setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) == 0 || errno == ENOTCONN;
    close(fd);
    return has;
}

static SSL_CTX *context_create(struct tls *tls, const struct config *config)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    static const unsigned char id[] = "tollgate";
    if (context == NULL)
        return NULL;
    uint64_t options = SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                       SSL_OP_PRIORITIZE_CHACHA | SSL_OP_NO_COMPRESSION;
    if (tls_has_kernel())
        options |= SSL_OP_ENABLE_KTLS;
    SSL_CTX_set_options(context, options);
    /* RELEASE_BUFFERS: an idle connection keeps no buffer. ACCEPT_MOVING: a retried write may pass
     * its bytes from another address. */
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF); /* tickets alone */
    SSL_CTX_set_timeout(context, TLS_TICKET_LIFE_S);
    SSL_CTX_set_num_tickets(context, TICKETS); /* a resumed session gets one */
    SSL_CTX_set_tlsext_servername_callback(context, on_server_name);
    SSL_CTX_set_cert_cb(context, on_certificate, tls);
    SSL_CTX_set_tlsext_status_cb(context, on_status);
    SSL_CTX_set_tlsext_status_arg(context, tls);
    SSL_CTX_set_alpn_select_cb(context, on_protocols, NULL);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket);
    SSL_CTX_set_app_data(context, tls);
    if (tls_algorithms_set(context, config->tls_groups, config->tls_ciphers) != 0 ||
        SSL_CTX_set_session_id_context(context, id, sizeof(id) - 1) != 1) {
        SSL_CTX_free(context);
        return NULL;
    }
    return context;
}

static void tls_free(struct tls *tls)
{
    SSL_CTX_free(tls->context);
    certificates_clear(&tls->certificates);
    tls_tickets_drop(tls->tickets);
    free(tls);
}

/* Takes the ticket keys of the file, else those of `before`, so that sessions outlive a reload,
 * else new ones. */
static int take_tickets(struct tls *tls, const struct config *config, const struct tls *before,
                        char *error, size_t size)
{
    if (config->tls_ticket_keys[0] != '\0')
        return tls_tickets_read(&tls->tickets, config->tls_ticket_keys, error, size);
    tls->tickets = before != NULL ? tls_tickets_hold(before->tickets) : tls_tickets_create();
    if (tls->tickets != NULL)
        return 0;
    snprintf(error, size, "out of memory");
    return -ENOMEM;
}

int tls_load(struct tls **out, const struct config *config, const struct tls *before, char *error,
             size_t error_size)
{
    struct tls *tls = calloc(1, sizeof(*tls));
    *out = NULL;
    if (tls == NULL) {
        snprintf(error, error_size, "out of memory");
        return -ENOMEM;
    }
    atomic_init(&tls->references, 1);
    int status = take_tickets(tls, config, before, error, error_size);
    if (status != 0) {
        tls_free(tls);
        return status;
    }
    ERR_clear_error();
    tls->context = context_create(tls, config);
    if (tls->context == NULL) {
        status = -ENOMEM;
        const char *reason = ERR_reason_error_string(ERR_peek_last_error());
        snprintf(error, error_size, "TLS: %s", reason != NULL ? reason : "out of memory");
    } else {
        status =
            certificates_load(&tls->certificates, config->certificates,
                              before != NULL ? &before->certificates : NULL, error, error_size);
    }
    if (status != 0) {
        tls_free(tls);
        return status;
    }
    for (unsigned i = 0; i < tls->certificates.count; i++) /* the load's warning has named these */
        tls->ended_told[i] = tls->certificates.all[i].staple.ends_s <= tls->certificates.reviewed_s;
    *out = tls;
    return 0;
}

struct tls *tls_hold(struct tls *tls)
{
    if (tls != NULL)
        atomic_fetch_add(&tls->references, 1);
    return tls;
}

void tls_drop(struct tls **out)
{
    struct tls *tls = *out;
    *out = NULL;
    if (tls != NULL && atomic_fetch_sub(&tls->references, 1) == 1)
        tls_free(tls);
}

/* ---- asking ---- */

SSL *tls_session_new(const struct tls *tls)
{
    SSL *ssl = SSL_new(tls->context);
    if (ssl != NULL)
        SSL_set_accept_state(ssl);
    return ssl;
}

unsigned tls_certificate_count(const struct tls *tls)
{
    return tls->certificates.count;
}

unsigned tls_staple_count(const struct tls *tls)
{
    unsigned count = 0;
    for (unsigned i = 0; i < tls->certificates.count; i++)
        count += staple_holds(&tls->certificates.all[i].staple, now_seconds());
    return count;
}

const char *tls_warning(const struct tls *tls, unsigned index)
{
    return index < tls->certificates.warning_count ? tls->certificates.warnings[index] : NULL;
}

const char *tls_staple_ended(struct tls *tls, int64_t now_s)
{
    for (unsigned i = 0; i < tls->certificates.count; i++) {
        const struct certificate *certificate = &tls->certificates.all[i];
        if (tls->ended_told[i] || certificate->staple.response == NULL ||
            now_s < certificate->staple.ends_s)
            continue;
        tls->ended_told[i] = true;
        return certificate->file;
    }
    return NULL;
}

bool tls_has_host(const struct tls *tls, const char *host)
{
    for (unsigned i = 0; i < tls->certificates.count; i++) {
        X509 *leaf = tls->certificates.all[i].leaf;
        if (X509_check_host(leaf, host, strlen(host), 0, NULL) == 1 ||
            X509_check_ip_asc(leaf, host, 0) == 1)
            return true;
    }
    return false;
}

int64_t tls_expires_s(const struct tls *tls, const char **file)
{
    const struct certificate *first = &tls->certificates.all[0];
    for (unsigned i = 1; i < tls->certificates.count; i++)
        if (tls->certificates.all[i].ends_s < first->ends_s)
            first = &tls->certificates.all[i];
    *file = first->file;
    return first->ends_s;
}
