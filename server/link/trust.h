/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the trust that tokens are verified under: reads each issuer's key set from the file that
 * the configuration names. Called by the node at start and at each reload, and by the commands that
 * verify. It verifies no token; the tokens library never touches the disk.
 */
#ifndef TOLLGATE_SERVER_LINK_TRUST_H
#define TOLLGATE_SERVER_LINK_TRUST_H

#include <stddef.h>

#include "server/config/config.h"
#include "tokens/tokens.h"

#define TRUST_KEYS_BYTES_MAX ((size_t)1024 * 1024)

/* Receives warnings about key sets, each of a sentence or two for an operator. They name files,
 * issuers and kids, never a key. */
struct trust_warner {
    void (*warn)(void *context, const char *text);
    void *context;
};

/* A `warn` that writes to the log; it ignores `context`. */
void trust_warn_log(void *context, const char *text);

/*
 * Reads and parses every issuer's JWKS (1 MiB at most each). 0 and *out for the caller
 * (token_trust_drop), or a negative errno with one sentence that names the issuer, the file and the
 * cure. Once all sets are read, `warner` (may be NULL) receives the warnings of trust_keys_warn,
 * and those of private halves and of keys that two issuers share.
 */
int trust_load(const struct config *config, struct token_trust **out,
               const struct trust_warner *warner, char *error, size_t error_size);

/* A number that changes whenever one of the issuers' key files is written, replaced or removed. */
uint64_t trust_files_print(const struct config *config);

/* Reads the key set in a file; the caller frees *out (key_set_destroy). Errors as of trust_load,
 * without the issuer. */
int trust_keys_load(const char *path, struct key_set **out, char *error, size_t error_size);
/* Reads the key set from an open descriptor, which stays the caller's; error sentences call it
 * `name`. */
int trust_keys_load_descriptor(int fd, const char *name, struct key_set **out, char *error,
                               size_t error_size);

/* Warns where others may read the secrets in a file of keys, or a secret is weak enough to be
 * guessed. */
void trust_keys_warn(const char *path, const struct key_set *keys,
                     const struct trust_warner *warner);

#endif
