/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets. See listener.h. */
#include "server/loop/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "server/base/check.h"
#include "server/base/clock.h"

#define PATIENCE_MS 1000
#define PAUSE_MS    20

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

/* Clients send only heads, so a small buffer is enough. Accepted sockets inherit it. It bounds what
 * a client that pipelines without reading can put into our memory before it is paused. */
static int bound_receive_buffer(int fd)
{
    int bytes = 32 * 1024;
    return setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

/*
 * The first socket of an address shares it with nobody until it listens, so the kernel gives the
 * port to one process alone, however many start at once. Only then may the further sockets of this
 * process share it. Returns a descriptor or a negative errno.
 */
static int listen_on(const struct addrinfo *info, bool further)
{
    int one = 1;
    int fd = socket(info->ai_family, info->ai_socktype | SOCK_CLOEXEC, info->ai_protocol);
    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
        (further && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) != 0) ||
        bound_receive_buffer(fd) != 0 || bind(fd, info->ai_addr, info->ai_addrlen) != 0 ||
        listen(fd, LISTENER_BACKLOG) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) != 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

int listener_probe(const char *listen)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address = {0};
    char host[64];
    const char *colon = strrchr(listen, ':');
    in_port_t port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    bool v6 = listen[0] == '[';
    int length = (int)(colon - listen) - (v6 ? 2 : 0);
    if (port == 0)
        return 0;
    snprintf(host, sizeof(host), "%.*s", length, listen + (v6 ? 1 : 0));
    address.any.sa_family = v6 ? AF_INET6 : AF_INET;
    if (v6) {
        address.v6.sin6_port = port;
        inet_pton(AF_INET6, host, &address.v6.sin6_addr);
    } else {
        address.v4.sin_port = port;
        if (length > 0)
            inet_pton(AF_INET, host, &address.v4.sin_addr);
    }
    int one = 1, result = 0;
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    /* Without SO_REUSEADDR the closed connections of an earlier node would keep the port. */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
        bind(fd, &address.any, v6 ? sizeof(address.v6) : sizeof(address.v4)) < 0)
        result = -errno;
    close(fd);
    return result;
}

bool listener_tries_again(uint64_t *since_ms)
{
    uint64_t now_ms = clock_monotonic_ms();
    if (*since_ms == 0)
        *since_ms = now_ms;
    if (now_ms - *since_ms >= PATIENCE_MS)
        return false;
    nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * 1000000L}, NULL);
    return true;
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

static void explain(const char *key, const char *address, int status, char *error, size_t size)
{
    const char *flag = strcmp(key, "listen") == 0 ? ", or give --listen" : "";
    if (status == -EADDRNOTAVAIL)
        snprintf(error, size,
                 "%s: %s is not an address of this host; change %s in the configuration%s", key,
                 address, key, flag);
    else if (status == -EACCES)
        snprintf(error, size,
                 "%s: %s: %s; a port below 1024 needs CAP_NET_BIND_SERVICE, or change %s in the "
                 "configuration%s",
                 key, address, strerrordesc_np(-status), key, flag);
    else
        snprintf(error, size,
                 "%s: %s: %s; stop what serves there, or change %s in the configuration%s", key,
                 address, strerrordesc_np(-status), key, flag);
}

int listener_open(const char *key, const char *address, unsigned count, int fds[], char *bound,
                  size_t bound_size, char *error, size_t error_size)
{
    char host[256];
    const char *port;
    struct addrinfo *info, hints = {
                               .ai_family = AF_UNSPEC,
                               .ai_socktype = SOCK_STREAM,
                               .ai_flags = AI_PASSIVE | AI_NUMERICSERV,
                           };
    snprintf(bound, bound_size, "%s", address);
    for (unsigned i = 0; i < count; i++) {
        /* Further sockets take the port of `bound`, which the kernel may have chosen. */
        if (split(bound, host, sizeof(host), &port) != 0) {
            snprintf(error, error_size,
                     "%s: \"%s\" is not HOST:PORT; write 127.0.0.1:8080 or :8080", key, address);
            return -EINVAL;
        }
        int status = getaddrinfo(host[0] != '\0' ? host : NULL, port, &hints, &info);
        if (status != 0) {
            snprintf(error, error_size,
                     "%s: %s: %s; give a numeric address or a name that resolves", key, address,
                     gai_strerror(status));
            return -EINVAL;
        }
        uint64_t since_ms = 0;
        do
            status = listen_on(info, i > 0);
        while (status == -EADDRINUSE && listener_tries_again(&since_ms));
        freeaddrinfo(info);
        if (status < 0) {
            explain(key, address, status, error, error_size);
            while (i-- > 0)
                close(fds[i]);
            return status;
        }
        fds[i] = status;
        listener_name(fds[i], bound, bound_size);
    }
    return 0;
}

/* ---- passed by a service manager ---- */

#define PASSED_MAX 256

/* Filled once, by the main thread before others start. */
static struct {
    bool known;
    unsigned count[LISTENERS];
    int fd[LISTENERS][PASSED_MAX];
} passed_sockets;

static void read_passed(void)
{
    char **names = NULL;
    passed_sockets.known = true;
    int count = sd_listen_fds_with_names(1, &names); /* 1: hides them from child processes */
    for (int i = 0; i < count; i++) {
        bool tls = strcmp(names[i], "tls") == 0 || strcmp(names[i], "https") == 0;
        enum listener kind = tls ? LISTENER_TLS : LISTENER_PLAIN;
        if (passed_sockets.count[kind] < PASSED_MAX)
            passed_sockets.fd[kind][passed_sockets.count[kind]++] = SD_LISTEN_FDS_START + i;
        free(names[i]);
    }
    free(names);
}

unsigned listener_passed(enum listener kind)
{
    if (!passed_sockets.known)
        read_passed();
    return passed_sockets.count[kind];
}

int listener_take(enum listener kind, unsigned index, char *error, size_t error_size)
{
    check(index < listener_passed(kind));
    int passed = passed_sockets.fd[kind][index];
    if (sd_is_socket_inet(passed, AF_UNSPEC, SOCK_STREAM, 1, 0) <= 0) {
        snprintf(
            error, error_size,
            "descriptor %d, passed by LISTEN_FDS, is not a listening TCP socket; give the socket "
            "unit ListenStream=PORT alone, with Accept=no",
            passed);
        return -ENOTSOCK;
    }
    int fd = fcntl(passed, F_DUPFD_CLOEXEC, SD_LISTEN_FDS_START);
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
    return fd;
}

void listener_close_passed(void)
{
    for (enum listener kind = LISTENER_PLAIN; kind < LISTENERS; kind++) {
        for (unsigned i = 0; i < listener_passed(kind); i++)
            close(passed_sockets.fd[kind][i]);
    }
}
