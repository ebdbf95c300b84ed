/* SPDX-License-Identifier: Apache-2.0 */
/* The TLS client and the certificates of the tests (harness_tls.h). */
#include "tests/integration/harness_tls.h"

#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Keeps the secret of a line in NSS' key log format: "CLIENT_TRAFFIC_SECRET_0 RANDOM SECRET". */
static void on_key_line(const SSL *ssl, const char *line)
{
    static const char label[] = "CLIENT_TRAFFIC_SECRET_0 ";
    struct client *client = SSL_get_app_data(ssl);
    const char *secret = strrchr(line, ' ');
    if (strncmp(line, label, strlen(label)) != 0 || strlen(secret + 1) != 64)
        return;
    for (size_t i = 0; i < 32; i++) {
        const char digits[3] = {secret[1 + 2 * i], secret[2 + 2 * i], '\0'};
        client->traffic_secret[i] = (unsigned char)strtoul(digits, NULL, 16);
    }
}

int client_open(struct site *site, struct client *client, const struct client_options *options)
{
    *client = (struct client){.context = SSL_CTX_new(TLS_client_method())};
    SSL_CTX_set_security_level(client->context, 0); /* so that old versions can be offered */
    if (options->version != 0) {
        SSL_CTX_set_min_proto_version(client->context, options->version);
        SSL_CTX_set_max_proto_version(client->context, options->version);
    }
    if (options->ciphers != NULL)
        cr_assert_eq(SSL_CTX_set_cipher_list(client->context, options->ciphers), 1);
    if (options->verifies)
        SSL_CTX_set_verify(client->context, SSL_VERIFY_PEER, NULL);
    if (options->fragment != 0)
        SSL_CTX_set_tlsext_max_fragment_length(client->context, (uint8_t)options->fragment);
    if (options->asks_status)
        SSL_CTX_set_tlsext_status_type(client->context, TLSEXT_STATUSTYPE_ocsp);
    SSL_CTX_set_keylog_callback(client->context, on_key_line);
    client->ssl = SSL_new(client->context);
    SSL_set_app_data(client->ssl, client);
    client->fd =
        options->fd > 0 ? options->fd : raw_connect_tls(site, options->receive_buffer_bytes);
    SSL_set_fd(client->ssl, client->fd);
    const char *name = options->name != NULL ? options->name : "media.example";
    SSL_ctrl(client->ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
             (void *)(uintptr_t)name); /* the macro casts const away */
    if (options->protocols != NULL)
        SSL_set_alpn_protos(client->ssl, (const unsigned char *)options->protocols,
                            (unsigned)strlen(options->protocols));
    if (options->signatures != NULL)
        cr_assert_eq(SSL_set1_sigalgs_list(client->ssl, options->signatures), 1);
    if (options->session != NULL)
        SSL_set_session(client->ssl, options->session);
    ERR_clear_error();
    int good = SSL_connect(client->ssl);
    client->sent = options->version == TLS1_2_VERSION ? 1 : 0; /* TLS 1.2: Finished was sealed */
    return good;
}

void client_close(struct client *client)
{
    SSL_free(client->ssl);
    SSL_CTX_free(client->context);
    if (client->fd >= 0)
        close(client->fd);
}

void ask(struct client *client, const char *target)
{
    char head[4096];
    int length =
        snprintf(head, sizeof(head), "GET %s HTTP/1.1\r\nHost: media.example\r\n\r\n", target);
    cr_assert_eq(SSL_write(client->ssl, head, length), length);
    client->sent++;
}

size_t take(struct client *client, size_t wanted)
{
    char buffer[16384];
    size_t have = 0, body = 0;
    const char *end = NULL;
    while (end == NULL) {
        int got = SSL_read(client->ssl, buffer + have, 1);
        cr_assert_eq(got, 1, "no head came");
        have++;
        cr_assert_lt(have, sizeof(buffer));
        end = memmem(buffer, have, "\r\n\r\n", 4);
    }
    cr_assert_eq(memcmp(buffer, "HTTP/1.1 200", 12), 0);
    while (body < wanted) {
        size_t left = wanted - body;
        int got =
            SSL_read(client->ssl, buffer, (int)(left < sizeof(buffer) ? left : sizeof(buffer)));
        if (got <= 0)
            break;
        body += (size_t)got;
    }
    return body;
}

