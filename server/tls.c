/* Certificates, server names, ALPN and ticket keys. See tls.h. */
#include "server/tls.h"

#include <dirent.h>
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "server/check.h"
#include "server/config.h"
#include "server/log.h"
#include "server/tls_algorithms.h"

#define TICKET_KEY_LIFE_S 43200 /* a ticket opens for as long again, under the key before */
#define TICKETS           2     /* of a new session: browsers open two connections at once */
#define PATH_SIZE         4352

struct ticket_key {
    unsigned char name[16], aes[32], mac[32];
    int64_t made_s; /* 0: none */
};

struct tickets {
    atomic_uint references;
    pthread_mutex_t mutex;
    struct ticket_key current, before;
};

struct certificate {
    SSL_CTX *context; /* owns */
    char *file;       /* owns */
};

struct tls {
    atomic_uint references;
    const struct config *config; /* borrows; while it loads */
    struct tickets *tickets;     /* holds */
    struct certificate certificates[TLS_CERTIFICATES_MAX];
    unsigned count;
};

/* ---- ticket keys ---- */

static struct tickets *tickets_create(void)
{
    struct tickets *tickets = calloc(1, sizeof(*tickets));
    if (tickets == NULL)
        return NULL;
    atomic_init(&tickets->references, 1);
    pthread_mutex_init(&tickets->mutex, NULL);
    return tickets;
}

static void tickets_drop(struct tickets *tickets)
{
    if (tickets == NULL || atomic_fetch_sub(&tickets->references, 1) != 1)
        return;
    pthread_mutex_destroy(&tickets->mutex);
    explicit_bzero(tickets, sizeof(*tickets));
    free(tickets);
}

/* The key to make tickets with, a new one where the last is old. False without randomness. */
static bool tickets_renew(struct tickets *tickets, int64_t now_s, struct ticket_key *out)
{
    bool good = true;
    pthread_mutex_lock(&tickets->mutex);
    if (tickets->current.made_s == 0 || now_s - tickets->current.made_s >= TICKET_KEY_LIFE_S) {
        struct ticket_key fresh = {.made_s = now_s};
        good = RAND_bytes(fresh.name, sizeof(fresh.name)) == 1 &&
               RAND_priv_bytes(fresh.aes, sizeof(fresh.aes)) == 1 &&
               RAND_priv_bytes(fresh.mac, sizeof(fresh.mac)) == 1;
        if (good) {
            tickets->before = tickets->current;
            tickets->current = fresh;
        }
        explicit_bzero(&fresh, sizeof(fresh));
    }
    *out = tickets->current;
    pthread_mutex_unlock(&tickets->mutex);
    return good;
}

/* The key of a ticket that a client brought. */
static bool tickets_find(struct tickets *tickets, const unsigned char name[16], int64_t now_s,
                         struct ticket_key *out, bool *old)
{
    bool found = false;
    pthread_mutex_lock(&tickets->mutex);
    const struct ticket_key *keys[2] = {&tickets->current, &tickets->before};
    for (unsigned i = 0; i < 2 && !found; i++) {
        found = keys[i]->made_s != 0 && now_s - keys[i]->made_s < 2L * TICKET_KEY_LIFE_S &&
                CRYPTO_memcmp(keys[i]->name, name, sizeof(keys[i]->name)) == 0;
        if (found) {
            *out = *keys[i];
            *old = i == 1;
        }
    }
    pthread_mutex_unlock(&tickets->mutex);
    return found;
}

static int64_t now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec;
}

static bool mac_start(EVP_MAC_CTX *mac, struct ticket_key *key)
{
    char digest[] = "SHA256";
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof(key->mac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(mac, parameters) == 1;
}

/*
 * SSL_CTX_set_tlsext_ticket_key_evp_cb(3): 1 good, 2 good but to be renewed, 0 unknown, -1 failed. Over
 * TLS 1.3 each is to be renewed, whatever its key: RFC 8446 appendix C.4 has clients use a ticket once, so
 * that who watches cannot tell that two connections are of one client.
 */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int encrypt)
{
    const struct tls *tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    struct ticket_key key;
    bool old = false, good;
    int64_t now_s = now_seconds();
    if (encrypt) {
        if (!tickets_renew(tls->tickets, now_s, &key))
            return -1;
        memcpy(name, key.name, sizeof(key.name));
        good = RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) == 1 &&
               EVP_EncryptInit_ex2(cipher, EVP_aes_256_cbc(), key.aes, iv, NULL) == 1;
    } else {
        if (!tickets_find(tls->tickets, name, now_s, &key, &old))
            return 0;
        good = EVP_DecryptInit_ex2(cipher, EVP_aes_256_cbc(), key.aes, iv, NULL) == 1;
    }
    good = good && mac_start(mac, &key);
    explicit_bzero(&key, sizeof(key));
    return !good ? -1 : old || SSL_version(ssl) >= TLS1_3_VERSION ? 2 : 1;
}

