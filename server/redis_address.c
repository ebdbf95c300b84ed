/* The address and the password of Redis. See redis_address.h. */
#include "server/redis_address.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* hiredis would resolve a name on the worker's loop, which blocks: it is resolved here, once. */
static int resolve(const char *address, char *out, size_t size, char *error, size_t error_size)
{
    char host[256], numeric[256];
    const char *colon = strrchr(address, ':');
    struct addrinfo *info, hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    if (strncmp(address, "unix:", 5) == 0) {
        snprintf(out, size, "%s", address);
        return 0;
    }
    size_t length = colon != NULL ? (size_t)(colon - address) : 0;
    if (length == 0 || length >= sizeof(host)) {
        snprintf(error, error_size, "redis: %s: neither embedded, unix:/path nor HOST:PORT",
                 address);
        return -EINVAL;
    }
    memcpy(host, address, length);
    host[length] = '\0';
    int status = getaddrinfo(host, colon + 1, &hints, &info);
    if (status != 0) {
        snprintf(error, error_size, "redis: %s: %s; give a name that resolves, or an address",
                 address, gai_strerror(status));
        return -EINVAL;
    }
    status = getnameinfo(info->ai_addr, info->ai_addrlen, numeric, sizeof(numeric), NULL, 0,
                         NI_NUMERICHOST);
    freeaddrinfo(info);
    snprintf(out, size, "%s:%s", status == 0 ? numeric : host, colon + 1);
    return 0;
}

static int read_password(const char *path, char *out, size_t size, char *error, size_t error_size)
{
    out[0] = '\0';
    if (path[0] == '\0')
        return 0;
    errno = 0;
    FILE *file = fopen(path, "re");
    if (file == NULL || fgets(out, (int)size, file) == NULL) {
        int status = errno != 0 ? -errno : -EINVAL;
        snprintf(error, error_size,
                 "redis_password_file: %s: %s; it must hold the password in its first line", path,
                 file == NULL ? strerrordesc_np(-status) : "empty");
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
    int status = read_password(config->redis_password_file, out->password, sizeof(out->password),
                               error, error_size);
    if (status != 0)
        return status;
    if (!out->embedded)
        return resolve(config->redis, out->address, sizeof(out->address), error, error_size);
    snprintf(out->address, sizeof(out->address), "unix:%.490s/redis.sock", config->state_dir);
    return 0;
}
