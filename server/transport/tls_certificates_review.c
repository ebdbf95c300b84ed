/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Warns of what an operator should mend in certificates that load: certificates that no client
 * gets, chains without their intermediate, OCSP responses that cannot be stapled. Called once for
 * each load; it refuses nothing.
 */
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "server/transport/tls_certificates.h"

#define NAME_SIZE 512

/* ---- certificates that no client gets ---- */

/* Writes a host that the name covers; for a wildcard one that no other certificate is likely to
 * name. */
static void host_of(const char *name, char host[NAME_SIZE])
{
    const char *asterisk = strchr(name, '*');
    if (asterisk == NULL)
        snprintf(host, NAME_SIZE, "%s", name);
    else
        snprintf(host, NAME_SIZE, "%.*sany-other-host%s", (int)(asterisk - name), name,
                 asterisk + 1);
}

/*
 * The certificate that is chosen before this one for every client that asks for the host; NULL:
 * some clients get this one. One of another kind (ECDSA, RSA) leaves this one the clients that know
 * its kind only.
 */
static const struct certificate *served_first(const struct certificates *certificates,
                                              const struct certificate *certificate,
                                              const char *host, int64_t now_s)
{
    struct certificates same = {0};
    unsigned at[TLS_CERTIFICATES_MAX] = {0};
    int type = EVP_PKEY_get_base_id(certificate->key);
    int bits = type == EVP_PKEY_EC ? EVP_PKEY_get_bits(certificate->key) : 0;
    for (unsigned i = 0; i < certificates->count; i++) {
        EVP_PKEY *key = certificates->all[i].key;
        if (EVP_PKEY_get_base_id(key) != type || (bits != 0 && EVP_PKEY_get_bits(key) != bits))
            continue;
        at[same.count] = i;
        same.all[same.count++] = certificates->all[i]; /* borrowed */
    }
    const struct certificate *chosen = certificates_choose(&same, NULL, host, now_s);
    chosen = &certificates->all[at[chosen - same.all]];
    return chosen == certificate ? NULL : chosen;
}

static void review_reach(struct certificates *certificates, const struct certificate *certificate,
                         int64_t now_s)
{
    char host[NAME_SIZE];
    const struct certificate *first = NULL;
    const char *unaccepted = NULL;
    if (certificate == certificates->all && certificate->name_count == 0)
        return; /* it serves clients that give no name */
    for (unsigned i = 0; i < certificate->name_count; i++) {
        host_of(certificate->names[i], host);
        first = served_first(certificates, certificate, host, now_s);
        if (first == NULL)
            return;
        if (X509_check_host(certificate->leaf, host, strlen(host), 0, NULL) != 1)
            unaccepted = certificate->names[i];
    }
    if (unaccepted != NULL)
        certificates_warn(certificates,
                          "%s: no client gets this certificate, because none accepts its name %s; "
                          "have it made for hosts, or for a wildcard such as *.shop.example",
                          certificate->file, unaccepted);
    else if (first != NULL)
        certificates_warn(
            certificates,
            "%s: no client gets this certificate, because %s comes first for %s; remove "
            "one of the two",
            certificate->file, first->file,
            certificate->name_count == 1 ? certificate->names[0] : "its names");
    else
        certificates_warn(certificates,
                          "%s: no client gets this certificate, because it names no host and is "
                          "not the first; remove it, or rename it so that it comes before %s",
                          certificate->file, certificates->all[0].file);
}

/* ---- chains ---- */

static bool is_issued_by(X509 *leaf, X509 *issuer)
{
    return X509_check_issued(issuer, leaf) == X509_V_OK &&
           X509_verify(leaf, X509_get0_pubkey(issuer)) == 1;
}

/* The issuer's certificate where this system trusts it: then the chain needs no intermediate. NULL:
 * unknown. */
