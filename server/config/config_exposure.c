/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Refuses a configuration whose own files lie beneath media_root: a link for `prefix:/` could
 * download a signing key, the ledger's journal or Redis' file there. Called by config_validate, and
 * so by each command that loads the configuration. It opens no file.
 */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "server/config/config_internal.h"

struct exposure {
    char root[PATH_MAX]; /* resolved */
    const struct config *config;
    struct config_document *document;
};

/* The path with its symbolic links followed as far as it exists; the rest, which is still to be
 * made, is appended. False where the path cannot be examined. */
static bool resolve(const char *path, char out[PATH_MAX])
{
    char above[PATH_MAX], name[PATH_MAX];
    if (realpath(path, out) != NULL)
        return true;
    if (errno != ENOENT || strlen(path) >= PATH_MAX || strcmp(path, "/") == 0 ||
        strcmp(path, ".") == 0)
        return false;
    memcpy(above, path, strlen(path) + 1);
    memcpy(name, path, strlen(path) + 1);
    if (!resolve(dirname(above), out))
        return false;
    const char *last = basename(name);
    size_t length = strlen(out);
    if (strcmp(last, ".") == 0)
        return true;
    if (strcmp(last, "..") == 0) { /* what stands before it does not exist, so it is not a link */
        dirname(out);
        return true;
    }
    if (length + strlen(last) + 2 > PATH_MAX)
        return false;
    if (out[length - 1] != '/')
        out[length++] = '/';
    memcpy(out + length, last, strlen(last) + 1);
    return true;
}

static bool is_beneath(const char *root, const char *path)
{
    size_t length = strlen(root);
    return strcmp(root, "/") == 0 ||
           (strncmp(path, root, length) == 0 && (path[length] == '/' || path[length] == '\0'));
}

/* Refuses `key`, whose value is `path`, where that lies beneath media_root. `issuer`
 * as for config_document_line. */
static void keep_out(const struct exposure *exposure, int issuer, const char *key, const char *path)
{
    char resolved[PATH_MAX];
    if (path[0] == '\0' || !resolve(path, resolved) || !is_beneath(exposure->root, resolved))
        return;
    config_refuse(exposure->document, issuer, key, -1,
                  "%s lies beneath media_root (%s), where links could download it; move %s out of "
                  "media_root, or give media_root a directory that holds only what is sold",
                  path, exposure->config->media_root, key);
}

void config_validate_exposure(const struct config *config, struct config_document *document,
                              const char *file)
{
    struct exposure exposure = {.config = config, .document = document};
    char resolved[PATH_MAX];
    if (!config_document_is_sound(document, -1, "media_root") ||
        !resolve(config->media_root, exposure.root))
        return;
    if (resolve(file, resolved) && is_beneath(exposure.root, resolved))
        config_refuse(document, -1, "media_root", -1,
                      "%s holds this configuration file, so links could download it; name a "
                      "directory that holds only what is sold",
                      config->media_root);
    keep_out(&exposure, -1, "state_dir", config->state_dir);
    keep_out(&exposure, -1, "certificates", config->certificates);
    keep_out(&exposure, -1, "tls_ticket_keys", config->tls_ticket_keys);
    keep_out(&exposure, -1, "redis_password_file", config->redis_password_file);
    keep_out(&exposure, -1, "sentinel_password_file", config->sentinel_password_file);
    keep_out(&exposure, -1, "access_log", config->access_log);
    for (unsigned i = 0; i < config->issuers_count; i++) {
        keep_out(&exposure, (int)i, "keys", config->issuers[i].keys);
        keep_out(&exposure, (int)i, "admin_secret_file", config->issuers[i].admin_secret_file);
    }
}
