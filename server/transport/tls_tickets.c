/* SPDX-License-Identifier: Apache-2.0 */
/* Makes and renews ticket keys, or reads them from a file. See tls_tickets.h. */
#include "server/transport/tls_tickets.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct ticket_key {
    unsigned char name[16], mac[32], aes[32];
    int64_t made_s; /* of the process's own keys */
};

struct tls_tickets {
    atomic_uint references;
    bool of_file; /* the keys are from a file: never renewed, never too old */
    pthread_mutex_t mutex;
    unsigned count;
    struct ticket_key keys[TLS_TICKET_KEYS_MAX]; /* the first makes tickets */
};

struct tls_tickets *tls_tickets_create(void)
{
    struct tls_tickets *tickets = calloc(1, sizeof(*tickets));
    if (tickets == NULL)
        return NULL;
    atomic_init(&tickets->references, 1);
    pthread_mutex_init(&tickets->mutex, NULL);
    return tickets;
}

struct tls_tickets *tls_tickets_hold(struct tls_tickets *tickets)
{
    atomic_fetch_add(&tickets->references, 1);
    return tickets;
}

void tls_tickets_drop(struct tls_tickets *tickets)
{
    if (tickets == NULL || atomic_fetch_sub(&tickets->references, 1) != 1)
        return;
    pthread_mutex_destroy(&tickets->mutex);
    explicit_bzero(tickets, sizeof(*tickets));
    free(tickets);
}

/* ---- the file ---- */

/* How many keys an open file has; 0 and a sentence where it may not be used. */
static unsigned count_keys(const char *path, const struct stat *facts, char *error,
                           size_t error_size)
{
    if (!S_ISREG(facts->st_mode)) {
        snprintf(error, error_size, "%s: is not a file; make one with `openssl rand 80 > FILE`",
                 path);
        return 0;
    }
    if ((facts->st_mode & 077) != 0) {
        snprintf(
            error, error_size,
            "%s: other users may read these ticket keys (mode %03o), and decrypt sessions with "
            "them; run chmod 600 %s, and make new keys if somebody may have read them",
            path, (unsigned)(facts->st_mode & 0777), path);
        return 0;
    }
    if (facts->st_size == 0 || facts->st_size % TLS_TICKET_KEY_SIZE != 0 ||
        facts->st_size > (off_t)TLS_TICKET_KEY_SIZE * TLS_TICKET_KEYS_MAX) {
        snprintf(error, error_size,
                 "%s: has %lld bytes, and must have %d for each of 1 to %d keys; make a key with "
                 "`openssl rand 80 > FILE`",
                 path, (long long)facts->st_size, TLS_TICKET_KEY_SIZE, TLS_TICKET_KEYS_MAX);
        return 0;
    }
    return (unsigned)(facts->st_size / TLS_TICKET_KEY_SIZE);
}

static bool read_keys(int fd, struct tls_tickets *tickets)
{
    unsigned char bytes[TLS_TICKET_KEY_SIZE];
    bool good = true;
    for (unsigned i = 0; i < tickets->count && good; i++) {
        struct ticket_key *key = &tickets->keys[i];
        /* A regular file is read whole, unless somebody shortens it just now. */
        good = read(fd, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes);
        memcpy(key->name, bytes, sizeof(key->name));
        memcpy(key->mac, bytes + sizeof(key->name), sizeof(key->mac));
        memcpy(key->aes, bytes + sizeof(key->name) + sizeof(key->mac), sizeof(key->aes));
    }
    explicit_bzero(bytes, sizeof(bytes));
    return good;
}

