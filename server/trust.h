/*
 * Makes a trust of the configuration: reads each issuer's key set from its file. Called by the node
 * at start and at each reload, and by the commands that verify; tokens itself never touches the
 * disk.
 */
#ifndef TOLLGATE_SERVER_TRUST_H
#define TOLLGATE_SERVER_TRUST_H

#include <stddef.h>

#include "server/config.h"
#include "tokens/tokens.h"

#define TRUST_KEYS_BYTES_MAX ((size_t)1024 * 1024)

/*
 * Reads and parses every issuer's JWKS (1 MiB at most each). 0 and *out for the caller
 * (token_trust_drop), or a negative errno with one sentence that names the issuer, the file and the
 * cure. A file with private or symmetric keys that others may read is warned of in the log.
 */
int trust_load(const struct config *config, struct token_trust **out, char *error,
               size_t error_size);

/* A number that changes whenever one of the issuers' key files is written, replaced or removed. */
uint64_t trust_files_print(const struct config *config);

/* The key set in a file; *out is the caller's (key_set_destroy). Errors as above, without the
 * issuer. */
int trust_keys_load(const char *path, struct key_set **out, char *error, size_t error_size);

#endif
