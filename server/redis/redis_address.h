/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads from the configuration which Redis the node uses: its address, and the passwords. Called by
 * the node at start and by the doctor. It does not resolve the address: the ledger does.
 */
#ifndef TOLLGATE_SERVER_REDIS_REDIS_ADDRESS_H
#define TOLLGATE_SERVER_REDIS_REDIS_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

#include "server/config/config.h"

struct redis_address {
    bool embedded;
    char address[512];           /* as ledger_redis_validate takes it */
    char password[256];          /* "" where there is none */
    char sentinel_password[256]; /* likewise, of the Sentinels */
};

/* Fills *out, reading the passwords from redis_password_file and sentinel_password_file. 0, or a
 * negative errno with one sentence, which begins with the key and has the cure. The caller wipes the
 * passwords. */
int redis_address_read(const struct config *config, struct redis_address *out, char *error,
                       size_t error_size);

#endif
