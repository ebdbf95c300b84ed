/* Listening sockets. See listener.h. */
#include "server/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
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

/* Only heads come in. Inherited by what is accepted; bounds what a client that pipelines without
 * reading can put into our memory before it is paused. */
static int bound_receive_buffer(int fd)
{
    int bytes = 32 * 1024;
    return setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

static int listen_on(const struct addrinfo *info)
{
    int one = 1;
    int fd = socket(info->ai_family, info->ai_socktype | SOCK_CLOEXEC, info->ai_protocol);
    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) != 0 ||
        bound_receive_buffer(fd) != 0 || bind(fd, info->ai_addr, info->ai_addrlen) != 0 ||
        listen(fd, BACKLOG) != 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

void listener_name(int fd, char *bound, size_t size)
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
    listener_name(fd, bound, bound_size);
    return fd;
}

/* ---- passed by a service manager ---- */

unsigned listener_passed(void)
{
    static int count = -1;
    if (count < 0) {
        count = sd_listen_fds(1); /* and no child takes them for its own */
        count = count < 0 ? 0 : count;
    }
    return (unsigned)count;
}

int listener_take(unsigned index, char *bound, size_t bound_size, char *error, size_t error_size)
{
    int passed = LISTENER_FIRST + (int)index;
    if (sd_is_socket_inet(passed, AF_UNSPEC, SOCK_STREAM, 1, 0) <= 0) {
        snprintf(error, error_size,
                 "descriptor %d, passed by LISTEN_FDS, is no listening TCP socket; give the socket "
                 "unit ListenStream=PORT alone, with Accept=no",
                 passed);
        return -ENOTSOCK;
    }
    int fd = fcntl(passed, F_DUPFD_CLOEXEC, LISTENER_FIRST);
    int flags = fd < 0 ? -1 : fcntl(fd, F_GETFL);
    /* An accept on a ring would give up at once on a socket that does not block. */
    if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) != 0 ||
        bound_receive_buffer(fd) != 0) {
        int status = -errno;
        snprintf(error, error_size, "descriptor %d, passed by LISTEN_FDS: %s", passed,
                 strerrordesc_np(-status));
        if (fd >= 0)
            close(fd);
        return status;
    }
    listener_name(fd, bound, bound_size);
    return fd;
}

void listener_close_passed(void)
{
    for (unsigned i = 0; i < listener_passed(); i++)
        close(LISTENER_FIRST + (int)i);
}
