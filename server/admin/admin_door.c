/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin interface's listening sockets: the operators' in the state directory, the shops' at
 * admin_listen. admin.c opens and closes them; admin_accept.c accepts from them, which this file
 * never does.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/admin/admin_internal.h"
#include "server/base/log.h"
#include "server/loop/listener.h"

/* Removes the socket that a killed node left. Anything else is somebody's file, and stays. */
static int remove_stale(const char *path)
{
    struct stat status;
    if (lstat(path, &status) != 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    if (!S_ISSOCK(status.st_mode)) {
        return -EEXIST;
    }
    return unlink(path) == 0 ? 0 : -errno;
}

static int open_socket(struct admin_door *door, mode_t mode)
{
    int failure = remove_stale(door->address.sun_path);
    if (failure != 0) {
        return failure;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    /* fchmod before bind: Linux gives this mode to the name, which is then never open to others. */
    if (fchmod(fd, mode) != 0 ||
        bind(fd, (const struct sockaddr *)&door->address, sizeof(door->address)) != 0) {
        failure = -errno;
        (void)close(fd);
        return failure;
    }
    if (chmod(door->address.sun_path, mode) != 0 || listen(fd, LISTENER_BACKLOG) != 0) {
        failure = -errno;
        (void)close(fd);
        (void)unlink(door->address.sun_path);
        return failure;
    }
    door->listen_fd = fd;
    return 0;
}

int admin_door_open_operators(struct admin_door *door, const struct config *config, char *error,
                              size_t error_size)
{
    door->is_operator = true;
    int failure =
        config_admin_socket(config, door->address.sun_path, sizeof(door->address.sun_path));
    if (failure == 0) {
        failure = open_socket(door, 0600);
    }
    if (failure != 0) {
        door->address.sun_path[0] = '\0';
        (void)snprintf(error, error_size, "listen on %s/admin.sock: %s; %s", config->state_dir,
                       strerrordesc_np(-failure),
                       failure == -EEXIST         ? "this is not a socket; move it away"
                       : failure == -ENAMETOOLONG ? "choose a shorter state_dir"
                                                  : "let this user own the state directory");
    }
    return failure;
}

/* A Unix socket is open to the group, too (0660): the secret decides who may call. */
int admin_door_open_shops(struct admin_door *door, const struct config *config, char *error,
                          size_t error_size)
{
    const char *listen_on = config->admin_listen;
    char bound[300];
    int failure;
    if (strncmp(listen_on, "unix:", 5) == 0) {
        (void)snprintf(door->address.sun_path, sizeof(door->address.sun_path), "%s", listen_on + 5);
        failure = open_socket(door, 0660);
        if (failure != 0) {
            door->address.sun_path[0] = '\0';
            (void)snprintf(error, error_size, "admin_listen: %s: %s; %s", listen_on,
                           strerrordesc_np(-failure),
                           failure == -EEXIST ? "this is not a socket; move it away"
                                              : "let this user write to its directory");
        }
        (void)snprintf(bound, sizeof(bound), "%s", listen_on);
    } else {
        failure = listener_open("admin_listen", listen_on, 1, &door->listen_fd, bound,
                                sizeof(bound), error, error_size);
        /* admin_accept.c accepts until EAGAIN. */
        if (failure == 0 && fcntl(door->listen_fd, F_SETFL, O_NONBLOCK) != 0) {
            failure = -errno;
            (void)snprintf(error, error_size, "admin_listen: %s: %s", listen_on,
                           strerrordesc_np(errno));
        }
    }
    if (failure == 0) {
        log_info("shops reach the admin interface on %s", bound);
    }
    return failure;
}

void admin_door_close(struct admin_door *door)
{
    if (door->address.sun_path[0] != '\0') {
        (void)unlink(door->address.sun_path);
    }
    if (door->listen_fd >= 0) {
        (void)close(door->listen_fd);
    }
    door->listen_fd = -1;
}
