/*
 * Which Redis the configuration means: its address with the name resolved, and its password. Called
 * by the node at start and by the doctor.
 */
#ifndef TOLLGATE_SERVER_REDIS_ADDRESS_H
#define TOLLGATE_SERVER_REDIS_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

#include "server/config.h"

struct redis_address {
    bool embedded;
    char address[512];  /* resolved: "unix:/path" or "host:port" */
    char password[256]; /* "" where there is none */
};

/*
 * Resolves the name (blocking) and reads the password's file. 0, or a negative errno with one
 * sentence that has the cure. The password is the caller's to wipe.
 */
int redis_address_read(const struct config *config, struct redis_address *out, char *error,
                       size_t error_size);

#endif
