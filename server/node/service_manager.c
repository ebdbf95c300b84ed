/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Telling the service manager. Not by libsystemd's sd_notify, which waits for ever for a manager
 * that does not read its socket: the node's main thread would hear no signal from then on.
 */
#include "server/node/service_manager.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_S 1

void service_manager_tell(const char *state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    const char *path = getenv("NOTIFY_SOCKET");
    char text[128];
    struct timespec now;
    size_t length = path != NULL ? strlen(path) : 0;
    if (length == 0 || length >= sizeof(address.sun_path))
        return;
    memcpy(address.sun_path, path, length);
    if (path[0] == '@') /* unix(7): an abstract name */
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    clock_gettime(CLOCK_MONOTONIC, &now);
    /*
     * systemd holds the time against that of the signal, so as not to take an old answer for new.
     */
    int size = snprintf(text, sizeof(text), "%s\nMONOTONIC_USEC=%lld", state,
                        (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    (void)sendto(fd, text, (size_t)size, MSG_NOSIGNAL, (const struct sockaddr *)&address,
                 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
    close(fd);
}