/* ---- choosing ---- */

/* RFC 6066 3: the certificate for the name; the first where none is. */
static int on_server_name(SSL *ssl, int *alert, void *context)
{
    const struct tls *tls = context;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    (void)alert;
    if (name == NULL)
        return SSL_TLSEXT_ERR_NOACK;
    for (unsigned i = 0; i < tls->count; i++) {
        X509 *leaf = SSL_CTX_get0_certificate(tls->certificates[i].context);
        if (X509_check_host(leaf, name, strlen(name), 0, NULL) != 1)
            continue;
        SSL_set_SSL_CTX(ssl, tls->certificates[i].context);
        break;
    }
    return SSL_TLSEXT_ERR_OK;
}

/* RFC 7301 3.2: a client that offers protocols, but not ours, is told so. */
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
    /* Only a connected socket takes it; a kernel that has it says so, one that has not says ENOENT. */
    bool has = setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) == 0 || errno == ENOTCONN;
    close(fd);
    return has;
}

/* An encrypted key cannot be asked for here: nobody sits before a server. */
static int no_password(char *out, int size, int writing, void *context)
{
    (void)out;
    (void)size;
    (void)writing;
    (void)context;
    return 0;
}

static const char *last_error(void)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = ERR_reason_error_string(code);
    if (ERR_SYSTEM_ERROR(code))
        return strerrordesc_np(ERR_GET_REASON(code));
    return reason != NULL ? reason : "out of memory";
}

static SSL_CTX *context_create(struct tls *tls)
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
    /* An idle connection keeps no buffer; the bytes to be written may be elsewhere at a retry. */
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF); /* tickets alone */
    SSL_CTX_set_timeout(context, TICKET_KEY_LIFE_S);
    SSL_CTX_set_num_tickets(context, TICKETS); /* and one for each that is brought */
    SSL_CTX_set_default_passwd_cb(context, no_password);
    SSL_CTX_set_tlsext_servername_callback(context, on_server_name);
    SSL_CTX_set_tlsext_servername_arg(context, tls);
    SSL_CTX_set_alpn_select_cb(context, on_protocols, NULL);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket);
    SSL_CTX_set_app_data(context, tls);
    if (tls_algorithms_set(context, tls->config->tls_groups, tls->config->tls_ciphers) != 0 ||
        SSL_CTX_set_session_id_context(context, id, sizeof(id) - 1) != 1) {
        SSL_CTX_free(context);
        return NULL;
    }
    return context;
}

static void warn_of_readers(const char *path)
{
    struct stat facts;
    if (stat(path, &facts) == 0 && (facts.st_mode & 077) != 0)
        log_warning("%s holds a certificate's key and others may read it (mode %03o); run chmod "
                    "600 %s",
                    path, (unsigned)(facts.st_mode & 0777), path);
}

static int load_one(struct tls *tls, const char *chain, const char *key, char *error, size_t size)
{
    struct certificate *certificate = &tls->certificates[tls->count];
    if (tls->count == TLS_CERTIFICATES_MAX) {
        snprintf(error, size, "%s: is one of more than %d certificates; remove some", chain,
                 TLS_CERTIFICATES_MAX);
        return -E2BIG;
    }
    ERR_clear_error();
    SSL_CTX *context = context_create(tls);
    char *file = strdup(chain);
    if (context == NULL || file == NULL) {
        snprintf(error, size, "TLS: %s", last_error());
        SSL_CTX_free(context);
        free(file);
        return -ENOMEM;
    }
    certificate->context = context;
    certificate->file = file;
    tls->count++;
    if (SSL_CTX_use_certificate_chain_file(context, chain) != 1) {
        snprintf(error, size, "%s: %s; give a PEM file that begins with the certificate", chain,
                 last_error());
        return -EINVAL;
    }
    if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(context) != 1) {
        snprintf(error, size,
                 "%s: %s; give the certificate's own private key, PEM and without a password", key,
                 last_error());
        return -EINVAL;
    }
    warn_of_readers(key);
    return 0;
}

