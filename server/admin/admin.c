/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin interface: opens its doors, reads the shops' secrets, starts and stops its threads.
 * server/node/ starts it before the journal is read and stops it after the journal is closed, so
 * that health is answered all that time. admin_peers.c talks to those who connect, admin_routes.c
 * knows what a request means; no worker ever waits for either.
 */
#include "server/admin/admin.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "server/admin/admin_internal.h"
#include "server/base/log.h"
#include "server/link/trust.h"

#define DOORS 2

struct admin {
    struct node *node;              /* borrows */
    struct admin_door doors[DOORS]; /* operators, shops */
    struct admin_peers *peers;      /* owns */
    struct admin_shops shops;
};

uint64_t admin_descriptors(const struct config *config)
{
    uint64_t shops =
        config->admin_listen[0] != '\0' ? ADMIN_SHOPS_PEERS_MAX + ADMIN_SHOPS_CALLS_MAX : 0;
    return ADMIN_OPERATORS_PEERS_MAX + ADMIN_CLASS_CALLS_MAX + shops + ADMIN_OWN_DESCRIPTORS;
}

int admin_start(struct admin **out, struct node *node, char *error, size_t error_size)
{
    *out = NULL;
    struct admin *admin = calloc(1, sizeof(*admin));
    if (admin == NULL) {
        (void)snprintf(error, error_size, "start the admin interface: no memory");
        return -ENOMEM;
    }
    admin->node = node;
    pthread_mutex_init(&admin->shops.mutex, NULL);
    for (unsigned i = 0; i < DOORS; i++) {
        admin->doors[i].listen_fd = -1;
        admin->doors[i].address.sun_family = AF_UNIX;
    }
    bool has_shops = node->config->admin_listen[0] != '\0';
    int failure = admin_door_open_operators(&admin->doors[0], node->config, error, error_size);
    if (failure == 0 && has_shops) {
        /* No warner: the doctor at the start has warned already of files that others may read. */
        failure = admin_secrets_load(&admin->shops.secrets, node->config, NULL, error, error_size);
    }
    if (failure == 0 && has_shops) {
        failure = admin_door_open_shops(&admin->doors[1], node->config, error, error_size);
    }
    if (failure == 0) {
        failure = admin_peers_start(&admin->peers, &admin->shops, node, admin->doors, DOORS);
        if (failure != 0) {
            (void)snprintf(error, error_size, "start the admin threads: %s",
                           strerrordesc_np(-failure));
        }
    }
    if (failure != 0) {
        admin_stop(&admin);
        return failure;
    }
    *out = admin;
    return 0;
}

void admin_reload(struct admin *admin)
{
    char error[512];
    struct admin_secrets *fresh;
    if (admin->doors[1].listen_fd < 0) {
        return;
    }
    const struct trust_warner warner = {.warn = trust_warn_log};
    if (admin_secrets_load(&fresh, admin->node->config, &warner, error, sizeof(error)) != 0) {
        log_error("the shops' secrets were not reloaded, and the previous ones stay in force: %s",
                  error);
        return;
    }
    admin_shops_replace(&admin->shops, fresh);
    log_info("reloaded the shops' secrets");
}

void admin_close_desk(struct admin *admin)
{
    if (admin != NULL) {
        admin_peers_close_desk(admin->peers);
    }
}

void admin_stop(struct admin **admin)
{
    struct admin *gone = *admin;
    if (gone == NULL) {
        return;
    }
    *admin = NULL;
    admin_peers_stop(&gone->peers);
    for (unsigned i = 0; i < DOORS; i++) {
        admin_door_close(&gone->doors[i]);
    }
    admin_secrets_destroy(&gone->shops.secrets);
    pthread_mutex_destroy(&gone->shops.mutex);
    free(gone);
}