/* ---- certificates ---- */

static void extend(X509 *certificate, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    cr_assert_not_null(extension, "%s", value);
    cr_assert_eq(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

/* A certificate that is not signed yet. NULL for the issuer: it will be self-signed. */
static X509 *draft(const char *subject, EVP_PKEY *key, const X509 *issuer, int64_t starts_s,
                   int64_t ends_s)
{
    static long serial;
    X509 *certificate = X509_new();
    cr_assert(certificate != NULL && key != NULL);
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
    ASN1_TIME_set(X509_getm_notBefore(certificate), starts_s);
    ASN1_TIME_set(X509_getm_notAfter(certificate), ends_s);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_UTF8,
                               (const unsigned char *)subject, -1, -1, 0);
    X509_set_issuer_name(certificate, X509_get_subject_name(issuer != NULL ? issuer : certificate));
    cr_assert_eq(X509_set_pubkey(certificate, key), 1);
    return certificate;
}

void authority_make(struct authority *authority, const char *subject)
{
    int64_t now_s = time(NULL);
    authority->key = EVP_EC_gen("P-256");
    authority->certificate =
        draft(subject, authority->key, NULL, now_s - 7200, now_s + 60L * 86400);
    extend(authority->certificate, NID_basic_constraints, "critical,CA:TRUE");
    cr_assert_neq(X509_sign(authority->certificate, authority->key, EVP_sha256()), 0);
}

void authority_free(struct authority *authority)
{
    X509_free(authority->certificate);
    EVP_PKEY_free(authority->key);
    *authority = (struct authority){0};
}

void certificate_make(struct site *site, const struct certificate_options *options)
{
    int64_t now_s = time(NULL), starts_s = options->starts_s, ends_s = options->ends_s;
    starts_s = starts_s != 0 ? starts_s : now_s - 3600;
    ends_s = ends_s != 0 ? ends_s : now_s + 30L * 86400;
    EVP_PKEY *key = options->rsa ? EVP_RSA_gen(2048)
                                 : EVP_EC_gen(options->curve != NULL ? options->curve : "P-256");
    struct authority own = {0}, issuer = {0};
    if (options->issued)
        authority_make(&own, "Authority of a test");
    issuer = options->authority != NULL ? *options->authority : own;
    X509 *leaf = draft(options->subject, key, issuer.certificate, starts_s, ends_s);
    if (options->names != NULL)
        extend(leaf, NID_subject_alt_name, options->names);
    if (options->purpose != NULL)
        extend(leaf, NID_ext_key_usage, options->purpose);
    if (options->must_staple)
        extend(leaf, NID_tlsfeature, "status_request");
    cr_assert_neq(X509_sign(leaf, issuer.key != NULL ? issuer.key : key, EVP_sha256()), 0);
    const char *path = site_format(site, "%s/certificates/%s", site_directory(site), options->file);
    FILE *file = fopen(path, "we");
    cr_assert(file != NULL && fchmod(fileno(file), 0600) == 0, "%s", path);
    cr_assert_eq(PEM_write_X509(file, leaf), 1);
    if (options->with_issuer)
        cr_assert_eq(PEM_write_X509(file, issuer.certificate), 1);
    if (!options->without_key)
        cr_assert_eq(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
    cr_assert_eq(fclose(file), 0);
    X509_free(leaf);
    EVP_PKEY_free(key);
    authority_free(&own);
}

/* ---- records by hand ---- */

static void derive(const char *kdf_name, OSSL_PARAM *parameters, unsigned char *out, size_t length)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, kdf_name, NULL);
    EVP_KDF_CTX *context = EVP_KDF_CTX_new(kdf);
    cr_assert_eq(EVP_KDF_derive(context, out, length, parameters), 1);
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
}

/* RFC 8446 7.1: HKDF-Expand-Label without a context. */
static void expand(const unsigned char secret[32], const char *label, unsigned char *out,
                   size_t length)
{
    unsigned char info[64] = {0, (unsigned char)length};
    int label_length = snprintf((char *)info + 3, sizeof(info) - 3, "tls13 %s", label);
    info[2] = (unsigned char)label_length;
    int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
    char digest[] = "SHA256";
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_int("mode", &mode),
        OSSL_PARAM_construct_utf8_string("digest", digest, 0),
        OSSL_PARAM_construct_octet_string("key", (void *)(uintptr_t)secret, 32),
        OSSL_PARAM_construct_octet_string("info", info, 4 + (size_t)label_length),
        OSSL_PARAM_construct_end(),
    };
    derive("HKDF", parameters, out, length);
}

