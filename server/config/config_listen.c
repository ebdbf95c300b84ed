/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a node listens, as the configuration writes it: the form of an address with a port, which
 * clients it is for, the origin that follows from it, and the socket of `tollgate` itself. Called
 * by the validation, by `serve --listen`, and by whoever needs a node's origin. It opens no socket.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/config/config_internal.h"

static bool is_port(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    return digits > 0 && digits <= 5 && text[digits] == '\0' && strtoul(text, NULL, 10) <= 65535;
}

const char *config_validate_listen(const char *listen)
{
    static const char shape[] =
        "is not an address and port; write 127.0.0.1:8080, [::1]:8080 or :8080";
    const char *colon = strrchr(listen, ':');
    char host[64];
    if (colon == NULL || !is_port(colon + 1) || (size_t)(colon - listen) >= sizeof(host))
        return shape;
    size_t length = (size_t)(colon - listen);
    memcpy(host, listen, length);
    host[length] = '\0';
    unsigned char address[sizeof(struct in6_addr)];
    if (length == 0)
        return NULL;
    if (host[0] == '[' && host[length - 1] == ']') {
        host[length - 1] = '\0';
        return inet_pton(AF_INET6, host + 1, address) == 1 ? NULL : shape;
    }
    return inet_pton(AF_INET, host, address) == 1 ? NULL : shape;
}

bool config_listen_is_everywhere(const char *listen)
{
    char host[64];
    struct in_addr v4;
    struct in6_addr v6;
    const char *port = strrchr(listen, ':');
    size_t length = port != NULL ? (size_t)(port - listen) : sizeof(host);
    if (length == 0)
        return true;
    if (length >= sizeof(host))
        return false;
    memcpy(host, listen, length);
    host[length] = '\0';
    if (host[0] != '[')
        return inet_pton(AF_INET, host, &v4) == 1 && v4.s_addr == htonl(INADDR_ANY);
    host[length - 1] = '\0';
    return inet_pton(AF_INET6, host + 1, &v6) == 1 && IN6_IS_ADDR_UNSPECIFIED(&v6);
}

char *config_origin_of(const char *scheme, const char *listen)
{
    const char *host = listen[0] == '[' ? "[::1]" : "127.0.0.1";
    bool all = config_listen_is_everywhere(listen);
    char *origin = NULL;
    if (asprintf(&origin, "%s://%s%s", scheme, all ? host : "",
                 all ? strrchr(listen, ':') : listen) < 0)
        return NULL;
    return origin;
}

char *config_origin_default(const struct config *config)
{
    bool tls = config->listen_tls[0] != '\0';
    return config_origin_of(tls ? "https" : "http", tls ? config->listen_tls : config->listen);
}

int config_set_listen(struct config *config, const char *listen, char *error, size_t error_size)
{
    const char *wrong = config_validate_listen(listen);
    if (wrong != NULL) {
        snprintf(error, error_size, "%s %s", listen, wrong);
        return -EINVAL;
    }
    char *before = config_origin_of("http", config->listen),
         *after = config_origin_of("http", listen);
    char *copy = strdup(listen);
    if (before == NULL || after == NULL || copy == NULL) {
        free(before);
        free(after);
        free(copy);
        snprintf(error, error_size, "out of memory");
        return -ENOMEM;
    }
    if (strcmp(before, config->public_origin) == 0) {
        char *old = config->public_origin;
        config->public_origin = after;
        after = old;
    }
    free(before);
    free(after);
    free(config->listen);
    config->listen = copy;
    return 0;
}

bool config_listen_is_same_place(const char *one, const char *other)
{
    const char *left = strrchr(one, ':'), *right = strrchr(other, ':');
    if (left == NULL || right == NULL || strcmp(left, right) != 0 || strcmp(left, ":0") == 0)
        return false;
    /* A socket on [::] takes IPv4's clients, too. */
    return config_listen_is_everywhere(one) || config_listen_is_everywhere(other) ||
           strcmp(one, other) == 0;
}

bool config_listen_is_loopback(const char *listen)
{
    return strncmp(listen, "127.", 4) == 0 || strncmp(listen, "[::1]:", 6) == 0 ||
           strncmp(listen, "localhost:", 10) == 0;
}

int config_admin_socket(const struct config *config, char *path, size_t size)
{
    int length = snprintf(path, size, "%s/admin.sock", config->state_dir);
    /* sun_path holds 108 bytes with its NUL. */
    return length < 0 || (size_t)length >= size || length > 107 ? -ENAMETOOLONG : 0;
}
