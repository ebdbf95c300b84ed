/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `tollgate link sign` was told, and the signing of one of its paths. Only command_link_sign.c
 * and link_signing.c include it.
 */
#ifndef TOLLGATE_SERVER_COMMAND_LINK_SIGNING_H
#define TOLLGATE_SERVER_COMMAND_LINK_SIGNING_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/command/cli.h"
#include "server/link/link_review.h"
#include "tokens/tokens.h"

#define SIGN_PATHS_MAX 1000

struct sign_arguments {
    struct cli_location location;
    const char *key, *issuer, *account, *jti, *kid, *audience, *origin, *attribute, *filename;
    const char *paths[SIGN_PATHS_MAX];
    size_t path_count;
    int64_t now, exp, nbf;
    struct token_limits limits;
    bool prefix;
};

struct link_signing {
    char *command; /* borrows argv */
    const struct sign_arguments *arguments;
    const struct key_set *keys;
    struct link_review *review; /* NULL: no configuration was found */
    json_t *links;              /* owns; for --json, NULL without it */
};

/* Signs a link to `path` and prints it, or adds it to `links`. EX_OK, or an exit code after printing
 * why. */
int link_signing_path(const struct link_signing *signing, const char *path);
/* Prints a warning; `context` is the command's name. For struct trust_warner, too. */
void link_signing_warn(void *context, const char *text);

#endif