/* RFC 5246 6.3: takes the client's key and its implicit nonce (RFC 5288 3) off the key block. */
static void key_block(SSL *ssl, unsigned char key[16], unsigned char salt[4])
{
    unsigned char master[48], seed[64], block[2 * 16 + 2 * 4];
    SSL_SESSION_get_master_key(SSL_get_session(ssl), master, sizeof(master));
    SSL_get_server_random(ssl, seed, 32);
    SSL_get_client_random(ssl, seed + 32, 32);
    char digest[] = "SHA256", label[] = "key expansion";
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string("digest", digest, 0),
        OSSL_PARAM_construct_octet_string("secret", master, sizeof(master)),
        OSSL_PARAM_construct_octet_string("seed", label, strlen(label)),
        OSSL_PARAM_construct_octet_string("seed", seed, sizeof(seed)),
        OSSL_PARAM_construct_end(),
    };
    derive("TLS1-PRF", parameters, block, sizeof(block));
    memcpy(key, block, 16);
    memcpy(salt, block + 32, 4);
}

/* AEAD_AES_128_GCM (RFC 5116 5.1): writes the ciphertext and its tag to `out`. */
static void seal(const unsigned char key[16], const unsigned char nonce[12],
                 const unsigned char *with, size_t with_length, const unsigned char *plain,
                 size_t length, unsigned char *out)
{
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    int made = 0;
    cr_assert_eq(EVP_EncryptInit_ex2(context, EVP_aes_128_gcm(), key, nonce, NULL), 1);
    cr_assert_eq(EVP_EncryptUpdate(context, NULL, &made, with, (int)with_length), 1);
    cr_assert_eq(EVP_EncryptUpdate(context, out, &made, plain, (int)length), 1);
    cr_assert_eq(EVP_EncryptFinal_ex(context, out + length, &made), 1);
    cr_assert_eq(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, out + length), 1);
    EVP_CIPHER_CTX_free(context);
}

static void put_16(unsigned char *out, size_t value)
{
    out[0] = (unsigned char)(value >> 8);
    out[1] = (unsigned char)value;
}

void client_send_record(struct client *client, unsigned char type, const void *content,
                        size_t length)
{
    unsigned char record[1024] = {type, 3, 3}, key[16], nonce[12], number[8], plain[512];
    cr_assert_lt(length, sizeof(plain));
    cr_assert_eq(SSL_CIPHER_get_cipher_nid(SSL_get_current_cipher(client->ssl)), NID_aes_128_gcm);
    memcpy(plain, content, length);
    for (int i = 0; i < 8; i++)
        number[i] = (unsigned char)(client->sent >> (56 - 8 * i));
    client->sent++;
    if (SSL_version(client->ssl) == TLS1_3_VERSION) { /* RFC 8446 5.2, 5.3 */
        expand(client->traffic_secret, "key", key, sizeof(key));
        expand(client->traffic_secret, "iv", nonce, sizeof(nonce));
        for (int i = 0; i < 8; i++)
            nonce[4 + i] ^= number[i];
        plain[length++] = type;
        record[0] = 23;
        put_16(record + 3, length + 16);
        seal(key, nonce, record, 5, plain, length, record + 5);
        raw_send(client->fd, record, 5 + length + 16);
        return;
    }
    unsigned char with[13]; /* RFC 5246 6.2.3.3 */
    key_block(client->ssl, key, nonce);
    memcpy(nonce + 4, number, 8); /* the explicit nonce is the sender's choice */
    memcpy(with, number, 8);
    memcpy(with + 8, record, 3);
    put_16(with + 11, length);
    put_16(record + 3, 8 + length + 16);
    memcpy(record + 5, nonce + 4, 8);
    seal(key, nonce, with, sizeof(with), plain, length, record + 13);
    raw_send(client->fd, record, 13 + length + 16);
}
