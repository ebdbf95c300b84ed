/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends one HTTP/1.1 request over the admin socket and reads its answer. command_admin.c calls it.
 * It blocks, with one deadline over the whole call, and never takes a cut answer for a whole one:
 * the answer ends where the server closes, and must be as long as its Content-Length says.
 */
#include "server/command/admin_client.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "server/base/clock.h"

#define ANSWER_BYTES_MAX ((size_t)256 << 20) /* the rows of a report are bounded below it */
#define FIRST_BYTES      16384

static int wait_for(int fd, short events, uint64_t deadline_ms)
{
    for (;;) {
        uint64_t now_ms = clock_monotonic_ms();
        if (now_ms >= deadline_ms) {
            return -ETIMEDOUT;
        }
        struct pollfd item = {.fd = fd, .events = events};
        int ready = poll(&item, 1, (int)(deadline_ms - now_ms));
        if (ready > 0) {
            return 0;
        }
        if (ready < 0 && errno != EINTR) {
            return -errno;
        }
    }
}

/* Where a stuck node's queue is full, connect() of a Unix socket waits as long as SO_SNDTIMEO. */
static int connect_to(const char *socket_path, unsigned wait_ms)
{
    const struct timeval patience = {.tv_sec = wait_ms / 1000,
                                     .tv_usec = (suseconds_t)(wait_ms % 1000) * 1000};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(socket_path) >= sizeof(address.sun_path)) {
        return -ENAMETOOLONG;
    }
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) != 0 ||
        connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        int failure = errno == EAGAIN ? -ETIMEDOUT : -errno;
        (void)close(fd);
        return failure;
    }
    return fd;
}

static int send_all(int fd, const char *data, size_t length, uint64_t deadline_ms)
{
    while (length > 0) {
        ssize_t sent = send(fd, data, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0) {
            data += sent;
            length -= (size_t)sent;
        } else if (errno == EPIPE || errno == ECONNRESET) {
            return 0; /* refused half way; the answer that says why may be there to read */
        } else if (errno != EAGAIN && errno != EINTR) {
            return -errno;
        } else {
            int failure = wait_for(fd, POLLOUT, deadline_ms);
            if (failure != 0) {
                return failure;
            }
        }
    }
    return 0;
}

static int send_request(int fd, const char *method, const char *target, const char *body,
                        uint64_t deadline_ms)
{
    char *head = NULL;
    size_t body_length = body != NULL ? strlen(body) : 0;
    int length = asprintf(&head,
                          "%s %s HTTP/1.1\r\nHost: tollgate\r\nConnection: close\r\n"
                          "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                          method, target, body_length);
    if (length < 0) {
        return -ENOMEM;
    }
    int failure = send_all(fd, head, (size_t)length, deadline_ms);
    free(head);
    if (failure == 0 && body_length > 0) {
        failure = send_all(fd, body, body_length, deadline_ms);
    }
    return failure;
}

/* Reads until the server closes. *text is the caller's, NUL-terminated. */
static int receive_all(int fd, uint64_t deadline_ms, char **text, size_t *length)
{
    size_t room = 0;
    for (;;) {
        if (*length + 1 >= room) {
            room = room == 0 ? FIRST_BYTES : room * 2;
            char *grown = room <= 2 * ANSWER_BYTES_MAX ? realloc(*text, room) : NULL;
            if (grown == NULL) {
                return room > ANSWER_BYTES_MAX ? -EMSGSIZE : -ENOMEM;
            }
            *text = grown;
        }
        ssize_t got = recv(fd, *text + *length, room - *length - 1, MSG_DONTWAIT);
        if (got > 0) {
            *length += (size_t)got;
            (*text)[*length] = '\0';
        } else if (got == 0) {
            return *length > 0 ? 0 : -ECONNRESET;
        } else if (errno == ECONNRESET && *length > 0) {
            return 0; /* closed with bytes of ours unread; take_apart sees the answer's length */
        } else if (errno != EAGAIN && errno != EINTR) {
            return -errno;
        } else {
            int failure = wait_for(fd, POLLIN, deadline_ms);
            if (failure != 0) {
                return failure;
            }
        }
    }
}

/* Reads the head, and moves the body to the front of `text`, which becomes out->body. 0, -EPROTO,
 * or -ECONNRESET where the answer was cut short. */
static int take_apart(char *text, size_t length, struct admin_response *out)
{
    static const char version[] = "HTTP/1.1 ";
    if (strncmp(text, version, sizeof(version) - 1) != 0) {
        return -EPROTO;
    }
    const char *code = text + sizeof(version) - 1;
    char *body = strstr(text, "\r\n\r\n");
    if (body == NULL) {
        return -ECONNRESET;
    }
    *body = '\0';
    body += 4;
    const char *promised = strcasestr(text, "\r\nContent-Length:");
    size_t body_length = length - (size_t)(body - text);
    out->status = (unsigned)strtoul(code, NULL, 10);
    if (promised == NULL || out->status < 200 || out->status > 599) {
        return -EPROTO;
    }
    if (strtoull(promised + strlen("\r\nContent-Length:"), NULL, 10) != body_length) {
        return -ECONNRESET;
    }
    memmove(text, body, body_length + 1);
    out->body = text;
    out->length = body_length;
    return 0;
}

int admin_client_call(const char *socket_path, const char *method, const char *target,
                      const char *body, struct admin_response *out)
{
    return admin_client_call_within(ADMIN_CLIENT_WAIT_MS, socket_path, method, target, body, out);
}

int admin_client_call_within(unsigned wait_ms, const char *socket_path, const char *method,
                             const char *target, const char *body, struct admin_response *out)
{
    *out = (struct admin_response){0};
    uint64_t deadline_ms = clock_monotonic_ms() + wait_ms;
    int fd = connect_to(socket_path, wait_ms);
    if (fd < 0) {
        return fd;
    }
    char *text = NULL;
    size_t length = 0;
    int failure = send_request(fd, method, target, body, deadline_ms);
    if (failure == 0) {
        failure = receive_all(fd, deadline_ms, &text, &length);
    }
    (void)close(fd);
    if (failure == 0) {
        failure = take_apart(text, length, out);
    }
    if (failure != 0) {
        free(text);
    }
    return failure;
}
