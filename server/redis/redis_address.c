/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the address of Redis as the ledger takes it, and reads the password from its file. It
 * connects to nothing. See redis_address.h.
 */
#include "server/redis/redis_address.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int read_password(const char *key, const char *path, char *out, size_t size, char *error,
                         size_t error_size)
{
    out[0] = '\0';
    if (path[0] == '\0')
        return 0;
    errno = 0;
    FILE *file = fopen(path, "re");
    if (file == NULL || fgets(out, (int)size, file) == NULL) {
        int status = errno != 0 ? -errno : -EINVAL;
        snprintf(error, error_size, "%s: %s: %s; %s", key, path,
                 status == -EINVAL ? "is empty" : strerrordesc_np(-status),
                 status == -EACCES ? "let the node's user read it"
                                   : "name a file that holds the password in its first line");
        if (file != NULL)
            fclose(file);
        return status;
    }
    fclose(file);
    out[strcspn(out, "\r\n")] = '\0';
    return 0;
}

int redis_address_read(const struct config *config, struct redis_address *out, char *error,
                       size_t error_size)
{
    out->embedded = strcmp(config->redis, "embedded") == 0;
    out->sentinel_password[0] = '\0';
    int status = read_password("redis_password_file", config->redis_password_file, out->password,
                               sizeof(out->password), error, error_size);
    if (status == 0)
        status = read_password("sentinel_password_file", config->sentinel_password_file,
                               out->sentinel_password, sizeof(out->sentinel_password), error,
                               error_size);
    if (status != 0)
        return status;
    if (out->embedded)
        snprintf(out->address, sizeof(out->address), "unix:%.490s/redis.sock", config->state_dir);
    else
        snprintf(out->address, sizeof(out->address), "%s", config->redis);
    return 0;
}
