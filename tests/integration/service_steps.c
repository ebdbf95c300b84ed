/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/integration/service_steps.h"

#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

void pass_descriptor(struct site *site, int fd)
{
    site_serve_after(site, site_format(site, "exec 3<&%d; export LISTEN_FDS=1 LISTEN_PID=$$", fd));
}

int listen_anywhere(bool blocking)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    /* Without SOCK_CLOEXEC, because the script inherits it. */
    int fd = socket(AF_INET, SOCK_STREAM | (blocking ? 0 : SOCK_NONBLOCK), 0);
    cr_assert(fd >= 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    cr_assert_eq(listen(fd, 16), 0);
    return fd;
}

int open_notify_socket(struct site *site)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", site_directory(site));
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    cr_assert_eq(setenv("NOTIFY_SOCKET", address.sun_path, 1), 0);
    return fd;
}

void expect_notice(int fd, const char *start)
{
    struct pollfd item = {.fd = fd, .events = POLLIN};
    char text[256];
    cr_assert_eq(poll(&item, 1, HARNESS_DEADLINE_MS), 1, "the manager is not told %s", start);
    ssize_t length = recv(fd, text, sizeof(text) - 1, 0);
    cr_assert(length > 0);
    text[length] = '\0';
    cr_assert_eq(strncmp(text, start, strlen(start)), 0, "not %s: %s", start, text);
}
