/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accepts the connections of the admin interface, also when descriptors have run out: then it gives
 * up a spare one, or ends the connection whose client has been waited for the longest. Called by
 * admin_peers.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/admin/admin_peers_internal.h"
#include "server/base/log.h"

#define SCARCE_LOG_MS 10000

void admin_accept_keep_spares(struct admin_peers *peers)
{
    for (size_t i = 0; i < ADMIN_SPARES; i++) {
        if (peers->spares[i] < 0) {
            peers->spares[i] = fcntl(peers->wake_fd, F_DUPFD_CLOEXEC, 0);
        }
    }
}

bool admin_accept_give_spare(struct admin_peers *peers)
{
    for (size_t i = 0; i < ADMIN_SPARES; i++) {
        if (peers->spares[i] >= 0) {
            (void)close(peers->spares[i]);
            peers->spares[i] = -1;
            return true;
        }
    }
    return false;
}

static bool is_scarcity(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

static void say_scarce(struct admin_peers *peers, int error)
{
    if (peers->scarce_logged_ms != 0 && peers->now_ms - peers->scarce_logged_ms < SCARCE_LOG_MS) {
        return;
    }
    peers->scarce_logged_ms = peers->now_ms;
    log_warning("admin: accept: %s; idle connections are closed to make room%s",
                strerrordesc_np(error),
                error == EMFILE   ? "; raise LimitNOFILE or ulimit -n, or lower connections_max"
                : error == ENFILE ? "; raise sysctl fs.file-max"
                                  : "");
}

int admin_accept(struct admin_peers *peers, struct admin_peers_door *door)
{
    for (;;) {
        int fd = accept4(door->from->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            return fd;
        }
        int error = errno;
        if (error == EINTR || error == ECONNABORTED) {
            continue;
        }
        if (error == EAGAIN) {
            return -EAGAIN;
        }
        say_scarce(peers, error);
        if (!is_scarcity(error) ||
            !(admin_accept_give_spare(peers) || admin_peers_make_room(peers, door))) {
            return -error;
        }
    }
}