static X509 *issuer_of_system(X509 *leaf)
{
    X509 *issuer = NULL;
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    if (store != NULL && context != NULL && X509_STORE_set_default_paths(store) == 1 &&
        X509_STORE_CTX_init(context, store, NULL, NULL) == 1)
        (void)X509_STORE_CTX_get1_issuer(&issuer, context, leaf);
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    return issuer;
}

X509 *certificate_issuer(const struct certificate *certificate)
{
    X509 *issuer = X509_self_signed(certificate->leaf, 0) == 1 ? certificate->leaf : NULL;
    for (int i = 0; issuer == NULL && i < sk_X509_num(certificate->chain); i++)
        if (is_issued_by(certificate->leaf, sk_X509_value(certificate->chain, i)))
            issuer = sk_X509_value(certificate->chain, i);
    if (issuer == NULL)
        return issuer_of_system(certificate->leaf);
    X509_up_ref(issuer);
    return issuer;
}

static void review_chain(struct certificates *certificates, const struct certificate *certificate)
{
    char issuer[NAME_SIZE];
    X509 *known = certificate_issuer(certificate);
    X509_free(known);
    if (known != NULL)
        return;
    X509_NAME_oneline(X509_get_issuer_name(certificate->leaf), issuer, sizeof(issuer));
    certificates_warn(
        certificates,
        "%s: the chain lacks the certificate of its issuer %s, and clients that do not "
        "have it refuse the connection; append the intermediate certificate that the "
        "authority gives (certbot: use fullchain.pem, not cert.pem)",
        certificate->file, issuer);
}

/* ---- OCSP responses ---- */

/*
 * RFC 7633 4.2.3.1: status_request among the features that the certificate promises
 * ("must-staple").
 */
static bool has_to_be_stapled(const struct certificate *certificate)
{
    bool found = false;
    TLS_FEATURE *features = X509_get_ext_d2i(certificate->leaf, NID_tlsfeature, NULL, NULL);
    for (int i = 0; i < sk_ASN1_INTEGER_num(features); i++)
        found = found ||
                ASN1_INTEGER_get(sk_ASN1_INTEGER_value(features, i)) == TLSEXT_TYPE_status_request;
    TLS_FEATURE_free(features);
    return found;
}

static void review_staple(struct certificates *certificates, const struct certificate *certificate,
                          int64_t now_s)
{
    char day[STAPLE_DAY_SIZE];
    const struct staple *staple = &certificate->staple;
    const char *file = certificate->file;
    if (staple->response == NULL) {
        if (has_to_be_stapled(certificate))
            certificates_warn(
                certificates,
                "%s: the certificate promises an OCSP response (\"must-staple\"), and "
                "clients refuse it without one; write the response to %s" STAPLE_SUFFIX,
                file, file);
    } else if (now_s < staple->starts_s) {
        certificates_warn(certificates,
                          "%s" STAPLE_SUFFIX
                          ": is not stapled before %s, its thisUpdate; set this machine's "
                          "clock, or ask the responder again",
                          file, staple_day(staple->starts_s, day));
    } else if (now_s >= staple->ends_s) {
        certificates_warn(certificates,
                          "%s" STAPLE_SUFFIX
                          ": is not stapled: it expired on %s, its nextUpdate; ask the "
                          "responder again",
                          file, staple_day(staple->ends_s, day));
    } else if (staple->ends_s == INT64_MAX) {
        certificates_warn(certificates,
                          "%s" STAPLE_SUFFIX
                          ": has no nextUpdate, so it is stapled for as long as the file is "
                          "there; ask the responder for one that has (openssl ocsp: -ndays)",
                          file);
    }
}

void certificates_review(struct certificates *certificates, int64_t now_s)
{
    certificates->reviewed_s = now_s;
    for (unsigned i = 0; i < certificates->count; i++) {
        review_reach(certificates, &certificates->all[i], now_s);
        review_chain(certificates, &certificates->all[i]);
        review_staple(certificates, &certificates->all[i], now_s);
    }
}