int tls_tickets_read(struct tls_tickets **out, const char *path, char *error, size_t error_size)
{
    struct stat facts;
    *out = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &facts) != 0) {
        int status = -errno;
        snprintf(error, error_size,
                 "%s: %s; make it with `openssl rand 80 > FILE`, for the node's "
                 "user alone",
                 path, strerrordesc_np(-status));
        if (fd >= 0)
            close(fd);
        return status;
    }
    int status = -EINVAL;
    unsigned count = count_keys(path, &facts, error, error_size);
    struct tls_tickets *tickets = count > 0 ? tls_tickets_create() : NULL;
    if (tickets != NULL) {
        tickets->of_file = true;
        tickets->count = count;
        status = read_keys(fd, tickets) ? 0 : -EIO;
    } else if (count > 0) {
        status = -ENOMEM;
    }
    close(fd);
    if (status == -EIO || status == -ENOMEM)
        snprintf(error, error_size, "%s: %s; send SIGHUP once it is complete", path,
                 strerrordesc_np(-status));
    if (status != 0) {
        tls_tickets_drop(tickets);
        return status;
    }
    *out = tickets;
    return 0;
}

/* ---- choosing a key ---- */

/* The key to make tickets with, a new one where the last is old. False without randomness. */
static bool renew(struct tls_tickets *tickets, int64_t now_s, struct ticket_key *out)
{
    bool good = true;
    pthread_mutex_lock(&tickets->mutex);
    if (!tickets->of_file &&
        (tickets->count == 0 || now_s - tickets->keys[0].made_s >= TLS_TICKET_LIFE_S)) {
        struct ticket_key fresh = {.made_s = now_s};
        good = RAND_bytes(fresh.name, sizeof(fresh.name)) == 1 &&
               RAND_priv_bytes(fresh.aes, sizeof(fresh.aes)) == 1 &&
               RAND_priv_bytes(fresh.mac, sizeof(fresh.mac)) == 1;
        if (good) {
            tickets->keys[1] = tickets->keys[0];
            tickets->keys[0] = fresh;
            tickets->count = tickets->count == 0 ? 1 : 2;
        }
        explicit_bzero(&fresh, sizeof(fresh));
    }
    *out = tickets->keys[0];
    pthread_mutex_unlock(&tickets->mutex);
    return good;
}

/* The key of a ticket that a client brought. */
static bool find(struct tls_tickets *tickets, const unsigned char name[16], int64_t now_s,
                 struct ticket_key *out, bool *old)
{
    bool found = false;
    pthread_mutex_lock(&tickets->mutex);
    for (unsigned i = 0; i < tickets->count && !found; i++) {
        const struct ticket_key *key = &tickets->keys[i];
        found = (tickets->of_file || now_s - key->made_s < 2L * TLS_TICKET_LIFE_S) &&
                CRYPTO_memcmp(key->name, name, sizeof(key->name)) == 0;
        if (found) {
            *out = *key;
            *old = i > 0;
        }
    }
    pthread_mutex_unlock(&tickets->mutex);
    return found;
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
 * 1 good, 2 good but to be renewed, 0 unknown, -1 failed. Over TLS 1.3 each is to be renewed,
 * whatever its key: RFC 8446 appendix C.4 has clients use a ticket once, so that an observer cannot
 * tell that two connections are of one client.
 */
int tls_tickets_use(struct tls_tickets *tickets, const SSL *ssl, unsigned char name[16],
                    unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int encrypt)
{
    struct ticket_key key;
    struct timespec now;
    bool old = false, good;
    clock_gettime(CLOCK_REALTIME, &now);
    if (encrypt) {
        if (!renew(tickets, now.tv_sec, &key))
            return -1;
        memcpy(name, key.name, sizeof(key.name));
        good = RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) == 1 &&
               EVP_EncryptInit_ex2(cipher, EVP_aes_256_cbc(), key.aes, iv, NULL) == 1;
    } else {
        if (!find(tickets, name, now.tv_sec, &key, &old))
            return 0;
        good = EVP_DecryptInit_ex2(cipher, EVP_aes_256_cbc(), key.aes, iv, NULL) == 1;
    }
    good = good && mac_start(mac, &key);
    explicit_bzero(&key, sizeof(key));
    return !good ? -1 : old || SSL_version(ssl) >= TLS1_3_VERSION ? 2 : 1;
}
