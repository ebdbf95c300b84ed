/*
 * What an operator should mend among certificates that load: those that no client gets, chains that
 * lack their intermediate. Called once for each load; it refuses nothing.
 */
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "server/tls_certificates.h"

#define NAME_SIZE 512

/* ---- certificates that no client gets ---- */

/* A host that the name stands for; of a wildcard one that nobody else is likely to name. */
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
 * Which certificate goes before this one for all clients that ask for the host; NULL: some get this
 * one. One of another kind (ECDSA, RSA) leaves it the clients that know its kind alone.
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
    if (certificate == certificates->all && certificate->name_count == 0)
        return; /* for those who give no name */
    for (unsigned i = 0; i < certificate->name_count; i++) {
        host_of(certificate->names[i], host);
        first = served_first(certificates, certificate, host, now_s);
        if (first == NULL)
            return;
    }
    if (first != NULL)
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

static bool is_issued_by_next(const struct certificate *certificate)
{
    for (int i = 0; i < sk_X509_num(certificate->chain); i++)
        if (X509_check_issued(sk_X509_value(certificate->chain, i), certificate->leaf) == X509_V_OK)
            return true;
    return false;
}

/* Whether this system trusts the issuer itself, so that nothing stands between the two. */
static bool is_issued_by_root(const struct certificate *certificate)
{
    X509 *issuer = NULL;
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    bool found = store != NULL && context != NULL && X509_STORE_set_default_paths(store) == 1 &&
                 X509_STORE_CTX_init(context, store, NULL, NULL) == 1 &&
                 X509_STORE_CTX_get1_issuer(&issuer, context, certificate->leaf) == 1;
    X509_free(issuer);
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    return found;
}

static void review_chain(struct certificates *certificates, const struct certificate *certificate)
{
    char issuer[NAME_SIZE];
    if (X509_self_signed(certificate->leaf, 0) == 1 || is_issued_by_next(certificate) ||
        is_issued_by_root(certificate))
        return;
    X509_NAME_oneline(X509_get_issuer_name(certificate->leaf), issuer, sizeof(issuer));
    certificates_warn(
        certificates,
        "%s: the chain lacks the certificate of its issuer %s, and clients that do not "
        "have it refuse the connection; append the intermediate certificate that the "
        "authority gives (certbot: use fullchain.pem, not cert.pem)",
        certificate->file, issuer);
}

void certificates_review(struct certificates *certificates, int64_t now_s)
{
    for (unsigned i = 0; i < certificates->count; i++) {
        review_reach(certificates, &certificates->all[i], now_s);
        review_chain(certificates, &certificates->all[i]);
    }
}
