/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds certificates and their keys: one file, or a directory of them (tls_load). A file of a
 * directory that is not a certificate with its key is skipped with a warning; a damaged certificate
 * fails the load, so that no host is lost unnoticed. Called by tls.c; it chooses none for a
 * handshake.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "server/transport/tls_certificates.h"

#define PATH_SIZE 4352

struct loader {
    struct certificates *into;
    const struct certificates *before; /* borrows; NULL: the first load */
    char *error;
    size_t size;
};

/* Fails the load with the cure for a file or a directory that exists but cannot be read. */
static int fail_to_read(const struct loader *loader, const char *path, int error)
{
    snprintf(
        loader->error, loader->size,
        "%s: %s; let the node's user read it and the directories above it, or move it elsewhere",
        path, strerrordesc_np(error));
    return -error;
}

static int load_one(const struct loader *loader, const char *chain, const char *key)
{
    if (access(chain, R_OK) != 0 && errno == EACCES)
        return fail_to_read(loader, chain, errno);
    if (access(key, R_OK) != 0 && errno == EACCES)
        return fail_to_read(loader, key, errno);
    return certificates_read(loader->into, chain, key, loader->error, loader->size);
}

/* ---- what a file holds ---- */

/* RFC 7468 2: finds by the labels of the file's blocks what it holds. False where it cannot be
 * read; errno says why. */
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

/* Skips a stray file with a warning, so that the node starts all the same; but fails the load where
 * the file served until now. */
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

/* Loads one file: a bundle of chain and key, or a chain with its key in FILE.key beside it. */
static int load_file(const struct loader *loader, const char *path)
{
    char key[PATH_SIZE + 8];
    snprintf(key, sizeof(key), "%s.key", path);
    return load_one(loader, path, access(key, F_OK) == 0 ? key : path);
}

/* Loads fullchain.pem and privkey.pem, as certbot keeps them in a directory. 1 where the directory
 * is not one of certbot's. */
static int load_pair(const struct loader *loader, const char *directory)
{
    char chain[PATH_SIZE + 16], key[PATH_SIZE + 16];
    struct stat facts;
    snprintf(chain, sizeof(chain), "%s/fullchain.pem", directory);
    snprintf(key, sizeof(key), "%s/privkey.pem", directory);
    if (stat(chain, &facts) != 0)
        return errno == EACCES ? fail_to_read(loader, directory, errno) : 1;
    if (stat(key, &facts) != 0 && errno != EACCES)
        return 1;
    int status = load_one(loader, chain, key);
    if (status == 0)
        warn_of_strays(loader->into, directory);
    return status;
}

static bool is_there(const char *directory, const char *name)
{
    char path[PATH_SIZE + 16];
    struct stat facts;
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    return lstat(path, &facts) == 0;
}

/* Loads a directory within the directory. One with neither fullchain.pem nor privkey.pem holds
 * something else and is passed over. */
static int load_directory_below(const struct loader *loader, const char *path)
{
    char chain[PATH_SIZE + 16], why[128];
    struct stat facts;
    int status = load_pair(loader, path);
    if (status <= 0 || (!is_there(path, "fullchain.pem") && !is_there(path, "privkey.pem")))
        return status < 0 ? status : 0;
    snprintf(chain, sizeof(chain), "%s/fullchain.pem", path);
    snprintf(why, sizeof(why),
             "%s is missing, or is a link to nowhere; add it, or move %s elsewhere",
             stat(chain, &facts) != 0 ? "fullchain.pem" : "privkey.pem",
             stat(chain, &facts) != 0 ? "privkey.pem" : "fullchain.pem");
    return skip(loader, chain, why);
}

/* Loads a file NAME.pem of a directory. Where NAME.pem.key lies beside it, it is meant to be a
 * certificate. */
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
    if (S_ISDIR(facts.st_mode))
        return load_directory_below(loader, path);
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
