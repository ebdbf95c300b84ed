/*
 * Reads certificates and their keys: one file, or a directory of them (tls_load). What lies in a
 * directory and is not a certificate with its key is skipped with a warning; one that is damaged fails
 * the load, so that nobody loses a host unawares.
 */
#include <dirent.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "server/tls_certificates.h"

#define PATH_SIZE     4352
#define STAPLE_SUFFIX ".ocsp" /* as HAProxy has it */

struct loader {
    struct certificates *into;
    const struct certificates *before; /* borrows; NULL: the first load */
    char *error;
    size_t size;
};

/* ---- one certificate ---- */

/* The cure of a file or a directory that is there, and cannot be read. */
static int fail_to_read(const struct loader *loader, const char *path, int error)
{
    snprintf(
        loader->error, loader->size,
        "%s: %s; let the node's user read it and the directories above it, or move it elsewhere",
        path, strerrordesc_np(error));
    return -error;
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

static void warn_of_readers(struct certificates *certificates, const char *path)
{
    struct stat facts;
    if (stat(path, &facts) == 0 && (facts.st_mode & 077) != 0)
        certificates_warn(certificates,
                          "%s holds a certificate's key and others may read it (mode %03o); run "
                          "chmod 600 %s",
                          path, (unsigned)(facts.st_mode & 0777), path);
}

static bool seconds_of(const ASN1_TIME *time, int64_t *out)
{
    struct tm parts;
    if (ASN1_TIME_to_tm(time, &parts) != 1)
        return false;
    *out = timegm(&parts);
    return true;
}

static bool add_name(struct certificate *certificate, const ASN1_STRING *value)
{
    unsigned char *text = NULL;
    int length = ASN1_STRING_to_UTF8(&text, value);
    bool good = true;
    if (length > 0 && memchr(text, '\0', (size_t)length) == NULL) {
        char **names =
            reallocarray(certificate->names, certificate->name_count + 1UL, sizeof(*names));
        if (names != NULL) {
            certificate->names = names;
            names[certificate->name_count] = strdup((const char *)text);
            good = names[certificate->name_count] != NULL;
            certificate->name_count += good;
        } else {
            good = false;
        }
    }
    OPENSSL_free(text);
    return good;
}

/* As X509_check_host reads them: subjectAltName's, or the subject's where there are none. */
static bool add_names(struct certificate *certificate)
{
    bool good = true;
    GENERAL_NAMES *others = X509_get_ext_d2i(certificate->leaf, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; good && i < sk_GENERAL_NAME_num(others); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(others, i);
        if (name->type == GEN_DNS)
            good = add_name(certificate, name->d.dNSName);
    }
    GENERAL_NAMES_free(others);
    if (certificate->name_count > 0)
        return good;
    X509_NAME *subject = X509_get_subject_name(certificate->leaf);
    for (int at = -1; good && (at = X509_NAME_get_index_by_NID(subject, NID_commonName, at)) >= 0;)
        good = add_name(certificate, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    return good;
}

/* Takes what OpenSSL has read. */
static bool add_certificate(struct certificates *certificates, SSL_CTX *read, const char *file)
{
    struct certificate *certificate = &certificates->all[certificates->count++];
    STACK_OF(X509) *chain = NULL;
    *certificate = (struct certificate){
        .leaf = SSL_CTX_get0_certificate(read),
        .key = SSL_CTX_get0_privatekey(read),
        .file = strdup(file),
    };
    X509_up_ref(certificate->leaf);
    EVP_PKEY_up_ref(certificate->key);
    SSL_CTX_get0_chain_certs(read, &chain);
    if (chain != NULL)
        certificate->chain = X509_chain_up_ref(chain);
    return certificate->file != NULL && (chain == NULL || certificate->chain != NULL) &&
           seconds_of(X509_get0_notBefore(certificate->leaf), &certificate->starts_s) &&
           seconds_of(X509_get0_notAfter(certificate->leaf), &certificate->ends_s) &&
           add_names(certificate);
}

/* An OCSP response that is of no use is left out; the certificate serves without it. */
static void add_staple(struct certificates *certificates, struct certificate *certificate)
{
    char path[PATH_SIZE + 24], why[512];
    struct stat facts;
    snprintf(path, sizeof(path), "%s" STAPLE_SUFFIX, certificate->file);
    if (lstat(path, &facts) != 0 && errno == ENOENT)
        return;
    X509 *issuer = certificate_issuer(certificate);
    if (staple_read(&certificate->staple, path, certificate->leaf, issuer, certificate->chain, why,
                    sizeof(why)) != 0)
        certificates_warn(certificates, "%s: is not stapled: %s", path, why);
    X509_free(issuer);
}

static int load_one(const struct loader *loader, const char *chain, const char *key)
{
    int status = 0;
    if (access(chain, R_OK) != 0 && errno == EACCES)
        return fail_to_read(loader, chain, errno);
    if (access(key, R_OK) != 0 && errno == EACCES)
        return fail_to_read(loader, key, errno);
    if (loader->into->count == TLS_CERTIFICATES_MAX) {
        snprintf(loader->error, loader->size,
                 "%s: is one of more than %d certificates; remove some", chain,
                 TLS_CERTIFICATES_MAX);
        return -E2BIG;
    }
    ERR_clear_error();
    SSL_CTX *read = SSL_CTX_new(TLS_server_method());
    if (read != NULL)
        SSL_CTX_set_default_passwd_cb(read, no_password);
    if (read == NULL) {
        snprintf(loader->error, loader->size, "TLS: %s", last_error());
        status = -ENOMEM;
    } else if (SSL_CTX_use_certificate_chain_file(read, chain) != 1) {
        snprintf(loader->error, loader->size,
                 "%s: %s; give a PEM file that begins with the certificate", chain, last_error());
        status = -EINVAL;
    } else if (SSL_CTX_use_PrivateKey_file(read, key, SSL_FILETYPE_PEM) != 1 ||
               SSL_CTX_check_private_key(read) != 1) {
        snprintf(loader->error, loader->size,
                 "%s: %s; give the certificate's own private key, PEM and without a password", key,
                 last_error());
        status = -EINVAL;
    } else if (!add_certificate(loader->into, read, chain)) {
        snprintf(loader->error, loader->size, "%s: %s; have the certificate made again", chain,
                 last_error());
        status = -EINVAL;
    } else {
        warn_of_readers(loader->into, key);
        add_staple(loader->into, &loader->into->all[loader->into->count - 1]);
    }
    SSL_CTX_free(read);
    return status;
}

/* ---- what a file holds ---- */

/* RFC 7468 2: what the file's blocks are called. False where it cannot be read; errno says why. */
static bool read_labels(const char *path, bool *has_certificate, bool *has_key)
{
    static const char begin[] = "-----BEGIN ";
    char *line = NULL;
    size_t size = 0;
    *has_certificate = *has_key = false;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    while (getline(&line, &size, file) >= 0) {
        if (strncmp(line, begin, sizeof(begin) - 1) != 0)
            continue;
        *has_certificate = *has_certificate || strstr(line, "CERTIFICATE-----") != NULL;
        *has_key = *has_key || strstr(line, "PRIVATE KEY-----") != NULL;
    }
    bool good = ferror(file) == 0;
    free(line);
    fclose(file);
    return good;
}

/* A stray file is not a reason not to start; one that served until now is not given up so easily. */
static int skip(const struct loader *loader, const char *path, const char *why)
{
    for (unsigned i = 0; loader->before != NULL && i < loader->before->count; i++)
        if (strcmp(loader->before->all[i].file, path) == 0) {
            snprintf(loader->error, loader->size, "%s: %s, and it held both when it was last read",
                     path, why);
            return -EINVAL;
        }
    certificates_warn(loader->into, "%s: skipped: %s", path, why);
    return 0;
}

static bool is_staple_of_some(const struct certificates *certificates, const char *path)
{
    for (unsigned i = 0; i < certificates->count; i++) {
        const char *file = certificates->all[i].file;
        size_t length = strlen(file);
        if (strncmp(path, file, length) == 0 && strcmp(path + length, STAPLE_SUFFIX) == 0)
            return true;
    }
    return false;
}

/* An OCSP response whose file is named otherwise than its certificate's would never be stapled. */
static void warn_of_strays(struct certificates *certificates, const char *directory)
{
    char path[PATH_SIZE + 256];
    const struct dirent *entry;
    DIR *open = opendir(directory);
    while (open != NULL && (entry = readdir(open)) != NULL) {
        const char *end = strrchr(entry->d_name, '.');
        if (entry->d_name[0] == '.' || end == NULL || strcmp(end, STAPLE_SUFFIX) != 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
        if (!is_staple_of_some(certificates, path))
            certificates_warn(certificates,
                              "%s: is not stapled: no certificate is served from the file of this "
                              "name without " STAPLE_SUFFIX "; name it as its certificate's file "
                              "with " STAPLE_SUFFIX " after it, or remove it",
                              path);
    }
    if (open != NULL)
        closedir(open);
}

/* ---- files and directories ---- */

/* A bundle, or a chain with its key beside it. */
static int load_file(const struct loader *loader, const char *path)
{
    char key[PATH_SIZE + 8];
    snprintf(key, sizeof(key), "%s.key", path);
    return load_one(loader, path, access(key, F_OK) == 0 ? key : path);
}

/* As certbot keeps them. 1: it is no such directory. */
static int load_pair(const struct loader *loader, const char *directory)
{
    char chain[PATH_SIZE + 16], key[PATH_SIZE + 16];
    snprintf(chain, sizeof(chain), "%s/fullchain.pem", directory);
    snprintf(key, sizeof(key), "%s/privkey.pem", directory);
    if (access(chain, F_OK) != 0)
        return errno == EACCES ? fail_to_read(loader, directory, errno) : 1;
    int status = load_one(loader, chain, key);
    if (status == 0)
        warn_of_strays(loader->into, directory);
    return status;
}

/* A file NAME.pem of a directory; with NAME.pem.key beside it, it is meant to be a certificate. */
static int load_pem(const struct loader *loader, const char *path)
{
    char beside[PATH_SIZE + 8];
    bool has_certificate, has_key;
    snprintf(beside, sizeof(beside), "%s.key", path);
    if (access(beside, F_OK) == 0)
        return load_file(loader, path);
    if (!read_labels(path, &has_certificate, &has_key))
        return fail_to_read(loader, path, errno);
    if (has_certificate && has_key)
        return load_file(loader, path);
    return skip(loader, path,
                has_certificate ? "it holds a certificate without its private key; add the key to "
                                  "it or as a file of the same name with .key after it, or move "
                                  "it elsewhere"
                : has_key ? "it holds a private key without its certificate; add the certificate "
                            "before the key, or move it elsewhere"
                          : "it holds neither a certificate nor a private key; move it elsewhere");
}

static int load_entry(const struct loader *loader, const char *directory, const char *name)
{
    char path[PATH_SIZE];
    struct stat facts;
    size_t length = strlen(name);
    if (name[0] == '.' ||
        snprintf(path, sizeof(path), "%s/%s", directory, name) >= (int)sizeof(path))
        return 0;
    bool is_pem = length >= 4 && strcmp(name + length - 4, ".pem") == 0;
    if (stat(path, &facts) != 0 && errno == EACCES)
        return fail_to_read(loader, path, errno);
    if (stat(path, &facts) != 0)
        return is_pem
                   ? skip(loader, path,
                          "the file that it links to is not there; correct the link or remove it")
                   : 0;
    if (S_ISDIR(facts.st_mode)) {
        int status = load_pair(loader, path);
        return status < 0 ? status : 0;
    }
    if (!is_pem)
        return 0;
    return S_ISREG(facts.st_mode) ? load_pem(loader, path)
                                  : skip(loader, path, "it is not a file; move it elsewhere");
}

static int load_directory(const struct loader *loader, const char *path)
{
    struct dirent **names;
    int status = load_pair(loader, path);
    if (status <= 0)
        return status;
    int count = scandir(path, &names, NULL, alphasort);
    if (count < 0) {
        status = -errno;
        return fail_to_read(loader, path, -status);
    }
    status = 0;
    for (int i = 0; i < count; i++) {
        if (status == 0)
            status = load_entry(loader, path, names[i]->d_name);
        free(names[i]);
    }
    free(names);
    if (status == 0)
        warn_of_strays(loader->into, path);
    if (status == 0 && loader->into->count == 0) {
        snprintf(loader->error, loader->size,
                 "%s: holds no certificate; put NAME.pem with chain and key there, or a directory "
                 "with fullchain.pem and privkey.pem%s%s",
                 path, loader->into->warning_count > 0 ? ". " : "",
                 loader->into->warning_count > 0 ? loader->into->warnings[0] : "");
        status = -ENOENT;
    }
    return status;
}

int certificates_load(struct certificates *out, const char *path, const struct certificates *before,
                      char *error, size_t error_size)
{
    const struct loader loader = {
        .into = out, .before = before, .error = error, .size = error_size};
    struct stat facts;
    if (stat(path, &facts) != 0 && errno == EACCES)
        return fail_to_read(&loader, path, errno);
    if (stat(path, &facts) != 0) {
        int status = -errno;
        snprintf(error, error_size, "%s: %s; name a PEM file or a directory of them", path,
                 strerrordesc_np(-status));
        return status;
    }
    int status = S_ISDIR(facts.st_mode) ? load_directory(&loader, path) : load_file(&loader, path);
    if (status == 0)
        certificates_review(out, (int64_t)time(NULL));
    return status;
}