/* A bundle, or a chain with its key beside it. */
static int load_file(struct tls *tls, const char *path, char *error, size_t size)
{
    char key[PATH_SIZE + 8];
    snprintf(key, sizeof(key), "%s.key", path);
    return load_one(tls, path, access(key, F_OK) == 0 ? key : path, error, size);
}

/* As certbot keeps them. 1: it is no such directory. */
static int load_pair(struct tls *tls, const char *directory, char *error, size_t size)
{
    char chain[PATH_SIZE + 16], key[PATH_SIZE + 16];
    snprintf(chain, sizeof(chain), "%s/fullchain.pem", directory);
    snprintf(key, sizeof(key), "%s/privkey.pem", directory);
    if (access(chain, F_OK) != 0)
        return 1;
    return load_one(tls, chain, key, error, size);
}

static int load_entry(struct tls *tls, const char *directory, const char *name, char *error,
                      size_t size)
{
    char path[PATH_SIZE];
    struct stat facts;
    size_t length = strlen(name);
    if (name[0] == '.' ||
        snprintf(path, sizeof(path), "%s/%s", directory, name) >= (int)sizeof(path) ||
        stat(path, &facts) != 0)
        return 0;
    if (S_ISDIR(facts.st_mode)) {
        int status = load_pair(tls, path, error, size);
        return status < 0 ? status : 0;
    }
    if (length < 4 || strcmp(name + length - 4, ".pem") != 0)
        return 0;
    return load_file(tls, path, error, size);
}

static int load_directory(struct tls *tls, const char *path, char *error, size_t size)
{
    struct dirent **names;
    int status = load_pair(tls, path, error, size);
    if (status <= 0)
        return status;
    int count = scandir(path, &names, NULL, alphasort);
    if (count < 0) {
        status = -errno;
        snprintf(error, size, "%s: %s", path, strerrordesc_np(-status));
        return status;
    }
    status = 0;
    for (int i = 0; i < count; i++) {
        if (status == 0)
            status = load_entry(tls, path, names[i]->d_name, error, size);
        free(names[i]);
    }
    free(names);
    if (status == 0 && tls->count == 0) {
        snprintf(error, size,
                 "%s: holds no certificate; put NAME.pem with chain and key there, or a directory "
                 "with fullchain.pem and privkey.pem",
                 path);
        status = -ENOENT;
    }
    return status;
}

static void tls_free(struct tls *tls)
{
    for (unsigned i = 0; i < tls->count; i++) {
        SSL_CTX_free(tls->certificates[i].context);
        free(tls->certificates[i].file);
    }
    tickets_drop(tls->tickets);
    free(tls);
}

int tls_load(struct tls **out, const struct config *config, const struct tls *before, char *error,
             size_t error_size)
{
    const char *path = config->certificates;
    struct stat facts;
    struct tls *tls = calloc(1, sizeof(*tls));
    *out = NULL;
    if (tls == NULL) {
        snprintf(error, error_size, "out of memory");
        return -ENOMEM;
    }
    atomic_init(&tls->references, 1);
    tls->config = config;
    if (before != NULL) {
        tls->tickets = before->tickets;
        atomic_fetch_add(&tls->tickets->references, 1);
    } else {
        tls->tickets = tickets_create();
    }
    int status = tls->tickets == NULL ? -ENOMEM : 0;
    if (status != 0) {
        snprintf(error, error_size, "out of memory");
    } else if (stat(path, &facts) != 0) {
        status = -errno;
        snprintf(error, error_size, "%s: %s; name a PEM file or a directory of them", path,
                 strerrordesc_np(-status));
    } else {
        status = S_ISDIR(facts.st_mode) ? load_directory(tls, path, error, error_size)
                                        : load_file(tls, path, error, error_size);
    }
    if (status != 0) {
        tls_free(tls);
        return status;
    }
    tls->config = NULL;
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
    check(tls->count > 0);
    SSL *ssl = SSL_new(tls->certificates[0].context);
    if (ssl != NULL)
        SSL_set_accept_state(ssl);
    return ssl;
}

unsigned tls_certificate_count(const struct tls *tls)
{
    return tls->count;
}

int64_t tls_expires_s(const struct tls *tls, const char **file)
{
    int64_t first_s = INT64_MAX;
    for (unsigned i = 0; i < tls->count; i++) {
        int days, seconds;
        const X509 *leaf = SSL_CTX_get0_certificate(tls->certificates[i].context);
        if (ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(leaf)) != 1)
            continue;
        int64_t ends_s = now_seconds() + (int64_t)days * 86400 + seconds;
        if (ends_s >= first_s)
            continue;
        first_s = ends_s;
        *file = tls->certificates[i].file;
    }
    return first_s;
}
