/* Listening sockets. See listener.h. */
#include "server/listener.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 4096 /* the kernel caps it at net.core.somaxconn */

static int split(const char *address, char *host, size_t host_size, const char **port)
{
    const char *colon = strrchr(address, ':');
    if (colon == NULL)
        return -EINVAL;
    size_t length = (size_t)(colon - address);
    const char *first = address;
    if (length >= 2 && address[0] == '[' && address[length - 1] == ']') {
        first++;
        length -= 2;
    }
    if (length >= host_size)
        return -EINVAL;
    memcpy(host, first, length);
    host[length] = '\0';
    *port = colon + 1;
    return 0;
}

static int listen_on(const struct addrinfo *info)
{
    /* Only heads come in. Inherited by what is accepted; bounds what a client that pipelines without
     * reading can put into our memory before it is paused. */
    int one = 1, receive_buffer = 32 * 1024;
    int fd = socket(info->ai_family, info->ai_socktype | SOCK_CLOEXEC, info->ai_protocol);
    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer)) != 0 ||
        bind(fd, info->ai_addr, info->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

static void name_of(int fd, char *bound, size_t size)
{
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t length = sizeof(address);
    char host[128], port[16];
    bound[0] = '\0';
    if (getsockname(fd, (struct sockaddr *)&address, &length) != 0 ||
        getnameinfo((struct sockaddr *)&address, length, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return;
    snprintf(bound, size, address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

int listener_open(const char *address, char *bound, size_t bound_size, char *error,
                  size_t error_size)
{
    char host[256];
    const char *port;
    struct addrinfo *info, hints = {
                               .ai_family = AF_UNSPEC,
                               .ai_socktype = SOCK_STREAM,
                               .ai_flags = AI_PASSIVE | AI_NUMERICSERV,
                           };
    if (split(address, host, sizeof(host), &port) != 0) {
        snprintf(error, error_size, "listen on %s: no HOST:PORT; write 127.0.0.1:8080 or :8080",
                 address);
        return -EINVAL;
    }
    int status = getaddrinfo(host[0] != '\0' ? host : NULL, port, &hints, &info);
    if (status != 0) {
        snprintf(error, error_size,
                 "listen on %s: %s; give a numeric address or a name that resolves", address,
                 gai_strerror(status));
        return -EINVAL;
    }
    int fd = listen_on(info);
    freeaddrinfo(info);
    if (fd < 0) {
        const char *cure = fd == -EACCES ? "ports below 1024 need CAP_NET_BIND_SERVICE"
                                         : "choose another address with --listen";
        snprintf(error, error_size, "listen on %s: %s; %s", address, strerrordesc_np(-fd), cure);
        return fd;
    }
    name_of(fd, bound, bound_size);
    return fd;
}
